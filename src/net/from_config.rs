//! The configuration's `http_config` as client options.

use super::oauth2::OAuth2Options;
use super::options::{Auth, ClientOptions, SecretSource};
use super::tls::TlsOptions;
use crate::config::http_client::{BasicAuth, OAuth2, ProxyConfig};
use crate::config::{FilePath, HttpClientConfig, Secret, TlsConfig};
use std::collections::BTreeMap;

fn source(text: &str, file: &FilePath) -> Option<SecretSource> {
    if !file.is_empty() {
        Some(SecretSource::File(file.path().to_owned()))
    } else if text.is_empty() {
        None
    } else {
        Some(SecretSource::Text(text.to_owned()))
    }
}

fn tls(config: &TlsConfig) -> TlsOptions {
    TlsOptions {
        ca: source(&config.ca, &config.ca_file),
        cert: source(&config.cert, &config.cert_file),
        key: source(config.key.reveal(), &config.key_file),
        server_name: Some(config.server_name.clone()).filter(|name| !name.is_empty()),
        insecure_skip_verify: config.insecure_skip_verify,
        tls13_only: config.min_version == "TLS13",
        tls12_only: config.max_version == "TLS12",
    }
}

fn basic(config: &BasicAuth) -> Auth {
    Auth::Basic {
        user: source(&config.username, &config.username_file),
        password: source(config.password.reveal(), &config.password_file),
    }
}

fn oauth2(config: &OAuth2) -> Result<OAuth2Options, String> {
    if !matches!(config.grant_type.as_str(), "" | "client_credentials") {
        return Err(format!("oauth2 grant_type {:?} is not supported; supported: client_credentials", config.grant_type));
    }
    if !config.client_secret_ref.is_empty() {
        return Err("oauth2 client_secret_ref is not supported; supported: client_secret, client_secret_file".to_owned());
    }
    let (proxy_url, no_proxy) = proxy(&config.proxy, config.token_url.starts_with("https:"));
    Ok(OAuth2Options {
        client_id: config.client_id.clone(),
        client_secret: source(config.client_secret.reveal(), &config.client_secret_file),
        token_url: config.token_url.clone(),
        scopes: config.scopes.clone(),
        endpoint_params: config.endpoint_params.clone().into_iter().collect(),
        client: ClientOptions {
            tls: tls(&config.tls_config),
            proxy_url,
            no_proxy,
            proxy_headers: proxy_headers(&config.proxy.proxy_connect_header),
            ..ClientOptions::default()
        },
    })
}

fn proxy_headers(headers: &BTreeMap<String, Vec<Secret>>) -> Vec<(String, SecretSource)> {
    let pairs = headers.iter().flat_map(|(name, values)| values.iter().map(move |value| (name, value)));
    pairs.map(|(name, value)| (name.clone(), SecretSource::Text(value.reveal().to_owned()))).collect()
}

/// Reads the proxy's address: configured, or from the environment as Go reads it.
fn proxy(config: &ProxyConfig, tls: bool) -> (Option<String>, String) {
    if !config.proxy_from_environment {
        let url = Some(config.proxy_url.as_str().to_owned()).filter(|url| !url.is_empty());
        return (url, config.no_proxy.clone());
    }
    let variable = |upper: &str| {
        let found = std::env::var(upper).or_else(|_| std::env::var(upper.to_ascii_lowercase())).unwrap_or_default();
        Some(found).filter(|value| !value.is_empty())
    };
    let url = variable(if tls { "HTTPS_PROXY" } else { "HTTP_PROXY" });
    let url = url.map(|url| if url.contains("://") { url } else { format!("http://{url}") });
    (url, variable("NO_PROXY").unwrap_or_default())
}

impl ClientOptions {
    /// Returns what the configuration says, for a server of scheme https (`tls`) or http.
    ///
    /// # Errors
    /// In words, where it asks for what this client cannot do.
    pub fn from_config(config: &HttpClientConfig, tls_scheme: bool) -> Result<Self, String> {
        let oauth2 = config.oauth2.as_ref().map(|config| oauth2(config).map(Box::new)).transpose()?;
        let auth = match (&config.basic_auth, &config.authorization) {
            (Some(config), _) => basic(config),
            (None, Some(config)) => Auth::Header {
                kind: if config.kind.is_empty() { "Bearer".to_owned() } else { config.kind.clone() },
                credentials: source(config.credentials.reveal(), &config.credentials_file),
            },
            (None, None) => Auth::None,
        };
        let mut headers = Vec::new();
        for (name, values) in &config.http_headers {
            let texts = values.values.iter().map(String::as_str).chain(values.secrets.iter().map(Secret::reveal));
            headers.extend(texts.map(|text| (name.clone(), SecretSource::Text(text.to_owned()))));
            headers.extend(values.files.iter().map(|file| (name.clone(), SecretSource::File(file.path().to_owned()))));
        }
        let (proxy_url, no_proxy) = proxy(&config.proxy, tls_scheme);
        Ok(Self {
            auth,
            oauth2,
            tls: tls(&config.tls_config),
            headers,
            proxy_url,
            no_proxy,
            proxy_headers: proxy_headers(&config.proxy.proxy_connect_header),
            follow_redirects: config.follow_redirects,
            http2: config.enable_http2,
        })
    }
}
