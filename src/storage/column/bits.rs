//! Bits: a writer and a reader of fields of any width, and a growing set of small numbers.

/// Writes fields of up to 64 bits, each from its lowest bit.
#[derive(Debug)]
pub(crate) struct BitWriter<'a> {
    out: &'a mut Vec<u8>,
    word: u64,
    used: u32,
}

impl<'a> BitWriter<'a> {
    /// Starts at a whole byte, behind what `out` holds.
    pub(crate) const fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, word: 0, used: 0 }
    }

    /// Appends the lowest `count` bits of `value`, which has no others set.
    #[inline]
    pub(crate) fn push(&mut self, value: u64, count: u32) {
        debug_assert!(count == 64 || value >> count == 0);
        self.word |= value << self.used;
        let total = self.used + count;
        if total < 64 {
            self.used = total;
            return;
        }
        self.out.extend_from_slice(&self.word.to_le_bytes());
        self.word = value.checked_shr(64 - self.used).unwrap_or(0);
        self.used = total - 64;
    }

    /// Fills the last byte with zeros.
    pub(crate) fn finish(self) {
        let bytes = self.word.to_le_bytes();
        self.out.extend_from_slice(&bytes[..self.used.div_ceil(8) as usize]);
    }
}

/// Reads what a [`BitWriter`] wrote; every method returns `None` past the end.
#[derive(Clone, Debug)]
pub(crate) struct BitReader<'a> {
    bytes: &'a [u8],
    /// Bits read.
    at: usize,
}

impl<'a> BitReader<'a> {
    /// Starts at the front of `bytes`.
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Returns at least 57 bits from here on; zeros behind the end.
    #[inline]
    fn peek(&self) -> u64 {
        let rest = self.bytes.get(self.at / 8..).unwrap_or_default();
        let word = match rest.first_chunk::<8>() {
            Some(whole) => u64::from_le_bytes(*whole),
            None => rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)),
        };
        word >> (self.at % 8)
    }

    /// Reads a zero and the `count` bits behind it, 55 at most; `None`, and nothing is read, where that is not there.
    #[inline]
    pub(crate) fn take_behind_zero(&mut self, count: u32) -> Option<u64> {
        let end = self.at + 1 + count as usize;
        let word = self.peek();
        if word & 1 != 0 || count > 55 || end > self.bytes.len() * 8 {
            return None;
        }
        self.at = end;
        Some(word >> 1 & ((1 << count) - 1))
    }

    /// Reads `count` bits.
    #[inline]
    pub(crate) fn take(&mut self, count: u32) -> Option<u64> {
        if count > 56 {
            let low = self.take(32)?;
            return Some(low | self.take(count - 32)? << 32);
        }
        let end = self.at + count as usize;
        if end > self.bytes.len() * 8 {
            return None;
        }
        let value = self.peek() & ((1 << count) - 1);
        self.at = end;
        Some(value)
    }
}

/// A set of small numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct BitSet {
    words: Vec<u64>,
}

impl BitSet {
    /// Returns no numbers.
    pub(crate) const fn new() -> Self {
        Self { words: Vec::new() }
    }

    /// Returns whether a number is in the set.
    #[inline]
    pub(crate) fn has(&self, number: u32) -> bool {
        self.words.get(number as usize / 64).is_some_and(|word| word >> (number % 64) & 1 != 0)
    }

    /// Puts a number in.
    #[inline]
    pub(crate) fn set(&mut self, number: u32) {
        let at = number as usize / 64;
        if at >= self.words.len() {
            self.words.reserve_exact(at + 1 - self.words.len());
            self.words.resize(at + 1, 0);
        }
        self.words[at] |= 1 << (number % 64);
    }

    /// Takes a number out.
    #[inline]
    pub(crate) fn unset(&mut self, number: u32) {
        if let Some(word) = self.words.get_mut(number as usize / 64) {
            *word &= !(1 << (number % 64));
        }
    }

