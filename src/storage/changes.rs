//! What changed how far back in time: whoever keeps answers asks whether they still hold.
//!
//! Every write and deletion notes the oldest time that it touched. An answer that was computed after some [`Mark`] holds for
//! all that depends only on times before [`ChangeLog::oldest_since`] of that mark. Late writes, slow senders and deletions
//! are nothing special: they reach back farther.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// A moment in the history of changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(u64);

/// Changes remembered one by one; of older ones only a bound is known.
const REMEMBERED_MAX: usize = 1024;

#[derive(Debug, Default)]
struct Changes {
    last: u64,
    /// Number and oldest time of changes; both ascend: a change that reached back farther hides those before it.
    list: VecDeque<(u64, i64)>,
}

/// The history of changes of one store.
#[derive(Debug, Default)]
pub struct ChangeLog {
    changes: Mutex<Changes>,
}

impl ChangeLog {
    /// Notes a change of samples at `oldest_ms` or later. Call it when readers see the change, not before.
    pub fn note(&self, oldest_ms: i64) {
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        changes.last += 1;
        let number = changes.last;
        while changes.list.back().is_some_and(|(_, known_ms)| *known_ms >= oldest_ms) {
            changes.list.pop_back();
        }
        changes.list.push_back((number, oldest_ms));
        if changes.list.len() > REMEMBERED_MAX
            && let (Some((_, first_ms)), Some(second)) = (changes.list.pop_front(), changes.list.front_mut())
        {
            // Too early for the second alone, which is on the safe side.
            second.1 = first_ms;
        }
    }

    /// Returns the present moment. Take it before reading.
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark(self.changes.lock().unwrap_or_else(PoisonError::into_inner).last)
    }

    /// Returns the oldest time that was touched since, or the end of time.
    #[must_use]
    pub fn oldest_since(&self, mark: Mark) -> i64 {
        let changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        let place = changes.list.partition_point(|(number, _)| *number <= mark.0);
        changes.list.get(place).map_or(i64::MAX, |(_, oldest_ms)| *oldest_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn never_forgets_how_far_back_a_change_reached(times in prop::collection::vec(0_i64..2000, 1..3000), rising in any::<bool>()) {
            let log = ChangeLog::default();
            let mut marks = Vec::new();
            let time = |place: usize, at_ms: i64| if rising { place as i64 * 10 + at_ms % 7 } else { at_ms };
            for (place, at_ms) in times.iter().enumerate() {
                marks.push(log.mark());
                log.note(time(place, *at_ms));
            }
            for (from, mark) in marks.iter().enumerate().step_by(97) {
                let oldest = times.iter().enumerate().skip(from).map(|(place, at_ms)| time(place, *at_ms)).min();
                let said = log.oldest_since(*mark);
                prop_assert!(Some(said) <= oldest);
                // As long as it is remembered one by one it is exact.
                if times.len() - from < REMEMBERED_MAX {
                    prop_assert_eq!(Some(said), oldest);
                }
            }
            prop_assert_eq!(log.oldest_since(log.mark()), i64::MAX);
        }
    }
}
