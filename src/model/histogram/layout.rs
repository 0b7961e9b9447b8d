//! Buckets: from spans to indices and bounds, and back.

use super::{CUSTOM_BUCKETS_SCHEMA, FloatHistogram, Span};
use std::sync::LazyLock;

/// One bucket with its bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// Lower bound.
    pub lower: f64,
    /// Upper bound.
    pub upper: f64,
    /// Whether an observation at the lower bound is in it.
    pub lower_inclusive: bool,
    /// Whether an observation at the upper bound is in it.
    pub upper_inclusive: bool,
    /// Observations.
    pub count: f64,
}

/// Populated buckets as pairs of index and count, ascending.
pub(super) type Pairs = Vec<(i32, f64)>;

/// Walks `(index, count)` over spans.
#[derive(Clone, Debug)]
pub struct Indexed<'a> {
    spans: std::slice::Iter<'a, Span>,
    counts: std::slice::Iter<'a, f64>,
    index: i32,
    left: u32,
}

impl<'a> Indexed<'a> {
    fn new(spans: &'a [Span], counts: &'a [f64]) -> Self {
        Self { spans: spans.iter(), counts: counts.iter(), index: 0, left: 0 }
    }
}

impl Iterator for Indexed<'_> {
    type Item = (i32, f64);

    fn next(&mut self) -> Option<Self::Item> {
        while self.left == 0 {
            let span = self.spans.next()?;
            self.index = self.index.wrapping_add(span.offset);
            self.left = span.length;
        }
        let count = *self.counts.next()?;
        let index = self.index;
        self.index = self.index.wrapping_add(1);
        self.left -= 1;
        Some((index, count))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.counts.len()))
    }
}

/// Adds counts that come as differences between neighbours, as whole counts do on the wire.
pub fn add_differences(differences: &[i64], into: &mut Vec<f64>) {
    let mut count = 0_i64;
    into.extend(differences.iter().map(|difference| {
        count = count.wrapping_add(*difference);
        count as f64
    }));
}

/// Packs ascending pairs into spans and counts; empty buckets drop out.
#[must_use]
pub fn pack(pairs: impl IntoIterator<Item = (i32, f64)>) -> (Vec<Span>, Vec<f64>) {
    let mut spans: Vec<Span> = Vec::new();
    let mut counts = Vec::new();
    let mut next = 0;
    for (index, count) in pairs {
        if count == 0.0 {
            continue;
        }
        match spans.last_mut() {
            Some(span) if index == next => span.length += 1,
            _ => spans.push(Span { offset: index.wrapping_sub(next), length: 1 }),
        }
        counts.push(count);
        next = index.wrapping_add(1);
    }
    (spans, counts)
}

/// The fractions that bound the buckets of schema 4 within one power of two, as Prometheus tabulates them.
const SIXTEENTHS: [f64; 16] = [
    0.5,
    0.5221368912137069,
    0.5452538663326288,
    0.5693943173783458,
    0.5946035575013605,
    0.620928906036742,
    0.6484197773255048,
    0.6771277734684463,
    0.7071067811865475,
    0.7384130729697496,
    0.7711054127039704,
    0.805245165974627,
    0.8408964152537144,
    0.8781260801866495,
    0.9170040432046711,
    0.9576032806985735,
];

/// The same for schema 8.
static FRACTIONS: LazyLock<Vec<f64>> = LazyLock::new(|| {
    let fraction = |i: usize| SIXTEENTHS[i / 16] * (((i % 16) as f64) / 256.0).exp2();
    (0..256).map(fraction).collect()
});

/// Returns the upper bound of the bucket with that index.
#[must_use]
pub fn exponential_bound(index: i32, schema: i32) -> f64 {
    if schema < 0 {
        let exponent = i64::from(index) << (-schema).min(31);
        return if exponent == 1024 { f64::MAX } else { ldexp(1.0, exponent) };
    }
    let schema = schema.min(8);
    let place = index & ((1 << schema) - 1);
    let fraction = FRACTIONS[(place as usize) << (8 - schema)];
    let exponent = i64::from(index >> schema) + 1;
    if place == 0 && exponent == 1025 { f64::MAX } else { ldexp(fraction, exponent) }
}

fn ldexp(fraction: f64, exponent: i64) -> f64 {
    // In two steps, so that subnormal results and the largest powers come out right.
    let exponent = exponent.clamp(-2200, 2200) as i32;
    let half = exponent / 2;
    let power = |e: i32| if e.abs() <= 1022 { f64::from_bits(((1023 + e) as u64) << 52) } else { 2_f64.powi(e) };
    fraction * power(half) * power(exponent - half)
}

impl FloatHistogram {
    /// Returns whether the bucket bounds are custom.
    #[must_use]
    pub const fn uses_custom_buckets(&self) -> bool {
        self.schema == CUSTOM_BUCKETS_SCHEMA
    }

