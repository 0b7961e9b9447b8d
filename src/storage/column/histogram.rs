//! Native histograms as bytes.
//!
//! ```text
//! u8 reset hint | zz schema | threshold, zero count, count, sum (numbers)
//! positive spans, negative spans:  n, n x (zz offset, length)
//! positive, negative buckets:      n, n x number, as differences where both neighbours are whole
//! custom bounds:                   n, n x number
//! number:  varint 2 * zigzag(m) for whole m with |m| < 2^53, else varint 1 and eight bytes
//! ```

use super::varint::{ByteReader, put_signed, put_varint, unzigzag, zigzag};
use crate::model::histogram::{CounterResetHint, FloatHistogram, Span};

const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

fn whole(value: f64) -> Option<i64> {
    let near = value as i64;
    (value.abs() < WHOLE_MAX && (near as f64).to_bits() == value.to_bits()).then_some(near)
}

fn put_number(out: &mut Vec<u8>, value: f64) {
    match whole(value) {
        Some(number) => put_varint(out, zigzag(number) << 1),
        None => {
            put_varint(out, 1);
            out.extend_from_slice(&value.to_bits().to_le_bytes());
        }
    }
}

fn read_number(bytes: &mut ByteReader<'_>) -> Option<f64> {
    match bytes.varint()? {
        1 => bytes.u64().map(f64::from_bits),
        coded if coded & 1 == 0 => Some(unzigzag(coded >> 1) as f64),
        _ => None,
    }
}

fn put_spans(out: &mut Vec<u8>, spans: &[Span]) {
    put_varint(out, spans.len() as u64);
    for span in spans {
        put_signed(out, i64::from(span.offset));
        put_varint(out, u64::from(span.length));
    }
}

fn read_spans(bytes: &mut ByteReader<'_>) -> Option<Vec<Span>> {
    let count = bytes.count(2)?;
    let span = |_| Some(Span { offset: i32::try_from(bytes.signed()?).ok()?, length: bytes.varint_u32()? });
    (0..count).map(span).collect()
}

fn put_numbers(out: &mut Vec<u8>, numbers: &[f64]) {
    put_varint(out, numbers.len() as u64);
    let mut last = 0;
    for number in numbers {
        // Neighbouring buckets hold similar counts.
        match whole(*number) {
            Some(number) => {
                put_varint(out, zigzag(number - last) << 1);
                last = number;
            }
            None => put_number(out, *number),
        }
    }
}

fn read_numbers(bytes: &mut ByteReader<'_>) -> Option<Vec<f64>> {
    let count = bytes.count(1)?;
    let mut numbers = Vec::with_capacity(count);
    let mut last = 0_i64;
    for _ in 0..count {
        let number = match bytes.varint()? {
            1 => f64::from_bits(bytes.u64()?),
            coded if coded & 1 == 0 => {
                last = last.checked_add(unzigzag(coded >> 1))?;
                last as f64
            }
            _ => return None,
        };
        numbers.push(number);
    }
    Some(numbers)
}

/// Appends a histogram.
pub(crate) fn put_histogram(out: &mut Vec<u8>, histogram: &FloatHistogram) {
    out.push(match histogram.counter_reset_hint {
        CounterResetHint::Unknown => 0,
        CounterResetHint::Reset => 1,
        CounterResetHint::NotReset => 2,
        CounterResetHint::Gauge => 3,
    });
    put_signed(out, i64::from(histogram.schema));
    for number in [histogram.zero_threshold, histogram.zero_count, histogram.count, histogram.sum] {
        put_number(out, number);
    }
    put_spans(out, &histogram.positive_spans);
    put_spans(out, &histogram.negative_spans);
    put_numbers(out, &histogram.positive_buckets);
    put_numbers(out, &histogram.negative_buckets);
    put_numbers(out, &histogram.custom_values);
}

/// Reads a histogram.
pub(crate) fn read_histogram(bytes: &mut ByteReader<'_>) -> Option<FloatHistogram> {
    let counter_reset_hint = match bytes.u8()? {
        0 => CounterResetHint::Unknown,
        1 => CounterResetHint::Reset,
        2 => CounterResetHint::NotReset,
        3 => CounterResetHint::Gauge,
        _ => return None,
    };
    Some(FloatHistogram {
        counter_reset_hint,
        schema: i32::try_from(bytes.signed()?).ok()?,
        zero_threshold: read_number(bytes)?,
        zero_count: read_number(bytes)?,
        count: read_number(bytes)?,
        sum: read_number(bytes)?,
        positive_spans: read_spans(bytes)?,
        negative_spans: read_spans(bytes)?,
        positive_buckets: read_numbers(bytes)?,
        negative_buckets: read_numbers(bytes)?,
        custom_values: read_numbers(bytes)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number() -> impl Strategy<Value = f64> {
        prop_oneof![
            (-5_000_i64..5_000_000).prop_map(|number| number as f64),
            any::<f64>().prop_filter("equal to itself", |v| !v.is_nan())
        ]
    }

    proptest! {
        #[test]
        fn histograms_come_back(
            schema in -53_i32..8,
            hint in 0_u8..4,
            numbers in proptest::collection::vec(number(), 4),
            spans in proptest::collection::vec((any::<i32>(), any::<u32>()), 0..5),
            buckets in proptest::collection::vec(number(), 0..20),
            custom in proptest::collection::vec(number(), 0..4),
        ) {
            let hints = [CounterResetHint::Unknown, CounterResetHint::Reset, CounterResetHint::NotReset, CounterResetHint::Gauge];
            let histogram = FloatHistogram {
                counter_reset_hint: hints[usize::from(hint)],
                schema,
                zero_threshold: numbers[0],
                zero_count: numbers[1],
                count: numbers[2],
                sum: numbers[3],
                positive_spans: spans.iter().map(|(offset, length)| Span { offset: *offset, length: *length }).collect(),
                negative_spans: Vec::new(),
                positive_buckets: buckets.clone(),
                negative_buckets: buckets,
                custom_values: custom,
            };
            let mut bytes = Vec::new();
            put_histogram(&mut bytes, &histogram);
            let mut reader = ByteReader::new(&bytes);
            prop_assert_eq!(read_histogram(&mut reader), Some(histogram));
            prop_assert!(reader.is_empty());
        }

        #[test]
        fn damaged_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _read = read_histogram(&mut ByteReader::new(&bytes));
        }
    }
}
