//! Tokens: the form of values that grows, in head streams. Log rows say the same steps in bits ([`super::step_bits`]).
//!
//! ```text
//! t = 0        the last value again, n+1 times; varint n follows
//! t = 1        escape, one byte follows: 0 stale marker
//!                                        1 absent for n rows; varint n follows
//!                                        2 new scale byte, then the zigzagged mantissa
//!                                        3 eight raw bytes: any double
//! t >= 2       mantissa += unzigzag(t - 1)
//! ```
//!
//! Each t is a varint. After a stale marker or raw bytes the scale is 0 and the mantissa 0, so that a value's state
//! never depends on more than the last token that set it.

use super::scale::{self, Scale};
use super::varint::{ByteReader, Word, put_varint, unzigzag, varint_len, varint_word, zigzag};
use crate::model::sample::STALE_NAN_BITS;

const REPEAT: u64 = 0;
const ESCAPE: u64 = 1;
const STALE: u8 = 0;
const ABSENT: u8 = 1;
const SCALED: u8 = 2;
const RAW: u8 = 3;

/// A difference of more bytes than this makes the encoder look for a better scale.
const LONG_TOKEN: usize = 5;

/// Where the decimal form of a series stands; encoder and decoder keep the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Track {
    /// The last mantissa.
    pub(crate) mantissa: i64,
    /// Its scale.
    pub(crate) scale: Scale,
}

/// One value as a token says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The series ended here.
    Stale,
    /// A mantissa on a (new) scale.
    Scaled(Scale, i64),
    /// The bits of a double.
    Raw(u64),
    /// A difference to the last mantissa; never 0.
    Difference(i64),
}

impl Track {
    /// Returns the token that says `value` without regard to what came before.
    pub(crate) fn absolute(value: f64) -> Step {
        if value.to_bits() == STALE_NAN_BITS {
            return Step::Stale;
        }
        scale::decimal(value).map_or(Step::Raw(value.to_bits()), |(scale, mantissa)| Step::Scaled(scale, mantissa))
    }

    /// Returns the shortest token that says `value` after what came before.
    pub(crate) fn step(self, value: f64) -> Step {
        let Some(mantissa) = self.scale.mantissa(value).filter(|mantissa| *mantissa != self.mantissa) else {
            return Self::absolute(value);
        };
        let difference = mantissa - self.mantissa;
        if varint_len(zigzag(difference)) <= LONG_TOKEN {
            return Step::Difference(difference);
        }
        match Self::absolute(value) {
            Step::Scaled(scale, mantissa) if 3 + varint_len(zigzag(mantissa)) < varint_len(zigzag(difference)) => {
                Step::Scaled(scale, mantissa)
            }
            Step::Scaled(..) | Step::Stale | Step::Raw(_) | Step::Difference(_) => Step::Difference(difference),
        }
    }

    /// Moves on over a token and returns the value's bits; `None` where the mantissa leaves its bounds.
    pub(crate) fn advance(&mut self, step: Step) -> Option<u64> {
        match step {
            Step::Stale => {
                *self = Self::default();
                Some(STALE_NAN_BITS)
            }
            Step::Raw(bits) => {
                *self = Self::default();
                Some(bits)
            }
            Step::Scaled(scale, mantissa) => {
                *self = Self { mantissa, scale };
                Some(scale.value(mantissa).to_bits())
            }
            Step::Difference(difference) => {
                self.mantissa = self.mantissa.checked_add(difference)?;
                Some(self.scale.value(self.mantissa).to_bits())
            }
        }
    }

    /// Moves on over a token without computing the value: that is a division, which only the last of many tokens needs. The
    /// inner `Some`: the value's bits where the state does not tell them. `None` where the mantissa leaves its bounds.
    #[inline]
    pub(crate) fn follow(&mut self, step: Step) -> Option<Option<u64>> {
        match step {
            Step::Stale | Step::Raw(_) => self.advance(step).map(Some),
            Step::Scaled(scale, mantissa) => {
                *self = Self { mantissa, scale };
                Some(self.is_default().then_some(0))
            }
            Step::Difference(difference) => {
                self.mantissa = self.mantissa.checked_add(difference)?;
                Some(self.is_default().then_some(0))
            }
        }
    }

