//! Pages of columns.
//!
//! ```text
//! stored length u32 | crc u32 | codec u8 (0 plain, 1 zstd) | 0 u8 | columns u16 | plain length u32 | stored bytes
//! plain:  length of heads u32 | n x head offset u32 | heads | payloads | 9 zero bytes
//! ```
//!
//! The crc (CRC-32C) covers codec to plain length and the stored bytes. Equal payloads are stored once.

use crate::storage::column::pack::SPARE_BYTES;
use crate::storage::column::packed::{ColumnHead, Encoded, read_head};
use crate::storage::column::varint::ByteReader;
use crate::storage::head::lock;
use crate::storage::select::join::PieceValues;
use hashbrown::HashMap;
use std::ops::Range;
use std::sync::Mutex;

/// Columns of a page at most.
pub(crate) const COLUMNS_MAX: usize = 256;
/// A page that grew to this is finished.
pub(crate) const BYTES_MAX: usize = 64 << 10;
/// Bytes before the stored ones.
pub(crate) const HEADER_BYTES: usize = 16;
/// No page unpacks to more: a damaged length must not ask for much memory.
const PLAIN_MAX: usize = 64 << 20;
const PLAIN: u8 = 0;
const ZSTD: u8 = 1;

/// A page that is being filled.
#[derive(Debug, Default)]
pub(crate) struct PageBuilder {
    heads: Vec<u8>,
    offsets: Vec<u32>,
    payloads: Vec<u8>,
    known: HashMap<Vec<u8>, u32, foldhash::fast::RandomState>,
}

impl PageBuilder {
    /// Returns how many columns there are.
    pub(crate) const fn columns(&self) -> usize {
        self.offsets.len()
    }

    /// Returns whether it should be finished.
    pub(crate) const fn is_full(&self) -> bool {
        self.offsets.len() >= COLUMNS_MAX || self.heads.len() + self.payloads.len() >= BYTES_MAX
    }

    /// Adds a column and returns its place.
    pub(crate) fn push(&mut self, column: Encoded) -> u16 {
        let place = self.offsets.len() as u16;
        let fresh = self.payloads.len() as u32;
        let offset = if column.payload.is_empty() {
            0
        } else if let Some(known) = self.known.get(&column.payload) {
            *known
        } else {
            self.payloads.extend_from_slice(&column.payload);
            fresh
        };
        self.offsets.push(self.heads.len() as u32);
        column.put_head(&mut self.heads, u64::from(offset));
        if !column.payload.is_empty() {
            self.known.entry(column.payload).or_insert(offset);
        }
        place
    }

    /// Finishes the page, appends it to `out` and begins the next.
    pub(crate) fn finish(&mut self, compress: bool, out: &mut Vec<u8>) {
        let mut plain = Vec::with_capacity(4 + self.offsets.len() * 4 + self.heads.len() + self.payloads.len() + SPARE_BYTES);
        plain.extend_from_slice(&(self.heads.len() as u32).to_le_bytes());
        for offset in &self.offsets {
            plain.extend_from_slice(&offset.to_le_bytes());
        }
        plain.extend_from_slice(&self.heads);
        plain.extend_from_slice(&self.payloads);
        plain.extend_from_slice(&[0; SPARE_BYTES]);
        let packed =
            if compress { zstd::bulk::compress(&plain, 1).ok().filter(|packed| packed.len() < plain.len()) } else { None };
        let (codec, stored) = packed.as_ref().map_or((PLAIN, &plain), |packed| (ZSTD, packed));
        let mut tail = [0; 8];
        tail[0] = codec;
        tail[2..4].copy_from_slice(&(self.offsets.len() as u16).to_le_bytes());
        tail[4..].copy_from_slice(&(plain.len() as u32).to_le_bytes());
        let crc = crc32c::crc32c_append(crc32c::crc32c(&tail), stored);
        out.extend_from_slice(&(stored.len() as u32).to_le_bytes());
        out.extend_from_slice(&crc.to_le_bytes());
        out.extend_from_slice(&tail);
        out.extend_from_slice(stored);
        *self = Self::default();
    }
}

