//! The store as scraping sees it where the members share the targets: it remembers which series were scraped here, and up to
//! when. What follows the log for the other members sends these on and nothing else: neither what rules computed (everyone
//! computes it) nor what the others sent.

use crate::model::exemplar::Exemplar;
use crate::model::labels::Labels;
use crate::model::matcher::Matcher;
use crate::model::metadata::Metadata;
use crate::storage::append::{Append, AppendError, Appended, BatchSample, Durability, GroupId, SeriesId};
use hashbrown::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// Series that are known beyond those of the present layouts before the others are forgotten.
const SPARE: usize = 100_000;
/// A group without a scrape for that long is that of a target that is gone.
const FORGET_MS: i64 = 60 * 60 * 1000;

/// One target: what it wrote last, and when.
struct Group {
    layout: Arc<[SeriesId]>,
    until_ms: Arc<AtomicI64>,
}

#[derive(Default)]
struct Known {
    groups: HashMap<u32, Group>,
    /// Until when each series was scraped here.
    series: HashMap<u32, Arc<AtomicI64>>,
    /// How many there were after the last look at what may be forgotten.
    kept: usize,
}

/// See the module.
pub(super) struct OwnScrapes {
    store: Arc<dyn Append>,
    known: RwLock<Known>,
}

impl OwnScrapes {
    pub(super) fn new(store: Arc<dyn Append>) -> Self {
        Self { store, known: RwLock::default() }
    }

    /// Returns whether a sample of that time was scraped here.
    pub(super) fn has(&self, series: SeriesId, at_ms: i64) -> bool {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.series.get(&series.0).is_some_and(|until_ms| at_ms <= until_ms.load(Ordering::Relaxed))
    }

    /// Notes a row before it is written, so that who reads it in the log finds it noted.
    fn note_row(&self, group: GroupId, at_ms: i64, layout: &Arc<[SeriesId]>) {
        {
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(group) = known.groups.get(&group.0).filter(|group| Arc::ptr_eq(&group.layout, layout)) {
                group.until_ms.fetch_max(at_ms, Ordering::Relaxed);
                return;
            }
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let noted = known
            .groups
            .entry(group.0)
            .or_insert_with(|| Group { layout: Arc::from([]), until_ms: Arc::new(AtomicI64::new(i64::MIN)) });
        noted.layout = Arc::clone(layout);
        noted.until_ms.fetch_max(at_ms, Ordering::Relaxed);
        let until_ms = Arc::clone(&noted.until_ms);
        known.series.extend(layout.iter().map(|series| (series.0, Arc::clone(&until_ms))));
        known.forget(at_ms);
    }

    fn note_samples(&self, group: GroupId, samples: &[BatchSample]) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let Some(until_ms) = known.groups.get(&group.0).map(|group| Arc::clone(&group.until_ms)) else { return };
        for sample in samples {
            until_ms.fetch_max(sample.at_ms, Ordering::Relaxed);
            known.series.insert(sample.series.0, Arc::clone(&until_ms));
        }
    }
}

impl Known {
    /// Forgets series that no target has any more, once there are many. Those beside rows are noted again with each scrape.
    fn forget(&mut self, now_ms: i64) {
        if self.series.len() <= self.kept.saturating_mul(2).saturating_add(SPARE) {
            return;
        }
        self.groups.retain(|_, group| now_ms.saturating_sub(group.until_ms.load(Ordering::Relaxed)) < FORGET_MS);
        self.series.clear();
        for group in self.groups.values() {
            self.series.extend(group.layout.iter().map(|series| (series.0, Arc::clone(&group.until_ms))));
        }
        self.series.shrink_to_fit();
        self.kept = self.series.len();
    }
}

impl Append for OwnScrapes {
    fn series(&self, labels: &Labels) -> Result<SeriesId, AppendError> {
        self.store.series(labels)
    }

    fn known_series(&self, encoded: &[&[u8]], found: &mut Vec<Option<SeriesId>>) {
        self.store.known_series(encoded, found);
    }

    fn matching(&self, series: &[SeriesId], wanted: &[&[Matcher]], found: &mut dyn FnMut(usize, usize)) {
        self.store.matching(series, wanted, found);
    }

    fn group(&self, name: &str) -> Result<GroupId, AppendError> {
        self.store.group(name)
    }

    fn append_row(&self, group: GroupId, at_ms: i64, series: &Arc<[SeriesId]>, values: &[f64]) -> Result<Appended, AppendError> {
        self.note_row(group, at_ms, series);
        self.store.append_row(group, at_ms, series, values)
    }

    fn append_samples(
        &self,
        group: Option<GroupId>,
        samples: &[BatchSample],
        durability: Durability,
    ) -> Result<Appended, AppendError> {
        if let Some(group) = group.filter(|_| !samples.is_empty()) {
            self.note_samples(group, samples);
        }
        self.store.append_samples(group, samples, durability)
    }

    fn note_start(&self, series: SeriesId, at_ms: i64, start_ms: i64) {
        self.store.note_start(series, at_ms, start_ms);
    }

    fn append_exemplars(&self, series: SeriesId, exemplars: &[Exemplar]) {
        self.store.append_exemplars(series, exemplars);
    }

    fn note_metadata(&self, metric: &str, metadata: &Metadata) {
        self.store.note_metadata(metric, metadata);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::Env;
    use crate::env::memory_disk::MemoryDisk;
    use crate::storage::append::BatchValue;
    use crate::storage::{Store, StoreOptions};
    use crate::telemetry::metrics::Registry;

    #[test]
    fn knows_what_was_scraped_here_and_up_to_when() {
        let env = Env { disk: Arc::new(MemoryDisk::new()), ..Env::real() };
        let options = StoreOptions { dir: "data".into(), retention_ms: 0, ..StoreOptions::default() };
        let store: Arc<dyn Append> = Arc::new(Store::open(&env, options, &Registry::new()).unwrap());
        let own = OwnScrapes::new(Arc::clone(&store));
        let series = |name: &str| own.series(&Labels::from_pairs([("__name__", name)])).unwrap();
        let (up, beside, pushed) = (series("up"), series("beside"), series("pushed"));
        let group = own.group("scrape/a").unwrap();
        let layout: Arc<[SeriesId]> = Arc::from([up]);
        for at_ms in [1000, 2000] {
            own.append_row(group, at_ms, &layout, &[1.0]).unwrap();
        }
        let sample = |series, at_ms| BatchSample { series, at_ms, value: BatchValue::Float(1.0) };
        own.append_samples(Some(group), &[sample(beside, 2000)], Durability::Kept).unwrap();
        store.append_samples(None, &[sample(pushed, 2000), sample(up, 3000)], Durability::Kept).unwrap();
        // What another scraped after us is not ours.
        let asked = [(up, 2000), (up, 3000), (beside, 2000), (pushed, 2000)];
        assert_eq!(asked.map(|(series, at_ms)| own.has(series, at_ms)), [true, false, true, false]);
    }
}
