//! Alerting rules: what becomes of an alert from one evaluation to the next. A pure state machine.
//!
//! ```text
//!              condition true                  held for `for`
//! (none) ---------------------> pending -----------------------> firing
//!    ^                             |                               | condition false, `keep_firing_for` over
//!    |       condition false       |                               v
//!    +-----------------------------+<------ 15 minutes ------- inactive (resolved, still told for 15 minutes)
//! ```
//!
//! Follows Prometheus's `rules/alerting.go`: same states, same series `ALERTS` and `ALERTS_FOR_STATE`, same times of
//! sending. What differs: an alert restored after a restart is given time to show itself again before it counts as
//! resolved (see `restore`).

use super::restore::{self, Last};
use super::spec::{RuleKind, RuleSpec};
use super::template_data::{self, RuleFunctions};
use crate::model::alert::{Alert, AlertChange};
use crate::model::labels::{ALERT_NAME, Labels, LabelsBuilder, METRIC_NAME};
use crate::promql::value::VectorSample;
use std::collections::BTreeMap;

/// How long a resolved alert is told again and again, in case that somebody did not hear it.
pub const RESOLVED_RETENTION_MS: i64 = 15 * 60_000;

/// The state of one alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AlertState {
    /// Resolved: it fired, and no longer does.
    Inactive,
    /// The condition holds, but not yet for long enough.
    Pending,
    /// It fires.
    Firing,
}

impl AlertState {
    /// Returns the word of Prometheus's API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inactive => "inactive",
            Self::Pending => "pending",
            Self::Firing => "firing",
        }
    }
}

/// One alert of a rule.
#[derive(Clone, Debug, PartialEq)]
pub struct ActiveAlert {
    /// Where it is.
    pub state: AlertState,
    /// Texts for people, expanded.
    pub annotations: Labels,
    /// The value when last evaluated.
    pub value: f64,
    /// Since when the condition holds.
    pub active_at_ms: i64,
    /// When it began to fire.
    pub fired_at_ms: Option<i64>,
    /// When it ended.
    pub resolved_at_ms: Option<i64>,
    /// When it was last handed on.
    pub last_sent_at_ms: Option<i64>,
    /// Until when it counts as firing where nobody repeats it.
    pub valid_until_ms: i64,
    /// Since when it fires only because of `keep_firing_for`.
    pub keep_firing_since_ms: Option<i64>,
    /// It comes from before a restart and has not shown itself since; until then it counts as holding.
    pub held_until_ms: Option<i64>,
    /// The state that [`AlertingState::changes`] has told last.
    pub noted: AlertState,
}

/// One evaluation, for the rules of a group.
#[derive(Clone, Copy)]
pub struct Step<'a> {
    /// The time of the evaluation, the same for all rules of a group.
    pub at_ms: i64,
    /// How far the query looked into the past; the samples get that time.
    pub query_offset_ms: i64,
    /// Most active alerts; 0: no bound.
    pub limit: usize,
    /// Labels of this server.
    pub external_labels: &'a Labels,
    /// Functions of templates.
    pub functions: &'a RuleFunctions<'a>,
    /// What the store says of alerts before the start; empty but for the first evaluation.
    pub restored: &'a BTreeMap<Labels, Last>,
}

/// What an evaluation wrote: series with their values, all at the time of the evaluation (less the offset).
pub type Written = Vec<(Labels, f64)>;

/// The alerts of one alerting rule.
#[derive(Clone, Debug, Default)]
pub struct AlertingState {
    /// By their labels.
    pub active: BTreeMap<Labels, ActiveAlert>,
    /// Alerts that came to another state, since somebody took them.
    pub changes: Vec<AlertChange>,
}

impl AlertingState {
    /// Takes what the expression gave at one time, and returns the series to be written.
    ///
    /// # Errors
    /// When two elements become the same alert, or there are more alerts than the limit; all alerts are forgotten then,
    /// as in Prometheus.
    pub fn step(&mut self, rule: &RuleSpec, vector: &[VectorSample], step: &Step<'_>) -> Result<Written, String> {
        let mut written = Vec::new();
        self.settle(rule, vector, step, &mut |labels, alert| {
            written.push((series(labels, "ALERTS", rule, Some(alert.state)), 1.0));
            let since = (alert.active_at_ms.div_euclid(1000)) as f64;
            written.push((series(labels, "ALERTS_FOR_STATE", rule, None), since));
        })?;
        Ok(written)
    }

