//! The log: what was appended since the last block, so that nothing acknowledged is lost.
//!
//! Two growing files: the names log says what numbers mean, the segment holds rows. [`Log::write`] frames a record into a
//! buffer under one lock, in the order in which the head took the rows; [`Log::flush`] hands it to the system. A thread of
//! its own syncs: names first, then the segment, every 100 ms for scrapes, at once when somebody waits.
//!
//! ```text
//! write --> buffer --flush--> file (survives kill -9) --commit thread: fdatasync--> disk (survives a power cut)
//!           ^ define: names buffer goes out first                                  `-> waiters are answered
//! ```
//!
//! A write that fails closes the segment: what follows goes to a new one, whose rows are absolute. On a full disk a reserve
//! is given up for what others must write, and the log goes on when it could be built again. A sync that fails makes
//! the segment suspect: it is never synced again, waiters are told, and the head is cut to blocks, which hold everything
//! that the segment should have held.

pub(crate) mod commit;
pub(crate) mod files;
mod following;
pub(crate) mod mend;
mod metrics;
pub(crate) mod names;
pub(crate) mod record;
pub(crate) mod replay;
mod replay_names;
pub(crate) mod replay_rows;
pub(crate) mod segment;

use crate::env::Env;
use crate::env::disk::{DiskFile, Open};
use crate::storage::error::StoreError;
use crate::storage::follow::kept::Kept;
use crate::storage::head::lock;
use crate::storage::reserve::{Reserve, is_full};
use crate::telemetry::metrics::Registry;
use files::{GrowingFile, file_name};
use metrics::Metrics;
use names::Definitions;
use replay::{Cover, Replayed};
use segment::{LOG_MAGIC, NAMES_MAGIC, begin_record, end_record};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// A segment that grew to this is followed by the next. Each begins with the first value of every column, about eight bytes:
/// of a million series a smaller one would hold little else.
const SEGMENT_BYTES: u64 = 128 << 20;
/// After a failed write, so long until the next try: writing resumes within a second of the space that it needs.
const RETRY: Duration = Duration::from_millis(250);
/// Lies beside the segments while what a failed sync has lost is not in blocks.
pub(crate) const SUSPECT: &str = "SUSPECT";

/// A place in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    /// Number of the segment.
    pub(crate) segment: u64,
    /// Offset in it.
    pub(crate) offset: u64,
}

/// A file that waits for its sync.
#[derive(Clone)]
struct Unsynced {
    file: Arc<dyn DiskFile>,
    path: PathBuf,
}

#[derive(Default)]
struct State {
    names: Option<GrowingFile>,
    /// Definitions that are not written yet.
    definitions: Definitions,
    segment: Option<GrowingFile>,
    /// Framed records that are not written yet.
    buffer: Vec<u8>,
    /// Files with writes that no sync has seen, in the order in which they must be synced.
    unsynced: Vec<Unsynced>,
    /// Folders with new names that no sync has seen.
    new_names: bool,
    /// Counts flushes that wrote something; a waiter waits for its own to be synced.
    written: u64,
    synced: u64,
    /// Flushes up to here were lost by a failed sync.
    lost: u64,
    waiting: usize,
    failure: Option<String>,
    /// The failure is that the disk is full.
    full: bool,
    retry_at: Duration,
    next_number: u64,
    next_names: u64,
    /// Older names logs, each with the last segment whose rows may name what it alone defines.
    old_names: Vec<(u64, u64)>,
    /// Newest time in the present segment.
    newest_ms: i64,
    /// Older segments and the newest time in each.
    older: Vec<(u64, i64)>,
    /// Definitions made while the names log is written anew.
    recording: Option<Definitions>,
    /// How often samples were taken that the log does not hold, or not surely: the head must be cut to blocks.
    lost_times: u64,
    /// Up to which of them that was done.
    saved_times: u64,
    /// What followers have not read yet.
    kept: Kept,
    /// The names log must be written anew.
    names_suspect: bool,
    stop: bool,
}

impl State {
    /// Returns whether memory holds samples that the log does not hold, or not surely.
    const fn is_suspect(&self) -> bool {
        self.lost_times != self.saved_times
    }

    /// Ends the present segment.
    fn close_segment(&mut self) {
        if let Some(segment) = self.segment.take() {
            self.older.push((segment.number, self.newest_ms));
        }
        self.newest_ms = i64::MIN;
    }
}

