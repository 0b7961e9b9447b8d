//! The small Alertmanager: routes, groups, silences, inhibition, and telling people.

pub mod alerts;
pub mod dedup;
pub mod inhibit;
pub mod route;
pub mod silence;
