//! The query engine: text and series in, a value out. No network, no disk, no clock: `now` is an argument.

pub mod activity;
mod annotations;
mod budget;
pub mod check;
mod column;
pub mod deep;
pub mod engine;
mod eval;
pub mod explain;
pub mod expr;
mod functions;
#[cfg(any(test, feature = "sim"))]
pub mod fuzz;
pub mod lex;
pub mod parse;
pub mod print;
pub mod query_log;
pub mod refresh;
pub mod signatures;
#[cfg(test)]
mod tests;
pub mod turns;
pub mod value;