    /// Takes what the expression gave at one time, and calls `active` for each alert that is pending or firing then.
    ///
    /// # Errors
    /// As [`Self::step`].
    pub fn settle(
        &mut self,
        rule: &RuleSpec,
        vector: &[VectorSample],
        step: &Step<'_>,
        active: &mut dyn FnMut(&Labels, &ActiveAlert),
    ) -> Result<(), String> {
        let RuleKind::Alert { for_ms, keep_firing_for_ms, annotations } = &rule.kind else { return Ok(()) };
        let mut found = BTreeMap::new();
        for sample in vector {
            let (labels, alert) = new_alert(rule, annotations, sample, step);
            if found.insert(labels, alert).is_some() {
                return Err("vector contains metrics with the same labelset after applying alert labels".to_owned());
            }
        }
        for (labels, alert) in &found {
            match self.active.get_mut(labels) {
                Some(known) if known.state != AlertState::Inactive => {
                    known.value = alert.value;
                    known.annotations = alert.annotations.clone();
                }
                _ => {
                    let mut alert = alert.clone();
                    let last = step.restored.get(labels);
                    if let Some(since) = last.and_then(|last| restore::active_since(*last, step.at_ms, *for_ms)) {
                        alert.active_at_ms = since.min(step.at_ms);
                        // It was told before the start.
                        alert.noted = AlertState::Pending;
                    }
                    self.active.insert(labels.clone(), alert);
                }
            }
        }
        let mut count = 0;
        let changes = &mut self.changes;
        self.active.retain(|labels, alert| {
            let holds = found.contains_key(labels);
            let (keep, is_active) = alert.advance(holds, step.at_ms, *for_ms, *keep_firing_for_ms);
            if let Some(change) = alert.change(labels, step.at_ms) {
                changes.push(change);
            }
            if is_active {
                count += 1;
                active(labels, alert);
            }
            keep
        });
        if step.limit > 0 && count > step.limit {
            self.active.clear();
            return Err(format!("exceeded limit of {} with {count} alerts", step.limit));
        }
        Ok(())
    }

    /// Returns whether alerts of before a restart have not shown themselves yet.
    #[must_use]
    pub fn has_held(&self, at_ms: i64) -> bool {
        self.active.values().any(|alert| alert.is_held(at_ms))
    }

    /// Lets go of alerts of before a restart of which the inputs say that they are over.
    pub fn let_go(&mut self, is_over: impl Fn(&Labels) -> bool) {
        for (labels, alert) in &mut self.active {
            if alert.held_until_ms.is_some() && is_over(labels) {
                alert.held_until_ms = None;
            }
        }
    }

    /// Returns the alerts that are to be told at `at_ms`, and notes that they were.
    pub fn due(&mut self, at_ms: i64, resend_delay_ms: i64, interval_ms: i64, generator_url: &str) -> Vec<Alert> {
        let mut due = Vec::new();
        for (labels, alert) in &mut self.active {
            if alert.needs_sending(at_ms, resend_delay_ms) {
                alert.last_sent_at_ms = Some(at_ms);
                // Two evaluations or two attempts to send may fail.
                alert.valid_until_ms = at_ms + 4 * interval_ms.max(resend_delay_ms);
                due.push(alert.told(labels, at_ms, generator_url));
            }
        }
        due
    }

    /// Ends all alerts, because the rule is gone, and returns those that somebody has heard of.
    pub fn end(&mut self, at_ms: i64, generator_url: &str) -> Vec<Alert> {
        let mut ended = Vec::new();
        for (labels, mut alert) in std::mem::take(&mut self.active) {
            let was_told = alert.last_sent_at_ms.is_some();
            let ends = ActiveAlert { state: AlertState::Inactive, ..alert.clone() }.change(&labels, at_ms);
            self.changes.extend(ends);
            if alert.state == AlertState::Firing && was_told {
                alert.state = AlertState::Inactive;
                alert.resolved_at_ms = Some(at_ms);
                ended.push(alert.told(&labels, at_ms, generator_url));
            }
        }
        ended
    }

    /// Returns the worst state among the alerts.
    #[must_use]
    pub fn state(&self) -> AlertState {
        self.active.values().map(|alert| alert.state).max().unwrap_or(AlertState::Inactive)
    }
}

