//! The main job on real parts: exporter -> scrape -> store -> rule in ZooKeeper -> alert -> mail -> dashboard, through
//! broken rules, an absent ZooKeeper and `kill -9` at three moments.

use crate::support::exporters::{Application, NodeExporter};
use crate::support::mail::{MailServer, header};
use crate::support::remote_write::{self, Series};
use crate::support::server::Server;
use crate::support::zookeeper::ZooKeeper;
use crate::support::{Scratch, http, wait_for, wait_until};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use watchkeeper::env::Env;
use watchkeeper::zookeeper::{self as zk, Client, Lifetime};

const BOUND: Duration = Duration::from_secs(30);

struct World {
    scratch: Scratch,
    zookeeper: ZooKeeper,
    application: Application,
    _node: NodeExporter,
    mail: MailServer,
    config: PathBuf,
}

fn world(name: &str) -> World {
    let scratch = Scratch::new(name);
    let zookeeper = ZooKeeper::start(&scratch);
    let application = Application::start(&scratch);
    let node = NodeExporter::start(&scratch);
    let mail = MailServer::start(&scratch);
    let config = scratch.write(
        "watchkeeper.yml",
        &format!(
            r#"
global:
  scrape_interval: 500ms
  scrape_timeout: 500ms
  evaluation_interval: 500ms
scrape_configs:
  - job_name: app
    static_configs:
      - targets: ["127.0.0.1:{app}"]
  - job_name: node
    scrape_interval: 2s
    scrape_timeout: 2s
    static_configs:
      - targets: ["127.0.0.1:{node}"]
zookeeper:
  connect: 127.0.0.1:{zookeeper}
  root: /watchkeeper
  session_timeout: 4s
alertmanager:
  global:
    smtp_smarthost: 127.0.0.1:{mail}
    smtp_from: watchkeeper@example.org
    smtp_auth_username: wk
    smtp_auth_password: secret
  route:
    receiver: ops
    group_by: [alertname]
    group_wait: 1s
    group_interval: 1s
    repeat_interval: 4h
  receivers:
    - name: ops
      email_configs:
        - to: ops@example.org
          send_resolved: true
          tls_config:
            ca_file: {ca}
"#,
            app = application.port,
            node = node.port,
            zookeeper = zookeeper.port,
            mail = mail.port,
            ca = mail.ca_file().display(),
        ),
    );
    World { scratch, zookeeper, application, _node: node, mail, config }
}

fn rule(name: &str, threshold: u32, hold: &str) -> String {
    format!(
        "groups:\n  - name: queues\n    interval: 500ms\n    rules:\n      - alert: {name}\n        expr: app_queue_length > {threshold}\n        for: {hold}\n        labels:\n          severity: critical\n        annotations:\n          summary: \"{{{{ $value }}}} jobs wait on {{{{ $labels.instance }}}}\"\n"
    )
}

/// Another client of ZooKeeper, within this process.
struct Editor {
    runtime: tokio::runtime::Runtime,
    client: Arc<dyn Client>,
}

impl Editor {
    fn connect(zookeeper: &ZooKeeper) -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let env = Env::real();
        let options = zk::Options {
            connect: zookeeper.address(),
            root: "/watchkeeper".to_owned(),
            session_timeout: Duration::from_secs(4),
            digest: None,
            unread: Vec::new(),
            tls: None,
            is_foreign: false,
        };
        let client = runtime.block_on(zk::real_connector(&env).connect(&options)).unwrap();
        Self { runtime, client }
    }

    fn put(&self, path: &str, text: &str) {
        let known = self.runtime.block_on(self.client.get(path)).unwrap();
        let written = match known {
            Some(_) => self.runtime.block_on(self.client.set(path, text.as_bytes(), None)),
            None => self.runtime.block_on(self.client.create(path, text.as_bytes(), Lifetime::Persistent)),
        };
        written.unwrap();
    }

    fn delete(&self, path: &str) {
        self.runtime.block_on(self.client.delete(path, None)).unwrap();
    }
}

fn rule_query(server: &Server, name: &str) -> Option<String> {
    let rules = server.get("/api/v1/rules").json();
    let groups = rules["data"]["groups"].as_array().cloned().unwrap_or_default();
    let found = groups.iter().flat_map(|group| group["rules"].as_array().cloned().unwrap_or_default());
    found.into_iter().find(|rule| rule["name"] == name).and_then(|rule| rule["query"].as_str().map(str::to_owned))
}

/// Waits until the rule has the query, for at most a second since `since`.
fn active_within_a_second(server: &Server, since: Instant, name: &str, query: Option<&str>) {
    wait_until(&format!("rule {name} to be {query:?}"), Duration::from_secs(5), || rule_query(server, name).as_deref() == query);
    let took = since.elapsed();
    assert!(took < Duration::from_secs(1), "the change of rule {name} took {took:?}");
}

