//! How an HTTP client shows itself to the other side: authentication, TLS, proxy, headers. Prometheus's `http_config`, whose
//! keys stand among a scrape configuration's own.

use super::error::ConfigError;
use super::section::section;
use super::values::{FilePath, Secret, Url};
use super::yaml::Node;
use std::collections::BTreeMap;

section! {
    /// User and password.
    pub struct BasicAuth "basic auth" {
        /// The user.
        username: String = String::new(),
        /// A file that holds the user.
        username_file: FilePath = FilePath::default(),
        /// A name in a secret store; not supported by the server.
        username_ref: String = String::new(),
        /// The password.
        password: Secret = Secret::default(),
        /// A file that holds the password, read at each request.
        password_file: FilePath = FilePath::default(),
        /// A name in a secret store; not supported by the server.
        password_ref: String = String::new(),
    }

    /// The `Authorization` header.
    pub struct Authorization "authorization" {
        /// The scheme; empty: `Bearer`.
        kind "type": String = String::new(),
        /// What follows it.
        credentials: Secret = Secret::default(),
        /// A file that holds it, read at each request.
        credentials_file: FilePath = FilePath::default(),
        /// A name in a secret store; not supported by the server.
        credentials_ref: String = String::new(),
    }

    /// TLS of a client.
    pub struct TlsConfig "TLS configuration" {
        /// Authorities, PEM.
        ca: String = String::new(),
        /// The client's certificate, PEM.
        cert: String = String::new(),
        /// The client's key, PEM.
        key: Secret = Secret::default(),
        /// A file of authorities.
        ca_file: FilePath = FilePath::default(),
        /// A file with the client's certificate.
        cert_file: FilePath = FilePath::default(),
        /// A file with the client's key.
        key_file: FilePath = FilePath::default(),
        /// A name in a secret store; not supported by the server.
        ca_ref: String = String::new(),
        /// A name in a secret store; not supported by the server.
        cert_ref: String = String::new(),
        /// A name in a secret store; not supported by the server.
        key_ref: String = String::new(),
        /// The name to check the server's certificate against, and to send as SNI.
        server_name: String = String::new(),
        /// Whether any certificate will do.
        insecure_skip_verify: bool = false,
        /// The lowest version: `TLS10` to `TLS13`; empty: TLS 1.2.
        min_version: String = String::new(),
        /// The highest version; empty: no bound.
        max_version: String = String::new(),
    } check check_tls;

    /// Proxies.
    pub struct ProxyConfig "proxy configuration" {
        /// The proxy.
        proxy_url: Url = Url::default(),
        /// Hosts that are asked without proxy, separated by commas.
        no_proxy: String = String::new(),
        /// Whether `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` count.
        proxy_from_environment: bool = false,
        /// Headers for CONNECT.
        proxy_connect_header: BTreeMap<String, Vec<Secret>> = BTreeMap::new(),
    } check check_proxy;

    /// OAuth 2.0, client credentials.
    pub struct OAuth2 "oauth2" {
        /// The client.
        client_id: String = String::new(),
        /// Its secret.
        client_secret: Secret = Secret::default(),
        /// A file that holds its secret.
        client_secret_file: FilePath = FilePath::default(),
        /// A name in a secret store; not supported by the server.
        client_secret_ref: String = String::new(),
        /// Which key signs the assertion.
        client_certificate_key_id: String = String::new(),
        /// The key that signs the assertion.
        client_certificate_key: Secret = Secret::default(),
        /// A file that holds that key.
        client_certificate_key_file: FilePath = FilePath::default(),
        /// A name in a secret store; not supported by the server.
        client_certificate_key_ref: String = String::new(),
        /// `client_credentials` or the JWT grant.
        grant_type: String = String::new(),
        /// How the assertion is signed.
        signature_algorithm: String = String::new(),
        /// The assertion's issuer.
        iss: String = String::new(),
        /// The assertion's audience.
        audience: String = String::new(),
        /// Further claims.
        claims: BTreeMap<String, String> = BTreeMap::new(),
        /// Scopes to ask for.
        scopes: Vec<String> = Vec::new(),
        /// Where tokens come from.
        token_url: String = String::new(),
        /// Further parameters.
        endpoint_params: BTreeMap<String, String> = BTreeMap::new(),
        /// TLS towards `token_url`.
        tls_config: TlsConfig = TlsConfig::default(),
    } inline {
        /// The proxy towards `token_url`.
        proxy: ProxyConfig,
    }

    /// Values of one header.
    pub struct HeaderValues "HTTP header" {
        /// Values that may be shown.
        values: Vec<String> = Vec::new(),
        /// Values that may not.
        secrets: Vec<Secret> = Vec::new(),
        /// Files that hold values.
        files: Vec<FilePath> = Vec::new(),
    }

    /// An HTTP client.
    pub struct HttpClientConfig "HTTP client configuration" {
        /// User and password.
        basic_auth: Option<BasicAuth> = None,
        /// The `Authorization` header.
        authorization: Option<Authorization> = None,
        /// OAuth 2.0.
        oauth2: Option<OAuth2> = None,
        /// The older form of `authorization`; reading moves it there.
        bearer_token: Secret = Secret::default(),
        /// The older form of `authorization.credentials_file`; reading moves it there.
        bearer_token_file: FilePath = FilePath::default(),
        /// TLS.
        tls_config: TlsConfig = TlsConfig::default(),
        /// Whether redirects are followed.
        follow_redirects: bool = true,
        /// Whether HTTP/2 may be spoken.
        enable_http2: bool = true,
        /// Further headers.
        http_headers: BTreeMap<String, HeaderValues> = BTreeMap::new(),
    } inline {
        /// Proxies.
        proxy: ProxyConfig,
    } check check_client;
}

