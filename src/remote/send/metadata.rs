//! What is known of metrics, sent from time to time: Remote-Write 1.0 has it in messages of its own. 2.0 says it with each series.

use super::answer::Outcome;
use super::shard::{Buffers, Shared};
use crate::config::remote::{RemoteWriteConfig, WriteMessage};
use crate::model::metadata::Metadata;
use crate::storage::Store;
use crate::storage::select::Querier as _;
use std::sync::Arc;

/// Returns the work of sending metadata; `None` where none are sent.
pub(super) fn keep_sending(
    shared: Arc<Shared>,
    config: &RemoteWriteConfig,
    store: Store,
) -> Option<impl Future<Output = ()> + Send + use<>> {
    let metadata = &config.metadata_config;
    if !metadata.send || config.protobuf_message == WriteMessage::V2 {
        return None;
    }
    let (every, most) = (metadata.send_interval, usize::try_from(metadata.max_samples_per_send).unwrap_or(1).max(1));
    Some(async move {
        let mut buffers = Buffers::new();
        loop {
            shared.env.clock.sleep(every).await;
            let known = store.metadata(None);
            let all: Vec<(String, Metadata)> =
                known.into_iter().flat_map(|(metric, known)| known.into_iter().map(move |one| (metric.clone(), one))).collect();
            for part in all.chunks(most) {
                send(&shared, &mut buffers, part).await;
            }
        }
    })
}

async fn send(shared: &Shared, buffers: &mut Buffers, part: &[(String, Metadata)]) {
    let body = buffers.metadata(part);
    let metrics = &shared.metrics;
    let mut pause = shared.queue.min_backoff;
    for attempt in 0.. {
        match shared.post(body.clone(), attempt, None).await {
            Outcome::Taken => {
                metrics.metadata.add(part.len() as u64);
                metrics.metadata_bytes.add(body.len() as u64);
                return;
            }
            Outcome::Refused(reason) => {
                metrics.metadata_failed.add(part.len() as u64);
                tracing::warn!(remote = %shared.name, count = part.len(), %reason, "metadata were refused");
                return;
            }
            Outcome::Again(asked, _) => {
                metrics.metadata_retried.add(part.len() as u64);
                let wait = asked.unwrap_or(pause);
                shared.env.clock.sleep(wait).await;
                pause = wait.saturating_mul(2).clamp(shared.queue.min_backoff, shared.queue.max_backoff);
            }
        }
    }
}
