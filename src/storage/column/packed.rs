//! A finished column: the values of one series over the rows of a window, as a head and a payload.
//!
//! ```text
//! head     u8: bits 0-2 kind, 3 divisor, 4 scale, 5 exceptions, 6 row mask, 7 dense lists
//!          [scale byte] | zz first (kind 6: eight bytes; kind 7: none) | [zz step: kinds 1, 3] | [varint divisor]
//!          | varint payload offset (kinds 2-5, 7) | [exceptions: n, n x (varint row gap, eight bytes)]
//!          | [row mask: n, n x varint length of present, absent, present ... rows]
//! payload  a list of residuals; with mode 4 a second list: corrections of the double's bits, zz
//! list     packed numbers; where the head says dense: u8 0 and packed numbers, or u8 1 and a table's (see [`super::entropy`])
//!
//! kind 0 constant   1 linear   2 differences, zz   3 differences of differences, zz   4 offset from the least value
//!      5 differences of order-preserving double bits, zz   6 constant raw double   7 native histograms, one after the other
//! ```
//!
//! Values are whole numbers on one scale for the column (see [`super::scale`]). What has none (stale markers, infinities,
//! NaN, -0.0) or would spoil it is an exception whose residual is 0. [`super::encode`] chooses.

use super::entropy;
use super::pack::unpack;
use super::scale::{Mode, Scale};
use super::varint::{ByteReader, put_signed, put_varint, unzigzag, varint_len, zigzag};
use crate::storage::select::join::PieceValues;

pub(super) const CONSTANT: u8 = 0;
pub(super) const LINEAR: u8 = 1;
pub(super) const DIFFERENCES: u8 = 2;
pub(super) const SECOND_DIFFERENCES: u8 = 3;
pub(super) const OFFSETS: u8 = 4;
pub(super) const ORDERED_BITS: u8 = 5;
pub(super) const RAW: u8 = 6;
const HISTOGRAMS: u8 = 7;
pub(super) const HAS_DIVISOR: u8 = 1 << 3;
pub(super) const HAS_SCALE: u8 = 1 << 4;
const HAS_EXCEPTIONS: u8 = 1 << 5;
pub(super) const HAS_MASK: u8 = 1 << 6;
const IS_DENSE: u8 = 1 << 7;

/// The first byte of a dense list: packed after all.
pub(super) const LIST_PACKED: u8 = 0;
/// The first byte of a dense list: by a table.
pub(super) const LIST_BY_TABLE: u8 = 1;

/// Bytes of one exception, about.
const EXCEPTION_BYTES: usize = 9;

/// A column ready to be put into a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Encoded {
    pub(super) kind: u8,
    pub(super) scale: Scale,
    pub(super) first: i64,
    pub(super) raw: u64,
    pub(super) step: i64,
    pub(super) divisor: u64,
    pub(super) exceptions: Vec<(u32, u64)>,
    /// Whether lists of the payload say how they are coded.
    pub(super) dense: bool,
    /// Packed residuals; equal payloads of a page are stored once.
    pub(crate) payload: Vec<u8>,
}

impl Encoded {
    pub(super) const fn plain(kind: u8) -> Self {
        Self {
            kind,
            scale: Scale::ONE,
            first: 0,
            raw: 0,
            step: 0,
            divisor: 1,
            exceptions: Vec::new(),
            dense: false,
            payload: Vec::new(),
        }
    }

    /// Returns a column of native histograms, encoded one after the other.
    pub(crate) fn histograms(payload: Vec<u8>) -> Self {
        Self { payload, ..Self::plain(HISTOGRAMS) }
    }

    pub(super) const fn has_payload(&self) -> bool {
        matches!(self.kind, DIFFERENCES | SECOND_DIFFERENCES | OFFSETS | ORDERED_BITS | HISTOGRAMS)
    }

    pub(super) fn cost(&self) -> usize {
        let fixed = 2 + varint_len(zigzag(self.first)) + varint_len(zigzag(self.step)) + varint_len(self.divisor);
        fixed + self.payload.len() + self.exceptions.len() * EXCEPTION_BYTES
    }

