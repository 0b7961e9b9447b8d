//! The time-series store.
//!
//! It has not heard of HTTP, YAML, PromQL or alerts. Writers go through [`append`], readers through [`select`].

#![allow(dead_code, reason = "the log and the blocks use the rest")]

pub mod append;
mod column;
pub mod error;
mod exemplars;
mod head;
mod index;
mod metadata;
pub mod select;
pub mod stats;
pub mod store;
mod wal;

pub use error::StoreError;
pub use store::{Store, StoreOptions};

#[cfg(test)]
mod tests;
