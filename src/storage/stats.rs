//! What the store holds, for the status pages and metrics.

use super::blocks::BlockSet;
use super::error::StoreError;
use super::head::{Head, lock, read};
use super::index::matchers::PairIndex;
use crate::model::labels::METRIC_NAME;
use roaring::RoaringBitmap;
use std::collections::BTreeMap;

/// What the store holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Series in the head.
    pub series: u64,
    /// Groups in the head.
    pub groups: u64,
    /// Columns in the head: one series over the rows of one half hour.
    pub head_columns: u64,
    /// Samples in the head.
    pub head_samples: u64,
    /// Oldest time in the head, `None` where it is empty.
    pub head_min_ms: Option<i64>,
    /// Newest time in the head.
    pub head_max_ms: Option<i64>,
    /// Bytes of memory of the head, about.
    pub head_bytes: u64,
    /// Distinct label pairs.
    pub label_pairs: u64,
    /// Blocks on disk.
    pub blocks: u64,
    /// Bytes of the blocks.
    pub block_bytes: u64,
    /// Samples in the blocks.
    pub block_samples: u64,
    /// Oldest time in the blocks.
    pub block_min_ms: Option<i64>,
}

/// The widest labels, as Prometheus's `/api/v1/status/tsdb` tells them; each list is sorted, largest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cardinality {
    /// Series of each metric name.
    pub series_by_metric: Vec<(String, u64)>,
    /// Distinct values of each label name.
    pub values_by_label: Vec<(String, u64)>,
    /// Bytes of the values of each label name, counted for each series.
    pub bytes_by_label: Vec<(String, u64)>,
    /// Series of each label pair, as `name=value`.
    pub series_by_pair: Vec<(String, u64)>,
}

/// How many series carry each value of one label.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelCardinality {
    /// Values and their series, largest first.
    pub values: Vec<(String, u64)>,
    /// How many values there are, those left out included.
    pub all_values: u64,
}

impl LabelCardinality {
    /// Counts in the head and in the blocks of the newest `since_ms`; of several places that know a value the largest count
    /// is told. Work in proportion to the label's values, not to series.
    pub(crate) fn of(head: &Head, blocks: &BlockSet, name: &str, since_ms: i64, limit: usize) -> Result<Self, StoreError> {
        fn count(index: &impl PairIndex, name: &str, found: &mut BTreeMap<String, u64>) {
            let mut carriers = RoaringBitmap::new();
            for pair in index.pairs_of(name).iter_from(0) {
                carriers.clear();
                index.add_postings(pair, &mut carriers);
                let series = carriers.len();
                if series > 0 {
                    let known = found.entry(index.value_of(pair).to_owned()).or_default();
                    *known = series.max(*known);
                }
            }
        }
        let mut found = BTreeMap::new();
        count(&*read(&head.registry), name, &mut found);
        for block in blocks.list().iter().filter(|block| block.header.max_ms >= since_ms) {
            match block.index() {
                Ok(index) => count(&*index, name, &mut found),
                Err(StoreError::Corrupt { reason, .. }) => block.note_bad(&reason),
                Err(error) => return Err(error),
            }
        }
        let all_values = found.len() as u64;
        let mut values: Vec<(String, u64)> = found.into_iter().collect();
        values.sort_by(|left, right| right.1.cmp(&left.1).then_with(|| left.0.cmp(&right.0)));
        values.truncate(limit);
        Ok(Self { values, all_values })
    }
}

impl StoreStats {
    /// Counts what head and blocks hold.
    pub(crate) fn of(head: &Head, blocks: &BlockSet) -> Self {
        let mut stats = Self::default();
        for block in blocks.list().iter() {
            stats.blocks += 1;
            stats.block_bytes += block.bytes;
            stats.block_samples += block.header.samples;
            stats.block_min_ms = Some(stats.block_min_ms.map_or(block.header.min_ms, |known| known.min(block.header.min_ms)));
        }
        {
            let registry = read(&head.registry);
            stats.series = registry.live().len();
            stats.head_bytes = registry.memory_bytes() as u64;
            stats.label_pairs = registry.names().map(|(_, pairs)| pairs.len() as u64).sum();
        }
        stats.head_bytes += read(&head.locations).memory_bytes() as u64;
        let groups = read(&head.groups).all();
        stats.groups = groups.len() as u64;
        for group in groups {
            let state = group.lock();
            stats.head_bytes += (state.layout.len() * 4) as u64;
            for shared in state.sealed.iter().chain(&state.current) {
                let generation = lock(shared);
                stats.head_columns += generation.series().len() as u64;
                stats.head_samples += generation.samples();
                stats.head_bytes += generation.memory_bytes() as u64;
                if let (Some(first), Some(last)) = (generation.times().first(), generation.times().last()) {
                    stats.head_min_ms = Some(stats.head_min_ms.map_or(*first, |known| known.min(*first)));
                    stats.head_max_ms = Some(stats.head_max_ms.map_or(*last, |known| known.max(*last)));
                }
            }
        }
        let late = lock(&head.late);
        stats.head_samples += late.len() as u64;
        stats.head_bytes += late.memory_bytes() as u64;
        stats
    }
}

impl Cardinality {
    /// Counts the `limit` widest of each kind.
    pub(crate) fn of(head: &Head, limit: usize) -> Self {
        let registry = read(&head.registry);
        let mut found = Self::default();
        for (name, pairs) in registry.names() {
            let mut values = 0;
            let mut bytes = 0;
            for pair in pairs {
                let series = registry.postings(*pair).len();
                let value = registry.value_of(*pair);
                values += u64::from(series > 0);
                bytes += series * value.len() as u64;
                found.series_by_pair.push((format!("{name}={value}"), series));
                if name == METRIC_NAME {
                    found.series_by_metric.push((value.to_owned(), series));
                }
            }
            found.values_by_label.push((name.to_owned(), values));
            found.bytes_by_label.push((name.to_owned(), bytes));
        }
        for list in
            [&mut found.series_by_metric, &mut found.values_by_label, &mut found.bytes_by_label, &mut found.series_by_pair]
        {
            list.sort_by(|left, right| right.1.cmp(&left.1).then_with(|| left.0.cmp(&right.0)));
            list.truncate(limit);
        }
        found
    }
}
