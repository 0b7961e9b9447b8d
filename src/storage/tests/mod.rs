//! The store as a whole.

mod blocks;
mod churn;
mod codecs;
mod crash;
mod crash_table;
mod damage;
mod flips;
mod full;
mod golden;
mod model;
mod random;
mod starts;
mod tools;
mod versions;

use super::append::{Append as _, BatchSample, BatchValue, Durability, SeriesId};
use super::select::{Hints, Querier as _, TimeRange};
use super::{Store, StoreOptions};
use crate::env::Env;
use crate::env::memory_disk::MemoryDisk;
use crate::model::labels::Labels;
use crate::model::matcher::{MatchOp, Matcher};
use crate::telemetry::metrics::Registry;
use std::sync::Arc;

const ALL: TimeRange = TimeRange { start_ms: i64::MIN, end_ms: i64::MAX };

fn open(disk: &MemoryDisk) -> Store {
    let env = Env { disk: Arc::new(disk.clone()), ..Env::real() };
    let options = StoreOptions { dir: "data".into(), retention_ms: 0, out_of_order_window_ms: 60_000, ..StoreOptions::default() };
    Store::open(&env, options, &Registry::new()).expect("opens")
}

fn labels(name: &str, instance: &str) -> Labels {
    Labels::from_pairs([("__name__", name), ("instance", instance), ("job", "node")])
}

type Samples = Vec<(String, Vec<(i64, f64)>)>;

fn read(store: &Store, matcher: &Matcher, range: TimeRange) -> Samples {
    let hints = Hints { sorted: true, ..Hints::default() };
    let selection = store.select(std::slice::from_ref(matcher), range, &hints).expect("selects");
    let read = selection.reader.read(0..selection.series.len()).expect("reads");
    let points = |samples: &super::select::SeriesSamples| {
        samples.times.iter().enumerate().filter_map(|(i, at_ms)| Some((*at_ms, samples.float(i)?))).collect()
    };
    selection
        .series
        .iter()
        .zip(&read)
        .map(|(series, samples)| (series.labels.metric_name().to_owned(), points(samples)))
        .collect()
}

fn float(series: SeriesId, at_ms: i64, value: f64) -> BatchSample {
    BatchSample { series, at_ms, value: BatchValue::Float(value) }
}

#[test]
fn rows_go_in_and_come_out() {
    let store = open(&MemoryDisk::new());
    let group = store.group("scrape/node/a").expect("group");
    let names = ["m0", "m1", "m2"];
    let series: Arc<[SeriesId]> = names.iter().map(|name| store.series(&labels(name, "a")).expect("series")).collect();
    for row in 0..300 {
        let values = [1.5, f64::from(row), f64::from(row / 10) * 0.1];
        let appended = store.append_row(group, i64::from(row) * 15_000, &series, &values).expect("appends");
        assert_eq!(appended.stored, 3);
    }
    let all = Matcher::new(MatchOp::Regex, "__name__", "m.*").expect("pattern");
    let found = read(&store, &all, ALL);
    assert_eq!(found.len(), 3);
    for (place, (name, points)) in found.iter().enumerate() {
        assert_eq!(name, names[place]);
        assert_eq!(points.len(), 300);
    }
    assert_eq!(found[1].1[299], (299 * 15_000, 299.0));
    assert_eq!(found[2].1[15], (225_000, 0.1));
    let part = read(&store, &Matcher::equal("__name__", "m1"), TimeRange { start_ms: 30_000, end_ms: 60_000 });
    assert_eq!(part, [("m1".to_owned(), vec![(30_000, 2.0), (45_000, 3.0), (60_000, 4.0)])]);
}

#[test]
fn series_of_a_row_share_their_times() {
    let store = open(&MemoryDisk::new());
    let group = store.group("g").expect("group");
    let series: Arc<[SeriesId]> = (0..4).map(|i| store.series(&labels(&format!("m{i}"), "a")).expect("series")).collect();
    for row in 0..500 {
        let at_ms = i64::from(row) * 15_000;
        store.append_row(group, at_ms, &series, &[1.0, f64::from(row), 2.0, f64::from(row * 2)]).expect("appends");
    }
    let selection = store.select(&[Matcher::equal("job", "node")], ALL, &Hints::default()).expect("selects");
    let read = selection.reader.read(0..4).expect("reads");
    assert!(read.iter().all(|samples| Arc::ptr_eq(&samples.times, &read[0].times) && samples.len() == 500));
    let last =
        store.select(&[Matcher::equal("job", "node")], ALL, &Hints { last_only: true, ..Hints::default() }).expect("selects");
    let last = last.reader.read(0..4).expect("reads");
    assert_eq!(last.iter().map(|samples| samples.float(0)).collect::<Vec<_>>(), [1.0, 499.0, 2.0, 998.0].map(Some));
    assert!(last.iter().all(|samples| Arc::ptr_eq(&samples.times, &last[0].times)));
}

