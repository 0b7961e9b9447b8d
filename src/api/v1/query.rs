//! `query` and `query_range`.

use super::super::answer::success_with;
use super::super::encode::push_query_value;
use super::super::error::{ApiError, ErrorKind};
use super::super::json::{push, push_list, push_seconds, push_string};
use super::super::params::Params;
use super::super::state::ApiState;
use super::query_log::{Asker, Logged};
use super::truncate;
use crate::promql::engine::{QueryError, QueryOptions, Stopwatch};
use crate::promql::explain::Node;
use crate::promql::expr::{Expr, ValueType};
use crate::promql::parse::Patterns;
use crate::promql::turns::Lane;
use crate::promql::value::{QueryResult, QueryStats, QueryValue};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// What both kinds of queries have in common.
struct Asked {
    text: Arc<str>,
    limit: usize,
    timeout: Duration,
    options: QueryOptions,
    stats: Stats,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stats {
    No,
    Yes,
    All,
}

/// The header by which Grafana says that a panel asks.
const DASHBOARD_HEADER: &str = "x-dashboard-uid";

fn asked(api: &ApiState, headers: &HeaderMap, params: &Params) -> Result<Asked, ApiError> {
    let limit = params.limit()?;
    let timeout = match params.duration("timeout")? {
        // As Prometheus answers it, who gives no time.
        Some(given) if given <= 0 => return Err(ApiError::new(ErrorKind::Timeout, "query timed out in query execution")),
        Some(given) => Duration::from_millis(u64::try_from(given).unwrap_or(0)).min(api.limits.query_timeout),
        None => api.limits.query_timeout,
    };
    let lookback = params
        .duration_plain("lookback_delta")
        .map_err(|message| ApiError::bad_data(format!("error parsing lookback delta duration: {message}")))?;
    let lookback_ms = match lookback {
        Some(given) if given <= 0 => {
            return Err(ApiError::bad_data("error parsing lookback delta duration: must be positive"));
        }
        given => given,
    };
    let stats = match params.get("stats") {
        "" => Stats::No,
        "all" => Stats::All,
        _ => Stats::Yes,
    };
    let text: Arc<str> = params.get("query").into();
    let clock = Arc::clone(&api.env.clock);
    let stopwatch: Stopwatch = Arc::new(move || clock.monotonic());
    let options = QueryOptions {
        lane: if headers.contains_key(DASHBOARD_HEADER) { Lane::Dashboard } else { Lane::AdHoc },
        explain: (!matches!(params.get("explain"), "" | "0" | "false")).then_some(stopwatch),
        lookback_ms,
        text: Some(Arc::clone(&text)),
        per_step_stats: stats != Stats::No,
        ..QueryOptions::default()
    };
    Ok(Asked { text, limit, timeout, options, stats })
}

/// Refuses a text that is too long to be read.
pub(in crate::api) fn check_length(api: &ApiState, text: &str) -> Result<(), ApiError> {
    if text.len() > api.limits.query_bytes {
        let message = format!("query is longer than {} bytes", api.limits.query_bytes);
        return Err(ApiError::bad_parameter("query", message));
    }
    Ok(())
}

/// Reads a query. It compiles the regular expressions, so it belongs on the query's own thread; `cancel` ends it.
pub(in crate::api) fn parse_query(text: &str, cancel: &AtomicBool) -> Result<Expr, ApiError> {
    let cancelled = || cancel.load(Ordering::Relaxed);
    crate::promql::parse::parse_with(text, Patterns::new(&cancelled)).map_err(|error| match cancelled() {
        true => ApiError::from(QueryError::Cancelled),
        false => ApiError::bad_parameter("query", error),
    })
}

pub(in crate::api) async fn instant(
    State(api): State<ApiState>,
    headers: HeaderMap,
    asker: Asker,
    params: Params,
) -> Result<Response, ApiError> {
    let asked = asked(&api, &headers, &params)?;
    let timeout = asked.timeout;
    let at_ms = params.time("time", api.env.clock.now_ms())?;
    check_length(&api, &asked.text)?;
    let (engine, querier) = (Arc::clone(&api.engine), Arc::clone(&api.querier));
    let clock = Arc::clone(&api.env.clock);
    let started = clock.monotonic();
    let work = move |cancel: Arc<AtomicBool>| {
        let expr = read(&asked, &cancel)?;
        let logged = Logged::begin(&engine, &asker, &asked.text, (at_ms, at_ms, 0), &cancel);
        let options = QueryOptions { cancel: Some(cancel), ..asked.options.clone() };
        let result = engine.instant(&*querier, &expr, at_ms, &options);
        logged.end(&result);
        let result = result?;
        Ok(answer(&asked, result, clock.monotonic().saturating_sub(started)))
    };
    api.run(timeout, work).await
}

/// Reads the query that is asked, and refuses what cannot be shown if it is to be explained.
fn read(asked: &Asked, cancel: &AtomicBool) -> Result<Expr, ApiError> {
    let expr = parse_query(&asked.text, cancel)?;
    if asked.options.explain.is_some() {
        super::parse::check_height(&expr)?;
    }
    Ok(expr)
}

pub(in crate::api) async fn range(
    State(api): State<ApiState>,
    headers: HeaderMap,
    asker: Asker,
    params: Params,
) -> Result<Response, ApiError> {
    let needed = |name: &str| {
        let text = params.get(name);
        super::super::params::parse_time(text).map_err(|message| ApiError::bad_parameter(name, message))
    };
    let limit = params.limit()?;
    let start_ms = needed("start")?;
    let end_ms = needed("end")?;
    if end_ms < start_ms {
        return Err(ApiError::bad_parameter("end", "end timestamp must not be before start time"));
    }
    let step_ms =
        super::super::params::parse_duration(params.get("step")).map_err(|message| ApiError::bad_parameter("step", message))?;
    if step_ms <= 0 {
        let message = "zero or negative query resolution step widths are not accepted. Try a positive integer";
        return Err(ApiError::bad_parameter("step", message));
    }
    // Bounds the answer and the memory of its columns, and is what Prometheus allows.
    if end_ms.saturating_sub(start_ms) / step_ms > api.limits.steps {
        let message =
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)";
        return Err(ApiError::bad_data(message));
    }
    let mut asked = asked(&api, &headers, &params)?;
    asked.limit = limit;
    check_length(&api, &asked.text)?;
    let (engine, querier) = (Arc::clone(&api.engine), Arc::clone(&api.querier));
    let timeout = asked.timeout;
    let caches = matches!(params.get("nocache"), "" | "0" | "false");
    let refresh = caches.then(|| Arc::clone(&api.shared().refresh));
    let clock = Arc::clone(&api.env.clock);
    let started = clock.monotonic();
    let work = move |cancel: Arc<AtomicBool>| {
        let expr = read(&asked, &cancel)?;
        check_range_type(&expr)?;
        let range = (start_ms, end_ms, step_ms);
        let logged = Logged::begin(&engine, &asker, &asked.text, range, &cancel);
        let options = QueryOptions { cancel: Some(cancel), ..asked.options.clone() };
        let result = match refresh {
            Some(refresh) => refresh.range(&engine, &*querier, &expr, range, &options),
            None => engine.range(&*querier, &expr, start_ms, end_ms, step_ms, &options),
        };
        logged.end(&result);
        let result = result?;
        Ok(answer(&asked, result, clock.monotonic().saturating_sub(started)))
    };
    api.run(timeout, work).await
}

