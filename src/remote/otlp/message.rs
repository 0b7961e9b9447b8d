//! What an export of metrics says, however it was written.

use serde_json::Value;

/// Names and values, as they came.
pub(super) type Attributes = Vec<(String, Value)>;

/// What one source of metrics tells.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Resource {
    pub(super) attributes: Attributes,
    pub(super) scopes: Vec<Scope>,
}

/// The metrics of one instrumented library.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Scope {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) schema_url: String,
    pub(super) attributes: Attributes,
    pub(super) metrics: Vec<Metric>,
}

/// What the points of a metric are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Kind {
    #[default]
    Nothing,
    Gauge,
    Sum,
    Histogram,
    Exponential,
    Summary,
}

#[derive(Debug, Default, PartialEq)]
pub(super) struct Metric {
    pub(super) name: String,
    pub(super) description: String,
    pub(super) unit: String,
    pub(super) kind: Kind,
    /// 1: since the point before; 2: since the start.
    pub(super) temporality: u64,
    pub(super) is_monotonic: bool,
    pub(super) points: Vec<Point>,
}

/// A point of any kind: what its kind has not stays as it is.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Point {
    pub(super) attributes: Attributes,
    pub(super) start_ns: u64,
    pub(super) time_ns: u64,
    pub(super) flags: u64,
    pub(super) value: f64,
    pub(super) count: u64,
    pub(super) sum: Option<f64>,
    pub(super) counts: Vec<u64>,
    pub(super) bounds: Vec<f64>,
    pub(super) scale: i64,
    pub(super) zero_count: u64,
    pub(super) zero_threshold: f64,
    pub(super) positive: Buckets,
    pub(super) negative: Buckets,
    pub(super) quantiles: Vec<(f64, f64)>,
    pub(super) exemplars: Vec<PointExemplar>,
}

/// Exponential buckets from an offset on.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Buckets {
    pub(super) offset: i64,
    pub(super) counts: Vec<u64>,
}

#[derive(Debug, Default, PartialEq)]
pub(super) struct PointExemplar {
    pub(super) attributes: Attributes,
    pub(super) time_ns: u64,
    pub(super) value: f64,
    /// In hexadecimal digits.
    pub(super) span_id: String,
    /// In hexadecimal digits.
    pub(super) trace_id: String,
}

/// Returns an attribute's value as text.
pub(super) fn text_of(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < 1e21 => format!("{float:.0}"),
            _ => number.to_string(),
        },
        other => other.to_string(),
    }
}
