//! `otlp/v1/metrics`: OTLP/HTTP, protobuf or JSON. What is acknowledged is on disk.

use super::super::state::ApiState;
use super::import::unpacked;
use super::write::{durability, status_of};
use crate::remote::otlp::{self, Encoding};
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

pub(in crate::api) async fn metrics(State(api): State<ApiState>, headers: HeaderMap, body: Bytes) -> Response {
    let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("").trim();
    let kind = text(header::CONTENT_TYPE);
    let (encoding, media) = match kind.split(';').next().unwrap_or("").trim() {
        "application/x-protobuf" => (Encoding::Binary, "application/x-protobuf"),
        "application/json" => (Encoding::Json, "application/json"),
        _ => {
            let message = format!("unsupported content type: {kind}, supported: [application/json, application/x-protobuf]\n");
            return (StatusCode::UNSUPPORTED_MEDIA_TYPE, message).into_response();
        }
    };
    let packed = match text(header::CONTENT_ENCODING) {
        "" | "none" | "identity" => false,
        "gzip" => true,
        other => {
            let message = format!("unsupported compression: {other}. Only \"gzip\" or no compression supported\n");
            return (StatusCode::UNSUPPORTED_MEDIA_TYPE, message).into_response();
        }
    };
    let most = api.limits.body_bytes;
    let (append, durability, now_ms) = (Arc::clone(&api.append), durability(&api), api.env.clock.now_ms());
    let config = api.present_config();
    let done = api.env.tasks.blocking(move || {
        let body =
            if packed { unpacked(&body, most).map_err(|reason| (StatusCode::BAD_REQUEST, reason))? } else { body.to_vec() };
        let done = otlp::receive(encoding, &body, &config.otlp, now_ms, &*append, durability);
        done.map_err(|error| (status_of(&error), error.to_string()))
    });
    let (status, message) = match done.await {
        Ok(Ok(exported)) => match &exported.received.complaint {
            None => {
                let headers = [(header::CONTENT_TYPE, media)];
                return (StatusCode::OK, headers, otlp::answer(encoding, &exported)).into_response();
            }
            Some(complaint) => (StatusCode::BAD_REQUEST, complaint.clone()),
        },
        Ok(Err(refused)) => refused,
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    };
    (status, message + "\n").into_response()
}
