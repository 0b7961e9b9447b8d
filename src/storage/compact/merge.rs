//! Merging blocks: series by series in their common order, a page of each input at a time.
//!
//! Samples of later blocks win on equal times; what was deleted is left out for good. A page that cannot be read stops the
//! merge: what it holds must not be dropped in silence.

use super::plan::Merge;
use super::series::SeriesWriter;
use crate::env::Env;
use crate::model::labels::Labels;
use crate::storage::block::index::{BlockIndex, SeriesWalk};
use crate::storage::block::reader::Block;
use crate::storage::block::sections::ColumnRef;
use crate::storage::block::writer::{About, BlockPlan, BlockWriter};
use crate::storage::error::StoreError;
use crate::storage::select::block::{BlockReader, PagesAtHand, Windows};
use crate::storage::select::join::{JoinedTimes, join, newest_wins, with_histograms};
use crate::storage::wal::replay::Cover;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// After so many series joined times are forgotten.
const REMEMBERED_MAX: usize = 4096;

/// One input: its series one after the other.
struct Cursor {
    block: Arc<Block>,
    index: Arc<BlockIndex>,
    walk: SeriesWalk,
    place: u32,
    /// Metric name and labels of the present series; `None` behind the last.
    present: Option<(String, Labels)>,
    about: About,
    pairs: Vec<u32>,
    columns: Vec<ColumnRef>,
    windows: Windows,
    pages: PagesAtHand,
}

impl Cursor {
    fn new(block: Arc<Block>) -> Result<Self, StoreError> {
        let index = block.index()?;
        let mut cursor = Self {
            block,
            index,
            walk: SeriesWalk::default(),
            place: 0,
            present: None,
            about: About::default(),
            pairs: Vec::new(),
            columns: Vec::new(),
            windows: Windows::default(),
            pages: PagesAtHand::default(),
        };
        cursor.load()?;
        Ok(cursor)
    }

    fn load(&mut self) -> Result<(), StoreError> {
        let Self { index, walk, pairs, columns, .. } = self;
        let entry = index.walk(walk, pairs, columns);
        let entry = entry.ok_or_else(|| StoreError::corrupt(&self.block.path, 0, "the series cannot be read"))?;
        self.present = entry.map(|about| {
            self.about = About { kind: about.kind, unit: self.index.unit(about).to_owned() };
            let labels = Labels::from_sorted(self.pairs.iter().map(|pair| self.index.pair_text(*pair)));
            (labels.metric_name().to_owned(), labels)
        });
        Ok(())
    }

    fn advance(&mut self) -> Result<(), StoreError> {
        self.place += 1;
        self.load()
    }
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
    let cursors = blocks.iter().map(|block| Cursor::new(Arc::clone(block))).collect::<Result<Vec<_>, _>>()?;
    let plan = BlockPlan { level: merge.level, overlap: merge.overlap, parents: merge.parents.clone(), covers };
    let mut writer = SeriesWriter::new(BlockWriter::create(env, folder, plan)?, merge.level);
    match merge_into(&mut writer, cursors, range, stop) {
        Ok(()) => writer.finish(),
        Err(error) => {
            writer.abandon();
            Err(error)
        }
    }
}

fn merge_into(
    writer: &mut SeriesWriter<'_>,
    mut cursors: Vec<Cursor>,
    range: (i64, i64),
    stop: &dyn Fn() -> bool,
) -> Result<(), StoreError> {
    let (mut joined, mut merged) = (JoinedTimes::default(), 0_usize);
    while let Some(least) = cursors.iter().filter_map(|cursor| cursor.present.as_ref()).min().cloned() {
        if stop() {
            return Err(StoreError::Closed);
        }
        let (mut pieces, mut histograms, mut about) = (Vec::new(), Vec::new(), About::default());
        for cursor in cursors.iter_mut().filter(|cursor| cursor.present.as_ref() == Some(&least)) {
            let tombstones = cursor.block.tombstones();
            let Cursor { block, index, windows, pages, columns, place, .. } = cursor;
            for column in &*columns {
                windows.load(block, index, column.time, range)?;
            }
            let mut reader = BlockReader { block, index, windows, pages };
            let bad = reader.columns(columns, tombstones.of(*place), &mut pieces, &mut histograms)?;
            if let Some(reason) = bad {
                return Err(StoreError::corrupt(&block.path, 0, format!("not merged, so that nothing is lost: {reason}")));
            }
            if cursor.about != About::default() {
                about = cursor.about.clone();
            }
            cursor.advance()?;
        }
        newest_wins(&mut histograms);
        let floats = join(pieces, &joined);
        let samples = if histograms.is_empty() { floats } else { with_histograms(&floats, &histograms) };
        writer.add(least.1.iter(), &about, &samples)?;
        merged += 1;
        if merged.is_multiple_of(REMEMBERED_MAX) {
            joined = JoinedTimes::default();
            for cursor in &mut cursors {
                cursor.windows = Windows::default();
            }
        }
    }
    Ok(())
}
