//! Writes each change of an alert's state into the event history, where it survives the process and is kept as long as the rest.

use crate::api::ALERT_STATE;
use crate::env::Env;
use crate::model::alert::AlertChange;
use crate::model::labels::Labels;
use crate::state::events::EventLog;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use tokio::sync::mpsc;

fn labels_json(labels: &Labels) -> Value {
    Value::Object(labels.iter().map(|(name, value)| (name.to_owned(), Value::from(value))).collect::<Map<_, _>>())
}

fn text(change: &AlertChange) -> String {
    let labels = labels_json(&change.labels);
    json!({
        "fingerprint": format!("{:016x}", change.labels.fingerprint()),
        "labels": labels,
        "state": change.state,
        "at": change.at_ms,
        "activeAt": change.active_at_ms,
        // JSON has no infinity.
        "value": crate::model::number::format_api(change.value),
    })
    .to_string()
}

/// Writes what comes until nobody sends any more.
pub(super) async fn keep(env: Env, history: Arc<EventLog>, mut changes: mpsc::Receiver<Vec<AlertChange>>) {
    while let Some(batch) = changes.recv().await {
        let history = Arc::clone(&history);
        let write = move || batch.iter().try_for_each(|change| history.append(ALERT_STATE, &text(change), false));
        match env.tasks.blocking(write).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "changes of alerts' states cannot be kept"),
            Err(error) => tracing::error!(%error, "keeping changes of alerts' states failed"),
        }
    }
}
