//! Trying again: at once, then after growing pauses, until it works, cannot work, or the time is over.
//!
//! The pauses are Alertmanager's (its `backoff` package's defaults): half a second, each one and a half times the one
//! before, at most a minute, each shortened or lengthened by up to a half.

use super::{Accepted, Failure, Listener, Notifier, Progress};
use std::time::Duration;

const FIRST_MS: f64 = 500.0;
const GROWTH: f64 = 1.5;
const LONGEST_MS: f64 = 60_000.0;
const SPREAD: f64 = 0.5;

/// The state of trying again.
#[derive(Debug)]
pub struct Retry<'a> {
    notifier: &'a Notifier,
    deadline_ms: i64,
    is_fenced: bool,
    pause_ms: f64,
}

impl<'a> Retry<'a> {
    /// Begins: all attempts must end before `deadline_ms`. `is_fenced`: they end when this member may not tell people any more.
    #[must_use]
    pub const fn new(notifier: &'a Notifier, deadline_ms: i64, is_fenced: bool) -> Self {
        Self { notifier, deadline_ms, is_fenced, pause_ms: FIRST_MS }
    }

    /// Runs one attempt, at most until the deadline.
    ///
    /// # Errors
    /// Its failure; a passed deadline is one too.
    pub async fn attempt(&self, work: impl Future<Output = Result<Accepted, Failure>> + Send) -> Result<Accepted, Failure> {
        let clock = &self.notifier.env.clock;
        let left_ms = u64::try_from(self.deadline_ms.saturating_sub(clock.now_ms())).unwrap_or(0);
        let fence = &self.notifier.fence;
        if self.is_fenced && !fence.holds() {
            return Err(Failure::stood_down());
        }
        let fenced = async {
            tokio::select! {
                biased;
                () = fence.lost(), if self.is_fenced => Err(Failure::stood_down()),
                done = work => done,
            }
        };
        match clock.timeout(Duration::from_millis(left_ms), fenced).await {
            Ok(done) => done,
            Err(elapsed) => Err(Failure { reason: "contextDeadlineExceeded", ..Failure::transient(elapsed.to_string()) }),
        }
    }

    /// Waits before the next attempt. Returns whether there is to be one.
    pub async fn again(&mut self, failure: &Failure, progress: &Listener) -> bool {
        let env = &self.notifier.env;
        let mut stopping = self.notifier.stopping.clone();
        let wait_ms = self.pause_ms * (1.0 - SPREAD + 2.0 * SPREAD * env.random.next_f64());
        self.pause_ms = (self.pause_ms * GROWTH).min(LONGEST_MS);
        let is_too_late = env.clock.now_ms().saturating_add(wait_ms as i64) >= self.deadline_ms;
        if !failure.retry || is_too_late || *stopping.borrow_and_update() {
            return false;
        }
        progress(Progress::Attempt(failure.clone())).await;
        tokio::select! {
            biased;
            Ok(()) = stopping.changed() => false,
            () = env.clock.sleep(Duration::from_millis(wait_ms as u64)) => true,
        }
    }
}
