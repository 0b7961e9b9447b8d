//! Posting lists: which series carry a label pair. Few numbers are a list, many a bitmap with runs.

use roaring::RoaringBitmap;

/// Lists up to here; a bitmap has a fixed cost of about that many numbers.
const LIST_MAX: usize = 32;

/// A growing set of series numbers.
#[derive(Clone, Debug, Default)]
pub(crate) enum Postings {
    /// Nobody.
    #[default]
    None,
    /// One, as for labels whose values are unique.
    One(u32),
    /// A few, ascending.
    Few(Vec<u32>),
    /// Many.
    Many(Box<RoaringBitmap>),
}

impl Postings {
    /// Adds a number.
    pub(crate) fn insert(&mut self, number: u32) {
        match self {
            Self::None => *self = Self::One(number),
            Self::One(known) if *known == number => {}
            Self::One(known) => *self = Self::Few(vec![(*known).min(number), (*known).max(number)]),
            Self::Few(list) => {
                let Err(at) = list.binary_search(&number) else { return };
                if list.len() < LIST_MAX {
                    list.insert(at, number);
                } else {
                    let mut bitmap: RoaringBitmap = list.iter().copied().collect();
                    bitmap.insert(number);
                    *self = Self::Many(Box::new(bitmap));
                }
            }
            // Not `push`, which looks for the largest number first, through up to 8 KiB.
            Self::Many(bitmap) => {
                bitmap.insert(number);
            }
        }
    }

    /// Takes numbers out.
    pub(crate) fn remove_all(&mut self, gone: &RoaringBitmap) {
        match self {
            Self::None => {}
            Self::One(number) => {
                if gone.contains(*number) {
                    *self = Self::None;
                }
            }
            Self::Few(list) => {
                list.retain(|number| !gone.contains(*number));
                list.shrink_to_fit();
                match list.as_slice() {
                    [] => *self = Self::None,
                    [one] => *self = Self::One(*one),
                    _ => {}
                }
            }
            Self::Many(bitmap) => {
                **bitmap -= gone;
                if bitmap.len() <= LIST_MAX as u64 / 2 {
                    *self = bitmap.iter().fold(Self::None, |mut list, number| {
                        list.insert(number);
                        list
                    });
                }
            }
        }
    }

    /// Returns how many numbers there are.
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::None => 0,
            Self::One(_) => 1,
            Self::Few(list) => list.len() as u64,
            Self::Many(bitmap) => bitmap.len(),
        }
    }

    /// Adds all numbers to a bitmap.
    pub(crate) fn union_into(&self, out: &mut RoaringBitmap) {
        match self {
            Self::None => {}
            Self::One(number) => {
                out.insert(*number);
            }
            Self::Few(list) => out.extend(list.iter().copied()),
            Self::Many(bitmap) => *out |= &**bitmap,
        }
    }

    /// Returns whether a number of `others` is among them.
    pub(crate) fn meets(&self, others: &RoaringBitmap) -> bool {
        match self {
            Self::None => false,
            Self::One(number) => others.contains(*number),
            Self::Few(list) => list.iter().any(|number| others.contains(*number)),
            Self::Many(bitmap) => !bitmap.is_disjoint(others),
        }
    }

    /// Returns a bitmap of the numbers.
    #[cfg(test)]
    pub(crate) fn to_bitmap(&self) -> RoaringBitmap {
        match self {
            Self::None => RoaringBitmap::new(),
            Self::One(number) => std::iter::once(*number).collect(),
            Self::Few(list) => list.iter().copied().collect(),
            Self::Many(bitmap) => (**bitmap).clone(),
        }
    }

    /// Turns bitmaps into runs where that is smaller.
    pub(crate) fn optimize(&mut self) {
        if let Self::Many(bitmap) = self {
            bitmap.optimize();
        }
    }

    /// Returns the bytes of memory held beyond the value itself, about.
    pub(crate) fn memory_bytes(&self) -> usize {
        match self {
            Self::None | Self::One(_) => 0,
            Self::Few(list) => list.capacity() * 4,
            Self::Many(bitmap) => bitmap.serialized_size() + 64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn is_a_set(numbers in proptest::collection::vec(0_u32..200, 0..120)) {
            let mut postings = Postings::default();
            for number in &numbers {
                postings.insert(*number);
            }
            postings.optimize();
            let expected: BTreeSet<u32> = numbers.into_iter().collect();
            prop_assert_eq!(postings.len(), expected.len() as u64);
            prop_assert_eq!(postings.to_bitmap().iter().collect::<Vec<_>>(), expected.iter().copied().collect::<Vec<_>>());
            let others: RoaringBitmap = [7, 90, 199].into_iter().collect();
            prop_assert_eq!(postings.meets(&others), [7, 90, 199].iter().any(|number| expected.contains(number)));
            let gone: RoaringBitmap = (20..190).collect();
            postings.remove_all(&gone);
            let left: Vec<u32> = expected.into_iter().filter(|number| !gone.contains(*number)).collect();
            prop_assert_eq!(postings.len(), left.len() as u64);
            prop_assert_eq!(postings.to_bitmap().iter().collect::<Vec<_>>(), left);
        }
    }
}
