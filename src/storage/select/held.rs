//! A selection that several ask for: read and decoded once, given out as often as it is asked for, cut to what each wants.

use super::{SelectError, SelectedSeries, Selection, SeriesReader, SeriesSamples, TimeRange, Values};
use crate::model::sample::Value;
use hashbrown::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// What a held series costs beside its samples.
const SERIES_BYTES: u64 = 160;

/// Returns how many bytes a selection takes when all of it is read, by the store's estimate.
pub(crate) fn bytes_of(selection: &Selection) -> u64 {
    selection.series.iter().map(|one| one.samples_estimated.saturating_mul(8).saturating_add(SERIES_BYTES)).sum()
}

/// Cut times by address and first place: what shares its times goes on sharing them.
type CutTimes = HashMap<(usize, usize), Arc<[i64]>>;

/// A selection that several ask for, and what was read of it.
pub(crate) struct Held {
    selection: Selection,
    range: TimeRange,
    bytes: u64,
    samples: Vec<OnceLock<SeriesSamples>>,
    newest: Vec<OnceLock<Option<(i64, Value)>>>,
    cut: Mutex<CutTimes>,
}

/// A held selection as one reader asked for it.
struct View {
    held: Arc<Held>,
    start_ms: i64,
}

impl Held {
    /// Holds a selection over a range, of which nothing was read so far.
    pub(crate) fn new(selection: Selection, range: TimeRange) -> Self {
        let bytes = bytes_of(&selection);
        let count = selection.series.len();
        let (mut samples, mut newest) = (Vec::new(), Vec::new());
        samples.resize_with(count, OnceLock::new);
        newest.resize_with(count, OnceLock::new);
        Self { selection, range, bytes, samples, newest, cut: Mutex::default() }
    }

    /// Returns how many bytes it takes, by the store's estimate.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns whether what is asked for is part of it.
    pub(crate) const fn covers(&self, range: TimeRange) -> bool {
        self.range.start_ms <= range.start_ms && self.range.end_ms == range.end_ms
    }

    /// Returns the selection as if it had been asked for with this range.
    pub(crate) fn view(self: &Arc<Self>, range: TimeRange) -> Selection {
        let width = |range: TimeRange| range.end_ms.saturating_sub(range.start_ms).max(1).unsigned_abs();
        let (asked, whole) = (width(range), width(self.range));
        let estimate = |samples: u64| if asked == whole { samples } else { samples.saturating_mul(asked) / whole + 1 };
        let series = self
            .selection
            .series
            .iter()
            .map(|one| SelectedSeries { labels: one.labels.clone(), samples_estimated: estimate(one.samples_estimated) });
        Selection {
            series: series.collect(),
            warnings: self.selection.warnings.clone(),
            reader: Arc::new(View { held: Arc::clone(self), start_ms: range.start_ms }),
        }
    }

    fn cut_times(&self, times: &Arc<[i64]>, from: usize) -> Arc<[i64]> {
        let key = (Arc::as_ptr(times).addr(), from);
        // The whole times live as long as the samples that are held: their address stays theirs.
        let cut = || times.get(from..).unwrap_or_default().into();
        let mut known = self.cut.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.entry(key).or_insert_with(cut))
    }

    /// Leaves out what is older than `start_ms`.
    fn cut(&self, samples: &SeriesSamples, start_ms: i64) -> SeriesSamples {
        let from = samples.times.partition_point(|at_ms| *at_ms < start_ms);
        if from == 0 {
            return samples.clone();
        }
        let values = match &samples.values {
            Values::Constant(value) => Values::Constant(*value),
            Values::Linear { first, step } => Values::Linear { first: first + step * from as f64, step: *step },
            Values::Floats(values) => Values::Floats(values.get(from..).unwrap_or_default().to_vec()),
            Values::Mixed(values) => Values::Mixed(values.get(from..).unwrap_or_default().into()),
        };
        let starts = samples.starts.as_ref().map(|starts| starts.get(from..).unwrap_or_default().into());
        SeriesSamples { times: self.cut_times(&samples.times, from), values, starts }
    }
}

impl SeriesReader for View {
    fn read(&self, places: Range<usize>) -> Result<Vec<SeriesSamples>, SelectError> {
        let cells = self.held.samples.get(places.clone()).unwrap_or_default();
        if cells.iter().any(|cell| cell.get().is_none()) {
            for (cell, samples) in cells.iter().zip(self.held.selection.reader.read(places)?) {
                cell.get_or_init(|| samples);
            }
        }
        Ok(cells.iter().filter_map(OnceLock::get).map(|samples| self.held.cut(samples, self.start_ms)).collect())
    }

    fn newest(&self, places: Range<usize>) -> Result<Vec<Option<(i64, Value)>>, SelectError> {
        let cells = self.held.newest.get(places.clone()).unwrap_or_default();
        if cells.iter().any(|cell| cell.get().is_none()) {
            for (cell, newest) in cells.iter().zip(self.held.selection.reader.newest(places)?) {
                cell.get_or_init(|| newest);
            }
        }
        let inside = |newest: &Option<(i64, Value)>| newest.clone().filter(|(at_ms, _)| *at_ms >= self.start_ms);
        Ok(cells.iter().filter_map(OnceLock::get).map(inside).collect())
    }

    fn held_bytes(&self) -> u64 {
        self.held.selection.reader.held_bytes()
    }

    fn warnings(&self) -> Vec<String> {
        self.held.selection.reader.warnings()
    }
}
