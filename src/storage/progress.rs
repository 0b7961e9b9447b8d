//! How far opening the store has come, for the start-up log, `/-/ready` and a metric.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug, Default)]
struct Cells {
    done: AtomicU64,
    total: AtomicU64,
}

/// Bytes of the log that were read back, of all. Cheap to clone; clones share.
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<Cells>);

impl Progress {
    /// Says how much there is.
    pub(crate) fn begin(&self, total: u64) {
        self.0.total.store(total, Ordering::Relaxed);
    }

    /// Says that so much more is done.
    pub(crate) fn advance(&self, bytes: u64) {
        self.0.done.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Returns bytes done and bytes in all.
    #[must_use]
    pub fn bytes(&self) -> (u64, u64) {
        (self.0.done.load(Ordering::Relaxed), self.0.total.load(Ordering::Relaxed))
    }

    /// Returns the share done, 1 where there is nothing to do.
    #[must_use]
    pub fn share(&self) -> f64 {
        let (done, total) = self.bytes();
        if total == 0 { 1.0 } else { done as f64 / total as f64 }
    }
}
