//! The small Alertmanager: routes, groups, silences, inhibition, and telling people.
//!
//! ```text
//! post -> alerts -> route -> group --timer--> inhibit, times, silence -> dedup -> notify -> log
//! ```
//!
//! What is decided is in plain functions and in [`machine`], which has no clock and does no I/O; the task around it keeps
//! state, starts deliveries and publishes an [`AlertingView`]. Alertmanager 0.34's published behaviour is the specification.
//!
//! Two promises: what is acknowledged (a silence, a log entry) is on disk before the answer; and an alert is never lost: alerts,
//! groups' timers, intents and outcomes come back after `kill -9`. Told twice is possible only between a mail server's 250
//! and the log entry on disk, and then with the same Message-ID.
//!
//! It knows neither PromQL nor the store.

pub mod ack;
pub mod alerts;
pub mod dedup;
pub mod external;
pub mod fence;
pub mod group;
pub mod heartbeat;
pub mod history;
mod http;
pub mod inhibit;
pub mod links;
pub mod machine;
mod metrics;
pub mod mute;
pub mod notification_log;
pub mod notify;
pub mod persist;
pub mod recurrence;
pub mod route;
pub mod setup;
pub mod silence;
mod task;
pub mod view;
pub mod why;

#[cfg(test)]
mod tests;

pub use setup::SetupError;
pub use silence::SilenceError;
pub use view::AlertingView;

use crate::config::Config;
use crate::env::Env;
use crate::model::alert::Alert;
use crate::model::silence::Silence;
use crate::state::{Change, State, StateError};
use crate::telemetry::metrics::Registry;
use notify::chart::ChartFeed;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use task::{Command, Task};
use tokio::sync::{mpsc, oneshot, watch};

/// Hears of every change that is kept (silences, log entries, alerts), before it is written; for events and for other members.
pub type ChangeSink = Arc<dyn Fn(&[Change]) + Send + Sync>;

/// What alerting needs.
#[derive(Clone)]
pub struct AlertingDeps {
    /// The world.
    pub env: Env,
    /// Where it keeps what must survive.
    pub state: Arc<dyn State>,
    /// Its own metrics.
    pub registry: Registry,
    /// Where links in notifications lead to.
    pub external_url: String,
    /// Whether this member tells people (the leader does).
    pub may_send: watch::Receiver<bool>,
    /// Asked before each message.
    pub fence: Arc<dyn fence::Fence>,
    /// Where mails are kept as files.
    pub outbox_dir: PathBuf,
    /// Hears of changes.
    pub on_change: ChangeSink,
    /// Answers what the values behind alerts were, for charts in mails.
    pub charts: ChartFeed,
}

impl fmt::Debug for AlertingDeps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AlertingDeps").field("external_url", &self.external_url).finish_non_exhaustive()
    }
}

/// Why alerting could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration cannot be followed.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// What was kept cannot be read.
    #[error(transparent)]
    State(#[from] StateError),
}

/// Alerting has ended and takes nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("alerting has stopped")]
pub struct Stopped;

/// Starts alerting.
#[derive(Debug)]
pub struct Alerting;

impl Alerting {
    /// Reads what was kept and starts.
    ///
    /// # Errors
    /// When the configuration cannot be followed or the state cannot be read.
    pub async fn start(deps: AlertingDeps, config: watch::Receiver<Arc<Config>>) -> Result<AlertingHandle, StartError> {
        let env = deps.env.clone();
        let (task, commands, view) = Task::start(deps, config).await?;
        let notifier = task.notifier();
        drop(env.tasks.spawn("alerting", task.run()));
        Ok(AlertingHandle { commands, view, outbox: notifier.outbox, links: notifier.links, env })
    }

    /// Says whether a configuration can be followed, before it is published: receivers of unknown kinds and bad templates are
    /// refused.
    ///
    /// # Errors
    /// What cannot be followed.
    pub async fn check(env: &Env, config: &Config) -> Result<(), SetupError> {
        task::set_up(env, config).await.map(|_| ())
    }
}

/// Speaks to alerting. Cheap to clone.
#[derive(Clone, Debug)]
pub struct AlertingHandle {
    commands: mpsc::Sender<Command>,
    view: watch::Receiver<Arc<AlertingView>>,
    outbox: notify::outbox::Outbox,
    links: links::Links,
    env: Env,
}

impl AlertingHandle {
    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, Stopped> {
        let (answer, answered) = oneshot::channel();
        self.commands.send(command(answer)).await.map_err(|_| Stopped)?;
        answered.await.map_err(|_| Stopped)
    }

