//! Who was told what, for whoever leads next: `notified/<key>`, one znode for each group and receiver.
//!
//! ```text
//! {"state": "sending" | "sent", "by": member, "epoch": n, "told": {...} | null, "sending": {...} | null, "alerts": [...]}
//! ```
//!
//! Before a message goes out: one transaction checks that our candidate is still there and notes `sending`. After it was taken:
//! `told`. What a message says is the notifier's (this module does not look into it, but for its number and its time). Large ones are
//! compressed.

use super::packing;
use crate::zookeeper::{Client, Lifetime, Operation, Result, ZooKeeperError};
use serde_json::{Value, json};
use std::sync::Arc;

/// From this size on an entry is compressed.
const PACKED_FROM: usize = 16 * 1024;
/// How often a change is tried again because somebody else wrote first.
const TRIES: usize = 5;

/// What a znode says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Entry {
    /// Who wrote it.
    pub by: String,
    /// In which epoch.
    pub epoch: i64,
    /// What the receiver was told last.
    pub told: Option<Value>,
    /// What it is being told.
    pub sending: Option<Value>,
    /// The alerts that it thinks are firing, or is being told so: whoever goes on may not know them.
    pub alerts: Vec<Value>,
}

fn message_id(value: Option<&Value>) -> &str {
    value.map_or("", |value| value["message_id"].as_str().unwrap_or_default())
}

/// Returns when something was told, milliseconds since 1970; before all times where nothing was.
#[must_use]
pub fn told_ms(told: Option<&Value>) -> i64 {
    told.map_or(i64::MIN, |told| told["at_ms"].as_i64().unwrap_or(i64::MIN))
}

impl Entry {
    /// Writes it.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let state = if self.sending.is_some() { "sending" } else { "sent" };
        let value = json!({
            "state": state,
            "by": self.by,
            "epoch": self.epoch,
            "told": self.told,
            "sending": self.sending,
            "alerts": self.alerts,
        });
        let text = value.to_string().into_bytes();
        if text.len() < PACKED_FROM { text } else { packing::gzip(&text) }
    }

    /// Reads it.
    #[must_use]
    pub fn of(data: &[u8]) -> Option<Self> {
        let text = packing::unpack(data, |_| None::<Vec<u8>>).ok()?;
        let value: Value = serde_json::from_slice(&text).ok()?;
        let part = |name: &str| Some(value[name].clone()).filter(Value::is_object);
        Some(Self {
            by: value["by"].as_str()?.to_owned(),
            epoch: value["epoch"].as_i64()?,
            told: part("told"),
            sending: part("sending"),
            alerts: value["alerts"].as_array().cloned().unwrap_or_default(),
        })
    }

    /// Takes what was told. What was being told is settled, if it is the same message or an older one.
    fn take_told(&mut self, told: &Value) {
        let since_ms = self.sending.as_ref().map_or(i64::MIN, |sending| sending["since_ms"].as_i64().unwrap_or(i64::MIN));
        let is_same = message_id(self.sending.as_ref()) == message_id(Some(told));
        if is_same || since_ms <= told_ms(Some(told)) {
            self.sending = None;
        }
        self.told = Some(told.clone());
        if self.sending.is_none() && told["firing"].as_array().is_some_and(Vec::is_empty) {
            self.alerts.clear();
        }
    }
}

/// Why a message was not announced.
#[derive(Clone, Debug, PartialEq)]
pub enum Refused {
    /// Our candidate is gone: another one leads, or will.
    NotLeader,
    /// Somebody else told this receiver something that we did not know of.
    Newer(Box<Entry>),
    /// ZooKeeper said.
    Failed(ZooKeeperError),
}

impl From<ZooKeeperError> for Refused {
    fn from(error: ZooKeeperError) -> Self {
        Self::Failed(error)
    }
}

async fn read(client: &Arc<dyn Client>, path: &str) -> Result<Option<(Entry, i32)>> {
    let node = client.get(path).await?;
    // What nobody can read is written anew.
    Ok(node.map(|node| (Entry::of(&node.data).unwrap_or_default(), node.version)))
}

fn write(path: &str, entry: &Entry, version: Option<i32>) -> Operation {
    let (path, data) = (path.to_owned(), entry.bytes());
    match version {
        Some(version) => Operation::Set { path, data, version: Some(version) },
        None => Operation::Create { path, data, lifetime: Lifetime::Persistent },
    }
}

