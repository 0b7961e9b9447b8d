//! The store's own housekeeping, on one thread: cuts, merges, retention, and mending after a failed sync.
//!
//! ```text
//! every second:   the log lost something?          cut everything to blocks
//!                 a half hour is over by 60 s?      cut it, forget series without samples, write names anew if they grew
//!                 sealed generations wait?          cut what is sealed, as when history is loaded
//!                 a range is finished?              merge its blocks
//!                 older or larger than retention?   unlink whole blocks
//! ```

use super::compact::plan::Eager;
use super::compact::{flush, merge, plan};
use super::error::StoreError;
use super::head::{WINDOW_MS, lock, read, window_of};
use super::progress::Task;
use super::select::TimeRange;
use super::store::Inner;
use super::wal::names::{put_group, put_layout, put_series_entry, put_symbol};
use super::wal::record::{put_exemplars, put_metadata, put_starts};
use super::wal::replay::Cover;
use crate::model::matcher::Matcher;
use crate::storage::index::matchers::matching;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

const PERIOD: Duration = Duration::from_secs(1);
/// While the log cannot be written.
const QUICK: Duration = Duration::from_millis(100);
/// A half hour is cut so long after its end.
const CUT_DELAY_MS: i64 = 60_000;
/// Sealed generations and late samples beyond this are cut at once.
const WAITING_BYTES_MAX: usize = 48 << 20;
/// After a failure, so long until the next try.
const RETRY: Duration = Duration::from_secs(30);
/// Progress is told after so many series.
const PROGRESS_SERIES: u64 = 1024;
/// A names log smaller than this is not worth writing anew.
const NAMES_BYTES_MIN: u64 = 256 << 10;

#[cfg(any(test, feature = "sim"))]
impl super::Store {
    /// Does what the thread that syncs does by itself every 100 ms, once: for a world without threads.
    pub fn tend_log(&self) {
        self.inner.log.tend();
    }

    /// Does what the keeper's thread does by itself every second, once. `last_cut`: where it stands; 0 at first.
    ///
    /// # Errors
    /// When a block could not be written; everything is then still in memory.
    pub fn tend(&self, last_cut: &mut i64) -> Result<(), StoreError> {
        if *last_cut == 0 {
            *last_cut = window_of(self.inner.env.clock.now_ms() - CUT_DELAY_MS);
        }
        self.inner.keep_once(last_cut)
    }
}

impl Inner {
    /// Runs until the store is closed.
    pub(super) fn keep(&self) {
        let mut last_cut = window_of(self.env.clock.now_ms() - CUT_DELAY_MS);
        let mut not_before = Duration::ZERO;
        // As soon as the log can be written again, what it missed is saved.
        while self.wait(if self.log.has_failed() { QUICK } else { PERIOD }) {
            let to_save = self.log.suspect().is_some() && !self.log.has_failed();
            if self.env.clock.monotonic() < not_before && !to_save {
                continue;
            }
            if let Err(error) = self.keep_once(&mut last_cut)
                && !matches!(error, StoreError::Closed)
            {
                tracing::error!(error = &error as &dyn std::error::Error, "keeping the store failed; it is tried again");
                self.metrics.failed_compactions.inc();
                // It may have failed for want of room.
                if let Err(error) = self.retain(self.env.clock.now_ms()) {
                    tracing::warn!(error = &error as &dyn std::error::Error, "retention could not be applied");
                }
                not_before = self.env.clock.monotonic() + RETRY;
            }
        }
    }

    /// Waits; `false` when the store is being closed.
    fn wait(&self, limit: Duration) -> bool {
        let closing = lock(&self.closing);
        if *closing {
            return false;
        }
        let (closing, _) = self.wake.wait_timeout(closing, limit).unwrap_or_else(PoisonError::into_inner);
        !*closing
    }

