//! Expressions: operators by their binding powers, signs, parentheses, calls, and what may stand behind an expression.

use super::{Parsed, Parser, Stop};
use crate::promql::expr::{Binary, BinaryOp, Call, Expr, ExprKind, NumberLiteral, Span, UnaryOp};
use crate::promql::lex::{Token, TokenKind};
use crate::promql::signatures;

/// How strongly `*` binds; a sign binds as strongly, so that `-1^2` is `-(1^2)`.
const PRODUCT: u8 = 5;

/// Returns an operator and how strongly it binds.
fn operator(token: Token<'_>) -> Option<(BinaryOp, u8)> {
    if token.kind != TokenKind::Operator {
        return None;
    }
    Some(match token.text {
        "+" => (BinaryOp::Add, 4),
        "-" => (BinaryOp::Sub, 4),
        "*" => (BinaryOp::Mul, PRODUCT),
        "/" => (BinaryOp::Div, PRODUCT),
        "%" => (BinaryOp::Mod, PRODUCT),
        "^" => (BinaryOp::Pow, 6),
        "==" => (BinaryOp::Equal, 3),
        "!=" => (BinaryOp::NotEqual, 3),
        "<" => (BinaryOp::Less, 3),
        "<=" => (BinaryOp::LessEqual, 3),
        ">" => (BinaryOp::Greater, 3),
        ">=" => (BinaryOp::GreaterEqual, 3),
        "</" => (BinaryOp::TrimUpper, 3),
        ">/" => (BinaryOp::TrimLower, 3),
        word if word.eq_ignore_ascii_case("atan2") => (BinaryOp::Atan2, PRODUCT),
        word if word.eq_ignore_ascii_case("and") => (BinaryOp::And, 2),
        word if word.eq_ignore_ascii_case("unless") => (BinaryOp::Unless, 2),
        word if word.eq_ignore_ascii_case("or") => (BinaryOp::Or, 1),
        _ => return None,
    })
}

impl Parser<'_> {
    /// Reads an expression whose operators bind at least as strongly as `weakest`.
    ///
    /// The functions on the way down are many and small: each level of nesting costs their stack frames.
    pub(super) fn expression(&mut self, weakest: u8) -> Parsed<Expr> {
        self.enter()?;
        let mut left = self.signed()?;
        while let Some((op, strength)) = operator(self.peek()).filter(|(_, strength)| *strength >= weakest) {
            left = self.operation(left, op, strength)?;
        }
        self.nesting -= 1;
        Ok(left)
    }

    fn operation(&mut self, left: Expr, op: BinaryOp, strength: u8) -> Parsed<Expr> {
        let left_height = self.height;
        self.bump();
        let (return_bool, matching) = self.binary_modifiers()?;
        // All operators group to the left but the power.
        let right = self.expression(if op == BinaryOp::Pow { strength } else { strength + 1 })?;
        let span = Span { start: left.span.start, end: right.span.end };
        self.grow(left_height.max(self.height) + 1, span)?;
        let binary = Box::new(Binary { op, left, right, return_bool, matching: Some(matching) });
        Ok(Expr { span, kind: ExprKind::Binary(binary) })
    }

    fn signed(&mut self) -> Parsed<Expr> {
        match self.take_sign() {
            Some((negative, start)) => self.signed_operand(negative, start),
            None => {
                let primary = self.primary()?;
                self.behind(primary)
            }
        }
    }

    fn signed_operand(&mut self, negative: bool, start: usize) -> Parsed<Expr> {
        let operand = self.expression(PRODUCT + 1)?;
        let span = Span { start, end: operand.span.end };
        if let ExprKind::Number(NumberLiteral { value, is_duration }) = operand.kind {
            let value = if negative { -value } else { value };
            return Ok(Expr { span, kind: ExprKind::Number(NumberLiteral { value, is_duration }) });
        }
        self.grow(self.height + 1, span)?;
        let op = if negative { UnaryOp::Minus } else { UnaryOp::Plus };
        Ok(Expr { span, kind: ExprKind::Unary(op, Box::new(operand)) })
    }

    fn primary(&mut self) -> Parsed<Expr> {
        self.height = 1;
        let kind = self.peek().kind;
        let calls = self.peek_second().kind == TokenKind::LeftParen;
        match kind {
            TokenKind::LeftParen => self.parenthesis(),
            TokenKind::Identifier | TokenKind::QueryValue if calls => self.call(),
            TokenKind::Aggregator if calls || self.grouping_follows() => self.aggregation(),
            _ => self.leaf(),
        }
    }

    fn leaf(&mut self) -> Parsed<Expr> {
        let token = self.peek();
        match token.kind {
            TokenKind::Number | TokenKind::Duration => Ok(self.number_literal(token)),
            TokenKind::String => {
                self.bump();
                let span = Span { start: token.start, end: token.end() };
                Ok(Expr { span, kind: ExprKind::String(super::unquote(token.text)) })
            }
            _ => {
                let (selector, span) = self.selector()?;
                Ok(Expr { span, kind: ExprKind::Selector(selector) })
            }
        }
    }

    fn number_literal(&mut self, token: Token<'_>) -> Expr {
        let (number, span) = self.take_number().unwrap_or((NumberLiteral { value: 0.0, is_duration: false }, Span::default()));
        debug_assert_eq!(span.start, token.start);
        Expr { span, kind: ExprKind::Number(number) }
    }

    fn parenthesis(&mut self) -> Parsed<Expr> {
        let open = self.bump();
        let inner = self.expression(0)?;
        let close = self.need(TokenKind::RightParen)?;
        let span = Span { start: open.start, end: close.end() };
        self.grow(self.height + 1, span)?;
        Ok(Expr { span, kind: ExprKind::Paren(Box::new(inner)) })
    }

    fn call(&mut self) -> Parsed<Expr> {
        let name = self.bump();
        let (args, end) = self.arguments()?;
        self.finish_call(name, args, end)
    }

    fn finish_call(&mut self, name: Token<'_>, args: Vec<Expr>, end: usize) -> Parsed<Expr> {
        let signature = signatures::find(name.text);
        if signature.is_none() {
            let span = Span { start: name.start, end: name.end() };
            self.note(span, format!("unknown function with name {}", crate::model::number::quote(name.text)));
        }
        let span = Span { start: name.start, end };
        self.grow(self.height + 1, span)?;
        let function = signature.map_or("", |signature| signature.name);
        Ok(Expr { span, kind: ExprKind::Call(Call { function, args }) })
    }

    /// Reads arguments in parentheses; the second answer is where they end. Leaves the height of the highest argument.
    pub(super) fn arguments(&mut self) -> Parsed<(Vec<Expr>, usize)> {
        self.need(TokenKind::LeftParen)?;
        let mut args = Vec::new();
        let mut height = 0;
        if let Some(close) = self.take(TokenKind::RightParen) {
            self.height = height;
            return Ok((args, close.end()));
        }
        loop {
            args.push(self.expression(0)?);
            height = height.max(self.height);
            while let Some(comma) = self.take(TokenKind::Comma) {
                if self.peek().kind != TokenKind::RightParen {
                    break;
                }
                let span = Span { start: comma.start, end: comma.end() };
                self.note(span, "trailing commas not allowed in function call args");
            }
            let previous = self.token_at(self.at.saturating_sub(1)).kind;
            if let Some(close) = self.take(TokenKind::RightParen) {
                self.height = height;
                return Ok((args, close.end()));
            }
            if previous != TokenKind::Comma {
                return Err::<_, Stop>(self.unexpected_here());
            }
        }
    }
}
