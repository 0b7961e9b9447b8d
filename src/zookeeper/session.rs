//! The session actor: one task that owns the only client and keeps the tree.
//!
//! ```text
//! Away -> Connecting -> Syncing -> Live -> Disconnected -> Syncing
//!                                      \-> Expired ------> Connecting        (back-off 0.2 s doubling to 10 s, full jitter)
//! ```
//!
//! Nobody waits for this task: the server starts and goes on with what it knew last.

use super::tree_cache::{self, Tree};
use super::{Client, Connector, Options, SessionEvent, TreeEvent, TreeWatch, ZooKeeperError};
use crate::env::Env;
use crate::env::tasks::TaskHandle;
use crate::telemetry::metrics::{Counter, Gauge, Histogram, Registry, SECONDS};
use std::collections::BTreeSet;
use std::sync::Arc;
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
/// Servers without recursive watches are asked this often.
const POLL_EVERY: Duration = Duration::from_secs(2);
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
    const ALL: [Self; 6] = [Self::Away, Self::Connecting, Self::Syncing, Self::Live, Self::Disconnected, Self::AuthFailed];

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

    /// Ends the session: its ephemeral znodes go at once.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }
}

struct Metrics {
    registry: Registry,
    connected: Gauge,
    expirations: Counter,
    reconnects: Counter,
    auth_failures: Counter,
    resyncs: Counter,
    resync_seconds: Histogram,
    watch_events: Counter,
    last_contact: Gauge,
    tree_znodes: Gauge,
    tree_bytes: Gauge,
}

impl Metrics {
    fn new(registry: &Registry) -> Self {
        let counter = |name, help| registry.counter(name, help, &[]);
        let gauge = |name, help| registry.gauge(name, help, &[]);
        Self {
            connected: gauge("watchkeeper_zookeeper_connected", "Whether the ZooKeeper session is connected."),
            expirations: counter("watchkeeper_zookeeper_session_expirations_total", "Sessions that ended against our will."),
            reconnects: counter("watchkeeper_zookeeper_reconnects_total", "Connections that came back within a session."),
            auth_failures: counter("watchkeeper_zookeeper_auth_failures_total", "Refused credentials."),
            resyncs: counter("watchkeeper_zookeeper_resyncs_total", "Complete reads of the tree."),
            resync_seconds: registry.histogram(
                "watchkeeper_zookeeper_resync_duration_seconds",
                "How long a complete read of the tree took.",
                &[],
                SECONDS,
            ),
            watch_events: counter("watchkeeper_zookeeper_watch_events_total", "Events of the tree's watch."),
            last_contact: gauge(
                "watchkeeper_zookeeper_last_contact_timestamp_seconds",
                "When the tree was last known to be right.",
            ),
            tree_znodes: gauge("watchkeeper_zookeeper_tree_znodes", "Znodes in the tree."),
            tree_bytes: gauge("watchkeeper_zookeeper_tree_bytes", "Bytes of data in the tree."),
            registry: registry.clone(),
        }
    }

    fn state(&self, now: SessionStatus) {
        for state in SessionStatus::ALL {
            let labels = [("state", state.as_str())];
            let gauge = self.registry.gauge("watchkeeper_zookeeper_session_state", "1 for the state that holds.", &labels);
            gauge.set(f64::from(u8::from(state == now)));
        }
        let connected = matches!(now, SessionStatus::Syncing | SessionStatus::Live);
        self.connected.set(f64::from(u8::from(connected)));
    }
}

