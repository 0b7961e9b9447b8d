//! Rule files in ZooKeeper: the tree's part below `rules/` as sources for the rule manager.
//!
//! A znode's data is plain YAML, so that any client can edit it, or the same packed as [`super::packing`] has it.

use super::packing::{self, Parts};
use crate::model::rule_source::{RuleOrigin, RuleSource, RuleSources, SourceError};
use crate::model::utf8;
use crate::zookeeper::tree_cache::join;
use crate::zookeeper::{Tree, Znode};

/// Why a file that may not be read is refused.
pub const DENIED: &str = "no permission to read this znode";

/// Returns the rule files of a tree, sorted by path. Folders and empty znodes are none.
#[must_use]
pub fn sources(tree: &Tree, root: &str) -> RuleSources {
    let files =
        znodes(tree, root).filter(|(_, node)| !is_unfinished(node)).map(|(path, node)| source(tree, path, node)).collect();
    RuleSources { files }
}

/// Returns the znodes that are rule files: those named so, and those that hold something.
pub(super) fn znodes<'a>(tree: &'a Tree, root: &str) -> impl Iterator<Item = (&'a str, &'a Znode)> + use<'a> {
    let is_named = |path: &str| std::path::Path::new(path).extension().is_some_and(|ending| ending == "yml" || ending == "yaml");
    let is_part = move |path: &str| {
        let parent = path.rsplit_once('/').filter(|(_, name)| packing::part_number(name).is_some()).map(|(parent, _)| parent);
        parent.and_then(|parent| Some(is_named(parent) || Parts::read(&tree.nodes.get(parent)?.data).is_some())) == Some(true)
    };
    tree.below(&super::paths::rules(root))
        .filter(move |(path, node)| (is_named(path) || node.denied || !node.data.is_empty()) && !is_part(path))
}

/// Returns whether this is the place of a file whose first version is still being written.
pub(super) fn is_unfinished(node: &Znode) -> bool {
    matches!(Parts::read(&node.data), Some(Ok(parts)) if parts.count == 0)
}

/// Returns a file's content.
pub(super) fn content(tree: &Tree, path: &str, node: &Znode) -> Result<Vec<u8>, String> {
    packing::unpack(&node.data, |name| tree.nodes.get(&join(path, name)).map(|part| &part.data))
}

/// Returns the version of each rule file of a tree by its path.
#[must_use]
pub fn versions(tree: &Tree, root: &str) -> std::collections::BTreeMap<String, u64> {
    let files = znodes(tree, root).filter(|(_, node)| !is_unfinished(node));
    files.map(|(path, node)| (path.to_owned(), version(tree, path, node))).collect()
}

/// The newest transaction of a file and the parts that count.
fn version(tree: &Tree, path: &str, node: &Znode) -> u64 {
    let parts = Parts::read(&node.data).and_then(Result::ok);
    let parts = parts.iter().flat_map(Parts::names).filter_map(|name| tree.nodes.get(&join(path, &name)));
    u64::try_from(parts.map(|part| part.mzxid).fold(node.mzxid, i64::max)).unwrap_or(0)
}

fn source(tree: &Tree, path: &str, node: &Znode) -> RuleSource {
    RuleSource {
        origin: RuleOrigin::Znode(path.to_owned()),
        text: text(tree, path, node),
        version: version(tree, path, node),
        modified_ms: (!node.denied).then_some(node.modified_ms),
    }
}

fn text(tree: &Tree, path: &str, node: &Znode) -> Result<String, SourceError> {
    if node.denied {
        return Err(SourceError::whole(DENIED));
    }
    Ok(utf8::decode(content(tree, path, node).map_err(SourceError::whole)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn node(data: &[u8]) -> Znode {
        Znode { data: Arc::from(data), mzxid: 7, czxid: 7, version: 0, modified_ms: 5, owner: 0, denied: false }
    }

    #[test]
    fn reads_plain_and_compressed_files_and_names_what_is_not_text() {
        let packed = packing::gzip(b"groups: []");
        let (parts, cut) = Parts::split(&packed, 3);
        let nodes = [
            ("/w/rules", node(b"")),
            ("/w/rules/a.yml", node(b"groups: []")),
            ("/w/rules/b.yml", node(&packed)),
            ("/w/rules/c.yml", node(&[0xff, 0xfe])),
            ("/w/rules/denied.yml", Znode { denied: true, ..node(b"") }),
            ("/w/rules/folder", node(b"")),
            ("/w/rules/folder/d.yml", node(b"")),
            ("/w/rules/parts.yml", node(&parts.line())),
            ("/w/rules/parts.yml/part-0000", node(b"left over from a push that was cut off")),
            ("/w/rules/parts.yml/part-0003", Znode { mzxid: 9, ..node(&cut[0].1) }),
            ("/w/rules/soon.yml", node(&Parts::unfinished().line())),
            ("/w/rules/soon.yml/part-0000", node(b"gro")),
            ("/w/rules/torn.yml", node(&packed[..packed.len() - 4])),
        ];
        let tree = Tree { nodes: nodes.into_iter().map(|(path, node)| (path.to_owned(), node)).collect(), ..Tree::default() };
        let found: Vec<_> = sources(&tree, "/w").files.into_iter().map(|file| (file.origin.to_string(), file.text)).collect();
        let expected = [
            ("zookeeper:/w/rules/a.yml", Ok("groups: []")),
            ("zookeeper:/w/rules/b.yml", Ok("groups: []")),
            ("zookeeper:/w/rules/c.yml", Err("not valid UTF-8: byte 0xff is no part of a character")),
            ("zookeeper:/w/rules/denied.yml", Err("no permission to read this znode")),
            ("zookeeper:/w/rules/folder/d.yml", Ok("")),
            ("zookeeper:/w/rules/parts.yml", Ok("groups: []")),
        ];
        for (found, expected) in found.iter().zip(expected) {
            assert_eq!((found.0.as_str(), found.1.as_deref().map_err(|error| error.reason.as_str())), expected);
        }
        assert_eq!(found.len(), 7);
        assert!(found[6].1.is_err());
        assert_eq!(sources(&tree, "/w").files[5].version, 9);
    }
}
