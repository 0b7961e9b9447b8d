//! The task that owns the machine: takes commands, keeps state, starts deliveries, publishes pictures.
//!
//! The order of things is the promise: changes of an effect are on disk before a command is answered and before a delivery
//! begins. Deliveries run as tasks of their own and come back as messages. The queue of commands is bounded: who posts
//! waits, nothing is dropped.

use super::ack::Ack;
use super::history::RecordState;
use super::machine::{Delivery, DeliveryReport, Effect, Machine};
use super::metrics::AlertingMetrics;
use super::notification_log::LogEntry;
use super::notify::{Content, Failure, Listener, Notifier, Progress};
use super::setup::{self, Setup, SetupError};
use super::silence::SilenceError;
use super::view::AlertingView;
use super::{AlertingDeps, persist};
use crate::config::Config;
use crate::env::Env;
use crate::model::alert::Alert;
use crate::model::silence::Silence;
use crate::state::{Change, State, StateError};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// How long a stop waits for deliveries that are going on.
const SETTLE: Duration = Duration::from_secs(10);

/// What others ask for.
#[derive(Debug)]
pub(super) enum Command {
    /// Take alerts in; answers with why some were refused.
    Post(Vec<Alert>, oneshot::Sender<Vec<String>>),
    /// Make or change a silence; answers with its id once it is kept.
    PutSilence(Box<Silence>, oneshot::Sender<Result<String, SilenceError>>),
    /// End a silence.
    ExpireSilence(String, oneshot::Sender<Result<(), SilenceError>>),
    /// Somebody takes care of an alert; answers whether there is one.
    Acknowledge(Ack, oneshot::Sender<bool>),
    /// Look at the group of a notification now; answers whether there is one.
    Retry(u64, oneshot::Sender<bool>),
    /// What other members said.
    Learn(Vec<Silence>, Vec<LogEntry>),
    /// Finish what is going on, then end.
    Stop(oneshot::Sender<()>),
}

/// What deliveries tell.
#[derive(Debug)]
enum Word {
    Rendered(u64, Content, oneshot::Sender<()>),
    Attempt(u64, &'static str, Failure),
    Done(DeliveryReport),
}

pub(super) struct Task {
    env: Env,
    state: Arc<dyn State>,
    machine: Machine,
    notifier: Notifier,
    metrics: AlertingMetrics,
    config: watch::Receiver<Arc<Config>>,
    may_send: watch::Receiver<bool>,
    commands: mpsc::Receiver<Command>,
    words: mpsc::Receiver<Word>,
    words_sender: mpsc::Sender<Word>,
    view: watch::Sender<Arc<AlertingView>>,
    on_change: super::ChangeSink,
    setup_error: String,
    running: usize,
    stopping: watch::Sender<bool>,
}

/// Reads what a configuration asks for, template files included.
pub(super) async fn set_up(env: &Env, config: &Config) -> Result<(Setup, super::notify::message::Templates), SetupError> {
    let section = config.notifier();
    let (disk, patterns) = (Arc::clone(&env.disk), section.templates.clone());
    let files = env.tasks.blocking(move || setup::read_templates(&*disk, &patterns)).await;
    let files = files.map_err(|error| SetupError::Template(error.to_string()))??;
    setup::build(&section, &files)
}

impl Task {
    pub(super) async fn start(
        deps: AlertingDeps,
        mut config: watch::Receiver<Arc<Config>>,
    ) -> Result<(Self, mpsc::Sender<Command>, watch::Receiver<Arc<AlertingView>>), super::StartError> {
        let AlertingDeps { env, state, registry, external_url, mut may_send, outbox_dir, on_change } = deps;
        let current = Arc::clone(&config.borrow_and_update());
        let (setup, templates) = set_up(&env, &current).await?;
        let reading = Arc::clone(&state);
        let kept = env.tasks.blocking(move || persist::load(&*reading)).await;
        let kept = kept.map_err(|error| StateError::Failed(error.to_string()))??;
        let now_ms = env.clock.now_ms();
        let may = *may_send.borrow_and_update();
        let machine = Machine::restored(now_ms, Arc::new(setup), may, kept);
        let (view, view_receiver) = watch::channel(Arc::new(AlertingView::new(now_ms, &machine, "")));
        let (command_sender, commands) = mpsc::channel(64);
        let (words_sender, words) = mpsc::channel(64);
        let stopping = watch::Sender::new(false);
        let notifier = Notifier {
            env: env.clone(),
            external_url: Arc::from(external_url.trim_end_matches('/')),
            outbox: super::notify::outbox::Outbox::new(&outbox_dir),
            templates: Arc::new(templates),
            stopping: stopping.subscribe(),
            partly: super::notify::Partly::default(),
        };
        let metrics = AlertingMetrics::new(&registry);
        let task = Self {
            env,
            state,
            machine,
            notifier,
            metrics,
            config,
            may_send,
            commands,
            words,
            words_sender,
            view,
            on_change,
            setup_error: String::new(),
            running: 0,
            stopping,
        };
        Ok((task, command_sender, view_receiver))
    }

    pub(super) fn notifier(&self) -> Notifier {
        self.notifier.clone()
    }

