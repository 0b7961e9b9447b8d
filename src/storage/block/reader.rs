//! An open block: its header and META in memory, everything else read when it is asked for and kept in the cache.

use super::cache::{Kept, Key, PageCache};
use super::footer::{FOOTER_TAIL_BYTES, Fault, HEADER_BYTES, Header, Section, decode_footer, footer_len};
use super::index::BlockIndex;
use super::page::{Page, read_page};
use super::sections::{Meta, read_meta};
use super::tombstones::Tombstones;
use crate::env::Env;
use crate::env::disk::{DiskFile, Open};
use crate::storage::column::varint::ByteReader;
use crate::storage::error::StoreError;
use crate::storage::head::{lock, read, write};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock};

/// An open block.
pub(crate) struct Block {
    /// What it is.
    pub(crate) header: Header,
    /// Its parents, covers and counts.
    pub(crate) meta: Meta,
    /// Where it is.
    pub(crate) path: PathBuf,
    /// Length of the file.
    pub(crate) bytes: u64,
    file: Box<dyn DiskFile>,
    sections: Vec<Section>,
    /// Where each page begins, and the end of the last.
    pages: Vec<u64>,
    cache: Arc<PageCache>,
    tombstones: RwLock<Arc<Tombstones>>,
    /// Pages that could not be read, and why.
    bad_pages: Mutex<BTreeMap<u32, String>>,
}

impl std::fmt::Debug for Block {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Block").field("header", &self.header).finish_non_exhaustive()
    }
}

/// Reads exactly so many bytes.
fn read_at(file: &dyn DiskFile, path: &Path, offset: u64, length: u64) -> Result<Vec<u8>, StoreError> {
    let length = usize::try_from(length).map_err(|_| StoreError::corrupt(path, offset, "a section is too long"))?;
    let mut out = vec![0; length];
    file.read_at(&mut out, offset).map_err(StoreError::io("reading", path))?;
    Ok(out)
}

impl Block {
    /// Opens and checks a block's header, footer and META.
    pub(crate) fn open(env: &Env, path: &Path, cache: &Arc<PageCache>) -> Result<Self, StoreError> {
        let file = env.disk.open(path, Open::Read).map_err(StoreError::io("opening", path))?;
        let bytes = file.len().map_err(StoreError::io("reading", path))?;
        let corrupt = |offset: u64, reason: &str| StoreError::corrupt(path, offset, reason);
        if bytes < (HEADER_BYTES + FOOTER_TAIL_BYTES) as u64 {
            return Err(corrupt(0, "shorter than a block"));
        }
        let header = match Header::decode(&read_at(&*file, path, 0, HEADER_BYTES as u64)?) {
            Ok(header) => header,
            Err(Fault::Damaged(reason)) => return Err(corrupt(0, reason)),
            Err(Fault::Version(version)) => {
                let (found, expected) = (format!("version {version}"), "version 1".to_owned());
                return Err(StoreError::Format { file: path.to_owned(), found, expected });
            }
        };
        let tail_at = bytes - FOOTER_TAIL_BYTES as u64;
        let tail = read_at(&*file, path, tail_at, FOOTER_TAIL_BYTES as u64)?;
        let length = footer_len(&tail).ok_or_else(|| corrupt(tail_at, "the footer is damaged"))? as u64;
        let footer_at = bytes.checked_sub(length).ok_or_else(|| corrupt(tail_at, "the footer is too long"))?;
        let sections = decode_footer(&read_at(&*file, path, footer_at, length)?)
            .ok_or_else(|| corrupt(footer_at, "bad checksum of the footer"))?;
        let mut block = Self {
            header,
            meta: Meta::default(),
            path: path.to_owned(),
            bytes,
            file,
            sections,
            pages: Vec::new(),
            cache: Arc::clone(cache),
            tombstones: RwLock::default(),
            bad_pages: Mutex::default(),
        };
        block.meta = read_meta(&block.section(b"META")?).ok_or_else(|| corrupt(footer_at, "META is damaged"))?;
        block.pages = block.page_offsets().ok_or_else(|| corrupt(footer_at, "PAGE is damaged"))?;
        block.load_tombstones(env)?;
        Ok(block)
    }

    fn page_offsets(&self) -> Option<Vec<u64>> {
        let lengths = self.section(b"PAGE").ok()?;
        let mut reader = ByteReader::new(&lengths);
        let mut at = HEADER_BYTES as u64;
        let mut offsets = vec![at];
        while !reader.is_empty() {
            at = at.checked_add(reader.varint()?)?;
            offsets.push(at);
        }
        (offsets.len() == self.header.pages as usize + 1 && at <= self.bytes).then_some(offsets)
    }

    fn section(&self, tag: &[u8; 4]) -> Result<Vec<u8>, StoreError> {
        let name = || String::from_utf8_lossy(tag).into_owned();
        let Some(section) = self.sections.iter().find(|section| section.tag == *tag) else {
            return Err(StoreError::corrupt(&self.path, 0, format!("there is no section {}", name())));
        };
        if section.offset.checked_add(section.length).is_none_or(|end| end > self.bytes) {
            return Err(StoreError::corrupt(&self.path, section.offset, format!("section {} is too long", name())));
        }
        let bytes = read_at(&*self.file, &self.path, section.offset, section.length)?;
        if crc32c::crc32c(&bytes) != section.crc {
            return Err(StoreError::corrupt(&self.path, section.offset, format!("bad checksum of section {}", name())));
        }
        Ok(bytes)
    }

