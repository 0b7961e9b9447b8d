//! Text to tokens, by the rules of Prometheus's lexer: what a character means depends on whether braces, brackets or
//! parentheses are open, and an error says what was wrong where the token began.
//!
//! The pieces of a token are read by nom; the little machine around them keeps the open brackets.

use nom::branch::alt;
use nom::bytes::complete::{tag, take_till, take_while};
use nom::{IResult, Parser};

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the tokens")]
pub enum TokenKind {
    End,
    Error,
    Identifier,
    MetricIdentifier,
    Number,
    Duration,
    String,
    Comma,
    Colon,
    LeftParen,
    RightParen,
    LeftBrace,
    RightBrace,
    LeftBracket,
    RightBracket,
    /// `=`, in braces alone.
    Assign,
    /// `=~`
    RegexMatch,
    /// `!~`
    RegexMismatch,
    At,
    /// An operator: `+ - * / % ^ == != < <= > >= </ >/ and or unless atan2`.
    Operator,
    /// `sum`, `topk` and so on.
    Aggregator,
    /// `by`, `offset`, `bool` and so on.
    Keyword,
    /// `start`, `end`, `step`, `range`, `min_of`, `max_of`.
    QueryValue,
}

/// A token and its bytes in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token<'a> {
    /// What it is.
    pub kind: TokenKind,
    /// First byte.
    pub start: usize,
    /// Its text.
    pub text: &'a str,
}

impl Token<'_> {
    /// Returns one past the last byte.
    #[must_use]
    pub const fn end(&self) -> usize {
        self.start + self.text.len()
    }
}

/// All tokens of a text; the last one is [`TokenKind::End`] or [`TokenKind::Error`].
#[derive(Clone, Debug)]
pub struct Tokens<'a> {
    /// The tokens.
    pub list: Vec<Token<'a>>,
    /// What the error token means.
    pub error: Option<String>,
}

/// Cuts an expression into tokens.
#[must_use]
pub fn lex(text: &str) -> Tokens<'_> {
    let mut lexer = Lexer {
        text,
        at: 0,
        start: 0,
        list: Vec::with_capacity(text.len() / 4 + 2),
        parens: 0,
        bracket: false,
        brace: false,
        colon: false,
    };
    let mut error = None;
    loop {
        match lexer.step() {
            Ok(true) => {}
            Ok(false) => break,
            Err(message) => {
                // An error lasts to the end of the text: that is the place Prometheus reports.
                lexer.at = text.len();
                lexer.emit(TokenKind::Error);
                error = Some(message);
                break;
            }
        }
    }
    Tokens { list: lexer.list, error }
}

/// Returns what a word is where keywords count, in any case.
#[must_use]
pub fn keyword(word: &str) -> Option<TokenKind> {
    let lower = word.to_ascii_lowercase();
    Some(match lower.as_str() {
        "and" | "or" | "unless" | "atan2" => TokenKind::Operator,
        "sum" | "avg" | "count" | "min" | "max" | "group" | "stddev" | "stdvar" | "topk" | "bottomk" | "count_values"
        | "quantile" | "limitk" | "limit_ratio" => TokenKind::Aggregator,
        "offset" | "smoothed" | "anchored" | "by" | "without" | "on" | "ignoring" | "group_left" | "group_right" | "fill"
        | "fill_left" | "fill_right" | "bool" => TokenKind::Keyword,
        "start" | "end" | "step" | "range" | "min_of" | "max_of" => TokenKind::QueryValue,
        "inf" | "nan" => TokenKind::Number,
        _ => return None,
    })
}

const fn is_alpha(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_'
}

const fn is_alphanumeric(c: char) -> bool {
    is_alpha(c) || c.is_ascii_digit()
}

const fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

