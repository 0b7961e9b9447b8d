//! What both versions of Remote-Write share on the receiving side: snappy, and from what was read of a request to the store.
//!
//! The whole request is read before anything is stored, so that one that cannot be read changes nothing. Series whose labels
//! are none (no name, a label twice) and samples that are refused (too old, too far ahead, another value at the same time)
//! do not keep the others out; the sender is told by a 400, which it does not repeat.
//!
//! ```text
//! body -> un-snappied into a buffer that is used again -> per series: bytes of its labels | samples
//!      -> the store knows the bytes?   its number; no label is read
//!                           no         labels -> the store's own way, new series among them
//! ```

use super::messages::{self, SeriesLabels};
use super::{write_v1, write_v2};
use crate::model::exemplar::Exemplar;
use crate::model::histogram::FloatHistogram;
use crate::model::metadata::Metadata;
use crate::model::protobuf::{Malformed, put_bytes};
use crate::storage::append::{Append, AppendError, Appended, BatchSample, BatchValue, Durability, SeriesId};
use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;

/// Which message a body holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// `prometheus.WriteRequest`.
    V1,
    /// `io.prometheus.write.v2.Request`.
    V2,
}

/// Why a request was not taken whole.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// It could not be read; nothing was stored.
    #[error("{0}")]
    Bad(String),
    /// The store took nothing.
    #[error(transparent)]
    Append(AppendError),
}

impl From<Malformed> for WriteError {
    fn from(error: Malformed) -> Self {
        Self::Bad(error.to_string())
    }
}

/// What became of a request that could be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// What the store did with the samples.
    pub appended: Appended,
    /// Of what the store took: floats.
    pub floats: u64,
    /// Of what the store took: histograms.
    pub histograms: u64,
    /// Exemplars handed to the store.
    pub exemplars: u64,
    /// Samples of series whose labels are none.
    pub invalid_labels: u64,
    /// Why something was left out, for the sender; `None`: everything was taken.
    pub complaint: Option<String>,
}

/// How far ahead of the clock a sample may be, as in Prometheus: behind it, scraped samples of now would be late.
pub(super) const AHEAD_MAX_MS: i64 = 10 * 60 * 1000;

/// A buffer larger than this is not kept for the next request.
const KEPT_BYTES: usize = 2 << 20;

thread_local! {
    /// Where this thread's requests are unpacked: fresh memory for each would cost more than the unpacking.
    static UNPACKED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// One series of a request.
pub(super) struct ReceivedSeries<'a> {
    /// The message with its labels in the form of version 1 (field 1 each).
    pub(super) message: &'a [u8],
    /// The labels as the store knows them; empty where they do not lie together.
    pub(super) encoded: &'a [u8],
    /// Its samples among those of the request.
    pub(super) samples: Range<usize>,
    /// Why it is to be left out.
    pub(super) flaw: Option<&'static str>,
}

/// Everything in a request. Histograms, exemplars and start timestamps name the place of their series.
#[derive(Default)]
pub(super) struct Request<'a> {
    pub(super) series: Vec<ReceivedSeries<'a>>,
    pub(super) samples: Vec<(i64, f64)>,
    pub(super) histograms: Vec<(usize, i64, Arc<FloatHistogram>)>,
    pub(super) exemplars: Vec<(usize, Exemplar)>,
    /// When what a series counts began: at the time of a sample.
    pub(super) starts: Vec<(usize, i64, i64)>,
    pub(super) metadata: Vec<(String, Metadata)>,
}

/// A request whose labels do not lie in its body: they are gathered in the form of version 1, by which the store knows series.
#[derive(Default)]
pub(super) struct Gathered {
    labels: Vec<u8>,
    /// Where labels and samples of each series lie, and why it is to be left out.
    series: Vec<(Range<usize>, Range<usize>, Option<&'static str>)>,
    /// All else.
    pub(super) rest: Request<'static>,
}

impl Gathered {
    /// Returns the place of the series that comes next.
    pub(super) fn place(&self) -> usize {
        self.series.len()
    }

