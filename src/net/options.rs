//! How a client shows itself: authentication, headers, TLS, proxy.

use super::error::ClientError;
use super::oauth2::OAuth2Options;
use super::tls::TlsOptions;
use crate::env::Env;
use crate::model::base64::encode as base64;
use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use std::path::PathBuf;

/// A secret: given, or in a file that is read at each use.
#[derive(Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// The secret itself.
    Text(String),
    /// Where it lies; blanks around it do not count.
    File(PathBuf),
}

impl std::fmt::Debug for SecretSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(_) => f.write_str("<secret>"),
            Self::File(path) => write!(f, "file {}", path.display()),
        }
    }
}

impl SecretSource {
    /// Returns the secret.
    ///
    /// # Errors
    /// When its file cannot be read.
    pub async fn read(&self, env: &Env) -> Result<String, ClientError> {
        match self {
            Self::Text(text) => Ok(text.clone()),
            Self::File(path) => {
                let bytes = read_file(env, path.clone()).await?;
                Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
            }
        }
    }
}

/// Reads a file on a thread made for that.
pub(super) async fn read_file(env: &Env, path: PathBuf) -> Result<Vec<u8>, ClientError> {
    let disk = std::sync::Arc::clone(&env.disk);
    let wanted = path.clone();
    let read = env.tasks.blocking(move || disk.read(&wanted)).await;
    let read = read.unwrap_or_else(|_| Err(std::io::Error::other("the reading thread ended")));
    read.map_err(|source| ClientError::SecretFile { path, source })
}

/// How a client proves who it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Auth {
    /// It does not.
    #[default]
    None,
    /// User and password.
    Basic {
        /// The user.
        user: Option<SecretSource>,
        /// The password.
        password: Option<SecretSource>,
    },
    /// `Authorization: KIND CREDENTIALS`.
    Header {
        /// The scheme, most often `Bearer`.
        kind: String,
        /// What follows it.
        credentials: Option<SecretSource>,
    },
}

/// All of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientOptions {
    /// Authentication.
    pub auth: Auth,
    /// OAuth 2.0 in place of it.
    pub oauth2: Option<Box<OAuth2Options>>,
    /// TLS.
    pub tls: TlsOptions,
    /// Further headers; a name may stand there more than once.
    pub headers: Vec<(String, SecretSource)>,
    /// `http://host:port` of a proxy.
    pub proxy_url: Option<String>,
    /// Hosts that are asked without it: names, `.suffixes`, `*`, addresses and networks, separated by commas.
    pub no_proxy: String,
    /// Headers for the proxy's CONNECT.
    pub proxy_headers: Vec<(String, SecretSource)>,
    /// Whether redirects are followed, ten at most.
    pub follow_redirects: bool,
    /// Whether HTTP/2 is offered to servers with TLS.
    pub http2: bool,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            auth: Auth::None,
            oauth2: None,
            tls: TlsOptions::default(),
            headers: Vec::new(),
            proxy_url: None,
            no_proxy: String::new(),
            proxy_headers: Vec::new(),
            follow_redirects: true,
            http2: true,
        }
    }
}

impl ClientOptions {
    /// Adds the headers that every request to the configured server carries.
    ///
    /// # Errors
    /// When a file cannot be read or a value cannot stand in a header.
    pub async fn add_headers(&self, env: &Env, headers: &mut HeaderMap) -> Result<(), ClientError> {
        match &self.auth {
            Auth::None => {}
            Auth::Basic { user, password } => {
                let (user, password) = (read_or_empty(user.as_ref(), env).await?, read_or_empty(password.as_ref(), env).await?);
                headers.insert(AUTHORIZATION, secret_header(&basic(&user, &password))?);
            }
            Auth::Header { kind, credentials } => {
                let credentials = read_or_empty(credentials.as_ref(), env).await?;
                headers.insert(AUTHORIZATION, secret_header(&format!("{kind} {credentials}"))?);
            }
        }
        append_headers(env, &self.headers, headers).await
    }
}

/// Adds configured headers.
pub(super) async fn append_headers(
    env: &Env,
    from: &[(String, SecretSource)],
    headers: &mut HeaderMap,
) -> Result<(), ClientError> {
    for (name, source) in from {
        let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| ClientError::Header(name.clone()))?;
        headers.append(parsed, secret_header(&source.read(env).await?)?);
    }
    Ok(())
}

async fn read_or_empty(source: Option<&SecretSource>, env: &Env) -> Result<String, ClientError> {
    match source {
        Some(source) => source.read(env).await,
        None => Ok(String::new()),
    }
}

fn secret_header(text: &str) -> Result<HeaderValue, ClientError> {
    // The text itself is never part of an error.
    let mut value = HeaderValue::from_str(text).map_err(|_| ClientError::Header("<secret>".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Returns the value of a basic `Authorization` header.
#[must_use]
pub fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", base64(format!("{user}:{password}").as_bytes()))
}
