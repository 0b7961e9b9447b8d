//! Webhooks: a POST of Alertmanager's JSON, version 4, or of the payload that is configured.

use super::template_data::{common, status};
use super::writer::Writer;
use super::{Accepted, Failure, Notifier, WebhookTarget};
use crate::alerting::http;
use crate::alerting::machine::{Delivery, ToldAlert};
use crate::alerting::persist::labels_json;
use ::http::HeaderMap;
use serde_json::{Value, json};
use std::time::Duration;

/// Writes a time as RFC 3339 with milliseconds; `None` is Go's zero time.
#[must_use]
pub fn rfc3339(at_ms: Option<i64>) -> String {
    match at_ms {
        None => "0001-01-01T00:00:00Z".to_owned(),
        Some(at_ms) => crate::template::Time::from_ms(at_ms).format("2006-01-02T15:04:05.000Z07:00"),
    }
}

fn alert_json(told: &ToldAlert) -> Value {
    let alert = &told.alert;
    json!({
        "status": if told.resolved { "resolved" } else { "firing" },
        "labels": labels_json(&alert.labels),
        "annotations": labels_json(&alert.annotations),
        "startsAt": rfc3339(Some(alert.starts_at_ms)),
        "endsAt": rfc3339(told.resolved.then_some(alert.ends_at_ms)),
        "generatorURL": alert.generator_url,
        "fingerprint": format!("{:016x}", alert.fingerprint),
    })
}

/// Renders the body, and says what went wrong.
#[must_use]
pub fn render(notifier: &Notifier, target: &WebhookTarget, delivery: &Delivery) -> (Vec<u8>, Vec<String>) {
    if let Some(payload) = &target.payload {
        let mut writer = Writer::new(notifier, delivery);
        let body = writer.json("the payload", payload);
        return (body.to_string().into_bytes(), writer.notes);
    }
    let most = usize::try_from(target.max_alerts).ok().filter(|most| *most > 0).unwrap_or(usize::MAX);
    let alerts = &delivery.alerts;
    let body = json!({
        "version": "4",
        "groupKey": delivery.group_key,
        "truncatedAlerts": alerts.len().saturating_sub(most),
        "receiver": delivery.receiver.name,
        "status": status(alerts),
        "alerts": alerts.iter().take(most).map(alert_json).collect::<Value>(),
        "groupLabels": labels_json(&delivery.group.labels),
        "commonLabels": labels_json(&common(alerts.iter().map(|told| &told.alert.labels))),
        "commonAnnotations": labels_json(&common(alerts.iter().map(|told| &told.alert.annotations))),
        "externalURL": &*notifier.external_url,
        "notification_reason": delivery.due.as_str(),
    });
    (body.to_string().into_bytes(), Vec::new())
}

/// Tries once: 2xx is acceptance, 5xx and 429 may pass, others stay.
///
/// # Errors
/// What the server or the network said.
pub async fn attempt(notifier: &Notifier, target: &WebhookTarget, body: &[u8]) -> Result<Accepted, Failure> {
    let env = &notifier.env;
    let url = target.url.read(env).await.map_err(|error| Failure::transient(format!("url_file: {error}")))?;
    let limit = Duration::from_millis(if target.timeout_ms == 0 { 30_000 } else { target.timeout_ms });
    let posted = env.clock.timeout(limit, http::post(env, &target.http, &url, HeaderMap::new(), body.to_vec())).await;
    // The address may hold a token: it is not repeated in messages.
    let answer = match posted {
        Ok(answer) => answer.map_err(|words| Failure::transient(words.replace(&url, "<url>")))?,
        Err(elapsed) => return Err(Failure { reason: "contextDeadlineExceeded", ..Failure::transient(elapsed.to_string()) }),
    };
    let words = format!("status code {}: {}", answer.status, answer.body.chars().take(300).collect::<String>());
    match answer.status {
        200..300 => Ok(Accepted { words, recipients: Vec::new() }),
        429 => Err(Failure { reason: "rateLimited", ..Failure::transient(words) }),
        500.. => Err(Failure { reason: "serverError", ..Failure::transient(words) }),
        _ => Err(Failure::permanent(words)),
    }
}
