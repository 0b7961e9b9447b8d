//! Why the store could not be opened or changed.

use std::io;
use std::path::{Path, PathBuf};

/// An error of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has the data directory.
    #[error("{} is in use by another server (LOCK is held)", .0.display())]
    InUse(PathBuf),
    /// There is no data directory at that place.
    #[error("{} is no data directory (it has no FORMAT)", .0.display())]
    NoDirectory(PathBuf),
    /// The directory was written by a version that this one does not know.
    #[error("{} holds format {found:?}, this program reads {expected:?}", .file.display())]
    Format {
        /// The file that says so.
        file: PathBuf,
        /// What it says.
        found: String,
        /// What this program reads.
        expected: String,
    },
    /// The disk failed.
    #[error("{doing} {}", .file.display())]
    Io {
        /// What was tried, as a participle.
        doing: &'static str,
        /// On which file.
        file: PathBuf,
        /// What the disk said.
        source: io::Error,
    },
    /// A file is damaged; the place and the reason.
    #[error("{} is damaged at byte {offset}: {reason}", .file.display())]
    Corrupt {
        /// Which file.
        file: PathBuf,
        /// Where.
        offset: u64,
        /// What is wrong.
        reason: String,
    },
    /// A table with 32-bit numbers is full.
    #[error("{0} are full")]
    Full(&'static str),
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// Wraps what the disk said.
    pub(crate) fn io(doing: &'static str, file: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, file: file.to_owned(), source }
    }

    /// Says where a file is damaged.
    pub(crate) fn corrupt(file: &Path, offset: u64, reason: impl Into<String>) -> Self {
        Self::Corrupt { file: file.to_owned(), offset, reason: reason.into() }
    }
}
