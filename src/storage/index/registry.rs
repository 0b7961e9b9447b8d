//! Every series of the head: its number, its labels, its posting lists.
//!
//! Label names and values are interned, so are pairs of them; a series is a handful of varint pair numbers. Together with hashes, hash table and posting lists that is 50 to 65 bytes for a series.
//!
//! A series is found by the keyed 64-bit hash of its label set's encoded form ([`super::encoded`]), which senders already
//! have on the wire: for a series that is known no label is looked at.

use super::encoded::{SetHasher, put_label};
use super::postings::Postings;
use super::series_table::SeriesTable;
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
    /// [`pair_hash`] of its texts.
    hash: u64,
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
    /// Pairs that nobody carries any more: their numbers are given again.
    free_pairs: Vec<PairId>,
    /// Pairs and hash of the encoded label set of each series.
    series: SeriesTable,
    next: u32,
    table: HashTable<u32>,
    live: RoaringBitmap,
    doubled: bool,
    /// How often series were made or forgotten.
    changes: u64,
    hasher: FixedState,
    sets: SetHasher,
    /// The encoded and the packed form of the series that is being put in.
    scratch: (Vec<u8>, Vec<u8>),
}

/// A series that was made, as the names log says it.
#[derive(Debug)]
pub(crate) struct Made {
    /// Its number.
    pub(crate) id: SeriesId,
    /// Its label pairs.
    pub(crate) pairs: Vec<(u32, u32)>,
    /// Symbols from this number on are new.
    pub(crate) symbols_before: u32,
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
            free_pairs: Vec::new(),
            series: SeriesTable::default(),
            next: 0,
            table: HashTable::new(),
            live: RoaringBitmap::new(),
            doubled: false,
            changes: 0,
            hasher,
            sets: SetHasher::new(seed),
            scratch: Default::default(),
        }
    }

    /// Makes room for series.
    pub(crate) fn reserve(&mut self, more: usize) {
        let Self { series, table, .. } = self;
        table.reserve(more, |id| series.hash(*id));
    }

    /// Returns the interned texts.
    pub(crate) const fn symbols(&self) -> &Symbols {
        &self.symbols
    }

    /// Returns the numbers of all series.
    pub(crate) const fn live(&self) -> &RoaringBitmap {
        &self.live
    }

    /// Returns whether a label set may have two numbers: it was forgotten and came back, and the log read back at the start
    /// still has rows under the first.
    pub(crate) const fn is_doubled(&self) -> bool {
        self.doubled
    }

    /// Returns how often series were made or forgotten.
    pub(crate) const fn changes(&self) -> u64 {
        self.changes
    }

    /// Returns the number that the next series will have.
    pub(crate) const fn next(&self) -> u32 {
        self.next
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
        let hash = pair_hash(self.symbols.get(name), self.symbols.get(value));
        let fresh = Pair { name, value, hash, postings: Postings::None };
        let number = if let Some(number) = self.free_pairs.pop() {
            self.pairs[number as usize] = fresh;
            number
        } else {
            grow(&mut self.pairs);
            self.pairs.push(fresh);
            (self.pairs.len() - 1) as PairId
        };
        self.symbols.hold(name);
        self.symbols.hold(value);
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

    /// Walks the pairs of a series in order of label names.
    pub(crate) fn pairs_of_series(&self, id: SeriesId) -> impl Iterator<Item = PairId> {
        let mut bytes = ByteReader::new(self.series.packed(id.0));
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
        label_set_hash(self.pairs_of_series(id).map(|pair| self.pairs.get(pair as usize).map_or(0, |pair| pair.hash)))
    }

    /// Returns the texts of a pair.
    pub(crate) fn pair_text(&self, pair: PairId) -> (&str, &str) {
        self.pairs.get(pair as usize).map_or(("", ""), |pair| (self.symbols.get(pair.name), self.symbols.get(pair.value)))
    }

    /// Returns the value of one label of a series.
    pub(crate) fn label<'a>(&'a self, id: SeriesId, name: &str) -> &'a str {
        self.labels_of(id).find(|(known, _)| *known == name).map_or("", |(_, value)| value)
    }

    fn find_hash(&self, hash: u64) -> Option<u32> {
        self.table.find(hash, |id| self.series.hash(*id) == hash).copied()
    }

    /// Returns the number of a label set.
    pub(crate) fn find(&self, labels: &Labels) -> Option<SeriesId> {
        let mut encoded = Vec::with_capacity(256);
        for (name, value) in labels {
            put_label(&mut encoded, name, value);
        }
        let hash = self.sets.hash(&encoded);
        let is_it = |id: &u32| self.series.hash(*id) == hash && self.labels_of(SeriesId(*id)).eq(labels);
        self.table.find(hash, is_it).copied().map(SeriesId)
    }

    /// Looks up label sets in their encoded form, sorted by name and without doubles; adds one answer for each. Senders
    /// keep their order, so the series behind the last one is tried first.
    pub(crate) fn find_encoded(&self, sets: &[&[u8]], found: &mut Vec<Option<SeriesId>>) {
        let mut next = 0_u32;
        found.extend(sets.iter().map(|encoded| {
            if encoded.is_empty() {
                return None;
            }
            let hash = self.sets.hash(encoded);
            let id = if self.series.hash(next) == hash { next } else { self.find_hash(hash)? };
            next = id + 1;
            Some(SeriesId(id))
        }));
    }

    /// Makes a series that [`Self::find`] does not know; `None` when a table is full.
    pub(crate) fn make(&mut self, labels: &Labels) -> Option<Made> {
        let symbols_before = self.symbols.next();
        let mut pairs = Vec::with_capacity(8);
        for (name, value) in labels {
            pairs.push((self.symbols.intern(name)?, self.symbols.intern(value)?));
        }
        let id = Some(self.next).filter(|id| *id < u32::MAX)?;
        self.insert(id, &pairs)?;
        Some(Made { id: SeriesId(id), pairs, symbols_before })
    }

    /// Interns a text that the names log numbers; returns the number that it has here. That is another one where the text
    /// was forgotten and came back. `None` where the number is another text's.
    pub(crate) fn intern_as(&mut self, number: u32, text: &str) -> Option<u32> {
        if let Some(known) = self.symbols.find(text) {
            self.symbols.skip_to(number + 1);
            return Some(known);
        }
        if number < self.symbols.next() {
            return None;
        }
        self.symbols.skip_to(number);
        if self.symbols.next() != number {
            return None;
        }
        self.symbols.intern(text)
    }

    /// Returns whether a number is a series with labels.
    pub(crate) fn has(&self, id: SeriesId) -> bool {
        self.live.contains(id.0)
    }

    /// Never gives numbers below `next`: something that was lost had them. Does nothing where that cannot be true.
    pub(crate) fn skip_to(&mut self, next: u32) {
        if self.next < next && next - self.next <= LOST_MAX {
            self.next = next;
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
        let (mut encoded, mut packed) = std::mem::take(&mut self.scratch);
        encoded.clear();
        packed.clear();
        for (name, value) in pairs {
            let pair = self.add_pair(*name, *value);
            self.pairs[pair as usize].postings.insert(id);
            put_varint(&mut packed, u64::from(pair));
            put_label(&mut encoded, self.symbols.get(*name), self.symbols.get(*value));
        }
        let hash = self.sets.hash(&encoded);
        self.doubled |= self.find_hash(hash).is_some();
        self.series.push(id, hash, &packed);
        self.scratch = (encoded, packed);
        self.next = id + 1;
        let Self { series, table, .. } = self;
        table.insert_unique(hash, id, |id| series.hash(*id));
        self.live.insert(id);
        self.changes += 1;
        Some(())
    }

    /// Forgets series that nobody uses, with the pairs and texts that nobody else has. Their numbers are not given again.
    pub(crate) fn forget(&mut self, gone: &RoaringBitmap) {
        self.changes += 1;
        let mut touched = Vec::new();
        for id in gone {
            touched.extend(self.pairs_of_series(SeriesId(id)));
            let hash = self.series.hash(id);
            if let Ok(entry) = self.table.find_entry(hash, |known| *known == id) {
                entry.remove();
            }
            self.series.remove(id);
        }
        self.live -= gone;
        touched.sort_unstable();
        touched.dedup();
        let mut empty = Vec::new();
        for pair in touched {
            let Some(known) = self.pairs.get_mut(pair as usize) else { continue };
            known.postings.remove_all(gone);
            if known.postings.len() == 0 {
                empty.push(pair);
            }
        }
        self.forget_pairs(&empty);
        if self.table.len() * 4 < self.table.capacity() {
            let Self { series, table, .. } = self;
            table.shrink_to_fit(|id| series.hash(*id));
        }
    }

    /// Forgets pairs without carriers; `empty` is ascending.
    fn forget_pairs(&mut self, empty: &[PairId]) {
        let mut names = Vec::new();
        for pair in empty {
            let Pair { name, value, .. } = self.pairs[*pair as usize];
            let hash = self.pair_hash(name, value);
            if let Ok(entry) = self.pair_table.find_entry(hash, |known| known == pair) {
                entry.remove();
            }
            self.pairs[*pair as usize].postings = Postings::None;
            names.push(name);
        }
        names.sort_unstable();
        names.dedup();
        for name in names {
            if let Some(list) = self.by_name.get_mut(&name) {
                list.retain(|pair| empty.binary_search(pair).is_err());
                if list.is_empty() {
                    self.by_name.remove(&name);
                } else if list.len() * 2 < list.capacity() {
                    list.shrink_to_fit();
                }
            }
        }
        for pair in empty {
            let Pair { name, value, .. } = self.pairs[*pair as usize];
            self.symbols.release(name);
            self.symbols.release(value);
        }
        self.free_pairs.extend_from_slice(empty);
        if self.pair_table.len() * 4 < self.pair_table.capacity() {
            let Self { pairs, pair_table, hasher, .. } = self;
            pair_table.shrink_to_fit(|pair| {
                let pair = &pairs[*pair as usize];
                hasher.hash_one((pair.name, pair.value))
            });
        }
    }

    /// Returns the bytes of memory held, about.
    pub(crate) fn memory_bytes(&self) -> usize {
        let postings: usize = self.pairs.iter().map(|pair| pair.postings.memory_bytes()).sum();
        self.symbols.memory_bytes()
            + self.pairs.capacity() * size_of::<Pair>()
            + self.pair_table.allocation_size()
            + self.free_pairs.capacity() * 4
            + self.series.memory_bytes()
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
    fn encoded_sets_are_found_in_any_order() {
        let mut registry = Registry::new(1);
        let set = |i: usize| Labels::from_pairs([("__name__", format!("m{}", i % 10)), ("instance", format!("i{}", i / 10))]);
        for i in 0..100 {
            registry.make(&set(i)).expect("room");
        }
        let encoded = |i: usize| {
            let mut out = Vec::new();
            for (name, value) in &set(i) {
                put_label(&mut out, name, value);
            }
            out
        };
        let asked: Vec<usize> = vec![5, 6, 7, 3, 100, 99, 0, 101];
        let bytes: Vec<Vec<u8>> = asked.iter().map(|i| encoded(*i)).collect();
        let slices: Vec<&[u8]> = bytes.iter().map(Vec::as_slice).chain([[].as_slice()]).collect();
        let mut found = Vec::new();
        registry.find_encoded(&slices, &mut found);
        let expected = |i: &usize| (*i < 100).then_some(SeriesId(*i as u32));
        assert_eq!(found, asked.iter().map(expected).chain([None]).collect::<Vec<_>>());
    }

    #[test]
    fn forgotten_series_leave_nothing_behind() {
        let mut registry = Registry::new(1);
        let set = |i: usize| {
            Labels::from_pairs([("__name__", format!("m{}", i % 10)), ("pod", format!("p{}", i / 10)), ("job", "j".into())])
        };
        let mut first = 0;
        for round in 0..30 {
            for i in 0..2000 {
                registry.make(&set(round * 2000 + i)).expect("room");
            }
            if round == 1 {
                first = registry.memory_bytes();
            }
            if round > 0 {
                let gone: RoaringBitmap = ((round as u32 - 1) * 2000..round as u32 * 2000).collect();
                registry.forget(&gone);
            }
            assert!(round < 2 || registry.memory_bytes() < first * 5 / 4, "{} after {first}", registry.memory_bytes());
        }
        assert_eq!(registry.find(&set(5)), None);
        assert_eq!(registry.labels(SeriesId(5)), Labels::empty());
        assert_eq!(registry.find(&set(58_005)), Some(SeriesId(58_005)));
        assert_eq!(registry.labels(SeriesId(58_005)), set(58_005));
        assert_eq!((registry.live().len(), registry.pairs_of("pod").len(), registry.pairs_of("__name__").len()), (2000, 200, 10));
        assert_eq!(registry.symbols().find("p7"), None);
        let again = registry.make(&set(5)).expect("room");
        assert_eq!(again.id, SeriesId(60_000));
        assert_eq!(registry.labels(again.id), set(5));
    }

    #[test]
    fn numbers_may_have_gaps() {
        let mut registry = Registry::new(1);
        assert_eq!(registry.intern_as(0, "a").and(registry.intern_as(1, "b")), Some(1));
        assert_eq!(registry.intern_as(0, "d"), None);
        assert_eq!(registry.intern_as(5, "b"), Some(1));
        assert_eq!(registry.intern_as(6, "c"), Some(6));
        assert_eq!(registry.insert(7, &[(0, 1)]), Some(()));
        assert_eq!(registry.find(&Labels::from_pairs([("a", "b")])), Some(SeriesId(7)));
        assert_eq!(registry.labels(SeriesId(3)), Labels::empty());
        assert_eq!(registry.next(), 8);
    }
}
