//! The task that owns the machine: takes commands, keeps state, starts deliveries, publishes pictures.
//!
//! The order of things is the promise: changes of an effect are on disk before a command is answered and before a delivery
//! begins. Whatever waits when the disk is free again (posts, outcomes of deliveries, groups that are due) goes into one
//! synced transaction, so that a storm of alerts costs few syncs and not one each. Deliveries run as tasks of their own and come
//! back as messages. The queue of commands is bounded: who posts waits, nothing is dropped.

use super::ack::Ack;
use super::alerts::StoredAlert;
use super::fence::{Fence, Lessons, Permission, STOOD_DOWN};
use super::history::{RECORDS_MAX, RecordState};
use super::links::Links;
use super::machine::{Delivery, DeliveryReport, Effect, Machine};
use super::metrics::AlertingMetrics;
use super::notify::{Content, Failure, Listener, Notifier, Progress, STOPPING};
use super::setup::{self, Setup, SetupError};
use super::silence::{SilenceError, Silences};
use super::view::AlertingView;
use super::{AlertingDeps, persist};
use crate::config::Config;
use crate::env::Env;
use crate::model::alert::Alert;
use crate::model::silence::Silence;
use crate::state::{Change, State, StateError};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

/// How long a stop waits for deliveries that are going on.
const SETTLE: Duration = Duration::from_secs(2);
/// How often log and events hear that old notifications were removed, at most.
const REMOVED_PAUSE_MS: i64 = 600_000;
/// How many commands and words share one transaction.
const BATCH_MAX: usize = 1024;
/// How many times as long as making the last picture of alerting took the next one waits.
const PICTURE_PAUSE: u32 = 10;

