//! Who may ask for what: names of the host, origins, users, tokens.
//!
//! A page of another site must not make a browser act here: whatever changes something needs an `Origin` of this server (or
//! none) and a `Host` that this server is known by, so that neither a foreign form nor a rebound DNS name gets through. Acts
//! that end or reshape the server need, from other hosts, authentication.
//!
//! Who somebody is, is shown by a password or a token with each request, or by the cookie of a session ([`session`]) that the
//! dashboard's login page began.

mod attempts;
mod credentials;
mod login;
mod session;

pub(super) use attempts::Attempts;
pub(super) use credentials::PasswordCache;
pub(super) use login::{login, logout, who_am_i};

use super::error::{ApiError, ErrorKind};
use super::state::ApiState;
use crate::config::web::{Role, WebConfig};
use attempts::Wait;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use credentials::Identity;
use std::net::{IpAddr, SocketAddr};

/// The client's address, put into each request by the accept loop.
#[derive(Clone, Copy, Debug)]
pub(in crate::api) struct Peer(pub(in crate::api) SocketAddr);

/// Who asks, as far as that was proved; put into each request by the middleware.
#[derive(Clone, Debug)]
pub(in crate::api) struct User(pub(in crate::api) String);

/// Whether the connection is encrypted; put into each request by the accept loop.
#[derive(Clone, Copy, Debug)]
pub(in crate::api) struct Encrypted(pub(in crate::api) bool);

/// Paths whose POST only reads: Prometheus takes long queries that way.
const READING_POSTS: [&str; 10] = [
    "/api/v1/query",
    "/api/v1/query_range",
    "/api/v1/query_exemplars",
    "/api/v1/series",
    "/api/v1/labels",
    "/api/v1/format_query",
    "/api/v1/parse_query",
    "/api/v1/read",
    "/api/watchkeeper/v1/rules/replay",
    "/api/watchkeeper/v1/zookeeper/rules/check",
];

/// Paths that others may use only with authentication.
fn is_privileged(path: &str) -> bool {
    path.starts_with("/api/v1/admin/") || matches!(path, "/-/quit" | "/-/reload" | "/api/watchkeeper/v1/compact")
}

/// The middleware.
pub(super) async fn guard(State(api): State<ApiState>, mut request: Request, next: Next) -> Response {
    let config = api.present_config();
    let web = &config.web;
    let peer = request.extensions().get::<Peer>().map(|peer| peer.0);
    let path = request.uri().path().to_owned();
    // A member's write is signed: who takes it looks at the signature, for which the whole body is needed.
    if path == super::cluster::WRITE_PATH && request.headers().contains_key(super::cluster::MEMBER) {
        return next.run(request).await;
    }
    let changes = changes_something(request.method(), &path);
    if changes
        && let Err(error) = check_origin(request.headers(), request.uri().authority().map(http::uri::Authority::as_str), web)
    {
        return error.into_response();
    }
    // A link's signature is the right to do what it says, and nothing else; members sign as well.
    if path.starts_with("/act/") || path == super::cluster::ROLE_PATH {
        return next.run(request).await;
    }
    let from = peer.map(|peer| peer.ip().to_canonical());
    let who = match who(&api, web, request.headers(), from).await {
        Ok(who) => who,
        Err(wait) => return wait.into_response(),
    };
    if let Some(identity) = &who {
        request.extensions_mut().insert(identity.clone());
        request.extensions_mut().insert(User(identity.name.clone()));
    } else if needs_login(web) && !is_open(request.method(), &path) {
        return refuse(&api, &request);
    }
    let role = who.map(|identity| identity.role);
    if changes && role == Some(Role::Viewer) && path != SESSION_PATH {
        return ApiError::new(ErrorKind::Forbidden, "viewers may not change anything").into_response();
    }
    let from_here = peer.is_none_or(|peer| peer.ip().to_canonical().is_loopback());
    if is_privileged(&path) && role.is_none() && !from_here {
        let message = "from other hosts this needs authentication: configure web.basic_auth_users or web.api_tokens";
        return ApiError::new(ErrorKind::Forbidden, message).into_response();
    }
    next.run(request).await
}

fn changes_something(method: &Method, path: &str) -> bool {
    let reads = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    !reads && !READING_POSTS.contains(&path)
}

/// Returns the host of `host:port`, without brackets around an IPv6 address.
fn host_of(authority: &str) -> &str {
    let host = match authority.strip_prefix('[') {
        Some(rest) => return rest.split(']').next().unwrap_or(""),
        None => authority,
    };
    host.rsplit_once(':').map_or(host, |(host, _)| host)
}

fn is_allowed_host(host: &str, web: &WebConfig) -> bool {
    // An address cannot be rebound; a name can.
    if host.parse::<IpAddr>().is_ok() || host.eq_ignore_ascii_case("localhost") || host.ends_with(".localhost") {
        return true;
    }
    if web.allowed_hosts.is_empty() {
        return !web.external_url.as_str().is_empty() && web.external_url.host().eq_ignore_ascii_case(host);
    }
    web.allowed_hosts.iter().any(|allowed| host_of(allowed).eq_ignore_ascii_case(host))
}

