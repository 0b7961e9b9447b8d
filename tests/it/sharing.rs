//! Two members share the targets: each target is scraped by one, both answer for all, and nothing flaps when one goes.

use crate::support::server::Server;
use crate::support::zookeeper::ZooKeeper;
use crate::support::{Scratch, free_port, http, wait_until};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const BOUND: Duration = Duration::from_secs(40);
const SESSION: Duration = Duration::from_secs(2);
const TOKEN: (&str, &str) = ("Authorization", "Bearer sesame");
const TARGETS: usize = 20;

type Counts = Arc<Mutex<BTreeMap<String, usize>>>;

/// Answers every request with one sample, and counts them by path.
fn exporter() -> (String, Counts) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, counts) = (listener.local_addr().unwrap().to_string(), Counts::default());
    let counting = Arc::clone(&counts);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let counting = Arc::clone(&counting);
            std::thread::spawn(move || {
                let mut request = [0; 4096];
                let length = stream.read(&mut request).unwrap_or(0);
                let request = String::from_utf8_lossy(&request[..length]).into_owned();
                // A scrape that was given up as its target moved may be no more than a connection.
                let Some(path) = request.split(' ').nth(1).map(str::to_owned) else { return };
                *counting.lock().unwrap().entry(path).or_default() += 1;
                let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n";
                let _sent = stream.write_all(format!("{head}served 1\n").as_bytes());
            });
        }
    });
    (address, counts)
}

fn get(server: &Server, path: &str) -> Value {
    http::request(&server.address, "GET", path, &[TOKEN], &[]).unwrap().json()
}

fn query(server: &Server, expression: &str) -> Vec<Value> {
    let answer = get(server, &format!("/api/v1/query?query={}", http::encode(expression)));
    answer["data"]["result"].as_array().unwrap_or_else(|| panic!("{expression}: {answer}")).clone()
}

fn value(server: &Server, expression: &str) -> f64 {
    query(server, expression).first().map_or(0.0, |one| one["value"][1].as_str().unwrap().parse().unwrap())
}

fn instances(list: &Value, member: Option<&str>) -> BTreeSet<String> {
    let is_of = |target: &&Value| target["scrapePool"] == "fleet" && member.is_none_or(|member| target["member"] == member);
    let targets = list.as_array().into_iter().flatten().filter(is_of);
    targets.map(|target| target["labels"]["instance"].as_str().unwrap().to_owned()).collect()
}

/// What a member scrapes itself.
fn own(server: &Server) -> BTreeSet<String> {
    instances(&get(server, "/api/v1/targets")["data"]["activeTargets"], None)
}

fn elsewhere(server: &Server, member: &str) -> BTreeSet<String> {
    instances(&get(server, "/api/v1/targets")["data"]["elsewhereTargets"], Some(member))
}

fn config(name: &str, zookeeper: &ZooKeeper, exporter: &str, targets: std::ops::Range<usize>) -> String {
    let targets: Vec<String> = targets.map(|number| format!("host{number}")).collect();
    format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 200ms}}
zookeeper: {{connect: '{}', session_timeout: {}s}}
cluster: {{name: {name}, secret_file: secret, share_scrapes: true}}
web: {{api_tokens: [{{name: t, token: sesame}}]}}
host_metrics: false
rule_files: [rules.yml]
scrape_configs:
- job_name: fleet
  static_configs: [{{targets: [{}]}}]
  relabel_configs:
  - {{source_labels: [__address__], target_label: instance}}
  - {{source_labels: [__address__], target_label: __metrics_path__, replacement: '/$1'}}
  - {{target_label: __address__, replacement: '{exporter}'}}
",
        zookeeper.address(),
        SESSION.as_secs(),
        targets.join(", ")
    )
}

const RULES: &str = "groups:
- name: g
  rules:
  - {record: fleet:up, expr: 'count(up{job=\"fleet\"} == 1)'}
  - {alert: Flap, expr: 'up{job=\"fleet\"} == 0 or count(up{job=\"fleet\"}) < 20'}
