//! Interned texts: each distinct label name or value is kept once and has a number.

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use std::hash::BuildHasher as _;

/// Texts by number, numbers by text.
#[derive(Clone, Debug)]
pub(crate) struct Symbols {
    text: String,
    /// Where each text ends.
    ends: Vec<u32>,
    table: HashTable<u32>,
    hasher: FixedState,
}

impl Symbols {
    /// Returns an empty table; `seed` keys the hash.
    pub(crate) fn new(seed: u64) -> Self {
        Self { text: String::new(), ends: Vec::new(), table: HashTable::new(), hasher: FixedState::with_seed(seed) }
    }

    /// Returns how many texts there are.
    pub(crate) const fn len(&self) -> usize {
        self.ends.len()
    }

    /// Returns the text of a number; empty for one that was never given.
    pub(crate) fn get(&self, number: u32) -> &str {
        text_at(&self.text, &self.ends, number)
    }

    /// Returns the number of a text.
    pub(crate) fn find(&self, text: &str) -> Option<u32> {
        let hash = self.hasher.hash_one(text);
        self.table.find(hash, |number| self.get(*number) == text).copied()
    }

    /// Returns the number of a text, giving it one if it is new; `None` when four gigabytes of text are full.
    pub(crate) fn intern(&mut self, text: &str) -> Option<u32> {
        if let Some(known) = self.find(text) {
            return Some(known);
        }
        let end = u32::try_from(self.text.len() + text.len()).ok()?;
        let number = u32::try_from(self.ends.len()).ok()?;
        grow_text(&mut self.text, text.len());
        self.text.push_str(text);
        grow(&mut self.ends);
        self.ends.push(end);
        let Self { text, ends, hasher, table } = self;
        let hash_of = |number: &u32| hasher.hash_one(text_at(text, ends, *number));
        table.insert_unique(hash_of(&number), number, hash_of);
        Some(number)
    }

    /// Leaves numbers below `next` to texts that were lost; they read as the empty text.
    pub(crate) fn skip_to(&mut self, next: u32) {
        let end = self.ends.last().copied().unwrap_or(0);
        if self.ends.len() < next as usize && next as usize - self.ends.len() <= LOST_MAX as usize {
            self.ends.resize(next as usize, end);
        }
    }

    /// Returns the bytes of memory held.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.text.capacity() + self.ends.capacity() * 4 + self.table.allocation_size()
    }
}

fn text_at<'a>(text: &'a str, ends: &[u32], number: u32) -> &'a str {
    let number = number as usize;
    let start = if number == 0 { 0 } else { ends.get(number - 1).copied().unwrap_or(0) };
    let end = ends.get(number).copied().unwrap_or(start);
    text.get(start as usize..end as usize).unwrap_or("")
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

fn grow_text(text: &mut String, more: usize) {
    if text.capacity() - text.len() < more {
        let step = if text.len() < 1 << 16 { text.len() } else { text.len() / 8 };
        text.reserve_exact(more.max(step));
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
        assert_eq!(symbols.len(), 5000);
        for (text, number) in texts.iter().zip(numbers) {
            assert_eq!(symbols.get(number), text);
            assert_eq!(symbols.find(text), Some(number));
        }
        assert_eq!(symbols.find("other"), None);
        assert_eq!(symbols.get(99_999), "");
        assert_eq!(symbols.intern(""), Some(5000));
        assert_eq!(symbols.get(5000), "");
    }
}
