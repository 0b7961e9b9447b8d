//! The composition root: the only module that knows everyone.
//!
//! Start: configuration -> listener (says how far opening is) -> data directory (store, state, history) -> ZooKeeper, last
//! known tree -> rules, discovery, scraping, alerting -> the real routes -> ready. What can fail fails before anything runs. Stop: the other way round, in phases with deadlines.

mod alert_states;
mod cluster;
pub mod configuration;
mod courier;
mod dashboards;
mod overlay;
mod own;
pub mod publish;
mod query_log;
mod reload;
pub mod rule_files;
mod rule_recorder;
mod session_key;
mod shutdown;
mod sources;
mod wiring;
mod zookeeper_link;

use crate::alerting::AlertingHandle;
use crate::config::Config;
use crate::config::storage::SyncPromise;
use crate::env::Env;
use crate::env::signals::{Signals, Wish};
use crate::env::tasks::TaskHandle;
use crate::remote::send::RemoteWrite;
use crate::rules::RulesHandle;
use crate::scrape::ScrapeHandle;
use crate::state::events::EventLog;
use crate::state::sled::SledState;
use crate::state::{State, StateError};
use crate::storage::{Progress, Store, StoreOptions};
use crate::telemetry::metrics::Registry;
use crate::zookeeper::{self, Connector};
use anyhow::Context as _;
use reload::Reloader;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use zookeeper_link::ZooKeeperLink;

/// How long the event history is kept.
const HISTORY_MS: i64 = 90 * 86_400_000;
/// How often changed state is written to `state.dump`.
const DUMP_EVERY: Duration = Duration::from_secs(5);

/// Space that is kept back for what must be written when the disk is full.
const RESERVE_BYTES: u64 = 16 << 20;

/// What `serve` was asked for.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// The configuration file; `None`: this host and the server itself are watched.
    pub config: Option<PathBuf>,
    /// Where everything is kept.
    pub data_dir: PathBuf,
    /// `host:port` to listen on.
    pub listen: String,
}

/// Opens the state below a data directory.
type OpenState = dyn Fn(&Env, &Path) -> Result<Arc<dyn State>, StateError> + Send + Sync;

/// What a server has of the world beyond [`Env`]: what does its own input and output behind a trait.
#[derive(Clone)]
pub(crate) struct Outside {
    /// Opens the state.
    pub(crate) open_state: Arc<OpenState>,
    /// Reaches ZooKeeper.
    pub(crate) zookeeper: Arc<dyn Connector>,
    /// Space that is kept back for what must be written when the disk is full.
    pub(crate) reserve_bytes: u64,
}

impl Outside {
    /// Returns the real world.
    fn real(env: &Env) -> Self {
        Self {
            open_state: Arc::new(|env, data| Ok(Arc::new(SledState::open(env, data)?))),
            zookeeper: zookeeper::real_connector(env),
            reserve_bytes: RESERVE_BYTES,
        }
    }
}

/// The data directory, opened.
struct Data {
    store: Store,
    state: Arc<dyn State>,
    history: Arc<EventLog>,
}

fn store_options(config: &Config, options: &ServeOptions, outside: &Outside, progress: Progress) -> StoreOptions {
    let milliseconds = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    StoreOptions {
        dir: options.data_dir.clone(),
        retention_ms: milliseconds(config.storage.retention.time),
        retention_bytes: config.storage.retention.size.0,
        out_of_order_window_ms: milliseconds(config.storage.out_of_order_window),
        exemplars_max: config.storage.max_exemplars(),
        sync: config.storage.sync == SyncPromise::Acknowledged,
        reserve_bytes: outside.reserve_bytes,
        is_followed: true,
        progress,
        ..StoreOptions::default()
    }
}

/// Opens everything below the data directory. Blocks.
fn open_data(
    env: &Env,
    config: &Config,
    options: &ServeOptions,
    outside: &Outside,
    registry: &Registry,
    progress: Progress,
) -> anyhow::Result<Data> {
    let place = options.data_dir.display();
    env.disk.create_dir_all(&options.data_dir).with_context(|| format!("data directory {place}"))?;
    // The store holds the lock on the directory: it comes first.
    let store_options = store_options(config, options, outside, progress);
    let store = Store::open(env, store_options, registry).with_context(|| format!("data directory {place}"))?;
    let state = (outside.open_state)(env, &options.data_dir).with_context(|| format!("data directory {place}"))?;
    let history = EventLog::open(env, &options.data_dir, HISTORY_MS).with_context(|| format!("data directory {place}"))?;
    Ok(Data { store, state, history: Arc::new(history) })
}

/// Writes `state.dump` whenever the state changed, and looks how much space the data directory has.
async fn keep_dump(env: Env, state: Arc<dyn State>, folder: PathBuf, registry: Registry) {
    let gauge = |name, help| registry.gauge(name, help, &[]);
    let free = gauge("watchkeeper_data_dir_free_bytes", "Space left on the file system of the data directory.");
    let size = gauge("watchkeeper_data_dir_size_bytes", "Size of the file system of the data directory.");
    loop {
        let (held, world, place) = (Arc::clone(&state), env.clone(), folder.clone());
        let work = move || (held.dump_if_changed(), world.disk.space(&place));
        match env.tasks.blocking(work).await {
            Ok((dumped, space)) => {
                if let Err(error) = dumped {
                    tracing::warn!(%error, "state.dump could not be written");
                }
                if let Ok(space) = space {
                    free.set(space.free_bytes as f64);
                    size.set(space.total_bytes as f64);
                }
            }
            Err(error) => tracing::error!(%error, "writing state.dump failed"),
        }
        env.clock.sleep(DUMP_EVERY).await;
    }
}

