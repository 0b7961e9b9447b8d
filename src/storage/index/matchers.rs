//! Matchers over posting lists.
//!
//! Equality and literal alternatives are lookups; a regular expression runs over a label's values, not over series,
//! and what it found is kept: values are only ever added, so that next time only new ones are tried.

use super::postings::Postings;
use super::registry::{PairId, Registry};
use crate::model::matcher::{MatchOp, Matcher};
use roaring::RoaringBitmap;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Expressions remembered; beyond that all are forgotten.
const REMEMBERED_MAX: usize = 512;

#[derive(Clone, Debug, Default)]
struct Found {
    /// Values of the label that were tried.
    tried: usize,
    pairs: Vec<PairId>,
}

/// What regular expressions found.
#[derive(Debug, Default)]
pub(crate) struct MatchCache {
    found: Mutex<BTreeMap<(String, String), Found>>,
}

impl MatchCache {
    /// Forgets all, as when pairs were renumbered.
    pub(crate) fn clear(&self) {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Returns the pairs of the matcher's label whose value matches its expression (the negation not applied).
    fn pairs(&self, registry: &Registry, matcher: &Matcher) -> Vec<PairId> {
        let Some(regex) = matcher.regex() else { return Vec::new() };
        let all = registry.pairs_of(matcher.name());
        let key = (matcher.name().to_owned(), matcher.value().to_owned());
        let mut known = self.found.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned().unwrap_or_default();
        if known.tried < all.len() {
            let prefix = literal_prefix(matcher.value());
            let fresh = all.iter().skip(known.tried).copied();
            let matches = |value: &str| value.starts_with(prefix) && regex.is_match(value);
            known.pairs.extend(fresh.filter(|pair| matches(registry.value_of(*pair))));
            known.tried = all.len();
            let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
            if found.len() >= REMEMBERED_MAX {
                found.clear();
            }
            found.insert(key, known.clone());
        }
        known.pairs
    }
}

/// Returns the literal alternatives of a pattern such as `a|b|c`, or `None` where it is more than that.
pub(crate) fn literal_alternatives(pattern: &str) -> Option<Vec<&str>> {
    let special = |c: char| "\\.+*?()[]{}^$".contains(c);
    (!pattern.contains(special)).then(|| pattern.split('|').collect())
}

/// Returns the text that every match begins with.
pub(crate) fn literal_prefix(pattern: &str) -> &str {
    if pattern.contains(['|', '(', '\\']) {
        return "";
    }
    let end = pattern.find(|c: char| ".+*?()[]{}^$".contains(c)).unwrap_or(pattern.len());
    let (prefix, rest) = pattern.split_at(end);
    // A quantifier takes the last character back: `ab*` begins with `a` alone.
    if rest.starts_with(['*', '?', '{', '+']) {
        let last = prefix.char_indices().next_back().map_or(0, |(at, _)| at);
        return prefix.split_at(last).0;
    }
    prefix
}

/// What one matcher says about series.
enum Verdict {
    /// These satisfy it, no others.
    Only(RoaringBitmap),
    /// All but these satisfy it (an absent label does).
    AllBut(RoaringBitmap),
}

fn postings_of<'a>(registry: &'a Registry, name: &str, value: &str) -> &'a Postings {
    let symbols = registry.symbols();
    let pair = symbols.find(name).zip(symbols.find(value)).and_then(|(name, value)| registry.find_pair(name, value));
    registry.postings(pair.unwrap_or(PairId::MAX))
}

fn union<'a>(lists: impl Iterator<Item = &'a Postings>) -> RoaringBitmap {
    let mut out = RoaringBitmap::new();
    for list in lists {
        list.union_into(&mut out);
    }
    out
}

