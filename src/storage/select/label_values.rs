//! Label names and values of matching series, in the head and in blocks of a range.

use super::series_set::select_error;
use super::{SelectError, TimeRange};
use crate::model::matcher::Matcher;
use crate::storage::blocks::BlockSet;
use crate::storage::head::{Head, read};
use crate::storage::index::matchers::{MatchCache, PairIndex, matching};
use roaring::RoaringBitmap;
use std::collections::BTreeSet;

/// Returns the series that satisfy one of several sets of matchers; `None`: all (no set was given).
fn matching_any(index: &impl PairIndex, cache: Option<&MatchCache>, sets: &[Vec<Matcher>]) -> Option<RoaringBitmap> {
    sets.iter().map(|set| matching(index, cache, set)).reduce(|mut all, more| {
        all |= more;
        all
    })
}

/// Returns the label names of matching series.
pub(crate) fn names(
    head: &Head,
    blocks: &BlockSet,
    sets: &[Vec<Matcher>],
    range: TimeRange,
) -> Result<BTreeSet<String>, SelectError> {
    let mut found = BTreeSet::new();
    {
        let registry = read(&head.registry);
        let wanted = matching_any(&*registry, Some(&head.match_cache), sets);
        for (name, pairs) in registry.names() {
            if pairs.iter().any(|pair| registry.is_carried(*pair, wanted.as_ref())) {
                found.insert(name.to_owned());
            }
        }
    }
    for block in blocks.list().iter().filter(|block| block.overlaps(range.start_ms, range.end_ms)) {
        let index = block.index().map_err(select_error)?;
        let wanted = matching_any(&*index, Some(index.match_cache()), sets);
        for (name, pairs) in index.names() {
            if !found.contains(name) && pairs.iter_from(0).any(|pair| index.is_carried(pair, wanted.as_ref())) {
                found.insert(name.to_owned());
            }
        }
    }
    Ok(found)
}

fn values_in(
    index: &impl PairIndex,
    cache: Option<&MatchCache>,
    name: &str,
    sets: &[Vec<Matcher>],
    found: &mut BTreeSet<String>,
) {
    let wanted = matching_any(index, cache, sets);
    for pair in index.pairs_of(name).iter_from(0) {
        let value = index.value_of(pair);
        if !found.contains(value) && index.is_carried(pair, wanted.as_ref()) {
            found.insert(value.to_owned());
        }
    }
}

/// Returns the values of one label in matching series.
pub(crate) fn values(
    head: &Head,
    blocks: &BlockSet,
    name: &str,
    sets: &[Vec<Matcher>],
    range: TimeRange,
) -> Result<BTreeSet<String>, SelectError> {
    let mut found = BTreeSet::new();
    values_in(&*read(&head.registry), Some(&head.match_cache), name, sets, &mut found);
    for block in blocks.list().iter().filter(|block| block.overlaps(range.start_ms, range.end_ms)) {
        let index = block.index().map_err(select_error)?;
        values_in(&*index, Some(index.match_cache()), name, sets, &mut found);
    }
    Ok(found)
}

/// Cuts a sorted set to a limit; 0 means none.
pub(crate) fn limited(found: BTreeSet<String>, limit: usize) -> Vec<String> {
    let limit = if limit == 0 { usize::MAX } else { limit };
    found.into_iter().take(limit).collect()
}
