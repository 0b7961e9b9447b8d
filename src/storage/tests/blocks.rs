//! Blocks in the life of a store: cuts, merges, retention, deletion.

use super::{ALL, float, labels, read};
use crate::env::clock::Clock;
use crate::env::memory_disk::MemoryDisk;
use crate::env::{Disk as _, Env};
use crate::model::histogram::FloatHistogram;
use crate::model::matcher::Matcher;
use crate::model::sample::Value;
use crate::storage::append::{Append as _, BatchSample, BatchValue, Durability, SeriesId};
use crate::storage::select::{Hints, Querier as _, TimeRange};
use crate::storage::{Store, StoreOptions};
use crate::telemetry::metrics::Registry;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

const HOUR_MS: i64 = 3_600_000;

/// A clock that is set by hand.
#[derive(Default)]
struct HandClock(AtomicI64);

impl Clock for HandClock {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.now_ms()).unwrap_or(0))
    }

    fn sleep(&self, _duration: Duration) -> futures_util::future::BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }
}

struct World {
    disk: MemoryDisk,
    clock: Arc<HandClock>,
    options: StoreOptions,
}

impl World {
    fn new() -> Self {
        let options = StoreOptions { dir: "data".into(), retention_ms: 0, ..StoreOptions::default() };
        Self { disk: MemoryDisk::new(), clock: Arc::default(), options }
    }

    fn open(&self) -> Store {
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        let env = Env { disk: Arc::new(self.disk.clone()), clock, ..Env::real() };
        Store::open(&env, self.options.clone(), &Registry::new()).expect("opens")
    }

    /// Merges all that is finished at a time; a range waits until nothing was written into it for a while.
    fn compact(&self, store: &Store, now_ms: i64) {
        for minutes in 0..3 {
            self.clock.0.store(now_ms + minutes * 60_000, Ordering::Relaxed);
            store.compact().expect("merges");
        }
    }

    fn blocks(&self) -> usize {
        let files = self.disk.list(Path::new("data/blocks")).expect("lists");
        files.iter().filter(|entry| entry.name.ends_with(".blk")).count()
    }
}

fn value(series: usize, row: i64) -> f64 {
    match series % 4 {
        0 => 42.5,
        1 => row as f64,
        2 => (row * row % 97) as f64 * 0.01,
        _ => ((row * 7919) % 10_007) as f64 * 0.001,
    }
}

/// Scrapes eight series each 15 s over a range.
fn scrape(store: &Store, from_ms: i64, to_ms: i64) {
    let group = store.group("scrape/node/a").expect("group");
    let series: Arc<[SeriesId]> = (0..8).map(|i| store.series(&labels(&format!("m{i}"), "a")).expect("series")).collect();
    for row in from_ms / 15_000..to_ms / 15_000 {
        let values: Vec<f64> = (0..8).map(|series| value(series, row)).collect();
        let appended = store.append_row(group, row * 15_000, &series, &values).expect("appends");
        assert_eq!(appended.stored, 8);
    }
}

fn check(store: &Store, from_ms: i64, to_ms: i64, range: TimeRange) {
    let found = read(store, &Matcher::equal("job", "node"), range);
    assert_eq!(found.len(), 8);
    for (number, (name, points)) in found.iter().enumerate() {
        assert_eq!(name, &format!("m{number}"));
        let rows =
            (from_ms / 15_000..to_ms / 15_000).filter(|row| row * 15_000 >= range.start_ms && row * 15_000 <= range.end_ms);
        let expected: Vec<(i64, f64)> = rows.map(|row| (row * 15_000, value(number, row))).collect();
        assert_eq!(points.len(), expected.len(), "{name}");
        assert_eq!(points, &expected, "{name}");
    }
    let hints = Hints { last_only: true, ..Hints::default() };
    let selection = store.select(&[Matcher::equal("job", "node")], range, &hints).expect("selects");
    let newest = selection.reader.newest(0..8).expect("reads");
    for (series, newest) in selection.series.iter().zip(newest) {
        let (_, points) = found.iter().find(|(name, _)| name == series.labels.metric_name()).expect("was found");
        assert_eq!(newest, points.last().map(|(at_ms, value)| (*at_ms, Value::Float(*value))));
    }
}

