//! Methods, origins and forms, as Prometheus's server takes them.

use super::tests::world;
use crate::env::Env;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode, header};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use std::time::Duration;

fn text(headers: &HeaderMap, name: header::HeaderName) -> String {
    let all: Vec<&str> = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
    all.join("; ")
}

#[tokio::test]
async fn methods_that_are_not_there_are_told_which_are() {
    let world = world();
    let cases = [
        ("DELETE", "/api/v1/query?query=1", 405, "GET, HEAD, OPTIONS, POST", "Method Not Allowed\n"),
        ("POST", "/api/v1/targets", 405, "GET, HEAD, OPTIONS", "Method Not Allowed\n"),
        ("PUT", "/-/healthy", 405, "GET, HEAD, OPTIONS", "Method Not Allowed\n"),
        ("GET", "/-/reload", 405, "OPTIONS, POST, PUT", "Only POST or PUT requests allowed"),
        ("GET", "/api/v1/write", 405, "OPTIONS, POST", "Method Not Allowed\n"),
        ("OPTIONS", "/-/healthy", 200, "GET, HEAD, OPTIONS", ""),
        ("OPTIONS", "/api/v1/query", 204, "", ""),
        ("OPTIONS", "/api/v1/no/such", 204, "", ""),
        ("POST", "/api/v1/no/such", 404, "", "404 page not found\n"),
    ];
    for (method, uri, status, allow, body) in cases {
        let request = Request::builder().method(method).uri(uri).header(header::HOST, "localhost").body(Body::empty()).unwrap();
        let (found, headers, bytes) = world.ask(request).await;
        let found = (found.as_u16(), text(&headers, header::ALLOW), String::from_utf8(bytes).unwrap());
        assert_eq!(found, (status, allow.to_owned(), body.to_owned()), "{method} {uri}");
        assert_eq!(text(&headers, header::VARY), if found.0 == 204 { "Origin" } else { "" }, "{method} {uri}");
        assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
    }
}

#[tokio::test]
async fn pages_of_other_sites_may_read_and_change_nothing() {
    let world = world();
    let ask = async |method: &str, uri: &str| {
        let request = Request::builder().method(method).uri(uri).header(header::HOST, "localhost");
        let (status, headers, _) =
            world.ask(request.header(header::ORIGIN, "http://a.example").body(Body::empty()).unwrap()).await;
        (status, text(&headers, header::ACCESS_CONTROL_ALLOW_ORIGIN), text(&headers, header::ACCESS_CONTROL_ALLOW_METHODS))
    };
    let origin = "http://a.example".to_owned();
    let methods = "GET, POST, OPTIONS".to_owned();
    assert_eq!(ask("OPTIONS", "/api/v1/query").await, (StatusCode::NO_CONTENT, origin.clone(), methods.clone()));
    assert_eq!(ask("GET", "/api/v1/query?query=1").await, (StatusCode::OK, origin.clone(), methods.clone()));
    assert_eq!(ask("GET", "/api/v1/query?query=").await, (StatusCode::BAD_REQUEST, origin, methods));
    let none = String::new;
    assert_eq!(ask("POST", "/api/v1/admin/tsdb/snapshot").await, (StatusCode::FORBIDDEN, none(), none()));
    assert_eq!(ask("GET", "/api/watchkeeper/v1/overview").await, (StatusCode::OK, none(), none()));
    assert_eq!(ask("GET", "/metrics").await, (StatusCode::OK, none(), none()));
}

