//! A disk that can lose power: what was not synced is lost, kept or torn, page by page, by a seed.
//!
//! A name counts as synced when its folder was; content when the file was. At a power cut each folder shows its synced
//! names and a first part of the changes made since, and each unsynced page of a file its old or its new bytes, or sectors
//! of both. A sync that failed is never made good by a later one: the system has dropped those pages (they still read as
//! written until the power goes), as Linux does.

use super::disk::{DirEntry, Disk, DiskFile, DiskLock, DiskSpace, Open};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use xxhash_rust::xxh3::xxh3_64_with_seed;

const PAGE: usize = 4096;
const SECTOR: usize = 512;

#[derive(Clone, Debug, Default)]
struct Content {
    live: Vec<u8>,
    synced: Vec<u8>,
    /// Pages that a failed sync has dropped: no later sync writes them, unless they are written again.
    dropped: BTreeSet<usize>,
    /// Pages written since the last sync.
    dirty: BTreeSet<usize>,
}

impl Content {
    fn touch(&mut self, from: usize, to: usize) {
        for page in from / PAGE..to.div_ceil(PAGE) {
            self.dirty.insert(page);
            self.dropped.remove(&page);
        }
    }

    fn sync(&mut self) {
        let mut synced = std::mem::take(&mut self.synced);
        synced.resize(self.live.len(), 0);
        for page in &self.dirty {
            let (from, to) = (page * PAGE, ((page + 1) * PAGE).min(self.live.len()));
            if from < to {
                synced[from..to].copy_from_slice(&self.live[from..to]);
            }
        }
        self.synced = synced;
        self.dirty.clear();
    }
}

/// A change of names that no sync of its folder has made durable.
#[derive(Clone, Debug)]
enum Renaming {
    Add(PathBuf, usize),
    Remove(PathBuf),
    Move(PathBuf, PathBuf, usize),
}

impl Renaming {
    fn is_in(&self, folder: &Path) -> bool {
        match self {
            Self::Add(path, _) | Self::Remove(path) => path.parent() == Some(folder),
            Self::Move(from, to, _) => from.parent() == Some(folder) || to.parent() == Some(folder),
        }
    }

    fn folder(&self) -> Option<&Path> {
        match self {
            Self::Add(path, _) | Self::Remove(path) | Self::Move(path, ..) => path.parent(),
        }
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            Self::Add(path, number) => {
                names.insert(path.clone(), *number);
            }
            Self::Remove(path) => {
                names.remove(path);
            }
            Self::Move(from, to, number) => {
                names.remove(from);
                names.insert(to.clone(), *number);
            }
        }
    }
}

#[derive(Clone, Debug, Default)]
struct World {
    contents: Vec<Content>,
    names: BTreeMap<PathBuf, usize>,
    synced_names: BTreeMap<PathBuf, usize>,
    renamings: Vec<Renaming>,
    folders: BTreeSet<PathBuf>,
    locked: BTreeSet<PathBuf>,
    /// Changes that still succeed; then the disk is gone.
    changes_left: Option<u64>,
    /// A change was refused for that.
    is_off: bool,
    /// The last change failed and may have happened in part.
    partly: bool,
    changes: u64,
    /// Of all changes: what was written where, synced, renamed, in order.
    digest: u64,
    /// Changes, by number, that fail with an input/output error.
    failing: BTreeSet<u64>,
    /// Syncs of files whose name contains this fail.
    failing_sync: Option<String>,
    /// Bytes that all files may have together before the disk is full.
    capacity: Option<u64>,
}

/// A disk that can lose power. Cheap to clone; clones share content.
#[derive(Clone, Debug, Default)]
pub struct CrashDisk {
    world: Arc<Mutex<World>>,
}

fn gone() -> io::Error {
    io::Error::other("the power is off")
}

fn io_error() -> io::Error {
    io::Error::other("input/output error")
}

