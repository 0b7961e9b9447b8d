//! What alerting keeps and other members must know of, as it was written last: silences, acknowledgements, the notification log.

use crate::alerting::persist::{ACK, LOG, SILENCE};
use crate::state::{Change, State, StateError};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// What is shared, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Silence,
    Ack,
    Log,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Silence, Self::Ack, Self::Log];

    const fn prefix(self) -> &'static str {
        match self {
            Self::Silence => SILENCE,
            Self::Ack => ACK,
            Self::Log => LOG,
        }
    }

    /// Returns when an entry was changed: the later one wins.
    pub(super) fn stamp(self, value: &Value) -> i64 {
        let name = if self == Self::Silence { "updated_at_ms" } else { "at_ms" };
        value[name].as_i64().unwrap_or(i64::MIN)
    }
}

/// Entries by kind and name.
pub(super) type Entries = BTreeMap<(Kind, String), Value>;

#[derive(Debug, Default)]
struct Held {
    entries: Entries,
    /// Acknowledgements that hold no more, since somebody last asked.
    dropped_acks: BTreeSet<String>,
}

/// The copy.
#[derive(Debug)]
pub(super) struct Kept {
    held: Mutex<Held>,
    /// Counts changes of the log, and up to which of them the others know.
    logged: AtomicU64,
    shared: AtomicU64,
    changes: watch::Sender<()>,
}

fn of_key(key: &[u8]) -> Option<(Kind, String)> {
    let key = std::str::from_utf8(key).ok()?;
    Kind::ALL.into_iter().find_map(|kind| Some((kind, key.strip_prefix(kind.prefix())?.to_owned())))
}

impl Kept {
    /// Reads what is kept. Blocks.
    pub(super) fn load(state: &dyn State) -> Result<Self, StateError> {
        let mut held = Held::default();
        for kind in Kind::ALL {
            for (key, value) in state.scan(kind.prefix().as_bytes())? {
                if let (Some(key), Ok(value)) = (of_key(&key), serde_json::from_slice(&value)) {
                    held.entries.insert(key, value);
                }
            }
        }
        let held = Mutex::new(held);
        Ok(Self { held, logged: AtomicU64::new(0), shared: AtomicU64::new(0), changes: watch::Sender::new(()) })
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes changes as they are written.
    pub(super) fn take(&self, changes: &[Change]) {
        let mut changed = false;
        {
            let mut held = self.held();
            for change in changes {
                let (key, value) = change.parts();
                let Some(key) = of_key(key) else { continue };
                changed = true;
                match value.map(serde_json::from_slice::<Value>) {
                    Some(Ok(value)) => {
                        if key.0 == Kind::Log {
                            self.logged.fetch_add(1, Ordering::AcqRel);
                        }
                        held.entries.insert(key, value);
                    }
                    Some(Err(_)) => {}
                    None => {
                        held.entries.remove(&key);
                        if key.0 == Kind::Ack {
                            held.dropped_acks.insert(key.1);
                        }
                    }
                }
            }
        }
        if changed {
            self.changes.send_replace(());
        }
    }

    /// Returns all entries, and the number of the log's changes that are in them.
    pub(super) fn entries(&self) -> (Entries, u64) {
        let logged = self.logged.load(Ordering::Acquire);
        (self.held().entries.clone(), logged)
    }

    /// Returns when a receiver was told last, by the name of its entry; before all times where it was not.
    pub(super) fn told_ms(&self, name: &str) -> i64 {
        self.held().entries.get(&(Kind::Log, name.to_owned())).map_or(i64::MIN, |value| Kind::Log.stamp(value))
    }

    /// Returns the acknowledgements that hold no more, once.
    pub(super) fn dropped_acks(&self) -> BTreeSet<String> {
        std::mem::take(&mut self.held().dropped_acks)
    }

    /// Notes that the others can know of the log's changes up to a number.
    pub(super) fn note_shared(&self, logged: u64) {
        self.shared.fetch_max(logged, Ordering::AcqRel);
    }

    /// Returns whether somebody was told something that the others cannot know of yet.
    pub(super) fn owes(&self) -> bool {
        self.logged.load(Ordering::Acquire) > self.shared.load(Ordering::Acquire)
    }

    /// Returns a stream of changes.
    pub(super) fn watch(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::memory::MemoryState;

    #[test]
    fn follows_what_is_written() {
        let put = |key: &str, value: &str| Change::Put(key.as_bytes().to_vec(), value.as_bytes().to_vec());
        let state = MemoryState::default();
        state.apply(&[put("alerting/log/k", r#"{"at_ms": 5}"#), put("alerting/alert/1", "{}")]).unwrap();
        let kept = Kept::load(&state).unwrap();
        assert_eq!((kept.told_ms("k"), kept.told_ms("l"), kept.owes()), (5, i64::MIN, false));
        kept.take(&[put("alerting/log/k", r#"{"at_ms": 7}"#), put("alerting/silence/s", r#"{"updated_at_ms": 3}"#)]);
        assert_eq!((kept.told_ms("k"), kept.owes()), (7, true));
        let (entries, logged) = kept.entries();
        assert_eq!(entries.len(), 2);
        kept.note_shared(logged);
        assert!(!kept.owes());
        kept.take(&[put("alerting/ack/a", r#"{"at_ms": 1}"#), Change::Delete(b"alerting/ack/a".to_vec())]);
        assert_eq!(kept.dropped_acks().into_iter().collect::<Vec<_>>(), ["a"]);
        assert!(kept.dropped_acks().is_empty());
    }
}
