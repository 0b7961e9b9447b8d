//! `notifications` and `notifications/live`: what the server has to say about itself to whoever looks at a page.

use super::super::answer::success_value;
use super::super::json::rfc3339;
use super::super::state::ApiState;
use axum::extract::State;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::Stream;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

const RELOAD_FAILED: &str = "Configuration reload has failed.";
/// How long a stream is silent at most.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Returns what holds now.
fn active(api: &ApiState) -> Option<Value> {
    let told = api.events.changes_since(i64::MIN).into_iter().find(|change| change.kind == "config");
    let at_ms = told.map_or(api.started_ms, |change| change.at_ms);
    let text = if api.reload_failed() {
        RELOAD_FAILED.to_owned()
    } else {
        let overlay = api.overlay();
        let error = overlay.znodes.iter().find_map(|znode| znode.refused.as_ref())?;
        format!("The configuration in ZooKeeper was refused: {error}")
    };
    Some(json!({"text": text, "date": rfc3339(Some(at_ms)), "active": true}))
}

pub(in crate::api) async fn notifications(State(api): State<ApiState>) -> Response {
    success_value(&active(&api).into_iter().collect())
}

/// Tells what holds, and then each change of it as server-sent events.
pub(in crate::api) async fn live(State(api): State<ApiState>) -> impl IntoResponse {
    let (_, receiver) = api.events.subscribe(None);
    let first = active(&api);
    Sse::new(follow(api, receiver, first))
}

fn follow(
    api: ApiState,
    receiver: Receiver<super::super::events::LiveEvent>,
    first: Option<Value>,
) -> impl Stream<Item = Result<Event, Infallible>> {
    let waiting: VecDeque<Value> = first.clone().into_iter().collect();
    futures_util::stream::unfold((api, receiver, first, waiting), |(api, mut receiver, mut known, mut waiting)| async move {
        loop {
            if let Some(next) = waiting.pop_front() {
                let event = Event::default().data(next.to_string());
                return Some((Ok(event), (api, receiver, known, waiting)));
            }
            match api.env.clock.timeout(HEARTBEAT, receiver.recv()).await {
                Ok(Err(RecvError::Closed)) => return None,
                Err(_) => {
                    let event = Event::default().comment("");
                    return Some((Ok(event), (api, receiver, known, waiting)));
                }
                Ok(Ok(_) | Err(RecvError::Lagged(_))) => {}
            }
            let now = active(&api);
            if now.is_some() != known.is_some() {
                if let Some(mut ended) = known.take() {
                    ended["active"] = false.into();
                    waiting.push_back(ended);
                }
                waiting.extend(now.clone());
                known = now;
            }
        }
    })
}
