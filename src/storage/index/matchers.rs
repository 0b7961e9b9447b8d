//! Matchers over posting lists.
//!
//! Equality and literal alternatives are lookups; a regular expression runs over a label's values, not over series,
//! and what it found is kept: values are only ever added, so that next time only new ones are tried.

use super::registry::{PairId, Registry};
use crate::model::labels::METRIC_NAME;
use crate::model::matcher::{MatchOp, Matcher};
use crate::storage::append::SeriesId;
use roaring::RoaringBitmap;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// The pairs of one label name.
#[derive(Clone, Debug)]
pub(crate) enum Pairs<'a> {
    /// As they were made.
    List(&'a [PairId]),
    /// Side by side.
    Range(Range<PairId>),
}

impl Pairs<'_> {
    /// Returns how many there are.
    pub(crate) const fn len(&self) -> usize {
        match self {
            Self::List(list) => list.len(),
            Self::Range(range) => (range.end - range.start) as usize,
        }
    }

    /// Walks the pairs from the `skip`th on.
    pub(crate) fn iter_from(&self, skip: usize) -> impl Iterator<Item = PairId> + '_ {
        let (list, range) = match self {
            Self::List(list) => (*list, 0..0),
            Self::Range(range) => (&[][..], range.clone()),
        };
        list.iter().copied().chain(range).skip(skip)
    }
}

/// What matchers need to know: pairs of a label, their values, who carries them.
pub(crate) trait PairIndex {
    /// Returns the number of a pair.
    fn pair(&self, name: &str, value: &str) -> Option<PairId>;
    /// Returns the pairs of a label name.
    fn pairs_of(&self, name: &str) -> Pairs<'_>;
    /// Returns the value of a pair.
    fn value_of(&self, pair: PairId) -> &str;
    /// Returns pairs of a label name, those among them whose value begins with `prefix` for sure.
    fn pairs_with_prefix(&self, name: &str, _prefix: &str) -> Pairs<'_> {
        self.pairs_of(name)
    }
    /// Adds the series that carry a pair.
    fn add_postings(&self, pair: PairId, out: &mut RoaringBitmap);
    /// Returns all series.
    fn all(&self) -> RoaringBitmap;

    /// Returns whether one of the wanted series (`None`: any at all) carries a pair.
    fn is_carried(&self, pair: PairId, wanted: Option<&RoaringBitmap>) -> bool {
        let mut carriers = RoaringBitmap::new();
        self.add_postings(pair, &mut carriers);
        wanted.map_or(!carriers.is_empty(), |wanted| !carriers.is_disjoint(wanted))
    }
}

impl Registry {
    /// Calls `found(i, j)` for each `series[i]` whose labels satisfy all of `wanted[j]`; a number without labels satisfies none.
    pub(crate) fn matching(&self, series: &[SeriesId], wanted: &[&[Matcher]], found: &mut dyn FnMut(usize, usize)) {
        for (place, id) in series.iter().enumerate().filter(|(_, id)| self.has(**id)) {
            // Most are refused by their name alone.
            let name = self.label(*id, METRIC_NAME);
            for (which, matchers) in wanted.iter().enumerate() {
                let named = matchers.iter().all(|one| one.name() != METRIC_NAME || one.matches(name));
                if named && matchers.iter().all(|one| one.matches(self.label(*id, one.name()))) {
                    found(place, which);
                }
            }
        }
    }
}

impl PairIndex for Registry {
    fn pair(&self, name: &str, value: &str) -> Option<PairId> {
        self.find_pair(self.symbols().find(name)?, self.symbols().find(value)?)
    }

