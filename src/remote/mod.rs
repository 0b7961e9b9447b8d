//! Remote write, remote read and OTLP.

mod histogram_chunk;
mod messages;
pub mod read;
mod read_answer;
pub mod write_v1;
mod xor;
