//! What survives: `kill -9`, power cuts after any change of the disk, failing syncs, full disks.

use super::{ALL, labels, read};
use crate::env::Env;
use crate::env::crash_disk::CrashDisk;
use crate::model::matcher::Matcher;
use crate::storage::append::{Append as _, BatchSample, BatchValue, Durability, SeriesId};
use crate::storage::{Store, StoreError, StoreOptions};
use crate::telemetry::metrics::Registry;
use std::collections::BTreeMap;
use std::sync::Arc;

fn try_open(disk: &CrashDisk) -> Result<Store, StoreError> {
    let env = Env { disk: Arc::new(disk.clone()), ..Env::real() };
    let options = StoreOptions { dir: "data".into(), retention_ms: 0, out_of_order_window_ms: 60_000, ..StoreOptions::default() };
    Store::open(&env, options, &Registry::new())
}

type Points = BTreeMap<(String, i64), f64>;

/// What was offered, and what of it was acknowledged how.
#[derive(Default)]
struct Told {
    offered: Points,
    written: Points,
    synced: Points,
    /// Whether the head is cut and blocks are merged on the way.
    cuts: bool,
}

/// Scrapes of two targets whose layout changes, and pushes that wait for the disk, some of them late.
fn work(store: &Store, told: &mut Told, from: i64, rounds: i64) {
    let series = |name: String| store.series(&labels(&name, "a"));
    for round in from..from + rounds {
        let at_ms = 1_000_000 + round * 15_000;
        for target in 0..2 {
            let Ok(group) = store.group(&format!("scrape/{target}")) else { return };
            let places: Vec<i64> = (0..5 + round % 3).collect();
            let name = |place: &i64| format!("t{target}_{place}");
            let Ok(layout) = places.iter().map(|place| series(name(place))).collect::<Result<Arc<[SeriesId]>, _>>() else {
                return;
            };
            let value = |place: &i64| (round / (1 + place)) as f64 * 0.5;
            let values: Vec<f64> = places.iter().map(value).collect();
            let points = || places.iter().map(|place| ((name(place), at_ms), value(place)));
            told.offered.extend(points());
            if store.append_row(group, at_ms, &layout, &values).is_ok() {
                told.written.extend(points());
            }
        }
        let late_ms = if round % 4 == 3 { at_ms - 20_000 } else { at_ms };
        let names: Vec<String> = (0..4).map(|place| format!("p{place}")).collect();
        let batch: Result<Vec<BatchSample>, _> = names
            .iter()
            .map(|name| Ok(BatchSample { series: series(name.clone())?, at_ms: late_ms, value: BatchValue::Float(round as f64) }))
            .collect::<Result<_, crate::storage::append::AppendError>>();
        let Ok(batch) = batch else { return };
        let points = || names.iter().map(|name| ((name.clone(), late_ms), round as f64));
        told.offered.extend(points());
        if store.append_samples(None, &batch, Durability::Synced).is_ok() {
            told.synced.extend(points());
            told.written.extend(points());
        }
        // What fails here is tried again by the keeper, and nothing may be lost by it.
        if told.cuts && round % 3 == 2 && (store.flush_head().is_err() || store.compact().is_err()) {
            continue;
        }
    }
}

fn everything(store: &Store) -> Points {
    let mut found = Points::new();
    for (name, points) in read(store, &Matcher::equal("job", "node"), ALL) {
        for (at_ms, value) in points {
            assert_eq!(found.insert((name.clone(), at_ms), value), None, "{name} at {at_ms} twice");
        }
    }
    found
}

fn check(found: &Points, must: &Points, may: &Points, told: &str) {
    for (key, value) in must {
        assert_eq!(found.get(key), Some(value), "acknowledged and lost: {key:?}, {told}");
    }
    for (key, value) in found {
        assert_eq!(may.get(key), Some(value), "never offered: {key:?}, {told}");
    }
}

#[test]
fn kill_9_loses_nothing() {
    let mut disk = CrashDisk::new();
    let mut told = Told { cuts: true, ..Told::default() };
    for life in 0..4 {
        let store = try_open(&disk).expect("opens");
        check(&everything(&store), &told.written, &told.written, &format!("life {life}"));
        work(&store, &mut told, life * 7, 7);
        check(&everything(&store), &told.written, &told.written, "alive");
        disk = disk.after_kill();
    }
}

