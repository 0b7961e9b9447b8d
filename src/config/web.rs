//! `web`: Prometheus's web configuration file, and what we add: external address, hosts, roles, tokens.

use super::error::ConfigError;
use super::section::{section, words};
use super::values::{FilePath, Secret, Url};
use super::yaml::Node;
use std::collections::BTreeMap;

words! {
    /// What a user may do.
    pub enum Role "role" {
        /// Everything.
        Operator = "operator",
        /// Looking.
        Viewer = "viewer",
    }

    /// How clients show certificates.
    pub enum ClientAuth "client_auth_type" {
        /// They need none.
        NoClientCert = "NoClientCert",
        /// They are asked, nothing is checked.
        RequestClientCert = "RequestClientCert",
        /// One is needed, whichever.
        RequireAnyClientCert = "RequireAnyClientCert",
        /// One that is shown must be good.
        VerifyClientCertIfGiven = "VerifyClientCertIfGiven",
        /// A good one is needed.
        RequireAndVerifyClientCert = "RequireAndVerifyClientCert",
    }
}

section! {
    /// TLS of the server.
    pub struct TlsServerConfig "tls_server_config" {
        /// Certificate, PEM.
        cert: String = String::new(),
        /// Key, PEM.
        key: Secret = Secret::default(),
        /// Authorities for clients, PEM.
        client_ca: String = String::new(),
        /// A file with the certificate.
        cert_file: FilePath = FilePath::default(),
        /// A file with the key.
        key_file: FilePath = FilePath::default(),
        /// Whether and how clients show certificates.
        client_auth_type: Option<ClientAuth> = None,
        /// A file of authorities for clients.
        client_ca_file: FilePath = FilePath::default(),
        /// Names, one of which a client's certificate must have.
        client_allowed_sans: Vec<String> = Vec::new(),
        /// Suites of TLS 1.2, by Go's names.
        cipher_suites: Vec<String> = Vec::new(),
        /// Curves, by Go's names.
        curve_preferences: Vec<String> = Vec::new(),
        /// The lowest version; empty: `TLS12`.
        min_version: String = String::new(),
        /// The highest version; empty: `TLS13`.
        max_version: String = String::new(),
        /// Without effect, as in Go.
        prefer_server_cipher_suites: bool = true,
    } check check_tls;

    /// Headers of every answer.
    pub struct SecurityHeaders "http_server_config.headers" {
        /// As the header of this name.
        content_security_policy "Content-Security-Policy": String = String::new(),
        /// As the header of this name.
        x_frame_options "X-Frame-Options": String = String::new(),
        /// As the header of this name.
        x_content_type_options "X-Content-Type-Options": String = String::new(),
        /// As the header of this name.
        x_xss_protection "X-XSS-Protection": String = String::new(),
        /// As the header of this name.
        strict_transport_security "Strict-Transport-Security": String = String::new(),
    } check check_headers;

    /// HTTP of the server.
    pub struct HttpServerConfig "http_server_config" {
        /// Whether HTTP/2 is spoken, which needs TLS.
        http2: bool = true,
        /// Headers of every answer.
        headers: SecurityHeaders = SecurityHeaders::default(),
    }

    /// How many requests are taken.
    pub struct RateLimitConfig "rate_limit" {
        /// Time between two requests.
        interval: std::time::Duration = std::time::Duration::ZERO,
        /// How many at once.
        burst: u64 = 0,
    }

    /// A token that stands for a user.
    pub struct ApiToken "api token" {
        /// Its name in logs.
        name: String = String::new(),
        /// What its bearer may do.
        role: Role = Role::Operator,
        /// The token.
        token: Secret = Secret::default(),
        /// A file that holds the token.
        token_file: FilePath = FilePath::default(),
    } check check_token;

    /// The whole section.
    pub struct WebConfig "web" {
        /// TLS; `None`: plain HTTP.
        tls_server_config: Option<TlsServerConfig> = None,
        /// HTTP.
        http_server_config: HttpServerConfig = HttpServerConfig::default(),
        /// User -> bcrypt hash.
        basic_auth_users: BTreeMap<String, Secret> = BTreeMap::new(),
        /// How many requests are taken.
        rate_limit: Option<RateLimitConfig> = None,
        /// How others reach this server; links in mails, and the path prefix.
        external_url: Url = Url::default(),
        /// Host names that requests may ask for; empty: the external URL's and loopback.
        allowed_hosts: Vec<String> = Vec::new(),
        /// User -> what they may do; who is not named is an operator.
        roles: BTreeMap<String, Role> = BTreeMap::new(),
        /// Tokens for scripts.
        api_tokens: Vec<ApiToken> = Vec::new(),
        /// Who may show the pages in a frame besides this server: sources as in `frame-ancestors` of a content security policy.
        frame_ancestors: Vec<String> = Vec::new(),
        /// Files of dashboards; the last part may hold `*`. `None`: `dashboards/*.json` beside the configuration file.
        dashboards: Option<Vec<FilePath>> = None,
    } check check_web;
}