#[test]
fn cut_rows_are_read_from_blocks_and_the_log_is_dropped() {
    let world = World::new();
    let store = world.open();
    scrape(&store, 0, 2 * HOUR_MS);
    let before = world.disk.list(Path::new("data/wal")).expect("lists");
    store.flush_head().expect("cuts");
    assert_eq!(world.blocks(), 4);
    assert_eq!(store.stats().head_samples, 0);
    check(&store, 0, 2 * HOUR_MS, ALL);
    scrape(&store, 2 * HOUR_MS, 3 * HOUR_MS);
    check(&store, 0, 3 * HOUR_MS, ALL);
    check(&store, 0, 3 * HOUR_MS, TimeRange { start_ms: HOUR_MS + 7, end_ms: 2 * HOUR_MS + 300_000 });
    let after = world.disk.list(Path::new("data/wal")).expect("lists");
    assert!(before.iter().all(|old| after.iter().all(|new| new.name != old.name)), "{before:?} {after:?}");
    store.close().expect("closes");
    drop(store);
    let store = world.open();
    assert_eq!(store.stats().head_samples, 8 * 240);
    check(&store, 0, 3 * HOUR_MS, ALL);
    let last =
        store.select(&[Matcher::equal("job", "node")], ALL, &Hints { last_only: true, ..Hints::default() }).expect("selects");
    let last = last.reader.read(0..8).expect("reads");
    assert!(last.iter().all(|samples| samples.times[..] == [3 * HOUR_MS - 15_000]));
    let old = TimeRange { start_ms: 0, end_ms: HOUR_MS };
    let last =
        store.select(&[Matcher::equal("job", "node")], old, &Hints { last_only: true, ..Hints::default() }).expect("selects");
    assert!(last.reader.read(0..8).expect("reads").iter().all(|samples| samples.times[..] == [HOUR_MS]));
}

#[test]
fn finished_ranges_are_merged_and_smaller_for_it() {
    let world = World::new();
    let store = world.open();
    for hour in 0..24 {
        scrape(&store, hour * HOUR_MS, (hour + 1) * HOUR_MS);
        store.flush_head().expect("cuts");
    }
    assert_eq!(world.blocks(), 48);
    let loose = store.stats().block_bytes;
    world.compact(&store, 20 * HOUR_MS - 300_000);
    assert_eq!(world.blocks(), 9 + 2 * 6, "nine blocks of two hours, the rest is not over");
    check(&store, 0, 24 * HOUR_MS, ALL);
    world.compact(&store, 26 * HOUR_MS);
    assert_eq!(world.blocks(), 1);
    check(&store, 0, 24 * HOUR_MS, ALL);
    check(&store, 0, 24 * HOUR_MS, TimeRange { start_ms: 5 * HOUR_MS, end_ms: 6 * HOUR_MS });
    // Few rows of many are kept when they were decoded; parts of them, and what goes beyond, must be right all the same.
    for start_ms in (0..23 * HOUR_MS).step_by(47 * 60_000) {
        for (start_ms, end_ms) in
            [(start_ms, start_ms + 300_000), (start_ms + 60_000, start_ms + 240_000), (start_ms, start_ms + 400_000)]
        {
            check(&store, 0, 24 * HOUR_MS, TimeRange { start_ms, end_ms });
        }
    }
    let stats = store.stats();
    assert_eq!(stats.block_samples, 8 * 24 * 240);
    assert!(stats.block_bytes * 2 < loose, "{} of {loose}", stats.block_bytes);
    drop(store);
    check(&world.open(), 0, 24 * HOUR_MS, ALL);
}

