//! `status/self_metrics`: the server's own metrics as JSON, in the form of Prometheus's client model.

use super::super::answer::success_value;
use super::super::error::ApiError;
use super::super::params::Params;
use super::super::state::ApiState;
use crate::model::labels::Labels;
use crate::model::matcher::{MatchOp, Matcher};
use crate::model::metadata::MetricType;
use crate::telemetry::metrics::FamilySnapshot;
use axum::extract::State;
use axum::response::Response;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

pub(in crate::api) async fn self_metrics(State(api): State<ApiState>, params: Params) -> Result<Response, ApiError> {
    let wanted = match params.get("metric_name_pattern") {
        "" => None,
        pattern => Some(
            Matcher::new(MatchOp::Regex, "__name__", pattern)
                .map_err(|error| ApiError::bad_parameter("metric_name_pattern", error))?,
        ),
    };
    let families = api.registry.snapshot();
    let shown = families.iter().filter(|family| wanted.as_ref().is_none_or(|wanted| wanted.matches(&family.name)));
    Ok(success_value(&shown.map(family).collect()))
}

/// A number; what JSON has none for is a text, as ProtoJSON has it.
fn number(value: f64) -> Value {
    match value {
        _ if value.is_nan() => "NaN".into(),
        f64::INFINITY => "Infinity".into(),
        f64::NEG_INFINITY => "-Infinity".into(),
        value => value.into(),
    }
}

fn family(family: &FamilySnapshot) -> Value {
    let mut metrics: BTreeMap<Labels, Map<String, Value>> = BTreeMap::new();
    for (suffix, labels, value) in &family.samples {
        let plain = labels.without(|name| name == "le" && family.metric_type == MetricType::Histogram);
        let metric = metrics.entry(plain).or_default();
        if family.metric_type != MetricType::Histogram {
            let kind = if family.metric_type == MetricType::Counter { "counter" } else { "gauge" };
            metric.insert(kind.to_owned(), json!({"value": number(*value)}));
            continue;
        }
        let histogram = metric.entry("histogram").or_insert_with(|| json!({}));
        match *suffix {
            // Whole numbers of 64 bits are texts in ProtoJSON.
            "_count" => histogram["sampleCount"] = format!("{value:.0}").into(),
            "_sum" => histogram["sampleSum"] = number(*value),
            _ => {
                let bound = labels.value("le").parse().map_or(Value::Null, number);
                let bucket = json!({"cumulativeCount": format!("{value:.0}"), "upperBound": bound});
                match histogram["bucket"].as_array_mut() {
                    Some(buckets) => buckets.push(bucket),
                    None => histogram["bucket"] = json!([bucket]),
                }
            }
        }
    }
    let metrics: Vec<Value> = metrics
        .into_iter()
        .map(|(labels, mut metric)| {
            if !labels.is_empty() {
                let pairs = labels.iter().map(|(name, value)| json!({"name": name, "value": value}));
                metric.insert("label".to_owned(), pairs.collect());
            }
            Value::Object(metric)
        })
        .collect();
    json!({
        "name": family.name,
        "help": family.help,
        "type": family.metric_type.as_str().to_uppercase(),
        "metric": metrics,
    })
}
