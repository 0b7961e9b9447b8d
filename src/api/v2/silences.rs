//! `silences` and `silence/{id}`. Beyond Alertmanager's fields: `every` with `timeZone`, `untilResolved`, and `confirm` for one
//! that covers everything for long.

use super::super::Params;
use super::{AlertingApi, Refusal, bad_request, filters, json_of, parse_time, satisfies, time};
use crate::alerting::persist::{matchers_json, matchers_of};
use crate::alerting::recurrence;
use crate::alerting::silence::{COVERS_ALL_MAX_MS, SilenceError, covers_all, listing_order};
use crate::model::silence::Silence;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

/// Texts that people write are bounded.
const TEXT_BYTES_MAX: usize = 16 << 10;
/// The most matchers of one silence.
const MATCHERS_MAX: usize = 64;

fn silence_json(now_ms: i64, silence: &Silence) -> Value {
    let mut value = json!({
        "id": silence.id,
        "status": {"state": silence.state_at(now_ms).as_str()},
        "updatedAt": time(silence.updated_at_ms),
        "comment": silence.comment,
        "createdBy": silence.created_by,
        "endsAt": time(silence.ends_at_ms),
        "matchers": matchers_json(&silence.matchers),
        "startsAt": time(silence.starts_at_ms),
    });
    if let Some(every) = &silence.every {
        value["every"] = Value::from(every.text.as_str());
        value["timeZone"] = Value::from(every.time_zone.as_str());
    }
    if silence.until_resolved {
        value["untilResolved"] = Value::Bool(true);
    }
    value
}

/// `GET /api/v2/silences`.
pub(super) async fn list(State(api): State<AlertingApi>, params: Params) -> Result<Response, Refusal> {
    let filters = filters(&params)?;
    let now_ms = api.env.clock.now_ms();
    let mut silences = api.alerting.silences();
    silences.retain(|silence| {
        let value = |name: &str| {
            silence.matchers.iter().rfind(|matcher| matcher.name() == name).map(crate::model::matcher::Matcher::value)
        };
        satisfies(&filters, value)
    });
    silences.sort_by(|a, b| listing_order(now_ms, a, b));
    let silences: Value = silences.iter().map(|silence| silence_json(now_ms, silence)).collect();
    Ok(json_of(&silences))
}

fn check_id(id: &str) -> Result<(), Refusal> {
    let is_uuid = id.len() == 36
        && id.bytes().enumerate().all(|(at, b)| if matches!(at, 8 | 13 | 18 | 23) { b == b'-' } else { b.is_ascii_hexdigit() });
    if is_uuid { Ok(()) } else { Err(Refusal::Validation(format!("silenceID in path must be of type uuid: \"{id}\""))) }
}

/// `GET /api/v2/silence/{id}`.
pub(super) async fn one(State(api): State<AlertingApi>, Path(id): Path<String>) -> Result<Response, Refusal> {
    check_id(&id)?;
    let view = api.alerting.view();
    let silence = view.silences.iter().find(|silence| silence.id == id).ok_or(Refusal::NotFound)?;
    Ok(json_of(&silence_json(api.env.clock.now_ms(), silence)))
}

fn required<'a>(value: &'a Value, name: &str) -> Result<&'a str, Refusal> {
    let text = value[name].as_str().ok_or_else(|| Refusal::Validation(format!("{name} in body is required")))?;
    if text.len() > TEXT_BYTES_MAX {
        return Err(Refusal::Validation(format!("{name} in body is longer than {TEXT_BYTES_MAX} bytes")));
    }
    Ok(text)
}

fn read(value: &Value) -> Result<Silence, Refusal> {
    let moment = |name: &str| parse_time(required(value, name)?).map_err(|error| Refusal::Validation(error.to_string()));
    let matchers = matchers_of(&value["matchers"]).map_err(|error| bad_request(format!("Failed to create silence: {error}")))?;
    if matchers.len() > MATCHERS_MAX {
        return Err(Refusal::Validation(format!("more than {MATCHERS_MAX} matchers")));
    }
    let every = match value["every"].as_str().filter(|text| !text.is_empty()) {
        None => None,
        Some(text) => {
            let every = recurrence::parse(text, value["timeZone"].as_str().unwrap_or(""));
            Some(every.map_err(|error| bad_request(format!("Failed to create silence: every: {error}")))?)
        }
    };
    Ok(Silence {
        id: value["id"].as_str().unwrap_or("").to_owned(),
        matchers,
        starts_at_ms: moment("startsAt")?,
        ends_at_ms: moment("endsAt")?,
        updated_at_ms: 0,
        created_by: required(value, "createdBy")?.to_owned(),
        comment: required(value, "comment")?.to_owned(),
        every,
        until_resolved: value["untilResolved"].as_bool().unwrap_or(false),
    })
}

/// Refuses a silence that would keep quiet about everything for long, unless it is meant so.
fn check_reach(silence: &Silence, is_meant: bool, now_ms: i64) -> Result<(), Refusal> {
    let length_ms = silence.ends_at_ms.saturating_sub(silence.starts_at_ms.max(now_ms));
    if is_meant || length_ms <= COVERS_ALL_MAX_MS || silence.matchers.is_empty() || !covers_all(&silence.matchers) {
        return Ok(());
    }
    Err(bad_request(format!(
        "failed to create silence: it would keep quiet about every alert, also those that nobody has seen yet, for {}. Name what \
         it is for, make it {} at most, or say that it is meant so (\"confirm\": true, `silence add --confirm`)",
        crate::model::duration::format_ms(length_ms / 1000 * 1000),
        crate::model::duration::format_ms(COVERS_ALL_MAX_MS)
    )))
}

/// `POST /api/v2/silences`: makes one, or changes the one with the given id.
pub(super) async fn put(State(api): State<AlertingApi>, body: Bytes) -> Result<Response, Refusal> {
    let parsed: Value = serde_json::from_slice(&body)
        .map_err(|error| Refusal::Body(format!("parsing silence body from \"\" failed, because {error}")))?;
    let silence = read(&parsed)?;
    check_reach(&silence, parsed["confirm"] == true, api.env.clock.now_ms())?;
    match api.alerting.put_silence(silence).await {
        Ok(id) => Ok(json_of(&json!({"silenceID": id}))),
        Err(error @ SilenceError::NotFound) => Err(Refusal::Handler(StatusCode::NOT_FOUND, error.to_string())),
        Err(error @ SilenceError::NotStored(_)) => Err(Refusal::Handler(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
        Err(error) => Err(bad_request(error.to_string())),
    }
}

/// `DELETE /api/v2/silence/{id}`: ends it.
pub(super) async fn expire(State(api): State<AlertingApi>, Path(id): Path<String>) -> Result<Response, Refusal> {
    check_id(&id)?;
    match api.alerting.expire_silence(&id).await {
        // One that is over already is what was asked for, as Alertmanager answers.
        Ok(()) | Err(SilenceError::AlreadyExpired(_)) => Ok(StatusCode::OK.into_response()),
        Err(SilenceError::NotFound) => Err(Refusal::NotFound),
        Err(error) => Err(Refusal::Handler(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
    }
}
