//! Time intervals in a configuration file.

use crate::config::error::ConfigError;
use crate::config::section::{Value, section};
use crate::config::show::Shown;
use crate::config::yaml::Node;
use crate::model::time_interval::{IntervalRange, MinuteRange, NamedTimeInterval, TimeInterval, parse_location};

section! {
    /// The keys of one time interval.
    pub struct TimeIntervalKeys "time interval" {
        /// Minutes of the day.
        times: Option<Vec<MinuteKeys>> = None,
        /// Weekdays.
        weekdays: Option<Vec<String>> = None,
        /// Days of the month.
        days_of_month: Option<Vec<String>> = None,
        /// Months.
        months: Option<Vec<String>> = None,
        /// Years.
        years: Option<Vec<String>> = None,
        /// Where the clock hangs.
        location: String = String::new(),
    }

    /// The keys of a range of minutes.
    pub struct MinuteKeys "time range" {
        /// `HH:MM`.
        start_time: String = String::new(),
        /// `HH:MM`.
        end_time: String = String::new(),
    }

    /// The keys of a named time interval.
    pub struct NamedIntervalKeys "time interval" {
        /// The name that routes use.
        name: String = String::new(),
        /// One of them must hold.
        time_intervals: Vec<TimeInterval> = Vec::new(),
    } check check_named_interval;
}

fn ranges(
    texts: Option<Vec<String>>,
    node: &Node,
    key: &str,
    parse: impl Fn(&str) -> Result<IntervalRange, crate::model::time_interval::TimeIntervalError>,
) -> Result<Option<Vec<IntervalRange>>, ConfigError> {
    let Some(texts) = texts else { return Ok(None) };
    let parsed = texts.iter().map(|text| parse(text).map_err(|error| node.error_at(key, error.to_string())));
    parsed.collect::<Result<_, _>>().map(Some)
}

impl Value for TimeInterval {
    fn read(&mut self, node: &Node) -> Result<(), ConfigError> {
        let mut keys = TimeIntervalKeys::default();
        keys.read(node)?;
        let minutes = |range: &MinuteKeys| {
            MinuteRange::parse(&range.start_time, &range.end_time).map_err(|error| node.error_at("times", error.to_string()))
        };
        *self = Self {
            times: keys.times.map(|ranges| ranges.iter().map(minutes).collect::<Result<_, _>>()).transpose()?,
            weekdays: ranges(keys.weekdays, node, "weekdays", IntervalRange::parse_weekdays)?,
            days_of_month: ranges(keys.days_of_month, node, "days_of_month", IntervalRange::parse_days_of_month)?,
            months: ranges(keys.months, node, "months", IntervalRange::parse_months)?,
            years: ranges(keys.years, node, "years", IntervalRange::parse_years)?,
            location: None,
        };
        if !keys.location.is_empty() {
            let zone = parse_location(&keys.location).map_err(|error| node.error_at("location", error.to_string()))?;
            self.location = Some(zone);
        }
        Ok(())
    }

    fn show(&self) -> Shown {
        let clock = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
        let minutes = |ranges: &Vec<MinuteRange>| {
            ranges.iter().map(|range| MinuteKeys { start_time: clock(range.start), end_time: clock(range.end) }).collect()
        };
        let texts = |ranges: &Option<Vec<IntervalRange>>, name: fn(i32) -> String| {
            ranges.as_ref().map(|ranges| ranges.iter().map(|range| range_text(*range, name)).collect())
        };
        let keys = TimeIntervalKeys {
            times: self.times.as_ref().map(minutes),
            weekdays: texts(&self.weekdays, weekday_name),
            days_of_month: texts(&self.days_of_month, |day| day.to_string()),
            months: texts(&self.months, |month| month.to_string()),
            years: texts(&self.years, |year| year.to_string()),
            location: self.location.as_ref().and_then(|zone| zone.iana_name().map(str::to_owned)).unwrap_or_default(),
        };
        keys.show()
    }

    fn null_item() -> Option<String> {
        Some("empty or null time interval".to_owned())
    }
}

fn range_text(range: IntervalRange, name: fn(i32) -> String) -> String {
    if range.begin == range.end { name(range.begin) } else { format!("{}:{}", name(range.begin), name(range.end)) }
}

fn weekday_name(day: i32) -> String {
    let names = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];
    usize::try_from(day).ok().and_then(|day| names.get(day)).copied().unwrap_or_default().to_owned()
}

impl Value for NamedTimeInterval {
    fn read(&mut self, node: &Node) -> Result<(), ConfigError> {
        let mut keys = NamedIntervalKeys::default();
        keys.read(node)?;
        *self = Self { name: keys.name, intervals: keys.time_intervals };
        Ok(())
    }

    fn show(&self) -> Shown {
        NamedIntervalKeys { name: self.name.clone(), time_intervals: self.intervals.clone() }.show()
    }

    fn null_item() -> Option<String> {
        Some("empty or null time interval".to_owned())
    }
}

fn check_named_interval(config: &mut NamedIntervalKeys, node: &Node) -> Result<(), ConfigError> {
    if config.name.is_empty() { Err(node.error("missing name in time interval")) } else { Ok(()) }
}