/// A page that was read, checked and unpacked.
#[derive(Debug)]
pub(crate) struct Page {
    plain: Vec<u8>,
    columns: usize,
    heads_at: usize,
    payloads_at: usize,
    /// Rows of columns that were decoded; empty before the first.
    kept: Mutex<Vec<Option<Box<Kept>>>>,
}

/// Some rows of one column.
#[derive(Debug)]
struct Kept {
    first: usize,
    rows: usize,
    values: PieceValues,
}

impl Kept {
    fn memory_bytes(&self) -> usize {
        let floats = if let PieceValues::Floats(values) = &self.values { values.capacity() * 8 } else { 0 };
        size_of::<Self>() + floats
    }
}

/// Reads the whole page that begins at the front of `bytes`. The error says what is wrong.
pub(crate) fn read_page(bytes: &[u8]) -> Result<Page, &'static str> {
    let header = bytes.get(..HEADER_BYTES).ok_or("shorter than a page's header")?;
    let mut reader = ByteReader::new(header);
    let short = "shorter than a page's header";
    let (stored, crc) = (reader.u32().ok_or(short)? as usize, reader.u32().ok_or(short)?);
    let (codec, _) = (reader.u8().ok_or(short)?, reader.u8().ok_or(short)?);
    let (columns, plain) = (usize::from(reader.u16().ok_or(short)?), reader.u32().ok_or(short)? as usize);
    let stored = bytes.get(HEADER_BYTES..).and_then(|rest| rest.get(..stored)).ok_or("the page ends early")?;
    if crc32c::crc32c_append(crc32c::crc32c(&header[8..]), stored) != crc {
        return Err("bad checksum of a page");
    }
    if plain > PLAIN_MAX {
        return Err("the page is too long");
    }
    let plain = match codec {
        PLAIN => stored.to_vec(),
        ZSTD => zstd::bulk::decompress(stored, plain).map_err(|_| "the page cannot be decompressed")?,
        _ => return Err("unknown codec of a page"),
    };
    let heads = ByteReader::new(&plain).u32().ok_or("the page has no heads")? as usize;
    let heads_at = 4 + columns * 4;
    let payloads_at =
        heads_at.checked_add(heads).filter(|at| at + SPARE_BYTES <= plain.len()).ok_or("the page has no payloads")?;
    Ok(Page { plain, columns, heads_at, payloads_at, kept: Mutex::default() })
}

impl Page {
    /// Returns how many columns there are.
    pub(crate) const fn columns(&self) -> usize {
        self.columns
    }

    /// Returns the bytes of memory held.
    pub(crate) const fn memory_bytes(&self) -> usize {
        self.plain.capacity()
    }

    /// Returns a column's head.
    pub(crate) fn head(&self, place: u16) -> Option<ColumnHead> {
        if usize::from(place) >= self.columns {
            return None;
        }
        let offset = ByteReader::new(self.plain.get(4 + usize::from(place) * 4..)?).u32()? as usize;
        read_head(self.plain.get(self.heads_at + offset..self.payloads_at)?)
    }

    fn kept_in<T>(&self, place: u16, rows: &Range<usize>, take: impl FnOnce(&Kept, usize) -> T) -> Option<T> {
        let kept = lock(&self.kept);
        let known = kept.get(usize::from(place))?.as_deref()?;
        (known.first <= rows.start && rows.end <= known.first + known.rows).then(|| take(known, rows.start - known.first))
    }

    /// Returns rows of a column that were kept.
    pub(crate) fn kept(&self, place: u16, rows: &Range<usize>) -> Option<PieceValues> {
        self.kept_in(place, rows, |known, skip| match &known.values {
            PieceValues::Constant(value) => PieceValues::Constant(*value),
            PieceValues::Linear { first, step } => PieceValues::Linear { first: first + step * skip as f64, step: *step },
            PieceValues::Floats(values) => PieceValues::Floats(values.get(skip..skip + rows.len()).unwrap_or_default().to_vec()),
        })
    }

    /// Returns one value of a column that was kept.
    pub(crate) fn kept_value(&self, place: u16, row: usize) -> Option<f64> {
        self.kept_in(place, &(row..row + 1), |known, skip| known.values.at(skip))
    }

