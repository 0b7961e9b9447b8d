//! One shard: it takes batches in order, makes each a request, and sends it until it is taken or refused.

use super::acknowledged::Acknowledged;
use super::answer::{Outcome, judge};
use super::encode;
use super::member::{MEMBER_HEADER, MemberLink};
use super::metrics::Metrics;
use super::series::SeriesEntry;
use super::symbols::RequestSymbols;
use crate::config::remote::{QueueConfig, WriteMessage};
use crate::env::Env;
use crate::model::metadata::Metadata;
use crate::net::{Client, ClientError, Request};
use crate::storage::follow::LogValue;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Uri};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Samples,
    Histograms,
    Exemplars,
}

pub(super) const KINDS: [Kind; 3] = [Kind::Samples, Kind::Histograms, Kind::Exemplars];

impl Kind {
    /// Returns the word for it in names of metrics.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Samples => "samples",
            Self::Histograms => "histograms",
            Self::Exemplars => "exemplars",
        }
    }

    /// Returns the kind of a value.
    pub(super) const fn of(value: &LogValue) -> Self {
        match value {
            LogValue::Float(_) => Self::Samples,
            LogValue::Histogram(_) => Self::Histograms,
            LogValue::Exemplar(_) => Self::Exemplars,
        }
    }
}

/// One sample or exemplar on its way.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) entry: Arc<SeriesEntry>,
    pub(super) at_ms: i64,
    pub(super) start_ms: i64,
    pub(super) value: LogValue,
    /// Of an exemplar: time, start and value of the sample to which it belongs, where it is known. Remote-Write 2.0 has no series without samples.
    pub(super) beside: Option<Box<(i64, i64, LogValue)>>,
}

/// What goes in one request.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) items: Vec<Item>,
    /// How many of them belong to which piece of the log.
    pub(super) pieces: Vec<(u64, u64)>,
}

impl Batch {
    /// Adds an item of a piece.
    pub(super) fn push(&mut self, piece: u64, item: Item) {
        self.items.push(item);
        match self.pieces.last_mut() {
            Some((last, count)) if *last == piece => *count += 1,
            _ => self.pieces.push((piece, 1)),
        }
    }

    fn count(&self, kind: Kind) -> u64 {
        self.items.iter().filter(|item| Kind::of(&item.value) == kind).count() as u64
    }
}

/// What the shards of a remote share.
pub(super) struct Shared {
    pub(super) env: Env,
    pub(super) client: Client,
    pub(super) url: Uri,
    /// How it is called in log lines.
    pub(super) name: String,
    pub(super) version: WriteMessage,
    pub(super) headers: HeaderMap,
    pub(super) timeout: Duration,
    pub(super) queue: QueueConfig,
    pub(super) metrics: Metrics,
    pub(super) acknowledged: Acknowledged,
    /// Samples that were sent, and how long that took, since the start.
    pub(super) sent: AtomicU64,
    pub(super) sending_us: AtomicU64,
    /// Time of the newest sample that was sent.
    pub(super) newest_sent_ms: AtomicI64,
    /// When a request was last taken, on the monotonic clock.
    pub(super) taken_at_ms: AtomicU64,
    /// Where it is a member of the cluster.
    pub(super) over: Option<MemberLink>,
}

/// The longest answer that is read.
const ANSWER_BYTES: u64 = 1 << 20;

impl Shared {
    /// Returns the age limit as a time; `i64::MIN` where there is none.
    pub(super) fn oldest_ms(&self) -> i64 {
        let limit = self.queue.sample_age_limit;
        if limit.is_zero() {
            return i64::MIN;
        }
        self.env.clock.now_ms().saturating_sub(i64::try_from(limit.as_millis()).unwrap_or(i64::MAX))
    }

    fn monotonic_ms(&self) -> u64 {
        u64::try_from(self.env.clock.monotonic().as_millis()).unwrap_or(u64::MAX)
    }

    /// Sends a request once. `expected`: what it has, of each kind, where the answer must tell how much of it was written.
    pub(super) async fn post(&self, body: Bytes, attempt: u64, expected: Option<[u64; 3]>) -> Outcome {
        let mut headers = self.headers.clone();
        if attempt > 0 {
            headers.insert("retry-attempt", attempt.into());
        }
        // Anew each time: a signature is good for a minute.
        if let Some(signature) = self.over.as_ref().and_then(|over| HeaderValue::try_from((over.sign)(&body)).ok()) {
            headers.insert(MEMBER_HEADER, signature);
        }
        let request =
            Request { method: Method::POST, url: self.url.clone(), headers, body, body_limit: ANSWER_BYTES, budget: None };
        let began = self.env.clock.monotonic();
        let answer = self.env.clock.timeout(self.timeout, self.client.send(request)).await;
        let answer = answer.unwrap_or(Err(ClientError::Deadline));
        let took = self.env.clock.monotonic().saturating_sub(began);
        self.metrics.batch_seconds.observe(took.as_secs_f64());
        self.sending_us.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        judge(&answer, self.queue.retry_on_http_429, self.env.clock.now_ms(), expected)
    }

