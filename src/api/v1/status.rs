//! `status/*`, `features`.

use super::super::answer::success_value;
use super::super::error::ApiError;
use super::super::json::rfc3339;
use super::super::params::Params;
use super::super::state::ApiState;
use axum::extract::State;
use axum::response::Response;
use serde_json::{Map, Value, json};

pub(in crate::api) async fn config(State(api): State<ApiState>) -> Response {
    success_value(&json!({"yaml": api.present_config().to_yaml()}))
}

pub(in crate::api) async fn flags(State(api): State<ApiState>) -> Response {
    success_value(&json!(api.flags))
}

/// The Prometheus whose API this is: clients such as Grafana decide by the version what they may ask.
const PROMETHEUS_VERSION: &str = "3.14.0";

pub(in crate::api) async fn build_info() -> Response {
    success_value(&json!({
        "application": "watchkeeper",
        "applicationVersion": env!("CARGO_PKG_VERSION"),
        "version": PROMETHEUS_VERSION,
        "revision": option_env!("WATCHKEEPER_REVISION").unwrap_or(""),
        "branch": "",
        "buildUser": "",
        "buildDate": "",
        "goVersion": "",
    }))
}

pub(in crate::api) async fn runtime_info(State(api): State<ApiState>) -> Response {
    let metric = |name: &str| {
        let families = api.registry.snapshot();
        families.iter().find(|family| family.name == name).and_then(|family| family.samples.first().map(|sample| sample.2))
    };
    let config = api.present_config();
    let last_reload = metric("watchkeeper_config_last_reload_success_timestamp_seconds").map(|seconds| (seconds * 1000.0) as i64);
    let threads = api.env.tasks.cores();
    success_value(&json!({
        "startTime": rfc3339(Some(api.started_ms)),
        "CWD": std::env::current_dir().map(|path| path.display().to_string()).unwrap_or_default(),
        "hostname": hostname(&api),
        "serverTime": rfc3339(Some(api.env.clock.now_ms())),
        "reloadConfigSuccess": metric("watchkeeper_config_last_reload_successful").is_none_or(|value| value > 0.0),
        "lastConfigTime": rfc3339(last_reload.or(Some(api.started_ms))),
        "corruptionCount": metric("watchkeeper_tsdb_wal_corruptions_total").unwrap_or(0.0) as u64,
        "goroutineCount": 0,
        "GOMAXPROCS": threads,
        "GOMEMLIMIT": 0,
        "GOGC": "",
        "GODEBUG": "",
        "storageRetention": crate::model::duration::format(config.storage.retention.time),
        "storagePath": api.storage_folder,
    }))
}

/// The host's name as the kernel knows it; empty where there is no such file.
fn hostname(api: &ApiState) -> String {
    let text = api.env.disk.read(std::path::Path::new("/proc/sys/kernel/hostname")).unwrap_or_default();
    String::from_utf8_lossy(&text).trim().to_owned()
}

pub(in crate::api) async fn tsdb(State(api): State<ApiState>, params: Params) -> Result<Response, ApiError> {
    let limit = match params.get("limit") {
        "" => 10,
        text => match text.parse::<usize>() {
            Ok(limit) if (1..=10_000).contains(&limit) => limit,
            Ok(limit) if limit > 10_000 => return Err(ApiError::bad_data("limit must not exceed 10000")),
            _ => return Err(ApiError::bad_data("limit must be a positive number")),
        },
    };
    let Some(store) = api.store.clone() else { return Ok(success_value(&json!({}))) };
    let found = api.run(api.limits.query_timeout, move |_| Ok((store.stats(), store.cardinality(limit)))).await?;
    let (stats, wide) = found;
    let list =
        |pairs: &[(String, u64)]| -> Value { pairs.iter().map(|(name, value)| json!({"name": name, "value": value})).collect() };
    Ok(success_value(&json!({
        "headStats": {
            "numSeries": stats.series,
            "numLabelPairs": stats.label_pairs,
            "chunkCount": stats.head_columns,
            "minTime": stats.head_min_ms.unwrap_or(i64::MAX),
            "maxTime": stats.head_max_ms.unwrap_or(i64::MIN),
        },
        "seriesCountByMetricName": list(&wide.series_by_metric),
        "labelValueCountByLabelName": list(&wide.values_by_label),
        "memoryInBytesByLabelName": list(&wide.bytes_by_label),
        "seriesCountByLabelValuePair": list(&wide.series_by_pair),
    })))
}

