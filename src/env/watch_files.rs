//! Watching files for changes: a slow poll of modification times and lengths, quick enough for people.
//!
//! The poll compares what [`super::Disk::stat`] says; it needs no system service and works in a made-up world. Half a
//! second is its period, so that a change is seen in under one second.

use super::Env;
use super::disk::DirEntry;
use std::path::PathBuf;
use std::time::Duration;

const PERIOD: Duration = Duration::from_millis(500);

/// What one look saw; two looks are compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look(Vec<(PathBuf, Option<DirEntry>)>);

/// Looks at `paths`; a folder is looked at with its entries.
#[must_use]
pub fn look(env: &Env, paths: &[PathBuf]) -> Look {
    let mut seen = Vec::new();
    for path in paths {
        let entry = env.disk.stat(path).unwrap_or_default();
        if entry.as_ref().is_some_and(|entry| entry.is_dir) {
            for child in env.disk.list(path).unwrap_or_default() {
                seen.push((path.join(&child.name), Some(child)));
            }
        }
        seen.push((path.clone(), entry));
    }
    Look(seen)
}

/// Waits until a look at `paths` differs from `before`, and returns the new look.
pub async fn changed(env: &Env, paths: &[PathBuf], before: &Look) -> Look {
    loop {
        env.clock.sleep(PERIOD).await;
        let seen = {
            let (env, paths) = (env.clone(), paths.to_vec());
            env.clone().tasks.blocking(move || look(&env, &paths)).await.unwrap_or_default()
        };
        if seen != *before {
            return seen;
        }
    }
}
