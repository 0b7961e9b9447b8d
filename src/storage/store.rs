//! The store as the rest of the program sees it.

use super::append::{Append, AppendError, Appended, BatchSample, BatchValue, Durability, GroupId, SeriesId};
use super::blocks::BlockSet;
use super::changes::ChangeLog;
use super::compact::plan::Eager;
use super::dir;
use super::error::StoreError;
use super::follow::kept::Kept;
use super::head::histograms::HistogramAdded;
use super::head::points::{Limits, Point};
use super::head::starts::start_at;
use super::head::{self, Head, TIME_MAX_MS, lock, read, write};
use super::inventory::{BlockInfo, Width};
use super::progress::Progress;
use super::reserve::Reserve;
use super::select::{Hints, Querier, SelectError, Selection, TimeRange, label_values, series_set};
use super::stats::{Cardinality, LabelCardinality, StoreStats};
use super::wal::Log;
use super::wal::record::{put_exemplars, put_histograms, put_metadata, put_starts};
use super::wal::replay::{Cover, Replay};
use crate::env::Env;
use crate::env::disk::DiskLock;
use crate::model::exemplar::Exemplar;
use crate::model::labels::Labels;
use crate::model::matcher::Matcher;
use crate::model::metadata::Metadata;
use crate::telemetry::metrics::{Counter, Histogram, Registry, SECONDS};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};

/// Series that are matched before others may change the names.
const MATCHED_AT_ONCE: usize = 256;

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
    /// Bytes of disk that are kept back for the day when it is full; 0: none.
    pub reserve_bytes: u64,
    /// Samples that are kept in memory alone while the log cannot be written.
    pub unlogged_samples_max: u64,
    /// Is told how far opening has come.
    pub progress: Progress,
    /// Whether somebody follows the log ([`Store::follow_log`]): segments are kept until they were read.
    pub is_followed: bool,
    /// Whether a thread keeps house: cuts the head, merges blocks, applies retention. Commands on a stopped server's
    /// directory do without.
    pub housekeeping: bool,
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
            reserve_bytes: 0,
            unlogged_samples_max: 32 << 20,
            progress: Progress::default(),
            is_followed: false,
            housekeeping: true,
        }
    }
}

#[derive(Debug)]
pub(super) struct Metrics {
    appended: Counter,
    out_of_order: Counter,
    too_old: Counter,
    duplicates: Counter,
    /// Cuts of the head that became blocks.
    pub(super) cuts: Counter,
    /// How long they took.
    pub(super) cut_seconds: Histogram,
    /// Merges of blocks.
    pub(super) compactions: Counter,
    /// Cuts and merges that failed.
    pub(super) failed_compactions: Counter,
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
            cuts: counter("watchkeeper_tsdb_head_truncations_total", "Cuts of the head that became blocks."),
            cut_seconds: registry.histogram(
                "watchkeeper_tsdb_head_gc_duration_seconds",
                "Time that a cut of the head took.",
                &[],
                SECONDS,
            ),
            compactions: counter("watchkeeper_tsdb_compactions_total", "Merges of blocks."),
            failed_compactions: counter("watchkeeper_tsdb_compactions_failed_total", "Cuts and merges that failed."),
        }
    }

    fn count(&self, appended: &Appended) {
        self.appended.add(appended.stored);
        self.out_of_order.add(appended.out_of_order);
        self.too_old.add(appended.too_old);
        self.duplicates.add(appended.duplicate);
    }
}

/// What all clones of a store share.
pub(super) struct Inner {
    pub(super) env: Env,
    pub(super) options: StoreOptions,
    pub(super) head: Head,
    pub(super) log: Log,
    pub(super) blocks: BlockSet,
    /// What blocks hold of the segments that are still there.
    pub(super) covers: Mutex<Vec<Cover>>,
    pub(super) metrics: Metrics,
    pub(super) changes: ChangeLog,
    /// One cut, merge or deletion at a time.
    pub(super) compacting: Mutex<()>,
    /// Samples taken since the log failed.
    pub(super) unlogged: AtomicU64,
    closed: AtomicBool,
    pub(super) closing: Mutex<bool>,
    pub(super) wake: Condvar,
    keeper: Mutex<Option<std::thread::JoinHandle<()>>>,
    lock: Mutex<Option<Box<dyn DiskLock>>>,
}

