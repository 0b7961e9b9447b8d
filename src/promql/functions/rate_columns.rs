//! `rate`, `increase` and `delta` of whole columns.
//!
//! How far to extrapolate depends on times alone, so series sampled together share it; what remains for each window is a
//! difference, a product, and the resets within, whose places are found once. Few counters are reset and few meet zero within
//! a window, so both are looked for in one go and taken care of only where there are any.

use super::columns::{Columns, stretches};
use super::rate::{Kind, extents};
use crate::promql::column::{ABSENT, Floats, floats};
use crate::promql::eval::window::{EDGES_KEPT, Edges, Windows};
use std::rc::Rc;

/// What the times say about all windows.
struct Prepared {
    edges: Rc<Edges>,
    /// First and last sample of each window; the first of all, twice, where a window has fewer than two.
    places: Vec<(u32, u32)>,
    /// By what to multiply, unless the counter was zero nearer than the window's start.
    factors: Vec<f64>,
    /// A counter that begins at most so many times its increase may have been zero within the window.
    reaches: Vec<f64>,
    /// Seconds between first and last sample, and those to extend before and behind.
    extents: Vec<(f64, f64, f64)>,
    /// Windows of fewer than two samples.
    short: Vec<u32>,
}

pub(super) struct RateColumns {
    kind: Kind,
    /// For the edges seen last.
    known: Vec<Prepared>,
    next: usize,
    resets: Vec<usize>,
}

impl RateColumns {
    pub(super) const fn new(kind: Kind) -> Self {
        Self { kind, known: Vec::new(), next: 0, resets: Vec::new() }
    }

    fn prepare(&self, windows: &Windows<'_>) -> Prepared {
        let times = &windows.samples.times;
        let steps = windows.float_edges.len();
        let mut prepared = Prepared {
            edges: Rc::clone(&windows.float_edges),
            places: Vec::with_capacity(steps),
            factors: Vec::with_capacity(steps),
            reaches: Vec::with_capacity(steps),
            extents: Vec::with_capacity(steps),
            short: Vec::new(),
        };
        for (step, stretch) in stretches(windows).enumerate() {
            if stretch.len() < 2 {
                prepared.short.push(step as u32);
                prepared.places.push((0, 0));
                prepared.factors.push(0.0);
                prepared.reaches.push(f64::NEG_INFINITY);
                prepared.extents.push((0.0, 0.0, 0.0));
                continue;
            }
            let to_ms = windows.references.at(step);
            let edges = (to_ms.saturating_sub(windows.range_ms), to_ms);
            let sampled = (times[stretch.low], times[stretch.high - 1]);
            let distance = (sampled.1 - sampled.0) as f64 / 1000.0 / (stretch.len() - 1) as f64;
            let (interval, to_start, to_end) = extents(edges, sampled, distance);
            prepared.places.push((stretch.low as u32, (stretch.high - 1) as u32));
            prepared.factors.push(self.kind.factor(interval, to_start, to_end, windows.range_ms));
            // The margin keeps rounding out of the decision.
            prepared.reaches.push(to_start / interval * (1.0 + 1e-9));
            prepared.extents.push((interval, to_start, to_end));
        }
        prepared
    }

    /// Returns the place of what is known about a series' windows.
    fn known(&mut self, windows: &Windows<'_>) -> usize {
        if let Some(place) = self.known.iter().position(|known| Rc::ptr_eq(&known.edges, &windows.float_edges)) {
            return place;
        }
        let prepared = self.prepare(windows);
        if self.known.len() < EDGES_KEPT {
            self.known.push(prepared);
            return self.known.len() - 1;
        }
        let place = self.next;
        self.next = (place + 1) % EDGES_KEPT;
        self.known[place] = prepared;
        place
    }
}

/// Returns whether a value is below the one before it, anywhere.
fn falls(values: &[f64]) -> bool {
    // A chunk is looked at without branches, so that the compiler makes vectors of it.
    let later = values.get(1..).unwrap_or_default();
    let pairs = values.chunks(256).zip(later.chunks(256));
    pairs.into_iter().any(|(before, now)| before.iter().zip(now).fold(false, |fell, (before, now)| fell | (now < before)))
}

impl Columns for RateColumns {
    fn column(&mut self, windows: &Windows<'_>) -> Option<Floats> {
        let kind = self.kind;
        let place = self.known(windows);
        let Self { known, resets, .. } = self;
        let known = &known[place];
        if windows.samples.constant.is_some_and(f64::is_finite) {
            // Nothing grows: zero wherever there are two samples.
            let mut out = Floats::from_elem(0.0, known.places.len());
            known.short.iter().for_each(|step| out[*step as usize] = ABSENT);
            return Some(out);
        }
        let values = windows.samples.floats();
        let difference = |(first, last): &(u32, u32)| values[*last as usize] - values[*first as usize];
        let mut out = floats(known.places.iter().map(difference));
        if kind.counter && falls(values) {
            resets.clear();
            let fell = |(place, pair): (usize, &[f64])| (pair[1] < pair[0]).then_some(place + 1);
            resets.extend(values.windows(2).enumerate().filter_map(fell));
            let mut next = 0;
            for ((first, last), result) in known.places.iter().zip(&mut out) {
                if first == last {
                    continue;
                }
                while resets.get(next).is_some_and(|place| *place <= *first as usize) {
                    next += 1;
                }
                for place in resets.iter().skip(next).take_while(|place| **place <= *last as usize) {
                    *result += values[place - 1];
                }
            }
        }
        let mut meets_zero = false;
        if kind.counter {
            for (((first, _), result), reach) in known.places.iter().zip(&out).zip(&known.reaches) {
                let first = values[*first as usize];
                meets_zero |= (*result > 0.0) & (first >= 0.0) & (first <= reach * result);
            }
        }
        if meets_zero {
            let rows = known.places.iter().zip(&mut out).zip(known.factors.iter().zip(&known.extents));
            for (((first, _), result), (factor, extents)) in rows {
                *result *= factor_to_zero(kind, *factor, *extents, values[*first as usize], *result, windows.range_ms);
            }
        } else {
            out.iter_mut().zip(&known.factors).for_each(|(result, factor)| *result *= factor);
        }
        known.short.iter().for_each(|step| out[*step as usize] = ABSENT);
        Some(out)
    }
}

/// Returns by what to multiply. A counter was not negative: where it meets zero behind the window's start, that is as far as it
/// is extended.
fn factor_to_zero(
    kind: Kind,
    factor: f64,
    (interval, to_start, to_end): (f64, f64, f64),
    first: f64,
    result: f64,
    range_ms: i64,
) -> f64 {
    if !(result > 0.0 && first >= 0.0) {
        return factor;
    }
    let to_zero = interval * (first / result);
    if to_zero < to_start { kind.factor(interval, to_zero, to_end, range_ms) } else { factor }
}
