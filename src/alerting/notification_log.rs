//! Who was told what: one entry for each group and receiver, and the intents of those who are being told.
//!
//! An entry is written when a receiver took a notification; an *intent* is written before the first byte goes out, and says
//! what is told. An intent without its entry after a crash is the one window in which somebody may be told twice: nobody knows
//! whether the mail server took the message, so exactly the same message, with the same id, goes out at once after the start.
//! Entries live for twice the repeat interval, at most five days, as Alertmanager's do.

use super::dedup::{Due, LastTold};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// The longest life of an entry: Alertmanager's `--data.retention`.
pub const RETENTION_MS: i64 = 120 * 3_600_000;

/// Names a group and one of its receiver's integrations: `{}:{alertname="Down"}:ops/email/0`.
pub type LogKey = String;

/// What a receiver was last told, and until when this is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// The group's key.
    pub group_key: String,
    /// Receiver, kind and place: `ops/email/0`.
    pub receiver: String,
    /// What was told.
    pub told: LastTold,
    /// When to forget.
    pub expires_at_ms: i64,
    /// The message that told it.
    pub message_id: String,
}

/// A notification on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// The group's key.
    pub group_key: String,
    /// Receiver, kind and place.
    pub receiver: String,
    /// Its id.
    pub message_id: String,
    /// When it began.
    pub since_ms: i64,
    /// Why it was due.
    pub due: Due,
    /// Fingerprints of the alerts that it says fire.
    pub firing: BTreeSet<u64>,
    /// Fingerprints of the alerts that it says have ended.
    pub resolved: BTreeSet<u64>,
    /// Fingerprints of the alerts that fire no more, and that earlier messages were to tell as firing and could not.
    pub owed: BTreeSet<u64>,
}

/// All entries and intents.
#[derive(Clone, Debug, Default)]
pub struct NotificationLog {
    entries: BTreeMap<LogKey, LogEntry>,
    intents: BTreeMap<LogKey, Intent>,
    /// Keys of intents of an earlier life: whether the other side took the message is not known.
    unsettled: BTreeSet<LogKey>,
}

/// Returns the key of a group and an integration.
#[must_use]
pub fn key(group_key: &str, receiver: &str) -> LogKey {
    format!("{group_key}:{receiver}")
}

/// Returns until when an entry of `now_ms` is remembered.
#[must_use]
pub const fn expiry_ms(now_ms: i64, repeat_interval_ms: i64) -> i64 {
    let wanted = repeat_interval_ms.saturating_mul(2);
    now_ms.saturating_add(if wanted > 0 && wanted < RETENTION_MS { wanted } else { RETENTION_MS })
}

/// Makes the id of a message from what it tells and from what was told before: trying again, even after a crash, gives the
/// same id; telling something else, or the same again after the repeat interval, gives another.
#[must_use]
pub fn message_id(log_key: &str, last: Option<&LogEntry>, firing: &BTreeSet<u64>, resolved: &BTreeSet<u64>) -> String {
    let mut hash = Sha256::new();
    hash.update(log_key.as_bytes());
    hash.update(last.map_or(0, |last| last.told.at_ms).to_be_bytes());
    for set in [firing, resolved] {
        hash.update((set.len() as u64).to_be_bytes());
        for fingerprint in set {
            hash.update(fingerprint.to_be_bytes());
        }
    }
    hex(&hash.finalize()[..16])
}

/// Returns the id of the conversation that all messages about a group belong to.
#[must_use]
pub fn thread_id(group_key: &str) -> String {
    hex(&Sha256::digest(group_key.as_bytes())[..12])
}

/// Writes bytes as hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|b| [b >> 4, b & 15]).map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

impl NotificationLog {
    /// Returns what a receiver was last told about a group.
    #[must_use]
    pub fn get(&self, now_ms: i64, log_key: &str) -> Option<&LogEntry> {
        self.entries.get(log_key).filter(|entry| entry.expires_at_ms > now_ms)
    }

    /// Notes that a notification goes out.
    pub fn begin(&mut self, intent: Intent) {
        self.intents.insert(key(&intent.group_key, &intent.receiver), intent);
    }

    /// Takes an intent of an earlier life.
    pub fn restore_intent(&mut self, intent: Intent) {
        self.unsettled.insert(key(&intent.group_key, &intent.receiver));
        self.begin(intent);
    }

    /// Notes that a receiver took a notification.
    pub fn finish(&mut self, entry: LogEntry) {
        let log_key = key(&entry.group_key, &entry.receiver);
        self.forget_intent(&log_key);
        self.entries.insert(log_key, entry);
    }

    /// Notes that the message of an intent will not be sent again as it is: it was refused for good, or cannot be made again.
    /// That its alerts were not told is still known.
    pub fn settle(&mut self, log_key: &str) {
        self.unsettled.remove(log_key);
    }

