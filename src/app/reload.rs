//! Reload: everything that can fail comes first, then the new configuration is published once. A refused one changes nothing.
//!
//! A rule file that is refused does not hold back the rest: its last good version stays in force, everything else is taken,
//! and the reload says what was wrong, at which line. It has failed then, as Prometheus's has.
//!
//! What ZooKeeper lays over the file ([`super::overlay`]) is laid over it anew each time, and comes in by the same channel.

use super::configuration;
use super::overlay::{self, Layers};
use super::rule_files;
use crate::alerting::Alerting;
use crate::cluster::overlay::{OverlayView, Texts};
use crate::config::overlay::FileLayer;
use crate::config::{Config, ConfigError};
use crate::env::Env;
use crate::net::server_tls;
use crate::rules::{self, file::RuleFileError};
use crate::state::State;
use crate::telemetry::metrics::{Gauge, Registry};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot, watch};

/// Reads the configuration file on a thread where it may block.
pub(super) async fn read(env: &Env, path: Option<PathBuf>) -> anyhow::Result<FileLayer> {
    let world = env.clone();
    let read: Result<FileLayer, ConfigError> = env.tasks.blocking(move || configuration::load(&world, path.as_deref())).await?;
    let file = read?;
    overlay::supported(file.config()).map_err(anyhow::Error::msg)?;
    Alerting::check(env, file.config()).await?;
    let (world, config) = (env.clone(), Arc::clone(file.config()));
    let check = move || config.web.tls_server_config.as_ref().map_or(Ok(()), |tls| server_tls::check(&world, tls));
    env.tasks.blocking(check).await??;
    Ok(file)
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

/// What the task is asked for; each is answered when it is done.
enum Command {
    Reload(oneshot::Sender<Result<(), String>>),
    JudgeStart(oneshot::Sender<()>),
    BeginOverlay { state: Arc<dyn State>, root: String, known: Option<Result<Texts, String>>, done: oneshot::Sender<()> },
    LayOver(Result<Texts, String>, oneshot::Sender<()>),
}

/// Speaks to the task that owns the configuration. Cheap to clone.
#[derive(Clone)]
pub(super) struct Reloader {
    commands: mpsc::Sender<Command>,
    overlay: watch::Receiver<Arc<OverlayView>>,
    refusal: watch::Receiver<String>,
}

impl Reloader {
    /// Starts the task with the file as read at the start. It ends with the last handle.
    pub(super) fn start(
        env: &Env,
        path: Option<PathBuf>,
        file: FileLayer,
        config: watch::Sender<Arc<Config>>,
        registry: &Registry,
    ) -> Self {
        let (commands, asked) = mpsc::channel(8);
        let (overlay, overlay_seen) = watch::channel(Arc::new(overlay::view_of_file(&file)));
        let (refusal, refusal_seen) = watch::channel(String::new());
        let owner = Owner::new(env, path, file, config, (overlay, refusal), registry);
        drop(env.tasks.spawn("configuration", owner.run(asked)));
        Self { commands, overlay: overlay_seen, refusal: refusal_seen }
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        self.commands.send(command(answer)).await.ok()?;
        answered.await.ok()
    }

    /// Reads the configuration again and publishes it, or says what is wrong with it.
    pub(super) async fn reload(&self) -> Result<(), String> {
        self.ask(Command::Reload).await.unwrap_or_else(|| Err("the server is stopping".to_owned()))
    }

    /// Looks at the rule files of the start: the server starts with the good ones, so that they watch, and says so about the
    /// others, here as after a reload.
    pub(super) async fn judge_start(&self) {
        self.ask(Command::JudgeStart).await.unwrap_or_default();
    }

    /// Returns what the server made of ZooKeeper's overlay, and where each part of the configuration comes from.
    pub(super) fn overlay(&self) -> watch::Receiver<Arc<OverlayView>> {
        self.overlay.clone()
    }

    /// Returns why the last reload was refused, in whole or in part, with the place; empty where it was not.
    pub(super) fn refusal(&self) -> watch::Receiver<String> {
        self.refusal.clone()
    }

    /// Begins to follow an overlay; `known` is what it was when this server last saw it. What is wrong with it is told.
    pub(super) async fn begin_overlay(&self, state: &Arc<dyn State>, root: &str, known: Option<Result<Texts, String>>) {
        let (state, root) = (Arc::clone(state), root.to_owned());
        self.ask(|done| Command::BeginOverlay { state, root, known, done }).await.unwrap_or_default();
    }

    /// Lays what is in ZooKeeper now over the file as it was last read; an `Err` names a folder that may not be read.
    pub(super) async fn lay_over(&self, found: Result<Texts, String>) {
        self.ask(|done| Command::LayOver(found, done)).await.unwrap_or_default();
    }
}

/// The task: what it is made of, and what it publishes.
struct Owner {
    env: Env,
    path: Option<PathBuf>,
    config: watch::Sender<Arc<Config>>,
    layers: Layers,
    overlay: watch::Sender<Arc<OverlayView>>,
    refusal: watch::Sender<String>,
    successful: Gauge,
    last_success: Gauge,
}

/// Tells that a command is done; who has gone does not hear it.
fn answer<T>(to: oneshot::Sender<T>, value: T) {
    if to.send(value).is_err() {
        tracing::trace!("nobody waits for the answer any more");
    }
}

impl Owner {
    fn new(
        env: &Env,
        path: Option<PathBuf>,
        file: FileLayer,
        config: watch::Sender<Arc<Config>>,
        (overlay, refusal): (watch::Sender<Arc<OverlayView>>, watch::Sender<String>),
        registry: &Registry,
    ) -> Self {
        let gauge = |name: &str, help| registry.gauge(name, help, &[]);
        let owner = Self {
            env: env.clone(),
            path,
            config,
            overlay,
            refusal,
            layers: Layers::new(file, registry),
            successful: gauge("watchkeeper_config_last_reload_successful", "Whether the last reload was taken."),
            last_success: gauge(
                "watchkeeper_config_last_reload_success_timestamp_seconds",
                "When the configuration in force was read.",
            ),
        };
        owner.note_success();
        owner
    }

    async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        while let Some(command) = commands.recv().await {
            match command {
                Command::Reload(to) => answer(to, Box::pin(self.reload()).await),
                Command::JudgeStart(to) => {
                    self.judge_start().await;
                    answer(to, ());
                }
                Command::BeginOverlay { state, root, known, done } => {
                    self.layers.begin(&self.env, state, &root).await;
                    if let Some(known) = known {
                        Box::pin(self.lay_over(known)).await;
                    }
                    answer(done, ());
                }
                Command::LayOver(found, done) => {
                    Box::pin(self.lay_over(found)).await;
                    answer(done, ());
                }
            }
        }
    }

    fn note_success(&self) {
        self.successful.set(1.0);
        self.last_success.set(self.env.clock.now_ms() as f64 / 1000.0);
        self.refusal.send_replace(String::new());
    }

    fn note_refusal(&self, reason: &str) {
        self.successful.set(0.0);
        self.refusal.send_replace(reason.to_owned());
    }

    async fn judge_start(&self) {
        let config = Arc::clone(&self.config.borrow());
        match refused_rules(&self.env, &config).await {
            Ok(refused) if refused.is_empty() => {}
            Ok(refused) => {
                let reason = refused.join("; ");
                self.note_refusal(&reason);
                tracing::error!(error = %reason, "started without the rule files that are refused");
            }
            Err(error) => tracing::error!(%error, "looking at the rule files failed"),
        }
    }

    async fn lay_over(&mut self, found: Result<Texts, String>) {
        self.layers.found(found);
        match self.layers.lay(&self.env, None).await {
            Ok(laid) => {
                let config = Arc::new(laid.config.clone());
                let is_new = self.config.send_if_modified(|held| {
                    let differs = *held != config;
                    if differs {
                        *held = config;
                    }
                    differs
                });
                if is_new {
                    tracing::info!("the configuration in ZooKeeper is live");
                }
                self.layers.take(&self.env, None, laid, &self.overlay).await;
            }
            Err(error) => {
                tracing::error!(error = %format!("{error:#}"), "the configuration in ZooKeeper cannot be laid over the file");
            }
        }
    }

    async fn reload(&mut self) -> Result<(), String> {
        let taken = async {
            let file = read(&self.env, self.path.clone()).await?;
            let laid = self.layers.lay(&self.env, Some(&file)).await?;
            self.layers.goes_on(&laid)?;
            let refused = refused_rules(&self.env, &laid.config).await?;
            anyhow::Ok((file, laid, refused))
        };
        match taken.await {
            Ok((file, laid, refused)) => {
                self.config.send_replace(Arc::new(laid.config.clone()));
                self.layers.take(&self.env, Some(file), laid, &self.overlay).await;
                if refused.is_empty() {
                    self.note_success();
                    tracing::info!("the configuration was read again");
                    return Ok(());
                }
                let reason = refused.join("; ");
                self.note_refusal(&reason);
                tracing::error!(error = %reason, "the configuration was read again, but not all rule files: what they said last goes on");
                Err(reason)
            }
            Err(error) => {
                let reason = format!("{error:#}");
                self.note_refusal(&reason);
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
        let (sender, mut config) = watch::channel(Arc::clone(first.config()));
        let registry = Registry::new();
        let reloader = Reloader::start(&env, Some(path), first, sender, &registry);
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
        assert_eq!(*reloader.refusal().borrow(), refused);
        // The rest is taken all the same.
        assert!(config.has_changed().unwrap());
        assert_eq!(config.borrow_and_update().global.scrape_interval.as_secs(), 7);

        put("/c/a.yml", GOOD);
        assert_eq!(reloader.reload().await, Ok(()));
        assert!(is_successful());
        assert_eq!(*reloader.refusal().borrow(), "");

        // At the start it is the same.
        reloader.judge_start().await;
        assert!(is_successful());
        put("/c/a.yml", "groups: [");
        reloader.judge_start().await;
        assert!(!is_successful());
    }
    #[tokio::test]
    async fn a_file_that_does_not_go_with_the_overlay_is_refused() {
        use crate::cluster::overlay::Text;
        use crate::state::memory::MemoryState;
        let disk = MemoryDisk::new();
        disk.create_dir_all(Path::new("/c")).unwrap();
        let put = |text: &str| disk.replace(Path::new("/c/w.yml"), text.as_bytes()).unwrap();
        put("global: {scrape_interval: 10s}\n");
        let env = Env { disk: Arc::new(disk.clone()), ..Env::real() };
        let path = PathBuf::from("/c/w.yml");
        let file = read(&env, Some(path.clone())).await.unwrap();
        let (sender, config) = watch::channel(Arc::clone(file.config()));
        let reloader = Reloader::start(&env, Some(path), file, sender, &Registry::new());
        let state: Arc<dyn State> = Arc::new(MemoryState::default());
        reloader.begin_overlay(&state, "/w", None).await;
        let texts = |words: &str| Texts {
            config: None,
            scrape: vec![Text { path: "/w/config/scrape/a".to_owned(), text: Ok(words.to_owned()), mzxid: 1, modified_ms: 1 }],
        };
        reloader.lay_over(Ok(texts("{job_name: a, scrape_timeout: 5s}"))).await;
        let jobs = || config.borrow().scrape_configs.len();
        assert_eq!((jobs(), reloader.overlay().borrow().version), (1, 1));

        put("global: {scrape_interval: 1s, scrape_timeout: 1s}\n");
        let refused = reloader.reload().await.unwrap_err();
        assert!(refused.contains("does not go with this file") && refused.contains("/w/config/scrape/a:1:31"), "{refused}");
        assert_eq!((jobs(), config.borrow().global.scrape_interval.as_secs()), (1, 10));

        // What may not be read any more stays; what is gone goes, and then the file is fine.
        reloader.lay_over(Err("/w/config".to_owned())).await;
        assert_eq!(jobs(), 1);
        assert!(reloader.overlay().borrow().znodes[0].refused.is_some());
        reloader.lay_over(Ok(Texts::default())).await;
        assert_eq!(jobs(), 0);
        assert_eq!(reloader.reload().await, Ok(()));
        assert_eq!(config.borrow().global.scrape_interval.as_secs(), 1);
        // Without any good text a broken one is left out.
        reloader.lay_over(Ok(texts("{job_name: a, scrape_timeout: 5s}"))).await;
        assert_eq!((jobs(), reloader.overlay().borrow().znodes[0].is_active), (0, false));
    }
}
