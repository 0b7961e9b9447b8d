//! What queries cost: those that run now, and the slowest since the start. Bounded, whatever is asked.
//!
//! Times and texts alone; who keeps a log of all queries is [`super::query_log`]'s business.

use super::engine::Stopwatch;
use super::value::QueryStats;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What takes less than this is not slow.
const SLOW: Duration = Duration::from_millis(1);
/// Distinct queries that are remembered; those that cost least give way.
const REMEMBERED_MAX: usize = 1000;
/// Bytes of a text that are remembered.
const TEXT_BYTES_MAX: usize = 16 << 10;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Asking {
    /// A request.
    Api,
    /// A rule.
    Rule,
}

impl Asking {
    /// Returns the word: `api`, `rule`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Rule => "rule",
        }
    }
}

/// A query that begins. Times are in milliseconds since 1970, the step in milliseconds and 0 for an instant query.
#[derive(Clone, Debug)]
pub struct Beginning {
    /// The expression as it was written.
    pub text: Arc<str>,
    /// From, to and step.
    pub range: (i64, i64, i64),
    /// Who asks.
    pub asking: Asking,
    /// The user, where one is known.
    pub user: Option<String>,
    /// What ends it; `None`: nobody may.
    pub cancel: Option<Arc<AtomicBool>>,
}

/// A query that runs.
#[derive(Clone, Debug)]
pub struct Running {
    /// Its number.
    pub id: u64,
    /// What is asked.
    pub query: Beginning,
    /// How long it runs.
    pub took: Duration,
}

/// What became of queries of one text and one kind of asker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slow {
    /// The expression.
    pub text: Arc<str>,
    /// Who asked.
    pub asking: Asking,
    /// How often it was slow.
    pub count: u64,
    /// How long they took together.
    pub total: Duration,
    /// How long the longest took.
    pub longest: Duration,
    /// From, to and step of the longest.
    pub range: (i64, i64, i64),
    /// Samples that the longest held at once at most; 0 where it failed.
    pub samples: u64,
    /// Series that the longest answered; `None`: it failed.
    pub series: Option<usize>,
    /// When the longest ended, milliseconds since 1970.
    pub at_ms: i64,
    /// Who asked the longest, where that is known.
    pub user: Option<String>,
}

#[derive(Default)]
struct Kept {
    running: BTreeMap<u64, (Beginning, Duration)>,
    slow: HashMap<(Arc<str>, Asking), Slow>,
}

/// The record. Shared by all who ask.
pub struct Activity {
    clock: Stopwatch,
    now_ms: Arc<dyn Fn() -> i64 + Send + Sync>,
    since_ms: i64,
    next: AtomicU64,
    kept: Mutex<Kept>,
}

impl std::fmt::Debug for Activity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Activity")
    }
}

/// A query under way: it runs until this is dropped.
#[derive(Debug)]
pub struct Under<'a> {
    activity: &'a Activity,
    id: u64,
}

impl Drop for Under<'_> {
    fn drop(&mut self) {
        self.activity.kept().running.remove(&self.id);
    }
}

/// The first bytes of a text, at most so many.
fn cut(text: &Arc<str>) -> Arc<str> {
    if text.len() <= TEXT_BYTES_MAX {
        return Arc::clone(text);
    }
    let end = (0..=TEXT_BYTES_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    format!("{}...", text.get(..end).unwrap_or_default()).into()
}

impl Activity {
    /// Begins to record; `clock` tells how long queries take, `now_ms` when they end.
    #[must_use]
    pub fn new(clock: Stopwatch, now_ms: Arc<dyn Fn() -> i64 + Send + Sync>) -> Self {
        let since_ms = now_ms();
        Self { clock, now_ms, since_ms, next: AtomicU64::new(1), kept: Mutex::default() }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a query begins.
    #[must_use]
    pub fn begin(&self, query: Beginning) -> Under<'_> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let query = Beginning { text: cut(&query.text), ..query };
        self.kept().running.insert(id, (query, (self.clock)()));
        Under { activity: self, id }
    }

    /// Returns since when it records, milliseconds since 1970.
    #[must_use]
    pub const fn since_ms(&self) -> i64 {
        self.since_ms
    }

    /// Returns what runs, the oldest first.
    #[must_use]
    pub fn running(&self) -> Vec<Running> {
        let now = (self.clock)();
        let kept = self.kept();
        let shown = kept.running.iter().map(|(id, (query, began))| Running {
            id: *id,
            query: query.clone(),
            took: now.saturating_sub(*began),
        });
        shown.collect()
    }

    /// Tells a query to end; it does so at its next look. `None`: there is none of this number; `Some(false)`: it may not be ended.
    #[must_use]
    pub fn cancel(&self, id: u64) -> Option<bool> {
        let kept = self.kept();
        let (query, _) = kept.running.get(&id)?;
        let Some(cancel) = &query.cancel else { return Some(false) };
        cancel.store(true, Ordering::Relaxed);
        Some(true)
    }

    /// Returns at most `most` queries: half of them those that took longest at once, the others those that took most together;
    /// the longest first.
    #[must_use]
    pub fn slowest(&self, most: usize) -> Vec<Slow> {
        let mut all: Vec<Slow> = self.kept().slow.values().cloned().collect();
        all.sort_by(|a, b| b.longest.cmp(&a.longest).then_with(|| a.text.cmp(&b.text)));
        let mut rest = all.split_off(all.len().min(most / 2));
        rest.sort_by(|a, b| b.total.cmp(&a.total).then_with(|| a.text.cmp(&b.text)));
        all.extend(rest.into_iter().take(most - most / 2));
        all.sort_by(|a, b| b.longest.cmp(&a.longest).then_with(|| a.text.cmp(&b.text)));
        all
    }
}

impl Under<'_> {
    /// Notes how a query ended: with what it read and how many series it answered, or without.
    pub fn end(self, outcome: Option<(&QueryStats, usize)>) {
        let (took, at_ms) = {
            let kept = self.activity.kept();
            let Some((_, began)) = kept.running.get(&self.id) else { return };
            ((self.activity.clock)().saturating_sub(*began), (self.activity.now_ms)())
        };
        let mut kept = self.activity.kept();
        let Some((query, _)) = kept.running.remove(&self.id) else { return };
        if took < SLOW {
            return;
        }
        if kept.slow.len() >= REMEMBERED_MAX && !kept.slow.contains_key(&(Arc::clone(&query.text), query.asking)) {
            forget(&mut kept.slow);
        }
        let found = kept.slow.entry((Arc::clone(&query.text), query.asking)).or_insert_with(|| Slow {
            text: Arc::clone(&query.text),
            asking: query.asking,
            count: 0,
            total: Duration::ZERO,
            longest: Duration::ZERO,
            range: query.range,
            samples: 0,
            series: None,
            at_ms,
            user: None,
        });
        found.count += 1;
        found.total += took;
        if took >= found.longest {
            found.longest = took;
            found.range = query.range;
            found.samples = outcome.map_or(0, |(stats, _)| stats.peak_samples);
            found.series = outcome.map(|(_, series)| series);
            found.at_ms = at_ms;
            found.user = query.user;
        }
    }
}

