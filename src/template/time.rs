//! Go's `time.Time` and `time.Duration` as templates use them: layouts, methods, printing.

use super::value::Value;
use crate::model::number;
use jiff::{Timestamp, Zoned, tz::TimeZone};
use std::fmt;
use std::fmt::Write as _;
use std::sync::Arc;

/// The layout of Go's `Time.String`.
const STRING_LAYOUT: &str = "2006-01-02 15:04:05.999999999 -0700 MST";
/// The layout of RFC 3339 with fractions, as in JSON.
pub const RFC3339_NANO: &str = "2006-01-02T15:04:05.999999999Z07:00";

pub(super) const MONTHS: [&str; 12] =
    ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];
pub(super) const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// An instant with the zone it is shown in.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(Arc<Zoned>);

impl Time {
    /// Returns the instant in UTC; instants beyond the years that can be written are clipped.
    #[must_use]
    pub fn from_ms(at_ms: i64) -> Self {
        let clipped = at_ms.clamp(Timestamp::MIN.as_millisecond(), Timestamp::MAX.as_millisecond());
        Self::from_timestamp(Timestamp::from_millisecond(clipped).unwrap_or_default())
    }

    fn from_timestamp(at: Timestamp) -> Self {
        Self(Arc::new(at.to_zoned(TimeZone::UTC)))
    }

    /// Returns Go's zero time: the first of January of the year 1, UTC.
    #[must_use]
    pub fn zero() -> Self {
        Self::from_timestamp(Timestamp::from_second(-62_135_596_800).unwrap_or_default())
    }

