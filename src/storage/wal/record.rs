//! Records of the log: kinds and payloads. Framing is in `segment`.

use crate::model::exemplar::Exemplar;
use crate::model::histogram::FloatHistogram;
use crate::model::labels::Labels;
use crate::model::metadata::Metadata;
use crate::storage::append::SeriesId;
use crate::storage::column::histogram::{put_histogram, read_histogram};
use crate::storage::column::varint::{ByteReader, put_signed, put_text, put_varint};
use crate::storage::head::points::Point;
use crate::storage::head::starts::StartStep;
use crate::storage::metadata::{type_number, type_of};
use std::sync::Arc;

/// The first byte of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A row: group, layout, time, bitmap of changed places, tokens.
    Row = 1,
    /// Samples that fit no row, late ones among them.
    Samples = 2,
    /// A cut: everything before it and older than its end is in blocks.
    Cut = 3,
    /// A deletion.
    Delete = 4,
    /// Native histograms.
    Histogram = 5,
    /// Exemplars.
    Exemplar = 6,
    /// Metadata of a metric family.
    Metadata = 7,
    /// Start timestamps.
    Start = 8,
    /// Some columns of a row of a learned group: group, layout, time, runs of places, bitmap, tokens.
    PartialRow = 9,
}

impl Kind {
    /// Reads a kind.
    pub(crate) const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Row,
            2 => Self::Samples,
            3 => Self::Cut,
            4 => Self::Delete,
            5 => Self::Histogram,
            6 => Self::Exemplar,
            7 => Self::Metadata,
            8 => Self::Start,
            9 => Self::PartialRow,
            _ => return None,
        })
    }
}

/// Appends a record of samples.
pub(crate) fn put_samples(out: &mut Vec<u8>, points: &[Point]) {
    out.reserve(points.len() * 16 + 8);
    out.push(Kind::Samples as u8);
    put_varint(out, points.len() as u64);
    let mut last_ms = 0;
    for point in points {
        put_varint(out, u64::from(point.series.0));
        put_signed(out, point.at_ms - last_ms);
        out.extend_from_slice(&point.value.to_bits().to_le_bytes());
        last_ms = point.at_ms;
    }
}

/// Reads the payload of [`put_samples`].
pub(crate) fn read_samples(payload: &mut ByteReader<'_>) -> Option<Vec<Point>> {
    let count = payload.count(10)?;
    let mut points = Vec::with_capacity(count);
    let mut at_ms = 0_i64;
    for _ in 0..count {
        let series = SeriesId(payload.varint_u32()?);
        at_ms = at_ms.checked_add(payload.signed()?)?;
        points.push(Point { series, at_ms, value: f64::from_bits(payload.u64()?) });
    }
    Some(points)
}

/// One histogram and where it belongs.
pub(crate) type HistogramPoint = (SeriesId, i64, Arc<FloatHistogram>);

/// Appends a record of native histograms.
pub(crate) fn put_histograms(out: &mut Vec<u8>, points: &[HistogramPoint]) {
    out.push(Kind::Histogram as u8);
    put_varint(out, points.len() as u64);
    let mut last_ms = 0;
    for (series, at_ms, histogram) in points {
        put_varint(out, u64::from(series.0));
        put_signed(out, at_ms - last_ms);
        put_histogram(out, histogram);
        last_ms = *at_ms;
    }
}

/// Reads the payload of [`put_histograms`].
pub(crate) fn read_histograms(payload: &mut ByteReader<'_>) -> Option<Vec<HistogramPoint>> {
    let count = payload.count(12)?;
    let mut at_ms = 0_i64;
    let mut one = || {
        let series = SeriesId(payload.varint_u32()?);
        at_ms = at_ms.checked_add(payload.signed()?)?;
        Some((series, at_ms, Arc::new(read_histogram(payload)?)))
    };
    (0..count).map(|_| one()).collect()
}

/// Appends a record of one series' exemplars.
pub(crate) fn put_exemplars(out: &mut Vec<u8>, series: SeriesId, exemplars: &[Exemplar]) {
    out.push(Kind::Exemplar as u8);
    put_varint(out, u64::from(series.0));
    put_varint(out, exemplars.len() as u64);
    for exemplar in exemplars {
        put_signed(out, exemplar.at_ms.unwrap_or(0));
        out.extend_from_slice(&exemplar.value.to_bits().to_le_bytes());
        put_varint(out, exemplar.labels.len() as u64);
        for (name, value) in &exemplar.labels {
            put_text(out, name);
            put_text(out, value);
        }
    }
}

