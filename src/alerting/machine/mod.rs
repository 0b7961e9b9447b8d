//! The whole of alerting as a state machine: an event comes in, effects come out. No clock, no I/O, no task.
//!
//! Here: the state, and what comes from outside. `flush`: what time asks for. `outcome`: what became of deliveries.
//!
//! ```text
//! post -> alerts -> routes -> groups --timer--> flush: inhibit, times, silence -> dedup -> Deliver
//!                                                 ^                                           |
//!                                                 +------------- delivered <------------------+
//! ```
//!
//! Whoever drives it writes the changes of an effect before it does anything that follows: an intent is on disk before the
//! first byte of its mail goes out.

mod direct;
mod flapping;
mod flush;
mod learn;
mod outcome;

use super::ack::Ack;
use super::alerts::{Alerts, Put, StoredAlert, accept};
use super::dedup::Due;
use super::group::{Group, GroupId};
use super::history::{History, RecipientOutcome, RecordState};
use super::inhibit::Inhibitor;
use super::notification_log::{self as log, Intent, NotificationLog};
use super::persist;
use super::route::Route;
use super::setup::{Integration, Receiver, Setup};
use super::silence::{SilenceError, Silences};
use crate::model::alert::Alert;
use crate::model::labels::Labels;
use crate::model::silence::Silence;
use crate::state::Change;
use flapping::Flapping;
pub use flapping::QUIET_MS;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How often empty groups, old alerts, silences and log entries are looked for.
const MAINTENANCE_MS: i64 = 30_000;
/// How long an ended alert is kept after its end.
const KEEP_RESOLVED_MS: i64 = 15 * 60_000;

/// An alert within a notification.
#[derive(Clone, Debug, PartialEq)]
pub struct ToldAlert {
    /// The alert as it was when the group was flushed.
    pub alert: Arc<StoredAlert>,
    /// Whether it had ended then.
    pub resolved: bool,
    /// Whether the receiver was told this already.
    pub is_known: bool,
    /// How often it began to fire lately, where it goes on and off; else 0.
    pub flaps: usize,
}

/// A notification to be sent: what, to whom, until when.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The history's record.
    pub record: u64,
    /// The group.
    pub group: GroupId,
    /// The group's key.
    pub group_key: String,
    /// The receiver.
    pub receiver: Arc<Receiver>,
    /// Which of the receiver's integrations.
    pub integration: Integration,
    /// What to tell, in the order to tell it.
    pub alerts: Vec<ToldAlert>,
    /// Fingerprints of those that fire.
    pub firing: BTreeSet<u64>,
    /// Fingerprints of those that ended.
    pub resolved: BTreeSet<u64>,
    /// Why it is due.
    pub due: Due,
    /// The route's repeat interval.
    pub repeat_interval_ms: i64,
    /// When it was decided.
    pub at_ms: i64,
    /// When to give up until the next flush.
    pub deadline_ms: i64,
    /// The message's id.
    pub message_id: String,
    /// What became of its recipients in earlier attempts, where there were any.
    pub before: Vec<RecipientOutcome>,
    /// The route's label templates.
    pub route_labels: BTreeMap<String, String>,
    /// Whether it is about no group: a test, or a sign of life.
    pub is_direct: bool,
    /// What is announced to the other members first; a direct one is not.
    pub intent: Option<Intent>,
}

/// How a delivery ended.
#[derive(Clone, Debug)]
pub struct DeliveryReport {
    /// The delivery.
    pub delivery: Arc<Delivery>,
    /// Whether somebody took it.
    pub worked: bool,
    /// Whether it must not be tried again as it is.
    pub refused: bool,
    /// The last words.
    pub words: String,
    /// What each recipient's server said.
    pub recipients: Vec<RecipientOutcome>,
    /// What went wrong besides.
    pub warnings: Vec<String>,
    /// Why it failed, as Alertmanager's metric names it.
    pub reason: &'static str,
}