    /// Counts what becomes of all items.
    fn count(&self, batch: &Batch, outcome: &Outcome) {
        for kind in KINDS {
            let (count, metrics) = (batch.count(kind), self.metrics.of(kind));
            match outcome {
                Outcome::Taken => metrics.sent.add(count),
                Outcome::Refused(_) => {
                    // As in Prometheus: what was refused was sent as well.
                    metrics.sent.add(count);
                    metrics.failed.add(count);
                }
                Outcome::Again(..) => metrics.retried.add(count),
            }
        }
    }

    /// Drops items that have become too old.
    fn drop_old(&self, batch: &mut Batch) {
        let oldest_ms = self.oldest_ms();
        if batch.items.iter().all(|item| item.at_ms >= oldest_ms) {
            return;
        }
        batch.items.retain(|item| {
            let stays = item.at_ms >= oldest_ms;
            if !stays {
                let metrics = self.metrics.of(Kind::of(&item.value));
                metrics.dropped_old.inc();
                metrics.pending.add(-1.0);
            }
            stays
        });
    }
}

/// Buffers of one shard, used again for each request.
pub(super) struct Buffers {
    message: Vec<u8>,
    series: Vec<u8>,
    symbols: RequestSymbols,
    packer: snap::raw::Encoder,
}

impl Buffers {
    pub(super) fn new() -> Self {
        let packer = snap::raw::Encoder::new();
        Self { message: Vec::new(), series: Vec::new(), symbols: RequestSymbols::default(), packer }
    }

    fn body(&mut self, version: WriteMessage, batch: &Batch) -> Bytes {
        self.message.clear();
        match version {
            WriteMessage::V1 => encode::write_v1(&mut self.message, &batch.items),
            WriteMessage::V2 => {
                self.series.clear();
                encode::write_v2(&mut self.message, &mut self.series, &mut self.symbols, &batch.items);
                self.message.extend_from_slice(&self.series);
            }
        }
        self.packed()
    }

    /// Returns a message of metadata, packed.
    pub(super) fn metadata(&mut self, metadata: &[(String, Metadata)]) -> Bytes {
        self.message.clear();
        encode::write_metadata(&mut self.message, metadata);
        self.packed()
    }

    fn packed(&mut self) -> Bytes {
        let mut packed = vec![0; snap::raw::max_compress_len(self.message.len())];
        let length = self.packer.compress(&self.message, &mut packed).unwrap_or(0);
        packed.truncate(length);
        Bytes::from(packed)
    }
}

/// Sends batches until there are no more.
pub(super) async fn run(shared: Arc<Shared>, mut batches: mpsc::Receiver<Batch>) {
    let mut buffers = Buffers::new();
    while let Some(mut batch) = batches.recv().await {
        send(&shared, &mut buffers, &mut batch).await;
        for (piece, count) in batch.pieces {
            shared.acknowledged.done(piece, count);
        }
    }
}

async fn send(shared: &Shared, buffers: &mut Buffers, batch: &mut Batch) {
    let mut pause = shared.queue.min_backoff;
    let mut body = None;
    let mut attempt = 0;
    loop {
        let before = batch.items.len();
        shared.drop_old(batch);
        if batch.items.is_empty() {
            return;
        }
        let ready = body.take().filter(|_| before == batch.items.len()).unwrap_or_else(|| buffers.body(shared.version, batch));
        let expected = (shared.version == WriteMessage::V2).then(|| KINDS.map(|kind| batch.count(kind)));
        let outcome = shared.post(ready.clone(), attempt, expected).await;
        shared.count(batch, &outcome);
        match outcome {
            Outcome::Taken | Outcome::Refused(_) => {
                shared.metrics.bytes.add(ready.len() as u64);
                if let Outcome::Refused(reason) = &outcome {
                    tracing::error!(remote = %shared.name, url = %shared.url, count = batch.items.len(), %reason, "a batch was refused and is dropped");
                }
                let newest_ms = batch.items.iter().map(|item| item.at_ms).max().unwrap_or(i64::MIN);
                if shared.newest_sent_ms.fetch_max(newest_ms, Ordering::Relaxed) < newest_ms {
                    shared.metrics.highest_sent.set(newest_ms as f64 / 1000.0);
                }
                shared.sent.fetch_add(batch.items.len() as u64, Ordering::Relaxed);
                shared.taken_at_ms.store(shared.monotonic_ms(), Ordering::Relaxed);
                for kind in KINDS {
                    shared.metrics.of(kind).pending.add(-(batch.count(kind) as f64));
                }
                return;
            }
            Outcome::Again(asked, reason) => {
                let wait = asked.unwrap_or(pause);
                if attempt == 0 {
                    tracing::warn!(remote = %shared.name, url = %shared.url, %reason, "sending failed; it is tried again until it is taken");
                } else {
                    tracing::debug!(remote = %shared.name, url = %shared.url, attempt, %reason, "sending failed again");
                }
                shared.env.clock.sleep(wait).await;
                pause = wait.saturating_mul(2).clamp(shared.queue.min_backoff, shared.queue.max_backoff);
                attempt += 1;
                body = Some(ready);
            }
        }
    }
}
