//! Binary operators: on two numbers, two samples, and a vector with a scalar. Vectors meet in [`super::matching`].

#![expect(clippy::float_cmp, reason = "PromQL compares exactly")]

use super::Evaluated;
use super::context::{Context, Grid, Outcome};
use crate::model::histogram::CounterResetHint;
use crate::model::histogram::FloatHistogram;
use crate::model::histogram::trim::Keep;
use crate::model::sample::Value;
use crate::promql::annotations::Note;
use crate::promql::column::{ABSENT, Column, Floats, Series, floats, is_absent, without_metadata};
use crate::promql::expr::{Binary, BinaryOp, Span};
use std::sync::Arc;

/// Compares two numbers.
fn compare(op: BinaryOp, left: f64, right: f64) -> bool {
    match op {
        BinaryOp::Equal => left == right,
        BinaryOp::NotEqual => left != right,
        BinaryOp::Less => left < right,
        BinaryOp::LessEqual => left <= right,
        BinaryOp::Greater => left > right,
        BinaryOp::GreaterEqual => left >= right,
        _ => false,
    }
}

/// Computes with two numbers.
fn compute(op: BinaryOp, left: f64, right: f64) -> f64 {
    match op {
        BinaryOp::Add => left + right,
        BinaryOp::Sub => left - right,
        BinaryOp::Mul => left * right,
        BinaryOp::Div => left / right,
        BinaryOp::Mod => left % right,
        BinaryOp::Pow => left.powf(right),
        BinaryOp::Atan2 => left.atan2(right),
        _ => f64::from(compare(op, left, right)),
    }
}

/// Returns a result where both operands are there.
const fn both(left: f64, right: f64, result: f64) -> f64 {
    if is_absent(left) || is_absent(right) { ABSENT } else { result }
}

/// Returns whether the result is something else than its left side: the metric's name no longer fits.
pub(super) const fn changes_metric(op: BinaryOp) -> bool {
    matches!(op, BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul | BinaryOp::Div | BinaryOp::Mod | BinaryOp::Pow | BinaryOp::Atan2)
}

/// How an operation is carried out on one pair of samples.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operation {
    pub(super) op: BinaryOp,
    pub(super) return_bool: bool,
    pub(super) span: Span,
}

impl Operation {
    /// Combines two samples; `None` where nothing comes of it.
    pub(super) fn apply(self, context: &Context<'_>, left: &Value, right: &Value) -> Option<Value> {
        let (value, kept) = self.plain(context, left, right)?;
        if self.return_bool {
            return Some(Value::Float(f64::from(kept)));
        }
        kept.then_some(value)
    }

    /// Combines two columns of floats alone; `swapped` says that the second stands on the left. `None` where histograms are
    /// among them.
    pub(super) fn floats(self, first: &Column, second: &Column, swapped: bool) -> Option<Floats> {
        let trims = matches!(self.op, BinaryOp::TrimLower | BinaryOp::TrimUpper);
        if trims || first.has_histograms() || second.has_histograms() {
            return None;
        }
        let (left, right) = if swapped { (second, first) } else { (first, second) };
        let pairs = left.floats.iter().zip(&right.floats);
        let filter = self.op.is_comparison() && !self.return_bool;
        let value = |(left, right): (&f64, &f64)| {
            if is_absent(*left) || is_absent(*right) || (filter && !compare(self.op, *left, *right)) {
                ABSENT
            } else if filter {
                *left
            } else {
                compute(self.op, *left, *right)
            }
        };
        Some(match self.op {
            // Each of the commonest has a loop of its own, without a choice of operator in it.
            BinaryOp::Add => floats(pairs.map(|(left, right)| both(*left, *right, left + right))),
            BinaryOp::Sub => floats(pairs.map(|(left, right)| both(*left, *right, left - right))),
            BinaryOp::Mul => floats(pairs.map(|(left, right)| both(*left, *right, left * right))),
            BinaryOp::Div => floats(pairs.map(|(left, right)| both(*left, *right, left / right))),
            _ => floats(pairs.map(value)),
        })
    }

    /// Combines two samples: the result, and whether a comparison holds.
    fn plain(self, context: &Context<'_>, left: &Value, right: &Value) -> Option<(Value, bool)> {
        use BinaryOp::{Add, Div, Equal, Mul, NotEqual, Sub, TrimLower, TrimUpper};
        let histogram = |value: FloatHistogram| Some((Value::Histogram(Arc::new(value)), true));
        match (left, right) {
            (Value::Float(left), Value::Float(right)) if !matches!(self.op, TrimLower | TrimUpper) => {
                if self.op.is_comparison() {
                    Some((Value::Float(*left), compare(self.op, *left, *right)))
                } else {
                    Some((Value::Float(compute(self.op, *left, *right)), true))
                }
            }
            (Value::Float(factor), Value::Histogram(value)) if self.op == Mul => histogram(value.scaled(*factor).compacted()),
            (Value::Histogram(value), Value::Float(number)) if matches!(self.op, Mul | Div | TrimUpper | TrimLower) => {
                histogram(match self.op {
                    Mul => value.scaled(*number).compacted(),
                    Div => value.divided(*number).compacted(),
                    TrimUpper => value.trimmed(*number, Keep::Below),
                    _ => value.trimmed(*number, Keep::Above),
                })
            }
            (Value::Histogram(left), Value::Histogram(right)) if matches!(self.op, Add | Sub) => {
                self.merge(context, left, right).and_then(histogram)
            }
            (Value::Histogram(left), Value::Histogram(right)) if matches!(self.op, Equal | NotEqual) => {
                let same = (**left).clone().compacted().same(&(**right).clone().compacted());
                Some((Value::Histogram(Arc::clone(left)), same == (self.op == Equal)))
            }
            _ => {
                let kind = |value: &Value| if matches!(value, Value::Float(_)) { "float" } else { "histogram" };
                let (left, right) = (kind(left), kind(right));
                context.note(&Note::IncompatibleTypesInBinary { left, op: self.op.as_str(), right }, self.span);
                None
            }
        }
    }

