//! How Prometheus prints a histogram.

use super::layout::Bucket;
use super::{CUSTOM_BUCKETS_SCHEMA, CounterResetHint, FloatHistogram, Span};
use crate::model::number::format_g;
use std::fmt;

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open = if self.lower_inclusive { '[' } else { '(' };
        let close = if self.upper_inclusive { ']' } else { ')' };
        let (lower, upper) = (format_g(self.lower), format_g(self.upper));
        write!(f, "{open}{lower},{upper}{close}:{}", format_g(self.count))
    }
}

/// Prints as Prometheus's `FloatHistogram.String`: `{count:3, sum:4, (0.5,1]:3}`, empty buckets left out.
impl fmt::Display for FloatHistogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{count:{}, sum:{}", format_g(self.count), format_g(self.sum))?;
        let negative: Vec<_> = self.negative().filter(|(_, count)| *count != 0.0).collect();
        for (index, count) in negative.into_iter().rev() {
            write!(f, ", {}", self.negative_bucket(index, count))?;
        }
        if self.zero_count != 0.0 {
            write!(f, ", {}", self.zero_bucket())?;
        }
        for (index, count) in self.positive().filter(|(_, count)| *count != 0.0) {
            write!(f, ", {}", self.positive_bucket(index, count))?;
        }
        f.write_str("}")
    }
}

impl CounterResetHint {
    /// Returns the word of the test language, or nothing for an unknown one.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "",
            Self::Reset => "reset",
            Self::NotReset => "not_reset",
            Self::Gauge => "gauge",
        }
    }
}

impl FloatHistogram {
    /// Prints it as the test language writes it: `{{schema:1 count:4 sum:5 buckets:[1 2 1]}}`.
    #[must_use]
    pub fn test_expression(&self) -> String {
        let mut parts = Vec::new();
        let mut number = |name: &str, value: f64| {
            if value != 0.0 {
                parts.push(format!("{name}:{}", format_g(value)));
            }
        };
        number("schema", f64::from(self.schema));
        number("count", self.count);
        number("sum", self.sum);
        number("z_bucket", self.zero_count);
        number("z_bucket_w", self.zero_threshold);
        if self.schema == CUSTOM_BUCKETS_SCHEMA {
            parts.push(format!("custom_values:{}", list(&self.custom_values)));
        }
        if self.counter_reset_hint != CounterResetHint::Unknown {
            parts.push(format!("counter_reset_hint:{}", self.counter_reset_hint.as_str()));
        }
        side(&mut parts, "", &self.positive_spans, self.positive());
        side(&mut parts, "n_", &self.negative_spans, self.negative());
        format!("{{{{{}}}}}", parts.join(" "))
    }
}

fn side(parts: &mut Vec<String>, prefix: &str, spans: &[Span], pairs: impl Iterator<Item = (i32, f64)>) {
    let Some(first) = spans.first() else { return };
    if first.offset != 0 {
        parts.push(format!("{prefix}offset:{}", first.offset));
    }
    let mut counts = Vec::new();
    for (index, count) in pairs {
        let place = usize::try_from(index.wrapping_sub(first.offset)).unwrap_or(0);
        counts.resize(place.max(counts.len()), 0.0);
        counts.push(count);
    }
    if !counts.is_empty() {
        parts.push(format!("{prefix}buckets:{}", list(&counts)));
    }
}

fn list(values: &[f64]) -> String {
    let values: Vec<_> = values.iter().map(|value| format_g(*value)).collect();
    format!("[{}]", values.join(" "))
}
