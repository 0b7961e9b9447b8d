//! What rules of one group read at one instant is read once: many ask for the same series, over the same window or another.
//!
//! Which selections are asked for more than once is learned from the evaluation before: those are read over the widest window
//! anybody asked for, held until the last has asked, and given out cut to each one's window. A selection that a rule of the
//! group may have written to since is read anew, since rules see what those before them wrote.

use crate::model::exemplar::Exemplar;
use crate::model::labels::{Labels, METRIC_NAME};
use crate::model::matcher::{MatchOp, Matcher};
use crate::model::metadata::Metadata;
use crate::storage::changes::ChangeLog;
use crate::storage::select::held::{Held, bytes_of};
use crate::storage::select::{Hints, LabelNeed, Querier, SelectError, Selection, TimeRange};
use hashbrown::HashMap;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes that a group may hold, by the estimate of its selections.
const BYTES_MAX: u64 = 32 << 20;

/// What is asked for: selections of one key differ in their start alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    matchers: Vec<(String, MatchOp, String)>,
    labels: LabelNeed,
    sorted: bool,
    last_only: bool,
    local_only: bool,
    /// From the end of the range to the group's instant.
    age_ms: i64,
}

/// How a selection was used in one evaluation.
#[derive(Clone, Copy, Debug, Default)]
struct Uses {
    count: usize,
    widest_ms: i64,
    too_large: bool,
}

#[derive(Default)]
struct State {
    at_ms: i64,
    before: HashMap<Key, Uses>,
    now: HashMap<Key, Uses>,
    held: HashMap<Key, (Vec<Matcher>, Arc<Held>)>,
    bytes: u64,
}

/// The querier of one group.
pub(super) struct Sharing {
    inner: Arc<dyn Querier>,
    state: Mutex<State>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sharing {
    /// Returns a querier that shares nothing yet.
    pub(super) fn new(inner: Arc<dyn Querier>) -> Self {
        Self { inner, state: Mutex::default() }
    }

    /// Begins an evaluation at an instant.
    pub(super) fn begin(&self, at_ms: i64) {
        let mut state = lock(&self.state);
        let before = std::mem::take(&mut state.now);
        *state = State { at_ms, before, ..State::default() };
    }

    /// Ends an evaluation: nothing is held between two.
    pub(super) fn end(&self) {
        let mut state = lock(&self.state);
        state.held = HashMap::new();
        state.bytes = 0;
    }

    /// Forgets what may have changed since series of these names were written.
    pub(super) fn wrote(&self, names: &[&str]) {
        let mut state = lock(&self.state);
        let may_have =
            |matchers: &[Matcher], name: &str| matchers.iter().all(|one| one.name() != METRIC_NAME || one.matches(name));
        let mut freed = 0;
        state.held.retain(|_, (matchers, held)| {
            let stays = !names.iter().any(|name| may_have(matchers, name));
            freed += if stays { 0 } else { held.bytes() };
            stays
        });
        state.bytes -= freed;
    }

    /// Notes a use. Returns a held selection, or else over how much more time than was asked a selection is to be read that
    /// others will ask for.
    fn noted(&self, key: &Key, range: TimeRange) -> Result<Arc<Held>, Option<TimeRange>> {
        let mut state = lock(&self.state);
        let width_ms = range.end_ms.saturating_sub(range.start_ms);
        let expected = state.before.get(key).copied().unwrap_or_default();
        let uses = state.now.entry(key.clone()).or_default();
        uses.count += 1;
        uses.widest_ms = uses.widest_ms.max(width_ms);
        uses.too_large |= expected.too_large;
        let is_last = uses.count >= expected.count;
        if let Some((_, held)) = state.held.get(key)
            && held.covers(range)
        {
            let held = Arc::clone(held);
            if is_last {
                state.held.remove(key);
                state.bytes -= held.bytes();
            }
            return Ok(held);
        }
        let shares = !is_last && !expected.too_large && width_ms <= expected.widest_ms;
        Err(shares.then(|| TimeRange { start_ms: range.end_ms.saturating_sub(expected.widest_ms), ..range }))
    }
}

impl Querier for Sharing {
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
        let at_ms = lock(&self.state).at_ms;
        let key = Key {
            matchers: matchers.iter().map(|one| (one.name().to_owned(), one.op(), one.value().to_owned())).collect(),
            labels: hints.labels.clone(),
            sorted: hints.sorted,
            last_only: hints.last_only,
            local_only: hints.local_only,
            age_ms: at_ms.saturating_sub(range.end_ms),
        };
        let wide = match self.noted(&key, range) {
            Ok(held) => return Ok(held.view(range)),
            Err(None) => return self.inner.select_until(matchers, range, hints, cancel),
            Err(Some(wide)) => wide,
        };
        let selection = self.inner.select_until(matchers, wide, hints, cancel)?;
        let bytes = bytes_of(&selection);
        let mut state = lock(&self.state);
        if state.bytes.saturating_add(bytes) > BYTES_MAX {
            state.now.entry(key).or_default().too_large = true;
            drop(state);
            return self.inner.select_until(matchers, range, hints, cancel);
        }
        state.bytes += bytes;
        let held = Arc::new(Held::new(selection, wide));
        if let Some((_, replaced)) = state.held.insert(key, (matchers.to_vec(), Arc::clone(&held))) {
            state.bytes -= replaced.bytes();
        }
        Ok(held.view(range))
    }

    fn changes(&self) -> Option<&ChangeLog> {
        self.inner.changes()
    }

