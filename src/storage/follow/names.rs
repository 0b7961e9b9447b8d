//! What the numbers in followed rows mean. Layouts come from the head, which has the newest, else from the names logs; labels of
//! series that the store has forgotten from the names logs alone, those of segments that are kept among them.

use super::kept;
use crate::model::labels::Labels;
use crate::storage::append::{GroupId, SeriesId};
use crate::storage::column::varint::ByteReader;
use crate::storage::error::StoreError;
use crate::storage::head::read;
use crate::storage::store::Inner;
use crate::storage::wal::files::{file_name, numbers};
use crate::storage::wal::names::{DEFINITIONS, Entry, read_entry};
use crate::storage::wal::segment::{NAMES_MAGIC, Records, read_header};
use hashbrown::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;
type Layout = Arc<[SeriesId]>;

/// Names that the head does not have.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Layouts by group: ascending versions; those below one that was asked for are gone.
    layouts: Map<u32, Vec<(u32, Layout)>>,
    /// Up to where the names logs were read for layouts.
    read_to: Option<(u64, usize)>,
    forgotten: Option<Forgotten>,
}

/// Labels of the series that the registry had forgotten when the names logs were read.
#[derive(Debug, Default)]
struct Forgotten {
    symbols: Map<u32, Box<str>>,
    series: Map<u32, Box<[(u32, u32)]>>,
    /// The registry's count of changes at that time.
    changes: u64,
}

