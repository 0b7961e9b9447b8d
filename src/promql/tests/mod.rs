//! The engine against Prometheus's own evaluation cases, and against itself.

#![expect(clippy::float_cmp, clippy::string_slice, reason = "tests may")]

mod chains;
mod compare;
mod fairness;
mod load;
mod newer;
mod properties;
mod run;
mod script;
mod statistics;
mod vectors;
