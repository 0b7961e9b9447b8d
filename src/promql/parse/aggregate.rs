//! Aggregations, label lists, and the modifiers between the sides of a binary operation.

use super::{Parsed, Parser};
use crate::model::number::quote;
use crate::promql::expr::{Aggregate, AggregateOp, Cardinality, Expr, ExprKind, NumberLiteral, Span, VectorMatching};
use crate::promql::lex::TokenKind;

fn aggregate_op(word: &str) -> Option<AggregateOp> {
    const ALL: [AggregateOp; 14] = [
        AggregateOp::Sum,
        AggregateOp::Avg,
        AggregateOp::Count,
        AggregateOp::Min,
        AggregateOp::Max,
        AggregateOp::Group,
        AggregateOp::Stddev,
        AggregateOp::Stdvar,
        AggregateOp::TopK,
        AggregateOp::BottomK,
        AggregateOp::CountValues,
        AggregateOp::Quantile,
        AggregateOp::LimitK,
        AggregateOp::LimitRatio,
    ];
    ALL.into_iter().find(|op| op.as_str().eq_ignore_ascii_case(word))
}

/// `by` or `without` with its labels.
struct Grouping {
    without: bool,
    labels: Vec<String>,
    end: usize,
}

impl Parser<'_> {
    /// Returns whether `by` or `without` stands behind the next token.
    pub(super) fn grouping_follows(&self) -> bool {
        let token = self.peek_second();
        token.kind == TokenKind::Keyword && (token.text.eq_ignore_ascii_case("by") || token.text.eq_ignore_ascii_case("without"))
    }

    pub(super) fn aggregation(&mut self) -> Parsed<Expr> {
        let name = self.bump();
        let Some(op) = aggregate_op(name.text) else { return Err(self.unexpected_here()) };
        let (before, (args, end)) = self.within(("aggregation", ""), |parser| {
            let before = parser.grouping()?;
            Ok((before, parser.arguments()?))
        })?;
        let height = self.height + 1;
        let grouping = match before {
            Some(grouping) => Some(Grouping { end, ..grouping }),
            None => self.grouping()?,
        };
        let end = grouping.as_ref().map_or(end, |grouping| grouping.end);
        let span = Span { start: name.start, end };
        self.grow(height, span)?;
        let (without, labels) = grouping.map_or((false, Vec::new()), |grouping| (grouping.without, grouping.labels));
        Ok(Expr { span, kind: ExprKind::Aggregate(Box::new(self.assemble(op, args, without, labels, span))) })
    }

    fn assemble(&mut self, op: AggregateOp, mut args: Vec<Expr>, without: bool, grouping: Vec<String>, span: Span) -> Aggregate {
        let wanted = if op.has_param() { 2 } else { 1 };
        if args.is_empty() {
            self.note(span, "no arguments for aggregate expression provided");
        } else if args.len() != wanted {
            let message =
                format!("wrong number of arguments for aggregate expression provided, expected {wanted}, got {}", args.len());
            self.note(span, message);
        }
        // Where an error was noted the tree is thrown away: any expression will do.
        let placeholder = || Expr { span, kind: ExprKind::Number(NumberLiteral { value: 0.0, is_duration: false }) };
        let expr = args.pop().unwrap_or_else(placeholder);
        let param = if op.has_param() { Some(args.pop().unwrap_or_else(placeholder)) } else { None };
        Aggregate { op, expr, param, without, grouping }
    }

    fn grouping(&mut self) -> Parsed<Option<Grouping>> {
        let without = if self.take_keyword("by").is_some() {
            false
        } else if self.take_keyword("without").is_some() {
            true
        } else {
            return Ok(None);
        };
        let (labels, end) = self.label_list()?;
        Ok(Some(Grouping { without, labels, end }))
    }

    /// Reads `(a, b, "c d")`; the second answer is where it ends.
    fn label_list(&mut self) -> Parsed<(Vec<String>, usize)> {
        if self.take(TokenKind::LeftParen).is_none() {
            return Err(self.unexpected("grouping opts", "\"(\""));
        }
        let mut labels = Vec::new();
        loop {
            // Empty, or behind a comma.
            if let Some(close) = self.take(TokenKind::RightParen) {
                return Ok((labels, close.end()));
            }
            labels.push(self.grouping_label()?);
            if self.take(TokenKind::Comma).is_some() {
                continue;
            }
            return match self.take(TokenKind::RightParen) {
                Some(close) => Ok((labels, close.end())),
                None => Err(self.unexpected("grouping opts", "\",\" or \")\"")),
            };
        }
    }

    fn grouping_label(&mut self) -> Parsed<String> {
        let token = self.peek();
        let word = token.text.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || matches!(c, '_' | ':'));
        let label = match token.kind {
            TokenKind::String => super::unquote(token.text),
            TokenKind::Identifier
            | TokenKind::MetricIdentifier
            | TokenKind::Aggregator
            | TokenKind::Keyword
            | TokenKind::QueryValue => token.text.to_owned(),
            TokenKind::Operator if word => token.text.to_owned(),
            _ => return Err(self.unexpected("grouping opts", "label")),
        };
        if label.is_empty() {
            let span = Span { start: token.start, end: token.end() };
            self.note(span, format!("invalid label name for grouping: {}", quote(&label)));
        }
        self.bump();
        Ok(label)
    }

    /// Reads what may stand between an operator and its right side.
    pub(super) fn binary_modifiers(&mut self) -> Parsed<(bool, VectorMatching)> {
        let return_bool = self.take_keyword("bool").is_some();
        let mut matching = VectorMatching::default();
        let on = self.take_keyword("on").is_some();
        if on || self.take_keyword("ignoring").is_some() {
            matching.on = on;
            matching.labels = self.label_list()?.0;
            if self.take_keyword("group_left").is_some() {
                matching.cardinality = Cardinality::ManyToOne;
            } else if self.take_keyword("group_right").is_some() {
                matching.cardinality = Cardinality::OneToMany;
            }
            let grouped = matching.cardinality != Cardinality::OneToOne;
            if grouped && self.peek().kind == TokenKind::LeftParen {
                matching.include = self.label_list()?.0;
            }
        }
        self.fill_modifiers(&mut matching)?;
        Ok((return_bool, matching))
    }

    /// Reads `fill(0)`, or `fill_left(0)` and `fill_right(0)` in either order. The words alone are names of metrics.
    fn fill_modifiers(&mut self, matching: &mut VectorMatching) -> Parsed<()> {
        while self.peek_second().kind == TokenKind::LeftParen {
            let unset = (matching.fill_left.is_none(), matching.fill_right.is_none());
            if unset == (true, true) && self.take_keyword("fill").is_some() {
                let value = self.fill_value()?;
                matching.fill_left = Some(value);
                matching.fill_right = Some(value);
            } else if unset.0 && self.take_keyword("fill_left").is_some() {
                matching.fill_left = Some(self.fill_value()?);
            } else if unset.1 && self.take_keyword("fill_right").is_some() {
                matching.fill_right = Some(self.fill_value()?);
            } else {
                break;
            }
        }
        Ok(())
    }

    fn fill_value(&mut self) -> Parsed<f64> {
        self.need(TokenKind::LeftParen)?;
        let negative = self.take_sign().is_some_and(|(negative, _)| negative);
        let Some((number, _)) = self.take_number() else { return Err(self.unexpected_here()) };
        self.need(TokenKind::RightParen)?;
        Ok(if negative { -number.value } else { number.value })
    }
}
