//! Late samples: older than their series' newest. Sorted lists by series, merged when read, written as blocks of their own.

use crate::storage::append::SeriesId;
use std::collections::BTreeMap;

/// Bytes of memory for one late sample, about.
const SAMPLE_BYTES: usize = 24;

/// What became of a late sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LateAdded {
    /// Taken.
    New,
    /// The same is there.
    Same,
    /// Another value is there at that time.
    Conflict,
}

/// The late samples of all series.
#[derive(Debug, Default)]
pub(crate) struct Late {
    series: BTreeMap<SeriesId, Vec<(i64, u64)>>,
    samples: usize,
}

impl Late {
    /// Adds a sample.
    pub(crate) fn add(&mut self, series: SeriesId, at_ms: i64, bits: u64) -> LateAdded {
        let list = self.series.entry(series).or_default();
        // Late samples mostly come in order among themselves.
        let at = if list.last().is_none_or(|(last, _)| *last < at_ms) {
            Err(list.len())
        } else {
            list.binary_search_by_key(&at_ms, |(at, _)| *at)
        };
        match at {
            Ok(at) if list[at].1 == bits => LateAdded::Same,
            Ok(_) => LateAdded::Conflict,
            Err(at) => {
                list.insert(at, (at_ms, bits));
                self.samples += 1;
                LateAdded::New
            }
        }
    }

    /// Returns the late samples of a series within a range.
    pub(crate) fn get(&self, series: SeriesId, start_ms: i64, end_ms: i64) -> &[(i64, u64)] {
        let Some(list) = self.series.get(&series) else { return &[] };
        let from = list.partition_point(|(at, _)| *at < start_ms);
        let to = list.partition_point(|(at, _)| *at <= end_ms);
        list.get(from..to).unwrap_or_default()
    }

    /// Takes out everything before `end_ms`.
    pub(crate) fn take_before(&mut self, end_ms: i64) -> BTreeMap<SeriesId, Vec<(i64, u64)>> {
        let mut taken = BTreeMap::new();
        for (series, list) in &mut self.series {
            let until = list.partition_point(|(at, _)| *at < end_ms);
            if until > 0 {
                taken.insert(*series, list.drain(..until).collect::<Vec<_>>());
                self.samples -= until;
            }
        }
        self.series.retain(|_, list| !list.is_empty());
        taken
    }

    /// Walks the series that have late samples.
    pub(crate) fn series(&self) -> impl Iterator<Item = SeriesId> {
        self.series.keys().copied()
    }

    /// Returns the bytes of memory held, about.
    pub(crate) const fn memory_bytes(&self) -> usize {
        self.samples * SAMPLE_BYTES
    }

    /// Returns how many samples there are.
    pub(crate) const fn len(&self) -> usize {
        self.samples
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_sorted() {
        let mut late = Late::default();
        for (at_ms, bits, added) in [
            (5, 1, LateAdded::New),
            (3, 1, LateAdded::New),
            (5, 1, LateAdded::Same),
            (3, 2, LateAdded::Conflict),
            (9, 1, LateAdded::New),
        ] {
            assert_eq!(late.add(SeriesId(1), at_ms, bits), added);
        }
        assert_eq!(late.get(SeriesId(1), 3, 8), [(3, 1), (5, 1)]);
        assert_eq!(late.get(SeriesId(2), 0, 9), []);
        assert_eq!(late.len(), 3);
    }
}
