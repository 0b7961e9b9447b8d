//! Targets that register themselves in a real ZooKeeper: all kinds, coming and going, ZooKeeper away, restarts meanwhile.

use crate::support::server::Server;
use crate::support::zookeeper::{OtherClient, ZooKeeper};
use crate::support::{Scratch, wait_for, wait_until};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

const BOUND: Duration = Duration::from_secs(20);
/// How often a member comes and goes to see how long that takes.
const ROUNDS: u16 = 50;

fn targets(server: &Server) -> Vec<serde_json::Value> {
    server.get("/api/v1/targets?state=active").json()["data"]["activeTargets"].as_array().unwrap().clone()
}

/// The addresses of a job's targets.
fn addresses(server: &Server, job: &str) -> BTreeSet<String> {
    let of_job = targets(server).into_iter().filter(|target| target["scrapePool"] == job);
    of_job.map(|target| target["discoveredLabels"]["__address__"].as_str().unwrap().to_owned()).collect()
}

fn wait_addresses(server: &Server, job: &str, wanted: &[&str]) {
    let wanted: BTreeSet<String> = wanted.iter().map(|&address| address.to_owned()).collect();
    wait_until(&format!("{job} to have {wanted:?}"), BOUND, || addresses(server, job) == wanted);
}

/// What is wrong with a job's discovery.
fn errors(server: &Server, job: &str) -> Vec<String> {
    let answer = server.get(&format!("/api/watchkeeper/v1/discovery?scrapePool={job}")).json();
    let errors = answer["data"]["errors"].as_array().unwrap();
    errors.iter().map(|error| error["error"].as_str().unwrap().to_owned()).collect()
}

fn config(address: &str) -> String {
    format!(
        r#"
global: {{scrape_interval: 1h}}
zookeeper: {{connect: '{address}', session_timeout: 4s}}
scrape_configs:
- job_name: serverset
  serverset_sd_configs: [{{servers: ['{address}'], paths: [/services], timeout: 4s}}]
  relabel_configs: [{{source_labels: [__meta_serverset_shard], target_label: shard}}]
- job_name: nerve
  nerve_sd_configs: [{{servers: ['{address}'], paths: [/nerve, /nowhere], timeout: 4s}}]
- job_name: curator
  curator_sd_configs: [{{paths: [/curator], timeout: 4s}}]
- job_name: kafka
  kafka_sd_configs: [{{paths: [/kafka], timeout: 4s}}]
  relabel_configs: [{{source_labels: [__meta_kafka_host, __meta_kafka_jmx_port], separator: ':', target_label: __address__}}]
- job_name: dubbo
  dubbo_sd_configs: [{{paths: [/dubbo], timeout: 4s}}]
- job_name: znode
  znode_sd_configs: [{{paths: [/app], timeout: 4s, address: '{{{{ .json.host }}}}:{{{{ .json.port }}}}', labels: {{zone: '{{{{ .json.zone }}}}'}}}}]
- job_name: chroot
  nerve_sd_configs: [{{servers: ['{address}/not/ours'], paths: [/nerve], timeout: 4s}}]
"#
    )
}

/// Jobs, and the member of each.
const ALL: [(&str, &str); 6] = [
    ("serverset", "10.0.0.1:80"),
    ("nerve", "10.0.0.2:81"),
    ("curator", "10.0.0.3:82"),
    ("kafka", "10.0.0.4:9092"),
    ("dubbo", "10.0.0.5:20880"),
    ("znode", "10.0.0.6:83"),
];

