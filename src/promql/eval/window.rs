//! Windows over the samples of one series.

use super::context::References;
use crate::model::histogram::FloatHistogram;
use crate::model::sample::{Value, is_stale};
use crate::storage::select::{SeriesSamples, Values};
use std::cell::OnceCell;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

/// Histogram samples of one series, without stale markers.
#[derive(Clone, Debug, Default)]
pub(in crate::promql) struct HistogramSamples {
    pub(in crate::promql) times: Vec<i64>,
    pub(in crate::promql) values: Vec<Arc<FloatHistogram>>,
    pub(in crate::promql) starts: Option<Vec<i64>>,
}

/// The samples of one series, floats and histograms apart, without stale markers.
#[derive(Clone, Debug)]
pub(in crate::promql) struct Samples {
    pub(in crate::promql) times: Arc<[i64]>,
    /// The floats, where all are the same: most functions then need no list.
    pub(in crate::promql) constant: Option<f64>,
    listed: OnceCell<Vec<f64>>,
    pub(in crate::promql) starts: Option<Arc<[i64]>>,
    pub(in crate::promql) histograms: HistogramSamples,
}

impl From<SeriesSamples> for Samples {
    fn from(from: SeriesSamples) -> Self {
        let floats: Vec<f64> = match from.values {
            Values::Constant(value) if !is_stale(value) => {
                let (constant, histograms) = (Some(value), HistogramSamples::default());
                return Self { times: from.times, constant, listed: OnceCell::new(), starts: from.starts, histograms };
            }
            Values::Constant(value) => std::iter::repeat_n(value, from.times.len()).collect(),
            Values::Linear { first, step } => (0..from.times.len()).map(|i| first + step * i as f64).collect(),
            Values::Floats(floats) => floats,
            Values::Mixed(ref values) => return Self::split(&from, values),
        };
        // A chunk is looked at without branches, so that the compiler makes vectors of it.
        let any_stale = |chunk: &[f64]| chunk.iter().fold(false, |found, value| found | is_stale(*value));
        if !floats.chunks(256).any(any_stale) {
            return Self::of(from.times, floats, from.starts, HistogramSamples::default());
        }
        let kept = |i: &usize| !is_stale(floats[*i]);
        let places: Vec<usize> = (0..floats.len()).filter(kept).collect();
        Self::of(
            places.iter().map(|i| from.times[*i]).collect(),
            places.iter().map(|i| floats[*i]).collect(),
            from.starts.map(|starts| places.iter().map(|i| starts[*i]).collect()),
            HistogramSamples::default(),
        )
    }
}

impl Samples {
    /// Returns samples whose floats are a list.
    pub(in crate::promql) fn of(
        times: Arc<[i64]>,
        floats: Vec<f64>,
        starts: Option<Arc<[i64]>>,
        histograms: HistogramSamples,
    ) -> Self {
        Self { times, constant: None, listed: OnceCell::from(floats), starts, histograms }
    }

    /// Returns the floats, one for each time.
    pub(in crate::promql) fn floats(&self) -> &[f64] {
        let constant = self.constant.unwrap_or(f64::NAN);
        self.listed.get_or_init(|| std::iter::repeat_n(constant, self.times.len()).collect())
    }

    fn split(from: &SeriesSamples, values: &[Value]) -> Self {
        let (mut times, mut floats, mut starts) = (Vec::new(), Vec::new(), Vec::new());
        let mut histograms = HistogramSamples { starts: from.starts.as_ref().map(|_| Vec::new()), ..Default::default() };
        for (i, value) in values.iter().enumerate() {
            let start = from.starts.as_ref().map(|starts| starts[i]);
            match value {
                Value::Float(value) if !is_stale(*value) => {
                    times.push(from.times[i]);
                    floats.push(*value);
                    starts.extend(start);
                }
                Value::Histogram(histogram) if !is_stale(histogram.sum) => {
                    histograms.times.push(from.times[i]);
                    histograms.values.push(Arc::clone(histogram));
                    if let (Some(starts), Some(start)) = (&mut histograms.starts, start) {
                        starts.push(start);
                    }
                }
                Value::Float(_) | Value::Histogram(_) => {}
            }
        }
        let starts = from.starts.is_some().then(|| starts.into());
        Self::of(times.into(), floats, starts, histograms)
    }
}

/// First place and one past the last of each step's window.
pub(in crate::promql) type Edges = Vec<(u32, u32)>;

/// Finds the window `(reference - range_ms, reference]` of every step.
pub(in crate::promql) fn edges(times: &[i64], references: &References, range_ms: i64) -> Edges {
    let (mut low, mut high) = (0, 0);
    let mut found = Edges::with_capacity(references.grid.steps);
    for step in 0..references.grid.steps {
        let to = references.at(step);
        let from = to.saturating_sub(range_ms);
        while high < times.len() && times[high] <= to {
            high += 1;
        }
        while low < high && times[low] <= from {
            low += 1;
        }
        found.push((low as u32, high as u32));
    }
    found
}

