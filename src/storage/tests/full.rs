//! A full disk, and the two promises: what is kept in memory, what is refused, what is acknowledged, and how it goes on.

use super::{ALL, float, labels, read};
use crate::env::crash_disk::CrashDisk;
use crate::env::{Disk as _, Env};
use crate::model::matcher::Matcher;
use crate::storage::append::{Append as _, AppendError, Durability, GroupId, SeriesId};
use crate::storage::{Store, StoreOptions};
use crate::telemetry::metrics::Registry;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const RESERVE: u64 = 64 << 10;

struct World {
    disk: CrashDisk,
    registry: Registry,
    store: Store,
    group: GroupId,
    series: Arc<[SeriesId]>,
    rows: i64,
}

fn options() -> StoreOptions {
    StoreOptions { dir: "data".into(), retention_ms: 0, reserve_bytes: RESERVE, ..StoreOptions::default() }
}

fn world_on(disk: CrashDisk, options: StoreOptions) -> World {
    let env = Env { disk: Arc::new(disk.clone()), ..Env::real() };
    let registry = Registry::new();
    let store = Store::open(&env, options, &registry).expect("opens");
    let group = store.group("scrape/node/a").expect("group");
    let series = (0..50).map(|i| store.series(&labels(&format!("m{i:02}"), "a")).expect("series")).collect();
    World { disk, registry, store, group, series, rows: 0 }
}

impl World {
    fn row(&mut self) -> Result<(), AppendError> {
        let values: Vec<f64> = (0..50).map(|i| f64::from(i) + self.rows as f64 * 1.1).collect();
        self.store.append_row(self.group, self.rows * 1000, &self.series, &values)?;
        self.rows += 1;
        Ok(())
    }

    fn push(&self, at_ms: i64, durability: Durability) -> Result<(), AppendError> {
        let series = self.store.series(&labels("pushed", "a"))?;
        self.store.append_samples(None, &[float(series, at_ms, 1.0)], durability).map(|_| ())
    }

    fn gauge(&self, name: &str) -> bool {
        self.registry.gauge(name, "", &[]).get() > 0.5
    }

    fn reserve(&self) -> Option<u64> {
        self.disk.stat(Path::new("data/RESERVE")).expect("stat").map(|entry| entry.bytes)
    }

    /// Scrapes until the log does not take it any more.
    fn fill(&mut self) {
        while !self.gauge("watchkeeper_tsdb_wal_failed") {
            self.row().expect("is kept");
            assert!(self.rows < 100_000);
        }
    }
}

fn rows_of(store: &Store) -> usize {
    read(store, &Matcher::equal("__name__", "m07"), ALL).first().map_or(0, |(_, points)| points.len())
}

