//! Tokens of both grammars: what Prometheus's generated lexers (`promlex.l`, `openmetricslex.l`) find, written by hand.
//!
//! After a failed match `at` stands at the byte that did not fit and `start` at the token's first byte; the error messages
//! quote exactly that much.

use memchr::{memchr, memchr2};

/// A token's kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Invalid,
    Eof,
    Linebreak,
    Help,
    Type,
    Unit,
    EofWord,
    Text,
    Comment,
    MetricName,
    QuotedString,
    BraceOpen,
    BraceClose,
    LabelName,
    LabelValue,
    Comma,
    Equal,
    Timestamp,
    Value,
}

impl Token {
    /// Returns Prometheus's name of the token.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Invalid => "INVALID",
            Self::Eof => "EOF",
            Self::Linebreak => "LINEBREAK",
            Self::Help => "HELP",
            Self::Type => "TYPE",
            Self::Unit => "UNIT",
            Self::EofWord => "EOFWORD",
            Self::Text => "TEXT",
            Self::Comment => "COMMENT",
            Self::MetricName => "MNAME",
            Self::QuotedString => "QSTRING",
            Self::BraceOpen => "BOPEN",
            Self::BraceClose => "BCLOSE",
            Self::LabelName => "LNAME",
            Self::LabelValue => "LVALUE",
            Self::Comma => "COMMA",
            Self::Equal => "EQUAL",
            Self::Timestamp => "TIMESTAMP",
            Self::Value => "VALUE",
        }
    }
}

/// What may come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Init,
    Meta1,
    Meta2,
    Labels,
    LabelValue,
    Value,
    Timestamp,
    Exemplar,
    ExemplarLabelValue,
    ExemplarValue,
    ExemplarTimestamp,
}

/// Walks a body token by token.
#[derive(Clone, Debug)]
pub(super) struct Lexer<'a> {
    pub(super) body: &'a [u8],
    /// The next byte to look at.
    pub(super) at: usize,
    /// The first byte of the last token.
    pub(super) start: usize,
    state: State,
}

/// Bit 0: begins a label name; bit 1: goes on in one; bit 2: begins a metric name; bit 3: goes on in one.
const NAME_BYTES: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let letter = (byte as u8).is_ascii_alphabetic() || byte as u8 == b'_';
        let digit = (byte as u8).is_ascii_digit();
        let colon = byte as u8 == b':';
        table[byte] = (letter as u8)
            | (((letter || digit) as u8) << 1)
            | (((letter || colon) as u8) << 2)
            | (((letter || digit || colon) as u8) << 3);
        byte += 1;
    }
    table
};

const fn is_label_start(byte: u8) -> bool {
    NAME_BYTES[byte as usize] & 1 != 0
}

const fn is_label_byte(byte: u8) -> bool {
    NAME_BYTES[byte as usize] & 2 != 0
}

const fn is_metric_start(byte: u8) -> bool {
    NAME_BYTES[byte as usize] & 4 != 0
}

const fn is_metric_byte(byte: u8) -> bool {
    NAME_BYTES[byte as usize] & 8 != 0
}

impl<'a> Lexer<'a> {
    pub(super) const fn new(body: &'a [u8], at: usize) -> Self {
        Self { body, at, start: at, state: State::Init }
    }

