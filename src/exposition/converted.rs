//! Text and OpenMetrics with classic histograms made into native ones with custom buckets.
//!
//! Lines of one histogram stand together: of type `histogram`, named after it, with the same labels but for `le`. Where the
//! next line belongs to another, what was collected is handed on as one sample. Lines that contradict each other make no
//! sample. A `_created` line among them gives the start and ends nothing.

use super::families::{About, Pair, Sample, Sink, Value};
use super::start_time::{Line, is_created, start_times};
use super::{Dialect, Entry, ParseError, Parser};
use crate::model::exemplar::Exemplar;
use crate::model::histogram::classic::{ClassicHistogram, TooManyBuckets};
use crate::model::labels::{BUCKET_LABEL, Labels, LabelsBuilder, METRIC_NAME};
use crate::model::metadata::MetricType;
use crate::model::number::parse_float;
use std::borrow::Cow;

/// Goes before the key of a converted histogram; no line begins so.
const CONVERTED: u8 = b'\n';

/// A histogram whose lines are being collected.
struct Open {
    /// Its labels, without `le` and with the family's name.
    labels: Labels,
    histogram: ClassicHistogram,
    exemplars: Vec<Exemplar>,
    timestamp_ms: Option<i64>,
    start_ms: i64,
}

/// What a line says of a histogram.
enum Part {
    Bucket(f64),
    Count,
    Sum,
}

/// Reads a whole body; `keep_classic`: the lines of histograms are samples as well.
///
/// # Errors
/// When a line does not follow the grammar, or when the sink refuses a sample.
pub fn read(body: &[u8], dialect: Dialect, keep_classic: bool, sink: &mut dyn Sink) -> Result<(), ParseError> {
    let starts = match dialect {
        Dialect::OpenMetrics if memchr::memmem::find(body, b"_created").is_some() => starts(body)?,
        Dialect::OpenMetrics | Dialect::Text => Vec::new(),
    };
    let mut starts = starts.into_iter();
    let mut parser = Parser::new(body, dialect);
    let mut open: Option<Open> = None;
    let mut family = String::new();
    while let Some(entry) = parser.next()? {
        let start_ms = starts.next().flatten().unwrap_or(0);
        if entry != Entry::Sample {
            finish(open.take(), sink).map_err(|message| parser.refuse(message))?;
            match entry {
                Entry::Help => sink.about(&parser.metric(), About::Help(&parser.help())),
                Entry::Unit => sink.about(&parser.metric(), About::Unit(&parser.unit())),
                Entry::Type => {
                    family = parser.metric().into_owned();
                    sink.about(&family, About::Type(parser.metric_type()));
                }
                Entry::Comment | Entry::Sample => {}
            }
            continue;
        }
        let mut part = None;
        if parser.metric_type() == MetricType::Histogram {
            let mut builder = LabelsBuilder::new();
            parser.labels_into(&mut builder)?;
            let labels = builder.build();
            part = part_of(&labels, &family);
            let base = labels.without(|name| name == BUCKET_LABEL).with(METRIC_NAME, &family);
            let goes_on = match part {
                Some(_) => open.as_ref().is_some_and(|open| open.labels == base),
                None => is_created(&labels, MetricType::Histogram),
            };
            if !goes_on {
                finish(open.take(), sink).map_err(|message| parser.refuse(message))?;
            }
            if let Some(part) = &part {
                let open = open.get_or_insert_with(|| Open {
                    labels: base,
                    histogram: ClassicHistogram::default(),
                    exemplars: Vec::new(),
                    timestamp_ms: None,
                    start_ms,
                });
                open.add(part, &parser).map_err(|error| parser.refuse(error.to_string()))?;
            }
        } else {
            finish(open.take(), sink).map_err(|message| parser.refuse(message))?;
        }
        if part.is_none() || keep_classic {
            let labels = || pairs(&parser);
            let sample = Sample {
                key: parser.series(),
                labels: &labels,
                value: Value::Float(parser.value()),
                timestamp_ms: parser.timestamp_ms(),
                start_ms,
                exemplars: parser.exemplar().into_iter().collect(),
            };
            sink.sample(sample).map_err(|message| parser.refuse(message))?;
        }
    }
    finish(open, sink).map_err(|message| parser.refuse(message))
}

impl Open {
    fn add(&mut self, part: &Part, parser: &Parser<'_>) -> Result<(), TooManyBuckets> {
        match part {
            Part::Bucket(bound) => self.histogram.bucket(*bound, parser.value())?,
            Part::Count => self.histogram.count(parser.value()),
            Part::Sum => self.histogram.sum(parser.value()),
        }
        self.exemplars.extend(parser.exemplar());
        self.timestamp_ms = parser.timestamp_ms();
        Ok(())
    }
}

fn part_of(labels: &Labels, family: &str) -> Option<Part> {
    match labels.metric_name().strip_prefix(family)? {
        "_bucket" => labels.get(BUCKET_LABEL).and_then(parse_float).filter(|bound| !bound.is_nan()).map(Part::Bucket),
        "_count" => Some(Part::Count),
        "_sum" => Some(Part::Sum),
        _ => None,
    }
}

fn finish(open: Option<Open>, sink: &mut dyn Sink) -> Result<(), String> {
    let Some(Open { labels, histogram, exemplars, timestamp_ms, start_ms }) = open else { return Ok(()) };
    let Some(histogram) = histogram.finish() else { return Ok(()) };
    let mut key = vec![CONVERTED];
    key.extend_from_slice(labels.packed().as_bytes());
    let pairs = || Ok(labels.iter().map(|(name, value)| (Cow::Borrowed(name), Cow::Borrowed(value))).collect());
    let value = Value::Histogram(histogram);
    sink.sample(Sample { key: &key, labels: &pairs, value, timestamp_ms, start_ms, exemplars })
}

/// Returns a line's labels; says which stands there twice.
fn pairs<'a>(parser: &Parser<'a>) -> Result<Vec<Pair<'a>>, String> {
    let mut builder = LabelsBuilder::new();
    parser.labels_into(&mut builder).map_err(|error| error.message)?;
    let mut pairs: Vec<Pair<'a>> =
        builder.iter().map(|(name, value)| (Cow::Owned(name.to_owned()), Cow::Owned(value.to_owned()))).collect();
    pairs.extend(parser.empty_labels().map(|name| (name, Cow::Borrowed(""))));
    Ok(pairs)
}

/// Returns the start time of each entry.
fn starts(body: &[u8]) -> Result<Vec<Option<i64>>, ParseError> {
    let mut lines = Vec::new();
    let mut parser = Parser::new(body, Dialect::OpenMetrics);
    while let Some(entry) = parser.next()? {
        lines.push(if entry == Entry::Sample {
            let mut builder = LabelsBuilder::new();
            parser.labels_into(&mut builder)?;
            Line::Sample { labels: builder.build(), metric_type: parser.metric_type(), value: parser.value() }
        } else {
            Line::Other
        });
    }
    Ok(start_times(&lines))
}
