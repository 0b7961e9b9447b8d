//! Offering samples to the rows of their group, and telling the log: samples of one group and time are one part of a row.

use super::generation::{Generation, Offered};
use super::group::{Group, GroupState};
use super::logged::Changed;
use super::points::{Misfit, Point, Routed};
use super::{Head, lock, window_of};
use crate::storage::append::{Appended, GroupId, SeriesId};
use crate::storage::column::varint::{put_signed, put_varint};
use crate::storage::wal::Log;
use crate::storage::wal::record::{Kind, put_samples};
use std::ops::Range;

/// What a part of a row stored: buffers that serve one part after the other.
#[derive(Debug, Default)]
pub(super) struct Part {
    /// Columns, ascending.
    runs: Vec<Range<u32>>,
    changed: Vec<Changed>,
    count: u32,
}

impl Part {
    fn clear(&mut self) {
        self.runs.clear();
        self.changed.clear();
        self.count = 0;
    }

    fn add(&mut self, column: u32) {
        match self.runs.last_mut() {
            Some(run) if run.end == column => run.end += 1,
            _ => self.runs.push(column..column + 1),
        }
        self.count += 1;
    }

    /// Puts the columns in order: a series may have been routed by a place that it no longer has.
    fn sort(&mut self) {
        if self.runs.is_sorted_by_key(|run| run.start) {
            return;
        }
        let mut columns: Vec<u32> = self.runs.drain(..).flatten().collect();
        columns.sort_unstable();
        self.count = 0;
        for column in &columns {
            self.add(*column);
        }
        self.changed.sort_by_key(|changed| changed.column);
        for changed in &mut self.changed {
            changed.place = columns.partition_point(|column| *column < changed.column) as u32;
        }
    }
}

impl Head {
    /// Offers points to their groups; returns those that fit no row.
    pub(super) fn offer_all(&self, log: &Log, routed: &mut [Routed], appended: &mut Appended) -> Vec<Misfit> {
        let mut misfits = Vec::new();
        let mut part = Part::default();
        let order = |routed: &Routed| (routed.group, routed.point.at_ms, routed.column);
        if !routed.is_sorted_by_key(order) {
            routed.sort_by_key(order);
        }
        for of_group in routed.chunk_by(|left, right| left.group == right.group) {
            let Some(group) = of_group.first().and_then(|first| self.group(GroupId(first.group))) else {
                misfits.extend(of_group.iter().map(|routed| Misfit { routed: *routed, behind: false }));
                continue;
            };
            let mut state = group.lock();
            for row in of_group.chunk_by(|left, right| left.point.at_ms == right.point.at_ms) {
                part.clear();
                self.offer_row(log, &group, &mut state, row, &mut part, &mut misfits, appended);
            }
        }
        misfits
    }

    /// Offers points of one group and time.
    #[expect(clippy::too_many_arguments, reason = "what a row touches")]
    fn offer_row(
        &self,
        log: &Log,
        group: &Group,
        state: &mut GroupState,
        points: &[Routed],
        part: &mut Part,
        misfits: &mut Vec<Misfit>,
        appended: &mut Appended,
    ) {
        let at_ms = points.first().map_or(0, |routed| routed.point.at_ms);
        let none_fits = || points.iter().map(|routed| Misfit { routed: *routed, behind: false });
        let is_newer = at_ms > state.last_ms;
        let open = if is_newer {
            let before = state.sealed.len();
            let open = state.generation(window_of(at_ms));
            if state.learned && state.sealed.len() > before {
                let staying: Vec<SeriesId> = points.iter().map(|routed| routed.point.series).collect();
                self.drop_idle_members(log, group, state, &staying);
            }
            open
        } else {
            state.current.clone()
        };
        let Some(shared) = open else {
            misfits.extend(none_fits());
            return;
        };
        let mut generation = lock(&shared);
        let row = match generation.row_at(at_ms) {
            Some(row) => row,
            None if is_newer => {
                state.leave(&mut generation);
                state.last_ms = at_ms;
                self.saw_time(at_ms);
                generation.add_partial_row(at_ms)
            }
            None => {
                misfits.extend(none_fits());
                return;
            }
        };
        if state.learned {
            state.add_layout_columns(&mut generation);
        }
        if !state.learned {
            add_missing(&mut generation, points);
        }
        for routed in points {
            // Where there is none it left the layout: another place is found for it.
            let Some(column) = generation.find(routed.point.series, routed.column) else {
                misfits.push(Misfit { routed: *routed, behind: false });
                continue;
            };
            match generation.offer(column, row, routed.point.value) {
                Offered::Stored(step) => {
                    if let Some(step) = step {
                        part.changed.push(Changed { place: part.count, column, step });
                    }
                    part.add(column);
                }
                Offered::Same => appended.stored += 1,
                Offered::Conflict => appended.duplicate += 1,
                Offered::Behind => misfits.push(Misfit { routed: *routed, behind: true }),
            }
        }
        part.sort();
        appended.stored += u64::from(part.count);
        if part.count == 0 {
        } else if state.learned {
            log_part(log, group.id, state, &mut generation, at_ms, part);
        } else {
            log_as_samples(log, &mut generation, at_ms, part);
        }
    }
}

