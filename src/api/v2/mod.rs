//! Alertmanager's HTTP API, `/api/v2`.
//!
//! Handlers take `State(api): State<ApiState>`; alerting's handle is `api.views.alerting`.

use super::state::ApiState;
use axum::Router;

/// Returns all routes of `/api/v2`.
pub(super) fn router() -> Router<ApiState> {
    Router::new()
}