/// Held by clones of a store: when the last one goes, the keeper's thread ends.
struct Alive(Arc<Inner>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.end_keeper();
    }
}

impl Inner {
    /// Ends the keeper's thread and waits for it.
    fn end_keeper(&self) {
        *lock(&self.closing) = true;
        self.wake.notify_all();
        let keeper = lock(&self.keeper).take();
        if keeper.is_some_and(|keeper| keeper.join().is_err()) {
            tracing::error!("the keeper's thread has panicked");
        }
    }
}

/// The time-series store. Cheap to clone; clones share.
#[derive(Clone)]
pub struct Store {
    pub(super) inner: Arc<Inner>,
    _alive: Arc<Alive>,
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
        let lock = dir::open(env, &options.dir)?;
        let head = Head::new(env.random.next_u64(), options.series_limit, options.exemplars_max);
        let blocks = BlockSet::open(env, &options.dir)?;
        blocks.count_in(registry);
        let covers = blocks.covers();
        let began = env.clock.monotonic();
        let replayed = Replay::new(env, &options.dir, &head, &covers).run(&options.progress)?;
        if replayed.damaged > 0 {
            tracing::error!(records = replayed.damaged, "parts of the log could not be read; see the quarantine folder");
        }
        tracing::info!(samples = replayed.samples, took = ?env.clock.monotonic() - began, "the log was read back");
        let damaged =
            registry.counter("watchkeeper_tsdb_wal_corruptions_total", "Records of the log that could not be read back.", &[]);
        damaged.add(replayed.damaged);
        let held = blocks.list().iter().map(|block| block.bytes).sum();
        let reserve = Reserve::new(env, &options.dir, options.reserve_bytes, held);
        let kept = if options.is_followed {
            Kept::open(&*env.disk, &options.dir).map_err(StoreError::io("listing what was not sent on in", &options.dir))?
        } else {
            Kept::default()
        };
        let log = Log::open(env, &options.dir, replayed, reserve, kept, registry)?;
        let inner = Arc::new(Inner {
            env: env.clone(),
            options,
            head,
            log,
            blocks,
            covers: Mutex::new(covers),
            metrics: Metrics::new(registry),
            changes: ChangeLog::default(),
            compacting: Mutex::new(()),
            unlogged: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            closing: Mutex::new(false),
            wake: Condvar::new(),
            keeper: Mutex::new(None),
            lock: Mutex::new(Some(lock)),
        });
        if inner.options.housekeeping {
            let forgotten = inner.head.forget_unused(true);
            tracing::debug!(forgotten, "series without samples in the log are left out");
            inner.compact_names()?;
            let keeper = Arc::clone(&inner);
            let thread = env.tasks.background("store-keeper", move || keeper.keep());
            *head::lock(&inner.keeper) = thread.map_err(StoreError::io("starting the keeper of", &inner.options.dir))?;
        }
        Ok(Self { _alive: Arc::new(Alive(Arc::clone(&inner))), inner })
    }

    /// Syncs everything and lets go of the directory. Blocks. Further appends are refused.
    ///
    /// # Errors
    /// When the last sync failed.
    pub fn close(&self) -> Result<(), StoreError> {
        self.inner.closed.store(true, Ordering::Release);
        self.inner.end_keeper();
        let synced = self.inner.log.sync();
        let saved = if self.inner.log.failure().is_some() { self.inner.save_all() } else { Ok(()) };
        let closed = self.inner.log.close().map_err(StoreError::io("syncing the log of", &self.inner.options.dir));
        drop(lock(&self.inner.lock).take());
        // What the log has lost is in blocks now, unless that failed, too.
        if synced.is_ok() { saved.and(closed) } else { saved }
    }

    /// Returns how far opening has come.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.inner.options.progress.clone()
    }

    /// Returns why samples cannot be made durable at present, for `/-/ready` and the dashboard.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.inner.log.failure()
    }

    /// Returns what the store holds.
    #[must_use]
    pub fn stats(&self) -> StoreStats {
        StoreStats::of(&self.inner.head, &self.inner.blocks)
    }

    /// Deletes the samples of series that satisfy all matchers, within a range. Blocks.
    ///
    /// # Errors
    /// When the head could not be written or the deletion not be made durable.
    pub fn delete_series(&self, matchers: &[Matcher], range: TimeRange) -> Result<(), StoreError> {
        let deleted = self.inner.delete(matchers, range);
        self.inner.changes.note(range.start_ms);
        deleted
    }

    /// Writes blocks anew without what was deleted, so that its space comes back. Blocks.
    ///
    /// # Errors
    /// When a block could not be written.
    pub fn clean_tombstones(&self) -> Result<(), StoreError> {
        self.inner.clean_tombstones()
    }

    /// Writes everything in memory as blocks. Blocks.
    ///
    /// # Errors
    /// When a block could not be written; everything is then still in memory.
    pub fn flush_head(&self) -> Result<(), StoreError> {
        self.inner.cut(i64::MAX)
    }

    /// Merges finished ranges until nothing is left to merge. Blocks. The keeper does the same in its own time.
    ///
    /// # Errors
    /// When a block could not be written.
    pub fn compact(&self) -> Result<(), StoreError> {
        while self.inner.merge_one(self.inner.env.clock.now_ms(), Eager::No)? {}
        self.inner.retain(self.inner.env.clock.now_ms())
    }

    /// Writes everything in memory as blocks and merges whatever can be merged, unfinished days too. Blocks until it is done.
    ///
    /// # Errors
    /// When a block could not be written, or there is no room for it.
    pub fn compact_all(&self) -> Result<(), StoreError> {
        self.inner.cut(i64::MAX)?;
        while self.inner.merge_one(self.inner.env.clock.now_ms(), Eager::Yes)? {}
        self.inner.retain(self.inner.env.clock.now_ms())
    }

    /// Makes a snapshot: a folder below `snapshots/` in the data directory that is a data directory of its own. With
    /// `skip_head` it holds what is in blocks already; otherwise the head is written as blocks first. Blocks.
    ///
    /// Returns the folder's name.
    ///
    /// # Errors
    /// When something could not be written; nothing of the snapshot is then left.
    pub fn snapshot(&self, skip_head: bool) -> Result<String, StoreError> {
        self.inner.snapshot(skip_head)
    }

    /// Returns between which times most samples lie (late ones may lie outside); a reversed range where there is none.
    #[must_use]
    pub fn held(&self) -> TimeRange {
        let stats = self.stats();
        let (mut start_ms, mut end_ms) = (i64::MAX, i64::MIN);
        let blocks = self.block_infos();
        let head = [stats.head_min_ms, stats.head_max_ms].into_iter().flatten();
        for at_ms in head.chain(blocks.iter().flat_map(|block| [block.min_ms, block.max_ms])) {
            start_ms = start_ms.min(at_ms);
            end_ms = end_ms.max(at_ms);
        }
        TimeRange { start_ms, end_ms }
    }

    /// Lists the blocks, oldest time first.
    #[must_use]
    pub fn block_infos(&self) -> Vec<BlockInfo> {
        self.inner.block_infos()
    }

    /// Counts how wide the labels of head and blocks are; its lists hold `limit` entries. Blocks.
    ///
    /// # Errors
    /// When the index of a block cannot be read.
    pub fn width(&self, limit: usize) -> Result<Width, StoreError> {
        self.inner.width(limit)
    }

    /// Returns the `limit` widest metrics, labels and label pairs.
    #[must_use]
    pub fn cardinality(&self, limit: usize) -> Cardinality {
        Cardinality::of(&self.inner.head, limit)
    }

    /// Does what the keeper does each second.
    #[cfg(test)]
    pub(super) fn keep_once(&self, last_cut: &mut i64) -> Result<(), StoreError> {
        self.inner.keep_once(last_cut)
    }

    /// Does what the thread that syncs does ten times a second.
    #[cfg(test)]
    pub(super) fn sync_log(&self) -> std::io::Result<()> {
        self.inner.log.sync()
    }

    /// Returns how many series carry each value of a label, in the head and in the blocks since a time; the `limit` widest.
    ///
    /// # Errors
    /// When the disk failed.
    pub fn cardinality_of(&self, label: &str, since_ms: i64, limit: usize) -> Result<LabelCardinality, StoreError> {
        LabelCardinality::of(&self.inner.head, &self.inner.blocks, label, since_ms, limit)
    }

    /// Returns all blocks.
    #[cfg(test)]
    pub(super) fn blocks(&self) -> Vec<Arc<super::block::reader::Block>> {
        self.inner.blocks.list().to_vec()
    }

    fn check_open(&self) -> Result<(), AppendError> {
        if self.inner.closed.load(Ordering::Acquire) { Err(AppendError::Closed) } else { Ok(()) }
    }

    /// Refuses samples when memory holds too many that the log does not.
    fn check_room(&self, samples: usize) -> Result<(), AppendError> {
        let inner = &self.inner;
        if !inner.log.has_failed() {
            return Ok(());
        }
        let held = inner.unlogged.fetch_add(samples as u64, Ordering::Relaxed);
        if held < inner.options.unlogged_samples_max {
            return Ok(());
        }
        let failure = inner.log.failure().unwrap_or_default();
        Err(AppendError::Log(format!("{failure}; {held} samples are in memory alone, more are not kept")))
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

    fn append_histograms(&self, samples: &[BatchSample], limits: Limits, appended: &mut Appended) -> Result<(), AppendError> {
        let head = &self.inner.head;
        let _gate = head.pass_gate();
        head.check_known(samples.iter().map(|sample| sample.series))?;
        let mut histograms = lock(&head.histograms);
        let mut stored = Vec::new();
        for sample in samples {
            let BatchValue::Histogram(value) = &sample.value else { continue };
            if sample.at_ms < limits.oldest_ms || sample.at_ms < -TIME_MAX_MS {
                appended.too_old += 1;
                continue;
            }
            if sample.at_ms > TIME_MAX_MS {
                appended.too_far += 1;
                continue;
            }
            let late = limits.late_oldest_ms.is_some_and(|oldest_ms| sample.at_ms >= oldest_ms);
            match histograms.add(sample.series, sample.at_ms, value, late) {
                HistogramAdded::New => {
                    appended.stored += 1;
                    stored.push((sample.series, sample.at_ms, Arc::clone(value)));
                }
                HistogramAdded::Same => appended.stored += 1,
                HistogramAdded::Conflict => appended.duplicate += 1,
                HistogramAdded::Older if limits.late_oldest_ms.is_none() => appended.out_of_order += 1,
                HistogramAdded::Older => appended.too_old += 1,
            }
            head.saw_time(sample.at_ms);
        }
        if !stored.is_empty() {
            let newest_ms = stored.iter().map(|(_, at_ms, _)| *at_ms).max().unwrap_or(i64::MIN);
            self.inner.log.write(newest_ms, |_segment, record| put_histograms(record, &stored));
        }
        Ok(())
    }

    /// Makes what was appended as durable as was asked for.
    fn settle(&self, durability: Durability) -> Result<(), AppendError> {
        let log = &self.inner.log;
        let done = if durability == Durability::Synced && self.inner.options.sync { log.sync() } else { log.flush() };
        done.map_err(|error| AppendError::Log(error.to_string()))
    }
}

