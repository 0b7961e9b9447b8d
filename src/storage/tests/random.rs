//! A random workload on a disk that fails at random, against a plain model, from a seed.
//!
//! Scrapes with changing layouts, pushes in and out of order, ancient samples, histograms, repeated and conflicting ones,
//! deletions, cuts, merges, retention, clean restarts; then the process is killed or the power cut in the middle of
//! something, the store opened again and compared as a whole. Nothing works by itself in that world: no thread, no clock.
//! So one seed is one history. `make soak SEEDS=n` runs more of them, `make soak SEED=n` one.

use super::labels;
use super::model::{Key, Level, Model, Sample, everything};
use crate::env::clock::StillClock;
use crate::env::crash_disk::CrashDisk;
use crate::env::random::SeededRandom;
use crate::env::{Clock as _, Env, Tasks};
use crate::model::exemplar::Exemplar;
use crate::model::histogram::{FloatHistogram, Span};
use crate::model::labels::Labels;
use crate::model::matcher::{MatchOp, Matcher};
use crate::model::metadata::{Metadata, MetricType};
use crate::model::sample::stale_nan;
use crate::storage::append::{Append as _, AppendError, Appended, BatchSample, BatchValue, Durability, SeriesId};
use crate::storage::follow::{LogFollower, LogPosition, LogSample, LogValue};
use crate::storage::select::TimeRange;
use crate::storage::{Store, StoreError, StoreOptions};
use crate::telemetry::metrics::Registry;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

/// Seeds that every test run tries.
const SEEDS: u64 = 500;
const START_MS: i64 = 1_700_000_123_456;
const HOUR_MS: i64 = 3_600_000;

/// Numbers of this world, xorshift64*.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 11) % bound
    }

    fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }

    fn between(&mut self, low: i64, high: i64) -> i64 {
        low + self.below((high - low + 1) as u64) as i64
    }
}

/// One history.
struct World {
    seed: u64,
    chance: Chance,
    clock: Arc<StillClock>,
    random: Arc<SeededRandom>,
    disk: CrashDisk,
    store: Option<Store>,
    model: Model,
    options: StoreOptions,
    following: Following,
    last_cut: i64,
    /// Whether writes and syncs fail in this history.
    faults: bool,
    faulty: bool,
    step: u64,
    trace: DefaultHasher,
    log: Vec<String>,
}

/// Somebody who follows the log, and is as mortal as the store.
#[derive(Default)]
struct Following {
    follower: Option<LogFollower>,
    /// Where the next one goes on.
    saved: LogPosition,
    /// What came.
    seen: BTreeMap<Key, Vec<Sample>>,
    /// All that was ever offered to the store.
    offered: BTreeMap<Key, Vec<Sample>>,
}

/// Says how to repeat a history that went wrong.
struct Repeat(u64);

impl Drop for Repeat {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("history {} went wrong; repeat it: make soak SEED={}", self.0, self.0);
        }
    }
}

impl World {
    fn new(seed: u64) -> Self {
        let mut chance = Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        for _ in 0..4 {
            chance.next();
        }
        let retention_ms = if chance.one_in(3) { 6 * HOUR_MS } else { 0 };
        let faults = chance.one_in(2);
        let is_followed = chance.one_in(2);
        Self {
            seed,
            chance,
            clock: Arc::new(StillClock::starting_at(START_MS)),
            random: Arc::new(SeededRandom::new(seed)),
            disk: CrashDisk::new(),
            store: None,
            model: Model::default(),
            options: StoreOptions {
                dir: "data".into(),
                retention_ms,
                out_of_order_window_ms: 60_000,
                exemplars_max: 20,
                is_followed,
                ..StoreOptions::default()
            },
            following: Following::default(),
            last_cut: 0,
            faults,
            faulty: false,
            step: 0,
            trace: DefaultHasher::new(),
            log: Vec::new(),
        }
    }

    fn context(&self) -> String {
        let last = self.log.iter().rev().take(40).rev().cloned().collect::<Vec<_>>().join("\n  ");
        format!("seed {}, step {}\n  {last}", self.seed, self.step)
    }

    fn note(&mut self, what: &str) {
        let line = format!("{}: {what}; {} changes", self.step, self.disk.changes());
        line.hash(&mut self.trace);
        tracing::info!("{line}");
        self.log.push(line);
    }