/// Everything that runs, in the order in which it is stopped.
struct Running {
    ready: watch::Sender<bool>,
    serving: watch::Sender<bool>,
    server: TaskHandle<usize>,
    scrape: ScrapeHandle,
    rules: RulesHandle,
    alerting: AlertingHandle,
    courier: TaskHandle<()>,
    cluster: Option<cluster::Running>,
    zookeeper: Option<ZooKeeperLink>,
    remote_write: RemoteWrite,
    dumper: TaskHandle<()>,
    data: Data,
}

/// Returns where links lead to: what the configuration says, else the listen address.
fn external_url(config: &Config, listen: &str) -> String {
    let configured = config.web.external_url.as_str();
    if configured.is_empty() {
        tracing::warn!(%listen, "web.external_url is not set: links in notifications lead to the listen address");
        let scheme = if config.web.tls_server_config.is_some() { "https" } else { "http" };
        return format!("{scheme}://{listen}");
    }
    configured.trim_end_matches('/').to_owned()
}

/// A server that runs.
pub(crate) struct Server {
    env: Env,
    running: Running,
    reloader: Reloader,
    quitting: mpsc::Receiver<()>,
}

impl Server {
    /// Starts a server; it is ready when this returns.
    ///
    /// # Errors
    /// As [`serve`].
    pub(crate) async fn start(env: Env, options: ServeOptions, outside: Outside) -> anyhow::Result<Self> {
        let started_ms = env.clock.now_ms();
        let registry = Registry::new();
        own::note_build(&registry);
        let file = reload::read(&env, options.config.clone()).await?;
        let first = Arc::clone(file.config());
        let listener = env.network.listen(&options.listen).await.with_context(|| format!("listening on {}", options.listen))?;
        let listen = listener.local_address().map_or_else(|_| options.listen.clone(), |address| address.to_string());
        let progress = Progress::reported(&env, &registry);
        let (config_sender, config) = watch::channel(Arc::clone(&first));
        let door = wiring::Door::open(&env, listener, config.clone(), &registry, progress.clone());
        let opening = (env.clone(), Arc::clone(&first), options.clone(), outside.clone(), registry.clone());
        let open = move || open_data(&opening.0, &opening.1, &opening.2, &opening.3, &opening.4, progress);
        let data = env.tasks.blocking(open).await??;
        let reloader = Reloader::start(&env, options.config.clone(), file, config_sender, &registry);
        let (quit, quitting) = mpsc::channel(1);
        let parts = wiring::Parts { env: env.clone(), options, outside, registry, config, listen, started_ms };
        let running = wiring::start(parts, data, door, &reloader, quit).await?;
        running.ready.send_replace(true);
        reloader.judge_start().await;
        Ok(Self { env, running, reloader, quitting })
    }

    /// Stops in good order.
    pub(crate) async fn stop(self) {
        tracing::info!("stopping");
        self.running.stop(&self.env).await;
    }

    /// Returns the store, for who does what its threads would do.
    #[cfg(test)]
    pub(crate) fn store(&self) -> Store {
        self.running.data.store.clone()
    }
}

/// Runs the server until it is told to stop.
///
/// # Errors
/// When it cannot start: the configuration is refused, the data directory is in use or cannot be read, the address is taken.
pub async fn serve(env: Env, options: ServeOptions) -> anyhow::Result<()> {
    let mut signals = Signals::listen().context("signals")?;
    let outside = Outside::real(&env);
    let mut server = Server::start(env, options, outside).await?;
    loop {
        tokio::select! {
            biased;
            _ = server.quitting.recv() => break,
            wish = signals.next() => match wish {
                Wish::Stop => break,
                // The outcome is in the log, the metrics and on the dashboard.
                Wish::Reload => drop(server.reloader.reload().await),
            },
        }
    }
    server.stop().await;
    Ok(())
}

impl Running {
    /// Stops in the order of ARCHITECTURE.md, each phase with its deadline; all of them together end within
    /// [`shutdown::TOTAL`]. What a late phase leaves behind is found again after the next start.
    async fn stop(self, env: &Env) {
        self.ready.send_replace(false);
        let began = env.clock.monotonic();
        let ms = Duration::from_millis;
        shutdown::phase(env, "scraping", ms(1500), self.scrape.stop()).await;
        shutdown::phase(env, "rules", ms(1500), self.rules.stop()).await;
        // Alerts that rules have handed on and nobody took are told again by the rules after the start.
        self.courier.abort();
        shutdown::phase(env, "alerting", ms(2500), self.alerting.stop()).await;
        if let Some(cluster) = self.cluster {
            cluster.stop(env).await;
        }
        if let Some(zookeeper) = self.zookeeper {
            zookeeper.stop(env).await;
        }
        shutdown::phase(env, "remote write", ms(2000), self.remote_write.stop(ms(1500))).await;
        self.serving.send_replace(true);
        shutdown::phase(env, "connections", ms(1200), async {
            if let Err(error) = self.server.await {
                tracing::error!(%error, "the listener failed");
            }
        })
        .await;
        self.dumper.abort();
        let Data { store, state, history } = self.data;
        drop(history);
        let left = shutdown::TOTAL.saturating_sub(env.clock.monotonic().saturating_sub(began));
        shutdown::phase(env, "store", left, async {
            let closing = env.tasks.blocking(move || (store.close(), state.sync().and_then(|()| state.dump_if_changed())));
            match closing.await {
                Ok((Ok(()), Ok(()))) => {}
                Ok((store, state)) => tracing::error!(?store, ?state, "closing the data directory failed"),
                Err(error) => tracing::error!(%error, "closing the data directory failed"),
            }
        })
        .await;
    }
}
