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

use super::late::LateAdded;
use super::locations::Location;
use super::{Head, LEARNED_PREFIX, TIME_MAX_MS, lock, read, write};
use crate::storage::append::{AppendError, Appended, GroupId, SeriesId};
use crate::storage::wal::Log;
use crate::storage::wal::names::put_layout;
use crate::storage::wal::record::put_samples;
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
pub(super) struct Routed {
    pub(super) group: u32,
    pub(super) column: u32,
    pub(super) point: Point,
}

const NO_GROUP: u32 = u32::MAX;

/// Why a sample did not fit its group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Misfit {
    pub(super) routed: Routed,
    /// The column is known to be beyond it.
    pub(super) behind: bool,
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
        let _gate = self.pass_gate();
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
        if routed.iter().any(|routed| routed.group == NO_GROUP) {
            let homeless = routed.iter().filter(|routed| routed.group == NO_GROUP);
            self.check_known(homeless.map(|routed| routed.point.series))?;
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
            log.write(newest_ms, |_segment, record| put_samples(record, &taken));
        }
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
