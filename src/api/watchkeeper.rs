//! `GET /api/watchkeeper/v1/zookeeper`: the ensemble as this server sees it.

use super::answer::success_value;
use super::json::rfc3339;
use super::state::ApiState;
use crate::model::rule_source::RuleOrigin;
use crate::zookeeper::SessionStatus;
use axum::extract::State;
use axum::response::Response;
use serde_json::json;

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
        "members": [],
        "znodes": view.znodes.len(),
        "rules": files.map(shown).collect::<Vec<_>>(),
    }))
}
