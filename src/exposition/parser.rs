//! The pull parser that both grammars share: what the current entry is, and its parts on demand.

use super::error::{ParseError, quote_bytes};
use super::lexer::{Lexer, Token};
use super::number::{format_bound, parse_value};
use super::{Dialect, open_metrics, text};
use crate::model::exemplar::Exemplar;
use crate::model::labels::{BUCKET_LABEL, Labels, LabelsBuilder, METRIC_NAME};
use crate::model::limits;
use crate::model::metadata::MetricType;
use crate::model::number::parse_float;
use std::borrow::Cow;
use std::ops::Range;

/// The kind of an entry; its parts are asked from the [`Parser`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// [`Parser::metric`] and [`Parser::help`].
    Help,
    /// [`Parser::metric`] and [`Parser::metric_type`].
    Type,
    /// [`Parser::metric`] and [`Parser::unit`].
    Unit,
    /// [`Parser::comment`].
    Comment,
    /// A line with a value.
    Sample,
}

/// The bytes of one label of a sample, still escaped.
#[derive(Clone, Debug)]
struct LabelSpan {
    name: Range<usize>,
    value: Range<usize>,
}

/// An exemplar's parts, still text.
#[derive(Clone, Debug, Default)]
pub(super) struct ExemplarSpan {
    labels: Vec<LabelSpan>,
    pub(super) value: f64,
    pub(super) at_ms: Option<i64>,
}

/// Pulls entries out of a body.
#[derive(Clone, Debug)]
pub struct Parser<'a> {
    pub(super) lexer: Lexer<'a>,
    dialect: Dialect,
    /// Where the current entry begins.
    pub(super) entry_start: usize,
    pub(super) metric: Option<Range<usize>>,
    metric_quoted: bool,
    labels: Vec<LabelSpan>,
    pub(super) text: Range<usize>,
    pub(super) series_end: usize,
    pub(super) value_span: Range<usize>,
    pub(super) value: f64,
    pub(super) timestamp_ms: Option<i64>,
    pub(super) exemplar: Option<ExemplarSpan>,
    pub(super) current_type: MetricType,
    done: bool,
}

impl<'a> Parser<'a> {
    /// Starts at the beginning of `body`. A text body must end with a line break: see [`ensure_newline`].
    #[must_use]
    pub fn new(body: &'a [u8], dialect: Dialect) -> Self {
        Self::resume(body, dialect, 0, MetricType::Unknown)
    }

    /// Starts at the line that begins at `at`, behind a TYPE line that said `current_type`.
    #[must_use]
    pub fn resume(body: &'a [u8], dialect: Dialect, at: usize, current_type: MetricType) -> Self {
        Self {
            lexer: Lexer::new(body, at),
            dialect,
            entry_start: at,
            metric: None,
            metric_quoted: false,
            labels: Vec::new(),
            text: 0..0,
            series_end: at,
            value_span: 0..0,
            value: 0.0,
            timestamp_ms: None,
            exemplar: None,
            current_type,
            done: false,
        }
    }

    /// Moves to the next entry; `None` at the end. After an error the parser is at its end.
    ///
    /// # Errors
    /// When the body does not follow its grammar.
    #[expect(clippy::should_implement_trait, reason = "an entry's parts are asked from the parser, which an iterator would lock")]
    pub fn next(&mut self) -> Result<Option<Entry>, ParseError> {
        if self.done {
            return Ok(None);
        }
        self.entry_start = self.lexer.at;
        self.metric = None;
        self.metric_quoted = false;
        self.labels.clear();
        self.timestamp_ms = None;
        self.exemplar = None;
        let found = match self.dialect {
            Dialect::Text => text::next_entry(self),
            Dialect::OpenMetrics => open_metrics::next_entry(self),
        };
        let found = found.and_then(|found| self.check_length(found).map(|()| found));
        self.done = !matches!(found, Ok(Some(_)));
        found
    }

    /// Refuses a line that is too long. Values have a bound of their own, so that a line whose labels passed once passes again.
    fn check_length(&self, found: Option<Entry>) -> Result<(), ParseError> {
        let (labels_end, rest) = match found {
            Some(Entry::Sample) => (self.value_span.start, self.lexer.at - self.value_span.start),
            Some(_) => (self.lexer.at, 0),
            None => return Ok(()),
        };
        let length = labels_end - self.entry_start;
        if length > limits::LINE_BYTES {
            let message = format!("line too long (length: {length}, limit: {})", limits::LINE_BYTES);
            return Err(self.error_at(self.entry_start, message));
        }
        if rest > limits::VALUE_BYTES {
            let message = format!("value too long (length: {rest}, limit: {})", limits::VALUE_BYTES);
            return Err(self.error_at(self.value_span.start, message));
        }
        Ok(())
    }

    /// Goes on at the line that begins at `at`, whose predecessors were understood without the parser.
    pub const fn skip_to(&mut self, at: usize) {
        self.lexer.at = at;
    }

