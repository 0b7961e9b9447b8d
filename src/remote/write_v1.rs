//! Remote-Write 1.0, the receiving side: snappy, then `prometheus.WriteRequest`, decoded by hand on borrowed slices.
//!
//! The whole request is read before anything is stored, so that a broken one changes nothing. Samples that the store
//! refuses (too old, another value at the same time) do not keep the others out; the sender is told by a 400, which it does
//! not repeat.

use super::protobuf::{Field, Fields, Malformed, push_floats, push_signed};
use crate::model::exemplar::Exemplar;
use crate::model::histogram::{CounterResetHint, FloatHistogram, Span};
use crate::model::labels::{Labels, LabelsBuilder};
use crate::model::metadata::{Metadata, MetricType};
use crate::storage::append::{Append, AppendError, Appended, BatchSample, BatchValue, Durability};
use std::sync::Arc;

/// Why a request was not taken whole.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// It could not be read; nothing was stored.
    #[error("{0}")]
    Bad(String),
    /// Some samples were refused; the others are stored.
    #[error("{0}")]
    Samples(String),
    /// The store took nothing.
    #[error(transparent)]
    Append(AppendError),
}

impl From<Malformed> for WriteError {
    fn from(error: Malformed) -> Self {
        Self::Bad(error.to_string())
    }
}

/// One series of a request.
#[derive(Debug, Default)]
struct ReceivedSeries {
    labels: LabelsBuilder,
    samples: Vec<(i64, f64)>,
    histograms: Vec<(i64, Arc<FloatHistogram>)>,
    exemplars: Vec<Exemplar>,
}

/// Reads a body and stores it. Blocks until it is as durable as asked.
///
/// # Errors
/// See [`WriteError`].
pub fn receive(body: &[u8], most: usize, append: &dyn Append, durability: Durability) -> Result<Appended, WriteError> {
    let length = snap::raw::decompress_len(body).map_err(|_| WriteError::Bad("snappy: corrupt input".to_owned()))?;
    if length > most {
        return Err(WriteError::Bad(format!("the request is larger than {most} bytes")));
    }
    let message =
        snap::raw::Decoder::new().decompress_vec(body).map_err(|_| WriteError::Bad("snappy: corrupt input".to_owned()))?;
    let (series, metadata) = request(&message)?;
    let mut batch = Vec::new();
    let mut exemplars = Vec::new();
    for one in series {
        let labels = one.labels.build();
        if labels.metric_name().is_empty() {
            return Err(WriteError::Bad(format!("invalid labels for series, labels {labels}: missing metric name")));
        }
        let id = append.series(&labels).map_err(WriteError::Append)?;
        let floats = one.samples.into_iter().map(|(at_ms, value)| (at_ms, BatchValue::Float(value)));
        let histograms = one.histograms.into_iter().map(|(at_ms, value)| (at_ms, BatchValue::Histogram(value)));
        batch.extend(floats.chain(histograms).map(|(at_ms, value)| BatchSample { series: id, at_ms, value }));
        exemplars.push((id, one.exemplars));
    }
    let done = append.append_samples(None, &batch, durability).map_err(WriteError::Append)?;
    for (id, exemplars) in exemplars.iter().filter(|(_, exemplars)| !exemplars.is_empty()) {
        append.append_exemplars(*id, exemplars);
    }
    for (metric, entry) in &metadata {
        append.note_metadata(metric, entry);
    }
    refusals(&done).map_or(Ok(done), |message| Err(WriteError::Samples(message)))
}

/// Says in Prometheus's words why samples were refused.
fn refusals(done: &Appended) -> Option<String> {
    if done.out_of_order > 0 {
        Some("out of order sample".to_owned())
    } else if done.too_old > 0 {
        Some("out of bounds".to_owned())
    } else if done.too_far > 0 {
        Some("out of bounds: sample is too far in the future".to_owned())
    } else if done.duplicate > 0 {
        Some("duplicate sample for timestamp".to_owned())
    } else {
        None
    }
}

type Request = (Vec<ReceivedSeries>, Vec<(String, Metadata)>);

fn request(message: &[u8]) -> Result<Request, Malformed> {
    let mut series = Vec::new();
    let mut metadata = Vec::new();
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => series.push(time_series(field.bytes()?)?),
            3 => metadata.push(metric_metadata(field.bytes()?)?),
            _ => {}
        }
    }
    Ok((series, metadata))
}

fn time_series(message: &[u8]) -> Result<ReceivedSeries, Malformed> {
    let mut series = ReceivedSeries::default();
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => label(field.bytes()?, &mut series.labels)?,
            2 => series.samples.push(sample(field.bytes()?)?),
            3 => series.exemplars.push(exemplar(field.bytes()?)?),
            4 => series.histograms.push(histogram(field.bytes()?)?),
            _ => {}
        }
    }
    Ok(series)
}

fn label(message: &[u8], into: &mut LabelsBuilder) -> Result<(), Malformed> {
    let (mut name, mut value) = ("", "");
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => name = field.text()?,
            2 => value = field.text()?,
            _ => {}
        }
    }
    into.set(name, value);
    Ok(())
}

fn sample(message: &[u8]) -> Result<(i64, f64), Malformed> {
    let (mut at_ms, mut value) = (0, 0.0);
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => value = field.float(),
            2 => at_ms = field.number() as i64,
            _ => {}
        }
    }
    Ok((at_ms, value))
}

