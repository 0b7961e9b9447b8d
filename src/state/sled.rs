//! State in sled 0.34: the only place that names it.
//!
//! It is good at this size (a few MB, ordered keys, atomic batches), and has weak sides that are guarded here: its flush is
//! `sync_file_range`, so `sync` also does `fdatasync` on the file; a changed byte may make it panic, hang or not open, so it
//! opens in a thread of its own under a deadline, is tried once more without its snapshot file, and is rebuilt from `state.dump`
//! when that did not help; its cache is bounded, and so is what may be kept in it.
//!
//! It may also open without a word and lack what a changed byte held. So each batch also writes, under a key of its own, how many
//! batches there were and the sum of all entries' hashes: what does not fit them, or is older than `state.dump`, is mended from there.

use super::{Change, Entry, State, StateError, dump};
use crate::env::Env;
use crate::env::disk::{DiskFile, Open};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::Duration;

const CACHE_BYTES: u64 = 16 << 20;
/// The state may not grow beyond this: nothing in it grows with samples or series.
pub const STATE_BYTES_MAX: u64 = 64 << 20;
/// The store's reserve for a full disk.
const RESERVE: &str = "RESERVE";
const OPEN_LIMIT: Duration = Duration::from_secs(10);
/// Where [`Check`] is kept; nobody else sees it.
const CHECK: &[u8] = b"\0check";

/// What tells whether all is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Check {
    /// Batches so far.
    turn: u64,
    /// Sum of the hashes of all entries.
    sum: u64,
}

impl Check {
    fn encode(self) -> [u8; 16] {
        (u128::from(self.turn) | u128::from(self.sum) << 64).to_le_bytes()
    }

    /// `None` where the bytes are no check, as those of a later version.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let both = u128::from_le_bytes(bytes.try_into().ok()?);
        Some(Self { turn: both as u64, sum: (both >> 64) as u64 })
    }
}

/// The hash of an entry: two checksums, of the key and the value together and of the value alone.
fn hash_of(key: &[u8], value: &[u8]) -> u64 {
    let length = (key.len() as u64).to_le_bytes();
    let all = [&length[..], key, value].iter().fold(0, |crc, part| crc32c::crc32c_append(crc, part));
    u64::from(all) << 32 | u64::from(crc32c::crc32c_append(all ^ 0x5bd1_e995, value))
}

/// State on disk.
pub struct SledState {
    env: Env,
    db: ::sled::Db,
    file: Option<Box<dyn DiskFile>>,
    dump_path: PathBuf,
    bytes: AtomicU64,
    changed: AtomicBool,
    /// As of the last batch; held while one is written.
    check: Mutex<Check>,
}

impl std::fmt::Debug for SledState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SledState").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

fn is_full(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
}

fn failed(error: impl std::fmt::Display) -> StateError {
    StateError::Failed(error.to_string())
}

/// Why the database did not open.
enum Unopened {
    /// It cannot be read.
    Damaged(String),
    /// The system refuses something; the database may be as good as ever.
    Refused(std::io::Error),
}

impl std::fmt::Display for Unopened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Damaged(reason) => f.write_str(reason),
            Self::Refused(error) => error.fmt(f),
        }
    }
}

/// Returns whether an error of the system tells of damage: it reads less than there should be, or something else.
fn tells_of_damage(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{InvalidData, InvalidInput, Other, UnexpectedEof};
    error.raw_os_error().is_none() && matches!(error.kind(), InvalidData | InvalidInput | Other | UnexpectedEof)
}