#[test]
fn late_and_ancient_samples_lie_in_overlap_blocks_until_they_are_merged() {
    let world = World::new();
    let store = world.open();
    scrape(&store, 0, HOUR_MS);
    let series = store.series(&labels("m1", "a")).expect("series");
    let late: Vec<BatchSample> = (0..50).map(|row| float(series, row * 60_000 + 1000, -1.0)).collect();
    assert_eq!(store.append_samples(None, &late, Durability::Synced).expect("appends").stored, 50);
    let merged = |store: &Store| {
        let found = read(store, &Matcher::equal("__name__", "m1"), ALL);
        assert_eq!(found[0].1.len(), 240 + 50);
        assert_eq!(found[0].1.iter().filter(|(_, value)| *value < 0.0).count(), 50);
        assert!(found[0].1.is_sorted_by_key(|(at_ms, _)| *at_ms));
    };
    merged(&store);
    store.flush_head().expect("cuts");
    assert_eq!(world.blocks(), 3);
    merged(&store);
    world.compact(&store, 30 * HOUR_MS);
    assert_eq!(world.blocks(), 1);
    merged(&store);
}

#[test]
fn retention_unlinks_whole_blocks() {
    let mut world = World::new();
    world.options.retention_ms = 4 * HOUR_MS;
    let store = world.open();
    scrape(&store, 0, 2 * HOUR_MS);
    store.flush_head().expect("cuts");
    world.clock.0.store(5 * HOUR_MS + 1, Ordering::Relaxed);
    store.compact().expect("retains");
    check(&store, HOUR_MS, 2 * HOUR_MS, TimeRange { start_ms: HOUR_MS, end_ms: i64::MAX });
    world.clock.0.store(7 * HOUR_MS, Ordering::Relaxed);
    store.compact().expect("retains");
    assert_eq!(world.blocks(), 0);
    let series = store.series(&labels("m1", "a")).expect("series");
    let refused = store.append_samples(None, &[float(series, 2 * HOUR_MS, 1.0)], Durability::Written).expect("appends");
    assert_eq!(refused.too_old, 1);
    drop(store);
    world.options.retention_ms = 0;
    world.options.retention_bytes = 1;
    let store = world.open();
    scrape(&store, 8 * HOUR_MS, 9 * HOUR_MS);
    store.flush_head().expect("cuts");
    store.compact().expect("retains");
    assert_eq!(world.blocks(), 0);
}

#[test]
fn deleted_samples_are_gone_at_once_and_their_space_later() {
    let world = World::new();
    let store = world.open();
    scrape(&store, 0, HOUR_MS);
    store.flush_head().expect("cuts");
    scrape(&store, HOUR_MS, 2 * HOUR_MS);
    let gone = TimeRange { start_ms: HOUR_MS - 600_000, end_ms: HOUR_MS + 599_999 };
    store.delete_series(&[Matcher::equal("__name__", "m1")], gone).expect("deletes");
    store.delete_series(&[Matcher::equal("__name__", "m2")], ALL).expect("deletes");
    let look = |store: &Store| {
        let found = read(store, &Matcher::equal("job", "node"), ALL);
        let counts: Vec<(String, usize)> =
            found.iter().map(|(name, points)| (name.clone(), points.len())).filter(|(_, n)| *n > 0).collect();
        let expected = [("m0", 480), ("m1", 400), ("m3", 480), ("m4", 480), ("m5", 480), ("m6", 480), ("m7", 480)];
        assert_eq!(counts, expected.map(|(name, count)| (name.to_owned(), count)));
    };
    look(&store);
    drop(store);
    let store = world.open();
    look(&store);
    let before = store.stats().block_samples;
    store.clean_tombstones().expect("cleans");
    look(&store);
    assert_eq!(store.stats().block_samples, before - 80 - 480);
    let files = world.disk.list(Path::new("data/blocks")).expect("lists");
    assert!(files.iter().all(|entry| entry.name.ends_with(".blk")), "{files:?}");
}

