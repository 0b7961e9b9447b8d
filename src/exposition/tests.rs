//! Prometheus's own expositions and the bodies that it refuses.

use super::families::{self, About, Sample, Sink};
use super::start_time::{Line, is_created, start_times};
use super::{Dialect, Entry, Parser, converted, error, parser};
use crate::model::exemplar::Exemplar;
use crate::model::labels::{Labels, LabelsBuilder};
use crate::model::number::{format_f, parse_float};
use crate::model::shared_data;
use serde_json::{Value as Json, json};

/// Parses a whole body into the form of the shared expectations.
fn entries(body: &[u8], dialect: Dialect) -> Result<Vec<Json>, error::ParseError> {
    let mut found = Vec::new();
    let mut lines = Vec::new();
    let mut parser = Parser::new(body, dialect);
    while let Some(entry) = parser.next()? {
        let json = match entry {
            // The expectations write an empty unit as an empty help.
            Entry::Unit if parser.unit().is_empty() => json!({"kind": "help", "metric": parser.metric(), "help": ""}),
            Entry::Help => json!({"kind": "help", "metric": parser.metric(), "help": parser.help()}),
            Entry::Type => json!({"kind": "type", "metric": parser.metric(), "type": parser.metric_type().as_str()}),
            Entry::Unit => json!({"kind": "unit", "metric": parser.metric(), "unit": parser.unit()}),
            Entry::Comment => json!({"kind": "comment", "comment": String::from_utf8_lossy(parser.comment())}),
            Entry::Sample => {
                let mut labels = LabelsBuilder::new();
                parser.labels_into(&mut labels)?;
                let labels = labels.build();
                lines.push(Line::Sample { labels: labels.clone(), metric_type: parser.metric_type(), value: parser.value() });
                found.push(sample(&parser, &labels));
                continue;
            }
        };
        lines.push(Line::Other);
        found.push(json);
    }
    if dialect == Dialect::Text {
        return Ok(found);
    }
    let starts = start_times(&lines);
    let mut kept = Vec::new();
    for ((mut json, line), start) in found.into_iter().zip(lines).zip(starts) {
        if let Line::Sample { labels, metric_type, .. } = &line
            && is_created(labels, *metric_type)
        {
            continue;
        }
        if let Some(start) = start {
            json["start_timestamp_ms"] = json!(start);
        }
        kept.push(json);
    }
    Ok(kept)
}

fn labels_json(labels: &Labels) -> Json {
    labels.iter().map(|(name, value)| (name.to_owned(), json!(value))).collect::<serde_json::Map<_, _>>().into()
}

fn sample(parser: &Parser<'_>, labels: &Labels) -> Json {
    let mut json = json!({"kind": "sample", "labels": labels_json(labels), "value": format_f(parser.value())});
    for name in parser.empty_labels() {
        json["labels"][name.as_ref()] = json!("");
    }
    if let Some(at_ms) = parser.timestamp_ms() {
        json["timestamp_ms"] = json!(at_ms);
    }
    if let Some(exemplar) = parser.exemplar() {
        json["exemplars"] = json!([exemplar_json(&exemplar)]);
    }
    json
}

fn exemplar_json(exemplar: &Exemplar) -> Json {
    let mut json = json!({"labels": labels_json(&exemplar.labels), "value": format_f(exemplar.value)});
    if let Some(at_ms) = exemplar.at_ms {
        json["timestamp_ms"] = json!(at_ms);
    }
    json
}

/// Writes all numbers in one form, so that `4e-05` and `0.00004` are equal.
fn normal(mut json: Json) -> Json {
    if let Some(value) = json.get("value").and_then(Json::as_str) {
        json["value"] = json!(format_f(parse_float(value).unwrap()));
    }
    if let Some(Json::Array(exemplars)) = json.get_mut("exemplars") {
        for exemplar in exemplars {
            *exemplar = normal(exemplar.take());
        }
    }
    json
}

#[track_caller]
fn check(name: &str, suffix: &str, dialect: Dialect) {
    let Some(body) = shared_data::text(&format!("promql/exposition/{name}.{suffix}.txt")) else { return };
    let Some(Json::Array(expected)) = shared_data::json(&format!("promql/exposition/{name}.expected.json")) else { return };
    let mut body = body.into_bytes();
    if dialect == Dialect::Text {
        parser::ensure_newline(&mut body);
    }
    let found = entries(&body, dialect).unwrap_or_else(|error| panic!("{name}: {error:?}"));
    for (place, (found, expected)) in found.iter().zip(&expected).enumerate() {
        assert_eq!(normal(found.clone()), normal(expected.clone()), "{name}, entry {place}");
    }
    assert_eq!(found.len(), expected.len(), "{name}");
}

