//! The design's crash table, line by line: the process dies, or the power goes, after each single change of the disk that
//! the line is about; then the store is opened again. No acknowledged sample missing, none twice, none invented. Each test
//! also proves that the state its line names was met.

use super::labels;
use super::model::{Level, Model, Sample};
use crate::env::clock::StillClock;
use crate::env::crash_disk::CrashDisk;
use crate::env::disk::{Disk as _, Open};
use crate::env::random::SeededRandom;
use crate::env::{Clock as _, Env, Tasks};
use crate::model::matcher::Matcher;
use crate::storage::append::{Append as _, AppendError, BatchSample, BatchValue, Durability, SeriesId};
use crate::storage::follow::kept::Kept;
use crate::storage::reserve::Reserve;
use crate::storage::select::TimeRange;
use crate::storage::wal::segment::{End, LOG_MAGIC, Records, read_header};
use crate::storage::{Store, StoreOptions};
use crate::telemetry::metrics::Registry;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const START_MS: i64 = 1_700_000_000_000;

/// A store in a world that stands still, and what was promised about it.
struct Scene {
    disk: CrashDisk,
    clock: Arc<StillClock>,
    store: Store,
    model: Model,
}

fn open(disk: &CrashDisk, clock: &Arc<StillClock>) -> Store {
    let env = Env {
        disk: Arc::new(disk.clone()),
        clock: Arc::clone(clock) as _,
        random: Arc::new(SeededRandom::new(disk.changes())),
        tasks: Tasks::still(),
        ..Env::real()
    };
    let options = StoreOptions { dir: "data".into(), retention_ms: 0, ..StoreOptions::default() };
    Store::open(&env, options, &Registry::new()).expect("opens")
}

impl Scene {
    fn new() -> Self {
        let (disk, clock) = (CrashDisk::new(), Arc::new(StillClock::starting_at(START_MS)));
        let store = open(&disk, &clock);
        Self { disk, clock, store, model: Model::default() }
    }

    fn offer(&mut self, name: &str, at_ms: i64, value: f64, promise: Option<Level>) {
        let level = promise.filter(|_| !self.disk.is_off()).unwrap_or(Level::Offered);
        self.model.offer(&(name.to_owned(), at_ms), &Sample::Float(value.to_bits()), level);
    }

    /// Pushes some series at the present time and waits for the disk.
    fn push(&mut self, first: usize, count: usize) -> bool {
        self.clock.advance(15_000);
        let at_ms = self.clock.now_ms();
        let names: Vec<String> = (first..first + count).map(|place| format!("p{place}")).collect();
        let told = || {
            let sample = |name: &String| {
                let series = self.store.series(&labels(name, "a"))?;
                Ok(BatchSample { series, at_ms, value: BatchValue::Float(at_ms as f64) })
            };
            let batch = names.iter().map(sample).collect::<Result<Vec<_>, AppendError>>()?;
            self.store.append_samples(None, &batch, Durability::Synced)
        };
        let told = told().is_ok();
        for name in names {
            self.offer(&name, at_ms, at_ms as f64, told.then_some(Level::Synced));
        }
        told
    }

    /// Scrapes a target; `Written` while the log works.
    fn scrape(&mut self) {
        self.clock.advance(15_000);
        let at_ms = self.clock.now_ms();
        let names: Vec<String> = (0..5).map(|place| format!("s{place}")).collect();
        let told = || {
            let group = self.store.group("scrape/a")?;
            let layout: Arc<[SeriesId]> =
                names.iter().map(|name| self.store.series(&labels(name, "a"))).collect::<Result<_, _>>()?;
            self.store.append_row(group, at_ms, &layout, &[at_ms as f64; 5])
        };
        let told = told().is_ok();
        let level = if self.store.failure().is_some() { Level::Memory } else { Level::Written };
        for name in names {
            self.offer(&name, at_ms, at_ms as f64, told.then_some(level));
        }
    }

    fn cut(&mut self) {
        if self.store.flush_head().is_ok() && !self.disk.is_off() {
            self.model.all_in_blocks();
        }
    }
}

fn files(disk: &CrashDisk, folder: &str, ending: &str) -> Vec<PathBuf> {
    let folder = Path::new("data").join(folder);
    let entries = disk.list(&folder).unwrap_or_default();
    entries.iter().filter(|entry| entry.name.ends_with(ending)).map(|entry| folder.join(&entry.name)).collect()
}

/// Returns how each log segment ends.
fn ends(disk: &CrashDisk) -> Vec<(usize, End)> {
    let paths = files(disk, "wal", ".log");
    let end = |path: &PathBuf| {
        let bytes = disk.read(path).ok()?;
        let number = read_header(LOG_MAGIC, &bytes).ok()?;
        let mut records = Records::new(&bytes, number);
        let count = records.by_ref().count();
        Some((count, records.end()))
    };
    paths.iter().filter_map(end).collect()
}

