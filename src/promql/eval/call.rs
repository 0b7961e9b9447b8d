//! Function calls: from the name to what computes it.

use super::context::{Context, Grid, Outcome};
use super::select::{RangeSeries, Take, Wanted};
use super::window::{Samples, Windows};
use super::{Evaluated, call_histogram, call_labels};
use crate::model::labels::{Labels, METRIC_NAME};
use crate::model::sample::Value;
use crate::promql::annotations::Note;
use crate::promql::column::{Column, Floats, Series};
use crate::promql::expr::{Call, Expr, ExprKind, Extension, Span, ValueType};
use crate::promql::functions::columns::{Columns, columns};
use crate::promql::functions::{self, Kernel, RangeCall, buckets, dates, math};

/// Name endings that say "counter".
const COUNTER_SUFFIXES: [&str; 4] = ["_total", "_sum", "_count", "_bucket"];

impl Context<'_> {
    pub(super) fn call(&self, grid: Grid, call: &Call, span: Span) -> Outcome<Evaluated> {
        if let Some(values) = self.scalar_call(grid, call)? {
            return Ok(Evaluated::Scalar(values));
        }
        let count_resets = self.call_counts_resets(call.function);
        self.counting_resets(count_resets, || self.vector_call(grid, call, span)).map(Evaluated::Vector)
    }

    /// Returns whether resets between histograms are looked for in the arguments of a function.
    pub(super) fn call_counts_resets(&self, function: &str) -> bool {
        match function {
            "histogram_count" | "histogram_sum" | "histogram_avg" => true,
            "histogram_quantile" | "histogram_quantiles" | "histogram_fraction" => false,
            _ => self.counts_resets(),
        }
    }

    fn scalar_call(&self, grid: Grid, call: &Call) -> Outcome<Option<Floats>> {
        let all = |value: f64| Floats::from_elem(value, grid.steps);
        let seconds = |milliseconds: i64| all(milliseconds as f64 / 1000.0);
        Ok(Some(match (call.function, call.args.as_slice()) {
            ("time", []) => grid.times().map(|at_ms| at_ms as f64 / 1000.0).collect(),
            ("pi", []) => all(std::f64::consts::PI),
            ("start", []) => seconds(self.query.start_ms),
            ("end", []) => seconds(self.end_ms),
            ("step", []) => seconds(self.query.step_ms),
            ("range", []) => seconds(self.end_ms - self.query.start_ms),
            ("min_of", [a, b]) => self.both(grid, a, b, math::go_min)?,
            ("max_of", [a, b]) => self.both(grid, a, b, math::go_max)?,
            ("scalar", [vector]) => {
                let series = self.vector(grid, vector)?;
                (0..grid.steps).map(|step| only_float(&series, step)).collect()
            }
            _ => return Ok(None),
        }))
    }

    fn both(&self, grid: Grid, a: &Expr, b: &Expr, f: fn(f64, f64) -> f64) -> Outcome<Floats> {
        let (a, b) = (self.scalar(grid, a)?, self.scalar(grid, b)?);
        Ok(a.iter().zip(&b).map(|(a, b)| f(*a, *b)).collect())
    }

    fn vector_call(&self, grid: Grid, call: &Call, span: Span) -> Outcome<Vec<Series>> {
        let args = call.args.as_slice();
        if functions::kernel(call.function).is_some() {
            return self.range_call(grid, call);
        }
        if let (Some(f), [vector]) = (math::function(call.function), args) {
            return self.mapped(grid, vector, |column| column.map_floats(f));
        }
        if let Some(f) = dates::function(call.function) {
            return self.date(grid, args, f);
        }
        match (call.function, args) {
            ("vector", [scalar]) => {
                let column = Column::of(self.scalar(grid, scalar)?);
                Ok(vec![Series { labels: Labels::empty(), drop_name: false, column }])
            }
            ("clamp" | "clamp_min" | "clamp_max" | "round", [vector, bounds @ ..]) => {
                self.bounded(grid, call.function, vector, bounds)
            }
            ("timestamp" | "start_timestamp", [vector]) => self.timestamp(grid, call.function, vector),
            ("absent", [vector]) => self.absent(grid, vector),
            ("absent_over_time", [range]) => self.absent_over_time(grid, range),
            ("sort" | "sort_desc" | "sort_by_label" | "sort_by_label_desc", [vector, names @ ..]) => {
                if self.is_range {
                    self.note(&Note::SortIneffective, span);
                }
                let names = names.iter().map(|name| self.text(grid, name)).collect::<Outcome<Vec<_>>>()?;
                call_labels::sorted(self, self.vector(grid, vector)?, call.function, &names)
            }
            ("label_replace", _) => call_labels::replace(self, grid, args),
            ("label_join", _) => call_labels::join(self, grid, args),
            ("info", _) => self.info(grid, args),
            _ => call_histogram::call(self, grid, call),
        }
    }

    /// Applies a change to every column; names go.
    pub(super) fn mapped(&self, grid: Grid, vector: &Expr, change: impl Fn(&mut Column)) -> Outcome<Vec<Series>> {
        let mut series = self.vector(grid, vector)?;
        for one in &mut series {
            self.breathe()?;
            change(&mut one.column);
            one.drop_name = true;
        }
        series.retain(|one| !one.column.is_blank());
        self.named(series)
    }

    fn bounded(&self, grid: Grid, name: &str, vector: &Expr, bounds: &[Expr]) -> Outcome<Vec<Series>> {
        let bounds = bounds.iter().map(|bound| self.scalar(grid, bound)).collect::<Outcome<Vec<_>>>()?;
        let at = |place: usize, step: usize| bounds.get(place).map_or(1.0, |values| values[step]);
        self.mapped(grid, vector, |column| {
            let mut out = Column::absent(grid.steps);
            for step in 0..grid.steps {
                let Some(value) = column.float(step) else { continue };
                let (first, second) = (at(0, step), at(1, step));
                match name {
                    "clamp" if second < first => {}
                    "clamp" => out.set_float(step, math::clamp(value, first, second)),
                    "clamp_min" => out.set_float(step, math::go_max(first, value)),
                    "clamp_max" => out.set_float(step, math::go_min(first, value)),
                    _ => out.set_float(step, math::round(value, first)),
                }
            }
            *column = out;
        })
    }

    fn date(&self, grid: Grid, args: &[Expr], f: fn(f64) -> f64) -> Outcome<Vec<Series>> {
        match args {
            [vector] => self.mapped(grid, vector, |column| column.map_floats(f)),
            _ => {
                let column = Column::of(grid.times().map(|at_ms| f(at_ms.div_euclid(1000) as f64)).collect());
                Ok(vec![Series { labels: Labels::empty(), drop_name: false, column }])
            }
        }
    }

    fn timestamp(&self, grid: Grid, name: &str, vector: &Expr) -> Outcome<Vec<Series>> {
        let take = if name == "timestamp" { Take::Time } else { Take::Start };
        if let ExprKind::Selector(selector) = &without_parens(vector).kind {
            let mut series = self.taken(grid, selector, take)?;
            let size: u64 = series.iter().map(|one| one.column.size()).sum();
            self.peak(size + size / grid.steps.max(1) as u64)?;
            series.iter_mut().for_each(|one| one.drop_name = true);
            return self.named(series);
        }
        if take == Take::Start {
            // What is computed began nowhere.
            self.vector(grid, vector)?;
            return Ok(Vec::new());
        }
        self.mapped(grid, vector, |column| {
            let mut out = Column::absent(grid.steps);
            for step in (0..grid.steps).filter(|step| column.has(*step)) {
                out.set_float(step, grid.at(step) as f64 / 1000.0);
            }
            *column = out;
        })
    }

    fn absent(&self, grid: Grid, vector: &Expr) -> Outcome<Vec<Series>> {
        let series = self.vector(grid, vector)?;
        let mut missing = Vec::new();
        for step in 0..grid.steps {
            self.breathe()?;
            if !series.iter().any(|one| one.column.has(step)) {
                missing.push(step);
            }
        }
        Ok(self.absence(grid, vector, missing.into_iter()))
    }

    fn absent_over_time(&self, grid: Grid, range: &Expr) -> Outcome<Vec<Series>> {
        let mut there = vec![false; grid.steps];
        let is_subquery = matches!(without_parens(range).kind, ExprKind::Subquery(_));
        self.ranges(grid, range, &mut |_, windows| {
            let (largest, last) = self.count_windows(windows, is_subquery);
            self.peak(largest.max(last + grid.steps as u64))?;
            for (step, there) in there.iter_mut().enumerate() {
                *there = *there || !windows.at(step).is_empty();
            }
            Ok(())
        })?;
        Ok(self.absence(grid, range, (0..grid.steps).filter(|step| !there[*step])))
    }

    fn absence(&self, grid: Grid, asked: &Expr, steps: impl Iterator<Item = usize>) -> Vec<Series> {
        let labels = match &without_parens(asked).kind {
            ExprKind::Selector(selector) => buckets::asked_for(&selector.matchers),
            ExprKind::Matrix(matrix) => buckets::asked_for(&matrix.selector.matchers),
            _ => Labels::empty(),
        };
        let mut column = Column::absent(grid.steps);
        steps.for_each(|step| column.set_float(step, 1.0));
        let series = Series { labels, drop_name: false, column };
        Some(series).into_iter().filter(|one| !one.column.is_blank()).collect()
    }

    fn range_call(&self, grid: Grid, call: &Call) -> Outcome<Vec<Series>> {
        let mut function = RangeFunction::new(self, grid, call)?;
        let is_subquery = matches!(without_parens(function.range).kind, ExprKind::Subquery(_));
        let mut out = Vec::new();
        let mut held = 0;
        if let (ExprKind::Matrix(matrix), false) = (&without_parens(function.range).kind, self.counts()) {
            let drop_name = !function.keeps_name;
            self.matrix_columns(grid, matrix, &Wanted::all(self.ordered), &mut function, &mut |labels, column| {
                self.peak(held)?;
                if !column.is_blank() {
                    held += column.cells();
                    self.hold_cells(self.held.get() + held)?;
                    out.push(Series { labels, drop_name, column });
                }
                Ok(())
            })?;
            return self.named(out);
        }
        self.ranges(grid, function.range, &mut |series, windows| {
            let (largest, last) = self.count_windows(windows, is_subquery);
            self.peak(held + largest)?;
            let column = function.column(self, grid, &series, windows)?;
            if !column.is_blank() {
                held += if self.counts() { column.size() } else { column.cells() };
                if self.counts() {
                    self.peak(held + last)?;
                }
                self.hold_cells(self.held.get() + held)?;
                out.push(Series { labels: series.labels, drop_name: series.drop_name || !function.keeps_name, column });
            }
            Ok(())
        })?;
        self.named(out)
    }

    fn note_non_counter(&self, labels: &Labels, column: &Column, span: Span) {
        let name = labels.value(METRIC_NAME);
        if name.is_empty() || (0..column.len()).all(|step| column.float(step).is_none()) {
            return;
        }
        if self.engine.type_and_unit_labels {
            let kind = labels.value("__type__");
            if !matches!(kind, "counter" | "histogram") {
                self.note(&Note::PossibleNonCounterType { name: name.to_owned(), kind: kind.to_owned() }, span);
            }
        } else if !COUNTER_SUFFIXES.iter().any(|suffix| name.ends_with(suffix)) {
            self.note(&Note::PossibleNonCounter(name.to_owned()), span);
        }
    }
}