#[test]
fn reads_prometheus_own_expositions() {
    check("PromParse", "prom", Dialect::Text);
    check("OpenMetricsParse", "om", Dialect::OpenMetrics);
    check("OpenMetricsParse_UTF8", "om", Dialect::OpenMetrics);
    check("1histogram", "om", Dialect::OpenMetrics);
    check("alltypes.5mfs", "om", Dialect::OpenMetrics);
}

/// Gathers the entries of a conversion in the form of the shared expectations.
#[derive(Default)]
struct Entries(Vec<Json>);

impl Sink for Entries {
    fn about(&mut self, metric: &str, about: About<'_>) {
        self.0.push(match about {
            About::Unit("") => json!({"kind": "help", "metric": metric, "help": ""}),
            About::Help(text) => json!({"kind": "help", "metric": metric, "help": text}),
            About::Type(metric_type) => json!({"kind": "type", "metric": metric, "type": metric_type.as_str()}),
            About::Unit(unit) => json!({"kind": "unit", "metric": metric, "unit": unit}),
        });
    }

    fn sample(&mut self, sample: Sample<'_>) -> Result<(), String> {
        let pairs = (sample.labels)()?;
        if pairs.iter().any(|(name, value)| name == "__name__" && value.ends_with("_created") && value != "fizz_created") {
            // The expectations leave them out; they are series all the same.
            return Ok(());
        }
        let labels: serde_json::Map<_, _> = pairs.iter().map(|(name, value)| (name.to_string(), json!(value))).collect();
        let mut json = match &sample.value {
            families::Value::Float(value) => json!({"kind": "sample", "labels": labels, "value": format_f(*value)}),
            families::Value::Histogram(histogram) => {
                json!({"kind": "histogram", "labels": labels, "histogram": histogram.test_expression()})
            }
        };
        if let Some(at_ms) = sample.timestamp_ms {
            json["timestamp_ms"] = json!(at_ms);
        }
        if sample.start_ms != 0 {
            json["start_timestamp_ms"] = json!(sample.start_ms);
        }
        if !sample.exemplars.is_empty() {
            json["exemplars"] = sample.exemplars.iter().map(exemplar_json).collect();
        }
        self.0.push(json);
        Ok(())
    }
}

#[test]
fn converts_as_prometheus_does() {
    let name = "NHCBParserOnOMParser";
    let Some(body) = shared_data::text(&format!("promql/exposition/{name}.om.txt")) else { return };
    let Some(Json::Array(expected)) = shared_data::json(&format!("promql/exposition/{name}.expected.json")) else { return };
    let mut found = Entries::default();
    converted::read(body.as_bytes(), Dialect::OpenMetrics, false, &mut found).unwrap();
    for (place, (found, expected)) in found.0.iter().zip(&expected).enumerate() {
        assert_eq!(normal(found.clone()), normal(expected.clone()), "entry {place}");
    }
    assert_eq!(found.0.len(), expected.len());
}

#[test]
fn classic_lines_stay_where_they_are_wanted() {
    let body = "# TYPE h histogram\nh_bucket{a=\"x\",le=\"1\"} 2\nh_bucket{a=\"x\",le=\"+Inf\"} 3\nh_count{a=\"x\"} 3\nh_sum{a=\"x\"} 4\n\
        h_bucket{a=\"y\",le=\"1\"} 2\nh_count{a=\"y\"} 1\nh_other 1\n# TYPE i histogram\ni_bucket{le=\"1\"} 1\n";
    let lines = |keep_classic| {
        let mut found = Entries::default();
        converted::read(body.as_bytes(), Dialect::Text, keep_classic, &mut found).unwrap();
        found.0
    };
    let histograms: Vec<String> = lines(true).iter().filter_map(|entry| entry["histogram"].as_str().map(str::to_owned)).collect();
    assert_eq!(
        histograms,
        ["{{schema:-53 count:3 sum:4 custom_values:[1] buckets:[2 1]}}", "{{schema:-53 count:1 custom_values:[1] buckets:[1]}}"]
    );
    assert_eq!(lines(true).iter().filter(|entry| entry["kind"] == "sample").count(), 8);
    // The one that contradicts itself is neither.
    assert_eq!(lines(false).iter().filter(|entry| entry["kind"] == "sample").count(), 1);
    let many: String = (0..20_000).map(|number| format!("h_bucket{{le=\"{number}\"}} 1\n")).collect();
    let many = format!("# TYPE h histogram\n{many}");
    let refused = converted::read(many.as_bytes(), Dialect::Text, false, &mut Entries::default()).unwrap_err();
    assert_eq!((refused.line, refused.message.contains("too many buckets")), (16_386, true), "{refused:?}");
}

