//! Watchkeeper: the monitoring server for a small cluster in one binary.
//!
//! The layers, lowest first; a module uses only modules of a strictly lower layer (`tests/tidy.rs` checks it):
//!
//! | layer | modules |
//! | --- | --- |
//! | 0 | [`model`] |
//! | 1 | [`telemetry`] |
//! | 2 | [`env`](mod@env), [`exposition`], [`template`], [`config`] |
//! | 3 | [`state`], [`storage`], [`net`], [`zookeeper`] |
//! | 4 | [`promql`], [`discovery`], [`host`] |
//! | 5 | [`rules`], [`scrape`], [`remote`], [`alerting`], [`cluster`], [`dashboards`] |
//! | 6 | [`api`] |
//! | 7 | [`app`] |
//! | 8 | [`cli`] |
//! | 9 | `sim`, for tests alone |

pub mod alerting;
pub mod api;
pub mod app;
pub mod cli;
pub mod cluster;
pub mod config;
pub mod dashboards;
pub mod discovery;
pub mod env;
pub mod exposition;
pub mod host;
pub mod model;
pub mod net;
pub mod promql;
pub mod remote;
pub mod rules;
pub mod scrape;
#[cfg(test)]
mod sim;
pub mod state;
pub mod storage;
pub mod telemetry;
pub mod template;
pub mod zookeeper;
