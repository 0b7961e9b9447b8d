//! What a histogram from outside must keep to, by the rules of Prometheus.

use super::{CUSTOM_BUCKETS_SCHEMA, FloatHistogram};

/// Returns what keeps a histogram from being one, in words. `is_counted`: its counts are whole numbers.
#[must_use]
pub fn flaw(found: &FloatHistogram, is_counted: bool) -> Option<&'static str> {
    let spans = [&found.negative_spans, &found.positive_spans];
    if spans.iter().any(|spans| spans.iter().skip(1).any(|span| span.offset < 0)) {
        return Some("histogram has a span whose offset is negative");
    }
    let mut buckets = found.negative_buckets.iter().chain(&found.positive_buckets);
    if buckets.clone().any(|count| *count < 0.0) || found.zero_count < 0.0 || found.count < 0.0 {
        return Some("histogram has a bucket whose observation count is negative");
    }
    match found.schema {
        CUSTOM_BUCKETS_SCHEMA => {
            let reached: i64 = found.positive_spans.iter().map(|span| i64::from(span.offset) + i64::from(span.length)).sum();
            if found.zero_count != 0.0 || found.zero_threshold != 0.0 || !found.negative_spans.is_empty() {
                return Some("custom buckets: must have no zero bucket and no negative spans");
            }
            if !found.custom_values.is_sorted_by(|left, right| left < right) || found.custom_values.iter().any(|v| v.is_nan()) {
                return Some("custom buckets: bounds must ascend");
            }
            if reached > found.custom_values.len() as i64 + 1 {
                return Some("custom buckets: only so many bounds as buckets, less one, may be there");
            }
        }
        -4..=8 if found.custom_values.is_empty() => {}
        -4..=8 => return Some("histogram with exponential schema must not have custom bounds"),
        _ => return Some("histogram has an invalid schema, which must be between -4 and 8 for exponential buckets, or -53"),
    }
    if is_counted {
        let observed = buckets.by_ref().sum::<f64>() + found.zero_count;
        // What is no number is counted and lies in no bucket.
        if observed > found.count || !found.sum.is_nan() && observed < found.count {
            return Some("histogram's observation count should equal the number of observations found in the buckets");
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::histogram::Span;

    #[test]
    fn flaws_of_histograms_are_named() {
        let span = |offset, length| Span { offset, length };
        let good = FloatHistogram {
            count: 6.0,
            sum: 1.0,
            zero_count: 1.0,
            positive_spans: vec![span(-2, 1), span(1, 1)],
            positive_buckets: vec![2.0, 3.0],
            ..FloatHistogram::default()
        };
        let custom = FloatHistogram {
            schema: -53,
            zero_count: 0.0,
            count: 5.0,
            positive_spans: vec![span(0, 2)],
            custom_values: vec![1.0],
            ..good.clone()
        };
        assert_eq!((flaw(&good, true), flaw(&custom, true)), (None, None));
        // What is no number lies in no bucket; floats need not add up.
        assert_eq!(flaw(&FloatHistogram { count: 9.0, sum: f64::NAN, ..good.clone() }, true), None);
        assert_eq!(flaw(&FloatHistogram { count: 9.0, ..good.clone() }, false), None);
        let bad = [
            (FloatHistogram { count: 9.0, ..good.clone() }, "observation count should equal"),
            (FloatHistogram { count: 5.0, sum: f64::NAN, ..good.clone() }, "observation count should equal"),
            (FloatHistogram { positive_buckets: vec![-2.0, 7.0], ..good.clone() }, "is negative"),
            (FloatHistogram { count: -3.0, ..good.clone() }, "is negative"),
            (FloatHistogram { positive_spans: vec![span(0, 1), span(-1, 1)], ..good.clone() }, "offset is negative"),
            (FloatHistogram { schema: -9, ..good.clone() }, "invalid schema"),
            (FloatHistogram { custom_values: vec![1.0], ..good }, "must not have custom bounds"),
            (FloatHistogram { zero_count: 1.0, ..custom.clone() }, "no zero bucket"),
            (FloatHistogram { custom_values: vec![2.0, 1.0], ..custom.clone() }, "must ascend"),
            (FloatHistogram { custom_values: vec![], ..custom }, "only so many bounds"),
        ];
        for (histogram, told) in bad {
            let found = flaw(&histogram, true);
            assert!(found.is_some_and(|found| found.contains(told)), "{told}: {found:?}");
        }
    }
}
