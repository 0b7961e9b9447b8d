//! A finished column: the values of one series over the rows of a window, as a head and a payload. Long: encoder and decoder of each kind stand together.
//!
//! ```text
//! head     u8: bits 0-2 kind, 3 divisor, 4 scale, 5 exceptions, 6 row mask
//!          [scale byte] | zz first (kind 6: eight bytes; kind 7: none) | [zz step: kinds 1, 3] | [varint divisor]
//!          | varint payload offset (kinds 2-5, 7) | [exceptions: n, n x (varint row gap, eight bytes)]
//!          | [row mask: n, n x varint length of present, absent, present ... rows]
//! payload  packed residuals; with mode 4 a second list: corrections of the double's bits, zz
//!
//! kind 0 constant   1 linear   2 differences, zz   3 differences of differences, zz   4 offset from the least value
//!      5 differences of order-preserving double bits, zz   6 constant raw double   7 native histograms, one after the other
//! ```
//!
//! Values are whole numbers on one scale for the column (see [`super::scale`]). What has none (stale markers, infinities,
//! NaN, -0.0) or would spoil it is an exception whose residual is 0. Every candidate is verified bit for bit before it is
//! taken: a scale that does not give a value back makes that value an exception or loses.

use super::pack::{gcd, pack, packed_len, unpack};
use super::scale::{self, Mode, Scale};
use super::varint::{ByteReader, put_signed, put_varint, unzigzag, varint_len, zigzag};
use crate::storage::select::join::PieceValues;

const CONSTANT: u8 = 0;
const LINEAR: u8 = 1;
const DIFFERENCES: u8 = 2;
const SECOND_DIFFERENCES: u8 = 3;
const OFFSETS: u8 = 4;
const ORDERED_BITS: u8 = 5;
const RAW: u8 = 6;
const HISTOGRAMS: u8 = 7;
const HAS_DIVISOR: u8 = 1 << 3;
const HAS_SCALE: u8 = 1 << 4;
const HAS_EXCEPTIONS: u8 = 1 << 5;
const HAS_MASK: u8 = 1 << 6;

/// Bytes of one exception, about.
const EXCEPTION_BYTES: usize = 9;

/// A column ready to be put into a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Encoded {
    kind: u8,
    scale: Scale,
    first: i64,
    raw: u64,
    step: i64,
    divisor: u64,
    exceptions: Vec<(u32, u64)>,
    /// Packed residuals; equal payloads of a page are stored once.
    pub(crate) payload: Vec<u8>,
}

impl Encoded {
    const fn plain(kind: u8) -> Self {
        Self { kind, scale: Scale::ONE, first: 0, raw: 0, step: 0, divisor: 1, exceptions: Vec::new(), payload: Vec::new() }
    }

    /// Returns a column of native histograms, encoded one after the other.
    pub(crate) fn histograms(payload: Vec<u8>) -> Self {
        Self { payload, ..Self::plain(HISTOGRAMS) }
    }

    const fn has_payload(&self) -> bool {
        matches!(self.kind, DIFFERENCES | SECOND_DIFFERENCES | OFFSETS | ORDERED_BITS | HISTOGRAMS)
    }

    fn cost(&self) -> usize {
        let fixed = 2 + varint_len(zigzag(self.first)) + varint_len(zigzag(self.step)) + varint_len(self.divisor);
        fixed + self.payload.len() + self.exceptions.len() * EXCEPTION_BYTES
    }

