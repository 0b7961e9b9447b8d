//! Finding series: interned texts, posting lists, matchers.

pub(crate) mod encoded;
pub(crate) mod matchers;
pub(crate) mod pages;
pub(crate) mod postings;
pub(crate) mod registry;
mod series_table;
pub(crate) mod symbols;
