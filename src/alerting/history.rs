//! What became of notifications, for people: sent, being sent, failed, and not sent with the reason.
//!
//! A record is about one group and one integration. What is tried again stays one record with more attempts. A reason for
//! silence is noted once, when it begins, and not at each flush. The newest records are kept.

use crate::model::labels::Labels;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How many records are kept.
pub const RECORDS_MAX: usize = 1000;

/// Where a notification stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordState {
    /// Being sent, or waiting to be tried again.
    Sending,
    /// Everybody took it.
    Sent,
    /// Some recipients took it, others were refused for good.
    Partly,
    /// Given up for now; the next flush of the group tries again unless it was refused for good.
    Failed,
    /// Nobody was to be told.
    NotSent,
}

impl RecordState {
    /// Returns the word for the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sending => "sending",
            Self::Sent => "sent",
            Self::Partly => "partly",
            Self::Failed => "failed",
            Self::NotSent => "not_sent",
        }
    }

    /// Reads the API's word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Sending, Self::Sent, Self::Partly, Self::Failed, Self::NotSent].into_iter().find(|state| state.as_str() == word)
    }
}

/// What one recipient's server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecipientOutcome {
    /// The address.
    pub address: String,
    /// The reply's code; 0 where there was none.
    pub code: u16,
    /// The reply's words.
    pub message: String,
}

impl RecipientOutcome {
    /// Returns whether the recipient has the message.
    #[must_use]
    pub const fn has_it(&self) -> bool {
        self.code >= 200 && self.code < 300
    }

    /// Returns whether the recipient was refused for good.
    #[must_use]
    pub const fn is_refused(&self) -> bool {
        self.code >= 500
    }
}

/// One alert in a notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordAlert {
    /// Its fingerprint.
    pub fingerprint: u64,
    /// Its labels.
    pub labels: Labels,
    /// Whether it had ended.
    pub resolved: bool,
}

/// One attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// When it ended.
    pub at_ms: i64,
    /// How, in words.
    pub outcome: String,
}

/// How many attempts of a record are kept in full.
pub const ATTEMPTS_MAX: usize = 20;

/// One notification.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Grows.
    pub id: u64,
    /// When it was decided.
    pub at_ms: i64,
    /// When it last changed.
    pub updated_at_ms: i64,
    /// Where it stands.
    pub state: RecordState,
    /// Why it was due, or why nobody was told.
    pub why: String,
    /// The receiver's name.
    pub receiver: String,
    /// The integration: `email/0`; empty where nobody was told.
    pub integration: String,
    /// The group's key.
    pub group_key: String,
    /// The group's labels.
    pub group_labels: Labels,
    /// Its alerts, at most [`RECORD_ALERTS_MAX`].
    pub alerts: Vec<RecordAlert>,
    /// How many alerts it had.
    pub alerts_total: usize,
    /// The subject line, where there is one.
    pub subject: String,
    /// The message's id.
    pub message_id: String,
    /// How many attempts there were.
    pub attempt_count: u32,
    /// The last of them.
    pub attempts: Vec<Attempt>,
    /// What each recipient's server said last.
    pub recipients: Vec<RecipientOutcome>,
    /// What went wrong besides, for example with a template.
    pub warnings: Vec<String>,
    /// Whether the message as it was sent is kept.
    pub has_content: bool,
}

/// How many alerts a record names.
pub const RECORD_ALERTS_MAX: usize = 50;

/// The newest records by id.
#[derive(Clone, Debug)]
pub struct History {
    records: BTreeMap<u64, Arc<Record>>,
    next_id: u64,
    removed: u64,
}

impl Default for History {
    fn default() -> Self {
        Self { records: BTreeMap::new(), next_id: 1, removed: 0 }
    }
}

impl History {
    /// Adds a record, giving it its id.
    pub fn add(&mut self, mut record: Record) -> Arc<Record> {
        record.id = self.next_id;
        self.next_id += 1;
        let record = Arc::new(record);
        self.records.insert(record.id, Arc::clone(&record));
        record
    }

    /// Forgets the oldest records beyond the bound, except those that are being sent; returns their ids.
    pub fn trim(&mut self) -> Vec<u64> {
        let excess = self.records.len().saturating_sub(RECORDS_MAX);
        let is_done = |(_, record): &(&u64, &Arc<Record>)| record.state != RecordState::Sending;
        let gone: Vec<u64> = self.records.iter().filter(is_done).map(|(id, _)| *id).take(excess).collect();
        for id in &gone {
            self.records.remove(id);
        }
        self.removed += gone.len() as u64;
        gone
    }

    /// Returns how many records were forgotten since the start.
    #[must_use]
    pub const fn removed(&self) -> u64 {
        self.removed
    }

    /// Puts back a record that was kept across a restart.
    pub fn restore(&mut self, record: Record) {
        self.next_id = self.next_id.max(record.id + 1);
        self.records.insert(record.id, Arc::new(record));
    }

    /// Changes a record and returns it.
    pub fn update(&mut self, id: u64, change: impl FnOnce(&mut Record)) -> Option<Arc<Record>> {
        let record = self.records.get_mut(&id)?;
        change(Arc::make_mut(record));
        Some(Arc::clone(record))
    }

    /// Returns a record.
    #[must_use]
    pub fn get(&self, id: u64) -> Option<&Arc<Record>> {
        self.records.get(&id)
    }

    /// Returns the ids of records before `id` about the same group and integration that were given up.
    #[must_use]
    pub fn given_up_before(&self, id: u64) -> Vec<u64> {
        let Some(record) = self.get(id) else { return Vec::new() };
        let is_same = |other: &Record| {
            other.state == RecordState::Failed
                && other.group_key == record.group_key
                && other.receiver == record.receiver
                && other.integration == record.integration
        };
        self.records.range(..id).filter(|(_, other)| is_same(other)).map(|(id, _)| *id).collect()
    }

    /// Returns the newest record of an unfinished message with this id.
    #[must_use]
    pub fn unfinished(&self, message_id: &str) -> Option<&Arc<Record>> {
        let fits = |record: &&Arc<Record>| {
            record.message_id == message_id && matches!(record.state, RecordState::Failed | RecordState::Sending)
        };
        self.records.values().rev().find(fits)
    }

    /// Walks the records, newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = &Arc<Record>> {
        self.records.values().rev()
    }
}
