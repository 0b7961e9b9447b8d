//! Getting a body: over HTTP, from a ZooKeeper server, or from within the process.

use super::ensemble::EnsembleServer;
use super::in_process::InProcess;
use crate::config::ScrapeConfig;
use crate::config::global::{NameEscaping, ScrapeProtocol};
use crate::env::Env;
use crate::exposition::{Dialect, Format};
use crate::model::limits::SCRAPE_BODY_BYTES;
use crate::net::{Budget, Claim, Client, ClientError, ClientOptions, Request};
use http::header::{ACCEPT, ACCEPT_ENCODING, HeaderMap, HeaderName, HeaderValue};
use std::sync::Arc;
use std::time::Duration;

/// Where bodies come from.
pub(super) enum Fetcher {
    Http {
        client: Client,
        request: Box<Request>,
    },
    InProcess(Arc<dyn InProcess>),
    Ensemble(Box<EnsembleServer>),
    /// The target cannot be asked, and why.
    Broken(String),
}

/// A body that came.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) body: Vec<u8>,
    pub(super) format: Format,
    pub(super) content_type: String,
    /// What the body holds of the memory for bodies under way.
    pub(super) _claim: Option<Claim>,
}

/// Why none came.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("Get {url:?}: {source}")]
    Client { url: String, source: ClientError },
    #[error("body size limit exceeded{0}")]
    BodyTooLong(&'static str),
    #[error("server returned HTTP status {0}")]
    Status(String),
    #[error("{0}")]
    ContentType(String),
    #[error("{0}")]
    Broken(String),
    #[error("{0}")]
    Ensemble(String),
    #[error("the collector failed")]
    Collector,
}

/// Returns the `Accept` header for the wanted protocols, best first.
pub(super) fn accept_header(protocols: &[ScrapeProtocol], escaping: NameEscaping) -> String {
    let escaping = match escaping {
        NameEscaping::Unset | NameEscaping::AllowUtf8 => "allow-utf-8",
        NameEscaping::Underscores => "underscores",
        NameEscaping::Dots => "dots",
        NameEscaping::Values => "values",
    };
    let mut weight = 6;
    let mut parts = Vec::new();
    for protocol in protocols {
        let media = match protocol {
            ScrapeProtocol::OpenMetricsText1 => format!("application/openmetrics-text;version=1.0.0;escaping={escaping}"),
            ScrapeProtocol::OpenMetricsText0 => "application/openmetrics-text;version=0.0.1".to_owned(),
            ScrapeProtocol::PrometheusText1 => format!("text/plain;version=1.0.0;escaping={escaping}"),
            ScrapeProtocol::PrometheusText0 => "text/plain;version=0.0.4".to_owned(),
            ScrapeProtocol::PrometheusProto => {
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited".to_owned()
            }
        };
        parts.push(format!("{media};q=0.{weight}"));
        weight -= 1;
    }
    parts.push(format!("*/*;q=0.{weight}"));
    parts.join(",")
}

const fn format_of(protocol: ScrapeProtocol) -> Format {
    match protocol {
        ScrapeProtocol::OpenMetricsText0 | ScrapeProtocol::OpenMetricsText1 => Format::Lines(Dialect::OpenMetrics),
        ScrapeProtocol::PrometheusText0 | ScrapeProtocol::PrometheusText1 => Format::Lines(Dialect::Text),
        ScrapeProtocol::PrometheusProto => Format::Protobuf,
    }
}

/// Decides the format as Prometheus 3 does: by the content type, else by the configured fallback, else not at all.
fn format(content_type: &str, fallback: Option<ScrapeProtocol>) -> Result<Format, FetchError> {
    Format::of_content_type(content_type).or_else(|| fallback.map(format_of)).ok_or_else(|| {
        FetchError::ContentType(if content_type.trim().is_empty() {
            "non-compliant scrape target sending blank Content-Type and no fallback_scrape_protocol specified for target"
                .to_owned()
        } else {
            format!("received unsupported Content-Type {content_type:?} and no fallback_scrape_protocol specified for target")
        })
    })
}

impl Fetcher {
    /// Returns the way to a target.
    pub(super) fn new(env: &Env, config: &ScrapeConfig, url: &str, timeout: Duration, budget: &Budget) -> Self {
        let made = match EnsembleServer::of_url(env, url) {
            Some(server) => server.map(|server| Self::Ensemble(Box::new(server))),
            None => Self::try_http(env, config, url, timeout, budget),
        };
        match made {
            Ok(fetcher) => fetcher,
            Err(message) => Self::Broken(message),
        }
    }

