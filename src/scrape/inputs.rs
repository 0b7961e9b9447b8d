//! Whether a target's scrape changed what watched rule groups read.
//!
//! Which series of the target are inputs is found once for each layout of its row; after that a scrape costs a comparison of
//! those few values with the ones before, and a look at one number where no group is watched.

use crate::model::rule_inputs::{RuleInput, RuleInputs};
use crate::storage::append::{Append, SeriesId};
use std::sync::Arc;
use tokio::sync::watch;

/// A value of the row that a watched group reads.
#[derive(Clone, Copy, Debug)]
struct Slot {
    /// Its place in the row.
    place: usize,
    series: SeriesId,
    /// Which group reads it.
    group: usize,
    every_sample: bool,
    /// The bits of the last value: a stale marker is a value as well.
    last: u64,
}

impl Slot {
    const fn key(&self) -> (usize, SeriesId) {
        (self.group, self.series)
    }
}

/// What a loop remembers of the inputs among its series.
#[derive(Debug)]
pub(super) struct Inputs {
    published: watch::Receiver<Arc<RuleInputs>>,
    held: Arc<RuleInputs>,
    layout: Arc<[SeriesId]>,
    /// Sorted by group and series.
    slots: Vec<Slot>,
    /// Series beside the row, and the groups that read any of them.
    beside: Vec<SeriesId>,
    beside_groups: Vec<usize>,
}

impl Inputs {
    /// Returns what knows nothing yet.
    pub(super) fn new(published: &watch::Receiver<Arc<RuleInputs>>) -> Self {
        let mut published = published.clone();
        let held = Arc::clone(&published.borrow_and_update());
        Self { published, held, layout: Arc::from([]), slots: Vec::new(), beside: Vec::new(), beside_groups: Vec::new() }
    }

    /// Returns whether any group is watched; only then the rest is worth while.
    pub(super) fn are_watched(&mut self) -> bool {
        // A closed channel says nothing new.
        if self.published.has_changed().unwrap_or(false) {
            *self = Self::new(&self.published);
        }
        !self.held.groups.is_empty()
    }

    /// Wakes the groups whose inputs this row changed. `beside`: series that got samples beside the row.
    pub(super) fn written(
        &mut self,
        append: &dyn Append,
        at_ms: i64,
        layout: &Arc<[SeriesId]>,
        values: &[f64],
        beside: impl Iterator<Item = SeriesId>,
    ) {
        if !self.are_watched() {
            return;
        }
        let mut woken = vec![false; self.held.groups.len()];
        if !Arc::ptr_eq(&self.layout, layout) {
            self.look_up(append, layout, &mut woken);
        }
        for slot in &mut self.slots {
            let bits = values.get(slot.place).map_or(0, |value| value.to_bits());
            woken[slot.group] |= slot.every_sample || bits != slot.last;
            slot.last = bits;
        }
        let beside: Vec<SeriesId> = beside.collect();
        if beside != self.beside {
            self.beside_groups = self.inputs_among(append, &beside).into_iter().map(|(_, group, _)| group).collect();
            self.beside_groups.sort_unstable();
            self.beside_groups.dedup();
            self.beside = beside;
        }
        for group in &self.beside_groups {
            woken[*group] = true;
        }
        for (group, _) in self.held.groups.iter().zip(woken).filter(|(_, woken)| *woken) {
            (group.wake)(at_ms);
        }
    }

    /// Finds the inputs among a new row's series. A group that reads other ones than before is woken: some began or ended.
    fn look_up(&mut self, append: &dyn Append, layout: &Arc<[SeriesId]>, woken: &mut [bool]) {
        let inputs = self.inputs_among(append, layout).into_iter();
        let known = |group: usize, series: SeriesId| self.slots.binary_search_by_key(&(group, series), Slot::key).ok();
        let mut found: Vec<Slot> = inputs
            .map(|(place, group, every_sample)| {
                let series = layout[place];
                let last = known(group, series).and_then(|at| self.slots.get(at)).map_or(0, |slot| slot.last);
                Slot { place, series, group, every_sample, last }
            })
            .collect();
        found.sort_unstable_by_key(Slot::key);
        for (one, other) in [(&self.slots, &found), (&found, &self.slots)] {
            for slot in one.iter().filter(|slot| other.binary_search_by_key(&slot.key(), Slot::key).is_err()) {
                woken[slot.group] = true;
            }
        }
        self.slots = found;
        self.layout = Arc::clone(layout);
    }

    /// Returns place, group and whether every sample counts, once for each series and group that reads it.
    fn inputs_among(&self, append: &dyn Append, series: &[SeriesId]) -> Vec<(usize, usize, bool)> {
        let groups = self.held.groups.iter().enumerate();
        let all: Vec<(usize, &RuleInput)> =
            groups.flat_map(|(group, watched)| watched.inputs.iter().map(move |input| (group, input))).collect();
        let matchers: Vec<_> = all.iter().map(|(_, input)| input.matchers.as_slice()).collect();
        let mut found: Vec<(usize, usize, bool)> = Vec::new();
        append.matching(series, &matchers, &mut |place, which| {
            let (group, input) = all[which];
            found.push((place, group, input.every_sample));
        });
        // The one by which every sample counts comes first and stays.
        found.sort_unstable_by_key(|(place, group, every_sample)| (*place, *group, !*every_sample));
        found.dedup_by_key(|(place, group, _)| (*place, *group));
        found
    }
}
