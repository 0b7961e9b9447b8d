//! Merging blocks: series by series in their common order, a page of each input at a time.
//!
//! Samples of later blocks win on equal times; what was deleted is left out for good.

use super::plan::Merge;
use crate::env::Env;
use crate::model::labels::Labels;
use crate::model::sample::Value;
use crate::storage::block::index::BlockIndex;
use crate::storage::block::reader::Block;
use crate::storage::block::sections::ColumnRef;
use crate::storage::block::writer::{BlockPlan, BlockWriter, ColumnInput, ColumnValues, divide};
use crate::storage::column::histogram::put_histogram;
use crate::storage::error::StoreError;
use crate::storage::select::SeriesSamples;
use crate::storage::select::block::{BlockTimes, read_columns};
use crate::storage::select::join::{JoinedTimes, join, with_histograms};
use crate::storage::wal::replay::Cover;
use hashbrown::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Joined times that are remembered; beyond that all are forgotten.
const REMEMBERED_MAX: usize = 4096;

/// One input: its series one after the other.
struct Cursor {
    block: Arc<Block>,
    index: Arc<BlockIndex>,
    place: u32,
    /// Metric name and labels of the present series; `None` behind the last.
    present: Option<(String, Labels)>,
    columns: Vec<ColumnRef>,
    times: BlockTimes,
}

impl Cursor {
    fn new(block: Arc<Block>) -> Result<Self, StoreError> {
        let index = block.index()?;
        let mut cursor = Self { block, index, place: 0, present: None, columns: Vec::new(), times: BlockTimes::default() };
        cursor.load()?;
        Ok(cursor)
    }

    fn load(&mut self) -> Result<(), StoreError> {
        self.present = None;
        if self.place >= self.index.series_count() {
            return Ok(());
        }
        let Self { index, columns, present, place, .. } = self;
        let visited = index.visit(std::iter::once(*place), |_, pairs, found| {
            columns.clear();
            columns.extend_from_slice(found);
            let labels = Labels::from_sorted(pairs.iter().map(|pair| index.pair_text(*pair)));
            *present = Some((labels.metric_name().to_owned(), labels));
        });
        visited.ok_or_else(|| StoreError::corrupt(&self.block.path, 0, "the series cannot be read"))
    }

    fn advance(&mut self) -> Result<(), StoreError> {
        self.place += 1;
        self.load()
    }
}

/// Times cut into columns, remembered by where the whole lies.
#[derive(Default)]
struct Divisions {
    known: HashMap<usize, Vec<Arc<[i64]>>, foldhash::fast::RandomState>,
    /// Keeps the addresses.
    alive: Vec<Arc<[i64]>>,
}

impl Divisions {
    fn of(&mut self, times: &Arc<[i64]>) -> Vec<Arc<[i64]>> {
        if self.alive.len() > REMEMBERED_MAX {
            *self = Self::default();
        }
        let cut = || divide(times.len()).map(|rows| times.get(rows).unwrap_or_default().into()).collect();
        let address = Arc::as_ptr(times).addr();
        if let Some(known) = self.known.get(&address) {
            return known.clone();
        }
        let parts: Vec<Arc<[i64]>> = cut();
        self.alive.push(Arc::clone(times));
        self.known.insert(address, parts.clone());
        parts
    }
}

fn add_series(
    writer: &mut BlockWriter<'_>,
    labels: &Labels,
    samples: &SeriesSamples,
    divisions: &mut Divisions,
) -> Result<(), StoreError> {
    let mixed = (0..samples.len()).any(|i| samples.histogram(i).is_some());
    if mixed {
        return add_mixed(writer, labels, samples);
    }
    let values: Vec<f64> = (0..samples.len()).filter_map(|i| samples.float(i)).collect();
    let parts = divisions.of(&samples.times);
    let mut from = 0;
    let mut columns = Vec::with_capacity(parts.len());
    for times in &parts {
        let to = from + times.len();
        columns.push(ColumnInput { times, mask: &[], values: ColumnValues::Floats(values.get(from..to).unwrap_or_default()) });
        from = to;
    }
    writer.add(labels.iter(), &columns)
}

