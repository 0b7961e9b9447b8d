//! A rule over past data: when would it have been pending, when would it have fired?
//!
//! The expression is evaluated over the range in slices, and what comes out goes, evaluation by evaluation, through the state
//! machine of live rules ([`AlertingState`]). It begins early enough (by `for` and `keep_firing_for`) that an alert of the
//! range's start has its true state there. Nothing is written and nobody is told.

use super::alerting::{AlertState, AlertingState, Step};
use super::spec::{RuleKind, RuleSpec};
use super::template_data::RuleFunctions;
use crate::model::labels::Labels;
use crate::model::sample::Value;
use crate::promql::deep::deep;
use crate::promql::engine::{Engine, QueryError, QueryOptions};
use crate::promql::expr::{At, DurationExpr, Expr, ExprKind, Shift};
use crate::promql::parse;
use crate::promql::turns::Lane;
use crate::promql::value::{QueryValue, VectorSample};
use crate::storage::select::Querier;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Most evaluations of one replay: three months at 15 s.
pub const EVALUATIONS_MAX: i64 = 600_000;
/// Most alerts that a replay may find.
pub const ALERTS_MAX: usize = 10_000;
/// Most spans of all alerts together.
pub const SPANS_MAX: usize = 100_000;
/// Most evaluations that are computed at once, and the first ones; halved where they are too many for the memory of a query.
const SLICE_MAX: i64 = 1_000;
const SLICE_FIRST: i64 = 64;
/// Samples that are held at once, about.
const SAMPLES: i64 = 500_000;

/// What is replayed.
pub struct Replay<'a> {
    /// Computes.
    pub engine: &'a Engine,
    /// Where series are read.
    pub querier: &'a dyn Querier,
    /// The alerting rule; its annotations are not looked at.
    pub rule: &'a RuleSpec,
    /// The first time that is answered, milliseconds since 1970.
    pub start_ms: i64,
    /// The last one.
    pub end_ms: i64,
    /// Between two evaluations.
    pub interval_ms: i64,
    /// Labels of this server, for templates.
    pub external_labels: &'a Labels,
    /// The address of this server, for templates.
    pub external_url: &'a str,
    /// Ends the replay when set.
    pub cancel: Arc<AtomicBool>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The rule makes no alerts.
    #[error("only alerting rules can be replayed")]
    NoAlerts,
    /// The range is no range.
    #[error("the end must not be before the start, and the interval must be above 0")]
    Range,
    /// It would take too many evaluations.
    #[error("{wanted} evaluations are more than {EVALUATIONS_MAX}: take a shorter range or a longer interval")]
    TooMany {
        /// How many.
        wanted: i64,
    },
    /// The answer would be too large.
    #[error("the rule has more than {0} at {1}: take a shorter range or a narrower expression")]
    TooLarge(String, String),
    /// The expression cannot be evaluated.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// An evaluation failed where a live one would have failed as well.
    #[error("at {at}: {reason}")]
    Rule {
        /// When.
        at: String,
        /// Why.
        reason: String,
    },
}

/// A time during which an alert was in one state.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// Pending or firing.
    pub state: AlertState,
    /// The first evaluation in it.
    pub start_ms: i64,
    /// The first evaluation that is no longer in it; `None`: it goes on at the end of the range.
    pub end_ms: Option<i64>,
    /// The value at its beginning.
    pub value: f64,
}

/// One alert over the range.
#[derive(Clone, Debug, PartialEq)]
pub struct Replayed {
    /// Its labels.
    pub labels: Labels,
    /// Its spans, ascending.
    pub spans: Vec<Span>,
}

/// What would have been.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// The alerts, sorted by labels.
    pub alerts: Vec<Replayed>,
    /// How often an alert would have begun to fire; one that fired at the start counts.
    pub fired: usize,
    /// How often an alert would have been pending and ended without firing.
    pub gave_up: usize,
    /// Evaluations that were made for it.
    pub evaluations: i64,
}

/// Alerts by labels, and what is open of them.
#[derive(Default)]
struct Tracks {
    spans: BTreeMap<Labels, Vec<Span>>,
    open: BTreeMap<Labels, AlertState>,
    count: usize,
}

