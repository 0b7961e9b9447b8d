//! `GET /api/watchkeeper/v1/alerts/{fingerprint}/states`: every change of an alert's state, and `GET alerts/past`: each time an alert
//! fired, as the event history has it.

use super::answer::success_value;
use super::error::{ApiError, ErrorKind};
use super::json::rfc3339;
use super::params::Params;
use super::state::ApiState;
use crate::state::events::{Event, EventLog};
use axum::extract::{Path, State};
use axum::response::Response;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The kind of the history's events.
pub const ALERT_STATE: &str = "alert_state";
/// How far back without `hours`.
const HOURS: i64 = 7 * 24;
/// How many changes are answered, the newest ones.
const CHANGES_MAX: usize = 10_000;
/// How many past alerts are answered without `limit`.
const PAST_MAX: usize = 500;

fn change_json(text: &str) -> Option<Value> {
    let data: Value = serde_json::from_str(text).ok()?;
    Some(json!({
        "at": rfc3339(data["at"].as_i64()),
        "state": data["state"],
        "activeAt": rfc3339(data["activeAt"].as_i64()),
        "value": data["value"],
        "labels": data["labels"],
    }))
}

/// Returns the history, and since when it is asked for.
fn asked(api: &ApiState, params: &Params) -> Result<(Arc<EventLog>, i64), ApiError> {
    let hours = match params.get("hours") {
        "" => HOURS,
        text => text
            .parse::<i64>()
            .ok()
            .filter(|hours| *hours > 0)
            .ok_or_else(|| ApiError::bad_parameter("hours", "must be a number above 0"))?,
    };
    let Some(history) = api.views.history.clone() else {
        return Err(ApiError::new(ErrorKind::Unavailable, "there is no event history"));
    };
    Ok((history, api.env.clock.now_ms().saturating_sub(hours.saturating_mul(3_600_000))))
}

/// `GET alerts/{fingerprint}/states?hours=168`, oldest first.
pub(super) async fn states(
    State(api): State<ApiState>,
    Path(fingerprint): Path<String>,
    params: Params,
) -> Result<Response, ApiError> {
    if fingerprint.len() != 16 || !fingerprint.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(ApiError::bad_parameter("fingerprint", "must be 16 hexadecimal digits"));
    }
    let (history, since_ms) = asked(&api, &params)?;
    let mark = format!("\"fingerprint\":\"{}\"", fingerprint.to_ascii_lowercase());
    let read = move |_| {
        let wanted = |event: &Event| event.kind == ALERT_STATE && event.json.contains(&mark);
        let events = history.read_since(since_ms, CHANGES_MAX, wanted);
        events.map_err(|error| ApiError::new(ErrorKind::Internal, format!("the event history cannot be read: {error}")))
    };
    let events = api.run(api.limits.query_timeout, read).await?;
    Ok(success_value(&events.iter().filter_map(|event| change_json(&event.json)).collect::<Value>()))
}

/// One time an alert fired.
#[derive(Debug, PartialEq)]
struct Fired {
    fingerprint: String,
    labels: Value,
    from_ms: i64,
    /// `None`: it fires still.
    until_ms: Option<i64>,
    value: Value,
}

/// Pairs beginnings with ends; changes come oldest first. An alert that fired before the first of them is left
/// out: when it began is not known here.
fn fired(changes: impl Iterator<Item = Value>) -> Vec<Fired> {
    let mut all: Vec<Fired> = Vec::new();
    let mut open: BTreeMap<String, usize> = BTreeMap::new();
    for change in changes {
        let (Some(fingerprint), Some(at_ms)) = (change["fingerprint"].as_str(), change["at"].as_i64()) else { continue };
        let is_firing = change["state"] == "firing";
        match open.get(fingerprint).copied() {
            // Told again after a start.
            Some(_) if is_firing => {}
            Some(place) => {
                if let Some(begun) = all.get_mut(place) {
                    begun.until_ms = Some(at_ms);
                }
                open.remove(fingerprint);
            }
            None if is_firing => {
                open.insert(fingerprint.to_owned(), all.len());
                all.push(Fired {
                    fingerprint: fingerprint.to_owned(),
                    labels: change["labels"].clone(),
                    from_ms: at_ms,
                    until_ms: None,
                    value: change["value"].clone(),
                });
            }
            None => {}
        }
    }
    all
}

/// `GET alerts/past?hours=168&limit=500`, newest first.
pub(super) async fn past(State(api): State<ApiState>, params: Params) -> Result<Response, ApiError> {
    let (history, since_ms) = asked(&api, &params)?;
    let limit = match params.get("limit") {
        "" => PAST_MAX,
        text => text.parse().map_err(|_| ApiError::bad_parameter("limit", "must be a whole number"))?,
    };
    let read = move |_| {
        let events = history.read_since(since_ms, CHANGES_MAX, |event: &Event| event.kind == ALERT_STATE);
        events.map_err(|error| ApiError::new(ErrorKind::Internal, format!("the event history cannot be read: {error}")))
    };
    let events = api.run(api.limits.query_timeout, read).await?;
    let all = fired(events.iter().filter_map(|event| serde_json::from_str(&event.json).ok()));
    let shown = all.iter().rev().take(limit).map(|fired| {
        json!({
            "fingerprint": fired.fingerprint,
            "labels": fired.labels,
            "from": rfc3339(Some(fired.from_ms)),
            "to": rfc3339(fired.until_ms),
            "value": fired.value,
        })
    });
    Ok(success_value(&shown.collect::<Value>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beginnings_find_their_ends() {
        let change = |at: i64, fingerprint: &str, state: &str| json!({"at": at, "fingerprint": fingerprint, "state": state, "labels": {"a": "b"}, "value": "1"});
        let changes = [
            change(1, "x", "inactive"),
            change(2, "x", "pending"),
            change(3, "x", "firing"),
            change(4, "y", "firing"),
            change(5, "x", "firing"),
            change(6, "x", "inactive"),
            change(7, "x", "firing"),
            json!({"at": "rubbish"}),
        ];
        let all = fired(changes.into_iter());
        let short: Vec<_> = all.iter().map(|fired| (fired.fingerprint.as_str(), fired.from_ms, fired.until_ms)).collect();
        assert_eq!(short, [("x", 3, Some(6)), ("y", 4, None), ("x", 7, None)]);
    }
}
