//! Matchers as Alertmanager reads and writes them: `{foo="bar", zone=~eu.*}`, in routes, inhibition rules, silences and filters.
//!
//! Two grammars exist. The classic one takes label names of the classic alphabet and is generous with values; the UTF-8 one
//! takes any label name, quoted where it holds a reserved character, and knows Go's string escapes. [`parse`] does what
//! Alertmanager does by default: both read the text, and where only one can, its result holds; where both can and
//! disagree, the classic one holds, so that old configurations keep their meaning.

use super::matcher::{MatchOp, Matcher};
use std::fmt::Write as _;

/// Why a text is not a list of matchers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct MatcherTextError(pub String);

type Parsed = Result<Vec<Matcher>, MatcherTextError>;

/// Reads a list of matchers, with or without braces, as Alertmanager does in its default mode.
///
/// # Errors
/// When neither grammar takes the text; the words are the classic grammar's.
pub fn parse(text: &str) -> Parsed {
    match (parse_utf8(text), parse_classic(text)) {
        (Err(_), classic) => classic,
        (Ok(utf8), Err(_)) => Ok(utf8),
        (Ok(utf8), Ok(classic)) => Ok(if utf8 == classic { utf8 } else { classic }),
    }
}

/// Reads exactly one matcher in the default mode.
///
/// # Errors
/// As [`parse`], and when there is not exactly one.
pub fn parse_one(text: &str) -> Result<Matcher, MatcherTextError> {
    let utf8 = parse_utf8(text).and_then(exactly_one);
    match (utf8, classic_matcher(text)) {
        (Err(_), classic) => classic,
        (Ok(utf8), Err(_)) => Ok(utf8),
        (Ok(utf8), Ok(classic)) => Ok(if utf8 == classic { utf8 } else { classic }),
    }
}

/// Returns the one matcher of a list.
///
/// # Errors
/// When there is none or more than one.
pub fn exactly_one(mut matchers: Vec<Matcher>) -> Result<Matcher, MatcherTextError> {
    match (matchers.pop(), matchers.len()) {
        (Some(matcher), 0) => Ok(matcher),
        (None, _) => Err(MatcherTextError("no matchers".to_owned())),
        (Some(_), others) => Err(MatcherTextError(format!("expected 1 matcher, found {}", others + 1))),
    }
}

/// Returns whether a character ends an unquoted name or value of the UTF-8 grammar.
fn is_reserved(c: char) -> bool {
    c.is_whitespace() || "{}!=~,\\\"'`".contains(c)
}

/// Writes one matcher as Alertmanager does.
#[must_use]
pub fn one_to_text(matcher: &Matcher) -> String {
    let (name, op, value) = (matcher.name(), matcher.op().as_str(), matcher.value());
    if name.chars().any(is_reserved) {
        return format!("{}{op}{}", super::number::quote(name), super::number::quote(value));
    }
    let mut escaped = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '\\' => escaped.push_str("\\\\"),
            '\n' => escaped.push_str("\\n"),
            '"' => escaped.push_str("\\\""),
            c => escaped.push(c),
        }
    }
    format!("{name}{op}\"{escaped}\"")
}

/// Writes a list as Alertmanager does: `{a="b",c=~"d"}`.
#[must_use]
pub fn to_text(matchers: &[Matcher]) -> String {
    let mut out = "{".to_owned();
    for (place, matcher) in matchers.iter().enumerate() {
        let comma = if place > 0 { "," } else { "" };
        let written = write!(out, "{comma}{}", one_to_text(matcher));
        debug_assert!(written.is_ok());
    }
    out.push('}');
    out
}

/// Sorts as Alertmanager does before it names a route or keeps a silence: name, value, kind.
pub fn sort(matchers: &mut [Matcher]) {
    matchers.sort_by(|a, b| (a.name(), a.value(), a.op()).cmp(&(b.name(), b.value(), b.op())));
}

/// Returns whether a label name is allowed in the default mode: any text that is not empty.
#[must_use]
pub const fn is_label_name(name: &str) -> bool {
    !name.is_empty()
}

// ---- the classic grammar ----

/// Reads a list in the classic grammar alone.
///
/// # Errors
/// When a part between commas is not `name op value`.
pub fn parse_classic(text: &str) -> Parsed {
    let text = text.strip_prefix('{').unwrap_or(text);
    let text = text.strip_suffix('}').unwrap_or(text);
    let (mut inside_quotes, mut escaped) = (false, false);
    let mut token = String::new();
    let mut tokens = Vec::new();
    for c in text.chars() {
        match c {
            ',' if !inside_quotes => {
                tokens.push(std::mem::take(&mut token));
                continue;
            }
            ',' => {}
            '"' if escaped => escaped = false,
            '"' => inside_quotes = !inside_quotes,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
        token.push(c);
    }
    let last = token.trim();
    if !last.is_empty() {
        tokens.push(last.to_owned());
    }
    tokens.iter().map(|token| classic_matcher(token)).collect()
}

fn classic_matcher(text: &str) -> Result<Matcher, MatcherTextError> {
    let bad = || MatcherTextError(format!("bad matcher format: {text}"));
    let start = text.trim_start_matches(is_regex_space);
    let name_end = start.bytes().take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b':')).count();
    let (name, rest) = start.split_at(name_end);
    if name.bytes().next().is_none_or(|b| b.is_ascii_digit()) {
        return Err(bad());
    }
    let rest = rest.trim_start_matches(is_regex_space);
    let ops = [("=~", MatchOp::Regex), ("=", MatchOp::Equal), ("!=", MatchOp::NotEqual), ("!~", MatchOp::NotRegex)];
    let (op, raw) = ops.iter().find_map(|(word, op)| rest.strip_prefix(word).map(|rest| (*op, rest))).ok_or_else(bad)?;
    let raw = raw.trim_matches(is_regex_space);
    let value = classic_value(raw)?;
    Matcher::for_alerts(op, name, value).map_err(|error| MatcherTextError(error.to_string()))
}