    /// Puts the numbers of a range in.
    pub(crate) fn set_range(&mut self, range: std::ops::Range<u32>) {
        if let Some(last) = range.end.checked_sub(1).filter(|last| *last >= range.start) {
            self.set(last);
            for (at, mask) in masks(range) {
                self.words[at] |= mask;
            }
        }
    }

    /// Calls `each` with the numbers of a range that are not in the set.
    pub(crate) fn missing(&self, range: std::ops::Range<u32>, mut each: impl FnMut(u32)) {
        for (at, mask) in masks(range) {
            numbers(at, mask & !self.words.get(at).copied().unwrap_or(0), &mut each);
        }
    }

    /// Returns whether all numbers of a range are in the set.
    pub(crate) fn has_all(&self, range: std::ops::Range<u32>) -> bool {
        masks(range).all(|(at, mask)| mask & !self.words.get(at).copied().unwrap_or(0) == 0)
    }

    /// Calls `each` with the numbers that are in this set and not in the other.
    pub(crate) fn without(&self, other: &Self, mut each: impl FnMut(u32)) {
        for (at, word) in self.words.iter().enumerate() {
            numbers(at, word & !other.words.get(at).copied().unwrap_or(0), &mut each);
        }
    }

    /// Takes all numbers out.
    pub(crate) fn clear(&mut self) {
        self.words.fill(0);
    }

    /// Returns the bytes of memory held.
    pub(crate) const fn memory_bytes(&self) -> usize {
        self.words.capacity() * 8
    }
}

fn numbers(at: usize, mut word: u64, each: &mut impl FnMut(u32)) {
    while word != 0 {
        each(at as u32 * 64 + word.trailing_zeros());
        word &= word - 1;
    }
}

/// Returns the words that a range touches, with the bits of the range in each.
fn masks(range: std::ops::Range<u32>) -> impl Iterator<Item = (usize, u64)> {
    let words = if range.is_empty() { 0..0 } else { range.start / 64..range.end.div_ceil(64) };
    words.map(move |word| {
        let from = range.start.max(word * 64) - word * 64;
        let count = range.end.min(word * 64 + 64) - word * 64 - from;
        (word as usize, (u64::MAX >> (64 - count)) << from)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn fields_come_back(fields in proptest::collection::vec((any::<u64>(), 1_u32..=64), 0..60)) {
            let masked: Vec<(u64, u32)> = fields.into_iter().map(|(value, count)| (value & (u64::MAX >> (64 - count)), count)).collect();
            let mut out = vec![7];
            let mut writer = BitWriter::new(&mut out);
            for (value, count) in &masked {
                writer.push(*value, *count);
            }
            writer.finish();
            let bits: u32 = masked.iter().map(|(_, count)| count).sum();
            prop_assert_eq!(out.len(), 1 + bits.div_ceil(8) as usize);
            let mut reader = BitReader::new(&out[1..]);
            for (value, count) in &masked {
                prop_assert_eq!(reader.take(*count), Some(*value));
            }
            prop_assert_eq!(reader.take(8), None);
        }

        #[test]
        fn is_a_set(numbers in proptest::collection::btree_set(0_u32..300, 0..80), from in 0_u32..300, length in 0_u32..200) {
            let mut set = BitSet::new();
            for number in &numbers {
                set.set(*number);
            }
            let range = from..from + length;
            let expected: Vec<u32> = range.clone().filter(|number| !numbers.contains(number)).collect();
            let mut missing = Vec::new();
            set.missing(range.clone(), |number| missing.push(number));
            prop_assert_eq!(set.has_all(range.clone()), missing.is_empty());
            prop_assert_eq!(missing, expected);
            let mut other = BitSet::new();
            other.set_range(range.clone());
            let mut left = Vec::new();
            set.without(&other, |number| left.push(number));
            prop_assert_eq!(left, numbers.iter().copied().filter(|number| !range.contains(number)).collect::<Vec<_>>());
            set.set_range(range.clone());
            let all: BTreeSet<u32> = numbers.iter().copied().chain(range).collect();
            prop_assert!((0..600).all(|number| set.has(number) == all.contains(&number)));
            set.unset(from);
            prop_assert!(!set.has(from));
        }
    }
}
