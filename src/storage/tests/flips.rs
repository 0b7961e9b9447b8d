//! Single flipped bits in any file: each is noticed, none is served, everything else is.

use super::{ALL, float, labels};
use crate::env::memory_disk::MemoryDisk;
use crate::env::{Disk as _, Env};
use crate::model::histogram::FloatHistogram;
use crate::model::matcher::Matcher;
use crate::storage::append::{Append as _, BatchSample, BatchValue, Durability, SeriesId};
use crate::storage::select::{Hints, Querier as _};
use crate::storage::{Store, StoreOptions};
use crate::telemetry::metrics::Registry;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const TRIES: u64 = 300;
const SERIES: usize = 300;
const DAY_MS: i64 = 86_400_000;
/// Columns of a page at most: what one bad page may cost.
const PAGE_COLUMNS: usize = crate::storage::block::page::COLUMNS_MAX;

fn open(disk: &MemoryDisk) -> Store {
    let env = Env { disk: Arc::new(disk.clone()), ..Env::real() };
    let options = StoreOptions { dir: "data".into(), retention_ms: 0, ..StoreOptions::default() };
    Store::open(&env, options, &Registry::new()).expect("opens")
}

fn value(series: usize, row: i64) -> f64 {
    match series % 4 {
        0 => 42.5,
        1 => row as f64,
        2 => (row * row % 97 + series as i64) as f64 * 0.01,
        _ => ((row * 7919 + series as i64) % 10_007) as f64 * 0.001,
    }
}

/// Scrapes so many rows each minute from a time on.
fn scrape(store: &Store, from_ms: i64, rows: i64) {
    let group = store.group("scrape/node/a").expect("group");
    let series: Arc<[SeriesId]> = (0..SERIES).map(|i| store.series(&labels(&format!("m{i:03}"), "a")).expect("series")).collect();
    for row in 0..rows {
        let values: Vec<f64> = (0..SERIES).map(|series| value(series, row)).collect();
        let appended = store.append_row(group, from_ms + row * 60_000, &series, &values).expect("appends");
        assert_eq!(appended.stored, SERIES as u64);
    }
    let histogram =
        FloatHistogram { schema: 2, count: 3.0, sum: 1.5, positive_buckets: vec![1.0, 2.0], ..FloatHistogram::default() };
    let series = store.series(&labels("h", "a")).expect("series");
    let sample = BatchSample { series, at_ms: from_ms, value: BatchValue::Histogram(Arc::new(histogram)) };
    store.append_samples(None, &[sample, float(series, from_ms + 1, 5.0)], Durability::Synced).expect("appends");
}

/// Longest record at the end of the log.
const LAST_RECORD: usize = 400;

type Samples = BTreeMap<String, BTreeMap<i64, String>>;

/// Reads everything; also returns what the answer warns of.
fn read_all(store: &Store) -> (Samples, Vec<String>) {
    let mut found = Samples::new();
    let selection = store.select(&[Matcher::equal("job", "node")], ALL, &Hints::default()).expect("selects");
    let read = selection.reader.read(0..selection.series.len()).expect("reads");
    for (series, samples) in selection.series.iter().zip(read) {
        let told = |i: usize| {
            samples.float(i).map_or_else(|| format!("{:?}", samples.histogram(i)), |value| format!("{:x}", value.to_bits()))
        };
        let points = samples.times.iter().enumerate().map(|(i, at_ms)| (*at_ms, told(i)));
        found.entry(series.labels.metric_name().to_owned()).or_default().extend(points);
    }
    let mut warnings = selection.warnings;
    warnings.extend(selection.reader.warnings());
    (found, warnings)
}

/// All files below a folder.
fn files(disk: &MemoryDisk, folder: &Path, out: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in disk.list(folder).expect("lists") {
        let path = folder.join(&entry.name);
        match disk.read(&path) {
            Ok(bytes) => drop(out.insert(path, bytes)),
            Err(_) => files(disk, &path, out),
        }
    }
}

/// A pseudo-random number below a bound: the same flips at each run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }

    /// A byte of some file: every second time the kind of the file is as likely as any other, else its length counts.
    fn place(&mut self, number: u64, originals: &BTreeMap<PathBuf, Vec<u8>>) -> (PathBuf, usize) {
        if number.is_multiple_of(2) {
            let (path, bytes) = originals.iter().nth(self.below(originals.len())).expect("a file");
            return (path.clone(), self.below(bytes.len()));
        }
        let mut at = self.below(originals.values().map(Vec::len).sum());
        let hit = originals.iter().find(|(_, bytes)| {
            let inside = at < bytes.len();
            if !inside {
                at -= bytes.len();
            }
            inside
        });
        (hit.expect("a file").0.clone(), at)
    }
}

/// A closed directory with merged and fresh blocks, tombstones and a log; what it holds, and what of that lies in blocks.
fn made() -> (MemoryDisk, Samples, Samples) {
    let disk = MemoryDisk::new();
    let store = open(&disk);
    let today_ms = (Env::real().clock.now_ms().div_euclid(DAY_MS) - 3) * DAY_MS;
    scrape(&store, today_ms, 40);
    store.compact_all().expect("compacts");
    scrape(&store, today_ms + DAY_MS, 20);
    store.flush_head().expect("cuts");
    store.delete_series(&[Matcher::equal("__name__", "m005")], ALL).expect("deletes");
    let in_blocks = read_all(&store).0;
    scrape(&store, today_ms + 2 * DAY_MS, 20);
    let (all, warnings) = read_all(&store);
    assert!(warnings.is_empty());
    store.close().expect("closes");
    (disk, all, in_blocks)
}