/// Makes room: keeps a quarter for the longest, a quarter for those that took most together.
fn forget(slow: &mut HashMap<(Arc<str>, Asking), Slow>) {
    let bound = |mut times: Vec<Duration>| {
        times.sort_unstable();
        times.len().checked_sub(REMEMBERED_MAX / 4).and_then(|at| times.get(at)).copied().unwrap_or_default()
    };
    let longest = bound(slow.values().map(|one| one.longest).collect());
    let total = bound(slow.values().map(|one| one.total).collect());
    slow.retain(|_, one| one.longest > longest || one.total > total);
}

#[cfg(test)]
mod tests {
    use super::*;

    struct World {
        activity: Activity,
        ms: Arc<AtomicU64>,
    }

    impl World {
        fn new() -> Self {
            let ms = Arc::new(AtomicU64::new(0));
            let (clock, now) = (Arc::clone(&ms), Arc::clone(&ms));
            let clock: Stopwatch = Arc::new(move || Duration::from_millis(clock.load(Ordering::Relaxed)));
            Self { activity: Activity::new(clock, Arc::new(move || now.load(Ordering::Relaxed) as i64)), ms }
        }

        fn query(&self, text: &str, took_ms: u64, asking: Asking) {
            let stats = QueryStats { peak_samples: took_ms * 10, ..QueryStats::default() };
            let under = self.activity.begin(beginning(text, asking));
            self.ms.fetch_add(took_ms, Ordering::Relaxed);
            under.end(Some((&stats, 3)));
        }
    }

    fn beginning(text: &str, asking: Asking) -> Beginning {
        Beginning { text: text.into(), range: (0, 1000, 10), asking, user: None, cancel: None }
    }

    #[test]
    fn the_slowest_are_those_that_took_longest_and_those_that_took_most_together() {
        let world = World::new();
        world.query("quick", 0, Asking::Api);
        world.query("once", 500, Asking::Api);
        world.query("once", 90, Asking::Api);
        world.query("once", 90, Asking::Rule);
        (0..100).for_each(|_| world.query("often", 10, Asking::Rule));
        for number in 0..3000 {
            world.query(&format!("other {number}"), 2, Asking::Api);
        }
        assert!(world.activity.kept().slow.len() <= REMEMBERED_MAX);
        let found = world.activity.slowest(3);
        let shown: Vec<_> = found.iter().map(|slow| (&*slow.text, slow.asking.as_str(), slow.count)).collect();
        assert_eq!(shown, [("once", "api", 2), ("once", "rule", 1), ("often", "rule", 100)]);
        assert_eq!((found[0].longest.as_millis(), found[0].total.as_millis(), found[0].samples), (500, 590, 5000));
        assert_eq!((found[0].series, found[0].at_ms, found[2].total.as_millis()), (Some(3), 500, 1000));
    }

    #[test]
    fn what_runs_is_listed_and_can_be_ended() {
        let world = World::new();
        let cancel = Arc::new(AtomicBool::new(false));
        let long = "ü".repeat(TEXT_BYTES_MAX);
        let first = world.activity.begin(Beginning { cancel: Some(Arc::clone(&cancel)), ..beginning(&long, Asking::Api) });
        let rule = world.activity.begin(beginning("b", Asking::Rule));
        world.ms.fetch_add(7, Ordering::Relaxed);
        let running = world.activity.running();
        assert_eq!(running.iter().map(|one| (one.id, one.took.as_millis())).collect::<Vec<_>>(), [(1, 7), (2, 7)]);
        assert!(running[0].query.text.len() <= TEXT_BYTES_MAX + 3 && running[0].query.text.ends_with("ü..."));
        assert_eq!(
            [world.activity.cancel(3), world.activity.cancel(2), world.activity.cancel(1)],
            [None, Some(false), Some(true)]
        );
        assert!(cancel.load(Ordering::Relaxed));
        first.end(None);
        drop(rule);
        assert!(world.activity.running().is_empty());
        // It failed, and took its time all the same; what broke off is not counted.
        assert_eq!(world.activity.slowest(9).iter().map(|slow| slow.series).collect::<Vec<_>>(), [None]);
    }
}