    /// Walks the positive buckets as `(index, count)`.
    #[must_use]
    pub fn positive(&self) -> Indexed<'_> {
        Indexed::new(&self.positive_spans, &self.positive_buckets)
    }

    /// Walks the negative buckets as `(index, count)`, from zero away.
    #[must_use]
    pub fn negative(&self) -> Indexed<'_> {
        Indexed::new(&self.negative_spans, &self.negative_buckets)
    }

    /// Returns the upper bound of the positive bucket with that index.
    #[must_use]
    pub fn bound(&self, index: i32) -> f64 {
        if !self.uses_custom_buckets() {
            return exponential_bound(index, self.schema);
        }
        match usize::try_from(index) {
            Err(_) => f64::NEG_INFINITY,
            Ok(place) => self.custom_values.get(place).copied().unwrap_or(f64::INFINITY),
        }
    }

    /// Returns the positive bucket with that index.
    #[must_use]
    pub fn positive_bucket(&self, index: i32, count: f64) -> Bucket {
        let (lower, upper) = (self.bound(index.wrapping_sub(1)), self.bound(index));
        if self.uses_custom_buckets() {
            Bucket { lower, upper, lower_inclusive: index == 0, upper_inclusive: true, count }
        } else {
            Bucket { lower, upper, lower_inclusive: lower < 0.0, upper_inclusive: upper > 0.0, count }
        }
    }

    /// Returns the negative bucket with that index.
    #[must_use]
    pub fn negative_bucket(&self, index: i32, count: f64) -> Bucket {
        let (lower, upper) = (-self.bound(index), -self.bound(index.wrapping_sub(1)));
        Bucket { lower, upper, lower_inclusive: lower < 0.0, upper_inclusive: upper > 0.0, count }
    }

    /// Returns the zero bucket.
    #[must_use]
    pub const fn zero_bucket(&self) -> Bucket {
        Bucket {
            lower: -self.zero_threshold,
            upper: self.zero_threshold,
            lower_inclusive: true,
            upper_inclusive: true,
            count: self.zero_count,
        }
    }

    /// Returns all buckets ascending, the zero bucket (if populated) in its place; bounds that reach into it are cut.
    #[must_use]
    pub fn all_buckets(&self) -> Vec<Bucket> {
        let mut buckets = Vec::with_capacity(self.negative_buckets.len() + self.positive_buckets.len() + 1);
        buckets.extend(self.negative().map(|(index, count)| self.negative_bucket(index, count)));
        buckets.reverse();
        let zero_at = buckets.len();
        if self.zero_count > 0.0 {
            buckets.push(self.zero_bucket());
        }
        buckets.extend(self.positive().map(|(index, count)| self.positive_bucket(index, count)));
        for (place, bucket) in buckets.iter_mut().enumerate() {
            if self.zero_count > 0.0 && place == zero_at {
                continue;
            }
            if bucket.upper < 0.0 && bucket.upper > -self.zero_threshold {
                bucket.upper = -self.zero_threshold;
            } else if bucket.lower > 0.0 && bucket.lower < self.zero_threshold {
                bucket.lower = self.zero_threshold;
            }
        }
        buckets
    }

    /// Drops empty buckets.
    pub fn compact(&mut self) {
        if self.positive_buckets.contains(&0.0) || !is_tight(&self.positive_spans) {
            let packed = pack(self.positive());
            (self.positive_spans, self.positive_buckets) = packed;
        }
        if self.negative_buckets.contains(&0.0) || !is_tight(&self.negative_spans) {
            let packed = pack(self.negative());
            (self.negative_spans, self.negative_buckets) = packed;
        }
    }

    /// Returns it with empty buckets dropped.
    #[must_use]
    pub fn compacted(mut self) -> Self {
        self.compact();
        self
    }

    /// Returns its size in memory as Prometheus counts it, in samples of 16 bytes with their timestamps.
    #[must_use]
    pub fn size_in_samples(&self) -> u64 {
        let spans = self.positive_spans.len() + self.negative_spans.len();
        let counts = self.positive_buckets.len() + self.negative_buckets.len() + self.custom_values.len();
        (168 + 8 * (spans + counts) as u64 + 8) / 16
    }

    /// Returns whether two histograms say the same: NaN equals NaN by bits, empty spans and reset hints do not count.
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        let bits = |a: f64, b: f64| a.to_bits() == b.to_bits();
        let floats = |a: &[f64], b: &[f64]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| bits(*a, *b));
        self.schema == other.schema
            && bits(self.count, other.count)
            && bits(self.sum, other.sum)
            && (!self.uses_custom_buckets() || floats(&self.custom_values, &other.custom_values))
            && bits(self.zero_threshold, other.zero_threshold)
            && bits(self.zero_count, other.zero_count)
            && self.negative().eq(other.negative())
            && self.positive().eq(other.positive())
    }
}

/// Returns whether no span is empty and no two touch.
fn is_tight(spans: &[Span]) -> bool {
    spans.iter().enumerate().all(|(place, span)| span.length > 0 && (place == 0 || span.offset != 0))
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "bounds are exact")]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_powers() {
        for (index, schema, bound) in [
            (0, 0, 1.0),
            (1, 0, 2.0),
            (-1, 0, 0.5),
            (1, -1, 4.0),
            (2, 1, 2.0),
            (3, 2, 1.681_792_830_507_428_8),
            (1024, 0, f64::MAX),
            (1025, 0, f64::INFINITY),
            (512, -1, f64::MAX),
            (-1074, 0, 5e-324),
        ] {
            assert_eq!(exponential_bound(index, schema), bound, "{index} {schema}");
        }
        let mut last = 0.0;
        for index in -600..600 {
            let bound = exponential_bound(index, 8);
            assert!(bound > last, "{index}");
            last = bound;
        }
    }

    #[test]
    fn packs_what_it_unpacks() {
        let pairs = vec![(-3, 1.0), (-2, 2.0), (5, 1.0), (7, 4.0)];
        let (spans, counts) = pack(pairs.clone());
        assert_eq!(spans.len(), 3);
        assert_eq!(Indexed::new(&spans, &counts).collect::<Vec<_>>(), pairs);
    }
}
