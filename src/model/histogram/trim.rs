//! Trimming: the part of a histogram's observations on one side of a value.
//!
//! Buckets on the wrong side go, the one that holds the value is cut in proportion, sum and count follow from what is left.

#![expect(clippy::float_cmp, reason = "a cut bucket differs in any bit")]

use super::FloatHistogram;
use super::layout::Bucket;

/// Which part stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Observations up to the value (`</`).
    Below,
    /// Observations from the value on (`>/`).
    Above,
}

/// What stays of one bucket: a count, and the value that stands for its observations.
struct Part {
    count: f64,
    middle: f64,
}

const NOTHING: Part = Part { count: 0.0, middle: 0.0 };

impl FloatHistogram {
    /// Returns the part of the histogram on one side of a value. Without any change, count and sum stay as they are.
    #[must_use]
    pub fn trimmed(&self, at: f64, keep: Keep) -> Self {
        let mut out = self.clone();
        let (mut count, mut sum, mut changed) = (0.0, 0.0, false);
        let custom = self.uses_custom_buckets();
        let mut cut = |bucket: &Bucket, stored: &mut f64, positive: bool| {
            if bucket.count == 0.0 {
                return;
            }
            let part = part(bucket, at, keep, positive, custom);
            count += part.count;
            sum += part.middle * part.count;
            if part.count != *stored {
                *stored = part.count;
                changed = true;
            }
        };
        for ((index, held), stored) in self.positive().zip(&mut out.positive_buckets) {
            cut(&self.positive_bucket(index, held), stored, true);
        }
        for ((index, held), stored) in self.negative().zip(&mut out.negative_buckets) {
            cut(&self.negative_bucket(index, held), stored, false);
        }
        if self.zero_count > 0.0 {
            let part = self.zero_part(at, keep);
            count += part.count;
            sum += part.middle * part.count;
            if part.count != out.zero_count {
                out.zero_count = part.count;
                changed = true;
            }
        }
        if changed {
            out.count = count;
            out.sum = sum;
            out.compact();
        }
        out
    }

    fn zero_part(&self, at: f64, keep: Keep) -> Part {
        let (mut lower, mut upper) = (-self.zero_threshold, self.zero_threshold);
        let (has_positive, has_negative) = (!self.positive_buckets.is_empty(), !self.negative_buckets.is_empty());
        if has_positive && !has_negative {
            lower = 0.0;
        }
        if has_negative && !has_positive {
            upper = 0.0;
        }
        let whole = Part { count: self.zero_count, middle: f64::midpoint(lower, upper) };
        match keep {
            Keep::Below if at <= lower => NOTHING,
            Keep::Below if at >= upper => whole,
            Keep::Below => Part { count: self.zero_count * ((at - lower) / (upper - lower)), middle: f64::midpoint(lower, at) },
            Keep::Above if at >= upper => NOTHING,
            Keep::Above if at <= lower => whole,
            Keep::Above => Part { count: self.zero_count * ((upper - at) / (upper - lower)), middle: f64::midpoint(at, upper) },
        }
    }
}

fn part(bucket: &Bucket, at: f64, keep: Keep, positive: bool, custom: bool) -> Part {
    let whole = Part { count: bucket.count, middle: middle(bucket.lower, bucket.upper, positive, custom) };
    match keep {
        Keep::Below if bucket.upper <= at => return whole,
        Keep::Below if bucket.lower >= at => return NOTHING,
        Keep::Above if bucket.lower >= at => return whole,
        Keep::Above if bucket.upper <= at => return NOTHING,
        Keep::Below | Keep::Above => {}
    }
    if bucket.lower.is_infinite() || bucket.upper.is_infinite() {
        return infinite_part(bucket, at, keep);
    }
    let share = if custom {
        (at - bucket.lower) / (bucket.upper - bucket.lower)
    } else {
        let (lower, upper, value) = (bucket.lower.abs().log2(), bucket.upper.abs().log2(), at.abs().log2());
        if positive { (value - lower) / (upper - lower) } else { 1.0 - (value - upper) / (lower - upper) }
    };
    match keep {
        Keep::Below => Part { count: bucket.count * share, middle: middle(bucket.lower, at, positive, custom) },
        Keep::Above => {
            let count = bucket.count - bucket.count * share;
            Part { count, middle: middle(at, bucket.upper, positive, custom) }
        }
    }
}

/// Cuts a bucket without a bound on one side. How its observations lie is unknown: it goes, unless its lower part may be
/// taken to begin at zero.
fn infinite_part(bucket: &Bucket, at: f64, keep: Keep) -> Part {
    let finite = bucket.lower == f64::NEG_INFINITY && bucket.upper > 0.0 && bucket.upper.is_finite();
    match keep {
        Keep::Below if finite && at > 0.0 => Part { count: bucket.count * at / bucket.upper, middle: at / 2.0 },
        Keep::Above if finite && at >= 0.0 => {
            Part { count: bucket.count * (1.0 - at / bucket.upper), middle: f64::midpoint(at, bucket.upper) }
        }
        Keep::Above if bucket.upper == f64::INFINITY => Part { count: bucket.count, middle: at },
        Keep::Below | Keep::Above => NOTHING,
    }
}

/// Returns the value that stands for observations between two bounds.
fn middle(lower: f64, upper: f64, positive: bool, linear: bool) -> f64 {
    match (lower.is_infinite(), upper.is_infinite()) {
        (true, true) => 0.0,
        (true, false) if upper > 0.0 => upper / 2.0,
        (true, false) => upper,
        (false, true) => lower,
        (false, false) if linear => f64::midpoint(lower, upper),
        (false, false) if positive => (lower * upper).abs().sqrt(),
        (false, false) => -(lower * upper).abs().sqrt(),
    }
}
