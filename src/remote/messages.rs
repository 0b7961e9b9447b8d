//! The messages of Remote-Write 1.0, one function for each.

use super::protobuf::{Field, Fields, Malformed, push_floats, push_signed};
use crate::model::exemplar::Exemplar;
use crate::model::histogram::{CounterResetHint, FloatHistogram, Span};
use crate::model::labels::{Labels, LabelsBuilder};
use crate::model::limits;
use crate::model::metadata::{Metadata, MetricType};
use std::sync::Arc;

/// The labels of a series, or why they are none.
pub(super) type SeriesLabels = Result<Labels, String>;

/// Reads the labels of a series, in any order; empty ones are none. Judges them as Prometheus does: there must be a name,
/// and no label twice.
pub(super) fn labels(series: &[u8]) -> Result<SeriesLabels, Malformed> {
    let mut pairs: Vec<(&str, &str)> = Vec::new();
    let mut fields = Fields::new(series);
    while let Some((number, field)) = fields.next()? {
        if number == 1 {
            pairs.push(label(field.bytes()?)?);
        }
    }
    pairs.sort_by_key(|(name, _)| *name);
    let twice = pairs.windows(2).find_map(|pair| match pair {
        [(first, _), (second, _)] if first == second => Some(*first),
        _ => None,
    });
    let labels = Labels::from_pairs(pairs.iter().filter(|(_, value)| !value.is_empty()).copied());
    let checked = match twice {
        Some(name) => Err(format!("label name {:?} is not unique", limits::shortened(name))),
        None if labels.metric_name().is_empty() => Err("missing metric name".to_owned()),
        None if labels.has("") => Err("invalid label name \"\"".to_owned()),
        None => limits::check_labels(&labels),
    };
    Ok(match checked {
        Ok(()) => Ok(labels),
        Err(reason) => {
            let shown: String = labels.to_string().chars().take(SHOWN_CHARS_MAX).collect();
            Err(format!("invalid labels for series, labels {shown}: {reason}"))
        }
    })
}

/// How much of a series a message shows.
const SHOWN_CHARS_MAX: usize = 1024;

/// Reads a sample: milliseconds since 1970 and the value.
pub(super) fn sample(message: &[u8]) -> Result<(i64, f64), Malformed> {
    let (mut at_ms, mut value) = (0, 0.0);
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => value = field.float(),
            2 => at_ms = field.number() as i64,
            _ => {}
        }
    }
    Ok((at_ms, value))
}

fn label(message: &[u8]) -> Result<(&str, &str), Malformed> {
    let (mut name, mut value) = ("", "");
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => name = field.text()?,
            2 => value = field.text()?,
            _ => {}
        }
    }
    Ok((name, value))
}

pub(super) fn exemplar(message: &[u8]) -> Result<Exemplar, Malformed> {
    let mut labels = LabelsBuilder::new();
    let (mut at_ms, mut value) = (0, 0.0);
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => {
                let (name, value) = label(field.bytes()?)?;
                labels.set(name, value);
            }
            2 => value = field.float(),
            3 => at_ms = field.number() as i64,
            _ => {}
        }
    }
    Ok(Exemplar { labels: Labels::from_pairs(labels.iter()), value, at_ms: Some(at_ms) })
}

pub(super) fn metadata(message: &[u8]) -> Result<(String, Metadata), Malformed> {
    let mut name = String::new();
    let mut metadata = Metadata::default();
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => metadata.metric_type = metric_type(field.number()),
            2 => field.text()?.clone_into(&mut name),
            4 => field.text()?.clone_into(&mut metadata.help),
            5 => field.text()?.clone_into(&mut metadata.unit),
            _ => {}
        }
    }
    Ok((name, metadata))
}

const fn metric_type(number: u64) -> MetricType {
    match number {
        1 => MetricType::Counter,
        2 => MetricType::Gauge,
        3 => MetricType::Histogram,
        4 => MetricType::GaugeHistogram,
        5 => MetricType::Summary,
        6 => MetricType::Info,
        7 => MetricType::StateSet,
        _ => MetricType::Unknown,
    }
}

/// Reads a histogram; whole counts come as differences between neighbours, float counts as they are.
pub(super) fn histogram(message: &[u8]) -> Result<(i64, Arc<FloatHistogram>), Malformed> {
    let mut found = FloatHistogram::default();
    let (mut at_ms, mut is_counted) = (0, false);
    let (mut negative, mut positive) = (Vec::new(), Vec::new());
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => {
                found.count = field.number() as f64;
                is_counted = true;
            }
            2 => found.count = field.float(),
            3 => found.sum = field.float(),
            4 => found.schema = field.signed() as i32,
            5 => found.zero_threshold = field.float(),
            6 => found.zero_count = field.number() as f64,
            7 => found.zero_count = field.float(),
            8 => found.negative_spans.push(span(field.bytes()?)?),
            9 => push_signed(field, &mut negative)?,
            10 => push_floats(field, &mut found.negative_buckets)?,
            11 => found.positive_spans.push(span(field.bytes()?)?),
            12 => push_signed(field, &mut positive)?,
            13 => push_floats(field, &mut found.positive_buckets)?,
            14 => {
                found.counter_reset_hint = match field.number() {
                    1 => CounterResetHint::Reset,
                    2 => CounterResetHint::NotReset,
                    3 => CounterResetHint::Gauge,
                    _ => CounterResetHint::Unknown,
                }
            }
            15 => at_ms = field.number() as i64,
            16 => push_floats(field, &mut found.custom_values)?,
            _ => {}
        }
    }
    add_differences(&negative, &mut found.negative_buckets);
    add_differences(&positive, &mut found.positive_buckets);
    for (spans, buckets) in [(&found.negative_spans, &found.negative_buckets), (&found.positive_spans, &found.positive_buckets)] {
        let spanned: u64 = spans.iter().map(|span| u64::from(span.length)).sum();
        if spanned != buckets.len() as u64 {
            return Err(Malformed("histogram's spans and buckets do not fit together"));
        }
    }
    match flaw(&found, is_counted) {
        Some(flaw) => Err(Malformed(flaw)),
        None => Ok((at_ms, Arc::new(found))),
    }
}

