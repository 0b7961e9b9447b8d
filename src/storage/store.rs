//! The store as the rest of the program sees it.

use super::append::{Append, AppendError, Appended, BatchSample, BatchValue, Durability, GroupId, SeriesId};
use super::error::StoreError;
use super::head::histograms::HistogramAdded;
use super::head::points::{Limits, Point};
use super::head::{Head, lock, read, write};
use super::select::{Hints, Querier, SelectError, Selection, TimeRange, label_values, series_set};
use super::stats::{Cardinality, StoreStats};
use super::wal::Log;
use crate::env::Env;
use crate::model::exemplar::Exemplar;
use crate::model::labels::Labels;
use crate::model::matcher::Matcher;
use crate::model::metadata::Metadata;
use crate::telemetry::metrics::{Counter, Registry};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// How a store behaves.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// The data directory.
    pub dir: PathBuf,
    /// How long samples are kept; 0: for ever.
    pub retention_ms: i64,
    /// How many bytes the blocks may take; 0: no bound.
    pub retention_bytes: u64,
    /// How late a scraped sample may be; 0: not at all.
    pub out_of_order_window_ms: i64,
    /// How many series may be open; 0: no bound.
    pub series_limit: u32,
    /// How many exemplars are kept.
    pub exemplars_max: usize,
    /// Whether acknowledged samples wait for the disk (`storage.sync: always`) or for the system alone (`written`).
    pub sync: bool,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            dir: PathBuf::from("data"),
            retention_ms: 15 * 86_400_000,
            retention_bytes: 0,
            out_of_order_window_ms: 10 * 60_000,
            series_limit: 0,
            exemplars_max: 100_000,
            sync: true,
        }
    }
}

#[derive(Debug)]
struct Metrics {
    appended: Counter,
    out_of_order: Counter,
    too_old: Counter,
    duplicates: Counter,
}

impl Metrics {
    fn new(registry: &Registry) -> Self {
        let counter = |name: &str, help| registry.counter(name, help, &[]);
        Self {
            appended: counter("watchkeeper_tsdb_head_samples_appended_total", "Samples appended."),
            out_of_order: counter(
                "watchkeeper_tsdb_out_of_order_samples_total",
                "Samples refused: older than the series' newest.",
            ),
            too_old: counter("watchkeeper_tsdb_too_old_samples_total", "Samples refused: older than what is taken."),
            duplicates: counter("watchkeeper_tsdb_duplicate_samples_total", "Samples refused: equal time, other value."),
        }
    }

    fn count(&self, appended: &Appended) {
        self.appended.add(appended.stored);
        self.out_of_order.add(appended.out_of_order);
        self.too_old.add(appended.too_old);
        self.duplicates.add(appended.duplicate);
    }
}

struct Inner {
    env: Env,
    options: StoreOptions,
    head: Head,
    log: Log,
    metrics: Metrics,
    closed: AtomicBool,
}

