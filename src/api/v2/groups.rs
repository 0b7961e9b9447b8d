//! `alerts/groups`: alerts as they are told together.

use super::super::Params;
use super::alerts::{Selection, alert_json};
use super::{AlertingApi, Refusal, flag, json_of, receiver_filter};
use crate::alerting::persist::labels_json;
use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};

/// `GET /api/v2/alerts/groups`.
pub(super) async fn list(State(api): State<AlertingApi>, params: Params) -> Result<Response, Refusal> {
    let selection = Selection::of(&params)?;
    let muted = flag(&params, "muted")?;
    let receiver = receiver_filter(&params)?;
    let now_ms = api.env.clock.now_ms();
    let view = api.alerting.view();
    let mut groups: Vec<_> = view
        .groups
        .iter()
        .filter(|group| muted || group.muted_by.is_empty())
        .filter(|group| receiver.as_ref().is_none_or(|regex| regex.is_match(&group.receiver)))
        .collect();
    groups.sort_by(|a, b| (&a.labels, &a.receiver).cmp(&(&b.labels, &b.receiver)));
    let groups: Value = groups
        .into_iter()
        .filter_map(|group| {
            let members = group.alerts.iter().filter_map(|fingerprint| view.alert(*fingerprint));
            let alerts: Vec<Value> =
                members.filter(|alert| selection.takes(now_ms, alert)).map(|alert| alert_json(alert, &group.muted_by)).collect();
            let value = json!({"alerts": alerts, "labels": labels_json(&group.labels), "receiver": {"name": group.receiver}});
            (!alerts.is_empty()).then_some(value)
        })
        .collect();
    Ok(json_of(&groups))
}
