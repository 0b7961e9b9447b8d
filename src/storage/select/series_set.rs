//! A selection over the whole store: which series, from which sources, and the reader of their samples.

use super::head::SeenGeneration;
use super::join::{JoinedTimes, Piece, PieceValues, join, nothing, with_histograms};
use super::{Hints, SelectError, SelectedSeries, Selection, SeriesReader, SeriesSamples, TimeRange, Values};
use crate::model::exemplar::Exemplar;
use crate::model::labels::Labels;
use crate::model::matcher::Matcher;
use crate::storage::append::{GroupId, SeriesId};
use crate::storage::head::histograms::HistogramSample;
use crate::storage::head::{Head, lock, read};
use crate::storage::index::matchers::matching;
use crate::storage::index::registry::Registry;
use hashbrown::HashMap;
use smallvec::SmallVec;
use std::ops::Range;
use std::sync::{Arc, Mutex};

/// Where samples of one series lie.
#[derive(Clone, Copy, Debug)]
enum Source {
    /// A generation of the selection, and a column of it.
    Head { generation: u32, column: u32 },
}

/// One series of the selection.
#[derive(Debug, Default)]
struct Plan {
    /// Oldest first.
    sources: SmallVec<[Source; 2]>,
    late: Vec<(i64, u64)>,
    histograms: Vec<HistogramSample>,
    estimated: u64,
}

impl Plan {
    fn is_empty(&self) -> bool {
        self.sources.is_empty() && self.late.is_empty() && self.histograms.is_empty()
    }
}

/// Reads a selection. Holds the generations that it saw, so that nothing vanishes under it.
#[derive(Debug)]
struct StoreReader {
    plans: Vec<Plan>,
    generations: Vec<SeenGeneration>,
    joined: JoinedTimes,
    last_only: bool,
    /// Times of single samples, shared between the series of a row.
    moments: Mutex<HashMap<i64, Arc<[i64]>, foldhash::fast::RandomState>>,
}

/// Generations of a group within the range, as numbers of the selection.
type Seen = SmallVec<[u32; 2]>;

/// Collects the head's part of a selection.
struct HeadPart<'a> {
    head: &'a Head,
    range: TimeRange,
    generations: Vec<SeenGeneration>,
    by_group: HashMap<u32, Seen, foldhash::fast::RandomState>,
}

impl HeadPart<'_> {
    /// Looks at a group once.
    fn look(&mut self, group: u32) -> Seen {
        if let Some(known) = self.by_group.get(&group) {
            return known.clone();
        }
        let mut seen = Seen::new();
        if let Some(group) = self.head.group(GroupId(group)) {
            let state = group.lock();
            for shared in state.sealed.iter().chain(&state.current) {
                if let Some(generation) = SeenGeneration::new(shared, &lock(shared), self.range) {
                    seen.push(self.generations.len() as u32);
                    self.generations.push(generation);
                }
            }
        }
        self.by_group.insert(group, seen.clone());
        seen
    }

    /// Plans series that lie in ascending order of numbers: neighbours mostly share a group, whose lock is then taken once.
    fn plan(&mut self, ids: &[SeriesId]) -> Vec<Plan> {
        let places: Vec<_> = {
            let locations = read(&self.head.locations);
            ids.iter().map(|series| locations.all(*series)).collect()
        };
        let mut plans: Vec<Plan> = Vec::with_capacity(ids.len());
        for (series, places) in ids.iter().zip(&places) {
            let mut plan = Plan::default();
            // Earlier places first: on equal times the newest place wins.
            for place in places.iter().rev() {
                for generation in self.look(place.group) {
                    let seen = &self.generations[generation as usize];
                    let column = seen.open().find(*series, place.column);
                    if let Some(column) = column {
                        plan.estimated += seen.rows();
                        plan.sources.push(Source::Head { generation, column });
                    }
                }
            }
            plans.push(plan);
        }
        self.add_late(ids, &mut plans);
        plans
    }

    fn add_late(&self, ids: &[SeriesId], plans: &mut [Plan]) {
        let range = self.range;
        let late = lock(&self.head.late);
        if late.len() > 0 {
            for (series, plan) in ids.iter().zip(plans.iter_mut()) {
                plan.late = late.get(*series, range.start_ms, range.end_ms).to_vec();
                plan.estimated += plan.late.len() as u64;
            }
        }
        drop(late);
        let histograms = lock(&self.head.histograms);
        if !histograms.is_empty() {
            for (series, plan) in ids.iter().zip(plans.iter_mut()) {
                plan.histograms = histograms.get(*series, range.start_ms, range.end_ms).to_vec();
                plan.estimated += plan.histograms.len() as u64;
            }
        }
    }
}

fn labels_for(registry: &Registry, series: SeriesId, hints: &Hints) -> Labels {
    match &hints.labels {
        None => registry.labels(series),
        Some(wanted) => {
            Labels::from_sorted(registry.labels_of(series).filter(|(name, _)| wanted.iter().any(|wanted| wanted == name)))
        }
    }
}

