//! Prometheus's protobuf format: messages `io.prometheus.client.MetricFamily`, each with its length before it.
//!
//! ```text
//! MetricFamily  1 name  2 help  3 type  4 metric*  5 unit
//! Metric        1 label*  2 gauge  3 counter  4 summary  5 untyped  7 histogram  6 timestamp_ms
//! Counter       1 value  2 exemplar  3 created                  Gauge, Untyped  1 value
//! Summary       1 count  2 sum  3 quantile* {1 quantile  2 value}  4 created
//! Histogram     see `protobuf_histogram`
//! ```
//!
//! Every sample comes out as the text formats would say it: `_count`, `_sum`, `_bucket{le=...}`, `quantile=...`, in that order.
//! Only what a series needs is decoded: its labels are read when the series is new.
//!
//! The bytes are nobody's friends: a field of the wrong wire type, a length past the end, a text that is not UTF-8, a
//! histogram that is none refuse the whole body, and nothing is allocated by a number that only claims to be a length.

use super::families::{About, Options, Pair, ReadError, Sample, Sink, Value};
use super::number::format_bound;
use super::protobuf_histogram::Histogram;
use crate::model::exemplar::Exemplar;
use crate::model::histogram::CounterResetHint;
use crate::model::histogram::classic::ClassicHistogram;
use crate::model::labels::{BUCKET_LABEL, LabelsBuilder, METRIC_NAME};
use crate::model::limits::{HISTOGRAM_BUCKETS, LINE_BYTES, shortened};
use crate::model::metadata::MetricType;
use crate::model::number::quote;
use crate::model::protobuf::{Fields, Malformed};
use std::borrow::Cow;
use std::fmt;

/// Reads a whole body.
///
/// # Errors
/// When a message is broken, or when the sink refuses a sample.
pub fn read(body: &[u8], options: Options, sink: &mut dyn Sink) -> Result<(), ReadError> {
    let mut rest = Fields::new(body);
    let mut reader = Reader { options, sink, key: Vec::new(), keyed: 0 };
    let mut number = 0;
    while !rest.is_empty() {
        let at = body.len() - rest.left();
        number += 1;
        let mut place = Place { number, name: "" };
        let done = rest.delimited().map_err(Wrong::from).and_then(|message| reader.family(message, &mut place));
        done.map_err(|wrong| ReadError::Message { place: place.to_string(), at, message: wrong.0 })?;
    }
    Ok(())
}

/// What is wrong with a message.
#[derive(Debug)]
pub(super) struct Wrong(pub(super) String);

impl From<Malformed> for Wrong {
    fn from(malformed: Malformed) -> Self {
        Self(malformed.0.to_owned())
    }
}

impl From<String> for Wrong {
    fn from(message: String) -> Self {
        Self(message)
    }
}

pub(super) fn too_many(what: &str) -> Wrong {
    Wrong(format!("too many {what} (limit: {HISTOGRAM_BUCKETS})"))
}

/// Which family is being read.
struct Place<'a> {
    number: usize,
    name: &'a str,
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "metric family {}", self.number)?;
        if self.name.is_empty() { Ok(()) } else { write!(f, " ({})", quote(&shortened(self.name))) }
    }
}

/// What a family says before its metrics.
struct Family<'a> {
    name: &'a str,
    help: &'a str,
    unit: &'a str,
    kind: u64,
    metric_type: MetricType,
}

/// One metric: everything but its value is decoded.
struct Metric<'a> {
    labels: Vec<&'a [u8]>,
    /// The message of the family's type; empty where there is none.
    value: &'a [u8],
    timestamp_ms: Option<i64>,
}

