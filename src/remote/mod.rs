//! Remote write, remote read and OTLP.

mod protobuf;
pub mod write_v1;
