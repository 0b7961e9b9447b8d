//! What Watchkeeper keeps in ZooKeeper: what the znodes below the root mean.
//!
//! [`crate::zookeeper`] brings the tree, this module gives it sense. A store here is a function from a tree to typed values;
//! what cannot be read is listed and never stops the rest.

pub mod dashboards;
pub mod diff;
pub mod election;
pub mod history;
pub mod last_known;
pub mod leadership;
pub mod lease;
pub mod members;
pub mod notified;
pub mod outside;
pub mod overlay;
pub mod packing;
pub mod paths;
pub mod peers;
pub mod publish;
pub mod push;
pub mod rules;
pub mod secret;
pub mod sharing;
pub mod snapshot;
pub mod view;
