//! `/api/watchkeeper/v1/dashboards...`: dashboards of people's own, as [`crate::dashboards`] keeps them.
//!
//! A dashboard goes in and out as the text that it is; the server does not look into panels. Those in ZooKeeper are changed here,
//! since [`crate::dashboards`] does not know ZooKeeper. A change goes on when the client hangs up.

mod body;
mod write;
mod znode;

pub(super) use write::{delete, order, save};

use super::answer::{success, success_value};
use super::error::{ApiError, ErrorKind};
use super::json::rfc3339;
use super::state::ApiState;
use crate::dashboards::read::NotADashboard;
use crate::dashboards::{DashboardError, Dashboards, Entry, Origin};
use axum::extract::{Path, State};
use axum::response::Response;
use serde_json::{Value, json};

impl From<DashboardError> for ApiError {
    fn from(error: DashboardError) -> Self {
        let kind = match &error {
            DashboardError::Conflict(_) => ErrorKind::Conflict,
            DashboardError::NotFound(_) => ErrorKind::NotFound,
            DashboardError::ReadOnly(_) => ErrorKind::Forbidden,
            DashboardError::BadOrder(_) => ErrorKind::BadData,
            DashboardError::NotADashboard(error) => return error.clone().into(),
            DashboardError::Full(_) => ErrorKind::TooLarge,
            DashboardError::State(_) | DashboardError::Stopping => ErrorKind::Unavailable,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<NotADashboard> for ApiError {
    fn from(error: NotADashboard) -> Self {
        let kind = if matches!(error, NotADashboard::TooLarge(_)) { ErrorKind::TooLarge } else { ErrorKind::BadData };
        Self::new(kind, error.to_string())
    }
}

fn dashboards(api: &ApiState) -> Result<&Dashboards, ApiError> {
    let absent = || ApiError::new(ErrorKind::Unavailable, "this server keeps no dashboards");
    api.views.dashboards.as_ref().ok_or_else(absent)
}

/// Whether dashboards can be saved in ZooKeeper now.
fn has_zookeeper(api: &ApiState) -> bool {
    api.views.rule_store.as_ref().is_some_and(|(link, _)| link.client().is_ok())
}

fn shown(entry: &Entry, has_zookeeper: bool) -> Value {
    json!({
        "id": entry.id,
        "title": entry.title,
        "tags": entry.tags,
        "source": entry.origin.as_str(),
        "path": entry.origin.path(),
        "version": entry.version,
        "editable": match entry.origin {
            Origin::Own => true,
            Origin::File(_) => false,
            Origin::Znode(_) => has_zookeeper && !entry.version.is_empty(),
        },
        "modified": entry.modified_ms.map(|at_ms| rfc3339(Some(at_ms))),
        "by": entry.by,
        "error": entry.text.as_ref().err().map(ToString::to_string),
    })
}

/// `GET dashboards`.
pub(super) async fn list(State(api): State<ApiState>) -> Result<Response, ApiError> {
    let (catalogue, has_zookeeper) = (dashboards(&api)?.catalogue(), has_zookeeper(&api));
    let entries: Vec<Value> = catalogue.entries.iter().map(|entry| shown(entry, has_zookeeper)).collect();
    Ok(success_value(&json!({"dashboards": entries, "zookeeper": has_zookeeper})))
}

/// `GET dashboards/{id}`.
pub(super) async fn one(State(api): State<ApiState>, Path(id): Path<String>) -> Result<Response, ApiError> {
    let catalogue = dashboards(&api)?.catalogue();
    let entry = catalogue.get(&id).ok_or_else(|| ApiError::from(DashboardError::NotFound(id)))?;
    let head = shown(entry, has_zookeeper(&api)).to_string();
    Ok(success(|out| {
        out.push_str(head.trim_end_matches('}'));
        out.push_str(",\"dashboard\":");
        out.push_str(entry.text.as_deref().unwrap_or("null"));
        out.push('}');
    }))
}
