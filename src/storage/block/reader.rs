//! An open block: its header and META in memory, everything else read when it is asked for and kept in the cache.

use super::cache::{Kept, Key, PageCache};
use super::footer::{
    FOOTER_TAIL_BYTES, Fault, HEADER_BYTES, Header, SECTIONS_MAX, Section, decode_footer, encode_footer, footer_bytes, footer_len,
};
use super::index::BlockIndex;
use super::page::{Page, read_page};
use super::parity::Parity;
use super::sections::{ColumnRef, Meta, plain_section, read_meta};
use super::tombstones::Tombstones;
use super::ulid::Ulid;
use crate::env::Env;
use crate::env::disk::{DiskFile, Open};
use crate::storage::column::varint::ByteReader;
use crate::storage::error::StoreError;
use crate::storage::head::{lock, read, write};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock};

/// Where the header has the ULID.
const HEADER_ULID: u64 = 16;
/// Series entries of one block may take so much of the cache: the bound divided by this.
const UNFOLDED_SHARE: usize = 16;
/// Pairs and ends of a series whose entry is unfolded, about.
const SERIES_BYTES: usize = 32;

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

/// Something that is not as it was written.
pub(crate) struct Flaw {
    /// The file.
    pub(crate) path: PathBuf,
    /// Where in it.
    pub(crate) offset: u64,
    /// In words.
    pub(crate) reason: String,
    /// Whether nothing is lost by it.
    pub(crate) mended: bool,
}

/// Reads exactly so many bytes.
fn read_at(file: &dyn DiskFile, path: &Path, offset: u64, length: u64) -> Result<Vec<u8>, StoreError> {
    let length = usize::try_from(length).map_err(|_| StoreError::corrupt(path, offset, "a section is too long"))?;
    let mut out = vec![0; length];
    file.read_at(&mut out, offset).map_err(StoreError::io("reading", path))?;
    Ok(out)
}

/// Reads the footer, or its copy where it is damaged; also returns where it is.
fn read_footer(file: &dyn DiskFile, path: &Path, bytes: u64) -> Result<(Vec<Section>, u64), StoreError> {
    let corrupt = |offset: u64, reason: &str| StoreError::corrupt(path, offset, reason);
    let tail_at = bytes - FOOTER_TAIL_BYTES as u64;
    let tail = read_at(file, path, tail_at, FOOTER_TAIL_BYTES as u64)?;
    let known = footer_len(&tail).map(|length| length as u64).filter(|length| *length <= bytes);
    if let Some(length) = known
        && let Some(sections) = decode_footer(&read_at(file, path, bytes - length, length)?)
    {
        return Ok((sections, bytes - length));
    }
    // The copy lies before the footer and is as long; how long, only its own end tells.
    for length in (1..=SECTIONS_MAX).map(|sections| footer_bytes(sections) as u64).filter(|length| length * 2 <= bytes) {
        let copy = read_at(file, path, bytes - length * 2, length)?;
        if footer_len(&copy) == Some(copy.len())
            && let Some(sections) = decode_footer(&copy)
        {
            tracing::error!(block = %path.display(), "the footer is damaged; its copy is used");
            return Ok((sections, bytes - length * 2));
        }
    }
    Err(corrupt(tail_at, "the footer is damaged"))
}

