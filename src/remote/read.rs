//! Remote read, the serving side: `prometheus.ReadRequest` in, samples or streamed chunks out.
//!
//! The answer has all samples as they lie in the store, stale markers among them. The external labels are part of each series,
//! and a matcher that asks for one of them is taken as fulfilled. Series are read in batches; how many samples an answer may have
//! is bounded, since all of it is in memory.

use super::read_answer::Answer;
use crate::model::labels::Labels;
use crate::model::matcher::{MatchOp, Matcher};
use crate::model::protobuf::{Fields, Malformed};
use crate::storage::select::{Hints, Querier, SelectError, TimeRange};
use std::sync::atomic::{AtomicBool, Ordering};

/// Series read at once.
const BATCH: usize = 256;

/// One of the queries of a request.
#[derive(Clone, Debug)]
struct Query {
    range: TimeRange,
    matchers: Vec<Matcher>,
}

/// What is asked.
#[derive(Clone, Debug, Default)]
pub struct Request {
    queries: Vec<Query>,
    /// The first kind of answer in the client's list that there is.
    chunked: bool,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The request could not be read.
    #[error("{0}")]
    Bad(String),
    /// More samples than an answer may have.
    #[error("exceeded sample limit ({0})")]
    TooMany(u64),
    /// The store could not read.
    #[error(transparent)]
    Select(#[from] SelectError),
}

impl From<Malformed> for ReadError {
    fn from(error: Malformed) -> Self {
        Self::Bad(error.to_string())
    }
}

impl Request {
    /// Reads a request as it came, packed; unpacked it may have `most` bytes.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(body: &[u8], most: usize) -> Result<Self, ReadError> {
        let length = snap::raw::decompress_len(body).map_err(|_| ReadError::Bad("snappy: corrupt input".to_owned()))?;
        if length > most {
            return Err(ReadError::Bad(format!("the request is larger than {most} bytes")));
        }
        let bytes =
            snap::raw::Decoder::new().decompress_vec(body).map_err(|_| ReadError::Bad("snappy: corrupt input".to_owned()))?;
        let mut request = Self::default();
        let mut accepted = Vec::new();
        let mut fields = Fields::new(&bytes);
        while let Some((number, field)) = fields.next()? {
            match number {
                1 => request.queries.push(query(field.bytes()?)?),
                2 => match field.bytes() {
                    Ok(packed) => {
                        let mut numbers = Fields::new(packed);
                        while !numbers.is_empty() {
                            accepted.push(numbers.varint()?);
                        }
                    }
                    Err(_) => accepted.push(field.number()),
                },
                _ => {}
            }
        }
        // The first of the client's list that there is, as in Prometheus.
        request.chunked = accepted.iter().find(|kind| **kind <= 1) == Some(&1);
        if !accepted.is_empty() && !accepted.iter().any(|kind| *kind <= 1) {
            return Err(ReadError::Bad(format!("server does not support any of the requested response types: {accepted:?}")));
        }
        Ok(request)
    }

    /// Whether the answer is streamed chunks instead of samples.
    #[must_use]
    pub const fn is_chunked(&self) -> bool {
        self.chunked
    }

    /// Answers; `most` samples at most. Samples come packed, chunks as they are.
    ///
    /// # Errors
    /// When it is too much, cannot be read, or was given up.
    pub fn answer(&self, querier: &dyn Querier, external: &Labels, most: u64, cancel: &AtomicBool) -> Result<Vec<u8>, ReadError> {
        let mut answer = Answer::new(self.chunked);
        let mut left = most;
        for (index, query) in self.queries.iter().enumerate() {
            answer.begin(index);
            let fulfilled = |matcher: &&Matcher| {
                let given = external.value(matcher.name());
                given.is_empty() || matcher.op() != MatchOp::Equal || matcher.value() != given
            };
            let matchers: Vec<Matcher> = query.matchers.iter().filter(fulfilled).cloned().collect();
            // Of this server alone: two that read from each other would never end.
            let hints = Hints { sorted: true, local_only: true, ..Hints::default() };
            let selection = querier.select(&matchers, query.range, &hints)?;
            let count = selection.series.len();
            for first in (0..count).step_by(BATCH) {
                if cancel.load(Ordering::Relaxed) {
                    return Err(SelectError::Cancelled.into());
                }
                let places = first..count.min(first + BATCH);
                let read = selection.reader.read(places)?;
                for (series, samples) in selection.series.iter().skip(first).zip(&read) {
                    left = left.checked_sub(samples.len() as u64).ok_or(ReadError::TooMany(most))?;
                    let missing = external.iter().filter(|(name, _)| !series.labels.has(name));
                    let labels = missing.fold(series.labels.clone(), |labels, (name, value)| labels.with(name, value));
                    answer.add(&labels, samples);
                }
            }
            answer.end();
        }
        Ok(answer.finish())
    }
}

fn query(message: &[u8]) -> Result<Query, ReadError> {
    let mut query = Query { range: TimeRange { start_ms: 0, end_ms: 0 }, matchers: Vec::new() };
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => query.range.start_ms = field.number() as i64,
            2 => query.range.end_ms = field.number() as i64,
            3 => query.matchers.push(matcher(field.bytes()?)?),
            _ => {}
        }
    }
    Ok(query)
}

fn matcher(message: &[u8]) -> Result<Matcher, ReadError> {
    let (mut kind, mut name, mut value) = (0, "", "");
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => kind = field.number(),
            2 => name = field.text()?,
            3 => value = field.text()?,
            _ => {}
        }
    }
    let op = match kind {
        0 => MatchOp::Equal,
        1 => MatchOp::NotEqual,
        2 => MatchOp::Regex,
        3 => MatchOp::NotRegex,
        _ => return Err(ReadError::Bad("invalid matcher type".to_owned())),
    };
    Matcher::new(op, name, value).map_err(|error| ReadError::Bad(error.to_string()))
}
