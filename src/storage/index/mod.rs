//! Finding series: interned texts, posting lists, matchers.

pub(crate) mod matchers;
pub(crate) mod postings;
pub(crate) mod registry;
pub(crate) mod symbols;
