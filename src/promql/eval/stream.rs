//! Series one after the other: what an aggregation needs of its operand is each column once, never all of them at the same
//! time. So a selector, a function over a range and what is computed element by element reach the aggregation as a
//! stream, and memory is that of the groups.
//!
//! Series come in no order, and with no more labels than the aggregation looks at. Where a function drops the metric's
//! name, two series may become one, which is an error; a stream cannot see that, so it is taken only where the selector
//! pins the name and no series has other labels that go with it.

use super::call::{RangeFunction, without_parens};
use super::context::{Context, Grid, Outcome};
use super::select::{Take, Wanted};
use crate::model::labels::METRIC_NAME;
use crate::model::matcher::MatchOp;
use crate::promql::column::{Column, Series};
use crate::promql::deep::deep;
use crate::promql::expr::{
    Aggregate, Binary, BinaryOp, Expr, ExprKind, Extension, MatrixSelector, UnaryOp, ValueType, VectorSelector,
};
use crate::promql::functions::{self, dates, math};
use crate::storage::select::LabelNeed;

/// Takes one series after the other.
pub(super) type SeriesSink<'s> = dyn FnMut(Series) -> Outcome<()> + 's;

/// Labels that go when the metric's name goes.
const METADATA: [&str; 3] = [METRIC_NAME, "__type__", "__unit__"];

/// What a node that can stream does to the metric's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    Keeps,
    Drops,
}

/// Returns the name that all series of a selector have.
fn pinned_name(selector: &VectorSelector) -> Option<&str> {
    let pins = |op: MatchOp, value: &str| op == MatchOp::Equal && !value.is_empty();
    let mut pinning =
        selector.matchers.iter().filter(|matcher| matcher.name() == METRIC_NAME && pins(matcher.op(), matcher.value()));
    pinning.next().map(crate::model::matcher::Matcher::value)
}

/// Returns whether the expression is a selector and nothing else.
pub(super) fn is_bare(expr: &Expr) -> bool {
    matches!(without_parens(expr).kind, ExprKind::Selector(_))
}

/// Returns the name of all series of a bare selector, where there is but one.
pub(super) fn only_name(expr: &Expr) -> Option<&str> {
    match &without_parens(expr).kind {
        ExprKind::Selector(selector) => pinned_name(selector),
        _ => None,
    }
}

/// Returns the only selector of a node that can stream, and what becomes of the name.
fn streamed(expr: &Expr) -> Option<(&VectorSelector, Name)> {
    match &expr.kind {
        ExprKind::Paren(inner) => streamed(inner),
        ExprKind::Selector(selector) => (selector.extension == Extension::None).then_some((selector, Name::Keeps)),
        ExprKind::Unary(UnaryOp::Plus, inner) if inner.value_type() == ValueType::Vector => streamed(inner),
        ExprKind::Unary(UnaryOp::Minus, inner) => streamed(inner).map(|(selector, _)| (selector, Name::Drops)),
        ExprKind::Binary(binary) => {
            let (vector, _) = with_scalar(binary)?;
            let (selector, name) = deep(|| streamed(vector))?;
            let renames = binary.return_bool || super::binary::changes_metric(binary.op);
            Some((selector, if renames { Name::Drops } else { name }))
        }
        ExprKind::Call(call) => match call.args.as_slice() {
            args if functions::kernel(call.function).is_some() => {
                let matrix = args.iter().find_map(range_selector)?;
                let keeps = functions::kernel(call.function).is_some_and(|(_, keeps)| keeps);
                Some((&matrix.selector, if keeps { Name::Keeps } else { Name::Drops }))
            }
            [vector] if elementwise(call.function).is_some() => streamed(vector).map(|(selector, _)| (selector, Name::Drops)),
            _ => None,
        },
        _ => None,
    }
}

fn range_selector(expr: &Expr) -> Option<&MatrixSelector> {
    match &without_parens(expr).kind {
        ExprKind::Matrix(matrix) => Some(matrix),
        _ => None,
    }
}

/// Returns the vector of an operation with a scalar, and whether the scalar stands on the left.
fn with_scalar(binary: &Binary) -> Option<(&Expr, bool)> {
    if matches!(binary.op, BinaryOp::TrimLower | BinaryOp::TrimUpper) || binary.op.is_set() {
        return None;
    }
    match (binary.left.value_type(), binary.right.value_type()) {
        (ValueType::Vector, ValueType::Scalar) => Some((&binary.left, false)),
        (ValueType::Scalar, ValueType::Vector) => Some((&binary.right, true)),
        _ => None,
    }
}

