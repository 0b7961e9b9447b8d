//! What goes into a file's forms comes out again: those forms that have no property of their own beside their code.

use crate::model::exemplar::Exemplar;
use crate::model::histogram::FloatHistogram;
use crate::model::labels::Labels;
use crate::model::metadata::{Metadata, MetricType};
use crate::storage::append::{GroupId, SeriesId};
use crate::storage::block::footer::{Header, Section, decode_footer, encode_footer, footer_len};
use crate::storage::block::page::{COLUMNS_MAX, PageBuilder, read_page};
use crate::storage::block::tombstones::Tombstones;
use crate::storage::block::ulid::Ulid;
use crate::storage::column::encode::{Coding, encode};
use crate::storage::column::packed::Decoded;
use crate::storage::column::varint::ByteReader;
use crate::storage::head::points::Point;
use crate::storage::wal::Position;
use crate::storage::wal::names::{Entry, put_group, put_layout, put_series_entry, put_symbol, read_entry};
use crate::storage::wal::record::{
    put_exemplars, put_histograms, put_metadata, put_samples, read_exemplars, read_histograms, read_metadata, read_samples,
};
use crate::storage::wal::segment::{End, LOG_MAGIC, Records, header, put_record};
use proptest::collection::vec;
use proptest::prelude::*;
use std::sync::Arc;

const TIME: std::ops::Range<i64> = -(1 << 52)..1 << 52;

fn record(put: &dyn Fn(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut out);
    out
}

