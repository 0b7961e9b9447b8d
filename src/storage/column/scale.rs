//! Doubles as whole numbers with a scale.
//!
//! Text gives decimals; `m / 10^e` with |m| < 2^53 comes back bit for bit from one division, since division rounds
//! correctly. Some exporters scale badly (`ms * 0.001`, `us / 1000 / 1000`, Go's `whole + nanos / 1e9`); repeating the
//! same arithmetic gives the same bits, so these have modes of their own. Every mantissa is verified before it is used.
//!
//! ```text
//! scale byte:  bits 0-4 exponent e (0..=22)   bits 5-7 mode
//!   mode 0  m / 10^e      1  m * 10^-e      2  m / 1000 / 1000      3  trunc(m/1e9) + (m mod 1e9)/1e9
//!        4  m / 10^e, then the double's bits += a second number (blocks alone)
//! ```

/// Powers of ten that a double holds exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21,
    1e22,
];
/// The nearest doubles to negative powers of ten, as programs write them.
const NEGATIVE_POWERS: [f64; 23] = [
    1e0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-11, 1e-12, 1e-13, 1e-14, 1e-15, 1e-16, 1e-17, 1e-18,
    1e-19, 1e-20, 1e-21, 1e-22,
];
/// Beyond this a double is no longer sure to be a whole number.
const MANTISSA_MAX: f64 = 9_007_199_254_740_992.0;
/// Up to here every decimal is told apart from its neighbours by a double.
const FIFTEEN_DIGITS: f64 = 1e15;
const NANOS: i64 = 1_000_000_000;

/// The largest exponent.
pub(crate) const EXPONENT_MAX: u8 = 22;

/// How a whole number stands for a double.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scale(u8);

/// The arithmetic of a scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// `m / 10^e`
    Divide,
    /// `m * 10^-e`
    Multiply,
    /// `m / 1000 / 1000`
    Twice,
    /// `trunc(m / 1e9) + (m mod 1e9) / 1e9`
    Nanos,
    /// `m / 10^e`, with the bits corrected by a second number
    Corrected,
}

impl Scale {
    /// Whole numbers as they are.
    pub(crate) const ONE: Self = Self(0);

    /// Returns the scale of a mode and exponent.
    pub(crate) const fn new(mode: Mode, exponent: u8) -> Self {
        Self((mode as u8) << 5 | exponent)
    }

    /// Reads a scale byte; `None` for those that mean nothing.
    pub(crate) const fn from_byte(byte: u8) -> Option<Self> {
        if byte >> 5 <= 4 && byte & 31 <= EXPONENT_MAX { Some(Self(byte)) } else { None }
    }

    /// Returns the byte.
    pub(crate) const fn byte(self) -> u8 {
        self.0
    }

    /// Returns the exponent.
    pub(crate) const fn exponent(self) -> usize {
        (self.0 & 31) as usize
    }

    /// Returns the mode.
    pub(crate) const fn mode(self) -> Mode {
        match self.0 >> 5 {
            0 => Mode::Divide,
            1 => Mode::Multiply,
            2 => Mode::Twice,
            3 => Mode::Nanos,
            _ => Mode::Corrected,
        }
    }

    /// Returns the double that `mantissa` stands for.
    pub(crate) fn value(self, mantissa: i64) -> f64 {
        match self.mode() {
            Mode::Divide | Mode::Corrected => mantissa as f64 / POWERS[self.exponent()],
            Mode::Multiply => mantissa as f64 * NEGATIVE_POWERS[self.exponent()],
            Mode::Twice => mantissa as f64 / 1000.0 / 1000.0,
            Mode::Nanos => (mantissa / NANOS) as f64 + (mantissa % NANOS) as f64 / 1e9,
        }
    }

    /// Turns cells into the bits of doubles on this scale. A cell holds the bits of the whole number as a double, or for mode 3
    /// the whole number itself. Plain loops over one buffer, for the compiler to vectorise.
    pub(crate) fn finish(self, cells: &mut [u64]) {
        fn each(cells: &mut [u64], value: impl Fn(f64) -> f64) {
            for cell in cells {
                *cell = value(f64::from_bits(*cell)).to_bits();
            }
        }
        match self.mode() {
            Mode::Divide | Mode::Corrected if self.exponent() == 0 => {}
            Mode::Divide | Mode::Corrected => {
                let power = POWERS[self.exponent()];
                each(cells, |number| number / power);
            }
            Mode::Multiply => {
                let power = NEGATIVE_POWERS[self.exponent()];
                each(cells, |number| number * power);
            }
            Mode::Twice => each(cells, |number| number / 1000.0 / 1000.0),
            Mode::Nanos => {
                for cell in cells {
                    *cell = self.value(*cell as i64).to_bits();
                }
            }
        }
    }

    /// Returns the whole number nearest to `value` on this scale, right or not; `None` where it has more than 53 bits.
    pub(crate) fn nearest(self, value: f64) -> Option<i64> {
        let power = match self.mode() {
            Mode::Divide | Mode::Multiply | Mode::Corrected => POWERS[self.exponent()],
            Mode::Twice => 1e6,
            Mode::Nanos => 1e9,
        };
        let scaled = (value * power).round();
        (scaled.abs() < MANTISSA_MAX).then_some(scaled as i64)
    }