impl World {
    fn change(&mut self) -> io::Result<()> {
        self.partly = false;
        match &mut self.changes_left {
            Some(0) => {
                // What was under way when the process died may have happened in part; a dead process does no more.
                self.partly = !self.is_off;
                self.is_off = true;
                return Err(gone());
            }
            Some(left) => *left -= 1,
            None => {}
        }
        self.changes += 1;
        if self.failing.remove(&self.changes) {
            self.partly = true;
            return Err(io_error());
        }
        Ok(())
    }

    fn used(&self) -> u64 {
        let held: BTreeSet<usize> = self.names.values().copied().collect();
        held.iter().map(|number| self.contents[*number].live.len() as u64).sum()
    }

    /// Adds a change to the digest.
    fn note(&mut self, what: &[u8], number: u64) {
        self.digest = xxh3_64_with_seed(what, self.digest ^ number);
    }

    /// Writes, growing the file.
    fn write(&mut self, number: usize, bytes: &[u8], start: usize) {
        self.note(bytes, (number as u64) << 40 | start as u64);
        let content = &mut self.contents[number];
        let end = start + bytes.len();
        // A hole before the first byte is written too.
        content.touch(start.min(content.live.len()), end);
        if content.live.len() < end {
            content.live.resize(end, 0);
        }
        content.live[start..end].copy_from_slice(bytes);
    }

    fn rename_names(&mut self, renaming: Renaming) {
        renaming.apply(&mut self.names);
        self.note(format!("{renaming:?}").as_bytes(), 1);
        self.renamings.push(renaming);
    }
}

impl CrashDisk {
    /// Returns an empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets so many changes (writes, syncs, renames ...) succeed, then none.
    pub fn stop_after(&self, changes: u64) {
        self.world().changes_left = Some(changes);
    }

    /// Returns whether the power is off: a change was wanted and no longer done.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.world().is_off
    }

    /// Returns how many changes there were.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.world().changes
    }

    /// Returns how many changes there were, and a digest of what they were.
    #[must_use]
    pub fn digest(&self) -> (u64, u64) {
        let world = self.world();
        (world.changes, world.digest)
    }

    /// Lets one change fail: the `after`th from now, counted from 0.
    pub fn fail_change(&self, after: u64) {
        let mut world = self.world();
        let number = world.changes + 1 + after;
        world.failing.insert(number);
    }

    /// Makes syncs of files fail whose path contains `part`; `None`: no longer.
    pub fn fail_syncs(&self, part: Option<&str>) {
        self.world().failing_sync = part.map(str::to_owned);
    }

    /// Lets so many bytes more be written, or as many again as are freed; `None`: no bound.
    pub fn set_room(&self, bytes: Option<u64>) {
        let mut world = self.world();
        world.capacity = bytes.map(|bytes| world.used() + bytes);
    }

    /// Ends all failing, but not a stop.
    pub fn heal(&self) {
        let mut world = self.world();
        world.failing.clear();
        world.failing_sync = None;
        world.capacity = None;
    }

    /// Returns the disk as another process would find it after `kill -9`: nothing is lost.
    #[must_use]
    pub fn after_kill(&self) -> Self {
        let mut world = self.world().clone();
        world.locked.clear();
        world.changes_left = None;
        world.is_off = false;
        world.failing.clear();
        world.failing_sync = None;
        world.capacity = None;
        Self { world: Arc::new(Mutex::new(world)) }
    }

    /// Returns the disk as it may look after a power cut.
    #[must_use]
    pub fn after_power_cut(&self, seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let before = self.world();
        let (folders, changes, digest) = (before.folders.clone(), before.changes, before.digest);
        let mut world = World { folders, changes, digest, ..World::default() };
        let mut shown = before.synced_names.clone();
        let folders: BTreeSet<&Path> = before.renamings.iter().filter_map(Renaming::folder).collect();
        for folder in folders {
            let changes: Vec<&Renaming> = before.renamings.iter().filter(|renaming| renaming.folder() == Some(folder)).collect();
            let kept = match rng.u8(0..4) {
                0 => 0,
                1 => rng.usize(0..=changes.len()),
                _ => changes.len(),
            };
            for renaming in &changes[..kept] {
                renaming.apply(&mut shown);
            }
        }
        let mut moved = BTreeMap::new();
        for (path, number) in shown {
            let fresh = *moved.entry(number).or_insert_with(|| {
                let content = torn(&before.contents[number], &mut rng);
                world.contents.push(Content { synced: content.clone(), live: content, ..Content::default() });
                world.contents.len() - 1
            });
            world.names.insert(path, fresh);
        }
        world.synced_names = world.names.clone();
        Self { world: Arc::new(Mutex::new(world)) }
    }
}

