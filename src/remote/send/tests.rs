//! The whole way from a store to a receiver that the test speaks for, over real sockets.

#![expect(clippy::disallowed_methods, reason = "the receiver is no part of the server's world")]

use super::{Member, MemberLink, RemoteWrite, RemoteWriteDeps};
use crate::config::Config;
use crate::config::remote::{RemoteWriteConfig, WriteMessage};
use crate::env::memory_disk::MemoryDisk;
use crate::env::{Disk as _, Env};
use crate::model::exemplar::Exemplar;
use crate::model::histogram::{FloatHistogram, Span};
use crate::model::labels::Labels;
use crate::model::matcher::Matcher;
use crate::model::metadata::{Metadata, MetricType};
use crate::model::sample::stale_nan;
use crate::remote::receive::{Version, receive};
use crate::storage::append::{Append as _, BatchSample, BatchValue, Durability};
use crate::storage::select::{Hints, Querier as _, TimeRange};
use crate::storage::{Store, StoreOptions};
use crate::telemetry::metrics::Registry;
use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

const ALL: TimeRange = TimeRange { start_ms: i64::MIN, end_ms: i64::MAX };

/// What a receiver answers next instead of taking a request.
#[derive(Clone, Debug)]
enum Mood {
    Answer(&'static str),
    HangUp,
}

/// A receiver with a store of its own.
#[derive(Clone)]
struct Receiver {
    store: Store,
    moods: Arc<Mutex<VecDeque<Mood>>>,
    /// The first lines of requests that came, with their headers.
    heads: Arc<Mutex<Vec<String>>>,
    address: std::net::SocketAddr,
}

fn open(disk: &MemoryDisk, is_followed: bool) -> Store {
    let env = Env { disk: Arc::new(disk.clone()), ..Env::real() };
    let options = StoreOptions { dir: "data".into(), retention_ms: 0, is_followed, ..StoreOptions::default() };
    Store::open(&env, options, &Registry::new()).unwrap()
}

impl Receiver {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let receiver = Self {
            store: open(&MemoryDisk::new(), false),
            moods: Arc::default(),
            heads: Arc::default(),
            address: listener.local_addr().unwrap(),
        };
        let serving = receiver.clone();
        // It ends with the process of the test.
        drop(std::thread::spawn(move || {
            for stream in listener.incoming() {
                let serving = serving.clone();
                drop(std::thread::spawn(move || serving.serve(&stream.unwrap())));
            }
        }));
        receiver
    }

    fn serve(&self, stream: &TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream);
        loop {
            let (mut head, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
                if line == "\r\n" {
                    break;
                }
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                head.push_str(&line.to_ascii_lowercase());
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).ok()?;
            let version = if head.contains("io.prometheus.write.v2.request") { Version::V2 } else { Version::V1 };
            self.heads.lock().unwrap().push(head);
            let mood = self.moods.lock().unwrap().pop_front();
            let answer = match mood {
                Some(Mood::HangUp) => return None,
                Some(Mood::Answer(answer)) => format!("HTTP/1.1 {answer}\r\nContent-Length: 4\r\n\r\nnope"),
                None => {
                    let received = receive(version, &body, 1 << 26, i64::MAX / 2, &self.store, Durability::Written).unwrap();
                    assert_eq!(received.complaint, None);
                    format!(
                        "HTTP/1.1 204 No Content\r\nX-Prometheus-Remote-Write-Samples-Written: {}\r\n\
                         X-Prometheus-Remote-Write-Histograms-Written: {}\r\nX-Prometheus-Remote-Write-Exemplars-Written: {}\r\n\r\n",
                        received.floats, received.histograms, received.exemplars
                    )
                }
            };
            let mut stream = stream;
            stream.write_all(answer.as_bytes()).ok()?;
        }
    }

    fn moods(&self, moods: &[Mood]) {
        self.moods.lock().unwrap().extend(moods.iter().cloned());
    }
}

/// A value, compared bit for bit.
#[derive(Clone, Debug, PartialEq)]
enum Bits {
    Float(u64),
    Histogram(FloatHistogram),
}

