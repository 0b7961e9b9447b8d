//! The composition root: the only module that knows everyone.
//!
//! Start: configuration -> data directory (store, state, history) -> ZooKeeper, last known tree -> rules, discovery, scraping,
//! alerting -> listener -> ready. What can fail fails before anything runs. Stop: the other way round, in phases with deadlines.

pub mod configuration;
pub mod rule_files;
mod shutdown;
mod sources;
mod zookeeper_link;

use crate::config::Config;
use crate::config::storage::SyncPromise;
use crate::env::Env;
use crate::env::signals::{Signals, Wish};
use crate::state::State;
use crate::state::events::EventLog;
use crate::state::sled::SledState;
use crate::storage::{Store, StoreOptions};
use crate::telemetry::metrics::Registry;
use anyhow::Context as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How long the event history is kept.
const HISTORY_MS: i64 = 90 * 86_400_000;
/// How often changed state is written to `state.dump`.
const DUMP_EVERY: Duration = Duration::from_secs(5);

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

/// The data directory, opened.
struct Data {
    store: Store,
    state: Arc<SledState>,
    history: Arc<EventLog>,
}

fn store_options(config: &Config, options: &ServeOptions) -> StoreOptions {
    let milliseconds = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    StoreOptions {
        dir: options.data_dir.clone(),
        retention_ms: milliseconds(config.storage.retention.time),
        retention_bytes: config.storage.retention.size.0,
        out_of_order_window_ms: milliseconds(config.storage.out_of_order_window),
        exemplars_max: config.storage.max_exemplars(),
        sync: config.storage.sync == SyncPromise::Acknowledged,
        ..StoreOptions::default()
    }
}

/// Opens everything below the data directory. Blocks.
fn open_data(env: &Env, config: &Config, options: &ServeOptions, registry: &Registry) -> anyhow::Result<Data> {
    let place = options.data_dir.display();
    env.disk.create_dir_all(&options.data_dir).with_context(|| format!("data directory {place}"))?;
    // The store holds the lock on the directory: it comes first.
    let store = Store::open(env, store_options(config, options), registry).with_context(|| format!("data directory {place}"))?;
    let state = SledState::open(env, &options.data_dir).with_context(|| format!("data directory {place}"))?;
    let history = EventLog::open(env, &options.data_dir, HISTORY_MS).with_context(|| format!("data directory {place}"))?;
    Ok(Data { store, state: Arc::new(state), history: Arc::new(history) })
}

/// Writes `state.dump` whenever the state changed.
async fn keep_dump(env: Env, state: Arc<SledState>) {
    loop {
        env.clock.sleep(DUMP_EVERY).await;
        let held = Arc::clone(&state);
        match env.tasks.blocking(move || held.dump_if_changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "state.dump could not be written"),
            Err(error) => tracing::error!(%error, "writing state.dump failed"),
        }
    }
}

/// Runs the server until it is told to stop.
///
/// # Errors
/// When it cannot start: the configuration is refused, the data directory is in use or cannot be read, the address is taken.
pub async fn serve(env: Env, options: ServeOptions) -> anyhow::Result<()> {
    let mut signals = Signals::listen().context("signals")?;
    let registry = Registry::new();
    let loading = (env.clone(), options.config.clone());
    let config = env.tasks.blocking(move || configuration::load(&loading.0, loading.1.as_deref())).await??;
    let opening = (env.clone(), Arc::clone(&config), options.clone(), registry.clone());
    let data = env.tasks.blocking(move || open_data(&opening.0, &opening.1, &opening.2, &opening.3)).await??;
    let (config_sender, config) = watch::channel(config);
    let dumper = env.tasks.spawn("state-dump", keep_dump(env.clone(), Arc::clone(&data.state)));
    let state: Arc<dyn State> = Arc::clone(&data.state) as Arc<dyn State>;
    let zookeeper = zookeeper_link::start(&env, &config.borrow(), &state, &registry).await?;
    loop {
        match signals.next().await {
            Wish::Stop => break,
            Wish::Reload => {
                let loading = (env.clone(), options.config.clone());
                match env.tasks.blocking(move || configuration::load(&loading.0, loading.1.as_deref())).await? {
                    Ok(config) => drop(config_sender.send_replace(config)),
                    Err(error) => tracing::error!(%error, "the configuration was refused; the old one goes on"),
                }
            }
        }
    }
    if let Some(zookeeper) = zookeeper {
        zookeeper.stop(&env).await;
    }
    dumper.abort();
    let Data { store, state, history } = data;
    drop(history);
    shutdown::phase(&env, "store", Duration::from_secs(30), async {
        let closing = env.tasks.blocking(move || (store.close(), state.sync().and_then(|()| state.dump_if_changed())));
        match closing.await {
            Ok((Ok(()), Ok(()))) => {}
            Ok((store, state)) => tracing::error!(?store, ?state, "closing the data directory failed"),
            Err(error) => tracing::error!(%error, "closing the data directory failed"),
        }
    })
    .await;
    Ok(())
}
