//! Telling a receiver something that is no alert of a group: a test, or a sign of life. Nothing of it is in the notification
//! log, and nothing of it is told again after a crash.

use super::super::alerts::StoredAlert;
use super::super::dedup::Due;
use super::super::group::GroupId;
use super::super::history::{Record, RecordAlert, RecordState};
use super::flush::blank;
use super::{Delivery, Effect, Effects, Machine, ToldAlert};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How long a receiver has to take it.
const TIME_MS: i64 = 30_000;

impl Machine {
    /// Tells a receiver one alert, now, whatever silences and times say. Returns the history's records, one for each of its
    /// integrations, and what is to be done.
    ///
    /// # Errors
    /// When there is no such receiver, or it has no address.
    pub fn tell_directly(
        &mut self,
        now_ms: i64,
        receiver: &str,
        alert: StoredAlert,
        why: &str,
        message_id: &str,
    ) -> Result<(Vec<u64>, Vec<Effect>), String> {
        let setup = Arc::clone(&self.setup);
        let receiver = setup.receivers.get(receiver).ok_or_else(|| {
            let known: Vec<&str> = setup.receivers.keys().map(String::as_str).collect();
            format!("there is no receiver {receiver:?}; there are {}", known.join(", "))
        })?;
        if receiver.integrations.is_empty() {
            return Err(format!("receiver {:?} has no address: it swallows all", receiver.name));
        }
        let (mut effects, mut records) = (Effects::default(), Vec::new());
        let alert = Arc::new(alert);
        let id = GroupId { route_id: Arc::from(why), labels: alert.labels.clone() };
        let group_key = format!("{why}:{}", alert.labels);
        for integration in &receiver.integrations {
            let told = RecordAlert { fingerprint: alert.fingerprint, labels: alert.labels.clone(), resolved: false };
            let message_id = format!("{message_id}-{}", records.len());
            let record = Record {
                state: RecordState::Sending,
                why: why.to_owned(),
                integration: format!("{}/{}", integration.kind, integration.index),
                message_id: message_id.clone(),
                ..blank(now_ms, &receiver.name, &group_key, &alert.labels, vec![told])
            };
            let record = self.add_record(record, &mut effects);
            records.push(record);
            effects.others.push(Effect::Deliver(Arc::new(Delivery {
                record,
                group: id.clone(),
                group_key: group_key.clone(),
                receiver: Arc::clone(receiver),
                integration: integration.clone(),
                alerts: vec![ToldAlert { alert: Arc::clone(&alert), resolved: false, is_known: false, flaps: 0 }],
                firing: BTreeSet::from([alert.fingerprint]),
                resolved: BTreeSet::new(),
                due: Due::First,
                repeat_interval_ms: 0,
                at_ms: now_ms,
                deadline_ms: now_ms.saturating_add(TIME_MS),
                message_id,
                before: Vec::new(),
                route_labels: BTreeMap::new(),
                is_direct: true,
                intent: None,
            })));
        }
        Ok((records, effects.finish()))
    }
}
