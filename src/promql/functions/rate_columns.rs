//! `rate`, `increase` and `delta` of whole columns.
//!
//! How far to extrapolate depends on times alone, so series sampled together share it; what remains for each window is a
//! difference, a product, and the resets within, whose places are found once.

use super::columns::{Columns, stretches};
use super::rate::{Kind, Stretch, extents};
use crate::promql::column::{ABSENT, Floats};
use crate::promql::eval::window::{Edges, Windows};
use std::rc::Rc;

/// What the times say about one window.
#[derive(Clone, Copy)]
struct Extrapolated {
    stretch: Stretch,
    /// Seconds between first and last sample.
    interval: f64,
    to_start: f64,
    to_end: f64,
    /// By what to multiply, unless the counter was zero nearer than the window's start.
    factor: f64,
}

pub(super) struct RateColumns {
    kind: Kind,
    /// For the edges seen last.
    known: Option<(Rc<Edges>, Vec<Option<Extrapolated>>)>,
    resets: Vec<usize>,
}

impl RateColumns {
    pub(super) const fn new(kind: Kind) -> Self {
        Self { kind, known: None, resets: Vec::new() }
    }

    fn prepare(&self, windows: &Windows<'_>) -> Vec<Option<Extrapolated>> {
        let times = &windows.samples.times;
        let prepared = stretches(windows).enumerate().map(|(step, stretch)| {
            if stretch.len() < 2 {
                return None;
            }
            let to_ms = windows.references.at(step);
            let edges = (to_ms.saturating_sub(windows.range_ms), to_ms);
            let sampled = (times[stretch.low], times[stretch.high - 1]);
            let distance = (sampled.1 - sampled.0) as f64 / 1000.0 / (stretch.len() - 1) as f64;
            let (interval, to_start, to_end) = extents(edges, sampled, distance);
            let factor = self.kind.factor(interval, to_start, to_end, windows.range_ms);
            Some(Extrapolated { stretch, interval, to_start, to_end, factor })
        });
        prepared.collect()
    }
}

impl Columns for RateColumns {
    fn column(&mut self, windows: &Windows<'_>) -> Option<Floats> {
        let same = self.known.as_ref().is_some_and(|(edges, _)| Rc::ptr_eq(edges, &windows.float_edges));
        if !same {
            self.known = Some((Rc::clone(&windows.float_edges), self.prepare(windows)));
        }
        let (_, prepared) = self.known.as_ref()?;
        if windows.samples.constant.is_some_and(f64::is_finite) {
            // Nothing grows: zero wherever there are two samples.
            return Some(prepared.iter().map(|known| if known.is_some() { 0.0 } else { ABSENT }).collect());
        }
        let values = windows.samples.floats();
        self.resets.clear();
        if self.kind.counter {
            let fell = |(place, pair): (usize, &[f64])| (pair[1] < pair[0]).then_some(place + 1);
            self.resets.extend(values.windows(2).enumerate().filter_map(fell));
        }
        let mut next_reset = 0;
        let mut out = Floats::with_capacity(prepared.len());
        for known in prepared {
            let Some(known) = known else {
                out.push(ABSENT);
                continue;
            };
            let first = values[known.stretch.low];
            let mut result = values[known.stretch.high - 1] - first;
            while self.resets.get(next_reset).is_some_and(|place| *place <= known.stretch.low) {
                next_reset += 1;
            }
            for place in self.resets.iter().skip(next_reset).take_while(|place| **place < known.stretch.high) {
                result += values[place - 1];
            }
            out.push(result * self.factor(known, first, result, windows.range_ms));
        }
        Some(out)
    }
}

impl RateColumns {
    /// Returns by what to multiply. A counter was not negative: where it meets zero behind the window's start, that is as
    /// far as it is extended.
    #[inline]
    fn factor(&self, known: &Extrapolated, first: f64, result: f64, range_ms: i64) -> f64 {
        // The product settles most cases without the division; the margin keeps rounding out of the decision.
        let near_zero =
            self.kind.counter && result > 0.0 && first >= 0.0 && known.interval * first <= known.to_start * result * (1.0 + 1e-9);
        if !near_zero {
            return known.factor;
        }
        let to_zero = known.interval * (first / result);
        if to_zero < known.to_start { self.kind.factor(known.interval, to_zero, known.to_end, range_ms) } else { known.factor }
    }
}