    /// Adds a series; its samples are those from `from` on.
    pub(super) fn series<'p>(
        &mut self,
        labels: impl Iterator<Item = (&'p str, &'p str)>,
        from: usize,
        flaw: Option<&'static str>,
    ) {
        let start = self.labels.len();
        let mut pair = Vec::new();
        for (name, value) in labels {
            pair.clear();
            put_bytes(&mut pair, 1, name.as_bytes());
            put_bytes(&mut pair, 2, value.as_bytes());
            put_bytes(&mut self.labels, 1, &pair);
        }
        self.series.push((start..self.labels.len(), from..self.rest.samples.len(), flaw));
    }

    /// Stores what was gathered; see [`Request::store`].
    pub(super) fn store(self, now_ms: i64, append: &dyn Append, durability: Durability) -> Result<Received, WriteError> {
        let received = |(labels, samples, flaw): (Range<usize>, Range<usize>, Option<&'static str>)| {
            let encoded = self.labels.get(labels).unwrap_or_default();
            ReceivedSeries { message: encoded, encoded, samples, flaw }
        };
        let request = Request { series: self.series.into_iter().map(received).collect(), ..self.rest };
        request.store(now_ms, append, durability)
    }
}

/// Reads a body and stores it at `now_ms`. Blocks until it is as durable as asked.
///
/// # Errors
/// See [`WriteError`].
pub fn receive(
    version: Version,
    body: &[u8],
    most: usize,
    now_ms: i64,
    append: &dyn Append,
    durability: Durability,
) -> Result<Received, WriteError> {
    let corrupt = || WriteError::Bad("snappy: corrupt input".to_owned());
    let length = snap::raw::decompress_len(body).map_err(|_| corrupt())?;
    if length > most {
        return Err(WriteError::Bad(format!("the request is larger than {most} bytes")));
    }
    UNPACKED.with_borrow_mut(|unpacked| {
        if unpacked.len() < length {
            unpacked.resize(length, 0);
        }
        let filled = snap::raw::Decoder::new().decompress(body, unpacked).map_err(|_| corrupt())?;
        let message = unpacked.get(..filled).unwrap_or_default();
        let store = || match version {
            Version::V1 => write_v1::read(message)?.store(now_ms, append, durability),
            Version::V2 => write_v2::read(message)?.store(now_ms, append, durability),
        };
        let mut done = store();
        if matches!(done, Err(WriteError::Append(AppendError::Forgotten))) {
            // Between the look for its number and the append a series was forgotten, as unused for long: now it is new.
            done = store();
        }
        if unpacked.capacity() > KEPT_BYTES {
            *unpacked = Vec::new();
        }
        done
    })
}

/// Says in Prometheus's words why samples were refused.
fn refusals(done: &Appended) -> Option<String> {
    if done.out_of_order > 0 {
        Some("out of order sample".to_owned())
    } else if done.too_old > 0 {
        Some("out of bounds".to_owned())
    } else if done.too_far > 0 {
        Some("out of bounds: timestamp is too far in the future".to_owned())
    } else if done.duplicate > 0 {
        Some("duplicate sample for timestamp".to_owned())
    } else {
        None
    }
}

