//! Mail servers that refuse, put off, cut and stay silent; a process that dies; templates that fail.

use super::world::{World, config, simple};
use crate::alerting::history::RecordState;
use crate::sim::mail::Ending;
use std::sync::Arc;

#[tokio::test(start_paused = true)]
async fn a_mail_has_all_it_needs() {
    let world = World::start(simple("")).await;
    world.fire("Down", "db1:9100").await;
    world.until(3.0).await;
    let mail = world.mail.taken().remove(0);
    for (name, wanted) in [
        ("From", "watch@example.org"),
        ("To", "ops@example.org"),
        ("Subject", "[FIRING:1] Down (db1:9100 critical)"),
        ("Mime-Version", "1.0"),
        ("Date", "Tue, 14 Nov 2023 22:13:22 +0000"),
    ] {
        assert_eq!(mail.header(name), wanted);
    }
    assert!(mail.header("Message-Id").ends_with("@watch.example.org>"), "{}", mail.header("Message-Id"));
    assert_eq!(mail.header("References"), mail.header("In-Reply-To"));
    for part in ["multipart/alternative", "text/plain", "text/html", "something is wrong", "42.5", "/silences/new?filter=3D"] {
        let unfolded = mail.text.replace("=\r\n", "");
        assert!(unfolded.contains(part) || unfolded.contains(&part.replace("=3D", "=")), "{part} is missing in\n{unfolded}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_away_is_tried_again_until_it_is_back() {
    let world = World::start(simple("")).await;
    world.mail.change(|script| script.is_down = true);
    world.fire("Down", "a").await;
    world.until(30.0).await;
    world.want(&[]);
    let view = world.alerting.view();
    let record = view.history.first().expect("a record");
    assert!(record.attempt_count > 5 && record.attempts[0].outcome.contains("connect to mail.example.org:25"), "{record:?}");
    assert_eq!(view.history.len(), 1, "one message, one record: {:?}", view.history);
    world.mail.change(|script| script.is_down = false);
    world.until(60.0).await;
    world.want(&[(30.0, 45.0, &["[FIRING:1]"])]);
    assert_eq!(world.alerting.view().history[0].state, RecordState::Sent);
}

#[tokio::test(start_paused = true)]
async fn a_message_put_off_is_sent_again_with_the_same_id() {
    let world = World::start(simple("")).await;
    world.mail.change(|script| script.endings.push_back(Ending::Answer("451 greylisted")));
    world.fire("Down", "a").await;
    world.until(10.0).await;
    world.want(&[(2.2, 4.0, &["[FIRING:1]"])]);
    assert!(world.alerting.view().history[0].attempts[0].outcome.contains("451"));
}

#[tokio::test(start_paused = true)]
async fn a_connection_cut_before_the_250_gives_the_same_message_again() {
    let world = World::start(simple("")).await;
    world.mail.change(|script| script.endings.push_back(Ending::Cut));
    world.fire("Down", "a").await;
    world.until(10.0).await;
    let taken = world.mail.taken();
    assert_eq!(taken.len(), 2);
    assert_eq!(taken[0].header("Message-Id"), taken[1].header("Message-Id"));
}

fn two_recipients() -> Arc<crate::config::Config> {
    config(
        r"
global: {smtp_smarthost: 'mail.example.org:25', smtp_from: w@example.org, smtp_require_tls: false}
route: {receiver: ops, group_wait: 1s}
receivers:
- name: ops
  email_configs: [{to: 'good@example.org, Bad <bad@example.org>'}]
",
    )
}

#[tokio::test(start_paused = true)]
async fn a_refused_recipient_does_not_keep_the_others_from_it() {
    let world = World::start(two_recipients()).await;
    world.mail.change(|script| {
        script.recipients.insert("bad@example.org".to_owned(), ["550 no such user"; 9].into());
    });
    world.fire("Down", "a").await;
    world.until(60.0).await;
    let taken = world.mail.taken();
    assert_eq!(taken.len(), 1);
    assert_eq!(taken[0].recipients, ["good@example.org"]);
    let record = Arc::clone(&world.alerting.view().history[0]);
    assert_eq!(record.state, RecordState::Partly, "one of two is not everybody");
    assert!(record.warnings.iter().any(|warning| warning.contains("bad@example.org was refused")), "{record:?}");
    let labels = [("integration", "email"), ("reason", "clientError")];
    assert_eq!(world.registry.counter("watchkeeper_notifications_failed_total", "", &labels).get(), 1);
    let codes: Vec<(&str, u16)> = record.recipients.iter().map(|one| (one.address.as_str(), one.code)).collect();
    assert_eq!(codes, [("bad@example.org", 550), ("good@example.org", 250)]);
    assert!(record.recipients[0].message.contains("no such user"), "{record:?}");
}

#[tokio::test(start_paused = true)]
async fn a_recipient_put_off_is_tried_again_alone() {
    let world = World::start(two_recipients()).await;
    world.mail.change(|script| {
        script.recipients.insert("bad@example.org".to_owned(), ["450 later"; 2].into());
    });
    world.fire("Down", "a").await;
    world.until(60.0).await;
    let taken: Vec<Vec<String>> = world.mail.taken().into_iter().map(|mail| mail.recipients).collect();
    assert_eq!(taken, [["good@example.org"], ["bad@example.org"]]);
}

#[tokio::test(start_paused = true)]
async fn a_recipient_put_off_through_several_flushes_doubles_nobodys_mail() {
    let world = World::start(two_recipients()).await;
    world.mail.change(|script| {
        script.recipients.insert("bad@example.org".to_owned(), ["450 later"; 40].into());
    });
    world.fire("Down", "a").await;
    for minute in 1..60 {
        world.until(f64::from(minute) * 60.0).await;
        world.fire("Down", "a").await;
    }
    let taken: Vec<Vec<String>> = world.mail.taken().into_iter().map(|mail| mail.recipients).collect();
    assert_eq!(taken, [["good@example.org"], ["bad@example.org"]]);
}

#[tokio::test(start_paused = true)]
async fn a_message_refused_for_good_is_not_repeated_at_once() {
    let world = World::start(simple("")).await;
    world.mail.change(|script| script.endings.push_back(Ending::Answer("554 spam")));
    world.fire("Down", "a").await;
    world.until(5.0).await;
    let record = Arc::clone(&world.alerting.view().history[0]);
    assert_eq!((record.state, record.attempt_count), (RecordState::Failed, 1), "{record:?}");
    assert!(record.attempts[0].outcome.contains("554"), "{record:?}");
    // The next flush tries again: never lost.
    world.until(10.0).await;
    world.want(&[(6.0, 6.5, &["[FIRING:1]"])]);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_greets_does_not_hold_up_others() {
    let world = World::start(simple("")).await;
    world.mail.change(|script| script.is_silent = true);
    world.fire("Down", "a").await;
    world.until(5.0).await;
    world.mail.change(|script| script.is_silent = false);
    world.fire("Other", "a").await;
    world.until(9.0).await;
    world.want(&[(7.0, 7.5, &["[FIRING:1] Other"])]);
    world.until(60.0).await;
    assert_eq!(world.mails().len(), 2, "{:?}", world.mails());
}

#[tokio::test(start_paused = true)]
async fn a_pending_group_is_told_after_a_crash() {
    let mut world = World::start(simple("")).await;
    world.until(1.0).await;
    world.fire("Down", "a").await;
    world.until(2.0).await;
    world.crash().await;
    world.until(20.0).await;
    world.want(&[(3.0, 3.5, &["[FIRING:1]"])]);
}

#[tokio::test(start_paused = true)]
async fn nobody_is_told_twice_after_a_crash() {
    let mut world = World::start(simple("")).await;
    world.fire("Down", "a").await;
    world.until(3.0).await;
    world.crash().await;
    world.fire("Down", "a").await;
    world.until(20.0).await;
    world.want(&[(2.0, 2.5, &["[FIRING:1]"])]);
    world.resolve("Down", "a").await;
    world.until(40.0).await;
    world.crash().await;
    world.until(90.0).await;
    world.want(&[(2.0, 2.5, &["[FIRING:1]"]), (20.0, 24.5, &["[RESOLVED]"])]);
}

#[tokio::test(start_paused = true)]
async fn a_failure_survives_a_crash_and_keeps_its_id() {
    let mut world = World::start(simple("")).await;
    world.mail.change(|script| script.endings.push_back(Ending::Cut));
    world.fire("Down", "a").await;
    world.until(2.1).await;
    assert_eq!(world.mails().len(), 1, "taken, but the 250 was lost");
    world.crash().await;
    world.until(20.0).await;
    let ids: std::collections::BTreeSet<String> = world.mail.taken().iter().map(|mail| mail.header("Message-Id")).collect();
    assert_eq!((world.mails().len(), ids.len()), (2, 1), "{:?}", world.mails());
}

#[tokio::test(start_paused = true)]
async fn a_stop_amid_a_storm_is_quick_and_doubles_nothing() {
    let mut world = World::start(simple("")).await;
    world.mail.change(|script| script.thinks = std::time::Duration::from_millis(300));
    for number in 0..60 {
        world.fire(&format!("Down{number}"), "a").await;
    }
    world.until(3.0).await;
    let before = world.mails().len();
    assert!((5..50).contains(&before), "{before} of 60, at five connections");
    let began_ms = world.env.clock.now_ms();
    world.restart().await;
    assert!(world.env.clock.now_ms() - began_ms <= 1000, "a stop waits for what is under way, and for nothing that is not");
    assert!(world.mails().len() <= before + 5, "nothing begins while the server stops");
    world.until(20.0).await;
    let ids: std::collections::BTreeSet<String> = world.mail.taken().iter().map(|mail| mail.header("Message-Id")).collect();
    assert_eq!((world.mails().len(), ids.len()), (60, 60));
    let states: Vec<RecordState> = world.alerting.view().history.iter().map(|record| record.state).collect();
    assert!(states.iter().all(|state| *state == RecordState::Sent), "{states:?}");
    assert!(world.mail.script.lock().expect("unpoisoned").connections <= 12, "connections are used again");
}

#[tokio::test(start_paused = true)]
async fn silences_survive_a_crash() {
    let mut world = World::start(simple("")).await;
    let silence = crate::model::silence::Silence {
        id: String::new(),
        matchers: vec![crate::model::matcher::Matcher::equal("alertname", "Down")],
        starts_at_ms: super::world::BEGIN_MS,
        ends_at_ms: super::world::BEGIN_MS + 600_000,
        updated_at_ms: 0,
        created_by: "li".to_owned(),
        comment: "x".to_owned(),
        every: None,
        until_resolved: false,
    };
    let id = world.alerting.put_silence(silence).await.expect("a silence");
    world.crash().await;
    assert_eq!(world.alerting.silences().iter().map(|silence| silence.id.clone()).collect::<Vec<_>>(), [id]);
    world.fire("Down", "a").await;
    world.until(30.0).await;
    world.want(&[]);
}

#[tokio::test(start_paused = true)]
async fn a_failing_template_gives_the_default_mail_with_a_note() {
    let yaml = r#"
global: {smtp_smarthost: 'mail.example.org:25', smtp_from: w@example.org, smtp_require_tls: false}
route: {receiver: ops, group_wait: 1s, group_by: [alertname]}
receivers:
- name: ops
  email_configs:
  - to: ops@example.org
    headers: {Subject: '{{ .Nothing.At.All }}', X-Team: '{{ .GroupLabels.alertname }}'}
    html: '{{ template "missing" . }}'
"#;
    let world = World::start(config(yaml)).await;
    world.fire("Down", "a").await;
    world.until(5.0).await;
    world.want(&[(1.0, 1.5, &["[FIRING:1] Down"])]);
    let mail = world.mail.taken().remove(0);
    assert_eq!(mail.header("X-Team"), "Down");
    assert!(mail.text.contains("NOTE:"), "{}", mail.text);
    assert_eq!(world.alerting.view().history[0].warnings.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn no_label_can_add_a_header_or_a_recipient() {
    let yaml = r#"
global: {smtp_smarthost: 'mail.example.org:25', smtp_from: w@example.org, smtp_require_tls: false}
route: {receiver: ops, group_wait: 1s, group_by: [alertname]}
receivers:
- name: ops
  email_configs:
  - to: ops@example.org
    headers: {X-Name: '{{ .GroupLabels.alertname }}'}
"#;
    let world = World::start(config(yaml)).await;
    world.fire("Evil\r\nBcc: victim@example.org\r\n\r\n.\r\nRCPT TO:<victim@example.org>", "a\r\n.\r\nQUIT").await;
    world.until(5.0).await;
    let taken = world.mail.taken();
    assert_eq!(taken.len(), 1);
    assert_eq!(taken[0].recipients, ["ops@example.org"]);
    assert_eq!(taken[0].header("Bcc"), "");
}

#[tokio::test(start_paused = true)]
async fn what_ended_untold_is_owed_until_it_is_told() {
    for send_resolved in [true, false] {
        let world = World::start(config(&format!(
            r"
global: {{smtp_smarthost: 'mail.example.org:25', smtp_from: w@example.org, smtp_require_tls: false}}
route: {{receiver: ops, group_by: [alertname], group_wait: 2s, group_interval: 4s}}
receivers:
- name: ops
  email_configs: [{{to: ops@example.org, send_resolved: {send_resolved}}}]
"
        )))
        .await;
        world.mail.change(|script| script.is_down = true);
        world.fire("Down", "a").await;
        world.until(10.0).await;
        world.resolve("Down", "a").await;
        // Longer than one message is tried, and then with something else beside it.
        world.until(60.0).await;
        world.fire("Down", "b").await;
        world.until(90.0).await;
        world.resolve("Down", "b").await;
        world.until(150.0).await;
        world.mail.change(|script| script.is_down = false);
        world.until(200.0).await;
        world.want(&[(150.0, 162.0, &["[RESOLVED] Down"])]);
        let record = Arc::clone(&world.alerting.view().history[0]);
        assert_eq!((record.state, record.alerts_total), (RecordState::Sent, 2), "{record:?}");
    }
}
