//! What watched rule groups read, so that whoever writes samples can say that some of it changed.
//!
//! Rules publish it; scraping looks at it and calls back. Neither knows the other.

use super::matcher::Matcher;
use std::fmt;
use std::sync::Arc;

/// One selector of a watched group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleInput {
    /// Which series it reads.
    pub matchers: Vec<Matcher>,
    /// Whether every sample counts as a change, also one of the same value: what is read over a window.
    pub every_sample: bool,
}

/// Told that inputs changed: the time of the newest sample, milliseconds since 1970. Returns at once and never waits.
pub type Wake = Arc<dyn Fn(i64) + Send + Sync>;

/// A rule group that is evaluated when its inputs change.
#[derive(Clone)]
pub struct WatchedGroup {
    /// What its rules read now; what they read of the past is left out.
    pub inputs: Vec<RuleInput>,
    /// Wakes it, when the samples can be read.
    pub wake: Wake,
}

/// All watched groups. Another value means that slots found by an earlier one are to be found anew.
#[derive(Clone, Debug, Default)]
pub struct RuleInputs {
    /// In the order of files and groups.
    pub groups: Vec<WatchedGroup>,
}

impl fmt::Debug for WatchedGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchedGroup").field("inputs", &self.inputs).finish_non_exhaustive()
    }
}
