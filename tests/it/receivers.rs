//! Others that receive what we send on: Prometheus and VictoriaMetrics by remote write.

use crate::support::exporters::Application;
use crate::support::server::Server;
use crate::support::{Process, Scratch, free_port, http, peer, wait_until};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const BOUND: Duration = Duration::from_secs(60);
/// What is compared: floats, native histograms of Prometheus itself, an application's metrics.
const COMPARED: &str = "__name__=~\"up|scrape_.+|watchkeeper_tsdb_.+|prometheus_http_request_duration_seconds|app_.+\"";

/// What VictoriaMetrics gives back to the bit: it keeps no more than about 15 digits.
const WHOLE_NUMBERS: &str = "__name__=~\"up|scrape_samples_.+|watchkeeper_tsdb_.+_total\"";

/// A Prometheus that others write to, as docs/sending.md says.
struct Receiver {
    process: Process,
    address: String,
    folder: PathBuf,
}

impl Receiver {
    fn start(binary: &std::ffi::OsStr, folder: &Path, port: u16) -> Self {
        let config = folder.join("prometheus.yml");
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(&config, "storage: {tsdb: {out_of_order_time_window: 1h}}\n").unwrap();
        let mut command = Command::new(binary);
        command.arg(format!("--config.file={}", config.display()));
        command.arg(format!("--storage.tsdb.path={}", folder.join("data").display()));
        command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
        command.args(["--web.enable-remote-write-receiver", "--enable-feature=exemplar-storage,native-histograms"]);
        let process = Process::start(&mut command, "prometheus", folder.join("prometheus.log"));
        let address = format!("127.0.0.1:{port}");
        wait_until("Prometheus to be ready", BOUND, || http::get(&address, "/-/ready").is_ok_and(|answer| answer.status == 200));
        Self { process, address, folder: folder.to_owned() }
    }
}

/// All samples of the last hour of series that match, by series: times and values as text.
fn samples(address: &str, selector: &str) -> BTreeMap<String, Vec<(String, String)>> {
    let query = http::encode(&format!("{{{selector}}}[1h]"));
    let answer = http::get(address, &format!("/api/v1/query?nocache=1&query={query}")).unwrap();
    let json = answer.json();
    let mut found = BTreeMap::new();
    for series in json["data"]["result"].as_array().unwrap_or(&Vec::new()) {
        let mut labels = series["metric"].as_object().unwrap().clone();
        // What the way adds.
        for name in ["zone", "via"] {
            labels.remove(name);
        }
        let lists = [&series["values"], &series["histograms"]];
        let pairs = lists.into_iter().filter_map(|list| list.as_array()).flatten();
        let pair = |pair: &serde_json::Value| (pair[0].to_string(), pair[1].to_string());
        found.insert(serde_json::to_string(&labels).unwrap(), pairs.map(pair).collect());
    }
    found
}

/// Waits until the receiver has each sample that the server had at that moment, and no other value. `more`: matchers of the
/// receiver's series.
fn wait_same(server: &Server, receiver: &str, selector: &str, more: &str) {
    let wanted = samples(&server.address, selector);
    assert!(!wanted.is_empty(), "{selector}: the server has nothing");
    let missing = || {
        let there = samples(receiver, &format!("{selector}{more}"));
        wanted.iter().find_map(|(series, samples)| {
            let known = there.get(series).map_or(&[][..], Vec::as_slice);
            samples.iter().find(|sample| !known.contains(sample)).map(|sample| format!("{series}: {sample:?}"))
        })
    };
    let mut last = None;
    let began = std::time::Instant::now();
    while began.elapsed() < BOUND {
        last = missing();
        if last.is_none() {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(50));
    }
    panic!("the receiver misses {last:?}");
}

/// A server that scrapes itself and others, and sends on.
fn sender(scratch: &Scratch, jobs: &str, remote: &str) -> Server {
    let address = format!("127.0.0.1:{}", free_port());
    let config = scratch.write(
        "watchkeeper.yml",
        &format!(
            "global: {{scrape_interval: 250ms, scrape_timeout: 250ms, external_labels: {{zone: here}}}}
scrape_configs:
- job_name: self
  static_configs: [{{targets: ['{address}']}}]
{jobs}remote_write:
{remote}"
        ),
    );
    Server::start_at(&address, &scratch.join("data"), Some(&config), &scratch.join("watchkeeper.log"))
}

/// Waits until some samples more were taken.
fn wait_more(server: &Server) {
    let count = || samples(&server.address, "__name__=\"up\"").values().map(Vec::len).sum::<usize>();
    let before = count();
    wait_until("samples to be taken", BOUND, || count() > before + 8);
}

/// Jobs that scrape a Prometheus and an application, and two remotes: each sends all of it to that Prometheus in its version.
fn both_versions(receiver: &str, application: u16) -> (String, String) {
    let jobs = format!(
        "- job_name: prometheus
  scrape_native_histograms: true
  static_configs: [{{targets: ['{}']}}]
- job_name: app
  static_configs: [{{targets: ['127.0.0.1:{}']}}]
",
        receiver, application
    );
    let target = |via: &str, message: &str| {
        format!(
            "- url: http://{}/api/v1/write
  name: {via}
  protobuf_message: {message}
  send_exemplars: true
  send_native_histograms: true
  queue_config: {{batch_send_deadline: 200ms}}
  metadata_config: {{send_interval: 1s}}
  write_relabel_configs: [{{target_label: via, replacement: {via}}}]
",
            receiver
        )
    };
    let remotes = target("first", "prometheus.WriteRequest") + &target("second", "io.prometheus.write.v2.Request");
    (jobs, remotes)
}