    /// Appends the head. Row masks are read (older blocks have them), not written: what has gaps gets times of its own.
    pub(crate) fn put_head(&self, out: &mut Vec<u8>, payload_offset: u64) {
        let flag = |on: bool, bit: u8| if on { bit } else { 0 };
        let has_scale = self.scale != Scale::ONE;
        out.push(
            self.kind
                | flag(self.divisor != 1, HAS_DIVISOR)
                | flag(has_scale, HAS_SCALE)
                | flag(!self.exceptions.is_empty(), HAS_EXCEPTIONS)
                | flag(self.dense, IS_DENSE),
        );
        if has_scale {
            out.push(self.scale.byte());
        }
        match self.kind {
            RAW => out.extend_from_slice(&self.raw.to_le_bytes()),
            HISTOGRAMS => {}
            _ => put_signed(out, self.first),
        }
        if matches!(self.kind, LINEAR | SECOND_DIFFERENCES) {
            put_signed(out, self.step);
        }
        if self.divisor != 1 {
            put_varint(out, self.divisor);
        }
        if self.has_payload() {
            put_varint(out, payload_offset);
        }
        if !self.exceptions.is_empty() {
            put_varint(out, self.exceptions.len() as u64);
            let mut next = 0;
            for (row, bits) in &self.exceptions {
                put_varint(out, u64::from(row - next));
                out.extend_from_slice(&bits.to_le_bytes());
                next = row + 1;
            }
        }
    }
}

/// Undoes the encoder's mapping of a double's bits to whole numbers in the order of the doubles.
const fn unordered(number: i64) -> u64 {
    (number ^ (((number >> 63) as u64) >> 1) as i64) as u64
}

/// A column's head as it was read.
#[derive(Clone, Debug)]
pub(crate) struct ColumnHead {
    encoded: Encoded,
    payload_offset: usize,
    /// Lengths of present, absent, present ... rows; empty: all present.
    pub(crate) mask: Vec<u32>,
}

/// What a column holds.
#[derive(Clone, Debug)]
pub(crate) enum Decoded<'a> {
    /// Floats.
    Floats(PieceValues),
    /// Native histograms, one after the other.
    Histograms(&'a [u8]),
}

/// Reads a column's head.
pub(crate) fn read_head(bytes: &[u8]) -> Option<ColumnHead> {
    let mut reader = ByteReader::new(bytes);
    let flags = reader.u8()?;
    let mut encoded = Encoded { dense: flags & IS_DENSE != 0, ..Encoded::plain(flags & 7) };
    if flags & HAS_SCALE != 0 {
        encoded.scale = Scale::from_byte(reader.u8()?)?;
    }
    match encoded.kind {
        RAW => encoded.raw = reader.u64()?,
        HISTOGRAMS => {}
        _ => encoded.first = reader.signed()?,
    }
    if matches!(encoded.kind, LINEAR | SECOND_DIFFERENCES) {
        encoded.step = reader.signed()?;
    }
    if flags & HAS_DIVISOR != 0 {
        encoded.divisor = reader.varint()?;
    }
    let payload_offset = if encoded.has_payload() { usize::try_from(reader.varint()?).ok()? } else { 0 };
    if flags & HAS_EXCEPTIONS != 0 {
        let mut next = 0_u32;
        for _ in 0..reader.count(9)? {
            let row = next.checked_add(reader.varint_u32()?)?;
            encoded.exceptions.push((row, reader.u64()?));
            next = row.checked_add(1)?;
        }
    }
    let mut mask = Vec::new();
    if flags & HAS_MASK != 0 {
        let count = reader.count(1)?;
        mask = (0..count).map(|_| reader.varint_u32()).collect::<Option<_>>()?;
    }
    Some(ColumnHead { encoded, payload_offset, mask })
}

impl ColumnHead {
    /// Decodes `rows` values; `payloads` is the page's payload area with its spare bytes.
    pub(crate) fn decode<'a>(&self, payloads: &'a [u8], rows: usize) -> Option<Decoded<'a>> {
        let encoded = &self.encoded;
        let payload = payloads.get(self.payload_offset..)?;
        if encoded.kind == HISTOGRAMS {
            return Some(Decoded::Histograms(payload));
        }
        let mut values = match encoded.kind {
            RAW => PieceValues::Constant(f64::from_bits(encoded.raw)),
            CONSTANT => PieceValues::Constant(encoded.scale.value(encoded.first)),
            LINEAR if encoded.scale == Scale::ONE && encoded.exceptions.is_empty() && is_exact_line(encoded, rows) => {
                PieceValues::Linear { first: encoded.first as f64, step: encoded.step as f64 }
            }
            _ => PieceValues::Floats(decode_floats(encoded, payload, rows)?),
        };
        if !encoded.exceptions.is_empty() {
            let mut floats = match values {
                PieceValues::Floats(floats) => floats,
                PieceValues::Constant(value) => vec![value; rows],
                PieceValues::Linear { first, step } => (0..rows).map(|i| first + step * i as f64).collect(),
            };
            for (row, bits) in &encoded.exceptions {
                *floats.get_mut(*row as usize)? = f64::from_bits(*bits);
            }
            values = PieceValues::Floats(floats);
        }
        Some(Decoded::Floats(values))
    }
}

