//! All remotes of the configuration: starts and ends their queues, keeps their places, and tells the store what of its log they
//! still need.

use super::member::{Member, MemberLink};
use super::metadata;
use super::position::PositionFile;
use super::queue::{self, Queue, QueueParts};
use super::series::SharedBytes;
use super::shard::Shared;
use crate::config::Config;
use crate::config::remote::RemoteWriteConfig;
use crate::env::Env;
use crate::env::tasks::TaskHandle;
use crate::model::labels::Labels;
use crate::storage::Store;
use crate::storage::follow::LogPosition;
use crate::telemetry::metrics::{Gauge, Registry};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// Where the places of remotes lie, below the data directory.
const FOLDER: &str = "unsent";
/// How often places are noted.
const NOTE_EVERY: Duration = Duration::from_millis(250);
/// Every so many notes are synced.
const SYNC_EVERY: u32 = 40;
/// How long a queue that a reload ends may go on sending what it has.
const RELOAD_DRAIN: Duration = Duration::from_secs(2);

/// What sending needs.
#[derive(Clone, Debug)]
pub struct RemoteWriteDeps {
    /// The world.
    pub env: Env,
    /// Whose log is followed; it was opened with [`crate::storage::StoreOptions::is_followed`].
    pub store: Store,
    /// Its data directory.
    pub data_dir: PathBuf,
    /// Where it counts.
    pub registry: Registry,
    /// Members of the cluster that are sent to as well.
    pub members: watch::Receiver<Vec<Member>>,
}

/// A remote that runs.
struct Running {
    config: Arc<RemoteWriteConfig>,
    external: Labels,
    is_member: bool,
    shared: Arc<Shared>,
    file: Arc<Mutex<PositionFile>>,
    stop: watch::Sender<bool>,
    task: TaskHandle<()>,
    metadata: Option<TaskHandle<()>>,
}

/// A remote that should run.
struct Wanted<'a> {
    config: Arc<RemoteWriteConfig>,
    external: &'a Labels,
    /// Of a member.
    over: Option<MemberLink>,
}

/// The remotes of a server. Ends with [`RemoteWrite::stop`].
#[derive(Debug)]
pub struct RemoteWrite {
    stop: watch::Sender<Option<Duration>>,
    task: TaskHandle<()>,
}

impl RemoteWrite {
    /// Starts the remotes of a configuration, and follows its changes. When it returns they have their places: what is taken from
    /// then on is sent.
    pub async fn start(deps: RemoteWriteDeps, mut config: watch::Receiver<Arc<Config>>) -> Self {
        let (stop, stopping) = watch::channel(None);
        let tasks = deps.env.tasks.clone();
        let mut manager = Manager {
            unsent: deps.registry.gauge(
                "watchkeeper_remote_storage_kept_log_bytes",
                "Bytes of the log that are kept because a remote has not taken them yet.",
                &[],
            ),
            given_up: deps.registry.gauge(
                "watchkeeper_remote_storage_given_up_log_bytes",
                "Bytes of the log that were given up unsent since the start, because they were too old or there was no room.",
                &[],
            ),
            deps,
            running: BTreeMap::new(),
            bytes: SharedBytes::default(),
            notes: 0,
        };
        let present = Arc::clone(&config.borrow_and_update());
        let members = manager.deps.members.borrow_and_update().clone();
        manager.apply(&present, &members).await;
        Self { stop, task: tasks.spawn("remote-write", manager.run(config, stopping)) }
    }

    /// Sends what is there, as far as that is done within `limit`, and notes how far it came.
    pub async fn stop(self, limit: Duration) {
        self.stop.send_replace(Some(limit));
        if let Err(error) = self.task.await {
            tracing::error!(%error, "remote write failed");
        }
    }
}

struct Manager {
    deps: RemoteWriteDeps,
    running: BTreeMap<String, Running>,
    bytes: SharedBytes,
    unsent: Gauge,
    given_up: Gauge,
    notes: u32,
}

