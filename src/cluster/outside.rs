//! What other clients changed around the tool, as a version of its own: so that there is always something to go back to.
//!
//! Whoever pushes writes it first ([`super::push`]); where nobody pushes, the leader records it ([`record`]).

use super::history::{self, Blob, Kind, Push};
use super::paths;
use super::push::{PushError, bytes_of, commit, path_of, write_blobs};
use super::snapshot::Snapshot;
use crate::zookeeper::tree_cache::join;
use crate::zookeeper::{Client, Lifetime, Operation, ZNODE_BYTES_MAX, ZooKeeperError};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Who it was, as far as anybody knows.
pub(super) const WHO: &str = "other clients";
/// The longest list of names that a reason holds, in characters.
const WHY_CHARS: usize = 200;

/// Says which files were changed.
pub(super) fn why(names: &[String]) -> String {
    let why = format!("edited outside: {}", names.join(", "));
    if why.chars().count() > WHY_CHARS { why.chars().take(WHY_CHARS).chain("...".chars()).collect() } else { why }
}

/// A file's entry in a manifest.
pub(super) fn blob(name: &str, sha256: &str, size: usize) -> (String, Blob) {
    (format!("{}/{name}", paths::RULES), Blob { sha256: sha256.to_owned(), size })
}

/// All files as they are, for a manifest.
pub(super) fn files(snapshot: &Snapshot) -> BTreeMap<String, Blob> {
    snapshot.files.iter().map(|(name, file)| blob(name, &file.sha256, file.text.len())).collect()
}

/// Records what other clients changed since the newest version; answers its number, `None` where nothing differs. The files
/// themselves are not touched. `at` writes a time (milliseconds since 1970) as RFC 3339.
///
/// # Errors
/// [`PushError::Conflict`] when something changed meanwhile, and what every push can meet.
pub async fn record(
    client: &Arc<dyn Client>,
    root: &str,
    snapshot: &Snapshot,
    now_ms: i64,
    at: impl Fn(i64) -> String,
) -> Result<Option<u64>, PushError> {
    let names = snapshot.outside();
    if names.is_empty() {
        return Ok(None);
    }
    // A deletion has left no time behind.
    let changed_ms = names.iter().map(|name| snapshot.files.get(name).map(|file| file.modified_ms));
    let changed_ms = changed_ms.collect::<Option<Vec<i64>>>().and_then(|times| times.into_iter().max()).unwrap_or(now_ms);
    let push = Push {
        number: snapshot.history.next(),
        kind: Kind::Outside,
        who: WHO.to_owned(),
        at: at(changed_ms),
        why: why(&names),
        parent: snapshot.history.head().map(|push| push.number),
        restores: None,
        files: files(snapshot),
    };
    let folder = join(root, paths::HISTORY);
    let checked = snapshot.files.iter();
    let mut operations: Vec<Operation> =
        checked.map(|(name, file)| Operation::Check { path: path_of(root, name), version: file.version }).collect();
    let too_old = snapshot.history.too_old(1).into_iter();
    operations.extend(too_old.map(|old| Operation::Delete { path: join(&folder, &history::name(old)), version: None }));
    operations.push(Operation::Create {
        path: join(&folder, &history::name(push.number)),
        data: history::encode(&push),
        lifetime: Lifetime::Persistent,
    });
    if bytes_of(&operations) > ZNODE_BYTES_MAX {
        return Err(PushError::TooLarge(format!("{} files are more than one transaction of ZooKeeper takes", push.files.len())));
    }
    let manifests = [push];
    write_blobs(client, root, snapshot, &BTreeMap::new(), &manifests).await?;
    let [push] = &manifests;
    match commit(client, root, push.number, &operations, &manifests).await {
        Ok(()) => {
            // What is left goes with the next version.
            let _swept = history::sweep(client, root, now_ms).await;
            Ok(Some(push.number))
        }
        Err(PushError::ZooKeeper(
            ZooKeeperError::BadVersion(path) | ZooKeeperError::NodeExists(path) | ZooKeeperError::NoNode(path),
        )) => Err(PushError::Conflict(format!("{path} was changed meanwhile"))),
        Err(error) => Err(error),
    }
}

/// What tells whether a rule file changed: path and transaction of everything below `rules/`.
#[must_use]
pub fn marks(tree: &crate::zookeeper::Tree, root: &str) -> BTreeMap<String, i64> {
    tree.below(&paths::rules(root)).map(|(path, node)| (path.to_owned(), node.mzxid)).collect()
}
