//! Remote write, remote read and OTLP.

mod messages;
mod protobuf;
pub mod write_v1;