impl Append for Store {
    fn series(&self, labels: &Labels) -> Result<SeriesId, AppendError> {
        self.check_open()?;
        self.inner.head.series(&self.inner.log, labels)
    }

    fn known_series(&self, encoded: &[&[u8]], found: &mut Vec<Option<SeriesId>>) {
        read(&self.inner.head.registry).find_encoded(encoded, found);
    }

    fn matching(&self, series: &[SeriesId], wanted: &[&[Matcher]], found: &mut dyn FnMut(usize, usize)) {
        for (chunk, ids) in series.chunks(MATCHED_AT_ONCE).enumerate() {
            read(&self.inner.head.registry).matching(ids, wanted, &mut |at, which| found(chunk * MATCHED_AT_ONCE + at, which));
        }
    }

    fn group(&self, name: &str) -> Result<GroupId, AppendError> {
        self.check_open()?;
        Ok(self.inner.head.group_named(&self.inner.log, name))
    }

    fn append_row(&self, group: GroupId, at_ms: i64, series: &Arc<[SeriesId]>, values: &[f64]) -> Result<Appended, AppendError> {
        self.check_open()?;
        self.check_room(values.len())?;
        let inner = &self.inner;
        let appended = inner.head.append_row(&inner.log, group, at_ms, series, values, self.limits(false))?;
        inner.changes.note(at_ms);
        inner.metrics.count(&appended);
        Ok(appended)
    }