/// What others ask for.
#[derive(Debug)]
pub(super) enum Command {
    /// Take alerts in; answers with why some were refused. `is_seen`: who hears the answer may look for them at once.
    Post { alerts: Vec<Alert>, is_seen: bool, answer: oneshot::Sender<Vec<String>> },
    /// Make or change a silence; answers with its id once it is kept.
    PutSilence(Box<Silence>, oneshot::Sender<Result<String, SilenceError>>),
    /// End a silence.
    ExpireSilence(String, oneshot::Sender<Result<(), SilenceError>>),
    /// Somebody takes care of an alert; answers whether there is one.
    Acknowledge(Ack, oneshot::Sender<bool>),
    /// Look at the group of a notification now; answers whether there is one.
    Retry(u64, oneshot::Sender<bool>),
    /// Tell a receiver something at once; answers with the history's records.
    Tell { receiver: String, alert: Box<StoredAlert>, why: &'static str, answer: oneshot::Sender<Result<Vec<u64>, String>> },
    /// What other members made; answers once it is kept.
    Learn(Box<Lessons>, oneshot::Sender<()>),
    /// Finish what is going on, then end.
    Stop(oneshot::Sender<()>),
}

/// What deliveries tell.
#[derive(Debug)]
enum Word {
    Rendered(u64, Content),
    Attempt(u64, &'static str, Failure),
    Done(DeliveryReport),
}

/// An answer that is given once what it speaks of is kept.
enum Answer {
    Post(Vec<String>, oneshot::Sender<Vec<String>>),
    Silence(Result<String, SilenceError>, oneshot::Sender<Result<String, SilenceError>>),
    Expired(Result<(), SilenceError>, oneshot::Sender<Result<(), SilenceError>>),
    Acknowledged(bool, oneshot::Sender<bool>),
    Told(Result<Vec<u64>, String>, oneshot::Sender<Result<Vec<u64>, String>>),
    Learned(oneshot::Sender<()>),
}

impl Answer {
    /// Answers. `failed`: why nothing was kept. Whoever asked may have gone.
    fn give(self, failed: Option<&StateError>) {
        let not_stored = |error: &StateError| SilenceError::NotStored(error.to_string());
        match self {
            // Alerts that could not be kept are told all the same.
            Self::Post(refused, answer) => drop(answer.send(refused)),
            Self::Silence(result, answer) => {
                drop(answer.send(result.and_then(|id| failed.map_or(Ok(id), |error| Err(not_stored(error))))));
            }
            Self::Expired(result, answer) => {
                drop(answer.send(result.and_then(|()| failed.map_or(Ok(()), |error| Err(not_stored(error))))));
            }
            Self::Told(told, answer) => drop(answer.send(told)),
            Self::Learned(answer) => drop(answer.send(())),
            Self::Acknowledged(known, answer) => drop(answer.send(known && failed.is_none())),
        }
    }
}

/// What is done together: one synced transaction, then the answers and deliveries that waited for it.
#[derive(Default)]
struct Batch {
    effects: Vec<Effect>,
    answers: Vec<Answer>,
    /// The silences before the first change of this batch.
    silences_before: Option<Silences>,
    /// Whether something changed that needs no effect.
    touched: bool,
    /// Whether who hears an answer may look at once for what changed.
    must_be_seen: bool,
    /// Who wants to know when alerting has ended; `Some(None)`: nobody speaks to it any more.
    stop: Option<Option<oneshot::Sender<()>>>,
}

impl Batch {
    const fn is_empty(&self) -> bool {
        self.effects.is_empty() && self.answers.is_empty() && !self.touched && self.stop.is_none()
    }
}

pub(super) struct Task {
    env: Env,
    state: Arc<dyn State>,
    machine: Machine,
    notifier: Notifier,
    metrics: AlertingMetrics,
    config: watch::Receiver<Arc<Config>>,
    may_send: watch::Receiver<bool>,
    fence: Arc<dyn Fence>,
    commands: mpsc::Receiver<Command>,
    words: mpsc::Receiver<Word>,
    words_sender: mpsc::Sender<Word>,
    view: watch::Sender<Arc<AlertingView>>,
    on_change: super::ChangeSink,
    setup_error: String,
    running: usize,
    stopping: watch::Sender<bool>,
    /// Whether something has changed since the newest picture.
    is_picture_old: bool,
    /// When the newest picture was made, and how long that took; on the monotonic clock.
    picture_at: Duration,
    picture_took: Duration,
    /// How many removed records log and events know of, and when they may hear of more.
    removed_told: u64,
    removed_told_next_ms: i64,
}

/// Reads what a configuration asks for, template files included.
pub(super) async fn set_up(env: &Env, config: &Config) -> Result<(Setup, super::notify::message::Templates), SetupError> {
    let section = config.notifier();
    let (disk, patterns) = (Arc::clone(&env.disk), section.templates.clone());
    let files = env.tasks.blocking(move || setup::read_templates(&*disk, &patterns)).await;
    let files = files.map_err(|error| SetupError::Config(error.to_string()))??;
    setup::build(&section, &files)
}

impl Task {
    pub(super) async fn start(
        deps: AlertingDeps,
        mut config: watch::Receiver<Arc<Config>>,
    ) -> Result<(Self, mpsc::Sender<Command>, watch::Receiver<Arc<AlertingView>>), super::StartError> {
        let AlertingDeps { env, state, registry, external_url, mut may_send, fence, outbox_dir, on_change, charts } = deps;
        let current = Arc::clone(&config.borrow_and_update());
        let (setup, templates) = set_up(&env, &current).await?;
        let reading = Arc::clone(&state);
        let own_env = env.clone();
        let kept = env.tasks.blocking(move || Ok((persist::load(&*reading)?, Links::load(&own_env, &*reading)?))).await;
        let kept: Result<(persist::Kept, Links), StateError> = kept.map_err(|error| StateError::Failed(error.to_string()))?;
        let (kept, links) = kept?;
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
            fence: Arc::clone(&fence),
            pool: super::notify::pool::Pool::default(),
            charts,
            links,
            rendering: Arc::new(Semaphore::new(super::notify::RENDERING_MAX)),
            writing: Arc::new(Semaphore::new(super::notify::WRITING_MAX)),
        };
        let known: BTreeSet<u64> = machine.history.newest_first().map(|record| record.id).collect();
        let (outbox, disk) = (notifier.outbox.clone(), Arc::clone(&env.disk));
        let swept = env.tasks.blocking(move || outbox.sweep(&*disk, |record| known.contains(&record))).await;
        match swept {
            Ok(0) => {}
            Ok(files) => tracing::info!(files, "removed what an earlier life left half done in the outbox"),
            Err(error) => tracing::warn!(%error, "the outbox could not be swept"),
        }
        let metrics = AlertingMetrics::new(&registry);
        let task = Self {
            env,
            state,
            machine,
            notifier,
            metrics,
            config,
            may_send,
            fence,
            commands,
            words,
            words_sender,
            view,
            on_change,
            setup_error: String::new(),
            running: 0,
            stopping,
            is_picture_old: false,
            picture_at: Duration::ZERO,
            picture_took: Duration::ZERO,
            removed_told: 0,
            removed_told_next_ms: 0,
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
            let mut batch = Batch { effects: self.machine.tick(now_ms), ..Batch::default() };
            self.take_waiting(&mut batch);
            if batch.is_empty() {
                self.wait(&mut batch).await;
                self.take_waiting(&mut batch);
            }
            let stop = batch.stop.take();
            self.commit(batch).await;
            if let Some(done) = stop {
                self.settle().await;
                // Nobody waits for the answer where the asker has gone.
                let _gone = done.map(|done| done.send(()));
                return;
            }
        }
    }

