//! The messages of remote read's answers: `prometheus.ReadResponse`, and frames of `prometheus.ChunkedReadResponse`.

use super::{histogram_chunk, xor};
use crate::model::histogram::{CounterResetHint, FloatHistogram, Span};
use crate::model::labels::Labels;
use crate::model::protobuf::{put_bytes, put_float, put_number, put_signed, put_varint};
use crate::storage::select::SeriesSamples;

/// Samples of a chunk, as in Prometheus's store.
const CHUNK_SAMPLES: usize = 120;
/// Kinds of chunks, as `prometheus.Chunk.Encoding` numbers them.
const XOR: u64 = 1;
const FLOAT_HISTOGRAM: u64 = 3;
/// Bytes after which a frame is closed, as Prometheus's `max-bytes-in-frame`.
const FRAME_BYTES: usize = 1 << 20;

/// An answer under construction.
pub(super) struct Answer {
    chunked: bool,
    out: Vec<u8>,
    /// The result of this query, where samples are sent.
    part: Vec<u8>,
    query: usize,
}

impl Answer {
    pub(super) const fn new(chunked: bool) -> Self {
        Self { chunked, out: Vec::new(), part: Vec::new(), query: 0 }
    }

    pub(super) fn begin(&mut self, query: usize) {
        self.query = query;
        self.part.clear();
    }

    pub(super) fn add(&mut self, labels: &Labels, samples: &SeriesSamples) {
        if samples.is_empty() {
            return;
        }
        let mut series = Vec::new();
        for (name, value) in labels {
            let mut label = Vec::new();
            put_bytes(&mut label, 1, name.as_bytes());
            put_bytes(&mut label, 2, value.as_bytes());
            put_bytes(&mut series, 1, &label);
        }
        if self.chunked {
            self.frames(&series, samples);
            return;
        } else {
            for (place, at_ms) in samples.times.iter().enumerate() {
                let mut message = Vec::new();
                if let Some(value) = samples.float(place) {
                    put_float(&mut message, 1, value);
                    put_number(&mut message, 2, *at_ms as u64);
                    put_bytes(&mut series, 2, &message);
                } else if let Some(value) = samples.histogram(place) {
                    histogram(&mut message, value, *at_ms);
                    put_bytes(&mut series, 4, &message);
                }
            }
        }
        put_bytes(&mut self.part, 1, &series);
    }

    /// Writes the frames of one series: readers look at the first series of a frame alone, so each frame has but one. Where its
    /// chunks are many, further frames repeat the labels.
    fn frames(&mut self, labels: &[u8], samples: &SeriesSamples) {
        let mut series = labels.to_vec();
        for chunk in chunks(samples) {
            if series.len() > labels.len() && series.len() + chunk.len() > FRAME_BYTES {
                self.frame(&series);
                series.truncate(labels.len());
            }
            put_bytes(&mut series, 2, &chunk);
        }
        self.frame(&series);
    }

    pub(super) fn end(&mut self) {
        if !self.chunked {
            let part = std::mem::take(&mut self.part);
            put_bytes(&mut self.out, 1, &part);
        }
    }

    /// Writes a frame: its length, its checksum, the message.
    fn frame(&mut self, series: &[u8]) {
        let mut message = Vec::with_capacity(series.len() + 16);
        put_bytes(&mut message, 1, series);
        if self.query > 0 {
            put_number(&mut message, 2, self.query as u64);
        }
        put_varint(&mut self.out, message.len() as u64);
        self.out.extend(crc32c::crc32c(&message).to_be_bytes());
        self.out.append(&mut message);
    }

    pub(super) fn finish(self) -> Vec<u8> {
        if self.chunked {
            return self.out;
        }
        // A message that is too long for snappy's block form cannot be: samples are bounded well below.
        snap::raw::Encoder::new().compress_vec(&self.out).unwrap_or_default()
    }
}

/// Samples that go into one chunk.
#[derive(Default)]
struct Run<'s> {
    floats: Vec<(i64, f64)>,
    histograms: Vec<histogram_chunk::Point<'s>>,
}

impl Run<'_> {
    /// Writes the chunk, if there is anything in it, and begins the next one.
    fn close(&mut self, chunks: &mut Vec<Vec<u8>>) {
        let mut write = |kind: u64, first_ms: i64, last_ms: i64, data: &[u8]| {
            let mut message = Vec::new();
            put_number(&mut message, 1, first_ms as u64);
            put_number(&mut message, 2, last_ms as u64);
            put_number(&mut message, 3, kind);
            put_bytes(&mut message, 4, data);
            chunks.push(message);
        };
        if let (Some((first, _)), Some((last, _))) = (self.floats.first(), self.floats.last()) {
            write(XOR, *first, *last, &xor::encode(&self.floats));
        }
        if let (Some((first, _)), Some((last, _))) = (self.histograms.first(), self.histograms.last()) {
            write(FLOAT_HISTOGRAM, *first, *last, &histogram_chunk::encode(&self.histograms));
        }
        *self = Self::default();
    }
}

/// Writes the samples of a series as chunks: floats and histograms apart, ascending in time.
fn chunks(samples: &SeriesSamples) -> Vec<Vec<u8>> {
    let (mut chunks, mut run) = (Vec::new(), Run::default());
    for (place, at_ms) in samples.times.iter().enumerate() {
        if let Some(value) = samples.float(place) {
            if !run.histograms.is_empty() || run.floats.len() == CHUNK_SAMPLES {
                run.close(&mut chunks);
            }
            run.floats.push((*at_ms, value));
        } else if let Some(value) = samples.histogram(place) {
            let fits = run.histograms.last().is_some_and(|(_, before)| histogram_chunk::fits(before, value));
            if !fits || run.histograms.len() == CHUNK_SAMPLES {
                run.close(&mut chunks);
            }
            run.histograms.push((*at_ms, value));
        }
    }
    run.close(&mut chunks);
    chunks
}

/// Writes a `prometheus.Histogram`.
pub(super) fn histogram(out: &mut Vec<u8>, value: &FloatHistogram, at_ms: i64) {
    let floats = |out: &mut Vec<u8>, field: u64, values: &[f64]| {
        if !values.is_empty() {
            let packed: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            put_bytes(out, field, &packed);
        }
    };
    let spans = |out: &mut Vec<u8>, field: u64, spans: &[Span]| {
        for span in spans {
            let mut message = Vec::new();
            put_signed(&mut message, 1, i64::from(span.offset));
            put_number(&mut message, 2, u64::from(span.length));
            put_bytes(out, field, &message);
        }
    };
    put_float(out, 2, value.count);
    put_float(out, 3, value.sum);
    put_signed(out, 4, i64::from(value.schema));
    put_float(out, 5, value.zero_threshold);
    put_float(out, 7, value.zero_count);
    spans(out, 8, &value.negative_spans);
    floats(out, 10, &value.negative_buckets);
    spans(out, 11, &value.positive_spans);
    floats(out, 13, &value.positive_buckets);
    let hint = match value.counter_reset_hint {
        CounterResetHint::Unknown => 0,
        CounterResetHint::Reset => 1,
        CounterResetHint::NotReset => 2,
        CounterResetHint::Gauge => 3,
    };
    put_number(out, 14, hint);
    put_number(out, 15, at_ms as u64);
    floats(out, 16, &value.custom_values);
}
