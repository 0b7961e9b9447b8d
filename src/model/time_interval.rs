//! Time intervals of Alertmanager's `time_intervals`: when a route is muted or active.
//!
//! An interval names minutes of the day, weekdays, days of the month, months and years; each part that is given must hold.
//! A day of the month below zero counts from the month's end. Without a location, times are UTC. This follows
//! Alertmanager's `timeinterval` package, the checks and their words included.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Why a part of an interval was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TimeIntervalError(pub String);

/// Minutes of the day, the end excluded; 0 to 1440.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MinuteRange {
    /// First minute.
    pub start: u16,
    /// The minute after the last.
    pub end: u16,
}

/// A range of numbers, both ends included: weekdays (Sunday is 0), days of the month, months (January is 1) or years.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IntervalRange {
    /// The first.
    pub begin: i32,
    /// The last.
    pub end: i32,
}

/// One interval. A part that is `None` does not restrict; an empty list never holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TimeInterval {
    /// Minutes of the day.
    pub times: Option<Vec<MinuteRange>>,
    /// Weekdays, Sunday is 0.
    pub weekdays: Option<Vec<IntervalRange>>,
    /// Days of the month; below zero from its end.
    pub days_of_month: Option<Vec<IntervalRange>>,
    /// Months, January is 1.
    pub months: Option<Vec<IntervalRange>>,
    /// Years.
    pub years: Option<Vec<IntervalRange>>,
    /// Where the clock hangs; UTC if absent.
    pub location: Option<TimeZone>,
}

/// An interval list with a name, as routes refer to it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NamedTimeInterval {
    /// The name.
    pub name: String,
    /// One of them must hold.
    pub intervals: Vec<TimeInterval>,
}

const WEEKDAYS: [&str; 7] = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];
const MONTHS: [&str; 12] =
    ["january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december"];

fn error<T>(message: String) -> Result<T, TimeIntervalError> {
    Err(TimeIntervalError(message))
}

/// Reads `HH:MM`, `00:00` to `24:00`, as the minute of the day.
fn parse_minute(text: &str) -> Result<u16, TimeIntervalError> {
    let bad = || TimeIntervalError(format!("couldn't parse timestamp {text}, invalid format"));
    let &[h1, h2, b':', m1, m2] = text.as_bytes() else { return Err(bad()) };
    if ![h1, h2, m1, m2].iter().all(u8::is_ascii_digit) {
        return Err(bad());
    }
    let number = |high: u8, low: u8| u16::from(high - b'0') * 10 + u16::from(low - b'0');
    let (hour, minute) = (number(h1, h2), number(m1, m2));
    if (hour < 24 && minute < 60) || (hour == 24 && minute == 0) { Ok(hour * 60 + minute) } else { Err(bad()) }
}

impl MinuteRange {
    /// Reads `start_time` and `end_time`; an empty text stands for an absent key.
    ///
    /// # Errors
    /// When one is missing, malformed, or the start is not before the end.
    pub fn parse(start: &str, end: &str) -> Result<Self, TimeIntervalError> {
        if start.is_empty() || end.is_empty() {
            return error("both start and end times must be provided".to_owned());
        }
        let range = Self { start: parse_minute(start)?, end: parse_minute(end)? };
        if range.start >= range.end {
            return error("start time cannot be equal or greater than end time".to_owned());
        }
        Ok(range)
    }
}

/// Splits `a:b` or `a` and reads both ends.
fn parse_range(text: &str, member: impl Fn(&str) -> Result<i32, TimeIntervalError>) -> Result<IntervalRange, TimeIntervalError> {
    let text = text.to_lowercase();
    let Some((begin, end)) = text.split_once(':') else {
        let only = member(&text)?;
        return Ok(IntervalRange { begin: only, end: only });
    };
    if end.contains(':') {
        return error(format!("couldn't parse range {text}, invalid format"));
    }
    Ok(IntervalRange { begin: member(begin)?, end: member(end)? })
}

fn number(text: &str) -> Result<i32, TimeIntervalError> {
    text.parse().or_else(|_| error(format!("{} is not a number", super::number::quote(text))))
}

fn month_name(month: i32) -> &'static str {
    usize::try_from(month - 1).ok().and_then(|place| MONTHS.get(place)).copied().unwrap_or("")
}

impl IntervalRange {
    /// Reads `monday:friday` or `sunday`.
    ///
    /// # Errors
    /// When a name is unknown or the end comes before the start (a week begins on Sunday).
    pub fn parse_weekdays(text: &str) -> Result<Self, TimeIntervalError> {
        let range = parse_range(text, |name| match WEEKDAYS.iter().position(|day| *day == name) {
            Some(place) => Ok(place as i32),
            None => error(format!("{name} is not a valid weekday")),
        })?;
        if range.begin > range.end {
            return error("start day cannot be before end day".to_owned());
        }
        Ok(range)
    }

