//! The series behind an alert, for the chart in its mail: the expression without its comparison, for the alert's own labels,
//! and the limit.
//!
//! The alert itself says what to draw: its link holds the expression of its rule. Links that are not ours are not followed.

use super::template_data;
use crate::model::chart::{ChartAsk, ChartData, Threshold};
use crate::model::labels::{Labels, METRIC_NAME};
use crate::model::matcher::Matcher;
use crate::model::sample::Value;
use crate::promql::engine::{Engine, QueryError, QueryOptions};
use crate::promql::expr::{AggregateOp, BinaryOp, Expr, ExprKind, ValueType, VectorSelector};
use crate::promql::value::{MatrixSeries, QueryValue, VectorSample};
use crate::promql::{parse, print};
use crate::storage::select::Querier;
use crate::template::library;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// How many points a chart has.
const POINTS: i64 = 120;
/// The shortest time between two points.
const STEP_MIN_MS: i64 = 1000;

/// Expressions that are higher are read as they are.
const NARROWED_HEIGHT_MAX: usize = 100;

/// What an expression compares.
struct Compared<'e> {
    drawn: &'e Expr,
    limit: &'e Expr,
    operator: &'static str,
}

/// Returns the comparison as it is from the other side.
fn mirrored(operator: &'static str) -> &'static str {
    match operator {
        ">" => "<",
        ">=" => "<=",
        "<" => ">",
        "<=" => ">=",
        _ => operator,
    }
}

/// Finds the comparison that decides: the outermost one, or that of the left side of `and` and `unless`.
fn compared(mut expr: &Expr) -> Option<Compared<'_>> {
    // A loop: a chain may be thousands of operators high.
    loop {
        match &expr.kind {
            ExprKind::Paren(inner) => expr = inner,
            // With `bool` every series goes on, whatever it is compared with.
            ExprKind::Binary(binary) if binary.op.is_comparison() && !binary.return_bool => {
                let operator = binary.op.as_str();
                return Some(match binary.left.value_type() {
                    ValueType::Scalar => Compared { drawn: &binary.right, limit: &binary.left, operator: mirrored(operator) },
                    _ => Compared { drawn: &binary.left, limit: &binary.right, operator },
                });
            }
            ExprKind::Binary(binary) if matches!(binary.op, BinaryOp::And | BinaryOp::Unless) => expr = &binary.left,
            _ => return None,
        }
    }
}

/// Returns whether an expression reads samples of a window: soon after a start it may hold too few of them.
fn reads_windows(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Number(_) | ExprKind::String(_) | ExprKind::Selector(_) => false,
        ExprKind::Matrix(_) | ExprKind::Subquery(_) => true,
        ExprKind::Unary(_, inner) | ExprKind::Paren(inner) => reads_windows(inner),
        ExprKind::Binary(binary) => reads_windows(&binary.left) || reads_windows(&binary.right),
        ExprKind::Aggregate(aggregate) => reads_windows(&aggregate.expr),
        ExprKind::Call(call) => call.args.iter().any(reads_windows),
    }
}

/// Returns the two sides of the comparison on which a rule's condition stands and falls, with its operator; `None` where there is
/// none, or where a window is read.
pub(super) fn condition(expr: &Expr) -> Option<(&Expr, &Expr, &'static str)> {
    if expr.height() > NARROWED_HEIGHT_MAX {
        return None;
    }
    let Compared { drawn, limit, operator } = compared(expr)?;
    (!reads_windows(drawn) && !reads_windows(limit)).then_some((drawn, limit, operator))
}

/// Returns whether the inputs say that an alert's condition does not hold: its own series is there, and is on the good side.
pub(super) fn is_denied(drawn: &[VectorSample], limit: &[VectorSample], operator: &str, alert: &Labels) -> bool {
    let value = |all: &[VectorSample]| {
        let own = all.iter().filter(|sample| {
            let labels = sample.labels.without(|name| name == METRIC_NAME);
            labels.iter().all(|(name, value)| alert.get(name) == Some(value))
        });
        own.max_by_key(|sample| sample.labels.len()).and_then(|sample| match sample.value {
            Value::Float(value) => Some(value),
            Value::Histogram(_) => None,
        })
    };
    let (Some(value), Some(limit)) = (value(drawn), value(limit)) else { return false };
    use std::cmp::Ordering::{Equal, Greater, Less};
    let order = value.partial_cmp(&limit);
    let holds = match operator {
        ">" => order == Some(Greater),
        ">=" => matches!(order, Some(Greater | Equal)),
        "<" => order == Some(Less),
        "<=" => matches!(order, Some(Less | Equal)),
        "==" => order == Some(Equal),
        _ => order != Some(Equal),
    };
    !holds
}