    fn append_samples(
        &self,
        group: Option<GroupId>,
        samples: &[BatchSample],
        durability: Durability,
    ) -> Result<Appended, AppendError> {
        self.check_open()?;
        let inner = &self.inner;
        if durability == Durability::Kept {
            self.check_room(samples.len())?;
        } else if let Some(failure) = inner.log.failure() {
            return Err(AppendError::Log(failure));
        }
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
            self.append_histograms(samples, limits, &mut appended)?;
        }
        if let Some(oldest_ms) = samples.iter().map(|sample| sample.at_ms).min() {
            inner.changes.note(oldest_ms);
        }
        inner.metrics.count(&appended);
        match self.settle(durability) {
            // Scraped samples stay in memory when the log fails; it has said so itself.
            Err(_) if durability == Durability::Kept => Ok(appended),
            settled => settled.map(|()| appended),
        }
    }

    fn note_start(&self, series: SeriesId, at_ms: i64, start_ms: i64) {
        let head = &self.inner.head;
        // Nearly all are known already, or are none where there never was one.
        if start_at(read(&head.starts).get(series), at_ms) == start_ms {
            return;
        }
        let _passed = head.pass_gate();
        if write(&head.starts).note(series, at_ms, start_ms) {
            self.inner.log.write(i64::MIN, |_segment, record| put_starts(record, series, &[(at_ms, start_ms)]));
        }
    }

    fn append_exemplars(&self, series: SeriesId, exemplars: &[Exemplar]) {
        if self.inner.head.add_exemplars(series, exemplars) > 0 {
            self.inner.log.write(i64::MIN, |_segment, record| put_exemplars(record, series, exemplars));
        }
    }

    fn note_metadata(&self, metric: &str, metadata: &Metadata) {
        let head = &self.inner.head;
        if read(&head.metadata).exactly(metric) != Some(metadata) {
            write(&head.metadata).note(metric, metadata);
            self.inner.log.write(i64::MIN, |_segment, record| put_metadata(record, metric, metadata));
        }
    }
}

