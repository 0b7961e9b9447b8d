//! Who leads: the candidates below `election/`, under the names of Curator's `LeaderLatch`, lowest number first.
//!
//! A candidate is an ephemeral znode `_c_<uuid>-latch-<sequence>` whose data is the member's id. The uuid names a data directory
//! (which one process at a time has open), so that a member finds its znode again after a lost answer, and what an earlier life
//! of it left behind.

use super::paths;
use crate::zookeeper::tree_cache::join;

/// A znode below `election/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its name.
    pub name: String,
    /// The number that ZooKeeper gave it.
    pub sequence: i64,
}

impl Candidate {
    /// Reads a name; `None`: it is no candidate's.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let (_, digits) = name.rsplit_once("latch-")?;
        let sequence = digits.parse().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
        Some(Self { name: name.to_owned(), sequence })
    }

    /// Returns whether the znode is of this data directory.
    #[must_use]
    pub fn is_of(&self, instance: &str) -> bool {
        self.name.strip_prefix("_c_").and_then(|rest| rest.strip_prefix(instance)).is_some_and(|rest| rest.starts_with("-latch-"))
    }
}

/// Returns the candidates among the names, lowest number first: the first one leads.
#[must_use]
pub fn candidates<'a>(names: impl IntoIterator<Item = &'a String>) -> Vec<Candidate> {
    let mut all: Vec<Candidate> = names.into_iter().filter_map(|name| Candidate::parse(name)).collect();
    all.sort_by_key(|candidate| candidate.sequence);
    all
}

/// Returns what the path of a new candidate begins with.
#[must_use]
pub fn prefix(root: &str, instance: &str) -> String {
    join(&paths::election(root), &format!("_c_{instance}-latch-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_number_leads_whatever_the_names() {
        let names =
            ["_c_b-latch-0000000012", "latch-0000000007", "_c_a-latch-0000000009", "lock", "_c_a-latch-", "_c_x-latch-1x"];
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let order: Vec<_> = candidates(&names).into_iter().map(|one| one.name).collect();
        assert_eq!(order, ["latch-0000000007", "_c_a-latch-0000000009", "_c_b-latch-0000000012"]);
        let one = Candidate::parse("_c_a-latch-0000000009").unwrap();
        assert!(one.is_of("a") && !one.is_of("b") && !one.is_of(""));
        assert_eq!(prefix("/w", "a"), "/w/election/_c_a-latch-");
    }
}
