//! Space kept back for the day when the disk is full: a file of zeros that is given up then, so that what must still be
//! written (silences, the notification log, mails about the full disk) finds room. The log itself waits until the reserve
//! could be built again, so it does not eat what was freed for others.

use super::head::lock;
use crate::env::Env;
use crate::env::disk::Open;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Name of the file.
pub(crate) const NAME: &str = "RESERVE";
/// A young store keeps back so much: some segments of the operational state, and mails.
const LEAST: u64 = 1 << 20;

/// The reserve of a data directory.
pub(crate) struct Reserve {
    env: Env,
    path: PathBuf,
    bytes: u64,
    held: Mutex<bool>,
}

impl std::fmt::Debug for Reserve {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reserve").field("path", &self.path).field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

/// Returns whether an error says that there is no space.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl Reserve {
    /// Returns a reserve of so many bytes (0: none), of less on a small file system and beside few blocks: `held` are their
    /// bytes. It is not built yet.
    pub(crate) fn new(env: &Env, dir: &Path, bytes: u64, held: u64) -> Self {
        let most = env.disk.space(dir).map_or(u64::MAX, |space| space.total_bytes / 32);
        let bytes = bytes.min(most).min((held / 32).max(LEAST));
        Self { env: env.clone(), path: dir.join(NAME), bytes, held: Mutex::new(false) }
    }

    /// Builds the reserve if it is not there. Success says that there is space, for the reserve and for a sixteenth more.
    pub(crate) fn build(&self) -> io::Result<()> {
        let mut held = lock(&self.held);
        if *held || self.bytes == 0 {
            return Ok(());
        }
        let built = self.env.disk.open(&self.path, Open::Create).and_then(|file| {
            file.allocate(self.bytes + self.bytes / 16)?;
            file.set_len(self.bytes)
        });
        if let Err(error) = built {
            // A part of it would take the last space from those it is meant for.
            self.remove();
            return Err(error);
        }
        *held = true;
        Ok(())
    }

    /// Gives the space up. Returns whether there was any.
    pub(crate) fn release(&self) -> bool {
        let mut held = lock(&self.held);
        if *held {
            self.remove();
        }
        std::mem::take(&mut *held)
    }

    fn remove(&self) {
        match self.env.disk.remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(file = %self.path.display(), %error, "the reserve could not be given up");
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::crash_disk::CrashDisk;
    use crate::env::disk::Disk as _;
    use std::sync::Arc;

    #[test]
    fn takes_space_and_gives_it_back() {
        let disk = CrashDisk::new();
        let env = Env { disk: Arc::new(disk.clone()), ..Env::real() };
        let length = || disk.stat(Path::new("data/RESERVE")).expect("stat").map(|entry| entry.bytes);
        disk.set_room(Some(1_700_000));
        let reserve = Reserve::new(&env, Path::new("data"), 1_600_000, 1 << 30);
        reserve.build().expect("builds");
        assert_eq!(length(), Some(1_600_000));
        assert!(reserve.release() && !reserve.release());
        assert_eq!(length(), None);
        disk.set_room(Some(1_600_000));
        assert!(is_full(&reserve.build().expect_err("no space for a margin")));
        assert_eq!(length(), None, "nothing of it is left");
        disk.set_room(Some(1_700_000));
        reserve.build().expect("builds");
        assert_eq!(length(), Some(1_600_000));
        let sized = |held| Reserve::new(&env, Path::new("data"), 16 << 20, held).bytes;
        disk.set_room(None);
        assert_eq!((sized(0), sized(64 << 20), sized(1 << 40)), (1 << 20, 2 << 20, 16 << 20));
    }
}
