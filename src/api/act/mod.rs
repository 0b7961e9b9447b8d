//! `/act/...`: where the links of mails that act lead. `GET` shows what would be done, `POST` does it.
//!
//! The link's signature is the right to do so, without a login; what it says is checked before anything is shown. The page
//! works without scripts, on a phone, in the language that the browser asks for.

mod page;

use super::state::ApiState;
use crate::alerting::AlertingHandle;
use crate::alerting::ack::Ack;
use crate::alerting::links::{self, LinkAction, LinkError};
use crate::alerting::view::AlertView;
use crate::env::Env;
use crate::model::silence::{Silence, SilenceState};
use axum::Router;
use axum::extract::rejection::FormRejection;
use axum::extract::{DefaultBodyLimit, Form, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use jiff::tz::TimeZone;
use page::{Language, Page};
use std::collections::BTreeMap;

/// The largest form.
const FORM_BYTES_MAX: usize = 16 << 10;
/// The most of a name and of a comment that is kept.
const TEXT_CHARS_MAX: usize = 1000;

/// What these handlers use.
#[derive(Clone, Debug)]
struct ActApi {
    alerting: AlertingHandle,
    env: Env,
    state: ApiState,
}

/// Returns the route; none where alerting does not run.
pub(super) fn router(state: &ApiState) -> Router<ApiState> {
    let Some(alerting) = state.views.alerting.clone() else { return Router::new() };
    Router::new()
        .route("/act/{action}/{fingerprint}/{expires}/{signature}", get(show).post(act))
        .layer(DefaultBodyLimit::max(FORM_BYTES_MAX))
        .with_state(ActApi { alerting, env: state.env.clone(), state: state.clone() })
}

/// The parts of a link.
type Parts = (String, String, String, String);

/// A link that is good, and what it is about.
struct Asked {
    action: LinkAction,
    fingerprint: u64,
    expires_s: i64,
    alert: AlertView,
}

fn refuse(status: StatusCode, language: Language, base: &str, why: page::Refusal) -> Response {
    answer(status, Page { language, base }.refused(why))
}

fn answer(status: StatusCode, html: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        // Its form must say where it comes from, so that it is taken.
        (header::REFERRER_POLICY, "same-origin"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
        ),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (status, headers, html).into_response()
}

impl ActApi {
    /// Checks a link and finds its alert.
    fn read(&self, parts: &Parts, language: Language, base: &str) -> Result<Asked, Box<Response>> {
        let refused = |status, why| Box::new(refuse(status, language, base, why));
        let (action, fingerprint, expires, signature) = parts;
        let forged = || refused(StatusCode::NOT_FOUND, page::Refusal::Forged);
        let action = LinkAction::parse(action).ok_or_else(forged)?;
        let fingerprint = u64::from_str_radix(fingerprint, 16).map_err(|_| forged())?;
        let expires_s: i64 = expires.parse().map_err(|_| forged())?;
        let now_ms = self.env.clock.now_ms();
        match self.alerting.links().check(action, fingerprint, expires_s, signature, now_ms) {
            Ok(()) => {}
            Err(LinkError::Forged) => return Err(forged()),
            Err(LinkError::Expired) => return Err(refused(StatusCode::GONE, page::Refusal::Expired(fingerprint))),
        }
        match self.alerting.view().alert(fingerprint) {
            Some(alert) => Ok(Asked { action, fingerprint, expires_s, alert: alert.clone() }),
            None => Err(refused(StatusCode::NOT_FOUND, page::Refusal::Gone)),
        }
    }

    /// Returns a silence in force that does already what this one would.
    fn is_there(&self, wanted: &Silence, now_ms: i64) -> bool {
        let mut wanted_matchers = wanted.matchers.clone();
        crate::model::matcher_text::sort(&mut wanted_matchers);
        let does_it = |silence: &Silence| {
            silence.state_at(now_ms) == SilenceState::Active
                && silence.matchers == wanted_matchers
                && silence.every.is_none()
                && silence.until_resolved == wanted.until_resolved
                && silence.ends_at_ms >= wanted.ends_at_ms - 60_000
        };
        self.alerting.silences().iter().any(does_it)
    }
}

/// `GET /act/...`.
async fn show(State(api): State<ActApi>, Path(parts): Path<Parts>, headers: HeaderMap) -> Response {
    let (language, base) = (Language::of(&headers), super::prefix::of(&api.state));
    let asked = match api.read(&parts, language, &base) {
        Ok(asked) => asked,
        Err(refused) => return *refused,
    };
    let path = |action| format!("{base}{}", api.alerting.links().path_until(action, asked.fingerprint, asked.expires_s));
    let others: Vec<(LinkAction, String)> =
        LinkAction::ALL.into_iter().filter(|other| *other != asked.action).map(|other| (other, path(other))).collect();
    let until_ms = links::silence(asked.action, &asked.alert.alert.labels, api.env.clock.now_ms(), &TimeZone::system())
        .map(|silence| silence.ends_at_ms);
    let page = Page { language, base: &base };
    answer(
        StatusCode::OK,
        page.question(asked.action, &asked.alert, &path(asked.action), until_ms, &others, api.env.clock.now_ms()),
    )
}

/// `POST /act/...`.
async fn act(
    State(api): State<ActApi>,
    Path(parts): Path<Parts>,
    headers: HeaderMap,
    form: Result<Form<BTreeMap<String, String>>, FormRejection>,
) -> Response {
    let (language, base) = (Language::of(&headers), super::prefix::of(&api.state));
    let asked = match api.read(&parts, language, &base) {
        Ok(asked) => asked,
        Err(refused) => return *refused,
    };
    // Without a form nobody says who they are.
    let form = form.map(|Form(form)| form).unwrap_or_default();
    let text = |name: &str| -> String {
        form.get(name).map_or("", |text| text.trim()).chars().filter(|c| !c.is_control()).take(TEXT_CHARS_MAX).collect()
    };
    let by = Some(text("by")).filter(|by| !by.is_empty()).unwrap_or_else(|| "a link in a mail".to_owned());
    let (now_ms, comment) = (api.env.clock.now_ms(), text("comment"));
    let page = Page { language, base: &base };
    let silence = links::silence(asked.action, &asked.alert.alert.labels, now_ms, &TimeZone::system());
    let (done, until_ms) = match silence {
        None => {
            let ack = Ack { fingerprint: asked.fingerprint, at_ms: now_ms, by, comment };
            let done = api.alerting.acknowledge(ack).await.map_err(|stopped| stopped.to_string());
            (done.and_then(|known| if known { Ok(()) } else { Err("the alert is gone, or the disk refuses".to_owned()) }), None)
        }
        Some(silence) if api.is_there(&silence, now_ms) => (Ok(()), Some(silence.ends_at_ms)),
        Some(mut silence) => {
            let until_ms = silence.ends_at_ms;
            silence.created_by = by;
            silence.comment = if comment.is_empty() { "by a link in a mail".to_owned() } else { comment };
            let made = api.alerting.put_silence(silence).await;
            (made.map(|_| ()).map_err(|error| error.to_string()), Some(until_ms))
        }
    };
    match done {
        Ok(()) => answer(StatusCode::OK, page.done(asked.action, &asked.alert, until_ms)),
        Err(error) => answer(StatusCode::INTERNAL_SERVER_ERROR, page.refused(page::Refusal::NotDone(error))),
    }
}
