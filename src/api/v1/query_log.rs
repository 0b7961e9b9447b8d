//! The log of queries, as far as requests know of it: who asked, and how it went.

use super::super::access::Peer;
use crate::promql::engine::{Engine, QueryError};
use crate::promql::query_log::{Asked, Origin, QueryLog};
use crate::promql::value::QueryResult;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use std::convert::Infallible;
use std::time::Duration;

/// Who asks.
pub(in crate::api) struct Asker {
    client: String,
    method: String,
    path: String,
}

impl<S: Sync> FromRequestParts<S> for Asker {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let client = parts.extensions.get::<Peer>().map(|peer| peer.0.ip().to_string()).unwrap_or_default();
        Ok(Self { client, method: parts.method.to_string(), path: parts.uri.path().to_owned() })
    }
}

/// A query that will be logged when it ends, if that is wanted.
pub(super) struct Logged<'q> {
    log: Option<(&'q dyn QueryLog, Duration)>,
    asker: &'q Asker,
    range: (i64, i64, i64),
}

impl<'q> Logged<'q> {
    /// Begins: from, to and step in milliseconds, the step 0 for an instant query.
    pub(super) fn begin(engine: &'q Engine, asker: &'q Asker, range: (i64, i64, i64)) -> Self {
        Self { log: engine.log().map(|log| (log, log.now())), asker, range }
    }

    /// Logs.
    pub(super) fn end(self, text: &str, result: &Result<QueryResult, QueryError>) {
        let Some((log, began)) = self.log else { return };
        let Asker { client, method, path } = self.asker;
        let (start_ms, end_ms, step_ms) = self.range;
        let took = log.now().saturating_sub(began);
        let outcome = result.as_ref().map(|result| &result.stats).map_err(ToString::to_string);
        let origin = Origin::Http { client, method, path };
        log.write(&Asked { text, start_ms, end_ms, step_ms, took, outcome, origin });
    }
}