    pub(super) fn keep_once(&self, last_cut: &mut i64) -> Result<(), StoreError> {
        let now_ms = self.env.clock.now_ms();
        self.save_suspect()?;
        let over = window_of(now_ms - CUT_DELAY_MS);
        if over > *last_cut {
            self.cut(over * WINDOW_MS)?;
            *last_cut = over;
            let forgotten = self.head.forget_unused(false);
            tracing::debug!(forgotten, "series that nothing uses any more were forgotten");
            self.compact_names()?;
        } else if self.head.waiting_bytes() > WAITING_BYTES_MAX {
            self.cut_waiting()?;
        }
        self.bound_unsent(now_ms);
        self.merge_one(now_ms, Eager::No)?;
        self.retain(now_ms)
    }

    /// Writes to blocks what the log has lost, if it has lost something. A names log that is suspect is written anew after
    /// that: rows in the log may name layouts that the new one does not have.
    pub(super) fn save_suspect(&self) -> Result<(), StoreError> {
        let mark = self.log.suspect();
        if mark.is_some() {
            tracing::warn!("the log lost something: the head is written to blocks");
            self.cut(i64::MAX)?;
        }
        if self.log.names_suspect() {
            self.rewrite_names()?;
        }
        if let Some(mark) = mark {
            self.log.saved(mark);
        }
        Ok(())
    }

    /// Writes everything in memory to blocks because the log has failed, and at the end.
    pub(super) fn save_all(&self) -> Result<(), StoreError> {
        self.cut(i64::MAX)?;
        self.save_suspect()
    }

    /// Cuts what is sealed already, so that memory stays bounded while old data stream in.
    fn cut_waiting(&self) -> Result<(), StoreError> {
        let newest = read(&self.head.groups)
            .all()
            .iter()
            .filter_map(|group| group.lock().sealed.iter().map(|sealed| lock(sealed).window).max())
            .max();
        match newest {
            Some(window) => self.cut((window + 1) * WINDOW_MS),
            // Late samples alone fill the memory.
            None => self.cut(i64::MAX),
        }
    }

    /// Cuts the head and writes what was cut as blocks.
    pub(super) fn cut(&self, end_ms: i64) -> Result<(), StoreError> {
        let _one = lock(&self.compacting);
        let began = self.env.clock.monotonic();
        let cut = self.head.cut(&self.log, end_ms);
        // Followers know the log alone: after a power cut it must not have less than the blocks.
        if self.options.is_followed
            && let Err(error) = self.log.sync()
        {
            tracing::debug!(%error, "the log is not synced; what was cut becomes blocks all the same");
        }
        if cut.is_empty() {
            self.head.finish_cut(&cut);
            self.carry_over();
            return self.drop_segments(cut.cover);
        }
        let blocks =
            flush::write_cut(&self.env, &self.head, self.blocks.folder(), &cut).and_then(|paths| self.blocks.install(&paths));
        let blocks = match blocks {
            Ok(blocks) => blocks,
            Err(error) => {
                self.head.undo_cut(&cut);
                return Err(error);
            }
        };
        self.head.finish_cut(&cut);
        super::head::write(&self.head.starts).forget_before(end_ms);
        if end_ms == i64::MAX {
            self.unlogged.store(0, Ordering::Relaxed);
        }
        super::head::write(&self.head.registry).optimize();
        let samples: u64 = blocks.iter().map(|block| block.header.samples).sum();
        let took = self.env.clock.monotonic() - began;
        tracing::info!(blocks = blocks.len(), samples, ?took, "the head was cut");
        self.metrics.cuts.inc();
        self.metrics.cut_seconds.observe(took.as_secs_f64());
        self.carry_over();
        self.drop_segments(cut.cover)
    }