    fn try_open(&self, disk: &CrashDisk) -> Result<Store, StoreError> {
        let env = Env {
            disk: Arc::new(disk.clone()),
            clock: Arc::clone(&self.clock) as _,
            random: Arc::clone(&self.random) as _,
            tasks: Tasks::still(),
            ..Env::real()
        };
        Store::open(&env, self.options.clone(), &Registry::new())
    }

    fn store(&self) -> Store {
        self.store.clone().expect("open")
    }

    fn oldest_ms(&self) -> i64 {
        if self.options.retention_ms > 0 { self.clock.now_ms() - self.options.retention_ms } else { i64::MIN }
    }

    fn value(&mut self, series: u64, round: i64) -> f64 {
        match (series + self.chance.below(2)) % 9 {
            0 => 1.0,
            1 => round as f64,
            2 => round as f64 * 0.1,
            3 => (round / 7) as f64 * 4096.0,
            4 => f64::from_bits(self.chance.next()),
            5 if self.chance.one_in(4) => stale_nan(),
            5 => -0.0,
            6 => f64::INFINITY,
            _ => self.chance.below(1_000_000) as f64 / 1000.0,
        }
    }

    fn histogram(&mut self) -> Arc<FloatHistogram> {
        let buckets: Vec<f64> = (0..self.chance.below(5)).map(|i| (i * 3 + self.step) as f64).collect();
        let spans = if buckets.is_empty() { Vec::new() } else { vec![Span { offset: -2, length: buckets.len() as u32 }] };
        Arc::new(FloatHistogram {
            schema: 3,
            count: buckets.iter().sum(),
            sum: self.step as f64 * 0.25,
            zero_threshold: 1e-128,
            positive_spans: spans,
            positive_buckets: buckets,
            ..FloatHistogram::default()
        })
    }

    /// Notes what became of a batch.
    fn settle(&mut self, what: &str, offered: &[(Key, Sample)], told: &Result<Appended, AppendError>, promise: Level) {
        let failed = self.store().failure().is_some();
        if failed {
            self.model.log_failed();
        }
        for (key, sample) in offered {
            self.following.offered.entry(key.clone()).or_default().push(sample.clone());
        }
        let level = match told {
            Ok(told) => {
                let sum = told.stored + told.duplicate + told.too_old + told.too_far + told.out_of_order;
                assert_eq!(sum, offered.len() as u64, "{told:?}, {}", self.context());
                match (told.stored == sum, failed && promise < Level::Synced) {
                    _ if told.stored == 0 => None,
                    (true, true) => Some(Level::Memory),
                    (true, false) => Some(promise),
                    (false, _) => Some(Level::Offered),
                }
            }
            Err(_) => Some(Level::Offered),
        };
        // What a dead process was told counts for nothing.
        let level = if self.disk.is_off() { level.map(|_| Level::Offered) } else { level };
        if let Some(level) = level {
            for (key, sample) in offered {
                self.model.offer(key, sample, level);
            }
        }
        self.note(&format!("{what} {} at {:?}: {told:?}", offered.len(), offered.first().map(|(key, _)| key.1)));
    }

    fn series(&self, name: &str) -> Result<SeriesId, AppendError> {
        self.store().series(&labels(name, "a"))
    }

    fn scrape(&mut self) {
        let target = self.chance.below(2);
        let now_ms = self.clock.now_ms();
        let at_ms = match self.chance.below(8) {
            0 => now_ms - self.chance.between(1, 90_000),
            _ => now_ms,
        };
        let first = if self.chance.one_in(5) { self.chance.below(3) } else { 0 };
        let last = if self.chance.one_in(5) { 4 + self.chance.below(20) } else { 8 };
        let names: Vec<String> = (first..last).map(|place| format!("t{target}_{place}")).collect();
        let values: Vec<f64> = (first..last).map(|place| self.value(place, self.step as i64)).collect();
        let offered: Vec<(Key, Sample)> =
            names.iter().zip(&values).map(|(name, value)| ((name.clone(), at_ms), Sample::Float(value.to_bits()))).collect();
        let told = || {
            let group = self.store().group(&format!("scrape/{target}"))?;
            let layout = names.iter().map(|name| self.series(name)).collect::<Result<Arc<[SeriesId]>, _>>()?;
            self.store().append_row(group, at_ms, &layout, &values)
        };
        let told = told();
        self.settle("scrape", &offered, &told, Level::Written);
    }

