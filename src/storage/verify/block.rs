//! Checking one block: what its pages hold, what its index says of them, and what is lost where they cannot be read.

use super::{Cost, Problem, Verified};
use crate::env::Env;
use crate::storage::block::cache::PageCache;
use crate::storage::block::index::BlockIndex;
use crate::storage::block::page::Page;
use crate::storage::block::reader::Block;
use crate::storage::block::sections::ColumnRef;
use crate::storage::column::histogram::read_histogram;
use crate::storage::column::packed::Decoded;
use crate::storage::column::varint::ByteReader;
use crate::storage::error::StoreError;
use crate::storage::progress::Progress;
use crate::storage::select::block::present_times;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// Index and times stay in memory while a block is checked; its pages are read once each.
const CACHE_BYTES: usize = 16 << 20;

/// One column and whose it is.
#[derive(Clone, Copy)]
struct Owned {
    column: ColumnRef,
    series: u32,
}

/// Costs by metric name.
#[derive(Default)]
struct Costs {
    by_metric: BTreeMap<String, Cost>,
    /// The last series counted, so that one with many columns is counted once.
    last: Option<u32>,
}

impl Costs {
    fn add(&mut self, block: &Block, index: &BlockIndex, owned: Owned) {
        let metric = metric_name(index, owned.series);
        let (from_ms, to_ms) = match block.times(index, owned.column.time) {
            Ok(times) => times.first().copied().zip(times.last().copied()).unwrap_or((block.header.min_ms, block.header.max_ms)),
            Err(_) => (block.header.min_ms, block.header.max_ms),
        };
        let cost = self.by_metric.entry(metric.clone()).or_insert(Cost { metric, series: 0, samples: 0, from_ms, to_ms });
        cost.series += u64::from(self.last != Some(owned.series));
        cost.samples += u64::from(owned.column.rows);
        cost.from_ms = cost.from_ms.min(from_ms);
        cost.to_ms = cost.to_ms.max(to_ms);
        self.last = Some(owned.series);
    }

    fn list(self) -> Vec<Cost> {
        self.by_metric.into_values().collect()
    }
}

fn metric_name(index: &BlockIndex, series: u32) -> String {
    let mut name = String::new();
    let visited = index.visit(std::iter::once(series), |_, pairs, _| {
        let metric = pairs.iter().map(|pair| index.pair_text(*pair)).find(|(label, _)| *label == "__name__");
        metric.unwrap_or_default().1.clone_into(&mut name);
    });
    if visited.is_none() {
        "(a series that cannot be read)".clone_into(&mut name);
    }
    name
}

/// What META and the header say of a block whose index cannot be read.
fn whole_cost(block: &Block) -> Vec<Cost> {
    let (from_ms, to_ms) = (block.header.min_ms, block.header.max_ms);
    let cost = |(metric, series, samples): &(String, u64, u64)| Cost {
        metric: metric.clone(),
        series: *series,
        samples: *samples,
        from_ms,
        to_ms,
    };
    block.meta.metrics.iter().map(cost).collect()
}

/// Checks one block.
pub(super) fn verify(env: &Env, path: &Path, found: &mut Verified, progress: &Progress) {
    found.files += 1;
    found.blocks += 1;
    let cache = Arc::new(PageCache::new(CACHE_BYTES));
    let block = match Block::open(env, path, &cache) {
        Ok(block) => block,
        Err(error) => {
            found.note(path, &error);
            progress.advance(env.disk.stat(path).ok().flatten().map_or(0, |entry| entry.bytes));
            return;
        }
    };
    found.bytes += block.bytes;
    let flaws = block.check_parts(env);
    let lost = flaws.iter().any(|flaw| !flaw.mended);
    for flaw in flaws {
        let costs = if flaw.mended { Vec::new() } else { whole_cost(&block) };
        found.problems.push(Problem { file: flaw.path, offset: flaw.offset, reason: flaw.reason, costs });
    }
    if lost {
        progress.advance(block.bytes);
        return;
    }
    match columns(&block) {
        Ok((index, columns)) => {
            compare_counts(&block, &index, &columns, found);
            pages(&block, &index, &columns, found, progress);
        }
        Err(error) => {
            found.note(path, &error);
            if let Some(problem) = found.problems.last_mut() {
                problem.costs = whole_cost(&block);
            }
            progress.advance(block.bytes);
        }
    }
}

/// Returns the index and all columns, ordered by page and place.
fn columns(block: &Block) -> Result<(Arc<BlockIndex>, Vec<Owned>), StoreError> {
    let index = block.index()?;
    let mut columns = Vec::with_capacity(block.header.columns as usize);
    let visited = index.visit(0..index.series_count(), |series, _, found| {
        columns.extend(found.iter().map(|column| Owned { column: *column, series }));
    });
    visited.ok_or_else(|| StoreError::corrupt(&block.path, 0, "the series cannot be read"))?;
    columns.sort_by_key(|owned| (owned.column.page, owned.column.place));
    Ok((index, columns))
}

