//! A clock on tokio's paused time, whose wall can be set as an administrator or NTP sets a machine's.

use crate::env::clock::{Clock, TokioClock};
use futures_util::future::BoxFuture;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// The clock of a made-up world: one for all its lives.
#[derive(Debug)]
pub(crate) struct SimClock {
    inner: TokioClock,
    begin_ms: i64,
    shift_ms: AtomicI64,
}

impl SimClock {
    /// Starts at a wall time. Must be called within a runtime.
    pub(crate) fn starting_at(begin_ms: i64) -> Self {
        Self { inner: TokioClock::starting_at(begin_ms), begin_ms, shift_ms: AtomicI64::new(0) }
    }

    /// Sets the wall clock forward or back; the monotonic clock goes on.
    pub(crate) fn jump(&self, by_ms: i64) {
        self.shift_ms.fetch_add(by_ms, Ordering::Relaxed);
    }

    /// Returns how old the world is, in milliseconds, whatever the wall clock shows.
    pub(crate) fn age_ms(&self) -> i64 {
        self.inner.now_ms() - self.begin_ms
    }
}

impl Clock for SimClock {
    fn now_ms(&self) -> i64 {
        self.inner.now_ms() + self.shift_ms.load(Ordering::Relaxed)
    }

    fn monotonic(&self) -> Duration {
        self.inner.monotonic()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.inner.sleep(duration)
    }
}
