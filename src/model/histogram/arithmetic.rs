//! Adding, subtracting and scaling histograms of unlike layout.
//!
//! Two exponential histograms meet at the coarser schema and the wider zero bucket; two with custom bounds at the bounds
//! they share. Exponential and custom cannot meet.

#![expect(clippy::float_cmp, reason = "layouts are equal only where they are so exactly")]

use super::layout::{Pairs, pack};
use super::{CounterResetHint, FloatHistogram};

/// One side has custom bounds, the other has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot apply this operation on histograms with a mix of exponential and custom bucket schemas")]
pub struct Incompatible;

/// What an addition or subtraction came upon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// One side was said to be reset, the other not.
    pub reset_hints_collide: bool,
    /// The custom bounds differed; those of both remain.
    pub bounds_reconciled: bool,
}

/// Adds `add` to a running sum whose lost digits are in `lost` (Kahan and Neumaier).
#[must_use]
#[inline]
pub fn kahan_add(add: f64, sum: f64, lost: f64) -> (f64, f64) {
    let total = sum + add;
    // Written as choices, not branches, so that a loop over it can be made of vector instructions.
    let (larger, smaller) = if sum.abs() >= add.abs() { (sum, add) } else { (add, sum) };
    let lost = lost + ((larger - total) + smaller);
    (total, if total.is_infinite() { 0.0 } else { lost })
}

/// Brings indices from a schema to a coarser one.
pub(super) fn reduce<I: Iterator<Item = (i32, f64)>>(
    pairs: impl Iterator<Item = (i32, f64)>,
    from: i32,
    to: i32,
    then: impl FnOnce(Pairs) -> I,
) -> Pairs {
    let shift = (from - to).clamp(0, 31);
    let mut reduced = Pairs::new();
    for (index, count) in pairs {
        push_or_add(&mut reduced, ((index.wrapping_sub(1)) >> shift).wrapping_add(1), count);
    }
    then(reduced).collect()
}

/// Returns the bounds that both have.
pub(super) fn intersect_bounds(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().copied().filter(|bound| b.contains(bound)).collect()
}

/// Brings buckets with custom bounds to fewer bounds: each goes into the first new one that covers it.
pub(super) fn regroup(pairs: impl Iterator<Item = (i32, f64)>, bounds: &[f64], fewer: &[f64]) -> Pairs {
    let mut regrouped = Pairs::new();
    for (index, count) in pairs {
        let upper = usize::try_from(index).ok().and_then(|place| bounds.get(place)).copied().unwrap_or(f64::INFINITY);
        let place = fewer.partition_point(|bound| *bound < upper);
        push_or_add(&mut regrouped, i32::try_from(place).unwrap_or(i32::MAX), count);
    }
    regrouped
}

fn push_or_add(pairs: &mut Pairs, index: i32, count: f64) {
    match pairs.last_mut() {
        Some((last, sum)) if *last == index => *sum += count,
        _ => pairs.push((index, count)),
    }
}

/// Joins two ascending lists, combining what has the same index.
fn join(a: Pairs, b: Pairs, combine: &mut impl FnMut(i32, f64, f64) -> f64) -> Pairs {
    let mut joined = Pairs::with_capacity(a.len() + b.len());
    let (mut a, mut b) = (a.into_iter().peekable(), b.into_iter().peekable());
    loop {
        let index = match (a.peek(), b.peek()) {
            (Some((left, _)), Some((right, _))) => *left.min(right),
            (Some((index, _)), None) | (None, Some((index, _))) => *index,
            (None, None) => return joined,
        };
        let side = |pairs: &mut std::iter::Peekable<std::vec::IntoIter<(i32, f64)>>| {
            pairs.next_if(|(other, _)| *other == index).map_or(0.0, |(_, count)| count)
        };
        let (left, right) = (side(&mut a), side(&mut b));
        joined.push((index, combine(index, left, right)));
    }
}

impl FloatHistogram {
    /// Multiplies all counts. A negative factor makes a gauge of it.
    #[must_use]
    pub fn scaled(&self, factor: f64) -> Self {
        let mut out = self.clone();
        out.map_counts(|count| count * factor);
        if factor < 0.0 {
            out.counter_reset_hint = CounterResetHint::Gauge;
        }
        out
    }

    /// Divides all counts. By zero, no bucket remains: their counts would be infinite or not a number.
    #[must_use]
    pub fn divided(&self, divisor: f64) -> Self {
        let mut out = self.clone();
        out.map_counts(|count| count / divisor);
        if divisor < 0.0 {
            out.counter_reset_hint = CounterResetHint::Gauge;
        }
        if divisor == 0.0 {
            out.positive_spans.clear();
            out.positive_buckets.clear();
            out.negative_spans.clear();
            out.negative_buckets.clear();
        }
        out
    }

