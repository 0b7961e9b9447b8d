//! One remote: reads the log, spreads what comes over shards, and changes their number.

use super::acknowledged::Acknowledged;
use super::member::MemberLink;
use super::metrics::Metrics;
use super::series::{Found, SeriesTable, SharedBytes};
use super::shard::{self, Batch, Item, Kind, Shared};
use super::shard_count::{self, Happened, ShardCount};
use crate::config::remote::{RemoteWriteConfig, WriteMessage};
use crate::env::Env;
use crate::env::tasks::TaskHandle;
use crate::model::labels::Labels;
use crate::net::client::USER_AGENT_TEXT;
use crate::net::{Client, ClientOptions};
use crate::storage::follow::{LogFollower, LogPosition, LogSample, LogValue};
use crate::storage::{Store, StoreError};
use crate::telemetry::metrics::Registry;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// Samples that are read from the log at once.
const PIECE_SAMPLES: usize = 8192;
/// How often the end of the log is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// After an error of the disk.
const RETRY: Duration = Duration::from_secs(5);
/// How often it is looked whether something is new about metrics.
const METADATA_EVERY: Duration = Duration::from_secs(10);
/// Series that were not seen for one to two of these are forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(20 * 60);

/// What a queue is made of.
pub(super) struct QueueParts {
    pub(super) env: Env,
    pub(super) store: Store,
    pub(super) registry: Registry,
    pub(super) config: Arc<RemoteWriteConfig>,
    pub(super) name: String,
    pub(super) external: Labels,
    pub(super) bytes: SharedBytes,
    /// Where the remote is a member of the cluster.
    pub(super) over: Option<MemberLink>,
}

fn headers(config: &RemoteWriteConfig) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in &config.headers {
        let wrong = |error: &dyn std::fmt::Display| format!("header {name:?}: {error}");
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| wrong(&error))?;
        headers.insert(name.clone(), HeaderValue::from_str(value).map_err(|error| wrong(&error))?);
    }
    headers.insert("content-encoding", HeaderValue::from_static("snappy"));
    let (content, version) = match config.protobuf_message {
        WriteMessage::V1 => ("application/x-protobuf", "0.1.0"),
        WriteMessage::V2 => ("application/x-protobuf;proto=io.prometheus.write.v2.Request", "2.0.0"),
    };
    headers.insert("content-type", HeaderValue::from_static(content));
    headers.insert("x-prometheus-remote-write-version", HeaderValue::from_static(version));
    headers.insert("user-agent", HeaderValue::from_static(USER_AGENT_TEXT));
    Ok(headers)
}

/// Returns what all shards of a remote share.
///
/// # Errors
/// In words, where the configuration asks for what the client cannot do.
pub(super) fn shared(parts: &QueueParts, from: LogPosition) -> Result<Arc<Shared>, String> {
    let config = &parts.config;
    let url: Uri = config.url.as_str().parse().map_err(|error| format!("url {}: {error}", config.url))?;
    let options = ClientOptions::from_config(&config.http, config.url.scheme() == Some("https"))?;
    Ok(Arc::new(Shared {
        env: parts.env.clone(),
        client: Client::new(&parts.env, options),
        url,
        name: parts.name.clone(),
        version: config.protobuf_message,
        headers: headers(config)?,
        timeout: config.remote_timeout,
        queue: config.queue_config.clone(),
        metrics: Metrics::new(&parts.registry, &parts.name, config),
        acknowledged: Acknowledged::from(from),
        sent: AtomicU64::new(0),
        sending_us: AtomicU64::new(0),
        newest_sent_ms: AtomicI64::new(i64::MIN),
        taken_at_ms: AtomicU64::new(0),
        over: parts.over.clone(),
    }))
}

/// A shard as the reader sees it.
struct Outlet {
    batches: mpsc::Sender<Batch>,
    /// What is gathered for its next batch.
    open: Batch,
    /// When the first item of it came.
    since: Duration,
    task: TaskHandle<()>,
}

/// Reads and spreads.
pub(super) struct Queue {
    shared: Arc<Shared>,
    config: Arc<RemoteWriteConfig>,
    store: Store,
    follower: Option<LogFollower>,
    table: SeriesTable,
    outlets: Vec<Outlet>,
    shard_count: ShardCount,
    reckoned_at: Duration,
    forgot_at: Duration,
    /// The store's count of news about metrics when series were learned last.
    metadata_changes: u64,
    metadata_at: Duration,
    /// Since the last reckoning.
    read: u64,
    dropped: u64,
    sent_before: u64,
    sending_us_before: u64,
    newest_read_ms: i64,
    stop: watch::Receiver<bool>,
}

