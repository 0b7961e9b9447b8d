//! All that a world does to the outside, in order: what two runs with one seed must have in common.

use std::sync::{Arc, Mutex, PoisonError};

/// The trace of a world. Cheap to clone; clones share.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trace(Arc<Mutex<Lines>>);

/// `None`: nobody wants to compare them.
type Lines = Option<Vec<String>>;

impl Trace {
    /// Keeps the lines from now on.
    pub(crate) fn keep(&self) {
        *self.lines() = Some(Vec::new());
    }

    fn lines(&self) -> std::sync::MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what happened.
    pub(crate) fn note(&self, line: impl FnOnce() -> String) {
        if let Some(kept) = &mut *self.lines() {
            kept.push(line());
        }
    }

    /// Returns the kept lines.
    pub(crate) fn kept(&self) -> Vec<String> {
        self.lines().clone().unwrap_or_default()
    }
}
