//! Rule files in, running groups out. One task owns all: it takes files and configuration as they change, file by file.
//!
//! A file that is broken is refused and its last good version goes on, also after a restart (good texts are kept in the
//! state store). A group that says the same as before is left alone; one that changed hands its alerts on to its
//! successor, rule by rule; alerts of rules that are gone are resolved.

use super::file::{self, RuleFileError};
use super::group::{First, Group, GroupState, Settings, Shared, bury};
use super::memory::Memory;
use super::metrics::Metrics;
use super::overrides;
use super::spec::{GroupKey, GroupSpec, RuleFile};
use super::view::{FileView, RefusedFile, RulesView};
use super::watch::{Board, Waker};
use crate::config::Config;
use crate::env::{Env, tasks::TaskHandle};
use crate::model::alert::{Alert, AlertChange};
use crate::model::rule_inputs::RuleInputs;
use crate::model::rule_source::{RuleOrigin, RuleSource, RuleSources};
use crate::promql::engine::Engine;
use crate::state::State;
use crate::storage::append::Append;
use crate::storage::select::Querier;
use crate::telemetry::metrics::Registry;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{mpsc, watch};

/// How long a told alert stays told (`rules.alert.resend-delay`).
const RESEND_DELAY_MS: i64 = 60_000;

/// What the rules need of the world.
pub struct RuleDeps {
    /// Clock and tasks.
    pub env: Env,
    /// Answers queries.
    pub engine: Arc<Engine>,
    /// Where series are read.
    pub querier: Arc<dyn Querier>,
    /// Where series are written.
    pub append: Arc<dyn Append>,
    /// Where alerts go; sending waits.
    pub alerts: mpsc::Sender<Vec<Alert>>,
    /// Where changes of alerts' states go; sending does not wait.
    pub changes: mpsc::Sender<Vec<AlertChange>>,
    /// The address of this server as users reach it, without a slash at its end.
    pub external_url: String,
    /// Where the rules' own metrics live.
    pub registry: Registry,
    /// Where firing alerts and good rule files are remembered.
    pub state: Arc<dyn State>,
    /// Takes what watched groups read, for whoever writes samples.
    pub inputs: watch::Sender<Arc<RuleInputs>>,
}

/// The rules of the server; starts with [`RuleManager::start`].
#[derive(Clone, Copy, Debug)]
pub struct RuleManager;

/// A hold on running rules. Cheap to clone.
#[derive(Clone)]
pub struct RulesHandle {
    shared: Arc<Shared>,
    files: watch::Receiver<Arc<Files>>,
    stop: watch::Sender<bool>,
    tasks: Arc<Mutex<Option<RunningTasks>>>,
}

/// What runs until the end.
struct RunningTasks {
    manager: TaskHandle<()>,
    /// Writes the configuration's overrides.
    thresholds: TaskHandle<()>,
    /// Writes down what groups remember.
    writer: TaskHandle<()>,
}

/// What is known about the files.
#[derive(Debug, Default)]
struct Files {
    /// The groups in force, in order.
    groups: Vec<GroupKey>,
    refused: Vec<RefusedFile>,
    files: Vec<FileView>,
    /// How many sources were taken in.
    generation: u64,
}

impl RuleManager {
    /// Starts the rules: groups run as soon as `sources` has files.
    #[must_use]
    pub fn start(
        deps: RuleDeps,
        config: watch::Receiver<Arc<Config>>,
        sources: watch::Receiver<Arc<RuleSources>>,
    ) -> RulesHandle {
        let env = deps.env.clone();
        let memory = Arc::new(Memory::new(&env, Arc::clone(&deps.state)));
        let writer = env.tasks.spawn("rules memory", Arc::clone(&memory).run());
        let (stop, stopped) = watch::channel(false);
        let shared = Arc::new(Shared {
            memory,
            stopping: stopped.clone(),
            env: deps.env,
            engine: deps.engine,
            querier: deps.querier,
            append: deps.append,
            state: deps.state,
            alerts: deps.alerts,
            changes: deps.changes,
            external_url: deps.external_url,
            metrics: Metrics::new(&deps.registry),
            views: Mutex::default(),
            board: Board::new(deps.inputs),
        });
        let (publish, files) = watch::channel(Arc::default());
        let (first_settings, watched) = {
            let config = config.borrow();
            (settings(&config), config.watch_rule_groups.clone())
        };
        let thresholds = env.tasks.spawn("rules overrides", overrides::run(Arc::clone(&shared), config.clone()));
        let manager = Manager {
            shared: Arc::clone(&shared),
            settings: first_settings,
            watched,
            watched_nowhere: Vec::new(),
            config,
            sources,
            stop: stopped,
            publish,
            known: BTreeMap::new(),
            running: BTreeMap::new(),
            generation: 0,
        };
        let task = env.tasks.spawn("rules", manager.run());
        RulesHandle { shared, files, stop, tasks: Arc::new(Mutex::new(Some(RunningTasks { manager: task, thresholds, writer }))) }
    }
}

