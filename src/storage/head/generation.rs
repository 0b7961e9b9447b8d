//! One generation of a group: rows of one half hour, as columns of tokens over shared times.
//!
//! A column costs nothing while its value stays: the last bits are compared, the run is implied by the row number. Only
//! a change writes a token. A column that never changed has no stream at all.
//!
//! ```text
//! times    t0 t1 t2 t3 t4 ...
//! column   [absent n][first value][runs, differences, ...]   last value from row `since` up to `covered`
//!          `------------- stream --------------------------'  `---------- implied ------------------'
//! ```
//!
//! Columns that take part in each row are *open*: they are covered up to the last row without being touched. A row may
//! come in parts (pushed series): the set `present` then says which open columns it has so far, and the next row closes
//! those that it never got. A column that misses a row is closed: its coverage is a number until it takes part again.

use super::chunks::{Chunks, Stream};
use crate::storage::append::SeriesId;
use crate::storage::column::bits::BitSet;
use crate::storage::column::scale::Scale;
use crate::storage::column::step_bits::Width;
use crate::storage::column::token::{self, Step, Track};
use crate::storage::column::varint::Word;

/// Coverage of a column that takes part in every row.
pub(super) const OPEN: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    pub(super) mantissa: i64,
    pub(super) stream: Stream,
    pub(super) scale: Scale,
    /// The log's coder of this column.
    pub(super) width: Width,
    /// The row at which the last value came.
    pub(super) since: u32,
    /// Rows up to here are said; `OPEN`: all rows. 0: nothing yet.
    pub(super) covered: u32,
}

/// What became of one offered value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offered {
    /// Taken; the log must say it if this is not `None`.
    Stored(Option<Step>),
    /// The same bits at the same time are there.
    Same,
    /// Other bits at the same time are there.
    Conflict,
    /// The column is already beyond that row.
    Behind,
}

/// Rows of one half hour. See the module's documentation.
#[derive(Debug)]
pub(crate) struct Generation {
    /// Which half hour (time divided by the window's length).
    pub(crate) window: i64,
    times: Vec<i64>,
    series: Vec<SeriesId>,
    pub(super) bits: Vec<u64>,
    pub(super) columns: Vec<Column>,
    pub(super) chunks: Chunks,
    /// Columns whose coverage is `OPEN`.
    pub(super) open: BitSet,
    /// Of a last row that comes in parts: the open columns that it has.
    pub(super) present: BitSet,
    /// Whether the last row comes in parts.
    partial: bool,
    /// What the log knows of the columns.
    pub(super) logged: Logged,
    /// Columns sorted by series, made when someone searches; as long as `columns` when it is fresh.
    by_series: Vec<u32>,
    /// Samples held.
    pub(super) samples: u64,
    scratch: Vec<u8>,
    /// How often the columns were sorted.
    #[cfg(test)]
    pub(super) sorts: u32,
}

/// Which columns a segment of the log knows.
#[derive(Debug, Default)]
pub(super) struct Logged {
    pub(super) segment: u64,
    pub(super) columns: BitSet,
    /// Columns that moved on without the log's rows: the next row says them absolutely.
    pub(super) adrift: BitSet,
}

impl Generation {
    /// Returns an empty generation.
    pub(crate) const fn new(window: i64) -> Self {
        Self {
            window,
            times: Vec::new(),
            series: Vec::new(),
            bits: Vec::new(),
            columns: Vec::new(),
            chunks: Chunks::new(),
            open: BitSet::new(),
            present: BitSet::new(),
            partial: false,
            logged: Logged { segment: 0, columns: BitSet::new(), adrift: BitSet::new() },
            by_series: Vec::new(),
            samples: 0,
            scratch: Vec::new(),
            #[cfg(test)]
            sorts: 0,
        }
    }

    /// Returns the times of all rows.
    pub(crate) fn times(&self) -> &[i64] {
        &self.times
    }

    /// Returns the series of all columns.
    pub(crate) fn series(&self) -> &[SeriesId] {
        &self.series
    }

    /// Walks the series that have samples.
    pub(crate) fn series_with_samples(&self) -> impl Iterator<Item = SeriesId> {
        self.series.iter().zip(&self.columns).filter(|(_, column)| column.covered > 0).map(|(series, _)| *series)
    }

    /// Returns how many samples are held.
    pub(crate) const fn samples(&self) -> u64 {
        self.samples
    }

    /// Returns the bytes of memory held.
    pub(crate) const fn memory_bytes(&self) -> usize {
        self.times.capacity() * 8
            + self.series.capacity() * 4
            + self.bits.capacity() * 8
            + self.columns.capacity() * size_of::<Column>()
            + self.by_series.capacity() * 4
            + self.open.memory_bytes()
            + self.present.memory_bytes()
            + self.logged.columns.memory_bytes()
            + self.chunks.memory_bytes()
    }

