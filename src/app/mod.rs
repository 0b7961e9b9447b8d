//! The composition root: the only module that knows everyone.

pub mod rule_files;
mod shutdown;