    fn label_names(&self, matchers: &[Vec<Matcher>], range: TimeRange, limit: usize) -> Result<Vec<String>, SelectError> {
        self.inner.label_names(matchers, range, limit)
    }

    fn label_values(
        &self,
        name: &str,
        matchers: &[Vec<Matcher>],
        range: TimeRange,
        limit: usize,
    ) -> Result<Vec<String>, SelectError> {
        self.inner.label_values(name, matchers, range, limit)
    }

    fn metadata(&self, metric: Option<&str>) -> BTreeMap<String, Vec<Metadata>> {
        self.inner.metadata(metric)
    }

    fn exemplars(&self, matchers: &[Vec<Matcher>], range: TimeRange) -> Result<Vec<(Labels, Vec<Exemplar>)>, SelectError> {
        self.inner.exemplars(matchers, range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::sample::Value;
    use crate::storage::select::SeriesSamples;
    use crate::storage::select::counting::Counting;
    use crate::storage::select::memory::MemoryStore;
    use proptest::prelude::*;

    fn counting() -> Arc<Counting> {
        let store = MemoryStore::new();
        for (metric, changes) in [("a", true), ("a", false), ("b", true)] {
            let labels = Labels::from_pairs([("__name__", metric), ("changes", if changes { "1" } else { "0" })]);
            for at_ms in (0..=600_000).step_by(15_000) {
                store.add(&labels, at_ms, Value::Float(if changes { at_ms as f64 } else { 7.0 }));
            }
        }
        Arc::new(Counting::new(store))
    }

    /// What a selection has, as words.
    fn told(querier: &dyn Querier, metric: &str, range: TimeRange) -> Vec<String> {
        let hints = Hints { sorted: true, ..Hints::default() };
        let selection = querier.select(&[Matcher::equal("__name__", metric)], range, &hints).expect("selects");
        let read = selection.reader.read(0..selection.series.len()).expect("reads");
        let newest = selection.reader.newest(0..selection.series.len()).expect("reads");
        let values = |samples: &SeriesSamples| (0..samples.len()).map(|i| samples.float(i)).collect::<Vec<_>>();
        let series = selection.series.iter().zip(&read).zip(newest).filter(|((_, samples), _)| !samples.is_empty());
        series
            .map(|((one, samples), newest)| format!("{:?} {:?} {:?} {newest:?}", one.labels, samples.times, values(samples)))
            .collect()
    }

    /// Selections held and their bytes.
    fn holds(sharing: &Sharing) -> (usize, u64) {
        let state = lock(&sharing.state);
        (state.held.len(), state.bytes)
    }

    #[test]
    fn the_second_evaluation_reads_once() {
        let counting = counting();
        let sharing = Sharing::new(Arc::clone(&counting) as Arc<dyn Querier>);
        for (round, at_ms) in [300_000, 330_000].into_iter().enumerate() {
            sharing.begin(at_ms);
            let before = counting.ranges().len();
            for window_ms in [60_000, 120_000, 30_000] {
                let range = TimeRange { start_ms: at_ms - window_ms + 1, end_ms: at_ms };
                assert_eq!(told(&sharing, "a", range), told(&counting.store, "a", range));
            }
            let widest = TimeRange { start_ms: at_ms - 119_999, end_ms: at_ms };
            let ranges = counting.ranges().split_off(before);
            assert_eq!(ranges.len(), if round == 0 { 3 } else { 1 });
            assert!(round == 0 || ranges == [widest]);
            assert_eq!(holds(&sharing), (0, 0), "the last has asked");
            sharing.end();
        }
    }

    #[test]
    fn what_was_written_meanwhile_is_read_anew() {
        let counting = counting();
        let sharing = Sharing::new(Arc::clone(&counting) as Arc<dyn Querier>);
        let range = TimeRange { start_ms: 240_000, end_ms: 300_000 };
        let fresh = Labels::from_pairs([("__name__", "a"), ("changes", "2")]);
        for round in 0..2 {
            sharing.begin(300_000);
            assert_eq!(told(&sharing, "a", range).len(), 2 + round);
            sharing.wrote(&["other"]);
            assert_eq!(holds(&sharing).0, round, "what was written is no `a`");
            counting.store.add(&fresh, 300_000, Value::Float(1.0));
            sharing.wrote(&["a"]);
            assert_eq!(told(&sharing, "a", range).len(), 3);
            assert_eq!(told(&sharing, "a", range).len(), 3);
            sharing.end();
            assert_eq!(holds(&sharing), (0, 0));
        }
    }

    proptest! {
        #[test]
        fn shared_is_what_is_read_alone(
            asks in proptest::collection::vec((prop::sample::select(&["a", "b", "c"]), 1_i64..200_000, 0_i64..2), 1..12),
            rounds in 2_i64..4,
        ) {
            let counting = counting();
            let sharing = Sharing::new(Arc::clone(&counting) as Arc<dyn Querier>);
            for round in 0..rounds {
                let at_ms = 400_000 + round * 30_000;
                sharing.begin(at_ms);
                for (metric, window_ms, offset) in &asks {
                    let end_ms = at_ms - offset * 60_000;
                    let range = TimeRange { start_ms: end_ms - window_ms + 1, end_ms };
                    prop_assert_eq!(told(&sharing, metric, range), told(&counting.store, metric, range));
                }
                prop_assert_eq!(holds(&sharing).1, 0);
                sharing.end();
            }
        }
    }
}
