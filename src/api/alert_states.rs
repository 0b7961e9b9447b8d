//! `GET /api/watchkeeper/v1/alerts/{fingerprint}/states`: every change of an alert's state, as the event history has it.

use super::answer::success_value;
use super::error::{ApiError, ErrorKind};
use super::json::rfc3339;
use super::params::Params;
use super::state::ApiState;
use axum::extract::{Path, State};
use axum::response::Response;
use serde_json::{Value, json};

/// The kind of the history's events.
pub const ALERT_STATE: &str = "alert_state";
/// How far back without `hours`.
const HOURS: i64 = 7 * 24;
/// How many changes are answered, the newest ones.
const CHANGES_MAX: usize = 10_000;

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

/// `GET alerts/{fingerprint}/states?hours=168`, oldest first.
pub(super) async fn states(
    State(api): State<ApiState>,
    Path(fingerprint): Path<String>,
    params: Params,
) -> Result<Response, ApiError> {
    if fingerprint.len() != 16 || !fingerprint.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(ApiError::bad_parameter("fingerprint", "must be 16 hexadecimal digits"));
    }
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
    let since_ms = api.env.clock.now_ms().saturating_sub(hours.saturating_mul(3_600_000));
    let mark = format!("\"fingerprint\":\"{}\"", fingerprint.to_ascii_lowercase());
    let read = move |_| {
        let wanted = |event: &crate::state::events::Event| event.kind == ALERT_STATE && event.json.contains(&mark);
        let events = history.read_since(since_ms, CHANGES_MAX, wanted);
        events.map_err(|error| ApiError::new(ErrorKind::Internal, format!("the event history cannot be read: {error}")))
    };
    let events = api.run(api.limits.query_timeout, read).await?;
    Ok(success_value(&events.iter().filter_map(|event| change_json(&event.json)).collect::<Value>()))
}
