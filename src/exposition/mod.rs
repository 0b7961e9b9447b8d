//! The scrape formats: bytes in, entries out, and back.
//!
//! | format | module |
//! | --- | --- |
//! | Prometheus text 0.0.4 and 1.0 | [`text`] |
//! | OpenMetrics 1.0 | [`open_metrics`] |
//! | our own metrics as text | [`encode`] |
//!
//! A [`Parser`] pulls one entry after the other out of a body that it borrows; it copies nothing but escaped texts. The
//! grammar, down to the words of its errors, is that of Prometheus's `model/textparse`: a token is found by a lexer with
//! states, and an error says what was expected, what was found and what had been read of the entry. Beyond Prometheus an
//! error carries line, column and the line's text ([`ParseError`]).
//!
//! It does not know series, targets or the store.

pub mod encode;
pub mod error;
mod lexer;
pub mod number;
pub mod open_metrics;
pub mod parser;
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

impl Dialect {
    /// Returns the grammar that a `Content-Type` names; `None` for one that is not known (protobuf, HTML, nothing).
    #[must_use]
    pub fn of_content_type(content_type: &str) -> Option<Self> {
        let media = content_type.split(';').next().unwrap_or("").trim();
        if media.eq_ignore_ascii_case("text/plain") {
            Some(Self::Text)
        } else if media.eq_ignore_ascii_case("application/openmetrics-text") {
            Some(Self::OpenMetrics)
        } else {
            None
        }
    }
}