    /// Reads `1:10`, `-3:-1` or `15`.
    ///
    /// # Errors
    /// When a day is 0 or beyond 31 either way, or the end is always before the start.
    pub fn parse_days_of_month(text: &str) -> Result<Self, TimeIntervalError> {
        let range = parse_range(text, number)?;
        for day in [range.begin, range.end] {
            if day == 0 || day.abs() > 31 {
                return error(format!("{day} is not a valid day of the month: out of range"));
            }
        }
        if range.begin < 0 && range.end > 0 {
            return error("end day must be negative if start day is negative".to_owned());
        }
        let from_start = |day: i32| if day < 0 { 30 + day } else { day };
        if from_start(range.begin) > from_start(range.end) {
            return error(format!("end day {} is always before start day {}", range.end, range.begin));
        }
        Ok(range)
    }

    /// Reads `january:march`, `1:3` or `may`.
    ///
    /// # Errors
    /// When a month is unknown or the end comes before the start.
    pub fn parse_months(text: &str) -> Result<Self, TimeIntervalError> {
        let range = parse_range(text, |name| {
            let named = MONTHS.iter().position(|month| *month == name).map(|place| place as i32 + 1);
            match named.or_else(|| name.parse().ok().filter(|month| (1..=12).contains(month))) {
                Some(month) => Ok(month),
                None => error(format!("{name} is not a valid month")),
            }
        })?;
        if range.begin > range.end {
            let (begin, end) = (month_name(range.begin), month_name(range.end));
            return error(format!("end month {end} is before start month {begin}"));
        }
        Ok(range)
    }

    /// Reads `2020:2022` or `2023`.
    ///
    /// # Errors
    /// When a year is not a number or the end comes before the start.
    pub fn parse_years(text: &str) -> Result<Self, TimeIntervalError> {
        let range = parse_range(text, number)?;
        if range.begin > range.end {
            return error(format!("end year {} is before start year {}", range.end, range.begin));
        }
        Ok(range)
    }

    const fn holds(self, value: i32) -> bool {
        self.begin <= value && value <= self.end
    }

    /// Returns whether a day of a month of `days` days lies within the range, ends below zero counted from the month's end.
    fn holds_day(self, day: i32, days: i32) -> bool {
        let from_start = |given: i32| if given < 0 { days + given + 1 } else { given };
        let (begin, end) = (from_start(self.begin), from_start(self.end));
        begin <= days && begin <= day && day <= end.min(days)
    }
}

/// Finds a time zone by its IANA name; `Local` is the machine's, empty is UTC.
///
/// # Errors
/// When no such zone is known.
pub fn parse_location(name: &str) -> Result<TimeZone, TimeIntervalError> {
    match name {
        "" | "UTC" => Ok(TimeZone::UTC),
        "Local" => Ok(TimeZone::system()),
        name => TimeZone::get(name).or_else(|_| error(format!("unknown time zone {name}"))),
    }
}

fn any<T: Copy>(part: Option<&[T]>, holds: impl Fn(T) -> bool) -> bool {
    part.is_none_or(|ranges| ranges.iter().any(|range| holds(*range)))
}

impl TimeInterval {
    /// Returns whether the moment lies within the interval.
    #[must_use]
    pub fn contains(&self, at_ms: i64) -> bool {
        let Ok(at) = Timestamp::from_millisecond(at_ms) else { return false };
        let at = at.to_zoned(self.location.clone().unwrap_or(TimeZone::UTC));
        let minute = u16::from(at.hour().unsigned_abs()) * 60 + u16::from(at.minute().unsigned_abs());
        let weekday = i32::from(at.weekday().to_sunday_zero_offset());
        any(self.times.as_deref(), |range| range.start <= minute && minute < range.end)
            && any(self.days_of_month.as_deref(), |range| range.holds_day(i32::from(at.day()), i32::from(at.days_in_month())))
            && any(self.months.as_deref(), |range| range.holds(i32::from(at.month())))
            && any(self.weekdays.as_deref(), |range| range.holds(weekday))
            && any(self.years.as_deref(), |range| range.holds(i32::from(at.year())))
    }
}

