//! `scrape_failure_log_file`: a line of JSON for each scrape that failed.
//!
//! The file is opened for each line, so it can be moved away at any time. What cannot be written is told once in the
//! server's own log and does not hold a scrape up.

use crate::env::disk::{Disk, Open};
use crate::template::time::{RFC3339_NANO, Time};
use serde_json::json;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// All jobs' files.
pub(super) struct FailureLog {
    disk: Arc<dyn Disk>,
    /// Lines go in one after the other.
    turn: Mutex<()>,
    /// Whether the last line could not be written.
    failing: AtomicBool,
}

impl FailureLog {
    pub(super) fn new(disk: Arc<dyn Disk>) -> Self {
        Self { disk, turn: Mutex::default(), failing: AtomicBool::default() }
    }

    /// Appends a line. Blocks for the disk.
    pub(super) fn write(&self, path: &Path, at_ms: i64, job: &str, target: &str, message: &str) {
        let time = Time::from_ms(at_ms).utc().format(RFC3339_NANO);
        let line = json!({"time": time, "level": "ERROR", "msg": message, "job_name": job, "target": target});
        let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let done = self.append(path, &format!("{line}\n"));
        drop(turn);
        let failed_before = self.failing.swap(done.is_err(), Ordering::SeqCst);
        if let Err(error) = done
            && !failed_before
        {
            tracing::warn!(path = %path.display(), %error, "cannot write the log of failed scrapes");
        }
    }

    fn append(&self, path: &Path, line: &str) -> io::Result<()> {
        let file = self.disk.open(path, Open::Create)?;
        file.write_at(line.as_bytes(), file.len()?)
    }
}
