//! `remote_write`, `remote_read`, `otlp`, `tracing`: what goes to and comes from other stores.

use super::error::ConfigError;
use super::http_client::{HttpClientConfig, TlsConfig};
use super::receivers::{AnyValue, SigV4Config};
use super::section::{section, words};
use super::values::Url;
use super::yaml::Node;
use crate::model::relabel::RelabelConfig;
use std::collections::BTreeMap;
use std::time::Duration;

words! {
    /// The two versions of remote write.
    pub enum WriteMessage "remote write protobuf message" {
        /// Remote-Write 1.0.
        V1 = "prometheus.WriteRequest",
        /// Remote-Write 2.0.
        V2 = "io.prometheus.write.v2.Request",
    }

    /// How names of OTLP become names of metrics.
    pub enum TranslationStrategy "translation strategy" {
        /// Underscores, unit and type as suffixes.
        UnderscoreEscapingWithSuffixes = "UnderscoreEscapingWithSuffixes",
        /// Underscores, no suffixes.
        UnderscoreEscapingWithoutSuffixes = "UnderscoreEscapingWithoutSuffixes",
        /// Names as they are, unit and type as suffixes.
        NoUtf8EscapingWithSuffixes = "NoUTF8EscapingWithSuffixes",
        /// Names as they are.
        NoTranslation = "NoTranslation",
    }
}