const VERSIONS: [&str; 5] = ["", "TLS10", "TLS11", "TLS12", "TLS13"];

fn check_tls(tls: &mut TlsServerConfig, node: &Node) -> Result<(), ConfigError> {
    match (tls.cert.is_empty() && tls.cert_file.is_empty(), tls.key.is_empty() && tls.key_file.is_empty()) {
        (true, true) => return Err(node.error("missing one of cert or cert_file")),
        (true, false) => return Err(node.error("missing one of cert or cert_file")),
        (false, true) => return Err(node.error("missing one of key or key_file")),
        (false, false) => {}
    }
    let both = [
        ("cert_file", !tls.cert.is_empty() && !tls.cert_file.is_empty(), "cert and cert_file"),
        ("key_file", !tls.key.is_empty() && !tls.key_file.is_empty(), "key and key_file"),
        ("client_ca_file", !tls.client_ca.is_empty() && !tls.client_ca_file.is_empty(), "client_ca and client_ca_file"),
    ];
    for (key, given, names) in both {
        if given {
            return Err(node.error_at(key, format!("at most one of {names} can be set")));
        }
    }
    let authority = !tls.client_ca.is_empty() || !tls.client_ca_file.is_empty();
    let auth = tls.client_auth_type.unwrap_or_default();
    if authority && auth == ClientAuth::NoClientCert {
        return Err(node.error("client CAs have been configured without a client auth type that uses them"));
    }
    for (key, version) in [("min_version", &tls.min_version), ("max_version", &tls.max_version)] {
        if !VERSIONS.contains(&version.as_str()) {
            return Err(node.error_at(key, format!("unknown TLS version: {version}")));
        }
    }
    Ok(())
}

fn check_headers(headers: &mut SecurityHeaders, node: &Node) -> Result<(), ConfigError> {
    let known: [(&str, &str, &[&str]); 2] = [
        ("X-Frame-Options", &headers.x_frame_options, &["", "deny", "sameorigin"]),
        ("X-Content-Type-Options", &headers.x_content_type_options, &["", "nosniff"]),
    ];
    for (key, value, words) in known {
        if !words.contains(&value.to_ascii_lowercase().as_str()) {
            return Err(node.error_at(key, format!("invalid value for {key}: expected one of {:?}, got {value:?}", &words[1..])));
        }
    }
    Ok(())
}

fn check_token(token: &mut ApiToken, node: &Node) -> Result<(), ConfigError> {
    if token.name.is_empty() {
        return Err(node.error("an API token needs a name"));
    }
    if token.token.is_empty() == token.token_file.is_empty() {
        return Err(node.error("an API token needs one of token and token_file"));
    }
    Ok(())
}

fn check_web(web: &mut WebConfig, node: &Node) -> Result<(), ConfigError> {
    if let (Some(place), false) = (node.get("external_url"), web.external_url.is_empty()) {
        let well_formed = matches!(web.external_url.scheme(), Some("http" | "https")) && !web.external_url.host().is_empty();
        if !well_formed {
            return Err(place.error("external_url must be like https://watch.example.org"));
        }
    }
    let is_source =
        |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && !b";,'\"".contains(&byte));
    if let Some(source) = web.frame_ancestors.iter().find(|source| !is_source(source)) {
        return Err(node.error_at("frame_ancestors", format!("frame_ancestors: {source:?} is not like https://intranet.example")));
    }
    let users = node.get("basic_auth_users");
    for (user, hash) in &web.basic_auth_users {
        let place = users.and_then(|users| users.get(user)).unwrap_or(node);
        if !is_bcrypt(hash.reveal()) {
            return Err(place.error(format!("the password of {user:?} is not a bcrypt hash")));
        }
    }
    if let Some(user) = web.roles.keys().find(|user| !web.basic_auth_users.contains_key(*user)) {
        return Err(node.error_at("roles", format!("role for {user:?}, who is not in basic_auth_users")));
    }
    Ok(())
}

/// Returns whether a text has the form `$2b$10$` and 53 characters.
fn is_bcrypt(hash: &str) -> bool {
    let mut parts = hash.split('$');
    let head = [parts.next(), parts.next(), parts.next()];
    let cost = head[2].and_then(|cost| cost.parse::<u32>().ok());
    head[0] == Some("")
        && matches!(head[1], Some("2a" | "2b" | "2x" | "2y" | "2"))
        && cost.is_some_and(|cost| (4..=31).contains(&cost))
        && parts.next().is_some_and(|rest| rest.len() == 53)
        && parts.next().is_none()
}