/// Opens the database in a thread of its own: it may panic or never return.
fn open_guarded(env: &Env, folder: &Path) -> Result<::sled::Db, Unopened> {
    let (done, waiting) = mpsc::sync_channel(1);
    let path = folder.to_owned();
    let work = move || {
        let config = ::sled::Config::new().path(path).cache_capacity(CACHE_BYTES).mode(::sled::Mode::LowSpace);
        let opened = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| config.open()));
        // Nobody may wait any more.
        drop(done.send(opened));
    };
    drop(env.tasks.thread("state-open", work).map_err(Unopened::Refused)?);
    match waiting.recv_timeout(OPEN_LIMIT) {
        Ok(Ok(Ok(db))) => Ok(db),
        Ok(Ok(Err(::sled::Error::Io(error)))) if !tells_of_damage(&error) => Err(Unopened::Refused(error)),
        Ok(Ok(Err(error))) => Err(Unopened::Damaged(error.to_string())),
        Ok(Err(_)) => Err(Unopened::Damaged("the database panicked while opening".to_owned())),
        Err(_) => Err(Unopened::Damaged(format!("the database did not open within {OPEN_LIMIT:?}"))),
    }
}

/// Opens the database; one that is damaged is tried without its snapshots, and at last put aside for an empty one: then the
/// second is true.
fn open_or_rebuild(env: &Env, data: &Path, folder: &Path, quarantine: &Path) -> Result<(::sled::Db, bool), StateError> {
    let mut opened = open_guarded(env, folder);
    if let Err(Unopened::Refused(error)) = &opened
        && is_full(error)
    {
        // What is kept back for a full disk is for this, too.
        tracing::error!(%error, "the disk is full: the reserve is given up so that the state can be opened");
        if env.disk.remove_file(&data.join(RESERVE)).is_ok() {
            opened = open_guarded(env, folder);
        }
    }
    if let Err(error @ Unopened::Damaged(_)) = &opened
        && move_snapshots_away(env, folder, quarantine)? > 0
    {
        tracing::warn!(%error, "the state database did not open; trying without its snapshot file");
        opened = open_guarded(env, folder);
    }
    Ok(match opened {
        Ok(db) => (db, false),
        // Nothing is put aside and nothing made anew: it is there when the system lets us.
        Err(Unopened::Refused(error)) => return Err(failed(format!("opening {}: {error}", folder.display()))),
        Err(error @ Unopened::Damaged(_)) => {
            tracing::error!(%error, "the state database cannot be read; rebuilding it from state.dump");
            env.disk.create_dir_all(quarantine).map_err(failed)?;
            let kept = quarantine.join(format!("state-{}", env.clock.now_ms()));
            env.disk.rename(folder, &kept).map_err(failed)?;
            env.disk.replace(&kept.with_extension("txt"), error.to_string().as_bytes()).map_err(failed)?;
            env.disk.create_dir_all(folder).map_err(failed)?;
            (open_guarded(env, folder).map_err(failed)?, true)
        }
    })
}

/// Reads `state.dump`: how many batches it has seen, and its entries. `None` where there is none.
fn read_dump(env: &Env, path: &Path) -> Result<Option<(u64, Vec<Entry>)>, StateError> {
    let bytes = match env.disk.read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let (checks, entries): (Vec<_>, Vec<_>) = dump::decode(&bytes)?.into_iter().partition(|(key, _)| key == CHECK);
    let check = checks.first().and_then(|(_, value)| Check::decode(value));
    Ok(Some((check.map_or(0, |check| check.turn), entries)))
}

fn copy_folder(env: &Env, from: &Path, to: &Path) -> Result<(), StateError> {
    env.disk.create_dir_all(to).map_err(failed)?;
    for entry in env.disk.list(from).map_err(failed)? {
        let (from, to) = (from.join(&entry.name), to.join(&entry.name));
        if entry.is_dir {
            copy_folder(env, &from, &to)?;
        } else {
            let bytes = env.disk.read(&from).map_err(failed)?;
            env.disk.replace(&to, &bytes).map_err(failed)?;
        }
    }
    Ok(())
}

