//! Sorting that others need not wait for.

use super::context::{Context, Outcome};
use std::cmp::Ordering;

/// What is sorted in one go: about a millisecond of work.
const RUN: usize = 8192;

impl Context<'_> {
    /// Sorts, equals staying in their order; lets others go first in between.
    pub(super) fn sort<T>(&self, values: &mut [T], order: impl Fn(&T, &T) -> Ordering) -> Outcome<()> {
        let mut run = RUN;
        loop {
            for values in values.chunks_mut(run) {
                // Two runs that are sorted already are seen as such, and merged.
                values.sort_by(&order);
                self.breathe()?;
            }
            if run >= values.len() {
                return Ok(());
            }
            run *= 2;
        }
    }
}
