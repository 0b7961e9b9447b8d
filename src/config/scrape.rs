//! `scrape_configs`: what is scraped, how, and what becomes of the labels.

use super::discovery::DiscoveryConfigs;
use super::error::ConfigError;
use super::global::{
    DEFAULT_SCRAPE_PROTOCOLS, GlobalConfig, NATIVE_HISTOGRAM_SCRAPE_PROTOCOLS, NameEscaping, NameValidation, ScrapeProtocol,
    check_protocols,
};
use super::http_client::HttpClientConfig;
use super::section::section;
use super::values::{Bytes, FilePath};
use super::yaml::Node;
use crate::model::relabel::RelabelConfig;
use std::collections::BTreeMap;
use std::time::Duration;

section! {
    /// One job. After loading, every value is the one in force: what the job leaves open is filled in from `global`.
    pub struct ScrapeConfig "scrape config section" {
        /// The job's name, which becomes the label `job`.
        job_name: String = String::new(),
        /// Whether the target's own `job` and `instance` labels win.
        honor_labels: bool = false,
        /// Whether the target's own timestamps count.
        honor_timestamps: bool = true,
        /// Whether series with timestamps of their own get stale markers.
        track_timestamps_staleness: bool = false,
        /// Parameters of the URL.
        params: BTreeMap<String, Vec<String>> = BTreeMap::new(),
        /// Between two scrapes.
        scrape_interval: Duration = Duration::ZERO,
        /// How long a scrape may take.
        scrape_timeout: Duration = Duration::ZERO,
        /// Formats to ask for, best first.
        scrape_protocols: Vec<ScrapeProtocol> = Vec::new(),
        /// The format to assume where the answer names none.
        fallback_scrape_protocol: Option<ScrapeProtocol> = None,
        /// Whether native histograms are scraped; `Some` after loading.
        scrape_native_histograms: Option<bool> = None,
        /// Whether classic buckets are kept beside a native histogram; `Some` after loading.
        always_scrape_classic_histograms: Option<bool> = None,
        /// Whether classic histograms become native ones with custom buckets; `Some` after loading.
        convert_classic_histograms_to_nhcb: Option<bool> = None,
        /// Whether each scrape also leaves series about its limits; `Some` after loading.
        extra_scrape_metrics: Option<bool> = None,
        /// Where failed scrapes are logged.
        scrape_failure_log_file: FilePath = FilePath::default(),
        /// The path of the URL.
        metrics_path: String = "/metrics".to_owned(),
        /// `http` or `https`.
        scheme: String = "http".to_owned(),
        /// Whether gzip is asked for.
        enable_compression: bool = true,
        /// The longest body; 0: no bound.
        body_size_limit: Bytes = Bytes(0),
        /// The most samples; 0: no bound.
        sample_limit: u64 = 0,
        /// The most targets; 0: no bound.
        target_limit: u64 = 0,
        /// The most labels of a sample; 0: no bound.
        label_limit: u64 = 0,
        /// The longest name of a label; 0: no bound.
        label_name_length_limit: u64 = 0,
        /// The longest value of a label; 0: no bound.
        label_value_length_limit: u64 = 0,
        /// The most buckets of a native histogram; 0: no bound.
        native_histogram_bucket_limit: u64 = 0,
        /// Finer native histograms are made coarser; 0: no bound.
        native_histogram_min_bucket_factor: f64 = 0.0,
        /// How many dropped targets are kept to be shown; 0: all.
        keep_dropped_targets: u64 = 0,
        /// Which names are taken.
        metric_name_validation_scheme: NameValidation = NameValidation::Unset,
        /// How names are asked for.
        metric_name_escaping_scheme: NameEscaping = NameEscaping::Unset,
        /// Rules for targets.
        relabel_configs: Vec<RelabelConfig> = Vec::new(),
        /// Rules for samples.
        metric_relabel_configs: Vec<RelabelConfig> = Vec::new(),
        /// ZooKeeper servers whose own metrics are read, `host:port` each.
        zookeeper_servers: Vec<String> = Vec::new(),
    } inline {
        /// The HTTP client.
        http: HttpClientConfig,
        /// Where targets come from.
        discovery: DiscoveryConfigs,
    } check check_scrape;
}

