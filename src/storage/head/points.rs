//! Appending samples one by one: pushed ones, explicit timestamps, repeated and late ones.
//!
//! Pushed series form *learned* groups: those of one target (job and instance) whose samples carry the same times are rows
//! of one group, also when they come in several requests, series by series or time by time: a value may still be set in a
//! row that exists as long as its column is not beyond that row. A sample that fits no row although its series could take
//! it moves its series to the next lane of its target, at last to a group of its own.
//!
//! ```text
//! sample -> group of its series -> row at its time? -> column not beyond it: stored
//!                                      |                equal time: same (ignored) or conflict (refused)
//!                                      |  newer than all rows: a new row
//!                                      `- neither: older than the series' newest -> late
//!                                                  else                          -> next lane, try again
//! ```

use super::generation::{Generation, Offered, UNLOGGED};
use super::group::{Group, GroupState};
use super::late::LateAdded;
use super::locations::Location;
use super::{Head, LEARNED_PREFIX, TIME_MAX_MS, lock, read, window_of, write};
use crate::storage::append::{AppendError, Appended, GroupId, SeriesId};
use crate::storage::column::token::{Step, put_step};
use crate::storage::column::varint::{put_signed, put_varint};
use crate::storage::wal::Log;
use crate::storage::wal::names::put_layout;
use crate::storage::wal::record::{Kind, put_samples};
use hashbrown::HashMap;

/// Lanes of one target before a series gets a group of its own.
const LANES: u32 = 3;
/// Series of one learned group; more open a further one.
const LEARNED_MAX: usize = 4096;

/// One sample on its way in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Point {
    /// Whose.
    pub(crate) series: SeriesId,
    /// When.
    pub(crate) at_ms: i64,
    /// What.
    pub(crate) value: f64,
}

/// Which times are taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Retention excludes what is older.
    pub(crate) oldest_ms: i64,
    /// A late sample must not be older; `None`: no late sample is taken.
    pub(crate) late_oldest_ms: Option<i64>,
}

/// A point with the place where its series' samples go.
#[derive(Clone, Copy, Debug)]
struct Routed {
    group: u32,
    column: u32,
    point: Point,
}

const NO_GROUP: u32 = u32::MAX;

/// Why a sample did not fit its group.
#[derive(Clone, Copy, Debug)]
struct Misfit {
    routed: Routed,
    /// The column is known to be beyond it.
    behind: bool,
}

impl Head {
    /// Appends samples; see [`crate::storage::append::Append::append_samples`].
    pub(crate) fn append_points(
        &self,
        log: &Log,
        points: impl Iterator<Item = Point>,
        hint: Option<GroupId>,
        limits: Limits,
    ) -> Result<Appended, AppendError> {
        let mut appended = Appended::default();
        let mut routed = Vec::with_capacity(points.size_hint().0);
        {
            let locations = read(&self.locations);
            for point in points {
                if point.at_ms < limits.oldest_ms || point.at_ms < -TIME_MAX_MS {
                    appended.too_old += 1;
                } else if point.at_ms > TIME_MAX_MS {
                    appended.too_far += 1;
                } else {
                    let place = locations.newest(point.series).unwrap_or(Location { group: NO_GROUP, column: 0 });
                    routed.push(Routed { group: place.group, column: place.column, point });
                }
            }
        }
        let _gate = self.pass_gate();
        if routed.iter().any(|routed| routed.group == NO_GROUP) {
            self.assign(log, &mut routed, hint, 0);
        }
        let mut late = Vec::new();
        for lane in 1..=LANES + 1 {
            let misfits = self.offer_all(log, &mut routed, &mut appended);
            routed.clear();
            for misfit in misfits {
                if misfit.behind
                    || lane > LANES
                    || self.newest_time(misfit.routed.point.series) >= Some(misfit.routed.point.at_ms)
                {
                    late.push(misfit.routed.point);
                } else {
                    routed.push(Routed { group: NO_GROUP, ..misfit.routed });
                }
            }
            if routed.is_empty() {
                break;
            }
            self.assign(log, &mut routed, None, lane);
        }
        self.add_late(log, &late, limits, &mut appended);
        Ok(appended)
    }