    /// Returns whether it is Go's zero time.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.0.timestamp().as_second() == -62_135_596_800 && self.0.timestamp().subsec_nanosecond() == 0
    }

    /// Returns milliseconds since 1970.
    #[must_use]
    pub fn as_ms(&self) -> i64 {
        self.0.timestamp().as_nanosecond().div_euclid(1_000_000) as i64
    }

    /// Returns the instant in a zone of the IANA database (`UTC` and the empty name are UTC).
    ///
    /// # Errors
    /// When there is no such zone.
    pub fn in_zone(&self, name: &str) -> Result<Self, String> {
        let name = if name.is_empty() { "UTC" } else { name };
        let zone = if name == "Local" { Ok(TimeZone::system()) } else { TimeZone::get(name) };
        let zone = zone.map_err(|_| format!("unknown time zone {name}"))?;
        Ok(Self(Arc::new(self.0.with_time_zone(zone))))
    }

    /// Returns the instant in UTC.
    #[must_use]
    pub fn utc(&self) -> Self {
        Self::from_timestamp(self.0.timestamp())
    }

    /// Returns the instant that many nanoseconds later.
    #[must_use]
    pub fn add(&self, nanoseconds: i64) -> Self {
        match self.0.checked_add(jiff::SignedDuration::from_nanos(nanoseconds)) {
            Ok(sum) => Self(Arc::new(sum)),
            Err(_) => self.clone(),
        }
    }

    /// Returns the nanoseconds from `earlier` to this instant, clipped to what a duration holds.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> i64 {
        let difference = self.0.timestamp().as_nanosecond() - earlier.0.timestamp().as_nanosecond();
        i64::try_from(difference).unwrap_or(if difference < 0 { i64::MIN } else { i64::MAX })
    }

    /// Parses a text by one of Go's layouts.
    ///
    /// # Errors
    /// When the text is not of that layout.
    pub fn parse(layout: &str, text: &str) -> Result<Self, String> {
        super::time_parse::parse(layout, text)
    }

    pub(super) fn from_zoned(zoned: Zoned) -> Self {
        Self(Arc::new(zoned))
    }

    /// Formats by one of Go's layouts.
    #[must_use]
    pub fn format(&self, layout: &str) -> String {
        let mut out = String::new();
        let mut rest = layout;
        while !rest.is_empty() {
            let (before, token, after) = next_token(rest);
            out.push_str(before);
            if let Some(token) = token {
                self.write_token(&mut out, token);
            }
            rest = after;
        }
        out
    }

    fn write_token(&self, out: &mut String, token: Token) {
        let at = &self.0;
        let hour12 = if at.hour() % 12 == 0 { 12 } else { at.hour() % 12 };
        let done = match token {
            Token::LongMonth => write!(out, "{}", month_name(at.month())),
            Token::ShortMonth => write!(out, "{}", short(month_name(at.month()))),
            Token::Month => write!(out, "{}", at.month()),
            Token::ZeroMonth => write!(out, "{:02}", at.month()),
            Token::LongWeekday => write!(out, "{}", self.weekday()),
            Token::ShortWeekday => write!(out, "{}", short(self.weekday())),
            Token::Day => write!(out, "{}", at.day()),
            Token::SpaceDay => write!(out, "{:2}", at.day()),
            Token::ZeroDay => write!(out, "{:02}", at.day()),
            Token::SpaceYearDay => write!(out, "{:3}", at.day_of_year()),
            Token::ZeroYearDay => write!(out, "{:03}", at.day_of_year()),
            Token::Hour24 => write!(out, "{:02}", at.hour()),
            Token::Hour12 => write!(out, "{hour12}"),
            Token::ZeroHour12 => write!(out, "{hour12:02}"),
            Token::Minute => write!(out, "{}", at.minute()),
            Token::ZeroMinute => write!(out, "{:02}", at.minute()),
            Token::Second => write!(out, "{}", at.second()),
            Token::ZeroSecond => write!(out, "{:02}", at.second()),
            Token::LongYear => write!(out, "{:04}", at.year()),
            Token::Year => write!(out, "{:02}", at.year().rem_euclid(100)),
            Token::UpperPm => write!(out, "{}", if at.hour() >= 12 { "PM" } else { "AM" }),
            Token::LowerPm => write!(out, "{}", if at.hour() >= 12 { "pm" } else { "am" }),
            Token::ZoneName => write!(out, "{}", self.zone_name()),
            Token::Offset(shape) => write!(out, "{}", shape.format(at.offset().seconds())),
            Token::Fraction { point, digits, keep_zeros } => write!(out, "{}", self.fraction(point, digits, keep_zeros)),
        };
        debug_assert!(done.is_ok());
    }

    fn weekday(&self) -> &'static str {
        let place = usize::try_from(self.0.weekday().to_sunday_zero_offset()).unwrap_or(0);
        WEEKDAYS.get(place).copied().unwrap_or("")
    }

    fn zone_name(&self) -> String {
        let info = self.0.time_zone().to_offset_info(self.0.timestamp());
        let name = info.abbreviation().to_owned();
        // The database calls zones without letters by their offset, as Go does.
        if name.is_empty() { OffsetShape::SHORT.format(self.0.offset().seconds()) } else { name }
    }

    fn fraction(&self, point: char, digits: usize, keep_zeros: bool) -> String {
        let nanoseconds = format!("{:09}", self.0.subsec_nanosecond());
        let cut = nanoseconds.get(..digits.min(9)).unwrap_or("");
        let cut = if keep_zeros { cut } else { cut.trim_end_matches('0') };
        if cut.is_empty() { String::new() } else { format!("{point}{cut}") }
    }

    /// Calls a method of Go's `time.Time`; `None` where there is no such method (or templates have no use for it).
    pub(super) fn call(&self, method: &str, args: &[Value]) -> Option<Result<Value, String>> {
        let at = &self.0;
        let value = match (method, args) {
            ("Format", [layout]) => Value::from(self.format(layout.as_text()?)),
            ("String", []) => Value::from(self.to_string()),
            ("Unix", []) => Value::Int(at.timestamp().as_second().min(self.as_ms().div_euclid(1000))),
            ("UnixMilli", []) => Value::Int(self.as_ms()),
            ("UnixMicro", []) => Value::Int(at.timestamp().as_nanosecond().div_euclid(1000) as i64),
            ("UnixNano", []) => Value::Int(at.timestamp().as_nanosecond() as i64),
            ("UTC", []) => Value::Time(self.utc()),
            ("Local", []) => match self.in_zone("Local") {
                Ok(time) => Value::Time(time),
                Err(error) => return Some(Err(error)),
            },
            ("IsZero", []) => Value::Bool(self.is_zero()),
            ("Add", [Value::Duration(nanoseconds)]) => Value::Time(self.add(*nanoseconds)),
            ("Sub", [Value::Time(other)]) => Value::Duration(self.since(other)),
            ("Before", [Value::Time(other)]) => Value::Bool(at.timestamp() < other.0.timestamp()),
            ("After", [Value::Time(other)]) => Value::Bool(at.timestamp() > other.0.timestamp()),
            ("Equal", [Value::Time(other)]) => Value::Bool(at.timestamp() == other.0.timestamp()),
            ("Year", []) => Value::Int(i64::from(at.year())),
            // Go's months and weekdays print as names.
            ("Month", []) => Value::string(month_name(at.month())),
            ("Weekday", []) => Value::string(self.weekday()),
            ("Day", []) => Value::Int(i64::from(at.day())),
            ("YearDay", []) => Value::Int(i64::from(at.day_of_year())),
            ("Hour", []) => Value::Int(i64::from(at.hour())),
            ("Minute", []) => Value::Int(i64::from(at.minute())),
            ("Second", []) => Value::Int(i64::from(at.second())),
            ("Nanosecond", []) => Value::Int(i64::from(at.subsec_nanosecond())),
            ("AddDate", [Value::Int(years), Value::Int(months), Value::Int(days)]) => {
                return Some(self.add_date(*years, *months, *days));
            }
            ("Truncate", [Value::Duration(unit)]) => Value::Time(self.add(-self.remainder(*unit))),
            ("Add" | "Sub" | "Before" | "After" | "Equal" | "Format" | "AddDate" | "Truncate", _) => {
                return Some(Err(format!("wrong arguments for {method}")));
            }
            _ => return None,
        };
        Some(Ok(value))
    }

    fn remainder(&self, unit: i64) -> i64 {
        if unit <= 0 {
            return 0;
        }
        // Go counts from its zero time.
        let since_zero = self.0.timestamp().as_nanosecond() + 62_135_596_800_000_000_000;
        i64::try_from(since_zero.rem_euclid(i128::from(unit))).unwrap_or(0)
    }

    fn add_date(&self, years: i64, months: i64, days: i64) -> Result<Value, String> {
        let span =
            jiff::Span::new().try_years(years).and_then(|span| span.try_months(months)).and_then(|span| span.try_days(days));
        let sum = span.and_then(|span| self.0.checked_add(span)).map_err(|error| error.to_string())?;
        Ok(Value::Time(Self(Arc::new(sum))))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.format(STRING_LAYOUT))
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn month_name(month: i8) -> &'static str {
    usize::try_from(month - 1).ok().and_then(|place| MONTHS.get(place)).copied().unwrap_or("")
}

