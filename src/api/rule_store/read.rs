//! Looking: the files, earlier versions, differences, and what is wrong with a text.

use super::{Judgement, Store, body, changes, compute, judge, made, word};
use crate::api::answer::success_value;
use crate::api::error::{ApiError, ErrorKind};
use crate::api::json::rfc3339;
use crate::api::params::Params;
use crate::api::state::ApiState;
use crate::cluster::history::Push;
use crate::cluster::push::{self, Files};
use crate::cluster::snapshot::{Snapshot, Znode};
use axum::extract::{Path, Request, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn shown(there: &Snapshot, name: &str, file: &Znode, judgement: Option<&Judgement>) -> Value {
    let mut shown = json!({
        "name": name,
        "version": file.version,
        "sha256": file.sha256,
        "bytes": file.text.len(),
        "stored": file.stored,
        "modified": rfc3339(Some(file.modified_ms)),
        "by": there.history.made_by(name, &file.sha256).map(made),
        "broken": file.broken,
    });
    if let (Value::Object(into), Some(Value::Object(more))) = (&mut shown, judgement.map(Judgement::shown)) {
        into.extend(more);
    }
    shown
}

/// `GET zookeeper/rules`.
pub(in crate::api) async fn list(State(api): State<ApiState>) -> Result<Response, ApiError> {
    let there = Store::of(&api)?.read().await?;
    let texts = there.texts();
    let judged = compute(&api, move || judge(&texts)).await?;
    let files: Vec<Value> = there.files.iter().map(|(name, file)| shown(&there, name, file, judged.get(name))).collect();
    Ok(success_value(&json!({
        "files": files,
        "head": there.history.head().map(made),
        "outside": there.outside(),
    })))
}

/// `GET zookeeper/rules/file?name=a.yml`.
pub(in crate::api) async fn file(State(api): State<ApiState>, params: Params) -> Result<Response, ApiError> {
    let name = params.get("name").to_owned();
    let there = Store::of(&api)?.read().await?;
    let Some(file) = there.files.get(&name) else {
        return Err(ApiError::new(ErrorKind::NotFound, format!("there is no rule file {name:?} in ZooKeeper")));
    };
    let texts = Files::from([(name.clone(), file.text.clone())]);
    let judged = compute(&api, move || judge(&texts)).await?;
    let mut answer = shown(&there, &name, file, judged.get(&name));
    answer["text"] = String::from_utf8_lossy(&file.text).into();
    Ok(success_value(&answer))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ToCheck {
    files: BTreeMap<String, String>,
}

/// `POST zookeeper/rules/check`.
pub(in crate::api) async fn check(State(api): State<ApiState>, request: Request) -> Result<Response, ApiError> {
    let asked: ToCheck = body(request).await?;
    let files: Files = asked.files.into_iter().map(|(name, text)| (name, text.into_bytes())).collect();
    let judged = compute(&api, move || judge(&files)).await?;
    let shown: serde_json::Map<String, Value> = judged.iter().map(|(name, judged)| (name.clone(), judged.shown())).collect();
    Ok(success_value(&json!({"good": judged.values().all(|judged| judged.errors.is_empty()), "files": shown})))
}

fn hashes(push: &Push) -> BTreeMap<String, String> {
    push.rules().map(|(name, blob)| (name.to_owned(), blob.sha256.clone())).collect()
}

/// `GET zookeeper/rules/history`: newest first.
pub(in crate::api) async fn history(State(api): State<ApiState>) -> Result<Response, ApiError> {
    let there = Store::of(&api)?.read().await?;
    let history = &there.history;
    let entry = |push: &Push| {
        let before = push.parent.map(|parent| history.pushes.get(&parent));
        // The parent may be too old to be kept: then nobody knows.
        let changed = match before {
            None => Some(push::changes(&BTreeMap::new(), &hashes(push))),
            Some(parent) => parent.map(|parent| push::changes(&hashes(parent), &hashes(push))),
        };
        let changed = changed.map(|changed| {
            changed.iter().map(|(name, change)| json!({"name": name, "change": word(*change)})).collect::<Vec<_>>()
        });
        let mut shown = made(push);
        shown["parent"] = json!(push.parent);
        shown["restores"] = json!(push.restores);
        shown["files"] = json!(push.files.len());
        shown["changes"] = json!(changed);
        shown
    };
    let pushes: Vec<Value> = history.pushes.values().rev().map(entry).collect();
    let unreadable: Vec<Value> =
        history.unreadable.iter().map(|(name, reason)| json!({"name": name, "reason": reason})).collect();
    Ok(success_value(&json!({"pushes": pushes, "outside": there.outside(), "unreadable": unreadable})))
}

/// `GET zookeeper/rules/history/{push}`, with `?name=a.yml` the text.
pub(in crate::api) async fn version(
    State(api): State<ApiState>,
    Path(number): Path<u64>,
    params: Params,
) -> Result<Response, ApiError> {
    let store = Store::of(&api)?;
    let there = store.read().await?;
    let Some(push) = there.history.pushes.get(&number) else {
        return Err(push::PushError::NoSuchPush(number).into());
    };
    let mut answer = made(push);
    let name = params.get("name");
    if name.is_empty() {
        let file = |(name, blob): (&str, &crate::cluster::history::Blob)| json!({"name": name, "sha256": blob.sha256, "bytes": blob.size});
        answer["files"] = push.rules().map(file).collect();
        return Ok(success_value(&answer));
    }
    if !push.rules().any(|(known, _)| known == name) {
        return Err(ApiError::new(ErrorKind::NotFound, format!("push {number} has no file {name:?}")));
    }
    let files = store.read_version(&there, number).await?;
    let text = files.get(name).map(|text| String::from_utf8_lossy(text).into_owned());
    answer["name"] = name.into();
    answer["sha256"] = json!(push.rules().find(|(known, _)| *known == name).map(|(_, blob)| blob.sha256.clone()));
    answer["text"] = json!(text);
    Ok(success_value(&answer))
}

/// `GET zookeeper/rules/diff?from=1&to=2`; a side that is not given is the files as they are.
pub(in crate::api) async fn diff(State(api): State<ApiState>, params: Params) -> Result<Response, ApiError> {
    let side = |name: &str| match params.get(name) {
        "" => Ok(None),
        text => text.parse::<u64>().map(Some).map_err(|_| ApiError::bad_parameter(name, "must be the number of a push")),
    };
    let (from, to) = (side("from")?, side("to")?);
    let store = Store::of(&api)?;
    let there = store.read().await?;
    let mut sides = Vec::new();
    for number in [from, to] {
        sides.push(match number {
            Some(number) => (store.read_version(&there, number).await?, format!("push {number}")),
            None => (there.texts(), "now".to_owned()),
        });
    }
    let found = compute(&api, move || match sides.as_slice() {
        [(from, from_name), (to, to_name)] => changes(from, to, from_name, to_name),
        _ => Value::Null,
    });
    Ok(success_value(&json!({"from": from, "to": to, "changes": found.await?})))
}
