//! The task that decides whether this member tells people.
//!
//! ```text
//! ZooKeeper answers:  first candidate, confirmed by the quorum, everything read -> Leader (while the lease holds)
//!                     another candidate is first                                -> Standby
//! it does not:        the lease still holds                                     -> Leader
//!                     else the members ask each other ([`super::peers`])        -> Acting or Standby
//! ```
//!
//! A check of the own candidate's version is a write to ZooKeeper: only a quorum can confirm it, and nobody's watch hears of it. It is
//! repeated each sixth of the session's time-out and gives a lease of two thirds of it.

use super::election::{self, Candidate};
use super::lease::Lease;
use super::members;
use super::paths;
use super::peers::{Answer, Peer, Situation, Verdict, decide};
use crate::env::Env;
use crate::env::tasks::TaskHandle;
use crate::state::{Change, State};
use crate::telemetry::metrics::{Gauge, Registry};
use crate::zookeeper::tree_cache::join;
use crate::zookeeper::{Client, Link, Operation, Result, ZooKeeperError};
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Where the other members and the last leader are remembered.
const KNOWN: &[u8] = b"cluster/known";
/// How long a standby waits for news before it looks again.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long a member that gets no answer waits before it tries again.
const TRY_AGAIN: Duration = Duration::from_millis(500);
/// For how long a member is remembered that is not there.
const REMEMBERED_MS: i64 = 7 * 86_400_000;
/// How many of them.
const REMEMBERED_MAX: usize = 100;
/// How exactly it is remembered when a member was there last.
const SEEN_EACH_MS: i64 = 3_600_000;
/// How often a new leader asks whether others still know of messages that it does not, at most.
const OWED_TRIES: u32 = 10;
/// For how long after ZooKeeper was away a new leader asks that.
const OWED_FOR: Duration = Duration::from_secs(60);

/// What this member does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Not decided yet.
    #[default]
    Unsure,
    /// Another one tells people.
    Standby,
    /// It tells people.
    Leader {
        /// The transaction that made its candidate: larger than those of all leaders before.
        epoch: i64,
        /// Its candidate's path.
        candidate: String,
    },
    /// It tells people while nobody reaches ZooKeeper.
    Acting,
}

impl Role {
    /// Returns whether this member tells people.
    #[must_use]
    pub const fn tells(&self) -> bool {
        matches!(self, Self::Leader { .. } | Self::Acting)
    }

    /// Returns the word for znodes, pages and logs.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Unsure => "unsure",
            Self::Standby => "standby",
            Self::Leader { .. } => "leader",
            Self::Acting => "acting",
        }
    }
}

/// Where this member stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// What it does.
    pub role: Role,
    /// Who leads, as far as is known; may be empty.
    pub leader: String,
    /// Why it is so, in words.
    pub why: String,
    /// Since when, milliseconds since 1970.
    pub since_ms: i64,
    /// Who led last and in which epoch, as far as is known.
    pub last: (String, i64),
}

/// Who this member is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Me {
    /// Its id among the members.
    pub id: String,
    /// Names its data directory.
    pub instance: String,
}

/// Asks members; answers of those who answered in time.
pub type Ask = Arc<dyn Fn(Vec<Peer>) -> BoxFuture<'static, Vec<Answer>> + Send + Sync>;
/// Reads all that a leader must know, before it begins to tell people.
pub type TakeOver = Arc<dyn Fn(Arc<dyn Client>) -> BoxFuture<'static, Result<()>> + Send + Sync>;

/// What the task needs.
#[derive(Clone)]
pub struct LeadershipDeps {
    /// The world.
    pub env: Env,
    /// The session.
    pub link: Link,
    /// The root.
    pub root: String,
    /// The session's time-out as configured.
    pub session_timeout: Duration,
    /// Who we are.
    pub me: Me,
    /// Where the others are remembered.
    pub state: Arc<dyn State>,
    /// Asks the others.
    pub ask: Ask,
    /// Prepares for leading.
    pub take_over: TakeOver,
    /// Its metrics.
    pub registry: Registry,
}

/// A running election. Cheap to clone.
#[derive(Clone)]
pub struct Leadership {
    /// Where this member stands.
    pub standing: watch::Receiver<Standing>,
    /// Until when it may tell people.
    pub lease: Lease,
    stop: Arc<watch::Sender<bool>>,
}

impl std::fmt::Debug for Leadership {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Leadership").field("standing", &*self.standing.borrow()).finish_non_exhaustive()
    }
}