/// Stops after each single change that `act` makes, by `kill -9` and by power cuts, and opens again. Returns in how many of
/// the worlds the state was met that `met` looks for.
fn sweep(prepare: impl Fn(&mut Scene), act: impl Fn(&mut Scene), met: impl Fn(&CrashDisk) -> bool) -> usize {
    let mut count = 0;
    for stop in 0.. {
        let mut scene = Scene::new();
        prepare(&mut scene);
        scene.disk.stop_after(stop);
        act(&mut scene);
        let is_whole = !scene.disk.is_off();
        let kill = (Level::Written, scene.disk.after_kill());
        let cuts = (0..5).map(|seed| (Level::Synced, scene.disk.after_power_cut(stop * 16 + seed)));
        for (number, (level, disk)) in std::iter::once(kill).chain(cuts).enumerate() {
            let context = format!("stopped after {stop} changes, world {number}");
            count += usize::from(met(&disk));
            let store = open(&disk, &scene.clock);
            let found = scene.model.check(&store, level, i64::MIN, &context);
            assert!(files(&disk, "", ".tmp").is_empty() && files(&disk, "blocks", ".tmp").is_empty(), "{context}");
            assert!(files(&disk, "quarantine", "").is_empty(), "nothing was damaged, {context}");
            let mut after = Scene { disk, clock: Arc::clone(&scene.clock), store, model: scene.model.clone() };
            after.model.settle(&found, level == Level::Synced, i64::MIN);
            assert!(after.push(0, 3), "{context}");
            after.cut();
            let disk = after.disk.after_power_cut(stop);
            after.model.check(&open(&disk, &scene.clock), Level::Synced, i64::MIN, &context);
        }
        if is_whole {
            return count;
        }
    }
    count
}

fn some_rows(scene: &mut Scene) {
    scene.push(0, 4);
    scene.scrape();
    scene.push(0, 4);
}

/// Two finished half hours as blocks, time for merging them.
fn two_blocks(scene: &mut Scene) {
    some_rows(scene);
    scene.cut();
    scene.clock.advance(31 * 60_000);
    some_rows(scene);
    scene.cut();
    scene.clock.advance(4 * 3_600_000);
}

#[test]
fn log_append_leaves_a_torn_last_record_which_is_cut() {
    let torn = |disk: &CrashDisk| ends(disk).iter().any(|(_, end)| matches!(end, End::Torn(_)));
    assert!(sweep(some_rows, some_rows, torn) > 0);
}

#[test]
fn names_append_then_log_append_leaves_names_that_nobody_uses() {
    let unused = |disk: &CrashDisk| {
        let names = files(disk, "names", ".log").first().and_then(|path| disk.read(path).ok()).unwrap_or_default();
        let rows: usize = ends(disk).iter().map(|(count, _)| count).sum();
        // The names of the push that did not get further; the scrape's names are there before.
        names.windows(3).any(|text| text == b"p10") && rows <= 3
    };
    let newcomers = |scene: &mut Scene| {
        scene.push(10, 4);
    };
    assert!(sweep(some_rows, newcomers, unused) > 0);
}

#[test]
fn block_write_leaves_a_tmp_that_is_removed_and_the_log_has_everything() {
    assert!(sweep(some_rows, Scene::cut, |disk| !files(disk, "blocks", ".tmp").is_empty()) > 0);
}

#[test]
fn block_rename_leaves_rows_in_block_and_log_and_none_comes_twice() {
    let both = |disk: &CrashDisk| !files(disk, "blocks", ".blk").is_empty() && ends(disk).iter().any(|(count, _)| *count > 0);
    assert!(sweep(some_rows, Scene::cut, both) > 0);
}

#[test]
fn dropping_old_segments_leaves_nothing_to_do() {
    let dropped = |disk: &CrashDisk| !files(disk, "blocks", ".blk").is_empty() && ends(disk).iter().all(|(count, _)| *count == 0);
    assert!(sweep(some_rows, Scene::cut, dropped) > 0);
}

#[test]
fn compaction_leaves_child_and_parents_and_the_parents_are_removed() {
    let all = |disk: &CrashDisk| files(disk, "blocks", ".blk").len() == 3;
    let merge = |scene: &mut Scene| drop(scene.store.compact());
    assert!(sweep(two_blocks, merge, all) > 0);
}

#[test]
fn a_block_that_was_deleted_whole_goes_before_its_tombstones() {
    let delete = |scene: &mut Scene| {
        some_rows(scene);
        scene.cut();
        let range = TimeRange { start_ms: i64::MIN, end_ms: i64::MAX };
        scene.store.delete_series(&[Matcher::equal("job", "node")], range).expect("deletes");
        scene.model.delete(|_| true, true);
    };
    let orphan = |disk: &CrashDisk| files(disk, "blocks", ".blk").is_empty() && !files(disk, "blocks", ".del").is_empty();
    let clean = |scene: &mut Scene| drop(scene.store.clean_tombstones());
    assert!(sweep(delete, clean, orphan) > 0);
}

