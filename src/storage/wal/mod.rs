//! The log: what was appended since the last block, so that nothing acknowledged is lost.

pub(crate) mod names;
pub(crate) mod record;

/// The log's writing face.
#[derive(Debug, Default)]
pub(crate) struct Log {}

impl Log {
    /// Adds definitions to the names log; they are written before the next record.
    pub(crate) fn define(&self, put: impl FnOnce(&mut Vec<u8>)) {
        let mut names = Vec::new();
        put(&mut names);
    }

    /// Writes the record that `encode` makes for a segment.
    pub(crate) fn write(&self, mut encode: impl FnMut(u64) -> Vec<u8>) {
        drop(encode(1));
    }
}
