//! `targets`, `targets/metadata`, `targets/relabel_steps`, `scrape_pools`: what is scraped, and how it goes.

use super::super::answer::{success, success_value};
use super::super::error::{ApiError, ErrorKind};
use super::super::json::{push_labels, push_list, push_string, rfc3339};
use super::super::params::Params;
use super::super::state::ApiState;
use crate::model::duration::format;
use crate::model::labels::Labels;
use crate::model::matcher::Matcher;
use crate::model::metadata::Metadata;
use crate::scrape::{ActiveTarget, ScrapeHandle, ScrapeView};
use axum::extract::State;
use axum::response::Response;
use serde_json::{Map, Value, json};
use std::sync::Arc;

fn view(api: &ApiState) -> Arc<ScrapeView> {
    api.views.scrape.as_ref().map_or_else(Arc::default, ScrapeHandle::view)
}

fn object(labels: &Labels) -> Value {
    labels.iter().map(|(name, value)| (name.to_owned(), Value::from(value))).collect::<Map<_, _>>().into()
}

fn active(target: &ActiveTarget) -> Value {
    let mut shown = json!({
        "discoveredLabels": object(&target.discovered),
        "labels": object(&target.labels),
        "scrapePool": target.pool,
        "scrapeUrl": target.url,
        "globalUrl": target.url,
        "lastError": target.last_error,
        "lastScrape": rfc3339(target.last_scrape_ms),
        "lastScrapeDuration": target.last_duration.as_secs_f64(),
        "health": target.health.as_str(),
        "scrapeInterval": format(target.interval),
        "scrapeTimeout": format(target.timeout),
    });
    // Beyond Prometheus: how much came, since when it is up or down, and the line that was wrong.
    if let Some(fields) = shown.as_object_mut() {
        if target.since_ms.is_some() {
            fields.insert("since".to_owned(), rfc3339(target.since_ms).into());
        }
        fields.insert("failures".to_owned(), target.failures.into());
        fields.insert("samplesScraped".to_owned(), target.samples_scraped.into());
        fields.insert("bodyBytes".to_owned(), target.body_bytes.into());
        if let Some(failure) = &target.failure {
            let failure = json!({
                "at": rfc3339(Some(failure.at_ms)),
                "line": failure.line,
                "column": failure.column,
                "text": failure.text,
                "contentType": failure.content_type,
                "response": failure.response,
            });
            fields.insert("failure".to_owned(), failure);
        }
    }
    shown
}

pub(in crate::api) async fn targets(State(api): State<ApiState>, params: Params) -> Response {
    let view = view(&api);
    let state = params.get("state").to_lowercase();
    let pool = params.get("scrapePool");
    let wanted = |name: &str| pool.is_empty() || name == pool;
    let with_active = matches!(state.as_str(), "" | "any" | "active");
    let with_dropped = matches!(state.as_str(), "" | "any" | "dropped");
    let active: Vec<Value> = view.active.iter().filter(|target| with_active && wanted(&target.pool)).map(active).collect();
    let dropped: Vec<Value> = view
        .dropped
        .iter()
        .filter(|target| with_dropped && wanted(&target.pool))
        .map(|target| {
            json!({
                "discoveredLabels": object(&target.discovered),
                "scrapePool": target.pool,
                "rule": target.rule,
                "reason": target.reason,
            })
        })
        .collect();
    let mut counts: Map<String, Value> =
        view.pools.iter().filter(|name| wanted(name)).map(|name| (name.clone(), 0.into())).collect();
    for (name, count) in view.dropped_counts.iter().filter(|(name, _)| wanted(name)) {
        counts.insert(name.clone(), (*count).into());
    }
    // Beyond Prometheus: what the other members scrape, where they share the targets.
    let elsewhere = view.elsewhere.iter().filter(|target| with_active && wanted(&target.pool));
    let elsewhere: Vec<Value> = elsewhere
        .map(|target| {
            let labels = object(&target.labels);
            json!({"labels": labels, "scrapePool": target.pool, "scrapeUrl": target.url, "member": target.member})
        })
        .collect();
    let mut shown = json!({
        "activeTargets": active,
        "droppedTargets": dropped,
        "droppedTargetCounts": if with_dropped { Value::Object(counts) } else { Value::Null },
    });
    if let Some(fields) = shown.as_object_mut().filter(|_| !elsewhere.is_empty()) {
        fields.insert("elsewhereTargets".to_owned(), elsewhere.into());
    }
    success_value(&shown)
}