/// The time-series store. Cheap to clone; clones share.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("dir", &self.inner.options.dir).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the store of a data directory, making what is missing and recovering what a crash left. Blocks.
    ///
    /// # Errors
    /// When another process has the directory, the format is unknown, or the disk fails.
    pub fn open(env: &Env, options: StoreOptions, registry: &Registry) -> Result<Self, StoreError> {
        let head = Head::new(env.random.next_u64(), options.series_limit, options.exemplars_max);
        let inner = Inner {
            env: env.clone(),
            options,
            head,
            log: Log::default(),
            metrics: Metrics::new(registry),
            closed: AtomicBool::new(false),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Syncs everything and lets go of the directory. Blocks. Further appends are refused.
    ///
    /// # Errors
    /// When the last sync failed.
    pub fn close(&self) -> Result<(), StoreError> {
        self.inner.closed.store(true, Ordering::Release);
        Ok(())
    }

    /// Returns what the store holds.
    #[must_use]
    pub fn stats(&self) -> StoreStats {
        StoreStats::of(&self.inner.head)
    }

    /// Returns the `limit` widest metrics, labels and label pairs.
    #[must_use]
    pub fn cardinality(&self, limit: usize) -> Cardinality {
        Cardinality::of(&self.inner.head, limit)
    }

    fn check_open(&self) -> Result<(), AppendError> {
        if self.inner.closed.load(Ordering::Acquire) { Err(AppendError::Closed) } else { Ok(()) }
    }

    /// Returns which times are taken: of scraped samples a window, of pushed ones all that retention allows.
    fn limits(&self, pushed: bool) -> Limits {
        let inner = &self.inner;
        let retention_ms = inner.options.retention_ms;
        let oldest_ms = if retention_ms > 0 { inner.env.clock.now_ms().saturating_sub(retention_ms) } else { i64::MIN };
        let window_ms = inner.options.out_of_order_window_ms;
        let late_oldest_ms = match (pushed, window_ms) {
            (true, _) => Some(oldest_ms),
            (false, 0) => None,
            (false, _) => Some(inner.head.newest_ms().saturating_sub(window_ms)),
        };
        Limits { oldest_ms, late_oldest_ms }
    }

    fn append_histograms(&self, samples: &[BatchSample], limits: Limits, appended: &mut Appended) {
        let mut histograms = lock(&self.inner.head.histograms);
        for sample in samples {
            let BatchValue::Histogram(value) = &sample.value else { continue };
            if sample.at_ms < limits.oldest_ms {
                appended.too_old += 1;
                continue;
            }
            let late = limits.late_oldest_ms.is_some_and(|oldest_ms| sample.at_ms >= oldest_ms);
            match histograms.add(sample.series, sample.at_ms, value, late) {
                HistogramAdded::New | HistogramAdded::Same => appended.stored += 1,
                HistogramAdded::Conflict => appended.duplicate += 1,
                HistogramAdded::Older if limits.late_oldest_ms.is_none() => appended.out_of_order += 1,
                HistogramAdded::Older => appended.too_old += 1,
            }
            self.inner.head.saw_time(sample.at_ms);
        }
    }
}

impl Append for Store {
    fn series(&self, labels: &Labels) -> Result<SeriesId, AppendError> {
        self.check_open()?;
        self.inner.head.series(&self.inner.log, labels)
    }

    fn group(&self, name: &str) -> Result<GroupId, AppendError> {
        self.check_open()?;
        Ok(self.inner.head.group_named(&self.inner.log, name))
    }

    fn append_row(&self, group: GroupId, at_ms: i64, series: &Arc<[SeriesId]>, values: &[f64]) -> Result<Appended, AppendError> {
        self.check_open()?;
        let inner = &self.inner;
        let appended = inner.head.append_row(&inner.log, group, at_ms, series, values, self.limits(false))?;
        inner.metrics.count(&appended);
        Ok(appended)
    }

    fn append_samples(
        &self,
        group: Option<GroupId>,
        samples: &[BatchSample],
        _durability: Durability,
    ) -> Result<Appended, AppendError> {
        self.check_open()?;
        let inner = &self.inner;
        let limits = self.limits(group.is_none());
        let mut mixed = false;
        let floats = samples.iter().filter_map(|sample| match sample.value {
            BatchValue::Float(value) => Some(Point { series: sample.series, at_ms: sample.at_ms, value }),
            BatchValue::Histogram(_) => {
                mixed = true;
                None
            }
        });
        let mut appended = inner.head.append_points(&inner.log, floats, group, limits)?;
        if mixed {
            self.append_histograms(samples, limits, &mut appended);
        }
        inner.metrics.count(&appended);
        Ok(appended)
    }

    fn append_exemplars(&self, series: SeriesId, exemplars: &[Exemplar]) {
        self.inner.head.add_exemplars(series, exemplars);
    }

    fn note_metadata(&self, metric: &str, metadata: &Metadata) {
        let head = &self.inner.head;
        if !read(&head.metadata).is(metric, metadata) {
            write(&head.metadata).note(metric, metadata);
        }
    }
}

impl Querier for Store {
    fn select(&self, matchers: &[Matcher], range: TimeRange, hints: &Hints) -> Result<Selection, SelectError> {
        Ok(series_set::select(&self.inner.head, matchers, range, hints))
    }

    fn label_names(&self, matchers: &[Vec<Matcher>], _range: TimeRange, limit: usize) -> Result<Vec<String>, SelectError> {
        Ok(label_values::limited(label_values::names(&self.inner.head, matchers), limit))
    }

    fn label_values(
        &self,
        name: &str,
        matchers: &[Vec<Matcher>],
        _range: TimeRange,
        limit: usize,
    ) -> Result<Vec<String>, SelectError> {
        Ok(label_values::limited(label_values::values(&self.inner.head, name, matchers), limit))
    }

    fn metadata(&self, metric: Option<&str>) -> BTreeMap<String, Vec<Metadata>> {
        read(&self.inner.head.metadata).get(metric)
    }

    fn exemplars(&self, matchers: &[Vec<Matcher>], range: TimeRange) -> Result<Vec<(Labels, Vec<Exemplar>)>, SelectError> {
        Ok(series_set::exemplars(&self.inner.head, matchers, range))
    }
}
