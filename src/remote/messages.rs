//! The messages of Remote-Write 1.0, one function for each; those of 2.0 that are the same are read by the same function.

use crate::model::exemplar::Exemplar;
use crate::model::histogram::flaw::flaw;
use crate::model::histogram::layout::add_differences;
use crate::model::histogram::{CounterResetHint, FloatHistogram, Span};
use crate::model::labels::{Labels, LabelsBuilder};
use crate::model::limits;
use crate::model::metadata::{Metadata, MetricType};
use crate::model::protobuf::{Field, Fields, Malformed, push_floats, push_signed};
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

pub(super) const fn metric_type(number: u64) -> MetricType {
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
