//! Selectors: what the store holds becomes columns, or windows for the functions over ranges.

use super::batches::{Job, Maker, Worked, WorkedSink};
use super::call::RangeFunction;
use super::context::{Aside, Context, Grid, Outcome, References};
use super::stream::SeriesSink;
use super::window::{EdgeCache, Samples, Windows, edges};
use crate::model::histogram::{CounterResetHint, FloatHistogram};
use crate::model::labels::Labels;
use crate::model::sample::{Value, is_stale};
use crate::promql::column::{ABSENT, Column, Floats, Series, floats};
use crate::promql::engine::QueryError;
use crate::promql::expr::{Expr, ExprKind, Extension, MatrixSelector, Span, VectorSelector};
use crate::storage::select::{Hints, LabelNeed, SelectedSeries, Selection, SeriesReader, SeriesSamples, TimeRange, Values};
use std::rc::Rc;
use std::sync::Arc;

/// How many newest samples are read at a time.
const AT_ONCE: usize = 1024;

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

/// Takes labels and column of one series after the other.
pub(super) type ColumnSink<'s> = dyn FnMut(Labels, Column) -> Outcome<()> + 's;

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
        if last_only && grid.steps == 1 {
            return self.newest_of_all(selector, range, &hints, wanted.no_metadata, sink);
        }
        let lookback_ms = self.lookback_ms;
        let maker: Maker = Arc::new(move || {
            let mut cache = EdgeCache::default();
            Box::new(move |samples: SeriesSamples| {
                let edges = cache.edges(&samples.times, &references, lookback_ms);
                Worked::Column(newest(&samples, &edges, take))
            })
        });
        let job = self.job(maker, grid.steps);
        self.read(selector, range, &hints, wanted.no_metadata, &job, &mut |labels, worked| match worked {
            Worked::Column(column) => sink(Series { labels, drop_name: false, column }),
            Worked::Nothing | Worked::Samples(_) => Ok(()),
        })
    }

    /// Gives the columns of one step: the newest sample of each series, which is within the lookback as the range is.
    fn newest_of_all(
        &self,
        selector: &VectorSelector,
        range: TimeRange,
        hints: &Hints,
        no_metadata: bool,
        sink: &mut SeriesSink<'_>,
    ) -> Outcome<bool> {
        let Some(selection) = self.selection(selector, range, hints, no_metadata)? else { return Ok(false) };
        let _held = self.held_by(&*selection.reader)?;
        for (at, series) in selection.series.chunks(AT_ONCE).enumerate() {
            self.breathe()?;
            let newest = selection.reader.newest(at * AT_ONCE..at * AT_ONCE + series.len())?;
            for (series, newest) in series.iter().zip(newest) {
                let column = match newest {
                    Some((_, Value::Float(value))) => Column::of(Floats::from_slice(&[value])),
                    Some((_, Value::Histogram(value))) if !is_stale(value.sum) => {
                        let mut column = Column::absent(1);
                        column.set(0, Some(Value::Histogram(value)));
                        column
                    }
                    Some(_) => Column::absent(1),
                    None => continue,
                };
                sink(Series { labels: series.labels.clone(), drop_name: false, column })?;
            }
        }
        self.warn_of_store(selection.reader.warnings());
        self.warn_of_store(selection.warnings);
        Ok(true)
    }

    pub(super) fn job(&self, maker: Maker, steps: usize) -> Job {
        Job { maker, steps, hinted: self.counts_resets() }
    }

    /// Reads the series of a selector and gives what a job makes of them. Returns false, before the first, where `no_metadata`
    /// is set and a series has a type or unit beside its name.
    pub(super) fn read(
        &self,
        selector: &VectorSelector,
        range: TimeRange,
        hints: &Hints,
        no_metadata: bool,
        job: &Job,
        sink: &mut WorkedSink<'_>,
    ) -> Outcome<bool> {
        let Some(selection) = self.selection(selector, range, hints, no_metadata)? else { return Ok(false) };
        let _held = self.held_by(&*selection.reader)?;
        self.work_off(&selection, job, sink)?;
        self.warn_of_store(selection.warnings);
        // A page is found to be bad only when it is read.
        self.warn_of_store(selection.reader.warnings());
        Ok(true)
    }

    /// Selects series. `None` where `no_metadata` is set and a series has a type or unit beside its name.
    fn selection(
        &self,
        selector: &VectorSelector,
        range: TimeRange,
        hints: &Hints,
        no_metadata: bool,
    ) -> Outcome<Option<Selection>> {
        let (selection, read_before) = self.select(selector, range, hints)?;
        self.check_selection(&selection.series, read_before)?;
        Ok(if no_metadata && any_metadata(&selection.series) { None } else { Some(selection) })
    }

    /// Counts what a selection holds as long as it lives, if it holds anything.
    fn held_by(&self, reader: &dyn SeriesReader) -> Outcome<Option<Aside<'_>>> {
        let bytes = reader.held_bytes();
        (bytes > 0).then(|| self.set_aside(bytes.div_ceil(8))).transpose()
    }

    /// Refuses a selection that is too much before anything of it is read.
    fn check_selection(&self, series: &[SelectedSeries], read_before: bool) -> Outcome<()> {
        let wanted = series.iter().map(|one| one.samples_estimated).sum();
        if let Some((mut recorder, _)) = self.explaining() {
            recorder.read(series.len() as u64, if read_before { 0 } else { wanted });
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
            ExprKind::Matrix(matrix) => self.matrix(grid, matrix, &Wanted::all(self.ordered), sink).map(drop),
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
        let (references, range_ms, range, hints) = self.window_of(grid, matrix, wanted)?;
        let maker: Maker = Arc::new(|| Box::new(|samples| Worked::Samples(Box::new(Samples::from(samples)))));
        let mut windower = Windower::new(references, range_ms);
        let job = self.job(maker, grid.steps);
        self.read(&matrix.selector, range, &hints, wanted.no_metadata, &job, &mut |labels, worked| match worked {
            Worked::Samples(samples) => windower.give(RangeSeries { labels, drop_name: false }, &samples, sink),
            Worked::Nothing | Worked::Column(_) => Ok(()),
        })
    }

    /// Gives the columns of a function over a range selector. Returns false, before the first, where `wanted` forbids the
    /// series' labels.
    pub(super) fn matrix_columns(
        &self,
        grid: Grid,
        matrix: &MatrixSelector,
        wanted: &Wanted,
        function: &mut RangeFunction<'_>,
        sink: &mut ColumnSink<'_>,
    ) -> Outcome<bool> {
        let (references, range_ms, range, hints) = self.window_of(grid, matrix, wanted)?;
        let quick = function.quick();
        let maker: Maker = Arc::new(move || {
            let mut windower = Windower::new(references, range_ms);
            let mut quick = quick.begin();
            Box::new(move |samples| {
                let samples = Samples::from(samples);
                match quick.column(&windower.windows(&samples)) {
                    Some(floats) => Worked::Column(Column::of(floats)),
                    None => Worked::Samples(Box::new(samples)),
                }
            })
        });
        let mut windower = Windower::new(references, range_ms);
        let job = self.job(maker, grid.steps);
        self.read(&matrix.selector, range, &hints, wanted.no_metadata, &job, &mut |labels, worked| {
            let series = RangeSeries { labels, drop_name: false };
            let column = match worked {
                Worked::Nothing => return Ok(()),
                Worked::Column(column) => column,
                Worked::Samples(samples) => function.by_windows(self, grid, &series, &windower.windows(&samples))?,
            };
            function.check(self, &series, &column);
            sink(series.labels, column)
        })
    }

    /// Returns the times a range selector looks at, the length of its windows, and what is to be read for them.
    fn window_of(&self, grid: Grid, matrix: &MatrixSelector, wanted: &Wanted) -> Outcome<(References, i64, TimeRange, Hints)> {
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
        Ok((references, range_ms, range, hints))
    }
}

