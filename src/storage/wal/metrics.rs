//! What the log tells about itself.

use crate::telemetry::metrics::{Counter, Gauge, Histogram, Registry, SECONDS};

#[derive(Debug)]
pub(super) struct Metrics {
    pub(super) failed_writes: Counter,
    pub(super) bytes: Counter,
    pub(super) sync_seconds: Histogram,
    pub(super) segment: Gauge,
    pub(super) failed: Gauge,
    pub(super) full: Gauge,
}

impl Metrics {
    /// Registers the log's metrics.
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            failed_writes: registry.counter(
                "watchkeeper_tsdb_wal_writes_failed_total",
                "Writes and syncs of the log that failed.",
                &[],
            ),
            bytes: registry.counter("watchkeeper_tsdb_wal_written_bytes_total", "Bytes written to the log.", &[]),
            sync_seconds: registry.histogram(
                "watchkeeper_tsdb_wal_fsync_duration_seconds",
                "Time that a sync of the log took.",
                &[],
                SECONDS,
            ),
            segment: registry.gauge("watchkeeper_tsdb_wal_segment_current", "Number of the log's open segment.", &[]),
            failed: registry.gauge(
                "watchkeeper_tsdb_wal_failed",
                "Whether the log cannot be written: scraped samples are in memory alone, pushed ones are refused.",
                &[],
            ),
            full: registry.gauge("watchkeeper_tsdb_disk_full", "Whether the log cannot be written for want of space.", &[]),
        }
    }
}
