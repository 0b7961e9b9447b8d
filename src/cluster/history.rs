//! Earlier versions of the rule files: who changed what, when and why.
//!
//! `history/push-<sequence>` is a manifest in JSON: all rule files after that push with hash and size of their text. What they held lies
//! once in `blobs/<sha256>`, packed as [`super::packing`] has it. The newest [`PUSHES_MAX`] are kept; each push removes
//! what is older, and the blobs that nothing names any more. What other clients changed in between is a push of its own, of kind `outside`,
//! which whoever pushes next writes: so that there is always something to go back to.

use super::packing::{self, Parts};
use super::paths;
use crate::zookeeper::tree_cache::join;
use crate::zookeeper::{Client, Lifetime, ZNODE_BYTES_MAX, ZooKeeperError};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How many pushes are kept.
pub const PUSHES_MAX: usize = 100;
/// How many requests are under way at once.
pub(super) const AT_ONCE: usize = 64;
/// A blob that nothing names may belong to a push that is just under way; older ones do not.
const BLOB_LEFT_ALONE_MS: i64 = 3_600_000;

/// What made a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// `rules push`.
    Push,
    /// `rules rollback`.
    Rollback,
    /// Another client of ZooKeeper.
    Outside,
}

/// A file's text by its hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blob {
    /// Hash of the text, hexadecimal.
    pub sha256: String,
    /// Its length in bytes.
    pub size: usize,
}

/// One version of all rule files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Push {
    /// Its number. They only grow.
    #[serde(rename = "push")]
    pub number: u64,
    /// What made it.
    pub kind: Kind,
    /// Who.
    pub who: String,
    /// When, RFC 3339.
    pub at: String,
    /// Why.
    pub why: String,
    /// The version before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<u64>,
    /// The version whose files these are again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restores: Option<u64>,
    /// Path below the root -> text.
    pub files: BTreeMap<String, Blob>,
}

impl Push {
    /// Returns the rule files: name below `rules/` -> text.
    pub fn rules(&self) -> impl Iterator<Item = (&str, &Blob)> {
        self.files.iter().filter_map(|(path, blob)| Some((path.strip_prefix("rules/")?, blob)))
    }

    /// Says who made it and why: `push 7 by li@web1 at ... (why)`.
    #[must_use]
    pub fn words(&self) -> String {
        let why = if self.why.is_empty() { String::new() } else { format!(" ({})", self.why) };
        format!("push {} by {} at {}{why}", self.number, self.who, self.at)
    }
}

/// The name of a version's znode.
#[must_use]
pub fn name(number: u64) -> String {
    format!("push-{number:010}")
}

/// All versions that are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// By number.
    pub pushes: BTreeMap<u64, Push>,
    /// Names that are no manifest, and why. They are kept, and count as numbers.
    pub unreadable: Vec<(String, String)>,
    numbers: BTreeSet<u64>,
}

impl History {
    /// Returns the newest version.
    #[must_use]
    pub fn head(&self) -> Option<&Push> {
        self.pushes.last_key_value().map(|(_, push)| push)
    }

    /// Returns the number of the kept version before another.
    #[must_use]
    pub fn before(&self, number: u64) -> Option<u64> {
        self.pushes.range(..number).next_back().map(|(number, _)| *number)
    }

    /// Returns the number of the next version.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.numbers.last().map_or(1, |last| last.saturating_add(1))
    }

    /// Returns the hashes of the newest version by name below `rules/`.
    #[must_use]
    pub fn head_hashes(&self) -> BTreeMap<String, String> {
        let files = self.head().into_iter().flat_map(Push::rules);
        files.map(|(name, blob)| (name.to_owned(), blob.sha256.clone())).collect()
    }

    /// Returns the version in which a file got the text that it has now; `None`: none that is kept.
    #[must_use]
    pub fn made_by(&self, name: &str, sha256: &str) -> Option<&Push> {
        let has = |push: &&Push| push.rules().any(|(known, blob)| known == name && blob.sha256 == sha256);
        self.pushes.values().rev().take_while(has).last()
    }

    /// Returns the znodes to remove so that after `more` new versions no more than [`PUSHES_MAX`] are left.
    #[must_use]
    pub fn too_old(&self, more: usize) -> Vec<u64> {
        let surplus = (self.numbers.len() + more).saturating_sub(PUSHES_MAX);
        self.numbers.iter().take(surplus).copied().collect()
    }
}

