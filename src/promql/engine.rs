//! The door to the query engine: an expression and a source of series in, a value out. Calls block.

use super::activity::Activity;
use super::budget::{Budget, Share};
use super::eval;
use super::expr::Expr;
use super::query_log::QueryLog;
pub use super::turns::Stopwatch;
use super::turns::{Lane, Turn, Turns};
use super::value::QueryResult;
use crate::storage::select::{Querier, SelectError};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Settings of the engine, the same for all queries.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// How far an instant selector looks back for a sample.
    pub lookback_ms: i64,
    /// Most samples that one query may hold at once.
    pub max_samples: usize,
    /// Step of a subquery that names none, where [`Engine::with_subquery_step`] tells no other.
    pub default_subquery_step_ms: i64,
    /// Metric names are dropped at the end of the query, not by each function (`promql-delayed-name-removal`).
    pub delayed_name_removal: bool,
    /// Start timestamps of samples count as resets in `rate` and friends.
    pub use_start_timestamps: bool,
    /// `__type__` tells counters from gauges (`type-and-unit-labels`).
    pub type_and_unit_labels: bool,
    /// Most warnings and most infos of one answer; 0: no bound.
    pub max_annotations: usize,
    /// Most series that one selector may find.
    pub max_series: usize,
    /// Most samples that one selector may read from the store, by the store's estimate.
    pub max_samples_read: u64,
    /// Most bytes that the columns of one query may take at once.
    pub max_query_bytes: u64,
    /// Most bytes that the columns of all running queries may take at once.
    pub max_total_bytes: u64,
    /// A selector that reads so many samples, by the store's estimate, is worked off by several threads where cores are idle.
    pub shared_samples: u64,
    /// Whether plans are rewritten; without, everything is done as it is written. Never changes an answer.
    pub rewrites: bool,
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
            max_series: 1_000_000,
            max_samples_read: 4_000_000_000,
            max_query_bytes: 1 << 30,
            max_total_bytes: 2 << 30,
            shared_samples: 32_768,
            rewrites: true,
        }
    }
}

/// Settings of one query.
#[derive(Clone, Default)]
pub struct QueryOptions {
    /// Look back this far instead of the engine's default.
    pub lookback_ms: Option<i64>,
    /// Set from outside, ends the query with [`QueryError::Cancelled`].
    pub cancel: Option<Arc<AtomicBool>>,
    /// The text that the expression was parsed from, for line numbers in annotations; without it all is line 1.
    pub text: Option<Arc<str>>,
    /// Count samples as Prometheus's statistics do, for each step.
    pub per_step_stats: bool,
    /// Whose query it is.
    pub lane: Lane,
    /// Set: note what each node did and how long it took ([`QueryResult::explained`]).
    pub explain: Option<Stopwatch>,
}

impl std::fmt::Debug for QueryOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QueryOptions").field("lookback_ms", &self.lookback_ms).field("lane", &self.lane).finish_non_exhaustive()
    }
}

/// Why a query has no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The caller cancelled it (hung up, ran out of time).
    #[error("query was canceled in query execution")]
    Cancelled,
    /// A duration that is computed is none: the range or the step of a selector is not above 0.
    #[error("duration must be greater than 0")]
    NoDuration,
    /// It would hold more samples than allowed.
    #[error("query processing would load too many samples into memory in query execution")]
    TooManySamples,
    /// A selector finds more series than allowed.
    #[error("a selector finds {found} series, more than the limit of {limit} series for one selector")]
    TooManySeries {
        /// Series found.
        found: usize,
        /// Series allowed.
        limit: usize,
    },
    /// A selector would read more samples than allowed.
    #[error("a selector would read about {wanted} samples, more than the limit of {limit} samples for one selector")]
    TooManySamplesRead {
        /// Samples, by the store's estimate.
        wanted: u64,
        /// Samples allowed.
        limit: u64,
    },
    /// The query would take more memory than allowed.
    #[error("the query would take {wanted} bytes of memory at once, more than the limit of {limit} bytes for one query")]
    TooMuchMemory {
        /// Bytes of columns.
        wanted: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// All running queries would take more memory than allowed.
    #[error(
        "all running queries would take {held} bytes of memory at once, more than the limit of {limit} bytes; try again later"
    )]
    TooMuchMemoryInAll {
        /// Bytes of columns.
        held: u64,
        /// Bytes allowed.
        limit: u64,
    },
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

/// What surrounds one query.
pub(super) struct Frame<'e> {
    pub(super) subquery_step_ms: i64,
    pub(super) engine: &'e EngineOptions,
    pub(super) querier: &'e dyn Querier,
    pub(super) options: &'e QueryOptions,
    pub(super) share: Share<'e>,
    pub(super) turn: Option<Turn>,
    pub(super) turns: Option<&'e Arc<Turns>>,
    pub(super) workers: &'e Workers,
}

