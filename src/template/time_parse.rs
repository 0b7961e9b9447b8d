//! Reading a time by one of Go's layouts.

use super::time::{OffsetShape, Time, Token, next_token};
use crate::model::number::quote;
use jiff::civil;
use jiff::tz::{Offset, TimeZone};

/// What a text has told so far; Go's defaults are the first of January of the year 0... of which only the year matters.
struct Parts {
    year: i16,
    month: i8,
    day: i8,
    year_day: Option<i16>,
    hour: i8,
    minute: i8,
    second: i8,
    nanosecond: i32,
    pm: Option<bool>,
    zone: Option<TimeZone>,
}

/// Parses `text` by `layout`.
pub(super) fn parse(layout: &str, text: &str) -> Result<Time, String> {
    let error = |part: &str, here: &str| {
        format!("parsing time {} as {}: cannot parse {} as {}", quote(text), quote(layout), quote(here), quote(part))
    };
    let mut parts =
        Parts { year: 0, month: 1, day: 1, year_day: None, hour: 0, minute: 0, second: 0, nanosecond: 0, pm: None, zone: None };
    let mut left_layout = layout;
    let mut rest = text;
    while !left_layout.is_empty() {
        let (before, token, after) = next_token(left_layout);
        rest = rest.strip_prefix(before).ok_or_else(|| error(before, rest))?;
        if let Some(token) = token {
            let written_length = left_layout.len() - before.len() - after.len();
            let written = left_layout.get(before.len()..before.len() + written_length).unwrap_or("");
            rest = parts.read(token, rest).ok_or_else(|| error(written, rest))?;
            // A fraction behind the seconds is read even where the layout has none.
            if token == Token::ZeroSecond && !after.starts_with(['.', ',']) {
                rest = parts.fraction(rest);
            }
        }
        left_layout = after;
    }
    if !rest.is_empty() {
        return Err(format!("parsing time {}: extra text: {}", quote(text), quote(rest)));
    }
    parts.finish().map_err(|what| format!("parsing time {}: {what} out of range", quote(text)))
}

fn number(text: &str, least: usize, most: usize) -> Option<(i32, &str)> {
    let digits = text.bytes().take(most).take_while(u8::is_ascii_digit).count();
    if digits < least {
        return None;
    }
    let (number, rest) = text.split_at(digits);
    Some((number.parse().ok()?, rest))
}

fn name<'a>(text: &'a str, names: &[&str], shortened: bool) -> Option<(i8, &'a str)> {
    names.iter().enumerate().find_map(|(place, name)| {
        let wanted = if shortened { name.get(..3)? } else { name };
        let found = text.get(..wanted.len())?;
        found.eq_ignore_ascii_case(wanted).then(|| Some((i8::try_from(place).ok()?, text.get(wanted.len()..)?)))?
    })
}