/// Edges that are remembered: series of one metric come from one target after the other, again and again.
pub(in crate::promql) const EDGES_KEPT: usize = 16;

/// Remembers the edges of the last times seen: series sampled together share their times.
#[derive(Default)]
pub(in crate::promql) struct EdgeCache {
    known: Vec<(Arc<[i64]>, Rc<Edges>)>,
    next: usize,
}

impl EdgeCache {
    pub(in crate::promql) fn edges(&mut self, times: &Arc<[i64]>, references: &References, range_ms: i64) -> Rc<Edges> {
        if let Some((_, edges)) = self.known.iter().find(|(known, _)| Arc::ptr_eq(known, times)) {
            return Rc::clone(edges);
        }
        let found = Rc::new(edges(times, references, range_ms));
        let fresh = (Arc::clone(times), Rc::clone(&found));
        if self.known.len() < EDGES_KEPT {
            self.known.push(fresh);
        } else {
            self.known[self.next] = fresh;
            self.next = (self.next + 1) % EDGES_KEPT;
        }
        found
    }
}

/// The windows of one series at all steps.
pub(in crate::promql) struct Windows<'a> {
    pub(in crate::promql) samples: &'a Samples,
    pub(in crate::promql) references: References,
    pub(in crate::promql) range_ms: i64,
    pub(in crate::promql) float_edges: Rc<Edges>,
    pub(in crate::promql) histogram_edges: Edges,
}

impl<'a> Windows<'a> {
    /// Returns the window of one step.
    pub(in crate::promql) fn at(&self, step: usize) -> Window<'a> {
        let place = |edges: &Edges| edges.get(step).map_or(0..0, |(low, high)| *low as usize..*high as usize);
        let to_ms = self.references.at(step);
        Window {
            samples: self.samples,
            floats: place(&self.float_edges),
            histograms: place(&self.histogram_edges),
            from_ms: to_ms.saturating_sub(self.range_ms),
            to_ms,
            at_ms: self.references.grid.at(step),
        }
    }
}

/// One window: what lies in `(from_ms, to_ms]`.
pub(in crate::promql) struct Window<'a> {
    pub(in crate::promql) samples: &'a Samples,
    floats: Range<usize>,
    histograms: Range<usize>,
    pub(in crate::promql) from_ms: i64,
    pub(in crate::promql) to_ms: i64,
    /// The evaluation time.
    pub(in crate::promql) at_ms: i64,
}

impl<'a> Window<'a> {
    pub(in crate::promql) fn times(&self) -> &'a [i64] {
        &self.samples.times[self.floats.clone()]
    }

    pub(in crate::promql) fn floats(&self) -> &'a [f64] {
        &self.samples.floats()[self.floats.clone()]
    }

    /// Returns the start timestamps of the floats; empty where there are none.
    pub(in crate::promql) fn starts(&self) -> &'a [i64] {
        self.samples.starts.as_ref().map_or(&[], |starts| &starts[self.floats.clone()])
    }

    pub(in crate::promql) fn histogram_times(&self) -> &'a [i64] {
        &self.samples.histograms.times[self.histograms.clone()]
    }

    pub(in crate::promql) fn histograms(&self) -> &'a [Arc<FloatHistogram>] {
        &self.samples.histograms.values[self.histograms.clone()]
    }

    /// Returns the start timestamps of the histograms; empty where there are none.
    pub(in crate::promql) fn histogram_starts(&self) -> &'a [i64] {
        self.samples.histograms.starts.as_ref().map_or(&[], |starts| &starts[self.histograms.clone()])
    }

    /// Counts the samples from the given places on, a histogram by its size.
    pub(in crate::promql) fn sizes(&self, float_from: usize, histogram_from: usize) -> u64 {
        let floats = self.floats.end.saturating_sub(self.floats.start.max(float_from)) as u64;
        let from = self.histograms.start.max(histogram_from).min(self.histograms.end);
        let histograms = &self.samples.histograms.values[from..self.histograms.end];
        floats + histograms.iter().map(|histogram| histogram.size_in_samples()).sum::<u64>()
    }

    /// Returns where the window ends among the floats and the histograms.
    pub(in crate::promql) const fn ends(&self) -> (usize, usize) {
        (self.floats.end, self.histograms.end)
    }

    /// Returns how many samples there are.
    pub(in crate::promql) fn len(&self) -> usize {
        self.floats.len() + self.histograms.len()
    }

    pub(in crate::promql) fn is_empty(&self) -> bool {
        self.floats.is_empty() && self.histograms.is_empty()
    }

    /// Returns the length of the window in milliseconds.
    pub(in crate::promql) const fn range_ms(&self) -> i64 {
        self.to_ms - self.from_ms
    }
}
