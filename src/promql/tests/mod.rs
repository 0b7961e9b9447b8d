//! The engine against Prometheus's own evaluation cases.

mod compare;
mod load;
mod run;
mod script;
mod vectors;
