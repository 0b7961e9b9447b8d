//! Runs one evaluation in every way that must give the same.

use super::compare::{at, check_texts, same, same_float};
use super::script::{Eval, Expected};
use crate::model::labels::Labels;
use crate::model::sample::Value;
use crate::promql::engine::{Engine, EngineOptions, QueryOptions};
use crate::promql::expr::{At, Expr, ExprKind};
use crate::promql::value::{MatrixSeries, QueryResult, QueryValue, VectorSample};
use crate::storage::select::memory::MemoryStore;
use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) fn engine() -> Engine {
    Engine::new(EngineOptions {
        delayed_name_removal: true,
        use_start_timestamps: true,
        max_annotations: 0,
        ..EngineOptions::default()
    })
}

type Checked = Result<(), String>;

pub(super) fn run(store: &MemoryStore, eval: &Eval) -> Checked {
    let failed = |error: &dyn std::fmt::Display| expected_failure(&eval.expected, &error.to_string());
    let expr = match crate::promql::parse::parse(&eval.query) {
        Ok(expr) => expr,
        Err(error) => return failed(&error),
    };
    let options = QueryOptions { text: Some(Arc::from(eval.query.as_str())), ..QueryOptions::default() };
    let (start_ms, end_ms, step_ms) = eval.at_ms;
    let engine = engine();
    let result = match step_ms {
        Some(step_ms) => engine.range(store, &expr, start_ms, end_ms, step_ms, &options),
        None => engine.instant(store, &expr, start_ms, &options),
    };
    let result = match result {
        Ok(result) => result,
        Err(error) => return failed(&error),
    };
    if eval.expected.fail.is_some() {
        return Err(format!("should have failed: {result:?}"));
    }
    check_annotations(&eval.expected, &result)?;
    match step_ms {
        Some(step_ms) => check_matrix(&eval.expected, &result.value, (start_ms, end_ms, step_ms)),
        None => {
            check_instant(&eval.expected, &result.value)?;
            also_as_range(store, &engine, &expr, eval)?;
            also_pinned(store, &engine, &expr, eval)
        }
    }
}

fn expected_failure(expected: &Expected, error: &str) -> Checked {
    match &expected.fail {
        None => Err(format!("failed: {error}")),
        Some(wanted) => check_texts("error", std::slice::from_ref(wanted), &[error.to_owned()], false),
    }
}

fn check_annotations(expected: &Expected, result: &QueryResult) -> Checked {
    check_texts("warnings", &expected.warnings, &result.warnings, expected.no_warn)?;
    check_texts("infos", &expected.infos, &result.infos, expected.no_info)
}

fn check_instant(expected: &Expected, value: &QueryValue) -> Checked {
    match value {
        QueryValue::Scalar { value, .. } => match expected.scalar {
            Some(wanted) if same_float(wanted, *value) => Ok(()),
            wanted => Err(format!("wanted {wanted:?}, found scalar {value}")),
        },
        QueryValue::String { text, .. } => match &expected.text {
            Some(wanted) if wanted == text => Ok(()),
            wanted => Err(format!("wanted {wanted:?}, found string {text}")),
        },
        QueryValue::Vector(samples) => check_vector(expected, samples),
        QueryValue::Matrix(_) => match expected.range_vector {
            Some(grid) => check_matrix(expected, value, grid),
            None => Err("found a matrix".to_owned()),
        },
    }
}

fn check_vector(expected: &Expected, samples: &[VectorSample]) -> Checked {
    if let Some(scalar) = expected.scalar {
        return Err(format!("wanted scalar {scalar}, found {samples:?}"));
    }
    let mut wanted: BTreeMap<Labels, _> = BTreeMap::new();
    for (place, series) in expected.series.iter().enumerate() {
        wanted.insert(series.described.labels.clone(), (place, series));
    }
    for (place, sample) in samples.iter().enumerate() {
        let Some((wanted_place, series)) = wanted.remove(&sample.labels) else {
            return Err(format!("unexpected or double {} {:?}", sample.labels, sample.value));
        };
        if expected.ordered && place != wanted_place {
            return Err(format!("{} at place {place}, not {wanted_place}", sample.labels));
        }
        let value = at(series, 0);
        if !same(&value, Some(&sample.value), series.unknown_hint) {
            return Err(format!("{}: wanted {value:?}, found {:?}", sample.labels, sample.value));
        }
    }
    match wanted.keys().next() {
        Some(missing) => Err(format!("missing {missing}")),
        None => Ok(()),
    }
}

fn value_at(series: &MatrixSeries, at_ms: i64) -> Option<Value> {
    let float = series.floats.iter().find(|(t, _)| *t == at_ms).map(|(_, value)| Value::Float(*value));
    let histogram = || series.histograms.iter().find(|(t, _)| *t == at_ms);
    float.or_else(|| histogram().map(|(_, histogram)| Value::Histogram(Arc::clone(histogram))))
}

