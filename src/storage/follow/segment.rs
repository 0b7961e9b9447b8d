//! One segment that is read while it may still grow.

use crate::env::disk::{DiskFile, Open};
use crate::storage::error::StoreError;
use crate::storage::store::Inner;
use crate::storage::wal::Log;
use crate::storage::wal::files::{file_name, numbers};
use crate::storage::wal::segment::{FRAME_BYTES, HEADER_BYTES, LOG_MAGIC, Record, Records, created_in, read_header, version_in};
use std::io;
use std::path::{Path, PathBuf};

/// Bytes that are read at once.
const PIECE: u64 = 256 << 10;

/// A segment and the part of it that is in memory.
pub(super) struct OpenSegment {
    pub(super) number: u64,
    pub(super) created_ms: i64,
    pub(super) version: u32,
    /// Behind the last record that was taken.
    pub(super) at: u64,
    file: Box<dyn DiskFile>,
    path: PathBuf,
    buffer: Vec<u8>,
    /// Where the buffer begins in the file.
    buffer_at: u64,
}

impl OpenSegment {
    /// Opens the segment with the least number above `after`.
    pub(super) fn next(inner: &Inner, after: u64) -> Result<Option<Self>, StoreError> {
        let disk = &*inner.env.disk;
        let folders = [inner.options.dir.join("wal"), inner.options.dir.join(super::kept::FOLDER)];
        let mut after = after;
        loop {
            let mut next: Option<(u64, &Path)> = None;
            for folder in &folders {
                let listed = match numbers(disk, folder) {
                    Ok(listed) => listed,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(StoreError::io("listing", folder)(error)),
                };
                let least = listed.into_iter().find(|number| *number > after);
                if let Some(number) = least.filter(|number| next.is_none_or(|(known, _)| *number < known)) {
                    next = Some((number, folder));
                }
            }
            let Some((number, folder)) = next else { return Ok(None) };
            let path = folder.join(file_name(number));
            match Self::open(inner, &path, number) {
                Ok(Some(open)) => return Ok(Some(open)),
                // No segment that anybody could read.
                Ok(None) if number < inner.log.written().0 => after = number,
                Ok(None) => return Ok(None),
                // Moved meanwhile: looked for again.
                Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Opens a file; `None` where its header is none (yet).
    fn open(inner: &Inner, path: &Path, number: u64) -> Result<Option<Self>, StoreError> {
        let file = inner.env.disk.open(path, Open::Read).map_err(StoreError::io("opening", path))?;
        let length = file.len().map_err(StoreError::io("reading", path))?;
        let mut header = vec![0; HEADER_BYTES];
        if length < HEADER_BYTES as u64 {
            return Ok(None);
        }
        file.read_at(&mut header, 0).map_err(StoreError::io("reading", path))?;
        if read_header(LOG_MAGIC, &header) != Ok(number) {
            return Ok(None);
        }
        Ok(Some(Self {
            number,
            created_ms: created_in(&header),
            version: version_in(&header),
            at: HEADER_BYTES as u64,
            file,
            path: path.to_owned(),
            buffer: Vec::new(),
            buffer_at: HEADER_BYTES as u64,
        }))
    }

    /// Makes sure that the next record is in memory; `false` where it is not written yet, or never will be.
    pub(super) fn fill(&mut self, log: &Log) -> Result<bool, StoreError> {
        let held_to = self.buffer_at + self.buffer.len() as u64;
        let wanted = self.wanted();
        if self.at + wanted <= held_to {
            return Ok(true);
        }
        let (open, written) = log.written();
        let end = if self.number == open { written } else { self.file.len().map_err(StoreError::io("reading", &self.path))? };
        if end < self.at + wanted {
            return Ok(false);
        }
        self.buffer.drain(..(self.at - self.buffer_at) as usize);
        self.buffer_at = self.at;
        let to = end.min(self.at + wanted.max(PIECE));
        let held = self.buffer.len();
        self.buffer.resize((to - self.at) as usize, 0);
        let from = self.at + held as u64;
        let fresh = self.buffer.get_mut(held..).unwrap_or_default();
        if let Err(error) = self.file.read_at(fresh, from) {
            self.buffer.truncate(held);
            return Err(StoreError::io("reading", &self.path)(error));
        }
        // The frame alone was asked for where nothing was held: now its length is known.
        if self.at + self.wanted() <= to { Ok(true) } else { self.fill(log) }
    }

    /// Returns how many bytes the next record has, as far as is known.
    fn wanted(&self) -> u64 {
        let from = (self.at - self.buffer_at) as usize;
        let length = self.buffer.get(from..from + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes);
        FRAME_BYTES as u64 + u64::from(length.max(1))
    }

    /// Returns the next record, `None` where it is not (wholly) in memory.
    ///
    /// # Errors
    /// When what lies there is no record.
    pub(super) fn record(&self) -> Result<Option<Record<'_>>, ()> {
        let from = (self.at - self.buffer_at) as usize;
        if ((self.buffer.len() - from) as u64) < self.wanted() {
            return Ok(None);
        }
        match Records::from(&self.buffer, self.number, from).record_at(from) {
            Some((mut record, _)) => {
                record.offset += self.buffer_at;
                Ok(Some(record))
            }
            None => Err(()),
        }
    }
}
