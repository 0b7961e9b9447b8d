//! Remote-Write 1.0, the receiving side: snappy, then `prometheus.WriteRequest`, decoded by hand on borrowed slices.
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
use crate::model::exemplar::Exemplar;
use crate::model::histogram::FloatHistogram;
use crate::model::metadata::Metadata;
use crate::model::protobuf::{Fields, Malformed};
use crate::storage::append::{Append, AppendError, Appended, BatchSample, BatchValue, Durability, SeriesId};
use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;

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
    /// Samples of series whose labels are none.
    pub invalid_labels: u64,
    /// Why something was left out, for the sender; `None`: everything was taken.
    pub complaint: Option<String>,
}

/// How far ahead of the clock a sample may be, as in Prometheus: behind it, scraped samples of now would be late.
const AHEAD_MAX_MS: i64 = 10 * 60 * 1000;

/// A buffer larger than this is not kept for the next request.
const KEPT_BYTES: usize = 2 << 20;

thread_local! {
    /// Where this thread's requests are unpacked: fresh memory for each would cost more than the unpacking.
    static UNPACKED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// One series of a request, on its bytes.
struct ReceivedSeries<'a> {
    message: &'a [u8],
    /// The labels as the store knows them; empty where they do not lie together.
    encoded: &'a [u8],
    /// Its samples among those of the request.
    samples: Range<usize>,
}

/// Everything in a request. Histograms and exemplars name the place of their series.
#[derive(Default)]
struct Request<'a> {
    series: Vec<ReceivedSeries<'a>>,
    samples: Vec<(i64, f64)>,
    histograms: Vec<(usize, i64, Arc<FloatHistogram>)>,
    exemplars: Vec<(usize, Exemplar)>,
    metadata: Vec<(String, Metadata)>,
}

/// Reads a body and stores it at `now_ms`. Blocks until it is as durable as asked.
///
/// # Errors
/// See [`WriteError`].
pub fn receive(
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
        let mut done = store(message, now_ms, append, durability);
        if matches!(done, Err(WriteError::Append(AppendError::Forgotten))) {
            // Between the look for its number and the append a series was forgotten, as unused for long: now it is new.
            done = store(message, now_ms, append, durability);
        }
        if unpacked.capacity() > KEPT_BYTES {
            *unpacked = Vec::new();
        }
        done
    })
}

