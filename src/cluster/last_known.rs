//! The last known good tree, kept on disk so that a restart while ZooKeeper is away forgets nothing.
//!
//! Each znode is an entry `zookeeper/<root>\0<path>` of the state store: mzxid, czxid, version and time (little endian),
//! then the data. Ephemeral znodes are left out: they speak of sessions that may be gone.

use crate::state::{Change, State, StateError};
use crate::zookeeper::{Tree, Znode};
use std::collections::BTreeMap;
use std::sync::Arc;

const HEAD_BYTES: usize = 28;

fn prefix(root: &str) -> Vec<u8> {
    format!("zookeeper/{root}\0").into_bytes()
}

fn encode(node: &Znode) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD_BYTES + node.data.len());
    bytes.extend_from_slice(&node.mzxid.to_le_bytes());
    bytes.extend_from_slice(&node.czxid.to_le_bytes());
    bytes.extend_from_slice(&node.version.to_le_bytes());
    bytes.extend_from_slice(&node.modified_ms.to_le_bytes());
    bytes.extend_from_slice(&node.data);
    bytes
}

fn decode(bytes: &[u8]) -> Option<Znode> {
    let (head, data) = bytes.split_at_checked(HEAD_BYTES)?;
    let i64_at = |at: usize| Some(i64::from_le_bytes(head.get(at..at + 8)?.try_into().ok()?));
    Some(Znode {
        data: Arc::from(data),
        mzxid: i64_at(0)?,
        czxid: i64_at(8)?,
        version: i32::from_le_bytes(head.get(16..20)?.try_into().ok()?),
        modified_ms: i64_at(20)?,
        owner: 0,
        denied: false,
    })
}

/// Reads the tree that was last saved; `None` where there is none. Entries that cannot be read are left out. Blocks.
///
/// # Errors
/// When the state store cannot be read.
pub fn load(state: &dyn State, root: &str) -> Result<Option<Tree>, StateError> {
    let prefix = prefix(root);
    let mut nodes = BTreeMap::new();
    for (key, value) in state.scan(&prefix)? {
        let path = key.get(prefix.len()..).and_then(|path| std::str::from_utf8(path).ok());
        if let (Some(path), Some(node)) = (path, decode(&value)) {
            nodes.insert(path.to_owned(), node);
        }
    }
    Ok((!nodes.is_empty()).then_some(Tree { nodes, ..Tree::default() }))
}

/// Saves what differs from `before`. Blocks; durable when it returns.
///
/// # Errors
/// When the state store cannot be written.
pub fn save(state: &dyn State, root: &str, before: &Tree, now: &Tree) -> Result<(), StateError> {
    let prefix = prefix(root);
    let key = |path: &str| [&prefix, path.as_bytes()].concat();
    let kept = |node: &Znode| node.owner == 0 && !node.denied;
    let mut batch = Vec::new();
    for (path, node) in &now.nodes {
        if kept(node) && before.nodes.get(path) != Some(node) {
            batch.push(Change::Put(key(path), encode(node)));
        }
    }
    for path in before.nodes.keys() {
        if now.nodes.get(path).is_none_or(|node| node.owner != 0) {
            batch.push(Change::Delete(key(path)));
        }
    }
    if batch.is_empty() {
        return Ok(());
    }
    state.apply(&batch)?;
    state.sync()
}
