//! A ZooKeeper ensemble in memory: znodes, sessions that expire, recursive watches, being away, answers that get lost.

use super::network::Mortal;
use super::world::ZOOKEEPER;
use crate::env::clock::Clock;
use crate::env::tasks::Tasks;
use crate::zookeeper::tree_cache::join;
use crate::zookeeper::{
    Client, Connector, Lifetime, Operation, Options, Result, SessionEvent, TreeEvent, TreeWatch, Znode, ZooKeeperError,
};
use futures_util::future::BoxFuture;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use xxhash_rust::xxh3::xxh3_64;

/// Events that a watch may hold; more break it.
const EVENTS_MAX: usize = 256;
/// The time-out of sessions that ask for none.
const SESSION: Duration = Duration::from_secs(10);
/// How often the ensemble looks after a session.
const HEARTBEAT: Duration = Duration::from_millis(100);
/// How long a request takes at least, and by how much more one takes longer than another: by its path, so that what two tasks ask at
/// the same moment comes in one order, in whatever order they woke (tokio wakes those who wait for a `watch` in random order).
const LATENCY: Duration = Duration::from_millis(1);
const LATENCY_SPREAD_MS: u64 = 31;

/// A session's watch: whose, of which tree, and who hears of it.
#[derive(Debug)]
struct Armed {
    session: i64,
    root: String,
    events: mpsc::Sender<String>,
}

#[derive(Debug, Default)]
struct Nodes {
    by_path: BTreeMap<String, Znode>,
    zxid: i64,
    sessions: i64,
    sequence: i64,
    watches: Vec<Armed>,
    /// Sessions that live.
    living: BTreeSet<i64>,
}

/// The ensemble. Cheap to clone; clones share.
#[derive(Clone)]
pub(crate) struct Ensemble {
    nodes: Arc<Mutex<Nodes>>,
    clock: Arc<dyn Clock>,
    /// Whether it is away.
    away: watch::Sender<bool>,
    /// The answer of each so-manieth write is lost; 0: none.
    loses: Arc<AtomicU64>,
    writes: Arc<AtomicU64>,
    process: Option<Mortal>,
}

