//! One target's loop: wait, fetch, understand, append, report.
//!
//! Scrapes of one target never overlap. Each target has its own place within the interval, from a hash, the same after a
//! restart, so that a thousand targets do not start at one moment. A scrape's samples carry the planned time where the loop
//! woke within two milliseconds of it: equal distances cost no bytes in the store.
//!
//! Every scrape is one row: first the series about the scrape itself (`up`, ...), then the body's. When the scrape fails the
//! row holds stale markers; the rows after that hold the report alone.

use super::cache::Outcome;
use super::failure_log::FailureLog;
use super::fetch::{FetchError, Fetched, Fetcher};
use super::inputs::Inputs;
use super::reading::Reading;
use super::sample_labels::SampleLabels;
use super::view::{Ask, ScrapeFailure, Shared, Status};
use crate::config::ScrapeConfig;
use crate::env::Env;
use crate::exposition::families::ReadError;
use crate::model::labels::{LabelsBuilder, METRIC_NAME};
use crate::model::rule_inputs::RuleInputs;
use crate::model::sample::stale_nan;
use crate::model::target::TargetHealth;
use crate::storage::append::{Append, AppendError, Appended, BatchSample, BatchValue, Durability, GroupId, SeriesId};
use crate::telemetry::metrics::{Counter, Histogram, Registry, SECONDS};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// The series that every scrape leaves about itself.
const REPORT: [&str; 5] =
    ["up", "scrape_duration_seconds", "scrape_samples_scraped", "scrape_samples_post_metric_relabeling", "scrape_series_added"];
/// Those that `extra_scrape_metrics` adds.
const EXTRA_REPORT: [&str; 3] = ["scrape_timeout_seconds", "scrape_sample_limit", "scrape_body_size_bytes"];
/// How far the places of targets within an interval lie apart, at most.
const APART_MS: i64 = 50;
/// How far from the plan a scrape still counts as planned.
const TOLERANCE_MS: i64 = 2;
/// How large a buffer is kept between scrapes.
const BUFFER_BYTES_KEPT: usize = 1 << 20;
/// A body above this takes milliseconds to be understood.
const LARGE_BODY_BYTES: usize = 256 << 10;
/// How much of a bad response is kept to be shown.
const RESPONSE_BYTES_MAX: usize = 16 * 1024;

/// Counters that all loops share.
#[derive(Clone)]
pub(super) struct LoopMetrics {
    out_of_order: Counter,
    duplicate: Counter,
    out_of_bounds: Counter,
    sample_limit: Counter,
    body_limit: Counter,
    bucket_limit: Counter,
    label_limits: Counter,
    /// Jobs that had more targets than they may.
    pub(super) target_limit: Counter,
    failed: Counter,
    seconds: Histogram,
}

impl LoopMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let counter = |name, help| registry.counter(name, help, &[]);
        Self {
            out_of_order: counter(
                "watchkeeper_target_scrapes_sample_out_of_order_total",
                "Samples refused because a newer one of their series is stored.",
            ),
            duplicate: counter(
                "watchkeeper_target_scrapes_sample_duplicate_timestamp_total",
                "Samples refused because another value is stored for their time.",
            ),
            out_of_bounds: counter(
                "watchkeeper_target_scrapes_sample_out_of_bounds_total",
                "Samples refused because their time is too old or too far ahead.",
            ),
            sample_limit: counter(
                "watchkeeper_target_scrapes_exceeded_sample_limit_total",
                "Scrapes that had more samples than sample_limit.",
            ),
            body_limit: counter(
                "watchkeeper_target_scrapes_exceeded_body_size_limit_total",
                "Scrapes whose body was longer than body_size_limit.",
            ),
            bucket_limit: counter(
                "watchkeeper_target_scrapes_exceeded_native_histogram_bucket_limit_total",
                "Scrapes that had a native histogram with more buckets than native_histogram_bucket_limit.",
            ),
            label_limits: counter(
                "watchkeeper_target_scrape_pool_exceeded_label_limits_total",
                "Scrapes that had a sample with more or longer labels than the limits.",
            ),
            target_limit: counter(
                "watchkeeper_target_scrape_pool_exceeded_target_limit_total",
                "How often a job was found to have more targets than target_limit.",
            ),
            failed: counter("watchkeeper_target_scrapes_failed_total", "Scrapes that failed."),
            seconds: registry.histogram("watchkeeper_target_scrape_seconds", "How long scrapes take.", &[], SECONDS),
        }
    }

    fn count(&self, appended: &Appended) {
        self.out_of_order.add(appended.out_of_order);
        self.duplicate.add(appended.duplicate);
        self.out_of_bounds.add(appended.too_old + appended.too_far);
    }
}

