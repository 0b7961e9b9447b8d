//! Matchers: conditions on one label, of selectors, silences, routes and inhibition rules.

use super::labels::Labels;
use super::regex::{Regex, RegexError};
use std::fmt;

/// How a matcher compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MatchOp {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`
    Regex,
    /// `!~`
    NotRegex,
}

impl MatchOp {
    /// Returns the operator as it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Regex => "=~",
            Self::NotRegex => "!~",
        }
    }
}

/// A condition on one label. An absent label has the empty value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matcher {
    name: String,
    op: MatchOp,
    value: String,
    regex: Option<Regex>,
}

impl Matcher {
    /// Builds a matcher, compiling the pattern where there is one.
    ///
    /// # Errors
    /// When the pattern is not a regular expression of Go's syntax.
    pub fn new(op: MatchOp, name: impl Into<String>, value: impl Into<String>) -> Result<Self, RegexError> {
        let value = value.into();
        let regex = match op {
            MatchOp::Regex | MatchOp::NotRegex => Some(Regex::new(&value)?),
            MatchOp::Equal | MatchOp::NotEqual => None,
        };
        Ok(Self { name: name.into(), op, value, regex })
    }

    /// Builds a matcher of routes, silences and inhibition rules: as [`Self::new`], but `.` does not match a line's end, as
    /// in Alertmanager.
    ///
    /// # Errors
    /// When the pattern is not a regular expression of Go's syntax.
    pub fn for_alerts(op: MatchOp, name: impl Into<String>, value: impl Into<String>) -> Result<Self, RegexError> {
        let mut matcher = Self::new(op, name, value)?;
        if matcher.regex.is_some() {
            matcher.regex = Some(Regex::new(&format!("(?-s:{})", matcher.value))?);
        }
        Ok(matcher)
    }

    /// Builds a matcher of a pattern that was compiled already; `negated` makes it `!~`.
    #[must_use]
    pub fn of_regex(negated: bool, name: impl Into<String>, regex: Regex) -> Self {
        let op = if negated { MatchOp::NotRegex } else { MatchOp::Regex };
        Self { name: name.into(), op, value: regex.pattern().to_owned(), regex: Some(regex) }
    }

    /// Builds an equality matcher, which cannot fail.
    pub fn equal(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), op: MatchOp::Equal, value: value.into(), regex: None }
    }

    /// Returns the label's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns how it compares.
    #[must_use]
    pub const fn op(&self) -> MatchOp {
        self.op
    }

    /// Returns the value or pattern as written.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Returns the compiled pattern of a regex matcher.
    #[must_use]
    pub const fn regex(&self) -> Option<&Regex> {
        self.regex.as_ref()
    }

    /// Returns whether a label value (empty: absent) satisfies the matcher.
    #[must_use]
    pub fn matches(&self, value: &str) -> bool {
        let found = self.regex.as_ref().map_or_else(|| self.value == value, |regex| regex.is_match(value));
        match self.op {
            MatchOp::Equal | MatchOp::Regex => found,
            MatchOp::NotEqual | MatchOp::NotRegex => !found,
        }
    }

    /// Returns whether a label set satisfies the matcher.
    #[must_use]
    pub fn matches_labels(&self, labels: &Labels) -> bool {
        self.matches(labels.value(&self.name))
    }
}

/// Prints as PromQL writes it: `name="value"`, the name quoted where it is not a classic one.
impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if super::labels::is_legacy_name(&self.name) {
            f.write_str(&self.name)?;
        } else {
            f.write_str(&super::number::quote(&self.name))?;
        }
        write!(f, "{}{}", self.op.as_str(), super::number::quote(&self.value))
    }
}
