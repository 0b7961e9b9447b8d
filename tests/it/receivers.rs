//! Others that receive what we send on: Prometheus and VictoriaMetrics by remote write.

use crate::support::server::Server;
use crate::support::{Process, Scratch, free_port, http, peer, wait_until};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const BOUND: Duration = Duration::from_secs(60);

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
fn samples(address: &str, selector: &str, hidden: &[&str]) -> BTreeMap<String, Vec<(String, String)>> {
    let answer = http::get(address, &format!("/api/v1/query?query={}", http::encode(&format!("{selector}[1h]")))).unwrap();
    let json = answer.json();
    let mut found = BTreeMap::new();
    for series in json["data"]["result"].as_array().unwrap_or(&Vec::new()) {
        let mut labels = series["metric"].as_object().unwrap().clone();
        for name in hidden {
            labels.remove(*name);
        }
        let pairs = series["values"].as_array().unwrap();
        let pair = |pair: &serde_json::Value| (pair[0].to_string(), pair[1].as_str().unwrap_or("").to_owned());
        found.insert(serde_json::to_string(&labels).unwrap(), pairs.iter().map(pair).collect());
    }
    found
}

/// Waits until the receiver has each sample that the server had at that moment, and no other value.
fn wait_same(server: &Server, receiver: &str, selector: &str, hidden: &[&str]) {
    let wanted = samples(&server.address, selector, &[]);
    assert!(!wanted.is_empty(), "{selector}: the server has nothing");
    let missing = || {
        let there = samples(receiver, selector, hidden);
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

/// A server that scrapes itself and sends on.
fn sender(scratch: &Scratch, remote: &str) -> Server {
    let address = format!("127.0.0.1:{}", free_port());
    let config = scratch.write(
        "watchkeeper.yml",
        &format!(
            "global: {{scrape_interval: 250ms, scrape_timeout: 250ms, external_labels: {{zone: here}}}}
scrape_configs:
- job_name: self
  static_configs: [{{targets: ['{address}']}}]
remote_write:
{remote}"
        ),
    );
    Server::start_at(&address, &scratch.join("data"), Some(&config), &scratch.join("watchkeeper.log"))
}

#[test]
fn prometheus_receives_across_restarts_kills_and_outages() {
    let Some(binary) = peer("PROMETHEUS_BIN") else { return };
    let scratch = Scratch::new("receivers");
    let port = free_port();
    let mut receiver = Receiver::start(&binary, &scratch.join("prometheus"), port);
    let remote = format!("- url: http://{}/api/v1/write\n  queue_config: {{batch_send_deadline: 200ms}}\n", receiver.address);
    let mut server = sender(&scratch, &remote);
    let self_made = "{__name__=~\"up|scrape_.+|watchkeeper_tsdb_.+\"}";
    wait_until("samples to come", BOUND, || samples(&receiver.address, "up", &[]).values().any(|samples| samples.len() > 4));
    wait_same(&server, &receiver.address, self_made, &["zone"]);

    // Killed in the middle of it.
    server.kill_and_restart();
    wait_same(&server, &receiver.address, self_made, &["zone"]);

    // The receiver is away; the server is stopped, started and killed meanwhile.
    receiver.process.kill();
    let count = || samples(&server.address, "up", &[]).values().map(Vec::len).sum::<usize>();
    let before = count();
    wait_until("samples to be taken", BOUND, || count() > before + 8);
    server.process.signal("TERM");
    server.process.wait(BOUND);
    server.kill_and_restart();
    server.kill_and_restart();
    let receiver = Receiver::start(&binary, &receiver.folder, port);
    wait_same(&server, &receiver.address, self_made, &["zone"]);

    // What was scraped of a target that is gone has ended there as well.
    let zone = samples(&receiver.address, "up", &[]);
    assert!(zone.keys().all(|labels| labels.contains("\"zone\":\"here\"")), "{zone:?}");
}
