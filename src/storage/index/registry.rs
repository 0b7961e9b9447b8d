//! Every series of the head: its number, its labels, its posting lists.
//!
//! Label names and values are interned, so are pairs of them; a series is a handful of varint pair numbers in one long
//! byte list. Together with the hash table and the posting lists that is 45 to 60 bytes for a series.

use super::postings::Postings;
use super::symbols::{LOST_MAX, Symbols, grow};
use crate::model::labels::Labels;
use crate::storage::append::SeriesId;
use crate::storage::column::varint::{ByteReader, put_varint};
use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashTable};
use roaring::RoaringBitmap;
use std::hash::BuildHasher as _;

/// The number of a label pair.
pub(crate) type PairId = u32;

/// A label pair: its texts and who carries it.
#[derive(Debug)]
struct Pair {
    name: u32,
    value: u32,
    postings: Postings,
}

/// Returns the hash of a label pair that is the same in the head and in every block of one run of the program.
pub(crate) fn pair_hash(name: &str, value: &str) -> u64 {
    let name = xxhash_rust::xxh3::xxh3_64(name.as_bytes());
    xxhash_rust::xxh3::xxh3_64_with_seed(value.as_bytes(), name)
}

/// Returns the hash of a label set from the hashes of its pairs in order.
pub(crate) fn label_set_hash(pairs: impl Iterator<Item = u64>) -> u64 {
    const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
    let mix = |hash: u64, pair: u64| {
        let mixed = (hash.rotate_left(29) ^ pair).wrapping_mul(MULTIPLIER);
        mixed ^ (mixed >> 32)
    };
    pairs.fold(0, mix)
}

/// The registry. Numbers are given in order and never reused.
#[derive(Debug)]
pub(crate) struct Registry {
    symbols: Symbols,
    pairs: Vec<Pair>,
    pair_table: HashTable<PairId>,
    /// Pairs of each label name (symbol number), in order of their making.
    by_name: HashMap<u32, Vec<PairId>, FixedState>,
    packed: Vec<u8>,
    /// Where each series' bytes end in `packed`.
    ends: Vec<u32>,
    table: HashTable<u32>,
    live: RoaringBitmap,
    hasher: FixedState,
}

/// A series that was made, as the names log says it.
#[derive(Debug)]
pub(crate) struct Made {
    /// Its number.
    pub(crate) id: SeriesId,
    /// Its label pairs.
    pub(crate) pairs: Vec<(u32, u32)>,
    /// Symbols from this number on are new.
    pub(crate) symbols_before: usize,
}

impl Registry {
    /// Returns an empty registry; `seed` keys its hashes.
    pub(crate) fn new(seed: u64) -> Self {
        let hasher = FixedState::with_seed(seed);
        Self {
            symbols: Symbols::new(seed),
            pairs: Vec::new(),
            pair_table: HashTable::new(),
            by_name: HashMap::with_hasher(FixedState::with_seed(seed)),
            packed: Vec::new(),
            ends: Vec::new(),
            table: HashTable::new(),
            live: RoaringBitmap::new(),
            hasher,
        }
    }

    /// Returns the interned texts.
    pub(crate) const fn symbols(&self) -> &Symbols {
        &self.symbols
    }

    /// Returns the numbers of all series.
    pub(crate) const fn live(&self) -> &RoaringBitmap {
        &self.live
    }

    /// Returns the number that the next series will have.
    pub(crate) const fn next(&self) -> u32 {
        self.ends.len() as u32
    }

    fn pair_hash(&self, name: u32, value: u32) -> u64 {
        self.hasher.hash_one((name, value))
    }

    /// Returns the number of a pair of symbols.
    pub(crate) fn find_pair(&self, name: u32, value: u32) -> Option<PairId> {
        let hash = self.pair_hash(name, value);
        let is_it = |pair: &PairId| {
            let pair = &self.pairs[*pair as usize];
            pair.name == name && pair.value == value
        };
        self.pair_table.find(hash, is_it).copied()
    }

    /// Returns the pairs of a label name.
    pub(crate) fn pairs_of(&self, name: &str) -> &[PairId] {
        self.symbols.find(name).and_then(|name| self.by_name.get(&name)).map_or(&[], Vec::as_slice)
    }

    /// Returns all label names with their pairs, in no order.
    pub(crate) fn names(&self) -> impl Iterator<Item = (&str, &[PairId])> {
        self.by_name.iter().map(|(name, pairs)| (self.symbols.get(*name), pairs.as_slice()))
    }

    /// Returns the value of a pair.
    pub(crate) fn value_of(&self, pair: PairId) -> &str {
        self.pairs.get(pair as usize).map_or("", |pair| self.symbols.get(pair.value))
    }

