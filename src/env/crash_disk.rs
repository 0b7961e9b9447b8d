//! A disk that can lose power: what was not synced is lost, kept or torn, page by page, by a seed.
//!
//! A name counts as synced when its folder was; content when the file was. At a power cut each folder shows either its
//! synced or its present names, and each unsynced page of a file either its old or its new bytes.

use super::disk::{DirEntry, Disk, DiskFile, DiskLock, DiskSpace, Open};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const PAGE: usize = 4096;

#[derive(Clone, Debug, Default)]
struct Content {
    live: Vec<u8>,
    synced: Vec<u8>,
}

#[derive(Clone, Debug, Default)]
struct World {
    contents: Vec<Content>,
    names: BTreeMap<PathBuf, usize>,
    synced_names: BTreeMap<PathBuf, usize>,
    folders: BTreeSet<PathBuf>,
    locked: BTreeSet<PathBuf>,
    /// Changes that still succeed; then the disk is gone.
    changes_left: Option<u64>,
    changes: u64,
    /// Whether a change was refused because the power is off.
    is_off: bool,
    /// Syncs of files whose name contains this fail.
    failing_sync: Option<String>,
    /// Bytes that may still be written before the disk is full.
    room: Option<u64>,
}

/// A disk that can lose power. Cheap to clone; clones share content.
#[derive(Clone, Debug, Default)]
pub struct CrashDisk {
    world: Arc<Mutex<World>>,
}

fn gone() -> io::Error {
    io::Error::other("the power is off")
}

impl World {
    fn change(&mut self) -> io::Result<()> {
        if let Some(left) = self.changes_left {
            let Some(left) = left.checked_sub(1) else {
                self.is_off = true;
                return Err(gone());
            };
            self.changes_left = Some(left);
        }
        self.changes += 1;
        Ok(())
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

    /// Returns how many changes there were.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.world().changes
    }

    /// Returns whether the power is off: a change was wanted and no longer done.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.world().is_off
    }

    /// Makes syncs of files fail whose path contains `part`; `None`: no longer.
    pub fn fail_syncs(&self, part: Option<&str>) {
        self.world().failing_sync = part.map(str::to_owned);
    }

    /// Lets so many bytes more be written; `None`: no bound.
    pub fn set_room(&self, bytes: Option<u64>) {
        self.world().room = bytes;
    }

    /// Returns the disk as another process would find it after `kill -9`: nothing is lost.
    #[must_use]
    pub fn after_kill(&self) -> Self {
        let mut world = self.world().clone();
        world.locked.clear();
        world.changes_left = None;
        world.is_off = false;
        world.failing_sync = None;
        world.room = None;
        Self { world: Arc::new(Mutex::new(world)) }
    }

    /// Returns the disk as it may look after a power cut.
    #[must_use]
    pub fn after_power_cut(&self, seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let before = self.world();
        let mut world = World { folders: before.folders.clone(), ..World::default() };
        let folders: BTreeSet<&Path> =
            before.names.keys().chain(before.synced_names.keys()).filter_map(|path| path.parent()).collect();
        for folder in folders {
            let shown = if rng.bool() { &before.names } else { &before.synced_names };
            for (path, number) in shown.iter().filter(|(path, _)| path.parent() == Some(folder)) {
                let content = torn(&before.contents[*number], &mut rng);
                world.names.insert(path.clone(), world.contents.len());
                world.contents.push(Content { synced: content.clone(), live: content });
            }
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
    for page in (0..length).step_by(PAGE) {
        let end = (page + PAGE).min(length).min(live.len());
        if page < end && rng.bool() {
            out[page..end].copy_from_slice(&live[page..end]);
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
        world.change()?;
        if let Some(room) = &mut world.room {
            *room = room.checked_sub(bytes.len() as u64).ok_or(io::ErrorKind::StorageFull)?;
        }
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let live = &mut world.contents[self.number].live;
        if live.len() < start + bytes.len() {
            live.resize(start + bytes.len(), 0);
        }
        live[start..start + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.world().contents[self.number].live.len() as u64)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut world = self.world();
        world.change()?;
        world.contents[self.number].live.resize(usize::try_from(length).map_err(io::Error::other)?, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut world = self.world();
        world.change()?;
        if world.failing_sync.as_ref().is_some_and(|part| self.path.to_string_lossy().contains(part.as_str())) {
            return Err(io::Error::other("input/output error"));
        }
        let content = &mut world.contents[self.number];
        content.synced.clone_from(&content.live);
        Ok(())
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
                world.names.insert(path.to_owned(), number);
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
        let number = world.names.remove(from).ok_or_else(|| not_found(from))?;
        world.names.insert(to.to_owned(), number);
        Ok(())
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.change()?;
        let number = *world.names.get(from).ok_or_else(|| not_found(from))?;
        world.names.insert(to.to_owned(), number);
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.change()?;
        world.names.remove(path).map(|_| ()).ok_or_else(|| not_found(path))
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.change()?;
        world.names.retain(|child, _| !child.starts_with(path));
        world.folders.retain(|child| !child.starts_with(path));
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.change()?;
        world.synced_names.retain(|child, _| child.parent() != Some(path));
        let here: Vec<_> =
            world.names.iter().filter(|(child, _)| child.parent() == Some(path)).map(|(p, n)| (p.clone(), *n)).collect();
        world.synced_names.extend(here);
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn DiskLock>>> {
        let taken = self.world().locked.insert(path.to_owned());
        Ok(taken.then(|| Box::new(CrashLock { world: Arc::clone(&self.world), path: path.to_owned() }) as Box<dyn DiskLock>))
    }

    fn space(&self, _path: &Path) -> io::Result<DiskSpace> {
        let free_bytes = self.world().room.unwrap_or(1 << 40);
        Ok(DiskSpace { free_bytes, total_bytes: 1 << 40 })
    }
}
