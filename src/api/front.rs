//! What answers before the store is open: readiness with how far the log's replay has come, and nothing else. When all is
//! wired, the real routes take its place, on open connections too.

use super::answer::{success_value, text};
use crate::storage::Progress;
use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use serde_json::json;
use std::sync::Arc;
use tower_service::Service as _;

/// The routes in force. Cheap to clone; clones share.
#[derive(Clone)]
pub struct Front(Arc<ArcSwap<Router>>);

impl std::fmt::Debug for Front {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Front")
    }
}

impl Front {
    /// Begins with the routes of a server whose store is being opened.
    #[must_use]
    pub fn opening(progress: Progress) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(opening(progress))))
    }

    /// Puts the real routes in force.
    pub fn open(&self, routes: Router) {
        self.0.store(Arc::new(routes));
    }

    /// Returns a router that asks whatever routes are in force.
    pub fn router(&self) -> Router {
        let front = self.clone();
        Router::new().fallback(move |request: Request| {
            let mut routes = Router::clone(&front.0.load());
            async move { routes.call(request).await }
        })
    }
}

fn unavailable(body: String) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, body).into_response()
}

fn opening(progress: Progress) -> Router {
    let replaying = progress.clone();
    let ready = move || async move { unavailable(format!("{}\n", replaying.step())) };
    let replay = move || async move {
        let [min, current, max] = progress.segments();
        success_value(&json!({"min": min, "max": max, "current": current, "state": "in progress"}))
    };
    Router::new()
        .route("/-/healthy", get(|| async { text("Watchkeeper is Healthy.\n") }))
        .route("/-/ready", get(ready))
        .route("/api/v1/status/walreplay", get(replay))
        .fallback(|| async { unavailable("Service Unavailable\n".to_owned()) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::progress::Task;
    use axum::body::Body;

    async fn ask(router: &Router, path: &str) -> (StatusCode, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router.clone().call(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        (parts.status, String::from_utf8_lossy(&body).into_owned())
    }

    #[tokio::test]
    async fn tells_how_far_the_replay_is_and_gives_way() {
        let progress = Progress::default();
        let front = Front::opening(progress.clone());
        let router = front.router();
        progress.begin(Task::Replay, 200);
        progress.segment(3, 4, 9);
        progress.advance(87);
        let not_yet = StatusCode::SERVICE_UNAVAILABLE;
        assert_eq!(ask(&router, "/-/ready").await, (not_yet, "replaying the log: 43 %\n".to_owned()));
        assert_eq!(ask(&router, "/api/v1/query?query=1").await, (not_yet, "Service Unavailable\n".to_owned()));
        assert_eq!(ask(&router, "/-/healthy").await.0, StatusCode::OK);
        let (status, body) = ask(&router, "/api/v1/status/walreplay").await;
        assert_eq!(status, StatusCode::OK);
        let answer: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(answer["data"], json!({"min": 3, "current": 4, "max": 9, "state": "in progress"}));
        front.open(Router::new().route("/-/ready", get(|| async { "yes" })));
        assert_eq!(ask(&router, "/-/ready").await, (StatusCode::OK, "yes".to_owned()));
    }
}
