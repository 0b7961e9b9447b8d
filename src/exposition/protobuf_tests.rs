//! What is encoded is decoded, and nothing else gets through.

use super::families::{About, Options, Pair, ReadError, Sample, Sink, Value};
use super::fuzz::TARGETS;
use super::number::format_bound;
use super::protobuf::read;
use crate::model::exemplar::Exemplar;
use crate::model::histogram::{CounterResetHint, FloatHistogram, Span};
use crate::model::labels::Labels;
use crate::model::metadata::MetricType;
use crate::model::protobuf::{put_bytes, put_float, put_number, put_signed, put_varint};
use proptest::prelude::*;
use std::collections::BTreeMap;

const NATIVE: Options = Options { native: true, keep_classic: false, convert: false };

/// A decoded sample.
#[derive(Clone, Debug, PartialEq)]
struct Found {
    labels: Labels,
    value: Value,
    timestamp_ms: Option<i64>,
    start_ms: i64,
    exemplars: Vec<Exemplar>,
}

#[derive(Default)]
struct Samples {
    found: Vec<Found>,
    about: Vec<String>,
    keys: BTreeMap<Vec<u8>, Labels>,
}

impl Sink for Samples {
    fn about(&mut self, metric: &str, about: About<'_>) {
        self.about.push(format!("{metric} {about:?}"));
    }

    fn sample(&mut self, sample: Sample<'_>) -> Result<(), String> {
        let pairs: Vec<Pair<'_>> = (sample.labels)()?;
        let labels = Labels::from_pairs(pairs);
        // One key, one series.
        let earlier = self.keys.insert(sample.key.to_vec(), labels.clone());
        assert!(earlier.is_none_or(|earlier| earlier == labels), "{labels}");
        let Sample { value, timestamp_ms, start_ms, exemplars, .. } = sample;
        self.found.push(Found { labels, value, timestamp_ms, start_ms, exemplars });
        Ok(())
    }
}

fn decode(body: &[u8], options: Options) -> Result<Samples, ReadError> {
    let mut samples = Samples::default();
    read(body, options, &mut samples).map(|()| samples)
}

/// A message under construction.
#[derive(Clone, Debug, Default)]
pub(crate) struct Message(Vec<u8>);

impl Message {
    pub(crate) fn number(mut self, field: u64, value: u64) -> Self {
        put_number(&mut self.0, field, value);
        self
    }

    pub(crate) fn signed(mut self, field: u64, value: i64) -> Self {
        put_signed(&mut self.0, field, value);
        self
    }

    pub(crate) fn float(mut self, field: u64, value: f64) -> Self {
        put_float(&mut self.0, field, value);
        self
    }

    pub(crate) fn bytes(mut self, field: u64, bytes: &[u8]) -> Self {
        put_bytes(&mut self.0, field, bytes);
        self
    }

    #[expect(clippy::needless_pass_by_value, reason = "messages are built within one another")]
    pub(crate) fn within(self, field: u64, message: Self) -> Self {
        self.bytes(field, &message.0)
    }
}

pub(crate) fn delimited(families: &[Message]) -> Vec<u8> {
    let mut out = Vec::new();
    for family in families {
        put_varint(&mut out, family.0.len() as u64);
        out.extend_from_slice(&family.0);
    }
    out
}

pub(crate) fn label(name: &str, value: &str) -> Message {
    Message::default().bytes(1, name.as_bytes()).bytes(2, value.as_bytes())
}

pub(crate) fn family(name: &str, kind: u64) -> Message {
    Message::default().bytes(1, name.as_bytes()).bytes(2, b"Helps.").number(3, kind)
}

pub(crate) fn span(offset: i64, length: u64) -> Message {
    Message::default().signed(1, offset).number(2, length)
}

pub(crate) fn time(seconds: u64, nanos: u64) -> Message {
    Message::default().number(1, seconds).number(2, nanos)
}

fn with_exemplar(at: Option<Message>) -> Message {
    let exemplar = Message::default().within(1, label("id", "x")).float(2, 0.5);
    at.map_or(exemplar.clone(), |at| exemplar.within(3, at))
}

