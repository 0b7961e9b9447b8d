//! Appending one row of a group: the fast path of scrapes and rules.
//!
//! One lock for the row; for each value a comparison with the last bits, and a token where they differ. The log's record
//! is a bitmap of the changed places and their tokens ([`super::logged`]).

use super::generation::Generation;
use super::group::{GroupState, NO_COLUMN};
use super::locations::Location;
use super::logged::Changed;
use super::points::{Limits, Point};
use super::{Head, TIME_MAX_MS, lock, window_of, write};
use crate::storage::append::{AppendError, Appended, GroupId, SeriesId};
use crate::storage::column::varint::{put_signed, put_varint};
use crate::storage::wal::Log;
use crate::storage::wal::names::put_layout;
use crate::storage::wal::record::Kind;
use std::sync::Arc;

impl Head {
    /// Appends a row; see [`crate::storage::append::Append::append_row`].
    pub(crate) fn append_row(
        &self,
        log: &Log,
        group: GroupId,
        at_ms: i64,
        series: &Arc<[SeriesId]>,
        values: &[f64],
        limits: Limits,
    ) -> Result<Appended, AppendError> {
        if series.len() != values.len() {
            return Err(AppendError::Limit(format!("{} values for {} series", values.len(), series.len())));
        }
        if at_ms.abs() > TIME_MAX_MS {
            return Ok(Appended { too_far: values.len() as u64, ..Appended::default() });
        }
        let gate = self.pass_gate();
        let known = self.group(group).ok_or(AppendError::Forgotten)?;
        let mut state = known.lock();
        if at_ms <= state.last_ms || at_ms < limits.oldest_ms {
            // Repeated or late: each sample finds its own way.
            drop(state);
            drop(gate);
            let points = series.iter().zip(values).map(|(series, value)| Point { series: *series, at_ms, value: *value });
            let appended = self.append_points(log, points, Some(group), limits);
            hand_over(log);
            return appended;
        }
        let is_layout = state.is_layout(series);
        if !is_layout {
            self.check_known(series.iter().copied())?;
        }
        let Some(shared) = state.generation(window_of(at_ms)) else {
            return Err(AppendError::Limit("a newer generation is open".to_owned()));
        };
        let mut generation = lock(&shared);
        if !is_layout {
            self.change_layout(log, group, &mut state, &mut generation, series);
        } else if !state.entered {
            // After a start the layout may be known although none of its rows is in memory.
            state.enter(&mut generation);
            self.locate(group, &state, series);
        }
        let row = generation.add_row(at_ms);
        let appended = push_row(log, group, &mut state, &mut generation, row, values);
        drop(generation);
        state.last_ms = at_ms;
        self.saw_time(at_ms);
        Ok(appended)
    }

    fn change_layout(
        &self,
        log: &Log,
        group: GroupId,
        state: &mut GroupState,
        generation: &mut Generation,
        series: &Arc<[SeriesId]>,
    ) {
        state.leave(generation);
        state.layout = Arc::clone(series);
        state.next_version();
        log.define(|names| put_layout(names, group, state.version, 0, series));
        state.enter(generation);
        self.locate(group, state, series);
    }

    /// Says where the samples of a layout's series are.
    fn locate(&self, group: GroupId, state: &GroupState, series: &Arc<[SeriesId]>) {
        let mut locations = write(&self.locations);
        for (slot, series) in series.iter().enumerate() {
            let column = state.column_of(slot);
            if column != NO_COLUMN {
                locations.set(*series, Location { group: group.0, column });
            }
        }
    }
}

/// Pushes the values of a new row and logs it.
fn push_row(
    log: &Log,
    group: GroupId,
    state: &mut GroupState,
    generation: &mut Generation,
    row: u32,
    values: &[f64],
) -> Appended {
    let mut appended = Appended::default();
    let mut changed = Vec::with_capacity(values.len() / 2);
    for (slot, value) in values.iter().enumerate() {
        let column = state.column_of(slot);
        if column == NO_COLUMN {
            appended.duplicate += 1;
            continue;
        }
        if let Some(step) = generation.push_open(column, row, *value) {
            changed.push(Changed { place: slot as u32, column, step });
        }
    }
    appended.stored = values.len() as u64 - appended.duplicate;
    generation.count(appended.stored);
    let at_ms = generation.times().last().copied().unwrap_or(0);
    log.write(at_ms, |segment, record| {
        let last_ms = if state.logged.segment == segment { state.logged.last_ms } else { 0 };
        record.push(Kind::Row as u8);
        put_varint(record, u64::from(group.0));
        put_varint(record, u64::from(state.version));
        put_signed(record, at_ms - last_ms);
        if generation.is_known(segment, state.column_ranges()) {
            generation.put_known(record, values.len(), &changed);
        } else {
            let columns = (0..values.len()).map(|slot| state.column_of(slot));
            generation.put_anew(record, segment, values.len(), columns, &changed);
        }
        state.logged.segment = segment;
        state.logged.last_ms = at_ms;
    });
    hand_over(log);
    appended
}

/// The row is in the system's hands before a reader can see it. A failure is the log's to tell; the head goes on.
fn hand_over(log: &Log) {
    if log.flush().is_err() {
        tracing::trace!("the row is in memory alone");
    }
}
