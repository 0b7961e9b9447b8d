//! A block's index in memory: its symbols, pairs, posting lists and series entries.

use super::sections::{ColumnRef, SERIES_STEP, SeriesAbout, read_runs, read_series, read_symbols};
use crate::storage::column::timestamps::read_times;
use crate::storage::column::varint::ByteReader;
use crate::storage::index::matchers::{MatchCache, PairIndex, Pairs};
use crate::storage::index::registry::{PairId, label_set_hash, pair_hash};
use roaring::RoaringBitmap;
use std::sync::OnceLock;

#[derive(Clone, Copy, Debug)]
struct Pair {
    name: u32,
    value: u32,
    postings: u32,
}

/// An index that was read and checked.
#[derive(Debug)]
pub(crate) struct BlockIndex {
    text: String,
    ends: Vec<u32>,
    pairs: Vec<Pair>,
    /// The block-independent hash of each pair.
    hashes: OnceLock<Vec<u64>>,
    postings: Vec<u8>,
    postings_at: usize,
    series: Vec<u8>,
    series_at: usize,
    count: u32,
    times: Vec<u8>,
    times_count: u32,
    /// What expressions found here: a block's values never change.
    matched: MatchCache,
    unfolded: OnceLock<Unfolded>,
}

/// The series entries as they are walked: reading them from their bytes is a third of an instant query over many.
#[derive(Debug, Default)]
struct Unfolded {
    /// Where the pairs and the columns of each series end.
    ends: Vec<(u32, u32)>,
    pairs: Vec<PairId>,
    columns: Vec<ColumnRef>,
}

impl Unfolded {
    fn get(&self, place: u32) -> Option<(&[PairId], &[ColumnRef])> {
        let place = place as usize;
        let (pairs_end, columns_end) = *self.ends.get(place)?;
        let (pairs, columns) = place.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or_default();
        Some((self.pairs.get(pairs as usize..pairs_end as usize)?, self.columns.get(columns as usize..columns_end as usize)?))
    }

    const fn memory_bytes(&self) -> usize {
        self.ends.capacity() * 8 + self.pairs.capacity() * 4 + self.columns.capacity() * size_of::<ColumnRef>()
    }
}

/// Walks the series of a block one after the other.
#[derive(Debug, Default)]
pub(crate) struct SeriesWalk {
    next: u32,
    at: usize,
}

fn table(section: &[u8], step: usize) -> Option<(u32, usize)> {
    let count = ByteReader::new(section).u32()?;
    let at = 4 + (count as usize).div_ceil(step) * 4;
    (at <= section.len()).then_some((count, at))
}

impl BlockIndex {
    /// Reads the sections; `None` where they are damaged.
    pub(crate) fn read(times: Vec<u8>, symbols: &[u8], postings: Vec<u8>, series: Vec<u8>) -> Option<Self> {
        let (text, ends) = read_symbols(symbols)?;
        let mut reader = ByteReader::new(&postings);
        let count = reader.u32()? as usize;
        if count.checked_mul(12)? > postings.len() {
            return None;
        }
        let pair = |_| Some(Pair { name: reader.u32()?, value: reader.u32()?, postings: reader.u32()? });
        let pairs: Vec<Pair> = (0..count).map(pair).collect::<Option<_>>()?;
        let (count, series_at) = table(&series, SERIES_STEP)?;
        let (times_count, _) = table(&times, 1)?;
        let postings_at = 4 + pairs.len() * 12;
        Some(Self {
            text,
            ends,
            pairs,
            hashes: OnceLock::new(),
            postings,
            postings_at,
            series,
            series_at,
            count,
            times,
            times_count,
            matched: MatchCache::default(),
            unfolded: OnceLock::new(),
        })
    }

