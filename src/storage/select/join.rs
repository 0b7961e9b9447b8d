//! Joining what several sources hold of one series: generations, blocks, late samples, histograms.
//!
//! Sources mostly follow each other in time; then values are put end to end and times are joined once for all series of
//! a group. Otherwise samples are merged; on equal times the later source (the newer one) wins.

use super::{SeriesSamples, Values};
use crate::model::histogram::FloatHistogram;
use crate::model::sample::Value;
use crate::storage::head::histograms::HistogramSample;
use crate::storage::head::lock;
use crate::storage::head::starts::{StartStep, start_at};
use hashbrown::HashMap;
use std::sync::{Arc, Mutex};

/// Values of one source.
#[derive(Clone, Debug)]
pub(crate) enum PieceValues {
    /// The same double throughout.
    Constant(f64),
    /// `first + i * step`, exact.
    Linear {
        /// At the first time.
        first: f64,
        /// Between neighbours.
        step: f64,
    },
    /// One for each time.
    Floats(Vec<f64>),
}

impl PieceValues {
    fn extend(&self, count: usize, out: &mut Vec<f64>) {
        match self {
            Self::Constant(value) => out.extend(std::iter::repeat_n(*value, count)),
            Self::Linear { first, step } => out.extend((0..count).map(|i| first + step * i as f64)),
            Self::Floats(values) => out.extend_from_slice(values),
        }
    }

    /// Returns the value at a place.
    pub(crate) fn at(&self, i: usize) -> f64 {
        match self {
            Self::Constant(value) => *value,
            Self::Linear { first, step } => first + step * i as f64,
            Self::Floats(values) => values.get(i).copied().unwrap_or(f64::NAN),
        }
    }
}

/// Samples of one series from one source, ascending.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    /// When.
    pub(crate) times: Arc<[i64]>,
    /// Whether other series have the same `times` and the reader keeps them alive.
    pub(crate) shared: bool,
    /// What.
    pub(crate) values: PieceValues,
    /// Start timestamps, where there are any; 0 means none for that sample.
    pub(crate) starts: Option<Arc<[i64]>>,
}

impl Piece {
    /// Returns a piece without start timestamps.
    pub(crate) const fn new(times: Arc<[i64]>, shared: bool, values: PieceValues) -> Self {
        Self { times, shared, values, starts: None }
    }

    fn start(&self, i: usize) -> i64 {
        self.starts.as_ref().and_then(|starts| starts.get(i).copied()).unwrap_or(0)
    }

    fn first(&self) -> Option<i64> {
        self.times.first().copied()
    }

    fn last(&self) -> Option<i64> {
        self.times.last().copied()
    }
}

/// Joined times of pieces, by the addresses of their times.
#[derive(Debug, Default)]
pub(crate) struct JoinedTimes(Mutex<HashMap<Vec<usize>, Arc<[i64]>, foldhash::fast::RandomState>>);

impl JoinedTimes {
    fn join(&self, pieces: &[Piece]) -> Arc<[i64]> {
        let joined = || pieces.iter().flat_map(|piece| piece.times.iter().copied()).collect::<Arc<[i64]>>();
        if !pieces.iter().all(|piece| piece.shared) {
            return joined();
        }
        let key = pieces.iter().map(|piece| Arc::as_ptr(&piece.times).addr()).collect();
        Arc::clone(lock(&self.0).entry(key).or_insert_with(joined))
    }
}

fn samples(times: Arc<[i64]>, values: PieceValues, starts: Option<Arc<[i64]>>) -> SeriesSamples {
    let values = match values {
        PieceValues::Constant(value) => Values::Constant(value),
        PieceValues::Linear { first, step } => Values::Linear { first, step },
        PieceValues::Floats(values) => Values::Floats(values),
    };
    SeriesSamples { times, values, starts }
}

/// Returns no samples.
pub(crate) fn nothing() -> SeriesSamples {
    samples(Arc::from([]), PieceValues::Floats(Vec::new()), None)
}