/// Returns the function of that name that looks at one float alone.
fn elementwise(function: &str) -> Option<fn(f64) -> f64> {
    math::function(function).or_else(|| dates::function(function))
}

impl Context<'_> {
    /// Returns which labels a stream must bring for an aggregation; nothing where the operand cannot come as a stream.
    pub(super) fn stream_of(&self, grid: Grid, aggregate: &Aggregate) -> Option<Wanted> {
        // Counting as Prometheus counts needs what Prometheus holds.
        if !self.engine.rewrites || self.counts() || (grid.steps > 1 && self.is_step_invariant(&aggregate.expr)) {
            return None;
        }
        let (selector, name) = streamed(&aggregate.expr)?;
        let is_metadata = |label: &String| METADATA.contains(&label.as_str());
        let drops = name == Name::Drops && !self.engine.delayed_name_removal;
        if drops && (pinned_name(selector).is_none() || aggregate.grouping.iter().any(is_metadata)) {
            return None;
        }
        let mut labels = aggregate.grouping.clone();
        let wants_names = name == Name::Drops || !is_bare(&aggregate.expr);
        let labels = if aggregate.without {
            labels.retain(|label| !is_metadata(label));
            if !wants_names {
                labels.push(METRIC_NAME.to_owned());
            }
            LabelNeed::Without(labels)
        } else {
            if wants_names {
                labels.extend(METADATA.map(str::to_owned));
            }
            LabelNeed::Only(labels)
        };
        Some(Wanted { labels, sorted: false, no_metadata: drops })
    }

    /// Gives the series of a node for which [`Self::stream_of`] had an answer. Returns false, before the first series, where
    /// the series have labels that a stream cannot drop.
    pub(super) fn stream(&self, grid: Grid, expr: &Expr, wanted: &Wanted, sink: &mut SeriesSink<'_>) -> Outcome<bool> {
        let drops = !self.engine.delayed_name_removal;
        match &expr.kind {
            ExprKind::Paren(inner) | ExprKind::Unary(UnaryOp::Plus, inner) => self.stream(grid, inner, wanted, sink),
            ExprKind::Selector(selector) => {
                let counted = &mut |one: Series| if one.column.is_blank() { Ok(()) } else { sink(one) };
                self.each_taken(grid, selector, Take::Value, wanted, counted)
            }
            ExprKind::Unary(UnaryOp::Minus, inner) => self.stream(grid, inner, wanted, &mut |mut one| {
                super::negate(&mut one.column);
                one.drop_name |= !drops;
                sink(one)
            }),
            ExprKind::Binary(binary) => {
                let Some((vector, scalar_left)) = with_scalar(binary) else { return Ok(false) };
                let scalar = self.scalar(grid, if scalar_left { &binary.left } else { &binary.right })?;
                let operand = Column::of(scalar);
                let operation = super::binary::Operation { op: binary.op, return_bool: binary.return_bool, span: expr.span };
                let renames = binary.return_bool || super::binary::changes_metric(binary.op);
                self.counting_resets(false, || {
                    let mut combined = |mut one: Series| {
                        one.column = self.column_with_scalar(operation, &one.column, &operand, scalar_left);
                        one.drop_name |= renames && !drops;
                        deep(|| sink(one))
                    };
                    deep(|| self.stream(grid, vector, wanted, &mut combined))
                })
            }
            ExprKind::Call(call) => {
                let Some(argument) = call.args.first() else { return Ok(false) };
                self.counting_resets(self.call_counts_resets(call.function), || {
                    if let Some(f) = elementwise(call.function) {
                        return self.stream(grid, argument, wanted, &mut |mut one| {
                            one.column.map_floats(f);
                            one.drop_name |= !drops;
                            sink(one)
                        });
                    }
                    let Some(matrix) = call.args.iter().find_map(range_selector) else { return Ok(false) };
                    let mut function = RangeFunction::new(self, grid, call)?;
                    let drop_name = !drops && !function.keeps_name;
                    self.matrix_columns(grid, matrix, wanted, &mut function, &mut |labels, column| {
                        sink(Series { labels, drop_name, column })
                    })
                })
            }
            _ => Ok(false),
        }
    }
}
