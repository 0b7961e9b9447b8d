//! Snapshots, verification, export and import on whole stores.

use super::{ALL, float, labels, open, read};
use crate::env::memory_disk::MemoryDisk;
use crate::env::{Disk as _, Env};
use crate::model::exemplar::Exemplar;
use crate::model::histogram::{FloatHistogram, Span};
use crate::model::labels::Labels;
use crate::model::matcher::{MatchOp, Matcher};
use crate::model::metadata::{Metadata, MetricType};
use crate::storage::append::{Append as _, BatchSample, BatchValue, Durability, SeriesId};
use crate::storage::select::{Querier as _, TimeRange};
use crate::storage::transfer::export::{ExportOptions, Exported, export};
use crate::storage::transfer::import::{ImportError, Imported, import};
use crate::storage::verify::{Verified, verify};
use crate::storage::{Progress, Store, StoreError, StoreOptions};
use crate::telemetry::metrics::Registry;
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn env(disk: &MemoryDisk) -> Env {
    Env { disk: Arc::new(disk.clone()), ..Env::real() }
}

/// Opens a folder of the disk as a command does: nothing is merged meanwhile.
fn open_at(disk: &MemoryDisk, dir: &str) -> Store {
    let options = StoreOptions { dir: dir.into(), retention_ms: 0, housekeeping: false, ..StoreOptions::default() };
    Store::open(&env(disk), options, &Registry::new()).expect("opens")
}

fn everything() -> Matcher {
    Matcher::new(MatchOp::Regex, "__name__", ".*").expect("pattern")
}

/// Series of several kinds over three hours, a part in blocks, a part in the log.
fn filled(disk: &MemoryDisk) -> Store {
    let store = open_at(disk, "data");
    let group = store.group("scrape/node/a").expect("group");
    let series: Arc<[SeriesId]> = (0..40).map(|i| store.series(&labels(&format!("m{i:02}"), "a")).expect("series")).collect();
    let row = |at: i64| {
        let value = |i: usize| (at as f64 * (i as f64 + 1.0) * 0.37).sin() * 100.0;
        let values: Vec<f64> = (0..40).map(|i| if i % 3 == 0 { 7.0 } else { value(i) }).collect();
        store.append_row(group, at * 15_000, &series, &values).expect("appends");
    };
    (0..500).for_each(row);
    store.flush_head().expect("cuts");
    (500..700).for_each(row);
    let metadata = Metadata { metric_type: MetricType::Gauge, help: "Helps.".to_owned(), unit: String::new() };
    store.note_metadata("m00", &metadata);
    store
}

fn verified(disk: &MemoryDisk, dir: &str) -> Verified {
    verify(&env(disk), Path::new(dir), &Progress::default()).expect("verifies")
}

#[test]
fn a_snapshot_is_a_data_directory() {
    let disk = MemoryDisk::new();
    let store = filled(&disk);
    store.delete_series(&[Matcher::equal("__name__", "m01")], TimeRange { start_ms: 0, end_ms: 60_000 }).expect("deletes");
    disk.replace(Path::new("data/state.dump"), b"state").expect("writes");
    let name = store.snapshot(false).expect("snapshot");
    let expected = read(&store, &everything(), ALL);
    assert_eq!(expected.len(), 40);
    assert_eq!(expected[1].1.len(), 695);
    let group = store.group("later").expect("group");
    let late = [store.series(&labels("later", "a")).expect("series")];
    store.append_row(group, 90_000_000, &Arc::from(late), &[1.0]).expect("appends");
    let bare = store.snapshot(true).expect("snapshot");

    let folder = format!("data/snapshots/{name}");
    let found = verified(&disk, &folder);
    assert_eq!((found.problems, found.remarks), (vec![], vec![]));
    assert_eq!(found.samples, 40 * 700);
    let copy = open_at(&disk, &folder);
    assert_eq!(read(&copy, &everything(), ALL), expected);
    assert_eq!(copy.metadata(Some("m00"))["m00"][0].help, "Helps.");
    assert_eq!(disk.read(&Path::new(&folder).join("state.dump")).expect("reads"), b"state");
    assert!(disk.stat(&Path::new(&folder).join("MANIFEST")).expect("stat").is_none(), "it lives now");
    copy.close().expect("closes");
    let bare = open_at(&disk, &format!("data/snapshots/{bare}"));
    assert_eq!(read(&bare, &everything(), ALL), expected, "without what came after the last cut");
    assert_eq!(name.len(), "20261125T214609Z-0123456789abcdef".len(), "{name}");
}

