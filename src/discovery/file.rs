//! `file_sd_configs`: targets in files, which are read again as soon as they change.
//!
//! A file that cannot be read or parsed keeps its last good groups, and the error is shown. A file that is gone takes its
//! groups with it.

use super::{Sink, Update};
use crate::config::discovery::FileDiscovery;
use crate::config::file_discovery;
use crate::env::Env;
use crate::env::watch_files::{self, Look};
use crate::model::target::TargetGroup;
use crate::telemetry::metrics::Counter;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The longest file.
const FILE_BYTES_MAX: u64 = crate::model::limits::TARGETS_BYTES;

/// Says the groups of all files, now and at each change. Ends when nobody listens.
pub async fn run(env: Env, config: FileDiscovery, failures: Counter, sink: Sink) {
    let patterns: Vec<PathBuf> = config.files.iter().map(|file| file.path().to_owned()).collect();
    let folders: Vec<PathBuf> = patterns.iter().map(|pattern| folder_of(pattern)).collect();
    let mut known: BTreeMap<PathBuf, Vec<TargetGroup>> = BTreeMap::new();
    let mut said = None;
    loop {
        let (update, seen): (Update, Look);
        (known, update, seen) = {
            let (env, patterns, folders) = (env.clone(), patterns.clone(), folders.clone());
            let last_good = std::mem::take(&mut known);
            let tasks = env.tasks.clone();
            let read = tasks.blocking(move || {
                // Looked at before it is read: a change in between is seen at the next look.
                let look = watch_files::look(&env, &folders);
                let (known, update) = read_all(&env, &patterns, last_good);
                (known, update, look)
            });
            match read.await {
                Ok(read) => read,
                Err(error) => {
                    tracing::error!(%error, "file discovery failed");
                    return;
                }
            }
        };
        failures.add(update.errors.len() as u64);
        if said.as_ref() != Some(&update) {
            said = Some(update.clone());
            if !sink.send(update).await {
                return;
            }
        }
        // The refresh reads files whose times say nothing, on file systems that lose changes.
        let watched = watch_files::changed(&env, &folders, &seen);
        if env.clock.timeout(config.refresh_interval, watched).await.is_err() {
            tracing::trace!("reading target files again");
        }
    }
}

fn folder_of(pattern: &Path) -> PathBuf {
    match pattern.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Reads all files that match; returns what is now good and what to say.
fn read_all(
    env: &Env,
    patterns: &[PathBuf],
    mut last_good: BTreeMap<PathBuf, Vec<TargetGroup>>,
) -> (BTreeMap<PathBuf, Vec<TargetGroup>>, Update) {
    let mut known = BTreeMap::new();
    let mut errors = Vec::new();
    for path in patterns.iter().flat_map(|pattern| matching(env, pattern)) {
        match read_one(env, &path) {
            Ok(groups) => {
                known.insert(path, groups);
            }
            Err(message) => {
                tracing::warn!(file = %path.display(), message, "a file of targets is refused; its last good targets go on");
                errors.push(message);
                if let Some(groups) = last_good.remove(&path) {
                    known.insert(path, groups);
                }
            }
        }
    }
    let groups = known.values().flatten().cloned().collect();
    (known, Update { groups, errors })
}

fn read_one(env: &Env, path: &Path) -> Result<Vec<TargetGroup>, String> {
    let shown = path.display().to_string();
    let wrong = |error: &dyn std::fmt::Display| format!("{shown}: {error}");
    let length = env.disk.stat(path).map_err(|error| wrong(&error))?.map_or(0, |entry| entry.bytes);
    if length > FILE_BYTES_MAX {
        return Err(wrong(&format!("longer than {FILE_BYTES_MAX} bytes")));
    }
    let bytes = env.disk.read(path).map_err(|error| wrong(&error))?;
    let text = String::from_utf8(bytes).map_err(|error| wrong(&error))?;
    let mut groups = file_discovery::parse(&shown, &text).map_err(|error| error.to_string())?;
    for group in &mut groups {
        group.labels = group.labels.with("__meta_filepath", &shown);
    }
    Ok(groups)
}

/// Lists the files that a pattern names; the last part may hold `*` and `?`.
fn matching(env: &Env, pattern: &Path) -> Vec<PathBuf> {
    let name = pattern.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if !name.contains(['*', '?']) {
        return match env.disk.stat(pattern) {
            Ok(Some(_)) => vec![pattern.to_owned()],
            Ok(None) | Err(_) => Vec::new(),
        };
    }
    let folder = folder_of(pattern);
    let entries = env.disk.list(&folder).unwrap_or_default();
    let fitting = entries.into_iter().filter(|entry| !entry.is_dir && glob(name.as_bytes(), entry.name.as_bytes()));
    fitting.map(|entry| pattern.with_file_name(entry.name)).collect()
}

/// Matches `*` (any run) and `?` (any one byte).
fn glob(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => glob(rest, name) || name.split_first().is_some_and(|(_, tail)| glob(pattern, tail)),
        (Some((b'?', rest)), Some((_, tail))) => glob(rest, tail),
        (Some((wanted, rest)), Some((found, tail))) => wanted == found && glob(rest, tail),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::glob;

    #[test]
    fn globs() {
        for (pattern, name, fits) in [
            ("*.json", "a.json", true),
            ("*.json", "a.yml", false),
            ("my*.y?ml", "my-x.yaml", true),
            ("my*.y?ml", "x.yaml", false),
            ("**", "", true),
        ] {
            assert_eq!(glob(pattern.as_bytes(), name.as_bytes()), fits, "{pattern} {name}");
        }
    }
}
