//! Tokens to syntax tree: the grammar of PromQL 3 and Prometheus's own error texts.
//!
//! A hand-written descent with binding powers over the tokens of [`super::lex`]. Where Prometheus's generated parser says
//! "unexpected X in CONTEXT, expected Y", the context is the innermost construct that has such a message; the parser keeps
//! those on a stack. A wrong token ends the parse; a wrong meaning (an offset on a number) is noted and the parse goes on, so
//! that all such errors are told at once. Types are checked afterwards, by [`super::check`].
//!
//! Nesting is bounded, and so are chains of operators, by a much higher bound: neither this module nor anyone who walks the
//! tree can run out of stack.

mod aggregate;
mod duration;
mod errors;
mod expression;
mod literal;
mod modifiers;
mod patterns;
mod selector;
mod series;

pub use errors::{ParseError, ParseErrors};
pub use literal::unquote;
pub use patterns::Patterns;
pub use series::{SequenceValue, SeriesDescription, parse_series_notation};

use super::expr::{Expr, Span};
use super::lex::{Token, TokenKind, lex};
use crate::model::matcher::Matcher;

/// How deep parentheses, calls and signs may nest.
pub const NESTING_MAX: usize = 200;
/// How high a syntax tree may be; chains of operators count, and who walks down one makes room by [`super::deep`].
pub const HEIGHT_MAX: usize = 10_000;

/// Reads and checks an expression.
///
/// # Errors
/// All errors that were found, with their places; the first one is the one to show.
pub fn parse(text: &str) -> Result<Expr, ParseErrors> {
    parse_with(text, Patterns::default())
}

/// Reads and checks an expression whose regular expressions are compiled only as long as `patterns` lets them be.
///
/// # Errors
/// See [`parse`].
pub fn parse_with<'a>(text: &'a str, patterns: Patterns<'a>) -> Result<Expr, ParseErrors> {
    let mut parser = Parser { patterns, ..Parser::new(text) };
    let parsed = parser.whole_expression();
    match parsed {
        Ok(mut expr) if parser.errors.is_empty() => {
            parser.errors = super::check::check(&mut expr, text);
            if parser.errors.is_empty() { Ok(expr) } else { Err(ParseErrors::new(text, parser.errors)) }
        }
        _ => Err(ParseErrors::new(text, parser.errors)),
    }
}

/// Reads an instant selector without modifiers, as `match[]` of the HTTP API holds it.
///
/// # Errors
/// When the text is anything else.
pub fn parse_selector(text: &str) -> Result<Vec<Matcher>, ParseErrors> {
    parse_selector_with(text, &mut Patterns::default())
}

/// Reads a selector as [`parse_selector`] does, one of several of a request that `patterns` counts together.
///
/// # Errors
/// See [`parse_selector`].
pub fn parse_selector_with<'a>(text: &'a str, patterns: &mut Patterns<'a>) -> Result<Vec<Matcher>, ParseErrors> {
    let mut parser = Parser { patterns: std::mem::take(patterns), ..Parser::new(text) };
    let parsed = parser.whole_selector();
    *patterns = std::mem::take(&mut parser.patterns);
    match parsed {
        Ok(matchers) if parser.errors.is_empty() => Ok(matchers),
        _ => Err(ParseErrors::new(text, parser.errors)),
    }
}

/// Says that a syntax error was noted and the parse is over.
struct Stop;

type Parsed<T> = Result<T, Stop>;

/// What an "unexpected" message says about where it happened and what would have been right there.
type Context = (&'static str, &'static str);