    /// Keeps rows of a column from `first` on, in place of those that were kept; returns by how many bytes the page grew.
    pub(crate) fn keep(&self, place: u16, first: usize, values: &PieceValues, rows: usize) -> usize {
        let fresh = Kept { first, rows, values: values.clone() };
        let mut kept = lock(&self.kept);
        let table = if kept.is_empty() { self.columns * size_of::<Option<Box<Kept>>>() } else { 0 };
        if kept.is_empty() {
            kept.resize_with(self.columns, || None);
        }
        let Some(slot) = kept.get_mut(usize::from(place)) else { return table };
        let before = slot.as_ref().map_or(0, |known| known.memory_bytes());
        let bytes = fresh.memory_bytes();
        *slot = Some(Box::new(fresh));
        table + bytes.saturating_sub(before)
    }

    /// Returns the payloads, spare bytes included.
    pub(crate) fn payloads(&self) -> &[u8] {
        self.plain.get(self.payloads_at..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::column::encode::{Coding, encode};
    use crate::storage::column::packed::Decoded;

    fn floats(page: &Page, place: u16, rows: usize) -> Vec<f64> {
        match page.head(place).expect("a head").decode(page.payloads(), rows).expect("decodes") {
            Decoded::Floats(PieceValues::Floats(values)) => values,
            Decoded::Floats(PieceValues::Constant(value)) => vec![value; rows],
            Decoded::Floats(PieceValues::Linear { first, step }) => (0..rows).map(|i| first + step * i as f64).collect(),
            Decoded::Histograms(_) => Vec::new(),
        }
    }

    #[test]
    fn keeps_rows_and_gives_parts_of_them() {
        let mut builder = PageBuilder::default();
        builder.push(encode(&[1.0, 5.0, 2.0, 9.0, 4.0], Coding::Packed));
        let mut bytes = Vec::new();
        builder.finish(false, &mut bytes);
        let page = read_page(&bytes).expect("reads");
        assert!(page.kept(0, &(2..4)).is_none());
        let grown = page.keep(0, 2, &PieceValues::Floats(vec![2.0, 9.0, 4.0]), 3);
        assert!(grown >= 24 && page.keep(0, 2, &PieceValues::Floats(vec![2.0, 9.0, 4.0]), 3) == 0);
        let floats = |rows: Range<usize>| match page.kept(0, &rows) {
            Some(PieceValues::Floats(values)) => Some(values),
            _ => None,
        };
        assert_eq!(floats(2..5), Some(vec![2.0, 9.0, 4.0]));
        assert_eq!(floats(3..4), Some(vec![9.0]));
        assert_eq!((floats(1..3), floats(4..6)), (None, None));
        assert_eq!((page.kept_value(0, 4), page.kept_value(0, 5), page.kept_value(1, 0)), (Some(4.0), None, None));
        page.keep(0, 0, &PieceValues::Linear { first: 1.0, step: 2.0 }, 5);
        assert_eq!(page.kept_value(0, 3), Some(7.0));
    }

    #[test]
    fn columns_come_back_and_equal_payloads_are_shared() {
        let column = |seed: usize| (0..100).map(|i| ((i * i * 7 + seed) % 100) as f64).collect::<Vec<f64>>();
        for compress in [false, true] {
            let mut builder = PageBuilder::default();
            for seed in [1, 2, 1, 1] {
                let coding = if compress { Coding::Dense } else { Coding::Packed };
                builder.push(encode(&column(seed), coding));
            }
            let payloads = builder.payloads.len();
            assert!(payloads < 4 * 100, "{payloads}");
            let mut bytes = Vec::new();
            builder.finish(compress, &mut bytes);
            let page = read_page(&bytes).expect("reads");
            assert_eq!(page.columns(), 4);
            for (place, seed) in [1, 2, 1, 1].into_iter().enumerate() {
                assert_eq!(floats(&page, place as u16, 100), column(seed));
            }
            assert!(page.head(4).is_none());
            for at in 0..bytes.len() {
                let mut damaged = bytes.clone();
                damaged[at] ^= 4;
                assert!(read_page(&damaged).is_err(), "byte {at}");
            }
        }
    }
}