    fn map_counts(&mut self, mut f: impl FnMut(f64) -> f64) {
        self.zero_count = f(self.zero_count);
        self.count = f(self.count);
        self.sum = f(self.sum);
        self.positive_buckets.iter_mut().chain(&mut self.negative_buckets).for_each(|count| *count = f(*count));
    }

    /// Returns a copy with a coarser schema.
    #[must_use]
    pub fn at_schema(&self, schema: i32) -> Self {
        if schema >= self.schema || self.uses_custom_buckets() {
            return self.clone();
        }
        let (positive_spans, positive_buckets) = pack(reduce(self.positive(), self.schema, schema, Vec::into_iter));
        let (negative_spans, negative_buckets) = pack(reduce(self.negative(), self.schema, schema, Vec::into_iter));
        Self { schema, positive_spans, positive_buckets, negative_spans, negative_buckets, ..self.clone() }
    }

    /// Adds another histogram.
    ///
    /// # Errors
    /// When one has custom bounds and the other has not; nothing is changed then.
    pub fn add(&mut self, other: &Self) -> Result<Merged, Incompatible> {
        self.merge(other, 1.0, None)
    }

    /// Subtracts another histogram.
    ///
    /// # Errors
    /// When one has custom bounds and the other has not; nothing is changed then.
    pub fn sub(&mut self, other: &Self) -> Result<Merged, Incompatible> {
        self.merge(other, -1.0, None)
    }

    /// Adds another histogram, keeping the digits lost by rounding in `lost` (begin with [`Self::nothing_lost`]).
    ///
    /// # Errors
    /// When one has custom bounds and the other has not; nothing is changed then.
    pub fn kahan_add(&mut self, other: &Self, lost: &mut Self) -> Result<Merged, Incompatible> {
        self.merge(other, 1.0, Some(lost))
    }

    /// Returns a histogram of this layout without observations.
    #[must_use]
    pub fn nothing_lost(&self) -> Self {
        Self {
            counter_reset_hint: self.counter_reset_hint,
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            custom_values: self.custom_values.clone(),
            ..Self::default()
        }
    }

    fn merge(&mut self, other: &Self, sign: f64, mut lost: Option<&mut Self>) -> Result<Merged, Incompatible> {
        if self.uses_custom_buckets() != other.uses_custom_buckets() {
            return Err(Incompatible);
        }
        let reset_hints_collide = self.meet_hints(other.counter_reset_hint);
        let bounds_reconciled = self.uses_custom_buckets() && self.custom_values != other.custom_values;
        let (mut before, mut after) = (Pairs::new(), Pairs::new());
        let alike = self.schema == other.schema
            && self.zero_threshold == other.zero_threshold
            && !bounds_reconciled
            && self.positive_spans == other.positive_spans
            && self.negative_spans == other.negative_spans;
        let other_zero;
        if alike && lost.is_none() {
            other_zero = other.zero_count;
            let both = self.positive_buckets.iter_mut().zip(&other.positive_buckets);
            both.chain(self.negative_buckets.iter_mut().zip(&other.negative_buckets))
                .for_each(|(mine, theirs)| *mine += sign * theirs);
        } else if self.uses_custom_buckets() {
            other_zero = 0.0;
            let bounds = if bounds_reconciled {
                intersect_bounds(&self.custom_values, &other.custom_values)
            } else {
                self.custom_values.clone()
            };
            if let Some(lost) = lost.as_deref_mut() {
                lost.regroup_to(&bounds);
            }
            self.regroup_to(&bounds);
            after = regroup(other.positive(), &other.custom_values, &bounds);
        } else {
            other_zero = self.meet_zero_buckets(other, lost.as_deref_mut());
            let schema = self.schema.min(other.schema);
            if self.schema > schema {
                *self = self.at_schema(schema);
            }
            if let Some(lost) = lost.as_deref_mut().filter(|lost| lost.schema > schema) {
                *lost = lost.at_schema(schema);
            }
            let threshold = self.zero_threshold;
            let outside = |pairs: Pairs| {
                pairs.into_iter().filter(move |(index, _)| super::layout::exponential_bound(*index, schema) > threshold)
            };
            after = reduce(other.positive(), other.schema, schema, outside);
            before = reduce(other.negative(), other.schema, schema, outside);
        }
        self.merge_totals(other, other_zero, sign, lost.as_deref_mut());
        if !alike || lost.is_some() {
            self.merge_pairs(before, after, sign, lost);
        }
        Ok(Merged { reset_hints_collide, bounds_reconciled })
    }

    fn merge_totals(&mut self, other: &Self, other_zero: f64, sign: f64, lost: Option<&mut Self>) {
        if let Some(lost) = lost {
            (self.zero_count, lost.zero_count) = kahan_add(sign * other_zero, self.zero_count, lost.zero_count);
            (self.count, lost.count) = kahan_add(sign * other.count, self.count, lost.count);
            (self.sum, lost.sum) = kahan_add(sign * other.sum, self.sum, lost.sum);
        } else {
            self.zero_count += sign * other_zero;
            self.count += sign * other.count;
            self.sum += sign * other.sum;
        }
    }

