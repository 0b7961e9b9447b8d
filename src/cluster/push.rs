//! A new version of the rule files, written at once or not at all.
//!
//! What is there is read ([`super::snapshot`]), compared with what is wanted ([`changes`], [`conflicts`]), and then one transaction checks the version of
//! every rule file, changes those that differ and adds the history's entry ([`perform`]). What is too large for it is written before, where nobody
//! looks: blobs, and parts that no znode names yet. Whether the texts are good rules is for others to say, before.

use super::history::{self, AT_ONCE, History, Kind, Push};
use super::packing::{self, Parts, TEXT_BYTES_MAX};
use super::snapshot::{Snapshot, differing};
use super::{outside, paths};
use crate::zookeeper::tree_cache::join;
use crate::zookeeper::{Client, Lifetime, Operation, ZNODE_BYTES_MAX, ZooKeeperError};
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// All texts of a version together: a server reads trees of up to 64 MiB.
const ALL_BYTES_MAX: usize = 48 << 20;
/// What an operation takes in a transaction beside path and data.
const OPERATION_BYTES: usize = 64;
/// How often a lost connection is waited for, five seconds each, to learn what became of a transaction.
const ASKED_AGAIN: usize = 4;

/// Files by name below `rules/`.
pub type Files = BTreeMap<String, Vec<u8>>;

/// Why nothing was written, or what is not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// ZooKeeper does not answer, or forbids it.
    #[error(transparent)]
    ZooKeeper(#[from] ZooKeeperError),
    /// A rule file must not be read by us.
    #[error("no permission to read {0}")]
    Denied(String),
    /// Somebody was faster.
    #[error("{0}; nothing was written: pull first")]
    Conflict(String),
    /// More than there may be.
    #[error("{0}; nothing was written")]
    TooLarge(String),
    /// There is no such version.
    #[error("push {0} is not in the history")]
    NoSuchPush(u64),
    /// A version's text is gone.
    #[error("push {number}: the text of {name} is not in blobs/ any more")]
    NoText {
        /// The version.
        number: u64,
        /// The file.
        name: String,
    },
    /// The connection broke at the decisive moment.
    #[error("the connection broke before the answer: whether push {0} was written is not known; see `rules history`")]
    Unknown(u64),
}

/// What becomes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is new.
    Add,
    /// It gets another text.
    Set,
    /// It goes.
    Delete,
}

impl Change {
    /// Returns `+`, `~` or `-`.
    #[must_use]
    pub const fn sign(self) -> char {
        match self {
            Self::Add => '+',
            Self::Set => '~',
            Self::Delete => '-',
        }
    }
}

/// Tells what makes one set of files of another, given by their hashes.
#[must_use]
pub fn changes(from: &BTreeMap<String, String>, to: &BTreeMap<String, String>) -> BTreeMap<String, Change> {
    let change = |name: &str| match (from.contains_key(name), to.contains_key(name)) {
        (false, _) => Change::Add,
        (true, true) => Change::Set,
        (true, false) => Change::Delete,
    };
    differing(from, to).into_iter().map(|name| (name.clone(), change(&name))).collect()
}

/// Returns the hashes of files.
#[must_use]
pub fn hashes(files: &Files) -> BTreeMap<String, String> {
    files.iter().map(|(name, text)| (name.clone(), packing::sha256(text))).collect()
}

/// Says of each file that somebody changed since `base`, and that would now be changed back or otherwise: who it was.
#[must_use]
pub fn conflicts(
    snapshot: &Snapshot,
    base: &BTreeMap<String, String>,
    wanted: &BTreeMap<String, String>,
    time: impl Fn(i64) -> String,
) -> Vec<String> {
    let there = snapshot.hashes();
    let meanwhile: BTreeSet<String> = differing(base, &there).into_iter().collect();
    let touched = differing(&there, wanted).into_iter().filter(|name| meanwhile.contains(name));
    let words = |name: String| match snapshot.files.get(&name) {
        None => format!("{name}: deleted meanwhile by {}", deleted_by(&snapshot.history, &name)),
        Some(file) => match snapshot.history.made_by(&name, &file.sha256) {
            Some(push) => format!("{name}: changed meanwhile by {}", push.words()),
            None => format!("{name}: changed meanwhile by another client at {}", time(file.modified_ms)),
        },
    };
    touched.map(words).collect()
}

