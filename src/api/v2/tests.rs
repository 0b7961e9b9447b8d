//! Requests and answers, without a socket.

use super::*;
use crate::alerting::{Alerting, AlertingDeps};
use crate::config::Config;
use crate::env::memory_disk::MemoryDisk;
use crate::state::memory::MemoryState;
use crate::telemetry::metrics::Registry;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use std::sync::Arc;
use tokio::sync::watch;
use tower_service::Service as _;

struct Api {
    router: Router,
    alerting: AlertingHandle,
    _config: watch::Sender<Arc<Config>>,
    _may_send: watch::Sender<bool>,
}

impl Api {
    async fn start() -> Self {
        let env = Env { disk: Arc::new(MemoryDisk::new()), ..Env::real() };
        let (config, may_send) = (watch::Sender::new(Arc::new(Config::without_file())), watch::Sender::new(true));
        let deps = AlertingDeps {
            env: env.clone(),
            state: Arc::new(MemoryState::new()),
            registry: Registry::new(),
            external_url: "http://localhost:9090".to_owned(),
            may_send: may_send.subscribe(),
            fence: Arc::new(crate::alerting::fence::Alone),
            outbox_dir: "/outbox".into(),
            on_change: Arc::new(|_| {}),
            charts: crate::alerting::notify::chart::ChartFeed::none(),
        };
        let alerting = Alerting::start(deps, config.subscribe()).await.expect("started");
        let router = routes(AlertingApi { alerting: alerting.clone(), env, started_ms: 0 });
        Self { router, alerting, _config: config, _may_send: may_send }
    }

    async fn ask(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        let request = Request::builder().method(method).uri(path).body(body).expect("a request");
        let response = self.router.clone().call(request).await.expect("infallible");
        let status = response.status().as_u16();
        let bytes = to_bytes(response.into_body(), 1 << 20).await.expect("a body");
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        self.ask("GET", path, &Value::Null).await
    }
}

fn silence(matcher: &Value, starts: &str, ends: &str) -> Value {
    json!({"matchers": [matcher], "startsAt": starts, "endsAt": ends, "createdBy": "li", "comment": "resizing"})
}

