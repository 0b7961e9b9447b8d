//! What sources in the network last said, kept in the state store: their targets are there at once after a restart, also
//! while the source is away. Files and lists are on this machine and need none of it.
//!
//! A source's own task never waits for the disk; the manager saves between two updates.

use super::Update;
use crate::env::Env;
use crate::model::labels::Labels;
use crate::model::target::TargetGroup;
use crate::state::{Change, State, StateError};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const PREFIX: &str = "discovery/";
/// What one source may have kept: the state store is for small things.
const SOURCE_BYTES: usize = 1 << 20;

/// What is kept, and what has changed since it was saved.
pub(super) struct LastKnown {
    env: Env,
    state: Option<Arc<dyn State>>,
    kept: BTreeMap<String, Vec<TargetGroup>>,
    changes: BTreeMap<String, Option<Vec<u8>>>,
}

impl LastKnown {
    /// Reads what is kept. Blocks shortly; at the start alone.
    pub(super) fn read(env: &Env, state: Option<Arc<dyn State>>) -> Self {
        let found = state.as_ref().map_or_else(|| Ok(Vec::new()), |state| state.scan(PREFIX.as_bytes()));
        let found = found.unwrap_or_else(|error| {
            tracing::warn!(%error, "the last known targets cannot be read");
            Vec::new()
        });
        let mut kept = BTreeMap::new();
        for (key, value) in found {
            let (Ok(key), Some(groups)) = (String::from_utf8(key), decode(&value)) else { continue };
            kept.insert(key, groups);
        }
        Self { env: env.clone(), state, kept, changes: BTreeMap::new() }
    }

    /// Returns the key of a source.
    pub(super) fn key(job: &str, kind: &str, identity: &str) -> String {
        format!("{PREFIX}{job}/{kind}/{identity}")
    }

    /// Returns what a source last said.
    pub(super) fn of(&self, key: &str) -> Vec<TargetGroup> {
        self.kept.get(key).cloned().unwrap_or_default()
    }

    /// Takes note of what a source says.
    pub(super) fn note(&mut self, key: &str, update: &Update) {
        if self.state.is_none() || self.kept.get(key) == Some(&update.groups) {
            return;
        }
        let value = encode(&update.groups);
        if value.len() > SOURCE_BYTES {
            tracing::warn!(key, bytes = value.len(), "too many targets to be kept over a restart");
            self.forget(key);
            return;
        }
        self.kept.insert(key.to_owned(), update.groups.clone());
        self.changes.insert(key.to_owned(), Some(value));
    }

    fn forget(&mut self, key: &str) {
        if self.kept.remove(key).is_some() {
            self.changes.insert(key.to_owned(), None);
        }
    }

    /// Forgets all sources but these.
    pub(super) fn retain(&mut self, keys: &BTreeSet<String>) {
        let gone: Vec<String> = self.kept.keys().filter(|key| !keys.contains(*key)).cloned().collect();
        gone.iter().for_each(|key| self.forget(key));
    }

    /// Saves what changed. A failure is told and tried again with the next change.
    pub(super) async fn save(&mut self) {
        let Some(state) = self.state.clone().filter(|_| !self.changes.is_empty()) else { return };
        let changes = self.changes.clone();
        let batch: Vec<Change> = changes
            .into_iter()
            .map(|(key, value)| match value {
                Some(value) => Change::Put(key.into_bytes(), value),
                None => Change::Delete(key.into_bytes()),
            })
            .collect();
        let work = move || -> Result<(), StateError> {
            state.apply(&batch)?;
            state.sync()
        };
        match self.env.tasks.blocking(work).await {
            Ok(Ok(())) => self.changes.clear(),
            Ok(Err(error)) => tracing::warn!(%error, "the last known targets cannot be saved"),
            Err(error) => tracing::error!(%error, "saving the last known targets failed"),
        }
    }
}

fn encode(groups: &[TargetGroup]) -> Vec<u8> {
    let object = |labels: &Labels| {
        let pairs = labels.iter().map(|(name, value)| (name.to_owned(), Value::from(value)));
        Value::Object(pairs.collect())
    };
    let shown: Vec<Value> = groups
        .iter()
        .map(|group| {
            let targets: Vec<Value> = group.targets.iter().map(object).collect();
            json!({"source": group.source, "targets": targets, "labels": object(&group.labels)})
        })
        .collect();
    Value::from(shown).to_string().into_bytes()
}

fn decode(value: &[u8]) -> Option<Vec<TargetGroup>> {
    let labels = |value: &Value| -> Option<Labels> {
        let pairs = value.as_object()?.iter().map(|(name, value)| Some((name.as_str(), value.as_str()?)));
        Some(Labels::from_pairs(pairs.collect::<Option<Vec<_>>>()?))
    };
    let value: Value = serde_json::from_slice(value).ok()?;
    let groups = value.as_array()?.iter().map(|group| {
        let targets = group.get("targets")?.as_array()?.iter().map(labels).collect::<Option<_>>()?;
        let source = group.get("source")?.as_str()?.to_owned();
        Some(TargetGroup { source, targets, labels: labels(group.get("labels")?)? })
    });
    groups.collect()
}