    /// Metadata, exemplars and start timestamps live in the log alone: they are said again before their old segments go. All
    /// are bounded: by metrics, by the number of exemplars, and by series.
    fn carry_over(&self) {
        for (metric, known) in read(&self.head.metadata).get(None) {
            for metadata in &known {
                self.log.write(i64::MIN, |_segment, record| put_metadata(record, &metric, metadata));
            }
        }
        for (series, steps) in read(&self.head.starts).all() {
            self.log.write(i64::MIN, |_segment, record| put_starts(record, series, steps));
        }
        let exemplars = lock(&self.head.exemplars).all();
        for (series, list) in &exemplars {
            self.log.write(i64::MIN, |_segment, record| put_exemplars(record, *series, list));
        }
        // Their old segments may be gone after a power cut. A log that has failed is no reason to keep what is in blocks.
        if let Err(error) = self.log.sync() {
            tracing::debug!(%error, "what lives in the log alone was said again, and is not synced");
        }
    }

    fn drop_segments(&self, cover: Cover) -> Result<(), StoreError> {
        let mut covers = lock(&self.covers);
        covers.push(cover);
        let oldest = self.log.oldest_segment();
        covers.retain(|cover| cover.position.segment >= oldest);
        self.log.drop_covered(&covers).map_err(StoreError::io("removing a segment in", &self.options.dir))
    }

    /// Merges the blocks of one range, if one is finished. Returns whether there was one.
    pub(super) fn merge_one(&self, now_ms: i64, eager: Eager) -> Result<bool, StoreError> {
        let _one = lock(&self.compacting);
        let list = self.blocks.list();
        // A block with a bad page stays as it is, so that a merge does not drop more than is lost.
        let headers: Vec<_> = list.iter().filter(|block| block.is_sound()).map(|block| block.header.clone()).collect();
        let Some(merge) = plan::next(&headers, now_ms, eager) else { return Ok(false) };
        let parents: Vec<_> = list.iter().filter(|block| merge.parents.contains(&block.header.ulid)).map(Arc::clone).collect();
        let needed: u64 = parents.iter().map(|block| block.bytes).sum();
        let folder = self.blocks.folder();
        let space = self.env.disk.space(folder).map_err(StoreError::io("asking for the space at", folder))?;
        if space.free_bytes < needed {
            tracing::warn!(needed, free = space.free_bytes, "there is no room to merge blocks; it waits");
            return Ok(false);
        }
        let began = self.env.clock.monotonic();
        let oldest = self.log.oldest_segment();
        let mut covers: Vec<Cover> = parents.iter().flat_map(|block| block.meta.covers.clone()).collect();
        covers.retain(|cover| cover.position.segment >= oldest);
        // Asked between series: the widest parent has about as many as the result.
        let (progress, seen) = (&self.options.progress, AtomicU64::new(0));
        progress.begin(Task::Compaction, parents.iter().map(|block| u64::from(block.header.series)).max().unwrap_or(0));
        let stop = || {
            if seen.fetch_add(1, Ordering::Relaxed) % PROGRESS_SERIES == PROGRESS_SERIES - 1 {
                progress.advance(PROGRESS_SERIES);
            }
            *lock(&self.closing)
        };
        let merged = merge::merge(&self.env, folder, &parents, &merge, covers, &stop);
        progress.end();
        match merged {
            Ok(Some(path)) => {
                self.blocks.install(&[path])?;
            }
            Ok(None) => self.blocks.remove(&merge.parents.iter().copied().collect())?,
            Err(StoreError::Corrupt { file, offset, reason }) => {
                self.metrics.failed_compactions.inc();
                let Some(bad) = parents.iter().find(|block| block.path == file) else {
                    return Err(StoreError::Corrupt { file, offset, reason });
                };
                bad.note_bad(&format!("{} at byte {offset}: {reason}", file.display()));
                return Ok(true);
            }
            Err(error) => return Err(error),
        }
        tracing::info!(blocks = parents.len(), level = merge.level, took = ?(self.env.clock.monotonic() - began), "blocks were merged");
        self.metrics.compactions.inc();
        Ok(true)
    }