impl Tracks {
    /// Notes the states of one evaluation.
    fn note(&mut self, at_ms: i64, states: &AlertingState) -> Result<(), ReplayError> {
        let is_active = |labels: &Labels| states.active.get(labels).is_some_and(|alert| alert.state != AlertState::Inactive);
        let ended: Vec<Labels> = self.open.keys().filter(|labels| !is_active(labels)).cloned().collect();
        for labels in ended {
            self.open.remove(&labels);
            self.close(&labels, at_ms);
        }
        for (labels, alert) in states.active.iter().filter(|(_, alert)| alert.state != AlertState::Inactive) {
            if self.open.get(labels) == Some(&alert.state) {
                continue;
            }
            self.close(labels, at_ms);
            self.open.insert(labels.clone(), alert.state);
            let span = Span { state: alert.state, start_ms: at_ms, end_ms: None, value: alert.value };
            self.spans.entry(labels.clone()).or_default().push(span);
            self.count += 1;
            let too_large = |what: String| Err(ReplayError::TooLarge(what, time_text(at_ms)));
            if self.spans.len() > ALERTS_MAX {
                return too_large(format!("{ALERTS_MAX} alerts"));
            }
            if self.count > SPANS_MAX {
                return too_large(format!("{SPANS_MAX} changes of state"));
            }
        }
        Ok(())
    }

    fn close(&mut self, labels: &Labels, at_ms: i64) {
        if let Some(span) = self.spans.get_mut(labels).and_then(|spans| spans.last_mut()) {
            span.end_ms.get_or_insert(at_ms);
        }
    }

    /// Returns what lies within the range.
    fn outcome(self, start_ms: i64, evaluations: i64) -> Outcome {
        let mut outcome = Outcome { evaluations, ..Outcome::default() };
        for (labels, spans) in self.spans {
            let within = spans.into_iter().filter(|span| span.end_ms.is_none_or(|end_ms| end_ms > start_ms));
            let spans: Vec<Span> = within.map(|span| Span { start_ms: span.start_ms.max(start_ms), ..span }).collect();
            outcome.fired += spans.iter().filter(|span| span.state == AlertState::Firing).count();
            let fires_then = |place: usize, end_ms: i64| {
                spans.get(place + 1).is_some_and(|next| next.state == AlertState::Firing && next.start_ms == end_ms)
            };
            let gave_up = |(place, span): &(usize, &Span)| {
                span.state == AlertState::Pending && span.end_ms.is_some_and(|end_ms| !fires_then(*place, end_ms))
            };
            outcome.gave_up += spans.iter().enumerate().filter(gave_up).count();
            if !spans.is_empty() {
                outcome.alerts.push(Replayed { labels, spans });
            }
        }
        outcome
    }
}

