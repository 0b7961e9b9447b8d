//! Who may compute: a few turns, given out by lane.
//!
//! There are as many turns as the process may use cores for queries. Rules go ahead of dashboards, dashboards ahead of what
//! somebody just tries; within a lane those that have computed little so far, then the first that came. A query that
//! computes for long gives its turn back at places where it holds nothing ([`Turn::breathe`]): at once for who is ahead of
//! it, after a while for its equals. So a heavy query slows other heavy queries, and nothing else. Who stands behind is not
//! forgotten: now and then the one that has waited longest is preferred.
//!
//! What a query has computed is measured in time, not in series: one series may take a second.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
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

/// Tells how much time has passed since some moment.
pub type Stopwatch = Arc<dyn Fn() -> Duration + Send + Sync>;

/// How often others are preferred before the one that has waited longest comes once.
const PREFERRED_MAX: u32 = 8;
/// How long a query computes before it lets its equals go first, and is no newcomer any more.
const QUANTUM: Duration = Duration::from_millis(10);
/// How long to wait before looking whether the query was cancelled.
const LOOK: Duration = Duration::from_millis(20);

/// Who goes first: the smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    lane: Lane,
    /// Whether a quantum was spent already.
    long: bool,
}

#[derive(Debug, Default)]
struct State {
    free: usize,
    next_ticket: u64,
    /// Those that wait: rank, then arrival.
    waiting: BTreeSet<(Rank, u64)>,
    /// Turns given to others while the same one waited longest.
    preferred: u32,
}

impl State {
    /// Returns who has waited longest.
    fn oldest(&self) -> Option<(Rank, u64)> {
        self.waiting.iter().min_by_key(|(_, ticket)| *ticket).copied()
    }

    /// Returns whose turn is next.
    fn next(&self) -> Option<(Rank, u64)> {
        let first = *self.waiting.first()?;
        // Rules never wait for anybody.
        if self.preferred < PREFERRED_MAX || first.0.lane == Lane::Rules { Some(first) } else { self.oldest() }
    }
}

/// The turns of one process. Share it by `Arc`.
pub struct Turns {
    state: Mutex<State>,
    /// How many wait, for those who only want to know whether somebody does.
    waiting: AtomicUsize,
    changed: Condvar,
    clock: Stopwatch,
}

impl std::fmt::Debug for Turns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Turns").field("state", &self.state).finish_non_exhaustive()
    }
}

/// The right to compute; given back when dropped.
#[derive(Debug)]
pub struct Turn {
    turns: Arc<Turns>,
    rank: Rank,
    /// When the quantum that is being spent began.
    since: Duration,
    held: bool,
}

impl Turns {
    /// Returns so many turns, at least one.
    #[must_use]
    pub fn new(count: usize, clock: Stopwatch) -> Self {
        let state = State { free: count.max(1), ..State::default() };
        Self { state: Mutex::new(state), waiting: AtomicUsize::new(0), changed: Condvar::new(), clock }
    }

