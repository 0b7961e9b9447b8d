//! How samples go out: select series, then read their columns in batches.
//!
//! Times come shared: series of one group that have samples at the same times carry the same `Arc`, so the reader may ask
//! "same times as before?" by comparing pointers and find window edges once for a thousand series.

pub(crate) mod block;
#[cfg(test)]
pub(crate) mod counting;
pub(crate) mod head;
pub(crate) mod held;
pub(crate) mod join;
pub(crate) mod label_values;
pub mod memory;
mod plan;
mod projection;
pub(crate) mod remembered;
pub(crate) mod series_set;

use crate::model::exemplar::Exemplar;
use crate::model::histogram::FloatHistogram;
use crate::model::labels::Labels;
use crate::model::matcher::Matcher;
use crate::model::metadata::Metadata;
use crate::model::sample::Value;
use crate::storage::changes::ChangeLog;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// A closed range of time, both ends included, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeRange {
    /// First millisecond.
    pub start_ms: i64,
    /// Last millisecond.
    pub end_ms: i64,
}

/// What the reader will do with the data, so that the store may do less. Never changes the result of the query.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hints {
    /// The function or aggregation around the selector (`rate`, `sum`), empty where there is none.
    pub function: String,
    /// Step of a range query in milliseconds; 0 for an instant query.
    pub step_ms: i64,
    /// Length of the range selector in milliseconds; 0 for an instant selector.
    pub range_ms: i64,
    /// Labels that the query looks at. The store may leave others out of [`SelectedSeries::labels`]; series that then have
    /// equal labels come with the same allocation, so that a reader may group them by address ([`Labels::address`]).
    pub labels: LabelNeed,
    /// Only the newest sample within the range is wanted, of each series: nothing need be decoded.
    pub last_only: bool,
    /// Whether the series must come sorted by their labels.
    pub sorted: bool,
    /// Only what this server holds itself is wanted, where other stores are read, too.
    pub local_only: bool,
}

/// Which labels of the series a reader looks at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum LabelNeed {
    /// All.
    #[default]
    All,
    /// These alone.
    Only(Vec<String>),
    /// All but these.
    Without(Vec<String>),
}

impl LabelNeed {
    /// Returns whether the label of that name is looked at.
    #[must_use]
    pub fn wants(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => names.iter().any(|listed| listed == name),
            Self::Without(names) => !names.iter().any(|listed| listed == name),
        }
    }
}

/// Why a selection failed.
#[derive(Debug, thiserror::Error)]
pub enum SelectError {
    /// Data could not be read; file and offset are in the text.
    #[error("{0}")]
    Corrupt(String),
    /// The disk failed.
    #[error("reading {file}: {source}")]
    Io {
        /// Which file.
        file: String,
        /// What the disk said.
        source: std::io::Error,
    },
    /// The reader hung up or ran out of time.
    #[error("cancelled")]
    Cancelled,
}

/// One selected series.
#[derive(Clone, Debug)]
pub struct SelectedSeries {
    /// Its labels, or those of them that [`Hints::labels`] asked for.
    pub labels: Labels,
    /// An upper estimate of its samples in the range.
    pub samples_estimated: u64,
}

/// The values of one series over some times.
#[derive(Clone, Debug)]
pub enum Values {
    /// The same float at every time.
    Constant(f64),
    /// `first + i * step` at the i-th time, exact in floats.
    Linear {
        /// Value at the first time.
        first: f64,
        /// Difference between neighbours.
        step: f64,
    },
    /// One float for each time.
    Floats(Vec<f64>),
    /// Floats and histograms: one of them for each time.
    Mixed(Arc<[Value]>),
}

/// The samples of one series in a range, ascending in time.
#[derive(Clone, Debug)]
pub struct SeriesSamples {
    /// When, in milliseconds; shared between series sampled together.
    pub times: Arc<[i64]>,
    /// What; as many as times. Stale markers are among them.
    pub values: Values,
    /// Start timestamps (created timestamps), where the series has any; 0 means none for that sample.
    pub starts: Option<Arc<[i64]>>,
}

impl SeriesSamples {
    /// Returns how many samples there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// Returns whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// Returns the float at place `i`, or `None` where a histogram lies there.
    #[must_use]
    pub fn float(&self, i: usize) -> Option<f64> {
        match &self.values {
            Values::Constant(value) => Some(*value),
            #[expect(clippy::cast_precision_loss, reason = "places are small")]
            Values::Linear { first, step } => Some(first + step * i as f64),
            Values::Floats(values) => values.get(i).copied(),
            Values::Mixed(values) => match values.get(i)? {
                Value::Float(value) => Some(*value),
                Value::Histogram(_) => None,
            },
        }
    }