/// Two observations above the third power of two, one in the zero bucket; and the same in classic buckets.
pub(crate) fn both_kinds() -> Message {
    Message::default()
        .number(1, 3)
        .float(2, 20.5)
        .within(3, Message::default().number(1, 1).float(2, 1.0).within(3, with_exemplar(Some(time(7, 5_000_000)))))
        .within(3, Message::default().number(1, 3).float(2, 16.0))
        .signed(5, 0)
        .float(6, 0.001)
        .number(7, 1)
        .within(12, span(3, 2))
        .signed(13, 2)
        .signed(13, -2)
        .within(15, time(1, 500_000_000))
}

fn names(samples: &Samples) -> Vec<String> {
    samples.found.iter().map(|found| found.labels.to_string()).collect()
}

#[test]
fn every_type_comes_as_the_text_formats_say_it() {
    let metric = |field, value| Message::default().within(1, label("a", "b")).within(field, value);
    let counter = Message::default().float(1, 5.0).within(2, with_exemplar(None)).within(3, time(2, 0));
    let summary = Message::default()
        .number(1, 4)
        .float(2, 9.0)
        .within(3, Message::default().float(1, 0.5).float(2, 2.0))
        .within(3, Message::default().float(1, 1.0).float(2, 3.0));
    let body = delimited(&[
        family("c_bytes_total", 0).bytes(5, b"bytes").within(4, metric(3, counter)),
        family("g", 1).within(4, metric(2, Message::default().float(1, -1.5)).number(6, 99)),
        family("empty", 1),
        family("s", 2).within(4, metric(4, summary)),
        family("u", 3).within(4, metric(5, Message::default().float(1, 7.0))),
    ]);
    let samples = decode(&body, NATIVE).unwrap();
    let line = |name: &str, rest: &str| format!("{{__name__=\"{name}\", a=\"b\"{rest}}}");
    let expected = [
        line("c_bytes_total", ""),
        line("g", ""),
        line("s_count", ""),
        line("s_sum", ""),
        line("s", ", quantile=\"0.5\""),
        line("s", ", quantile=\"1.0\""),
        line("u", ""),
    ];
    assert_eq!(names(&samples), expected);
    let values: Vec<Value> = samples.found.iter().map(|found| found.value.clone()).collect();
    assert_eq!(values, [5.0, -1.5, 4.0, 9.0, 2.0, 3.0, 7.0].map(Value::Float));
    assert_eq!(samples.found[0].start_ms, 2000);
    let exemplar = Exemplar { labels: Labels::from_pairs([("id", "x")]), value: 0.5, at_ms: None };
    assert_eq!(samples.found[0].exemplars, [exemplar]);
    assert_eq!(samples.found[1].timestamp_ms, Some(99));
    let about = ["Help(\"Helps.\")", "Unit(\"bytes\")", "Type(Counter)"].map(|about| format!("c_bytes_total {about}"));
    assert_eq!(samples.about[..3], about);
    assert!(!samples.about.iter().any(|about| about.starts_with("empty")));
}

#[test]
fn a_histogram_of_both_kinds_is_taken_as_asked() {
    let body = delimited(&[family("h", 4).within(4, Message::default().within(7, both_kinds()))]);
    let of = |native, keep_classic, convert| decode(&body, Options { native, keep_classic, convert }).unwrap();
    let classic = ["h_count", "h_sum", "h_bucket 1.0", "h_bucket 16.0", "h_bucket +Inf"];
    let told = |samples: &Samples| -> Vec<String> {
        let name = |found: &Found| match &found.value {
            Value::Histogram(histogram) => histogram.test_expression(),
            Value::Float(_) => format!("{} {}", found.labels.metric_name(), found.labels.value("le")).trim_end().to_owned(),
        };
        samples.found.iter().map(name).collect()
    };
    let native = "{{count:3 sum:20.5 z_bucket:1 z_bucket_w:0.001 offset:3 buckets:[2]}}";
    let converted = "{{schema:-53 count:3 sum:20.5 custom_values:[1 16] buckets:[1 2]}}";
    assert_eq!(told(&of(true, false, true)), [native]);
    assert_eq!(told(&of(true, true, true)), [&[native][..], &classic].concat());
    assert_eq!(told(&of(false, false, false)), classic);
    assert_eq!(told(&of(false, false, true)), [converted]);
    assert_eq!(told(&of(false, true, true)), [&[converted][..], &classic].concat());
    let found = &of(true, false, false).found[0];
    assert_eq!(found.start_ms, 1500);
    assert_eq!(found.exemplars[0].at_ms, Some(7005));
    let gauge = delimited(&[family("h", 5).within(4, Message::default().within(7, both_kinds()))]);
    let Value::Histogram(histogram) = decode(&gauge, NATIVE).unwrap().found.remove(0).value else { panic!() };
    assert_eq!(histogram.counter_reset_hint, CounterResetHint::Gauge);
}

