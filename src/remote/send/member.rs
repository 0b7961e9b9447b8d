//! Other servers of the same cluster, to which only a part of what the store takes is sent, each request signed.

use crate::config::remote::RemoteWriteConfig;
use crate::storage::append::SeriesId;
use std::sync::Arc;

/// The header of a member's signature.
pub(super) const MEMBER_HEADER: &str = "watchkeeper-member";

/// Makes the signature of a body.
pub type Sign = Arc<dyn Fn(&[u8]) -> String + Send + Sync>;

/// What is sent to members, and how they know that it comes from one.
#[derive(Clone)]
pub struct MemberLink {
    /// Whether a series' sample of that time (milliseconds) is sent.
    pub is_sent: Arc<dyn Fn(SeriesId, i64) -> bool + Send + Sync>,
    /// Signs a request's body: the value of its header.
    pub sign: Sign,
}

impl std::fmt::Debug for MemberLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MemberLink")
    }
}

/// A member that is sent to, beside the remotes of the configuration; without their external labels.
#[derive(Clone, Debug)]
pub struct Member {
    /// Where to, and how. Its name tells it from all others.
    pub config: Arc<RemoteWriteConfig>,
    /// What.
    pub over: MemberLink,
}