/// Something to do.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Keep these; before anything that follows.
    Write {
        /// The changes.
        changes: Vec<Change>,
        /// Whether they must be on disk before going on.
        durable: bool,
    },
    /// Send this.
    Deliver(Arc<Delivery>),
    /// Forget what was kept of old notifications.
    DropContent(Vec<u64>),
    /// Count alerts that were not told.
    Suppressed {
        /// Why, as the metric names it.
        reason: &'static str,
        /// How many.
        count: usize,
    },
}

/// The state of it all.
#[derive(Debug)]
pub struct Machine {
    pub(super) setup: Arc<Setup>,
    pub(super) alerts: Alerts,
    pub(super) inhibitor: Inhibitor,
    pub(super) silences: Silences,
    pub(super) log: NotificationLog,
    pub(super) groups: BTreeMap<GroupId, Group>,
    pub(super) history: History,
    pub(super) acks: BTreeMap<u64, Ack>,
    /// What other members said of alerts that have not come here yet.
    early_acks: BTreeMap<u64, Ack>,
    flapping: Flapping,
    /// Whether this member tells people; others keep everything ready.
    pub(super) may_send: bool,
    next_maintenance_ms: i64,
}

/// Collects changes while a step runs; they are written before what the step asks to be done.
#[derive(Debug, Default)]
struct Effects {
    changes: Vec<Change>,
    durable: bool,
    others: Vec<Effect>,
}

impl Effects {
    fn finish(self) -> Vec<Effect> {
        let mut all = Vec::with_capacity(self.others.len() + 1);
        if !self.changes.is_empty() {
            all.push(Effect::Write { changes: self.changes, durable: self.durable });
        }
        all.extend(self.others);
        all
    }
}

impl Machine {
    /// Starts empty.
    #[must_use]
    pub fn new(now_ms: i64, setup: Arc<Setup>, may_send: bool) -> Self {
        Self {
            inhibitor: Inhibitor::new(setup.inhibit_rules.clone()),
            setup,
            alerts: Alerts::default(),
            silences: Silences::default(),
            log: NotificationLog::default(),
            groups: BTreeMap::new(),
            history: History::default(),
            acks: BTreeMap::new(),
            early_acks: BTreeMap::new(),
            flapping: Flapping::default(),
            may_send,
            next_maintenance_ms: now_ms.saturating_add(MAINTENANCE_MS),
        }
    }

    /// Starts with what an earlier life kept. Alerts that fired then are believed for another `resolve_timeout`: their
    /// senders need a moment to find us again. Groups take up their timers.
    #[must_use]
    pub fn restored(now_ms: i64, setup: Arc<Setup>, may_send: bool, kept: persist::Kept) -> Self {
        let mut machine = Self::new(now_ms, setup, may_send);
        for silence in kept.silences {
            machine.silences.restore(silence);
        }
        for entry in kept.log {
            machine.log.restore(entry);
        }
        for intent in kept.intents {
            machine.log.restore_intent(intent);
        }
        for mut record in kept.history {
            if record.state == RecordState::Sending {
                record.state = RecordState::Failed;
                record.warnings.push("the server stopped while this was being sent".to_owned());
            }
            machine.history.restore(record);
        }
        for mut alert in kept.alerts {
            if alert.ends_at_ms > alert.updated_at_ms {
                alert.ends_at_ms = alert.ends_at_ms.max(now_ms.saturating_add(machine.setup.resolve_timeout_ms));
            }
            machine.alerts.restore(alert);
        }
        machine.acks = kept.acks.into_iter().map(|ack| (ack.fingerprint, ack)).collect();
        machine.rebuild_groups(now_ms, &kept.groups);
        machine.resume_groups();
        machine
    }

