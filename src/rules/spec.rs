//! A rule group as it was written and found good: names, parsed expressions, durations, labels.

use crate::model::duration;
use crate::model::rule_source::RuleOrigin;
use crate::promql::expr::Expr;
use std::sync::Arc;

/// A rule file that was read without an error.
#[derive(Clone, Debug, Default)]
pub struct RuleFile {
    /// Its groups in the order of the file.
    pub groups: Vec<GroupSpec>,
}

/// A rule group.
#[derive(Clone, Debug)]
pub struct GroupSpec {
    /// Its name, unique in its file.
    pub name: String,
    /// Where it is written, from 1.
    pub line: u32,
    /// How often it is evaluated; `None`: the server's default.
    pub interval_ms: Option<i64>,
    /// How far its queries look into the past; `None`: the server's default.
    pub query_offset_ms: Option<i64>,
    /// Most alerts or series of each rule; 0: no bound.
    pub limit: usize,
    /// Its rules in order.
    pub rules: Vec<Arc<RuleSpec>>,
}

/// What a rule makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleKind {
    /// Alerts of this name.
    Alert {
        /// How long the condition must hold before the alert fires.
        for_ms: i64,
        /// How long the alert goes on when the condition no longer holds.
        keep_firing_for_ms: i64,
        /// Texts for people, as templates, sorted by name.
        annotations: Vec<(String, String)>,
    },
    /// A series of this name.
    Record,
}

/// One rule.
#[derive(Clone, Debug)]
pub struct RuleSpec {
    /// The alert's or the metric's name.
    pub name: String,
    /// Where the rule is written, from 1.
    pub line: u32,
    /// The expression as it was written.
    pub text: String,
    /// The expression as Prometheus prints it, on one line.
    pub query: String,
    /// The expression.
    pub expr: Expr,
    /// Labels that are added, the group's among them; templates for alerts, sorted by name.
    pub labels: Vec<(String, String)>,
    /// What it makes.
    pub kind: RuleKind,
}

impl RuleSpec {
    /// Returns whether another rule says the same, wherever it is written.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.name == other.name && self.query == other.query && self.labels == other.labels && self.kind == other.kind
    }

    /// Returns whether the rule alerts.
    #[must_use]
    pub const fn is_alert(&self) -> bool {
        matches!(self.kind, RuleKind::Alert { .. })
    }
}

impl GroupSpec {
    /// Returns whether another group says the same, wherever it is written.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.name == other.name
            && self.interval_ms == other.interval_ms
            && self.query_offset_ms == other.query_offset_ms
            && self.limit == other.limit
            && self.rules.len() == other.rules.len()
            && self.rules.iter().zip(&other.rules).all(|(left, right)| left.is_same(right))
    }
}

/// Which group: where its file lies, and its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupKey {
    /// The file.
    pub origin: RuleOrigin,
    /// The group's name.
    pub name: String,
}

impl GroupKey {
    /// Returns the value of the label `rule_group` of the group's metrics, and the name of its state: `file;group`.
    #[must_use]
    pub fn label(&self) -> String {
        format!("{};{}", self.origin, self.name)
    }
}

/// Writes a duration as rule files do.
#[must_use]
pub fn duration_text(milliseconds: i64) -> String {
    duration::format_ms(milliseconds)
}