    /// Makes room for exactly so many columns more.
    pub(crate) fn reserve(&mut self, more: usize) {
        self.series.reserve_exact(more);
        self.bits.reserve_exact(more);
        self.columns.reserve_exact(more);
    }

    /// Adds a column without samples and returns its place.
    pub(crate) fn add_column(&mut self, series: SeriesId) -> u32 {
        let place = self.columns.len() as u32;
        self.series.push(series);
        self.bits.push(0);
        self.columns.push(Column {
            mantissa: 0,
            stream: Stream::EMPTY,
            scale: Scale::ONE,
            width: Width::FIRST,
            since: 0,
            covered: 0,
        });
        place
    }

    /// Returns the column of a series; `hint` is where it probably is.
    pub(crate) fn find(&mut self, series: SeriesId, hint: u32) -> Option<u32> {
        if self.series.get(hint as usize) == Some(&series) {
            return Some(hint);
        }
        if self.by_series.len() != self.columns.len() {
            self.by_series = (0..self.columns.len() as u32).collect();
            #[cfg(test)]
            {
                self.sorts += 1;
            }
            let known = &self.series;
            self.by_series.sort_unstable_by_key(|column| known[*column as usize]);
        }
        let found = self.by_series.binary_search_by_key(&series, |column| self.series[*column as usize]).ok()?;
        self.by_series.get(found).copied()
    }

    /// Adds a row that all open columns take part in and returns its number. `at_ms` must be newer than all rows.
    pub(crate) fn add_row(&mut self, at_ms: i64) -> u32 {
        self.settle();
        debug_assert!(self.times.last().is_none_or(|last| *last < at_ms));
        if self.times.len() == self.times.capacity() {
            self.times.reserve_exact((self.times.len() / 2).max(4));
        }
        self.times.push(at_ms);
        (self.times.len() - 1) as u32
    }

    /// Adds a row that comes in parts: a column has no sample in it before one is offered.
    pub(crate) fn add_partial_row(&mut self, at_ms: i64) -> u32 {
        let row = self.add_row(at_ms);
        self.partial = true;
        self.present.clear();
        row
    }

    /// The last row gets no more parts: open columns that it did not get are closed before it.
    fn settle(&mut self) {
        if !std::mem::take(&mut self.partial) {
            return;
        }
        let last = (self.times.len() - 1) as u32;
        let Self { open, present, columns, .. } = self;
        let mut closed = Vec::new();
        open.without(present, |column| {
            columns[column as usize].covered = last;
            closed.push(column);
        });
        for column in closed {
            open.unset(column);
        }
    }

    /// Returns the number of the row at exactly `at_ms`.
    pub(crate) fn row_at(&self, at_ms: i64) -> Option<u32> {
        if self.times.last() == Some(&at_ms) {
            return Some((self.times.len() - 1) as u32);
        }
        self.times.binary_search(&at_ms).ok().map(|row| row as u32)
    }

    /// Makes columns take part in every row from now on (or no longer). Call it between rows.
    pub(crate) fn set_open(&mut self, columns: impl Iterator<Item = u32>, open: bool) {
        self.settle();
        let rows = self.times.len() as u32;
        for place in columns {
            let column = &mut self.columns[place as usize];
            if column.covered == OPEN && !open {
                column.covered = rows;
                self.open.unset(place);
            } else if column.covered == rows && rows > 0 && open {
                column.covered = OPEN;
                self.open.set(place);
            }
        }
    }

    /// Returns the time of a column's newest sample.
    pub(crate) fn last_time(&self, column: u32) -> Option<i64> {
        let covered = self.covered(column);
        if covered == 0 { None } else { self.times.get(covered as usize - 1).copied() }
    }

    /// Returns the bits of a column's newest value.
    pub(crate) fn last_bits(&self, column: u32) -> u64 {
        self.bits[column as usize]
    }

    /// Returns the column's decimal state.
    pub(crate) fn track(&self, column: u32) -> Track {
        let column = &self.columns[column as usize];
        Track { mantissa: column.mantissa, scale: column.scale }
    }

    pub(super) fn covered(&self, column: u32) -> u32 {
        let rows = self.times.len() as u32;
        match self.columns[column as usize].covered {
            OPEN => rows - u32::from(self.partial && !self.present.has(column)),
            covered => covered,
        }
    }

    /// Returns whether a row is the last one and comes in parts.
    pub(super) const fn is_next(&self, row: u32) -> bool {
        self.partial && row as usize + 1 == self.times.len()
    }

    /// Returns whether an open column has a sample in a row; a row that all open columns take part in waits for theirs.
    pub(super) fn present_in(&self, column: u32, row: u32) -> bool {
        let is_last = row as usize + 1 == self.times.len();
        !is_last || self.partial && self.present.has(column)
    }

