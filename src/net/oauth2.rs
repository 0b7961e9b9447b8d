//! OAuth 2.0, client credentials: a token is asked for, kept until shortly before its end, and shown with each request.
//!
//! As Go's `clientcredentials`: the client names itself by basic authentication; a server that refuses that is asked once
//! more with id and secret in the form, and the way that worked is remembered.

use super::client::{Client, Request, Response};
use super::error::ClientError;
use super::options::{ClientOptions, SecretSource, basic};
use crate::env::Env;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{Method, StatusCode};
use serde_json::Value;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The longest answer of a token server, as Go reads it.
const ANSWER_BYTES: u64 = 1 << 20;
/// How long before its end a token is not used any more.
const MARGIN: Duration = Duration::from_secs(10);
/// How much of a refusal is told.
const TOLD_CHARS: usize = 200;

/// Where tokens come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OAuth2Options {
    /// The client.
    pub client_id: String,
    /// Its secret.
    pub client_secret: Option<SecretSource>,
    /// The token server.
    pub token_url: String,
    /// What is asked for.
    pub scopes: Vec<String>,
    /// Further parameters.
    pub endpoint_params: Vec<(String, String)>,
    /// TLS and proxy towards the token server.
    pub client: ClientOptions,
}

#[derive(Debug)]
struct Token {
    header: HeaderValue,
    /// On the monotonic clock; `None`: no end is known.
    ends: Option<Duration>,
}

/// Asks for tokens and keeps the present one.
#[derive(Debug)]
pub(super) struct TokenSource {
    env: Env,
    options: OAuth2Options,
    client: Client,
    /// Two that ask at once get a token each: the later one stays.
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    token: Option<Token>,
    /// Whether this server wants id and secret in the form.
    in_form: bool,
}

impl TokenSource {
    pub(super) fn new(env: &Env, options: &OAuth2Options) -> Self {
        let client = Client::new(env, options.client.clone());
        Self { env: env.clone(), options: options.clone(), client, held: Mutex::default() }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the value of `Authorization`.
    ///
    /// # Errors
    /// When there is no token to be had.
    pub(super) async fn header(&self) -> Result<HeaderValue, ClientError> {
        let now = self.env.clock.monotonic();
        let in_form = {
            let held = self.held();
            if let Some(token) = &held.token
                && token.ends.is_none_or(|ends| now < ends)
            {
                return Ok(token.header.clone());
            }
            held.in_form
        };
        let mut response = self.ask(in_form).await?;
        let mut worked = in_form;
        if response.status.is_client_error() {
            let other = self.ask(!in_form).await?;
            if other.status.is_success() {
                worked = !in_form;
                response = other;
            }
        }
        let token = read(&response, now)?;
        let header = token.header.clone();
        *self.held() = Held { token: Some(token), in_form: worked };
        Ok(header)
    }

    /// Forgets a token that was refused.
    pub(super) fn forget(&self) {
        self.held().token = None;
    }

    async fn ask(&self, in_form: bool) -> Result<Response, ClientError> {
        let options = &self.options;
        let secret = match &options.client_secret {
            Some(secret) => secret.read(&self.env).await?,
            None => String::new(),
        };
        let mut form = vec![("grant_type", "client_credentials".to_owned())];
        if !options.scopes.is_empty() {
            form.push(("scope", options.scopes.join(" ")));
        }
        form.extend(options.endpoint_params.iter().map(|(name, value)| (name.as_str(), value.clone())));
        let mut request = Request::get(&options.token_url, ANSWER_BYTES)?;
        request.method = Method::POST;
        if in_form {
            form.push(("client_id", options.client_id.clone()));
            form.push(("client_secret", secret));
        } else {
            let credentials = basic(&escape(&options.client_id), &escape(&secret));
            let mut value = HeaderValue::from_str(&credentials).map_err(|_| ClientError::Header("<secret>".to_owned()))?;
            value.set_sensitive(true);
            request.headers.insert(AUTHORIZATION, value);
        }
        request.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        request.headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let pairs: Vec<String> = form.iter().map(|(name, value)| format!("{}={}", escape(name), escape(value))).collect();
        request.body = Bytes::from(pairs.join("&"));
        // The token server's client has no tokens of its own: this does not go round.
        Box::pin(self.client.send(request)).await
    }
}

/// Understands the token server's answer, come at `now`.
fn read(response: &Response, now: Duration) -> Result<Token, ClientError> {
    let failed = |message: String| ClientError::Token(message);
    if response.status != StatusCode::OK {
        let text: String = String::from_utf8_lossy(&response.body).chars().take(TOLD_CHARS).collect();
        return Err(failed(format!("cannot fetch token: {}\nResponse: {text}", response.status)));
    }
    let answer: Value = serde_json::from_slice(&response.body).map_err(|error| failed(format!("cannot parse json: {error}")))?;
    let text = |name: &str| answer.get(name).and_then(Value::as_str).unwrap_or("");
    let token = text("access_token");
    if token.is_empty() {
        return Err(failed("server response missing access_token".to_owned()));
    }
    let kind = match text("token_type") {
        kind if kind.is_empty() || kind.eq_ignore_ascii_case("bearer") => "Bearer",
        kind => kind,
    };
    let mut header = HeaderValue::from_str(&format!("{kind} {token}")).map_err(|_| ClientError::Header("<secret>".to_owned()))?;
    header.set_sensitive(true);
    // Some servers write the number as a text.
    let seconds = answer.get("expires_in").and_then(|value| value.as_f64().or_else(|| value.as_str()?.parse().ok()));
    let lasts = seconds.filter(|seconds| *seconds > 0.0).and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    Ok(Token { header, ends: lasts.and_then(|lasts| now.checked_add(lasts.saturating_sub(MARGIN))) })
}

/// Escapes for a form.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            b' ' => out.push('+'),
            other => {
                out.push('%');
                for digit in [other >> 4, other & 15] {
                    out.push(char::from_digit(u32::from(digit), 16).unwrap_or('0').to_ascii_uppercase());
                }
            }
        }
    }
    out
}
