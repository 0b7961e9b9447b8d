//! When is who told: "posted at 1 s, mail between 3 and 3.5 s".

use super::world::{BEGIN_MS, World, config, simple};
use crate::model::matcher::Matcher;
use crate::model::silence::Silence;

fn silence(from: f64, to: f64) -> Silence {
    let at = |seconds: f64| BEGIN_MS + (seconds * 1000.0) as i64;
    Silence {
        id: String::new(),
        matchers: vec![Matcher::equal("alertname", "Down")],
        starts_at_ms: at(from),
        ends_at_ms: at(to),
        updated_at_ms: 0,
        created_by: "li".to_owned(),
        comment: "resizing".to_owned(),
        every: None,
        until_resolved: false,
    }
}

#[tokio::test(start_paused = true)]
async fn a_group_waits_then_tells_then_tells_changes_and_the_end() {
    let world = World::start(simple("")).await;
    world.until(1.0).await;
    world.fire("Down", "a").await;
    world.until(2.0).await;
    world.fire("Down", "b").await;
    // Waits until 3, both in one mail. A third one is told with the next interval, at 7. Then nothing new at 11.
    world.until(5.0).await;
    world.fire("Down", "c").await;
    world.until(12.0).await;
    world.resolve("Down", "a").await;
    world.until(16.0).await;
    world.resolve("Down", "b").await;
    world.resolve("Down", "c").await;
    world.until(40.0).await;
    world.want(&[
        (3.0, 3.5, &["[FIRING:2] Down"]),
        (7.0, 7.5, &["[FIRING:3] Down"]),
        (15.0, 15.5, &["[FIRING:2] Down"]),
        (19.0, 19.5, &["[RESOLVED] Down"]),
    ]);
}

#[tokio::test(start_paused = true)]
async fn an_unchanged_group_is_told_again_after_the_repeat_interval() {
    let world = World::start(simple("")).await;
    world.fire("Down", "a").await;
    for minute in 1..70 {
        world.until(f64::from(minute) * 60.0).await;
        world.fire("Down", "a").await;
    }
    world.want(&[(2.0, 2.5, &["[FIRING:1] Down"]), (3602.0, 3606.5, &["[FIRING:1] Down"])]);
    let ids: Vec<String> = world.mail.taken().iter().map(|mail| mail.header("Message-Id")).collect();
    assert_ne!(ids[0], ids[1], "a repetition is another message");
}

#[tokio::test(start_paused = true)]
async fn an_alert_that_nobody_repeats_ends_after_the_resolve_timeout() {
    let world = World::start(simple("")).await;
    world.fire("Down", "a").await;
    world.until(400.0).await;
    world.want(&[(2.0, 2.5, &["[FIRING:1]"]), (300.0, 304.5, &["[RESOLVED]"])]);
}

#[tokio::test(start_paused = true)]
async fn what_ends_before_anyone_was_told_is_not_told() {
    let world = World::start(simple("")).await;
    world.fire("Down", "a").await;
    world.until(1.0).await;
    world.resolve("Down", "a").await;
    world.until(60.0).await;
    world.want(&[]);
}

#[tokio::test(start_paused = true)]
async fn a_silence_keeps_quiet_and_its_end_tells() {
    let world = World::start(simple("")).await;
    let id = world.alerting.put_silence(silence(0.0, 20.0)).await.expect("a silence");
    world.until(1.0).await;
    world.fire("Down", "a").await;
    world.fire("Other", "a").await;
    world.until(10.0).await;
    world.want(&[(3.0, 3.5, &["[FIRING:1] Other"])]);
    let view = world.alerting.view();
    let down = view.alerts.iter().find(|alert| alert.alert.name() == "Down").expect("known");
    assert_eq!((down.state(), &down.silenced_by), ("suppressed", &vec![id.clone()]));
    let not_sent = view.history.iter().find(|record| record.why.contains("silenced")).expect("noted");
    assert_eq!(not_sent.state.as_str(), "not_sent");
    world.alerting.expire_silence(&id).await.expect("active");
    world.until(20.0).await;
    world.want(&[(3.0, 3.5, &["[FIRING:1] Other"]), (11.0, 11.5, &["[FIRING:1] Down"])]);
}

#[tokio::test(start_paused = true)]
async fn a_silence_until_resolved_ends_with_its_alerts() {
    let world = World::start(simple("")).await;
    let until_resolved = Silence { until_resolved: true, ..silence(0.0, 9000.0) };
    world.alerting.put_silence(until_resolved).await.expect("a silence");
    world.until(1.0).await;
    world.fire("Down", "a").await;
    world.until(40.0).await;
    world.resolve("Down", "a").await;
    world.until(41.0).await;
    world.fire("Down", "a").await;
    world.until(80.0).await;
    world.want(&[(41.0, 47.5, &["[FIRING:1] Down"])]);
}

