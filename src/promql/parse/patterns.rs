//! What the matchers of one request may cost. A regular expression is compiled where it is read, and a text of a mebibyte has
//! room for many: so they are counted, the same one is compiled once, and between two of them the request can be given up.

use crate::model::limits;
use crate::model::matcher::{MatchOp, Matcher};
use crate::model::regex::Regex;
use std::collections::BTreeMap;

/// The matchers read so far, of one query or of all selectors of one request.
pub struct Patterns<'c> {
    cancelled: &'c dyn Fn() -> bool,
    matchers: usize,
    compiled_bytes: usize,
    known: BTreeMap<String, Regex>,
}

impl std::fmt::Debug for Patterns<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Patterns").field("matchers", &self.matchers).field("known", &self.known.len()).finish_non_exhaustive()
    }
}

impl Default for Patterns<'_> {
    fn default() -> Self {
        Self::new(&|| false)
    }
}

/// Why a matcher was not taken.
pub(super) enum Refusal {
    /// The pattern is wrong; the others can be read all the same.
    Pattern(String),
    /// There are too many, or nobody wants the answer any more: reading ends.
    Over(String),
}

impl<'c> Patterns<'c> {
    /// Nothing read yet; reading ends as soon as `cancelled` says so.
    #[must_use]
    pub fn new(cancelled: &'c dyn Fn() -> bool) -> Self {
        Self { cancelled, matchers: 0, compiled_bytes: 0, known: BTreeMap::new() }
    }

    /// Builds a matcher and counts it.
    pub(super) fn matcher(&mut self, op: MatchOp, name: String, value: String) -> Result<Matcher, Refusal> {
        self.matchers += 1;
        if self.matchers > limits::QUERY_MATCHERS {
            return Err(Refusal::Over(format!("more than {} matchers in one query", limits::QUERY_MATCHERS)));
        }
        if matches!(op, MatchOp::Equal | MatchOp::NotEqual) {
            return Matcher::new(op, name, value).map_err(|error| Refusal::Pattern(error.to_string()));
        }
        if let Some(regex) = self.known.get(&value) {
            return Ok(Matcher::of_regex(op == MatchOp::NotRegex, name, regex.clone()));
        }
        if self.known.len() >= limits::QUERY_REGEXES {
            let message = format!("more than {} different regular expressions in one query", limits::QUERY_REGEXES);
            return Err(Refusal::Over(message));
        }
        if (self.cancelled)() {
            return Err(Refusal::Over("query was canceled while it was read".to_owned()));
        }
        let regex = Regex::new(&value).map_err(|error| Refusal::Pattern(error.to_string()))?;
        self.compiled_bytes = self.compiled_bytes.saturating_add(regex.program_bytes());
        if self.compiled_bytes > limits::QUERY_REGEX_BYTES {
            let mib = limits::QUERY_REGEX_BYTES >> 20;
            return Err(Refusal::Over(format!("the regular expressions of one query compile to more than {mib} MiB")));
        }
        self.known.insert(value, regex.clone());
        Ok(Matcher::of_regex(op == MatchOp::NotRegex, name, regex))
    }
}