#[test]
fn repeated_conflicting_and_late_samples_are_answered_as_prometheus_does() {
    let store = open(&MemoryDisk::new());
    let group = store.group("g").expect("group");
    let series: Arc<[SeriesId]> = Arc::from([store.series(&labels("m", "a")).expect("series")]);
    let row = |at_ms, value| store.append_row(group, at_ms, &series, &[value]).expect("appends");
    assert_eq!(row(100_000, 1.0).stored, 1);
    assert_eq!(row(100_000, 1.0).stored, 1);
    assert_eq!(row(100_000, 2.0).duplicate, 1);
    assert_eq!(row(200_000, 2.0).stored, 1);
    assert_eq!(row(150_000, 3.0).stored, 1, "within the window of a minute");
    assert_eq!(row(100_000, 1.0).stored, 1, "the same again, though late");
    assert_eq!(row(110_000, 3.0).too_old, 1);
    let pushed = store.append_samples(None, &[float(series[0], 110_000, 4.0)], Durability::Written).expect("appends");
    assert_eq!(pushed.stored, 1, "retention alone bounds pushed samples");
    let found = read(&store, &Matcher::equal("__name__", "m"), ALL);
    assert_eq!(found[0].1, [(100_000, 1.0), (110_000, 4.0), (150_000, 3.0), (200_000, 2.0)]);
}

#[test]
fn pushed_samples_form_rows_whatever_their_order() {
    for by_series in [false, true] {
        let store = open(&MemoryDisk::new());
        let series: Vec<SeriesId> = (0..20).map(|i| store.series(&labels(&format!("m{i:02}"), "a")).expect("series")).collect();
        let mut samples = Vec::new();
        for at in 0..50_u32 {
            samples.extend(series.iter().map(|series| float(*series, i64::from(at) * 1000, f64::from(at * series.0))));
        }
        if by_series {
            samples.sort_by_key(|sample| (sample.series, sample.at_ms));
        }
        for request in samples.chunks(130) {
            let appended = store.append_samples(None, request, Durability::Written).expect("appends");
            assert_eq!(appended.stored, request.len() as u64, "{appended:?}");
        }
        assert_eq!(store.stats().groups, 1);
        let found = read(&store, &Matcher::equal("job", "node"), ALL);
        assert_eq!(found.len(), 20);
        for (number, (_, points)) in found.iter().enumerate() {
            let expected: Vec<_> = (0..50).map(|at| (i64::from(at) * 1000, f64::from(at * number as u32))).collect();
            assert_eq!(points, &expected);
        }
    }
}

#[test]
fn series_with_times_of_their_own_keep_all_samples() {
    let store = open(&MemoryDisk::new());
    let series: Vec<SeriesId> = (0..5).map(|i| store.series(&labels(&format!("m{i}"), "a")).expect("series")).collect();
    let mut expected = vec![Vec::new(); 5];
    for step in 0..200_i64 {
        for (place, series) in series.iter().enumerate() {
            let at_ms = step * 10_000 + (place as i64 * 7919 + step * 104_729) % 9000;
            expected[place].push((at_ms, step as f64));
            let appended =
                store.append_samples(None, &[float(*series, at_ms, step as f64)], Durability::Written).expect("appends");
            assert_eq!(appended.stored, 1);
        }
    }
    let found = read(&store, &Matcher::equal("job", "node"), ALL);
    assert_eq!(found.into_iter().map(|(_, points)| points).collect::<Vec<_>>(), expected);
}

#[test]
fn a_layout_may_change_and_hold_a_series_twice() {
    let store = open(&MemoryDisk::new());
    let group = store.group("g").expect("group");
    let series: Vec<SeriesId> = (0..3).map(|i| store.series(&labels(&format!("m{i}"), "a")).expect("series")).collect();
    let layout = |places: &[usize]| places.iter().map(|place| series[*place]).collect::<Arc<[SeriesId]>>();
    store.append_row(group, 1000, &layout(&[0, 1]), &[1.0, 2.0]).expect("appends");
    store.append_row(group, 2000, &layout(&[1, 2]), &[2.0, 3.0]).expect("appends");
    let doubled = store.append_row(group, 3000, &layout(&[2, 0, 2]), &[4.0, 1.0, 9.0]).expect("appends");
    assert_eq!((doubled.stored, doubled.duplicate), (2, 1));
    let found: Vec<_> = read(&store, &Matcher::equal("job", "node"), ALL).into_iter().map(|(_, points)| points).collect();
    assert_eq!(found, [vec![(1000, 1.0), (3000, 1.0)], vec![(1000, 2.0), (2000, 2.0)], vec![(2000, 3.0), (3000, 4.0)]]);
}

#[test]
fn label_names_and_values() {
    let store = open(&MemoryDisk::new());
    let series = ["x", "y"].map(|name| store.series(&labels(name, "a")).expect("series"));
    for series in series {
        store.append_samples(None, &[float(series, 5, 1.0)], Durability::Written).expect("appends");
    }
    assert_eq!(store.label_names(&[], ALL, 0).expect("names"), ["__name__", "instance", "job"]);
    assert_eq!(store.label_values("__name__", &[], ALL, 1).expect("values"), ["x"]);
    let only = vec![vec![Matcher::equal("__name__", "y")]];
    assert_eq!(store.label_values("__name__", &only, ALL, 0).expect("values"), ["y"]);
}
