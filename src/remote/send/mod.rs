//! Remote write, the sending side: what was taken into the store goes on to other stores.
//!
//! The log of the store is the queue: each remote follows it at its own pace ([`crate::storage::follow`]) and notes how far it was
//! acknowledged (`position`). So a receiver that is away costs a place in a file and the segments that are kept for it, and
//! neither a restart nor `kill -9` makes a hole: what was not acknowledged is read again. In memory are a few batches for each shard.
//!
//! ```text
//! log --follower--> reader: series known? relabelled, external labels: once      `series`
//!                     |  by series: always the same shard, so that order stays
//!                     +--> shard 0: batch -> encode -> snappy -> POST -> answer   `shard`, `encode`, `answer`
//!                     +--> shard 1 ...                                    |
//!                                      acknowledged up to here <----------+       `acknowledged`
//! ```
//!
//! A receiver that cannot be reached or answers 5xx (429 where configured) is asked again for ever; what it refuses (4xx) is
//! dropped, counted and told. How many shards there are follows from how fast the receiver answers (`shard_count`).

mod acknowledged;
mod answer;
mod encode;
mod manager;
mod member;
mod metadata;
mod metrics;
mod position;
mod queue;
mod series;
mod shard;
mod shard_count;
mod symbols;
#[cfg(test)]
mod tests;

pub use manager::{RemoteWrite, RemoteWriteDeps};
pub use member::{Member, MemberLink, Sign};
