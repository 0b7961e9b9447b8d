//! Rules beyond Prometheus's: from a changed value to the mail about it without an evaluation phase, thresholds as data, replay,
//! lints.

use crate::support::exporters::Application;
use crate::support::mail::MailServer;
use crate::support::remote_write::{self, Series};
use crate::support::server::{BINARY, Server};
use crate::support::{Scratch, run, wait_for, wait_until};
use std::path::PathBuf;
use std::process::Command;
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

#[test]
fn a_rule_is_replayed_over_what_is_stored() {
    let scratch = Scratch::new("replay");
    let config = scratch.write("watchkeeper.yml", "global: {evaluation_interval: 15s}\nstorage: {retention: {time: 0}}\n");
    let server = Server::start(&scratch, Some(&config));
    let now_s = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
    // For a day, each minute: high for 10 minutes at the start of each 6 hours, and for one minute at half past.
    let value = |minute: i64| if minute % 360 < 10 || minute % 360 == 30 { 20.0 } else { 1.0 };
    let samples = (0..1440).map(|minute| ((now_s - 86_400 + minute * 60) * 1000, value(minute))).collect();
    let series = Series { labels: vec![("__name__", "load"), ("instance", "db1")], samples };
    assert!(remote_write::send(&server.address, &[series]).unwrap().status < 300);
    let rules = scratch.write(
        "rules.yml",
        "groups:\n- name: g\n  interval: 1m\n  rules:\n  - alert: High\n    expr: load > 10\n    for: 5m\n    labels: {who: '{{ $labels.instance }}'}\n    annotations: {runbook: r}\n  - alert: Never\n    expr: load > 100\n    annotations: {runbook: r}\n  - record: r\n    expr: load\n",
    );
    let url = format!("http://{}", server.address);
    let replay = |file: &std::path::Path, more: &[&str]| {
        let mut command = Command::new(BINARY);
        command.args(["check", "rules", "--replay", "--url", &url]).args(more).arg(file);
        run(&mut command)
    };
    let (code, told) = replay(&rules, &["--since", "23h50m"]);
    assert_eq!(code, 0, "{told}");
    let high = "rules.yml:5: High would have fired 3 times in the last 23h50m";
    let fired = told.contains(high) || told.contains(&high.replace('3', "4"));
    assert!(fired && told.contains("would have been pending 4 times without firing"), "{told}");
    assert!(told.contains("{instance=\"db1\", who=\"db1\"}"), "{told}");
    assert!(told.contains("rules.yml:10: Never would not have fired in the last 23h50m"), "{told}");
    // By HTTP, and what is refused.
    let path = "/api/watchkeeper/v1/rules/replay";
    let form = format!("expr=load+%3E+10&for=5m&interval=60&start={}&end={}", now_s - 86_400, now_s);
    let answer = server.post(path, "application/x-www-form-urlencoded", form.as_bytes());
    let data = answer.json()["data"].clone();
    assert_eq!((data["fired"].as_u64(), data["gaveUp"].as_u64()), (Some(4), Some(4)), "{}", answer.body);
    assert_eq!(data["alerts"][0]["labels"]["alertname"], "Replay");
    for (query, status, words) in [
        ("expr=load%28", 400, "parse error"),
        ("expr=load&interval=1ms", 400, "evaluations are more than 600000"),
        ("expr=load&start=10&end=5", 400, "before the start"),
        ("expr=load&labels=5", 400, "invalid parameter"),
        ("expr=load+or+label_replace(load,'x','y','','')&labels=%7B%22x%22:%22z%22%7D", 422, "same labelset"),
    ] {
        let refused = server.get(&format!("{path}?{query}"));
        assert!(refused.status == status && refused.body.contains(words), "{query}: {} {}", refused.status, refused.body);
    }
    // The command says what failed, and goes on.
    let (code, told) = replay(&rules, &["--since", "10y"]);
    assert!(
        code == 1 && told.contains("rules.yml:5: High cannot be replayed: ") && told.contains("evaluations are more"),
        "{told}"
    );
}