    fn append(&mut self, what: &str, offered: &[(Key, Sample)], durability: Durability, hint: bool) {
        let told = || {
            let group = if hint { Some(self.store().group("with")?) } else { None };
            let samples = offered
                .iter()
                .map(|((name, at_ms), sample)| {
                    let value = match sample {
                        Sample::Float(bits) => BatchValue::Float(f64::from_bits(*bits)),
                        Sample::Histogram(histogram) => BatchValue::Histogram(Arc::clone(histogram)),
                    };
                    Ok(BatchSample { series: self.series(name)?, at_ms: *at_ms, value })
                })
                .collect::<Result<Vec<_>, AppendError>>()?;
            self.store().append_samples(group, &samples, durability)
        };
        let told = told();
        let promise = if durability == Durability::Synced { Level::Synced } else { Level::Written };
        self.settle(what, offered, &told, promise);
        if durability == Durability::Synced {
            if told.is_ok() { self.model.log_synced() } else { self.model.log_failed() }
        }
    }

    fn push(&mut self) {
        let now_ms = self.clock.now_ms();
        let sender = self.chance.below(2);
        let rows = 1 + self.chance.below(3) as i64;
        let base_ms = match self.chance.below(10) {
            0 => now_ms - self.chance.between(0, 100_000),
            1 => now_ms - self.chance.between(0, 30) * HOUR_MS,
            2 => self.chance.between(0, 20) * 12 * HOUR_MS,
            _ => now_ms,
        };
        let mut offered = Vec::new();
        for row in 0..rows {
            for place in 0..1 + self.chance.below(7) {
                let value = self.value(place, self.step as i64);
                offered.push(((format!("p{sender}_{place}"), base_ms - row * 1000), Sample::Float(value.to_bits())));
            }
        }
        if self.chance.one_in(2) {
            offered.reverse();
        }
        let durability = if self.chance.one_in(5) { Durability::Written } else { Durability::Synced };
        let hint = self.chance.one_in(10);
        self.append("push", &offered, durability, hint);
    }

    fn push_histograms(&mut self) {
        let at_ms = self.clock.now_ms() - if self.chance.one_in(4) { self.chance.between(0, HOUR_MS) } else { 0 };
        let mut offered = Vec::new();
        for place in 0..1 + self.chance.below(3) {
            offered.push(((format!("h{place}"), at_ms), Sample::Histogram(self.histogram())));
        }
        if self.chance.one_in(4) {
            offered.push((("h0".to_owned(), at_ms + 1), Sample::Float(2.5_f64.to_bits())));
        }
        let durability = if self.chance.one_in(2) { Durability::Written } else { Durability::Synced };
        self.append("histograms", &offered, durability, false);
    }

    /// Offers one known sample again, perhaps with another value: as a sender does that got no answer.
    fn push_again(&mut self) {
        let number = self.chance.next() as usize;
        let Some((key, mut sample)) = self.model.nth(number) else { return };
        if self.chance.one_in(3) && matches!(sample, Sample::Float(_)) {
            sample = Sample::Float(self.chance.below(9).to_le());
        }
        self.append("again", &[(key, sample)], Durability::Synced, false);
    }

    fn exemplars(&mut self) {
        let at_ms = self.clock.now_ms();
        if let Ok(series) = self.series("t0_1") {
            let exemplar = Exemplar { labels: Labels::from_pairs([("trace_id", "x")]), value: 1.5, at_ms: Some(at_ms) };
            self.store().append_exemplars(series, &[exemplar]);
        }
        let help = format!("Helps {}.", self.chance.below(3));
        self.store().note_metadata("t0_1", &Metadata { metric_type: MetricType::Gauge, help, unit: String::new() });
        self.note("exemplar and metadata");
    }

    fn delete(&mut self) {
        let prefix = ["t0", "t1", "p0", "p1", "h"][self.chance.below(5) as usize];
        let now_ms = self.clock.now_ms();
        let end_ms = if self.chance.one_in(4) { i64::MAX } else { now_ms - self.chance.between(0, 2 * HOUR_MS) };
        let start_ms = if self.chance.one_in(4) { i64::MIN } else { end_ms.min(now_ms) - self.chance.between(0, HOUR_MS) };
        let matcher = Matcher::new(MatchOp::Regex, "__name__", format!("{prefix}.*")).expect("a pattern");
        let told = self.store().delete_series(&[matcher], TimeRange { start_ms, end_ms });
        let is_meant = |key: &Key| key.0.starts_with(prefix) && key.1 >= start_ms && key.1 <= end_ms;
        if told.is_ok() {
            self.model.all_in_blocks();
        }
        self.model.delete(is_meant, told.is_ok() && !self.disk.is_off());
        self.note(&format!("delete {prefix} {start_ms}..{end_ms}: {told:?}"));
    }