    /// Takes in what waits already, up to a bound: it shares one synced transaction.
    fn take_waiting(&mut self, batch: &mut Batch) {
        for _ in 0..BATCH_MAX {
            if batch.stop.is_some() {
                return;
            }
            if let Ok(word) = self.words.try_recv() {
                self.hear(word, batch);
            } else if let Ok(command) = self.commands.try_recv() {
                self.obey(command, batch);
            } else {
                return;
            }
        }
    }

    /// Waits until something happens or is due.
    async fn wait(&mut self, batch: &mut Batch) {
        let now_ms = self.env.clock.now_ms();
        let alarm = self.env.clock.sleep_until_ms(self.machine.next_tick_ms(now_ms).max(now_ms + 1));
        let picture = self.env.clock.sleep(self.picture_due_in());
        tokio::select! {
            biased;
            Some(word) = self.words.recv() => self.hear(word, batch),
            Ok(()) = self.may_send.changed() => {
                let may = *self.may_send.borrow_and_update();
                self.machine.set_may_send(self.env.clock.now_ms(), may);
                batch.touched = true;
            }
            Ok(()) = self.config.changed() => self.reconfigure(batch).await,
            command = self.commands.recv() => match command {
                Some(command) => self.obey(command, batch),
                None => batch.stop = Some(None),
            },
            () = picture, if self.is_picture_old => self.publish(),
            () = alarm => {}
        }
    }

    async fn reconfigure(&mut self, batch: &mut Batch) {
        let config = Arc::clone(&self.config.borrow_and_update());
        match set_up(&self.env, &config).await {
            Ok((setup, templates)) => {
                self.setup_error.clear();
                self.notifier.templates = Arc::new(templates);
                batch.effects.extend(self.machine.reconfigure(self.env.clock.now_ms(), Arc::new(setup)));
            }
            Err(error) => {
                tracing::error!(%error, "the alerting configuration was refused; the one before goes on");
                self.setup_error = error.to_string();
            }
        }
        batch.touched = true;
    }

