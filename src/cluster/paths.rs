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

/// Candidates for leading.
pub const ELECTION: &str = "election";
/// Silences, one znode each.
pub const SILENCES: &str = "silences";
/// Who was told what, one znode for each group and receiver.
pub const NOTIFIED: &str = "notified";
/// Who takes care of which alert.
pub const ACKS: &str = "acks";

/// Earlier versions: who, when, why.
pub const HISTORY: &str = "history";
/// What the files of earlier versions hold, by hash.
pub const BLOBS: &str = "blobs";

/// Dashboards, one znode each.
pub const DASHBOARDS: &str = "dashboards";

/// Returns the folders that a server needs to know nothing of until somebody asks.
#[must_use]
pub fn unread(root: &str) -> Vec<String> {
    [HISTORY, BLOBS, super::publish::PUBLISH].iter().map(|name| join(root, name)).collect()
}

/// Returns the folders that a server makes when it comes, in order.
#[must_use]
pub fn folders(root: &str) -> Vec<String> {
    [RULES, CONFIG, SCRAPE, MEMBERS, ELECTION, SILENCES, NOTIFIED, ACKS, HISTORY, BLOBS, DASHBOARDS, super::publish::PUBLISH]
        .iter()
        .map(|name| join(root, name))
        .collect()
}

/// Returns the folder of the candidates.
#[must_use]
pub fn election(root: &str) -> String {
    join(root, ELECTION)
}

/// Returns the znode of the key that signs links in mails.
#[must_use]
pub fn links_key(root: &str) -> String {
    join(root, "links-key")
}

/// Returns the folder of the rule files.
#[must_use]
pub fn rules(root: &str) -> String {
    join(root, RULES)
}
