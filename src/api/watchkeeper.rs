//! `GET /api/watchkeeper/v1/zookeeper`: the ensemble as this server sees it. `POST /api/watchkeeper/v1/compact`: the store's
//! blocks, as few and small as they can be. `GET /api/watchkeeper/v1/cardinality`: who carries a label.
//! `GET /api/watchkeeper/v1/status/config`: the configuration in force, and where it comes from.

use super::answer::success_value;
use super::error::{ApiError, ErrorKind};
use super::json::rfc3339;
use super::params::Params;
use super::state::ApiState;
use super::v1::admin::act;
use crate::cluster::members::Member;
use crate::cluster::view::ClusterView;
use crate::model::rule_source::RuleOrigin;
use crate::zookeeper::SessionStatus;
use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A member as it says of itself, its start as the API writes times.
fn shown_member(member: &Member) -> Value {
    let mut shown = member.json();
    shown["started"] = json!(rfc3339(Some(member.started_ms)));
    shown
}

/// `GET zookeeper`.
pub(super) async fn zookeeper(State(api): State<ApiState>) -> Response {
    let view = (api.views.cluster)();
    let servers: Vec<&str> =
        view.connect.split('/').next().unwrap_or_default().split(',').filter(|host| !host.is_empty()).collect();
    let rules = api.views.rules.as_ref().map(crate::rules::RulesHandle::view).unwrap_or_default();
    let files = rules.files.iter().filter(|file| matches!(file.origin, RuleOrigin::Znode(_)));
    let folder = format!("{}/rules/", view.root);
    let shown = |file: &crate::rules::view::FileView| {
        let path = file.origin.path();
        let znode = view.znodes.iter().find(|znode| znode.path == path);
        let refused = rules.refused.iter().find(|refused| refused.origin == file.origin);
        json!({
            "name": path.strip_prefix(&folder).unwrap_or(path),
            "version": znode.map_or(0, |znode| znode.version),
            "modified": rfc3339(file.modified_ms),
            "refused": refused.map(|refused| refused.reason.clone()),
            "rules": file.rules,
        })
    };
    let status = &view.status;
    success_value(&json!({
        "configured": view.configured,
        "connected": matches!(status.state, SessionStatus::Live | SessionStatus::Syncing),
        "state": status.state.as_str(),
        "since": rfc3339(Some(status.since_ms)),
        "lastError": status.last_error,
        "expirations": status.expirations,
        "servers": servers,
        "root": view.root,
        "sessionId": status.session_id,
        "role": view.standing.role.as_str(),
        "leader": view.standing.leader,
        "roleWhy": view.standing.why,
        "roleSince": rfc3339(Some(view.standing.since_ms)),
        "members": view.members.iter().map(shown_member).collect::<Vec<_>>(),
        "znodes": view.znodes.len(),
        "bytes": view.znodes.iter().map(|znode| znode.bytes).sum::<usize>(),
        "trees": trees(&view),
        "rules": files.map(shown).collect::<Vec<_>>(),
    }))
}

/// `GET status/config`: secrets are hidden.
pub(super) async fn effective_config(State(api): State<ApiState>) -> Response {
    let overlay = api.overlay();
    let znode = |znode: &crate::cluster::overlay::ZnodeView| {
        let refused = znode
            .refused
            .as_ref()
            .map(|error| json!({"file": error.file, "line": error.line, "column": error.column, "reason": error.message}));
        json!({
            "path": znode.path,
            "mzxid": znode.mzxid,
            "modified": rfc3339(Some(znode.modified_ms).filter(|at_ms| *at_ms > 0)),
            "active": znode.is_active,
            "refused": refused,
        })
    };
    success_value(&json!({
        "yaml": api.present_config().to_yaml(),
        "parts": overlay.parts.iter().map(|part| json!({"part": part.part, "from": part.from})).collect::<Vec<_>>(),
        "znodes": overlay.znodes.iter().map(znode).collect::<Vec<_>>(),
        "version": overlay.version,
        "refused": api.views.refusal.as_ref().map(|refusal| refusal.borrow().clone()).filter(|reason| !reason.is_empty()),
    }))
}

/// How many znodes and bytes lie below each folder of the root.
fn trees(view: &ClusterView) -> Vec<Value> {
    let mut folders: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for znode in &view.znodes {
        let Some(below) = znode.path.strip_prefix(view.root.trim_end_matches('/')).and_then(|rest| rest.strip_prefix('/')) else {
            continue;
        };
        let (folder, is_inside) = below.split_once('/').map_or((below, false), |(folder, _)| (folder, true));
        let (znodes, bytes) = folders.entry(folder).or_default();
        *znodes += usize::from(is_inside);
        *bytes += znode.bytes;
    }
    folders.into_iter().map(|(name, (znodes, bytes))| json!({"name": name, "znodes": znodes, "bytes": bytes})).collect()
}

/// `POST compact`: writes the head to blocks and merges all that can be merged; answers when it is done. Takes its time, and
/// goes on when the client hangs up.
pub(super) async fn compact(State(api): State<ApiState>) -> Result<Response, ApiError> {
    let stats = act(&api, |store| store.compact_all().map(|()| store.stats())).await?;
    Ok(success_value(&json!({"blocks": stats.blocks, "bytes": stats.block_bytes, "samples": stats.block_samples})))
}

/// `GET cardinality?label=job&limit=20&hours=24`: how many series carry each value of a label, in the head and in the blocks of
/// the last hours.
pub(super) async fn cardinality(State(api): State<ApiState>, params: Params) -> Result<Response, ApiError> {
    let number = |name: &str, usual: i64, most: i64| match params.get(name) {
        "" => Ok(usual),
        text => match text.parse::<i64>() {
            Ok(number) if (1..=most).contains(&number) => Ok(number),
            _ => Err(ApiError::bad_data(format!("{name} must be a number from 1 to {most}"))),
        },
    };
    let label = match params.get("label") {
        "" => return Err(ApiError::bad_data("no label parameter provided")),
        label => label.to_owned(),
    };
    let (limit, hours) = (number("limit", 20, 10_000)? as usize, number("hours", 24, 1_000_000)?);
    let Some(store) = api.store.clone() else { return Ok(success_value(&json!({"values": [], "allValues": 0}))) };
    let since_ms = api.env.clock.now_ms() - hours * 3_600_000;
    let counted = api.run(api.limits.query_timeout, move |_| {
        store.cardinality_of(&label, since_ms, limit).map_err(|error| ApiError::new(ErrorKind::Internal, error.to_string()))
    });
    let found = counted.await?;
    let values: Vec<_> = found.values.iter().map(|(value, series)| json!({"value": value, "series": series})).collect();
    Ok(success_value(&json!({"values": values, "allValues": found.all_values})))
}
