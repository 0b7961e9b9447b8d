//! Selections of the head that are asked for again and again, as rules and dashboards do: which series matchers find, and their
//! labels as somebody looks at them. They hold as long as no series is made or forgotten.

use super::LabelNeed;
use crate::model::labels::Labels;
use crate::model::matcher::{MatchOp, Matcher};
use crate::storage::append::SeriesId;
use crate::storage::head::lock;
use hashbrown::HashMap;
use std::sync::{Arc, Mutex};

/// Bytes that may be held; beyond that all are forgotten.
const BYTES_MAX: usize = 16 << 20;
/// Smaller ones are found quickly enough.
const SERIES_MIN: usize = 8;

/// Matchers, and which labels are looked at.
type Key = (Vec<(String, MatchOp, String)>, LabelNeed);

/// What matchers found: series by ascending numbers, and their labels.
#[derive(Debug, Default)]
pub(crate) struct FoundSeries {
    pub(crate) ids: Vec<SeriesId>,
    pub(crate) labels: Vec<Labels>,
}

impl FoundSeries {
    fn bytes(&self) -> usize {
        self.labels.iter().map(|labels| labels.packed().len() + size_of::<Labels>() + size_of::<SeriesId>() + 16).sum()
    }
}

#[derive(Debug, Default)]
struct Held {
    /// [`Registry::changes`](crate::storage::index::registry::Registry::changes) of what is held.
    changes: u64,
    bytes: usize,
    found: HashMap<Key, Arc<FoundSeries>, foldhash::fast::RandomState>,
}

/// Remembered selections.
#[derive(Debug, Default)]
pub(crate) struct Remembered {
    held: Mutex<Held>,
}

impl Remembered {
    /// Returns what matchers find in a registry that has changed so often, finding it now where it is not known. `find` is
    /// called with that state of the registry.
    pub(crate) fn get(
        &self,
        changes: u64,
        matchers: &[Matcher],
        need: &LabelNeed,
        find: impl FnOnce() -> FoundSeries,
    ) -> Arc<FoundSeries> {
        let matchers = matchers.iter().map(|one| (one.name().to_owned(), one.op(), one.value().to_owned()));
        let key = (matchers.collect(), need.clone());
        {
            let held = lock(&self.held);
            if held.changes == changes
                && let Some(known) = held.found.get(&key)
            {
                return Arc::clone(known);
            }
        }
        let found = Arc::new(find());
        if found.ids.len() >= SERIES_MIN {
            let bytes = found.bytes();
            let mut held = lock(&self.held);
            if held.changes != changes || held.bytes + bytes > BYTES_MAX {
                *held = Held { changes, ..Held::default() };
            }
            if bytes <= BYTES_MAX / 4 {
                held.bytes += bytes;
                held.found.insert(key, Arc::clone(&found));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn holds_until_the_registry_changes() {
        let (remembered, asked) = (Remembered::default(), Cell::new(0));
        let get = |changes, value: &str, need: &LabelNeed| {
            remembered.get(changes, &[Matcher::equal("job", value)], need, || {
                asked.set(asked.get() + 1);
                FoundSeries { ids: (0..20).map(SeriesId).collect(), labels: vec![Labels::from_pairs([("job", value)]); 20] }
            })
        };
        let all = LabelNeed::All;
        assert_eq!(get(1, "a", &all).labels[0], Labels::from_pairs([("job", "a")]));
        assert_eq!(get(1, "b", &all).labels[0], Labels::from_pairs([("job", "b")]));
        assert_eq!(get(1, "a", &all).labels[0], Labels::from_pairs([("job", "a")]));
        assert_eq!(asked.get(), 2);
        get(1, "a", &LabelNeed::Only(vec!["job".to_owned()]));
        assert_eq!(asked.get(), 3, "other labels are looked at");
        get(2, "a", &all);
        assert_eq!(asked.get(), 4, "a series came or went");
        get(2, "a", &all);
        assert_eq!(asked.get(), 4);
    }
}
