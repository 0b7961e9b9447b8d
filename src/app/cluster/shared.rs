//! Keeps silences, acknowledgements and the notification log the same here and in ZooKeeper. What was changed later wins; what was made
//! while ZooKeeper was away is written when it is back. Nothing waits for it.

use super::kept::{Entries, Kept, Kind};
use crate::alerting::AlertingHandle;
use crate::alerting::fence::{Lessons, Told};
use crate::alerting::links::Links;
use crate::alerting::persist;
use crate::cluster::leadership::{Leadership, Me, Role};
use crate::cluster::notified::{self, Entry};
use crate::cluster::paths;
use crate::env::Env;
use crate::state::State;
use crate::zookeeper::tree_cache::{self, join};
use crate::zookeeper::{Client, Lifetime, Link, Result, SessionStatus, Tree, ZooKeeperError};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// After a write that failed.
const TRY_AGAIN: Duration = Duration::from_millis(500);
/// Without news; also how often the leader looks for what is over.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// How long what is over stays in ZooKeeper after the members forgot it.
const LINGER_MS: i64 = 24 * 3_600_000;
/// How long members remember an ended silence, as Alertmanager does.
const SILENCE_KEPT_MS: i64 = 120 * 3_600_000;
/// How long acknowledgements stay.
const ACK_KEPT_MS: i64 = 30 * 86_400_000;
/// How long our own writes count although the tree does not show them.
const ECHO: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub(super) struct Shared {
    pub(super) env: Env,
    pub(super) link: Link,
    pub(super) root: String,
    pub(super) me: Me,
    pub(super) kept: Arc<Kept>,
    pub(super) alerting: AlertingHandle,
    pub(super) state: Arc<dyn State>,
    pub(super) leadership: Arc<OnceLock<Leadership>>,
}

/// What is remembered between two looks.
#[derive(Default)]
struct Memory {
    /// Transactions of entries that alerting was told of.
    offered: BTreeMap<String, i64>,
    /// Our own writes: stamp and when.
    written: BTreeMap<String, (i64, Duration)>,
}

/// An entry in ZooKeeper.
struct Remote {
    value: Option<Value>,
    entry: Option<Entry>,
    mzxid: i64,
}

const fn folder(kind: Kind) -> &'static str {
    match kind {
        Kind::Silence => paths::SILENCES,
        Kind::Ack => paths::ACKS,
        Kind::Log => paths::NOTIFIED,
    }
}

/// Makes of an entry what alerting learns.
pub(super) fn told(entry: &Entry) -> Option<Told> {
    let told = entry.told.as_ref().and_then(persist::log_of);
    let sending = entry.sending.as_ref().and_then(persist::intent_of);
    let firing = entry.alerts.iter().filter_map(persist::alert_of).collect();
    (told.is_some() || sending.is_some()).then_some(Told { told, sending, firing })
}

impl Shared {
    /// Goes on until the server stops.
    pub(super) async fn run(self) {
        let (mut changes, mut tree, mut status) = (self.kept.watch(), self.link.tree.clone(), self.link.status.clone());
        let mut memory = Memory::default();
        loop {
            changes.borrow_and_update();
            let present = tree.borrow_and_update().clone();
            let is_live = status.borrow_and_update().state == SessionStatus::Live;
            let mut wait = LOOK_EVERY;
            if let (Some(present), true, Ok(client)) = (present, is_live, self.link.client())
                && let Err(error) = self.even_out(&client, &present, &mut memory).await
            {
                tracing::debug!(%error, "what is shared could not be written yet");
                wait = TRY_AGAIN;
            }
            tokio::select! {
                biased;
                Ok(()) = changes.changed() => {}
                Ok(()) = tree.changed() => {}
                Ok(()) = status.changed() => {}
                () = self.env.clock.sleep(wait) => {}
            }
        }
    }

    fn path(&self, kind: Kind, name: &str) -> String {
        join(&join(&self.root, folder(kind)), name)
    }

    fn epoch(&self) -> i64 {
        let role = self.leadership.get().map(|leadership| leadership.standing.borrow().role.clone());
        if let Some(Role::Leader { epoch, .. }) = role { epoch } else { 0 }
    }

