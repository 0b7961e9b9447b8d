//! Interned texts: each distinct label name or value is kept once and has a number.
//!
//! Texts lie in pages of 256 numbers. Label pairs hold their texts; one that nobody holds any more is forgotten, a page
//! without texts costs one pointer. Numbers are never given again.

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use std::hash::BuildHasher as _;

const PAGE: u32 = 256;

/// Up to 256 texts, one behind the other.
#[derive(Clone, Debug, Default)]
struct Page {
    text: String,
    /// Where each text ends.
    ends: Vec<u32>,
    /// How many pairs hold each.
    held: Vec<u32>,
}

impl Page {
    fn range(&self, place: usize) -> std::ops::Range<usize> {
        let start = if place == 0 { 0 } else { self.ends.get(place - 1).copied().unwrap_or(0) };
        let end = self.ends.get(place).copied().unwrap_or(start);
        start as usize..end as usize
    }
}

/// Texts by number, numbers by text.
#[derive(Clone, Debug)]
pub(crate) struct Symbols {
    pages: Vec<Option<Box<Page>>>,
    next: u32,
    table: HashTable<u32>,
    hasher: FixedState,
}

impl Symbols {
    /// Returns an empty table; `seed` keys the hash.
    pub(crate) fn new(seed: u64) -> Self {
        Self { pages: Vec::new(), next: 0, table: HashTable::new(), hasher: FixedState::with_seed(seed) }
    }

    /// Returns the number that the next new text will have.
    pub(crate) const fn next(&self) -> u32 {
        self.next
    }

    /// Returns how many numbers were given.
    pub(crate) const fn len(&self) -> usize {
        self.next as usize
    }

    /// Returns the text of a number; empty for one that was never given or is forgotten.
    pub(crate) fn get(&self, number: u32) -> &str {
        text_at(&self.pages, number)
    }

    /// Returns the number of a text.
    pub(crate) fn find(&self, text: &str) -> Option<u32> {
        let hash = self.hasher.hash_one(text);
        self.table.find(hash, |number| self.get(*number) == text).copied()
    }

    /// Returns the number of a text, giving it one if it is new; `None` when all numbers are given.
    pub(crate) fn intern(&mut self, text: &str) -> Option<u32> {
        if let Some(known) = self.find(text) {
            return Some(known);
        }
        let number = Some(self.next).filter(|number| *number < u32::MAX)?;
        let at = (number / PAGE) as usize;
        while self.pages.len() <= at {
            if let Some(Some(full)) = self.pages.last_mut() {
                full.text.shrink_to_fit();
                full.ends.shrink_to_fit();
                full.held.shrink_to_fit();
            }
            grow(&mut self.pages);
            self.pages.push(None);
        }
        let page = self.pages[at].get_or_insert_default();
        let before = page.text.len() as u32;
        page.ends.resize((number % PAGE) as usize, before);
        page.held.resize((number % PAGE) as usize, 0);
        page.text.push_str(text);
        page.ends.push(u32::try_from(page.text.len()).ok()?);
        page.held.push(0);
        self.next = number + 1;
        let Self { pages, hasher, table, .. } = self;
        let hash_of = |number: &u32| hasher.hash_one(text_at(pages, *number));
        table.insert_unique(hash_of(&number), number, hash_of);
        Some(number)
    }

    /// Leaves numbers below `next` to texts that were lost; they read as the empty text.
    pub(crate) fn skip_to(&mut self, next: u32) {
        if self.next < next && next - self.next <= LOST_MAX {
            self.next = next;
        }
    }

    /// Notes that one more pair has this text.
    pub(crate) fn hold(&mut self, number: u32) {
        if let Some(held) = self.held_mut(number) {
            *held += 1;
        }
    }

    fn held_mut(&mut self, number: u32) -> Option<&mut u32> {
        self.pages.get_mut((number / PAGE) as usize)?.as_deref_mut()?.held.get_mut((number % PAGE) as usize)
    }

