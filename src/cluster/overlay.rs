//! The configuration's overlay in ZooKeeper: the znode `config` and one job in each znode below `config/scrape`, as texts; and
//! what a server shows of what it made of them.
//!
//! A znode's data is plain YAML, or the same packed as [`super::packing`] has it. What the texts mean is [`crate::config::overlay`]'s.

use super::packing::{self, Parts};
use super::paths;
use crate::config::ConfigError;
use crate::config::Spot;
use crate::config::overlay::Part;
use crate::model::utf8;
use crate::state::{Change, State, StateError};
use crate::zookeeper::tree_cache::join;
use crate::zookeeper::{Tree, Znode};
use std::collections::BTreeMap;

/// One znode of the overlay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// Its full path.
    pub path: String,
    /// What it says, or why that cannot be read.
    pub text: Result<String, ConfigError>,
    /// The transaction that last changed it.
    pub mzxid: i64,
    /// When it was last changed, milliseconds since 1970.
    pub modified_ms: i64,
}

/// The overlay as it lies in ZooKeeper.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Texts {
    /// The znode `config`; `None`: it is not there, or empty.
    pub config: Option<Text>,
    /// The jobs, sorted by path.
    pub scrape: Vec<Text>,
}

impl Texts {
    /// Goes through all znodes.
    pub fn iter(&self) -> impl Iterator<Item = &Text> {
        self.config.iter().chain(&self.scrape)
    }
}

/// Finds the overlay in a tree.
///
/// # Errors
/// The path of a folder that may not be read: what is in it is not known then, which is not the same as nothing.
pub fn read(tree: &Tree, root: &str) -> Result<Texts, String> {
    let config = join(root, paths::CONFIG);
    let scrape = join(root, paths::SCRAPE);
    let is_denied = |path: &&str| tree.nodes.get(*path).is_some_and(|node| node.denied);
    if let Some(denied) = [root, &config, &scrape].into_iter().find(is_denied) {
        return Err(denied.to_owned());
    }
    let own = tree.nodes.get(&config).filter(|node| !node.data.is_empty() && !is_unfinished(node));
    let is_job = |(path, node): &(&str, &Znode)| {
        let is_direct =
            path.strip_prefix(&scrape).and_then(|name| name.strip_prefix('/')).is_some_and(|name| !name.contains('/'));
        let is_named = path.ends_with(".yml") || path.ends_with(".yaml");
        is_direct && (is_named || node.denied || !node.data.is_empty()) && !is_unfinished(node)
    };
    Ok(Texts {
        config: own.map(|node| text(tree, &config, node)),
        scrape: tree.below(&scrape).filter(is_job).map(|(path, node)| text(tree, path, node)).collect(),
    })
}

fn is_unfinished(node: &Znode) -> bool {
    matches!(Parts::read(&node.data), Some(Ok(parts)) if parts.count == 0)
}

fn text(tree: &Tree, path: &str, node: &Znode) -> Text {
    let part = |name: &str| tree.nodes.get(&join(path, name));
    let named = Parts::read(&node.data).and_then(Result::ok);
    let parts = named.iter().flat_map(Parts::names).filter_map(|name| part(&name));
    let mzxid = parts.map(|part| part.mzxid).fold(node.mzxid, i64::max);
    let read = || {
        if node.denied {
            return Err(ConfigError::whole(path, "no permission to read this znode"));
        }
        let bytes = packing::unpack(&node.data, |name| part(name).map(|part| &part.data));
        let bytes = bytes.map_err(|reason| ConfigError::whole(path, reason))?;
        utf8::decode(bytes)
            .map_err(|error| ConfigError::at(Spot { line: error.line, column: error.column }, error.to_string()).in_file(path))
    };
    Text { path: path.to_owned(), text: read(), mzxid, modified_ms: node.modified_ms }
}

/// A znode of the overlay as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZnodeView {
    /// Its full path.
    pub path: String,
    /// The transaction that last changed it.
    pub mzxid: i64,
    /// When it was last changed, milliseconds since 1970.
    pub modified_ms: i64,
    /// Why its present text is not in force; line and column are 0 where the whole is meant.
    pub refused: Option<ConfigError>,
    /// Whether something of it is in force: its present text, or its last good one.
    pub is_active: bool,
}

/// What a server made of the overlay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OverlayView {
    /// The znodes, and folders that may not be read.
    pub znodes: Vec<ZnodeView>,
    /// Where each part of the configuration comes from.
    pub parts: Vec<Part>,
    /// The newest transaction of the texts that are in force; 0: none.
    pub version: i64,
}

fn prefix(root: &str) -> Vec<u8> {
    format!("zookeeper-config/{root}\0").into_bytes()
}