    /// Sorts all alerts into groups anew. `before`: timers of groups by id.
    fn rebuild_groups(&mut self, now_ms: i64, before: &BTreeMap<GroupId, persist::GroupTimer>) {
        self.inhibitor = Inhibitor::new(self.setup.inhibit_rules.clone());
        let alerts: Vec<Arc<StoredAlert>> = self.alerts.iter().cloned().collect();
        let mut groups = std::mem::take(&mut self.groups);
        let mut members: BTreeMap<GroupId, BTreeSet<u64>> = BTreeMap::new();
        for (id, group) in &mut groups {
            members.insert(id.clone(), std::mem::take(&mut group.members));
        }
        for alert in alerts {
            self.inhibitor.observe(&alert);
            for place in self.setup.routes.matching(&alert.labels) {
                let Some(route) = self.setup.routes.get(place) else { continue };
                let id = GroupId { route_id: Arc::from(route.id.as_str()), labels: route.group_labels(&alert.labels) };
                let was_member = members.get(&id).is_some_and(|members| members.contains(&alert.fingerprint));
                // One that ended comes back only where somebody still believes that it fires.
                if alert.is_resolved_at(now_ms) && !was_member && !self.is_believed_firing(route, &id.labels, alert.fingerprint) {
                    continue;
                }
                let kept = groups.remove(&id);
                let group = self.groups.entry(id.clone()).or_insert_with(|| {
                    let mut group = kept.unwrap_or_else(|| Group::new(now_ms, place, route));
                    group.route = place;
                    if let Some(timer) = before.get(&id) {
                        group.has_flushed = timer.has_flushed;
                        group.next_flush_ms = timer.next_flush_ms.min(now_ms.saturating_add(route.group_interval_ms));
                    }
                    group
                });
                group.insert(now_ms, &alert, route);
            }
        }
    }

    /// Lets groups whose messages were going out when the server, or the one that told people before, died send them again at once.
    fn resume_groups(&mut self) {
        let setup = Arc::clone(&self.setup);
        for (id, group) in &mut self.groups {
            let Some(route) = setup.routes.get(group.route) else { continue };
            let mut keys = log_keys(&setup, route, &id.labels);
            group.resumes |= keys.any(|log_key| self.log.unsettled(&log_key).is_some());
        }
    }

    /// Returns whether some integration of the route's receiver was last told that the alert fires, or was to be told of it.
    fn is_believed_firing(&self, route: &Route, labels: &Labels, fingerprint: u64) -> bool {
        log_keys(&self.setup, route, labels).any(|log_key| {
            let is_in = |intent: &Intent| intent.firing.contains(&fingerprint) || intent.resolved.contains(&fingerprint);
            self.log.get(i64::MIN, &log_key).is_some_and(|entry| entry.told.firing.contains(&fingerprint))
                || self.log.intent(&log_key).is_some_and(is_in)
        })
    }

    /// Takes a new configuration: groups that still exist keep their timers, others are made anew.
    pub fn reconfigure(&mut self, now_ms: i64, setup: Arc<Setup>) -> Vec<Effect> {
        self.setup = setup;
        let before = self.groups.keys().cloned().collect::<BTreeSet<_>>();
        self.rebuild_groups(now_ms, &BTreeMap::new());
        let mut effects = Effects::default();
        for (id, group) in &self.groups {
            effects.changes.push(persist::put_group(id, group));
        }
        for gone in before.iter().filter(|id| !self.groups.contains_key(id)) {
            effects.changes.push(persist::delete_group(gone));
        }
        effects.finish()
    }

    /// Says whether this member tells people from now on. Who begins to looks at once at what was due in between.
    pub fn set_may_send(&mut self, now_ms: i64, may_send: bool) {
        let begins = may_send && !self.may_send;
        self.may_send = may_send;
        if begins {
            self.resume_groups();
        }
        for group in self.groups.values_mut().filter(|group| begins && group.stood_by) {
            group.stood_by = false;
            group.next_flush_ms = now_ms;
        }
    }

    /// Takes posted alerts in. Bad ones are refused and do not stop the good ones.
    pub fn post(&mut self, now_ms: i64, posted: Vec<Alert>) -> (Vec<Effect>, Vec<String>) {
        let mut effects = Effects::default();
        let mut refused = Vec::new();
        for alert in posted {
            match accept(now_ms, self.setup.resolve_timeout_ms, alert) {
                Ok(alert) => self.take(now_ms, alert, &mut effects),
                Err(error) => refused.push(error.to_string()),
            }
        }
        self.end_silences_until_resolved(now_ms, &mut effects);
        (effects.finish(), refused)
    }

