//! `/api/watchkeeper/v1/session`: who I am, logging in, logging out.

use super::credentials::{self, Identity};
use super::session::{COOKIE, LASTS_S, make};
use super::{Encrypted, Peer, attempts::Wait, needs_login};
use crate::api::answer::success_value;
use crate::api::error::{ApiError, ErrorKind};
use crate::api::prefix;
use crate::api::state::ApiState;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::json;

/// The largest body.
const BODY_BYTES_MAX: usize = 16 << 10;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Shown {
    #[serde(default)]
    user: String,
    #[serde(default)]
    password: String,
    token: Option<String>,
}

fn answer(is_needed: bool, who: Option<&Identity>) -> Response {
    let mut response = success_value(&json!({
        "authentication": is_needed,
        "user": who.map(|who| &who.name),
        "role": who.map(|who| who.role.as_str()),
    }));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The cookie as it is set; nothing in it: it goes.
fn cookie(api: &ApiState, is_encrypted: bool, value: &str) -> Option<HeaderValue> {
    let prefix = prefix::of(api);
    let path = if prefix.is_empty() { "/" } else { &prefix };
    let age = if value.is_empty() { 0 } else { LASTS_S };
    let config = api.present_config();
    let secure = if is_encrypted || config.web.external_url.scheme() == Some("https") { "; Secure" } else { "" };
    let text = format!("{COOKIE}={value}; Path={path}; Max-Age={age}; HttpOnly; SameSite=Strict{secure}");
    HeaderValue::from_str(&text).ok()
}

fn is_encrypted(request: &Request) -> bool {
    request.extensions().get::<Encrypted>().is_some_and(|encrypted| encrypted.0)
}

/// `GET session`: 200 in any case.
pub(in crate::api) async fn who_am_i(State(api): State<ApiState>, request: Request) -> Response {
    answer(needs_login(&api.present_config().web), request.extensions().get::<Identity>())
}

/// `DELETE session`.
pub(in crate::api) async fn logout(State(api): State<ApiState>, request: Request) -> Response {
    let mut response = answer(needs_login(&api.present_config().web), None);
    if let Some(cookie) = cookie(&api, is_encrypted(&request), "") {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

/// `POST session` with `{"user", "password"}` or `{"token"}`.
pub(in crate::api) async fn login(State(api): State<ApiState>, request: Request) -> Result<Response, ApiError> {
    let (encrypted, peer) = (is_encrypted(&request), request.extensions().get::<Peer>().copied());
    let bytes = axum::body::to_bytes(request.into_body(), BODY_BYTES_MAX).await;
    let bytes = bytes.map_err(|_| ApiError::bad_data(format!("the body has more than {BODY_BYTES_MAX} bytes")))?;
    // What was wrong is told without what was given: it may be a password.
    let words = "the body must be {\"user\": ..., \"password\": ...} or {\"token\": ...}";
    let shown: Shown = serde_json::from_slice(&bytes).map_err(|_| ApiError::bad_data(words))?;
    let config = api.present_config();
    let web = &config.web;
    if !needs_login(web) {
        return Ok(answer(false, None));
    }
    let from = peer.map(|peer| peer.0.ip().to_canonical());
    let found = match &shown.token {
        Some(token) => by_token(&api, web, token, from),
        None => credentials::by_password(&api, web, &shown.user, &shown.password, from).await,
    };
    let found = match found {
        Ok(found) => found,
        Err(wait) => return Ok(wait.into_response()),
    };
    let Some(who) = found else {
        let words = match shown.token {
            Some(_) => "This token is not known.",
            None => "This name and password do not fit together.",
        };
        return Err(ApiError::new(ErrorKind::Unauthorized, words));
    };
    let mut response = answer(true, Some(&who));
    let value = make(&api, web, &who).and_then(|value| cookie(&api, encrypted, &value));
    if let Some(cookie) = value {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

fn by_token(
    api: &ApiState,
    web: &crate::config::web::WebConfig,
    token: &str,
    from: Option<std::net::IpAddr>,
) -> Result<Option<Identity>, Wait> {
    let attempts = &api.shared().attempts;
    let attempt = attempts.begin(api.env.clock.monotonic(), None, from)?;
    let found = credentials::by_token(api, web, token.trim());
    if found.is_some() {
        attempts.was_right(&attempt);
    }
    Ok(found)
}
