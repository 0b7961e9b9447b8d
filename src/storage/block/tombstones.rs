//! What was deleted of a block: `<ulid>.del` beside it, written anew at each deletion, applied while reading.
//!
//! All of it stands there twice: a damaged byte must not bring back what was deleted. (Before version 2 of blocks: once.)
//!
//! ```text
//! magic 8 "WKBLKDEL" | version u32 | n u32 | n x (series place u32, from ms i64, to ms i64) | crc u32
//! ```

use crate::storage::column::varint::ByteReader;
use std::collections::BTreeMap;

const MAGIC: [u8; 8] = *b"WKBLKDEL";
const VERSION: u32 = 1;

/// Deleted ranges of time (both ends included) by place of the series.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tombstones {
    ranges: BTreeMap<u32, Vec<(i64, i64)>>,
}

impl Tombstones {
    /// Returns whether nothing was deleted.
    pub(crate) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Adds a range; overlapping and touching ones become one.
    pub(crate) fn add(&mut self, place: u32, from_ms: i64, to_ms: i64) {
        let list = self.ranges.entry(place).or_default();
        list.push((from_ms, to_ms));
        list.sort_unstable();
        let mut joined: Vec<(i64, i64)> = Vec::with_capacity(list.len());
        for (from, to) in list.drain(..) {
            match joined.last_mut() {
                Some(last) if from <= last.1.saturating_add(1) => last.1 = last.1.max(to),
                _ => joined.push((from, to)),
            }
        }
        *list = joined;
    }

    /// Returns the deleted ranges of a series.
    pub(crate) fn of(&self, place: u32) -> &[(i64, i64)] {
        self.ranges.get(&place).map_or(&[], Vec::as_slice)
    }

    /// Writes the file.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&VERSION.to_le_bytes());
        let count: usize = self.ranges.values().map(Vec::len).sum();
        out.extend_from_slice(&(count as u32).to_le_bytes());
        for (place, ranges) in &self.ranges {
            for (from_ms, to_ms) in ranges {
                out.extend_from_slice(&place.to_le_bytes());
                out.extend_from_slice(&from_ms.to_le_bytes());
                out.extend_from_slice(&to_ms.to_le_bytes());
            }
        }
        let crc = crc32c::crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out.repeat(2)
    }

    /// Reads the file; `None` where both copies are damaged.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (first, second) = bytes.split_at_checked(bytes.len() / 2)?;
        Self::decode_one(first).or_else(|| Self::decode_one(second)).or_else(|| Self::decode_one(bytes))
    }

    /// Returns whether the file is as it was written, both copies of it.
    pub(crate) fn is_whole(bytes: &[u8]) -> bool {
        let doubled = bytes.split_at(bytes.len() / 2);
        Self::decode_one(bytes).is_some() || (doubled.0 == doubled.1 && Self::decode_one(doubled.0).is_some())
    }

    fn decode_one(bytes: &[u8]) -> Option<Self> {
        let (body, crc) = bytes.split_last_chunk::<4>()?;
        if crc32c::crc32c(body) != u32::from_le_bytes(*crc) {
            return None;
        }
        let mut reader = ByteReader::new(body);
        if reader.bytes(8)? != MAGIC || reader.u32()? != VERSION {
            return None;
        }
        let mut found = Self::default();
        for _ in 0..reader.u32()? {
            found.add(reader.u32()?, reader.i64()?, reader.i64()?);
        }
        Some(found)
    }
}

/// Returns whether a time lies in one of the ranges.
pub(crate) fn is_deleted(ranges: &[(i64, i64)], at_ms: i64) -> bool {
    ranges.iter().any(|(from_ms, to_ms)| at_ms >= *from_ms && at_ms <= *to_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_join_and_come_back() {
        let mut tombstones = Tombstones::default();
        for (from_ms, to_ms) in [(10, 20), (40, 50), (21, 30), (i64::MIN, 0)] {
            tombstones.add(3, from_ms, to_ms);
        }
        assert_eq!(tombstones.of(3), [(i64::MIN, 0), (10, 30), (40, 50)]);
        assert!(is_deleted(tombstones.of(3), 30) && !is_deleted(tombstones.of(3), 31) && tombstones.of(4).is_empty());
        let bytes = tombstones.encode();
        assert_eq!(bytes[..16], [b'W', b'K', b'B', b'L', b'K', b'D', b'E', b'L', 1, 0, 0, 0, 3, 0, 0, 0]);
        assert_eq!(Tombstones::decode(&bytes).as_ref(), Some(&tombstones));
        assert_eq!(Tombstones::decode(&bytes[..bytes.len() / 2]).as_ref(), Some(&tombstones), "written by an older version");
        assert!(Tombstones::is_whole(&bytes) && Tombstones::is_whole(&bytes[..bytes.len() / 2]));
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert_eq!(Tombstones::decode(&damaged).as_ref(), Some(&tombstones));
            assert!(!Tombstones::is_whole(&damaged));
            damaged[(at + bytes.len() / 2) % bytes.len()] ^= 1;
            assert_eq!(Tombstones::decode(&damaged), None);
        }
    }
}