    /// Returns the bytes of the last token.
    pub(super) fn token(&self) -> &'a [u8] {
        &self.body[self.start..self.at]
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.body.get(self.at).copied()
    }

    #[inline]
    fn found(&mut self, token: Token, next: State) -> Token {
        self.state = next;
        token
    }

    #[inline]
    fn single(&mut self, token: Token, next: State) -> Token {
        self.at += 1;
        self.found(token, next)
    }

    #[inline]
    fn skip_while(&mut self, accept: impl Fn(u8) -> bool) {
        let rest = &self.body[self.at..];
        self.at += rest.iter().position(|byte| !accept(*byte)).unwrap_or(rest.len());
    }

    /// Matches the fixed bytes `word`; on failure `at` stands at the first byte that differs.
    fn word(&mut self, word: &[u8]) -> bool {
        for expected in word {
            if self.peek() != Some(*expected) {
                return false;
            }
            self.at += 1;
        }
        true
    }

    /// Reads `"..."` with `\` escapes; `refused` are bytes that may not stand in it.
    #[inline]
    fn string(&mut self, refused: &[u8], token: Token, next: State) -> Token {
        self.at += 1;
        loop {
            let rest = &self.body[self.at..];
            let found = memchr2(b'"', b'\\', rest);
            let plain = &rest[..found.unwrap_or(rest.len())];
            if !refused.is_empty()
                && let Some(bad) = plain.iter().position(|byte| refused.contains(byte))
            {
                self.at += bad;
                return Token::Invalid;
            }
            self.at += plain.len();
            match self.peek() {
                Some(b'"') => return self.single(token, next),
                Some(_) => {
                    self.at += 1;
                    if self.peek().is_none_or(|byte| byte == b'\n') {
                        return Token::Invalid;
                    }
                    self.at += 1;
                }
                None => return Token::Invalid,
            }
        }
    }

    /// Reads one token of the text format; blanks between tokens are skipped.
    pub(super) fn next_text(&mut self) -> Token {
        if self.state != State::Meta2 {
            while let Some(b' ' | b'\t') = self.peek() {
                self.at += 1;
            }
        }
        let Some(byte) = self.peek() else { return Token::Eof };
        self.start = self.at;
        match (self.state, byte) {
            (State::Init | State::Timestamp, b'\n') => self.single(Token::Linebreak, State::Init),
            (State::Init, b'#') => self.text_comment(),
            (State::Init | State::Value, b'{') => self.single(Token::BraceOpen, State::Labels),
            (State::Init, byte) if is_metric_start(byte) => self.name(is_metric_byte, Token::MetricName, State::Value),
            (State::Meta1, b'"') => self.string(b"", Token::MetricName, State::Meta2),
            (State::Meta1, byte) if is_metric_start(byte) => self.name(is_metric_byte, Token::MetricName, State::Meta2),
            (State::Meta2, _) => {
                self.skip_to_line_end();
                self.found(Token::Text, State::Init)
            }
            (State::Labels, b'"') => self.string(b"", Token::QuotedString, State::Labels),
            (State::Labels, byte) => self.label_token(byte, State::Value, State::LabelValue),
            (State::LabelValue, b'"') => self.string(b"", Token::LabelValue, State::Labels),
            (State::Value, byte) if !matches!(byte, b'\n' | 0) => {
                self.skip_while(|byte| !matches!(byte, b'{' | b' ' | b'\t' | b'\n' | 0));
                self.found(Token::Value, State::Timestamp)
            }
            (State::Timestamp, byte) if byte.is_ascii_digit() => {
                self.skip_while(|byte| byte.is_ascii_digit());
                Token::Timestamp
            }
            _ => Token::Invalid,
        }
    }

    fn skip_to_line_end(&mut self) {
        self.at += memchr(b'\n', &self.body[self.at..]).unwrap_or(self.body.len() - self.at);
    }

    fn name(&mut self, accept: impl Fn(u8) -> bool, token: Token, next: State) -> Token {
        self.skip_while(accept);
        self.found(token, next)
    }

    fn label_token(&mut self, byte: u8, close: State, equal: State) -> Token {
        match byte {
            b'}' => self.single(Token::BraceClose, close),
            b'=' => self.single(Token::Equal, equal),
            b',' => self.single(Token::Comma, self.state),
            byte if is_label_start(byte) => {
                self.skip_while(is_label_byte);
                Token::LabelName
            }
            _ => Token::Invalid,
        }
    }

    fn text_comment(&mut self) -> Token {
        self.at += 1;
        let blanks = self.at;
        self.skip_while(|byte| matches!(byte, b' ' | b'\t'));
        if self.at > blanks {
            for (word, token) in [(b"HELP", Token::Help), (b"TYPE", Token::Type)] {
                let rest = &self.body[self.at..];
                if rest.starts_with(word) && matches!(rest.get(4), Some(b' ' | b'\t')) {
                    self.at += 4;
                    self.skip_while(|byte| matches!(byte, b' ' | b'\t'));
                    return self.found(token, State::Meta1);
                }
            }
        }
        self.skip_to_line_end();
        Token::Comment
    }

    /// Reads one token of OpenMetrics; nothing is skipped.
    pub(super) fn next_open_metrics(&mut self) -> Token {
        let Some(byte) = self.peek() else { return Token::Eof };
        self.start = self.at;
        match (self.state, byte) {
            (State::Init, b'#') => self.open_metrics_comment(),
            (State::Init | State::Value, b'{') => self.single(Token::BraceOpen, State::Labels),
            (State::Init, byte) if is_metric_start(byte) => self.name(is_metric_byte, Token::MetricName, State::Value),
            (State::Meta1, b'"') => self.string(b"", Token::MetricName, State::Meta2),
            (State::Meta1, byte) if is_metric_start(byte) => self.name(is_metric_byte, Token::MetricName, State::Meta2),
            (State::Meta2, b' ') => {
                self.skip_to_line_end();
                if self.peek().is_none() {
                    return Token::Invalid;
                }
                self.single(Token::Text, State::Init)
            }
            (State::Labels, b'"') => self.string(b"\n", Token::QuotedString, State::Labels),
            (State::Labels, byte) => self.label_token(byte, State::Value, State::LabelValue),
            (State::LabelValue, b'"') => self.string(b"\n", Token::LabelValue, State::Labels),
            (State::Exemplar, b'"') => self.string(b"\n", Token::QuotedString, State::Exemplar),
            (State::Exemplar, byte) => self.label_token(byte, State::ExemplarValue, State::ExemplarLabelValue),
            (State::ExemplarLabelValue, b'"') => self.string(b"\n\0", Token::LabelValue, State::Exemplar),
            (State::Value, b' ') => self.spaced(Token::Value, State::Timestamp),
            (State::ExemplarValue, b' ') => self.spaced(Token::Value, State::ExemplarTimestamp),
            (State::Timestamp | State::ExemplarTimestamp, b'\n') => self.single(Token::Linebreak, State::Init),
            (State::Timestamp, b' ') if self.body[self.at..].starts_with(b" # {") => {
                self.at += 4;
                self.found(Token::Comment, State::Exemplar)
            }
            (State::Timestamp | State::ExemplarTimestamp, b' ') => self.spaced(Token::Timestamp, self.state),
            _ => Token::Invalid,
        }
    }

    /// Reads one space and the run of other bytes behind it.
    fn spaced(&mut self, token: Token, next: State) -> Token {
        self.at += 1;
        if self.peek().is_none_or(|byte| matches!(byte, b' ' | b'\n' | 0)) {
            return Token::Invalid;
        }
        self.skip_while(|byte| !matches!(byte, b' ' | b'\n' | 0));
        self.found(token, next)
    }

    fn open_metrics_comment(&mut self) -> Token {
        if !self.word(b"# ") {
            return Token::Invalid;
        }
        let (word, token) = match self.peek() {
            Some(b'H') => (&b"HELP "[..], Token::Help),
            Some(b'T') => (&b"TYPE "[..], Token::Type),
            Some(b'U') => (&b"UNIT "[..], Token::Unit),
            _ => (&b"EOF"[..], Token::EofWord),
        };
        if !self.word(word) {
            return Token::Invalid;
        }
        if token == Token::EofWord {
            if self.peek() == Some(b'\n') {
                self.at += 1;
            }
            return self.found(token, State::Init);
        }
        self.found(token, State::Meta1)
    }
}