#[tokio::test]
async fn forms_come_in_two_kinds() {
    let world = world();
    let part = |name: &str, value: &str| format!("--x\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
    let parts = [("Content-Type", "multipart/form-data; boundary=x")];
    let form = format!("{}{}--x--\r\n", part("query", "1 + 1"), part("time", "5"));
    let (status, body) = world.post("/api/v1/query", &parts, form.clone()).await;
    let two = "{\"status\":\"success\",\"data\":{\"resultType\":\"scalar\",\"result\":[5,\"2\"]}}";
    assert_eq!((status, body.as_str()), (StatusCode::OK, two));
    // The address goes before the parts, and behind a plain form.
    let (_, body) = world.post("/api/v1/query?query=7", &parts, form).await;
    assert!(body.contains("[5,\"7\"]"), "{body}");
    let plain = [("Content-Type", "application/X-WWW-form-urlencoded; charset=UTF-8")];
    let (_, body) = world.post("/api/v1/query?query=7&time=5", &plain, "query=3").await;
    assert!(body.contains("[5,\"3\"]"), "{body}");
    // Files are no fields, and what is no form is as if it were not there.
    let file = "--x\r\nContent-Disposition: form-data; name=\"query\"; filename=\"a\"\r\n\r\n1\r\n--x--\r\n";
    for (kind, body) in [(parts[0].1, file), (parts[0].1, "no form"), ("multipart/form-data", "x"), ("text/plain", "query=1")] {
        let (status, answer) = world.post("/api/v1/query", &[("Content-Type", kind)], body).await;
        assert!(status == StatusCode::BAD_REQUEST && answer.contains("no expression found in input"), "{body}: {answer}");
        let (status, answer) = world.post("/api/v1/query?query=7&time=5", &[("Content-Type", kind)], body).await;
        assert!(status == StatusCode::OK && answer.contains("[5,\"7\"]"), "{body}: {answer}");
    }
    assert_eq!(world.data("/api/v1/query?query=1&time=5").await["result"], json!([5, "1"]));
}

/// Reads the next event, which is one piece, as Prometheus writes it: `data: {...}` and an empty line.
async fn event(stream: &mut axum::body::BodyDataStream) -> Value {
    let next = Env::real().clock.timeout(Duration::from_secs(5), stream.next()).await;
    let piece = next.expect("in time").expect("more").unwrap();
    let text = String::from_utf8(piece.to_vec()).unwrap();
    let data = text.strip_prefix("data: ").and_then(|rest| rest.strip_suffix("\n\n")).unwrap_or_else(|| panic!("{text:?}"));
    serde_json::from_str(data).unwrap()
}

#[tokio::test]
async fn notifications_are_told_live() {
    let world = world();
    let taken = world.registry.gauge("watchkeeper_config_last_reload_successful", "", &[]);
    taken.set(1.0);
    let (headers, mut first) = world.stream("/api/v1/notifications/live").await;
    assert_eq!(text(&headers, header::CONTENT_TYPE), "text/event-stream");
    assert_eq!(text(&headers, header::CACHE_CONTROL), "no-cache");
    taken.set(0.0);
    world.events.publish("config", &json!({}));
    let told = event(&mut first).await;
    assert_eq!((&told["text"], &told["active"]), (&json!("Configuration reload has failed."), &json!(true)));
    assert!(told["date"].as_str().is_some_and(|date| date.parse::<jiff::Timestamp>().is_ok()), "{told}");
    assert_eq!(told.as_object().map(serde_json::Map::len), Some(3));
    // Whoever comes later is told what holds; what changes nothing is not told.
    let (_, mut second) = world.stream("/api/v1/notifications/live").await;
    assert_eq!(event(&mut second).await, told);
    world.events.publish("target", &json!({}));
    taken.set(1.0);
    world.events.publish("config", &json!({}));
    let mut ended = told;
    ended["active"] = false.into();
    for stream in [&mut first, &mut second] {
        assert_eq!(event(stream).await, ended);
    }
}

/// A large answer is evaluated, written and packed while others are served by the same thread.
#[tokio::test]
async fn large_answers_keep_nobody_waiting() {
    let world = world();
    let samples = "label_replace(vector(1), \"a\", \"1\", \"\", \"\")";
    let many: Vec<String> = (0..150).map(|at| samples.replace("\"1\"", &format!("\"{at}\""))).collect();
    let form = format!("nocache=1&start=0&end=10000&step=1&query={}", many.join(" or ").replace(' ', "%20"));
    let request = Request::post("/api/v1/query_range")
        .header(header::HOST, "localhost")
        .header(header::ACCEPT_ENCODING, "gzip")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from(form))
        .unwrap();
    let clock = Env::real().clock;
    let (begun, longest) = (clock.monotonic(), std::cell::Cell::new(Duration::ZERO));
    let beat = async {
        loop {
            let before = clock.monotonic();
            clock.sleep(Duration::from_millis(1)).await;
            longest.set(longest.get().max(clock.monotonic().saturating_sub(before)));
        }
    };
    let (status, headers, body) = tokio::select! {
        answer = world.ask(request) => answer,
        () = beat => unreachable!("it goes on for ever"),
    };
    let took = clock.monotonic().saturating_sub(begun);
    assert_eq!((status, text(&headers, header::CONTENT_ENCODING)), (StatusCode::OK, "gzip".to_owned()));
    assert!(body.len() > 100_000, "{}", body.len());
    // Writing takes about a third of it, packing a sixth.
    assert!(longest.get() * 8 < took, "nobody else was served for {:?} of {took:?}", longest.get());
}
