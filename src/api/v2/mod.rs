//! Alertmanager's HTTP API, `/api/v2`, and what the dashboard wants to know about notifications beyond it.
//!
//! Shapes, parameters and status codes are Alertmanager 0.34's, so that amtool and other dashboards work. Errors come as its
//! generated server writes them: a JSON string where a handler refuses, `{"code":..., "message":...}` where the request does
//! not fit the description.
//!
//! `/api/watchkeeper/v1` besides:
//!
//! | route | what |
//! | --- | --- |
//! | `GET notifications` | the newest notifications, sent and not sent, with reasons |
//! | `GET notifications/{id}` | one of them |
//! | `GET notifications/{id}/html` | its HTML part as it was sent, under a policy of its own |
//! | `GET notifications/{id}/raw` | the message as it was sent |
//! | `POST notifications/test` | tells a receiver a test at once: `{"receiver": "ops"}`; answers with `ids` of notifications |
//! | `POST notifications/{id}/retry` | tries its group again now |
//! | `GET alerts/{fingerprint}/history` | route, notifications and acknowledgement of an alert |
//! | `POST alerts/{fingerprint}/acknowledge` | somebody takes care of it: `{"by": "...", "comment": "..."}` |

mod alerts;
mod groups;
mod notifications;
mod silences;
mod status;

#[cfg(test)]
mod tests;

use super::state::ApiState;
use crate::alerting::AlertingHandle;
use crate::env::Env;
use crate::model::matcher::Matcher;
use crate::model::matcher_text;
use crate::model::regex::Regex;
use crate::model::time_interval::TimeIntervalError;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use jiff::Timestamp;
use serde_json::{Value, json};

/// The largest body: Alertmanager takes any, we want a bound.
const BODY_BYTES_MAX: usize = 16 << 20;

/// What these handlers use.
#[derive(Clone, Debug)]
struct AlertingApi {
    alerting: AlertingHandle,
    env: Env,
    started_ms: i64,
}

/// Returns all routes; none where alerting does not run.
pub(super) fn router(state: &ApiState) -> Router<ApiState> {
    let Some(alerting) = state.views.alerting.clone() else { return Router::new() };
    routes(AlertingApi { alerting, env: state.env.clone(), started_ms: state.started_ms })
}

/// Returns all routes, for any state of the router that they are merged into.
fn routes<S: Clone + Send + Sync + 'static>(api: AlertingApi) -> Router<S> {
    Router::new()
        .route("/api/v2/alerts", get(alerts::list).post(alerts::post))
        .route("/api/v2/alerts/groups", get(groups::list))
        .route("/api/v2/silences", get(silences::list).post(silences::put))
        .route("/api/v2/silence/{id}", get(silences::one).delete(silences::expire))
        .route("/api/v2/receivers", get(status::receivers))
        .route("/api/v2/status", get(status::status))
        .route("/api/watchkeeper/v1/notifications", get(notifications::list))
        .route("/api/watchkeeper/v1/notifications/test", post(notifications::test))
        .route("/api/watchkeeper/v1/notifications/{id}", get(notifications::one))
        .route("/api/watchkeeper/v1/notifications/{id}/html", get(notifications::html))
        .route("/api/watchkeeper/v1/notifications/{id}/raw", get(notifications::raw))
        .route("/api/watchkeeper/v1/notifications/{id}/retry", post(notifications::retry))
        .route("/api/watchkeeper/v1/alerts/{fingerprint}/history", get(notifications::history))
        .route("/api/watchkeeper/v1/alerts/{fingerprint}/acknowledge", post(notifications::acknowledge))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(api)
}

/// Why a request is refused, in the shapes of Alertmanager's generated server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::api) enum Refusal {
    /// A handler refuses: the text as a JSON string.
    Handler(StatusCode, String),
    /// The request does not fit the description.
    Validation(String),
    /// The body is no JSON.
    Body(String),
    /// There is no such thing.
    NotFound,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Handler(status, text) => (status, json_of(&Value::from(text))).into_response(),
            Self::Validation(message) => {
                (StatusCode::UNPROCESSABLE_ENTITY, json_of(&json!({"code": 602, "message": message}))).into_response()
            }
            Self::Body(message) => (StatusCode::BAD_REQUEST, json_of(&json!({"code": 400, "message": message}))).into_response(),
            Self::NotFound => StatusCode::NOT_FOUND.into_response(),
        }
    }
}

fn bad_request(text: impl Into<String>) -> Refusal {
    Refusal::Handler(StatusCode::BAD_REQUEST, text.into())
}

fn json_of(value: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], format!("{value}\n")).into_response()
}

/// Reads a flag that is true where absent.
fn flag(params: &super::Params, name: &str) -> Result<bool, Refusal> {
    match params.get(name) {
        "" | "true" | "1" | "yes" | "ok" | "y" | "on" | "t" | "T" | "TRUE" | "True" => Ok(true),
        "false" | "0" | "no" | "n" | "off" | "f" | "F" | "FALSE" | "False" => Ok(false),
        other => Err(Refusal::Validation(format!("{name} in query must be of type boolean: \"{other}\""))),
    }
}

/// Reads `filter`, which may stand there more than once.
fn filters(params: &super::Params) -> Result<Vec<Matcher>, Refusal> {
    let one = |text| matcher_text::parse_one(text).map_err(|error| bad_request(error.to_string()));
    params.all("filter").map(one).collect()
}

/// Reads `receiver`: a pattern for the whole name.
fn receiver_filter(params: &super::Params) -> Result<Option<Regex>, Refusal> {
    match params.get("receiver") {
        "" => Ok(None),
        pattern => match Regex::new(pattern) {
            Ok(regex) => Ok(Some(regex)),
            Err(error) => Err(bad_request(format!("failed to parse receiver param: {error}"))),
        },
    }
}

/// Returns whether texts by name satisfy all filters. A negative filter for the empty text asks whether the name is there.
fn satisfies<'a>(filters: &[Matcher], value: impl Fn(&str) -> Option<&'a str>) -> bool {
    use crate::model::matcher::MatchOp;
    filters.iter().all(|filter| {
        let found = value(filter.name());
        let asks_presence = filter.value().is_empty()
            && match filter.op() {
                MatchOp::NotEqual | MatchOp::NotRegex => found.is_some(),
                MatchOp::Equal | MatchOp::Regex => found.is_none(),
            };
        asks_presence || filter.matches(found.unwrap_or(""))
    })
}

/// Reads a time of RFC 3339; Go's zero time and what lies around it is 0.
fn parse_time(text: &str) -> Result<i64, TimeIntervalError> {
    let unreadable = || TimeIntervalError(format!("{text:?} is not a time of RFC 3339"));
    let at: Timestamp = match text.parse() {
        Ok(at) => at,
        // What many say for "for ever", 9999-12-31T23:59:59Z, is hours past the last time that a timestamp here holds.
        Err(_) if text.starts_with("9999-12-3") && text.ends_with('Z') => {
            let date_time: Result<jiff::civil::DateTime, _> = text.trim_end_matches('Z').parse();
            date_time.map(|_| Timestamp::MAX).map_err(|_| unreadable())?
        }
        Err(_) => return Err(unreadable()),
    };
    let at_ms = at.as_millisecond();
    Ok(if at_ms < -62_000_000_000_000 { 0 } else { at_ms })
}

/// Writes a time as Alertmanager does: RFC 3339 with milliseconds.
fn time(at_ms: i64) -> String {
    crate::alerting::notify::webhook::rfc3339(Some(at_ms))
}
