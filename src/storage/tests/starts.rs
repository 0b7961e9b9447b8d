//! Start timestamps on their way: head, log, restart, blocks, merges.

use super::{ALL, float, labels, open};
use crate::env::memory_disk::MemoryDisk;
use crate::model::histogram::FloatHistogram;
use crate::model::matcher::Matcher;
use crate::storage::Store;
use crate::storage::append::{Append as _, BatchSample, BatchValue, Durability, SeriesId};
use crate::storage::select::{Hints, Querier as _};
use std::collections::BTreeMap;
use std::sync::Arc;

const DAY_MS: i64 = 86_400_000;

/// Start timestamps by metric and time; series without any are left out.
fn starts(store: &Store) -> BTreeMap<String, Vec<(i64, i64)>> {
    let selection = store.select(&[Matcher::equal("job", "node")], ALL, &Hints::default()).expect("selects");
    let read = selection.reader.read(0..selection.series.len()).expect("reads");
    let mut found = BTreeMap::new();
    for (series, samples) in selection.series.iter().zip(&read) {
        if let Some(starts) = &samples.starts {
            assert_eq!(starts.len(), samples.times.len());
            let told = samples.times.iter().copied().zip(starts.iter().copied());
            found.insert(series.labels.metric_name().to_owned(), told.collect());
        }
    }
    found
}

#[test]
fn start_timestamps_are_kept() {
    let disk = MemoryDisk::new();
    let mut store = open(&disk);
    let names = ["plain", "counter", "histogram", "mixed"];
    let series: Vec<SeriesId> = names.iter().map(|name| store.series(&labels(name, "a")).expect("series")).collect();
    let group = store.group("scrape/node/a").expect("group");
    let layout: Arc<[SeriesId]> = series[..2].into();
    let histogram = || BatchValue::Histogram(Arc::new(FloatHistogram { count: 1.0, ..FloatHistogram::default() }));
    let mut expected: BTreeMap<String, Vec<(i64, i64)>> = BTreeMap::new();
    for row in 0..6_i64 {
        let at_ms = DAY_MS + row * 15_000;
        let value = if row % 2 == 0 { BatchValue::Float(1.0) } else { histogram() };
        let batch =
            [BatchSample { series: series[2], at_ms, value: histogram() }, BatchSample { series: series[3], at_ms, value }];
        // Begun anew at the fourth; the last has none.
        let start_ms = [5_000, 5_000, 5_000, at_ms - 7, DAY_MS + 3 * 15_000 - 7, 0][row as usize];
        for (series, name) in series.iter().zip(names).skip(1) {
            store.note_start(*series, at_ms, start_ms);
            expected.entry(name.to_owned()).or_default().push((at_ms, start_ms));
        }
        store.append_row(group, at_ms, &layout, &[1.0, row as f64]).expect("appends");
        store.append_samples(None, &batch, Durability::Written).expect("appends");
    }
    assert_eq!(starts(&store), expected, "in the head");
    drop(store);
    store = open(&disk);
    assert_eq!(starts(&store), expected, "from the log");
    // A late sample, between the first two.
    store.note_start(series[1], DAY_MS + 9_000, 77);
    store.append_samples(None, &[float(series[1], DAY_MS + 9_000, 0.5)], Durability::Written).expect("appends");
    expected.entry("counter".to_owned()).or_default().insert(1, (DAY_MS + 9_000, 77));
    assert_eq!(starts(&store), expected, "late");
    store.flush_head().expect("cuts");
    assert_eq!(starts(&store), expected, "in blocks");
    store.compact_all().expect("compacts");
    assert_eq!(starts(&store), expected, "merged");
    store.close().expect("closes");
    assert_eq!(starts(&open(&disk)), expected, "after a stop");
}

#[test]
fn a_start_holds_over_a_cut_and_a_kill() {
    let disk = MemoryDisk::new();
    let mut store = open(&disk);
    let counter = store.series(&labels("counter", "a")).expect("series");
    let sample = |store: &Store, at_ms: i64| {
        store.note_start(counter, at_ms, 5_000);
        store.append_samples(None, &[float(counter, at_ms, 1.0)], Durability::Written).expect("appends");
    };
    sample(&store, DAY_MS);
    store.flush_head().expect("cuts");
    sample(&store, DAY_MS + 15_000);
    drop(store);
    store = open(&disk);
    assert_eq!(starts(&store)["counter"], [(DAY_MS, 5_000), (DAY_MS + 15_000, 5_000)]);
}
