//! Live events for dashboards, as server-sent events.
//!
//! Whoever sees something publishes it on the hub; each open dashboard has its own bounded queue. A slow one misses events
//! (it reads everything again when it sees a gap in the numbers); nobody waits for it. The last events are kept, so that a
//! dashboard that was away for a moment catches up by `Last-Event-ID`.

use super::error::ApiError;
use super::state::ApiState;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::Stream;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::broadcast;

/// Events kept for those who come back.
const KEPT: usize = 512;
/// Time between two signs of life.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// One event.
#[derive(Clone, Debug)]
pub struct LiveEvent {
    /// Its number, growing by one.
    pub id: u64,
    /// `target`, `alert`, `silence`, `rule`, `notification`, `config` or `zookeeper`.
    pub kind: &'static str,
    /// JSON.
    pub data: Arc<str>,
}

/// A line of "What changed".
#[derive(Clone, Debug)]
pub(super) struct Change {
    /// When.
    pub(super) at_ms: i64,
    /// As [`LiveEvent::kind`].
    pub(super) kind: &'static str,
    /// What, for people.
    pub(super) text: String,
    /// The page that shows it.
    pub(super) link: String,
}

#[derive(Debug)]
struct Kept {
    next: u64,
    events: VecDeque<LiveEvent>,
    changes: VecDeque<Change>,
}

/// Where events are published and subscribed to. Cheap to clone.
#[derive(Clone, Debug)]
pub struct EventHub {
    kept: Arc<Mutex<Kept>>,
    sender: broadcast::Sender<LiveEvent>,
}

impl Default for EventHub {
    fn default() -> Self {
        Self::new()
    }
}

impl EventHub {
    /// Returns a hub without events.
    #[must_use]
    pub fn new() -> Self {
        let kept = Kept { next: 1, events: VecDeque::with_capacity(KEPT), changes: VecDeque::new() };
        Self { kept: Arc::new(Mutex::new(kept)), sender: broadcast::channel(KEPT).0 }
    }

    /// Publishes an event. Never waits.
    pub fn publish(&self, kind: &'static str, data: &serde_json::Value) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let event = LiveEvent { id: kept.next, kind, data: data.to_string().into() };
        kept.next += 1;
        if kept.events.len() == KEPT {
            kept.events.pop_front();
        }
        kept.events.push_back(event.clone());
        // Sent under the lock, so that a subscriber sees each event once. Without subscribers nobody is told.
        if self.sender.send(event).is_err() {
            tracing::trace!(kind, "nobody listens");
        }
    }

    /// Keeps a line of "What changed"; the oldest goes where there are too many.
    pub(super) fn note(&self, change: Change) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.changes.len() == KEPT {
            kept.changes.pop_front();
        }
        kept.changes.push_back(change);
    }

    /// Returns the lines since a time, newest first.
    pub(super) fn changes_since(&self, since_ms: i64) -> Vec<Change> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.changes.iter().rev().take_while(|change| change.at_ms >= since_ms).cloned().collect()
    }

    /// Returns the kept events behind `last_id`, and all later ones.
    #[must_use]
    pub fn subscribe(&self, last_id: Option<u64>) -> (Vec<LiveEvent>, broadcast::Receiver<LiveEvent>) {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let missed = match last_id {
            Some(last) => kept.events.iter().filter(|event| event.id > last).cloned().collect(),
            None => Vec::new(),
        };
        (missed, self.sender.subscribe())
    }
}

fn shown(event: &LiveEvent) -> Event {
    Event::default().id(event.id.to_string()).event(event.kind).data(&*event.data)
}

/// `GET /api/watchkeeper/v1/changes?hours=24`.
pub(super) async fn changes(State(api): State<ApiState>, params: super::params::Params) -> Result<Response, ApiError> {
    let hours: i64 = match params.get("hours") {
        "" => 24,
        text => text.parse().map_err(|_| ApiError::bad_parameter("hours", "must be a whole number"))?,
    };
    let since_ms = api.env.clock.now_ms().saturating_sub(hours.saturating_mul(3_600_000));
    let shown: Vec<serde_json::Value> = api
        .events
        .changes_since(since_ms)
        .iter()
        .map(|change| {
            let at = super::json::rfc3339(Some(change.at_ms));
            serde_json::json!({"at": at, "kind": change.kind, "text": change.text, "link": change.link})
        })
        .collect();
    Ok(super::answer::success_value(&serde_json::Value::Array(shown)))
}

/// `GET /api/watchkeeper/v1/events`.
pub(super) async fn stream(State(api): State<ApiState>, headers: HeaderMap) -> impl IntoResponse {
    let last_id = headers.get("last-event-id").and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
    let (missed, receiver) = api.events.subscribe(last_id);
    Sse::new(follow(api, missed.into(), receiver))
}

fn follow(
    api: ApiState,
    missed: VecDeque<LiveEvent>,
    receiver: broadcast::Receiver<LiveEvent>,
) -> impl Stream<Item = Result<Event, Infallible>> {
    let start = (api, missed, receiver, true);
    futures_util::stream::unfold(start, |(api, mut missed, mut receiver, first)| async move {
        if first {
            // Tells the browser at once that the stream is open.
            let hello = Event::default().event("heartbeat").data("{}").retry(Duration::from_secs(2));
            return Some((Ok(hello), (api, missed, receiver, false)));
        }
        if let Some(event) = missed.pop_front() {
            return Some((Ok(shown(&event)), (api, missed, receiver, false)));
        }
        let next = api.env.clock.timeout(HEARTBEAT, receiver.recv()).await;
        let event = match next {
            Ok(Ok(event)) => shown(&event),
            Ok(Err(broadcast::error::RecvError::Lagged(count))) => {
                Event::default().event("missed").data(format!("{{\"count\":{count}}}"))
            }
            Ok(Err(broadcast::error::RecvError::Closed)) => return None,
            Err(_) => Event::default().event("heartbeat").data("{}"),
        };
        Some((Ok(event), (api, missed, receiver, false)))
    })
}
