//! A selection over the whole store: which series, from which sources, and the reader of their samples.

use super::block::{BlockReader, PagesAtHand, Windows};
use super::head::SeenGeneration;
use super::join::{JoinedTimes, Piece, PieceValues, ReadHistogram, join, newest_wins, nothing, with_histograms};
use super::plan::{HeadPart, Plan, Source, join_doubled};
use super::projection::Projection;
use super::remembered::FoundSeries;
use super::{Hints, LabelNeed, SelectError, SelectedSeries, Selection, SeriesReader, SeriesSamples, TimeRange, Values};
use crate::model::exemplar::Exemplar;
use crate::model::labels::Labels;
use crate::model::matcher::Matcher;
use crate::model::sample::Value;
use crate::storage::append::SeriesId;
use crate::storage::block::index::BlockIndex;
use crate::storage::block::reader::Block;
use crate::storage::block::sections::ColumnRef;
use crate::storage::block::tombstones::Tombstones;
use crate::storage::blocks::BlockSet;
use crate::storage::error::StoreError;
use crate::storage::head::starts::starts_of;
use crate::storage::head::{Head, lock, read};
use crate::storage::index::matchers::matching;
use hashbrown::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};

/// A selection of so many series of a block keeps its series entries unfolded for the next.
const UNFOLD_FROM: usize = 128;
/// A block as a selection saw it.
#[derive(Debug)]
struct SeenBlock {
    block: Arc<Block>,
    index: Arc<BlockIndex>,
    tombstones: Arc<Tombstones>,
    windows: Windows,
}

/// What one call of a reader has at hand.
struct Hand {
    scratch: Vec<u8>,
    pages: Vec<PagesAtHand>,
}

/// Reads a selection. Holds the generations and blocks that it saw, so that nothing vanishes under it.
#[derive(Debug)]
struct StoreReader {
    plans: Vec<Plan>,
    generations: Vec<SeenGeneration>,
    blocks: Vec<SeenBlock>,
    columns: Vec<ColumnRef>,
    joined: JoinedTimes,
    last_only: bool,
    /// Times of single samples, shared between the series of a row.
    moments: Mutex<HashMap<i64, Arc<[i64]>, foldhash::fast::RandomState>>,
}

/// Turns an error of the store into the reader's.
pub(crate) fn select_error(error: StoreError) -> SelectError {
    match error {
        StoreError::Io { file, source, .. } => SelectError::Io { file: file.display().to_string(), source },
        other => SelectError::Corrupt(other.to_string()),
    }
}

/// A selection that is being put together.
struct Building {
    labels: Vec<Labels>,
    plans: Vec<Plan>,
    blocks: Vec<SeenBlock>,
    columns: Vec<ColumnRef>,
    warnings: Vec<String>,
}

impl Building {
    /// Adds what one block holds. `known` finds a series of the selection by the hash of its labels; without, there is no other
    /// source that it could come from.
    fn add_block(
        &mut self,
        block: &Arc<Block>,
        matchers: &[Matcher],
        range: TimeRange,
        hints: &Hints,
        mut known: Option<&mut HashMap<u64, u32, foldhash::fast::RandomState>>,
    ) -> Result<(), SelectError> {
        let index = match block.index() {
            Ok(index) => index,
            Err(error @ StoreError::Corrupt { .. }) => {
                self.warnings.push(error.to_string());
                return Ok(());
            }
            Err(error) => return Err(select_error(error)),
        };
        let found = matching(&*index, Some(index.match_cache()), matchers);
        let more = found.len() as usize;
        if more >= UNFOLD_FROM {
            block.unfold(&index);
        }
        self.labels.reserve(more);
        self.plans.reserve(more);
        self.columns.reserve(more);
        let number = self.blocks.len() as u32;
        let (mut windows, bounds) = (Windows::default(), (range.start_ms, range.end_ms));
        let mut projection = Projection::new(&hints.labels);
        let visited = index.visit(found.iter(), |place, pairs, columns| {
            let from = self.columns.len() as u32;
            let mut rows = 0;
            for column in columns {
                // What cannot be read now is left to the reader, who tells.
                let inside = windows.load(block, &index, column.time, bounds).unwrap_or(column.rows as usize);
                if inside > 0 {
                    rows += inside as u64;
                    self.columns.push(*column);
                }
            }
            if rows == 0 {
                return;
            }
            let next = self.plans.len() as u32;
            let at = known.as_mut().map_or(next, |known| *known.entry(index.hash(pairs)).or_insert(next));
            let source = Source::Block { block: number, place, columns: from..self.columns.len() as u32 };
            if at == next {
                self.labels.push(projection.labels(pairs.iter().copied(), |pair| index.pair_text(pair)));
                let mut plan = Plan { estimated: rows, ..Plan::default() };
                plan.sources.push(source);
                self.plans.push(plan);
                return;
            }
            let plan = &mut self.plans[at as usize];
            plan.estimated += rows;
            let before = plan.sources.iter().take_while(|source| matches!(source, Source::Block { .. })).count();
            plan.sources.insert(before, source);
        });
        if visited.is_none() {
            self.warnings.push(format!("the series of {} cannot be read", block.path.display()));
        }
        let tombstones = block.tombstones();
        self.blocks.push(SeenBlock { block: Arc::clone(block), index, tombstones, windows });
        Ok(())
    }

