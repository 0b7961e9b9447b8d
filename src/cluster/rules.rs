//! Rule files in ZooKeeper: the tree's part below `rules/` as sources for the rule manager.
//!
//! A znode's data is plain YAML, so that any client can edit it, or the same gzip-compressed (real rule files shrink 3-8
//! times, so some 3 MB fit one znode).

use crate::model::rule_source::{RuleOrigin, RuleSource, RuleSources, SourceError};
use crate::model::utf8;
use crate::zookeeper::{Tree, Znode};
use std::io::Read as _;

/// A compressed file may not grow beyond this.
const TEXT_BYTES_MAX: u64 = 16 << 20;

/// Returns the rule files of a tree, sorted by path. Folders and empty znodes are none.
#[must_use]
pub fn sources(tree: &Tree, root: &str) -> RuleSources {
    let folder = super::paths::rules(root);
    let is_rule_file = |(path, node): &(&str, &Znode)| {
        let named = std::path::Path::new(path).extension().is_some_and(|ending| ending == "yml" || ending == "yaml");
        named || node.denied || !node.data.is_empty()
    };
    let files = tree.below(&folder).filter(is_rule_file).map(|(path, node)| source(path, node)).collect();
    RuleSources { files }
}

fn source(path: &str, node: &Znode) -> RuleSource {
    RuleSource {
        origin: RuleOrigin::Znode(path.to_owned()),
        text: text(node),
        version: u64::try_from(node.mzxid).unwrap_or(0),
        modified_ms: (!node.denied).then_some(node.modified_ms),
    }
}

fn text(node: &Znode) -> Result<String, SourceError> {
    if node.denied {
        return Err(SourceError::whole("no permission to read this znode"));
    }
    let bytes =
        if node.data.starts_with(&[0x1f, 0x8b]) { gunzip(&node.data).map_err(SourceError::whole)? } else { node.data.to_vec() };
    Ok(utf8::decode(bytes)?)
}

fn gunzip(data: &[u8]) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = flate2::read::GzDecoder::new(data).take(TEXT_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| format!("gzip: {error}"))?;
    if bytes.len() as u64 > TEXT_BYTES_MAX {
        return Err(format!("gzip: more than {TEXT_BYTES_MAX} bytes when unpacked"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::sync::Arc;

    fn node(data: &[u8]) -> Znode {
        Znode { data: Arc::from(data), mzxid: 7, czxid: 7, version: 0, modified_ms: 5, owner: 0, denied: false }
    }

    #[test]
    fn reads_plain_and_compressed_files_and_names_what_is_not_text() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(b"groups: []").unwrap();
        let packed = gzip.finish().unwrap();
        let nodes = [
            ("/w/rules", node(b"")),
            ("/w/rules/a.yml", node(b"groups: []")),
            ("/w/rules/b.yml", node(&packed)),
            ("/w/rules/c.yml", node(&[0xff, 0xfe])),
            ("/w/rules/denied.yml", Znode { denied: true, ..node(b"") }),
            ("/w/rules/folder", node(b"")),
            ("/w/rules/folder/d.yml", node(b"")),
            ("/w/rules/torn.yml", node(&packed[..packed.len() - 4])),
        ];
        let tree = Tree { nodes: nodes.into_iter().map(|(path, node)| (path.to_owned(), node)).collect() };
        let found: Vec<_> = sources(&tree, "/w").files.into_iter().map(|file| (file.origin.to_string(), file.text)).collect();
        let expected = [
            ("zookeeper:/w/rules/a.yml", Ok("groups: []")),
            ("zookeeper:/w/rules/b.yml", Ok("groups: []")),
            ("zookeeper:/w/rules/c.yml", Err("not valid UTF-8: byte 0xff is no part of a character")),
            ("zookeeper:/w/rules/denied.yml", Err("no permission to read this znode")),
            ("zookeeper:/w/rules/folder/d.yml", Ok("")),
        ];
        for (found, expected) in found.iter().zip(expected) {
            assert_eq!((found.0.as_str(), found.1.as_deref().map_err(|error| error.reason.as_str())), expected);
        }
        assert_eq!(found.len(), 6);
        assert!(found[5].1.is_err());
    }
}
