//! Choosing how a column's values become whole numbers, and how those are coded.
//!
//! Values are put on one scale (see [`super::scale`]); what has none becomes an exception. Every candidate is verified bit for
//! bit before it is taken: a scale that does not give a value back makes that value an exception or loses.

use super::entropy::Model;
use super::pack::{gcd, pack, packed_len};
use super::packed::{
    CONSTANT, DIFFERENCES, Encoded, LINEAR, LIST_BY_TABLE, LIST_PACKED, OFFSETS, ORDERED_BITS, RAW, SECOND_DIFFERENCES,
};
use super::scale::{self, Mode, Scale};
use super::varint::{varint_len, zigzag};

/// Maps a double's bits to whole numbers in the order of the doubles.
const fn ordered(bits: u64) -> i64 {
    let bits = bits as i64;
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}

/// How lists of residuals are coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    /// Packed into bits: cheap to write.
    Packed,
    /// By a table of frequencies where that is smaller: for blocks that are kept.
    Dense,
}

/// Encodes values, the cheapest way that gives back every bit.
pub(crate) fn encode(values: &[f64], coding: Coding) -> Encoded {
    let Some(first) = values.first() else { return Encoded::plain(CONSTANT) };
    if values.iter().all(|value| value.to_bits() == first.to_bits()) {
        return match scale::decimal(*first) {
            Some((scale, mantissa)) => Encoded { scale, first: mantissa, ..Encoded::plain(CONSTANT) },
            None => Encoded { raw: first.to_bits(), ..Encoded::plain(RAW) },
        };
    }
    let decimals = Decimals::of(values, coding);
    let mut best = decimals.divided(values);
    let wide = |best: &Option<Encoded>| best.as_ref().is_none_or(|best| best.cost() > 24 + values.len() * 5 / 2);
    if wide(&best) {
        let others =
            decimals.badly_scaled(values).into_iter().chain(decimals.corrected(values)).chain([ordered_bits(values, coding)]);
        for other in others {
            if best.as_ref().is_none_or(|best| other.cost() < best.cost()) {
                best = Some(other);
            }
        }
    }
    best.unwrap_or_else(|| ordered_bits(values, coding))
}

/// What decimal forms the values of a column have.
struct Decimals {
    coding: Coding,
    /// How many values have a shortest form `m / 10^e` with that e.
    exponents: [usize; 23],
    /// Values that have a form of mode 1, 2 or 3 at best.
    badly_scaled: usize,
    /// Values that have no form but could have a corrected one.
    formless: usize,
}

impl Decimals {
    fn of(values: &[f64], coding: Coding) -> Self {
        let mut found = Self { coding, exponents: [0; 23], badly_scaled: 0, formless: 0 };
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
        let on = |exponent: u8| on_scale(values, Scale::new(Mode::Divide, exponent), self.coding);
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
        scales.into_iter().filter_map(|scale| on_scale(values, scale, self.coding)).collect()
    }

    /// Mode 4: decimals with rounding errors in the last bits.
    fn corrected(&self, values: &[f64]) -> Vec<Encoded> {
        // The exponent that most values have; sums keep the digits of what was added.
        let common = (0..=15).max_by_key(|exponent| self.exponents[*exponent]).unwrap_or(0);
        let largest = (0..=15).rev().find(|exponent| self.exponents[*exponent] > 0).unwrap_or(0);
        let mut exponents = vec![common as u8, largest as u8, 3, 6, 9];
        exponents.sort_unstable();
        exponents.dedup();
        exponents.into_iter().filter_map(|exponent| corrected_on(values, exponent, self.coding)).collect()
    }
}

fn cheaper(left: Option<Encoded>, right: Option<Encoded>) -> Option<Encoded> {
    match (left, right) {
        (Some(left), Some(right)) => Some(if right.cost() < left.cost() { right } else { left }),
        (left, right) => left.or(right),
    }
}

/// Puts values on one scale; those that are not on it become exceptions, up to a bound.
fn on_scale(values: &[f64], scale: Scale, coding: Coding) -> Option<Encoded> {
    let exceptions_max = values.len() / 16 + 2;
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
    Some(Encoded { exceptions, scale, ..whole_numbers(&mantissas, coding) })
}

