//! A rule group as it lives: its rules in order, at one instant, again and again, never two at a time.
//!
//! Groups are spread over their interval by a hash of file and name, so that they do not all run at once, and so that
//! a restart does not move them. A group that is slower than its interval misses ticks, and says so in a metric.

use super::memory::Memory;
use super::metrics::{GroupMetrics, Metrics};
use super::restore;
use super::rule::{Evaluation, Outcome, RuleState};
use super::sharing::Sharing;
use super::spec::{GroupKey, GroupSpec};
use super::view::{GroupView, RuleView};
use super::watch::{self as inputs, Board, Waker, Watch};
use crate::env::Env;
use crate::model::alert::{Alert, AlertChange};
use crate::model::labels::Labels;
use crate::model::sample;
use crate::promql::engine::Engine;
use crate::state::{State, StateError};
use crate::storage::append::{Append, BatchSample, BatchValue, Durability};
use crate::storage::select::Querier;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use xxhash_rust::xxh3::xxh3_64;

/// Longest time of one rule's queries, as the default of Prometheus's engine.
const RULE_TIMEOUT: Duration = Duration::from_secs(120);
/// How long an evaluation may go on when the server stops.
const STOP_PATIENCE: Duration = Duration::from_millis(300);
/// The least time for which firing alerts from before a restart wait to show themselves.
const HOLD_MS: i64 = 60_000;

/// What all groups share.
pub(super) struct Shared {
    pub(super) env: Env,
    pub(super) engine: Arc<Engine>,
    pub(super) querier: Arc<dyn Querier>,
    pub(super) append: Arc<dyn Append>,
    pub(super) state: Arc<dyn State>,
    pub(super) memory: Arc<Memory>,
    /// Whether the server stops: evaluations are cut short then.
    pub(super) stopping: watch::Receiver<bool>,
    pub(super) alerts: mpsc::Sender<Vec<Alert>>,
    pub(super) changes: mpsc::Sender<Vec<AlertChange>>,
    pub(super) external_url: String,
    pub(super) metrics: Metrics,
    pub(super) views: Mutex<BTreeMap<GroupKey, Arc<GroupView>>>,
    pub(super) board: Board,
}

impl Shared {
    /// Hands changes of state on. Never waits: no rule is late because the history's disk is.
    fn note_changes(&self, changes: Vec<AlertChange>) {
        let count = changes.len() as u64;
        if count > 0 && self.changes.try_send(changes).is_err() {
            self.metrics.changes_lost.add(count);
        }
    }

    /// Waits until the server stops.
    async fn stops(&self) {
        if self.stopping.clone().wait_for(|stop| *stop).await.is_err() {
            // Nobody can say so any more.
            std::future::pending::<()>().await;
        }
    }
}

/// Settings that a group has of the configuration.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Settings {
    pub(super) interval_ms: i64,
    pub(super) query_offset_ms: i64,
    pub(super) external_labels: Labels,
    pub(super) resend_delay_ms: i64,
}

/// When a group is first evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum First {
    /// At its place in the interval: the server has just started, and there may be nothing to see yet.
    Phased,
    /// At once: somebody has just written the rules and waits for them.
    Now,
}

/// A group between two lives: what a reload hands on.
#[derive(Debug, Default)]
pub(super) struct GroupState {
    pub(super) rules: Vec<RuleState>,
}

/// A group that runs.
pub(super) struct Group {
    pub(super) shared: Arc<Shared>,
    pub(super) key: GroupKey,
    pub(super) spec: Arc<GroupSpec>,
    pub(super) settings: Settings,
    pub(super) stop: watch::Receiver<bool>,
    rules: Vec<Arc<Mutex<RuleState>>>,
    metrics: GroupMetrics,
    remembered: restore::Remembered,
    sharing: Arc<Sharing>,
    /// Present where the group is evaluated as soon as its inputs change.
    watch: Option<Watch>,
    /// The instant of the last evaluation.
    last_ms: i64,
}