#[test]
fn an_unfinished_snapshot_is_removed_at_start() {
    let disk = MemoryDisk::new();
    filled(&disk).close().expect("closes");
    disk.create_dir_all(Path::new("data/snapshots/x.tmp/blocks")).expect("makes");
    disk.replace(Path::new("data/snapshots/x.tmp/blocks/a.blk"), b"half").expect("writes");
    open_at(&disk, "data").close().expect("closes");
    assert!(disk.stat(Path::new("data/snapshots/x.tmp/blocks/a.blk")).expect("stat").is_none());
}

fn files(disk: &MemoryDisk) -> Vec<PathBuf> {
    let list = |folder: &str| {
        let entries = disk.list(Path::new(folder)).unwrap_or_default();
        entries.into_iter().filter(|entry| !entry.is_dir).map(|entry| Path::new(folder).join(entry.name)).collect::<Vec<_>>()
    };
    ["data/blocks", "data/wal", "data/names"].into_iter().flat_map(list).collect()
}

#[test]
fn verify_finds_every_flipped_bit() {
    let disk = MemoryDisk::new();
    let store = filled(&disk);
    store.delete_series(&[Matcher::equal("__name__", "m01")], TimeRange { start_ms: 0, end_ms: 60_000 }).expect("deletes");
    let group = store.group("scrape/node/a").expect("group");
    let series = [store.series(&labels("late", "a")).expect("series")];
    for row in 0..20 {
        store.append_row(group, 20_000_000 + row, &Arc::from(series), &[row as f64]).expect("appends");
    }
    assert!(matches!(verify(&env(&disk), Path::new("data"), &Progress::default()), Err(StoreError::InUse(_))));
    store.close().expect("closes");
    let good = verified(&disk, "data");
    assert_eq!((good.problems, good.remarks), (vec![], vec![]));
    let mut rng = fastrand::Rng::with_seed(7);
    for path in files(&disk) {
        let whole = disk.read(&path).expect("reads");
        for _ in 0..120 {
            let mut damaged = whole.clone();
            let at = rng.usize(0..whole.len());
            damaged[at] ^= 1 << rng.u8(0..8);
            disk.replace(&path, &damaged).expect("writes");
            let found = verified(&disk, "data");
            let told = || found.problems.iter().chain(&found.remarks);
            assert!(told().any(|problem| problem.file == path), "{}: byte {at}", path.display());
            // Only at the end of the newest file a crash may have done it.
            let newest_log = path.starts_with("data/wal") || path.starts_with("data/names");
            let torn = newest_log && at + 64 >= whole.len();
            assert!(!found.problems.is_empty() || torn, "{}: byte {at}", path.display());
        }
        disk.replace(&path, &whole).expect("writes");
    }
    assert_eq!(verified(&disk, "data").problems, []);
}

#[test]
fn what_the_end_of_the_names_costs_is_told_and_kept() {
    let disk = MemoryDisk::new();
    let store = open(&disk);
    let group = store.group("scrape/node/a").expect("group");
    let series = [store.series(&labels("late", "a")).expect("series")];
    store.append_row(group, 20_000_000, &Arc::from(series), &[1.0]).expect("appends");
    store.close().expect("closes");
    assert_eq!(verified(&disk, "data").problems, []);
    let path = Path::new("data/names/00000001.log");
    let whole = disk.read(path).expect("reads");
    disk.replace(path, &whole[..whole.len() - 1]).expect("writes");
    let found = verified(&disk, "data");
    let [problem] = &found.problems[..] else { panic!("{:?}", found.problems) };
    assert!(problem.file.starts_with("data/wal") && problem.reason.contains("does not define"), "{problem}");
    drop(open(&disk));
    let kept = disk.read(Path::new("data/quarantine/names-00000001.log")).expect("a copy");
    assert_eq!(kept, whole[..whole.len() - 1]);
}