fn check_range_type(expr: &Expr) -> Result<(), ApiError> {
    match expr.value_type() {
        ValueType::Scalar | ValueType::Vector => Ok(()),
        other => {
            let kind = other.documented();
            let message = format!("invalid expression type \"{kind}\" for range query, must be Scalar or instant Vector");
            Err(ApiError::bad_parameter("query", message))
        }
    }
}

/// Writes the answer, which takes its time where it is large: on the query's own thread, as everything else.
fn answer(asked: &Asked, mut result: QueryResult, took: Duration) -> Response {
    match &mut result.value {
        QueryValue::Vector(samples) => truncate(samples, asked.limit, &mut result.warnings),
        QueryValue::Matrix(series) => truncate(series, asked.limit, &mut result.warnings),
        QueryValue::Scalar { .. } | QueryValue::String { .. } => {}
    }
    success_with(&result.warnings, &result.infos, |out| {
        out.push('{');
        push_query_value(out, &result.value);
        if asked.stats != Stats::No {
            out.push_str(",\"stats\":");
            push_stats(out, &result.stats, took, asked.stats == Stats::All);
        }
        if let Some(node) = &result.explained {
            out.push_str(",\"explain\":");
            push_node(out, node);
        }
        out.push('}');
    })
}

/// Appends what a node of the query did: `how` it was carried out, at how many `steps`, `series` given, `seriesRead` and
/// `samplesRead` (an estimate) for itself alone, `ms` with its parts.
fn push_node(out: &mut String, node: &Node) {
    out.push_str("{\"expr\":");
    push_string(out, &node.expr);
    push(
        out,
        format_args!(
            ",\"how\":\"{}\",\"steps\":{},\"series\":{},\"seriesRead\":{},\"samplesRead\":{},\"ms\":{:.3}",
            node.how,
            node.steps,
            node.series,
            node.series_read,
            node.samples_read,
            node.took.as_secs_f64() * 1000.0
        ),
    );
    if !node.parts.is_empty() {
        out.push_str(",\"parts\":");
        push_list(out, &node.parts, push_node);
    }
    out.push('}');
}

fn push_stats(out: &mut String, stats: &QueryStats, took: Duration, per_step: bool) {
    let seconds = took.as_secs_f64();
    push(
        out,
        format_args!(
            "{{\"timings\":{{\"evalTotalTime\":{seconds},\"resultSortTime\":0,\"queryPreparationTime\":0,\
             \"innerEvalTime\":{seconds},\"execQueueTime\":0,\"execTotalTime\":{seconds}}},\
             \"samples\":{{\"totalQueryableSamples\":{},\"samplesRead\":{},\"peakSamples\":{}",
            stats.total_queryable_samples, stats.samples_read, stats.peak_samples
        ),
    );
    if per_step {
        let steps = [
            ("totalQueryableSamplesPerStep", &stats.total_queryable_samples_per_step),
            ("samplesReadPerStep", &stats.samples_read_per_step),
        ];
        for (name, counts) in steps {
            push(out, format_args!(",\"{name}\":"));
            push_list(out, counts, |out, (at_ms, count)| {
                out.push('[');
                push_seconds(out, *at_ms);
                push(out, format_args!(",{count}]"));
            });
        }
    }
    out.push_str("}}");
}
