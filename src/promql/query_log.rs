//! What is told of a query that was asked: to whoever keeps a log of queries.

use super::value::QueryStats;
use std::time::Duration;

/// Who asked.
#[derive(Clone, Debug)]
pub enum Origin<'q> {
    /// A request.
    Http {
        /// The address that it came from.
        client: &'q str,
        /// GET or POST.
        method: &'q str,
        /// The path that was asked for.
        path: &'q str,
    },
    /// A rule.
    Rule {
        /// The rule file.
        file: &'q str,
        /// The group.
        group: &'q str,
    },
}

/// One query. Times are in milliseconds since 1970, the step in milliseconds and 0 for an instant query.
#[derive(Clone, Debug)]
pub struct Asked<'q> {
    /// The expression as it was written.
    pub text: &'q str,
    /// The first step.
    pub start_ms: i64,
    /// The last step.
    pub end_ms: i64,
    /// Between two steps.
    pub step_ms: i64,
    /// How long it took.
    pub took: Duration,
    /// What it read, or why it has no answer.
    pub outcome: Result<&'q QueryStats, String>,
    /// Who asked.
    pub origin: Origin<'q>,
}

/// Keeps a log of queries.
pub trait QueryLog: Send + Sync {
    /// Returns whether queries are logged at present.
    fn is_wanted(&self) -> bool;

    /// Returns the time since some moment, for how long a query takes.
    fn now(&self) -> Duration;

    /// Logs one. May block for the disk.
    fn write(&self, asked: &Asked<'_>);
}
