//! State in sled 0.34: the only place that names it.
//!
//! It is good at this size (a few MB, ordered keys, atomic batches), and has weak sides that are guarded here: its flush is
//! `sync_file_range`, so `sync` also does `fdatasync` on the file; a changed byte may make it panic, hang or not open, so it
//! opens in a thread of its own under a deadline, is tried once more without its snapshot file, and is rebuilt from `state.dump`
//! when that did not help; its cache is bounded, and so is what may be kept in it.

use super::{Change, Entry, State, StateError, dump};
use crate::env::Env;
use crate::env::disk::{DiskFile, Open};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

const CACHE_BYTES: u64 = 16 << 20;
/// The state may not grow beyond this: nothing in it grows with samples or series.
pub const STATE_BYTES_MAX: u64 = 64 << 20;
const OPEN_LIMIT: Duration = Duration::from_secs(10);

/// State on disk.
pub struct SledState {
    env: Env,
    db: ::sled::Db,
    file: Option<Box<dyn DiskFile>>,
    dump_path: PathBuf,
    bytes: AtomicU64,
    changed: AtomicBool,
}

impl std::fmt::Debug for SledState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SledState").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

fn failed(error: impl std::fmt::Display) -> StateError {
    StateError::Failed(error.to_string())
}

/// Opens the database in a thread of its own: it may panic or never return.
fn open_guarded(env: &Env, folder: &Path) -> Result<::sled::Db, StateError> {
    let (done, waiting) = mpsc::sync_channel(1);
    let path = folder.to_owned();
    let work = move || {
        let config = ::sled::Config::new().path(path).cache_capacity(CACHE_BYTES).mode(::sled::Mode::LowSpace);
        let opened = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| config.open()));
        // Nobody may wait any more.
        drop(done.send(opened));
    };
    drop(env.tasks.thread("state-open", work).map_err(failed)?);
    match waiting.recv_timeout(OPEN_LIMIT) {
        Ok(Ok(Ok(db))) => Ok(db),
        Ok(Ok(Err(error))) => Err(failed(error)),
        Ok(Err(_)) => Err(StateError::Failed("the database panicked while opening".to_owned())),
        Err(_) => Err(StateError::Failed(format!("the database did not open within {OPEN_LIMIT:?}"))),
    }
}

fn move_snapshots_away(env: &Env, folder: &Path, quarantine: &Path) -> Result<usize, StateError> {
    let entries = env.disk.list(folder).map_err(failed)?;
    let snapshots: Vec<_> = entries.into_iter().filter(|entry| entry.name.starts_with("snap.")).collect();
    for entry in &snapshots {
        env.disk.create_dir_all(quarantine).map_err(failed)?;
        env.disk.rename(&folder.join(&entry.name), &quarantine.join(format!("state-{}", entry.name))).map_err(failed)?;
    }
    Ok(snapshots.len())
}

impl SledState {
    /// Opens `<data>/state`, making it if it is absent, and recovering as this module's documentation says. Blocks.
    ///
    /// # Errors
    /// When neither the database nor a rebuilt one can be opened.
    pub fn open(env: &Env, data: &Path) -> Result<Self, StateError> {
        let folder = data.join("state");
        let quarantine = data.join("quarantine");
        let dump_path = data.join("state.dump");
        env.disk.create_dir_all(&folder).map_err(failed)?;
        let mut opened = open_guarded(env, &folder);
        if let Err(error) = &opened
            && move_snapshots_away(env, &folder, &quarantine)? > 0
        {
            tracing::warn!(%error, "the state database did not open; trying without its snapshot file");
            opened = open_guarded(env, &folder);
        }
        let (db, rebuilt) = match opened {
            Ok(db) => (db, false),
            Err(error) => {
                tracing::error!(%error, "the state database cannot be read; rebuilding it from state.dump");
                env.disk.create_dir_all(&quarantine).map_err(failed)?;
                let kept = quarantine.join(format!("state-{}", env.clock.now_ms()));
                env.disk.rename(&folder, &kept).map_err(failed)?;
                env.disk.replace(&kept.with_extension("txt"), error.to_string().as_bytes()).map_err(failed)?;
                env.disk.create_dir_all(&folder).map_err(failed)?;
                (open_guarded(env, &folder)?, true)
            }
        };
        let file = env.disk.open(&folder.join("db"), Open::Write).ok();
        let state = Self { env: env.clone(), db, file, dump_path, bytes: AtomicU64::new(0), changed: AtomicBool::new(false) };
        if rebuilt {
            state.restore_dump()?;
        }
        let used: usize = state.scan(b"")?.iter().map(|(key, value)| key.len() + value.len()).sum();
        state.bytes.store(used as u64, Ordering::Relaxed);
        Ok(state)
    }

    fn restore_dump(&self) -> Result<(), StateError> {
        let bytes = match self.env.disk.read(&self.dump_path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed(error)),
        };
        let entries = dump::decode(&bytes)?;
        let restored = entries.len();
        let changes: Vec<Change> = entries.into_iter().map(|(key, value)| Change::Put(key, value)).collect();
        self.apply(&changes)?;
        self.sync()?;
        tracing::warn!(restored, "state rebuilt from state.dump");
        Ok(())
    }

    /// Writes `state.dump` anew if anything changed since the last time. Blocks.
    ///
    /// # Errors
    /// When it cannot be written; it is tried again at the next call.
    pub fn dump_if_changed(&self) -> Result<(), StateError> {
        if !self.changed.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        let written =
            self.scan(b"").and_then(|entries| self.env.disk.replace(&self.dump_path, &dump::encode(&entries)).map_err(failed));
        if written.is_err() {
            self.changed.store(true, Ordering::Release);
        }
        written
    }

    /// Returns how much is kept, in bytes of keys and values.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    fn size_of(&self, key: &[u8]) -> Result<u64, StateError> {
        Ok(self.db.get(key).map_err(failed)?.map_or(0, |value| (key.len() + value.len()) as u64))
    }
}