impl Leadership {
    /// Stands down and takes no part any more. The candidate goes with the session.
    pub fn stop(&self) {
        self.lease.revoke();
        self.stop.send_replace(true);
    }
}

/// What is remembered of the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Known {
    leader: String,
    epoch: i64,
    peers: Vec<Peer>,
}

impl Known {
    fn json(&self) -> Value {
        let peers = self.peers.iter().map(|peer| json!({"id": peer.id, "url": peer.url, "seen_ms": peer.seen_ms}));
        json!({"leader": self.leader, "epoch": self.epoch, "members": peers.collect::<Vec<_>>()})
    }

    fn of(bytes: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(bytes).ok()?;
        let text = |value: &Value, name: &str| value[name].as_str().map(str::to_owned);
        let peer = |value: &Value| {
            let seen_ms = value["seen_ms"].as_i64().unwrap_or(0);
            Some(Peer { id: text(value, "id")?, url: text(value, "url")?, seen_ms })
        };
        Some(Self {
            leader: value["leader"].as_str()?.to_owned(),
            epoch: value["epoch"].as_i64().unwrap_or(0),
            peers: value["members"].as_array()?.iter().map(peer).collect::<Option<_>>()?,
        })
    }
}

/// Joins who was seen before with who is there: a member that is down now may be back when ZooKeeper is away.
fn merged(before: &[Peer], present: Vec<Peer>, now_ms: i64) -> Vec<Peer> {
    let mut all = present;
    for peer in &mut all {
        // Not written anew each time.
        let known = before.iter().find(|known| known.id == peer.id && known.url == peer.url);
        peer.seen_ms = known.map_or(now_ms, |known| if now_ms - known.seen_ms < SEEN_EACH_MS { known.seen_ms } else { now_ms });
    }
    let gone = before.iter().filter(|known| now_ms.saturating_sub(known.seen_ms) < REMEMBERED_MS);
    for known in gone.take(REMEMBERED_MAX) {
        if all.iter().all(|peer| peer.id != known.id && peer.url != known.url) {
            all.push(known.clone());
        }
    }
    all.sort();
    all
}

struct Metrics {
    leader: Gauge,
    known: Gauge,
    epoch: Gauge,
    lease: Gauge,
}

struct Task {
    deps: LeadershipDeps,
    standing: watch::Sender<Standing>,
    lease: Lease,
    stop: watch::Receiver<bool>,
    known: Known,
    /// Since when ZooKeeper does not answer, by the monotonic clock.
    away_since: Option<Duration>,
    /// When ZooKeeper last did not answer, by the monotonic clock: somebody may have told people without it.
    was_away: Duration,
    metrics: Metrics,
}

/// Where our candidate is among the others.
enum Place {
    First { epoch: i64, candidate: String, is_new: bool },
    Behind { leader: String, epoch: i64 },
}

/// Starts the election.
#[must_use]
pub fn start(deps: LeadershipDeps) -> (Leadership, TaskHandle<()>) {
    let known = deps.state.get(KNOWN).unwrap_or_default().and_then(|bytes| Known::of(&bytes)).unwrap_or_default();
    let last = (known.leader.clone(), known.epoch);
    let standing = watch::Sender::new(Standing { since_ms: deps.env.clock.now_ms(), last, ..Standing::default() });
    let lease = Lease::new(&deps.env);
    let (stop, stop_seen) = watch::channel(false);
    let leadership = Leadership { standing: standing.subscribe(), lease: lease.clone(), stop: Arc::new(stop) };
    let gauge = |name, help| deps.registry.gauge(name, help, &[]);
    let metrics = Metrics {
        leader: gauge("watchkeeper_zookeeper_leader", "Whether this member tells people."),
        known: gauge(
            "watchkeeper_zookeeper_leader_known",
            "Whether this member knows of one that tells people, itself included.",
        ),
        epoch: gauge("watchkeeper_zookeeper_leader_epoch", "The epoch in which this member leads; 0 while it does not."),
        lease: gauge("watchkeeper_zookeeper_lease_remaining_seconds", "How long this member may tell people without an answer."),
    };
    let env = deps.env.clone();
    let was_away = deps.env.clock.monotonic();
    let task = Task { deps, standing, lease, stop: stop_seen, known, away_since: None, was_away, metrics };
    (leadership, env.tasks.spawn("leadership", task.run()))
}