#[test]
fn a_second_server_is_refused() {
    let disk = CrashDisk::new();
    let store = try_open(&disk).expect("opens");
    assert!(matches!(try_open(&disk), Err(StoreError::InUse(_))));
    store.close().expect("closes");
    drop(try_open(&disk).expect("opens"));
}

#[test]
fn a_power_cut_after_any_change_loses_no_acknowledged_sample() {
    // With real threads; the crash table and the random histories stop at every change.
    for stop in (0..220).step_by(3).chain((220..500).step_by(21)) {
        let disk = CrashDisk::new();
        let mut told = Told { cuts: true, ..Told::default() };
        disk.stop_after(stop);
        if let Ok(store) = try_open(&disk) {
            work(&store, &mut told, 0, 8);
        }
        for seed in 0..4 {
            let after = disk.after_power_cut(stop * 31 + seed);
            let store = try_open(&after).expect("opens after a power cut");
            let context = format!("stop {stop}, seed {seed}");
            check(&everything(&store), &told.synced, &told.offered, &context);
            // What comes next must fit what was found.
            let mut more = Told { offered: told.offered.clone(), synced: told.synced.clone(), ..Told::default() };
            work(&store, &mut more, 10, 2);
            drop(store);
            let again = try_open(&after.after_kill()).expect("opens again");
            check(&everything(&again), &more.synced, &more.offered, &context);
        }
    }
}

#[test]
fn a_failed_sync_is_told_and_never_believed() {
    let disk = CrashDisk::new();
    let store = try_open(&disk).expect("opens");
    let mut told = Told::default();
    work(&store, &mut told, 0, 3);
    disk.fail_syncs(Some("wal"));
    let series = store.series(&labels("p0", "a")).expect("series");
    let push = |at_ms| {
        let sample = BatchSample { series, at_ms, value: BatchValue::Float(1.0) };
        store.append_samples(None, &[sample], Durability::Synced)
    };
    assert!(push(5_000_000).is_err());
    disk.fail_syncs(None);
    assert!(store.failure().is_some());
}

#[test]
fn a_full_disk_stops_the_log_but_not_the_head() {
    let disk = CrashDisk::new();
    let store = try_open(&disk).expect("opens");
    let mut told = Told::default();
    work(&store, &mut told, 0, 3);
    disk.set_room(Some(10));
    let mut unsafe_told = Told::default();
    work(&store, &mut unsafe_told, 3, 2);
    assert!(unsafe_told.synced.is_empty(), "pushed samples are refused");
    assert_eq!(unsafe_told.written.len(), 22, "scrapes go on in memory");
    assert!(store.failure().is_some());
    disk.set_room(None);
    let all: Points = told.written.iter().chain(&unsafe_told.offered).map(|(key, value)| (key.clone(), *value)).collect();
    check(&everything(&store), &unsafe_told.written, &all, "alive");
    let after = try_open(&disk.after_kill()).expect("opens");
    check(&everything(&after), &told.written, &all, "after");
}

#[test]
fn damage_in_the_middle_goes_to_quarantine_and_the_rest_is_served() {
    use crate::env::disk::{Disk as _, Open};
    use std::path::Path;
    let disk = CrashDisk::new();
    let mut told = Told::default();
    let store = try_open(&disk).expect("opens");
    work(&store, &mut told, 0, 10);
    drop(store);
    let after = disk.after_kill();
    let path = Path::new("data/wal/00000001.log");
    let length = after.read(path).expect("reads").len() as u64;
    let file = after.open(path, Open::Write).expect("opens");
    file.write_at(&[0x55; 16], length / 2).expect("writes");
    let store = try_open(&after).expect("opens");
    let found = everything(&store);
    check(&found, &Points::new(), &told.offered, "damaged");
    assert!(found.len() > told.written.len() / 3, "{} of {}", found.len(), told.written.len());
    let reason = after.read(Path::new("data/quarantine/wal-00000001.log.txt")).expect("a reason");
    assert!(String::from_utf8_lossy(&reason).contains("are no record"));
}

#[test]
fn another_format_is_refused() {
    use crate::env::disk::Disk as _;
    let disk = CrashDisk::new();
    drop(try_open(&disk).expect("opens"));
    let after = disk.after_kill();
    after.replace(std::path::Path::new("data/FORMAT"), b"watchkeeper-store 2\n").expect("writes");
    let error = try_open(&after).expect_err("refused");
    assert_eq!(error.to_string(), r#"data/FORMAT holds format "watchkeeper-store 2", this program reads "watchkeeper-store 1""#);
}
