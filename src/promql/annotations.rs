//! Warnings and infos of a query: texts and places as Prometheus gives them. They never change a result.

use super::expr::Span;
use crate::model::number::{format_g, quote};
use std::collections::BTreeMap;

/// What there is to say. Where a variant holds a name, it is the metric's.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Note {
    InvalidQuantile(f64),
    InvalidRatio { given: f64, capped: f64 },
    BadBucketLabel { name: String, le: String },
    MixedFloatsHistograms(String),
    MixedFloatsHistogramsInAggregation,
    MixedClassicNative(String),
    NotCounterHistogram(String),
    NotGaugeHistogram(String),
    MixedSchemas(String),
    IncompatibleTypesInBinary { left: &'static str, op: &'static str, right: &'static str },
    IncompatibleBuckets(&'static str),
    ResetCollision(&'static str),
    SortIneffective,
    StartOverlap(String),
    PossibleNonCounter(String),
    PossibleNonCounterType { name: String, kind: String },
    MonotonicityForced { name: String, at_ms: i64, lowest: f64, highest: f64, difference: f64 },
    HistogramIgnoredInAggregation(&'static str),
    HistogramIgnoredInMixedRange(String),
    BoundsReconciled(&'static str),
    QuantileSkewed(String),
    QuantileNan(String),
    FractionSkewed(String),
}

impl Note {
    const fn is_info(&self) -> bool {
        matches!(
            self,
            Self::PossibleNonCounter(_)
                | Self::PossibleNonCounterType { .. }
                | Self::MonotonicityForced { .. }
                | Self::IncompatibleTypesInBinary { .. }
                | Self::HistogramIgnoredInAggregation(_)
                | Self::HistogramIgnoredInMixedRange(_)
                | Self::BoundsReconciled(_)
                | Self::QuantileSkewed(_)
                | Self::QuantileNan(_)
                | Self::FractionSkewed(_)
        )
    }

    fn text(&self) -> String {
        let with_name = |text: &str, name: &str| match name {
            "" => text.to_owned(),
            name => format!("{text} for metric name {}", quote(name)),
        };
        match self {
            Self::InvalidQuantile(value) => format!("quantile value should be between 0 and 1, got {}", format_g(*value)),
            Self::InvalidRatio { given, capped } => {
                let (given, capped) = (format_g(*given), format_g(*capped));
                format!("ratio value should be between -1 and 1, got {given}, capping to {capped}")
            }
            Self::BadBucketLabel { name, le } => {
                with_name(&format!("bucket label \"le\" is missing or has a malformed value of {}", quote(le)), name)
            }
            Self::MixedFloatsHistograms(name) => with_name("encountered a mix of histograms and floats", name),
            Self::MixedFloatsHistogramsInAggregation => "encountered a mix of histograms and floats for aggregation".to_owned(),
            Self::MixedClassicNative(name) => with_name("vector contains a mix of classic and native histograms", name),
            Self::NotCounterHistogram(name) => format!("this native histogram metric is not a counter: {}", quote(name)),
            Self::NotGaugeHistogram(name) => format!("this native histogram metric is not a gauge: {}", quote(name)),
            Self::MixedSchemas(name) => {
                with_name("vector contains a mix of histograms with exponential and custom buckets schemas", name)
            }
            Self::IncompatibleTypesInBinary { left, op, right } => {
                format!("incompatible sample types encountered for binary operator {}: {left} {op} {right}", quote(op))
            }
            Self::IncompatibleBuckets(op) => {
                format!("incompatible bucket layout encountered for binary operator {op}")
            }
            Self::ResetCollision(operation) => format!("conflicting counter resets during histogram {operation}"),
            Self::SortIneffective => {
                "sort is ineffective for range queries since results are always ordered by labels".to_owned()
            }
            Self::StartOverlap(name) => {
                with_name_word("sample has start time that overlaps with previous sample timestamp", "metric", name)
            }
            Self::PossibleNonCounter(name) => {
                format!("metric might not be a counter, name does not end in _total/_sum/_count/_bucket: {}", quote(name))
            }
            Self::PossibleNonCounterType { name, kind } => format!(
                "metric might not be a counter, __type__ label is not set to \"counter\" or \"histogram\", got {}: {}",
                quote(kind),
                quote(name)
            ),
            Self::MonotonicityForced { name, .. } => with_name(
                "input to histogram_quantile needed to be fixed for monotonicity \
                 (see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)",
                name,
            ),
            Self::HistogramIgnoredInAggregation(op) => format!("ignored histogram in {op} aggregation"),
            Self::HistogramIgnoredInMixedRange(name) => {
                with_name("ignored histograms in a range containing both floats and histograms", name)
            }
            Self::BoundsReconciled(operation) => format!("mismatched custom buckets were reconciled during {operation}"),
            Self::QuantileSkewed(name) => {
                with_name("input to histogram_quantile has NaN observations, result is skewed higher", name)
            }
            Self::QuantileNan(name) => with_name("input to histogram_quantile has NaN observations, result is NaN", name),
            Self::FractionSkewed(name) => {
                with_name("input to histogram_fraction has NaN observations, which are excluded from all fractions", name)
            }
        }
    }
}

fn with_name_word(text: &str, word: &str, name: &str) -> String {
    format!("{text} for {word} {}", quote(name))
}

/// Widest extent of the fixes that a text stands for.
#[derive(Clone, Copy, Debug)]
struct Extent {
    lowest: f64,
    highest: f64,
    difference: f64,
    samples: u64,
    first_ms: i64,
    last_ms: i64,
}

/// A set of notes. Of those with the same text the last one says where, as in Prometheus.
#[derive(Debug, Default)]
pub(crate) struct Annotations {
    notes: BTreeMap<(bool, String), (usize, Option<Extent>)>,
}

impl Annotations {
    /// Adds a note about the expression at `span`.
    pub(crate) fn add(&mut self, note: &Note, span: Span) {
        let (start, extent) = self.notes.entry((note.is_info(), note.text())).or_default();
        *start = span.start;
        let Note::MonotonicityForced { at_ms, lowest, highest, difference, .. } = *note else {
            return;
        };
        let new = Extent { lowest, highest, difference, samples: 1, first_ms: at_ms, last_ms: at_ms };
        let extent = extent.get_or_insert(Extent { samples: 0, ..new });
        extent.lowest = extent.lowest.min(lowest);
        extent.highest = extent.highest.max(highest);
        extent.difference = extent.difference.max(difference);
        extent.samples += 1;
        extent.first_ms = extent.first_ms.min(at_ms);
        extent.last_ms = extent.last_ms.max(at_ms);
    }

    /// Renders warnings and infos, each cut to `most` (0: not cut).
    pub(crate) fn render(&self, text: Option<&str>, most: usize) -> (Vec<String>, Vec<String>) {
        let mut rendered = (Vec::new(), Vec::new());
        for ((info, words), (start, extent)) in &self.notes {
            let kind = if *info { "info" } else { "warning" };
            let list = if *info { &mut rendered.1 } else { &mut rendered.0 };
            let extent = extent.map(|extent| extent_words(&extent)).unwrap_or_default();
            list.push(format!("PromQL {kind}: {words}{extent} ({})", place(text, *start)));
        }
        cut(&mut rendered.0, most, "warning");
        cut(&mut rendered.1, most, "info");
        rendered
    }
}

fn extent_words(extent: &Extent) -> String {
    let time = |at_ms: i64| {
        let at = jiff::Timestamp::from_second(at_ms.div_euclid(1000)).unwrap_or_default();
        at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    };
    format!(
        ", from buckets {} to {}, with a max diff of {}, over {} samples from {} to {}",
        format_g(extent.lowest),
        format_g(extent.highest),
        two_digits(extent.difference),
        extent.samples,
        time(extent.first_ms),
        time(extent.last_ms),
    )
}

/// Formats as Go's `%.2g`.
fn two_digits(value: f64) -> String {
    let text = format!("{value:.1e}");
    format_g(text.parse().unwrap_or(value))
}

fn cut(list: &mut Vec<String>, most: usize, kind: &str) {
    if most > 0 && list.len() > most {
        let more = list.len() - most;
        list.truncate(most);
        list.push(format!("{more} more {kind} annotations omitted"));
    }
}

/// Returns `line:column` of a byte, both from 1.
fn place(text: Option<&str>, start: usize) -> String {
    let before = text.and_then(|text| text.as_bytes().get(..start)).unwrap_or_default();
    let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
    let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    format!("{line}:{}", start - line_start + 1)
}