struct Parser<'a> {
    tokens: Vec<Token<'a>>,
    lex_error: Option<String>,
    at: usize,
    errors: Vec<ParseError>,
    contexts: Vec<Context>,
    nesting: usize,
    /// Height of the expression read last.
    height: usize,
    patterns: Patterns<'a>,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Self {
        Self::over(lex(text))
    }

    fn over(tokens: super::lex::Tokens<'a>) -> Self {
        Self {
            tokens: tokens.list,
            lex_error: tokens.error,
            at: 0,
            errors: Vec::new(),
            contexts: Vec::new(),
            nesting: 0,
            height: 0,
            patterns: Patterns::default(),
        }
    }

    fn token_at(&self, index: usize) -> Token<'a> {
        const END: Token<'static> = Token { kind: TokenKind::End, start: 0, text: "" };
        self.tokens.get(index).or_else(|| self.tokens.last()).copied().unwrap_or(END)
    }

    fn peek(&self) -> Token<'a> {
        self.token_at(self.at)
    }

    fn peek_second(&self) -> Token<'a> {
        self.token_at(self.at + 1)
    }

    fn bump(&mut self) -> Token<'a> {
        let token = self.peek();
        self.at += 1;
        token
    }

    /// Takes the next token if it is of the kind.
    fn take(&mut self, kind: TokenKind) -> Option<Token<'a>> {
        (self.peek().kind == kind).then(|| self.bump())
    }

    fn take_keyword(&mut self, word: &str) -> Option<Token<'a>> {
        let token = self.peek();
        (token.kind == TokenKind::Keyword && token.text.eq_ignore_ascii_case(word)).then(|| self.bump())
    }

    /// Takes a token of the kind or stops with the message of the innermost construct.
    fn need(&mut self, kind: TokenKind) -> Parsed<Token<'a>> {
        match self.take(kind) {
            Some(token) => Ok(token),
            None => Err(self.unexpected_here()),
        }
    }

    fn note(&mut self, span: Span, message: impl Into<String>) {
        self.errors.push(ParseError { span, message: message.into() });
    }

    /// Notes that the next token does not belong here, in the words of the innermost construct.
    fn unexpected_here(&mut self) -> Stop {
        let (context, expected) = self.contexts.last().copied().unwrap_or(("", ""));
        self.unexpected(context, expected)
    }

    fn unexpected(&mut self, context: &str, expected: &str) -> Stop {
        let token = self.peek();
        let message = if token.kind == TokenKind::Error {
            self.lex_error.clone().unwrap_or_default()
        } else {
            let mut message = format!("unexpected {}", errors::describe(token));
            if !context.is_empty() {
                message.push_str(" in ");
                message.push_str(context);
            }
            if !expected.is_empty() {
                message.push_str(", expected ");
                message.push_str(expected);
            }
            message
        };
        self.note(Span { start: token.start, end: token.end() }, message);
        Stop
    }

    /// Runs `read` with `context` for its errors.
    fn within<T>(&mut self, context: Context, read: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        self.contexts.push(context);
        let result = read(self);
        self.contexts.pop();
        result
    }

    /// Goes one level deeper, or stops where the nesting is too deep. The way back is `self.nesting -= 1`; where an error
    /// ends the parse nobody comes back.
    fn enter(&mut self) -> Parsed<()> {
        if self.nesting >= NESTING_MAX {
            let token = self.peek();
            let span = Span { start: token.start, end: token.end() };
            self.note(span, format!("expression is nested too deeply, more than {NESTING_MAX} levels"));
            return Err(Stop);
        }
        self.nesting += 1;
        Ok(())
    }

    /// Sets the height of the expression just built.
    fn grow(&mut self, height: usize, span: Span) -> Parsed<()> {
        self.height = height;
        if height > HEIGHT_MAX {
            self.note(span, format!("expression is too long, more than {HEIGHT_MAX} operations above each other"));
            return Err(Stop);
        }
        Ok(())
    }

    fn whole_expression(&mut self) -> Parsed<Expr> {
        if self.peek().kind == TokenKind::End {
            self.note(Span::default(), "no expression found in input");
            return Err(Stop);
        }
        let expr = self.expression(0)?;
        self.need(TokenKind::End)?;
        Ok(expr)
    }

    fn whole_selector(&mut self) -> Parsed<Vec<Matcher>> {
        let (selector, _) = self.selector()?;
        self.need(TokenKind::End)?;
        Ok(selector.matchers)
    }
}

#[cfg(test)]
mod tests;