impl Request<'_> {
    /// Stores what was read.
    fn store(&self, now_ms: i64, append: &dyn Append, durability: Durability) -> Result<Received, WriteError> {
        let Found { ids, complaint } = self.ids(append)?;
        let mut received = Received { complaint, ..Received::default() };
        let latest_ms = now_ms.saturating_add(AHEAD_MAX_MS);
        let mut floats = Vec::with_capacity(self.samples.len());
        for (series, id) in self.series.iter().zip(&ids) {
            let samples = self.samples.get(series.samples.clone()).unwrap_or_default();
            let Some(id) = id else {
                received.invalid_labels += samples.len() as u64;
                continue;
            };
            let sample =
                |(at_ms, value): &(i64, f64)| BatchSample { series: *id, at_ms: *at_ms, value: BatchValue::Float(*value) };
            floats.extend(samples.iter().map(sample));
        }
        let id_of = |place: usize| ids.get(place).copied().flatten();
        let mut histograms = Vec::with_capacity(self.histograms.len());
        for (place, at_ms, value) in &self.histograms {
            let value = BatchValue::Histogram(Arc::clone(value));
            match id_of(*place) {
                Some(series) => histograms.push(BatchSample { series, at_ms: *at_ms, value }),
                None => received.invalid_labels += 1,
            }
        }
        let all = floats.len() + histograms.len();
        floats.retain(|sample| sample.at_ms <= latest_ms);
        histograms.retain(|sample| sample.at_ms <= latest_ms);
        let too_far = (all - floats.len() - histograms.len()) as u64;
        // Before the samples: the sync that they wait for makes these durable, too.
        for exemplars in self.exemplars.chunk_by(|left, right| left.0 == right.0) {
            if let Some(series) = exemplars.first().and_then(|(place, _)| id_of(*place)) {
                let exemplars: Vec<Exemplar> = exemplars.iter().map(|(_, exemplar)| exemplar.clone()).collect();
                append.append_exemplars(series, &exemplars);
                received.exemplars += exemplars.len() as u64;
            }
        }
        for (place, at_ms, start_ms) in &self.starts {
            if let Some(series) = id_of(*place).filter(|_| *at_ms <= latest_ms) {
                append.note_start(series, *at_ms, *start_ms);
            }
        }
        for (metric, entry) in &self.metadata {
            append.note_metadata(metric, entry);
        }
        // The sync of what comes last makes what came before durable as well.
        if !histograms.is_empty() {
            let meanwhile = if floats.is_empty() { durability } else { Durability::Written };
            received.appended = append.append_samples(None, &histograms, meanwhile).map_err(WriteError::Append)?;
            received.histograms = received.appended.stored;
        }
        if !floats.is_empty() || histograms.is_empty() {
            let done = append.append_samples(None, &floats, durability).map_err(WriteError::Append)?;
            received.floats = done.stored;
            received.appended.add(&done);
        }
        received.appended.too_far += too_far;
        received.complaint = received.complaint.or_else(|| refusals(&received.appended));
        Ok(received)
    }

    /// Finds or makes all series. Labels of new ones are read before the first is made.
    fn ids(&self, append: &dyn Append) -> Result<Found, WriteError> {
        let encoded: Vec<&[u8]> = self.series.iter().map(|series| series.encoded).collect();
        let mut known = Vec::with_capacity(encoded.len());
        append.known_series(&encoded, &mut known);
        let unknown = self.series.iter().zip(&known).filter(|(_, known)| known.is_none());
        let fresh: Vec<SeriesLabels> = unknown.map(|(series, _)| messages::labels(series.message)).collect::<Result<_, _>>()?;
        let mut found = Found { ids: Vec::with_capacity(known.len()), complaint: None };
        let mut fresh = fresh.into_iter();
        for (series, known) in self.series.iter().zip(known) {
            let labels = known.is_none().then(|| fresh.next()).flatten();
            if let Some(flaw) = series.flaw {
                found.complaint.get_or_insert_with(|| flaw.to_owned());
                found.ids.push(None);
                continue;
            }
            let id = match (known, labels) {
                (None, Some(Ok(labels))) => Some(append.series(&labels).map_err(WriteError::Append)?),
                (None, Some(Err(reason))) => {
                    found.complaint.get_or_insert(reason);
                    None
                }
                (known, _) => known,
            };
            found.ids.push(id);
        }
        Ok(found)
    }
}

/// The series of a request, `None` for those whose labels are none, and why the first of these are.
struct Found {
    ids: Vec<Option<SeriesId>>,
    complaint: Option<String>,
}
