//! The description of all that is served over HTTP, as OpenAPI 3.1 at `/api/v1/openapi.yaml`.
//!
//! One table; a test holds it against the routes. The text is JSON, which every reader of YAML reads.

use super::state::ApiState;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

/// A path: its methods, what it is for, the parameters it takes. A name with `!` must be given; `x[]` may be repeated.
struct Served(&'static str, &'static [&'static str], &'static str, &'static [&'static str]);

const BOTH: &[&str] = &["get", "post"];
const GET: &[&str] = &["get"];
const POST: &[&str] = &["post"];
const CHANGE: &[&str] = &["post", "put"];
const RANGE: &[&str] = &["match[]", "start", "end", "limit"];

#[rustfmt::skip]
const SERVED: &[Served] = &[
    Served("/api/v1/query", BOTH, "Evaluates an expression at one time", &["query!", "time", "timeout", "limit", "lookback_delta", "stats", "explain"]),
    Served("/api/v1/query_range", BOTH, "Evaluates an expression at the steps of a range", &["query!", "start!", "end!", "step!", "timeout", "limit", "lookback_delta", "stats", "explain", "nocache"]),
    Served("/api/v1/query_exemplars", BOTH, "Exemplars of the series that an expression selects", &["query!", "start", "end"]),
    Served("/api/v1/format_query", BOTH, "An expression as it is best read", &["query!"]),
    Served("/api/v1/parse_query", BOTH, "An expression's syntax tree", &["query!"]),
    Served("/api/v1/series", BOTH, "Series that match", &["match[]!", "start", "end", "limit"]),
    Served("/api/v1/labels", BOTH, "Names of labels", RANGE),
    Served("/api/v1/label/{name}/values", GET, "Values of a label", RANGE),
    Served("/api/v1/metadata", GET, "What exporters say about their metrics", &["metric", "limit", "limit_per_metric"]),
    Served("/api/v1/targets", GET, "Targets that are scraped, those that other members scrape, and those that relabelling dropped", &["state", "scrapePool"]),
    Served("/api/v1/targets/metadata", GET, "What targets say about their metrics", &["match_target", "metric", "limit"]),
    Served("/api/v1/targets/relabel_steps", GET, "What each relabelling step makes of labels", &["scrapePool!", "labels!"]),
    Served("/api/v1/scrape_pools", GET, "Names of the scrape pools", &[]),
    Served("/api/v1/scrape_pools/config", GET, "The configuration of a scrape pool", &["scrapePool!"]),
    Served("/api/v1/rules", GET, "Rule groups with the state of their rules", &["type", "rule_name[]", "rule_group[]", "file[]", "match[]", "exclude_alerts", "group_limit", "group_next_token"]),
    Served("/api/v1/alerts", GET, "Alerts that are pending or firing", &[]),
    Served("/api/v1/alertmanagers", GET, "External Alertmanagers", &[]),
    Served("/api/v1/status/config", GET, "The configuration in force", &[]),
    Served("/api/v1/status/flags", GET, "Values of the flags", &[]),
    Served("/api/v1/status/buildinfo", GET, "What was built", &[]),
    Served("/api/v1/status/runtimeinfo", GET, "How the server is doing", &[]),
    Served("/api/v1/status/tsdb", GET, "Which metrics and labels have most series", &["limit"]),
    Served("/api/v1/status/tsdb/blocks", GET, "The store's blocks", &[]),
    Served("/api/v1/status/walreplay", GET, "How far the log is read back", &[]),
    Served("/api/v1/status/self_metrics", GET, "The server's own metrics", &["metric_name_pattern"]),
    Served("/api/v1/features", GET, "What this server can do", &[]),
    Served("/api/v1/notifications", GET, "What the server has to say about itself", &[]),
    Served("/api/v1/notifications/live", GET, "The same as server-sent events", &[]),
    Served("/api/v1/openapi.yaml", GET, "This description", &[]),
    Served("/api/v1/admin/tsdb/delete_series", CHANGE, "Deletes samples of the series that match", &["match[]!", "start", "end"]),
    Served("/api/v1/admin/tsdb/clean_tombstones", CHANGE, "Writes blocks anew without what was deleted", &[]),
    Served("/api/v1/admin/tsdb/snapshot", CHANGE, "Makes a snapshot", &["skip_head"]),
    Served("/api/v1/read", POST, "Remote read: prometheus.ReadRequest, packed by snappy", &[]),
    Served("/api/v1/write", POST, "Remote write: prometheus.WriteRequest or io.prometheus.write.v2.Request, packed by snappy", &[]),
    Served("/api/v1/otlp/v1/metrics", POST, "OTLP/HTTP: metrics as protobuf or JSON, plain or packed by gzip", &[]),
    Served("/api/v1/import/prometheus", CHANGE, "Takes the text format from scripts", &["extra_label", "timestamp"]),
    Served("/api/v2/status", GET, "Alertmanager's status", &[]),
    Served("/api/v2/receivers", GET, "Names of the receivers", &[]),
    Served("/api/v2/alerts", BOTH, "Lists alerts, takes alerts", &["filter", "active", "silenced", "inhibited", "unprocessed", "receiver"]),
    Served("/api/v2/alerts/groups", GET, "Alerts by group", &["filter", "active", "silenced", "inhibited", "receiver"]),
    Served("/api/v2/silences", BOTH, "Lists silences, sets one", &["filter"]),
    Served("/api/v2/silence/{id}", &["get", "delete"], "One silence; its end", &[]),
    Served("/api/watchkeeper/v1/events", GET, "Live events as server-sent events", &[]),
    Served("/api/watchkeeper/v1/changes", GET, "What changed", &["hours"]),
    Served("/api/watchkeeper/v1/overview", GET, "What each part counts", &[]),
    Served("/api/watchkeeper/v1/why", GET, "Why somebody is told of an alert, or not", &["fingerprint", "labels"]),
    Served("/api/watchkeeper/v1/cluster/role", GET, "What this member says of itself to the other members", &[]),
    Served("/api/watchkeeper/v1/zookeeper", GET, "The ZooKeeper session and the znodes below the root", &[]),
    Served("/api/watchkeeper/v1/zookeeper/rules", BOTH, "The rule files in ZooKeeper; changes some, all or nothing", &[]),
    Served("/api/watchkeeper/v1/zookeeper/rules/file", GET, "A rule file in ZooKeeper", &["name!"]),
    Served("/api/watchkeeper/v1/zookeeper/rules/check", POST, "What is wrong with rule files; writes nothing", &[]),
    Served("/api/watchkeeper/v1/zookeeper/rules/history", GET, "Earlier versions of the rule files", &[]),
    Served("/api/watchkeeper/v1/zookeeper/rules/history/{push}", GET, "One version of the rule files, or the text of one file in it", &["name"]),
    Served("/api/watchkeeper/v1/zookeeper/rules/diff", GET, "What changed between two versions", &["from", "to"]),
    Served("/api/watchkeeper/v1/zookeeper/rules/rollback", POST, "Makes the rule files those of an earlier version", &[]),
    Served("/api/watchkeeper/v1/zookeeper/servers", GET, "Each server of the ensemble: role, latency, connections, sizes", &[]),
    Served("/api/watchkeeper/v1/status/config", GET, "The configuration in force, with the origin of each part", &[]),
    Served("/api/watchkeeper/v1/discovery", GET, "What is wrong with where targets come from", &["scrapePool"]),
    Served("/api/watchkeeper/v1/cardinality", GET, "How many series carry each value of a label", &["label!", "limit", "hours"]),
    Served("/api/watchkeeper/v1/rules/replay", BOTH, "When an alerting rule would have fired over past data", &["expr!", "for", "keep_firing_for", "labels", "alert", "start", "end", "interval"]),
    Served("/api/watchkeeper/v1/compact", POST, "Writes the head to blocks and merges them", &[]),
    Served("/api/watchkeeper/v1/targets/scrape", POST, "Scrapes a target now", &[]),
    Served("/api/watchkeeper/v1/notifications", GET, "The notification log", &[]),
    Served("/api/watchkeeper/v1/notifications/test", POST, "Tells a receiver a test at once", &[]),
    Served("/api/watchkeeper/v1/notifications/{id}", GET, "One notification", &[]),
    Served("/api/watchkeeper/v1/notifications/{id}/html", GET, "Its mail as it looks", &[]),
    Served("/api/watchkeeper/v1/notifications/{id}/raw", GET, "Its mail as it was sent", &[]),
    Served("/api/watchkeeper/v1/notifications/{id}/retry", POST, "Sends it again", &[]),
    Served("/api/watchkeeper/v1/alerts/{fingerprint}/history", GET, "The states of an alert", &[]),
    Served("/api/watchkeeper/v1/alerts/{fingerprint}/states", GET, "Changes of an alert's state", &["hours"]),
    Served("/api/watchkeeper/v1/alerts/past", GET, "Each time an alert fired", &["hours", "limit"]),
    Served("/api/watchkeeper/v1/alerts/{fingerprint}/acknowledge", POST, "Says that somebody is at it", &[]),
    Served("/api/watchkeeper/v1/status/queries", GET, "Queries that run, and the slowest since the start", &[]),
    Served("/api/watchkeeper/v1/status/queries/running/{id}", &["delete"], "Ends a query", &[]),
    Served("/api/watchkeeper/v1/status/licences", GET, "Whose code is embedded, under which licence", &[]),
    Served("/api/watchkeeper/v1/session", &["get", "post", "delete"], "Who asks; logs in, logs out", &[]),
    Served("/api/watchkeeper/v1/dashboards", BOTH, "Dashboards of people's own; saves one", &[]),
    Served("/api/watchkeeper/v1/dashboards/order", POST, "Sets the order of the dashboards", &[]),
    Served("/api/watchkeeper/v1/dashboards/{id}", &["get", "delete"], "One dashboard; deletes it", &["base"]),
    Served("/federate", GET, "Newest samples for another server to scrape", &["match[]"]),
    Served("/metrics", GET, "The server's own metrics", &[]),
    Served("/-/healthy", GET, "Whether the process lives", &[]),
    Served("/-/ready", GET, "Whether it serves", &[]),
    Served("/-/reload", CHANGE, "Reads the configuration again", &[]),
    Served("/-/quit", CHANGE, "Stops the server", &[]),
];

