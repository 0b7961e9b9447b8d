//! The series notation of test files and rule unit tests: `name{labels} 1 2+3x4 _ stale {{schema:1 buckets:[5 10]}}x2`.
//!
//! The label set is read by the grammar of selectors (equality alone); the values are read by a scanner of their own, where
//! blanks count. Histograms may be written `{{key:value ...}}` and may be repeated, increased or decreased.

use super::{ParseError, ParseErrors, Parser};
use crate::model::histogram::{CounterResetHint, FloatHistogram, Span as BucketSpan};
use crate::model::labels::{Labels, LabelsBuilder};
use crate::model::matcher::{MatchOp, Matcher};
use crate::model::number::quote;
use crate::model::sample::stale_nan;
use crate::promql::expr::Span;
use crate::promql::lex::TokenKind;
use std::sync::Arc;

/// How many values one series may have.
const VALUES_MAX: usize = 10_000_000;

/// One point of a described series.
#[derive(Clone, Debug, PartialEq)]
pub enum SequenceValue {
    /// `_`: no sample at this step.
    Omitted,
    /// A float; `stale` is the stale marker.
    Float(f64),
    /// A native histogram.
    Histogram(Arc<FloatHistogram>),
}

/// A series as a test file describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesDescription {
    /// Its labels, the metric's name among them.
    pub labels: Labels,
    /// Its points, one for each step.
    pub values: Vec<SequenceValue>,
}

/// Reads one line of series notation.
///
/// # Errors
/// When the text is not of that form.
pub fn parse_series_notation(text: &str) -> Result<SeriesDescription, ParseErrors> {
    let head = head_length(text);
    let failed = |error: ParseError| ParseErrors::new(text, vec![error]);
    let (labels_text, values_text) = text.split_at(head);
    let labels = series_labels(labels_text).map_err(|errors| ParseErrors::new(text, errors))?;
    let mut scanner = Scanner { text, at: head, values: Vec::new() };
    debug_assert_eq!(values_text.len(), text.len() - head);
    scanner.sequence().map_err(failed)?;
    Ok(SeriesDescription { labels, values: scanner.values })
}

/// Returns where the label set ends: behind its closing brace, or behind the name where there are no braces.
fn head_length(text: &str) -> usize {
    let mut quote = None;
    let mut escaped = false;
    let mut in_braces = false;
    for (at, c) in text.char_indices() {
        match quote {
            Some('`') if c == '`' => quote = None,
            Some('`') => {}
            Some(_) if escaped => escaped = false,
            Some(_) if c == '\\' => escaped = true,
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if in_braces && matches!(c, '"' | '\'' | '`') => quote = Some(c),
            None if c == '{' => in_braces = true,
            None if in_braces && c == '}' => return at + 1,
            None if !in_braces && c.is_ascii_whitespace() && !text.split_at(at).0.trim().is_empty() => return at,
            None => {}
        }
    }
    text.len()
}

fn series_labels(text: &str) -> Result<Labels, Vec<ParseError>> {
    let mut parser = Parser::new(text);
    let mut builder = LabelsBuilder::new();
    if parser.peek().kind == TokenKind::End {
        return Ok(builder.build());
    }
    let parsed = parser.whole_selector();
    let Ok(matchers) = parsed else { return Err(parser.errors) };
    if !parser.errors.is_empty() {
        return Err(parser.errors);
    }
    if let Some(other) = matchers.iter().find(|matcher| matcher.op() != MatchOp::Equal) {
        let message = format!("unexpected <op:{}> in label set, expected \"=\"", other.op().as_str());
        return Err(vec![ParseError { span: Span::default(), message }]);
    }
    for matcher in &matchers {
        builder.set(Matcher::name(matcher), matcher.value());
    }
    Ok(builder.build())
}

/// Prometheus shows keys of histograms that it did not expect by the number of their token.
fn item_number(key: &str) -> usize {
    const KEYS: [&str; 11] = [
        "sum",
        "count",
        "schema",
        "offset",
        "n_offset",
        "buckets",
        "n_buckets",
        "z_bucket",
        "z_bucket_w",
        "custom_values",
        "counter_reset_hint",
    ];
    57370 + KEYS.iter().position(|known| *known == key).unwrap_or(KEYS.len())
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
    values: Vec<SequenceValue>,
}

type Scanned<T> = Result<T, ParseError>;