proptest! {
    #[test]
    fn names_come_back(
        symbols in vec((any::<u32>(), ".{0,12}"), 0..6),
        series in vec((any::<u32>(), vec((any::<u32>(), any::<u32>()), 0..6)), 0..6),
        layout in vec(0_u32..1000, 0..40),
        kept in 0_usize..1000,
        version: u32,
    ) {
        let mut bytes = Vec::new();
        symbols.iter().for_each(|(number, text)| put_symbol(&mut bytes, *number, text));
        series.iter().for_each(|(number, pairs)| put_series_entry(&mut bytes, SeriesId(*number), pairs));
        put_group(&mut bytes, GroupId(version), "a group");
        let layout: Vec<SeriesId> = layout.into_iter().map(SeriesId).collect();
        put_layout(&mut bytes, GroupId(7), version, kept, &layout);
        let mut reader = ByteReader::new(&bytes);
        for (number, text) in &symbols {
            prop_assert_eq!(read_entry(&mut reader), Some(Entry::Symbol(*number, text)));
        }
        for (number, pairs) in series {
            let Some(Entry::Series(id, read)) = read_entry(&mut reader) else { return Err(TestCaseError::fail("not a series")) };
            prop_assert_eq!((id, read.iter().collect::<Vec<_>>()), (SeriesId(number), pairs));
        }
        prop_assert_eq!(read_entry(&mut reader), Some(Entry::Group(GroupId(version), "a group")));
        prop_assert_eq!(read_entry(&mut reader), Some(Entry::Layout(GroupId(7), version, kept, layout)));
        prop_assert!(reader.is_empty());
    }

    #[test]
    fn payloads_of_the_log_come_back(
        points in vec((any::<u32>(), TIME, any::<u64>()), 0..30),
        sums in vec((any::<u32>(), TIME, -1e9_f64..1e9), 0..5),
        exemplars in vec((TIME, -1e9_f64..1e9, "[a-z]{0,8}"), 0..5),
        help in ".{0,20}",
    ) {
        let points: Vec<Point> = points.into_iter().map(|(series, at_ms, bits)| Point { series: SeriesId(series), at_ms, value: f64::from_bits(bits) }).collect();
        let bits = |points: &[Point]| points.iter().map(|point| (point.series, point.at_ms, point.value.to_bits())).collect::<Vec<_>>();
        let read = read_samples(&mut ByteReader::new(&record(&|out| put_samples(out, &points))[1..]));
        prop_assert_eq!(read.map(|read| bits(&read)), Some(bits(&points)));

        let histograms: Vec<_> = sums.into_iter().map(|(series, at_ms, sum)| {
            (SeriesId(series), at_ms, Arc::new(FloatHistogram { sum, count: 3.0, ..FloatHistogram::default() }))
        }).collect();
        prop_assert_eq!(read_histograms(&mut ByteReader::new(&record(&|out| put_histograms(out, &histograms))[1..])), Some(histograms));

        let exemplars: Vec<Exemplar> = exemplars.into_iter().map(|(at_ms, value, id)| {
            Exemplar { labels: Labels::from_pairs([("trace_id", id.as_str())]), value, at_ms: Some(at_ms) }
        }).collect();
        prop_assert_eq!(read_exemplars(&mut ByteReader::new(&record(&|out| put_exemplars(out, SeriesId(9), &exemplars))[1..])), Some((SeriesId(9), exemplars)));

        let metadata = Metadata { metric_type: MetricType::Summary, help, unit: "bytes".to_owned() };
        let bytes = record(&|out| put_metadata(out, "up", &metadata));
        prop_assert_eq!(read_metadata(&mut ByteReader::new(&bytes[1..])), Some(("up", metadata)));
    }

    /// Wherever a file of records breaks off, what is before is read and the rest is a torn end.
    #[test]
    fn records_come_back_up_to_any_cut(bodies in vec((1_u8..=16, vec(any::<u8>(), 0..30)), 0..6), number: u64, cut in 0_usize..400) {
        let mut file = header(LOG_MAGIC, number, 5).to_vec();
        let mut ends = vec![file.len()];
        for (kind, payload) in &bodies {
            put_record(&mut file, number, &[std::slice::from_ref(kind), payload].concat());
            ends.push(file.len());
        }
        let cut = (32 + cut).min(file.len());
        let mut records = Records::new(&file[..cut], number);
        let found: Vec<(u8, Vec<u8>)> = records.by_ref().map(|record| (record.kind, record.payload.to_vec())).collect();
        let whole = ends.iter().rposition(|end| *end <= cut).unwrap_or(0);
        prop_assert_eq!(&found, &bodies[..whole]);
        let expected = if ends[whole] == cut { End::Clean } else { End::Torn(ends[whole] as u64) };
        prop_assert_eq!(records.end(), expected);
    }

    #[test]
    fn headers_and_footers_come_back(
        ulid: u128, overlap: bool, min_ms: i64, max_ms: i64, samples: u64, series: u32, columns: u32, pages: u32, level: u8,
        segment: u64, sections in vec((any::<[u8; 4]>(), any::<u32>(), any::<u64>(), any::<u64>()), 0..8), bit in 0_usize..1024,
    ) {
        let position = Position { segment, offset: samples };
        let version = Header::VERSION;
        let header = Header { version, ulid: Ulid(ulid), overlap, min_ms, max_ms, samples, series, columns, pages, level, created_ms: min_ms, position };
        let mut bytes = header.encode();
        prop_assert_eq!(Header::decode(&bytes), Ok(header));
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(Header::decode(&bytes).is_err());
        let sections: Vec<Section> = sections.into_iter().map(|(tag, crc, offset, length)| Section { tag, crc, offset, length }).collect();
        let bytes = encode_footer(&sections);
        prop_assert_eq!(footer_len(&bytes), Some(bytes.len()));
        prop_assert_eq!(decode_footer(&bytes), Some(sections));
    }

    #[test]
    fn tombstones_come_back(ranges in vec((0_u32..5, -100_i64..100, 0_i64..50), 0..40)) {
        let mut tombstones = Tombstones::default();
        for (place, from_ms, length) in &ranges {
            tombstones.add(*place, *from_ms, from_ms + length);
        }
        for (place, from_ms, length) in &ranges {
            let list = tombstones.of(*place);
            prop_assert!(list.iter().any(|(from, to)| from <= from_ms && *to >= from_ms + length));
            prop_assert!(list.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0));
        }
        prop_assert_eq!(Tombstones::decode(&tombstones.encode()), Some(tombstones));
    }

    #[test]
    fn pages_come_back(columns in vec(vec(prop_oneof![Just(1.0), 0.0..100.0, any::<f64>()], 1..60), 1..12), compress: bool, dense: bool) {
        let coding = if dense { Coding::Dense } else { Coding::Packed };
        let mut builder = PageBuilder::default();
        let places: Vec<u16> = columns.iter().map(|values| builder.push(encode(values, coding))).collect();
        prop_assert!(builder.columns() <= COLUMNS_MAX);
        let mut bytes = Vec::new();
        builder.finish(compress, &mut bytes);
        let page = read_page(&bytes).expect("reads");
        for (place, values) in places.into_iter().zip(&columns) {
            let head = page.head(place).expect("a head");
            let Some(Decoded::Floats(found)) = head.decode(page.payloads(), values.len()) else { panic!("no floats") };
            prop_assert!(values.iter().enumerate().all(|(i, value)| found.at(i).to_bits() == value.to_bits()));
        }
    }
}