#[tokio::test(start_paused = true)]
async fn routes_receivers_inhibition_and_times() {
    let yaml = r"
global: {smtp_smarthost: 'mail.example.org:25', smtp_from: w@example.org, smtp_require_tls: false}
route:
  receiver: ops
  group_by: [alertname]
  group_wait: 1s
  routes:
  - matchers: [alertname=Quiet]
    mute_time_intervals: [always]
  - matchers: [alertname=Both]
    receiver: dev
    continue: true
  - matchers: [alertname=Both]
inhibit_rules:
- source_matchers: [alertname=Down]
  target_matchers: [alertname=Slow]
  equal: [instance]
time_intervals:
- name: always
  time_intervals: [{weekdays: ['sunday:saturday']}]
receivers:
- name: ops
  email_configs: [{to: ops@example.org}]
- name: dev
  email_configs: [{to: dev@example.org}]
";
    let world = World::start(config(yaml)).await;
    world.fire("Quiet", "a").await;
    world.fire("Both", "a").await;
    world.fire("Down", "a").await;
    world.fire("Slow", "a").await;
    world.fire("Slow", "b").await;
    world.until(30.0).await;
    let mut told: Vec<(String, String)> =
        world.mail.taken().iter().map(|mail| (mail.header("Subject"), mail.recipients.join(","))).collect();
    told.sort();
    let told: Vec<(&str, &str)> =
        told.iter().map(|(subject, to)| (subject.split(' ').nth(1).unwrap_or(""), to.as_str())).collect();
    assert_eq!(
        told,
        [("Both", "dev@example.org"), ("Both", "ops@example.org"), ("Down", "ops@example.org"), ("Slow", "ops@example.org")]
    );
    let view = world.alerting.view();
    let quiet = view.groups.iter().find(|group| group.labels.value("alertname") == "Quiet").expect("a group");
    assert_eq!(quiet.muted_by, ["always"]);
}

#[tokio::test(start_paused = true)]
async fn a_standby_tells_when_it_becomes_leader() {
    let world = World::start(simple("")).await;
    world.may_send.send_replace(false);
    world.until(1.0).await;
    world.fire("Down", "a").await;
    world.until(10.0).await;
    world.want(&[]);
    world.may_send.send_replace(true);
    world.until(20.0).await;
    world.want(&[(10.0, 10.5, &["[FIRING:1]"])]);
}

fn escalating() -> std::sync::Arc<crate::config::Config> {
    config(
        r"
global: {smtp_smarthost: 'mail.example.org:25', smtp_from: w@example.org, smtp_require_tls: false}
route:
  receiver: ops
  group_by: [alertname]
  group_wait: 2s
  group_interval: 40s
  escalate: {after: 10s, receiver: boss}
receivers:
- name: ops
  email_configs: [{to: ops@example.org, send_resolved: true}]
- name: boss
  email_configs: [{to: boss@example.org, send_resolved: true}]
",
    )
}

/// Returns who got which mail, in whole seconds since the beginning.
fn told_to(world: &World) -> Vec<(i64, String, String)> {
    let mail = |mail: crate::sim::mail::Taken| {
        let state = mail.header("Subject").split(']').next().unwrap_or("").trim_start_matches('[').to_owned();
        ((mail.at_ms - BEGIN_MS) / 1000, mail.recipients.join(","), state)
    };
    world.mail.taken().into_iter().map(mail).collect()
}

fn told(list: &[(i64, &str, &str)]) -> Vec<(i64, String, String)> {
    list.iter().map(|(at, to, state)| (*at, format!("{to}@example.org"), (*state).to_owned())).collect()
}

#[tokio::test(start_paused = true)]
async fn what_nobody_acknowledges_is_told_to_somebody_else() {
    let mut world = World::start(escalating()).await;
    world.fire("Down", "a").await;
    world.until(5.0).await;
    world.fire("Down", "b").await;
    world.until(12.0).await;
    world.crash().await;
    world.until(30.0).await;
    // The first is late at 10, the second at 15. Whom the route tells first hears of the second with the next interval, at 42.
    let wanted = [(2, "ops", "FIRING:1"), (10, "boss", "FIRING:1"), (15, "boss", "FIRING:2")];
    assert_eq!(told_to(&world), told(&wanted));
    let why = world.alerting.view().history.first().map(|record| format!("{}: {}", record.receiver, record.why));
    assert_eq!(why.as_deref(), Some("boss: not acknowledged in time"));
    world.resolve("Down", "a").await;
    world.resolve("Down", "b").await;
    world.until(100.0).await;
    let mut ends: Vec<_> = told_to(&world).into_iter().skip(3).map(|(_, to, state)| (to, state)).collect();
    ends.sort();
    let ended = |to: &str| (format!("{to}@example.org"), "RESOLVED".to_owned());
    assert_eq!(ends, [ended("boss"), ended("ops")]);
}