#[test]
fn a_block_under_another_name_is_not_served() {
    let disk = MemoryDisk::new();
    filled(&disk).close().expect("closes");
    let blocks: Vec<_> = files(&disk).into_iter().filter(|path| path.starts_with("data/blocks")).collect();
    let other = Path::new("data/blocks/01ARZ3NDEKTSV4RRFFQ69G5FAV.blk");
    disk.rename(&blocks[0], other).expect("renames");
    let found = verified(&disk, "data");
    assert!(found.problems.iter().any(|problem| problem.reason.contains("another block's name")), "{:?}", found.problems);
    drop(open(&disk));
    assert!(disk.stat(other).expect("stat").is_none(), "it went to quarantine");
}

#[test]
fn a_ruined_format_is_written_anew_and_another_version_refused() {
    let disk = MemoryDisk::new();
    filled(&disk).close().expect("closes");
    let path = Path::new("data/FORMAT");
    for ruined in
        ["", "\0\0\0\0", "watchkeeper-store 1\r\n", "watchkeeper-store 1", "watchkeeper-stope 1\n", "watchkeeper-store 5\n"]
    {
        disk.replace(path, ruined.as_bytes()).expect("writes");
        assert!(verified(&disk, "data").problems.iter().any(|problem| problem.file == path), "{ruined:?}");
        open(&disk).close().expect("closes");
        assert_eq!(disk.read(path).expect("reads"), b"watchkeeper-store 1\n", "{ruined:?}");
    }
    disk.replace(path, b"watchkeeper-store 2\n").expect("writes");
    let env = env(&disk);
    let refused = Store::open(&env, StoreOptions { dir: "data".into(), ..StoreOptions::default() }, &Registry::new());
    assert!(matches!(refused, Err(StoreError::Format { .. })));
}

#[test]
fn verify_says_what_a_page_costs() {
    let disk = MemoryDisk::new();
    let store = filled(&disk);
    store.close().expect("closes");
    let path = files(&disk).into_iter().find(|path| path.extension().is_some_and(|ending| ending == "blk")).expect("a block");
    let mut bytes = disk.read(&path).expect("reads");
    bytes[200] ^= 1;
    disk.replace(&path, &bytes).expect("writes");
    let found = verified(&disk, "data");
    let [problem] = &found.problems[..] else { panic!("{:?}", found.problems) };
    assert_eq!((problem.offset, problem.reason.as_str()), (128, "page 0: bad checksum of a page"));
    assert!((4..40).contains(&problem.costs.len()), "a page of several");
    let cost = &problem.costs[3];
    assert_eq!((cost.metric.as_str(), cost.series, cost.samples), ("m03", 1, 500));
    assert_eq!((cost.from_ms, cost.to_ms), (0, 499 * 15_000));
}

#[test]
fn verify_wants_a_data_directory() {
    let disk = MemoryDisk::new();
    let found = verify(&env(&disk), Path::new("nowhere"), &Progress::default());
    assert!(matches!(found, Err(StoreError::NoDirectory(_))), "{found:?}");
    assert!(disk.stat(Path::new("nowhere")).expect("stat").is_none(), "nothing was made");
}

fn exported(store: &Store, matchers: &[Vec<Matcher>], range: TimeRange) -> (String, Exported) {
    let options = ExportOptions { matchers: matchers.to_vec(), range, held: store.held() };
    let mut out = Vec::new();
    let done = export(store, &options, &mut out, &Progress::default()).expect("exports");
    (String::from_utf8(out).expect("text"), done)
}

fn imported(disk: &MemoryDisk, dir: &str, text: &str, memory: usize) -> Result<Imported, ImportError> {
    import(&env(disk), Path::new(dir), &mut text.as_bytes(), text.len() as u64, memory, &Progress::default())
}