    fn try_http(env: &Env, config: &ScrapeConfig, url: &str, timeout: Duration, budget: &Budget) -> Result<Self, String> {
        let options = ClientOptions::from_config(&config.http, url.starts_with("https:"))?;
        let limit = if config.body_size_limit.0 == 0 { SCRAPE_BODY_BYTES } else { config.body_size_limit.0 };
        let mut request = Request::get(url, limit).map_err(|error| error.to_string())?;
        let mut headers = HeaderMap::new();
        let accept = accept_header(&config.scrape_protocols, config.metric_name_escaping_scheme);
        headers.insert(ACCEPT, HeaderValue::from_str(&accept).map_err(|error| error.to_string())?);
        let encoding = if config.enable_compression { "gzip" } else { "identity" };
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(encoding));
        let seconds = HeaderValue::from_str(&crate::model::number::format_f(timeout.as_secs_f64()));
        let name = HeaderName::from_static("x-prometheus-scrape-timeout-seconds");
        headers.insert(name, seconds.map_err(|error| error.to_string())?);
        request.headers = headers;
        request.budget = Some(budget.clone());
        Ok(Self::Http { client: Client::new(env, options), request: Box::new(request) })
    }

    /// Gets the next body within `timeout`; `buffer`'s memory is used again.
    ///
    /// # Errors
    /// When there is none to use.
    pub(super) async fn fetch(
        &self,
        env: &Env,
        config: &ScrapeConfig,
        timeout: Duration,
        buffer: Vec<u8>,
    ) -> Result<Fetched, FetchError> {
        match self {
            Self::Broken(message) => Err(FetchError::Broken(message.clone())),
            Self::InProcess(source) => {
                let source = Arc::clone(source);
                let body = env.tasks.blocking(move || source.collect()).await.map_err(|_| FetchError::Collector)?;
                Ok(Fetched { body, format: Format::Lines(Dialect::Text), content_type: "text/plain".to_owned(), _claim: None })
            }
            Self::Ensemble(server) => {
                let body = server.metrics(timeout).await.map_err(FetchError::Ensemble)?;
                Ok(Fetched { body, format: Format::Lines(Dialect::Text), content_type: "text/plain".to_owned(), _claim: None })
            }
            Self::Http { client, request } => {
                let url = request.url.to_string();
                let sent = env.clock.timeout(timeout, client.send_into((**request).clone(), buffer)).await;
                let response = match sent.unwrap_or(Err(ClientError::Deadline)) {
                    Ok(response) => response,
                    Err(ClientError::BodyTooLong { .. }) => {
                        let is_default = config.body_size_limit.0 == 0;
                        return Err(FetchError::BodyTooLong(if is_default {
                            " (64 MiB by default; body_size_limit sets another)"
                        } else {
                            ""
                        }));
                    }
                    Err(source) => return Err(FetchError::Client { url, source }),
                };
                if response.status != http::StatusCode::OK {
                    let reason = response.status.canonical_reason().unwrap_or("");
                    return Err(FetchError::Status(format!("{} {reason}", response.status.as_u16()).trim_end().to_owned()));
                }
                let content_type = response.header("content-type").to_owned();
                let format = format(&content_type, config.fallback_scrape_protocol)?;
                Ok(Fetched { body: response.body, format, content_type, _claim: response.claim })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::global::DEFAULT_SCRAPE_PROTOCOLS;

    #[test]
    fn asks_as_prometheus_does() {
        assert_eq!(
            accept_header(&DEFAULT_SCRAPE_PROTOCOLS, NameEscaping::Unset),
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,\
             text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
        );
    }

    #[test]
    fn asks_for_what_is_configured() {
        use ScrapeProtocol::{OpenMetricsText1, PrometheusProto};
        assert_eq!(
            accept_header(&[PrometheusProto, OpenMetricsText1], NameEscaping::Underscores),
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,\
             application/openmetrics-text;version=1.0.0;escaping=underscores;q=0.5,*/*;q=0.4"
        );
    }

    #[test]
    fn decides_the_format() {
        let (text, open) = (Some(Format::Lines(Dialect::Text)), Some(Format::Lines(Dialect::OpenMetrics)));
        let protobuf = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=";
        for (content_type, fallback, expected) in [
            ("text/plain; version=0.0.4", None, text),
            ("text/plain; version=1.0.0; escaping=underscores", None, text),
            ("application/openmetrics-text; version=1.0.0; charset=utf-8", None, open),
            (&format!("{protobuf}delimited"), None, Some(Format::Protobuf)),
            (&format!("{protobuf}\"delimited\"; escaping=values"), None, Some(Format::Protobuf)),
            ("Application/VND.google.protobuf", None, Some(Format::Protobuf)),
            (&format!("{protobuf}text"), None, None),
            ("application/vnd.google.protobuf; proto=other.Message; encoding=delimited", None, None),
            ("", None, None),
            ("text/html", None, None),
            ("", Some(ScrapeProtocol::PrometheusText0), text),
            ("text/html", Some(ScrapeProtocol::PrometheusProto), Some(Format::Protobuf)),
        ] {
            assert_eq!(format(content_type, fallback).ok(), expected, "{content_type}");
        }
    }
}
