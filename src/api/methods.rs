//! Methods that no handler takes, as Prometheus's router answers them: the preflight of browsers, `OPTIONS`, and 405 with a body
//! and the methods that there are.

use axum::extract::Request;
use axum::http::header::{self, HeaderMap, HeaderValue};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

/// What a page of another site may read: Prometheus's API, as there. What changes something is refused it by its `Origin`
/// (see `access`), whatever the preflight said.
const OPEN: &str = "/api/v1/";

/// The middleware within `access`: who may not ask gets none of it.
pub(super) async fn complete(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let open = path.starts_with(OPEN);
    let told_differently = matches!(path, "/-/reload" | "/-/quit");
    let asks_options = request.method() == Method::OPTIONS;
    let origin = request.headers().get(header::ORIGIN).cloned();
    let mut response = match open && asks_options {
        true => StatusCode::NO_CONTENT.into_response(),
        false => next.run(request).await,
    };
    if response.status() == StatusCode::METHOD_NOT_ALLOWED && !asks_options {
        let body = if told_differently { "Only POST or PUT requests allowed" } else { "Method Not Allowed\n" };
        response = (StatusCode::METHOD_NOT_ALLOWED, body).into_response();
    }
    // What no route takes is answered outside of the API.
    let is_text = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/plain"));
    let missed = is_text && matches!(response.status(), StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED);
    if open && !missed {
        allow_origin(response.headers_mut(), origin);
    }
    response
}

/// The middleware around everything, since routes name their methods on the way out: writes them as Go's router does, and
/// answers `OPTIONS` with them.
pub(super) async fn name(request: Request, next: Next) -> Response {
    let asks_options = request.method() == Method::OPTIONS;
    let mut response = next.run(request).await;
    if response.status() != StatusCode::METHOD_NOT_ALLOWED {
        // A preflight's answer names its methods elsewhere.
        response.headers_mut().remove(header::ALLOW);
        return response;
    }
    if let Ok(methods) = HeaderValue::from_str(&methods(response.headers())) {
        response.headers_mut().insert(header::ALLOW, methods);
    }
    if asks_options {
        *response.status_mut() = StatusCode::OK;
    }
    response
}

fn allow_origin(headers: &mut HeaderMap, origin: Option<HeaderValue>) {
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    let Some(origin) = origin else { return };
    let fixed = [
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "Accept, Authorization, Content-Type, Origin"),
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, OPTIONS"),
        (header::ACCESS_CONTROL_EXPOSE_HEADERS, "Date"),
    ];
    headers.extend(fixed.map(|(name, value)| (name, HeaderValue::from_static(value))));
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
}

/// Writes axum's `GET,HEAD,POST` as Go's router does.
fn methods(headers: &HeaderMap) -> String {
    let there = headers.get_all(header::ALLOW).iter().filter_map(|value| value.to_str().ok());
    let mut all: Vec<&str> = there.flat_map(|list| list.split(',')).map(str::trim).filter(|method| !method.is_empty()).collect();
    all.push("OPTIONS");
    all.sort_unstable();
    all.dedup();
    all.join(", ")
}