fn refuses(file: &str, dialect: Dialect) -> usize {
    let Some(cases) = shared_data::json(&format!("promql/exposition/{file}")) else { return 0 };
    let cases = cases["cases"].as_array().unwrap();
    let mut wrong = Vec::new();
    for case in cases {
        let (input, expected) = (case["input"].as_str().unwrap(), case["error"].as_str().unwrap());
        // JSON cannot hold the byte 0xff that this case had.
        if input.contains('\u{fffd}') {
            continue;
        }
        let mut body = input.as_bytes().to_vec();
        if dialect == Dialect::Text {
            parser::ensure_newline(&mut body);
        }
        let found = entries(&body, dialect).map_or_else(|error| error.message, |_| String::new());
        let fine = expected == "EOF" || expected.is_empty();
        if if fine { !found.is_empty() } else { found != expected } {
            wrong.push(format!("{input:?}\n  expected {expected}\n  found    {found}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    cases.len()
}

#[test]
fn refuses_with_prometheus_words() {
    println!("{} text cases", refuses("errors_prom.json", Dialect::Text));
    println!("{} OpenMetrics cases", refuses("errors_openmetrics.json", Dialect::OpenMetrics));
}

#[test]
fn errors_say_where() {
    let body = b"good 1\n# TYPE x gauge\nx{a=\"b\" 2\n";
    let error = entries(body, Dialect::Text).unwrap_err();
    assert_eq!((error.line, error.column), (3, 9));
    assert_eq!(error.text, "x{a=\"b\" 2");
    let invalid = b"ok 1\nx{a=\"\xff\"} 2\n";
    let error = entries(invalid, Dialect::Text).unwrap_err();
    assert_eq!((error.line, error.message.as_str()), (2, "invalid UTF-8 label value: \"\\\"\\xff\\\"\""));
    let twice = entries(b"x{a=\"1\",a=\"2\"} 2\n", Dialect::Text).unwrap_err();
    assert_eq!(twice.message, "label name \"a\" is not unique: invalid sample");
}

/// A second opinion on a real body: prometheus-parse reads the same samples.
#[test]
fn agrees_with_another_parser() {
    let Some(mut body) = shared_data::text("bench/fleet/templates/node-capture.prom") else { return };
    if !body.ends_with('\n') {
        body.push('\n');
    }
    let theirs = prometheus_parse::Scrape::parse(body.lines().map(|line| Ok(line.to_owned()))).unwrap();
    let mut expected = Vec::new();
    for sample in theirs.samples {
        let own = sample.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let labels = Labels::from_pairs(own.chain([("__name__", sample.metric.as_str())]));
        match sample.value {
            prometheus_parse::Value::Counter(value)
            | prometheus_parse::Value::Gauge(value)
            | prometheus_parse::Value::Untyped(value) => expected.push((labels.to_string(), value.to_bits())),
            // It folds the lines of these into one value.
            prometheus_parse::Value::Histogram(_) | prometheus_parse::Value::Summary(_) => {}
        }
    }
    let mut ours = std::collections::BTreeMap::new();
    let mut parser = Parser::new(body.as_bytes(), Dialect::Text);
    while let Some(entry) = parser.next().unwrap() {
        if entry == Entry::Sample {
            let mut labels = LabelsBuilder::new();
            parser.labels_into(&mut labels).unwrap();
            ours.insert(labels.build().to_string(), parser.value().to_bits());
        }
    }
    assert!(expected.len() > 300, "{}", expected.len());
    for (labels, bits) in expected {
        assert_eq!(ours.get(&labels), Some(&bits), "{labels}");
    }
}

proptest::proptest! {
    /// No bytes make the parsers panic or run on for ever.
    #[test]
    fn any_bytes_end(body: Vec<u8>) {
        for dialect in [Dialect::Text, Dialect::OpenMetrics] {
            let mut parser = Parser::new(&body, dialect);
            let mut count = 0;
            while let Ok(Some(_)) = parser.next() {
                count += 1;
            }
            assert!(count <= body.len());
        }
    }

    #[test]
    fn any_line_like_text_ends(body in "([a-z#{}\"=, \\\\0-9\n]|HELP |TYPE |# |EOF){0,60}") {
        for dialect in [Dialect::Text, Dialect::OpenMetrics] {
            let mut parser = Parser::new(body.as_bytes(), dialect);
            while let Ok(Some(entry)) = parser.next() {
                if entry == Entry::Sample {
                    let mut labels = LabelsBuilder::new();
                    let put = parser.labels_into(&mut labels);
                    assert!(put.is_err() || !labels.build().is_empty());
                }
            }
        }
    }
}
