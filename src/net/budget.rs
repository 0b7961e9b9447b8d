//! Memory for bodies that are under way, shared by all who receive at once.
//!
//! Each body has a limit of its own; without a bound on their sum, thirty servers that send without end would still take
//! thirty times that. A [`Claim`] grows with its body. Where the budget is used up, it waits for others to finish; where that
//! takes too long, the largest body is given up, be it the asker's or another's: those that send without end are the largest
//! soon. One body alone may always grow to its own limit.

use super::error::ClientError;
use crate::env::Env;
use futures_util::future::BoxFuture;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// How long a body waits for others before the largest is given up.
const PATIENCE: Duration = Duration::from_secs(1);
/// The least that is claimed at once: most bodies come with one claim.
const STEP_BYTES: usize = 64 << 10;
/// From where on a body grows by a quarter.
const LARGE_BYTES: usize = 4 << 20;

/// The shared bound. Cheap to clone.
#[derive(Clone)]
pub struct Budget(Arc<Shared>);

struct Shared {
    env: Env,
    total: u64,
    held: Mutex<Held>,
    released: Notify,
}

#[derive(Default)]
struct Held {
    used: u64,
    next: u64,
    /// Of each body: its bytes, and how to tell it that it is given up, as long as it can be.
    bodies: BTreeMap<u64, (u64, Option<CancellationToken>)>,
}

impl std::fmt::Debug for Budget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Budget").field("total", &self.0.total).field("used", &self.used()).finish()
    }
}

/// What one body holds of the budget; given back when dropped.
#[derive(Debug)]
pub struct Claim {
    budget: Budget,
    number: u64,
    bytes: u64,
    given_up: CancellationToken,
}

impl Budget {
    /// Returns a budget of so many bytes.
    #[must_use]
    pub fn new(env: &Env, total: u64) -> Self {
        Self(Arc::new(Shared { env: env.clone(), total, held: Mutex::default(), released: Notify::new() }))
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns how many bytes are claimed.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.held().used
    }

    /// Returns a claim on nothing yet.
    #[must_use]
    pub fn claim(&self) -> Claim {
        let given_up = CancellationToken::new();
        let mut held = self.held();
        held.next += 1;
        let number = held.next;
        held.bodies.insert(number, (0, Some(given_up.clone())));
        drop(held);
        Claim { budget: self.clone(), number, bytes: 0, given_up }
    }

    /// Adds `more` bytes to a body where they fit.
    fn try_add(&self, number: u64, more: u64) -> bool {
        let mut held = self.held();
        let Some((own, _)) = held.bodies.get(&number) else { return false };
        let is_alone = *own == held.used;
        if held.used + more > self.0.total && !is_alone {
            return false;
        }
        held.used += more;
        if let Some((bytes, _)) = held.bodies.get_mut(&number) {
            *bytes += more;
        }
        true
    }

    fn give_up_largest(&self) {
        let held = self.held();
        let under_way = held.bodies.values().filter_map(|(bytes, given_up)| Some((bytes, given_up.as_ref()?)));
        if let Some((_, given_up)) = under_way.max_by_key(|(bytes, _)| **bytes) {
            given_up.cancel();
        }
    }
}

impl Claim {
    /// Makes room in `out` for `more` bytes, `limit` at most in all. What is claimed is the vector's memory, and while it
    /// moves to a larger place, both places.
    ///
    /// # Errors
    /// When the body would pass its limit, or was given up.
    pub async fn make_room(&mut self, out: &mut Vec<u8>, more: usize, limit: u64) -> Result<(), ClientError> {
        let needed = out.len() + more;
        if needed as u64 > limit {
            return Err(ClientError::BodyTooLong { limit });
        }
        let before = out.capacity();
        if needed > before {
            // Large bodies grow in smaller steps: what they hold in vain is others' memory.
            let step = if before < LARGE_BYTES { before } else { before / 4 };
            let wanted =
                before.saturating_add(step.max(STEP_BYTES)).min(usize::try_from(limit).unwrap_or(usize::MAX)).max(needed);
            self.grow(wanted as u64).await?;
            out.reserve_exact(wanted - out.len());
        }
        let held = out.capacity() as u64;
        if held > self.bytes {
            // Memory of an earlier body that is used again.
            self.grow(held - self.bytes).await?;
        }
        self.shrink(self.bytes - held);
        Ok(())
    }

    /// Gives a part back.
    fn shrink(&mut self, less: u64) {
        if less == 0 {
            return;
        }
        self.bytes -= less;
        let mut held = self.budget.held();
        held.used -= less;
        if let Some((bytes, _)) = held.bodies.get_mut(&self.number) {
            *bytes -= less;
        }
        drop(held);
        self.budget.0.released.notify_waiters();
    }

    async fn grow(&mut self, more: u64) -> Result<(), ClientError> {
        let mut patience: Option<BoxFuture<'static, ()>> = None;
        loop {
            // Before the look, so that nothing released in between is missed.
            let budget = self.budget.clone();
            let released = budget.0.released.notified();
            if self.given_up.is_cancelled() {
                return Err(ClientError::NoMemory);
            }
            if budget.try_add(self.number, more) {
                self.bytes += more;
                return Ok(());
            }
            // Counted from the first refusal: others come and go all the time.
            let alarm = patience.get_or_insert_with(|| budget.0.env.clock.sleep(PATIENCE));
            tokio::select! {
                biased;
                () = self.given_up.cancelled() => return Err(ClientError::NoMemory),
                () = alarm => {
                    budget.give_up_largest();
                    patience = None;
                }
                () = released => {}
            }
        }
    }

    /// Tells that the body is whole and kept: it is not given up for others any more.
    pub fn settle(&self) {
        if let Some((_, given_up)) = self.budget.held().bodies.get_mut(&self.number) {
            *given_up = None;
        }
    }

    /// Waits until the body is given up.
    pub async fn given_up(&self) {
        self.given_up.cancelled().await;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut held = self.budget.held();
        held.used -= self.bytes;
        held.bodies.remove(&self.number);
        drop(held);
        self.budget.0.released.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn fill(claim: &mut Claim, bytes: usize, limit: u64) -> Result<Vec<u8>, ClientError> {
        let mut out = Vec::new();
        while out.len() < bytes {
            claim.make_room(&mut out, 1 << 16, limit).await?;
            out.resize(out.len() + (1 << 16), 0);
        }
        Ok(out)
    }

    #[tokio::test(start_paused = true)]
    async fn bodies_wait_for_each_other_and_the_largest_goes() {
        let env = Env::real();
        let budget = Budget::new(&env, 10 << 20);
        // Alone, a body may pass the budget up to its own limit.
        let mut alone = budget.claim();
        assert!(fill(&mut alone, 20 << 20, 30 << 20).await.is_ok());
        assert!(matches!(fill(&mut alone, 40 << 20, 30 << 20).await, Err(ClientError::BodyTooLong { .. })));
        drop(alone);
        assert_eq!(budget.used(), 0);

        let mut large = budget.claim();
        let held = fill(&mut large, 6 << 20, 30 << 20).await.unwrap();
        let second = budget.clone();
        let waiting = env.tasks.spawn("second", async move {
            let mut claim = second.claim();
            fill(&mut claim, 5 << 20, 30 << 20).await.map(|body| body.len())
        });
        // The second waits, then the first, which is larger, is given up.
        large.given_up().await;
        assert!(budget.used() <= 10 << 20, "{}", budget.used());
        assert!(!waiting.is_finished());
        drop((large, held));
        assert!(waiting.await.unwrap().unwrap() >= 5 << 20);
        assert_eq!(budget.used(), 0);
    }
}