/// A series of a metric: what the text formats add to the family's name, and a label with a number.
#[derive(Clone, Copy)]
struct Part {
    tag: u8,
    suffix: &'static str,
    label: Option<(&'static str, f64)>,
}

impl Part {
    const PLAIN: Self = Self { tag: 0, suffix: "", label: None };
    const COUNT: Self = Self { tag: 1, suffix: "_count", label: None };
    const SUM: Self = Self { tag: 2, suffix: "_sum", label: None };
    /// A native histogram: it has the name of a plain sample, but is another kind.
    const HISTOGRAM: Self = Self { tag: 3, suffix: "", label: None };

    const fn bucket(bound: f64) -> Self {
        Self { tag: 4, suffix: "_bucket", label: Some((BUCKET_LABEL, bound)) }
    }

    const fn quantile(quantile: f64) -> Self {
        Self { tag: 5, suffix: "", label: Some(("quantile", quantile)) }
    }
}

struct Reader<'s> {
    options: Options,
    sink: &'s mut dyn Sink,
    /// The key of the present series; its first `keyed` bytes are the metric's.
    key: Vec<u8>,
    keyed: usize,
}

impl Reader<'_> {
    fn family<'b>(&mut self, message: &'b [u8], place: &mut Place<'b>) -> Result<(), Wrong> {
        let (mut name, mut help, mut unit, mut kind, mut metrics) = ("", "", "", 0, 0_usize);
        let mut fields = Fields::new(message);
        while let Some((number, field)) = fields.next()? {
            match number {
                1 => {
                    name = field.text()?;
                    place.name = name;
                }
                2 => help = field.text()?,
                3 => kind = field.whole()?,
                4 => metrics += 1,
                5 => unit = field.text()?,
                _ => {}
            }
        }
        if metrics == 0 {
            return Ok(());
        }
        if name.is_empty() {
            return Err(Wrong("invalid metric name: ".to_owned()));
        }
        if name.len().max(help.len()).max(unit.len()) > LINE_BYTES {
            return Err(Wrong(format!("name, help or unit too long (limit: {LINE_BYTES})")));
        }
        let metric_type = match kind {
            0 => MetricType::Counter,
            1 => MetricType::Gauge,
            2 => MetricType::Summary,
            3 => MetricType::Unknown,
            4 => MetricType::Histogram,
            5 => MetricType::GaugeHistogram,
            other => return Err(Wrong(format!("unknown metric type for metric {}: {other}", quote(name)))),
        };
        let family = Family { name, help, unit, kind, metric_type };
        check_unit(&family)?;
        self.sink.about(name, About::Help(family.help));
        if !unit.is_empty() {
            self.sink.about(name, About::Unit(family.unit));
        }
        self.sink.about(name, About::Type(metric_type));
        let mut fields = Fields::new(message);
        let mut count = 0_usize;
        while let Some((number, field)) = fields.next()? {
            if number == 4 {
                count += 1;
                self.metric(&family, field.bytes()?).map_err(|wrong| Wrong(format!("metric {count}: {}", wrong.0)))?;
            }
        }
        Ok(())
    }

    fn metric(&mut self, family: &Family<'_>, message: &[u8]) -> Result<(), Wrong> {
        // The field that holds the value of that type.
        let wanted = match family.kind {
            0 => 3,
            1 => 2,
            2 => 4,
            3 => 5,
            _ => 7,
        };
        let mut metric = Metric { labels: Vec::new(), value: &[], timestamp_ms: None };
        let mut fields = Fields::new(message);
        while let Some((number, field)) = fields.next()? {
            match number {
                1 => metric.labels.push(field.bytes()?),
                // Zero cannot be told from "not said".
                6 => metric.timestamp_ms = Some(field.whole()? as i64).filter(|at_ms| *at_ms != 0),
                _ if number == wanted => metric.value = field.bytes()?,
                _ => {}
            }
        }
        self.key.clear();
        self.key.extend_from_slice(family.name.as_bytes());
        self.key.push(0xff);
        for label in &metric.labels {
            self.key.extend_from_slice(&(label.len() as u64).to_le_bytes());
            self.key.extend_from_slice(label);
        }
        self.keyed = self.key.len();
        match family.kind {
            0 => self.counter(family, &metric),
            2 => self.summary(family, &metric),
            4 | 5 => self.histogram(family, &metric),
            _ => {
                let mut value = 0.0;
                let mut fields = Fields::new(metric.value);
                while let Some((number, field)) = fields.next()? {
                    if number == 1 {
                        value = field.double()?;
                    }
                }
                self.put(family, &metric, Part::PLAIN, Value::Float(value), 0, Vec::new())
            }
        }
    }

    fn counter(&mut self, family: &Family<'_>, metric: &Metric<'_>) -> Result<(), Wrong> {
        let (mut value, mut start_ms, mut exemplars) = (0.0, 0, Vec::new());
        let mut fields = Fields::new(metric.value);
        while let Some((number, field)) = fields.next()? {
            match number {
                1 => value = field.double()?,
                2 => exemplars = vec![exemplar(field.bytes()?)?],
                3 => start_ms = timestamp(field.bytes()?)?,
                _ => {}
            }
        }
        self.put(family, metric, Part::PLAIN, Value::Float(value), start_ms, exemplars)
    }

    fn summary(&mut self, family: &Family<'_>, metric: &Metric<'_>) -> Result<(), Wrong> {
        let (mut count, mut sum, mut start_ms, mut quantiles) = (0, 0.0, 0, Vec::new());
        let mut fields = Fields::new(metric.value);
        while let Some((number, field)) = fields.next()? {
            match number {
                1 => count = field.whole()?,
                2 => sum = field.double()?,
                3 if quantiles.len() >= HISTOGRAM_BUCKETS => return Err(too_many("quantiles of a summary")),
                3 => quantiles.push(two_doubles(field.bytes()?)?),
                4 => start_ms = timestamp(field.bytes()?)?,
                _ => {}
            }
        }
        self.put(family, metric, Part::COUNT, Value::Float(count as f64), start_ms, Vec::new())?;
        self.put(family, metric, Part::SUM, Value::Float(sum), start_ms, Vec::new())?;
        for (quantile, value) in quantiles {
            self.put(family, metric, Part::quantile(quantile), Value::Float(value), start_ms, Vec::new())?;
        }
        Ok(())
    }

    fn histogram(&mut self, family: &Family<'_>, metric: &Metric<'_>) -> Result<(), Wrong> {
        let mut found = Histogram::read(metric.value)?;
        let start_ms = found.start_ms;
        let mut classic = true;
        if self.options.native && found.is_native() {
            classic = self.options.keep_classic && !found.buckets.is_empty();
            let exemplars = found.take_exemplars();
            let mut native = found.native()?;
            if family.metric_type == MetricType::GaugeHistogram {
                native.counter_reset_hint = CounterResetHint::Gauge;
            }
            self.put(family, metric, Part::HISTOGRAM, Value::Histogram(native), start_ms, exemplars)?;
        } else if self.options.convert && family.metric_type == MetricType::Histogram {
            classic = self.options.keep_classic;
            let mut collected = ClassicHistogram::default();
            for bucket in &found.buckets {
                collected.bucket(bucket.bound, bucket.count).map_err(|error| Wrong(error.to_string()))?;
            }
            collected.count(found.total());
            collected.sum(found.sum);
            if let Some(converted) = collected.finish() {
                let exemplars = found.take_exemplars();
                self.put(family, metric, Part::HISTOGRAM, Value::Histogram(converted), start_ms, exemplars)?;
            }
        }
        if !classic {
            return Ok(());
        }
        let total = found.total();
        self.put(family, metric, Part::COUNT, Value::Float(total), start_ms, Vec::new())?;
        self.put(family, metric, Part::SUM, Value::Float(found.sum), start_ms, Vec::new())?;
        for bucket in found.buckets {
            let (part, is_last) = (Part::bucket(bucket.bound), bucket.bound == f64::INFINITY);
            self.put(family, metric, part, Value::Float(bucket.count), start_ms, bucket.exemplar.into_iter().collect())?;
            if is_last {
                return Ok(());
            }
        }
        self.put(family, metric, Part::bucket(f64::INFINITY), Value::Float(total), start_ms, Vec::new())
    }

    fn put(
        &mut self,
        family: &Family<'_>,
        metric: &Metric<'_>,
        part: Part,
        value: Value,
        start_ms: i64,
        exemplars: Vec<Exemplar>,
    ) -> Result<(), Wrong> {
        self.key.truncate(self.keyed);
        self.key.push(part.tag);
        self.key.extend_from_slice(&part.label.map_or(0, |(_, number)| number.to_bits()).to_le_bytes());
        let labels = || labels_of(family, metric, part);
        let timestamp_ms = metric.timestamp_ms;
        let sample = Sample { key: &self.key, labels: &labels, value, timestamp_ms, start_ms, exemplars };
        self.sink.sample(sample).map_err(Wrong)
    }
}