impl Queue {
    pub(super) fn new(parts: QueueParts, shared: Arc<Shared>, follower: LogFollower, stop: watch::Receiver<bool>) -> Self {
        let now = parts.env.clock.monotonic();
        let table = SeriesTable::new(
            parts.config.protobuf_message,
            parts.config.write_relabel_configs.clone(),
            parts.external,
            parts.bytes,
        );
        let mut queue = Self {
            shared,
            config: parts.config,
            store: parts.store,
            follower: Some(follower),
            table,
            outlets: Vec::new(),
            shard_count: ShardCount::default(),
            reckoned_at: now,
            forgot_at: now,
            metadata_changes: 0,
            metadata_at: now,
            read: 0,
            dropped: 0,
            sent_before: 0,
            sending_us_before: 0,
            newest_read_ms: i64::MIN,
            stop,
        };
        queue.start_shards(queue.bounds().0);
        queue
    }

    fn bounds(&self) -> (usize, usize) {
        let queue = &self.config.queue_config;
        let number = |value: i64| usize::try_from(value).unwrap_or(1).max(1);
        (number(queue.min_shards), number(queue.max_shards))
    }

    fn batch_items(&self) -> usize {
        usize::try_from(self.config.queue_config.max_samples_per_send).unwrap_or(1).max(1)
    }

    fn start_shards(&mut self, count: usize) {
        let capacity = usize::try_from(self.config.queue_config.capacity).unwrap_or(1);
        let waiting = (capacity / self.batch_items()).max(1);
        self.outlets = (0..count)
            .map(|_| {
                let (batches, coming) = mpsc::channel(waiting);
                let task = self.shared.env.tasks.spawn("remote-write shard", shard::run(Arc::clone(&self.shared), coming));
                Outlet { batches, open: Batch::default(), since: Duration::ZERO, task }
            })
            .collect();
        self.shared.metrics.shards.set(count as f64);
    }

    /// Runs until it is told to stop; what it gathered then goes to the shards, and they end when they have sent it.
    pub(super) async fn run(mut self) {
        let mut samples = Vec::new();
        loop {
            let is_stopping = *self.stop.borrow();
            let more = match self.read(&mut samples).await {
                Ok(more) => more,
                Err(error) => {
                    tracing::error!(remote = %self.shared.name, error = &error as &dyn std::error::Error, "the log could not be read; it is tried again");
                    if self.wait(RETRY).await {
                        break;
                    }
                    continue;
                }
            };
            if !self.spread(&mut samples).await {
                break;
            }
            if !self.flush(is_stopping && !more).await {
                break;
            }
            if is_stopping && !more {
                break;
            }
            self.look_after().await;
            if !more && !is_stopping {
                self.wait(LOOK_EVERY).await;
            }
        }
        self.end().await;
    }

    /// Waits; `true` when it is told to stop meanwhile.
    async fn wait(&mut self, limit: Duration) -> bool {
        let mut stop = self.stop.clone();
        tokio::select! {
            biased;
            () = stopped(&mut stop) => true,
            () = self.shared.env.clock.sleep(limit) => false,
        }
    }

    /// Reads the next piece of the log where it may block.
    async fn read(&mut self, samples: &mut Vec<LogSample>) -> Result<bool, StoreError> {
        let Some(mut follower) = self.follower.take() else { return Ok(false) };
        let mut buffer = std::mem::take(samples);
        let reading = self.shared.env.tasks.blocking(move || {
            let more = follower.read(&mut buffer, PIECE_SAMPLES);
            if matches!(more, Ok(false)) {
                follower.is_at_end();
            }
            (follower, buffer, more)
        });
        match reading.await {
            Ok((follower, buffer, more)) => {
                *samples = buffer;
                self.follower = Some(follower);
                more
            }
            Err(error) => {
                tracing::error!(remote = %self.shared.name, %error, "following the log failed");
                Ok(false)
            }
        }
    }