/// Returns all names logs, oldest first.
fn files(inner: &Inner) -> Result<Vec<(u64, PathBuf)>, StoreError> {
    let mut found = Vec::new();
    for folder in [inner.options.dir.join("names"), inner.options.dir.join(kept::NAMES_FOLDER)] {
        match numbers(&*inner.env.disk, &folder) {
            Ok(listed) => found.extend(listed.into_iter().map(|number| (number, folder.join(file_name(number))))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(StoreError::io("listing", &folder)(error)),
        }
    }
    found.sort();
    found.dedup_by_key(|(number, _)| *number);
    Ok(found)
}

/// Reads a names log that may be moved meanwhile; `None` where it is gone or is none.
fn read_file(inner: &Inner, number: u64, path: &PathBuf) -> Result<Option<Vec<u8>>, StoreError> {
    let moved = inner.options.dir.join(kept::NAMES_FOLDER).join(file_name(number));
    for path in [path, &moved] {
        match inner.env.disk.read(path) {
            Ok(bytes) => return Ok(Some(bytes).filter(|bytes| read_header(NAMES_MAGIC, bytes) == Ok(number))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(StoreError::io("reading", path)(error)),
        }
    }
    Ok(None)
}

/// Walks the entries of the definitions in a names log from an offset on; returns the offset behind the last good record.
fn entries<'a>(bytes: &'a [u8], number: u64, from: usize, mut each: impl FnMut(Entry<'a>)) -> usize {
    let mut records = Records::new(bytes, number);
    if from > 0 {
        records = Records::from(bytes, number, from);
    }
    loop {
        for record in records.by_ref().filter(|record| record.kind == DEFINITIONS) {
            let mut body = ByteReader::new(record.payload);
            while let Some(entry) = (!body.is_empty()).then(|| read_entry(&mut body)).flatten() {
                each(entry);
            }
        }
        let behind = records.offset();
        records.skip_damage();
        if records.offset() == behind {
            return behind as usize;
        }
    }
}

impl Names {
    /// Returns a layout; `None` where nobody knows it.
    pub(super) fn layout(&mut self, inner: &Inner, group: u32, version: u32) -> Option<Layout> {
        if let Some(known) = self.take_known(group, version) {
            return Some(known);
        }
        if let Some(known) = inner.head.group(GroupId(group)) {
            let state = known.lock();
            // That of a group whose series were forgotten is empty.
            if state.version == version && !state.layout.is_empty() {
                return Some(Arc::clone(&state.layout));
            }
        }
        if let Err(error) = self.read_on(inner) {
            tracing::warn!(error = &error as &dyn std::error::Error, "the names of the log could not be read");
        }
        self.take_known(group, version)
    }

    fn take_known(&mut self, group: u32, version: u32) -> Option<Layout> {
        let known = self.layouts.get_mut(&group)?;
        let place = known.iter().position(|(listed, _)| *listed == version)?;
        // Rows come in the order of their versions.
        known.drain(..place);
        known.first().map(|(_, layout)| Arc::clone(layout))
    }

    /// Reads the layouts that were defined since the last look.
    fn read_on(&mut self, inner: &Inner) -> Result<(), StoreError> {
        for (number, path) in files(inner)? {
            let from = match self.read_to {
                Some((last, _)) if number < last => continue,
                Some((last, offset)) if number == last => offset,
                _ => 0,
            };
            let Some(bytes) = read_file(inner, number, &path)? else { continue };
            let layouts = &mut self.layouts;
            let end = entries(&bytes, number, from, |entry| {
                if let Entry::Layout(group, version, kept, series) = entry {
                    let versions = layouts.entry(group.0).or_default();
                    let before = versions.last().map_or(&[][..], |(_, layout)| layout);
                    if versions.iter().all(|(known, _)| *known != version)
                        && let Some(stays) = before.get(..kept)
                    {
                        let layout = stays.iter().copied().chain(series).collect();
                        versions.push((version, layout));
                    }
                }
            });
            self.read_to = Some((number, end));
        }
        Ok(())
    }

    /// Returns the labels of a series that the registry does not have; `changes`: its count of changes.
    pub(super) fn forgotten(&mut self, inner: &Inner, series: SeriesId, changes: u64) -> Result<Option<Labels>, StoreError> {
        let is_known = |forgotten: &Forgotten| forgotten.series.contains_key(&series.0) || forgotten.changes == changes;
        if !self.forgotten.as_ref().is_some_and(is_known) {
            self.forgotten = Some(Forgotten::read(inner, changes)?);
        }
        Ok(self.forgotten.as_ref().and_then(|forgotten| forgotten.labels(series)))
    }

    /// Forgets what only a follower needs that is behind.
    pub(super) fn forget(&mut self) {
        self.forgotten = None;
    }
}

impl Forgotten {
    fn read(inner: &Inner, changes: u64) -> Result<Self, StoreError> {
        let mut found = Self { changes, ..Self::default() };
        let live = read(&inner.head.registry).live().clone();
        for (number, path) in files(inner)? {
            let Some(bytes) = read_file(inner, number, &path)? else { continue };
            let mut texts: Map<u32, &str> = Map::default();
            entries(&bytes, number, 0, |entry| match entry {
                Entry::Symbol(number, text) => {
                    texts.insert(number, text);
                }
                Entry::Series(series, pairs) if !live.contains(series.0) => {
                    let pairs: Box<[(u32, u32)]> = pairs.iter().collect();
                    for symbol in pairs.iter().flat_map(|(name, value)| [*name, *value]) {
                        if let Some(text) = texts.get(&symbol).filter(|_| !found.symbols.contains_key(&symbol)) {
                            found.symbols.insert(symbol, Box::from(*text));
                        }
                    }
                    found.series.insert(series.0, pairs);
                }
                Entry::Series(..) | Entry::Group(..) | Entry::Layout(..) => {}
            });
        }
        Ok(found)
    }

    fn labels(&self, series: SeriesId) -> Option<Labels> {
        let pairs = self.series.get(&series.0)?;
        let text = |symbol: u32| self.symbols.get(&symbol).map(AsRef::as_ref);
        let labels: Option<Vec<(&str, &str)>> = pairs.iter().map(|(name, value)| Some((text(*name)?, text(*value)?))).collect();
        labels.map(Labels::from_pairs)
    }
}
