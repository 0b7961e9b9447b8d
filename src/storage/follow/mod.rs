//! Following the log: everything that was taken into the store, once more and in the order in which it came, for those who
//! send it on.
//!
//! The log is the queue. A row takes about a byte for each sample there, so nothing is copied for who may come later: a
//! follower reads what was handed to the system (mostly still in its memory) and decodes it as a start would. Where it stands
//! is a number of a segment and an offset. Segments that blocks hold go as ever, but those that a follower has not read are
//! moved to `unsent/` (`kept`), where no start reads them, until it has or until there is no room.
//!
//! ```text
//! wal/00000042.log    --records--> columns of its groups --> samples: series, time, start, value
//! unsent/00000040.log                 ^ layouts: from the head, else from the names logs
//! ```
//!
//! Rows are differences to the rows before them in their segment: who begins in its middle reads it from the front and keeps
//! nothing of what comes before its place.

mod columns;
pub(crate) mod kept;
mod names;
mod segment;

use super::append::SeriesId;
use super::error::StoreError;
use super::head::starts::{Starts, start_at};
use super::head::{lock, read};
use super::store::{Inner, Store};
use super::wal::record::{Kind, read_exemplars, read_histograms, read_samples, read_starts};
use crate::model::exemplar::Exemplar;
use crate::model::histogram::FloatHistogram;
use crate::model::labels::Labels;
use crate::model::metadata::Metadata;
use crate::storage::column::varint::ByteReader;
use crate::storage::wal::segment::{HEADER_BYTES, Record};
use columns::Columns;
use names::Names;
use segment::OpenSegment;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A place in the log, for who goes on there later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogPosition {
    /// Number of the segment.
    pub segment: u64,
    /// When that segment was made: another file of that number is another segment.
    pub created_ms: i64,
    /// Offset in it, between two records.
    pub offset: u64,
}

/// One sample or exemplar that was taken into the store.
#[derive(Clone, Debug)]
pub struct LogSample {
    /// Whose.
    pub series: SeriesId,
    /// When, in milliseconds.
    pub at_ms: i64,
    /// Its start timestamp in milliseconds; 0: none.
    pub start_ms: i64,
    /// What.
    pub value: LogValue,
}

/// What a [`LogSample`] holds.
#[derive(Clone, Debug)]
pub enum LogValue {
    /// A float; a stale marker is one.
    Float(f64),
    /// A native histogram.
    Histogram(Arc<FloatHistogram>),
    /// An exemplar.
    Exemplar(Box<Exemplar>),
}

/// Series whose newest exemplar is known; beyond that all is forgotten, and some may come twice.
const EXEMPLARS_KNOWN_MAX: usize = 100_000;

/// Reads the log behind those who write it. All methods block for the disk.
pub struct LogFollower {
    inner: Arc<Inner>,
    /// What is read; `None` before the first segment is there.
    open: Option<OpenSegment>,
    /// The next segment is above this.
    after: u64,
    /// Records before this place of the open segment are decoded and left out.
    from: u64,
    /// Behind damage the rest of a segment means nothing.
    is_lost: bool,
    columns: Columns,
    names: Names,
    starts: Starts,
    /// Time of the newest exemplar of each series: a cut says them again.
    exemplars: BTreeMap<SeriesId, i64>,
}

impl std::fmt::Debug for LogFollower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogFollower").field("position", &self.position()).finish_non_exhaustive()
    }
}

impl Store {
    /// Returns a follower that begins at a place; `None`: behind everything that is there now.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn follow_log(&self, from: Option<LogPosition>) -> Result<LogFollower, StoreError> {
        LogFollower::new(&self.inner, from)
    }

    /// Says that no follower needs segments below `segment` any more. A store with [`super::StoreOptions::is_followed`]
    /// keeps all of them until it is told.
    pub fn release_log(&self, segment: u64) {
        self.inner.log.release(segment);
    }

    /// Returns what is known about the family to which the series of a metric's name belong.
    #[must_use]
    pub fn metadata_of(&self, metric: &str) -> Option<Metadata> {
        read(&self.inner.head.metadata).of_series(metric).cloned()
    }

    /// Returns how often something new was said about a metric.
    #[must_use]
    pub fn metadata_changes(&self) -> u64 {
        read(&self.inner.head.metadata).changes()
    }

    /// Returns how many bytes of the log are kept for followers alone, and how many were given up unread because there was no room.
    #[must_use]
    pub fn unsent_bytes(&self) -> (u64, u64) {
        self.inner.log.kept_bytes()
    }
}

