//! Answers of other servers: kept as they came, packed into chunks or messages, and unpacked series by series when somebody
//! reads.

use crate::model::histogram::FloatHistogram;
use crate::model::histogram::flaw::flaw;
use crate::model::labels::Labels;
use crate::model::protobuf::{Fields, Malformed};
use crate::model::sample::{Value, is_stale};
use crate::net::Claim;
use crate::remote::chunk_reader::{self, Room};
use crate::remote::messages;
use crate::storage::select::TimeRange;
use std::ops::Range;
use std::sync::Arc;

/// Most samples of one answer, as many as Prometheus gives in one (`--storage.remote.read-sample-limit`).
const SAMPLES_MAX: u64 = 50_000_000;
/// Most numbers that one call makes of chunks: 1 GiB.
const NUMBERS_MAX: u64 = 1 << 27;

/// Why an answer is none.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum AnswerError {
    /// It cannot be read.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// It breaks a rule, in words.
    #[error("{0}")]
    Refused(String),
}

/// One series of an answer.
#[derive(Debug)]
pub(super) struct FarSeries {
    pub(super) labels: Labels,
    /// How many samples it says it has; some may lie outside the range.
    pub(super) samples: u64,
    /// Where its messages lie in the body.
    messages: Vec<Range<usize>>,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    body: Vec<u8>,
    /// What the body holds of the memory for all answers.
    _claim: Option<Claim>,
    chunked: bool,
    range: TimeRange,
    pub(super) series: Vec<FarSeries>,
}

/// Returns where `part`, which was cut from `body`, lies in it.
fn place(body: &[u8], part: &[u8]) -> Range<usize> {
    let start = part.as_ptr().addr() - body.as_ptr().addr();
    start..start + part.len()
}

impl Answer {
    /// Reads an answer of samples, unpacked.
    pub(super) fn of_samples(body: Vec<u8>, claim: Option<Claim>, range: TimeRange) -> Result<Self, AnswerError> {
        let mut found = Building::default();
        let mut results = 0;
        let mut fields = Fields::new(&body);
        while let Some((number, field)) = fields.next()? {
            if number != 1 {
                continue;
            }
            results += 1;
            let mut result = Fields::new(field.bytes()?);
            while let Some((number, field)) = result.next()? {
                if number == 1 {
                    let message = field.bytes()?;
                    found.add(&body, message, samples_of(message, |number| u64::from(number == 2 || number == 4))?)?;
                }
            }
        }
        if results != 1 {
            return Err(AnswerError::Refused(format!("responses: want 1, got {results}")));
        }
        Ok(Self { series: found.series, body, _claim: claim, chunked: false, range })
    }

    /// Reads an answer of frames, each at most `frame_max` bytes long.
    pub(super) fn of_chunks(body: Vec<u8>, claim: Option<Claim>, range: TimeRange, frame_max: u64) -> Result<Self, AnswerError> {
        let mut found = Building::default();
        let mut rest = Fields::new(&body);
        while !rest.is_empty() {
            let length = rest.varint()?;
            if length > frame_max {
                let words = format!("chunkedReader: message size exceeded the limit {frame_max} bytes; got: {length} bytes");
                return Err(AnswerError::Refused(words));
            }
            let left = &body[body.len() - rest.left()..];
            let (sum, behind) = left.split_first_chunk::<4>().ok_or(Malformed("unexpected EOF"))?;
            let frame = usize::try_from(length).ok().and_then(|length| behind.split_at_checked(length));
            let (frame, behind) = frame.ok_or(Malformed("unexpected EOF"))?;
            if crc32c::crc32c(frame) != u32::from_be_bytes(*sum) {
                return Err(AnswerError::Refused("chunkedReader: corrupted frame; checksum mismatch".to_owned()));
            }
            rest = Fields::new(behind);
            let mut fields = Fields::new(frame);
            while let Some((number, field)) = fields.next()? {
                match number {
                    1 => {
                        let message = field.bytes()?;
                        found.add(&body, message, chunks_of(message, |chunk| chunk_reader::count(chunk.data))?)?;
                    }
                    2 if field.number() != 0 => {
                        return Err(AnswerError::Refused(format!("expected query index 0, got {}", field.number())));
                    }
                    _ => {}
                }
            }
        }
        Ok(Self { series: found.series, body, _claim: claim, chunked: true, range })
    }

    /// Returns how many bytes it holds.
    pub(super) fn bytes(&self) -> u64 {
        let series = size_of::<FarSeries>() + size_of::<Range<usize>>();
        (self.body.capacity() + self.series.len() * series) as u64
    }

    /// Puts the series with other labels in their place: those that `strip` names are left out.
    pub(super) fn strip(&mut self, strip: &[&str]) {
        if !strip.is_empty() {
            for one in &mut self.series {
                one.labels = one.labels.without(|name| strip.contains(&name));
            }
        }
    }

