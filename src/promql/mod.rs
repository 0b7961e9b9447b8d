//! The query engine: text and series in, a value out. No network, no disk, no clock: `now` is an argument.

pub mod engine;
mod eval;
pub mod expr;
pub mod value;
