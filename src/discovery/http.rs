//! `http_sd_configs`: targets that an HTTP server lists as JSON.

use super::{Sink, Update};
use crate::config::discovery::HttpDiscovery;
use crate::config::file_discovery;
use crate::env::Env;
use crate::model::number::format_f;
use crate::model::target::TargetGroup;
use crate::net::{Client, ClientOptions, Request};
use crate::telemetry::metrics::Counter;
use http::StatusCode;
use http::header::{ACCEPT, HeaderName, HeaderValue};
use std::time::Duration;

/// The longest list.
const BODY_BYTES_MAX: u64 = crate::model::limits::TARGETS_BYTES;

/// Asks the server again and again, and says what it lists. Ends when nobody listens.
///
/// `groups` are those that it listed when it was last asked.
pub async fn run(env: Env, config: HttpDiscovery, mut groups: Vec<TargetGroup>, failures: Counter, sink: Sink) {
    let client = ClientOptions::from_config(&config.http, config.url.scheme() == Some("https"));
    let client = client.map(|options| Client::new(&env, options));
    let mut said = None;
    loop {
        let mut errors = Vec::new();
        let asked = match &client {
            Ok(client) => ask(&env, client, &config).await,
            Err(message) => Err(message.clone()),
        };
        match asked {
            Ok(found) => groups = found,
            Err(message) => {
                failures.inc();
                tracing::warn!(url = %config.url, message, "HTTP discovery failed; the last targets go on");
                errors.push(format!("{}: {message}", config.url));
            }
        }
        let update = Update { groups: groups.clone(), errors };
        if said.as_ref() != Some(&update) {
            said = Some(update.clone());
            if !sink.send(update).await {
                return;
            }
        }
        env.clock.sleep(config.refresh_interval.max(Duration::from_millis(100))).await;
    }
}

async fn ask(env: &Env, client: &Client, config: &HttpDiscovery) -> Result<Vec<TargetGroup>, String> {
    let url = config.url.as_str();
    let mut request = Request::get(url, BODY_BYTES_MAX).map_err(|error| error.to_string())?;
    request.headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    if let Ok(seconds) = HeaderValue::from_str(&format_f(config.refresh_interval.as_secs_f64())) {
        request.headers.insert(HeaderName::from_static("x-prometheus-refresh-interval-seconds"), seconds);
    }
    let limit = config.refresh_interval.clamp(Duration::from_secs(1), Duration::from_secs(60));
    let sent = env.clock.timeout(limit, client.send(request)).await;
    let response = sent.map_err(|_| "context deadline exceeded".to_owned())?.map_err(|error| error.to_string())?;
    if response.status != StatusCode::OK {
        return Err(format!("server returned HTTP status {}", response.status));
    }
    let content_type = response.header("content-type");
    let media = content_type.split(';').next().unwrap_or("").trim();
    if !media.eq_ignore_ascii_case("application/json") {
        return Err(format!("unsupported content type {content_type:?}"));
    }
    let text = String::from_utf8(response.body).map_err(|error| error.to_string())?;
    let mut groups = file_discovery::parse(url, &text).map_err(|error| error.to_string())?;
    for group in &mut groups {
        group.labels = group.labels.with("__meta_url", url);
    }
    Ok(groups)
}
