//! Writing what a cut took as blocks: one for each half hour of the present, longer ones of the past, and overlap blocks of
//! late samples.
//!
//! ```text
//! scraped now         half hours, level 0
//! history, pushed     finished UTC days, level 1
//! ancient             ranges of 10, 100 and 1000 days, as long as little lies in them: a backfill from 1970 on makes tens of
//!                     files, not thousands
//! ```

use super::plan::{ANCIENT_SAMPLES, DAY_MS, ancient_ranges, day_is_over};
use super::series::SeriesWriter;
use crate::env::Env;
use crate::model::labels::METRIC_NAME;
use crate::storage::append::SeriesId;
use crate::storage::block::writer::{About, BlockPlan, BlockWriter};
use crate::storage::error::StoreError;
use crate::storage::head::cut::Cut;
use crate::storage::head::group::SharedGeneration;
use crate::storage::head::histograms::HistogramSample;
use crate::storage::head::starts::starts_of;
use crate::storage::head::{Head, WINDOW_MS, lock, read};
use crate::storage::index::registry::Registry;
use crate::storage::select::TimeRange;
use crate::storage::select::head::SeenGeneration;
use crate::storage::select::join::{JoinedTimes, Piece, PieceValues, join, started, with_histograms};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Returns the order of series by metric name, then labels: compared by ranks of their pairs, so that texts are compared
/// once for each pair and not for each series.
fn order(registry: &Registry, series: &[SeriesId]) -> Vec<u32> {
    let used: BTreeSet<u32> = series.iter().flat_map(|series| registry.pairs_of_series(*series)).collect();
    let mut sorted: Vec<u32> = used.into_iter().collect();
    sorted.sort_unstable_by_key(|pair| registry.pair_text(*pair));
    let largest = sorted.iter().copied().max().map_or(0, |largest| largest as usize + 1);
    let mut ranks = vec![0_u32; largest];
    for (rank, pair) in sorted.iter().enumerate() {
        ranks[*pair as usize] = rank as u32;
    }
    let (mut keys, mut ends) = (Vec::with_capacity(series.len() * 6), Vec::with_capacity(series.len()));
    for series in series {
        let metric = registry.pairs_of_series(*series).find(|pair| registry.pair_text(*pair).0 == METRIC_NAME);
        // A series without a name comes first.
        keys.push(metric.map_or(0, |pair| ranks[pair as usize] + 1));
        keys.extend(registry.pairs_of_series(*series).map(|pair| ranks[pair as usize]));
        ends.push(keys.len());
    }
    let key = |place: u32| {
        let start = if place == 0 { 0 } else { ends[place as usize - 1] };
        &keys[start..ends[place as usize]]
    };
    let mut order: Vec<u32> = (0..series.len() as u32).collect();
    order.sort_unstable_by(|left, right| key(*left).cmp(key(*right)));
    order
}

/// One block to be written.
#[derive(Default)]
struct Pending {
    /// Times from here, and up to and without the second.
    range: (i64, i64),
    level: u8,
    overlap: bool,
    generations: Vec<SharedGeneration>,
    histograms: BTreeMap<SeriesId, Vec<HistogramSample>>,
    late: BTreeMap<SeriesId, Vec<(i64, u64)>>,
}

impl Pending {
    fn take_in(&mut self, later: Self) {
        self.range.1 = later.range.1;
        self.generations.extend(later.generations);
        for (series, list) in later.histograms {
            self.histograms.entry(series).or_default().extend(list);
        }
        for (series, list) in later.late {
            self.late.entry(series).or_default().extend(list);
        }
    }

    fn samples(&self) -> u64 {
        let generations: u64 = self.generations.iter().map(|shared| lock(shared).samples()).sum();
        let histograms: usize = self.histograms.values().map(Vec::len).sum();
        let late: usize = self.late.values().map(Vec::len).sum();
        generations + (histograms + late) as u64
    }
}

/// Puts together neighbours that lie in one range, as long as they hold no more than `samples_max`.
fn grouped(pieces: Vec<Pending>, length_ms: i64, level: u8, samples_max: u64, may: impl Fn(i64) -> bool) -> Vec<Pending> {
    let mut out: Vec<(Pending, u64)> = Vec::new();
    for mut piece in pieces {
        let samples = piece.samples();
        let range = piece.range.0.div_euclid(length_ms);
        let whole = (piece.range.1 - 1).div_euclid(length_ms) == range && may(range);
        match out.last_mut() {
            Some((last, held))
                if whole && last.range.0.div_euclid(length_ms) == range && samples.saturating_add(*held) <= samples_max =>
            {
                last.take_in(piece);
                last.level = level;
                *held += samples;
            }
            _ => {
                if whole && !piece.overlap {
                    piece.level = piece.level.max(level);
                }
                out.push((piece, samples));
            }
        }
    }
    out.into_iter().map(|(piece, _)| piece).collect()
}

/// Joins half hours of finished days, and days of ancient ranges.
fn planned(pieces: Vec<Pending>, now_ms: i64) -> Vec<Pending> {
    let mut pieces = grouped(pieces, DAY_MS, 1, u64::MAX, |day| day_is_over(day, now_ms));
    for (length_ms, is_ancient) in ancient_ranges(now_ms) {
        pieces = grouped(pieces, length_ms, 1, ANCIENT_SAMPLES, is_ancient);
    }
    pieces
}

