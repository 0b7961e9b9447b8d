//! The engine against Prometheus's own evaluation cases.

#![expect(clippy::float_cmp, clippy::string_slice, reason = "tests may")]

mod compare;
mod load;
mod run;
mod script;
mod statistics;
mod vectors;