section! {
    /// The queue of one remote write.
    pub struct QueueConfig "queue_config" {
        /// Samples waiting for each shard.
        capacity: i64 = 10_000,
        /// The most shards.
        max_shards: i64 = 50,
        /// The fewest shards.
        min_shards: i64 = 1,
        /// Samples of one request.
        max_samples_per_send: i64 = 2000,
        /// How long a sample waits for others.
        batch_send_deadline: Duration = Duration::from_secs(5),
        /// The first pause after a failure.
        min_backoff: Duration = Duration::from_millis(30),
        /// The longest pause.
        max_backoff: Duration = Duration::from_secs(5),
        /// Whether 429 is tried again.
        retry_on_http_429: bool = false,
        /// Older samples are dropped; 0: none.
        sample_age_limit: Duration = Duration::ZERO,
    } check check_queue;

    /// Metadata of one remote write.
    pub struct MetadataConfig "metadata_config" {
        /// Whether they are sent.
        send: bool = true,
        /// How often.
        send_interval: Duration = Duration::from_secs(60),
        /// Entries of one request.
        max_samples_per_send: i64 = 2000,
    }

    /// Samples are sent to another store.
    pub struct RemoteWriteConfig "remote write config section" {
        /// Where to.
        url: Url = Url::default(),
        /// How long a request may take.
        remote_timeout: Duration = Duration::from_secs(30),
        /// Further headers.
        headers: BTreeMap<String, String> = BTreeMap::new(),
        /// Rules for samples.
        write_relabel_configs: Vec<RelabelConfig> = Vec::new(),
        /// The name in logs and metrics.
        name: String = String::new(),
        /// Whether exemplars are sent.
        send_exemplars: bool = false,
        /// Whether native histograms are sent.
        send_native_histograms: bool = false,
        /// Whether each connection goes to another address of the host.
        round_robin_dns: bool = false,
        /// Which version is spoken.
        protobuf_message: WriteMessage = WriteMessage::V1,
        /// The queue.
        queue_config: QueueConfig = QueueConfig::default(),
        /// Metadata.
        metadata_config: MetadataConfig = MetadataConfig::default(),
        /// AWS's signature; not supported by the server.
        sigv4: Option<SigV4Config> = None,
        /// Azure's tokens; not supported by the server.
        azuread: Option<AnyValue> = None,
        /// Google's tokens; not supported by the server.
        google_iam: Option<AnyValue> = None,
    } inline {
        /// The HTTP client.
        http: HttpClientConfig,
    } check check_write;

    /// Samples are read from another store.
    pub struct RemoteReadConfig "remote read config section" {
        /// Where from.
        url: Url = Url::default(),
        /// How long a request may take.
        remote_timeout: Duration = Duration::from_secs(60),
        /// Further headers.
        headers: BTreeMap<String, String> = BTreeMap::new(),
        /// The largest frame of a streamed answer.
        chunked_read_limit: u64 = 50_000_000,
        /// Whether it is asked for times that the local store has too.
        read_recent: bool = false,
        /// Matchers that a selector must have to be asked there.
        required_matchers: BTreeMap<String, String> = BTreeMap::new(),
        /// The name in logs and metrics.
        name: String = String::new(),
        /// Whether the external labels select what is read.
        filter_external_labels: bool = true,
    } inline {
        /// The HTTP client.
        http: HttpClientConfig,
    } check check_read;

    /// What becomes of metrics that arrive by OTLP.
    pub struct OtlpConfig "otlp" {
        /// Whether all resource attributes become labels.
        promote_all_resource_attributes: bool = false,
        /// Resource attributes that become labels.
        promote_resource_attributes: Vec<String> = Vec::new(),
        /// Resource attributes that do not, where all do.
        ignore_resource_attributes: Vec<String> = Vec::new(),
        /// How names change.
        translation_strategy: TranslationStrategy = TranslationStrategy::UnderscoreEscapingWithSuffixes,
        /// Whether `service.*` stay beside `job` and `instance`.
        keep_identifying_resource_attributes: bool = false,
        /// Whether explicit histograms become native ones with custom buckets.
        convert_histograms_to_nhcb: bool = false,
        /// Whether name and version of the scope become labels.
        promote_scope_metadata: bool = false,
        /// Whether label names that begin with `_` get `key`.
        label_name_underscore_sanitization: bool = true,
        /// Whether underscores in a row stay.
        label_name_preserve_multiple_underscores: bool = true,
    } check check_otlp;

    /// Where traces of the server's own work go. Read, judged and shown, without effect.
    pub struct TracingConfig "tracing" {
        /// `http` or `grpc`.
        client_type: String = "grpc".to_owned(),
        /// Where to.
        endpoint: String = String::new(),
        /// How many requests are traced.
        sampling_fraction: f64 = 0.0,
        /// Whether without TLS.
        insecure: bool = false,
        /// TLS.
        tls_config: TlsConfig = TlsConfig::default(),
        /// Further headers.
        headers: BTreeMap<String, String> = BTreeMap::new(),
        /// Further headers, Alertmanager's form.
        http_headers: Option<AnyValue> = None,
        /// `gzip` or nothing.
        compression: String = String::new(),
        /// How long an export may take.
        timeout: Duration = Duration::from_secs(10),
    } check check_tracing;
}

/// Headers that the protocol itself sets.
const RESERVED: [&str; 12] = [
    "authorization",
    "host",
    "content-encoding",
    "content-length",
    "content-type",
    "user-agent",
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "x-prometheus-remote-write-version",
    "x-prometheus-remote-read-version",
];

fn check_headers(headers: &BTreeMap<String, String>, node: &Node, authorization: &str) -> Result<(), ConfigError> {
    for name in headers.keys() {
        let lower = name.to_ascii_lowercase();
        if lower == "authorization" {
            return Err(node.error_at("headers", authorization));
        }
        if RESERVED.contains(&lower.as_str()) {
            return Err(node.error_at("headers", format!("{name} is a reserved header. It must not be changed")));
        }
    }
    Ok(())
}

fn check_queue(queue: &mut QueueConfig, node: &Node) -> Result<(), ConfigError> {
    let positive = [
        ("capacity", queue.capacity),
        ("max_shards", queue.max_shards),
        ("min_shards", queue.min_shards),
        ("max_samples_per_send", queue.max_samples_per_send),
    ];
    for (key, value) in positive {
        if value <= 0 {
            return Err(node.error_at(key, format!("remote write queue {key} must be positive")));
        }
    }
    if queue.min_shards > queue.max_shards {
        return Err(node.error_at("min_shards", "remote write queue min_shards must not be greater than max_shards"));
    }
    if queue.max_backoff < queue.min_backoff {
        return Err(node.error_at("max_backoff", "remote write queue max_backoff must not be less than min_backoff"));
    }
    Ok(())
}