/// Writes a manifest as it lies in a znode.
#[must_use]
pub fn encode(push: &Push) -> Vec<u8> {
    // It has only texts and numbers, which JSON always has a form for.
    let text = serde_json::to_vec_pretty(push).unwrap_or_default();
    if text.len() > 64 * 1024 { packing::gzip(&text) } else { text }
}

/// Reads a manifest.
///
/// # Errors
/// When it is none, in words.
pub fn decode(data: &[u8]) -> Result<Push, String> {
    let text = packing::unpack(data, |_| None::<Vec<u8>>)?;
    serde_json::from_slice(&text).map_err(|error| error.to_string())
}

/// Reads all versions.
///
/// # Errors
/// When ZooKeeper does not answer or forbids it.
pub async fn read(client: &Arc<dyn Client>, root: &str) -> Result<History, ZooKeeperError> {
    let folder = join(root, paths::HISTORY);
    let names = client.children(&folder).await?.unwrap_or_default();
    let number_of = |name: &str| name.strip_prefix("push-").and_then(|digits| digits.parse().ok());
    let known: Vec<(u64, String)> = names.iter().filter_map(|found| Some((number_of(found)?, join(&folder, found)))).collect();
    let mut history = History { numbers: known.iter().map(|(number, _)| *number).collect(), ..History::default() };
    let reads = known.into_iter().map(|(number, path)| async move { Ok((number, client.get(&path).await?)) });
    let read: Vec<(u64, _)> = stream::iter(reads).buffer_unordered(AT_ONCE).try_collect().await?;
    for (number, node) in read {
        let Some(node) = node else { continue };
        match decode(&node.data) {
            Ok(push) if push.number == number => {
                history.pushes.insert(number, push);
            }
            Ok(push) => history.unreadable.push((name(number), format!("says that it is push {}", push.number))),
            Err(error) => history.unreadable.push((name(number), error)),
        }
    }
    Ok(history)
}

/// Reads a text by its hash; `None`: it is not there, or another one.
///
/// # Errors
/// When ZooKeeper does not answer or forbids it.
pub async fn read_blob(client: &Arc<dyn Client>, root: &str, sha256: &str) -> Result<Option<Vec<u8>>, ZooKeeperError> {
    let path = join(&join(root, paths::BLOBS), sha256);
    let Some(node) = client.get(&path).await? else { return Ok(None) };
    let mut parts = BTreeMap::new();
    if let Some(Ok(named)) = Parts::read(&node.data) {
        for name in named.names() {
            let part = client.get(&join(&path, &name)).await?;
            parts.extend(part.map(|part| (name, part.data)));
        }
    }
    let text = packing::unpack(&node.data, |name| parts.get(name));
    Ok(text.ok().filter(|text| packing::sha256(text) == sha256))
}

/// Writes a text below its hash, if it is not there already and whole.
///
/// # Errors
/// When ZooKeeper does not answer or forbids it; a part may have been written, which counts for nothing.
pub async fn write_blob(client: &Arc<dyn Client>, root: &str, sha256: &str, text: &[u8]) -> Result<(), ZooKeeperError> {
    let path = join(&join(root, paths::BLOBS), sha256);
    let packed = packing::gzip(text);
    let packed = if packed.len() < text.len() { packed } else { text.to_vec() };
    if packed.len() <= ZNODE_BYTES_MAX {
        match client.create(&path, &packed, Lifetime::Persistent).await {
            Err(ZooKeeperError::NodeExists(_)) => {}
            done => return done,
        }
    }
    if read_blob(client, root, sha256).await?.is_some() {
        return Ok(());
    }
    // What a push left that was cut off, or nothing.
    remove_blob(client, &path).await?;
    if packed.len() <= ZNODE_BYTES_MAX {
        return client.create(&path, &packed, Lifetime::Persistent).await;
    }
    let (parts, cut) = Parts::split(&packed, 0);
    client.create(&path, &parts.line(), Lifetime::Persistent).await?;
    for (name, part) in cut {
        client.create(&join(&path, &name), &part, Lifetime::Persistent).await?;
    }
    Ok(())
}

async fn remove_blob(client: &Arc<dyn Client>, path: &str) -> Result<(), ZooKeeperError> {
    for name in client.children(path).await?.unwrap_or_default() {
        gone(client.delete(&join(path, &name), None).await)?;
    }
    gone(client.delete(path, None).await)
}

