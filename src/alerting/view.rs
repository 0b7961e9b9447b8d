//! What the API and the dashboard see: an immutable picture of alerting at one moment.

use super::ack::Ack;
use super::alerts::StoredAlert;
use super::history::Record;
use super::machine::Machine;
use super::mute;
use super::notification_log::{self as log, LogEntry};
use super::setup::Setup;
use crate::model::labels::Labels;
use crate::model::silence::Silence;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One alert, and what keeps it from being told.
#[derive(Clone, Debug)]
pub struct AlertView {
    /// The alert.
    pub alert: Arc<StoredAlert>,
    /// Silences in force, by id.
    pub silenced_by: Vec<String>,
    /// Alerts that inhibit it, by fingerprint.
    pub inhibited_by: Vec<String>,
    /// Receivers that hear of it, in order.
    pub receivers: Vec<String>,
    /// Who takes care of it.
    pub ack: Option<Ack>,
    /// Until when its end is not told because it goes on and off; 0: it is told as usual.
    pub held_until_ms: i64,
}

impl AlertView {
    /// Returns Alertmanager's word for its state.
    #[must_use]
    pub const fn state(&self) -> &'static str {
        if self.silenced_by.is_empty() && self.inhibited_by.is_empty() { "active" } else { "suppressed" }
    }
}

/// One group.
#[derive(Clone, Debug)]
pub struct GroupView {
    /// The route's id.
    pub route_id: String,
    /// The group's key.
    pub group_key: String,
    /// The labels that its alerts share.
    pub labels: Labels,
    /// Who is told.
    pub receiver: String,
    /// Fingerprints of its alerts.
    pub alerts: Vec<u64>,
    /// Time intervals that mute the route now.
    pub muted_by: Vec<String>,
    /// When it is looked at next.
    pub next_flush_ms: i64,
    /// Whether deliveries are on their way.
    pub is_delivering: bool,
    /// What each integration was last told.
    pub told: Vec<LogEntry>,
    /// When an unchanged group is told again.
    pub repeat_interval_ms: i64,
}

/// The picture.
#[derive(Clone, Debug)]
pub struct AlertingView {
    /// When it was made.
    pub at_ms: i64,
    /// All alerts that are kept, those that ended included, in order of fingerprints.
    pub alerts: Vec<AlertView>,
    /// All groups.
    pub groups: Vec<GroupView>,
    /// All silences in order of ids.
    pub silences: Vec<Silence>,
    /// The newest records of the history, newest first.
    pub history: Vec<Arc<Record>>,
    /// The notification log.
    pub log: Vec<LogEntry>,
    /// The configuration in force.
    pub setup: Arc<Setup>,
    /// Whether this member tells people.
    pub may_send: bool,
    /// Why the newest configuration was refused; empty where it was not.
    pub setup_error: String,
    /// How many old notifications were removed from history and outbox since the start, as far as this was told.
    pub removed_told: u64,
}

impl AlertingView {
    /// Makes the picture.
    #[must_use]
    pub fn new(now_ms: i64, machine: &Machine, setup_error: &str) -> Self {
        let setup = &machine.setup;
        let alert = |alert: &Arc<StoredAlert>| AlertView {
            silenced_by: machine.silences.silenced_by(now_ms, &alert.labels),
            inhibited_by: machine
                .inhibitor
                .inhibited_by(now_ms, &alert.labels)
                .map(|fingerprint| format!("{fingerprint:016x}"))
                .into_iter()
                .collect(),
            receivers: setup.routes.receivers(&alert.labels),
            held_until_ms: machine.held_until_ms(now_ms, alert),
            ack: machine.acks.get(&alert.fingerprint).cloned(),
            alert: Arc::clone(alert),
        };
        Self {
            at_ms: now_ms,
            alerts: machine.alerts.iter().map(alert).collect(),
            groups: groups(now_ms, machine),
            silences: machine.silences.iter().cloned().collect(),
            history: machine.history.newest_first().cloned().collect(),
            log: machine.log.iter().map(|(_, entry)| entry.clone()).collect(),
            setup: Arc::clone(setup),
            may_send: machine.may_send,
            setup_error: setup_error.to_owned(),
            removed_told: 0,
        }
    }

    /// Returns one alert.
    #[must_use]
    pub fn alert(&self, fingerprint: u64) -> Option<&AlertView> {
        let place = self.alerts.binary_search_by_key(&fingerprint, |view| view.alert.fingerprint).ok()?;
        self.alerts.get(place)
    }

    /// Counts alerts that fire, by Alertmanager's words for their state.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::from([("active", 0), ("suppressed", 0), ("unprocessed", 0)]);
        for view in self.alerts.iter().filter(|view| !view.alert.is_resolved_at(self.at_ms)) {
            *counts.entry(view.state()).or_default() += 1;
        }
        counts
    }
}

fn groups(now_ms: i64, machine: &Machine) -> Vec<GroupView> {
    let setup = &machine.setup;
    let view = |(id, group): (&super::group::GroupId, &super::group::Group)| {
        let route = setup.routes.get(group.route)?;
        let group_key = route.group_key(&id.labels);
        let muted_by = match mute::route_muted(now_ms, route, &setup.intervals) {
            Some(mute::Mute::NotActive(names) | mute::Mute::MutedTime(names)) => names,
            Some(mute::Mute::Inhibited(_) | mute::Mute::Silenced(_)) | None => Vec::new(),
        };
        let receiver = setup.receivers.get(&route.receiver);
        let told = receiver.into_iter().flat_map(|receiver| {
            let names = receiver.integrations.iter().map(|integration| receiver.log_name(integration));
            names.filter_map(|name| machine.log.get(now_ms, &log::key(&group_key, &name)).cloned()).collect::<Vec<_>>()
        });
        Some(GroupView {
            route_id: id.route_id.to_string(),
            told: told.collect(),
            group_key,
            labels: id.labels.clone(),
            receiver: route.receiver.clone(),
            alerts: group.members.iter().copied().collect(),
            muted_by,
            next_flush_ms: group.next_flush_ms,
            is_delivering: group.flushing.is_some(),
            repeat_interval_ms: route.repeat_interval_ms,
        })
    };
    machine.groups.iter().filter_map(view).collect()
}
