//! Quantiles: of plain numbers, of classic buckets, of native histograms; and fractions.

#![expect(clippy::float_cmp, reason = "the specification compares exactly")]

use super::math::{go_max, go_min};
use crate::model::histogram::FloatHistogram;

/// Returns the quantile of numbers, interpolated between neighbours. NaNs count as the smallest.
pub(in crate::promql) fn quantile_of(wanted: f64, mut values: Vec<f64>) -> f64 {
    if values.is_empty() || wanted.is_nan() {
        return f64::NAN;
    }
    if wanted < 0.0 {
        return f64::NEG_INFINITY;
    }
    if wanted > 1.0 {
        return f64::INFINITY;
    }
    let order = |a: &f64, b: &f64| match (a.is_nan(), b.is_nan()) {
        (true, other) => other.cmp(&true),
        (false, true) => std::cmp::Ordering::Greater,
        (false, false) => a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal),
    };
    let last = (values.len() - 1) as f64;
    let rank = wanted * last;
    let lower = go_max(0.0, rank.floor());
    let upper = go_min(last, lower + 1.0);
    let weight = rank - rank.floor();
    // Two neighbours of the order are wanted, not the whole of it.
    let (_, low, above) = values.select_nth_unstable_by(lower as usize, order);
    let low = *low;
    let high = if upper > lower { above.iter().copied().min_by(order).unwrap_or(low) } else { low };
    low * (1.0 - weight) + high * weight
}

/// Returns whether a histogram holds observations that are not a number: they are counted, but in no bucket.
fn has_nans(histogram: &FloatHistogram) -> bool {
    histogram.sum.is_nan() && in_buckets(histogram) < histogram.count
}

fn in_buckets(histogram: &FloatHistogram) -> f64 {
    histogram.zero_count + histogram.positive_buckets.iter().sum::<f64>() + histogram.negative_buckets.iter().sum::<f64>()
}

/// What is to be said about a quantile or fraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::promql) enum Nans {
    None,
    /// There are some, and the result is skewed by them.
    Skewed,
    /// The result itself lies among them.
    Result,
}

/// Returns the quantile of a native histogram.
pub(in crate::promql) fn histogram_quantile(wanted: f64, histogram: &FloatHistogram) -> (f64, Nans) {
    if wanted < 0.0 {
        return (f64::NEG_INFINITY, Nans::None);
    }
    if wanted > 1.0 {
        return (f64::INFINITY, Nans::None);
    }
    if histogram.count == 0.0 || wanted.is_nan() {
        return (f64::NAN, Nans::None);
    }
    let buckets = histogram.all_buckets();
    let forward = histogram.sum.is_nan() || wanted < 0.5;
    let rank = if forward { wanted * histogram.count } else { (1.0 - wanted) * histogram.count };
    let (mut count, mut found) = (0.0, None);
    let mut look = |bucket: &crate::model::histogram::layout::Bucket| {
        if bucket.count == 0.0 {
            return false;
        }
        found = Some(*bucket);
        count += bucket.count;
        count >= rank
    };
    let reached = if forward { buckets.iter().any(&mut look) } else { buckets.iter().rev().any(&mut look) };
    let nans = if has_nans(histogram) { Nans::Skewed } else { Nans::None };
    let Some(mut bucket) = found else { return (f64::NAN, nans) };
    let custom = histogram.uses_custom_buckets();
    if custom && bucket.lower == f64::NEG_INFINITY {
        if bucket.upper <= 0.0 {
            return (bucket.upper, nans);
        }
        bucket.lower = 0.0;
    } else if custom && bucket.upper == f64::INFINITY {
        return (bucket.lower, nans);
    } else if !custom && bucket.lower < 0.0 && bucket.upper > 0.0 {
        one_sided(histogram, &mut bucket);
    }
    let count = go_min(count, histogram.count);
    if !reached && count < rank {
        return if histogram.sum.is_nan() { (f64::NAN, Nans::Result) } else { (bucket.upper, nans) };
    }
    let rank = if forward { rank - (count - bucket.count) } else { count - rank };
    let fraction = rank / bucket.count;
    if custom || (bucket.lower <= 0.0 && bucket.upper >= 0.0) {
        return (bucket.lower + (bucket.upper - bucket.lower) * fraction, nans);
    }
    let (lower, upper) = (bucket.lower.abs().log2(), bucket.upper.abs().log2());
    if bucket.lower > 0.0 {
        return ((lower + (upper - lower) * fraction).exp2(), nans);
    }
    (-(upper + (lower - upper) * (1.0 - fraction)).exp2(), nans)
}

