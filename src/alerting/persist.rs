//! What alerting keeps across a restart, as JSON under keys of the state store.
//!
//! | key | what |
//! | --- | --- |
//! | `alerting/alert/<fingerprint>` | an alert as last posted |
//! | `alerting/silence/<id>` | a silence |
//! | `alerting/group/<hash>` | a group's timer |
//! | `alerting/log/<hash>` | who was last told what |
//! | `alerting/intent/<hash>` | a notification that is going out |
//! | `alerting/record/<number>` | the history for people |
//! | `alerting/ack/<fingerprint>` | who takes care of an alert |
//!
//! An entry that cannot be read is left out with a warning: one bad entry must not keep the others from being told.

use super::ack::Ack;
use super::alerts::StoredAlert;
use super::dedup::{Due, LastTold};
use super::group::{Group, GroupId};
use super::history::{Attempt, RecipientOutcome, Record, RecordAlert, RecordState};
use super::notification_log::{Intent, LogEntry, hex, key};
use crate::model::labels::Labels;
use crate::model::matcher::{MatchOp, Matcher};
use crate::model::silence::Silence;
use crate::state::{Change, State, StateError};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const ALERT: &str = "alerting/alert/";
/// Where silences are.
pub const SILENCE: &str = "alerting/silence/";
const GROUP: &str = "alerting/group/";
/// Where the notification log is.
pub const LOG: &str = "alerting/log/";
const INTENT: &str = "alerting/intent/";
const RECORD: &str = "alerting/record/";
/// Where acknowledgements are.
pub const ACK: &str = "alerting/ack/";

/// A group's timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupTimer {
    /// When to flush next.
    pub next_flush_ms: i64,
    /// Whether it was flushed before.
    pub has_flushed: bool,
}

/// All that was kept.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// Alerts.
    pub alerts: Vec<StoredAlert>,
    /// Silences.
    pub silences: Vec<Silence>,
    /// Timers by group.
    pub groups: BTreeMap<GroupId, GroupTimer>,
    /// The notification log.
    pub log: Vec<LogEntry>,
    /// Notifications that were going out.
    pub intents: Vec<Intent>,
    /// The history.
    pub history: Vec<Record>,
    /// Who takes care of what.
    pub acks: Vec<Ack>,
}

fn put(prefix: &str, name: &str, value: &Value) -> Change {
    Change::Put(format!("{prefix}{name}").into_bytes(), value.to_string().into_bytes())
}

fn delete(prefix: &str, name: &str) -> Change {
    Change::Delete(format!("{prefix}{name}").into_bytes())
}

/// Names the entry of a group and receiver, here and below `notified/`.
#[must_use]
pub fn log_name(log_key: &str) -> String {
    hashed(log_key)
}

fn hashed(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes())[..16])
}

/// Writes labels as a JSON object.
#[must_use]
pub fn labels_json(labels: &Labels) -> Value {
    Value::Object(labels.iter().map(|(name, value)| (name.to_owned(), Value::from(value))).collect())
}

/// Reads labels from a JSON object of strings.
#[must_use]
pub fn labels_of(value: &Value) -> Option<Labels> {
    let pairs = value.as_object()?.iter().map(|(name, value)| value.as_str().map(|value| (name.as_str(), value)));
    Some(Labels::from_pairs(pairs.collect::<Option<Vec<_>>>()?))
}

/// Writes matchers as Alertmanager's API does.
#[must_use]
pub fn matchers_json(matchers: &[Matcher]) -> Value {
    let one = |matcher: &Matcher| {
        let is_regex = matches!(matcher.op(), MatchOp::Regex | MatchOp::NotRegex);
        let is_equal = matches!(matcher.op(), MatchOp::Equal | MatchOp::Regex);
        json!({"name": matcher.name(), "value": matcher.value(), "isRegex": is_regex, "isEqual": is_equal})
    };
    matchers.iter().map(one).collect()
}

/// Reads matchers as Alertmanager's API takes them; `isEqual` is true where absent.
///
/// # Errors
/// When a part is missing or a pattern is not a regular expression.
pub fn matchers_of(value: &Value) -> Result<Vec<Matcher>, String> {
    let one = |matcher: &Value| {
        let text = |name: &str| matcher[name].as_str().ok_or_else(|| format!("{name} in body is required"));
        let is_regex = matcher["isRegex"].as_bool().ok_or("isRegex in body is required")?;
        let op = match (is_regex, matcher["isEqual"].as_bool().unwrap_or(true)) {
            (false, true) => MatchOp::Equal,
            (false, false) => MatchOp::NotEqual,
            (true, true) => MatchOp::Regex,
            (true, false) => MatchOp::NotRegex,
        };
        Matcher::for_alerts(op, text("name")?, text("value")?).map_err(|error| error.to_string())
    };
    value.as_array().ok_or("matchers in body is required")?.iter().map(one).collect()
}

