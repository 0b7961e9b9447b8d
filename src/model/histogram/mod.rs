//! Native histograms: exponential or custom buckets, in integer and float form.
//!
//! The shapes are those of Prometheus (`model/histogram`): spans of populated buckets and their counts. The float form is
//! what queries compute with.
//!
//! * [`layout`]: from spans to bucket indices, bounds and buckets, and back
//! * [`arithmetic`]: add, subtract, scale; schemas, zero buckets and custom bounds are reconciled
//! * [`classic`]: one out of the lines of a classic histogram
//! * [`flaw`]: what a histogram from outside must keep to
//! * [`resets`]: whether a counter histogram was reset
//! * [`text`]: how Prometheus prints it
//! * [`trim`]: the part on one side of a value

pub mod arithmetic;
pub mod classic;
pub mod flaw;
pub mod layout;
pub mod resets;
pub mod text;
pub mod trim;

/// A run of consecutive populated buckets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Span {
    /// Gap to the end of the previous span, or the index of the first bucket for the first span.
    pub offset: i32,
    /// How many buckets follow.
    pub length: u32,
}

/// What is known about whether a counter histogram was reset before this sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are the specification's own")]
pub enum CounterResetHint {
    #[default]
    Unknown,
    Reset,
    NotReset,
    Gauge,
}

/// The schema number of histograms with custom bucket bounds.
pub const CUSTOM_BUCKETS_SCHEMA: i32 = -53;

/// A histogram with float counts. Bucket counts are absolute, not differences.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FloatHistogram {
    /// See [`CounterResetHint`].
    pub counter_reset_hint: CounterResetHint,
    /// Resolution: base is `2^(2^-schema)`; [`CUSTOM_BUCKETS_SCHEMA`] for custom bounds.
    pub schema: i32,
    /// Width of the zero bucket.
    pub zero_threshold: f64,
    /// Observations in the zero bucket.
    pub zero_count: f64,
    /// All observations.
    pub count: f64,
    /// Sum of all observations.
    pub sum: f64,
    /// Spans of the positive buckets.
    pub positive_spans: Vec<Span>,
    /// Spans of the negative buckets.
    pub negative_spans: Vec<Span>,
    /// Counts of the positive buckets.
    pub positive_buckets: Vec<f64>,
    /// Counts of the negative buckets.
    pub negative_buckets: Vec<f64>,
    /// Upper bounds, ascending, where the schema is custom.
    pub custom_values: Vec<f64>,
}
