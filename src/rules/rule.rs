//! One rule as it lives: query, step, write what came out, note how it went. Blocks.

use super::alerting::{AlertingState, Step};
use super::restore::{self, Last};
use super::spec::{RuleKind, RuleSpec};
use super::template_data::RuleFunctions;
use super::view::{AlertView, AlertingView, Health, RuleView};
use super::{alerting, chart, recording};
use crate::model::alert::{Alert, AlertChange};
use crate::model::labels::Labels;
use crate::model::limits;
use crate::model::sample::{self, Value};
use crate::promql::activity::{Asking, Beginning};
use crate::promql::engine::{Engine, QueryOptions};
use crate::promql::expr::Expr;
use crate::promql::parse;
use crate::promql::query_log::{Asked, Origin};
use crate::promql::turns::Lane;
use crate::promql::value::{QueryValue, VectorSample};
use crate::storage::append::{Append, AppendError, BatchSample, BatchValue, Durability, GroupId, SeriesId};
use crate::storage::select::Querier;
use hashbrown::{HashMap, HashSet};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// What the rules of one evaluation share.
pub struct Evaluation<'a> {
    /// Answers queries.
    pub engine: &'a Engine,
    /// Where series are read.
    pub querier: &'a dyn Querier,
    /// Where series are written.
    pub append: &'a dyn Append,
    /// The time, the same for all rules of the group.
    pub at_ms: i64,
    /// How far the queries look into the past.
    pub query_offset_ms: i64,
    /// Most alerts or series of each rule; 0: no bound.
    pub limit: usize,
    /// Labels of this server.
    pub external_labels: &'a Labels,
    /// The address of this server as users reach it.
    pub external_url: &'a str,
    /// Ends the queries when set.
    pub cancel: Option<Arc<AtomicBool>>,
    /// Between two evaluations.
    pub interval_ms: i64,
    /// How long a told alert stays told.
    pub resend_delay_ms: i64,
    /// Rule file and group, for the log of queries.
    pub group: (&'a str, &'a str),
}

/// How one evaluation of a rule went.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Alerts to be told.
    pub alerts: Vec<Alert>,
    /// Alerts that came to another state.
    pub changes: Vec<AlertChange>,
    /// Samples written.
    pub samples: usize,
    /// Why it failed.
    pub error: Option<String>,
}

/// A rule with its state.
#[derive(Debug)]
pub struct RuleState {
    /// What it says.
    pub spec: Arc<RuleSpec>,
    /// The store's name of its series as a group.
    store_group: String,
    group: Option<GroupId>,
    /// The series of the last evaluation, in the order in which they came out.
    series: Vec<(Labels, SeriesId)>,
    /// Their order in the last row.
    layout: Arc<[SeriesId]>,
    /// Its alerts.
    pub alerting: AlertingState,
    /// Whether `ALERTS_FOR_STATE` is still to be read.
    to_restore: bool,
    health: Health,
    last_error: String,
    notes: Vec<String>,
    evaluation_time_s: f64,
    last_evaluation_ms: Option<i64>,
}

impl RuleState {
    /// Returns a rule that was never evaluated. With `to_restore`, its first evaluation looks for what was before.
    #[must_use]
    pub fn new(spec: Arc<RuleSpec>, store_group: String, to_restore: bool) -> Self {
        Self {
            spec,
            store_group,
            group: None,
            series: Vec::new(),
            layout: Arc::from([]),
            alerting: AlertingState::default(),
            to_restore,
            health: Health::default(),
            last_error: String::new(),
            notes: Vec::new(),
            evaluation_time_s: 0.0,
            last_evaluation_ms: None,
        }
    }

    /// Goes on where `old` stopped: the same name and labels, perhaps another expression.
    pub fn carry_over(&mut self, old: Self) {
        self.series = old.series;
        self.alerting = old.alerting;
        self.to_restore = old.to_restore;
        if self.spec.is_same(&old.spec) {
            self.health = old.health;
            self.last_error = old.last_error;
            self.notes = old.notes;
            self.evaluation_time_s = old.evaluation_time_s;
            self.last_evaluation_ms = old.last_evaluation_ms;
        }
    }

    /// Returns the series that the rule wrote last.
    pub fn series(&self) -> impl Iterator<Item = &Labels> {
        self.series.iter().map(|(labels, _)| labels)
    }

    /// Evaluates the rule, writes its samples, and returns the alerts to be told.
    pub fn evaluate(&mut self, evaluation: &Evaluation<'_>) -> Outcome {
        let mut outcome = Outcome::default();
        self.last_evaluation_ms = Some(evaluation.at_ms);
        let result = self.try_evaluate(evaluation, &mut outcome);
        outcome.changes = std::mem::take(&mut self.alerting.changes);
        match result {
            Ok(()) => {
                self.health = Health::Good;
                self.last_error.clear();
            }
            Err(error) => {
                self.health = Health::Bad;
                self.last_error.clone_from(&error);
                outcome.error = Some(error);
            }
        }
        outcome
    }

