//! Samples: one value of one series at one time.

use super::histogram::FloatHistogram;
use std::sync::Arc;

/// The bits of the NaN that says "this series ended here" (Prometheus's `value.StaleNaN`).
pub const STALE_NAN_BITS: u64 = 0x7ff0_0000_0000_0002;
/// The bits of the NaN that Prometheus gives for an ordinary "not a number".
pub const NORMAL_NAN_BITS: u64 = 0x7ff8_0000_0000_0001;

/// Returns the stale marker.
#[must_use]
pub const fn stale_nan() -> f64 {
    f64::from_bits(STALE_NAN_BITS)
}

/// Returns whether `value` is the stale marker. Compares bits: a NaN never equals itself.
#[must_use]
pub const fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE_NAN_BITS
}

/// One float sample.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Milliseconds since 1970.
    pub at_ms: i64,
    /// The value; may be NaN, infinite or the stale marker.
    pub value: f64,
}

/// What a sample may hold.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A float.
    Float(f64),
    /// A native histogram; shared, since histograms are large and mostly passed on.
    Histogram(Arc<FloatHistogram>),
}