struct Shared {
    env: Env,
    log_dir: PathBuf,
    names_dir: PathBuf,
    dir: PathBuf,
    state: Mutex<State>,
    changed: Condvar,
    metrics: Metrics,
    /// Given up when the disk is full, and built again before the log goes on.
    reserve: Reserve,
    /// Whether there is a failure; asked on each append.
    has_failed: AtomicBool,
}

/// The log's writing face. Without files behind it (replay, tests) it takes everything and keeps nothing.
#[derive(Default)]
pub(crate) struct Log {
    shared: Option<Arc<Shared>>,
    /// Whether a thread syncs; else whoever waits does.
    by_itself: bool,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Log")
    }
}

impl Shared {
    /// Writes what waits in the buffers. The state's lock is held.
    fn flush(&self, state: &mut State) -> io::Result<()> {
        if state.buffer.is_empty() && state.definitions.is_empty() {
            return Ok(());
        }
        if state.failure.is_some() {
            // Rows of a failed time are in the head alone; the next block has them.
            state.buffer.clear();
            return Err(io::Error::other("the log has failed"));
        }
        let result = self.write_out(state);
        if let Err(error) = &result {
            tracing::error!(%error, "the log cannot be written; samples are kept in memory until it can");
            self.note_failure(state, error);
            for file in [&state.names, &state.segment].into_iter().flatten() {
                file.cut_back();
            }
            state.close_segment();
            state.buffer.clear();
        }
        result
    }

    fn write_out(&self, state: &mut State) -> io::Result<()> {
        if !state.definitions.is_empty()
            && let Some(names) = &mut state.names
        {
            names.write_records(state.definitions.bodies())?;
            state.definitions.clear();
            let (file, path) = (names.handle(), names.path.clone());
            remember(&mut state.unsynced, file, path, true);
        }
        if !state.buffer.is_empty()
            && let Some(segment) = &mut state.segment
        {
            segment.write(&state.buffer)?;
            self.metrics.bytes.add(state.buffer.len() as u64);
            state.buffer.clear();
            let (file, path, length) = (segment.handle(), segment.path.clone(), segment.length);
            remember(&mut state.unsynced, file, path, false);
            if length >= SEGMENT_BYTES {
                self.rotate(state)?;
            }
        }
        state.written += 1;
        if state.written == state.synced + 1 {
            self.changed.notify_all();
        }
        Ok(())
    }

    /// Notes that the log cannot be written at present. A full disk gets the reserve, so that others can write.
    fn note_failure(&self, state: &mut State, error: &io::Error) {
        self.metrics.failed_writes.inc();
        state.failure = Some(error.to_string());
        state.full = is_full(error);
        state.retry_at = self.env.clock.monotonic() + RETRY;
        if state.full && self.reserve.release() {
            tracing::error!("the disk is full: the reserve was given up for what must be written; pushed samples are refused");
        }
        self.show(state);
    }

    /// Shows the present state in the metrics and to those who append.
    fn show(&self, state: &State) {
        let number = |yes: bool| if yes { 1.0 } else { 0.0 };
        self.metrics.failed.set(number(state.failure.is_some()));
        self.metrics.full.set(number(state.failure.is_some() && state.full));
        self.has_failed.store(state.failure.is_some(), Ordering::Release);
        // The thread that syncs tries again by itself, also when nobody writes.
        self.changed.notify_all();
    }

    /// Opens the next segment.
    fn rotate(&self, state: &mut State) -> io::Result<()> {
        state.close_segment();
        let number = state.next_number;
        let disk = &*self.env.disk;
        let segment = GrowingFile::create(disk, &self.log_dir, LOG_MAGIC, number, self.env.clock.now_ms());
        // A number whose file could not be made whole is not tried again.
        state.next_number += 1;
        if segment.is_err()
            && let Err(error) = disk.remove_file(&self.log_dir.join(file_name(number)))
        {
            tracing::debug!(number, %error, "a segment that could not be begun is left");
        }
        let segment = segment?;
        remember(&mut state.unsynced, segment.handle(), segment.path.clone(), false);
        state.new_names = true;
        state.segment = Some(segment);
        self.metrics.segment.set(number as f64);
        Ok(())
    }

    /// After a failure, tries again to open a segment.
    fn recover(&self, state: &mut State) {
        if state.failure.is_none() || self.env.clock.monotonic() < state.retry_at || state.names_suspect {
            return;
        }
        // The reserve first: while there is no space for it, what is left is for others.
        match self.reserve.build().and_then(|()| self.rotate(state)) {
            Ok(()) => {
                tracing::warn!("the log can be written again");
                state.failure = None;
                state.full = false;
                self.show(state);
                // What was not logged meanwhile is in the head alone.
                state.lost_times += 1;
            }
            Err(error) => self.note_failure(state, &error),
        }
    }
}

