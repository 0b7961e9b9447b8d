//! Remote-Write 1.0: `prometheus.WriteRequest`, decoded by hand on borrowed slices.

use super::messages;
use super::receive::{ReceivedSeries, Request};
use crate::model::protobuf::{Fields, Malformed};

/// Reads a request.
pub(super) fn read(message: &[u8]) -> Result<Request<'_>, Malformed> {
    let mut request = Request::default();
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => time_series(&mut request, field.bytes()?)?,
            3 => request.metadata.push(messages::metadata(field.bytes()?)?),
            _ => {}
        }
    }
    Ok(request)
}

fn time_series<'a>(request: &mut Request<'a>, message: &'a [u8]) -> Result<(), Malformed> {
    let from = request.samples.len();
    let place = request.series.len();
    let mut fields = Fields::new(message);
    fields.skip_labels()?;
    let mut encoded = fields.read_of(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            // Labels behind the samples: they must be gathered.
            1 => encoded = &[],
            2 => request.samples.push(messages::sample(field.bytes()?)?),
            3 => request.exemplars.push((place, messages::exemplar(field.bytes()?)?)),
            4 => {
                let (at_ms, histogram) = messages::histogram(field.bytes()?)?;
                request.histograms.push((place, at_ms, histogram));
            }
            _ => {}
        }
    }
    request.series.push(ReceivedSeries { message, encoded, samples: from..request.samples.len(), flaw: None });
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::env::Env;
    use crate::env::memory_disk::MemoryDisk;
    use crate::model::limits;
    use crate::remote::receive::{AHEAD_MAX_MS, Received, Version, WriteError};
    use crate::storage::append::Durability;
    use crate::storage::{Store, StoreOptions};
    use crate::telemetry::metrics::Registry;
    use std::sync::Arc;

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
        crate::remote::receive::receive(Version::V1, &body, 1 << 20, 0, store, Durability::Written)
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
        let receive = |body: &[u8]| crate::remote::receive::receive(Version::V1, body, 1 << 20, 0, &store, Durability::Synced);
        assert!(receive(&compress(&message())).is_ok_and(|received| received.appended.stored == 2));
        crate::env::fuzz::replay("remote_write", &[message(), compress(&message())], 1500, |bytes| {
            let _as_it_is = receive(bytes);
            let _message = receive(&compress(bytes));
        });
    }
}
