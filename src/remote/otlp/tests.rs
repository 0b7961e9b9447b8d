use super::message::{Kind, Resource};
use super::{Encoding, answer, binary, json, receive};
use crate::config::remote::OtlpConfig;
use crate::env::Env;
use crate::env::memory_disk::MemoryDisk;
use crate::model::matcher::Matcher;
use crate::model::metadata::MetricType;
use crate::model::protobuf::{put_bytes, put_float, put_number, put_signed, put_varint};
use crate::model::sample::is_stale;
use crate::remote::receive::WriteError;
use crate::storage::append::Durability;
use crate::storage::select::{Hints, Querier as _, SeriesSamples, TimeRange};
use crate::storage::{Store, StoreOptions};
use crate::telemetry::metrics::Registry;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One resource with a metric of each kind.
const EXPORT: &str = r#"{"resourceMetrics": [{
  "resource": {"attributes": [
    {"key": "service.name", "value": {"stringValue": "shop"}},
    {"key": "service.namespace", "value": {"stringValue": "eu"}},
    {"key": "service.instance.id", "value": {"stringValue": "i-1"}},
    {"key": "host.name", "value": {"stringValue": "db1"}},
    {"key": "process.pid", "value": {"intValue": "42"}}]},
  "scopeMetrics": [{"scope": {"name": "lib", "version": "1.2"}, "metrics": [
    {"name": "room.temperature", "unit": "Cel", "description": "How warm.", "gauge": {"dataPoints": [
      {"timeUnixNano": "2000000000", "asDouble": 21.5, "attributes": [
        {"key": "room.name", "value": {"stringValue": "north"}}, {"key": "a.b", "value": {"stringValue": "2"}},
        {"key": "a-b", "value": {"stringValue": "1"}}, {"key": "on", "value": {"boolValue": true}},
        {"key": "list", "value": {"arrayValue": {"values": [{"intValue": 1}, {"doubleValue": 0.5}]}}}]},
      {"timeUnixNano": "2000000000", "flags": 1, "attributes": []}]}},
    {"name": "requests", "unit": "1", "sum": {"aggregationTemporality": 2, "isMonotonic": true, "dataPoints": [
      {"startTimeUnixNano": "1000000000", "timeUnixNano": "2000000000", "asInt": "7", "exemplars": [
        {"timeUnixNano": "1500000000", "asDouble": 3, "traceId": "5B8EFFF798038103D269B633813FC60C", "spanId": "eee19b7ec3c1b174"}]}]}},
    {"name": "queue", "sum": {"aggregationTemporality": "AGGREGATION_TEMPORALITY_CUMULATIVE", "dataPoints": [
      {"timeUnixNano": "2000000000", "asInt": -3}]}},
    {"name": "since.before", "sum": {"aggregationTemporality": 1, "isMonotonic": true, "dataPoints": [
      {"timeUnixNano": "2000000000", "asInt": 1}, {"timeUnixNano": "3000000000", "asInt": 1}]}},
    {"name": "latency", "unit": "s", "histogram": {"aggregationTemporality": 2, "dataPoints": [
      {"startTimeUnixNano": "1000000000", "timeUnixNano": "2000000000", "count": "6", "sum": 5.5,
       "bucketCounts": ["1", "2", "3"], "explicitBounds": [0.5, 1]}]}},
    {"name": "sizes", "exponentialHistogram": {"aggregationTemporality": 2, "dataPoints": [
      {"timeUnixNano": "2000000000", "count": 10, "sum": 9, "scale": 9, "zeroCount": 1,
       "positive": {"offset": 1, "bucketCounts": [1, 2, 3]}, "negative": {"offset": -3, "bucketCounts": ["3"]}}]}},
    {"name": "pauses", "unit": "ms", "summary": {"dataPoints": [
      {"timeUnixNano": "2000000000", "count": "4", "sum": 12, "quantileValues": [{"quantile": 0.5, "value": 2}]}]}}
  ]}]}]}"#;

fn store() -> Store {
    let env = Env { disk: Arc::new(MemoryDisk::new()), ..Env::real() };
    Store::open(&env, StoreOptions { retention_ms: 0, ..StoreOptions::default() }, &Registry::new()).expect("opens")
}

/// All series by their labels.
fn series(store: &Store) -> BTreeMap<String, SeriesSamples> {
    let range = TimeRange { start_ms: 0, end_ms: 1 << 40 };
    let selection = store.select(&[], range, &Hints { sorted: true, ..Hints::default() }).expect("selects");
    let read = selection.reader.read(0..selection.series.len()).expect("reads");
    selection.series.iter().map(|one| one.labels.to_string()).zip(read).collect()
}

/// What came of an export: `labels value` of each series with floats.
fn floats(store: &Store) -> Vec<String> {
    let shown = |(labels, samples): (&String, &SeriesSamples)| {
        let values: Vec<f64> = (0..samples.len()).filter_map(|i| samples.float(i)).collect();
        (!values.is_empty())
            .then(|| format!("{labels} {}", if is_stale(values[0]) { "stale".into() } else { values[0].to_string() }))
    };
    series(store).iter().filter_map(shown).collect()
}