impl LogFollower {
    fn new(inner: &Arc<Inner>, from: Option<LogPosition>) -> Result<Self, StoreError> {
        let mut follower = Self {
            inner: Arc::clone(inner),
            open: None,
            after: 0,
            from: 0,
            is_lost: false,
            columns: Columns::default(),
            names: Names::default(),
            starts: Starts::default(),
            exemplars: BTreeMap::new(),
        };
        for (series, steps) in read(&inner.head.starts).all() {
            for (at_ms, start_ms) in steps {
                follower.starts.note(series, *at_ms, *start_ms);
            }
        }
        match from {
            Some(from) => follower.seek(from)?,
            None => follower.seek_end()?,
        }
        Ok(follower)
    }

    fn seek_end(&mut self) -> Result<(), StoreError> {
        let (segment, length) = self.inner.log.written();
        self.after = segment.saturating_sub(1);
        self.from = length;
        self.next_segment()?;
        Ok(())
    }

    fn seek(&mut self, from: LogPosition) -> Result<(), StoreError> {
        self.after = from.segment.saturating_sub(1);
        if !self.next_segment()? {
            return self.seek_end();
        }
        if self.open.as_ref().is_some_and(|open| open.number == from.segment && open.created_ms == from.created_ms) {
            self.from = from.offset;
        }
        Ok(())
    }

    /// Opens the segment that comes next; `false` where there is none yet.
    fn next_segment(&mut self) -> Result<bool, StoreError> {
        let open = OpenSegment::next(&self.inner, self.after)?;
        let is_there = open.is_some();
        if let Some(open) = open {
            self.columns.begin_segment();
            self.is_lost = false;
            self.open = Some(open);
        }
        Ok(is_there)
    }

    /// Returns the place behind what was read.
    #[must_use]
    pub fn position(&self) -> LogPosition {
        match &self.open {
            Some(open) => {
                let offset = open.at.max(self.from);
                LogPosition { segment: open.number, created_ms: open.created_ms, offset }
            }
            None => LogPosition { segment: self.after + 1, created_ms: 0, offset: HEADER_BYTES as u64 },
        }
    }

    /// Adds what came next, until there are at least `most` samples or no more is there. Returns whether more may be there at
    /// once.
    ///
    /// # Errors
    /// When the disk fails; what was read stays read.
    pub fn read(&mut self, out: &mut Vec<LogSample>, most: usize) -> Result<bool, StoreError> {
        let begun = out.len();
        while out.len() - begun < most {
            let Some(mut open) = self.open.take() else {
                if self.next_segment()? {
                    continue;
                }
                return Ok(false);
            };
            // Asked before its length: a segment that is followed by another grows no more.
            let is_closed = open.number < self.inner.log.written().0;
            let filled = if self.is_lost { Ok(false) } else { open.fill(&self.inner.log) };
            if let Ok(true) = filled {
                self.records(&mut open, out, begun + most);
                self.open = Some(open);
                continue;
            }
            let number = open.number;
            self.open = Some(open);
            filled?;
            if !is_closed {
                return Ok(false);
            }
            self.after = number;
            if !self.next_segment()? {
                return Ok(false);
            }
            self.from = 0;
        }
        Ok(true)
    }

    /// Takes the records that are in memory.
    fn records(&mut self, open: &mut OpenSegment, out: &mut Vec<LogSample>, full: usize) {
        while out.len() < full {
            match open.record() {
                Ok(Some(record)) => {
                    let is_wanted = record.offset >= self.from;
                    let before = out.len();
                    if self.record(open.number, open.version, record, out).is_none() {
                        tracing::warn!(
                            segment = open.number,
                            offset = record.offset,
                            "a record of the log could not be followed"
                        );
                    }
                    if !is_wanted {
                        out.truncate(before);
                    }
                    let end = record.place().end as u64;
                    open.at = end;
                }
                Ok(None) => return,
                Err(()) => {
                    tracing::error!(
                        segment = open.number,
                        offset = open.at,
                        "the log is damaged: the rest of the segment is not followed"
                    );
                    self.is_lost = true;
                    return;
                }
            }
        }
    }

