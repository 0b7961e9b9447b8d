//! Tokens in bits: the form of values in the log's rows.
//!
//! Differences of one column are mostly of one size, so a column's coder follows it: a width that jumps up to what a
//! difference needed and sinks while differences stay below it. Writer and reader keep the same.
//!
//! ```text
//! bits from the lowest:
//! 0      z in `width` bits                        difference; z = zigzag(difference) - 1
//! 1 0    n in 6 bits, the n-1 low bits of z       a difference that needs n bits, more than the width
//! 1 1    kind in 2 bits: 0 stale marker
//!                        1 scale byte, n in 6 bits, the n-1 low bits of zigzag(mantissa); n = 0: mantissa 0
//!                        2 64 bits of a double
//! ```
//!
//! In each segment of the log a column begins at 0.0 with scale 0, mantissa 0 and the first width.

use super::bits::{BitReader, BitWriter};
use super::scale::Scale;
use super::token::Step;
use super::varint::{unzigzag, zigzag};

const STALE: u64 = 0;
const SCALED: u64 = 1;
const RAW: u64 = 2;

/// How wide a column's differences are, in quarters of a bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Width(u8);

impl Width {
    /// Before the first difference.
    pub(crate) const FIRST: Self = Self(6 * 4);

    #[inline]
    const fn bits(self) -> u32 {
        (self.0 as u32).div_ceil(4)
    }

    /// Follows a difference of so many bits.
    #[inline]
    const fn after(self, bits: u32) -> Self {
        let width = self.bits();
        if bits >= width {
            return Self(bits as u8 * 4);
        }
        // Far above what is needed it sinks fast, close to it slowly: a wide value costs more than a wide field.
        Self(self.0 - (width - bits) as u8)
    }
}

const fn bit_length(value: u64) -> u32 {
    64 - value.leading_zeros()
}

/// Appends a number by its length in bits; 63 bits at most.
fn put_by_length(out: &mut BitWriter<'_>, value: u64) {
    let length = bit_length(value);
    out.push(u64::from(length), 6);
    if length > 1 {
        out.push(value & !(1 << (length - 1)), length - 1);
    }
}

fn read_by_length(bits: &mut BitReader<'_>) -> Option<u64> {
    let length = bits.take(6)? as u32;
    match length {
        0 | 1 => Some(u64::from(length)),
        _ => Some(1 << (length - 1) | bits.take(length - 1)?),
    }
}

/// Appends a value's token.
#[inline]
pub(crate) fn put(out: &mut BitWriter<'_>, width: &mut Width, step: Step) {
    if let Step::Difference(difference) = step {
        let coded = zigzag(difference) - 1;
        let (needed, held) = (bit_length(coded), width.bits());
        if needed <= held {
            out.push(coded << 1, held + 1);
        } else {
            out.push(0b01, 2);
            put_by_length(out, coded);
        }
        *width = width.after(needed);
        return;
    }
    *width = Width::FIRST;
    match step {
        Step::Stale | Step::Difference(_) => out.push(STALE << 2 | 0b11, 4),
        Step::Scaled(scale, mantissa) => {
            out.push(u64::from(scale.byte()) << 4 | SCALED << 2 | 0b11, 12);
            put_by_length(out, zigzag(mantissa));
        }
        Step::Raw(bits) => {
            out.push(RAW << 2 | 0b11, 4);
            out.push(bits, 64);
        }
    }
}

