//! `admin/tsdb/*`: deletions and snapshots. From other hosts only with authentication (see `access`).

use super::super::answer::success_value;
use super::super::error::{ApiError, ErrorKind};
use super::super::params::{MAX_TIME_MS, MIN_TIME_MS, Params};
use super::super::state::ApiState;
use super::selectors;
use crate::model::number::quote;
use crate::storage::select::TimeRange;
use crate::storage::{Store, StoreError};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// Runs work on the store; it may take its time, and goes on when the client hangs up.
/// An error tells its cause as well.
pub(in crate::api) async fn act<T: Send + 'static>(
    api: &ApiState,
    work: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, ApiError> {
    let internal = |error: &dyn std::fmt::Display| ApiError::new(ErrorKind::Internal, error.to_string());
    let store = api.store.clone().ok_or_else(|| ApiError::new(ErrorKind::Unavailable, "there is no store to act on"))?;
    let done = api.env.tasks.blocking(move || work(&store)).await.map_err(|error| internal(&error))?;
    done.map_err(|error| match &error {
        StoreError::Io { source, .. } => internal(&format!("{error}: {source}")),
        _ => internal(&error),
    })
}

/// Reads a truth value as Go's `strconv.ParseBool` does; absent: no.
fn flag(params: &Params, name: &str) -> Result<bool, ApiError> {
    match params.get(name) {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "" | "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        other => Err(ApiError::bad_parameter(name, format!("strconv.ParseBool: parsing {}: invalid syntax", quote(other)))),
    }
}

/// Deletes what matches one of the selectors. As in Prometheus a selector may match everything, and a range may be empty.
pub(in crate::api) async fn delete_series(State(api): State<ApiState>, params: Params) -> Result<Response, ApiError> {
    if params.all("match[]").next().is_none() {
        return Err(ApiError::bad_data("no match[] parameter provided"));
    }
    let range = TimeRange { start_ms: params.time("start", MIN_TIME_MS)?, end_ms: params.time("end", MAX_TIME_MS)? };
    let parsed = api.run(api.limits.query_timeout, move |cancel| {
        let named = |parsed: Result<_, _>| parsed.map_err(|error| ApiError::bad_parameter("match[]", error));
        selectors(params.all("match[]"), &cancel).map(named).collect::<Result<Vec<_>, _>>()
    });
    let sets = parsed.await?;
    if range.end_ms < range.start_ms {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    act(&api, move |store| sets.iter().try_for_each(|matchers| store.delete_series(matchers, range))).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Writes blocks anew without what was deleted from them.
pub(in crate::api) async fn clean_tombstones(State(api): State<ApiState>) -> Result<Response, ApiError> {
    act(&api, Store::clean_tombstones).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Makes a snapshot below `snapshots/` in the data directory and names it.
pub(in crate::api) async fn snapshot(State(api): State<ApiState>, params: Params) -> Result<Response, ApiError> {
    let skip_head = flag(&params, "skip_head")?;
    let name = act(&api, move |store| store.snapshot(skip_head)).await?;
    Ok(success_value(&json!({"name": name})))
}
