//! `/-/healthy`, `/-/ready`, `/-/reload`, `/-/quit`.

use super::answer::text;
use super::state::ApiState;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

pub(super) async fn healthy() -> Response {
    text("Watchkeeper is Healthy.\n")
}

pub(super) async fn ready(State(api): State<ApiState>) -> Response {
    if !*api.lifecycle.ready.borrow() {
        return unavailable();
    }
    // Reading, rules and notifications go on: still ready, but whoever looks shall see it.
    let failure = api.store.as_ref().and_then(crate::storage::Store::failure);
    text(failure.map_or_else(
        || "Watchkeeper is Ready.\n".to_owned(),
        |failure| format!("Watchkeeper is Ready.\nThe store cannot write, pushed samples are refused: {failure}\n"),
    ))
}

pub(super) async fn reload(State(api): State<ApiState>) -> Response {
    match (api.lifecycle.reload)().await {
        Ok(()) => StatusCode::OK.into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("failed to reload config: {error}\n")).into_response(),
    }
}

pub(super) async fn quit(State(api): State<ApiState>) -> Response {
    (api.lifecycle.quit)();
    text("Requesting termination... Goodbye!\n")
}

fn unavailable() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable\n").into_response()
}

/// Keeps requests for data away until the store can answer them.
pub(super) async fn when_ready(State(api): State<ApiState>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let needs_store = (path.starts_with("/api/v1/") && path != "/api/v1/status/walreplay") || path == "/federate";
    if needs_store && !*api.lifecycle.ready.borrow() {
        return unavailable();
    }
    next.run(request).await
}