    /// Sorts where that is asked for.
    fn finish(&mut self, hints: &Hints) {
        if hints.sorted {
            let (labels, plans) = (std::mem::take(&mut self.labels), std::mem::take(&mut self.plans));
            let mut found: Vec<(Labels, Plan)> = labels.into_iter().zip(plans).collect();
            found.sort_by(|(left, _), (right, _)| left.cmp(right));
            (self.labels, self.plans) = found.into_iter().unzip();
        }
    }
}

/// Finds series of the head and their labels.
fn found_in_head(head: &Head, matchers: &[Matcher], need: &LabelNeed) -> Arc<FoundSeries> {
    let registry = read(&head.registry);
    head.remembered.get(registry.changes(), matchers, need, || {
        let found = matching(&*registry, Some(&head.match_cache), matchers);
        let ids: Vec<SeriesId> = found.into_iter().map(SeriesId).collect();
        let mut projection = Projection::new(need);
        let texts = |pair| registry.pair_text(pair);
        let labels = ids.iter().map(|series| projection.labels(registry.pairs_of_series(*series), texts)).collect();
        FoundSeries { ids, labels }
    })
}

/// Selects from the whole store.
pub(crate) fn select(
    head: &Head,
    blocks: &BlockSet,
    matchers: &[Matcher],
    range: TimeRange,
    hints: &Hints,
) -> Result<Selection, SelectError> {
    // Sorting needs whole label sets.
    let whole = Hints { labels: if hints.sorted { LabelNeed::All } else { hints.labels.clone() }, ..Hints::default() };
    let found = found_in_head(head, matchers, &whole.labels);
    let mut ids = found.ids.clone();
    // The head before the blocks: what a cut moves meanwhile is seen twice rather than not at all.
    let mut part = HeadPart { head, range, generations: Vec::new(), by_group: HashMap::default() };
    let mut plans = part.plan(&ids);
    join_doubled(&read(&head.registry), &ids, &mut plans);
    let list = blocks.list();
    let overlapping: Vec<&Arc<Block>> = list.iter().filter(|block| block.overlaps(range.start_ms, range.end_ms)).collect();
    let mut known = HashMap::default();
    let labels = {
        let registry = read(&head.registry);
        let mut labels = found.labels.clone();
        // What the head has nothing of, or has just forgotten, is left to the blocks, labels and all.
        let is_kept = |(series, plan): (&SeriesId, &Plan)| !plan.is_empty() && registry.has(*series);
        if !ids.iter().zip(&plans).all(is_kept) {
            let kept: Vec<bool> = ids.iter().zip(&plans).map(is_kept).collect();
            let (mut of_ids, mut of_plans, mut of_labels) = (kept.iter(), kept.iter(), kept.iter());
            ids.retain(|_| of_ids.next() == Some(&true));
            labels.retain(|_| of_labels.next() == Some(&true));
            plans.retain(|_| of_plans.next() == Some(&true));
        }
        if !overlapping.is_empty() {
            known.reserve(ids.len());
            for (at, series) in ids.iter().enumerate() {
                known.entry(registry.hash_of(*series)).or_insert(at as u32);
            }
        }
        labels
    };
    let mut building = Building { labels, plans, blocks: Vec::new(), columns: Vec::new(), warnings: Vec::new() };
    let alone = ids.is_empty() && overlapping.len() == 1;
    for block in overlapping {
        building.add_block(block, matchers, range, &whole, Some(&mut known).filter(|_| !alone))?;
    }
    building.finish(hints);
    Ok(finished(building, part.generations, hints))
}

