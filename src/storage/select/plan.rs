//! What is to be read of each series of a selection, and the head's part of it.

use super::TimeRange;
use super::head::SeenGeneration;
use super::join::{ReadHistogram, newest_wins, started};
use crate::storage::append::{GroupId, SeriesId};
use crate::storage::head::cut::within;
use crate::storage::head::locations::Location;
use crate::storage::head::starts::StartStep;
use crate::storage::head::{Head, lock, read};
use crate::storage::index::registry::Registry;
use hashbrown::HashMap;
use smallvec::SmallVec;
use std::ops::Range;
use std::sync::Arc;

/// Where samples of one series lie.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// A generation of the selection, and a column of it.
    Head { generation: u32, column: u32 },
    /// A block of the selection, the series' place in it, and its columns among those of the selection.
    Block { block: u32, place: u32, columns: Range<u32> },
}

/// One series of the selection.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Blocks, oldest first; then generations, oldest first.
    pub(super) sources: SmallVec<[Source; 2]>,
    pub(super) rare: Option<Box<Rare>>,
    pub(super) estimated: u64,
}

/// What the head has of few series.
#[derive(Debug, Default)]
pub(super) struct Rare {
    pub(super) late: Vec<(i64, u64)>,
    pub(super) histograms: Vec<ReadHistogram>,
    /// Start timestamps of what is in the head.
    pub(super) starts: Box<[StartStep]>,
}

/// Most have none of it.
static NOTHING_RARE: std::sync::LazyLock<Rare> = std::sync::LazyLock::new(Rare::default);

impl Plan {
    pub(super) fn is_empty(&self) -> bool {
        self.sources.is_empty() && self.rare().late.is_empty() && self.rare().histograms.is_empty()
    }

    pub(super) fn rare(&self) -> &Rare {
        self.rare.as_deref().unwrap_or_else(|| &NOTHING_RARE)
    }

    fn rare_mut(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }
}

/// Generations of a group within the range, as numbers of the selection.
pub(super) type Seen = SmallVec<[u32; 2]>;

/// Collects the head's part of a selection.
pub(super) struct HeadPart<'a> {
    pub(super) head: &'a Head,
    pub(super) range: TimeRange,
    pub(super) generations: Vec<SeenGeneration>,
    pub(super) by_group: HashMap<u32, Seen, foldhash::fast::RandomState>,
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

    /// Adds what a series' groups have of it.
    fn add_places(&mut self, series: SeriesId, places: &[Location], plan: &mut Plan) {
        for place in places {
            for generation in self.look(place.group) {
                let seen = &self.generations[generation as usize];
                if let Some(column) = seen.open().find(series, place.column) {
                    plan.estimated += seen.rows();
                    plan.sources.push(Source::Head { generation, column });
                }
            }
        }
    }

    /// Plans series that lie in ascending order of numbers.
    pub(super) fn plan(&mut self, ids: &[SeriesId]) -> Vec<Plan> {
        let mut moved = Vec::new();
        let newest: Vec<Option<Location>> = {
            let locations = read(&self.head.locations);
            if locations.any_moved() {
                let earlier = |(at, series): (usize, &SeriesId)| Some((at, locations.earlier_of(*series)?));
                moved.extend(ids.iter().enumerate().filter_map(earlier));
            }
            ids.iter().map(|series| locations.newest(*series)).collect()
        };
        let mut plans: Vec<Plan> = Vec::with_capacity(ids.len());
        plans.resize_with(ids.len(), Plan::default);
        // Earlier places first: on equal times the newest place wins.
        for (at, mut places) in moved {
            places.reverse();
            self.add_places(ids[at], &places, &mut plans[at]);
        }
        // Series that came together lie in one group: it is looked at once for all of them.
        let mut from = 0;
        for of_group in newest.chunk_by(|left, right| left.map(|place| place.group) == right.map(|place| place.group)) {
            let range = from..from + of_group.len();
            from = range.end;
            let Some(group) = of_group.first().copied().flatten().map(|place| place.group) else { continue };
            for generation in self.look(group) {
                let seen = &self.generations[generation as usize];
                let (rows, mut open) = (seen.rows(), seen.open());
                for ((series, plan), place) in ids[range.clone()].iter().zip(&mut plans[range.clone()]).zip(of_group) {
                    if let Some(column) = place.and_then(|place| open.find(*series, place.column)) {
                        plan.estimated += rows;
                        plan.sources.push(Source::Head { generation, column });
                    }
                }
            }
        }
        self.add_late(ids, &mut plans);
        let starts = read(&self.head.starts);
        if !starts.is_empty() {
            for (series, plan) in ids.iter().zip(&mut plans) {
                let steps = starts.get(*series);
                if !steps.is_empty() {
                    plan.rare_mut().starts = steps.into();
                }
            }
        }
        plans
    }

    /// Adds late samples and histograms: those that wait and those that are being written.
    fn add_late(&self, ids: &[SeriesId], plans: &mut [Plan]) {
        let TimeRange { start_ms, end_ms } = self.range;
        // What waits first: a cut moves it aside, and must not slip through between the two looks.
        let (late, histograms) = (lock(&self.head.late), lock(&self.head.histograms));
        let aside = Arc::clone(&read(&self.head.aside));
        let nothing = late.len() == 0 && histograms.is_empty() && aside.late.is_empty() && aside.histograms.is_empty();
        if nothing {
            return;
        }
        let starts = read(&self.head.starts);
        for (series, plan) in ids.iter().zip(plans.iter_mut()) {
            let aside_late = aside.late.get(series).map_or(&[][..], |list| within(list, start_ms, end_ms));
            let waiting_late = late.get(*series, start_ms, end_ms);
            let aside_histograms = aside.histograms.get(series).map_or(&[][..], |list| within(list, start_ms, end_ms));
            let waiting_histograms = histograms.get(*series, start_ms, end_ms);
            let lists = [aside_late.len(), waiting_late.len(), aside_histograms.len(), waiting_histograms.len()];
            if lists == [0; 4] {
                continue;
            }
            let rare = plan.rare_mut();
            rare.late = [aside_late, waiting_late].concat();
            newest_wins(&mut rare.late);
            let steps = starts.get(*series);
            rare.histograms = started(aside_histograms, steps).chain(started(waiting_histograms, steps)).collect();
            newest_wins(&mut rare.histograms);
            plan.estimated += (plan.rare().late.len() + plan.rare().histograms.len()) as u64;
        }
    }
}

/// One series for each label set, where some have two numbers: the samples of the later number go to the first.
pub(super) fn join_doubled(registry: &Registry, ids: &[SeriesId], plans: &mut [Plan]) {
    if !registry.is_doubled() {
        return;
    }
    let mut first = HashMap::with_capacity_and_hasher(ids.len(), foldhash::fast::RandomState::default());
    for (at, series) in ids.iter().enumerate() {
        let into = *first.entry(registry.hash_of(*series)).or_insert(at);
        if into == at {
            continue;
        }
        let later = std::mem::take(&mut plans[at]);
        let plan = &mut plans[into];
        plan.sources.extend(later.sources);
        plan.estimated += later.estimated;
        // On equal times the later number's sample is the newer one.
        if let Some(later) = later.rare {
            let rare = plan.rare_mut();
            rare.late.extend(later.late);
            newest_wins(&mut rare.late);
            rare.histograms.extend(later.histograms);
            newest_wins(&mut rare.histograms);
            if !later.starts.is_empty() {
                rare.starts = later.starts;
            }
        }
    }
}
