//! `GET` and `POST /api/watchkeeper/v1/rules/replay`: when would an alerting rule have fired over past data?
//!
//! The rule comes in the parameters, as it would be written: `expr`, `for`, `keep_firing_for`, `labels` (a JSON object), `alert`.
//! `start` and `end` say which time, by default the last seven days; `interval` is between two evaluations.

use super::answer::success_value;
use super::error::{ApiError, ErrorKind};
use super::params::Params;
use super::state::ApiState;
use super::v1::query::{check_length, parse_query};
use crate::model::number::format_api;
use crate::rules::alerting::AlertState;
use crate::rules::replay::{Outcome, Replay, ReplayError, Span};
use crate::rules::spec::{RuleKind, RuleSpec};
use crate::rules::template_data;
use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// How far back without `start`.
const SINCE_MS: i64 = 7 * 86_400_000;

impl From<ReplayError> for ApiError {
    fn from(error: ReplayError) -> Self {
        match error {
            ReplayError::Query(error) => error.into(),
            ReplayError::NoAlerts | ReplayError::Range | ReplayError::TooMany { .. } => Self::bad_data(error.to_string()),
            ReplayError::TooLarge(..) | ReplayError::Rule { .. } => Self::new(ErrorKind::Execution, error.to_string()),
        }
    }
}

/// The rule as the parameters have it, but for its expression.
struct Asked {
    name: String,
    text: String,
    labels: Vec<(String, String)>,
    for_ms: i64,
    keep_firing_for_ms: i64,
}

impl Asked {
    fn read(params: &Params) -> Result<Self, ApiError> {
        let length = |name: &str| match params.duration(name)? {
            Some(length) if length < 0 => Err(ApiError::bad_parameter(name, "must not be negative")),
            length => Ok(length.unwrap_or(0)),
        };
        let name = Some(params.get("alert")).filter(|name| !name.is_empty()).unwrap_or("Replay");
        let labels: BTreeMap<String, String> = match params.get("labels") {
            "" => BTreeMap::new(),
            text => serde_json::from_str(text).map_err(|error| ApiError::bad_parameter("labels", error))?,
        };
        for (label, text) in &labels {
            if label.is_empty() || label == crate::model::labels::METRIC_NAME {
                return Err(ApiError::bad_parameter("labels", format!("{label:?} is not a label's name")));
            }
            template_data::check(name, text).map_err(|error| ApiError::bad_parameter("labels", error))?;
        }
        Ok(Self {
            name: name.to_owned(),
            text: params.get("expr").to_owned(),
            labels: labels.into_iter().collect(),
            for_ms: length("for")?,
            keep_firing_for_ms: length("keep_firing_for")?,
        })
    }

    fn rule(self, cancel: &AtomicBool) -> Result<RuleSpec, ApiError> {
        let expr = parse_query(&self.text, cancel)?;
        let (for_ms, keep_firing_for_ms) = (self.for_ms, self.keep_firing_for_ms);
        Ok(RuleSpec {
            name: self.name,
            line: 0,
            query: self.text.clone(),
            text: self.text,
            expr,
            labels: self.labels,
            kind: RuleKind::Alert { for_ms, keep_firing_for_ms, annotations: Vec::new() },
        })
    }
}

fn seconds(at_ms: i64) -> f64 {
    at_ms as f64 / 1000.0
}

fn span_json(span: &Span) -> Value {
    json!({
        "state": span.state.as_str(),
        "start": seconds(span.start_ms),
        "end": span.end_ms.map(seconds),
        "value": format_api(span.value),
    })
}

fn outcome_json(outcome: &Outcome, (start_ms, end_ms, interval_ms): (i64, i64, i64)) -> Value {
    let spans = outcome.alerts.iter().flat_map(|alert| &alert.spans);
    let firing_ms: i64 = spans
        .filter(|span| span.state == AlertState::Firing)
        .map(|span| span.end_ms.unwrap_or(end_ms).min(end_ms) - span.start_ms)
        .sum();
    let alert = |alert: &crate::rules::replay::Replayed| {
        let labels: serde_json::Map<String, Value> =
            alert.labels.iter().map(|(name, value)| (name.to_owned(), Value::from(value))).collect();
        json!({"labels": labels, "spans": alert.spans.iter().map(span_json).collect::<Value>()})
    };
    json!({
        "start": seconds(start_ms),
        "end": seconds(end_ms),
        "interval": seconds(interval_ms),
        "evaluations": outcome.evaluations,
        "fired": outcome.fired,
        "gaveUp": outcome.gave_up,
        "firingSeconds": seconds(firing_ms),
        "alerts": outcome.alerts.iter().map(alert).collect::<Value>(),
    })
}

/// `GET` and `POST rules/replay`.
pub(super) async fn replay(State(api): State<ApiState>, params: Params) -> Result<Response, ApiError> {
    let asked = Asked::read(&params)?;
    check_length(&api, &asked.text)?;
    let config = api.present_config();
    let end_ms = params.time("end", api.env.clock.now_ms())?;
    let start_ms = params.time("start", end_ms.saturating_sub(SINCE_MS))?;
    let usual_ms = i64::try_from(config.global.evaluation_interval.as_millis()).unwrap_or(i64::MAX);
    let interval_ms = params.duration("interval")?.unwrap_or(usual_ms);
    let (engine, querier) = (Arc::clone(&api.engine), Arc::clone(&api.querier));
    let url = config.web.external_url.as_str().trim_end_matches('/').to_owned();
    let work = move |cancel: Arc<AtomicBool>| {
        let rule = asked.rule(&cancel)?;
        let replay = Replay {
            engine: &engine,
            querier: &*querier,
            rule: &rule,
            start_ms,
            end_ms,
            interval_ms,
            external_labels: &config.global.external_labels,
            external_url: &url,
            cancel,
        };
        replay.run().map_err(ApiError::from)
    };
    let outcome = api.run(api.limits.query_timeout, work).await?;
    Ok(success_value(&outcome_json(&outcome, (start_ms, end_ms, interval_ms))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        Asked::read(&Params::parse(text)).err().map(|error| error.message).unwrap_or_default()
    }

    #[test]
    fn reads_a_rule_or_says_what_is_wrong() {
        let params = Params::parse("expr=up+%3D%3D+0&for=5m&labels=%7B%22a%22%3A%22%7B%7B+%24value+%7D%7D%22%7D");
        let rule = Asked::read(&params).unwrap().rule(&AtomicBool::new(false)).unwrap();
        assert_eq!((rule.name.as_str(), rule.query.as_str()), ("Replay", "up == 0"));
        assert_eq!(rule.labels, [("a".to_owned(), "{{ $value }}".to_owned())]);
        assert!(matches!(rule.kind, RuleKind::Alert { for_ms: 300_000, keep_firing_for_ms: 0, .. }));
        for (text, words) in [
            ("for=x", "invalid parameter \"for\""),
            ("for=-5", "must not be negative"),
            ("labels=x", "invalid parameter \"labels\""),
            ("labels=%7B%22__name__%22%3A%22x%22%7D", "is not a label's name"),
            ("labels=%7B%22a%22%3A%22%7B%7B+.x%22%7D", "error parsing template"),
        ] {
            assert!(refused(text).contains(words), "{text}: {}", refused(text));
        }
        let no_query = Asked::read(&Params::parse("expr=up%28")).unwrap().rule(&AtomicBool::new(false));
        assert!(no_query.unwrap_err().message.contains("parse error"), "the parser's words");
    }
}
