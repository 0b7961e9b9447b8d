//! The type check: Prometheus's `checkAST`, its order and its words.

use super::expr::{Aggregate, AggregateOp, Binary, Call, Cardinality, Expr, ExprKind, Span, ValueType, VectorSelector};
use super::parse::ParseError;
use super::signatures::{self, Variadic};
use crate::model::labels::METRIC_NAME;
use crate::model::number::quote;
use crate::promql::deep::deep;

/// Checks types and arities; drops the matching of operations that are not between vectors.
#[must_use]
pub fn check(expr: &mut Expr, text: &str) -> Vec<ParseError> {
    let mut checker = Checker { text, errors: Vec::new() };
    checker.check(expr);
    checker.errors
}

struct Checker<'a> {
    text: &'a str,
    errors: Vec<ParseError>,
}

impl Checker<'_> {
    fn note(&mut self, span: Span, message: impl Into<String>) {
        self.errors.push(ParseError { span, message: message.into() });
    }

    fn check(&mut self, expr: &mut Expr) -> ValueType {
        let span = expr.span;
        match &mut expr.kind {
            ExprKind::Number(_) => ValueType::Scalar,
            ExprKind::String(_) => ValueType::String,
            ExprKind::Selector(selector) => {
                self.selector(selector, span);
                ValueType::Vector
            }
            ExprKind::Matrix(matrix) => {
                self.selector(&matrix.selector, matrix.selector_span);
                ValueType::Matrix
            }
            ExprKind::Subquery(subquery) => {
                let found = self.check(&mut subquery.expr);
                if found != ValueType::Vector {
                    let message = format!("subquery is only allowed on instant vector, got {} instead", found.as_str());
                    self.note(span, message);
                }
                ValueType::Matrix
            }
            ExprKind::Unary(_, inner) => {
                let found = self.check(inner);
                if !matches!(found, ValueType::Scalar | ValueType::Vector) {
                    let message = format!(
                        "unary expression only allowed on expressions of type scalar or instant vector, got {}",
                        quote(found.documented())
                    );
                    self.note(span, message);
                }
                found
            }
            ExprKind::Paren(inner) => self.check(inner),
            ExprKind::Binary(binary) => deep(|| self.binary(binary, span)),
            ExprKind::Aggregate(aggregate) => self.aggregate(aggregate),
            ExprKind::Call(call) => self.call(call, span),
        }
    }

    fn expect(&mut self, expr: &mut Expr, wanted: ValueType, context: &str) {
        let found = self.check(expr);
        if found != wanted {
            let message = format!("expected type {} in {context}, got {}", wanted.documented(), found.documented());
            self.note(expr.span, message);
        }
    }

    fn selector(&mut self, selector: &VectorSelector, span: Span) {
        if let Some(name) = &selector.name {
            // The last matcher is the name outside the braces.
            let others = selector.matchers.split_last().map_or(&[][..], |(_, others)| others);
            for matcher in others.iter().filter(|matcher| matcher.name() == METRIC_NAME) {
                let message = format!("metric name must not be set twice: {} or {}", quote(name), quote(matcher.value()));
                self.note(span, message);
            }
        } else if selector.matchers.iter().all(|matcher| matcher.matches("")) {
            self.note(span, "vector selector must contain at least one non-empty matcher");
        }
    }

    fn aggregate(&mut self, aggregate: &mut Aggregate) -> ValueType {
        self.expect(&mut aggregate.expr, ValueType::Vector, "aggregation expression");
        let wanted = if aggregate.op == AggregateOp::CountValues { ValueType::String } else { ValueType::Scalar };
        if let Some(param) = &mut aggregate.param {
            self.expect(param, wanted, "aggregation parameter");
        }
        ValueType::Vector
    }

    /// Returns the place of an operator with its modifiers, as Prometheus measures it: its end is the last byte, not the next.
    fn operator_span(&self, binary: &Binary) -> Span {
        let is_space = |at: usize| self.text.as_bytes().get(at).is_some_and(u8::is_ascii_whitespace);
        let mut span = Span { start: binary.left.span.end, end: binary.right.span.start.saturating_sub(1) };
        while span.start < span.end && is_space(span.start) {
            span.start += 1;
        }
        while span.end > span.start && is_space(span.end) {
            span.end -= 1;
        }
        span
    }

    fn binary(&mut self, binary: &mut Binary, span: Span) -> ValueType {
        let left = self.check(&mut binary.left);
        let right = self.check(&mut binary.right);
        let both_scalar = left == ValueType::Scalar && right == ValueType::Scalar;
        if binary.return_bool && !binary.op.is_comparison() {
            self.note(self.operator_span(binary), "bool modifier can only be used on comparison operators");
        }
        if binary.op.is_comparison() && !binary.return_bool && both_scalar {
            self.note(self.operator_span(binary), "comparisons between scalars must use BOOL modifier");
        }
        if let Some(matching) = &mut binary.matching {
            if binary.op.is_set() && matching.cardinality == Cardinality::OneToOne {
                matching.cardinality = Cardinality::ManyToMany;
            }
            let twice = matching.labels.iter().filter(|label| matching.on && matching.include.contains(label));
            let messages: Vec<String> =
                twice.map(|label| format!("label {} must not occur in ON and GROUP clause at once", quote(label))).collect();
            for message in messages {
                self.note(self.operator_span(binary), message);
            }
        }
        for (side, place) in [(left, binary.left.span), (right, binary.right.span)] {
            if !matches!(side, ValueType::Scalar | ValueType::Vector) {
                self.note(place, "binary expression must contain only scalar and instant vector types");
            }
        }
        self.matching(binary, span, left == ValueType::Vector && right == ValueType::Vector);
        if (left == ValueType::Scalar || right == ValueType::Scalar) && binary.op.is_set() {
            let message = format!("set operator {} not allowed in binary scalar expression", quote(binary.op.as_str()));
            self.note(span, message);
        }
        if both_scalar { ValueType::Scalar } else { ValueType::Vector }
    }

    fn matching(&mut self, binary: &mut Binary, span: Span, both_vectors: bool) {
        let Some(matching) = &binary.matching else { return };
        let fills = matching.fill_left.is_some() || matching.fill_right.is_some();
        let grouped = matches!(matching.cardinality, Cardinality::OneToMany | Cardinality::ManyToOne);
        if !both_vectors {
            if !matching.labels.is_empty() {
                self.note(span, "vector matching only allowed between instant vectors");
            }
            if fills {
                self.note(span, "filling in missing series only allowed between instant vectors");
            }
            binary.matching = None;
        } else if binary.op.is_set() {
            let op = quote(binary.op.as_str());
            if grouped {
                self.note(span, format!("no grouping allowed for {op} operation"));
                self.note(span, "set operations must always be many-to-many");
            }
            if fills {
                self.note(span, "filling in missing series not allowed for set operators");
            }
        }
    }

    fn call(&mut self, call: &mut Call, span: Span) -> ValueType {
        let Some(signature) = signatures::find(call.function) else { return ValueType::Vector };
        let (name, given, listed) = (quote(call.function), call.args.len(), signature.args.len());
        let arity = match signature.variadic {
            Variadic::No if given != listed => Some(("", listed)),
            Variadic::No => None,
            Variadic::UpTo(_) | Variadic::Any if given + 1 < listed => Some(("at least ", listed - 1)),
            Variadic::UpTo(more) if given > listed - 1 + usize::from(more) => Some(("at most ", listed - 1 + usize::from(more))),
            Variadic::UpTo(_) | Variadic::Any => None,
        };
        if let Some((word, wanted)) = arity {
            self.note(span, format!("expected {word}{wanted} argument(s) in call to {name}, got {given}"));
        }
        let context = format!("call to function {name}");
        for (at, arg) in call.args.iter_mut().enumerate() {
            let wanted = match signature.args.get(at).or_else(|| signature.args.last()) {
                Some(_) if at >= listed && signature.variadic == Variadic::No => break,
                Some(wanted) => *wanted,
                None => break,
            };
            if call.function == "info" && at == 1 && self.info_selector(arg) {
                continue;
            }
            self.expect(arg, wanted, &context);
        }
        signature.returns
    }

    /// Checks the second argument of `info`, which names labels alone; says whether it needs no other check.
    fn info_selector(&mut self, arg: &Expr) -> bool {
        let ExprKind::Selector(selector) = &arg.kind else {
            if arg.value_type() == ValueType::Vector {
                self.note(arg.span, "expected label selectors only, got vector selector instead");
                return true;
            }
            return false;
        };
        if selector.name.is_some() {
            self.note(arg.span, "expected label selectors only, got vector selector instead");
        }
        true
    }
}