fn deleted_by(history: &History, name: &str) -> String {
    let lacks = |push: &&Push| !push.rules().any(|(known, _)| known == name);
    let push = history.pushes.values().rev().take_while(lacks).last();
    push.map_or_else(|| "another client".to_owned(), Push::words)
}

/// Who pushes, when and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Who: `user@host`.
    pub who: String,
    /// Now, milliseconds since 1970.
    pub now_ms: i64,
    /// The same, RFC 3339.
    pub at: String,
    /// Why.
    pub why: String,
    /// The version that is restored; `None`: a push.
    pub restores: Option<u64>,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// The number of the new version.
    pub number: u64,
    /// The version that keeps what other clients had changed before.
    pub outside: Option<u64>,
}

/// A file as it is going to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stored {
    Whole(Vec<u8>),
    Parts(Vec<u8>),
}

impl Stored {
    /// Bytes in the transaction.
    fn bytes(&self) -> usize {
        match self {
            Self::Whole(data) => data.len(),
            Self::Parts(_) => 128,
        }
    }
}

/// Decides how files are stored so that together they take no more than `budget` bytes of a transaction: as they are, so that any client
/// can edit them, then the largest compressed, then the largest in parts.
fn store<'a>(texts: impl Iterator<Item = (&'a str, &'a [u8])>, budget: usize) -> BTreeMap<&'a str, Stored> {
    let mut stored: BTreeMap<&str, Stored> = texts.map(|(name, text)| (name, Stored::Whole(text.to_vec()))).collect();
    for in_parts in [false, true] {
        let mut sizes: Vec<(usize, &str)> = stored.iter().map(|(name, file)| (file.bytes(), *name)).collect();
        sizes.sort_unstable();
        let mut total: usize = sizes.iter().map(|(bytes, _)| bytes).sum();
        while total > budget {
            let Some((bytes, name)) = sizes.pop() else { break };
            let Some(file) = stored.get_mut(name) else { continue };
            let Stored::Whole(data) = &*file else { continue };
            let smaller = if in_parts { Stored::Parts(data.clone()) } else { Stored::Whole(packing::gzip(data)) };
            total = total - bytes + smaller.bytes().min(bytes);
            if smaller.bytes() < bytes {
                *file = smaller;
            }
        }
    }
    stored
}

/// Writes a new version; the files that differ must be good already. Answers `None` where nothing differs.
///
/// # Errors
/// [`PushError::Conflict`] when anything changed since `snapshot` was read; then, as after every other error but
/// [`PushError::Unknown`], nothing was written that counts.
pub async fn perform(
    client: &Arc<dyn Client>,
    root: &str,
    snapshot: &Snapshot,
    wanted: &Files,
    note: &Note,
) -> Result<Option<Pushed>, PushError> {
    let (there, hashes) = (snapshot.hashes(), hashes(wanted));
    let changes = changes(&there, &hashes);
    if changes.is_empty() {
        return Ok(None);
    }
    check_sizes(wanted)?;
    let manifests = manifests(snapshot, wanted, &hashes, note);
    let mut operations = Vec::new();
    for (name, file) in snapshot.files.iter().filter(|(name, _)| !changes.contains_key(*name)) {
        operations.push(Operation::Check { path: path_of(root, name), version: file.version });
    }
    folders(root, snapshot, &changes, &mut operations);
    for number in snapshot.history.too_old(manifests.len()) {
        operations.push(Operation::Delete { path: join(&join(root, paths::HISTORY), &history::name(number)), version: None });
    }
    for push in &manifests {
        let path = join(&join(root, paths::HISTORY), &history::name(push.number));
        operations.push(Operation::Create { path, data: history::encode(push), lifetime: Lifetime::Persistent });
    }
    let taken = bytes_of(&operations) + changes.keys().map(|name| path_of(root, name).len() + OPERATION_BYTES).sum::<usize>();
    let Some(budget) = (ZNODE_BYTES_MAX - 16 * 1024).checked_sub(taken) else {
        return Err(PushError::TooLarge(format!("{} files are more than one transaction of ZooKeeper takes", wanted.len())));
    };
    let texts = changes.iter().filter(|(_, change)| **change != Change::Delete);
    let texts = texts.filter_map(|(name, _)| Some((name.as_str(), wanted.get(name)?.as_slice())));
    let stored = store(texts, budget);
    let mut parts = Vec::new();
    for name in changes.keys() {
        change_file(root, name, snapshot, stored.get(name.as_str()), &mut operations, &mut parts);
    }
    if bytes_of(&operations) > ZNODE_BYTES_MAX {
        return Err(PushError::TooLarge("these changes are more than one transaction of ZooKeeper takes".to_owned()));
    }
    write_blobs(client, root, snapshot, wanted, &manifests).await?;
    let number = manifests.last().map_or(0, |push| push.number);
    let (written, parts_done) = write_parts(client, &parts).await;
    let outcome = match parts_done {
        Ok(()) => commit(client, root, number, &operations, &manifests).await,
        Err(error) => Err(error.into()),
    };
    match outcome {
        Ok(()) => {
            // What is left goes with the next push.
            let _swept = history::sweep(client, root, note.now_ms).await;
            Ok(Some(Pushed { number, outside: (manifests.len() > 1).then(|| number - 1) }))
        }
        Err(PushError::Unknown(number)) => Err(PushError::Unknown(number)),
        Err(error) => {
            // Only what is ours: another push may be writing there.
            for (path, _) in parts.iter().take(written).rev() {
                let _may_be_gone = client.delete(path, None).await;
            }
            match error {
                PushError::ZooKeeper(
                    ZooKeeperError::BadVersion(path) | ZooKeeperError::NodeExists(path) | ZooKeeperError::NoNode(path),
                ) => Err(lost(client, root, &path, number).await),
                error => Err(error),
            }
        }
    }
}