/// Names remotes: as configured, else after the URL, with a number where several have one.
fn named(config: &Config) -> BTreeMap<String, Arc<RemoteWriteConfig>> {
    let mut named = BTreeMap::new();
    for remote in &config.remote_write {
        let short = |text: &str| format!("{:06x}", xxhash_rust::xxh3::xxh3_64(text.as_bytes()) >> 40);
        let mut name = if remote.name.is_empty() { short(remote.url.as_str()) } else { remote.name.clone() };
        for number in 2.. {
            if !named.contains_key(&name) {
                break;
            }
            name = format!("{}-{number}", short(remote.url.as_str()));
        }
        named.insert(name, Arc::clone(remote));
    }
    named
}

/// Returns the name of a remote's file.
fn file_name(name: &str) -> String {
    format!("{:016x}.position", xxhash_rust::xxh3::xxh3_64(name.as_bytes()))
}

impl Manager {
    async fn run(mut self, mut config: watch::Receiver<Arc<Config>>, mut stop: watch::Receiver<Option<Duration>>) {
        let mut members = self.deps.members.clone();
        loop {
            tokio::select! {
                biased;
                _ = stop.changed() => break,
                changed = config.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    self.take(&config).await;
                }
                Ok(()) = members.changed() => {
                    members.mark_unchanged();
                    self.take(&config).await;
                }
                () = self.deps.env.clock.sleep(NOTE_EVERY) => {
                    self.notes = self.notes.wrapping_add(1);
                    self.note(self.notes.is_multiple_of(SYNC_EVERY)).await;
                }
            }
        }
        let limit = stop.borrow().unwrap_or(RELOAD_DRAIN);
        let gone = std::mem::take(&mut self.running);
        self.end(gone.into_values().collect(), limit).await;
    }

    async fn take(&mut self, config: &watch::Receiver<Arc<Config>>) {
        let present = Arc::clone(&config.borrow());
        let members = self.deps.members.borrow().clone();
        self.apply(&present, &members).await;
    }

    /// Makes what runs what is configured, and who the members are.
    async fn apply(&mut self, config: &Config, members: &[Member]) {
        let external = &config.global.external_labels;
        let configured = named(config).into_iter().map(|(name, config)| (name, Wanted { config, external, over: None }));
        let nothing = Labels::empty();
        let others = members.iter().map(|member| {
            let (config, over) = (Arc::clone(&member.config), Some(member.over.clone()));
            (config.name.clone(), Wanted { config, external: &nothing, over })
        });
        let wanted: BTreeMap<String, Wanted<'_>> = configured.chain(others).collect();
        let stays = |name: &String, running: &Running| {
            wanted.get(name).is_some_and(|wanted| {
                let is_same_kind = wanted.over.is_some() == running.is_member;
                wanted.config == running.config && *wanted.external == running.external && is_same_kind
            })
        };
        let gone: Vec<String> =
            self.running.iter().filter(|(name, running)| !stays(name, running)).map(|(name, _)| name.clone()).collect();
        let gone: Vec<Running> = gone.iter().filter_map(|name| self.running.remove(name)).collect();
        self.end(gone, RELOAD_DRAIN).await;
        self.forget_gone(wanted.keys()).await;
        for (name, remote) in wanted {
            if self.running.contains_key(&name) {
                continue;
            }
            match self.begin(&name, remote).await {
                Ok(running) => {
                    self.running.insert(name, running);
                }
                Err(error) => tracing::error!(remote = %name, %error, "this remote is not sent to"),
            }
        }
        self.note(true).await;
    }

    async fn begin(&self, name: &str, wanted: Wanted<'_>) -> Result<Running, String> {
        let (config, external, over) = (wanted.config, wanted.external.clone(), wanted.over);
        let is_member = over.is_some();
        let (env, store) = (self.deps.env.clone(), self.deps.store.clone());
        let path = self.deps.data_dir.join(FOLDER).join(file_name(name));
        let open = move || {
            let mut file = PositionFile::open(&env, &path).map_err(|error| format!("{}: {error}", path.display()))?;
            let follower = store.follow_log(file.position()).map_err(|error| error.to_string())?;
            // A new remote begins now, also if the process dies at once.
            let noted = file.note(follower.position()).and_then(|()| file.sync());
            noted.map_err(|error| format!("{}: {error}", path.display()))?;
            Ok::<_, String>((file, follower))
        };
        let (file, follower) = self.deps.env.tasks.blocking(open).await.map_err(|error| error.to_string())??;
        let parts = QueueParts {
            env: self.deps.env.clone(),
            store: self.deps.store.clone(),
            registry: self.deps.registry.clone(),
            config: Arc::clone(&config),
            name: name.to_owned(),
            external: external.clone(),
            bytes: Arc::clone(&self.bytes),
            over,
        };
        let shared = queue::shared(&parts, follower.position())?;
        let (stop, stopping) = watch::channel(false);
        let metadata = metadata::keep_sending(Arc::clone(&shared), &config, self.deps.store.clone());
        let metadata = metadata.map(|work| self.deps.env.tasks.spawn("remote-write metadata", work));
        let queue = Queue::new(parts, Arc::clone(&shared), follower, stopping);
        let task = self.deps.env.tasks.spawn("remote-write queue", queue.run());
        Ok(Running { config, external, is_member, shared, file: Arc::new(Mutex::new(file)), stop, task, metadata })
    }

    /// Ends remotes: they send what they have within the limit, and their places are noted.
    async fn end(&self, gone: Vec<Running>, limit: Duration) {
        for running in &gone {
            running.stop.send_replace(true);
            if let Some(task) = &running.metadata {
                task.abort();
            }
        }
        let clock = &self.deps.env.clock;
        let due = clock.monotonic() + limit;
        for mut running in gone {
            let left = due.saturating_sub(clock.monotonic());
            if clock.timeout(left, &mut running.task).await.is_err() {
                tracing::info!(remote = %running.shared.name, "what was not sent in time is sent later");
                running.task.abort();
                // It has ended when this is over; its shards end with it.
                drop(running.task.await);
            }
            running.shared.metrics.gone();
            let (file, position) = (Arc::clone(&running.file), running.shared.acknowledged.position());
            self.write(vec![(file, position)], true).await;
        }
    }

    /// Notes all places, and tells the store what is still needed.
    async fn note(&self, is_synced: bool) {
        let places: Vec<(Arc<Mutex<PositionFile>>, LogPosition)> =
            self.running.values().map(|running| (Arc::clone(&running.file), running.shared.acknowledged.position())).collect();
        let needed_from = places.iter().map(|(_, position)| position.segment).min().unwrap_or(u64::MAX);
        self.write(places, is_synced).await;
        let store = self.deps.store.clone();
        if is_synced && self.deps.env.tasks.blocking(move || store.release_log(needed_from)).await.is_err() {
            tracing::error!("releasing the log failed");
        }
        let (kept, given_up) = self.deps.store.unsent_bytes();
        self.unsent.set(kept as f64);
        self.given_up.set(given_up as f64);
    }

    async fn write(&self, places: Vec<(Arc<Mutex<PositionFile>>, LogPosition)>, is_synced: bool) {
        if places.is_empty() {
            return;
        }
        let write = move || {
            for (file, position) in places {
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                let noted = file.note(position).and_then(|()| if is_synced { file.sync() } else { Ok(()) });
                if let Err(error) = noted {
                    tracing::warn!(%error, "how far samples were sent on could not be noted");
                }
            }
        };
        if self.deps.env.tasks.blocking(write).await.is_err() {
            tracing::error!("noting how far samples were sent on failed");
        }
    }

    /// Removes the places of remotes that are no longer configured: one that comes back begins anew.
    async fn forget_gone(&self, wanted: impl Iterator<Item = &String>) {
        let (disk, folder) = (Arc::clone(&self.deps.env.disk), self.deps.data_dir.join(FOLDER));
        let known: Vec<String> = wanted.map(|name| file_name(name)).collect();
        let forget = move || {
            for entry in disk.list(&folder).unwrap_or_default() {
                if entry.name.ends_with(".position")
                    && !known.contains(&entry.name)
                    && let Err(error) = disk.remove_file(&folder.join(&entry.name))
                {
                    tracing::debug!(%error, "the place of a remote that is gone could not be removed");
                }
            }
        };
        if self.deps.env.tasks.blocking(forget).await.is_err() {
            tracing::error!("looking for places of remotes failed");
        }
    }
}