fn verdict(registry: &Registry, cache: &MatchCache, matcher: &Matcher) -> Verdict {
    let takes_absent = matcher.matches("");
    let found_pairs = || -> RoaringBitmap {
        match literal_alternatives(matcher.value()) {
            Some(values) => union(values.iter().map(|value| postings_of(registry, matcher.name(), value))),
            None => union(cache.pairs(registry, matcher).into_iter().map(|pair| registry.postings(pair))),
        }
    };
    let everyone = || union(registry.pairs_of(matcher.name()).iter().map(|pair| registry.postings(*pair)));
    match (matcher.op(), takes_absent) {
        (MatchOp::Equal, false) => Verdict::Only(postings_of(registry, matcher.name(), matcher.value()).to_bitmap()),
        // Equal to the empty value: the label is absent.
        (MatchOp::Equal, true) => Verdict::AllBut(everyone()),
        (MatchOp::NotEqual, true) => Verdict::AllBut(postings_of(registry, matcher.name(), matcher.value()).to_bitmap()),
        (MatchOp::NotEqual, false) => Verdict::Only(everyone()),
        (MatchOp::Regex, false) => Verdict::Only(found_pairs()),
        (MatchOp::Regex, true) if matcher.value() == ".*" => Verdict::AllBut(RoaringBitmap::new()),
        (MatchOp::Regex, true) => Verdict::AllBut(everyone() - found_pairs()),
        (MatchOp::NotRegex, true) => Verdict::AllBut(found_pairs()),
        (MatchOp::NotRegex, false) => Verdict::Only(everyone() - found_pairs()),
    }
}

/// Returns the series that satisfy all matchers.
pub(crate) fn matching(registry: &Registry, cache: &MatchCache, matchers: &[Matcher]) -> RoaringBitmap {
    let mut only: Vec<RoaringBitmap> = Vec::new();
    let mut without: Vec<RoaringBitmap> = Vec::new();
    for matcher in matchers {
        match verdict(registry, cache, matcher) {
            Verdict::Only(series) if series.is_empty() => return series,
            Verdict::Only(series) => only.push(series),
            Verdict::AllBut(series) => without.push(series),
        }
    }
    only.sort_by_key(RoaringBitmap::len);
    let mut only = only.into_iter();
    let mut found = only.next().unwrap_or_else(|| registry.live().clone());
    for series in only {
        found &= series;
    }
    for series in without {
        found -= series;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::labels::Labels;
    use crate::storage::append::SeriesId;

    #[test]
    fn agrees_with_the_matchers_themselves() {
        let mut registry = Registry::new(3);
        for i in 0..200 {
            let mut pairs = vec![("__name__", format!("metric_{}", i % 7)), ("job", format!("job{}", i % 3))];
            if i % 2 == 0 {
                pairs.push(("zone", format!("z{}", i % 5)));
            }
            pairs.push(("id", format!("{i}")));
            assert!(registry.make(&Labels::from_pairs(pairs)).is_some());
        }
        let cache = MatchCache::default();
        let ops = [MatchOp::Equal, MatchOp::NotEqual, MatchOp::Regex, MatchOp::NotRegex];
        let names = ["__name__", "job", "zone", "id", "nowhere"];
        let values = ["", "metric_3", "job1", "z.*", "z2|z4", "job[01]", ".*", ".+", "metric_.", "z2|", "1?", "zz*.*", "none"];
        let mut all = Vec::new();
        for op in ops {
            for name in names {
                all.extend(values.iter().map(|value| Matcher::new(op, name, *value).expect("a pattern")));
            }
        }
        let check = |matchers: &[Matcher]| {
            let labels = |id: u32| registry.labels(SeriesId(id));
            let expected: Vec<u32> = (0..200).filter(|id| matchers.iter().all(|m| m.matches_labels(&labels(*id)))).collect();
            let found: Vec<u32> = matching(&registry, &cache, matchers).iter().collect();
            assert_eq!(found, expected, "{matchers:?}");
        };
        for _twice in 0..2 {
            for (i, matcher) in all.iter().enumerate() {
                check(std::slice::from_ref(matcher));
                check(&[matcher.clone(), all[(i * 37 + 11) % all.len()].clone()]);
            }
        }
        check(&[]);
    }

    #[test]
    fn finds_literal_parts() {
        let cases = [("node_.*", "node_"), ("ab*", "a"), ("a|b", ""), ("(a)", ""), ("abc", "abc"), ("é?", ""), ("^a", "")];
        for (pattern, prefix) in cases {
            assert_eq!(literal_prefix(pattern), prefix, "{pattern}");
        }
        assert_eq!(literal_alternatives("a|b|"), Some(vec!["a", "b", ""]));
        assert_eq!(literal_alternatives("a.b"), None);
    }
}
