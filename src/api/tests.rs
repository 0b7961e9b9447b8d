//! The whole router on a store in memory, without a socket.

use super::*;
use crate::config::Config;
use crate::env::Env;
use crate::env::memory_disk::MemoryDisk;
use crate::model::labels::Labels;
use crate::promql::activity::Activity;
use crate::promql::engine::{Engine, EngineOptions};
use crate::storage::append::{Append, BatchSample, BatchValue, Durability};
use crate::storage::{Store, StoreOptions};
use crate::telemetry::metrics::Registry;
use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::watch;
use tower_service::Service as _;

const T0_MS: i64 = 1_700_000_000_000;

pub(super) struct World {
    router: Router,
    store: Store,
    pub(super) config: watch::Sender<Arc<Config>>,
    pub(super) registry: Registry,
    pub(super) events: EventHub,
    ready: watch::Sender<bool>,
}

pub(super) fn world_with(config: Config) -> World {
    world_at(config, Env { disk: Arc::new(MemoryDisk::new()), ..Env::real() })
}

pub(super) fn world_at(config: Config, env: Env) -> World {
    let registry = Registry::new();
    let options = StoreOptions { dir: "/data".into(), retention_ms: 0, ..StoreOptions::default() };
    let store = Store::open(&env, options, &registry).unwrap();
    let events = EventHub::new();
    let (config_sender, config) = watch::channel(Arc::new(config));
    let (ready, ready_receiver) = watch::channel(true);
    let lifecycle = Lifecycle {
        reload: Arc::new(|| Box::pin(async { Err("line 3: no".to_owned()) })),
        quit: Arc::new(|| {}),
        ready: ready_receiver,
    };
    let (clock, wall) = (Arc::clone(&env.clock), Arc::clone(&env.clock));
    let activity = Activity::new(Arc::new(move || clock.monotonic()), Arc::new(move || wall.now_ms()));
    let state = ApiState::new(ApiParts {
        env,
        engine: Arc::new(Engine::new(EngineOptions::default()).with_activity(Arc::new(activity))),
        querier: Arc::new(store.clone()),
        append: Arc::new(store.clone()),
        store: Some(store.clone()),
        registry: registry.clone(),
        config,
        views: Views::default(),
        lifecycle,
        events: events.clone(),
        flags: BTreeMap::new(),
        storage_folder: "/data".to_owned(),
        started_ms: T0_MS,
        session_key: [7; 32],
        limits: ApiLimits::default(),
    });
    World { router: router(state), store, config: config_sender, registry, events, ready }
}

pub(super) fn world() -> World {
    let world = world_with(Config::without_file());
    for (instance, value) in [("a", 1.0), ("b", 2.5)] {
        let labels = Labels::from_pairs([("__name__", "up"), ("instance", instance), ("job", "node")]);
        let series = world.store.series(&labels).unwrap();
        let samples =
            [0, 15_000, 30_000].map(|offset| BatchSample { series, at_ms: T0_MS + offset, value: BatchValue::Float(value) });
        let done = world.store.append_samples(None, &samples, Durability::Written).unwrap();
        assert_eq!(done.stored, 3, "{done:?}");
    }
    world
}

impl World {
    pub(super) async fn ask(&self, request: Request<Body>) -> (StatusCode, http::HeaderMap, Vec<u8>) {
        let response = self.router.clone().call(request).await.unwrap();
        let (parts, body) = response.into_parts();
        (parts.status, parts.headers, axum::body::to_bytes(body, usize::MAX).await.unwrap().to_vec())
    }

    /// Asks for a stream: the answer's headers and its pieces.
    pub(super) async fn stream(&self, uri: &str) -> (http::HeaderMap, axum::body::BodyDataStream) {
        let request = Request::get(uri).header(header::HOST, "localhost:9090").body(Body::empty()).unwrap();
        let (parts, body) = self.router.clone().call(request).await.unwrap().into_parts();
        (parts.headers, body.into_data_stream())
    }

    pub(super) async fn get(&self, uri: &str) -> (StatusCode, String) {
        let request = Request::get(uri).header(header::HOST, "localhost:9090").body(Body::empty()).unwrap();
        let (status, _, body) = self.ask(request).await;
        (status, String::from_utf8(body).unwrap())
    }