    fn pairs_of(&self, name: &str) -> Pairs<'_> {
        Pairs::List(Self::pairs_of(self, name))
    }

    fn value_of(&self, pair: PairId) -> &str {
        Self::value_of(self, pair)
    }

    fn add_postings(&self, pair: PairId, out: &mut RoaringBitmap) {
        self.postings(pair).union_into(out);
    }

    fn all(&self) -> RoaringBitmap {
        self.live().clone()
    }

    fn is_carried(&self, pair: PairId, wanted: Option<&RoaringBitmap>) -> bool {
        let carriers = self.postings(pair);
        wanted.map_or(carriers.len() > 0, |wanted| carriers.meets(wanted))
    }
}

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
    /// Forgets everything: pairs were forgotten and their numbers may be given again.
    pub(crate) fn clear(&self) {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Returns the pairs of the matcher's label whose value matches its expression (the negation not applied).
    fn pairs(&self, index: &impl PairIndex, matcher: &Matcher) -> Vec<PairId> {
        let all = index.pairs_with_prefix(matcher.name(), literal_prefix(matcher.value()));
        let key = (matcher.name().to_owned(), matcher.value().to_owned());
        let mut known = self.found.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned().unwrap_or_default();
        if known.tried < all.len() {
            known.pairs.extend(tried(index, matcher, &all, known.tried));
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

/// Runs a matcher's expression over values from the `skip`th on.
fn tried(index: &impl PairIndex, matcher: &Matcher, all: &Pairs<'_>, skip: usize) -> Vec<PairId> {
    let Some(regex) = matcher.regex() else { return Vec::new() };
    let prefix = literal_prefix(matcher.value());
    let matches = |value: &str| value.starts_with(prefix) && regex.is_match(value);
    all.iter_from(skip).filter(|pair| matches(index.value_of(*pair))).collect()
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

fn postings_of(index: &impl PairIndex, name: &str, values: &[&str]) -> RoaringBitmap {
    union(index, values.iter().filter_map(|value| index.pair(name, value)))
}

fn union(index: &impl PairIndex, pairs: impl Iterator<Item = PairId>) -> RoaringBitmap {
    let mut out = RoaringBitmap::new();
    for pair in pairs {
        index.add_postings(pair, &mut out);
    }
    out
}

fn verdict(index: &impl PairIndex, cache: Option<&MatchCache>, matcher: &Matcher) -> Verdict {
    let (name, value) = (matcher.name(), matcher.value());
    let found = || match (literal_alternatives(value), cache) {
        (Some(values), _) => postings_of(index, name, &values),
        (None, Some(cache)) => union(index, cache.pairs(index, matcher).into_iter()),
        (None, None) => union(index, tried(index, matcher, &index.pairs_with_prefix(name, literal_prefix(value)), 0).into_iter()),
    };
    let everyone = || union(index, index.pairs_of(name).iter_from(0));
    match (matcher.op(), matcher.matches("")) {
        (MatchOp::Equal, false) => Verdict::Only(postings_of(index, name, &[value])),
        // Equal to the empty value: the label is absent.
        (MatchOp::Equal, true) => Verdict::AllBut(everyone()),
        (MatchOp::NotEqual, true) => Verdict::AllBut(postings_of(index, name, &[value])),
        (MatchOp::NotEqual, false) => Verdict::Only(everyone()),
        (MatchOp::Regex, false) => Verdict::Only(found()),
        (MatchOp::Regex, true) if value == ".*" => Verdict::AllBut(RoaringBitmap::new()),
        (MatchOp::Regex, true) => Verdict::AllBut(everyone() - found()),
        (MatchOp::NotRegex, true) => Verdict::AllBut(found()),
        (MatchOp::NotRegex, false) => Verdict::Only(everyone() - found()),
    }
}

/// Returns the series that satisfy all matchers.
pub(crate) fn matching(index: &impl PairIndex, cache: Option<&MatchCache>, matchers: &[Matcher]) -> RoaringBitmap {
    let mut only: Vec<RoaringBitmap> = Vec::new();
    let mut without: Vec<RoaringBitmap> = Vec::new();
    for matcher in matchers {
        match verdict(index, cache, matcher) {
            Verdict::Only(series) if series.is_empty() => return series,
            Verdict::Only(series) => only.push(series),
            Verdict::AllBut(series) => without.push(series),
        }
    }
    only.sort_by_key(RoaringBitmap::len);
    let mut only = only.into_iter();
    let mut found = only.next().unwrap_or_else(|| index.all());
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
            let found: Vec<u32> = matching(&registry, Some(&cache), matchers).iter().collect();
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
