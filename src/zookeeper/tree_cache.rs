//! A subtree of znodes as it was last read, and how it is read.
//!
//! Events only say which paths may have changed; what happened is learnt by reading. So the order of events, doubled or
//! missing ones never matter, and the result is the same whether a change was watched or found by reading all again.

use super::{Client, Result, TREE_BYTES_MAX, TREE_ZNODES_MAX, ZooKeeperError};
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt as _};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How many reads are under way at once.
const READS_AT_ONCE: usize = 256;

/// One znode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Znode {
    /// Its data.
    pub data: Arc<[u8]>,
    /// The transaction that last changed the data.
    pub mzxid: i64,
    /// The transaction that made it.
    pub czxid: i64,
    /// The data's version.
    pub version: i32,
    /// When the data was last changed, milliseconds since 1970.
    pub modified_ms: i64,
    /// The session that owns it if it is ephemeral, else 0.
    pub owner: i64,
    /// We may not read it; all else is empty then.
    pub denied: bool,
}

impl Znode {
    fn denied() -> Self {
        Self { data: Arc::from([]), mzxid: 0, czxid: 0, version: 0, modified_ms: 0, owner: 0, denied: true }
    }
}

/// All znodes at and below the roots, by full path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    /// Path -> znode.
    pub nodes: BTreeMap<String, Znode>,
    /// The roots of a foreign tree that this was read for; with a reason those that are refused and of which nothing is here.
    pub roots: BTreeMap<String, Option<String>>,
}

impl Tree {
    /// Returns the znodes directly or indirectly below `folder` (without it), in order of paths.
    pub fn below<'a>(&'a self, folder: &str) -> impl Iterator<Item = (&'a str, &'a Znode)> + use<'a> {
        let prefix = format!("{}/", folder.trim_end_matches('/'));
        let from = prefix.clone();
        self.nodes
            .range::<str, _>((std::ops::Bound::Included(from.as_str()), std::ops::Bound::Unbounded))
            .take_while(move |(path, _)| path.starts_with(&prefix))
            .map(|(path, node)| (path.as_str(), node))
            .collect::<Vec<_>>()
            .into_iter()
    }

    /// Returns the sum of all data.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.nodes.values().map(|node| node.data.len()).sum()
    }
}

/// Joins a folder and a name.
#[must_use]
pub fn join(folder: &str, name: &str) -> String {
    format!("{}/{name}", folder.trim_end_matches('/'))
}

type Read = BoxFuture<'static, Result<(String, Option<Znode>)>>;
type List = BoxFuture<'static, Result<Vec<String>>>;

fn read_node(client: &Arc<dyn Client>, path: String) -> Read {
    let client = Arc::clone(client);
    Box::pin(async move {
        match client.get(&path).await {
            Ok(node) => Ok((path, node)),
            Err(ZooKeeperError::NoAuth(_)) => Ok((path, Some(Znode::denied()))),
            Err(error) => Err(error),
        }
    })
}

