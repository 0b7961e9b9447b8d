//! Prometheus's chunks of float histograms: the layout once, then times, counts and buckets by how they change. All histograms
//! here are of floats, so there is no need for the chunks of whole numbers.

use super::xor::{Bits, exclusive_or};
use crate::model::histogram::{CUSTOM_BUCKETS_SCHEMA, CounterResetHint, FloatHistogram, Span};
use crate::model::sample::is_stale;
use std::sync::Arc;

/// A histogram and its time in milliseconds.
pub(super) type Point<'h> = (i64, &'h Arc<FloatHistogram>);

/// Returns whether `next` may stand behind `before` in one chunk: it has the same layout, and says of itself what a reader takes
/// for granted of all but the first.
pub(super) fn fits(before: &FloatHistogram, next: &FloatHistogram) -> bool {
    let both_gauges = before.counter_reset_hint == CounterResetHint::Gauge && next.counter_reset_hint == CounterResetHint::Gauge;
    let goes_on = before.counter_reset_hint != CounterResetHint::Gauge && next.counter_reset_hint == CounterResetHint::NotReset;
    (both_gauges || goes_on)
        && !is_stale(before.sum)
        && !is_stale(next.sum)
        && before.schema == next.schema
        && before.zero_threshold.to_bits() == next.zero_threshold.to_bits()
        && before.positive_spans == next.positive_spans
        && before.negative_spans == next.negative_spans
        && before.positive_buckets.len() == next.positive_buckets.len()
        && before.negative_buckets.len() == next.negative_buckets.len()
        && before.custom_values == next.custom_values
}

