//! A plain store in memory, for tests of everything that reads: the simplest thing that keeps [`super::Querier`]'s promises.

use super::{Hints, Querier, SelectError, SelectedSeries, Selection, SeriesReader, SeriesSamples, TimeRange, Values};
use crate::model::exemplar::Exemplar;
use crate::model::labels::Labels;
use crate::model::matcher::Matcher;
use crate::model::metadata::Metadata;
use crate::model::sample::Value;
use crate::storage::changes::ChangeLog;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};

/// One stored point.
#[derive(Clone, Debug)]
struct Point {
    at_ms: i64,
    start_ms: i64,
    value: Value,
}

/// Series in a map. Appending keeps each series sorted by time.
#[derive(Debug, Default)]
pub struct MemoryStore {
    series: RwLock<BTreeMap<Labels, Vec<Point>>>,
    metadata: RwLock<BTreeMap<String, Vec<Metadata>>>,
    changes: ChangeLog,
}

impl MemoryStore {
    /// Returns an empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a sample; a later one at the same time replaces the earlier.
    pub fn add(&self, labels: &Labels, at_ms: i64, value: Value) {
        self.add_started(labels, at_ms, 0, value);
    }

    /// Adds a sample with a start timestamp (0: none).
    pub fn add_started(&self, labels: &Labels, at_ms: i64, start_ms: i64, value: Value) {
        let mut series = self.series.write().unwrap_or_else(PoisonError::into_inner);
        let points = series.entry(labels.clone()).or_default();
        match points.binary_search_by_key(&at_ms, |point| point.at_ms) {
            Ok(at) => points[at] = Point { at_ms, start_ms, value },
            Err(at) => points.insert(at, Point { at_ms, start_ms, value }),
        }
        drop(series);
        self.changes.note(at_ms);
    }

    /// Forgets all.
    pub fn clear(&self) {
        self.series.write().unwrap_or_else(PoisonError::into_inner).clear();
        self.changes.note(i64::MIN);
    }

    /// Notes metadata of a metric.
    pub fn note_metadata(&self, metric: &str, metadata: Metadata) {
        self.metadata.write().unwrap_or_else(PoisonError::into_inner).entry(metric.to_owned()).or_default().push(metadata);
    }

    fn matching(&self, matchers: &[Matcher], range: TimeRange) -> Vec<(Labels, Vec<Point>)> {
        let series = self.series.read().unwrap_or_else(PoisonError::into_inner);
        let within = |point: &&Point| point.at_ms >= range.start_ms && point.at_ms <= range.end_ms;
        series
            .iter()
            .filter(|(labels, _)| matchers.iter().all(|matcher| matcher.matches_labels(labels)))
            .map(|(labels, points)| (labels.clone(), points.iter().filter(within).cloned().collect::<Vec<_>>()))
            .filter(|(_, points)| !points.is_empty())
            .collect()
    }

    fn matching_any(&self, sets: &[Vec<Matcher>], range: TimeRange) -> Vec<Labels> {
        if sets.is_empty() {
            return self.matching(&[], range).into_iter().map(|(labels, _)| labels).collect();
        }
        let found: BTreeSet<_> = sets.iter().flat_map(|set| self.matching(set, range)).map(|(labels, _)| labels).collect();
        found.into_iter().collect()
    }
}

struct MemoryReader(Vec<Vec<Point>>);

impl SeriesReader for MemoryReader {
    fn read(&self, places: Range<usize>) -> Result<Vec<SeriesSamples>, SelectError> {
        Ok(self.0.get(places).unwrap_or_default().iter().map(|points| samples(points)).collect())
    }
}

fn samples(points: &[Point]) -> SeriesSamples {
    let float = |point: &Point| match &point.value {
        Value::Float(value) => Some(*value),
        Value::Histogram(_) => None,
    };
    let floats: Option<Vec<f64>> = points.iter().map(float).collect();
    let values = floats.map_or_else(|| Values::Mixed(points.iter().map(|point| point.value.clone()).collect()), Values::Floats);
    let started = points.iter().any(|point| point.start_ms != 0);
    SeriesSamples {
        times: points.iter().map(|point| point.at_ms).collect(),
        values,
        starts: started.then(|| points.iter().map(|point| point.start_ms).collect()),
    }
}

fn limited(found: BTreeSet<String>, limit: usize) -> Vec<String> {
    let limit = if limit == 0 { usize::MAX } else { limit };
    found.into_iter().take(limit).collect()
}

impl Querier for MemoryStore {
    fn select(&self, matchers: &[Matcher], range: TimeRange, _hints: &Hints) -> Result<Selection, SelectError> {
        let (labels, points): (Vec<_>, Vec<_>) = self.matching(matchers, range).into_iter().unzip();
        let estimated = |points: &Vec<Point>| points.len() as u64;
        let series = labels.into_iter().zip(points.iter().map(estimated));
        Ok(Selection {
            series: series.map(|(labels, samples_estimated)| SelectedSeries { labels, samples_estimated }).collect(),
            warnings: Vec::new(),
            reader: Arc::new(MemoryReader(points)),
        })
    }

    fn changes(&self) -> Option<&ChangeLog> {
        Some(&self.changes)
    }

    fn label_names(&self, matchers: &[Vec<Matcher>], range: TimeRange, limit: usize) -> Result<Vec<String>, SelectError> {
        let series = self.matching_any(matchers, range);
        Ok(limited(series.iter().flat_map(|labels| labels.iter().map(|(name, _)| name.to_owned())).collect(), limit))
    }

    fn label_values(
        &self,
        name: &str,
        matchers: &[Vec<Matcher>],
        range: TimeRange,
        limit: usize,
    ) -> Result<Vec<String>, SelectError> {
        let series = self.matching_any(matchers, range);
        Ok(limited(series.iter().filter_map(|labels| labels.get(name)).map(str::to_owned).collect(), limit))
    }

    fn metadata(&self, metric: Option<&str>) -> BTreeMap<String, Vec<Metadata>> {
        let known = self.metadata.read().unwrap_or_else(PoisonError::into_inner);
        let wanted = known.iter().filter(|(name, _)| metric.is_none_or(|metric| metric == name.as_str()));
        wanted.map(|(name, metadata)| (name.clone(), metadata.clone())).collect()
    }

    fn exemplars(&self, _matchers: &[Vec<Matcher>], _range: TimeRange) -> Result<Vec<(Labels, Vec<Exemplar>)>, SelectError> {
        Ok(Vec::new())
    }
}
