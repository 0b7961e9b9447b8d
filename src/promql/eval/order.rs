//! Whether the order of series matters.
//!
//! Putting many series in order by their labels costs more than adding them up. Most nodes do not look at the order; those
//! that pick series look at it where values are equal, and those that sort make one. Without any of them, series are read as
//! they lie, and the answer alone is sorted.

use crate::promql::deep::deep;
use crate::promql::expr::{AggregateOp, Expr, ExprKind};

/// Returns whether a node of the expression looks at the order of series, or makes one that the answer must keep.
pub(super) fn matters(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Number(_) | ExprKind::String(_) | ExprKind::Selector(_) | ExprKind::Matrix(_) => false,
        ExprKind::Paren(inner) | ExprKind::Unary(_, inner) => matters(inner),
        ExprKind::Subquery(subquery) => matters(&subquery.expr),
        ExprKind::Binary(binary) => deep(|| matters(&binary.left) || matters(&binary.right)),
        ExprKind::Aggregate(aggregate) => {
            use AggregateOp::{BottomK, LimitK, LimitRatio, TopK};
            let picks = matches!(aggregate.op, TopK | BottomK | LimitK | LimitRatio);
            picks || matters(&aggregate.expr) || aggregate.param.as_ref().is_some_and(matters)
        }
        ExprKind::Call(call) => call.function.starts_with("sort") || call.args.iter().any(matters),
    }
}

#[cfg(test)]
mod tests {
    use super::matters;
    use crate::promql::parse::parse;

    #[test]
    fn picking_and_sorting_alone_look_at_the_order() {
        for (text, matter) in [
            ("sum by (a) (rate(m[5m])) / on (a) m", false),
            ("1 + max_over_time(topk(1, m)[1h:1m])", true),
            ("-sort_by_label(m, \"a\")", true),
            ("quantile(scalar(bottomk(1, m)), m)", true),
        ] {
            assert_eq!(matters(&parse(text).expect("parses")), matter, "{text}");
        }
    }
}
