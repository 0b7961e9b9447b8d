//! Files of lines that others read: a line is appended, and the file may be moved away at any time.

use super::disk::{Disk, Open};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Appends lines. The file is opened for each of them. What cannot be written is told once in the server's own log and holds
/// nobody up.
pub struct LineLog {
    what: &'static str,
    disk: Arc<dyn Disk>,
    /// Lines go in one after the other.
    turn: Mutex<()>,
    /// Whether the last line could not be written.
    failing: AtomicBool,
}

impl std::fmt::Debug for LineLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LineLog").field("what", &self.what).finish_non_exhaustive()
    }
}

impl LineLog {
    /// Returns a log; `what` says in the server's own log what it is of.
    #[must_use]
    pub fn new(what: &'static str, disk: Arc<dyn Disk>) -> Self {
        Self { what, disk, turn: Mutex::default(), failing: AtomicBool::default() }
    }

    /// Appends a line, given without its end. Blocks for the disk.
    pub fn write(&self, path: &Path, line: &str) {
        let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let done = self.append(path, &format!("{line}\n"));
        drop(turn);
        let failed_before = self.failing.swap(done.is_err(), Ordering::SeqCst);
        if let Err(error) = done
            && !failed_before
        {
            tracing::warn!(path = %path.display(), %error, "cannot write the log of {}", self.what);
        }
    }

    fn append(&self, path: &Path, line: &str) -> io::Result<()> {
        let file = self.disk.open(path, Open::Create)?;
        file.write_at(line.as_bytes(), file.len()?)
    }
}