/// Reads the payload of [`put_exemplars`].
pub(crate) fn read_exemplars(payload: &mut ByteReader<'_>) -> Option<(SeriesId, Vec<Exemplar>)> {
    let series = SeriesId(payload.varint_u32()?);
    let count = payload.count(10)?;
    let mut exemplars = Vec::with_capacity(count);
    for _ in 0..count {
        let at_ms = payload.signed()?;
        let value = f64::from_bits(payload.u64()?);
        let labels = payload.count(2)?;
        let pairs: Vec<_> = (0..labels).map(|_| Some((payload.text()?, payload.text()?))).collect::<Option<_>>()?;
        exemplars.push(Exemplar { labels: Labels::from_pairs(pairs), value, at_ms: Some(at_ms) });
    }
    Some((series, exemplars))
}

/// Appends a record of one series' start timestamps.
pub(crate) fn put_starts(out: &mut Vec<u8>, series: SeriesId, steps: &[StartStep]) {
    out.push(Kind::Start as u8);
    put_varint(out, u64::from(series.0));
    put_varint(out, steps.len() as u64);
    for (at_ms, start_ms) in steps {
        put_signed(out, *at_ms);
        put_signed(out, *start_ms);
    }
}

/// Reads the payload of [`put_starts`].
pub(crate) fn read_starts(payload: &mut ByteReader<'_>) -> Option<(SeriesId, Vec<StartStep>)> {
    let series = SeriesId(payload.varint_u32()?);
    let count = payload.count(2)?;
    let steps = (0..count).map(|_| Some((payload.signed()?, payload.signed()?))).collect::<Option<_>>()?;
    Some((series, steps))
}

/// Appends a record of one family's metadata.
pub(crate) fn put_metadata(out: &mut Vec<u8>, metric: &str, metadata: &Metadata) {
    out.push(Kind::Metadata as u8);
    put_text(out, metric);
    out.push(type_number(metadata.metric_type));
    put_text(out, &metadata.help);
    put_text(out, &metadata.unit);
}

/// Reads the payload of [`put_metadata`].
pub(crate) fn read_metadata<'a>(payload: &mut ByteReader<'a>) -> Option<(&'a str, Metadata)> {
    let metric = payload.text()?;
    let metric_type = type_of(payload.u8()?)?;
    let (help, unit) = (payload.text()?.to_owned(), payload.text()?.to_owned());
    Some((metric, Metadata { metric_type, help, unit }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::metadata::MetricType;
    use crate::model::sample::stale_nan;

    #[test]
    fn payloads_come_back() {
        let points = [(300, 1_700_000_000_000, 1.5), (2, 1_700_000_000_000, f64::INFINITY), (3, -5, stale_nan())]
            .map(|(series, at_ms, value)| Point { series: SeriesId(series), at_ms, value });
        let mut bytes = Vec::new();
        put_samples(&mut bytes, &points);
        let read = read_samples(&mut ByteReader::new(&bytes[1..])).expect("reads");
        let flat = |points: &[Point]| points.iter().map(|p| (p.series, p.at_ms, p.value.to_bits())).collect::<Vec<_>>();
        assert_eq!(flat(&read), flat(&points));

        let exemplar = Exemplar { labels: Labels::from_pairs([("trace_id", "abc")]), value: 0.5, at_ms: Some(77) };
        let mut bytes = Vec::new();
        put_exemplars(&mut bytes, SeriesId(9), std::slice::from_ref(&exemplar));
        assert_eq!(read_exemplars(&mut ByteReader::new(&bytes[1..])), Some((SeriesId(9), vec![exemplar])));

        let steps = [(1_700_000_000_000, 1_600_000_000_000), (1_700_000_000_500, 0)];
        let mut bytes = Vec::new();
        put_starts(&mut bytes, SeriesId(9), &steps);
        assert_eq!(read_starts(&mut ByteReader::new(&bytes[1..])), Some((SeriesId(9), steps.to_vec())));

        let metadata = Metadata { metric_type: MetricType::Counter, help: "Helps.".to_owned(), unit: "seconds".to_owned() };
        let mut bytes = Vec::new();
        put_metadata(&mut bytes, "up", &metadata);
        assert_eq!(read_metadata(&mut ByteReader::new(&bytes[1..])), Some(("up", metadata)));

        let histogram = Arc::new(FloatHistogram { count: 3.0, sum: 1.25, ..FloatHistogram::default() });
        let points = [(SeriesId(1), 50, Arc::clone(&histogram)), (SeriesId(2), 40, histogram)];
        let mut bytes = Vec::new();
        put_histograms(&mut bytes, &points);
        assert_eq!(read_histograms(&mut ByteReader::new(&bytes[1..])).as_deref(), Some(points.as_slice()));
    }

    #[test]
    fn golden_samples() {
        let mut bytes = Vec::new();
        put_samples(&mut bytes, &[Point { series: SeriesId(1), at_ms: 3, value: 1.0 }]);
        assert_eq!(bytes, [2, 1, 1, 6, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f]);
    }
}