fn finished(building: Building, generations: Vec<SeenGeneration>, hints: &Hints) -> Selection {
    let projects = hints.sorted && hints.labels != LabelNeed::All;
    let projected = |labels: Labels| if projects { labels.only(|name| hints.labels.wants(name)) } else { labels };
    let Building { labels, plans, blocks, columns, warnings } = building;
    let estimate = |plan: &Plan| if hints.last_only { 1 } else { plan.estimated };
    let series = labels.into_iter().zip(&plans);
    Selection {
        series: series
            .map(|(labels, plan)| SelectedSeries { labels: projected(labels), samples_estimated: estimate(plan) })
            .collect(),
        warnings,
        reader: Arc::new(StoreReader {
            plans,
            generations,
            blocks,
            columns,
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
        wanted |= matching(&*registry, Some(&head.match_cache), set);
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
    fn hand(&self) -> Hand {
        Hand { scratch: Vec::new(), pages: self.blocks.iter().map(|_| PagesAtHand::default()).collect() }
    }

    /// Returns a reader of a block, the deletions of a series there, and its columns.
    fn block_reader<'a>(
        &'a self,
        block: u32,
        place: u32,
        columns: &Range<u32>,
        hand: &'a mut Hand,
    ) -> (BlockReader<'a>, &'a [(i64, i64)], &'a [ColumnRef]) {
        let seen = &self.blocks[block as usize];
        let columns = self.columns.get(columns.start as usize..columns.end as usize).unwrap_or_default();
        let pages = &mut hand.pages[block as usize];
        let reader = BlockReader { block: &seen.block, index: &seen.index, windows: &seen.windows, pages };
        (reader, seen.tombstones.of(place), columns)
    }

    /// Reads one source of a series.
    fn read_source(
        &self,
        source: &Source,
        hand: &mut Hand,
        pieces: &mut Vec<Piece>,
        histograms: &mut Vec<ReadHistogram>,
    ) -> Result<(), SelectError> {
        match source {
            Source::Head { generation, column } => {
                let seen = &self.generations[*generation as usize];
                let open = seen.open();
                pieces.push(seen.read(&open, *column, &mut hand.scratch).ok_or_else(damaged)?);
                Ok(())
            }
            Source::Block { block, place, columns } => {
                let (mut reader, deleted, columns) = self.block_reader(*block, *place, columns, hand);
                // A bad page was noted; [`SeriesReader::warnings`] tells.
                reader.columns(columns, deleted, pieces, histograms).map(drop).map_err(select_error)
            }
        }
    }

    fn read_one(&self, plan: &Plan, hand: &mut Hand) -> Result<SeriesSamples, SelectError> {
        let mut pieces = Vec::with_capacity(plan.sources.len() + 1);
        let mut histograms = Vec::new();
        for source in &plan.sources {
            self.read_source(source, hand, &mut pieces, &mut histograms)?;
            if let (Source::Head { .. }, Some(rare), Some(piece)) = (source, &plan.rare, pieces.last_mut()) {
                piece.starts = starts_of(&rare.starts, &piece.times);
            }
        }
        // Late samples came after what they lie over: they win, as their block will.
        let rare = plan.rare();
        if !rare.late.is_empty() {
            let (times, values): (Vec<i64>, Vec<f64>) = rare.late.iter().map(|(at, bits)| (*at, f64::from_bits(*bits))).unzip();
            let starts = starts_of(&rare.starts, &times);
            pieces.push(Piece { times: times.into(), shared: false, values: PieceValues::Floats(values), starts });
        }
        let floats = join(pieces, &self.joined);
        if histograms.is_empty() && rare.histograms.is_empty() {
            return Ok(floats);
        }
        histograms.extend_from_slice(&rare.histograms);
        newest_wins(&mut histograms);
        Ok(with_histograms(&floats, &histograms))
    }

    fn moment(&self, at_ms: i64) -> Arc<[i64]> {
        Arc::clone(lock(&self.moments).entry(at_ms).or_insert_with(|| Arc::from([at_ms])))
    }

    /// Returns the newest sample where that is one look away, as it is for most: in one column of one block, and decoded before.
    fn at_hand(&self, plan: &Plan, hand: &mut Hand) -> Option<(i64, f64)> {
        let ([Source::Block { block, columns, .. }], None) = (plan.sources.as_slice(), &plan.rare) else { return None };
        let seen = &self.blocks[*block as usize];
        let [column] = self.columns.get(columns.start as usize..columns.end as usize)? else { return None };
        let (at_ms, row) = seen.windows.last(column.time).filter(|_| seen.tombstones.is_empty())?;
        let page = hand.pages[*block as usize].get(&seen.block, column.page).ok()?;
        Some((at_ms, page.kept_value(column.place, row)?))
    }

    /// Returns the newest sample alone: from the head's last values where it is there, else from the newest block that has one.
    fn newest_of(&self, plan: &Plan, hand: &mut Hand) -> Result<Option<(i64, Value)>, SelectError> {
        let mut newest = plan.rare().late.last().map(|(at_ms, bits)| (*at_ms, Value::Float(f64::from_bits(*bits))));
        // The newest source is asked first: of equal times its sample stays.
        let keep = |newest: &mut Option<(i64, Value)>, found: Option<(i64, Value)>| {
            if found.as_ref().map(|(at_ms, _)| *at_ms) > newest.as_ref().map(|(at_ms, _)| *at_ms) {
                *newest = found;
            }
        };
        for source in plan.sources.iter().rev() {
            match source {
                Source::Head { generation, column } => {
                    let seen = &self.generations[*generation as usize];
                    let open = seen.open();
                    let found = seen.last(&open, *column, &mut hand.scratch).ok_or_else(damaged)?;
                    keep(&mut newest, found.map(|(at_ms, value)| (at_ms, Value::Float(value))));
                }
                Source::Block { block, place, columns } => {
                    let max_ms = self.blocks[*block as usize].block.header.max_ms;
                    if newest.as_ref().is_none_or(|(at_ms, _)| max_ms > *at_ms) {
                        let (mut reader, deleted, columns) = self.block_reader(*block, *place, columns, hand);
                        keep(&mut newest, reader.last(columns, deleted).map_err(select_error)?);
                    }
                }
            }
        }
        // Histograms of the head: one wins over a float of the same time.
        if let Some((at_ms, (value, _))) = plan.rare().histograms.last()
            && newest.as_ref().is_none_or(|(newest, _)| newest <= at_ms)
        {
            newest = Some((*at_ms, Value::Histogram(Arc::clone(value))));
        }
        Ok(newest)
    }

    fn last_one(&self, plan: &Plan, hand: &mut Hand) -> Result<SeriesSamples, SelectError> {
        Ok(match self.newest_of(plan, hand)? {
            None => nothing(),
            Some((at_ms, Value::Float(value))) => {
                SeriesSamples { times: self.moment(at_ms), values: Values::Constant(value), starts: None }
            }
            Some((at_ms, value)) => {
                SeriesSamples { times: self.moment(at_ms), values: Values::Mixed(Arc::from([value])), starts: None }
            }
        })
    }
}

impl SeriesReader for StoreReader {
    fn read(&self, places: Range<usize>) -> Result<Vec<SeriesSamples>, SelectError> {
        let mut hand = self.hand();
        let plans = self.plans.get(places).unwrap_or_default();
        let read = |plan| if self.last_only { self.last_one(plan, &mut hand) } else { self.read_one(plan, &mut hand) };
        plans.iter().map(read).collect()
    }

    fn newest(&self, places: Range<usize>) -> Result<Vec<Option<(i64, Value)>>, SelectError> {
        let mut hand = self.hand();
        let plans = self.plans.get(places).unwrap_or_default();
        let mut out = Vec::with_capacity(plans.len());
        for plan in plans {
            out.push(match self.at_hand(plan, &mut hand) {
                Some((at_ms, value)) => Some((at_ms, Value::Float(value))),
                None => self.newest_of(plan, &mut hand)?,
            });
        }
        Ok(out)
    }

    fn warnings(&self) -> Vec<String> {
        self.blocks.iter().flat_map(|seen| seen.block.warnings()).collect()
    }
}