#[test]
fn a_float_histogram_has_both_sides() {
    let message = Message::default()
        .float(4, 6.5)
        .float(2, 1.0)
        .signed(5, 2)
        .float(8, 0.5)
        .within(9, span(-1, 1))
        .float(11, 2.0)
        .within(12, span(0, 1))
        .within(12, span(2, 1))
        .bytes(14, &[1.5_f64.to_le_bytes(), 2.5_f64.to_le_bytes()].concat());
    let body = delimited(&[family("h", 4).within(4, Message::default().within(7, message))]);
    let found = decode(&body, NATIVE).unwrap().found.remove(0).value;
    let expected = FloatHistogram {
        schema: 2,
        zero_count: 0.5,
        count: 6.5,
        sum: 1.0,
        negative_spans: vec![Span { offset: -1, length: 1 }],
        negative_buckets: vec![2.0],
        positive_spans: vec![Span { offset: 0, length: 1 }, Span { offset: 2, length: 1 }],
        positive_buckets: vec![1.5, 2.5],
        ..FloatHistogram::default()
    };
    assert_eq!(found, Value::Histogram(expected));
}

#[test]
fn bad_bodies_are_refused_with_their_place() {
    let good = family("h", 4).within(4, Message::default().within(7, both_kinds()));
    let histogram = |message: Message| good.clone().within(4, Message::default().within(7, message));
    let native = || Message::default().number(1, 2).within(12, span(0, 2));
    let packed = |count: usize| vec![2_u8; count];
    let cases: Vec<(Message, &str)> = vec![
        (Message::default().bytes(1, b"x").number(4, 1), "a field has the wrong type"),
        (family("x", 0).within(4, Message::default().bytes(3, &[0x08, 0x01])), "metric 1: a field has the wrong type"),
        (family("x", 0).within(4, Message::default().number(3, 1)), "a field has the wrong type"),
        (family("x", 9).within(4, Message::default()), "unknown metric type for metric \"x\": 9"),
        (family("", 0).within(4, Message::default()), "invalid metric name"),
        (Message::default().bytes(1, b"\xff"), "a string is not UTF-8"),
        (family("x", 1).bytes(5, b"s").within(4, Message::default()), "unit \"s\" not a suffix of metric \"x\""),
        (family("x", 1).within(4, Message::default().within(1, Message::default().bytes(1, b"\xff"))), "a string is not UTF-8"),
        (histogram(native().signed(13, 1)), "metric 2: histogram's spans need 2 buckets, have 1"),
        (histogram(native().signed(13, 1).signed(13, -5)), "observation count is negative"),
        (histogram(native().number(1, 9).signed(13, 1).signed(13, 0)), "observation count should equal"),
        (histogram(native().signed(13, 1).signed(13, 0).signed(5, 30)), "invalid schema"),
        (histogram(native().signed(13, 1).signed(13, 0).signed(5, -53)), "custom buckets"),
        (histogram(native().float(4, 3.0).float(14, f64::NAN).float(14, 1.0)), "is no number"),
        (histogram(native().signed(13, 1).signed(13, 0).float(6, f64::NAN)), "is no number"),
        (histogram(native().within(12, span(-5, 0)).signed(13, 1).signed(13, 0)), "offset is negative"),
        (histogram(native().within(12, span(i64::from(i32::MAX), 0)).signed(13, 1).signed(13, 0)), "too far out"),
        (histogram(native().within(12, Message::default().number(1, u64::MAX))), "too far out"),
        (histogram(native().within(12, span(0, 1 << 40))), "too far out"),
        (histogram(native().bytes(13, &packed(1_000_000))), "too many buckets of a histogram (limit: 16384)"),
        (histogram(native().bytes(14, &packed(800_000))), "too many buckets of a histogram"),
        (histogram((0..20_000).fold(native(), |message, _| message.bytes(3, b""))), "too many buckets of a histogram"),
        (histogram((0..20_000).fold(native(), |message, _| message.within(12, span(0, 0)))), "too many buckets"),
        (histogram((0..20_000).fold(native(), |message, _| message.bytes(16, b""))), "too many exemplars"),
        (histogram(native().float(13, 1.0)), "a field has the wrong type"),
        (histogram(native().number(14, 1)), "a field has the wrong type"),
    ];
    for (bad, words) in cases {
        let body = delimited(&[good.clone(), bad]);
        let ReadError::Message { place, at, message } = decode(&body, NATIVE).map(|_| ()).unwrap_err() else { panic!("{words}") };
        assert!(message.contains(words), "{words}: {message}");
        assert!(place.starts_with("metric family 2"), "{place}");
        assert_eq!(at, delimited(std::slice::from_ref(&good)).len());
    }
    let whole = delimited(std::slice::from_ref(&good));
    for end in 1..whole.len() {
        let error = decode(&whole[..end], NATIVE).map(|_| ()).unwrap_err().to_string();
        assert!(error.starts_with("metric family 1") && error.contains("unexpected EOF"), "{end}: {error}");
    }
    // A length that only claims.
    let mut bomb = Vec::new();
    put_varint(&mut bomb, u64::MAX >> 1);
    assert!(decode(&bomb, NATIVE).is_err());
    let error = decode(&delimited(&[histogram(native().signed(13, 1))]), NATIVE).map(|_| ()).unwrap_err().to_string();
    assert_eq!(error, "metric family 1 (\"h\"): metric 2: histogram's spans need 2 buckets, have 1 buckets");
}