impl Group {
    /// Prepares a group; `before` is the state of the same group before a reload.
    pub(super) fn new(
        shared: Arc<Shared>,
        key: GroupKey,
        spec: Arc<GroupSpec>,
        settings: Settings,
        stop: watch::Receiver<bool>,
        waker: Option<Arc<Waker>>,
        before: &mut GroupState,
    ) -> Self {
        let label = key.label();
        let is_reload = !before.rules.is_empty();
        let mut rules = Vec::with_capacity(spec.rules.len());
        for (place, rule) in spec.rules.iter().enumerate() {
            let mut state = RuleState::new(Arc::clone(rule), format!("rules/{label}/{place}"), true);
            let same = |old: &RuleState| {
                old.spec.name == rule.name && old.spec.labels == rule.labels && old.spec.is_alert() == rule.is_alert()
            };
            if let Some(at) = before.rules.iter().position(same) {
                state.carry_over(before.rules.remove(at));
            }
            rules.push(Arc::new(Mutex::new(state)));
        }
        let metrics = shared.metrics.group(&key);
        let sharing = Arc::new(Sharing::new(Arc::clone(&shared.querier)));
        let (remembered, watch) = (BTreeMap::new(), waker.map(Watch::new));
        let mut group = Self { shared, key, spec, settings, stop, rules, metrics, remembered, sharing, watch, last_ms: i64::MIN };
        if is_reload {
            group.remembered = group.to_remember();
        }
        group.metrics.interval_seconds.set(group.interval_ms() as f64 / 1000.0);
        group.metrics.rules.set(group.rules.len() as f64);
        group.publish(0.0, None);
        group
    }

    fn interval_ms(&self) -> i64 {
        self.spec.interval_ms.unwrap_or(self.settings.interval_ms).max(1)
    }

    fn query_offset_ms(&self) -> i64 {
        self.spec.query_offset_ms.unwrap_or(self.settings.query_offset_ms)
    }

    /// Returns the first tick after `now_ms` at this group's place in the interval.
    fn next_tick(&self, now_ms: i64) -> i64 {
        let interval_ms = self.interval_ms();
        let phase_ms = (xxh3_64(self.key.label().as_bytes()) % interval_ms.unsigned_abs()) as i64;
        now_ms - (now_ms - phase_ms).rem_euclid(interval_ms) + interval_ms
    }

    /// Evaluates until told to stop; then returns the state.
    pub(super) async fn run(mut self, first: First) -> GroupState {
        let clock = Arc::clone(&self.shared.env.clock);
        self.recall(clock.now_ms()).await;
        let mut at_ms = match first {
            First::Phased => self.next_tick(clock.now_ms()),
            First::Now => clock.now_ms(),
        };
        loop {
            let query_offset_ms = self.query_offset_ms();
            let woken = tokio::select! {
                biased;
                _ = self.stop.wait_for(|stop| *stop) => break,
                () = clock.sleep_until_ms(at_ms) => None,
                due = inputs::due(self.watch.as_ref(), &self.shared.env, query_offset_ms) => Some(due),
            };
            if let Some((seen, due_ms)) = woken {
                self.evaluate_woken(seen, due_ms).await;
                continue;
            }
            let now_ms = clock.now_ms();
            let interval_ms = self.interval_ms();
            // The wall clock may have been set: a tick far from now is no tick of this interval.
            if (now_ms - at_ms).abs() > interval_ms {
                let missed = (now_ms - at_ms).max(0) / interval_ms;
                self.metrics.iterations.add(missed.unsigned_abs());
                self.metrics.iterations_missed.add(missed.unsigned_abs());
                at_ms = if now_ms > at_ms { at_ms + missed * interval_ms } else { now_ms };
            }
            // A scrape may have caused an evaluation at this very instant.
            if !self.was_evaluated_at(at_ms) {
                let seen = self.watch.as_ref().and_then(|watch| watch.seen_at(at_ms, query_offset_ms));
                self.evaluate(at_ms).await;
                if let (Some(watch), Some(seen)) = (&mut self.watch, seen) {
                    watch.has_seen(seen);
                }
            }
            at_ms = self.next_tick(at_ms);
            if at_ms - clock.now_ms() > interval_ms {
                at_ms = self.next_tick(clock.now_ms());
            }
        }
        self.into_state()
    }