    /// Forgets an intent: its group is no more.
    pub fn forget_intent(&mut self, log_key: &str) {
        self.unsettled.remove(log_key);
        self.intents.remove(log_key);
    }

    /// Returns the intent of an earlier life whose message may or may not have been taken.
    #[must_use]
    pub fn unsettled(&self, log_key: &str) -> Option<&Intent> {
        self.intents.get(log_key).filter(|_| self.unsettled.contains(log_key))
    }

    /// Walks all intents in order of keys.
    pub fn intents(&self) -> impl Iterator<Item = (&LogKey, &Intent)> {
        self.intents.iter()
    }

    /// Returns the intent of a group and receiver: a notification that is going out, or was when the process died.
    #[must_use]
    pub fn intent(&self, log_key: &str) -> Option<&Intent> {
        self.intents.get(log_key)
    }

    /// Takes an entry that another member or an earlier life wrote; the later one wins. Returns whether it was news.
    pub fn restore(&mut self, entry: LogEntry) -> bool {
        let log_key = key(&entry.group_key, &entry.receiver);
        match self.entries.get(&log_key) {
            Some(ours) if ours.told.at_ms >= entry.told.at_ms => false,
            _ => {
                let is_over = |intent: &Intent| intent.message_id == entry.message_id || intent.since_ms <= entry.told.at_ms;
                if self.intents.get(&log_key).is_some_and(is_over) {
                    // Somebody else told it since, and what was owed with it.
                    self.forget_intent(&log_key);
                }
                self.entries.insert(log_key, entry);
                true
            }
        }
    }

    /// Takes what another member is telling, or was when it stopped: where we tell people next, exactly that message goes out
    /// again. `None`: nothing is on its way there, so what we thought of is settled. Returns whether that was news.
    pub fn learn_sending(&mut self, log_key: &str, sending: Option<Intent>) -> bool {
        let Some(intent) = sending else {
            let was_open = self.unsettled.contains(log_key);
            self.settle(log_key);
            return was_open;
        };
        // The others may not have heard yet that it was told, or something after it.
        let is_over = |entry: &LogEntry| entry.message_id == intent.message_id || entry.told.at_ms >= intent.since_ms;
        let is_told = self.entries.get(log_key).is_some_and(is_over);
        let is_known = self.unsettled.contains(log_key) && self.intents.get(log_key) == Some(&intent);
        if is_told || is_known {
            return false;
        }
        self.restore_intent(intent);
        true
    }

    /// Walks all entries in order of keys.
    pub fn iter(&self) -> impl Iterator<Item = (&LogKey, &LogEntry)> {
        self.entries.iter()
    }

    /// Forgets what has expired; returns the keys.
    pub fn collect_garbage(&mut self, now_ms: i64) -> Vec<LogKey> {
        let expired = |(log_key, entry): (&LogKey, &LogEntry)| (entry.expires_at_ms <= now_ms).then(|| log_key.clone());
        let gone: Vec<LogKey> = self.entries.iter().filter_map(expired).collect();
        for log_key in &gone {
            self.entries.remove(log_key);
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(at_ms: i64, expires_at_ms: i64) -> LogEntry {
        LogEntry {
            group_key: "{}:{}".to_owned(),
            receiver: "ops/email/0".to_owned(),
            told: LastTold { at_ms, ..LastTold::default() },
            expires_at_ms,
            message_id: String::new(),
        }
    }

    #[test]
    fn remembers_for_twice_the_repeat_interval() {
        assert_eq!(expiry_ms(0, 4 * 3_600_000), 8 * 3_600_000);
        assert_eq!(expiry_ms(0, 100 * 3_600_000), RETENTION_MS);
        assert_eq!(expiry_ms(0, 0), RETENTION_MS);
        let mut log = NotificationLog::default();
        log.finish(entry(10, 100));
        let log_key = key("{}:{}", "ops/email/0");
        assert!(log.get(99, &log_key).is_some());
        assert!(log.get(100, &log_key).is_none());
        assert_eq!(log.collect_garbage(100), [log_key]);
    }

    #[test]
    fn the_later_entry_wins() {
        let mut log = NotificationLog::default();
        assert!(log.restore(entry(10, 100)));
        assert!(!log.restore(entry(10, 200)));
        assert!(log.restore(entry(11, 100)));
    }

    #[test]
    fn an_id_is_of_what_is_told() {
        let (a, b) = (BTreeSet::from([1]), BTreeSet::from([1, 2]));
        let none = BTreeSet::new();
        let id = message_id("k", None, &a, &none);
        assert_eq!(id, message_id("k", None, &a, &none));
        let others = [
            message_id("l", None, &a, &none),
            message_id("k", None, &b, &none),
            message_id("k", None, &none, &a),
            message_id("k", Some(&entry(10, 100)), &a, &none),
        ];
        assert!(others.iter().all(|other| *other != id), "{others:?}");
    }
}