/// Looks again and again, for at most so long.
fn wait_until(what: &str, bound: Duration, mut look: impl FnMut() -> bool) {
    let clock = Env::real().clock;
    while !look() {
        assert!(clock.monotonic() < bound, "waited {bound:?} in vain for {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

#[test]
fn a_full_disk_stops_neither_reading_nor_scraping_nor_the_alert_about_it() {
    let mut world = world_on(CrashDisk::new(), options());
    world.row().expect("appends");
    world.push(0, Durability::Synced).expect("is acknowledged");
    assert_eq!((world.reserve(), world.gauge("watchkeeper_tsdb_disk_full")), (Some(RESERVE), false));
    world.disk.set_room(Some(20_000));
    world.fill();
    assert!(world.gauge("watchkeeper_tsdb_disk_full"));
    assert_eq!(world.reserve(), None, "given up for others");
    world.row().expect("scrapes are kept");
    assert_eq!(rows_of(&world.store) as i64, world.rows, "reading goes on");
    for durability in [Durability::Written, Durability::Synced] {
        assert!(matches!(world.push(1000, durability), Err(AppendError::Log(_))), "{durability:?}");
    }
    // Silences, the notification log and mails have the reserve for themselves, whatever is scraped meanwhile.
    for kilobytes in 1..40 {
        world.row().expect("scrapes are kept");
        let mail = vec![b'x'; kilobytes << 10];
        world.disk.replace(Path::new("data/outbox.eml"), &mail[..1 << 10]).expect("there is room");
    }
    assert!(world.store.failure().is_some());

    let clock = Env::real().clock;
    world.disk.set_room(None);
    wait_until("writing to resume", Duration::from_secs(20), || world.push(2000, Durability::Synced).is_ok());
    // A second on a quiet machine; tests share theirs.
    assert!(clock.monotonic() < Duration::from_secs(5), "{:?}", clock.monotonic());
    assert_eq!(world.reserve(), Some(RESERVE), "and is there again");
    assert!(!world.gauge("watchkeeper_tsdb_disk_full") && !world.gauge("watchkeeper_tsdb_wal_failed"));
    assert_eq!(world.store.failure(), None);
    // What was in memory alone is in blocks: it survives even the power.
    world.row().expect("appends");
    world.push(3000, Durability::Synced).expect("is acknowledged");
    for seed in 0..5 {
        let again = world_on(world.disk.after_power_cut(seed), options());
        assert_eq!(rows_of(&again.store) as i64, world.rows, "seed {seed}");
        let pushed = read(&again.store, &Matcher::equal("__name__", "pushed"), ALL);
        assert_eq!(pushed[0].1, [(0, 1.0), (2000, 1.0), (3000, 1.0)]);
    }
}

#[test]
fn memory_without_a_log_has_a_bound() {
    let mut world = world_on(CrashDisk::new(), StoreOptions { unlogged_samples_max: 1000, ..options() });
    world.disk.set_room(Some(20_000));
    world.fill();
    let before = world.rows;
    while world.row().is_ok() {
        assert!(world.rows < before + 100);
    }
    assert_eq!(world.rows - before, 20);
    assert!(world.row().expect_err("is refused").to_string().contains("in memory alone, more are not kept"));
    world.disk.set_room(None);
    wait_until("scrapes to be taken", Duration::from_secs(20), || world.row().is_ok());
}

#[test]
fn a_server_starts_on_a_full_disk_and_serves_what_it_has() {
    let mut world = world_on(CrashDisk::new(), options());
    for _ in 0..10 {
        world.row().expect("appends");
    }
    world.store.close().expect("closes");
    let disk = world.disk.after_kill();
    disk.set_room(Some(100));
    let mut world = World { rows: 10, ..world_on(disk, options()) };
    assert!(world.gauge("watchkeeper_tsdb_disk_full") && world.reserve().is_none());
    assert_eq!(rows_of(&world.store), 10);
    world.row().expect("scrapes are kept");
    assert!(world.push(0, Durability::Synced).is_err());
    world.disk.set_room(None);
    wait_until("writing to resume", Duration::from_secs(20), || world.push(0, Durability::Synced).is_ok());
    assert_eq!(rows_of(&world.store), 11);
}

#[test]
fn a_failed_cut_leaves_no_files_behind() {
    let mut world = world_on(CrashDisk::new(), StoreOptions { housekeeping: false, ..options() });
    for _ in 0..4000 {
        world.row().expect("appends");
    }
    world.push(200_000_000_000, Durability::Synced).expect("is acknowledged");
    let files = || {
        let entries = world.disk.list(Path::new("data/blocks")).expect("lists");
        entries.into_iter().map(|entry| entry.name).collect::<Vec<_>>()
    };
    for room in [100, 10_000, 60_000, 120_000] {
        world.disk.set_room(Some(room));
        if world.store.flush_head().is_err() {
            assert_eq!(files(), Vec::<String>::new(), "with room for {room} bytes");
        }
    }
    world.disk.set_room(None);
    world.store.flush_head().expect("cuts");
    assert_eq!(rows_of(&world.store), 4000);
    assert!(files().len() >= 2);
}

#[test]
fn written_and_acknowledged_are_two_promises() {
    for sync in [false, true] {
        let world = world_on(CrashDisk::new(), StoreOptions { sync, housekeeping: false, ..options() });
        world.push(0, Durability::Synced).expect("is acknowledged");
        world.disk.fail_syncs(Some("wal"));
        let told = world.push(1000, Durability::Synced);
        assert_eq!(told.is_ok(), !sync, "`written` does not wait for the disk, `acknowledged` does");
        let again = world_on(world.disk.after_kill(), StoreOptions { housekeeping: false, ..options() });
        let found = read(&again.store, &Matcher::equal("__name__", "pushed"), ALL);
        assert_eq!(found[0].1, [(0, 1.0), (1000, 1.0)], "`kill -9` loses neither");
        if sync {
            for seed in 0..20 {
                let again = world_on(world.disk.after_power_cut(seed), StoreOptions { housekeeping: false, ..options() });
                let found = read(&again.store, &Matcher::equal("__name__", "pushed"), ALL);
                assert_eq!(found[0].1[0], (0, 1.0), "what was acknowledged survives the power");
            }
        }
    }
}
