//! The real binary from outside, among real parts: ZooKeeper, exporters, a mail server, promtool and amtool.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::string_slice,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::float_cmp,
    let_underscore_drop,
    unreachable_pub,
    reason = "tests may"
)]

mod api;
mod clients;
mod cluster;
mod config_overlay;
mod dashboards;
mod differential;
mod disk_full;
mod doctor;
mod ensemble;
mod host;
mod hostile;
mod login;
mod mail_links;
mod main_job;
mod reading;
mod receivers;
mod rule_store;
mod rules_command;
mod scraping;
mod senders;
mod sharding;
mod sharing;
mod support;
mod tsdb;
mod watching;
mod zookeeper_discovery;
mod zookeeper_metrics;
mod zookeeper_publish;
mod zookeeper_session;
mod zookeeper_tls;