    /// Returns whether the last evaluation was at that instant or a little later.
    fn was_evaluated_at(&self, at_ms: i64) -> bool {
        self.last_ms >= at_ms && self.last_ms.saturating_sub(at_ms) <= self.interval_ms()
    }

    /// Evaluates because inputs changed, and has those evaluated that read what came out.
    async fn evaluate_woken(&mut self, seen: u64, due_ms: i64) {
        // The rows of two evaluations at one instant would be one.
        let at_ms = if self.was_evaluated_at(due_ms) { self.last_ms + 1 } else { due_ms };
        self.evaluate(at_ms).await;
        if let Some(watch) = &mut self.watch {
            watch.has_seen(seen);
        }
        self.metrics.woken.inc();
        self.shared.board.wake_behind(&self.key, at_ms - self.query_offset_ms());
    }

    fn into_state(self) -> GroupState {
        let take = |rule: Arc<Mutex<RuleState>>| {
            // Nobody else holds it: the evaluation is over. Were it otherwise, the rule would begin anew.
            Arc::try_unwrap(rule).ok().map(|rule| rule.into_inner().unwrap_or_else(PoisonError::into_inner))
        };
        GroupState { rules: self.rules.into_iter().filter_map(take).collect() }
    }

    /// Evaluates all rules once, at one instant.
    async fn evaluate(&mut self, at_ms: i64) {
        let clock = Arc::clone(&self.shared.env.clock);
        let start = clock.monotonic();
        let mut samples = 0;
        self.last_ms = at_ms;
        self.metrics.iterations.inc();
        self.sharing.begin(at_ms);
        for place in 0..self.rules.len() {
            if *self.shared.stopping.borrow() {
                break;
            }
            let rule_start = clock.monotonic();
            let outcome = self.evaluate_rule(place, at_ms).await;
            let rule = &self.spec.rules[place];
            let written: &[&str] = if rule.is_alert() { &["ALERTS", "ALERTS_FOR_STATE"] } else { &[rule.name.as_str()] };
            self.sharing.wrote(written);
            let seconds = (clock.monotonic() - rule_start).as_secs_f64();
            self.shared.metrics.evaluation_seconds.observe(seconds);
            self.metrics.evaluations.inc();
            if let Some(error) = &outcome.error {
                self.metrics.failures.inc();
                tracing::warn!(file = %self.key.origin, group = %self.key.name, rule = %self.spec.rules[place].name, %error, "a rule failed");
            }
            samples += outcome.samples;
            self.rules[place].lock().unwrap_or_else(PoisonError::into_inner).took(seconds);
            self.shared.note_changes(outcome.changes);
            self.send(outcome.alerts).await;
        }
        self.sharing.end();
        self.remember().await;
        let took = clock.monotonic() - start;
        if let Some(watch) = &mut self.watch {
            watch.rest(&self.shared.env, took);
        }
        let seconds = took.as_secs_f64();
        self.shared.metrics.group_seconds.observe(seconds);
        self.metrics.last_duration_seconds.set(seconds);
        self.metrics.last_evaluation_seconds.set(at_ms as f64 / 1000.0);
        self.metrics.last_samples.set(samples as f64);
        self.publish(seconds, Some(at_ms));
    }