    fn take(&mut self, now_ms: i64, alert: StoredAlert, effects: &mut Effects) {
        let (alert, put) = self.alerts.put(now_ms, alert);
        self.inhibitor.observe(&alert);
        effects.changes.push(persist::put_alert(&alert));
        effects.durable |= put != Put::Refreshed;
        if put != Put::Refreshed && !alert.is_resolved_at(now_ms) {
            self.flapping.note(now_ms, alert.fingerprint);
        }
        if put == Put::Turned && self.acks.remove(&alert.fingerprint).is_some() {
            // Somebody took care of that event; this is another.
            effects.changes.push(persist::delete_ack(alert.fingerprint));
        }
        if let Some(ack) = self.early_acks.remove(&alert.fingerprint) {
            self.take_ack(ack, effects);
        }
        for place in self.setup.routes.matching(&alert.labels) {
            let Some(route) = self.setup.routes.get(place) else { continue };
            let id = GroupId { route_id: Arc::from(route.id.as_str()), labels: route.group_labels(&alert.labels) };
            // What is over, and was over before, concerns no group that has let it go.
            let is_member = self.groups.get(&id).is_some_and(|group| group.members.contains(&alert.fingerprint));
            if put == Put::Refreshed && alert.is_resolved_at(now_ms) && !is_member {
                continue;
            }
            let group = self.groups.entry(id.clone()).or_insert_with(|| Group::new(now_ms, place, route));
            let is_new = group.members.is_empty();
            group.insert(now_ms, &alert, route);
            if is_new {
                effects.changes.push(persist::put_group(&id, group));
            }
        }
    }

    fn maintain(&mut self, now_ms: i64, effects: &mut Effects) {
        let empty = |(id, group): (&GroupId, &Group)| (group.members.is_empty() && group.flushing.is_none()).then(|| id.clone());
        for id in self.groups.iter().filter_map(empty).collect::<Vec<_>>() {
            self.groups.remove(&id);
            effects.changes.push(persist::delete_group(&id));
        }
        let needed: BTreeSet<u64> = self.groups.values().flat_map(|group| group.members.iter().copied()).collect();
        let before: Vec<Arc<StoredAlert>> = self.alerts.iter().filter(|alert| alert.is_resolved_at(now_ms)).cloned().collect();
        let gone = self.alerts.collect_garbage(now_ms, KEEP_RESOLVED_MS, |fingerprint| needed.contains(&fingerprint));
        for alert in before.iter().filter(|alert| gone.contains(&alert.fingerprint)) {
            self.inhibitor.forget(alert);
            effects.changes.push(persist::delete_alert(alert.fingerprint));
        }
        let over: Vec<u64> = self.acks.keys().copied().filter(|of| self.alerts.get(*of).is_none()).collect();
        for fingerprint in over {
            self.acks.remove(&fingerprint);
            effects.changes.push(persist::delete_ack(fingerprint));
        }
        self.flapping.collect_garbage(now_ms);
        for id in self.silences.collect_garbage(now_ms) {
            effects.changes.push(persist::delete_silence(&id));
        }
        for log_key in self.log.collect_garbage(now_ms) {
            effects.changes.push(persist::delete_log(&log_key));
        }
        self.forget_intents_of_no_group(effects);
        self.end_silences_until_resolved(now_ms, effects);
    }

    /// Forgets intents whose group or receiver is no more, after a change of the routes.
    fn forget_intents_of_no_group(&mut self, effects: &mut Effects) {
        if self.log.intents().next().is_none() {
            return;
        }
        let mut present = BTreeSet::new();
        for (id, group) in &self.groups {
            let Some(route) = self.setup.routes.get(group.route) else { continue };
            present.extend(log_keys(&self.setup, route, &id.labels));
        }
        let gone: Vec<String> =
            self.log.intents().map(|(log_key, _)| log_key).filter(|key| !present.contains(*key)).cloned().collect();
        for log_key in gone {
            self.log.forget_intent(&log_key);
            effects.changes.push(persist::delete_intent(&log_key));
        }
    }

