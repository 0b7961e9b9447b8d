//! The rules' own metrics, under Prometheus's names.

use super::spec::GroupKey;
use crate::telemetry::metrics::{Counter, Gauge, Histogram, Registry, SECONDS};

/// Metrics of all groups together.
#[derive(Clone, Debug)]
pub(super) struct Metrics {
    registry: Registry,
    /// How long one rule takes.
    pub(super) evaluation_seconds: Histogram,
    /// How long one group takes.
    pub(super) group_seconds: Histogram,
    /// Alerts handed on.
    pub(super) alerts_sent: Counter,
    /// Changes of state that the history had no room for.
    pub(super) changes_lost: Counter,
}

/// Metrics of one group.
#[derive(Clone, Debug)]
pub(super) struct GroupMetrics {
    pub(super) evaluations: Counter,
    pub(super) failures: Counter,
    pub(super) iterations: Counter,
    pub(super) iterations_missed: Counter,
    pub(super) interval_seconds: Gauge,
    pub(super) last_evaluation_seconds: Gauge,
    pub(super) last_duration_seconds: Gauge,
    pub(super) last_samples: Gauge,
    pub(super) rules: Gauge,
    /// Evaluations that a scrape caused.
    pub(super) woken: Counter,
}

const REFUSED: &str = "watchkeeper_rule_file_refused";
const REFUSED_HELP: &str = "Whether the newest version of a rule file was refused.";

const COUNTERS: [(&str, &str); 5] = [
    ("watchkeeper_rule_evaluations_total", "The total number of rule evaluations."),
    ("watchkeeper_rule_evaluation_failures_total", "The total number of rule evaluation failures."),
    (
        "watchkeeper_rule_group_iterations_total",
        "The total number of scheduled rule group evaluations, whether executed or missed.",
    ),
    (
        "watchkeeper_rule_group_iterations_missed_total",
        "The total number of rule group evaluations missed due to slow rule group evaluation.",
    ),
    ("watchkeeper_rule_group_woken_total", "Rule group evaluations because a scrape changed an input."),
];

const GAUGES: [(&str, &str); 5] = [
    ("watchkeeper_rule_group_interval_seconds", "The interval of a rule group."),
    ("watchkeeper_rule_group_last_evaluation_timestamp_seconds", "The timestamp of the last rule group evaluation in seconds."),
    ("watchkeeper_rule_group_last_duration_seconds", "The duration of the last rule group evaluation."),
    ("watchkeeper_rule_group_last_evaluation_samples", "The number of samples returned during the last rule group evaluation."),
    ("watchkeeper_rule_group_rules", "The number of rules."),
];

impl Metrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let histogram = |name, help| registry.histogram(name, help, &[], SECONDS);
        Self {
            registry: registry.clone(),
            evaluation_seconds: histogram("watchkeeper_rule_evaluation_duration_seconds", "The duration for a rule to execute."),
            group_seconds: histogram("watchkeeper_rule_group_duration_seconds", "The duration of rule group evaluations."),
            alerts_sent: registry.counter("watchkeeper_rule_alerts_sent_total", "Alerts handed to the notifier.", &[]),
            changes_lost: registry.counter(
                "watchkeeper_rule_state_changes_lost_total",
                "Changes of alerts' states that are missing in the history, because its disk was too slow.",
                &[],
            ),
        }
    }

    pub(super) fn group(&self, key: &GroupKey) -> GroupMetrics {
        let group = key.label();
        let labels = [("rule_group", group.as_str())];
        let [evaluations, failures, iterations, iterations_missed, woken] =
            COUNTERS.map(|(name, help)| self.registry.counter(name, help, &labels));
        let [interval_seconds, last_evaluation_seconds, last_duration_seconds, last_samples, rules] =
            GAUGES.map(|(name, help)| self.registry.gauge(name, help, &labels));
        GroupMetrics {
            evaluations,
            failures,
            iterations,
            iterations_missed,
            interval_seconds,
            last_evaluation_seconds,
            last_duration_seconds,
            last_samples,
            rules,
            woken,
        }
    }

    pub(super) fn forget_group(&self, key: &GroupKey) {
        let group = key.label();
        for (name, _) in COUNTERS.iter().chain(&GAUGES) {
            self.registry.remove(name, &[("rule_group", &group)]);
        }
    }

    /// Says whether the newest version of a file was refused; `None` forgets the file.
    pub(super) fn refused(&self, file: &str, refused: Option<bool>) {
        let labels = [("file", file)];
        match refused {
            Some(refused) => self.registry.gauge(REFUSED, REFUSED_HELP, &labels).set(f64::from(u8::from(refused))),
            None => self.registry.remove(REFUSED, &labels),
        }
    }
}