    /// Returns who carries a pair.
    pub(crate) fn postings(&self, pair: PairId) -> &Postings {
        const NOBODY: &Postings = &Postings::None;
        self.pairs.get(pair as usize).map_or(NOBODY, |pair| &pair.postings)
    }

    fn add_pair(&mut self, name: u32, value: u32) -> PairId {
        if let Some(known) = self.find_pair(name, value) {
            return known;
        }
        let number = self.pairs.len() as PairId;
        grow(&mut self.pairs);
        self.pairs.push(Pair { name, value, postings: Postings::None });
        let Self { pairs, pair_table, hasher, .. } = self;
        let hash_of = |pair: &PairId| {
            let pair = &pairs[*pair as usize];
            hasher.hash_one((pair.name, pair.value))
        };
        pair_table.insert_unique(hash_of(&number), number, hash_of);
        let list = self.by_name.entry(name).or_default();
        grow(list);
        list.push(number);
        number
    }

    fn packed_of(&self, id: u32) -> &[u8] {
        packed_at(&self.packed, &self.ends, id)
    }

    /// Walks the pairs of a series in order of label names.
    pub(crate) fn pairs_of_series(&self, id: SeriesId) -> impl Iterator<Item = PairId> {
        let mut bytes = ByteReader::new(self.packed_of(id.0));
        std::iter::from_fn(move || bytes.varint_u32())
    }

    /// Returns the pairs of a series as symbols.
    pub(crate) fn symbol_pairs(&self, id: SeriesId) -> Vec<(u32, u32)> {
        self.pairs_of_series(id).filter_map(|pair| self.pairs.get(pair as usize)).map(|pair| (pair.name, pair.value)).collect()
    }

    /// Walks the labels of a series in order of names.
    pub(crate) fn labels_of(&self, id: SeriesId) -> impl Iterator<Item = (&str, &str)> {
        self.pairs_of_series(id).filter_map(|pair| self.pairs.get(pair as usize)).map(|pair| {
            let texts = &self.symbols;
            (texts.get(pair.name), texts.get(pair.value))
        })
    }

    /// Returns the labels of a series; none for a number that was never given.
    pub(crate) fn labels(&self, id: SeriesId) -> Labels {
        Labels::from_sorted(self.labels_of(id))
    }

    /// Returns the hash of a series' label set that is the same in every block.
    pub(crate) fn hash_of(&self, id: SeriesId) -> u64 {
        label_set_hash(self.labels_of(id).map(|(name, value)| pair_hash(name, value)))
    }

    /// Returns the texts of a pair.
    pub(crate) fn pair_text(&self, pair: PairId) -> (&str, &str) {
        self.pairs.get(pair as usize).map_or(("", ""), |pair| (self.symbols.get(pair.name), self.symbols.get(pair.value)))
    }

