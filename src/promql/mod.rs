//! The query engine: text and series in, a value out. No network, no disk, no clock: `now` is an argument.

mod annotations;
pub mod check;
mod column;
pub mod engine;
mod eval;
pub mod expr;
mod functions;
pub mod lex;
pub mod parse;
pub mod print;
pub mod signatures;
#[cfg(test)]
mod tests;
pub mod value;
