//! Native histograms of the head: sorted lists by series, apart from the floats.

use crate::model::histogram::FloatHistogram;
use crate::storage::append::SeriesId;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One histogram sample.
pub(crate) type HistogramSample = (i64, Arc<FloatHistogram>);

/// What became of a histogram sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HistogramAdded {
    /// Taken, in order.
    New,
    /// The same is there.
    Same,
    /// Another value is there at that time.
    Conflict,
    /// Older than the newest: not taken.
    Older,
}

/// The histogram samples of all series.
#[derive(Debug, Default)]
pub(crate) struct Histograms {
    series: BTreeMap<SeriesId, Vec<HistogramSample>>,
}

impl Histograms {
    /// Adds a sample; `late` says whether it may be older than the newest.
    pub(crate) fn add(&mut self, series: SeriesId, at_ms: i64, value: &Arc<FloatHistogram>, late: bool) -> HistogramAdded {
        let list = self.series.entry(series).or_default();
        match list.binary_search_by_key(&at_ms, |(at, _)| *at) {
            Ok(at) if list[at].1 == *value => HistogramAdded::Same,
            Ok(_) => HistogramAdded::Conflict,
            Err(at) if at < list.len() && !late => HistogramAdded::Older,
            Err(at) => {
                list.insert(at, (at_ms, Arc::clone(value)));
                HistogramAdded::New
            }
        }
    }

    /// Returns the samples of a series within a range.
    pub(crate) fn get(&self, series: SeriesId, start_ms: i64, end_ms: i64) -> &[HistogramSample] {
        let Some(list) = self.series.get(&series) else { return &[] };
        let from = list.partition_point(|(at, _)| *at < start_ms);
        let to = list.partition_point(|(at, _)| *at <= end_ms);
        list.get(from..to).unwrap_or_default()
    }

    /// Walks the series that have histograms.
    pub(crate) fn series(&self) -> impl Iterator<Item = SeriesId> {
        self.series.keys().copied()
    }

    /// Returns whether there is none at all, which lets readers skip the lookup.
    pub(crate) fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// Takes out all samples before `end_ms`.
    pub(crate) fn take_before(&mut self, end_ms: i64) -> BTreeMap<SeriesId, Vec<HistogramSample>> {
        let mut taken = BTreeMap::new();
        for (series, list) in &mut self.series {
            let until = list.partition_point(|(at, _)| *at < end_ms);
            if until > 0 {
                taken.insert(*series, list.drain(..until).collect());
            }
        }
        self.series.retain(|_, list| !list.is_empty());
        taken
    }
}