fn short(name: &str) -> &str {
    name.get(..3).unwrap_or(name)
}

/// How a layout writes the offset from UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OffsetShape {
    /// `Z` for UTC itself.
    pub(super) z: bool,
    /// A colon between the parts.
    pub(super) colon: bool,
    /// Minutes are written.
    pub(super) minutes: bool,
    /// Seconds are written.
    pub(super) seconds: bool,
}

impl OffsetShape {
    const SHORT: Self = Self { z: false, colon: false, minutes: false, seconds: false };

    fn format(self, offset_s: i32) -> String {
        if self.z && offset_s == 0 {
            return "Z".to_owned();
        }
        let sign = if offset_s < 0 { '-' } else { '+' };
        let left = offset_s.abs();
        let mut out = format!("{sign}{:02}", left / 3600);
        let colon = if self.colon { ":" } else { "" };
        if self.minutes {
            put!(&mut out, "{colon}{:02}", left / 60 % 60);
        }
        if self.seconds {
            put!(&mut out, "{colon}{:02}", left % 60);
        }
        out
    }
}

/// One element of a layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    LongMonth,
    ShortMonth,
    Month,
    ZeroMonth,
    LongWeekday,
    ShortWeekday,
    Day,
    SpaceDay,
    ZeroDay,
    SpaceYearDay,
    ZeroYearDay,
    Hour24,
    Hour12,
    ZeroHour12,
    Minute,
    ZeroMinute,
    Second,
    ZeroSecond,
    LongYear,
    Year,
    UpperPm,
    LowerPm,
    ZoneName,
    Offset(OffsetShape),
    Fraction { point: char, digits: usize, keep_zeros: bool },
}

const fn offset(z: bool, colon: bool, minutes: bool, seconds: bool) -> Token {
    Token::Offset(OffsetShape { z, colon, minutes, seconds })
}

