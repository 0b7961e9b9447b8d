//! Rows of one segment on their way back into the head: group by group, each in the order of the log. Groups know nothing of each
//! other, so that several threads may each bring back some of them; and the columns of one group stay in a core's cache, as
//! those of all would not.

use super::Position;
use super::replay::{Cover, Layouts};
use super::segment::Record;
use crate::storage::append::{GroupId, SeriesId};
use crate::storage::column::varint::ByteReader;
use crate::storage::head::group::{GroupState, NO_COLUMN};
use crate::storage::head::locations::Location;
use crate::storage::head::logged::Changes;
use crate::storage::head::{Head, lock, window_of, write};
use hashbrown::HashMap;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

/// Returns whether blocks hold the rows of that time before a position of the log.
pub(super) fn is_covered(covers: &[Cover], position: Position, at_ms: i64) -> bool {
    covers.iter().any(|cover| position < cover.position && at_ms < cover.end_ms)
}

/// One row as the log has it.
#[derive(Clone, Copy, Debug)]
pub(super) struct LoggedRow<'a> {
    /// Where its record begins.
    pub(super) offset: u64,
    /// Whether it is a part of a row.
    pub(super) partial: bool,
    /// Its group.
    pub(super) group: GroupId,
    /// Layout, time and so on.
    pub(super) payload: &'a [u8],
}

impl<'a> LoggedRow<'a> {
    /// Reads the group of a row's record; `None` where there is none.
    pub(super) fn of(record: Record<'a>, partial: bool) -> Option<Self> {
        let mut bytes = ByteReader::new(record.payload);
        let group = GroupId(bytes.varint_u32()?);
        Some(Self { offset: record.offset, partial, group, payload: bytes.rest() })
    }
}

/// Rows by group, in two parts of about the same size that share no group.
pub(super) struct Order {
    /// Group in the upper half, place in the log in the lower.
    places: Vec<u64>,
    middle: usize,
}

impl Order {
    /// Orders the rows of a segment.
    pub(super) fn of(rows: &[LoggedRow<'_>]) -> Self {
        let mut places: Vec<u64> = rows.iter().zip(0_u64..).map(|(row, place)| u64::from(row.group.0) << 32 | place).collect();
        places.sort_unstable();
        let half = places.get(places.len() / 2).map_or(0, |place| place >> 32);
        let middle = places.partition_point(|place| place >> 32 < half);
        Self { places, middle }
    }

    /// Walks the rows of the first or the second part.
    pub(super) fn part<'r, 'a>(&self, rows: &'r [LoggedRow<'a>], first: bool) -> impl Iterator<Item = &'r LoggedRow<'a>> {
        let (before, behind) = self.places.split_at(self.middle);
        let part = if first { before } else { behind };
        part.iter().filter_map(|place| rows.get(*place as u32 as usize))
    }
}

/// Brings back rows of one segment.
#[derive(Debug)]
pub(super) struct RowReplay<'a> {
    head: &'a Head,
    layouts: &'a Layouts,
    covers: &'a [Cover],
    number: u64,
    version: u32,
    /// Time of each group's last row.
    last_ms: HashMap<u32, i64, foldhash::fast::RandomState>,
    /// Groups that lost a row.
    broken_groups: BTreeSet<u32>,
    /// Newest time of a row.
    pub(super) newest_ms: i64,
    /// Samples that came back.
    pub(super) samples: u64,
    /// Rows that could not be used.
    pub(super) damaged: u64,
    /// Newest layouts that rows name and nobody defined.
    pub(super) lost_versions: BTreeMap<u32, u32>,
}

impl<'a> RowReplay<'a> {
    /// Prepares for the segment of that number and version.
    pub(super) fn new(head: &'a Head, layouts: &'a Layouts, covers: &'a [Cover], number: u64, version: u32) -> Self {
        Self {
            head,
            layouts,
            covers,
            number,
            version,
            last_ms: HashMap::default(),
            broken_groups: BTreeSet::new(),
            newest_ms: i64::MIN,
            samples: 0,
            damaged: 0,
            lost_versions: BTreeMap::new(),
        }
    }

