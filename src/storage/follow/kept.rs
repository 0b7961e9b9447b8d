//! Segments and names logs that blocks made superfluous, kept in `unsent/` for followers that have not read them.
//!
//! They are moved, not copied. Nothing there is needed to open the store: what is lost there is lost to followers alone. They
//! go when all followers have read them, when retention would not keep their samples either, and, oldest first, when they take
//! more than the room that is left.

use crate::env::disk::{Disk, Open};
use crate::storage::head::WINDOW_MS;
use crate::storage::wal::files::{file_name, number_of};
use crate::storage::wal::segment::{HEADER_BYTES, created_in};
use std::io;
use std::path::Path;

/// Where kept segments lie.
pub(crate) const FOLDER: &str = "unsent";
/// Where the names logs lie that they need.
pub(crate) const NAMES_FOLDER: &str = "unsent/names";

/// A kept segment.
#[derive(Clone, Copy, Debug)]
struct Segment {
    number: u64,
    bytes: u64,
    /// Time of its newest sample, about.
    newest_ms: i64,
}

/// What is kept.
#[derive(Debug)]
pub(crate) struct Kept {
    /// Segments from here on are needed; `u64::MAX`: none.
    needed_from: u64,
    segments: Vec<Segment>,
    /// Names logs, each with the last segment whose rows may need it.
    names: Vec<(u64, u64)>,
    /// Bytes that were given up unread.
    lost_bytes: u64,
}

impl Default for Kept {
    fn default() -> Self {
        Self { needed_from: u64::MAX, segments: Vec::new(), names: Vec::new(), lost_bytes: 0 }
    }
}

impl Kept {
    /// Finds what an earlier process kept; until it is told otherwise, all is needed. Makes the folders.
    pub(crate) fn open(disk: &dyn Disk, dir: &Path) -> io::Result<Self> {
        let (folder, names_folder) = (dir.join(FOLDER), dir.join(NAMES_FOLDER));
        disk.create_dir_all(&names_folder)?;
        let mut segments = Vec::new();
        for entry in disk.list(&folder)? {
            if let Some(number) = number_of(&entry.name) {
                let header = disk.open(&folder.join(&entry.name), Open::Read).and_then(|file| {
                    let mut header = vec![0; HEADER_BYTES];
                    file.read_at(&mut header, 0).map(|()| header)
                });
                let newest_ms = header.map_or(i64::MAX, |header| created_in(&header).saturating_add(WINDOW_MS));
                segments.push(Segment { number, bytes: entry.bytes, newest_ms });
            }
        }
        segments.sort_by_key(|segment| segment.number);
        let last = segments.last().map_or(0, |segment| segment.number);
        let names = disk.list(&names_folder)?.iter().filter_map(|entry| Some((number_of(&entry.name)?, last))).collect();
        Ok(Self { needed_from: 0, segments, names, lost_bytes: 0 })
    }

    /// Returns the bytes of kept segments, and of those that were given up.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        (self.segments.iter().map(|segment| segment.bytes).sum(), self.lost_bytes)
    }

    /// Takes a segment that blocks hold: moves it where a follower needs it, else removes it.
    pub(crate) fn take(&mut self, disk: &dyn Disk, dir: &Path, path: &Path, (number, newest_ms): (u64, i64)) -> io::Result<()> {
        if number < self.needed_from {
            return disk.remove_file(path);
        }
        let entry = disk.stat(path)?;
        disk.rename(path, &dir.join(FOLDER).join(file_name(number)))?;
        self.segments.push(Segment { number, bytes: entry.map_or(0, |entry| entry.bytes), newest_ms });
        disk.sync_dir(&dir.join(FOLDER))
    }

    /// Takes a names log that no start needs any more.
    pub(crate) fn take_names(&mut self, disk: &dyn Disk, dir: &Path, path: &Path, names: (u64, u64)) -> io::Result<()> {
        if names.1 < self.needed_from {
            return disk.remove_file(path);
        }
        disk.rename(path, &dir.join(NAMES_FOLDER).join(file_name(names.0)))?;
        self.names.push(names);
        disk.sync_dir(&dir.join(NAMES_FOLDER))
    }

    /// Segments below `needed_from` were read.
    pub(crate) fn release(&mut self, disk: &dyn Disk, dir: &Path, needed_from: u64) -> io::Result<()> {
        self.needed_from = needed_from;
        while let Some(segment) = self.segments.first().copied().filter(|segment| segment.number < needed_from) {
            disk.remove_file(&dir.join(FOLDER).join(file_name(segment.number)))?;
            self.segments.remove(0);
        }
        self.drop_names(disk, dir)
    }

    /// Gives up segments that are older than `oldest_ms`, and the oldest while all take more than `most` bytes.
    pub(crate) fn bound(&mut self, disk: &dyn Disk, dir: &Path, oldest_ms: i64, most: u64) -> io::Result<()> {
        while let Some(segment) = self.segments.first().copied() {
            let held = self.bytes().0;
            if segment.newest_ms >= oldest_ms && held <= most {
                break;
            }
            tracing::error!(
                segment = segment.number,
                bytes = segment.bytes,
                held,
                most,
                "samples that were not sent on are given up: they are too old, or there is no room to keep them"
            );
            disk.remove_file(&dir.join(FOLDER).join(file_name(segment.number)))?;
            self.lost_bytes += segment.bytes;
            self.segments.remove(0);
        }
        self.drop_names(disk, dir)
    }

    fn drop_names(&mut self, disk: &dyn Disk, dir: &Path) -> io::Result<()> {
        let oldest = self.segments.first().map_or(u64::MAX, |segment| segment.number);
        // Those of a segment that is still in the log are with it.
        for (number, _) in self.names.iter().filter(|(_, last)| *last < oldest.min(self.needed_from)) {
            disk.remove_file(&dir.join(NAMES_FOLDER).join(file_name(*number)))?;
        }
        self.names.retain(|(_, last)| *last >= oldest.min(self.needed_from));
        Ok(())
    }
}
