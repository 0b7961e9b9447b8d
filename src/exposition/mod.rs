//! The scrape formats: bytes in, entries out, and back.
//!
//! | format | module |
//! | --- | --- |
//! | Prometheus text 0.0.4 and 1.0 | [`text`] |
//! | OpenMetrics 1.0 | [`open_metrics`] |
//! | protobuf, with native histograms | [`protobuf`] |
//! | the first two with classic histograms made into native ones | [`converted`] |
//! | our own metrics as text | [`encode`] |
//!
//! There are two ways to read. Protobuf and the conversions hand each sample to a [`families::Sink`]. Else
//! a [`Parser`] pulls one entry after the other out of a body that it borrows; it copies nothing but escaped texts. The
//! grammar, down to the words of its errors, is that of Prometheus's `model/textparse`: a token is found by a lexer with
//! states, and an error says what was expected, what was found and what had been read of the entry. Beyond Prometheus an
//! error carries line, column and the line's text ([`ParseError`]).
//!
//! It does not know series, targets or the store.

pub mod converted;
pub mod encode;
pub mod error;
pub mod families;
#[cfg(any(test, feature = "sim"))]
pub mod fuzz;
mod lexer;
pub mod lint;
pub mod number;
pub mod open_metrics;
pub mod parser;
pub mod protobuf;
mod protobuf_histogram;
#[cfg(test)]
pub(crate) mod protobuf_tests;
pub mod start_time;
#[cfg(test)]
mod tests;
pub mod text;

pub use error::ParseError;
pub use parser::{Entry, Parser};

/// Which grammar a body follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// Prometheus text, 0.0.4 and 1.0 alike.
    #[default]
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

/// What a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Lines of text.
    Lines(Dialect),
    /// Messages of protobuf.
    Protobuf,
}

impl Format {
    /// Returns the format that a `Content-Type` names; `None` for one that is not known (HTML, nothing).
    #[must_use]
    pub fn of_content_type(content_type: &str) -> Option<Self> {
        let mut parts = content_type.split(';').map(str::trim);
        let media = parts.next().unwrap_or("");
        if media.eq_ignore_ascii_case("text/plain") {
            Some(Self::Lines(Dialect::Text))
        } else if media.eq_ignore_ascii_case("application/openmetrics-text") {
            Some(Self::Lines(Dialect::OpenMetrics))
        } else if media.eq_ignore_ascii_case("application/vnd.google.protobuf") {
            // The same media type has forms in text as well, and other messages.
            let fits = |part: &str| match part.split_once('=') {
                Some((name, value)) if name.eq_ignore_ascii_case("proto") => {
                    unquoted(value) == "io.prometheus.client.MetricFamily"
                }
                Some((name, value)) if name.eq_ignore_ascii_case("encoding") => unquoted(value) == "delimited",
                _ => true,
            };
            parts.all(fits).then_some(Self::Protobuf)
        } else {
            None
        }
    }
}

fn unquoted(value: &str) -> &str {
    value.trim().trim_matches('"')
}
