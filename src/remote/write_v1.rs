//! Remote-Write 1.0, the receiving side: snappy, then `prometheus.WriteRequest`, decoded by hand on borrowed slices.
//!
//! The whole request is read before anything is stored, so that a broken one changes nothing. Samples that the store
//! refuses (too old, another value at the same time) do not keep the others out; the sender is told by a 400, which it does
//! not repeat.
//!
//! ```text
//! body -> un-snappied into a buffer that is used again -> per series: bytes of its labels | samples
//!      -> the store knows the bytes?   its number; no label is read
//!                           no         labels -> the store's own way, new series among them
//! ```

use super::messages;
use super::protobuf::{Fields, Malformed};
use crate::model::exemplar::Exemplar;
use crate::model::histogram::FloatHistogram;
use crate::model::labels::Labels;
use crate::model::limits;
use crate::model::metadata::Metadata;
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
    /// Some samples were refused; the others are stored.
    #[error("{0}")]
    Samples(String),
    /// The store took nothing.
    #[error(transparent)]
    Append(AppendError),
}

impl From<Malformed> for WriteError {
    fn from(error: Malformed) -> Self {
        Self::Bad(error.to_string())
    }
}

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

/// Reads a body and stores it. Blocks until it is as durable as asked.
///
/// # Errors
/// See [`WriteError`].
pub fn receive(body: &[u8], most: usize, append: &dyn Append, durability: Durability) -> Result<Appended, WriteError> {
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
        let mut done = store(message, append, durability);
        if matches!(done, Err(WriteError::Append(AppendError::Forgotten))) {
            // Between the look for its number and the append a series was forgotten, as unused for long: now it is new.
            done = store(message, append, durability);
        }
        if unpacked.capacity() > KEPT_BYTES {
            *unpacked = Vec::new();
        }
        done
    })
}

fn store(message: &[u8], append: &dyn Append, durability: Durability) -> Result<Appended, WriteError> {
    let request = Request::read(message)?;
    let ids = request.ids(append)?;
    let mut batch = Vec::with_capacity(request.samples.len() + request.histograms.len());
    for (series, id) in request.series.iter().zip(&ids) {
        let samples = request.samples.get(series.samples.clone()).unwrap_or_default();
        let sample = |(at_ms, value): &(i64, f64)| BatchSample { series: *id, at_ms: *at_ms, value: BatchValue::Float(*value) };
        batch.extend(samples.iter().map(sample));
    }
    let id_of = |place: usize| ids.get(place).copied();
    for (place, at_ms, value) in &request.histograms {
        let value = BatchValue::Histogram(Arc::clone(value));
        batch.extend(id_of(*place).map(|series| BatchSample { series, at_ms: *at_ms, value }));
    }
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
    let done = append.append_samples(None, &batch, durability).map_err(WriteError::Append)?;
    refusals(&done).map_or(Ok(done), |message| Err(WriteError::Samples(message)))
}