fn check_write(config: &mut RemoteWriteConfig, node: &Node) -> Result<(), ConfigError> {
    if config.url.is_empty() {
        return Err(node.error_at("url", "url for remote_write is empty"));
    }
    let words =
        "authorization header must be changed via the basic_auth, authorization, oauth2, sigv4, azuread or google_iam parameter";
    check_headers(&config.headers, node, words)?;
    // Unlike elsewhere, HTTP/2 is off unless asked for, as in Prometheus 3.
    if node.get("enable_http2").is_none() {
        config.http.enable_http2 = false;
    }
    let own = config.http.basic_auth.is_some() || config.http.authorization.is_some() || config.http.oauth2.is_some();
    let given = [own, config.sigv4.is_some(), config.azuread.is_some(), config.google_iam.is_some()];
    if given.into_iter().filter(|given| *given).count() > 1 {
        let message = "at most one of basic_auth, authorization, oauth2, sigv4, azuread or google_iam must be configured";
        return Err(node.error(message));
    }
    Ok(())
}

fn check_read(config: &mut RemoteReadConfig, node: &Node) -> Result<(), ConfigError> {
    if config.url.is_empty() {
        return Err(node.error_at("url", "url for remote_read is empty"));
    }
    let words = "authorization header must be changed via the basic_auth, authorization, or oauth2 parameter";
    check_headers(&config.headers, node, words)
}

/// Trims the entries of a list and refuses empty and repeated ones.
fn tidy(list: &mut [String], node: &Node, key: &str, words: &str) -> Result<(), ConfigError> {
    for place in 0..list.len() {
        let text = list[place].trim().to_owned();
        if text.is_empty() {
            return Err(node.error_at(key, format!("empty {words} OTel resource attribute")));
        }
        if list.iter().take(place).any(|earlier| *earlier == text) {
            return Err(node.error_at(key, format!("duplicated {words} OTel resource attribute {text:?}")));
        }
        list[place] = text;
    }
    Ok(())
}

fn check_otlp(config: &mut OtlpConfig, node: &Node) -> Result<(), ConfigError> {
    if config.promote_all_resource_attributes {
        if !config.promote_resource_attributes.is_empty() {
            let message =
                "'promote_all_resource_attributes' and 'promote_resource_attributes' cannot be configured simultaneously";
            return Err(node.error_at("promote_resource_attributes", message));
        }
        return tidy(&mut config.ignore_resource_attributes, node, "ignore_resource_attributes", "ignored");
    }
    if !config.ignore_resource_attributes.is_empty() {
        let message = "'ignore_resource_attributes' cannot be configured unless 'promote_all_resource_attributes' is true";
        return Err(node.error_at("ignore_resource_attributes", message));
    }
    tidy(&mut config.promote_resource_attributes, node, "promote_resource_attributes", "promoted")
}

fn check_tracing(config: &mut TracingConfig, node: &Node) -> Result<(), ConfigError> {
    if !matches!(config.client_type.as_str(), "grpc" | "http") {
        let message = format!("expected tracing client type to be 'grpc' or 'http', but got {:?}", config.client_type);
        return Err(node.error_at("client_type", message));
    }
    if config.endpoint.is_empty() {
        return Err(node.error("tracing endpoint must be set"));
    }
    check_headers(&config.headers, node, "custom authorization header configuration is not yet supported")?;
    if !matches!(config.compression.as_str(), "" | "gzip") {
        let message = format!("invalid compression type {} provided, valid options: gzip", config.compression);
        return Err(node.error_at("compression", message));
    }
    Ok(())
}
