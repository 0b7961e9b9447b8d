//! Which blocks to merge next: by time range, not by count.
//!
//! ```text
//! level 0, half hours     --two finished hours-->  level 1     --finished UTC day-->  level 2
//! overlap blocks (late samples) are merged with the blocks of their day when the day is compacted,
//! or when three of them cover it
//! ancient blocks with few samples are joined within 10, 100 and 1000 days, four at a time
//! ```

use crate::storage::block::footer::Header;
use crate::storage::block::ulid::Ulid;

const HOUR_MS: i64 = 3_600_000;
/// Length of a level-1 block.
pub(crate) const SHORT_MS: i64 = 2 * HOUR_MS;
/// Length of a level-2 block.
pub(crate) const DAY_MS: i64 = 24 * HOUR_MS;
/// A range is left alone until nothing was written into it for so long.
const QUIET_MS: i64 = 60_000;
/// So many overlap blocks of one day are merged before the day ends.
const OVERLAPS: usize = 3;

/// What to merge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Merge {
    /// The blocks.
    pub(crate) parents: Vec<Ulid>,
    /// Level of the result.
    pub(crate) level: u8,
    /// Whether the result may lie over others.
    pub(crate) overlap: bool,
}

/// A day is ancient after so long; nobody waits for its samples, and it may be put together with others.
const ANCIENT_MS: i64 = 30 * DAY_MS;
/// Lengths of ranges of ancient samples.
const ANCIENT_RANGES_MS: [i64; 3] = [10 * DAY_MS, 100 * DAY_MS, 1000 * DAY_MS];
/// Ancient blocks are joined as long as they hold no more: what is larger is a good block as it is.
pub(crate) const ANCIENT_SAMPLES: u64 = 4_000_000;
/// So many ancient blocks of one range are joined.
const ANCIENT_BLOCKS: usize = 4;

/// Returns whether a UTC day is over for good.
pub(crate) const fn day_is_over(day: i64, now_ms: i64) -> bool {
    (day + 1) * DAY_MS + HOUR_MS <= now_ms
}

/// Returns the lengths of ancient ranges, and whether the range of a number is ancient as a whole.
pub(crate) fn ancient_ranges(now_ms: i64) -> impl Iterator<Item = (i64, impl Fn(i64) -> bool)> {
    ANCIENT_RANGES_MS.into_iter().map(move |length_ms| (length_ms, move |range| (range + 1) * length_ms + ANCIENT_MS <= now_ms))
}

/// Whether to wait until a range is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Eager {
    /// Wait.
    No,
    /// Merge what is there: somebody asked for it.
    Yes,
}

/// Returns the range of a length in which a block lies wholly.
fn range_of(header: &Header, length_ms: i64) -> Option<i64> {
    let (first, last) = (header.min_ms.div_euclid(length_ms), header.max_ms.div_euclid(length_ms));
    (first == last).then_some(first)
}

fn merge(blocks: &[&Header], level: u8, overlap: bool) -> Merge {
    Merge { parents: blocks.iter().map(|header| header.ulid).collect(), level, overlap }
}

