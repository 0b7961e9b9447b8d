//! The session actor: one task that owns the only client and keeps the tree.
//!
//! ```text
//! Away -> Connecting -> Syncing -> Live -> Disconnected -> Syncing
//!                                      \-> Expired ------> Connecting        (back-off 0.2 s doubling to 10 s, full jitter)
//! ```
//!
//! Nobody waits for this task: the server starts and goes on with what it knew last.

use super::metrics::Metrics;
use super::timed;
use super::tree_cache::{self, Tree};
use super::{Client, Connector, Options, SessionEvent, TreeEvent, TreeWatch, ZooKeeperError};
use crate::env::Env;
use crate::env::tasks::TaskHandle;
use crate::telemetry::metrics::Registry;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;

const BACK_OFF_FIRST: Duration = Duration::from_millis(200);
const BACK_OFF_LAST: Duration = Duration::from_secs(10);
const BACK_OFF_RESET_AFTER: Duration = Duration::from_secs(60);
/// A refused password does not get better by asking often.
const AUTH_RETRY: Duration = Duration::from_secs(60);
/// A change is applied when this long passed without another one ...
const QUIET: Duration = Duration::from_millis(10);
/// ... or when this long passed since the first.
const QUIET_MAX: Duration = Duration::from_millis(50);
/// Heals what no event tells: a znode whose permissions were opened later.
const FULL_READ_EVERY: Duration = Duration::from_secs(300);
/// Servers without recursive watches are asked this often ...
const POLL_EVERY: Duration = Duration::from_millis(700);
/// ... but reading takes no more than one part in this many of the time.
const POLL_SHARE: u32 = 5;
/// How long a stop waits for requests that are going on ...
const CLOSES_WITHIN: Duration = Duration::from_millis(600);
/// ... looking so often.
const CLOSES_LOOK: Duration = Duration::from_millis(5);
/// After a failed read of the tree.
const READ_AGAIN: Duration = Duration::from_millis(500);

/// Where the session stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SessionStatus {
    /// Not tried, or waiting to try again.
    #[default]
    Away,
    /// Trying.
    Connecting,
    /// Connected; the tree is being read.
    Syncing,
    /// Connected and up to date.
    Live,
    /// The connection broke; the session may live.
    Disconnected,
    /// The server refused our credentials.
    AuthFailed,
}

impl SessionStatus {
    pub(super) const ALL: [Self; 6] =
        [Self::Away, Self::Connecting, Self::Syncing, Self::Live, Self::Disconnected, Self::AuthFailed];

    /// Returns the word for logs, metrics and pages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Away => "away",
            Self::Connecting => "connecting",
            Self::Syncing => "syncing",
            Self::Live => "live",
            Self::Disconnected => "disconnected",
            Self::AuthFailed => "auth_failed",
        }
    }
}

/// What the session is doing now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The state.
    pub state: SessionStatus,
    /// Since when, milliseconds since 1970.
    pub since_ms: i64,
    /// The session's number while there is one.
    pub session_id: String,
    /// What went wrong last; empty while all is well.
    pub last_error: String,
    /// How often a session ended against our will.
    pub expirations: u64,
}

/// A running session. Cheap to clone.
#[derive(Clone)]
pub struct Link {
    /// What it is doing.
    pub status: watch::Receiver<Status>,
    /// The tree as last read; `None` before the first complete read of this process.
    pub tree: watch::Receiver<Option<Arc<Tree>>>,
    client: watch::Receiver<Option<Arc<dyn Client>>>,
    noticed_us: Arc<AtomicU64>,
    stop: Arc<watch::Sender<bool>>,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("status", &*self.status.borrow()).finish_non_exhaustive()
    }
}

impl Link {
    /// Returns the client while the session is connected.
    ///
    /// # Errors
    /// [`ZooKeeperError::Away`] while it is not.
    pub fn client(&self) -> super::Result<Arc<dyn Client>> {
        self.client.borrow().clone().ok_or(ZooKeeperError::Away)
    }

    /// Returns when the change that the tree shows was first noticed, by the monotonic clock: an event comes before the tree does.
    #[must_use]
    pub fn noticed_at(&self) -> Duration {
        Duration::from_micros(self.noticed_us.load(Ordering::Relaxed))
    }

    /// Returns a stream of clients: who is connected now.
    #[must_use]
    pub fn clients(&self) -> watch::Receiver<Option<Arc<dyn Client>>> {
        self.client.clone()
    }

    /// Ends the session: its ephemeral znodes go at once.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }
}

