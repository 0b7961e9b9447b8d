//! Range functions over whole columns of floats: what the windows of a series share is computed once.
//!
//! Each gives what its counterpart for single windows gives: to the bit where nothing is summed, to a few units in the last
//! place where sums come from prefix sums of twice the precision. Where a kernel cannot promise that, it declines the
//! series, and the windows are computed one by one.

use super::rate::{Kind, Stretch};
use super::rate_columns::RateColumns;
use crate::promql::column::{ABSENT, Floats};
use crate::promql::eval::window::Windows;
use std::collections::VecDeque;

/// A range function of all windows of one series.
pub(in crate::promql) trait Columns {
    /// Computes the column of a series of floats alone, or declines.
    fn column(&mut self, windows: &Windows<'_>) -> Option<Floats>;
}

/// Returns the column form of a range function, where there is one.
pub(in crate::promql) fn columns(name: &str) -> Option<Box<dyn Columns>> {
    let rate = |counter: bool, per_second: bool| Box::new(RateColumns::new(Kind { counter, per_second }));
    Some(match name {
        "rate" => rate(true, true),
        "increase" => rate(true, false),
        "delta" => rate(false, false),
        "sum_over_time" => Box::new(Sums { mean: false, ..Sums::default() }),
        "avg_over_time" => Box::new(Sums { mean: true, ..Sums::default() }),
        "count_over_time" => Box::new(Count),
        "min_over_time" => Box::new(Extreme { larger: false }),
        "max_over_time" => Box::new(Extreme { larger: true }),
        "stdvar_over_time" => Box::new(Spread { root: false }),
        "stddev_over_time" => Box::new(Spread { root: true }),
        _ => return None,
    })
}

/// Walks the windows of a series as places in its samples.
pub(super) fn stretches<'w>(windows: &'w Windows<'_>) -> impl Iterator<Item = Stretch> + 'w {
    windows.float_edges.iter().map(|(low, high)| Stretch { low: *low as usize, high: *high as usize })
}

struct Count;

impl Columns for Count {
    fn column(&mut self, windows: &Windows<'_>) -> Option<Floats> {
        let count = |stretch: Stretch| if stretch.is_empty() { ABSENT } else { stretch.len() as f64 };
        Some(stretches(windows).map(count).collect())
    }
}

/// Sums by prefix sums that carry twice the digits.
#[derive(Default)]
struct Sums {
    mean: bool,
    high: Vec<f64>,
    low: Vec<f64>,
}

/// Adds without loss: the sum and what rounding took from it.
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let part = sum - a;
    (sum, (a - (sum - part)) + (b - part))
}

/// Gives every window with samples the same value.
fn wherever_sampled(windows: &Windows<'_>, value: f64) -> Floats {
    stretches(windows).map(|stretch| if stretch.is_empty() { ABSENT } else { value }).collect()
}

impl Columns for Sums {
    fn column(&mut self, windows: &Windows<'_>) -> Option<Floats> {
        // The mean of equal numbers is that number; their sum is rounded as often as there are numbers.
        if let Some(value) = windows.samples.constant.filter(|value| self.mean && value.is_finite()) {
            return Some(wherever_sampled(windows, value));
        }
        let values = windows.samples.floats();
        self.high.clear();
        self.low.clear();
        let (mut high, mut low, mut largest) = (0.0_f64, 0.0_f64, 0.0_f64);
        self.high.push(high);
        self.low.push(low);
        for value in values {
            let (sum, lost) = two_sum(high, *value);
            (high, low) = two_sum(sum, low + lost);
            largest = largest.max(high.abs());
            self.high.push(high);
            self.low.push(low);
        }
        if !high.is_finite() || !largest.is_finite() {
            return None;
        }
        // Below this a window's sum could have lost more digits than a sum of its own would.
        let least = largest * (values.len() as f64) * 2.5e-18;
        let mut out = Floats::with_capacity(windows.float_edges.len());
        for stretch in stretches(windows) {
            if stretch.is_empty() {
                out.push(ABSENT);
                continue;
            }
            let (difference, lost) = two_sum(self.high[stretch.high], -self.high[stretch.low]);
            let mut sum = difference + (lost + (self.low[stretch.high] - self.low[stretch.low]));
            if sum.abs() < least {
                let mut own = super::sums::Sum::default();
                values.get(stretch.low..stretch.high)?.iter().for_each(|value| own.push(*value));
                sum = own.value();
            }
            out.push(if self.mean { sum / stretch.len() as f64 } else { sum });
        }
        Some(out)
    }
}