    /// Returns the position behind the current entry: the next line's first byte.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.lexer.at
    }

    /// Returns where the current entry's own bytes begin.
    #[must_use]
    pub const fn entry_start(&self) -> usize {
        self.entry_start
    }

    /// Returns the bytes of a sample's name and labels as written.
    #[must_use]
    pub fn series(&self) -> &'a [u8] {
        &self.lexer.body[self.entry_start..self.series_end]
    }

    /// Returns where a sample's value stands in the body.
    #[must_use]
    pub fn value_span(&self) -> Range<usize> {
        self.value_span.clone()
    }

    /// Returns a sample's value.
    #[must_use]
    pub const fn value(&self) -> f64 {
        self.value
    }

    /// Returns a sample's own time, milliseconds since 1970.
    #[must_use]
    pub const fn timestamp_ms(&self) -> Option<i64> {
        self.timestamp_ms
    }

    /// Returns whether the sample carries an exemplar.
    #[must_use]
    pub const fn has_exemplar(&self) -> bool {
        self.exemplar.is_some()
    }

    /// Returns the type that the last TYPE line gave.
    #[must_use]
    pub const fn metric_type(&self) -> MetricType {
        self.current_type
    }

    /// Returns the metric that HELP, TYPE or UNIT speaks of, or a sample's name.
    #[must_use]
    pub fn metric(&self) -> Cow<'a, str> {
        self.metric.clone().map_or(Cow::Borrowed(""), |span| self.unescaped(span))
    }

    /// Returns the help text, unescaped.
    #[must_use]
    pub fn help(&self) -> Cow<'a, str> {
        let quotes = self.dialect == Dialect::OpenMetrics;
        unescape(String::from_utf8_lossy(&self.lexer.body[self.text.clone()]), quotes)
    }

    /// Returns the unit.
    #[must_use]
    pub fn unit(&self) -> Cow<'a, str> {
        String::from_utf8_lossy(&self.lexer.body[self.text.clone()])
    }

    /// Returns the comment line with its `#`.
    #[must_use]
    pub fn comment(&self) -> &'a [u8] {
        &self.lexer.body[self.text.clone()]
    }

    /// Returns whether the sample's line names the label, even with an empty value.
    #[must_use]
    pub fn names_label(&self, name: &str) -> bool {
        self.labels.iter().any(|label| self.unescaped(label.name.clone()) == name)
    }

    /// Returns the names of the sample's labels whose values are empty.
    pub fn empty_labels(&self) -> impl Iterator<Item = Cow<'a, str>> + '_ {
        let empty = self.labels.iter().filter(|label| label.value.is_empty());
        empty.map(|label| self.unescaped(label.name.clone()))
    }

    /// Puts a sample's name and labels into `builder`, unescaped; bounds and quantiles in OpenMetrics' form as Prometheus 3 does.
    ///
    /// # Errors
    /// For an empty name and for a label that stands there twice.
    pub fn labels_into(&self, builder: &mut LabelsBuilder) -> Result<(), ParseError> {
        let name = self.metric();
        if name.is_empty() {
            return Err(self.error_at(self.entry_start, "missing metric name (__name__ label)".to_owned()));
        }
        builder.set(METRIC_NAME, &name);
        for label in &self.labels {
            let name = self.unescaped(label.name.clone());
            let value = self.unescaped(label.value.clone());
            if name.is_empty() {
                return Err(self.error_at(label.name.start, format!("invalid metric name or label names: {}", builder.build())));
            }
            if !builder.value(&name).is_empty() {
                let message = format!("label name \"{name}\" is not unique: invalid sample");
                return Err(self.error_at(label.name.start, message));
            }
            match normal_bound(self.current_type, &name, &value) {
                Some(bound) => builder.set(&name, &bound),
                None => builder.set(&name, &value),
            };
        }
        Ok(())
    }

    /// Returns a sample's exemplar.
    #[must_use]
    pub fn exemplar(&self) -> Option<Exemplar> {
        let span = self.exemplar.as_ref()?;
        let pairs = span.labels.iter().map(|label| (self.unescaped(label.name.clone()), self.unescaped(label.value.clone())));
        Some(Exemplar { labels: Labels::from_pairs(pairs), value: span.value, at_ms: span.at_ms })
    }

    fn unescaped(&self, span: Range<usize>) -> Cow<'a, str> {
        unescape(String::from_utf8_lossy(&self.lexer.body[span]), true)
    }

    /// Returns an error about the current line, for whoever refuses a line that the grammar allows.
    #[must_use]
    pub fn refuse(&self, message: String) -> ParseError {
        self.error_at(self.entry_start, message)
    }

    pub(super) fn error_at(&self, at: usize, message: String) -> ParseError {
        ParseError::new(self.lexer.body, at, message)
    }

    /// Says "expected this, got that" as Prometheus does.
    pub(super) fn unexpected(&self, expected: &str, got: Token) -> ParseError {
        let body = self.lexer.body;
        let end = body.len().min(self.lexer.at + 1);
        let message = format!(
            "{expected}, got {} ({}) while parsing: {}",
            quote_bytes(&body[self.lexer.start..end]),
            quote_bytes(got.name().as_bytes()),
            quote_bytes(&body[self.entry_start..end])
        );
        self.error_at(self.lexer.start, message)
    }

    /// Says what is wrong with the part that was read so far.
    pub(super) fn wrong(&self, message: &str) -> ParseError {
        let read = quote_bytes(&self.lexer.body[self.entry_start..self.lexer.at]);
        self.error_at(self.lexer.start, format!("{message} while parsing: {read}"))
    }

    pub(super) fn next_token(&mut self) -> Token {
        match self.dialect {
            Dialect::Text => self.lexer.next_text(),
            Dialect::OpenMetrics => self.lexer.next_open_metrics(),
        }
    }

    /// Notes the last token as the metric's name; quotes are left out.
    pub(super) fn take_metric_name(&mut self) {
        let span = strip_quotes(self.lexer.body, self.lexer.start..self.lexer.at);
        self.metric = Some(span);
    }

    /// Reads labels up to the closing brace: of the sample, or of its exemplar.
    ///
    /// In the text format commas may be missing and doubled blanks are fine, as in Prometheus.
    pub(super) fn read_labels(&mut self, mut exemplar: Option<&mut ExemplarSpan>) -> Result<(), ParseError> {
        let mut token = self.next_token();
        loop {
            let name = self.lexer.start..self.lexer.at;
            let quoted = match token {
                Token::BraceClose => return Ok(()),
                Token::LabelName => false,
                Token::QuotedString => true,
                _ => return Err(self.unexpected("expected label name", token)),
            };
            token = self.next_token();
            if quoted && exemplar.is_none() && matches!(token, Token::Comma | Token::BraceClose) {
                // A quoted string without a value is the metric's name.
                if self.metric.is_some() {
                    return Err(self.wrong("metric name already set"));
                }
                self.check_utf8(name.clone(), "metric name")?;
                self.metric = Some(name.start + 1..name.end - 1);
                if token == Token::BraceClose {
                    return Ok(());
                }
                token = self.next_token();
                continue;
            }
            if token != Token::Equal {
                return Err(self.unexpected("expected equal", token));
            }
            let found = self.next_token();
            if found != Token::LabelValue {
                return Err(self.unexpected("expected label value", found));
            }
            self.check_utf8(name.clone(), "label name")?;
            self.check_utf8(self.lexer.start..self.lexer.at, "label value")?;
            let name = strip_quotes(self.lexer.body, name);
            let span = LabelSpan { name, value: self.lexer.start + 1..self.lexer.at - 1 };
            match &mut exemplar {
                Some(exemplar) => exemplar.labels.push(span),
                None => self.labels.push(span),
            }
            token = self.next_token();
            if token == Token::Comma {
                token = self.next_token();
            } else if token != Token::BraceClose && self.dialect == Dialect::OpenMetrics {
                return Err(self.unexpected("expected comma or brace close", token));
            }
        }
    }

    fn check_utf8(&self, span: Range<usize>, what: &str) -> Result<(), ParseError> {
        let bytes = &self.lexer.body[span.clone()];
        if bytes.is_ascii() || str::from_utf8(bytes).is_ok() {
            return Ok(());
        }
        Err(self.error_at(span.start, format!("invalid UTF-8 {what}: {}", quote_bytes(bytes))))
    }

    /// Reads the last token, without its first `skip` bytes, as a float.
    pub(super) fn float_token(&self, skip: usize) -> Result<f64, ParseError> {
        let token = self.lexer.token().get(skip..).unwrap_or_default();
        parse_value(token).map_err(|message| self.wrong(&message))
    }
}