impl RulesHandle {
    /// Returns the rules as they are now.
    #[must_use]
    pub fn view(&self) -> Arc<RulesView> {
        let files = Arc::clone(&self.files.borrow());
        let views = self.shared.views.lock().unwrap_or_else(PoisonError::into_inner);
        let groups = files.groups.iter().filter_map(|key| views.get(key).map(Arc::clone)).collect();
        Arc::new(RulesView { groups, refused: files.refused.clone(), files: files.files.clone() })
    }

    /// Waits until another set of files has been taken in, good or refused. Ends with an error when the rules have stopped.
    ///
    /// # Errors
    /// When the rules have stopped.
    pub async fn changed(&mut self) -> Result<(), watch::error::RecvError> {
        self.files.changed().await
    }

    /// Returns how many sets of files have been taken in.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.files.borrow().generation
    }

    /// Stops all groups: evaluations that run are finished, alerts stay as they are, and what they remember is on disk.
    pub async fn stop(&self) {
        self.stop.send_replace(true);
        let tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(RunningTasks { manager, thresholds, writer }) = tasks else { return };
        for task in [thresholds, manager] {
            if let Err(error) = task.await {
                tracing::error!(%error, "the rules ended badly");
            }
        }
        self.shared.memory.close();
        if let Err(error) = writer.await {
            tracing::error!(%error, "the memory of rules ended badly");
        }
    }
}

impl std::fmt::Debug for RulesHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RulesHandle").field("files", &self.files.borrow().files.len()).finish_non_exhaustive()
    }
}

fn settings(config: &Config) -> Settings {
    let milliseconds = |duration: std::time::Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    Settings {
        interval_ms: milliseconds(config.global.evaluation_interval),
        query_offset_ms: milliseconds(config.global.rule_query_offset),
        external_labels: config.global.external_labels.clone(),
        resend_delay_ms: RESEND_DELAY_MS,
    }
}

/// A file as it was last found.
struct Known {
    source: RuleSource,
    /// The last good version.
    good: Option<Good>,
    refused: Option<RefusedFile>,
}

struct Good {
    file: Arc<RuleFile>,
    version: u64,
}

/// A group that runs.
struct Running {
    spec: Arc<GroupSpec>,
    settings: Settings,
    /// Present where it is evaluated as soon as its inputs change.
    waker: Option<Arc<Waker>>,
    stop: watch::Sender<bool>,
    task: TaskHandle<GroupState>,
}

struct Manager {
    shared: Arc<Shared>,
    config: watch::Receiver<Arc<Config>>,
    sources: watch::Receiver<Arc<RuleSources>>,
    stop: watch::Receiver<bool>,
    publish: watch::Sender<Arc<Files>>,
    settings: Settings,
    /// Names of the groups that are evaluated as soon as their inputs change.
    watched: Vec<String>,
    /// Those of them that no file has, as last warned of.
    watched_nowhere: Vec<String>,
    known: BTreeMap<RuleOrigin, Known>,
    running: BTreeMap<GroupKey, Running>,
    generation: u64,
}

impl Manager {
    async fn run(mut self) {
        loop {
            let sources = Arc::clone(&self.sources.borrow_and_update());
            {
                let config = self.config.borrow_and_update();
                self.settings = settings(&config);
                self.watched.clone_from(&config.watch_rule_groups);
            }
            self.take_in(&sources).await;
            tokio::select! {
                biased;
                _ = self.stop.wait_for(|stop| *stop) => break,
                Ok(()) = self.sources.changed() => {}
                Ok(()) = self.config.changed() => {}
            }
        }
        for running in self.running.values() {
            running.stop.send_replace(true);
        }
        for (_, running) in std::mem::take(&mut self.running) {
            finished(running.task).await;
        }
    }

