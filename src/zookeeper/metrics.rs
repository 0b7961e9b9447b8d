//! What a session counts: `watchkeeper_zookeeper_...` for our own, of which alerts speak, `watchkeeper_sd_zookeeper_...` with the
//! label `ensemble` for those of service discovery.

use super::session::SessionStatus;
use crate::telemetry::metrics::{Counter, Gauge, Histogram, Registry, SECONDS};

/// What the session counts. A foreign ensemble's are named apart from those of our own, of which alerts speak.
pub(super) struct Metrics {
    registry: Registry,
    /// The foreign ensemble; `None`: ours.
    ensemble: Option<String>,
    pub(super) connected: Gauge,
    pub(super) expirations: Counter,
    pub(super) reconnects: Counter,
    pub(super) auth_failures: Counter,
    pub(super) resyncs: Counter,
    pub(super) resync_seconds: Histogram,
    pub(super) watch_events: Counter,
    pub(super) last_contact: Gauge,
    pub(super) tree_znodes: Gauge,
    pub(super) tree_bytes: Gauge,
}

impl Metrics {
    /// Names behind the prefix of the counters, gauges and the histogram that have no label but the ensemble.
    const NAMES: [&str; 10] = [
        "connected",
        "session_expirations_total",
        "reconnects_total",
        "auth_failures_total",
        "resyncs_total",
        "resync_duration_seconds",
        "watch_events_total",
        "last_contact_timestamp_seconds",
        "tree_znodes",
        "tree_bytes",
    ];

    pub(super) fn new(registry: &Registry, ensemble: Option<String>) -> Self {
        let prefix = Self::prefix(ensemble.as_deref());
        let labels: Vec<(&str, &str)> = ensemble.iter().map(|ensemble| ("ensemble", ensemble.as_str())).collect();
        let counter = |name, help| registry.counter(&format!("{prefix}{name}"), help, &labels);
        let gauge = |name, help| registry.gauge(&format!("{prefix}{name}"), help, &labels);
        Self {
            connected: gauge("connected", "Whether the ZooKeeper session is connected."),
            expirations: counter("session_expirations_total", "Sessions that ended against our will."),
            reconnects: counter("reconnects_total", "Connections that came back within a session."),
            auth_failures: counter("auth_failures_total", "Refused credentials."),
            resyncs: counter("resyncs_total", "Complete reads of the tree."),
            resync_seconds: registry.histogram(
                &format!("{prefix}resync_duration_seconds"),
                "How long a complete read of the tree took.",
                &labels,
                SECONDS,
            ),
            watch_events: counter("watch_events_total", "Events of the tree's watch."),
            last_contact: gauge("last_contact_timestamp_seconds", "When the tree was last known to be right."),
            tree_znodes: gauge("tree_znodes", "Znodes in the tree."),
            tree_bytes: gauge("tree_bytes", "Bytes of data in the tree."),
            registry: registry.clone(),
            ensemble,
        }
    }

    const fn prefix(ensemble: Option<&str>) -> &'static str {
        if ensemble.is_some() { "watchkeeper_sd_zookeeper_" } else { "watchkeeper_zookeeper_" }
    }

    fn state_labels(&self, state: SessionStatus) -> Vec<(&str, &str)> {
        let ensemble = self.ensemble.iter().map(|ensemble| ("ensemble", ensemble.as_str()));
        ensemble.chain([("state", state.as_str())]).collect()
    }

    /// A foreign ensemble that nobody needs any more is not shown either.
    pub(super) fn forget(&self) {
        let Some(ensemble) = &self.ensemble else { return };
        let prefix = Self::prefix(Some(ensemble));
        for name in Self::NAMES {
            self.registry.remove(&format!("{prefix}{name}"), &[("ensemble", ensemble)]);
        }
        for state in SessionStatus::ALL {
            self.registry.remove(&format!("{prefix}session_state"), &self.state_labels(state));
        }
    }

    pub(super) fn state(&self, now: SessionStatus) {
        let name = format!("{}session_state", Self::prefix(self.ensemble.as_deref()));
        for state in SessionStatus::ALL {
            let gauge = self.registry.gauge(&name, "1 for the state that holds.", &self.state_labels(state));
            gauge.set(f64::from(u8::from(state == now)));
        }
        let connected = matches!(now, SessionStatus::Syncing | SessionStatus::Live);
        self.connected.set(f64::from(u8::from(connected)));
    }
}
