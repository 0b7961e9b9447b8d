//! Samples as messages of Remote-Write, written straight into one buffer.

use super::series::SeriesEntry;
use super::shard::Item;
use crate::model::exemplar::Exemplar;
use crate::model::labels::Labels;
use crate::model::protobuf::{put_bytes, put_float, put_number, put_varint};
use crate::remote::read_answer::histogram;
use crate::storage::follow::LogValue;

const fn varint_len(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// Writes a `prometheus.WriteRequest`.
pub(super) fn write_v1<'a>(out: &mut Vec<u8>, items: impl Iterator<Item = &'a Item>) {
    let mut message = Vec::new();
    for item in items {
        match &item.value {
            LogValue::Float(value) => float_series(out, &item.entry, item.at_ms, *value),
            LogValue::Histogram(value) => {
                message.clear();
                histogram(&mut message, value, item.at_ms);
                other_series(out, &item.entry, 4, &message);
            }
            LogValue::Exemplar(exemplar) => {
                message.clear();
                put_exemplar(&mut message, exemplar, item.at_ms);
                other_series(out, &item.entry, 3, &message);
            }
        }
    }
}

fn float_series(out: &mut Vec<u8>, entry: &SeriesEntry, at_ms: i64, value: f64) {
    let sample = 10 + varint_len(at_ms as u64);
    out.push(0x0a);
    put_varint(out, (entry.labels.len() + 2 + sample) as u64);
    out.extend_from_slice(&entry.labels);
    out.extend_from_slice(&[0x12, sample as u8, 0x09]);
    out.extend_from_slice(&value.to_le_bytes());
    out.push(0x10);
    put_varint(out, at_ms as u64);
}

fn other_series(out: &mut Vec<u8>, entry: &SeriesEntry, field: u64, message: &[u8]) {
    let length = entry.labels.len() + 1 + varint_len(message.len() as u64) + message.len();
    out.push(0x0a);
    put_varint(out, length as u64);
    out.extend_from_slice(&entry.labels);
    put_bytes(out, field, message);
}

fn put_labels(out: &mut Vec<u8>, labels: &Labels) {
    let mut pair = Vec::new();
    for (name, value) in labels {
        pair.clear();
        put_bytes(&mut pair, 1, name.as_bytes());
        put_bytes(&mut pair, 2, value.as_bytes());
        put_bytes(out, 1, &pair);
    }
}

fn put_exemplar(out: &mut Vec<u8>, exemplar: &Exemplar, at_ms: i64) {
    put_labels(out, &exemplar.labels);
    put_float(out, 2, exemplar.value);
    put_number(out, 3, at_ms as u64);
}