/// How many samples of each series were not found.
fn lost(samples: &Samples, found: &Samples) -> BTreeMap<String, usize> {
    let missing = |(series, points): (&String, &BTreeMap<i64, String>)| {
        let is_gone = |at_ms: &&i64| found.get(series).is_none_or(|found| !found.contains_key(*at_ms));
        let gone = points.keys().filter(is_gone).count();
        (gone > 0).then(|| (series.clone(), gone))
    };
    samples.iter().filter_map(missing).collect()
}

#[test]
fn a_flipped_bit_is_noticed_and_costs_no_more_than_it_must() {
    let (disk, all, in_blocks) = made();
    let mut originals = BTreeMap::new();
    files(&disk, Path::new("data"), &mut originals);
    let whole = originals.clone();
    originals.retain(|_, bytes| !bytes.is_empty());
    let kinds = |ending: &str| originals.keys().filter(|path| path.to_string_lossy().ends_with(ending)).count();
    assert_eq!((kinds(".blk"), kinds(".del"), kinds(".log")), (2, 2, 2), "{:?}", originals.keys());
    let mut chance = Chance(0x5eed);
    let (mut mended, mut cost_columns, mut cost_rows) = (0, 0, 0);
    for number in 0..TRIES {
        let damaged = MemoryDisk::new();
        for folder in ["data", "data/blocks", "data/wal", "data/names", "data/quarantine"] {
            damaged.create_dir_all(Path::new(folder)).expect("makes");
        }
        let (path, at) = chance.place(number, &originals);
        let what = format!("try {number}: byte {at} of {}", path.display());
        let mut whole = whole.clone();
        if let Some(bytes) = whole.get_mut(&path) {
            bytes[at] ^= 1 << chance.below(8);
        }
        for (path, bytes) in &whole {
            damaged.replace(path, bytes).expect("writes");
        }
        let store = open(&damaged);
        let (found, warnings) = read_all(&store);
        for (series, points) in &found {
            for (at_ms, told) in points {
                assert_eq!(all.get(series).and_then(|points| points.get(at_ms)), Some(told), "{what}: {series} at {at_ms}");
            }
        }
        let gone = lost(&all, &found);
        if path.starts_with("data/blocks") {
            if gone.is_empty() {
                mended += 1;
            } else {
                cost_columns += 1;
                assert!(!warnings.is_empty(), "{what}");
                assert!(gone.len() <= PAGE_COLUMNS && path.extension().is_some_and(|ending| ending == "blk"), "{what}: {gone:?}");
            }
        } else {
            assert!(lost(&in_blocks, &found).is_empty(), "{what}");
            assert!(warnings.is_empty(), "{what}: {warnings:?}");
            if gone.is_empty() {
                mended += 1;
            } else {
                // The end of the newest file is taken for a torn one: its last record goes.
                cost_rows += 1;
                assert!(at + LAST_RECORD >= originals[&path].len(), "{what}: {gone:?}");
                assert!(gone.values().all(|gone| *gone <= 1), "{what}: {gone:?}");
            }
        }
        store.close().expect("closes");
    }
    // Pages are most of a block; everything else mends itself, but for a last record that may be a torn one.
    assert!(mended > 150 && cost_columns > 20 && cost_rows < 5, "{mended} {cost_columns} {cost_rows}");
}

#[test]
fn a_lost_stretch_of_names_costs_what_it_named() {
    let disk = MemoryDisk::new();
    let store = open(&disk);
    let group = store.group("scrape/node/a").expect("group");
    let wide = 2000;
    let series: Arc<[SeriesId]> = (0..wide).map(|i| store.series(&labels(&format!("m{i:04}"), "a")).expect("series")).collect();
    for row in 0..5 {
        let values: Vec<f64> = (0..wide).map(|series| value(series, row)).collect();
        store.append_row(group, DAY_MS + row * 60_000, &series, &values).expect("appends");
    }
    let (all, _) = read_all(&store);
    assert_eq!(all.len(), wide);
    store.close().expect("closes");
    let path = Path::new("data/names/00000001.log");
    let mut bytes = disk.read(path).expect("reads");
    let middle = bytes.len() / 2;
    bytes[middle..middle + 512].fill(0);
    disk.replace(path, &bytes).expect("writes");

    let store = open(&disk);
    let (found, warnings) = read_all(&store);
    assert!(warnings.is_empty());
    let gone = lost(&all, &found);
    assert!((10..wide / 4).contains(&gone.len()), "{}", gone.len());
    assert!(found.iter().all(|(series, points)| all[series] == *points));
    assert!(!disk.list(Path::new("data/quarantine")).expect("lists").is_empty());
    // What comes next is kept, also of those that were lost, and also in blocks.
    let group = store.group("scrape/node/a").expect("group");
    let series: Arc<[SeriesId]> = (0..wide).map(|i| store.series(&labels(&format!("m{i:04}"), "a")).expect("series")).collect();
    let values: Vec<f64> = (0..wide).map(|series| value(series, 6)).collect();
    assert_eq!(store.append_row(group, DAY_MS + 360_000, &series, &values).expect("appends").stored, wide as u64);
    let (before, _) = read_all(&store);
    assert_eq!(before.len(), wide);
    store.flush_head().expect("cuts");
    let (after, warnings) = read_all(&store);
    assert!(warnings.is_empty() && after == before);
    store.close().expect("closes");
    let (reopened, _) = read_all(&open(&disk));
    assert_eq!(reopened, before);
}
