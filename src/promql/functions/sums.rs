//! Sums and means as Prometheus computes them: compensated, and safe from overflow.

#![expect(clippy::float_cmp, reason = "small counts are exact")]

use crate::model::histogram::FloatHistogram;
use crate::model::histogram::arithmetic::{Incompatible, Merged, kahan_add};

/// A compensated sum.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::promql) struct Sum {
    pub(in crate::promql) sum: f64,
    pub(in crate::promql) lost: f64,
}

impl Sum {
    pub(in crate::promql) fn push(&mut self, value: f64) {
        (self.sum, self.lost) = kahan_add(value, self.sum, self.lost);
    }

    pub(in crate::promql) fn value(self) -> f64 {
        if self.sum.is_infinite() { self.sum } else { self.sum + self.lost }
    }
}

/// A mean: a sum that is divided at the end, or a running mean once the sum would overflow.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::promql) struct Mean {
    sum: Sum,
    mean: f64,
    count: f64,
    incremental: bool,
}

impl Mean {
    /// Returns the mean of `count` values whose sum is known, with what rounding lost of it.
    pub(in crate::promql) fn of(sum: f64, lost: f64, count: f64) -> Self {
        Self { sum: Sum { sum, lost }, mean: sum, count, incremental: false }
    }

    pub(in crate::promql) fn push(&mut self, value: f64) {
        self.count += 1.0;
        if self.count == 1.0 {
            self.sum = Sum { sum: value, lost: 0.0 };
            self.mean = value;
            return;
        }
        if !self.incremental {
            let mut next = self.sum;
            next.push(value);
            if !next.sum.is_infinite() {
                self.sum = next;
                return;
            }
            self.incremental = true;
            self.mean = self.sum.sum / (self.count - 1.0);
            self.sum.lost /= self.count - 1.0;
        }
        if self.mean.is_infinite() {
            let same_sign = value.is_infinite() && (self.mean > 0.0) == (value > 0.0);
            if same_sign || value.is_finite() {
                return;
            }
        }
        let share = (self.count - 1.0) / self.count;
        (self.mean, self.sum.lost) = kahan_add(value / self.count, share * self.mean, share * self.sum.lost);
    }

    pub(in crate::promql) fn is_empty(&self) -> bool {
        self.count == 0.0
    }

    pub(in crate::promql) fn value(&self) -> f64 {
        if self.incremental { self.mean + self.sum.lost } else { self.sum.sum / self.count + self.sum.lost / self.count }
    }
}

/// A compensated sum of histograms.
#[derive(Clone, Debug)]
pub(in crate::promql) struct HistogramSum {
    sum: FloatHistogram,
    lost: FloatHistogram,
    pub(in crate::promql) count: f64,
    /// Once the sum has overflown, `sum` and `lost` hold the mean so far.
    incremental: bool,
}

impl HistogramSum {
    pub(in crate::promql) fn new(first: &FloatHistogram) -> Self {
        let sum = first.clone();
        let lost = sum.nothing_lost();
        Self { sum, lost, count: 1.0, incremental: false }
    }

    pub(in crate::promql) fn push(&mut self, value: &FloatHistogram) -> Result<Merged, Incompatible> {
        self.count += 1.0;
        self.sum.kahan_add(value, &mut self.lost)
    }

    /// Adds for a mean: goes on incrementally where the sum would overflow.
    pub(in crate::promql) fn push_for_mean(&mut self, value: &FloatHistogram) -> Result<Merged, Incompatible> {
        if !self.incremental {
            let (sum, lost) = (self.sum.clone(), self.lost.clone());
            let merged = self.push(value)?;
            if !overflows(&self.sum) || overflows(value) || overflows(&sum) {
                return Ok(merged);
            }
            self.incremental = true;
            self.count -= 1.0;
            self.sum = sum.divided(self.count);
            self.lost = lost.divided(self.count);
        }
        self.count += 1.0;
        let share = (self.count - 1.0) / self.count;
        self.sum = self.sum.scaled(share);
        self.lost = self.lost.scaled(share);
        self.sum.kahan_add(&value.divided(self.count), &mut self.lost)
    }

    pub(in crate::promql) fn value(&self) -> FloatHistogram {
        total(&self.sum, &self.lost)
    }

    pub(in crate::promql) fn mean(&self) -> FloatHistogram {
        if self.incremental { self.value() } else { self.value().divided(self.count).compacted() }
    }
}

fn overflows(histogram: &FloatHistogram) -> bool {
    let buckets = histogram.positive_buckets.iter().chain(&histogram.negative_buckets);
    [histogram.count, histogram.sum, histogram.zero_count].iter().chain(buckets).any(|value| value.is_infinite())
}

fn total(sum: &FloatHistogram, lost: &FloatHistogram) -> FloatHistogram {
    let mut total = sum.clone();
    // The layouts are alike; an error cannot happen, and would leave the plain sum.
    if total.add(lost).is_err() {
        return sum.clone();
    }
    total.counter_reset_hint = sum.counter_reset_hint;
    for (value, plain) in [(&mut total.count, sum.count), (&mut total.sum, sum.sum), (&mut total.zero_count, sum.zero_count)] {
        if plain.is_infinite() {
            *value = plain;
        }
    }
    total.compacted()
}