/// What `\s` is in Go's regular expressions.
const fn is_regex_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0c')
}

fn classic_value(raw: &str) -> Result<String, MatcherTextError> {
    let unescaped = || MatcherTextError(format!("matcher value contains unescaped double quote: {raw}"));
    let (text, quoted) = raw.strip_prefix('"').map_or((raw, false), |rest| (rest, true));
    let mut value = String::with_capacity(text.len());
    let mut open = quoted;
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '\\' => match rest.next() {
                None => value.push('\\'),
                Some('n') => value.push('\n'),
                Some(c @ ('"' | '\\')) => value.push(c),
                Some(c) => {
                    // Not an escape that this grammar knows: the backslash stands for itself.
                    value.push('\\');
                    value.push(c);
                }
            },
            '"' if open && rest.as_str().is_empty() => open = false,
            '"' => return Err(unescaped()),
            c => value.push(c),
        }
    }
    if open { Err(unescaped()) } else { Ok(value) }
}

// ---- the UTF-8 grammar ----

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    OpenBrace,
    CloseBrace,
    Comma,
    Op(MatchOp),
    Quoted,
    Unquoted,
}

#[derive(Clone, Debug)]
struct Token {
    kind: Kind,
    text: String,
    start: usize,
    end: usize,
}

impl Token {
    fn unexpected(&self, wanted: &str) -> MatcherTextError {
        MatcherTextError(format!("{}:{}: unexpected {}: {wanted}", self.start, self.end, self.text))
    }

    /// Returns the name or value that the token stands for.
    fn content(&self) -> Result<String, MatcherTextError> {
        match self.kind {
            Kind::Quoted => unquote(&self.text)
                .ok_or_else(|| MatcherTextError(format!("{}:{}: {}: invalid input", self.start, self.end, self.text))),
            Kind::OpenBrace | Kind::CloseBrace | Kind::Comma | Kind::Op(_) | Kind::Unquoted => Ok(self.text.clone()),
        }
    }
}

/// Splits into tokens. The places in messages count characters, as Alertmanager's do.
fn tokens(text: &str) -> (Vec<Token>, Option<MatcherTextError>) {
    let chars: Vec<char> = text.chars().collect();
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(c) = chars.get(at).copied() {
        let start = at;
        at += 1;
        let kind = match c {
            c if c.is_whitespace() => continue,
            '{' => Ok(Kind::OpenBrace),
            '}' => Ok(Kind::CloseBrace),
            ',' => Ok(Kind::Comma),
            '=' if chars.get(at) == Some(&'~') => operator(&mut at, MatchOp::Regex),
            '=' => Ok(Kind::Op(MatchOp::Equal)),
            '!' if chars.get(at) == Some(&'=') => operator(&mut at, MatchOp::NotEqual),
            '!' if chars.get(at) == Some(&'~') => operator(&mut at, MatchOp::NotRegex),
            '!' => Err(chars.get(at).map_or_else(
                || format!("0:{at}: end of input, expected one of '=~'"),
                |next| format!("{at}:{}: {next}: expected one of '=~'", at + 1),
            )),
            '"' => quoted(&chars, &mut at),
            c if !is_reserved(c) => {
                at += chars[at..].iter().take_while(|c| !is_reserved(**c)).count();
                Ok(Kind::Unquoted)
            }
            c => Err(format!("{start}:{at}: {c}: invalid input")),
        };
        match kind {
            Ok(kind) => found.push(Token { kind, text: chars[start..at].iter().collect(), start, end: at }),
            Err(message) => return (found, Some(MatcherTextError(message))),
        }
    }
    (found, None)
}

const fn operator(at: &mut usize, op: MatchOp) -> Result<Kind, String> {
    *at += 1;
    Ok(Kind::Op(op))
}

fn quoted(chars: &[char], at: &mut usize) -> Result<Kind, String> {
    let mut escaped = false;
    while let Some(c) = chars.get(*at) {
        *at += 1;
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Ok(Kind::Quoted),
            _ => {}
        }
    }
    Err(format!("0:{at}: end of input: expected `\"`"))
}