/// Beyond Prometheus: what is wrong with where targets come from.
pub(in crate::api) async fn discovery(State(api): State<ApiState>, params: Params) -> Response {
    let view = view(&api);
    let pool = params.get("scrapePool");
    let errors = view.discovery_errors.iter().filter(|(name, _)| pool.is_empty() || name == pool);
    let errors: Vec<Value> = errors.map(|(name, error)| json!({"scrapePool": name, "error": error})).collect();
    success_value(&json!({"errors": errors}))
}

pub(in crate::api) async fn pools(State(api): State<ApiState>) -> Response {
    let mut pools = view(&api).pools.clone();
    pools.sort_unstable();
    success_value(&json!({"scrapePools": pools}))
}

/// The configuration of one pool, its secrets hidden.
pub(in crate::api) async fn pool_config(State(api): State<ApiState>, params: Params) -> Result<Response, ApiError> {
    let pool = params.get("scrapePool");
    if pool.is_empty() {
        return Err(ApiError::bad_data("no scrapePool parameter provided"));
    }
    let config = api.present_config();
    let Some(job) = config.scrape_configs.iter().find(|job| job.job_name == pool) else {
        return Err(ApiError::bad_data(format!("scrape pool {} not found", crate::model::number::quote(pool))));
    };
    Ok(success_value(&json!({"yaml": job.to_yaml()})))
}

/// What targets say about their metrics, each with the target's labels.
type Told = [(Labels, Vec<(String, Metadata)>)];

/// Chooses what to show of it. As in Prometheus no further target is looked at once there are `limit` entries, but each is
/// shown whole.
fn chosen<'t>(told: &'t Told, matchers: &[Matcher], metric: &str, limit: usize) -> Vec<(&'t Labels, &'t str, &'t Metadata)> {
    let mut rows = Vec::new();
    for (labels, entries) in told {
        if rows.len() >= limit {
            break;
        }
        if matchers.iter().all(|matcher| matcher.matches_labels(labels)) {
            let wanted = entries.iter().filter(|(name, _)| metric.is_empty() || name == metric);
            rows.extend(wanted.map(|(name, entry)| (labels, name.as_str(), entry)));
        }
    }
    rows
}

pub(in crate::api) async fn metadata(State(api): State<ApiState>, params: Params) -> Result<Response, ApiError> {
    let limit = match params.get("limit") {
        "" => usize::MAX,
        text => match text.parse::<i64>() {
            Ok(limit) => usize::try_from(limit).unwrap_or(usize::MAX),
            Err(_) => return Err(ApiError::bad_data("limit must be a number")),
        },
    };
    let matchers = match params.get("match_target") {
        "" => Vec::new(),
        text => {
            let text = text.to_owned();
            let read = api.run(api.limits.query_timeout, move |cancel| {
                let read = super::selectors(std::iter::once(text.as_str()), &cancel).next();
                read.unwrap_or(Ok(Vec::new())).map_err(|error| ApiError::bad_parameter("match_target", error))
            });
            read.await?
        }
    };
    let metric = params.get("metric");
    let Some(scrape) = api.views.scrape.clone() else {
        return Ok(success(|out| out.push_str("[]")));
    };
    let known = scrape.metadata().await;
    let rows = chosen(&known, &matchers, metric, limit);
    Ok(success(|out| {
        push_list(out, rows, |out, (labels, name, entry)| {
            out.push_str("{\"target\":");
            push_labels(out, labels);
            let metric = if metric.is_empty() { name } else { "" };
            let fields = [("metric", metric), ("type", entry.metric_type.as_str()), ("help", &entry.help), ("unit", &entry.unit)];
            for (key, value) in fields.iter().filter(|(key, value)| *key != "metric" || !value.is_empty()) {
                out.push_str(",\"");
                out.push_str(key);
                out.push_str("\":");
                push_string(out, value);
            }
            out.push('}');
        });
    }))
}

