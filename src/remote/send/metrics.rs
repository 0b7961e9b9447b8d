//! What a remote says about itself, under Prometheus's names.

use super::shard::{KINDS, Kind};
use crate::config::remote::RemoteWriteConfig;
use crate::telemetry::metrics::{Counter, Gauge, Histogram, Registry, SECONDS};

/// Counters of one kind of what is sent.
#[derive(Clone, Debug)]
pub(super) struct KindMetrics {
    pub(super) sent: Counter,
    pub(super) failed: Counter,
    pub(super) retried: Counter,
    pub(super) pending: Gauge,
    pub(super) dropped_series: Counter,
    pub(super) dropped_old: Counter,
    pub(super) dropped_unknown: Counter,
}

/// The metrics of one remote.
#[derive(Clone, Debug)]
pub(super) struct Metrics {
    kinds: [KindMetrics; 3],
    pub(super) bytes: Counter,
    pub(super) metadata: Counter,
    pub(super) metadata_failed: Counter,
    pub(super) metadata_retried: Counter,
    pub(super) metadata_bytes: Counter,
    pub(super) batch_seconds: Histogram,
    pub(super) highest_sent: Gauge,
    pub(super) highest: Gauge,
    /// Of all remotes together.
    pub(super) highest_in: Gauge,
    pub(super) shards: Gauge,
    pub(super) shards_desired: Gauge,
    registry: Registry,
    name: String,
    url: String,
}

/// Gauges that a remote takes along when it goes.
const GAUGES: [&str; 11] = [
    "watchkeeper_remote_storage_max_samples_per_send",
    "watchkeeper_remote_storage_samples_pending",
    "watchkeeper_remote_storage_histograms_pending",
    "watchkeeper_remote_storage_exemplars_pending",
    "watchkeeper_remote_storage_queue_highest_sent_timestamp_seconds",
    "watchkeeper_remote_storage_queue_highest_timestamp_seconds",
    "watchkeeper_remote_storage_shards",
    "watchkeeper_remote_storage_shards_desired",
    "watchkeeper_remote_storage_shards_min",
    "watchkeeper_remote_storage_shards_max",
    "watchkeeper_remote_storage_shard_capacity",
];

impl Metrics {
    pub(super) fn new(registry: &Registry, name: &str, config: &RemoteWriteConfig) -> Self {
        let url = config.url.as_str();
        let labels = [("remote_name", name), ("url", url)];
        let counter = |name: &str, help| registry.counter(&format!("watchkeeper_remote_storage_{name}"), help, &labels);
        let gauge = |name: &str, help| registry.gauge(&format!("watchkeeper_remote_storage_{name}"), help, &labels);
        let kind = |word: &str| {
            let dropped = |reason: &str| {
                let labels = [("reason", reason), ("remote_name", name), ("url", url)];
                let help = "Read from the log and not sent, by reason.";
                registry.counter(&format!("watchkeeper_remote_storage_{word}_dropped_total"), help, &labels)
            };
            KindMetrics {
                sent: counter(&format!("{word}_total"), "Sent to the remote store and taken there."),
                failed: counter(&format!("{word}_failed_total"), "Refused by the remote store, and dropped."),
                retried: counter(&format!("{word}_retried_total"), "Sent again after an error that may pass."),
                pending: gauge(&format!("{word}_pending"), "Waiting in memory to be sent."),
                dropped_series: dropped("dropped_series"),
                dropped_old: dropped("too_old"),
                dropped_unknown: dropped("unintentionally_dropped_series"),
            }
        };
        let queue = &config.queue_config;
        gauge("shards_min", "The fewest shards.").set(queue.min_shards as f64);
        gauge("shards_max", "The most shards.").set(queue.max_shards as f64);
        gauge("max_samples_per_send", "Samples of one request.").set(queue.max_samples_per_send as f64);
        gauge("shard_capacity", "Samples that may wait in each shard.").set(queue.capacity as f64);
        Self {
            kinds: KINDS.map(|known| kind(known.word())),
            bytes: counter("bytes_total", "Bytes of data sent, packed."),
            metadata: counter("metadata_total", "Metadata sent to the remote store and taken there."),
            metadata_failed: counter("metadata_failed_total", "Metadata that the remote store refused."),
            metadata_retried: counter("metadata_retried_total", "Metadata sent again after an error that may pass."),
            metadata_bytes: counter("metadata_bytes_total", "Bytes of metadata sent, packed."),
            batch_seconds: registry.histogram(
                "watchkeeper_remote_storage_sent_batch_duration_seconds",
                "How long requests took.",
                &labels,
                SECONDS,
            ),
            highest_sent: gauge("queue_highest_sent_timestamp_seconds", "Time of the newest sample that was sent."),
            highest: gauge("queue_highest_timestamp_seconds", "Time of the newest sample that was read from the log."),
            highest_in: registry.gauge(
                "watchkeeper_remote_storage_highest_timestamp_in_seconds",
                "Time of the newest sample that any remote has read from the log.",
                &[],
            ),
            shards: gauge("shards", "How many shards send at once."),
            shards_desired: gauge("shards_desired", "How many shards would be right for what comes and goes."),
            registry: registry.clone(),
            name: name.to_owned(),
            url: url.to_owned(),
        }
    }

    pub(super) const fn of(&self, kind: Kind) -> &KindMetrics {
        let [samples, histograms, exemplars] = &self.kinds;
        match kind {
            Kind::Samples => samples,
            Kind::Histograms => histograms,
            Kind::Exemplars => exemplars,
        }
    }

    /// A remote has gone: what it counted stays until the end, what it had does not.
    pub(super) fn gone(&self) {
        for gauge in GAUGES {
            self.registry.remove(gauge, &[("remote_name", &self.name), ("url", &self.url)]);
        }
    }
}
