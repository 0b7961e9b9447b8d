//! What could not be read goes to `quarantine/`, with the reason in a text file beside it. Nothing is thrown away unseen.

use super::error::StoreError;
use crate::env::Env;
use std::path::{Path, PathBuf};

fn place(env: &Env, dir: &Path, file: &Path) -> Result<PathBuf, StoreError> {
    let folder = dir.join("quarantine");
    env.disk.create_dir_all(&folder).map_err(StoreError::io("making", &folder))?;
    // Files of different folders may have one name.
    let mut name = file.parent().and_then(Path::file_name).unwrap_or_default().to_owned();
    name.push("-");
    name.push(file.file_name().unwrap_or_default());
    Ok(folder.join(name))
}

fn explain(env: &Env, place: &Path, file: &Path, reason: &str) -> Result<(), StoreError> {
    tracing::error!(file = %file.display(), kept = %place.display(), reason, "a damaged file was put into quarantine");
    let mut name = place.file_name().unwrap_or_default().to_owned();
    name.push(".txt");
    let text = place.with_file_name(name);
    let words = format!("{}: {reason}\n", file.display());
    env.disk.replace(&text, words.as_bytes()).map_err(StoreError::io("writing", &text))
}

/// Moves a file that is of no use.
pub(crate) fn move_away(env: &Env, dir: &Path, file: &Path, reason: &str) -> Result<(), StoreError> {
    let place = place(env, dir, file)?;
    explain(env, &place, file, reason)?;
    env.disk.rename(file, &place).map_err(StoreError::io("moving away", file))
}

/// Keeps a copy of a file that is still used in part; does so once.
pub(crate) fn copy(env: &Env, dir: &Path, file: &Path, bytes: &[u8], reason: &str) -> Result<(), StoreError> {
    let place = place(env, dir, file)?;
    let known = env.disk.stat(&place).map_err(StoreError::io("looking at", &place))?;
    if known.is_some_and(|known| known.bytes == bytes.len() as u64) {
        return Ok(());
    }
    explain(env, &place, file, reason)?;
    env.disk.replace(&place, bytes).map_err(StoreError::io("writing", &place))
}