    /// Returns whether an alert's end is to be told: it has ended, and is not one that goes on and off.
    fn is_over(&self, now_ms: i64, alert: &StoredAlert) -> bool {
        alert.is_resolved_at(now_ms) && !self.flapping.holds(now_ms, alert)
    }

    /// Returns until when an alert's end is held back because it goes on and off; 0 where it is not.
    pub(super) fn held_until_ms(&self, now_ms: i64, alert: &StoredAlert) -> i64 {
        let is_held = alert.is_resolved_at(now_ms) && self.flapping.holds(now_ms, alert);
        if is_held { alert.ends_at_ms.saturating_add(QUIET_MS) } else { 0 }
    }

    fn end_silences_until_resolved(&mut self, now_ms: i64, effects: &mut Effects) {
        let ends = |silence: &&Silence| {
            let mut covered =
                self.alerts.iter().filter(|alert| super::silence::covers(&silence.matchers, &alert.labels)).peekable();
            silence.until_resolved
                && silence.is_muting_at(now_ms)
                && covered.peek().is_some()
                && covered.all(|alert| alert.is_resolved_at(now_ms))
        };
        let over: Vec<String> = self.silences.iter().filter(ends).map(|silence| silence.id.clone()).collect();
        for id in over {
            if let Ok(silence) = self.silences.expire(now_ms, &id) {
                effects.changes.push(persist::put_silence(&silence));
            }
        }
    }

    /// Makes or changes a silence; it is kept before anyone is told that it is.
    ///
    /// # Errors
    /// When the silence is not a good one.
    pub fn put_silence(&mut self, now_ms: i64, silence: Silence, new_id: String) -> Result<(String, Vec<Effect>), SilenceError> {
        let (id, changed) = self.silences.put(now_ms, silence, new_id)?;
        let changes = changed.iter().map(persist::put_silence).collect();
        Ok((id, Effects { changes, durable: true, others: Vec::new() }.finish()))
    }

    /// Ends a silence.
    ///
    /// # Errors
    /// When there is none with this id, or it is over.
    pub fn expire_silence(&mut self, now_ms: i64, id: &str) -> Result<Vec<Effect>, SilenceError> {
        let silence = self.silences.expire(now_ms, id)?;
        Ok(Effects { changes: vec![persist::put_silence(&silence)], durable: true, others: Vec::new() }.finish())
    }

    /// Makes the group of a notification due now. Returns whether there is such a group.
    pub fn hurry(&mut self, now_ms: i64, record: u64) -> bool {
        let Some(record) = self.history.get(record) else { return false };
        let setup = Arc::clone(&self.setup);
        let mut found = false;
        for (id, group) in &mut self.groups {
            let key = setup.routes.get(group.route).map(|route| route.group_key(&id.labels));
            if key.as_ref() == Some(&record.group_key) {
                group.next_flush_ms = now_ms;
                found = true;
            }
        }
        found
    }

    /// Notes that somebody takes care of an alert. Returns whether there is such an alert.
    pub fn acknowledge(&mut self, ack: Ack) -> Option<Vec<Effect>> {
        self.alerts.get(ack.fingerprint)?;
        let changes = vec![persist::put_ack(&ack)];
        self.acks.insert(ack.fingerprint, ack);
        Some(Effects { changes, durable: true, others: Vec::new() }.finish())
    }
}

/// Returns the keys in the notification log of everybody whom a group may be told to.
fn log_keys<'a>(setup: &'a Setup, route: &'a Route, labels: &Labels) -> impl Iterator<Item = String> + use<'a> {
    let group_key = route.group_key(labels);
    setup.told_by(route).flat_map(move |receiver| {
        let keys = receiver.integrations.iter().map(|one| log::key(&group_key, &receiver.log_name(one)));
        keys.collect::<Vec<_>>()
    })
}
