//! Remote-Write 2.0: `io.prometheus.write.v2.Request`, decoded by hand. Texts are symbols, told once; each series brings type,
//! help and unit of its metric, and since when it counts.
//!
//! The labels of each series are written in the form of version 1, by which the store knows them. The specification's release
//! candidates had one start timestamp for a series; now each sample has its own. Both are read.

use super::messages;
use super::receive::{Gathered, Request};
use crate::model::exemplar::Exemplar;
use crate::model::labels::LabelsBuilder;
use crate::model::metadata::{Metadata, MetricType};
use crate::model::protobuf::{Field, Fields, Malformed};

const NO_SYMBOL: Malformed = Malformed("a reference names no symbol");

/// Texts by number.
struct Symbols<'a>(Vec<&'a str>);

impl<'a> Symbols<'a> {
    fn get(&self, reference: u64) -> Result<&'a str, Malformed> {
        usize::try_from(reference).ok().and_then(|place| self.0.get(place)).copied().ok_or(NO_SYMBOL)
    }

    /// Returns names and values of a list of references.
    fn pairs(&self, references: &[u64]) -> Result<Vec<(&'a str, &'a str)>, Malformed> {
        let (pairs, []) = references.as_chunks::<2>() else {
            return Err(Malformed("an odd number of references to labels"));
        };
        pairs.iter().map(|[name, value]| Ok((self.get(*name)?, self.get(*value)?))).collect()
    }
}

/// Reads a request.
pub(super) fn read(message: &[u8]) -> Result<Gathered, Malformed> {
    let mut symbols = Symbols(Vec::new());
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.next()? {
        if number == 4 {
            symbols.0.push(field.text()?);
        }
    }
    if symbols.0.first().is_some_and(|first| !first.is_empty()) {
        return Err(Malformed("the first symbol is not empty"));
    }
    let mut gathered = Gathered::default();
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.next()? {
        if number == 5 {
            time_series(&mut gathered, field.bytes()?, &symbols)?;
        }
    }
    Ok(gathered)
}

/// Adds the numbers of a repeated field, packed or single.
fn push_numbers(field: Field<'_>, into: &mut Vec<u64>) -> Result<(), Malformed> {
    if let Field::Bytes(packed) = field {
        let mut numbers = Fields::new(packed);
        while !numbers.is_empty() {
            into.push(numbers.varint()?);
        }
    } else {
        into.push(field.number());
    }
    Ok(())
}

fn time_series(gathered: &mut Gathered, message: &[u8], symbols: &Symbols<'_>) -> Result<(), Malformed> {
    let place = gathered.place();
    let request = &mut gathered.rest;
    let (samples_from, histograms_from) = (request.samples.len(), request.histograms.len());
    let mut references = Vec::new();
    let (mut starts, mut start_ms, mut metadata) = (Vec::new(), 0, None);
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => push_numbers(field, &mut references)?,
            2 => {
                let message = field.bytes()?;
                let (at_ms, value) = messages::sample(message)?;
                request.samples.push((at_ms, value));
                starts.push((at_ms, number_of(message, 3)?));
            }
            3 => {
                let message = field.bytes()?;
                let (at_ms, histogram) = messages::histogram(message)?;
                request.histograms.push((place, at_ms, histogram));
                starts.push((at_ms, number_of(message, 17)?));
            }
            4 => request.exemplars.push((place, exemplar(field.bytes()?, symbols)?)),
            5 => metadata = Some(read_metadata(field.bytes()?, symbols)?),
            6 => start_ms = field.number() as i64,
            _ => {}
        }
    }
    let pairs = symbols.pairs(&references)?;
    let own_start = |(at_ms, own_ms): (i64, i64)| (place, at_ms, if own_ms == 0 { start_ms } else { own_ms });
    request.starts.extend(starts.into_iter().map(own_start).filter(|(_, _, start_ms)| *start_ms != 0));
    let name = pairs.iter().find(|(name, _)| *name == "__name__").map_or("", |(_, value)| *value);
    note_metadata(request, name, metadata);
    let flaw = match (request.samples.len() - samples_from, request.histograms.len() - histograms_from) {
        (0, 0) => Some("a series must have at least one sample or histogram"),
        (1.., 1..) => Some("a series must have samples or histograms, not both"),
        _ => None,
    };
    gathered.series(pairs.into_iter(), samples_from, flaw);
    Ok(())
}