    /// Notes that a column has a sample in a row.
    pub(super) fn reach(&mut self, column: u32, row: u32) {
        let is_last = row as usize + 1 == self.times.len();
        if is_last {
            self.open.set(column);
            if self.partial {
                self.present.set(column);
            }
        }
        self.columns[column as usize].covered = if is_last { OPEN } else { row + 1 };
    }

    /// Appends one value of a row that was just added, on the fast path: a column that is open and unchanged is only
    /// looked at. Returns the token where the value changed.
    #[inline]
    pub(crate) fn push_open(&mut self, column: u32, row: u32, value: f64) -> Option<Step> {
        let place = column as usize;
        if self.bits[place] == value.to_bits() && self.columns[place].covered == OPEN {
            return None;
        }
        let step = self.next_step(column, value);
        self.place(column, row, step);
        Some(step)
    }

    /// Counts the samples of a finished row.
    pub(crate) const fn count(&mut self, samples: u64) {
        self.samples += samples;
    }

    fn next_step(&self, column: u32, value: f64) -> Step {
        if self.columns[column as usize].covered == 0 { Track::absolute(value) } else { self.track(column).step(value) }
    }

    /// Offers one value to a column at a row that exists.
    #[inline]
    pub(crate) fn offer(&mut self, column: u32, row: u32, value: f64) -> Offered {
        let is_next = self.is_next(row) && self.open.has(column) && !self.present.has(column);
        if is_next && self.bits[column as usize] == value.to_bits() {
            self.present.set(column);
            self.samples += 1;
            return Offered::Stored(None);
        }
        let covered = self.covered(column);
        if row < covered {
            return if row + 1 == covered { same_or_conflict(self.bits[column as usize], value) } else { Offered::Behind };
        }
        self.samples += 1;
        if covered > 0 && covered == row && self.bits[column as usize] == value.to_bits() {
            self.reach(column, row);
            return Offered::Stored(None);
        }
        let step = self.next_step(column, value);
        self.place(column, row, step);
        Offered::Stored(Some(step))
    }

    /// Writes a new value at `row`; all before it is flushed to the stream.
    pub(super) fn place(&mut self, column: u32, row: u32, step: Step) {
        let mut track = self.track(column);
        let bits = track.advance(step).unwrap_or_else(|| self.last_bits(column));
        self.place_as(column, row, step, track, bits);
    }

    /// The same where the state after it is known.
    #[inline]
    pub(super) fn place_as(&mut self, column: u32, row: u32, step: Step, after: Track, bits: u64) {
        let place = column as usize;
        let Self { columns, chunks, .. } = self;
        let entry = &mut columns[place];
        let covered = if entry.covered == OPEN { row } else { entry.covered };
        match short_tokens(entry, row, covered, step) {
            Some((repeat, difference)) => {
                if let Some((word, count)) = repeat {
                    chunks.push_word(&mut entry.stream, word, count);
                }
                chunks.push_word(&mut entry.stream, difference.0, difference.1);
            }
            None if covered > 0 => self.put_tokens(column, row, covered, step),
            None => {}
        }
        self.bits[place] = bits;
        let entry = &mut self.columns[place];
        entry.mantissa = after.mantissa;
        entry.scale = after.scale;
        entry.since = row;
        self.reach(column, row);
    }

    /// Brings a column's stream up to `row` and writes a value's token, whatever it is.
    fn put_tokens(&mut self, column: u32, row: u32, covered: u32, step: Step) {
        let entry = &mut self.columns[column as usize];
        let track = Track { mantissa: entry.mantissa, scale: entry.scale };
        let bytes = &mut self.scratch;
        bytes.clear();
        if entry.stream.is_empty() {
            if entry.since > 0 {
                token::put_absent(bytes, u64::from(entry.since));
            }
            token::put_step(bytes, track.restate(self.bits[column as usize]));
        }
        if covered > entry.since + 1 {
            token::put_repeat(bytes, u64::from(covered - entry.since - 1));
        }
        if row > covered {
            token::put_absent(bytes, u64::from(row - covered));
        }
        token::put_step(bytes, step);
        self.chunks.push(&mut entry.stream, bytes);
    }
}

/// What nearly every changed value is: a difference to a value that held up to the row before. Returns the bytes of a
/// repetition, where there is one, and of the difference; `None` where it is something else.
#[inline]
fn short_tokens(entry: &Column, row: u32, covered: u32, step: Step) -> Option<(Option<Word>, Word)> {
    let Step::Difference(difference) = step else { return None };
    if covered != row || entry.stream.is_empty() {
        return None;
    }
    let difference = token::difference_word(difference)?;
    match row - entry.since - 1 {
        0 => Some((None, difference)),
        count => Some((Some(token::repeat_word(count)?), difference)),
    }
}