/// A call of a function over ranges, ready for one series after the other.
pub(super) struct RangeFunction<'c> {
    name: &'static str,
    kernel: Kernel,
    /// Whether the metric keeps its name.
    pub(super) keeps_name: bool,
    /// The range argument.
    pub(super) range: &'c Expr,
    first_span: Span,
    scalars: Vec<Floats>,
    extension: Extension,
    quick: Quick,
    whole: QuickRun,
}

/// Whether and how whole columns of a range function are computed at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quick {
    name: &'static str,
    allowed: bool,
    use_start_timestamps: bool,
}

/// Computes whole columns at once, where that can be done.
pub(super) struct QuickRun {
    columns: Option<Box<dyn Columns>>,
    use_start_timestamps: bool,
}

impl Quick {
    /// Returns what one thread needs for it.
    pub(super) fn begin(self) -> QuickRun {
        let columns = if self.allowed { columns(self.name) } else { None };
        QuickRun { columns, use_start_timestamps: self.use_start_timestamps }
    }
}

impl QuickRun {
    /// Computes the column of one series, or declines.
    pub(super) fn column(&mut self, windows: &Windows<'_>) -> Option<Floats> {
        let simple = series_of_floats(windows.samples, self.use_start_timestamps) && !windows.samples.times.is_empty();
        self.columns.as_mut().filter(|_| simple)?.column(windows)
    }
}