fn list_node(client: &Arc<dyn Client>, path: String) -> List {
    let client = Arc::clone(client);
    Box::pin(async move {
        match client.children(&path).await {
            Ok(names) => Ok(names.unwrap_or_default().iter().map(|name| join(&path, name)).collect()),
            Err(ZooKeeperError::NoAuth(_)) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    })
}

/// Returns whether a path lies within one of these folders.
pub(super) fn is_within(path: &str, folders: &[String]) -> bool {
    folders.iter().any(|folder| path.strip_prefix(folder.as_str()).is_some_and(|rest| rest.starts_with('/')))
}

/// Returns whether a path is a root or below it.
#[must_use]
pub fn is_at_or_below(path: &str, root: &str) -> bool {
    let root = root.trim_end_matches('/');
    path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

async fn list_all(client: &Arc<dyn Client>, root: &str, unread: &[String], znodes_max: usize) -> Result<Vec<String>> {
    let mut paths = vec![root.to_owned()];
    let mut level = vec![root.to_owned()];
    while !level.is_empty() {
        let mut below: Vec<String> = Vec::new();
        let folders = std::mem::take(&mut level).into_iter().filter(|path| !unread.contains(path));
        let lists: Vec<List> = folders.map(|path| list_node(client, path)).collect();
        let mut lists = stream::iter(lists).buffer_unordered(READS_AT_ONCE);
        while let Some(found) = lists.next().await {
            below.extend(found?);
        }
        if paths.len() + below.len() > znodes_max {
            return Err(ZooKeeperError::TooMuch(format!("more than {TREE_ZNODES_MAX} znodes below {root}")));
        }
        below.sort();
        paths.extend(below.iter().cloned());
        level = below;
    }
    Ok(paths)
}

/// Reads everything at and below `root`, but not what is within the `unread` folders.
///
/// # Errors
/// When a request fails, or the tree passes a limit: then nothing is returned, and the caller keeps what it has.
pub async fn read_all(client: &Arc<dyn Client>, root: &str, unread: &[String]) -> Result<Tree> {
    let mut tree = Tree::default();
    read_into(&mut tree, client, root, unread).await?;
    Ok(tree)
}

/// Reads several roots into one tree. One that passes the limit, which is for all together, is refused; the others are read.
///
/// # Errors
/// When a request fails.
pub async fn read_roots(client: &Arc<dyn Client>, roots: &BTreeSet<String>) -> Result<Tree> {
    let mut tree = Tree::default();
    for root in roots {
        let mut grown = tree.clone();
        match read_into(&mut grown, client, root, &[]).await {
            Ok(()) => {
                tree = grown;
                tree.roots.insert(root.clone(), None);
            }
            Err(ZooKeeperError::TooMuch(reason)) => {
                tree.roots.insert(root.clone(), Some(reason));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(tree)
}

async fn read_into(tree: &mut Tree, client: &Arc<dyn Client>, root: &str, unread: &[String]) -> Result<()> {
    let paths = list_all(client, root, unread, TREE_ZNODES_MAX.saturating_sub(tree.nodes.len())).await?;
    let mut bytes = tree.bytes();
    let reads: Vec<Read> = paths.into_iter().map(|path| read_node(client, path)).collect();
    let mut reads = stream::iter(reads).buffer_unordered(READS_AT_ONCE);
    while let Some(read) = reads.next().await {
        let (path, Some(node)) = read? else { continue };
        bytes += node.data.len();
        if bytes > TREE_BYTES_MAX {
            return Err(ZooKeeperError::TooMuch(format!("more than {TREE_BYTES_MAX} bytes below {root}")));
        }
        tree.nodes.insert(path, node);
    }
    Ok(())
}

/// Reads the paths that may have changed and returns the new tree. A vanished folder takes what was below it along.
///
/// # Errors
/// When a request fails; the caller keeps what it has and reads all again.
pub async fn refresh(client: &Arc<dyn Client>, tree: &Tree, dirty: &BTreeSet<String>) -> Result<Tree> {
    let mut fresh = tree.clone();
    let is_read = |path: &&String| {
        let mut refused = tree.roots.iter().filter(|(_, reason)| reason.is_some());
        !refused.any(|(root, _)| is_at_or_below(path, root))
    };
    let reads: Vec<Read> = dirty.iter().filter(is_read).map(|path| read_node(client, path.clone())).collect();
    let mut reads = stream::iter(reads).buffer_unordered(READS_AT_ONCE);
    while let Some(read) = reads.next().await {
        let (path, node) = read?;
        match node {
            Some(node) => {
                fresh.nodes.insert(path, node);
            }
            None => {
                fresh.nodes.remove(&path);
                let below: Vec<String> = fresh.below(&path).map(|(path, _)| path.to_owned()).collect();
                for path in below {
                    fresh.nodes.remove(&path);
                }
            }
        }
    }
    if fresh.nodes.len() > TREE_ZNODES_MAX || fresh.bytes() > TREE_BYTES_MAX {
        return Err(ZooKeeperError::TooMuch("the tree passed its limit".to_owned()));
    }
    Ok(fresh)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn below_gives_children_and_not_neighbours() {
        let node = Znode { denied: false, ..Znode::denied() };
        let paths = ["/w", "/w/rules", "/w/rules/a.yml", "/w/rules-old", "/w/rules/b/c"];
        let tree = Tree { nodes: paths.iter().map(|path| ((*path).to_owned(), node.clone())).collect(), ..Tree::default() };
        let found: Vec<_> = tree.below("/w/rules").map(|(path, _)| path).collect();
        assert_eq!(found, ["/w/rules/a.yml", "/w/rules/b/c"]);
    }
}
