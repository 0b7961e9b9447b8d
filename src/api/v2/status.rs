//! `status` and `receivers`.

use super::{AlertingApi, json_of, time};
use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};

/// `GET /api/v2/status`.
pub(super) async fn status(State(api): State<AlertingApi>) -> Response {
    let view = api.alerting.view();
    json_of(&json!({
        // Members find each other through ZooKeeper and not by gossip.
        "cluster": {"peers": [], "status": "disabled"},
        "config": {"original": view.setup.original},
        "uptime": time(api.started_ms),
        "versionInfo": {
            "branch": "",
            "buildDate": "",
            "buildUser": "",
            "goVersion": "",
            "revision": option_env!("WATCHKEEPER_REVISION").unwrap_or(""),
            "version": env!("CARGO_PKG_VERSION"),
        },
    }))
}

/// `GET /api/v2/receivers`.
pub(super) async fn receivers(State(api): State<AlertingApi>) -> Response {
    let view = api.alerting.view();
    let receivers: Value = view.setup.receivers.keys().map(|name| json!({"name": name})).collect();
    json_of(&receivers)
}