fn exemplar(message: &[u8]) -> Result<Exemplar, Malformed> {
    let mut labels = LabelsBuilder::new();
    let (mut at_ms, mut value) = (0, 0.0);
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => label(field.bytes()?, &mut labels)?,
            2 => value = field.float(),
            3 => at_ms = field.number() as i64,
            _ => {}
        }
    }
    Ok(Exemplar { labels: Labels::from_pairs(labels.iter()), value, at_ms: Some(at_ms) })
}

fn metric_metadata(message: &[u8]) -> Result<(String, Metadata), Malformed> {
    let mut name = String::new();
    let mut metadata = Metadata::default();
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => metadata.metric_type = metric_type(field.number()),
            2 => field.text()?.clone_into(&mut name),
            4 => field.text()?.clone_into(&mut metadata.help),
            5 => field.text()?.clone_into(&mut metadata.unit),
            _ => {}
        }
    }
    Ok((name, metadata))
}

const fn metric_type(number: u64) -> MetricType {
    match number {
        1 => MetricType::Counter,
        2 => MetricType::Gauge,
        3 => MetricType::Histogram,
        4 => MetricType::GaugeHistogram,
        5 => MetricType::Summary,
        6 => MetricType::Info,
        7 => MetricType::StateSet,
        _ => MetricType::Unknown,
    }
}

/// Reads a histogram; whole counts come as differences between neighbours, float counts as they are.
fn histogram(message: &[u8]) -> Result<(i64, Arc<FloatHistogram>), Malformed> {
    let mut found = FloatHistogram::default();
    let mut at_ms = 0;
    let (mut negative, mut positive) = (Vec::new(), Vec::new());
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => found.count = field.number() as f64,
            2 => found.count = field.float(),
            3 => found.sum = field.float(),
            4 => found.schema = field.signed() as i32,
            5 => found.zero_threshold = field.float(),
            6 => found.zero_count = field.number() as f64,
            7 => found.zero_count = field.float(),
            8 => found.negative_spans.push(span(field.bytes()?)?),
            9 => push_signed(field, &mut negative)?,
            10 => push_floats(field, &mut found.negative_buckets)?,
            11 => found.positive_spans.push(span(field.bytes()?)?),
            12 => push_signed(field, &mut positive)?,
            13 => push_floats(field, &mut found.positive_buckets)?,
            14 => {
                found.counter_reset_hint = match field.number() {
                    1 => CounterResetHint::Reset,
                    2 => CounterResetHint::NotReset,
                    3 => CounterResetHint::Gauge,
                    _ => CounterResetHint::Unknown,
                }
            }
            15 => at_ms = field.number() as i64,
            16 => push_floats(field, &mut found.custom_values)?,
            _ => {}
        }
    }
    add_differences(&negative, &mut found.negative_buckets);
    add_differences(&positive, &mut found.positive_buckets);
    for (spans, buckets) in [(&found.negative_spans, &found.negative_buckets), (&found.positive_spans, &found.positive_buckets)] {
        let spanned: u64 = spans.iter().map(|span| u64::from(span.length)).sum();
        if spanned != buckets.len() as u64 {
            return Err(Malformed("histogram's spans and buckets do not fit together"));
        }
    }
    Ok((at_ms, Arc::new(found)))
}

fn add_differences(differences: &[i64], into: &mut Vec<f64>) {
    let mut count = 0_i64;
    into.extend(differences.iter().map(|difference| {
        count = count.wrapping_add(*difference);
        count as f64
    }));
}

fn span(message: &[u8]) -> Result<Span, Malformed> {
    let mut span = Span::default();
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => span.offset = Field::signed(field) as i32,
            2 => span.length = field.number() as u32,
            _ => {}
        }
    }
    Ok(span)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::memory_disk::MemoryDisk;

    fn field(number: u8, payload: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, payload.len() as u8], payload].concat()
    }

    /// A series with a sample, an exemplar and a histogram, and its metadata.
    fn message() -> Vec<u8> {
        let pair = |name: &str, value: &str| field(1, &[field(1, name.as_bytes()), field(2, value.as_bytes())].concat());
        let double = |number: u8, value: f64| [&[number << 3 | 1], value.to_le_bytes().as_slice()].concat();
        let at = |number: u8| vec![number << 3, 0xe8, 7];
        let sample = field(2, &[double(1, 1.5), at(2)].concat());
        let exemplar = field(3, &[pair("trace_id", "x"), double(2, 0.5), at(3)].concat());
        let histogram =
            field(4, &[&[0x08, 3], double(3, 4.5).as_slice(), &[0x20, 6, 0x5a, 4, 8, 0, 16, 2, 0x62, 2, 4, 4], &at(15)].concat());
        let series = [pair("__name__", "up"), pair("job", "node"), sample, exemplar, histogram].concat();
        let metadata = field(3, &[&[8, 1], field(2, b"up").as_slice(), &field(4, b"Helps.")].concat());
        [field(1, &series), metadata].concat()
    }

    #[test]
    fn no_body_breaks_it() {
        let store = crate::storage::fuzz::open(&MemoryDisk::new()).expect("opens");
        let compress = |bytes: &[u8]| snap::raw::Encoder::new().compress_vec(bytes).expect("compresses");
        let receive = |body: &[u8]| receive(body, 1 << 20, &store, Durability::Synced);
        assert!(receive(&compress(&message())).is_ok_and(|done| done.stored == 2));
        crate::env::fuzz::replay("remote_write", &[message(), compress(&message())], 1500, |bytes| {
            let _as_it_is = receive(bytes);
            let _message = receive(&compress(bytes));
        });
    }
}
