//! What a running server answers, against Prometheus's own description of its API, and remote read by a real Prometheus.

use crate::differential::data;
use crate::support::remote_write::{self, Series};
use crate::support::server::Server;
use crate::support::{Process, Scratch, free_port, http, wait_until};
use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

const BOUND: Duration = Duration::from_secs(20);

/// Fields that we have beyond Prometheus's, below the schema of that name.
const BEYOND: &[(&str, &[&str])] = &[
    ("Target", &["since", "failures", "samplesScraped", "bodyBytes", "failure"]),
    ("DroppedTarget", &["rule", "reason"]),
    ("RuleGroup", &["origin", "line"]),
    ("QueryData", &["explain"]),
    ("PrometheusVersion", &["application", "applicationVersion"]),
    ("RuntimeInfo", &["storagePath"]),
    ("StatusWALReplayData", &["state"]),
];

fn description() -> Option<Value> {
    let folder = std::env::var_os("WATCHKEEPER_SHARED")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    let path = folder.join("promql/openapi_3.1.yaml");
    let Ok(text) = std::fs::read_to_string(&path) else {
        assert!(std::env::var_os("WATCHKEEPER_REQUIRE_SHARED").is_none_or(|value| value != "1"), "{} is absent", path.display());
        println!("NOT CHECKED against the description: {} is absent", path.display());
        return None;
    };
    Some(serde_saphyr::from_str(&text).unwrap())
}

/// As much of JSON Schema as the description uses. Appends what does not fit.
struct Check<'a> {
    root: &'a Value,
    wrong: Vec<String>,
}

impl Check<'_> {
    fn resolve<'b>(&'b self, schema: &'b Value) -> (&'b Value, Option<&'b str>) {
        let Some(reference) = schema["$ref"].as_str() else { return (schema, None) };
        let name = reference.rsplit('/').next().unwrap();
        (&self.root["components"]["schemas"][name], Some(name))
    }

    fn fits(&mut self, schema: &Value, value: &Value, at: &str) {
        let (schema, name) = self.resolve(schema);
        let (schema, name) = (schema.clone(), name.map(str::to_owned));
        for kind in ["oneOf", "anyOf"] {
            if let Some(choices) = schema[kind].as_array() {
                let fits = choices.iter().any(|choice| {
                    let mut inner = Check { root: self.root, wrong: Vec::new() };
                    inner.fits(choice, value, at);
                    inner.wrong.is_empty()
                });
                if !fits {
                    self.wrong.push(format!("{at}: fits no choice: {value:.200}"));
                }
            }
        }
        let is = |kind: &str| match kind {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "boolean" => value.is_boolean(),
            "number" => value.is_number(),
            "integer" => value.is_i64() || value.is_u64(),
            "null" => value.is_null(),
            _ => false,
        };
        let kinds: Vec<&str> = match &schema["type"] {
            Value::String(kind) => vec![kind],
            Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        if !kinds.is_empty() && !kinds.iter().any(|kind| is(kind)) {
            self.wrong.push(format!("{at}: is no {kinds:?}: {value:.200}"));
            return;
        }
        if let Some(allowed) = schema["enum"].as_array()
            && !allowed.contains(value)
        {
            self.wrong.push(format!("{at}: is none of {allowed:?}: {value}"));
        }
        if let Some(items) = value.as_array() {
            for (place, item) in items.iter().enumerate() {
                self.fits(&schema["items"], item, &format!("{at}[{place}]"));
            }
        }
        let Some(fields) = value.as_object() else { return };
        for needed in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !fields.contains_key(needed) {
                self.wrong.push(format!("{at}: {needed} is missing"));
            }
        }
        let beyond = BEYOND.iter().find(|(schema, _)| Some(*schema) == name.as_deref()).map_or(&[][..], |(_, fields)| *fields);
        for (key, field) in fields {
            let known = &schema["properties"][key];
            if !known.is_null() {
                self.fits(known, field, &format!("{at}.{key}"));
            } else if schema["additionalProperties"].is_object() {
                self.fits(&schema["additionalProperties"], field, &format!("{at}.{key}"));
            } else if schema["additionalProperties"] == Value::Bool(false) && !beyond.contains(&key.as_str()) {
                self.wrong.push(format!("{at}.{key}: is not described"));
            }
        }
    }
}