    fn obey(&mut self, command: Command, batch: &mut Batch) {
        let now_ms = self.env.clock.now_ms();
        match command {
            Command::Post { alerts, is_seen, answer } => {
                let total = alerts.len();
                let resolved = alerts.iter().filter(|alert| alert.is_resolved_at(now_ms)).count();
                let (effects, refused) = self.machine.post(now_ms, alerts);
                let (resolved, invalid) = (resolved as u64, refused.len() as u64);
                self.metrics.received((total as u64).saturating_sub(resolved), resolved, invalid);
                batch.effects.extend(effects);
                batch.must_be_seen |= is_seen;
                batch.answers.push(Answer::Post(refused, answer));
            }
            Command::PutSilence(silence, answer) => {
                let before = self.machine.silences.clone();
                let id = self.env.random.uuid();
                let result = self.machine.put_silence(now_ms, *silence, id).map(|(id, effects)| {
                    batch.effects.extend(effects);
                    batch.silences_before.get_or_insert(before);
                    id
                });
                batch.must_be_seen = true;
                batch.answers.push(Answer::Silence(result, answer));
            }
            Command::ExpireSilence(id, answer) => {
                let before = self.machine.silences.clone();
                let result = self.machine.expire_silence(now_ms, &id).map(|effects| {
                    batch.effects.extend(effects);
                    batch.silences_before.get_or_insert(before);
                });
                batch.must_be_seen = true;
                batch.answers.push(Answer::Expired(result, answer));
            }
            Command::Acknowledge(ack, answer) => {
                let effects = self.machine.acknowledge(ack);
                batch.must_be_seen = true;
                batch.answers.push(Answer::Acknowledged(effects.is_some(), answer));
                batch.effects.extend(effects.unwrap_or_default());
            }
            Command::Retry(record, answer) => {
                let _gone = answer.send(self.machine.hurry(now_ms, record));
                batch.touched = true;
            }
            Command::Tell { receiver, alert, why, answer } => {
                let id = self.env.random.uuid();
                let told = self.machine.tell_directly(now_ms, &receiver, *alert, why, &id).map(|(records, effects)| {
                    batch.effects.extend(effects);
                    records
                });
                batch.must_be_seen = true;
                batch.answers.push(Answer::Told(told, answer));
            }
            Command::Learn(lessons, answer) => {
                batch.effects.extend(self.machine.learn(now_ms, *lessons));
                batch.must_be_seen = true;
                batch.answers.push(Answer::Learned(answer));
            }
            Command::Stop(done) => batch.stop = Some(Some(done)),
        }
    }

    fn hear(&mut self, word: Word, batch: &mut Batch) {
        let now_ms = self.env.clock.now_ms();
        batch.touched = true;
        match word {
            Word::Rendered(record, content) => {
                for warning in &content.warnings {
                    tracing::warn!(record, warning, "a notification was not rendered as configured");
                }
                self.machine.rendered(record, &content.subject, !content.raw.is_empty(), &content.warnings);
            }
            Word::Attempt(record, kind, failure) => {
                self.metrics.request(kind, false);
                batch.effects.extend(self.machine.attempted(now_ms, record, &failure.words, &failure.recipients));
            }
            Word::Done(report) => {
                self.running -= 1;
                self.count(now_ms, &report);
                batch.effects.extend(self.machine.delivered(now_ms, &report));
            }
        }
    }

    /// Writes all that must be kept in one transaction, then answers, and starts what may follow. Deliveries begin even where
    /// the disk refuses: telling twice is better than not at all.
    async fn commit(&mut self, batch: Batch) {
        if batch.is_empty() {
            return;
        }
        let Batch { effects, answers, silences_before, must_be_seen, .. } = batch;
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
        if let Err(error) = &written {
            tracing::error!(%error, "alerting could not keep its state; notifications go out all the same");
            self.metrics.state_failed();
            if let Some(before) = silences_before {
                self.machine.silences = before;
            }
        }
        if must_be_seen || self.picture_due_in().is_zero() {
            self.publish();
        } else {
            self.is_picture_old = true;
        }
        for answer in answers {
            answer.give(written.as_ref().err());
        }
        for effect in others {
            match effect {
                Effect::Deliver(delivery) => self.deliver(delivery),
                Effect::DropContent(records) => {
                    self.note_removed(records.len());
                    let (outbox, disk) = (self.notifier.outbox.clone(), Arc::clone(&self.env.disk));
                    let forget = move || records.iter().for_each(|record| outbox.forget(&*disk, *record));
                    drop(self.env.tasks.blocking(forget));
                }
                Effect::Suppressed { reason, count } => self.metrics.suppressed(reason, count),
                Effect::Write { .. } => {}
            }
        }
    }