/// Odd names and values, times from 1970 on, several days.
fn odd(disk: &MemoryDisk) -> Store {
    let store = filled(disk);
    let values = [0.1, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 1e300, 5e-324, 12_345_678_901_234_567.0];
    let names = [
        Labels::from_pairs([("__name__", "my.metric"), ("b c", "é\n\"\\")]),
        Labels::from_pairs([("nameless", "yes")]),
        Labels::from_pairs([("__name__", "h_bucket"), ("le", "1")]),
        Labels::from_pairs([("__name__", "only")]),
    ];
    for (place, labels) in names.iter().enumerate() {
        let series = store.series(labels).expect("series");
        let samples: Vec<BatchSample> = (0..80)
            .map(|i| float(series, 1 + i * 1_000_003 * (place as i64 * 40 + 1), values[(i as usize + place) % values.len()]))
            .collect();
        let done = store.append_samples(None, &samples, Durability::Written).expect("appends");
        assert_eq!(done.stored, 80);
    }
    store
}

#[test]
fn export_import_export_is_equal() {
    for memory in [1 << 30, 30_000] {
        let disk = MemoryDisk::new();
        let store = odd(&disk);
        let (text, done) = exported(&store, &[], ALL);
        assert_eq!((done.series, done.samples, done.nameless), (43, 40 * 700 + 3 * 80, 1));
        assert!(text.ends_with("\n# EOF\n"));
        let imported = imported(&disk, "other", &text, memory).expect("imports");
        assert_eq!((imported.samples, imported.written), (done.samples, done.samples));
        let other = open_at(&disk, "other");
        let (again, _) = exported(&other, &[], ALL);
        // The import reads past TYPE and HELP.
        let samples = |text: &str| text.lines().filter(|line| !line.starts_with("# ")).map(str::to_owned).collect::<Vec<_>>();
        assert!(samples(&text) == samples(&again), "with {memory} bytes of memory");
        assert_eq!(other.block_infos().iter().map(|block| block.samples).sum::<u64>(), done.samples);
        other.close().expect("closes");
        assert_eq!(verified(&disk, "other").problems, []);
        assert!(disk.stat(Path::new("other/import.tmp")).expect("stat").is_none());
    }
}

#[test]
fn exports_select_series_and_times() {
    let disk = MemoryDisk::new();
    let store = filled(&disk);
    let sets = [
        vec![Matcher::equal("__name__", "m03")],
        vec![Matcher::equal("__name__", "m00")],
        vec![Matcher::equal("instance", "a"), Matcher::equal("__name__", "m03")],
    ];
    let (text, done) = exported(&store, &sets, TimeRange { start_ms: 15_000, end_ms: 30_000 });
    let expected = "# TYPE m00 gauge\n# HELP m00 Helps.\nm00{instance=\"a\",job=\"node\"} 7 15.000\nm00{instance=\"a\",job=\"node\"} 7 30.000\n\
                    # TYPE m03 unknown\nm03{instance=\"a\",job=\"node\"} 7 15.000\nm03{instance=\"a\",job=\"node\"} 7 30.000\n# EOF\n";
    assert_eq!(text, expected);
    assert_eq!((done.series, done.samples), (2, 4));
}

