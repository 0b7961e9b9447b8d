//! `GET /api/watchkeeper/v1/overview`: all that the first page says, in one answer.

use super::answer::success_value;
use super::json::rfc3339;
use super::state::ApiState;
use crate::model::target::TargetHealth;
use crate::rules::view::Health;
use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};

fn targets(api: &ApiState) -> Value {
    let Some(scrape) = &api.views.scrape else { return Value::Null };
    let view = scrape.view();
    let count = |health| view.active.iter().filter(|target| target.health == health).count();
    json!({
        "up": count(TargetHealth::Up),
        "down": count(TargetHealth::Down),
        "unknown": count(TargetHealth::Unknown),
        "dropped": view.dropped_counts.iter().map(|(_, count)| count).sum::<usize>(),
    })
}

fn rules(api: &ApiState) -> Value {
    let Some(rules) = &api.views.rules else { return Value::Null };
    let view = rules.view();
    let all = || view.groups.iter().flat_map(|group| group.rules.iter());
    let alerts = || all().filter_map(|rule| rule.alerting.as_ref()).flat_map(|alerting| alerting.alerts.iter());
    json!({
        "groups": view.groups.len(),
        "rules": all().count(),
        "failing": all().filter(|rule| rule.health == Health::Bad).count(),
        "firing": alerts().filter(|alert| alert.state.as_str() == "firing").count(),
        "pending": alerts().filter(|alert| alert.state.as_str() == "pending").count(),
        "refusedFiles": view.refused.iter().map(|file| json!({
            "file": file.origin.to_string(),
            "line": file.line,
            "column": file.column,
            "reason": file.reason,
            "at": rfc3339(Some(file.refused_at_ms)),
            "hasLastGood": file.has_last_good,
        })).collect::<Vec<_>>(),
    })
}

fn alerting(api: &ApiState) -> Value {
    let Some(alerting) = &api.views.alerting else { return Value::Null };
    let view = alerting.view();
    json!({
        "alerts": view.counts(),
        "groups": view.groups.len(),
        "silences": view.silences.len(),
        "maySend": view.may_send,
        "setupError": view.setup_error,
    })
}

pub(super) async fn overview(State(api): State<ApiState>) -> Response {
    let stats = api.store.as_ref().map(crate::storage::Store::stats);
    success_value(&json!({
        "ready": *api.lifecycle.ready.borrow(),
        "version": env!("CARGO_PKG_VERSION"),
        "started": rfc3339(Some(api.started_ms)),
        "now": rfc3339(Some(api.env.clock.now_ms())),
        "storage": stats.map(|stats| json!({
            "series": stats.series,
            "samples": stats.head_samples,
            "bytes": stats.head_bytes,
        })),
        "targets": targets(&api),
        "rules": rules(&api),
        "alerting": alerting(&api),
    }))
}
