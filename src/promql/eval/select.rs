//! Selectors: what the store holds becomes columns, or windows for the functions over ranges.

use super::context::{Context, Grid, Outcome, References};
use super::stream::SeriesSink;
use super::window::{EdgeCache, Samples, Windows, edges};
use crate::model::histogram::{CounterResetHint, FloatHistogram};
use crate::model::labels::Labels;
use crate::model::sample::Value;
use crate::promql::column::{ABSENT, Column, Floats, Series};
use crate::promql::engine::QueryError;
use crate::promql::expr::{Expr, ExprKind, Extension, MatrixSelector, Span, VectorSelector};
use crate::storage::select::{Hints, LabelNeed, SelectedSeries, SeriesSamples, TimeRange, Values};
use std::rc::Rc;
use std::sync::Arc;

/// How many series are read at a time: enough to share times, few enough to hold.
const BATCH: usize = 512;
/// How many samples are read at a time, but for a single series with more: what is decoded should still be near when it is
/// used.
const BATCH_SAMPLES: u64 = 65_536;

/// What of a sample becomes the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Take {
    /// The value itself.
    Value,
    /// Its time, in seconds.
    Time,
    /// Its start timestamp, in seconds.
    Start,
}

/// What the reader of a selector's series looks at besides their samples.
pub(super) struct Wanted {
    pub(super) labels: LabelNeed,
    /// Whether the series must come in the order of their labels.
    pub(super) sorted: bool,
    /// Refuse series with a type or unit label.
    pub(super) no_metadata: bool,
}

impl Wanted {
    /// All labels.
    pub(super) const fn all(sorted: bool) -> Self {
        Self { labels: LabelNeed::All, sorted, no_metadata: false }
    }

    fn hints(&self) -> Hints {
        Hints { labels: self.labels.clone(), sorted: self.sorted, ..Hints::default() }
    }
}

/// Whose windows they are.
pub(in crate::promql) struct RangeSeries {
    pub(in crate::promql) labels: Labels,
    pub(in crate::promql) drop_name: bool,
}

/// Takes the windows of one series after the other.
pub(in crate::promql) type WindowSink<'s> = dyn FnMut(RangeSeries, &Windows<'_>) -> Outcome<()> + 's;

