//! Prometheus's chunks, read: bits first, then the samples of the three kinds there are. What a chunk says of its own size is
//! believed only as far as its bits go.

use super::histogram_chunk::LENGTHS;
use crate::model::histogram::layout::add_differences;
use crate::model::histogram::{CUSTOM_BUCKETS_SCHEMA, CounterResetHint, FloatHistogram, Span};
use crate::model::protobuf::{Malformed, zigzag};
use crate::model::sample::is_stale;
use std::ops::Range;

const END: Malformed = Malformed("a chunk ends within a sample");
const NO_LENGTH: Malformed = Malformed("a chunk has a value without bits");
const TOO_LARGE: Malformed = Malformed("chunks hold more than may be read at once");

/// Walks the bits of a chunk, the highest of each byte first.
pub(super) struct BitReader<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// Where the bits lie in which two values differ: zeros before them, and how many they are.
type Window = (u32, u32);

impl<'a> BitReader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    const fn left(&self) -> usize {
        self.bytes.len() * 8 - self.at
    }

    /// Takes `count` bits, 64 at most.
    pub(super) fn take(&mut self, count: u32) -> Result<u64, Malformed> {
        if count as usize > self.left() {
            return Err(END);
        }
        let (mut value, mut need) = (0_u64, count);
        while need > 0 {
            let free = 8 - (self.at % 8) as u32;
            let now = need.min(free);
            let byte = u64::from(self.bytes[self.at / 8]);
            value = value << now | byte >> (free - now) & ((1 << now) - 1);
            self.at += now as usize;
            need -= now;
        }
        Ok(value)
    }

    /// Counts the bits that are set in front of one that is not, `most` at most.
    fn ones(&mut self, most: usize) -> Result<usize, Malformed> {
        for count in 0..most {
            if self.take(1)? == 0 {
                return Ok(count);
            }
        }
        Ok(most)
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0;
        for shift in (0..70).step_by(7) {
            let byte = self.take(8)?;
            if shift == 63 && byte > 1 {
                break;
            }
            value |= (byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Malformed("integer overflow"))
    }

    /// Takes a signed number of so many bits; its range is one further up than down.
    fn signed_of(&mut self, length: u32) -> Result<i64, Malformed> {
        let value = self.take(length)?;
        Ok(if length < 64 && length > 0 && value > 1 << (length - 1) { value as i64 - (1 << length) } else { value as i64 })
    }

    fn signed(&mut self) -> Result<i64, Malformed> {
        let ones = self.ones(8)?;
        ones.checked_sub(1).map_or(Ok(0), |place| self.signed_of(LENGTHS[place]))
    }

    fn unsigned(&mut self) -> Result<u64, Malformed> {
        let ones = self.ones(8)?;
        ones.checked_sub(1).map_or(Ok(0), |place| self.take(LENGTHS[place]))
    }

    /// Takes the bits in which a value differs from the one before.
    fn difference(&mut self, window: &mut Window) -> Result<u64, Malformed> {
        if self.take(1)? == 0 {
            return Ok(0);
        }
        if self.take(1)? == 1 {
            let leading = self.take(5)? as u32;
            let length = match self.take(6)? as u32 {
                0 => 64,
                length => length,
            };
            *window = (leading, length);
        }
        let (leading, length) = *window;
        if length == 0 || leading + length > 64 {
            return Err(NO_LENGTH);
        }
        Ok(self.take(length)? << (64 - leading - length))
    }
}

/// Bounds what a call may make of chunks, in numbers of eight bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room(pub(super) u64);

impl Room {
    fn take(&mut self, numbers: usize) -> Result<(), Malformed> {
        self.0 = self.0.checked_sub(numbers as u64).ok_or(TOO_LARGE)?;
        Ok(())
    }
}

/// Returns how many samples a chunk says it has.
pub(super) fn count(chunk: &[u8]) -> u64 {
    chunk.first_chunk::<2>().map_or(0, |count| u64::from(u16::from_be_bytes(*count)))
}