/// Joins pieces, oldest source first; a later source wins on equal times.
pub(crate) fn join(mut pieces: Vec<Piece>, cache: &JoinedTimes) -> SeriesSamples {
    pieces.retain(|piece| !piece.times.is_empty());
    if pieces.len() == 1 {
        return pieces.pop().map_or_else(nothing, |piece| samples(piece.times, piece.values, piece.starts));
    }
    if pieces.is_empty() {
        return nothing();
    }
    let mut by_time: Vec<&Piece> = pieces.iter().collect();
    by_time.sort_by_key(|piece| piece.first());
    if by_time.windows(2).all(|pair| pair[0].last() < pair[1].first()) {
        pieces.sort_by_key(Piece::first);
        return follow(&pieces, cache);
    }
    // In the order of the sources, whichever begins first: the newest must win.
    merge(&pieces)
}

fn follow(pieces: &[Piece], cache: &JoinedTimes) -> SeriesSamples {
    let times = cache.join(pieces);
    let starts = pieces.iter().any(|piece| piece.starts.is_some()).then(|| {
        let starts = |piece: &Piece| (0..piece.times.len()).map(|i| piece.start(i)).collect::<Vec<i64>>();
        pieces.iter().flat_map(starts).collect::<Arc<[i64]>>()
    });
    let constant = |piece: &Piece| match &piece.values {
        PieceValues::Constant(value) => Some(value.to_bits()),
        PieceValues::Linear { .. } | PieceValues::Floats(_) => None,
    };
    let first = pieces.first().and_then(constant);
    if let Some(bits) = first
        && pieces.iter().all(|piece| constant(piece) == first)
    {
        return samples(times, PieceValues::Constant(f64::from_bits(bits)), starts);
    }
    let mut values = Vec::with_capacity(times.len());
    for piece in pieces {
        piece.values.extend(piece.times.len(), &mut values);
    }
    samples(times, PieceValues::Floats(values), starts)
}

fn merge(pieces: &[Piece]) -> SeriesSamples {
    let mut all: Vec<(i64, f64, i64)> = Vec::with_capacity(pieces.iter().map(|piece| piece.times.len()).sum());
    for piece in pieces {
        all.extend(piece.times.iter().enumerate().map(|(i, at_ms)| (*at_ms, piece.values.at(i), piece.start(i))));
    }
    all.sort_by_key(|(at_ms, ..)| *at_ms);
    // The sort is stable, so that of equal times the newest source's comes last: that one is kept.
    let mut kept: Vec<(i64, f64, i64)> = Vec::with_capacity(all.len());
    for sample in all {
        match kept.last_mut() {
            Some(last) if last.0 == sample.0 => *last = sample,
            _ => kept.push(sample),
        }
    }
    let starts = pieces.iter().any(|piece| piece.starts.is_some()).then(|| kept.iter().map(|(.., start)| *start).collect());
    let (times, values): (Vec<i64>, Vec<f64>) = kept.into_iter().map(|(at_ms, value, _)| (at_ms, value)).unzip();
    samples(times.into(), PieceValues::Floats(values), starts)
}

/// Sorts samples by time. They come oldest source first; of equal times the newest source's stays.
pub(crate) fn newest_wins<T>(samples: &mut Vec<(i64, T)>) {
    samples.sort_by_key(|(at_ms, _)| *at_ms);
    samples.dedup_by(|later, kept| {
        let same = later.0 == kept.0;
        if same {
            std::mem::swap(later, kept);
        }
        same
    });
}

/// A histogram with its time; start timestamp last, 0: none.
pub(crate) type ReadHistogram = (i64, (Arc<FloatHistogram>, i64));

