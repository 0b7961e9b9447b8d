//! The head: the newest half hour or so, in memory, by groups.
//!
//! A [`group`] is what is sampled together. It fills one [`generation`] after the other: columns of tokens over shared
//! times. A generation that is full is sealed, encoded as a block, and freed. What is older than its series' newest
//! sample waits in [`late`]; native histograms lie in [`histograms`], so that the float path does not know them.
//!
//! ```text
//! append_row (scrapes, rules)  -> row     one lock, no lookup by sample, an unchanged value costs a comparison
//! append_samples (pushed)      -> points  by learned groups: what arrives together for one target becomes one row
//! ```

pub(crate) mod chunks;
pub(crate) mod cut;
pub(crate) mod forget;
pub(crate) mod generation;
pub(crate) mod group;
pub(crate) mod histograms;
pub(crate) mod late;
pub(crate) mod locations;
pub(crate) mod logged;
pub(crate) mod parts;
pub(crate) mod points;
mod reading;
pub(crate) mod row;
pub(crate) mod starts;

use crate::model::exemplar::Exemplar;
use crate::model::labels::{INSTANCE, JOB, Labels};
use crate::storage::append::{AppendError, GroupId, SeriesId};
use crate::storage::exemplars::Exemplars;
use crate::storage::index::matchers::MatchCache;
use crate::storage::index::registry::Registry;
use crate::storage::metadata::MetadataMap;
use crate::storage::select::remembered::Remembered;
use crate::storage::wal::Log;
use crate::storage::wal::names::{put_group, put_series};
use group::Group;
use hashbrown::HashMap;
use histograms::Histograms;
use late::Late;
use locations::Locations;
use roaring::RoaringBitmap;
use starts::Starts;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Data of so much time makes one generation and one level-0 block.
pub(crate) const WINDOW_MS: i64 = 30 * 60_000;

/// Times beyond this are refused: arithmetic on them would leave its bounds.
pub(crate) const TIME_MAX_MS: i64 = 1 << 52;

/// Names of groups that the store itself made begin so.
pub(crate) const LEARNED_PREFIX: &str = "~";

/// So many numbers in a row may belong to groups whose definitions were lost; a longer gap is damage.
pub(crate) const LOST_GROUPS_MAX: u32 = 1 << 16;

/// Returns the half hour of a time.
pub(crate) const fn window_of(at_ms: i64) -> i64 {
    at_ms.div_euclid(WINDOW_MS)
}

/// All groups, by number and by name.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    by_id: Vec<Option<Arc<Group>>>,
    by_name: HashMap<Box<str>, u32, foldhash::fast::RandomState>,
}

impl Groups {
    /// Puts a group under its number, which is not below the next one; numbers between belong to groups that were lost.
    pub(crate) fn put(&mut self, id: GroupId, name: &str) {
        self.skip_to(id.0);
        self.by_id.push(Some(Arc::new(Group::new(id))));
        self.by_name.insert(Box::from(name), id.0);
    }

    /// Returns all groups.
    pub(crate) fn all(&self) -> Vec<Arc<Group>> {
        self.by_id.iter().flatten().map(Arc::clone).collect()
    }

    /// Returns the number that the next group will have.
    pub(crate) const fn next(&self) -> u32 {
        self.by_id.len() as u32
    }

    /// Forgets groups; returns their names. Their numbers are not given again.
    fn forget(&mut self, gone: &[u32]) -> Vec<Box<str>> {
        for id in gone {
            if let Some(slot) = self.by_id.get_mut(*id as usize) {
                *slot = None;
            }
        }
        let by_id = &self.by_id;
        let is_gone = |id: u32| by_id.get(id as usize).is_none_or(Option::is_none);
        self.by_name.extract_if(|_, id| is_gone(*id)).map(|(name, _)| name).collect()
    }

    /// Returns all groups that have a name, by number.
    pub(crate) fn named(&self) -> Vec<(GroupId, String)> {
        let mut named: Vec<_> = self.by_name.iter().map(|(name, id)| (GroupId(*id), name.to_string())).collect();
        named.sort_unstable();
        named
    }

    /// Never gives numbers below `next`: something that was lost had them. Does nothing where that cannot be true.
    pub(crate) fn skip_to(&mut self, next: u32) {
        if next as usize > self.by_id.len() + LOST_GROUPS_MAX as usize {
            return;
        }
        if self.next() < next {
            self.by_id.resize(next as usize, None);
        }
    }
}