#[test]
fn histograms_live_in_blocks_too() {
    let world = World::new();
    let store = world.open();
    let series = store.series(&labels("h", "a")).expect("series");
    let histogram = |count: i64| {
        Arc::new(FloatHistogram {
            schema: 3,
            count: count as f64,
            sum: 0.5,
            positive_buckets: vec![1.0, 2.5],
            ..FloatHistogram::default()
        })
    };
    for row in 0..300 {
        let value = BatchValue::Histogram(histogram(row));
        let sample = BatchSample { series, at_ms: row * 15_000, value };
        assert_eq!(store.append_samples(None, &[sample], Durability::Written).expect("appends").stored, 1);
    }
    let look = |store: &Store| {
        let selection = store.select(&[Matcher::equal("__name__", "h")], ALL, &Hints::default()).expect("selects");
        let read = selection.reader.read(0..1).expect("reads");
        assert_eq!(read[0].len(), 300);
        for row in 0..300 {
            assert_eq!(read[0].histogram(row).map(|found| found.count), Some(row as f64));
        }
    };
    look(&store);
    drop(store);
    let store = world.open();
    look(&store);
    store.flush_head().expect("cuts");
    look(&store);
    world.compact(&store, 30 * HOUR_MS);
    assert_eq!(world.blocks(), 1);
    look(&store);
}

#[test]
fn a_damaged_page_costs_its_columns_and_a_damaged_block_goes_to_quarantine() {
    use crate::env::disk::Open;
    let world = World::new();
    let store = world.open();
    scrape(&store, 0, HOUR_MS);
    store.flush_head().expect("cuts");
    drop(store);
    let files = world.disk.list(Path::new("data/blocks")).expect("lists");
    let path = Path::new("data/blocks").join(&files[0].name);
    world.disk.open(&path, Open::Write).expect("opens").write_at(&[0x55; 4], 200).expect("writes");
    let store = world.open();
    let found = read(&store, &Matcher::equal("job", "node"), ALL);
    assert_eq!(found.iter().map(|(_, points)| points.len()).sum::<usize>(), 8 * 120);
    let selection = store.select(&[Matcher::equal("job", "node")], ALL, &Hints::default()).expect("selects");
    selection.reader.read(0..selection.series.len()).expect("reads");
    let warnings = selection.reader.warnings();
    assert!(warnings.iter().any(|warning| warning.contains("bad checksum of a page")), "{warnings:?}");
    drop((selection, store));
    // Footer and copy.
    let file = world.disk.open(&path, Open::Write).expect("opens");
    let bytes = file.len().expect("a length");
    file.write_at(&[0x55; 400], bytes - 400).expect("writes");
    let store = world.open();
    assert_eq!(world.blocks(), 1);
    assert!(world.disk.stat(&Path::new("data/quarantine").join(format!("blocks-{}", files[0].name))).expect("looks").is_some());
    assert_eq!(read(&store, &Matcher::equal("job", "node"), ALL).len(), 8);
}

#[test]
fn groups_of_many_rows_are_divided_into_columns() {
    let world = World::new();
    let store = world.open();
    let group = store.group("fast").expect("group");
    let series: Arc<[SeriesId]> =
        Arc::from([store.series(&labels("m0", "a")).expect("series"), store.series(&labels("m1", "a")).expect("series")]);
    let one: Arc<[SeriesId]> = Arc::from([series[0]]);
    for row in 0..1800_i64 {
        let both = row % 900 < 700;
        let layout = if both { &series } else { &one };
        let values = [row as f64, (row / 3) as f64 * 0.5];
        store.append_row(group, row * 1000, layout, &values[..layout.len()]).expect("appends");
    }
    let look = |store: &Store| {
        let found = read(store, &Matcher::equal("job", "node"), ALL);
        let all: Vec<_> = (0..1800_i64).map(|row| (row * 1000, row as f64)).collect();
        assert_eq!(found[0].1, all);
        let some: Vec<_> = (0..1800_i64).filter(|row| row % 900 < 700).map(|row| (row * 1000, (row / 3) as f64 * 0.5)).collect();
        assert_eq!(found[1].1, some);
    };
    look(&store);
    store.flush_head().expect("cuts");
    look(&store);
    world.compact(&store, 30 * HOUR_MS);
    look(&store);
}

