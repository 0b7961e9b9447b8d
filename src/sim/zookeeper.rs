//! A ZooKeeper ensemble in memory: znodes, sessions, recursive watches, and being away.

use super::network::Mortal;
use crate::zookeeper::tree_cache::join;
use crate::zookeeper::{
    Client, Connector, Lifetime, Operation, Options, Result, SessionEvent, TreeEvent, TreeWatch, Znode, ZooKeeperError,
};
use futures_util::future::BoxFuture;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// Events that a watch may hold; more break it.
const EVENTS_MAX: usize = 256;

#[derive(Debug, Default)]
struct Nodes {
    by_path: BTreeMap<String, Znode>,
    zxid: i64,
    sessions: i64,
    watches: Vec<(String, mpsc::Sender<String>)>,
}

/// The ensemble. Cheap to clone; clones share.
#[derive(Clone, Debug)]
pub(crate) struct Ensemble {
    nodes: Arc<Mutex<Nodes>>,
    /// Whether it is away.
    away: watch::Sender<bool>,
    process: Option<Mortal>,
}

impl Ensemble {
    pub(crate) fn new() -> Self {
        Self { nodes: Arc::default(), away: watch::Sender::new(false), process: None }
    }

    /// Returns the same ensemble as one process reaches it.
    pub(crate) fn seen_by(&self, process: &Mortal) -> Self {
        Self { process: Some(process.clone()), ..self.clone() }
    }

    fn nodes(&self) -> MutexGuard<'_, Nodes> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes away, with all its sessions, or comes back.
    pub(crate) fn set_away(&self, is_away: bool) {
        self.away.send_replace(is_away);
        if is_away {
            self.nodes().watches.clear();
        }
    }

    /// Writes a znode as somebody else would, with the folders above it.
    pub(crate) fn write(&self, path: &str, data: &str) {
        let mut nodes = self.nodes();
        nodes.make_folders(path);
        nodes.put(path, data.as_bytes(), 0);
    }

    /// Removes a znode as somebody else would.
    pub(crate) fn remove(&self, path: &str) {
        self.nodes().remove(path);
    }

    /// Waits for ever where the process is dead; refused while the ensemble is away.
    async fn reach(&self) -> Result<()> {
        if self.process.as_ref().is_some_and(Mortal::is_dead) {
            std::future::pending::<()>().await;
        }
        if *self.away.borrow() { Err(ZooKeeperError::ConnectionLoss) } else { Ok(()) }
    }
}

impl Nodes {
    fn tell(&mut self, path: &str) {
        self.watches.retain(|(root, watch)| {
            let concerns = path == root || path.starts_with(&format!("{}/", root.trim_end_matches('/')));
            !concerns || watch.try_send(path.to_owned()).is_ok()
        });
    }

    fn put(&mut self, path: &str, data: &[u8], owner: i64) {
        self.zxid += 1;
        let (czxid, version) = self.by_path.get(path).map_or((self.zxid, 0), |old| (old.czxid, old.version + 1));
        let node = Znode { data: Arc::from(data), mzxid: self.zxid, czxid, version, modified_ms: 0, owner, denied: false };
        self.by_path.insert(path.to_owned(), node);
        self.tell(path);
    }

    fn remove(&mut self, path: &str) -> bool {
        let known = self.by_path.remove(path).is_some();
        if known {
            self.tell(path);
        }
        known
    }

    fn make_folders(&mut self, path: &str) {
        for (at, _) in path.match_indices('/').skip(1) {
            let folder = path.get(..at).unwrap_or_default().to_owned();
            if !self.by_path.contains_key(&folder) {
                self.put(&folder, b"", 0);
            }
        }
    }

    fn perform(&mut self, operation: &Operation, session: i64) -> Result<()> {
        let is = |known: Option<&Znode>, path: &str, wanted: Option<i32>| match (known, wanted) {
            (None, _) => Err(ZooKeeperError::NoNode(path.to_owned())),
            (Some(node), Some(version)) if node.version != version => Err(ZooKeeperError::BadVersion(path.to_owned())),
            _ => Ok(()),
        };
        match operation {
            Operation::Check { path, version } => is(self.by_path.get(path), path, Some(*version))?,
            Operation::Create { path, data, lifetime } => {
                if self.by_path.contains_key(path) {
                    return Err(ZooKeeperError::NodeExists(path.clone()));
                }
                self.put(path, data, if *lifetime == Lifetime::Ephemeral { session } else { 0 });
            }
            Operation::Set { path, data, version } => {
                is(self.by_path.get(path), path, *version)?;
                self.put(path, data, 0);
            }
            Operation::Delete { path, version } => {
                is(self.by_path.get(path), path, *version)?;
                self.remove(path);
            }
        }
        Ok(())
    }
}