fn store(message: &[u8], now_ms: i64, append: &dyn Append, durability: Durability) -> Result<Received, WriteError> {
    let request = Request::read(message)?;
    let Found { ids, complaint } = request.ids(append)?;
    let mut received = Received { complaint, ..Received::default() };
    let mut batch = Vec::with_capacity(request.samples.len() + request.histograms.len());
    for (series, id) in request.series.iter().zip(&ids) {
        let samples = request.samples.get(series.samples.clone()).unwrap_or_default();
        let Some(id) = id else {
            received.invalid_labels += samples.len() as u64;
            continue;
        };
        let sample = |(at_ms, value): &(i64, f64)| BatchSample { series: *id, at_ms: *at_ms, value: BatchValue::Float(*value) };
        batch.extend(samples.iter().map(sample));
    }
    let id_of = |place: usize| ids.get(place).copied().flatten();
    for (place, at_ms, value) in &request.histograms {
        let value = BatchValue::Histogram(Arc::clone(value));
        match id_of(*place) {
            Some(series) => batch.push(BatchSample { series, at_ms: *at_ms, value }),
            None => received.invalid_labels += 1,
        }
    }
    let all = batch.len();
    batch.retain(|sample| sample.at_ms <= now_ms.saturating_add(AHEAD_MAX_MS));
    let too_far = (all - batch.len()) as u64;
    // Before the samples: the sync that they wait for makes these durable, too.
    for exemplars in request.exemplars.chunk_by(|left, right| left.0 == right.0) {
        if let Some(series) = exemplars.first().and_then(|(place, _)| id_of(*place)) {
            let exemplars: Vec<Exemplar> = exemplars.iter().map(|(_, exemplar)| exemplar.clone()).collect();
            append.append_exemplars(series, &exemplars);
        }
    }
    for (metric, entry) in &request.metadata {
        append.note_metadata(metric, entry);
    }
    received.appended = append.append_samples(None, &batch, durability).map_err(WriteError::Append)?;
    received.appended.too_far += too_far;
    received.complaint = received.complaint.or_else(|| refusals(&received.appended));
    Ok(received)
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

impl<'a> Request<'a> {
    fn read(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut request = Self::default();
        let mut fields = Fields::new(message);
        while let Some((number, field)) = fields.next()? {
            match number {
                1 => request.time_series(field.bytes()?)?,
                3 => request.metadata.push(messages::metadata(field.bytes()?)?),
                _ => {}
            }
        }
        Ok(request)
    }

    fn time_series(&mut self, message: &'a [u8]) -> Result<(), Malformed> {
        let from = self.samples.len();
        let place = self.series.len();
        let mut fields = Fields::new(message);
        fields.skip_labels()?;
        let mut encoded = fields.read_of(message);
        while let Some((number, field)) = fields.next()? {
            match number {
                // Labels behind the samples: they must be gathered.
                1 => encoded = &[],
                2 => self.samples.push(messages::sample(field.bytes()?)?),
                3 => self.exemplars.push((place, messages::exemplar(field.bytes()?)?)),
                4 => {
                    let (at_ms, histogram) = messages::histogram(field.bytes()?)?;
                    self.histograms.push((place, at_ms, histogram));
                }
                _ => {}
            }
        }
        self.series.push(ReceivedSeries { message, encoded, samples: from..self.samples.len() });
        Ok(())
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
        for known in known {
            let id = match (known, known.is_none().then(|| fresh.next()).flatten()) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::Env;
    use crate::env::memory_disk::MemoryDisk;
    use crate::model::limits;
    use crate::storage::{Store, StoreOptions};
    use crate::telemetry::metrics::Registry;

    fn field(number: u8, payload: &[u8]) -> Vec<u8> {
        let (mut head, mut length) = (vec![number << 3 | 2], payload.len());
        while length >= 0x80 {
            head.push(length as u8 | 0x80);
            length >>= 7;
        }
        head.push(length as u8);
        [&head, payload].concat()
    }

    fn label(name: &str, value: &str) -> Vec<u8> {
        field(1, &[field(1, name.as_bytes()), field(2, value.as_bytes())].concat())
    }

    fn sample(at_ms: u8, value: f64) -> Vec<u8> {
        field(2, &[&[0x09], value.to_le_bytes().as_slice(), &[0x10, at_ms]].concat())
    }

    fn send(store: &Store, series: &[Vec<Vec<u8>>]) -> Result<Received, WriteError> {
        let message: Vec<u8> = series.iter().flat_map(|parts| field(1, &parts.concat())).collect();
        let body = snap::raw::Encoder::new().compress_vec(&message).expect("packs");
        receive(&body, 1 << 20, 0, store, Durability::Written)
    }

    fn store() -> Store {
        let env = Env { disk: Arc::new(MemoryDisk::new()), ..Env::real() };
        Store::open(&env, StoreOptions { retention_ms: 0, ..StoreOptions::default() }, &Registry::new()).expect("opens")
    }

    #[test]
    fn a_series_is_the_same_however_its_labels_come() {
        let store = store();
        let (name, job, node) = (label("__name__", "up"), label("job", "a"), label("node", "n"));
        let orders = [
            vec![name.clone(), job.clone(), node.clone(), sample(1, 1.0)],
            vec![name.clone(), job.clone(), node.clone(), sample(2, 2.0)],
            vec![node.clone(), name.clone(), job.clone(), sample(3, 3.0)],
            vec![name.clone(), sample(4, 4.0), job.clone(), node.clone()],
            vec![sample(5, 5.0), name.clone(), job.clone(), node.clone()],
            vec![name.clone(), job.clone(), label("none", ""), node.clone(), sample(6, 6.0)],
            vec![name, job, node, sample(7, 7.0), sample(8, 8.0)],
        ];
        for order in &orders {
            send(&store, std::slice::from_ref(order)).expect("stored");
        }
        assert_eq!((store.stats().series, store.stats().head_samples), (1, 8));
        let other = [label("__name__", "up"), label("job", "a"), label("node", "m"), sample(1, 1.0)];
        send(&store, &[orders[0].clone(), other.to_vec()]).expect("stored");
        assert_eq!((store.stats().series, store.stats().head_samples), (2, 9));
    }

    #[test]
    fn a_broken_request_changes_nothing() {
        let store = store();
        let good = vec![label("__name__", "up"), sample(1, 1.0)];
        for bad in [vec![label("__name__", "x"), vec![0x12, 9, 0x09, 1]], vec![vec![0x0a, 0x7f]]] {
            assert!(matches!(send(&store, &[good.clone(), bad]), Err(WriteError::Bad(_))));
        }
        assert_eq!((store.stats().series, store.stats().head_samples), (0, 0));
    }

    #[test]
    fn what_is_wrong_with_one_series_does_not_keep_out_the_others() {
        let store = store();
        let good = |at: u8| vec![label("__name__", "up"), sample(at, 1.0)];
        let name = label("__name__", "x");
        let long = "x".repeat(limits::LABEL_VALUE_BYTES + 1);
        let many: Vec<Vec<u8>> = (0..=limits::LABELS).map(|number| label(&format!("l{number:03}"), "v")).collect();
        let bad = [
            (vec![label("job", "a")], "labels {job=\"a\"}: missing metric name"),
            (vec![name.clone(), label("job", "a"), label("job", "b")], "label name \"job\" is not unique"),
            (vec![label("b", "1"), name.clone(), label("a", "1"), label("b", "1")], "label name \"b\" is not unique"),
            (vec![name.clone(), label("", "a")], "invalid label name \"\""),
            (vec![name.clone(), label("job", &long)], "label value too long"),
            ([vec![name.clone()], many].concat(), "too many labels"),
        ];
        for (at, (labels, words)) in (1..).zip(bad) {
            let received = send(&store, &[good(at), [labels, vec![sample(1, 1.0), sample(2, 2.0)]].concat()]).expect("readable");
            assert_eq!((received.appended.stored, received.invalid_labels), (1, 2), "{words}");
            let complaint = received.complaint.expect(words);
            assert!(
                complaint.starts_with("invalid labels for series, labels {") && complaint.ends_with(words)
                    || complaint.contains(words),
                "{complaint}"
            );
        }
        assert_eq!((store.stats().series, store.stats().head_samples), (1, 6));
        let twice = send(&store, &[vec![label("__name__", "up"), sample(1, 1.0), sample(1, 2.0)]]).expect("readable");
        assert_eq!((twice.appended.duplicate, twice.complaint.as_deref()), (1, Some("duplicate sample for timestamp")));
    }

    #[test]
    fn samples_far_ahead_are_refused_and_the_others_stored() {
        let store = store();
        let at = |at_ms: i64| {
            let (mut varint, mut rest) = (Vec::new(), at_ms);
            while rest >= 0x80 {
                varint.push(rest as u8 | 0x80);
                rest >>= 7;
            }
            varint.push(rest as u8);
            field(2, &[&[0x09], 1.5_f64.to_le_bytes().as_slice(), &[0x10], &varint].concat())
        };
        let series = vec![label("__name__", "up"), at(1), at(AHEAD_MAX_MS), at(AHEAD_MAX_MS + 1), at(31_536_000_000)];
        let received = send(&store, &[series]).expect("readable");
        assert_eq!((received.appended.stored, received.appended.too_far), (2, 2));
        assert_eq!(received.complaint.as_deref(), Some("out of bounds: timestamp is too far in the future"));
        assert_eq!(store.stats().head_samples, 2);
    }

    /// A series with a sample, an exemplar and a histogram, and its metadata.
    fn message() -> Vec<u8> {
        let pair = |name: &str, value: &str| field(1, &[field(1, name.as_bytes()), field(2, value.as_bytes())].concat());
        let double = |number: u8, value: f64| [&[number << 3 | 1], value.to_le_bytes().as_slice()].concat();
        let at = |number: u8| vec![number << 3, 0xe8, 7];
        let sample = field(2, &[double(1, 1.5), at(2)].concat());
        let exemplar = field(3, &[pair("trace_id", "x"), double(2, 0.5), at(3)].concat());
        let histogram =
            field(4, &[&[0x08, 6], double(3, 4.5).as_slice(), &[0x20, 6, 0x5a, 4, 8, 0, 16, 2, 0x62, 2, 4, 4], &at(15)].concat());
        let series = [pair("__name__", "up"), pair("job", "node"), sample, exemplar, histogram].concat();
        let metadata = field(3, &[&[8, 1], field(2, b"up").as_slice(), &field(4, b"Helps.")].concat());
        [field(1, &series), metadata].concat()
    }

    #[test]
    fn no_body_breaks_it() {
        let store = crate::storage::fuzz::open(&MemoryDisk::new()).expect("opens");
        let compress = |bytes: &[u8]| snap::raw::Encoder::new().compress_vec(bytes).expect("compresses");
        let receive = |body: &[u8]| receive(body, 1 << 20, 0, &store, Durability::Synced);
        assert!(receive(&compress(&message())).is_ok_and(|received| received.appended.stored == 2));
        crate::env::fuzz::replay("remote_write", &[message(), compress(&message())], 1500, |bytes| {
            let _as_it_is = receive(bytes);
            let _message = receive(&compress(bytes));
        });
    }
}
