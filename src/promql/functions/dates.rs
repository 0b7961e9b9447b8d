//! Functions of the calendar, in UTC.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// Returns the calendar function with that name: seconds since 1970 in, a number out.
pub(in crate::promql) fn function(name: &str) -> Option<fn(f64) -> f64> {
    Some(match name {
        "minute" => |seconds| with(seconds, |time| f64::from(time.minute())),
        "hour" => |seconds| with(seconds, |time| f64::from(time.hour())),
        "day_of_week" => |seconds| with(seconds, |time| f64::from(time.weekday().to_sunday_zero_offset())),
        "day_of_month" => |seconds| with(seconds, |time| f64::from(time.day())),
        "day_of_year" => |seconds| with(seconds, |time| f64::from(time.day_of_year())),
        "days_in_month" => |seconds| with(seconds, |time| f64::from(time.days_in_month())),
        "month" => |seconds| with(seconds, |time| f64::from(time.month())),
        "year" => |seconds| with(seconds, |time| f64::from(time.year())),
        _ => return None,
    })
}

fn with(seconds: f64, f: impl Fn(DateTime) -> f64) -> f64 {
    if !seconds.is_finite() {
        return f64::NAN;
    }
    match Timestamp::from_second(seconds as i64) {
        Ok(time) => f(TimeZone::UTC.to_datetime(time)),
        Err(_) => f64::NAN,
    }
}