impl Connector for Ensemble {
    fn connect<'a>(&'a self, _options: &'a Options) -> BoxFuture<'a, Result<Arc<dyn Client>>> {
        Box::pin(async move {
            self.reach().await?;
            let mut nodes = self.nodes();
            nodes.sessions += 1;
            let session = nodes.sessions;
            Ok(Arc::new(Session { ensemble: self.clone(), session, away: self.away.subscribe() }) as Arc<dyn Client>)
        })
    }
}

/// A session: it ends when the ensemble goes away.
struct Session {
    ensemble: Ensemble,
    session: i64,
    away: watch::Receiver<bool>,
}

impl Session {
    fn do_one(&self, operation: Operation) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            self.ensemble.reach().await?;
            self.ensemble.nodes().perform(&operation, self.session)
        })
    }
}

impl Client for Session {
    fn get<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Option<Znode>>> {
        Box::pin(async move {
            self.ensemble.reach().await?;
            Ok(self.ensemble.nodes().by_path.get(path).cloned())
        })
    }

    fn children<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Option<Vec<String>>>> {
        Box::pin(async move {
            self.ensemble.reach().await?;
            let nodes = self.ensemble.nodes();
            if !nodes.by_path.contains_key(path) {
                return Ok(None);
            }
            let folder = join(path, "");
            let below = nodes.by_path.keys().filter_map(|known| known.strip_prefix(&folder));
            let names: BTreeSet<&str> = below.filter(|name| !name.is_empty() && !name.contains('/')).collect();
            Ok(Some(names.into_iter().map(str::to_owned).collect()))
        })
    }

    fn create<'a>(&'a self, path: &'a str, data: &'a [u8], lifetime: Lifetime) -> BoxFuture<'a, Result<()>> {
        self.do_one(Operation::Create { path: path.to_owned(), data: data.to_vec(), lifetime })
    }

    fn make_folders<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            self.ensemble.reach().await?;
            self.ensemble.nodes().make_folders(&join(path, ""));
            Ok(())
        })
    }

    fn set<'a>(&'a self, path: &'a str, data: &'a [u8], version: Option<i32>) -> BoxFuture<'a, Result<()>> {
        self.do_one(Operation::Set { path: path.to_owned(), data: data.to_vec(), version })
    }

    fn delete<'a>(&'a self, path: &'a str, version: Option<i32>) -> BoxFuture<'a, Result<()>> {
        self.do_one(Operation::Delete { path: path.to_owned(), version })
    }

    fn multi<'a>(&'a self, operations: &'a [Operation]) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            self.ensemble.reach().await?;
            let mut nodes = self.ensemble.nodes();
            let before = nodes.by_path.clone();
            let done = operations.iter().try_for_each(|operation| nodes.perform(operation, self.session));
            if done.is_err() {
                nodes.by_path = before;
            }
            done
        })
    }

    fn sync<'a>(&'a self, _path: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.ensemble.reach())
    }

    fn watch_tree<'a>(&'a self, root: &'a str) -> BoxFuture<'a, Result<Box<dyn TreeWatch>>> {
        Box::pin(async move {
            self.ensemble.reach().await?;
            let (sender, events) = mpsc::channel(EVENTS_MAX);
            self.ensemble.nodes().watches.push((root.to_owned(), sender));
            Ok(Box::new(Events(events)) as Box<dyn TreeWatch>)
        })
    }

    fn next_event(&self) -> BoxFuture<'_, SessionEvent> {
        let mut away = self.away.clone();
        Box::pin(async move {
            if away.wait_for(|is_away| *is_away).await.is_err() {
                std::future::pending::<()>().await;
            }
            SessionEvent::Expired
        })
    }

    fn session_timeout(&self) -> Duration {
        Duration::from_secs(10)
    }

    fn session_id(&self) -> String {
        self.session.to_string()
    }
}

struct Events(mpsc::Receiver<String>);

impl TreeWatch for Events {
    fn next(&mut self) -> BoxFuture<'_, TreeEvent> {
        Box::pin(async { self.0.recv().await.map_or(TreeEvent::Broken, TreeEvent::Changed) })
    }
}
