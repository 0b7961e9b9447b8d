//! What a query carries along while it is evaluated.

use super::repeats::Repeats;
use super::tally::Tally;
use crate::model::labels::{Labels, METRIC_NAME};
use crate::promql::annotations::{Annotations, Note};
use crate::promql::budget::Share;
use crate::promql::column::{Series, is_metadata_label, without_metadata};
use crate::promql::engine::{EngineOptions, Frame, QueryError, QueryOptions, Workers};
use crate::promql::explain::{Node, Recorder};
use crate::promql::expr::{At, Span};
use crate::promql::turns::{Turn, Turns};
use crate::storage::select::Querier;
use hashbrown::HashMap;
use std::cell::{Cell, RefCell, RefMut};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

pub(in crate::promql) type Outcome<T> = Result<T, QueryError>;

/// The steps that something is evaluated at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::promql) struct Grid {
    pub(in crate::promql) start_ms: i64,
    pub(in crate::promql) step_ms: i64,
    pub(in crate::promql) steps: usize,
}

impl Grid {
    /// Returns the grid from `start_ms` to `end_ms`, both included.
    pub(in crate::promql) fn new(start_ms: i64, end_ms: i64, step_ms: i64) -> Self {
        let span = if end_ms < start_ms { None } else { usize::try_from((end_ms - start_ms) / step_ms.max(1)).ok() };
        Self { start_ms, step_ms, steps: span.map_or(0, |span| span + 1) }
    }

    pub(in crate::promql) const fn at(&self, step: usize) -> i64 {
        self.start_ms + self.step_ms * step as i64
    }

    pub(in crate::promql) const fn first_step(&self) -> Self {
        Self { steps: 1, ..*self }
    }

    pub(in crate::promql) fn times(self) -> impl Iterator<Item = i64> {
        (0..self.steps).map(move |step| self.at(step))
    }
}

/// The times that a selector looks at: those of the grid, shifted or pinned.
#[derive(Clone, Copy, Debug)]
pub(in crate::promql) struct References {
    pub(in crate::promql) grid: Grid,
    pub(in crate::promql) at_ms: Option<i64>,
    pub(in crate::promql) offset_ms: i64,
}

impl References {
    pub(in crate::promql) fn at(&self, step: usize) -> i64 {
        self.at_ms.unwrap_or_else(|| self.grid.at(step)).saturating_sub(self.offset_ms)
    }

    pub(in crate::promql) fn first(&self) -> i64 {
        self.at(0)
    }

    pub(in crate::promql) fn last(&self) -> i64 {
        self.at(self.grid.steps.saturating_sub(1))
    }
}

/// Cells held aside; given back when dropped.
pub(super) struct Aside<'c> {
    cell: &'c Cell<u64>,
    before: u64,
}

impl Drop for Aside<'_> {
    fn drop(&mut self) {
        self.cell.set(self.before);
    }
}

/// One query under evaluation.
pub(in crate::promql) struct Context<'a> {
    pub(in crate::promql) engine: &'a EngineOptions,
    pub(in crate::promql) querier: &'a dyn Querier,
    pub(in crate::promql) options: &'a QueryOptions,
    pub(in crate::promql) lookback_ms: i64,
    /// Step of a subquery that names none.
    pub(super) subquery_step_ms: i64,
    /// The steps of the whole query: what `start()`, `end()`, `step()` and `range()` speak of.
    pub(in crate::promql) query: Grid,
    pub(in crate::promql) end_ms: i64,
    pub(in crate::promql) is_range: bool,
    /// Whether the order of series matters to what is evaluated: see [`super::order`].
    pub(in crate::promql) ordered: bool,
    pub(super) repeats: Repeats,
    notes: RefCell<Annotations>,
    store_warnings: RefCell<Vec<String>>,
    /// Samples of all values that are alive.
    pub(super) held: Cell<u64>,
    pub(super) peak: Cell<u64>,
    pub(super) tally: RefCell<Tally>,
    /// What the last subquery touched in all.
    pub(super) subquery_total: Cell<u64>,
    count_resets: Cell<bool>,
    share: Share<'a>,
    /// Bytes of label sets that the query made.
    made: Cell<u64>,
    /// Cells that are held beside those that [`Self::hold_cells`] is told of.
    aside: Cell<u64>,
    turn: RefCell<Option<Turn>>,
    turns: Option<&'a Arc<Turns>>,
    workers: &'a Workers,
    recorder: RefCell<Recorder>,
}