    /// Notes how long the last evaluation took.
    pub const fn took(&mut self, seconds: f64) {
        self.evaluation_time_s = seconds;
    }

    /// Lets go of alerts of before the start where their inputs are there and say that they are over.
    fn ask_inputs(&mut self, evaluation: &Evaluation<'_>) {
        let Some((drawn, limit, operator)) = chart::condition(&self.spec.expr) else { return };
        let ask = |expr: &Expr| query(evaluation, expr, &self.spec.text).map(|(vector, _)| vector);
        if let (Ok(drawn), Ok(limit)) = (ask(drawn), ask(limit)) {
            self.alerting.let_go(|labels| chart::is_denied(&drawn, &limit, operator, labels));
        }
    }

    fn try_evaluate(&mut self, evaluation: &Evaluation<'_>, outcome: &mut Outcome) -> Result<(), String> {
        let (vector, notes) = query(evaluation, &self.spec.expr, &self.spec.text)?;
        self.notes = notes;
        let written = if self.spec.is_alert() {
            if self.alerting.has_held(evaluation.at_ms) {
                self.ask_inputs(evaluation);
            }
            let restored = self.restored(evaluation);
            let functions = RuleFunctions {
                query: &|text| query_text(evaluation, text),
                now_ms: evaluation.at_ms,
                external_url: evaluation.external_url,
            };
            let step = Step {
                at_ms: evaluation.at_ms,
                query_offset_ms: evaluation.query_offset_ms,
                limit: evaluation.limit,
                external_labels: evaluation.external_labels,
                functions: &functions,
                restored: &restored,
            };
            let written = self.alerting.step(&self.spec, &vector, &step)?;
            let url = self.generator_url(evaluation.external_url);
            outcome.alerts = self.alerting.due(evaluation.at_ms, evaluation.resend_delay_ms, evaluation.interval_ms, &url);
            written.into_iter().map(|(labels, value)| (labels, Value::Float(value))).collect()
        } else {
            recording::step(&self.spec, vector, evaluation.limit)?
        };
        outcome.samples = written.len();
        self.write(evaluation, &written)
    }

    /// Returns the link to the expression.
    #[must_use]
    pub fn generator_url(&self, external_url: &str) -> String {
        format!("{}{}", external_url.trim_end_matches('/'), super::template_data::expression_link(&self.spec.query, 1))
    }

    /// Reads, once, since when the conditions of alerts hold that were there before the start.
    fn restored(&mut self, evaluation: &Evaluation<'_>) -> BTreeMap<Labels, Last> {
        if !std::mem::take(&mut self.to_restore) {
            return BTreeMap::new();
        }
        restore::for_state(evaluation.querier, &self.spec, evaluation.at_ms - evaluation.query_offset_ms).unwrap_or_else(
            |error| {
                tracing::warn!(rule = %self.spec.name, %error, "the state of alerts before the start cannot be read");
                BTreeMap::new()
            },
        )
    }

    /// Writes what came out. The store may have forgotten the series of a rule that had no samples for long.
    fn write(&mut self, evaluation: &Evaluation<'_>, written: &[(Labels, Value)]) -> Result<(), String> {
        let mut done = self.try_write(evaluation, written);
        if matches!(done, Err(AppendError::Forgotten)) {
            self.series.clear();
            done = self.try_write(evaluation, written);
        }
        done.map_err(|error| error.to_string())
    }

    /// Writes what came out, and a stale marker for each series that came out last time and does not now.
    fn try_write(&mut self, evaluation: &Evaluation<'_>, written: &[(Labels, Value)]) -> Result<(), AppendError> {
        let append = evaluation.append;
        let group = match self.group {
            Some(group) => group,
            None => *self.group.insert(append.group(&self.store_group)?),
        };
        let at_ms = evaluation.at_ms - evaluation.query_offset_ms;
        let mut series = Vec::with_capacity(written.len());
        let (mut ids, mut values, mut histograms) = (Vec::new(), Vec::new(), Vec::new());
        let mut refused = None;
        // Mostly the same come out in the same order; only where they do not one is sought.
        let mut sought: Option<HashMap<Labels, SeriesId>> = None;
        for (place, (labels, value)) in written.iter().enumerate() {
            let here = self.series.get(place).filter(|(known, _)| known == labels).map(|(_, id)| *id);
            let mut by_labels = |labels: &Labels| {
                let all = || self.series.iter().map(|(labels, id)| (labels.clone(), *id)).collect();
                sought.get_or_insert_with(all).get(labels).copied()
            };
            let id = match here.map_or_else(|| by_labels(labels), Some) {
                Some(id) => id,
                None => {
                    // What a rule makes up must fit a line as what is scraped does. The others are written all the same.
                    if let Err(reason) = limits::check_labels(labels) {
                        refused = Some(AppendError::Limit(reason));
                        continue;
                    }
                    append.series(labels)?
                }
            };
            match value {
                Value::Float(value) => {
                    ids.push(id);
                    values.push(*value);
                }
                Value::Histogram(histogram) => {
                    let value = BatchValue::Histogram(Arc::clone(histogram));
                    histograms.push(BatchSample { series: id, at_ms, value });
                }
            }
            series.push((labels.clone(), id));
        }
        let is_same = series.len() == self.series.len() && series.iter().zip(&self.series).all(|(left, right)| left.1 == right.1);
        if !is_same {
            let present: HashSet<SeriesId> = series.iter().map(|(_, id)| *id).collect();
            for (_, id) in self.series.iter().filter(|(_, id)| !present.contains(id)) {
                ids.push(*id);
                values.push(sample::stale_nan());
            }
        }
        self.series = series;
        if *self.layout != *ids {
            self.layout = Arc::from(ids);
        }
        if !values.is_empty() {
            append.append_row(group, at_ms, &self.layout, &values)?;
        }
        if !histograms.is_empty() {
            append.append_samples(Some(group), &histograms, Durability::Kept)?;
        }
        refused.map_or(Ok(()), Err)
    }

