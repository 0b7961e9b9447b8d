//! What a query answers.

use crate::model::histogram::FloatHistogram;
use crate::model::labels::Labels;
use crate::model::sample::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A finished query: its value, what should be said about it, and what it cost.
#[derive(Clone, Debug, PartialEq)]
pub struct QueryResult {
    /// The value.
    pub value: QueryValue,
    /// Warnings, rendered as the API shows them, sorted.
    pub warnings: Vec<String>,
    /// Infos, rendered as the API shows them, sorted.
    pub infos: Vec<String>,
    /// What was read.
    pub stats: QueryStats,
    /// What each node did, where [`super::engine::QueryOptions::explain`] asked for it.
    pub explained: Option<super::explain::Node>,
}

/// The value of a query. A range query always answers a matrix, sorted by labels.
#[derive(Clone, Debug, PartialEq)]
pub enum QueryValue {
    /// One number.
    Scalar {
        /// Evaluation time.
        at_ms: i64,
        /// The number.
        value: f64,
    },
    /// A text.
    String {
        /// Evaluation time.
        at_ms: i64,
        /// The text.
        text: String,
    },
    /// One sample for each series.
    Vector(Vec<VectorSample>),
    /// Many samples for each series.
    Matrix(Vec<MatrixSeries>),
}

/// One sample of an instant vector.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorSample {
    /// The series.
    pub labels: Labels,
    /// Evaluation time (not the sample's own).
    pub at_ms: i64,
    /// Its value.
    pub value: Value,
}

/// One series of a matrix; floats and histograms apart, each ascending in time.
#[derive(Clone, Debug, PartialEq)]
pub struct MatrixSeries {
    /// The series.
    pub labels: Labels,
    /// Its float samples.
    pub floats: Vec<(i64, f64)>,
    /// Its histogram samples.
    pub histograms: Vec<(i64, Arc<FloatHistogram>)>,
}

impl QueryValue {
    /// Returns how many series it has; a scalar or a string is one.
    #[must_use]
    pub const fn series(&self) -> usize {
        match self {
            Self::Scalar { .. } | Self::String { .. } => 1,
            Self::Vector(samples) => samples.len(),
            Self::Matrix(series) => series.len(),
        }
    }
}

/// What a query read; the counts are those of Prometheus's `stats=all`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueryStats {
    /// Samples that all windows of all steps touched, each as often as touched. A histogram counts by its size.
    pub total_queryable_samples: u64,
    /// The same for each step.
    pub total_queryable_samples_per_step: BTreeMap<i64, u64>,
    /// Samples read, each once for each selector.
    pub samples_read: u64,
    /// The same for each step.
    pub samples_read_per_step: BTreeMap<i64, u64>,
    /// The most samples that were held at once.
    pub peak_samples: u64,
}