#[test]
fn lints_say_file_and_line_and_ask_for_types() {
    let scratch = Scratch::new("lints");
    let application = Application::start(&scratch);
    let config = scratch.write(
        "watchkeeper.yml",
        &format!("scrape_configs: [{{job_name: app, scrape_interval: 250ms, scrape_timeout: 250ms, static_configs: [{{targets: ['127.0.0.1:{}']}}]}}]\n", application.port),
    );
    let server = Server::start(&scratch, Some(&config));
    wait_until("metadata", BOUND, || server.get("/api/v1/metadata").body.contains("app_queue_length"));
    let rule = "groups:\n- name: g\n  rules:\n  - {record: r, expr: 'rate(app_queue_length[5m])'}\n";
    let (first, second) = (scratch.write("a.yml", rule), scratch.write("b.yml", rule));
    let check = |more: &[&str]| run(Command::new(BINARY).args(["check", "rules"]).args(more).arg(&first).arg(&second));
    let (code, told) = check(&[]);
    let doubled = format!("b.yml:4: warning: r{{}} is already made by the rule at {}:4", first.display());
    assert!(code == 0 && told.contains(&doubled) && !told.contains("gauge"), "{told}");
    let url = format!("http://{}", server.address);
    let (code, told) = check(&["--lint-fatal", "--metadata", "--url", &url]);
    let gauge = "a.yml:4: warning: r: rate() of app_queue_length, which is a gauge by what its exporter says";
    assert!(code == 1 && told.contains(gauge), "{told}");
}

#[test]
fn every_state_of_an_alert_is_kept_over_a_kill() {
    let scratch = Scratch::new("alert-states");
    let application = Application::start(&scratch);
    scratch.write(
        "rules.yml",
        "groups:\n- name: g\n  rules:\n  - {alert: Long, expr: app_queue_length > 10, for: 1s, labels: {severity: critical}}\n",
    );
    let config = scratch.write(
        "watchkeeper.yml",
        &format!(
            "global: {{scrape_interval: 200ms, scrape_timeout: 200ms, evaluation_interval: 200ms}}\nscrape_configs: [{{job_name: app, static_configs: [{{targets: ['127.0.0.1:{}']}}]}}]\nrule_files: [rules.yml]\n",
            application.port
        ),
    );
    let mut server = Server::start(&scratch, Some(&config));
    application.set_queue_length(30.0);
    let firing = "ALERTS{alertname=\"Long\", alertstate=\"firing\"}";
    wait_until("the alert", BOUND, || server.value(firing).is_some());
    let alerts = wait_for("the notifier", BOUND, || {
        let alerts = server.get("/api/v2/alerts").json();
        alerts[0]["fingerprint"].as_str().map(str::to_owned)
    });
    let path = format!("/api/watchkeeper/v1/alerts/{alerts}/states");
    let states = |server: &Server| -> Vec<String> {
        let answer = server.get(&path);
        assert_eq!(answer.status, 200, "{}", answer.body);
        let list = answer.json()["data"].as_array().cloned().unwrap_or_default();
        list.iter().map(|change| format!("{} {}", change["state"].as_str().unwrap(), change["value"].as_str().unwrap())).collect()
    };
    wait_until("both changes", BOUND, || states(&server) == ["pending 30", "firing 30"]);
    server.kill_and_restart();
    assert_eq!(states(&server), ["pending 30", "firing 30"], "kept");
    application.set_queue_length(1.0);
    wait_until("the end", BOUND, || states(&server).len() > 2);
    assert_eq!(states(&server), ["pending 30", "firing 30", "inactive 30"]);
    for (path, words) in [("/api/watchkeeper/v1/alerts/xyz/states", "16 hexadecimal"), (&*format!("{path}?hours=0"), "above 0")] {
        let refused = server.get(path);
        assert!(refused.status == 400 && refused.body.contains(words), "{}", refused.body);
    }
}