const TLS_VERSIONS: [&str; 5] = ["", "TLS10", "TLS11", "TLS12", "TLS13"];

fn check_tls(tls: &mut TlsConfig, node: &Node) -> Result<(), ConfigError> {
    let given = |texts: [bool; 3]| texts.into_iter().filter(|given| *given).count();
    if given([!tls.ca.is_empty(), !tls.ca_file.is_empty(), !tls.ca_ref.is_empty()]) > 1 {
        return Err(node.error("at most one of ca, ca_file & ca_ref must be configured"));
    }
    if given([!tls.cert.is_empty(), !tls.cert_file.is_empty(), !tls.cert_ref.is_empty()]) > 1 {
        return Err(node.error("at most one of cert, cert_file & cert_ref must be configured"));
    }
    if given([!tls.key.is_empty(), !tls.key_file.is_empty(), !tls.key_ref.is_empty()]) > 1 {
        return Err(node.error("at most one of key and key_file must be configured"));
    }
    let cert = !tls.cert.is_empty() || !tls.cert_file.is_empty() || !tls.cert_ref.is_empty();
    let key = !tls.key.is_empty() || !tls.key_file.is_empty() || !tls.key_ref.is_empty();
    if cert && !key {
        return Err(node.error("exactly one of key or key_file must be configured when a client certificate is configured"));
    }
    if key && !cert {
        return Err(node.error("exactly one of cert or cert_file must be configured when a client key is configured"));
    }
    for (name, version) in [("min_version", &tls.min_version), ("max_version", &tls.max_version)] {
        if !TLS_VERSIONS.contains(&version.as_str()) {
            return Err(node.error_at(name, format!("unknown TLS version: {version}")));
        }
    }
    if !tls.max_version.is_empty() && tls.min_version > tls.max_version {
        return Err(
            node.error("tls_config.max_version must be greater than or equal to tls_config.min_version if both are specified")
        );
    }
    Ok(())
}

fn check_proxy(proxy: &mut ProxyConfig, node: &Node) -> Result<(), ConfigError> {
    let url = !proxy.proxy_url.is_empty();
    if !proxy.proxy_connect_header.is_empty() && !url && !proxy.proxy_from_environment {
        return Err(
            node.error("if proxy_connect_header is configured, proxy_url or proxy_from_environment must also be configured")
        );
    }
    if proxy.proxy_from_environment && url {
        return Err(node.error_at("proxy_url", "if proxy_from_environment is configured, proxy_url must not be configured"));
    }
    if proxy.proxy_from_environment && !proxy.no_proxy.is_empty() {
        return Err(node.error_at("no_proxy", "if proxy_from_environment is configured, no_proxy must not be configured"));
    }
    if !url && !proxy.no_proxy.is_empty() {
        return Err(node.error_at("no_proxy", "if no_proxy is configured, proxy_url must also be configured"));
    }
    Ok(())
}

/// Headers that are set by other keys or by the protocol, in lower case.
const RESERVED_HEADERS: [&str; 15] = [
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
    "www-authenticate",
    "accept-encoding",
    "x-prometheus-remote-write-version",
    "x-prometheus-remote-read-version",
    "x-prometheus-scrape-timeout-seconds",
];

