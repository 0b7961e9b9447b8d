//! Series that come and go for a week: what is left is what lives.

use super::{ALL, read};
use crate::env::Env;
use crate::env::clock::{Clock, RealClock};
use crate::env::disk::Open;
use crate::env::memory_disk::MemoryDisk;
use crate::model::labels::Labels;
use crate::model::matcher::Matcher;
use crate::storage::append::{Append as _, AppendError, BatchSample, BatchValue, Durability, SeriesId};
use crate::storage::stats::StoreStats;
use crate::storage::wal::segment::{NAMES_MAGIC, header};
use crate::storage::{Store, StoreOptions};
use crate::telemetry::metrics::Registry;
use futures_util::future::BoxFuture;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// A wall clock that the test moves.
struct MovedClock {
    now_ms: AtomicI64,
    real: RealClock,
}

impl Clock for MovedClock {
    fn now_ms(&self) -> i64 {
        self.now_ms.load(Ordering::SeqCst)
    }

    fn monotonic(&self) -> Duration {
        self.real.monotonic()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.real.sleep(duration)
    }
}

const HOUR_MS: i64 = 3_600_000;
const STEP_MS: i64 = 900_000;
const PUSHED: i64 = 300;
const SCRAPED: i64 = 100;
/// Pushed series of one host.
const HOST: i64 = 100;

/// In each hour a tenth of the series is renamed.
fn labels(kind: &str, number: i64, hour: i64) -> Labels {
    let renamed = (hour + number) / 10 * 10 - number;
    Labels::from_pairs([
        ("__name__", format!("{kind}_{}", number % 50)),
        ("instance", format!("host-{}", number / HOST)),
        ("job", "node".to_owned()),
        ("pod", format!("{kind}-{number}-{renamed}")),
    ])
}

struct Week {
    disk: MemoryDisk,
    clock: Arc<MovedClock>,
    store: Store,
}

fn open(disk: &MemoryDisk, clock: &Arc<MovedClock>) -> Store {
    let clock: Arc<dyn Clock> = Arc::clone(clock) as _;
    let env = Env { disk: Arc::new(disk.clone()), clock, ..Env::real() };
    let options = StoreOptions { dir: "data".into(), retention_ms: 4 * HOUR_MS, ..StoreOptions::default() };
    Store::open(&env, options, &Registry::new()).expect("opens")
}

impl Week {
    fn new() -> Self {
        let disk = MemoryDisk::new();
        let clock = Arc::new(MovedClock { now_ms: AtomicI64::new(1_700_000_000_000), real: RealClock::new() });
        let store = open(&disk, &clock);
        Self { disk, clock, store }
    }

    fn series(&self, kind: &str, count: i64, hour: i64) -> Vec<SeriesId> {
        (0..count).map(|number| self.store.series(&labels(kind, number, hour)).expect("series")).collect()
    }

    fn push(&self, hour: i64, at_ms: i64) -> Result<(), AppendError> {
        let sample = |(number, series): (i64, SeriesId)| {
            let value = BatchValue::Float((at_ms / STEP_MS * (number % 3)) as f64);
            BatchSample { series, at_ms: at_ms + number / HOST, value }
        };
        let batch: Vec<BatchSample> = (0..).zip(self.series("pushed", PUSHED, hour)).map(sample).collect();
        let done = self.store.append_samples(None, &batch, Durability::Written)?;
        assert_eq!(done.stored, batch.len() as u64, "{done:?}");
        Ok(())
    }

    fn scrape(&self, hour: i64, at_ms: i64) -> Result<(), AppendError> {
        let layout: Arc<[SeriesId]> = self.series("scraped", SCRAPED, hour).into();
        let values: Vec<f64> = (0..SCRAPED).map(|number| (at_ms / STEP_MS * (number % 2)) as f64).collect();
        let group = self.store.group("scrape/node/a")?;
        assert_eq!(self.store.append_row(group, at_ms, &layout, &values)?.stored, values.len() as u64);
        Ok(())
    }

    /// One hour of samples, with the housekeeping that goes with it.
    fn hour(&self, hour: i64) {
        let mut last_cut = 0;
        for _ in 0..HOUR_MS / STEP_MS {
            let at_ms = self.clock.now_ms.fetch_add(STEP_MS, Ordering::SeqCst);
            // Its holders ask anew for a series that was forgotten.
            for append in [Self::push, Self::scrape] {
                match append(self, hour, at_ms) {
                    Err(AppendError::Forgotten) => append(self, hour, at_ms).expect("appends"),
                    done => done.expect("appends"),
                }
            }
            self.store.keep_once(&mut last_cut).expect("keeps");
        }
    }

