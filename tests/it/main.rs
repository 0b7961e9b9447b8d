//! The real binary from outside, among real parts: ZooKeeper, exporters, a mail server, promtool and amtool.

mod support;
mod zookeeper_session;