fn wait_mail(mail: &MailServer, what: &str, wanted: impl Fn(&str) -> bool) -> String {
    wait_for(what, BOUND, || mail.mails().into_iter().find(|mail| wanted(mail)))
}

fn subjects(mail: &MailServer) -> Vec<String> {
    mail.mails().iter().map(|mail| header(mail, "Subject")).collect()
}

fn has_subject(words: &'static [&'static str]) -> impl Fn(&str) -> bool {
    move |mail| words.iter().all(|word| header(mail, "Subject").contains(word))
}

#[test]
fn from_exporter_to_mail_and_through_every_trouble() {
    let mut world = world("main-job");
    let server = Server::start(&world.scratch, Some(&world.config));
    let path = "/watchkeeper/rules/queues.yml";
    wait_until("both exporters to be scraped", BOUND, || server.value("sum(up{job=~\"app|node\"})") == Some(2.0));
    assert!(server.value("count(node_cpu_seconds_total) > 0").is_some());
    let editor = wait_for("the rules folder", BOUND, || {
        let editor = Editor::connect(&world.zookeeper);
        let there = editor.runtime.block_on(editor.client.get("/watchkeeper/rules")).unwrap().is_some();
        there.then_some(editor)
    });

    // A rule put into a znode by another client is live within a second.
    editor.put(path, &rule("QueueLong", 10, "0s"));
    active_within_a_second(&server, Instant::now(), "QueueLong", Some("app_queue_length > 10"));

    // The metric crosses the threshold: a mail with text and HTML parts. It falls: RESOLVED.
    world.application.set_queue_length(42.0);
    let mail = wait_mail(&world.mail, "the mail", has_subject(&["FIRING:1", "QueueLong"]));
    assert!(mail.contains("text/plain") && mail.contains("text/html"), "{mail}");
    assert!(mail.contains("42 jobs wait on"), "{mail}");
    assert_eq!(header(&mail, "X-Rcpt"), "ops@example.org");
    let firing = server.get("/api/v1/alerts").json();
    assert_eq!(firing["data"]["alerts"][0]["state"], "firing", "{firing}");
    world.application.set_queue_length(1.0);
    wait_mail(&world.mail, "the RESOLVED mail", has_subject(&["RESOLVED", "QueueLong"]));

    // Changed, and live within a second.
    editor.put(path, &rule("QueueLong", 20, "0s"));
    active_within_a_second(&server, Instant::now(), "QueueLong", Some("app_queue_length > 20"));

    // Broken: refused, the last good one stays, and the reason shows in log, metric, API.
    editor.put(path, &rule("QueueLong", 20, "0s").replace("> 20", "> > 20"));
    let refused = wait_for("the refusal in the metric", BOUND, || {
        let found = server.get("/metrics").body.lines().find(|line| line.contains("rule_file_refused{"))?.to_owned();
        found.ends_with(" 1").then_some(found)
    });
    assert!(refused.contains("queues.yml"), "{refused}");
    assert_eq!(rule_query(&server, "QueueLong").as_deref(), Some("app_queue_length > 20"));
    assert!(server.process.output().contains("queues.yml"), "the log names the file");
    let overview = server.get("/api/watchkeeper/v1/overview").json();
    let shown = overview["data"]["rules"]["refusedFiles"].to_string();
    assert!(shown.contains("queues.yml") && shown.contains("\"line\":6"), "{shown}");

    // ZooKeeper goes away for a while and nothing stops.
    editor.put(path, &rule("QueueLong", 10, "0s"));
    active_within_a_second(&server, Instant::now(), "QueueLong", Some("app_queue_length > 10"));
    let before = world.mail.mails().len();
    world.zookeeper.stop();
    wait_until("the loss to show", BOUND, || {
        server.value("watchkeeper_zookeeper_connected") == Some(0.0) || {
            server.get("/metrics").body.contains("watchkeeper_zookeeper_connected 0")
        }
    });
    world.application.set_queue_length(43.0);
    wait_mail(&world.mail, "the mail without ZooKeeper", |mail| mail.contains("43 jobs wait on"));
    world.application.set_queue_length(1.0);
    wait_until("the RESOLVED mail without ZooKeeper", BOUND, || world.mail.mails().len() >= before + 2);
    world.zookeeper.resume();
    wait_until("ZooKeeper to be back", BOUND, || server.get("/metrics").body.contains("watchkeeper_zookeeper_connected 1"));

    // What another person types into ZooKeeper's own client is live too.
    let typed = world.zookeeper.client(&["set", path, "groups: []"]);
    wait_until(&format!("the typed change to be live ({typed})"), BOUND, || rule_query(&server, "QueueLong").is_none());

    // Deleted.
    let editor = Editor::connect(&world.zookeeper);
    editor.put(path, &rule("QueueLong", 11, "0s"));
    active_within_a_second(&server, Instant::now(), "QueueLong", Some("app_queue_length > 11"));
    editor.delete(path);
    active_within_a_second(&server, Instant::now(), "QueueLong", None);
    let told = subjects(&world.mail);
    assert_eq!(told.len(), before + 2, "{told:?}");
}

