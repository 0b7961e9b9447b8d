//! A generation and the log: rows go there by what changed in them, and come back the same way.
//!
//! Both sides keep, for each column, the decimal state and the width of its coder. At the start of a segment every column
//! stands at 0.0 for the log: a column's first row in it says the difference to that, so that a segment never needs an
//! older one and a zero costs nothing.

use super::generation::{Generation, OPEN};
use super::group::NO_COLUMN;
use crate::storage::column::bits::{BitReader, BitWriter};
use crate::storage::column::step_bits::{self, Width};
use crate::storage::column::token::{self, Step, Track};
use crate::storage::column::varint::ByteReader;
use std::ops::Range;

/// Bits of a value that the replay has not computed: no value has them but one that is told by its bits alone.
const NOT_COMPUTED: u64 = 1;

/// One changed value of a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Changed {
    /// Its place among those that the row's record speaks of.
    pub(crate) place: u32,
    /// Its column.
    pub(crate) column: u32,
    /// What the log must say.
    pub(crate) step: Step,
}

/// The changes of a row as its segment has them.
#[derive(Debug)]
pub(crate) enum Changes<'a> {
    /// Since version 2.
    Bits(BitReader<'a>),
    /// In version 1: tokens of whole bytes. Each segment's first is absolute.
    Bytes(ByteReader<'a>),
}

impl<'a> Changes<'a> {
    /// Returns the changes that a row of a segment ends with.
    pub(crate) const fn of_version(version: u32, row: &ByteReader<'a>) -> Self {
        match version {
            1 => Self::Bytes(ByteReader::new(row.rest())),
            _ => Self::Bits(BitReader::new(row.rest())),
        }
    }
}

impl Generation {
    fn begin_segment(&mut self, segment: u64) {
        if self.logged.segment != segment {
            self.logged.segment = segment;
            self.logged.columns.clear();
        }
    }

    /// A column moved on by something that is no row of the log: its next row says it absolutely.
    pub(crate) fn set_adrift(&mut self, column: u32) {
        self.logged.adrift.set(column);
        self.logged.columns.unset(column);
    }

    /// Returns whether the segment knows the columns of these ranges.
    pub(crate) fn is_known(&self, segment: u64, mut ranges: impl Iterator<Item = Range<u32>>) -> bool {
        self.logged.segment == segment && ranges.all(|range| self.logged.columns.has_all(range))
    }

    /// Appends the bitmap of changed places and their tokens, for columns that the segment knows.
    pub(crate) fn put_known(&mut self, out: &mut Vec<u8>, count: usize, changed: &[Changed]) {
        let bitmap = out.len();
        out.resize(bitmap + count.div_ceil(8), 0);
        for one in changed {
            out[bitmap + one.place as usize / 8] |= 1 << (one.place % 8);
        }
        let mut bits = BitWriter::new(out);
        for one in changed {
            step_bits::put(&mut bits, &mut self.columns[one.column as usize].width, one.step);
        }
        bits.finish();
    }

    /// The same for columns of which the segment may not know some. `columns` walks those of all places in order;
    /// [`NO_COLUMN`] for a place without one.
    pub(crate) fn put_anew(
        &mut self,
        out: &mut Vec<u8>,
        segment: u64,
        count: usize,
        columns: impl Iterator<Item = u32>,
        changed: &[Changed],
    ) {
        self.begin_segment(segment);
        let bitmap = out.len();
        out.resize(bitmap + count.div_ceil(8), 0);
        let mut tokens = Vec::with_capacity(count * 2);
        let mut bits = BitWriter::new(&mut tokens);
        let mut changed = changed.iter().peekable();
        for (place, column) in columns.enumerate() {
            let step = changed.next_if(|next| next.place as usize == place).map(|next| next.step);
            if column == NO_COLUMN {
                continue;
            }
            let step = self.step_for_log(column, step);
            if let Some(step) = step {
                out[bitmap + place / 8] |= 1 << (place % 8);
                step_bits::put(&mut bits, &mut self.columns[column as usize].width, step);
            }
        }
        bits.finish();
        out.extend_from_slice(&tokens);
    }

    fn step_for_log(&mut self, column: u32, step: Option<Step>) -> Option<Step> {
        let (track, bits) = (self.track(column), self.last_bits(column));
        let logged = &mut self.logged;
        let known = logged.columns.has(column);
        logged.columns.set(column);
        if logged.adrift.has(column) {
            logged.adrift.unset(column);
            self.columns[column as usize].width = Width::FIRST;
            return Some(track.restate(bits));
        }
        if known {
            return step;
        }
        self.columns[column as usize].width = Width::FIRST;
        track.since_nothing(bits)
    }

    /// Applies a part of a row from the log: `runs` of columns, the bitmap of changed ones among them, their tokens. Returns
    /// how many samples it holds; `None` where the bytes end early or mean nothing.
    pub(crate) fn replay_part(
        &mut self,
        segment: u64,
        row: u32,
        runs: &[Range<u32>],
        changed: &[u8],
        changes: &mut Changes<'_>,
    ) -> Option<u64> {
        self.begin_segment(segment);
        let is_next = self.is_next(row);
        let is_older = row as usize + 1 < self.times().len();
        let mut from = 0_usize;
        let mut closed = Vec::new();
        for run in runs {
            let known = self.logged.columns.has_all(run.clone());
            let has_changed = |place: usize| changed.get(place / 8).is_some_and(|byte| byte >> (place % 8) & 1 != 0);
            if known && is_next {
                // Open columns that did not change are in the row by one bit each.
                closed.clear();
                self.open.missing(run.clone(), |column| closed.push(column));
                for column in &closed {
                    if !has_changed(from + (column - run.start) as usize) {
                        self.replay_value(*column, row, None, true, false);
                    }
                }
                for place in ones(changed, from..from + run.len()) {
                    let column = run.start + (place - from) as u32;
                    let step = self.read_step(column, changes)?;
                    self.replay_step(column, row, step);
                }
                self.present.set_range(run.clone());
            } else if known && is_older {
                for place in ones(changed, from..from + run.len()) {
                    let column = run.start + (place - from) as u32;
                    let step = self.read_step(column, changes)?;
                    self.replay_step(column, row, step);
                }
                for entry in self.columns.get_mut(run.start as usize..run.end as usize)? {
                    if entry.covered == row && row > 0 {
                        entry.covered = row + 1;
                    }
                }
            } else {
                for (column, place) in run.clone().zip(from..) {
                    self.replay_any(column, row, has_changed(place), changes, false)?;
                }
            }
            from += run.len();
        }
        self.samples += from as u64;
        Some(from as u64)
    }

    /// Applies a whole row from the log; `columns` walks the columns of its places.
    pub(crate) fn replay_row(
        &mut self,
        segment: u64,
        row: u32,
        count: usize,
        column_of: impl Fn(usize) -> u32,
        changed: &[u8],
        changes: &mut Changes<'_>,
    ) -> Option<()> {
        self.begin_segment(segment);
        self.samples += count as u64;
        let is_known = (0..count).all(|place| {
            let column = column_of(place);
            column == NO_COLUMN || self.logged.columns.has(column)
        });
        if is_known {
            for place in ones(changed, 0..count) {
                let column = column_of(place);
                let step = self.read_step(column, changes)?;
                self.replay_step(column, row, step);
            }
            return Some(());
        }
        for place in 0..count {
            let column = column_of(place);
            if column != NO_COLUMN {
                let has_changed = changed.get(place / 8).is_some_and(|byte| byte >> (place % 8) & 1 != 0);
                self.replay_any(column, row, has_changed, changes, true)?;
            }
        }
        Some(())
    }

    fn read_step(&mut self, column: u32, changes: &mut Changes<'_>) -> Option<Step> {
        match changes {
            Changes::Bits(bits) => step_bits::read(bits, &mut self.columns.get_mut(column as usize)?.width),
            Changes::Bytes(bytes) => token::read_step(bytes),
        }
    }

    fn replay_any(&mut self, column: u32, row: u32, changed: bool, changes: &mut Changes<'_>, whole: bool) -> Option<()> {
        let known = self.logged.columns.has(column);
        if !known {
            self.logged.columns.set(column);
            self.columns.get_mut(column as usize)?.width = Width::FIRST;
        }
        let step = if changed { Some(self.read_step(column, changes)?) } else { None };
        self.replay_value(column, row, step, known, whole);
        Some(())
    }

    /// Puts a changed value into a row, for a column that the segment said before. Its bits are computed when the log is
    /// read: [`Self::finish_replay`].
    #[inline]
    fn replay_step(&mut self, column: u32, row: u32, step: Step) {
        let Some(entry) = self.columns.get(column as usize) else { return };
        let is_beyond = match entry.covered {
            OPEN => self.present_in(column, row),
            covered => row < covered,
        };
        if is_beyond {
            return;
        }
        let mut after = Track { mantissa: entry.mantissa, scale: entry.scale };
        if let Some(bits) = after.follow(step) {
            self.place_as(column, row, step, after, bits.unwrap_or(NOT_COMPUTED));
        }
    }

    /// Computes what the replay left out.
    pub(crate) fn finish_replay(&mut self) {
        for column in 0..self.columns.len() as u32 {
            self.compute_bits(column);
        }
    }

    fn compute_bits(&mut self, column: u32) -> u64 {
        let place = column as usize;
        let track = self.track(column);
        if self.bits[place] == NOT_COMPUTED && !track.is_default() {
            self.bits[place] = track.scale.value(track.mantissa).to_bits();
        }
        self.bits[place]
    }

    /// Puts one value from the log (`None`: not changed) into a row that exists. `known`: the segment said the column
    /// before, so that a difference counts from there. `whole`: the row has all open columns. Returns whether it fits.
    fn replay_value(&mut self, column: u32, row: u32, step: Option<Step>, known: bool, whole: bool) -> bool {
        let Some(entry) = self.columns.get(column as usize).copied() else { return false };
        let covered = if whole { self.covered(column).min(row) } else { self.covered(column) };
        if row < covered {
            return false;
        }
        let follows = covered > 0 && covered == row;
        let mut track = if known { Track { mantissa: entry.mantissa, scale: entry.scale } } else { Track::default() };
        let bits = match step {
            Some(step) => track.advance(step),
            None if !known => Some(0),
            None => follows.then(|| self.compute_bits(column)),
        };
        let Some(bits) = bits else { return false };
        if follows && self.compute_bits(column) == bits {
            // A segment's first row says again what the stream already has.
            let entry = &mut self.columns[column as usize];
            entry.mantissa = track.mantissa;
            entry.scale = track.scale;
            self.reach(column, row);
        } else {
            let said = step.filter(|_| known).unwrap_or_else(|| track.restate(bits));
            self.place(column, row, said);
        }
        true
    }
}

/// Walks the places of set bits within a range.
fn ones(bitmap: &[u8], places: Range<usize>) -> impl Iterator<Item = usize> + '_ {
    let (first, last) = (places.start / 8, places.end.div_ceil(8));
    bitmap.get(first..last).unwrap_or_default().iter().zip(first..).flat_map(move |(byte, at)| {
        let mut left = *byte;
        let places = places.clone();
        std::iter::from_fn(move || {
            while left != 0 {
                let place = at * 8 + left.trailing_zeros() as usize;
                left &= left - 1;
                if places.contains(&place) {
                    return Some(place);
                }
            }
            None
        })
    })
}