fn int(value: &Value, name: &str) -> Option<i64> {
    value[name].as_i64()
}

fn text(value: &Value, name: &str) -> Option<String> {
    value[name].as_str().map(str::to_owned)
}

fn set_json(set: &BTreeSet<u64>) -> Value {
    set.iter().map(|fingerprint| format!("{fingerprint:016x}")).collect()
}

fn fingerprint_of(value: &Value) -> Option<u64> {
    u64::from_str_radix(value.as_str()?, 16).ok()
}

fn set_of(value: &Value) -> Option<BTreeSet<u64>> {
    value.as_array()?.iter().map(fingerprint_of).collect()
}

/// Writes an alert as JSON, for the state store and for other members.
#[must_use]
pub fn alert_json(alert: &StoredAlert) -> Value {
    json!({
        "labels": labels_json(&alert.labels),
        "annotations": labels_json(&alert.annotations),
        "starts_at_ms": alert.starts_at_ms,
        "ends_at_ms": alert.ends_at_ms,
        "updated_at_ms": alert.updated_at_ms,
        "generator_url": alert.generator_url,
        // As text: JSON has no infinity.
        "value": alert.value.map(crate::model::number::format_g),
        "timeout": alert.timeout,
    })
}

/// Keeps an alert.
#[must_use]
pub fn put_alert(alert: &StoredAlert) -> Change {
    put(ALERT, &format!("{:016x}", alert.fingerprint), &alert_json(alert))
}

/// Reads an alert from its JSON form.
#[must_use]
pub fn alert_of(value: &Value) -> Option<StoredAlert> {
    let labels = labels_of(&value["labels"])?;
    Some(StoredAlert {
        fingerprint: labels.fingerprint(),
        labels,
        annotations: labels_of(&value["annotations"])?,
        starts_at_ms: int(value, "starts_at_ms")?,
        ends_at_ms: int(value, "ends_at_ms")?,
        updated_at_ms: int(value, "updated_at_ms")?,
        generator_url: text(value, "generator_url")?,
        value: value["value"].as_str().and_then(crate::model::number::parse_float),
        timeout: value["timeout"].as_bool()?,
    })
}

/// Forgets an alert.
#[must_use]
pub fn delete_alert(fingerprint: u64) -> Change {
    delete(ALERT, &format!("{fingerprint:016x}"))
}

/// Writes a silence as JSON, for the state store and for other members.
#[must_use]
pub fn silence_json(silence: &Silence) -> Value {
    json!({
        "id": silence.id,
        "matchers": matchers_json(&silence.matchers),
        "starts_at_ms": silence.starts_at_ms,
        "ends_at_ms": silence.ends_at_ms,
        "updated_at_ms": silence.updated_at_ms,
        "created_by": silence.created_by,
        "comment": silence.comment,
        "every": silence.every.as_ref().map(|every| json!({"text": every.text, "time_zone": every.time_zone})),
        "until_resolved": silence.until_resolved,
    })
}

/// Reads a silence from its JSON form.
#[must_use]
pub fn silence_of(value: &Value) -> Option<Silence> {
    let every = &value["every"];
    let every = match every.as_object() {
        None => None,
        Some(_) => Some(super::recurrence::parse(every["text"].as_str()?, every["time_zone"].as_str()?).ok()?),
    };
    Some(Silence {
        id: text(value, "id")?,
        matchers: matchers_of(&value["matchers"]).ok()?,
        starts_at_ms: int(value, "starts_at_ms")?,
        ends_at_ms: int(value, "ends_at_ms")?,
        updated_at_ms: int(value, "updated_at_ms")?,
        created_by: text(value, "created_by")?,
        comment: text(value, "comment")?,
        every,
        until_resolved: value["until_resolved"].as_bool().unwrap_or(false),
    })
}

/// Keeps a silence.
#[must_use]
pub fn put_silence(silence: &Silence) -> Change {
    put(SILENCE, &silence.id, &silence_json(silence))
}

/// Forgets a silence.
#[must_use]
pub fn delete_silence(id: &str) -> Change {
    delete(SILENCE, id)
}

fn group_name(id: &GroupId) -> String {
    hashed(&format!("{}\0{}", id.route_id, id.labels.packed()))
}