    /// Unpacks the samples of one series within the range, ascending in time. What follows a damaged part of it is missing.
    pub(super) fn read(&self, place: usize, into: &mut Vec<(i64, Value)>) -> Result<(), Malformed> {
        let before = into.len();
        let mut found = Ok(());
        for message in self.series.get(place).map(|series| series.messages.as_slice()).unwrap_or_default() {
            let message = self.body.get(message.clone()).unwrap_or_default();
            found = if self.chunked { self.unpack(message, into) } else { self.samples(message, into) };
            if found.is_err() {
                break;
            }
        }
        into[before..].sort_by_key(|(at_ms, _)| *at_ms);
        found
    }

    fn keep(&self, into: &mut Vec<(i64, Value)>, at_ms: i64, value: Value) {
        if (self.range.start_ms..=self.range.end_ms).contains(&at_ms) {
            into.push((at_ms, value));
        }
    }

    fn unpack(&self, series: &[u8], into: &mut Vec<(i64, Value)>) -> Result<(), Malformed> {
        let mut room = Room(NUMBERS_MAX);
        let mut failed = None;
        chunks_of(series, |chunk| {
            if failed.is_some() || chunk.last_ms < self.range.start_ms || chunk.first_ms > self.range.end_ms {
                return 0;
            }
            let mut flawed = None;
            let read = match chunk.kind {
                1 => chunk_reader::floats(chunk.data, &mut room, &mut |at_ms, value| {
                    self.keep(into, at_ms, Value::Float(value));
                }),
                2 | 3 => chunk_reader::histograms(chunk.data, chunk.kind == 2, &mut room, &mut |at_ms, histogram| match sound(
                    &histogram,
                    chunk.kind == 2,
                ) {
                    Ok(()) => self.keep(into, at_ms, Value::Histogram(Arc::new(histogram))),
                    Err(flaw) => flawed = Some(flaw),
                }),
                _ => Err(Malformed("a chunk of an encoding that is not known")),
            };
            failed = read.err().or(flawed);
            0
        })?;
        failed.map_or(Ok(()), Err)
    }

