//! OpenMetrics 1.0: strict blanks, units, exemplars, times in seconds, and an end that must be said.
//!
//! ```text
//! # TYPE name counter|gauge|histogram|gaugehistogram|summary|info|stateset|unknown
//! # UNIT name_seconds seconds
//! name_total{label="value"} value [timestamp in s] [# {trace_id="..."} value [timestamp in s]]
//! # EOF
//! ```

use super::error::{ParseError, quote_bytes};
use super::lexer::Token;
use super::parser::{Entry, ExemplarSpan, Parser};
use crate::model::metadata::MetricType;

/// Reads the next entry; see [`Parser::next`].
pub(super) fn next_entry(parser: &mut Parser<'_>) -> Result<Option<Entry>, ParseError> {
    let token = parser.next_token();
    match token {
        Token::EofWord => match parser.next_token() {
            Token::Eof => Ok(None),
            _ => Err(parser.error_at(parser.lexer.start, "unexpected data after # EOF".to_owned())),
        },
        Token::Eof => Err(unfinished(parser)),
        Token::Help | Token::Type | Token::Unit => metadata(parser, token).map(Some),
        Token::BraceOpen => {
            parser.read_labels(None)?;
            parser.series_end = parser.lexer.at;
            let next = parser.next_token();
            sample_suffix(parser, next).map(Some)
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
            sample_suffix(parser, next).map(Some)
        }
        other => Err(parser.unexpected("expected a valid start token", other)),
    }
}

fn unfinished(parser: &Parser<'_>) -> ParseError {
    parser.error_at(parser.lexer.body.len(), "data does not end with # EOF".to_owned())
}

fn metadata(parser: &mut Parser<'_>, kind: Token) -> Result<Entry, ParseError> {
    match parser.next_token() {
        Token::MetricName => parser.take_metric_name(),
        other => return Err(parser.unexpected(&format!("expected metric name after {}", kind.name()), other)),
    }
    if parser.next_token() != Token::Text {
        return Err(parser.error_at(parser.lexer.start, format!("expected text in {}", kind.name())));
    }
    // The text's token holds the space before it and the line break behind it.
    parser.text = parser.lexer.start + 1..parser.lexer.at - 1;
    let text = &parser.lexer.body[parser.text.clone()];
    match kind {
        Token::Type => {
            parser.current_type = metric_type(text).ok_or_else(|| {
                let message = format!("invalid metric type {}", quote_bytes(text));
                parser.error_at(parser.text.start, message)
            })?;
            Ok(Entry::Type)
        }
        Token::Unit => {
            let metric = parser.metric.clone().map_or(&[][..], |span| &parser.lexer.body[span]);
            let is_suffix = metric.strip_suffix(text).is_some_and(|stem| stem.ends_with(b"_"));
            if !text.is_empty() && !is_suffix {
                let message = format!("unit {} not a suffix of metric {}", quote_bytes(text), quote_bytes(metric));
                return Err(parser.error_at(parser.text.start, message));
            }
            Ok(Entry::Unit)
        }
        _ => {
            if str::from_utf8(text).is_err() {
                let message = format!("help text {} is not a valid utf8 string", quote_bytes(text));
                return Err(parser.error_at(parser.text.start, message));
            }
            Ok(Entry::Help)
        }
    }
}

fn metric_type(text: &[u8]) -> Option<MetricType> {
    Some(match text {
        b"counter" => MetricType::Counter,
        b"gauge" => MetricType::Gauge,
        b"histogram" => MetricType::Histogram,
        b"gaugehistogram" => MetricType::GaugeHistogram,
        b"summary" => MetricType::Summary,
        b"info" => MetricType::Info,
        b"stateset" => MetricType::StateSet,
        b"unknown" => MetricType::Unknown,
        _ => return None,
    })
}

fn sample_suffix(parser: &mut Parser<'_>, token: Token) -> Result<Entry, ParseError> {
    if parser.metric.is_none() {
        return Err(parser.wrong("metric name not set"));
    }
    if token != Token::Value {
        return Err(parser.unexpected("expected value after metric", token));
    }
    parser.value_span = parser.lexer.start + 1..parser.lexer.at;
    parser.value = parser.float_token(1)?;
    match parser.next_token() {
        Token::Eof => return Err(unfinished(parser)),
        Token::Linebreak => {}
        Token::Comment => exemplar(parser)?,
        Token::Timestamp => {
            parser.timestamp_ms = Some(timestamp(parser, "timestamp")?);
            match parser.next_token() {
                Token::Linebreak => {}
                Token::Comment => exemplar(parser)?,
                Token::Eof => return Err(unfinished(parser)),
                other => return Err(parser.unexpected("expected next entry after timestamp", other)),
            }
        }
        other => return Err(parser.unexpected("expected timestamp or # symbol", other)),
    }
    Ok(Entry::Sample)
}

fn exemplar(parser: &mut Parser<'_>) -> Result<(), ParseError> {
    let mut span = ExemplarSpan::default();
    parser.read_labels(Some(&mut span))?;
    let token = parser.next_token();
    if token != Token::Value {
        return Err(parser.unexpected("expected value after exemplar labels", token));
    }
    span.value = parser.float_token(1)?;
    match parser.next_token() {
        Token::Eof => return Err(unfinished(parser)),
        Token::Linebreak => {}
        Token::Timestamp => {
            span.at_ms = Some(timestamp(parser, "exemplar timestamp")?);
            match parser.next_token() {
                Token::Linebreak => {}
                Token::Eof => return Err(unfinished(parser)),
                other => return Err(parser.unexpected("expected next entry after exemplar timestamp", other)),
            }
        }
        other => return Err(parser.unexpected("expected timestamp or comment", other)),
    }
    parser.exemplar = Some(span);
    Ok(())
}

/// Reads seconds since 1970; milliseconds are as much as a sample's time holds.
fn timestamp(parser: &Parser<'_>, what: &str) -> Result<i64, ParseError> {
    let seconds = parser.float_token(1)?;
    if !seconds.is_finite() {
        let shown = crate::model::number::format_f(seconds);
        return Err(parser.error_at(parser.lexer.start, format!("invalid {what} {shown}")));
    }
    Ok((seconds * 1000.0) as i64)
}