#[tokio::test]
async fn alerts_are_taken_filtered_and_grouped() {
    let api = Api::start().await;
    let posted = json!([
        {"labels": {"alertname": "Down", "instance": "a", "empty": ""}, "annotations": {"summary": "x"}, "generatorURL": "http://p/"},
        {"labels": {"alertname": "Down", "instance": "b"}, "startsAt": "0001-01-01T00:00:00.000Z"},
        {"labels": {"alertname": "Slow", "instance": "a"}, "endsAt": "2020-01-01T00:00:00Z"},
    ]);
    assert_eq!(api.ask("POST", "/api/v2/alerts", &posted).await, (200, Value::Null));
    let (status, alerts) = api.get("/api/v2/alerts").await;
    assert_eq!((status, alerts.as_array().map(Vec::len)), (200, Some(2)), "{alerts}");
    for (query, count) in [
        ("filter=instance%3Da", 1),
        ("filter=%7Balertname%3DDown%7D", 2),
        ("filter=instance%3D~%22a%7Cb%22", 2),
        ("active=false", 0),
        ("receiver=out.*", 2),
        ("receiver=out", 0),
    ] {
        let (_, found) = api.get(&format!("/api/v2/alerts?{query}")).await;
        assert_eq!(found.as_array().map(Vec::len), Some(count), "{query}: {found}");
    }
    let first = alerts.as_array().and_then(|all| all.iter().find(|alert| alert["labels"]["instance"] == "a")).expect("there");
    assert_eq!(first["status"], json!({"state": "active", "silencedBy": [], "inhibitedBy": [], "mutedBy": []}));
    assert_eq!(first["labels"], json!({"alertname": "Down", "instance": "a"}));
    assert_eq!((&first["receivers"], &first["generatorURL"]), (&json!([{"name": "outbox"}]), &json!("http://p/")));
    let (_, groups) = api.get("/api/v2/alerts/groups").await;
    assert_eq!(groups[0]["labels"], json!({"alertname": "Down"}), "{groups}");
    assert_eq!(groups[0]["alerts"].as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn refusals_have_alertmanagers_codes() {
    let api = Api::start().await;
    let good = json!([{"labels": {"alertname": "Good"}}, {"labels": {"alertname": "Bad"}, "startsAt": "2024-01-02T00:00:00Z", "endsAt": "2024-01-01T00:00:00Z"}]);
    let (status, words) = api.ask("POST", "/api/v2/alerts", &good).await;
    assert_eq!((status, words), (400, json!("start time must be before end time")));
    assert_eq!(api.get("/api/v2/alerts").await.1.as_array().map(Vec::len), Some(1), "the good one was taken");
    let cases = [
        ("POST", "/api/v2/alerts", json!([{"labels": {"alertname": "Ever"}, "endsAt": "9999-12-31T23:59:59Z"}]), 200),
        ("POST", "/api/v2/alerts", json!([{"labels": {"alertname": "Never"}, "endsAt": "9999-12-32T23:59:59Z"}]), 422),
        ("POST", "/api/v2/alerts", json!([{"annotations": {}}]), 422),
        ("POST", "/api/v2/alerts", json!({"labels": {}}), 400),
        ("POST", "/api/v2/alerts", json!([{"labels": {}}]), 400),
        ("GET", "/api/v2/alerts?filter=a", Value::Null, 400),
        ("GET", "/api/v2/alerts?active=maybe", Value::Null, 422),
        ("GET", "/api/v2/alerts?receiver=%5B", Value::Null, 400),
        ("GET", "/api/v2/silence/nonsense", Value::Null, 422),
        ("GET", "/api/v2/silence/8a8a8a8a-1111-2222-3333-444444444444", Value::Null, 404),
        ("DELETE", "/api/v2/silence/8a8a8a8a-1111-2222-3333-444444444444", Value::Null, 404),
        ("POST", "/api/v2/silences", json!({"comment": "x"}), 400),
    ];
    for (method, path, body, wanted) in cases {
        let (status, answer) = api.ask(method, path, &body).await;
        assert_eq!(status, wanted, "{method} {path} {body}: {answer}");
    }
}

#[tokio::test]
async fn alerts_past_a_limit_are_refused_by_name_and_the_others_taken() {
    let api = Api::start().await;
    let long = "x".repeat(5 << 20);
    let many: serde_json::Map<String, Value> = (0..200).map(|number| (format!("l{number}"), json!("v"))).collect();
    let posted = json!([
        {"labels": {"alertname": "Good"}, "annotations": {"summary": "x".repeat(60_000)}},
        {"labels": {"alertname": "Long", "path": long}},
        {"labels": {"alertname": "Told"}, "annotations": {"text": long}},
        {"labels": {"alertname": "Wide"}, "annotations": many},
        {"labels": {"alertname": "Linked"}, "generatorURL": long},
    ]);
    let (status, words) = api.ask("POST", "/api/v2/alerts", &posted).await;
    let words = words.as_str().unwrap_or_default().to_owned();
    assert_eq!(status, 400, "{words}");
    for reason in [
        "alert \"Long\": label value too long (label: path, length: 5242880, limit: 65536)",
        "alert \"Told\": annotation value too long (annotation: text, length: 5242880, limit: 65536)",
        "alert \"Wide\": too many annotations (200, limit: 128)",
        "alert \"Linked\": generatorURL too long (length: 5242880, limit: 65536)",
    ] {
        assert!(words.contains(reason), "{words}");
    }
    let (_, alerts) = api.get("/api/v2/alerts").await;
    assert_eq!(alerts.as_array().map(Vec::len), Some(1));
    assert_eq!(alerts[0]["labels"]["alertname"], "Good");
}

#[tokio::test]
async fn silences_are_made_found_and_ended() {
    let api = Api::start().await;
    api.ask("POST", "/api/v2/alerts", &json!([{"labels": {"alertname": "Down", "instance": "a"}}])).await;
    let matcher = json!({"name": "instance", "value": "a|b", "isRegex": true});
    let far = "2100-01-01T00:00:00.000Z";
    let (status, made) = api.ask("POST", "/api/v2/silences", &silence(&matcher, "2024-01-01T00:00:00Z", far)).await;
    assert_eq!(status, 200, "{made}");
    let id = made["silenceID"].as_str().expect("an id").to_owned();
    let (_, alerts) = api.get("/api/v2/alerts").await;
    assert_eq!((&alerts[0]["status"]["state"], &alerts[0]["status"]["silencedBy"]), (&json!("suppressed"), &json!([id])));
    assert_eq!(api.get("/api/v2/alerts?silenced=false").await.1, json!([]));
    let (_, one) = api.get(&format!("/api/v2/silence/{id}")).await;
    assert_eq!(one["matchers"], json!([{"name": "instance", "value": "a|b", "isRegex": true, "isEqual": true}]));
    assert_eq!((&one["endsAt"], &one["status"]["state"]), (&json!(far), &json!("active")));
    for (query, count) in [("", 1), ("?filter=instance%3D%22a%7Cb%22", 1), ("?filter=other%3Dx", 0)] {
        assert_eq!(api.get(&format!("/api/v2/silences{query}")).await.1.as_array().map(Vec::len), Some(count), "{query}");
    }
    assert_eq!(api.ask("DELETE", &format!("/api/v2/silence/{id}"), &Value::Null).await.0, 200);
    assert_eq!(api.ask("DELETE", &format!("/api/v2/silence/{id}"), &Value::Null).await.0, 200, "it is over already, as asked");
    assert_eq!(api.get(&format!("/api/v2/silence/{id}")).await.1["status"]["state"], "expired");
    let past = silence(&matcher, "2024-01-01T00:00:00Z", "2024-02-01T00:00:00Z");
    let (status, words) = api.ask("POST", "/api/v2/silences", &past).await;
    assert_eq!(status, 400);
    assert!(words.as_str().is_some_and(|words| words.contains("end time can't be in the past")), "{words}");
    let mut unknown = silence(&matcher, "2024-01-01T00:00:00Z", far);
    unknown["id"] = json!("8a8a8a8a-1111-2222-3333-444444444444");
    assert_eq!(api.ask("POST", "/api/v2/silences", &unknown).await.0, 404);
}

#[tokio::test]
async fn status_receivers_and_notifications_answer() {
    let api = Api::start().await;
    let (_, status) = api.get("/api/v2/status").await;
    assert!(status["config"]["original"].as_str().is_some_and(|yaml| yaml.contains("outbox")), "{status}");
    assert_eq!(status["cluster"]["status"], "disabled");
    assert_eq!(api.get("/api/v2/receivers").await.1, json!([{"name": "outbox"}]));
    let (status, list) = api.get("/api/watchkeeper/v1/notifications").await;
    assert_eq!((status, &list["data"]["entries"], &list["data"]["mailServer"]), (200, &json!([]), &json!(false)));
    assert_eq!(api.get("/api/watchkeeper/v1/notifications/7/html").await.0, 404);
    api.ask("POST", "/api/v2/alerts", &json!([{"labels": {"alertname": "Down"}}])).await;
    let (_, alerts) = api.get("/api/v2/alerts").await;
    let fingerprint = alerts[0]["fingerprint"].as_str().expect("one").to_owned();
    let ack = format!("/api/watchkeeper/v1/alerts/{fingerprint}/acknowledge");
    assert_eq!(api.ask("POST", &ack, &json!({"by": "li"})).await.0, 200);
    let (_, history) = api.get(&format!("/api/watchkeeper/v1/alerts/{fingerprint}/history")).await;
    assert_eq!(history["data"]["acknowledged"]["by"], "li", "{history}");
    assert_eq!(history["data"]["route"]["receiver"], "outbox");
}

#[tokio::test]
async fn a_silence_over_everything_must_be_meant() {
    let api = Api::start().await;
    let all = json!({"name": "alertname", "value": ".+", "isRegex": true, "isEqual": true});
    let (status, body) =
        api.ask("POST", "/api/v2/silences", &silence(&all, "2020-01-01T00:00:00Z", "2099-01-01T00:00:00Z")).await;
    assert_eq!(status, 400);
    assert!(body.as_str().is_some_and(|text| text.contains("keep quiet about every alert")), "{body}");
    let mut meant = silence(&all, "2020-01-01T00:00:00Z", "2099-01-01T00:00:00Z");
    meant["confirm"] = Value::Bool(true);
    assert_eq!(api.ask("POST", "/api/v2/silences", &meant).await.0, 200);
    let soon = Timestamp::from_millisecond(Env::real().clock.now_ms() + 3_600_000).expect("a time").to_string();
    assert_eq!(
        api.ask("POST", "/api/v2/silences", &silence(&all, "2020-01-01T00:00:00Z", &soon)).await.0,
        200,
        "an hour is fine"
    );
}

#[tokio::test]
async fn a_receiver_is_tested_at_once() {
    let api = Api::start().await;
    let path = "/api/watchkeeper/v1/notifications/test";
    let (status, body) = api.ask("POST", path, &json!({"receiver": "nobody"})).await;
    assert_eq!(status, 400);
    assert!(body.as_str().is_some_and(|text| text.contains("there is no receiver \"nobody\"; there are outbox")), "{body}");
    assert_eq!(api.ask("POST", path, &json!({})).await.0, 422);
    let (status, body) = api.ask("POST", path, &json!({"receiver": "outbox"})).await;
    assert_eq!(status, 200, "{body}");
    let id = body["data"]["ids"][0].as_str().expect("an id").to_owned();
    let mut waits = api.alerting.watch();
    let is_kept = |view: &Arc<crate::alerting::AlertingView>| {
        view.history.iter().any(|one| one.state == crate::alerting::history::RecordState::Sent)
    };
    waits.wait_for(is_kept).await.expect("sent");
    let (_, body) = api.get(&format!("/api/watchkeeper/v1/notifications/{id}")).await;
    assert_eq!((&body["data"]["state"], &body["data"]["why"]), (&json!("outbox"), &json!("test")));
    assert!(body["data"]["subject"].as_str().is_some_and(|subject| subject.contains("WatchkeeperTest")), "{body}");
    let (_, alerts) = api.get("/api/v2/alerts").await;
    assert_eq!(alerts, json!([]), "it is no alert");
}