    fn wait(&self, rank: Rank, cancelled: &dyn Fn() -> bool) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let me = (rank, state.next_ticket);
        state.next_ticket += 1;
        state.waiting.insert(me);
        self.waiting.store(state.waiting.len(), Ordering::Relaxed);
        loop {
            if state.free > 0 && state.next() == Some(me) {
                state.preferred = if state.oldest() == Some(me) { 0 } else { state.preferred + 1 };
                state.waiting.remove(&me);
                self.waiting.store(state.waiting.len(), Ordering::Relaxed);
                state.free -= 1;
                // More than one may be free.
                self.changed.notify_all();
                return true;
            }
            if cancelled() {
                state.waiting.remove(&me);
                self.waiting.store(state.waiting.len(), Ordering::Relaxed);
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

    fn turn(self: &Arc<Self>, lane: Lane) -> Turn {
        Turn { turns: Arc::clone(self), rank: Rank { lane, long: false }, since: (self.clock)(), held: true }
    }

    /// Waits for a turn; `None` when `cancelled` says so meanwhile.
    pub fn take(self: &Arc<Self>, lane: Lane, cancelled: &dyn Fn() -> bool) -> Option<Turn> {
        self.wait(Rank { lane, long: false }, cancelled).then(|| self.turn(lane))
    }

    /// Returns a turn that nobody waits for, if there is one.
    pub fn idle(self: &Arc<Self>, lane: Lane) -> Option<Turn> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.free == 0 || !state.waiting.is_empty() {
            return None;
        }
        state.free -= 1;
        drop(state);
        Some(self.turn(lane))
    }

    /// Returns how many wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

impl Turn {
    /// Returns whether somebody waits for a turn, whoever it is: one that was idle is then given back.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.turns.waiting() > 0
    }

    /// Lets others go first where that is due. Call it where nothing is locked, every millisecond or so. Returns false when the
    /// query was cancelled while it waited.
    pub fn breathe(&mut self, cancelled: &dyn Fn() -> bool) -> bool {
        // Asked for each series: neither clock nor lock where nobody waits.
        if self.turns.waiting() == 0 {
            return true;
        }
        let spent = (self.turns.clock)().saturating_sub(self.since) >= QUANTUM;
        self.rank.long |= spent;
        let first = {
            let state = self.turns.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.waiting.first().map(|first| first.0)
        };
        if !first.is_some_and(|first| first < self.rank || spent) {
            return true;
        }
        self.held = false;
        self.turns.give_back();
        self.held = self.turns.wait(self.rank, cancelled);
        self.since = (self.turns.clock)();
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
    use std::sync::atomic::AtomicU64;
    use std::sync::mpsc;

    const NEVER: &dyn Fn() -> bool = &|| false;

    fn stopped() -> Stopwatch {
        Arc::new(|| Duration::ZERO)
    }

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
        let turns = Arc::new(Turns::new(1, stopped()));
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

    /// A clock that is set by hand, in milliseconds.
    fn by_hand() -> (Arc<AtomicU64>, Stopwatch) {
        let now = Arc::new(AtomicU64::new(0));
        let shown = Arc::clone(&now);
        (now, Arc::new(move || Duration::from_millis(shown.load(Ordering::SeqCst))))
    }

    #[test]
    fn a_long_query_lets_rules_in_between() {
        let (now, clock) = by_hand();
        let turns = Arc::new(Turns::new(1, clock));
        let mut long = turns.take(Lane::AdHoc, NEVER).expect("free");
        assert!(long.breathe(NEVER));
        std::thread::scope(|scope| {
            let rule = scope.spawn(|| turns.take(Lane::Rules, NEVER).is_some());
            wait_until(|| turns.waiting() == 1);
            assert!(long.breathe(NEVER));
            assert!(rule.join().expect("no panic"));
        });
        // An equal waits until the quantum is spent.
        std::thread::scope(|scope| {
            let equal = scope.spawn(|| turns.take(Lane::AdHoc, NEVER).is_some());
            wait_until(|| turns.waiting() == 1);
            now.store(9, Ordering::SeqCst);
            assert!(long.breathe(NEVER));
            assert_eq!(turns.waiting(), 1);
            now.store(10, Ordering::SeqCst);
            assert!(long.breathe(NEVER));
            assert!(equal.join().expect("no panic"));
        });
        // And no longer at all once it has been spent: a newcomer is ahead of a long query.
        std::thread::scope(|scope| {
            let newcomer = scope.spawn(|| turns.take(Lane::AdHoc, NEVER).is_some());
            wait_until(|| turns.waiting() == 1);
            assert!(long.breathe(NEVER));
            assert!(newcomer.join().expect("no panic"));
        });
    }

    #[test]
    fn newcomers_go_before_long_queries_which_are_not_forgotten() {
        let turns = Arc::new(Turns::new(1, stopped()));
        let held = turns.take(Lane::AdHoc, NEVER).expect("free");
        let (told, order) = mpsc::channel();
        std::thread::scope(|scope| {
            for place in 0..13 {
                let (shared, told) = (Arc::clone(&turns), told.clone());
                scope.spawn(move || {
                    // The first to come is one that computed for long and wants to go on.
                    assert!(shared.wait(Rank { lane: Lane::AdHoc, long: place == 0 }, NEVER));
                    told.send(place).expect("someone listens");
                    shared.give_back();
                });
                wait_until(|| turns.waiting() == place + 1);
            }
            drop(held);
        });
        let order: Vec<usize> = order.try_iter().collect();
        assert_eq!(order, [1, 2, 3, 4, 5, 6, 7, 8, 0, 9, 10, 11, 12]);
    }

    #[test]
    fn a_turn_is_idle_only_while_nobody_waits() {
        let turns = Arc::new(Turns::new(2, stopped()));
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
        let turns = Arc::new(Turns::new(1, stopped()));
        let held = turns.take(Lane::Rules, NEVER);
        assert!(turns.take(Lane::AdHoc, &|| true).is_none());
        drop(held);
        assert!(turns.take(Lane::AdHoc, NEVER).is_some());
        assert_eq!(turns.waiting(), 0);
    }
}
