//! What the server watches without being told: itself and, where wanted, this host. No network in between.

use crate::config::Config;
use crate::env::Env;
use crate::exposition::encode;
use crate::host::{HostCollector, own_process};
use crate::scrape::InProcessTarget;
use crate::storage::Store;
use crate::telemetry::metrics::Registry;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How often the store is counted: that walks over all its groups.
const COUNT_EVERY: Duration = Duration::from_secs(15);

/// The server's own metrics page: what its modules count, and its process.
#[must_use]
pub(super) fn metrics_page(env: &Env, registry: &Registry) -> Vec<u8> {
    let mut page = encode::families(&registry.snapshot());
    page.extend_from_slice(&own_process(env));
    page
}

/// Notes what was built, once.
pub(super) fn note_build(registry: &Registry) {
    let labels = [("version", env!("CARGO_PKG_VERSION")), ("rustversion", env!("CARGO_PKG_RUST_VERSION"))];
    registry.gauge("watchkeeper_build_info", "1, with what was built as labels.", &labels).set(1.0);
}

fn targets(env: &Env, config: &Config, registry: &Registry, listen: &str, host: &str) -> Vec<InProcessTarget> {
    let (own_env, own_registry) = (env.clone(), registry.clone());
    let mut targets = vec![InProcessTarget {
        job: "watchkeeper".to_owned(),
        instance: listen.to_owned(),
        url: format!("http://{listen}/metrics"),
        source: Arc::new(move || metrics_page(&own_env, &own_registry)),
    }];
    if config.host_metrics.enabled {
        let collector = HostCollector::new(env, &config.host_metrics.collectors);
        targets.push(InProcessTarget {
            job: "node".to_owned(),
            instance: host.to_owned(),
            url: format!("http://{listen}/metrics"),
            source: Arc::new(move || collector.collect()),
        });
    }
    targets
}

/// Counts what the store holds, again and again until nobody configures any more.
pub(super) async fn count_store(env: Env, mut config: watch::Receiver<Arc<Config>>, registry: Registry, store: Store) {
    let series = registry.gauge("watchkeeper_tsdb_head_series", "Series in the head.", &[]);
    let blocks = registry.gauge("watchkeeper_tsdb_blocks_loaded", "Blocks on disk.", &[]);
    let bytes = registry.gauge("watchkeeper_tsdb_storage_blocks_bytes", "Bytes of the blocks on disk.", &[]);
    loop {
        let counted = store.clone();
        if let Ok(stats) = env.tasks.blocking(move || counted.stats()).await {
            series.set(stats.series as f64);
            blocks.set(stats.blocks as f64);
            bytes.set(stats.block_bytes as f64);
        }
        tokio::select! {
            biased;
            changed = config.changed() => if changed.is_err() { return },
            () = env.clock.sleep(COUNT_EVERY) => {}
        }
    }
}

/// Publishes the in-process targets, and again when the configuration changes what is collected.
pub(super) fn in_process(
    env: &Env,
    mut config: watch::Receiver<Arc<Config>>,
    registry: &Registry,
    listen: String,
) -> watch::Receiver<Vec<InProcessTarget>> {
    let host = env.host_name();
    let present = config.borrow_and_update().clone();
    let (sender, receiver) = watch::channel(targets(env, &present, registry, &listen, &host));
    let (env, registry) = (env.clone(), registry.clone());
    env.clone().tasks.spawn("in-process-targets", async move {
        let mut held = present.host_metrics.clone();
        while config.changed().await.is_ok() {
            let fresh = config.borrow_and_update().clone();
            if fresh.host_metrics != held {
                held = fresh.host_metrics.clone();
                sender.send_replace(targets(&env, &fresh, &registry, &listen, &host));
            }
        }
    });
    receiver
}