    pub(super) async fn run(mut self) {
        self.publish();
        loop {
            let now_ms = self.env.clock.now_ms();
            let effects = self.machine.tick(now_ms);
            if !effects.is_empty() {
                if let Err(error) = self.perform(effects).await {
                    tracing::error!(%error, "what notifications are due could not be kept; they go out all the same");
                }
                self.publish();
            }
            let alarm = self.env.clock.sleep_until_ms(self.machine.next_tick_ms(now_ms).max(now_ms + 1));
            tokio::select! {
                biased;
                Some(word) = self.words.recv() => self.hear(word).await,
                Ok(()) = self.may_send.changed() => {
                    let may = *self.may_send.borrow_and_update();
                    self.machine.set_may_send(self.env.clock.now_ms(), may);
                    self.publish();
                }
                Ok(()) = self.config.changed() => self.reconfigure().await,
                command = self.commands.recv() => match command {
                    Some(Command::Stop(done)) => {
                        self.settle().await;
                        // Nobody waits for the answer where the asker has gone.
                        let _gone = done.send(());
                        return;
                    }
                    Some(command) => self.obey(command).await,
                    None => return self.settle().await,
                },
                () = alarm => {}
            }
        }
    }

    async fn reconfigure(&mut self) {
        let config = Arc::clone(&self.config.borrow_and_update());
        match set_up(&self.env, &config).await {
            Ok((setup, templates)) => {
                self.setup_error.clear();
                self.notifier.templates = Arc::new(templates);
                let effects = self.machine.reconfigure(self.env.clock.now_ms(), Arc::new(setup));
                if let Err(error) = self.perform(effects).await {
                    tracing::error!(%error, "the timers of alert groups could not be kept");
                }
            }
            Err(error) => {
                tracing::error!(%error, "the alerting configuration was refused; the one before goes on");
                self.setup_error = error.to_string();
            }
        }
        self.publish();
    }

    async fn obey(&mut self, command: Command) {
        let now_ms = self.env.clock.now_ms();
        match command {
            Command::Post(alerts, answer) => {
                let total = alerts.len();
                let resolved = alerts.iter().filter(|alert| alert.is_resolved_at(now_ms)).count();
                let (effects, refused) = self.machine.post(now_ms, alerts);
                let (resolved, invalid) = (resolved as u64, refused.len() as u64);
                self.metrics.received((total as u64).saturating_sub(resolved), resolved, invalid);
                if let Err(error) = self.perform(effects).await {
                    tracing::error!(%error, "posted alerts could not be kept; they are told all the same");
                }
                self.publish();
                let _gone = answer.send(refused);
            }
            Command::PutSilence(silence, answer) => {
                let before = self.machine.silences.clone();
                let id = self.env.random.uuid();
                let result = match self.machine.put_silence(now_ms, *silence, id) {
                    Ok((id, effects)) => self.perform(effects).await.map(|()| id).map_err(|error| {
                        self.machine.silences = before;
                        SilenceError::NotStored(error.to_string())
                    }),
                    Err(error) => Err(error),
                };
                self.publish();
                let _gone = answer.send(result);
            }
            Command::ExpireSilence(id, answer) => {
                let before = self.machine.silences.clone();
                let result = match self.machine.expire_silence(now_ms, &id) {
                    Ok(effects) => self.perform(effects).await.map_err(|error| {
                        self.machine.silences = before;
                        SilenceError::NotStored(error.to_string())
                    }),
                    Err(error) => Err(error),
                };
                self.publish();
                let _gone = answer.send(result);
            }
            Command::Acknowledge(ack, answer) => {
                let kept = match self.machine.acknowledge(ack) {
                    Some(effects) => self.perform(effects).await.is_ok(),
                    None => false,
                };
                self.publish();
                let _gone = answer.send(kept);
            }
            Command::Retry(record, answer) => {
                let _gone = answer.send(self.machine.hurry(now_ms, record));
            }
            Command::Learn(silences, entries) => {
                let effects = self.machine.learn(silences, entries);
                if let Err(error) = self.perform(effects).await {
                    tracing::error!(%error, "what other members said could not be kept");
                }
                self.publish();
            }
            Command::Stop(_) => {}
        }
    }

    async fn hear(&mut self, word: Word) {
        let now_ms = self.env.clock.now_ms();
        let effects = match word {
            Word::Rendered(record, content, heard) => {
                for warning in &content.warnings {
                    tracing::warn!(record, warning, "a notification was not rendered as configured");
                }
                self.machine.rendered(record, &content.subject, !content.raw.is_empty(), &content.warnings);
                let _gone = heard.send(());
                Vec::new()
            }
            Word::Attempt(record, kind, failure) => {
                self.metrics.request(kind, false);
                self.machine.attempted(now_ms, record, &failure.words)
            }
            Word::Done(report) => {
                self.running -= 1;
                self.count(now_ms, &report);
                self.machine.delivered(now_ms, &report)
            }
        };
        if let Err(error) = self.perform(effects).await {
            tracing::error!(%error, "the outcome of a notification could not be kept");
        }
        self.publish();
    }