/// Quotes a character as Go's `%q` does; the end of the text is Go's invalid rune.
pub(super) fn quote_char(c: Option<char>) -> String {
    match c {
        None => "'\\ufffd'".to_owned(),
        Some('\'') => "'\\''".to_owned(),
        Some('"') => "'\"'".to_owned(),
        Some(c) => {
            let quoted = crate::model::number::quote(&c.to_string());
            format!("'{}'", quoted.trim_matches('"'))
        }
    }
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    start: usize,
    list: Vec<Token<'a>>,
    parens: usize,
    bracket: bool,
    brace: bool,
    colon: bool,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    /// Takes the next character if `wanted` likes it.
    fn accept(&mut self, wanted: impl Fn(char) -> bool) -> bool {
        let found = self.peek().is_some_and(wanted);
        if found {
            self.next();
        }
        found
    }

    fn skip(&mut self, unwanted: impl Fn(char) -> bool) {
        let parsed: IResult<&str, &str> = take_while(unwanted).parse(self.rest());
        if let Ok((_, skipped)) = parsed {
            self.at += skipped.len();
        }
    }

    fn emit(&mut self, kind: TokenKind) {
        let text = self.text.get(self.start..self.at).unwrap_or("");
        self.list.push(Token { kind, start: self.start, text });
        self.start = self.at;
    }

    /// Reads one token; `false` at the end of the text.
    fn step(&mut self) -> Result<bool, String> {
        self.skip(is_space);
        while self.rest().starts_with('#') {
            let line: IResult<&str, &str> = take_till(|c| c == '\n' || c == '\r').parse(self.rest());
            self.at += line.map_or(0, |(_, comment)| comment.len());
            self.skip(is_space);
        }
        self.start = self.at;
        if self.brace { self.in_braces().map(|()| true) } else { self.statement() }
    }

    fn statement(&mut self) -> Result<bool, String> {
        let Some(c) = self.peek() else {
            if self.parens > 0 {
                return Err("unclosed left parenthesis".to_owned());
            }
            if self.bracket {
                return Err("unclosed left bracket".to_owned());
            }
            self.emit(TokenKind::End);
            return Ok(false);
        };
        if c.is_ascii_digit() || (c == '.' && self.rest().chars().nth(1).is_some_and(|next| next.is_ascii_digit())) {
            return self.number_or_duration().map(|()| true);
        }
        if is_alpha(c) || c == ':' {
            return if self.bracket { self.word_in_brackets() } else { Ok(self.word()) };
        }
        if matches!(c, '"' | '\'' | '`') {
            return self.string().map(|()| true);
        }
        if let Some(kind) = self.operator()? {
            self.emit(kind);
            return Ok(true);
        }
        self.bracket_or_other()
    }

    fn operator(&mut self) -> Result<Option<TokenKind>, String> {
        let parsed: IResult<&str, &str> =
            alt((tag("=="), tag("!="), tag("<="), tag("</"), tag(">="), tag(">/"), tag("<"), tag(">"))).parse(self.rest());
        if let Ok((_, found)) = parsed {
            self.at += found.len();
            return Ok(Some(TokenKind::Operator));
        }
        let kind = match self.peek() {
            Some('+' | '-' | '*' | '/' | '%' | '^') => TokenKind::Operator,
            Some('@') => TokenKind::At,
            Some(',') => TokenKind::Comma,
            Some('=') => {
                self.next();
                if self.peek() == Some('~') {
                    return Err("unexpected character after '=': '~'".to_owned());
                }
                return Ok(Some(TokenKind::Assign));
            }
            Some('!') => {
                self.next();
                let after = self.next();
                return Err(format!("unexpected character after '!': {}", quote_char(after)));
            }
            _ => return Ok(None),
        };
        self.next();
        Ok(Some(kind))
    }

    fn bracket_or_other(&mut self) -> Result<bool, String> {
        let c = self.next();
        match c {
            Some('(') => {
                self.parens += 1;
                self.emit(TokenKind::LeftParen);
            }
            Some(')') => {
                if self.parens == 0 {
                    self.start = self.at;
                    return Err("unexpected right parenthesis ')'".to_owned());
                }
                self.parens -= 1;
                self.emit(TokenKind::RightParen);
            }
            Some('{') => {
                self.brace = true;
                self.emit(TokenKind::LeftBrace);
            }
            Some('[') => {
                if self.bracket {
                    return Err("unexpected left bracket '['".to_owned());
                }
                self.bracket = true;
                self.colon = false;
                self.emit(TokenKind::LeftBracket);
            }
            Some(']') => {
                if !self.bracket {
                    return Err("unexpected right bracket ']'".to_owned());
                }
                self.bracket = false;
                self.emit(TokenKind::RightBracket);
            }
            other => return Err(format!("unexpected character: {}", quote_char(other))),
        }
        Ok(true)
    }

    fn word_in_brackets(&mut self) -> Result<bool, String> {
        if self.peek() == Some(':') {
            self.next();
            if self.colon {
                return Err("unexpected colon ':'".to_owned());
            }
            self.colon = true;
            self.emit(TokenKind::Colon);
            return Ok(true);
        }
        let parsed: IResult<&str, &str> = take_while(is_alphanumeric).parse(self.rest());
        let word = parsed.map_or("", |(_, word)| word);
        if ["step", "range", "min_of", "max_of"].iter().any(|known| word.eq_ignore_ascii_case(known)) {
            self.at += word.len();
            self.emit(TokenKind::QueryValue);
            return Ok(true);
        }
        Err(format!("unexpected character: {}, expected ':'", quote_char(self.peek())))
    }

    fn word(&mut self) -> bool {
        self.skip(|c| is_alphanumeric(c) || c == ':');
        let word = self.text.get(self.start..self.at).unwrap_or("");
        let plain = if word.contains(':') { TokenKind::MetricIdentifier } else { TokenKind::Identifier };
        self.emit(keyword(word).unwrap_or(plain));
        true
    }

    fn in_braces(&mut self) -> Result<(), String> {
        let Some(c) = self.peek() else {
            return Err("unexpected end of input inside braces".to_owned());
        };
        if is_alpha(c) {
            self.skip(is_alphanumeric);
            self.emit(TokenKind::Identifier);
            return Ok(());
        }
        if matches!(c, '"' | '\'' | '`') {
            return self.string();
        }
        let parsed: IResult<&str, &str> = alt((tag("=~"), tag("!~"), tag("!="), tag("="), tag(","), tag("}"))).parse(self.rest());
        let Ok((_, found)) = parsed else {
            self.next();
            return Err(match c {
                '!' => format!("unexpected character after '!' inside braces: {}", quote_char(self.peek())),
                '{' => "unexpected left brace '{'".to_owned(),
                c => format!("unexpected character inside braces: {}", quote_char(Some(c))),
            });
        };
        self.at += found.len();
        self.brace = found != "}";
        self.emit(match found {
            "=~" => TokenKind::RegexMatch,
            "!~" => TokenKind::RegexMismatch,
            "!=" => TokenKind::Operator,
            "=" => TokenKind::Assign,
            "," => TokenKind::Comma,
            _ => TokenKind::RightBrace,
        });
        Ok(())
    }

    /// Checks a string's escapes as it walks over them; what they mean is read by [`super::parse::unquote`].
    fn string(&mut self) -> Result<(), String> {
        let open = self.next();
        if open == Some('`') {
            loop {
                match self.next() {
                    Some('`') => break,
                    Some(char::REPLACEMENT_CHARACTER) => return Err("invalid UTF-8 rune".to_owned()),
                    None => return Err("unterminated raw string".to_owned()),
                    Some(_) => {}
                }
            }
        } else {
            loop {
                match self.next() {
                    Some('\\') => self.escape(open)?,
                    Some(char::REPLACEMENT_CHARACTER) => return Err("invalid UTF-8 rune".to_owned()),
                    None | Some('\n') => return Err("unterminated quoted string".to_owned()),
                    c if c == open => break,
                    Some(_) => {}
                }
            }
        }
        self.emit(TokenKind::String);
        Ok(())
    }

    fn escape(&mut self, open: Option<char>) -> Result<(), String> {
        let unfinished = || "escape sequence not terminated".to_owned();
        let c = self.peek().ok_or_else(unfinished)?;
        let (digits, base, max) = match c {
            'a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '\\' => (0, 0, 0),
            c if Some(c) == open => (0, 0, 0),
            '0'..='7' => (3, 8, 255),
            'x' => (2, 16, 255),
            'u' => (4, 16, 0x10_ffff),
            'U' => (8, 16, 0x10_ffff),
            c => return Err(format!("unknown escape sequence {}", code_point(c))),
        };
        if !c.is_ascii_digit() {
            self.next();
        }
        let mut value: u32 = 0;
        for _ in 0..digits {
            let c = self.next().ok_or_else(unfinished)?;
            let digit = c.to_digit(base).ok_or_else(|| format!("illegal character {} in escape sequence", code_point(c)))?;
            value = value.wrapping_mul(base).wrapping_add(digit);
        }
        if value > max || (0xd800..0xe000).contains(&value) {
            return Err("escape sequence is an invalid Unicode code point".to_owned());
        }
        Ok(())
    }

    fn number_or_duration(&mut self) -> Result<(), String> {
        if self.number() {
            self.emit(TokenKind::Number);
            return Ok(());
        }
        if self.remaining_duration() {
            self.emit(TokenKind::Duration);
            return Ok(());
        }
        let text = self.text.get(self.start..self.at).unwrap_or("");
        Err(format!("bad number or duration syntax: {}", crate::model::number::quote(text)))
    }

    /// Walks over a number: decimal with underscores and exponent, or a hexadecimal whole number. What stands behind it must
    /// not be a letter, else it may still be a duration.
    fn number(&mut self) -> bool {
        let mut hexadecimal = false;
        if self.accept(|c| c == '0') && self.accept(|c| matches!(c, 'x' | 'X')) {
            self.accept(|c| c == '_');
            hexadecimal = true;
        }
        let is_digit = |c: char| if hexadecimal { c.is_ascii_hexdigit() } else { c.is_ascii_digit() };
        // The order of these steps decides about oddities: `0xeee` is refused, since its second `e` counts as an exponent.
        self.accept(|c| c == '.');
        self.accept(is_digit);
        let (mut seen_dot, mut seen_exponent) = (false, false);
        loop {
            match self.peek() {
                Some('.') => {
                    self.next();
                    if seen_dot || hexadecimal || self.accept(|c| matches!(c, '_' | '.')) {
                        return false;
                    }
                    seen_dot = true;
                }
                Some('e' | 'E') => {
                    self.next();
                    if seen_exponent {
                        return false;
                    }
                    seen_exponent = true;
                    self.accept(|c| matches!(c, '+' | '-'));
                    if self.accept(|c| matches!(c, '.' | '_' | 'e' | 'E')) || self.peek().is_none() {
                        return false;
                    }
                }
                Some('_') => {
                    self.next();
                    if self.accept(|c| matches!(c, '.' | '_' | 'e' | 'E')) || self.peek().is_none() {
                        return false;
                    }
                }
                Some(c) if is_digit(c) => self.skip(is_digit),
                next => return !next.is_some_and(is_alphanumeric),
            }
        }
    }

    /// Walks over the units and further numbers of a duration whose first number has been read.
    fn remaining_duration(&mut self) -> bool {
        if !self.accept(|c| matches!(c, 's' | 'm' | 'h' | 'd' | 'w' | 'y')) {
            return false;
        }
        // "ms"; bad units like "hs" are caught when the duration is read.
        self.accept(|c| c == 's');
        while self.accept(|c| c.is_ascii_digit()) {
            self.skip(|c| c.is_ascii_digit());
            if !self.accept(|c| matches!(c, 's' | 'm' | 'h' | 'd' | 'w')) {
                return false;
            }
            self.accept(|c| c == 's');
        }
        !self.accept(is_alphanumeric)
    }
}

fn code_point(c: char) -> String {
    format!("U+{:04X} '{c}'", u32::from(c))
}
