//! Writing what a cut took as level-0 blocks: one for each half hour, and overlap blocks of late samples by UTC day.

use crate::env::Env;
use crate::model::histogram::FloatHistogram;
use crate::storage::append::SeriesId;
use crate::storage::block::writer::{BlockPlan, BlockWriter, ColumnInput, ColumnValues, divide};
use crate::storage::column::histogram::put_histogram;
use crate::storage::error::StoreError;
use crate::storage::head::cut::Cut;
use crate::storage::head::group::SharedGeneration;
use crate::storage::head::histograms::HistogramSample;
use crate::storage::head::{Head, WINDOW_MS, lock, read};
use crate::storage::index::registry::Registry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const DAY_MS: i64 = 86_400_000;

/// A column ready to be written.
struct OwnedColumn {
    times: Arc<[i64]>,
    mask: Vec<u32>,
    values: OwnedValues,
}

enum OwnedValues {
    Floats(Vec<f64>),
    Histograms(Vec<u8>, usize),
}

impl OwnedColumn {
    fn floats(times: Arc<[i64]>, values: Vec<f64>) -> Self {
        Self { times, mask: Vec::new(), values: OwnedValues::Floats(values) }
    }

    fn input(&self) -> ColumnInput<'_> {
        let values = match &self.values {
            OwnedValues::Floats(values) => ColumnValues::Floats(values),
            OwnedValues::Histograms(bytes, count) => ColumnValues::Histograms(bytes.clone(), *count),
        };
        ColumnInput { times: &self.times, mask: &self.mask, values }
    }
}

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
        let metric =
            registry.pairs_of_series(*series).find(|pair| registry.pair_text(*pair).0 == crate::model::labels::METRIC_NAME);
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

/// Times of a generation, divided as its columns are.
struct Divided {
    generation: SharedGeneration,
    parts: Vec<(std::ops::Range<usize>, Arc<[i64]>)>,
}

impl Divided {
    fn new(shared: &SharedGeneration) -> Self {
        let generation = lock(shared);
        let times = generation.times();
        let part = |rows: std::ops::Range<usize>| (rows.clone(), times.get(rows).unwrap_or_default().into());
        Self { generation: Arc::clone(shared), parts: divide(times.len()).map(part).collect() }
    }

    /// Returns the columns of one of the generation's series.
    fn columns(&self, column: u32, scratch: &mut Vec<u8>, out: &mut Vec<OwnedColumn>) -> Option<()> {
        let generation = lock(&self.generation);
        let mut runs: Vec<(usize, usize, u64)> = Vec::new();
        generation.runs(column, scratch, |row, count, bits| runs.push((row as usize, count as usize, bits)))?;
        for (rows, times) in &self.parts {
            let (mut values, mut mask, mut next) = (Vec::with_capacity(rows.len()), vec![0_u32], rows.start);
            for (row, count, bits) in &runs {
                let (from, to) = ((*row).max(rows.start), (row + count).min(rows.end));
                if from >= to {
                    continue;
                }
                if from > next {
                    mask.push((from - next) as u32);
                    mask.push(0);
                }
                if let Some(present) = mask.last_mut() {
                    *present += (to - from) as u32;
                }
                values.extend(std::iter::repeat_n(f64::from_bits(*bits), to - from));
                next = to;
            }
            if values.is_empty() {
                continue;
            }
            let whole = values.len() == rows.len();
            if !whole && values.len() * 2 < rows.len() {
                out.push(OwnedColumn::floats(present_times(times, &mask), values));
            } else {
                let mask = if whole { Vec::new() } else { mask };
                out.push(OwnedColumn { times: Arc::clone(times), mask, values: OwnedValues::Floats(values) });
            }
        }
        Some(())
    }
}

/// Returns the times of present rows.
pub(crate) fn present_times(times: &[i64], mask: &[u32]) -> Arc<[i64]> {
    let (mut row, mut present) = (0, true);
    let mut out = Vec::new();
    for length in mask {
        let next = row + *length as usize;
        if present {
            out.extend_from_slice(times.get(row..next).unwrap_or_default());
        }
        (row, present) = (next, !present);
    }
    out.into()
}

fn histogram_column(samples: &[HistogramSample]) -> OwnedColumn {
    let mut bytes = Vec::new();
    for (_, histogram) in samples {
        put_histogram(&mut bytes, histogram);
    }
    OwnedColumn {
        times: samples.iter().map(|(at_ms, _)| *at_ms).collect(),
        mask: Vec::new(),
        values: OwnedValues::Histograms(bytes, samples.len()),
    }
}