    /// Gives every point without a group one: a learned group of its target, on the given lane.
    fn assign(&self, log: &Log, routed: &mut [Routed], hint: Option<GroupId>, lane: u32) {
        let name_of = |series: SeriesId| match hint {
            Some(group) => format!("{LEARNED_PREFIX}with/{}", group.0),
            None if lane >= LANES => format!("{LEARNED_PREFIX}own/{}", series.0),
            None => self.learned_name(series, lane),
        };
        let mut fresh: Vec<(String, SeriesId)> = Vec::new();
        let mut last = None;
        for routed in routed.iter().filter(|routed| routed.group == NO_GROUP) {
            if last != Some(routed.point.series) {
                last = Some(routed.point.series);
                fresh.push((name_of(routed.point.series), routed.point.series));
            }
        }
        fresh.sort();
        fresh.dedup();
        for target in fresh.chunk_by(|left, right| left.0 == right.0) {
            let series: Vec<SeriesId> = target.iter().map(|(_, series)| *series).collect();
            if let Some((name, _)) = target.first() {
                self.join_learned(log, name, &series);
            }
        }
        let locations = read(&self.locations);
        for routed in routed.iter_mut().filter(|routed| routed.group == NO_GROUP) {
            if let Some(place) = locations.newest(routed.point.series) {
                routed.group = place.group;
                routed.column = place.column;
            }
        }
    }

    /// Adds series to the learned group of a name, or to further ones where it is full.
    fn join_learned(&self, log: &Log, name: &str, series: &[SeriesId]) {
        let mut left = series;
        while !left.is_empty() {
            let number = self.learned_part(name);
            let id = self.group_named(log, &format!("{name}#{number}"));
            let Some(group) = self.group(id) else { return };
            let mut state = group.lock();
            let room = LEARNED_MAX.saturating_sub(state.layout.len());
            if room == 0 {
                self.next_learned_part(name, number);
                continue;
            }
            let (now, later) = left.split_at(room.min(left.len()));
            let before = state.layout.len();
            // After a start a member may come that has no sample in the head.
            let known: HashMap<SeriesId, usize> =
                state.layout.iter().enumerate().map(|(place, series)| (*series, place)).collect();
            let joining: Vec<SeriesId> = now.iter().copied().filter(|series| !known.contains_key(series)).collect();
            state.learned = true;
            if !joining.is_empty() {
                state.layout = state.layout.iter().copied().chain(joining.iter().copied()).collect();
                state.next_version();
                log.define(|names| put_layout(names, id, state.version, before, &joining));
            }
            let mut locations = write(&self.locations);
            let mut next = before;
            for series in now {
                let column = known.get(series).copied().unwrap_or(next) as u32;
                next += usize::from(!known.contains_key(series));
                locations.set(*series, Location { group: id.0, column });
            }
            left = later;
        }
    }

    /// Offers points to their groups; returns those that fit no row.
    fn offer_all(&self, log: &Log, routed: &mut [Routed], appended: &mut Appended) -> Vec<Misfit> {
        let mut misfits = Vec::new();
        routed.sort_by_key(|routed| (routed.group, routed.point.at_ms, routed.column));
        for part in routed.chunk_by(|left, right| left.group == right.group) {
            let Some(group) = part.first().and_then(|first| self.group(GroupId(first.group))) else {
                misfits.extend(part.iter().map(|routed| Misfit { routed: *routed, behind: false }));
                continue;
            };
            let mut state = group.lock();
            for row in part.chunk_by(|left, right| left.point.at_ms == right.point.at_ms) {
                self.offer_row(log, &group, &mut state, row, &mut misfits, appended);
            }
        }
        misfits
    }

