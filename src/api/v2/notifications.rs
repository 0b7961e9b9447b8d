//! What became of notifications, for the dashboard.

use super::super::answer::success_value;
use super::{AlertingApi, Refusal, bad_request, time};
use crate::alerting::ack::Ack;
use crate::alerting::alerts::StoredAlert;
use crate::alerting::history::{Record, RecordState};
use crate::alerting::notify::{MailServer, Target};
use crate::alerting::persist::labels_json;
use crate::alerting::view::{AlertView, AlertingView};
use crate::model::labels::{ALERT_NAME, Labels};
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

/// The policy of a mail's page: inline styles and pictures in the mail itself, and nothing else.
const MAIL_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'; sandbox allow-popups allow-popups-to-escape-sandbox";

fn state(record: &Record) -> &'static str {
    match record.state {
        RecordState::Sent if record.integration.starts_with("outbox") => "outbox",
        RecordState::Sending if record.attempt_count > 0 => "retrying",
        RecordState::Sending => "queued",
        RecordState::Sent => "sent",
        RecordState::Partly => "partly",
        RecordState::Failed => "failed",
        RecordState::NotSent => "not_sent",
    }
}

fn record_json(record: &Record) -> Value {
    let to: Vec<&str> = record.recipients.iter().map(|recipient| recipient.address.as_str()).collect();
    let alert = |alert: &crate::alerting::history::RecordAlert| {
        json!({
            "fingerprint": format!("{:016x}", alert.fingerprint),
            "labels": labels_json(&alert.labels),
            "status": if alert.resolved { "resolved" } else { "firing" },
        })
    };
    let last = record.attempts.last().map_or("", |attempt| attempt.outcome.as_str());
    json!({
        "id": record.id.to_string(),
        "at": time(record.at_ms),
        "updatedAt": time(record.updated_at_ms),
        "state": state(record),
        "receiver": record.receiver,
        "integration": record.integration,
        "to": to.join(", "),
        "recipients": record
            .recipients
            .iter()
            .map(|one| json!({"address": one.address, "code": one.code, "message": one.message}))
            .collect::<Value>(),
        "subject": record.subject,
        "attempts": record.attempt_count,
        "attemptLog": record
            .attempts
            .iter()
            .map(|one| json!({"at": time(one.at_ms), "outcome": one.outcome}))
            .collect::<Value>(),
        "reason": if last.is_empty() || record.state == RecordState::NotSent { record.why.as_str() } else { last },
        "why": record.why,
        "warnings": record.warnings,
        "alerts": record.alerts.iter().map(alert).collect::<Value>(),
        "alertsTotal": record.alerts_total,
        "groupKey": record.group_key,
        "groupLabels": labels_json(&record.group_labels),
        "messageId": record.message_id,
        "hasHtml": record.has_content && !record.integration.starts_with("webhook"),
    })
}

fn has_mail_server(view: &AlertingView) -> bool {
    let integrations = view.setup.receivers.values().flat_map(|receiver| &receiver.integrations);
    let mut targets = integrations.map(|integration| &*integration.target);
    targets.any(|target| matches!(target, Target::Email(email) if email.server != MailServer::Outbox))
}

/// `GET notifications`, newest first.
pub(super) async fn list(State(api): State<AlertingApi>) -> Response {
    let view = api.alerting.view();
    let waiting = view.history.iter().filter(|record| state(record) == "outbox").count();
    success_value(&json!({
        "entries": view.history.iter().map(|record| record_json(record)).collect::<Value>(),
        "mailServer": has_mail_server(&view),
        "outboxWaiting": waiting,
        "receivers": view.setup.receivers.values().filter(|one| !one.integrations.is_empty()).map(|one| one.name.as_str()).collect::<Value>(),
        "maySend": view.may_send,
        "configurationError": view.setup_error,
    }))
}

fn find(view: &AlertingView, id: &str) -> Result<std::sync::Arc<Record>, Refusal> {
    let id: u64 = id.parse().map_err(|_| Refusal::NotFound)?;
    view.history.iter().find(|record| record.id == id).cloned().ok_or(Refusal::NotFound)
}

/// `GET notifications/{id}`, with the text of the mail.
pub(super) async fn one(State(api): State<AlertingApi>, Path(id): Path<String>) -> Result<Response, Refusal> {
    let record = find(&api.alerting.view(), &id)?;
    Ok(success_value(&record_json(&record)))
}

/// `GET notifications/{id}/html`.
pub(super) async fn html(State(api): State<AlertingApi>, Path(id): Path<String>) -> Result<Response, Refusal> {
    let record = find(&api.alerting.view(), &id)?;
    let body = api.alerting.content_html(record.id).await.map_err(|_| Refusal::NotFound)?;
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, MAIL_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    Ok((headers, body).into_response())
}

/// `GET notifications/{id}/raw`.
pub(super) async fn raw(State(api): State<AlertingApi>, Path(id): Path<String>) -> Result<Response, Refusal> {
    let record = find(&api.alerting.view(), &id)?;
    let body = api.alerting.content_raw(record.id).await.map_err(|_| Refusal::NotFound)?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], body).into_response())
}