impl Context<'_> {
    /// Evaluates an instant selector.
    pub(super) fn instant_selector(&self, grid: Grid, selector: &VectorSelector, span: Span) -> Outcome<Vec<Series>> {
        if selector.extension == Extension::Smoothed {
            return self.smoothed_selector(grid, selector, span);
        }
        self.taken(grid, selector, Take::Value)
    }

    /// Evaluates an instant selector for its values, times or start timestamps.
    pub(super) fn taken(&self, grid: Grid, selector: &VectorSelector, take: Take) -> Outcome<Vec<Series>> {
        let mut out = Vec::new();
        let mut cells = self.held.get();
        self.each_taken(grid, selector, take, &Wanted::all(self.ordered), &mut |one| {
            if !one.column.is_blank() {
                cells += one.column.cells();
                self.hold_cells(cells)?;
                out.push(one);
            }
            Ok(())
        })?;
        self.count_series(&out, take != Take::Value);
        Ok(out)
    }

    /// Gives the columns of an instant selector, also blank ones. Returns false, before the first, where `wanted` forbids the
    /// series' labels.
    pub(super) fn each_taken(
        &self,
        grid: Grid,
        selector: &VectorSelector,
        take: Take,
        wanted: &Wanted,
        sink: &mut SeriesSink<'_>,
    ) -> Outcome<bool> {
        let references = self.references(grid, &selector.shift)?;
        let range = TimeRange { start_ms: references.first().saturating_sub(self.lookback_ms - 1), end_ms: references.last() };
        let last_only = take == Take::Value && !self.counts_resets() && (grid.steps == 1 || references.at_ms.is_some());
        let hints = Hints { step_ms: grid.step_ms, last_only, ..wanted.hints() };
        let mut cache = EdgeCache::default();
        self.read(selector, range, &hints, wanted.no_metadata, &mut |labels, samples| {
            let edges = cache.edges(&samples.times, &references, self.lookback_ms);
            sink(Series { labels, drop_name: false, column: newest(&samples, &edges, take) })
        })
    }

    /// Reads the series of a selector, in batches. Returns false, before the first, where `no_metadata` is set and a series
    /// has a type or unit beside its name.
    pub(super) fn read(
        &self,
        selector: &VectorSelector,
        range: TimeRange,
        hints: &Hints,
        no_metadata: bool,
        sink: &mut dyn FnMut(Labels, SeriesSamples) -> Outcome<()>,
    ) -> Outcome<bool> {
        let selection = self.querier.select(&selector.matchers, range, hints)?;
        self.check_selection(&selection.series)?;
        if no_metadata && selection.series.iter().any(|series| series.labels.has("__type__") || series.labels.has("__unit__")) {
            return Ok(false);
        }
        self.warn_of_store(selection.warnings);
        let mut end = 0;
        while end < selection.series.len() {
            let batch = end..batch_end(&selection.series, end);
            self.breathe(batch.len() as u64)?;
            end = batch.end;
            let read = selection.reader.read(batch.clone())?;
            for (series, samples) in selection.series[batch].iter().zip(read) {
                if !samples.is_empty() {
                    let samples = if self.counts_resets() { with_hints(samples) } else { samples };
                    sink(series.labels.clone(), samples)?;
                }
            }
        }
        // A page is found to be bad only when it is read.
        self.warn_of_store(selection.reader.warnings());
        Ok(true)
    }

    /// Refuses a selection that is too much before anything of it is read.
    fn check_selection(&self, series: &[SelectedSeries]) -> Outcome<()> {
        let wanted = series.iter().map(|one| one.samples_estimated).sum();
        if let Some((mut recorder, _)) = self.explaining() {
            recorder.read(series.len() as u64, wanted);
        }
        let (found, limit) = (series.len(), self.engine.max_series);
        if found > limit {
            return Err(QueryError::TooManySeries { found, limit });
        }
        let limit = self.engine.max_samples_read;
        if wanted > limit { Err(QueryError::TooManySamplesRead { wanted, limit }) } else { Ok(()) }
    }

    /// Gives the windows of a range selector or subquery, series by series.
    pub(in crate::promql) fn ranges(&self, grid: Grid, expr: &Expr, sink: &mut WindowSink<'_>) -> Outcome<()> {
        match &expr.kind {
            ExprKind::Paren(inner) => self.ranges(grid, inner, sink),
            ExprKind::Matrix(matrix) => self.matrix(grid, matrix, &Wanted::all(self.ordered), sink).map(|_| ()),
            ExprKind::Subquery(subquery) => self.subquery(grid, subquery, sink),
            _ => Err(Self::fail("expected a range vector")),
        }
    }

    /// Gives the windows of a range selector. Returns false, before the first, where `wanted` forbids the series' labels.
    pub(super) fn matrix(
        &self,
        grid: Grid,
        matrix: &MatrixSelector,
        wanted: &Wanted,
        sink: &mut WindowSink<'_>,
    ) -> Outcome<bool> {
        let references = self.references(grid, &matrix.selector.shift)?;
        let range_ms = self.range_ms(&matrix.range)?;
        let mut range = TimeRange { start_ms: references.first().saturating_sub(range_ms - 1), end_ms: references.last() };
        if matrix.selector.extension != Extension::None {
            range.start_ms = range.start_ms.saturating_sub(self.lookback_ms);
        }
        if matrix.selector.extension == Extension::Smoothed {
            range.end_ms = range.end_ms.saturating_add(self.lookback_ms);
        }
        let hints = Hints { step_ms: grid.step_ms, range_ms, ..wanted.hints() };
        let mut windower = Windower::new(references, range_ms);
        self.read(&matrix.selector, range, &hints, wanted.no_metadata, &mut |labels, samples| {
            windower.give(RangeSeries { labels, drop_name: false }, &Samples::from(samples), sink)
        })
    }
}

