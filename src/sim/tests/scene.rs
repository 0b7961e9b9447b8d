//! What the tests share: three targets, four alerts, one receiver, and mails that can be read by a program.
//!
//! | alert | condition | |
//! | --- | --- | --- |
//! | `Down` | the target cannot be scraped | at once |
//! | `High` | `load` above 10 | for 20 s |
//! | `Kept` | `heat` above 10 | fires 30 s longer |
//! | `Queue` | `queue` above 10 | its rule is a znode |

use crate::sim::exporter::Exporter;
use crate::sim::mail::{Script, Taken};
use crate::sim::network::Weather;
use crate::sim::world::{BEGIN_MS, World};
use crate::template::time::{RFC3339_NANO, Time};
use serde_json::json;
use std::collections::BTreeSet;

pub(super) const TARGETS: [&str; 3] = ["one:9100", "two:9100", "three:9100"];
/// Metrics whose value above 10 is an alert's condition, and the alert.
pub(super) const METRICS: [(&str, &str); 3] = [("load", "High"), ("heat", "Kept"), ("queue", "Queue")];
pub(super) const ZNODE: &str = "/watchkeeper/rules/queue.yml";
pub(super) const QUEUE: &str = "groups: [{name: queue, rules: [{alert: Queue, expr: queue > 10}]}]\n";

pub(super) const RULES: &str = r"
groups:
- name: app
  rules:
  - {alert: Down, expr: up == 0}
  - {alert: High, expr: load > 10, for: 20s}
  - {alert: Kept, expr: heat > 10, keep_firing_for: 30s}
";

/// Returns the configuration; `group_by` and `more` are parts of the route.
pub(super) fn config(group_by: &str, more: &str) -> String {
    let text = "'{{ range .Alerts }}[{{ .Status }} {{ .Labels.alertname }} {{ .Labels.instance }}]\n\n{{ end }}'";
    let mail = |to: &str, rest: &str| format!("{{to: {to}@example.org, html: '-', text: {text}, {rest}}}");
    let (ops, dev, boss) = (mail("ops", "send_resolved: true"), mail("dev", ""), mail("boss", "send_resolved: true"));
    format!(
        r"
global: {{scrape_interval: 5s, scrape_timeout: 2s, evaluation_interval: 5s}}
web: {{external_url: 'https://watch.example.org'}}
zookeeper: {{connect: 'zk:2181'}}
rule_files: [rules.yml]
scrape_configs:
- job_name: app
  static_configs: [{{targets: ['one:9100', 'two:9100', 'three:9100']}}]
alertmanager:
  global: {{smtp_smarthost: 'mail.example.org:25', smtp_from: w@example.org, smtp_require_tls: false}}
  route: {{receiver: ops, group_by: [{group_by}], group_wait: 2s, group_interval: 10s, repeat_interval: 4h, {more}}}
  receivers:
  - name: ops
    email_configs:
    - {ops}
    - {dev}
  - name: boss
    email_configs:
    - {boss}
"
    )
}

/// A world with its targets, not yet started.
pub(super) fn world(seed: u64) -> World {
    let mut world = World::new(seed);
    for target in TARGETS {
        let exporter = world.exporter(target);
        METRICS.iter().for_each(|(metric, _)| exporter.set(metric, 1.0));
    }
    world.configure(&config("alertname", ""));
    world.write_rules("rules.yml", RULES);
    world.ensemble.write(ZNODE, QUEUE);
    world
}

/// Starts a world and waits until all is in its course.
pub(super) async fn started(seed: u64) -> World {
    let mut world = world(seed);
    world.start().await;
    world.until(20.0).await;
    world
}

/// What a mail tells.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Told {
    /// Seconds since the beginning, by the wall clock.
    pub(super) at: f64,
    pub(super) to: String,
    pub(super) id: String,
    pub(super) group: String,
    pub(super) firing: BTreeSet<String>,
    pub(super) resolved: BTreeSet<String>,
    pub(super) is_heard: bool,
}

impl Told {
    pub(super) fn of(mail: &Taken) -> Self {
        let text = mail.text.replace("=\r\n", "");
        let named = |status: &str| {
            let parts = text.split('[').filter_map(|part| part.split_once(']')?.0.strip_prefix(status)?.strip_prefix(' '));
            parts.map(str::to_owned).collect()
        };
        Self {
            at: (mail.at_ms - BEGIN_MS) as f64 / 1000.0,
            to: mail.recipients.join(",").replace("@example.org", ""),
            id: mail.header("Message-Id"),
            group: mail.header("X-Watchkeeper-Group"),
            firing: named("firing"),
            resolved: named("resolved"),
            is_heard: mail.is_heard,
        }
    }

    /// Returns whether it says anything of an alert.
    pub(super) fn names(&self, alert: &str) -> bool {
        self.firing.contains(alert) || self.resolved.contains(alert)
    }

    /// Returns one line, without what differs from run to run: `F:High one:9100 R:`.
    fn line(&self) -> String {
        let list = |set: &BTreeSet<String>| set.iter().map(|alert| alert.replace(":9100", "")).collect::<Vec<_>>().join(",");
        format!("F:{} R:{}", list(&self.firing), list(&self.resolved))
    }
}

/// Wants these mails to `to` and no others: `(from, until, what)`, times in seconds.
pub(super) fn want(world: &World, to: &str, wanted: &[(f64, f64, &str)]) {
    let mails: Vec<Told> = world.mails().iter().map(Told::of).filter(|told| told.to == to).collect();
    let lines: Vec<(f64, String)> = mails.iter().map(|told| (told.at, told.line())).collect();
    assert_eq!(lines.len(), wanted.len(), "{lines:?}, wanted {wanted:?}");
    for ((at, line), (from, until, what)) in lines.iter().zip(wanted) {
        assert!((*from..=*until).contains(at) && line == what, "{line} at {at}, wanted {what} from {from} to {until}: {lines:?}");
    }
}

/// Changes what the mail server does.
pub(super) fn mail(world: &World, change: impl FnOnce(&mut Script)) {
    world.mail.change(change);
}

pub(super) const REFUSED: Weather = Weather { is_refused: true, is_lost: false, latency: std::time::Duration::ZERO };
pub(super) const LOST: Weather = Weather { is_refused: false, is_lost: true, latency: std::time::Duration::ZERO };

/// Returns a target's exporter.
pub(super) fn exporter(world: &World, target: usize) -> &Exporter {
    &world.exporters[TARGETS[target]]
}

/// Silences an alert's name for so many seconds; the id once it is acknowledged.
pub(super) async fn silence(world: &World, name: &str, seconds: i64) -> Option<String> {
    use crate::env::Clock as _;
    let now_ms = world.clock.now_ms();
    let time = |at_ms: i64| Time::from_ms(at_ms).utc().format(RFC3339_NANO);
    let body = json!({
        "matchers": [{"name": "alertname", "value": name, "isRegex": false}],
        "startsAt": time(now_ms), "endsAt": time(now_ms + seconds * 1000), "createdBy": "li", "comment": "test",
    });
    let (status, body) = world.ask("POST", "/api/v2/silences", &body.to_string()).await?;
    let answer: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
    if status == 200 { answer["silenceID"].as_str().map(str::to_owned) } else { None }
}

/// Ends a silence; whether that was acknowledged.
pub(super) async fn expire(world: &World, id: &str) -> bool {
    let answer = world.ask("DELETE", &format!("/api/v2/silence/{id}"), "").await;
    answer.is_some_and(|(status, _)| status == 200)
}