/// Returns whether a series has a type or unit beside its name. Sets that are shared are looked at once.
fn any_metadata(series: &[SelectedSeries]) -> bool {
    let mut before = None;
    series.iter().any(|one| {
        let known = before.replace(one.labels.address()) == Some(one.labels.address());
        // Labels are sorted: these two come before all that people give.
        let mut reserved = one.labels.iter().take_while(|(name, _)| *name <= "__unit__");
        !known && reserved.any(|(name, _)| matches!(name, "__type__" | "__unit__"))
    })
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
        sink(series, &self.windows(samples))
    }

    /// Returns the windows over the samples of one series.
    pub(super) fn windows<'s>(&mut self, samples: &'s Samples) -> Windows<'s> {
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
        Windows { samples, references, range_ms, float_edges, histogram_edges }
    }
}

/// Takes the newest sample of each window.
fn newest(samples: &SeriesSamples, edges: &[(u32, u32)], take: Take) -> Column {
    if let (Values::Floats(values), Take::Value) = (&samples.values, take) {
        let value = |(low, high): &(u32, u32)| if low < high { values[*high as usize - 1] } else { ABSENT };
        return Column::of(floats(edges.iter().map(value)));
    }
    if let (Values::Constant(value), Take::Value) = (&samples.values, take) {
        return Column::of(floats(edges.iter().map(|(low, high)| if low < high { *value } else { ABSENT })));
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
pub(super) fn with_hints(mut samples: SeriesSamples) -> SeriesSamples {
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