    /// Reads what changed, starts and stops groups, and shows the result.
    async fn take_in(&mut self, sources: &RuleSources) {
        let first = if self.generation == 0 { First::Phased } else { First::Now };
        for source in &sources.files {
            let is_new = self.known.get(&source.origin).is_none_or(|known| known.source.text != source.text);
            if is_new {
                self.read(source).await;
            } else if let Some(known) = self.known.get_mut(&source.origin) {
                known.source = source.clone();
            }
        }
        let is_gone = |origin: &RuleOrigin| !sources.files.iter().any(|source| source.origin == *origin);
        let gone: Vec<RuleOrigin> = self.known.keys().filter(|origin| is_gone(origin)).cloned().collect();
        for origin in gone {
            self.known.remove(&origin);
            self.shared.metrics.refused(&origin.to_string(), None);
            self.forget_text(&origin).await;
            tracing::info!(file = %origin, "rule file is gone");
        }
        self.swap(first).await;
        self.generation += 1;
        self.show();
    }

    /// Reads one file. A broken one is refused, and its last good version stays.
    async fn read(&mut self, source: &RuleSource) {
        let parsed = match &source.text {
            Ok(text) => self.parse(text.clone()).await,
            Err(error) => Err(vec![RuleFileError::from(error)]),
        };
        let before = self.known.remove(&source.origin).and_then(|known| known.good);
        let (good, refused) = match parsed {
            Ok(read) => {
                let rules: usize = read.groups.iter().map(|group| group.rules.len()).sum();
                tracing::info!(file = %source.origin, rules, "rule file is good");
                self.keep_text(source).await;
                (Some(Good { file: Arc::new(read), version: source.version }), None)
            }
            Err(errors) => {
                let good = match before {
                    Some(good) => Some(good),
                    None => self.kept_text(&source.origin).await,
                };
                let refused = self.refuse(source, &errors, good.is_some());
                (good, Some(refused))
            }
        };
        self.shared.metrics.refused(&source.origin.to_string(), Some(refused.is_some()));
        self.known.insert(source.origin.clone(), Known { source: source.clone(), good, refused });
    }

    async fn parse(&self, text: String) -> Result<RuleFile, Vec<RuleFileError>> {
        let parsed = self.shared.env.tasks.blocking(move || file::read(&text).map(|read| read.file)).await;
        let broke = |error| Err(vec![RuleFileError { line: 0, column: 0, message: format!("reading it broke: {error}") }]);
        parsed.unwrap_or_else(broke)
    }

    fn refuse(&self, source: &RuleSource, errors: &[RuleFileError], has_last_good: bool) -> RefusedFile {
        let (line, column) = errors.first().map_or((0, 0), |error| (error.line, error.column));
        let reason = errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        tracing::error!(file = %source.origin, line, has_last_good, reason, "rule file is refused");
        let refused_at_ms = self.shared.env.clock.now_ms();
        RefusedFile { origin: source.origin.clone(), line, column, reason, refused_at_ms, has_last_good }
    }

    /// Makes the running groups those of the good files.
    async fn swap(&mut self, first: First) {
        let wanted = self.wanted();
        let mut stopping = Vec::new();
        let keys: Vec<GroupKey> = self.running.keys().cloned().collect();
        for key in keys {
            let stays = wanted.iter().any(|(wanted, spec)| {
                *wanted == key
                    && self.running.get(&key).is_some_and(|running| running.spec.is_same(spec) && self.runs_so(running))
            });
            if !stays && let Some(running) = self.running.remove(&key) {
                running.stop.send_replace(true);
                stopping.push((key, running.task));
            }
        }
        let mut before = BTreeMap::new();
        for (key, task) in stopping {
            before.insert(key, finished(task).await);
        }
        for (key, spec) in wanted.iter().cloned() {
            if !self.running.contains_key(&key) {
                let mut state = before.remove(&key).unwrap_or_default();
                self.start(&key, spec, &mut state, first);
                bury(&self.shared, &key.label(), state.rules).await;
            }
        }
        for (key, state) in before {
            self.shared.views.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
            self.shared.metrics.forget_group(&key);
            bury(&self.shared, &key.label(), state.rules).await;
            self.forget_alerts(&key);
        }
        let watched = wanted.iter().filter_map(|(key, spec)| {
            let waker = self.running.get(key)?.waker.as_ref()?;
            Some((key, spec.as_ref(), waker))
        });
        self.shared.board.set(watched);
        let is_there = |name: &&String| wanted.iter().any(|(key, _)| key.name == **name);
        let nowhere: Vec<String> = self.watched.iter().filter(|name| !is_there(name)).cloned().collect();
        if nowhere != self.watched_nowhere && !nowhere.is_empty() {
            tracing::warn!(groups = nowhere.join(", "), "watch_rule_groups names groups that no rule file has");
        }
        self.watched_nowhere = nowhere;
    }