    /// Returns whether the state may stand for a stale marker or raw bytes as well as for zero.
    pub(crate) const fn is_default(self) -> bool {
        self.mantissa == 0 && self.scale.byte() == 0
    }

    /// Returns the token that gives this state (and its value) out of nothing; `bits` are the last value's.
    pub(crate) const fn restate(self, bits: u64) -> Step {
        // A track that stands at zero may stand for a stale marker or raw bytes.
        if bits == STALE_NAN_BITS {
            return Step::Stale;
        }
        if self.mantissa == 0 && self.scale.byte() == 0 && bits != 0 {
            Step::Raw(bits)
        } else {
            Step::Scaled(self.scale, self.mantissa)
        }
    }

    /// Returns the token that gives this state (and its value) out of the default one at the value 0.0; `None` where
    /// this is that state.
    pub(crate) const fn since_nothing(self, bits: u64) -> Option<Step> {
        match (self.scale.byte(), self.mantissa) {
            (0, 0) if bits == 0 => None,
            (0, mantissa) if mantissa != 0 => Some(Step::Difference(mantissa)),
            _ => Some(self.restate(bits)),
        }
    }
}

/// Appends a value's token.
pub(crate) fn put_step(out: &mut Vec<u8>, step: Step) {
    match step {
        Step::Stale => out.extend_from_slice(&[ESCAPE as u8, STALE]),
        Step::Scaled(scale, mantissa) => {
            out.extend_from_slice(&[ESCAPE as u8, SCALED, scale.byte()]);
            put_varint(out, zigzag(mantissa));
        }
        Step::Raw(bits) => {
            out.extend_from_slice(&[ESCAPE as u8, RAW]);
            out.extend_from_slice(&bits.to_le_bytes());
        }
        Step::Difference(difference) => put_varint(out, zigzag(difference) + 1),
    }
}

/// Appends "the last value again, `count` times"; `count` is at least 1.
pub(crate) fn put_repeat(out: &mut Vec<u8>, count: u64) {
    put_varint(out, REPEAT);
    put_varint(out, count - 1);
}

/// Returns what [`put_step`] writes for a difference as a word and its length in bytes; `None` where it is long.
#[inline]
pub(crate) const fn difference_word(difference: i64) -> Option<Word> {
    varint_word(zigzag(difference).saturating_add(1))
}

/// The same of [`put_repeat`].
#[inline]
pub(crate) const fn repeat_word(count: u32) -> Option<Word> {
    match varint_word(count as u64 - 1) {
        Some((word, bytes)) => Some((word << 8 | REPEAT, bytes + 1)),
        None => None,
    }
}

/// Appends "absent for `count` rows".
pub(crate) fn put_absent(out: &mut Vec<u8>, count: u64) {
    out.extend_from_slice(&[ESCAPE as u8, ABSENT]);
    put_varint(out, count);
}

/// One token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// A value.
    Value(Step),
    /// The last value so many times more.
    Repeat(u64),
    /// No value in so many rows.
    Absent(u64),
}

/// Reads one token; `None` where the bytes end early or mean nothing.
pub(crate) fn read_token(bytes: &mut ByteReader<'_>) -> Option<Token> {
    match bytes.varint()? {
        REPEAT => bytes.varint()?.checked_add(1).map(Token::Repeat),
        ESCAPE => match bytes.u8()? {
            STALE => Some(Token::Value(Step::Stale)),
            ABSENT => bytes.varint().map(Token::Absent),
            SCALED => {
                let scale = Scale::from_byte(bytes.u8()?)?;
                Some(Token::Value(Step::Scaled(scale, bytes.signed()?)))
            }
            RAW => bytes.u64().map(|bits| Token::Value(Step::Raw(bits))),
            _ => None,
        },
        coded => Some(Token::Value(Step::Difference(unzigzag(coded - 1)))),
    }
}