/// Reads the header, or its copy where it is damaged.
fn read_header(file: &dyn DiskFile, path: &Path, sections: &[Section]) -> Result<Header, StoreError> {
    let told = |fault: Fault| match fault {
        Fault::Damaged(reason) => StoreError::corrupt(path, 0, reason),
        Fault::Version(version) => {
            let (found, expected) = (format!("version {version}"), "version 1 or 2".to_owned());
            StoreError::Format { file: path.to_owned(), found, expected }
        }
    };
    let fault = match Header::decode(&read_at(file, path, 0, HEADER_BYTES as u64)?) {
        Ok(header) => return Ok(header),
        Err(fault) => fault,
    };
    let copy = sections.iter().find(|section| section.tag == *b"HEAD" && section.length == HEADER_BYTES as u64);
    if let (Fault::Damaged(reason), Some(copy)) = (&fault, copy)
        && let Ok(bytes) = read_at(file, path, copy.offset, copy.length)
        && let Ok(header) = Header::decode(&bytes)
    {
        tracing::error!(block = %path.display(), reason, "the header is damaged; its copy is used");
        return Ok(header);
    }
    Err(told(fault))
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
        let (sections, sections_at) = read_footer(&*file, path, bytes)?;
        let header = read_header(&*file, path, &sections)?;
        // Deletions and parents are known by the name.
        let named = path.file_name().and_then(|name| Ulid::parse(name.to_string_lossy().strip_suffix(".blk")?));
        if named.is_some_and(|named| named != header.ulid) {
            return Err(corrupt(HEADER_ULID, &format!("the file has another block's name: it is {}", header.ulid)));
        }
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
        block.meta = read_meta(&block.section(b"META")?).ok_or_else(|| corrupt(sections_at, "META is damaged"))?;
        block.pages = block.page_offsets().ok_or_else(|| corrupt(sections_at, "PAGE is damaged"))?;
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
        let mut bytes = read_at(&*self.file, &self.path, section.offset, section.length)?;
        if crc32c::crc32c(&bytes) != section.crc {
            let bad = || StoreError::corrupt(&self.path, section.offset, format!("bad checksum of section {}", name()));
            bytes = self.mended(section)?.ok_or_else(bad)?;
            tracing::error!(block = %self.path.display(), section = name(), "a section is damaged; it was mended by the block's parity");
        }
        if self.header.version == 1 || matches!(tag, b"HEAD" | b"PARI") {
            return Ok(bytes);
        }
        let damaged = || StoreError::corrupt(&self.path, section.offset, format!("section {} cannot be decompressed", name()));
        plain_section(bytes).ok_or_else(damaged)
    }

    /// Checks header, footer, every section and the tombstones, and what stands twice both times.
    pub(crate) fn check_parts(&self, env: &Env) -> Vec<Flaw> {
        let flaw =
            |offset: u64, reason: &str, mended| Flaw { path: self.path.clone(), offset, reason: reason.to_owned(), mended };
        let check = |section: &Section| match self.section(&section.tag) {
            Ok(_) if self.is_whole(section) => None,
            Ok(_) => Some(flaw(section.offset, "bad checksum of a section, which the block's parity mends", true)),
            Err(StoreError::Corrupt { offset, reason, .. }) => Some(flaw(offset, &reason, false)),
            Err(error) => Some(flaw(section.offset, &error.to_string(), false)),
        };
        let copies = if self.header.version == 1 { 1 } else { 2 };
        let footer = encode_footer(&self.sections);
        let length = footer.len() as u64;
        let footers = (1..=copies).filter_map(|copy| {
            let at = self.bytes.saturating_sub(copy * length);
            let same = read_at(&*self.file, &self.path, at, length).is_ok_and(|found| found == footer);
            (!same).then(|| flaw(at, "a damaged footer, whose copy is used", true))
        });
        let header = read_at(&*self.file, &self.path, 0, HEADER_BYTES as u64);
        let same = header.is_ok_and(|bytes| Header::decode(&bytes).as_ref() == Ok(&self.header));
        let header = (!same).then(|| flaw(0, "a damaged header, whose copy is used", true));
        let path = self.tombstones_path();
        let deleted =
            (!self.tombstones().is_empty() && !env.disk.read(&path).is_ok_and(|bytes| Tombstones::is_whole(&bytes))).then(|| {
                Flaw { path, offset: 0, reason: "a damaged copy of the tombstones; the other is used".to_owned(), mended: true }
            });
        header.into_iter().chain(self.sections.iter().filter_map(check)).chain(footers).chain(deleted).collect()
    }

    /// Returns whether a section's bytes are as they were written.
    fn is_whole(&self, section: &Section) -> bool {
        read_at(&*self.file, &self.path, section.offset, section.length).is_ok_and(|bytes| crc32c::crc32c(&bytes) == section.crc)
    }

    /// Returns where a page lies in the file.
    pub(crate) fn page_place(&self, number: u32) -> std::ops::Range<u64> {
        let at = |number: usize| self.pages.get(number).copied().unwrap_or(self.bytes);
        at(number as usize)..at(number as usize + 1)
    }

    /// Computes a damaged section from the rest of the index; `None` where too much is damaged.
    fn mended(&self, section: &Section) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(place) = self.sections.iter().find(|section| section.tag == *b"PARI") else { return Ok(None) };
        if place.offset.checked_add(place.length).is_none_or(|end| end > self.bytes) {
            return Ok(None);
        }
        let stored = read_at(&*self.file, &self.path, place.offset, place.length)?;
        let parity = if crc32c::crc32c(&stored) == place.crc { Parity::read(&stored) } else { None };
        let Some(parity) = parity.filter(|parity| parity.offset.checked_add(parity.length).is_some_and(|end| end <= self.bytes))
        else {
            return Ok(None);
        };
        let mut region = read_at(&*self.file, &self.path, parity.offset, parity.length)?;
        if !parity.mend(&mut region) {
            return Ok(None);
        }
        let from = section.offset.checked_sub(parity.offset).and_then(|from| usize::try_from(from).ok());
        let part = from.and_then(|from| region.get(from..from.checked_add(usize::try_from(section.length).ok()?)?));
        Ok(part.filter(|part| crc32c::crc32c(part) == section.crc).map(<[u8]>::to_vec))
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

    /// Notes that a page has grown by what is kept beside it.
    pub(crate) fn grown(&self, page: u32, bytes: usize) {
        self.cache.grown(Key::Page(self.header.ulid, page), bytes);
    }

    /// Keeps the series of an index at hand for those who ask for many, where that takes no large part of the cache.
    pub(crate) fn unfold(&self, index: &BlockIndex) {
        let bytes = self.header.columns as usize * size_of::<ColumnRef>() + index.series_count() as usize * SERIES_BYTES;
        if bytes <= self.cache.bytes_max() / UNFOLDED_SHARE {
            match index.unfold() {
                0 => {}
                grown => self.cache.grown(Key::Index(self.header.ulid), grown),
            }
        }
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

    /// Notes that something else than a page could not be read.
    pub(crate) fn note_bad(&self, reason: &str) {
        self.note_bad_page(u32::MAX, reason);
    }

    /// Returns whether everything that was asked for so far could be read.
    pub(crate) fn is_sound(&self) -> bool {
        lock(&self.bad_pages).is_empty()
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