/// A family as the property tests make it.
#[derive(Clone, Debug)]
enum Model {
    Plain(u64, Vec<f64>),
    Classic(Vec<(f64, u32)>),
    Native { schema: i8, zero: u32, positive: Vec<(u8, u32)>, negative: Vec<(u8, u32)> },
}

fn model() -> impl Strategy<Value = Model> {
    let pairs = || prop::collection::vec((0..9_u8, 0..500_u32), 0..8);
    let number = any::<f64>().prop_filter("equal to itself", |number| !number.is_nan());
    prop_oneof![
        (prop::sample::select(vec![0, 1, 3]), prop::collection::vec(number, 1..4))
            .prop_map(|(kind, values)| Model::Plain(kind, values)),
        prop::collection::vec((-100.0..100.0_f64, 0..50_u32), 1..6).prop_map(Model::Classic),
        (-4..=8_i8, 0..9_u32, pairs(), pairs()).prop_map(|(schema, zero, positive, negative)| Model::Native {
            schema,
            zero,
            positive,
            negative
        }),
    ]
}

/// Encodes one side: gaps and counts. Returns spans and absolute counts.
fn side(pairs: &[(u8, u32)], first: u64, mut message: Message) -> (Message, Vec<Span>, Vec<f64>) {
    let (mut spans, mut counts, mut before, mut packed) = (Vec::new(), Vec::new(), 0, Vec::new());
    for (gap, count) in pairs {
        spans.push(Span { offset: i32::from(*gap), length: 1 });
        message = message.within(first, span(i64::from(*gap), 1));
        let difference = i64::from(*count) - std::mem::replace(&mut before, i64::from(*count));
        put_varint(&mut packed, (difference << 1 ^ difference >> 63) as u64);
        counts.push(f64::from(*count));
    }
    (message.bytes(first + 1, &packed), spans, counts)
}