/// The largest or smallest value, kept in a queue of candidates.
struct Extreme {
    larger: bool,
}

impl Columns for Extreme {
    fn column(&mut self, windows: &Windows<'_>) -> Option<Floats> {
        let values = windows.samples.floats();
        if let Some(value) = windows.samples.constant {
            return Some(wherever_sampled(windows, value));
        }
        let worse = |old: f64, new: f64| if self.larger { old < new } else { old > new };
        let mut candidates: VecDeque<usize> = VecDeque::new();
        let (mut next, mut nans) = (0, 0);
        let mut out = Floats::with_capacity(windows.float_edges.len());
        for stretch in stretches(windows) {
            for (place, value) in values.iter().enumerate().take(stretch.high).skip(next) {
                if value.is_nan() {
                    nans = place + 1;
                    continue;
                }
                while candidates.back().is_some_and(|last| worse(values[*last], *value)) {
                    candidates.pop_back();
                }
                candidates.push_back(place);
            }
            next = next.max(stretch.high);
            while candidates.front().is_some_and(|first| *first < stretch.low) {
                candidates.pop_front();
            }
            out.push(match candidates.front() {
                _ if stretch.is_empty() => ABSENT,
                Some(first) => values[*first],
                // Only what is not a number lies in the window; its first bits are kept.
                None if nans > stretch.low => values[stretch.high - 1],
                None => ABSENT,
            });
        }
        Some(out)
    }
}

/// The square of how many deviations the mean may lie from zero: a thousand of them cost three digits.
const FAR: f64 = 1e6;

/// Variance in two passes over each window.
struct Spread {
    root: bool,
}

/// Sums in eight lanes, which the compiler turns into vectors.
fn lanes(values: &[f64], f: impl Fn(f64) -> f64) -> f64 {
    let mut sums = [0.0; 8];
    let chunks = values.chunks_exact(8);
    let rest: f64 = chunks.remainder().iter().map(|value| f(*value)).sum();
    for chunk in chunks {
        for (sum, value) in sums.iter_mut().zip(chunk) {
            *sum += f(*value);
        }
    }
    sums.iter().sum::<f64>() + rest
}

impl Columns for Spread {
    fn column(&mut self, windows: &Windows<'_>) -> Option<Floats> {
        if windows.samples.constant.is_some_and(f64::is_finite) {
            return Some(wherever_sampled(windows, 0.0));
        }
        let values = windows.samples.floats();
        let mut out = Floats::with_capacity(windows.float_edges.len());
        for stretch in stretches(windows) {
            if stretch.is_empty() {
                out.push(ABSENT);
                continue;
            }
            let window = values.get(stretch.low..stretch.high)?;
            let (count, first) = (window.len() as f64, window[0]);
            // Distances from the first value lose nothing where all values are equal or near each other.
            let mean = first + lanes(window, |value| value - first) / count;
            let squares = lanes(window, |value| (value - mean) * (value - mean));
            let off = lanes(window, |value| value - mean);
            let variance = (squares - off * off / count) / count;
            // Far from zero Prometheus's own way loses digits, and the answer is to be Prometheus's. A window is computed as it would
            // be alone: which others a query has must not show in it.
            let is_near = variance.is_finite() && mean * mean <= variance * FAR;
            let variance = if is_near { variance } else { super::over_time::variance_of(window) };
            out.push(if self.root { variance.sqrt() } else { variance });
        }
        Some(out)
    }
}
