//! Targets to samples.

mod cache;
mod cache_diff;
#[cfg(test)]
mod cache_tests;