#[test]
fn exports_say_what_is_known_of_metrics() {
    let disk = MemoryDisk::new();
    let store = open(&disk);
    let know = |name: &str, metric_type, unit: &str| {
        store.note_metadata(name, &Metadata { metric_type, help: "Say \"a\\b\".".to_owned(), unit: unit.to_owned() });
    };
    know("c_seconds_total", MetricType::Counter, "seconds");
    know("h", MetricType::Histogram, "");
    know("odd", MetricType::Histogram, "");
    let names = [("c_seconds_total", ""), ("h_bucket", "1.0"), ("h_count", ""), ("odd_bucket", "1"), ("z", "")];
    for (name, bound) in names {
        let labels = if bound.is_empty() { labels(name, "a") } else { labels(name, "a").with("le", bound) };
        let series = store.series(&labels).expect("series");
        store.append_samples(None, &[float(series, 1_500, 1.0)], Durability::Written).expect("appends");
    }
    let (text, _) = exported(&store, &[], ALL);
    let labels = "instance=\"a\",job=\"node\"";
    let help = "Say \\\"a\\\\b\\\".";
    let expected = format!(
        "# TYPE c_seconds counter\n# UNIT c_seconds seconds\n# HELP c_seconds {help}\n\
         c_seconds_total{{{labels}}} 1 1.500\n\
         # TYPE h histogram\n# HELP h {help}\n\
         h_bucket{{{labels},le=\"1.0\"}} 1 1.500\n\
         h_count{{{labels}}} 1 1.500\n\
         # TYPE odd_bucket unknown\n# HELP odd_bucket {help}\n\
         odd_bucket{{{labels},le=\"1\"}} 1 1.500\n\
         # TYPE z unknown\n\
         z{{{labels}}} 1 1.500\n# EOF\n"
    );
    assert_eq!(text, expected);
    imported(&disk, "other", &text, 1 << 20).expect("imports");
    let other = open_at(&disk, "other");
    assert_eq!(read(&other, &everything(), ALL), read(&store, &everything(), ALL));
    assert_eq!(exported(&other, &[], ALL).0, text, "what was said of metrics came along");
    other.flush_head().expect("cuts");
    other.close().expect("closes");
    let found = verified(&disk, "other");
    assert_eq!((found.problems, found.remarks), (vec![], vec![]));
    assert_eq!(exported(&open_at(&disk, "other"), &[], ALL).0, text, "and stays");
}

#[test]
fn what_lives_in_the_log_alone_outlives_cuts_and_snapshots() {
    let disk = MemoryDisk::new();
    let store = filled(&disk);
    let exemplar = |at_ms| Exemplar { labels: Labels::from_pairs([("trace_id", "x")]), value: 0.5, at_ms: Some(at_ms) };
    let series = store.series(&labels("m07", "a")).expect("series");
    let twin = store.series(&labels("late", "a")).expect("series");
    for at_ms in [5, 6] {
        store.append_exemplars(series, &[exemplar(at_ms)]);
    }
    store.append_exemplars(twin, &[exemplar(7)]);
    let look = |store: &Store, what: &str| {
        let found = store.exemplars(&[vec![everything()]], ALL).expect("exemplars");
        let expected = [(labels("late", "a"), vec![exemplar(7)]), (labels("m07", "a"), vec![exemplar(5), exemplar(6)])];
        assert_eq!(found, expected, "{what}");
        assert_eq!(store.metadata(Some("m00"))["m00"][0].help, "Helps.", "{what}");
    };
    // The second and third have nothing to write.
    for _ in 0..3 {
        store.flush_head().expect("cuts");
    }
    look(&store, "after cuts");
    let name = store.snapshot(false).expect("snapshot");
    store.close().expect("closes");
    look(&open_at(&disk, "data"), "after a start");
    let folder = format!("data/snapshots/{name}");
    let found = verified(&disk, &folder);
    assert_eq!((found.problems, found.remarks), (vec![], vec![]));
    let copy = open_at(&disk, &folder);
    look(&copy, "in a snapshot");
    // New series get numbers of their own.
    let fresh = copy.series(&labels("fresh", "a")).expect("series");
    copy.append_samples(None, &[float(fresh, 90_000_000, 1.0)], Durability::Written).expect("appends");
    copy.close().expect("closes");
    look(&open_at(&disk, &folder), "in a snapshot that was used");
}

