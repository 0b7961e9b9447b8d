//! Reading columns of blocks.

use super::join::{Piece, PieceValues};
use crate::storage::block::index::BlockIndex;
use crate::storage::block::reader::Block;
use crate::storage::block::sections::ColumnRef;
use crate::storage::block::tombstones::is_deleted;
use crate::storage::column::histogram::read_histogram;
use crate::storage::column::packed::Decoded;
use crate::storage::column::varint::ByteReader;
use crate::storage::compact::flush::present_times;
use crate::storage::error::StoreError;
use crate::storage::head::histograms::HistogramSample;
use hashbrown::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// A column of times, and the part of it that a reader asked for.
#[derive(Clone, Debug)]
struct Window {
    whole: Arc<[i64]>,
    rows: Range<usize>,
    part: Arc<[i64]>,
}

/// The times of a block that one reader uses: kept alive, so that their addresses mean something.
#[derive(Debug, Default)]
pub(crate) struct BlockTimes {
    windows: HashMap<u32, Window, foldhash::fast::RandomState>,
}

impl BlockTimes {
    fn window(&mut self, block: &Block, index: &BlockIndex, number: u32, range: (i64, i64)) -> Result<&Window, StoreError> {
        let entry = match self.windows.entry(number) {
            hashbrown::hash_map::Entry::Occupied(known) => return Ok(known.into_mut()),
            hashbrown::hash_map::Entry::Vacant(entry) => entry,
        };
        let whole = block.times(index, number)?;
        let from = whole.partition_point(|at_ms| *at_ms < range.0);
        let to = whole.partition_point(|at_ms| *at_ms <= range.1);
        let part = if to - from == whole.len() { Arc::clone(&whole) } else { whole.get(from..to).unwrap_or_default().into() };
        Ok(entry.insert(Window { whole, rows: from..to, part }))
    }
}

fn clipped(values: PieceValues, rows: Range<usize>, whole: usize) -> PieceValues {
    if rows.len() == whole {
        return values;
    }
    match values {
        PieceValues::Constant(value) => PieceValues::Constant(value),
        PieceValues::Linear { first, step } => PieceValues::Linear { first: first + step * rows.start as f64, step },
        PieceValues::Floats(values) => PieceValues::Floats(values.get(rows).unwrap_or_default().to_vec()),
    }
}

/// Leaves out what was deleted.
fn without_deleted(piece: Piece, deleted: &[(i64, i64)]) -> Piece {
    if deleted.is_empty() || !piece.times.iter().any(|at_ms| is_deleted(deleted, *at_ms)) {
        return piece;
    }
    let kept: Vec<usize> = (0..piece.times.len()).filter(|row| !is_deleted(deleted, piece.times[*row])).collect();
    let times = kept.iter().map(|row| piece.times[*row]).collect();
    let values = PieceValues::Floats(kept.iter().map(|row| piece.values.at(*row)).collect());
    Piece { times, shared: false, values }
}

/// Reads columns of one series within a range. A page that is damaged is noted and left out.
#[expect(clippy::too_many_arguments, reason = "one reader's whole context")]
pub(crate) fn read_columns(
    block: &Block,
    index: &BlockIndex,
    times: &mut BlockTimes,
    columns: &[ColumnRef],
    range: (i64, i64),
    deleted: &[(i64, i64)],
    pieces: &mut Vec<Piece>,
    histograms: &mut Vec<HistogramSample>,
) -> Result<(), StoreError> {
    for column in columns {
        let window = times.window(block, index, column.time, range)?;
        if window.rows.is_empty() {
            continue;
        }
        match read_column(block, window, column, deleted, pieces, histograms) {
            Ok(()) => {}
            Err(StoreError::Corrupt { file, offset, reason }) => {
                block.note_bad_page(column.page, &format!("{} at byte {offset}: {reason}", file.display()));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn read_column(
    block: &Block,
    window: &Window,
    column: &ColumnRef,
    deleted: &[(i64, i64)],
    pieces: &mut Vec<Piece>,
    histograms: &mut Vec<HistogramSample>,
) -> Result<(), StoreError> {
    let page = block.page(column.page)?;
    let damaged = || StoreError::corrupt(&block.path, 0, format!("column {} of page {} is damaged", column.place, column.page));
    let head = page.head(column.place).ok_or_else(damaged)?;
    let count = column.rows as usize;
    let (times, shared, rows, part) = if head.mask.is_empty() {
        (Arc::clone(&window.whole), true, window.rows.clone(), Arc::clone(&window.part))
    } else {
        let own = present_times(&window.whole, &head.mask);
        let inside = window.part.first().copied().zip(window.part.last().copied());
        let (first, last) = inside.unwrap_or((0, -1));
        let from = own.partition_point(|at_ms| *at_ms < first);
        let to = own.partition_point(|at_ms| *at_ms <= last);
        let part = own.get(from..to).unwrap_or_default().into();
        (own, false, from..to, part)
    };
    if times.len() != count {
        return Err(damaged());
    }
    match head.decode(page.payloads(), count).ok_or_else(damaged)? {
        Decoded::Floats(values) => {
            let piece = Piece { times: part, shared, values: clipped(values, rows, count) };
            pieces.push(without_deleted(piece, deleted));
        }
        Decoded::Histograms(bytes) => {
            let mut reader = ByteReader::new(bytes);
            for (row, at_ms) in times.iter().enumerate() {
                let histogram = read_histogram(&mut reader).ok_or_else(damaged)?;
                if rows.contains(&row) && !is_deleted(deleted, *at_ms) {
                    histograms.push((*at_ms, Arc::new(histogram)));
                }
            }
        }
    }
    Ok(())
}
