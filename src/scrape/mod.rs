//! Targets to samples.
//!
//! ```text
//! config, discovery's groups, in-process targets
//!        |  manager: one task; makes target sets, starts and stops loops, changes only what changed
//!        v
//! scrape_loop: one light task per target
//!        |  fetch (HTTP; in-process; ensemble: a ZooKeeper server) -> reading: cache (positional, exposition behind it) for text; gathered for protobuf and conversions
//!        |  -> append: one scrape = one row, histograms beside it
//!        v
//! view: what the API and the dashboard show of targets
//! ```
//!
//! A scrape fails whole or counts whole. A bad line, a limit, a dead exporter: the target is down for that scrape, its
//! series are marked stale, the view says why, down to the line and column, and nobody else notices.

mod cache;
mod cache_diff;
mod cache_lines;
#[cfg(test)]
mod cache_tests;
mod created;
pub mod elsewhere;
pub mod ensemble;
mod failure_log;
mod fetch;
mod gathered;
#[cfg(test)]
mod gathered_tests;
#[cfg(test)]
mod histogram_tests;
pub mod in_process;
mod inputs;
mod manager;
mod reading;
mod sample_labels;
mod scrape_loop;
mod target;
#[cfg(test)]
mod tests;
pub mod view;

pub use elsewhere::{Elsewhere, ElsewhereTarget};
pub use in_process::{InProcess, InProcessTarget};
pub use manager::{ScrapeDeps, ScrapeHandle, ScrapeManager, TargetsByJob};
pub use view::{ActiveTarget, DroppedTarget, ScrapeFailure, ScrapeView};

use crate::config::ScrapeConfig;
use crate::model::target::TargetGroup;

/// Returns the address of each target that a job's groups come to after relabelling, or why there is none.
#[must_use]
pub fn target_urls(config: &ScrapeConfig, groups: &[TargetGroup]) -> Vec<Result<String, String>> {
    let all = groups.iter().flat_map(|group| group.targets.iter().map(|own| target::make(config, own, &group.labels)));
    all.filter_map(|found| match found {
        target::Found::Target(target) => Some(Ok(target.url)),
        target::Found::Unusable(labels, reason) => Some(Err(format!("{labels}: {reason}"))),
        target::Found::Dropped(..) => None,
    })
    .collect()
}
