//! One growing file of records: the open segment of the log, or the open names log.

use super::segment::{HEADER_BYTES, header, put_record};
use crate::env::disk::{Disk, DiskFile, Open};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An open file that grows at its end.
pub(crate) struct GrowingFile {
    file: Arc<dyn DiskFile>,
    /// Where it is.
    pub(crate) path: PathBuf,
    /// Its number.
    pub(crate) number: u64,
    /// Bytes written.
    pub(crate) length: u64,
}

impl std::fmt::Debug for GrowingFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GrowingFile").field("path", &self.path).field("length", &self.length).finish_non_exhaustive()
    }
}

/// Returns the file name of a number.
pub(crate) fn file_name(number: u64) -> String {
    format!("{number:08}.log")
}

/// Returns the number of a file name.
pub(crate) fn number_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".log")?;
    (digits.len() >= 8 && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok())?
}

/// Returns the numbers of the files in a folder, ascending.
pub(crate) fn numbers(disk: &dyn Disk, folder: &Path) -> io::Result<Vec<u64>> {
    let mut numbers: Vec<u64> = disk.list(folder)?.iter().filter_map(|entry| number_of(&entry.name)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

impl GrowingFile {
    /// Makes a new file with its header. Not durable before the folder is synced.
    pub(crate) fn create(disk: &dyn Disk, folder: &Path, magic: [u8; 8], number: u64, now_ms: i64) -> io::Result<Self> {
        Self::create_at(disk, folder.join(file_name(number)), magic, number, now_ms)
    }

    /// Makes a new file that a start would remove as unfinished, until it is given its name.
    pub(crate) fn create_unnamed(disk: &dyn Disk, folder: &Path, magic: [u8; 8], number: u64, now_ms: i64) -> io::Result<Self> {
        Self::create_at(disk, folder.join(format!("{}.tmp", file_name(number))), magic, number, now_ms)
    }

    fn create_at(disk: &dyn Disk, path: PathBuf, magic: [u8; 8], number: u64, now_ms: i64) -> io::Result<Self> {
        let file = disk.open(&path, Open::CreateNew)?;
        file.write_at(&header(magic, number, now_ms), 0)?;
        Ok(Self { file: Arc::from(file), path, number, length: HEADER_BYTES as u64 })
    }

    /// Gives a finished file its name. Not durable before the folder is synced.
    pub(crate) fn give_name(&mut self, disk: &dyn Disk) -> io::Result<()> {
        let named = self.path.with_extension("");
        disk.rename(&self.path, &named)?;
        self.path = named;
        Ok(())
    }

    /// Opens a file to go on behind its good length.
    pub(crate) fn reopen(disk: &dyn Disk, path: PathBuf, number: u64, length: u64) -> io::Result<Self> {
        let file = disk.open(&path, Open::Write)?;
        Ok(Self { file: Arc::from(file), path, number, length })
    }

    /// Returns a handle for syncing.
    pub(crate) fn handle(&self) -> Arc<dyn DiskFile> {
        Arc::clone(&self.file)
    }

    /// Writes framed records at the end.
    pub(crate) fn write(&mut self, framed: &[u8]) -> io::Result<()> {
        self.file.write_at(framed, self.length)?;
        self.length += framed.len() as u64;
        Ok(())
    }

    /// Frames records and writes them.
    pub(crate) fn write_records<'a>(&mut self, bodies: impl Iterator<Item = &'a [u8]>) -> io::Result<()> {
        let mut framed = Vec::new();
        for body in bodies {
            put_record(&mut framed, self.number, body);
        }
        self.write(&framed)
    }

    /// Cuts off what a failed write may have left, as well as can be.
    pub(crate) fn cut_back(&self) {
        if let Err(error) = self.file.set_len(self.length) {
            tracing::debug!(file = %self.path.display(), %error, "a failed write could not be cut off");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_numbers() {
        assert_eq!(file_name(42), "00000042.log");
        assert_eq!(number_of("00000042.log"), Some(42));
        assert_eq!(number_of("123456789.log"), Some(123_456_789));
        assert_eq!(number_of("42.log"), None);
        assert_eq!(number_of("00000042.log.tmp"), None);
        assert_eq!(number_of("0000004x.log"), None);
    }
}
