//! Numbers and strings as Go and Prometheus write them.
//!
//! The digits are Go's shortest digits (`strconv`), which differ from Rust's own on ties: `zmij` gives the same as Go.
//! The layouts are those that Prometheus uses in different places.

use std::fmt::Write as _;

/// Splits into sign, shortest digits and decimal exponent: the value is `0.d1d2d3... * 10^exponent`.
fn digits(value: f64) -> (bool, String, i32) {
    let mut buffer = zmij::Buffer::new();
    let text = buffer.format_finite(value);
    let negative = text.starts_with('-');
    let text = text.trim_start_matches('-');
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().unwrap_or(0)),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut all = format!("{whole}{fraction}");
    let mut point = i32::try_from(whole.len()).unwrap_or(0) + exponent;
    let leading = all.bytes().take_while(|b| *b == b'0').count();
    all.drain(..leading);
    point -= i32::try_from(leading).unwrap_or(0);
    let kept = all.trim_end_matches('0').len();
    all.truncate(kept);
    if all.is_empty() {
        return (negative, "0".to_owned(), 1);
    }
    (negative, all, point)
}

fn special(value: f64) -> Option<&'static str> {
    if value.is_nan() {
        Some("NaN")
    } else if value.is_infinite() {
        Some(if value > 0.0 { "+Inf" } else { "-Inf" })
    } else {
        None
    }
}

/// Formats as Go's `strconv.FormatFloat(value, 'f', -1, 64)`: no exponent ever.
#[must_use]
pub fn format_f(value: f64) -> String {
    if let Some(word) = special(value) {
        return word.to_owned();
    }
    let (negative, digits, point) = digits(value);
    let mut out = String::with_capacity(24);
    if negative {
        out.push('-');
    }
    let places = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    if point <= 0 {
        out.push_str("0.");
        out.extend(std::iter::repeat_n('0', usize::try_from(-point).unwrap_or(0)));
        out.push_str(&digits);
    } else if point >= places {
        out.push_str(&digits);
        out.extend(std::iter::repeat_n('0', usize::try_from(point - places).unwrap_or(0)));
    } else {
        let (whole, fraction) = digits.split_at(usize::try_from(point).unwrap_or(0));
        out.push_str(whole);
        out.push('.');
        out.push_str(fraction);
    }
    out
}

