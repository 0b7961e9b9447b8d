//! Whether a counter histogram was reset between two samples.

#![expect(clippy::float_cmp, reason = "thresholds and bounds are compared as they are stored")]

use super::arithmetic::{intersect_bounds, reduce, regroup};
use super::layout::Pairs;
use super::{CounterResetHint, FloatHistogram};

impl FloatHistogram {
    /// Returns whether the counter was reset after `previous`: a count fell, or the buckets cannot be compared.
    #[must_use]
    pub fn detect_reset(&self, previous: &Self) -> bool {
        match self.counter_reset_hint {
            CounterResetHint::Reset => return true,
            CounterResetHint::NotReset => return false,
            CounterResetHint::Unknown | CounterResetHint::Gauge => {}
        }
        if self.count < previous.count || self.uses_custom_buckets() != previous.uses_custom_buckets() {
            return true;
        }
        if self.uses_custom_buckets() {
            return self.custom_buckets_fell(previous);
        }
        if self.schema > previous.schema || self.zero_threshold < previous.zero_threshold {
            return true;
        }
        let (zero_count, threshold) = previous.zero_count_for(self.zero_threshold);
        if threshold != self.zero_threshold || self.zero_count < zero_count {
            return true;
        }
        let beyond = |pairs: Pairs| pairs.into_iter().filter(|(index, _)| self.bound(*index) > threshold);
        fell(&reduce(previous.positive(), previous.schema, self.schema, beyond), self.positive())
            || fell(&reduce(previous.negative(), previous.schema, self.schema, beyond), self.negative())
    }

    fn custom_buckets_fell(&self, previous: &Self) -> bool {
        if self.custom_values == previous.custom_values {
            return fell(&previous.positive().collect::<Pairs>(), self.positive());
        }
        let bounds = intersect_bounds(&self.custom_values, &previous.custom_values);
        let before = regroup(previous.positive(), &previous.custom_values, &bounds);
        fell(&before, regroup(self.positive(), &self.custom_values, &bounds).into_iter())
    }
}

/// Returns whether any bucket holds less than it did.
fn fell(before: &[(i32, f64)], now: impl Iterator<Item = (i32, f64)>) -> bool {
    let mut now = now.peekable();
    for &(index, count) in before {
        while now.next_if(|(other, _)| *other < index).is_some() {}
        let present = now.next_if(|(other, _)| *other == index).map_or(0.0, |(_, count)| count);
        if present < count {
            return true;
        }
    }
    false
}