    fn samples(&self, series: &[u8], into: &mut Vec<(i64, Value)>) -> Result<(), Malformed> {
        let mut fields = Fields::new(series);
        while let Some((number, field)) = fields.next()? {
            match number {
                2 => {
                    let (at_ms, value) = messages::sample(field.bytes()?)?;
                    self.keep(into, at_ms, Value::Float(value));
                }
                4 => {
                    let (at_ms, value) = messages::histogram(field.bytes()?)?;
                    self.keep(into, at_ms, Value::Histogram(value));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// The series of an answer, as far as they were read.
#[derive(Default)]
struct Building {
    series: Vec<FarSeries>,
    samples: u64,
}

impl Building {
    /// Adds a message of a series; one with the labels of the series before goes on with it.
    fn add(&mut self, body: &[u8], message: &[u8], samples: u64) -> Result<(), AnswerError> {
        let labels = messages::labels(message)?.map_err(AnswerError::Refused)?;
        self.samples += samples;
        if self.samples > SAMPLES_MAX {
            return Err(AnswerError::Refused(format!("the answer has more than {SAMPLES_MAX} samples")));
        }
        let messages = vec![place(body, message)];
        match self.series.last_mut().filter(|last| last.labels == labels) {
            Some(last) => {
                last.samples += samples;
                last.messages.extend(messages);
            }
            None => self.series.push(FarSeries { labels, samples, messages }),
        }
        Ok(())
    }
}

/// Sums what each field of a message is worth, by its number.
fn samples_of(message: &[u8], worth: impl Fn(u64) -> u64) -> Result<u64, Malformed> {
    let (mut sum, mut fields) = (0, Fields::new(message));
    while let Some((number, _)) = fields.next()? {
        sum += worth(number);
    }
    Ok(sum)
}

/// One chunk of a series.
#[derive(Default)]
struct Chunk<'a> {
    first_ms: i64,
    last_ms: i64,
    kind: u64,
    data: &'a [u8],
}

/// Gives each chunk of a series, and sums what is made of them.
fn chunks_of(series: &[u8], mut each: impl FnMut(&Chunk<'_>) -> u64) -> Result<u64, Malformed> {
    let (mut sum, mut fields) = (0, Fields::new(series));
    while let Some((number, field)) = fields.next()? {
        if number != 2 {
            continue;
        }
        let mut chunk = Chunk::default();
        let mut parts = Fields::new(field.bytes()?);
        while let Some((number, field)) = parts.next()? {
            match number {
                1 => chunk.first_ms = field.number() as i64,
                2 => chunk.last_ms = field.number() as i64,
                3 => chunk.kind = field.number(),
                4 => chunk.data = field.bytes()?,
                _ => {}
            }
        }
        sum += each(&chunk);
    }
    Ok(sum)
}

/// Judges a histogram as one that is pushed; a stale marker is sound whatever else it says.
fn sound(histogram: &FloatHistogram, counted: bool) -> Result<(), Malformed> {
    if is_stale(histogram.sum) {
        return Ok(());
    }
    flaw(histogram, counted).map_or(Ok(()), |flaw| Err(Malformed(flaw)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::protobuf::put_bytes;
    use crate::remote::read_answer;
    use crate::storage::select::{SeriesSamples, Values};

    fn series(count: i64) -> (Labels, SeriesSamples) {
        let histogram = FloatHistogram { count: 2.0, sum: 3.0, zero_count: 2.0, ..FloatHistogram::default() };
        let values = (0..count).map(|i| match i % 300 {
            0..200 => Value::Float(i as f64 / 3.0),
            _ => Value::Histogram(Arc::new(histogram.clone())),
        });
        let samples = SeriesSamples {
            times: (0..count).map(|i| i * 15_000).collect(),
            values: Values::Mixed(values.collect()),
            starts: None,
        };
        (Labels::from_pairs([("__name__", "up"), ("site", "x")]), samples)
    }

    fn written(chunked: bool, (labels, samples): &(Labels, SeriesSamples)) -> Vec<u8> {
        let mut answer = read_answer::Answer::new(chunked);
        answer.begin(0);
        answer.add(labels, samples);
        answer.end();
        let bytes = answer.finish();
        if chunked { bytes } else { snap::raw::Decoder::new().decompress_vec(&bytes).unwrap() }
    }

    #[test]
    fn what_our_own_read_face_writes_is_read() {
        let all = series(1000);
        let range = TimeRange { start_ms: 30_000, end_ms: 900 * 15_000 };
        for chunked in [false, true] {
            let body = written(chunked, &all);
            let mut answer = match chunked {
                true => Answer::of_chunks(body, None, range, 1 << 20).unwrap(),
                false => Answer::of_samples(body, None, range).unwrap(),
            };
            answer.strip(&["site"]);
            assert_eq!(answer.series.len(), 1);
            assert_eq!((answer.series[0].labels.to_string().as_str(), answer.series[0].samples), ("{__name__=\"up\"}", 1000));
            let mut found = Vec::new();
            answer.read(0, &mut found).unwrap();
            assert_eq!(found.len(), 899);
            for (found, place) in found.iter().zip(2..) {
                assert_eq!(found.0, all.1.times[place]);
                match &found.1 {
                    Value::Float(value) => assert_eq!(Some(*value), all.1.float(place)),
                    Value::Histogram(value) => assert_eq!(Some(value.sum), all.1.histogram(place).map(|one| one.sum)),
                }
            }
        }
    }

    #[test]
    fn damage_is_refused() {
        let range = TimeRange { start_ms: 0, end_ms: i64::MAX };
        let body = written(true, &series(10));
        let refused = |body: Vec<u8>, most| Answer::of_chunks(body, None, range, most).unwrap_err().to_string();
        let mut turned = body.clone();
        *turned.last_mut().unwrap() ^= 1;
        assert_eq!(refused(turned, 1 << 20), "chunkedReader: corrupted frame; checksum mismatch");
        assert_eq!(refused(body[..body.len() - 1].to_vec(), 1 << 20), "unexpected EOF");
        let words = format!("chunkedReader: message size exceeded the limit 10 bytes; got: {} bytes", body.len() - 6);
        assert_eq!(refused(body.clone(), 10), words);
        assert_eq!(Answer::of_samples(Vec::new(), None, range).unwrap_err().to_string(), "responses: want 1, got 0");
        let mut nameless = Vec::new();
        put_bytes(&mut nameless, 1, &[10, 0]);
        assert!(Answer::of_samples(nameless, None, range).unwrap_err().to_string().contains("missing metric name"));
        // Whatever comes: an error, or what could be read.
        let mut random = fastrand::Rng::with_seed(8);
        for _ in 0..3000 {
            let chunked = random.bool();
            let mut body = written(chunked, &series(20));
            let at = random.usize(if chunked { 6 } else { 0 }..body.len());
            body[at] = random.u8(..);
            if chunked {
                let sum = crc32c::crc32c(&body[6..]).to_be_bytes();
                body[2..6].copy_from_slice(&sum);
            }
            let answer =
                if chunked { Answer::of_chunks(body, None, range, 1 << 20) } else { Answer::of_samples(body, None, range) };
            if let Ok(answer) = answer {
                for place in 0..answer.series.len() {
                    let mut found = Vec::new();
                    let whole = answer.read(place, &mut found).is_ok();
                    assert!(!whole || found.len() as u64 <= answer.series[place].samples);
                }
            }
        }
    }
}
