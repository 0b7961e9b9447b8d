//! When a recurring silence mutes: `Sat,Sun 02:00-04:00`, `Mon:Fri 22:00-06:00`, `12:00-13:00`, in a time zone.
//!
//! Days come first and may be left out (every day); a range of days goes around the week's end (`Fri:Mon`). Times may
//! be left out (the whole day) and may pass midnight: the part after midnight then belongs to the day after.

use crate::model::silence::Recurrence;
use crate::model::time_interval::{IntervalRange, MinuteRange, TimeInterval, TimeIntervalError, parse_location};

const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

fn day(name: &str) -> Result<i32, TimeIntervalError> {
    let lower = name.trim().to_lowercase();
    let known =
        |short: &&str| lower.len() >= 3 && lower.starts_with(*short) && format!("{short}{}", rest(short)).starts_with(&lower);
    let place = DAYS.iter().position(known);
    place.map(|place| place as i32).ok_or_else(|| TimeIntervalError(format!("{name} is not a valid weekday")))
}

/// The rest of a day's name behind its first three letters.
fn rest(short: &str) -> &'static str {
    match short {
        "tue" => "sday",
        "wed" => "nesday",
        "thu" => "rsday",
        "sat" => "urday",
        _ => "day",
    }
}

fn days(text: &str) -> Result<Vec<i32>, TimeIntervalError> {
    let mut found = Vec::new();
    for part in text.split(',').filter(|part| !part.trim().is_empty()) {
        match part.split_once([':', '-']) {
            None => found.push(day(part)?),
            Some((first, last)) => {
                let (first, last) = (day(first)?, day(last)?);
                let mut today = first;
                found.push(today);
                while today != last {
                    today = (today + 1) % 7;
                    found.push(today);
                }
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// Reads a recurrence.
///
/// # Errors
/// When a day, a time or the time zone is unknown, or nothing is said.
pub fn parse(text: &str, time_zone: &str) -> Result<Recurrence, TimeIntervalError> {
    let location = Some(parse_location(time_zone)?);
    let trimmed = text.trim();
    let (day_text, time_text) = match trimmed.rsplit_once(' ') {
        Some((days, times)) if times.starts_with(|c: char| c.is_ascii_digit()) => (days, times),
        None if trimmed.starts_with(|c: char| c.is_ascii_digit()) => ("", trimmed),
        _ => (trimmed, ""),
    };
    if trimmed.is_empty() {
        return Err(TimeIntervalError("say when: for example \"Sat,Sun 02:00-04:00\"".to_owned()));
    }
    let weekdays = days(day_text)?;
    let on = |days: &[i32], times: Option<MinuteRange>| TimeInterval {
        weekdays: (!days.is_empty()).then(|| days.iter().map(|day| IntervalRange { begin: *day, end: *day }).collect()),
        times: times.map(|range| vec![range]),
        location: location.clone(),
        ..TimeInterval::default()
    };
    let intervals = if time_text.is_empty() {
        vec![on(&weekdays, None)]
    } else {
        let bad = || TimeIntervalError(format!("{time_text} is not of the form 02:00-04:00"));
        let (start, end) = time_text.split_once('-').ok_or_else(bad)?;
        match MinuteRange::parse(start, end) {
            Ok(range) => vec![on(&weekdays, Some(range))],
            Err(error) => {
                // Past midnight: two parts, the second one on the following days.
                let evening = MinuteRange::parse(start, "24:00")?;
                let morning = MinuteRange::parse("00:00", end)?;
                if evening.start <= morning.end {
                    return Err(error);
                }
                let next: Vec<i32> = weekdays.iter().map(|day| (day + 1) % 7).collect();
                vec![on(&weekdays, Some(evening)), on(&next, Some(morning))]
            }
        }
    };
    Ok(Recurrence { text: trimmed.to_owned(), time_zone: time_zone.to_owned(), intervals })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks at a moment of the week that begins on Sunday, 7 January 2024, UTC.
    fn check(text: &str, day: i64, hour: i64, wanted: bool) {
        let every = parse(text, "").unwrap_or_else(|error| panic!("{text}: {error}"));
        let at_ms = 1_704_585_600_000 + (day * 24 + hour) * 3_600_000;
        assert_eq!(every.intervals.iter().any(|interval| interval.contains(at_ms)), wanted, "{text} on day {day} at {hour}");
    }

    #[test]
    fn days_and_times() {
        check("Sat,Sun 02:00-04:00", 0, 2, true);
        check("Sat,Sun 02:00-04:00", 0, 4, false);
        check("Sat,Sun 02:00-04:00", 6, 3, true);
        check("Sat,Sun 02:00-04:00", 1, 3, false);
        check("Mon:Fri", 3, 12, true);
        check("monday:friday", 0, 12, false);
        check("Fri-Mon", 0, 12, true);
        check("Fri-Mon", 3, 12, false);
        check("12:00-13:00", 4, 12, true);
    }

    #[test]
    fn past_midnight() {
        check("Sat 22:00-06:00", 6, 23, true);
        check("Sat 22:00-06:00", 0, 5, true);
        check("Sat 22:00-06:00", 6, 5, false);
        check("22:00-06:00", 2, 3, true);
    }

    #[test]
    fn refuses_nonsense() {
        for bad in ["", "Xyz", "Sat 02:00", "Sat 25:00-26:00", "Sa", "Sat 02:00-02:00"] {
            assert!(parse(bad, "").is_err(), "{bad}");
        }
        assert!(parse("Sat", "Nowhere/Else").is_err());
    }
}