    /// Asks what must be refused: status, kind and text of the error.
    async fn refuses(&self, cases: &[(&str, u16, &str, &str)]) {
        for (uri, status, kind, message) in cases {
            let (found, body) = self.get(uri).await;
            let answer: Value = serde_json::from_str(&body).unwrap();
            assert_eq!(found.as_u16(), *status, "{uri}: {body}");
            assert_eq!(answer, json!({"status": "error", "errorType": kind, "error": message}), "{uri}");
        }
    }

    pub(super) async fn post(&self, uri: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> (StatusCode, String) {
        let mut request = Request::post(uri).header(header::HOST, "localhost:9090");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (status, _, body) = self.ask(request.body(body.into()).unwrap()).await;
        (status, String::from_utf8(body).unwrap())
    }

    pub(super) async fn data(&self, uri: &str) -> Value {
        let (status, body) = self.get(uri).await;
        let answer: Value = serde_json::from_str(&body).unwrap_or_else(|error| panic!("{uri}: {error}: {body}"));
        assert_eq!((status, &answer["status"]), (StatusCode::OK, &json!("success")), "{uri}: {body}");
        answer["data"].clone()
    }
}

#[tokio::test]
async fn queries_answer_as_prometheus() {
    let world = world();
    let vector = world.data("/api/v1/query?query=up%7Binstance%3D%22b%22%7D&time=1700000030.5").await;
    let metric = json!({"__name__": "up", "instance": "b", "job": "node"});
    assert_eq!(vector, json!({"resultType": "vector", "result": [{"metric": metric, "value": [1_700_000_030.5, "2.5"]}]}));
    let scalar = world.data("/api/v1/query?query=1%2F0&time=1").await;
    assert_eq!(scalar, json!({"resultType": "scalar", "result": [1, "+Inf"]}));
    let text = world.data("/api/v1/query?query=%22a%22&time=1").await;
    assert_eq!(text, json!({"resultType": "string", "result": [1, "a"]}));
    let matrix = world.data("/api/v1/query_range?query=sum(up)&start=1700000000&end=1700000030&step=15").await;
    let values = json!([[1_700_000_000, "3.5"], [1_700_000_015, "3.5"], [1_700_000_030, "3.5"]]);
    assert_eq!(matrix, json!({"resultType": "matrix", "result": [{"metric": {}, "values": values}]}));
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let (status, body) = world.post("/api/v1/query", &form, "query=vector(1)&time=1").await;
    assert_eq!(status, StatusCode::OK, "{body}");
}

/// A text with many regular expressions is read on the query's own thread, and its time counts as the query's.
#[tokio::test]
async fn reading_a_query_counts_as_its_time() {
    let world = world();
    let matchers: Vec<String> = (0..1_000).map(|at| format!("l%3D~%22(x{at}%7C.%2Ba%5B0-9%5D%7B9%7D).*%22")).collect();
    let text = format!("up%7B{}%7D", matchers.join(","));
    let form = [("content-type", "application/x-www-form-urlencoded")];
    for (path, name) in [("query", "query"), ("query_range", "start=1&end=2&step=1&query")] {
        let (status, body) = world.post(&format!("/api/v1/{path}"), &form, format!("timeout=1ms&{name}={text}")).await;
        let answer: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((status.as_u16(), &answer["errorType"]), (503, &json!("timeout")), "{body}");
    }
    // Where there is time for it, it has an answer.
    let (status, body) = world.post("/api/v1/series", &form, format!("match%5B%5D={text}")).await;
    assert_eq!((status, body.as_str()), (StatusCode::OK, "{\"status\":\"success\",\"data\":[]}"));
    let (status, body) =
        world.post("/api/v1/series", &form, format!("match%5B%5D={text}&match%5B%5D=up%7Bl%3D~%22z.%22%7D")).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(body.contains("more than 1000 different regular expressions in one query"), "{body}");
}

#[tokio::test]
async fn errors_are_prometheus_own() {
    let world = world();
    let cases = [
        ("/api/v1/query?query=up&timeout=0", 503, "timeout", "query timed out in query execution"),
        ("/api/v1/query?query=up%5B1m-1m%5D", 400, "bad_data", "duration must be greater than 0"),
        ("/api/v1/query?query=up%5B5m%3A(1m-1m)%5D", 400, "bad_data", "duration must be greater than 0"),
        (
            "/api/v1/query?query=up%7B",
            400,
            "bad_data",
            "invalid parameter \"query\": 1:4: parse error: unexpected end of input inside braces",
        ),
        (
            "/api/v1/query?query=up&time=x",
            400,
            "bad_data",
            "invalid parameter \"time\": invalid time value for 'time': cannot parse \"x\" to a valid timestamp",
        ),
        (
            "/api/v1/query_range?query=up&start=0&end=1&step=0",
            400,
            "bad_data",
            "invalid parameter \"step\": zero or negative query resolution step widths are not accepted. Try a positive integer",
        ),
        (
            "/api/v1/query_range?query=up&start=2&end=1&step=1",
            400,
            "bad_data",
            "invalid parameter \"end\": end timestamp must not be before start time",
        ),
        (
            "/api/v1/query_range?query=up&start=0&end=20000&step=1",
            400,
            "bad_data",
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
        ),
        (
            "/api/v1/query_range?query=up%5B5m%5D&start=0&end=1&step=1",
            400,
            "bad_data",
            "invalid parameter \"query\": invalid expression type \"range vector\" for range query, must be Scalar or instant Vector",
        ),
        ("/api/v1/series", 400, "bad_data", "no match[] parameter provided"),
        (
            "/api/v1/series?match[]=%7Ba%3D%22%22%7D",
            400,
            "bad_data",
            "invalid parameter \"match[]\": match[] must contain at least one non-empty matcher",
        ),
        ("/api/v1/labels?start=2&end=1", 400, "bad_data", "end timestamp must not be before start timestamp"),
    ];
    world.refuses(&cases).await;
}

#[tokio::test]
async fn errors_name_their_parameter_where_prometheus_does() {
    let cases = [
        (
            "/api/v1/query?query=up&lookback_delta=x",
            400,
            "bad_data",
            "error parsing lookback delta duration: cannot parse \"x\" to a valid duration",
        ),
        (
            "/api/v1/query_exemplars?query=up%7B&start=1&end=2",
            400,
            "bad_data",
            "1:4: parse error: unexpected end of input inside braces",
        ),
        ("/api/v1/labels?match[]=up%7B", 400, "bad_data", "1:4: parse error: unexpected end of input inside braces"),
        ("/api/v1/label/a/values?match[]=up%7B", 400, "bad_data", "1:4: parse error: unexpected end of input inside braces"),
        ("/api/v1/rules?match[]=up%7B", 400, "bad_data", "1:4: parse error: unexpected end of input inside braces"),
        (
            "/api/v1/series?match[]=up%7B",
            400,
            "bad_data",
            "invalid parameter \"match[]\": 1:4: parse error: unexpected end of input inside braces",
        ),
        (
            "/api/v1/targets/metadata?match_target=up%7B",
            400,
            "bad_data",
            "invalid parameter \"match_target\": 1:4: parse error: unexpected end of input inside braces",
        ),
        (
            "/api/v1/rules?group_next_token=x",
            400,
            "bad_data",
            "invalid parameter \"group_next_token\": group_limit needs to be present in order to paginate over the groups",
        ),
        (
            "/api/v1/rules?group_limit=x",
            400,
            "bad_data",
            "invalid parameter \"group_limit\": group_limit needs to be a valid number: strconv.ParseInt: parsing \"x\": invalid syntax",
        ),
    ];
    world().refuses(&cases).await;
}

#[tokio::test]
async fn series_labels_and_values() {
    let world = world();
    let series = world.data("/api/v1/series?match[]=up&start=1700000000&end=1700000030").await;
    assert_eq!(series.as_array().unwrap().len(), 2);
    assert_eq!(world.data("/api/v1/labels").await, json!(["__name__", "instance", "job"]));
    assert_eq!(world.data("/api/v1/label/instance/values").await, json!(["a", "b"]));
    assert_eq!(world.data("/api/v1/label/instance/values?match[]=up%7Binstance%3D%22b%22%7D").await, json!(["b"]));
    let (_, body) = world.get("/api/v1/label/instance/values?limit=1").await;
    assert_eq!(body, r#"{"status":"success","data":["a"],"warnings":["results truncated due to limit"]}"#);
    assert_eq!(world.data("/api/v1/format_query?query=sum(up)by(job)").await, json!("sum by (job) (up)"));
    assert_eq!(world.data("/api/v1/parse_query?query=1").await, json!({"type": "numberLiteral", "val": "1"}));
}

#[tokio::test]
async fn pushed_text_and_remote_write_are_stored() {
    let world = world();
    let (status, body) =
        world.post("/api/v1/import/prometheus?extra_label=host%3Dx&timestamp=1700000000000", &[], "pushed{a=\"1\"} 7\n").await;
    assert_eq!((status, body.as_str()), (StatusCode::NO_CONTENT, ""));
    let found = world.data("/api/v1/query?query=pushed&time=1700000001").await;
    assert_eq!(found["result"][0]["metric"], json!({"__name__": "pushed", "a": "1", "host": "x"}));
    let (status, body) = world.post("/api/v1/import/prometheus", &[], "good 1\n# a comment\nno value\n").await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
    assert!(body.contains("line 3, column 4: "), "{body}");
    let chain = format!("1{}", "%2B1".repeat(5000));
    assert_eq!(world.data(&format!("/api/v1/query?query={chain}&time=0")).await["result"][1], "5001");
    for path in ["format_query", "parse_query"] {
        let refused = world.get(&format!("/api/v1/{path}?query={chain}")).await;
        assert_eq!(refused.0, StatusCode::BAD_REQUEST, "{path}");
    }

    let label = |name: &str, value: &str| {
        let mut message = vec![0x0a, name.len() as u8];
        message.extend(name.bytes());
        message.extend([0x12, value.len() as u8]);
        message.extend(value.bytes());
        message
    };
    let mut sample = vec![0x09];
    sample.extend(5.5_f64.to_le_bytes());
    sample.push(0x10);
    let mut left = 1_700_000_000_000_u64;
    while left >= 0x80 {
        sample.push(left as u8 | 0x80);
        left >>= 7;
    }
    sample.push(left as u8);
    let mut series = Vec::new();
    for (tag, part) in [(0x0a, label("__name__", "written")), (0x0a, label("job", "w")), (0x12, sample)] {
        series.extend([tag, part.len() as u8]);
        series.extend(part);
    }
    let mut request = vec![0x0a, series.len() as u8];
    request.extend(series);
    let packed = snap::raw::Encoder::new().compress_vec(&request).unwrap();
    let headers = [("content-type", "application/x-protobuf"), ("content-encoding", "snappy")];
    let (status, body) = world.post("/api/v1/write", &headers, packed.clone()).await;
    assert_eq!((status, body.as_str()), (StatusCode::NO_CONTENT, ""));
    let capital = [("content-type", "application/x-protobuf"), ("content-encoding", "Snappy")];
    assert_eq!(world.post("/api/v1/write", &capital, packed.clone()).await.0, StatusCode::NO_CONTENT);
    let gzip = [("content-type", "application/x-protobuf"), ("content-encoding", "gzip")];
    assert_eq!(world.post("/api/v1/write", &gzip, packed.clone()).await.0, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let found = world.data("/api/v1/query?query=written&time=1700000001").await;
    assert_eq!(found["result"][0]["value"][1], json!("5.5"));
    let (status, _) = world.post("/api/v1/write", &[("content-type", "text/plain")], packed).await;
    assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let (status, body) = world.post("/api/v1/write", &headers, "garbage").await;
    assert_eq!((status, body.as_str()), (StatusCode::BAD_REQUEST, "snappy: corrupt input\n"));
}

#[tokio::test]
async fn lifecycle_access_and_metrics() {
    let world = world();
    assert_eq!(world.get("/-/ready").await.0, StatusCode::OK);
    let (status, body) = world.post("/-/reload", &[], "").await;
    assert_eq!((status, body.as_str()), (StatusCode::INTERNAL_SERVER_ERROR, "failed to reload config: line 3: no\n"));
    let (status, _) = world.post("/-/reload", &[("origin", "http://evil.example")], "").await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let request = Request::post("/-/reload").header(header::HOST, "evil.example").body(Body::empty()).unwrap();
    assert_eq!(world.ask(request).await.0, StatusCode::FORBIDDEN);
    world.data("/api/v1/query?query=1").await;
    let (_, metrics) = world.get("/metrics").await;
    assert!(metrics.contains("watchkeeper_http_requests_total{code=\"200\",handler=\"/api/v1/query\"} 1"), "{metrics}");
    world.ready.send_replace(false);
    assert_eq!(world.get("/-/ready").await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(world.get("/api/v1/query?query=1").await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(world.get("/-/healthy").await.0, StatusCode::OK);
}

#[tokio::test]
async fn pages_and_status() {
    let world = world();
    let page = |accept: &str, uri: &str| {
        Request::get(uri).header(header::HOST, "localhost").header(header::ACCEPT, accept).body(Body::empty()).unwrap()
    };
    let (status, headers, _) = world.ask(page("text/html", "/alerts")).await;
    assert_eq!(status, StatusCode::OK);
    assert!(headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap().starts_with("default-src 'none'"));
    assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
    assert_eq!(world.ask(page("text/html", "/assets/none.js")).await.0, StatusCode::NOT_FOUND);
    assert_eq!(world.ask(page("application/json", "/no/such")).await.0, StatusCode::NOT_FOUND);
    assert_eq!(world.ask(page("text/html", "/graph?g0.expr=up")).await.0, StatusCode::TEMPORARY_REDIRECT);
    for path in ["config", "flags", "buildinfo", "runtimeinfo", "tsdb", "walreplay"] {
        world.data(&format!("/api/v1/status/{path}")).await;
    }
    for path in ["v1/features", "v1/targets", "v1/rules", "v1/alerts", "v1/alertmanagers", "watchkeeper/v1/overview"] {
        world.data(&format!("/api/{path}")).await;
    }
    let request = Request::get("/api/v1/features")
        .header(header::HOST, "localhost")
        .header(header::ACCEPT_ENCODING, "gzip")
        .body(Body::empty())
        .unwrap();
    let (_, headers, body) = world.ask(request).await;
    assert_eq!(headers[header::CONTENT_ENCODING], "gzip");
    assert_eq!(&body[..2], [0x1f, 0x8b]);
}

#[tokio::test]
async fn compacts_and_counts() {
    let world = world_with(Config::without_file());
    let now_ms = Env::real().clock.now_ms() - 1000;
    let sample = |name: &str| {
        let series = world.store.series(&Labels::from_pairs([("__name__", name), ("job", "a")])).unwrap();
        BatchSample { series, at_ms: now_ms, value: BatchValue::Float(1.0) }
    };
    world.store.append_samples(None, &[sample("up"), sample("down")], Durability::Written).unwrap();
    let chunks = async || world.data("/api/v1/status/tsdb").await["headStats"]["chunkCount"].clone();
    assert_eq!(chunks().await, 2);
    let (status, body) = world.post("/api/watchkeeper/v1/compact", &[], "").await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert!(body.contains("\"blocks\":1") && body.contains("\"samples\":2"), "{body}");
    assert_eq!(chunks().await, 0);
    let counted = world.data("/api/watchkeeper/v1/cardinality?label=job").await;
    assert_eq!(counted, json!({"values": [{"value": "a", "series": 2}], "allValues": 1}));
    assert_eq!(world.get("/api/watchkeeper/v1/cardinality?label=job&limit=0").await.0, StatusCode::BAD_REQUEST);
    assert_eq!(world.get("/api/watchkeeper/v1/cardinality").await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn federation_shows_the_newest_samples() {
    let world = world_with(Config::without_file());
    let labels = Labels::from_pairs([("__name__", "up"), ("job", "a\"b")]);
    let series = world.store.series(&labels).unwrap();
    let now_ms = Env::real().clock.now_ms() - 1000;
    let sample = BatchSample { series, at_ms: now_ms, value: BatchValue::Float(1.0) };
    world.store.append_samples(None, &[sample], Durability::Written).unwrap();
    let (status, body) = world.get("/federate?match[]=up").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(body, format!("# TYPE up untyped\nup{{job=\"a\\\"b\"}} 1 {now_ms}\n"));
}

#[tokio::test]
async fn the_store_is_administered_as_prometheus_does() {
    let world = world();
    let post = async |uri: &str| world.post(uri, &[], "").await;
    let (status, body) = post("/api/v1/admin/tsdb/snapshot?skip_head=maybe").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(
        body.contains("invalid parameter \\\"skip_head\\\": strconv.ParseBool: parsing \\\"maybe\\\": invalid syntax"),
        "{body}"
    );
    assert_eq!(world.data("/api/v1/status/tsdb/blocks").await, json!({"blocks": []}));
    let (status, body) = post("/api/v1/admin/tsdb/snapshot").await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let name = serde_json::from_str::<Value>(&body).unwrap()["data"]["name"].as_str().unwrap().to_owned();
    assert!(name.len() == 33 && name.contains("Z-"), "{name}");
    let blocks = world.data("/api/v1/status/tsdb/blocks").await;
    let block = &blocks["blocks"][0];
    assert_eq!(block["stats"]["numSamples"], 6);
    assert_eq!((&block["minTime"], &block["maxTime"]), (&json!(T0_MS), &json!(T0_MS + 30_001)));
    assert_eq!(block["compaction"], json!({"level": 2, "sources": [block["ulid"]]}), "a finished day");

    let (status, body) = post("/api/v1/admin/tsdb/delete_series").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(body.contains("no match[] parameter provided"), "{body}");
    let range =
        "match[]=up{instance=\"a\"}&start=1700000010&end=1700000020".replace('{', "%7B").replace('}', "%7D").replace('"', "%22");
    assert_eq!(post(&format!("/api/v1/admin/tsdb/delete_series?{range}")).await.0, StatusCode::NO_CONTENT);
    let count = async || {
        world.data("/api/v1/query?query=sum(count_over_time(up%5B1h%5D))&time=1700000030").await["result"][0]["value"][1].clone()
    };
    assert_eq!(count().await, "5");
    assert_eq!(post("/api/v1/admin/tsdb/clean_tombstones").await.0, StatusCode::NO_CONTENT);
    assert_eq!(world.data("/api/v1/status/tsdb/blocks").await["blocks"][0]["stats"]["numSamples"], 5);
    assert_eq!(count().await, "5");
    // A selector may match everything; a range that ends before it begins is empty.
    assert_eq!(post("/api/v1/admin/tsdb/delete_series?match[]=%7B%7D&start=9&end=1").await.0, StatusCode::NO_CONTENT);
    assert_eq!(count().await, "5");
    assert_eq!(post("/api/v1/admin/tsdb/delete_series?match[]=%7B%7D").await.0, StatusCode::NO_CONTENT);
    assert_eq!(world.data("/api/v1/query?query=up&time=1700000030").await["result"], json!([]));
    let replay = world.data("/api/v1/status/walreplay").await;
    assert_eq!(replay, json!({"min": 0, "max": 0, "current": 0, "state": "done"}));
}

#[tokio::test]
async fn administration_from_other_hosts_needs_authentication() {
    let world = world();
    for (peer, expected) in [("192.0.2.7:1000", StatusCode::FORBIDDEN), ("127.0.0.1:1000", StatusCode::NO_CONTENT)] {
        for path in ["clean_tombstones", "delete_series?match[]=none"] {
            let mut request = Request::post(format!("/api/v1/admin/tsdb/{path}"))
                .header(header::HOST, "localhost:9090")
                .body(Body::empty())
                .unwrap();
            request.extensions_mut().insert(access::Peer(peer.parse().unwrap()));
            assert_eq!(world.ask(request).await.0, expected, "{peer} {path}");
        }
    }
}

#[tokio::test]
async fn everything_is_below_the_external_urls_path() {
    let mut config = Config::without_file();
    config.web.external_url = crate::config::values::Url::parse("https://watch.example.org/mon/watch/").unwrap();
    let world = world_with(config);
    for prefix in ["", "/mon/watch"] {
        assert_eq!(world.data(&format!("{prefix}/api/v1/query?query=1&time=1")).await["result"], json!([1, "1"]), "{prefix}");
        assert_eq!(world.get(&format!("{prefix}/-/healthy")).await.0, StatusCode::OK);
    }
    let page = |uri: &str| {
        let request = Request::get(uri).header(header::HOST, "watch.example.org").header(header::ACCEPT, "text/html");
        request.body(Body::empty()).unwrap()
    };
    for uri in ["/mon/watch", "/mon/watch/", "/mon/watch/alerts"] {
        let (status, headers, body) = world.ask(page(uri)).await;
        assert_eq!(status, StatusCode::OK, "{uri}");
        assert_eq!(headers[header::CONTENT_TYPE], "text/html; charset=utf-8", "{uri}");
        assert!(!String::from_utf8(body).unwrap().contains("\"/assets/"), "files are named below the prefix");
    }
    let (_, headers, _) = world.ask(page("/mon/watch/graph?g0.expr=up")).await;
    assert_eq!(headers[header::LOCATION], "/mon/watch/explore?q=up");
    // Who may do what is decided by the path below the prefix.
    let (status, _) = world.post("/mon/watch/-/reload", &[("origin", "http://evil.example")], "").await;
    assert_eq!(status, StatusCode::FORBIDDEN);
}