    fn merge_pairs(&mut self, negative: Pairs, positive: Pairs, sign: f64, lost: Option<&mut Self>) {
        let Some(lost) = lost else {
            let mut combine = |_, mine, theirs| sign.mul_add(theirs, mine);
            let joined = join(self.positive().collect(), positive, &mut combine);
            (self.positive_spans, self.positive_buckets) = pack(joined);
            let joined = join(self.negative().collect(), negative, &mut combine);
            (self.negative_spans, self.negative_buckets) = pack(joined);
            return;
        };
        let (sum, rest) = join_kahan(self.positive().collect(), positive, lost.positive().collect(), sign);
        (self.positive_spans, self.positive_buckets) = pack(sum);
        (lost.positive_spans, lost.positive_buckets) = pack(rest);
        let (sum, rest) = join_kahan(self.negative().collect(), negative, lost.negative().collect(), sign);
        (self.negative_spans, self.negative_buckets) = pack(sum);
        (lost.negative_spans, lost.negative_buckets) = pack(rest);
    }

    fn regroup_to(&mut self, bounds: &[f64]) {
        if self.custom_values != bounds {
            (self.positive_spans, self.positive_buckets) = pack(regroup(self.positive(), &self.custom_values, bounds));
            self.custom_values = bounds.to_vec();
        }
    }

    /// Takes over what both hints say together; returns whether they contradict each other.
    fn meet_hints(&mut self, other: CounterResetHint) -> bool {
        use CounterResetHint::{Gauge, Unknown};
        match (self.counter_reset_hint, other) {
            (mine, theirs) if mine == theirs => false,
            (Gauge, _) | (_, Gauge) => {
                self.counter_reset_hint = Gauge;
                false
            }
            (mine, theirs) => {
                self.counter_reset_hint = Unknown;
                mine != Unknown && theirs != Unknown
            }
        }
    }

    /// Widens the zero bucket to a threshold that both can have; returns the other's zero count at it.
    fn meet_zero_buckets(&mut self, other: &Self, mut lost: Option<&mut Self>) -> f64 {
        let (mut count, mut threshold) = (other.zero_count, other.zero_threshold);
        while threshold != self.zero_threshold {
            if self.zero_threshold > threshold {
                (count, threshold) = other.zero_count_for(self.zero_threshold);
            }
            if threshold > self.zero_threshold {
                let (mine, wider) = self.zero_count_for(threshold);
                self.widen_zero_bucket(mine, wider);
                if let Some(lost) = lost.as_deref_mut() {
                    let (rest, _) = lost.zero_count_for(wider);
                    lost.widen_zero_bucket(rest, wider);
                }
            }
            if threshold.is_nan() || self.zero_threshold.is_nan() {
                break;
            }
        }
        count
    }

    fn widen_zero_bucket(&mut self, count: f64, threshold: f64) {
        self.zero_count = count;
        self.zero_threshold = threshold;
        let schema = self.schema;
        let outside = |pair: &(i32, f64)| super::layout::exponential_bound(pair.0.wrapping_sub(1), schema) >= threshold;
        let positive = pack(self.positive().filter(outside));
        let negative = pack(self.negative().filter(outside));
        (self.positive_spans, self.positive_buckets) = positive;
        (self.negative_spans, self.negative_buckets) = negative;
    }

    /// Returns what the zero bucket would hold at a larger threshold, and the threshold itself: it grows where it would
    /// lie within a populated bucket.
    #[must_use]
    pub(super) fn zero_count_for(&self, larger: f64) -> (f64, f64) {
        if larger <= self.zero_threshold {
            return (self.zero_count, self.zero_threshold);
        }
        let mut threshold = larger;
        loop {
            let mut count = self.zero_count;
            let begun_with = threshold;
            for pairs in [self.positive(), self.negative()] {
                for (index, bucket) in pairs {
                    if self.bound(index.wrapping_sub(1)) >= threshold {
                        break;
                    }
                    count += bucket;
                    if self.bound(index) > threshold {
                        if bucket != 0.0 {
                            threshold = self.bound(index);
                        }
                        break;
                    }
                }
            }
            if threshold == begun_with {
                return (count, threshold);
            }
        }
    }
}

fn join_kahan(mine: Pairs, theirs: Pairs, lost: Pairs, sign: f64) -> (Pairs, Pairs) {
    let mut before = lost.into_iter().peekable();
    let mut rest = Pairs::new();
    let sum = join(mine, theirs, &mut |index, mine, theirs| {
        while let Some(pair) = before.next_if(|(other, _)| *other < index) {
            rest.push(pair);
        }
        let carried = before.next_if(|(other, _)| *other == index).map_or(0.0, |(_, lost)| lost);
        let (sum, left) = kahan_add(sign * theirs, mine, carried);
        rest.push((index, left));
        sum
    });
    rest.extend(before);
    (sum, rest)
}
