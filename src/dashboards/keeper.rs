//! The task that owns the dashboards: takes what files and znodes say, saves own ones, publishes the catalogue.
//!
//! Changes are durable before they are answered, and compared: who saves names the version that was read, and hears who was
//! faster.

use super::catalogue::{self, Catalogue, Entry, Origin, Readings, Source};
use super::own::{self, Own, STORED_BYTES_MAX};
use super::read::{self, NotADashboard};
use crate::env::Env;
use crate::state::{State, StateError};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{mpsc, oneshot, watch};

/// Own dashboards at most.
const OWN_MAX: usize = 500;
/// Ids that an order may name.
const ORDER_MAX: usize = 2000;

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub enum DashboardError {
    /// Somebody else was faster.
    #[error("{0}")]
    Conflict(String),
    /// There is no such dashboard.
    #[error("there is no dashboard {0:?}")]
    NotFound(String),
    /// It lies where it is only read.
    #[error("{0}")]
    ReadOnly(String),
    /// What is no order.
    #[error("{0}")]
    BadOrder(String),
    /// There is no room for it.
    #[error("{0}")]
    Full(String),
    /// The text is no dashboard.
    #[error(transparent)]
    NotADashboard(#[from] NotADashboard),
    /// The state store failed.
    #[error(transparent)]
    State(#[from] StateError),
    /// Nobody is there to make it.
    #[error("the server is stopping")]
    Stopping,
}

/// What is to be saved.
#[derive(Clone, Debug, Default)]
pub struct Save {
    /// Which own one; `None`, or one that is no own one: a new one is made.
    pub id: Option<String>,
    /// The dashboard.
    pub text: Arc<str>,
    /// The version that was read.
    pub base: Option<String>,
    /// Whether it is saved whatever is there.
    pub overwrite: bool,
    /// Who saves it.
    pub by: String,
}

enum Command {
    Save(Save, oneshot::Sender<Result<(String, String), DashboardError>>),
    Delete { id: String, base: Option<String>, done: oneshot::Sender<Result<(), DashboardError>> },
    Order(Vec<String>, oneshot::Sender<Result<(), DashboardError>>),
}

/// Speaks to the task. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Dashboards {
    commands: mpsc::Sender<Command>,
    seen: watch::Receiver<Arc<Catalogue>>,
}

impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Command")
    }
}

impl Dashboards {
    /// Reads what is kept and starts the task; the catalogue is whole when this returns.
    ///
    /// # Errors
    /// When the state store cannot be read.
    pub async fn start(
        env: &Env,
        state: Arc<dyn State>,
        sources: watch::Receiver<Arc<Vec<Source>>>,
    ) -> Result<Self, DashboardError> {
        let loading = Arc::clone(&state);
        let kept = env.tasks.blocking(move || own::load(loading.as_ref())).await;
        let (own, order) = kept.map_err(|error| StateError::Failed(error.to_string()))??;
        let (publish, seen) = watch::channel(Arc::default());
        let mut keeper = Keeper { env: env.clone(), state, own, order, sources, readings: Arc::default(), publish };
        keeper.publish().await;
        let (commands, asked) = mpsc::channel(8);
        drop(env.tasks.spawn("dashboards", keeper.run(asked)));
        Ok(Self { commands, seen })
    }

    /// Returns what there is now.
    #[must_use]
    pub fn catalogue(&self) -> Arc<Catalogue> {
        Arc::clone(&self.seen.borrow())
    }

    /// Returns what there is, and what there will be.
    #[must_use]
    pub fn follow(&self) -> watch::Receiver<Arc<Catalogue>> {
        self.seen.clone()
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, DashboardError>>) -> Command,
    ) -> Result<T, DashboardError> {
        let (done, answer) = oneshot::channel();
        self.commands.send(command(done)).await.map_err(|_| DashboardError::Stopping)?;
        answer.await.map_err(|_| DashboardError::Stopping)?
    }

    /// Saves an own dashboard; answers its id and version. Durable when it returns.
    ///
    /// # Errors
    /// When it is none, when somebody was faster, when there is no room.
    pub async fn save(&self, save: Save) -> Result<(String, String), DashboardError> {
        self.ask(|done| Command::Save(save, done)).await
    }

    /// Deletes an own dashboard, if it is still the version `base` where that is given.
    ///
    /// # Errors
    /// When there is none, when somebody changed it, when the state store fails.
    pub async fn delete(&self, id: String, base: Option<String>) -> Result<(), DashboardError> {
        self.ask(|done| Command::Delete { id, base, done }).await
    }

    /// Sets the order; what it does not name comes behind, by title.
    ///
    /// # Errors
    /// When it is too long or the state store fails.
    pub async fn order(&self, ids: Vec<String>) -> Result<(), DashboardError> {
        self.ask(|done| Command::Order(ids, done)).await
    }
}

/// Says who changed a dashboard, and when, for who wants to change it as well.
#[must_use]
pub fn changed_by(entry: &Entry) -> String {
    let by = entry.by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
    let at = entry.modified_ms.and_then(|at_ms| jiff::Timestamp::from_second(at_ms.div_euclid(1000)).ok());
    let at = at.map(|at| format!(" at {at}")).unwrap_or_default();
    format!("{:?} was changed{by}{at}; nothing was saved", entry.title)
}

struct Keeper {
    env: Env,
    state: Arc<dyn State>,
    own: BTreeMap<String, Own>,
    order: Vec<String>,
    sources: watch::Receiver<Arc<Vec<Source>>>,
    readings: Arc<Mutex<Readings>>,
    publish: watch::Sender<Arc<Catalogue>>,
}

