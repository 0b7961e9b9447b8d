//! Duration expressions, offsets and pins become numbers; and which nodes are the same at every step.

use super::context::{Context, Grid, Outcome, References};
use crate::promql::deep::deep;
use crate::promql::engine::QueryError;
use crate::promql::expr::{DurationExpr, DurationOp, Expr, ExprKind, Shift};

/// Functions whose value depends on the evaluation time even where all selectors are pinned.
const TIME_DEPENDENT: [&str; 11] = [
    "days_in_month",
    "day_of_month",
    "day_of_week",
    "day_of_year",
    "hour",
    "minute",
    "month",
    "year",
    "predict_linear",
    "time",
    "timestamp",
];

impl Context<'_> {
    /// Returns a duration in milliseconds.
    pub(in crate::promql) fn duration_ms(&self, duration: &DurationExpr) -> Outcome<i64> {
        if let Some(milliseconds) = duration.literal_ms() {
            return Ok(milliseconds);
        }
        let milliseconds = (self.seconds(duration)? * 1000.0).round();
        if milliseconds.is_finite() && milliseconds.abs() < 9_223_372_036_854.0 {
            Ok(milliseconds as i64)
        } else {
            Err(Self::fail("duration out of range"))
        }
    }

    /// Returns the length of a window, which must be positive.
    pub(in crate::promql) fn range_ms(&self, range: &DurationExpr) -> Outcome<i64> {
        match self.duration_ms(range)? {
            range_ms if range_ms > 0 => Ok(range_ms),
            _ => Err(QueryError::NoDuration),
        }
    }

    fn seconds(&self, duration: &DurationExpr) -> Outcome<f64> {
        Ok(match duration {
            DurationExpr::Literal { seconds, .. } => *seconds,
            DurationExpr::Step => self.query.step_ms as f64 / 1000.0,
            DurationExpr::Range => (self.end_ms - self.query.start_ms) as f64 / 1000.0,
            DurationExpr::Min(both) => self.seconds(&both.0)?.min(self.seconds(&both.1)?),
            DurationExpr::Max(both) => self.seconds(&both.0)?.max(self.seconds(&both.1)?),
            DurationExpr::Negate(inner) => -self.seconds(inner)?,
            DurationExpr::Paren(inner) => self.seconds(inner)?,
            DurationExpr::Binary(op, both) => {
                let (left, right) = (self.seconds(&both.0)?, self.seconds(&both.1)?);
                match op {
                    DurationOp::Add => left + right,
                    DurationOp::Sub => left - right,
                    DurationOp::Mul => left * right,
                    DurationOp::Div if right == 0.0 => return Err(Self::fail("division by zero")),
                    DurationOp::Div => left / right,
                    DurationOp::Mod if right == 0.0 => return Err(Self::fail("modulo by zero")),
                    DurationOp::Mod => left % right,
                    DurationOp::Pow => left.powf(right),
                }
            }
        })
    }

    /// Returns the times that something shifted like this looks at.
    pub(in crate::promql) fn references(&self, grid: Grid, shift: &Shift) -> Outcome<References> {
        let offset_ms = shift.offset.as_ref().map_or(Ok(0), |offset| self.duration_ms(offset))?;
        Ok(References { grid, at_ms: shift.at.map(|at| self.pinned(at)), offset_ms })
    }

    /// Returns whether a node has the same value at every step and is worth evaluating but once.
    pub(in crate::promql) fn is_step_invariant(&self, expr: &Expr) -> bool {
        !matches!(expr.kind, ExprKind::Number(_) | ExprKind::String(_)) && is_invariant(expr)
    }
}

fn is_invariant(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Number(_) | ExprKind::String(_) => true,
        ExprKind::Selector(selector) => selector.shift.at.is_some(),
        ExprKind::Matrix(matrix) => matrix.selector.shift.at.is_some(),
        ExprKind::Subquery(subquery) => subquery.shift.at.is_some(),
        ExprKind::Unary(_, inner) | ExprKind::Paren(inner) => is_invariant(inner),
        ExprKind::Binary(binary) => deep(|| is_invariant(&binary.left) && is_invariant(&binary.right)),
        ExprKind::Aggregate(aggregate) => is_invariant(&aggregate.expr) && aggregate.param.as_ref().is_none_or(is_invariant),
        ExprKind::Call(call) => !TIME_DEPENDENT.contains(&call.function) && call.args.iter().all(is_invariant),
    }
}
