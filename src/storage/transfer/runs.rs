//! Samples in any order, sorted on disk: what fills the memory is written as a block (a *run*); runs are merged when there
//! are many. A later sample of a series and time replaces an earlier one.

use crate::env::Env;
use crate::model::labels::Labels;
use crate::storage::block::cache::PageCache;
use crate::storage::block::reader::Block;
use crate::storage::block::writer::{BlockPlan, BlockWriter, ColumnInput, ColumnValues, divide};
use crate::storage::compact::merge::merge_range;
use crate::storage::compact::plan::Merge;
use crate::storage::error::StoreError;
use crate::storage::metadata::MetadataMap;
use hashbrown::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Runs that are merged into one when there are so many of a kind.
const FAN_IN: usize = 32;
const CACHE_BYTES: usize = 32 << 20;
/// Bytes of a sample in memory.
const SAMPLE_BYTES: usize = size_of::<Sample>();
/// Bytes of a series in memory beside its labels' text, about.
const SERIES_BYTES: usize = 96;

#[derive(Clone, Copy, Debug)]
struct Sample {
    series: u32,
    at_ms: i64,
    value: f64,
}

/// Takes samples and keeps them sorted.
pub(super) struct Runs<'a> {
    env: &'a Env,
    folder: &'a Path,
    bytes_max: usize,
    cache: Arc<PageCache>,
    series: HashMap<Labels, u32, foldhash::fast::RandomState>,
    series_bytes: usize,
    samples: Vec<Sample>,
    /// Runs by how often they were merged, oldest first.
    levels: Vec<Vec<Arc<Block>>>,
    /// What is known of metrics.
    pub(super) metadata: MetadataMap,
    /// First and last time.
    pub(super) range: Option<(i64, i64)>,
}

impl<'a> Runs<'a> {
    /// Begins without samples; unfinished runs are written into `folder`, about `bytes_max` of memory are used.
    pub(super) fn new(env: &'a Env, folder: &'a Path, bytes_max: usize) -> Self {
        Self {
            env,
            folder,
            bytes_max,
            cache: Arc::new(PageCache::new(CACHE_BYTES)),
            series: HashMap::default(),
            series_bytes: 0,
            samples: Vec::new(),
            levels: Vec::new(),
            metadata: MetadataMap::default(),
            range: None,
        }
    }

    /// Returns the number of a series, good until the memory is full.
    pub(super) fn series(&mut self, labels: Labels) -> u32 {
        let next = self.series.len() as u32;
        let bytes = labels.packed().len() + SERIES_BYTES;
        let number = *self.series.entry(labels).or_insert(next);
        if number == next {
            self.series_bytes += bytes;
        }
        number
    }

    /// Adds a sample. Returns whether all numbers of series are void: what was in memory is on disk.
    pub(super) fn add(&mut self, series: u32, at_ms: i64, value: f64) -> Result<bool, StoreError> {
        let (first, last) = self.range.unwrap_or((at_ms, at_ms));
        self.range = Some((first.min(at_ms), last.max(at_ms)));
        self.samples.push(Sample { series, at_ms, value });
        // Growing doubles the list: then there are two of them for a moment.
        let held = self.samples.len() * SAMPLE_BYTES * 2 + self.series_bytes;
        if held < self.bytes_max {
            return Ok(false);
        }
        self.spill()?;
        Ok(true)
    }

    /// Writes what is in memory as a run.
    fn spill(&mut self) -> Result<(), StoreError> {
        if self.samples.is_empty() {
            return Ok(());
        }
        let mut by_name: Vec<(Labels, u32)> = self.series.drain().collect();
        self.series_bytes = 0;
        by_name.sort_unstable_by(|(left, _), (right, _)| (left.metric_name(), left).cmp(&(right.metric_name(), right)));
        let mut ranks = vec![0_u32; by_name.len()];
        for (rank, (_, number)) in by_name.iter().enumerate() {
            ranks[*number as usize] = rank as u32;
        }
        let mut samples = std::mem::take(&mut self.samples);
        for sample in &mut samples {
            sample.series = ranks[sample.series as usize];
        }
        // Stable, so that of equal times the last one given comes last.
        samples.sort_by_key(|sample| (sample.series, sample.at_ms));
        let plan = BlockPlan { level: 0, overlap: true, parents: Vec::new(), covers: Vec::new() };
        let mut writer = BlockWriter::create(self.env, self.folder, plan)?;
        for list in samples.chunk_by(|left, right| left.series == right.series) {
            let Some((labels, _)) = list.first().and_then(|first| by_name.get(first.series as usize)) else { continue };
            let kept = list.chunk_by(|left, right| left.at_ms == right.at_ms).filter_map(<[Sample]>::last);
            let (times, values): (Vec<i64>, Vec<f64>) = kept.map(|sample| (sample.at_ms, sample.value)).unzip();
            let parts: Vec<Arc<[i64]>> = divide(times.len(), 0).map(|rows| times[rows].into()).collect();
            let columns = divide(times.len(), 0).zip(&parts).map(|(rows, times)| ColumnInput {
                times,
                values: ColumnValues::Floats(&values[rows]),
                starts: None,
            });
            writer.add(labels.iter(), &self.metadata.about(labels.metric_name()), columns.collect())?;
        }
        let path = writer.finish()?;
        self.keep(0, &path)
    }

    fn keep(&mut self, level: usize, path: &Path) -> Result<(), StoreError> {
        let run = Arc::new(Block::open(self.env, path, &self.cache)?);
        if self.levels.len() <= level {
            self.levels.push(Vec::new());
        }
        self.levels[level].push(run);
        if self.levels[level].len() < FAN_IN {
            return Ok(());
        }
        let full = std::mem::take(&mut self.levels[level]);
        let merged = self.merge(&full, (i64::MIN, i64::MAX), self.folder, 0, true)?;
        for run in full {
            run.forget();
            self.env.disk.remove_file(&run.path).map_err(StoreError::io("removing", &run.path))?;
        }
        match merged {
            Some(path) => self.keep(level + 1, &path),
            None => Ok(()),
        }
    }

    fn merge(
        &self,
        runs: &[Arc<Block>],
        range: (i64, i64),
        folder: &Path,
        level: u8,
        overlap: bool,
    ) -> Result<Option<PathBuf>, StoreError> {
        let merge = Merge { parents: Vec::new(), level, overlap };
        merge_range(self.env, folder, runs, &merge, Vec::new(), range, &|| false)
    }

    /// Ends taking samples: what is left in memory becomes the last run.
    pub(super) fn finish(&mut self) -> Result<(), StoreError> {
        self.spill()
    }

    /// Writes one block of all samples in a range (both ends included) into a folder; `None` where there is none.
    pub(super) fn block(
        &self,
        range: (i64, i64),
        folder: &Path,
        level: u8,
        overlap: bool,
    ) -> Result<Option<PathBuf>, StoreError> {
        let runs: Vec<Arc<Block>> = self.levels.iter().rev().flatten().map(Arc::clone).collect();
        let inside: Vec<Arc<Block>> = runs.into_iter().filter(|run| run.overlaps(range.0, range.1)).collect();
        if inside.is_empty() {
            return Ok(None);
        }
        self.merge(&inside, range, folder, level, overlap)
    }
}
