//! Compares answers with what a file expects.

use super::script::{ExpectedSeries, Wanted};
use crate::model::histogram::{CounterResetHint, FloatHistogram};
use crate::model::sample::Value;
use crate::promql::functions::quantile::almost_equal;
use crate::promql::parse::SequenceValue;

const TOLERANCE: f64 = 1e-6;

fn floats(a: &[f64], b: &[f64]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| almost_equal(*a, *b, TOLERANCE))
}

pub(super) fn same_float(a: f64, b: f64) -> bool {
    almost_equal(a, b, TOLERANCE)
}

fn same_histogram(wanted: &FloatHistogram, found: &FloatHistogram, unknown_hint: bool) -> bool {
    let (wanted, found) = (wanted.clone().compacted(), found.clone().compacted());
    let hint = match wanted.counter_reset_hint {
        CounterResetHint::Unknown => !unknown_hint || found.counter_reset_hint == CounterResetHint::Unknown,
        hint => hint == found.counter_reset_hint,
    };
    let numbers = |h: &FloatHistogram| [h.count, h.sum, h.zero_threshold, h.zero_count];
    hint && wanted.schema == found.schema
        && floats(&numbers(&wanted), &numbers(&found))
        && floats(&wanted.custom_values, &found.custom_values)
        && wanted.positive_spans == found.positive_spans
        && wanted.negative_spans == found.negative_spans
        && floats(&wanted.positive_buckets, &found.positive_buckets)
        && floats(&wanted.negative_buckets, &found.negative_buckets)
}

/// Compares one value.
pub(super) fn same(wanted: &SequenceValue, found: Option<&Value>, unknown_hint: bool) -> bool {
    match (wanted, found) {
        (SequenceValue::Omitted, None) => true,
        (SequenceValue::Float(wanted), Some(Value::Float(found))) => same_float(*wanted, *found),
        (SequenceValue::Histogram(wanted), Some(Value::Histogram(found))) => same_histogram(wanted, found, unknown_hint),
        _ => false,
    }
}

/// Returns the value that a series is expected to have at one place.
pub(super) fn at(series: &ExpectedSeries, place: usize) -> SequenceValue {
    series.described.values.get(place).cloned().unwrap_or(SequenceValue::Omitted)
}

fn matches(wanted: &Wanted, found: &str) -> bool {
    match wanted {
        Wanted::Any => true,
        Wanted::Exactly(text) => text == found,
        Wanted::Matching(pattern) => regex_automata::meta::Regex::new(pattern).unwrap().is_match(found),
    }
}

/// Compares annotations or an error.
pub(super) fn check_texts(what: &str, wanted: &[Wanted], found: &[String], none: bool) -> Result<(), String> {
    if none && !found.is_empty() {
        return Err(format!("unexpected {what}: {found:?}"));
    }
    if wanted.is_empty() {
        return Ok(());
    }
    if let Some(missing) = wanted.iter().find(|wanted| !found.iter().any(|found| matches(wanted, found))) {
        return Err(format!("{what}: wanted {missing:?}, found {found:?}"));
    }
    match found.iter().find(|found| !wanted.iter().any(|wanted| matches(wanted, found))) {
        Some(other) => Err(format!("{what}: unexpected {other:?}")),
        None => Ok(()),
    }
}
