//! Remote write, remote read and OTLP.