/// Says in Prometheus's words why samples were refused.
fn refusals(done: &Appended) -> Option<String> {
    if done.out_of_order > 0 {
        Some("out of order sample".to_owned())
    } else if done.too_old > 0 {
        Some("out of bounds".to_owned())
    } else if done.too_far > 0 {
        Some("out of bounds: sample is too far in the future".to_owned())
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
    fn ids(&self, append: &dyn Append) -> Result<Vec<SeriesId>, WriteError> {
        let encoded: Vec<&[u8]> = self.series.iter().map(|series| series.encoded).collect();
        let mut known = Vec::with_capacity(encoded.len());
        append.known_series(&encoded, &mut known);
        let mut fresh: Vec<Labels> = Vec::new();
        for (series, _) in self.series.iter().zip(&known).filter(|(_, known)| known.is_none()) {
            let labels = messages::labels(series.message)?;
            if labels.metric_name().is_empty() {
                return Err(WriteError::Bad(format!("invalid labels for series, labels {labels}: missing metric name")));
            }
            if let Err(message) = limits::check_labels(&labels) {
                return Err(WriteError::Bad(format!("invalid labels for a series: {message}")));
            }
            fresh.push(labels);
        }
        let mut fresh = fresh.iter();
        let id = |known: Option<SeriesId>| match known
            .map_or_else(|| fresh.next().map(|labels| append.series(labels)), |id| Some(Ok(id)))
        {
            Some(id) => id.map_err(WriteError::Append),
            None => Err(WriteError::Bad("a series was lost".to_owned())),
        };
        known.into_iter().map(id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::Env;
    use crate::env::memory_disk::MemoryDisk;
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

    fn send(store: &Store, series: &[Vec<Vec<u8>>]) -> Result<Appended, WriteError> {
        let message: Vec<u8> = series.iter().flat_map(|parts| field(1, &parts.concat())).collect();
        let body = snap::raw::Encoder::new().compress_vec(&message).expect("packs");
        receive(&body, 1 << 20, store, Durability::Written)
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
        for bad in [
            vec![label("job", "a"), sample(1, 1.0)],
            vec![label("__name__", "x"), vec![0x12, 9, 0x09, 1]],
            vec![vec![0x0a, 0x7f]],
        ] {
            assert!(matches!(send(&store, &[good.clone(), bad]), Err(WriteError::Bad(_))));
        }
        let long = "x".repeat(limits::LABEL_VALUE_BYTES + 1);
        let many: Vec<Vec<u8>> = (0..=limits::LABELS).map(|number| label(&format!("l{number:03}"), "v")).collect();
        for labels in [vec![label("job", &long)], many] {
            let bad = [vec![label("__name__", "x")], labels, vec![sample(1, 1.0)]].concat();
            assert!(matches!(send(&store, &[good.clone(), bad]), Err(WriteError::Bad(_))));
        }
        assert_eq!((store.stats().series, store.stats().head_samples), (0, 0));
        let twice = send(&store, &[vec![label("__name__", "up"), sample(1, 1.0), sample(1, 2.0)]]);
        assert!(matches!(twice, Err(WriteError::Samples(_))), "{twice:?}");
        assert_eq!(store.stats().head_samples, 1);
    }

    /// A series with a sample, an exemplar and a histogram, and its metadata.
    fn message() -> Vec<u8> {
        let pair = |name: &str, value: &str| field(1, &[field(1, name.as_bytes()), field(2, value.as_bytes())].concat());
        let double = |number: u8, value: f64| [&[number << 3 | 1], value.to_le_bytes().as_slice()].concat();
        let at = |number: u8| vec![number << 3, 0xe8, 7];
        let sample = field(2, &[double(1, 1.5), at(2)].concat());
        let exemplar = field(3, &[pair("trace_id", "x"), double(2, 0.5), at(3)].concat());
        let histogram =
            field(4, &[&[0x08, 3], double(3, 4.5).as_slice(), &[0x20, 6, 0x5a, 4, 8, 0, 16, 2, 0x62, 2, 4, 4], &at(15)].concat());
        let series = [pair("__name__", "up"), pair("job", "node"), sample, exemplar, histogram].concat();
        let metadata = field(3, &[&[8, 1], field(2, b"up").as_slice(), &field(4, b"Helps.")].concat());
        [field(1, &series), metadata].concat()
    }

    #[test]
    fn no_body_breaks_it() {
        let store = crate::storage::fuzz::open(&MemoryDisk::new()).expect("opens");
        let compress = |bytes: &[u8]| snap::raw::Encoder::new().compress_vec(bytes).expect("compresses");
        let receive = |body: &[u8]| receive(body, 1 << 20, &store, Durability::Synced);
        assert!(receive(&compress(&message())).is_ok_and(|done| done.stored == 2));
        crate::env::fuzz::replay("remote_write", &[message(), compress(&message())], 1500, |bytes| {
            let _as_it_is = receive(bytes);
            let _message = receive(&compress(bytes));
        });
    }
}
