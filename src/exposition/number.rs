//! Numbers of the exposition formats: an exact fast way for what exporters write, and Go's rules for the rest.
//!
//! Exporters write short decimals. Up to 2^53 the digits are an exact double, powers of ten up to 10^22 are exact too, and
//! one multiplication or division of two exact doubles is rounded correctly by IEEE 754 (Clinger 1990): the result has the
//! same bits as any correct parser's. Everything else goes to the standard library.

use super::error::quote_bytes;
use crate::model::number;

const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21,
    1e22,
];

/// Reads a plain decimal at the start of `bytes`: the value and how many bytes it took.
///
/// `None` where there is none, or where this way would not be exact; then [`parse_value`] knows. What follows the number is
/// not looked at.
#[inline]
#[must_use]
pub fn parse_decimal(bytes: &[u8]) -> Option<(f64, usize)> {
    let negative = bytes.first() == Some(&b'-');
    let start = usize::from(negative);
    let mut at = start;
    let mut mantissa: u64 = 0;
    let mut digits = 0;
    while let Some(digit) = digit_at(bytes, at) {
        mantissa = mantissa.wrapping_mul(10).wrapping_add(digit);
        at += 1;
    }
    digits += at - start;
    let mut scale: i32 = 0;
    if bytes.get(at) == Some(&b'.') {
        at += 1;
        let fraction = at;
        while let Some(digit) = digit_at(bytes, at) {
            mantissa = mantissa.wrapping_mul(10).wrapping_add(digit);
            at += 1;
        }
        digits += at - fraction;
        scale = -((at - fraction) as i32);
    }
    if digits == 0 || digits > 19 {
        return None;
    }
    if let Some(b'e' | b'E') = bytes.get(at) {
        let (exponent, length) = parse_exponent(&bytes[at + 1..])?;
        scale += exponent;
        at += 1 + length;
    }
    if mantissa >= 1 << 53 {
        return None;
    }
    let value = mantissa as f64;
    let power = *POWERS.get(scale.unsigned_abs() as usize)?;
    let value = if scale < 0 { value / power } else { value * power };
    Some((if negative { -value } else { value }, at))
}

#[inline]
fn digit_at(bytes: &[u8], at: usize) -> Option<u64> {
    let digit = bytes.get(at)?.wrapping_sub(b'0');
    (digit < 10).then_some(u64::from(digit))
}

fn parse_exponent(bytes: &[u8]) -> Option<(i32, usize)> {
    let negative = bytes.first() == Some(&b'-');
    let start = usize::from(matches!(bytes.first(), Some(b'-' | b'+')));
    let mut at = start;
    let mut exponent: i32 = 0;
    while let Some(digit) = digit_at(bytes, at) {
        exponent = exponent.checked_mul(10)?.checked_add(digit as i32)?;
        at += 1;
    }
    (at > start && exponent < 1000).then_some((if negative { -exponent } else { exponent }, at))
}

/// Parses a whole value token as Prometheus does: Go's `ParseFloat` without `_` and hexadecimal exponents; NaN in its one form.
///
/// # Errors
/// Go's own words.
pub fn parse_value(token: &[u8]) -> Result<f64, String> {
    if let Some((value, length)) = parse_decimal(token)
        && length == token.len()
    {
        return Ok(value);
    }
    if token.iter().any(|byte| matches!(byte, b'p' | b'P' | b'_')) {
        return Err("unsupported character in float".to_owned());
    }
    let parsed = str::from_utf8(token).ok().and_then(number::parse_float);
    match parsed {
        Some(value) if value.is_infinite() && token.iter().any(u8::is_ascii_digit) => {
            Err(format!("strconv.ParseFloat: parsing {}: value out of range", quote_bytes(token)))
        }
        Some(value) => Ok(value),
        None => Err(format!("strconv.ParseFloat: parsing {}: invalid syntax", quote_bytes(token))),
    }
}

/// Formats as OpenMetrics writes bounds and quantiles: always with a point or an exponent (`1.0`, `1e+06`, `+Inf`).
#[must_use]
pub fn format_bound(value: f64) -> String {
    let mut text = number::format_g(value);
    if value.is_finite() && !text.contains(['e', '.']) {
        text.push_str(".0");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(text: &str) {
        let expected: f64 = text.parse().unwrap();
        let parsed = parse_value(text.as_bytes()).unwrap();
        assert_eq!(parsed.to_bits(), expected.to_bits(), "{text}");
    }

    #[test]
    fn agrees_with_std_on_ordinary_texts() {
        for text in
            ["0", "-0", "1", "-1.5", "4.9351e-05", "7.424100000000001e-05", "1.62e+22", "9007199254740993", "1e22", "1e23"]
        {
            check(text);
        }
        for text in ["0.00010206100000000001", "1.", ".5", "123456789012345678901234567890", "1e-400", "2.5E3", "0001"] {
            check(text);
        }
    }

    #[test]
    fn refuses_what_go_refuses() {
        for bad in ["", "-", ".", "1e", "1e+", "true", "1_2", "0x1p-3", "0x10", "+nan", "1e999", "1 ", "--1", "1.2.3"] {
            assert!(parse_value(bad.as_bytes()).is_err(), "{bad}");
        }
        assert_eq!(parse_value(b"+Inf"), Ok(f64::INFINITY));
        assert_eq!(parse_value(b"nan").unwrap().to_bits(), crate::model::sample::NORMAL_NAN_BITS);
    }

    #[test]
    fn bounds_have_a_point() {
        for (value, text) in [(1.0, "1.0"), (0.25, "0.25"), (1e6, "1e+06"), (f64::INFINITY, "+Inf"), (-1.0, "-1.0"), (0.0, "0.0")]
        {
            assert_eq!(format_bound(value), text);
        }
    }

    proptest! {
        #[test]
        fn has_the_bits_of_std_for_any_double(bits: u64) {
            let value = f64::from_bits(bits);
            if value.is_finite() {
                check(&format!("{value:e}"));
                check(&value.to_string());
            }
        }

        #[test]
        fn has_the_bits_of_std_for_any_decimal(text in "-?[0-9]{1,20}(\\.[0-9]{0,20})?([eE][+-]?[0-9]{1,2})?") {
            check(&text);
        }
    }
}
