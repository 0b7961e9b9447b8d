//! `/api/watchkeeper/v1/zookeeper/rules...`: the rule files in ZooKeeper for the dashboard's editor. What `watchkeeper rules` does for a
//! folder this does for single files: checked first, one transaction, with who, when and why, and nothing of somebody else's written over
//! unseen: each change names the hash of what was read.
//!
//! An answer of 2xx to a change means that the ensemble has it. A change goes on when the client hangs up.

mod read;
mod write;

pub(super) use read::{check, diff, file, history, list, version};
pub(super) use write::{rollback, save};

use super::error::{ApiError, ErrorKind};
use super::state::ApiState;
use crate::cluster::history::Push;
use crate::cluster::push::{self, Files, PushError};
use crate::cluster::snapshot::{self, Snapshot};
use crate::model::rule_source::SourceError;
use crate::model::utf8;
use crate::rules::file::RuleFileError;
use crate::rules::lint::{self, Known, Weight};
use crate::zookeeper::{Client, ZooKeeperError};
use axum::extract::Request;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The largest body: a file of 16 MiB, written as JSON.
const BODY_BYTES_MAX: usize = 24 << 20;

/// The ensemble as one request sees it.
struct Store {
    client: Arc<dyn Client>,
    root: String,
}

impl Store {
    fn of(api: &ApiState) -> Result<Self, ApiError> {
        let Some((link, root)) = &api.views.rule_store else {
            return Err(ApiError::new(
                ErrorKind::Unavailable,
                "zookeeper.connect is not configured: there are no rule files in ZooKeeper",
            ));
        };
        let client = link.client().map_err(|error| ApiError::new(ErrorKind::Unavailable, error.to_string()))?;
        Ok(Self { client, root: root.clone() })
    }

    async fn read(&self) -> Result<Snapshot, ApiError> {
        Ok(Box::pin(snapshot::read(&self.client, &self.root)).await?)
    }

    async fn read_version(&self, there: &Snapshot, number: u64) -> Result<Files, ApiError> {
        Ok(Box::pin(snapshot::read_version(&self.client, &self.root, there, number)).await?)
    }
}

impl From<PushError> for ApiError {
    fn from(error: PushError) -> Self {
        let kind = match &error {
            PushError::Conflict(words) => {
                return Self::new(ErrorKind::Conflict, format!("{words}; nothing was written: read it again"));
            }
            PushError::ZooKeeper(ZooKeeperError::NoAuth(_)) | PushError::Denied(_) => ErrorKind::Forbidden,
            PushError::ZooKeeper(ZooKeeperError::TooLarge { .. }) | PushError::TooLarge(_) => ErrorKind::BadData,
            PushError::ZooKeeper(_) | PushError::Unknown(_) => ErrorKind::Unavailable,
            PushError::NoSuchPush(_) | PushError::NoText { .. } => ErrorKind::NotFound,
        };
        Self::new(kind, error.to_string())
    }
}

/// Reads a body of JSON.
async fn body<T: serde::de::DeserializeOwned>(request: Request) -> Result<T, ApiError> {
    let bytes = axum::body::to_bytes(request.into_body(), BODY_BYTES_MAX).await;
    let bytes =
        bytes.map_err(|_| ApiError::bad_data(format!("the body cannot be read, or has more than {BODY_BYTES_MAX} bytes")))?;
    serde_json::from_slice(&bytes)
        .map_err(|error| ApiError::bad_data(format!("the body is not the JSON that is wanted: {error}")))
}

/// Runs work that computes on a thread for that.
async fn compute<T: Send + 'static>(api: &ApiState, work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
    api.env.tasks.blocking(work).await.map_err(|error| ApiError::new(ErrorKind::Internal, error.to_string()))
}

/// What is to be said about a file.
#[derive(Debug, Default)]
struct Judgement {
    errors: Vec<RuleFileError>,
    warnings: Vec<(u32, String)>,
    groups: usize,
    rules: usize,
}

impl Judgement {
    fn shown(&self) -> Value {
        let error = |error: &RuleFileError| json!({"line": error.line, "column": error.column, "message": error.message});
        let warning = |(line, message): &(u32, String)| json!({"line": line, "message": message});
        json!({
            "errors": self.errors.iter().map(error).collect::<Vec<_>>(),
            "warnings": self.warnings.iter().map(warning).collect::<Vec<_>>(),
            "groups": self.groups,
            "rules": self.rules,
        })
    }
}

/// Judges files as `check rules` does, together.
fn judge(files: &Files) -> BTreeMap<String, Judgement> {
    let mut known = Known::default();
    let mut one = |name: &str, text: &[u8]| {
        let text = utf8::decode(text.to_vec()).map_err(|error| vec![RuleFileError::from(&SourceError::from(error))]);
        let read = match text.and_then(|text| crate::rules::file::read(&text)) {
            Ok(read) => read,
            Err(errors) => return Judgement { errors, ..Judgement::default() },
        };
        let mut warnings = Vec::new();
        if read.has_more_documents {
            warnings.push((0, "only the first YAML document counts, and there are more".to_owned()));
        }
        let remarks = lint::remarks(name, &read.file, &mut known).into_iter().filter(|remark| remark.weight == Weight::Warning);
        warnings.extend(remarks.map(|remark| (remark.line, remark.message)));
        let rules = read.file.groups.iter().map(|group| group.rules.len()).sum();
        Judgement { errors: Vec::new(), warnings, groups: read.file.groups.len(), rules }
    };
    files.iter().map(|(name, text)| (name.clone(), one(name, text))).collect()
}

/// Shows who made a version.
fn made(push: &Push) -> Value {
    json!({"push": push.number, "kind": push.kind, "who": push.who, "at": push.at, "why": push.why})
}

/// Shows what makes one set of files of another, with the difference of each text.
fn changes(from: &Files, to: &Files, from_name: &str, to_name: &str) -> Value {
    let found = push::changes(&push::hashes(from), &push::hashes(to));
    let shown = found.iter().map(|(name, change)| {
        let side = |files: &Files, of: &str| match files.get(name) {
            Some(text) => (text.clone(), format!("{of}: {name}")),
            None => (Vec::new(), "/dev/null".to_owned()),
        };
        let ((from, from_shown), (to, to_shown)) = (side(from, from_name), side(to, to_name));
        let diff = crate::cluster::diff::unified(&from, &to, &from_shown, &to_shown);
        json!({"name": name, "change": word(*change), "diff": diff})
    });
    shown.collect()
}

const fn word(change: push::Change) -> &'static str {
    match change {
        push::Change::Add => "add",
        push::Change::Set => "set",
        push::Change::Delete => "delete",
    }
}