    fn count(&self, now_ms: i64, report: &DeliveryReport) {
        let delivery = &report.delivery;
        let kind = delivery.integration.kind;
        self.metrics.request(kind, report.worked);
        self.metrics.latency(kind).observe((now_ms - delivery.at_ms) as f64 / 1000.0);
        let (receiver, group) = (&delivery.receiver.name, &delivery.group_key);
        let refused: Vec<_> = report.recipients.iter().filter(|one| one.is_refused()).collect();
        if report.worked && !refused.is_empty() {
            // Some have it, but not all who were to have it.
            self.metrics.failed(kind, "clientError").inc();
            for one in refused {
                tracing::error!(receiver, kind, group, recipient = one.address, answer = one.message, "a recipient was refused");
            }
        } else if report.worked {
            tracing::debug!(receiver, kind, group, words = report.words, "notified");
        } else if report.reason == STOOD_DOWN {
            tracing::info!(receiver, kind, group, words = report.words, "a notification is left to another member");
        } else if report.reason == STOPPING {
            tracing::debug!(receiver, kind, group, "a notification waits for the next start");
        } else {
            self.metrics.failed(kind, report.reason).inc();
            tracing::error!(receiver, kind, group, error = report.words, "a notification failed");
        }
    }

    /// Says that old notifications left history and outbox: in a metric at once, in log and events now and then.
    fn note_removed(&mut self, count: usize) {
        self.metrics.removed(count);
        let now_ms = self.env.clock.now_ms();
        let removed = self.machine.history.removed();
        if removed > self.removed_told && now_ms >= self.removed_told_next_ms {
            let (count, bound) = (removed - self.removed_told, RECORDS_MAX);
            tracing::warn!(count, bound, "the oldest notifications were removed from history and outbox, which keep the newest");
            self.removed_told = removed;
            self.removed_told_next_ms = now_ms.saturating_add(REMOVED_PAUSE_MS);
        }
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
        let (notifier, words, fence) = (self.notifier.clone(), self.words_sender.clone(), Arc::clone(&self.fence));
        let work = async move {
            let permission = match delivery.intent.clone() {
                Some(intent) => {
                    let firing =
                        delivery.alerts.iter().filter(|told| !told.resolved).map(|told| Arc::clone(&told.alert)).collect();
                    fence.begin(intent, firing).await
                }
                None => Permission::Go(None),
            };
            let report = match permission {
                Permission::StandDown(words) => super::notify::stood_down(&delivery, words),
                Permission::Go(note) => {
                    let listener = listener(&notifier, &words, delivery.record, kind);
                    let mut report = Box::pin(notifier.deliver(delivery, &*listener)).await;
                    report.warnings.extend(note);
                    report
                }
            };
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
                Ok(Some(word)) => {
                    let mut batch = Batch::default();
                    self.hear(word, &mut batch);
                    while let Ok(word) = self.words.try_recv() {
                        self.hear(word, &mut batch);
                    }
                    self.commit(batch).await;
                }
                Ok(None) => break,
                Err(_) => {
                    tracing::warn!(running = self.running, "notifications were still going out when the server stopped");
                    break;
                }
            }
        }
        self.publish();
        if let Err(error) = self.write(Vec::new(), true).await {
            tracing::error!(%error, "alerting could not keep its state at the end");
        }
        let sending = self.machine.history.newest_first().filter(|record| record.state == RecordState::Sending).count();
        tracing::debug!(sending, "alerting has ended");
    }

    fn publish(&mut self) {
        let began = self.env.clock.monotonic();
        let mut view = AlertingView::new(self.env.clock.now_ms(), &self.machine, &self.setup_error);
        view.removed_told = self.removed_told;
        let view = Arc::new(view);
        self.metrics.show(&view);
        self.view.send_replace(view);
        self.is_picture_old = false;
        self.picture_at = self.env.clock.monotonic();
        self.picture_took = self.picture_at.saturating_sub(began);
    }

    /// Returns how long the next picture should wait: a picture of thousands of alerts takes a while, and making pictures must
    /// not be what alerting does most.
    fn picture_due_in(&self) -> Duration {
        let next = self.picture_at + PICTURE_PAUSE * self.picture_took;
        next.saturating_sub(self.env.clock.monotonic())
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
                    let _gone = words.send(Word::Rendered(record, content)).await;
                }
                Progress::Attempt(failure) => {
                    let _gone = words.send(Word::Attempt(record, kind, failure)).await;
                }
            }
        })
    })
}