type Everything = BTreeMap<(String, i64), (Bits, i64)>;

/// All samples of a store with their start timestamps.
fn everything(store: &Store) -> Everything {
    let hints = Hints { sorted: true, ..Hints::default() };
    let selection =
        store.select(&[Matcher::new(crate::model::matcher::MatchOp::Regex, "__name__", ".+").unwrap()], ALL, &hints).unwrap();
    let read = selection.reader.read(0..selection.series.len()).unwrap();
    let mut found = Everything::new();
    for (series, samples) in selection.series.iter().zip(&read) {
        for (place, at_ms) in samples.times.iter().enumerate() {
            let value = match samples.float(place) {
                Some(value) => Bits::Float(value.to_bits()),
                None => Bits::Histogram(FloatHistogram::clone(samples.histogram(place).unwrap())),
            };
            let start_ms = samples.starts.as_ref().map_or(0, |starts| starts[place]);
            found.insert((series.labels.to_string(), *at_ms), (value, start_ms));
        }
    }
    found
}

/// A store that is sent on.
struct Sender {
    disk: MemoryDisk,
    store: Store,
    registry: Registry,
    config: watch::Sender<Arc<Config>>,
    remote: RemoteWrite,
    row: i64,
}

fn config(remotes: &[RemoteWriteConfig]) -> Arc<Config> {
    Arc::new(Config { remote_write: remotes.iter().cloned().map(Arc::new).collect(), ..Config::default() })
}

fn remote(receiver: &Receiver) -> RemoteWriteConfig {
    let yaml = format!(
        "remote_write:\n- url: http://{}/api/v1/write\n  name: one\n  queue_config: {{batch_send_deadline: 20ms, max_samples_per_send: 100, capacity: 500}}\n",
        receiver.address
    );
    let loaded = crate::config::load(Path::new("/w.yml"), &yaml, &NoFiles).unwrap_or_else(|error| panic!("{error}"));
    RemoteWriteConfig::clone(&loaded.remote_write[0])
}

struct NoFiles;

impl crate::config::Files for NoFiles {
    fn read(&self, path: &Path) -> std::io::Result<Vec<u8>> {
        Err(std::io::Error::other(path.display().to_string()))
    }

    fn list(&self, path: &Path) -> std::io::Result<Vec<String>> {
        Err(std::io::Error::other(path.display().to_string()))
    }
}

impl Sender {
    /// Starts; remotes that are new begin with what comes then.
    async fn start(disk: MemoryDisk, remotes: &[RemoteWriteConfig]) -> Self {
        Self::start_with(disk, remotes, Vec::new()).await
    }

    async fn start_with(disk: MemoryDisk, remotes: &[RemoteWriteConfig], others: Vec<Member>) -> Self {
        let store = open(&disk, true);
        let registry = Registry::new();
        let (config, seen) = watch::channel(config(remotes));
        let (_, members) = watch::channel(others);
        let deps = RemoteWriteDeps {
            members,
            env: Env { disk: Arc::new(disk.clone()), ..Env::real() },
            store: store.clone(),
            data_dir: "data".into(),
            registry: registry.clone(),
        };
        Self { disk, store, registry, config, remote: RemoteWrite::start(deps, seen).await, row: 0 }
    }

    async fn stop(self) -> MemoryDisk {
        self.remote.stop(Duration::from_secs(2)).await;
        self.store.close().unwrap();
        self.disk
    }

    /// Dies without a word; what was written is there.
    fn kill(self) -> MemoryDisk {
        let disk = self.disk.clone();
        // Its tasks may go on for a moment, on a disk that nobody looks at any more.
        let copy = MemoryDisk::new();
        copy_folder(&disk, &copy, Path::new("data"));
        copy
    }

