//! `import/prometheus`: text exposition pushed by scripts, as VictoriaMetrics takes it.
//!
//! `timestamp` (milliseconds) is the time of samples without their own; `extra_label=name=value` is set on all of them.

use super::super::error::{ApiError, ErrorKind};
use super::super::params::Params;
use super::super::state::ApiState;
use crate::exposition::parser::ensure_newline;
use crate::exposition::{Dialect, Entry, Parser};
use crate::model::labels::LabelsBuilder;
use crate::model::limits;
use crate::storage::append::{Append, BatchSample, BatchValue, Durability};
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use std::io::Read as _;
use std::sync::Arc;

pub(in crate::api) async fn import(
    State(api): State<ApiState>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let params = Params::parse(uri.query().unwrap_or(""));
    let at_ms = match params.get("timestamp") {
        "" => api.env.clock.now_ms(),
        text => text.parse().map_err(|_| ApiError::bad_parameter("timestamp", "must be milliseconds since 1970"))?,
    };
    let extra: Vec<(String, String)> = params
        .all("extra_label")
        .map(|pair| {
            let pair = pair.split_once('=').ok_or_else(|| ApiError::bad_parameter("extra_label", "must be name=value"))?;
            Ok((pair.0.to_owned(), pair.1.to_owned()))
        })
        .collect::<Result<_, ApiError>>()?;
    let packed = headers.get(header::CONTENT_ENCODING).is_some_and(|encoding| encoding == "gzip");
    let most = api.limits.body_bytes;
    let append = Arc::clone(&api.append);
    let durability = super::write::durability(&api);
    let done = api.env.tasks.blocking(move || {
        let mut text = if packed { unpacked(&body, most).map_err(ApiError::bad_data)? } else { body.to_vec() };
        ensure_newline(&mut text);
        store(&text, at_ms, &extra, &*append, durability)
    });
    done.await.map_err(|error| ApiError::new(ErrorKind::Internal, error.to_string()))??;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Unpacks a body that gzip packed.
pub(super) fn unpacked(body: &[u8], most: usize) -> Result<Vec<u8>, String> {
    let mut text = Vec::new();
    let mut reader = flate2::read::MultiGzDecoder::new(body).take(most as u64 + 1);
    reader.read_to_end(&mut text).map_err(|error| format!("cannot unpack the body: {error}"))?;
    if text.len() > most { Err(format!("the body is larger than {most} bytes")) } else { Ok(text) }
}

fn store(
    text: &[u8],
    at_ms: i64,
    extra: &[(String, String)],
    append: &dyn Append,
    durability: Durability,
) -> Result<(), ApiError> {
    let bad = |error: crate::exposition::ParseError| {
        ApiError::bad_data(format!("line {}, column {}: {error}", error.line, error.column))
    };
    let failed = |error: crate::storage::append::AppendError| ApiError::new(ErrorKind::Unavailable, error.to_string());
    let mut parser = Parser::new(text, Dialect::Text);
    let mut samples = Vec::new();
    while let Some(entry) = parser.next().map_err(bad)? {
        if entry != Entry::Sample {
            continue;
        }
        let mut labels = LabelsBuilder::new();
        parser.labels_into(&mut labels).map_err(bad)?;
        for (name, value) in extra {
            labels.set(name, value);
        }
        let labels = labels.build();
        limits::check_labels(&labels).map_err(|message| bad(parser.refuse(message)))?;
        let series = append.series(&labels).map_err(failed)?;
        let at_ms = parser.timestamp_ms().unwrap_or(at_ms);
        samples.push(BatchSample { series, at_ms, value: BatchValue::Float(parser.value()) });
    }
    let done = append.append_samples(None, &samples, durability).map_err(failed)?;
    let refused = done.too_old + done.out_of_order + done.duplicate + done.too_far;
    if refused > 0 {
        return Err(ApiError::bad_data(format!(
            "{refused} of {} samples were refused: too old, too far in the future, or another value at the same time",
            samples.len()
        )));
    }
    Ok(())
}
