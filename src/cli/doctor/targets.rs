//! Jobs and their targets: discovery, name, connection, HTTP, exposition.

use super::{Chart, reach};
use crate::config::{Config, ScrapeConfig};
use crate::discovery;
use crate::env::Env;
use crate::exposition::families::{About, Options, Sample, Sink};
use crate::exposition::{Dialect, Entry, Format, Parser, protobuf};
use crate::net::{Client, ClientOptions, Request};
use crate::scrape::{self, ensemble::EnsembleServer};
use crate::telemetry::metrics::Registry;
use crate::zookeeper::real_connector;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How long discovery gets to find targets.
const DISCOVERY: Duration = Duration::from_secs(5);
/// How many targets of a job are tried.
const TARGETS_MAX: usize = 20;
/// The longest body of a target that is looked at.
const BODY_BYTES_MAX: u64 = 64 << 20;

pub(super) async fn examine(chart: &mut Chart, config: &Arc<Config>) {
    if config.scrape_configs.is_empty() {
        return;
    }
    let (_keep, configs) = watch::channel(Arc::clone(config));
    let mut found = discovery::start(&chart.env, configs, &Registry::new(), None, real_connector(&chart.env));
    // Slow sources get their time; what is there by then is tried.
    let complete = async {
        let all_there = |jobs: &Arc<std::collections::BTreeMap<_, crate::model::target::JobTargets>>| {
            config.scrape_configs.iter().all(|job| jobs.get(&job.job_name).is_some_and(|job| !job.groups.is_empty()))
        };
        found.wait_for(all_there).await.map(|_| ())
    };
    let waited = chart.env.clock.timeout(DISCOVERY, complete).await;
    let jobs = Arc::clone(&found.borrow());
    if waited.is_err() {
        chart.hint(&format!("not every job had targets within {DISCOVERY:?}"));
    }
    for job in &config.scrape_configs {
        chart.title(&format!("job {:?}", job.job_name));
        let Some(targets) = jobs.get(&job.job_name) else {
            chart.bad("discovery has not found any target");
            continue;
        };
        for error in &targets.errors {
            chart.bad(&format!("discovery: {error}"));
        }
        let urls = scrape::target_urls(job, &targets.groups);
        if urls.is_empty() {
            chart.hint("no targets (or relabelling drops them all)");
        }
        if urls.len() > TARGETS_MAX {
            chart.hint(&format!("{} targets; the first {TARGETS_MAX} are tried", urls.len()));
        }
        for url in urls.into_iter().take(TARGETS_MAX) {
            match url {
                Ok(url) => try_target(chart, job, &url).await,
                Err(reason) => chart.bad(&format!("no address: {reason}")),
            }
        }
    }
}

async fn try_target(chart: &mut Chart, job: &ScrapeConfig, url: &str) {
    let limit = job.scrape_timeout.max(Duration::from_secs(1));
    let began = chart.env.clock.monotonic();
    match chart.env.clock.timeout(limit, fetch(&chart.env, job, url)).await {
        Err(_) => {
            chart.bad(&format!("{url}: no answer within the scrape_timeout of {:?}", job.scrape_timeout));
            locate(chart, job, url).await;
        }
        Ok(Err(reason)) => {
            chart.bad(&format!("{url}: {reason}"));
            locate(chart, job, url).await;
        }
        Ok(Ok((content_type, body))) => match count_samples(&content_type, &body) {
            Ok((samples, note)) => {
                let took = chart.env.clock.monotonic().saturating_sub(began);
                chart.fine(&format!("{url}: {samples} samples, {} bytes, {} ms", body.len(), took.as_millis()));
                if let Some(note) = note {
                    chart.hint(&note);
                }
                losses(chart, job, samples, took);
            }
            Err(reason) => chart.bad(&format!("{url}: {reason}")),
        },
    }
}