/// Starts a piece of work on another thread. It may come late, or never: nobody waits for it.
pub type Spawn = Arc<dyn Fn(Box<dyn FnOnce() + Send>) + Send + Sync>;

/// Threads beside those that queries come on.
#[derive(Clone, Default)]
pub(super) struct Workers(Option<Spawn>);

impl std::fmt::Debug for Workers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Workers").field(&self.0.is_some()).finish()
    }
}

impl Workers {
    pub(super) const fn are_there(&self) -> bool {
        self.0.is_some()
    }

    pub(super) fn start(&self, work: Box<dyn FnOnce() + Send>) {
        if let Some(spawn) = &self.0 {
            spawn(work);
        }
    }
}

/// Tells the step of subqueries that name none, in milliseconds.
#[derive(Clone, Default)]
struct SubqueryStep(Option<Arc<dyn Fn() -> i64 + Send + Sync>>);

impl std::fmt::Debug for SubqueryStep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SubqueryStep").field(&self.0.is_some()).finish()
    }
}

/// Where queries are logged.
#[derive(Clone, Default)]
struct Log(Option<Arc<dyn QueryLog>>);

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Log").field(&self.0.is_some()).finish()
    }
}

/// Evaluates expressions. Share it freely; clones share memory budget and turns.
#[derive(Clone, Debug)]
pub struct Engine {
    options: EngineOptions,
    budget: Arc<Budget>,
    turns: Option<Arc<Turns>>,
    workers: Workers,
    subquery_step: SubqueryStep,
    log: Log,
    activity: Option<Arc<Activity>>,
}

impl Engine {
    /// Returns an engine with these settings; all queries run at once.
    #[must_use]
    pub fn new(options: EngineOptions) -> Self {
        Self {
            options,
            budget: Arc::default(),
            turns: None,
            workers: Workers::default(),
            subquery_step: SubqueryStep::default(),
            log: Log::default(),
            activity: None,
        }
    }

    /// Lets only so many queries compute at once, by lane and by the time they took so far, which `clock` tells.
    #[must_use]
    pub fn with_turns(self, count: usize, clock: Stopwatch) -> Self {
        Self { turns: Some(Arc::new(Turns::new(count, clock))), ..self }
    }

    /// Lets large queries use turns that nobody else wants, on threads that `spawn` has. Needs turns.
    #[must_use]
    pub fn with_workers(self, spawn: Spawn) -> Self {
        Self { workers: Workers(Some(spawn)), ..self }
    }

    /// Asks `step_ms`, at each query, for the step of subqueries that name none: it may change while the engine is at work.
    #[must_use]
    pub fn with_subquery_step(self, step_ms: Arc<dyn Fn() -> i64 + Send + Sync>) -> Self {
        Self { subquery_step: SubqueryStep(Some(step_ms)), ..self }
    }

    /// Lends the log of queries to those who ask: what is asked, and by whom, they know themselves.
    #[must_use]
    pub fn with_log(self, log: Arc<dyn QueryLog>) -> Self {
        Self { log: Log(Some(log)), ..self }
    }

    /// Returns the log of queries, where one is wanted at present.
    #[must_use]
    pub fn log(&self) -> Option<&dyn QueryLog> {
        self.log.0.as_deref().filter(|log| log.is_wanted())
    }

    /// Lends the record of what queries cost to those who ask.
    #[must_use]
    pub fn with_activity(self, activity: Arc<Activity>) -> Self {
        Self { activity: Some(activity), ..self }
    }

    /// Returns the record of what queries cost, where one is kept.
    #[must_use]
    pub const fn activity(&self) -> Option<&Arc<Activity>> {
        self.activity.as_ref()
    }

    /// Returns the step of a subquery that names none.
    pub(super) fn subquery_step_ms(&self) -> i64 {
        self.subquery_step.0.as_ref().map_or(self.options.default_subquery_step_ms, |step_ms| step_ms())
    }

    /// Prepares a query: its share of the budget, and its turn, waited for.
    fn frame<'e>(&'e self, querier: &'e dyn Querier, options: &'e QueryOptions) -> Result<Frame<'e>, QueryError> {
        let cancelled = || options.cancel.as_ref().is_some_and(|cancel| cancel.load(Ordering::Relaxed));
        let turn = match &self.turns {
            None => None,
            Some(turns) => Some(turns.take(options.lane, &cancelled).ok_or(QueryError::Cancelled)?),
        };
        let share = self.budget.share(self.options.max_query_bytes, self.options.max_total_bytes);
        let (turns, workers) = (self.turns.as_ref(), &self.workers);
        let subquery_step_ms = self.subquery_step_ms();
        Ok(Frame { subquery_step_ms, engine: &self.options, querier, options, share, turn, turns, workers })
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
        eval::instant(self.frame(querier, options)?, expr, at_ms)
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
        eval::range(self.frame(querier, options)?, expr, (start_ms, end_ms, step_ms))
    }
}
