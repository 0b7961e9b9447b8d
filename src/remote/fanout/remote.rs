//! One server that is read from: what of a query concerns it, the request, and the answer.

use super::answer::{Answer, AnswerError};
use crate::config::remote::RemoteReadConfig;
use crate::env::Env;
use crate::model::labels::Labels;
use crate::model::limits;
use crate::model::matcher::{MatchOp, Matcher};
use crate::model::protobuf::{put_bytes, put_number, put_varint};
use crate::net::{Budget, Claim, Client, ClientError, ClientOptions, Request, Response};
use crate::storage::select::{Hints, TimeRange};
use crate::telemetry::metrics::{Gauge, Histogram, Registry};
use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Uri};
use std::sync::Arc;

/// Kinds of answers, as `prometheus.ReadRequest.ResponseType` numbers them, in the order of our liking.
const ACCEPTED: [u64; 2] = [1, 0];
/// How long local samples may take to be complete behind the oldest of them: two of Prometheus's blocks.
const MARGIN_MS: i64 = 4 * 3_600_000;
/// Bounds of how long requests took, in seconds.
const SECONDS: [f64; 13] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 60.0];

/// Why a server's series are missing.
#[derive(Debug, thiserror::Error)]
pub(super) enum RemoteError {
    /// The configuration asks for what there is not.
    #[error("{0}")]
    Config(String),
    /// No answer.
    #[error("error sending request: Post \"{url}\": {source}")]
    Client { url: String, source: ClientError },
    /// The answer is a refusal.
    #[error("remote server {url} returned http status {status}: {words}")]
    Status { url: String, status: String, words: String },
    /// An answer of another kind.
    #[error("unsupported content type: {0}")]
    ContentType(String),
    /// An answer that cannot be read.
    #[error("error reading the answer of {url}: {source}")]
    Answer { url: String, source: AnswerError },
}

/// What is asked of one server.
#[derive(Debug)]
pub(super) struct Question {
    range: TimeRange,
    body: Bytes,
    /// External labels that were added to the matchers: series come back with them.
    strip: Vec<String>,
}

/// Counts what is asked of one server.
struct Counts {
    registry: Registry,
    name: String,
    url: String,
    under_way: Gauge,
}

impl Counts {
    fn new(registry: &Registry, config: &RemoteReadConfig) -> Self {
        let url = config.url.to_string();
        let name = if config.name.is_empty() { url.clone() } else { config.name.clone() };
        let help = "Remote reads that are under way.";
        let labels = [("remote_name", name.as_str()), ("url", url.as_str())];
        let under_way = registry.gauge("watchkeeper_remote_read_client_queries", help, &labels);
        Self { registry: registry.clone(), name, url, under_way }
    }

    fn took(&self) -> Histogram {
        let labels = [("remote_name", self.name.as_str()), ("url", self.url.as_str())];
        let help = "How long remote reads took.";
        self.registry.histogram("watchkeeper_remote_read_client_request_duration_seconds", help, &labels, &SECONDS)
    }

    fn done(&self, code: &str) {
        let labels = [("remote_name", self.name.as_str()), ("url", self.url.as_str()), ("code", code)];
        self.registry.counter("watchkeeper_remote_read_client_queries_total", "Remote reads.", &labels).inc();
    }
}

/// Counts a read as under way while it lives.
struct UnderWay<'c>(&'c Counts);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.under_way.add(-1.0);
    }
}

/// A server that is read from.
pub(super) struct Remote {
    pub(super) config: Arc<RemoteReadConfig>,
    pub(super) external: Labels,
    env: Env,
    client: Result<Client, String>,
    budget: Budget,
    counts: Counts,
}

impl Remote {
    pub(super) fn new(
        env: &Env,
        registry: &Registry,
        budget: &Budget,
        config: &Arc<RemoteReadConfig>,
        external: &Labels,
    ) -> Self {
        let options = ClientOptions::from_config(&config.http, config.url.scheme() == Some("https"));
        Self {
            config: Arc::clone(config),
            external: external.clone(),
            env: env.clone(),
            client: options.map(|options| Client::new(env, options)),
            budget: budget.clone(),
            counts: Counts::new(registry, config),
        }
    }

    /// Returns what to ask, or nothing where the local store has all of the range, or a matcher is missing that the
    /// configuration requires. `local_from_ms` is the oldest local sample.
    pub(super) fn question(
        &self,
        matchers: &[Matcher],
        mut range: TimeRange,
        hints: &Hints,
        local_from_ms: &dyn Fn() -> i64,
    ) -> Option<Question> {
        let mut required = self.config.required_matchers.iter();
        let has = |name: &str, value: &str| {
            matchers.iter().any(|one| one.op() == MatchOp::Equal && one.name() == name && one.value() == value)
        };
        if !required.all(|(name, value)| has(name, value)) {
            return None;
        }
        if !self.config.read_recent {
            let local_ms = local_from_ms().saturating_add(MARGIN_MS);
            if range.start_ms > local_ms {
                return None;
            }
            range.end_ms = range.end_ms.min(local_ms);
        }
        let asked = |name: &str| matchers.iter().any(|one| one.name() == name);
        let external = self.external.iter().filter(|(name, _)| self.config.filter_external_labels && !asked(name));
        let added: Vec<Matcher> = external.map(|(name, value)| Matcher::equal(name, value)).collect();
        let body = request(matchers.iter().chain(&added), range, hints);
        Some(Question { range, body, strip: added.iter().map(|one| one.name().to_owned()).collect() })
    }

