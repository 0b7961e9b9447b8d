//! What the rules look like at one moment, for the API and the dashboard.

use super::alerting::AlertState;
use crate::model::labels::Labels;
use crate::model::rule_source::RuleOrigin;
use std::sync::Arc;

/// All rules at one moment.
#[derive(Clone, Debug, Default)]
pub struct RulesView {
    /// The groups, sorted by file, in the order of the file.
    pub groups: Vec<Arc<GroupView>>,
    /// Files that were refused, sorted by file.
    pub refused: Vec<RefusedFile>,
    /// Every file that is known, sorted.
    pub files: Vec<FileView>,
}

/// A rule file.
#[derive(Clone, Debug)]
pub struct FileView {
    /// Where it lies.
    pub origin: RuleOrigin,
    /// The version in force; `None`: no version of it ever was good.
    pub active_version: Option<u64>,
    /// The version as found.
    pub found_version: u64,
    /// When it was last changed, where known.
    pub modified_ms: Option<i64>,
    /// How many rules of it are in force.
    pub rules: usize,
}

/// A rule file that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedFile {
    /// Where it lies.
    pub origin: RuleOrigin,
    /// The line of the first error; 0: not known.
    pub line: u32,
    /// The column of the first error; 0: not known.
    pub column: u32,
    /// What is wrong, one line for each error.
    pub reason: String,
    /// When it was refused, milliseconds since 1970.
    pub refused_at_ms: i64,
    /// Whether an earlier version of it stays in force.
    pub has_last_good: bool,
}

/// Whether a rule could be evaluated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// Not evaluated yet.
    #[default]
    Unknown,
    /// Evaluated.
    Good,
    /// The last evaluation failed.
    Bad,
}

impl Health {
    /// Returns the word of Prometheus's API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Good => "ok",
            Self::Bad => "err",
        }
    }
}

/// A rule group.
#[derive(Clone, Debug)]
pub struct GroupView {
    /// Its name.
    pub name: String,
    /// Where its file lies.
    pub origin: RuleOrigin,
    /// Where it is written in the file, from 1.
    pub line: u32,
    /// How often it is evaluated.
    pub interval_ms: i64,
    /// How far its queries look into the past.
    pub query_offset_ms: i64,
    /// Most alerts or series of each rule; 0: no bound.
    pub limit: usize,
    /// How long the last evaluation took.
    pub evaluation_time_s: f64,
    /// When it was last evaluated; `None`: not yet.
    pub last_evaluation_ms: Option<i64>,
    /// Its rules.
    pub rules: Vec<RuleView>,
}

/// A rule.
#[derive(Clone, Debug)]
pub struct RuleView {
    /// The alert's or the metric's name.
    pub name: String,
    /// Where it is written in the file, from 1.
    pub line: u32,
    /// The expression, as Prometheus prints it.
    pub query: String,
    /// Labels that are added.
    pub labels: Labels,
    /// See [`Health`].
    pub health: Health,
    /// Why the last evaluation failed; empty where it did not.
    pub last_error: String,
    /// Warnings and infos of the last evaluation.
    pub notes: Vec<String>,
    /// How long the last evaluation took.
    pub evaluation_time_s: f64,
    /// When it was last evaluated; `None`: not yet.
    pub last_evaluation_ms: Option<i64>,
    /// How many series the last evaluation wrote.
    pub series: usize,
    /// For alerting rules alone.
    pub alerting: Option<AlertingView>,
}

/// What alerting rules have beyond others.
#[derive(Clone, Debug)]
pub struct AlertingView {
    /// The worst state among its alerts.
    pub state: AlertState,
    /// How long the condition must hold.
    pub for_ms: i64,
    /// How long alerts go on.
    pub keep_firing_for_ms: i64,
    /// Texts for people, as templates.
    pub annotations: Labels,
    /// Its pending and firing alerts, sorted by labels.
    pub alerts: Vec<AlertView>,
}

/// An alert that is pending or firing.
#[derive(Clone, Debug)]
pub struct AlertView {
    /// Its labels.
    pub labels: Labels,
    /// Texts for people.
    pub annotations: Labels,
    /// Pending or firing.
    pub state: AlertState,
    /// Since when the condition holds.
    pub active_at_ms: i64,
    /// Since when it fires only because of `keep_firing_for`.
    pub keep_firing_since_ms: Option<i64>,
    /// The value when last evaluated.
    pub value: f64,
}
