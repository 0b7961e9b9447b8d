//! Writing a block: series come sorted by metric name and labels, columns go to pages at once, the index at the end.
//!
//! The file is made as `.tmp`, synced, renamed, and its folder synced: a crash leaves no half block under a block's name.

use super::footer::{HEADER_BYTES, Header, Section, encode_footer};
use super::page::PageBuilder;
use super::parity::parity_of;
use super::sections::{
    ColumnRef, Meta, PairSeries, SERIES_STEP, SeriesAbout, put_meta, put_postings, put_series, put_symbols, stored_section,
};
use super::ulid::Ulid;
use crate::env::Env;
use crate::env::disk::{DiskFile, Open};
use crate::model::labels::METRIC_NAME;
use crate::storage::column::encode::{Coding, encode};
use crate::storage::column::pack::SPARE_BYTES;
use crate::storage::column::packed::Encoded;
use crate::storage::column::timestamps::put_times;
use crate::storage::column::varint::put_varint;
use crate::storage::error::StoreError;
use crate::storage::index::symbols::Symbols;
use crate::storage::wal::Position;
use crate::storage::wal::replay::Cover;
use hashbrown::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Rows of one packed column, about: wider ones do not pack better, and an odd value spoils more of them.
const COLUMN_ROWS: usize = 480;
/// Rows of one dense column, about: its table is paid once.
const DENSE_ROWS: usize = 1440;
/// From this level on blocks are kept long, and their columns are dense.
const DENSE_LEVEL: u8 = 2;
/// Columns of times that are known by their address.
const NEAR_MAX: usize = 256;
/// Pages are written out when so many bytes wait.
const WRITE_BYTES: usize = 1 << 20;

/// What a block is to be.
#[derive(Clone, Debug)]
pub(crate) struct BlockPlan {
    /// Level.
    pub(crate) level: u8,
    /// Whether it may lie over others.
    pub(crate) overlap: bool,
    /// Blocks that it replaces.
    pub(crate) parents: Vec<Ulid>,
    /// What of the log it holds.
    pub(crate) covers: Vec<Cover>,
}

/// Samples of one series over some rows.
pub(crate) struct ColumnInput<'a> {
    /// When; equal columns of times are stored once.
    pub(crate) times: &'a Arc<[i64]>,
    /// A value for each time.
    pub(crate) values: ColumnValues<'a>,
    /// A start timestamp for each time.
    pub(crate) starts: Option<&'a Arc<[i64]>>,
}

/// What is known about a series' metric.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct About {
    /// Its type as a number (see [`crate::storage::metadata`]); 0 where it is not known.
    pub(crate) kind: u8,
    /// Its unit, empty where it is not known.
    pub(crate) unit: String,
}

/// What a column holds.
pub(crate) enum ColumnValues<'a> {
    /// The same float so many times.
    Constant(f64, usize),
    /// Floats.
    Floats(&'a [f64]),
    /// Native histograms, encoded one after the other: bytes and how many.
    Histograms(Vec<u8>, usize),
}

struct SeriesEntry {
    pairs: std::ops::Range<usize>,
    columns: std::ops::Range<usize>,
    kind: u8,
    unit: Option<u32>,
}

/// A block that is being written.
pub(crate) struct BlockWriter<'a> {
    env: &'a Env,
    path: PathBuf,
    tmp: PathBuf,
    file: Box<dyn DiskFile>,
    plan: BlockPlan,
    ulid: Ulid,
    written: u64,
    buffer: Vec<u8>,
    /// What was written of the index, for its parity.
    index: Vec<u8>,
    page: PageBuilder,
    page_lengths: Vec<u32>,
    /// Columns of times as they are stored, and where each begins.
    times: Vec<u8>,
    times_at: Vec<u32>,
    /// Numbers of columns of times by content, and by address for the common case that neighbours share them.
    times_known: HashMap<Vec<u8>, u32, foldhash::fast::RandomState>,
    times_near: HashMap<usize, (u32, Arc<[i64]>), foldhash::fast::RandomState>,
    symbols: Symbols,
    pairs: Vec<(u32, u32)>,
    pairs_known: HashMap<(u32, u32), u32, foldhash::fast::RandomState>,
    series: Vec<SeriesEntry>,
    series_pairs: Vec<u32>,
    columns: Vec<ColumnRef>,
    metrics: Vec<(String, u64, u64)>,
    samples: u64,
    min_ms: i64,
    max_ms: i64,
    /// The file has its name.
    done: bool,
}

impl Drop for BlockWriter<'_> {
    /// What is not finished is removed: on a full disk its space is wanted.
    fn drop(&mut self) {
        if self.done {
            return;
        }
        if let Err(error) = self.env.disk.remove_file(&self.tmp) {
            tracing::debug!(file = %self.tmp.display(), %error, "an unfinished block is left for the next start");
        }
    }
}

