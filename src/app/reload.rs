//! Reload: everything that can fail comes first, then the new configuration is published once. A refused one changes nothing.

use super::configuration::{self, LoadError};
use crate::alerting::Alerting;
use crate::config::{Config, SENDABLE};
use crate::env::Env;
use crate::telemetry::metrics::{Gauge, Registry};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::watch;

/// Reads the configuration on a thread where it may block.
pub(super) async fn read(env: &Env, path: Option<PathBuf>) -> anyhow::Result<Arc<Config>> {
    let world = env.clone();
    let read: Result<Arc<Config>, LoadError> = env.tasks.blocking(move || configuration::load(&world, path.as_deref())).await?;
    let config = read?;
    let unsupported = config.unsupported(SENDABLE);
    anyhow::ensure!(unsupported.is_empty(), "{}", unsupported.join("; "));
    Alerting::check(env, &config).await?;
    Ok(config)
}

/// Reloads on demand. Cheap to clone.
#[derive(Clone)]
pub(super) struct Reloader {
    env: Env,
    path: Option<PathBuf>,
    config: watch::Sender<Arc<Config>>,
    successful: Gauge,
    last_success: Gauge,
}

impl Reloader {
    pub(super) fn new(env: &Env, path: Option<PathBuf>, config: watch::Sender<Arc<Config>>, registry: &Registry) -> Self {
        let gauge = |name: &str, help| registry.gauge(name, help, &[]);
        let reloader = Self {
            env: env.clone(),
            path,
            config,
            successful: gauge("watchkeeper_config_last_reload_successful", "Whether the last reload was taken."),
            last_success: gauge(
                "watchkeeper_config_last_reload_success_timestamp_seconds",
                "When the configuration in force was read.",
            ),
        };
        reloader.note_success();
        reloader
    }

    fn note_success(&self) {
        self.successful.set(1.0);
        self.last_success.set(self.env.clock.now_ms() as f64 / 1000.0);
    }

    /// Reads the configuration again and publishes it, or says what is wrong with it.
    pub(super) async fn reload(&self) -> Result<(), String> {
        match read(&self.env, self.path.clone()).await {
            Ok(config) => {
                self.config.send_replace(config);
                self.note_success();
                tracing::info!("the configuration was read again");
                Ok(())
            }
            Err(error) => {
                self.successful.set(0.0);
                let reason = format!("{error:#}");
                tracing::error!(error = %reason, "the configuration was refused; the old one goes on");
                Err(reason)
            }
        }
    }
}
