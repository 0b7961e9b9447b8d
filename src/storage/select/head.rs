//! Reading columns of the head's generations.

use super::TimeRange;
use super::join::{Piece, PieceValues};
use crate::storage::head::generation::Generation;
use crate::storage::head::group::SharedGeneration;
use crate::storage::head::lock;
use smallvec::SmallVec;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// A generation as a selection saw it: rows that came later are not read.
#[derive(Debug)]
pub(crate) struct SeenGeneration {
    shared: SharedGeneration,
    rows: Range<u32>,
    times: OnceLock<Arc<[i64]>>,
}

/// A column as its runs are walked: nothing is listed while the value stays.
#[derive(Debug, Default)]
struct Found {
    /// Rows that are there, first and one past the last, gaps between them.
    spans: SmallVec<[(u32, u32); 2]>,
    /// Bits of the first value.
    first: Option<u64>,
    /// How often the first value came before another did.
    same: usize,
    /// All values, once they differ.
    values: Vec<f64>,
}

impl Found {
    fn add(&mut self, start: u32, end: u32, bits: u64, rows_max: usize) {
        match self.spans.last_mut() {
            Some((_, last)) if *last == start => *last = end,
            _ => self.spans.push((start, end)),
        }
        let count = (end - start) as usize;
        let first = *self.first.get_or_insert(bits);
        if self.values.is_empty() {
            if bits == first {
                self.same += count;
                return;
            }
            self.values.reserve_exact(rows_max);
            self.values.extend(std::iter::repeat_n(f64::from_bits(first), self.same));
        }
        if count == 1 {
            self.values.push(f64::from_bits(bits));
        } else {
            self.values.extend(std::iter::repeat_n(f64::from_bits(bits), count));
        }
    }
}

impl SeenGeneration {
    /// Looks at the rows of a generation within a range; `None` where there are none.
    pub(crate) fn new(shared: &SharedGeneration, generation: &Generation, range: TimeRange) -> Option<Self> {
        let times = generation.times();
        let from = times.partition_point(|at_ms| *at_ms < range.start_ms) as u32;
        let to = times.partition_point(|at_ms| *at_ms <= range.end_ms) as u32;
        (from < to).then(|| Self { shared: Arc::clone(shared), rows: from..to, times: OnceLock::new() })
    }

    /// Returns how many rows there are.
    pub(crate) const fn rows(&self) -> u64 {
        (self.rows.end - self.rows.start) as u64
    }

    /// Locks the generation for some reads.
    pub(crate) fn open(&self) -> std::sync::MutexGuard<'_, Generation> {
        lock(&self.shared)
    }

    fn window_times(&self, generation: &Generation) -> Arc<[i64]> {
        let times = || generation.times().get(self.rows.start as usize..self.rows.end as usize).unwrap_or_default().into();
        Arc::clone(self.times.get_or_init(times))
    }

    /// Reads a column. `None` where its bytes are damaged.
    pub(crate) fn read(&self, generation: &Generation, column: u32, scratch: &mut Vec<u8>) -> Option<Piece> {
        let rows = &self.rows;
        let mut found = Found::default();
        generation.runs_from(column, rows.start, scratch, |from, count, bits| {
            let (start, end) = (from.max(rows.start), (from + count).min(rows.end));
            if start < end {
                found.add(start, end, bits, rows.len());
            }
        })?;
        let Found { spans, first, values, .. } = found;
        let values = match first {
            Some(bits) if values.is_empty() => PieceValues::Constant(f64::from_bits(bits)),
            _ => PieceValues::Floats(values),
        };
        if spans.as_slice() == [(rows.start, rows.end)] {
            return Some(Piece::new(self.window_times(generation), true, values));
        }
        let times = generation.times();
        let own = spans.iter().flat_map(|(start, end)| times.get(*start as usize..*end as usize).unwrap_or_default());
        Some(Piece::new(own.copied().collect(), false, values))
    }

    /// Returns a column's newest sample, most often without decoding. Outer `None` where its bytes are damaged.
    pub(crate) fn last(&self, generation: &Generation, column: u32, scratch: &mut Vec<u8>) -> Option<Option<(i64, f64)>> {
        let times = generation.times();
        let newest = generation.last_time(column);
        let window = times.get(self.rows.start as usize).copied().zip(times.get(self.rows.end as usize - 1).copied());
        let (Some(newest), Some((first, last))) = (newest, window) else { return Some(None) };
        if newest < first {
            return Some(None);
        }
        if newest <= last {
            return Some(Some((newest, f64::from_bits(generation.last_bits(column)))));
        }
        let found = generation.newest_before(column, self.rows.end, scratch)?.filter(|(row, _)| *row >= self.rows.start);
        Some(found.and_then(|(row, bits)| Some((times.get(row as usize).copied()?, f64::from_bits(bits)))))
    }
}
