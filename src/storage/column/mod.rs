//! How one series' values become bytes, in the head, in the log and in blocks.
//!
//! Exporters write decimals, so a value is kept as a whole number and a [`scale`]: integers pack well and come back bit
//! for bit. [`token`] is the form that grows (head streams and log rows).

pub(crate) mod bits;
pub(crate) mod encode;
pub(crate) mod entropy;
pub(crate) mod histogram;
pub(crate) mod pack;
pub(crate) mod packed;
pub(crate) mod scale;
pub(crate) mod step_bits;
pub(crate) mod timestamps;
pub(crate) mod token;
pub(crate) mod varint;