/// Lets an expression look only at series with these labels, where that changes nothing about the series that has them: one
/// chart must not read the values of thousands. Returns whether it could.
fn narrow(expr: &mut Expr, labels: &Labels) -> bool {
    let add = |selector: &mut VectorSelector| {
        selector.matchers.extend(labels.iter().map(|(name, value)| Matcher::equal(name, value)));
        true
    };
    match &mut expr.kind {
        ExprKind::Number(_) | ExprKind::String(_) => true,
        ExprKind::Selector(selector) => add(selector),
        ExprKind::Matrix(matrix) => add(&mut matrix.selector),
        ExprKind::Subquery(subquery) => narrow(&mut subquery.expr, labels),
        ExprKind::Unary(_, inner) | ExprKind::Paren(inner) => narrow(inner, labels),
        // With a vector on both sides, labels of the answer may be of one side alone.
        ExprKind::Binary(binary) if binary.matching.is_none() => {
            narrow(&mut binary.left, labels) && narrow(&mut binary.right, labels)
        }
        ExprKind::Binary(_) => false,
        ExprKind::Aggregate(aggregate) => {
            use AggregateOp::{Avg, Count, Group, Max, Min, Stddev, Stdvar, Sum};
            let is_plain = matches!(aggregate.op, Sum | Avg | Count | Min | Max | Group | Stddev | Stdvar);
            is_plain && narrow(&mut aggregate.expr, labels)
        }
        ExprKind::Call(call) => {
            // These make labels, or answer where there is nothing.
            let is_plain = !matches!(
                call.function,
                "label_replace"
                    | "label_join"
                    | "absent"
                    | "absent_over_time"
                    | "info"
                    | "vector"
                    | "scalar"
                    | "histogram_quantile"
                    | "histogram_fraction"
            );
            is_plain && call.args.iter_mut().all(|arg| narrow(arg, labels))
        }
    }
}

/// Returns how many labels a series shares with the alert; `None` where they contradict each other.
fn kinship(series: &Labels, alert: &Labels) -> Option<usize> {
    let mut shared = 0;
    for (name, value) in series.iter().filter(|(name, _)| *name != METRIC_NAME) {
        match alert.get(name) {
            Some(other) if other == value => shared += 1,
            Some(_) => return None,
            None => {}
        }
    }
    Some(shared)
}

/// Returns the one that fits an alert best, if any does.
fn nearest<T>(all: Vec<T>, labels: impl Fn(&T) -> &Labels, alert: &Labels) -> Option<T> {
    let fits = all.into_iter().filter_map(|one| kinship(labels(&one), alert).map(|shared| (shared, one)));
    fits.max_by_key(|(shared, _)| *shared).map(|(_, one)| one)
}

/// Asks for what is behind an alert.
#[derive(Clone, Debug)]
pub struct ChartSource {
    /// Answers queries.
    pub engine: Arc<Engine>,
    /// This server's address, with which links of its own begin.
    pub external_url: String,
}

impl ChartSource {
    /// Returns the text of the expression in a link of ours.
    fn expression(&self, generator_url: &str) -> Option<String> {
        let rest = generator_url.strip_prefix(self.external_url.trim_end_matches('/'))?;
        let query = rest.strip_prefix(template_data::EXPRESSION_LINK)?;
        library::query_unescape(query.split('&').next()?).ok()
    }

    /// Reads what can be drawn; `None` where the alert is not from a rule here, or there are no numbers. Blocks.
    ///
    /// # Errors
    /// When the query fails or is cancelled.
    pub fn read(
        &self,
        querier: &dyn Querier,
        ask: &ChartAsk,
        cancel: Option<Arc<AtomicBool>>,
    ) -> Result<Option<ChartData>, QueryError> {
        let Some(text) = self.expression(&ask.generator_url) else { return Ok(None) };
        let Ok(expr) = parse::parse(&text) else { return Ok(None) };
        let compared = compared(&expr);
        let drawn = compared.as_ref().map_or(&expr, |compared| compared.drawn);
        let expression = print::one_line(drawn);
        let options = QueryOptions { cancel, ..QueryOptions::default() };
        let step_ms = ((ask.to_ms - ask.from_ms) / POINTS).max(STEP_MIN_MS);
        let steps = (ask.to_ms - ask.from_ms).max(0) / step_ms;
        let narrowed = self.narrowed(querier, drawn, ask, &options)?;
        let drawn = narrowed.as_ref().unwrap_or(drawn);
        let result = self.engine.range(querier, drawn, ask.to_ms - steps * step_ms, ask.to_ms, step_ms, &options)?;
        let QueryValue::Matrix(all) = result.value else { return Ok(None) };
        let Some(series) = nearest(all, |series: &MatrixSeries| &series.labels, &ask.labels) else { return Ok(None) };
        let points: Vec<(i64, f64)> = series.floats.into_iter().filter(|(_, value)| value.is_finite()).collect();
        if points.is_empty() {
            return Ok(None);
        }
        let at = |expr: &Expr, at_ms: i64| self.value_at(querier, expr, at_ms, &ask.labels, &options);
        let threshold = match &compared {
            Some(compared) => at(compared.limit, ask.ended_ms.unwrap_or(ask.to_ms))?
                .map(|value| Threshold { value, operator: compared.operator }),
            None => None,
        };
        let ended_value = match (&compared, ask.ended_ms) {
            (Some(_), Some(ended_ms)) => at(drawn, ended_ms)?,
            _ => None,
        };
        Ok(Some(ChartData { points, step_ms, threshold, expression, ended_value }))
    }