/// Reads a chunk of floats.
pub(super) fn floats(chunk: &[u8], room: &mut Room, sink: &mut dyn FnMut(i64, f64)) -> Result<(), Malformed> {
    let mut reader = BitReader::new(chunk);
    let count = reader.take(16)?;
    let (mut at_ms, mut step, mut value) = (0_i64, 0_i64, 0_u64);
    let mut window = (0, 0);
    for place in 0..count {
        room.take(2)?;
        if place == 0 {
            at_ms = zigzag(reader.varint()?);
            value = reader.take(64)?;
        } else {
            if place == 1 {
                step = reader.varint()? as i64;
            } else {
                let length = match reader.ones(4)? {
                    0 => 0,
                    1 => 14,
                    2 => 17,
                    3 => 20,
                    _ => 64,
                };
                step = step.wrapping_add(reader.signed_of(length)?);
            }
            at_ms = at_ms.wrapping_add(step);
            value ^= reader.difference(&mut window)?;
        }
        sink(at_ms, f64::from_bits(value));
    }
    Ok(())
}

/// What all histograms of a chunk have in common.
struct Layout {
    hint: CounterResetHint,
    zero_threshold: f64,
    schema: i32,
    positive_spans: Vec<Span>,
    negative_spans: Vec<Span>,
    positive: usize,
    buckets: usize,
    custom_values: Vec<f64>,
}

impl Layout {
    fn read(reader: &mut BitReader<'_>) -> Result<Self, Malformed> {
        let hint = match reader.take(2)? {
            0 => CounterResetHint::Unknown,
            1 => CounterResetHint::NotReset,
            2 => CounterResetHint::Reset,
            _ => CounterResetHint::Gauge,
        };
        reader.take(6)?;
        let zero_threshold = match reader.take(8)? {
            0 => 0.0,
            255 => f64::from_bits(reader.take(64)?),
            byte => 2_f64.powi(byte as i32 - 244),
        };
        let schema = reader.signed()? as i32;
        let (positive_spans, positive) = spans(reader)?;
        let (negative_spans, negative) = spans(reader)?;
        let mut custom_values = Vec::new();
        if schema == CUSTOM_BUCKETS_SCHEMA {
            for _ in 0..reader.unsigned()? {
                custom_values.push(match reader.unsigned()? {
                    0 => f64::from_bits(reader.take(64)?),
                    more => (more - 1) as f64 / 1000.0,
                });
            }
        }
        // Each bucket has one bit at least.
        let buckets = usize::try_from(positive.saturating_add(negative)).unwrap_or(usize::MAX);
        if buckets > reader.left() {
            return Err(END);
        }
        let positive = positive as usize;
        Ok(Self { hint, zero_threshold, schema, positive_spans, negative_spans, positive, buckets, custom_values })
    }

    /// Makes a histogram; a stale marker has no buckets.
    fn histogram(
        &self,
        place: u64,
        [count, zero_count, sum]: [f64; 3],
        positive: Vec<f64>,
        negative: Vec<f64>,
    ) -> FloatHistogram {
        let counter_reset_hint = match self.hint {
            CounterResetHint::Gauge => CounterResetHint::Gauge,
            hint if place == 0 => hint,
            _ => CounterResetHint::NotReset,
        };
        if is_stale(sum) {
            return FloatHistogram { counter_reset_hint, sum, ..FloatHistogram::default() };
        }
        FloatHistogram {
            counter_reset_hint,
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            count,
            zero_count,
            sum,
            positive_spans: self.positive_spans.clone(),
            negative_spans: self.negative_spans.clone(),
            positive_buckets: positive,
            negative_buckets: negative,
            custom_values: self.custom_values.clone(),
        }
    }
}

fn spans(reader: &mut BitReader<'_>) -> Result<(Vec<Span>, u64), Malformed> {
    let mut all = 0_u64;
    let mut spans = Vec::new();
    for _ in 0..reader.unsigned()? {
        let length = u32::try_from(reader.unsigned()?).map_err(|_| END)?;
        all += u64::from(length);
        spans.push(Span { offset: reader.signed()? as i32, length });
    }
    Ok((spans, all))
}

/// Takes histograms with their times in milliseconds.
pub(super) type HistogramSink<'s> = dyn FnMut(i64, FloatHistogram) + 's;