/// Cuts rows evenly into the columns of a block of a level. Up to a quarter more than usual a column is not divided.
pub(crate) fn divide(rows: usize, level: u8) -> impl Iterator<Item = std::ops::Range<usize>> {
    let usual = if level >= DENSE_LEVEL { DENSE_ROWS } else { COLUMN_ROWS };
    let parts = if rows <= usual * 5 / 4 { 1 } else { (rows + usual / 2) / usual };
    (0..parts).map(move |part| rows * part / parts..rows * (part + 1) / parts)
}

/// The newest name in a folder of blocks, finished or not.
fn newest_in(env: &Env, folder: &Path) -> Result<Option<Ulid>, StoreError> {
    let entries = env.disk.list(folder).map_err(StoreError::io("listing", folder))?;
    let named = |name: &str| name.strip_suffix(".blk").or_else(|| name.strip_suffix(".blk.tmp")).and_then(Ulid::parse);
    Ok(entries.iter().filter_map(|entry| named(&entry.name)).max())
}

impl<'a> BlockWriter<'a> {
    /// Begins a block in a folder.
    pub(crate) fn create(env: &'a Env, folder: &Path, plan: BlockPlan) -> Result<Self, StoreError> {
        let ulid = Ulid::fresh(env, newest_in(env, folder)?);
        let path = folder.join(format!("{ulid}.blk"));
        let tmp = folder.join(format!("{ulid}.blk.tmp"));
        let file = env.disk.open(&tmp, Open::CreateNew).map_err(StoreError::io("making", &tmp))?;
        Ok(Self {
            env,
            path,
            tmp,
            file,
            plan,
            ulid,
            written: HEADER_BYTES as u64,
            buffer: Vec::new(),
            index: Vec::new(),
            page: PageBuilder::default(),
            page_lengths: Vec::new(),
            times: Vec::new(),
            times_at: Vec::new(),
            times_known: HashMap::default(),
            times_near: HashMap::default(),
            symbols: Symbols::new(0),
            pairs: Vec::new(),
            pairs_known: HashMap::default(),
            series: Vec::new(),
            series_pairs: Vec::new(),
            columns: Vec::new(),
            metrics: Vec::new(),
            samples: 0,
            min_ms: i64::MAX,
            max_ms: i64::MIN,
            done: false,
        })
    }

    /// Returns whether nothing was added.
    pub(crate) fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    fn full() -> StoreError {
        StoreError::Full("a block's tables")
    }

