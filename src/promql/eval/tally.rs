//! Counts what a query reads and holds, as Prometheus's `stats` count it.
//!
//! Samples are counted for each step of the grid under evaluation. A subquery and a part that is the same at every step
//! have grids of their own; what they read is brought to the steps of the grid around them.

use super::Evaluated;
use super::context::{Context, Outcome};
use super::window::{Windows, edges};
use crate::promql::column::Series;
use crate::promql::engine::QueryError;
use crate::promql::value::QueryStats;

/// Samples for each step of one grid.
#[derive(Clone, Debug, Default)]
pub(in crate::promql) struct Tally {
    /// Touched, each as often as touched.
    pub(in crate::promql) total: Vec<u64>,
    /// Read, each once.
    pub(in crate::promql) read: Vec<u64>,
}

impl Tally {
    fn sized(steps: usize) -> Self {
        Self { total: vec![0; steps], read: vec![0; steps] }
    }
}

impl Context<'_> {
    /// Evaluates on a grid of its own; returns what was counted on it beside the value.
    pub(in crate::promql) fn apart<T>(&self, steps: usize, evaluate: impl FnOnce() -> T) -> (T, Tally) {
        let before = self.tally.replace(Tally::sized(if self.counts() { steps } else { 0 }));
        let value = evaluate();
        (value, self.tally.replace(before))
    }

    /// Returns whether steps are counted one by one.
    pub(in crate::promql) const fn counts(&self) -> bool {
        self.options.per_step_stats
    }

    /// Counts what an instant selector found.
    pub(in crate::promql) fn count_series(&self, series: &[Series], as_times: bool) {
        if !self.counts() {
            return;
        }
        let mut tally = self.tally.borrow_mut();
        for one in series {
            for step in (0..one.column.len()).filter(|step| one.column.has(*step)) {
                let histogram = one.column.histogram(step).filter(|_| !as_times);
                let size = histogram.map_or(1, |histogram| histogram.size_in_samples());
                tally.total[step] += size;
                tally.read[step] += size;
            }
        }
    }

    /// Counts the windows of one series; of a subquery only how often its points are touched. Returns the sizes of the
    /// largest and of the last window.
    pub(in crate::promql) fn count_windows(&self, windows: &Windows<'_>, is_subquery: bool) -> (u64, u64) {
        if !self.counts() {
            return (0, 0);
        }
        let mut tally = self.tally.borrow_mut();
        let (mut largest, mut last) = (0, 0);
        let (mut float_seen, mut histogram_seen) = (0, 0);
        for step in 0..windows.references.grid.steps {
            let window = windows.at(step);
            let sizes = window.sizes(0, 0);
            tally.total[step] += sizes;
            if !is_subquery {
                tally.read[step] += window.sizes(float_seen, histogram_seen);
                let (float_end, histogram_end) = window.ends();
                float_seen = float_seen.max(float_end);
                histogram_seen = histogram_seen.max(histogram_end);
            }
            largest = largest.max(sizes);
            last = sizes;
        }
        (largest, last)
    }

    /// Brings what a subquery read at its own steps to the steps around it; each of its steps counts where it is first in a
    /// window.
    pub(in crate::promql) fn count_subquery(
        &self,
        times: &[i64],
        inner: &Tally,
        references: &super::context::References,
        range_ms: i64,
    ) {
        if !self.counts() {
            return;
        }
        let mut tally = self.tally.borrow_mut();
        let mut seen = 0;
        for (step, (low, high)) in edges(times, references, range_ms).into_iter().enumerate() {
            let (low, high) = (low as usize, high as usize);
            tally.read[step] += inner.read[low.max(seen).min(high)..high].iter().sum::<u64>();
            seen = seen.max(high);
        }
        self.subquery_total.set(inner.total.iter().sum());
    }

    /// Counts a part that was evaluated at one step for all of them.
    pub(in crate::promql) fn count_invariant(&self, inner: &Tally) {
        if !self.counts() {
            return;
        }
        let mut tally = self.tally.borrow_mut();
        let total: u64 = inner.total.iter().sum();
        tally.total.iter_mut().for_each(|count| *count += total);
        if let Some(first) = tally.read.first_mut() {
            *first += inner.read.iter().sum::<u64>();
        }
    }

    /// Counts a bare subquery: all that was touched for it.
    pub(in crate::promql) fn count_bare_subquery(&self) {
        if let Some(first) = self.tally.borrow_mut().total.first_mut() {
            *first = self.subquery_total.get();
        }
    }

    /// Notes that so many samples are held beside those that are counted already.
    pub(in crate::promql) fn peak(&self, beside: u64) -> Outcome<()> {
        let now = self.held.get().saturating_add(beside);
        self.peak.set(self.peak.get().max(now));
        if now > self.engine.max_samples as u64 { Err(QueryError::TooManySamples) } else { Ok(()) }
    }

    /// Notes that a value takes the place of all that was held for computing it.
    pub(in crate::promql) fn settle(&self, before: u64, value: &Evaluated) -> Outcome<()> {
        self.held.set(before);
        let size = if self.counts() { value.size() } else { self.bounded_size(before, value)? };
        self.peak(size)?;
        self.held.set(before.saturating_add(size));
        Ok(())
    }

    /// Returns a bound of a value's size; it is counted sample by sample only where the bound would end the query.
    fn bounded_size(&self, before: u64, value: &Evaluated) -> Outcome<u64> {
        let cells = value.cells();
        self.hold_cells(before.saturating_add(cells))?;
        let within = before.saturating_add(cells) <= self.engine.max_samples as u64;
        Ok(if within { cells } else { value.size() })
    }

    /// Returns what was counted.
    pub(in crate::promql) fn stats(&self) -> QueryStats {
        let tally = self.tally.borrow();
        let by_time = |counts: &[u64]| self.query.times().zip(counts.iter().copied()).collect();
        QueryStats {
            total_queryable_samples: tally.total.iter().sum(),
            total_queryable_samples_per_step: by_time(&tally.total),
            samples_read: tally.read.iter().sum(),
            samples_read_per_step: by_time(&tally.read),
            peak_samples: self.peak.get(),
        }
    }
}

impl Evaluated {
    /// Returns how many series there are.
    pub(in crate::promql) fn series(&self) -> usize {
        match self {
            Self::Scalar(_) | Self::Text(_) => 1,
            Self::Vector(series) => series.len(),
        }
    }

    /// Counts its cells, filled or not, and what its histograms take beyond.
    fn cells(&self) -> u64 {
        match self {
            Self::Scalar(values) => values.len() as u64,
            Self::Vector(series) => series.iter().map(|one| one.column.cells()).sum(),
            Self::Text(_) => 0,
        }
    }

    /// Counts its samples, a histogram by its size.
    pub(in crate::promql) fn size(&self) -> u64 {
        match self {
            Self::Scalar(values) => values.len() as u64,
            Self::Vector(series) => series.iter().map(|one| one.column.size()).sum(),
            Self::Text(_) => 0,
        }
    }
}
