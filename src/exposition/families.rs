//! What a body says where it is not read line by line into a cache: the formats and conversions that bring histograms.
//!
//! A reader walks its body and hands each sample to a [`Sink`]. Labels are decoded when asked for: a sample has a key, and
//! who knows the key knows the series.

use super::ParseError;
use crate::model::exemplar::Exemplar;
use crate::model::histogram::FloatHistogram;
use crate::model::metadata::MetricType;
use std::borrow::Cow;

/// How a body is to be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Whether native histograms are taken; else their classic buckets are.
    pub native: bool,
    /// Whether classic buckets are kept beside a native histogram.
    pub keep_classic: bool,
    /// Whether classic histograms become native ones with custom buckets.
    pub convert: bool,
}

/// A piece of what is known about a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About<'a> {
    /// Its help text.
    Help(&'a str),
    /// Its type.
    Type(MetricType),
    /// Its unit.
    Unit(&'a str),
}

/// A label as it stands in the body: name and value. An empty value stands there, too.
pub type Pair<'a> = (Cow<'a, str>, Cow<'a, str>);

/// A sample's value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A float.
    Float(f64),
    /// A native histogram.
    Histogram(FloatHistogram),
}

/// One sample.
pub struct Sample<'a> {
    /// Bytes that are equal for one series in all bodies of a target, and differ between series.
    pub key: &'a [u8],
    /// Decodes the labels, the name among them; says why they are none.
    pub labels: &'a dyn Fn() -> Result<Vec<Pair<'a>>, String>,
    /// The value.
    pub value: Value,
    /// The sample's own time, milliseconds since 1970.
    pub timestamp_ms: Option<i64>,
    /// When what it counts began; 0: not known.
    pub start_ms: i64,
    /// Exemplars.
    pub exemplars: Vec<Exemplar>,
}

/// Takes what a reader finds, in the order of the body.
pub trait Sink {
    /// Takes note of a family's metadata.
    fn about(&mut self, metric: &str, about: About<'_>);

    /// Takes a sample.
    ///
    /// # Errors
    /// Why the whole body is refused.
    fn sample(&mut self, sample: Sample<'_>) -> Result<(), String>;
}

/// A body that cannot be read, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// A line of text.
    #[error(transparent)]
    Line(#[from] ParseError),
    /// A message of protobuf.
    #[error("{place}: {message}")]
    Message {
        /// Which message.
        place: String,
        /// Where its family begins, in bytes.
        at: usize,
        /// What is wrong with it.
        message: String,
    },
}