impl<'a> Scanner<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn accept(&mut self, wanted: &str) -> bool {
        let found = self.rest().starts_with(wanted);
        if found {
            self.at += wanted.len();
        }
        found
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let length = rest.find(|c| !wanted(c)).unwrap_or(rest.len());
        self.at += length;
        rest.get(..length).unwrap_or("")
    }

    fn error(&self, length: usize, message: impl Into<String>) -> ParseError {
        ParseError { span: Span { start: self.at, end: self.at + length }, message: message.into() }
    }

    /// Says that the next token does not belong here.
    fn unexpected(&self) -> ParseError {
        let rest = self.rest();
        let Some(c) = rest.chars().next() else {
            return self.error(0, "unexpected end of input in series values");
        };
        if c.is_ascii_alphabetic() {
            let word: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            return self.error(word.len(), format!("unexpected identifier {} in series values", quote(&word)));
        }
        self.error(c.len_utf8(), format!("unexpected {} in series values", quote(&c.to_string())))
    }

    fn blanks(&mut self) -> bool {
        !self.take_while(|c| c.is_ascii_whitespace()).is_empty()
    }

    fn sequence(&mut self) -> Scanned<()> {
        loop {
            let separated = self.blanks();
            if self.rest().is_empty() {
                return Ok(());
            }
            if !separated {
                return Err(self.unexpected());
            }
            self.item()?;
        }
    }

    fn item(&mut self) -> Scanned<()> {
        if self.accept("{{") {
            return self.histograms();
        }
        if self.peek() == Some('_') {
            self.at += 1;
            let count = self.times()?.unwrap_or(1);
            return self.push(count, |_| SequenceValue::Omitted);
        }
        if self.rest().starts_with("stale") {
            self.at += "stale".len();
            let count = self.times()?.map_or(1, |times| times + 1);
            return self.push(count, |_| SequenceValue::Float(stale_nan()));
        }
        let first = self.number()?;
        let step = if matches!(self.peek(), Some('+' | '-')) { Some(self.number()?) } else { None };
        let times = self.times()?;
        if step.is_some() && times.is_none() {
            return Err(self.unexpected());
        }
        // Prometheus adds the step again and again; a product would give other last digits.
        let mut value = first;
        self.push(times.map_or(1, |times| times + 1), |_| {
            let now = value;
            value += step.unwrap_or(0.0);
            SequenceValue::Float(now)
        })
    }

    fn push(&mut self, count: usize, mut value: impl FnMut(usize) -> SequenceValue) -> Scanned<()> {
        if self.values.len().saturating_add(count) > VALUES_MAX {
            return Err(self.error(0, format!("series has more than {VALUES_MAX} values")));
        }
        self.values.extend((0..count).map(&mut value));
        Ok(())
    }

    fn times(&mut self) -> Scanned<Option<usize>> {
        if !self.accept("x") {
            return Ok(None);
        }
        let digits = self.take_while(|c| c.is_ascii_digit());
        let count = digits.parse().map_err(|_| self.unexpected())?;
        if count > VALUES_MAX { Err(self.error(0, format!("series has more than {VALUES_MAX} values"))) } else { Ok(Some(count)) }
    }

    /// Reads a number with or without sign; hexadecimal would clash with the `x` of repetitions.
    fn number(&mut self) -> Scanned<f64> {
        let start = self.at;
        let sign = self.accept("-") || self.accept("+");
        let body = self.rest();
        if body.get(..3).is_some_and(|word| word.eq_ignore_ascii_case("inf") || word.eq_ignore_ascii_case("nan")) {
            self.at += 3;
        } else {
            let mut last = ' ';
            let _digits = self.take_while_with(&mut last);
        }
        let text = self.text.get(start..self.at).unwrap_or("");
        match crate::model::number::parse_float(text.strip_prefix('+').unwrap_or(text)) {
            Some(value) => Ok(value),
            None => {
                self.at = start + usize::from(sign);
                Err(self.unexpected())
            }
        }
    }

    /// Takes digits, dots and an exponent; a sign belongs to the number only right behind the exponent's letter.
    fn take_while_with(&mut self, last: &mut char) -> usize {
        let before = self.at;
        while let Some(c) = self.peek() {
            let belongs =
                c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E') || (matches!(c, '+' | '-') && matches!(*last, 'e' | 'E'));
            if !belongs {
                break;
            }
            *last = c;
            self.at += 1;
        }
        self.at - before
    }

    fn histograms(&mut self) -> Scanned<()> {
        let first = self.histogram()?;
        let sign = match self.peek() {
            Some('+') if self.accept("+{{") => Some(1.0),
            Some('-') if self.accept("-{{") => Some(-1.0),
            _ => None,
        };
        let step = match sign {
            Some(sign) => Some((self.histogram()?, sign)),
            None => None,
        };
        let times = self.times()?;
        let Some((step, sign)) = step else {
            let shared = Arc::new(first);
            return self.push(times.map_or(1, |times| times + 1), |_| SequenceValue::Histogram(Arc::clone(&shared)));
        };
        let Some(times) = times else { return Err(self.unexpected()) };
        let mut now = first;
        for done in 0..=times {
            let next = if done < times { Some(combined(&now, &step, sign)) } else { None };
            self.push(1, |_| SequenceValue::Histogram(Arc::new(now.clone())))?;
            if let Some(next) = next {
                now = next.map_err(|message| self.error(0, message))?;
            }
        }
        Ok(())
    }

    /// Reads `key:value ...}}`; the opening braces have been read.
    fn histogram(&mut self) -> Scanned<FloatHistogram> {
        let mut histogram = FloatHistogram::default();
        let mut seen: Vec<&str> = Vec::new();
        let (mut offset, mut n_offset) = (0, 0);
        if self.blanks() && !self.accept("}}") {
            let key = self.rest().chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect::<String>();
            let message =
                format!("unexpected \"<Item {}>\" {} in series values", item_number(&key), super::errors::shortened(&key));
            return Err(self.error(key.len(), message));
        } else if self.text.get(..self.at).is_some_and(|read| read.ends_with("}}")) {
            return Ok(histogram);
        }
        while !self.accept("}}") {
            let key_at = self.at;
            let key = self.take_while(|c| c.is_ascii_alphanumeric() || c == '_');
            if key.is_empty() {
                return Err(self.unexpected());
            }
            if item_number(key) == item_number("") {
                self.at = key_at;
                return Err(self.error(key.len(), format!("bad histogram descriptor found: {}", quote(key))));
            }
            if !self.accept(":") {
                return Err(self.error(0, "missing `:` for histogram descriptor"));
            }
            if seen.contains(&key) {
                let message = format!("duplicate key {} in histogram", quote(key));
                return Err(ParseError { span: Span::default(), message });
            }
            seen.push(key);
            match key {
                "schema" => histogram.schema = self.number()? as i32,
                "sum" => histogram.sum = self.number()?,
                "count" => histogram.count = self.number()?,
                "z_bucket" => histogram.zero_count = self.number()?,
                "z_bucket_w" => histogram.zero_threshold = self.number()?,
                "offset" => offset = self.number()? as i32,
                "n_offset" => n_offset = self.number()? as i32,
                "custom_values" => histogram.custom_values = self.number_list()?,
                "buckets" => histogram.positive_buckets = self.number_list()?,
                "n_buckets" => histogram.negative_buckets = self.number_list()?,
                _ => histogram.counter_reset_hint = self.reset_hint()?,
            }
            if !self.blanks() && !self.rest().starts_with("}}") {
                return Err(self.unexpected());
            }
        }
        histogram.positive_spans = spans(offset, histogram.positive_buckets.len());
        histogram.negative_spans = spans(n_offset, histogram.negative_buckets.len());
        Ok(histogram)
    }

    fn number_list(&mut self) -> Scanned<Vec<f64>> {
        if !self.accept("[") {
            return Err(self.unexpected());
        }
        let mut list = Vec::new();
        while !self.accept("]") {
            list.push(self.number()?);
            if !self.blanks() && self.peek() != Some(']') {
                return Err(self.unexpected());
            }
        }
        Ok(list)
    }

    fn reset_hint(&mut self) -> Scanned<CounterResetHint> {
        let at = self.at;
        let word = self.take_while(|c| c.is_ascii_alphanumeric() || c == '_');
        match word {
            "unknown" => Ok(CounterResetHint::Unknown),
            "reset" => Ok(CounterResetHint::Reset),
            "not_reset" => Ok(CounterResetHint::NotReset),
            "gauge" => Ok(CounterResetHint::Gauge),
            _ => {
                self.at = at;
                Err(self.error(word.len(), format!("bad histogram descriptor found: {}", quote(word))))
            }
        }
    }
}

fn spans(offset: i32, buckets: usize) -> Vec<BucketSpan> {
    if buckets == 0 { Vec::new() } else { vec![BucketSpan { offset, length: buckets as u32 }] }
}

/// Returns `base + sign * step`.
fn combined(base: &FloatHistogram, step: &FloatHistogram, sign: f64) -> Result<FloatHistogram, String> {
    if base.schema > step.schema {
        return Err(format!("error combining histograms: cannot merge from schema {} to {}", step.schema, base.schema));
    }
    let mut next = base.clone();
    let merged = if sign < 0.0 { next.sub(step) } else { next.add(step) };
    merged.map(|_| next).map_err(|error| error.to_string())
}