fn strip_quotes(body: &[u8], span: Range<usize>) -> Range<usize> {
    if body.get(span.start) == Some(&b'"') { span.start + 1..span.end - 1 } else { span }
}

/// Decodes `\\`, `\n` and, where asked, `\"`; another escape stays as it is.
fn unescape(text: Cow<'_, str>, quotes: bool) -> Cow<'_, str> {
    if memchr::memchr(b'\\', text.as_bytes()).is_none() {
        return text;
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let decoded = match (c, chars.peek()) {
            ('\\', Some('\\')) => Some('\\'),
            ('\\', Some('n')) => Some('\n'),
            ('\\', Some('"')) if quotes => Some('"'),
            _ => None,
        };
        if decoded.is_some() {
            chars.next();
        }
        out.push(decoded.unwrap_or(c));
    }
    Cow::Owned(out)
}

/// Returns the OpenMetrics form of a histogram's bound or a summary's quantile.
fn normal_bound(metric_type: MetricType, name: &str, value: &str) -> Option<String> {
    let is_bound = (metric_type == MetricType::Histogram && name == BUCKET_LABEL)
        || (metric_type == MetricType::Summary && name == "quantile");
    if is_bound { parse_float(value).map(format_bound) } else { None }
}

/// Appends the line break that the grammar of the text format wants at the end of a body.
pub fn ensure_newline(body: &mut Vec<u8>) {
    if body.last().is_some_and(|byte| *byte != b'\n') {
        body.push(b'\n');
    }
}
