//! What is wrong with a body, and where.

use crate::model::number::quote;
use std::fmt::Write as _;

/// How much of a bad line an error keeps.
const LINE_BYTES_MAX: usize = 1024;
/// How much of what was read a message quotes.
const QUOTED_BYTES_MAX: usize = 1024;
/// How long a message may be: it is kept and shown.
const MESSAGE_BYTES_MAX: usize = 8 * 1024;

/// A body that does not follow its grammar. `Display` gives Prometheus's own words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ParseError {
    /// Line number, from 1.
    pub line: usize,
    /// Byte in the line, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// The line's text, at most a kilobyte of it.
    pub text: String,
}

impl ParseError {
    /// Builds an error about the byte at `at` of `body`.
    #[must_use]
    pub fn new(body: &[u8], at: usize, mut message: String) -> Self {
        if message.len() > MESSAGE_BYTES_MAX {
            message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
            message.push_str("...");
        }
        let at = at.min(body.len());
        let (before, after) = body.split_at(at);
        let line_start = memchr::memrchr(b'\n', before).map_or(0, |newline| newline + 1);
        let line_end = memchr::memchr(b'\n', after).map_or(body.len(), |newline| at + newline);
        let shown = &body[line_start..line_end.min(line_start + LINE_BYTES_MAX)];
        Self {
            line: 1 + memchr::memchr_iter(b'\n', before).count(),
            column: 1 + at - line_start,
            message,
            text: String::from_utf8_lossy(shown).into_owned(),
        }
    }
}

/// Quotes bytes as Go's `%q` does, with `\xNN` for what is not UTF-8; of much the first kilobyte.
#[must_use]
pub fn quote_bytes(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    let shown = bytes.get(..QUOTED_BYTES_MAX).unwrap_or(bytes);
    for chunk in shown.utf8_chunks() {
        let quoted = quote(chunk.valid());
        out.push_str(quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(""));
        for byte in chunk.invalid() {
            let written = write!(out, "\\x{byte:02x}");
            debug_assert!(written.is_ok());
        }
    }
    if shown.len() < bytes.len() {
        out.push_str("...");
    }
    out.push('"');
    out
}
