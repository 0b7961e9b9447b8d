//! Samples out of the store and into it as OpenMetrics text.
//!
//! ```text
//! export   metric by metric, series by series, ascending in time:   name{labels} value seconds.milliseconds
//! import   text -> runs (sorted by series, on disk) -> one block for each period; nothing of it passes through head or log
//! ```
//!
//! Both hold a bounded part in memory, whatever their length. What OpenMetrics text cannot carry is left out (stale markers,
//! exemplars, native buckets as such) or said in its own way (native histograms as classic buckets); see [`export`].

pub mod export;
mod families;
pub mod import;
mod reading;
mod runs;
