//! Why an alert of a group is not told: inhibited, silenced, or the route's time intervals.
//!
//! The order is Alertmanager's pipeline: inhibition, active times, mute times, silences. What is muted is taken out of the
//! notification; ended alerts that were muted still leave their group.

use super::alerts::StoredAlert;
use super::inhibit::Inhibitor;
use super::route::Route;
use super::silence::Silences;
use crate::model::time_interval::NamedTimeInterval;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Why one alert is not told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mute {
    /// Another alert, by fingerprint, keeps it silent.
    Inhibited(u64),
    /// Now is outside of the route's active times, by name.
    NotActive(Vec<String>),
    /// Now is within mute times, by name.
    MutedTime(Vec<String>),
    /// Silences, by id.
    Silenced(Vec<String>),
}

impl Mute {
    /// Returns the reason as Alertmanager's metric names it.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Inhibited(_) => "inhibition",
            Self::NotActive(_) => "active_time_interval",
            Self::MutedTime(_) => "mute_time_interval",
            Self::Silenced(_) => "silence",
        }
    }

    /// Returns the reason for people.
    #[must_use]
    pub fn in_words(&self) -> String {
        match self {
            Self::Inhibited(by) => format!("inhibited by alert {by:016x}"),
            Self::NotActive(names) => format!("outside of active time interval {}", names.join(", ")),
            Self::MutedTime(names) => format!("muted by time interval {}", names.join(", ")),
            Self::Silenced(ids) => format!("silenced by {}", ids.join(", ")),
        }
    }
}

/// Returns whether the route's time intervals mute it at `now_ms`.
#[must_use]
pub fn route_muted(now_ms: i64, route: &Route, intervals: &BTreeMap<String, NamedTimeInterval>) -> Option<Mute> {
    let holds = |name: &&String| intervals.get(*name).is_some_and(|interval| interval.contains(now_ms));
    let active = &route.active_time_intervals;
    if !active.is_empty() && !active.iter().any(|name| holds(&name)) {
        return Some(Mute::NotActive(active.clone()));
    }
    let muting: Vec<String> = route.mute_time_intervals.iter().filter(holds).cloned().collect();
    (!muting.is_empty()).then_some(Mute::MutedTime(muting))
}

/// What a group's alerts came to.
#[derive(Clone, Debug, Default)]
pub struct Sifted {
    /// To be told.
    pub told: Vec<Arc<StoredAlert>>,
    /// Not to be told, and why.
    pub muted: Vec<(Arc<StoredAlert>, Mute)>,
}

/// Takes out what must not be told.
#[must_use]
pub fn sift(
    now_ms: i64,
    alerts: Vec<Arc<StoredAlert>>,
    route_mute: Option<&Mute>,
    inhibitor: &Inhibitor,
    silences: &Silences,
) -> Sifted {
    let mut sifted = Sifted::default();
    for alert in alerts {
        let silenced = || Some(silences.silenced_by(now_ms, &alert.labels)).filter(|ids| !ids.is_empty());
        let mute = inhibitor
            .inhibited_by(now_ms, &alert.labels)
            .map(Mute::Inhibited)
            .or_else(|| route_mute.cloned())
            .or_else(|| silenced().map(Mute::Silenced));
        match mute {
            Some(mute) => sifted.muted.push((alert, mute)),
            None => sifted.told.push(alert),
        }
    }
    sifted
}