/// Pushes one sample after the other until told to stop; returns those that were acknowledged.
fn push_until(address: String, stop: Arc<AtomicBool>) -> std::thread::JoinHandle<Vec<(i64, f64)>> {
    std::thread::spawn(move || {
        let mut acknowledged = Vec::new();
        let mut at_ms = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap() - 600_000;
        let mut value = 0.0;
        while !stop.load(Ordering::SeqCst) {
            at_ms += 7;
            value += 1.0;
            let series = Series { labels: vec![("__name__", "pushed"), ("job", "pusher")], samples: vec![(at_ms, value)] };
            match remote_write::send(&address, &[series]) {
                Ok(answer) if answer.status / 100 == 2 => acknowledged.push((at_ms, value)),
                Ok(answer) => assert!(answer.status >= 500, "{}: {}", answer.status, answer.body),
                Err(_) => {}
            }
        }
        acknowledged
    })
}

#[test]
fn kill_nine_loses_nothing_and_doubles_nothing() {
    let world = world("kill-nine");
    let mut server = Server::start(&world.scratch, Some(&world.config));
    let stop = Arc::new(AtomicBool::new(false));
    let pusher = push_until(server.address.clone(), Arc::clone(&stop));
    wait_until("the application to be scraped", BOUND, || server.value("app_queue_length") == Some(1.0));
    let editor = Editor::connect(&world.zookeeper);
    wait_until("the rules folder", BOUND, || editor.runtime.block_on(editor.client.get("/watchkeeper/rules")).unwrap().is_some());
    editor.put("/watchkeeper/rules/queues.yml", &rule("QueueLong", 10, "3s"));
    wait_until("the rule", BOUND, || rule_query(&server, "QueueLong").is_some());

    // First moment: while the alert is pending.
    let crossed = Instant::now();
    world.application.set_queue_length(42.0);
    wait_until("the alert to be pending", BOUND, || server.get("/api/v1/alerts").body.contains("\"pending\""));
    server.kill_and_restart();

    // Second moment: firing, the group still waits for its first notification.
    wait_until("the alert to be firing", BOUND, || server.get("/api/v1/alerts").body.contains("\"firing\""));
    let fired = crossed.elapsed();
    server.kill_and_restart();
    wait_mail(&world.mail, "the mail", has_subject(&["FIRING:1", "QueueLong"]));
    assert!(fired < Duration::from_secs(20), "pending time began anew: {fired:?}");

    // Third moment: the mail was sent and its log entry is on disk.
    wait_until("the entry in the notification log", BOUND, || {
        server
            .get("/metrics")
            .body
            .lines()
            .any(|line| line.starts_with("watchkeeper_notifications_total{") && line.contains("email") && !line.ends_with(" 0"))
    });
    let synced = Instant::now();
    wait_until("a moment to pass", BOUND, || synced.elapsed() > Duration::from_secs(1));
    server.kill_and_restart();
    wait_until("scrapes to go on", BOUND, || server.value("app_queue_length") == Some(42.0));
    wait_until("the alert to fire again", BOUND, || server.get("/api/v1/alerts").body.contains("\"firing\""));

    // It falls: told once, and nothing was told twice.
    world.application.set_queue_length(1.0);
    wait_mail(&world.mail, "the RESOLVED mail", has_subject(&["RESOLVED", "QueueLong"]));
    let told = subjects(&world.mail);
    assert_eq!(told.len(), 2, "told: {told:?}");

    // Not one acknowledged sample is lost.
    stop.store(true, Ordering::SeqCst);
    let acknowledged = pusher.join().unwrap();
    assert!(acknowledged.len() > 50, "only {} samples were acknowledged", acknowledged.len());
    let found = server.query("pushed[1h]");
    let values = found[0]["values"].as_array().unwrap();
    let stored: std::collections::BTreeMap<i64, f64> = values
        .iter()
        .map(|pair| ((pair[0].as_f64().unwrap() * 1000.0).round() as i64, pair[1].as_str().unwrap().parse().unwrap()))
        .collect();
    for (at_ms, value) in &acknowledged {
        assert_eq!(stored.get(at_ms), Some(value), "the acknowledged sample at {at_ms} is lost");
    }
}

#[test]
fn a_second_server_on_one_data_directory_is_refused() {
    let scratch = Scratch::new("second");
    let first = Server::start(&scratch, None);
    let other = format!("127.0.0.1:{}", crate::support::free_port());
    let mut second = Server::spawn(&other, &scratch.join("data"), None, &scratch.join("second.log"));
    let status = second.wait(BOUND);
    assert_eq!(status.code(), Some(1), "{}", second.output());
    assert!(second.output().contains("in use"), "{}", second.output());
    assert_eq!(http::get(&first.address, "/-/healthy").unwrap().status, 200);
}