#[tokio::test(start_paused = true)]
async fn an_acknowledged_alert_does_not_escalate() {
    let world = World::start(escalating()).await;
    world.fire("Down", "a").await;
    world.until(5.0).await;
    let fingerprint = world.alerting.view().alerts[0].alert.fingerprint;
    let ack = crate::alerting::ack::Ack { fingerprint, at_ms: BEGIN_MS, by: "li".to_owned(), comment: String::new() };
    assert_eq!(world.alerting.acknowledge(ack).await, Ok(true));
    world.until(100.0).await;
    assert_eq!(told_to(&world), told(&[(2, "ops", "FIRING:1")]));
}

#[tokio::test(start_paused = true)]
async fn an_escalation_to_the_same_receiver_is_refused() {
    let wrong = "route: {receiver: a, escalate: {after: 1m, receiver: a}}\nreceivers: [{name: a}]";
    let error = crate::alerting::Alerting::check(&crate::env::Env::real(), &config(wrong)).await.expect_err("refused");
    assert!(error.to_string().contains("own receiver"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_reload_keeps_timers_and_what_was_told() {
    let world = World::start(simple("")).await;
    world.fire("Down", "a").await;
    world.until(3.0).await;
    world.config.send_replace(simple("routes: [{matchers: [alertname=Other]}]"));
    world.until(20.0).await;
    world.want(&[(2.0, 2.5, &["[FIRING:1]"])]);
    // A configuration that cannot be followed is refused; the one before goes on.
    let pushover = "route: {receiver: a}\nreceivers: [{name: a, pushover_configs: [{user_key: u, token: t}]}]";
    world.config.send_replace(config(pushover));
    world.fire("Other", "a").await;
    world.until(40.0).await;
    world.want(&[(2.0, 2.5, &["[FIRING:1]"]), (22.0, 22.5, &["[FIRING:1] Other"])]);
    let error = world.alerting.view().setup_error.clone();
    assert!(error.contains("pushover") && error.contains("\"a\""), "{error}");
}

#[tokio::test(start_paused = true)]
async fn without_a_section_mails_lie_in_the_outbox() {
    let world = World::start(std::sync::Arc::new(crate::config::Config::without_file())).await;
    world.fire("Down", "a").await;
    world.until(7.0).await;
    world.want(&[]);
    let view = world.alerting.view();
    let record = view.history.first().expect("a record");
    assert_eq!((record.state.as_str(), record.integration.as_str()), ("sent", "outbox/0"));
    assert_eq!((record.updated_at_ms - BEGIN_MS) / 1000, 5);
    let raw = world.alerting.content_raw(record.id).await.expect("kept");
    assert!(String::from_utf8_lossy(&raw).contains("Subject: [FIRING:1] Down"));
    let html = world.alerting.content_html(record.id).await.expect("kept");
    assert!(String::from_utf8_lossy(&html).contains("something is wrong"));
}

#[tokio::test(start_paused = true)]
async fn an_alert_that_goes_on_and_off_is_told_in_one_mail() {
    let world = World::start(simple("")).await;
    // Twice it is told as usual.
    for round in 0..2_u32 {
        let at = f64::from(round) * 60.0;
        world.until(at).await;
        world.fire("Flaps", "db1").await;
        world.until(at + 30.0).await;
        world.resolve("Flaps", "db1").await;
    }
    world.until(119.0).await;
    assert_eq!(world.mails().len(), 4, "{:?}", world.mails());
    // Then ten more turns are one mail, and its end another.
    for round in 0..10_u32 {
        let at = 120.0 + f64::from(round) * 60.0;
        world.until(at).await;
        world.fire("Flaps", "db1").await;
        world.until(at + 30.0).await;
        world.resolve("Flaps", "db1").await;
    }
    let ended = 120.0 + 9.0 * 60.0 + 30.0;
    world.until(ended + 599.0).await;
    assert_eq!(world.mails().len(), 5, "{:?}", world.mails());
    assert!(world.mail.taken()[4].text.contains("goes on and off: began 3 times"), "{}", world.mail.taken()[4].text);
    world.until(ended + 605.0).await;
    assert_eq!(world.mails().len(), 6, "{:?}", world.mails());
    assert!(world.mails()[5].1.contains("[RESOLVED]"), "{:?}", world.mails());
    // Hours later it is an alert like any other.
    world.until(8000.0).await;
    world.fire("Flaps", "db1").await;
    world.until(8010.0).await;
    assert!(world.mails().last().is_some_and(|(_, subject)| subject.contains("FIRING")), "{:?}", world.mails());
    assert!(!world.mail.taken()[6].text.contains("goes on and off"));
}