/// Returns a whole number of a message; 0 where it is not there.
fn number_of(message: &[u8], wanted: u64) -> Result<i64, Malformed> {
    let mut found = 0;
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.next()? {
        if number == wanted {
            found = field.number() as i64;
        }
    }
    Ok(found)
}

fn exemplar(message: &[u8], symbols: &Symbols<'_>) -> Result<Exemplar, Malformed> {
    let (mut references, mut value, mut at_ms) = (Vec::new(), 0.0, 0);
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => push_numbers(field, &mut references)?,
            2 => value = field.float(),
            3 => at_ms = field.number() as i64,
            _ => {}
        }
    }
    let mut labels = LabelsBuilder::new();
    for (name, value) in symbols.pairs(&references)? {
        labels.set(name, value);
    }
    Ok(Exemplar { labels: labels.build(), value, at_ms: Some(at_ms) })
}

fn read_metadata(message: &[u8], symbols: &Symbols<'_>) -> Result<Metadata, Malformed> {
    let mut found = Metadata::default();
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => found.metric_type = messages::metric_type(field.number()),
            3 => symbols.get(field.number())?.clone_into(&mut found.help),
            4 => symbols.get(field.number())?.clone_into(&mut found.unit),
            _ => {}
        }
    }
    Ok(found)
}