/// Mixes synced and present pages of a file.
fn torn(content: &Content, rng: &mut fastrand::Rng) -> Vec<u8> {
    let (live, synced) = (&content.live, &content.synced);
    let length = match rng.u8(0..3) {
        0 => synced.len(),
        1 => live.len(),
        _ => rng.usize(synced.len().min(live.len())..=synced.len().max(live.len())),
    };
    let mut out = synced.clone();
    out.resize(length, 0);
    let mut keep = |from: usize, to: usize| {
        let to = to.min(length).min(live.len());
        if from < to {
            out[from..to].copy_from_slice(&live[from..to]);
        }
    };
    for page in content.dirty.difference(&content.dropped) {
        let from = page * PAGE;
        match rng.u8(0..8) {
            0 => keep(from, from + SECTOR * rng.usize(0..=PAGE / SECTOR)),
            1 => keep(from + SECTOR * rng.usize(0..=PAGE / SECTOR), from + PAGE),
            2..5 => keep(from, from + PAGE),
            _ => {}
        }
    }
    out
}

struct CrashFile {
    world: Arc<Mutex<World>>,
    number: usize,
    path: PathBuf,
}

impl CrashFile {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DiskFile for CrashFile {
    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<()> {
        let world = self.world();
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let end = start.saturating_add(out.len());
        out.copy_from_slice(world.contents[self.number].live.get(start..end).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut world = self.world();
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        if let Err(error) = world.change() {
            if world.partly {
                let part = bytes.len() * (world.changes % 4) as usize / 4;
                world.write(self.number, &bytes[..part], start);
            }
            return Err(error);
        }
        if let Some(capacity) = world.capacity {
            let grows = (start + bytes.len()).saturating_sub(world.contents[self.number].live.len());
            let room = usize::try_from(capacity.saturating_sub(world.used())).unwrap_or(usize::MAX);
            if grows > room {
                world.write(self.number, &bytes[..bytes.len() - (grows - room).min(bytes.len())], start);
                return Err(io::ErrorKind::StorageFull.into());
            }
        }
        world.write(self.number, bytes, start);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.world().contents[self.number].live.len() as u64)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut world = self.world();
        world.change()?;
        let length = usize::try_from(length).map_err(io::Error::other)?;
        let content = &mut world.contents[self.number];
        let (shorter, longer) = (length.min(content.live.len()), length.max(content.live.len()));
        content.live.resize(length, 0);
        content.touch(shorter, longer);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut world = self.world();
        let fails = world.failing_sync.as_ref().is_some_and(|part| self.path.to_string_lossy().contains(part.as_str()));
        let result = world.change().and(if fails { Err(io_error()) } else { Ok(()) });
        let was_off = world.is_off;
        world.note(&[u8::from(result.is_ok())], self.number as u64);
        let content = &mut world.contents[self.number];
        if result.is_ok() {
            content.sync();
        } else if !was_off {
            content.dropped.append(&mut content.dirty);
        }
        result
    }
}

struct CrashLock {
    world: Arc<Mutex<World>>,
    path: PathBuf,
}

impl DiskLock for CrashLock {}

impl Drop for CrashLock {
    fn drop(&mut self) {
        self.world.lock().unwrap_or_else(PoisonError::into_inner).locked.remove(&self.path);
    }
}

fn entry(path: &Path, is_dir: bool, bytes: usize) -> DirEntry {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    DirEntry { name, is_dir, bytes: bytes as u64, modified_ms: 0 }
}

fn not_found(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("{}: no such file", path.display()))
}