#[test]
fn a_backfill_of_half_a_century_makes_tens_of_files() {
    let world = World::new();
    let now_ms = 20_400 * 24 * HOUR_MS;
    world.clock.0.store(now_ms, Ordering::Relaxed);
    let store = world.open();
    let series = store.series(&labels("m1", "a")).expect("series");
    let days = (0..20_000_i64).step_by(25);
    let ascending: Vec<BatchSample> = days.clone().map(|day| float(series, day * 24 * HOUR_MS + 5000, day as f64)).collect();
    for part in ascending.chunks(300) {
        let appended = store.append_samples(None, part, Durability::Written).expect("appends");
        assert_eq!(appended.stored, part.len() as u64);
        store.flush_head().expect("cuts");
    }
    let late: Vec<BatchSample> = days.map(|day| float(series, day * 24 * HOUR_MS + 1000, -1.0)).collect();
    assert_eq!(store.append_samples(None, &late, Durability::Written).expect("appends").stored, late.len() as u64);
    store.flush_head().expect("cuts");
    let look = |store: &Store| {
        let found = read(store, &Matcher::equal("__name__", "m1"), ALL);
        assert_eq!(found[0].1.len(), 1600);
        assert!(found[0].1.is_sorted_by_key(|(at_ms, _)| *at_ms));
    };
    assert!(world.blocks() < 60, "{}", world.blocks());
    look(&store);
    store.compact_all().expect("compacts");
    assert!(world.blocks() <= 21, "{}", world.blocks());
    look(&store);
    drop(store);
    look(&world.open());
}

#[test]
fn type_and_unit_of_a_metric_lie_in_its_blocks() {
    use crate::model::metadata::{Metadata, MetricType};
    let world = World::new();
    let store = world.open();
    let known = Metadata { metric_type: MetricType::Counter, help: "Helps.".to_owned(), unit: "bytes".to_owned() };
    store.note_metadata("m1", &known);
    scrape(&store, 0, HOUR_MS);
    store.flush_head().expect("cuts");
    let look = |store: &Store| {
        let mut found = Vec::new();
        for block in store.blocks() {
            let index = block.index().expect("an index");
            let visited = index.visit_all(0..block.header.series, |_, pairs, about, _| {
                found.extend((about.kind != 0).then(|| {
                    let name = pairs.iter().map(|pair| index.pair_text(*pair)).find(|(name, _)| *name == "__name__");
                    (name.map(|(_, value)| value.to_owned()), about.kind, index.unit(about).to_owned())
                }));
            });
            assert!(visited.is_some());
        }
        found.dedup();
        assert_eq!(found, [(Some("m1".to_owned()), 1, "bytes".to_owned())]);
    };
    look(&store);
    world.compact(&store, 30 * HOUR_MS);
    assert_eq!(world.blocks(), 1);
    look(&store);
}

#[test]
fn the_newest_word_on_a_time_wins_before_and_after_merging() {
    let world = World::new();
    let store = world.open();
    scrape(&store, 0, HOUR_MS);
    store.flush_head().expect("cuts");
    let series = store.series(&labels("m1", "a")).expect("series");
    let look = |store: &Store, expected: f64| {
        let found = read(store, &Matcher::equal("__name__", "m1"), TimeRange { start_ms: 60_000, end_ms: 60_000 });
        assert_eq!(found[0].1, [(60_000, expected)]);
    };
    for word in [-1.0, -2.0] {
        let stored = store.append_samples(None, &[float(series, 60_000, word)], Durability::Synced).expect("appends").stored;
        assert_eq!(stored, 1);
        look(&store, word);
        store.flush_head().expect("cuts");
        look(&store, word);
        if word > -2.0 {
            world.compact(&store, 3 * HOUR_MS);
            look(&store, word);
        }
    }
    world.compact(&store, 30 * HOUR_MS);
    assert_eq!(world.blocks(), 1);
    look(&store, -2.0);
}

#[test]
fn values_of_a_label_are_counted_in_head_and_blocks() {
    let world = World::new();
    let store = world.open();
    scrape(&store, 0, HOUR_MS);
    store.flush_head().expect("cuts");
    let count = |store: &Store, label: &str| store.cardinality_of(label, 0, 3).expect("counts");
    for again in [false, true] {
        let store = if again {
            store.close().expect("closes");
            world.open()
        } else {
            store.clone()
        };
        let store = &store;
        assert_eq!(count(store, "job").values, [("node".to_owned(), 8)]);
        let names = count(store, "__name__");
        assert_eq!((names.all_values, names.values.len()), (8, 3));
        assert_eq!(count(store, "nothing").all_values, 0);
    }
}
