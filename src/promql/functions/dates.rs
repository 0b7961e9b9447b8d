//! Functions of the calendar, in UTC.

/// Returns the calendar function with that name: seconds since 1970 in, a number out.
pub(in crate::promql) fn function(name: &str) -> Option<fn(f64) -> f64> {
    Some(match name {
        "minute" => |seconds| with(seconds, |date| date.second_of_day / 60 % 60),
        "hour" => |seconds| with(seconds, |date| date.second_of_day / 3600),
        // 1970 began on a Thursday.
        "day_of_week" => |seconds| with(seconds, |date| (date.day + 4).rem_euclid(7)),
        "day_of_month" => |seconds| with(seconds, |date| date.day_of_month),
        "day_of_year" => |seconds| with(seconds, |date| date.day - day_of(date.year, 1) + 1),
        "days_in_month" => |seconds| with(seconds, |date| day_of(date.year, date.month + 1) - day_of(date.year, date.month)),
        "month" => |seconds| with(seconds, |date| date.month),
        "year" => |seconds| with(seconds, |date| date.year),
        _ => return None,
    })
}

/// A time in the calendar that repeats every 400 years, however far away it is.
struct Date {
    /// Days since 1970.
    day: i64,
    second_of_day: i64,
    year: i64,
    /// 1 to 12.
    month: i64,
    day_of_month: i64,
}

const DAYS_OF_400_YEARS: i64 = 146_097;
/// From the first of March of the year 0 to 1970.
const DAYS_BEFORE_1970: i64 = 719_468;

/// Returns the day on which a month begins, in days since 1970; month 13 is the next January.
const fn day_of(year: i64, month: i64) -> i64 {
    // Years that begin with March end with their leap day.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let of_era = year.rem_euclid(400);
    let day_of_year = (153 * month + 2) / 5;
    year.div_euclid(400) * DAYS_OF_400_YEARS + of_era * 365 + of_era / 4 - of_era / 100 + day_of_year - DAYS_BEFORE_1970
}

impl Date {
    const fn at(seconds: i64) -> Self {
        let day = seconds.div_euclid(86_400);
        let since = day + DAYS_BEFORE_1970;
        let (era, of_era) = (since.div_euclid(DAYS_OF_400_YEARS), since.rem_euclid(DAYS_OF_400_YEARS));
        let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let month = (5 * of_year + 2) / 153;
        let (year, month) = (year + era * 400, month + 3);
        let (year, month) = if month > 12 { (year + 1, month - 12) } else { (year, month) };
        Self { day, second_of_day: seconds.rem_euclid(86_400), year, month, day_of_month: day - day_of(year, month) + 1 }
    }
}

/// What is no number of seconds has no date; Prometheus gives that of a time that depends on the processor.
fn with(seconds: f64, f: impl Fn(&Date) -> i64) -> f64 {
    if seconds.abs() < 9.2e18 { f(&Date::at(seconds as i64)) as f64 } else { f64::NAN }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        let date = |seconds: i64| {
            let date = Date::at(seconds);
            (date.year, date.month, date.day_of_month, date.second_of_day)
        };
        assert_eq!(date(0), (1970, 1, 1, 0));
        assert_eq!(date(-1), (1969, 12, 31, 86_399));
        assert_eq!(date(951_782_400), (2000, 2, 29, 0));
        assert_eq!(date(-62_135_596_800), (1, 1, 1, 0));
        // Every day of some centuries, one after the other.
        let mut next = (1895, 1, 1);
        for day in day_of(1895, 1)..day_of(2305, 1) {
            let (year, month, day_of_month, _) = date(day * 86_400);
            assert_eq!((year, month, day_of_month), next);
            let days = day_of(year, month + 1) - day_of(year, month);
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            assert_eq!(days, [31, 28 + i64::from(leap), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month as usize - 1]);
            next = match (month, day_of_month == days) {
                (_, false) => (year, month, day_of_month + 1),
                (12, true) => (year + 1, 1, 1),
                (_, true) => (year, month + 1, 1),
            };
        }
        let of = |name: &str, seconds: f64| function(name).unwrap()(seconds);
        assert!((of("year", 1e12) - 33_658.0).abs() < 0.5);
        assert!((of("day_of_week", 1e12) - 5.0).abs() < 0.5);
        assert!(of("hour", f64::NAN).is_nan() && of("hour", f64::INFINITY).is_nan() && of("hour", 1e19).is_nan());
    }
}