/// Reads a value's token; `None` where the bits end early or mean nothing.
#[inline]
pub(crate) fn read(bits: &mut BitReader<'_>, width: &mut Width) -> Option<Step> {
    if let Some(coded) = bits.take_behind_zero(width.bits()) {
        *width = width.after(bit_length(coded));
        return Some(Step::Difference(unzigzag(coded + 1)));
    }
    if bits.take(1)? == 0 {
        let coded = bits.take(width.bits())?;
        *width = width.after(bit_length(coded));
        return Some(Step::Difference(unzigzag(coded + 1)));
    }
    if bits.take(1)? == 0 {
        let coded = read_by_length(bits)?;
        *width = width.after(bit_length(coded));
        return Some(Step::Difference(unzigzag(coded + 1)));
    }
    *width = Width::FIRST;
    match bits.take(2)? {
        STALE => Some(Step::Stale),
        SCALED => {
            let scale = Scale::from_byte(bits.take(8)? as u8)?;
            Some(Step::Scaled(scale, unzigzag(read_by_length(bits)?)))
        }
        RAW => bits.take(64).map(Step::Raw),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::sample::stale_nan;
    use crate::storage::column::token::Track;
    use proptest::prelude::*;

    fn encoded(values: &[f64]) -> Vec<u8> {
        let (mut track, mut width, mut out) = (Track::default(), Width::FIRST, Vec::new());
        let mut writer = BitWriter::new(&mut out);
        for value in values {
            let step = track.step(*value);
            assert_eq!(track.advance(step), Some(value.to_bits()), "{value}");
            put(&mut writer, &mut width, step);
        }
        writer.finish();
        out
    }

    #[test]
    fn golden_bytes() {
        // 5: z = 9 in 6 bits. 7: z = 3 in 6 bits. 4: z = 4 in 5 bits.
        assert_eq!(encoded(&[5.0, 7.0, 4.0]), [0b0001_0010, 0b0000_0011, 0b0000_0010]);
        // 1.5: escape, scale byte 1, five bits of zigzag 30.
        assert_eq!(encoded(&[1.5]), [0b0001_0111, 0b0101_0000, 0b0011_1000]);
        assert_eq!(encoded(&[stale_nan()]), [0b0011]);
        assert_eq!(encoded(&[f64::INFINITY]), [0b1011, 0, 0, 0, 0, 0, 0, 0xff, 0x07]);
    }

    #[test]
    fn noise_of_a_few_bits_costs_a_few_bits() {
        let mut state = 1_u64;
        let mut noise = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % 201
        };
        let mut last = 0;
        let mut values: Vec<f64> = (0..1000).map(|_| 1_000_000.0 + noise() as f64).collect();
        values.retain(|value| std::mem::replace(&mut last, value.to_bits()) != value.to_bits());
        // Differences lie within 200 of each other: 8.6 bits on average if they were known beforehand.
        let bits = encoded(&values).len() * 8 / values.len();
        assert!(bits <= 10, "{bits}");
        values[500] = 1e12;
        let bits = encoded(&values).len() * 8 / values.len();
        assert!(bits <= 10, "{bits}");
    }

    fn any_value() -> impl Strategy<Value = f64> {
        prop_oneof![
            any::<u64>().prop_map(f64::from_bits),
            (-1_000_000_i64..1_000_000, 0_usize..6).prop_map(|(m, e)| m as f64 / 10_f64.powi(e as i32)),
            (-9_007_199_254_740_991_i64..9_007_199_254_740_991).prop_map(|m| m as f64),
            (0_i64..1_000_000).prop_map(|m| m as f64 * 0.001),
            Just(stale_nan()),
            Just(-0.0),
        ]
    }

    proptest! {
        #[test]
        fn values_come_back_bit_for_bit(values in proptest::collection::vec(any_value(), 0..80)) {
            let mut values = values;
            values.dedup_by_key(|value| value.to_bits());
            let bytes = encoded(&values);
            let (mut reader, mut track, mut width) = (BitReader::new(&bytes), Track::default(), Width::FIRST);
            for value in values {
                let step = read(&mut reader, &mut width).expect("a value");
                prop_assert_eq!(track.advance(step), Some(value.to_bits()));
            }
        }

        #[test]
        fn damaged_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let (mut reader, mut track, mut width) = (BitReader::new(&bytes), Track::default(), Width::FIRST);
            while let Some(step) = read(&mut reader, &mut width) {
                track.advance(step);
            }
        }
    }
}