#[test]
fn prometheus_receives_in_both_versions_across_restarts_kills_and_outages() {
    let Some(binary) = peer("PROMETHEUS_BIN") else { return };
    let scratch = Scratch::new("receivers");
    let port = free_port();
    let mut receiver = Receiver::start(&binary, &scratch.join("prometheus"), port);
    let application = Application::start(&scratch);
    let (jobs, remotes) = both_versions(&receiver.address, application.port);
    let mut server = sender(&scratch, &jobs, &remotes);
    let both = ["first", "second"].map(|via| format!(",via=\"{via}\""));
    let all_same = |server: &Server, address: &str| both.iter().for_each(|via| wait_same(server, address, COMPARED, via));
    wait_until("native histograms to be scraped", BOUND, || {
        server.value("histogram_count(prometheus_http_request_duration_seconds{handler=\"/metrics\"})").is_some()
    });
    wait_more(&server);
    all_same(&server, &receiver.address);

    for via in ["first", "second"] {
        let path = format!(
            "/api/v1/query_exemplars?query={}&start=0&end=9999999999",
            http::encode(&format!("app_requests_total{{via=\"{via}\"}}"))
        );
        wait_until("the exemplar to come", BOUND, || {
            http::get(&receiver.address, &path).unwrap().json()["data"][0]["exemplars"][0]["labels"]["trace_id"] == "abc"
        });
    }

    // Killed in the middle of it.
    server.kill_and_restart();
    wait_more(&server);
    all_same(&server, &receiver.address);

    // An application that ends: its series end there at the same time.
    drop(application);
    wait_until("the series to end", BOUND, || server.query("app_queue_length").is_empty());
    wait_more(&server);
    all_same(&server, &receiver.address);
    let ended = http::get(&receiver.address, "/api/v1/query?query=app_queue_length").unwrap().json();
    assert_eq!(ended["data"]["result"], serde_json::json!([]), "no stale marker came");

    // The receiver is away; the server is stopped, started and killed meanwhile.
    receiver.process.kill();
    wait_more(&server);
    server.process.signal("TERM");
    server.process.wait(BOUND);
    server.kill_and_restart();
    server.kill_and_restart();
    let receiver = Receiver::start(&binary, &receiver.folder, port);
    all_same(&server, &receiver.address);
    let zones = http::get(&receiver.address, "/api/v1/label/zone/values").unwrap().json();
    assert_eq!(zones["data"], serde_json::json!(["here"]));
    for kind in ["samples", "histograms", "exemplars"] {
        let lines = server.get("/metrics").body;
        let name = format!("watchkeeper_remote_storage_{kind}_failed_total");
        let lines: Vec<&str> = lines.lines().filter(|line| line.starts_with(&name)).collect();
        assert!(lines.len() == 2 && lines.iter().all(|line| line.ends_with(" 0")), "{lines:?}");
    }
}

#[test]
fn victoria_metrics_receives() {
    let Some(binary) = peer("VICTORIA_BIN") else { return };
    let scratch = Scratch::new("victoria");
    let port = free_port();
    let address = format!("127.0.0.1:{port}");
    let start = || {
        let mut command = Command::new(&binary);
        command.arg(format!("-storageDataPath={}", scratch.join("victoria").display()));
        command.arg(format!("-httpListenAddr={address}")).args(["-inmemoryDataFlushInterval=1s", "-search.latencyOffset=0s"]);
        let process = Process::start(&mut command, "victoria-metrics", scratch.join("victoria.log"));
        wait_until("VictoriaMetrics to be ready", BOUND, || http::get(&address, "/health").is_ok());
        process
    };
    let mut process = start();
    let remote = format!("- url: http://{address}/api/v1/write\n  queue_config: {{batch_send_deadline: 200ms}}\n");
    let mut server = sender(&scratch, "", &remote);
    wait_more(&server);
    wait_same(&server, &address, WHOLE_NUMBERS, "");
    process.signal("TERM");
    process.wait(BOUND);
    wait_more(&server);
    server.kill_and_restart();
    let _process = start();
    wait_same(&server, &address, WHOLE_NUMBERS, "");
}

#[test]
fn watchkeeper_receives_from_watchkeeper() {
    let (scratch, other) = (Scratch::new("chain"), Scratch::new("chain-end"));
    let quiet = other.write("watchkeeper.yml", "host_metrics: false\n");
    let receiver = Server::start(&other, Some(&quiet));
    let message = "protobuf_message: io.prometheus.write.v2.Request";
    let url = format!("- url: http://{}/api/v1/write\n  {message}\n", receiver.address);
    let remote = format!("{url}  queue_config: {{batch_send_deadline: 200ms}}\n");
    let server = sender(&scratch, "", &remote);
    wait_more(&server);
    wait_same(&server, &receiver.address, COMPARED, "");

    // A reload to another queue loses nothing.
    let config = std::fs::read_to_string(scratch.join("watchkeeper.yml")).unwrap();
    scratch.write(
        "watchkeeper.yml",
        &config.replace("batch_send_deadline: 200ms", "batch_send_deadline: 100ms, max_samples_per_send: 50, min_shards: 3"),
    );
    assert_eq!(server.post("/-/reload", "text/plain", b"").status, 200);
    wait_until("the reload", BOUND, || {
        server
            .get("/metrics")
            .body
            .lines()
            .any(|line| line.starts_with("watchkeeper_remote_storage_shards{") && line.ends_with(" 3"))
    });
    wait_more(&server);
    wait_same(&server, &receiver.address, COMPARED, "");
}
