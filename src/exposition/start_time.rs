//! Start times of counters, histograms and summaries out of OpenMetrics' `_created` lines.
//!
//! A `_created` line may stand anywhere among its family's lines, so they are found by a pass over a family's entries, from
//! the last to the first: a sample takes the next `_created` line before the family ends, if that speaks of the same labels
//! (without `le` and `quantile`), or else the one that was taken last. That is what Prometheus's look-ahead does.

use crate::model::labels::{BUCKET_LABEL, Labels, METRIC_NAME};
use crate::model::metadata::MetricType;

/// What this pass must know of an entry.
#[derive(Clone, Debug)]
pub enum Line {
    /// Anything that is not a sample; it ends a family.
    Other,
    /// A sample: its labels with the name, its family's type and its value.
    Sample {
        /// All labels.
        labels: Labels,
        /// What the last TYPE line said.
        metric_type: MetricType,
        /// The value; of a `_created` line the seconds since 1970.
        value: f64,
    },
}

/// Returns whether samples of that type have start times.
const fn has_start(metric_type: MetricType) -> bool {
    matches!(metric_type, MetricType::Counter | MetricType::Histogram | MetricType::Summary)
}

/// Returns the family's name and the labels that all its lines of one series set share.
fn family(labels: &Labels, metric_type: MetricType) -> Labels {
    let name = labels.metric_name();
    let suffixes: &[&str] = match metric_type {
        MetricType::Counter => &["_created", "_total"],
        MetricType::Histogram => &["_created", "_bucket", "_count", "_sum"],
        _ => &["_created", "_count", "_sum"],
    };
    let stem = suffixes.iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name);
    let dropped = match metric_type {
        MetricType::Histogram => BUCKET_LABEL,
        MetricType::Summary => "quantile",
        _ => "",
    };
    labels.without(|label| label == dropped).with(METRIC_NAME, stem)
}

/// Returns whether the line is a `_created` line of a type that has them.
#[must_use]
pub fn is_created(labels: &Labels, metric_type: MetricType) -> bool {
    has_start(metric_type) && labels.metric_name().ends_with("_created")
}

/// Returns for each line its start time in milliseconds, where one is known; `_created` lines themselves have none.
#[must_use]
pub fn start_times(lines: &[Line]) -> Vec<Option<i64>> {
    let start_ms = |created: usize| match lines.get(created)? {
        Line::Sample { value, .. } => Some((value * 1000.0) as i64),
        Line::Other => None,
    };
    created_lines(lines).into_iter().map(|created| created.and_then(start_ms)).collect()
}

/// Returns for each line the place of the `_created` line that speaks of it.
#[must_use]
pub fn created_lines(lines: &[Line]) -> Vec<Option<usize>> {
    let mut next_created = vec![None; lines.len()];
    let mut seen = None;
    for (place, line) in lines.iter().enumerate().rev() {
        match line {
            Line::Other => seen = None,
            Line::Sample { labels, metric_type, .. } if is_created(labels, *metric_type) => seen = Some(place),
            Line::Sample { .. } => {}
        }
        next_created[place] = seen;
    }
    let mut taken: Option<(Labels, usize)> = None;
    let mut found = vec![None; lines.len()];
    for (place, line) in lines.iter().enumerate() {
        let Line::Sample { labels, metric_type, .. } = line else { continue };
        if !has_start(*metric_type) || is_created(labels, *metric_type) {
            continue;
        }
        let family_labels = family(labels, *metric_type);
        if taken.as_ref().is_none_or(|(owner, _)| *owner != family_labels) {
            taken = next_created[place].and_then(|created| match &lines[created] {
                Line::Sample { labels, metric_type, .. } => {
                    let owner = family(labels, *metric_type);
                    (owner == family_labels).then_some((owner, created))
                }
                Line::Other => None,
            });
        }
        found[place] = taken.as_ref().map(|(_, created)| *created);
    }
    found
}