#[test]
fn an_unreadable_child_goes_to_quarantine_and_its_parents_are_used() {
    let mut met = 0;
    for stop in 0..60 {
        let mut scene = Scene::new();
        two_blocks(&mut scene);
        let parents = files(&scene.disk, "blocks", ".blk");
        scene.disk.stop_after(stop);
        drop(scene.store.compact());
        let disk = scene.disk.after_kill();
        let blocks = files(&disk, "blocks", ".blk");
        let Some(child) = blocks.iter().find(|path| !parents.contains(*path)).filter(|_| blocks.len() == 3) else { continue };
        met += 1;
        let length = disk.read(child).expect("reads").len() as u64;
        // Header and footer have copies; without both footers nothing can be found.
        for (at, bytes, readable) in [(20, 1, true), (length - 3, 1, true), (length - 400, 400, false)] {
            let disk = scene.disk.after_kill();
            let file = disk.open(child, Open::Write).expect("opens");
            file.write_at(&vec![0x55; bytes], at).expect("writes");
            let store = open(&disk, &scene.clock);
            scene.model.check(&store, Level::Synced, i64::MIN, &format!("stop {stop}, byte {at}"));
            let kept = files(&disk, "quarantine", ".blk");
            assert_eq!(kept.len(), usize::from(!readable));
            assert_eq!(files(&disk, "quarantine", ".txt").len(), kept.len(), "with the reason");
            let expected = if readable { vec![child.clone()] } else { parents.clone() };
            assert_eq!(files(&disk, "blocks", ".blk"), expected);
        }
    }
    assert!(met > 0);
}

#[test]
fn an_error_of_fsync_closes_the_segment_and_its_rows_are_rewritten() {
    let mut scene = Scene::new();
    some_rows(&mut scene);
    scene.scrape();
    scene.disk.fail_syncs(Some("wal"));
    assert!(!scene.push(0, 4), "refused");
    scene.disk.fail_syncs(None);
    // What the failed sync dropped never comes to the disk by another sync.
    assert!(!scene.push(0, 4), "what the log lost is not safe yet");
    assert!(scene.store.failure().is_some());
    scene.scrape();
    let suspect = ends(&scene.disk).len();
    scene.store.keep_once(&mut 0).expect("writes the head to blocks");
    scene.model.all_in_blocks();
    scene.clock.advance(1_000);
    scene.store.keep_once(&mut 0).expect("again, once the log works");
    assert_eq!(scene.store.failure(), None);
    assert!(scene.push(0, 4), "taken again");
    assert!(suspect > 0 && !files(&scene.disk, "blocks", ".blk").is_empty());
    for seed in 0..20 {
        let disk = scene.disk.after_power_cut(seed);
        scene.model.check(&open(&disk, &scene.clock), Level::Synced, i64::MIN, &format!("power cut {seed}"));
    }
}

#[test]
fn a_full_disk_refuses_pushes_keeps_scrapes_in_memory_and_mends_itself() {
    for room in [0, 10, 100, 300] {
        let mut scene = Scene::new();
        some_rows(&mut scene);
        scene.disk.set_room(Some(room));
        for _ in 0..10 {
            scene.scrape();
        }
        assert!(!scene.push(0, 4), "refused with {room} bytes left");
        scene.model.check(&scene.store, Level::Memory, i64::MIN, "reads go on");
        scene.disk.set_room(None);
        scene.clock.advance(1_000);
        assert!(scene.store.failure().is_some(), "not safe before the head is saved");
        scene.store.keep_once(&mut 0).expect("saves the head");
        scene.model.all_in_blocks();
        assert_eq!(scene.store.failure(), None);
        assert!(scene.push(0, 4), "taken again");
        for seed in 0..5 {
            let disk = scene.disk.after_power_cut(seed);
            scene.model.check(&open(&disk, &scene.clock), Level::Synced, i64::MIN, &format!("room {room}, power cut {seed}"));
        }
    }
}

#[test]
fn a_record_that_went_with_anothers_failed_write_is_not_acknowledged() {
    use crate::storage::head::points::Point;
    use crate::storage::wal::Log;
    use crate::storage::wal::record::put_samples;
    use crate::storage::wal::replay::Replayed;
    let (disk, clock) = (CrashDisk::new(), Arc::new(StillClock::starting_at(START_MS)));
    for folder in ["data/wal", "data/names"] {
        disk.create_dir_all(Path::new(folder)).expect("a folder");
    }
    let env = Env { disk: Arc::new(disk.clone()), clock: Arc::clone(&clock) as _, tasks: Tasks::still(), ..Env::real() };
    let replayed = Replayed { next_segment: 1, ..Replayed::default() };
    let log = Log::open(
        &env,
        Path::new("data"),
        replayed,
        Reserve::new(&env, Path::new("data"), 0, 0),
        Kept::default(),
        &Registry::new(),
    )
    .expect("opens");
    log.write(5, |_segment, record| put_samples(record, &[Point { series: SeriesId(0), at_ms: 5, value: 1.0 }]));
    disk.fail_change(0);
    assert!(log.flush().is_err(), "another sender's turn");
    assert!(log.sync().is_err(), "nothing is left to write, and nothing was written");
    clock.advance(1_000);
    assert!(log.failure().is_some() && log.sync().is_err(), "the log works again, the record is in memory alone");
    log.saved(log.suspect().expect("something was lost"));
    assert!(log.sync().is_ok() && log.failure().is_none());
}
