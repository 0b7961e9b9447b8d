//! A chart as it passes from who knows the series to who draws it.

use super::labels::Labels;

/// What is to be drawn: the expression behind an alert, for that alert's own series.
#[derive(Clone, Debug, PartialEq)]
pub struct ChartAsk {
    /// The alert's link to its expression.
    pub generator_url: String,
    /// The alert's labels.
    pub labels: Labels,
    /// The first moment.
    pub from_ms: i64,
    /// The last moment.
    pub to_ms: i64,
    /// When the alert ended, where it did.
    pub ended_ms: Option<i64>,
}

/// Where it becomes worth an alert.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Threshold {
    /// The limit.
    pub value: f64,
    /// The comparison as in PromQL: `>`, `>=`, `<`, `<=`, `==` or `!=`.
    pub operator: &'static str,
}

impl Threshold {
    /// Returns whether what is above (`Some(true)`) or below (`Some(false)`) is bad; `None`: neither side as such.
    #[must_use]
    pub fn bad_above(self) -> Option<bool> {
        match self.operator.chars().next() {
            Some('>') => Some(true),
            Some('<') => Some(false),
            _ => None,
        }
    }
}

/// What can be drawn.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChartData {
    /// Time and value, ascending in time, finite.
    pub points: Vec<(i64, f64)>,
    /// The time between two points where nothing is missing.
    pub step_ms: i64,
    /// The limit, where the expression has one.
    pub threshold: Option<Threshold>,
    /// What the points are values of.
    pub expression: String,
    /// The value at the moment when the alert ended, where it did and there is one.
    pub ended_value: Option<f64>,
}
