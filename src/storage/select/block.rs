//! Reading columns of blocks.

use super::join::{Piece, PieceValues, ReadHistogram};
use crate::model::sample::Value;
use crate::storage::block::index::BlockIndex;
use crate::storage::block::page::Page;
use crate::storage::block::reader::Block;
use crate::storage::block::sections::ColumnRef;
use crate::storage::block::tombstones::is_deleted;
use crate::storage::column::histogram::read_histogram;
use crate::storage::column::packed::Decoded;
use crate::storage::column::varint::ByteReader;
use crate::storage::error::StoreError;
use std::ops::Range;
use std::sync::Arc;

/// Windows of at most so many rows are kept beside their page once they were decoded: what asks for few rows of many asks
/// again, for these or for fewer, while decoding them takes all rows before.
const KEPT_ROWS: usize = 512;
/// Pages that a reader has at hand: series in the order of their labels go through those of all targets in turn.
const PAGES: usize = 64;

/// A column of times, and the part of it that a reader asked for.
#[derive(Debug)]
struct Window {
    whole: Arc<[i64]>,
    rows: Range<usize>,
    part: Arc<[i64]>,
}

/// The columns of times that a reader uses of a block, and their rows within its range. They are loaded while it is planned
/// what to read, and kept alive so that their addresses mean something; those who read ask nobody.
#[derive(Debug, Default)]
pub(crate) struct Windows {
    loaded: Vec<Option<Box<Window>>>,
    /// How many rows of each lie within the range, where it was loaded: a series has a column for each stretch of a block, and
    /// all of them are asked for, whichever few are within.
    inside: Vec<u32>,
}

/// A column of times that was not loaded.
const NOT_LOADED: u32 = u32::MAX;

impl Windows {
    /// Loads a column of times; returns how many of its rows lie within the range, which is the same in each call.
    #[inline]
    pub(crate) fn load(
        &mut self,
        block: &Block,
        index: &BlockIndex,
        number: u32,
        range: (i64, i64),
    ) -> Result<usize, StoreError> {
        match self.inside.get(number as usize) {
            Some(known) if *known != NOT_LOADED => Ok(*known as usize),
            _ => self.load_first(block, index, number, range),
        }
    }

    #[cold]
    fn load_first(&mut self, block: &Block, index: &BlockIndex, number: u32, range: (i64, i64)) -> Result<usize, StoreError> {
        let place = number as usize;
        let whole = block.times(index, number)?;
        let from = whole.partition_point(|at_ms| *at_ms < range.0);
        let to = whole.partition_point(|at_ms| *at_ms <= range.1);
        let part = if to - from == whole.len() { Arc::clone(&whole) } else { whole.get(from..to).unwrap_or_default().into() };
        if self.loaded.len() <= place {
            // A number beyond all times was an error above, not a wish for memory.
            self.loaded.resize_with(place + 1, || None);
            self.inside.resize(place + 1, NOT_LOADED);
        }
        self.inside[place] = (to - from) as u32;
        self.loaded[place] = Some(Box::new(Window { whole, rows: from..to, part }));
        Ok(to - from)
    }

    /// Returns time and row of the newest row within the range, of a column of times that was loaded.
    pub(crate) fn last(&self, number: u32) -> Option<(i64, usize)> {
        let window = self.get(number)?;
        Some((*window.part.last()?, window.rows.end.checked_sub(1)?))
    }

    fn get(&self, number: u32) -> Option<&Window> {
        self.loaded.get(number as usize)?.as_deref()
    }
}

/// The pages used last.
#[derive(Debug, Default)]
pub(crate) struct PagesAtHand(Vec<Option<(u32, Arc<Page>)>>);

impl PagesAtHand {
    pub(crate) fn get(&mut self, block: &Block, number: u32) -> Result<&Arc<Page>, StoreError> {
        if self.0.is_empty() {
            self.0.resize_with(PAGES, || None);
        }
        let place = &mut self.0[number as usize % PAGES];
        if place.as_ref().is_none_or(|(known, _)| *known != number) {
            *place = Some((number, block.page(number)?));
        }
        place.as_ref().map(|(_, page)| page).ok_or_else(|| StoreError::corrupt(&block.path, 0, "no page"))
    }
}

/// Reads columns of one block.
#[derive(Debug)]
pub(crate) struct BlockReader<'a> {
    /// From where.
    pub(crate) block: &'a Block,
    /// Its index.
    pub(crate) index: &'a BlockIndex,
    /// The times of all columns that are read.
    pub(crate) windows: &'a Windows,
    /// Pages.
    pub(crate) pages: &'a mut PagesAtHand,
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
        PieceValues::Floats(mut values) if rows.start == 0 => {
            values.truncate(rows.end);
            PieceValues::Floats(values)
        }
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