    async fn evaluate_rule(&self, place: usize, at_ms: i64) -> Outcome {
        let shared = Arc::clone(&self.shared);
        let rule = Arc::clone(&self.rules[place]);
        let cancel = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&cancel);
        let (settings, limit, sharing) = (self.settings.clone(), self.spec.limit, Arc::clone(&self.sharing));
        let (query_offset_ms, interval_ms) = (self.query_offset_ms(), self.interval_ms());
        let (file, group) = (self.key.origin.to_string(), self.key.name.clone());
        let mut work = self.shared.env.tasks.blocking(move || {
            let evaluation = Evaluation {
                engine: &shared.engine,
                querier: &*sharing,
                append: &*shared.append,
                at_ms,
                query_offset_ms,
                limit,
                external_labels: &settings.external_labels,
                external_url: &shared.external_url,
                cancel: Some(flag),
                interval_ms,
                resend_delay_ms: settings.resend_delay_ms,
                group: (&file, &group),
            };
            rule.lock().unwrap_or_else(PoisonError::into_inner).evaluate(&evaluation)
        });
        let clock = &self.shared.env.clock;
        let stop = async {
            self.shared.stops().await;
            clock.sleep(STOP_PATIENCE).await;
        };
        let done = tokio::select! {
            biased;
            done = &mut work => Some(done),
            () = clock.sleep(RULE_TIMEOUT) => None,
            () = stop => None,
        };
        let done = match done {
            Some(done) => done,
            None => {
                cancel.store(true, Ordering::Relaxed);
                work.await
            }
        };
        done.unwrap_or_else(|error| Outcome { error: Some(format!("the evaluation broke: {error}")), ..Outcome::default() })
    }

    /// Hands alerts on; waits where nobody takes them.
    async fn send(&self, alerts: Vec<Alert>) {
        send(&self.shared, alerts).await;
    }

    fn to_remember(&self) -> restore::Remembered {
        let mut places: BTreeMap<String, usize> = BTreeMap::new();
        let mut rules = restore::Remembered::new();
        for rule in &self.rules {
            let rule = rule.lock().unwrap_or_else(PoisonError::into_inner);
            let place = places.entry(rule.spec.name.clone()).or_default();
            let told = rule.alerting.active.iter().filter(|(_, alert)| alert.fired_at_ms.is_some());
            let alerts: BTreeMap<_, _> = told.map(|(labels, alert)| (labels.clone(), alert.clone())).collect();
            if !alerts.is_empty() {
                rules.insert((rule.spec.name.clone(), *place), alerts);
            }
            *place += 1;
        }
        rules
    }

    /// Has the alerts written down that fire or have fired, where something changed that a restart must know. Does not wait for
    /// the disk.
    async fn remember(&mut self) {
        let rules = self.to_remember();
        if is_same_memory(&rules, &self.remembered) {
            return;
        }
        self.remembered.clone_from(&rules);
        // Thousands of alerts take a while to write as text.
        if let Ok(bytes) = self.shared.env.tasks.blocking(move || restore::encode(&rules)).await {
            self.shared.memory.note(restore::key(&self.key.label()), bytes);
        }
    }

    /// Reads what the group wrote down before a restart, for rules that have no alerts yet.
    async fn recall(&mut self, now_ms: i64) {
        let is_fresh =
            |rule: &Arc<Mutex<RuleState>>| rule.lock().unwrap_or_else(PoisonError::into_inner).alerting.active.is_empty();
        if !self.rules.iter().all(is_fresh) {
            return;
        }
        let held_until_ms = now_ms + HOLD_MS.max(2 * self.interval_ms());
        let (shared, key) = (Arc::clone(&self.shared), restore::key(&self.key.label()));
        let done = self.shared.env.tasks.blocking(move || {
            let bytes = shared.memory.read(&key)?;
            Ok(bytes.map(|bytes| restore::decode(&bytes, held_until_ms)).unwrap_or_default())
        });
        let done: Result<Result<restore::Remembered, StateError>, _> = done.await;
        let mut recalled = match done {
            Ok(Ok(recalled)) => recalled,
            Ok(Err(error)) => {
                tracing::error!(group = %self.key.label(), %error, "the state of alerts cannot be read");
                return;
            }
            Err(_) => return,
        };
        self.remembered.clone_from(&recalled);
        let mut places: BTreeMap<String, usize> = BTreeMap::new();
        for rule in &self.rules {
            let mut rule = rule.lock().unwrap_or_else(PoisonError::into_inner);
            let place = places.entry(rule.spec.name.clone()).or_default();
            if rule.spec.is_alert()
                && let Some(alerts) = recalled.remove(&(rule.spec.name.clone(), *place))
            {
                rule.alerting.active = alerts;
            }
            *place += 1;
        }
    }

    /// Shows the group as it is now.
    fn publish(&self, seconds: f64, at_ms: Option<i64>) {
        let rules: Vec<RuleView> =
            self.rules.iter().map(|rule| rule.lock().unwrap_or_else(PoisonError::into_inner).view()).collect();
        let view = GroupView {
            name: self.spec.name.clone(),
            origin: self.key.origin.clone(),
            line: self.spec.line,
            interval_ms: self.interval_ms(),
            query_offset_ms: self.query_offset_ms(),
            limit: self.spec.limit,
            evaluation_time_s: seconds,
            last_evaluation_ms: at_ms,
            rules,
        };
        self.shared.views.lock().unwrap_or_else(PoisonError::into_inner).insert(self.key.clone(), Arc::new(view));
    }
}

