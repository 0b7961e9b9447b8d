//! A ZooKeeper session as streams of facts; knows nothing of what the znodes mean.
//!
//! ```text
//! session   owns the only client: Away -> Connecting -> Syncing -> Live -> (Disconnected -> Syncing | Expired -> Connecting)
//!   tree    one recursive watch on each root, path -> (data, mzxid, version, owner); re-armed and re-read after every reconnect
//! live      the crate behind it, the only place that names it
//! ```
//!
//! The crate loses persistent watches on every reconnect without a word, answers no request while it is disconnected, and
//! panics when a watcher is asked again after its end. All of that is dealt with here: every request has its own time limit, one path of code
//! arms and reads the tree at the first start, after a reconnect and in a new session, and a watcher is never asked after a final event.

mod live;
mod metrics;
mod session;
#[cfg(test)]
mod session_tests;
mod timed;
pub mod tree_cache;

pub use session::{Link, SessionStatus, Status, start, start_foreign};
pub use tree_cache::{Tree, Znode};

use crate::config::{FilePath, TlsConfig};
use futures_util::future::BoxFuture;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The largest data of a znode that is written: the server closes the connection, without an error, at 1 MiB a packet.
pub const ZNODE_BYTES_MAX: usize = 900 * 1024;
/// The largest number of znodes that is read below the root.
pub const TREE_ZNODES_MAX: usize = 20_000;
/// The largest sum of data that is read below the root.
pub const TREE_BYTES_MAX: usize = 64 << 20;

/// How to reach an ensemble.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// `host:port,host:port/chroot`.
    pub connect: String,
    /// The folder that is watched, below the chroot.
    pub root: String,
    /// The session's time-out as asked; the server may choose another.
    pub session_timeout: Duration,
    /// `user:password` for digest authentication.
    pub digest: Option<String>,
    /// TLS; `None`: plain.
    pub tls: Option<Tls>,
    /// Folders below the root whose content the tree does without.
    pub unread: Vec<String>,
    /// Whether all of it is somebody else's: nothing is made then, not even the chroot.
    pub is_foreign: bool,
}

/// A text in PEM, or where it lies.
#[derive(Clone, PartialEq, Eq)]
pub enum Pem {
    /// The text itself.
    Text(String),
    /// A file, read anew for each session: renewed certificates need no restart.
    File(PathBuf),
}

impl std::fmt::Debug for Pem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(_) => f.write_str("<PEM>"),
            Self::File(path) => path.fmt(f),
        }
    }
}

/// How a connection is encrypted. The servers' certificates must be for the names in the connect string.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Authorities; `None`: the system's.
    pub ca: Option<Pem>,
    /// Our certificate and its key.
    pub identity: Option<(Pem, Pem)>,
}

impl Tls {
    /// Takes it from the configuration.
    #[must_use]
    pub fn from_config(config: &TlsConfig) -> Self {
        let pem = |text: &str, file: &FilePath| match (text, file.is_empty()) {
            (_, false) => Some(Pem::File(file.path().to_owned())),
            ("", true) => None,
            (text, true) => Some(Pem::Text(text.to_owned())),
        };
        Self {
            ca: pem(&config.ca, &config.ca_file),
            identity: pem(&config.cert, &config.cert_file).zip(pem(config.key.reveal(), &config.key_file)),
        }
    }
}

impl Options {
    /// Splits the connect string into hosts and chroot (empty where there is none).
    #[must_use]
    pub fn hosts_and_chroot(&self) -> (&str, &str) {
        self.connect.find('/').map_or((self.connect.as_str(), ""), |at| self.connect.split_at(at))
    }
}

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ZooKeeperError {
    /// The znode is not there.
    #[error("znode {0} does not exist")]
    NoNode(String),
    /// The znode is there already.
    #[error("znode {0} exists already")]
    NodeExists(String),
    /// Somebody changed it meanwhile.
    #[error("znode {0} was changed meanwhile")]
    BadVersion(String),
    /// The session may not do this.
    #[error("no permission for znode {0}")]
    NoAuth(String),
    /// The connection broke; a write may or may not have happened.
    #[error("connection to ZooKeeper lost")]
    ConnectionLoss,
    /// The session has ended.
    #[error("ZooKeeper session ended")]
    SessionEnded,
    /// No answer in time; a write may or may not have happened.
    #[error("no answer from ZooKeeper within {0:?}")]
    Timeout(Duration),
    /// The data would make the server close the connection.
    #[error("{path}: {bytes} bytes are more than a znode may hold ({ZNODE_BYTES_MAX})")]
    TooLarge {
        /// Which znode.
        path: String,
        /// How many bytes.
        bytes: usize,
    },
    /// A tree has more than is read.
    #[error("{0}")]
    TooMuch(String),
    /// The server does not know this request.
    #[error("the ZooKeeper server does not support this request")]
    Unimplemented,
    /// There is no connection now.
    #[error("ZooKeeper is away")]
    Away,
    /// Anything else, in the library's words.
    #[error("{0}")]
    Other(String),
}