/// Compares the entries with the sum of their hashes, and their age with that of `state.dump`.
fn missing(db: &::sled::Db, dumped: u64) -> Result<Option<String>, StateError> {
    let (mut sum, mut said) = (0_u64, None);
    for found in db.iter() {
        let (key, value) = found.map_err(failed)?;
        if key == CHECK {
            said = Check::decode(&value);
        } else {
            sum = sum.wrapping_add(hash_of(&key, &value));
        }
    }
    let is_damaged = said.is_some_and(|check| check.sum != sum) || said.map_or(0, |check| check.turn) < dumped;
    Ok(is_damaged.then(|| "entries are missing or old; the next start mends it from state.dump".to_owned()))
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
    /// Checks the database of a stopped server in a copy below `scratch`, since opening changes it; the copy is removed. Returns
    /// what is wrong with it.
    ///
    /// # Errors
    /// When it cannot be copied.
    pub fn check(env: &Env, data: &Path, scratch: &Path) -> Result<Option<String>, StateError> {
        let folder = data.join("state");
        if env.disk.stat(&folder).map_err(failed)?.is_none() {
            return Ok(None);
        }
        let copied = copy_folder(env, &folder, &scratch.join("state"));
        let found = copied.and_then(|()| match open_guarded(env, &scratch.join("state")) {
            Ok(db) => missing(&db, read_dump(env, &data.join("state.dump")).ok().flatten().map_or(0, |(turn, _)| turn)),
            Err(error) => Ok(Some(error.to_string())),
        });
        env.disk.remove_dir_all(scratch).map_err(failed)?;
        found
    }

    /// Opens `<data>/state`, making it if it is absent, and recovering as this module's documentation says. Blocks.
    ///
    /// # Errors
    /// When neither the database nor a rebuilt one can be opened.
    pub fn open(env: &Env, data: &Path) -> Result<Self, StateError> {
        let folder = data.join("state");
        let quarantine = data.join("quarantine");
        let dump_path = data.join("state.dump");
        env.disk.create_dir_all(&folder).map_err(failed)?;
        let (db, rebuilt) = open_or_rebuild(env, data, &folder, &quarantine)?;
        let file = env.disk.open(&folder.join("db"), Open::Write).ok();
        let state = Self {
            env: env.clone(),
            db,
            file,
            dump_path,
            bytes: AtomicU64::new(0),
            changed: AtomicBool::new(false),
            check: Mutex::default(),
        };
        let held = state.scan(b"")?;
        let used: usize = held.iter().map(|(key, value)| key.len() + value.len()).sum();
        state.bytes.store(used as u64, Ordering::Relaxed);
        let said = state.db.get(CHECK).map_err(failed)?.and_then(|bytes| Check::decode(&bytes));
        let sum = held.iter().fold(0, |sum: u64, (key, value)| sum.wrapping_add(hash_of(key, value)));
        *state.locked_check() = Check { turn: said.map_or(0, |check| check.turn), sum };
        let dumped = match read_dump(env, &state.dump_path) {
            Ok(dumped) => dumped,
            // It is only asked for where the database is no good.
            Err(error) if !rebuilt => {
                tracing::error!(%error, "state.dump cannot be read; it will be written anew");
                state.changed.store(true, Ordering::Release);
                None
            }
            Err(error) => return Err(error),
        };
        let is_damaged = said.is_some_and(|check| check.sum != sum);
        let turn = said.map_or(0, |check| check.turn);
        let is_older = dumped.as_ref().is_some_and(|(newest, _)| *newest > turn);
        // A snapshot has `state.dump` alone.
        let is_new = held.is_empty() && said.is_none();
        if !rebuilt && !is_new && (is_damaged || is_older) {
            let what = if is_damaged { "entries are missing or old" } else { "it is older than state.dump" };
            tracing::error!(what, "the state database was damaged; mending it from state.dump");
            state.put_aside(&folder.join("db"), &quarantine, what)?;
        }
        if (rebuilt || is_damaged || is_older)
            && let Some((newest, entries)) = dumped
        {
            state.locked_check().turn = turn.max(newest);
            // Where it is merely older all of it is; else what came after the dump is kept.
            let gone = held.into_iter().filter(|_| !is_damaged).map(|(key, _)| Change::Delete(key));
            let restored = entries.len();
            // The last word about a key counts.
            let changes: Vec<Change> = gone.chain(entries.into_iter().map(|(key, value)| Change::Put(key, value))).collect();
            state.apply(&changes)?;
            state.sync()?;
            tracing::warn!(restored, "state rebuilt from state.dump");
        }
        Ok(state)
    }

    fn locked_check(&self) -> std::sync::MutexGuard<'_, Check> {
        self.check.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a copy of a damaged file, and beside it what is wrong with it.
    fn put_aside(&self, file: &Path, quarantine: &Path, what: &str) -> Result<(), StateError> {
        self.env.disk.create_dir_all(quarantine).map_err(failed)?;
        let kept = quarantine.join(format!("state-db-{}", self.env.clock.now_ms()));
        let bytes = self.env.disk.read(file).map_err(failed)?;
        self.env.disk.replace(&kept, &bytes).map_err(failed)?;
        self.env.disk.replace(&kept.with_extension("txt"), what.as_bytes()).map_err(failed)
    }

    /// Returns how much is kept, in bytes of keys and values.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
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
        let is_entry = |found: &Result<Entry, StateError>| !found.as_ref().is_ok_and(|(key, _)| key == CHECK);
        self.db.scan_prefix(prefix).map(entry).filter(is_entry).collect()
    }

    fn apply(&self, batch: &[Change]) -> Result<(), StateError> {
        let mut sled_batch = ::sled::Batch::default();
        let (mut added, mut freed) = (0, 0);
        let mut held = self.locked_check();
        let mut check = Check { turn: held.turn + 1, ..*held };
        // The last word about a key counts, in the database as in the count of bytes.
        let last: BTreeMap<&[u8], Option<&[u8]>> = batch.iter().map(Change::parts).collect();
        for (key, value) in last {
            if let Some(old) = self.db.get(key).map_err(failed)? {
                freed += (key.len() + old.len()) as u64;
                check.sum = check.sum.wrapping_sub(hash_of(key, &old));
            }
            if let Some(value) = value {
                added += (key.len() + value.len()) as u64;
                check.sum = check.sum.wrapping_add(hash_of(key, value));
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
        sled_batch.insert(CHECK, &check.encode()[..]);
        self.db.apply_batch(sled_batch).map_err(failed)?;
        *held = check;
        self.bytes.store(after, Ordering::Relaxed);
        self.changed.store(true, Ordering::Release);
        Ok(())
    }

    fn sync(&self) -> Result<(), StateError> {
        // It panics where a disk fails while it writes.
        let flushed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.db.flush()));
        flushed.map_err(|_| StateError::Failed("the database panicked while writing".to_owned()))?.map_err(failed)?;
        match &self.file {
            Some(file) => file.sync_data().map_err(failed),
            None => Ok(()),
        }
    }

    fn dump_if_changed(&self) -> Result<(), StateError> {
        if !self.changed.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        // Taken before the entries: those may be newer, never older.
        let check = *self.locked_check();
        let written = self.scan(b"").and_then(|mut entries| {
            entries.push((CHECK.to_vec(), check.encode().to_vec()));
            self.env.disk.replace(&self.dump_path, &dump::encode(&entries)).map_err(failed)
        });
        if written.is_err() {
            self.changed.store(true, Ordering::Release);
        }
        written
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
    fn a_dump_alone_is_a_state() {
        let (folder, copy, env) = (Folder::new("dumped"), Folder::new("copied"), Env::real());
        let state = SledState::open(&env, &folder.0).unwrap();
        state.put(b"silence", b"kept").unwrap();
        state.dump_if_changed().unwrap();
        env.disk.replace(&copy.0.join("state.dump"), &env.disk.read(&folder.0.join("state.dump")).unwrap()).unwrap();
        let state = SledState::open(&env, &copy.0).unwrap();
        assert_eq!(state.get(b"silence").unwrap().as_deref(), Some(b"kept".as_slice()));
        assert!(!env.disk.list(&copy.0).unwrap().iter().any(|entry| entry.name == "quarantine"));
    }

    #[test]
    fn a_flipped_bit_loses_nothing_that_was_dumped() {
        let (folder, scratch, env) = (Folder::new("flips"), Folder::new("flips-copy"), Env::real());
        let entries: Vec<Entry> = (0..40_u8).map(|n| (vec![b's', n], vec![n; 300])).collect();
        {
            let state = SledState::open(&env, &folder.0).unwrap();
            for (key, value) in &entries {
                state.put(key, &[0; 200]).unwrap();
                state.put(key, value).unwrap();
                state.sync().unwrap();
            }
            state.put(b"gone", b"x").unwrap();
            state.delete(b"gone").unwrap();
            state.sync().unwrap();
            state.dump_if_changed().unwrap();
        }
        let files = ["state/db", "state.dump"].map(|name| (name, env.disk.read(&folder.0.join(name)).unwrap()));
        assert_eq!(SledState::check(&env, &folder.0, &scratch.0).unwrap(), None);
        let mut mended = 0;
        for at in (0..files[0].1.len()).step_by(files[0].1.len() / 24) {
            for (name, bytes) in &files {
                env.disk.replace(&folder.0.join(name), bytes).unwrap();
            }
            for entry in env.disk.list(&folder.0.join("state")).unwrap() {
                if entry.name.starts_with("snap.") {
                    env.disk.remove_file(&folder.0.join("state").join(&entry.name)).unwrap();
                }
            }
            let mut bytes = files[0].1.clone();
            bytes[at] ^= 4;
            env.disk.replace(&folder.0.join("state/db"), &bytes).unwrap();
            let told = SledState::check(&env, &folder.0, &scratch.0).unwrap();
            assert_eq!(env.disk.read(&folder.0.join("state/db")).unwrap(), bytes, "nothing was changed");
            let state = SledState::open(&env, &folder.0).unwrap();
            assert_eq!(state.scan(b"").unwrap(), entries, "byte {at}");
            drop(state);
            let put_aside = env.disk.list(&folder.0.join("quarantine")).is_ok_and(|kept| !kept.is_empty());
            // One that looks like a new database is not kept.
            assert!(told.is_some() || !put_aside, "byte {at}");
            mended += usize::from(put_aside);
            let _gone = env.disk.remove_dir_all(&folder.0.join("quarantine"));
        }
        assert!(mended > 3, "{mended}");
    }

    #[test]
    fn what_the_system_refuses_is_no_damage() {
        for code in [12, 13, 11, 23, 24, 28, 30, 122] {
            assert!(!tells_of_damage(&std::io::Error::from_raw_os_error(code)), "{code}");
        }
        let (folder, env) = (Folder::new("refused"), Env::real());
        {
            let state = SledState::open(&env, &folder.0).unwrap();
            state.put(b"silence", b"kept").unwrap();
            state.sync().unwrap();
        }
        // A folder in place of a file cannot be opened for writing.
        let (database, aside) = (folder.0.join("state/db"), folder.0.join("aside"));
        env.disk.rename(&database, &aside).unwrap();
        env.disk.create_dir_all(&database).unwrap();
        let refused = SledState::open(&env, &folder.0).map(drop).unwrap_err().to_string();
        assert!(refused.contains("opening") && refused.contains("directory"), "{refused}");
        assert!(env.disk.list(&folder.0.join("quarantine")).is_err(), "nothing was put aside");
        env.disk.remove_dir_all(&database).unwrap();
        env.disk.rename(&aside, &database).unwrap();
        assert_eq!(SledState::open(&env, &folder.0).unwrap().get(b"silence").unwrap().as_deref(), Some(b"kept".as_slice()));
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