impl Parts {
    fn read<'a>(&mut self, token: Token, text: &'a str) -> Option<&'a str> {
        let small = |least, most| number(text.trim_start_matches(' '), least, most);
        let rest = match token {
            Token::LongMonth | Token::ShortMonth => {
                let (place, rest) = name(text, &super::time::MONTHS, token == Token::ShortMonth)?;
                self.month = place + 1;
                rest
            }
            Token::LongWeekday => name(text, &super::time::WEEKDAYS, false)?.1,
            Token::ShortWeekday => name(text, &super::time::WEEKDAYS, true)?.1,
            Token::Month => set(&mut self.month, number(text, 1, 2)?)?,
            Token::ZeroMonth => set(&mut self.month, number(text, 2, 2)?)?,
            Token::Day => set(&mut self.day, number(text, 1, 2)?)?,
            Token::SpaceDay => set(&mut self.day, small(1, 2)?)?,
            Token::ZeroDay => set(&mut self.day, number(text, 2, 2)?)?,
            Token::SpaceYearDay | Token::ZeroYearDay => {
                let (day, rest) = small(1, 3)?;
                self.year_day = Some(i16::try_from(day).ok()?);
                rest
            }
            Token::Hour24 => set(&mut self.hour, number(text, 1, 2)?)?,
            Token::Hour12 => set(&mut self.hour, number(text, 1, 2)?)?,
            Token::ZeroHour12 => set(&mut self.hour, number(text, 2, 2)?)?,
            Token::Minute => set(&mut self.minute, number(text, 1, 2)?)?,
            Token::ZeroMinute => set(&mut self.minute, number(text, 2, 2)?)?,
            Token::Second => set(&mut self.second, number(text, 1, 2)?)?,
            Token::ZeroSecond => set(&mut self.second, number(text, 2, 2)?)?,
            Token::LongYear => {
                let (year, rest) = number(text, 4, 4)?;
                self.year = i16::try_from(year).ok()?;
                rest
            }
            Token::Year => {
                let (year, rest) = number(text, 2, 2)?;
                self.year = i16::try_from(if year >= 69 { year + 1900 } else { year + 2000 }).ok()?;
                rest
            }
            Token::UpperPm | Token::LowerPm => {
                let (word, rest) = text.split_at_checked(2)?;
                self.pm = Some(match word {
                    "PM" | "pm" => true,
                    "AM" | "am" => false,
                    _ => return None,
                });
                rest
            }
            Token::ZoneName => self.zone_name(text)?,
            Token::Offset(shape) => self.offset(shape, text)?,
            Token::Fraction { .. } => self.fraction(text),
        };
        Some(rest)
    }

    fn zone_name<'a>(&mut self, text: &'a str) -> Option<&'a str> {
        let letters = text.bytes().take_while(u8::is_ascii_uppercase).count();
        if letters < 3 {
            return None;
        }
        // As in Go, an abbreviation other than UTC is a name without an offset.
        self.zone.get_or_insert(TimeZone::UTC);
        text.get(letters..)
    }

    fn offset<'a>(&mut self, shape: OffsetShape, text: &'a str) -> Option<&'a str> {
        if shape.z
            && let Some(rest) = text.strip_prefix('Z')
        {
            self.zone = Some(TimeZone::UTC);
            return Some(rest);
        }
        let negative = text.starts_with('-');
        let rest = text.strip_prefix(['+', '-'])?;
        let (hours, mut rest) = number(rest, 2, 2)?;
        let mut seconds = hours * 3600;
        for (wanted, scale) in [(shape.minutes, 60), (shape.seconds, 1)] {
            if wanted {
                let digits = if shape.colon { rest.strip_prefix(':')? } else { rest };
                let (amount, behind) = number(digits, 2, 2)?;
                seconds += amount * scale;
                rest = behind;
            }
        }
        let offset = Offset::from_seconds(if negative { -seconds } else { seconds }).ok()?;
        self.zone = Some(if seconds == 0 { TimeZone::UTC } else { TimeZone::fixed(offset) });
        Some(rest)
    }

    fn fraction<'a>(&mut self, text: &'a str) -> &'a str {
        let Some(behind) = text.strip_prefix(['.', ',']) else { return text };
        let digits = behind.bytes().take_while(u8::is_ascii_digit).count();
        if digits == 0 {
            return text;
        }
        let (fraction, rest) = behind.split_at(digits);
        let padded: String = fraction.chars().chain(std::iter::repeat('0')).take(9).collect();
        self.nanosecond = padded.parse().unwrap_or(0);
        rest
    }

    fn finish(self) -> Result<Time, &'static str> {
        let hour = match self.pm {
            Some(true) if self.hour < 12 => self.hour + 12,
            Some(false) if self.hour == 12 => 0,
            _ => self.hour,
        };
        let date = civil::Date::new(self.year, self.month, self.day).map_err(|_| "day")?;
        let date = match self.year_day {
            Some(day) => date.with().day_of_year(day).build().map_err(|_| "day-of-year")?,
            None => date,
        };
        let time = civil::Time::new(hour, self.minute, self.second, self.nanosecond).map_err(|_| "time")?;
        let zone = self.zone.unwrap_or(TimeZone::UTC);
        date.to_datetime(time).to_zoned(zone).map(Time::from_zoned).map_err(|_| "time")
    }
}

fn set<'a>(field: &mut i8, (value, rest): (i32, &'a str)) -> Option<&'a str> {
    *field = i8::try_from(value).ok()?;
    Some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_go_reads() {
        let cases = [
            ("2006-01-02", "2024-03-15", "2024-03-15 00:00:00 +0000 UTC"),
            ("2006-01-02T15:04:05Z07:00", "2024-03-15T01:02:03.5+02:00", "2024-03-14 23:02:03.5 +0000 UTC"),
            ("Jan _2 2006 3:04PM", "Feb  9 2020 1:05PM", "2020-02-09 13:05:00 +0000 UTC"),
        ];
        for (layout, text, expected) in cases {
            assert_eq!(parse(layout, text).map(|time| time.utc().to_string()), Ok(expected.to_owned()));
        }
        for bad in ["not-a-date", "2024-13-01", "2024-02-30", "2024-03-15x", ""] {
            assert!(parse("2006-01-02", bad).is_err(), "{bad}");
        }
    }
}
