//! `/api/watchkeeper/v1/status/queries`: what runs now, and what was slowest since the start.

use super::answer::success_value;
use super::error::{ApiError, ErrorKind};
use super::json::rfc3339;
use super::state::ApiState;
use crate::promql::activity::{Activity, Running, Slow};
use axum::extract::{Path, State};
use axum::response::Response;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Slow queries that are told.
const SLOWEST_MAX: usize = 50;

fn activity(api: &ApiState) -> Result<&Arc<Activity>, ApiError> {
    let absent = || ApiError::new(ErrorKind::Unavailable, "this server keeps no record of queries");
    api.engine.activity().ok_or_else(absent)
}

fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

fn slow(slow: &Slow) -> Value {
    let (start_ms, end_ms, step_ms) = slow.range;
    json!({
        "query": &*slow.text,
        "startMs": start_ms,
        "endMs": end_ms,
        "stepMs": step_ms,
        "durationMs": milliseconds(slow.longest),
        "totalMs": milliseconds(slow.total),
        "samples": slow.samples,
        "series": slow.series,
        "at": rfc3339(Some(slow.at_ms)),
        "count": slow.count,
        "user": slow.user,
        "source": slow.asking.as_str(),
    })
}

fn running(running: &Running) -> Value {
    json!({
        "id": running.id,
        "query": &*running.query.text,
        "sinceMs": milliseconds(running.took),
        "source": running.query.asking.as_str(),
        "user": running.query.user,
        "cancellable": running.query.cancel.is_some(),
    })
}

/// `GET status/queries`.
pub(super) async fn list(State(api): State<ApiState>) -> Result<Response, ApiError> {
    let activity = activity(&api)?;
    Ok(success_value(&json!({
        "slowest": activity.slowest(SLOWEST_MAX).iter().map(slow).collect::<Vec<_>>(),
        "running": activity.running().iter().map(running).collect::<Vec<_>>(),
        "since": rfc3339(Some(activity.since_ms())),
    })))
}

/// `DELETE status/queries/running/{id}`.
pub(super) async fn cancel(State(api): State<ApiState>, Path(id): Path<u64>) -> Result<Response, ApiError> {
    match activity(&api)?.cancel(id) {
        Some(true) => Ok(success_value(&json!({}))),
        Some(false) => Err(ApiError::bad_data("this is a rule's query: rules are not cancelled, they have their time limit")),
        None => Err(ApiError::new(ErrorKind::NotFound, "this query does not run any more")),
    }
}

#[cfg(test)]
mod tests {
    use crate::api::tests::{World, world};
    use axum::body::Body;
    use axum::http::{Request, header};
    use serde_json::{Value, json};

    const QUERIES: &str = "/api/watchkeeper/v1/status/queries";
    const LONG: &str =
        "/api/v1/query_range?query=quantile_over_time(0.5,(vector(1)*time())%5B11000s:1s%5D)&start=0&end=11000&step=1&nocache=1";

    async fn delete(world: &World, id: &Value) -> (u16, Value) {
        let request = Request::delete(format!("{QUERIES}/running/{id}")).header(header::HOST, "localhost");
        let (status, _, body) = world.ask(request.body(Body::empty()).unwrap()).await;
        (status.as_u16(), serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn a_query_is_listed_while_it_runs_and_ended_on_demand() {
        let world = world();
        let ending = async {
            for _ in 0..10_000 {
                let listed = world.data(QUERIES).await;
                if let Some(running) = listed["running"].get(0) {
                    assert_eq!(running["query"], "quantile_over_time(0.5,(vector(1)*time())[11000s:1s])");
                    assert_eq!((&running["source"], &running["cancellable"]), (&json!("api"), &json!(true)));
                    return delete(&world, &running["id"]).await.0;
                }
                tokio::task::yield_now().await;
            }
            panic!("it never ran");
        };
        let ((status, body), ended) = tokio::join!(world.get(LONG), ending);
        assert_eq!((status.as_u16(), ended), (499, 200), "{body}");
        let listed = world.data(QUERIES).await;
        assert_eq!(listed["running"], json!([]));
        // It took its time all the same.
        let slowest = &listed["slowest"][0];
        assert_eq!(
            (&slowest["series"], &slowest["count"], &slowest["stepMs"]),
            (&Value::Null, &json!(1), &json!(1000)),
            "{listed}"
        );
        assert_eq!(delete(&world, &json!(999)).await.0, 404);
    }
}