/// Reads a Go string literal in double quotes; `None` where it is not one or not valid UTF-8.
fn unquote(literal: &str) -> Option<String> {
    let body = literal.strip_prefix('"')?.strip_suffix('"')?;
    let mut out = Vec::with_capacity(body.len());
    let mut rest = body.chars();
    while let Some(c) = rest.next() {
        if c == '\n' {
            return None;
        }
        if c != '\\' {
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        match rest.next()? {
            'a' => out.push(7),
            'b' => out.push(8),
            'f' => out.push(12),
            'n' => out.push(b'\n'),
            'r' => out.push(b'\r'),
            't' => out.push(b'\t'),
            'v' => out.push(11),
            c @ ('\\' | '"') => out.push(c as u8),
            'x' => out.push(u8::try_from(digits(&mut rest, 2, 16)?).ok()?),
            'u' => push_char(&mut out, digits(&mut rest, 4, 16)?)?,
            'U' => push_char(&mut out, digits(&mut rest, 8, 16)?)?,
            c @ '0'..='7' => {
                let high = c.to_digit(8)?;
                out.push(u8::try_from(high * 64 + digits(&mut rest, 2, 8)?).ok()?);
            }
            _ => return None,
        }
    }
    String::from_utf8(out).ok()
}

fn digits(rest: &mut std::str::Chars<'_>, count: usize, radix: u32) -> Option<u32> {
    let mut value: u32 = 0;
    for _ in 0..count {
        value = value.checked_mul(radix)?.checked_add(rest.next()?.to_digit(radix)?)?;
    }
    Some(value)
}

fn push_char(out: &mut Vec<u8>, code: u32) -> Option<()> {
    out.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut [0; 4]).as_bytes());
    Some(())
}

/// Walks the tokens. A lexing error shows where the token it stands for is asked for, as in a lexer that runs alongside.
struct Walk {
    tokens: std::iter::Peekable<std::vec::IntoIter<Token>>,
    error: Option<MatcherTextError>,
    length: usize,
}

impl Walk {
    /// Returns the next token's kind without taking it; `None` at the end of the input.
    fn peek(&mut self, wanted: &str) -> Result<Option<Kind>, MatcherTextError> {
        if let Some(token) = self.tokens.peek() {
            return Ok(Some(token.kind));
        }
        match &self.error {
            Some(error) => Err(MatcherTextError(format!("{error}: {wanted}"))),
            None => Ok(None),
        }
    }

    fn take(&mut self, wanted: &str, fits: impl Fn(Kind) -> bool) -> Result<Token, MatcherTextError> {
        match self.peek(wanted)? {
            None => Err(MatcherTextError(format!("0:{}: end of input: {wanted}", self.length))),
            Some(_) => match self.tokens.next() {
                Some(token) if fits(token.kind) => Ok(token),
                Some(token) => Err(token.unexpected(wanted)),
                None => Err(MatcherTextError(format!("0:{}: end of input: {wanted}", self.length))),
            },
        }
    }
}

/// Reads a list in the UTF-8 grammar alone.
///
/// # Errors
/// When the text is not of the grammar; the message begins with the place, `from:to:` in characters.
pub fn parse_utf8(text: &str) -> Parsed {
    let (found, error) = tokens(text);
    let mut walk = Walk { tokens: found.into_iter().peekable(), error, length: text.chars().count() };
    let mut matchers = Vec::new();
    let braced = walk.peek("expected label name")? == Some(Kind::OpenBrace);
    if braced {
        walk.take("", |kind| kind == Kind::OpenBrace)?;
    }
    while walk.peek("expected a matcher or close brace after comma")?.is_some_and(|kind| kind != Kind::CloseBrace) {
        matchers.push(utf8_matcher(&mut walk)?);
        match walk.peek("expected a comma or close brace")? {
            None | Some(Kind::CloseBrace) => break,
            Some(_) => walk.take("expected a comma or close brace", |kind| kind == Kind::Comma)?,
        };
    }
    if braced {
        walk.take("expected close brace", |kind| kind == Kind::CloseBrace)?;
    } else if walk.peek("expected end of input")? == Some(Kind::CloseBrace) {
        let end = walk.tokens.peek().map_or(0, |token| token.end);
        return Err(MatcherTextError(format!("0:{end}: }}: expected opening brace")));
    }
    match (walk.peek("expected end of input")?, walk.tokens.next()) {
        (Some(_), Some(token)) => Err(token.unexpected("expected end of input")),
        _ => Ok(matchers),
    }
}

fn utf8_matcher(walk: &mut Walk) -> Result<Matcher, MatcherTextError> {
    let is_text = |kind| matches!(kind, Kind::Quoted | Kind::Unquoted);
    let name = walk.take("expected label name", is_text)?.content()?;
    let operator = walk.take("expected an operator such as '=', '!=', '=~' or '!~'", |kind| matches!(kind, Kind::Op(_)))?;
    let value = walk.take("expected label value", is_text)?.content()?;
    let Kind::Op(op) = operator.kind else { return Err(operator.unexpected("expected an operator")) };
    Matcher::for_alerts(op, name, value).map_err(|error| MatcherTextError(format!("failed to create matcher: {error}")))
}

#[cfg(test)]
mod tests;