fn labels_of<'a>(family: &Family<'a>, metric: &Metric<'a>, part: Part) -> Result<Vec<Pair<'a>>, String> {
    let name = match part.suffix {
        "" => Cow::Borrowed(family.name),
        suffix => Cow::Owned(format!("{}{suffix}", family.name)),
    };
    let mut pairs: Vec<Pair<'a>> = vec![(Cow::Borrowed(METRIC_NAME), name)];
    for message in &metric.labels {
        let (name, value) = label(message).map_err(|malformed| malformed.0.to_owned())?;
        pairs.push((Cow::Borrowed(name), Cow::Borrowed(value)));
    }
    if let Some((name, number)) = part.label {
        pairs.push((Cow::Borrowed(name), Cow::Owned(format_bound(number))));
    }
    Ok(pairs)
}

fn label(message: &[u8]) -> Result<(&str, &str), Malformed> {
    let (mut name, mut value) = ("", "");
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => name = field.text()?,
            2 => value = field.text()?,
            _ => {}
        }
    }
    Ok((name, value))
}

fn check_unit(family: &Family<'_>) -> Result<(), Wrong> {
    let counter = (family.metric_type == MetricType::Counter).then(|| family.name.strip_suffix("_total")).flatten();
    let ends = counter.unwrap_or(family.name).strip_suffix(family.unit).is_some_and(|stem| stem.ends_with('_'));
    if family.unit.is_empty() || ends {
        return Ok(());
    }
    let what = if counter.is_some() { "counter" } else { "metric" };
    Err(Wrong(format!("unit {} not a suffix of {what} {}", quote(family.unit), quote(family.name))))
}

/// Reads a message of two doubles.
fn two_doubles(message: &[u8]) -> Result<(f64, f64), Malformed> {
    let (mut first, mut second) = (0.0, 0.0);
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => first = field.double()?,
            2 => second = field.double()?,
            _ => {}
        }
    }
    Ok((first, second))
}

/// Reads a `google.protobuf.Timestamp` as milliseconds since 1970.
pub(super) fn timestamp(message: &[u8]) -> Result<i64, Malformed> {
    let (mut seconds, mut nanos) = (0, 0);
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => seconds = field.whole()? as i64,
            2 => nanos = field.whole()? as i64,
            _ => {}
        }
    }
    Ok(seconds.saturating_mul(1000).saturating_add(nanos / 1_000_000))
}

pub(super) fn exemplar(message: &[u8]) -> Result<Exemplar, Malformed> {
    let mut labels = LabelsBuilder::new();
    let (mut value, mut at_ms) = (0.0, None);
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => {
                let (name, value) = label(field.bytes()?)?;
                labels.set(name, value);
            }
            2 => value = field.double()?,
            3 => at_ms = Some(timestamp(field.bytes()?)?),
            _ => {}
        }
    }
    Ok(Exemplar { labels: labels.build(), value, at_ms })
}