    /// Offers points of one group and time.
    fn offer_row(
        &self,
        log: &Log,
        group: &Group,
        state: &mut GroupState,
        points: &[Routed],
        misfits: &mut Vec<Misfit>,
        appended: &mut Appended,
    ) {
        let at_ms = points.first().map_or(0, |routed| routed.point.at_ms);
        let none_fits = || points.iter().map(|routed| Misfit { routed: *routed, behind: false });
        let is_newer = at_ms > state.last_ms;
        let open = if is_newer { state.generation(window_of(at_ms)) } else { state.current.clone() };
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
                generation.add_row(at_ms)
            }
            None => {
                misfits.extend(none_fits());
                return;
            }
        };
        let mut stored = Vec::with_capacity(points.len());
        for routed in points {
            let column = column_for(state, &mut generation, routed);
            match generation.offer(column, row, routed.point.value) {
                Offered::Stored(step) => stored.push((column, step)),
                Offered::Same => appended.stored += 1,
                Offered::Conflict => appended.duplicate += 1,
                Offered::Behind => misfits.push(Misfit { routed: *routed, behind: true }),
            }
        }
        appended.stored += stored.len() as u64;
        if stored.is_empty() {
        } else if state.learned {
            log_partial_row(log, group.id, state, &mut generation, at_ms, &stored);
        } else {
            log_as_samples(log, state, &mut generation, at_ms, &stored);
        }
    }

    /// Returns the time of a series' newest sample in the head.
    pub(crate) fn newest_time(&self, series: SeriesId) -> Option<i64> {
        let places = read(&self.locations).all(series);
        let newest = places.iter().filter_map(|place| {
            let group = self.group(GroupId(place.group))?;
            let state = group.lock();
            let mut generations = state.current.iter().chain(state.sealed.iter().rev());
            generations.find_map(|shared| {
                let mut generation = lock(shared);
                let column = generation.find(series, place.column)?;
                generation.last_time(column)
            })
        });
        newest.max()
    }

    /// Returns the bits of a series at exactly that time in the head's columns.
    fn bits_at(&self, series: SeriesId, at_ms: i64) -> Option<u64> {
        let places = read(&self.locations).all(series);
        places.iter().find_map(|place| {
            let group = self.group(GroupId(place.group))?;
            let state = group.lock();
            state.current.iter().chain(&state.sealed).find_map(|shared| {
                let mut generation = lock(shared);
                let column = generation.find(series, place.column)?;
                let row = generation.row_at(at_ms)?;
                let mut found = None;
                generation.runs(column, &mut Vec::new(), |from, rows, bits| {
                    if row >= from && row < from + rows {
                        found = Some(bits);
                    }
                })?;
                found
            })
        })
    }

    fn add_late(&self, log: &Log, points: &[Point], limits: Limits, appended: &mut Appended) {
        let mut taken = Vec::new();
        for point in points {
            match self.bits_at(point.series, point.at_ms) {
                Some(bits) if bits == point.value.to_bits() => appended.stored += 1,
                Some(_) => appended.duplicate += 1,
                None => match limits.late_oldest_ms {
                    None => appended.out_of_order += 1,
                    Some(oldest_ms) if point.at_ms < oldest_ms => appended.too_old += 1,
                    Some(_) => taken.push(*point),
                },
            }
        }
        if taken.is_empty() {
            return;
        }
        let mut late = lock(&self.late);
        taken.retain(|point| match late.add(point.series, point.at_ms, point.value.to_bits()) {
            LateAdded::New => {
                appended.stored += 1;
                true
            }
            LateAdded::Same => {
                appended.stored += 1;
                false
            }
            LateAdded::Conflict => {
                appended.duplicate += 1;
                false
            }
        });
        if !taken.is_empty() {
            let newest_ms = taken.iter().map(|point| point.at_ms).max().unwrap_or(i64::MIN);
            log.write(newest_ms, |_segment| put_samples(&taken));
        }
    }
}

