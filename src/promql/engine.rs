//! The door to the query engine: an expression and a source of series in, a value out. Calls block.

use super::eval;
use super::expr::Expr;
use super::value::QueryResult;
use crate::storage::select::{Querier, SelectError};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Settings of the engine, the same for all queries.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// How far an instant selector looks back for a sample.
    pub lookback_ms: i64,
    /// Most samples that one query may hold at once.
    pub max_samples: usize,
    /// Step of a subquery that names none.
    pub default_subquery_step_ms: i64,
    /// Metric names are dropped at the end of the query, not by each function (`promql-delayed-name-removal`).
    pub delayed_name_removal: bool,
    /// Start timestamps of samples count as resets in `rate` and friends.
    pub use_start_timestamps: bool,
    /// `__type__` tells counters from gauges (`type-and-unit-labels`).
    pub type_and_unit_labels: bool,
    /// Most warnings and most infos of one answer; 0: no bound.
    pub max_annotations: usize,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            lookback_ms: 300_000,
            max_samples: 50_000_000,
            default_subquery_step_ms: 60_000,
            delayed_name_removal: false,
            use_start_timestamps: false,
            type_and_unit_labels: false,
            max_annotations: 10,
        }
    }
}

/// Settings of one query.
#[derive(Clone, Debug, Default)]
pub struct QueryOptions {
    /// Look back this far instead of the engine's default.
    pub lookback_ms: Option<i64>,
    /// Set from outside, ends the query with [`QueryError::Cancelled`].
    pub cancel: Option<Arc<AtomicBool>>,
    /// The text that the expression was parsed from, for line numbers in annotations; without it all is line 1.
    pub text: Option<Arc<str>>,
    /// Count samples for each step too.
    pub per_step_stats: bool,
}

/// Why a query has no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The caller cancelled it (hung up, ran out of time).
    #[error("query was canceled in query execution")]
    Cancelled,
    /// It would hold more samples than allowed.
    #[error("query processing would load too many samples into memory in query execution")]
    TooManySamples,
    /// The expression cannot be evaluated on these data.
    #[error("{0}")]
    Execution(String),
    /// The store failed.
    #[error("{0}")]
    Storage(SelectError),
}

impl From<SelectError> for QueryError {
    fn from(error: SelectError) -> Self {
        match error {
            SelectError::Cancelled => Self::Cancelled,
            error => Self::Storage(error),
        }
    }
}

/// Evaluates expressions. Stateless but for its settings; share it freely.
#[derive(Clone, Debug)]
pub struct Engine {
    options: EngineOptions,
}

impl Engine {
    /// Returns an engine with these settings.
    #[must_use]
    pub const fn new(options: EngineOptions) -> Self {
        Self { options }
    }

    /// Returns the settings.
    #[must_use]
    pub const fn options(&self) -> &EngineOptions {
        &self.options
    }

    /// Evaluates at one time.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub fn instant(
        &self,
        querier: &dyn Querier,
        expr: &Expr,
        at_ms: i64,
        options: &QueryOptions,
    ) -> Result<QueryResult, QueryError> {
        eval::instant(&self.options, querier, expr, at_ms, options)
    }

    /// Evaluates at `start_ms`, `start_ms + step_ms` and so on up to `end_ms`.
    ///
    /// # Errors
    /// See [`QueryError`]; also when the expression is neither a scalar nor an instant vector, or the step is not positive.
    pub fn range(
        &self,
        querier: &dyn Querier,
        expr: &Expr,
        start_ms: i64,
        end_ms: i64,
        step_ms: i64,
        options: &QueryOptions,
    ) -> Result<QueryResult, QueryError> {
        eval::range(&self.options, querier, expr, (start_ms, end_ms, step_ms), options)
    }
}
