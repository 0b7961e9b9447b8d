//! The answer to "why was I (not) told?", at each place where an alert can come to a halt.

use super::world::{BEGIN_MS, World, config};
use crate::alerting::why::{Verdict, Way, Why, explain};
use crate::model::labels::Labels;
use crate::model::matcher::Matcher;
use crate::model::silence::Silence;

const YAML: &str = r#"
global: {smtp_smarthost: 'mail.example.org:25', smtp_from: watch@example.org, smtp_require_tls: false}
route:
  receiver: ops
  group_by: [alertname]
  group_wait: 2s
  group_interval: 4s
  repeat_interval: 1h
  escalate: {after: 10m, receiver: boss}
  routes:
  - {matchers: [alertname=Nightly], receiver: ops, mute_time_intervals: [always]}
  - {matchers: [alertname=Ignored], receiver: nobody}
inhibit_rules:
- {source_matchers: [alertname=SiteDown], target_matchers: [alertname=HostDown], equal: []}
time_intervals:
- {name: always, time_intervals: [{}]}
receivers:
- {name: ops, email_configs: [{to: ops@example.org, send_resolved: true}]}
- {name: boss, email_configs: [{to: boss@example.org}]}
- {name: nobody}
"#;

fn labels(name: &str) -> Labels {
    Labels::from_pairs([("alertname", name), ("instance", "db1"), ("severity", "critical")])
}

fn why(world: &World, name: &str) -> Why {
    explain(&world.alerting.view(), world.env.clock.now_ms(), &labels(name))
}

fn only(why: &Why) -> &Way {
    assert_eq!(why.ways.len(), 1, "{why:?}");
    &why.ways[0]
}

fn check(way: &Way, verdict: Verdict, words: &str) {
    assert_eq!(way.verdict, verdict, "{way:?}");
    assert!(way.text.contains(words), "{} lacks {words}", way.text);
}

#[tokio::test(start_paused = true)]
async fn follows_an_alert_from_waiting_to_told_to_over() {
    let world = World::start(config(YAML)).await;
    let asked = why(&world, "DiskFull");
    assert!(!asked.is_known);
    check(only(&asked), Verdict::Waiting, "\"ops\" would be told 2s after it begins to fire");

    world.fire("DiskFull", "db1").await;
    let asked = why(&world, "DiskFull");
    assert!(asked.is_known && asked.fires);
    check(only(&asked), Verdict::Waiting, "is told at 2023-11-14 22:13:22");
    assert!(only(&asked).steps.iter().any(|step| step.place == "escalation" && step.text.contains("\"boss\" is told too, at")));
    world.until(3.0).await;
    check(
        only(&why(&world, "DiskFull")),
        Verdict::Told,
        "\"ops\" was told at 2023-11-14 22:13:22 UTC; again at 2023-11-14 23:13:22",
    );
    world.resolve("DiskFull", "db1").await;
    check(only(&why(&world, "DiskFull")), Verdict::Waiting, "is told of its end at");
    world.until(10.0).await;
    check(only(&why(&world, "DiskFull")), Verdict::Told, "and \"ops\" knows");
}

#[tokio::test(start_paused = true)]
async fn names_what_keeps_an_alert_quiet() {
    let world = World::start(config(YAML)).await;
    for name in ["SiteDown", "HostDown", "Nightly", "DiskFull"] {
        world.fire(name, "db1").await;
    }
    let silence = Silence {
        id: String::new(),
        matchers: vec![Matcher::equal("alertname", "DiskFull")],
        starts_at_ms: BEGIN_MS,
        ends_at_ms: BEGIN_MS + 3_600_000,
        updated_at_ms: 0,
        created_by: "li".to_owned(),
        comment: "resizing".to_owned(),
        every: None,
        until_resolved: false,
    };
    world.alerting.put_silence(silence).await.expect("made");
    check(only(&why(&world, "HostDown")), Verdict::Quiet, "inhibited by the alert SiteDown");
    check(only(&why(&world, "Nightly")), Verdict::Quiet, "muted by time interval always");
    check(only(&why(&world, "DiskFull")), Verdict::Quiet, "silenced until 2023-11-14 23:13:20 UTC by \"li\": \"resizing\"");
    let asked = why(&world, "Ignored");
    assert!(!only(&asked).steps[0].passes && only(&asked).steps[0].text.contains("has no address"), "{asked:?}");
    // What nobody has seen yet is answered for as well.
    let other = explain(&world.alerting.view(), world.env.clock.now_ms(), &Labels::from_pairs([("alertname", "HostDown")]));
    check(only(&other), Verdict::Quiet, "would not be told: inhibited by");
}

#[tokio::test(start_paused = true)]
async fn says_what_the_mail_server_said() {
    let world = World::start(config(YAML)).await;
    world.mail.script.lock().expect("unpoisoned").is_down = true;
    world.fire("DiskFull", "db1").await;
    world.until(13.0).await;
    let asked = why(&world, "DiskFull");
    let way = only(&asked);
    assert!(matches!(way.verdict, Verdict::Failed | Verdict::Sending), "{way:?}");
    assert!(way.steps.iter().any(|step| step.place == "attempt" && step.text.contains("refused")), "{way:?}");
}
