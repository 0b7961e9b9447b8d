//! Remote write, remote read and OTLP.

mod messages;
mod protobuf;
pub mod read;
mod read_answer;
pub mod write_v1;
mod xor;
