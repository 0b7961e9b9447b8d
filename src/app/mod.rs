//! The composition root: the only module that knows everyone.

pub mod configuration;
pub mod rule_files;
mod shutdown;
