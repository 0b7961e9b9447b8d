//! Cutting the head: what is older than a moment is sealed and taken out, to become blocks.
//!
//! The gate is closed while groups are sealed, so that the log position of a cut means something: every row before it that
//! is older than the cut's end is in what was taken. Readers go on to see everything: sealed generations stay with their
//! groups, late samples and histograms in [`Aside`], until the blocks are there.

use super::group::{SharedGeneration, window_end_ms};
use super::histograms::HistogramSample;
use super::locations::Location;
use super::{Head, lock, read, write};
use crate::storage::append::{GroupId, SeriesId};
use crate::storage::wal::replay::Cover;
use crate::storage::wal::{Log, Position};
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

/// Late samples and histograms that are being written.
#[derive(Debug, Default)]
pub(crate) struct Aside {
    /// Late samples by series, ascending.
    pub(crate) late: BTreeMap<SeriesId, Vec<(i64, u64)>>,
    /// Histograms by series, ascending.
    pub(crate) histograms: BTreeMap<SeriesId, Vec<HistogramSample>>,
}

/// Returns the part of an ascending list within a range.
pub(crate) fn within<T>(list: &[(i64, T)], start_ms: i64, end_ms: i64) -> &[(i64, T)] {
    let from = list.partition_point(|(at, _)| *at < start_ms);
    let to = list.partition_point(|(at, _)| *at <= end_ms);
    list.get(from..to).unwrap_or_default()
}

/// What one cut took.
#[derive(Debug)]
pub(crate) struct Cut {
    /// What of the log it holds.
    pub(crate) cover: Cover,
    /// Sealed generations by half hour.
    pub(crate) generations: BTreeMap<i64, Vec<SharedGeneration>>,
    /// The rest.
    pub(crate) aside: Arc<Aside>,
}

impl Cut {
    /// Returns whether nothing was taken.
    pub(crate) fn is_empty(&self) -> bool {
        self.generations.is_empty() && self.aside.late.is_empty() && self.aside.histograms.is_empty()
    }
}

impl Head {
    /// Seals everything older than `end_ms`, which lies between two half hours or is `i64::MAX`.
    pub(crate) fn cut(&self, log: &Log, end_ms: i64) -> Cut {
        let groups = read(&self.groups).all();
        let closed = self.gate.write().unwrap_or_else(PoisonError::into_inner);
        // A segment that ends here can be dropped whole.
        if let Err(error) = log.next_segment() {
            tracing::debug!(%error, "the log has failed; what was cut becomes blocks all the same");
        }
        let position: Position = log.position();
        let mut generations: BTreeMap<i64, Vec<SharedGeneration>> = BTreeMap::new();
        // Groups made meanwhile have no row before the position.
        for group in groups {
            let mut state = group.lock();
            let is_over = |window: i64| end_ms == i64::MAX || window_end_ms(window) <= end_ms;
            if state.current.as_ref().is_some_and(|current| is_over(lock(current).window)) {
                state.seal();
            }
            for sealed in &state.sealed {
                let generation = lock(sealed);
                if is_over(generation.window) {
                    generations.entry(generation.window).or_default().push(Arc::clone(sealed));
                }
            }
        }
        let aside = Arc::new(Aside {
            late: lock(&self.late).take_before(end_ms),
            histograms: lock(&self.histograms).take_before(end_ms),
        });
        *write(&self.aside) = Arc::clone(&aside);
        drop(closed);
        Cut { cover: Cover { position, end_ms }, generations, aside }
    }

    /// Frees what a cut took: its blocks are there.
    pub(crate) fn finish_cut(&self, cut: &Cut) {
        for group in read(&self.groups).all() {
            let mut state = group.lock();
            if !state.sealed.is_empty() {
                let written =
                    |sealed: &SharedGeneration| cut.generations.values().flatten().any(|taken| Arc::ptr_eq(taken, sealed));
                state.sealed.retain(|sealed| !written(sealed));
            }
        }
        *write(&self.aside) = Arc::default();
        self.forget_places();
    }

    /// Forgets earlier places of series of which no generation is left there.
    fn forget_places(&self) {
        let earlier = read(&self.locations).earlier();
        let is_gone = |(series, place): &(SeriesId, Location)| {
            let Some(group) = self.group(GroupId(place.group)) else { return true };
            let state = group.lock();
            let mut generations = state.sealed.iter().chain(&state.current);
            !generations.any(|generation| lock(generation).find(*series, place.column).is_some())
        };
        let gone: Vec<(SeriesId, Location)> = earlier.into_iter().filter(is_gone).collect();
        write(&self.locations).forget_earlier(&gone);
    }

    /// Puts back what a cut took: its blocks could not be written. Sealed generations are still with their groups.
    pub(crate) fn undo_cut(&self, cut: &Cut) {
        let mut late = lock(&self.late);
        for (series, samples) in &cut.aside.late {
            for (at_ms, bits) in samples {
                late.add(*series, *at_ms, *bits);
            }
        }
        drop(late);
        let mut histograms = lock(&self.histograms);
        for (series, samples) in &cut.aside.histograms {
            for (at_ms, value) in samples {
                histograms.add(*series, *at_ms, value, true);
            }
        }
        drop(histograms);
        *write(&self.aside) = Arc::default();
    }

    /// Returns the bytes of sealed generations and late samples, about: memory that a cut would free.
    pub(crate) fn waiting_bytes(&self) -> usize {
        let groups = read(&self.groups).all();
        let sealed: usize =
            groups.iter().map(|group| group.lock().sealed.iter().map(|sealed| lock(sealed).memory_bytes()).sum::<usize>()).sum();
        sealed + lock(&self.late).memory_bytes()
    }
}
