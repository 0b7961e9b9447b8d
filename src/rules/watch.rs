//! Groups that are evaluated as soon as a scrape changed one of their inputs, named in `watch_rule_groups`.
//!
//! ```text
//! manager: groups' selectors -> RuleInputs -> (scrape: a row changed a value that one of them reads) -> Waker -> group
//! ```
//!
//! What is read over a window changes with every sample; what is read at an instant when its value does; what is read of the
//! past (`offset`, `@`) not at all. Evaluations at the group's place in its interval go on. Between two evaluations a group
//! rests for [`REST`], and nine times as long as the last one took: watching costs at most a tenth of one core for a group.
//!
//! A group whose evaluation a scrape caused wakes the watched groups behind it (by file, then by place) that read what it
//! writes. Groups before it are not woken, so that no circle of groups can keep itself awake.

use super::spec::{GroupKey, GroupSpec};
use crate::env::Env;
use crate::model::labels::METRIC_NAME;
use crate::model::matcher::Matcher;
use crate::model::rule_inputs::{RuleInput, RuleInputs, WatchedGroup};
use crate::promql::deep::deep;
use crate::promql::expr::{Expr, ExprKind, Extension, VectorSelector};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// The least pause between the end of an evaluation and one that a scrape causes.
const REST: Duration = Duration::from_millis(100);
/// How much longer than an evaluation took the group rests.
const REST_FACTOR: u32 = 9;

/// How far a sample's time may lie ahead of the clock: a scrape is planned for a moment and may be a little early.
const AHEAD_MS: i64 = 10;

/// Counts what happened to a group's inputs.
#[derive(Debug, Default)]
pub(super) struct Waker {
    count: AtomicU64,
    newest_ms: AtomicI64,
    notify: Notify,
}

impl Waker {
    /// Notes that inputs changed, the last one at `at_ms`; the samples can be read already.
    pub(super) fn wake(&self, at_ms: i64) {
        self.newest_ms.store(at_ms, Ordering::SeqCst);
        self.count.fetch_add(1, Ordering::SeqCst);
        self.notify.notify_one();
    }

    /// Returns how often inputs changed, and when the last one did.
    fn now(&self) -> (u64, i64) {
        let count = self.count.load(Ordering::SeqCst);
        (count, self.newest_ms.load(Ordering::SeqCst))
    }
}

/// What a watched group keeps of its watching.
#[derive(Debug)]
pub(super) struct Watch {
    waker: Arc<Waker>,
    /// How many changes evaluations have seen.
    seen: u64,
    rest_until: Duration,
}

impl Watch {
    pub(super) const fn new(waker: Arc<Waker>) -> Self {
        Self { waker, seen: 0, rest_until: Duration::ZERO }
    }

    /// Waits until inputs changed and the group has rested. Returns the number of changes that are seen at the instant that
    /// comes with it.
    async fn due(&self, env: &Env, query_offset_ms: i64) -> (u64, i64) {
        while self.waker.now().0 == self.seen {
            self.waker.notify.notified().await;
        }
        env.clock.sleep(self.rest_until.saturating_sub(env.clock.monotonic())).await;
        let (count, newest_ms) = self.waker.now();
        // A query that looks into the past sees the sample only then.
        let visible_ms = newest_ms.saturating_add(query_offset_ms);
        // The wall clock may have been set back: no sample lies farther ahead than this.
        let latest_ms = env.clock.now_ms().saturating_add(query_offset_ms).saturating_add(AHEAD_MS);
        env.clock.sleep_until_ms(visible_ms.min(latest_ms)).await;
        let now_ms = env.clock.now_ms();
        (count, if visible_ms > now_ms + AHEAD_MS { now_ms } else { now_ms.max(visible_ms) })
    }

    /// Notes an evaluation that a scrape caused.
    pub(super) const fn has_seen(&mut self, count: u64) {
        self.seen = count;
    }

    /// Returns how many changes an evaluation at `at_ms` sees that begins now; `None`: not all of them.
    pub(super) fn seen_at(&self, at_ms: i64, query_offset_ms: i64) -> Option<u64> {
        let (count, newest_ms) = self.waker.now();
        (newest_ms.saturating_add(query_offset_ms) <= at_ms).then_some(count)
    }

    /// Notes that an evaluation has ended.
    pub(super) fn rest(&mut self, env: &Env, took: Duration) {
        self.rest_until = env.clock.monotonic() + REST.max(took * REST_FACTOR);
    }
}

/// Waits until a watched group is to be evaluated; for ever where it is not watched.
pub(super) async fn due(watch: Option<&Watch>, env: &Env, query_offset_ms: i64) -> (u64, i64) {
    match watch {
        Some(watch) => watch.due(env, query_offset_ms).await,
        None => std::future::pending().await,
    }
}