fn check_matrix(expected: &Expected, value: &QueryValue, (start_ms, end_ms, step_ms): (i64, i64, i64)) -> Checked {
    let QueryValue::Matrix(matrix) = value else { return Err(format!("wanted a matrix, found {value:?}")) };
    if !matrix.is_sorted_by(|a, b| a.labels < b.labels) {
        return Err("not sorted, or double labels".to_owned());
    }
    if let Some(extra) = matrix.iter().find(|one| !expected.series.iter().any(|series| series.described.labels == one.labels)) {
        return Err(format!("unexpected {extra:?}"));
    }
    let steps = (end_ms - start_ms) / step_ms + 1;
    for wanted in &expected.series {
        let labels = &wanted.described.labels;
        let found = matrix.iter().find(|series| &series.labels == labels);
        let mut seen = 0;
        for place in 0..steps {
            let wanted_value = at(wanted, place as usize);
            let found_value = found.and_then(|series| value_at(series, start_ms + place * step_ms));
            seen += usize::from(found_value.is_some());
            if !same(&wanted_value, found_value.as_ref(), wanted.unknown_hint) {
                return Err(format!("{labels} at {place}: wanted {wanted_value:?}, found {found_value:?} of {found:?}"));
            }
        }
        if found.is_some_and(|series| series.floats.len() + series.histograms.len() != seen) {
            return Err(format!("{labels}: points between the steps: {found:?}"));
        }
    }
    Ok(())
}

/// The middle step of a range query must be the same.
fn also_as_range(store: &MemoryStore, engine: &Engine, expr: &Expr, eval: &Eval) -> Checked {
    let expected = &eval.expected;
    if expected.ordered || expected.text.is_some() || expected.range_vector.is_some() || by_query_grid(&eval.query) {
        return Ok(());
    }
    let at_ms = eval.at_ms.0;
    let result = engine
        .range(store, expr, at_ms - 60_000, at_ms + 60_000, 60_000, &QueryOptions::default())
        .map_err(|error| format!("as a range: {error}"))?;
    let QueryValue::Matrix(matrix) = result.value else { return Err("no matrix".to_owned()) };
    let sample =
        |series: &MatrixSeries| value_at(series, at_ms).map(|value| VectorSample { labels: series.labels.clone(), at_ms, value });
    let samples: Vec<_> = matrix.iter().filter_map(sample).collect();
    match (expected.scalar, samples.as_slice()) {
        (Some(scalar), [VectorSample { value: Value::Float(value), .. }]) if same_float(scalar, *value) => Ok(()),
        (Some(scalar), samples) => Err(format!("as a range: wanted {scalar}, found {samples:?}")),
        (None, samples) => check_vector(expected, samples).map_err(|error| format!("as a range: {error}")),
    }
}

/// With all selectors pinned to the time, the evaluation time does not matter.
fn also_pinned(store: &MemoryStore, engine: &Engine, expr: &Expr, eval: &Eval) -> Checked {
    let at_ms = eval.at_ms.0;
    let mut pinned = expr.clone();
    if !pin(&mut pinned, at_ms) {
        return Ok(());
    }
    let times = if at_ms == 0 { vec![-1000, 1000] } else { vec![-10 * at_ms, 0, at_ms / 5, at_ms, 10 * at_ms] };
    for time in times {
        let result = engine.instant(store, &pinned, time, &QueryOptions::default());
        let result = result.map_err(|error| format!("pinned, at {time}: {error}"))?;
        check_instant(&eval.expected, &result.value).map_err(|error| format!("pinned, at {time}: {error}"))?;
    }
    Ok(())
}

/// Pins what is not pinned, outermost first; returns false where a function goes by the evaluation time.
fn pin(expr: &mut Expr, at_ms: i64) -> bool {
    match &mut expr.kind {
        ExprKind::Number(_) | ExprKind::String(_) => true,
        ExprKind::Selector(selector) => {
            selector.shift.at.get_or_insert(At::Timestamp(at_ms));
            true
        }
        ExprKind::Matrix(matrix) => {
            matrix.selector.shift.at.get_or_insert(At::Timestamp(at_ms));
            true
        }
        ExprKind::Subquery(subquery) => {
            let depends = depends_on_time(&subquery.expr);
            subquery.shift.at.get_or_insert(At::Timestamp(at_ms));
            !depends
        }
        ExprKind::Unary(_, inner) | ExprKind::Paren(inner) => pin(inner, at_ms),
        ExprKind::Binary(binary) => pin(&mut binary.left, at_ms) & pin(&mut binary.right, at_ms),
        ExprKind::Aggregate(aggregate) => {
            pin(&mut aggregate.expr, at_ms) & aggregate.param.as_mut().is_none_or(|param| pin(param, at_ms))
        }
        ExprKind::Call(call) => {
            let own = goes_by_time(call.function);
            call.args.iter_mut().fold(!own, |all, arg| pin(arg, at_ms) & all)
        }
    }
}

/// Returns whether a query asks for the times of the query itself: an instant and a range differ there.
fn by_query_grid(query: &str) -> bool {
    ["range()", "step()", "start()", "end()"].iter().any(|function| query.contains(function))
}

fn goes_by_time(function: &str) -> bool {
    matches!(
        function,
        "days_in_month"
            | "day_of_month"
            | "day_of_week"
            | "day_of_year"
            | "hour"
            | "minute"
            | "month"
            | "year"
            | "predict_linear"
            | "time"
            | "timestamp"
            | "start"
            | "end"
    )
}

fn depends_on_time(expr: &Expr) -> bool {
    !pin(&mut expr.clone(), 0)
}
