//! Prometheus's own expositions and the bodies that it refuses.

use super::start_time::{Line, is_created, start_times};
use super::{Dialect, Entry, Parser, error, parser};
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
    if let Some(at_ms) = parser.timestamp_ms() {
        json["timestamp_ms"] = json!(at_ms);
    }
    if let Some(Exemplar { labels, value, at_ms }) = parser.exemplar() {
        let mut exemplar = json!({"labels": labels_json(&labels), "value": format_f(value)});
        if let Some(at_ms) = at_ms {
            exemplar["timestamp_ms"] = json!(at_ms);
        }
        json["exemplars"] = json!([exemplar]);
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
}

/// These are compared after joining classic histograms, which is not this parser's work: they must parse.
#[test]
fn reads_expositions_of_histograms() {
    for name in ["1histogram", "alltypes.5mfs", "NHCBParserOnOMParser"] {
        let Some(body) = shared_data::text(&format!("promql/exposition/{name}.om.txt")) else { return };
        let found = entries(body.as_bytes(), Dialect::OpenMetrics).unwrap_or_else(|error| panic!("{name}: {error:?}"));
        assert!(found.len() > 20, "{name}");
    }
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