fn check_scrape(config: &mut ScrapeConfig, node: &Node) -> Result<(), ConfigError> {
    if config.job_name.is_empty() {
        return Err(node.error_at("job_name", "job_name is empty"));
    }
    if !matches!(config.scheme.as_str(), "http" | "https") {
        return Err(node.error_at("scheme", format!("scheme must be 'http' or 'https', found {:?}", config.scheme)));
    }
    for server in &config.zookeeper_servers {
        if server.is_empty() || server.contains(['/', ',']) || server.contains(char::is_whitespace) {
            return Err(node.error_at("zookeeper_servers", format!("{server:?} is not like host:2181; one server each")));
        }
    }
    check_protocols(&config.scrape_protocols, node)
}

impl ScrapeConfig {
    /// Writes the job as YAML; secrets are hidden.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        super::section::Value::show(self).to_yaml()
    }

    /// Fills in what the job leaves open.
    ///
    /// # Errors
    /// When what results contradicts itself.
    pub(crate) fn fill_in(&mut self, global: &GlobalConfig, node: &Node) -> Result<(), ConfigError> {
        if self.scrape_interval.is_zero() {
            self.scrape_interval = global.scrape_interval;
        }
        if self.scrape_timeout > self.scrape_interval {
            let message =
                format!("scrape timeout greater than scrape interval for scrape config with job name {:?}", self.job_name);
            return Err(node.error_at("scrape_timeout", message));
        }
        if self.scrape_timeout.is_zero() {
            self.scrape_timeout = global.scrape_timeout.min(self.scrape_interval);
        }
        if self.body_size_limit.0 == 0 {
            self.body_size_limit = global.body_size_limit;
        }
        let limits = [
            (&mut self.sample_limit, global.sample_limit),
            (&mut self.target_limit, global.target_limit),
            (&mut self.label_limit, global.label_limit),
            (&mut self.label_name_length_limit, global.label_name_length_limit),
            (&mut self.label_value_length_limit, global.label_value_length_limit),
            (&mut self.keep_dropped_targets, global.keep_dropped_targets),
        ];
        for (limit, usual) in limits {
            if *limit == 0 {
                *limit = usual;
            }
        }
        if self.scrape_failure_log_file.is_empty() {
            self.scrape_failure_log_file = global.scrape_failure_log_file.clone();
        }
        self.fill_in_histograms(global);
        self.fill_in_names(global, node)
    }

    fn fill_in_histograms(&mut self, global: &GlobalConfig) {
        let native = self.scrape_native_histograms.unwrap_or(global.scrape_native_histograms.unwrap_or(false));
        if self.scrape_protocols.is_empty() {
            // A job that says itself whether it wants native histograms does not take over the global list for it.
            let said_here = self.scrape_native_histograms.is_some();
            self.scrape_protocols = match (global.scrape_protocols.is_empty(), said_here && native) {
                (false, _) => global.scrape_protocols.clone(),
                (true, true) => NATIVE_HISTOGRAM_SCRAPE_PROTOCOLS.to_vec(),
                (true, false) if native => NATIVE_HISTOGRAM_SCRAPE_PROTOCOLS.to_vec(),
                (true, false) => DEFAULT_SCRAPE_PROTOCOLS.to_vec(),
            };
        }
        self.scrape_native_histograms = Some(native);
        self.always_scrape_classic_histograms.get_or_insert(global.always_scrape_classic_histograms);
        self.convert_classic_histograms_to_nhcb.get_or_insert(global.convert_classic_histograms_to_nhcb);
        self.extra_scrape_metrics.get_or_insert(global.extra_scrape_metrics.unwrap_or(false));
    }

    fn fill_in_names(&mut self, global: &GlobalConfig, node: &Node) -> Result<(), ConfigError> {
        if self.metric_name_validation_scheme == NameValidation::Unset {
            self.metric_name_validation_scheme = match global.metric_name_validation_scheme {
                NameValidation::Unset => NameValidation::Utf8,
                said => said,
            };
        }
        // As in Prometheus, what is asked for follows from the global scheme, not from the job's own.
        let legacy = global.metric_name_validation_scheme == NameValidation::Legacy;
        if self.metric_name_escaping_scheme == NameEscaping::Unset {
            self.metric_name_escaping_scheme = match global.metric_name_escaping_scheme {
                NameEscaping::Unset if legacy => NameEscaping::Underscores,
                NameEscaping::Unset => NameEscaping::AllowUtf8,
                said => said,
            };
        }
        let refused = self.metric_name_validation_scheme == NameValidation::Legacy;
        if refused && self.metric_name_escaping_scheme == NameEscaping::AllowUtf8 {
            let message = "utf8 metric names requested but validation scheme is not set to UTF8";
            return Err(node.error_at("metric_name_escaping_scheme", message));
        }
        Ok(())
    }
}
