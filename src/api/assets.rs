//! The dashboard's files, embedded in the binary.

use super::compress::accepts;
use super::prefix;
use super::state::ApiState;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{self, HeaderMap, HeaderValue};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Redirect, Response};

/// The table that `build.rs` made.
mod table {
    #![expect(unreachable_pub, reason = "the build script does not know where its table is included")]

    /// One file.
    pub struct Asset {
        /// `index.html`, `assets/...`.
        pub path: &'static str,
        pub content_type: &'static str,
        /// Quoted; a packed form has `-br` or `-gz` behind it.
        pub etag: &'static str,
        pub bytes: &'static [u8],
        pub br: Option<&'static [u8]>,
        pub gz: Option<&'static [u8]>,
    }

    include!(concat!(env!("OUT_DIR"), "/assets.rs"));
}

use table::{ASSETS, Asset};

/// Who else may frame the pages comes behind it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      font-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'";

fn find(path: &str) -> Option<&'static Asset> {
    ASSETS.binary_search_by(|asset| asset.path.cmp(path)).ok().and_then(|at| ASSETS.get(at))
}

/// Returns an embedded file as it is.
pub(super) fn bytes(path: &str) -> Option<&'static [u8]> {
    find(path).map(|asset| asset.bytes)
}

/// Where Prometheus's and Alertmanager's old pages live now.
fn moved(uri: &Uri) -> Option<String> {
    let query = uri.query().unwrap_or("");
    Some(match uri.path() {
        "/graph" | "/query" | "/classic/graph" => explore(query),
        "/tsdb-status" => "/status/cardinality".to_owned(),
        "/config" => "/status/configuration".to_owned(),
        "/flags" | "/runtime-info" => "/status/runtime".to_owned(),
        "/service-discovery" => "/targets?tab=discovery".to_owned(),
        _ => return None,
    })
}

/// Turns `g0.expr=up&g0.range_input=1h&g1.expr=...` into Explore's `q=up&q=...&range=1h`.
fn explore(query: &str) -> String {
    let mut out = Vec::new();
    let mut range = None;
    let mut end = None;
    let mut how: Vec<String> = Vec::new();
    for part in query.split('&') {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let field = name.strip_prefix('g').and_then(|rest| rest.split_once('.')).map(|(_, field)| field);
        match field {
            Some("expr") if !value.is_empty() => out.push(format!("q={value}")),
            Some("range_input") if range.is_none() => range = Some(format!("range={value}")),
            // A time of UTC, written with a space.
            Some("end_input" | "moment_input") if end.is_none() && !value.is_empty() => {
                end = Some(format!("end={}Z", value.trim_end_matches('Z').replace("%20", "T").replace('+', "T")));
            }
            Some("tab") if name.starts_with("g0.") => match value {
                "1" | "table" => how.push("view=table".to_owned()),
                "explain" => how.push("view=explain".to_owned()),
                _ => {}
            },
            Some("stacked") if name.starts_with("g0.") && value == "1" => how.push("stacked=1".to_owned()),
            Some("display_mode") if name.starts_with("g0.") && value == "stacked" => how.push("stacked=1".to_owned()),
            Some("step_input") if name.starts_with("g0.") && !value.is_empty() => how.push(format!("step={value}")),
            _ => {}
        }
    }
    out.extend(range);
    out.extend(end);
    out.extend(how);
    if out.is_empty() { "/explore".to_owned() } else { format!("/explore?{}", out.join("&")) }
}

/// Answers whatever no route took: a file, the page, or 404.
pub(super) async fn serve(State(api): State<ApiState>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    if !matches!(parts.method, Method::GET | Method::HEAD) {
        return (StatusCode::NOT_FOUND, "404 page not found\n").into_response();
    }
    if let Some(target) = moved(&parts.uri) {
        return Redirect::temporary(&format!("{}{target}", prefix::of(&api))).into_response();
    }
    let path = parts.uri.path().trim_start_matches('/');
    if let Some(asset) = find(path).filter(|_| !path.is_empty()) {
        return give(&api, asset, &parts.headers);
    }
    let wants_page = parts
        .headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok())
        .is_none_or(|accept| accept.contains("text/html") || accept.contains("*/*"));
    let is_page = is_page(parts.uri.path());
    // A browser asks for HTML; `curl /no/such/thing` should not get a page.
    let asks_html =
        parts.headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).is_some_and(|a| a.contains("text/html"));
    match find("index.html") {
        Some(index) if is_page && (asks_html || (path.is_empty() && wants_page)) => give(&api, index, &parts.headers),
        _ => (StatusCode::NOT_FOUND, "404 page not found\n").into_response(),
    }
}

/// Returns whether an address is one of the page's, and no file's or API's.
pub(super) fn is_page(path: &str) -> bool {
    let others = ["/assets/", "/api/", "/-/"];
    !others.iter().any(|other| path.starts_with(other)) && !matches!(path, "/metrics" | "/federate")
}

