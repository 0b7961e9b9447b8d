//! The value of a query as JSON, written straight from the engine's columns into the body.

use super::json::{push, push_labels, push_list, push_seconds, push_string, push_value};
use crate::model::histogram::FloatHistogram;
use crate::model::number::format_f;
use crate::model::sample::Value;
use crate::promql::value::{MatrixSeries, QueryValue, VectorSample};

/// Appends `"resultType":...,"result":...`.
pub(in crate::api) fn push_query_value(out: &mut String, value: &QueryValue) {
    match value {
        QueryValue::Scalar { at_ms, value } => {
            out.push_str("\"resultType\":\"scalar\",\"result\":[");
            push_seconds(out, *at_ms);
            // Prometheus never writes a scalar with an exponent.
            push(out, format_args!(",\"{}\"]", format_f(*value)));
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
            let mut times = Times::default();
            push_list(out, series, |out, one| push_matrix_series(out, one, &mut times));
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

/// Times as they are written, with bracket and comma: most series of an answer have the same.
#[derive(Default)]
struct Times {
    text: String,
    /// Each time, and where its text ends.
    ends: Vec<(i64, usize)>,
}

impl Times {
    /// Appends the beginning of the `place`th point of a series.
    fn push(&mut self, out: &mut String, place: usize, at_ms: i64) {
        let begin = if place == 0 { 0 } else { self.ends.get(place - 1).map_or(0, |(_, end)| *end) };
        if let Some((known_ms, end)) = self.ends.get(place)
            && *known_ms == at_ms
        {
            out.push_str(self.text.get(begin..*end).unwrap_or_default());
            return;
        }
        // The first series with another time here: from now on its times are remembered.
        self.ends.truncate(place);
        self.text.truncate(begin);
        self.text.push('[');
        push_seconds(&mut self.text, at_ms);
        self.text.push(',');
        self.ends.push((at_ms, self.text.len()));
        out.push_str(self.text.get(begin..).unwrap_or_default());
    }
}

fn push_matrix_series(out: &mut String, series: &MatrixSeries, times: &mut Times) {
    out.push_str("{\"metric\":");
    push_labels(out, &series.labels);
    if !series.floats.is_empty() {
        out.push_str(",\"values\":");
        push_list(out, series.floats.iter().enumerate(), |out, (place, (at_ms, value))| {
            times.push(out, place, *at_ms);
            push_value(out, *value);
            out.push(']');
        });
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::labels::Labels;

    #[test]
    fn scalars_have_no_exponent() {
        let mut out = String::new();
        push_query_value(&mut out, &QueryValue::Scalar { at_ms: 1500, value: 1e-10 });
        push_query_value(&mut out, &QueryValue::Scalar { at_ms: 0, value: f64::NEG_INFINITY });
        let expected = r#""resultType":"scalar","result":[1.500,"0.0000000001"]"resultType":"scalar","result":[0,"-Inf"]"#;
        assert_eq!(out, expected);
    }

    #[test]
    fn series_with_other_times_have_their_own() {
        let series =
            |floats: &[(i64, f64)]| MatrixSeries { labels: Labels::empty(), floats: floats.to_vec(), histograms: Vec::new() };
        let matrix = QueryValue::Matrix(vec![
            series(&[(1000, 1.0), (2500, 0.5)]),
            series(&[(2500, -0.0)]),
            series(&[(2500, 3.0), (4000, f64::NAN), (5000, 1e300)]),
            series(&[(2500, 1e-7), (4000, 1e21)]),
        ]);
        let mut out = String::new();
        push_query_value(&mut out, &matrix);
        let expected = r#""resultType":"matrix","result":[{"metric":{},"values":[[1,"1"],[2.500,"0.5"]]},{"metric":{},"values":[[2.500,"-0"]]},{"metric":{},"values":[[2.500,"3"],[4,"NaN"],[5,"1e+300"]]},{"metric":{},"values":[[2.500,"1e-07"],[4,"1e+21"]]}]"#;
        assert_eq!(out, expected);
    }
}