/// What is asked: path of the description, and the same with parameters.
const ASKED: &[(&str, &str)] = &[
    ("/query", "/query?query=up"),
    ("/query", "/query?query=1&stats=all"),
    ("/query", "/query?query=up[1m]&limit=1"),
    // Not a string: its time is described as a string, and is a number in Prometheus.
    ("/query_range", "/query_range?query=up&start=NOW-60&end=NOW&step=5&stats=all"),
    ("/query_exemplars", "/query_exemplars?query=up&start=NOW-60&end=NOW"),
    ("/format_query", "/format_query?query=sum(up)"),
    ("/parse_query", "/parse_query?query=sum(rate(up[5m]))"),
    ("/labels", "/labels"),
    ("/label/{name}/values", "/label/job/values?match[]=up"),
    ("/series", "/series?match[]=up"),
    ("/metadata", "/metadata"),
    ("/scrape_pools", "/scrape_pools"),
    ("/scrape_pools/config", "/scrape_pools/config?scrapePool=self"),
    ("/targets", "/targets"),
    ("/targets/metadata", "/targets/metadata?limit=5"),
    ("/targets/metadata", "/targets/metadata?metric=watchkeeper_build_info"),
    ("/targets/relabel_steps", "/targets/relabel_steps?scrapePool=self&labels=%7B%22__address__%22%3A%22a%22%7D"),
    ("/rules", "/rules"),
    ("/rules", "/rules?type=alert&group_limit=1"),
    ("/alerts", "/alerts"),
    ("/alertmanagers", "/alertmanagers"),
    ("/status/config", "/status/config"),
    ("/status/runtimeinfo", "/status/runtimeinfo"),
    ("/status/buildinfo", "/status/buildinfo"),
    ("/status/flags", "/status/flags"),
    ("/status/tsdb", "/status/tsdb?limit=3"),
    ("/status/tsdb/blocks", "/status/tsdb/blocks"),
    ("/status/walreplay", "/status/walreplay"),
    ("/status/self_metrics", "/status/self_metrics?metric_name_pattern=watchkeeper_http_.*"),
    ("/notifications", "/notifications"),
    ("/features", "/features"),
];

