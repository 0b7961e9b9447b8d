//! The running servers: one ephemeral znode each, with which rules and configuration it runs.

use super::paths;
use crate::zookeeper::Tree;
use crate::zookeeper::tree_cache::join;
use serde_json::{Value, json};

/// What a member says of itself below `members/`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub id: String,
    /// Names its data directory.
    pub instance: String,
    /// `host:port` that the other members dial.
    pub address: String,
    /// The same as a URL.
    pub url: String,
    /// Its version.
    pub version: String,
    /// Since when it runs, milliseconds since 1970.
    pub started_ms: i64,
    /// `leader`, `standby`, `acting` or `unsure`.
    pub role: String,
    /// The newest transaction among the rule files that it runs; 0: none.
    pub rules_mzxid: i64,
    /// How many rule files in ZooKeeper it refuses.
    pub rules_refused: usize,
    /// The newest transaction of the configuration that it runs; 0: none.
    pub config_mzxid: i64,
    /// Whether it takes part in sharing the targets.
    pub shares_scrapes: bool,
}

impl Member {
    /// Writes it.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "id": self.id,
            "instance": self.instance,
            "address": self.address,
            "url": self.url,
            "version": self.version,
            "started": self.started_ms,
            "role": self.role,
            "rules": {"mzxid": self.rules_mzxid, "refused": self.rules_refused},
            "config": {"mzxid": self.config_mzxid},
            "sharesScrapes": self.shares_scrapes,
        })
    }

    /// Reads it. What a later version leaves out is empty.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(bytes).ok()?;
        let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
        Some(Self {
            id: value["id"].as_str()?.to_owned(),
            instance: text("instance"),
            address: text("address"),
            url: value["url"].as_str()?.to_owned(),
            version: text("version"),
            started_ms: value["started"].as_i64().unwrap_or(0),
            role: text("role"),
            rules_mzxid: value["rules"]["mzxid"].as_i64().unwrap_or(0),
            rules_refused: usize::try_from(value["rules"]["refused"].as_u64().unwrap_or(0)).unwrap_or(0),
            config_mzxid: value["config"]["mzxid"].as_i64().unwrap_or(0),
            shares_scrapes: value["sharesScrapes"].as_bool().unwrap_or(false),
        })
    }
}

/// Returns the members of a tree, sorted by id. What cannot be read, or speaks of another than its name, is left out.
#[must_use]
pub fn list(tree: &Tree, root: &str) -> Vec<Member> {
    let folder = join(root, paths::MEMBERS);
    let member = |(path, node): (&str, &crate::zookeeper::Znode)| {
        let name = path.strip_prefix(&folder)?.strip_prefix('/')?;
        Member::of(&node.data).filter(|member| member.id == name)
    };
    tree.below(&folder).filter_map(member).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zookeeper::Znode;
    use std::sync::Arc;

    #[test]
    fn reads_what_it_writes_and_leaves_out_what_is_none() {
        let member = |id: &str| Member {
            id: id.to_owned(),
            url: format!("http://{id}:9090"),
            role: "standby".to_owned(),
            rules_mzxid: 7,
            ..Member::default()
        };
        let node = |data: &str| Znode {
            data: Arc::from(data.as_bytes()),
            mzxid: 1,
            czxid: 1,
            version: 0,
            modified_ms: 0,
            owner: 5,
            denied: false,
        };
        let nodes = [
            ("/w/members/b", member("b").json().to_string()),
            ("/w/members/a", member("a").json().to_string()),
            ("/w/members/c", member("b").json().to_string()),
            ("/w/members/d", "{".to_owned()),
        ];
        let tree =
            Tree { nodes: nodes.into_iter().map(|(path, text)| (path.to_owned(), node(&text))).collect(), ..Tree::default() };
        assert_eq!(list(&tree, "/w"), [member("a"), member("b")]);
    }
}
