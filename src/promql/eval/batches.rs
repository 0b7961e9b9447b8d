//! Series of a selector in batches: read, turned into columns, and given in order.
//!
//! Reading and computing a series looks at nothing but its samples, so that several threads may do it. Each takes the next
//! batch that nobody has; the thread of the query itself gives them on, in order, and computes whenever it would wait. So the
//! answer never depends on who did what, and a query is never slower than its own thread. Threads ahead of what was given
//! stop after a few batches, which bounds what is held.

use super::context::{Aside, Context, Outcome};
use super::select::with_hints;
use super::window::Samples;
use crate::model::labels::Labels;
use crate::promql::column::Column;
use crate::promql::engine::QueryError;
use crate::promql::turns::Turn;
use crate::storage::select::{SelectError, SelectedSeries, Selection, SeriesReader, SeriesSamples};
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How many series are read at a time: enough to share times, few enough to hold.
const SERIES: usize = 512;
/// How many samples are read at a time, but for a single series with more: what is decoded should still be near when it is
/// used.
const SAMPLES: u64 = 65_536;
/// How many samples are read at a time where threads share little work.
const SAMPLES_MIN: u64 = 4096;
/// Cells (a series at a step) of the columns of one batch, where it is computed before it is given.
const CELLS: usize = 65_536;
/// How far threads may be ahead of what was given, in batches.
const AHEAD: usize = 4;
/// How long to wait before looking whether the query was cancelled.
const LOOK: Duration = Duration::from_millis(20);

/// What became of the samples of one series.
pub(super) enum Worked {
    /// There are none.
    Nothing,
    /// Its column.
    Column(Column),
    /// What only the query's own thread can compute; boxed, as columns alone are moved about in numbers.
    Samples(Box<Samples>),
}

/// Turns the samples of one series after the other into columns.
pub(super) type Work = dyn FnMut(SeriesSamples) -> Worked;

/// Makes the work of one thread.
pub(super) type Maker = Arc<dyn Fn() -> Box<Work> + Send + Sync>;

/// Takes one series after the other.
pub(super) type WorkedSink<'s> = dyn FnMut(Labels, Worked) -> Outcome<()> + 's;

/// What is to be done with the series of a selection.
pub(super) struct Job {
    pub(super) maker: Maker,
    /// Steps of each column.
    pub(super) steps: usize,
    /// Whether unknown reset hints are filled in.
    pub(super) hinted: bool,
}

enum Slot {
    Free,
    Taken,
    Done(Result<Vec<Worked>, SelectError>),
}

struct Progress {
    slots: Vec<Slot>,
    /// The first batch that nobody ever took.
    next: usize,
    /// Batches before this one were given.
    given: usize,
    over: bool,
}

/// What threads at one selection share.
struct Shared {
    reader: Arc<dyn SeriesReader>,
    maker: Maker,
    hinted: bool,
    batches: Vec<Range<usize>>,
    progress: Mutex<Progress>,
    changed: Condvar,
}

/// Ends the work of the others.
struct End<'s>(&'s Shared);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.lock().over = true;
        self.0.changed.notify_all();
    }
}

/// Puts a batch back that a thread could not finish.
struct Taken<'s>(&'s Shared, usize);

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut progress = self.0.lock();
        if matches!(progress.slots[self.1], Slot::Taken) {
            progress.slots[self.1] = Slot::Free;
        }
        drop(progress);
        self.0.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Computes a batch that was taken. A series can take long: `goes_on` is asked before each, and ends it with `None`.
    fn compute(&self, place: usize, work: &mut Work, goes_on: &dyn Fn() -> bool) -> Option<Result<Vec<Worked>, SelectError>> {
        let read = match self.reader.read(self.batches[place].clone()) {
            Ok(read) => read,
            Err(error) => return Some(Err(error)),
        };
        let one = |samples: SeriesSamples| {
            if samples.is_empty() {
                return Some(Worked::Nothing);
            }
            goes_on().then(|| work(if self.hinted { with_hints(samples) } else { samples }))
        };
        read.into_iter().map(one).collect::<Option<Vec<_>>>().map(Ok)
    }

    /// Computes a batch for later; one that was not finished is put back.
    fn compute_ahead(&self, place: usize, work: &mut Work, goes_on: &dyn Fn() -> bool) {
        let taken = Taken(self, place);
        if let Some(done) = self.compute(place, work, goes_on) {
            self.lock().slots[place] = Slot::Done(done);
        }
        drop(taken);
    }

    /// Takes the next batch that nobody has, if it is not too far ahead.
    fn take_next(&self, progress: &mut Progress) -> Option<usize> {
        let place = progress.next;
        if place >= self.batches.len() || place >= progress.given + AHEAD {
            return None;
        }
        progress.next += 1;
        progress.slots[place] = Slot::Taken;
        Some(place)
    }

    /// Works until all is done, or somebody waits for the turn.
    fn help(&self, turn: &Turn) {
        let mut work = (self.maker)();
        loop {
            let mut progress = self.lock();
            let place = loop {
                if progress.over || progress.next >= self.batches.len() || turn.is_wanted() {
                    return;
                }
                if let Some(place) = self.take_next(&mut progress) {
                    break place;
                }
                (progress, _) = self.changed.wait_timeout(progress, LOOK).unwrap_or_else(PoisonError::into_inner);
            };
            drop(progress);
            self.compute_ahead(place, &mut *work, &|| !turn.is_wanted());
        }
    }

    /// Returns the batch that is to be given next.
    fn batch(&self, place: usize, work: &mut Work, context: &Context<'_>) -> Outcome<Vec<Worked>> {
        let goes_on = || context.breathe().is_ok();
        let mut progress = self.lock();
        loop {
            match std::mem::replace(&mut progress.slots[place], Slot::Taken) {
                Slot::Done(done) => {
                    progress.given = place + 1;
                    drop(progress);
                    self.changed.notify_all();
                    return Ok(done?);
                }
                Slot::Free => {
                    progress.next = progress.next.max(place + 1);
                    progress.given = place + 1;
                    drop(progress);
                    self.changed.notify_all();
                    return Ok(self.compute(place, work, &goes_on).ok_or(QueryError::Cancelled)??);
                }
                Slot::Taken => {}
            }
            // Another thread is at it: meanwhile what comes later.
            if let Some(later) = self.take_next(&mut progress) {
                drop(progress);
                self.compute_ahead(later, work, &goes_on);
                context.check_cancelled()?;
                progress = self.lock();
                continue;
            }
            (progress, _) = self.changed.wait_timeout(progress, LOOK).unwrap_or_else(PoisonError::into_inner);
            context.check_cancelled()?;
        }
    }
}

