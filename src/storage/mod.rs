//! The time-series store.
//!
//! It has not heard of HTTP, YAML, PromQL or alerts. Writers go through [`append`], readers through [`select`].

pub mod append;
mod block;
mod blocks;
pub mod changes;
mod column;
mod compact;
mod dir;
pub mod error;
mod exemplars;
pub mod follow;
#[cfg(any(test, feature = "sim"))]
pub mod fuzz;
mod head;
mod index;
pub mod inventory;
mod keeper;
#[doc(hidden)]
pub mod measure;
mod metadata;
pub mod progress;
mod quarantine;
mod reserve;
pub mod select;
mod snapshot;
pub mod stats;
pub mod store;
pub mod transfer;
pub mod verify;
mod wal;

pub use error::StoreError;
pub use progress::Progress;
pub use store::{Store, StoreOptions};

#[cfg(test)]
mod tests;
