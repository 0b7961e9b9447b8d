//! Times of a group: regular but for some jitter.
//!
//! ```text
//! n varint | zz first | zz interval | packed zz residuals against first + i * interval
//! ```
//!
//! The interval is the mean, so that jitter does not add up; the first residual is 0 and is left out.

use super::pack::{pack, unpack};
use super::varint::{ByteReader, put_signed, put_varint, unzigzag, zigzag};

/// Rows of one column; more are damage.
const ROWS_MAX: usize = 1 << 20;

/// Returns the interval that makes residuals small.
fn interval(times: &[i64]) -> i64 {
    let mut steps: Vec<i64> = times.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect();
    if steps.is_empty() {
        return 0;
    }
    let middle = steps.len() / 2;
    let (_, median, _) = steps.select_nth_unstable(middle);
    *median
}

fn residuals(times: &[i64], first: i64, interval: i64) -> Vec<u64> {
    let expected = |i: usize| first.wrapping_add(interval.wrapping_mul(i as i64));
    times.iter().enumerate().skip(1).map(|(i, at_ms)| zigzag(at_ms.wrapping_sub(expected(i)))).collect()
}

/// Appends times, ascending.
pub(crate) fn put_times(out: &mut Vec<u8>, times: &[i64]) {
    let first = times.first().copied().unwrap_or(0);
    let last = times.last().copied().unwrap_or(0);
    put_varint(out, times.len() as u64);
    put_signed(out, first);
    // Scheduled scrapes keep to their grid: the median is the schedule. Others drift: the mean follows them.
    let mean = if times.len() > 1 { last.wrapping_sub(first) / (times.len() as i64 - 1) } else { 0 };
    let candidates = [interval(times), mean].map(|interval| (residuals(times, first, interval), interval));
    let size = |residuals: &Vec<u64>| super::pack::packed_len(residuals);
    let [scheduled, drifting] = candidates;
    let (residuals, interval) = if size(&drifting.0) < size(&scheduled.0) { drifting } else { scheduled };
    put_signed(out, interval);
    pack(out, &residuals);
}

/// Reads times; `bytes` must go on for [`super::pack::SPARE_BYTES`] behind them.
pub(crate) fn read_times(bytes: &[u8]) -> Option<Vec<i64>> {
    let mut reader = ByteReader::new(bytes);
    let count = usize::try_from(reader.varint()?).ok().filter(|count| *count <= ROWS_MAX)?;
    let first = reader.signed()?;
    let interval = reader.signed()?;
    if count == 0 {
        return Some(Vec::new());
    }
    let mut residuals = Vec::with_capacity(count);
    unpack(reader.rest(), count - 1, &mut residuals)?;
    let mut times = Vec::with_capacity(count);
    times.push(first);
    let mut expected = first;
    for residual in residuals {
        expected = expected.wrapping_add(interval);
        times.push(expected.wrapping_add(unzigzag(residual)));
    }
    Some(times)
}

#[cfg(test)]
mod tests {
    use super::super::pack::SPARE_BYTES;
    use super::*;
    use proptest::prelude::*;

    fn check(times: &[i64]) -> usize {
        let mut bytes = Vec::new();
        put_times(&mut bytes, times);
        let length = bytes.len();
        bytes.extend_from_slice(&[0; SPARE_BYTES]);
        assert_eq!(read_times(&bytes).as_deref(), Some(times));
        length
    }

    #[test]
    fn regular_times_cost_next_to_nothing() {
        let regular: Vec<i64> = (0..480).map(|i| 1_700_000_000_000 + i * 15_000).collect();
        assert!(check(&regular) < 20);
        let jitter: Vec<i64> = regular.iter().enumerate().map(|(i, at)| at + (i as i64 * 7919) % 3).collect();
        assert!(check(&jitter) < 480);
        let gap: Vec<i64> = regular.iter().enumerate().map(|(i, at)| if i < 240 { *at } else { at + 600_000 }).collect();
        check(&gap);
        check(&[]);
        check(&[-5]);
    }

    proptest! {
        #[test]
        fn times_come_back(steps in proptest::collection::vec(0_i64..1_000_000, 0..300), first in -1_i64 << 50..1 << 50) {
            let times: Vec<i64> = steps.iter().scan(first, |at, step| { *at += step; Some(*at) }).collect();
            check(&times);
        }

        #[test]
        fn damaged_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _read = read_times(&bytes);
        }
    }
}
