//! `write`: Remote-Write 1.0. What is acknowledged is on disk.

use super::super::state::ApiState;
use crate::remote::write_v1::{self, Received, WriteError};
use crate::storage::append::{AppendError, Durability};
use crate::telemetry::metrics::Registry;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

fn plain(status: StatusCode, text: impl Into<String>) -> Response {
    let mut text = text.into();
    text.push('\n');
    (status, text).into_response()
}

/// Checks the headers; the error is the answer.
fn check_headers(headers: &HeaderMap) -> Result<(), Box<Response>> {
    let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
    let kind = text(header::CONTENT_TYPE);
    let mut parts = kind.split(';').map(str::trim);
    let media = parts.next().unwrap_or("");
    if !media.is_empty() && media != "application/x-protobuf" {
        let message = format!("expected application/x-protobuf as the first (media) part, got {kind} content-type");
        return Err(Box::new(plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, message)));
    }
    let message = parts.find_map(|part| part.strip_prefix("proto=")).unwrap_or("prometheus.WriteRequest");
    if message != "prometheus.WriteRequest" {
        let text = format!("{message} protobuf message is not accepted by this server; only accepts prometheus.WriteRequest");
        return Err(Box::new(plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, text)));
    }
    let encoding = text(header::CONTENT_ENCODING);
    if !encoding.is_empty() && encoding != "snappy" {
        let text = format!("{encoding} encoding (compression) is not accepted by this server; only snappy is acceptable");
        return Err(Box::new(plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, text)));
    }
    Ok(())
}

pub(in crate::api) async fn write(State(api): State<ApiState>, headers: HeaderMap, body: Bytes) -> Response {
    if let Err(response) = check_headers(&headers) {
        return *response;
    }
    let append = Arc::clone(&api.append);
    let most = api.limits.body_bytes;
    let durability = durability(&api);
    let now_ms = api.env.clock.now_ms();
    let done = api.env.tasks.blocking(move || write_v1::receive(&body, most, now_ms, &*append, durability)).await;
    match done {
        Ok(Ok(received)) => {
            note(&api.registry, &received);
            match received.complaint {
                None => StatusCode::NO_CONTENT.into_response(),
                Some(complaint) => plain(StatusCode::BAD_REQUEST, complaint),
            }
        }
        Ok(Err(error)) => {
            let status = match &error {
                WriteError::Bad(_) => StatusCode::BAD_REQUEST,
                WriteError::Append(AppendError::Limit(_)) => StatusCode::TOO_MANY_REQUESTS,
                // Senders keep what they have and come again.
                WriteError::Append(AppendError::Closed | AppendError::Forgotten | AppendError::Log(_)) => {
                    StatusCode::SERVICE_UNAVAILABLE
                }
            };
            plain(status, error.to_string())
        }
        Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

/// Counts what was left out of a request.
fn note(registry: &Registry, received: &Received) {
    if received.invalid_labels > 0 {
        let name = "watchkeeper_api_remote_write_invalid_labels_samples_total";
        registry.counter(name, "Samples of remote writes whose series has no valid labels.", &[]).add(received.invalid_labels);
    }
    if received.appended.too_far > 0 {
        let name = "watchkeeper_tsdb_out_of_bound_samples_total";
        registry.counter(name, "Pushed samples that were too far in the future.", &[]).add(received.appended.too_far);
    }
}

/// What a 2xx promises: on stable storage, unless the configuration relaxed it.
pub(super) fn durability(api: &ApiState) -> Durability {
    match api.present_config().storage.sync {
        crate::config::storage::SyncPromise::Acknowledged => Durability::Synced,
        crate::config::storage::SyncPromise::Written => Durability::Written,
    }
}
