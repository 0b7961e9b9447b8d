//! What may stand behind an expression: `[5m]`, `[1h:5m]`, `offset`, `@`, `anchored`, `smoothed`.

use super::{Parsed, Parser};
use crate::model::number::format_f;
use crate::promql::expr::{At, DurationExpr, Expr, ExprKind, Extension, MatrixSelector, Shift, Span, Subquery, VectorSelector};
use crate::promql::lex::TokenKind;

const TERMS: &str = "number, duration, step(), or range()";
const TIMES_OUT_OF_BOUNDS: f64 = 9_223_372_036_854_775_808.0;

impl Parser<'_> {
    /// Reads the modifiers behind `expr`; they bind more strongly than any operator.
    pub(super) fn behind(&mut self, mut expr: Expr) -> Parsed<Expr> {
        loop {
            let token = self.peek();
            match (token.kind, token.text.to_ascii_lowercase().as_str()) {
                (TokenKind::LeftBracket, _) => expr = self.brackets(expr)?,
                (TokenKind::At, _) => self.pin(&mut expr)?,
                (TokenKind::Keyword, "offset") => self.offset(&mut expr)?,
                (TokenKind::Keyword, "anchored") => self.extension(&mut expr, Extension::Anchored),
                (TokenKind::Keyword, "smoothed") => self.extension(&mut expr, Extension::Smoothed),
                _ => return Ok(expr),
            }
        }
    }

    fn brackets(&mut self, expr: Expr) -> Parsed<Expr> {
        let height = self.height;
        let open = self.bump();
        let range = self.within(("subquery or range selector", TERMS), Self::positive_duration)?;
        if let Some(close) = self.take(TokenKind::RightBracket) {
            self.height = height;
            return Ok(self.range_selector(expr, range, Span { start: open.start, end: close.end() }));
        }
        if self.take(TokenKind::Colon).is_none() {
            return Err(self.unexpected("subquery or range", "\":\" or \"]\""));
        }
        let mut close = self.take(TokenKind::RightBracket);
        let mut step = None;
        if close.is_none() {
            let context = ("subquery selector", "number, duration, step(), range(), or \"]\"");
            step = Some(self.within(context, Self::positive_duration)?);
            close = self.take(TokenKind::RightBracket);
        }
        let Some(close) = close else { return Err(self.unexpected("subquery selector", "\"]\"")) };
        let span = Span { start: expr.span.start, end: close.end() };
        self.grow(height + 1, span)?;
        let subquery = Subquery { expr, range, step, shift: Shift::default() };
        Ok(Expr { span, kind: ExprKind::Subquery(Box::new(subquery)) })
    }

    fn range_selector(&mut self, expr: Expr, range: DurationExpr, brackets: Span) -> Expr {
        let message = match &expr.kind {
            ExprKind::Selector(selector) if selector.shift.offset.is_some() => Some("no offset modifiers allowed before range"),
            ExprKind::Selector(selector) if selector.shift.at.is_some() => Some("no @ modifiers allowed before range"),
            ExprKind::Selector(_) => None,
            _ => Some("ranges only allowed for vector selectors"),
        };
        if let Some(message) = message {
            self.note(brackets, message);
        }
        let span = Span { start: expr.span.start, end: brackets.end };
        let selector_span = expr.span;
        let selector = match expr.kind {
            ExprKind::Selector(selector) => selector,
            // An error is noted: the tree will be thrown away.
            _ => VectorSelector { name: None, matchers: Vec::new(), shift: Shift::default(), extension: Extension::None },
        };
        Expr { span, kind: ExprKind::Matrix(MatrixSelector { selector, selector_span, range }) }
    }

    fn shift_of<'e>(&mut self, expr: &'e mut Expr, modifier: &str) -> Option<&'e mut Shift> {
        match &mut expr.kind {
            ExprKind::Selector(selector) => Some(&mut selector.shift),
            ExprKind::Matrix(matrix) => Some(&mut matrix.selector.shift),
            ExprKind::Subquery(subquery) => Some(&mut subquery.shift),
            _ => {
                let message = format!(
                    "{modifier} modifier must be preceded by an instant vector selector or range vector selector or a subquery"
                );
                self.note(expr.span, message);
                None
            }
        }
    }

    fn offset(&mut self, expr: &mut Expr) -> Parsed<()> {
        self.bump();
        let height = self.height;
        let (offset, end) = self.within(("offset", TERMS), Self::offset_duration)?;
        self.height = height;
        let span = expr.span;
        let Some(shift) = self.shift_of(expr, "offset") else { return Ok(()) };
        // An offset of zero is none.
        let offset = if offset.literal_ms() == Some(0) { None } else { Some(offset) };
        if shift.offset.is_some() {
            self.note(span, "offset may not be set multiple times");
        } else {
            shift.offset = offset;
        }
        expr.span.end = end;
        Ok(())
    }

    fn pin(&mut self, expr: &mut Expr) -> Parsed<()> {
        self.bump();
        let (at, end) = self.within(("@", "timestamp"), Self::timestamp)?;
        let span = expr.span;
        if let PinnedTime::OutOfBounds(seconds) = at {
            let shown = if seconds.is_finite() { format!("{seconds:.6}") } else { format_f(seconds) };
            self.note(span, format!("timestamp out of bounds for @ modifier: {shown}"));
        }
        let Some(shift) = self.shift_of(expr, "@") else { return Ok(()) };
        if shift.at.is_some() {
            self.note(span, "@ <timestamp> may not be set multiple times");
        } else if let PinnedTime::Good(at) = at {
            shift.at = Some(at);
        }
        expr.span.end = end;
        Ok(())
    }

    fn timestamp(&mut self) -> Parsed<(PinnedTime, usize)> {
        let negative = self.take_sign().map(|(negative, _)| negative);
        if let Some((number, span)) = self.take_number() {
            let seconds = if negative == Some(true) { -number.value } else { number.value };
            let good = seconds.abs() < TIMES_OUT_OF_BOUNDS;
            let at = if good {
                PinnedTime::Good(At::Timestamp((seconds * 1000.0).round() as i64))
            } else {
                PinnedTime::OutOfBounds(seconds)
            };
            return Ok((at, span.end));
        }
        let word = self.peek().text.to_ascii_lowercase();
        let at = match word.as_str() {
            "start" if negative.is_none() => At::Start,
            "end" if negative.is_none() => At::End,
            _ => return Err(self.unexpected_here()),
        };
        self.bump();
        self.need(TokenKind::LeftParen)?;
        let close = self.need(TokenKind::RightParen)?;
        Ok((PinnedTime::Good(at), close.end()))
    }

    fn extension(&mut self, expr: &mut Expr, extension: Extension) {
        let word = self.bump();
        let place = match &mut expr.kind {
            ExprKind::Selector(selector) => &mut selector.extension,
            ExprKind::Matrix(matrix) => &mut matrix.selector.extension,
            _ => {
                let lower = word.text.to_ascii_lowercase();
                self.note(expr.span, format!("{lower} modifier not implemented"));
                return;
            }
        };
        if *place != Extension::None && *place != extension {
            self.note(expr.span, "anchored and smoothed modifiers cannot be used together");
        }
        *place = extension;
        expr.span.end = word.end();
    }
}

enum PinnedTime {
    Good(At),
    OutOfBounds(f64),
}
