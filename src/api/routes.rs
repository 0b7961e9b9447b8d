//! All routes together, and what lies around them: readiness, access, packing, headers, metrics. `/act/...` is where links of
//! mails lead.
//!
//! `/api/watchkeeper/v1` today:
//!
//! | route | what |
//! | --- | --- |
//! | `GET events` | live events as server-sent events: `target`, `alert`, `silence`, `rule`, `notification`, `config`, `zookeeper`, and `heartbeat` each 15 s; `missed` says that some were dropped |
//! | `GET changes?hours=24` | what changed: time, kind, text, page; since the start of the process |
//! | `POST targets/scrape` | `{"pool": ..., "instance": ...}`: scrapes now; answers when done |
//! | `GET overview` | readiness, version, start and server time, and what each part counts: storage, targets, rules (refused files among them), alerting |
//! | `GET discovery?scrapePool=JOB` | what is wrong with where targets come from: `errors`, each with `scrapePool` and `error` |
//! | `GET cardinality?label=job&limit=20&hours=24` | how many series carry each value of a label, in the head and the blocks since then: `values`, `allValues` |
//! | `GET alerts/{fingerprint}/states?hours=168` | every change of an alert's state: `pending`, `firing`, `inactive`, with time and value; kept for 90 days |
//! | `GET alerts/past?hours=168&limit=500` | each time an alert fired: `fingerprint`, `labels`, `from`, `to` (null: it fires still), `value`; newest first |
//! | `GET`, `POST rules/replay` | when an alerting rule (`expr`, `for`, `keep_firing_for`, `labels`) would have fired: `fired`, `gaveUp`, and for each alert its `spans` |
//! | `POST compact` | writes the head to blocks and merges all that can be merged, unfinished days too; answers when done with `blocks`, `bytes`, `samples` |
//! | `GET why?fingerprint=HEX` or `why?labels={alertname="A"}` | why somebody is told of an alert, or not: `before` (rule, relabelling), and for each route that takes it `ways` with `receiver`, `verdict`, `text` and `steps` |
//! | `GET cluster/role` | what this member says of itself to the others: whether ZooKeeper answers it, whether it tells people without; signed where there is a `cluster.secret_file` |
//! | `GET zookeeper` | the session, how much lies in which folder below the root (`trees`), and each rule file with the reason why it was refused |
//! | `GET zookeeper/rules` | the rule files in ZooKeeper: `name`, `version`, `sha256`, `by` (push, who, at, why), `errors` with line and column; `head`, `outside` |
//! | `GET zookeeper/rules/file?name=a.yml` | one of them with its `text` |
//! | `POST zookeeper/rules/check` | `{"files": {"a.yml": "groups: ..."}}`: what is wrong with texts, as `check rules` says it; writes nothing |
//! | `POST zookeeper/rules` | `{"changes": [{"name": "a.yml", "text": "..." or null to delete, "base": sha256 of what was read, null: nothing}], "reason": "", "author": "", "dryRun": false}`: one transaction; `push`, `changes` with `diff`; 409 says who changed it meanwhile |
//! | `GET zookeeper/rules/history`, `GET zookeeper/rules/history/{push}`, with `?name=a.yml` its `text` | the pushes that are kept: who, when, why, what |
//! | `GET zookeeper/rules/diff?from=1&to=2` | what changed between two pushes; without one of them: the files as they are |
//! | `POST zookeeper/rules/rollback` | `{"push": 1, "head": 7, "reason": "", "author": "", "dryRun": false}`: the files of an earlier push again, as a new push; `head`: the newest push that was seen |
//! | `GET zookeeper/servers` | each server of `zookeeper.connect` and of `zookeeper_servers`, asked now: `address`, `role`, `version`, `latencyAvgMs`, `connections`, `znodes`, `watches`, `dataBytes`, ...; or `error` |
//! | `GET status/queries` | `running` queries (`id`, `query`, `sinceMs`, `source`, `user`, `cancellable`) and the `slowest` `since` the start, of which each text is there once: `durationMs` of the longest, `totalMs` of all `count` |
//! | `DELETE status/queries/running/{id}` | ends a query; that of a rule goes on |
//! | `GET status/licences` | whose code is embedded: `name`, `version`, `licence`, `url`, `text`, `part` (`server`, `dashboard`) |
//! | `GET session` | whether anybody has to log in (`authentication`), and who asks: `user`, `role` |
//! | `POST session` | `{"user", "password"}` or `{"token"}`: the same, and a cookie that stands for them for 30 days; 401 where they are wrong, 429 after too many that were |
//! | `DELETE session` | takes the cookie back |
//! | `GET dashboards` | dashboards of people's own, in their order: `id`, `title`, `tags`, `source` (`own`, `file`, `zookeeper`), `path`, `version`, `editable`, `modified`, `by`, `error` |
//! | `GET dashboards/{id}` | one of them with `dashboard`, Grafana's JSON as it was saved |
//! | `POST dashboards` | `{"id": null for a new one, "dashboard": {...} or its text, "base": version that was read, "to": "own" or "zookeeper", "author": "", "overwrite": false}`: saves one; `id`, `version`; 409 says who changed it meanwhile |
//! | `DELETE dashboards/{id}?base=VERSION` | deletes one that is no file |
//! | `POST dashboards/order` | `{"ids": [...]}`: the order of the list; what is not named comes behind |
//! | `GET status/config` | the configuration in force: `yaml` with secrets hidden, `parts` with `from` (a file, `zookeeper:PATH`, `default`), `znodes` of the overlay with `refused` (line, column, reason), `version` (mzxid), `refused`: why the last reload was, in whole or in part |