impl<'a> Context<'a> {
    pub(in crate::promql) fn new(frame: Frame<'a>, query: Grid, end_ms: i64) -> Self {
        let Frame { subquery_step_ms, engine, querier, options, share, turn, turns, workers } = frame;
        Self {
            engine,
            querier,
            options,
            lookback_ms: options.lookback_ms.unwrap_or(engine.lookback_ms),
            subquery_step_ms,
            query,
            end_ms,
            is_range: false,
            ordered: false,
            repeats: Repeats::default(),
            notes: RefCell::default(),
            store_warnings: RefCell::default(),
            held: Cell::new(0),
            peak: Cell::new(0),
            tally: RefCell::default(),
            subquery_total: Cell::new(0),
            count_resets: Cell::new(false),
            share,
            made: Cell::new(0),
            aside: Cell::new(0),
            turn: RefCell::new(turn),
            turns,
            workers,
            recorder: RefCell::default(),
        }
    }

    /// Lets others go first where that is due, and ends a cancelled query. Whatever takes more than a millisecond or so calls it
    /// in between.
    pub(in crate::promql) fn breathe(&self) -> Outcome<()> {
        let cancelled = || self.check_cancelled().is_err();
        if let Some(turn) = self.turn.borrow_mut().as_mut()
            && !turn.breathe(&cancelled)
        {
            return Err(QueryError::Cancelled);
        }
        self.check_cancelled()
    }

    /// Notes how many cells (a series at a step) are held, in columns.
    pub(super) fn hold_cells(&self, cells: u64) -> Outcome<()> {
        let bytes = cells.saturating_add(self.aside.get()).saturating_mul(8);
        self.share.hold(bytes.saturating_add(self.made.get()))
    }

    /// Returns how many bytes of label sets the query made and holds.
    pub(super) const fn made(&self) -> u64 {
        self.made.get()
    }

    /// Notes that label sets of so many bytes are made. Ask before they are.
    pub(super) fn make_labels(&self, bytes: u64) -> Outcome<()> {
        self.made.set(self.made.get().saturating_add(bytes));
        self.hold_cells(self.held.get())
    }

    /// Notes that label sets of so many bytes are gone.
    pub(super) fn drop_labels(&self, bytes: u64) {
        self.made.set(self.made.get().saturating_sub(bytes));
    }