/// Whether two memories differ only in what a restart need not know: values, texts, times of sending.
fn is_same_memory(left: &restore::Remembered, right: &restore::Remembered) -> bool {
    let essence = |alerts: &restore::Remembered| {
        let alerts = alerts
            .iter()
            .flat_map(|(rule, alerts)| alerts.iter().map(move |(labels, alert)| (rule.clone(), labels.clone(), alert)));
        let essential = alerts.map(|(rule, labels, alert)| {
            (rule, labels, alert.state, alert.fired_at_ms, alert.resolved_at_ms, alert.keep_firing_since_ms)
        });
        essential.collect::<Vec<_>>()
    };
    essence(left) == essence(right)
}

/// Hands alerts on; waits where nobody takes them. When the server stops it does not wait: they are told again after the start.
pub(super) async fn send(shared: &Shared, alerts: Vec<Alert>) {
    if alerts.is_empty() {
        return;
    }
    shared.metrics.alerts_sent.add(alerts.len() as u64);
    tokio::select! {
        biased;
        sent = shared.alerts.send(alerts) => if sent.is_err() {
            tracing::warn!("the notifier is gone: alerts were not handed on");
        },
        () = shared.stops() => {}
    }
}

/// Ends rules that are gone: their alerts are resolved and told so, their series get stale markers.
pub(super) async fn bury(shared: &Arc<Shared>, group: &str, rules: Vec<RuleState>) {
    if rules.is_empty() {
        return;
    }
    let at_ms = shared.env.clock.now_ms();
    let mut alerts = Vec::new();
    let mut series = Vec::new();
    for mut rule in rules {
        let url = rule.generator_url(&shared.external_url);
        series.extend(rule.series().cloned());
        alerts.extend(rule.alerting.end(at_ms, &url));
        shared.note_changes(std::mem::take(&mut rule.alerting.changes));
    }
    let writer = Arc::clone(shared);
    let done = shared.env.tasks.blocking(move || {
        let mut markers = Vec::with_capacity(series.len());
        for labels in &series {
            if let Ok(series) = writer.append.series(labels) {
                markers.push(BatchSample { series, at_ms, value: BatchValue::Float(sample::stale_nan()) });
            }
        }
        writer.append.append_samples(None, &markers, Durability::Kept)
    });
    if let Ok(Err(error)) = done.await {
        tracing::warn!(group, %error, "stale markers of removed rules were not written");
    }
    send(shared, alerts).await;
}
