//! Silences: who wants not to be told about what, until when, and why.

use super::matcher::Matcher;

/// One silence.
#[derive(Clone, Debug)]
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