    /// Scrapes a target of `count` series.
    fn scrape(&mut self, target: &str, count: usize) {
        self.row += 1;
        let at_ms = self.row * 1000;
        let group = self.store.group(&format!("scrape/{target}")).unwrap();
        let name = |place: usize| format!("m{place}");
        let labels = |place: usize| Labels::from_pairs([("__name__", name(place).as_str()), ("instance", target), ("job", "j")]);
        let series: Arc<[_]> = (0..count).map(|place| self.store.series(&labels(place)).unwrap()).collect();
        let value = |place: usize| match place % 4 {
            0 => self.row as f64,
            1 => 0.1 * (self.row / 3) as f64,
            2 if self.row % 7 == 0 => stale_nan(),
            2 => -0.0,
            _ => 1.0 / (self.row as f64 + place as f64),
        };
        let values: Vec<f64> = (0..count).map(value).collect();
        self.store.append_row(group, at_ms, &series, &values).unwrap();
    }

    fn counted(&self, name: &str) -> u64 {
        let families = self.registry.snapshot();
        let family = families.iter().find(|family| family.name == name);
        family.map_or(0, |family| family.samples.iter().map(|(_, _, value)| *value as u64).sum())
    }
}

fn copy_folder(from: &MemoryDisk, to: &MemoryDisk, folder: &Path) {
    to.create_dir_all(folder).unwrap();
    for entry in from.list(folder).unwrap() {
        let path = folder.join(&entry.name);
        if entry.is_dir {
            copy_folder(from, to, &path);
        } else if entry.name != "LOCK" {
            to.replace(&path, &from.read(&path).unwrap()).unwrap();
        }
    }
}

async fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let env = Env::real();
    let began = env.clock.monotonic();
    while !is_so() {
        assert!(env.clock.monotonic() - began < Duration::from_secs(30), "waited in vain for {what}");
        env.clock.sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until the receiver has all that the store has.
async fn wait_same(sender: &Sender, receiver: &Receiver) {
    let wanted = everything(&sender.store);
    assert!(!wanted.is_empty());
    wait_until("the samples to arrive", || everything(&receiver.store).len() >= wanted.len()).await;
    let there = everything(&receiver.store);
    for (key, value) in &wanted {
        assert_eq!(there.get(key), Some(value), "{key:?}");
    }
    assert_eq!(there.len(), wanted.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_kinds_arrive_in_both_versions() {
    for version in [WriteMessage::V1, WriteMessage::V2] {
        let receiver = Receiver::start();
        let mut config = remote(&receiver);
        config.protobuf_message = version;
        config.send_exemplars = true;
        config.send_native_histograms = true;
        config.metadata_config.send_interval = Duration::from_millis(50);
        let mut sender = Sender::start(MemoryDisk::new(), std::slice::from_ref(&config)).await;
        let metadata = Metadata { metric_type: MetricType::Counter, help: "Helps.".to_owned(), unit: "seconds".to_owned() };
        sender.store.note_metadata("m1", &metadata);
        for _ in 0..20 {
            sender.scrape("a", 150);
            sender.scrape("b", 3);
        }
        let series = sender.store.series(&Labels::from_pairs([("__name__", "m1"), ("instance", "a"), ("job", "j")])).unwrap();
        if version == WriteMessage::V2 {
            sender.store.note_start(series, 60_000, 7000);
        }
        sender.scrape("a", 150);
        let float = |at_ms, value| BatchSample { series, at_ms, value: BatchValue::Float(value) };
        sender.store.append_samples(None, &[float(60_000, 5.0), float(-3, 6.0), float(1_500, 7.0)], Durability::Written).unwrap();
        let exemplar = Exemplar { labels: Labels::from_pairs([("trace_id", "x"), ("z", "")]), value: 0.5, at_ms: Some(60_000) };
        sender.store.append_exemplars(series, std::slice::from_ref(&exemplar));
        let native = sender.store.series(&Labels::from_pairs([("__name__", "h"), ("job", "j")])).unwrap();
        let histogram = FloatHistogram {
            schema: 3,
            count: 3.0,
            sum: 1.25,
            zero_threshold: 1e-128,
            positive_spans: vec![Span { offset: -2, length: 2 }],
            positive_buckets: vec![1.0, 2.0],
            ..FloatHistogram::default()
        };
        let value = BatchValue::Histogram(Arc::new(histogram));
        sender.store.append_samples(None, &[BatchSample { series: native, at_ms: 61_000, value }], Durability::Written).unwrap();
        wait_same(&sender, &receiver).await;
        let exemplars = || receiver.store.exemplars(&[vec![Matcher::equal("__name__", "m1")]], ALL).unwrap();
        wait_until("the exemplar", || !exemplars().is_empty()).await;
        assert_eq!(exemplars()[0].1, [Exemplar { labels: Labels::from_pairs([("trace_id", "x")]), ..exemplar }]);
        wait_until("the metadata", || {
            receiver.store.metadata(Some("m1")).get("m1").is_some_and(|known| *known == [metadata.clone()])
        })
        .await;
        let heads = receiver.heads.lock().unwrap().clone();
        let wanted = match version {
            WriteMessage::V1 => ["content-type: application/x-protobuf\r\n", "x-prometheus-remote-write-version: 0.1.0\r\n"],
            WriteMessage::V2 => [
                "content-type: application/x-protobuf;proto=io.prometheus.write.v2.request\r\n",
                "x-prometheus-remote-write-version: 2.0.0\r\n",
            ],
        };
        for head in &heads {
            assert!(
                wanted
                    .iter()
                    .chain(&["content-encoding: snappy\r\n", "user-agent: watchkeeper/"])
                    .all(|line| head.contains(line)),
                "{head}"
            );
        }
        assert_eq!(sender.counted("watchkeeper_remote_storage_samples_failed_total"), 0);
        sender.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_missing_after_outages_restarts_and_kills() {
    let receiver = Receiver::start();
    let config = remote(&receiver);
    let mut sender = Sender::start(MemoryDisk::new(), std::slice::from_ref(&config)).await;
    sender.scrape("a", 50);
    wait_same(&sender, &receiver).await;
    let mut row = sender.row;
    for round in 0..6 {
        // Away: for longer than the segments and the names live that it needs.
        receiver.moods(&vec![Mood::Answer("503 Service Unavailable"); 2]);
        for part in 0..4 {
            sender.row = row;
            for _ in 0..10 {
                sender.scrape(&format!("t{round}{part}"), 120 + part);
                sender.scrape("a", 50);
            }
            row = sender.row;
            sender.store.flush_head().unwrap();
        }
        let disk = if round % 2 == 0 { sender.stop().await } else { sender.kill() };
        sender = Sender::start(disk, std::slice::from_ref(&config)).await;
    }
    wait_same(&sender, &receiver).await;
    // Nothing is kept that was taken.
    sender.row = row;
    sender.scrape("a", 50);
    wait_same(&sender, &receiver).await;
    let disk = sender.stop().await;
    let sender = Sender::start(disk, std::slice::from_ref(&config)).await;
    wait_until("the log to be let go", || sender.store.unsent_bytes() == (0, 0)).await;
    sender.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_decide_what_becomes_of_a_batch() {
    let receiver = Receiver::start();
    let mut config = remote(&receiver);
    config.queue_config.retry_on_http_429 = true;
    let mut sender = Sender::start(MemoryDisk::new(), std::slice::from_ref(&config)).await;
    sender.scrape("a", 10);
    wait_same(&sender, &receiver).await;
    receiver.moods(&[
        Mood::HangUp,
        Mood::Answer("500 Internal Server Error"),
        Mood::Answer("429 Too Many Requests\r\nRetry-After: 1"),
    ]);
    let clock = Env::real().clock;
    let began = clock.monotonic();
    sender.scrape("a", 10);
    wait_same(&sender, &receiver).await;
    assert!(clock.monotonic() - began >= Duration::from_secs(1), "Retry-After was not heeded");
    assert_eq!(sender.counted("watchkeeper_remote_storage_samples_retried_total"), 30);
    assert!(receiver.heads.lock().unwrap().iter().any(|head| head.contains("retry-attempt: 3")));

    let before = everything(&receiver.store).len();
    receiver.moods(&[Mood::Answer("400 Bad Request")]);
    sender.scrape("a", 10);
    wait_until("the refusal", || sender.counted("watchkeeper_remote_storage_samples_failed_total") == 10).await;
    sender.scrape("a", 10);
    wait_until("what follows", || everything(&receiver.store).len() == before + 10).await;

    // Another configuration: 429 is a refusal, and rules drop a series.
    let mut other = config.clone();
    other.queue_config.retry_on_http_429 = false;
    other.write_relabel_configs = vec![crate::model::relabel::RelabelConfig {
        source_labels: vec!["__name__".to_owned()],
        regex: crate::model::regex::Regex::new("m1").unwrap(),
        action: crate::model::relabel::RelabelAction::Drop,
        ..Default::default()
    }];
    sender.config.send_replace(self::config(&[other]));
    wait_until("the reload", || {
        sender.scrape("a", 10);
        sender.counted("watchkeeper_remote_storage_samples_dropped_total") > 0
    })
    .await;
    wait_until("all of it to be sent", || sender.counted("watchkeeper_remote_storage_samples_pending") == 0).await;
    receiver.moods(&[Mood::Answer("429 Too Many Requests")]);
    sender.scrape("a", 10);
    wait_until("the refusal", || sender.counted("watchkeeper_remote_storage_samples_failed_total") == 19).await;
    sender.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_that_is_no_two_is_found_out() {
    let receiver = Receiver::start();
    let mut config = remote(&receiver);
    config.protobuf_message = WriteMessage::V2;
    let mut sender = Sender::start(MemoryDisk::new(), std::slice::from_ref(&config)).await;
    receiver.moods(&vec![Mood::Answer("204 No Content"); 3]);
    wait_until("the answer to be doubted", || {
        sender.scrape("a", 10);
        sender.counted("watchkeeper_remote_storage_samples_failed_total") > 0
    })
    .await;
    sender.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_samples_are_dropped_where_that_is_wanted() {
    let receiver = Receiver::start();
    let mut config = remote(&receiver);
    config.queue_config.sample_age_limit = Duration::from_secs(3600);
    let mut sender = Sender::start(MemoryDisk::new(), std::slice::from_ref(&config)).await;
    wait_until("old samples to be dropped", || {
        sender.scrape("a", 10);
        sender.counted("watchkeeper_remote_storage_samples_dropped_total") > 0
    })
    .await;
    let now_ms = Env::real().clock.now_ms();
    let series = sender.store.series(&Labels::from_pairs([("__name__", "new")])).unwrap();
    let new = BatchSample { series, at_ms: now_ms, value: BatchValue::Float(1.0) };
    sender.store.append_samples(None, &[new], Durability::Written).unwrap();
    wait_until("the new one", || everything(&receiver.store).len() == 1).await;
    sender.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_get_their_part_signed() {
    let receiver = Receiver::start();
    let disk = MemoryDisk::new();
    let config = RemoteWriteConfig { protobuf_message: WriteMessage::V2, name: "member:b".to_owned(), ..remote(&receiver) };
    let over =
        MemberLink { is_sent: Arc::new(|_, at_ms| at_ms % 2000 == 0), sign: Arc::new(|body| format!("signed-{}", body.len())) };
    let member = Member { config: Arc::new(config), over };
    let mut sender = Sender::start_with(disk, &[], vec![member]).await;
    for _ in 0..20 {
        sender.scrape("a", 3);
    }
    wait_until("the part to arrive", || everything(&receiver.store).len() == 30).await;
    assert!(everything(&receiver.store).keys().all(|(_, at_ms)| at_ms % 2000 == 0));
    let heads = receiver.heads.lock().unwrap().clone();
    let length = |head: &String| head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().trim().to_owned();
    assert!(heads.iter().all(|head| head.contains(&format!("watchkeeper-member: signed-{}\r\n", length(head)))), "{heads:?}");
    sender.stop().await;
}