fn new_alert(rule: &RuleSpec, annotations: &[(String, String)], sample: &VectorSample, step: &Step<'_>) -> (Labels, ActiveAlert) {
    let value = template_data::value_of(&sample.value);
    let number = match value {
        crate::template::Value::Float(number) => number,
        _ => f64::NAN,
    };
    // Templates see the labels of the result, not those of the rule.
    let data = template_data::alert_data(&sample.labels, value, step.external_labels, step.functions.external_url);
    let expand = |text: &str| template_data::expand(&rule.name, text, &data, step.functions);
    let mut labels = LabelsBuilder::from(&sample.labels);
    labels.remove(METRIC_NAME);
    for (name, text) in &rule.labels {
        labels.set(name, &expand(text));
    }
    labels.set(ALERT_NAME, &rule.name);
    let alert = ActiveAlert {
        state: AlertState::Pending,
        annotations: Labels::from_pairs(annotations.iter().map(|(name, text)| (name.as_str(), expand(text)))),
        value: number,
        active_at_ms: step.at_ms,
        fired_at_ms: None,
        resolved_at_ms: None,
        last_sent_at_ms: None,
        valid_until_ms: 0,
        keep_firing_since_ms: None,
        held_until_ms: None,
        noted: AlertState::Inactive,
    };
    (labels.build(), alert)
}

/// Returns the labels of `ALERTS` or `ALERTS_FOR_STATE` for one alert.
fn series(labels: &Labels, metric: &str, rule: &RuleSpec, state: Option<AlertState>) -> Labels {
    let mut builder = LabelsBuilder::from(labels);
    builder.set(METRIC_NAME, metric).set(ALERT_NAME, &rule.name);
    if let Some(state) = state {
        builder.set("alertstate", state.as_str());
    }
    builder.build()
}

/// Returns the labels of the series `ALERTS_FOR_STATE` of one alert.
#[must_use]
pub fn for_state_series(labels: &Labels, rule: &RuleSpec) -> Labels {
    series(labels, "ALERTS_FOR_STATE", rule, None)
}

impl ActiveAlert {
    /// Moves on by one evaluation. Returns whether the alert is kept, and whether it is pending or firing.
    fn advance(&mut self, holds: bool, at_ms: i64, for_ms: i64, keep_firing_for_ms: i64) -> (bool, bool) {
        if holds {
            self.keep_firing_since_ms = None;
            self.held_until_ms = None;
        } else if !self.is_held(at_ms) {
            let mut keep_firing = false;
            if self.state == AlertState::Firing && keep_firing_for_ms > 0 {
                let since = *self.keep_firing_since_ms.get_or_insert(at_ms);
                keep_firing = at_ms - since < keep_firing_for_ms;
            }
            let forgotten = self.resolved_at_ms.is_some_and(|resolved| at_ms - resolved > RESOLVED_RETENTION_MS);
            let keep = self.state != AlertState::Pending && !forgotten;
            if self.state != AlertState::Inactive && !keep_firing {
                self.state = AlertState::Inactive;
                self.resolved_at_ms = Some(at_ms);
            }
            if !keep_firing {
                return (keep, false);
            }
        }
        if self.state == AlertState::Pending && at_ms - self.active_at_ms >= for_ms {
            self.state = AlertState::Firing;
            self.fired_at_ms.get_or_insert(at_ms);
        }
        (true, true)
    }

    /// Tells the state where it is another than the one told last.
    fn change(&mut self, labels: &Labels, at_ms: i64) -> Option<AlertChange> {
        (self.noted != self.state).then(|| {
            self.noted = self.state;
            let (state, active_at_ms, value) = (self.state.as_str(), self.active_at_ms, self.value);
            AlertChange { at_ms, labels: labels.clone(), state, active_at_ms, value }
        })
    }

    fn is_held(&self, at_ms: i64) -> bool {
        self.state == AlertState::Firing && self.held_until_ms.is_some_and(|until| at_ms < until)
    }

    fn needs_sending(&self, at_ms: i64, resend_delay_ms: i64) -> bool {
        if self.state == AlertState::Pending {
            return false;
        }
        let Some(last_sent_at_ms) = self.last_sent_at_ms else { return true };
        // News are told at once.
        self.resolved_at_ms.is_some_and(|resolved| resolved > last_sent_at_ms) || last_sent_at_ms + resend_delay_ms < at_ms
    }

    fn told(&self, labels: &Labels, at_ms: i64, generator_url: &str) -> Alert {
        Alert {
            labels: labels.clone(),
            annotations: self.annotations.clone(),
            starts_at_ms: self.fired_at_ms.unwrap_or(self.active_at_ms),
            ends_at_ms: Some(self.resolved_at_ms.unwrap_or(self.valid_until_ms)),
            updated_at_ms: at_ms,
            generator_url: generator_url.to_owned(),
            value: Some(self.value),
        }
    }
}