fn same_or_conflict(bits: u64, value: f64) -> Offered {
    if bits == value.to_bits() { Offered::Same } else { Offered::Conflict }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(generation: &Generation, column: u32) -> Vec<(u32, u64)> {
        let mut out = Vec::new();
        let whole =
            generation.runs(column, &mut Vec::new(), |row, rows, bits| out.extend((row..row + rows).map(|row| (row, bits))));
        assert_eq!(whole, Some(()));
        out
    }

    #[test]
    fn a_constant_column_has_no_stream() {
        let mut generation = Generation::new(0);
        let column = generation.add_column(SeriesId(7));
        for row in 0..100 {
            let row = generation.add_row(i64::from(row) * 1000);
            assert_eq!(generation.push_open(column, row, 3.5).is_some(), row == 0);
        }
        assert_eq!(generation.chunks.memory_bytes(), 0);
        assert_eq!(read(&generation, column).len(), 100);
        assert_eq!(generation.last_time(column), Some(99_000));
    }

    #[test]
    fn a_column_that_leaves_and_comes_back_has_a_gap() {
        let mut generation = Generation::new(0);
        let column = generation.add_column(SeriesId(7));
        let row = generation.add_row(0);
        generation.push_open(column, row, 1.0);
        generation.set_open([column].into_iter(), false);
        for at_ms in [1000, 2000] {
            generation.add_row(at_ms);
        }
        let row = generation.add_row(3000);
        generation.push_open(column, row, 1.0);
        let row = generation.add_row(4000);
        generation.push_open(column, row, 2.0);
        let bits = |value: f64| value.to_bits();
        assert_eq!(read(&generation, column), [(0, bits(1.0)), (3, bits(1.0)), (4, bits(2.0))]);
    }

    #[test]
    fn equal_times_are_told_apart() {
        let mut generation = Generation::new(0);
        let column = generation.add_column(SeriesId(7));
        let row = generation.add_partial_row(0);
        assert!(matches!(generation.offer(column, row, 1.0), Offered::Stored(Some(_))));
        assert_eq!(generation.offer(column, row, 1.0), Offered::Same);
        assert_eq!(generation.offer(column, row, 2.0), Offered::Conflict);
        let later = generation.add_partial_row(5);
        assert_eq!(generation.offer(column, later, 1.0), Offered::Stored(None));
        assert_eq!(generation.offer(column, row, 1.0), Offered::Behind);
    }

    #[test]
    fn columns_are_found_without_their_hint() {
        let mut generation = Generation::new(0);
        for series in [9, 3, 5] {
            generation.add_column(SeriesId(series));
        }
        assert_eq!(generation.find(SeriesId(3), 0), Some(1));
        assert_eq!(generation.find(SeriesId(4), 0), None);
        generation.add_column(SeriesId(4));
        assert_eq!(generation.find(SeriesId(4), 0), Some(3));
    }

    proptest! {
        /// Each row says for each of three columns: absent, the old value or a new one.
        #[test]
        fn what_goes_in_comes_out(rows in proptest::collection::vec(proptest::collection::vec(proptest::option::of(0_u8..4), 3), 0..60)) {
            let mut generation = Generation::new(0);
            for series in 0..3 {
                generation.add_column(SeriesId(series));
            }
            let mut expected: [Vec<(u32, u64)>; 3] = Default::default();
            for (at, row) in rows.iter().enumerate() {
                let number = generation.add_partial_row(at as i64);
                for (column, value) in row.iter().enumerate() {
                    let Some(value) = value.map(|value| f64::from(value) * 0.25) else { continue };
                    prop_assert!(matches!(generation.offer(column as u32, number, value), Offered::Stored(_)));
                    expected[column].push((number, value.to_bits()));
                }
            }
            for (column, expected) in expected.iter().enumerate() {
                for from in 0..rows.len() as u32 {
                    let mut found = Vec::new();
                    let each = |row: u32, rows: u32, bits: u64| found.extend((row..row + rows).map(|row| (row, bits)));
                    prop_assert_eq!(generation.runs_from(column as u32, from, &mut Vec::new(), each), Some(()));
                    found.retain(|(row, _)| *row >= from);
                    prop_assert_eq!(found, expected.iter().filter(|(row, _)| *row >= from).copied().collect::<Vec<_>>());
                }
                for end in 0..=rows.len() as u32 {
                    let newest = generation.newest_before(column as u32, end, &mut Vec::new());
                    prop_assert_eq!(newest, Some(expected.iter().rfind(|(row, _)| *row < end).copied()));
                }
                prop_assert_eq!(&read(&generation, column as u32), expected);
            }
        }
    }
}