fn check_origin(headers: &HeaderMap, authority: Option<&str>, web: &WebConfig) -> Result<(), ApiError> {
    let forbidden = |message: String| Err(ApiError::new(ErrorKind::Forbidden, message));
    let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let host = text(header::HOST).or(authority).unwrap_or("");
    if !is_allowed_host(host_of(host), web) {
        return forbidden(format!(
            "host {} is not known here: add it to web.allowed_hosts or set web.external_url",
            crate::model::number::quote(host)
        ));
    }
    let Some(origin) = text(header::ORIGIN) else { return Ok(()) };
    let own = origin.split_once("://").is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host));
    let external = external_origin(web).is_some_and(|own| own.eq_ignore_ascii_case(origin));
    if own || external {
        return Ok(());
    }
    forbidden(format!("requests from origin {} are refused", crate::model::number::quote(origin)))
}

fn external_origin(web: &WebConfig) -> Option<String> {
    let scheme = web.external_url.scheme()?;
    Some(format!("{scheme}://{}", web.external_url.host_and_port()))
}

/// Whether anybody has to say who they are.
fn needs_login(web: &WebConfig) -> bool {
    !web.basic_auth_users.is_empty() || !web.api_tokens.is_empty()
}

/// Where people log in and out.
const SESSION_PATH: &str = "/api/watchkeeper/v1/session";

/// What the login page itself needs. It tells nothing about what is watched.
fn is_open(method: &Method, path: &str) -> bool {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    path == SESSION_PATH || (reads && (path.starts_with("/assets/") || matches!(path, "/favicon.ico" | "/favicon.svg")))
}

/// Finds out who asks: by password or token, else by the cookie of a session. `Err`: nobody looked.
async fn who(api: &ApiState, web: &WebConfig, headers: &HeaderMap, from: Option<IpAddr>) -> Result<Option<Identity>, Wait> {
    if !needs_login(web) {
        return Ok(None);
    }
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or("");
    let (scheme, shown) = given.split_once(' ').unwrap_or((given, ""));
    let mut found = None;
    if scheme.eq_ignore_ascii_case("bearer") {
        found = credentials::by_token(api, web, shown.trim());
    } else if scheme.eq_ignore_ascii_case("basic")
        && let Some((name, password)) = credentials::basic(shown)
    {
        found = credentials::by_password(api, web, &name, &password, from).await?;
    }
    Ok(found.or_else(|| session::find(api, web, headers)))
}

/// Answers who did not say who they are. Pages get the dashboard, which shows its login form; what the dashboard asks gets no
/// `WWW-Authenticate`, at which browsers would open a window of their own; all else is answered as Prometheus does.
fn refuse(api: &ApiState, request: &Request) -> Response {
    let headers = request.headers();
    let says = |name: &str, word: &str| headers.get(name).and_then(|value| value.to_str().ok()).is_some_and(|v| v.contains(word));
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    if reads && says("accept", "text/html") && super::assets::is_page(request.uri().path()) {
        return super::assets::locked(api, request.uri());
    }
    let is_dashboard =
        headers.contains_key("x-watchkeeper") || says("accept", "text/event-stream") || says("sec-fetch-site", "same-origin");
    if is_dashboard {
        return ApiError::new(ErrorKind::Unauthorized, "Log in first.").into_response();
    }
    (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Basic")], "Unauthorized\n").into_response()
}

impl IntoResponse for Wait {
    fn into_response(self) -> Response {
        let seconds = self.0.as_secs() + u64::from(self.0.subsec_nanos() > 0);
        let words = format!("Too many attempts with a wrong password. Try again in {seconds} s.");
        let mut response = ApiError::new(ErrorKind::TooMany, words).into_response();
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_its_own_names_and_origins() {
        let headers = |host: &str, origin: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            if !origin.is_empty() {
                headers.insert(header::ORIGIN, origin.parse().unwrap());
            }
            headers
        };
        let web = WebConfig::default();
        let cases = [
            ("localhost:9090", "", true),
            ("127.0.0.1:9090", "http://127.0.0.1:9090", true),
            ("[::1]:9090", "http://[::1]:9090", true),
            ("localhost:9090", "http://localhost:3000", false),
            ("localhost:9090", "https://evil.example", false),
            ("localhost:9090", "null", false),
            ("evil.example", "http://evil.example", false),
            ("evil.example:9090", "", false),
        ];
        for (host, origin, allowed) in cases {
            assert_eq!(check_origin(&headers(host, origin), None, &web).is_ok(), allowed, "{host} {origin}");
        }
    }

    #[test]
    fn tells_reading_from_changing() {
        assert!(!changes_something(&Method::POST, "/api/v1/query"));
        assert!(changes_something(&Method::POST, "/-/reload"));
        assert!(changes_something(&Method::DELETE, "/api/v2/silence/1"));
        assert!(!changes_something(&Method::GET, "/api/v2/silences"));
    }
}