#[test]
fn answers_are_what_prometheus_describes() {
    let Some(root) = description() else { return };
    let scratch = Scratch::new("api");
    let port = free_port();
    let config = format!(
        "global: {{scrape_interval: 1s, external_labels: {{site: x}}}}\nrule_files: [rules.yml]\nscrape_configs:\n\
         - job_name: self\n  relabel_configs: [{{source_labels: [__address__], regex: 'gone:.*', action: drop}}]\n  \
         static_configs: [{{targets: ['127.0.0.1:{port}', 'gone:1', '127.0.0.1:1']}}]\n"
    );
    scratch.write(
        "rules.yml",
        "groups:\n- name: g\n  interval: 1s\n  rules:\n  - {record: a:b, expr: sum(up)}\n  - {alert: Up, expr: up == 1, labels: {s: x}, annotations: {summary: y}}\n",
    );
    let config = scratch.write("watchkeeper.yml", &config);
    let server = Server::start_at(&format!("127.0.0.1:{port}"), &scratch.join("data"), Some(&config), &scratch.join("log"));
    wait_until("an alert of a scraped target", BOUND, || server.value("ALERTS{alertname=\"Up\"}") == Some(1.0));
    wait_until("the other target to be tried", BOUND, || server.value("count(up{job=\"self\"})") == Some(2.0));
    let now: i64 = server.value("vector(time())").unwrap() as i64;
    let mut check = Check { root: &root, wrong: Vec::new() };
    let ask = |check: &mut Check<'_>, described: &str, method: &str, answer: &http::Answer, asked: &str| {
        let body = answer.json();
        let response = &root["paths"][described][method]["responses"][if answer.status == 200 { "200" } else { "default" }];
        let schema = &response["content"]["application/json"]["schema"];
        assert!(schema.is_object(), "{described} {method} is not described");
        check.fits(schema, &body, asked);
    };
    for (described, asked) in ASKED {
        let asked = asked.replace("NOW-60", &(now - 60).to_string()).replace("NOW", &now.to_string());
        let answer = server.get(&format!("/api/v1{asked}"));
        assert_eq!(answer.status, 200, "{asked}: {}", answer.body);
        ask(&mut check, described, "get", &answer, &asked);
        // A form by POST gives the same kind of answer, and a query that is none an error of the kind described.
        if root["paths"][described]["post"].is_object() {
            let (path, form) = asked.split_once('?').unwrap_or((&asked, ""));
            let answer = server.post(&format!("/api/v1{path}"), "application/x-www-form-urlencoded", form.as_bytes());
            assert_eq!(answer.status, 200, "{asked}: {}", answer.body);
            ask(&mut check, described, "post", &answer, &asked);
        }
    }
    for (described, asked) in
        [("/query", "/query?query=("), ("/rules", "/rules?type=x"), ("/scrape_pools/config", "/scrape_pools/config?scrapePool=x")]
    {
        let answer = server.get(&format!("/api/v1{asked}"));
        assert_eq!(answer.status, 400, "{asked}");
        ask(&mut check, described, "get", &answer, asked);
    }
    for path in ["/admin/tsdb/snapshot", "/admin/tsdb/delete_series?match[]=gone", "/admin/tsdb/clean_tombstones"] {
        assert!(server.post(&format!("/api/v1{path}"), "", b"").status < 300, "{path}");
    }
    assert!(check.wrong.is_empty(), "{} places:\n{}", check.wrong.len(), check.wrong.join("\n"));
    // All that is described there is served; what is not is named here.
    let not_served = ["/search/metric_names", "/search/label_names", "/search/label_values"];
    let ours: Value = serde_saphyr::from_str(&server.get("/api/v1/openapi.yaml").body).unwrap();
    for (path, methods) in root["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let served = ours["paths"][format!("/api/v1{path}")][method].is_object();
            assert_eq!(served, !not_served.contains(&path.as_str()), "{method} {path}");
        }
    }
    // What cannot be reloaded is a notification.
    scratch.write("watchkeeper.yml", "global: [\n");
    assert_eq!(server.post("/-/reload", "", b"").status, 500);
    let told = server.get("/api/v1/notifications");
    assert!(told.body.contains("Configuration reload has failed.") && told.body.contains("\"active\":true"), "{}", told.body);
    ask(&mut check, "/notifications", "get", &told, "/notifications");
    assert!(check.wrong.is_empty(), "{:?}", check.wrong);
}

