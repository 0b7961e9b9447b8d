//! Small durable things under keys: silences, notification log, last known good configuration and ZooKeeper tree.
//!
//! Nothing here grows with samples or series. What grows with time (history, mails) lies in files of its own.

pub mod dump;
pub mod events;
pub mod memory;
pub mod sled;

use std::fmt;

/// One change of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Sets a key.
    Put(Vec<u8>, Vec<u8>),
    /// Removes a key.
    Delete(Vec<u8>),
}

impl Change {
    /// Returns the key, and its value unless it is removed.
    #[must_use]
    pub fn parts(&self) -> (&[u8], Option<&[u8]>) {
        match self {
            Self::Put(key, value) => (key, Some(value)),
            Self::Delete(key) => (key, None),
        }
    }
}

/// Why the state could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// What the disk or the database said.
    #[error("state store: {0}")]
    Failed(String),
    /// The state has reached its bound.
    #[error("the state store is full: {used_bytes} of {limit_bytes} bytes")]
    Full {
        /// Bytes in use.
        used_bytes: u64,
        /// The bound.
        limit_bytes: u64,
    },
}

/// A key and its value.
pub type Entry = (Vec<u8>, Vec<u8>);

/// Keys and values, ordered by key. All methods block.
pub trait State: Send + Sync + fmt::Debug {
    /// Returns the value of a key.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError>;

    /// Sets a key. Durable after [`State::sync`].
    ///
    /// # Errors
    /// When the store cannot be written or is full.
    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), StateError>;

    /// Removes a key. Durable after [`State::sync`].
    ///
    /// # Errors
    /// When the store cannot be written.
    fn delete(&self, key: &[u8]) -> Result<(), StateError>;

    /// Returns all entries whose key begins with `prefix`, in order of keys.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn scan(&self, prefix: &[u8]) -> Result<Vec<Entry>, StateError>;

    /// Makes all changes or none. Durable after [`State::sync`].
    ///
    /// # Errors
    /// When the store cannot be written or is full.
    fn apply(&self, batch: &[Change]) -> Result<(), StateError>;

    /// Waits until all changes made before are on stable storage.
    ///
    /// # Errors
    /// When that failed.
    fn sync(&self) -> Result<(), StateError>;

    /// Writes a copy for the day when the state itself cannot be read, if anything changed since the last time. States that
    /// need none keep none.
    ///
    /// # Errors
    /// When it cannot be written; it is tried again at the next call.
    fn dump_if_changed(&self) -> Result<(), StateError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What every implementation must do; the state is empty at first.
    pub(super) fn keeps_its_promises(state: &dyn State) {
        let text = |found: Option<Vec<u8>>| found.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        assert_eq!(text(state.get(b"a").expect("reads")), None);
        state.put(b"a/1", b"one").expect("writes");
        state.put(b"a/2", b"two").expect("writes");
        state.put(b"b/1", b"other").expect("writes");
        state.put(b"a/1", b"uno").expect("writes");
        let scanned = state.scan(b"a/").expect("reads");
        assert_eq!(scanned, [(b"a/1".to_vec(), b"uno".to_vec()), (b"a/2".to_vec(), b"two".to_vec())]);
        let batch = [Change::Delete(b"a/1".to_vec()), Change::Put(b"a/0".to_vec(), Vec::new())];
        state.apply(&batch).expect("writes");
        state.delete(b"nothing").expect("writes");
        state.sync().expect("syncs");
        let keys: Vec<_> = state.scan(b"").expect("reads").into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, [b"a/0".to_vec(), b"a/2".to_vec(), b"b/1".to_vec()]);
        assert_eq!(text(state.get(b"b/1").expect("reads")), Some("other".to_owned()));
    }
}
