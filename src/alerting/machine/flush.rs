//! What time asks for: a group is looked at, and everybody concerned is told what they do not know yet.
//!
//! A message that was going out when an earlier life ended is sent again as it was, before anything newer: nobody knows whether
//! it was taken, and only the same message with the same id may be told twice.

use super::super::alerts::{StoredAlert, notification_order};
use super::super::dedup::{Due, due};
use super::super::group::{Flushing, Group, GroupId};
use super::super::history::{RECORD_ALERTS_MAX, RecipientOutcome, Record, RecordAlert, RecordState};
use super::super::mute::{self, Mute};
use super::super::notification_log::{self as log, Intent, LogEntry};
use super::super::persist;
use super::super::route::Route;
use super::super::setup::{Integration, Receiver};
use super::outcome::log_entry;
use super::{Delivery, Effect, Effects, MAINTENANCE_MS, Machine, ToldAlert};
use crate::model::labels::Labels;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The shortest time that a notification has for all its attempts: Alertmanager's `notify.MinTimeout`.
const DELIVERY_TIME_MIN_MS: i64 = 10_000;

/// The group and the receiver of a flush.
struct Flush<'a> {
    now_ms: i64,
    id: &'a GroupId,
    route: &'a Route,
    receiver: &'a Arc<Receiver>,
    group_key: String,
}

/// What an integration is to be told.
struct Telling {
    alerts: Vec<ToldAlert>,
    firing: BTreeSet<u64>,
    resolved: BTreeSet<u64>,
    /// What earlier messages were to tell as firing, and could not.
    owed: BTreeSet<u64>,
    due: Due,
    message_id: String,
}

