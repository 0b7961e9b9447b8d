//! Metric families for an export: which TYPE, HELP and UNIT stand before which stored metrics.
//!
//! OpenMetrics ties a family's type to the names of its samples (`_total`, `_bucket`, `_count`, `_sum`, `_info`), and a reader
//! writes bounds of histograms and quantiles of summaries in its own way. A metric whose name or bounds do not fit what is
//! known of it is `unknown`: the samples come back as they are stored, whatever was said of them.

use crate::model::metadata::{Metadata, MetricType};
use std::collections::{BTreeMap, BTreeSet};

/// What is said before the samples of a family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Family {
    /// Its name: for a counter without `_total`.
    pub(super) name: String,
    /// Its type.
    pub(super) metric_type: MetricType,
    /// In words; empty where nothing is known.
    pub(super) help: String,
    /// Its unit, where the name ends with it.
    pub(super) unit: String,
}

impl Family {
    /// Returns a family of which nothing is known.
    pub(super) fn unknown(metric: &str) -> Self {
        Self { name: metric.to_owned(), ..Self::default() }
    }

    fn new(name: &str, metadata: &Metadata) -> Self {
        let has_unit = name.strip_suffix(&metadata.unit).is_some_and(|stem| stem.ends_with('_'));
        let unit = if has_unit { metadata.unit.clone() } else { String::new() };
        Self { name: name.to_owned(), metric_type: metadata.metric_type, help: metadata.help.clone(), unit }
    }
}

/// What the names of a family's samples have behind the family's name; without a suffix: `""`.
const fn suffixes(metric_type: MetricType) -> &'static [&'static str] {
    match metric_type {
        MetricType::Counter => &["_total"],
        MetricType::Gauge | MetricType::StateSet | MetricType::Unknown => &[""],
        // Native histograms have no suffix; they are written as classic ones.
        MetricType::Histogram => &["", "_bucket", "_count", "_sum"],
        MetricType::GaugeHistogram => &["", "_bucket", "_gcount", "_gsum"],
        MetricType::Summary => &["", "_count", "_sum"],
        MetricType::Info => &["_info"],
    }
}

/// Finds the family of a metric: what is known of it, and the family's name in OpenMetrics. Scrapes of the text format know
/// a counter by its whole name, those of OpenMetrics by the one without `_total`.
fn find<'a>(metric: &'a str, known: &'a BTreeMap<String, Vec<Metadata>>) -> Option<(&'a str, &'a str, &'a Metadata)> {
    let of = |name: &str| known.get_key_value(name).and_then(|(name, list)| Some((name.as_str(), list.first()?)));
    let fits = |name: &str, metadata: &Metadata| {
        metric.strip_prefix(name).is_some_and(|suffix| suffixes(metadata.metric_type).contains(&suffix))
    };
    if let Some((key, metadata)) = of(metric) {
        let stems = suffixes(metadata.metric_type).iter().filter_map(|suffix| metric.strip_suffix(suffix));
        return stems.map(|stem| (key, stem, metadata)).next();
    }
    let stems = metric.match_indices('_').rev().filter_map(|(at, _)| metric.get(..at));
    let found = stems.filter_map(|stem| Some((stem, of(stem)?))).find(|(stem, (_, metadata))| fits(stem, metadata));
    found.map(|(stem, (key, metadata))| (key, stem, metadata))
}

/// Returns each metric with its family, families together. `is_normal` tells whether all values of a label of a metric are
/// written as OpenMetrics writes bounds.
pub(super) fn families<E>(
    metrics: &[String],
    known: &BTreeMap<String, Vec<Metadata>>,
    mut is_normal: impl FnMut(&str, &str) -> Result<bool, E>,
) -> Result<Vec<(Family, String)>, E> {
    let mut keys: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut odd: BTreeSet<&str> = BTreeSet::new();
    for metric in metrics {
        let Some((key, stem, metadata)) = find(metric, known) else {
            // It is a family of its own; no other may have its name.
            keys.entry(metric).or_default().insert("");
            continue;
        };
        keys.entry(stem).or_default().insert(key);
        let bound = match metadata.metric_type {
            MetricType::Histogram if metric != stem => "le",
            MetricType::Summary if metric == stem => "quantile",
            _ => continue,
        };
        if !is_normal(metric, bound)? {
            odd.insert(stem);
        }
    }
    let mut found: Vec<(Family, String)> = Vec::with_capacity(metrics.len());
    for metric in metrics {
        let family = match find(metric, known) {
            Some((_, stem, metadata)) if !odd.contains(stem) && keys.get(stem).is_none_or(|keys| keys.len() < 2) => {
                Family::new(stem, metadata)
            }
            Some((_, _, metadata)) => Family { help: metadata.help.clone(), ..Family::unknown(metric) },
            None => Family::unknown(metric),
        };
        found.push((family, metric.clone()));
    }
    found.sort_by(|(left, one), (right, other)| (&left.name, one).cmp(&(&right.name, other)));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_find_their_families() {
        let metadata = |metric_type, unit: &str| vec![Metadata { metric_type, help: "Helps.".to_owned(), unit: unit.to_owned() }];
        let known = BTreeMap::from([
            ("a_seconds_total".to_owned(), metadata(MetricType::Counter, "seconds")),
            ("b".to_owned(), metadata(MetricType::Counter, "")),
            ("c_total_bytes".to_owned(), metadata(MetricType::Gauge, "bytes")),
            ("d".to_owned(), metadata(MetricType::Histogram, "")),
            ("e".to_owned(), metadata(MetricType::Counter, "")),
            ("f_total".to_owned(), metadata(MetricType::Counter, "")),
            ("f".to_owned(), metadata(MetricType::Gauge, "")),
            ("g".to_owned(), metadata(MetricType::Histogram, "")),
            ("h".to_owned(), metadata(MetricType::Info, "")),
        ]);
        let metrics = [
            "a_seconds_total",
            "b_total",
            "c_total_bytes",
            "d",
            "d_bucket",
            "d_bucket_more",
            "d_count",
            "d_sum",
            "e",
            "f",
            "f_total",
            "g_bucket",
            "g_count",
            "h_info",
            "i",
        ];
        let metrics: Vec<String> = metrics.iter().map(|metric| (*metric).to_owned()).collect();
        let found = families(&metrics, &known, |metric, _| Ok::<_, ()>(metric != "g_bucket")).unwrap();
        let told: Vec<(&str, &str, &str, &str)> = found
            .iter()
            .map(|(family, metric)| (metric.as_str(), family.name.as_str(), family.metric_type.as_str(), family.unit.as_str()))
            .collect();
        let expected = [
            ("a_seconds_total", "a_seconds", "counter", "seconds"),
            ("b_total", "b", "counter", ""),
            ("c_total_bytes", "c_total_bytes", "gauge", "bytes"),
            ("d", "d", "histogram", ""),
            ("d_bucket", "d", "histogram", ""),
            ("d_count", "d", "histogram", ""),
            ("d_sum", "d", "histogram", ""),
            ("d_bucket_more", "d_bucket_more", "unknown", ""),
            ("e", "e", "unknown", ""),
            ("f", "f", "unknown", ""),
            ("f_total", "f_total", "unknown", ""),
            ("g_bucket", "g_bucket", "unknown", ""),
            ("g_count", "g_count", "unknown", ""),
            ("h_info", "h", "info", ""),
            ("i", "i", "unknown", ""),
        ];
        assert_eq!(told, expected);
        assert_eq!((found[8].0.help.as_str(), found[14].0.help.as_str()), ("", ""));
    }
}
