//! `admin/tsdb/*`: deletions.

use super::super::error::{ApiError, ErrorKind};
use super::super::params::Params;
use super::super::state::ApiState;
use super::{matcher_sets, time_range};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

fn no_store() -> ApiError {
    ApiError::new(ErrorKind::Unavailable, "there is no store to act on")
}

pub(in crate::api) async fn delete_series(State(api): State<ApiState>, params: Params) -> Result<Response, ApiError> {
    if params.all("match[]").next().is_none() {
        return Err(ApiError::bad_data("no match[] parameter provided"));
    }
    let sets = matcher_sets(&params)?;
    let range = time_range(&params)?;
    let delete = api.delete_series.clone().ok_or_else(no_store)?;
    api.run(api.limits.query_timeout, move |_| {
        for matchers in &sets {
            delete(matchers, range).map_err(|error| ApiError::new(ErrorKind::Internal, error))?;
        }
        Ok(())
    })
    .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Deleted samples vanish from answers at once and from the disk with the next merge: there is nothing more to do.
pub(in crate::api) async fn clean_tombstones(State(api): State<ApiState>) -> Result<Response, ApiError> {
    if api.store.is_none() {
        return Err(no_store());
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}