/// Returns what keeps a histogram from being one, by the rules of Prometheus. `is_counted`: its counts are whole numbers.
fn flaw(found: &FloatHistogram, is_counted: bool) -> Option<&'static str> {
    const CUSTOM: i32 = -53;
    let spans = [&found.negative_spans, &found.positive_spans];
    if spans.iter().any(|spans| spans.iter().skip(1).any(|span| span.offset < 0)) {
        return Some("histogram has a span whose offset is negative");
    }
    let mut buckets = found.negative_buckets.iter().chain(&found.positive_buckets);
    if buckets.clone().any(|count| *count < 0.0) || found.zero_count < 0.0 || found.count < 0.0 {
        return Some("histogram has a bucket whose observation count is negative");
    }
    match found.schema {
        CUSTOM => {
            let reached: i64 = found.positive_spans.iter().map(|span| i64::from(span.offset) + i64::from(span.length)).sum();
            if found.zero_count != 0.0 || found.zero_threshold != 0.0 || !found.negative_spans.is_empty() {
                return Some("custom buckets: must have no zero bucket and no negative spans");
            }
            if !found.custom_values.is_sorted_by(|left, right| left < right) || found.custom_values.iter().any(|v| v.is_nan()) {
                return Some("custom buckets: bounds must ascend");
            }
            if reached > found.custom_values.len() as i64 + 1 {
                return Some("custom buckets: only so many bounds as buckets, less one, may be there");
            }
        }
        -4..=8 if found.custom_values.is_empty() => {}
        -4..=8 => return Some("histogram with exponential schema must not have custom bounds"),
        _ => return Some("histogram has an invalid schema, which must be between -4 and 8 for exponential buckets, or -53"),
    }
    if is_counted {
        let observed = buckets.by_ref().sum::<f64>() + found.zero_count;
        // What is no number is counted and lies in no bucket.
        if observed > found.count || !found.sum.is_nan() && observed < found.count {
            return Some("histogram's observation count should equal the number of observations found in the buckets");
        }
    }
    None
}

fn add_differences(differences: &[i64], into: &mut Vec<f64>) {
    let mut count = 0_i64;
    into.extend(differences.iter().map(|difference| {
        count = count.wrapping_add(*difference);
        count as f64
    }));
}

fn span(message: &[u8]) -> Result<Span, Malformed> {
    let mut span = Span::default();
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => span.offset = Field::signed(field) as i32,
            2 => span.length = field.number() as u32,
            _ => {}
        }
    }
    Ok(span)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flaws_of_histograms_are_named() {
        let span = |offset, length| Span { offset, length };
        let good = FloatHistogram {
            count: 6.0,
            sum: 1.0,
            zero_count: 1.0,
            positive_spans: vec![span(-2, 1), span(1, 1)],
            positive_buckets: vec![2.0, 3.0],
            ..FloatHistogram::default()
        };
        let custom = FloatHistogram {
            schema: -53,
            zero_count: 0.0,
            count: 5.0,
            positive_spans: vec![span(0, 2)],
            custom_values: vec![1.0],
            ..good.clone()
        };
        assert_eq!((flaw(&good, true), flaw(&custom, true)), (None, None));
        // What is no number lies in no bucket; floats need not add up.
        assert_eq!(flaw(&FloatHistogram { count: 9.0, sum: f64::NAN, ..good.clone() }, true), None);
        assert_eq!(flaw(&FloatHistogram { count: 9.0, ..good.clone() }, false), None);
        let bad = [
            (FloatHistogram { count: 9.0, ..good.clone() }, "observation count should equal"),
            (FloatHistogram { count: 5.0, sum: f64::NAN, ..good.clone() }, "observation count should equal"),
            (FloatHistogram { positive_buckets: vec![-2.0, 7.0], ..good.clone() }, "is negative"),
            (FloatHistogram { count: -3.0, ..good.clone() }, "is negative"),
            (FloatHistogram { positive_spans: vec![span(0, 1), span(-1, 1)], ..good.clone() }, "offset is negative"),
            (FloatHistogram { schema: -9, ..good.clone() }, "invalid schema"),
            (FloatHistogram { custom_values: vec![1.0], ..good }, "must not have custom bounds"),
            (FloatHistogram { zero_count: 1.0, ..custom.clone() }, "no zero bucket"),
            (FloatHistogram { custom_values: vec![2.0, 1.0], ..custom.clone() }, "must ascend"),
            (FloatHistogram { custom_values: vec![], ..custom }, "only so many bounds"),
        ];
        for (histogram, told) in bad {
            let found = flaw(&histogram, true);
            assert!(found.is_some_and(|found| found.contains(told)), "{told}: {found:?}");
        }
    }
}
