//! Prometheus's text format, 0.0.4 and 1.0 (with UTF-8 names in quotes).
//!
//! ```text
//! # HELP name text
//! # TYPE name counter|gauge|histogram|summary|untyped
//! name{label="value",...} value [timestamp in ms]
//! {"name.with.dots","label.name"="value"} value
//! ```

use super::error::{ParseError, quote_bytes};
use super::lexer::Token;
use super::parser::{Entry, Parser};
use crate::model::metadata::MetricType;

/// Reads the next entry; see [`Parser::next`].
pub(super) fn next_entry(parser: &mut Parser<'_>) -> Result<Option<Entry>, ParseError> {
    loop {
        let token = parser.next_token();
        parser.entry_start = if token == Token::Eof { parser.entry_start } else { parser.lexer.start };
        match token {
            Token::Eof => return Ok(None),
            Token::Linebreak => {}
            Token::Help | Token::Type => return metadata(parser, token).map(Some),
            Token::Comment => {
                parser.text = parser.lexer.start..parser.lexer.at;
                line_end(parser, "expected linebreak after comment")?;
                return Ok(Some(Entry::Comment));
            }
            Token::BraceOpen => {
                parser.read_labels(None)?;
                parser.series_end = parser.lexer.at;
                let next = parser.next_token();
                return sample_suffix(parser, next).map(Some);
            }
            Token::MetricName => {
                parser.take_metric_name();
                parser.series_end = parser.lexer.at;
                let mut next = parser.next_token();
                if next == Token::BraceOpen {
                    parser.read_labels(None)?;
                    parser.series_end = parser.lexer.at;
                    next = parser.next_token();
                }
                return sample_suffix(parser, next).map(Some);
            }
            _ => return Err(parser.unexpected("expected a valid start token", token)),
        }
    }
}

fn line_end(parser: &mut Parser<'_>, expected: &str) -> Result<(), ParseError> {
    match parser.next_token() {
        Token::Linebreak => Ok(()),
        other => Err(parser.unexpected(expected, other)),
    }
}

fn metadata(parser: &mut Parser<'_>, kind: Token) -> Result<Entry, ParseError> {
    match parser.next_token() {
        Token::MetricName => parser.take_metric_name(),
        other => return Err(parser.unexpected(&format!("expected metric name after {}", kind.name()), other)),
    }
    let found = parser.next_token();
    // The byte behind the name is dropped, whatever it is.
    parser.text = match found {
        Token::Text => parser.lexer.at.min(parser.lexer.start + 1)..parser.lexer.at,
        // A name at the very end of its line has no text.
        Token::Linebreak => parser.lexer.start..parser.lexer.start,
        other => {
            let message = format!("expected text in {}, got {}", kind.name(), other.name());
            return Err(parser.error_at(parser.lexer.start, message));
        }
    };
    let text = &parser.lexer.body[parser.text.clone()];
    let entry = if kind == Token::Type {
        parser.current_type = match text {
            b"counter" => MetricType::Counter,
            b"gauge" => MetricType::Gauge,
            b"histogram" => MetricType::Histogram,
            b"summary" => MetricType::Summary,
            b"untyped" => MetricType::Unknown,
            other => {
                let message = format!("invalid metric type {}", quote_bytes(other));
                return Err(parser.error_at(parser.text.start, message));
            }
        };
        Entry::Type
    } else {
        if str::from_utf8(text).is_err() {
            let message = format!("help text {} is not a valid utf8 string", quote_bytes(text));
            return Err(parser.error_at(parser.text.start, message));
        }
        Entry::Help
    };
    if found == Token::Text {
        line_end(parser, "expected linebreak after metadata")?;
    }
    Ok(entry)
}

fn sample_suffix(parser: &mut Parser<'_>, token: Token) -> Result<Entry, ParseError> {
    if parser.metric.is_none() {
        return Err(parser.wrong("metric name not set"));
    }
    if token != Token::Value {
        return Err(parser.unexpected("expected value after metric", token));
    }
    parser.value_span = parser.lexer.start..parser.lexer.at;
    parser.value = parser.float_token(0)?;
    match parser.next_token() {
        Token::Linebreak => {}
        Token::Timestamp => {
            parser.timestamp_ms = Some(timestamp(parser)?);
            line_end(parser, "expected next entry after timestamp")?;
        }
        other => return Err(parser.unexpected("expected timestamp or new record", other)),
    }
    Ok(Entry::Sample)
}

fn timestamp(parser: &Parser<'_>) -> Result<i64, ParseError> {
    let digits = parser.lexer.token();
    str::from_utf8(digits)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| parser.wrong(&format!("strconv.ParseInt: parsing {}: value out of range", quote_bytes(digits))))
}
