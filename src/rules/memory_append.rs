//! The writing face of a [`MemoryStore`], for rule unit tests.

use crate::model::exemplar::Exemplar;
use crate::model::labels::Labels;
use crate::model::matcher::Matcher;
use crate::model::metadata::Metadata;
use crate::model::sample::Value;
use crate::storage::append::{Append, AppendError, Appended, BatchSample, BatchValue, Durability, GroupId, SeriesId};
use crate::storage::select::memory::MemoryStore;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Writes into a store in memory.
#[derive(Debug)]
pub struct MemoryAppend {
    store: Arc<MemoryStore>,
    names: Mutex<Names>,
}

#[derive(Debug, Default)]
struct Names {
    ids: HashMap<Labels, SeriesId>,
    labels: Vec<Labels>,
}

impl MemoryAppend {
    /// Returns the writing face of a store.
    #[must_use]
    pub fn new(store: Arc<MemoryStore>) -> Self {
        Self { store, names: Mutex::default() }
    }

    fn add(&self, series: SeriesId, at_ms: i64, value: Value) {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(labels) = names.labels.get(series.0 as usize) {
            self.store.add(labels, at_ms, value);
        }
    }
}

impl Append for MemoryAppend {
    fn series(&self, labels: &Labels) -> Result<SeriesId, AppendError> {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(id) = names.ids.get(labels) {
            return Ok(*id);
        }
        let place = u32::try_from(names.labels.len()).map_err(|_| AppendError::Limit("too many series".to_owned()))?;
        names.labels.push(labels.clone());
        names.ids.insert(labels.clone(), SeriesId(place));
        Ok(SeriesId(place))
    }

    fn matching(&self, series: &[SeriesId], wanted: &[&[Matcher]], found: &mut dyn FnMut(usize, usize)) {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        for (place, id) in series.iter().enumerate() {
            let Some(labels) = names.labels.get(id.0 as usize) else { continue };
            for (which, matchers) in wanted.iter().enumerate() {
                if matchers.iter().all(|one| one.matches_labels(labels)) {
                    found(place, which);
                }
            }
        }
    }

    fn group(&self, _name: &str) -> Result<GroupId, AppendError> {
        Ok(GroupId(0))
    }

    fn append_row(&self, _group: GroupId, at_ms: i64, series: &Arc<[SeriesId]>, values: &[f64]) -> Result<Appended, AppendError> {
        for (series, value) in series.iter().zip(values) {
            self.add(*series, at_ms, Value::Float(*value));
        }
        Ok(Appended { stored: values.len() as u64, ..Appended::default() })
    }

    fn append_samples(
        &self,
        _group: Option<GroupId>,
        samples: &[BatchSample],
        _durability: Durability,
    ) -> Result<Appended, AppendError> {
        for sample in samples {
            let value = match &sample.value {
                BatchValue::Float(value) => Value::Float(*value),
                BatchValue::Histogram(histogram) => Value::Histogram(Arc::clone(histogram)),
            };
            self.add(sample.series, sample.at_ms, value);
        }
        Ok(Appended { stored: samples.len() as u64, ..Appended::default() })
    }

    fn note_start(&self, _series: SeriesId, _at_ms: i64, _start_ms: i64) {}

    fn append_exemplars(&self, _series: SeriesId, _exemplars: &[Exemplar]) {}

    fn note_metadata(&self, metric: &str, metadata: &Metadata) {
        self.store.note_metadata(metric, metadata.clone());
    }
}