/// What happened to the session, as the client saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionEvent {
    /// The connection broke; the session may live.
    Disconnected,
    /// The connection is back, the session is the same.
    Reconnected,
    /// The session is over.
    Expired,
    /// Authentication was refused; the session is over.
    AuthFailed,
    /// We closed it.
    Closed,
}

impl SessionEvent {
    /// Returns whether the client is dead after this.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Expired | Self::AuthFailed | Self::Closed)
    }
}

/// What a tree watch says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TreeEvent {
    /// Something happened to the znode at this path; what, a read tells.
    Changed(String),
    /// The watch is dead or may have missed something: arm it again and read all.
    Broken,
}

/// How long a new znode lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// Until somebody deletes it.
    Persistent,
    /// Until the session ends.
    Ephemeral,
}

/// One step of a multi.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// The znode must have this version.
    Check {
        /// Path.
        path: String,
        /// Version of the data.
        version: i32,
    },
    /// Makes a znode.
    Create {
        /// Path.
        path: String,
        /// Data.
        data: Vec<u8>,
        /// Life.
        lifetime: Lifetime,
    },
    /// Sets a znode's data.
    Set {
        /// Path.
        path: String,
        /// Data.
        data: Vec<u8>,
        /// Expected version; `None`: any.
        version: Option<i32>,
    },
    /// Removes a znode.
    Delete {
        /// Path.
        path: String,
        /// Expected version; `None`: any.
        version: Option<i32>,
    },
}

/// The result of a request.
pub type Result<T> = std::result::Result<T, ZooKeeperError>;

/// A live session's requests. Each has a time limit of its own.
pub trait Client: Send + Sync {
    /// Reads a znode; `None` where it is not there.
    fn get<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Option<Znode>>>;
    /// Lists the names of a znode's children, sorted; `None` where it is not there.
    fn children<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Option<Vec<String>>>>;
    /// Makes a znode.
    fn create<'a>(&'a self, path: &'a str, data: &'a [u8], lifetime: Lifetime) -> BoxFuture<'a, Result<()>>;
    /// Makes a znode that goes with the session, named `prefix` and a number that is larger than all before it; returns its path.
    fn create_sequential<'a>(&'a self, prefix: &'a str, data: &'a [u8]) -> BoxFuture<'a, Result<String>>;
    /// Makes a folder and those above it; fine if they are there.
    fn make_folders<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<()>>;
    /// Sets a znode's data, if it has the expected version.
    fn set<'a>(&'a self, path: &'a str, data: &'a [u8], version: Option<i32>) -> BoxFuture<'a, Result<()>>;
    /// Removes a znode, if it has the expected version.
    fn delete<'a>(&'a self, path: &'a str, version: Option<i32>) -> BoxFuture<'a, Result<()>>;
    /// Does all or nothing.
    fn multi<'a>(&'a self, operations: &'a [Operation]) -> BoxFuture<'a, Result<()>>;
    /// Waits until the server has seen all writes that the quorum agreed on before.
    fn sync<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<()>>;
    /// Arms a recursive watch below `root`.
    fn watch_tree<'a>(&'a self, root: &'a str) -> BoxFuture<'a, Result<Box<dyn TreeWatch>>>;
    /// Waits for the next change of the session's state. Must not be called again after a final one.
    fn next_event(&self) -> BoxFuture<'_, SessionEvent>;
    /// Returns the time-out that the server granted.
    fn session_timeout(&self) -> Duration;
    /// Returns the session's number, for logs.
    fn session_id(&self) -> String;
    /// Returns the session's number, as the owner of ephemeral znodes.
    fn session(&self) -> i64;
}

/// An armed watch.
pub trait TreeWatch: Send {
    /// Waits for the next event. Must not be called again after [`TreeEvent::Broken`].
    fn next(&mut self) -> BoxFuture<'_, TreeEvent>;
}

/// Builds sessions: the real one, or a made-up one in tests.
pub trait Connector: Send + Sync {
    /// Connects, making the chroot if it is missing and ours.
    fn connect<'a>(&'a self, options: &'a Options) -> BoxFuture<'a, Result<Arc<dyn Client>>>;
}

/// Returns the connector to real ensembles.
#[must_use]
pub fn real_connector(env: &crate::env::Env) -> Arc<dyn Connector> {
    Arc::new(live::LiveConnector::new(env.clone()))
}