/// `POST notifications/{id}/retry`.
pub(super) async fn retry(State(api): State<AlertingApi>, Path(id): Path<String>) -> Result<Response, Refusal> {
    let record = find(&api.alerting.view(), &id)?;
    match api.alerting.retry(record.id).await {
        Ok(true) => Ok(success_value(&Value::Null)),
        Ok(false) => Err(bad_request("its alert group is gone: there is nothing left to tell")),
        Err(stopped) => Err(Refusal::Handler(StatusCode::SERVICE_UNAVAILABLE, stopped.to_string())),
    }
}

/// `POST notifications/test`: tells a receiver that this is a test.
pub(super) async fn test(State(api): State<AlertingApi>, body: Bytes) -> Result<Response, Refusal> {
    let parsed: Value = serde_json::from_slice(&body).map_err(|error| Refusal::Body(error.to_string()))?;
    let receiver = parsed["receiver"].as_str().unwrap_or("");
    if receiver.is_empty() {
        return Err(Refusal::Validation("receiver in body is required".to_owned()));
    }
    let labels = Labels::from_pairs([(ALERT_NAME, "WatchkeeperTest"), ("severity", "none")]);
    let now_ms = api.env.clock.now_ms();
    let texts = Labels::from_pairs([("summary", "This is a test: nothing is wrong.")]);
    let alert = StoredAlert::direct(now_ms, labels, texts);
    match api.alerting.tell_directly(receiver, alert, "test").await {
        Ok(Ok(records)) => {
            let ids: Vec<String> = records.iter().map(u64::to_string).collect();
            Ok(success_value(&json!({"ids": ids})))
        }
        Ok(Err(why)) => Err(bad_request(why)),
        Err(stopped) => Err(Refusal::Handler(StatusCode::SERVICE_UNAVAILABLE, stopped.to_string())),
    }
}

fn fingerprint(text: &str) -> Result<u64, Refusal> {
    u64::from_str_radix(text, 16).map_err(|_| Refusal::NotFound)
}

fn ack_json(alert: &AlertView) -> Value {
    alert.ack.as_ref().map_or(Value::Null, |ack| json!({"by": ack.by, "at": time(ack.at_ms), "comment": ack.comment}))
}

/// `GET alerts/{fingerprint}/history`.
pub(super) async fn history(State(api): State<AlertingApi>, Path(text): Path<String>) -> Result<Response, Refusal> {
    let fingerprint = fingerprint(&text)?;
    let now_ms = api.env.clock.now_ms();
    let view = api.alerting.view();
    let about = |record: &&std::sync::Arc<Record>| record.alerts.iter().any(|alert| alert.fingerprint == fingerprint);
    let event = |record: &std::sync::Arc<Record>| {
        let (to, state) = (&record.receiver, state(record));
        let words = if record.state == RecordState::NotSent { record.why.clone() } else { record.subject.clone() };
        json!({
            "at": time(record.at_ms),
            "kind": "notification",
            "text": format!("{state} to {to}: {words}"),
            "link": format!("/notifications/{}", record.id),
        })
    };
    let events: Vec<Value> = view.history.iter().rev().filter(about).map(event).collect();
    let Some(alert) = view.alert(fingerprint) else {
        return Ok(success_value(&json!({"spans": [], "events": events})));
    };
    let mut span = json!({"state": "firing", "from": time(alert.alert.starts_at_ms)});
    if alert.alert.is_resolved_at(now_ms) {
        span["to"] = Value::from(time(alert.alert.ends_at_ms));
    }
    if let Some(value) = alert.alert.value {
        span["value"] = Value::from(crate::model::number::format_g(value));
    }
    let groups: Vec<_> = view.groups.iter().filter(|group| group.alerts.contains(&fingerprint)).collect();
    let route = groups.first().map_or(Value::Null, |group| {
        let last = group.told.iter().map(|entry| entry.told.at_ms).max();
        let next = last.map(|last| time(last.saturating_add(group.repeat_interval_ms)));
        let path: Vec<&str> = group.route_id.split('/').collect();
        json!({"path": path, "receiver": group.receiver, "nextRepeat": next, "nextLook": time(group.next_flush_ms), "mutedBy": group.muted_by})
    });
    let mut answer =
        json!({"spans": [span], "events": events, "silencedBy": alert.silenced_by, "inhibitedBy": alert.inhibited_by});
    if !route.is_null() {
        answer["route"] = route;
    }
    if alert.ack.is_some() {
        answer["acknowledged"] = ack_json(alert);
    }
    Ok(success_value(&answer))
}

/// `POST alerts/{fingerprint}/acknowledge`.
pub(super) async fn acknowledge(
    State(api): State<AlertingApi>,
    Path(text): Path<String>,
    body: Bytes,
) -> Result<Response, Refusal> {
    let fingerprint = fingerprint(&text)?;
    let parsed: Value = serde_json::from_slice(&body).map_err(|error| Refusal::Body(error.to_string()))?;
    let word = |name: &str| parsed[name].as_str().unwrap_or("").chars().take(1000).collect::<String>();
    let ack = Ack { fingerprint, at_ms: api.env.clock.now_ms(), by: word("by"), comment: word("comment") };
    if ack.by.is_empty() {
        return Err(Refusal::Validation("by in body is required".to_owned()));
    }
    match api.alerting.acknowledge(ack).await {
        Ok(true) => Ok(success_value(&Value::Null)),
        Ok(false) => Err(Refusal::NotFound),
        Err(stopped) => Err(Refusal::Handler(StatusCode::SERVICE_UNAVAILABLE, stopped.to_string())),
    }
}
