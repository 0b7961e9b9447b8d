//! Memory that queries hold, counted: each for itself, and all together.

use super::engine::QueryError;
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

/// What all queries of an engine hold.
#[derive(Debug, Default)]
pub(super) struct Budget {
    held: AtomicU64,
}

/// What one query holds; given back when dropped.
#[derive(Debug)]
pub(super) struct Share<'b> {
    budget: &'b Budget,
    held: Cell<u64>,
    own_max: u64,
    total_max: u64,
}

impl Budget {
    pub(super) const fn share(&self, own_max: u64, total_max: u64) -> Share<'_> {
        Share { budget: self, held: Cell::new(0), own_max, total_max }
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }
}

impl Share<'_> {
    /// Notes that the query holds, or is about to hold, so many bytes now.
    pub(super) fn hold(&self, bytes: u64) -> Result<(), QueryError> {
        if bytes > self.own_max {
            return Err(QueryError::TooMuchMemory { wanted: bytes, limit: self.own_max });
        }
        let before = self.held.replace(bytes);
        let all = if bytes >= before {
            self.budget.held.fetch_add(bytes - before, Ordering::Relaxed) + (bytes - before)
        } else {
            self.budget.held.fetch_sub(before - bytes, Ordering::Relaxed) - (before - bytes)
        };
        if bytes > before && all > self.total_max {
            return Err(QueryError::TooMuchMemoryInAll { held: all, limit: self.total_max });
        }
        Ok(())
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.held.get(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_share_what_there_is_and_give_it_back() {
        let budget = Budget::default();
        let (first, second) = (budget.share(60, 100), budget.share(60, 100));
        assert!(first.hold(60).is_ok());
        assert!(matches!(first.hold(61), Err(QueryError::TooMuchMemory { wanted: 61, limit: 60 })));
        assert!(second.hold(40).is_ok());
        assert!(matches!(second.hold(41), Err(QueryError::TooMuchMemoryInAll { held: 101, limit: 100 })));
        assert!(second.hold(10).is_ok());
        drop(first);
        assert_eq!(budget.held(), 10);
        drop(second);
        assert_eq!(budget.held(), 0);
    }
}