impl Task {
    async fn run(mut self) {
        let mut clients = self.deps.link.clients();
        let mut tree = self.deps.link.tree.clone();
        let (mut seen, mut looked) = (Vec::new(), Duration::ZERO);
        while !*self.stop.borrow() {
            let client = clients.borrow_and_update().clone();
            let (candidates, now) = (self.candidates_in_tree(), self.deps.env.clock.monotonic());
            let is_settled = client.is_some() && self.away_since.is_none() && self.role() == Role::Standby;
            // Most changes of the tree are about something else.
            let wait = if is_settled && candidates == seen && now.saturating_sub(looked) < LOOK_EVERY {
                LOOK_EVERY
            } else {
                (seen, looked) = (candidates, now);
                match &client {
                    Some(client) => match self.ask_zookeeper(client).await {
                        Ok(place) => self.take_place(client, place).await,
                        Err(error) => self.without_zookeeper(&error).await,
                    },
                    None => self.without_zookeeper(&ZooKeeperError::Away).await,
                }
            };
            self.show_lease();
            let tells = self.role().tells();
            tokio::select! {
                biased;
                _ = self.stop.changed() => {}
                Ok(()) = clients.changed() => clients.mark_changed(),
                Ok(()) = tree.changed(), if !tells => {}
                () = self.deps.env.clock.sleep(wait) => {}
            }
        }
        self.stand(Role::Standby, String::new(), "this member stops".to_owned(), true);
    }

    fn role(&self) -> Role {
        self.standing.borrow().role.clone()
    }

    fn candidates_in_tree(&self) -> Vec<String> {
        let tree = self.deps.link.tree.borrow().clone();
        let folder = paths::election(&self.deps.root);
        tree.iter().flat_map(|tree| tree.below(&folder)).map(|(path, _)| path.to_owned()).collect()
    }

    fn show_lease(&self) {
        let left = self.lease.left().map_or(f64::INFINITY, |left| left.as_secs_f64());
        self.metrics.lease.set(left);
    }

    fn session(&self, client: Option<&Arc<dyn Client>>) -> Duration {
        client.map_or(self.deps.session_timeout, |client| client.session_timeout())
    }

    /// Asks for our place, for a third of the session at most.
    async fn ask_zookeeper(&self, client: &Arc<dyn Client>) -> Result<Place> {
        let limit = self.session(Some(client)) / 3;
        let asked = self.deps.env.clock.timeout(limit, self.place(client)).await;
        asked.unwrap_or(Err(ZooKeeperError::Timeout(limit)))
    }

    async fn place(&self, client: &Arc<dyn Client>) -> Result<Place> {
        if let Role::Leader { epoch, candidate } = self.role() {
            match self.confirm(client, &candidate).await {
                Ok(()) => return Ok(Place::First { epoch, candidate, is_new: false }),
                // The session may be another one by now.
                Err(ZooKeeperError::NoNode(_)) => self.lease.revoke(),
                Err(error) => return Err(error),
            }
        }
        let folder = paths::election(&self.deps.root);
        let (mine, order) = self.join(client, &folder).await?;
        let first = order.first().unwrap_or(&mine);
        let path = join(&folder, &first.name);
        if first != &mine {
            let node = client.get(&path).await?.ok_or_else(|| ZooKeeperError::NoNode(path.clone()))?;
            return Ok(Place::Behind { leader: String::from_utf8_lossy(&node.data).into_owned(), epoch: node.czxid });
        }
        let epoch = client.get(&path).await?.ok_or_else(|| ZooKeeperError::NoNode(path.clone()))?.czxid;
        Ok(Place::First { epoch, candidate: path, is_new: true })
    }