/// Returns a family's message and what must come out of it.
fn encode(number: usize, model: &Model) -> (Message, Vec<(Labels, Value)>) {
    let name = format!("m.{number}");
    let named = |suffix: &str, extra: (&str, &str), place: usize| {
        Labels::from_pairs([("__name__", format!("{name}{suffix}").as_str()), ("place", &place.to_string()), extra])
    };
    let metric =
        |place: usize, field, value| Message::default().within(1, label("place", &place.to_string())).within(field, value);
    let mut expected = Vec::new();
    match model {
        Model::Plain(kind, values) => {
            let field = [3, 2, 4, 5][*kind as usize];
            let mut out = family(&name, *kind);
            for (place, value) in values.iter().enumerate() {
                out = out.within(4, metric(place, field, Message::default().float(1, *value)));
                expected.push((named("", ("", ""), place), Value::Float(*value)));
            }
            (out, expected)
        }
        Model::Classic(buckets) => {
            let mut message = Message::default().number(1, 77).float(2, 0.25);
            expected.push((named("_count", ("", ""), 0), Value::Float(77.0)));
            expected.push((named("_sum", ("", ""), 0), Value::Float(0.25)));
            for (bound, count) in buckets {
                message = message.within(3, Message::default().number(1, u64::from(*count)).float(2, *bound));
                expected.push((named("_bucket", ("le", &format_bound(*bound)), 0), Value::Float(f64::from(*count))));
            }
            expected.push((named("_bucket", ("le", "+Inf"), 0), Value::Float(77.0)));
            (family(&name, 4).within(4, metric(0, 7, message)), expected)
        }
        Model::Native { schema, zero, positive, negative } => {
            let total: u32 = zero + positive.iter().chain(negative).map(|(_, count)| count).sum::<u32>();
            let message =
                Message::default().number(1, u64::from(total)).float(2, 3.5).signed(5, i64::from(*schema)).float(6, 0.5);
            let (message, negative_spans, negative_buckets) = side(negative, 9, message.number(7, u64::from(*zero)));
            let (message, positive_spans, positive_buckets) = side(positive, 12, message);
            let mut histogram = FloatHistogram {
                schema: i32::from(*schema),
                zero_threshold: 0.5,
                zero_count: f64::from(*zero),
                count: f64::from(total),
                sum: 3.5,
                positive_spans,
                negative_spans,
                positive_buckets,
                negative_buckets,
                ..FloatHistogram::default()
            };
            histogram.compact();
            expected.push((named("", ("", ""), 0), Value::Histogram(histogram)));
            (family(&name, 4).within(4, metric(0, 7, message)), expected)
        }
    }
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(models in prop::collection::vec(model(), 0..6)) {
        let (mut families, mut expected) = (Vec::new(), Vec::new());
        for (number, model) in models.iter().enumerate() {
            let (message, samples) = encode(number, model);
            families.push(message);
            expected.extend(samples);
        }
        let samples = decode(&delimited(&families), NATIVE).unwrap();
        let found: Vec<_> = samples.found.into_iter().map(|found| (found.labels, found.value)).collect();
        prop_assert_eq!(found, expected);
        let types = samples.about.iter().filter(|about| about.contains(&format!("{:?}", MetricType::Histogram))).count();
        prop_assert_eq!(types, models.iter().filter(|model| !matches!(model, Model::Plain(..))).count());
    }

    #[test]
    fn any_bytes_end(bytes: Vec<u8>) {
        drop(decode(&bytes, NATIVE));
    }
}

#[test]
fn nonsense_breaks_nothing() {
    let models = [
        Model::Plain(0, vec![1.0, 2.0]),
        Model::Classic(vec![(0.5, 1), (2.0, 3)]),
        Model::Native { schema: 3, zero: 2, positive: vec![(1, 5), (0, 7)], negative: vec![(2, 1)] },
    ];
    let families: Vec<Message> = models.iter().enumerate().map(|(number, model)| encode(number, model).0).collect();
    let both = delimited(&[family("h", 4).within(4, Message::default().within(7, both_kinds()))]);
    let text = |body: &str| body.as_bytes().to_vec();
    let histogram = "# TYPE h histogram\nh_bucket{le=\"1\"} 2\nh_bucket{le=\"+Inf\"} 3\nh_count 3\nh_sum 4\nh_created 5\n# EOF\n";
    for (target, run) in TARGETS {
        let fresh = match *target {
            "exposition_protobuf" => vec![delimited(&families), both.clone()],
            _ => vec![
                text(histogram),
                text("a{x=\"\\\"y\"} 1 5\n# HELP a b\n{\"c.d\",\"e.f\"=\"g\"} 2 # {id=\"1\"} 3 4.5\n# EOF\n"),
            ],
        };
        crate::env::fuzz::replay(target, &fresh, 1500, run);
    }
}