    /// Makes items of samples and gives them to their shards; `false` when it was told to stop before all were taken.
    async fn spread(&mut self, samples: &mut Vec<LogSample>) -> bool {
        let Some(end) = self.follower.as_ref().map(LogFollower::position) else { return false };
        let (oldest_ms, read) = (self.shared.oldest_ms(), samples.len() as u64);
        let mut items = Vec::with_capacity(samples.len());
        for sample in samples.drain(..) {
            let kind = Kind::of(&sample.value);
            let metrics = self.shared.metrics.of(kind);
            let is_wanted = match kind {
                Kind::Samples => true,
                Kind::Histograms => self.config.send_native_histograms,
                Kind::Exemplars => self.config.send_exemplars,
            };
            if kind != Kind::Exemplars {
                self.newest_read_ms = self.newest_read_ms.max(sample.at_ms);
            }
            // Of what is sent to members most may be none of their concern: it is not even counted.
            let is_theirs = |over: &MemberLink| (over.is_sent)(sample.series, sample.at_ms);
            if !is_wanted || !self.shared.over.as_ref().is_none_or(is_theirs) {
                continue;
            }
            if sample.at_ms < oldest_ms {
                metrics.dropped_old.inc();
                continue;
            }
            let entry = match self.table.find(sample.series) {
                Found::Sent(entry) => Some(entry),
                Found::Dropped => None,
                Found::Unknown => match self.follower.as_mut().map(|follower| follower.labels(sample.series)) {
                    Some(Ok(Some(labels))) => {
                        let (store, sends) = (&self.store, self.config.metadata_config.send);
                        let metadata = |metric: &str| sends.then(|| store.metadata_of(metric)).flatten();
                        self.table.learn(sample.series, &labels, metadata)
                    }
                    unknown => {
                        if let Some(Err(error)) = unknown {
                            tracing::error!(error = &error as &dyn std::error::Error, "the names of the log could not be read");
                        }
                        metrics.dropped_unknown.inc();
                        continue;
                    }
                },
            };
            match entry {
                Some(entry) => {
                    let LogSample { series, at_ms, start_ms, value } = sample;
                    let beside = if kind == Kind::Exemplars { sample_of(&items, series.0) } else { None };
                    metrics.pending.add(1.0);
                    items.push((series.0, Item { entry, at_ms, start_ms, value, beside }));
                }
                None => metrics.dropped_series.inc(),
            }
        }
        self.read += read;
        self.dropped += read - items.len() as u64;
        if self.newest_read_ms > i64::MIN {
            let (metrics, newest) = (&self.shared.metrics, self.newest_read_ms as f64 / 1000.0);
            metrics.highest.set(newest);
            if metrics.highest_in.get() < newest {
                metrics.highest_in.set(newest);
            }
        }
        let piece = self.shared.acknowledged.begin(items.len() as u64, end);
        self.give(piece, items).await
    }

    async fn give(&mut self, piece: u64, items: Vec<(u32, Item)>) -> bool {
        let (most, now) = (self.batch_items(), self.shared.env.clock.monotonic());
        for (series, item) in items {
            // Shards change in number only between batches that are full, and take what was gathered along.
            let shard = series as usize % self.outlets.len();
            let Some(outlet) = self.outlets.get_mut(shard) else { return false };
            if outlet.open.items.is_empty() {
                outlet.since = now;
                outlet.open.items.reserve_exact(most);
            }
            outlet.open.push(piece, item);
            if outlet.open.items.len() >= most && !self.send(shard).await {
                return false;
            }
        }
        true
    }

    /// Sends what a shard gathered, as soon as it has room; `false` when it was told to stop meanwhile.
    async fn send(&mut self, shard: usize) -> bool {
        let mut stop = self.stop.clone();
        let Some(outlet) = self.outlets.get_mut(shard) else { return false };
        let batch = std::mem::take(&mut outlet.open);
        let permit = tokio::select! {
            biased;
            permit = outlet.batches.reserve() => permit,
            () = stopped(&mut stop) => return false,
        };
        permit.map(|permit| permit.send(batch)).is_ok()
    }

    /// Sends batches that have waited long enough, or all.
    async fn flush(&mut self, all: bool) -> bool {
        let now = self.shared.env.clock.monotonic();
        for shard in 0..self.outlets.len() {
            let is_due = self.outlets.get(shard).is_some_and(|outlet| {
                !outlet.open.items.is_empty()
                    && (all || now.saturating_sub(outlet.since) >= self.config.queue_config.batch_send_deadline)
            });
            if is_due && !self.send(shard).await {
                return false;
            }
        }
        true
    }