    fn housekeeping(&mut self) {
        let store = self.store();
        match self.chance.below(7) {
            0 | 1 => {
                let told = store.flush_head();
                if told.is_ok() {
                    self.model.all_in_blocks();
                }
                self.note(&format!("cut: {told:?}"));
            }
            2 => {
                let told = store.compact();
                self.note(&format!("merge: {told:?}"));
            }
            3 => {
                let told = store.clean_tombstones();
                self.note(&format!("clean: {told:?}"));
            }
            4 | 5 => {
                let told = store.keep_once(&mut self.last_cut);
                self.note(&format!("keep: {told:?}"));
            }
            _ => {
                let told = store.sync_log();
                match (&told, store.failure()) {
                    (Ok(()), None) => self.model.log_synced(),
                    _ => self.model.log_failed(),
                }
                self.note(&format!("sync: {told:?}"));
            }
        }
    }

    fn advance(&mut self) {
        let by_ms = match self.chance.below(30) {
            0 => 31 * 60_000,
            1 => 3 * HOUR_MS,
            2 => 26 * HOUR_MS,
            3..6 => 61_000,
            _ => 15_000,
        };
        self.clock.advance(by_ms + self.chance.between(0, 2));
    }

    fn fault(&mut self) {
        let what = self.chance.below(6);
        self.faulty = true;
        match what {
            0 => self.disk.fail_syncs(Some("wal")),
            1 => self.disk.fail_syncs(Some(if self.chance.one_in(2) { "names" } else { "data" })),
            2 => self.disk.set_room(Some(self.chance.below(3000))),
            3 => {
                self.disk.heal();
                self.faulty = false;
            }
            _ => self.disk.fail_change(self.chance.below(8)),
        }
        self.note(&format!("fault {what}"));
    }

    fn restart(&mut self) {
        let store = self.store.take().expect("open");
        self.following.follower = None;
        let told = store.close();
        drop(store);
        if told.is_ok() && !self.disk.is_off() {
            self.model.all_in_blocks();
        } else {
            self.model.memory_lost();
        }
        self.disk.heal();
        self.faulty = false;
        self.note(&format!("restart: {told:?}"));
        match self.try_open(&self.disk) {
            Ok(store) => self.store = Some(store),
            Err(error) => assert!(self.disk.is_off(), "{error}, {}", self.context()),
        }
        self.last_cut = 0;
    }

    /// Follows the log to its end, or dies with the disk. Sometimes notes where it stands, and lets go of what is before.
    fn follow(&mut self) {
        let Some(store) = self.store.clone().filter(|_| self.options.is_followed) else { return };
        let saved = self.following.saved;
        let mut told = (|| {
            let mut follower = match self.following.follower.take() {
                Some(follower) => follower,
                None => store.follow_log(Some(saved))?,
            };
            let mut samples = Vec::new();
            while follower.read(&mut samples, 1 + self.step as usize % 50)? {}
            for LogSample { series, at_ms, value, .. } in samples {
                // Names may be lost with the power; the store then has lost those samples as well, which is looked at in the end.
                let Some(labels) = follower.labels(series)? else { continue };
                let sample = match value {
                    LogValue::Float(value) => Sample::Float(value.to_bits()),
                    LogValue::Histogram(histogram) => Sample::Histogram(histogram),
                    LogValue::Exemplar(_) => continue,
                };
                let key = (labels.metric_name().to_owned(), at_ms);
                let is_offered = self.following.offered.get(&key).is_some_and(|offered| offered.contains(&sample));
                assert!(is_offered, "{key:?} {sample:?} was never offered, {}", self.context());
                self.following.seen.entry(key).or_default().push(sample);
            }
            Ok::<_, StoreError>(follower)
        })();
        if let Ok(follower) = &mut told
            && self.chance.one_in(2)
        {
            self.following.saved = follower.position();
            store.release_log(self.following.saved.segment);
            follower.is_at_end();
        }
        assert!(told.is_ok() || self.disk.is_off() || self.faulty, "{told:?}, {}", self.context());
        self.following.follower = told.ok();
    }

    /// Everything that the store has came to who followed.
    fn check_followed(&mut self, store: &Store) {
        if !self.options.is_followed || self.faults {
            return;
        }
        self.store = Some(store.clone());
        self.follow();
        self.following.follower = None;
        self.store = None;
        let all = everything(store, "");
        let is_missed =
            |(key, sample): &(&Key, &Sample)| !self.following.seen.get(*key).is_some_and(|seen| seen.contains(sample));
        let missed: BTreeSet<&Key> = all.iter().filter(is_missed).map(|(key, _)| key).collect();
        assert!(missed.is_empty(), "not followed: {missed:?}, {}", self.context());
    }

