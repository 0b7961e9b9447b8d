//! The label pairs and the hash of every series, by its number; in pages, so that dead series cost nothing.

use super::pages::{Alive, PAGE};
use super::symbols::grow;

#[derive(Debug, Default)]
struct Page {
    alive: Alive,
    hashes: Vec<u64>,
    /// Where each series' bytes end in `packed`.
    ends: Vec<u32>,
    packed: Vec<u8>,
}

impl Page {
    fn packed(&self, rank: usize) -> &[u8] {
        let start = if rank == 0 { 0 } else { self.ends.get(rank - 1).copied().unwrap_or(0) };
        let end = self.ends.get(rank).copied().unwrap_or(start);
        self.packed.get(start as usize..end as usize).unwrap_or_default()
    }
}

/// Series by number.
#[derive(Debug, Default)]
pub(super) struct SeriesTable {
    pages: Vec<Option<Box<Page>>>,
}

impl SeriesTable {
    fn find(&self, id: u32) -> Option<(&Page, usize)> {
        let page = self.pages.get((id / PAGE) as usize)?.as_deref()?;
        Some((page, page.alive.rank(id % PAGE)?))
    }

    /// Returns the packed pair numbers of a series; nothing for one that is not there.
    pub(super) fn packed(&self, id: u32) -> &[u8] {
        self.find(id).map_or(&[], |(page, rank)| page.packed(rank))
    }

    /// Returns the hash of a series; 0 for one that is not there.
    #[inline]
    pub(super) fn hash(&self, id: u32) -> u64 {
        self.find(id).and_then(|(page, rank)| page.hashes.get(rank).copied()).unwrap_or(0)
    }

    /// Adds a series whose number is larger than all others.
    pub(super) fn push(&mut self, id: u32, hash: u64, packed: &[u8]) {
        let at = (id / PAGE) as usize;
        while self.pages.len() <= at {
            self.close_page();
            grow(&mut self.pages);
            self.pages.push(None);
        }
        let page = self.pages[at].get_or_insert_default();
        page.alive.set(id % PAGE);
        page.hashes.push(hash);
        page.packed.extend_from_slice(packed);
        page.ends.push(page.packed.len() as u32);
    }

    /// The last page gets no more series.
    fn close_page(&mut self) {
        if let Some(Some(page)) = self.pages.last_mut() {
            page.packed.shrink_to_fit();
            page.hashes.shrink_to_fit();
            page.ends.shrink_to_fit();
        }
    }

    /// Takes a series out.
    pub(super) fn remove(&mut self, id: u32) {
        let Some(slot) = self.pages.get_mut((id / PAGE) as usize) else { return };
        let Some(page) = slot.as_deref_mut() else { return };
        let Some(rank) = page.alive.rank(id % PAGE) else { return };
        let start = if rank == 0 { 0 } else { page.ends[rank - 1] };
        let length = page.ends[rank] - start;
        page.packed.drain(start as usize..(start + length) as usize);
        page.ends.remove(rank);
        for end in &mut page.ends[rank..] {
            *end -= length;
        }
        page.hashes.remove(rank);
        page.alive.unset(id % PAGE);
        if page.hashes.is_empty() {
            *slot = None;
        } else if page.hashes.len() * 2 < page.hashes.capacity() {
            page.hashes.shrink_to_fit();
            page.ends.shrink_to_fit();
            page.packed.shrink_to_fit();
        }
    }

    /// Returns the bytes of memory held.
    pub(super) fn memory_bytes(&self) -> usize {
        let of_page =
            |page: &Page| size_of::<Page>() + page.hashes.capacity() * 8 + page.ends.capacity() * 4 + page.packed.capacity();
        self.pages.capacity() * 8 + self.pages.iter().flatten().map(|page| of_page(page)).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn is_a_map(lengths in proptest::collection::vec(0_usize..9, 1..600), gone in proptest::collection::vec(0_u32..2000, 0..300)) {
            let (mut table, mut expected, mut id) = (SeriesTable::default(), BTreeMap::new(), 0);
            for (i, length) in lengths.iter().enumerate() {
                id += 1 + (*length as u32) / 4;
                let packed = vec![i as u8; *length];
                table.push(id, u64::from(id) + 7, &packed);
                expected.insert(id, packed);
            }
            for id in gone {
                table.remove(id);
                expected.remove(&id);
            }
            for id in 0..2000 {
                prop_assert_eq!(table.packed(id), expected.get(&id).map_or(&[][..], Vec::as_slice));
                prop_assert_eq!(table.hash(id), expected.get(&id).map_or(0, |_| u64::from(id) + 7));
            }
        }
    }
}
