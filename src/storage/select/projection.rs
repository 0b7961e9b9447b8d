//! Label sets of a selection, cut down to the labels that the reader looks at: equal ones are made once and shared.

use super::LabelNeed;
use crate::model::labels::Labels;
use crate::storage::index::registry::PairId;
use hashbrown::HashMap;
use smallvec::SmallVec;

/// Label sets remembered: a reader who wants all labels but one sees as many sets as series, and remembering is in vain.
const REMEMBERED_MAX: usize = 4096;

/// Whether a pair is looked at, as far as that was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    No,
    Wanted,
    Unwanted,
}

/// Makes the label sets of one index, whose pairs have numbers of their own.
#[derive(Debug)]
pub(super) struct Projection<'n> {
    need: &'n LabelNeed,
    pairs: Vec<Known>,
    sets: HashMap<SmallVec<[PairId; 6]>, Labels, foldhash::fast::RandomState>,
    /// The set before: neighbours are often alike.
    before: Option<(SmallVec<[PairId; 6]>, Labels)>,
}

impl<'n> Projection<'n> {
    pub(super) fn new(need: &'n LabelNeed) -> Self {
        Self { need, pairs: Vec::new(), sets: HashMap::default(), before: None }
    }

    /// Returns the labels of a series with these pairs.
    pub(super) fn labels<'t>(
        &mut self,
        pairs: impl Iterator<Item = PairId>,
        text: impl Fn(PairId) -> (&'t str, &'t str),
    ) -> Labels {
        if *self.need == LabelNeed::All {
            return Labels::from_sorted(pairs.map(text));
        }
        if matches!(self.need, LabelNeed::Only(names) if names.is_empty()) {
            return Labels::empty();
        }
        let mut wanted: SmallVec<[PairId; 6]> = SmallVec::new();
        for pair in pairs {
            let place = pair as usize;
            if self.pairs.len() <= place {
                self.pairs.resize(place + 1, Known::No);
            }
            let known = &mut self.pairs[place];
            if *known == Known::No {
                *known = if self.need.wants(text(pair).0) { Known::Wanted } else { Known::Unwanted };
            }
            if *known == Known::Wanted {
                wanted.push(pair);
            }
        }
        if wanted.is_empty() {
            return Labels::empty();
        }
        if let Some((_, known)) = self.before.as_ref().filter(|(before, _)| *before == wanted) {
            return known.clone();
        }
        let known = self.sets.get(&wanted).cloned();
        let labels = known.unwrap_or_else(|| {
            let labels = Labels::from_sorted(wanted.iter().map(|pair| text(*pair)));
            if self.sets.len() < REMEMBERED_MAX {
                self.sets.insert(wanted.clone(), labels.clone());
            }
            labels
        });
        self.before = Some((wanted, labels.clone()));
        labels
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_sets_are_the_same() {
        let texts = [("__name__", "up"), ("g", "x"), ("g", "y"), ("instance", "1"), ("instance", "2")];
        let text = |pair: PairId| texts[pair as usize];
        let only = LabelNeed::Only(vec!["g".to_owned()]);
        let mut projection = Projection::new(&only);
        let sets = [[0, 1, 3], [0, 1, 4], [0, 2, 4]].map(|pairs| projection.labels(pairs.into_iter(), text));
        assert_eq!(sets[0], Labels::from_pairs([("g", "x")]));
        assert_eq!(sets[0].address(), sets[1].address());
        assert_eq!(sets[2], Labels::from_pairs([("g", "y")]));
        let without = LabelNeed::Without(vec!["g".to_owned()]);
        let labels = Projection::new(&without).labels([0, 1, 3].into_iter(), text);
        assert_eq!(labels, Labels::from_pairs([("__name__", "up"), ("instance", "1")]));
        let all = LabelNeed::All;
        assert_eq!(Projection::new(&all).labels([1, 3].into_iter(), text), Labels::from_pairs([("g", "x"), ("instance", "1")]));
        let nothing = LabelNeed::Only(Vec::new());
        assert!(Projection::new(&nothing).labels([1, 3].into_iter(), text).is_empty());
    }
}
