//! Start timestamps of the head: when what a counter or histogram counts began. One holds for many samples, so they are kept as
//! steps; series without them cost nothing.

use crate::storage::append::SeriesId;
use std::collections::BTreeMap;
use std::sync::Arc;

/// From a time on samples have a start timestamp: both in milliseconds; 0: none.
pub(crate) type StartStep = (i64, i64);

/// The steps of all series that have any, ascending in time.
#[derive(Debug, Default)]
pub(crate) struct Starts {
    series: BTreeMap<SeriesId, Vec<StartStep>>,
}

/// Returns the start timestamp of a time.
pub(crate) fn start_at(steps: &[StartStep], at_ms: i64) -> i64 {
    let behind = steps.partition_point(|(from_ms, _)| *from_ms <= at_ms);
    behind.checked_sub(1).and_then(|last| steps.get(last)).map_or(0, |(_, start_ms)| *start_ms)
}

/// Returns the start timestamps of ascending times; `None` where no time has one.
pub(crate) fn starts_of(steps: &[StartStep], times: &[i64]) -> Option<Arc<[i64]>> {
    if steps.is_empty() {
        return None;
    }
    let starts: Arc<[i64]> = times.iter().map(|at_ms| start_at(steps, *at_ms)).collect();
    starts.iter().any(|start_ms| *start_ms != 0).then_some(starts)
}

impl Starts {
    /// Notes the start timestamp of the sample at a time; it holds for those behind it, up to the next that is noted. Returns
    /// whether that was news.
    pub(crate) fn note(&mut self, series: SeriesId, at_ms: i64, start_ms: i64) -> bool {
        if start_at(self.get(series), at_ms) == start_ms {
            return false;
        }
        let steps = self.series.entry(series).or_default();
        let before = start_at(steps, at_ms);
        let at = steps.partition_point(|(from_ms, _)| *from_ms < at_ms);
        let is_newest = at == steps.len();
        match steps.get_mut(at) {
            Some(step) if step.0 == at_ms => step.1 = start_ms,
            _ => steps.insert(at, (at_ms, start_ms)),
        }
        // A late one is that sample's alone.
        if !is_newest && steps.get(at + 1).is_none_or(|(from_ms, _)| *from_ms > at_ms + 1) {
            steps.insert(at + 1, (at_ms + 1, before));
        }
        true
    }

    /// Returns the steps of a series.
    pub(crate) fn get(&self, series: SeriesId) -> &[StartStep] {
        self.series.get(&series).map_or(&[], Vec::as_slice)
    }

    /// Returns whether no series has any.
    pub(crate) fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// Walks the steps of all series.
    pub(crate) fn all(&self) -> impl Iterator<Item = (SeriesId, &[StartStep])> {
        self.series.iter().map(|(series, steps)| (*series, steps.as_slice()))
    }

    /// Forgets what only times before `end_ms` need.
    pub(crate) fn forget_before(&mut self, end_ms: i64) {
        self.series.retain(|_, steps| {
            let behind = steps.partition_point(|(from_ms, _)| *from_ms <= end_ms);
            steps.drain(..behind.saturating_sub(1));
            !matches!(steps.as_slice(), [] | [(_, 0)])
        });
    }

    /// Forgets series.
    pub(crate) fn forget(&mut self, is_gone: impl Fn(SeriesId) -> bool) {
        self.series.retain(|series, _| !is_gone(*series));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_holds_until_the_next() {
        let (mut starts, series) = (Starts::default(), SeriesId(7));
        assert!(!starts.note(series, 5, 0), "none is no news");
        assert!(starts.is_empty());
        assert!(starts.note(series, 10, 3) && !starts.note(series, 20, 3) && starts.note(series, 30, 25));
        let at = |starts: &Starts, times: &[i64]| starts_of(starts.get(series), times).map(|starts| starts.to_vec());
        assert_eq!(at(&starts, &[9, 10, 29, 30, 99]), Some(vec![0, 3, 3, 25, 25]));
        assert_eq!(at(&starts, &[1, 2]), None);
        // Late ones.
        assert!(starts.note(series, 15, 12) && starts.note(series, 29, 0) && starts.note(series, 2, 1));
        assert_eq!(at(&starts, &[1, 2, 3, 10, 14, 15, 16, 28, 29, 30]), Some(vec![0, 1, 0, 3, 3, 12, 3, 3, 0, 25]));
        starts.forget_before(17);
        assert_eq!(at(&starts, &[16, 17, 29, 30]), Some(vec![3, 3, 0, 25]));
        starts.forget_before(i64::MAX);
        assert_eq!(starts.get(series), [(30, 25)]);
        starts.note(series, 40, 0);
        starts.forget_before(i64::MAX);
        assert!(starts.is_empty());
    }
}
