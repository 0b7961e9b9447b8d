//! What became of deliveries: attempts, and their end.

use super::super::dedup::LastTold;
use super::super::fence::STOOD_DOWN;
use super::super::history::{ATTEMPTS_MAX, Attempt, RecipientOutcome, Record, RecordState};
use super::super::notification_log::{self as log, LogEntry};
use super::super::persist;
use super::{DeliveryReport, Effect, Effects, Machine};
use crate::state::Change;
use std::collections::BTreeSet;

/// How long who still tells people waits after it stood down from one message.
const LOOK_AGAIN_MS: i64 = 1000;

impl Machine {
    /// Notes an attempt that did not work and will be repeated. Who has the message already is remembered with it.
    pub fn attempted(&mut self, now_ms: i64, record: u64, words: &str, recipients: &[RecipientOutcome]) -> Vec<Effect> {
        let updated = self.history.update(record, |record| {
            note_attempt(record, now_ms, words);
            if !recipients.is_empty() {
                record.recipients = recipients.to_vec();
            }
        });
        let changes: Vec<Change> = updated.map(|record| persist::put_record(&record)).into_iter().collect();
        // Without this on disk somebody would get the message again after a crash.
        let durable = recipients.iter().any(RecipientOutcome::has_it);
        Effects { changes, durable, ..Effects::default() }.finish()
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
        let mut effects = Effects { durable: true, ..Effects::default() };
        let delivery = &report.delivery;
        let name = delivery.receiver.log_name(&delivery.integration);
        if report.worked && !delivery.is_direct {
            let (firing, resolved) = (delivery.firing.clone(), delivery.resolved.clone());
            let id = delivery.message_id.clone();
            let entry = log_entry(now_ms, delivery.repeat_interval_ms, &delivery.group_key, &name, id, firing, resolved);
            effects.changes.push(persist::put_log(&entry));
            effects.changes.push(persist::delete_intent(&log::key(&entry.group_key, &entry.receiver)));
            self.log.finish(entry);
        } else if report.reason == STOOD_DOWN {
            // What was announced of it is in ZooKeeper, and comes back from there to whoever tells people next.
            let log_key = log::key(&delivery.group_key, &name);
            self.log.forget_intent(&log_key);
            effects.changes.push(persist::delete_intent(&log_key));
        } else if report.refused && !delivery.is_direct {
            self.log.settle(&log::key(&delivery.group_key, &name));
        }
        let stood_down = report.reason == STOOD_DOWN;
        let updated = self.history.update(delivery.record, |record| {
            note_attempt(record, now_ms, &report.words);
            if !report.recipients.is_empty() {
                record.recipients.clone_from(&report.recipients);
            }
            record.state = match (report.worked, report.recipients.iter().any(RecipientOutcome::is_refused)) {
                (true, false) => RecordState::Sent,
                (true, true) => RecordState::Partly,
                (false, _) if stood_down => RecordState::NotSent,
                (false, _) => RecordState::Failed,
            };
            if stood_down {
                record.why.clone_from(&report.words);
            }
            let refused = report.recipients.iter().filter(|one| report.worked && one.is_refused());
            let refused = refused.map(|one| format!("{} was refused and is not told: {}", one.address, one.message));
            for warning in report.warnings.iter().cloned().chain(refused) {
                if !record.warnings.contains(&warning) {
                    record.warnings.push(warning);
                }
            }
        });
        effects.changes.extend(updated.map(|record| persist::put_record(&record)));
        if report.worked && !delivery.is_direct {
            self.note_later_message(delivery.record, &mut effects);
        }
        self.trim_history(&mut effects);
        if stood_down && let Some(group) = self.groups.get_mut(&delivery.group) {
            // Whoever begins to tell people looks at it at once; where that is still us, a little later.
            group.stood_by = true;
            if self.may_send {
                group.next_flush_ms = now_ms.saturating_add(LOOK_AGAIN_MS);
            }
        }
        let ended = self.groups.get_mut(&delivery.group).and_then(|group| group.delivered(report.worked));
        if let Some(flushing) = ended {
            self.finish_flush(&delivery.group, &flushing);
        }
        effects.finish()
    }

    /// Closes earlier records of the same group and integration that were given up: this message told what they did not.
    fn note_later_message(&mut self, told_by: u64, effects: &mut Effects) {
        for id in self.history.given_up_before(told_by) {
            let closed = self.history.update(id, |record| {
                record.state = RecordState::NotSent;
                record.why = format!("told by a later notification ({told_by})");
            });
            effects.changes.extend(closed.map(|record| persist::put_record(&record)));
        }
    }
}

/// Makes the log's entry of what was told at `now_ms`.
pub(super) fn log_entry(
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