impl Querier for Store {
    fn select(&self, matchers: &[Matcher], range: TimeRange, hints: &Hints) -> Result<Selection, SelectError> {
        series_set::select(&self.inner.head, &self.inner.blocks, matchers, range, hints)
    }

    fn changes(&self) -> Option<&ChangeLog> {
        Some(&self.inner.changes)
    }

    fn label_names(&self, matchers: &[Vec<Matcher>], range: TimeRange, limit: usize) -> Result<Vec<String>, SelectError> {
        Ok(label_values::limited(label_values::names(&self.inner.head, &self.inner.blocks, matchers, range)?, limit))
    }

    fn label_values(
        &self,
        name: &str,
        matchers: &[Vec<Matcher>],
        range: TimeRange,
        limit: usize,
    ) -> Result<Vec<String>, SelectError> {
        Ok(label_values::limited(label_values::values(&self.inner.head, &self.inner.blocks, name, matchers, range)?, limit))
    }

    fn metadata(&self, metric: Option<&str>) -> BTreeMap<String, Vec<Metadata>> {
        read(&self.inner.head.metadata).get(metric)
    }

    fn exemplars(&self, matchers: &[Vec<Matcher>], range: TimeRange) -> Result<Vec<(Labels, Vec<Exemplar>)>, SelectError> {
        Ok(series_set::exemplars(&self.inner.head, matchers, range))
    }
}