fn parameter(name: &str, place: &str) -> Value {
    let (plain, required) = name.strip_suffix('!').map_or((name, false), |plain| (plain, true));
    let schema =
        if plain.ends_with("[]") { json!({"type": "array", "items": {"type": "string"}}) } else { json!({"type": "string"}) };
    json!({"name": plain, "in": place, "required": required || place == "path", "schema": schema})
}

fn operation(served: &Served, method: &str) -> Value {
    let Served(path, _, summary, names) = served;
    let in_path = path.split('{').skip(1).filter_map(|part| part.split_once('}')).map(|(name, _)| parameter(name, "path"));
    let parameters: Vec<Value> = in_path.chain(names.iter().map(|name| parameter(name, "query"))).collect();
    let named: String = path.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    let is_json = path.starts_with("/api/v1/") || path.starts_with("/api/watchkeeper/");
    let answer = if is_json {
        json!({"description": "Done", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Answer"}}}})
    } else {
        json!({"description": "Done"})
    };
    json!({
        "operationId": format!("{method}{named}"),
        "summary": summary,
        "parameters": parameters,
        "responses": {
            "2XX": answer,
            "default": {"description": "Refused", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}},
        },
    })
}

/// Returns the description; `server` is the path below which all lies.
fn document(server: &str) -> Value {
    let mut paths = Map::new();
    for served in SERVED {
        let operations: Map<String, Value> =
            served.1.iter().map(|method| ((*method).to_owned(), operation(served, method))).collect();
        paths.insert(served.0.to_owned(), Value::Object(operations));
    }
    let texts = json!({"type": "array", "items": {"type": "string"}});
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Watchkeeper",
            "description": "The HTTP APIs of Prometheus (/api/v1) and Alertmanager (/api/v2), and what the dashboard needs beyond them (/api/watchkeeper/v1, may change). Every parameter may also come as a form by POST.",
            "version": env!("CARGO_PKG_VERSION"),
        },
        "servers": [{"url": server}],
        "paths": paths,
        "components": {"schemas": {
            "Answer": {
                "type": "object",
                "required": ["status"],
                "properties": {"status": {"const": "success"}, "data": {}, "warnings": texts, "infos": texts},
            },
            "Error": {
                "type": "object",
                "required": ["status", "errorType", "error"],
                "properties": {"status": {"const": "error"}, "errorType": {"type": "string"}, "error": {"type": "string"}},
            },
        }},
    })
}