    /// Returns the value of one label of a series.
    pub(crate) fn label<'a>(&'a self, id: SeriesId, name: &str) -> &'a str {
        self.labels_of(id).find(|(known, _)| *known == name).map_or("", |(_, value)| value)
    }

    fn pack(&self, labels: &Labels) -> Option<Vec<u8>> {
        let mut packed = Vec::with_capacity(24);
        for (name, value) in labels {
            let pair = self.find_pair(self.symbols.find(name)?, self.symbols.find(value)?)?;
            put_varint(&mut packed, u64::from(pair));
        }
        Some(packed)
    }

    /// Returns the number of a label set.
    pub(crate) fn find(&self, labels: &Labels) -> Option<SeriesId> {
        let packed = self.pack(labels)?;
        let hash = self.hasher.hash_one(packed.as_slice());
        self.table.find(hash, |id| self.packed_of(*id) == packed).copied().map(SeriesId)
    }

    /// Makes a series that [`Self::find`] does not know; `None` when a table is full.
    pub(crate) fn make(&mut self, labels: &Labels) -> Option<Made> {
        let symbols_before = self.symbols.len();
        let mut pairs = Vec::with_capacity(8);
        for (name, value) in labels {
            pairs.push((self.symbols.intern(name)?, self.symbols.intern(value)?));
        }
        let id = u32::try_from(self.ends.len()).ok().filter(|id| *id < u32::MAX)?;
        self.insert(id, &pairs)?;
        Some(Made { id: SeriesId(id), pairs, symbols_before })
    }

    /// Interns a text under the number that the names log gives it; `None` where that does not follow.
    pub(crate) fn intern_as(&mut self, number: u32, text: &str) -> Option<()> {
        if number < self.symbols.len() as u32 {
            return (self.symbols.get(number) == text).then_some(());
        }
        self.symbols.skip_to(number);
        if self.symbols.len() != number as usize {
            return None;
        }
        (self.symbols.intern(text)? == number).then_some(())
    }

    /// Returns whether a number is a series with labels.
    pub(crate) fn has(&self, id: SeriesId) -> bool {
        self.live.contains(id.0)
    }

    /// Never gives numbers below `next`: something that was lost had them. Does nothing where that cannot be true.
    pub(crate) fn skip_to(&mut self, next: u32) {
        if self.next() < next && next - self.next() <= LOST_MAX {
            self.ends.resize(next as usize, self.packed.len() as u32);
        }
    }

    /// Puts a series under its number, which must not be below [`Self::next`]; pairs are sorted by name.
    pub(crate) fn insert(&mut self, id: u32, pairs: &[(u32, u32)]) -> Option<()> {
        self.skip_to(id);
        if self.next() != id {
            return None;
        }
        let lost = |symbol: &u32| self.symbols.get(*symbol).is_empty();
        if pairs.iter().any(|(name, value)| lost(name) || lost(value)) {
            self.skip_to(id.saturating_add(1));
            return None;
        }
        if self.packed.capacity() - self.packed.len() < 64 {
            let step = if self.packed.len() < 1 << 16 { self.packed.len() } else { self.packed.len() / 8 };
            self.packed.reserve_exact(step.max(256));
        }
        for (name, value) in pairs {
            let pair = self.add_pair(*name, *value);
            self.pairs[pair as usize].postings.insert(id);
            put_varint(&mut self.packed, u64::from(pair));
        }
        grow(&mut self.ends);
        self.ends.push(u32::try_from(self.packed.len()).ok()?);
        let Self { packed, ends, table, hasher, .. } = self;
        let hash_of = |id: &u32| hasher.hash_one(packed_at(packed, ends, *id));
        table.insert_unique(hash_of(&id), id, hash_of);
        self.live.insert(id);
        Some(())
    }

    /// Returns the bytes of memory held, about.
    pub(crate) fn memory_bytes(&self) -> usize {
        let postings: usize = self.pairs.iter().map(|pair| pair.postings.memory_bytes()).sum();
        self.symbols.memory_bytes()
            + self.pairs.capacity() * size_of::<Pair>()
            + self.pair_table.allocation_size()
            + self.packed.capacity()
            + self.ends.capacity() * 4
            + self.table.allocation_size()
            + postings
    }

    /// Turns wide posting lists into runs where that is smaller.
    pub(crate) fn optimize(&mut self) {
        for pair in &mut self.pairs {
            pair.postings.optimize();
        }
        self.live.optimize();
    }
}

fn packed_at<'a>(packed: &'a [u8], ends: &[u32], id: u32) -> &'a [u8] {
    let id = id as usize;
    let start = if id == 0 { 0 } else { ends.get(id - 1).copied().unwrap_or(0) };
    let end = ends.get(id).copied().unwrap_or(start);
    packed.get(start as usize..end as usize).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_found_and_come_back() {
        let mut registry = Registry::new(1);
        let set = |i: usize| Labels::from_pairs([("__name__", format!("m{}", i % 10)), ("instance", format!("i{}", i / 10))]);
        for i in 0..500 {
            assert_eq!(registry.find(&set(i)), None);
            let made = registry.make(&set(i)).expect("room");
            assert_eq!(made.id, SeriesId(i as u32));
        }
        for i in 0..500 {
            let id = registry.find(&set(i)).expect("known");
            assert_eq!(registry.labels(id), set(i));
            assert_eq!(registry.label(id, "__name__"), format!("m{}", i % 10));
        }
        assert_eq!(registry.live().len(), 500);
        assert_eq!(registry.pairs_of("__name__").len(), 10);
        assert_eq!(registry.labels(SeriesId(9999)), Labels::empty());
        assert_eq!(registry.find(&Labels::empty()), None);
        registry.optimize();
    }

    #[test]
    fn numbers_may_have_gaps() {
        let mut registry = Registry::new(1);
        assert_eq!(registry.intern_as(0, "a").and(registry.intern_as(1, "b")), Some(()));
        assert_eq!(registry.intern_as(0, "d"), None);
        assert_eq!(registry.insert(7, &[(0, 1)]), Some(()));
        assert_eq!(registry.find(&Labels::from_pairs([("a", "b")])), Some(SeriesId(7)));
        assert_eq!(registry.labels(SeriesId(3)), Labels::empty());
        assert_eq!(registry.next(), 8);
    }
}