#[test]
fn each_kind_becomes_its_series() {
    let store = store();
    let config = OtlpConfig { promote_resource_attributes: vec!["host.name".to_owned()], ..OtlpConfig::default() };
    let done = receive(Encoding::Json, EXPORT.as_bytes(), &config, 0, &store, Durability::Written).expect("is read");
    assert_eq!((done.rejected, done.received.complaint.as_deref()), (2, None));
    let words = String::from_utf8(answer(Encoding::Json, &done)).expect("text");
    assert!(words.contains(r#""rejectedDataPoints":"2""#) && words.contains("since.before"), "{words}");
    let who = r#"host_name="db1", instance="i-1", job="eu/shop""#;
    let expected = [
        format!(r#"{{__name__="latency_seconds_bucket", {who}, le="+Inf"}} 6"#),
        format!(r#"{{__name__="latency_seconds_bucket", {who}, le="0.5"}} 1"#),
        format!(r#"{{__name__="latency_seconds_bucket", {who}, le="1"}} 3"#),
        format!(r#"{{__name__="latency_seconds_count", {who}}} 6"#),
        format!(r#"{{__name__="latency_seconds_sum", {who}}} 5.5"#),
        format!(r#"{{__name__="pauses_milliseconds", {who}, quantile="0.5"}} 2"#),
        format!(r#"{{__name__="pauses_milliseconds_count", {who}}} 4"#),
        format!(r#"{{__name__="pauses_milliseconds_sum", {who}}} 12"#),
        format!(r#"{{__name__="queue", {who}}} -3"#),
        format!(r#"{{__name__="requests_total", {who}}} 7"#),
        format!(r#"{{__name__="room_temperature_celsius", {who}}} stale"#),
        format!(
            r#"{{__name__="room_temperature_celsius", a_b="1;2", {who}, list="[1,0.5]", on="true", room_name="north"}} 21.5"#
        ),
        r#"{__name__="target_info", host_name="db1", instance="i-1", job="eu/shop", process_pid="42"} 1"#.to_owned(),
    ];
    let mut found = floats(&store);
    found.sort();
    let mut sorted = expected.to_vec();
    sorted.sort();
    assert_eq!(found, sorted);
    let all = series(&store);
    let counter = &all[&format!(r#"{{__name__="requests_total", {who}}}"#)];
    assert_eq!((counter.times[0], counter.starts.as_deref()), (2_000, Some(&[1_000][..])));
    let histogram = all[&format!(r#"{{__name__="sizes", {who}}}"#)].histogram(0).cloned().expect("a histogram");
    // Scale 9 is finer than the store's finest: neighbours 1, 2 and 3 become 0 and 1, one further for the bounds' other side.
    assert_eq!((histogram.schema, histogram.count, histogram.zero_count), (8, 10.0, 1.0));
    assert_eq!((histogram.positive_spans[0].offset, histogram.positive_buckets.as_slice()), (1, &[1.0, 5.0][..]));
    assert_eq!((histogram.negative_spans[0].offset, histogram.negative_buckets.as_slice()), (-1, &[3.0][..]));
    let known = store.metadata(None);
    assert_eq!(known["room_temperature_celsius"][0].help, "How warm.");
    assert_eq!(known["latency_seconds"][0].metric_type, MetricType::Histogram);
    let range = TimeRange { start_ms: 0, end_ms: 5_000 };
    let exemplars = store.exemplars(&[vec![Matcher::equal("__name__", "requests_total")]], range).expect("found");
    assert_eq!(
        exemplars[0].1[0].labels.to_string(),
        r#"{span_id="eee19b7ec3c1b174", trace_id="5b8efff798038103d269b633813fc60c"}"#
    );
}

#[test]
fn settings_change_what_becomes_of_it() {
    let store = store();
    let config = OtlpConfig {
        convert_histograms_to_nhcb: true,
        promote_scope_metadata: true,
        promote_all_resource_attributes: true,
        ignore_resource_attributes: vec!["host.name".to_owned()],
        keep_identifying_resource_attributes: true,
        ..OtlpConfig::default()
    };
    receive(Encoding::Json, EXPORT.as_bytes(), &config, 0, &store, Durability::Written).expect("is read");
    let all = series(&store);
    let (name, latency) = all.iter().find(|(labels, _)| labels.contains(r#""latency_seconds""#)).expect("is there");
    assert!(
        name.contains(r#"otel_scope_name="lib", otel_scope_version="1.2""#) && name.contains(r#"process_pid="42""#),
        "{name}"
    );
    assert!(!name.contains("host_name"), "{name}");
    let histogram = latency.histogram(0).expect("a histogram");
    assert_eq!(
        (histogram.custom_values.as_slice(), histogram.positive_buckets.as_slice()),
        (&[0.5, 1.0][..], &[1.0, 2.0, 3.0][..])
    );
    let info = all.keys().find(|labels| labels.contains("target_info")).expect("is there");
    assert!(info.contains(r#"service_name="shop""#), "{info}");
}

#[test]
fn what_cannot_be_read_changes_nothing_and_has_a_place() {
    let store = store();
    let cases = [
        ("{", "EOF"),
        ("[]", "expected an object"),
        (r#"{"resourceMetrics": {}}"#, "the request.resourceMetrics: expected a list"),
        (
            r#"{"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"name": 5}]}]}]}"#,
            "the request.resourceMetrics[0].scopeMetrics[0].metrics[0].name: expected a text",
        ),
    ];
    for (body, words) in cases {
        let done = receive(Encoding::Json, body.as_bytes(), &OtlpConfig::default(), 0, &store, Durability::Written);
        let Err(WriteError::Bad(error)) = done else { panic!("{body} is taken") };
        assert!(error.contains(words), "{error}");
    }
    assert_eq!(store.stats().series, 0);
}

fn message(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    out
}

fn text_attribute(key: &str, value: &str) -> Vec<u8> {
    let value = message(|out| put_bytes(out, 1, value.as_bytes()));
    message(|out| {
        put_bytes(out, 1, key.as_bytes());
        put_bytes(out, 2, &value);
    })
}

fn put_fixed(out: &mut Vec<u8>, field: u64, value: u64) {
    put_varint(out, field << 3 | 1);
    out.extend(value.to_le_bytes());
}

/// A sum and an exponential histogram, in both forms.
fn both_forms() -> (Vec<u8>, &'static str) {
    let point = message(|out| {
        put_fixed(out, 2, 1_000);
        put_fixed(out, 3, 2_000_000);
        put_fixed(out, 6, 7);
        put_bytes(out, 7, &text_attribute("k", "v"));
    });
    let sum = message(|out| {
        put_bytes(out, 1, &point);
        put_number(out, 2, 2);
        put_number(out, 3, 1);
    });
    let buckets = message(|out| {
        put_signed(out, 1, -2);
        put_bytes(out, 2, &[3, 0xac, 2]);
    });
    let exponential = message(|out| {
        put_fixed(out, 3, 2_000_000);
        put_fixed(out, 4, 303);
        put_float(out, 5, 1.5);
        put_signed(out, 6, -1);
        put_bytes(out, 8, &buckets);
    });
    let exponential = message(|out| {
        put_bytes(out, 1, &exponential);
        put_number(out, 2, 2);
    });
    let metrics = [("a", 7, sum), ("b", 10, exponential)].map(|(name, kind, data)| {
        message(|out| {
            put_bytes(out, 1, name.as_bytes());
            put_bytes(out, kind, &data);
        })
    });
    let scope = message(|out| metrics.iter().for_each(|metric| put_bytes(out, 2, metric)));
    let resource = message(|out| put_bytes(out, 1, &text_attribute("service.name", "s")));
    let resource = message(|out| {
        put_bytes(out, 1, &resource);
        put_bytes(out, 2, &scope);
    });
    let json = r#"{"resourceMetrics": [{"resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "s"}}]},
        "scopeMetrics": [{"metrics": [
          {"name": "a", "sum": {"aggregationTemporality": 2, "isMonotonic": true, "dataPoints": [
            {"startTimeUnixNano": 1000, "timeUnixNano": 2000000, "asInt": 7,
             "attributes": [{"key": "k", "value": {"stringValue": "v"}}]}]}},
          {"name": "b", "exponentialHistogram": {"aggregationTemporality": 2, "dataPoints": [
            {"timeUnixNano": 2000000, "count": 303, "sum": 1.5, "scale": -1,
             "positive": {"offset": -2, "bucketCounts": [3, 300]}}]}}]}]}]}"#;
    (message(|out| put_bytes(out, 1, &resource)), json)
}

#[test]
fn both_forms_say_the_same() {
    let (bytes, text) = both_forms();
    let (from_bytes, from_text): (Vec<Resource>, Vec<Resource>) =
        (binary::read(&bytes).expect("is read"), json::read(text.as_bytes()).expect("is read"));
    assert_eq!(from_bytes, from_text);
    assert_eq!(from_bytes[0].scopes[0].metrics[1].kind, Kind::Exponential);
}

#[test]
fn no_body_breaks_it() {
    let store = crate::storage::fuzz::open(&MemoryDisk::new()).expect("opens");
    let (bytes, text) = both_forms();
    let config = OtlpConfig::default();
    crate::env::fuzz::replay("otlp", &[bytes, text.as_bytes().to_vec(), EXPORT.as_bytes().to_vec()], 1000, |bytes| {
        for encoding in [Encoding::Binary, Encoding::Json] {
            let _done = receive(encoding, bytes, &config, 0, &store, Durability::Written);
        }
    });
}
