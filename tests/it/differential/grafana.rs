//! Every call that Grafana's Prometheus data source makes, asked of this server and of a real Prometheus.
//!
//! What it sends is read from its public source: the health check, the look at the server's flavour, queries by form, template
//! variables, the query builder's look-ups of names and values with limits, exemplars, rules, metadata.

use super::{Pair, data};
use crate::support::{Scratch, http, peer};
use serde_json::Value;
use std::path::Path;

/// What is compared beyond the status and the kind of content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Same {
    /// The whole body.
    Body,
    /// Keys and types: what is told is the server's own.
    Shape,
}

struct Call {
    what: &'static str,
    method: &'static str,
    path: &'static str,
    /// Of the address, or of a form.
    parameters: String,
    same: Same,
}

fn get(what: &'static str, path: &'static str, parameters: impl Into<String>) -> Call {
    Call { what, method: "GET", path, parameters: parameters.into(), same: Same::Body }
}

fn post(what: &'static str, path: &'static str, parameters: impl Into<String>) -> Call {
    Call { method: "POST", ..get(what, path, parameters) }
}

fn shape(what: &'static str, path: &'static str, parameters: &str) -> Call {
    Call { same: Same::Shape, ..get(what, path, parameters) }
}

fn form(pairs: &[(&str, &str)]) -> String {
    pairs.iter().map(|(name, value)| format!("{}={}", http::encode(name), http::encode(value))).collect::<Vec<_>>().join("&")
}

fn calls() -> Vec<Call> {
    let start = (data::START_MS / 1000 + 60).to_string();
    let end = (data::START_MS / 1000 + 1500).to_string();
    let span = [("start", start.as_str()), ("end", end.as_str())];
    let with = |more: &[(&str, &str)]| form(&[more, &span].concat());
    let at = |query: &str| form(&[("query", query), ("time", &end)]);
    let over = |query: &str, step: &str| with(&[("query", query), ("step", step)]);
    let names = r#"{__name__=~".*n.*"}"#;
    vec![
        // The health check, and what server it is.
        post("health check", "/api/v1/query", "query=1%2B1&time=4"),
        get("health check by GET", "/api/v1/query", "query=1%2B1&time=4"),
        shape("flavour and version", "/api/v1/status/buildinfo", ""),
        // Panels and Explore.
        post("instant panel", "/api/v1/query", at("sum by (job) (g)")),
        get("instant panel by GET", "/api/v1/query", at("g")),
        post("native histograms", "/api/v1/query", at("nh")),
        post("scalar", "/api/v1/query", at("scalar(sum(g))")),
        post("text", "/api/v1/query", at("\"x\"")),
        post("range panel", "/api/v1/query_range", over("sum by (job) (rate(c_total[1m]))", "15")),
        post("range panel, fraction of a second", "/api/v1/query_range", over("g", "15.5")),
        post("heat map", "/api/v1/query_range", over("nh", "60")),
        get("range panel by GET", "/api/v1/query_range", over("n", "30s")),
        post("range of nothing", "/api/v1/query_range", over("absent_metric", "15")),
        post("exemplars", "/api/v1/query_exemplars", with(&[("query", "sum(rate(h_bucket[1m]))")])),
        // Template variables and the query builder.
        get("metric names", "/api/v1/label/__name__/values", with(&[])),
        get("metric names that match", "/api/v1/label/__name__/values", with(&[("match[]", names)])),
        get("some metric names", "/api/v1/label/__name__/values", with(&[("limit", "3")])),
        get("as many as there may be", "/api/v1/label/__name__/values", with(&[("limit", "40000"), ("match[]", names)])),
        get("label values", "/api/v1/label/job/values", with(&[("match[]", "g")])),
        shape("label values without a time", "/api/v1/label/job/values", ""),
        get("values of a quoted label", "/api/v1/label/U__status_2e_code/values", with(&[])),
        get("values of no label", "/api/v1/label/none/values", with(&[])),
        get("label names", "/api/v1/labels", with(&[])),
        post("label names by form", "/api/v1/labels", with(&[("match[]", "g"), ("match[]", "nh")])),
        post("some label names", "/api/v1/labels", with(&[("limit", "2")])),
        get("series", "/api/v1/series", with(&[("match[]", "g")])),
        post("series by form", "/api/v1/series", with(&[("match[]", r#"{job="api"}"#), ("match[]", "nh")])),
        post("some series", "/api/v1/series", with(&[("match[]", "g"), ("limit", "1")])),
        post("query_result()", "/api/v1/query", at("topk(2, g)")),
        shape("metadata", "/api/v1/metadata", ""),
        shape("metadata with limits", "/api/v1/metadata", "limit=1000&limit_per_metric=1"),
        get("metadata of a metric", "/api/v1/metadata", "metric=g"),
        get("formatted", "/api/v1/format_query", form(&[("query", "sum by(job)(rate(c_total[1m]))>1")])),
        post("formatted by form", "/api/v1/format_query", form(&[("query", "a+b")])),
        // Rules, alerts, targets.
        shape("rules", "/api/v1/rules", ""),
        shape("alerting rules", "/api/v1/rules", "type=alert&exclude_alerts=true"),
        shape("a page of rules", "/api/v1/rules", "group_limit=10"),
        shape("alerts", "/api/v1/alerts", ""),
        shape("alertmanagers", "/api/v1/alertmanagers", ""),
        shape("targets", "/api/v1/targets", "state=active"),
        shape("settings", "/api/v1/status/config", ""),
        // What people write wrong.
        post("no query", "/api/v1/query", "query="),
        post("half a query", "/api/v1/query", at("sum(g")),
        post("a query of two kinds", "/api/v1/query_range", over("g[1m]", "15")),
        post("no step", "/api/v1/query_range", with(&[("query", "g")])),
        post("too many steps", "/api/v1/query_range", form(&[("query", "g"), ("start", "0"), ("end", &end), ("step", "1")])),
        post("a step of nothing", "/api/v1/query_range", over("g", "0")),
        post("an end before the start", "/api/v1/query_range", "query=g&start=10&end=5&step=1"),
        post("no time", "/api/v1/query", "query=g&time=tomorrow"),
        // Which of the two is named first is chance there.
        Call { same: Same::Shape, ..post("many to many", "/api/v1/query", at("g * on (job) n")) },
        post("a limit that is none", "/api/v1/labels", with(&[("limit", "-1")])),
        post("half a selector", "/api/v1/series", with(&[("match[]", "g{")])),
        post("no selector", "/api/v1/series", with(&[])),
        get("a selector of everything", "/api/v1/labels", with(&[("match[]", "{}")])),
        get("no such path", "/api/v1/nothing", ""),
        Call { method: "DELETE", ..get("a method that is none", "/api/v1/query", "query=1") },
        Call { method: "OPTIONS", ..get("a preflight", "/api/v1/query_range", "") },
    ]
}

/// The keys and the types of their values; of a list the first entry.
fn outline(value: &Value) -> Value {
    match value {
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), outline(value))).collect(),
        Value::Array(list) => list.first().map(outline).into_iter().collect(),
        Value::String(_) => "text".into(),
        Value::Number(_) => "number".into(),
        Value::Bool(_) => "truth".into(),
        Value::Null => Value::Null,
    }
}

/// Whether `ours` has all that `theirs` has, in kind; more is allowed.
fn covers(ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => {
            theirs.iter().all(|(key, value)| ours.get(key).is_some_and(|ours| covers(ours, value)))
        }
        (Value::Array(ours), Value::Array(theirs)) => theirs.iter().zip(ours).all(|(theirs, ours)| covers(ours, theirs)),
        (ours, theirs) => ours == theirs,
    }
}