/// Why a scrape does not count.
#[derive(Debug, thiserror::Error)]
enum ScrapeError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Body(#[from] ReadError),
    #[error("{0}")]
    BucketLimit(ReadError),
    #[error("{0}")]
    Barred(Arc<str>),
    #[error("sample limit exceeded")]
    SampleLimit,
    #[error("{0}")]
    Append(#[from] AppendError),
}

/// What a scrape counted, for the report.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    scraped: usize,
    kept: usize,
    added: usize,
    body_bytes: usize,
}

/// One target's loop.
pub(super) struct ScrapeLoop {
    pub(super) env: Env,
    pub(super) append: Arc<dyn Append>,
    pub(super) config: Arc<ScrapeConfig>,
    pub(super) shared: Arc<Shared>,
    pub(super) fetcher: Fetcher,
    pub(super) metrics: LoopMetrics,
    pub(super) failure_log: Arc<FailureLog>,
    /// When to begin; `None`: at the target's own place in the interval.
    pub(super) first_ms: Option<i64>,
    /// What watched rule groups read.
    pub(super) rule_inputs: watch::Receiver<Arc<RuleInputs>>,
}

/// What a loop remembers between scrapes.
struct Memory {
    group: GroupId,
    reading: Reading,
    report: Arc<[SeriesId]>,
    /// The layout of the last good row, while its series are not stale.
    live: Option<Arc<[SeriesId]>>,
    /// Series beside the row that are marked stale too: histograms, and, where asked for, those with timestamps of their own.
    live_beside: Vec<SeriesId>,
    buffer: Vec<u8>,
    last_ms: i64,
    inputs: Inputs,
}

impl ScrapeLoop {
    /// Runs until the target is stopped.
    pub(super) async fn run(self) {
        let interval_ms = i64::try_from(self.shared.target.interval.as_millis()).unwrap_or(i64::MAX).max(1);
        let mut planned_ms = self.first_ms.unwrap_or_else(|| self.next_place(interval_ms));
        let mut memory = None;
        loop {
            let wait = planned_ms.saturating_sub(self.env.clock.now_ms()).clamp(0, interval_ms);
            let alarm = self.env.clock.sleep(Duration::from_millis(wait.unsigned_abs()));
            let asked = tokio::select! {
                biased;
                () = self.shared.stop.cancelled() => break,
                () = self.shared.wake.notified() => true,
                () = alarm => false,
            };
            let asks = if asked { self.shared.take_asks() } else { Vec::new() };
            let wants_scrape = asks.iter().any(|ask| matches!(ask, Ask::Scrape(_)));
            if !asked || wants_scrape {
                let at_ms = self.sample_time(planned_ms, interval_ms, asked);
                tokio::select! {
                    biased;
                    () = self.shared.stop.cancelled() => break,
                    () = self.scrape(&mut memory, at_ms) => {}
                }
            }
            answer(asks, memory.as_ref());
            if !asked {
                let now_ms = self.env.clock.now_ms();
                let late = now_ms.saturating_sub(planned_ms).max(0) / interval_ms;
                planned_ms = planned_ms.saturating_add((late + 1).saturating_mul(interval_ms));
                if planned_ms.saturating_sub(now_ms) > interval_ms {
                    // The clock was set back.
                    planned_ms = self.next_place(interval_ms);
                }
            }
        }
        self.shared.take_asks();
        if self.shared.ends()
            && let Some(mut memory) = memory
        {
            self.mark_ended(&mut memory);
        }
    }

