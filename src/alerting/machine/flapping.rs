//! Alerts that go on and off: told in one mail, instead of one for each turn.
//!
//! One that begins to fire for the third time within an hour is flapping: that is told, and its end only when it has stayed
//! away for ten minutes. Meanwhile it counts as firing, so that nothing new is to be told about it. What is known is lost with the
//! process: then the end is told at once, as usual.

use super::super::alerts::StoredAlert;
use std::collections::BTreeMap;

/// Within which time turns are counted.
const WINDOW_MS: i64 = 3_600_000;
/// How often an alert begins within it before it is flapping.
const TIMES: usize = 3;
/// How long it must stay away then before its end is told.
pub const QUIET_MS: i64 = 600_000;
/// How many beginnings are remembered of one alert.
const BEGINNINGS_MAX: usize = 64;

/// When alerts began to fire lately.
#[derive(Debug, Default)]
pub(super) struct Flapping {
    began: BTreeMap<u64, Vec<i64>>,
}

impl Flapping {
    /// Notes that an alert begins to fire.
    pub(super) fn note(&mut self, now_ms: i64, fingerprint: u64) {
        let began = self.began.entry(fingerprint).or_default();
        began.retain(|at_ms| *at_ms > now_ms - WINDOW_MS);
        if began.len() == BEGINNINGS_MAX {
            began.remove(0);
        }
        began.push(now_ms);
    }

    /// Returns how often an alert began within the hour before `at_ms`, where it is flapping; else 0.
    pub(super) fn times(&self, at_ms: i64, fingerprint: u64) -> usize {
        let Some(began) = self.began.get(&fingerprint) else { return 0 };
        let times = began.iter().filter(|began| (at_ms - WINDOW_MS..=at_ms).contains(*began)).count();
        if times < TIMES { 0 } else { times }
    }

    /// Returns whether an alert that has ended is still held to fire.
    pub(super) fn holds(&self, now_ms: i64, alert: &StoredAlert) -> bool {
        now_ms < alert.ends_at_ms.saturating_add(QUIET_MS) && self.times(alert.ends_at_ms, alert.fingerprint) > 0
    }

    /// Forgets what began before the window.
    pub(super) fn collect_garbage(&mut self, now_ms: i64) {
        self.began.retain(|_, began| began.last().is_some_and(|at_ms| *at_ms > now_ms - WINDOW_MS - QUIET_MS));
    }
}
