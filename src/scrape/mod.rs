//! Targets to samples.
//!
//! ```text
//! config, discovery's groups, in-process targets
//!        |  manager: one task; makes target sets, starts and stops loops, changes only what changed
//!        v
//! scrape_loop: one light task per target
//!        |  fetch -> cache (positional, exposition behind it) -> append: one scrape = one row
//!        v
//! view: what the API and the dashboard show of targets
//! ```
//!
//! A scrape fails whole or counts whole. A bad line, a limit, a dead exporter: the target is down for that scrape, its
//! series are marked stale, the view says why, down to the line and column, and nobody else notices.

mod cache;
mod cache_diff;
#[cfg(test)]
mod cache_tests;
mod fetch;
pub mod in_process;
mod manager;
mod sample_labels;
mod scrape_loop;
mod target;
#[cfg(test)]
mod tests;
pub mod view;

pub use in_process::{InProcess, InProcessTarget};
pub use manager::{ScrapeDeps, ScrapeHandle, ScrapeManager, TargetsByJob};
pub use view::{ActiveTarget, DroppedTarget, ScrapeFailure, ScrapeView};
