//! `alerts`: what is known, and taking more in.

use super::super::Params;
use super::{AlertingApi, Refusal, bad_request, filters, flag, json_of, parse_time, receiver_filter, satisfies, time};
use crate::alerting::persist::{labels_json, labels_of};
use crate::alerting::view::AlertView;
use crate::model::alert::Alert;
use crate::model::labels::{ALERT_NAME, Labels};
use crate::model::limits;
use crate::model::matcher::Matcher;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

/// The most reasons that one answer gives.
const REASONS_MAX: usize = 20;

/// Which alerts to show.
pub(super) struct Selection {
    active: bool,
    silenced: bool,
    inhibited: bool,
    filters: Vec<Matcher>,
}

impl Selection {
    pub(super) fn of(params: &Params) -> Result<Self, Refusal> {
        // Every alert is processed by the time anyone can ask, so `unprocessed` selects nothing; it is still checked.
        flag(params, "unprocessed")?;
        Ok(Self {
            active: flag(params, "active")?,
            silenced: flag(params, "silenced")?,
            inhibited: flag(params, "inhibited")?,
            filters: filters(params)?,
        })
    }

    pub(super) fn takes(&self, now_ms: i64, view: &AlertView) -> bool {
        let alert = &view.alert;
        alert.ends_at_ms >= now_ms
            && (self.active || view.state() != "active")
            && (self.silenced || view.silenced_by.is_empty())
            && (self.inhibited || view.inhibited_by.is_empty())
            && satisfies(&self.filters, |name| alert.labels.get(name))
    }
}

/// Writes one alert.
pub(super) fn alert_json(view: &AlertView, muted_by: &[String]) -> Value {
    let alert = &view.alert;
    let state = if muted_by.is_empty() { view.state() } else { "suppressed" };
    let receivers: Value = view.receivers.iter().map(|name| json!({"name": name})).collect();
    let mut value = json!({
        "annotations": labels_json(&alert.annotations),
        "endsAt": time(alert.ends_at_ms),
        "fingerprint": format!("{:016x}", alert.fingerprint),
        "receivers": receivers,
        "startsAt": time(alert.starts_at_ms),
        "status": {
            "inhibitedBy": view.inhibited_by,
            "mutedBy": muted_by,
            "silencedBy": view.silenced_by,
            "state": state,
        },
        "updatedAt": time(alert.updated_at_ms),
        "labels": labels_json(&alert.labels),
    });
    if !alert.generator_url.is_empty() {
        value["generatorURL"] = Value::from(alert.generator_url.as_str());
    }
    value
}

/// `GET /api/v2/alerts`.
pub(super) async fn list(State(api): State<AlertingApi>, params: Params) -> Result<Response, Refusal> {
    let selection = Selection::of(&params)?;
    let receiver = receiver_filter(&params)?;
    let now_ms = api.env.clock.now_ms();
    let view = api.alerting.view();
    let fits = |alert: &&AlertView| {
        let by_receiver = receiver.as_ref().is_none_or(|regex| alert.receivers.iter().any(|name| regex.is_match(name)));
        by_receiver && selection.takes(now_ms, alert)
    };
    let alerts: Value = view.alerts.iter().filter(fits).map(|alert| alert_json(alert, &[])).collect();
    Ok(json_of(&alerts))
}

/// Reads an optional time of a posted alert.
fn optional_time(value: &Value, name: &str) -> Result<Option<i64>, String> {
    match &value[name] {
        Value::Null => Ok(None),
        Value::String(text) if text.is_empty() => Ok(None),
        Value::String(text) => match parse_time(text).map_err(|error| error.to_string())? {
            0 => Ok(None),
            at_ms => Ok(Some(at_ms)),
        },
        other => Err(format!("{name} in body must be of type date-time: {other}")),
    }
}

fn read_labels(value: &Value, name: &str) -> Result<Labels, String> {
    match &value[name] {
        Value::Null => Ok(Labels::empty()),
        labels => labels_of(labels).ok_or_else(|| format!("{name} in body must be an object of strings")),
    }
}

fn read_alert(value: &Value, now_ms: i64) -> Result<Alert, String> {
    if !value["labels"].is_object() {
        return Err("labels in body is required".to_owned());
    }
    let labels = read_labels(value, "labels")?;
    if labels.has("") {
        return Err("invalid label set: invalid name \"\"".to_owned());
    }
    Ok(Alert {
        labels,
        annotations: read_labels(value, "annotations")?,
        starts_at_ms: optional_time(value, "startsAt")?.unwrap_or(0),
        ends_at_ms: optional_time(value, "endsAt")?,
        updated_at_ms: now_ms,
        generator_url: value["generatorURL"].as_str().unwrap_or("").to_owned(),
        value: None,
    })
}

/// `POST /api/v2/alerts`: good ones are taken even where others are refused or too large.
pub(super) async fn post(State(api): State<AlertingApi>, body: Bytes) -> Result<Response, Refusal> {
    let parsed: Value = serde_json::from_slice(&body)
        .map_err(|error| Refusal::Body(format!("parsing alerts body from \"\" failed, because {error}")))?;
    let list = parsed.as_array().ok_or_else(|| Refusal::Body("alerts in body must be an array".to_owned()))?;
    let now_ms = api.env.clock.now_ms();
    let read = list.iter().map(|value| read_alert(value, now_ms)).collect::<Result<Vec<_>, _>>();
    let mut alerts = read.map_err(Refusal::Validation)?;
    let mut refused = Vec::new();
    alerts.retain(|alert| {
        let checked = limits::check_alert(&alert.labels, &alert.annotations, &alert.generator_url);
        if let Err(reason) = &checked {
            refused.push(format!("alert {:?}: {reason}", limits::shortened(alert.labels.value(ALERT_NAME))));
        }
        checked.is_ok()
    });
    let posted = if alerts.is_empty() && !refused.is_empty() { Ok(Vec::new()) } else { api.alerting.post(alerts).await };
    match posted {
        Ok(others) if others.is_empty() && refused.is_empty() => Ok(StatusCode::OK.into_response()),
        Ok(others) => {
            refused.extend(others);
            refused.truncate(REASONS_MAX);
            Err(bad_request(refused.join("; ")))
        }
        Err(stopped) => Err(Refusal::Handler(StatusCode::INTERNAL_SERVER_ERROR, stopped.to_string())),
    }
}