/// Floats and histograms lie in columns of their own.
fn add_mixed(writer: &mut BlockWriter<'_>, labels: &Labels, samples: &SeriesSamples) -> Result<(), StoreError> {
    let (mut floats, mut bytes): (Vec<(i64, f64)>, Vec<u8>) = (Vec::new(), Vec::new());
    let mut histogram_times = Vec::new();
    for (i, at_ms) in samples.times.iter().enumerate() {
        let value = samples.histogram(i).map(|histogram| Value::Histogram(Arc::clone(histogram)));
        match value.or_else(|| samples.float(i).map(Value::Float)) {
            Some(Value::Float(value)) => floats.push((*at_ms, value)),
            Some(Value::Histogram(histogram)) => {
                put_histogram(&mut bytes, &histogram);
                histogram_times.push(*at_ms);
            }
            None => {}
        }
    }
    let count = histogram_times.len();
    let (float_times, values): (Vec<i64>, Vec<f64>) = floats.into_iter().unzip();
    let (float_times, histogram_times): (Arc<[i64]>, Arc<[i64]>) = (float_times.into(), histogram_times.into());
    let mut columns = vec![ColumnInput { times: &histogram_times, mask: &[], values: ColumnValues::Histograms(bytes, count) }];
    if !values.is_empty() {
        columns.push(ColumnInput { times: &float_times, mask: &[], values: ColumnValues::Floats(&values) });
    }
    writer.add(labels.iter(), &columns)
}

/// Merges blocks into a new one; `None` when nothing is left of them. `stop` is asked between series.
pub(crate) fn merge(
    env: &Env,
    folder: &Path,
    blocks: &[Arc<Block>],
    merge: &Merge,
    covers: Vec<Cover>,
    stop: &dyn Fn() -> bool,
) -> Result<Option<PathBuf>, StoreError> {
    merge_range(env, folder, blocks, merge, covers, (i64::MIN, i64::MAX), stop)
}

/// Merges what blocks hold of a range, both ends included.
pub(crate) fn merge_range(
    env: &Env,
    folder: &Path,
    blocks: &[Arc<Block>],
    merge: &Merge,
    covers: Vec<Cover>,
    range: (i64, i64),
    stop: &dyn Fn() -> bool,
) -> Result<Option<PathBuf>, StoreError> {
    let mut cursors = blocks.iter().map(|block| Cursor::new(Arc::clone(block))).collect::<Result<Vec<_>, _>>()?;
    let plan = BlockPlan { level: merge.level, overlap: merge.overlap, parents: merge.parents.clone(), covers };
    let mut writer = BlockWriter::create(env, folder, plan)?;
    let (mut joined, mut divisions, mut merged) = (JoinedTimes::default(), Divisions::default(), 0_usize);
    while let Some(least) = cursors.iter().filter_map(|cursor| cursor.present.as_ref()).min().cloned() {
        if stop() {
            writer.abandon();
            return Err(StoreError::Closed);
        }
        let (mut pieces, mut histograms) = (Vec::new(), Vec::new());
        for cursor in cursors.iter_mut().filter(|cursor| cursor.present.as_ref() == Some(&least)) {
            let tombstones = cursor.block.tombstones();
            let ranges = tombstones.of(cursor.place);
            read_columns(
                &cursor.block,
                &cursor.index,
                &mut cursor.times,
                &cursor.columns,
                range,
                ranges,
                &mut pieces,
                &mut histograms,
            )?;
            cursor.advance()?;
        }
        histograms.sort_by_key(|(at_ms, _)| *at_ms);
        histograms.dedup_by_key(|(at_ms, _)| *at_ms);
        let floats = join(pieces, &joined);
        let samples = if histograms.is_empty() { floats } else { with_histograms(&floats, &histograms) };
        if !samples.is_empty() {
            add_series(&mut writer, &least.1, &samples, &mut divisions)?;
        }
        merged += 1;
        if merged.is_multiple_of(REMEMBERED_MAX) {
            joined = JoinedTimes::default();
            for cursor in &mut cursors {
                cursor.times = BlockTimes::default();
            }
        }
    }
    if writer.is_empty() {
        writer.abandon();
        return Ok(None);
    }
    writer.finish().map(Some)
}
