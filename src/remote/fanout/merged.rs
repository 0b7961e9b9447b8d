//! Local and far series as one selection: those of equal labels become one.

use super::answer::Answer;
use crate::model::labels::Labels;
use crate::model::sample::Value;
use crate::storage::select::{SelectError, SelectedSeries, Selection, SeriesReader, SeriesSamples, Values};
use hashbrown::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// Where the samples of one series are.
#[derive(Debug, Default)]
struct Sources {
    local: Option<usize>,
    /// Answer, and place in it.
    far: Vec<(usize, usize)>,
}

/// Reads merged series.
struct Merged {
    local: Arc<dyn SeriesReader>,
    answers: Vec<Answer>,
    series: Vec<Sources>,
    damaged: Mutex<Vec<String>>,
}

/// Puts the series of the answers beside and into those of the local selection.
pub(super) fn merged(local: Selection, answers: Vec<Answer>, sorted: bool) -> Selection {
    let Selection { series, warnings, reader } = local;
    let mut known: HashMap<Labels, usize> = series.iter().enumerate().map(|(place, one)| (one.labels.clone(), place)).collect();
    let mut all: Vec<(SelectedSeries, Sources)> =
        series.into_iter().enumerate().map(|(place, one)| (one, Sources { local: Some(place), far: Vec::new() })).collect();
    for (number, answer) in answers.iter().enumerate() {
        for (place, far) in answer.series.iter().enumerate() {
            let at = *known.entry(far.labels.clone()).or_insert(all.len());
            if at == all.len() {
                all.push((SelectedSeries { labels: far.labels.clone(), samples_estimated: 0 }, Sources::default()));
            }
            let (series, sources) = &mut all[at];
            series.samples_estimated += far.samples;
            sources.far.push((number, place));
        }
    }
    if sorted {
        // Local series stay in their order, which was sorted: what is read at once of them lies together.
        all.sort_by(|(left, _), (right, _)| left.labels.cmp(&right.labels));
    }
    let (series, sources) = all.into_iter().unzip();
    let reader = Merged { local: reader, answers, series: sources, damaged: Mutex::default() };
    Selection { series, warnings, reader: Arc::new(reader) }
}

impl Merged {
    /// Returns the places of those local series that are among `places`: they lie together.
    fn local_places(&self, places: Range<usize>) -> Range<usize> {
        let mut local = self.series.get(places).unwrap_or_default().iter().filter_map(|one| one.local);
        local.next().map_or(0..0, |first| first..local.next_back().unwrap_or(first) + 1)
    }

    /// Reads what the answers have of a series, ascending in time.
    fn far(&self, sources: &Sources) -> Vec<(i64, Value)> {
        let mut samples = Vec::new();
        for (number, place) in &sources.far {
            let Some(answer) = self.answers.get(*number) else { continue };
            if let Err(error) = answer.read(*place, &mut samples) {
                let labels = answer.series.get(*place).map(|one| one.labels.to_string()).unwrap_or_default();
                self.damaged.lock().unwrap_or_else(PoisonError::into_inner).push(format!("remote_read: {labels}: {error}"));
            }
        }
        samples
    }
}

/// Merges samples of elsewhere into local ones, which win where both have the same time.
fn joined(local: SeriesSamples, far: Vec<(i64, Value)>) -> SeriesSamples {
    if far.is_empty() {
        return local;
    }
    let mut all: Vec<(i64, Value, i64)> = far.into_iter().map(|(at_ms, value)| (at_ms, value, 0)).collect();
    for (place, at_ms) in local.times.iter().enumerate() {
        let float = local.float(place).map(Value::Float);
        let value = float.or_else(|| local.histogram(place).map(|value| Value::Histogram(Arc::clone(value))));
        let start_ms = local.starts.as_ref().and_then(|starts| starts.get(place).copied()).unwrap_or(0);
        all.extend(value.map(|value| (*at_ms, value, start_ms)));
    }
    // The sort is stable: of equal times the local sample is the last.
    all.sort_by_key(|(at_ms, ..)| *at_ms);
    all.dedup_by(|later, kept| {
        let same = later.0 == kept.0;
        if same {
            std::mem::swap(later, kept);
        }
        same
    });
    let times = all.iter().map(|(at_ms, ..)| *at_ms).collect();
    let starts = local.starts.is_some().then(|| all.iter().map(|(.., start_ms)| *start_ms).collect());
    let floats: Option<Vec<f64>> = all
        .iter()
        .map(|(_, value, _)| match value {
            Value::Float(value) => Some(*value),
            Value::Histogram(_) => None,
        })
        .collect();
    let values = match floats {
        Some(floats) => Values::Floats(floats),
        None => Values::Mixed(all.into_iter().map(|(_, value, _)| value).collect()),
    };
    SeriesSamples { times, values, starts }
}

impl SeriesReader for Merged {
    fn read(&self, places: Range<usize>) -> Result<Vec<SeriesSamples>, SelectError> {
        let mut local = self.local.read(self.local_places(places.clone()))?.into_iter();
        let nothing = || SeriesSamples { times: Arc::default(), values: Values::Floats(Vec::new()), starts: None };
        let read = |sources: &Sources| {
            let own = sources.local.and_then(|_| local.next()).unwrap_or_else(nothing);
            joined(own, self.far(sources))
        };
        Ok(self.series.get(places).unwrap_or_default().iter().map(read).collect())
    }

    fn newest(&self, places: Range<usize>) -> Result<Vec<Option<(i64, Value)>>, SelectError> {
        let mut local = self.local.newest(self.local_places(places.clone()))?.into_iter();
        let newest = |sources: &Sources| {
            let own = sources.local.and_then(|_| local.next()).flatten();
            let far = self.far(sources).into_iter().max_by_key(|(at_ms, _)| *at_ms);
            match (own, far) {
                (Some(own), Some(far)) => Some(if far.0 > own.0 { far } else { own }),
                (own, far) => own.or(far),
            }
        };
        Ok(self.series.get(places).unwrap_or_default().iter().map(newest).collect())
    }

    fn held_bytes(&self) -> u64 {
        self.local.held_bytes() + self.answers.iter().map(Answer::bytes).sum::<u64>()
    }

    fn warnings(&self) -> Vec<String> {
        let mut warnings = self.local.warnings();
        warnings.extend(self.damaged.lock().unwrap_or_else(PoisonError::into_inner).iter().take(10).cloned());
        warnings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_samples_win_and_keep_their_start() {
        let local = SeriesSamples {
            times: Arc::from([20, 30]),
            values: Values::Linear { first: 2.0, step: 1.0 },
            starts: Some(Arc::from([7, 7])),
        };
        let found = joined(local.clone(), vec![(10, Value::Float(1.0)), (20, Value::Float(9.0)), (25, Value::Float(5.0))]);
        assert_eq!(&*found.times, [10, 20, 25, 30]);
        assert!(matches!(&found.values, Values::Floats(values) if *values == [1.0, 2.0, 5.0, 3.0]));
        assert_eq!(found.starts.as_deref(), Some(&[0, 7, 0, 7][..]));
        assert!(matches!(joined(local, Vec::new()).values, Values::Linear { .. }));
    }
}