/// Formats as Go's `strconv.FormatFloat(value, 'e', -1, 64)`: one digit, fraction, exponent of two digits at least.
#[must_use]
pub fn format_e(value: f64) -> String {
    if let Some(word) = special(value) {
        return word.to_owned();
    }
    let (negative, digits, point) = digits(value);
    let exponent = if digits == "0" { 0 } else { point - 1 };
    let (first, rest) = digits.split_at(1);
    let mut out = String::with_capacity(24);
    if negative {
        out.push('-');
    }
    out.push_str(first);
    if !rest.is_empty() {
        out.push('.');
        out.push_str(rest);
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    let written = write!(out, "e{sign}{:02}", exponent.abs());
    debug_assert!(written.is_ok());
    out
}

/// Formats as Go's `strconv.FormatFloat(value, 'g', -1, 64)`: an exponent below 1e-4 and from 1e6 on: `1e+06`,
/// `123456` and `1.234567e+06`, as Go's `%v` prints floats.
#[must_use]
pub fn format_g(value: f64) -> String {
    let exponent = if value.is_finite() { digits(value).2 - 1 } else { 0 };
    if value.is_finite() && value != 0.0 && !(-4..6).contains(&exponent) { format_e(value) } else { format_f(value) }
}

/// Formats as Prometheus's JSON API does (`jsonutil.MarshalFloat`): `'f'` for 1e-6 <= |v| < 1e21, else `'e'`.
#[must_use]
pub fn format_api(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude != 0.0 && magnitude.is_finite() && !(1e-6..1e21).contains(&magnitude) {
        format_e(value)
    } else {
        format_f(value)
    }
}

/// Appends what [`format_api`] returns. Most numbers need no exponent in either layout: their digits are copied as they come.
pub fn push_api(out: &mut String, value: f64) {
    if value.is_finite() {
        let mut buffer = zmij::Buffer::new();
        let text = buffer.format_finite(value);
        // Numbers of middling size have no exponent, which is quicker to see than to look for.
        if (1e-4..1e15).contains(&value.abs()) || !text.as_bytes().contains(&b'e') {
            out.push_str(text.strip_suffix(".0").unwrap_or(text));
            return;
        }
    }
    out.push_str(&format_api(value));
}

/// Parses a float as Go's `strconv.ParseFloat` does where Prometheus allows it in text: decimals, exponents, `Inf`, `NaN`
/// in any case, hexadecimal floats, and underscores never.
#[must_use]
pub fn parse_float(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let negative = text.starts_with('-');
    if unsigned.eq_ignore_ascii_case("inf") || unsigned.eq_ignore_ascii_case("infinity") {
        return Some(if negative { f64::NEG_INFINITY } else { f64::INFINITY });
    }
    if text.eq_ignore_ascii_case("nan") {
        return Some(f64::from_bits(super::sample::NORMAL_NAN_BITS));
    }
    if let Some(hex) = unsigned.strip_prefix("0x").or_else(|| unsigned.strip_prefix("0X")) {
        return parse_hex(hex).map(|value| if negative { -value } else { value });
    }
    if !unsigned.bytes().next()?.is_ascii_digit() && !unsigned.starts_with('.') {
        return None;
    }
    unsigned.bytes().all(|b| matches!(b, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-')).then(|| text.parse().ok())?
}

/// Parses the part of a hexadecimal float behind `0x`; the binary exponent is required, as in Go.
fn parse_hex(text: &str) -> Option<f64> {
    let (mantissa, exponent) = text.split_once(['p', 'P'])?;
    let exponent: i32 = exponent.parse().ok()?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut value = 0_f64;
    for c in whole.chars().chain(fraction.chars()) {
        value = value * 16.0 + f64::from(c.to_digit(16)?);
    }
    let shift = i32::try_from(fraction.len()).ok()?.checked_mul(4)?;
    Some(value * 2_f64.powi(exponent.checked_sub(shift)?))
}

/// Quotes as Go's `strconv.Quote` does.
#[must_use]
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\u{b}' => out.push_str("\\v"),
            c if c.is_control() && u32::from(c) < 0x80 => push_escape(&mut out, 'x', 2, c),
            c if is_unprintable(c) && u32::from(c) < 0x1_0000 => push_escape(&mut out, 'u', 4, c),
            c if is_unprintable(c) => push_escape(&mut out, 'U', 8, c),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn is_unprintable(c: char) -> bool {
    c.is_control()
        || (c.is_whitespace() && c != ' ')
        || matches!(c, '\u{feff}' | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{206f}')
}

fn push_escape(out: &mut String, letter: char, width: usize, c: char) {
    let written = write!(out, "\\{letter}{:0width$x}", u32::from(c));
    debug_assert!(written.is_ok());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::excessive_precision, reason = "the tie is the point: Go prints ...062")]
    fn layouts_are_gos() {
        let cases = [
            (0.0, "0", "0e+00", "0"),
            (-0.0, "-0", "-0e+00", "-0"),
            (1.0, "1", "1e+00", "1"),
            (0.1, "0.1", "1e-01", "0.1"),
            (123_456.0, "123456", "1.23456e+05", "123456"),
            (1e6, "1000000", "1e+06", "1e+06"),
            (1_234_567.5, "1234567.5", "1.2345675e+06", "1.2345675e+06"),
            (123_456_789.0, "123456789", "1.23456789e+08", "1.23456789e+08"),
            (1e21, "1000000000000000000000", "1e+21", "1e+21"),
            (1e-4, "0.0001", "1e-04", "0.0001"),
            (1e-7, "0.0000001", "1e-07", "1e-07"),
            (8_883_878_699_810.062_5, "8883878699810.062", "8.883878699810062e+12", "8.883878699810062e+12"),
            (f64::INFINITY, "+Inf", "+Inf", "+Inf"),
        ];
        for (value, f, e, g) in cases {
            assert_eq!(format_f(value), f);
            assert_eq!(format_e(value), e);
            assert_eq!(format_g(value), g);
        }
        let mut bits = 1_u64;
        for _ in 0..20_000 {
            bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // Any bits at all, and numbers of the size that people measure.
            for value in [f64::from_bits(bits), (bits >> 20) as f64 / 1e6, -((bits >> 50) as f64), (bits >> 40) as f64 * 1e-12] {
                let mut pushed = String::new();
                push_api(&mut pushed, value);
                assert_eq!(pushed, format_api(value));
            }
        }
        assert_eq!(format_api(1e-7), "1e-07");
        assert_eq!(format_api(0.0), "0");
    }

    #[test]
    fn parses_what_go_parses() {
        assert_eq!(parse_float("+Inf"), Some(f64::INFINITY));
        assert_eq!(parse_float("-1e3"), Some(-1000.0));
        assert_eq!(parse_float("0x1p-2"), Some(0.25));
        assert!(parse_float("nan").is_some_and(f64::is_nan));
        for bad in ["", "+", "1_0", "infinit", "0x1", "1e", "e1", "--1"] {
            assert_eq!(parse_float(bad), None, "{bad}");
        }
    }
}
