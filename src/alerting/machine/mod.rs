//! The whole of alerting as a state machine: an event comes in, effects come out. No clock, no I/O, no task. Long: one state, and every event that may change it side by side.
//!
//! ```text
//! post -> alerts -> routes -> groups --timer--> flush: inhibit, times, silence -> dedup -> Deliver
//!                                                 ^                                           |
//!                                                 +------------- delivered <------------------+
//! ```
//!
//! Whoever drives it writes the changes of an effect before it does anything that follows: an intent is on disk before the
//! first byte of its mail goes out.

use super::ack::Ack;
use super::alerts::{Alerts, Put, StoredAlert, accept, notification_order};
use super::dedup::{Due, LastTold, due};
use super::group::{Flushing, Group, GroupId};
use super::history::{ATTEMPTS_MAX, Attempt, History, RECORD_ALERTS_MAX, RecipientOutcome, Record, RecordAlert, RecordState};
use super::inhibit::Inhibitor;
use super::mute::{self, Mute};
use super::notification_log::{self as log, Intent, LogEntry, NotificationLog};
use super::persist;
use super::route::Route;
use super::setup::{Integration, Receiver, Setup};
use super::silence::{SilenceError, Silences};
use crate::model::alert::Alert;
use crate::model::labels::Labels;
use crate::model::silence::Silence;
use crate::state::Change;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How often empty groups, old alerts, silences and log entries are looked for.
const MAINTENANCE_MS: i64 = 30_000;
/// How long an ended alert is kept after its end.
const KEEP_RESOLVED_MS: i64 = 15 * 60_000;
/// The shortest time that a notification has for all its attempts: Alertmanager's `notify.MinTimeout`.
const DELIVERY_TIME_MIN_MS: i64 = 10_000;

/// An alert within a notification.
#[derive(Clone, Debug, PartialEq)]
pub struct ToldAlert {
    /// The alert as it was when the group was flushed.
    pub alert: Arc<StoredAlert>,
    /// Whether it had ended then.
    pub resolved: bool,
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
    /// The route's label templates.
    pub route_labels: BTreeMap<String, String>,
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
    /// Forget what was kept of an old notification.
    DropContent(u64),
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
            machine.log.begin(intent);
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