    /// Finds our candidate, or makes one; returns it and all.
    async fn join(&self, client: &Arc<dyn Client>, folder: &str) -> Result<(Candidate, Vec<Candidate>)> {
        let list = || async {
            client.sync(folder).await?;
            Ok(election::candidates(&client.children(folder).await?.unwrap_or_default()))
        };
        let order: Vec<Candidate> = list().await?;
        let mut mine = None;
        for candidate in order.iter().filter(|candidate| candidate.is_of(&self.deps.me.instance)) {
            let path = join(folder, &candidate.name);
            match client.get(&path).await? {
                Some(node) if node.owner == client.session() && mine.is_none() => mine = Some(candidate.clone()),
                // Left behind by an earlier session of this data directory: its process is no more.
                Some(_) => match client.delete(&path, None).await {
                    Ok(()) | Err(ZooKeeperError::NoNode(_)) => {}
                    Err(error) => return Err(error),
                },
                None => {}
            }
        }
        if let Some(mine) = mine {
            let left: Vec<Candidate> =
                order.into_iter().filter(|one| one == &mine || !one.is_of(&self.deps.me.instance)).collect();
            return Ok((mine, left));
        }
        let prefix = election::prefix(&self.deps.root, &self.deps.me.instance);
        let path = match client.create_sequential(&prefix, self.deps.me.id.as_bytes()).await {
            Err(ZooKeeperError::NoNode(_)) => {
                // The tree was emptied.
                client.make_folders(folder).await?;
                client.create_sequential(&prefix, self.deps.me.id.as_bytes()).await?
            }
            made => made?,
        };
        let name = path.rsplit('/').next().unwrap_or_default();
        let mine = Candidate::parse(name).ok_or_else(|| ZooKeeperError::Other(format!("{name} is no candidate")))?;
        Ok((mine, list().await?))
    }

    /// Has the quorum confirm our candidate, and prolongs the lease by it.
    async fn confirm(&self, client: &Arc<dyn Client>, candidate: &str) -> Result<()> {
        let asked = self.deps.env.clock.monotonic();
        client.multi(&[Operation::Check { path: candidate.to_owned(), version: 0 }]).await?;
        self.lease.extend(asked + self.session(Some(client)).mul_f64(2.0 / 3.0));
        Ok(())
    }

    /// Acts on what ZooKeeper says; returns how long to wait until the next look.
    async fn take_place(&mut self, client: &Arc<dyn Client>, place: Place) -> Duration {
        self.away_since = None;
        let each = self.session(Some(client)) / 6;
        match place {
            Place::First { is_new: false, epoch, .. } => {
                self.remember(self.deps.me.id.clone(), epoch).await;
                each
            }
            Place::First { epoch, candidate, .. } => match self.begin(client, &candidate).await {
                Ok(()) => {
                    let leader = self.deps.me.id.clone();
                    let why = "first in the election".to_owned();
                    self.stand(Role::Leader { epoch, candidate }, leader.clone(), why, true);
                    self.remember(leader, epoch).await;
                    each
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot begin to lead yet");
                    TRY_AGAIN.min(each)
                }
            },
            Place::Behind { leader, epoch } => {
                self.lease.revoke();
                let why = format!("{leader} leads");
                self.stand(Role::Standby, leader.clone(), why, true);
                self.remember(leader, epoch).await;
                LOOK_EVERY
            }
        }
    }

    /// Reads what a leader must know, then has its place confirmed: the lease begins.
    async fn begin(&self, client: &Arc<dyn Client>, candidate: &str) -> Result<()> {
        let is_acting = self.role() == Role::Acting;
        let since = self.deps.env.clock.monotonic().saturating_sub(self.was_away);
        if since < OWED_FOR && !is_acting {
            self.wait_for_owed().await;
        }
        (self.deps.take_over)(Arc::clone(client)).await?;
        self.confirm(client, candidate).await
    }

    /// Waits, within bounds, for members that told people without ZooKeeper to say what they told.
    async fn wait_for_owed(&self) {
        for _ in 0..OWED_TRIES {
            let answers = (self.deps.ask)(self.known.peers.clone()).await;
            let Some(owing) = answers.iter().find(|answer| answer.is_acting || answer.owes) else { return };
            tracing::info!(member = owing.id, "waiting for what another member told people without ZooKeeper");
            self.deps.env.clock.sleep(TRY_AGAIN).await;
        }
    }

