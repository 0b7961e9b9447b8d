//! Changing: save, delete, roll back; each is one new version, or nothing.

use super::{Judgement, Store, body, changes, compute, judge};
use crate::api::answer::success_value;
use crate::api::asker::{self, Asker};
use crate::api::error::{ApiError, ErrorKind};
use crate::api::json::rfc3339;
use crate::api::state::ApiState;
use crate::cluster::push::{self, Files, Note};
use crate::cluster::snapshot::Snapshot;
use axum::extract::{Request, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The longest reason, in characters.
const REASON_CHARS_MAX: usize = 1000;
/// The longest name of a file, in bytes.
const NAME_BYTES_MAX: usize = 255;

/// One file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileChange {
    name: String,
    /// The new text; none: the file goes.
    text: Option<String>,
    /// The hash of what was read; none: there was no such file.
    base: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Save {
    changes: Vec<FileChange>,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    author: String,
    #[serde(default)]
    dry_run: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Rollback {
    push: u64,
    /// The newest push that was seen; given, it must still be the newest.
    head: Option<u64>,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    author: String,
    #[serde(default)]
    dry_run: bool,
}

/// Judges the name of a rule file.
fn check_name(name: &str) -> Result<(), ApiError> {
    let refused = |reason: &str| Err(ApiError::bad_data(format!("{name:?} cannot be the name of a rule file: {reason}")));
    if name.len() > NAME_BYTES_MAX {
        return refused("it is too long");
    }
    if name.chars().any(char::is_control) {
        return refused("it has control characters");
    }
    let is_file = |part: &str| [".yml", ".yaml"].iter().any(|end| part.ends_with(end));
    let parts: Vec<&str> = name.split('/').collect();
    if parts.iter().any(|part| matches!(*part, "" | "." | "..")) {
        return refused("a part of it is empty, `.` or `..`");
    }
    let Some((last, folders)) = parts.split_last() else { return refused("it is empty") };
    if !is_file(last) {
        return refused("it must end with .yml or .yaml");
    }
    if folders.iter().any(|folder| is_file(folder)) {
        return refused("a folder may not be named as a file");
    }
    Ok(())
}

/// Returns what the history says of a version.
fn note(asker: Asker, api: &ApiState, author: &str, reason: &str, restores: Option<u64>) -> Result<Note, ApiError> {
    let why = asker::line(reason);
    let who = asker.who(author)?;
    if why.chars().count() > REASON_CHARS_MAX {
        return Err(ApiError::bad_data(format!("reason: more than {REASON_CHARS_MAX} characters")));
    }
    let now_ms = api.env.clock.now_ms();
    Ok(Note { who, now_ms, at: second(now_ms), why, restores })
}

/// A time as the history has it.
fn second(at_ms: i64) -> String {
    rfc3339(Some(at_ms - at_ms.rem_euclid(1000)))
}

/// Returns what would be there after a change, and what its author saw.
fn wanted(there: &Snapshot, asked: &[FileChange]) -> Result<(Files, BTreeMap<String, String>), ApiError> {
    let (mut files, mut base) = (there.texts(), there.hashes());
    let mut named = BTreeSet::new();
    for change in asked {
        if !named.insert(&change.name) {
            return Err(ApiError::bad_data(format!("{:?} is changed twice", change.name)));
        }
        match &change.base {
            Some(sha256) => base.insert(change.name.clone(), sha256.to_ascii_lowercase()),
            None => base.remove(&change.name),
        };
        match &change.text {
            Some(text) => {
                check_name(&change.name)?;
                files.insert(change.name.clone(), text.clone().into_bytes());
            }
            None => {
                files.remove(&change.name);
            }
        }
    }
    Ok((files, base))
}

fn conflict(words: &[String]) -> Result<(), ApiError> {
    if words.is_empty() {
        return Ok(());
    }
    Err(ApiError::new(ErrorKind::Conflict, format!("{}; nothing was written: read it again", words.join("; "))))
}

/// Writes a version and waits for the ensemble's answer; goes on when the client hangs up.
async fn perform(
    api: &ApiState,
    store: Store,
    there: Snapshot,
    files: Files,
    note: Note,
) -> Result<Option<push::Pushed>, ApiError> {
    let work = async move { Box::pin(push::perform(&store.client, &store.root, &there, &files, &note)).await };
    let done = api.env.tasks.spawn("rule-push", work).await;
    Ok(done.map_err(|error| ApiError::new(ErrorKind::Internal, error.to_string()))??)
}

fn answer(pushed: Option<&push::Pushed>, changes: &Value, judged: &BTreeMap<String, Judgement>, dry_run: bool) -> Response {
    let judged: serde_json::Map<String, Value> = judged.iter().map(|(name, judged)| (name.clone(), judged.shown())).collect();
    success_value(&json!({
        "dryRun": dry_run,
        "push": pushed.map(|pushed| pushed.number),
        "outside": pushed.and_then(|pushed| pushed.outside),
        "changes": changes,
        "files": judged,
    }))
}

/// `POST zookeeper/rules`.
pub(in crate::api) async fn save(State(api): State<ApiState>, request: Request) -> Result<Response, ApiError> {
    let asker = Asker::of(&request);
    let asked: Save = body(request).await?;
    let note = note(asker, &api, &asked.author, &asked.reason, None)?;
    let texts = asked.changes.iter().filter_map(|change| Some((change.name.clone(), change.text.clone()?.into_bytes())));
    let texts: Files = texts.collect();
    let judged = compute(&api, move || judge(&texts)).await?;
    let told = judged.iter().flat_map(|(name, judged)| judged.errors.iter().map(move |error| error.in_file(name)));
    let told: Vec<String> = told.collect();
    if !told.is_empty() {
        return Err(ApiError::bad_data(format!("{}; nothing was written", told.join("; "))));
    }
    let store = Store::of(&api)?;
    let there = store.read().await?;
    let (files, base) = wanted(&there, &asked.changes)?;
    conflict(&push::conflicts(&there, &base, &push::hashes(&files), second))?;
    let (before, after) = (there.texts(), files.clone());
    let shown = compute(&api, move || changes(&before, &after, "now", "new")).await?;
    let pushed = if asked.dry_run { None } else { perform(&api, store, there, files, note).await? };
    Ok(answer(pushed.as_ref(), &shown, &judged, asked.dry_run))
}

/// `POST zookeeper/rules/rollback`.
pub(in crate::api) async fn rollback(State(api): State<ApiState>, request: Request) -> Result<Response, ApiError> {
    let asker = Asker::of(&request);
    let asked: Rollback = body(request).await?;
    let note = note(asker, &api, &asked.author, &asked.reason, Some(asked.push))?;
    let store = Store::of(&api)?;
    let there = store.read().await?;
    let newest = there.history.head();
    if let (Some(seen), Some(newest)) = (asked.head, newest.filter(|newest| Some(newest.number) != asked.head)) {
        conflict(&[format!("the newest push is not {seen}, but {}", newest.words())])?;
    }
    let files = store.read_version(&there, asked.push).await?;
    let (before, after) = (there.texts(), files.clone());
    let to = format!("push {}", asked.push);
    // What does not load was so then: a server keeps the last good version of such a file, and shows the error.
    let (shown, judged) = compute(&api, move || (changes(&before, &after, "now", &to), judge(&after))).await?;
    let pushed = if asked.dry_run { None } else { perform(&api, store, there, files, note).await? };
    Ok(answer(pushed.as_ref(), &shown, &judged, asked.dry_run))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_rule_files_stay_below_their_folder() {
        for name in ["a.yml", "team/b.yaml", "a b/ü.yml"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        let long = format!("{}.yml", "x".repeat(300));
        for name in ["", "a", "/a.yml", "../a.yml", "a//b.yml", "a/", "x.yml/b.yml", "a\n.yml", ".", long.as_str()] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
