//! `rules`, `alerts`, `alertmanagers`.

use super::super::answer::success_value;
use super::super::error::ApiError;
use super::super::json::rfc3339;
use super::super::params::Params;
use super::super::state::ApiState;
use crate::model::labels::Labels;
use crate::model::matcher::Matcher;
use crate::model::number::format_e;
use crate::rules::RulesHandle;
use crate::rules::view::{AlertView, AlertingView, GroupView, RuleView, RulesView};
use axum::extract::State;
use axum::response::Response;
use serde_json::{Map, Value, json};
use std::sync::Arc;

fn view(api: &ApiState) -> Arc<RulesView> {
    api.views.rules.as_ref().map_or_else(Arc::default, RulesHandle::view)
}

fn object(labels: &Labels) -> Value {
    labels.iter().map(|(name, value)| (name.to_owned(), Value::from(value))).collect::<Map<_, _>>().into()
}

fn alert(alert: &AlertView) -> Value {
    let mut shown = json!({
        "labels": object(&alert.labels),
        "annotations": object(&alert.annotations),
        "state": alert.state.as_str(),
        "activeAt": rfc3339(Some(alert.active_at_ms)),
        "value": format_e(alert.value),
    });
    if let (Some(fields), Some(since_ms)) = (shown.as_object_mut(), alert.keep_firing_since_ms) {
        fields.insert("keepFiringSince".to_owned(), rfc3339(Some(since_ms)).into());
    }
    shown
}

/// What the request asks to leave out.
struct Filter {
    alerting: bool,
    recording: bool,
    names: Vec<String>,
    groups: Vec<String>,
    files: Vec<String>,
    matchers: Vec<Vec<Matcher>>,
    with_alerts: bool,
}

impl Filter {
    async fn read(api: &ApiState, params: &Params) -> Result<Self, ApiError> {
        let (alerting, recording) = match params.get("type").to_lowercase().as_str() {
            "" => (true, true),
            "alert" => (true, false),
            "record" => (false, true),
            other => {
                let message = format!("not supported value {}", crate::model::number::quote(other));
                return Err(ApiError::bad_parameter("type", message));
            }
        };
        let with_alerts = match params.get("exclude_alerts").to_lowercase().as_str() {
            "" | "0" | "f" | "false" => true,
            "1" | "t" | "true" => false,
            other => {
                let message = format!("error converting exclude_alerts: strconv.ParseBool: parsing \"{other}\": invalid syntax");
                return Err(ApiError::bad_parameter("exclude_alerts", message));
            }
        };
        let all = |name: &str| params.all(name).map(str::to_owned).collect();
        let matchers = if params.all("match[]").next().is_some() {
            let params = params.clone();
            api.run(api.limits.query_timeout, move |cancel| super::matcher_sets(&params, &cancel)).await?
        } else {
            Vec::new()
        };
        Ok(Self {
            alerting,
            recording,
            names: all("rule_name[]"),
            groups: all("rule_group[]"),
            files: all("file[]"),
            matchers,
            with_alerts,
        })
    }

    fn takes_group(&self, group: &GroupView) -> bool {
        (self.groups.is_empty() || self.groups.contains(&group.name))
            && (self.files.is_empty() || self.files.iter().any(|file| *file == group.origin.path()))
    }

    fn takes_rule(&self, rule: &RuleView) -> bool {
        let kind = if rule.alerting.is_some() { self.alerting } else { self.recording };
        kind && (self.names.is_empty() || self.names.contains(&rule.name))
            && (self.matchers.is_empty()
                || self.matchers.iter().any(|set| set.iter().all(|matcher| matcher.matches_labels(&rule.labels))))
    }

    fn is_open(&self) -> bool {
        self.alerting && self.recording && self.names.is_empty() && self.matchers.is_empty()
    }
}

fn rule(rule: &RuleView, with_alerts: bool) -> Value {
    let mut shown = json!({
        "name": rule.name,
        "query": rule.query,
        "health": rule.health.as_str(),
        "evaluationTime": rule.evaluation_time_s,
        "lastEvaluation": rfc3339(rule.last_evaluation_ms),
        "type": if rule.alerting.is_some() { "alerting" } else { "recording" },
        "line": rule.line,
        "series": rule.series,
    });
    let Some(fields) = shown.as_object_mut() else { return shown };
    if !rule.last_error.is_empty() {
        fields.insert("lastError".to_owned(), rule.last_error.clone().into());
    }
    if !rule.notes.is_empty() {
        fields.insert("notes".to_owned(), json!(rule.notes));
    }
    if let Some(alerting) = &rule.alerting {
        add_alerting(fields, alerting, with_alerts);
    }
    // Prometheus leaves the labels of a recording rule out where there are none.
    if rule.alerting.is_some() || !rule.labels.is_empty() {
        fields.insert("labels".to_owned(), object(&rule.labels));
    }
    shown
}

