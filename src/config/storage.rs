//! `storage`: how long samples are kept, and what is promised about them. Prometheus's own keys are understood too.

use super::error::ConfigError;
use super::section::{section, words};
use super::values::Bytes;
use super::yaml::Node;
use std::time::Duration;

words! {
    /// What an acknowledgement promises.
    pub enum SyncPromise "storage sync" {
        /// What was acknowledged survives a power cut.
        Acknowledged = "acknowledged",
        /// What was acknowledged survives `kill -9`.
        Written = "written",
    }
}

section! {
    /// How long and how much is kept.
    pub struct RetentionConfig "retention" {
        /// 0: no bound.
        time: Duration = Duration::from_secs(15 * 86_400),
        /// 0: no bound.
        size: Bytes = Bytes(0),
    }

    /// Prometheus's `tsdb.retention`.
    pub struct TsdbRetentionConfig "storage.tsdb.retention" {
        /// See [`RetentionConfig`]; here 0 says nothing.
        time: Duration = Duration::ZERO,
        /// See [`RetentionConfig`].
        size: Bytes = Bytes(0),
        /// Of the disk. Read, judged and shown, without effect.
        percentage: f64 = 0.0,
    } check check_tsdb_retention;

    /// Prometheus's `tsdb.chunk_encoding`.
    pub struct ChunkEncodingConfig "storage.tsdb.chunk_encoding" {
        /// Read, judged and shown, without effect.
        floats: Option<String> = None,
    } check check_encoding;

    /// Prometheus's `tsdb`.
    pub struct TsdbConfig "storage.tsdb" {
        /// As `storage.out_of_order_window`.
        out_of_order_time_window: Option<Duration> = None,
        /// Read and shown, without effect.
        stale_series_compaction_threshold: f64 = 0.0,
        /// As `storage.retention`.
        retention: Option<TsdbRetentionConfig> = None,
        /// Read, judged and shown, without effect.
        chunk_encoding: Option<ChunkEncodingConfig> = None,
    }

    /// Prometheus's `exemplars`.
    pub struct ExemplarsConfig "storage.exemplars" {
        /// How many are kept; 0: none.
        max_exemplars: i64 = 100_000,
    }

    /// The whole section. After loading, the values in force are in the first three fields, whatever key said them.
    pub struct StorageConfig "storage" {
        /// How long and how much is kept.
        retention: RetentionConfig = RetentionConfig::default(),
        /// How far back scraped samples may lie.
        out_of_order_window: Duration = Duration::from_secs(600),
        /// What an acknowledgement promises.
        sync: SyncPromise = SyncPromise::Acknowledged,
        /// Prometheus's own keys.
        tsdb: Option<TsdbConfig> = None,
        /// Exemplars.
        exemplars: Option<ExemplarsConfig> = None,
    } check check_storage;
}

impl StorageConfig {
    /// Returns how many exemplars are kept.
    #[must_use]
    pub fn max_exemplars(&self) -> usize {
        let configured = self.exemplars.clone().unwrap_or_default().max_exemplars;
        usize::try_from(configured).unwrap_or(0)
    }
}

fn check_tsdb_retention(config: &mut TsdbRetentionConfig, node: &Node) -> Result<(), ConfigError> {
    if (0.0..=100.0).contains(&config.percentage) {
        return Ok(());
    }
    let message = format!("'storage.tsdb.retention.percentage' must be in the range [0, 100], got {}", config.percentage);
    Err(node.error_at("percentage", message))
}

fn check_encoding(config: &mut ChunkEncodingConfig, node: &Node) -> Result<(), ConfigError> {
    match config.floats.as_deref() {
        None | Some("xor" | "xor2") => Ok(()),
        Some(other) => {
            let message = format!(
                "'storage.tsdb.chunk_encoding.floats' must be 'xor' or 'xor2', or the field must be omitted entirely, got {other:?}"
            );
            Err(node.error_at("floats", message))
        }
    }
}

/// Moves what Prometheus's keys say to ours, so that each value is shown once.
fn check_storage(config: &mut StorageConfig, node: &Node) -> Result<(), ConfigError> {
    let Some(tsdb) = &mut config.tsdb else { return Ok(()) };
    if let Some(window) = tsdb.out_of_order_time_window.take() {
        if node.get("out_of_order_window").is_some() {
            let message = "out_of_order_window and tsdb.out_of_order_time_window say the same; keep one";
            return Err(node.error_at("out_of_order_window", message));
        }
        config.out_of_order_window = window;
    }
    let Some(retention) = &mut tsdb.retention else { return Ok(()) };
    let (time, size) = (std::mem::take(&mut retention.time), std::mem::take(&mut retention.size));
    if (!time.is_zero() || size.0 > 0) && node.get("retention").is_some() {
        return Err(node.error_at("retention", "retention and tsdb.retention say the same; keep one"));
    }
    if !time.is_zero() {
        config.retention.time = time;
    } else if size.0 > 0 {
        // As in Prometheus: with a size alone, time does not bound.
        config.retention.time = Duration::ZERO;
    }
    if size.0 > 0 {
        config.retention.size = size;
    }
    Ok(())
}
