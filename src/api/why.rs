//! `GET /api/watchkeeper/v1/why`: why is somebody told of an alert, or not? From the rule that makes it to what the mail server
//! said.
//!
//! Asked for by `fingerprint` (an alert that fires or is pending) or by `labels={alertname="DiskFull",instance="db1"}` (any label
//! set, also one that somebody only thinks of). Labels of which only one alert has all mean that alert; `alike` names others.

use super::answer::success_value;
use super::error::{ApiError, ErrorKind};
use super::params::Params;
use super::state::ApiState;
use crate::alerting::external::labelled;
use crate::alerting::persist::labels_json;
use crate::alerting::view::AlertingView;
use crate::alerting::why::{self, Step, Way};
use crate::model::alert::Alert;
use crate::model::labels::{ALERT_NAME, Labels, LabelsBuilder};
use crate::model::matcher::MatchOp;
use crate::model::{duration, matcher_text};
use crate::rules::RulesView;
use crate::rules::alerting::AlertState;
use crate::rules::view::{AlertView, Health, RuleView};
use crate::template::Time;
use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// How many other alerts with these labels are named.
const ALIKE_MAX: usize = 20;

fn clock(at_ms: i64) -> String {
    Time::from_ms(at_ms).format("2006-01-02 15:04:05 MST")
}

fn step_json(step: &Step) -> Value {
    json!({"place": step.place, "passes": step.passes, "text": step.text})
}

fn way_json(way: &Way) -> Value {
    json!({
        "route": way.route,
        "receiver": way.receiver,
        "groupLabels": labels_json(&way.group_labels),
        "verdict": way.verdict.as_str(),
        "text": way.text,
        "steps": way.steps.iter().map(step_json).collect::<Value>(),
    })
}

/// Reads `{name="value", ...}`.
fn read_labels(text: &str) -> Result<Labels, ApiError> {
    let matchers = matcher_text::parse(text).map_err(|error| ApiError::bad_data(format!("labels: {error}")))?;
    let mut labels = LabelsBuilder::new();
    for matcher in &matchers {
        if matcher.op() != MatchOp::Equal {
            return Err(ApiError::bad_data(format!("labels: {} is no label: name=\"value\" is", matcher.name())));
        }
        labels.set(matcher.name(), matcher.value());
    }
    let labels = labels.build();
    if labels.is_empty() { Err(ApiError::bad_data("labels: none are given")) } else { Ok(labels) }
}

/// An alert on its way from a rule, with these labels.
fn made(labels: &Labels) -> Alert {
    Alert {
        labels: labels.clone(),
        annotations: Labels::empty(),
        starts_at_ms: 0,
        ends_at_ms: None,
        updated_at_ms: 0,
        generator_url: String::new(),
        value: None,
    }
}

/// What is asked about.
struct Question<'a> {
    api: &'a ApiState,
    rules: &'a RulesView,
}