/// Returns whether `first + i * step` stays exact in doubles.
fn is_exact_line(encoded: &Encoded, rows: usize) -> bool {
    const WHOLE_MAX: u64 = 1 << 53;
    let reach = encoded.step.unsigned_abs().saturating_mul(rows as u64).saturating_add(encoded.first.unsigned_abs());
    reach < WHOLE_MAX
}

/// Appends a list of `count` numbers; returns the bytes it took.
fn read_list(payload: &[u8], count: usize, dense: bool, out: &mut Vec<u64>) -> Option<usize> {
    if !dense {
        return unpack(payload, count, out);
    }
    let (how, list) = payload.split_first()?;
    let used = match *how {
        LIST_PACKED => unpack(list, count, out)?,
        LIST_BY_TABLE => entropy::read(list, count, out)?,
        _ => return None,
    };
    Some(used + 1)
}

/// Decodes in place: one buffer holds residuals, then the bits of doubles, and becomes the values without a copy.
fn decode_floats(encoded: &Encoded, payload: &[u8], rows: usize) -> Option<Vec<f64>> {
    let mut cells: Vec<u64> = Vec::with_capacity(rows);
    let (divisor, first, mut used) = (encoded.divisor as i64, encoded.first, 0);
    let is_raw = encoded.kind == ORDERED_BITS;
    match encoded.kind {
        LINEAR => {
            let line = |i: usize| first.wrapping_add(encoded.step.wrapping_mul(i as i64));
            cells.extend((0..rows).map(|i| line(i) as u64));
        }
        DIFFERENCES | ORDERED_BITS => {
            // The first residual is none: 0 stands for it.
            cells.push(0);
            used = read_list(payload, rows.saturating_sub(1), encoded.dense, &mut cells)?;
            cells.truncate(rows);
            let mut number = first;
            residuals(&mut cells, divisor, |residual| {
                number = number.wrapping_add(residual);
                number
            });
        }
        SECOND_DIFFERENCES => {
            cells.extend_from_slice(&[0, 0]);
            used = read_list(payload, rows.saturating_sub(2), encoded.dense, &mut cells)?;
            cells.truncate(rows);
            let (mut number, mut difference) = (first.wrapping_sub(encoded.step), encoded.step);
            residuals(&mut cells, divisor, |residual| {
                difference = difference.wrapping_add(residual);
                number = number.wrapping_add(difference);
                number
            });
        }
        OFFSETS => {
            used = read_list(payload, rows, encoded.dense, &mut cells)?;
            for place in &mut cells {
                *place = first.wrapping_add((*place as i64).wrapping_mul(divisor)) as u64;
            }
        }
        _ => return None,
    }
    if is_raw {
        for place in &mut cells {
            *place = unordered(*place as i64);
        }
    } else if encoded.scale.mode() != Mode::Nanos {
        // Scales that need the whole number keep it as it is.
        to_doubles(&mut cells);
    }
    if !is_raw {
        encoded.scale.finish(&mut cells);
    }
    if encoded.scale.mode() == Mode::Corrected {
        let mut corrections = Vec::with_capacity(rows);
        read_list(payload.get(used..)?, rows, encoded.dense, &mut corrections)?;
        for (place, correction) in cells.iter_mut().zip(&corrections) {
            *place = place.wrapping_add(unzigzag(*correction) as u64);
        }
    }
    // Same size and alignment: collected in place.
    Some(cells.into_iter().map(f64::from_bits).collect())
}

/// Replaces zigzagged residuals by the numbers that `next` makes of them. Loops of their own, each for the compiler to make
/// the best of: most divisors are 1.
fn residuals(cells: &mut [u64], divisor: i64, mut next: impl FnMut(i64) -> i64) {
    if divisor == 1 {
        for cell in cells {
            *cell = next(unzigzag(*cell)) as u64;
        }
    } else {
        for cell in cells {
            *cell = next(unzigzag(*cell).wrapping_mul(divisor)) as u64;
        }
    }
}

/// Turns whole numbers into the bits of doubles.
fn to_doubles(cells: &mut [u64]) {
    /// The bits of 1.5 * 2^52, whose last place is 1: a small whole number added to the bits is added to the double.
    const ONES: u64 = 0x4338_0000_0000_0000;
    let wide = cells.iter().fold(0, |wide, cell| wide | (*cell as i64 ^ *cell as i64 >> 63));
    if wide < 1 << 50 {
        for cell in cells {
            *cell = (f64::from_bits(cell.wrapping_add(ONES)) - f64::from_bits(ONES)).to_bits();
        }
    } else {
        for cell in cells {
            *cell = (*cell as i64 as f64).to_bits();
        }
    }
}
