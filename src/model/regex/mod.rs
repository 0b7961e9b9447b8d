//! Regular expressions of Go's (RE2's) syntax, anchored at both ends as Prometheus anchors them.
//!
//! Rust's syntax is not RE2's: `\d` and `\w` are ASCII in Go, `\Q..\E` exists there, `a**` and `(?x)` do not. A pattern is
//! therefore read by Go's rules (`syntax`) into the tree that the engine of regex-automata is built from. The same tree
//! tells which values match when they can be counted, and what every match begins with: the store uses both to look up
//! values instead of trying all of them.

mod literals;
mod syntax;
mod template;

use regex_automata::meta;
use regex_syntax::hir::{Hir, Look};
use std::fmt;
use std::sync::{Arc, OnceLock};

/// The largest program a pattern may compile to, in bytes.
const PROGRAM_BYTES_MAX: usize = 10 << 20;
/// The longest pattern, in bytes.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// Why a pattern was refused, in Go's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RegexError(pub String);

/// A compiled pattern that must match the whole text. Cheap to clone.
#[derive(Clone)]
pub struct Regex(Arc<Inner>);

struct Inner {
    pattern: String,
    tree: Hir,
    shape: Shape,
    prefix: Option<String>,
    /// Built at once where matching needs it, else when a template is expanded for the first time.
    program: OnceLock<Option<meta::Regex>>,
}

/// Patterns that need no program.
enum Shape {
    /// `.*`
    Anything,
    /// `.+`
    NotEmpty,
    /// Exactly these texts, sorted.
    Literals(Vec<String>),
    /// A literal, then `.*`: the literal is the prefix.
    Prefix,
    /// All others.
    Program,
}

impl Regex {
    /// Compiles `pattern` as `^(?s:pattern)$`.
    ///
    /// # Errors
    /// When the pattern is not of Go's syntax or compiles to more than the size limit.
    pub fn new(pattern: &str) -> Result<Self, RegexError> {
        if pattern.len() > PATTERN_BYTES_MAX {
            return Err(RegexError(format!("error parsing regexp: expression too large: {} bytes", pattern.len())));
        }
        let tree = syntax::parse(pattern)?;
        let shape = match literals::alternatives(&tree) {
            Some(found) => Shape::Literals(found),
            None if literals::is_anything(&tree) => Shape::Anything,
            None if literals::is_not_empty(&tree) => Shape::NotEmpty,
            None if literals::is_prefix_and_anything(&tree) => Shape::Prefix,
            None => Shape::Program,
        };
        let prefix = literals::prefix(&tree);
        let program = OnceLock::new();
        if matches!(shape, Shape::Program) {
            let built = build(&tree).map_err(|error| RegexError(format!("error parsing regexp: {error}")))?;
            let set = program.set(Some(built));
            debug_assert!(set.is_ok());
        }
        Ok(Self(Arc::new(Inner { pattern: pattern.to_owned(), tree, shape, prefix, program })))
    }

    /// Returns whether the whole `text` matches.
    #[must_use]
    pub fn is_match(&self, text: &str) -> bool {
        match &self.0.shape {
            Shape::Anything => true,
            Shape::NotEmpty => !text.is_empty(),
            Shape::Literals(all) => all.binary_search_by(|literal| literal.as_str().cmp(text)).is_ok(),
            Shape::Prefix => self.0.prefix.as_deref().is_some_and(|prefix| text.starts_with(prefix)),
            Shape::Program => self.program().is_some_and(|program| program.is_match(text)),
        }
    }

    /// Returns how much memory the compiled program takes; 0 where matching needs none.
    #[must_use]
    pub fn program_bytes(&self) -> usize {
        self.0.program.get().and_then(Option::as_ref).map_or(0, meta::Regex::memory_usage)
    }

    /// Returns the pattern as it was written.
    #[must_use]
    pub fn pattern(&self) -> &str {
        &self.0.pattern
    }