struct Actor {
    env: Env,
    connector: Arc<dyn Connector>,
    options: Options,
    folders: Vec<String>,
    /// What is watched. Those of a foreign ensemble change with who needs it.
    roots: watch::Receiver<BTreeSet<String>>,
    status: watch::Sender<Status>,
    tree: watch::Sender<Option<Arc<Tree>>>,
    client: watch::Sender<Option<Arc<dyn Client>>>,
    stop: watch::Receiver<bool>,
    metrics: Metrics,
    registry: Registry,
    noticed_us: Arc<AtomicU64>,
}

/// How one client's life ended.
enum Ended {
    Stopped,
    Expired,
    AuthFailed,
}

/// Starts the session. `folders` are made (with those above them) whenever a session begins, where we may.
#[must_use]
pub fn start(
    env: &Env,
    connector: Arc<dyn Connector>,
    options: Options,
    folders: Vec<String>,
    registry: &Registry,
) -> (Link, TaskHandle<()>) {
    let roots = watch::channel(BTreeSet::from([options.root.clone()])).1;
    let metrics = Metrics::new(registry, None);
    start_actor(env, connector, options, folders, roots, (metrics, registry))
}

/// Starts a session that reads what somebody else keeps, and makes nothing. `roots` may change at any time; one that is not
/// there is read as soon as it is, and one that is too large is refused without the others ([`Tree::roots`]).
#[must_use]
pub fn start_foreign(
    env: &Env,
    connector: Arc<dyn Connector>,
    options: Options,
    roots: watch::Receiver<BTreeSet<String>>,
    registry: &Registry,
) -> (Link, TaskHandle<()>) {
    let metrics = Metrics::new(registry, Some(options.connect.clone()));
    start_actor(env, connector, Options { is_foreign: true, ..options }, Vec::new(), roots, (metrics, registry))
}

fn start_actor(
    env: &Env,
    connector: Arc<dyn Connector>,
    options: Options,
    folders: Vec<String>,
    roots: watch::Receiver<BTreeSet<String>>,
    (metrics, registry): (Metrics, &Registry),
) -> (Link, TaskHandle<()>) {
    let (status, status_seen) = watch::channel(Status::default());
    let (tree, tree_seen) = watch::channel(None);
    let (client, client_seen) = watch::channel(None);
    let (stop, stop_seen) = watch::channel(false);
    let noticed_us = Arc::new(AtomicU64::new(0));
    metrics.state(SessionStatus::Away);
    let actor = Actor {
        env: env.clone(),
        connector,
        options,
        folders,
        roots,
        status,
        tree,
        client,
        stop: stop_seen,
        metrics,
        registry: registry.clone(),
        noticed_us: Arc::clone(&noticed_us),
    };
    let task = env.tasks.spawn("zookeeper", actor.run());
    (Link { status: status_seen, tree: tree_seen, client: client_seen, noticed_us, stop: Arc::new(stop) }, task)
}

impl Actor {
    async fn run(mut self) {
        let mut back_off = BACK_OFF_FIRST;
        while !*self.stop.borrow() {
            self.enter(SessionStatus::Connecting, String::new());
            let began = self.env.clock.monotonic();
            let wait = match self.connect().await {
                Ok(client) => match self.live(&client).await {
                    Ended::Stopped => {
                        self.let_go(client).await;
                        break;
                    }
                    Ended::Expired => {
                        self.metrics.expirations.inc();
                        self.status.send_modify(|status| status.expirations += 1);
                        self.enter(SessionStatus::Away, "the session expired".to_owned());
                        if self.env.clock.monotonic().saturating_sub(began) > BACK_OFF_RESET_AFTER {
                            back_off = BACK_OFF_FIRST;
                        }
                        self.jitter(back_off)
                    }
                    Ended::AuthFailed => self.refused(),
                },
                Err(ZooKeeperError::SessionEnded) if self.options.digest.is_some() => self.refused(),
                Err(error) => {
                    self.enter(SessionStatus::Away, error.to_string());
                    self.jitter(back_off)
                }
            };
            back_off = (back_off * 2).min(BACK_OFF_LAST);
            tokio::select! {
                biased;
                () = stopped(self.stop.clone()) => break,
                () = self.env.clock.sleep(wait) => {}
            }
        }
        self.client.send_replace(None);
        self.enter(SessionStatus::Away, String::new());
        self.metrics.forget();
    }

    /// Closes the session: the library does it when the last handle is dropped, and somebody may be in the middle of a request.
    async fn let_go(&self, client: Arc<dyn Client>) {
        let until = self.env.clock.monotonic() + CLOSES_WITHIN;
        while Arc::strong_count(&client) > 1 && self.env.clock.monotonic() < until {
            self.env.clock.sleep(CLOSES_LOOK).await;
        }
        drop(client);
    }

    fn refused(&self) -> Duration {
        self.metrics.auth_failures.inc();
        self.enter(SessionStatus::AuthFailed, "ZooKeeper refused our credentials".to_owned());
        AUTH_RETRY
    }