    /// Takes alerts in: new ones are on disk when this returns. Waits where alerting is busy; nothing is dropped. Returns why
    /// single alerts were refused.
    ///
    /// # Errors
    /// When alerting has stopped.
    pub async fn post(&self, alerts: Vec<Alert>) -> Result<Vec<String>, Stopped> {
        self.ask(|answer| Command::Post { alerts, is_seen: true, answer }).await
    }

    /// As [`Self::post`], but pictures may show the alerts a little later: for senders that do not look, and send thousands.
    ///
    /// # Errors
    /// When alerting has stopped.
    pub async fn hand_on(&self, alerts: Vec<Alert>) -> Result<Vec<String>, Stopped> {
        self.ask(|answer| Command::Post { alerts, is_seen: false, answer }).await
    }

    /// Returns all silences, expired ones that are still remembered included.
    #[must_use]
    pub fn silences(&self) -> Vec<Silence> {
        self.view().silences.clone()
    }

    /// Makes a silence (an empty id) or changes one; on disk when this returns. Returns its id.
    ///
    /// # Errors
    /// When it is not a good silence or cannot be kept.
    pub async fn put_silence(&self, silence: Silence) -> Result<String, SilenceError> {
        let asked = self.ask(|answer| Command::PutSilence(Box::new(silence), answer)).await;
        asked.unwrap_or_else(|stopped| Err(SilenceError::NotStored(stopped.to_string())))
    }

    /// Ends a silence; on disk when this returns.
    ///
    /// # Errors
    /// When there is none with this id, it is over, or the change cannot be kept.
    pub async fn expire_silence(&self, id: &str) -> Result<(), SilenceError> {
        let asked = self.ask(|answer| Command::ExpireSilence(id.to_owned(), answer)).await;
        asked.unwrap_or_else(|stopped| Err(SilenceError::NotStored(stopped.to_string())))
    }

    /// Notes that somebody takes care of an alert. Returns whether there is such an alert.
    ///
    /// # Errors
    /// When alerting has stopped.
    pub async fn acknowledge(&self, ack: ack::Ack) -> Result<bool, Stopped> {
        self.ask(|answer| Command::Acknowledge(ack, answer)).await
    }

    /// Looks at the group of a notification now instead of at its next interval. Returns whether there still is one.
    ///
    /// # Errors
    /// When alerting has stopped.
    pub async fn retry(&self, record: u64) -> Result<bool, Stopped> {
        self.ask(|answer| Command::Retry(record, answer)).await
    }

    /// Tells a receiver an alert that is in no group, at once and whatever silences say: a test, or a sign of life. Returns the
    /// history's records, one for each integration.
    ///
    /// # Errors
    /// When alerting has stopped; within, when there is no such receiver.
    pub async fn tell_directly(
        &self,
        receiver: &str,
        alert: alerts::StoredAlert,
        why: &'static str,
    ) -> Result<Result<Vec<u64>, String>, Stopped> {
        let (receiver, alert) = (receiver.to_owned(), Box::new(alert));
        self.ask(|answer| Command::Tell { receiver, alert, why, answer }).await
    }

    /// Takes what other members made; kept when this returns.
    ///
    /// # Errors
    /// When alerting has stopped.
    pub async fn learn(&self, lessons: fence::Lessons) -> Result<(), Stopped> {
        self.ask(|answer| Command::Learn(Box::new(lessons), answer)).await
    }

    /// Returns who checks links of mails.
    #[must_use]
    pub const fn links(&self) -> &links::Links {
        &self.links
    }

    /// Returns the newest picture.
    #[must_use]
    pub fn view(&self) -> Arc<AlertingView> {
        Arc::clone(&self.view.borrow())
    }

    /// Returns a stream of pictures.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<AlertingView>> {
        self.view.clone()
    }

    /// Returns the HTML part of a notification as it was sent.
    ///
    /// # Errors
    /// `NotFound` where it was not kept.
    pub async fn content_html(&self, record: u64) -> std::io::Result<Vec<u8>> {
        self.outbox.read(&self.env, record, "html").await
    }

    /// Returns a notification as it was sent, headers included.
    ///
    /// # Errors
    /// `NotFound` where it was not kept.
    pub async fn content_raw(&self, record: u64) -> std::io::Result<Vec<u8>> {
        self.outbox.read(&self.env, record, "eml").await
    }

    /// Lets notifications that are going out end, within bounds, and stops.
    pub async fn stop(&self) {
        // Where it has stopped already there is nothing to wait for.
        let _stopped = self.ask(Command::Stop).await;
    }
}