/// Notes what a series says of its metric: that of the family, whose name its parts carry with an ending.
fn note_metadata(request: &mut Request<'_>, name: &str, metadata: Option<Metadata>) {
    let Some(metadata) = metadata.filter(|metadata| *metadata != Metadata::default() && !name.is_empty()) else { return };
    let endings: &[&str] = match metadata.metric_type {
        MetricType::Histogram | MetricType::GaugeHistogram => &["_bucket", "_count", "_sum"],
        MetricType::Summary => &["_count", "_sum"],
        _ => &[],
    };
    let family = endings.iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name);
    // Series of one metric follow each other.
    if request.metadata.last().is_none_or(|(known, of_known)| known != family || *of_known != metadata) {
        request.metadata.push((family.to_owned(), metadata));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::Env;
    use crate::env::memory_disk::MemoryDisk;
    use crate::model::matcher::Matcher;
    use crate::model::protobuf::{put_bytes, put_float, put_number, put_signed, put_varint};
    use crate::model::sample::Value;
    use crate::remote::receive::{Received, Version, WriteError, receive};
    use crate::storage::append::Durability;
    use crate::storage::select::{Hints, Querier as _, SeriesSamples, TimeRange};
    use crate::storage::{Store, StoreOptions};
    use crate::telemetry::metrics::Registry;
    use std::sync::Arc;

    /// Writes a message.
    fn made(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out);
        out
    }

    fn packed(field: u64, references: &[u64]) -> Vec<u8> {
        let numbers = made(|out| references.iter().for_each(|one| put_varint(out, *one)));
        made(|out| put_bytes(out, field, &numbers))
    }

    fn sample(at_ms: u64, value: f64, start_ms: u64) -> Vec<u8> {
        let sample = made(|out| {
            put_float(out, 1, value);
            put_number(out, 2, at_ms);
            if start_ms != 0 {
                put_number(out, 3, start_ms);
            }
        });
        made(|out| put_bytes(out, 2, &sample))
    }

    fn histogram(at_ms: u64, start_ms: u64) -> Vec<u8> {
        let span = made(|out| {
            put_signed(out, 1, 0);
            put_number(out, 2, 2);
        });
        let histogram = made(|out| {
            put_number(out, 1, 6);
            put_float(out, 3, 4.5);
            put_signed(out, 4, 3);
            put_bytes(out, 11, &span);
            put_signed(out, 12, 2);
            put_signed(out, 12, 2);
            put_number(out, 15, at_ms);
            put_number(out, 17, start_ms);
        });
        made(|out| put_bytes(out, 3, &histogram))
    }

    fn metadata(kind: u64, help: u64, unit: u64) -> Vec<u8> {
        let metadata = made(|out| {
            put_number(out, 1, kind);
            put_number(out, 3, help);
            put_number(out, 4, unit);
        });
        made(|out| put_bytes(out, 5, &metadata))
    }

    const SYMBOLS: [&str; 12] =
        ["", "__name__", "requests_total", "job", "a", "latency_bucket", "le", "1", "Counts.", "seconds", "trace_id", "x"];

    fn request(symbols: &[&str], series: &[Vec<Vec<u8>>]) -> Vec<u8> {
        made(|out| {
            // Symbols may come behind what names them.
            series.iter().for_each(|parts| put_bytes(out, 5, &parts.concat()));
            symbols.iter().for_each(|symbol| put_bytes(out, 4, symbol.as_bytes()));
        })
    }

    fn store() -> Store {
        let env = Env { disk: Arc::new(MemoryDisk::new()), ..Env::real() };
        Store::open(&env, StoreOptions { retention_ms: 0, ..StoreOptions::default() }, &Registry::new()).expect("opens")
    }

    fn send(store: &Store, message: &[u8]) -> Result<Received, WriteError> {
        let body = snap::raw::Encoder::new().compress_vec(message).expect("packs");
        receive(Version::V2, &body, 1 << 20, 0, store, Durability::Written)
    }

    fn read(store: &Store, metric: &str) -> Vec<(String, SeriesSamples)> {
        let range = TimeRange { start_ms: 0, end_ms: 1 << 40 };
        let hints = Hints { sorted: true, ..Hints::default() };
        let selection = store.select(&[Matcher::equal("__name__", metric)], range, &hints).expect("selects");
        let read = selection.reader.read(0..selection.series.len()).expect("reads");
        selection.series.iter().map(|one| one.labels.to_string()).zip(read).collect()
    }

    #[test]
    fn what_is_sent_is_there() {
        let store = store();
        let exemplar = made(|out| {
            out.extend(packed(1, &[10, 11]));
            put_float(out, 2, 0.5);
            put_number(out, 3, 2_000);
        });
        let exemplar = made(|out| put_bytes(out, 4, &exemplar));
        let message = request(
            &SYMBOLS,
            &[
                vec![packed(1, &[1, 2, 3, 4]), sample(1_000, 1.0, 500), sample(2_000, 2.0, 500), exemplar, metadata(1, 8, 0)],
                // The form of the release candidates: one start for the series.
                vec![packed(1, &[1, 5, 6, 7]), sample(1_000, 3.0, 0), metadata(3, 8, 9), made(|out| put_number(out, 6, 700))],
                vec![packed(1, &[1, 9, 3, 4]), histogram(1_000, 900)],
            ],
        );
        let received = send(&store, &message).expect("stored");
        assert_eq!((received.floats, received.histograms, received.exemplars), (3, 1, 1));
        assert_eq!(received.complaint, None);
        let counters = read(&store, "requests_total");
        assert_eq!(counters[0].0, r#"{__name__="requests_total", job="a"}"#);
        assert_eq!((counters[0].1.float(1), counters[0].1.starts.as_deref()), (Some(2.0), Some(&[500, 500][..])));
        assert_eq!(read(&store, "latency_bucket")[0].1.starts.as_deref(), Some(&[700][..]));
        let histograms = read(&store, "seconds");
        assert_eq!(histograms[0].1.histogram(0).map(|one| (one.count, one.schema)), Some((6.0, 3)));
        assert_eq!(histograms[0].1.starts.as_deref(), Some(&[900][..]));
        let known = store.metadata(None);
        assert_eq!(known["requests_total"][0].metric_type, MetricType::Counter);
        let family = Metadata { metric_type: MetricType::Histogram, help: "Counts.".to_owned(), unit: "seconds".to_owned() };
        assert_eq!(known["latency"], [family]);
        let range = TimeRange { start_ms: 0, end_ms: 5_000 };
        let exemplars = store.exemplars(&[vec![Matcher::equal("__name__", "requests_total")]], range).expect("found");
        assert_eq!(exemplars[0].1[0].labels.to_string(), r#"{trace_id="x"}"#);
    }

    #[test]
    fn what_names_no_symbol_changes_nothing() {
        let store = store();
        let good = vec![packed(1, &[1, 2]), sample(1_000, 1.0, 0)];
        let bad = [
            (vec![packed(1, &[1, 12]), sample(1_000, 1.0, 0)], "names no symbol"),
            (vec![packed(1, &[1, u64::MAX]), sample(1_000, 1.0, 0)], "names no symbol"),
            (vec![packed(1, &[1, 2, 3]), sample(1_000, 1.0, 0)], "odd number"),
            (vec![packed(1, &[1, 2]), sample(1_000, 1.0, 0), metadata(1, 99, 0)], "names no symbol"),
        ];
        for (series, words) in bad {
            let error = send(&store, &request(&SYMBOLS, &[good.clone(), series])).expect_err(words).to_string();
            assert!(error.contains(words), "{error}");
        }
        let error = send(&store, &request(&SYMBOLS[1..], std::slice::from_ref(&good))).expect_err("refused").to_string();
        assert_eq!(error, "the first symbol is not empty");
        assert_eq!(store.stats().series, 0);
        // A message of version 1 has nothing that this one knows.
        let other = made(|out| put_bytes(out, 1, &packed(1, &[1])));
        assert_eq!(send(&store, &other).expect("empty"), Received::default());
    }

    #[test]
    fn a_series_that_is_none_does_not_keep_out_the_others() {
        let store = store();
        let good = |at: u64| vec![packed(1, &[1, 2, 3, 4]), sample(at, 1.0, 0)];
        let bad = [
            (vec![packed(1, &[1, 2])], 0, "at least one sample or histogram"),
            (vec![packed(1, &[1, 2]), sample(9, 1.0, 0), histogram(9, 0)], 2, "not both"),
            (vec![packed(1, &[3, 4]), sample(9, 1.0, 0)], 1, "missing metric name"),
            (vec![packed(1, &[1, 2, 3, 4, 3, 7]), sample(9, 1.0, 0)], 1, "not unique"),
        ];
        for (at, (series, left_out, words)) in (1..).zip(bad) {
            let received = send(&store, &request(&SYMBOLS, &[series, good(at)])).expect("readable");
            assert_eq!((received.floats, received.invalid_labels), (1, left_out), "{words}");
            let complaint = received.complaint.expect(words);
            assert!(complaint.contains(words), "{complaint}");
        }
        assert_eq!((store.stats().series, store.stats().head_samples), (1, 4));
        // Labels in any order, and an empty one, are the same series.
        let shuffled = vec![packed(1, &[3, 4, 6, 0, 1, 2]), sample(9, 1.0, 0)];
        send(&store, &request(&SYMBOLS, &[shuffled])).expect("stored");
        assert_eq!((store.stats().series, store.stats().head_samples), (1, 5));
        let other_value = request(&SYMBOLS, &[vec![packed(1, &[1, 2, 3, 4]), sample(9, 2.0, 0)]]);
        let received = send(&store, &other_value).expect("readable");
        assert_eq!((received.floats, received.complaint.as_deref()), (0, Some("duplicate sample for timestamp")));
        assert!(matches!(read(&store, "requests_total")[0].1.float(4), Some(value) if Value::Float(value) == Value::Float(1.0)));
    }

    #[test]
    fn no_body_breaks_it() {
        let store = crate::storage::fuzz::open(&MemoryDisk::new()).expect("opens");
        let message = request(
            &SYMBOLS,
            &[
                vec![packed(1, &[1, 2, 3, 4]), sample(1_000, 1.0, 500), metadata(1, 8, 9)],
                vec![packed(1, &[1, 9]), histogram(1_000, 900)],
            ],
        );
        let pack = |bytes: &[u8]| snap::raw::Encoder::new().compress_vec(bytes).expect("packs");
        crate::env::fuzz::replay("remote_write_2", &[message], 1500, |bytes| {
            let _message = receive(Version::V2, &pack(bytes), 1 << 20, 0, &store, Durability::Synced);
        });
    }
}
