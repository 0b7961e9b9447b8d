//! Dashboards of people's own, in the format that Grafana writes: what one is, which there are, in which order.
//!
//! They come from three sides: files, znodes (both read by `app`, which hands over texts) and own ones, kept in the state store.
//! What a panel means is the page's business; here a dashboard is a text with a title, tags and a `uid`, and is kept to the
//! byte, so that what is exported is what was saved. Not known here: HTTP and ZooKeeper.

pub mod catalogue;
pub mod keeper;
mod own;
pub mod read;
#[cfg(test)]
mod tests;

pub use catalogue::{Catalogue, Entry, Origin, Source};
pub use keeper::{DashboardError, Dashboards, Save};
