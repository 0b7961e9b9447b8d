//! Samples as messages of Remote-Write, written straight into one buffer.

use super::series::SeriesEntry;
use super::shard::Item;
use super::symbols::RequestSymbols;
use crate::model::exemplar::Exemplar;
use crate::model::labels::Labels;
use crate::model::metadata::{Metadata, MetricType};
use crate::model::protobuf::{put_bytes, put_float, put_number, put_varint};
use crate::remote::read_answer::histogram;
use crate::storage::follow::LogValue;

const fn varint_len(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// Writes labels as fields of a `prometheus.TimeSeries`.
pub(super) fn put_labels(out: &mut Vec<u8>, labels: &Labels) {
    let mut pair = Vec::new();
    for (name, value) in labels {
        pair.clear();
        put_bytes(&mut pair, 1, name.as_bytes());
        put_bytes(&mut pair, 2, value.as_bytes());
        put_bytes(out, 1, &pair);
    }
}

/// Writes a `prometheus.WriteRequest`.
pub(super) fn write_v1(out: &mut Vec<u8>, items: &[Item]) {
    let mut message = Vec::new();
    for item in items {
        let SeriesEntry::V1(labels) = &*item.entry else { continue };
        message.clear();
        let field = match &item.value {
            LogValue::Float(value) => {
                float_series(out, labels, item.at_ms, *value);
                continue;
            }
            LogValue::Histogram(value) => {
                histogram(&mut message, value, item.at_ms);
                4
            }
            LogValue::Exemplar(exemplar) => {
                put_labels(&mut message, &exemplar.labels);
                put_exemplar(&mut message, exemplar, item.at_ms);
                3
            }
        };
        let length = labels.len() + 1 + varint_len(message.len() as u64) + message.len();
        out.push(0x0a);
        put_varint(out, length as u64);
        out.extend_from_slice(labels);
        put_bytes(out, field, &message);
    }
}

fn float_series(out: &mut Vec<u8>, labels: &[u8], at_ms: i64, value: f64) {
    let sample = 10 + varint_len(at_ms as u64);
    out.push(0x0a);
    put_varint(out, (labels.len() + 2 + sample) as u64);
    out.extend_from_slice(labels);
    put_sample(out, sample, at_ms, value);
}

/// Writes a sample (field 2) whose length is known.
fn put_sample(out: &mut Vec<u8>, length: usize, at_ms: i64, value: f64) {
    out.extend_from_slice(&[0x12, length as u8, 0x09]);
    out.extend_from_slice(&value.to_le_bytes());
    out.push(0x10);
    put_varint(out, at_ms as u64);
}

fn put_exemplar(out: &mut Vec<u8>, exemplar: &Exemplar, at_ms: i64) {
    put_float(out, 2, exemplar.value);
    put_number(out, 3, at_ms as u64);
}

/// Returns the number that both versions have for a type.
const fn type_number(metric_type: MetricType) -> u64 {
    match metric_type {
        MetricType::Unknown => 0,
        MetricType::Counter => 1,
        MetricType::Gauge => 2,
        MetricType::Histogram => 3,
        MetricType::GaugeHistogram => 4,
        MetricType::Summary => 5,
        MetricType::Info => 6,
        MetricType::StateSet => 7,
    }
}

/// Writes metadata as fields of a `prometheus.WriteRequest`.
pub(super) fn write_metadata(out: &mut Vec<u8>, metadata: &[(String, Metadata)]) {
    let mut message = Vec::new();
    for (family, known) in metadata {
        message.clear();
        put_number(&mut message, 1, type_number(known.metric_type));
        for (field, text) in [(2, family), (4, &known.help), (5, &known.unit)] {
            if !text.is_empty() {
                put_bytes(&mut message, field, text.as_bytes());
            }
        }
        put_bytes(out, 3, &message);
    }
}

/// Writes an `io.prometheus.write.v2.Request`: its symbols to `out`, its series to `series`.
pub(super) fn write_v2(out: &mut Vec<u8>, series: &mut Vec<u8>, symbols: &mut RequestSymbols, items: &[Item]) {
    symbols.begin(out);
    let (mut one, mut message, mut packed) = (Vec::new(), Vec::new(), Vec::new());
    for item in items {
        let SeriesEntry::V2 { texts, numbers, metric_type } = &*item.entry else { continue };
        let Some((labels, about)) = numbers.split_last_chunk::<2>().map(|(labels, about)| (labels, *about)) else { continue };
        one.clear();
        packed.clear();
        symbols.put(texts, labels, out, |place| put_varint(&mut packed, u64::from(place)));
        put_bytes(&mut one, 1, &packed);
        message.clear();
        match &item.value {
            LogValue::Exemplar(exemplar) => {
                if let Some((at_ms, start_ms, value)) = item.beside.as_deref() {
                    put_value(&mut one, &mut message, value, *at_ms, *start_ms);
                    message.clear();
                }
                packed.clear();
                for text in exemplar.labels.iter().flat_map(|(name, value)| [name, value]) {
                    put_varint(&mut packed, u64::from(symbols.other(text, out)));
                }
                put_bytes(&mut message, 1, &packed);
                put_exemplar(&mut message, exemplar, item.at_ms);
                put_bytes(&mut one, 4, &message);
            }
            value => put_value(&mut one, &mut message, value, item.at_ms, item.start_ms),
        }
        put_about(&mut one, symbols, out, texts, (*metric_type, about));
        put_bytes(series, 5, &one);
    }
}

/// Writes a float or a histogram with its start timestamp, as a field of an `io.prometheus.write.v2.TimeSeries`.
fn put_value(one: &mut Vec<u8>, message: &mut Vec<u8>, value: &LogValue, at_ms: i64, start_ms: i64) {
    match value {
        LogValue::Float(value) if start_ms == 0 => put_sample(one, 10 + varint_len(at_ms as u64), at_ms, *value),
        LogValue::Float(value) => {
            put_float(message, 1, *value);
            put_number(message, 2, at_ms as u64);
            put_number(message, 3, start_ms as u64);
            put_bytes(one, 2, message);
        }
        LogValue::Histogram(value) => {
            histogram(message, value, at_ms);
            if start_ms != 0 {
                put_number(message, 17, start_ms as u64);
            }
            put_bytes(one, 3, message);
        }
        LogValue::Exemplar(_) => {}
    }
}

/// Writes what is known of a series' metric, where something is.
fn put_about(
    one: &mut Vec<u8>,
    symbols: &mut RequestSymbols,
    out: &mut Vec<u8>,
    texts: &std::sync::Arc<super::symbols::Texts>,
    (metric_type, about): (MetricType, [u32; 2]),
) {
    let (mut places, mut next) = ([0; 2], 0);
    symbols.put(texts, &about, out, |place| {
        if let Some(slot) = places.get_mut(next) {
            *slot = place;
        }
        next += 1;
    });
    let numbers = [(1, type_number(metric_type)), (3, u64::from(places[0])), (4, u64::from(places[1]))];
    if numbers.iter().all(|(_, number)| *number == 0) {
        return;
    }
    // Numbers of at most five bytes each.
    let mut message = Vec::with_capacity(18);
    for (field, number) in numbers.into_iter().filter(|(_, number)| *number != 0) {
        put_number(&mut message, field, number);
    }
    put_bytes(one, 5, &message);
}