    /// Acts when ZooKeeper does not answer; returns how long to wait until the next try.
    async fn without_zookeeper(&mut self, error: &ZooKeeperError) -> Duration {
        let now = self.deps.env.clock.monotonic();
        let away = now.saturating_sub(*self.away_since.get_or_insert(now));
        let role = self.role();
        if matches!(role, Role::Leader { .. })
            && let Some(left) = self.lease.left().filter(|left| !left.is_zero())
        {
            tracing::debug!(%error, "leading on the lease alone");
            return left.min(TRY_AGAIN);
        }
        if matches!(role, Role::Leader { .. }) {
            let why = format!("ZooKeeper has not confirmed it for too long: {error}");
            self.stand(Role::Unsure, self.known.leader.clone(), why, false);
        }
        self.was_away = now;
        let answers = (self.deps.ask)(self.known.peers.clone()).await;
        if self.deps.link.client().is_ok() && *error == ZooKeeperError::Away {
            // It has come back meanwhile.
            return Duration::ZERO;
        }
        // What is more than being away has to be told: a missing right, for example.
        let cause = match error {
            ZooKeeperError::Away | ZooKeeperError::ConnectionLoss => String::new(),
            other => format!("; ZooKeeper: {other}"),
        };
        let verdict = decide(&Situation {
            me: &self.deps.me.id,
            last_leader: &self.known.leader,
            epoch: self.known.epoch,
            is_acting: role == Role::Acting,
            answers: &answers,
            away,
            session: self.deps.session_timeout,
        });
        match verdict {
            Verdict::Act(why) => {
                let why = why + &cause;
                if role != Role::Acting {
                    tracing::warn!(why, "telling people without ZooKeeper");
                    self.lease.hold();
                }
                self.stand(Role::Acting, self.deps.me.id.clone(), why, true);
            }
            Verdict::StandBy(why) => {
                let why = why + &cause;
                self.lease.revoke();
                let is_told = answers.iter().any(|answer| answer.is_connected || answer.is_acting);
                self.stand(Role::Standby, self.known.leader.clone(), why, is_told);
            }
        }
        TRY_AGAIN
    }

    /// `is_told`: whether somebody tells people, as far as is known.
    fn stand(&self, role: Role, leader: String, why: String, is_told: bool) {
        let before = self.standing.borrow().clone();
        self.metrics.leader.set(f64::from(u8::from(role.tells())));
        self.metrics.known.set(f64::from(u8::from(is_told)));
        self.metrics.epoch.set(if let Role::Leader { epoch, .. } = &role { *epoch as f64 } else { 0.0 });
        let since_ms = if before.role == role { before.since_ms } else { self.deps.env.clock.now_ms() };
        let now = Standing { role, leader, why, since_ms, last: (self.known.leader.clone(), self.known.epoch) };
        if before == now {
            return;
        }
        if before.role != now.role || before.leader != now.leader {
            tracing::info!(role = now.role.as_str(), leader = now.leader, why = now.why, "who tells people");
        }
        self.standing.send_replace(now);
    }

    /// Remembers leader and members for when ZooKeeper is away.
    async fn remember(&mut self, leader: String, epoch: i64) {
        let tree = self.deps.link.tree.borrow().clone();
        let Some(tree) = tree else { return };
        let others = members::list(&tree, &self.deps.root).into_iter().filter(|member| member.id != self.deps.me.id);
        let now_ms = self.deps.env.clock.now_ms();
        let present: Vec<Peer> = others.map(|member| Peer { id: member.id, url: member.url, seen_ms: now_ms }).collect();
        let known = Known { leader, epoch, peers: merged(&self.known.peers, present, now_ms) };
        if known == self.known {
            return;
        }
        self.known = known;
        let last = (self.known.leader.clone(), self.known.epoch);
        self.standing.send_if_modified(|standing| std::mem::replace(&mut standing.last, last.clone()) != last);
        let (state, bytes) = (Arc::clone(&self.deps.state), self.known.json().to_string().into_bytes());
        let work = move || state.apply(&[Change::Put(KNOWN.to_vec(), bytes)]).and_then(|()| state.sync());
        match self.deps.env.tasks.blocking(work).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the other members cannot be remembered"),
            Err(error) => tracing::error!(%error, "remembering the other members failed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_read_again() {
        let peers = vec![Peer { id: "b".to_owned(), url: "http://b:9090".to_owned(), seen_ms: 5 }];
        let known = Known { leader: "a".to_owned(), epoch: 3, peers };
        assert_eq!(Known::of(known.json().to_string().as_bytes()), Some(known));
        assert_eq!(Known::of(b"{}"), None);
    }

    #[test]
    fn who_is_gone_is_remembered_for_a_week() {
        let peer = |id: &str, seen_ms| Peer { id: id.to_owned(), url: format!("http://{id}"), seen_ms };
        let now_ms = 10 * 86_400_000;
        let before = [peer("b", now_ms - 1000), peer("c", now_ms - 86_400_000), peer("d", 0)];
        assert_eq!(merged(&before, vec![peer("b", now_ms)], now_ms), [peer("b", now_ms - 1000), peer("c", now_ms - 86_400_000)]);
        assert_eq!(merged(&before[1..2], vec![peer("c", now_ms)], now_ms), [peer("c", now_ms)]);
    }
}
