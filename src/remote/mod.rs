//! Remote write, remote read and OTLP.

mod chunk_reader;
pub mod fanout;
mod histogram_chunk;
mod messages;
pub mod otlp;
pub mod read;
mod read_answer;
pub mod receive;
pub mod send;
mod write_v1;
mod write_v2;
mod xor;