    /// Returns the expression for the alert's own series alone, where it is there at the end and that changes nothing.
    fn narrowed(
        &self,
        querier: &dyn Querier,
        expr: &Expr,
        ask: &ChartAsk,
        options: &QueryOptions,
    ) -> Result<Option<Expr>, QueryError> {
        if expr.value_type() != ValueType::Vector || expr.height() > NARROWED_HEIGHT_MAX {
            return Ok(None);
        }
        let at_ms = ask.ended_ms.unwrap_or(ask.to_ms);
        let QueryValue::Vector(all) = self.engine.instant(querier, expr, at_ms, options)?.value else { return Ok(None) };
        let Some(own) = nearest(all, |sample: &VectorSample| &sample.labels, &ask.labels) else { return Ok(None) };
        let mut narrowed = expr.clone();
        let labels = own.labels.without(|name| name == METRIC_NAME);
        Ok(narrow(&mut narrowed, &labels).then_some(narrowed))
    }

    /// Evaluates at one moment and picks the value that concerns the alert.
    fn value_at(
        &self,
        querier: &dyn Querier,
        expr: &Expr,
        at_ms: i64,
        alert: &Labels,
        options: &QueryOptions,
    ) -> Result<Option<f64>, QueryError> {
        Ok(match self.engine.instant(querier, expr, at_ms, options)?.value {
            QueryValue::Scalar { value, .. } => Some(value),
            QueryValue::Vector(all) => nearest(all, |sample| &sample.labels, alert).and_then(|sample| match sample.value {
                Value::Float(value) => Some(value),
                Value::Histogram(_) => None,
            }),
            QueryValue::String { .. } | QueryValue::Matrix(_) => None,
        }
        .filter(|value| value.is_finite()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::promql::engine::EngineOptions;
    use crate::storage::select::memory::MemoryStore;

    const URL: &str = "https://watch.example.org/base";

    fn ask(expression: &str, labels: &[(&str, &str)], ended_ms: Option<i64>) -> ChartAsk {
        let generator_url = format!("{URL}{}", template_data::expression_link(expression, 1));
        let labels = Labels::from_pairs(labels.iter().copied());
        ChartAsk { generator_url, labels, from_ms: 0, to_ms: 600_000, ended_ms }
    }

    /// `load{instance="a"}` rises from 0 by 1 each 10 s, that of `b` stands at 7; limits are 20 and 30.
    fn read(ask: &ChartAsk) -> Option<ChartData> {
        let store = MemoryStore::default();
        for at in 0..=60_i64 {
            let add = |pairs: &[(&str, &str)], value: f64| {
                store.add(&Labels::from_pairs(pairs.iter().copied()), at * 10_000, Value::Float(value));
            };
            add(&[("__name__", "load"), ("instance", "a")], at as f64);
            add(&[("__name__", "load"), ("instance", "b")], 7.0);
            add(&[("__name__", "limit"), ("instance", "a")], 20.0);
            add(&[("__name__", "limit"), ("instance", "b")], 30.0);
        }
        let source = ChartSource { engine: Arc::new(Engine::new(EngineOptions::default())), external_url: format!("{URL}/") };
        source.read(&store, ask, None).expect("answers")
    }

    #[test]
    fn draws_what_is_compared_for_the_alerts_own_series() {
        let labels = [("alertname", "High"), ("instance", "a"), ("severity", "page")];
        let cases = [
            ("load > 50", Some((50.0, ">")), "load"),
            ("50 <= load", Some((50.0, ">=")), "load"),
            ("(load > 50 and on() up == 1) unless load > 1e9", Some((50.0, ">")), "load"),
            ("load > on (instance) limit", Some((20.0, ">")), "load"),
            ("load > 10 * 2", Some((20.0, ">")), "load"),
            ("load + 1 < -5", Some((-5.0, "<")), "load + 1"),
            ("load", None, "load"),
        ];
        for (expression, limit, drawn) in cases {
            let data = read(&ask(expression, &labels, None)).unwrap_or_else(|| panic!("{expression}"));
            assert_eq!(data.threshold.map(|limit| (limit.value, limit.operator)), limit, "{expression}");
            assert_eq!(data.expression, drawn, "{expression}");
            let plus = if drawn == "load" { 60.0 } else { 61.0 };
            assert_eq!(data.points.last(), Some(&(600_000, plus)), "{expression}");
            assert_eq!(data.points.len(), 121, "{expression}");
        }
        let other = read(&ask("load > 50", &[("instance", "b")], None)).expect("drawn");
        assert!(other.points.iter().all(|(_, value)| (*value - 7.0).abs() < 1e-9));
        assert_eq!(read(&ask("max(load) > 50", &labels, None)).expect("drawn").points.last(), Some(&(600_000, 60.0)));
    }

    #[test]
    fn a_narrowed_expression_says_the_same() {
        let labels = [("instance", "a")];
        for (expression, can) in [
            ("load", true),
            ("-load * 2 + 1", true),
            ("sum by (instance) (load)", true),
            ("max(load)", true),
            ("rate(load[1m])", true),
            ("max_over_time(sum by (instance) (load)[1m:10s])", true),
            ("load / on (instance) limit", false),
            ("topk(1, load)", false),
            ("label_replace(load, \"to\", \"$1\", \"instance\", \"(.)\")", false),
            ("absent(load)", false),
        ] {
            let mut expr = parse::parse(expression).expect("good");
            assert_eq!(narrow(&mut expr, &Labels::from_pairs(labels)), can, "{expression}");
            let narrowed = read(&ask(&format!("{expression} > -1e9"), &labels, None));
            // `or` is read as it is.
            let whole = read(&ask(&format!("({expression} or load{{instance=\"none\"}}) > -1e9"), &labels, None));
            assert_eq!(narrowed.map(|data| data.points), whole.map(|data| data.points), "{expression}");
        }
    }

    #[test]
    fn knows_the_value_that_ended_it() {
        let data = read(&ask("load < 30", &[("instance", "a")], Some(300_000))).expect("drawn");
        assert_eq!(data.ended_value, Some(30.0));
    }

    #[test]
    fn a_comparison_that_lets_all_pass_has_no_limit() {
        let data = read(&ask("load == bool 60", &[("instance", "a")], None)).expect("drawn");
        assert_eq!((data.threshold, data.expression.as_str()), (None, "load == bool 60"));
    }

    #[test]
    fn knows_when_the_inputs_deny_a_condition() {
        let sample = |pairs: &[(&str, &str)], value: f64| VectorSample {
            labels: Labels::from_pairs(pairs.iter().copied()),
            at_ms: 0,
            value: Value::Float(value),
        };
        let alert = Labels::from_pairs([("alertname", "High"), ("instance", "a")]);
        let limit = [sample(&[], 5.0)];
        let load = |value| [sample(&[("__name__", "load"), ("instance", "a")], value), sample(&[("instance", "b")], 0.0)];
        for (value, operator, denied) in [
            (4.0, ">", true),
            (6.0, ">", false),
            (5.0, ">=", false),
            (5.0, "==", false),
            (5.0, "!=", true),
            (f64::NAN, ">", true),
        ] {
            assert_eq!(is_denied(&load(value), &limit, operator, &alert), denied, "{value} {operator}");
        }
        assert!(!is_denied(&[sample(&[("instance", "b")], 0.0)], &limit, ">", &alert), "its own series is not there");
        assert!(!is_denied(&load(4.0), &[], ">", &alert), "nor is the limit");
        let parsed = |text: &str| parse::parse(text).expect("good");
        assert!(condition(&parsed("load > 5 unless on() vector(1)")).is_some());
        for text in ["load", "absent(load)", "rate(load[5m]) > 5", "load > bool 5"] {
            assert!(condition(&parsed(text)).is_none(), "{text}");
        }
    }

    #[test]
    fn follows_no_links_of_others() {
        let labels = [("instance", "a")];
        for url in ["", "http://evil.example/graph?g0.expr=load", "https://watch.example.org/graph?g0.expr=load&g0.tab=1"] {
            assert_eq!(read(&ChartAsk { generator_url: url.to_owned(), ..ask("load", &labels, None) }), None, "{url}");
        }
        assert_eq!(read(&ask("load >", &labels, None)), None, "broken");
        assert_eq!(read(&ask("load > 5", &[("instance", "c")], None)), None, "no such series");
        assert_eq!(read(&ask("nothing > 5", &labels, None)), None, "nothing there");
    }
}
