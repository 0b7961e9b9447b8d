//! Alerting's own metrics, under Alertmanager's names.

use super::view::AlertingView;
use crate::model::silence::SilenceState;
use crate::telemetry::metrics::{Counter, Histogram, Registry, SECONDS};

/// Kinds of integrations that are counted from the start, so that a rate over them is defined.
const KINDS: [&str; 3] = ["email", "outbox", "webhook"];

/// The metrics. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct AlertingMetrics {
    registry: Registry,
    firing: Counter,
    resolved: Counter,
    invalid: Counter,
}

impl AlertingMetrics {
    /// Registers them.
    #[must_use]
    pub(super) fn new(registry: &Registry) -> Self {
        let received = |status| {
            let help = "The total number of received alerts.";
            registry.counter("watchkeeper_alerts_received_total", help, &[("status", status), ("version", "v2")])
        };
        let metrics = Self {
            firing: received("firing"),
            resolved: received("resolved"),
            invalid: registry.counter(
                "watchkeeper_alerts_invalid_total",
                "The total number of received alerts that were invalid.",
                &[("version", "v2")],
            ),
            registry: registry.clone(),
        };
        metrics.removed(0);
        for kind in KINDS {
            metrics.notifications(kind).add(0);
            metrics.failed(kind, "other").add(0);
        }
        metrics
    }

    /// Counts posted alerts.
    pub(super) fn received(&self, firing: u64, resolved: u64, invalid: u64) {
        self.firing.add(firing);
        self.resolved.add(resolved);
        self.invalid.add(invalid);
    }

    /// Returns the counter of notifications that were begun.
    #[must_use]
    pub(super) fn notifications(&self, kind: &str) -> Counter {
        let help = "The total number of attempted notifications.";
        self.registry.counter("watchkeeper_notifications_total", help, &[("integration", kind)])
    }

    /// Returns the counter of notifications that failed.
    #[must_use]
    pub(super) fn failed(&self, kind: &str, reason: &str) -> Counter {
        let help = "The total number of failed notifications.";
        self.registry.counter("watchkeeper_notifications_failed_total", help, &[("integration", kind), ("reason", reason)])
    }

    /// Counts one attempt.
    pub(super) fn request(&self, kind: &str, worked: bool) {
        let help = "The total number of attempted notification requests.";
        self.registry.counter("watchkeeper_notification_requests_total", help, &[("integration", kind)]).inc();
        if !worked {
            let help = "The total number of failed notification requests.";
            self.registry.counter("watchkeeper_notification_requests_failed_total", help, &[("integration", kind)]).inc();
        }
    }

    /// Returns the histogram of how long a notification took.
    #[must_use]
    pub(super) fn latency(&self, kind: &str) -> Histogram {
        let help = "The latency of notifications in seconds.";
        self.registry.histogram("watchkeeper_notification_latency_seconds", help, &[("integration", kind)], SECONDS)
    }

    /// Counts alerts that were not told.
    pub(super) fn suppressed(&self, reason: &str, count: usize) {
        let help = "The total number of notifications suppressed for being silenced, inhibited, outside of active time intervals or within muted time intervals.";
        self.registry.counter("watchkeeper_notifications_suppressed_total", help, &[("reason", reason)]).add(count as u64);
    }

    /// Shows what is.
    pub(super) fn show(&self, view: &AlertingView) {
        for (state, count) in view.counts() {
            self.registry.gauge("watchkeeper_alerts", "How many alerts by state.", &[("state", state)]).set(count as f64);
        }
        for state in [SilenceState::Active, SilenceState::Pending, SilenceState::Expired] {
            let count = view.silences.iter().filter(|silence| silence.state_at(view.at_ms) == state).count();
            let help = "How many silences by state.";
            self.registry.gauge("watchkeeper_silences", help, &[("state", state.as_str())]).set(count as f64);
        }
        let gauge = |name, help, count: usize| self.registry.gauge(name, help, &[]).set(count as f64);
        gauge("watchkeeper_dispatcher_aggregation_groups", "Number of active aggregation groups.", view.groups.len());
        gauge("watchkeeper_receivers", "Number of configured receivers.", view.setup.receivers.len());
        let integrations = view.setup.receivers.values().map(|receiver| receiver.integrations.len()).sum();
        gauge("watchkeeper_integrations", "Number of configured integrations.", integrations);
    }

    /// Counts old notifications that left history and outbox.
    pub(super) fn removed(&self, count: usize) {
        let help = "The total number of old notifications that were removed from history and outbox, which keep the newest ones.";
        self.registry.counter("watchkeeper_notification_history_removed_total", help, &[]).add(count as u64);
    }

    /// Counts a failure of the state store.
    pub(super) fn state_failed(&self) {
        let help = "How often alerting could not keep its state.";
        self.registry.counter("watchkeeper_alerting_state_failures_total", help, &[]).inc();
    }
}
