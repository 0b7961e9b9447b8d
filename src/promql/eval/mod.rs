//! Evaluation by columns: every node of the tree yields its value at all steps at once.
//!
//! * [`context`]: what a query carries along: settings, limits, notes
//! * [`batches`]: several threads at one selector, where cores are idle
//! * [`select`]: selectors become columns; [`window`] slides ranges over samples; [`subquery`] makes samples of columns
//! * [`repeats`]: what several selectors ask for is read once
//! * [`stream`]: columns one after the other, for aggregations
//! * [`binary`], [`sets`], [`aggregate`]: operators
//! * [`call`]: functions that work on columns, by name

mod aggregate;
mod aggregate_pick;
mod answer;
mod batches;
mod binary;
mod call;
mod call_histogram;
mod call_labels;
pub(super) mod context;
mod durations;
mod info;
mod matching;
mod order;
mod repeats;
mod select;
mod sets;
mod smooth;
mod sort;
mod stream;
mod subquery;
mod tally;
pub(super) mod window;

pub(super) use answer::{instant, range};
pub(super) use context::{Context, Grid, Outcome};
pub(super) use smooth::interpolate_histograms;

use super::column::{Column, Floats, Series};
use super::explain::Node;
use super::expr::{Expr, ExprKind, UnaryOp};
use crate::model::sample::Value;
use crate::promql::deep::deep;
use std::sync::Arc;

/// The value of a node over all steps of its grid.
#[derive(Clone, Debug)]
pub(super) enum Evaluated {
    Scalar(Floats),
    Vector(Vec<Series>),
    Text(String),
}

impl Context<'_> {
    /// Evaluates a node that is not a range.
    pub(super) fn eval(&self, grid: Grid, expr: &Expr) -> Outcome<Evaluated> {
        self.breathe()?;
        let before = self.held.get();
        let once = self.engine.rewrites && grid.steps > 1 && self.is_step_invariant(expr);
        if let Some((mut recorder, now)) = self.explaining() {
            let how = if once { "once for all steps" } else { "as written" };
            recorder.open(Node { expr: crate::promql::print::one_line(expr), how, steps: grid.steps, ..Node::default() }, now);
        }
        let value = if once {
            let (value, tally) = self.apart(1, || self.eval_node(grid.first_step(), expr));
            self.count_invariant(&tally);
            spread(value?, grid.steps)
        } else {
            self.eval_node(grid, expr)?
        };
        if let Some((mut recorder, now)) = self.explaining() {
            recorder.close(value.series(), now);
        }
        if self.counts() && matches!(expr.kind, ExprKind::Binary(_) | ExprKind::Call(_)) {
            // The operands of all steps are held, and those of the step at hand once more.
            let operands = self.held.get().saturating_sub(before);
            self.peak(value.size() + operands / grid.steps.max(1) as u64)?;
        }
        self.settle(before, &value)?;
        Ok(value)
    }

    fn eval_node(&self, grid: Grid, expr: &Expr) -> Outcome<Evaluated> {
        match &expr.kind {
            ExprKind::Number(number) => Ok(Evaluated::Scalar(Floats::from_elem(number.value, grid.steps))),
            ExprKind::String(text) => Ok(Evaluated::Text(text.clone())),
            ExprKind::Paren(inner) => self.eval(grid, inner),
            ExprKind::Selector(selector) => self.instant_selector(grid, selector, expr.span).map(Evaluated::Vector),
            ExprKind::Unary(op, inner) => self.unary(grid, *op, inner),
            ExprKind::Binary(binary) => deep(|| self.binary(grid, binary, expr.span)),
            ExprKind::Aggregate(aggregate) => self.aggregate(grid, aggregate, expr.span).map(Evaluated::Vector),
            ExprKind::Call(call) => self.call(grid, call, expr.span),
            ExprKind::Matrix(_) | ExprKind::Subquery(_) => Err(Self::fail("a range vector cannot stand here")),
        }
    }

    /// Evaluates a node that is an instant vector.
    pub(super) fn vector(&self, grid: Grid, expr: &Expr) -> Outcome<Vec<Series>> {
        match self.eval(grid, expr)? {
            Evaluated::Vector(series) => Ok(series),
            Evaluated::Scalar(_) | Evaluated::Text(_) => Err(Self::fail("expected an instant vector")),
        }
    }

    /// Evaluates a node that is a scalar.
    pub(super) fn scalar(&self, grid: Grid, expr: &Expr) -> Outcome<Floats> {
        match self.eval(grid, expr)? {
            Evaluated::Scalar(values) => Ok(values),
            Evaluated::Vector(_) | Evaluated::Text(_) => Err(Self::fail("expected a scalar")),
        }
    }

    /// Evaluates a node that is a text.
    pub(super) fn text(&self, grid: Grid, expr: &Expr) -> Outcome<String> {
        match self.eval(grid, expr)? {
            Evaluated::Text(text) => Ok(text),
            Evaluated::Vector(_) | Evaluated::Scalar(_) => Err(Self::fail("expected a string")),
        }
    }

    fn unary(&self, grid: Grid, op: UnaryOp, inner: &Expr) -> Outcome<Evaluated> {
        let value = self.eval(grid, inner)?;
        if op == UnaryOp::Plus {
            return Ok(value);
        }
        match value {
            Evaluated::Scalar(mut values) => {
                values.iter_mut().for_each(|value| *value = -*value);
                Ok(Evaluated::Scalar(values))
            }
            Evaluated::Vector(mut series) => {
                for one in &mut series {
                    one.drop_name = true;
                    negate(&mut one.column);
                }
                self.named(series).map(Evaluated::Vector)
            }
            Evaluated::Text(_) => Err(Self::fail("a string has no sign")),
        }
    }
}

fn negate(column: &mut Column) {
    for step in 0..column.len() {
        if let Some(value) = column.float(step) {
            column.floats[step] = -value;
        } else if let Some(histogram) = column.histogram(step).map(|histogram| histogram.scaled(-1.0)) {
            column.set(step, Some(Value::Histogram(Arc::new(histogram))));
        }
    }
}

fn spread(value: Evaluated, steps: usize) -> Evaluated {
    match value {
        Evaluated::Scalar(values) => Evaluated::Scalar(Floats::from_elem(values.first().copied().unwrap_or(f64::NAN), steps)),
        Evaluated::Vector(series) => {
            let spread = |one: Series| Series { column: one.column.spread(steps), ..one };
            Evaluated::Vector(series.into_iter().map(spread).collect())
        }
        Evaluated::Text(text) => Evaluated::Text(text),
    }
}
