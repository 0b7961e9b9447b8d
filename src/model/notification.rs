//! What became of a notification, for logs, metrics and pages.

/// How an attempt to tell somebody ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The other side took it; its own words, for example an SMTP queue id.
    Accepted(String),
    /// It failed, and trying again may help.
    Retry(String),
    /// It failed for good.
    Refused(String),
}
