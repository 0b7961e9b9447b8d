//! Durations as Prometheus writes them: `1h30m`, units `y w d h m s ms`, largest first, each once.

use std::time::Duration;

const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 24 * 3_600_000),
    ("w", 7 * 24 * 3_600_000),
    ("d", 24 * 3_600_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

/// Why a duration could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Nothing there.
    #[error("empty duration string")]
    Empty,
    /// Not of the form `1h30m`.
    #[error("not a valid duration string: {}", super::number::quote(.0))]
    Invalid(String),
    /// A unit that does not exist: the unit, then the whole text.
    #[error("unknown unit {} in duration {}", super::number::quote(.0), super::number::quote(.1))]
    UnknownUnit(String, String),
    /// Larger than 2^63 nanoseconds.
    #[error("duration out of range")]
    OutOfRange,
}

/// Parses a duration of the classic form; `0` needs no unit.
///
/// # Errors
/// When the text is empty, has unknown units, units out of order or twice, or passes 2^63 nanoseconds.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    if text.is_empty() {
        return Err(DurationError::Empty);
    }
    let invalid = || DurationError::Invalid(text.to_owned());
    let mut rest = text;
    let mut next_unit = 0;
    let mut total_ms: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, behind) = rest.split_at(digits);
        let letters = behind.find(|c: char| c.is_ascii_digit()).unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(letters);
        if digits == 0 || unit.is_empty() {
            return Err(invalid());
        }
        let unknown = || DurationError::UnknownUnit(unit.to_owned(), text.to_owned());
        let place = UNITS.iter().position(|(name, _)| *name == unit).ok_or_else(unknown)?;
        if place < next_unit {
            return Err(invalid());
        }
        let amount: u64 = number.parse().map_err(|_| DurationError::OutOfRange)?;
        let part = amount.checked_mul(UNITS[place].1).ok_or(DurationError::OutOfRange)?;
        total_ms = total_ms.checked_add(part).ok_or(DurationError::OutOfRange)?;
        next_unit = place + 1;
        rest = behind;
    }
    if total_ms > 9_223_372_036_854 {
        return Err(DurationError::OutOfRange);
    }
    Ok(Duration::from_millis(total_ms))
}

/// Formats as Prometheus's `model.Duration.String`: `1h30m`, weeks and years only where they are exact.
#[must_use]
pub fn format(duration: Duration) -> String {
    let mut left = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if left == 0 {
        return "0s".to_owned();
    }
    let mut out = String::new();
    for (unit, size) in UNITS {
        let exact_only = matches!(unit, "y" | "w");
        if exact_only && !left.is_multiple_of(size) {
            continue;
        }
        if left >= size {
            out.push_str(&(left / size).to_string());
            out.push_str(unit);
            left %= size;
        }
    }
    out
}

/// Formats milliseconds, with a sign.
#[must_use]
pub fn format_ms(milliseconds: i64) -> String {
    let sign = if milliseconds < 0 { "-" } else { "" };
    format!("{sign}{}", format(Duration::from_millis(milliseconds.unsigned_abs())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes() {
        let cases = [("0", "0s"), ("0w", "0s"), ("324ms", "324ms"), ("3s", "3s"), ("5m", "5m"), ("1h", "1h"), ("4d", "4d")];
        let more = [("4d1h", "4d1h"), ("14d", "2w"), ("3w", "3w"), ("3w2d1h", "23d1h"), ("10y", "10y"), ("1h30m", "1h30m")];
        for (text, printed) in cases.into_iter().chain(more) {
            assert_eq!(parse(text).map(format), Ok(printed.to_owned()), "{text}");
        }
        for bad in ["", "1", "1y1m1d", "-1w", "1.5d", "d", "294y", "200y10400w", "107675d", "2584200h", "1h1h"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
