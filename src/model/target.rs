//! Targets as discovery finds them and as scraping sees them.

use super::labels::Labels;

/// A set of targets that one source speaks of. A later group with the same `source` replaces the earlier one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetGroup {
    /// Identifies the group within its provider: a file's path and place, a DNS name, a znode.
    pub source: String,
    /// Label sets of single targets; `__address__` is among them.
    pub targets: Vec<Labels>,
    /// Labels that all of them share.
    pub labels: Labels,
}

/// What discovery says about one job: all its groups at one moment; each message replaces the one before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobTargets {
    /// The scrape configuration's `job_name`.
    pub job: String,
    /// All groups, sorted by provider and source.
    pub groups: Vec<TargetGroup>,
    /// What went wrong with single providers, in words.
    pub errors: Vec<String>,
}

/// Whether the last scrape of a target worked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TargetHealth {
    /// Not scraped yet.
    #[default]
    Unknown,
    /// The last scrape worked.
    Up,
    /// The last scrape failed.
    Down,
}

impl TargetHealth {
    /// Returns the API's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}