    /// Appends the head. `mask` are the lengths of present, absent, present ... rows, empty when all are present.
    pub(crate) fn put_head(&self, out: &mut Vec<u8>, payload_offset: u64, mask: &[u32]) {
        let flag = |on: bool, bit: u8| if on { bit } else { 0 };
        let has_scale = self.scale != Scale::ONE;
        out.push(
            self.kind
                | flag(self.divisor != 1, HAS_DIVISOR)
                | flag(has_scale, HAS_SCALE)
                | flag(!self.exceptions.is_empty(), HAS_EXCEPTIONS)
                | flag(!mask.is_empty(), HAS_MASK),
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
        if !mask.is_empty() {
            put_varint(out, mask.len() as u64);
            for length in mask {
                put_varint(out, u64::from(*length));
            }
        }
    }
}

/// Maps a double's bits to whole numbers in the order of the doubles.
const fn ordered(bits: u64) -> i64 {
    let bits = bits as i64;
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}

const fn unordered(number: i64) -> u64 {
    (number ^ (((number >> 63) as u64) >> 1) as i64) as u64
}

/// Encodes values, the cheapest way that gives back every bit.
pub(crate) fn encode(values: &[f64]) -> Encoded {
    let Some(first) = values.first() else { return Encoded::plain(CONSTANT) };
    if values.iter().all(|value| value.to_bits() == first.to_bits()) {
        return match scale::decimal(*first) {
            Some((scale, mantissa)) => Encoded { scale, first: mantissa, ..Encoded::plain(CONSTANT) },
            None => Encoded { raw: first.to_bits(), ..Encoded::plain(RAW) },
        };
    }
    let decimals = Decimals::of(values);
    let mut best = decimals.divided(values);
    let wide = |best: &Option<Encoded>| best.as_ref().is_none_or(|best| best.cost() > 24 + values.len() * 5 / 2);
    if wide(&best) {
        let others = decimals.badly_scaled(values).into_iter().chain(decimals.corrected(values)).chain([ordered_bits(values)]);
        for other in others {
            if best.as_ref().is_none_or(|best| other.cost() < best.cost()) {
                best = Some(other);
            }
        }
    }
    best.unwrap_or_else(|| ordered_bits(values))
}

/// What decimal forms the values of a column have.
struct Decimals {
    /// How many values have a shortest form `m / 10^e` with that e.
    exponents: [usize; 23],
    /// Values that have a form of mode 1, 2 or 3 at best.
    badly_scaled: usize,
    /// Values that have no form but could have a corrected one.
    formless: usize,
}

impl Decimals {
    fn of(values: &[f64]) -> Self {
        let mut found = Self { exponents: [0; 23], badly_scaled: 0, formless: 0 };
        let mut last = None;
        for value in values {
            // Most values repeat the one before.
            if last != Some(value.to_bits()) {
                last = Some(value.to_bits());
                match scale::decimal(*value) {
                    Some((scale, _)) if scale.mode() == Mode::Divide => found.exponents[scale.exponent()] += 1,
                    Some(_) => found.badly_scaled += 1,
                    None if value.is_finite() && *value != 0.0 => found.formless += 1,
                    None => {}
                }
            }
        }
        found
    }

    fn all(&self) -> usize {
        self.exponents.iter().sum::<usize>() + self.badly_scaled + self.formless
    }

    /// The largest exponent after leaving out so many values of larger ones.
    fn exponent_without(&self, mut outliers: usize) -> u8 {
        for exponent in (1..23).rev() {
            if self.exponents[exponent] > outliers {
                return exponent as u8;
            }
            outliers -= self.exponents[exponent];
        }
        0
    }

    /// Mode 0, with few values as exceptions.
    fn divided(&self, values: &[f64]) -> Option<Encoded> {
        let allowed = self.all() / 16 + 2;
        let foreign = self.badly_scaled + self.formless;
        if foreign > allowed {
            return None;
        }
        let exponents = [self.exponent_without(0), self.exponent_without(allowed - foreign)];
        let on = |exponent: u8| on_scale(values, Scale::new(Mode::Divide, exponent), values.len() / 16 + 2);
        let best = on(exponents[0]);
        if exponents[0] == exponents[1] || exponents[0] <= 9 {
            return best;
        }
        cheaper(best, on(exponents[1]))
    }