/// Returns the next merge, oldest first.
pub(crate) fn next(headers: &[Header], now_ms: i64, eager: Eager) -> Option<Merge> {
    let eager = eager == Eager::Yes;
    let quiet = |blocks: &[&Header]| eager || blocks.iter().all(|header| header.created_ms + QUIET_MS <= now_ms);
    let ranges = |length_ms: i64| {
        let mut ranges: Vec<i64> = headers.iter().filter_map(|header| range_of(header, length_ms)).collect();
        ranges.sort_unstable();
        ranges.dedup();
        ranges
    };
    for range in if eager { Vec::new() } else { ranges(SHORT_MS) } {
        let inside = |header: &&Header| !header.overlap && header.level <= 1 && range_of(header, SHORT_MS) == Some(range);
        let blocks: Vec<&Header> = headers.iter().filter(inside).collect();
        let finished = (range + 1) * SHORT_MS + QUIET_MS <= now_ms;
        let fresh = blocks.iter().filter(|header| header.level == 0).count();
        if finished && fresh > 0 && quiet(&blocks) {
            return Some(merge(&blocks, 1, false));
        }
    }
    for range in ranges(DAY_MS) {
        let blocks: Vec<&Header> = headers.iter().filter(|header| range_of(header, DAY_MS) == Some(range)).collect();
        let overlaps: Vec<&Header> = blocks.iter().copied().filter(|header| header.overlap).collect();
        let finished = eager || day_is_over(range, now_ms);
        let is_new = blocks.len() > 1 || blocks.iter().any(|header| header.level < 2);
        if finished && is_new && quiet(&blocks) {
            return Some(merge(&blocks, 2, false));
        }
        if !finished && overlaps.len() >= OVERLAPS {
            return Some(merge(&overlaps, 0, true));
        }
    }
    for (length_ms, is_ancient) in ancient_ranges(now_ms) {
        for range in ranges(length_ms).into_iter().filter(|range| is_ancient(*range)) {
            let few = |header: &&Header| range_of(header, length_ms) == Some(range) && header.samples <= ANCIENT_SAMPLES / 2;
            let mut blocks: Vec<&Header> = headers.iter().filter(few).collect();
            blocks.sort_by_key(|header| header.samples);
            let mut samples = 0;
            let fits = |header: &&Header| {
                samples += header.samples;
                samples <= ANCIENT_SAMPLES
            };
            let count = blocks.iter().copied().take_while(fits).count();
            blocks.truncate(count);
            let enough = if eager { 2 } else { ANCIENT_BLOCKS };
            // One that is much larger than all others together waits until more have come.
            let worth = blocks.split_last().is_some_and(|(largest, others)| {
                eager || largest.samples <= 4 * others.iter().map(|header| header.samples).sum::<u64>()
            });
            if blocks.len() >= enough && worth && quiet(&blocks) {
                return Some(merge(&blocks, 2, false));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::wal::Position;

    fn header(number: u128, level: u8, from_h: f64, to_h: f64, overlap: bool) -> Header {
        let ms = |hours: f64| (hours * HOUR_MS as f64) as i64;
        Header {
            version: Header::VERSION,
            ulid: Ulid(number),
            overlap,
            min_ms: ms(from_h),
            max_ms: ms(to_h) - 1,
            samples: 1,
            series: 1,
            columns: 1,
            pages: 1,
            level,
            created_ms: 0,
            position: Position::default(),
        }
    }

    fn check(blocks: &[Header], now_h: f64, expected: Option<(&[u128], u8, bool)>) {
        let found = next(blocks, (now_h * HOUR_MS as f64) as i64, Eager::No);
        let expected = expected.map(|(parents, level, overlap)| Merge {
            parents: parents.iter().map(|number| Ulid(*number)).collect(),
            level,
            overlap,
        });
        assert_eq!(found, expected);
    }

    #[test]
    fn merges_finished_ranges() {
        let halves: Vec<Header> =
            (0..4).map(|i| header(i, 0, f64::from(i as u32) * 0.5, f64::from(i as u32 + 1) * 0.5, false)).collect();
        check(&halves, 1.9, None);
        check(&halves, 2.5, Some((&[0, 1, 2, 3], 1, false)));
        check(&[header(9, 1, 0.0, 2.0, false)], 3.0, None);
        check(&[header(9, 1, 0.0, 2.0, false)], 25.5, Some((&[9], 2, false)));
        check(&[header(9, 2, 0.0, 24.0, false)], 99.0, None);
        let late = |number| header(number, 0, 1.0, 5.0, true);
        check(&[header(9, 2, 0.0, 24.0, false), late(10)], 99.0, Some((&[9, 10], 2, false)));
        check(&[late(1), late(2)], 10.0, None);
        check(&[late(1), late(2), late(3)], 10.0, Some((&[1, 2, 3], 0, true)));
        let now_h = 24.0 * 2000.0;
        let ancient: Vec<Header> =
            (0..4).map(|i| header(i, 2, 24.0 * f64::from(i as u32), 24.0 * f64::from(i as u32) + 1.0, false)).collect();
        check(&ancient, now_h, Some((&[0, 1, 2, 3], 2, false)));
        check(&ancient[..3], now_h, None);
        let mut large = ancient.clone();
        large[3].samples = ANCIENT_SAMPLES;
        check(&large, now_h, None);
        let far: Vec<Header> =
            (0..4).map(|i| header(i, 2, 240.0 * f64::from(i as u32), 240.0 * f64::from(i as u32) + 1.0, true)).collect();
        check(&far, now_h, Some((&[0, 1, 2, 3], 2, false)));
    }
}
