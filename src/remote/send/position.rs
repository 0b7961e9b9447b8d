//! Where a remote stands in the log: a small file that is written in place, two slots in turn, so that one of them is whole
//! whatever happens. It is written often and synced rarely: `kill -9` costs nothing, a power cut repeats a few seconds.
//!
//! ```text
//! slot 64 bytes:  magic 8 "WKSENT\0\1" | count u64 | segment u64 | created ms i64 | offset u64 | zeros | crc u32
//! ```

use crate::env::Env;
use crate::env::disk::{DiskFile, Open};
use crate::storage::follow::LogPosition;
use std::io;
use std::path::Path;

const MAGIC: [u8; 8] = *b"WKSENT\0\x01";
const SLOT: usize = 64;

/// The file of one remote.
pub(super) struct PositionFile {
    file: Box<dyn DiskFile>,
    count: u64,
    written: Option<LogPosition>,
    is_synced: bool,
}

fn encode(count: u64, position: LogPosition) -> [u8; SLOT] {
    let mut slot = [0; SLOT];
    slot[..8].copy_from_slice(&MAGIC);
    slot[8..16].copy_from_slice(&count.to_le_bytes());
    slot[16..24].copy_from_slice(&position.segment.to_le_bytes());
    slot[24..32].copy_from_slice(&position.created_ms.to_le_bytes());
    slot[32..40].copy_from_slice(&position.offset.to_le_bytes());
    let crc = crc32c::crc32c(&slot[..SLOT - 4]);
    slot[SLOT - 4..].copy_from_slice(&crc.to_le_bytes());
    slot
}

fn decode(slot: &[u8]) -> Option<(u64, LogPosition)> {
    let number = |at: usize| Some(u64::from_le_bytes(slot.get(at..at + 8)?.try_into().ok()?));
    let crc = u32::from_le_bytes(slot.get(SLOT - 4..SLOT)?.try_into().ok()?);
    if !slot.starts_with(&MAGIC) || crc32c::crc32c(slot.get(..SLOT - 4)?) != crc {
        return None;
    }
    let position = LogPosition { segment: number(16)?, created_ms: number(24)? as i64, offset: number(32)? };
    Some((number(8)?, position))
}

impl PositionFile {
    /// Opens the file, making it where there is none; its folder too. Blocks.
    pub(super) fn open(env: &Env, path: &Path) -> io::Result<Self> {
        let folder = path.parent().unwrap_or(path);
        env.disk.create_dir_all(folder)?;
        let file = env.disk.open(path, Open::Create)?;
        env.disk.sync_dir(folder)?;
        let mut found = Self { file, count: 0, written: None, is_synced: true };
        let held = usize::try_from(found.file.len()?).unwrap_or(0).min(2 * SLOT);
        let mut bytes = vec![0; held];
        found.file.read_at(&mut bytes, 0)?;
        for (count, position) in bytes.chunks(SLOT).filter_map(decode) {
            if count >= found.count {
                (found.count, found.written) = (count, Some(position));
            }
        }
        Ok(found)
    }

    /// Returns what was noted last.
    pub(super) const fn position(&self) -> Option<LogPosition> {
        self.written
    }

    /// Notes a place; it survives the death of the process. Blocks.
    pub(super) fn note(&mut self, position: LogPosition) -> io::Result<()> {
        if self.written == Some(position) {
            return Ok(());
        }
        let count = self.count + 1;
        self.file.write_at(&encode(count, position), (count % 2) * SLOT as u64)?;
        (self.count, self.written, self.is_synced) = (count, Some(position), false);
        Ok(())
    }

    /// Makes what was noted survive a power cut. Blocks.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        if !self.is_synced {
            self.file.sync_data()?;
            self.is_synced = true;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::disk::Disk as _;
    use crate::env::memory_disk::MemoryDisk;
    use std::sync::Arc;

    #[test]
    fn one_of_two_slots_is_always_whole() {
        let disk = MemoryDisk::new();
        let env = Env { disk: Arc::new(disk.clone()), ..Env::real() };
        let path = Path::new("data/unsent/a.position");
        let at = |offset| LogPosition { segment: 3, created_ms: -5, offset };
        let mut file = PositionFile::open(&env, path).unwrap();
        assert_eq!(file.position(), None);
        for offset in 1..=5 {
            file.note(at(offset)).unwrap();
        }
        file.sync().unwrap();
        assert_eq!(PositionFile::open(&env, path).unwrap().position(), Some(at(5)));
        let whole = disk.read(path).unwrap();
        for torn in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[torn] ^= 0x40;
            disk.replace(path, &bytes).unwrap();
            let found = PositionFile::open(&env, path).unwrap().position();
            assert_eq!(found, Some(if torn / SLOT == 1 { at(4) } else { at(5) }), "{torn}");
        }
    }
}
