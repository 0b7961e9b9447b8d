//! The log of queries and the record of what they cost, as far as requests know of it: who asked, and how it went.

use super::super::access::{Peer, User};
use crate::promql::activity::{Asking, Beginning, Under};
use crate::promql::engine::{Engine, QueryError};
use crate::promql::query_log::{Asked, Origin, QueryLog};
use crate::promql::value::QueryResult;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// Who asks.
pub(in crate::api) struct Asker {
    client: String,
    method: String,
    path: String,
    user: Option<String>,
}

impl<S: Sync> FromRequestParts<S> for Asker {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let client = parts.extensions.get::<Peer>().map(|peer| peer.0.ip().to_string()).unwrap_or_default();
        let user = parts.extensions.get::<User>().map(|user| user.0.clone());
        Ok(Self { client, method: parts.method.to_string(), path: parts.uri.path().to_owned(), user })
    }
}

/// A query under way, which will be logged when it ends, if that is wanted.
pub(super) struct Logged<'q> {
    log: Option<(&'q dyn QueryLog, Duration)>,
    under: Option<Under<'q>>,
    asker: &'q Asker,
    text: &'q Arc<str>,
    range: (i64, i64, i64),
}

impl<'q> Logged<'q> {
    /// Begins: from, to and step in milliseconds, the step 0 for an instant query.
    pub(super) fn begin(
        engine: &'q Engine,
        asker: &'q Asker,
        text: &'q Arc<str>,
        range: (i64, i64, i64),
        cancel: &Arc<AtomicBool>,
    ) -> Self {
        let beginning = || Beginning {
            text: Arc::clone(text),
            range,
            asking: Asking::Api,
            user: asker.user.clone(),
            cancel: Some(Arc::clone(cancel)),
        };
        let under = engine.activity().map(|activity| activity.begin(beginning()));
        Self { log: engine.log().map(|log| (log, log.now())), under, asker, text, range }
    }

    /// Logs.
    pub(super) fn end(self, result: &Result<QueryResult, QueryError>) {
        if let Some(under) = self.under {
            under.end(result.as_ref().ok().map(|result| (&result.stats, result.value.series())));
        }
        let Some((log, began)) = self.log else { return };
        let Asker { client, method, path, .. } = self.asker;
        let (start_ms, end_ms, step_ms) = self.range;
        let took = log.now().saturating_sub(began);
        let outcome = result.as_ref().map(|result| &result.stats).map_err(ToString::to_string);
        let origin = Origin::Http { client, method, path };
        log.write(&Asked { text: self.text, start_ms, end_ms, step_ms, took, outcome, origin });
    }
}