";

#[test]
#[expect(clippy::too_many_lines, reason = "one story: each step needs the state that the last one left")]
fn members_share_the_targets_and_each_answers_for_all() {
    let scratch = Scratch::new("sharing");
    let mut zookeeper = ZooKeeper::start(&scratch);
    let (exporter, counts) = exporter();
    scratch.write("secret", "correct horse battery staple\n");
    scratch.write("rules.yml", RULES);
    let start = |name: &str| {
        let file = scratch.write(&format!("{name}.yml"), &config(name, &zookeeper, &exporter, 0..TARGETS));
        let address = format!("127.0.0.1:{}", free_port());
        Server::start_at(&address, &scratch.join(name), Some(&file), &scratch.join(&format!("{name}.log")))
    };
    let one = start("one");
    wait_until("one to scrape all alone", BOUND, || value(&one, "fleet:up") == TARGETS as f64);
    let began = Instant::now();
    let mut two = start("two");
    let is_shared = |one: &Server, two: &Server| {
        let (a, b) = (own(one), own(two));
        a.len() + b.len() == TARGETS && a.is_disjoint(&b) && elsewhere(one, "two") == b && elsewhere(two, "one") == a
    };
    wait_until("each target to be scraped by one", BOUND, || is_shared(&one, &two));
    wait_until("both to answer for all", BOUND, || {
        [&one, &two].iter().all(|server| value(server, "count(up{job=\"fleet\"} == 1)") == TARGETS as f64)
    });
    let parts = (own(&one).len(), own(&two).len());
    assert!(parts.0 > 2 && parts.1 > 2, "{parts:?}");

    // In truth: the exporters are asked once in an interval, and both have it at once.
    let (before, from) = (counts.lock().unwrap().clone(), Instant::now());
    wait_until("some intervals", BOUND, || from.elapsed() > Duration::from_secs(4));
    for (path, count) in counts.lock().unwrap().iter() {
        let asked = count - before[path];
        assert!((3..=5).contains(&asked), "{path} was asked {asked} times in 4 s");
    }
    for server in [&one, &two] {
        let behind = value(server, "max(time() - timestamp(up{job=\"fleet\"}))");
        assert!(behind < 3.0, "the oldest sample is {behind} s old");
        // Own metrics of both, under names of their own; what rules compute is computed here and not sent.
        wait_until("own metrics of both", BOUND, || value(server, "count(up{job=\"watchkeeper\"})") == 2.0);
        assert_eq!(query(server, "fleet:up").len(), 1);
    }

    // Samples are taken from members alone, and passwords hold for all others.
    let write = |headers: &[(&str, &str)]| http::request(&one.address, "POST", "/api/v1/write", headers, b"x").unwrap().status;
    assert_eq!(write(&[]), 401);
    assert_eq!(write(&[("Watchkeeper-Member", "1:2:3")]), 403);
    assert_eq!(write(&[("Watchkeeper-Member", ""), TOKEN]), 403);

    let steady = Instant::now();
    two.process.kill();
    let killed = Instant::now();
    wait_until("the other one to have all targets", BOUND, || own(&one).len() == TARGETS);
    let took = killed.elapsed();
    println!("taken over {took:.1?} after kill -9 (session time-out {SESSION:?})");
    assert!(took < SESSION + Duration::from_secs(4), "{took:?}");
    wait_until("all of them to be fresh", BOUND, || value(&one, "min(timestamp(up{job=\"fleet\"}) > bool (time() - 2))") == 1.0);

    // It comes back: what it missed comes after, and it has its part again.
    let away = killed.elapsed();
    two.kill_and_restart();
    wait_until("each target to be scraped by one again", BOUND, || is_shared(&one, &two));
    assert_eq!((own(&one).len(), own(&two).len()), parts);
    let back = Instant::now();
    let counted = |server: &Server| -> BTreeMap<String, f64> {
        let offset = back.elapsed().as_secs() + 1;
        let window = away.as_secs() + 8;
        let found = query(server, &format!("count_over_time(up{{job=\"fleet\"}}[{window}s] offset {offset}s)"));
        let count = |one: &Value| one["value"][1].as_str().unwrap().parse().unwrap();
        found.iter().map(|one| (one["metric"]["instance"].as_str().unwrap().to_owned(), count(one))).collect()
    };
    wait_until("what it missed", BOUND, || {
        let (there, here) = (counted(&one), counted(&two));
        there.len() == TARGETS && there.iter().all(|(instance, count)| here.get(instance).is_some_and(|here| here + 1.5 > *count))
    });

    // All this time nobody was told of anything.
    let since = steady.elapsed().as_secs();
    assert_eq!(query(&one, &format!("count_over_time(ALERTS{{alertname=\"Flap\"}}[{since}s])")), [] as [Value; 0]);

    // Without ZooKeeper nothing moves, and afterwards each target is one's again.
    zookeeper.stop();
    let stopped = Instant::now();
    wait_until("the sessions to be over", BOUND, || {
        assert!(is_shared(&one, &two), "something moved");
        stopped.elapsed() > SESSION * 2
    });
    zookeeper.resume();
    // Not by the metric, which is as old as its last scrape.
    let is_live = |server: &Server| get(server, "/api/watchkeeper/v1/zookeeper")["data"]["state"] == "live";
    wait_until("ZooKeeper to be back", BOUND, || is_live(&one) && is_live(&two));
    wait_until("each target to be scraped by one after all", BOUND, || is_shared(&one, &two));

    // A target that is gone ends everywhere, whoever scraped it.
    let gone = [own(&one).first().unwrap().clone(), own(&two).first().unwrap().clone()];
    for (name, server) in [("one", &one), ("two", &two)] {
        let text = config(name, &zookeeper, &exporter, 0..TARGETS);
        let text = gone.iter().fold(text, |text, gone| {
            text.replace(&format!("[{gone},"), "[").replace(&format!(" {gone},"), " ").replace(&format!(", {gone}]"), "]")
        });
        scratch.write(&format!("{name}.yml"), &text);
        assert_eq!(http::request(&server.address, "POST", "/-/reload", &[TOKEN], &[]).unwrap().status, 200);
    }
    for server in [&one, &two] {
        wait_until("it to end", BOUND, || {
            let left = query(server, "up{job=\"fleet\"}");
            left.len() == TARGETS - 2 && left.iter().all(|one| gone.iter().all(|gone| one["metric"]["instance"] != gone.as_str()))
        });
    }

    // A clean stop hands over.
    assert_eq!(http::request(&two.address, "POST", "/-/quit", &[TOKEN], &[]).unwrap().status, 200);
    wait_until("it to end", BOUND, || !two.process.is_running());
    let stopped = Instant::now();
    wait_until("the other one to have all targets", BOUND, || own(&one).len() == TARGETS - 2);
    // ZooKeeper was away a moment ago: then who stays waits for a session time-out.
    assert!(stopped.elapsed() < SESSION + Duration::from_secs(1), "{:?}", stopped.elapsed());
    println!("{} targets, all in {:.1?}", TARGETS, began.elapsed());
}

#[test]
fn sharing_without_a_secret_is_refused() {
    let scratch = Scratch::new("sharing-refused");
    let check = |text: &str| {
        let file = scratch.write("w.yml", text);
        let mut command = std::process::Command::new(crate::support::server::BINARY);
        crate::support::run(command.args(["check", "config"]).arg(file))
    };
    let refused = check("zookeeper: {connect: 'a:1'}\ncluster: {share_scrapes: true}\n");
    assert!(refused.0 != 0 && format!("{refused:?}").contains("share_scrapes needs secret_file"), "{refused:?}");
    scratch.write("secret", "x");
    let refused = check("cluster: {share_scrapes: true, secret_file: secret}\n");
    assert!(refused.0 != 0 && format!("{refused:?}").contains("share_scrapes needs zookeeper"), "{refused:?}");
}
