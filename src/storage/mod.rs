//! The time-series store.
//!
//! It has not heard of HTTP, YAML, PromQL or alerts. Writers go through [`append`], readers through [`select`].

pub mod append;
pub mod select;