/// Writes up to 65,535 histograms that fit each other, ascending in time, as one chunk.
pub(super) fn encode(points: &[Point<'_>]) -> Vec<u8> {
    let Some((_, first)) = points.first() else { return Vec::new() };
    let mut bytes = (points.len() as u16).to_be_bytes().to_vec();
    bytes.push(match first.counter_reset_hint {
        CounterResetHint::Unknown => 0,
        CounterResetHint::NotReset => 0x40,
        CounterResetHint::Reset => 0x80,
        CounterResetHint::Gauge => 0xc0,
    });
    let mut bits = Bits::behind(bytes);
    // A stale marker has neither layout nor buckets.
    let nothing = FloatHistogram { sum: first.sum, ..FloatHistogram::default() };
    let is_marker = is_stale(first.sum);
    layout(&mut bits, if is_marker { &nothing } else { first });
    let (mut last_ms, mut step) = (0, 0);
    let mut before: Vec<(u64, Option<(u32, u32)>)> = Vec::new();
    for (place, (at_ms, histogram)) in points.iter().enumerate() {
        let histogram = if is_marker { &nothing } else { &***histogram };
        let counts = [histogram.count, histogram.zero_count, histogram.sum];
        let values = counts.iter().chain(&histogram.positive_buckets).chain(&histogram.negative_buckets);
        if place == 0 {
            varbit(&mut bits, *at_ms);
            for value in values {
                bits.put(value.to_bits(), 64);
                before.push((value.to_bits(), None));
            }
        } else {
            let difference = at_ms.wrapping_sub(last_ms);
            varbit(&mut bits, difference.wrapping_sub(step));
            for (value, (last, window)) in values.zip(&mut before) {
                exclusive_or(&mut bits, value.to_bits() ^ *last, window);
                *last = value.to_bits();
            }
            step = difference;
        }
        last_ms = *at_ms;
    }
    bits.bytes
}

fn layout(bits: &mut Bits, histogram: &FloatHistogram) {
    zero_threshold(bits, histogram.zero_threshold);
    varbit(bits, i64::from(histogram.schema));
    spans(bits, &histogram.positive_spans);
    spans(bits, &histogram.negative_spans);
    if histogram.schema == CUSTOM_BUCKETS_SCHEMA {
        varbit_unsigned(bits, histogram.custom_values.len() as u64);
        histogram.custom_values.iter().for_each(|bound| custom_bound(bits, *bound));
    }
}

/// Powers of two from 2^-243 to 2^10 take one byte.
fn zero_threshold(bits: &mut Bits, threshold: f64) {
    let exponent = (threshold.to_bits() >> 52) as i64 - 1023;
    let is_power = threshold > 0.0 && threshold.to_bits() & ((1 << 52) - 1) == 0;
    if threshold == 0.0 {
        bits.put(0, 8);
    } else if is_power && (-243..=10).contains(&exponent) {
        bits.put((exponent + 244) as u64, 8);
    } else {
        bits.put(255, 8);
        bits.put(threshold.to_bits(), 64);
    }
}

fn spans(bits: &mut Bits, spans: &[Span]) {
    varbit_unsigned(bits, spans.len() as u64);
    for span in spans {
        varbit_unsigned(bits, u64::from(span.length));
        varbit(bits, i64::from(span.offset));
    }
}

/// Bounds that people chose have few decimals: thousandths as a number, which begins with a bit that is set.
fn custom_bound(bits: &mut Bits, bound: f64) {
    let thousandths = bound * 1000.0;
    let whole = thousandths.round();
    if (0.0..=33_554_430.0).contains(&thousandths) && (whole / 1000.0).to_bits() == bound.to_bits() {
        varbit_unsigned(bits, whole as u64 + 1);
    } else {
        bits.put(0, 1);
        bits.put(bound.to_bits(), 64);
    }
}

/// Lengths of the numbers, the first by a prefix of one bit that is set, the next by two, and so on.
pub(super) const LENGTHS: [u32; 8] = [3, 6, 9, 12, 18, 25, 56, 64];

fn prefixed(bits: &mut Bits, place: usize, value: u64) {
    let ones = place as u32 + 1;
    // The longest prefix needs no end.
    bits.put(u64::MAX, ones);
    if ones < 8 {
        bits.put(0, 1);
    }
    bits.put(value, LENGTHS.get(place).copied().unwrap_or(64));
}

pub(super) fn varbit(bits: &mut Bits, value: i64) {
    if value == 0 {
        return bits.put(0, 1);
    }
    let fits = |length: &u32| *length == 64 || (-((1_i64 << (length - 1)) - 1)..=1_i64 << (length - 1)).contains(&value);
    let place = LENGTHS.iter().position(fits).unwrap_or(LENGTHS.len() - 1);
    prefixed(bits, place, value as u64);
}

pub(super) fn varbit_unsigned(bits: &mut Bits, value: u64) {
    if value == 0 {
        return bits.put(0, 1);
    }
    let place = LENGTHS.iter().position(|length| 64 - value.leading_zeros() <= *length).unwrap_or(LENGTHS.len() - 1);
    prefixed(bits, place, value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::chunk_reader::{Room, histograms};

    fn decode(chunk: &[u8]) -> Vec<(i64, FloatHistogram)> {
        let mut found = Vec::new();
        let read = histograms(chunk, false, &mut Room(1 << 20), &mut |at_ms, histogram| found.push((at_ms, histogram)));
        assert_eq!(read, Ok(()));
        found
    }

    fn random(random: &mut fastrand::Rng) -> FloatHistogram {
        let custom = random.u8(0..3) == 0;
        let buckets = |random: &mut fastrand::Rng| (0..random.usize(0..9)).map(|_| random.u32(0..9).into()).collect::<Vec<f64>>();
        let spans = |random: &mut fastrand::Rng, count: usize| match count {
            0 => Vec::new(),
            count => {
                vec![Span { offset: random.i32(-9..900), length: 1 }, Span { offset: random.i32(0..9), length: count as u32 - 1 }]
            }
        };
        let (positive_buckets, negative_buckets) = (buckets(random), if custom { Vec::new() } else { buckets(random) });
        let bounds = [0.005, 0.1, 1.0, 2.5, 33_554.43, 33_554.431, 1e9, 0.000_1, -1.0, 1.0 / 3.0];
        FloatHistogram {
            counter_reset_hint: [
                CounterResetHint::Unknown,
                CounterResetHint::Reset,
                CounterResetHint::NotReset,
                CounterResetHint::Gauge,
            ][random.usize(0..4)],
            schema: if custom { CUSTOM_BUCKETS_SCHEMA } else { random.i32(-4..9) },
            zero_threshold: [0.0, 0.001, 2_f64.powi(-128), 2_f64.powi(-243), 1024.0, 2048.0][random.usize(0..6)],
            count: random.f64(),
            zero_count: f64::from(random.u8(..)),
            sum: random.f64() - 0.5,
            positive_spans: spans(random, positive_buckets.len()),
            negative_spans: spans(random, negative_buckets.len()),
            positive_buckets,
            negative_buckets,
            custom_values: if custom { bounds[..random.usize(0..10)].to_vec() } else { Vec::new() },
        }
    }

    #[test]
    fn chunks_have_what_was_written() {
        let mut chance = fastrand::Rng::with_seed(9);
        for _ in 0..500 {
            let first = random(&mut chance);
            let mut at_ms = chance.i64(-1_000_000..2_000_000_000_000);
            let mut expected = Vec::new();
            for place in 0..chance.usize(1..40) {
                at_ms += [15_000, 15_001, 1, 70_000, 1 << 40][chance.usize(0..5)];
                let mut next = first.clone();
                if place > 0 && first.counter_reset_hint != CounterResetHint::Gauge {
                    next.counter_reset_hint = CounterResetHint::NotReset;
                }
                next.count += chance.f64();
                next.sum = f64::from_bits(chance.u64(..) & !(1 << 62));
                next.positive_buckets.iter_mut().for_each(|count| *count += f64::from(chance.u8(0..3)));
                expected.push((at_ms, Arc::new(next)));
            }
            assert!(expected.windows(2).all(|pair| fits(&pair[0].1, &pair[1].1)));
            let points: Vec<Point<'_>> = expected.iter().map(|(at_ms, histogram)| (*at_ms, histogram)).collect();
            let found = decode(&encode(&points));
            assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(&expected) {
                assert_eq!((found.0, &found.1), (expected.0, &*expected.1));
            }
        }
    }

    #[test]
    fn a_stale_marker_has_a_chunk_without_buckets() {
        let whole = random(&mut fastrand::Rng::with_seed(1));
        let marker = Arc::new(FloatHistogram { sum: f64::from_bits(0x7ff0_0000_0000_0002), ..whole.clone() });
        assert!(!fits(&whole, &marker) && !fits(&marker, &whole));
        let found = decode(&encode(&[(5, &marker)]));
        assert!(matches!(found.as_slice(), [(5, found)] if is_stale(found.sum) && found.positive_buckets.is_empty()));
    }
}
