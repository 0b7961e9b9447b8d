//! What a store must hold, as plain maps: every sample that was offered, and how safe it was said to be.
//!
//! A sample is required as far as its level says: in memory, after `kill -9`, after a power cut. One that was offered and
//! neither acknowledged nor refused may be there or not. Everything else must not be there.

use super::{ALL, labels};
use crate::model::histogram::FloatHistogram;
use crate::model::matcher::Matcher;
use crate::storage::Store;
use crate::storage::select::{Hints, Querier as _, SeriesSamples};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A value, compared bit for bit.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Sample {
    Float(u64),
    Histogram(Arc<FloatHistogram>),
}

/// How safe a sample was said to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// Offered; nothing was promised.
    Offered,
    /// In memory: the log has failed.
    Memory,
    /// Survives `kill -9`.
    Written,
    /// Survives a power cut.
    Synced,
}

#[derive(Clone, Debug)]
struct Fact {
    values: Vec<Sample>,
    level: Level,
}

/// A series' name and a time.
pub(super) type Key = (String, i64);

/// What may and must be there.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    facts: BTreeMap<Key, Fact>,
    /// Written since the last sync of the log, with no failure between.
    unsynced: Vec<Key>,
}

impl Model {
    /// Notes a sample that was offered with this promise.
    pub(super) fn offer(&mut self, key: &Key, value: &Sample, level: Level) {
        let fact = self.facts.entry(key.clone()).or_insert_with(|| Fact { values: Vec::new(), level });
        if !fact.values.contains(value) {
            fact.values.push(value.clone());
        }
        fact.level = fact.level.max(level);
        if level == Level::Written {
            self.unsynced.push(key.clone());
        }
    }

    /// What was written is now synced.
    pub(super) fn log_synced(&mut self) {
        for key in std::mem::take(&mut self.unsynced) {
            if let Some(fact) = self.facts.get_mut(&key).filter(|fact| fact.level >= Level::Written) {
                fact.level = Level::Synced;
            }
        }
    }

    /// The log has failed: a later sync says nothing about what was written before.
    pub(super) fn log_failed(&mut self) {
        self.unsynced.clear();
    }

    /// A process ended that could not save what was in its memory alone.
    pub(super) fn memory_lost(&mut self) {
        self.unsynced.clear();
        for fact in self.facts.values_mut().filter(|fact| fact.level == Level::Memory) {
            fact.level = Level::Offered;
        }
    }

    /// Everything in memory has become blocks, or is in a synced log.
    pub(super) fn all_in_blocks(&mut self) {
        self.unsynced.clear();
        for fact in self.facts.values_mut().filter(|fact| fact.level > Level::Offered) {
            fact.level = Level::Synced;
        }
    }

    /// A deletion: done, or tried and failed.
    pub(super) fn delete(&mut self, is_meant: impl Fn(&Key) -> bool, done: bool) {
        if done {
            self.facts.retain(|key, _| !is_meant(key));
            return;
        }
        for (_, fact) in self.facts.iter_mut().filter(|(key, _)| is_meant(key)) {
            fact.level = Level::Offered;
        }
    }

    /// Compares with what a store holds. `level` is the promise that counts; samples before `oldest_ms` may be gone.
    pub(super) fn check(&self, store: &Store, level: Level, oldest_ms: i64, context: &str) -> BTreeMap<Key, Sample> {
        let found = everything(store, context);
        let required = self.facts.iter().filter(|(key, fact)| fact.level >= level && key.1 >= oldest_ms);
        let lost: Vec<_> = required.filter(|(key, _)| !found.contains_key(*key)).collect();
        if let Some((key, _)) = lost.first() {
            let beside: Vec<_> =
                found.range((key.0.clone(), i64::MIN)..=(key.0.clone(), i64::MAX)).map(|(key, _)| key.1).collect();
            panic!("{} samples acknowledged and lost: {lost:?}; of the first series there are {beside:?}; {context}", lost.len());
        }
        for (key, value) in &found {
            let known = self.facts.get(key).map(|fact| fact.values.as_slice());
            assert!(known.is_some_and(|values| values.contains(value)), "{key:?} {value:?} is none of {known:?}, {context}");
        }
        found
    }

    /// After a crash: what was found is what there is. `power` says whether all of it is on stable storage now.
    pub(super) fn settle(&mut self, found: &BTreeMap<Key, Sample>, power: bool, oldest_ms: i64) {
        self.unsynced.clear();
        let level = if power { Level::Synced } else { Level::Written };
        self.facts.retain(|key, fact| {
            let is_there = found.contains_key(key);
            if is_there {
                fact.level = fact.level.max(level);
            } else {
                fact.level = Level::Offered;
            }
            // What retention removed may come back with an old segment.
            is_there || key.1 < oldest_ms
        });
    }

    /// Returns how many samples must be there.
    pub(super) fn required(&self) -> usize {
        self.facts.values().filter(|fact| fact.level > Level::Offered).count()
    }

    /// Returns some known sample, for offering it again.
    pub(super) fn nth(&self, number: usize) -> Option<(Key, Sample)> {
        let (key, fact) = self.facts.iter().nth(number % self.facts.len().max(1))?;
        Some((key.clone(), fact.values.first()?.clone()))
    }
}

fn sample(samples: &SeriesSamples, i: usize) -> Option<Sample> {
    let histogram = samples.histogram(i).map(|histogram| Sample::Histogram(Arc::clone(histogram)));
    histogram.or_else(|| samples.float(i).map(|value| Sample::Float(value.to_bits())))
}

/// Reads all samples of a store; none may come twice.
pub(super) fn everything(store: &Store, context: &str) -> BTreeMap<Key, Sample> {
    let hints = Hints { sorted: true, ..Hints::default() };
    let selection = store.select(&[Matcher::equal("job", "node")], ALL, &hints).expect("selects");
    assert!(selection.warnings.is_empty(), "{:?}, {context}", selection.warnings);
    let read = selection.reader.read(0..selection.series.len()).expect("reads");
    let mut found = BTreeMap::new();
    for (series, samples) in selection.series.iter().zip(&read) {
        let name = series.labels.metric_name();
        assert_eq!(series.labels, labels(name, "a"), "{context}");
        assert!(samples.times.windows(2).all(|pair| pair[0] < pair[1]), "{name}: times do not ascend, {context}");
        for (i, at_ms) in samples.times.iter().enumerate() {
            let value = sample(samples, i).unwrap_or_else(|| panic!("{name} at {at_ms}: no value, {context}"));
            assert!(found.insert((name.to_owned(), *at_ms), value).is_none(), "{name} at {at_ms} twice, {context}");
        }
    }
    found
}