/// Answers who asks for a page and did not say who they are: the page, which shows its login form, as a 401. Old addresses
/// lead on before.
pub(super) fn locked(api: &ApiState, uri: &Uri) -> Response {
    if let Some(target) = moved(uri) {
        return Redirect::temporary(&format!("{}{target}", prefix::of(api))).into_response();
    }
    let Some(index) = find("index.html") else { return StatusCode::UNAUTHORIZED.into_response() };
    let mut response = give(api, index, &HeaderMap::new());
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().remove(header::ETAG);
    response
}

/// The page with the addresses of its files below a prefix. The files themselves find each other by relative paths.
fn page_below(page: &[u8], prefix: &str) -> Vec<u8> {
    String::from_utf8_lossy(page).replace("\"/assets/", &format!("\"{prefix}/assets/")).into_bytes()
}

/// What the pages may do, with the servers that may frame them.
fn policy(ancestors: &[String]) -> Option<HeaderValue> {
    let all = ancestors.iter().fold(POLICY.to_owned(), |all, source| format!("{all} {source}"));
    HeaderValue::from_str(&all).ok()
}

/// Answers with a file as this server gives it: below its prefix, under its policy.
fn give(api: &ApiState, asset: &Asset, asked: &HeaderMap) -> Response {
    let mut response = answer(asset, asked, &prefix::of(api));
    let config = api.present_config();
    let widened = Some(&config.web.frame_ancestors).filter(|sources| !sources.is_empty());
    if let Some(policy) = widened.and_then(|sources| policy(sources)) {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

fn answer(asset: &Asset, asked: &HeaderMap, prefix: &str) -> Response {
    let is_moved = asset.path == "index.html" && !prefix.is_empty();
    let (bytes, packing) = match (asset.br, asset.gz) {
        _ if is_moved => (asset.bytes, None),
        (Some(br), _) if accepts(asked, "br") => (br, Some("br")),
        (_, Some(gz)) if accepts(asked, "gzip") => (gz, Some("gzip")),
        _ => (asset.bytes, None),
    };
    let body = if is_moved { Body::from(page_below(bytes, prefix)) } else { Body::from(bytes) };
    let suffix = match packing {
        Some("br") => "-br".to_owned(),
        Some(_) => "-gz".to_owned(),
        // Below another prefix it is another page.
        None if is_moved => format!("-{:08x}", crc32c::crc32c(prefix.as_bytes())),
        None => String::new(),
    };
    let etag = format!("{}{suffix}\"", asset.etag.trim_end_matches('"'));
    let known = asked
        .get(header::IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|list| list.split(',').any(|tag| tag.trim().trim_start_matches("W/") == etag || tag.trim() == "*"));
    let mut response = if known { StatusCode::NOT_MODIFIED.into_response() } else { Response::new(body) };
    let headers = response.headers_mut();
    let hashed = asset.path.starts_with("assets/");
    let cache = if hashed { "public, max-age=31536000, immutable" } else { "no-cache" };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        headers.insert(header::ETAG, etag);
    }
    if !known {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.content_type));
        if let Some(packing) = packing {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(packing));
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_links_lead_to_new_pages() {
        let cases = [
            ("/graph?g0.expr=up%7B%7D&g0.range_input=1h&g1.expr=x", Some("/explore?q=up%7B%7D&q=x&range=1h")),
            ("/query", Some("/explore")),
            (
                "/query?g0.expr=up&g0.tab=table&g0.end_input=2026-11-26%2020:00:00&g0.step_input=15&g1.tab=1",
                Some("/explore?q=up&end=2026-11-26T20:00:00Z&view=table&step=15"),
            ),
            ("/service-discovery?search=a", Some("/targets?tab=discovery")),
            ("/config", Some("/status/configuration")),
            ("/alerts", None),
        ];
        for (from, to) in cases {
            assert_eq!(moved(&from.parse().unwrap()).as_deref(), to, "{from}");
        }
    }

    #[test]
    fn files_have_tags_and_are_found() {
        let index = find("index.html").unwrap();
        assert!(ASSETS.is_sorted_by_key(|asset| asset.path));
        let first = answer(index, &HeaderMap::new(), "");
        assert_eq!(first.status(), StatusCode::OK);
        let mut asked = HeaderMap::new();
        asked.insert(header::IF_NONE_MATCH, first.headers()[header::ETAG].clone());
        assert_eq!(answer(index, &asked, "").status(), StatusCode::NOT_MODIFIED);
        // Below a prefix it is another page.
        let moved = answer(index, &asked, "/watch");
        assert_eq!(moved.status(), StatusCode::OK);
        asked.insert(header::IF_NONE_MATCH, moved.headers()[header::ETAG].clone());
        assert_eq!(answer(index, &asked, "/watch").status(), StatusCode::NOT_MODIFIED);
        assert_eq!(answer(index, &asked, "/other").status(), StatusCode::OK);
        let page = br#"<script src="/assets/a.js"></script><link href="/assets/b.css" />"#;
        let expected = br#"<script src="/w/assets/a.js"></script><link href="/w/assets/b.css" />"#;
        assert_eq!(page_below(page, "/w"), expected);
    }
}