fn compare_counts(block: &Block, index: &BlockIndex, columns: &[Owned], found: &mut Verified) {
    let header = &block.header;
    let samples: u64 = columns.iter().map(|owned| u64::from(owned.column.rows)).sum();
    let (metric_series, metric_samples) =
        block.meta.metrics.iter().fold((0, 0), |(series, samples), (_, s, n)| (series + s, samples + n));
    let counts = [
        ("series", u64::from(header.series), u64::from(index.series_count())),
        ("columns", u64::from(header.columns), columns.len() as u64),
        ("samples", header.samples, samples),
        ("series by metric", u64::from(header.series), metric_series),
        ("samples by metric", header.samples, metric_samples),
    ];
    for (what, said, counted) in counts {
        if said != counted {
            found.problem(&block.path, 0, format!("the header says {said} {what}, there are {counted}"));
        }
    }
}

fn pages(block: &Block, index: &BlockIndex, columns: &[Owned], found: &mut Verified, progress: &Progress) {
    let mut rest = columns;
    let mut read = 0;
    for number in 0..block.header.pages {
        found.pages += 1;
        let (here, behind) = rest.split_at(rest.partition_point(|owned| owned.column.page <= number));
        rest = behind;
        let place = block.page_place(number);
        match block.page(number) {
            Ok(page) => {
                let offset = place.start;
                let costs = decode(block, index, &page, here, found);
                if let Some((reason, costs)) = costs {
                    found.problems.push(Problem { file: block.path.clone(), offset, reason, costs });
                }
            }
            Err(error) => {
                let mut costs = Costs::default();
                for owned in here {
                    costs.add(block, index, *owned);
                }
                found.note(&block.path, &error);
                if let Some(problem) = found.problems.last_mut() {
                    problem.reason = format!("page {number}: {}", problem.reason);
                    problem.costs = costs.list();
                }
            }
        }
        let length = place.end - place.start;
        read += length;
        progress.advance(length);
    }
    if !rest.is_empty() {
        found.problem(&block.path, 0, format!("{} columns are in pages that do not exist", rest.len()));
    }
    progress.advance(block.bytes.saturating_sub(read));
}

/// Decodes all columns of a page; what cannot be decoded and what it costs.
fn decode(
    block: &Block,
    index: &BlockIndex,
    page: &Page,
    columns: &[Owned],
    found: &mut Verified,
) -> Option<(String, Vec<Cost>)> {
    let mut costs = Costs::default();
    let mut bad = Vec::new();
    if page.columns() != columns.len() {
        bad.push(format!("it has {} columns, the index names {}", page.columns(), columns.len()));
    }
    for owned in columns {
        found.columns += 1;
        match decode_column(block, index, page, &owned.column) {
            Ok(samples) => found.samples += samples,
            Err(reason) => {
                bad.push(format!("column {}: {reason}", owned.column.place));
                costs.add(block, index, *owned);
            }
        }
    }
    let first = bad.first()?;
    let more = if bad.len() > 1 { format!(", and {} more", bad.len() - 1) } else { String::new() };
    let number = columns.first().map_or(0, |owned| owned.column.page);
    Some((format!("page {number}: {first}{more}"), costs.list()))
}

fn decode_column(block: &Block, index: &BlockIndex, page: &Page, column: &ColumnRef) -> Result<u64, String> {
    let head = page.head(column.place).ok_or("its head cannot be read")?;
    let rows = column.rows as usize;
    let times = block.times(index, column.time).map_err(|error| error.to_string())?;
    let present = if head.mask.is_empty() { times.len() } else { present_times(&times, &head.mask).len() };
    if present != rows {
        return Err(format!("it has {rows} samples and {present} times"));
    }
    if !times.is_sorted_by(|left, right| left < right) {
        return Err("its times do not ascend".to_owned());
    }
    let inside = |at_ms: &i64| (block.header.min_ms..=block.header.max_ms).contains(at_ms);
    if head.mask.is_empty() && !times.iter().all(inside) {
        return Err("it has times outside of the block's".to_owned());
    }
    match head.decode(page.payloads(), rows).ok_or("it cannot be decoded")? {
        Decoded::Floats(_) => {}
        Decoded::Histograms(bytes) => {
            let mut reader = ByteReader::new(bytes);
            for row in 0..rows {
                read_histogram(&mut reader).ok_or_else(|| format!("histogram {row} cannot be decoded"))?;
            }
        }
    }
    Ok(rows as u64)
}