    /// Adds a series. Series must come sorted by metric name, then labels, each once.
    pub(crate) fn add<'l>(
        &mut self,
        labels: impl Iterator<Item = (&'l str, &'l str)>,
        about: &About,
        columns: Vec<ColumnInput<'_>>,
    ) -> Result<(), StoreError> {
        let pairs_start = self.series_pairs.len();
        let mut metric = "";
        for (name, value) in labels {
            if name == METRIC_NAME {
                metric = value;
            }
            let pair = (self.symbols.intern(name).ok_or_else(Self::full)?, self.symbols.intern(value).ok_or_else(Self::full)?);
            let next = self.pairs.len() as u32;
            let number = *self.pairs_known.entry(pair).or_insert(next);
            if number == next {
                self.pairs.push(pair);
            }
            self.series_pairs.push(number);
        }
        if self.metrics.last().is_none_or(|(last, ..)| last != metric) {
            self.metrics.push((metric.to_owned(), 0, 0));
        }
        let (columns_start, samples_before) = (self.columns.len(), self.samples);
        for column in columns {
            self.column(column)?;
        }
        if let Some((_, series, samples)) = self.metrics.last_mut() {
            *series += 1;
            *samples += self.samples - samples_before;
        }
        let unit = match about.unit.as_str() {
            "" => None,
            unit => Some(self.symbols.intern(unit).ok_or_else(Self::full)?),
        };
        let (pairs, columns) = (pairs_start..self.series_pairs.len(), columns_start..self.columns.len());
        self.series.push(SeriesEntry { pairs, columns, kind: about.kind, unit });
        Ok(())
    }

    fn column(&mut self, input: ColumnInput<'_>) -> Result<(), StoreError> {
        let (encoded, rows) = match input.values {
            ColumnValues::Constant(value, rows) => (encode(&[value], Coding::Packed), rows),
            ColumnValues::Floats(values) => {
                let coding = if self.plan.level >= DENSE_LEVEL { Coding::Dense } else { Coding::Packed };
                (encode(values, coding), values.len())
            }
            ColumnValues::Histograms(bytes, rows) => (Encoded::histograms(bytes), rows),
        };
        let time = self.time(input.times);
        let starts = input.starts.filter(|starts| starts.len() == rows).map(|starts| self.time(starts));
        if let (Some(first), Some(last)) = (input.times.first(), input.times.last()) {
            self.min_ms = self.min_ms.min(*first);
            self.max_ms = self.max_ms.max(*last);
        }
        self.samples += rows as u64;
        let place = self.page.push(encoded);
        let page = self.page_lengths.len() as u32;
        self.columns.push(ColumnRef { time, page, place, rows: rows as u32, starts });
        if self.page.is_full() { self.finish_page() } else { Ok(()) }
    }

    fn time(&mut self, times: &Arc<[i64]>) -> u32 {
        let near = Arc::as_ptr(times).addr();
        if let Some((known, _)) = self.times_near.get(&near) {
            return *known;
        }
        let mut encoded = Vec::new();
        put_times(&mut encoded, times);
        let next = self.times_at.len() as u32;
        let number = *self.times_known.entry_ref(encoded.as_slice()).or_insert(next);
        if number == next {
            self.times_at.push(self.times.len() as u32);
            self.times.extend_from_slice(&encoded);
        }
        if self.times_near.len() >= NEAR_MAX {
            self.times_near.clear();
        }
        // Kept alive, so that the address stays this list's.
        self.times_near.insert(near, (number, Arc::clone(times)));
        number
    }

    fn finish_page(&mut self) -> Result<(), StoreError> {
        let before = self.buffer.len();
        self.page.finish(self.plan.level >= DENSE_LEVEL, &mut self.buffer);
        self.page_lengths.push((self.buffer.len() - before) as u32);
        if self.buffer.len() >= WRITE_BYTES { self.write_buffer() } else { Ok(()) }
    }

    fn write_buffer(&mut self) -> Result<(), StoreError> {
        self.file.write_at(&self.buffer, self.written).map_err(StoreError::io("writing", &self.tmp))?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    fn section(&mut self, sections: &mut Vec<Section>, tag: &[u8; 4], plain: &[u8]) -> Result<(), StoreError> {
        // What lives for half an hour is not worth compressing.
        let bytes = stored_section(plain, self.plan.level > 0);
        self.index.extend_from_slice(&bytes);
        self.raw_section(sections, tag, &bytes)
    }

    fn raw_section(&mut self, sections: &mut Vec<Section>, tag: &[u8; 4], bytes: &[u8]) -> Result<(), StoreError> {
        let offset = self.written + self.buffer.len() as u64;
        sections.push(Section { tag: *tag, crc: crc32c::crc32c(bytes), offset, length: bytes.len() as u64 });
        self.buffer.extend_from_slice(bytes);
        self.write_buffer()
    }

    /// Writes the index, makes the file durable, and gives it its name. Returns its path.
    pub(crate) fn finish(mut self) -> Result<PathBuf, StoreError> {
        if self.page.columns() > 0 {
            self.finish_page()?;
        }
        let mut sections = Vec::new();
        let times = self.times_section();
        self.section(&mut sections, b"TIME", &times)?;
        let (symbols, symbol_places) = self.sorted_symbols();
        self.section(&mut sections, b"SYMB", &symbols)?;
        let pair_places = self.sort_pairs(&symbol_places);
        let postings = self.postings_section(&pair_places, &symbol_places);
        self.section(&mut sections, b"POST", &postings)?;
        let series = self.series_section(&pair_places, &symbol_places);
        self.section(&mut sections, b"SERI", &series)?;
        let mut pages = Vec::new();
        for length in &self.page_lengths {
            put_varint(&mut pages, u64::from(*length));
        }
        self.section(&mut sections, b"PAGE", &pages)?;
        let mut meta = Vec::new();
        let metrics = std::mem::take(&mut self.metrics);
        put_meta(&mut meta, &Meta { parents: self.plan.parents.clone(), covers: self.plan.covers.clone(), metrics });
        self.section(&mut sections, b"META", &meta)?;
        let header = self.header().encode();
        self.index.extend_from_slice(&header);
        self.raw_section(&mut sections, b"HEAD", &header)?;
        let index_at = sections.first().map_or(0, |section| section.offset);
        let parity = parity_of(&std::mem::take(&mut self.index), index_at);
        self.raw_section(&mut sections, b"PARI", &parity)?;
        // Twice: what tells where everything is must not hang on one byte.
        self.buffer = encode_footer(&sections).repeat(2);
        self.write_buffer()?;
        self.file.write_at(&header, 0).map_err(StoreError::io("writing", &self.tmp))?;
        self.file.sync_data().map_err(StoreError::io("syncing", &self.tmp))?;
        self.env.disk.rename(&self.tmp, &self.path).map_err(StoreError::io("naming", &self.path))?;
        self.done = true;
        let folder = self.path.parent().unwrap_or(Path::new("."));
        self.env.disk.sync_dir(folder).map_err(StoreError::io("syncing", folder))?;
        Ok(self.path.clone())
    }

    /// Gives up; the unfinished file is removed.
    pub(crate) fn abandon(self) {
        drop(self);
    }

    fn header(&self) -> Header {
        let newest = self.plan.covers.iter().map(|cover| cover.position).max();
        Header {
            version: Header::VERSION,
            ulid: self.ulid,
            overlap: self.plan.overlap,
            min_ms: self.min_ms,
            max_ms: self.max_ms,
            samples: self.samples,
            series: self.series.len() as u32,
            columns: self.columns.len() as u32,
            pages: self.page_lengths.len() as u32,
            level: self.plan.level,
            created_ms: self.env.clock.now_ms(),
            position: newest.unwrap_or(Position::default()),
        }
    }

    fn times_section(&self) -> Vec<u8> {
        let mut out = (self.times_at.len() as u32).to_le_bytes().to_vec();
        for at in &self.times_at {
            out.extend_from_slice(&at.to_le_bytes());
        }
        out.extend_from_slice(&self.times);
        out.extend_from_slice(&[0; SPARE_BYTES]);
        out
    }

    /// Returns the symbols' section and, for each symbol in order of arrival, its sorted place.
    fn sorted_symbols(&self) -> (Vec<u8>, Vec<u32>) {
        let mut order: Vec<u32> = (0..self.symbols.len() as u32).collect();
        order.sort_unstable_by_key(|symbol| self.symbols.get(*symbol));
        let texts: Vec<&str> = order.iter().map(|symbol| self.symbols.get(*symbol)).collect();
        let mut places = vec![0; order.len()];
        for (place, symbol) in order.iter().enumerate() {
            places[*symbol as usize] = place as u32;
        }
        let mut out = Vec::new();
        put_symbols(&mut out, &texts);
        (out, places)
    }

    /// Returns, for each pair in order of arrival, its sorted place.
    fn sort_pairs(&self, symbol_places: &[u32]) -> Vec<u32> {
        let key = |pair: u32| {
            let (name, value) = self.pairs[pair as usize];
            (symbol_places[name as usize], symbol_places[value as usize])
        };
        let mut order: Vec<u32> = (0..self.pairs.len() as u32).collect();
        order.sort_unstable_by_key(|pair| key(*pair));
        let mut places = vec![0; order.len()];
        for (place, pair) in order.iter().enumerate() {
            places[*pair as usize] = place as u32;
        }
        places
    }

    fn postings_section(&self, pair_places: &[u32], symbol_places: &[u32]) -> Vec<u8> {
        let mut sorted: Vec<PairSeries> = Vec::with_capacity(self.pairs.len());
        sorted.resize(self.pairs.len(), PairSeries { name: 0, value: 0, runs: Vec::new() });
        for (pair, (name, value)) in self.pairs.iter().enumerate() {
            let entry = &mut sorted[pair_places[pair] as usize];
            entry.name = symbol_places[*name as usize];
            entry.value = symbol_places[*value as usize];
        }
        for (number, entry) in self.series.iter().enumerate() {
            for pair in &self.series_pairs[entry.pairs.clone()] {
                let runs = &mut sorted[pair_places[*pair as usize] as usize].runs;
                match runs.last_mut() {
                    Some((start, length)) if *start + *length == number as u32 => *length += 1,
                    _ => runs.push((number as u32, 1)),
                }
            }
        }
        let mut out = Vec::new();
        put_postings(&mut out, &sorted);
        out
    }

    fn series_section(&self, pair_places: &[u32], symbol_places: &[u32]) -> Vec<u8> {
        let mut out = (self.series.len() as u32).to_le_bytes().to_vec();
        let mut body = Vec::new();
        for (number, entry) in self.series.iter().enumerate() {
            if number % SERIES_STEP == 0 {
                out.extend_from_slice(&(body.len() as u32).to_le_bytes());
            }
            let pairs: Vec<u32> = self.series_pairs[entry.pairs.clone()].iter().map(|pair| pair_places[*pair as usize]).collect();
            let unit = entry.unit.map(|symbol| symbol_places[symbol as usize]);
            let about = SeriesAbout { kind: entry.kind, unit };
            put_series(&mut body, &pairs, about, &self.columns[entry.columns.clone()]);
        }
        out.extend_from_slice(&body);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_divided_evenly() {
        let parts = |rows, level| divide(rows, level).map(|part| part.len()).collect::<Vec<_>>();
        assert_eq!(parts(1, 0), [1]);
        assert_eq!(parts(600, 0), [600]);
        assert_eq!(parts(601, 0), [601]);
        assert_eq!(parts(960, 1), [480, 480]);
        assert_eq!(parts(5760, 1), [480; 12]);
        assert_eq!(parts(5760, 2), [1440; 4]);
        assert_eq!(parts(1800, 2), [1800]);
    }
}
