//! POSTs of JSON, for webhooks and external Alertmanagers.

use crate::config::http_client::HttpClientConfig;
use crate::config::{FilePath, Secret, TlsConfig};
use crate::env::Env;
use crate::net::options::{Auth, SecretSource};
use crate::net::tls::TlsOptions;
use crate::net::{Client, ClientOptions, Request};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Method};

/// How much of an answer is read.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// What a server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// The status code.
    pub status: u16,
    /// The beginning of the body.
    pub body: String,
}

fn source(text: &str, file: &FilePath) -> Option<SecretSource> {
    match (text.is_empty(), file.is_empty()) {
        (false, _) => Some(SecretSource::Text(text.to_owned())),
        (true, false) => Some(SecretSource::File(file.path().to_owned())),
        (true, true) => None,
    }
}

fn secret(text: &Secret, file: &FilePath) -> Option<SecretSource> {
    source(text.reveal(), file)
}

fn tls(config: &TlsConfig) -> TlsOptions {
    TlsOptions {
        ca: source(&config.ca, &config.ca_file),
        cert: source(&config.cert, &config.cert_file),
        key: secret(&config.key, &config.key_file),
        server_name: Some(config.server_name.clone()).filter(|name| !name.is_empty()),
        insecure_skip_verify: config.insecure_skip_verify,
        tls13_only: config.min_version == "TLS13",
        tls12_only: config.max_version == "TLS12",
    }
}

fn options(config: &HttpClientConfig) -> ClientOptions {
    let auth = match (&config.basic_auth, &config.authorization) {
        (Some(basic), _) => Auth::Basic {
            user: source(&basic.username, &basic.username_file),
            password: secret(&basic.password, &basic.password_file),
        },
        (None, Some(authorization)) => Auth::Header {
            kind: if authorization.kind.is_empty() { "Bearer".to_owned() } else { authorization.kind.clone() },
            credentials: secret(&authorization.credentials, &authorization.credentials_file),
        },
        (None, None) => Auth::None,
    };
    let mut headers = Vec::new();
    for (name, values) in &config.http_headers {
        let texts = values.values.iter().map(|text| SecretSource::Text(text.clone()));
        let secrets = values.secrets.iter().map(|text| SecretSource::Text(text.reveal().to_owned()));
        let files = values.files.iter().map(|file| SecretSource::File(file.path().to_owned()));
        headers.extend(texts.chain(secrets).chain(files).map(|source| (name.clone(), source)));
    }
    let proxy_url = config.proxy.proxy_url.as_str();
    ClientOptions {
        auth,
        tls: tls(&config.tls_config),
        headers,
        proxy_url: (!proxy_url.is_empty()).then(|| proxy_url.to_owned()),
        no_proxy: config.proxy.no_proxy.clone(),
        follow_redirects: config.follow_redirects,
        ..ClientOptions::default()
    }
}

/// Posts a JSON body and reads the answer, whatever its status. The caller sets the deadline.
///
/// # Errors
/// In words, when there is no answer.
pub(super) async fn post(
    env: &Env,
    config: &HttpClientConfig,
    url: &str,
    mut headers: HeaderMap,
    body: Vec<u8>,
) -> Result<Answer, String> {
    let client = Client::new(env, options(config));
    let url = url.parse().map_err(|_| "the URL is none".to_owned())?;
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let request = Request { method: Method::POST, url, headers, body: body.into(), body_limit: ANSWER_BYTES_MAX, budget: None };
    let response = client.send(request).await.map_err(|error| chain(&error))?;
    let status = response.status.as_u16();
    Ok(Answer { status, body: String::from_utf8_lossy(&response.body).into_owned() })
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        words = format!("{words}: {cause}");
        source = cause.source();
    }
    words
}
