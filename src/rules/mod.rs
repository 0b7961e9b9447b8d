//! Recording and alerting rules: read, checked, evaluated on time, their alerts handed on.
//!
//! ```text
//! RuleSources -> file (parse, check) -> manager (last good kept) -> group (ticks) -> rule -> step(t, vector)
//!                                                                                      -> samples -> store
//!                                                                                      -> alerts  -> channel
//! ```
//!
//! Knows nothing of who takes the alerts, and nothing of ZooKeeper: files come in as text with an origin.

pub mod alerting;
pub mod builtin;
pub mod chart;
pub mod file;
mod group;
pub mod lint;
mod manager;
mod memory;
pub mod memory_append;
mod metrics;
pub mod overrides;
pub mod recording;
pub mod replay;
#[cfg(test)]
mod replay_tests;
pub mod restore;
pub mod rule;
mod sharing;
pub mod spec;
pub mod template_data;
pub mod unit_test;
pub mod view;
mod watch;
#[cfg(test)]
mod watch_tests;

pub use manager::{RuleDeps, RuleManager, RulesHandle};
pub use view::RulesView;

#[cfg(test)]
mod tests;
