//! Text of a template to tokens, after Go's `text/template/parse`: `{{`, `}}`, trim markers, comments.

use crate::model::number::quote;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// What could not be read; the text is the message.
    Error,
    /// The end.
    Eof,
    /// Plain text between actions.
    Text,
    /// `{{`
    Left,
    /// `}}`
    Right,
    /// A run of white space within an action.
    Space,
    /// `=`
    Assign,
    /// `:=`
    Declare,
    /// `|`
    Pipe,
    /// `(`
    LeftParen,
    /// `)`
    RightParen,
    /// Another printable character, such as a comma.
    Char,
    /// `'a'`
    CharConstant,
    /// A number.
    Number,
    /// `"text"`
    String,
    /// `` `text` ``
    RawString,
    /// `$name`
    Variable,
    /// `.name`
    Field,
    /// `.`
    Dot,
    /// `true`, `false`
    Bool,
    /// `nil`
    Nil,
    /// A function's name.
    Identifier,
    /// `if`, `range`, `end` and so on.
    Keyword,
}

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    /// Byte position.
    pub(super) at: usize,
    pub(super) text: String,
    /// Line, from 1.
    pub(super) line: usize,
}

/// Where a token stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// Byte position.
    pub(super) at: usize,
    /// Line, from 1.
    pub(super) line: usize,
}

impl Token {
    pub(super) const fn place(&self) -> Place {
        Place { at: self.at, line: self.line }
    }

    /// Returns the token as Go's messages show it.
    pub(super) fn shown(&self) -> String {
        match self.kind {
            Kind::Eof => "EOF".to_owned(),
            Kind::Error => self.text.clone(),
            Kind::Keyword => format!("<{}>", self.text),
            _ if self.text.chars().count() > 10 => {
                format!("{}...", quote(&self.text.chars().take(10).collect::<String>()))
            }
            _ => quote(&self.text),
        }
    }
}

const KEYWORDS: [&str; 10] = ["block", "break", "continue", "define", "else", "end", "if", "range", "template", "with"];