    /// Returns the next moment that is the target's own place in the interval.
    fn next_place(&self, interval_ms: i64) -> i64 {
        let now_ms = self.env.clock.now_ms();
        // Targets share places: what wakes up together costs less than what wakes up alone.
        let apart_ms = APART_MS.min((interval_ms / 20).max(1));
        let place = (self.shared.target.identity() % interval_ms.unsigned_abs()) as i64;
        let place = place - place % apart_ms;
        let base = now_ms - now_ms.rem_euclid(interval_ms) + place;
        if base < now_ms { base + interval_ms } else { base }
    }

    fn sample_time(&self, planned_ms: i64, interval_ms: i64, asked: bool) -> i64 {
        let now_ms = self.env.clock.now_ms();
        let tolerance = TOLERANCE_MS.min(interval_ms / 100);
        if !asked && (now_ms - planned_ms).abs() <= tolerance { planned_ms } else { now_ms }
    }

    async fn scrape(&self, memory: &mut Option<Memory>, at_ms: i64) {
        let started = self.env.clock.monotonic();
        // What is remembered stays in its place: a loop that is stopped during a fetch still knows which series end.
        let known = match memory {
            Some(known) => known,
            None => match self.prepare() {
                Ok(fresh) => memory.insert(fresh),
                Err(error) => {
                    let took = self.env.clock.monotonic().saturating_sub(started);
                    self.note(at_ms, took, Counts::default(), Some((&ScrapeError::Append(error), None)));
                    return;
                }
            },
        };
        // Two scrapes within one millisecond would be one row.
        let at_ms = at_ms.max(known.last_ms + 1);
        known.last_ms = at_ms;
        let buffer = std::mem::take(&mut known.buffer);
        let fetched = match self.shared.barred() {
            Some(reason) => Err(ScrapeError::Barred(reason)),
            None => {
                let fetched = self.fetcher.fetch(&self.env, &self.config, self.shared.target.timeout, buffer).await;
                fetched.map_err(ScrapeError::from)
            }
        };
        let mut counts = Counts::default();
        let result = match fetched {
            Ok(mut fetched) => {
                counts.body_bytes = fetched.body.len();
                let taken = self.aside(counts.body_bytes, || self.take(known, &mut fetched, &mut counts));
                taken.map_err(|error| (error, Some(fetched)))
            }
            Err(error) => Err((error, None)),
        };
        let took = self.env.clock.monotonic().saturating_sub(started);
        self.metrics.seconds.observe(took.as_secs_f64());
        let report = self.report_values(result.is_ok(), took, counts);
        match result {
            Ok((outcome, buffer)) => {
                known.buffer = buffer;
                let mut written = self.aside(counts.body_bytes, || self.write(known, at_ms, &report, outcome));
                if matches!(written, Err(AppendError::Forgotten)) {
                    written = self.write_anew(known, at_ms, &report);
                }
                // The memory of a large body is not kept for the next one.
                if known.buffer.capacity() > BUFFER_BYTES_KEPT {
                    known.buffer = Vec::new();
                }
                self.note(at_ms, took, counts, written.err().map(ScrapeError::Append).as_ref().map(|error| (error, None)));
            }
            Err((error, fetched)) => {
                self.count_failure(&error);
                let mut written = self.write_failed(known, at_ms, &report);
                if matches!(written, Err(AppendError::Forgotten)) {
                    written = self.prepare().and_then(|fresh| {
                        *known = Memory { last_ms: at_ms, ..fresh };
                        self.write_failed(known, at_ms, &report)
                    });
                }
                self.note(at_ms, took, counts, Some((&error, fetched.as_ref())));
                if let Err(error) = written {
                    tracing::warn!(target = self.shared.target.url, %error, "cannot store that a scrape failed");
                }
            }
        }
    }

    /// Does a step of a scrape; where the body is large, so that nobody else waits for it.
    fn aside<T>(&self, body_bytes: usize, work: impl FnOnce() -> T) -> T {
        if body_bytes > LARGE_BODY_BYTES { self.env.tasks.long(work) } else { work() }
    }

