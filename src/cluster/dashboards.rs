//! Dashboards in ZooKeeper: the znodes below `dashboards/`, plain JSON or gzip, and how one is saved there.
//!
//! What the texts mean is [`crate::dashboards`]'s, which this module does not know; a change is compared with the bytes that are
//! there, by a hash that the caller reckons.

use super::packing;
use super::paths::DASHBOARDS;
use crate::zookeeper::tree_cache::join;
use crate::zookeeper::{Client, Lifetime, Tree, ZNODE_BYTES_MAX, Znode, ZooKeeperError};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One znode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its full path.
    pub path: String,
    /// What it holds, unpacked; or why that cannot be read.
    pub data: Result<Vec<u8>, String>,
    /// When it was last changed, milliseconds since 1970; `None` where it may not be read.
    pub modified_ms: Option<i64>,
}

/// The znodes that are dashboards: those directly below the folder that hold something.
fn znodes<'t>(tree: &'t Tree, folder: &'t str) -> impl Iterator<Item = (&'t str, &'t Znode)> + use<'t> {
    let is_direct = move |path: &str| path.get(folder.len() + 1..).is_some_and(|name| !name.contains('/'));
    tree.below(folder).filter(move |(path, node)| is_direct(path) && (node.denied || !node.data.is_empty()))
}

/// Returns the last change of each dashboard by its path: what tells whether [`read`] would find anything new.
#[must_use]
pub fn marks(tree: &Tree, root: &str) -> BTreeMap<String, i64> {
    let folder = join(root, DASHBOARDS);
    znodes(tree, &folder).map(|(path, node)| (path.to_owned(), node.mzxid)).collect()
}

/// Reads the dashboards of a tree.
#[must_use]
pub fn read(tree: &Tree, root: &str) -> Vec<Found> {
    let folder = join(root, DASHBOARDS);
    let found = znodes(tree, &folder).map(|(path, node)| Found {
        path: path.to_owned(),
        data: if node.denied { Err(super::rules::DENIED.to_owned()) } else { unpack(&node.data) },
        modified_ms: (!node.denied).then_some(node.modified_ms),
    });
    found.collect()
}

fn unpack(data: &[u8]) -> Result<Vec<u8>, String> {
    packing::unpack(data, |_| None::<&[u8]>)
}

/// Returns the path of a dashboard by its name.
#[must_use]
pub fn path(root: &str, name: &str) -> String {
    join(&join(root, DASHBOARDS), &format!("{name}.json"))
}

/// Why a dashboard was not saved.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// Somebody else was faster; `Some`: when, milliseconds since 1970, `None`: it is gone.
    #[error("the dashboard was changed meanwhile")]
    Conflict(Option<i64>),
    /// It does not fit into a znode, compressed too.
    #[error("compressed it has {0} bytes, and a znode holds {ZNODE_BYTES_MAX}")]
    TooLarge(usize),
    /// What ZooKeeper said.
    #[error(transparent)]
    ZooKeeper(#[from] ZooKeeperError),
}

/// Packs a text for a znode: as it is, so that any client can edit it, or compressed where that is too large.
fn pack(text: &str) -> Result<Vec<u8>, SaveError> {
    if text.len() <= ZNODE_BYTES_MAX {
        return Ok(text.as_bytes().to_vec());
    }
    let packed = packing::gzip(text.as_bytes());
    if packed.len() > ZNODE_BYTES_MAX { Err(SaveError::TooLarge(packed.len())) } else { Ok(packed) }
}

