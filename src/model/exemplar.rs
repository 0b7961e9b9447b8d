//! Exemplars: a trace or request that stands for a sample.

use super::labels::Labels;

/// One exemplar of a series.
#[derive(Clone, Debug, PartialEq)]
pub struct Exemplar {
    /// Its own labels, most often a trace id.
    pub labels: Labels,
    /// The value observed.
    pub value: f64,
    /// Milliseconds since 1970; `None` where the exporter gave none and the scrape's time holds.
    pub at_ms: Option<i64>,
}