impl Replay<'_> {
    /// Replays the rule. Blocks, for as long as its queries take.
    ///
    /// # Errors
    /// See [`ReplayError`].
    pub fn run(&self) -> Result<Outcome, ReplayError> {
        let RuleKind::Alert { for_ms, keep_firing_for_ms, .. } = &self.rule.kind else { return Err(ReplayError::NoAlerts) };
        if self.end_ms < self.start_ms || self.interval_ms <= 0 {
            return Err(ReplayError::Range);
        }
        // Whole intervals before the start, so that the evaluations of the range are those that were asked for.
        let before = for_ms.saturating_add(*keep_firing_for_ms) / self.interval_ms + 1;
        let within = self.end_ms.saturating_sub(self.start_ms) / self.interval_ms + 1;
        let wanted = before.saturating_add(within);
        if wanted > EVALUATIONS_MAX {
            return Err(ReplayError::TooMany { wanted });
        }
        let first_ms = self.start_ms.saturating_sub(before.saturating_mul(self.interval_ms));
        // What depends on the query's range is asked for one evaluation at a time, as the live rule is.
        let one_by_one = depends_on_range(&self.rule.expr);
        let mut slice = if one_by_one { 1 } else { SLICE_FIRST };
        let mut rule = self.rule.clone();
        if let RuleKind::Alert { annotations, .. } = &mut rule.kind {
            annotations.clear();
        }
        let (mut states, mut tracks) = (AlertingState::default(), Tracks::default());
        let mut done = 0;
        while done < wanted {
            if self.cancel.load(Ordering::Relaxed) {
                return Err(QueryError::Cancelled.into());
            }
            let count = slice.min(wanted - done);
            let from_ms = first_ms + done * self.interval_ms;
            let steps = match self.query(from_ms, count) {
                Ok(steps) => steps,
                Err(QueryError::TooManySamples | QueryError::TooMuchMemory { .. }) if slice > 1 => {
                    slice /= 2;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            for (place, vector) in steps.iter().enumerate() {
                let at_ms = from_ms + place as i64 * self.interval_ms;
                // Mostly nothing is there and nothing was.
                if !vector.is_empty() || !states.active.is_empty() {
                    self.step(&rule, &mut states, vector, at_ms)?;
                    tracks.note(at_ms, &states)?;
                }
            }
            done += count;
            if !one_by_one {
                let found = steps.iter().map(|vector| vector.len() as i64).sum::<i64>() / count;
                // Grows again slowly where it was halved.
                slice = (SAMPLES / found.max(1)).clamp(1, SLICE_MAX).min(slice * 2);
            }
        }
        Ok(tracks.outcome(self.start_ms, wanted))
    }

    fn step(&self, rule: &RuleSpec, states: &mut AlertingState, vector: &[VectorSample], at_ms: i64) -> Result<(), ReplayError> {
        let query = |text: &str| {
            let expr = parse::parse(text).map_err(|error| error.to_string())?;
            let result = self.engine.instant(self.querier, &expr, at_ms, &self.options());
            match result.map_err(|error| error.to_string())?.value {
                QueryValue::Vector(vector) => Ok(vector),
                QueryValue::Scalar { at_ms, value } => Ok(vec![of_scalar(at_ms, value)]),
                QueryValue::String { .. } | QueryValue::Matrix(_) => Err("query result is not a vector or scalar".to_owned()),
            }
        };
        let functions = RuleFunctions { query: &query, now_ms: at_ms, external_url: self.external_url };
        let step = Step {
            at_ms,
            query_offset_ms: 0,
            limit: 0,
            external_labels: self.external_labels,
            functions: &functions,
            restored: &BTreeMap::new(),
        };
        let settled = states.settle(rule, vector, &step, &mut |_, _| ());
        states.changes.clear();
        settled.map_err(|reason| ReplayError::Rule { at: time_text(at_ms), reason })
    }

    fn options(&self) -> QueryOptions {
        QueryOptions { cancel: Some(Arc::clone(&self.cancel)), lane: Lane::AdHoc, ..QueryOptions::default() }
    }

    /// Evaluates the expression `count` times from a time on; returns a vector for each.
    fn query(&self, from_ms: i64, count: i64) -> Result<Vec<Vec<VectorSample>>, QueryError> {
        let mut steps: Vec<Vec<VectorSample>> = vec![Vec::new(); usize::try_from(count).unwrap_or(0)];
        let expr = &self.rule.expr;
        let end_ms = from_ms + (count - 1) * self.interval_ms;
        let result = self.engine.range(self.querier, expr, from_ms, end_ms, self.interval_ms, &self.options())?;
        let QueryValue::Matrix(matrix) = result.value else { return Ok(steps) };
        for series in matrix {
            let floats = series.floats.into_iter().map(|(at_ms, value)| (at_ms, Value::Float(value)));
            let histograms = series.histograms.into_iter().map(|(at_ms, value)| (at_ms, Value::Histogram(value)));
            for (at_ms, value) in floats.chain(histograms) {
                let place = usize::try_from((at_ms - from_ms) / self.interval_ms).unwrap_or(usize::MAX);
                if let Some(step) = steps.get_mut(place) {
                    step.push(VectorSample { labels: series.labels.clone(), at_ms, value });
                }
            }
        }
        Ok(steps)
    }
}

fn of_scalar(at_ms: i64, value: f64) -> VectorSample {
    VectorSample { labels: Labels::empty(), at_ms, value: Value::Float(value) }
}

fn time_text(at_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(at_ms).map_or_else(|_| at_ms.to_string(), |time| time.to_string())
}

/// Whether an expression means another thing in a range query than at one time: `@ start()`, `step()` and their like.
fn depends_on_range(expr: &Expr) -> bool {
    let of_shift = |shift: &Shift| {
        matches!(shift.at, Some(At::Start | At::End)) || shift.offset.as_ref().is_some_and(|offset| offset.literal_ms().is_none())
    };
    let is_computed = |duration: &DurationExpr| duration.literal_ms().is_none();
    let here = match &expr.kind {
        ExprKind::Selector(selector) => of_shift(&selector.shift),
        ExprKind::Matrix(matrix) => of_shift(&matrix.selector.shift) || is_computed(&matrix.range),
        ExprKind::Subquery(subquery) => {
            of_shift(&subquery.shift) || is_computed(&subquery.range) || subquery.step.as_ref().is_some_and(is_computed)
        }
        ExprKind::Call(call) => matches!(call.function, "step" | "range" | "start" | "end"),
        _ => false,
    };
    here || expr.children().into_iter().any(|child| deep(|| depends_on_range(child)))
}