/// Keeps a group's timer.
#[must_use]
pub fn put_group(id: &GroupId, group: &Group) -> Change {
    let value = json!({
        "route_id": &*id.route_id,
        "labels": labels_json(&id.labels),
        "next_flush_ms": group.next_flush_ms,
        "has_flushed": group.has_flushed,
    });
    put(GROUP, &group_name(id), &value)
}

fn group_of(value: &Value) -> Option<(GroupId, GroupTimer)> {
    let id = GroupId { route_id: Arc::from(value["route_id"].as_str()?), labels: labels_of(&value["labels"])? };
    let timer = GroupTimer { next_flush_ms: int(value, "next_flush_ms")?, has_flushed: value["has_flushed"].as_bool()? };
    Some((id, timer))
}

/// Forgets a group.
#[must_use]
pub fn delete_group(id: &GroupId) -> Change {
    delete(GROUP, &group_name(id))
}

/// Writes a log entry as JSON, for the state store and for other members.
#[must_use]
pub fn log_json(entry: &LogEntry) -> Value {
    json!({
        "group_key": entry.group_key,
        "receiver": entry.receiver,
        "firing": set_json(&entry.told.firing),
        "resolved": set_json(&entry.told.resolved),
        "at_ms": entry.told.at_ms,
        "expires_at_ms": entry.expires_at_ms,
        "message_id": entry.message_id,
    })
}

/// Reads a log entry from its JSON form.
#[must_use]
pub fn log_of(value: &Value) -> Option<LogEntry> {
    Some(LogEntry {
        group_key: text(value, "group_key")?,
        receiver: text(value, "receiver")?,
        told: LastTold { firing: set_of(&value["firing"])?, resolved: set_of(&value["resolved"])?, at_ms: int(value, "at_ms")? },
        expires_at_ms: int(value, "expires_at_ms")?,
        message_id: text(value, "message_id")?,
    })
}

/// Keeps a log entry.
#[must_use]
pub fn put_log(entry: &LogEntry) -> Change {
    put(LOG, &hashed(&key(&entry.group_key, &entry.receiver)), &log_json(entry))
}

/// Forgets a log entry.
#[must_use]
pub fn delete_log(log_key: &str) -> Change {
    delete(LOG, &hashed(log_key))
}

/// Writes an intent as JSON, for the state store and for other members.
#[must_use]
pub fn intent_json(intent: &Intent) -> Value {
    json!({
        "group_key": intent.group_key,
        "receiver": intent.receiver,
        "message_id": intent.message_id,
        "since_ms": intent.since_ms,
        "due": intent.due.as_str(),
        "firing": set_json(&intent.firing),
        "resolved": set_json(&intent.resolved),
        "owed": set_json(&intent.owed),
    })
}

/// Keeps an intent.
#[must_use]
pub fn put_intent(intent: &Intent) -> Change {
    put(INTENT, &hashed(&key(&intent.group_key, &intent.receiver)), &intent_json(intent))
}

/// Reads an intent from its JSON form.
#[must_use]
pub fn intent_of(value: &Value) -> Option<Intent> {
    Some(Intent {
        group_key: text(value, "group_key")?,
        receiver: text(value, "receiver")?,
        message_id: text(value, "message_id")?,
        since_ms: int(value, "since_ms")?,
        due: Due::from_words(value["due"].as_str()?)?,
        firing: set_of(&value["firing"])?,
        resolved: set_of(&value["resolved"])?,
        // Earlier versions did not write it.
        owed: set_of(&value["owed"]).unwrap_or_default(),
    })
}

/// Forgets an intent.
#[must_use]
pub fn delete_intent(log_key: &str) -> Change {
    delete(INTENT, &hashed(log_key))
}

/// Writes a record as JSON, for the state store and the API.
#[must_use]
pub fn record_json(record: &Record) -> Value {
    let alert = |alert: &RecordAlert| {
        json!({
            "fingerprint": format!("{:016x}", alert.fingerprint),
            "labels": labels_json(&alert.labels),
            "resolved": alert.resolved,
        })
    };
    let attempt = |attempt: &Attempt| json!({"at_ms": attempt.at_ms, "outcome": attempt.outcome});
    let recipient = |recipient: &RecipientOutcome| json!({"address": recipient.address, "code": recipient.code, "message": recipient.message});
    json!({
        "id": record.id,
        "at_ms": record.at_ms,
        "updated_at_ms": record.updated_at_ms,
        "state": record.state.as_str(),
        "why": record.why,
        "receiver": record.receiver,
        "integration": record.integration,
        "group_key": record.group_key,
        "group_labels": labels_json(&record.group_labels),
        "alerts": record.alerts.iter().map(alert).collect::<Value>(),
        "alerts_total": record.alerts_total,
        "subject": record.subject,
        "message_id": record.message_id,
        "attempt_count": record.attempt_count,
        "attempts": record.attempts.iter().map(attempt).collect::<Value>(),
        "recipients": record.recipients.iter().map(recipient).collect::<Value>(),
        "warnings": record.warnings,
        "has_content": record.has_content,
    })
}

