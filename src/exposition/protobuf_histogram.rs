//! The histogram of the protobuf format: classic buckets, native buckets, or both in one message.
//!
//! ```text
//! Histogram  1 count  4 count (float)  2 sum  3 bucket* {1 count  4 count (float)  2 bound  3 exemplar}
//!            5 schema  6 zero_threshold  7 zero_count  8 zero_count (float)
//!            9 negative_span* {1 offset  2 length}  10 negative_delta*  11 negative_count*
//!            12 positive_span*  13 positive_delta*  14 positive_count*  15 created  16 exemplar*
//! ```

use super::protobuf::{Wrong, exemplar, timestamp, too_many};
use crate::model::exemplar::Exemplar;
use crate::model::histogram::flaw::flaw;
use crate::model::histogram::layout::add_differences;
use crate::model::histogram::{FloatHistogram, Span};
use crate::model::limits::HISTOGRAM_BUCKETS;
use crate::model::protobuf::{Field, Fields, Malformed, push_floats, push_signed, zigzag};

/// A classic bucket.
#[derive(Debug)]
pub(super) struct Bucket {
    pub(super) bound: f64,
    /// Observations at or below the bound.
    pub(super) count: f64,
    pub(super) exemplar: Option<Exemplar>,
}

/// One side of the native buckets.
#[derive(Debug, Default)]
struct Side {
    spans: Vec<Span>,
    differences: Vec<i64>,
    counts: Vec<f64>,
}

/// The whole message.
#[derive(Debug, Default)]
pub(super) struct Histogram {
    count: u64,
    count_float: f64,
    pub(super) sum: f64,
    pub(super) buckets: Vec<Bucket>,
    schema: i32,
    zero_threshold: f64,
    zero_count: u64,
    zero_count_float: f64,
    negative: Side,
    positive: Side,
    pub(super) start_ms: i64,
    exemplars: Vec<Exemplar>,
}

impl Histogram {
    pub(super) fn read(message: &[u8]) -> Result<Self, Wrong> {
        let mut found = Self::default();
        let mut fields = Fields::new(message);
        while let Some((number, field)) = fields.next()? {
            match number {
                1 => found.count = field.whole()?,
                2 => found.sum = field.double()?,
                3 if found.buckets.len() >= HISTOGRAM_BUCKETS => return Err(too_many("buckets of a histogram")),
                3 => found.buckets.push(bucket(field.bytes()?)?),
                4 => found.count_float = field.double()?,
                5 => found.schema = i32::try_from(zigzag(field.whole()?)).unwrap_or(i32::MAX),
                6 => found.zero_threshold = field.double()?,
                7 => found.zero_count = field.whole()?,
                8 => found.zero_count_float = field.double()?,
                9..=11 => found.negative.take(number - 9, field)?,
                12..=14 => found.positive.take(number - 12, field)?,
                15 => found.start_ms = timestamp(field.bytes()?)?,
                16 if found.exemplars.len() >= HISTOGRAM_BUCKETS => return Err(too_many("exemplars of a histogram")),
                16 => found.exemplars.push(exemplar(field.bytes()?)?),
                _ => {}
            }
        }
        Ok(found)
    }

    /// Returns the number of observations.
    pub(super) fn total(&self) -> f64 {
        if self.count_float == 0.0 { self.count as f64 } else { self.count_float }
    }

    /// Returns whether it has native buckets. Without spans, zero bucket and observations nobody can tell: then it has not.
    pub(super) fn is_native(&self) -> bool {
        !self.positive.spans.is_empty()
            || !self.negative.spans.is_empty()
            || self.zero_threshold > 0.0
            || self.zero_count > 0
            || self.zero_count_float > 0.0
    }

    /// Takes the exemplars for a native histogram: its own, or else those of its buckets; only with times, as Prometheus does.
    pub(super) fn take_exemplars(&mut self) -> Vec<Exemplar> {
        let mut found = std::mem::take(&mut self.exemplars);
        if found.is_empty() {
            found.extend(self.buckets.iter().filter_map(|bucket| bucket.exemplar.clone()));
        }
        found.retain(|exemplar| exemplar.at_ms.is_some());
        found
    }