/// Everything in memory.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) registry: RwLock<Registry>,
    pub(crate) match_cache: MatchCache,
    pub(crate) remembered: Remembered,
    pub(crate) groups: RwLock<Groups>,
    pub(crate) locations: RwLock<Locations>,
    pub(crate) late: Mutex<Late>,
    pub(crate) histograms: Mutex<Histograms>,
    /// What a cut took and blocks do not hold yet.
    pub(crate) aside: RwLock<Arc<cut::Aside>>,
    pub(crate) exemplars: Mutex<Exemplars>,
    pub(crate) starts: RwLock<Starts>,
    pub(crate) metadata: RwLock<MetadataMap>,
    /// Appends hold it shared, a cut alone: what a cut seals and the log position it names belong together.
    gate: RwLock<()>,
    /// Of learned groups that were full: which part is open.
    learned_parts: Mutex<HashMap<String, u32, foldhash::fast::RandomState>>,
    /// Series that nothing used at the last look.
    idle: Mutex<RoaringBitmap>,
    newest_ms: AtomicI64,
    series_limit: u32,
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

impl Head {
    /// Returns an empty head; `seed` keys its hashes, `series_limit` 0 means no limit.
    pub(crate) fn new(seed: u64, series_limit: u32, exemplars_max: usize) -> Self {
        Self {
            registry: RwLock::new(Registry::new(seed)),
            match_cache: MatchCache::default(),
            remembered: Remembered::default(),
            groups: RwLock::default(),
            locations: RwLock::default(),
            late: Mutex::default(),
            histograms: Mutex::default(),
            aside: RwLock::default(),
            exemplars: Mutex::new(Exemplars::new(exemplars_max)),
            starts: RwLock::default(),
            metadata: RwLock::default(),
            gate: RwLock::default(),
            learned_parts: Mutex::default(),
            idle: Mutex::default(),
            newest_ms: AtomicI64::new(i64::MIN),
            series_limit: if series_limit == 0 { u32::MAX } else { series_limit },
        }
    }

    /// Holds cuts back while samples go in.
    pub(crate) fn pass_gate(&self) -> RwLockReadGuard<'_, ()> {
        read(&self.gate)
    }

    /// Returns the number of a label set, making it if it is new.
    pub(crate) fn series(&self, log: &Log, labels: &Labels) -> Result<SeriesId, AppendError> {
        if let Some(known) = read(&self.registry).find(labels) {
            return Ok(known);
        }
        let mut registry = write(&self.registry);
        if let Some(known) = registry.find(labels) {
            return Ok(known);
        }
        if registry.live().len() >= u64::from(self.series_limit) {
            return Err(AppendError::Limit(format!("the limit of {} series is reached", self.series_limit)));
        }
        let made = registry.make(labels).ok_or_else(|| AppendError::Limit("the tables of series are full".to_owned()))?;
        // Under the lock: symbols are numbered in the order of the names log.
        log.define(|names| put_series(names, registry.symbols(), &made));
        Ok(made.id)
    }

    /// Returns the group of a name, making it if it is new.
    pub(crate) fn group_named(&self, log: &Log, name: &str) -> GroupId {
        if let Some(known) = read(&self.groups).by_name.get(name) {
            return GroupId(*known);
        }
        let mut groups = write(&self.groups);
        if let Some(known) = groups.by_name.get(name) {
            return GroupId(*known);
        }
        let id = GroupId(groups.next());
        groups.put(id, name);
        log.define(|names| put_group(names, id, name));
        id
    }

    /// Returns a group by its number.
    pub(crate) fn group(&self, id: GroupId) -> Option<Arc<Group>> {
        read(&self.groups).by_id.get(id.0 as usize)?.as_ref().map(Arc::clone)
    }

    /// Returns the name of the learned group of a pushed series: its target, on one of a few lanes.
    fn learned_name(&self, series: SeriesId, lane: u32) -> String {
        let registry = read(&self.registry);
        format!("{LEARNED_PREFIX}push/{lane}/{}/{}", registry.label(series, JOB), registry.label(series, INSTANCE))
    }

    /// Notes the time of a sample.
    pub(crate) fn saw_time(&self, at_ms: i64) {
        if at_ms > self.newest_ms.load(Ordering::Relaxed) {
            self.newest_ms.fetch_max(at_ms, Ordering::Relaxed);
        }
    }

    /// Returns the newest time of all samples since the start; `i64::MIN` before the first.
    pub(crate) fn newest_ms(&self) -> i64 {
        self.newest_ms.load(Ordering::Relaxed)
    }

    /// Keeps exemplars of a series; returns how many were new.
    pub(crate) fn add_exemplars(&self, series: SeriesId, fresh: &[Exemplar]) -> usize {
        lock(&self.exemplars).add(series, fresh)
    }
}