/// Makes a new znode; the name is the first free one of `names`. Returns its path.
///
/// # Errors
/// When no name is free, the text is too large, or ZooKeeper does not answer.
pub async fn create(
    client: &Arc<dyn Client>,
    root: &str,
    names: impl IntoIterator<Item = String>,
    text: &str,
) -> Result<String, SaveError> {
    let data = pack(text)?;
    for name in names {
        let path = path(root, &name);
        match client.create(&path, &data, Lifetime::Persistent).await {
            Ok(()) => return Ok(path),
            Err(ZooKeeperError::NodeExists(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(SaveError::Conflict(None))
}

/// Returns the version of a znode's data if `is_base` says that it is what the caller saw.
async fn compare(client: &Arc<dyn Client>, path: &str, is_base: impl Fn(&[u8]) -> bool) -> Result<i32, SaveError> {
    client.sync("/").await?;
    let there = client.get(path).await?.ok_or(SaveError::Conflict(None))?;
    match unpack(&there.data) {
        Ok(data) if is_base(&data) => Ok(there.version),
        // What cannot be unpacked nobody has seen; it may be written over by who says so.
        Err(_) if is_base(&[]) => Ok(there.version),
        _ => Err(SaveError::Conflict(Some(there.modified_ms))),
    }
}

fn faster(error: ZooKeeperError) -> SaveError {
    match error {
        ZooKeeperError::BadVersion(_) | ZooKeeperError::NoNode(_) => SaveError::Conflict(None),
        error => error.into(),
    }
}

/// Changes a znode, if `is_base` says of its data, unpacked, that it is what the caller saw.
///
/// # Errors
/// When somebody else was faster, the text is too large, or ZooKeeper does not answer.
pub async fn set(client: &Arc<dyn Client>, path: &str, text: &str, is_base: impl Fn(&[u8]) -> bool) -> Result<(), SaveError> {
    let data = pack(text)?;
    let version = compare(client, path, is_base).await?;
    client.set(path, &data, Some(version)).await.map_err(faster)
}

/// Deletes a znode, if `is_base` says of its data, unpacked, that it is what the caller saw.
///
/// # Errors
/// When somebody else was faster, or ZooKeeper does not answer.
pub async fn delete(client: &Arc<dyn Client>, path: &str, is_base: impl Fn(&[u8]) -> bool) -> Result<(), SaveError> {
    let version = compare(client, path, is_base).await?;
    client.delete(path, Some(version)).await.map_err(faster)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_dashboards_plain_and_compressed() {
        let node = |data: &[u8]| Znode {
            data: Arc::from(data),
            mzxid: 7,
            czxid: 7,
            version: 0,
            modified_ms: 5,
            owner: 0,
            denied: false,
        };
        let packed = packing::gzip(b"{\"panels\": []}");
        let nodes = [
            ("/w/dashboards", node(b"not this")),
            ("/w/dashboards/a.json", node(b"{}")),
            ("/w/dashboards/b.json", node(&packed)),
            ("/w/dashboards/c.json", node(&packed[..9])),
            ("/w/dashboards/denied", Znode { denied: true, ..node(b"") }),
            ("/w/dashboards/empty.json", node(b"")),
            ("/w/dashboards/folder/d.json", node(b"{}")),
            ("/w/dashboardsx/e.json", node(b"{}")),
        ];
        let tree = Tree { nodes: nodes.into_iter().map(|(path, node)| (path.to_owned(), node)).collect(), ..Tree::default() };
        let found: Vec<_> = read(&tree, "/w").into_iter().map(|found| (found.path, found.data.map_err(|_| ()))).collect();
        let expected = [
            ("a.json", Ok(b"{}".to_vec())),
            ("b.json", Ok(b"{\"panels\": []}".to_vec())),
            ("c.json", Err(())),
            ("denied", Err(())),
        ];
        assert_eq!(found, expected.map(|(name, data)| (format!("/w/dashboards/{name}"), data)));
        assert_eq!(marks(&tree, "/w").len(), 4);
    }

    #[test]
    fn what_is_too_large_plain_is_compressed() {
        let large = "x".repeat(ZNODE_BYTES_MAX + 1);
        assert!(pack(&large).unwrap().len() < 10_000);
        assert_eq!(pack("{}").unwrap(), b"{}");
    }
}