pub(in crate::api) async fn relabel_steps(State(api): State<ApiState>, params: Params) -> Result<Response, ApiError> {
    let pool = params.get("scrapePool");
    if pool.is_empty() {
        return Err(ApiError::bad_data("no scrapePool parameter provided"));
    }
    let text = params.get("labels");
    if text.is_empty() {
        return Err(ApiError::bad_data("no labels parameter provided"));
    }
    let given: std::collections::BTreeMap<String, String> =
        serde_json::from_str(text).map_err(|error| ApiError::bad_data(format!("error parsing labels: {error}")))?;
    let labels = Labels::from_pairs(&given);
    let config = api.present_config();
    let rules = config.scrape_configs.iter().find(|job| job.job_name == pool).map(|job| job.relabel_configs.as_slice());
    let steps = api.views.scrape.as_ref().and_then(|scrape| scrape.relabel_steps(pool, &labels));
    let Some(steps) = steps else {
        return Err(ApiError::bad_data(format!("scrape pool {} not found", crate::model::number::quote(pool))));
    };
    let shown: Vec<Value> = steps
        .iter()
        .map(|step| {
            let rule = rules.and_then(|rules| rules.get(step.rule)).map(|rule| {
                json!({
                    "source_labels": rule.source_labels,
                    "separator": rule.separator,
                    "regex": rule.regex.pattern(),
                    "modulus": rule.modulus,
                    "target_label": rule.target_label,
                    "replacement": rule.replacement,
                    "action": rule.action.as_str(),
                })
            });
            json!({"rule": rule, "output": object(&step.labels), "keep": step.kept})
        })
        .collect();
    Ok(success_value(&json!({"steps": shown})))
}

/// What a scrape by hand is of.
#[derive(Debug, serde::Deserialize)]
pub(in crate::api) struct ScrapeAsked {
    pool: String,
    #[serde(default)]
    instance: String,
}

/// `POST /api/watchkeeper/v1/targets/scrape`: scrapes one target, or all of a pool, and answers when that is done.
pub(in crate::api) async fn scrape_now(
    State(api): State<ApiState>,
    axum::Json(asked): axum::Json<ScrapeAsked>,
) -> Result<Response, ApiError> {
    let none = || ApiError::new(ErrorKind::NotFound, "no such target");
    let scrape = api.views.scrape.clone().ok_or_else(none)?;
    let view = scrape.view();
    let url = view
        .active
        .iter()
        .find(|target| target.pool == asked.pool && target.labels.value(crate::model::labels::INSTANCE) == asked.instance)
        .map(|target| target.url.clone());
    if !asked.instance.is_empty() && url.is_none() {
        return Err(none());
    }
    let most = std::time::Duration::from_secs(60);
    let scraped = api.env.clock.timeout(most, scrape.scrape_now(&asked.pool, url.as_deref())).await;
    match scraped {
        Ok(count) if count > 0 => Ok(success_value(&json!({"scraped": count}))),
        Ok(_) => Err(none()),
        Err(_) => Err(ApiError::new(ErrorKind::Timeout, "the scrape is not done yet")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_metadata_ends_at_a_target() {
        let entry = |name: &str| (name.to_owned(), Metadata::default());
        let target = |job: &str| (Labels::from_pairs([("job", job)]), vec![entry("a"), entry("b"), entry("c")]);
        let told = [target("x"), target("y"), target("z")];
        let count = |metric: &str, limit: usize| chosen(&told, &[], metric, limit).len();
        assert_eq!([0, 1, 3, 4, 9].map(|limit| count("", limit)), [0, 3, 3, 6, 9]);
        assert_eq!([1, 2, 9].map(|limit| count("b", limit)), [1, 2, 3]);
        assert_eq!(count("none", 9), 0);
        let found = chosen(&told, &[Matcher::equal("job", "y")], "b", 1);
        assert!(matches!(found.as_slice(), [(labels, "b", _)] if labels.value("job") == "y"), "{found:?}");
    }
}