use super::state::ApiState;
use super::{
    access, act, alert_states, assets, compress, dashboards, ensemble, events, federate, licences, lifecycle, methods, overview,
    prefix, queries, replay, rule_store, v1, v2, watchkeeper, why,
};
use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{self, HeaderValue};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::{delete, get, post};

/// Returns the whole router.
pub fn router(state: ApiState) -> Router {
    let routes = Router::new()
        .merge(v1::router(state.limits.body_bytes))
        .merge(v2::router(&state))
        .merge(act::router(&state))
        .route("/api/watchkeeper/v1/events", get(events::stream))
        .route("/api/watchkeeper/v1/changes", get(events::changes))
        .route("/api/watchkeeper/v1/targets/scrape", post(v1::scrape_now))
        .route("/api/watchkeeper/v1/discovery", get(v1::discovery))
        .route("/api/watchkeeper/v1/overview", get(overview::overview))
        .route("/api/watchkeeper/v1/why", get(why::why))
        .route("/api/watchkeeper/v1/cluster/role", get(super::cluster::role))
        .route("/api/watchkeeper/v1/zookeeper", get(watchkeeper::zookeeper))
        .route("/api/watchkeeper/v1/zookeeper/rules", get(rule_store::list).post(rule_store::save))
        .route("/api/watchkeeper/v1/zookeeper/rules/file", get(rule_store::file))
        .route("/api/watchkeeper/v1/zookeeper/rules/check", post(rule_store::check))
        .route("/api/watchkeeper/v1/zookeeper/rules/history", get(rule_store::history))
        .route("/api/watchkeeper/v1/zookeeper/rules/history/{push}", get(rule_store::version))
        .route("/api/watchkeeper/v1/zookeeper/rules/diff", get(rule_store::diff))
        .route("/api/watchkeeper/v1/zookeeper/rules/rollback", post(rule_store::rollback))
        .route("/api/watchkeeper/v1/zookeeper/servers", get(ensemble::servers))
        .route("/api/watchkeeper/v1/status/config", get(watchkeeper::effective_config))
        .route("/api/watchkeeper/v1/compact", post(watchkeeper::compact))
        .route("/api/watchkeeper/v1/cardinality", get(watchkeeper::cardinality))
        .route("/api/watchkeeper/v1/alerts/{fingerprint}/states", get(alert_states::states))
        .route("/api/watchkeeper/v1/alerts/past", get(alert_states::past))
        .route("/api/watchkeeper/v1/rules/replay", get(replay::replay).post(replay::replay))
        .route("/api/watchkeeper/v1/session", get(access::who_am_i).post(access::login).delete(access::logout))
        .route("/api/watchkeeper/v1/status/queries", get(queries::list))
        .route("/api/watchkeeper/v1/status/queries/running/{id}", delete(queries::cancel))
        .route("/api/watchkeeper/v1/status/licences", get(licences::list))
        .route("/api/watchkeeper/v1/dashboards", get(dashboards::list).post(dashboards::save))
        .route("/api/watchkeeper/v1/dashboards/order", post(dashboards::order))
        .route("/api/watchkeeper/v1/dashboards/{id}", get(dashboards::one).delete(dashboards::delete))
        .route("/federate", get(federate::federate))
        .route("/metrics", get(metrics))
        .route("/-/healthy", get(lifecycle::healthy))
        .route("/-/ready", get(lifecycle::ready))
        .route("/-/reload", post(lifecycle::reload).put(lifecycle::reload))
        .route("/-/quit", post(lifecycle::quit).put(lifecycle::quit))
        .fallback(assets::serve)
        .layer(from_fn(methods::complete))
        .layer(from_fn_with_state(state.clone(), lifecycle::when_ready))
        .layer(from_fn_with_state(state.clone(), access::guard))
        .layer(from_fn_with_state(state.clone(), compress::pack))
        .layer(from_fn_with_state(state.clone(), measure))
        .with_state(state.clone());
    prefix::around(routes, state)
}

async fn metrics(State(api): State<ApiState>) -> Response {
    use axum::response::IntoResponse as _;
    let mut body = crate::exposition::encode::families(&api.registry.snapshot());
    body.extend_from_slice(&crate::host::own_process(&api.env));
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], body).into_response()
}

/// Counts requests and adds the headers that every answer has.
async fn measure(State(api): State<ApiState>, request: Request, next: Next) -> Response {
    let handler = request.extensions().get::<MatchedPath>().map_or("/", |path| path.as_str()).to_owned();
    let started = api.env.clock.monotonic();
    let mut response = next.run(request).await;
    let took = api.env.clock.monotonic().saturating_sub(started);
    let code = response.status().as_u16().to_string();
    let labels = [("handler", handler.as_str()), ("code", code.as_str())];
    api.registry.counter("watchkeeper_http_requests_total", "HTTP requests by handler and status code.", &labels).inc();
    let help = "Time to answer HTTP requests.";
    let bounds = crate::telemetry::metrics::SECONDS;
    api.registry
        .histogram("watchkeeper_http_request_duration_seconds", help, &[("handler", &handler)], bounds)
        .observe(took.as_secs_f64());
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let config = api.present_config();
    let wanted = &config.web.http_server_config.headers;
    let wanted = [
        (header::CONTENT_SECURITY_POLICY, &wanted.content_security_policy),
        (header::X_FRAME_OPTIONS, &wanted.x_frame_options),
        (header::X_XSS_PROTECTION, &wanted.x_xss_protection),
        (header::STRICT_TRANSPORT_SECURITY, &wanted.strict_transport_security),
    ];
    for (name, value) in wanted.into_iter().filter(|(_, value)| !value.is_empty()) {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}
