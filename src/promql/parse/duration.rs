//! Durations in brackets and behind `offset`: literals, or arithmetic over literals, `step()` and `range()`.

use super::{Parsed, Parser};
use crate::promql::expr::{DurationExpr, DurationOp, NumberLiteral, Span};
use crate::promql::lex::{Token, TokenKind};

/// A duration with its place. Where an error was noted it is zero and has no place.
pub(super) struct Placed {
    pub(super) expr: DurationExpr,
    pub(super) span: Span,
}

const NOTHING: Placed =
    Placed { expr: DurationExpr::Literal { seconds: 0.0, is_duration: false }, span: Span { start: 0, end: 0 } };

/// What an offset or a range may hold at most, in seconds: Go's durations end there.
const SECONDS_MAX: f64 = 9_223_372_036.854_776;

fn operator(token: Token<'_>) -> Option<(DurationOp, u8)> {
    if token.kind != TokenKind::Operator {
        return None;
    }
    Some(match token.text {
        "+" => (DurationOp::Add, 1),
        "-" => (DurationOp::Sub, 1),
        "*" => (DurationOp::Mul, 2),
        "/" => (DurationOp::Div, 2),
        "%" => (DurationOp::Mod, 2),
        "^" => (DurationOp::Pow, 3),
        _ => return None,
    })
}

impl Parser<'_> {
    /// Reads a duration that, where it is a literal, must be positive.
    pub(super) fn positive_duration(&mut self) -> Parsed<DurationExpr> {
        let duration = self.duration(0)?;
        if let DurationExpr::Literal { seconds, .. } = duration.expr
            && seconds <= 0.0
        {
            self.note(duration.span, "duration must be greater than 0");
        }
        Ok(duration.expr)
    }

    fn duration(&mut self, weakest: u8) -> Parsed<Placed> {
        self.enter()?;
        let mut left = self.signed_duration()?;
        while let Some((op, strength)) = operator(self.peek()).filter(|(_, strength)| *strength >= weakest) {
            left = self.operation_on_durations(left, op, strength)?;
        }
        self.nesting -= 1;
        Ok(left)
    }

    fn operation_on_durations(&mut self, left: Placed, op: DurationOp, strength: u8) -> Parsed<Placed> {
        let left_height = self.height;
        let sign = self.bump();
        let right = self.duration(if op == DurationOp::Pow { strength } else { strength + 1 })?;
        let is_zero = matches!(right.expr, DurationExpr::Literal { seconds, .. } if seconds == 0.0);
        if is_zero && matches!(op, DurationOp::Div | DurationOp::Mod) {
            let word = if op == DurationOp::Div { "division" } else { "modulo" };
            self.note(Span { start: sign.start, end: sign.end() }, format!("{word} by zero"));
            return Ok(NOTHING);
        }
        let span = Span { start: left.span.start, end: right.span.end };
        self.grow(left_height.max(self.height) + 1, span)?;
        Ok(Placed { expr: DurationExpr::Binary(op, Box::new((left.expr, right.expr))), span })
    }

    fn signed_duration(&mut self) -> Parsed<Placed> {
        let Some((negative, sign)) = self.take_sign() else {
            return self.plain_duration();
        };
        let inner = self.duration(3)?;
        Ok(self.with_sign(negative, sign, inner))
    }

    fn with_sign(&mut self, negative: bool, start: usize, inner: Placed) -> Placed {
        match inner.expr {
            DurationExpr::Literal { seconds, is_duration } => {
                let seconds = if negative { -seconds } else { seconds };
                let span = Span { start, end: inner.span.end };
                self.bounded(&NumberLiteral { value: seconds, is_duration }, span)
            }
            expr if negative => Placed { expr: DurationExpr::Negate(Box::new(expr)), span: Span { start, end: inner.span.end } },
            expr => Placed { expr, span: inner.span },
        }
    }

    fn bounded(&mut self, number: &NumberLiteral, span: Span) -> Placed {
        if number.value.abs() > SECONDS_MAX || number.value.is_nan() {
            self.note(span, "duration out of range");
            return NOTHING;
        }
        Placed { expr: DurationExpr::Literal { seconds: number.value, is_duration: number.is_duration }, span }
    }

    /// Reads a duration without sign and operators.
    fn plain_duration(&mut self) -> Parsed<Placed> {
        self.height = 1;
        if let Some((number, span)) = self.take_number() {
            return Ok(self.bounded(&number, span));
        }
        let token = self.peek();
        match token.kind {
            TokenKind::LeftParen => {
                self.bump();
                let inner = self.duration(0)?;
                let close = self.need(TokenKind::RightParen)?;
                let span = Span { start: token.start, end: close.end() };
                self.grow(self.height + 1, span)?;
                Ok(Placed { expr: DurationExpr::Paren(Box::new(inner.expr)), span })
            }
            TokenKind::QueryValue if self.peek_second().kind == TokenKind::LeftParen => self.query_duration(token),
            _ => Err(self.unexpected_here()),
        }
    }

    fn query_duration(&mut self, name: Token<'_>) -> Parsed<Placed> {
        let word = name.text.to_ascii_lowercase();
        let of_two = match word.as_str() {
            "step" | "range" => false,
            "min_of" | "max_of" => true,
            _ => return Err(self.unexpected_here()),
        };
        self.bump();
        self.need(TokenKind::LeftParen)?;
        let expr = if of_two {
            let first = self.duration(0)?.expr;
            let height = self.height;
            self.need(TokenKind::Comma)?;
            let second = self.duration(0)?.expr;
            self.height = self.height.max(height) + 1;
            let both = Box::new((first, second));
            if word == "min_of" { DurationExpr::Min(both) } else { DurationExpr::Max(both) }
        } else if word == "step" {
            DurationExpr::Step
        } else {
            DurationExpr::Range
        };
        let close = self.need(TokenKind::RightParen)?;
        Ok(Placed { expr, span: Span { start: name.start, end: close.end() } })
    }

    /// Reads what stands behind `offset`: one term with a sign; arithmetic wants parentheses there, so that
    /// `a offset 5m - 8` is a difference of two expressions. The second answer is where it ends.
    pub(super) fn offset_duration(&mut self) -> Parsed<(DurationExpr, usize)> {
        let sign = self.take_sign();
        let inner = self.plain_duration()?;
        let end = inner.span.end;
        let placed = match sign {
            Some((negative, start)) => self.with_sign(negative, start, inner),
            None => inner,
        };
        Ok((placed.expr, end))
    }
}