    /// Asks. Whoever does not want the answer any more drops this.
    pub(super) async fn ask(self: Arc<Self>, question: Question) -> Result<Answer, RemoteError> {
        let began = self.env.clock.monotonic();
        self.counts.under_way.add(1.0);
        let under_way = UnderWay(&self.counts);
        let response = self.send(question.body).await;
        drop(under_way);
        self.counts.took().observe(self.env.clock.monotonic().saturating_sub(began).as_secs_f64());
        self.counts.done(response.as_ref().map_or("", |response| response.status.as_str()));
        let response = response?;
        let url = || self.config.url.to_string();
        if !response.status.is_success() {
            let words = String::from_utf8_lossy(&response.body).trim().chars().take(1024).collect();
            return Err(RemoteError::Status { url: url(), status: response.status.to_string(), words });
        }
        let kind = response.header("content-type").to_owned();
        let (body, claim) = (response.body, response.claim.inspect(Claim::settle));
        let answer = if kind.starts_with("application/x-protobuf") {
            Answer::of_samples(body, claim, question.range)
        } else if kind.starts_with("application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse") {
            Answer::of_chunks(body, claim, question.range, self.config.chunked_read_limit)
        } else {
            return Err(RemoteError::ContentType(kind));
        };
        let mut answer = answer.map_err(|source| RemoteError::Answer { url: url(), source })?;
        answer.strip(&question.strip.iter().map(String::as_str).collect::<Vec<_>>());
        Ok(answer)
    }

    async fn send(&self, body: Bytes) -> Result<Response, RemoteError> {
        let client = self.client.as_ref().map_err(|words| RemoteError::Config(words.clone()))?;
        let url = self.config.url.to_string();
        let failed = |source| RemoteError::Client { url: url.clone(), source };
        let address: Uri = self
            .config
            .url
            .as_str()
            .parse()
            .map_err(|error: http::uri::InvalidUri| failed(ClientError::Url(url.clone(), error.to_string())))?;
        let mut headers = HeaderMap::new();
        for (name, value) in &self.config.headers {
            let invalid = || failed(ClientError::Header(name.clone()));
            let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid())?;
            headers.insert(parsed, HeaderValue::from_str(value).map_err(|_| invalid())?);
        }
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("snappy"));
        headers.insert(http::header::ACCEPT_ENCODING, HeaderValue::from_static("snappy"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        headers.insert("x-prometheus-remote-read-version", HeaderValue::from_static("0.1.0"));
        let request = Request {
            method: Method::POST,
            url: address,
            headers,
            body,
            body_limit: limits::READ_BODY_BYTES,
            budget: Some(self.budget.clone()),
        };
        match self.env.clock.timeout(self.config.remote_timeout, client.send(request)).await {
            Ok(answered) => answered.map_err(failed),
            Err(_) => Err(failed(ClientError::Deadline)),
        }
    }
}

/// Writes `prometheus.ReadRequest`, packed.
fn request<'m>(matchers: impl Iterator<Item = &'m Matcher>, range: TimeRange, hints: &Hints) -> Bytes {
    let mut query = Vec::new();
    put_number(&mut query, 1, range.start_ms as u64);
    put_number(&mut query, 2, range.end_ms as u64);
    for matcher in matchers {
        let mut message = Vec::new();
        put_number(
            &mut message,
            1,
            match matcher.op() {
                MatchOp::Equal => 0,
                MatchOp::NotEqual => 1,
                MatchOp::Regex => 2,
                MatchOp::NotRegex => 3,
            },
        );
        put_bytes(&mut message, 2, matcher.name().as_bytes());
        put_bytes(&mut message, 3, matcher.value().as_bytes());
        put_bytes(&mut query, 3, &message);
    }
    let mut told = Vec::new();
    put_number(&mut told, 1, hints.step_ms as u64);
    put_bytes(&mut told, 2, hints.function.as_bytes());
    put_number(&mut told, 3, range.start_ms as u64);
    put_number(&mut told, 4, range.end_ms as u64);
    put_number(&mut told, 7, hints.range_ms as u64);
    put_bytes(&mut query, 4, &told);
    let mut message = Vec::new();
    put_bytes(&mut message, 1, &query);
    let mut accepted = Vec::new();
    ACCEPTED.iter().for_each(|kind| put_varint(&mut accepted, *kind));
    put_bytes(&mut message, 2, &accepted);
    // Too long for snappy's block form it cannot be: matchers are bounded.
    snap::raw::Encoder::new().compress_vec(&message).unwrap_or_default().into()
}
