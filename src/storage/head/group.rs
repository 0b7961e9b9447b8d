//! A group: series that are sampled together, its layout, and its generations.

use super::generation::Generation;
use super::{WINDOW_MS, lock};
use crate::storage::append::{GroupId, SeriesId};
use std::sync::{Arc, Mutex, MutexGuard};

/// A generation that readers may hold while it is still filled, or after it was freed here.
pub(crate) type SharedGeneration = Arc<Mutex<Generation>>;

/// A group.
#[derive(Debug)]
pub(crate) struct Group {
    /// Its number.
    pub(crate) id: GroupId,
    state: Mutex<GroupState>,
}

/// A place in a layout that has no column: the series stands in the layout twice.
pub(crate) const NO_COLUMN: u32 = u32::MAX;

/// What changes in a group.
#[derive(Debug)]
pub(crate) struct GroupState {
    /// The ordered list of series that rows speak of.
    pub(crate) layout: Arc<[SeriesId]>,
    /// Number of the layout; 0: none yet.
    pub(crate) version: u32,
    /// Layout numbers up to here were given once, though their definition may be lost.
    pub(crate) reserved: u32,
    /// For each place of the layout its column in the present generation; empty: the same number.
    pub(crate) columns: Vec<u32>,
    /// Whether the present generation's columns are those of the layout, all taking part in each row.
    pub(crate) entered: bool,
    /// The generation that is filled.
    pub(crate) current: Option<SharedGeneration>,
    /// Full generations, oldest first, until their block is written.
    pub(crate) sealed: Vec<SharedGeneration>,
    /// Time of the newest row.
    pub(crate) last_ms: i64,
    /// Whether the store itself put these series together (columns are then places of the layout).
    pub(crate) learned: bool,
    /// What the log's segment knows of this group.
    pub(crate) logged: Logged,
}

/// Which log segment has rows of a group, and the time of the last.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Logged {
    /// Number of the segment; 0: none.
    pub(crate) segment: u64,
    /// Time of its last row of this group.
    pub(crate) last_ms: i64,
}

impl Group {
    /// Returns a group without series.
    pub(crate) fn new(id: GroupId) -> Self {
        Self {
            id,
            state: Mutex::new(GroupState {
                layout: Arc::from([]),
                version: 0,
                reserved: 0,
                columns: Vec::new(),
                entered: false,
                current: None,
                sealed: Vec::new(),
                last_ms: i64::MIN,
                learned: false,
                logged: Logged::default(),
            }),
        }
    }

    /// Locks the group.
    pub(crate) fn lock(&self) -> MutexGuard<'_, GroupState> {
        lock(&self.state)
    }
}

impl GroupState {
    /// Returns the generation that takes rows of `window`, sealing an older one. `None` where a newer one is open already.
    pub(crate) fn generation(&mut self, window: i64) -> Option<SharedGeneration> {
        if let Some(current) = &self.current {
            let open = lock(current).window;
            if open == window {
                return Some(Arc::clone(current));
            }
            if open > window {
                return None;
            }
        }
        self.seal();
        let fresh = Arc::new(Mutex::new(Generation::new(window)));
        self.current = Some(Arc::clone(&fresh));
        Some(fresh)
    }

    /// Ends the present generation.
    pub(crate) fn seal(&mut self) {
        if let Some(full) = self.current.take() {
            self.sealed.push(full);
        }
        self.entered = false;
        self.columns = Vec::new();
    }

    /// Takes the number of a new layout.
    pub(crate) fn next_version(&mut self) {
        self.version = self.version.max(self.reserved) + 1;
    }

    /// Returns whether `series` is the present layout.
    pub(crate) fn is_layout(&self, series: &Arc<[SeriesId]>) -> bool {
        self.version > 0 && (Arc::ptr_eq(&self.layout, series) || self.layout == *series)
    }