#[test]
fn a_real_prometheus_reads_from_here() {
    let scratch = Scratch::new("remote-read");
    let config = "global: {external_labels: {site: x}}\nstorage: {retention: {time: 0}}\n";
    let server = Server::start(&scratch, Some(&scratch.write("watchkeeper.yml", config)));
    let series = |instance: &'static str, offset: f64| Series {
        labels: vec![("__name__", "read_back"), ("instance", instance)],
        samples: (0..500).map(|i| (1_700_000_000_000 + i * 15_000 + i % 3, offset + i as f64 * 0.1)).collect(),
    };
    assert!(remote_write::send(&server.address, &[series("a", 0.0), series("b", 7.5)]).unwrap().status < 300);
    let headers = [("Content-Type", "application/x-protobuf"), ("Content-Encoding", "snappy")];
    for body in &data::remote_write() {
        let answer = http::request(&server.address, "POST", "/api/v1/write", &headers, body).unwrap();
        assert!(answer.status < 300, "{}", answer.body);
    }
    let at = format!("{}.5", data::START_MS / 1000 + 1500);
    let text = format!("remote_read: [{{url: 'http://{}/api/v1/read', read_recent: true}}]\n", server.address);
    let address = format!("127.0.0.1:{}", free_port());
    let mut command = Command::new(std::env::var_os("PROMETHEUS_BIN").unwrap_or_else(|| "prometheus".into()));
    command.arg(format!("--config.file={}", scratch.write("prometheus.yml", &text).display()));
    command.arg(format!("--storage.tsdb.path={}", scratch.join("prometheus").display()));
    command.arg(format!("--web.listen-address={address}"));
    let _prometheus = Process::start(&mut command, "prometheus", scratch.join("prometheus.log"));
    wait_until("Prometheus to be ready", BOUND, || http::get(&address, "/-/ready").is_ok_and(|answer| answer.status == 200));
    for query in [
        "read_back",
        "rate(read_back{instance=\"b\"}[5m])",
        "sum by (site) (read_back{instance=~\"a|b\", site=\"x\"})",
        "read_back[3m]",
        // All kinds of series: native histograms, stale markers, numbers that are none.
        "{__name__=~\".+\", __name__!=\"read_back\"}[30m]",
    ] {
        let path = format!("/api/v1/query?query={}&time={at}", http::encode(query));
        let theirs = http::get(&address, &path).unwrap().json();
        let ours = server.get(&path.replace(&http::encode(", site=\"x\""), "")).json();
        let mut mine = ours["data"]["result"].clone();
        for one in mine.as_array_mut().unwrap() {
            // The name or the labels that the query keeps, with the external label.
            one["metric"]["site"] = "x".into();
        }
        assert!(!mine.as_array().unwrap().is_empty(), "{query}: {ours}");
        assert_eq!(theirs["data"]["result"], mine, "{query}: {theirs}");
    }
    let garbage = server.post("/api/v1/read", "application/x-protobuf", b"garbage");
    assert_eq!((garbage.status, garbage.body.as_str()), (400, "snappy: corrupt input\n"));
}

#[test]
fn queries_are_logged_as_prometheus_logs_them() {
    let scratch = Scratch::new("query-log");
    let rules = scratch.write("rules.yml", "groups: [{name: g, interval: 500ms, rules: [{record: one, expr: 'vector(1)'}]}]\n");
    let config = "global: {query_log_file: queries.log}\nrule_files: [rules.yml]\n";
    let file = scratch.write("watchkeeper.yml", config);
    let server = Server::start(&scratch, Some(&file));
    let lines = || -> Vec<Value> {
        let text = std::fs::read_to_string(scratch.join("queries.log")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let of = |query: &str| lines().into_iter().find(|line| line["params"]["query"] == query);
    server.get("/api/v1/query_range?query=sum(up)&start=10.5&end=20&step=2");
    server.get(&format!("/api/v1/query?query={}&time=7", http::encode("label_replace(up, \"~x\", \"\", \"\", \"(\")")));
    wait_until("a rule's query", BOUND, || of("vector(1)").is_some());
    let range = of("sum(up)").unwrap();
    assert_eq!(
        range["params"],
        serde_json::json!({"query": "sum(up)", "start": "1970-01-01T00:00:10.500Z", "end": "1970-01-01T00:00:20.000Z", "step": 2})
    );
    assert_eq!(
        range["httpRequest"],
        serde_json::json!({"clientIP": "127.0.0.1", "method": "GET", "path": "/api/v1/query_range"})
    );
    assert_eq!((&range["msg"], &range["level"]), (&"promql query logged".into(), &"INFO".into()));
    assert!(range["stats"]["timings"]["evalTotalTime"].as_f64().is_some() && range["error"].is_null(), "{range}");
    let rule = of("vector(1)").unwrap();
    assert_eq!(rule["ruleGroup"], serde_json::json!({"file": rules.display().to_string(), "name": "g"}));
    // Without the key nothing is logged; with another file it goes there, after a reload.
    scratch.write("watchkeeper.yml", &config.replace("queries.log", "other.log"));
    assert_eq!(server.post("/-/reload", "text/plain", b"").status, 200);
    wait_until("the other file", BOUND, || scratch.join("other.log").exists());
}
