//! The value of a query as JSON, written straight from the engine's columns into the body.

use super::json::{push, push_labels, push_list, push_seconds, push_string, push_value};
use crate::model::histogram::FloatHistogram;
use crate::model::sample::Value;
use crate::promql::value::{MatrixSeries, QueryValue, VectorSample};

/// Appends `"resultType":...,"result":...`.
pub(in crate::api) fn push_query_value(out: &mut String, value: &QueryValue) {
    match value {
        QueryValue::Scalar { at_ms, value } => {
            out.push_str("\"resultType\":\"scalar\",\"result\":");
            push_point(out, *at_ms, *value);
        }
        QueryValue::String { at_ms, text } => {
            out.push_str("\"resultType\":\"string\",\"result\":[");
            push_seconds(out, *at_ms);
            out.push(',');
            push_string(out, text);
            out.push(']');
        }
        QueryValue::Vector(samples) => {
            out.push_str("\"resultType\":\"vector\",\"result\":");
            push_list(out, samples, push_vector_sample);
        }
        QueryValue::Matrix(series) => {
            out.push_str("\"resultType\":\"matrix\",\"result\":");
            out.reserve(series.iter().map(|one| 64 + one.floats.len() * 28).sum());
            push_list(out, series, push_matrix_series);
        }
    }
}

fn push_vector_sample(out: &mut String, sample: &VectorSample) {
    out.push_str("{\"metric\":");
    push_labels(out, &sample.labels);
    match &sample.value {
        Value::Float(value) => {
            out.push_str(",\"value\":");
            push_point(out, sample.at_ms, *value);
        }
        Value::Histogram(histogram) => {
            out.push_str(",\"histogram\":");
            push_histogram_point(out, sample.at_ms, histogram);
        }
    }
    out.push('}');
}

fn push_matrix_series(out: &mut String, series: &MatrixSeries) {
    out.push_str("{\"metric\":");
    push_labels(out, &series.labels);
    if !series.floats.is_empty() {
        out.push_str(",\"values\":");
        push_list(out, &series.floats, |out, (at_ms, value)| push_point(out, *at_ms, *value));
    }
    if !series.histograms.is_empty() {
        out.push_str(",\"histograms\":");
        push_list(out, &series.histograms, |out, (at_ms, histogram)| push_histogram_point(out, *at_ms, histogram));
    }
    out.push('}');
}

fn push_point(out: &mut String, at_ms: i64, value: f64) {
    out.push('[');
    push_seconds(out, at_ms);
    out.push(',');
    push_value(out, value);
    out.push(']');
}

fn push_histogram_point(out: &mut String, at_ms: i64, histogram: &FloatHistogram) {
    out.push('[');
    push_seconds(out, at_ms);
    out.push_str(",{\"count\":");
    push_value(out, histogram.count);
    out.push_str(",\"sum\":");
    push_value(out, histogram.sum);
    let buckets = histogram.all_buckets();
    let mut filled = buckets.iter().filter(|bucket| bucket.count != 0.0).peekable();
    if filled.peek().is_some() {
        out.push_str(",\"buckets\":");
        push_list(out, filled, |out, bucket| {
            let rule = match (bucket.lower_inclusive, bucket.upper_inclusive) {
                (false, true) => 0,
                (true, false) => 1,
                (false, false) => 2,
                (true, true) => 3,
            };
            push(out, format_args!("[{rule},"));
            push_value(out, bucket.lower);
            out.push(',');
            push_value(out, bucket.upper);
            out.push(',');
            push_value(out, bucket.count);
            out.push(']');
        });
    }
    out.push_str("}]");
}