    /// Returns all texts that match, sorted, where they can be counted: `a|b`, `web[12]`.
    #[must_use]
    pub fn literal_alternatives(&self) -> Option<&[String]> {
        match &self.0.shape {
            Shape::Literals(all) => Some(all),
            Shape::Anything | Shape::NotEmpty | Shape::Prefix | Shape::Program => None,
        }
    }

    /// Returns what every match begins with, where that is not empty.
    #[must_use]
    pub fn literal_prefix(&self) -> Option<&str> {
        self.0.prefix.as_deref()
    }

    /// Returns whether every text matches (`.*`).
    #[must_use]
    pub fn matches_anything(&self) -> bool {
        matches!(self.0.shape, Shape::Anything)
    }

    /// Expands `template` (`$1`, `${name}`, `$$` as in Go's `Regexp.Expand`) with the groups of a match, or returns `None`
    /// where `text` does not match.
    #[must_use]
    pub fn expand(&self, text: &str, template: &str) -> Option<String> {
        self.expand_allowed(text, template, |_| Ok::<(), std::convert::Infallible>(())).unwrap_or_else(|never| match never {})
    }

    /// Expands as [`Self::expand`] does, where `allow` has nothing against the length of what would be made.
    ///
    /// # Errors
    /// Those of `allow`.
    pub fn expand_allowed<E>(
        &self,
        text: &str,
        template: &str,
        allow: impl FnOnce(usize) -> Result<(), E>,
    ) -> Result<Option<String>, E> {
        if !self.is_match(text) {
            return Ok(None);
        }
        if !template.contains('$') {
            allow(template.len())?;
            return Ok(Some(template.to_owned()));
        }
        let Some(program) = self.program() else { return Ok(None) };
        let mut captures = program.create_captures();
        program.captures(text, &mut captures);
        if !captures.is_match() {
            return Ok(None);
        }
        let value = |group: template::Group<'_>| {
            let span = match group {
                template::Group::Number(number) => captures.get_group(number),
                template::Group::Name(name) => captures.get_group_by_name(name),
            };
            span.and_then(|span| text.get(span.start..span.end))
        };
        let mut length = 0_usize;
        template::pieces(template, value, |piece| length = length.saturating_add(piece.len()));
        allow(length)?;
        let mut out = String::with_capacity(length);
        template::pieces(template, value, |piece| out.push_str(piece));
        Ok(Some(out))
    }

    /// Returns the groups of a match by name, and by number from 1, or `None` where `text` does not match.
    #[must_use]
    pub fn groups(&self, text: &str) -> Option<Vec<(String, String)>> {
        let program = self.program()?;
        let mut captures = program.create_captures();
        program.captures(text, &mut captures);
        if !captures.is_match() {
            return None;
        }
        let mut groups = Vec::new();
        let names = captures.group_info().pattern_names(regex_automata::PatternID::ZERO);
        for (number, name) in names.enumerate().skip(1) {
            let found = captures.get_group(number).and_then(|span| text.get(span.start..span.end)).unwrap_or_default();
            groups.push((number.to_string(), found.to_owned()));
            groups.extend(name.map(|name| (name.to_owned(), found.to_owned())));
        }
        Some(groups)
    }

    fn program(&self) -> Option<&meta::Regex> {
        self.0.program.get_or_init(|| build(&self.0.tree).ok()).as_ref()
    }
}

fn build(tree: &Hir) -> Result<meta::Regex, String> {
    let anchored = Hir::concat(vec![Hir::look(Look::Start), tree.clone(), Hir::look(Look::End)]);
    meta::Builder::new()
        .configure(meta::Config::new().nfa_size_limit(Some(PROGRAM_BYTES_MAX)).hybrid_cache_capacity(1 << 20))
        .build_from_hir(&anchored)
        .map_err(|error| match error.size_limit() {
            Some(_) => "expression too large".to_owned(),
            None => error.to_string(),
        })
}

impl fmt::Debug for Regex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/", self.0.pattern)
    }
}

impl PartialEq for Regex {
    fn eq(&self, other: &Self) -> bool {
        self.0.pattern == other.0.pattern
    }
}

impl Eq for Regex {}

#[cfg(test)]
mod tests;
