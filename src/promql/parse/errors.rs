//! What a parse may find wrong, and how Prometheus words it.

use crate::model::number::quote;
use crate::promql::expr::Span;
use crate::promql::lex::{Token, TokenKind};
use std::fmt;

/// One thing that is wrong, with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// Byte positions in the text.
    pub span: Span,
    /// What is wrong, without the place.
    pub message: String,
}

/// All that is wrong with a text; never empty. Shows its first error as Prometheus does: `1:3: parse error: ...`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseErrors {
    text: String,
    errors: Vec<ParseError>,
}

impl ParseErrors {
    pub(super) fn new(text: &str, errors: Vec<ParseError>) -> Self {
        Self { text: text.to_owned(), errors }
    }

    /// Returns the errors in the order in which they were found.
    #[must_use]
    pub fn errors(&self) -> &[ParseError] {
        &self.errors
    }

    /// Returns line and column of the first error, both from 1; columns count bytes.
    #[must_use]
    pub fn line_column(&self) -> Option<(usize, usize)> {
        self.errors.first().and_then(|error| line_column(&self.text, error.span.start))
    }
}

/// Returns line and column of a byte position, both from 1, or `None` outside the text.
#[must_use]
pub(super) fn line_column(text: &str, position: usize) -> Option<(usize, usize)> {
    if text.is_empty() {
        return None;
    }
    let before = text.as_bytes().get(..position)?;
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
    Some((line, column))
}

impl fmt::Display for ParseErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = self.errors.first().map_or("unknown error", |error| error.message.as_str());
        match self.line_column() {
            Some((line, column)) => write!(f, "{line}:{column}: parse error: {message}"),
            None => write!(f, "unknown position: parse error: {message}"),
        }
    }
}

impl std::error::Error for ParseErrors {}

/// Describes a token as Prometheus's messages do.
pub(super) fn describe(token: Token<'_>) -> String {
    let text = token.text;
    match token.kind {
        TokenKind::End => "end of input".to_owned(),
        TokenKind::Identifier => format!("identifier {}", quote(text)),
        TokenKind::MetricIdentifier => format!("metric identifier {}", quote(text)),
        TokenKind::Number => format!("number {}", shortened(text)),
        TokenKind::Duration => format!("duration {}", shortened(text)),
        TokenKind::String => format!("string {}", shortened(text)),
        TokenKind::Operator | TokenKind::RegexMatch | TokenKind::RegexMismatch | TokenKind::At => format!("<op:{text}>"),
        TokenKind::Aggregator => format!("<aggr:{text}>"),
        TokenKind::Keyword => format!("<{text}>"),
        _ => shortened(text),
    }
}

pub(super) fn shortened(text: &str) -> String {
    if text.len() > 10 {
        let head: String = text.chars().take(10).collect();
        format!("{}...", quote(&head))
    } else {
        quote(text)
    }
}
