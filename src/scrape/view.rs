//! What the API and the dashboard show of targets.

use super::elsewhere::ElsewhereTarget;
use super::target::Target;
use crate::model::labels::Labels;
use crate::model::metadata::Metadata;
use crate::model::target::TargetHealth;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

/// A scrape that failed, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScrapeFailure {
    /// When.
    pub at_ms: i64,
    /// Line number of the bad line, from 1; `None` where no line is to blame.
    pub line: Option<usize>,
    /// Byte in that line, from 1.
    pub column: Option<usize>,
    /// The line, at most a kilobyte of it.
    pub text: String,
    /// What the response said it is.
    pub content_type: String,
    /// The response around the bad line, at most 16 kilobytes.
    pub response: String,
}

/// One target.
#[derive(Clone, Debug, PartialEq)]
pub struct ActiveTarget {
    /// The job that it belongs to.
    pub pool: String,
    /// Labels before relabelling.
    pub discovered: Labels,
    /// Labels of its samples.
    pub labels: Labels,
    /// What is fetched.
    pub url: String,
    /// Whether the last scrape worked.
    pub health: TargetHealth,
    /// Why it did not; empty where it did.
    pub last_error: String,
    /// More about that.
    pub failure: Option<Arc<ScrapeFailure>>,
    /// When it was.
    pub last_scrape_ms: Option<i64>,
    /// Since when it is up, or down.
    pub since_ms: Option<i64>,
    /// How many scrapes failed in a row.
    pub failures: u64,
    /// How long it took.
    pub last_duration: Duration,
    /// Sample lines of the last scrape.
    pub samples_scraped: u64,
    /// Of those, what relabelling left.
    pub samples_kept: u64,
    /// Bytes of the last body, unpacked.
    pub body_bytes: u64,
    /// Time between scrapes.
    pub interval: Duration,
    /// The longest that one may take.
    pub timeout: Duration,
}

/// A discovered label set that is no target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DroppedTarget {
    /// The job that it would belong to.
    pub pool: String,
    /// Its labels.
    pub discovered: Labels,
    /// The relabelling rule that dropped it, from 0; `None` where no target could be made of it.
    pub rule: Option<usize>,
    /// Why, in words.
    pub reason: String,
}

/// All targets at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ScrapeView {
    /// What is scraped, by job and URL.
    pub active: Vec<ActiveTarget>,
    /// What is not.
    pub dropped: Vec<DroppedTarget>,
    /// How many each job dropped, those not kept to be shown included.
    pub dropped_counts: Vec<(String, usize)>,
    /// What other servers scrape, with whom the targets are shared.
    pub elsewhere: Vec<ElsewhereTarget>,
    /// The jobs' names, in-process ones included.
    pub pools: Vec<String>,
    /// What is wrong with where targets come from: job, and what, in words.
    pub discovery_errors: Vec<(String, String)>,
}

/// What the last scrape left.
#[derive(Clone, Debug, Default)]
pub(super) struct Status {
    pub(super) health: TargetHealth,
    pub(super) last_error: String,
    pub(super) failure: Option<Arc<ScrapeFailure>>,
    pub(super) last_scrape_ms: Option<i64>,
    /// Filled in by [`Shared::set_status`], as are the failures in a row.
    pub(super) since_ms: Option<i64>,
    pub(super) failures: u64,
    pub(super) last_duration: Duration,
    pub(super) samples_scraped: u64,
    pub(super) samples_kept: u64,
    pub(super) body_bytes: u64,
}

/// What can be asked of a running loop.
pub(super) enum Ask {
    /// Scrape now; answered when done.
    Scrape(oneshot::Sender<()>),
    /// The metadata of the last body.
    Metadata(oneshot::Sender<Vec<(String, Metadata)>>),
}

/// What a loop and its owners share.
pub(super) struct Shared {
    pub(super) pool: String,
    pub(super) target: Target,
    status: Mutex<Status>,
    asks: Mutex<Vec<Ask>>,
    /// Why the target's job may not be scraped at all.
    barred: Mutex<Option<Arc<str>>>,
    pub(super) wake: Notify,
    pub(super) stop: CancellationToken,
    /// Whether the target's series end when the loop stops.
    ends: std::sync::atomic::AtomicBool,
}

impl Shared {
    pub(super) fn new(pool: &str, target: Target) -> Self {
        Self {
            pool: pool.to_owned(),
            target,
            status: Mutex::default(),
            asks: Mutex::default(),
            barred: Mutex::default(),
            wake: Notify::new(),
            stop: CancellationToken::new(),
            ends: std::sync::atomic::AtomicBool::new(false),
        }
    }

    /// Stops the loop; with `ends`, its series are marked stale.
    pub(super) fn finish(&self, ends: bool) {
        self.ends.store(ends, std::sync::atomic::Ordering::SeqCst);
        self.stop.cancel();
    }

    /// Makes every scrape fail with that reason, or lets them be.
    pub(super) fn bar(&self, reason: Option<Arc<str>>) {
        *self.barred.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    }

    pub(super) fn barred(&self) -> Option<Arc<str>> {
        self.barred.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn ends(&self) -> bool {
        self.ends.load(std::sync::atomic::Ordering::SeqCst)
    }

    pub(super) fn set_status(&self, mut status: Status) {
        let mut held = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        let goes_on = held.health == status.health;
        status.since_ms = held.since_ms.filter(|_| goes_on).or(status.last_scrape_ms);
        status.failures = if status.health == TargetHealth::Down { held.failures + 1 } else { 0 };
        *held = status;
    }

    /// Puts a question; the loop answers it when it comes to it. A stopping loop drops it.
    pub(super) fn ask(&self, ask: Ask) {
        const ASKS_MAX: usize = 64;
        let mut asks = self.asks.lock().unwrap_or_else(PoisonError::into_inner);
        if asks.len() < ASKS_MAX && !self.stop.is_cancelled() {
            asks.push(ask);
            drop(asks);
            self.wake.notify_one();
        }
        if self.stop.is_cancelled() {
            // The loop may have looked for the last time: nobody shall wait for it.
            self.take_asks();
        }
    }

    pub(super) fn take_asks(&self) -> Vec<Ask> {
        std::mem::take(&mut *self.asks.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn view(&self) -> ActiveTarget {
        let status = self.status.lock().unwrap_or_else(PoisonError::into_inner).clone();
        ActiveTarget {
            pool: self.pool.clone(),
            discovered: self.target.discovered.clone(),
            labels: self.target.labels.clone(),
            url: self.target.url.clone(),
            health: status.health,
            last_error: status.last_error,
            failure: status.failure,
            last_scrape_ms: status.last_scrape_ms,
            since_ms: status.since_ms,
            failures: status.failures,
            last_duration: status.last_duration,
            samples_scraped: status.samples_scraped,
            samples_kept: status.samples_kept,
            body_bytes: status.body_bytes,
            interval: self.target.interval,
            timeout: self.target.timeout,
        }
    }
}
