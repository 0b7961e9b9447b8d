//! A disk in memory, for tests: the simplest thing that keeps [`super::Disk`]'s promises.

use super::disk::{DirEntry, Disk, DiskFile, DiskLock, DiskSpace, Open};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

type Content = Arc<Mutex<Vec<u8>>>;

#[derive(Debug, Default)]
struct Tree {
    files: BTreeMap<PathBuf, Content>,
    folders: BTreeSet<PathBuf>,
    locked: BTreeSet<PathBuf>,
}

/// A disk in memory. Cheap to clone; clones share content.
#[derive(Clone, Debug, Default)]
pub struct MemoryDisk {
    tree: Arc<Mutex<Tree>>,
}

fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn not_found(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("{}: no such file", path.display()))
}

impl MemoryDisk {
    /// Returns an empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn tree(&self) -> MutexGuard<'_, Tree> {
        guard(&self.tree)
    }
}

struct MemoryFile(Content);

impl DiskFile for MemoryFile {
    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<()> {
        let data = guard(&self.0);
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let end = start.saturating_add(out.len());
        let part = data.get(start..end).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(part);
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut data = guard(&self.0);
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let end = start + bytes.len();
        if data.len() < end {
            data.resize(end, 0);
        }
        data[start..end].copy_from_slice(bytes);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(guard(&self.0).len() as u64)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        guard(&self.0).resize(usize::try_from(length).map_err(io::Error::other)?, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
}

struct MemoryLock {
    tree: Arc<Mutex<Tree>>,
    path: PathBuf,
}

impl DiskLock for MemoryLock {}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        guard(&self.tree).locked.remove(&self.path);
    }
}

fn file_entry(path: &Path, content: &Content) -> DirEntry {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    DirEntry { name, is_dir: false, bytes: guard(content).len() as u64, modified_ms: 0 }
}

fn folder_entry(path: &Path) -> DirEntry {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    DirEntry { name, is_dir: true, bytes: 0, modified_ms: 0 }
}

impl Disk for MemoryDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn DiskFile>> {
        let mut tree = self.tree();
        match (tree.files.get(path), how) {
            (Some(_), Open::CreateNew) => Err(io::ErrorKind::AlreadyExists.into()),
            (Some(content), _) => Ok(Box::new(MemoryFile(Arc::clone(content)))),
            (None, Open::Read | Open::Write) => Err(not_found(path)),
            (None, Open::Create | Open::CreateNew) => {
                let content = Content::default();
                tree.files.insert(path.to_owned(), Arc::clone(&content));
                Ok(Box::new(MemoryFile(content)))
            }
        }
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let tree = self.tree();
        let content = tree.files.get(path).ok_or_else(|| not_found(path))?;
        Ok(guard(content).clone())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let tree = self.tree();
        let in_here = |child: &Path| child.parent() == Some(path);
        let mut entries: Vec<_> =
            tree.files.iter().filter(|(child, _)| in_here(child)).map(|(child, content)| file_entry(child, content)).collect();
        entries.extend(tree.folders.iter().filter(|child| in_here(child)).map(|child| folder_entry(child)));
        if entries.is_empty() && !tree.folders.contains(path) {
            return Err(not_found(path));
        }
        entries.sort();
        Ok(entries)
    }

    fn stat(&self, path: &Path) -> io::Result<Option<DirEntry>> {
        let tree = self.tree();
        let file = tree.files.get(path).map(|content| file_entry(path, content));
        Ok(file.or_else(|| tree.folders.contains(path).then(|| folder_entry(path))))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut tree = self.tree();
        for folder in path.ancestors().filter(|folder| !folder.as_os_str().is_empty()) {
            tree.folders.insert(folder.to_owned());
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut tree = self.tree();
        if let Some(content) = tree.files.remove(from) {
            tree.files.insert(to.to_owned(), content);
            return Ok(());
        }
        if !tree.folders.contains(from) {
            return Err(not_found(from));
        }
        let moved = |path: &PathBuf| path.strip_prefix(from).ok().map(|rest| to.join(rest));
        let files = std::mem::take(&mut tree.files);
        tree.files = files.into_iter().map(|(path, content)| (moved(&path).unwrap_or(path), content)).collect();
        let folders = std::mem::take(&mut tree.folders);
        tree.folders = folders.into_iter().map(|path| moved(&path).unwrap_or(path)).collect();
        Ok(())
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut tree = self.tree();
        let content = Arc::clone(tree.files.get(from).ok_or_else(|| not_found(from))?);
        tree.files.insert(to.to_owned(), content);
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.tree().files.remove(path).map(|_| ()).ok_or_else(|| not_found(path))
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut tree = self.tree();
        tree.files.retain(|child, _| !child.starts_with(path));
        tree.folders.retain(|child| !child.starts_with(path));
        Ok(())
    }

    fn sync_dir(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn DiskLock>>> {
        let taken = self.tree().locked.insert(path.to_owned());
        Ok(taken.then(|| Box::new(MemoryLock { tree: Arc::clone(&self.tree), path: path.to_owned() }) as Box<dyn DiskLock>))
    }

    fn space(&self, _path: &Path) -> io::Result<DiskSpace> {
        Ok(DiskSpace { free_bytes: 1 << 40, total_bytes: 1 << 40 })
    }
}
