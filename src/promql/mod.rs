//! The query engine: text and series in, a value out. No network, no disk, no clock: `now` is an argument.

pub mod check;
pub mod engine;
mod eval;
pub mod expr;
pub mod lex;
pub mod parse;
pub mod print;
pub mod signatures;
pub mod value;
