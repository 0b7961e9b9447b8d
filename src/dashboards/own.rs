//! Own dashboards in the state store: `dashboards/own/ID` holds one, `dashboards/order` the ids in order.
//!
//! An entry is gzip: a line of JSON, `{"modifiedMs": ..., "by": "..."}`, and the dashboard's text behind it.

use crate::state::{Change, State, StateError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::sync::Arc;

const PREFIX: &[u8] = b"dashboards/own/";
const ORDER: &[u8] = b"dashboards/order";
/// Bytes of all own dashboards in the store: silences and the notification log must find room beside them.
pub(super) const STORED_BYTES_MAX: usize = 24 << 20;
/// The longest entry, unpacked.
const ENTRY_BYTES_MAX: u64 = 16 << 20;

/// An own dashboard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Own {
    pub(super) text: Arc<str>,
    pub(super) modified_ms: i64,
    pub(super) by: String,
    /// Bytes in the store.
    pub(super) stored: usize,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    modified_ms: i64,
    by: String,
}

fn key(id: &str) -> Vec<u8> {
    [PREFIX, id.as_bytes()].concat()
}

fn encode(own: &Own) -> Result<Vec<u8>, StateError> {
    let failed = |error: std::io::Error| StateError::Failed(error.to_string());
    let head = serde_json::to_string(&Head { modified_ms: own.modified_ms, by: own.by.clone() });
    let head = head.map_err(|error| StateError::Failed(error.to_string()))?;
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    for part in [head.as_bytes(), b"\n", own.text.as_bytes()] {
        writer.write_all(part).map_err(failed)?;
    }
    writer.finish().map_err(failed)
}

fn decode(bytes: &[u8]) -> Option<Own> {
    let mut text = String::new();
    flate2::read::GzDecoder::new(bytes).take(ENTRY_BYTES_MAX).read_to_string(&mut text).ok()?;
    let (head, text) = text.split_once('\n')?;
    let head: Head = serde_json::from_str(head).ok()?;
    Some(Own { text: text.into(), modified_ms: head.modified_ms, by: head.by, stored: bytes.len() })
}

/// What is kept: the dashboards by id, and the order.
pub(super) type Kept = (BTreeMap<String, Own>, Vec<String>);

/// Reads all of it. Entries that cannot be read are left out, and stay where they are. Blocks.
pub(super) fn load(state: &dyn State) -> Result<Kept, StateError> {
    let mut found = BTreeMap::new();
    for (key, value) in state.scan(PREFIX)? {
        let id = key.get(PREFIX.len()..).and_then(|id| std::str::from_utf8(id).ok());
        match (id, decode(&value)) {
            (Some(id), Some(own)) => drop(found.insert(id.to_owned(), own)),
            _ => tracing::error!(key = %String::from_utf8_lossy(&key), "a dashboard in the state store cannot be read"),
        }
    }
    let order = state.get(ORDER)?.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
    Ok((found, order))
}

/// Keeps one, and answers how many bytes it takes. Durable when it returns. Blocks.
pub(super) fn put(state: &dyn State, id: &str, own: &Own) -> Result<usize, StateError> {
    let bytes = encode(own)?;
    let stored = bytes.len();
    state.apply(&[Change::Put(key(id), bytes)])?;
    state.sync()?;
    Ok(stored)
}

/// Removes one. Durable when it returns. Blocks.
pub(super) fn delete(state: &dyn State, id: &str) -> Result<(), StateError> {
    state.apply(&[Change::Delete(key(id))])?;
    state.sync()
}

/// Keeps the order. Durable when it returns. Blocks.
pub(super) fn put_order(state: &dyn State, order: &[String]) -> Result<(), StateError> {
    let bytes = serde_json::to_vec(order).map_err(|error| StateError::Failed(error.to_string()))?;
    state.apply(&[Change::Put(ORDER.to_vec(), bytes)])?;
    state.sync()
}
