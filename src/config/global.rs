//! `global`, and what scrape configurations and exposition formats share.

use super::error::ConfigError;
use super::section::{section, words};
use super::values::{Bytes, FilePath};
use super::yaml::Node;
use crate::model::labels::Labels;
use std::time::Duration;

words! {
    /// The formats that a scrape may ask for.
    pub enum ScrapeProtocol "scrape protocol" {
        /// OpenMetrics 0.0.1 text.
        OpenMetricsText0 = "OpenMetricsText0.0.1",
        /// OpenMetrics 1.0.0 text.
        OpenMetricsText1 = "OpenMetricsText1.0.0",
        /// Protobuf.
        PrometheusProto = "PrometheusProto",
        /// Prometheus text 0.0.4.
        PrometheusText0 = "PrometheusText0.0.4",
        /// Prometheus text 1.0.0.
        PrometheusText1 = "PrometheusText1.0.0",
    }

    /// Which names metrics and labels may have.
    pub enum NameValidation "ValidationScheme" {
        /// Not said: any UTF-8.
        Unset = "",
        /// Any UTF-8.
        Utf8 = "utf8",
        /// `[a-zA-Z_:][a-zA-Z0-9_:]*`.
        Legacy = "legacy",
    }

    /// How names that the other side cannot write are changed.
    pub enum NameEscaping "metric name escaping scheme" {
        /// Not said: `allow-utf-8`.
        Unset = "",
        /// They are not.
        AllowUtf8 = "allow-utf-8",
        /// To underscores.
        Underscores = "underscores",
        /// `.` to `_dot_` and so on.
        Dots = "dots",
        /// To `U__` and code points.
        Values = "values",
    }
}

/// What is asked for when nothing is said.
pub const DEFAULT_SCRAPE_PROTOCOLS: [ScrapeProtocol; 4] = [
    ScrapeProtocol::OpenMetricsText1,
    ScrapeProtocol::OpenMetricsText0,
    ScrapeProtocol::PrometheusText1,
    ScrapeProtocol::PrometheusText0,
];

/// What is asked for when native histograms are scraped and nothing is said.
pub const NATIVE_HISTOGRAM_SCRAPE_PROTOCOLS: [ScrapeProtocol; 5] = [
    ScrapeProtocol::PrometheusProto,
    ScrapeProtocol::OpenMetricsText1,
    ScrapeProtocol::OpenMetricsText0,
    ScrapeProtocol::PrometheusText1,
    ScrapeProtocol::PrometheusText0,
];

section! {
    /// What holds for all jobs and rules unless they say otherwise.
    pub struct GlobalConfig "global" {
        /// Between two scrapes.
        scrape_interval: Duration = Duration::from_secs(60),
        /// How long a scrape may take.
        scrape_timeout: Duration = Duration::ZERO,
        /// Formats to ask for, best first; empty: [`DEFAULT_SCRAPE_PROTOCOLS`].
        scrape_protocols: Vec<ScrapeProtocol> = Vec::new(),
        /// Between two evaluations of a rule group.
        evaluation_interval: Duration = Duration::from_secs(60),
        /// How far back rules look, to wait for late samples.
        rule_query_offset: Duration = Duration::ZERO,
        /// Where queries are logged.
        query_log_file: FilePath = FilePath::default(),
        /// Where failed scrapes are logged.
        scrape_failure_log_file: FilePath = FilePath::default(),
        /// Labels added to what leaves this server.
        external_labels: Labels = Labels::empty(),
        /// The longest body of a scrape; 0: no bound.
        body_size_limit: Bytes = Bytes(0),
        /// The most samples of a scrape; 0: no bound.
        sample_limit: u64 = 0,
        /// The most targets of a job; 0: no bound.
        target_limit: u64 = 0,
        /// The most labels of a sample; 0: no bound.
        label_limit: u64 = 0,
        /// The longest name of a label; 0: no bound.
        label_name_length_limit: u64 = 0,
        /// The longest value of a label; 0: no bound.
        label_value_length_limit: u64 = 0,
        /// How many dropped targets of a job are kept to be shown; 0: all.
        keep_dropped_targets: u64 = 0,
        /// Which names are taken.
        metric_name_validation_scheme: NameValidation = NameValidation::Unset,
        /// How names are asked for.
        metric_name_escaping_scheme: NameEscaping = NameEscaping::Unset,
        /// Whether native histograms are scraped.
        scrape_native_histograms: Option<bool> = None,
        /// Whether classic histograms become native ones with custom buckets.
        convert_classic_histograms_to_nhcb: bool = false,
        /// Whether classic buckets are kept beside a native histogram.
        always_scrape_classic_histograms: bool = false,
        /// Whether each scrape also leaves series about its limits.
        extra_scrape_metrics: Option<bool> = None,
    } check check_global;

    /// Settings of Go's runtime. Read and shown, without effect.
    pub struct RuntimeConfig "runtime" {
        /// Go's `GOGC`.
        gogc: i64 = 0,
    }
}

/// Refuses a protocol that is there twice, and an empty list.
pub(crate) fn check_protocols(protocols: &[ScrapeProtocol], node: &Node) -> Result<(), ConfigError> {
    let Some(list) = node.get("scrape_protocols").filter(|list| !list.is_null()) else { return Ok(()) };
    if protocols.is_empty() {
        return Err(list.error("scrape_protocols cannot be empty"));
    }
    for (place, protocol) in protocols.iter().enumerate() {
        if protocols.iter().take(place).any(|earlier| earlier == protocol) {
            return Err(list.error(format!("duplicated protocol in scrape_protocols, got {}", protocol.as_str())));
        }
    }
    Ok(())
}

fn check_global(global: &mut GlobalConfig, node: &Node) -> Result<(), ConfigError> {
    if global.scrape_interval.is_zero() {
        global.scrape_interval = Duration::from_secs(60);
    }
    if global.scrape_timeout > global.scrape_interval {
        return Err(node.error_at("scrape_timeout", "global scrape timeout greater than scrape interval"));
    }
    if global.scrape_timeout.is_zero() {
        global.scrape_timeout = Duration::from_secs(10).min(global.scrape_interval);
    }
    if global.evaluation_interval.is_zero() {
        global.evaluation_interval = Duration::from_secs(60);
    }
    let utf8_names_refused = global.metric_name_validation_scheme == NameValidation::Legacy;
    if utf8_names_refused && global.metric_name_escaping_scheme == NameEscaping::AllowUtf8 {
        let message = "utf8 metric names requested but validation scheme is not set to UTF8";
        return Err(node.error_at("metric_name_escaping_scheme", message));
    }
    check_protocols(&global.scrape_protocols, node)
}
