//! From the evaluated tree to the answer.

use super::Evaluated;
use super::context::{Context, Grid, Outcome, drop_names};
use super::repeats::Repeats;
use crate::promql::column::Series;
use crate::promql::engine::{Frame, QueryError};
use crate::promql::expr::{Expr, ExprKind};
use crate::promql::value::{MatrixSeries, QueryResult, QueryValue, VectorSample};
use std::sync::Arc;

pub(in crate::promql) fn instant(frame: Frame<'_>, expr: &Expr, at_ms: i64) -> Result<QueryResult, QueryError> {
    let grid = Grid { start_ms: at_ms, step_ms: 0, steps: 1 };
    let mut context = Context::new(frame, grid, at_ms);
    context.prepare(expr);
    let (value, tally) = context.apart(1, || instant_value(&context, grid, expr));
    context.tally.replace(tally);
    Ok(result(&context, value?))
}

impl Context<'_> {
    /// Looks at the whole expression before any of it is evaluated.
    fn prepare(&mut self, expr: &Expr) {
        self.ordered = super::order::matters(expr);
        if self.engine.rewrites {
            self.repeats = Repeats::of(self, expr);
        }
    }
}

fn instant_value(context: &Context<'_>, grid: Grid, expr: &Expr) -> Outcome<QueryValue> {
    let at_ms = grid.start_ms;
    Ok(match &strip(expr).kind {
        ExprKind::Matrix(_) | ExprKind::Subquery(_) => QueryValue::Matrix(raw(context, grid, expr)?),
        _ => match context.eval(grid, expr)? {
            Evaluated::Scalar(values) => QueryValue::Scalar { at_ms, value: values.first().copied().unwrap_or(f64::NAN) },
            Evaluated::Text(text) => QueryValue::String { at_ms, text },
            Evaluated::Vector(series) => {
                let mut series = finish(series)?;
                if !context.ordered {
                    context.sort(&mut series, |a, b| a.labels.cmp(&b.labels))?;
                }
                QueryValue::Vector(samples(series, at_ms))
            }
        },
    })
}

/// Cells of an answer that are not worth counting once more.
const LISTED_UNCOUNTED: u64 = 1 << 16;

pub(in crate::promql) fn range(
    frame: Frame<'_>,
    expr: &Expr,
    (start_ms, end_ms, step_ms): (i64, i64, i64),
) -> Result<QueryResult, QueryError> {
    if step_ms <= 0 {
        return Err(QueryError::Execution("zero or negative query resolution step widths are not accepted".to_owned()));
    }
    let grid = Grid::new(start_ms, end_ms, step_ms);
    let mut context = Context::new(frame, grid, end_ms);
    context.is_range = true;
    context.prepare(expr);
    let (value, tally) = context.apart(grid.steps, || context.eval(grid, expr));
    context.tally.replace(tally);
    let series = match value? {
        Evaluated::Vector(series) => finish(series)?,
        Evaluated::Scalar(floats) => {
            let column = crate::promql::column::Column::of(floats);
            vec![Series { labels: crate::model::labels::Labels::empty(), drop_name: false, column }]
        }
        Evaluated::Text(_) => {
            let wanted = "invalid expression type \"string\" for range query, must be Scalar or instant Vector";
            return Err(QueryError::Execution(wanted.to_owned()));
        }
    };
    // As a list of points the answer takes twice what is in its columns, which go one by one.
    if context.held.get() > LISTED_UNCOUNTED {
        let listed: u64 = series.iter().map(|one| one.column.size()).sum();
        context.hold_cells(context.held.get().max(listed.saturating_mul(2)))?;
    }
    let mut matrix = Vec::with_capacity(series.len());
    for one in series {
        context.breathe()?;
        matrix.extend(Some(matrix_series(grid, &one)).filter(is_filled));
    }
    context.sort(&mut matrix, |a, b| a.labels.cmp(&b.labels))?;
    Ok(result(&context, QueryValue::Matrix(matrix)))
}

fn strip(expr: &Expr) -> &Expr {
    match &expr.kind {
        ExprKind::Paren(inner) => strip(inner),
        _ => expr,
    }
}

fn result(context: &Context<'_>, value: QueryValue) -> QueryResult {
    let (warnings, infos) = context.said();
    QueryResult { value, warnings, infos, stats: context.stats(), explained: context.explained() }
}

fn finish(series: Vec<Series>) -> Outcome<Vec<Series>> {
    if series.iter().any(|one| one.drop_name) { drop_names(series) } else { Ok(series) }
}

fn samples(series: Vec<Series>, at_ms: i64) -> Vec<VectorSample> {
    let sample = |one: Series| one.column.get(0).map(|value| VectorSample { labels: one.labels, at_ms, value });
    series.into_iter().filter_map(sample).collect()
}

fn is_filled(series: &MatrixSeries) -> bool {
    !series.floats.is_empty() || !series.histograms.is_empty()
}

fn matrix_series(grid: Grid, series: &Series) -> MatrixSeries {
    let mut out = MatrixSeries { labels: series.labels.clone(), floats: Vec::new(), histograms: Vec::new() };
    for (step, at_ms) in grid.times().enumerate() {
        if let Some(value) = series.column.float(step) {
            out.floats.push((at_ms, value));
        } else if let Some(histogram) = series.column.histogram(step) {
            out.histograms.push((at_ms, Arc::clone(histogram)));
        }
    }
    out
}

/// Answers a bare range selector or subquery with its samples as they are.
fn raw(context: &Context<'_>, grid: Grid, expr: &Expr) -> Outcome<Vec<MatrixSeries>> {
    let mut out = Vec::new();
    let is_subquery = matches!(strip(expr).kind, ExprKind::Subquery(_));
    let mut held = 0;
    context.ranges(grid, expr, &mut |series, windows| {
        let (_, size) = context.count_windows(windows, is_subquery);
        held += size;
        if !is_subquery {
            context.peak(held)?;
        }
        let window = windows.at(0);
        let floats = window.times().iter().copied().zip(window.floats().iter().copied()).collect();
        let histograms = window.histogram_times().iter().copied().zip(window.histograms().iter().cloned()).collect();
        let labels = if series.drop_name { crate::promql::column::without_metadata(&series.labels) } else { series.labels };
        let filled = MatrixSeries { labels, floats, histograms };
        if is_filled(&filled) {
            out.push(filled);
        }
        Ok(())
    })?;
    if is_subquery {
        context.count_bare_subquery();
    }
    context.sort(&mut out, |a, b| a.labels.cmp(&b.labels))?;
    Ok(out)
}
