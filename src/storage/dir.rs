//! The data directory: its folders, its lock, its format.
//!
//! ```text
//! LOCK         held while a server (or a command that reads or changes the directory) runs
//! FORMAT       "watchkeeper-store 1\n"
//! MANIFEST     in a snapshot alone, until it is opened for the first time
//! names/ wal/ blocks/ quarantine/ snapshots/
//! *.tmp        unfinished; removed at start
//! ```

use super::error::StoreError;
use super::snapshot::MANIFEST;
use crate::env::Env;
use crate::env::disk::DiskLock;
use std::path::Path;

/// What FORMAT says.
pub(crate) const FORMAT: &str = "watchkeeper-store 1\n";
/// Folders of the store.
const FOLDERS: [&str; 3] = ["names", "wal", "blocks"];
/// Folders whose unfinished folders are removed at start.
const FOLDERS_OF_FOLDERS: [&str; 2] = ["", "snapshots"];

/// Locks the directory, makes what is missing, refuses what another version wrote, removes what was not finished.
pub(crate) fn open(env: &Env, dir: &Path) -> Result<Box<dyn DiskLock>, StoreError> {
    let disk = &*env.disk;
    disk.create_dir_all(dir).map_err(StoreError::io("making", dir))?;
    let held = lock(env, dir)?;
    let known = has_format(env, dir)?;
    let format = dir.join("FORMAT");
    if !known || disk.read(&format).map_err(StoreError::io("reading", &format))? != FORMAT.as_bytes() {
        disk.replace(&format, FORMAT.as_bytes()).map_err(StoreError::io("writing", &format))?;
    }
    for folder in FOLDERS {
        let folder = dir.join(folder);
        disk.create_dir_all(&folder).map_err(StoreError::io("making", &folder))?;
        remove_unfinished(env, &folder)?;
    }
    remove_unfinished(env, dir)?;
    for folder in FOLDERS_OF_FOLDERS {
        remove_unfinished_folders(env, &dir.join(folder))?;
    }
    let manifest = dir.join(MANIFEST);
    if disk.stat(&manifest).map_err(StoreError::io("looking at", &manifest))?.is_some() {
        // The snapshot lives from now on: what it said of itself will soon be untrue.
        disk.remove_file(&manifest).map_err(StoreError::io("removing", &manifest))?;
    }
    disk.sync_dir(dir).map_err(StoreError::io("syncing", dir))?;
    Ok(held)
}

/// Locks a directory that must be a data directory already; changes nothing else.
pub(crate) fn lock_existing(env: &Env, dir: &Path) -> Result<Box<dyn DiskLock>, StoreError> {
    if !has_format(env, dir)? {
        return Err(StoreError::NoDirectory(dir.to_owned()));
    }
    match lock(env, dir) {
        // Nobody can write there, so nobody does.
        Err(StoreError::Io { source, .. }) if source.kind() == std::io::ErrorKind::ReadOnlyFilesystem => Ok(Box::new(Unlocked)),
        locked => locked,
    }
}

/// Stands for the lock of a directory that cannot be changed.
#[derive(Debug)]
struct Unlocked;

impl DiskLock for Unlocked {}

fn lock(env: &Env, dir: &Path) -> Result<Box<dyn DiskLock>, StoreError> {
    let lock_file = dir.join("LOCK");
    let held = env.disk.lock(&lock_file).map_err(StoreError::io("locking", &lock_file))?;
    held.ok_or_else(|| StoreError::InUse(dir.to_owned()))
}

/// Returns whether the directory says its format; refuses another one.
fn has_format(env: &Env, dir: &Path) -> Result<bool, StoreError> {
    let format = dir.join("FORMAT");
    if env.disk.stat(&format).map_err(StoreError::io("looking at", &format))?.is_none() {
        return Ok(false);
    }
    let found = env.disk.read(&format).map_err(StoreError::io("reading", &format))?;
    if found != FORMAT.as_bytes() {
        let text = String::from_utf8_lossy(&found).trim().to_owned();
        if says_another_version(&text) && !is_flipped(&found) {
            return Err(StoreError::Format { file: format, found: text, expected: FORMAT.trim_end().to_owned() });
        }
        // Each file says its own version as well. The next start writes this one anew.
        tracing::error!(file = %format.display(), "the file is damaged: is the disk or the memory failing?");
    }
    Ok(true)
}

/// Returns whether a text is FORMAT with another number.
fn says_another_version(text: &str) -> bool {
    let name = FORMAT.trim_end().trim_end_matches(|digit: char| digit.is_ascii_digit());
    let number = text.strip_prefix(name).filter(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()));
    number.is_some() && text != FORMAT.trim_end()
}

/// Returns whether the text is FORMAT but for one bit.
fn is_flipped(found: &[u8]) -> bool {
    let bits = found.iter().zip(FORMAT.as_bytes()).map(|(found, said)| (found ^ said).count_ones());
    found.len() == FORMAT.len() && bits.sum::<u32>() == 1
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

fn remove_unfinished_folders(env: &Env, folder: &Path) -> Result<(), StoreError> {
    if env.disk.stat(folder).map_err(StoreError::io("looking at", folder))?.is_none() {
        return Ok(());
    }
    for entry in env.disk.list(folder).map_err(StoreError::io("listing", folder))? {
        if entry.is_dir && entry.name.ends_with(".tmp") {
            let path = folder.join(&entry.name);
            tracing::info!(folder = %path.display(), "an unfinished folder was removed");
            env.disk.remove_dir_all(&path).map_err(StoreError::io("removing", &path))?;
        }
    }
    Ok(())
}
