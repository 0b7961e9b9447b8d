//! `write`: Remote-Write 1.0 and 2.0. What is acknowledged is on disk.

use super::super::cluster::MEMBER;
use super::super::state::ApiState;
use crate::remote::receive::{Received, Version, WriteError, receive};
use crate::storage::append::{AppendError, Durability};
use crate::telemetry::metrics::Registry;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

fn plain(status: StatusCode, text: impl Into<String>) -> Response {
    let mut text = text.into();
    text.push('\n');
    (status, text).into_response()
}

/// Reads the headers: which message comes. The error is the answer.
fn version_of(headers: &HeaderMap) -> Result<Version, Box<Response>> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
    let kind = text(header::CONTENT_TYPE);
    let mut parts = kind.split(';').map(str::trim);
    let media = parts.next().unwrap_or("");
    if !media.is_empty() && media != "application/x-protobuf" {
        let message = format!("expected application/x-protobuf as the first (media) part, got {kind} content-type");
        return Err(Box::new(plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, message)));
    }
    let message = parts.find_map(|part| part.strip_prefix("proto=")).unwrap_or("prometheus.WriteRequest");
    let version = match message {
        "prometheus.WriteRequest" => Version::V1,
        "io.prometheus.write.v2.Request" => Version::V2,
        _ => {
            let known = "prometheus.WriteRequest, io.prometheus.write.v2.Request";
            let text = format!("{message} protobuf message is not accepted by this server; only accepts {known}");
            return Err(Box::new(plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, text)));
        }
    };
    let encoding = text(header::CONTENT_ENCODING);
    if !encoding.is_empty() && !encoding.eq_ignore_ascii_case("snappy") {
        let text = format!("{encoding} encoding (compression) is not accepted by this server; only snappy is acceptable");
        return Err(Box::new(plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, text)));
    }
    Ok(version)
}

/// Says in the answer to a request of version 2 what was written of it: a sender that finds no such headers takes the server
/// for one that knows version 1 alone.
fn with_written(mut response: Response, version: Version, received: &Received) -> Response {
    if version == Version::V2 {
        let written = [("samples", received.floats), ("histograms", received.histograms), ("exemplars", received.exemplars)];
        for (what, count) in written {
            if let Ok(name) = HeaderName::try_from(format!("x-prometheus-remote-write-{what}-written")) {
                response.headers_mut().insert(name, HeaderValue::from(count));
            }
        }
    }
    response
}

pub(in crate::api) async fn write(State(api): State<ApiState>, headers: HeaderMap, body: Bytes) -> Response {
    let is_member = match headers.get(MEMBER) {
        // Nothing else lets such a request in.
        Some(said) if !(api.views.is_members_write)(said.to_str().unwrap_or_default(), &body) => {
            let text = "the request is not signed with this member's cluster.secret_file, or the members' clocks are apart";
            return plain(StatusCode::FORBIDDEN, text);
        }
        said => said.is_some(),
    };
    let version = match version_of(&headers) {
        Ok(version) => version,
        Err(response) => return *response,
    };
    let append = Arc::clone(&api.append);
    let most = api.limits.body_bytes;
    let durability = durability(&api);
    let now_ms = api.env.clock.now_ms();
    let done = api.env.tasks.blocking(move || receive(version, &body, most, now_ms, &*append, durability)).await;
    match done {
        Ok(Ok(mut received)) => {
            if is_member {
                take_as_written(&mut received);
            }
            note(&api.registry, &received);
            let response = match &received.complaint {
                None => StatusCode::NO_CONTENT.into_response(),
                Some(complaint) => plain(StatusCode::BAD_REQUEST, complaint.as_str()),
            };
            with_written(response, version, &received)
        }
        Ok(Err(error)) => {
            let status = status_of(&error);
            with_written(plain(status, error.to_string()), version, &Received::default())
        }
        Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

/// Two members may have scraped a target at the same time, while it moved: one sample of each holds, and there is nothing that
/// the sender should hear about it.
fn take_as_written(received: &mut Received) {
    let doubled = received.appended.duplicate + received.appended.too_old + received.appended.out_of_order;
    if doubled > 0 && received.invalid_labels == 0 && received.appended.too_far == 0 {
        received.complaint = None;
        received.floats += doubled;
        received.histograms += doubled;
    }
}

/// Which status tells a sender whether to come again.
pub(super) const fn status_of(error: &WriteError) -> StatusCode {
    match error {
        WriteError::Bad(_) => StatusCode::BAD_REQUEST,
        WriteError::Append(AppendError::Limit(_)) => StatusCode::TOO_MANY_REQUESTS,
        // Senders keep what they have and come again.
        WriteError::Append(AppendError::Closed | AppendError::Forgotten | AppendError::Log(_)) => StatusCode::SERVICE_UNAVAILABLE,
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
