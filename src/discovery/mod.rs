//! Where are the targets? From configuration to groups of label sets, job by job.
//!
//! Each source (a list in the configuration, a file pattern, a URL, a DNS name) runs as a task of its own and says all its
//! groups whenever they change. The manager joins them by job and publishes one map; its readers compare. A source that
//! fails keeps what it last said, also over a restart of the server, and its error stands beside it. A reload restarts only
//! the sources that changed.

pub mod dns;
pub mod file;
pub mod http;
mod last_known;
mod manager;
pub mod static_targets;
#[cfg(test)]
mod tests;
mod zookeeper;

pub use manager::start;
pub use zookeeper::check;

use crate::model::target::TargetGroup;
use tokio::sync::mpsc;

/// What a source says: all its groups and all that is wrong at present.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Update {
    /// All groups; they replace the earlier ones.
    pub groups: Vec<TargetGroup>,
    /// What went wrong, in words. The groups hold all the same.
    pub errors: Vec<String>,
}

/// Where a source says it.
#[derive(Clone, Debug)]
pub struct Sink {
    source: u64,
    sender: mpsc::Sender<(u64, Update)>,
}

impl Sink {
    /// Says it; waits while the manager is behind. Returns false once nobody listens.
    pub async fn send(&self, update: Update) -> bool {
        self.sender.send((self.source, update)).await.is_ok()
    }
}