    /// Makes the native histogram.
    pub(super) fn native(&mut self) -> Result<FloatHistogram, Wrong> {
        let is_float = self.count_float > 0.0 || self.zero_count_float > 0.0;
        let (negative_spans, negative_buckets) = std::mem::take(&mut self.negative).finish(is_float)?;
        let (positive_spans, positive_buckets) = std::mem::take(&mut self.positive).finish(is_float)?;
        let mut found = FloatHistogram {
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            zero_count: if is_float { self.zero_count_float } else { self.zero_count as f64 },
            count: if is_float { self.count_float } else { self.count as f64 },
            sum: self.sum,
            positive_spans,
            negative_spans,
            positive_buckets,
            negative_buckets,
            ..FloatHistogram::default()
        };
        let sides = found.negative_buckets.iter().chain(&found.positive_buckets);
        let no_number = sides.chain([&found.zero_count, &found.count]).any(|count| count.is_nan());
        if no_number || found.zero_threshold.is_nan() || found.zero_threshold < 0.0 {
            return Err(Wrong("a count or the zero threshold of a histogram is no number".to_owned()));
        }
        if found.uses_custom_buckets() {
            return Err(Wrong("a native histogram of this format cannot have custom buckets".to_owned()));
        }
        if let Some(flaw) = flaw(&found, !is_float) {
            return Err(Wrong(flaw.to_owned()));
        }
        found.compact();
        Ok(found)
    }
}

impl Side {
    /// Takes a field: 0 a span, 1 differences of whole counts, 2 float counts.
    fn take(&mut self, which: u64, field: Field<'_>) -> Result<(), Wrong> {
        let more = match (which, field) {
            (1, Field::Bytes(packed)) => packed.iter().filter(|byte| **byte < 0x80).count(),
            (2, Field::Bytes(packed)) => packed.len() / 8,
            _ => 1,
        };
        let held = match which {
            0 => self.spans.len(),
            1 => self.differences.len(),
            _ => self.counts.len(),
        };
        if held + more > HISTOGRAM_BUCKETS {
            return Err(too_many("buckets of a histogram"));
        }
        match (which, field) {
            (0, field) => self.spans.push(span(field.bytes()?)?),
            (1, Field::Bytes(_) | Field::Varint(_)) => push_signed(field, &mut self.differences)?,
            (2, Field::Bytes(_) | Field::Fixed64(_)) => push_floats(field, &mut self.counts)?,
            _ => return Err(Wrong("a field has the wrong type".to_owned())),
        }
        Ok(())
    }

    fn finish(self, is_float: bool) -> Result<(Vec<Span>, Vec<f64>), Wrong> {
        let mut buckets = if is_float { self.counts } else { Vec::with_capacity(self.differences.len()) };
        if !is_float {
            add_differences(&self.differences, &mut buckets);
        }
        let spanned: u64 = self.spans.iter().map(|span| u64::from(span.length)).sum();
        if spanned != buckets.len() as u64 {
            let message = format!("histogram's spans need {spanned} buckets, have {} buckets", buckets.len());
            return Err(Wrong(message));
        }
        let mut end = 0_i64;
        for span in &self.spans {
            end += i64::from(span.offset) + i64::from(span.length);
        }
        // The index of a bucket is a number of 32 bits.
        if i32::try_from(end).is_err() {
            return Err(Wrong("a span of a histogram lies too far out".to_owned()));
        }
        Ok((self.spans, buckets))
    }
}

fn span(message: &[u8]) -> Result<Span, Malformed> {
    let mut span = Span::default();
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.next()? {
        let out_of_range = Malformed("a span of a histogram lies too far out");
        match number {
            1 => span.offset = i32::try_from(zigzag(field.whole()?)).map_err(|_| out_of_range)?,
            2 => span.length = u32::try_from(field.whole()?).map_err(|_| out_of_range)?,
            _ => {}
        }
    }
    Ok(span)
}

fn bucket(message: &[u8]) -> Result<Bucket, Malformed> {
    let (mut bound, mut count, mut count_float, mut found) = (0.0, 0, 0.0, None);
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => count = field.whole()?,
            2 => bound = field.double()?,
            3 => found = Some(exemplar(field.bytes()?)?),
            4 => count_float = field.double()?,
            _ => {}
        }
    }
    let count = if count_float == 0.0 { count as f64 } else { count_float };
    Ok(Bucket { bound, count, exemplar: found })
}