/// A zero bucket holds nothing on a side where the histogram has no buckets.
fn one_sided(histogram: &FloatHistogram, bucket: &mut crate::model::histogram::layout::Bucket) {
    if histogram.negative_buckets.is_empty() && !histogram.positive_buckets.is_empty() {
        bucket.lower = 0.0;
    } else if histogram.positive_buckets.is_empty() && !histogram.negative_buckets.is_empty() {
        bucket.upper = 0.0;
    }
}

/// Finds how many observations lie below two bounds, bucket by bucket.
struct Ranks {
    bounds: [f64; 2],
    ranks: [Option<f64>; 2],
    below: f64,
}

impl Ranks {
    const fn new(lower: f64, upper: f64) -> Self {
        Self { bounds: [lower, upper], ranks: [None; 2], below: 0.0 }
    }

    /// Looks at the next bucket; returns true when both ranks are known. `share` says which share of the bucket lies below
    /// a value within it.
    fn look(&mut self, lower: f64, upper: f64, count: f64, share: impl Fn(f64) -> f64) -> bool {
        for (bound, rank) in self.bounds.into_iter().zip(&mut self.ranks) {
            if rank.is_none() && lower >= bound {
                *rank = Some(self.below);
            }
        }
        for (bound, rank) in self.bounds.into_iter().zip(&mut self.ranks) {
            if rank.is_none() && lower < bound && upper > bound {
                *rank = Some(self.below + count * share(bound));
            }
        }
        self.below += count;
        self.ranks.iter().all(Option::is_some)
    }

    fn fraction(&self, total: f64, of: f64) -> f64 {
        let rank = |rank: Option<f64>| rank.filter(|rank| *rank <= total).unwrap_or(total);
        (rank(self.ranks[1]) - rank(self.ranks[0])) / of
    }
}

/// Returns the share of a bucket below a value within, observations spread evenly.
fn linear(lower: f64, upper: f64, value: f64) -> f64 {
    // Where the observations of a bucket without a lower bound lie is unknown: far below.
    if lower == f64::NEG_INFINITY { 1.0 } else { (value - lower) / (upper - lower) }
}

/// The same, spread evenly on a logarithmic scale.
fn exponential(lower: f64, upper: f64, value: f64) -> f64 {
    let (lower, upper, at) = (lower.abs().log2(), upper.abs().log2(), value.abs().log2());
    if value > 0.0 { (at - lower) / (upper - lower) } else { 1.0 - (at - upper) / (lower - upper) }
}

/// Returns which fraction of the observations of a native histogram lies between two values.
pub(in crate::promql) fn histogram_fraction(lower: f64, upper: f64, histogram: &FloatHistogram) -> (f64, Nans) {
    if histogram.count == 0.0 || lower.is_nan() || upper.is_nan() {
        return (f64::NAN, Nans::None);
    }
    let nans = if has_nans(histogram) { Nans::Skewed } else { Nans::None };
    if lower >= upper {
        return (0.0, nans);
    }
    let mut ranks = Ranks::new(lower, upper);
    let custom = histogram.uses_custom_buckets();
    for mut bucket in histogram.all_buckets() {
        let around_zero = bucket.lower <= 0.0 && bucket.upper >= 0.0;
        if around_zero {
            one_sided(histogram, &mut bucket);
        }
        let (from, to) = (bucket.lower, bucket.upper);
        let share = |value: f64| if custom || around_zero { linear(from, to, value) } else { exponential(from, to, value) };
        if ranks.look(from, to, bucket.count, share) {
            break;
        }
    }
    let total = if histogram.sum.is_nan() { in_buckets(histogram) } else { histogram.count };
    (ranks.fraction(total, histogram.count), nans)
}