    fn count(&self, now_ms: i64, report: &DeliveryReport) {
        let delivery = &report.delivery;
        let kind = delivery.integration.kind;
        self.metrics.request(kind, report.worked);
        self.metrics.latency(kind).observe((now_ms - delivery.at_ms) as f64 / 1000.0);
        let (receiver, group) = (&delivery.receiver.name, &delivery.group_key);
        if report.worked {
            tracing::debug!(receiver, kind, group, words = report.words, "notified");
        } else {
            self.metrics.failed(kind, report.reason).inc();
            tracing::error!(receiver, kind, group, error = report.words, "a notification failed");
        }
    }

    /// Writes what must be kept, then starts what may follow. Deliveries begin even where the disk refuses: telling twice is
    /// better than not at all.
    async fn perform(&mut self, effects: Vec<Effect>) -> Result<(), StateError> {
        let (mut changes, mut durable, mut others) = (Vec::new(), false, Vec::new());
        for effect in effects {
            match effect {
                Effect::Write { changes: more, durable: must } => {
                    changes.extend(more);
                    durable |= must;
                }
                other => others.push(other),
            }
        }
        let written = self.write(changes, durable).await;
        if written.is_err() {
            self.metrics.state_failed();
        }
        for effect in others {
            match effect {
                Effect::Deliver(delivery) => self.deliver(delivery),
                Effect::DropContent(record) => {
                    let (outbox, disk) = (self.notifier.outbox.clone(), Arc::clone(&self.env.disk));
                    drop(self.env.tasks.blocking(move || outbox.forget(&*disk, record)));
                }
                Effect::Suppressed { reason, count } => self.metrics.suppressed(reason, count),
                Effect::Write { .. } => {}
            }
        }
        written
    }

    async fn write(&self, changes: Vec<Change>, durable: bool) -> Result<(), StateError> {
        if changes.is_empty() {
            return Ok(());
        }
        (self.on_change)(&changes);
        let state = Arc::clone(&self.state);
        let work = move || {
            state.apply(&changes)?;
            if durable { state.sync() } else { Ok(()) }
        };
        self.env.tasks.blocking(work).await.map_err(|error| StateError::Failed(error.to_string()))?
    }

    fn deliver(&mut self, delivery: Arc<Delivery>) {
        self.running += 1;
        let kind = delivery.integration.kind;
        self.metrics.notifications(kind).inc();
        let (notifier, words) = (self.notifier.clone(), self.words_sender.clone());
        let work = async move {
            let listener = listener(&notifier, &words, delivery.record, kind);
            let report = Box::pin(notifier.deliver(delivery, &*listener)).await;
            let _gone = words.send(Word::Done(report)).await;
        };
        drop(self.env.tasks.spawn("alerting delivery", work));
    }

    /// Waits for deliveries that are going on, within bounds. What does not end is found again after the next start.
    async fn settle(&mut self) {
        self.stopping.send_replace(true);
        let until = self.env.clock.now_ms().saturating_add(i64::try_from(SETTLE.as_millis()).unwrap_or(0));
        while self.running > 0 {
            let left = Duration::from_millis(u64::try_from(until - self.env.clock.now_ms()).unwrap_or(0));
            let clock = Arc::clone(&self.env.clock);
            match clock.timeout(left, self.words.recv()).await {
                Ok(Some(word)) => self.hear(word).await,
                Ok(None) => break,
                Err(_) => {
                    tracing::warn!(running = self.running, "notifications were still going out when the server stopped");
                    break;
                }
            }
        }
        if let Err(error) = self.write(Vec::new(), true).await {
            tracing::error!(%error, "alerting could not keep its state at the end");
        }
        let sending = self.machine.history.newest_first().filter(|record| record.state == RecordState::Sending).count();
        tracing::debug!(sending, "alerting has ended");
    }

    fn publish(&self) {
        let view = Arc::new(AlertingView::new(self.env.clock.now_ms(), &self.machine, &self.setup_error));
        self.metrics.show(&view);
        self.view.send_replace(view);
    }
}

/// Passes on what a delivery tells about itself, and keeps what is sent for the dashboard.
fn listener(notifier: &Notifier, words: &mpsc::Sender<Word>, record: u64, kind: &'static str) -> Box<Listener> {
    let (notifier, words) = (notifier.clone(), words.clone());
    Box::new(move |progress| {
        let (notifier, words) = (notifier.clone(), words.clone());
        Box::pin(async move {
            match progress {
                Progress::Rendered(content) => {
                    let kept = match kind {
                        "outbox" => Ok(()),
                        _ => notifier.outbox.keep(&notifier.env, record, content.clone()).await,
                    };
                    if let Err(error) = kept {
                        tracing::warn!(record, %error, "what is sent could not be kept for the dashboard");
                    }
                    let (heard, hearing) = oneshot::channel();
                    if words.send(Word::Rendered(record, content, heard)).await.is_ok() {
                        let _gone = hearing.await;
                    }
                }
                Progress::Attempt(failure) => {
                    let _gone = words.send(Word::Attempt(record, kind, failure)).await;
                }
            }
        })
    })
}
