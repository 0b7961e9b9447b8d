//! Snapshots: a second, complete data directory that shares the blocks' bytes with the first.
//!
//! ```text
//! cut the head -> snapshots/<time>-<chance>.tmp: blocks linked, the rest copied, MANIFEST, all synced -> rename
//! ```
//!
//! Blocks are never changed once they have their name, so that a hard link is as good as a copy; what does change
//! (`.del`, `state.dump`) is copied. Names and rows are in the blocks; metadata of metrics and exemplars live in the log alone
//! and are said in a first segment of the snapshot, with the names of the exemplars' series. A crash leaves a folder that ends with `.tmp` and is removed at the next start.
//!
//! ```text
//! MANIFEST     "watchkeeper-snapshot 1\n", then a line for each file: length, crc, path
//!              "<length> <crc, 8 hexadecimal digits> <path>\n"; at last "crc <crc of all lines before>\n"
//! ```
//!
//! The crc of a block is the one that its footer holds of itself (all other bytes of a block have theirs below it); of other
//! files it is that of the whole file.

use super::append::SeriesId;
use super::block::footer::FOOTER_TAIL_BYTES;
use super::dir::FORMAT;
use super::error::StoreError;
use super::head::{lock, read};
use super::store::Inner;
use super::wal::files::GrowingFile;
use super::wal::names::{Definitions, put_series_entry, put_symbol};
use super::wal::record::{put_exemplars, put_metadata};
use super::wal::segment::{LOG_MAGIC, NAMES_MAGIC};
use crate::env::Env;
use crate::env::disk::Open;
use crate::model::exemplar::Exemplar;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

/// Name of the manifest.
pub(crate) const MANIFEST: &str = "MANIFEST";
const MANIFEST_HEAD: &str = "watchkeeper-snapshot 1\n";
/// Files of the data directory that others keep and that belong to a backup.
const KEPT: [&str; 1] = ["state.dump"];

/// One line of the manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    /// Path within the snapshot.
    pub(crate) path: String,
    /// Length of the file.
    pub(crate) length: u64,
    /// Its crc; see the module.
    pub(crate) crc: u32,
}

/// Writes a manifest.
pub(crate) fn encode_manifest(files: &[Listed]) -> String {
    let mut out = MANIFEST_HEAD.to_owned();
    for Listed { path, length, crc } in files {
        let written = writeln!(out, "{length} {crc:08x} {path}");
        debug_assert!(written.is_ok());
    }
    let crc = crc32c::crc32c(out.as_bytes());
    let written = writeln!(out, "crc {crc:08x}");
    debug_assert!(written.is_ok());
    out
}

/// Reads a manifest; the error says what is wrong with it.
pub(crate) fn decode_manifest(bytes: &[u8]) -> Result<Vec<Listed>, &'static str> {
    let text = str::from_utf8(bytes).map_err(|_| "the manifest is not text")?;
    let body_len = text.len().checked_sub("crc 00000000\n".len()).ok_or("the manifest ends early")?;
    let (body, last) = text.split_at_checked(body_len).ok_or("the manifest ends early")?;
    let crc = last.strip_prefix("crc ").and_then(|rest| u32::from_str_radix(rest.trim_end(), 16).ok());
    if crc != Some(crc32c::crc32c(body.as_bytes())) {
        return Err("bad checksum of the manifest");
    }
    let lines = body.strip_prefix(MANIFEST_HEAD).ok_or("a manifest of another version")?;
    let line = |line: &str| {
        let (length, rest) = line.split_once(' ')?;
        let (crc, path) = rest.split_once(' ')?;
        Some(Listed { path: path.to_owned(), length: length.parse().ok()?, crc: u32::from_str_radix(crc, 16).ok()? })
    };
    lines.lines().map(line).collect::<Option<_>>().ok_or("the manifest has a line that is none")
}

/// Returns length and crc of a file as the manifest tells them.
pub(crate) fn measure(env: &Env, path: &Path, name: String) -> io::Result<Listed> {
    if !name.ends_with(".blk") {
        let bytes = env.disk.read(path)?;
        return Ok(Listed { path: name, length: bytes.len() as u64, crc: crc32c::crc32c(&bytes) });
    }
    let file = env.disk.open(path, Open::Read)?;
    let length = file.len()?;
    let mut tail = [0; FOOTER_TAIL_BYTES];
    file.read_at(&mut tail, length.saturating_sub(FOOTER_TAIL_BYTES as u64))?;
    let [_, _, _, _, a, b, c, d, ..] = tail;
    Ok(Listed { path: name, length, crc: u32::from_le_bytes([a, b, c, d]) })
}