impl BlockReader<'_> {
    fn window(&self, number: u32) -> Result<&Window, StoreError> {
        match self.windows.get(number) {
            Some(window) => Ok(window),
            // What could not be loaded cannot be loaded now.
            None => {
                let error = self.block.times(self.index, number).err();
                Err(error.unwrap_or_else(|| StoreError::corrupt(&self.block.path, 0, format!("times {number} were not loaded"))))
            }
        }
    }

    /// Reads columns of one series. A page that is damaged is noted with its block and left out; the reason comes back.
    pub(crate) fn columns(
        &mut self,
        columns: &[ColumnRef],
        deleted: &[(i64, i64)],
        pieces: &mut Vec<Piece>,
        histograms: &mut Vec<ReadHistogram>,
    ) -> Result<Option<String>, StoreError> {
        let mut bad = None;
        for column in columns {
            if self.window(column.time)?.rows.is_empty() {
                continue;
            }
            match self.column(column, deleted, pieces, histograms) {
                Ok(()) => {}
                Err(StoreError::Corrupt { file, offset, reason }) => {
                    let reason = format!("{} at byte {offset}: {reason}", file.display());
                    self.block.note_bad_page(column.page, &reason);
                    bad = Some(reason);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(bad)
    }

    /// Returns the newest sample of one series: only the last column that has one is decoded.
    pub(crate) fn last(&mut self, columns: &[ColumnRef], deleted: &[(i64, i64)]) -> Result<Option<(i64, Value)>, StoreError> {
        let mut newest: Option<(i64, Value)> = None;
        for column in columns.iter().rev() {
            let window = self.window(column.time)?;
            let (last_ms, last_row) = (window.part.last().copied(), window.rows.end.saturating_sub(1));
            // Columns of floats and of histograms may lie side by side in time.
            let Some(last_ms) = last_ms.filter(|last_ms| newest.as_ref().is_none_or(|(known, _)| known < last_ms)) else {
                continue;
            };
            if deleted.is_empty()
                && let Ok(page) = self.pages.get(self.block, column.page)
                && let Some(value) = page.kept_value(column.place, last_row)
            {
                newest = Some((last_ms, Value::Float(value)));
                continue;
            }
            let (mut pieces, mut histograms) = (Vec::new(), Vec::new());
            self.columns(std::slice::from_ref(column), deleted, &mut pieces, &mut histograms)?;
            let last_of = |piece: &Piece| Some((*piece.times.last()?, Value::Float(piece.values.at(piece.times.len() - 1))));
            let float = pieces.last().and_then(last_of);
            let found = histograms.pop().map(|(at_ms, (value, _))| (at_ms, Value::Histogram(value))).or(float);
            if found.as_ref().map(|(at_ms, _)| *at_ms) > newest.as_ref().map(|(at_ms, _)| *at_ms) {
                newest = found;
            }
        }
        Ok(newest)
    }

    fn column(
        &mut self,
        column: &ColumnRef,
        deleted: &[(i64, i64)],
        pieces: &mut Vec<Piece>,
        histograms: &mut Vec<ReadHistogram>,
    ) -> Result<(), StoreError> {
        let starts = column.starts.map(|number| self.block.times(self.index, number)).transpose()?;
        let page = Arc::clone(self.pages.get(self.block, column.page)?);
        let window = self.window(column.time)?;
        read_column(self.block, &page, window, column, starts.as_deref(), deleted, pieces, histograms)
    }
}

#[expect(clippy::too_many_arguments, reason = "one reader's whole context")]
fn read_column(
    block: &Block,
    page: &Page,
    window: &Window,
    column: &ColumnRef,
    starts: Option<&[i64]>,
    deleted: &[(i64, i64)],
    pieces: &mut Vec<Piece>,
    histograms: &mut Vec<ReadHistogram>,
) -> Result<(), StoreError> {
    let own_starts = |rows: &Range<usize>| Some(Arc::from(starts?.get(rows.clone()).unwrap_or_default()));
    if let Some(values) = page.kept(column.place, &window.rows) {
        let piece = Piece { times: Arc::clone(&window.part), shared: true, values, starts: own_starts(&window.rows) };
        pieces.push(without_deleted(piece, deleted));
        return Ok(());
    }
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
            let values = clipped(values, rows.clone(), count);
            if shared && rows.len() <= KEPT_ROWS && rows.len() * 2 <= count {
                block.grown(column.page, page.keep(column.place, rows.start, &values, rows.len()));
            }
            let piece = Piece { times: part, shared, values, starts: own_starts(&rows) };
            pieces.push(without_deleted(piece, deleted));
        }
        Decoded::Histograms(bytes) => {
            let mut reader = ByteReader::new(bytes);
            for (row, at_ms) in times.iter().enumerate() {
                let histogram = read_histogram(&mut reader).ok_or_else(damaged)?;
                if rows.contains(&row) && !is_deleted(deleted, *at_ms) {
                    let start_ms = starts.and_then(|starts| starts.get(row).copied()).unwrap_or(0);
                    histograms.push((*at_ms, (Arc::new(histogram), start_ms)));
                }
            }
        }
    }
    Ok(())
}