/// The blocks, as Prometheus lists their `meta.json`.
pub(in crate::api) async fn blocks(State(api): State<ApiState>) -> Response {
    let infos = api.store.as_ref().map(crate::storage::Store::block_infos).unwrap_or_default();
    let block = |info: &crate::storage::inventory::BlockInfo| {
        json!({
            "ulid": info.ulid,
            "minTime": info.min_ms,
            // As in Prometheus the end is not included.
            "maxTime": info.max_ms.saturating_add(1),
            "stats": {"numSamples": info.samples, "numSeries": info.series, "numChunks": info.columns, "numBytes": info.bytes},
            "compaction": {"level": info.level + 1, "sources": if info.parents.is_empty() { vec![info.ulid.clone()] } else { info.parents.clone() }},
            "version": 1,
        })
    };
    success_value(&json!({"blocks": infos.iter().map(block).collect::<Vec<_>>()}))
}

pub(in crate::api) async fn wal_replay(State(api): State<ApiState>) -> Response {
    let [min, current, max] = api.store.as_ref().map(|store| store.progress().segments()).unwrap_or_default();
    let state = if *api.lifecycle.ready.borrow() { "done" } else { "in progress" };
    success_value(&json!({"min": min, "max": max, "current": current, "state": state}))
}

pub(in crate::api) async fn features(State(api): State<ApiState>) -> Response {
    let functions: Map<String, Value> =
        crate::promql::signatures::SIGNATURES.iter().map(|signature| (signature.name.to_owned(), true.into())).collect();
    let mut enabled: Map<String, Value> = api.present_config().feature.iter().map(|name| (name.clone(), true.into())).collect();
    // What the dashboard may ask of `/api/watchkeeper/v1`.
    for name in ["events", "changes", "zookeeper", "rule_replay", "session", "licences"] {
        enabled.insert(name.to_owned(), Value::Bool(true));
    }
    enabled.insert("dashboards".to_owned(), Value::Bool(api.views.dashboards.is_some()));
    enabled.insert("queries".to_owned(), Value::Bool(api.engine.activity().is_some()));
    enabled.insert("scrape_now".to_owned(), Value::Bool(api.views.scrape.is_some()));
    for name in ["notifications", "alert_history", "acknowledgements", "why", "notification_test", "alert_states", "alerts_past"]
    {
        enabled.insert(name.to_owned(), Value::Bool(api.views.alerting.is_some()));
    }
    let yes = |names: &[&str]| -> Value {
        names.iter().map(|name| ((*name).to_owned(), Value::Bool(true))).collect::<Map<_, _>>().into()
    };
    success_value(&json!({
        "api": yes(&["admin", "exclude_alerts", "label_values_match", "lifecycle", "query_stats", "remote_write_receiver"]),
        "promql": yes(&[
            "anchored", "at_modifier", "bool", "duration_expr", "fill", "group_left", "group_right", "negative_offset",
            "offset", "smoothed", "subqueries", "by", "without", "on", "ignoring",
        ]),
        "promql_functions": functions,
        "promql_operators": yes(&[
            "!=", "!~", "%", "*", "+", "-", "/", "<", "<=", "==", "=~", ">", ">=", "@", "^", "and", "atan2", "avg",
            "bottomk", "count", "count_values", "group", "limit_ratio", "limitk", "max", "min", "or", "quantile", "stddev",
            "stdvar", "sum", "topk", "unless", "</", ">/",
        ]),
        "watchkeeper": enabled,
    }))
}