fn add_alerting(fields: &mut Map<String, Value>, alerting: &AlertingView, with_alerts: bool) {
    let alerts: Vec<Value> = if with_alerts { alerting.alerts.iter().map(alert).collect() } else { Vec::new() };
    let more = [
        ("state", alerting.state.as_str().into()),
        ("duration", (alerting.for_ms as f64 / 1000.0).into()),
        ("keepFiringFor", (alerting.keep_firing_for_ms as f64 / 1000.0).into()),
        ("annotations", object(&alerting.annotations)),
        ("alerts", alerts.into()),
    ];
    fields.extend(more.map(|(name, value)| (name.to_owned(), value)));
}

pub(in crate::api) async fn rules(State(api): State<ApiState>, params: Params) -> Result<Response, ApiError> {
    let filter = Filter::read(&api, &params).await?;
    let limit = match params.get("group_limit") {
        "" => None,
        text => match text.parse::<usize>() {
            Ok(limit) if limit > 0 => Some(limit),
            Ok(_) => return Err(ApiError::bad_parameter("group_limit", "group_limit needs to be greater than 0")),
            Err(_) => {
                let quoted = crate::model::number::quote(text);
                let message =
                    format!("group_limit needs to be a valid number: strconv.ParseInt: parsing {quoted}: invalid syntax");
                return Err(ApiError::bad_parameter("group_limit", message));
            }
        },
    };
    let token = params.get("group_next_token");
    if !token.is_empty() && limit.is_none() {
        let message = "group_limit needs to be present in order to paginate over the groups";
        return Err(ApiError::bad_parameter("group_next_token", message));
    }
    let view = view(&api);
    let key = |group: &GroupView| {
        format!("{:016x}", Labels::from_pairs([("file", group.origin.path()), ("group", &group.name)]).fingerprint())
    };
    let mut groups: Vec<&GroupView> =
        view.groups.iter().map(|group| &**group).filter(|group| filter.takes_group(group)).collect();
    if !token.is_empty() {
        let Some(at) = groups.iter().position(|group| key(group) == token) else {
            return Err(ApiError::bad_parameter("group_next_token", "invalid group_next_token: the rule group was not found"));
        };
        groups.drain(..at);
    }
    let mut next = None;
    let mut shown = Vec::new();
    for group in groups {
        let rules: Vec<Value> =
            group.rules.iter().filter(|rule| filter.takes_rule(rule)).map(|one| rule(one, filter.with_alerts)).collect();
        if rules.is_empty() && !filter.is_open() {
            continue;
        }
        if limit.is_some_and(|limit| shown.len() == limit) {
            next = Some(key(group));
            break;
        }
        shown.push(json!({
            "name": group.name,
            "file": group.origin.path(),
            "origin": group.origin.to_string(),
            "line": group.line,
            "interval": group.interval_ms as f64 / 1000.0,
            "limit": group.limit,
            "evaluationTime": group.evaluation_time_s,
            "lastEvaluation": rfc3339(group.last_evaluation_ms),
            "rules": rules,
        }));
    }
    let mut data = json!({"groups": shown});
    if let (Some(fields), Some(next)) = (data.as_object_mut(), next) {
        fields.insert("groupNextToken".to_owned(), next.into());
    }
    Ok(success_value(&data))
}

pub(in crate::api) async fn alerts(State(api): State<ApiState>) -> Response {
    let view = view(&api);
    let rules = view.groups.iter().flat_map(|group| group.rules.iter());
    let alerts: Vec<Value> =
        rules.filter_map(|rule| rule.alerting.as_ref()).flat_map(|alerting| alerting.alerts.iter().map(alert)).collect();
    success_value(&json!({"alerts": alerts}))
}

/// Lists the external Alertmanagers that the configuration names by address.
pub(in crate::api) async fn alertmanagers(State(api): State<ApiState>) -> Response {
    success_value(&json!({
        "activeAlertmanagers": (api.views.alertmanagers)().iter().map(|url| json!({"url": url})).collect::<Vec<_>>(),
        "droppedAlertmanagers": [],
    }))
}