    /// Makes what the first scrape needs.
    fn prepare(&self) -> Result<Memory, AppendError> {
        let target = &self.shared.target;
        let (job, instance) = (target.labels.value("job"), target.labels.value("instance"));
        let group = self.append.group(&format!("scrape/{job}/{instance}/{:016x}", target.identity()))?;
        let extra = if self.config.extra_scrape_metrics == Some(true) { &EXTRA_REPORT[..] } else { &[] };
        let mut report = Vec::new();
        for name in REPORT.iter().chain(extra) {
            let mut builder = LabelsBuilder::from(&target.labels);
            builder.set(METRIC_NAME, name);
            report.push(self.append.series(&builder.build())?);
        }
        Ok(Memory {
            group,
            reading: Reading::new(&report, &self.config),
            report: Arc::from(report),
            live: None,
            live_beside: Vec::new(),
            buffer: Vec::new(),
            last_ms: i64::MIN,
            inputs: Inputs::new(&self.rule_inputs),
        })
    }

    /// Understands a body.
    fn take(&self, memory: &mut Memory, fetched: &mut Fetched, counts: &mut Counts) -> Result<(Outcome, Vec<u8>), ScrapeError> {
        let mut lookup = SampleLabels::new(&*self.append, &self.config, &self.shared.target.labels);
        let understood = memory.reading.update(&mut fetched.body, fetched.format, &mut lookup);
        if lookup.over_limits.get() {
            self.metrics.label_limits.inc();
        }
        drop(lookup);
        match understood {
            Ok(outcome) => {
                (counts.scraped, counts.kept, counts.added) = (outcome.scraped, outcome.kept, outcome.added);
                let limit = self.config.sample_limit;
                if limit > 0 && outcome.kept as u64 > limit {
                    memory.reading.clear();
                    return Err(ScrapeError::SampleLimit);
                }
                Ok((outcome, std::mem::take(&mut fetched.body)))
            }
            Err(refused) => {
                (counts.scraped, counts.kept) = (refused.scraped, refused.kept);
                Err(if refused.bucket_limit { ScrapeError::BucketLimit(refused.error) } else { refused.error.into() })
            }
        }
    }

    fn report_values(&self, up: bool, took: Duration, counts: Counts) -> Vec<f64> {
        let mut values =
            vec![if up { 1.0 } else { 0.0 }, took.as_secs_f64(), counts.scraped as f64, counts.kept as f64, counts.added as f64];
        if self.config.extra_scrape_metrics == Some(true) {
            let timeout = self.shared.target.timeout.as_secs_f64();
            values.extend([timeout, self.config.sample_limit as f64, counts.body_bytes as f64]);
        }
        values
    }

    /// Writes a good scrape: one row, and what does not fit into it.
    fn write(&self, memory: &mut Memory, at_ms: i64, report: &[f64], outcome: Outcome) -> Result<(), AppendError> {
        memory.reading.values()[..report.len()].copy_from_slice(report);
        let layout = Arc::clone(memory.reading.layout());
        for start in &outcome.starts {
            self.append.note_start(start.series, start.at_ms.unwrap_or(at_ms), start.start_ms);
        }
        let appended = self.append.append_row(memory.group, at_ms, &layout, memory.reading.values())?;
        self.metrics.count(&appended);
        self.metrics.duplicate.add(outcome.repeated as u64);
        let after_failure = memory.live.is_none();
        memory.live = Some(Arc::clone(&layout));
        let mut samples: Vec<BatchSample> = Vec::new();
        if !after_failure {
            samples.extend(outcome.vanished.iter().map(|series| stale_sample(*series, at_ms)));
        }
        if self.config.track_timestamps_staleness {
            samples.extend(outcome.vanished_timed.iter().map(|series| stale_sample(*series, at_ms)));
        }
        let tracks = self.config.track_timestamps_staleness;
        memory.live_beside.clear();
        memory.live_beside.extend(outcome.timed.iter().filter(|_| tracks).map(|(series, ..)| *series));
        let tracked = outcome.histograms.iter().filter(|found| tracks || found.at_ms.is_none());
        memory.live_beside.extend(tracked.map(|found| found.series));
        let timed = outcome.timed.iter();
        samples.extend(timed.map(|(series, at_ms, value)| BatchSample {
            series: *series,
            at_ms: *at_ms,
            value: BatchValue::Float(*value),
        }));
        samples.extend(outcome.histograms.into_iter().map(|found| BatchSample {
            series: found.series,
            at_ms: found.at_ms.unwrap_or(at_ms),
            value: BatchValue::Histogram(found.histogram),
        }));
        if !samples.is_empty() {
            let appended = self.append.append_samples(Some(memory.group), &samples, Durability::Kept)?;
            self.metrics.count(&appended);
        }
        if memory.inputs.are_watched() {
            let values = memory.reading.values();
            let beside = samples.iter().map(|sample| sample.series);
            memory.inputs.written(&*self.append, at_ms, &layout, values, beside);
        }
        for (series, mut exemplar) in outcome.exemplars {
            exemplar.at_ms.get_or_insert(at_ms);
            self.append.append_exemplars(series, &[exemplar]);
        }
        Ok(())
    }

