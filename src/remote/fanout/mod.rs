//! Reading from several stores as from one: the local one, and those that `remote_read` names.
//!
//! As in Prometheus the local store is the one that counts: what another server cannot give is a warning, and the answer has
//! what the others gave. Label names and values, exemplars and metadata are the local store's alone. Answers are kept packed
//! and unpacked series by series; they count as memory of the query. Without a `remote_read` all goes straight to the local
//! store.

mod answer;
mod merged;
mod remote;

use crate::config::Config;
use crate::config::remote::RemoteReadConfig;
use crate::env::Env;
use crate::env::tasks::TaskHandle;
use crate::model::exemplar::Exemplar;
use crate::model::labels::Labels;
use crate::model::limits;
use crate::model::matcher::Matcher;
use crate::model::metadata::Metadata;
use crate::net::Budget;
use crate::storage::changes::ChangeLog;
use crate::storage::select::{Hints, LabelNeed, Querier, SelectError, Selection, TimeRange};
use crate::telemetry::metrics::Registry;
use answer::Answer;
use remote::{Remote, RemoteError};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// How long to wait before looking whether the query was cancelled.
const LOOK: Duration = Duration::from_millis(20);

/// The servers of one configuration.
type Remotes = Arc<[Arc<Remote>]>;

/// Reads from the local store and from others. Queries run on threads of a tokio runtime, which does the talking meanwhile.
pub struct Fanout {
    env: Env,
    registry: Registry,
    budget: Budget,
    local: Arc<dyn Querier>,
    /// Time of the oldest local sample.
    local_from_ms: Arc<dyn Fn() -> i64 + Send + Sync>,
    config: watch::Receiver<Arc<Config>>,
    made: Mutex<Option<(Arc<Config>, Remotes)>>,
}

impl std::fmt::Debug for Fanout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fanout")
    }
}

/// Ends what is still asked when nobody waits for it any more.
struct Asking(TaskHandle<()>);

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What one server said.
type Said = Result<Answer, RemoteError>;

impl Fanout {
    /// Puts the servers that the configuration names beside the local store, whose oldest sample `local_from_ms` tells.
    #[must_use]
    pub fn new(
        env: &Env,
        registry: &Registry,
        config: watch::Receiver<Arc<Config>>,
        local: Arc<dyn Querier>,
        local_from_ms: Arc<dyn Fn() -> i64 + Send + Sync>,
    ) -> Self {
        let budget = Budget::new(env, limits::READ_BODIES_BYTES);
        Self { env: env.clone(), registry: registry.clone(), budget, local, local_from_ms, config, made: Mutex::default() }
    }

    /// Returns the servers of the configuration in force; those that did not change keep their connections.
    fn remotes(&self) -> Option<Remotes> {
        let config = {
            let config = self.config.borrow();
            if config.remote_read.is_empty() {
                return None;
            }
            Arc::clone(&config)
        };
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, remotes)) = &*made
            && Arc::ptr_eq(known, &config)
        {
            return Some(Arc::clone(remotes));
        }
        let external = &config.global.external_labels;
        let before = made.take().map(|(_, remotes)| remotes);
        let same = |one: &Arc<Remote>, wanted: &Arc<RemoteReadConfig>| *one.config == **wanted && one.external == *external;
        let remote = |wanted: &Arc<RemoteReadConfig>| {
            let kept = before.iter().flat_map(|remotes| remotes.iter()).find(|one| same(one, wanted));
            kept.map_or_else(|| Arc::new(Remote::new(&self.env, &self.registry, &self.budget, wanted, external)), Arc::clone)
        };
        let remotes: Remotes = config.remote_read.iter().map(remote).collect();
        *made = Some((config, Arc::clone(&remotes)));
        Some(remotes)
    }

    /// Asks each server that a selection concerns.
    fn ask(&self, matchers: &[Matcher], range: TimeRange, hints: &Hints) -> Vec<(mpsc::Receiver<Said>, Asking)> {
        let remotes = if hints.local_only { None } else { self.remotes() };
        let mut asking = Vec::new();
        for remote in remotes.iter().flat_map(|remotes| remotes.iter()) {
            let Some(question) = remote.question(matchers, range, hints, &*self.local_from_ms) else { continue };
            let (tell, told) = mpsc::sync_channel(1);
            let remote = Arc::clone(remote);
            let work = async move { drop(tell.send(remote.ask(question).await)) };
            asking.push((told, Asking(self.env.tasks.spawn("remote-read", work))));
        }
        asking
    }
}

/// Waits for what one server says.
fn wait(told: &mpsc::Receiver<Said>, cancel: Option<&AtomicBool>) -> Result<Said, SelectError> {
    loop {
        match told.recv_timeout(LOOK) {
            Ok(said) => return Ok(said),
            Err(RecvTimeoutError::Disconnected) => return Ok(Err(RemoteError::Config("the server is stopping".to_owned()))),
            Err(RecvTimeoutError::Timeout) if cancel.is_some_and(|cancel| cancel.load(Ordering::Relaxed)) => {
                return Err(SelectError::Cancelled);
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

impl Querier for Fanout {
    fn select(&self, matchers: &[Matcher], range: TimeRange, hints: &Hints) -> Result<Selection, SelectError> {
        self.select_until(matchers, range, hints, None)
    }

    fn select_until(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
        hints: &Hints,
        cancel: Option<&AtomicBool>,
    ) -> Result<Selection, SelectError> {
        let asking = self.ask(matchers, range, hints);
        if asking.is_empty() {
            return self.local.select_until(matchers, range, hints, cancel);
        }
        // Series are told apart by all of their labels.
        let whole = Hints { labels: LabelNeed::All, ..hints.clone() };
        let local = self.local.select_until(matchers, range, &whole, cancel)?;
        let (mut answers, mut warnings) = (Vec::new(), Vec::new());
        for (told, _asking) in &asking {
            match wait(told, cancel)? {
                Ok(answer) => answers.push(answer),
                Err(error) => {
                    let warning = format!("remote_read: {error}");
                    if !warnings.contains(&warning) {
                        warnings.push(warning);
                    }
                }
            }
        }
        let mut selection = merged::merged(local, answers, hints.sorted);
        selection.warnings.extend(warnings);
        Ok(selection)
    }

    fn changes(&self) -> Option<&ChangeLog> {
        // Of changes elsewhere nothing is known.
        if self.config.borrow().remote_read.is_empty() { self.local.changes() } else { None }
    }

    fn label_names(&self, matchers: &[Vec<Matcher>], range: TimeRange, limit: usize) -> Result<Vec<String>, SelectError> {
        self.local.label_names(matchers, range, limit)
    }

    fn label_values(
        &self,
        name: &str,
        matchers: &[Vec<Matcher>],
        range: TimeRange,
        limit: usize,
    ) -> Result<Vec<String>, SelectError> {
        self.local.label_values(name, matchers, range, limit)
    }

    fn metadata(&self, metric: Option<&str>) -> BTreeMap<String, Vec<Metadata>> {
        self.local.metadata(metric)
    }

    fn exemplars(&self, matchers: &[Vec<Matcher>], range: TimeRange) -> Result<Vec<(Labels, Vec<Exemplar>)>, SelectError> {
        self.local.exemplars(matchers, range)
    }
}