    /// Returns the whole number that gives exactly the bits of `value`, if there is one.
    pub(crate) fn mantissa(self, value: f64) -> Option<i64> {
        let near = self.nearest(value)?;
        let exact = |mantissa: i64| self.value(mantissa).to_bits() == value.to_bits();
        if exact(near) {
            return Some(near);
        }
        // Above fifteen digits the product may have been rounded to the neighbour.
        if (near as f64).abs() < FIFTEEN_DIGITS {
            return None;
        }
        [near - 1, near + 1].into_iter().find(|mantissa| (*mantissa as f64).abs() < MANTISSA_MAX && exact(*mantissa))
    }
}

/// Returns the largest exponent for which `|value| * 10^e` stays below `bound`.
fn exponent_below(value: f64, bound: f64) -> Option<u8> {
    let magnitude = value.abs();
    // log10 from the binary exponent is right to one; the loop settles it.
    let binary = ((value.to_bits() >> 52) & 0x7ff) as i32 - 1023;
    let digits = f64::from(binary) * std::f64::consts::LOG10_2;
    let mut exponent = (bound.log10() - digits).clamp(0.0, f64::from(EXPONENT_MAX)) as u8;
    while exponent < EXPONENT_MAX && magnitude * POWERS[usize::from(exponent) + 1] < bound {
        exponent += 1;
    }
    while magnitude * POWERS[usize::from(exponent)] >= bound {
        exponent = exponent.checked_sub(1)?;
    }
    Some(exponent)
}

/// A decimal with more zeros behind has the same double, so the longest form is tried, then shortened.
fn divided(value: f64, bound: f64) -> Option<(Scale, i64)> {
    let mut exponent = exponent_below(value, bound)?;
    let mut mantissa = Scale::new(Mode::Divide, exponent).mantissa(value)?;
    while exponent > 0 && mantissa % 10 == 0 {
        mantissa /= 10;
        exponent -= 1;
    }
    Some((Scale::new(Mode::Divide, exponent), mantissa))
}

/// Finds the shortest exact form of a double; `None` for those that have none (NaN, infinities, -0.0, noise).
pub(crate) fn decimal(value: f64) -> Option<(Scale, i64)> {
    if !value.is_finite() || (value == 0.0 && value.is_sign_negative()) {
        return None;
    }
    if value == 0.0 {
        return Some((Scale::ONE, 0));
    }
    if let Some(found) = divided(value, FIFTEEN_DIGITS) {
        return Some(found);
    }
    let badly_scaled = [
        Scale::new(Mode::Multiply, 3),
        Scale::new(Mode::Multiply, 6),
        Scale::new(Mode::Multiply, 9),
        Scale::new(Mode::Multiply, 2),
        Scale::new(Mode::Twice, 6),
        Scale::new(Mode::Nanos, 9),
    ];
    let exact = |scale: Scale| scale.mantissa(value).map(|mantissa| (scale, mantissa));
    badly_scaled.into_iter().find_map(exact).or_else(|| divided(value, MANTISSA_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn finds_the_shortest_form() {
        let cases = [
            (0.0, Some((0, 0))),
            (1.0, Some((0, 1))),
            (-1500.0, Some((0, -1500))),
            (0.1, Some((1, 1))),
            (12.34, Some((2, 1234))),
            (1e15, Some((0, 1_000_000_000_000_000))),
            (9_007_199_254_740_991.0, Some((0, 9_007_199_254_740_991))),
            (1.700_000_000_123e9, Some((3, 1_700_000_000_123))),
            (9.0 * 0.001, Some((1 << 5 | 3, 9))),
            (1e-22, Some((22, 1))),
            (-0.0, None),
            (f64::NAN, None),
            (f64::INFINITY, None),
            (1e300, None),
            (f64::MIN_POSITIVE, None),
        ];
        for (value, expected) in cases {
            assert_eq!(decimal(value).map(|(scale, mantissa)| (scale.byte(), mantissa)), expected, "{value}");
        }
    }

    #[test]
    fn inverts_the_arithmetic_of_exporters() {
        for count in [1_i64, 7, 123, 4_567, 1_234_567, 98_765_432_109] {
            for value in
                [count as f64 * 0.001, count as f64 / 1000.0 / 1000.0, (count / NANOS) as f64 + (count % NANOS) as f64 / 1e9]
            {
                let (scale, mantissa) = decimal(value).expect("a form");
                assert_eq!(scale.value(mantissa).to_bits(), value.to_bits());
                assert!(mantissa.abs() <= count.max(10_i64.pow(15)), "{value}: {scale:?} {mantissa}");
            }
        }
    }

    proptest! {
        #[test]
        fn whatever_is_found_is_exact(bits: u64) {
            let value = f64::from_bits(bits);
            if let Some((scale, mantissa)) = decimal(value) {
                prop_assert_eq!(scale.value(mantissa).to_bits(), bits);
            }
        }

        #[test]
        fn every_decimal_of_fifteen_digits_is_found(mantissa in -999_999_999_999_999_i64..=999_999_999_999_999, exponent in 0_u8..=22) {
            prop_assume!(mantissa != 0);
            let value = format!("{mantissa}e-{exponent}").parse::<f64>().expect("a number");
            let (scale, found) = decimal(value).expect("a form");
            prop_assert_eq!(scale.value(found).to_bits(), value.to_bits());
            prop_assert!(found.abs() <= mantissa.abs());
        }
    }
}