    fn one(&mut self) {
        self.step += 1;
        self.advance();
        match self.chance.below(100) {
            0..36 => self.scrape(),
            36..58 => self.push(),
            58..66 => self.push_histograms(),
            66..72 => self.push_again(),
            72..74 => self.exemplars(),
            74..78 => self.delete(),
            78..92 => self.housekeeping(),
            92..94 => self.restart(),
            _ if self.faults => self.fault(),
            _ => self.scrape(),
        }
    }

    /// Lives until the disk is gone or the steps are done; then opens what is left and compares.
    fn life(&mut self) {
        let steps = 10 + self.chance.below(40);
        if self.chance.one_in(2) {
            self.disk.stop_after(self.chance.below(120));
        }
        match self.try_open(&self.disk) {
            Ok(store) => self.store = Some(store),
            Err(error) => assert!(self.disk.is_off(), "{error}, {}", self.context()),
        }
        self.last_cut = 0;
        for number in 0..steps {
            if self.store.is_none() || self.disk.is_off() {
                break;
            }
            self.one();
            if self.chance.one_in(3) {
                self.follow();
            }
            if number % 8 == 7
                && let Some(store) = &self.store
                && !self.disk.is_off()
            {
                self.model.check(store, Level::Memory, self.oldest_ms(), &self.context());
            }
        }
        let power = self.chance.one_in(2);
        let after = if power { self.disk.after_power_cut(self.chance.next()) } else { self.disk.after_kill() };
        drop(self.store.take());
        self.following.follower = None;
        self.disk = after;
        self.faulty = false;
        self.note(&format!("crash, power cut: {power}"));
        // The process may die again while it recovers.
        for again in 0..2 {
            if self.chance.one_in(3) {
                self.disk.stop_after(self.chance.below(6));
                drop(self.try_open(&self.disk));
                let power = power && again == 0;
                self.disk = if power { self.disk.after_power_cut(self.chance.next()) } else { self.disk.after_kill() };
                self.note("died while recovering");
            }
        }
        let store = self.try_open(&self.disk).unwrap_or_else(|error| panic!("{error}, {}", self.context()));
        let level = if power { Level::Synced } else { Level::Written };
        let found = self.model.check(&store, level, self.oldest_ms(), &self.context());
        self.model.settle(&found, power, self.oldest_ms());
        self.note(&format!("found {}", found.len()));
        self.check_followed(&store);
        drop(store);
        self.disk = self.disk.after_kill();
    }
}

/// Lives one history; returns its trace and how many samples were required at its end.
fn live(seed: u64) -> (u64, usize) {
    let _repeat = Repeat(seed);
    let trace = std::env::var_os("WATCHKEEPER_TRACE").is_some();
    if trace {
        drop(tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).with_writer(std::io::stderr).try_init());
    }
    let mut world = World::new(seed);
    for _ in 0..3 {
        world.life();
    }
    (world.trace.finish(), world.model.required())
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Lives every fourth history.
fn live_part(part: u64) {
    if let Some(seed) = number("WATCHKEEPER_SEED") {
        if seed % 4 == part {
            live(seed);
        }
        return;
    }
    let first = number("WATCHKEEPER_FIRST_SEED").unwrap_or(0);
    let seeds = first..first + number("WATCHKEEPER_SEEDS").unwrap_or(SEEDS);
    let required: usize = seeds.filter(|seed| seed % 4 == part).map(|seed| live(seed).1).sum();
    assert!(required > 0 || number("WATCHKEEPER_SEEDS").is_some(), "histories that prove nothing");
}

#[test]
fn random_histories_lose_invent_and_double_nothing_0() {
    live_part(0);
}

#[test]
fn random_histories_lose_invent_and_double_nothing_1() {
    live_part(1);
}

#[test]
fn random_histories_lose_invent_and_double_nothing_2() {
    live_part(2);
}

#[test]
fn random_histories_lose_invent_and_double_nothing_3() {
    live_part(3);
}

#[test]
fn one_seed_is_one_history() {
    let mut traces = Vec::new();
    for seed in 0..8 {
        let trace = live(seed);
        assert_eq!(trace, live(seed), "seed {seed}");
        traces.push(trace);
    }
    traces.dedup();
    assert_eq!(traces.len(), 8, "different seeds are different histories");
}
