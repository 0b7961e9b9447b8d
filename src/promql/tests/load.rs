//! Loads described series into a store, as Prometheus's own test storage would show them.

use super::script::Load;
use crate::model::histogram::{CUSTOM_BUCKETS_SCHEMA, CounterResetHint, FloatHistogram, Span};
use crate::model::labels::{BUCKET_LABEL, Labels, METRIC_NAME};
use crate::model::sample::{Value, is_stale};
use crate::promql::parse::{SequenceValue, SeriesDescription};
use crate::storage::select::memory::MemoryStore;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Reads offsets of start timestamps: `_ -1m+30sx5 1ms`; each as milliseconds.
pub(super) fn start_offsets(text: &str) -> Vec<SequenceValue> {
    let mut values = Vec::new();
    for item in text.split_whitespace() {
        let (body, times) = match item.rsplit_once('x') {
            Some((body, times)) => (body, times.parse::<usize>().unwrap()),
            None => (item, 0),
        };
        if body == "_" {
            values.extend(std::iter::repeat_n(SequenceValue::Omitted, times.max(1)));
            continue;
        }
        let mut parts = Vec::new();
        let mut begin = 0;
        for (at, _) in body.char_indices().skip(1).filter(|(_, c)| matches!(c, '+' | '-')) {
            parts.push(&body[begin..at]);
            begin = at;
        }
        parts.push(&body[begin..]);
        let number = |text: &str| {
            let (sign, text) = match text.strip_prefix('-') {
                Some(text) => (-1, text),
                None => (1, text.trim_start_matches('+')),
            };
            sign * crate::model::duration::parse(text).unwrap_or_else(|error| panic!("{item}: {error}")).as_millis() as i64
        };
        let first = number(parts[0]);
        // `-1mx3` counts down from nothing like `0-1mx3` does not: without an increment the value repeats.
        let step = parts.get(1).map_or(0, |text| number(text));
        for i in 0..=times {
            values.push(SequenceValue::Float((first + step * i as i64) as f64));
        }
    }
    values
}

pub(super) fn load(store: &MemoryStore, load: &Load) {
    let is_start = |series: &&SeriesDescription| series.labels.has("@st");
    let starts: BTreeMap<Labels, &Vec<SequenceValue>> =
        load.series.iter().filter(is_start).map(|series| (series.labels.with("@st", ""), &series.values)).collect();
    for series in load.series.iter().filter(|series| !is_start(series)) {
        let starts = starts.get(&series.labels);
        let start = |i: usize, at_ms: i64| match starts.and_then(|starts| starts.get(i)) {
            Some(SequenceValue::Float(offset)) => at_ms + *offset as i64,
            _ => 0,
        };
        let mut before: Option<Value> = None;
        for (i, value) in series.values.iter().enumerate() {
            let at_ms = i as i64 * load.step_ms;
            let value = match value {
                SequenceValue::Omitted => continue,
                SequenceValue::Float(value) => Value::Float(*value),
                SequenceValue::Histogram(histogram) => Value::Histogram(Arc::new(hinted(before.as_ref(), histogram))),
            };
            store.add_started(&series.labels, at_ms, start(i, at_ms), value.clone());
            before = Some(value);
        }
    }
    if load.with_nhcb {
        for (labels, points) in custom_histograms(load) {
            let mut before: Option<Value> = None;
            for (at_ms, histogram) in points {
                let value = Value::Histogram(Arc::new(hinted(before.as_ref(), &histogram)));
                store.add(&labels, at_ms, value.clone());
                before = Some(value);
            }
        }
    }
}

/// Gives a histogram the hint that it has when it comes out of a chunk: a reset or another layout begins a new chunk, and
/// nothing is said about a chunk's first sample.
fn hinted(before: Option<&Value>, histogram: &FloatHistogram) -> FloatHistogram {
    let mut hinted = histogram.clone();
    hinted.counter_reset_hint = match (histogram.counter_reset_hint, before) {
        (CounterResetHint::Gauge, _) => CounterResetHint::Gauge,
        (CounterResetHint::Reset, _) => CounterResetHint::Reset,
        (_, Some(Value::Histogram(before))) if !is_stale(before.sum) => {
            let mut plain = histogram.clone();
            plain.counter_reset_hint = CounterResetHint::Unknown;
            let same_layout = before.schema == histogram.schema && before.zero_threshold == histogram.zero_threshold;
            if before.counter_reset_hint == CounterResetHint::Gauge {
                CounterResetHint::Unknown
            } else if same_layout && !plain.detect_reset(before) {
                CounterResetHint::NotReset
            } else {
                CounterResetHint::Unknown
            }
        }
        _ => CounterResetHint::Unknown,
    };
    hinted
}

#[derive(Default)]
struct Classic {
    points: BTreeMap<i64, ClassicPoint>,
}

/// Bounds with counts, count, sum.
type ClassicPoint = (Vec<(f64, f64)>, Option<f64>, f64);

/// Makes native histograms with custom buckets of the classic ones.
fn custom_histograms(load: &Load) -> Vec<(Labels, Vec<(i64, FloatHistogram)>)> {
    let mut found: BTreeMap<Labels, Classic> = BTreeMap::new();
    for series in &load.series {
        let name = series.labels.metric_name();
        let Some((base, kind)) = ["_bucket", "_count", "_sum"].iter().find_map(|kind| Some((name.strip_suffix(kind)?, *kind)))
        else {
            continue;
        };
        let bound = crate::model::number::parse_float(series.labels.value(BUCKET_LABEL));
        if kind == "_bucket" && bound.is_none() {
            continue;
        }
        let key = series.labels.with(METRIC_NAME, base).with(BUCKET_LABEL, "");
        let classic = found.entry(key).or_default();
        for (i, value) in series.values.iter().enumerate() {
            let SequenceValue::Float(value) = value else { continue };
            let point = classic.points.entry(i as i64 * load.step_ms).or_default();
            match (kind, bound) {
                ("_bucket", Some(bound)) => point.0.push((bound, *value)),
                ("_count", _) => point.1 = Some(*value),
                _ => point.2 = *value,
            }
        }
    }
    let histograms = found.into_iter().map(|(labels, classic)| {
        let points = classic.points.into_iter().filter(|(_, point)| !point.0.is_empty());
        (labels, points.map(|(at_ms, (buckets, count, sum))| (at_ms, custom(buckets, count, sum))).collect())
    });
    histograms.collect()
}

fn custom(mut buckets: Vec<(f64, f64)>, count: Option<f64>, sum: f64) -> FloatHistogram {
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    let count = count.unwrap_or_else(|| buckets.last().unwrap().1);
    let custom_values: Vec<f64> = buckets.iter().map(|(bound, _)| *bound).filter(|bound| bound.is_finite()).collect();
    let mut counts = Vec::new();
    let mut before = 0.0;
    for (bound, cumulative) in &buckets {
        if bound.is_finite() {
            counts.push(cumulative - before);
            before = *cumulative;
        }
    }
    counts.push(count - before);
    FloatHistogram {
        schema: CUSTOM_BUCKETS_SCHEMA,
        count,
        sum,
        positive_spans: vec![Span { offset: 0, length: counts.len() as u32 }],
        positive_buckets: counts,
        custom_values,
        ..FloatHistogram::default()
    }
    .compacted()
}