fn count(given: impl IntoIterator<Item = bool>) -> usize {
    given.into_iter().filter(|given| *given).count()
}

fn check_client(client: &mut HttpClientConfig, node: &Node) -> Result<(), ConfigError> {
    let bearer = !client.bearer_token.is_empty();
    let bearer_file = !client.bearer_token_file.is_empty();
    if bearer && bearer_file {
        return Err(node.error_at("bearer_token", "at most one of bearer_token & bearer_token_file must be configured"));
    }
    let others = [client.basic_auth.is_some(), client.oauth2.is_some()];
    if (bearer || bearer_file) && count(others) > 0 {
        return Err(node.error("at most one of basic_auth, oauth2, bearer_token & bearer_token_file must be configured"));
    }
    if let Some(basic) = &client.basic_auth {
        check_basic(basic, node)?;
    }
    check_authorization(client, node)?;
    if let Some(oauth2) = &client.oauth2 {
        if client.basic_auth.is_some() {
            return Err(node.error("at most one of basic_auth, oauth2 & authorization must be configured"));
        }
        check_oauth2(oauth2, node)?;
    }
    for name in client.http_headers.keys() {
        if RESERVED_HEADERS.contains(&name.to_ascii_lowercase().as_str()) {
            let message = format!("setting header {name:?} is not allowed");
            return Err(node.get("http_headers").unwrap_or(node).error(message));
        }
    }
    Ok(())
}

fn check_basic(basic: &BasicAuth, node: &Node) -> Result<(), ConfigError> {
    let users = [!basic.username.is_empty(), !basic.username_file.is_empty(), !basic.username_ref.is_empty()];
    if count(users) > 1 {
        let message = "at most one of basic_auth username, username_file & username_ref must be configured";
        return Err(node.error_at("basic_auth", message));
    }
    let passwords = [!basic.password.is_empty(), !basic.password_file.is_empty(), !basic.password_ref.is_empty()];
    if count(passwords) > 1 {
        let message = "at most one of basic_auth password, password_file & password_ref must be configured";
        return Err(node.error_at("basic_auth", message));
    }
    Ok(())
}

fn check_authorization(client: &mut HttpClientConfig, node: &Node) -> Result<(), ConfigError> {
    if let Some(authorization) = &mut client.authorization {
        if !client.bearer_token.is_empty() || !client.bearer_token_file.is_empty() {
            return Err(node.error_at("authorization", "authorization is not compatible with bearer_token & bearer_token_file"));
        }
        let given = [
            !authorization.credentials.is_empty(),
            !authorization.credentials_file.is_empty(),
            !authorization.credentials_ref.is_empty(),
        ];
        if count(given) > 1 {
            let message = "at most one of authorization credentials & credentials_file must be configured";
            return Err(node.error_at("authorization", message));
        }
        authorization.kind = authorization.kind.trim().to_owned();
        if authorization.kind.is_empty() {
            "Bearer".clone_into(&mut authorization.kind);
        }
        if authorization.kind.eq_ignore_ascii_case("basic") {
            let message = "authorization type cannot be set to \"basic\", use \"basic_auth\" instead";
            return Err(node.error_at("authorization", message));
        }
        if client.basic_auth.is_some() || client.oauth2.is_some() {
            let message = "at most one of basic_auth, oauth2 & authorization must be configured";
            return Err(node.error_at("authorization", message));
        }
    } else if !client.bearer_token.is_empty() || !client.bearer_token_file.is_empty() {
        client.authorization = Some(Authorization {
            kind: "Bearer".to_owned(),
            credentials: std::mem::take(&mut client.bearer_token),
            credentials_file: std::mem::take(&mut client.bearer_token_file),
            credentials_ref: String::new(),
        });
    }
    Ok(())
}

fn check_oauth2(oauth2: &OAuth2, node: &Node) -> Result<(), ConfigError> {
    if oauth2.client_id.is_empty() {
        return Err(node.error_at("oauth2", "oauth2 client_id must be configured"));
    }
    if oauth2.token_url.is_empty() {
        return Err(node.error_at("oauth2", "oauth2 token_url must be configured"));
    }
    let secrets = [!oauth2.client_secret.is_empty(), !oauth2.client_secret_file.is_empty(), !oauth2.client_secret_ref.is_empty()];
    if count(secrets) > 1 {
        return Err(node.error_at(
            "oauth2",
            "at most one of oauth2 client_secret, client_secret_file & client_secret_ref must be configured",
        ));
    }
    Ok(())
}
