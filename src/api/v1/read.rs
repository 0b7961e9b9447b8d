//! `read`: remote read.

use super::super::error::{ApiError, ErrorKind};
use super::super::state::ApiState;
use crate::remote::read::{ReadError, Request};
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

pub(in crate::api) async fn read(State(api): State<ApiState>, body: Bytes) -> Response {
    let request = match Request::parse(&body, api.limits.body_bytes) {
        Ok(request) => request,
        Err(error) => return (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
    };
    let chunked = request.is_chunked();
    let querier = Arc::clone(&api.querier);
    let external = api.present_config().global.external_labels.clone();
    let most = api.engine.options().max_samples as u64;
    let answered = api
        .run(api.limits.query_timeout, move |cancel| {
            request.answer(&*querier, &external, most, &cancel).map_err(|error| match error {
                ReadError::Select(error) => ApiError::from(error),
                error => ApiError::bad_data(error.to_string()),
            })
        })
        .await;
    let kind =
        if chunked { "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse" } else { "application/x-protobuf" };
    match answered {
        Ok(body) if chunked => ([(header::CONTENT_TYPE, kind)], body).into_response(),
        Ok(body) => ([(header::CONTENT_TYPE, kind), (header::CONTENT_ENCODING, "snappy")], body).into_response(),
        Err(error) => {
            let status = match error.kind {
                ErrorKind::BadData => StatusCode::BAD_REQUEST,
                ErrorKind::Timeout | ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
                _ => StatusCode::INTERNAL_SERVER_ERROR,
            };
            (status, format!("{error}\n")).into_response()
        }
    }
}