    fn record(&mut self, segment: u64, version: u32, record: Record<'_>, out: &mut Vec<LogSample>) -> Option<()> {
        let bytes = &mut ByteReader::new(record.payload);
        let before = out.len();
        match Kind::from_byte(record.kind)? {
            kind @ (Kind::Row | Kind::PartialRow) => {
                let layouts = &mut |group, version| self.names.layout(&self.inner, group, version);
                self.columns.row(segment, version, bytes, kind == Kind::PartialRow, layouts, out)?;
            }
            Kind::Samples => {
                out.extend(read_samples(bytes)?.into_iter().map(|point| LogSample {
                    series: point.series,
                    at_ms: point.at_ms,
                    start_ms: 0,
                    value: LogValue::Float(point.value),
                }));
            }
            Kind::Histogram => {
                out.extend(read_histograms(bytes)?.into_iter().map(|(series, at_ms, value)| LogSample {
                    series,
                    at_ms,
                    start_ms: 0,
                    value: LogValue::Histogram(value),
                }));
            }
            Kind::Exemplar => {
                let (series, exemplars) = read_exemplars(bytes)?;
                self.exemplars_of(series, exemplars, out);
            }
            Kind::Start => {
                let (series, steps) = read_starts(bytes)?;
                for (at_ms, start_ms) in steps {
                    self.starts.note(series, at_ms, start_ms);
                }
            }
            // Who sends metadata asks the store, which knows the newest.
            Kind::Metadata | Kind::Cut | Kind::Delete => {}
        }
        if !self.starts.is_empty() {
            for sample in out.iter_mut().skip(before) {
                sample.start_ms = start_at(self.starts.get(sample.series), sample.at_ms);
            }
        }
        Some(())
    }

    fn exemplars_of(&mut self, series: SeriesId, exemplars: Vec<Exemplar>, out: &mut Vec<LogSample>) {
        if self.exemplars.len() >= EXEMPLARS_KNOWN_MAX {
            self.exemplars.clear();
        }
        let newest = self.exemplars.entry(series).or_insert(i64::MIN);
        for exemplar in exemplars {
            let at_ms = exemplar.at_ms.unwrap_or(0);
            if at_ms > *newest {
                *newest = at_ms;
                out.push(LogSample { series, at_ms, start_ms: 0, value: LogValue::Exemplar(Box::new(exemplar)) });
            }
        }
    }

    /// Returns the labels of a series, also of one that the store has forgotten meanwhile; `None` where nobody knows them.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn labels(&mut self, series: SeriesId) -> Result<Option<Labels>, StoreError> {
        let changes = {
            let registry = read(&self.inner.head.registry);
            if registry.has(series) {
                return Ok(Some(registry.labels(series)));
            }
            registry.changes()
        };
        self.names.forgotten(&self.inner, series, changes)
    }

    /// Forgets what only a follower needs that is behind: names of series that the store has forgotten, old start timestamps.
    pub fn is_at_end(&mut self) {
        self.names.forget();
        let newest_ms = self.inner.head.newest_ms();
        self.starts.forget_before(newest_ms.saturating_sub(super::head::WINDOW_MS));
    }
}

impl Inner {
    /// Gives up what is kept for followers where it is too old or too much. `now_ms` as ever.
    pub(super) fn bound_unsent(&self, now_ms: i64) {
        if self.log.kept_bytes().0 == 0 {
            return;
        }
        let oldest_ms = if self.options.retention_ms > 0 { now_ms - self.options.retention_ms } else { i64::MIN };
        let room = self.env.disk.space(&self.options.dir).map_or(u64::MAX, |space| space.free_bytes);
        let most = if self.options.retention_bytes > 0 { room.min(self.options.retention_bytes) } else { room };
        let _one = lock(&self.compacting);
        self.log.bound_kept(oldest_ms, most);
    }
}