pub(super) fn path_of(root: &str, name: &str) -> String {
    join(&paths::rules(root), name)
}

pub(super) fn bytes_of(operations: &[Operation]) -> usize {
    let bytes = |operation: &Operation| match operation {
        Operation::Create { path, data, .. } | Operation::Set { path, data, .. } => path.len() + data.len(),
        Operation::Check { path, .. } | Operation::Delete { path, .. } => path.len(),
    };
    operations.iter().map(|operation| bytes(operation) + OPERATION_BYTES).sum()
}

fn check_sizes(files: &Files) -> Result<(), PushError> {
    if let Some((name, text)) = files.iter().find(|(_, text)| text.len() > TEXT_BYTES_MAX) {
        return Err(PushError::TooLarge(format!("{name}: {} bytes are more than {TEXT_BYTES_MAX}", text.len())));
    }
    let all: usize = files.values().map(Vec::len).sum();
    if all > ALL_BYTES_MAX {
        return Err(PushError::TooLarge(format!("{all} bytes of rule files are more than {ALL_BYTES_MAX}")));
    }
    Ok(())
}

/// The new version, and before it one with what other clients changed, if they did.
fn manifests(snapshot: &Snapshot, wanted: &Files, hashes: &BTreeMap<String, String>, note: &Note) -> Vec<Push> {
    let mut manifests = Vec::new();
    let mut parent = snapshot.history.head().map(|push| push.number);
    let mut number = snapshot.history.next();
    let mut add = |kind, who: &str, why: &str, restores, files| {
        manifests.push(Push {
            number,
            kind,
            who: who.to_owned(),
            at: note.at.clone(),
            why: why.to_owned(),
            parent,
            restores,
            files,
        });
        parent = Some(number);
        number += 1;
    };
    let outside = snapshot.outside();
    if !outside.is_empty() {
        add(Kind::Outside, outside::WHO, &outside::why(&outside), None, outside::files(snapshot));
    }
    let sizes = hashes.iter().map(|(name, sha256)| outside::blob(name, sha256, wanted.get(name).map_or(0, Vec::len))).collect();
    let kind = if note.restores.is_some() { Kind::Rollback } else { Kind::Push };
    add(kind, &note.who, &note.why, note.restores, sizes);
    manifests
}

/// Adds the folders that new files need.
fn folders(root: &str, snapshot: &Snapshot, changes: &BTreeMap<String, Change>, operations: &mut Vec<Operation>) {
    let mut made = BTreeSet::new();
    for (name, _) in changes.iter().filter(|(_, change)| **change == Change::Add) {
        for (at, _) in name.match_indices('/') {
            let path = path_of(root, name.get(..at).unwrap_or_default());
            if !snapshot.paths.contains(&path) && made.insert(path.clone()) {
                operations.push(Operation::Create { path, data: Vec::new(), lifetime: Lifetime::Persistent });
            }
        }
    }
}

