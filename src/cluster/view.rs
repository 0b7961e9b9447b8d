//! What the pages and the API show of ZooKeeper.

use super::leadership::Standing;
use super::members::{self, Member};
use crate::zookeeper::{Link, Status};

/// ZooKeeper as this server sees it now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterView {
    /// Whether `zookeeper.connect` is configured.
    pub configured: bool,
    /// The connect string.
    pub connect: String,
    /// The folder that is watched.
    pub root: String,
    /// The session.
    pub status: Status,
    /// Whether a complete tree was read in this process.
    pub synced: bool,
    /// The running servers, by id.
    pub members: Vec<Member>,
    /// Where this one stands.
    pub standing: Standing,
    /// The znodes below the root: path, bytes, version of the data, changed at (milliseconds since 1970), ephemeral.
    pub znodes: Vec<ZnodeView>,
}

/// One znode as it is listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ZnodeView {
    /// Its full path.
    pub path: String,
    /// Length of its data.
    pub bytes: usize,
    /// Version of its data.
    pub version: i32,
    /// When its data was last changed, milliseconds since 1970.
    pub modified_ms: i64,
    /// Whether it goes with a session.
    pub is_ephemeral: bool,
    /// Whether we may not read it.
    pub is_denied: bool,
}

/// Shows a session and its tree; no link: ZooKeeper is not configured.
#[must_use]
pub fn view(link: Option<&Link>, connect: &str, root: &str) -> ClusterView {
    let Some(link) = link else { return ClusterView::default() };
    let tree = link.tree.borrow().clone();
    let znode = |(path, node): (&String, &crate::zookeeper::Znode)| ZnodeView {
        path: path.clone(),
        bytes: node.data.len(),
        version: node.version,
        modified_ms: node.modified_ms,
        is_ephemeral: node.owner != 0,
        is_denied: node.denied,
    };
    ClusterView {
        configured: true,
        connect: connect.to_owned(),
        root: root.to_owned(),
        status: link.status.borrow().clone(),
        synced: tree.is_some(),
        members: tree.iter().flat_map(|tree| members::list(tree, root)).collect(),
        standing: Standing::default(),
        znodes: tree.iter().flat_map(|tree| tree.nodes.iter().map(znode)).collect(),
    }
}