fn record_of(value: &Value) -> Option<Record> {
    let alert = |value: &Value| {
        Some(RecordAlert {
            fingerprint: fingerprint_of(&value["fingerprint"])?,
            labels: labels_of(&value["labels"])?,
            resolved: value["resolved"].as_bool()?,
        })
    };
    let attempt = |value: &Value| Some(Attempt { at_ms: int(value, "at_ms")?, outcome: text(value, "outcome")? });
    let recipient = |value: &Value| {
        let code = u16::try_from(value["code"].as_u64()?).ok()?;
        Some(RecipientOutcome { address: text(value, "address")?, code, message: text(value, "message")? })
    };
    Some(Record {
        id: value["id"].as_u64()?,
        at_ms: int(value, "at_ms")?,
        updated_at_ms: int(value, "updated_at_ms")?,
        state: RecordState::from_word(value["state"].as_str()?)?,
        why: text(value, "why")?,
        receiver: text(value, "receiver")?,
        integration: text(value, "integration")?,
        group_key: text(value, "group_key")?,
        group_labels: labels_of(&value["group_labels"])?,
        alerts: value["alerts"].as_array()?.iter().map(alert).collect::<Option<_>>()?,
        alerts_total: usize::try_from(value["alerts_total"].as_u64()?).ok()?,
        subject: text(value, "subject")?,
        message_id: text(value, "message_id")?,
        attempt_count: u32::try_from(value["attempt_count"].as_u64()?).ok()?,
        attempts: value["attempts"].as_array()?.iter().map(attempt).collect::<Option<_>>()?,
        recipients: value["recipients"].as_array()?.iter().map(recipient).collect::<Option<_>>()?,
        warnings: value["warnings"].as_array()?.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        has_content: value["has_content"].as_bool()?,
    })
}

/// Keeps a record of the history.
#[must_use]
pub fn put_record(record: &Record) -> Change {
    put(RECORD, &format!("{:020}", record.id), &record_json(record))
}

/// Forgets a record of the history.
#[must_use]
pub fn delete_record(id: u64) -> Change {
    delete(RECORD, &format!("{id:020}"))
}

/// Writes an acknowledgement as JSON.
#[must_use]
pub fn ack_json(ack: &Ack) -> Value {
    json!({
        "fingerprint": format!("{:016x}", ack.fingerprint),
        "at_ms": ack.at_ms,
        "by": ack.by,
        "comment": ack.comment,
    })
}

/// Reads an acknowledgement from its JSON form.
#[must_use]
pub fn ack_of(value: &Value) -> Option<Ack> {
    Some(Ack {
        fingerprint: fingerprint_of(&value["fingerprint"])?,
        at_ms: int(value, "at_ms")?,
        by: text(value, "by")?,
        comment: text(value, "comment")?,
    })
}

/// Keeps an acknowledgement.
#[must_use]
pub fn put_ack(ack: &Ack) -> Change {
    put(ACK, &format!("{:016x}", ack.fingerprint), &ack_json(ack))
}

/// Forgets an acknowledgement.
#[must_use]
pub fn delete_ack(fingerprint: u64) -> Change {
    delete(ACK, &format!("{fingerprint:016x}"))
}

fn read<T>(state: &dyn State, prefix: &str, of: impl Fn(&Value) -> Option<T>) -> Result<Vec<T>, StateError> {
    let mut all = Vec::new();
    for (key, bytes) in state.scan(prefix.as_bytes())? {
        match serde_json::from_slice(&bytes).ok().and_then(|value| of(&value)) {
            Some(value) => all.push(value),
            None => tracing::warn!(key = %String::from_utf8_lossy(&key), "an entry of the state store cannot be read: left out"),
        }
    }
    Ok(all)
}

/// Reads all that was kept.
///
/// # Errors
/// When the store cannot be read.
pub fn load(state: &dyn State) -> Result<Kept, StateError> {
    Ok(Kept {
        alerts: read(state, ALERT, alert_of)?,
        silences: read(state, SILENCE, silence_of)?,
        groups: read(state, GROUP, group_of)?.into_iter().collect(),
        log: read(state, LOG, log_of)?,
        intents: read(state, INTENT, intent_of)?,
        history: read(state, RECORD, record_of)?,
        acks: read(state, ACK, ack_of)?,
    })
}