/// The values of headers that a client acts on.
fn headers(answer: &http::Answer) -> Vec<(&'static str, String)> {
    ["content-type", "vary", "access-control-allow-origin", "access-control-allow-methods", "access-control-allow-headers"]
        .into_iter()
        .map(|name| {
            let line = answer.head.lines().find(|line| line.to_ascii_lowercase().starts_with(&format!("{name}:")));
            (name, line.and_then(|line| line.split_once(": ")).map_or("", |(_, value)| value).to_owned())
        })
        .collect()
}

#[test]
fn grafanas_calls_are_answered_as_prometheus_answers_them() {
    let Some(binary) = peer("PROMETHEUS_BIN") else { return };
    let scratch = Scratch::new("grafana");
    let pair = Pair::start(Path::new(&binary), &scratch);
    let mut different = Vec::new();
    for call in calls() {
        let ask = |address: &str| {
            let sent = [
                ("Content-Type", "application/x-www-form-urlencoded"),
                ("Origin", "http://grafana.example"),
                ("X-Dashboard-Uid", "uid"),
                ("X-Panel-Id", "1"),
            ];
            let (path, body) = match call.method {
                "POST" => (call.path.to_owned(), call.parameters.as_str()),
                _ if call.parameters.is_empty() => (call.path.to_owned(), ""),
                _ => (format!("{}?{}", call.path, call.parameters), ""),
            };
            http::request(address, call.method, &path, &sent, body.as_bytes()).unwrap()
        };
        let (ours, theirs) = (ask(&pair.ours.address), ask(&pair.theirs));
        let read = |answer: &http::Answer| serde_json::from_str(&answer.body).unwrap_or(Value::from(answer.body.as_str()));
        let (our_body, their_body) = (read(&ours), read(&theirs));
        let same = match call.same {
            Same::Body => our_body == their_body,
            Same::Shape => covers(&outline(&our_body), &outline(&their_body)),
        };
        if ours.status != theirs.status || headers(&ours) != headers(&theirs) || !same {
            different.push(format!(
                "{}: {} {}?{}\n  ours   {} {:?} {our_body}\n  theirs {} {:?} {their_body}",
                call.what,
                call.method,
                call.path,
                call.parameters,
                ours.status,
                headers(&ours),
                theirs.status,
                headers(&theirs),
            ));
        }
    }
    assert!(different.is_empty(), "{} calls are answered otherwise:\n{}", different.len(), different.join("\n"));
}