    /// Notes that so many cells are held beside others until the answer is dropped.
    pub(super) fn set_aside(&self, cells: u64) -> Outcome<Aside<'_>> {
        let before = self.aside.replace(self.aside.get() + cells);
        let aside = Aside { cell: &self.aside, before };
        self.hold_cells(self.held.get())?;
        Ok(aside)
    }

    /// Returns turns that nobody wants, so many at most.
    pub(super) fn idle_turns(&self, most: usize) -> Vec<Turn> {
        let Some(turns) = self.turns.filter(|_| self.workers.are_there()) else { return Vec::new() };
        std::iter::from_fn(|| turns.idle(self.options.lane)).take(most).collect()
    }

    /// Starts work on another thread. It may come late, or never.
    pub(super) fn start(&self, work: Box<dyn FnOnce() + Send>) {
        self.workers.start(work);
    }

    /// Returns the recorder and the time, where the query is to be explained.
    pub(super) fn explaining(&self) -> Option<(RefMut<'_, Recorder>, Duration)> {
        let now = self.options.explain.as_ref()?;
        Some((self.recorder.borrow_mut(), now()))
    }

    /// Returns what was recorded.
    pub(in crate::promql) fn explained(&self) -> Option<Node> {
        self.recorder.take().finish()
    }

    pub(in crate::promql) fn fail(text: impl Into<String>) -> QueryError {
        QueryError::Execution(text.into())
    }

    pub(in crate::promql) fn note(&self, note: &Note, span: Span) {
        self.notes.borrow_mut().add(note, span);
    }

    pub(in crate::promql) fn warn_of_store(&self, warnings: Vec<String>) {
        self.store_warnings.borrow_mut().extend(warnings);
    }

    /// Returns the rendered warnings and infos.
    pub(in crate::promql) fn said(&self) -> (Vec<String>, Vec<String>) {
        let (warnings, infos) = self.notes.borrow().render(self.options.text.as_deref(), self.engine.max_annotations);
        let mut all = self.store_warnings.borrow().clone();
        all.extend(warnings);
        (all, infos)
    }

    pub(in crate::promql) fn check_cancelled(&self) -> Outcome<()> {
        match &self.options.cancel {
            Some(cancel) if cancel.load(Ordering::Relaxed) => Err(QueryError::Cancelled),
            _ => Ok(()),
        }
    }

    /// Evaluates with or without looking for resets between histograms as they are read. Prometheus looks for them where
    /// only count and sum are asked for and buckets need not be decoded; it shows in warnings about colliding hints.
    pub(in crate::promql) fn counting_resets<T>(&self, count: bool, evaluate: impl FnOnce() -> T) -> T {
        let before = self.count_resets.replace(count);
        let value = evaluate();
        self.count_resets.set(before);
        value
    }

    pub(in crate::promql) fn counts_resets(&self) -> bool {
        self.count_resets.get()
    }

    /// Returns the absolute time of a pin.
    pub(in crate::promql) const fn pinned(&self, at: At) -> i64 {
        match at {
            At::Timestamp(at_ms) => at_ms,
            At::Start => self.query.start_ms,
            At::End => self.end_ms,
        }
    }

    /// Drops names at once where the engine does not wait for the end of the query.
    pub(in crate::promql) fn named(&self, series: Vec<Series>) -> Outcome<Vec<Series>> {
        if self.engine.delayed_name_removal || !series.iter().any(|one| one.drop_name) {
            return Ok(series);
        }
        drop_names(series)
    }
}

/// Drops the names that are to be dropped, and joins series that become one.
pub(in crate::promql) fn drop_names(mut series: Vec<Series>) -> Outcome<Vec<Series>> {
    let stay_apart = differ_without_name(&series);
    for one in &mut series {
        if std::mem::take(&mut one.drop_name) {
            one.labels = without_metadata(&one.labels);
        }
    }
    if stay_apart { Ok(series) } else { join_same_labels(series) }
}

/// Returns whether dropping names leaves all labels different: they all have the same name, and neither type nor unit.
fn differ_without_name(series: &[Series]) -> bool {
    let Some(first) = series.first() else { return true };
    let name = first.labels.metric_name();
    series.iter().all(|one| {
        let mut metadata = one.labels.iter().filter(|(name, _)| is_metadata_label(name));
        one.drop_name
            && metadata.next().is_none_or(|label| label == (METRIC_NAME, name))
            && metadata.next().is_none()
            && one.labels.has(METRIC_NAME) != name.is_empty()
    })
}

/// Joins series with equal labels; it fails where two have a sample at the same step.
pub(in crate::promql) fn join_same_labels(series: Vec<Series>) -> Outcome<Vec<Series>> {
    let mut places: HashMap<Labels, usize> = HashMap::with_capacity(series.len());
    let mut joined: Vec<Series> = Vec::with_capacity(series.len());
    for one in series {
        if let Some(place) = places.get(&one.labels) {
            let first = &mut joined[*place];
            first.drop_name |= one.drop_name;
            if !first.column.absorb(&one.column) {
                return Err(Context::fail("vector cannot contain metrics with the same labelset"));
            }
        } else {
            places.insert(one.labels.clone(), joined.len());
            joined.push(one);
        }
    }
    Ok(joined)
}
