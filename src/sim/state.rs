//! A state on the simulated disk, in place of sled's, which does its own input and output.

use crate::env::crash_disk::CrashDisk;
use crate::env::disk::{Disk, DiskFile, Open};
use crate::state::memory::MemoryState;
use crate::state::{Change, Entry, State, StateError};
use std::io;
use std::path::Path;
use std::sync::Mutex;

/// A state whose transactions are lines in a file of the simulated disk: durable when synced, whole or not at all.
pub(crate) struct DiskState {
    memory: MemoryState,
    file: Box<dyn DiskFile>,
    length: Mutex<u64>,
}

impl std::fmt::Debug for DiskState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DiskState").finish_non_exhaustive()
    }
}

fn failed(error: impl std::fmt::Display) -> StateError {
    StateError::Failed(error.to_string())
}

/// One transaction: its length, its checksum, its changes.
fn frame(batch: &[Change]) -> Vec<u8> {
    let changes: Vec<_> = batch.iter().map(Change::parts).collect();
    let text = serde_json::to_vec(&changes).expect("plain data");
    let mut frame = u32::try_from(text.len()).expect("small").to_le_bytes().to_vec();
    frame.extend(crc32c::crc32c(&text).to_le_bytes());
    frame.extend(text);
    frame
}

fn next_frame(bytes: &[u8]) -> Option<(Vec<Change>, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    let (text, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    let is_good = !text.is_empty() && crc32c::crc32c(text) == u32::from_le_bytes(*crc);
    let changes: Vec<(Vec<u8>, Option<Vec<u8>>)> = is_good.then(|| serde_json::from_slice(text).ok()).flatten()?;
    let change = |(key, value)| match value {
        Some(value) => Change::Put(key, value),
        None => Change::Delete(key),
    };
    Some((changes.into_iter().map(change).collect(), rest))
}

impl DiskState {
    /// Opens the state in a folder.
    ///
    /// # Errors
    /// What the disk says.
    pub(crate) fn try_open(disk: &dyn Disk, folder: &Path) -> io::Result<Self> {
        let path = folder.join("state.log");
        disk.create_dir_all(folder)?;
        let file = disk.open(&path, Open::Create)?;
        disk.sync_dir(folder)?;
        let bytes = disk.read(&path)?;
        let memory = MemoryState::new();
        let mut rest = bytes.as_slice();
        while let Some((changes, behind)) = next_frame(rest) {
            memory.apply(&changes).expect("memory");
            rest = behind;
        }
        let length = (bytes.len() - rest.len()) as u64;
        file.set_len(length)?;
        file.sync_data()?;
        Ok(Self { memory, file, length: Mutex::new(length) })
    }

    /// Opens the state on a disk that works.
    pub(crate) fn open(disk: &CrashDisk, folder: &Path) -> Self {
        Self::try_open(disk, folder).expect("a disk that works")
    }
}

impl State for DiskState {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        self.memory.get(key)
    }

    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), StateError> {
        self.apply(&[Change::Put(key.to_vec(), value.to_vec())])
    }

    fn delete(&self, key: &[u8]) -> Result<(), StateError> {
        self.apply(&[Change::Delete(key.to_vec())])
    }

    fn scan(&self, prefix: &[u8]) -> Result<Vec<Entry>, StateError> {
        self.memory.scan(prefix)
    }

    fn apply(&self, batch: &[Change]) -> Result<(), StateError> {
        let mut length = self.length.lock().expect("unpoisoned");
        let frame = frame(batch);
        self.file.write_at(&frame, *length).map_err(failed)?;
        *length += frame.len() as u64;
        self.memory.apply(batch)
    }

    fn sync(&self) -> Result<(), StateError> {
        self.file.sync_data().map_err(failed)
    }
}
