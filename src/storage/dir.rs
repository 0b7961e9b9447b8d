//! The data directory: its folders, its lock, its format.
//!
//! ```text
//! LOCK         held while a server runs
//! FORMAT       "watchkeeper-store 1\n"
//! names/ wal/ blocks/ quarantine/
//! *.tmp        unfinished; removed at start
//! ```

use super::error::StoreError;
use crate::env::Env;
use crate::env::disk::DiskLock;
use std::path::Path;

/// What FORMAT says.
pub(crate) const FORMAT: &str = "watchkeeper-store 1\n";
/// Folders of the store.
const FOLDERS: [&str; 3] = ["names", "wal", "blocks"];

/// Locks the directory, makes what is missing, refuses what another version wrote, removes what was not finished.
pub(crate) fn open(env: &Env, dir: &Path) -> Result<Box<dyn DiskLock>, StoreError> {
    let disk = &*env.disk;
    disk.create_dir_all(dir).map_err(StoreError::io("making", dir))?;
    let lock_file = dir.join("LOCK");
    let held = disk.lock(&lock_file).map_err(StoreError::io("locking", &lock_file))?;
    let Some(held) = held else { return Err(StoreError::InUse(dir.to_owned())) };
    let format = dir.join("FORMAT");
    match disk.stat(&format).map_err(StoreError::io("looking at", &format))? {
        Some(_) => {
            let found = disk.read(&format).map_err(StoreError::io("reading", &format))?;
            if found != FORMAT.as_bytes() {
                let found = String::from_utf8_lossy(&found).trim_end().to_owned();
                return Err(StoreError::Format { file: format, found, expected: FORMAT.trim_end().to_owned() });
            }
        }
        None => disk.replace(&format, FORMAT.as_bytes()).map_err(StoreError::io("writing", &format))?,
    }
    for folder in FOLDERS {
        let folder = dir.join(folder);
        disk.create_dir_all(&folder).map_err(StoreError::io("making", &folder))?;
        remove_unfinished(env, &folder)?;
    }
    remove_unfinished(env, dir)?;
    disk.sync_dir(dir).map_err(StoreError::io("syncing", dir))?;
    Ok(held)
}

fn remove_unfinished(env: &Env, folder: &Path) -> Result<(), StoreError> {
    for entry in env.disk.list(folder).map_err(StoreError::io("listing", folder))? {
        if !entry.is_dir && entry.name.ends_with(".tmp") {
            let path = folder.join(&entry.name);
            tracing::info!(file = %path.display(), "an unfinished file was removed");
            env.disk.remove_file(&path).map_err(StoreError::io("removing", &path))?;
        }
    }
    Ok(())
}