/// Notes that a file has writes to sync. The names log comes before the segments.
fn remember(unsynced: &mut Vec<Unsynced>, file: Arc<dyn DiskFile>, path: PathBuf, first: bool) {
    if !unsynced.iter().any(|known| known.path == path) {
        let at = if first { 0 } else { unsynced.len() };
        unsynced.insert(at, Unsynced { file, path });
    }
}

impl Log {
    /// Opens a new segment and a names log behind what is there, and starts the thread that syncs.
    ///
    /// `replayed` says which files are there.
    pub(crate) fn open(
        env: &Env,
        dir: &Path,
        replayed: Replayed,
        reserve: Reserve,
        kept: Kept,
        registry: &Registry,
    ) -> Result<Self, StoreError> {
        let (log_dir, names_dir) = (dir.join("wal"), dir.join("names"));
        let metrics = Metrics::new(registry);
        let mut state =
            State { next_number: replayed.next_segment, newest_ms: i64::MIN, older: replayed.segments, kept, ..State::default() };
        let names = match replayed.names {
            Some(names) => names,
            None => GrowingFile::create(&*env.disk, &names_dir, NAMES_MAGIC, 1, env.clock.now_ms())
                .map_err(StoreError::io("making the names log in", &names_dir))?,
        };
        state.next_names = names.number + 1;
        state.old_names = replayed.old_names.into_iter().map(|number| (number, replayed.next_segment - 1)).collect();
        // What a process that was killed wrote may not be on stable storage yet: a sample of it that is repeated is
        // acknowledged by it.
        for (number, _) in &state.older {
            let path = log_dir.join(file_name(*number));
            let file = env.disk.open(&path, Open::Write).map_err(StoreError::io("opening", &path))?;
            remember(&mut state.unsynced, Arc::from(file), path, false);
        }
        let mark = log_dir.join(SUSPECT);
        if env.disk.stat(&mark).map_err(StoreError::io("looking at", &mark))?.is_some() {
            tracing::warn!("a sync had failed before the last stop: everything is written anew");
            state.lost_times = 1;
            state.names_suspect = true;
        }
        // The first commit is due although nothing was appended.
        state.written = 1;
        remember(&mut state.unsynced, names.handle(), names.path.clone(), true);
        state.names = Some(names);
        let shared = Arc::new(Shared {
            env: env.clone(),
            log_dir: log_dir.clone(),
            names_dir,
            dir: dir.to_owned(),
            state: Mutex::default(),
            changed: Condvar::new(),
            metrics,
            reserve,
            has_failed: AtomicBool::new(false),
        });
        shared.show(&state);
        match shared.reserve.build() {
            // A server must start on a full disk, too: how else would it say so?
            Err(error) if is_full(&error) => shared.note_failure(&mut state, &error),
            built => {
                if let Err(error) = built {
                    tracing::warn!(folder = %dir.display(), %error, "the reserve could not be built");
                }
                shared.rotate(&mut state).map_err(StoreError::io("making a log segment in", &log_dir))?;
            }
        }
        *lock(&shared.state) = state;
        let worker = Arc::clone(&shared);
        let thread = env.tasks.background("log-sync", move || commit::run(&worker));
        let thread = thread.map_err(StoreError::io("starting the thread that syncs", &log_dir))?;
        Ok(Self { shared: Some(shared), by_itself: thread.is_some(), thread: Mutex::new(thread) })
    }

    /// Adds definitions to the names log; they are written before the next record.
    pub(crate) fn define(&self, put: impl Fn(&mut Vec<u8>)) {
        let Some(shared) = &self.shared else { return };
        let mut state = lock(&shared.state);
        state.definitions.add(&put);
        if let Some(recording) = &mut state.recording {
            recording.add(&put);
        }
    }

    /// Returns whether the names log must be written anew.
    pub(crate) fn names_suspect(&self) -> bool {
        self.shared.as_ref().is_some_and(|shared| lock(&shared.state).names_suspect)
    }