    /// Brings rows back.
    pub(super) fn run<'r>(mut self, rows: impl Iterator<Item = &'r LoggedRow<'r>>) -> Self {
        for row in rows {
            let position = Position { segment: self.number, offset: row.offset };
            if self.row(row.group, position, &mut ByteReader::new(row.payload), row.partial).is_none() {
                self.damaged += 1;
            }
        }
        self
    }

    /// Keeps the numbers of a lost group or layout from being given again. Later rows of the group in this segment may
    /// leave out what the lost row said.
    fn lost(&mut self, group: GroupId, version: u32) {
        self.broken_groups.insert(group.0);
        write(&self.head.groups).skip_to(group.0.saturating_add(1));
        let newest = self.lost_versions.entry(group.0).or_default();
        *newest = version.max(*newest);
    }

    fn row(&mut self, group: GroupId, position: Position, bytes: &mut ByteReader<'_>, partial: bool) -> Option<()> {
        let version = bytes.varint_u32()?;
        let last_ms = self.last_ms.entry(group.0).or_insert(0);
        let at_ms = last_ms.checked_add(bytes.signed()?)?;
        *last_ms = at_ms;
        self.newest_ms = self.newest_ms.max(at_ms);
        if is_covered(self.covers, position, at_ms) || self.broken_groups.contains(&group.0) {
            return Some(());
        }
        let Some(layout) = self.layouts.get(&(group.0, version)).map(Arc::clone) else {
            self.lost(group, version);
            return None;
        };
        let known = self.head.group(group)?;
        let mut state = known.lock();
        self.head.saw_time(at_ms);
        let samples = if partial {
            self.partial_row(group, &mut state, &layout, version, at_ms, bytes)?
        } else {
            self.full_row(group, &mut state, &layout, version, at_ms, bytes)?
        };
        self.samples += samples;
        Some(())
    }

    fn enter(&self, group: GroupId, state: &mut GroupState, layout: &Arc<[SeriesId]>, version: u32) {
        state.layout = Arc::clone(layout);
        state.version = version;
        let mut locations = write(&self.head.locations);
        for (slot, series) in layout.iter().enumerate() {
            let column = state.column_of(slot);
            if column != NO_COLUMN {
                locations.set(*series, Location { group: group.0, column });
            }
        }
    }

    fn full_row(
        &self,
        group: GroupId,
        state: &mut GroupState,
        layout: &Arc<[SeriesId]>,
        version: u32,
        at_ms: i64,
        bytes: &mut ByteReader<'_>,
    ) -> Option<u64> {
        if at_ms <= state.last_ms {
            return None;
        }
        let bitmap = bytes.bytes(layout.len().div_ceil(8))?;
        let shared = state.generation(window_of(at_ms))?;
        let mut generation = lock(&shared);
        if state.version != version || !state.entered {
            state.leave(&mut generation);
            state.layout = Arc::clone(layout);
            state.enter(&mut generation);
            self.enter(group, state, layout, version);
        }
        let row = generation.add_row(at_ms);
        // Before anything can go wrong: no later row may come before this one.
        state.last_ms = at_ms;
        let mut changes = Changes::of_version(self.version, bytes);
        generation.replay_row(self.number, row, layout.len(), |slot| state.column_of(slot), bitmap, &mut changes)?;
        Some(layout.len() as u64)
    }

    fn partial_row(
        &self,
        group: GroupId,
        state: &mut GroupState,
        layout: &Arc<[SeriesId]>,
        version: u32,
        at_ms: i64,
        bytes: &mut ByteReader<'_>,
    ) -> Option<u64> {
        let runs = read_runs(bytes, layout.len())?;
        let count: usize = runs.iter().map(ExactSizeIterator::len).sum();
        let bitmap = bytes.bytes(count.div_ceil(8))?;
        let shared = if at_ms > state.last_ms { state.generation(window_of(at_ms)) } else { state.current.clone() }?;
        let mut generation = lock(&shared);
        let row = match generation.row_at(at_ms) {
            Some(row) => row,
            None if at_ms > state.last_ms => {
                state.last_ms = at_ms;
                generation.add_partial_row(at_ms)
            }
            None => return None,
        };
        if state.version != version || generation.series().len() < layout.len() {
            self.enter(group, state, layout, version);
            state.add_layout_columns(&mut generation);
        }
        generation.replay_part(self.number, row, &runs, bitmap, &mut Changes::of_version(self.version, bytes))
    }
}

/// Reads a partial row's runs of places, which stay below `bound`.
pub(crate) fn read_runs(bytes: &mut ByteReader<'_>, bound: usize) -> Option<Vec<Range<u32>>> {
    let mut runs = Vec::new();
    let mut end = 0_u32;
    for _ in 0..bytes.count(2)? {
        let start = end.checked_add(bytes.varint_u32()?)?;
        end = start.checked_add(bytes.varint_u32()?)?;
        if end as usize > bound {
            return None;
        }
        runs.push(start..end);
    }
    Some(runs)
}
