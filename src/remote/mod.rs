//! Remote write, remote read and OTLP.

mod messages;
pub mod read;
mod read_answer;
pub mod write_v1;
mod xor;