    /// Returns the bytes of memory held.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.text.capacity()
            + self.ends.capacity() * 4
            + self.pairs.capacity() * 20
            + self.postings.capacity()
            + self.series.capacity()
            + self.times.capacity()
    }

    fn symbol(&self, number: u32) -> &str {
        let number = number as usize;
        let start = if number == 0 { 0 } else { self.ends.get(number - 1).copied().unwrap_or(0) };
        let end = self.ends.get(number).copied().unwrap_or(start);
        self.text.get(start as usize..end as usize).unwrap_or("")
    }

    fn find_symbol(&self, text: &str) -> Option<u32> {
        let (mut low, mut high) = (0, self.ends.len() as u32);
        while low < high {
            let middle = low.midpoint(high);
            match self.symbol(middle).cmp(text) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return Some(middle),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    /// Walks all label names, sorted, with their pairs.
    pub(crate) fn names(&self) -> impl Iterator<Item = (&str, Pairs<'_>)> {
        let mut from = 0;
        std::iter::from_fn(move || {
            let name = self.pairs.get(from)?.name;
            let to = from + self.pairs.get(from..)?.partition_point(|pair| pair.name == name);
            let pairs = Pairs::Range(from as u32..to as u32);
            from = to;
            Some((self.symbol(name), pairs))
        })
    }

    /// Returns name and value of a pair.
    pub(crate) fn pair_text(&self, pair: PairId) -> (&str, &str) {
        self.pairs.get(pair as usize).map_or(("", ""), |pair| (self.symbol(pair.name), self.symbol(pair.value)))
    }

    /// Returns the hash of a label set that is the same in every block and in the head.
    pub(crate) fn hash(&self, pairs: &[PairId]) -> u64 {
        let hash = |pair: &Pair| pair_hash(self.symbol(pair.name), self.symbol(pair.value));
        let hashes = self.hashes.get_or_init(|| self.pairs.iter().map(hash).collect());
        label_set_hash(pairs.iter().map(|pair| hashes.get(*pair as usize).copied().unwrap_or(0)))
    }

    /// Returns how many series there are.
    pub(crate) const fn series_count(&self) -> u32 {
        self.count
    }

    /// Returns what expressions found here.
    pub(crate) const fn match_cache(&self) -> &MatchCache {
        &self.matched
    }

    /// Reads the next series of a walk. Inner `None` behind the last; outer `None` where the section is damaged.
    pub(crate) fn walk(
        &self,
        walk: &mut SeriesWalk,
        pairs: &mut Vec<PairId>,
        columns: &mut Vec<ColumnRef>,
    ) -> Option<Option<SeriesAbout>> {
        if walk.next >= self.count {
            return Some(None);
        }
        let rest = self.series.get(self.series_at + walk.at..)?;
        let mut reader = ByteReader::new(rest);
        let about = read_series(&mut reader, pairs, columns)?;
        walk.at += rest.len() - reader.rest().len();
        walk.next += 1;
        Some(Some(about))
    }

    /// Returns a unit's text.
    pub(crate) fn unit(&self, about: SeriesAbout) -> &str {
        about.unit.map_or("", |symbol| self.symbol(symbol))
    }

    /// Keeps the series entries unfolded from now on. Returns by how many bytes the index grew: 0 where that was done before,
    /// or where the section is damaged.
    pub(crate) fn unfold(&self) -> usize {
        let mut grown = 0;
        self.unfolded.get_or_init(|| {
            let mut unfolded = Unfolded::default();
            let visited = self.visit_all(0..self.count, |_, pairs, _, columns| {
                unfolded.pairs.extend_from_slice(pairs);
                unfolded.columns.extend_from_slice(columns);
                unfolded.ends.push((unfolded.pairs.len() as u32, unfolded.columns.len() as u32));
            });
            if visited.is_none() {
                unfolded = Unfolded::default();
            }
            unfolded.pairs.shrink_to_fit();
            unfolded.columns.shrink_to_fit();
            grown = unfolded.memory_bytes();
            unfolded
        });
        grown
    }

    /// Visits series at ascending places: place, pairs, columns. `None` where the section is damaged.
    pub(crate) fn visit(
        &self,
        mut places: impl Iterator<Item = u32>,
        mut each: impl FnMut(u32, &[PairId], &[ColumnRef]),
    ) -> Option<()> {
        if let Some(unfolded) = self.unfolded.get().filter(|unfolded| !unfolded.ends.is_empty()) {
            return places.try_for_each(|place| {
                let (pairs, columns) = unfolded.get(place)?;
                each(place, pairs, columns);
                Some(())
            });
        }
        self.visit_all(places, |place, pairs, _, columns| each(place, pairs, columns))
    }

    /// Visits series at ascending places: place, pairs, what is known, columns. `None` where the section is damaged.
    pub(crate) fn visit_all(
        &self,
        places: impl Iterator<Item = u32>,
        mut each: impl FnMut(u32, &[PairId], SeriesAbout, &[ColumnRef]),
    ) -> Option<()> {
        let (mut pairs, mut columns) = (Vec::new(), Vec::new());
        let mut reader = ByteReader::new(&[]);
        let mut next = u32::MAX;
        for place in places {
            let step = place / SERIES_STEP as u32;
            if next > place || next / (SERIES_STEP as u32) < step {
                let offset = ByteReader::new(self.series.get(4 + step as usize * 4..)?).u32()?;
                reader = ByteReader::new(self.series.get(self.series_at + offset as usize..)?);
                next = step * SERIES_STEP as u32;
            }
            let mut about = SeriesAbout::default();
            while next <= place {
                about = read_series(&mut reader, &mut pairs, &mut columns)?;
                next += 1;
            }
            each(place, &pairs, about, &columns);
        }
        Some(())
    }

    /// Decodes a column of times.
    pub(crate) fn times(&self, number: u32) -> Option<Vec<i64>> {
        if number >= self.times_count {
            return None;
        }
        let offset = ByteReader::new(self.times.get(4 + number as usize * 4..)?).u32()?;
        read_times(self.times.get(4 + self.times_count as usize * 4 + offset as usize..)?)
    }
}

impl PairIndex for BlockIndex {
    fn pair(&self, name: &str, value: &str) -> Option<PairId> {
        let key = (self.find_symbol(name)?, self.find_symbol(value)?);
        self.pairs.binary_search_by_key(&key, |pair| (pair.name, pair.value)).ok().map(|at| at as PairId)
    }

    fn pairs_of(&self, name: &str) -> Pairs<'_> {
        let Some(name) = self.find_symbol(name) else { return Pairs::Range(0..0) };
        let from = self.pairs.partition_point(|pair| pair.name < name) as u32;
        let to = self.pairs.partition_point(|pair| pair.name <= name) as u32;
        Pairs::Range(from..to)
    }

    fn value_of(&self, pair: PairId) -> &str {
        self.pair_text(pair).1
    }

    fn pairs_with_prefix(&self, name: &str, prefix: &str) -> Pairs<'_> {
        let Pairs::Range(all) = self.pairs_of(name) else { return self.pairs_of(name) };
        let pairs = self.pairs.get(all.start as usize..all.end as usize).unwrap_or_default();
        let from = pairs.partition_point(|pair| self.symbol(pair.value) < prefix);
        let length = pairs.get(from..).unwrap_or_default().partition_point(|pair| self.symbol(pair.value).starts_with(prefix));
        Pairs::Range(all.start + from as u32..all.start + (from + length) as u32)
    }

    fn add_postings(&self, pair: PairId, out: &mut RoaringBitmap) {
        let Some(pair) = self.pairs.get(pair as usize) else { return };
        let bytes = self.postings.get(self.postings_at + pair.postings as usize..).unwrap_or_default();
        for (start, length) in read_runs(bytes).unwrap_or_default() {
            out.insert_range(start..start + length);
        }
    }

    fn all(&self) -> RoaringBitmap {
        let mut all = RoaringBitmap::new();
        all.insert_range(0..self.count);
        all
    }
}
