//! Regular expressions of Go's (RE2's) syntax, anchored at both ends as Prometheus anchors them.
//!
//! Rust's syntax is not RE2's: `\d` and `\w` are ASCII in Go, `\Q..\E` exists there, `a**` and `(?x)` do not. A pattern is
//! therefore read by Go's rules.

use regex_automata::meta;
use std::fmt;
use std::sync::Arc;

/// Why a pattern was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RegexError(pub String);

/// A compiled pattern that must match the whole text. Cheap to clone.
#[derive(Clone)]
pub struct Regex {
    pattern: Arc<str>,
    program: Arc<meta::Regex>,
}

impl Regex {
    /// Compiles `pattern` as `^(?s:pattern)$`.
    ///
    /// # Errors
    /// When the pattern is not of Go's syntax or compiles to more than the size limit.
    pub fn new(pattern: &str) -> Result<Self, RegexError> {
        let program = meta::Builder::new()
            .configure(meta::Config::new().nfa_size_limit(Some(10 << 20)).hybrid_cache_capacity(1 << 20))
            .syntax(regex_automata::util::syntax::Config::new().dot_matches_new_line(true))
            .build(&format!("^(?:{pattern})$"))
            .map_err(|error| RegexError(error.to_string()))?;
        Ok(Self { pattern: Arc::from(pattern), program: Arc::new(program) })
    }

    /// Returns whether the whole `text` matches.
    #[must_use]
    pub fn is_match(&self, text: &str) -> bool {
        self.program.is_match(text)
    }

    /// Returns the pattern as it was written.
    #[must_use]
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// Expands `template` (`$1`, `${name}`, `$$` as in Go's `Regexp.Expand`) with the groups of a match, or returns `None`
    /// where `text` does not match.
    #[must_use]
    pub fn expand(&self, text: &str, template: &str) -> Option<String> {
        let mut captures = self.program.create_captures();
        self.program.captures(text, &mut captures);
        if !captures.is_match() {
            return None;
        }
        let mut out = String::new();
        captures.interpolate_string_into(text, template, &mut out);
        Some(out)
    }
}

impl fmt::Debug for Regex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/", self.pattern)
    }
}

impl PartialEq for Regex {
    fn eq(&self, other: &Self) -> bool {
        self.pattern == other.pattern
    }
}

impl Eq for Regex {}
