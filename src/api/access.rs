//! Who may ask for what: names of the host, origins, users, tokens.
//!
//! A page of another site must not make a browser act here: whatever changes something needs an `Origin` of this server (or
//! none) and a `Host` that this server is known by, so that neither a foreign form nor a rebound DNS name gets through. Acts
//! that end or reshape the server need, from other hosts, authentication.

use super::error::{ApiError, ErrorKind};
use super::state::ApiState;
use crate::config::web::{Role, WebConfig};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};

/// The client's address, put into each request by the accept loop.
#[derive(Clone, Copy, Debug)]
pub(in crate::api) struct Peer(pub(in crate::api) SocketAddr);

/// Who asks, as far as that was proved; put into each request by the middleware.
#[derive(Clone, Debug)]
pub(in crate::api) struct User(pub(in crate::api) String);

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

/// Password checks that were right, by a keyed hash: bcrypt is slow on purpose, and each request carries a password.
#[derive(Debug, Default)]
pub(super) struct PasswordCache(Mutex<BTreeMap<[u8; 32], bool>>);

impl PasswordCache {
    const MOST: usize = 256;

    fn get(&self, key: &[u8; 32]) -> Option<bool> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).copied()
    }

    fn put(&self, key: [u8; 32], good: bool) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= Self::MOST {
            known.clear();
        }
        known.insert(key, good);
    }
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
    let who = match who(&api, web, request.headers()).await {
        Ok(who) => who,
        Err(response) => return *response,
    };
    let role = who.map(|(user, role)| {
        request.extensions_mut().insert(User(user));
        role
    });
    if changes && role == Some(Role::Viewer) {
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

/// Finds out who asks. Nobody in particular where no users and tokens are configured.
async fn who(api: &ApiState, web: &WebConfig, headers: &HeaderMap) -> Result<Option<(String, Role)>, Box<Response>> {
    if web.basic_auth_users.is_empty() && web.api_tokens.is_empty() {
        return Ok(None);
    }
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or("");
    let (scheme, credentials) = given.split_once(' ').unwrap_or((given, ""));
    if scheme.eq_ignore_ascii_case("bearer") {
        for token in &web.api_tokens {
            if same_secret(&token_of(api, token), credentials.trim()) {
                return Ok(Some((token.name.clone(), token.role)));
            }
        }
    } else if scheme.eq_ignore_ascii_case("basic")
        && let Some((user, password)) = basic(credentials)
        && let Some(hash) = web.basic_auth_users.get(&user)
        && is_password(api, &user, &password, hash.reveal()).await
    {
        let role = web.roles.get(&user).copied().unwrap_or(Role::Operator);
        return Ok(Some((user, role)));
    }
    let answer = (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Basic")], "Unauthorized\n");
    Err(Box::new(answer.into_response()))
}

/// A token may lie in a file, which is read each time: tokens are rotated by writing the file.
fn token_of(api: &ApiState, token: &crate::config::web::ApiToken) -> String {
    if !token.token.reveal().is_empty() {
        return token.token.reveal().to_owned();
    }
    let text = api.env.disk.read(token.token_file.path()).unwrap_or_default();
    String::from_utf8_lossy(&text).trim().to_owned()
}

/// Compares without telling by its time how much was right.
fn same_secret(known: &str, given: &str) -> bool {
    if known.is_empty() || known.len() != given.len() {
        return false;
    }
    known.bytes().zip(given.bytes()).fold(0, |different, (a, b)| different | (a ^ b)) == 0
}

async fn is_password(api: &ApiState, user: &str, password: &str, hash: &str) -> bool {
    use sha2::Digest as _;
    let mut hasher = sha2::Sha256::new();
    for part in [user, password, hash] {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    let key: [u8; 32] = hasher.finalize().into();
    if let Some(known) = api.shared().passwords.get(&key) {
        return known;
    }
    let (password, hash) = (password.to_owned(), hash.to_owned());
    let checked = api.env.tasks.blocking(move || bcrypt::verify(password, &hash).unwrap_or(false)).await;
    let good = checked.unwrap_or(false);
    if good {
        api.shared().passwords.put(key, true);
    }
    good
}

/// Reads `dXNlcjpwYXNz`.
fn basic(credentials: &str) -> Option<(String, String)> {
    let mut bytes = Vec::with_capacity(credentials.len());
    let (mut bits, mut count) = (0_u32, 0);
    for byte in credentials.trim().trim_end_matches('=').bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    let text = String::from_utf8(bytes).ok()?;
    text.split_once(':').map(|(user, password)| (user.to_owned(), password.to_owned()))
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
    fn reads_basic_credentials() {
        assert_eq!(basic("bGk6cGE6c3M="), Some(("li".to_owned(), "pa:ss".to_owned())));
        assert_eq!(basic("!"), None);
        assert!(same_secret("abc", "abc"));
        assert!(!same_secret("", ""));
    }

    #[test]
    fn tells_reading_from_changing() {
        assert!(!changes_something(&Method::POST, "/api/v1/query"));
        assert!(changes_something(&Method::POST, "/-/reload"));
        assert!(changes_something(&Method::DELETE, "/api/v2/silence/1"));
        assert!(!changes_something(&Method::GET, "/api/v2/silences"));
    }
}