impl Ensemble {
    pub(crate) fn new(clock: &Arc<dyn Clock>) -> Self {
        let (loses, writes) = (Arc::default(), Arc::default());
        Self { nodes: Arc::default(), clock: Arc::clone(clock), away: watch::Sender::new(false), loses, writes, process: None }
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

    /// Loses the answer of each so-manieth write from now on: it happens, and nobody hears of it. 0: of none.
    pub(crate) fn lose_answers(&self, each: u64) {
        self.loses.store(each, Ordering::Relaxed);
    }

    /// Ends all sessions, as if they had not been heard of for long.
    pub(crate) fn expire_all(&self) {
        let sessions: Vec<i64> = self.nodes().living.iter().copied().collect();
        for session in sessions {
            self.nodes().expire(session);
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

    /// Returns the names below a folder, and their data.
    pub(crate) fn read(&self, folder: &str) -> BTreeMap<String, String> {
        let folder = join(folder, "");
        let nodes = self.nodes();
        let below = nodes.by_path.iter().filter_map(|(path, node)| Some((path.strip_prefix(&folder)?, node)));
        below.map(|(name, node)| (name.to_owned(), String::from_utf8_lossy(&node.data).into_owned())).collect()
    }

    /// Returns whether this process can speak with the ensemble now.
    fn is_reached(&self) -> bool {
        let cut = |process: &Mortal| process.is_dead() || process.is_paused() || process.is_cut_off(ZOOKEEPER);
        !*self.away.borrow() && !self.process.as_ref().is_some_and(cut)
    }

    /// Waits for ever where the process is dead; refused where the ensemble cannot be reached.
    async fn reach(&self, path: &str) -> Result<()> {
        if self.process.as_ref().is_some_and(Mortal::is_dead) {
            std::future::pending::<()>().await;
        }
        self.clock.sleep(LATENCY + Duration::from_millis(xxh3_64(path.as_bytes()) % LATENCY_SPREAD_MS)).await;
        if self.is_reached() { Ok(()) } else { Err(ZooKeeperError::ConnectionLoss) }
    }

    /// Returns whether the answer of a write that happened is lost.
    fn loses_answer(&self) -> bool {
        let (each, number) = (self.loses.load(Ordering::Relaxed), self.writes.fetch_add(1, Ordering::Relaxed));
        each > 0 && number.is_multiple_of(each)
    }
}

impl Nodes {
    fn tell(&mut self, path: &str) {
        self.watches.retain(|watch| {
            let concerns = path == watch.root || path.starts_with(&format!("{}/", watch.root.trim_end_matches('/')));
            !concerns || watch.events.try_send(path.to_owned()).is_ok()
        });
    }

    /// Ends a session: what goes with it goes.
    fn expire(&mut self, session: i64) {
        self.living.remove(&session);
        self.watches.retain(|watch| watch.session != session);
        let owned = self.by_path.iter().filter(|(_, node)| node.owner == session).map(|(path, _)| path.clone());
        for path in owned.collect::<Vec<_>>() {
            self.remove(&path);
        }
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
                let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
                if !parent.is_empty() && !self.by_path.contains_key(parent) {
                    return Err(ZooKeeperError::NoNode(path.clone()));
                }
                self.put(path, data, if *lifetime == Lifetime::Ephemeral { session } else { 0 });
            }
            Operation::Set { path, data, version } => {
                is(self.by_path.get(path), path, *version)?;
                self.put(path, data, self.by_path.get(path).map_or(0, |node| node.owner));
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
    fn connect<'a>(&'a self, options: &'a Options) -> BoxFuture<'a, Result<Arc<dyn Client>>> {
        Box::pin(async move {
            self.reach("").await?;
            let mut nodes = self.nodes();
            nodes.sessions += 1;
            let number = nodes.sessions;
            nodes.living.insert(number);
            let (state, seen) = watch::channel(SessionEvent::Reconnected);
            let timeout = if options.session_timeout.is_zero() { SESSION } else { options.session_timeout };
            let ensemble = self.clone();
            let session = Arc::new(Session { ensemble, number, timeout, states: Mutex::new(seen) });
            drop(Tasks::new().spawn("session", look_after(self.clone(), Arc::downgrade(&session), number, timeout, state)));
            Ok(session as Arc<dyn Client>)
        })
    }
}

/// What ensemble and client library do for a session: it ends when it was not heard of for the time-out, and the client learns of
/// that when it can be reached, or by its own clock, a little later.
async fn look_after(
    ensemble: Ensemble,
    session: Weak<Session>,
    number: i64,
    timeout: Duration,
    state: watch::Sender<SessionEvent>,
) {
    let say = |now: SessionEvent| state.send_if_modified(|before| std::mem::replace(before, now) != now);
    let mut silent_since: Option<Duration> = None;
    loop {
        let (now, is_held) = (ensemble.clock.monotonic(), session.strong_count() > 0);
        let is_reached = is_held && ensemble.is_reached();
        let silent = match (is_reached, silent_since) {
            (true, _) => {
                silent_since = None;
                Duration::ZERO
            }
            (false, since) => now.saturating_sub(*silent_since.insert(since.unwrap_or(now))),
        };
        // An ensemble that is away keeps its sessions.
        if silent >= timeout && !*ensemble.away.borrow() {
            ensemble.nodes().expire(number);
        }
        let lives = ensemble.nodes().living.contains(&number);
        if !lives && (is_reached || !is_held) || silent >= timeout.mul_f64(1.4) && is_held {
            say(SessionEvent::Expired);
            if !lives {
                return;
            }
        } else if is_reached {
            say(SessionEvent::Reconnected);
        } else if !is_reached {
            ensemble.nodes().watches.retain(|watch| watch.session != number);
            say(SessionEvent::Disconnected);
        }
        ensemble.clock.sleep(HEARTBEAT).await;
    }
}

/// A session, as its client has it.
struct Session {
    ensemble: Ensemble,
    number: i64,
    timeout: Duration,
    states: Mutex<watch::Receiver<SessionEvent>>,
}

impl Drop for Session {
    /// Closes it in good order, where the process can still say so.
    fn drop(&mut self) {
        if self.ensemble.is_reached() {
            self.ensemble.nodes().expire(self.number);
        }
    }
}

impl Session {
    async fn reach(&self, path: &str) -> Result<()> {
        self.ensemble.reach(path).await?;
        if self.ensemble.nodes().living.contains(&self.number) { Ok(()) } else { Err(ZooKeeperError::SessionEnded) }
    }

    async fn write(&self, operations: &[Operation]) -> Result<()> {
        self.reach(operations.first().map_or("", path_of)).await?;
        let done = {
            let mut nodes = self.ensemble.nodes();
            let before = nodes.by_path.clone();
            let done = operations.iter().try_for_each(|operation| nodes.perform(operation, self.number));
            if done.is_err() {
                nodes.by_path = before;
            }
            done
        };
        if self.ensemble.loses_answer() { Err(ZooKeeperError::ConnectionLoss) } else { done }
    }
}

fn path_of(operation: &Operation) -> &str {
    match operation {
        Operation::Create { path, .. }
        | Operation::Set { path, .. }
        | Operation::Delete { path, .. }
        | Operation::Check { path, .. } => path,
    }
}

impl Client for Session {
    fn get<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Option<Znode>>> {
        Box::pin(async move {
            self.reach(path).await?;
            Ok(self.ensemble.nodes().by_path.get(path).cloned())
        })
    }

    fn children<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Option<Vec<String>>>> {
        Box::pin(async move {
            self.reach(path).await?;
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
        let made = [Operation::Create { path: path.to_owned(), data: data.to_vec(), lifetime }];
        Box::pin(async move { self.write(&made).await })
    }

    fn create_sequential<'a>(&'a self, prefix: &'a str, data: &'a [u8]) -> BoxFuture<'a, Result<String>> {
        Box::pin(async move {
            let number = {
                let mut nodes = self.ensemble.nodes();
                nodes.sequence += 1;
                nodes.sequence
            };
            let path = format!("{prefix}{number:010}");
            let made = Operation::Create { path: path.clone(), data: data.to_vec(), lifetime: Lifetime::Ephemeral };
            self.write(&[made]).await.map(|()| path)
        })
    }

    fn make_folders<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            self.reach(path).await?;
            self.ensemble.nodes().make_folders(&join(path, ""));
            Ok(())
        })
    }

    fn set<'a>(&'a self, path: &'a str, data: &'a [u8], version: Option<i32>) -> BoxFuture<'a, Result<()>> {
        let set = [Operation::Set { path: path.to_owned(), data: data.to_vec(), version }];
        Box::pin(async move { self.write(&set).await })
    }

    fn delete<'a>(&'a self, path: &'a str, version: Option<i32>) -> BoxFuture<'a, Result<()>> {
        let deleted = [Operation::Delete { path: path.to_owned(), version }];
        Box::pin(async move { self.write(&deleted).await })
    }

    fn multi<'a>(&'a self, operations: &'a [Operation]) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.write(operations))
    }

    fn sync<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.reach(path))
    }

    fn watch_tree<'a>(&'a self, root: &'a str) -> BoxFuture<'a, Result<Box<dyn TreeWatch>>> {
        Box::pin(async move {
            self.reach(root).await?;
            let (sender, events) = mpsc::channel(EVENTS_MAX);
            let armed = Armed { session: self.number, root: root.to_owned(), events: sender };
            self.ensemble.nodes().watches.push(armed);
            Ok(Box::new(Events(events)) as Box<dyn TreeWatch>)
        })
    }

    fn next_event(&self) -> BoxFuture<'_, SessionEvent> {
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Box::pin(async move {
            if states.changed().await.is_err() {
                return SessionEvent::Closed;
            }
            let state = *states.borrow_and_update();
            *self.states.lock().unwrap_or_else(PoisonError::into_inner) = states;
            state
        })
    }

    fn session_timeout(&self) -> Duration {
        self.timeout
    }

    fn session_id(&self) -> String {
        self.number.to_string()
    }

    fn session(&self) -> i64 {
        self.number
    }
}

struct Events(mpsc::Receiver<String>);

impl TreeWatch for Events {
    fn next(&mut self) -> BoxFuture<'_, TreeEvent> {
        Box::pin(async { self.0.recv().await.map_or(TreeEvent::Broken, TreeEvent::Changed) })
    }
}