/// Returns where the batch that starts at `begin` ends.
fn batch_end(series: &[SelectedSeries], begin: usize, series_max: usize, samples_max: u64) -> usize {
    let mut samples = 0;
    let fits = |one: &&SelectedSeries| {
        samples += one.samples_estimated;
        samples <= samples_max
    };
    let rest = series.get(begin..).unwrap_or_default();
    begin + rest.iter().take(series_max).take_while(fits).count().max(1)
}

fn batches(series: &[SelectedSeries], series_max: usize, samples_max: u64) -> Vec<Range<usize>> {
    let mut out = Vec::new();
    let mut end = 0;
    while end < series.len() {
        let begin = end;
        end = batch_end(series, begin, series_max, samples_max);
        out.push(begin..end);
    }
    out
}

impl Context<'_> {
    /// Works off all series of a selection and gives what became of them, in order.
    pub(super) fn work_off(&self, selection: &Selection, job: &Job, sink: &mut WorkedSink<'_>) -> Outcome<()> {
        let samples: u64 = selection.series.iter().map(|one| one.samples_estimated).sum();
        let others = samples / self.engine.shared_samples.max(1);
        if others > 0 && selection.series.len() > 1 {
            let turns = self.idle_turns(usize::try_from(others).unwrap_or(usize::MAX));
            // What others computed before it is given is held beside all that is held already. Where there is no room for it,
            // the query goes on alone.
            if !turns.is_empty() {
                match self.set_aside((AHEAD * CELLS.max(job.steps)) as u64) {
                    Ok(aside) => return self.work_off_together(selection, job, samples, turns, &aside, sink),
                    Err(_) => self.hold_cells(self.held.get())?,
                }
            }
        }
        let mut work = (job.maker)();
        for batch in batches(&selection.series, SERIES, SAMPLES) {
            self.breathe()?;
            let read = selection.reader.read(batch.clone())?;
            for (series, samples) in selection.series[batch].iter().zip(read) {
                if !samples.is_empty() {
                    self.breathe()?;
                    let samples = if job.hinted { with_hints(samples) } else { samples };
                    sink(series.labels.clone(), work(samples))?;
                }
            }
        }
        Ok(())
    }

    fn work_off_together(
        &self,
        selection: &Selection,
        job: &Job,
        samples: u64,
        turns: Vec<Turn>,
        _aside: &Aside<'_>,
        sink: &mut WorkedSink<'_>,
    ) -> Outcome<()> {
        let series_max = (CELLS / job.steps.max(1)).clamp(1, SERIES);
        let samples_min = self.engine.shared_samples.clamp(1, SAMPLES_MIN);
        let samples_max = (samples / (4 * (turns.len() as u64 + 1))).clamp(samples_min, SAMPLES);
        let batches = batches(&selection.series, series_max, samples_max);
        let slots = batches.iter().map(|_| Slot::Free).collect();
        let shared = Arc::new(Shared {
            reader: Arc::clone(&selection.reader),
            maker: Arc::clone(&job.maker),
            hinted: job.hinted,
            batches,
            progress: Mutex::new(Progress { slots, next: 0, given: 0, over: false }),
            changed: Condvar::new(),
        });
        let end = End(&shared);
        for turn in turns {
            let shared = Arc::clone(&shared);
            self.start(Box::new(move || shared.help(&turn)));
        }
        let mut work = (job.maker)();
        for (place, batch) in shared.batches.iter().enumerate() {
            self.breathe()?;
            let worked = shared.batch(place, &mut *work, self)?;
            for (series, worked) in selection.series[batch.clone()].iter().zip(worked) {
                if !matches!(worked, Worked::Nothing) {
                    sink(series.labels.clone(), worked)?;
                }
            }
        }
        drop(end);
        Ok(())
    }
}