    fn merge(self, context: &Context<'_>, left: &FloatHistogram, right: &FloatHistogram) -> Option<FloatHistogram> {
        let mut result = left.clone();
        let (merged, word) = if self.op == BinaryOp::Add {
            (result.add(right), "addition")
        } else {
            let merged = result.sub(right);
            result.counter_reset_hint = CounterResetHint::Gauge;
            (merged, "subtraction")
        };
        let Ok(merged) = merged else {
            context.note(&Note::IncompatibleBuckets(self.op.as_str()), self.span);
            return None;
        };
        if merged.reset_hints_collide {
            context.note(&Note::ResetCollision(word), self.span);
        }
        if merged.bounds_reconciled {
            context.note(&Note::BoundsReconciled(word), self.span);
        }
        Some(result.compacted())
    }
}

impl Context<'_> {
    pub(super) fn binary(&self, grid: Grid, binary: &Binary, span: Span) -> Outcome<Evaluated> {
        let operation = Operation { op: binary.op, return_bool: binary.return_bool, span };
        let left = self.counting_resets(false, || self.eval(grid, &binary.left))?;
        let right = self.counting_resets(false, || self.eval(grid, &binary.right))?;
        match (left, right) {
            (Evaluated::Scalar(left), Evaluated::Scalar(right)) => {
                let values = left.iter().zip(&right).map(|(left, right)| compute(binary.op, *left, *right));
                Ok(Evaluated::Scalar(values.collect()))
            }
            (Evaluated::Vector(series), Evaluated::Scalar(scalar)) => {
                self.with_scalar(operation, series, &scalar, false).map(Evaluated::Vector)
            }
            (Evaluated::Scalar(scalar), Evaluated::Vector(series)) => {
                self.with_scalar(operation, series, &scalar, true).map(Evaluated::Vector)
            }
            (Evaluated::Vector(left), Evaluated::Vector(right)) => {
                let Some(matching) = &binary.matching else { return Err(Self::fail("vectors without matching")) };
                if binary.op.is_set() {
                    self.combine(grid, binary.op, matching, left, right).map(Evaluated::Vector)
                } else {
                    self.join(grid, operation, matching, left, right).map(Evaluated::Vector)
                }
            }
            (Evaluated::Text(_), _) | (_, Evaluated::Text(_)) => Err(Self::fail("a string is no operand")),
        }
    }

    fn with_scalar(
        &self,
        operation: Operation,
        mut series: Vec<Series>,
        scalar: &Floats,
        scalar_left: bool,
    ) -> Outcome<Vec<Series>> {
        let operand = Column::of(scalar.clone());
        let renamed = operation.return_bool || changes_metric(operation.op);
        for one in &mut series {
            one.column = self.column_with_scalar(operation, &one.column, &operand, scalar_left);
            one.drop_name |= renamed;
        }
        series.retain(|one| !one.column.is_blank());
        self.named(series)
    }

    /// Combines a column with the column of a scalar.
    pub(super) fn column_with_scalar(
        &self,
        operation: Operation,
        column: &Column,
        operand: &Column,
        scalar_left: bool,
    ) -> Column {
        let filter_left = scalar_left && operation.op.is_comparison() && !operation.return_bool;
        let floats = if filter_left { None } else { operation.floats(column, operand, scalar_left) };
        match floats {
            Some(floats) => Column::of(floats),
            None => self.with_scalar_slowly(operation, column, &operand.floats, scalar_left),
        }
    }

    fn with_scalar_slowly(&self, operation: Operation, column: &Column, scalar: &Floats, scalar_left: bool) -> Column {
        let mut out = Column::absent(column.len());
        for (step, scalar) in scalar.iter().enumerate() {
            let Some(value) = column.get(step) else { continue };
            let scalar = Value::Float(*scalar);
            let (left, right) = if scalar_left { (&scalar, &value) } else { (&value, &scalar) };
            let mut result = operation.apply(self, left, right);
            if scalar_left && operation.op.is_comparison() && !operation.return_bool {
                // A filter keeps the vector's value, on whichever side it stands.
                result = result.map(|_| value);
            }
            out.set(step, result);
        }
        out
    }
}

/// Returns labels as an operation leaves them on its result.
pub(super) fn result_base(labels: &crate::model::labels::Labels, op: BinaryOp) -> crate::model::labels::Labels {
    if changes_metric(op) { without_metadata(labels) } else { labels.clone() }
}