/// A watched group as the others see it.
struct Watched {
    key: GroupKey,
    inputs: Vec<RuleInput>,
    /// Names of the series that it writes.
    writes: Vec<String>,
    waker: Arc<Waker>,
}

impl Watched {
    /// Returns whether series of that name may be among the inputs.
    fn reads(&self, name: &str) -> bool {
        let may_have = |matcher: &Matcher| matcher.name() != METRIC_NAME || matcher.matches(name);
        self.inputs.iter().any(|input| input.matchers.iter().all(may_have))
    }
}

/// All watched groups, in order.
pub(super) struct Board {
    groups: Mutex<Vec<Watched>>,
    publish: watch::Sender<Arc<RuleInputs>>,
}

impl Board {
    pub(super) const fn new(publish: watch::Sender<Arc<RuleInputs>>) -> Self {
        Self { groups: Mutex::new(Vec::new()), publish }
    }

    /// Takes the watched groups that run, in order, and tells whoever writes samples where they are others than before.
    pub(super) fn set<'a>(&self, groups: impl Iterator<Item = (&'a GroupKey, &'a GroupSpec, &'a Arc<Waker>)>) {
        let fresh: Vec<Watched> = groups
            .map(|(key, spec, waker)| Watched {
                key: key.clone(),
                inputs: inputs(spec),
                writes: writes(spec),
                waker: Arc::clone(waker),
            })
            .collect();
        let mut held = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same = |old: &Watched, new: &Watched| Arc::ptr_eq(&old.waker, &new.waker) && old.inputs == new.inputs;
        if held.len() == fresh.len() && held.iter().zip(&fresh).all(|(old, new)| is_same(old, new)) {
            return;
        }
        let watched = |group: &Watched| {
            let waker = Arc::clone(&group.waker);
            WatchedGroup { inputs: group.inputs.clone(), wake: Arc::new(move |at_ms| waker.wake(at_ms)) }
        };
        self.publish.send_replace(Arc::new(RuleInputs { groups: fresh.iter().map(watched).collect() }));
        *held = fresh;
    }

    /// Wakes the watched groups that read a metric of the server's own making.
    pub(super) fn wake_readers(&self, name: &str, at_ms: i64) {
        let groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        groups.iter().filter(|group| group.reads(name)).for_each(|group| group.waker.wake(at_ms));
    }

    /// Wakes the watched groups behind one that read what it has just written.
    pub(super) fn wake_behind(&self, key: &GroupKey, at_ms: i64) {
        let groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        let mut behind = groups.iter().skip_while(|group| group.key != *key);
        let Some(writer) = behind.next() else { return };
        for group in behind {
            if writer.writes.iter().any(|name| group.reads(name)) {
                group.waker.wake(at_ms);
            }
        }
    }
}

/// Returns the names of the series that a group writes.
fn writes(spec: &GroupSpec) -> Vec<String> {
    let recorded = spec.rules.iter().filter(|rule| !rule.is_alert()).map(|rule| rule.name.clone());
    let mut names: Vec<String> = recorded.collect();
    if spec.rules.iter().any(|rule| rule.is_alert()) {
        names.extend(["ALERTS".to_owned(), "ALERTS_FOR_STATE".to_owned()]);
    }
    names
}

/// Returns what the rules of a group read now, each selector once.
fn inputs(spec: &GroupSpec) -> Vec<RuleInput> {
    let mut found = Vec::new();
    for rule in &spec.rules {
        collect(&rule.expr, false, &mut found);
    }
    found
}

fn collect(expr: &Expr, every_sample: bool, found: &mut Vec<RuleInput>) {
    let mut add = |selector: &VectorSelector, every_sample: bool| {
        // What is read of the past does not change now.
        if selector.shift.offset.is_some() || selector.shift.at.is_some() {
            return;
        }
        let every_sample = every_sample || selector.extension != Extension::None;
        match found.iter_mut().find(|known| known.matchers == selector.matchers) {
            Some(known) => known.every_sample |= every_sample,
            None => found.push(RuleInput { matchers: selector.matchers.clone(), every_sample }),
        }
    };
    let every_sample = match &expr.kind {
        ExprKind::Selector(selector) => {
            add(selector, every_sample);
            every_sample
        }
        ExprKind::Matrix(matrix) => {
            add(&matrix.selector, true);
            every_sample
        }
        ExprKind::Subquery(subquery) if subquery.shift.offset.is_some() || subquery.shift.at.is_some() => return,
        ExprKind::Subquery(_) => true,
        ExprKind::Call(call) => every_sample || call.function == "timestamp",
        _ => every_sample,
    };
    for child in expr.children() {
        deep(|| collect(child, every_sample, found));
    }
}
