//! Speaks to a running server's API: where it is, who we are, and what it answers.

use crate::env::Env;
use crate::net::options::{Auth, ClientOptions, SecretSource};
use crate::net::{Client, Request};
use anyhow::{Context as _, bail};
use clap::Args;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Method};
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;

/// The largest answer, in bytes.
const ANSWER_BYTES_MAX: u64 = 1 << 30;

/// Where the server is, and who asks.
#[derive(Clone, Debug, Args)]
pub(super) struct ServerArgs {
    /// The server.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9090")]
    pub(super) url: String,
    /// A user of `basic_auth_users`.
    #[arg(long, value_name = "NAME")]
    username: Option<String>,
    /// A file with the user's password.
    #[arg(long, value_name = "FILE", requires = "username")]
    password_file: Option<PathBuf>,
    /// A file with a token of `api_tokens`.
    #[arg(long, value_name = "FILE", conflicts_with = "username")]
    token_file: Option<PathBuf>,
    /// How long to wait for an answer.
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = duration)]
    timeout: Duration,
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    crate::model::duration::parse(text).map_err(|error| error.to_string())
}

/// A server to ask.
pub(super) struct Server {
    env: Env,
    base: String,
    client: Client,
    timeout: Duration,
}

impl Server {
    /// Takes the arguments; nothing is asked yet. Must be used within a runtime.
    pub(super) fn new(args: &ServerArgs) -> Self {
        let env = Env::real();
        let auth = match (&args.username, &args.token_file) {
            (Some(user), _) => Auth::Basic {
                user: Some(SecretSource::Text(user.clone())),
                password: args.password_file.clone().map(SecretSource::File),
            },
            (None, Some(file)) => Auth::Header { kind: "Bearer".to_owned(), credentials: Some(SecretSource::File(file.clone())) },
            (None, None) => Auth::None,
        };
        let client = Client::new(&env, ClientOptions { auth, ..ClientOptions::default() });
        Self { env, base: args.url.trim_end_matches('/').to_owned(), client, timeout: args.timeout }
    }

    /// Sends a form to one of the API's paths (or asks it by GET where there is no form) and returns the `data` of the answer
    /// with its warnings and infos.
    pub(super) async fn data(&self, path: &str, form: Option<&[(&str, &str)]>) -> anyhow::Result<Answer> {
        let body = form.map(encode);
        let (status, text) = match body {
            Some(body) => self.send(Method::POST, path, "application/x-www-form-urlencoded", body.into()).await?,
            None => self.send(Method::GET, path, "", Vec::new()).await?,
        };
        let parsed: Result<Value, _> = serde_json::from_slice(&text);
        let Ok(mut answer) = parsed else {
            bail!("{}{path} answered {status}: {}", self.base, shorten(&text));
        };
        if answer["status"] != "success" {
            bail!("{}", answer["error"].as_str().unwrap_or("the server answered an error without saying which"));
        }
        let mut notes = Vec::new();
        for (kind, word) in [("warnings", "warning"), ("infos", "info")] {
            for note in answer[kind].as_array().into_iter().flatten() {
                notes.push(format!("{word}: {}", note.as_str().unwrap_or_default()));
            }
        }
        Ok(Answer { data: answer["data"].take(), notes })
    }

    /// Sends a request and returns status and body, whatever they are.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        content_type: &'static str,
        body: Vec<u8>,
    ) -> anyhow::Result<(u16, Vec<u8>)> {
        let url = format!("{}{path}", self.base);
        let mut headers = HeaderMap::new();
        if !content_type.is_empty() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        let base = Request::get(&url, ANSWER_BYTES_MAX)?;
        let request = Request { method, headers, body: body.into(), ..base };
        let sent = self.env.clock.timeout(self.timeout, self.client.send(request)).await;
        let response = sent.with_context(|| format!("no answer from {}", self.base))?;
        let response = response.with_context(|| format!("cannot ask {}", self.base))?;
        Ok((response.status.as_u16(), response.body))
    }
}

/// What a server answered.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    /// The data.
    pub(super) data: Value,
    /// Warnings and infos, each on a line.
    pub(super) notes: Vec<String>,
}

/// Writes a form.
pub(super) fn encode(pairs: &[(&str, &str)]) -> String {
    let parts: Vec<String> = pairs.iter().map(|(name, value)| format!("{}={}", escape(name), escape(value))).collect();
    parts.join("&")
}

/// Escapes a text for a URL's query or path.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push('%');
            for digit in [byte >> 4, byte & 15] {
                out.push(char::from_digit(u32::from(digit), 16).unwrap_or('0').to_ascii_uppercase());
            }
        }
    }
    out
}

fn shorten(body: &[u8]) -> String {
    String::from_utf8_lossy(body).chars().take(300).collect::<String>().trim().to_owned()
}

/// Runs one command's work on a small runtime of its own.
pub(super) fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_escaped() {
        assert_eq!(encode(&[("match[]", "up{a=\"é b\"}"), ("x", "1")]), "match%5B%5D=up%7Ba%3D%22%C3%A9%20b%22%7D&x=1");
    }
}