    /// The store forgot series of a target that was away for long: everything is looked up anew.
    fn write_anew(&self, memory: &mut Memory, at_ms: i64, report: &[f64]) -> Result<(), AppendError> {
        let (body, format) = memory.reading.body();
        let mut body = body.to_vec();
        let buffer = std::mem::take(&mut memory.buffer);
        *memory = Memory { last_ms: at_ms, buffer, ..self.prepare()? };
        let mut lookup = SampleLabels::new(&*self.append, &self.config, &self.shared.target.labels);
        let understood = memory.reading.update(&mut body, format, &mut lookup);
        drop(lookup);
        match understood {
            Ok(outcome) => self.write(memory, at_ms, report, outcome),
            Err(refused) => Err(AppendError::Limit(refused.error.to_string())),
        }
    }

    /// Writes a failed scrape: stale markers once, and the report.
    fn write_failed(&self, memory: &mut Memory, at_ms: i64, report: &[f64]) -> Result<(), AppendError> {
        let timed: Vec<BatchSample> = memory.live_beside.drain(..).map(|series| stale_sample(series, at_ms)).collect();
        let (layout, values) = match memory.live.take() {
            Some(layout) => {
                let mut values = vec![stale_nan(); layout.len()];
                values[..report.len()].copy_from_slice(report);
                (layout, values)
            }
            None => (Arc::clone(&memory.report), report.to_vec()),
        };
        let appended = self.append.append_row(memory.group, at_ms, &layout, &values)?;
        self.metrics.count(&appended);
        if !timed.is_empty() {
            self.append.append_samples(Some(memory.group), &timed, Durability::Kept)?;
        }
        memory.inputs.written(&*self.append, at_ms, &layout, &values, timed.iter().map(|sample| sample.series));
        Ok(())
    }

    /// Marks all series of a target that went away.
    fn mark_ended(&self, memory: &mut Memory) {
        let layout = memory.live.as_ref().unwrap_or(&memory.report);
        let at_ms = self.env.clock.now_ms().max(memory.last_ms + 1);
        let values = vec![stale_nan(); layout.len()];
        let timed: Vec<BatchSample> = memory.live_beside.iter().map(|series| stale_sample(*series, at_ms)).collect();
        let row = self.append.append_row(memory.group, at_ms, layout, &values);
        let rest = self.append.append_samples(Some(memory.group), &timed, Durability::Kept);
        if let Err(error) = row.and(rest) {
            tracing::warn!(target = self.shared.target.url, %error, "cannot mark the series of a former target as stale");
        }
        memory.inputs.written(&*self.append, at_ms, layout, &values, timed.iter().map(|sample| sample.series));
    }

    fn count_failure(&self, error: &ScrapeError) {
        self.metrics.failed.inc();
        match error {
            ScrapeError::SampleLimit => self.metrics.sample_limit.inc(),
            ScrapeError::Fetch(FetchError::BodyTooLong(_)) => self.metrics.body_limit.inc(),
            ScrapeError::BucketLimit(_) => self.metrics.bucket_limit.inc(),
            ScrapeError::Fetch(_) | ScrapeError::Body(_) | ScrapeError::Append(_) | ScrapeError::Barred(_) => {}
        }
    }