/// The fixed words of layouts; a longer word stands before its prefix.
const WORDS: [(&str, Token); 34] = [
    ("January", Token::LongMonth),
    ("Jan", Token::ShortMonth),
    ("Monday", Token::LongWeekday),
    ("Mon", Token::ShortWeekday),
    ("MST", Token::ZoneName),
    ("002", Token::ZeroYearDay),
    ("01", Token::ZeroMonth),
    ("02", Token::ZeroDay),
    ("03", Token::ZeroHour12),
    ("04", Token::ZeroMinute),
    ("05", Token::ZeroSecond),
    ("06", Token::Year),
    ("15", Token::Hour24),
    ("1", Token::Month),
    ("2006", Token::LongYear),
    ("2", Token::Day),
    ("__2", Token::SpaceYearDay),
    ("_2006", Token::LongYear),
    ("_2", Token::SpaceDay),
    ("3", Token::Hour12),
    ("4", Token::Minute),
    ("5", Token::Second),
    ("PM", Token::UpperPm),
    ("pm", Token::LowerPm),
    ("-070000", offset(false, false, true, true)),
    ("-07:00:00", offset(false, true, true, true)),
    ("-0700", offset(false, false, true, false)),
    ("-07:00", offset(false, true, true, false)),
    ("-07", offset(false, false, false, false)),
    ("Z070000", offset(true, false, true, true)),
    ("Z07:00:00", offset(true, true, true, true)),
    ("Z0700", offset(true, false, true, false)),
    ("Z07:00", offset(true, true, true, false)),
    ("Z07", offset(true, false, false, false)),
];

/// Splits a layout at its first element: what stands before, the element, the rest.
pub(super) fn next_token(layout: &str) -> (&str, Option<Token>, &str) {
    for (at, _) in layout.char_indices() {
        let (before, here) = layout.split_at(at);
        if let Some((token, length)) = fraction_at(here).or_else(|| word_at(here)) {
            // `_2006` is an underscore and a year.
            let literal = usize::from(here.starts_with("_2006"));
            return (layout.get(..at + literal).unwrap_or(before), Some(token), here.get(length..).unwrap_or(""));
        }
    }
    (layout, None, "")
}

fn word_at(text: &str) -> Option<(Token, usize)> {
    let (word, token) = WORDS.iter().find(|(word, _)| text.starts_with(word))?;
    // "Jan" must not be the start of another word ("Janet" is none), which Go checks for months and days alone.
    let next = text.get(word.len()..).and_then(|rest| rest.chars().next());
    if matches!(*word, "Jan" | "Mon") && next.is_some_and(|c| c.is_ascii_lowercase()) {
        return None;
    }
    Some((*token, word.len()))
}

fn fraction_at(text: &str) -> Option<(Token, usize)> {
    let mut chars = text.chars();
    let point = chars.next().filter(|c| matches!(c, '.' | ','))?;
    let digit = chars.next().filter(|c| matches!(c, '0' | '9'))?;
    let digits = 1 + chars.clone().take_while(|c| *c == digit).count();
    let behind = chars.nth(digits - 1);
    if behind.is_some_and(|c| c.is_ascii_digit()) {
        return None;
    }
    Some((Token::Fraction { point, digits, keep_zeros: digit == '0' }, 1 + digits))
}

/// Prints nanoseconds as Go's `Duration.String`: `1h30m0s`, `1.5s`, `100ms`.
#[must_use]
pub fn duration_string(nanoseconds: i64) -> String {
    if nanoseconds == 0 {
        return "0s".to_owned();
    }
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let left = nanoseconds.unsigned_abs();
    let fraction = |unit: u64| {
        let text = format!("{:0width$}", left % unit, width = unit.ilog10() as usize);
        let text = text.trim_end_matches('0');
        if text.is_empty() { String::new() } else { format!(".{text}") }
    };
    match left {
        0..1_000 => format!("{sign}{left}ns"),
        1_000..1_000_000 => format!("{sign}{}{}µs", left / 1_000, fraction(1_000)),
        1_000_000..1_000_000_000 => format!("{sign}{}{}ms", left / 1_000_000, fraction(1_000_000)),
        _ => {
            let seconds = left / 1_000_000_000;
            let tail = format!("{}{}s", seconds % 60, fraction(1_000_000_000));
            let minutes = seconds / 60;
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{sign}{tail}"),
                (0, minutes) => format!("{sign}{minutes}m{tail}"),
                (hours, minutes) => format!("{sign}{hours}h{minutes}m{tail}"),
            }
        }
    }
}