/// Reads one token that must be a value's, as log rows had them in version 1.
pub(crate) fn read_step(bytes: &mut ByteReader<'_>) -> Option<Step> {
    match read_token(bytes)? {
        Token::Value(step) => Some(step),
        Token::Repeat(_) | Token::Absent(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::sample::stale_nan;
    use proptest::prelude::*;

    fn encoded(values: &[f64]) -> Vec<u8> {
        let mut track = Track::default();
        let mut out = Vec::new();
        for value in values {
            let step = track.step(*value);
            assert_eq!(track.advance(step), Some(value.to_bits()), "{value}");
            put_step(&mut out, step);
        }
        out
    }

    fn decoded(bytes: &[u8]) -> Vec<u64> {
        let (mut reader, mut track, mut out) = (ByteReader::new(bytes), Track::default(), Vec::new());
        while !reader.is_empty() {
            let step = read_step(&mut reader).expect("a value");
            out.push(track.advance(step).expect("in bounds"));
        }
        out
    }

    #[test]
    fn golden_bytes() {
        assert_eq!(encoded(&[5.0, 7.0, 4.0]), [11, 5, 6]);
        assert_eq!(encoded(&[1.5, 2.5]), [1, 2, 1, 30, 21]);
        assert_eq!(encoded(&[3.0, stale_nan()]), [7, 1, 0]);
        assert_eq!(encoded(&[f64::INFINITY]), [1, 3, 0, 0, 0, 0, 0, 0, 0xf0, 0x7f]);
        let mut out = Vec::new();
        put_repeat(&mut out, 1);
        put_absent(&mut out, 300);
        assert_eq!(out, [0, 0, 1, 1, 0xac, 2]);
    }

    #[test]
    fn one_odd_value_does_not_spoil_the_scale_for_good() {
        let spoiled = encoded(&[0.123_456_789_012_345_67, 2e6, 3e6, 4e6]);
        assert!(spoiled.len() < 32, "{}", spoiled.len());
    }

    proptest! {
        #[test]
        fn words_are_the_bytes(difference in any::<i64>(), shift in 0_u32..64, count in 1..u32::MAX) {
            let difference = difference >> shift;
            let mut out = Vec::new();
            put_step(&mut out, Step::Difference(difference));
            prop_assume!(difference != 0);
            match difference_word(difference) {
                Some((word, bytes)) => prop_assert_eq!(&word.to_le_bytes()[..bytes as usize], &out),
                None => prop_assert!(out.len() > 7),
            }
            let mut out = Vec::new();
            put_repeat(&mut out, count.into());
            prop_assert_eq!(repeat_word(count).map(|(word, bytes)| word.to_le_bytes()[..bytes as usize].to_vec()), Some(out));
        }
    }

    fn any_value() -> impl Strategy<Value = f64> {
        prop_oneof![
            any::<u64>().prop_map(f64::from_bits),
            (-1_000_000_i64..1_000_000, 0_usize..6).prop_map(|(m, e)| m as f64 / 10_f64.powi(e as i32)),
            (0_i64..1_000_000).prop_map(|m| m as f64 * 0.001),
            Just(stale_nan()),
            Just(-0.0),
            Just(f64::NEG_INFINITY),
        ]
    }

    proptest! {
        #[test]
        fn values_come_back_bit_for_bit(values in proptest::collection::vec(any_value(), 0..60)) {
            // Equal neighbours are runs, which the stream's owner counts.
            let mut values = values;
            values.dedup_by_key(|value| value.to_bits());
            let bits: Vec<u64> = values.iter().map(|value| value.to_bits()).collect();
            prop_assert_eq!(decoded(&encoded(&values)), bits);
        }

        #[test]
        fn restating_gives_the_same_state(values in proptest::collection::vec(any_value(), 1..20)) {
            let mut track = Track::default();
            for value in values {
                let step = track.step(value);
                let bits = track.advance(step);
                let mut fresh = Track { mantissa: 77, scale: Scale::new(scale::Mode::Divide, 5) };
                prop_assert_eq!(fresh.advance(track.restate(value.to_bits())), bits);
                prop_assert_eq!(fresh, track);
            }
        }

        #[test]
        fn damaged_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let mut reader = ByteReader::new(&bytes);
            while let Some(_token) = read_token(&mut reader) {}
        }
    }
}