impl<'c> RangeFunction<'c> {
    pub(super) fn new(context: &Context<'_>, grid: Grid, call: &'c Call) -> Outcome<Self> {
        let is_range = |arg: &&Expr| arg.value_type() == ValueType::Matrix;
        let (Some(range), Some((kernel, keeps_name))) = (call.args.iter().find(is_range), functions::kernel(call.function))
        else {
            return Err(Context::fail("expected a range vector"));
        };
        let others = call.args.iter().filter(|arg| !is_range(arg));
        let scalars = others.map(|arg| context.scalar(grid, arg)).collect::<Outcome<Vec<_>>>()?;
        let extension = match &without_parens(range).kind {
            ExprKind::Matrix(matrix) => matrix.selector.extension,
            _ => Extension::None,
        };
        check_extension(call.function, extension)?;
        let first_span = call.args.first().map_or(range.span, |arg| arg.span);
        let allowed = extension == Extension::None;
        let use_start_timestamps = context.engine.use_start_timestamps;
        let quick = Quick { name: call.function, allowed, use_start_timestamps };
        let whole = quick.begin();
        Ok(Self { name: call.function, kernel, keeps_name, range, first_span, scalars, extension, quick, whole })
    }

    /// Computes the column of one series; it may be blank.
    pub(super) fn column(
        &mut self,
        context: &Context<'_>,
        grid: Grid,
        series: &RangeSeries,
        windows: &Windows<'_>,
    ) -> Outcome<Column> {
        let column = match self.whole.column(windows) {
            Some(floats) => Column::of(floats),
            None => self.by_windows(context, grid, series, windows)?,
        };
        self.check(context, series, &column);
        Ok(column)
    }