impl Question<'_> {
    /// Returns the labels that an alert of a rule has for the notifier; `None`: it goes no further.
    fn outside(&self, labels: &Labels) -> Option<Labels> {
        labelled(&self.api.present_config(), made(labels)).map(|alert| alert.labels)
    }

    fn alerts(&self) -> impl Iterator<Item = (&RuleView, &AlertView)> {
        let rules = self.rules.groups.iter().flat_map(|group| &group.rules);
        rules.flat_map(|rule| {
            rule.alerting.iter().flat_map(move |alerting| alerting.alerts.iter().map(move |alert| (rule, alert)))
        })
    }

    /// Finds the alert of a rule that has these labels, as the rule made it or as the notifier knows it.
    fn of_rule(&self, labels: &Labels) -> Option<(&RuleView, &AlertView)> {
        self.alerts().find(|(_, alert)| alert.labels == *labels || self.outside(&alert.labels).as_ref() == Some(labels))
    }

    /// Finds alerts, firing or pending, that have at least these labels.
    fn with_labels(&self, view: &AlertingView, given: &Labels) -> Vec<Labels> {
        let known = view.alerts.iter().map(|alert| alert.alert.labels.clone());
        let pending = self.alerts().filter_map(|(_, alert)| self.outside(&alert.labels));
        let fits = |labels: &Labels| given.iter().all(|(name, value)| labels.get(name) == Some(value));
        let found: BTreeSet<Labels> = known.chain(pending).filter(fits).collect();
        found.into_iter().collect()
    }

    /// Says what rules know of it.
    fn rule_steps(&self, labels: &Labels) -> Vec<Step> {
        let step = |passes, text| Step { place: "rule", passes, text };
        if let Some((rule, alert)) = self.of_rule(labels) {
            let for_ms = rule.alerting.as_ref().map_or(0, |alerting| alerting.for_ms);
            return vec![match alert.state {
                AlertState::Pending => {
                    let fires_ms = alert.active_at_ms.saturating_add(for_ms);
                    let held = duration::format_ms(for_ms);
                    step(
                        false,
                        format!(
                            "pending since {}: it must hold for {held}, and fires at {}",
                            clock(alert.active_at_ms),
                            clock(fires_ms)
                        ),
                    )
                }
                AlertState::Firing | AlertState::Inactive => {
                    step(true, format!("the rule {} fires, its condition holds since {}", rule.name, clock(alert.active_at_ms)))
                }
            }];
        }
        let name = labels.value(ALERT_NAME);
        let rules = self.rules.groups.iter().flat_map(|group| &group.rules);
        let named: Vec<&RuleView> = rules.filter(|rule| rule.alerting.is_some() && rule.name == name).collect();
        if named.is_empty() {
            return vec![step(true, format!("no rule here is named {name:?}: only others can post it"))];
        }
        let said = |rule: &&RuleView| match rule.health {
            Health::Bad => step(false, format!("the rule {name} fails: {}", rule.last_error)),
            Health::Unknown => step(false, format!("the rule {name} was not evaluated yet")),
            Health::Good => {
                step(true, format!("the condition of the rule {name} does not hold for these labels: {}", rule.query))
            }
        };
        named.iter().map(said).collect()
    }
}

/// `GET why`.
pub(super) async fn why(State(api): State<ApiState>, params: Params) -> Result<Response, ApiError> {
    let Some(alerting) = api.views.alerting.clone() else {
        return Err(ApiError::new(ErrorKind::Unavailable, "alerting does not run"));
    };
    let (view, now_ms) = (alerting.view(), api.env.clock.now_ms());
    let rules = api.views.rules.as_ref().map(crate::rules::RulesHandle::view).unwrap_or_default();
    let question = Question { api: &api, rules: &rules };
    let asked = match (params.get("fingerprint"), params.get("labels")) {
        ("", "") => return Err(ApiError::bad_data("give a fingerprint or labels")),
        ("", labels) => {
            let given = read_labels(labels)?;
            // Who names some labels of one alert means that alert.
            match question.with_labels(&view, &given).as_slice() {
                [one] => one.clone(),
                _ => given,
            }
        }
        (text, _) => {
            let fingerprint =
                u64::from_str_radix(text, 16).map_err(|_| ApiError::bad_data("fingerprint: no hexadecimal number"))?;
            let pending = || question.alerts().find(|(_, alert)| alert.labels.fingerprint() == fingerprint);
            match view.alert(fingerprint) {
                Some(alert) => alert.alert.labels.clone(),
                None => match pending() {
                    Some((_, alert)) => alert.labels.clone(),
                    None => return Err(ApiError::new(ErrorKind::NotFound, "no alert has this fingerprint")),
                },
            }
        }
    };
    let alike = question.with_labels(&view, &asked);
    let alike = alike.iter().filter(|labels| **labels != asked).take(ALIKE_MAX).map(labels_json).collect::<Value>();
    let mut before = question.rule_steps(&asked);
    // What the notifier knows has these labels already.
    let labels = if view.alert(asked.fingerprint()).is_some() { Some(asked.clone()) } else { question.outside(&asked) };
    let Some(labels) = labels else {
        let text = "alerting.alert_relabel_configs drop it".to_owned();
        before.push(Step { place: "relabelling", passes: false, text });
        let before: Value = before.iter().map(step_json).collect();
        return Ok(success_value(
            &json!({"labels": labels_json(&asked), "known": false, "fires": false, "before": before, "ways": []}),
        ));
    };
    let why = why::explain(&view, now_ms, &labels);
    Ok(success_value(&json!({
        "labels": labels_json(&labels),
        "known": why.is_known,
        "fires": why.fires,
        "alike": alike,
        "before": before.iter().map(step_json).collect::<Value>(),
        "ways": why.ways.iter().map(way_json).collect::<Value>(),
    })))
}
