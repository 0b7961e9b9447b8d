//! Exemplars: a bounded ring over all series, newest kept.

use super::append::SeriesId;
use crate::model::exemplar::Exemplar;
use crate::model::limits::EXEMPLAR_CHARS;
use std::collections::{BTreeMap, VecDeque};

/// The newest exemplars.
#[derive(Debug)]
pub(crate) struct Exemplars {
    ring: VecDeque<(SeriesId, Exemplar)>,
    /// The newest of each series: an exporter repeats its exemplar in each scrape.
    newest: BTreeMap<SeriesId, Exemplar>,
    max: usize,
}

impl Exemplars {
    /// Returns an empty ring of at most `max`.
    pub(crate) const fn new(max: usize) -> Self {
        Self { ring: VecDeque::new(), newest: BTreeMap::new(), max }
    }

    /// Adds exemplars of a series; repeated, older and too long ones are left out. Returns how many were taken.
    pub(crate) fn add(&mut self, series: SeriesId, fresh: &[Exemplar]) -> usize {
        let mut added = 0;
        for exemplar in fresh.iter().filter(|exemplar| self.max > 0 && is_short(exemplar)) {
            if self.newest.get(&series).is_some_and(|known| known == exemplar || known.at_ms > exemplar.at_ms) {
                continue;
            }
            if self.ring.len() >= self.max
                && let Some((gone, old)) = self.ring.pop_front()
                && self.newest.get(&gone) == Some(&old)
            {
                self.newest.remove(&gone);
            }
            self.newest.insert(series, exemplar.clone());
            self.ring.push_back((series, exemplar.clone()));
            added += 1;
        }
        added
    }

    /// Returns everything in order of arrival, neighbours of one series together: added again one after the other they make
    /// the same ring.
    pub(crate) fn all(&self) -> Vec<(SeriesId, Vec<Exemplar>)> {
        let mut found: Vec<(SeriesId, Vec<Exemplar>)> = Vec::new();
        for (series, exemplar) in &self.ring {
            match found.last_mut() {
                Some((last, list)) if last == series => list.push(exemplar.clone()),
                _ => found.push((*series, vec![exemplar.clone()])),
            }
        }
        found
    }

    /// Walks the series that have exemplars.
    pub(crate) fn series(&self) -> impl Iterator<Item = SeriesId> {
        self.newest.keys().copied()
    }

    /// Returns the exemplars of the series for which `wanted` says yes, within a range, by series.
    pub(crate) fn find(
        &self,
        start_ms: i64,
        end_ms: i64,
        wanted: impl Fn(SeriesId) -> bool,
    ) -> BTreeMap<SeriesId, Vec<Exemplar>> {
        let mut found = BTreeMap::<_, Vec<Exemplar>>::new();
        for (series, exemplar) in &self.ring {
            let within = exemplar.at_ms.is_some_and(|at_ms| at_ms >= start_ms && at_ms <= end_ms);
            if within && wanted(*series) {
                found.entry(*series).or_default().push(exemplar.clone());
            }
        }
        for list in found.values_mut() {
            list.sort_by_key(|exemplar| exemplar.at_ms);
        }
        found
    }

    /// Returns how many are held.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.ring.len()
    }
}

/// Returns whether an exemplar keeps to OpenMetrics' bound.
fn is_short(exemplar: &Exemplar) -> bool {
    let chars = exemplar.labels.iter().map(|(name, value)| name.chars().count() + value.chars().count());
    chars.sum::<usize>() <= EXEMPLAR_CHARS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::labels::Labels;

    #[test]
    fn keeps_the_newest_and_no_repetition() {
        let exemplar = |at_ms| Exemplar { labels: Labels::from_pairs([("trace_id", "x")]), value: 1.0, at_ms: Some(at_ms) };
        let mut ring = Exemplars::new(3);
        for at_ms in [1, 1, 2, 3, 2, 4] {
            ring.add(SeriesId(1), &[exemplar(at_ms)]);
        }
        let found = ring.find(0, 10, |_| true);
        let times: Vec<_> = found[&SeriesId(1)].iter().filter_map(|exemplar| exemplar.at_ms).collect();
        assert_eq!(times, [2, 3, 4]);
        assert_eq!(ring.len(), 3);
        assert!(ring.find(0, 10, |series| series != SeriesId(1)).is_empty());
        ring.add(SeriesId(2), &[exemplar(4)]);
        let all: Vec<_> = ring.all().into_iter().map(|(series, list)| (series.0, list.len())).collect();
        assert_eq!(all, [(1, 2), (2, 1)]);
    }

    #[test]
    fn long_ones_are_left_out() {
        let exemplar = |length: usize| Exemplar {
            labels: Labels::from_pairs([("id", "ä".repeat(length - 2))]),
            value: 1.0,
            at_ms: Some(length as i64),
        };
        let mut ring = Exemplars::new(3);
        assert_eq!(ring.add(SeriesId(1), &[exemplar(EXEMPLAR_CHARS), exemplar(EXEMPLAR_CHARS + 1)]), 1);
    }
}
