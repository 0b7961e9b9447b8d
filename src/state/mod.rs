//! Small durable things under keys: silences, notification log, last known good configuration and ZooKeeper tree.
//!
//! Nothing here grows with samples or series. What grows with time (history, mails) lies in files of its own.

use std::fmt;

/// One change of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Sets a key.
    Put(Vec<u8>, Vec<u8>),
    /// Removes a key.
    Delete(Vec<u8>),
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
}
