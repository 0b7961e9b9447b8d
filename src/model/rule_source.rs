//! A rule file as text, before anyone has parsed it, with where it came from.

use std::fmt;

/// Where a rule file lies.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RuleOrigin {
    /// Shipped within the binary.
    Builtin(String),
    /// A file on disk: its path.
    File(String),
    /// A znode: its full path.
    Znode(String),
}

impl RuleOrigin {
    /// Returns the path or name alone.
    #[must_use]
    pub fn path(&self) -> &str {
        match self {
            Self::Builtin(path) | Self::File(path) | Self::Znode(path) => path,
        }
    }
}

impl fmt::Display for RuleOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Builtin(path) => write!(f, "builtin:{path}"),
            Self::File(path) => f.write_str(path),
            Self::Znode(path) => write!(f, "zookeeper:{path}"),
        }
    }
}

/// Why the text of a rule file is not there. Line and column count from 1; 0: the whole file is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceError {
    /// The line.
    pub line: u32,
    /// The column, in characters.
    pub column: u32,
    /// What is wrong.
    pub reason: String,
}

impl SourceError {
    /// Makes an error about the whole file.
    pub fn whole(reason: impl Into<String>) -> Self {
        Self { line: 0, column: 0, reason: reason.into() }
    }
}

impl From<super::utf8::NotUtf8> for SourceError {
    fn from(error: super::utf8::NotUtf8) -> Self {
        Self { line: error.line, column: error.column, reason: error.to_string() }
    }
}

/// One rule file's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleSource {
    /// Where it lies; the identity of the file.
    pub origin: RuleOrigin,
    /// The bytes as found (plain YAML).
    pub text: Result<String, SourceError>,
    /// A number that grows with each change: a znode's `mzxid`, a file's hash.
    pub version: u64,
    /// When it was last changed, milliseconds since 1970, where known.
    pub modified_ms: Option<i64>,
}

/// All rule files of one kind of source at one moment; each message replaces the one before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleSources {
    /// The files, sorted by origin.
    pub files: Vec<RuleSource>,
}