    /// Shows the outcome.
    fn note(&self, at_ms: i64, took: Duration, counts: Counts, failure: Option<(&ScrapeError, Option<&Fetched>)>) {
        let health = if failure.is_none() { TargetHealth::Up } else { TargetHealth::Down };
        if let Some((error, _)) = &failure {
            tracing::debug!(target = self.shared.target.url, pool = self.shared.pool, %error, "a scrape failed");
            self.log_failure(at_ms, error);
        }
        self.shared.set_status(Status {
            health,
            last_error: failure.as_ref().map(|(error, _)| error.to_string()).unwrap_or_default(),
            failure: failure.map(|(error, fetched)| Arc::new(describe(at_ms, error, fetched))),
            last_scrape_ms: Some(at_ms),
            since_ms: None,
            failures: 0,
            last_duration: took,
            samples_scraped: counts.scraped as u64,
            samples_kept: counts.kept as u64,
            body_bytes: counts.body_bytes as u64,
        });
    }
}

impl ScrapeLoop {
    /// Writes the failure where the configuration wants it written.
    fn log_failure(&self, at_ms: i64, error: &ScrapeError) {
        let file = &self.config.scrape_failure_log_file;
        if !file.is_empty() {
            let (log, path) = (Arc::clone(&self.failure_log), file.path().to_owned());
            let (job, url, message) = (self.shared.pool.clone(), self.shared.target.url.clone(), error.to_string());
            // Nobody waits for it.
            drop(self.env.tasks.blocking(move || log.write(&path, at_ms, &job, &url, &message)));
        }
    }
}

const fn stale_sample(series: SeriesId, at_ms: i64) -> BatchSample {
    BatchSample { series, at_ms, value: BatchValue::Float(stale_nan()) }
}

fn describe(at_ms: i64, error: &ScrapeError, fetched: Option<&Fetched>) -> ScrapeFailure {
    let read = match error {
        ScrapeError::Body(error) | ScrapeError::BucketLimit(error) => Some(error),
        ScrapeError::Fetch(_) | ScrapeError::SampleLimit | ScrapeError::Append(_) | ScrapeError::Barred(_) => None,
    };
    let body = fetched.map_or(&[][..], |fetched| fetched.body.as_slice());
    let (line, start) = match read {
        Some(ReadError::Line(line)) => (Some(line), around_line(body, line.line)),
        Some(ReadError::Message { at, .. }) => (None, (*at).min(body.len())),
        None => (None, 0),
    };
    let end = body.len().min(start + RESPONSE_BYTES_MAX);
    ScrapeFailure {
        at_ms,
        line: line.map(|line| line.line),
        column: line.map(|line| line.column),
        text: line.map(|line| line.text.clone()).unwrap_or_default(),
        content_type: fetched.map(|fetched| fetched.content_type.clone()).unwrap_or_default(),
        response: String::from_utf8_lossy(&body[start..end]).into_owned(),
    }
}

/// Returns where to start showing a body so that the line is in sight: at a line, half of what is shown before it at most.
fn around_line(body: &[u8], line: usize) -> usize {
    let bad = if line < 2 { 0 } else { memchr::memchr_iter(b'\n', body).nth(line - 2).map_or(0, |newline| newline + 1) };
    let from = bad.saturating_sub(RESPONSE_BYTES_MAX / 2);
    if from == 0 { 0 } else { memchr::memchr(b'\n', &body[from..bad]).map_or(bad, |newline| from + newline + 1) }
}

fn answer(asks: Vec<Ask>, memory: Option<&Memory>) {
    for ask in asks {
        // Who asked may have gone: then nobody waits.
        match ask {
            Ask::Scrape(done) => drop(done.send(())),
            Ask::Metadata(out) => drop(out.send(memory.map(|memory| memory.reading.metadata()).unwrap_or_default())),
        }
    }
}
