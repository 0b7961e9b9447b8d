//! The configuration: one YAML file, a superset of prometheus.yml, as plain data.
//!
//! [`load()`] reads it whole or refuses it with file, line and column. What comes out is complete: defaults are filled in
//! from `global`, relative paths start from the folder of the file that names them, patterns are compiled. Who reads a
//! section needs no knowledge of YAML. The one YAML reader is `yaml`; `section` turns its tree into structs.
//!
//! This module decides nothing about the world: it does not open files (the caller reads for it), and it has no clock.

pub mod alertmanager;
pub mod discovery;
pub mod error;
pub mod file_discovery;
pub mod global;
pub mod http_client;
mod inventory;
mod load;
pub mod other_discovery;
pub mod overlay;
mod place;
pub mod receivers;
pub mod relabel;
pub mod remote;
pub mod rule_file;
pub mod scrape;
mod section;
mod show;
pub mod storage;
pub mod unit_test_file;
pub mod values;
pub mod web;
mod yaml;
pub mod zookeeper;

#[cfg(test)]
mod tests;

pub use alertmanager::AlertmanagerConfig;
pub use error::ConfigError;
pub use global::GlobalConfig;
pub use http_client::{HttpClientConfig, TlsConfig};
pub use inventory::SENDABLE;
pub use load::{AlertingConfig, Config, ExternalAlertmanager, Files, HostMetrics, Override, load, load_alertmanager, load_web};
pub use place::{Spot, TextPlace};
pub use scrape::ScrapeConfig;
pub use values::{Bytes, FilePath, Secret, Url};
pub use yaml::base64 as decode_base64;
pub use yaml::has_more_documents;