    /// What is to be done from time to time.
    async fn look_after(&mut self) {
        let now = self.shared.env.clock.monotonic();
        if now.saturating_sub(self.forgot_at) >= FORGET_EVERY {
            self.forgot_at = now;
            self.table.forget_unused();
        }
        if self.config.protobuf_message == WriteMessage::V2 && now.saturating_sub(self.metadata_at) >= METADATA_EVERY {
            self.metadata_at = now;
            let changes = self.store.metadata_changes();
            if std::mem::replace(&mut self.metadata_changes, changes) != changes {
                self.table.forget_all();
            }
        }
        let over = now.saturating_sub(self.reckoned_at);
        if over < shard_count::EVERY {
            return;
        }
        self.reckoned_at = now;
        let (sent, sending_us) = (self.shared.sent.load(Ordering::Relaxed), self.shared.sending_us.load(Ordering::Relaxed));
        let newest_sent_ms = self.shared.newest_sent_ms.load(Ordering::Relaxed);
        let behind_ms =
            if newest_sent_ms == i64::MIN { 0 } else { self.shared.env.clock.now_ms().saturating_sub(newest_sent_ms) };
        let happened = Happened {
            read: std::mem::take(&mut self.read),
            dropped: std::mem::take(&mut self.dropped),
            sent: sent - std::mem::replace(&mut self.sent_before, sent),
            sending: Duration::from_micros(sending_us - std::mem::replace(&mut self.sending_us_before, sending_us)),
            behind: Duration::from_millis(u64::try_from(behind_ms).unwrap_or(0)),
        };
        let present = self.outlets.len();
        let (desired, wanted) = self.shard_count.reckon(happened, over, present, self.bounds());
        self.shared.metrics.shards_desired.set(desired);
        let idle_ms =
            u64::try_from(now.as_millis()).unwrap_or(u64::MAX).saturating_sub(self.shared.taken_at_ms.load(Ordering::Relaxed));
        let patience = self.config.queue_config.batch_send_deadline.saturating_mul(2);
        // A receiver that takes nothing would not take more from more shards.
        if wanted != present && u128::from(idle_ms) <= patience.as_millis() {
            tracing::info!(remote = %self.shared.name, from = present, to = wanted, "the number of shards changes");
            self.change_shards(wanted).await;
        }
    }

    /// Lets the present shards send what they have and starts others: no series may be in two of them.
    async fn change_shards(&mut self, count: usize) {
        if !self.flush(true).await {
            return;
        }
        let mut stop = self.stop.clone();
        let before = std::mem::take(&mut self.outlets);
        let mut left: Vec<TaskHandle<()>> = before.into_iter().map(|outlet| outlet.task).collect();
        while let Some(task) = left.pop() {
            let mut task = task;
            tokio::select! {
                biased;
                ended = &mut task => if let Err(error) = ended {
                    tracing::error!(%error, "a shard failed");
                },
                () = stopped(&mut stop) => {
                    task.abort();
                    for task in left.drain(..) {
                        task.abort();
                    }
                }
            }
        }
        self.start_shards(count);
    }

    /// Waits until the shards have sent what they have. Whoever waits for this sets a limit; then they are ended.
    async fn end(&mut self) {
        let outlets = std::mem::take(&mut self.outlets);
        let mut tasks = Ending(outlets.into_iter().map(|outlet| outlet.task).collect());
        for task in &mut tasks.0 {
            if let Err(error) = task.await {
                tracing::debug!(%error, "a shard was ended");
            }
        }
        tasks.0.clear();
    }
}

/// Returns the newest sample of a series among items: an exemplar comes behind the row of its sample.
fn sample_of(items: &[(u32, Item)], series: u32) -> Option<Box<(i64, i64, LogValue)>> {
    let is_its = |(of, item): &&(u32, Item)| *of == series && Kind::of(&item.value) != Kind::Exemplars;
    items.iter().rev().find(is_its).map(|(_, item)| Box::new((item.at_ms, item.start_ms, item.value.clone())))
}

/// Returns when it is told to stop, or when nobody can tell any more.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    drop(stop.wait_for(|stop| *stop).await);
}

/// Shards that end with whoever waits for them.
struct Ending(Vec<TaskHandle<()>>);

impl Drop for Ending {
    fn drop(&mut self) {
        for task in &self.0 {
            task.abort();
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        for outlet in &self.outlets {
            outlet.task.abort();
        }
        for metrics in shard::KINDS.map(|kind| self.shared.metrics.of(kind)) {
            metrics.pending.set(0.0);
        }
    }
}