    /// Writes the names log anew: `build` says all definitions that are needed from now on. Rows that are in the log already
    /// may name others (older layouts): the old files go with their segments ([`Self::drop_covered`]).
    ///
    /// # Errors
    /// What the disk says; the old files then stay.
    pub(crate) fn rewrite_names(&self, build: impl FnOnce(&mut Definitions)) -> io::Result<()> {
        let Some(shared) = &self.shared else { return Ok(()) };
        let (number, old) = {
            let mut state = lock(&shared.state);
            // Rows that wait may name layouts that are no longer the newest: those go to the old file.
            let flushed = shared.flush(&mut state);
            if !state.names_suspect {
                flushed?;
            }
            state.recording = Some(Definitions::default());
            state.next_names += 1;
            (state.next_names - 1, state.names.as_ref().map(|names| names.number))
        };
        let mut definitions = Definitions::default();
        build(&mut definitions);
        let disk = &*shared.env.disk;
        let mut state = lock(&shared.state);
        // What was defined meanwhile may be there twice, which does no harm.
        let meanwhile = state.recording.take().unwrap_or_default();
        // Under a name of its own until all of it is there: a part of it must not be taken for the whole.
        let mut names = GrowingFile::create_unnamed(disk, &shared.names_dir, NAMES_MAGIC, number, shared.env.clock.now_ms())?;
        names.write_records(definitions.bodies().chain(meanwhile.bodies()))?;
        names.handle().sync_data()?;
        names.give_name(disk)?;
        disk.sync_dir(&shared.names_dir)?;
        if state.names_suspect {
            state.unsynced.retain(|unsynced| !unsynced.path.starts_with(&shared.names_dir));
        }
        let (file, path) = (names.handle(), names.path.clone());
        remember(&mut state.unsynced, file, path, true);
        state.definitions.clear();
        state.names = Some(names);
        state.names_suspect = false;
        let last_segment = state.segment.as_ref().map_or(state.next_number, |segment| segment.number);
        state.old_names.extend(old.map(|old| (old, last_segment)));
        Ok(())
    }

    /// Removes names logs whose segments are gone.
    fn drop_old_names(&self) -> io::Result<()> {
        let Some(shared) = &self.shared else { return Ok(()) };
        let oldest = self.oldest_segment();
        let old = lock(&shared.state).old_names.clone();
        for (number, last_segment) in old.into_iter().filter(|(_, last_segment)| *last_segment < oldest) {
            let path = shared.names_dir.join(file_name(number));
            let mut state = lock(&shared.state);
            state.kept.take_names(&*shared.env.disk, &shared.dir, &path, (number, last_segment))?;
            state.old_names.retain(|(known, _)| *known != number);
        }
        Ok(())
    }

    /// Removes segments of which blocks hold everything.
    ///
    /// # Errors
    /// What the disk says.
    pub(crate) fn drop_covered(&self, covers: &[Cover]) -> io::Result<()> {
        let Some(shared) = &self.shared else { return Ok(()) };
        let older = lock(&shared.state).older.clone();
        let covered =
            |number: u64, newest_ms: i64| covers.iter().any(|cover| number < cover.position.segment && newest_ms < cover.end_ms);
        let mut removed = false;
        for (number, newest_ms) in older {
            if covered(number, newest_ms) {
                let path = shared.log_dir.join(file_name(number));
                let mut state = lock(&shared.state);
                state.kept.take(&*shared.env.disk, &shared.dir, &path, (number, newest_ms))?;
                state.older.retain(|(known, _)| *known != number);
                removed = true;
            }
        }
        if removed {
            // A segment that came back after a power cut would bring back what was deleted of its blocks meanwhile.
            shared.env.disk.sync_dir(&shared.log_dir)?;
        }
        self.drop_old_names()
    }

    /// Returns the bytes of the names log.
    pub(crate) fn names_bytes(&self) -> u64 {
        let Some(shared) = &self.shared else { return 0 };
        lock(&shared.state).names.as_ref().map_or(0, |names| names.length)
    }

    /// Returns the number of the oldest segment that is still there.
    pub(crate) fn oldest_segment(&self) -> u64 {
        let Some(shared) = &self.shared else { return 0 };
        let state = lock(&shared.state);
        let open = state.segment.as_ref().map_or(state.next_number, |segment| segment.number);
        state.older.iter().map(|(number, _)| *number).min().unwrap_or(open).min(open)
    }

    /// Frames the record that `encode` appends (kind and payload) for the present segment; `newest_ms` is the newest time in
    /// it. Nothing is asked for while the log has failed.
    pub(crate) fn write(&self, newest_ms: i64, encode: impl FnOnce(u64, &mut Vec<u8>)) {
        let Some(shared) = &self.shared else { return };
        let mut state = lock(&shared.state);
        shared.recover(&mut state);
        if state.failure.is_some() {
            return;
        }
        let Some(number) = state.segment.as_ref().map(|segment| segment.number) else { return };
        let frame = begin_record(&mut state.buffer);
        encode(number, &mut state.buffer);
        end_record(&mut state.buffer, number, frame);
        state.newest_ms = state.newest_ms.max(newest_ms);
    }