/// Writes one half hour.
fn write_window(
    env: &Env,
    head: &Head,
    folder: &Path,
    plan: BlockPlan,
    generations: &[SharedGeneration],
    histograms: &BTreeMap<SeriesId, &[HistogramSample]>,
) -> Result<Option<PathBuf>, StoreError> {
    let divided: Vec<Divided> = generations.iter().map(Divided::new).collect();
    // (series, generation or none for its histograms, column)
    let mut entries: Vec<(SeriesId, u32, u32)> = Vec::new();
    for (number, divided) in divided.iter().enumerate() {
        let generation = lock(&divided.generation);
        entries.extend(generation.series().iter().enumerate().map(|(column, series)| (*series, number as u32, column as u32)));
    }
    entries.extend(histograms.keys().map(|series| (*series, u32::MAX, 0)));
    entries.sort_unstable();
    let mut series: Vec<SeriesId> = entries.iter().map(|(series, ..)| *series).collect();
    series.dedup();
    let order = order(&read(&head.registry), &series);
    let mut writer = BlockWriter::create(env, folder, plan)?;
    let (mut scratch, mut columns) = (Vec::new(), Vec::new());
    for place in order {
        let series = series[place as usize];
        columns.clear();
        let from = entries.partition_point(|(known, ..)| *known < series);
        for (_, generation, column) in entries[from..].iter().take_while(|(known, ..)| *known == series) {
            match divided.get(*generation as usize) {
                Some(divided) => divided
                    .columns(*column, &mut scratch, &mut columns)
                    .ok_or_else(|| StoreError::corrupt(folder, 0, "a column of the head cannot be decoded"))?,
                None => columns.push(histogram_column(histograms.get(&series).copied().unwrap_or_default())),
            }
        }
        if columns.is_empty() {
            continue;
        }
        let inputs: Vec<ColumnInput<'_>> = columns.iter().map(OwnedColumn::input).collect();
        let registry = read(&head.registry);
        writer.add(registry.labels_of(series), &inputs)?;
    }
    finish(writer)
}

fn finish(writer: BlockWriter<'_>) -> Result<Option<PathBuf>, StoreError> {
    if writer.is_empty() {
        writer.abandon();
        return Ok(None);
    }
    writer.finish().map(Some)
}

/// Writes the late samples of one day.
fn write_late(
    env: &Env,
    head: &Head,
    folder: &Path,
    plan: BlockPlan,
    late: &BTreeMap<SeriesId, &[(i64, u64)]>,
) -> Result<Option<PathBuf>, StoreError> {
    let series: Vec<SeriesId> = late.keys().copied().collect();
    let order = order(&read(&head.registry), &series);
    let mut writer = BlockWriter::create(env, folder, plan)?;
    for place in order {
        let series = series[place as usize];
        let samples = late.get(&series).copied().unwrap_or_default();
        let columns: Vec<OwnedColumn> = divide(samples.len())
            .filter_map(|rows| samples.get(rows))
            .map(|part| {
                let (times, values): (Vec<i64>, Vec<f64>) = part.iter().map(|(at, bits)| (*at, f64::from_bits(*bits))).unzip();
                OwnedColumn::floats(times.into(), values)
            })
            .collect();
        let inputs: Vec<ColumnInput<'_>> = columns.iter().map(OwnedColumn::input).collect();
        writer.add(read(&head.registry).labels_of(series), &inputs)?;
    }
    finish(writer)
}

/// One block to be written.
enum Piece<'a> {
    Window(i64, &'a [SharedGeneration]),
    Late(BTreeMap<SeriesId, &'a [(i64, u64)]>),
}

/// Parts of lists by period and series.
type ByPeriod<'a, T> = BTreeMap<i64, BTreeMap<SeriesId, &'a [(i64, T)]>>;

/// Splits lists by a length of time.
fn by_period<T>(lists: &BTreeMap<SeriesId, Vec<(i64, T)>>, period_ms: i64) -> ByPeriod<'_, T> {
    let mut found = ByPeriod::new();
    for (series, list) in lists {
        for part in list.chunk_by(|left, right| left.0.div_euclid(period_ms) == right.0.div_euclid(period_ms)) {
            if let Some((at_ms, _)) = part.first() {
                found.entry(at_ms.div_euclid(period_ms)).or_default().insert(*series, part);
            }
        }
    }
    found
}

/// Writes everything that a cut took. Only the last block says what of the log it holds: a crash between them leaves the
/// log to be read, and what is then there twice is the same.
pub(crate) fn write_cut(env: &Env, head: &Head, folder: &Path, cut: &Cut) -> Result<Vec<PathBuf>, StoreError> {
    let no_generations: &[SharedGeneration] = &[];
    let histogram_windows = by_period(&cut.aside.histograms, WINDOW_MS);
    let mut windows: BTreeMap<i64, &[SharedGeneration]> =
        histogram_windows.keys().map(|window| (*window, no_generations)).collect();
    windows.extend(cut.generations.iter().map(|(window, list)| (*window, list.as_slice())));
    let mut pieces: Vec<Piece<'_>> = windows.into_iter().map(|(window, list)| Piece::Window(window, list)).collect();
    pieces.extend(by_period(&cut.aside.late, DAY_MS).into_values().map(Piece::Late));
    let mut paths = Vec::new();
    let written = write_pieces(env, head, folder, cut, pieces, &histogram_windows, &mut paths);
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
    pieces: Vec<Piece<'_>>,
    histogram_windows: &ByPeriod<'_, Arc<FloatHistogram>>,
    paths: &mut Vec<PathBuf>,
) -> Result<(), StoreError> {
    let no_histograms = BTreeMap::new();
    let count = pieces.len();
    for (number, piece) in pieces.into_iter().enumerate() {
        let covers = if number + 1 == count { vec![cut.cover] } else { Vec::new() };
        let plan = |overlap| BlockPlan { level: 0, overlap, parents: Vec::new(), covers };
        let path = match piece {
            Piece::Window(window, generations) => {
                let histograms = histogram_windows.get(&window).unwrap_or(&no_histograms);
                write_window(env, head, folder, plan(false), generations, histograms)?
            }
            Piece::Late(late) => write_late(env, head, folder, plan(true), &late)?,
        };
        paths.extend(path);
    }
    Ok(())
}