#[test]
fn native_histograms_become_classic_ones() {
    let disk = MemoryDisk::new();
    let store = open(&disk);
    let histogram = FloatHistogram {
        schema: 0,
        count: 6.0,
        sum: 9.5,
        zero_threshold: 0.001,
        zero_count: 1.0,
        positive_spans: vec![Span { offset: 0, length: 2 }],
        positive_buckets: vec![2.0, 3.0],
        ..FloatHistogram::default()
    };
    let series = store.series(&labels("h", "a")).expect("series");
    let sample = BatchSample { series, at_ms: 1_500, value: BatchValue::Histogram(Arc::new(histogram)) };
    store.append_samples(None, &[sample], Durability::Written).expect("appends");
    let after = store.series(&labels("z_bucket", "a").with("le", "1")).expect("series");
    store.append_samples(None, &[float(after, 1_500, 1.0)], Durability::Written).expect("appends");
    let (text, done) = exported(&store, &[], ALL);
    let labels = "instance=\"a\",job=\"node\"";
    let expected = format!(
        "# TYPE h histogram\n\
         h_bucket{{{labels},le=\"0.001\"}} 1 1.500\n\
         h_bucket{{{labels},le=\"1.0\"}} 3 1.500\n\
         h_bucket{{{labels},le=\"2.0\"}} 6 1.500\n\
         h_bucket{{{labels},le=\"+Inf\"}} 6 1.500\n\
         h_count{{{labels}}} 6 1.500\n\
         h_sum{{{labels}}} 9.5 1.500\n\
         # TYPE z_bucket unknown\n\
         z_bucket{{instance=\"a\",job=\"node\",le=\"1\"}} 1 1.500\n# EOF\n"
    );
    assert_eq!(text, expected);
    assert_eq!((done.samples, done.histograms), (2, 1));
    imported(&disk, "other", &text, 1 << 20).expect("imports");
    let (second, _) = exported(&open_at(&disk, "other"), &[], ALL);
    imported(&disk, "third", &second, 1 << 20).expect("imports");
    assert_eq!(exported(&open_at(&disk, "third"), &[], ALL).0, second);
    assert!(second.contains("z_bucket{instance=\"a\",job=\"node\",le=\"1\"} 1 1.500"));
}

#[test]
fn imports_say_where_a_text_is_wrong_and_leave_nothing() {
    let cases = [
        ("a 1 2\nb{x=\"y\" 1 2\n# EOF\n", "2:"),
        ("a 1 2\nb 1\n# EOF\n", "2:1: expected timestamp for series b, got none"),
        ("a 1 2\nb 1 1e300\n# EOF\n", "2:1: timestamp 1e300 is out of bounds"),
        ("a 1 2\n", "2:1: data does not end with # EOF"),
    ];
    // What no other way in takes does not come in by this one.
    let long = format!("a 1 2\nb{{x=\"{}\"}} 1 2\n# EOF\n", "x".repeat(70_000));
    for (text, expected) in cases.into_iter().chain([(long.as_str(), "2:1: label value too long")]) {
        let disk = MemoryDisk::new();
        let error = imported(&disk, "data", text, 1 << 20).expect_err("is wrong").to_string();
        assert!(error.starts_with(expected), "{:.60}: {error}", text);
        assert_eq!(disk.list(Path::new("data/blocks")).expect("lists"), []);
    }
}

#[test]
fn imports_beside_what_is_there_and_the_last_line_wins() {
    let disk = MemoryDisk::new();
    filled(&disk).close().expect("closes");
    let text =
        "m00{instance=\"a\",job=\"node\"} 1 7.5\nm00{instance=\"a\",job=\"node\"} 2 7.5\nold 3 -86400.001\nold 4 1.0015\n# EOF\n";
    let done = imported(&disk, "data", text, 1 << 20).expect("imports");
    assert_eq!((done.samples, done.written, done.blocks.len()), (4, 3, 2));
    assert_eq!((done.min_ms, done.max_ms), (Some(-86_400_001), Some(7_500)));
    let store = open_at(&disk, "data");
    let found = read(&store, &Matcher::equal("__name__", "m00"), TimeRange { start_ms: 0, end_ms: 15_000 });
    assert_eq!(found[0].1, [(0, 7.0), (7_500, 2.0), (15_000, 7.0)]);
    assert_eq!(read(&store, &Matcher::equal("__name__", "old"), ALL)[0].1, [(-86_400_001, 3.0), (1_002, 4.0)]);
}