/// Says how far towards a target that did not answer one comes: name, connection, and what then is left.
async fn locate(chart: &mut Chart, job: &ScrapeConfig, url: &str) {
    if !job.http.proxy.proxy_url.as_str().is_empty() || job.http.proxy.proxy_from_environment {
        chart.hint("a proxy stands in between: whether it reaches the target, its log says");
        return;
    }
    let Some((scheme, rest)) = url.split_once("://") else { return };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    let port = if scheme == "https" { 443 } else { 80 };
    let address = if has_port { authority.to_owned() } else { format!("{authority}:{port}") };
    if reach(chart, &address).await.is_some() {
        chart.hint(match scheme {
            "https" => "so name and port are right: what fails is TLS, HTTP or the exporter itself (see the reason above)",
            _ => {
                "so name and port are right: what fails is HTTP or the exporter itself; does the port want https (scheme: https)?"
            }
        });
    }
}

/// Says why metrics of a target that answers may be missing all the same.
fn losses(chart: &mut Chart, job: &ScrapeConfig, samples: usize, took: Duration) {
    if job.sample_limit > 0 && samples as u64 > job.sample_limit {
        chart.bad(&format!("more samples than sample_limit ({}): the whole scrape is given up", job.sample_limit));
    }
    if took * 2 > job.scrape_timeout {
        let limit = job.scrape_timeout;
        chart.hint(&format!("the answer took more than half of the scrape_timeout of {limit:?}: under load scrapes will fail"));
    }
    if samples == 0 {
        chart.hint("the answer has no samples: is this the right metrics_path?");
    }
    if !job.metric_relabel_configs.is_empty() {
        chart.hint(
            "metric_relabel_configs may drop or rename samples: `scrape_samples_post_metric_relabeling` says how many are left",
        );
    }
}

async fn fetch(env: &Env, job: &ScrapeConfig, url: &str) -> Result<(String, Vec<u8>), String> {
    if let Some(server) = EnsembleServer::of_url(env, url) {
        let server = server?;
        let body = Box::pin(server.metrics(job.scrape_timeout.max(Duration::from_secs(1)))).await?;
        return Ok(("text/plain".to_owned(), body));
    }
    let options = ClientOptions::from_config(&job.http, url.starts_with("https:"))?;
    let client = Client::new(env, options);
    let request = Request::get(url, BODY_BYTES_MAX).map_err(|error| error.to_string())?;
    let response = client.send(request).await.map_err(|error| error.to_string())?;
    if !response.status.is_success() {
        let hint = match response.status.as_u16() {
            401 | 403 => " (it wants other credentials: basic_auth, authorization or a client certificate)",
            404 => " (is metrics_path right?)",
            _ => "",
        };
        return Err(format!("server returned HTTP status {}{hint}", response.status));
    }
    Ok((response.header("content-type").to_owned(), response.body))
}

/// Counts the samples of an exposition; with a note where a second reader sees it differently.
fn count_samples(content_type: &str, body: &[u8]) -> Result<(usize, Option<String>), String> {
    let dialect = match Format::of_content_type(content_type) {
        Some(Format::Protobuf) => return count_messages(body).map(|samples| (samples, None)),
        Some(Format::Lines(dialect)) => dialect,
        None => Dialect::Text,
    };
    let mut parser = Parser::new(body, dialect);
    let mut samples = 0;
    loop {
        match parser.next() {
            Ok(Some(Entry::Sample)) => samples += 1,
            Ok(Some(_)) => {}
            Ok(None) => break,
            Err(error) => {
                let what = if content_type.contains("html") { "this is a web page, not an exposition: " } else { "" };
                return Err(format!("{what}line {}, column {}: {error}", error.line, error.column));
            }
        }
    }
    let lines = String::from_utf8_lossy(body).into_owned();
    let second = prometheus_parse::Scrape::parse(lines.lines().map(|line| Ok(line.to_owned())));
    let note = match second {
        Ok(_) => None,
        Err(error) => Some(format!("a stricter reader stumbles over this body: {error}")),
    };
    Ok((samples, note))
}

/// Counts the samples of a protobuf exposition.
fn count_messages(body: &[u8]) -> Result<usize, String> {
    struct Counter(usize);
    impl Sink for Counter {
        fn about(&mut self, _metric: &str, _about: About<'_>) {}

        fn sample(&mut self, _sample: Sample<'_>) -> Result<(), String> {
            self.0 += 1;
            Ok(())
        }
    }
    let mut counter = Counter(0);
    let options = Options { native: true, ..Options::default() };
    protobuf::read(body, options, &mut counter).map_err(|error| error.to_string())?;
    Ok(counter.0)
}