struct Actor {
    env: Env,
    connector: Arc<dyn Connector>,
    options: Options,
    folders: Vec<String>,
    status: watch::Sender<Status>,
    tree: watch::Sender<Option<Arc<Tree>>>,
    client: watch::Sender<Option<Arc<dyn Client>>>,
    stop: watch::Receiver<bool>,
    metrics: Metrics,
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
    let (status, status_seen) = watch::channel(Status::default());
    let (tree, tree_seen) = watch::channel(None);
    let (client, client_seen) = watch::channel(None);
    let (stop, stop_seen) = watch::channel(false);
    let metrics = Metrics::new(registry);
    metrics.state(SessionStatus::Away);
    let actor = Actor { env: env.clone(), connector, options, folders, status, tree, client, stop: stop_seen, metrics };
    let task = env.tasks.spawn("zookeeper", actor.run());
    (Link { status: status_seen, tree: tree_seen, client: client_seen, stop: Arc::new(stop) }, task)
}

impl Actor {
    async fn run(self) {
        let mut back_off = BACK_OFF_FIRST;
        while !*self.stop.borrow() {
            self.enter(SessionStatus::Connecting, String::new());
            let began = self.env.clock.monotonic();
            let wait = match self.connect().await {
                Ok(client) => match self.live(&client).await {
                    Ended::Stopped => break,
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
            connected = self.connector.connect(&self.options) => connected,
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
            match (state, error.is_empty()) {
                (SessionStatus::Live, _) => {
                    tracing::info!(ensemble = %self.options.hosts_and_chroot().0, "ZooKeeper is connected");
                }
                (_, false) => {
                    tracing::warn!(state = state.as_str(), %error, "ZooKeeper is not available; going on with what is known");
                }
                (_, true) => tracing::info!(state = state.as_str(), "ZooKeeper session"),
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
    async fn live(&self, client: &Arc<dyn Client>) -> Ended {
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

    /// Arms the watch first and reads then, so that nothing falls between. `None`: the server knows no such watch.
    async fn arm_and_read(&self, client: &Arc<dyn Client>) -> super::Result<Option<Box<dyn TreeWatch>>> {
        let began = self.env.clock.monotonic();
        for folder in &self.folders {
            match client.make_folders(folder).await {
                Ok(()) | Err(ZooKeeperError::NoAuth(_) | ZooKeeperError::NodeExists(_)) => {}
                Err(error) => return Err(error),
            }
        }
        let watch = match client.watch_tree(&self.options.root).await {
            Ok(watch) => Some(watch),
            Err(ZooKeeperError::Unimplemented) => None,
            Err(error) => return Err(error),
        };
        // A follower may lag behind what a client saw before on another server.
        client.sync(&self.options.root).await?;
        let tree = tree_cache::read_all(client, &self.options.root, &self.options.unread).await?;
        self.metrics.resyncs.inc();
        self.metrics.resync_seconds.observe(self.env.clock.monotonic().saturating_sub(began).as_secs_f64());
        self.publish(tree);
        Ok(watch)
    }

    fn publish(&self, tree: Tree) {
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
    async fn follow(&self, client: &Arc<dyn Client>, mut watch: Option<Box<dyn TreeWatch>>) -> Option<Ended> {
        let full_read = self.env.clock.sleep(if watch.is_some() { FULL_READ_EVERY } else { POLL_EVERY });
        tokio::pin!(full_read);
        let mut dirty = BTreeSet::new();
        let mut first_dirty = None;
        loop {
            let quiet = self.quiet_for(first_dirty);
            tokio::select! {
                biased;
                () = stopped(self.stop.clone()) => return Some(Ended::Stopped),
                event = client.next_event() => return self.on_session_event(client, event).await,
                event = next_event(&mut watch) => match event {
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
                        Ok(tree) => self.publish(tree),
                        Err(error) => {
                            tracing::debug!(%error, "reading changed znodes failed; reading all again");
                            return self.pause(client, READ_AGAIN).await;
                        }
                    }
                    dirty.clear();
                    first_dirty = None;
                }
                () = &mut full_read => return None,
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

async fn next_event(watch: &mut Option<Box<dyn TreeWatch>>) -> TreeEvent {
    match watch {
        Some(watch) => watch.next().await,
        None => std::future::pending().await,
    }
}
