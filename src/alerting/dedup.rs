//! Is a notification due? Compares a group with what its receiver was last told.
//!
//! Follows Alertmanager's `DedupStage`. The answer is a named reason, shown in the notification's history.

use std::collections::BTreeSet;

/// What a receiver was last told about a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LastTold {
    /// Fingerprints of the alerts that fired.
    pub firing: BTreeSet<u64>,
    /// Fingerprints of the alerts that had ended.
    pub resolved: BTreeSet<u64>,
    /// When.
    pub at_ms: i64,
}

/// Whether to tell, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// The first notification about the group.
    First,
    /// An alert fires that the receiver does not know of.
    NewFiring,
    /// All alerts have ended.
    AllResolved,
    /// An alert has ended that the receiver thinks is firing.
    NewResolved,
    /// Nothing changed, but `repeat_interval` has passed.
    Repeat,
    /// An alert fired and ended while nobody could be told.
    EndedUntold,
    /// Nobody acknowledged an alert in time: somebody else hears of it.
    Escalated,
    /// Only ended alerts, and the receiver never heard of them.
    NeverTold,
    /// The receiver knows all this.
    Unchanged,
}

impl Due {
    /// Returns whether to notify.
    #[must_use]
    pub const fn is_due(self) -> bool {
        match self {
            Self::First | Self::NewFiring | Self::AllResolved | Self::NewResolved | Self::Repeat => true,
            Self::EndedUntold | Self::Escalated => true,
            Self::NeverTold | Self::Unchanged => false,
        }
    }

    /// Returns the reason in words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::First => "first notification",
            Self::NewFiring => "new alerts in group",
            Self::AllResolved => "all alerts resolved",
            Self::NewResolved => "new resolved alerts in group",
            Self::Repeat => "repeat interval elapsed",
            Self::EndedUntold => "fired and ended before it could be told",
            Self::Escalated => "not acknowledged in time",
            Self::NeverTold => "resolved before anyone was told",
            Self::Unchanged => "already told",
        }
    }

    /// Reads the reason's words.
    #[must_use]
    pub fn from_words(words: &str) -> Option<Self> {
        use Due::{AllResolved, EndedUntold, Escalated, First, NeverTold, NewFiring, NewResolved, Repeat, Unchanged};
        let all = [First, NewFiring, AllResolved, NewResolved, Repeat, EndedUntold, Escalated, NeverTold, Unchanged];
        all.into_iter().find(|due| due.as_str() == words)
    }
}

/// Decides whether the receiver must hear of the group as it is now.
#[must_use]
pub fn due(
    now_ms: i64,
    last: Option<&LastTold>,
    firing: &BTreeSet<u64>,
    resolved: &BTreeSet<u64>,
    repeat_interval_ms: i64,
    send_resolved: bool,
) -> Due {
    let Some(last) = last else { return if firing.is_empty() { Due::NeverTold } else { Due::First } };
    if !firing.is_subset(&last.firing) {
        return Due::NewFiring;
    }
    if firing.is_empty() {
        // Told whatever send_resolved says: the log must forget the firing alerts.
        return if last.firing.is_empty() { Due::NeverTold } else { Due::AllResolved };
    }
    if send_resolved && !resolved.is_subset(&last.resolved) {
        return Due::NewResolved;
    }
    if last.at_ms < now_ms.saturating_sub(repeat_interval_ms) { Due::Repeat } else { Due::Unchanged }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn set(value: &Value) -> BTreeSet<u64> {
        value.as_array().into_iter().flatten().filter_map(Value::as_u64).collect()
    }

    #[test]
    fn decides_as_alertmanager() {
        let now_ms = 1_700_000_000_000;
        let Some(file) = crate::model::shared_data::json("alerting/dedup/needs_update.json") else { return };
        let cases = file["cases"].as_array().expect("cases");
        assert_eq!(cases.len(), 11);
        for case in cases {
            let entry = &case["log_entry"];
            let last = entry.is_object().then(|| LastTold {
                firing: set(&entry["firing"]),
                resolved: set(&entry["resolved"]),
                at_ms: entry["age_minutes"].as_i64().map_or(0, |age| now_ms - age * 60_000),
            });
            let repeat_ms = case["repeat_interval_minutes"].as_i64().unwrap_or(0) * 60_000;
            let (firing, resolved) = (set(&case["firing"]), set(&case["resolved"]));
            let got = due(now_ms, last.as_ref(), &firing, &resolved, repeat_ms, case["send_resolved"] == true);
            assert_eq!(got.is_due(), case["notify"] == true, "{case} gave {got:?}");
        }
    }
}