/// Adds what changes one file, and to `before` what must be written ahead of it.
fn change_file(
    root: &str,
    name: &str,
    snapshot: &Snapshot,
    stored: Option<&Stored>,
    operations: &mut Vec<Operation>,
    before: &mut Vec<(String, Vec<u8>)>,
) {
    let path = path_of(root, name);
    let known = snapshot.files.get(name).or_else(|| snapshot.unfinished.get(name));
    let old = || known.iter().flat_map(|file| &file.parts).copied();
    for number in old() {
        operations.push(Operation::Delete { path: join(&path, &format!("part-{number:04}")), version: None });
    }
    let mut version = known.map(|file| file.version);
    let data = match stored {
        None => return operations.push(Operation::Delete { path, version }),
        Some(Stored::Whole(data)) => data.clone(),
        Some(Stored::Parts(bytes)) => {
            if version.is_none() {
                before.push((path.clone(), Parts::unfinished().line()));
                version = Some(0);
            }
            let from = old().max().map_or(0, |last| last + 1);
            let (parts, cut) = Parts::split(bytes, from);
            before.extend(cut.into_iter().map(|(part, data)| (join(&path, &part), data)));
            parts.line()
        }
    };
    operations.push(match version {
        Some(version) => Operation::Set { path, data, version: Some(version) },
        None => Operation::Create { path, data, lifetime: Lifetime::Persistent },
    });
}

pub(super) async fn write_blobs(
    client: &Arc<dyn Client>,
    root: &str,
    snapshot: &Snapshot,
    wanted: &Files,
    manifests: &[Push],
) -> Result<(), PushError> {
    for folder in [paths::RULES, paths::HISTORY, paths::BLOBS] {
        client.make_folders(&join(root, folder)).await?;
    }
    let known: BTreeSet<String> = snapshot.history.head_hashes().into_values().collect();
    let mut texts: BTreeMap<String, &[u8]> = BTreeMap::new();
    for (name, blob) in manifests.iter().flat_map(Push::rules).filter(|(_, blob)| !known.contains(&blob.sha256)) {
        let there = snapshot.files.get(name).filter(|file| file.sha256 == blob.sha256).map(|file| file.text.as_slice());
        if let Some(text) = there.or_else(|| wanted.get(name).map(Vec::as_slice)) {
            texts.insert(blob.sha256.clone(), text);
        }
    }
    let write = |(sha256, text): (&String, &&[u8])| -> BoxFuture<'_, Result<(), ZooKeeperError>> {
        let (sha256, text) = (sha256.clone(), text.to_vec());
        Box::pin(async move { history::write_blob(client, root, &sha256, &text).await })
    };
    let writes: Vec<_> = texts.iter().map(write).collect();
    Ok(stream::iter(writes).buffer_unordered(AT_ONCE).try_collect::<()>().await?)
}

/// Writes what no znode names yet; answers how many were written.
async fn write_parts(client: &Arc<dyn Client>, parts: &[(String, Vec<u8>)]) -> (usize, Result<(), ZooKeeperError>) {
    for (place, (path, data)) in parts.iter().enumerate() {
        if let Err(error) = client.create(path, data, Lifetime::Persistent).await {
            return (place, Err(error));
        }
    }
    (parts.len(), Ok(()))
}

/// Does the one transaction that counts. Where the connection breaks before the answer, the history tells what became of it.
pub(super) async fn commit(
    client: &Arc<dyn Client>,
    root: &str,
    number: u64,
    operations: &[Operation],
    manifests: &[Push],
) -> Result<(), PushError> {
    let error = match client.multi(operations).await {
        Ok(()) => return Ok(()),
        Err(error @ (ZooKeeperError::ConnectionLoss | ZooKeeperError::Timeout(_) | ZooKeeperError::Other(_))) => error,
        Err(ZooKeeperError::SessionEnded) => return Err(PushError::Unknown(number)),
        Err(error) => return Err(error.into()),
    };
    let path = join(&join(root, paths::HISTORY), &history::name(number));
    for _ in 0..ASKED_AGAIN {
        if client.sync("/").await.is_err() {
            continue;
        }
        match client.get(&path).await {
            Ok(Some(node)) if history::decode(&node.data).ok().as_ref() == manifests.last() => return Ok(()),
            Ok(_) => return Err(error.into()),
            Err(_) => {}
        }
    }
    Err(PushError::Unknown(number))
}

