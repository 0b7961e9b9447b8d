//! Columns: one series over the steps of a query.

use crate::model::histogram::FloatHistogram;
use crate::model::labels::{Labels, METRIC_NAME};
use crate::model::sample::{STALE_NAN_BITS, Value, is_stale, stale_nan};
use smallvec::SmallVec;
use std::sync::Arc;

/// Stands where a column has no float. The bits of the stale marker: no selector lets it through and no arithmetic makes
/// it, since it is a signalling NaN.
pub(crate) const ABSENT: f64 = stale_nan();

/// One float for each step; an instant query needs no allocation.
pub(crate) type Floats = SmallVec<[f64; 2]>;

/// Collects a float for each step. A list that was collected as a whole takes less time than one that grew.
pub(crate) fn floats(values: impl ExactSizeIterator<Item = f64>) -> Floats {
    if values.len() <= 2 { values.collect() } else { Floats::from_vec(values.collect()) }
}

/// Returns whether a float stands for "no sample here".
pub(crate) const fn is_absent(value: f64) -> bool {
    is_stale(value)
}

/// A value for each step, or none. Histograms are rare: without any, their list is empty.
#[derive(Clone, Debug, Default)]
pub(crate) struct Column {
    pub(crate) floats: Floats,
    histograms: Vec<Option<Arc<FloatHistogram>>>,
}

impl Column {
    /// Returns a column without samples.
    pub(crate) fn absent(steps: usize) -> Self {
        Self { floats: SmallVec::from_elem(ABSENT, steps), histograms: Vec::new() }
    }

    pub(crate) const fn of(floats: Floats) -> Self {
        Self { floats, histograms: Vec::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.floats.len()
    }

    pub(crate) fn has_histograms(&self) -> bool {
        !self.histograms.is_empty()
    }

    /// Returns whether no step has a sample.
    pub(crate) fn is_blank(&self) -> bool {
        self.floats.iter().all(|value| value.to_bits() == STALE_NAN_BITS) && self.histograms.iter().all(Option::is_none)
    }

    pub(crate) fn float(&self, step: usize) -> Option<f64> {
        self.floats.get(step).copied().filter(|value| !is_absent(*value))
    }

    pub(crate) fn histogram(&self, step: usize) -> Option<&Arc<FloatHistogram>> {
        self.histograms.get(step)?.as_ref()
    }

    /// Returns whether the step has a sample.
    pub(crate) fn has(&self, step: usize) -> bool {
        !is_absent(self.floats[step]) || self.histogram(step).is_some()
    }

    pub(crate) fn get(&self, step: usize) -> Option<Value> {
        match self.float(step) {
            Some(value) => Some(Value::Float(value)),
            None => self.histogram(step).map(|histogram| Value::Histogram(Arc::clone(histogram))),
        }
    }

    pub(crate) fn set(&mut self, step: usize, value: Option<Value>) {
        match value {
            Some(Value::Float(value)) => self.set_float(step, value),
            Some(Value::Histogram(histogram)) => {
                self.floats[step] = ABSENT;
                if self.histograms.is_empty() {
                    self.histograms = vec![None; self.floats.len()];
                }
                self.histograms[step] = Some(histogram);
            }
            None => self.clear(step),
        }
    }

    pub(crate) fn set_float(&mut self, step: usize, value: f64) {
        self.floats[step] = value;
        if let Some(place) = self.histograms.get_mut(step) {
            *place = None;
        }
    }

    pub(crate) fn clear(&mut self, step: usize) {
        self.set_float(step, ABSENT);
    }

    /// Applies a function to the floats; histograms go.
    pub(crate) fn map_floats(&mut self, f: impl Fn(f64) -> f64) {
        self.histograms = Vec::new();
        for value in &mut self.floats {
            if !is_absent(*value) {
                *value = f(*value);
            }
        }
    }

    /// Spreads the only step of a column over many.
    pub(crate) fn spread(self, steps: usize) -> Self {
        let value = self.get(0);
        let mut column = Self::absent(steps);
        match value {
            Some(Value::Float(value)) => column.floats.fill(value),
            Some(Value::Histogram(histogram)) => column.histograms = vec![Some(histogram); steps],
            None => {}
        }
        column
    }

    /// Takes over the samples of another column; returns false where both have one at the same step.
    pub(crate) fn absorb(&mut self, other: &Self) -> bool {
        for step in 0..self.len() {
            if other.has(step) {
                if self.has(step) {
                    return false;
                }
                self.set(step, other.get(step));
            }
        }
        true
    }

    /// Counts its cells; with histograms, what they take too.
    pub(crate) fn cells(&self) -> u64 {
        if self.has_histograms() { self.size().max(self.floats.len() as u64) } else { self.floats.len() as u64 }
    }

    /// Counts its samples, a histogram by its size.
    pub(crate) fn size(&self) -> u64 {
        let floats = self.floats.iter().filter(|value| !is_absent(**value)).count() as u64;
        floats + self.histograms.iter().flatten().map(|histogram| histogram.size_in_samples()).sum::<u64>()
    }
}

/// One series of an instant vector, over all steps.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    pub(crate) labels: Labels,
    /// Whether the metric's name is to be dropped at the end of the query.
    pub(crate) drop_name: bool,
    pub(crate) column: Column,
}

/// Returns whether a label says what the metric is, not where it comes from.
pub(crate) fn is_metadata_label(name: &str) -> bool {
    matches!(name, METRIC_NAME | "__type__" | "__unit__")
}

/// Returns labels without the metric's name, type and unit.
pub(crate) fn without_metadata(labels: &Labels) -> Labels {
    if labels.iter().any(|(name, _)| is_metadata_label(name)) { labels.without(is_metadata_label) } else { labels.clone() }
}