    /// Modes 1 to 3.
    fn badly_scaled(&self, values: &[f64]) -> Vec<Encoded> {
        if self.badly_scaled == 0 {
            return Vec::new();
        }
        let scales = [
            Scale::new(Mode::Multiply, 3),
            Scale::new(Mode::Multiply, 6),
            Scale::new(Mode::Multiply, 9),
            Scale::new(Mode::Multiply, 2),
            Scale::new(Mode::Twice, 6),
            Scale::new(Mode::Nanos, 9),
        ];
        scales.into_iter().filter_map(|scale| on_scale(values, scale, values.len() / 16 + 2)).collect()
    }

    /// Mode 4: decimals with rounding errors in the last bits.
    fn corrected(&self, values: &[f64]) -> Vec<Encoded> {
        // The exponent that most values have; sums keep the digits of what was added.
        let common = (0..=15).max_by_key(|exponent| self.exponents[*exponent]).unwrap_or(0);
        let largest = (0..=15).rev().find(|exponent| self.exponents[*exponent] > 0).unwrap_or(0);
        let mut exponents = vec![common as u8, largest as u8, 3, 6, 9];
        exponents.sort_unstable();
        exponents.dedup();
        exponents.into_iter().filter_map(|exponent| corrected_on(values, exponent)).collect()
    }
}

fn cheaper(left: Option<Encoded>, right: Option<Encoded>) -> Option<Encoded> {
    match (left, right) {
        (Some(left), Some(right)) => Some(if right.cost() < left.cost() { right } else { left }),
        (left, right) => left.or(right),
    }
}

/// Puts values on one scale; those that are not on it become exceptions, up to a bound.
fn on_scale(values: &[f64], scale: Scale, exceptions_max: usize) -> Option<Encoded> {
    let mut mantissas = Vec::with_capacity(values.len());
    let mut exceptions = Vec::new();
    let (mut last_bits, mut last) = (None, None);
    for (row, value) in values.iter().enumerate() {
        let bits = value.to_bits();
        if last_bits != Some(bits) {
            last_bits = Some(bits);
            last = scale.mantissa(*value);
        }
        if last.is_none() {
            if exceptions.len() == exceptions_max {
                return None;
            }
            exceptions.push((row as u32, bits));
        }
        mantissas.push(last);
    }
    Some(Encoded { exceptions, scale, ..whole_numbers(&mantissas) })
}

/// Encodes whole numbers in the cheapest kind; `None` are rows whose residual is 0.
fn whole_numbers(numbers: &[Option<i64>]) -> Encoded {
    let Some(first) = numbers.iter().find_map(|number| *number) else { return Encoded::plain(CONSTANT) };
    let held = |numbers: &[Option<i64>]| -> Vec<i64> {
        let hold = |last: &mut i64, number: &Option<i64>| {
            *last = number.unwrap_or(*last);
            Some(*last)
        };
        numbers.iter().scan(first, hold).collect()
    };
    let numbers_held = held(numbers);
    let divisor = numbers_held.windows(2).fold(0, |divisor, pair| gcd(divisor, pair[1].abs_diff(pair[0])));
    if divisor == 0 {
        return Encoded { first, ..Encoded::plain(CONSTANT) };
    }
    let whole = divisor as i64;
    let mut candidates = Vec::with_capacity(3);
    let differences: Vec<u64> = numbers_held.windows(2).map(|pair| zigzag((pair[1] - pair[0]) / whole)).collect();
    candidates.push((packed_len(&differences), DIFFERENCES, numbers_held[0], 0, differences));
    let least = numbers_held.iter().copied().min().unwrap_or(first);
    // A row without a number reads as the least: residual 0.
    let offsets: Vec<u64> = numbers.iter().map(|number| number.map_or(0, |number| number.abs_diff(least) / divisor)).collect();
    candidates.push((packed_len(&offsets), OFFSETS, least, 0, offsets));
    let (step, second) = second_differences(numbers, first, whole);
    if second.iter().all(|residual| *residual == 0) {
        return Encoded { first, step, ..Encoded::plain(LINEAR) };
    }
    candidates.push((packed_len(&second) + varint_len(zigzag(step)), SECOND_DIFFERENCES, first, step, second));
    candidates.sort_by_key(|(cost, ..)| *cost);
    let Some((_, kind, first, step, residuals)) = candidates.into_iter().next() else { return Encoded::plain(CONSTANT) };
    let mut payload = Vec::new();
    pack(&mut payload, &residuals);
    Encoded { first, step, divisor, payload, ..Encoded::plain(kind) }
}

/// Returns the first step and the residuals of second differences; a row without a number goes on as before.
fn second_differences(numbers: &[Option<i64>], first: i64, divisor: i64) -> (i64, Vec<u64>) {
    let step = match numbers {
        [_, Some(second), ..] => second - first,
        _ => 0,
    };
    let (mut last, mut difference) = (first + step, step);
    let mut residuals = Vec::with_capacity(numbers.len());
    for number in numbers.iter().skip(2) {
        let expected = last.wrapping_add(difference);
        let number = number.unwrap_or(expected);
        let fresh = number.wrapping_sub(last);
        residuals.push(zigzag(fresh.wrapping_sub(difference) / divisor));
        (last, difference) = (number, fresh);
    }
    (step, residuals)
}

fn corrected_on(values: &[f64], exponent: u8) -> Option<Encoded> {
    let scale = Scale::new(Mode::Corrected, exponent);
    let mut mantissas = Vec::with_capacity(values.len());
    let mut corrections = Vec::with_capacity(values.len());
    let mut exceptions = Vec::new();
    for (row, value) in values.iter().enumerate() {
        let near = if value.is_finite() { scale.nearest(*value) } else { None };
        let wrong = near.map(|near| value.to_bits().wrapping_sub(scale.value(near).to_bits()) as i64);
        let Some((near, wrong)) = near.zip(wrong).filter(|(_, wrong)| wrong.unsigned_abs() < 1 << 40) else {
            if exceptions.len() == values.len() / 16 + 2 {
                return None;
            }
            exceptions.push((row as u32, value.to_bits()));
            mantissas.push(None);
            corrections.push(0);
            continue;
        };
        mantissas.push(Some(near));
        corrections.push(zigzag(wrong));
    }
    let mut encoded = whole_numbers(&mantissas);
    if !encoded.has_payload() {
        return None;
    }
    pack(&mut encoded.payload, &corrections);
    Some(Encoded { exceptions, scale, ..encoded })
}

fn ordered_bits(values: &[f64]) -> Encoded {
    let numbers: Vec<i64> = values.iter().map(|value| ordered(value.to_bits())).collect();
    let residuals: Vec<u64> = numbers.windows(2).map(|pair| zigzag(pair[1].wrapping_sub(pair[0]))).collect();
    let mut payload = Vec::new();
    pack(&mut payload, &residuals);
    Encoded { first: numbers.first().copied().unwrap_or(0), payload, ..Encoded::plain(ORDERED_BITS) }
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
    let mut encoded = Encoded::plain(flags & 7);
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

fn decode_floats(encoded: &Encoded, payload: &[u8], rows: usize) -> Option<Vec<f64>> {
    let mut residuals = Vec::with_capacity(rows);
    let divisor = encoded.divisor as i64;
    let mut used = 0;
    let mut numbers: Vec<i64> = Vec::with_capacity(rows);
    match encoded.kind {
        LINEAR => {
            let line = |i: usize| encoded.first.wrapping_add(encoded.step.wrapping_mul(i as i64));
            numbers.extend((0..rows).map(line));
        }
        DIFFERENCES | ORDERED_BITS => {
            used = unpack(payload, rows.saturating_sub(1), &mut residuals)?;
            let mut number = encoded.first;
            numbers.push(number);
            for residual in &residuals {
                number = number.wrapping_add(unzigzag(*residual).wrapping_mul(divisor));
                numbers.push(number);
            }
        }
        SECOND_DIFFERENCES => {
            used = unpack(payload, rows.saturating_sub(2), &mut residuals)?;
            let (mut number, mut difference) = (encoded.first, encoded.step);
            numbers.push(number);
            number = number.wrapping_add(difference);
            numbers.push(number);
            for residual in &residuals {
                difference = difference.wrapping_add(unzigzag(*residual).wrapping_mul(divisor));
                number = number.wrapping_add(difference);
                numbers.push(number);
            }
            numbers.truncate(rows);
        }
        OFFSETS => {
            used = unpack(payload, rows, &mut residuals)?;
            numbers.extend(residuals.iter().map(|residual| encoded.first.wrapping_add((*residual as i64).wrapping_mul(divisor))));
        }
        _ => return None,
    }
    if encoded.kind == ORDERED_BITS {
        return Some(numbers.into_iter().map(|number| f64::from_bits(unordered(number))).collect());
    }
    let scale = encoded.scale;
    let mut floats: Vec<f64> = if scale == Scale::ONE {
        numbers.into_iter().map(|number| number as f64).collect()
    } else {
        numbers.into_iter().map(|number| scale.value(number)).collect()
    };
    if scale.mode() == Mode::Corrected {
        residuals.clear();
        unpack(payload.get(used..)?, rows, &mut residuals)?;
        for (value, correction) in floats.iter_mut().zip(&residuals) {
            *value = f64::from_bits(value.to_bits().wrapping_add(unzigzag(*correction) as u64));
        }
    }
    Some(floats)
}

#[cfg(test)]
mod tests {
    use super::super::pack::SPARE_BYTES;
    use super::*;
    use crate::model::sample::stale_nan;
    use proptest::prelude::*;

    /// Encodes, decodes, compares bits; returns kind and bytes.
    fn check(values: &[f64]) -> (u8, usize) {
        let encoded = encode(values);
        let mut head = Vec::new();
        encoded.put_head(&mut head, 3, &[]);
        let mut payloads = vec![9; 3];
        payloads.extend_from_slice(&encoded.payload);
        payloads.extend_from_slice(&[0; SPARE_BYTES]);
        let read = read_head(&head).expect("a head");
        let Some(Decoded::Floats(found)) = read.decode(&payloads, values.len()) else { panic!("{values:?}: {encoded:?}") };
        let found: Vec<u64> = match found {
            PieceValues::Constant(value) => vec![value.to_bits(); values.len()],
            PieceValues::Linear { first, step } => (0..values.len()).map(|i| (first + step * i as f64).to_bits()).collect(),
            PieceValues::Floats(found) => found.iter().map(|value| value.to_bits()).collect(),
        };
        assert_eq!(found, values.iter().map(|value| value.to_bits()).collect::<Vec<_>>(), "{encoded:?}");
        (encoded.kind, head.len() + encoded.payload.len())
    }

    #[test]
    fn kinds_and_sizes() {
        let counter: Vec<f64> = (0..480)
            .scan(1000.0, |at, i| {
                *at += f64::from(i * 7 % 5);
                Some(*at)
            })
            .collect();
        let clock: Vec<f64> = (0..480).map(|i| 1_700_000_000.0 + f64::from(i) * 15.0).collect();
        let pages: Vec<f64> = (0..480).map(|i| f64::from(i * 31 % 17) * 4096.0).collect();
        let seconds: Vec<f64> = (0..480)
            .scan(5.0, |at, i| {
                *at += f64::from(i % 4) * 0.01;
                Some((*at * 100.0_f64).round() / 100.0)
            })
            .collect();
        let millis: Vec<f64> = (0..480).map(|i| f64::from(i * 7919 % 5003) * 0.001).collect();
        let noise: Vec<f64> = (1..480).map(|i| f64::from(i).sqrt()).collect();
        let summed: Vec<f64> = (0..480)
            .scan(0.0, |at, i| {
                *at += f64::from(i % 13) * 0.1;
                Some(*at)
            })
            .collect();
        let any = u8::MAX;
        let cases: [(&str, &[f64], u8, usize); 10] = [
            ("constant", &[2.5; 480], CONSTANT, 4),
            ("nothing", &[], CONSTANT, 3),
            ("raw", &[f64::NAN; 5], RAW, 9),
            ("clock", &clock, LINEAR, 8),
            ("counter", &counter, any, 200),
            ("pages", &pages, any, 310),
            ("seconds", &seconds, any, 200),
            ("millis", &millis, any, 810),
            ("noise", &noise, any, 4000),
            ("summed", &summed, any, 900),
        ];
        for (name, values, kind, bytes_max) in cases {
            let (found, bytes) = check(values);
            assert!(bytes <= bytes_max, "{name}: {bytes} bytes, kind {found}");
            assert!(found == kind || kind == any, "{name}: kind {found}, {bytes} bytes");
        }
    }

    #[test]
    fn one_odd_value_does_not_spoil_a_column() {
        let mut values: Vec<f64> = (0..480).map(|i| f64::from(i * 3 % 7)).collect();
        let (_, before) = check(&values);
        for (row, odd) in [(5, stale_nan()), (200, 0.123_456_789_012_345_67), (479, f64::INFINITY), (0, -0.0)] {
            values[row] = odd;
        }
        let (_, after) = check(&values);
        assert!(after < before + 60, "{before} {after}");
        check(&[1.0, stale_nan()]);
        check(&[stale_nan(), 1.0, 2.0, 3.0]);
        check(&[stale_nan(), f64::INFINITY]);
        check(&[0.0, -0.0]);
        check(&[9e15, -9e15, 9e15]);
        check(&[f64::MAX, f64::MIN, f64::MIN_POSITIVE]);
    }

    #[test]
    fn golden_bytes() {
        let mut head = Vec::new();
        let encoded = encode(&[0.5, 1.0, 1.5, 3.0]);
        encoded.put_head(&mut head, 7, &[2, 1, 2]);
        assert_eq!(encoded.payload, [3, 0b10_010_010, 0b1]);
        assert_eq!(head, [DIFFERENCES | HAS_DIVISOR | HAS_SCALE | HAS_MASK, 1, 10, 5, 7, 3, 2, 1, 2]);
    }

    fn value() -> impl Strategy<Value = f64> {
        prop_oneof![
            4 => (-100_000_i64..100_000, 0_i32..4).prop_map(|(m, e)| m as f64 / 10_f64.powi(e)),
            2 => (0_i64..1_000_000).prop_map(|m| m as f64 * 0.001),
            1 => any::<u64>().prop_map(f64::from_bits),
            1 => Just(stale_nan()),
            1 => Just(-0.0),
        ]
    }

    proptest! {
        #[test]
        fn values_come_back_bit_for_bit(values in proptest::collection::vec(value(), 0..300)) {
            check(&values);
        }

        #[test]
        fn smooth_values_come_back(steps in proptest::collection::vec(-3_i64..40, 1..600), unit in prop_oneof![Just(1.0), Just(0.001), Just(1e-9), Just(4096.0), Just(0.1)]) {
            let values: Vec<f64> = steps.iter().scan(0, |at, step| { *at += step; Some(*at as f64 * unit) }).collect();
            check(&values);
            let summed: Vec<f64> = steps.iter().scan(0.0, |at, step| { *at += *step as f64 * unit; Some(*at) }).collect();
            check(&summed);
        }

        #[test]
        fn damaged_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100), rows in 0_usize..600) {
            if let Some(head) = read_head(&bytes) {
                let _decoded = head.decode(&bytes, rows);
            }
        }
    }
}