    /// Unlinks whole blocks that are older or more than retention allows.
    pub(super) fn retain(&self, now_ms: i64) -> Result<(), StoreError> {
        let list = self.blocks.list();
        let mut gone = BTreeSet::new();
        if self.options.retention_ms > 0 {
            let oldest_ms = now_ms - self.options.retention_ms;
            gone.extend(list.iter().filter(|block| block.header.max_ms < oldest_ms).map(|block| block.header.ulid));
        }
        if self.options.retention_bytes > 0 {
            let mut by_age: Vec<_> = list.iter().filter(|block| !gone.contains(&block.header.ulid)).collect();
            by_age.sort_by_key(|block| block.header.max_ms);
            let mut bytes: u64 = by_age.iter().map(|block| block.bytes).sum();
            for block in by_age {
                if bytes <= self.options.retention_bytes {
                    break;
                }
                bytes -= block.bytes;
                gone.insert(block.header.ulid);
            }
        }
        if !gone.is_empty() {
            tracing::info!(blocks = gone.len(), "retention removes blocks");
        }
        let removed = self.blocks.remove(&gone);
        if !gone.is_empty() {
            self.changes.note(i64::MIN);
        }
        removed
    }

    /// Writes the names log anew with what is needed: all series, groups and newest layouts.
    pub(super) fn rewrite_names(&self) -> Result<(), StoreError> {
        let rewritten = self.log.rewrite_names(|out| {
            {
                let registry = read(&self.head.registry);
                for number in 0..registry.symbols().next() {
                    let text = registry.symbols().get(number);
                    if !text.is_empty() {
                        out.add(|out| put_symbol(out, number, text));
                    }
                }
                for series in registry.live() {
                    let series = super::append::SeriesId(series);
                    out.add(|out| put_series_entry(out, series, &registry.symbol_pairs(series)));
                }
            }
            let groups = read(&self.head.groups).named();
            for (id, name) in groups {
                out.add(|out| put_group(out, id, &name));
                let Some(group) = self.head.group(id) else { continue };
                let state = group.lock();
                if state.version > 0 {
                    out.add(|out| put_layout(out, id, state.version, 0, &state.layout));
                }
            }
        });
        rewritten.map_err(StoreError::io("writing the names log in", &self.options.dir))
    }

    /// Writes a names log of mostly old layouts and forgotten series anew.
    pub(super) fn compact_names(&self) -> Result<(), StoreError> {
        let live: u64 = read(&self.head.registry).live().len() * 40;
        if self.log.names_bytes() < NAMES_BYTES_MIN.max(live * 4) {
            return Ok(());
        }
        self.rewrite_names()
    }

    /// Deletes samples of series that match, in a range.
    pub(super) fn delete(&self, matchers: &[Matcher], range: TimeRange) -> Result<(), StoreError> {
        // What is in memory becomes blocks first; tombstones are theirs.
        self.cut(i64::MAX)?;
        let _one = lock(&self.compacting);
        for block in self.blocks.list().iter().filter(|block| block.overlaps(range.start_ms, range.end_ms)) {
            let places: Vec<u32> = matching(&*block.index()?, None, matchers).into_iter().collect();
            if !places.is_empty() {
                block.delete(&self.env, &places, range.start_ms, range.end_ms)?;
            }
        }
        Ok(())
    }

    /// Writes blocks with tombstones anew without what was deleted.
    pub(super) fn clean_tombstones(&self) -> Result<(), StoreError> {
        let _one = lock(&self.compacting);
        let oldest = self.log.oldest_segment();
        for block in self.blocks.list().iter().filter(|block| !block.tombstones().is_empty()) {
            let header = &block.header;
            let merge = plan::Merge { parents: vec![header.ulid], level: header.level, overlap: header.overlap };
            let mut covers = block.meta.covers.clone();
            covers.retain(|cover| cover.position.segment >= oldest);
            match merge::merge(&self.env, self.blocks.folder(), &[Arc::clone(block)], &merge, covers, &|| false)? {
                Some(path) => {
                    self.blocks.install(&[path])?;
                }
                None => self.blocks.remove(&BTreeSet::from([header.ulid]))?,
            }
        }
        Ok(())
    }
}
