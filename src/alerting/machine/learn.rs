//! What other members made: silences, acknowledgements, and who was told what. So a member that only stands by is ready to
//! go on where another one stopped.

use super::super::ack::Ack;
use super::super::alerts::StoredAlert;
use super::super::fence::{Lessons, Told};
use super::super::group::{Group, GroupId};
use super::super::notification_log as log;
use super::super::persist;
use super::{Effect, Effects, KEEP_RESOLVED_MS, Machine};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How many acknowledgements of unknown alerts are remembered.
const EARLY_ACKS_MAX: usize = 10_000;

impl Machine {
    /// Takes what other members made.
    pub fn learn(&mut self, now_ms: i64, lessons: Lessons) -> Vec<Effect> {
        let mut effects = Effects { durable: true, ..Effects::default() };
        for silence in lessons.silences {
            let change = persist::put_silence(&silence);
            if self.silences.restore(silence) {
                effects.changes.push(change);
            }
        }
        for ack in lessons.acks {
            self.take_ack(ack, &mut effects);
        }
        for alert in lessons.notified.iter().flat_map(|told| &told.firing) {
            self.believe(now_ms, alert, &mut effects);
        }
        if !lessons.notified.is_empty() {
            let key = |(id, group): (&GroupId, &Group)| {
                let route = self.setup.routes.get(group.route)?;
                Some((route.group_key(&id.labels), id.clone()))
            };
            let groups: BTreeMap<String, GroupId> = self.groups.iter().filter_map(key).collect();
            for told in lessons.notified {
                self.learn_told(now_ms, &groups, told, &mut effects);
            }
        }
        effects.finish()
    }

    /// Takes an alert of which somebody was told that it fires, and that nobody told us of: it is believed for `resolve_timeout`, so
    /// that its end is told too.
    fn believe(&mut self, now_ms: i64, alert: &StoredAlert, effects: &mut Effects) {
        let ours = self.alerts.get(alert.fingerprint);
        if ours.is_some_and(|ours| !(ours.timeout && ours.is_resolved_at(now_ms))) {
            return;
        }
        let ends_at_ms = now_ms.saturating_add(self.setup.resolve_timeout_ms);
        self.take(now_ms, StoredAlert { ends_at_ms, updated_at_ms: now_ms, timeout: true, ..alert.clone() }, effects);
    }

    /// Takes an acknowledgement that another member made. It speaks of one event: of an alert that began later it says nothing.
    pub(super) fn take_ack(&mut self, ack: Ack, effects: &mut Effects) {
        match self.alerts.get(ack.fingerprint) {
            None if self.early_acks.len() < EARLY_ACKS_MAX => {
                self.early_acks.insert(ack.fingerprint, ack);
            }
            Some(alert) if alert.starts_at_ms <= ack.at_ms => {
                if self.acks.get(&ack.fingerprint).is_none_or(|ours| ours.at_ms < ack.at_ms) {
                    effects.changes.push(persist::put_ack(&ack));
                    self.acks.insert(ack.fingerprint, ack);
                }
            }
            None | Some(_) => {}
        }
    }

    fn learn_told(&mut self, now_ms: i64, groups: &BTreeMap<String, GroupId>, lesson: Told, effects: &mut Effects) {
        let name = |entry: &Told| match (&entry.told, &entry.sending) {
            (Some(told), _) => Some((told.group_key.clone(), told.receiver.clone())),
            (None, Some(sending)) => Some((sending.group_key.clone(), sending.receiver.clone())),
            (None, None) => None,
        };
        let Some((group_key, receiver)) = name(&lesson) else { return };
        let log_key = log::key(&group_key, &receiver);
        let Some(id) = groups.get(&group_key) else {
            // Kept all the same: the group may come.
            self.learn_entry(&log_key, lesson, effects);
            return;
        };
        if self.groups.get(id).is_some_and(|group| group.flushing.is_some()) {
            // What we are telling ourselves is newer.
            return;
        }
        let was_told = self.learn_entry(&log_key, lesson, effects);
        let resumes = self.log.unsettled(&log_key).is_some();
        let Some(group) = self.groups.get_mut(id) else { return };
        group.resumes |= resumes && self.may_send;
        let interval_ms = self.setup.routes.get(group.route).map_or(0, |route| route.group_interval_ms);
        if was_told {
            // Its timer starts anew, as that of who told it has.
            group.has_flushed = true;
            group.stood_by = false;
            group.next_flush_ms = now_ms.saturating_add(interval_ms);
            effects.changes.push(persist::put_group(id, group));
        }
    }

    /// Takes one entry. Returns whether the receiver was told something that we did not know.
    fn learn_entry(&mut self, log_key: &str, lesson: Told, effects: &mut Effects) -> bool {
        let mut was_told = false;
        if let Some(entry) = lesson.told {
            let change = persist::put_log(&entry);
            was_told = self.log.restore(entry);
            if was_told {
                effects.changes.push(change);
                if self.log.intent(log_key).is_none() {
                    effects.changes.push(persist::delete_intent(log_key));
                }
            }
        }
        let sending = lesson.sending.clone();
        if self.log.learn_sending(log_key, lesson.sending) {
            effects.changes.extend(sending.as_ref().map(persist::put_intent));
        }
        was_told
    }

    /// Lets alerts go that ended long ago and of which nobody believes that they fire: who tells people told that as well.
    pub(super) fn let_go_standing_by(&mut self, now_ms: i64, id: &GroupId) {
        let setup = Arc::clone(&self.setup);
        let Some(group) = self.groups.get(id) else { return };
        let Some(route) = setup.routes.get(group.route) else { return };
        let ended = group
            .members
            .iter()
            .filter_map(|of| self.alerts.get(*of))
            .filter(|alert| alert.is_resolved_at(now_ms) && alert.ends_at_ms.saturating_add(KEEP_RESOLVED_MS) <= now_ms);
        let over: Vec<u64> = ended
            .map(|alert| alert.fingerprint)
            .filter(|fingerprint| !self.is_believed_firing(route, &id.labels, *fingerprint))
            .collect();
        if let Some(group) = self.groups.get_mut(id) {
            for fingerprint in over {
                group.members.remove(&fingerprint);
            }
        }
    }
}