/// Gives columns to the series of points that have none. All are looked for before the first is added: a column that came since
/// makes the next search sort all of them.
fn add_missing(generation: &mut Generation, points: &[Routed]) {
    let mut missing: Vec<SeriesId> = Vec::new();
    for routed in points {
        if generation.find(routed.point.series, routed.column).is_none() {
            missing.push(routed.point.series);
        }
    }
    // One point a series, but for those that say one twice.
    let mut added = hashbrown::HashSet::<SeriesId, foldhash::fast::RandomState>::default();
    for series in missing {
        if added.insert(series) {
            generation.add_column(series);
        }
    }
}

/// Logs a part of a row: which places, which of them changed, their tokens.
fn log_part(log: &Log, group: GroupId, state: &mut GroupState, generation: &mut Generation, at_ms: i64, part: &Part) {
    log.write(at_ms, |segment, record| {
        let last_ms = if state.logged.segment == segment { state.logged.last_ms } else { 0 };
        record.push(Kind::PartialRow as u8);
        put_varint(record, u64::from(group.0));
        put_varint(record, u64::from(state.version));
        put_signed(record, at_ms - last_ms);
        put_varint(record, part.runs.len() as u64);
        let mut end = 0;
        for run in &part.runs {
            put_varint(record, u64::from(run.start - end));
            put_varint(record, u64::from(run.end - run.start));
            end = run.end;
        }
        if generation.is_known(segment, part.runs.iter().cloned()) {
            generation.put_known(record, part.count as usize, &part.changed);
        } else {
            generation.put_anew(record, segment, part.count as usize, part.runs.iter().cloned().flatten(), &part.changed);
        }
        state.logged.segment = segment;
        state.logged.last_ms = at_ms;
    });
}

/// Logs samples that are no row of the layout. The columns' state is then unknown to the log.
fn log_as_samples(log: &Log, generation: &mut Generation, at_ms: i64, part: &Part) {
    let mut points = Vec::with_capacity(part.count as usize);
    for column in part.runs.iter().cloned().flatten() {
        let series = generation.series().get(column as usize).copied().unwrap_or(SeriesId(0));
        points.push(Point { series, at_ms, value: f64::from_bits(generation.last_bits(column)) });
        generation.set_adrift(column);
    }
    log.write(at_ms, |_segment, record| put_samples(record, &points));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::column::token::Step;

    /// Unsorted they would be logged as bytes that no start can read: acknowledged and lost.
    #[test]
    fn columns_of_a_part_ascend() {
        let mut part = Part::default();
        for column in [1, 2, 0, 3, 7] {
            if column != 3 {
                part.changed.push(Changed { place: part.count, column, step: Step::Raw(u64::from(column)) });
            }
            part.add(column);
        }
        part.sort();
        assert_eq!((part.runs.as_slice(), part.count), ([0..4, 7..8].as_slice(), 5));
        let changed: Vec<(u32, u32)> = part.changed.iter().map(|changed| (changed.place, changed.column)).collect();
        assert_eq!(changed, [(0, 0), (1, 1), (2, 2), (4, 7)]);
    }
}