/// Reads a chunk of histograms, of whole counts (`counted`) or of floats. Nothing is said of whether they are sound.
pub(super) fn histograms(chunk: &[u8], counted: bool, room: &mut Room, sink: &mut HistogramSink<'_>) -> Result<(), Malformed> {
    let mut reader = BitReader::new(chunk);
    let count = reader.take(16)?;
    let layout = Layout::read(&mut reader)?;
    let mut numbers = if counted { Numbers::Whole(Whole::default()) } else { Numbers::Floats(Vec::new()) };
    let (mut at_ms, mut step) = (0_i64, 0_i64);
    for place in 0..count {
        room.take(layout.buckets + size_of::<FloatHistogram>() / 8)?;
        if place == 0 {
            at_ms = reader.signed()?;
        } else {
            step = step.wrapping_add(reader.signed()?);
            at_ms = at_ms.wrapping_add(step);
        }
        let (counts, positive, negative) = match &mut numbers {
            Numbers::Whole(whole) => whole.next(&mut reader, place == 0, &layout)?,
            Numbers::Floats(floats) => next_floats(&mut reader, floats, &layout)?,
        };
        sink(at_ms, layout.histogram(place, counts, positive, negative));
    }
    Ok(())
}

/// How the numbers of histograms are written.
enum Numbers {
    Whole(Whole),
    /// Value and window of each number; empty before the first histogram.
    Floats(Vec<(u64, Window)>),
}

/// Count, zero count and sum; positive buckets; negative buckets.
type Read = ([f64; 3], Vec<f64>, Vec<f64>);

/// Whole numbers, by how their differences change.
#[derive(Default)]
struct Whole {
    /// Count, zero count, and buckets, each as the difference to the bucket before it; and their last changes.
    numbers: Vec<(i64, i64)>,
    sum: u64,
    window: Window,
}

impl Whole {
    fn change(&mut self, reader: &mut BitReader<'_>, places: Range<usize>) -> Result<(), Malformed> {
        for (number, change) in self.numbers.get_mut(places).unwrap_or_default() {
            *change = change.wrapping_add(reader.signed()?);
            *number = number.wrapping_add(*change);
        }
        Ok(())
    }

    fn next(&mut self, reader: &mut BitReader<'_>, first: bool, layout: &Layout) -> Result<Read, Malformed> {
        if first {
            for _ in 0..2 {
                self.numbers.push((reader.unsigned()? as i64, 0));
            }
            self.sum = reader.take(64)?;
            for _ in 0..layout.buckets {
                self.numbers.push((reader.signed()?, 0));
            }
        } else {
            self.change(reader, 0..2)?;
            self.sum ^= reader.difference(&mut self.window)?;
            // Behind the sum of a stale marker there are no buckets.
            if !is_stale(f64::from_bits(self.sum)) {
                self.change(reader, 2..self.numbers.len())?;
            }
        }
        let differences: Vec<i64> = self.numbers.iter().map(|(number, _)| *number).collect();
        let (counts, buckets) = differences.split_at_checked(2).ok_or(END)?;
        let (positive, negative) = buckets.split_at_checked(layout.positive).ok_or(END)?;
        let (mut up, mut down) = (Vec::new(), Vec::new());
        add_differences(positive, &mut up);
        add_differences(negative, &mut down);
        Ok(([counts[0] as u64 as f64, counts[1] as u64 as f64, f64::from_bits(self.sum)], up, down))
    }
}

