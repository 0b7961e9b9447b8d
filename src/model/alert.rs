//! Alerts on their way from rules (or from outside, by the API) to the notifier.

use super::labels::Labels;

/// One alert, as Alertmanager's API takes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    /// Its identity.
    pub labels: Labels,
    /// Texts for people.
    pub annotations: Labels,
    /// When it began to fire, milliseconds since 1970.
    pub starts_at_ms: i64,
    /// When it ended or will be held to have ended if nobody repeats it; `None`: the sender did not say.
    pub ends_at_ms: Option<i64>,
    /// When this was said.
    pub updated_at_ms: i64,
    /// A link to the expression behind it; may be empty.
    pub generator_url: String,
    /// The value when the rule was last evaluated; absent for alerts from outside.
    pub value: Option<f64>,
}

/// A rule's alert came to another state.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertChange {
    /// When it was evaluated, milliseconds since 1970.
    pub at_ms: i64,
    /// The alert's identity.
    pub labels: Labels,
    /// `pending`, `firing` or `inactive`: what it is now.
    pub state: &'static str,
    /// Since when its condition holds, or held.
    pub active_at_ms: i64,
    /// The value when last evaluated.
    pub value: f64,
}

impl Alert {
    /// Returns whether the alert has ended at `now_ms`.
    #[must_use]
    pub fn is_resolved_at(&self, now_ms: i64) -> bool {
        self.ends_at_ms.is_some_and(|ends| ends <= now_ms)
    }

    /// Returns the alert's name label, or the empty string.
    #[must_use]
    pub fn name(&self) -> &str {
        self.labels.value(super::labels::ALERT_NAME)
    }

    /// Returns the fingerprint of its labels.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        self.labels.fingerprint()
    }
}