    fn is_watched(&self, group: &str) -> bool {
        self.watched.iter().any(|name| name == group)
    }

    /// Returns whether a group runs with the settings that hold now.
    fn runs_so(&self, running: &Running) -> bool {
        running.settings == self.settings && running.waker.is_some() == self.is_watched(&running.spec.name)
    }

    fn start(&mut self, key: &GroupKey, spec: Arc<GroupSpec>, before: &mut GroupState, first: First) {
        let (stop, stopped) = watch::channel(false);
        let first = if before.rules.is_empty() { first } else { First::Phased };
        let (shared, settings) = (Arc::clone(&self.shared), self.settings.clone());
        let waker = self.is_watched(&key.name).then(Arc::default);
        let group = Group::new(shared, key.clone(), Arc::clone(&spec), settings, stopped, waker.clone(), before);
        let task = self.shared.env.tasks.spawn("rule group", group.run(first));
        self.running.insert(key.clone(), Running { spec, settings: self.settings.clone(), waker, stop, task });
    }

    /// Lists the groups of all good files, in order.
    fn wanted(&self) -> Vec<(GroupKey, Arc<GroupSpec>)> {
        let mut wanted = Vec::new();
        for (origin, known) in &self.known {
            let groups = known.good.iter().flat_map(|good| &good.file.groups);
            wanted.extend(groups.map(|group| {
                let key = GroupKey { origin: origin.clone(), name: group.name.clone() };
                (key, Arc::new(group.clone()))
            }));
        }
        wanted
    }

    fn show(&self) {
        let file = |known: &Known| FileView {
            origin: known.source.origin.clone(),
            active_version: known.good.as_ref().map(|good| good.version),
            found_version: known.source.version,
            modified_ms: known.source.modified_ms,
            rules: known.good.iter().flat_map(|good| &good.file.groups).map(|group| group.rules.len()).sum(),
        };
        self.publish.send_replace(Arc::new(Files {
            groups: self.wanted().into_iter().map(|(key, _)| key).collect(),
            refused: self.known.values().filter_map(|known| known.refused.clone()).collect(),
            files: self.known.values().map(file).collect(),
            generation: self.generation,
        }));
    }

    /// Keeps the text of a good file, so that it is there after a restart with a broken one.
    async fn keep_text(&self, source: &RuleSource) {
        // The shipped files are in the binary and cannot break.
        let (Ok(text), false) = (&source.text, matches!(source.origin, RuleOrigin::Builtin(_))) else { return };
        let (key, text) = (text_key(&source.origin), text.clone());
        self.with_state(move |state| {
            // Most starts find what they wrote before.
            if state.get(&key)?.as_deref() != Some(text.as_bytes()) {
                state.put(&key, text.as_bytes())?;
            }
            Ok(None)
        })
        .await;
    }

    async fn kept_text(&self, origin: &RuleOrigin) -> Option<Good> {
        let key = text_key(origin);
        let bytes = self.with_state(move |state| state.get(&key)).await?;
        let text = String::from_utf8(bytes).ok()?;
        let file = self.parse(text).await.ok()?;
        Some(Good { file: Arc::new(file), version: 0 })
    }

    async fn forget_text(&self, origin: &RuleOrigin) {
        let key = text_key(origin);
        self.with_state(move |state| state.delete(&key).map(|()| None)).await;
    }

    fn forget_alerts(&self, key: &GroupKey) {
        self.shared.memory.note(super::restore::key(&key.label()), None);
    }

    async fn with_state(
        &self,
        work: impl FnOnce(&dyn State) -> Result<Option<Vec<u8>>, crate::state::StateError> + Send + 'static,
    ) -> Option<Vec<u8>> {
        let state = Arc::clone(&self.shared.state);
        match self.shared.env.tasks.blocking(move || work(&*state)).await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => {
                tracing::warn!(%error, "the memory of rule files failed");
                None
            }
            Err(_) => None,
        }
    }
}

fn text_key(origin: &RuleOrigin) -> Vec<u8> {
    format!("rules/good/{origin}").into_bytes()
}

/// Waits for a group to stop. One that broke leaves nothing behind.
async fn finished(task: TaskHandle<GroupState>) -> GroupState {
    task.await.unwrap_or_else(|error| {
        tracing::error!(%error, "a rule group ended badly");
        GroupState::default()
    })
}
