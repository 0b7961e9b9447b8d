//! Who may compute: a few turns, given out by lane.
//!
//! There are as many turns as the process may use cores for queries. Rules go ahead of dashboards, dashboards ahead of what
//! somebody just tries; within a lane the first comes first. A query that computes for long gives its turn back at
//! places where it holds nothing ([`Turn::breathe`]): at once for a lane ahead of its own, after a while for its equals.
//! So a heavy query slows other heavy queries, and nothing else. A lane behind is not forgotten: now and then its first is
//! preferred.

use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Who asks, the most urgent first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Recording and alerting rules, and what templates ask.
    Rules,
    /// Panels that are drawn again and again.
    Dashboard,
    /// Everything else.
    #[default]
    AdHoc,
}

/// How often a lane ahead is preferred before the last one waiting comes once.
const PREFERRED_MAX: u32 = 8;
/// Units of work (series read) after which a query lets its equals go first.
const QUANTUM: u64 = 4096;
/// How long to wait before looking whether the query was cancelled.
const LOOK: Duration = Duration::from_millis(20);

#[derive(Debug, Default)]
struct State {
    free: usize,
    next_ticket: u64,
    /// Those that wait: lane, then arrival.
    waiting: BTreeSet<(Lane, u64)>,
    /// Turns given to lanes ahead while the last one waited.
    preferred: u32,
}

impl State {
    /// Returns whose turn is next.
    fn next(&self) -> Option<(Lane, u64)> {
        let first = *self.waiting.first()?;
        let last_lane = self.waiting.last()?.0;
        // Rules never wait for anybody.
        if self.preferred < PREFERRED_MAX || first.0 == Lane::Rules || last_lane == first.0 {
            return Some(first);
        }
        self.waiting.range((last_lane, 0)..).next().copied()
    }
}

/// The turns of one process. Share it by `Arc`.
#[derive(Debug)]
pub struct Turns {
    state: Mutex<State>,
    changed: Condvar,
}

/// The right to compute; given back when dropped.
#[derive(Debug)]
pub struct Turn {
    turns: Arc<Turns>,
    lane: Lane,
    spent: u64,
    held: bool,
}

impl Turns {
    /// Returns so many turns, at least one.
    #[must_use]
    pub fn new(count: usize) -> Self {
        let state = State { free: count.max(1), ..State::default() };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    fn wait(&self, lane: Lane, cancelled: &dyn Fn() -> bool) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let me = (lane, state.next_ticket);
        state.next_ticket += 1;
        state.waiting.insert(me);
        loop {
            if state.free > 0 && state.next() == Some(me) {
                let others_behind = state.waiting.last().is_some_and(|last| last.0 > lane);
                state.preferred = if others_behind { state.preferred + 1 } else { 0 };
                state.waiting.remove(&me);
                state.free -= 1;
                // More than one may be free.
                self.changed.notify_all();
                return true;
            }
            if cancelled() {
                state.waiting.remove(&me);
                self.changed.notify_all();
                return false;
            }
            (state, _) = self.changed.wait_timeout(state, LOOK).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn give_back(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).free += 1;
        self.changed.notify_all();
    }

    /// Waits for a turn; `None` when `cancelled` says so meanwhile.
    pub fn take(self: &Arc<Self>, lane: Lane, cancelled: &dyn Fn() -> bool) -> Option<Turn> {
        self.wait(lane, cancelled).then(|| Turn { turns: Arc::clone(self), lane, spent: 0, held: true })
    }

    /// Returns a turn that nobody waits for, if there is one.
    pub fn idle(self: &Arc<Self>, lane: Lane) -> Option<Turn> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.free == 0 || !state.waiting.is_empty() {
            return None;
        }
        state.free -= 1;
        drop(state);
        Some(Turn { turns: Arc::clone(self), lane, spent: 0, held: true })
    }

    /// Returns how many wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).waiting.len()
    }
}

