//! Until when this member may tell people, by the monotonic clock.
//!
//! A confirmation by the quorum proves that the session was alive when it was asked for; the server gives the session away one
//! session time-out after that at the earliest. So whoever holds the lease for two thirds of it has stopped before anybody else begins.

use crate::env::Env;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// The end of a lease without one.
const FOREVER: u64 = u64::MAX;

/// Shared by who renews it and who asks. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Lease {
    env: Env,
    /// Nanoseconds; 0: none.
    until: Arc<AtomicU64>,
    changes: Arc<watch::Sender<()>>,
}

impl Lease {
    /// Returns a lease that nobody holds.
    #[must_use]
    pub fn new(env: &Env) -> Self {
        Self { env: env.clone(), until: Arc::default(), changes: Arc::new(watch::Sender::new(())) }
    }

    fn set(&self, until: u64) {
        self.until.store(until, Ordering::Release);
        self.changes.send_replace(());
    }

    /// Holds it until then (of the monotonic clock).
    pub fn extend(&self, until: Duration) {
        self.set(u64::try_from(until.as_nanos()).unwrap_or(FOREVER - 1).max(1));
    }

    /// Holds it until it is revoked: nobody else can.
    pub fn hold(&self) {
        self.set(FOREVER);
    }

    /// Ends it.
    pub fn revoke(&self) {
        self.set(0);
    }

    /// Returns how long it still holds; `None`: until it is revoked.
    #[must_use]
    pub fn left(&self) -> Option<Duration> {
        match self.until.load(Ordering::Acquire) {
            FOREVER => None,
            until => Some(Duration::from_nanos(until).saturating_sub(self.env.clock.monotonic())),
        }
    }

    /// Returns whether it holds now.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.left().is_none_or(|left| !left.is_zero())
    }

    /// Waits until it does not hold.
    pub async fn lost(&self) {
        let mut changes = self.changes.subscribe();
        while self.holds() {
            let left = self.left();
            let over = async {
                match left {
                    Some(left) => self.env.clock.sleep(left).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                // The sender lives as long as we do.
                changed = changes.changed() => drop(changed),
                () = over => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn holds_as_long_as_it_was_extended() {
        let env = Env::real();
        let lease = Lease::new(&env);
        assert!(!lease.holds());
        lease.lost().await;
        lease.hold();
        assert!(lease.holds() && lease.left().is_none());
        lease.extend(env.clock.monotonic() + Duration::from_secs(3600));
        assert!(lease.holds());
        let waiting = lease.clone();
        let task = env.tasks.spawn("waits", async move { waiting.lost().await });
        lease.revoke();
        task.await.unwrap();
        assert!(!lease.holds());
    }
}