/// `GET /api/v1/openapi.yaml`.
pub(super) async fn serve(State(api): State<ApiState>) -> Response {
    let prefix = super::prefix::of(&api);
    let server = if prefix.is_empty() { "/" } else { prefix.as_str() };
    ([(header::CONTENT_TYPE, "application/yaml")], format!("{:#}\n", document(server))).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Every `.route("path", get(..).post(..))` of a source, as path and method.
    fn routes(source: &str) -> BTreeSet<(String, String)> {
        let mut found = BTreeSet::new();
        for part in source.split(".route(").skip(1) {
            let mut quoted = part.splitn(3, '"');
            let (Some(_), Some(path), Some(rest)) = (quoted.next(), quoted.next(), quoted.next()) else { continue };
            let rest = rest.split(['\n', ';']).next().unwrap_or_default();
            for method in ["get", "post", "put", "delete"] {
                if rest.contains(&format!(" {method}("))
                    || rest.contains(&format!(".{method}("))
                    || rest.contains(&format!("({method}("))
                {
                    found.insert((path.to_owned(), method.to_owned()));
                }
            }
        }
        found
    }

    #[test]
    fn describes_exactly_the_routes_that_exist() {
        let sources = [include_str!("routes.rs"), include_str!("v1/mod.rs"), include_str!("v2/mod.rs")];
        let exist: BTreeSet<_> = sources.iter().flat_map(|source| routes(source)).collect();
        assert!(exist.len() > 60, "{exist:?}");
        let described: BTreeSet<_> = SERVED
            .iter()
            .flat_map(|Served(path, methods, ..)| methods.iter().map(|method| ((*path).to_owned(), (*method).to_owned())))
            .collect();
        let missing: Vec<_> = exist.difference(&described).collect();
        let invented: Vec<_> = described.difference(&exist).collect();
        assert!(missing.is_empty() && invented.is_empty(), "not described: {missing:?}; not there: {invented:?}");
        let document = document("/");
        let ids: BTreeSet<_> = document["paths"]
            .as_object()
            .into_iter()
            .flatten()
            .flat_map(|(_, operations)| operations.as_object().into_iter().flatten())
            .map(|(_, operation)| operation["operationId"].to_string())
            .collect();
        assert_eq!(ids.len(), described.len());
    }
}
