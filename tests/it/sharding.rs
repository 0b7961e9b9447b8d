//! More than one server: each scrapes its share by hash, and servers scrape each other's federation.

use crate::support::server::Server;
use crate::support::{Process, Scratch, free_port, http, peer, wait_until};
use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::process::Command;
use std::time::Duration;

const BOUND: Duration = Duration::from_secs(30);

/// Answers every request with one sample; any number of targets on one port, apart by their path.
fn exporter() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let _asked = stream.read(&mut [0; 4096]);
                let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n";
                let _sent = stream.write_all(format!("{head}served 1\n").as_bytes());
            });
        }
    });
    address
}

/// The recipe of docs/scaling.md: the same configuration everywhere but for the number of the server.
#[test]
fn each_server_scrapes_its_share_and_together_they_scrape_all() {
    let scratch = Scratch::new("sharding");
    let address = exporter();
    let targets: Vec<String> = (0..60).map(|n| format!("'host{n}.example.org:9100'")).collect();
    let config = |shard: u64, more: &str| {
        format!(
            "global: {{scrape_interval: 500ms, scrape_timeout: 500ms, external_labels: {{shard: '{shard}'}}}}
scrape_configs:
- job_name: fleet
  static_configs: [{{targets: [{}]}}]
  relabel_configs:
  - {{source_labels: [__address__], modulus: 2, target_label: __tmp_shard, action: hashmod}}
  - {{source_labels: [__tmp_shard], regex: '{shard}', action: keep}}
  - {{source_labels: [__address__], target_label: instance}}
  - {{target_label: __address__, replacement: '{address}'}}
{more}",
            targets.join(", ")
        )
    };
    let start = |name: &str, text: &str| {
        let file = scratch.write(&format!("{name}.yml"), text);
        let address = format!("127.0.0.1:{}", free_port());
        Server::start_at(&address, &scratch.join(name), Some(&file), &scratch.join(&format!("{name}.log")))
    };
    let shards = [start("first", &config(0, "")), start("second", &config(1, ""))];
    let instances = |server: &Server, metric: &str| -> BTreeSet<String> {
        let found = server.query(&format!("{metric}{{job=\"fleet\"}}"));
        found.iter().map(|one| one["metric"]["instance"].as_str().unwrap().to_owned()).collect()
    };
    wait_until("both shares to be up", BOUND, || {
        shards.iter().map(|server| server.value("sum(up{job=\"fleet\"})").unwrap_or(0.0)).sum::<f64>() == 60.0
    });
    let shares = [instances(&shards[0], "served"), instances(&shards[1], "served")];
    assert!(shares.iter().all(|share| share.len() >= 15), "{shares:?}");
    assert_eq!(shares[0].intersection(&shares[1]).count(), 0);
    // What the other one scrapes is shown as dropped, with the rule that did it.
    let targets = shards[0].get("/api/v1/targets?state=dropped").json();
    assert_eq!(targets["data"]["droppedTargetCounts"]["fleet"], shares[1].len(), "{targets}");
    let labels = targets["data"]["droppedTargets"][0]["discoveredLabels"].to_string();
    let steps = shards[0].get(&format!("/api/v1/targets/relabel_steps?scrapePool=fleet&labels={}", http::encode(&labels))).json();
    let steps = steps["data"]["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 2, "{steps:?}");
    assert_eq!((&steps[0]["keep"], &steps[0]["output"]["__tmp_shard"]), (&true.into(), &"1".into()), "{steps:?}");
    assert_eq!(steps[1]["keep"], false, "{steps:?}");
    // One place to ask for all: a server that reads the shards, or one that federates from them.
    let urls: Vec<String> =
        shards.iter().map(|one| format!("{{url: 'http://{}/api/v1/read', read_recent: true}}", one.address)).collect();
    let sources: Vec<String> = shards.iter().map(|one| format!("'{}'", one.address)).collect();
    let above = start(
        "above",
        &format!(
            "remote_read: [{}]
global: {{scrape_interval: 500ms, scrape_timeout: 500ms}}
scrape_configs:
- job_name: federate
  honor_labels: true
  metrics_path: /federate
  params: {{'match[]': ['{{job=\"fleet\"}}']}}
  static_configs: [{{targets: [{}]}}]
  metric_relabel_configs: [{{source_labels: [__name__], regex: served, target_label: __name__, replacement: federated}}]
",
            urls.join(", "),
            sources.join(", ")
        ),
    );
    wait_until("all to be read", BOUND, || above.value("count(served)") == Some(60.0));
    wait_until("all to be federated", BOUND, || above.value("count(federated)") == Some(60.0));
    assert_eq!(instances(&above, "served"), instances(&above, "federated"));
    assert_eq!(above.value("count(count by (shard) (federated))"), Some(2.0));
}

#[test]
fn prometheus_and_this_server_federate_from_each_other() {
    let Some(binary) = peer("PROMETHEUS_BIN") else { return };
    let scratch = Scratch::new("federation");
    let (ours, theirs) = (free_port(), free_port());
    let application = exporter();
    let config = |name: &str, other: u16| {
        format!(
            "global: {{scrape_interval: 500ms, scrape_timeout: 500ms, external_labels: {{from: {name}}}}}
scrape_configs:
- job_name: direct_{name}
  static_configs: [{{targets: ['{application}']}}]
- job_name: federate
  honor_labels: true
  metrics_path: /federate
  params: {{'match[]': ['{{job=~\"direct_.*\",from=\"\"}}', 'up{{job=\"federate\"}}']}}
  static_configs: [{{targets: ['127.0.0.1:{other}']}}]
"
        )
    };
    let mut command = Command::new(binary);
    command.arg(format!("--config.file={}", scratch.write("prometheus.yml", &config("prometheus", ours)).display()));
    command.arg(format!("--storage.tsdb.path={}", scratch.join("prometheus").display()));
    command.arg(format!("--web.listen-address=127.0.0.1:{theirs}"));
    let _process = Process::start(&mut command, "prometheus", scratch.join("prometheus.log"));
    let file = scratch.write("watchkeeper.yml", &config("watchkeeper", theirs));
    let log = scratch.join("watchkeeper.log");
    let server = Server::start_at(&format!("127.0.0.1:{ours}"), &scratch.join("data"), Some(&file), &log);
    wait_until("Prometheus's series", BOUND, || {
        server.value("served{job=\"direct_prometheus\",from=\"prometheus\"}") == Some(1.0)
    });
    let seen = format!("/api/v1/query?query={}", http::encode("served{job=\"direct_watchkeeper\",from=\"watchkeeper\"}"));
    wait_until("our series at Prometheus", BOUND, || {
        http::get(&format!("127.0.0.1:{theirs}"), &seen).is_ok_and(|answer| answer.json()["data"]["result"][0]["value"][1] == "1")
    });
    // The time of a federated sample is that of the sample, not of the scrape.
    let own = server.value("timestamp(served{job=\"direct_prometheus\"})").unwrap();
    assert!((own * 1000.0).fract().abs() < 1e-3);
    assert_eq!(server.value("up{job=\"federate\",from=\"\"}"), Some(1.0));
}
