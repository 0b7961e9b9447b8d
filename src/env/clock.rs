//! Time: a wall clock for what people read, a monotonic one for what is measured, and waiting.
//!
//! Both run on tokio's clock after start, so that a paused runtime pauses them too.

#![expect(clippy::disallowed_methods, reason = "this is the door to the clock")]

use futures_util::future::BoxFuture;
use std::time::Duration;

/// The clock.
pub trait Clock: Send + Sync {
    /// Returns the wall clock's time in milliseconds since 1970.
    fn now_ms(&self) -> i64;

    /// Returns the time since some fixed moment; never goes back.
    fn monotonic(&self) -> Duration;

    /// Waits.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;

    /// Waits until the wall clock shows `at_ms`; returns at once where that has passed.
    fn sleep_until_ms(&self, at_ms: i64) -> BoxFuture<'static, ()> {
        let left = at_ms.saturating_sub(self.now_ms());
        self.sleep(Duration::from_millis(u64::try_from(left).unwrap_or(0)))
    }
}

impl dyn Clock {
    /// Runs `work`, but not longer than `limit`.
    ///
    /// # Errors
    /// [`Elapsed`] when the limit passed first; the work is dropped.
    pub async fn timeout<T>(&self, limit: Duration, work: impl Future<Output = T>) -> Result<T, Elapsed> {
        let alarm = self.sleep(limit);
        tokio::select! {
            biased;
            done = work => Ok(done),
            () = alarm => Err(Elapsed(limit)),
        }
    }
}

/// A time limit that passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not done within {0:?}")]
pub struct Elapsed(pub Duration);

/// The machine's own clocks.
#[derive(Debug)]
pub struct RealClock {
    start: std::time::Instant,
}

impl RealClock {
    /// Starts the monotonic clock.
    #[must_use]
    pub fn new() -> Self {
        Self { start: std::time::Instant::now() }
    }
}

impl Default for RealClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for RealClock {
    fn now_ms(&self) -> i64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// A clock that follows tokio's (which tests may pause) from a given wall time on.
#[derive(Debug)]
pub struct TokioClock {
    wall_ms: i64,
    start: tokio::time::Instant,
}

impl TokioClock {
    /// Starts at `wall_ms`. Must be called within a runtime.
    #[must_use]
    pub fn starting_at(wall_ms: i64) -> Self {
        Self { wall_ms, start: tokio::time::Instant::now() }
    }
}

impl Clock for TokioClock {
    fn now_ms(&self) -> i64 {
        self.wall_ms.saturating_add(i64::try_from(self.start.elapsed().as_millis()).unwrap_or(i64::MAX))
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// A clock that stands until it is moved, for a world in which nothing happens by itself.
#[cfg(any(test, feature = "sim"))]
#[derive(Debug)]
pub struct StillClock {
    start_ms: i64,
    now_ms: std::sync::atomic::AtomicI64,
}

#[cfg(any(test, feature = "sim"))]
impl StillClock {
    /// Starts at a wall time.
    #[must_use]
    pub const fn starting_at(now_ms: i64) -> Self {
        Self { start_ms: now_ms, now_ms: std::sync::atomic::AtomicI64::new(now_ms) }
    }

    /// Moves both clocks on.
    pub fn advance(&self, milliseconds: i64) {
        self.now_ms.fetch_add(milliseconds, std::sync::atomic::Ordering::Relaxed);
    }
}

#[cfg(any(test, feature = "sim"))]
impl Clock for StillClock {
    fn now_ms(&self) -> i64 {
        self.now_ms.load(std::sync::atomic::Ordering::Relaxed)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.now_ms() - self.start_ms).unwrap_or(0))
    }

    /// Never waits: who waits here would wait for ever.
    fn sleep(&self, _duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }
}
