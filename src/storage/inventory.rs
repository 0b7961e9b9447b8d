//! What lies in a data directory: its blocks one by one, its log, and how wide its labels are over head and blocks together.

use super::block::reader::Block;
use super::error::StoreError;
use super::head::read;
use super::stats::Cardinality;
use super::store::Inner;
use crate::model::labels::METRIC_NAME;
use hashbrown::{HashMap, HashSet};

type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// One block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockInfo {
    /// Its name.
    pub ulid: String,
    /// Time of its oldest sample, milliseconds since 1970.
    pub min_ms: i64,
    /// Time of its newest sample.
    pub max_ms: i64,
    /// 0: from the head; 1: two hours; 2: a day and more.
    pub level: u8,
    /// Whether it may lie over others in time.
    pub overlap: bool,
    /// How many samples.
    pub samples: u64,
    /// How many series.
    pub series: u64,
    /// How many columns.
    pub columns: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// When it was written.
    pub created_ms: i64,
    /// Blocks that were merged into it and may still have been there when it was written.
    pub parents: Vec<String>,
    /// Whether something was deleted from it.
    pub has_tombstones: bool,
}

impl BlockInfo {
    fn of(block: &Block) -> Self {
        let header = &block.header;
        Self {
            ulid: header.ulid.to_string(),
            min_ms: header.min_ms,
            max_ms: header.max_ms,
            level: header.level,
            overlap: header.overlap,
            samples: header.samples,
            series: u64::from(header.series),
            columns: u64::from(header.columns),
            bytes: block.bytes,
            created_ms: header.created_ms,
            parents: block.meta.parents.iter().map(ToString::to_string).collect(),
            has_tombstones: !block.tombstones().is_empty(),
        }
    }
}

/// How wide the labels are, over head and blocks, each series counted once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Width {
    /// Different series.
    pub series: u64,
    /// Label names.
    pub label_names: u64,
    /// Different label pairs.
    pub label_pairs: u64,
    /// Label pairs of all series together.
    pub entries: u64,
    /// The widest of each kind.
    pub widest: Cardinality,
}

/// Counts series, each once.
#[derive(Default)]
struct Counting {
    seen: HashSet<u64, foldhash::fast::RandomState>,
    /// Series of each value of each name.
    names: Map<Box<str>, Map<Box<str>, u64>>,
    entries: u64,
}

impl Counting {
    fn add<'a>(&mut self, hash: u64, labels: impl Iterator<Item = (&'a str, &'a str)>) {
        if !self.seen.insert(hash) {
            return;
        }
        for (name, value) in labels {
            self.entries += 1;
            let values = match self.names.get_mut(name) {
                Some(values) => values,
                None => self.names.entry(name.into()).or_default(),
            };
            match values.get_mut(value) {
                Some(count) => *count += 1,
                None => {
                    values.insert(value.into(), 1);
                }
            }
        }
    }

    fn finish(self, limit: usize) -> Width {
        let mut width = Width { series: self.seen.len() as u64, entries: self.entries, ..Width::default() };
        let widest = &mut width.widest;
        for (name, values) in &self.names {
            width.label_names += 1;
            width.label_pairs += values.len() as u64;
            widest.values_by_label.push((name.to_string(), values.len() as u64));
            let bytes = values.iter().map(|(value, count)| value.len() as u64 * count).sum();
            widest.bytes_by_label.push((name.to_string(), bytes));
            let mut largest: Vec<(&str, u64)> = values.iter().map(|(value, count)| (&**value, *count)).collect();
            largest.sort_by(|left, right| right.1.cmp(&left.1).then_with(|| left.0.cmp(right.0)));
            largest.truncate(limit);
            if &**name == METRIC_NAME {
                widest.series_by_metric = largest.iter().map(|(value, count)| ((*value).to_owned(), *count)).collect();
            }
            widest.series_by_pair.extend(largest.iter().map(|(value, count)| (format!("{name}={value}"), *count)));
        }
        for list in [&mut widest.values_by_label, &mut widest.bytes_by_label, &mut widest.series_by_pair] {
            list.sort_by(|left, right| right.1.cmp(&left.1).then_with(|| left.0.cmp(&right.0)));
            list.truncate(limit);
        }
        width
    }
}

impl Inner {
    /// Lists the blocks, oldest time first.
    pub(super) fn block_infos(&self) -> Vec<BlockInfo> {
        let mut infos: Vec<BlockInfo> = self.blocks.list().iter().map(|block| BlockInfo::of(block)).collect();
        infos.sort_by(|left, right| (left.min_ms, &left.ulid).cmp(&(right.min_ms, &right.ulid)));
        infos
    }

    /// Counts how wide the labels are; lists hold `limit` entries.
    pub(super) fn width(&self, limit: usize) -> Result<Width, StoreError> {
        let mut counting = Counting::default();
        {
            let registry = read(&self.head.registry);
            for series in registry.live() {
                let series = super::append::SeriesId(series);
                counting.add(registry.hash_of(series), registry.labels_of(series));
            }
        }
        for block in self.blocks.list().iter() {
            let index = block.index()?;
            let visited = index.visit(0..index.series_count(), |_, pairs, _| {
                counting.add(index.hash(pairs), pairs.iter().map(|pair| index.pair_text(*pair)));
            });
            visited.ok_or_else(|| StoreError::corrupt(&block.path, 0, "the series cannot be read"))?;
        }
        Ok(counting.finish(limit))
    }
}