/// Gives histograms of the head their start timestamps.
pub(crate) fn started<'a>(histograms: &'a [HistogramSample], steps: &'a [StartStep]) -> impl Iterator<Item = ReadHistogram> + 'a {
    histograms.iter().map(|(at_ms, value)| (*at_ms, (Arc::clone(value), start_at(steps, *at_ms))))
}

/// Merges histograms into the floats of a series; a histogram wins on equal times.
pub(crate) fn with_histograms(floats: &SeriesSamples, histograms: &[ReadHistogram]) -> SeriesSamples {
    let mut all: Vec<(i64, Value, i64)> = Vec::with_capacity(floats.len() + histograms.len());
    for (i, at_ms) in floats.times.iter().enumerate() {
        if let Some(value) = floats.float(i)
            && histograms.binary_search_by_key(at_ms, |(at, _)| *at).is_err()
        {
            let start_ms = floats.starts.as_ref().and_then(|starts| starts.get(i).copied()).unwrap_or(0);
            all.push((*at_ms, Value::Float(value), start_ms));
        }
    }
    let told = |(at_ms, (value, start_ms)): &ReadHistogram| (*at_ms, Value::Histogram(Arc::clone(value)), *start_ms);
    all.extend(histograms.iter().map(told));
    all.sort_by_key(|(at_ms, ..)| *at_ms);
    let has_starts = all.iter().any(|(.., start_ms)| *start_ms != 0);
    let starts = has_starts.then(|| all.iter().map(|(.., start_ms)| *start_ms).collect());
    let (times, values): (Vec<i64>, Vec<Value>) = all.into_iter().map(|(at_ms, value, _)| (at_ms, value)).unzip();
    SeriesSamples { times: times.into(), values: Values::Mixed(values.into()), starts }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(times: &[i64], values: &[f64]) -> Piece {
        Piece::new(times.into(), false, PieceValues::Floats(values.to_vec()))
    }

    fn check(pieces: Vec<Piece>, expected: &[(i64, f64)]) {
        let joined = join(pieces, &JoinedTimes::default());
        let found: Vec<_> = joined.times.iter().copied().zip((0..joined.len()).filter_map(|i| joined.float(i))).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn joins_and_merges() {
        check(vec![], &[]);
        check(vec![piece(&[], &[]), piece(&[1], &[1.0])], &[(1, 1.0)]);
        check(vec![piece(&[1, 2], &[1.0, 2.0]), piece(&[3], &[3.0])], &[(1, 1.0), (2, 2.0), (3, 3.0)]);
        check(vec![piece(&[2, 4], &[2.0, 4.0]), piece(&[1, 3], &[1.0, 3.0])], &[(1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0)]);
        check(vec![piece(&[1, 2], &[1.0, 2.0]), piece(&[2, 3], &[9.0, 3.0])], &[(1, 1.0), (2, 9.0), (3, 3.0)]);
        check(vec![piece(&[2, 3], &[2.0, 3.0]), piece(&[1, 2], &[1.0, 9.0])], &[(1, 1.0), (2, 9.0), (3, 3.0)]);
    }

    #[test]
    fn the_newest_source_wins() {
        let mut samples = vec![(5, 'a'), (7, 'b'), (5, 'c'), (6, 'd'), (5, 'e')];
        newest_wins(&mut samples);
        assert_eq!(samples, [(5, 'e'), (6, 'd'), (7, 'b')]);
    }

    #[test]
    fn joined_times_are_shared() {
        let (left, right): (Arc<[i64]>, Arc<[i64]>) = (Arc::from([1, 2]), Arc::from([3]));
        let make = |value| {
            let piece = |times: &Arc<[i64]>| Piece::new(Arc::clone(times), true, PieceValues::Constant(value));
            vec![piece(&left), piece(&right)]
        };
        let cache = JoinedTimes::default();
        let (one, other) = (join(make(1.0), &cache), join(make(2.0), &cache));
        assert!(Arc::ptr_eq(&one.times, &other.times));
        assert!(matches!(one.values, Values::Constant(1.0)));
    }
}
