//! Rules beyond Prometheus's: from a changed value to the mail about it without an evaluation phase, thresholds as data, replay,
//! lints.

use crate::support::exporters::Application;
use crate::support::mail::MailServer;
use crate::support::server::Server;
use crate::support::{Scratch, wait_for, wait_until};
use std::path::PathBuf;
use std::time::{Duration, Instant};

const BOUND: Duration = Duration::from_secs(30);
const ROUNDS: u32 = 20;
/// The goal for a `group_wait` of a second. An unoptimized build takes longer to draw the mail's chart.
const GOAL: Duration = Duration::from_millis(if cfg!(debug_assertions) { 2000 } else { 1200 });
/// How soon after the scrape the notifier knows the alert.
const KNOWN: Duration = Duration::from_millis(200);

fn config(scratch: &Scratch, application: &Application, mail: &MailServer, more: &str) -> PathBuf {
    scratch.write(
        "watchkeeper.yml",
        &format!(
            "global: {{scrape_interval: 2m, scrape_timeout: 5s, evaluation_interval: 2m}}
scrape_configs:
- job_name: app
  static_configs: [{{targets: ['127.0.0.1:{}']}}]
rule_files: [rules.yml]
alertmanager:
  global: {{smtp_smarthost: '127.0.0.1:{}', smtp_from: w@example.org, smtp_auth_username: wk, smtp_auth_password: secret}}
  route: {{receiver: ops, group_by: [round], group_wait: 1s, group_interval: 5m}}
  receivers:
  - {{name: ops, email_configs: [{{to: ops@example.org, send_resolved: false, tls_config: {{ca_file: '{}'}}}}]}}
{more}",
            application.port,
            mail.port,
            mail.ca_file().display()
        ),
    )
}

fn scrape(server: &Server) {
    let done = server.post("/api/watchkeeper/v1/targets/scrape", "application/json", br#"{"pool": "app", "instance": ""}"#);
    assert_eq!(done.status, 200, "{}", done.body);
}

#[test]
fn a_scrape_becomes_a_mail_without_an_evaluation_phase() {
    let scratch = Scratch::new("watching");
    let application = Application::start(&scratch);
    let mail = MailServer::start(&scratch);
    scratch.write(
        "rules.yml",
        "groups:
- name: fast
  rules:
  - {record: queue, expr: app_queue_length * 1}
- name: behind
  rules:
  - {alert: Long, expr: queue > 10, labels: {round: '{{ $value }}'}}
",
    );
    let config = config(&scratch, &application, &mail, "watch_rule_groups: [fast, behind]\n");
    let server = Server::start(&scratch, Some(&config));
    wait_until("the target", BOUND, || {
        !server.get("/api/v1/targets").json()["data"]["activeTargets"].as_array().unwrap().is_empty()
    });
    let (mut took, mut known) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let value = 100 + round;
        application.set_queue_length(f64::from(value));
        let began = Instant::now();
        scrape(&server);
        let wanted = format!("\"round\":\"{value}\"");
        wait_until("the alert", BOUND, || server.get("/api/v2/alerts").body.contains(&wanted));
        known.push(began.elapsed());
        wait_for("the mail", BOUND, || {
            let mails = mail.mails();
            (mails.len() > round as usize && mails[round as usize].contains(&value.to_string())).then_some(())
        });
        took.push(began.elapsed());
    }
    took.sort();
    known.sort();
    println!("scrape -> notifier: median {:?}, worst {:?}", known[known.len() / 2], known[known.len() - 1]);
    println!(
        "scrape -> mail of {ROUNDS}: best {:?}, median {:?}, worst {:?}",
        took[0],
        took[took.len() / 2],
        took[took.len() - 1]
    );
    assert!(took[0] >= Duration::from_secs(1), "group_wait holds: {took:?}");
    assert!(took[took.len() - 1] <= GOAL, "{took:?}");
    assert!(known[known.len() - 1] <= KNOWN, "{known:?}");
    assert!(server.value("sum(watchkeeper_rule_group_woken_total)").is_none_or(|woken| woken > 0.0));
}

#[test]
fn a_threshold_of_one_host_holds_from_the_next_reload_on() {
    let scratch = Scratch::new("overrides");
    let application = Application::start(&scratch);
    let mail = MailServer::start(&scratch);
    scratch.write(
        "rules.yml",
        "groups:
- name: fast
  rules:
  - alert: Long
    expr: app_queue_length > on (instance) group_left () (label_replace(override{name='queue'}, 'name', '', '', '') or on (instance) app_queue_length * 0 + 10)
    labels: {round: '{{ $value }}'}
",
    );
    let instance = format!("127.0.0.1:{}", application.port);
    let with = |limit: u32| {
        let more = format!("watch_rule_groups: [fast]\noverrides:\n  queue: {{values: {{'{instance}': {limit}}}}}\n");
        config(&scratch, &application, &mail, &more)
    };
    let server = Server::start(&scratch, Some(&with(50)));
    wait_until("the target", BOUND, || {
        !server.get("/api/v1/targets").json()["data"]["activeTargets"].as_array().unwrap().is_empty()
    });
    wait_until("the threshold", BOUND, || server.value("override{name=\"queue\"}") == Some(50.0));
    application.set_queue_length(30.0);
    scrape(&server);
    wait_until("the value", BOUND, || server.value("app_queue_length") == Some(30.0));
    let is_firing = || server.value("ALERTS{alertname=\"Long\"}").is_some();
    assert!(!is_firing(), "above the usual 10, below the 50 of this host");
    with(20);
    assert_eq!(server.post("/-/reload", "text/plain", b"").status, 200);
    wait_until("the alert", BOUND, is_firing);
    // Without a threshold of its own the usual one holds, and the series ends.
    config(&scratch, &application, &mail, "watch_rule_groups: [fast]\n");
    assert_eq!(server.post("/-/reload", "text/plain", b"").status, 200);
    wait_until("the threshold to end", BOUND, || server.query("override").is_empty());
}