    fn jitter(&self, upper: Duration) -> Duration {
        upper.mul_f64(self.env.random.next_f64())
    }

    async fn connect(&self) -> super::Result<Arc<dyn Client>> {
        tokio::select! {
            biased;
            () = stopped(self.stop.clone()) => Err(ZooKeeperError::Away),
            connected = self.connector.connect(&self.options) => {
                let client = connected?;
                // What discovery asks of others is counted as a whole, not by request.
                if self.options.is_foreign { Ok(client) } else { Ok(timed::wrap(client, &self.env, &self.registry)) }
            }
        }
    }

    /// Notes a change of state: once in the log, in the metrics, and for the pages.
    fn enter(&self, state: SessionStatus, error: String) {
        let before = self.status.borrow().clone();
        if before.state == state && before.last_error == error {
            return;
        }
        self.metrics.state(state);
        let quiet = state == SessionStatus::Connecting || (state == SessionStatus::Away && before.last_error == error);
        if !quiet {
            let ensemble = self.options.hosts_and_chroot().0;
            match (state, error.is_empty()) {
                (SessionStatus::Live, _) => {
                    tracing::info!(ensemble, "ZooKeeper is connected");
                }
                (_, false) => {
                    let state = state.as_str();
                    tracing::warn!(ensemble, state, %error, "ZooKeeper is not available; going on with what is known");
                }
                (_, true) => tracing::info!(ensemble, state = state.as_str(), "ZooKeeper session"),
            }
        }
        let now_ms = self.env.clock.now_ms();
        self.status.send_modify(|status| {
            if status.state != state {
                status.since_ms = now_ms;
            }
            status.state = state;
            // The reason stays visible while we try again.
            if state != SessionStatus::Connecting {
                status.last_error = error;
            }
        });
    }

    /// One client from its first moment to its end.
    async fn live(&mut self, client: &Arc<dyn Client>) -> Ended {
        self.status.send_modify(|status| status.session_id = client.session_id());
        let ended = loop {
            self.enter(SessionStatus::Syncing, String::new());
            self.client.send_replace(Some(Arc::clone(client)));
            let armed = self.arm_and_read(client).await;
            let watch = match armed {
                Ok(watch) => watch,
                Err(error) => {
                    self.enter(SessionStatus::Syncing, error.to_string());
                    match self.pause(client, READ_AGAIN).await {
                        Some(ended) => break ended,
                        None => continue,
                    }
                }
            };
            self.enter(SessionStatus::Live, String::new());
            if let Some(ended) = self.follow(client, watch).await {
                break ended;
            }
        };
        self.client.send_replace(None);
        self.status.send_modify(|status| status.session_id.clear());
        ended
    }

    /// Waits a little, but not past the end of the session.
    async fn pause(&self, client: &Arc<dyn Client>, wait: Duration) -> Option<Ended> {
        tokio::select! {
            biased;
            () = stopped(self.stop.clone()) => Some(Ended::Stopped),
            event = client.next_event() => self.on_session_event(client, event).await,
            () = self.env.clock.sleep(wait) => None,
        }
    }

