//! The path of `web.external_url`: everything is also served below it.
//!
//! A reverse proxy passes the path on as the browser asked for it, or without the prefix; both reach the same routes. What
//! leads back (redirects, the page's own files) names the prefix, since the browser is on its far side.

use super::methods;
use super::state::ApiState;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::Uri;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;

/// Returns the prefix of a server, without a slash at its end; mostly empty.
pub(super) fn of(api: &ApiState) -> String {
    let config = api.present_config();
    let path = config.web.external_url.path_and_query();
    path.split(['?', '#']).next().unwrap_or("").trim_end_matches('/').to_owned()
}

/// Puts the routes below the prefix, beside their bare paths.
pub(super) fn around(router: Router, state: ApiState) -> Router {
    // The inner router chooses a route when the path is what it shall be.
    Router::new().fallback_service(router).layer(from_fn(methods::name)).layer(from_fn_with_state(state, strip))
}

async fn strip(State(api): State<ApiState>, mut request: Request, next: Next) -> Response {
    if let Some(uri) = below(request.uri(), &of(&api)) {
        *request.uri_mut() = uri;
    }
    next.run(request).await
}

/// Returns the address without the prefix where it has it.
fn below(uri: &Uri, prefix: &str) -> Option<Uri> {
    let rest = uri.path().strip_prefix(prefix).filter(|rest| !prefix.is_empty() && (rest.is_empty() || rest.starts_with('/')))?;
    let path = if rest.is_empty() { "/" } else { rest };
    let mut parts = uri.clone().into_parts();
    let text = uri.query().map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
    parts.path_and_query = Some(text.parse().ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::below;

    #[test]
    fn only_a_whole_prefix_falls_away() {
        for (from, prefix, to) in [
            ("/watch/api/v1/query?q=/watch/x", "/watch", Some("/api/v1/query?q=/watch/x")),
            ("/watch", "/watch", Some("/")),
            ("/watch/", "/watch", Some("/")),
            ("http://h/watch/a", "/watch", Some("http://h/a")),
            ("/watchers", "/watch", None),
            ("/api/v1/query", "/watch", None),
            ("/api/v1/query", "", None),
        ] {
            let found = below(&from.parse().unwrap(), prefix).map(|uri| uri.to_string());
            assert_eq!(found.as_deref(), to, "{from} {prefix}");
        }
    }
}