    /// Hands all records to the system.
    ///
    /// # Errors
    /// What the disk says; the log has then failed.
    pub(crate) fn flush(&self) -> io::Result<()> {
        let Some(shared) = &self.shared else { return Ok(()) };
        shared.flush(&mut lock(&shared.state))
    }

    /// Hands all records to the system and waits until they are on stable storage.
    ///
    /// # Errors
    /// When they are not, or when the log has lost others that memory alone holds: a sample that is repeated would else be
    /// acknowledged by its loss.
    pub(crate) fn sync(&self) -> io::Result<()> {
        let Some(shared) = &self.shared else { return Ok(()) };
        let mut state = lock(&shared.state);
        shared.flush(&mut state)?;
        let mine = state.written;
        state.waiting += 1;
        shared.changed.notify_all();
        if !self.by_itself {
            drop(state);
            commit::run_once(shared);
            state = lock(&shared.state);
        }
        while state.synced < mine && state.lost < mine && !state.stop {
            state = shared.changed.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        state.waiting -= 1;
        if state.synced >= mine && state.lost < mine && state.failure.is_none() && !state.is_suspect() {
            return Ok(());
        }
        Err(io::Error::other(state.failure.clone().unwrap_or_else(|| "the log could not be synced".to_owned())))
    }

    /// Returns whether the log cannot be written at present.
    pub(crate) fn has_failed(&self) -> bool {
        self.shared.as_ref().is_some_and(|shared| shared.has_failed.load(Ordering::Acquire))
    }

    /// Returns why samples cannot be made durable, if they cannot; tries to mend it first.
    pub(crate) fn failure(&self) -> Option<String> {
        let shared = self.shared.as_ref()?;
        let mut state = lock(&shared.state);
        shared.recover(&mut state);
        let saving = || state.is_suspect().then(|| "what the log lost is being written to blocks".to_owned());
        state.failure.clone().or_else(saving)
    }

    /// Returns the place behind the last record.
    pub(crate) fn position(&self) -> Position {
        let Some(shared) = &self.shared else { return Position::default() };
        let state = lock(&shared.state);
        match &state.segment {
            Some(segment) => Position { segment: segment.number, offset: segment.length + state.buffer.len() as u64 },
            None => Position { segment: state.next_number, offset: 0 },
        }
    }

    /// Begins a new segment, as at a cut.
    pub(crate) fn next_segment(&self) -> io::Result<()> {
        let Some(shared) = &self.shared else { return Ok(()) };
        let mut state = lock(&shared.state);
        shared.flush(&mut state)?;
        let has_records = state.segment.as_ref().is_some_and(|segment| segment.length > segment::HEADER_BYTES as u64);
        let rotated = if has_records { shared.rotate(&mut state) } else { Ok(()) };
        if let Err(error) = &rotated {
            shared.note_failure(&mut state, error);
        }
        rotated
    }

    /// Returns a mark when something was lost to the log, so that the head must be cut to blocks: give it to
    /// [`Log::saved`] when that is done.
    pub(crate) fn suspect(&self) -> Option<u64> {
        let state = lock(&self.shared.as_ref()?.state);
        state.is_suspect().then_some(state.lost_times)
    }

    /// What was lost up to a mark is in blocks, and the names log is not suspect.
    pub(crate) fn saved(&self, mark: u64) {
        let Some(shared) = &self.shared else { return };
        let mut state = lock(&shared.state);
        state.saved_times = state.saved_times.max(mark);
        let path = shared.log_dir.join(SUSPECT);
        if !state.is_suspect() && matches!(shared.env.disk.stat(&path), Ok(Some(_))) {
            // One that stays costs another cut at the next start.
            let removed = shared.env.disk.remove_file(&path).and_then(|()| shared.env.disk.sync_dir(&shared.log_dir));
            if let Err(error) = removed {
                tracing::warn!(%error, "the log's mark could not be removed");
            }
        }
    }

    /// Syncs a last time and ends the thread.
    ///
    /// # Errors
    /// When the last sync failed.
    pub(crate) fn close(&self) -> io::Result<()> {
        let Some(shared) = &self.shared else { return Ok(()) };
        let synced = self.sync();
        lock(&shared.state).stop = true;
        shared.changed.notify_all();
        if let Some(thread) = lock(&self.thread).take()
            && thread.join().is_err()
        {
            return Err(io::Error::other("the thread that syncs has panicked"));
        }
        synced
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        if let Some(shared) = &self.shared {
            lock(&shared.state).stop = true;
            shared.changed.notify_all();
        }
    }
}