    /// Returns whether some integration of the route's receiver was last told that the alert fires.
    fn is_believed_firing(&self, route: &Route, labels: &Labels, fingerprint: u64) -> bool {
        let group_key = route.group_key(labels);
        let Some(receiver) = self.setup.receivers.get(&route.receiver) else { return false };
        receiver.integrations.iter().any(|integration| {
            let log_key = log::key(&group_key, &receiver.log_name(integration));
            self.log.get(i64::MIN, &log_key).is_some_and(|entry| entry.told.firing.contains(&fingerprint))
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
        if put == Put::Turned && self.acks.remove(&alert.fingerprint).is_some() {
            // Somebody took care of that event; this is another.
            effects.changes.push(persist::delete_ack(alert.fingerprint));
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

    /// Does what time asks for: flushes that are due, maintenance.
    pub fn tick(&mut self, now_ms: i64) -> Vec<Effect> {
        let mut effects = Effects::default();
        if self.next_maintenance_ms <= now_ms {
            self.next_maintenance_ms = now_ms.saturating_add(MAINTENANCE_MS);
            self.maintain(now_ms, &mut effects);
        }
        let due: Vec<GroupId> = self.groups.iter().filter(|(_, group)| group.is_due(now_ms)).map(|(id, _)| id.clone()).collect();
        for id in due {
            self.flush(now_ms, &id, &mut effects);
        }
        effects.finish()
    }

    /// Returns when [`Self::tick`] has something to do again.
    #[must_use]
    pub fn next_tick_ms(&self, now_ms: i64) -> i64 {
        let flushes = self.groups.values().filter(|group| group.flushing.is_none()).map(|group| group.next_flush_ms);
        let silences = self.silences.next_change_ms(now_ms);
        flushes.chain(silences).chain([self.next_maintenance_ms]).min().unwrap_or(now_ms)
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
        for id in self.silences.collect_garbage(now_ms) {
            effects.changes.push(persist::delete_silence(&id));
        }
        for log_key in self.log.collect_garbage(now_ms) {
            effects.changes.push(persist::delete_log(&log_key));
        }
        self.end_silences_until_resolved(now_ms, effects);
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

    fn flush(&mut self, now_ms: i64, id: &GroupId, effects: &mut Effects) {
        let Some(group) = self.groups.get_mut(id) else { return };
        let setup = Arc::clone(&self.setup);
        let Some(route) = setup.routes.get(group.route) else { return };
        group.next_flush_ms = now_ms.saturating_add(route.group_interval_ms);
        if group.members.is_empty() {
            return;
        }
        if !self.may_send {
            group.stood_by = true;
            return;
        }
        group.has_flushed = true;
        effects.changes.push(persist::put_group(id, group));
        let mut alerts: Vec<Arc<StoredAlert>> =
            group.members.iter().filter_map(|fingerprint| self.alerts.get(*fingerprint)).cloned().collect();
        alerts.sort_by(|a, b| notification_order(&a.labels, &b.labels));
        let ended = alerts.iter().filter(|alert| alert.is_resolved_at(now_ms));
        let resolved: Vec<(u64, i64)> = ended.map(|alert| (alert.fingerprint, alert.updated_at_ms)).collect();

        let route_mute = mute::route_muted(now_ms, route, &setup.intervals);
        let sifted = mute::sift(now_ms, alerts, route_mute.as_ref(), &self.inhibitor, &self.silences);
        self.note_muted(now_ms, id, route, &sifted.muted, effects);
        let mut pending = 0;
        if let Some(receiver) = setup.receivers.get(&route.receiver).filter(|_| !sifted.told.is_empty()) {
            for integration in &receiver.integrations {
                pending += usize::from(self.tell(now_ms, id, route, receiver, integration, &sifted.told, effects));
            }
        }
        let flushing = Flushing { pending, failed: false, resolved };
        if pending == 0 {
            self.finish_flush(id, &flushing);
        } else if let Some(group) = self.groups.get_mut(id) {
            group.flushing = Some(flushing);
        }
    }

    fn finish_flush(&mut self, id: &GroupId, flushing: &Flushing) {
        if flushing.failed {
            return;
        }
        if let Some(group) = self.groups.get_mut(id) {
            let alerts = &self.alerts;
            group.let_go(&flushing.resolved, |fingerprint| alerts.get(fingerprint).map(|alert| alert.updated_at_ms));
        }
    }

    /// Counts what is muted, and notes in the history when a reason begins.
    fn note_muted(
        &mut self,
        now_ms: i64,
        id: &GroupId,
        route: &Route,
        muted: &[(Arc<StoredAlert>, Mute)],
        effects: &mut Effects,
    ) {
        let firing: Vec<&(Arc<StoredAlert>, Mute)> = muted.iter().filter(|(alert, _)| !alert.is_resolved_at(now_ms)).collect();
        let mut counts: BTreeMap<&'static str, usize> = BTreeMap::new();
        for (_, mute) in muted {
            *counts.entry(mute.reason()).or_default() += 1;
        }
        effects.others.extend(counts.into_iter().map(|(reason, count)| Effect::Suppressed { reason, count }));
        let words: BTreeSet<String> = firing.iter().map(|(_, mute)| mute.in_words()).collect();
        let why = words.into_iter().collect::<Vec<_>>().join("; ");
        let Some(group) = self.groups.get_mut(id) else { return };
        if group.last_silence == why {
            return;
        }
        group.last_silence.clone_from(&why);
        if why.is_empty() {
            return;
        }
        let alerts: Vec<RecordAlert> = firing.iter().map(|(alert, _)| record_alert(alert, false)).collect();
        let record = Record { state: RecordState::NotSent, why, ..blank_record(now_ms, route, &id.labels, alerts) };
        self.add_record(record, effects);
    }

    fn add_record(&mut self, record: Record, effects: &mut Effects) -> u64 {
        let (record, dropped) = self.history.add(record);
        effects.changes.push(persist::put_record(&record));
        if let Some(dropped) = dropped {
            effects.changes.push(persist::delete_record(dropped));
            effects.others.push(Effect::DropContent(dropped));
        }
        record.id
    }

    /// Decides whether an integration must hear of the group, and asks for the delivery. Returns whether one is on its way.
    #[expect(clippy::too_many_arguments, reason = "one step of a flush; a struct for it would have no other use")]
    fn tell(
        &mut self,
        now_ms: i64,
        id: &GroupId,
        route: &Route,
        receiver: &Arc<Receiver>,
        integration: &Integration,
        told: &[Arc<StoredAlert>],
        effects: &mut Effects,
    ) -> bool {
        let group_key = route.group_key(&id.labels);
        let name = receiver.log_name(integration);
        let log_key = log::key(&group_key, &name);
        let (resolved, firing): (BTreeSet<u64>, BTreeSet<u64>) = {
            let (ended, lasting): (Vec<_>, Vec<_>) = told.iter().partition(|alert| alert.is_resolved_at(now_ms));
            (ended.iter().map(|alert| alert.fingerprint).collect(), lasting.iter().map(|alert| alert.fingerprint).collect())
        };
        let last = self.log.get(now_ms, &log_key).cloned();
        let reason = due(
            now_ms,
            last.as_ref().map(|entry| &entry.told),
            &firing,
            &resolved,
            route.repeat_interval_ms,
            integration.send_resolved,
        );
        if !reason.is_due() {
            return false;
        }
        let message_id = log::message_id(&log_key, last.as_ref(), &firing, &resolved);
        if !integration.send_resolved && firing.is_empty() {
            // Nothing to say, but the log must forget that they fired.
            let entry = log_entry(now_ms, route.repeat_interval_ms, &group_key, &name, message_id, firing, resolved);
            effects.changes.push(persist::put_log(&entry));
            effects.durable = true;
            self.log.finish(entry);
            return false;
        }
        let alerts: Vec<ToldAlert> = told
            .iter()
            .map(|alert| ToldAlert { alert: Arc::clone(alert), resolved: alert.is_resolved_at(now_ms) })
            .filter(|told| integration.send_resolved || !told.resolved)
            .collect();
        let record = self.begin_record(now_ms, id, route, integration, &alerts, reason, &message_id, effects);
        let intent = Intent { group_key: group_key.clone(), receiver: name, message_id: message_id.clone(), since_ms: now_ms };
        effects.changes.push(persist::put_intent(&intent));
        effects.durable = true;
        self.log.begin(intent);
        effects.others.push(Effect::Deliver(Arc::new(Delivery {
            record,
            group: id.clone(),
            group_key,
            receiver: Arc::clone(receiver),
            integration: integration.clone(),
            alerts,
            firing,
            resolved,
            due: reason,
            repeat_interval_ms: route.repeat_interval_ms,
            at_ms: now_ms,
            deadline_ms: now_ms.saturating_add(route.group_interval_ms.max(DELIVERY_TIME_MIN_MS)),
            message_id,
            route_labels: route.labels.clone(),
        })));
        true
    }

    /// Opens a record, or goes on with that of the same message.
    #[expect(clippy::too_many_arguments, reason = "one step of a flush; a struct for it would have no other use")]
    fn begin_record(
        &mut self,
        now_ms: i64,
        id: &GroupId,
        route: &Route,
        integration: &Integration,
        alerts: &[ToldAlert],
        reason: Due,
        message_id: &str,
        effects: &mut Effects,
    ) -> u64 {
        if let Some(before) = self.history.unfinished(message_id).map(|record| record.id) {
            let again = self.history.update(before, |record| {
                record.state = RecordState::Sending;
                record.updated_at_ms = now_ms;
            });
            effects.changes.extend(again.map(|record| persist::put_record(&record)));
            return before;
        }
        let total = alerts.len();
        let alerts: Vec<RecordAlert> =
            alerts.iter().take(RECORD_ALERTS_MAX).map(|told| record_alert(&told.alert, told.resolved)).collect();
        let record = Record {
            state: RecordState::Sending,
            why: reason.as_str().to_owned(),
            integration: format!("{}/{}", integration.kind, integration.index),
            message_id: message_id.to_owned(),
            alerts_total: total,
            ..blank_record(now_ms, route, &id.labels, alerts)
        };
        self.add_record(record, effects)
    }

    /// Notes an attempt that did not work and will be repeated.
    pub fn attempted(&mut self, now_ms: i64, record: u64, words: &str) -> Vec<Effect> {
        let updated = self.history.update(record, |record| note_attempt(record, now_ms, words));
        let changes: Vec<Change> = updated.map(|record| persist::put_record(&record)).into_iter().collect();
        Effects { changes, ..Effects::default() }.finish()
    }

    /// Notes what the message looks like.
    pub fn rendered(&mut self, record: u64, subject: &str, has_content: bool, warnings: &[String]) {
        self.history.update(record, |record| {
            subject.clone_into(&mut record.subject);
            record.has_content = has_content;
            record.warnings = warnings.to_vec();
        });
    }

    /// Takes the end of a delivery: the log learns of it, and the flush ends with its last delivery.
    pub fn delivered(&mut self, now_ms: i64, report: &DeliveryReport) -> Vec<Effect> {
        let mut effects = Effects::default();
        let delivery = &report.delivery;
        let name = delivery.receiver.log_name(&delivery.integration);
        if report.worked {
            let (firing, resolved) = (delivery.firing.clone(), delivery.resolved.clone());
            let id = delivery.message_id.clone();
            let entry = log_entry(now_ms, delivery.repeat_interval_ms, &delivery.group_key, &name, id, firing, resolved);
            effects.changes.push(persist::put_log(&entry));
            effects.changes.push(persist::delete_intent(&log::key(&entry.group_key, &entry.receiver)));
            self.log.finish(entry);
        } else if report.refused {
            let log_key = log::key(&delivery.group_key, &name);
            effects.changes.push(persist::delete_intent(&log_key));
            self.log.give_up(&log_key);
        }
        effects.durable = true;
        let updated = self.history.update(delivery.record, |record| {
            note_attempt(record, now_ms, &report.words);
            record.state = if report.worked { RecordState::Sent } else { RecordState::Failed };
            record.recipients.clone_from(&report.recipients);
            for warning in &report.warnings {
                if !record.warnings.contains(warning) {
                    record.warnings.push(warning.clone());
                }
            }
        });
        effects.changes.extend(updated.map(|record| persist::put_record(&record)));
        let ended = self.groups.get_mut(&delivery.group).and_then(|group| group.delivered(report.worked));
        if let Some(flushing) = ended {
            self.finish_flush(&delivery.group, &flushing);
        }
        effects.finish()
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

    /// Takes silences and log entries that other members made.
    pub fn learn(&mut self, silences: Vec<Silence>, entries: Vec<LogEntry>) -> Vec<Effect> {
        let mut effects = Effects::default();
        for silence in silences {
            let change = persist::put_silence(&silence);
            if self.silences.restore(silence) {
                effects.changes.push(change);
            }
        }
        for entry in entries {
            let change = persist::put_log(&entry);
            if self.log.restore(entry) {
                effects.changes.push(change);
            }
        }
        effects.finish()
    }
}

fn log_entry(
    now_ms: i64,
    repeat_interval_ms: i64,
    group_key: &str,
    receiver: &str,
    message_id: String,
    firing: BTreeSet<u64>,
    resolved: BTreeSet<u64>,
) -> LogEntry {
    LogEntry {
        group_key: group_key.to_owned(),
        receiver: receiver.to_owned(),
        told: LastTold { firing, resolved, at_ms: now_ms },
        expires_at_ms: log::expiry_ms(now_ms, repeat_interval_ms),
        message_id,
    }
}

fn note_attempt(record: &mut Record, now_ms: i64, words: &str) {
    record.updated_at_ms = now_ms;
    record.attempt_count += 1;
    if record.attempts.len() == ATTEMPTS_MAX {
        record.attempts.remove(0);
    }
    record.attempts.push(Attempt { at_ms: now_ms, outcome: words.to_owned() });
}

fn record_alert(alert: &StoredAlert, resolved: bool) -> RecordAlert {
    RecordAlert { fingerprint: alert.fingerprint, labels: alert.labels.clone(), resolved }
}

fn blank_record(now_ms: i64, route: &Route, labels: &Labels, mut alerts: Vec<RecordAlert>) -> Record {
    let alerts_total = alerts.len();
    alerts.truncate(RECORD_ALERTS_MAX);
    Record {
        id: 0,
        at_ms: now_ms,
        updated_at_ms: now_ms,
        state: RecordState::NotSent,
        why: String::new(),
        receiver: route.receiver.clone(),
        integration: String::new(),
        group_key: route.group_key(labels),
        group_labels: labels.clone(),
        alerts,
        alerts_total,
        subject: String::new(),
        message_id: String::new(),
        attempt_count: 0,
        attempts: Vec::new(),
        recipients: Vec::new(),
        warnings: Vec::new(),
        has_content: false,
    }
}