fn answer<T>(to: oneshot::Sender<T>, value: T) {
    if to.send(value).is_err() {
        tracing::trace!("nobody waits for the answer any more");
    }
}

impl Keeper {
    async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut is_fed = true;
        loop {
            tokio::select! {
                biased;
                command = commands.recv() => match command {
                    Some(Command::Save(save, done)) => {
                        let saved = self.save(save).await;
                        self.publish().await;
                        answer(done, saved);
                    }
                    Some(Command::Delete { id, base, done }) => {
                        let deleted = self.delete(&id, base.as_deref()).await;
                        self.publish().await;
                        answer(done, deleted);
                    }
                    Some(Command::Order(ids, done)) => {
                        let ordered = self.order(ids).await;
                        self.publish().await;
                        answer(done, ordered);
                    }
                    None => return,
                },
                changed = self.sources.changed(), if is_fed => {
                    is_fed = changed.is_ok();
                    self.publish().await;
                }
            }
        }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn State) -> Result<T, StateError> + Send + 'static,
    ) -> Result<T, DashboardError> {
        let state = Arc::clone(&self.state);
        let done = self.env.tasks.blocking(move || work(state.as_ref())).await;
        Ok(done.map_err(|error| StateError::Failed(error.to_string()))??)
    }

    async fn publish(&mut self) {
        let (own, order, readings) = (self.own.clone(), self.order.clone(), Arc::clone(&self.readings));
        let sources = Arc::clone(&self.sources.borrow_and_update());
        let make = move || {
            let mut readings = readings.lock().unwrap_or_else(PoisonError::into_inner);
            catalogue::make(&own, &sources, &order, &mut readings)
        };
        match self.env.tasks.blocking(make).await {
            Ok(made) => {
                self.publish.send_if_modified(|held| {
                    let differs = **held != made;
                    if differs {
                        *held = Arc::new(made);
                    }
                    differs
                });
            }
            Err(error) => tracing::error!(%error, "listing the dashboards failed"),
        }
    }

    async fn save(&mut self, save: Save) -> Result<(String, String), DashboardError> {
        let text = Arc::clone(&save.text);
        let work =
            move || read::read(&text).map(|found| (found.summary, Arc::<str>::from(found.text), read::version(found.text)));
        let read = self.env.tasks.blocking(work).await;
        let (summary, text, version) = read.map_err(|error| StateError::Failed(error.to_string()))??;
        let catalogue = Arc::clone(&self.publish.borrow());
        let id = match save.id.as_deref().map(|id| (id, catalogue.get(id))) {
            Some((id, Some(there))) if there.origin == Origin::Own => {
                if !save.overwrite && save.base.as_ref() != Some(&there.version) {
                    return Err(DashboardError::Conflict(changed_by(there)));
                }
                id.to_owned()
            }
            Some((id, None)) if save.base.is_some() && !save.overwrite => {
                return Err(DashboardError::Conflict(format!("dashboard {id:?} was deleted meanwhile; nothing was saved")));
            }
            Some((id, None)) if read::is_id(id) => id.to_owned(),
            _ => {
                let is_taken = |id: &str| catalogue.get(id).is_some();
                let wish = summary.uid.filter(|uid| !is_taken(uid)).unwrap_or_else(|| read::slug(&summary.title));
                read::free_id(&wish, is_taken)
            }
        };
        let before = self.own.get(&id).map_or(0, |own| own.stored);
        if before == 0 && self.own.len() >= OWN_MAX {
            return Err(DashboardError::Full(format!("there are {OWN_MAX} dashboards already, and more are not kept")));
        }
        let stored: usize = self.own.values().map(|own| own.stored).sum();
        if stored > STORED_BYTES_MAX + before {
            return Err(DashboardError::Full("the dashboards fill their part of the state store: delete some first".to_owned()));
        }
        let mut own = Own { text, modified_ms: self.env.clock.now_ms(), by: save.by, stored: 0 };
        let (kept_id, kept) = (id.clone(), own.clone());
        own.stored = self.blocking(move |state| own::put(state, &kept_id, &kept)).await?;
        self.own.insert(id.clone(), own);
        Ok((id, version))
    }

    async fn delete(&mut self, id: &str, base: Option<&str>) -> Result<(), DashboardError> {
        let catalogue = Arc::clone(&self.publish.borrow());
        let there = catalogue.get(id).ok_or_else(|| DashboardError::NotFound(id.to_owned()))?;
        if there.origin != Origin::Own {
            let path = there.origin.path();
            return Err(DashboardError::ReadOnly(format!("dashboard {id:?} is the file {path}: it goes when the file goes")));
        }
        if base.is_some_and(|base| base != there.version) {
            return Err(DashboardError::Conflict(changed_by(there)));
        }
        let gone = id.to_owned();
        self.blocking(move |state| own::delete(state, &gone)).await?;
        self.own.remove(id);
        Ok(())
    }

    async fn order(&mut self, ids: Vec<String>) -> Result<(), DashboardError> {
        if ids.len() > ORDER_MAX || ids.iter().any(|id| !read::is_id(id)) {
            return Err(DashboardError::BadOrder(format!("an order is a list of at most {ORDER_MAX} ids of dashboards")));
        }
        let kept = ids.clone();
        self.blocking(move |state| own::put_order(state, &kept)).await?;
        self.order = ids;
        Ok(())
    }
}