impl Turn {
    /// Returns whether somebody waits for a turn, whoever it is: one that was idle is then given back.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.turns.waiting() > 0
    }

    /// Notes work that was done, and lets others go first where that is due. Call it where nothing is locked. Returns false
    /// when the query was cancelled while it waited.
    pub fn breathe(&mut self, work: u64, cancelled: &dyn Fn() -> bool) -> bool {
        self.spent += work;
        let lets = {
            let state = self.turns.state.lock().unwrap_or_else(PoisonError::into_inner);
            let first = state.waiting.first().map(|first| first.0);
            first.is_some_and(|first| first < self.lane || self.spent >= QUANTUM)
        };
        if !lets {
            return true;
        }
        self.spent = 0;
        self.held = false;
        self.turns.give_back();
        self.held = self.turns.wait(self.lane, cancelled);
        self.held
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.held {
            self.turns.give_back();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    const NEVER: &dyn Fn() -> bool = &|| false;

    fn wait_until(done: impl Fn() -> bool) {
        let (_sender, never) = mpsc::channel::<()>();
        for _ in 0..10_000 {
            if done() {
                return;
            }
            assert!(never.recv_timeout(Duration::from_millis(1)).is_err());
        }
        panic!("nothing happened within ten seconds");
    }

    #[test]
    fn lanes_ahead_go_first_and_nobody_is_forgotten() {
        let turns = Arc::new(Turns::new(1));
        let held = turns.take(Lane::AdHoc, NEVER).expect("free");
        let (told, order) = mpsc::channel();
        std::thread::scope(|scope| {
            // They arrive one after the other, in the wrong order.
            let lanes = std::iter::repeat_n(Lane::AdHoc, 2).chain(std::iter::repeat_n(Lane::Dashboard, 12)).chain([Lane::Rules]);
            for (place, lane) in lanes.enumerate() {
                let (shared, told) = (Arc::clone(&turns), told.clone());
                scope.spawn(move || {
                    let turn = shared.take(lane, NEVER).expect("a turn");
                    told.send(lane).expect("someone listens");
                    drop(turn);
                });
                wait_until(|| turns.waiting() == place + 1);
            }
            drop(held);
        });
        let order: Vec<Lane> = order.try_iter().collect();
        assert_eq!(order.len(), 15);
        assert_eq!(order[0], Lane::Rules);
        assert_eq!(order[1], Lane::Dashboard);
        let first_ad_hoc = order.iter().position(|lane| *lane == Lane::AdHoc).expect("it came");
        assert!((2..12).contains(&first_ad_hoc), "{order:?}");
    }

    #[test]
    fn a_long_query_lets_rules_in_between() {
        let turns = Arc::new(Turns::new(1));
        let mut long = turns.take(Lane::AdHoc, NEVER).expect("free");
        assert!(long.breathe(1, NEVER));
        std::thread::scope(|scope| {
            let rule = scope.spawn(|| turns.take(Lane::Rules, NEVER).is_some());
            wait_until(|| turns.waiting() == 1);
            assert!(long.breathe(1, NEVER));
            assert!(rule.join().expect("no panic"));
        });
        // An equal waits until the quantum is spent.
        std::thread::scope(|scope| {
            let equal = scope.spawn(|| turns.take(Lane::AdHoc, NEVER).is_some());
            wait_until(|| turns.waiting() == 1);
            assert!(long.breathe(1, NEVER));
            assert_eq!(turns.waiting(), 1);
            assert!(long.breathe(QUANTUM, NEVER));
            assert!(equal.join().expect("no panic"));
        });
    }

    #[test]
    fn a_turn_is_idle_only_while_nobody_waits() {
        let turns = Arc::new(Turns::new(2));
        let first = turns.take(Lane::AdHoc, NEVER).expect("free");
        let idle = turns.idle(Lane::AdHoc).expect("free");
        assert!(turns.idle(Lane::Rules).is_none() && !idle.is_wanted());
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| turns.take(Lane::AdHoc, NEVER).is_some());
            wait_until(|| idle.is_wanted());
            assert!(turns.idle(Lane::AdHoc).is_none());
            drop(idle);
            assert!(waiting.join().expect("no panic"));
        });
        drop(first);
        assert!(turns.idle(Lane::AdHoc).is_some());
    }

    #[test]
    fn a_cancelled_query_waits_no_longer() {
        let turns = Arc::new(Turns::new(1));
        let held = turns.take(Lane::Rules, NEVER);
        assert!(turns.take(Lane::AdHoc, &|| true).is_none());
        drop(held);
        assert!(turns.take(Lane::AdHoc, NEVER).is_some());
        assert_eq!(turns.waiting(), 0);
    }
}