fn next_floats(reader: &mut BitReader<'_>, numbers: &mut Vec<(u64, Window)>, layout: &Layout) -> Result<Read, Malformed> {
    if numbers.is_empty() {
        for _ in 0..3 + layout.buckets {
            numbers.push((reader.take(64)?, (0, 0)));
        }
    } else {
        for place in 0..numbers.len() {
            // Behind the sum of a stale marker there are no buckets.
            if place == 3 && is_stale(f64::from_bits(numbers[2].0)) {
                break;
            }
            let (value, window) = &mut numbers[place];
            *value ^= reader.difference(window)?;
        }
    }
    let floats: Vec<f64> = numbers.iter().map(|(value, _)| f64::from_bits(*value)).collect();
    let (counts, buckets) = floats.split_at_checked(3).ok_or(END)?;
    let (positive, negative) = buckets.split_at_checked(layout.positive).ok_or(END)?;
    Ok(([counts[0], counts[1], counts[2]], positive.to_vec(), negative.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_chunks_are_errors() {
        let mut random = fastrand::Rng::with_seed(3);
        let mut failed = 0;
        for _ in 0..20_000 {
            let mut chunk: Vec<u8> = (0..random.usize(0..60)).map(|_| random.u8(..)).collect();
            if chunk.len() > 1 {
                chunk[0] = 0;
            }
            let mut room = Room(1 << 20);
            failed += usize::from(floats(&chunk, &mut room, &mut |_, _| {}).is_err());
            for counted in [false, true] {
                failed += usize::from(histograms(&chunk, counted, &mut room, &mut |_, _| {}).is_err());
            }
        }
        assert!(failed > 50_000, "{failed}");
    }

    #[test]
    fn what_is_made_of_chunks_is_bounded() {
        let points: Vec<(i64, f64)> = (0..1000).map(|at_ms| (at_ms, 1.0)).collect();
        let chunk = super::super::xor::encode(&points);
        assert_eq!(count(&chunk), 1000);
        assert_eq!(floats(&chunk, &mut Room(2000), &mut |_, _| {}), Ok(()));
        assert_eq!(floats(&chunk, &mut Room(1999), &mut |_, _| {}), Err(TOO_LARGE));
    }

    /// A chunk of whole counts as Prometheus 3.5's `chunkenc.HistogramChunk` is described: the second histogram by how it
    /// changes, the third, whose changes are the same, by zeros; then a stale marker, without buckets.
    #[test]
    fn whole_counts_are_read() {
        use super::super::histogram_chunk::{varbit, varbit_unsigned};
        use super::super::xor::{Bits, exclusive_or};
        let mut bits = Bits::behind(vec![0, 4, 0]);
        bits.put(0, 8);
        varbit(&mut bits, 1);
        for (length, offset) in [(1, 2), (0, 0)] {
            varbit_unsigned(&mut bits, u64::from(length > 0));
            if length > 0 {
                varbit_unsigned(&mut bits, length + 1);
                varbit(&mut bits, offset);
            }
        }
        // At 1000: count 5, zero 1, sum 2.0, buckets 3 and 1.
        varbit(&mut bits, 1000);
        varbit_unsigned(&mut bits, 5);
        varbit_unsigned(&mut bits, 1);
        bits.put(2_f64.to_bits(), 64);
        varbit(&mut bits, 3);
        varbit(&mut bits, -2);
        // 500 ms later: count 9, zero 2, sum 3.0, buckets 4 and 3; and again as much.
        let mut window = None;
        for (changes, sum) in [([500, 4, 1], [2.0, 3.0]), ([0, 0, 0], [3.0, 4.0])] {
            changes.iter().for_each(|change| varbit(&mut bits, *change));
            exclusive_or(&mut bits, f64::to_bits(sum[0]) ^ f64::to_bits(sum[1]), &mut window);
            let buckets = if changes[0] == 0 { [0, 0] } else { [1, 1] };
            buckets.iter().for_each(|change| varbit(&mut bits, *change));
        }
        [0, 0, 0].iter().for_each(|change| varbit(&mut bits, *change));
        exclusive_or(&mut bits, 4_f64.to_bits() ^ 0x7ff0_0000_0000_0002, &mut window);
        let mut found = Vec::new();
        histograms(&bits.bytes, true, &mut Room(1000), &mut |at_ms, histogram| found.push((at_ms, histogram))).unwrap();
        let told: Vec<_> =
            found.iter().map(|(at_ms, one)| (*at_ms, one.count, one.zero_count, one.sum, &*one.positive_buckets)).collect();
        let expected = [(1000, 5.0, 1.0, 2.0, [3.0, 1.0]), (1500, 9.0, 2.0, 3.0, [4.0, 3.0]), (2000, 13.0, 3.0, 4.0, [5.0, 5.0])];
        for (told, expected) in told.iter().zip(expected) {
            assert_eq!(
                (told.0, told.1, told.2, told.3, told.4),
                (expected.0, expected.1, expected.2, expected.3, &expected.4[..])
            );
        }
        assert!(matches!(told[..], [.., (2500, 0.0, 0.0, sum, [])] if is_stale(sum)));
        assert_eq!(found[1].1.counter_reset_hint, CounterResetHint::NotReset);
    }
}
