//! The time-series store.
//!
//! It has not heard of HTTP, YAML, PromQL or alerts. Writers go through [`append`], readers through [`select`].

#![allow(dead_code, reason = "the log and the blocks use the rest")]

pub mod append;
mod column;
mod dir;
pub mod error;
mod exemplars;
mod head;
mod index;
mod metadata;
pub mod progress;
mod quarantine;
pub mod select;
pub mod stats;
pub mod store;
mod wal;

pub use error::StoreError;
pub use progress::Progress;
pub use store::{Store, StoreOptions};

#[cfg(test)]
mod tests;