impl NamedTimeInterval {
    /// Returns whether one of the intervals holds.
    #[must_use]
    pub fn contains(&self, at_ms: i64) -> bool {
        self.intervals.iter().any(|interval| interval.contains(at_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::DateTime;

    fn at(zone: &str, local: &str) -> i64 {
        let local: DateTime = local.parse().expect("a time");
        local.to_zoned(parse_location(zone).expect("a zone")).expect("a moment").timestamp().as_millisecond()
    }

    fn time_of(case: &serde_json::Value) -> i64 {
        match (case["local_time_in_Australia_Sydney"].as_str(), case["utc_time"].as_str()) {
            (Some(local), _) => at("Australia/Sydney", local),
            (None, Some(utc)) => at("UTC", utc),
            (None, None) => panic!("{case}: no time"),
        }
    }

    #[test]
    fn named_intervals_with_a_zone() {
        let sydney = parse_location("Australia/Sydney").expect("a zone");
        let times = [("00:00", "09:00"), ("17:00", "24:00")].map(|(start, end)| MinuteRange::parse(start, end).expect("good"));
        let evenings = TimeInterval { times: Some(times.to_vec()), location: Some(sydney.clone()), ..TimeInterval::default() };
        let saturday_and_sunday = ["saturday", "sunday"].map(|day| IntervalRange::parse_weekdays(day).expect("good"));
        let weekdays = Some(saturday_and_sunday.to_vec());
        let weekends = TimeInterval { weekdays, location: Some(sydney), ..TimeInterval::default() };
        let Some(file) = crate::model::shared_data::json("alerting/time_intervals/named.json") else { return };
        for case in file["cases"].as_array().expect("cases") {
            let moment = time_of(case);
            let mut muted = Vec::new();
            for (name, interval) in [("evenings", &evenings), ("weekends", &weekends)] {
                if interval.contains(moment) {
                    muted.push(name);
                }
            }
            assert_eq!(serde_json::json!(muted), case["muted_by"], "{case}");
        }
    }

    #[test]
    fn minutes() {
        let good = [("00:00", "24:00", 0, 1440), ("01:35", "17:39", 95, 1059), ("09:35", "09:39", 575, 579)];
        for (from, to, start, end) in good {
            assert_eq!(MinuteRange::parse(from, to), Ok(MinuteRange { start, end }));
        }
        for (from, to) in
            [("17:31", "17:31"), ("12:30", "24:01"), ("09:30", "07:41"), ("24:00", "17:41"), ("14:03", ""), ("1:00", "2:00")]
        {
            assert!(MinuteRange::parse(from, to).is_err(), "{from} {to}");
        }
    }

    #[test]
    fn ranges_say_what_is_wrong() {
        let cases = [
            (IntervalRange::parse_weekdays("blurgsday:flurgsday"), "blurgsday is not a valid weekday"),
            (IntervalRange::parse_weekdays("1:3"), "1 is not a valid weekday"),
            (IntervalRange::parse_days_of_month("0"), "0 is not a valid day of the month: out of range"),
            (IntervalRange::parse_days_of_month("-50:-20"), "-50 is not a valid day of the month: out of range"),
            (IntervalRange::parse_days_of_month("1:50"), "50 is not a valid day of the month: out of range"),
            (IntervalRange::parse_days_of_month("-15:5"), "end day must be negative if start day is negative"),
            (IntervalRange::parse_days_of_month("10:-25"), "end day -25 is always before start day 10"),
            (IntervalRange::parse_months("martius:june"), "martius is not a valid month"),
            (IntervalRange::parse_months("december:january"), "end month january is before start month december"),
            (IntervalRange::parse_years("2022:2020"), "end year 2020 is before start year 2022"),
        ];
        for (got, wanted) in cases {
            assert_eq!(got, Err(TimeIntervalError(wanted.to_owned())));
        }
        assert_eq!(IntervalRange::parse_weekdays("Monday:FRIDAY"), Ok(IntervalRange { begin: 1, end: 5 }));
        assert_eq!(IntervalRange::parse_months("3:may"), Ok(IntervalRange { begin: 3, end: 5 }));
    }

    #[test]
    fn the_last_days_of_a_month() {
        let last = IntervalRange::parse_days_of_month("-3:-1").expect("good");
        let interval = TimeInterval { days_of_month: Some(vec![last]), ..TimeInterval::default() };
        for (time, inside) in
            [("2020-02-29 23:05", true), ("2020-06-30 00:00", true), ("2020-01-27 15:04", false), ("2020-03-01 00:00", false)]
        {
            assert_eq!(interval.contains(at("UTC", time)), inside, "{time}");
        }
        let late = TimeInterval { days_of_month: Some(vec![IntervalRange { begin: 30, end: 31 }]), ..TimeInterval::default() };
        assert!(!late.contains(at("UTC", "2021-02-28 12:00")));
    }
}