impl State for SledState {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        Ok(self.db.get(key).map_err(failed)?.map(|value| value.to_vec()))
    }

    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), StateError> {
        self.apply(&[Change::Put(key.to_vec(), value.to_vec())])
    }

    fn delete(&self, key: &[u8]) -> Result<(), StateError> {
        self.apply(&[Change::Delete(key.to_vec())])
    }

    fn scan(&self, prefix: &[u8]) -> Result<Vec<Entry>, StateError> {
        let entry = |found: ::sled::Result<(::sled::IVec, ::sled::IVec)>| match found {
            Ok((key, value)) => Ok((key.to_vec(), value.to_vec())),
            Err(error) => Err(failed(error)),
        };
        self.db.scan_prefix(prefix).map(entry).collect()
    }

    fn apply(&self, batch: &[Change]) -> Result<(), StateError> {
        let mut sled_batch = ::sled::Batch::default();
        let (mut added, mut freed) = (0, 0);
        // The last word about a key counts, in the database as in the count of bytes.
        let last: BTreeMap<&[u8], Option<&[u8]>> = batch.iter().map(Change::parts).collect();
        for (key, value) in last {
            freed += self.size_of(key)?;
            if let Some(value) = value {
                added += (key.len() + value.len()) as u64;
                sled_batch.insert(key, value);
            } else {
                sled_batch.remove(key);
            }
        }
        let used_bytes = self.bytes();
        let after = (used_bytes + added).saturating_sub(freed);
        if added > freed && after > STATE_BYTES_MAX {
            return Err(StateError::Full { used_bytes, limit_bytes: STATE_BYTES_MAX });
        }
        self.db.apply_batch(sled_batch).map_err(failed)?;
        self.bytes.store(after, Ordering::Relaxed);
        self.changed.store(true, Ordering::Release);
        Ok(())
    }

    fn sync(&self) -> Result<(), StateError> {
        self.db.flush().map_err(failed)?;
        match &self.file {
            Some(file) => file.sync_data().map_err(failed),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("watchkeeper-state-{name}-{}", std::process::id()));
            Env::real().disk.create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _gone = Env::real().disk.remove_dir_all(&self.0);
        }
    }

    #[test]
    fn keeps_what_was_synced_and_knows_prefixes() {
        let folder = Folder::new("keeps");
        let env = Env::real();
        {
            let state = SledState::open(&env, &folder.0).unwrap();
            state.apply(&[Change::Put(b"a/1".to_vec(), b"x".to_vec()), Change::Put(b"a/2".to_vec(), b"y".to_vec())]).unwrap();
            state.put(b"b", b"z").unwrap();
            state.delete(b"a/2").unwrap();
            state.sync().unwrap();
        }
        let state = SledState::open(&env, &folder.0).unwrap();
        assert_eq!(state.scan(b"a/").unwrap(), [(b"a/1".to_vec(), b"x".to_vec())]);
        assert_eq!(state.get(b"b").unwrap().as_deref(), Some(b"z".as_slice()));
        assert_eq!(state.bytes(), 6);
    }

    #[test]
    fn keeps_the_promises_of_a_state() {
        let folder = Folder::new("promises");
        crate::state::tests::keeps_its_promises(&SledState::open(&Env::real(), &folder.0).unwrap());
    }

    #[test]
    fn refuses_to_grow_beyond_its_bound() {
        let folder = Folder::new("bound");
        let state = SledState::open(&Env::real(), &folder.0).unwrap();
        state.bytes.store(STATE_BYTES_MAX - 10, Ordering::Relaxed);
        assert!(matches!(state.put(b"key", &[0; 100]), Err(StateError::Full { .. })));
        state.put(b"key", b"small").unwrap();
    }

    #[test]
    fn a_key_twice_in_a_batch_counts_once() {
        let folder = Folder::new("twice");
        let state = SledState::open(&Env::real(), &folder.0).unwrap();
        let put = |value: &[u8]| Change::Put(b"key".to_vec(), value.to_vec());
        for _ in 0..3 {
            state
                .apply(&[put(&[0; 100]), put(&[1; 50]), Change::Put(b"a".to_vec(), vec![0; 9]), Change::Delete(b"a".to_vec())])
                .unwrap();
        }
        assert_eq!(state.bytes(), 53);
        assert_eq!(state.get(b"key").unwrap().as_deref(), Some([1; 50].as_slice()));
    }

    #[test]
    fn a_ruined_database_is_put_aside_and_rebuilt_from_the_dump() {
        let folder = Folder::new("ruined");
        let env = Env::real();
        {
            let state = SledState::open(&env, &folder.0).unwrap();
            state.put(b"silence", b"kept").unwrap();
            state.sync().unwrap();
            state.dump_if_changed().unwrap();
        }
        let conf = env.disk.open(&folder.0.join("state/conf"), Open::Write).unwrap();
        conf.write_at(&[0xff; 64], 0).unwrap();
        drop(conf);
        let state = SledState::open(&env, &folder.0).unwrap();
        assert_eq!(state.get(b"silence").unwrap().as_deref(), Some(b"kept".as_slice()));
        let kept = env.disk.list(&folder.0.join("quarantine")).unwrap();
        assert!(kept.iter().any(|entry| entry.name.ends_with(".txt")), "{kept:?}");
    }
}