impl Machine {
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
        let idle = self.groups.values().filter(|group| group.flushing.is_none());
        let flushes = idle.map(Group::next_look_ms);
        let silences = self.silences.next_change_ms(now_ms);
        flushes.chain(silences).chain([self.next_maintenance_ms]).min().unwrap_or(now_ms)
    }

    fn flush(&mut self, now_ms: i64, id: &GroupId, effects: &mut Effects) {
        let Some(group) = self.groups.get_mut(id) else { return };
        let setup = Arc::clone(&self.setup);
        let Some(route) = setup.routes.get(group.route) else { return };
        let resumes = std::mem::take(&mut group.resumes);
        // Otherwise only an alert has become late.
        let is_regular = !resumes && group.next_flush_ms <= now_ms;
        if is_regular {
            group.next_flush_ms = now_ms.saturating_add(route.group_interval_ms);
        }
        group.next_escalation_ms = i64::MAX;
        if group.members.is_empty() {
            return;
        }
        if !self.may_send {
            group.stood_by = true;
            self.let_go_standing_by(now_ms, id);
            return;
        }
        let to = |receiver| Flush { now_ms, id, route, receiver, group_key: route.group_key(&id.labels) };
        if resumes {
            self.note_next_escalation(now_ms, id, route);
            let mut pending = 0;
            for receiver in setup.told_by(route) {
                for integration in &receiver.integrations {
                    pending += usize::from(self.tell_again(&to(receiver), integration, effects));
                }
            }
            // What has ended since stays in the group: the message does not say so.
            self.begin_flush(id, Flushing { pending, failed: false, resolved: Vec::new() });
            return;
        }
        if is_regular {
            group.has_flushed = true;
            effects.changes.push(persist::put_group(id, group));
        }
        let mut alerts: Vec<Arc<StoredAlert>> =
            group.members.iter().filter_map(|fingerprint| self.alerts.get(*fingerprint)).cloned().collect();
        alerts.sort_by(|a, b| notification_order(&a.labels, &b.labels));
        let ended = alerts.iter().filter(|alert| self.is_over(now_ms, alert));
        let mut resolved: Vec<(u64, i64)> = ended.map(|alert| (alert.fingerprint, alert.updated_at_ms)).collect();

        let route_mute = mute::route_muted(now_ms, route, &setup.intervals);
        let sifted = mute::sift(now_ms, alerts, route_mute.as_ref(), &self.inhibitor, &self.silences);
        self.note_muted(now_ms, id, route, &sifted.muted, effects);
        let mut pending = 0;
        for receiver in setup.told_by(route) {
            let is_escalation = receiver.name != route.receiver;
            if !is_regular && !is_escalation {
                resolved.clear();
                continue;
            }
            let flush = to(receiver);
            for integration in &receiver.integrations {
                if self.tell_again(&flush, integration, effects) {
                    pending += 1;
                    resolved.clear();
                    continue;
                }
                let late = is_escalation.then(|| self.late(&flush, integration, &sifted.told));
                let told = late.as_deref().unwrap_or(&sifted.told);
                if !told.is_empty() {
                    pending += usize::from(self.tell(&flush, integration, told, is_escalation, effects));
                }
            }
        }
        self.note_next_escalation(now_ms, id, route);
        self.begin_flush(id, Flushing { pending, failed: false, resolved });
    }

    /// Picks what somebody hears of to whom a route escalates: what has fired for long without an acknowledgement, and what
    /// they were told before.
    fn late(&self, flush: &Flush<'_>, integration: &Integration, told: &[Arc<StoredAlert>]) -> Vec<Arc<StoredAlert>> {
        let log_key = log::key(&flush.group_key, &flush.receiver.log_name(integration));
        let last = self.log.get(flush.now_ms, &log_key);
        let intent = self.log.intent(&log_key);
        let is_late = |alert: &StoredAlert| {
            !alert.is_resolved_at(flush.now_ms)
                && !self.acks.contains_key(&alert.fingerprint)
                && flush.route.late_at(alert).is_some_and(|late_ms| late_ms <= flush.now_ms)
        };
        let knows = |fingerprint: u64| {
            last.is_some_and(|entry| entry.told.firing.contains(&fingerprint))
                || intent.is_some_and(|intent| intent.firing.contains(&fingerprint) || intent.owed.contains(&fingerprint))
        };
        told.iter().filter(|alert| is_late(alert) || knows(alert.fingerprint)).cloned().collect()
    }

    /// Notes when the next alert of a group becomes late.
    fn note_next_escalation(&mut self, now_ms: i64, id: &GroupId, route: &Route) {
        if route.escalate.is_none() {
            return;
        }
        let Some(group) = self.groups.get_mut(id) else { return };
        let firing = group.members.iter().filter_map(|fingerprint| self.alerts.get(*fingerprint));
        let firing = firing.filter(|alert| !alert.is_resolved_at(now_ms));
        let late = firing.filter_map(|alert| route.late_at(alert)).filter(|late_ms| *late_ms > now_ms);
        group.next_escalation_ms = late.min().unwrap_or(i64::MAX);
    }

    fn begin_flush(&mut self, id: &GroupId, flushing: Flushing) {
        if flushing.pending == 0 {
            self.finish_flush(id, &flushing);
        } else if let Some(group) = self.groups.get_mut(id) {
            group.flushing = Some(flushing);
        }
    }

    /// Ends a flush: ended alerts that everybody heard of leave the group.
    pub(super) fn finish_flush(&mut self, id: &GroupId, flushing: &Flushing) {
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

    pub(super) fn add_record(&mut self, record: Record, effects: &mut Effects) -> u64 {
        let record = self.history.add(record);
        effects.changes.push(persist::put_record(&record));
        self.trim_history(effects);
        record.id
    }

    /// Lets the oldest records go beyond the history's bound, with what was kept of their mails.
    pub(super) fn trim_history(&mut self, effects: &mut Effects) {
        let gone = self.history.trim();
        if !gone.is_empty() {
            effects.changes.extend(gone.iter().map(|id| persist::delete_record(*id)));
            effects.others.push(Effect::DropContent(gone));
        }
    }

    /// Sends again what was going out when an earlier life ended, exactly as it was. Returns whether there is such a message.
    fn tell_again(&mut self, flush: &Flush<'_>, integration: &Integration, effects: &mut Effects) -> bool {
        let log_key = log::key(&flush.group_key, &flush.receiver.log_name(integration));
        let Some(intent) = self.log.unsettled(&log_key).cloned() else { return false };
        let last = self.log.get(flush.now_ms, &log_key);
        let of = |set: &BTreeSet<u64>, resolved: bool| -> Option<Vec<ToldAlert>> {
            let told = |fingerprint: &u64| {
                self.alerts.get(*fingerprint).map(|alert| self.told_alert(flush.now_ms, alert, resolved, last))
            };
            set.iter().map(told).collect()
        };
        let (Some(mut alerts), Some(ended)) = (of(&intent.firing, false), of(&intent.resolved, true)) else {
            // It cannot be made again. What is known now is told instead.
            self.log.settle(&log_key);
            return false;
        };
        let is_owed = |told: &ToldAlert| intent.owed.contains(&told.alert.fingerprint);
        alerts.extend(ended.into_iter().filter(|told| integration.send_resolved || is_owed(told)));
        alerts.sort_by(|a, b| notification_order(&a.alert.labels, &b.alert.labels));
        let Intent { message_id, due, firing, resolved, owed, .. } = intent;
        self.send(flush, integration, Telling { alerts, firing, resolved, owed, due, message_id }, effects);
        true
    }

    /// Decides whether an integration must hear of the group, and asks for the delivery. Returns whether one is on its way.
    fn tell(
        &mut self,
        flush: &Flush<'_>,
        integration: &Integration,
        told: &[Arc<StoredAlert>],
        is_escalation: bool,
        effects: &mut Effects,
    ) -> bool {
        let now_ms = flush.now_ms;
        let repeat_interval_ms = flush.route.repeat_interval_ms;
        let name = flush.receiver.log_name(integration);
        let log_key = log::key(&flush.group_key, &name);
        let (resolved, firing): (BTreeSet<u64>, BTreeSet<u64>) = {
            // What somebody was told to have ended has ended, however often it came and went: another member may not know how often.
            let last = self.log.get(now_ms, &log_key).map(|entry| &entry.told);
            let told_ended = |of: u64| last.is_some_and(|last| last.resolved.contains(&of) && !last.firing.contains(&of));
            let (ended, lasting): (Vec<_>, Vec<_>) = told.iter().partition(|alert| {
                self.is_over(now_ms, alert) || (alert.is_resolved_at(now_ms) && told_ended(alert.fingerprint))
            });
            (ended.iter().map(|alert| alert.fingerprint).collect(), lasting.iter().map(|alert| alert.fingerprint).collect())
        };
        let last = self.log.get(now_ms, &log_key);
        let mut reason =
            due(now_ms, last.map(|entry| &entry.told), &firing, &resolved, repeat_interval_ms, integration.send_resolved);
        let message_id = log::message_id(&log_key, last, &firing, &resolved);
        // What was to be told, could not be, and is over: told once all the same, however often that fails.
        let told_firing = |fingerprint: &u64| last.is_some_and(|entry| entry.told.firing.contains(fingerprint));
        let owed: BTreeSet<u64> = self.log.intent(&log_key).map_or_else(BTreeSet::new, |intent| {
            intent.firing.union(&intent.owed).filter(|one| !firing.contains(one) && !told_firing(one)).copied().collect()
        });
        let missed: BTreeSet<u64> = owed.intersection(&resolved).copied().collect();
        if !missed.is_empty() && (!reason.is_due() || (firing.is_empty() && !integration.send_resolved)) {
            reason = Due::EndedUntold;
        }
        if is_escalation && matches!(reason, Due::First | Due::NewFiring) {
            reason = Due::Escalated;
        }
        if !reason.is_due() {
            return false;
        }
        if !integration.send_resolved && firing.is_empty() && missed.is_empty() {
            // Nothing to say, but the log must forget that they fired.
            let entry = log_entry(now_ms, repeat_interval_ms, &flush.group_key, &name, message_id, firing, resolved);
            effects.changes.push(persist::put_log(&entry));
            effects.changes.push(persist::delete_intent(&log_key));
            effects.durable = true;
            self.log.finish(entry);
            return false;
        }
        let alerts: Vec<ToldAlert> = told
            .iter()
            .map(|alert| self.told_alert(now_ms, alert, resolved.contains(&alert.fingerprint), last))
            .filter(|told| integration.send_resolved || !told.resolved || missed.contains(&told.alert.fingerprint))
            .collect();
        self.send(flush, integration, Telling { alerts, firing, resolved, owed, due: reason, message_id }, effects);
        true
    }

    /// Writes down that a message goes out, and lets it go.
    fn send(&mut self, flush: &Flush<'_>, integration: &Integration, telling: Telling, effects: &mut Effects) {
        let now_ms = flush.now_ms;
        let (record, before) = self.begin_record(flush, integration, &telling, effects);
        let Telling { alerts, firing, resolved, owed, due, message_id } = telling;
        let intent = Intent {
            group_key: flush.group_key.clone(),
            receiver: flush.receiver.log_name(integration),
            message_id: message_id.clone(),
            since_ms: now_ms,
            due,
            firing: firing.clone(),
            resolved: resolved.clone(),
            owed,
        };
        effects.changes.push(persist::put_intent(&intent));
        effects.durable = true;
        self.log.begin(intent.clone());
        effects.others.push(Effect::Deliver(Arc::new(Delivery {
            record,
            group: flush.id.clone(),
            group_key: flush.group_key.clone(),
            receiver: Arc::clone(flush.receiver),
            integration: integration.clone(),
            alerts,
            firing,
            resolved,
            due,
            repeat_interval_ms: flush.route.repeat_interval_ms,
            at_ms: now_ms,
            deadline_ms: now_ms.saturating_add(flush.route.group_interval_ms.max(DELIVERY_TIME_MIN_MS)),
            message_id,
            before,
            route_labels: flush.route.labels.clone(),
            is_direct: false,
            intent: Some(intent),
        })));
    }

    fn told_alert(&self, now_ms: i64, alert: &Arc<StoredAlert>, resolved: bool, last: Option<&LogEntry>) -> ToldAlert {
        let is_known = last.is_some_and(|entry| {
            let told = if resolved { &entry.told.resolved } else { &entry.told.firing };
            told.contains(&alert.fingerprint)
        });
        let flaps = self.flapping.times(now_ms, alert.fingerprint);
        ToldAlert { alert: Arc::clone(alert), resolved, is_known, flaps }
    }

    /// Opens a record, or goes on with that of the same message; then what its recipients said before comes with it.
    fn begin_record(
        &mut self,
        flush: &Flush<'_>,
        integration: &Integration,
        telling: &Telling,
        effects: &mut Effects,
    ) -> (u64, Vec<RecipientOutcome>) {
        let now_ms = flush.now_ms;
        if let Some(before) = self.history.unfinished(&telling.message_id).map(|record| record.id) {
            let again = self.history.update(before, |record| {
                record.state = RecordState::Sending;
                record.updated_at_ms = now_ms;
            });
            let recipients = again.as_ref().map(|record| record.recipients.clone()).unwrap_or_default();
            effects.changes.extend(again.map(|record| persist::put_record(&record)));
            return (before, recipients);
        }
        let alerts: Vec<RecordAlert> =
            telling.alerts.iter().take(RECORD_ALERTS_MAX).map(|told| record_alert(&told.alert, told.resolved)).collect();
        let record = Record {
            state: RecordState::Sending,
            why: telling.due.as_str().to_owned(),
            integration: format!("{}/{}", integration.kind, integration.index),
            message_id: telling.message_id.clone(),
            alerts_total: telling.alerts.len(),
            receiver: flush.receiver.name.clone(),
            ..blank_record(now_ms, flush.route, &flush.id.labels, alerts)
        };
        (self.add_record(record, effects), Vec::new())
    }
}

fn record_alert(alert: &StoredAlert, resolved: bool) -> RecordAlert {
    RecordAlert { fingerprint: alert.fingerprint, labels: alert.labels.clone(), resolved }
}

fn blank_record(now_ms: i64, route: &Route, labels: &Labels, alerts: Vec<RecordAlert>) -> Record {
    blank(now_ms, &route.receiver, &route.group_key(labels), labels, alerts)
}

/// Returns a record that says nothing yet.
pub(super) fn blank(now_ms: i64, receiver: &str, group_key: &str, labels: &Labels, mut alerts: Vec<RecordAlert>) -> Record {
    let alerts_total = alerts.len();
    alerts.truncate(RECORD_ALERTS_MAX);
    Record {
        id: 0,
        at_ms: now_ms,
        updated_at_ms: now_ms,
        state: RecordState::NotSent,
        why: String::new(),
        receiver: receiver.to_owned(),
        integration: String::new(),
        group_key: group_key.to_owned(),
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