    fn remotes(&self, tree: &Tree) -> BTreeMap<(Kind, String), Remote> {
        let mut all = BTreeMap::new();
        for kind in Kind::ALL {
            let place = join(&self.root, folder(kind));
            for (path, node) in tree.below(&place) {
                let Some(name) = path.strip_prefix(&place).and_then(|rest| rest.strip_prefix('/')) else { continue };
                let remote = if kind == Kind::Log {
                    let entry = Entry::of(&node.data);
                    let value = entry.as_ref().and_then(|entry| entry.told.clone());
                    Remote { value, entry, mzxid: node.mzxid }
                } else {
                    Remote { value: serde_json::from_slice(&node.data).ok(), entry: None, mzxid: node.mzxid }
                };
                all.insert((kind, name.to_owned()), remote);
            }
        }
        all
    }

    /// Signs links in mails as all members do: who comes first writes its key below the root, the others take it.
    async fn agree_on_links(&self, client: &Arc<dyn Client>, tree: &Tree) -> Result<()> {
        let (links, path) = (self.alerting.links(), paths::links_key(&self.root));
        let known = match tree.nodes.get(&path) {
            Some(node) => Some(node.clone()),
            None => match client.create(&path, &links.key(), Lifetime::Persistent).await {
                Ok(()) => return Ok(()),
                Err(ZooKeeperError::NodeExists(_)) => client.get(&path).await?,
                Err(error) => return Err(error),
            },
        };
        let Some(key) = known.and_then(|node| <[u8; 32]>::try_from(&*node.data).ok()) else { return Ok(()) };
        if links.agree(key) {
            let state = Arc::clone(&self.state);
            let keep = move || state.apply(&[Links::keep_shared(key)]).and_then(|()| state.sync());
            match self.env.tasks.blocking(keep).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "the members' key of links in mails cannot be kept"),
                Err(error) => tracing::error!(%error, "keeping the members' key of links in mails failed"),
            }
        }
        Ok(())
    }

    /// Makes both sides the same.
    async fn even_out(&self, client: &Arc<dyn Client>, tree: &Tree, memory: &mut Memory) -> Result<()> {
        self.agree_on_links(client, tree).await?;
        let (entries, logged) = self.kept.entries();
        let remotes = self.remotes(tree);
        self.learn(&entries, &remotes, memory).await;
        let now = self.env.clock.monotonic();
        memory.written.retain(|_, (_, at)| now.saturating_sub(*at) < ECHO);
        memory.offered.retain(|path, _| tree.nodes.contains_key(path));
        let now_ms = self.env.clock.now_ms();
        let mut failed = None;
        for ((kind, name), value) in &entries {
            let (path, stamp) = (self.path(*kind, name), kind.stamp(value));
            let there = remotes.get(&(*kind, name.clone())).and_then(|remote| remote.value.as_ref());
            let there = there.map_or(i64::MIN, |there| kind.stamp(there));
            let written = memory.written.get(&path).map_or(i64::MIN, |(stamp, _)| *stamp);
            if stamp <= there.max(written) || is_over(*kind, value, now_ms, 0) {
                continue;
            }
            match self.write(client, *kind, &path, value).await {
                Ok(()) => {
                    memory.written.insert(path, (stamp, now));
                }
                Err(error) => failed = Some(error),
            }
        }
        if failed.is_none() {
            self.kept.note_shared(logged);
        }
        if self.leadership.get().is_some_and(|leadership| matches!(leadership.standing.borrow().role, Role::Leader { .. })) {
            self.sweep(client, &remotes, now_ms).await?;
        }
        failed.map_or(Ok(()), Err)
    }

    /// Tells alerting what is newer there.
    async fn learn(&self, entries: &Entries, remotes: &BTreeMap<(Kind, String), Remote>, memory: &mut Memory) {
        let mut lessons = Lessons::default();
        for ((kind, name), remote) in remotes {
            let path = self.path(*kind, name);
            if memory.offered.get(&path) == Some(&remote.mzxid) {
                continue;
            }
            memory.offered.insert(path, remote.mzxid);
            let here = entries.get(&(*kind, name.clone())).map_or(i64::MIN, |here| kind.stamp(here));
            let there = remote.value.as_ref().map_or(i64::MIN, |value| kind.stamp(value));
            let is_newer = there > here;
            match kind {
                Kind::Silence if is_newer => lessons.silences.extend(remote.value.as_ref().and_then(persist::silence_of)),
                Kind::Ack if is_newer => lessons.acks.extend(remote.value.as_ref().and_then(persist::ack_of)),
                Kind::Log => {
                    let Some(entry) = &remote.entry else { continue };
                    // Our own announcements we know.
                    if entry.by == self.me.id || (entry.sending.is_none() && !is_newer) {
                        continue;
                    }
                    lessons.notified.extend(told(entry));
                }
                Kind::Silence | Kind::Ack => {}
            }
        }
        if lessons != Lessons::default()
            && let Err(error) = self.alerting.learn(lessons).await
        {
            tracing::debug!(%error, "what other members made comes after the end");
        }
    }

    /// Returns the alerts that somebody was told to fire, as far as they are known here.
    fn firing(&self, told: &Value) -> Vec<Value> {
        let Some(told) = persist::log_of(told) else { return Vec::new() };
        let view = self.alerting.view();
        let known = view.alerts.iter().filter(|known| told.told.firing.contains(&known.alert.fingerprint));
        known.map(|known| persist::alert_json(&known.alert)).collect()
    }

    async fn write(&self, client: &Arc<dyn Client>, kind: Kind, path: &str, value: &Value) -> Result<()> {
        if kind == Kind::Log {
            return notified::note_told(client, path, (&self.me.id, self.epoch()), value, &self.firing(value)).await;
        }
        let data = value.to_string().into_bytes();
        loop {
            let Some(node) = client.get(path).await? else {
                match client.create(path, &data, Lifetime::Persistent).await {
                    Err(ZooKeeperError::NodeExists(_)) => continue,
                    Err(ZooKeeperError::NoNode(_)) => {
                        // Somebody removed the folder while we were connected.
                        client.make_folders(&join(&self.root, folder(kind))).await?;
                        continue;
                    }
                    done => return done,
                }
            };
            let there = serde_json::from_slice::<Value>(&node.data).map_or(i64::MIN, |there| kind.stamp(&there));
            if there >= kind.stamp(value) {
                return Ok(());
            }
            match client.set(path, &data, Some(node.version)).await {
                Err(ZooKeeperError::BadVersion(_) | ZooKeeperError::NoNode(_)) => {}
                done => return done,
            }
        }
    }

    /// Removes what everybody has forgotten.
    async fn sweep(&self, client: &Arc<dyn Client>, remotes: &BTreeMap<(Kind, String), Remote>, now_ms: i64) -> Result<()> {
        let dropped: BTreeSet<String> = self.kept.dropped_acks();
        for ((kind, name), remote) in remotes {
            let is_dropped = *kind == Kind::Ack && dropped.contains(name);
            let is_old = remote.value.as_ref().is_some_and(|value| is_over(*kind, value, now_ms, LINGER_MS));
            let is_open = remote.entry.as_ref().is_some_and(|entry| entry.sending.is_some());
            if !is_dropped && (!is_old || is_open) {
                continue;
            }
            match client.delete(&self.path(*kind, name), None).await {
                Ok(()) | Err(ZooKeeperError::NoNode(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads all that a leader must know, past the cache: what another one wrote last may not have come yet.
    pub(super) async fn take_over(&self, client: &Arc<dyn Client>) -> Result<()> {
        client.sync(&self.root).await?;
        let mut lessons = Lessons::default();
        for kind in Kind::ALL {
            let tree = tree_cache::read_all(client, &join(&self.root, folder(kind)), &[]).await?;
            for remote in self.remotes(&tree).into_values() {
                let value = remote.value.as_ref();
                match kind {
                    Kind::Silence => lessons.silences.extend(value.and_then(persist::silence_of)),
                    Kind::Ack => lessons.acks.extend(value.and_then(persist::ack_of)),
                    Kind::Log => {
                        lessons.notified.extend(remote.entry.as_ref().and_then(told));
                    }
                }
            }
        }
        self.alerting.learn(lessons).await.map_err(|error| ZooKeeperError::Other(error.to_string()))
    }
}

/// Returns whether an entry is forgotten by who keeps it, `more_ms` longer ago than that.
fn is_over(kind: Kind, value: &Value, now_ms: i64, more_ms: i64) -> bool {
    let at = |name: &str| value[name].as_i64().unwrap_or(0);
    let until_ms = match kind {
        Kind::Silence => at("ends_at_ms").saturating_add(SILENCE_KEPT_MS),
        Kind::Ack => at("at_ms").saturating_add(ACK_KEPT_MS),
        Kind::Log => at("expires_at_ms"),
    };
    until_ms.saturating_add(more_ms) <= now_ms
}