/// Selects from the whole store.
pub(crate) fn select(head: &Head, matchers: &[Matcher], range: TimeRange, hints: &Hints) -> Selection {
    let mut ids: Vec<SeriesId> = Vec::new();
    let mut labels: Vec<Labels> = Vec::new();
    {
        let registry = read(&head.registry);
        ids.extend(matching(&registry, &head.match_cache, matchers).into_iter().map(SeriesId));
        // Sorting needs whole label sets.
        let whole = if hints.sorted { &Hints { labels: None, ..Hints::default() } } else { hints };
        labels.extend(ids.iter().map(|series| labels_for(&registry, *series, whole)));
    }
    let mut part = HeadPart { head, range, generations: Vec::new(), by_group: HashMap::default() };
    let plans = part.plan(&ids);
    let mut found: Vec<(Labels, Plan)> = labels.into_iter().zip(plans).filter(|(_, plan)| !plan.is_empty()).collect();
    if hints.sorted {
        found.sort_by(|(left, _), (right, _)| left.cmp(right));
        if let Some(wanted) = &hints.labels {
            for (labels, _) in &mut found {
                *labels = labels.only(|name| wanted.iter().any(|wanted| wanted == name));
            }
        }
    }
    let (labels, plans): (Vec<_>, Vec<_>) = found.into_iter().unzip();
    let estimate = |plan: &Plan| if hints.last_only { 1 } else { plan.estimated };
    let series = labels.into_iter().zip(plans.iter().map(estimate));
    Selection {
        series: series.map(|(labels, samples_estimated)| SelectedSeries { labels, samples_estimated }).collect(),
        warnings: Vec::new(),
        reader: Arc::new(StoreReader {
            plans,
            generations: part.generations,
            joined: JoinedTimes::default(),
            last_only: hints.last_only,
            moments: Mutex::default(),
        }),
    }
}

/// Returns the exemplars of series that satisfy one of the sets of matchers.
pub(crate) fn exemplars(head: &Head, sets: &[Vec<Matcher>], range: TimeRange) -> Vec<(Labels, Vec<Exemplar>)> {
    let registry = read(&head.registry);
    let mut wanted = roaring::RoaringBitmap::new();
    for set in sets {
        wanted |= matching(&registry, &head.match_cache, set);
    }
    let found = lock(&head.exemplars).find(range.start_ms, range.end_ms, |series| wanted.contains(series.0));
    let mut found: Vec<_> = found.into_iter().map(|(series, exemplars)| (registry.labels(series), exemplars)).collect();
    found.sort_by(|(left, _), (right, _)| left.cmp(right));
    found
}

fn damaged() -> SelectError {
    SelectError::Corrupt("a column of the head cannot be decoded".to_owned())
}

impl StoreReader {
    fn read_one(&self, plan: &Plan, scratch: &mut Vec<u8>) -> Result<SeriesSamples, SelectError> {
        let mut pieces = Vec::with_capacity(plan.sources.len() + 1);
        for source in &plan.sources {
            match source {
                Source::Head { generation, column } => {
                    let seen = &self.generations[*generation as usize];
                    let open = seen.open();
                    pieces.push(seen.read(&open, *column, scratch).ok_or_else(damaged)?);
                }
            }
        }
        if !plan.late.is_empty() {
            let (times, values): (Vec<i64>, Vec<f64>) = plan.late.iter().map(|(at, bits)| (*at, f64::from_bits(*bits))).unzip();
            pieces.insert(0, Piece { times: times.into(), shared: false, values: PieceValues::Floats(values) });
        }
        let floats = join(pieces, &self.joined);
        Ok(if plan.histograms.is_empty() { floats } else { with_histograms(&floats, &plan.histograms) })
    }

    fn moment(&self, at_ms: i64) -> Arc<[i64]> {
        Arc::clone(lock(&self.moments).entry(at_ms).or_insert_with(|| Arc::from([at_ms])))
    }

    fn last_one(&self, plan: &Plan, scratch: &mut Vec<u8>) -> Result<SeriesSamples, SelectError> {
        let mut newest: Option<(i64, f64)> = plan.late.last().map(|(at_ms, bits)| (*at_ms, f64::from_bits(*bits)));
        for source in &plan.sources {
            let found = match source {
                Source::Head { generation, column } => {
                    let seen = &self.generations[*generation as usize];
                    let open = seen.open();
                    seen.last(&open, *column, scratch).ok_or_else(damaged)?
                }
            };
            if found.map(|(at_ms, _)| at_ms) >= newest.map(|(at_ms, _)| at_ms) {
                newest = found.or(newest);
            }
        }
        let histogram = plan.histograms.last().filter(|(at_ms, _)| newest.is_none_or(|(known, _)| *at_ms >= known));
        if let Some((at_ms, value)) = histogram {
            let values = Values::Mixed(Arc::from([crate::model::sample::Value::Histogram(Arc::clone(value))]));
            return Ok(SeriesSamples { times: self.moment(*at_ms), values, starts: None });
        }
        Ok(newest.map_or_else(nothing, |(at_ms, value)| SeriesSamples {
            times: self.moment(at_ms),
            values: Values::Constant(value),
            starts: None,
        }))
    }
}

impl SeriesReader for StoreReader {
    fn read(&self, places: Range<usize>) -> Result<Vec<SeriesSamples>, SelectError> {
        let mut scratch = Vec::new();
        let plans = self.plans.get(places).unwrap_or_default();
        let read = |plan| if self.last_only { self.last_one(plan, &mut scratch) } else { self.read_one(plan, &mut scratch) };
        plans.iter().map(read).collect()
    }
}