/// Calls a method of Go's `time.Duration`; `None` where there is no such method.
pub(super) fn call_duration(nanoseconds: i64, method: &str, args: &[Value]) -> Option<Result<Value, String>> {
    let parts = |unit: i64| {
        let whole = nanoseconds / unit;
        whole as f64 + (nanoseconds % unit) as f64 / unit as f64
    };
    let value = match (method, args) {
        ("String", []) => Value::from(duration_string(nanoseconds)),
        ("Seconds", []) => Value::Float(parts(1_000_000_000)),
        ("Minutes", []) => Value::Float(parts(60_000_000_000)),
        ("Hours", []) => Value::Float(parts(3_600_000_000_000)),
        ("Milliseconds", []) => Value::Int(nanoseconds / 1_000_000),
        ("Microseconds", []) => Value::Int(nanoseconds / 1_000),
        ("Nanoseconds", []) => Value::Int(nanoseconds),
        ("Abs", []) => Value::Duration(nanoseconds.saturating_abs()),
        ("Truncate", [Value::Duration(unit)]) => {
            Value::Duration(if *unit <= 0 { nanoseconds } else { nanoseconds - nanoseconds % unit })
        }
        ("Round", [Value::Duration(unit)]) => Value::Duration(round_to(nanoseconds, *unit)),
        ("Truncate" | "Round", _) => return Some(Err(format!("wrong arguments for {method}"))),
        _ => return None,
    };
    Some(Ok(value))
}

fn round_to(nanoseconds: i64, unit: i64) -> i64 {
    if unit <= 0 {
        return nanoseconds;
    }
    let rest = nanoseconds.rem_euclid(unit);
    let up = if nanoseconds < 0 { rest > unit - rest } else { rest >= unit - rest };
    let low = nanoseconds.saturating_sub(rest);
    if up { low.saturating_add(unit) } else { low }
}

/// Parses a duration of Go's `time.ParseDuration`: `1h15m30.918s`, a sign, units `ns us ms s m h`.
///
/// # Errors
/// When the text is not one; Go's words.
pub fn parse_duration(text: &str) -> Result<i64, String> {
    let invalid = || format!("time: invalid duration {}", number::quote(text));
    let negative = text.starts_with('-');
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total = 0_i128;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
        let (amount, behind) = rest.split_at(digits);
        let letters = behind.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(letters);
        if unit.is_empty() {
            return Err(format!("time: missing unit in duration {}", number::quote(text)));
        }
        let scale: i128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return Err(format!("time: unknown unit {} in duration {}", number::quote(unit), number::quote(text))),
        };
        let (whole, fraction) = amount.split_once('.').unwrap_or((amount, ""));
        if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
            return Err(invalid());
        }
        let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| invalid())? };
        let share = if fraction.is_empty() { 0.0 } else { format!("0.{fraction}").parse::<f64>().map_err(|_| invalid())? };
        total = whole.checked_mul(scale).and_then(|part| total.checked_add(part)).ok_or_else(invalid)?;
        total += (share * scale as f64) as i128;
        rest = behind;
    }
    i64::try_from(if negative { -total } else { total }).map_err(|_| invalid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_are_gos() {
        let time = Time::from_ms(1_435_065_584_128);
        let cases = [
            ("2006-01-02 15:04:05.999999999 -0700 MST", "2015-06-23 13:19:44.128 +0000 UTC"),
            ("Mon Jan 2 15:04:05 2006", "Tue Jun 23 13:19:44 2015"),
            ("Monday, 02-Jan-06 15:04:05 MST", "Tuesday, 23-Jun-15 13:19:44 UTC"),
            ("3:04PM .000 _2 002", "1:19PM .128 23 174"),
            (RFC3339_NANO, "2015-06-23T13:19:44.128Z"),
            ("Januarywort Janet", "Junewort Janet"),
            ("x_2006", "x_2015"),
        ];
        for (layout, expected) in cases {
            assert_eq!(time.format(layout), expected, "{layout}");
        }
        let berlin = time.in_zone("Europe/Berlin").unwrap();
        assert_eq!(berlin.to_string(), "2015-06-23 15:19:44.128 +0200 CEST");
        assert_eq!(Time::zero().to_string(), "0001-01-01 00:00:00 +0000 UTC");
        assert!(Time::zero().is_zero());
    }

    #[test]
    fn durations_are_gos() {
        let cases = [
            (0, "0s"),
            (1, "1ns"),
            (1_100, "1.1µs"),
            (2_200_000, "2.2ms"),
            (3_300_000_000, "3.3s"),
            (1_800_000_000_000, "30m0s"),
            (-5_400_500_000_000, "-1h30m0.5s"),
        ];
        for (nanoseconds, text) in cases {
            assert_eq!(duration_string(nanoseconds), text);
            assert_eq!(parse_duration(text), Ok(nanoseconds), "{text}");
        }
        assert!(parse_duration("5").is_err());
        assert!(parse_duration("3x").is_err());
    }
}
