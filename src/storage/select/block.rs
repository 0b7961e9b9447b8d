//! Reading columns of blocks.

use super::join::{Piece, PieceValues};
use crate::model::sample::Value;
use crate::storage::block::index::BlockIndex;
use crate::storage::block::reader::Block;
use crate::storage::block::sections::ColumnRef;
use crate::storage::block::tombstones::is_deleted;
use crate::storage::column::histogram::read_histogram;
use crate::storage::column::packed::Decoded;
use crate::storage::column::varint::ByteReader;
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

/// Returns the times of present rows. `mask` are the lengths of present, absent, present ... rows.
pub(crate) fn present_times(times: &[i64], mask: &[u32]) -> Arc<[i64]> {
    let (mut row, mut present) = (0_usize, true);
    let mut out = Vec::new();
    for length in mask {
        let next = row.saturating_add(*length as usize);
        if present {
            out.extend_from_slice(times.get(row..next).unwrap_or_default());
        }
        (row, present) = (next, !present);
    }
    out.into()
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
    let starts = piece.starts.map(|starts| kept.iter().map(|row| starts.get(*row).copied().unwrap_or(0)).collect());
    Piece { times, shared: false, values, starts }
}

/// Reads columns of one series within a range. A page that is damaged is noted with its block and left out; the reason comes
/// back.
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
) -> Result<Option<String>, StoreError> {
    let mut bad = None;
    for column in columns {
        let window = times.window(block, index, column.time, range)?;
        if window.rows.is_empty() {
            continue;
        }
        let starts = column.starts.map(|number| block.times(index, number));
        let read = starts.transpose().and_then(|starts| read_column(block, window, column, starts, deleted, pieces, histograms));
        match read {
            Ok(()) => {}
            Err(StoreError::Corrupt { file, offset, reason }) => {
                let reason = format!("{} at byte {offset}: {reason}", file.display());
                block.note_bad_page(column.page, &reason);
                bad = Some(reason);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(bad)
}

/// Returns the newest sample of one series within a range: only the last column that has one is decoded.
pub(crate) fn read_last(
    block: &Block,
    index: &BlockIndex,
    times: &mut BlockTimes,
    columns: &[ColumnRef],
    range: (i64, i64),
    deleted: &[(i64, i64)],
) -> Result<Option<(i64, Value)>, StoreError> {
    let mut newest: Option<(i64, Value)> = None;
    let (mut pieces, mut histograms) = (Vec::new(), Vec::new());
    for column in columns.iter().rev() {
        let last_ms = times.window(block, index, column.time, range)?.part.last().copied();
        // Columns of floats and of histograms may lie side by side in time.
        if last_ms.is_none_or(|last_ms| newest.as_ref().is_some_and(|(known, _)| *known >= last_ms)) {
            continue;
        }
        pieces.clear();
        histograms.clear();
        read_columns(block, index, times, std::slice::from_ref(column), range, deleted, &mut pieces, &mut histograms)?;
        let float =
            pieces.last().and_then(|piece| Some((*piece.times.last()?, Value::Float(piece.values.at(piece.times.len() - 1)))));
        let found = histograms.pop().map(|(at_ms, value)| (at_ms, Value::Histogram(value))).or(float);
        if found.as_ref().map(|(at_ms, _)| *at_ms) > newest.as_ref().map(|(at_ms, _)| *at_ms) {
            newest = found;
        }
    }
    Ok(newest)
}

fn read_column(
    block: &Block,
    window: &Window,
    column: &ColumnRef,
    starts: Option<Arc<[i64]>>,
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
            let starts = starts.map(|starts| starts.get(rows.clone()).unwrap_or_default().into());
            let piece = Piece { times: part, shared, values: clipped(values, rows, count), starts };
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
