//! The rule files in ZooKeeper as they are now, with what a change of them has to know.

use super::history::{self, History};
use super::packing;
use super::push::{Files, PushError};
use super::{paths, rules};
use crate::zookeeper::{Client, tree_cache};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A rule file as it is in ZooKeeper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Znode {
    /// Its text; where that cannot be unpacked, the bytes as they are.
    pub text: Vec<u8>,
    /// Hash of the text.
    pub sha256: String,
    /// Why it cannot be unpacked.
    pub broken: Option<String>,
    /// Version of the data.
    pub version: i32,
    /// Last change, milliseconds since 1970.
    pub modified_ms: i64,
    /// Bytes in ZooKeeper.
    pub stored: usize,
    /// Parts below it, whether they count or not.
    pub(super) parts: Vec<usize>,
}

/// What is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The rule files by name below `rules/`.
    pub files: BTreeMap<String, Znode>,
    /// Earlier versions.
    pub history: History,
    /// Places of files whose first version was never finished.
    pub(super) unfinished: BTreeMap<String, Znode>,
    /// All paths below `rules/`.
    pub(super) paths: BTreeSet<String>,
}

impl Snapshot {
    /// Returns the hashes by name.
    #[must_use]
    pub fn hashes(&self) -> BTreeMap<String, String> {
        self.files.iter().map(|(name, file)| (name.clone(), file.sha256.clone())).collect()
    }

    /// Returns the names that other clients changed since the newest version, sorted. Before the first one there is none.
    #[must_use]
    pub fn outside(&self) -> Vec<String> {
        differing(&self.history.head_hashes(), &self.hashes())
    }

    /// Returns the files as they are.
    #[must_use]
    pub fn texts(&self) -> Files {
        self.files.iter().map(|(name, file)| (name.clone(), file.text.clone())).collect()
    }
}

/// Returns the names that one side lacks or has otherwise, sorted.
#[must_use]
pub fn differing(left: &BTreeMap<String, String>, right: &BTreeMap<String, String>) -> Vec<String> {
    let names: BTreeSet<&String> = left.keys().chain(right.keys()).collect();
    names.into_iter().filter(|name| left.get(*name) != right.get(*name)).cloned().collect()
}

/// Reads the rule files and their history.
///
/// # Errors
/// When ZooKeeper does not answer, or a rule file must not be read.
pub async fn read(client: &Arc<dyn Client>, root: &str) -> Result<Snapshot, PushError> {
    client.sync("/").await?;
    let folder = paths::rules(root);
    let tree = tree_cache::read_all(client, &folder, &[]).await?;
    let mut snapshot = Snapshot { history: history::read(client, root).await?, ..Snapshot::default() };
    snapshot.paths = tree.below(&folder).map(|(path, _)| path.to_owned()).collect();
    for (path, node) in rules::znodes(&tree, root) {
        if node.denied {
            return Err(PushError::Denied(path.to_owned()));
        }
        let below = tree.below(path).filter_map(|(child, part)| Some((child.strip_prefix(path)?.strip_prefix('/')?, part)));
        let parts: Vec<_> = below.filter_map(|(name, part)| Some((packing::part_number(name)?, part.data.len()))).collect();
        let content = rules::content(&tree, path, node);
        let broken = content.as_ref().err().cloned();
        let text = content.unwrap_or_else(|_| node.data.to_vec());
        let file = Znode {
            sha256: packing::sha256(&text),
            text,
            broken,
            version: node.version,
            modified_ms: node.modified_ms,
            stored: node.data.len() + parts.iter().map(|(_, bytes)| bytes).sum::<usize>(),
            parts: parts.iter().map(|(number, _)| *number).collect(),
        };
        let name = path.get(folder.len() + 1..).unwrap_or_default().to_owned();
        let to = if rules::is_unfinished(node) { &mut snapshot.unfinished } else { &mut snapshot.files };
        to.insert(name, file);
    }
    Ok(snapshot)
}

/// Reads the files of an earlier version. Those that are still so are taken from what is there.
///
/// # Errors
/// When the version or one of its texts is not there.
pub async fn read_version(client: &Arc<dyn Client>, root: &str, snapshot: &Snapshot, number: u64) -> Result<Files, PushError> {
    let push = snapshot.history.pushes.get(&number).ok_or(PushError::NoSuchPush(number))?;
    let mut files = Files::new();
    for (name, blob) in push.rules() {
        let text = match snapshot.files.get(name).filter(|file| file.sha256 == blob.sha256) {
            Some(file) => Some(file.text.clone()),
            None => history::read_blob(client, root, &blob.sha256).await?,
        };
        let text = text.ok_or_else(|| PushError::NoText { number, name: name.to_owned() })?;
        files.insert(name.to_owned(), text);
    }
    Ok(files)
}