/// Copies a file and syncs the copy.
fn copy(env: &Env, from: &Path, to: &Path) -> Result<(), StoreError> {
    const PART: u64 = 1 << 20;
    let source = env.disk.open(from, Open::Read).map_err(StoreError::io("opening", from))?;
    let length = source.len().map_err(StoreError::io("reading", from))?;
    let target = env.disk.open(to, Open::CreateNew).map_err(StoreError::io("making", to))?;
    let mut at = 0;
    while at < length {
        let mut part = vec![0; PART.min(length - at) as usize];
        source.read_at(&mut part, at).map_err(StoreError::io("reading", from))?;
        target.write_at(&part, at).map_err(StoreError::io("writing", to))?;
        at += part.len() as u64;
    }
    target.sync_data().map_err(StoreError::io("syncing", to))
}

/// Links a file; where the file system has no links, copies it.
fn link(env: &Env, from: &Path, to: &Path) -> Result<(), StoreError> {
    match env.disk.hard_link(from, to) {
        Ok(()) => Ok(()),
        Err(error) if matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied) => {
            tracing::debug!(file = %from.display(), %error, "the file system does not link: the block is copied");
            copy(env, from, to)
        }
        Err(error) => Err(StoreError::io("linking", to)(error)),
    }
}

/// Returns the name of a snapshot: its moment in UTC and chance, as Prometheus names them.
fn name(env: &Env) -> String {
    let at = jiff::Timestamp::from_millisecond(env.clock.now_ms()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    format!("{}-{:016x}", at.strftime("%Y%m%dT%H%M%SZ"), env.random.next_u64() >> 1)
}

impl Inner {
    /// Makes a snapshot and returns the name of its folder below `snapshots/`.
    pub(super) fn snapshot(&self, skip_head: bool) -> Result<String, StoreError> {
        if !skip_head {
            self.cut(i64::MAX)?;
        }
        // No block may be merged away or deleted from while it is linked.
        let _one = lock(&self.compacting);
        let (name, folder) = (name(&self.env), self.options.dir.join("snapshots"));
        let (tmp, done) = (folder.join(format!("{name}.tmp")), folder.join(&name));
        let disk = &*self.env.disk;
        disk.create_dir_all(&tmp).map_err(StoreError::io("making", &tmp))?;
        let made = self.fill(&tmp).and_then(|()| {
            disk.rename(&tmp, &done).map_err(StoreError::io("naming", &done))?;
            disk.sync_dir(&folder).map_err(StoreError::io("syncing", &folder))?;
            disk.sync_dir(&self.options.dir).map_err(StoreError::io("syncing", &self.options.dir))
        });
        if let Err(error) = made {
            if let Err(error) = disk.remove_dir_all(&tmp) {
                tracing::debug!(folder = %tmp.display(), %error, "an unfinished snapshot is left for the next start");
            }
            return Err(error);
        }
        tracing::info!(snapshot = %done.display(), skip_head, "a snapshot was made");
        Ok(name)
    }

    fn fill(&self, tmp: &Path) -> Result<(), StoreError> {
        let disk = &*self.env.disk;
        let (blocks, names, wal) = (tmp.join("blocks"), tmp.join("names"), tmp.join("wal"));
        for folder in [&blocks, &names, &wal] {
            disk.create_dir_all(folder).map_err(StoreError::io("making", folder))?;
        }
        let mut listed = Vec::new();
        let mut list = |path: &Path, name: String| -> Result<(), StoreError> {
            listed.push(measure(&self.env, path, name).map_err(StoreError::io("reading", path))?);
            Ok(())
        };
        for block in self.blocks.list().iter() {
            let name = format!("{}.blk", block.header.ulid);
            let to = blocks.join(&name);
            link(&self.env, &block.path, &to)?;
            list(&to, format!("blocks/{name}"))?;
            if !block.tombstones().is_empty() {
                let name = format!("{}.del", block.header.ulid);
                let to = blocks.join(&name);
                copy(&self.env, &block.tombstones_path(), &to)?;
                list(&to, format!("blocks/{name}"))?;
            }
        }
        let exemplars = lock(&self.head.exemplars).all();
        list(&self.names_of(&exemplars, &names)?, "names/00000001.log".to_owned())?;
        list(&self.first_segment(&exemplars, &wal)?, "wal/00000001.log".to_owned())?;
        for name in KEPT {
            let from = self.options.dir.join(name);
            if disk.stat(&from).map_err(StoreError::io("looking at", &from))?.is_some() {
                copy(&self.env, &from, &tmp.join(name))?;
                list(&tmp.join(name), name.to_owned())?;
            }
        }
        for folder in [&blocks, &names, &wal] {
            disk.sync_dir(folder).map_err(StoreError::io("syncing", folder))?;
        }
        for (name, text) in [("FORMAT", FORMAT.to_owned()), (MANIFEST, encode_manifest(&listed))] {
            let path = tmp.join(name);
            disk.replace(&path, text.as_bytes()).map_err(StoreError::io("writing", &path))?;
        }
        Ok(())
    }

    /// Says what is known of metrics, and the exemplars, in a first segment of the snapshot's log.
    fn first_segment(&self, exemplars: &[(SeriesId, Vec<Exemplar>)], folder: &Path) -> Result<PathBuf, StoreError> {
        let mut records = Vec::new();
        for (metric, known) in read(&self.head.metadata).get(None) {
            for metadata in &known {
                let mut record = Vec::new();
                put_metadata(&mut record, &metric, metadata);
                records.push(record);
            }
        }
        for (series, exemplars) in exemplars {
            let mut record = Vec::new();
            put_exemplars(&mut record, *series, exemplars);
            records.push(record);
        }
        self.write_log(folder, LOG_MAGIC, records.iter().map(Vec::as_slice))
    }

    /// Names the series that have exemplars, as they are numbered here.
    fn names_of(&self, exemplars: &[(SeriesId, Vec<Exemplar>)], folder: &Path) -> Result<PathBuf, StoreError> {
        let carriers: BTreeSet<SeriesId> = exemplars.iter().map(|(series, _)| *series).collect();
        let registry = read(&self.head.registry);
        let pairs: Vec<_> = carriers.into_iter().map(|series| (series, registry.symbol_pairs(series))).collect();
        let symbols: BTreeSet<u32> =
            pairs.iter().flat_map(|(_, pairs)| pairs).flat_map(|(name, value)| [*name, *value]).collect();
        let mut definitions = Definitions::default();
        for symbol in symbols {
            definitions.add(|out| put_symbol(out, symbol, registry.symbols().get(symbol)));
        }
        for (series, pairs) in pairs {
            definitions.add(|out| put_series_entry(out, series, &pairs));
        }
        drop(registry);
        self.write_log(folder, NAMES_MAGIC, definitions.bodies())
    }

    fn write_log<'a>(
        &self,
        folder: &Path,
        magic: [u8; 8],
        bodies: impl Iterator<Item = &'a [u8]>,
    ) -> Result<PathBuf, StoreError> {
        let made = GrowingFile::create(&*self.env.disk, folder, magic, 1, self.env.clock.now_ms());
        let mut file = made.map_err(StoreError::io("making a log in", folder))?;
        let path = file.path.clone();
        file.write_records(bodies).map_err(StoreError::io("writing", &path))?;
        file.handle().sync_data().map_err(StoreError::io("syncing", &path))?;
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_come_back() {
        let listed = |path: &str, length, crc| Listed { path: path.to_owned(), length, crc };
        let files = [listed("blocks/A.blk", 1000, 0xabc), listed("state.dump", 0, u32::MAX)];
        let text = encode_manifest(&files);
        assert_eq!(
            text,
            "watchkeeper-snapshot 1\n1000 00000abc blocks/A.blk\n0 ffffffff state.dump\ncrc 8f4c0c63\n".replace(
                "8f4c0c63",
                &format!(
                    "{:08x}",
                    crc32c::crc32c(b"watchkeeper-snapshot 1\n1000 00000abc blocks/A.blk\n0 ffffffff state.dump\n")
                )
            )
        );
        assert_eq!(decode_manifest(text.as_bytes()).as_deref(), Ok(files.as_slice()));
        for at in 0..text.len() {
            let mut damaged = text.clone().into_bytes();
            damaged[at] ^= 1;
            assert!(decode_manifest(&damaged).is_err() || at == text.len() - 1, "byte {at}");
        }
        assert!(decode_manifest(b"").is_err());
    }
}
