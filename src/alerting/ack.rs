//! Acknowledgements: somebody takes care of an alert, so that it does not escalate.

/// Who takes care of an alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The alert.
    pub fingerprint: u64,
    /// Since when.
    pub at_ms: i64,
    /// Who.
    pub by: String,
    /// Said with it; may be empty.
    pub comment: String,
}
