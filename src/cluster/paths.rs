//! The names below the root.

use crate::zookeeper::tree_cache::join;

/// Rule files, one znode each.
pub const RULES: &str = "rules";
/// The configuration's overlay.
pub const CONFIG: &str = "config";
/// Scrape configurations, one znode each.
pub const SCRAPE: &str = "config/scrape";
/// One ephemeral znode for each running server.
pub const MEMBERS: &str = "members";

/// Earlier versions: who, when, why.
pub const HISTORY: &str = "history";
/// What the files of earlier versions hold, by hash.
pub const BLOBS: &str = "blobs";

/// Returns the folders that a server needs to know nothing of until somebody asks.
#[must_use]
pub fn unread(root: &str) -> Vec<String> {
    [HISTORY, BLOBS, super::publish::PUBLISH].iter().map(|name| join(root, name)).collect()
}

/// Returns the folders that a server makes when it comes, in order.
#[must_use]
pub fn folders(root: &str) -> Vec<String> {
    [RULES, CONFIG, SCRAPE, MEMBERS, "election", "silences", "notified", "acks", HISTORY, BLOBS, super::publish::PUBLISH]
        .iter()
        .map(|name| join(root, name))
        .collect()
}

/// Returns the folder of the rule files.
#[must_use]
pub fn rules(root: &str) -> String {
    join(root, RULES)
}