const fn is_race(error: &ZooKeeperError) -> bool {
    matches!(error, ZooKeeperError::NodeExists(_) | ZooKeeperError::BadVersion(_))
}

/// Makes the folder of a znode: somebody removed it while we were connected.
async fn make_folder(client: &Arc<dyn Client>, path: &str) -> Result<()> {
    let (folder, _) = path.rsplit_once('/').unwrap_or_default();
    client.make_folders(folder).await
}

/// Announces a message: `sending` stands in the znode at `path` when this returns, and our candidate was there. `known_ms`: when the
/// receiver was told last, as far as we know.
///
/// # Errors
/// When we do not lead, do not know what the receiver was told, or ZooKeeper does not answer; it may stand there then.
pub async fn announce(
    client: &Arc<dyn Client>,
    path: &str,
    candidate: &str,
    by: (&str, i64),
    (sending, alerts): (&Value, &[Value]),
    known_ms: i64,
) -> std::result::Result<(), Refused> {
    for _ in 0..TRIES {
        let found = read(client, path).await?;
        let (mut entry, version) = found.map_or_else(|| (Entry::default(), None), |(entry, version)| (entry, Some(version)));
        if told_ms(entry.told.as_ref()) > known_ms {
            return Err(Refused::Newer(Box::new(entry)));
        }
        (entry.by, entry.epoch, entry.sending) = (by.0.to_owned(), by.1, Some(sending.clone()));
        entry.alerts = alerts.to_vec();
        let check = Operation::Check { path: candidate.to_owned(), version: 0 };
        match client.multi(&[check, write(path, &entry, version)]).await {
            Ok(()) => return Ok(()),
            Err(ZooKeeperError::NoNode(gone)) if gone == candidate => return Err(Refused::NotLeader),
            Err(ZooKeeperError::NoNode(_)) => make_folder(client, path).await?,
            Err(error) if is_race(&error) => {}
            Err(error) => return Err(Refused::Failed(error)),
        }
    }
    Err(Refused::Failed(ZooKeeperError::BadVersion(path.to_owned())))
}

/// Notes what a receiver was told, unless something newer stands there. `alerts`: those that it thinks are firing, where they are known.
///
/// # Errors
/// When ZooKeeper does not answer.
pub async fn note_told(client: &Arc<dyn Client>, path: &str, by: (&str, i64), told: &Value, alerts: &[Value]) -> Result<()> {
    for _ in 0..TRIES {
        let found = read(client, path).await?;
        let (mut entry, version) = found.map_or_else(|| (Entry::default(), None), |(entry, version)| (entry, Some(version)));
        if told_ms(entry.told.as_ref()) >= told_ms(Some(told)) {
            return Ok(());
        }
        entry.take_told(told);
        if entry.sending.is_none() && !alerts.is_empty() {
            entry.alerts = alerts.to_vec();
        }
        (entry.by, entry.epoch) = (by.0.to_owned(), by.1);
        match client.multi(&[write(path, &entry, version)]).await {
            Err(ZooKeeperError::NoNode(_)) => make_folder(client, path).await?,
            Err(error) if is_race(&error) => {}
            done => return done,
        }
    }
    Err(ZooKeeperError::BadVersion(path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_as_written_also_large_ones() {
        let many: Vec<String> = (0..5000).map(|n| format!("{n:016x}")).collect();
        for told in [json!({"at_ms": 5, "message_id": "m"}), json!({"at_ms": 5, "firing": many})] {
            let entry = Entry { by: "a".to_owned(), epoch: 7, told: Some(told), ..Entry::default() };
            let bytes = entry.bytes();
            assert!(bytes.len() < 50_000, "{}", bytes.len());
            assert_eq!(Entry::of(&bytes), Some(entry));
        }
        assert_eq!(Entry::of(b"\xff"), None);
        assert_eq!(Entry::of(b"{}"), None);
    }

    #[test]
    fn what_was_told_settles_what_was_being_told() {
        let sending = Some(json!({"message_id": "m1", "since_ms": 100}));
        let after = |told: Value| {
            let mut entry = Entry { sending: sending.clone(), ..Entry::default() };
            entry.take_told(&told);
            entry.sending.is_none()
        };
        // The clocks of two members may differ: the number decides.
        assert!(after(json!({"message_id": "m1", "at_ms": 90})));
        assert!(after(json!({"message_id": "m2", "at_ms": 110})));
        assert!(!after(json!({"message_id": "m2", "at_ms": 90})));
    }
}