/// Returns the column of a point's series in a generation, made where it is missing.
fn column_for(state: &GroupState, generation: &mut Generation, routed: &Routed) -> u32 {
    if state.learned {
        // Columns of a learned group are its layout's places.
        for series in state.layout.get(generation.series().len()..).unwrap_or_default() {
            generation.add_column(*series);
        }
    }
    let known = generation.find(routed.point.series, routed.column);
    known.unwrap_or_else(|| generation.add_column(routed.point.series))
}

/// Logs some columns of a row: which places, which of them changed, their tokens.
fn log_partial_row(
    log: &Log,
    group: GroupId,
    state: &mut GroupState,
    generation: &mut Generation,
    at_ms: i64,
    stored: &[(u32, Option<Step>)],
) {
    log.write(at_ms, |segment| {
        let tag = segment as u16;
        let last_ms = if state.logged.segment == segment { state.logged.last_ms } else { 0 };
        let mut record = Vec::with_capacity(stored.len() * 2 + 24);
        record.push(Kind::PartialRow as u8);
        put_varint(&mut record, u64::from(group.0));
        put_varint(&mut record, u64::from(state.version));
        put_signed(&mut record, at_ms - last_ms);
        put_runs(&mut record, stored.iter().map(|(column, _)| *column));
        let bitmap_at = record.len();
        record.resize(bitmap_at + stored.len().div_ceil(8), 0);
        for (i, (column, step)) in stored.iter().enumerate() {
            let known = generation.logged(*column) == tag;
            generation.set_logged(*column, tag);
            let restated = || generation.track(*column).restate(generation.last_bits(*column));
            if let Some(step) = if known { *step } else { Some(restated()) } {
                record[bitmap_at + i / 8] |= 1 << (i % 8);
                put_step(&mut record, step);
            }
        }
        state.logged.segment = segment;
        state.logged.last_ms = at_ms;
        record
    });
}

/// Logs samples that are no row of the layout. The columns' state is then unknown to the log.
fn log_as_samples(log: &Log, state: &mut GroupState, generation: &mut Generation, at_ms: i64, stored: &[(u32, Option<Step>)]) {
    let mut points = Vec::with_capacity(stored.len());
    for (column, _) in stored {
        let series = generation.series().get(*column as usize).copied().unwrap_or(SeriesId(0));
        points.push(Point { series, at_ms, value: f64::from_bits(generation.last_bits(*column)) });
        generation.set_logged(*column, UNLOGGED);
    }
    state.all_logged = false;
    log.write(at_ms, |_segment| put_samples(&points));
}

/// Appends ascending numbers as `count` of runs, then (gap, length) each.
pub(crate) fn put_runs(out: &mut Vec<u8>, numbers: impl Iterator<Item = u32>) {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some((start, length)) if *start + *length == number => *length += 1,
            _ => runs.push((number, 1)),
        }
    }
    put_varint(out, runs.len() as u64);
    let mut end = 0;
    for (start, length) in runs {
        put_varint(out, u64::from(start - end));
        put_varint(out, u64::from(length));
        end = start + length;
    }
}

impl Head {
    fn learned_part(&self, name: &str) -> u32 {
        lock(&self.learned_parts).get(name).copied().unwrap_or(0)
    }

    /// Notes the name of a learned group that the names log brought back.
    pub(crate) fn saw_learned(&self, name: &str) {
        let Some((name, number)) = name.rsplit_once('#') else { return };
        let Ok(number) = number.parse::<u32>() else { return };
        if number > 0 {
            let mut parts = lock(&self.learned_parts);
            let part = parts.entry(name.to_owned()).or_default();
            *part = number.max(*part);
        }
    }

    fn next_learned_part(&self, name: &str, full: u32) {
        lock(&self.learned_parts).insert(name.to_owned(), full + 1);
    }
}
