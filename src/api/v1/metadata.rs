//! `metadata`: what exporters say about their metrics.

use super::super::answer::success;
use super::super::error::ApiError;
use super::super::json::{push_list, push_string};
use super::super::params::Params;
use super::super::state::ApiState;
use axum::extract::State;
use axum::response::Response;

/// Reads a number that may be left out; less than none means none.
fn number(params: &Params, name: &str) -> Result<Option<usize>, ApiError> {
    match params.get(name) {
        "" => Ok(None),
        text => match text.parse::<i64>() {
            Ok(value) => Ok(usize::try_from(value).ok()),
            Err(_) => Err(ApiError::bad_data(format!("{name} must be a number"))),
        },
    }
}

pub(in crate::api) async fn metadata(State(api): State<ApiState>, params: Params) -> Result<Response, ApiError> {
    let limit = number(&params, "limit")?;
    let each = number(&params, "limit_per_metric")?.filter(|each| *each > 0);
    let metric = Some(params.get("metric")).filter(|metric| !metric.is_empty());
    let found = api.querier.metadata(metric);
    Ok(success(|out| {
        out.push('{');
        for (at, (metric, entries)) in found.iter().take(limit.unwrap_or(usize::MAX)).enumerate() {
            if at > 0 {
                out.push(',');
            }
            push_string(out, metric);
            out.push(':');
            push_list(out, entries.iter().take(each.unwrap_or(usize::MAX)), |out, entry| {
                out.push_str("{\"type\":");
                push_string(out, entry.metric_type.as_str());
                out.push_str(",\"help\":");
                push_string(out, &entry.help);
                out.push_str(",\"unit\":");
                push_string(out, &entry.unit);
                out.push('}');
            });
        }
        out.push('}');
    }))
}