/// Reads the texts that were last in force, by path. Blocks.
///
/// # Errors
/// When the state store cannot be read.
pub fn load_good(state: &dyn State, root: &str) -> Result<BTreeMap<String, String>, StateError> {
    let prefix = prefix(root);
    let entry = |(key, value): (Vec<u8>, Vec<u8>)| {
        let path = String::from_utf8(key.get(prefix.len()..)?.to_vec()).ok()?;
        Some((path, String::from_utf8(value).ok()?))
    };
    Ok(state.scan(&prefix)?.into_iter().filter_map(entry).collect())
}

/// Saves the texts that are in force, where they differ from `before`. Blocks; durable when it returns.
///
/// # Errors
/// When the state store cannot be written.
pub fn save_good(
    state: &dyn State,
    root: &str,
    before: &BTreeMap<String, String>,
    now: &BTreeMap<String, String>,
) -> Result<(), StateError> {
    let prefix = prefix(root);
    let key = |path: &str| [&prefix, path.as_bytes()].concat();
    let fresh = now.iter().filter(|(path, text)| before.get(*path) != Some(*text));
    let put = fresh.map(|(path, text)| Change::Put(key(path), text.clone().into_bytes()));
    let gone = before.keys().filter(|path| !now.contains_key(*path)).map(|path| Change::Delete(key(path)));
    let batch: Vec<Change> = put.chain(gone).collect();
    if batch.is_empty() {
        return Ok(());
    }
    state.apply(&batch)?;
    state.sync()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::memory::MemoryState;
    use std::sync::Arc;

    fn node(data: &[u8]) -> Znode {
        Znode { data: Arc::from(data), mzxid: 7, czxid: 7, version: 0, modified_ms: 5, owner: 0, denied: false }
    }

    fn tree(nodes: &[(&str, Znode)]) -> Tree {
        Tree { nodes: nodes.iter().map(|(path, node)| ((*path).to_owned(), node.clone())).collect(), ..Tree::default() }
    }

    #[test]
    fn finds_plain_packed_and_broken_texts() {
        let (parts, cut) = Parts::split(b"job_name: p", 0);
        let found = tree(&[
            ("/w", node(b"")),
            ("/w/config", node(&packing::gzip(b"overrides: {}"))),
            ("/w/config/scrape", node(b"")),
            ("/w/config/scrape/a.yml", node(b"job_name: a")),
            ("/w/config/scrape/binary.yml", node(&[b'a', b'\n', 0xff])),
            ("/w/config/scrape/denied.yml", Znode { denied: true, ..node(b"") }),
            ("/w/config/scrape/folder", node(b"")),
            ("/w/config/scrape/folder/x.yml", node(b"job_name: x")),
            ("/w/config/scrape/parts.yml", node(&parts.line())),
            ("/w/config/scrape/parts.yml/part-0000", Znode { mzxid: 9, ..node(&cut[0].1) }),
            ("/w/config/scrape/torn", node(&packing::gzip(b"job_name: t")[..9])),
        ]);
        let read = read(&found, "/w").unwrap();
        assert_eq!(read.config.as_ref().unwrap().text.as_deref(), Ok("overrides: {}"));
        let told: Vec<String> = read
            .scrape
            .iter()
            .map(|text| match &text.text {
                Ok(words) => format!("{} {} {words}", text.path, text.mzxid),
                Err(error) => error.to_string(),
            })
            .collect();
        assert_eq!(told[0], "/w/config/scrape/a.yml 7 job_name: a");
        assert!(told[1].starts_with("/w/config/scrape/binary.yml:2:1: not valid UTF-8"), "{told:?}");
        assert_eq!(told[2], "/w/config/scrape/denied.yml: no permission to read this znode");
        assert_eq!(told[3], "/w/config/scrape/parts.yml 9 job_name: p");
        assert!(told[4].starts_with("/w/config/scrape/torn: gzip: "), "{told:?}");
        assert_eq!(told.len(), 5);
    }

    #[test]
    fn nothing_there_is_not_the_same_as_not_to_be_read() {
        assert_eq!(read(&tree(&[("/w", node(b"")), ("/w/config", node(b""))]), "/w"), Ok(Texts::default()));
        for folder in ["/w", "/w/config", "/w/config/scrape"] {
            let denied = tree(&[(folder, Znode { denied: true, ..node(b"") })]);
            assert_eq!(read(&denied, "/w"), Err(folder.to_owned()));
        }
    }

    #[test]
    fn what_was_good_comes_back() {
        let state = MemoryState::default();
        let texts = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
        };
        let first = texts(&[("/w/config", "a"), ("/w/config/scrape/x", "b")]);
        save_good(&state, "/w", &BTreeMap::new(), &first).unwrap();
        assert_eq!(load_good(&state, "/w").unwrap(), first);
        let second = texts(&[("/w/config", "c")]);
        save_good(&state, "/w", &first, &second).unwrap();
        assert_eq!(load_good(&state, "/w").unwrap(), second);
        assert_eq!(load_good(&state, "/other").unwrap(), BTreeMap::new());
    }
}
