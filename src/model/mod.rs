//! Values that everyone speaks.
//!
//! Pure: no async, no I/O, no serde, no clock. Wire and file shapes live at the edge that speaks them. A timestamp is an
//! `i64` in milliseconds since 1970 and its name ends in `_ms`; a length of time is a [`std::time::Duration`] where it is
//! configuration and an `i64` ending in `_ms` where it is arithmetic on timestamps.

pub mod alert;
pub mod base64;
pub mod chart;
pub mod duration;
pub mod exemplar;
pub mod histogram;
pub mod labels;
pub mod limits;
pub mod matcher;
pub mod matcher_text;
pub mod md5;
pub mod metadata;
pub mod notification;
pub mod number;
pub mod protobuf;
pub mod regex;
pub mod relabel;
pub mod rule_inputs;
pub mod rule_source;
pub mod sample;
#[cfg(test)]
pub(crate) mod shared_data;
pub mod silence;
pub mod target;
pub mod time_interval;
pub mod utf8;