    /// Returns the rule as pages show it.
    #[must_use]
    pub fn view(&self) -> RuleView {
        let spec = &self.spec;
        let alerting = match &spec.kind {
            RuleKind::Record => None,
            RuleKind::Alert { for_ms, keep_firing_for_ms, annotations } => Some(AlertingView {
                state: self.alerting.state(),
                for_ms: *for_ms,
                keep_firing_for_ms: *keep_firing_for_ms,
                annotations: Labels::from_pairs(annotations.iter().map(|(name, text)| (name, text))),
                alerts: self.alert_views(),
            }),
        };
        RuleView {
            name: spec.name.clone(),
            line: spec.line,
            query: spec.query.clone(),
            labels: Labels::from_pairs(spec.labels.iter().map(|(name, value)| (name, value))),
            health: self.health,
            last_error: self.last_error.clone(),
            notes: self.notes.clone(),
            evaluation_time_s: self.evaluation_time_s,
            last_evaluation_ms: self.last_evaluation_ms,
            series: self.series.len(),
            alerting,
        }
    }

    fn alert_views(&self) -> Vec<AlertView> {
        let active = self.alerting.active.iter().filter(|(_, alert)| alert.state != alerting::AlertState::Inactive);
        let view = |(labels, alert): (&Labels, &alerting::ActiveAlert)| AlertView {
            labels: labels.clone(),
            annotations: alert.annotations.clone(),
            state: alert.state,
            active_at_ms: alert.active_at_ms,
            keep_firing_since_ms: alert.keep_firing_since_ms,
            value: alert.value,
        };
        active.map(view).collect()
    }
}

/// Evaluates an expression to a vector, with warnings and infos.
fn query(evaluation: &Evaluation<'_>, expr: &Expr, text: &str) -> Result<(Vec<VectorSample>, Vec<String>), String> {
    let shared: Arc<str> = Arc::from(text);
    let options = QueryOptions {
        cancel: evaluation.cancel.clone(),
        text: Some(Arc::clone(&shared)),
        lane: Lane::Rules,
        ..QueryOptions::default()
    };
    let at_ms = evaluation.at_ms - evaluation.query_offset_ms;
    // A group's evaluation ends as a whole, or not at all.
    let beginning = Beginning { text: shared, range: (at_ms, at_ms, 0), asking: Asking::Rule, user: None, cancel: None };
    let under = evaluation.engine.activity().map(|activity| activity.begin(beginning));
    let log = evaluation.engine.log().map(|log| (log, log.now()));
    let result = evaluation.engine.instant(evaluation.querier, expr, at_ms, &options);
    if let Some(under) = under {
        under.end(result.as_ref().ok().map(|result| (&result.stats, result.value.series())));
    }
    if let Some((log, began)) = log {
        let (file, group) = evaluation.group;
        let took = log.now().saturating_sub(began);
        let outcome = result.as_ref().map(|result| &result.stats).map_err(ToString::to_string);
        let (start_ms, end_ms, origin) = (at_ms, at_ms, Origin::Rule { file, group });
        log.write(&Asked { text, start_ms, end_ms, step_ms: 0, took, outcome, origin });
    }
    let result = result.map_err(|error| error.to_string())?;
    let notes = result.warnings.into_iter().chain(result.infos).collect();
    match result.value {
        QueryValue::Vector(vector) => Ok((vector, notes)),
        QueryValue::Scalar { at_ms, value } => {
            Ok((vec![VectorSample { labels: Labels::empty(), at_ms, value: Value::Float(value) }], notes))
        }
        QueryValue::String { .. } | QueryValue::Matrix(_) => Err("rule result is not a vector or scalar".to_owned()),
    }
}

/// Evaluates the query of a template or of a unit test.
///
/// # Errors
/// When the text is no expression or cannot be evaluated.
pub(super) fn query_text(evaluation: &Evaluation<'_>, text: &str) -> Result<Vec<VectorSample>, String> {
    let expr = parse::parse(text).map_err(|error| error.to_string())?;
    query(evaluation, &expr, text).map(|(vector, _)| vector)
}
