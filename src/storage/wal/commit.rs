//! The group commit: one thread that syncs what was written, at once when somebody waits, else every 100 ms.

use super::{RETRY, SUSPECT, Shared, State, Unsynced};
use crate::env::disk::Open;
use crate::storage::head::lock;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

/// Scrapes wait for nothing; their rows are on stable storage after this.
const PERIOD: Duration = Duration::from_millis(100);

/// What one commit has to do.
struct Commit {
    files: Vec<Unsynced>,
    new_names: bool,
    /// Flushes that it covers.
    upto: u64,
}

impl Commit {
    fn take(state: &mut State) -> Self {
        Self { files: std::mem::take(&mut state.unsynced), new_names: std::mem::take(&mut state.new_names), upto: state.written }
    }
}

/// Runs until the log is closed.
pub(super) fn run(shared: &Shared) {
    while let Some(commit) = next(shared) {
        perform(shared, &commit);
    }
}

/// Commits once, on the caller's thread: in a world without background threads.
pub(super) fn run_once(shared: &Shared) {
    let commit = {
        let mut state = lock(&shared.state);
        is_dirty(&state).then(|| Commit::take(&mut state))
    };
    if let Some(commit) = commit {
        perform(shared, &commit);
    }
}

#[cfg(any(test, feature = "sim"))]
impl super::Log {
    /// Does what the thread does by itself, once: for a world without threads.
    pub(crate) fn tend(&self) {
        let Some(shared) = &self.shared else { return };
        shared.recover(&mut lock(&shared.state));
        run_once(shared);
    }
}

fn perform(shared: &Shared, commit: &Commit) {
    let began = shared.env.clock.monotonic();
    let result = sync(shared, commit);
    shared.metrics.sync_seconds.observe((shared.env.clock.monotonic() - began).as_secs_f64());
    let mut state = lock(&shared.state);
    match result {
        Ok(()) => state.synced = state.synced.max(commit.upto),
        Err((error, failed)) => fail(shared, &mut state, commit, &error, &failed),
    }
    shared.changed.notify_all();
}

fn is_dirty(state: &State) -> bool {
    state.written > state.synced && !state.unsynced.is_empty()
}

/// Waits for work; `None` when the log is closed and nothing is left.
fn next(shared: &Shared) -> Option<Commit> {
    let mut state = lock(&shared.state);
    while !is_dirty(&state) && !state.stop {
        // Nobody may write for a long time, but the log shall be ready again by then.
        let limit = state.failure.is_some().then_some(RETRY);
        state = wait(shared, state, limit);
        shared.recover(&mut state);
    }
    if !is_dirty(&state) {
        return None;
    }
    let due = shared.env.clock.monotonic() + PERIOD;
    while state.waiting == 0 && !state.stop {
        let left = due.saturating_sub(shared.env.clock.monotonic());
        if left.is_zero() {
            break;
        }
        state = wait(shared, state, Some(left));
    }
    Some(Commit::take(&mut state))
}

fn wait<'a>(shared: &Shared, state: MutexGuard<'a, State>, limit: Option<Duration>) -> MutexGuard<'a, State> {
    match limit {
        None => shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
        Some(limit) => shared.changed.wait_timeout(state, limit).unwrap_or_else(PoisonError::into_inner).0,
    }
}

/// Syncs names first, then the segments. Says which file failed.
fn sync(shared: &Shared, commit: &Commit) -> Result<(), (std::io::Error, std::path::PathBuf)> {
    if commit.new_names {
        for folder in [&shared.names_dir, &shared.log_dir] {
            shared.env.disk.sync_dir(folder).map_err(|error| (error, folder.clone()))?;
        }
    }
    for unsynced in &commit.files {
        unsynced.file.sync_data().map_err(|error| (error, unsynced.path.clone()))?;
    }
    Ok(())
}

/// A failed sync is never believed later: the system may have dropped the pages and call the next sync a success. The
/// segment is left as it is and a new one begun; the store cuts the head to blocks.
fn fail(shared: &Shared, state: &mut State, commit: &Commit, error: &std::io::Error, failed: &std::path::Path) {
    tracing::error!(file = %failed.display(), %error, "a sync failed; what it should have made durable is written elsewhere");
    state.lost = state.lost.max(commit.upto);
    state.synced = state.synced.max(commit.upto);
    state.lost_times += 1;
    // For the next process, should this one die before it has saved everything: it would read the file from the system's
    // memory and believe it. So the mark itself needs no sync.
    if let Err(error) = shared.env.disk.open(&shared.log_dir.join(SUSPECT), Open::Create) {
        tracing::warn!(%error, "the log could not be marked as suspect");
    }
    state.names_suspect |= failed.starts_with(&shared.names_dir);
    state.close_segment();
    shared.note_failure(state, error);
}