fn gone(done: Result<(), ZooKeeperError>) -> Result<(), ZooKeeperError> {
    match done {
        Err(ZooKeeperError::NoNode(_)) => Ok(()),
        done => done,
    }
}

/// Removes the texts that no version names, if they are older than an hour; answers how many.
///
/// # Errors
/// When ZooKeeper does not answer or forbids it; what is left goes the next time.
pub async fn sweep(client: &Arc<dyn Client>, root: &str, now_ms: i64) -> Result<usize, ZooKeeperError> {
    let history = read(client, root).await?;
    if !history.unreadable.is_empty() {
        // Nobody can say what those name.
        return Ok(0);
    }
    let named: BTreeSet<&str> =
        history.pushes.values().flat_map(|push| push.files.values()).map(|blob| blob.sha256.as_str()).collect();
    let folder = join(root, paths::BLOBS);
    let mut removed = 0;
    for name in client.children(&folder).await?.unwrap_or_default() {
        let path = join(&folder, &name);
        if !named.contains(name.as_str())
            && client.get(&path).await?.is_some_and(|node| now_ms - node.modified_ms > BLOB_LEFT_ALONE_MS)
        {
            remove_blob(client, &path).await?;
            removed += 1;
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(number: u64, files: &[(&str, &str)]) -> Push {
        let blob = |text: &str| Blob { sha256: packing::sha256(text.as_bytes()), size: text.len() };
        Push {
            number,
            kind: Kind::Push,
            who: "li@web1".to_owned(),
            at: "2026-01-02T03:04:05Z".to_owned(),
            why: "lower limits".to_owned(),
            parent: number.checked_sub(1).filter(|parent| *parent > 0),
            restores: None,
            files: files.iter().map(|(name, text)| (format!("rules/{name}"), blob(text))).collect(),
        }
    }

    fn history(pushes: Vec<Push>) -> History {
        let pushes: BTreeMap<u64, Push> = pushes.into_iter().map(|push| (push.number, push)).collect();
        History { numbers: pushes.keys().copied().collect(), pushes, unreadable: Vec::new() }
    }

    #[test]
    fn a_manifest_says_who_when_why_and_comes_back() {
        let one = push(7, &[("a.yml", "x")]);
        let text = String::from_utf8(encode(&one)).unwrap();
        for word in ["\"push\": 7", "\"who\": \"li@web1\"", "\"why\": \"lower limits\"", "\"rules/a.yml\"", "\"parent\": 6"] {
            assert!(text.contains(word), "{word}: {text}");
        }
        assert_eq!(decode(&encode(&one)).unwrap(), one);
        assert_eq!(one.words(), "push 7 by li@web1 at 2026-01-02T03:04:05Z (lower limits)");
        let many: Vec<(String, &str)> = (0..2000).map(|number| (format!("{number}.yml"), "x")).collect();
        let many: Vec<(&str, &str)> = many.iter().map(|(name, text)| (name.as_str(), *text)).collect();
        let large = push(8, &many);
        assert!(encode(&large).starts_with(&[0x1f, 0x8b]));
        assert_eq!(decode(&encode(&large)).unwrap(), large);
        assert!(decode(b"rubbish").is_err());
    }

    #[test]
    fn who_made_a_text_is_the_first_of_those_that_have_it_now() {
        let all = history(vec![
            push(1, &[("a.yml", "old"), ("b.yml", "b")]),
            push(2, &[("a.yml", "new")]),
            push(3, &[("a.yml", "old"), ("b.yml", "b")]),
            push(4, &[("a.yml", "old"), ("b.yml", "b2")]),
        ]);
        let made_by = |name: &str, text: &str| all.made_by(name, &packing::sha256(text.as_bytes())).map(|push| push.number);
        assert_eq!([made_by("a.yml", "old"), made_by("b.yml", "b2"), made_by("b.yml", "by hand")], [Some(3), Some(4), None]);
        assert_eq!((all.next(), all.head().unwrap().number), (5, 4));
        assert_eq!(History::default().next(), 1);
    }

    #[test]
    fn the_newest_hundred_are_kept() {
        let all = history((5..105).map(|number| push(number, &[])).collect());
        assert_eq!((all.too_old(0), all.too_old(2)), (vec![], vec![5, 6]));
    }
}