    /// Arms the watches first and reads then, so that nothing falls between. `None`: the server knows no such watch.
    async fn arm_and_read(&mut self, client: &Arc<dyn Client>) -> super::Result<Option<Vec<Box<dyn TreeWatch>>>> {
        let began = self.env.clock.monotonic();
        for folder in &self.folders {
            match client.make_folders(folder).await {
                Ok(()) | Err(ZooKeeperError::NoAuth(_) | ZooKeeperError::NodeExists(_)) => {}
                Err(error) => return Err(error),
            }
        }
        let roots = self.roots.borrow_and_update().clone();
        let mut watches = Some(Vec::new());
        for root in &roots {
            match client.watch_tree(root).await {
                Ok(watch) => watches.get_or_insert_default().push(watch),
                Err(ZooKeeperError::Unimplemented) => {
                    watches = None;
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        self.read(client, &roots, began).await?;
        Ok(watches)
    }

    /// Reads everything and publishes it; answers how long that took.
    async fn read(&self, client: &Arc<dyn Client>, roots: &BTreeSet<String>, began: Duration) -> super::Result<Duration> {
        // A follower may lag behind what a client saw before on another server.
        if let Some(root) = roots.first() {
            client.sync(root).await?;
        }
        let tree = if self.options.is_foreign {
            tree_cache::read_roots(client, roots).await?
        } else {
            tree_cache::read_all(client, &self.options.root, &self.options.unread).await?
        };
        self.metrics.resyncs.inc();
        let took = self.env.clock.monotonic().saturating_sub(began);
        self.metrics.resync_seconds.observe(took.as_secs_f64());
        self.publish(tree, began);
        Ok(took)
    }

    fn publish(&self, tree: Tree, noticed: Duration) {
        self.noticed_us.store(u64::try_from(noticed.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.metrics.last_contact.set(self.env.clock.now_ms() as f64 / 1000.0);
        self.metrics.tree_znodes.set(tree.nodes.len() as f64);
        self.metrics.tree_bytes.set(tree.bytes() as f64);
        self.tree.send_if_modified(|held| {
            let changed = held.as_deref() != Some(&tree);
            if changed {
                *held = Some(Arc::new(tree));
            }
            changed
        });
    }

    /// Handles a session event; `Some`: the client is dead.
    async fn on_session_event(&self, client: &Arc<dyn Client>, event: SessionEvent) -> Option<Ended> {
        let mut event = event;
        loop {
            match event {
                SessionEvent::Reconnected => {
                    self.metrics.reconnects.inc();
                    return None;
                }
                SessionEvent::Disconnected => {
                    self.client.send_replace(None);
                    self.enter(SessionStatus::Disconnected, "connection lost".to_owned());
                }
                SessionEvent::Expired | SessionEvent::Closed => return Some(Ended::Expired),
                SessionEvent::AuthFailed => return Some(Ended::AuthFailed),
            }
            tokio::select! {
                biased;
                () = stopped(self.stop.clone()) => return Some(Ended::Stopped),
                next = client.next_event() => event = next,
            }
        }
    }

    /// Applies changes until the watch breaks (`None`: read all again) or the client is dead.
    async fn follow(&mut self, client: &Arc<dyn Client>, mut watches: Option<Vec<Box<dyn TreeWatch>>>) -> Option<Ended> {
        let mut roots = self.roots.clone();
        let read_again = if watches.is_some() { FULL_READ_EVERY } else { POLL_EVERY };
        let mut full_read = self.env.clock.sleep(read_again);
        let mut dirty = BTreeSet::new();
        let mut first_dirty = None;
        loop {
            let quiet = self.quiet_for(first_dirty);
            tokio::select! {
                biased;
                () = stopped(self.stop.clone()) => return Some(Ended::Stopped),
                event = client.next_event() => return self.on_session_event(client, event).await,
                () = changed(&mut roots) => return None,
                event = next_event(&mut watches) => match event {
                    TreeEvent::Changed(path) if tree_cache::is_within(&path, &self.options.unread) => {}
                    TreeEvent::Changed(path) => {
                        self.metrics.watch_events.inc();
                        dirty.insert(path);
                        first_dirty.get_or_insert_with(|| self.env.clock.monotonic());
                    }
                    TreeEvent::Broken => {
                        // Why it broke is the session's to say; where it says nothing in time, read again.
                        return self.pause(client, READ_AGAIN).await;
                    }
                },
                () = self.env.clock.sleep(quiet), if first_dirty.is_some() => {
                    let held = self.tree.borrow().clone().unwrap_or_default();
                    match tree_cache::refresh(client, &held, &dirty).await {
                        Ok(tree) => self.publish(tree, first_dirty.unwrap_or_default()),
                        Err(error) => {
                            tracing::debug!(%error, "reading changed znodes failed; reading all again");
                            return self.pause(client, READ_AGAIN).await;
                        }
                    }
                    dirty.clear();
                    first_dirty = None;
                }
                () = &mut full_read => {
                    // What the watches say meanwhile is read once more behind it.
                    let roots = self.roots.borrow().clone();
                    match self.read(client, &roots, self.env.clock.monotonic()).await {
                        Ok(took) => full_read = self.env.clock.sleep(read_again.max(took * POLL_SHARE)),
                        Err(error) => {
                            tracing::debug!(%error, "reading the tree again failed");
                            return self.pause(client, READ_AGAIN).await;
                        }
                    }
                }
            }
        }
    }

    fn quiet_for(&self, first_dirty: Option<Duration>) -> Duration {
        let Some(first) = first_dirty else { return QUIET };
        let waited = self.env.clock.monotonic().saturating_sub(first);
        QUIET.min(QUIET_MAX.saturating_sub(waited))
    }
}

/// Waits until the session shall end; a dropped sender ends it too.
async fn stopped(mut stop: watch::Receiver<bool>) {
    let ended = stop.wait_for(|stop| *stop).await;
    drop(ended);
}

/// Waits until other roots are wanted; for ever where nobody can want others.
async fn changed(roots: &mut watch::Receiver<BTreeSet<String>>) {
    if roots.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn next_event(watches: &mut Option<Vec<Box<dyn TreeWatch>>>) -> TreeEvent {
    match watches {
        Some(watches) if !watches.is_empty() => {
            let events = watches.iter_mut().map(|watch| watch.next());
            futures_util::future::select_all(events).await.0
        }
        _ => std::future::pending().await,
    }
}
