//! `GET /api/watchkeeper/v1/zookeeper/servers`: each server of the ensemble as it is at this moment.

use super::answer::success_value;
use super::state::ApiState;
use crate::scrape::ensemble::EnsembleServer;
use axum::extract::State;
use axum::response::Response;
use futures_util::future::join_all;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a server may take.
const ASK: Duration = Duration::from_secs(3);
/// How many servers are asked.
const SERVERS_MAX: usize = 20;

/// What is shown, and how a server calls it.
const NUMBERS: [(&str, &str); 13] = [
    ("latencyAvgMs", "avg_latency"),
    ("latencyMaxMs", "max_latency"),
    ("connections", "num_alive_connections"),
    ("outstanding", "outstanding_requests"),
    ("znodes", "znode_count"),
    ("watches", "watch_count"),
    ("dataBytes", "approximate_data_size"),
    ("openFiles", "open_file_descriptor_count"),
    ("uptimeMs", "uptime"),
    ("learners", "learners"),
    ("syncedFollowers", "synced_followers"),
    ("pendingSyncs", "pending_syncs"),
    ("quorumSize", "quorum_size"),
];

fn shown(address: &str, told: Result<BTreeMap<String, String>, String>) -> Value {
    let facts = match told {
        Ok(facts) => facts,
        Err(error) => return json!({"address": address, "error": error}),
    };
    let mut shown = Map::new();
    shown.insert("address".to_owned(), address.into());
    for (name, fact) in [("role", "server_state"), ("version", "version")] {
        shown.insert(name.to_owned(), facts.get(fact).map_or(Value::Null, |text| text.as_str().into()));
    }
    for (name, fact) in NUMBERS {
        let number = facts.get(fact).and_then(|text| text.parse::<f64>().ok());
        shown.insert(name.to_owned(), number.map_or(Value::Null, Into::into));
    }
    Value::Object(shown)
}

/// Those of `zookeeper.connect` and of all jobs' `zookeeper_servers`.
pub(super) async fn servers(State(api): State<ApiState>) -> Response {
    let connect = (api.views.cluster)().connect;
    let ours = connect.split('/').next().unwrap_or_default().split(',').map(str::to_owned);
    let config = api.present_config();
    let watched = config.scrape_configs.iter().flat_map(|job| job.zookeeper_servers.iter().cloned());
    let mut addresses: Vec<String> = Vec::new();
    for address in ours.chain(watched).filter(|address| !address.is_empty()) {
        if !addresses.contains(&address) && addresses.len() < SERVERS_MAX {
            addresses.push(address);
        }
    }
    let asking = addresses.iter().map(|address| async {
        match EnsembleServer::new(&api.env, address) {
            Ok(server) => shown(address, server.facts(ASK).await),
            Err(error) => shown(address, Err(error)),
        }
    });
    success_value(&json!({"servers": join_all(asking).await}))
}
