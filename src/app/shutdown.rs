//! Stopping in order: each phase has a deadline and says so when it is late.

use crate::env::Env;
use std::time::Duration;

/// The longest that a stop takes: what supervises servers kills them soon after.
pub(super) const TOTAL: Duration = Duration::from_millis(9500);

/// Runs one phase; `false` where it was not done in time. What is late is named and left behind.
pub(super) async fn phase(env: &Env, name: &str, limit: Duration, work: impl Future<Output = ()>) -> bool {
    let began = env.clock.monotonic();
    let done = env.clock.timeout(limit, work).await.is_ok();
    let took_ms = u64::try_from(env.clock.monotonic().saturating_sub(began).as_millis()).unwrap_or(u64::MAX);
    if done {
        tracing::debug!(phase = name, took_ms, "stopped");
    } else {
        tracing::warn!(phase = name, limit_s = limit.as_secs(), "not stopped in time; going on without it");
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::clock::TokioClock;
    use std::sync::Arc;

    #[tokio::test(start_paused = true)]
    async fn a_late_phase_does_not_hold_up_the_rest() {
        let env = Env { clock: Arc::new(TokioClock::starting_at(0)), ..Env::real() };
        assert!(phase(&env, "quick", Duration::from_secs(1), async {}).await);
        assert!(!phase(&env, "slow", Duration::from_secs(1), std::future::pending()).await);
        assert_eq!(env.clock.now_ms(), 1000);
    }
}
