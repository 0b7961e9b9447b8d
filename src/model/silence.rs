//! Silences: who wants not to be told about what, until when, and why.

use super::matcher::Matcher;
use super::time_interval::TimeInterval;

/// One silence.
#[derive(Clone, Debug, PartialEq)]
pub struct Silence {
    /// A UUID.
    pub id: String,
    /// All must match; never empty.
    pub matchers: Vec<Matcher>,
    /// Milliseconds since 1970.
    pub starts_at_ms: i64,
    /// Milliseconds since 1970.
    pub ends_at_ms: i64,
    /// When it was last changed.
    pub updated_at_ms: i64,
    /// Who made it.
    pub created_by: String,
    /// Why.
    pub comment: String,
    /// Recurs: mutes only within these times while it is in force.
    pub every: Option<Recurrence>,
    /// Ends by itself when no alert that it covers fires any more.
    pub until_resolved: bool,
}

/// When a recurring silence mutes.
#[derive(Clone, Debug, PartialEq)]
pub struct Recurrence {
    /// As it was written: `Sat,Sun 02:00-04:00`.
    pub text: String,
    /// The time zone's name; empty is UTC.
    pub time_zone: String,
    /// One of them must hold.
    pub intervals: Vec<TimeInterval>,
}

/// Where a silence stands at some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SilenceState {
    /// Not begun.
    Pending,
    /// In force.
    Active,
    /// Over.
    Expired,
}

impl SilenceState {
    /// Returns the API's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Expired => "expired",
        }
    }
}

impl Silence {
    /// Returns whether it mutes at `now_ms`: in force, and within its recurrence where it has one.
    #[must_use]
    pub fn is_muting_at(&self, now_ms: i64) -> bool {
        self.state_at(now_ms) == SilenceState::Active
            && self.every.as_ref().is_none_or(|every| every.intervals.iter().any(|interval| interval.contains(now_ms)))
    }

    /// Returns the state at `now_ms`.
    #[must_use]
    pub const fn state_at(&self, now_ms: i64) -> SilenceState {
        if now_ms < self.starts_at_ms {
            SilenceState::Pending
        } else if now_ms < self.ends_at_ms {
            SilenceState::Active
        } else {
            SilenceState::Expired
        }
    }
}