    /// Checks every section; where and what is wrong of those that are damaged.
    pub(crate) fn check_sections(&self) -> Vec<(u64, String)> {
        let check = |section: &Section| match self.section(&section.tag) {
            Ok(_) => None,
            Err(StoreError::Corrupt { offset, reason, .. }) => Some((offset, reason)),
            Err(error) => Some((section.offset, error.to_string())),
        };
        self.sections.iter().filter_map(check).collect()
    }

    /// Returns where a page lies in the file.
    pub(crate) fn page_place(&self, number: u32) -> std::ops::Range<u64> {
        let at = |number: usize| self.pages.get(number).copied().unwrap_or(self.bytes);
        at(number as usize)..at(number as usize + 1)
    }

    /// Returns the index.
    pub(crate) fn index(&self) -> Result<Arc<BlockIndex>, StoreError> {
        let key = Key::Index(self.header.ulid);
        if let Some(Kept::Index(index)) = self.cache.get(key) {
            return Ok(index);
        }
        let (times, symbols) = (self.section(b"TIME")?, self.section(b"SYMB")?);
        let (postings, series) = (self.section(b"POST")?, self.section(b"SERI")?);
        let index = BlockIndex::read(times, &symbols, postings, series);
        let index = Arc::new(index.ok_or_else(|| StoreError::corrupt(&self.path, 0, "the index is damaged"))?);
        self.cache.put(key, Kept::Index(Arc::clone(&index)), index.memory_bytes());
        Ok(index)
    }

    /// Returns a page.
    pub(crate) fn page(&self, number: u32) -> Result<Arc<Page>, StoreError> {
        let key = Key::Page(self.header.ulid, number);
        if let Some(Kept::Page(page)) = self.cache.get(key) {
            return Ok(page);
        }
        let number = number as usize;
        let place = self.pages.get(number).copied().zip(self.pages.get(number + 1).copied());
        let (from, to) = place.ok_or_else(|| StoreError::corrupt(&self.path, 0, format!("there is no page {number}")))?;
        let bytes = read_at(&*self.file, &self.path, from, to - from)?;
        let page = read_page(&bytes).map_err(|reason| StoreError::corrupt(&self.path, from, reason))?;
        let page = Arc::new(page);
        self.cache.put(key, Kept::Page(Arc::clone(&page)), page.memory_bytes());
        Ok(page)
    }

    /// Returns a column of times.
    pub(crate) fn times(&self, index: &BlockIndex, number: u32) -> Result<Arc<[i64]>, StoreError> {
        let key = Key::Times(self.header.ulid, number);
        if let Some(Kept::Times(times)) = self.cache.get(key) {
            return Ok(times);
        }
        let times = index.times(number);
        let times: Arc<[i64]> =
            times.ok_or_else(|| StoreError::corrupt(&self.path, 0, format!("times {number} are damaged")))?.into();
        self.cache.put(key, Kept::Times(Arc::clone(&times)), times.len() * 8 + 64);
        Ok(times)
    }

    /// Notes that a page could not be read; says so in the log, once.
    pub(crate) fn note_bad_page(&self, number: u32, reason: &str) {
        let mut bad = lock(&self.bad_pages);
        if bad.insert(number, reason.to_owned()).is_none() {
            tracing::error!(block = %self.path.display(), page = number, reason, "a page cannot be read; answers go on without it");
        }
    }

    /// Returns what could not be read so far, in words.
    pub(crate) fn warnings(&self) -> Vec<String> {
        lock(&self.bad_pages).values().cloned().collect()
    }

    /// Returns whether the block may hold samples of a range.
    pub(crate) const fn overlaps(&self, start_ms: i64, end_ms: i64) -> bool {
        self.header.min_ms <= end_ms && self.header.max_ms >= start_ms
    }

    /// Returns the path of the tombstones.
    pub(crate) fn tombstones_path(&self) -> PathBuf {
        self.path.with_extension("del")
    }

    /// Returns what was deleted.
    pub(crate) fn tombstones(&self) -> Arc<Tombstones> {
        Arc::clone(&read(&self.tombstones))
    }

    fn load_tombstones(&self, env: &Env) -> Result<(), StoreError> {
        let path = self.tombstones_path();
        if env.disk.stat(&path).map_err(StoreError::io("looking at", &path))?.is_none() {
            return Ok(());
        }
        let bytes = env.disk.read(&path).map_err(StoreError::io("reading", &path))?;
        let found = Tombstones::decode(&bytes).ok_or_else(|| StoreError::corrupt(&path, 0, "the tombstones are damaged"))?;
        *write(&self.tombstones) = Arc::new(found);
        Ok(())
    }

    /// Deletes ranges of series durably.
    pub(crate) fn delete(&self, env: &Env, places: &[u32], from_ms: i64, to_ms: i64) -> Result<(), StoreError> {
        let mut kept = write(&self.tombstones);
        let mut changed = (**kept).clone();
        for place in places {
            changed.add(*place, from_ms, to_ms);
        }
        let path = self.tombstones_path();
        env.disk.replace(&path, &changed.encode()).map_err(StoreError::io("writing", &path))?;
        *kept = Arc::new(changed);
        Ok(())
    }

    /// Forgets what the cache holds of the block.
    pub(crate) fn forget(&self) {
        self.cache.forget(self.header.ulid);
    }
}
