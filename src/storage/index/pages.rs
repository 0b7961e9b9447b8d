//! A list by number of which most numbers may be gone: numbers are never given twice, so in a long life most are dead.
//!
//! Numbers lie in pages of 256. A page holds its living ones side by side, so that it costs what they cost; a page without
//! any costs one pointer.

use super::symbols::grow;

/// Numbers of one page.
pub(super) const PAGE: u32 = 256;

/// Which places of a page are living.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Alive([u64; 4]);

impl Alive {
    /// Returns how many living places come before a living one; `None` for one that is not.
    #[inline]
    pub(super) fn rank(&self, place: u32) -> Option<usize> {
        let is_alive = self.0[place as usize / 64] >> (place % 64) & 1 != 0;
        is_alive.then(|| self.before(place))
    }

    /// Returns how many living places come before a place.
    #[inline]
    pub(super) fn before(&self, place: u32) -> usize {
        let word = place as usize / 64;
        let before: u32 = self.0.iter().take(word).map(|word| word.count_ones()).sum();
        (before + (self.0[word] & ((1 << (place % 64)) - 1)).count_ones()) as usize
    }

    /// Makes a place living.
    pub(super) const fn set(&mut self, place: u32) {
        self.0[place as usize / 64] |= 1 << (place % 64);
    }

    /// Makes a place dead.
    pub(super) const fn unset(&mut self, place: u32) {
        self.0[place as usize / 64] &= !(1 << (place % 64));
    }
}

#[derive(Debug)]
struct Page<T> {
    alive: Alive,
    values: Vec<T>,
}

/// Values by number.
#[derive(Debug)]
pub(crate) struct Pages<T> {
    pages: Vec<Option<Box<Page<T>>>>,
}

impl<T> Default for Pages<T> {
    fn default() -> Self {
        Self { pages: Vec::new() }
    }
}

impl<T> Pages<T> {
    /// Returns the value of a number.
    #[inline]
    pub(crate) fn get(&self, number: u32) -> Option<&T> {
        let page = self.pages.get((number / PAGE) as usize)?.as_deref()?;
        page.values.get(page.alive.rank(number % PAGE)?)
    }

    fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        let page = self.pages.get_mut((number / PAGE) as usize)?.as_deref_mut()?;
        page.values.get_mut(page.alive.rank(number % PAGE)?)
    }

    /// Sets the value of a number and returns the one before.
    pub(crate) fn set(&mut self, number: u32, value: T) -> Option<T> {
        if let Some(known) = self.get_mut(number) {
            return Some(std::mem::replace(known, value));
        }
        let at = (number / PAGE) as usize;
        while self.pages.len() <= at {
            grow(&mut self.pages);
            self.pages.push(None);
        }
        let page = self.pages[at].get_or_insert_with(|| Box::new(Page { alive: Alive::default(), values: Vec::new() }));
        let place = number % PAGE;
        page.values.insert(page.alive.before(place), value);
        page.alive.set(place);
        None
    }

    /// Takes a number out.
    pub(crate) fn remove(&mut self, number: u32) -> Option<T> {
        let slot = self.pages.get_mut((number / PAGE) as usize)?;
        let page = slot.as_deref_mut()?;
        let place = number % PAGE;
        let value = page.values.remove(page.alive.rank(place)?);
        page.alive.unset(place);
        if page.values.is_empty() {
            *slot = None;
        } else if page.values.len() * 2 < page.values.capacity() {
            page.values.shrink_to_fit();
        }
        Some(value)
    }

    /// Returns the bytes of memory held.
    pub(crate) fn memory_bytes(&self) -> usize {
        let of_page = |page: &Page<T>| size_of::<Page<T>>() + page.values.capacity() * size_of::<T>();
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
        fn is_a_map(changes in proptest::collection::vec((0_u32..700, proptest::option::of(any::<u16>())), 0..400)) {
            let (mut pages, mut expected) = (Pages::default(), BTreeMap::new());
            for (number, value) in changes {
                match value {
                    Some(value) => prop_assert_eq!(pages.set(number, value), expected.insert(number, value)),
                    None => prop_assert_eq!(pages.remove(number), expected.remove(&number)),
                }
            }
            for number in 0..800 {
                prop_assert_eq!(pages.get(number), expected.get(&number));
            }
        }
    }

    #[test]
    fn dead_pages_cost_next_to_nothing() {
        let mut pages = Pages::default();
        for number in 0..100_000_u32 {
            pages.set(number, u64::from(number));
        }
        let full = pages.memory_bytes();
        assert!(full < 100_000 * 10, "{full}");
        for number in 0..100_000 {
            if number % 1000 != 0 {
                pages.remove(number);
            }
        }
        assert!(pages.memory_bytes() < full / 20, "{}", pages.memory_bytes());
    }
}
