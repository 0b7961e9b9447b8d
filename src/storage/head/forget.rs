//! Forgetting: series, learned groups and layouts that nothing in memory uses any more.
//!
//! A series is used where a generation, the late samples, histograms or exemplars have it, or the layout of a group that
//! still gets rows. One that was unused at two looks (half an hour apart) is forgotten with its labels. Somebody may still
//! hold its number: what is appended under it then is refused as [`AppendError::Forgotten`], and the holder asks anew.

use super::group::{Group, GroupState};
use super::{Head, LEARNED_PREFIX, lock, read, write};
use crate::storage::append::{AppendError, SeriesId};
use crate::storage::wal::Log;
use crate::storage::wal::names::put_layout;
use roaring::RoaringBitmap;
use std::sync::{Arc, PoisonError};

/// The layout of a group that got no row for so long no longer keeps its series.
const LAYOUT_IDLE_MS: i64 = 3 * 3_600_000;

/// Adds the series that a group's rows hold, and those of its layout while it is in use.
fn add_used(state: &GroupState, newest_ms: i64, used: &mut RoaringBitmap) {
    for shared in state.sealed.iter().chain(&state.current) {
        used.extend(lock(shared).series_with_samples().map(|series| series.0));
    }
    if !state.learned && state.last_ms >= newest_ms.saturating_sub(LAYOUT_IDLE_MS) {
        used.extend(state.layout.iter().map(|series| series.0));
    }
}

impl Head {
    /// Returns the series that something uses.
    fn used(&self) -> RoaringBitmap {
        let mut used = RoaringBitmap::new();
        let newest_ms = self.newest_ms();
        for group in read(&self.groups).all() {
            add_used(&group.lock(), newest_ms, &mut used);
        }
        let aside = Arc::clone(&read(&self.aside));
        used.extend(aside.late.keys().chain(aside.histograms.keys()).map(|series| series.0));
        used.extend(lock(&self.late).series().map(|series| series.0));
        used.extend(lock(&self.histograms).series().map(|series| series.0));
        used.extend(lock(&self.exemplars).series().map(|series| series.0));
        used
    }

    /// Forgets what was unused at the last look and still is; at the start (`at_once`) everything unused. Returns how many
    /// series went.
    pub(crate) fn forget_unused(&self, at_once: bool) -> u64 {
        let mut idle = read(&self.registry).live().clone();
        let before = if at_once { idle.clone() } else { std::mem::take(&mut *lock(&self.idle)) };
        idle -= self.used();
        let doomed = &before & &idle;
        let mut gone = RoaringBitmap::new();
        if !doomed.is_empty() {
            // Nothing is appended meanwhile; what was appended since the look above is seen here.
            let closed = self.gate.write().unwrap_or_else(PoisonError::into_inner);
            gone = doomed - self.used();
            let mut registry = write(&self.registry);
            registry.forget(&gone);
            self.match_cache.clear();
            drop(registry);
            let mut locations = write(&self.locations);
            for series in &gone {
                locations.forget(SeriesId(series));
            }
            drop(locations);
            write(&self.starts).forget(|series| gone.contains(series.0));
            self.forget_groups(&gone);
            drop(closed);
        }
        *lock(&self.idle) = idle - &gone;
        gone.len()
    }

    /// Forgets learned groups of which no member is left, and layouts of other groups that name a series that went. The
    /// gate is closed.
    fn forget_groups(&self, gone: &RoaringBitmap) {
        for group in read(&self.groups).all() {
            let mut state = group.lock();
            if !state.learned && state.current.is_none() && state.layout.iter().any(|series| gone.contains(series.0)) {
                state.layout = Arc::from([]);
            }
        }
        let registry = read(&self.registry);
        let is_empty = |group: &Arc<Group>| {
            let state = group.lock();
            state.learned
                && state.current.is_none()
                && state.sealed.is_empty()
                && !state.layout.iter().any(|series| registry.has(*series) && !gone.contains(series.0))
        };
        let mut groups = write(&self.groups);
        let empty: Vec<u32> = groups.all().iter().filter(|group| is_empty(group)).map(|group| group.id.0).collect();
        drop(registry);
        let mut parts = lock(&self.learned_parts);
        for name in groups.forget(&empty) {
            if let Some((target, _)) = name.rsplit_once('#').filter(|_| name.starts_with(LEARNED_PREFIX)) {
                parts.remove(target);
            }
        }
    }

    /// Says whether all these series are known still.
    pub(crate) fn check_known(&self, mut series: impl Iterator<Item = SeriesId>) -> Result<(), AppendError> {
        let registry = read(&self.registry);
        if series.all(|series| registry.has(series)) { Ok(()) } else { Err(AppendError::Forgotten) }
    }

    /// A learned group begins a half hour: members without a sample in the last one leave its layout, but for those in
    /// `staying`.
    pub(super) fn drop_idle_members(&self, log: &Log, group: &Group, state: &mut GroupState, staying: &[SeriesId]) {
        let Some(last) = state.sealed.last().map(Arc::clone) else { return };
        let mut kept: RoaringBitmap = lock(&last).series_with_samples().map(|series| series.0).collect();
        kept.extend(staying.iter().map(|series| series.0));
        let (stay, leave): (Vec<SeriesId>, Vec<SeriesId>) = state.layout.iter().partition(|series| kept.contains(series.0));
        if leave.len() * 8 <= state.layout.len() {
            return;
        }
        state.layout = stay.into();
        state.next_version();
        log.define(|names| put_layout(names, group.id, state.version, 0, &state.layout));
        let mut locations = write(&self.locations);
        for series in leave {
            if locations.newest(series).is_some_and(|place| place.group == group.id.0) {
                locations.leave(series);
            }
        }
        for (column, series) in state.layout.iter().enumerate() {
            if locations.newest(*series).is_some_and(|place| place.group == group.id.0) {
                locations.set(*series, super::locations::Location { group: group.id.0, column: column as u32 });
            }
        }
    }
}