    /// Returns the histogram at place `i`, if one lies there.
    #[must_use]
    pub fn histogram(&self, i: usize) -> Option<&Arc<FloatHistogram>> {
        match &self.values {
            Values::Mixed(values) => match values.get(i)? {
                Value::Histogram(histogram) => Some(histogram),
                Value::Float(_) => None,
            },
            Values::Constant(_) | Values::Linear { .. } | Values::Floats(_) => None,
        }
    }
}

/// Reads the samples of selected series.
pub trait SeriesReader: Send + Sync {
    /// Reads the series at `places` of the selection, in order, one entry each (possibly empty).
    ///
    /// # Errors
    /// When data could not be read.
    fn read(&self, places: Range<usize>) -> Result<Vec<SeriesSamples>, SelectError>;

    /// Reads the newest sample alone of each of the series at `places`, stale markers among them: what [`Self::read`] has last.
    ///
    /// # Errors
    /// When data could not be read.
    fn newest(&self, places: Range<usize>) -> Result<Vec<Option<(i64, Value)>>, SelectError> {
        let last = |samples: &SeriesSamples| {
            let place = samples.len().checked_sub(1)?;
            let float = samples.float(place).map(Value::Float);
            let value = float.or_else(|| samples.histogram(place).map(|value| Value::Histogram(Arc::clone(value))))?;
            Some((*samples.times.get(place)?, value))
        };
        Ok(self.read(places)?.iter().map(last).collect())
    }

    /// Returns how many bytes the reader holds as long as it lives, beside what the store has in memory anyway.
    fn held_bytes(&self) -> u64 {
        0
    }

    /// Returns what could not be read and was left out, in words for the answer's warnings. Ask when all has been read:
    /// a page is found to be bad only then.
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }
}

/// What a selection found. Nothing is decoded before [`SeriesReader::read`].
pub struct Selection {
    /// The series; sorted by labels where [`Hints::sorted`] asked for it.
    pub series: Vec<SelectedSeries>,
    /// What of the index could not be read, in words for the answer's warnings; [`SeriesReader::warnings`] has the rest.
    pub warnings: Vec<String>,
    /// Reads them.
    pub reader: Arc<dyn SeriesReader>,
}

impl std::fmt::Debug for Selection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Selection").field("series", &self.series).finish_non_exhaustive()
    }
}

/// The reading face of the store; more sources may stand behind one.
pub trait Querier: Send + Sync {
    /// Selects the series that satisfy all matchers and may have samples in the range.
    ///
    /// # Errors
    /// When the index could not be read.
    fn select(&self, matchers: &[Matcher], range: TimeRange, hints: &Hints) -> Result<Selection, SelectError>;

    /// Does the same where it may take long, since others are asked: ends with [`SelectError::Cancelled`] when `cancel` is set.
    ///
    /// # Errors
    /// As [`Querier::select`].
    fn select_until(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
        hints: &Hints,
        _cancel: Option<&AtomicBool>,
    ) -> Result<Selection, SelectError> {
        self.select(matchers, range, hints)
    }

    /// Returns the history of changes, where there is one: without it no answer can be kept.
    fn changes(&self) -> Option<&ChangeLog> {
        None
    }

    /// Returns the label names of matching series, sorted. No matchers: of all series. `limit` 0: no limit.
    ///
    /// # Errors
    /// When the index could not be read.
    fn label_names(&self, matchers: &[Vec<Matcher>], range: TimeRange, limit: usize) -> Result<Vec<String>, SelectError>;

    /// Returns the values of one label in matching series, sorted. No matchers: of all series. `limit` 0: no limit.
    ///
    /// # Errors
    /// When the index could not be read.
    fn label_values(
        &self,
        name: &str,
        matchers: &[Vec<Matcher>],
        range: TimeRange,
        limit: usize,
    ) -> Result<Vec<String>, SelectError>;

    /// Returns what is known about metrics: all, or one.
    fn metadata(&self, metric: Option<&str>) -> BTreeMap<String, Vec<Metadata>>;

    /// Returns exemplars of matching series.
    ///
    /// # Errors
    /// When data could not be read.
    fn exemplars(&self, matchers: &[Vec<Matcher>], range: TimeRange) -> Result<Vec<(Labels, Vec<Exemplar>)>, SelectError>;
}