/// A classic bucket: observations at or below a bound.
#[derive(Clone, Copy, Debug)]
pub(in crate::promql) struct ClassicBucket {
    pub(in crate::promql) bound: f64,
    pub(in crate::promql) count: f64,
}

/// How classic buckets had to be mended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::promql) struct Forced {
    pub(in crate::promql) lowest: f64,
    pub(in crate::promql) highest: f64,
    pub(in crate::promql) difference: f64,
}

/// Joins buckets of equal bound; bounds ascend already. Returns false where the last is not infinite.
pub(in crate::promql) fn order(buckets: &mut Vec<ClassicBucket>) -> bool {
    if buckets.last().is_none_or(|last| last.bound != f64::INFINITY) {
        return false;
    }
    buckets.dedup_by(|next, kept| {
        let same = next.bound == kept.bound;
        if same {
            kept.count += next.count;
        }
        same
    });
    true
}

/// Makes counts ascend. Differences that rounding explains are mended in silence.
pub(in crate::promql) fn make_monotonic(buckets: &mut [ClassicBucket]) -> Option<Forced> {
    let mut forced: Option<Forced> = None;
    let mut before = buckets.first()?.count;
    for bucket in buckets.iter_mut().skip(1) {
        let count = bucket.count;
        if count == before {
            continue;
        }
        if almost_equal(before, count, 1e-12) {
            bucket.count = before;
        } else if count < before {
            bucket.count = before;
            let difference = before - count;
            let so_far = forced.get_or_insert(Forced { lowest: bucket.bound, highest: bucket.bound, difference });
            so_far.highest = bucket.bound;
            so_far.difference = so_far.difference.max(difference);
        } else {
            before = count;
        }
    }
    forced
}

/// Returns whether two numbers are equal but for a relative error; not a number equals itself.
pub(in crate::promql) fn almost_equal(a: f64, b: f64, tolerance: f64) -> bool {
    if a == b || (a.is_nan() && b.is_nan()) {
        return true;
    }
    let (sum, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < tolerance * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < tolerance
}

/// Returns the quantile of ordered, monotonic classic buckets.
pub(in crate::promql) fn bucket_quantile(wanted: f64, buckets: &[ClassicBucket]) -> f64 {
    if wanted.is_nan() {
        return f64::NAN;
    }
    if wanted < 0.0 {
        return f64::NEG_INFINITY;
    }
    if wanted > 1.0 {
        return f64::INFINITY;
    }
    let [below @ .., last] = buckets else { return f64::NAN };
    let Some(highest) = below.last() else { return f64::NAN };
    if last.count == 0.0 || last.count.is_nan() {
        return f64::NAN;
    }
    let mut rank = wanted * last.count;
    let place = below.partition_point(|bucket| bucket.count < rank);
    let Some(bucket) = below.get(place) else { return highest.bound };
    let Some(previous) = place.checked_sub(1).and_then(|place| below.get(place)) else {
        return if bucket.bound <= 0.0 { bucket.bound } else { bucket.bound * (rank / bucket.count) };
    };
    rank -= previous.count;
    previous.bound + (bucket.bound - previous.bound) * (rank / (bucket.count - previous.count))
}

/// Returns which fraction of the observations of ordered classic buckets lies between two values.
pub(in crate::promql) fn bucket_fraction(lower: f64, upper: f64, buckets: &[ClassicBucket]) -> f64 {
    let Some(total) = buckets.last().map(|bucket| bucket.count) else { return f64::NAN };
    if total == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let mut ranks = Ranks::new(lower, upper);
    let (mut from, mut before) = (f64::NEG_INFINITY, 0.0);
    for (place, bucket) in buckets.iter().enumerate() {
        if place == 0 && bucket.bound > 0.0 {
            from = 0.0;
        }
        if ranks.look(from, bucket.bound, bucket.count - before, |value| linear(from, bucket.bound, value)) {
            break;
        }
        (from, before) = (bucket.bound, bucket.count);
    }
    ranks.fraction(total, total)
}
