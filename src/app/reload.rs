//! Reload: everything that can fail comes first, then the new configuration is published once. A refused one changes nothing.
//!
//! A rule file that is refused does not hold back the rest: its last good version stays in force, everything else is taken,
//! and the reload says what was wrong, at which line. It has failed then, as Prometheus's has.

use super::configuration;
use super::rule_files;
use crate::alerting::Alerting;
use crate::config::{Config, ConfigError, SENDABLE};
use crate::env::Env;
use crate::rules::{self, file::RuleFileError};
use crate::telemetry::metrics::{Gauge, Registry};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::watch;

/// Reads the configuration on a thread where it may block.
pub(super) async fn read(env: &Env, path: Option<PathBuf>) -> anyhow::Result<Arc<Config>> {
    let world = env.clone();
    let read: Result<Arc<Config>, ConfigError> = env.tasks.blocking(move || configuration::load(&world, path.as_deref())).await?;
    let config = read?;
    let unsupported = config.unsupported(SENDABLE);
    anyhow::ensure!(unsupported.is_empty(), "{}", unsupported.join("; "));
    Alerting::check(env, &config).await?;
    Ok(config)
}

/// Returns what is wrong with the rule files that a configuration names, each with file, line and column.
async fn refused_rules(env: &Env, config: &Config) -> anyhow::Result<Vec<String>> {
    let patterns: Vec<PathBuf> = config.rule_files.iter().map(|file| file.path().to_owned()).collect();
    let world = env.clone();
    let check = move || {
        let mut refused = Vec::new();
        for source in rule_files::from_patterns(&world, &patterns) {
            let read = source.text.as_deref().map_err(|error| vec![RuleFileError::from(error)]).and_then(rules::file::read);
            refused.extend(read.err().iter().flatten().map(|error| error.in_file(&source.origin)));
        }
        refused
    };
    Ok(env.tasks.blocking(check).await?)
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

    /// Looks at the rule files of the start: the server starts with the good ones, so that they watch, and says so about the
    /// others, here as after a reload.
    pub(super) async fn judge_start(&self) {
        let config = Arc::clone(&self.config.borrow());
        match refused_rules(&self.env, &config).await {
            Ok(refused) if refused.is_empty() => {}
            Ok(refused) => {
                self.successful.set(0.0);
                tracing::error!(error = %refused.join("; "), "started without the rule files that are refused");
            }
            Err(error) => tracing::error!(%error, "looking at the rule files failed"),
        }
    }

    /// Reads the configuration again and publishes it, or says what is wrong with it.
    pub(super) async fn reload(&self) -> Result<(), String> {
        let taken = async {
            let config = read(&self.env, self.path.clone()).await?;
            let refused = refused_rules(&self.env, &config).await?;
            anyhow::Ok((config, refused))
        };
        match taken.await {
            Ok((config, refused)) => {
                self.config.send_replace(config);
                if refused.is_empty() {
                    self.note_success();
                    tracing::info!("the configuration was read again");
                    return Ok(());
                }
                self.successful.set(0.0);
                let reason = refused.join("; ");
                tracing::error!(error = %reason, "the configuration was read again, but not all rule files: what they said last goes on");
                Err(reason)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::Disk as _;
    use crate::env::memory_disk::MemoryDisk;
    use std::path::Path;

    const GOOD: &str = "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: up == 0\n";

    #[tokio::test]
    async fn a_refused_rule_file_fails_the_reload_with_its_place() {
        let disk = MemoryDisk::new();
        disk.create_dir_all(Path::new("/c")).unwrap();
        let put = |path: &str, text: &str| disk.replace(Path::new(path), text.as_bytes()).unwrap();
        put("/c/w.yml", "rule_files: [a.yml, 'more/*.yml']\n");
        put("/c/a.yml", GOOD);
        let env = Env { disk: Arc::new(disk.clone()), ..Env::real() };
        let path = PathBuf::from("/c/w.yml");
        let first = read(&env, Some(path.clone())).await.unwrap();
        let (sender, mut config) = watch::channel(first);
        let registry = Registry::new();
        let reloader = Reloader::new(&env, Some(path), sender, &registry);
        let successful = registry.gauge("watchkeeper_config_last_reload_successful", "", &[]);
        let is_successful = || successful.get() > 0.5;
        assert_eq!(reloader.reload().await, Ok(()));
        assert!(is_successful());

        put("/c/a.yml", &GOOD.replace("up == 0", "up == ("));
        put("/c/w.yml", "global: {scrape_interval: 7s}\nrule_files: [a.yml, 'more/*.yml']\n");
        config.mark_unchanged();
        let refused = reloader.reload().await.unwrap_err();
        assert!(refused.starts_with("/c/a.yml:5:") && refused.contains("group \"g\", rule 1, \"A\""), "{refused}");
        assert!(!is_successful());
        // The rest is taken all the same.
        assert!(config.has_changed().unwrap());
        assert_eq!(config.borrow_and_update().global.scrape_interval.as_secs(), 7);

        put("/c/a.yml", GOOD);
        assert_eq!(reloader.reload().await, Ok(()));
        assert!(is_successful());

        // At the start it is the same.
        reloader.judge_start().await;
        assert!(is_successful());
        put("/c/a.yml", "groups: [");
        reloader.judge_start().await;
        assert!(!is_successful());
    }
}