/// Says who was faster.
async fn lost(client: &Arc<dyn Client>, root: &str, path: &str, number: u64) -> PushError {
    let faster = history::read(client, root).await.ok().and_then(|mut history| history.pushes.remove(&number));
    let who = faster.map_or_else(|| "another client".to_owned(), |push| push.words());
    PushError::Conflict(format!("{path} was changed meanwhile by {who}"))
}

#[cfg(test)]
mod tests {
    use super::super::snapshot::Znode;
    use super::*;

    fn hashed(files: &[(&str, &str)]) -> BTreeMap<String, String> {
        files.iter().map(|(name, text)| ((*name).to_owned(), packing::sha256(text.as_bytes()))).collect()
    }

    fn snapshot(files: &[(&str, &str)]) -> Snapshot {
        let file = |text: &str| Znode {
            text: text.as_bytes().to_vec(),
            sha256: packing::sha256(text.as_bytes()),
            broken: None,
            version: 3,
            modified_ms: 5,
            stored: text.len(),
            parts: Vec::new(),
        };
        let files = files.iter().map(|(name, text)| ((*name).to_owned(), file(text))).collect();
        Snapshot { files, ..Snapshot::default() }
    }

    #[test]
    fn a_conflict_is_what_both_sides_changed_since_they_agreed() {
        let base = hashed(&[("both.yml", "1"), ("gone.yml", "1"), ("same.yml", "1"), ("theirs.yml", "1"), ("mine.yml", "1")]);
        let there = snapshot(&[("both.yml", "2"), ("same.yml", "2"), ("theirs.yml", "2"), ("mine.yml", "1"), ("new.yml", "2")]);
        let wanted = hashed(&[("both.yml", "3"), ("gone.yml", "1"), ("same.yml", "2"), ("theirs.yml", "1"), ("mine.yml", "3")]);
        let found = conflicts(&there, &base, &wanted, |at| format!("t{at}"));
        assert_eq!(
            found,
            [
                "both.yml: changed meanwhile by another client at t5",
                "gone.yml: deleted meanwhile by another client",
                "new.yml: changed meanwhile by another client at t5",
                "theirs.yml: changed meanwhile by another client at t5",
            ]
        );
        let signs: String = changes(&there.hashes(), &wanted).values().map(|change| change.sign()).collect();
        assert_eq!(signs, "~+~-~");
    }

    #[test]
    fn what_is_too_large_is_compressed_and_then_cut() {
        let easy = vec![b'x'; 500_000];
        let mut state = 1_u64;
        let hard: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        })
        .take(600_000)
        .collect();
        let small = b"groups: []".as_slice();
        let kinds = |budget: usize| {
            let files = [("easy", easy.as_slice()), ("hard", hard.as_slice()), ("small", small)];
            let stored = store(files.into_iter(), budget);
            assert!(stored.values().map(Stored::bytes).sum::<usize>() <= budget);
            let kind = |file: &Stored| match file {
                Stored::Whole(data) if data.starts_with(&[0x1f, 0x8b]) => 'z',
                Stored::Whole(_) => 'w',
                Stored::Parts(_) => 'p',
            };
            stored.values().map(kind).collect::<String>()
        };
        assert_eq!([kinds(2_000_000), kinds(800_000), kinds(100_000)], ["www", "zww", "zpw"]);
    }

    #[test]
    fn what_others_changed_is_kept_as_a_version_of_its_own_first() {
        let there = snapshot(&[("a.yml", "by hand")]);
        let wanted: Files = [("a.yml".to_owned(), b"pushed".to_vec())].into();
        let note = Note { who: "li".to_owned(), now_ms: 0, at: "t".to_owned(), why: "w".to_owned(), restores: None };
        let made = manifests(&there, &wanted, &hashes(&wanted), &note);
        let told: Vec<_> = made.iter().map(|push| (push.number, push.parent, push.kind, push.why.as_str())).collect();
        assert_eq!(told, [(1, None, Kind::Outside, "edited outside: a.yml"), (2, Some(1), Kind::Push, "w")]);
        assert_eq!(made[0].files["rules/a.yml"].sha256, packing::sha256(b"by hand"));
    }
}
