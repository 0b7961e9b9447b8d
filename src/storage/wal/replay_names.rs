//! Texts and series of the names log on their way into the registry: work of its own, since rows need no label. A start does it
//! beside the rows of the first segment.

use super::names::{Entry, read_entry};
use crate::storage::column::varint::ByteReader;
use crate::storage::index::registry::Registry;
use std::collections::BTreeMap;
use std::ops::Range;

/// A series takes about so much of a names log, or more: tables begin with room for what may come.
const SERIES_BYTES: usize = 32;

/// A names log whose groups and layouts were read.
#[derive(Debug, Default)]
pub(super) struct NamesFile {
    /// All of it.
    pub(super) bytes: Vec<u8>,
    /// Where the payloads of its good records are.
    pub(super) records: Vec<Range<usize>>,
}

/// Puts texts and series of all files, in order, into an empty registry. Returns how many records could not be used whole.
pub(super) fn define(registry: &mut Registry, files: &[NamesFile]) -> u64 {
    registry.reserve(files.iter().map(|file| file.bytes.len()).max().unwrap_or(0) / SERIES_BYTES);
    let mut defining = Defining { registry, same_texts: BTreeMap::new(), pairs: Vec::new() };
    let payloads = files.iter().flat_map(|file| file.records.iter().filter_map(|place| file.bytes.get(place.clone())));
    payloads.map(|payload| u64::from(!defining.record(payload))).sum()
}

struct Defining<'a> {
    registry: &'a mut Registry,
    /// Texts that were forgotten and came back: their later number, and the one that they have here.
    same_texts: BTreeMap<u32, u32>,
    pairs: Vec<(u32, u32)>,
}

impl Defining<'_> {
    /// Returns whether all of a record could be used.
    fn record(&mut self, payload: &[u8]) -> bool {
        let mut bytes = ByteReader::new(payload);
        let mut whole = true;
        while !bytes.is_empty() {
            // Whoever read the groups has told of bytes that mean nothing.
            let Some(entry) = read_entry(&mut bytes) else { return whole };
            match entry {
                // What a lost entry named is missing in some that follow; the others are as good as ever.
                Entry::Symbol(number, text) => whole &= self.symbol(number, text).is_some(),
                Entry::Series(id, pairs) => {
                    self.pairs.clear();
                    self.pairs.extend(pairs.iter());
                    whole &= self.series(id.0).is_some();
                }
                // Series whose own definition was lost keep their numbers.
                Entry::Layout(_, _, _, series) => {
                    if let Some(newest) = series.iter().max() {
                        self.registry.skip_to(newest.0.saturating_add(1));
                    }
                }
                Entry::Group(..) => {}
            }
        }
        whole
    }

    fn symbol(&mut self, number: u32, text: &str) -> Option<()> {
        let known = self.registry.intern_as(number, text)?;
        if known != number {
            self.same_texts.insert(number, known);
        }
        Some(())
    }

    fn series(&mut self, id: u32) -> Option<()> {
        if !self.same_texts.is_empty() {
            for symbol in self.pairs.iter_mut().flat_map(|(name, value)| [name, value]) {
                *symbol = self.same_texts.get(symbol).copied().unwrap_or(*symbol);
            }
        }
        if id >= self.registry.next() { self.registry.insert(id, &self.pairs) } else { Some(()) }
    }
}
