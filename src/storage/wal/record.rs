//! Records of the log: kinds and payloads. Framing is in `segment`.

use crate::storage::append::SeriesId;
use crate::storage::column::varint::{ByteReader, put_signed, put_varint};
use crate::storage::head::points::Point;

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

/// Returns a record of samples.
pub(crate) fn put_samples(points: &[Point]) -> Vec<u8> {
    let mut out = Vec::with_capacity(points.len() * 16 + 8);
    out.push(Kind::Samples as u8);
    put_varint(&mut out, points.len() as u64);
    let mut last_ms = 0;
    for point in points {
        put_varint(&mut out, u64::from(point.series.0));
        put_signed(&mut out, point.at_ms - last_ms);
        out.extend_from_slice(&point.value.to_bits().to_le_bytes());
        last_ms = point.at_ms;
    }
    out
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