/// Splits lists by a length of time.
fn by_period<T: Clone>(
    lists: &BTreeMap<SeriesId, Vec<(i64, T)>>,
    period_ms: i64,
) -> BTreeMap<i64, BTreeMap<SeriesId, Vec<(i64, T)>>> {
    let mut found = BTreeMap::<_, BTreeMap<_, _>>::new();
    for (series, list) in lists {
        for part in list.chunk_by(|left, right| left.0.div_euclid(period_ms) == right.0.div_euclid(period_ms)) {
            if let Some((at_ms, _)) = part.first() {
                found.entry(at_ms.div_euclid(period_ms)).or_default().insert(*series, part.to_vec());
            }
        }
    }
    found
}

/// Writes one block.
fn write_block(env: &Env, head: &Head, folder: &Path, plan: BlockPlan, pending: &Pending) -> Result<Option<PathBuf>, StoreError> {
    let all = TimeRange { start_ms: i64::MIN, end_ms: i64::MAX };
    let (mut seen, mut entries): (Vec<SeenGeneration>, Vec<(SeriesId, u32, u32)>) = (Vec::new(), Vec::new());
    for shared in &pending.generations {
        let generation = lock(shared);
        if let Some(one) = SeenGeneration::new(shared, &generation, all) {
            let number = seen.len() as u32;
            entries.extend(generation.series().iter().enumerate().map(|(column, series)| (*series, number, column as u32)));
            seen.push(one);
        }
    }
    entries.sort_unstable();
    let mut series: BTreeSet<SeriesId> = entries.iter().map(|(series, ..)| *series).collect();
    series.extend(pending.histograms.keys().chain(pending.late.keys()));
    let series: Vec<SeriesId> = series.into_iter().collect();
    let order = order(&read(&head.registry), &series);
    let level = plan.level;
    let mut writer = SeriesWriter::new(BlockWriter::create(env, folder, plan)?, level);
    let (joined, mut scratch, mut metric, mut known) = (JoinedTimes::default(), Vec::new(), String::new(), About::default());
    for place in order {
        let series = series[place as usize];
        let starts = read(&head.starts);
        let steps = starts.get(series);
        let from = entries.partition_point(|(known, ..)| *known < series);
        let mut pieces = Vec::new();
        for (_, generation, column) in entries[from..].iter().take_while(|(known, ..)| *known == series) {
            let one = &seen[*generation as usize];
            let piece = one.read(&one.open(), *column, &mut scratch);
            let piece = piece.ok_or_else(|| StoreError::corrupt(folder, 0, "a column of the head cannot be decoded"))?;
            pieces.push(Piece { starts: starts_of(steps, &piece.times), ..piece });
        }
        if let Some(late) = pending.late.get(&series) {
            let (times, values): (Vec<i64>, Vec<f64>) = late.iter().map(|(at, bits)| (*at, f64::from_bits(*bits))).unzip();
            let starts = starts_of(steps, &times);
            pieces.push(Piece { times: times.into(), shared: false, values: PieceValues::Floats(values), starts });
        }
        let floats = join(pieces, &joined);
        let samples = match pending.histograms.get(&series) {
            Some(histograms) => with_histograms(&floats, &started(histograms, steps).collect::<Vec<_>>()),
            None => floats,
        };
        let registry = read(&head.registry);
        let name = registry.labels_of(series).find(|(name, _)| *name == METRIC_NAME).map_or("", |(_, value)| value);
        if metric != name {
            name.clone_into(&mut metric);
            known = read(&head.metadata).about(&metric);
        }
        writer.add(registry.labels_of(series), &known, &samples)?;
    }
    writer.finish()
}

/// Writes everything that a cut took. Only the last block says what of the log it holds: a crash between them leaves the
/// log to be read, and what is then there twice is the same.
pub(crate) fn write_cut(env: &Env, head: &Head, folder: &Path, cut: &Cut) -> Result<Vec<PathBuf>, StoreError> {
    let now_ms = env.clock.now_ms();
    let mut windows: BTreeMap<i64, Pending> = BTreeMap::new();
    let window = |number: i64| Pending { range: (number * WINDOW_MS, (number + 1) * WINDOW_MS), ..Pending::default() };
    for (number, histograms) in by_period(&cut.aside.histograms, WINDOW_MS) {
        windows.entry(number).or_insert_with(|| window(number)).histograms = histograms;
    }
    for (number, generations) in &cut.generations {
        windows.entry(*number).or_insert_with(|| window(*number)).generations.clone_from(generations);
    }
    let late = by_period(&cut.aside.late, DAY_MS).into_iter().map(|(day, late)| {
        let range = (day * DAY_MS, (day + 1) * DAY_MS);
        Pending { range, overlap: true, late, ..Pending::default() }
    });
    let mut pieces = planned(windows.into_values().collect(), now_ms);
    pieces.extend(planned(late.collect(), now_ms));
    let mut paths = Vec::new();
    let written = write_pieces(env, head, folder, cut, pieces, &mut paths);
    if let Err(error) = written {
        // They would lie there unseen, and the next try writes them again.
        for path in paths {
            if let Err(error) = env.disk.remove_file(&path) {
                tracing::debug!(file = %path.display(), %error, "a block of a cut that failed is left for the next start");
            }
        }
        return Err(error);
    }
    Ok(paths)
}

fn write_pieces(
    env: &Env,
    head: &Head,
    folder: &Path,
    cut: &Cut,
    pieces: Vec<Pending>,
    paths: &mut Vec<PathBuf>,
) -> Result<(), StoreError> {
    let count = pieces.len();
    for (number, piece) in pieces.into_iter().enumerate() {
        let covers = if number + 1 == count { vec![cut.cover] } else { Vec::new() };
        let plan = BlockPlan { level: piece.level, overlap: piece.overlap, parents: Vec::new(), covers };
        paths.extend(write_block(env, head, folder, plan, &piece)?);
    }
    Ok(())
}
