//! Targets that another server scrapes instead of this one. Who does is told from outside: here nobody knows why.

use crate::model::labels::Labels;
use std::sync::Arc;

/// Tells who scrapes a target, by its hash.
type Who = dyn Fn(u64) -> Option<String> + Send + Sync;

/// What other servers scrape. By default nothing.
#[derive(Clone, Default)]
pub struct Elsewhere {
    who: Option<Arc<Who>>,
    /// What the answers come from, in words: two of the same words are the same.
    from: String,
}

impl std::fmt::Debug for Elsewhere {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Elsewhere").field(&self.from).finish()
    }
}

impl Elsewhere {
    /// Makes one of what decides and how it does. `who` returns the name of the other server that scrapes the target with that
    /// hash (of its labels and URL), `None` where it is this one.
    pub fn of<T>(decides: T, who: impl Fn(&T, u64) -> Option<String> + Send + Sync + 'static) -> Self
    where
        T: std::fmt::Debug + Send + Sync + 'static,
    {
        let from = format!("{decides:?}");
        Self { who: Some(Arc::new(move |target| who(&decides, target))), from }
    }

    /// Returns whether both say the same of each target.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.who.is_some() == other.who.is_some() && self.from == other.from
    }

    pub(super) fn who(&self, target: u64) -> Option<String> {
        self.who.as_ref().and_then(|who| who(target))
    }
}

/// A target that another server scrapes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ElsewhereTarget {
    /// The job that it belongs to.
    pub pool: String,
    /// Labels of its samples.
    pub labels: Labels,
    /// What is fetched.
    pub url: String,
    /// Who scrapes it.
    pub member: String,
}