impl Disk for CrashDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn DiskFile>> {
        let mut world = self.world();
        let number = match (world.names.get(path).copied(), how) {
            (Some(_), Open::CreateNew) => return Err(io::ErrorKind::AlreadyExists.into()),
            (Some(number), _) => number,
            (None, Open::Read | Open::Write) => return Err(not_found(path)),
            (None, Open::Create | Open::CreateNew) => {
                world.change()?;
                let number = world.contents.len();
                world.contents.push(Content::default());
                world.rename_names(Renaming::Add(path.to_owned(), number));
                number
            }
        };
        Ok(Box::new(CrashFile { world: Arc::clone(&self.world), number, path: path.to_owned() }))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let world = self.world();
        let number = world.names.get(path).ok_or_else(|| not_found(path))?;
        Ok(world.contents[*number].live.clone())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let world = self.world();
        let here = |child: &Path| child.parent() == Some(path);
        let files = world.names.iter().filter(|(child, _)| here(child));
        let mut found: Vec<_> = files.map(|(child, number)| entry(child, false, world.contents[*number].live.len())).collect();
        found.extend(world.folders.iter().filter(|child| here(child)).map(|child| entry(child, true, 0)));
        found.sort();
        if found.is_empty() && !world.folders.contains(path) { Err(not_found(path)) } else { Ok(found) }
    }

    fn stat(&self, path: &Path) -> io::Result<Option<DirEntry>> {
        let world = self.world();
        if let Some(number) = world.names.get(path) {
            return Ok(Some(entry(path, false, world.contents[*number].live.len())));
        }
        Ok(world.folders.contains(path).then(|| entry(path, true, 0)))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut world = self.world();
        for folder in path.ancestors().filter(|folder| !folder.as_os_str().is_empty()) {
            world.folders.insert(folder.to_owned());
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.change()?;
        let number = *world.names.get(from).ok_or_else(|| not_found(from))?;
        world.rename_names(Renaming::Move(from.to_owned(), to.to_owned(), number));
        Ok(())
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.change()?;
        let number = *world.names.get(from).ok_or_else(|| not_found(from))?;
        if world.names.contains_key(to) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        world.rename_names(Renaming::Add(to.to_owned(), number));
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.change()?;
        if !world.names.contains_key(path) {
            return Err(not_found(path));
        }
        world.rename_names(Renaming::Remove(path.to_owned()));
        Ok(())
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.change()?;
        let inside: Vec<PathBuf> = world.names.keys().filter(|child| child.starts_with(path)).cloned().collect();
        for child in inside {
            world.rename_names(Renaming::Remove(child));
        }
        world.folders.retain(|child| !child.starts_with(path));
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.change()?;
        let World { renamings, synced_names, .. } = &mut *world;
        renamings.retain(|renaming| {
            let is_here = renaming.is_in(path);
            if is_here {
                renaming.apply(synced_names);
            }
            !is_here
        });
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn DiskLock>>> {
        let taken = self.world().locked.insert(path.to_owned());
        Ok(taken.then(|| Box::new(CrashLock { world: Arc::clone(&self.world), path: path.to_owned() }) as Box<dyn DiskLock>))
    }

    fn space(&self, _path: &Path) -> io::Result<DiskSpace> {
        let world = self.world();
        let free_bytes = world.capacity.map_or(1 << 40, |capacity| capacity.saturating_sub(world.used()));
        Ok(DiskSpace { free_bytes, total_bytes: 1 << 40 })
    }
}