fn batch_end(series: &[SelectedSeries], begin: usize) -> usize {
    let mut samples = 0;
    let fits = |one: &&SelectedSeries| {
        samples += one.samples_estimated;
        samples <= BATCH_SAMPLES
    };
    let rest = series.get(begin..).unwrap_or_default();
    begin + rest.iter().take(BATCH).take_while(fits).count().max(1)
}

/// Makes windows of samples, sharing edges where times are shared.
pub(super) struct Windower {
    references: References,
    range_ms: i64,
    cache: EdgeCache,
}

impl Windower {
    pub(super) fn new(references: References, range_ms: i64) -> Self {
        Self { references, range_ms, cache: EdgeCache::default() }
    }

    pub(super) fn give(&mut self, series: RangeSeries, samples: &Samples, sink: &mut WindowSink<'_>) -> Outcome<()> {
        let float_edges = if samples.times.is_empty() {
            Rc::default()
        } else {
            self.cache.edges(&samples.times, &self.references, self.range_ms)
        };
        let histogram_edges = if samples.histograms.times.is_empty() {
            Vec::new()
        } else {
            edges(&samples.histograms.times, &self.references, self.range_ms)
        };
        let (references, range_ms) = (self.references, self.range_ms);
        sink(series, &Windows { samples, references, range_ms, float_edges, histogram_edges })
    }
}

/// Takes the newest sample of each window.
fn newest(samples: &SeriesSamples, edges: &[(u32, u32)], take: Take) -> Column {
    if let (Values::Floats(values), Take::Value) = (&samples.values, take) {
        let value = |(low, high): &(u32, u32)| if low < high { values[*high as usize - 1] } else { ABSENT };
        return Column::of(edges.iter().map(value).collect::<Floats>());
    }
    if let (Values::Constant(value), Take::Value) = (&samples.values, take) {
        return Column::of(edges.iter().map(|(low, high)| if low < high { *value } else { ABSENT }).collect());
    }
    let mut column = Column::absent(edges.len());
    for (step, (low, high)) in edges.iter().enumerate() {
        if low < high {
            column.set(step, taken(samples, *high as usize - 1, take));
        }
    }
    column
}

fn taken(samples: &SeriesSamples, place: usize, take: Take) -> Option<Value> {
    use crate::model::sample::is_stale;
    let value = match (samples.float(place), samples.histogram(place)) {
        (Some(value), _) if !is_stale(value) => Value::Float(value),
        (_, Some(histogram)) if !is_stale(histogram.sum) => Value::Histogram(Arc::clone(histogram)),
        _ => return None,
    };
    let seconds = |at_ms: i64| Some(Value::Float(at_ms as f64 / 1000.0));
    match take {
        Take::Value => Some(value),
        Take::Time => seconds(*samples.times.get(place)?),
        Take::Start => seconds(samples.starts.as_ref().map_or(0, |starts| starts[place])),
    }
}

/// Fills in reset hints that are unknown, each by the sample before.
fn with_hints(mut samples: SeriesSamples) -> SeriesSamples {
    let Values::Mixed(values) = &samples.values else { return samples };
    let mut before: Option<&Arc<FloatHistogram>> = None;
    let mut hinted = Vec::with_capacity(values.len());
    for value in values.iter() {
        let Value::Histogram(histogram) = value else {
            hinted.push(value.clone());
            continue;
        };
        let hint = match (histogram.counter_reset_hint, before) {
            (CounterResetHint::Unknown, Some(before)) if histogram.detect_reset(before) => CounterResetHint::Reset,
            (CounterResetHint::Unknown, Some(_)) => CounterResetHint::NotReset,
            (hint, _) => hint,
        };
        hinted.push(Value::Histogram(Arc::new(FloatHistogram { counter_reset_hint: hint, ..(**histogram).clone() })));
        before = Some(histogram);
    }
    samples.values = Values::Mixed(hinted.into());
    samples
}
