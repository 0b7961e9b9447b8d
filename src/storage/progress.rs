//! How far long work has come: one value, told in a metric, in log lines, in the body of `/-/ready`, and on a terminal.
//!
//! Whoever works calls [`Progress::begin`], [`Progress::advance`] and [`Progress::end`]; an observer, where there is one, is
//! told each time and decides how often that is worth a line. Without an observer it costs two atomic additions.

use super::head::lock;
use crate::env::Env;
use crate::telemetry::metrics::Registry;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// No more than one line of the log in this time.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// What is being done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Task {
    /// The log is read back into the head.
    #[default]
    Replay,
    /// Blocks are merged into larger ones.
    Compaction,
    /// Every file is read and checked.
    Verify,
    /// Samples are written as text.
    Export,
    /// Text is read.
    Import,
    /// What was imported is written as blocks.
    Blocks,
}

impl Task {
    /// Returns the value of the metric's label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Replay => "replay",
            Self::Compaction => "compaction",
            Self::Verify => "verify",
            Self::Export => "export",
            Self::Import => "import",
            Self::Blocks => "blocks",
        }
    }

    /// Returns what is being done in words, as in `replaying the log: 43 %`.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Replay => "replaying the log",
            Self::Compaction => "merging blocks",
            Self::Verify => "verifying",
            Self::Export => "exporting",
            Self::Import => "importing",
            Self::Blocks => "writing blocks",
        }
    }
}

/// How far a task is. `Display` gives the words and the percentage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Which task.
    pub task: Task,
    /// Units done: bytes or samples.
    pub done: u64,
    /// Units in all; 0: not known.
    pub total: u64,
    /// Whether the task has ended.
    pub ended: bool,
}

impl Step {
    /// Returns the share done, 1 where there is nothing to do; `None` where the whole is not known.
    #[must_use]
    pub fn share(&self) -> Option<f64> {
        match (self.ended, self.total) {
            (true, _) => Some(1.0),
            (false, 0) => None,
            (false, total) => Some((self.done as f64 / total as f64).min(1.0)),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.task.words())?;
        match self.share() {
            Some(share) => write!(f, ": {} %", (share * 100.0).floor()),
            None => Ok(()),
        }
    }
}

type Observer = Box<dyn Fn(&Step) + Send + Sync>;

#[derive(Default)]
struct Cells {
    task: Mutex<(Task, bool)>,
    done: AtomicU64,
    total: AtomicU64,
    /// First, present and last segment of the log.
    segments: [AtomicU64; 3],
    observer: Option<Observer>,
}

/// How far the present task has come. Cheap to clone; clones share.
#[derive(Clone, Default)]
pub struct Progress(Arc<Cells>);

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Progress").field(&self.step()).finish()
    }
}

impl Progress {
    /// Returns a value that tells each step to `observer`, on the thread that works.
    pub fn observed(observer: impl Fn(&Step) + Send + Sync + 'static) -> Self {
        Self(Arc::new(Cells { observer: Some(Box::new(observer)), ..Cells::default() }))
    }

    /// Returns a value that is told in the log (not too often) and as `watchkeeper_tsdb_progress_ratio`.
    #[must_use]
    pub fn reported(env: &Env, registry: &Registry) -> Self {
        let (env, registry) = (env.clone(), registry.clone());
        let told = Mutex::new(env.clock.monotonic());
        Self::observed(move |step| {
            let gauge = || {
                let help = "How far the store's long tasks have come, 1 when they are done.";
                registry.gauge("watchkeeper_tsdb_progress_ratio", help, &[("task", step.task.as_str())])
            };
            gauge().set(step.share().unwrap_or(0.0));
            let (mut told, now) = (lock(&told), env.clock.monotonic());
            if step.done == 0 || step.ended {
                *told = now;
            } else if now.saturating_sub(*told) >= LINE_EVERY {
                *told = now;
                tracing::info!("{step}");
            }
        })
    }

    fn tell(&self) {
        if let Some(observer) = &self.0.observer {
            observer(&self.step());
        }
    }

    /// Begins a task of so many units; 0: not known.
    pub fn begin(&self, task: Task, total: u64) {
        *lock(&self.0.task) = (task, false);
        self.0.done.store(0, Ordering::Relaxed);
        self.0.total.store(total, Ordering::Relaxed);
        self.tell();
    }

    /// Says that so much more is done.
    pub fn advance(&self, units: u64) {
        self.0.done.fetch_add(units, Ordering::Relaxed);
        self.tell();
    }

    /// Ends the task.
    pub fn end(&self) {
        lock(&self.0.task).1 = true;
        self.tell();
    }

    /// Says which segments of the log there are, and which one is read.
    pub fn segment(&self, first: u64, present: u64, last: u64) {
        for (cell, number) in self.0.segments.iter().zip([first, present, last]) {
            cell.store(number, Ordering::Relaxed);
        }
    }

    /// Returns how far the present task is.
    #[must_use]
    pub fn step(&self) -> Step {
        let (task, ended) = *lock(&self.0.task);
        let (done, total) = (self.0.done.load(Ordering::Relaxed), self.0.total.load(Ordering::Relaxed));
        Step { task, done, total, ended }
    }

    /// Returns first, present and last segment of the log's replay.
    #[must_use]
    pub fn segments(&self) -> [u64; 3] {
        self.0.segments.each_ref().map(|cell| cell.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn observers_are_told_each_step() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&seen);
        let progress = Progress::observed(move |step| lock(&told).push(step.to_string()));
        progress.begin(Task::Replay, 200);
        progress.advance(86);
        progress.advance(113);
        progress.end();
        progress.begin(Task::Import, 0);
        let expected = [
            "replaying the log: 0 %",
            "replaying the log: 43 %",
            "replaying the log: 99 %",
            "replaying the log: 100 %",
            "importing",
        ];
        assert_eq!(*lock(&seen), expected);
        assert_eq!(Progress::default().step().share(), None);
    }

    #[test]
    fn the_metric_follows() {
        let registry = Registry::new();
        let progress = Progress::reported(&Env::real(), &registry);
        progress.begin(Task::Compaction, 4);
        progress.advance(1);
        let gauge = registry.gauge("watchkeeper_tsdb_progress_ratio", "", &[("task", "compaction")]);
        assert_eq!(gauge.get().to_bits(), 0.25_f64.to_bits());
        progress.end();
        assert_eq!(gauge.get().to_bits(), 1.0_f64.to_bits());
    }
}
