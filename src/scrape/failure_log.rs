//! `scrape_failure_log_file`: a line of JSON for each scrape that failed.

use crate::env::disk::Disk;
use crate::env::line_log::LineLog;
use crate::template::time::{RFC3339_NANO, Time};
use serde_json::json;
use std::path::Path;
use std::sync::Arc;

/// All jobs' files.
pub(super) struct FailureLog(LineLog);

impl FailureLog {
    pub(super) fn new(disk: Arc<dyn Disk>) -> Self {
        Self(LineLog::new("failed scrapes", disk))
    }

    /// Appends a line. Blocks for the disk.
    pub(super) fn write(&self, path: &Path, at_ms: i64, job: &str, target: &str, message: &str) {
        let time = Time::from_ms(at_ms).utc().format(RFC3339_NANO);
        let line = json!({"time": time, "level": "ERROR", "msg": message, "job_name": job, "target": target});
        self.0.write(path, &line.to_string());
    }
}
