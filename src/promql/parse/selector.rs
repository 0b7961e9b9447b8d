//! Instant selectors: a name, matchers in braces, or both.

use super::patterns::Refusal;
use super::{Parsed, Parser, Stop};
use crate::model::labels::METRIC_NAME;
use crate::model::matcher::{MatchOp, Matcher};
use crate::promql::expr::{Extension, Shift, Span, VectorSelector};
use crate::promql::lex::{Token, TokenKind};

impl<'a> Parser<'a> {
    /// Takes a word that may be the name of a metric: most keywords may.
    fn metric_name(&mut self) -> Option<Token<'a>> {
        let token = self.peek();
        let lower = token.text.to_ascii_lowercase();
        let is_name = match token.kind {
            TokenKind::Identifier | TokenKind::MetricIdentifier | TokenKind::Aggregator | TokenKind::QueryValue => true,
            TokenKind::Keyword => !matches!(lower.as_str(), "on" | "ignoring" | "bool" | "group_left" | "group_right"),
            TokenKind::Operator => matches!(lower.as_str(), "and" | "or" | "unless"),
            _ => false,
        };
        is_name.then(|| self.bump())
    }

    /// Reads a selector without modifiers, and its place.
    pub(super) fn selector(&mut self) -> Parsed<(VectorSelector, Span)> {
        let name = self.metric_name();
        let start = self.peek().start;
        let (mut matchers, end) = match (name, self.peek().kind) {
            (_, TokenKind::LeftBrace) => self.braces()?,
            (Some(name), _) => (Vec::new(), name.end()),
            (None, _) => return Err(self.unexpected_here()),
        };
        if let Some(name) = name {
            matchers.push(Matcher::equal(METRIC_NAME, name.text));
        }
        let span = Span { start: name.map_or(start, |name| name.start), end };
        let name = name.map(|name| name.text.to_owned());
        Ok((VectorSelector { name, matchers, shift: Shift::default(), extension: Extension::None }, span))
    }

    fn braces(&mut self) -> Parsed<(Vec<Matcher>, usize)> {
        self.bump();
        let mut matchers = Vec::new();
        if let Some(close) = self.take(TokenKind::RightBrace) {
            return Ok((matchers, close.end()));
        }
        loop {
            matchers.extend(self.label_matcher()?);
            if self.take(TokenKind::Comma).is_some() {
                if let Some(close) = self.take(TokenKind::RightBrace) {
                    return Ok((matchers, close.end()));
                }
                continue;
            }
            return match self.take(TokenKind::RightBrace) {
                Some(close) => Ok((matchers, close.end())),
                None => Err(self.unexpected("label matching", "\",\" or \"}\"")),
            };
        }
    }

    /// Reads one matcher, or a quoted metric name. Nothing comes back where the pattern was wrong; that is noted.
    fn label_matcher(&mut self) -> Parsed<Option<Matcher>> {
        let token = self.peek();
        let (name, quoted) = match token.kind {
            TokenKind::Identifier => (token.text.to_owned(), false),
            TokenKind::String => (super::unquote(token.text), true),
            _ => return Err(self.unexpected("label matching", "identifier or \"}\"")),
        };
        self.bump();
        let op = match (self.peek().kind, self.peek().text) {
            (TokenKind::Assign, _) => MatchOp::Equal,
            (TokenKind::Operator, "!=") => MatchOp::NotEqual,
            (TokenKind::RegexMatch, _) => MatchOp::Regex,
            (TokenKind::RegexMismatch, _) => MatchOp::NotRegex,
            (TokenKind::Comma | TokenKind::RightBrace, _) if quoted => return Ok(Some(Matcher::equal(METRIC_NAME, name))),
            _ if quoted => return Err(self.unexpected("label matching", "\",\" or \"}\"")),
            _ => return Err(self.unexpected("label matching", "label matching operator")),
        };
        self.bump();
        let Some(value) = self.take(TokenKind::String) else {
            return Err(self.unexpected("label matching", "string"));
        };
        let span = Span { start: token.start, end: value.end() };
        match self.patterns.matcher(op, name, super::unquote(value.text)) {
            Ok(matcher) => Ok(Some(matcher)),
            Err(Refusal::Pattern(message)) => {
                self.note(span, message);
                Ok(None)
            }
            Err(Refusal::Over(message)) => {
                self.note(span, message);
                Err(Stop)
            }
        }
    }
}
