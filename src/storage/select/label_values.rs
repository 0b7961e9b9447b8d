//! Label names and values of matching series.

use crate::model::matcher::Matcher;
use crate::storage::head::{Head, read};
use crate::storage::index::matchers::matching;
use roaring::RoaringBitmap;
use std::collections::BTreeSet;

/// Returns the series that satisfy one of several sets of matchers; `None`: all (no set was given).
fn matching_any(head: &Head, sets: &[Vec<Matcher>]) -> Option<RoaringBitmap> {
    let registry = read(&head.registry);
    let found = sets.iter().map(|set| matching(&registry, &head.match_cache, set));
    found.reduce(|mut all, more| {
        all |= more;
        all
    })
}

/// Returns the label names of matching series of the head.
pub(crate) fn names(head: &Head, sets: &[Vec<Matcher>]) -> BTreeSet<String> {
    let wanted = matching_any(head, sets);
    let registry = read(&head.registry);
    let carried = |pair: &u32| match &wanted {
        None => registry.postings(*pair).len() > 0,
        Some(series) => registry.postings(*pair).meets(series),
    };
    registry.names().filter(|(_, pairs)| pairs.iter().any(carried)).map(|(name, _)| name.to_owned()).collect()
}

/// Returns the values of one label in matching series of the head.
pub(crate) fn values(head: &Head, name: &str, sets: &[Vec<Matcher>]) -> BTreeSet<String> {
    let wanted = matching_any(head, sets);
    let registry = read(&head.registry);
    let carried = |pair: &&u32| match &wanted {
        None => registry.postings(**pair).len() > 0,
        Some(series) => registry.postings(**pair).meets(series),
    };
    registry.pairs_of(name).iter().filter(carried).map(|pair| registry.value_of(*pair).to_owned()).collect()
}

/// Cuts a sorted set to a limit; 0 means none.
pub(crate) fn limited(found: BTreeSet<String>, limit: usize) -> Vec<String> {
    let limit = if limit == 0 { usize::MAX } else { limit };
    found.into_iter().take(limit).collect()
}