    /// Returns how whole columns are computed.
    pub(super) const fn quick(&self) -> Quick {
        self.quick
    }

    /// Notes what is odd about a series and its column.
    pub(super) fn check(&self, context: &Context<'_>, series: &RangeSeries, column: &Column) {
        if matches!(self.name, "rate" | "increase") {
            context.note_non_counter(&series.labels, column, self.range.span);
        }
        if self.name == "quantile_over_time"
            && let Some(wanted) = self.scalars.first()
        {
            for (_, value) in wanted.iter().enumerate().filter(|(step, value)| !(0.0..=1.0).contains(*value) && column.has(*step))
            {
                context.note(&Note::InvalidQuantile(*value), self.first_span);
            }
        }
    }

    /// Computes the column of one series window by window; it may be blank.
    pub(super) fn by_windows(
        &self,
        context: &Context<'_>,
        grid: Grid,
        series: &RangeSeries,
        windows: &Windows<'_>,
    ) -> Outcome<Column> {
        let mut column = Column::absent(grid.steps);
        let mut arguments = [0.0; 2];
        let mut looked_at = 0;
        for step in 0..grid.steps {
            let window = windows.at(step);
            if window.is_empty() && self.extension == Extension::None {
                continue;
            }
            looked_at += window.len() + 1;
            if looked_at >= BREATHE_EVERY {
                looked_at = 0;
                context.breathe()?;
            }
            arguments.iter_mut().zip(&self.scalars).for_each(|(argument, values)| *argument = values[step]);
            let call = RangeCall {
                context,
                metric: series.labels.metric_name(),
                span: self.range.span,
                first_span: self.first_span,
                scalars: arguments.get(..self.scalars.len()).unwrap_or_default(),
                extension: self.extension,
            };
            if let Some(value) = (self.kernel)(&window, &call)? {
                column.set(step, Some(value));
            }
        }
        Ok(column)
    }
}

/// How many samples windows look at before others may go first: about a millisecond of work.
const BREATHE_EVERY: usize = 16_384;

/// Returns whether nothing but floats matters in a series.
fn series_of_floats(samples: &Samples, use_start_timestamps: bool) -> bool {
    samples.histograms.times.is_empty() && (samples.starts.is_none() || !use_start_timestamps)
}

/// Refuses ranges that a function cannot make sense of.
fn check_extension(function: &str, extension: Extension) -> Outcome<()> {
    let (word, allowed): (_, &[&str]) = match extension {
        Extension::None => return Ok(()),
        Extension::Anchored => ("anchored", &["changes", "delta", "increase", "rate", "resets"]),
        Extension::Smoothed => ("smoothed", &["delta", "increase", "rate"]),
    };
    if allowed.contains(&function) {
        return Ok(());
    }
    Err(Context::fail(format!("{word} modifier can only be used with: {} - not with {function}", allowed.join(", "))))
}

/// Returns the expression within parentheses.
pub(super) fn without_parens(expr: &Expr) -> &Expr {
    match &expr.kind {
        ExprKind::Paren(inner) => without_parens(inner),
        _ => expr,
    }
}

fn only_float(series: &[Series], step: usize) -> f64 {
    let mut floats = series.iter().filter_map(|one| one.column.float(step));
    match (floats.next(), floats.next()) {
        (Some(value), None) => value,
        _ => f64::NAN,
    }
}

/// Turns each histogram into a number; floats go.
pub(super) fn of_histograms(column: &mut Column, f: impl Fn(&crate::model::histogram::FloatHistogram) -> f64) {
    let mut out = Column::absent(column.len());
    for step in 0..column.len() {
        if let Some(histogram) = column.histogram(step) {
            out.set(step, Some(Value::Float(f(histogram))));
        }
    }
    *column = out;
}