    /// Makes the layout's series take part in each row of the present generation.
    pub(crate) fn enter(&mut self, generation: &mut Generation) {
        if self.entered {
            return;
        }
        self.entered = true;
        let before = generation.series().len() as u32;
        if before == 0 {
            generation.reserve(self.layout.len());
        } else {
            generation.set_open(0..before, false);
        }
        // All are looked for before the first is added: a column that came since makes the next search sort all of them.
        let find = |(slot, series): (usize, &SeriesId)| if before == 0 { None } else { generation.find(*series, slot as u32) };
        let known: Vec<Option<u32>> = self.layout.iter().enumerate().map(find).collect();
        let series = self.layout.iter();
        let places = known.into_iter().zip(series).map(|(known, series)| known.unwrap_or_else(|| generation.add_column(*series)));
        let places = places.collect();
        self.columns = without_doubles(generation, places);
        generation.set_open(self.layout_columns(), true);
    }

    /// Gives all series of a learned layout their columns: those are the layout's places.
    pub(crate) fn add_layout_columns(&self, generation: &mut Generation) {
        let known = generation.series().len();
        let fresh = self.layout.get(known..).unwrap_or_default();
        if !fresh.is_empty() {
            generation.reserve(fresh.len());
            for series in fresh {
                generation.add_column(*series);
            }
        }
    }

    /// Walks the columns of the layout.
    pub(crate) fn layout_columns(&self) -> impl Iterator<Item = u32> + use<> {
        let mapped = self.columns.clone();
        let direct = if mapped.is_empty() { 0..self.layout.len() as u32 } else { 0..0 };
        direct.chain(mapped.into_iter().filter(|column| *column != NO_COLUMN))
    }

    /// Walks the columns of the layout as ranges.
    pub(crate) fn column_ranges(&self) -> impl Iterator<Item = std::ops::Range<u32>> {
        let direct = if self.columns.is_empty() { 0..self.layout.len() as u32 } else { 0..0 };
        let mapped = self.columns.iter().filter(|column| **column != NO_COLUMN).map(|column| *column..*column + 1);
        std::iter::once(direct).chain(mapped)
    }

    /// Returns the column of a place in the layout.
    pub(crate) fn column_of(&self, slot: usize) -> u32 {
        self.columns.get(slot).copied().unwrap_or(slot as u32)
    }

    /// Ends the taking part of all columns, so that rows may be filled column by column.
    pub(crate) fn leave(&mut self, generation: &mut Generation) {
        if self.entered {
            generation.set_open(self.layout_columns(), false);
            self.entered = false;
        }
    }
}

/// A series that stands in the layout twice was added twice: the second place gets no column.
fn without_doubles(generation: &Generation, mut places: Vec<u32>) -> Vec<u32> {
    let mut seen = hashbrown::HashSet::<SeriesId, foldhash::fast::RandomState>::default();
    let mut direct = true;
    for (slot, place) in places.iter_mut().enumerate() {
        if !generation.series().get(*place as usize).is_some_and(|series| seen.insert(*series)) {
            *place = NO_COLUMN;
        }
        direct &= *place == slot as u32;
    }
    if direct { Vec::new() } else { places }
}

/// Returns the first millisecond after a window.
pub(crate) const fn window_end_ms(window: i64) -> i64 {
    (window + 1) * WINDOW_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_new_series_are_looked_for_before_they_are_added() {
        let group = Group::new(GroupId(0));
        let mut state = group.lock();
        let shared = state.generation(0).expect("nothing newer is open");
        let mut generation = lock(&shared);
        for layout in [&[3, 1, 2][..], &[9, 8, 3, 7, 6, 5, 4][..]] {
            state.leave(&mut generation);
            state.layout = layout.iter().map(|id| SeriesId(*id)).collect();
            state.enter(&mut generation);
        }
        assert_eq!(generation.sorts, 1);
        assert_eq!(generation.series().len(), 9);
        assert_eq!(state.layout_columns().collect::<Vec<_>>(), [3, 4, 0, 5, 6, 7, 8]);
    }
}
