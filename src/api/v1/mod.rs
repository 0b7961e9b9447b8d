//! Prometheus's HTTP API, `/api/v1`.

pub(super) mod admin;
mod exemplars;
mod import;
mod metadata;
mod notifications;
mod otlp;
mod parse;
pub(super) mod query;
mod query_log;
mod read;
mod rules;
mod self_metrics;
mod series;
mod status;
mod syntax_tree;
mod targets;
mod write;

pub(super) use targets::{discovery, scrape_now};

use super::error::ApiError;
use super::params::Params;
use super::state::ApiState;
use crate::model::matcher::Matcher;
use crate::promql::parse::{ParseErrors, Patterns, parse_selector_with};
use crate::storage::select::TimeRange;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use std::sync::atomic::{AtomicBool, Ordering};

/// Returns all routes of `/api/v1`.
pub(super) fn router(body_bytes: usize) -> Router<ApiState> {
    Router::new()
        .route("/api/v1/query", get(query::instant).post(query::instant))
        .route("/api/v1/query_range", get(query::range).post(query::range))
        .route("/api/v1/query_exemplars", get(exemplars::query).post(exemplars::query))
        .route("/api/v1/format_query", get(parse::format).post(parse::format))
        .route("/api/v1/parse_query", get(parse::parse).post(parse::parse))
        .route("/api/v1/series", get(series::series).post(series::series))
        .route("/api/v1/labels", get(series::labels).post(series::labels))
        .route("/api/v1/label/{name}/values", get(series::label_values))
        .route("/api/v1/metadata", get(metadata::metadata))
        .route("/api/v1/targets", get(targets::targets))
        .route("/api/v1/targets/metadata", get(targets::metadata))
        .route("/api/v1/targets/relabel_steps", get(targets::relabel_steps))
        .route("/api/v1/scrape_pools", get(targets::pools))
        .route("/api/v1/scrape_pools/config", get(targets::pool_config))
        .route("/api/v1/rules", get(rules::rules))
        .route("/api/v1/alerts", get(rules::alerts))
        .route("/api/v1/alertmanagers", get(rules::alertmanagers))
        .route("/api/v1/status/config", get(status::config))
        .route("/api/v1/status/flags", get(status::flags))
        .route("/api/v1/status/buildinfo", get(status::build_info))
        .route("/api/v1/status/runtimeinfo", get(status::runtime_info))
        .route("/api/v1/status/tsdb", get(status::tsdb))
        .route("/api/v1/status/tsdb/blocks", get(status::blocks))
        .route("/api/v1/status/walreplay", get(status::wal_replay))
        .route("/api/v1/status/self_metrics", get(self_metrics::self_metrics))
        .route("/api/v1/features", get(status::features))
        .route("/api/v1/notifications", get(notifications::notifications))
        .route("/api/v1/notifications/live", get(notifications::live))
        .route("/api/v1/openapi.yaml", get(super::openapi::serve))
        .route("/api/v1/admin/tsdb/delete_series", post(admin::delete_series).put(admin::delete_series))
        .route("/api/v1/admin/tsdb/clean_tombstones", post(admin::clean_tombstones).put(admin::clean_tombstones))
        .route("/api/v1/admin/tsdb/snapshot", post(admin::snapshot).put(admin::snapshot))
        .route("/api/v1/read", post(read::read))
        .route("/api/v1/write", post(write::write))
        .route("/api/v1/otlp/v1/metrics", post(otlp::metrics))
        .route("/api/v1/import/prometheus", post(import::import).put(import::import))
        .layer(DefaultBodyLimit::max(body_bytes))
}

/// Reads the sets of matchers of `match[]`, each of which must exclude something. A text that is none is told as it is; only
/// `series` names the parameter, as in Prometheus. Belongs on the request's own thread, as [`selectors`] does.
fn matcher_sets(params: &Params, cancel: &AtomicBool) -> Result<Vec<Vec<Matcher>>, ApiError> {
    selectors(params.all("match[]"), cancel)
        .map(|matchers| {
            let matchers = matchers.map_err(|error| ApiError::bad_data(error.to_string()))?;
            if matchers.iter().all(|matcher| matcher.matches("")) {
                let message = "match[] must contain at least one non-empty matcher";
                return Err(ApiError::bad_data(message));
            }
            Ok(matchers)
        })
        .collect()
}

/// Reads the selectors of a request, which count together. It compiles their regular expressions, so it belongs on a thread of
/// its own; `cancel` ends it.
pub(in crate::api) fn selectors<'p>(
    texts: impl Iterator<Item = &'p str>,
    cancel: &AtomicBool,
) -> impl Iterator<Item = Result<Vec<Matcher>, ParseErrors>> {
    let mut read = Vec::new();
    let cancelled = || cancel.load(Ordering::Relaxed);
    let mut patterns = Patterns::new(&cancelled);
    for text in texts {
        let matchers = parse_selector_with(text, &mut patterns);
        let ends = matchers.is_err();
        read.push(matchers);
        if ends {
            break;
        }
    }
    read.into_iter()
}

/// Reads `start` and `end`; without them all of time.
fn time_range(params: &Params) -> Result<TimeRange, ApiError> {
    let start_ms = params.time("start", super::params::MIN_TIME_MS)?;
    let end_ms = params.time("end", super::params::MAX_TIME_MS)?;
    if end_ms < start_ms {
        return Err(ApiError::bad_data("end timestamp must not be before start timestamp"));
    }
    Ok(TimeRange { start_ms, end_ms })
}

/// The warning of a shortened list.
const TRUNCATED: &str = "results truncated due to limit";

/// Shortens a list to `limit` (0: none) and says so.
fn truncate<T>(list: &mut Vec<T>, limit: usize, warnings: &mut Vec<String>) {
    if limit > 0 && list.len() > limit {
        list.truncate(limit);
        warnings.push(TRUNCATED.to_owned());
    }
}