    /// Notes that one pair less has this text; forgets it with the last one.
    pub(crate) fn release(&mut self, number: u32) {
        let Some(held) = self.held_mut(number) else { return };
        *held = held.saturating_sub(1);
        if *held > 0 {
            return;
        }
        let hash = self.hasher.hash_one(self.get(number));
        if let Ok(entry) = self.table.find_entry(hash, |known| *known == number) {
            entry.remove();
        }
        let Some(slot) = self.pages.get_mut((number / PAGE) as usize) else { return };
        let Some(page) = slot.as_deref_mut() else { return };
        let place = (number % PAGE) as usize;
        let range = page.range(place);
        let length = range.len() as u32;
        page.text.replace_range(range, "");
        for end in page.ends.iter_mut().skip(place) {
            *end -= length;
        }
        if page.text.is_empty() {
            *slot = None;
        } else if page.text.len() * 2 < page.text.capacity() {
            page.text.shrink_to_fit();
        }
        if self.table.len() * 4 < self.table.capacity() {
            let Self { pages, hasher, table, .. } = self;
            table.shrink_to_fit(|number| hasher.hash_one(text_at(pages, *number)));
        }
    }

    /// Returns the bytes of memory held.
    pub(crate) fn memory_bytes(&self) -> usize {
        let of_page = |page: &Page| size_of::<Page>() + page.text.capacity() + (page.ends.capacity() + page.held.capacity()) * 4;
        let pages: usize = self.pages.iter().flatten().map(|page| of_page(page)).sum();
        self.pages.capacity() * 8 + pages + self.table.allocation_size()
    }
}

fn text_at(pages: &[Option<Box<Page>>], number: u32) -> &str {
    let page = pages.get((number / PAGE) as usize).and_then(Option::as_deref);
    page.and_then(|page| page.text.get(page.range((number % PAGE) as usize))).unwrap_or("")
}

/// So many numbers in a row may belong to definitions that were lost; a longer gap is damage, and must not ask for memory.
pub(crate) const LOST_MAX: u32 = 1 << 22;

/// Makes room for one more, by an eighth instead of doubling where the list is long.
pub(crate) fn grow<T>(list: &mut Vec<T>) {
    if list.len() == list.capacity() {
        let more = if list.len() < 4096 { list.len() } else { list.len() / 8 };
        list.reserve_exact(more.max(4));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_has_one_number() {
        let mut symbols = Symbols::new(1);
        let texts: Vec<String> = (0..10_000).map(|i| format!("value-{}", i % 5000)).collect();
        let numbers: Vec<u32> = texts.iter().filter_map(|text| symbols.intern(text)).collect();
        assert_eq!(symbols.next(), 5000);
        for (text, number) in texts.iter().zip(numbers) {
            assert_eq!(symbols.get(number), text);
            assert_eq!(symbols.find(text), Some(number));
        }
        assert_eq!(symbols.find("other"), None);
        assert_eq!(symbols.get(99_999), "");
        assert_eq!(symbols.intern(""), Some(5000));
        assert_eq!(symbols.get(5000), "");
    }

    #[test]
    fn texts_that_nobody_holds_are_forgotten() {
        let mut symbols = Symbols::new(1);
        let mut peak = 0;
        for round in 0..50 {
            let numbers: Vec<u32> = (0..1000).filter_map(|i| symbols.intern(&format!("r{round}-{i}"))).collect();
            assert_eq!(numbers.len(), 1000);
            for number in &numbers {
                symbols.hold(*number);
                symbols.hold(*number);
                symbols.release(*number);
            }
            assert_eq!(symbols.get(numbers[7]), format!("r{round}-7"));
            peak = if round == 0 { symbols.memory_bytes() } else { peak };
            for number in numbers {
                symbols.release(number);
                assert_eq!(symbols.get(number), "");
            }
        }
        assert_eq!(symbols.find("r3-7"), None);
        assert!(symbols.memory_bytes() < peak / 2, "{} of {peak}", symbols.memory_bytes());
        symbols.skip_to(70_000);
        assert_eq!(symbols.intern("x"), Some(70_000));
        assert_eq!(symbols.get(70_000), "x");
    }
}