/// Encodes whole numbers in the cheapest kind; `None` are rows whose residual is 0.
fn whole_numbers(numbers: &[Option<i64>], coding: Coding) -> Encoded {
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
    let differences: Vec<u64> = numbers_held.windows(2).map(|pair| zigzag((pair[1] - pair[0]) / whole)).collect();
    let least = numbers_held.iter().copied().min().unwrap_or(first);
    // A row without a number reads as the least: residual 0.
    let offsets: Vec<u64> = numbers.iter().map(|number| number.map_or(0, |number| number.abs_diff(least) / divisor)).collect();
    let (step, second) = second_differences(numbers, first, whole);
    if second.iter().all(|residual| *residual == 0) {
        return Encoded { first, step, ..Encoded::plain(LINEAR) };
    }
    let candidates = [
        (DIFFERENCES, numbers_held[0], 0, List::of(differences, coding)),
        (OFFSETS, least, 0, List::of(offsets, coding)),
        (SECOND_DIFFERENCES, first, step, List::of(second, coding)),
    ];
    let cost = |(_, _, step, list): &(u8, i64, i64, List)| list.bytes + if *step == 0 { 0 } else { varint_len(zigzag(*step)) };
    let Some((kind, first, step, list)) = candidates.into_iter().min_by_key(cost) else { return Encoded::plain(CONSTANT) };
    let mut payload = Vec::new();
    list.put(&mut payload);
    Encoded { first, step, divisor, payload, dense: coding == Coding::Dense, ..Encoded::plain(kind) }
}

/// A list of numbers and the best way to code it.
struct List {
    numbers: Vec<u64>,
    coding: Coding,
    model: Option<Model>,
    bytes: usize,
}

impl List {
    fn of(numbers: Vec<u64>, coding: Coding) -> Self {
        let bytes = packed_len(&numbers);
        if coding == Coding::Packed {
            return Self { numbers, coding, model: None, bytes };
        }
        // A table takes longer to read: it must save something.
        let model = Model::of(&numbers).filter(|model| model.bytes + bytes / 32 < bytes);
        let bytes = 1 + model.as_ref().map_or(bytes, |model| model.bytes);
        Self { numbers, coding, model, bytes }
    }

    fn put(&self, out: &mut Vec<u8>) {
        if let Some(model) = &self.model {
            out.push(LIST_BY_TABLE);
            model.put(out, &self.numbers);
            return;
        }
        if self.coding == Coding::Dense {
            out.push(LIST_PACKED);
        }
        pack(out, &self.numbers);
    }
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

fn corrected_on(values: &[f64], exponent: u8, coding: Coding) -> Option<Encoded> {
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
    let mut encoded = whole_numbers(&mantissas, coding);
    if !encoded.has_payload() {
        return None;
    }
    List::of(corrections, coding).put(&mut encoded.payload);
    Some(Encoded { exceptions, scale, ..encoded })
}

fn ordered_bits(values: &[f64], coding: Coding) -> Encoded {
    let numbers: Vec<i64> = values.iter().map(|value| ordered(value.to_bits())).collect();
    let residuals: Vec<u64> = numbers.windows(2).map(|pair| zigzag(pair[1].wrapping_sub(pair[0]))).collect();
    let (mut payload, dense) = (Vec::new(), coding == Coding::Dense);
    List::of(residuals, coding).put(&mut payload);
    Encoded { first: numbers.first().copied().unwrap_or(0), payload, dense, ..Encoded::plain(ORDERED_BITS) }
}

#[cfg(test)]
mod tests {
    use super::super::pack::SPARE_BYTES;
    use super::super::packed::{Decoded, HAS_DIVISOR, HAS_MASK, HAS_SCALE, read_head};
    use super::*;
    use crate::model::sample::stale_nan;
    use crate::storage::select::join::PieceValues;
    use proptest::prelude::*;

    /// Encodes, decodes, compares bits; returns kind and bytes.
    fn check(values: &[f64]) -> (u8, usize) {
        check_coded(values, Coding::Dense);
        check_coded(values, Coding::Packed)
    }

    fn check_coded(values: &[f64], coding: Coding) -> (u8, usize) {
        let encoded = encode(values, coding);
        let mut head = Vec::new();
        encoded.put_head(&mut head, 3);
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
        let encoded = encode(&[0.5, 1.0, 1.5, 3.0], Coding::Packed);
        encoded.put_head(&mut head, 7);
        assert_eq!(encoded.payload, [3, 0b10_010_010, 0b1]);
        assert_eq!(head, [DIFFERENCES | HAS_DIVISOR | HAS_SCALE, 1, 10, 5, 7]);
        head[0] |= HAS_MASK;
        head.extend_from_slice(&[3, 2, 1, 2]);
        assert_eq!(read_head(&head).expect("a head").mask, [2, 1, 2]);
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