/// Splits a template into tokens; the last one is `Eof` or `Error`.
pub(super) fn lex(text: &str) -> Vec<Token> {
    let mut lexer = Lexer { text, at: 0, line: 1, counted: 0, parens: 0, tokens: Vec::new() };
    if let Err(message) = lexer.run() {
        let (at, line) = (lexer.at, lexer.line_at(lexer.at));
        lexer.tokens.push(Token { kind: Kind::Error, at, text: message, line });
    }
    lexer.tokens
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    line: usize,
    counted: usize,
    parens: usize,
    tokens: Vec<Token>,
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn line_at(&mut self, at: usize) -> usize {
        let between = self.text.get(self.counted..at).unwrap_or("");
        self.line += between.bytes().filter(|b| *b == b'\n').count();
        self.counted = self.counted.max(at);
        self.line
    }

    /// Emits the next `length` bytes as a token.
    fn emit(&mut self, kind: Kind, length: usize) {
        let text = self.rest().get(..length).unwrap_or("").to_owned();
        let line = self.line_at(self.at);
        self.tokens.push(Token { kind, at: self.at, text, line });
        self.at += length;
    }

    fn run(&mut self) -> Result<(), String> {
        loop {
            let rest = self.rest();
            let Some(place) = rest.find("{{") else {
                if !rest.is_empty() {
                    self.emit(Kind::Text, rest.len());
                }
                self.emit(Kind::Eof, 0);
                return Ok(());
            };
            let behind = rest.get(place + 2..).unwrap_or("");
            let trims = has_left_trim(behind);
            let before = rest.get(..place).unwrap_or("");
            let kept = if trims { before.trim_end_matches(is_space).len() } else { place };
            if kept > 0 {
                self.emit(Kind::Text, kept);
            }
            self.at += place - kept;
            let inside = if trims { behind.get(2..).unwrap_or("") } else { behind };
            let marker = if trims { 4 } else { 2 };
            if inside.starts_with("/*") {
                self.comment(marker)?;
            } else {
                self.emit(Kind::Left, 2);
                // The marker's minus is dropped; the space behind it stays a space.
                self.at += marker - 2 - usize::from(trims);
                self.parens = 0;
                self.action()?;
            }
        }
    }

    fn comment(&mut self, marker: usize) -> Result<(), String> {
        self.at += marker;
        let Some(end) = self.rest().find("*/") else { return Err("unclosed comment".to_owned()) };
        self.at += end + 2;
        let Some((length, trims)) = self.right_delimiter() else {
            return Err("comment ends before closing delimiter".to_owned());
        };
        self.at += length;
        if trims {
            self.skip_spaces();
        }
        Ok(())
    }

    fn skip_spaces(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start_matches(is_space).len();
    }

    /// Returns the length of a closing delimiter here, and whether it trims.
    fn right_delimiter(&self) -> Option<(usize, bool)> {
        let rest = self.rest();
        let mut chars = rest.chars();
        if chars.next().is_some_and(is_space) && chars.as_str().starts_with("-}}") {
            return Some((4, true));
        }
        rest.starts_with("}}").then_some((2, false))
    }

    fn action(&mut self) -> Result<(), String> {
        loop {
            if let Some((length, trims)) = self.right_delimiter() {
                if self.parens > 0 {
                    return Err("unclosed left paren".to_owned());
                }
                self.at += length - 2;
                self.emit(Kind::Right, 2);
                if trims {
                    self.skip_spaces();
                }
                return Ok(());
            }
            self.token()?;
        }
    }

    fn token(&mut self) -> Result<(), String> {
        let rest = self.rest();
        let mut chars = rest.chars();
        let Some(c) = chars.next() else { return Err("unclosed action".to_owned()) };
        let second = chars.next();
        match c {
            c if is_space(c) => self.spaces(),
            '=' => self.emit(Kind::Assign, 1),
            ':' if second == Some('=') => self.emit(Kind::Declare, 2),
            ':' => return Err("expected :=".to_owned()),
            '|' => self.emit(Kind::Pipe, 1),
            '"' => return self.quoted(),
            '`' => match rest.get(1..).and_then(|behind| behind.find('`')) {
                Some(end) => self.emit(Kind::RawString, end + 2),
                None => return Err("unterminated raw quoted string".to_owned()),
            },
            '\'' => return self.char_constant(),
            '$' => return self.variable_or_field(Kind::Variable),
            '.' if !second.is_some_and(|c| c.is_ascii_digit()) => return self.variable_or_field(Kind::Field),
            '.' | '+' | '-' | '0'..='9' => return self.number(),
            c if is_word(c) => return self.identifier(),
            '(' => {
                self.parens += 1;
                self.emit(Kind::LeftParen, 1);
            }
            ')' if self.parens == 0 => return Err("unexpected right paren".to_owned()),
            ')' => {
                self.parens -= 1;
                self.emit(Kind::RightParen, 1);
            }
            c if c.is_ascii_graphic() => self.emit(Kind::Char, 1),
            c => return Err(format!("unrecognized character in action: {}", unicode_name(c))),
        }
        Ok(())
    }

    fn spaces(&mut self) {
        let rest = self.rest();
        let mut length = rest.len() - rest.trim_start_matches(is_space).len();
        // The last space may belong to a closing ` -}}`.
        if length > 0 && rest.get(length..).is_some_and(|behind| behind.starts_with("-}}")) {
            length -= 1;
        }
        if length > 0 {
            self.emit(Kind::Space, length);
        }
    }

    fn quoted(&mut self) -> Result<(), String> {
        let mut escaped = false;
        for (at, c) in self.rest().char_indices().skip(1) {
            match c {
                _ if escaped && c != '\n' => escaped = false,
                '\\' => escaped = true,
                '\n' => break,
                '"' => {
                    self.emit(Kind::String, at + 1);
                    return Ok(());
                }
                _ => {}
            }
        }
        Err("unterminated quoted string".to_owned())
    }

    fn char_constant(&mut self) -> Result<(), String> {
        let mut escaped = false;
        for (at, c) in self.rest().char_indices().skip(1) {
            match c {
                _ if escaped && c != '\n' => escaped = false,
                '\\' => escaped = true,
                '\n' => break,
                '\'' => {
                    self.emit(Kind::CharConstant, at + 1);
                    return Ok(());
                }
                _ => {}
            }
        }
        Err("unterminated character constant".to_owned())
    }

    fn variable_or_field(&mut self, kind: Kind) -> Result<(), String> {
        let name = self.rest().get(1..).unwrap_or("");
        let length = 1 + name.find(|c| !is_word(c)).unwrap_or(name.len());
        let kind = if kind == Kind::Field && length == 1 { Kind::Dot } else { kind };
        self.check_terminator(length)?;
        self.emit(kind, length);
        Ok(())
    }

    /// Checks that a word ends where a word may end.
    fn check_terminator(&self, length: usize) -> Result<(), String> {
        let behind = self.rest().get(length..).unwrap_or("");
        let Some(c) = behind.chars().next() else { return Ok(()) };
        if is_space(c) || matches!(c, '.' | ',' | '|' | ':' | '(' | ')') || behind.starts_with("}}") {
            return Ok(());
        }
        Err(format!("bad character {}", unicode_name(c)))
    }

    fn identifier(&mut self) -> Result<(), String> {
        let rest = self.rest();
        let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        self.check_terminator(length)?;
        let kind = match rest.get(..length).unwrap_or("") {
            word if KEYWORDS.contains(&word) => Kind::Keyword,
            "true" | "false" => Kind::Bool,
            "nil" => Kind::Nil,
            _ => Kind::Identifier,
        };
        self.emit(kind, length);
        Ok(())
    }

    fn number(&mut self) -> Result<(), String> {
        let rest = self.rest();
        let unsigned = rest.trim_start_matches(['+', '-']);
        let sign = usize::from(rest.starts_with(['+', '-']));
        let digits = if sign == 1 { rest.get(1..).unwrap_or("") } else { unsigned };
        let based = digits.len() > 1 && digits.starts_with('0');
        let is_hex = based && digits.get(1..2).is_some_and(|x| x.eq_ignore_ascii_case("x"));
        let mut length = 0;
        let mut previous = ' ';
        for c in digits.chars() {
            let exponent = if is_hex { matches!(previous, 'p' | 'P') } else { matches!(previous, 'e' | 'E') };
            if !(is_word(c) || c == '.' || exponent && matches!(c, '+' | '-')) {
                break;
            }
            length += c.len_utf8();
            previous = c;
        }
        let text = rest.get(..sign + length).unwrap_or("");
        if super::parse::number(text).is_none() {
            return Err(format!("bad number syntax: {}", quote(text)));
        }
        self.emit(Kind::Number, sign + length);
        Ok(())
    }
}

/// Returns whether an action that begins with this text trims what stands before it: `- ` with the space required.
fn has_left_trim(inside: &str) -> bool {
    let mut chars = inside.chars();
    chars.next() == Some('-') && chars.next().is_some_and(is_space)
}

/// Writes a character as Go's `%#U`: `U+00A0`, with the character itself where it prints.
fn unicode_name(c: char) -> String {
    let code = format!("U+{:04X}", u32::from(c));
    if c.is_control() || (c.is_whitespace() && c != ' ') { code } else { format!("{code} '{c}'") }
}