/// One member of each kind, and one that is none.
fn register(registrar: &OtherClient) {
    registrar.put(
        "/services/web/member_1",
        br#"{"serviceEndpoint": {"host": "10.0.0.1", "port": 80}, "shard": 7, "status": "ALIVE"}"#,
    );
    registrar.put("/nerve/a/1", br#"{"host": "10.0.0.2", "port": 81, "name": "one"}"#);
    registrar.put("/curator/pay/1", br#"{"name": "pay", "id": "1", "address": "10.0.0.3", "port": 82, "payload": null}"#);
    registrar.put(
        "/kafka/brokers/ids/0",
        br#"{"host": "10.0.0.4", "port": 9092, "jmx_port": 9999, "endpoints": ["PLAINTEXT://10.0.0.4:9092"]}"#,
    );
    registrar.put("/dubbo/x.Y/providers/dubbo%3A%2F%2F10.0.0.5%3A20880%2Fx.Y%3Fapplication%3Dshop", b"");
    registrar.put("/app/1", br#"{"host": "10.0.0.6", "port": 83, "zone": "z"}"#);
    registrar.put("/app/broken", b"\x00\x01 no JSON \xff");
}

#[test]
fn members_come_and_go_and_stay_while_zookeeper_is_away() {
    let scratch = Scratch::new("discovery");
    let mut zookeeper = ZooKeeper::start(&scratch);
    let registrar = OtherClient::connect(zookeeper.address());
    register(&registrar);
    let file = scratch.write("watchkeeper.yml", &config(&zookeeper.address()));
    let mut server = Server::start(&scratch, Some(&file));

    // All kinds, with what they bring along.
    for (job, address) in ALL {
        wait_addresses(&server, job, &[address]);
    }
    let labels = |job: &str| targets(&server).into_iter().find(|target| target["scrapePool"] == job).unwrap();
    assert_eq!(labels("serverset")["labels"]["shard"], "7");
    assert_eq!(labels("kafka")["scrapeUrl"], "http://10.0.0.4:9999/metrics");
    assert_eq!(labels("dubbo")["discoveredLabels"]["__meta_dubbo_application"], "shop");
    assert_eq!(labels("znode")["labels"]["zone"], "z");

    // What is wrong is said; nothing is made where nothing is, neither paths nor a chroot.
    assert_eq!(errors(&server, "nerve"), [format!("/nowhere does not exist in the ensemble {}", zookeeper.address())]);
    let broken = errors(&server, "znode");
    assert!(broken.len() == 1 && broken[0].starts_with("/app/broken: ") && broken[0].contains("not JSON"), "{broken:?}");
    wait_until("the chroot to be missed", BOUND, || {
        errors(&server, "chroot").iter().any(|error| error.starts_with("/nerve does not exist"))
    });
    assert!(registrar.get("/nowhere").is_none() && registrar.get("/not").is_none());
    // One session for all jobs of an ensemble, whether they name it or not; the chroot has one of its own.
    let page = server.get("/metrics").body;
    let sessions = page.lines().filter(|line| line.starts_with("watchkeeper_sd_zookeeper_connected{"));
    assert_eq!(sessions.count(), 2, "{page}");

    // A path that appears is picked up; a member that changes is read anew; one that goes, goes.
    registrar.put("/nowhere/late", br#"{"host": "10.0.0.7", "port": 84}"#);
    wait_addresses(&server, "nerve", &["10.0.0.2:81", "10.0.0.7:84"]);
    wait_until("the error to go", BOUND, || errors(&server, "nerve").is_empty());
    registrar.put("/not/ours/nerve/x", br#"{"host": "10.0.0.8", "port": 85}"#);
    wait_addresses(&server, "chroot", &["10.0.0.8:85"]);
    registrar.put("/nowhere/late", br#"{"host": "10.0.0.7", "port": 90}"#);
    wait_addresses(&server, "nerve", &["10.0.0.2:81", "10.0.0.7:90"]);
    registrar.delete("/nowhere/late");
    wait_addresses(&server, "nerve", &["10.0.0.2:81"]);

    // ZooKeeper away: all targets stay, also after a restart of ours.
    registrar.delete("/app/1");
    registrar.put("/app/2", br#"{"host": "10.0.0.9", "port": 86}"#);
    wait_addresses(&server, "znode", &["10.0.0.9:86"]);
    zookeeper.stop();
    wait_until("the loss to be shown", BOUND, || errors(&server, "znode").iter().any(|error| error.starts_with("ZooKeeper ")));
    server.kill_and_restart();
    for (job, address) in ALL.into_iter().filter(|(job, _)| *job != "znode").chain([("znode", "10.0.0.9:86")]) {
        wait_addresses(&server, job, &[address]);
    }
    wait_until("the absence to be shown", BOUND, || {
        errors(&server, "dubbo").iter().any(|error| error.contains("what was known before the start goes on"))
    });

    // It comes back, changed.
    zookeeper.resume();
    let registrar = OtherClient::connect(zookeeper.address());
    registrar.put("/app/3", br#"{"host": "10.0.0.10", "port": 87}"#);
    registrar.delete("/nerve/a/1");
    wait_for("the change after the return", Duration::from_secs(40), || {
        (addresses(&server, "znode").len() == 2 && addresses(&server, "nerve").is_empty()).then_some(())
    });
    wait_until("no error about the session", BOUND, || errors(&server, "dubbo").is_empty());

    // A path that somebody else keeps for us is ours to read alone; a job that goes takes its session along.
    let without: String = config(&zookeeper.address()).split("- job_name: chroot").next().unwrap().to_owned();
    scratch.write("watchkeeper.yml", &without);
    server.post("/-/reload", "text/plain", b"");
    wait_until("the job to be gone", BOUND, || addresses(&server, "chroot").is_empty());
    wait_until("its session to end", BOUND, || !server.get("/metrics").body.contains("/not/ours"));
}

/// How long it takes from the write until the target is shown, and from the deletion until it is not.
#[test]
fn members_are_seen_within_half_a_second() {
    let scratch = Scratch::new("discovery-time");
    let zookeeper = ZooKeeper::start(&scratch);
    let registrar = OtherClient::connect(zookeeper.address());
    registrar.put("/nerve/first", br#"{"host": "10.0.0.1", "port": 1}"#);
    let file = scratch.write(
        "watchkeeper.yml",
        &format!(
            "scrape_configs: [{{job_name: nerve, scrape_interval: 1h, nerve_sd_configs: [{{servers: ['{}'], paths: [/nerve]}}]}}]",
            zookeeper.address()
        ),
    );
    let server = Server::start(&scratch, Some(&file));
    wait_addresses(&server, "nerve", &["10.0.0.1:1"]);
    let mut came = Vec::new();
    let mut gone = Vec::new();
    for round in 1..=ROUNDS {
        let (path, address) = (format!("/nerve/{round}"), format!("10.0.0.2:{round}"));
        let until = |wanted: bool| {
            let began = Instant::now();
            while addresses(&server, "nerve").contains(&address) != wanted {
                assert!(began.elapsed() < BOUND, "{address}");
                std::thread::park_timeout(Duration::from_millis(1));
            }
            began.elapsed()
        };
        registrar.put(&path, format!("{{\"host\": \"10.0.0.2\", \"port\": {round}}}").as_bytes());
        came.push(until(true));
        registrar.delete(&path);
        gone.push(until(false));
    }
    for (what, times) in [("appears", &mut came), ("disappears", &mut gone)] {
        times.sort();
        let (p50, p99) = (times[times.len() / 2], times[times.len() * 99 / 100]);
        println!("a member {what}: p50 {p50:?}, p99 {p99:?}, {ROUNDS} rounds");
        assert!(p50 < Duration::from_millis(500), "{what}: {times:?}");
    }
}