    fn names_bytes(&self) -> u64 {
        let files = crate::env::disk::Disk::list(&self.disk, Path::new("data/names")).expect("lists");
        files.iter().map(|file| file.bytes).sum()
    }
}

#[test]
fn a_week_of_churn_leaves_what_lives() {
    let week = Week::new();
    let (mut after_day, mut names_after_day) = (StoreStats::default(), 0);
    for hour in 0..168 {
        week.hour(hour);
        if hour <= 24 {
            // Just after a cut, few are left: the most of a day counts.
            let stats = week.store.stats();
            after_day.label_pairs = after_day.label_pairs.max(stats.label_pairs);
            after_day.head_bytes = after_day.head_bytes.max(stats.head_bytes);
            after_day.groups = after_day.groups.max(stats.groups);
            names_after_day = week.names_bytes();
        }
    }
    let (before, after) = (after_day, week.store.stats());
    let live = (PUSHED + SCRAPED) as u64;
    assert!(after.series < live * 3 / 2, "{} series for {live} live ones", after.series);
    assert!(after.label_pairs < before.label_pairs * 5 / 4, "{before:?} {after:?}");
    assert!(after.head_bytes < before.head_bytes * 5 / 4, "{before:?} {after:?}");
    assert!(after.groups < before.groups + 10, "{before:?} {after:?}");
    assert!(week.names_bytes() < names_after_day * 2 + (2 << 20), "{} after {names_after_day}", week.names_bytes());

    // Everything that retention keeps is there, once, also after kill -9.
    let expected = read(&week.store, &Matcher::equal("job", "node"), ALL);
    assert!(expected.iter().map(|(_, points)| points.len()).sum::<usize>() as i64 > 14 * (PUSHED + SCRAPED));
    let Week { disk, clock, store, .. } = week;
    drop(store);
    let store = open(&disk, &clock);
    assert_eq!(read(&store, &Matcher::equal("job", "node"), ALL), expected);
    assert!(store.stats().series < live * 3 / 2, "{:?}", store.stats());
}

#[test]
fn a_number_that_was_forgotten_is_refused() {
    let week = Week::new();
    let old = week.series("pushed", 1, 0)[0];
    let group = week.store.group("scrape/node/b").expect("group");
    let layout: Arc<[SeriesId]> = week.series("scraped", 2, 0).into();
    let at_ms = week.clock.now_ms();
    week.store.append_row(group, at_ms, &layout, &[1.0, 2.0]).expect("appends");
    for hour in 0..6 {
        week.hour(hour + 10);
    }
    let late = week.clock.now_ms();
    let sample = BatchSample { series: old, at_ms: late, value: BatchValue::Float(1.0) };
    let refused = week.store.append_samples(None, &[sample], Durability::Written);
    assert!(matches!(refused, Err(AppendError::Forgotten)), "{refused:?}");
    let refused = week.store.append_row(group, late, &layout, &[1.0, 2.0]);
    assert!(matches!(refused, Err(AppendError::Forgotten)), "{refused:?}");
    let fresh: Arc<[SeriesId]> = week.series("scraped", 2, 0).into();
    assert_ne!(fresh, layout);
    assert_eq!(week.store.append_row(group, late, &fresh, &[1.0, 2.0]).expect("appends").stored, 2);
}

#[test]
fn a_names_log_whose_rewriting_was_cut_short_does_no_harm() {
    let week = Week::new();
    for hour in 0..3 {
        week.hour(hour);
    }
    let expected = read(&week.store, &Matcher::equal("job", "node"), ALL);
    let Week { disk, clock, store, .. } = week;
    drop(store);
    let path = Path::new("data/names/00000002.log");
    let file = crate::env::disk::Disk::open(&disk, path, Open::CreateNew).expect("makes");
    file.write_at(&header(NAMES_MAGIC, 2, 0), 0).expect("writes");
    file.write_at(&[200, 0, 0, 0, 1, 2, 3, 4, 16, 1, 0, 1], 32).expect("writes");
    drop(file);
    let week = Week { store: open(&disk, &clock), disk, clock };
    assert_eq!(read(&week.store, &Matcher::equal("job", "node"), ALL), expected);
    // What is defined now is there after the next start.
    week.hour(3);
    let expected = read(&week.store, &Matcher::equal("job", "node"), ALL);
    let Week { disk, clock, store, .. } = week;
    drop(store);
    assert_eq!(read(&open(&disk, &clock), &Matcher::equal("job", "node"), ALL), expected);
}
