//! Files of records: how they are framed, and how a damaged one is read.
//!
//! ```text
//! header 32 bytes   magic 8 | version u32 | number u64 | created ms i64 | crc u32 of the 28 bytes before
//! record            length u32 | crc u32 | kind u8 | payload
//! ```
//!
//! The length counts kind and payload. The crc (CRC-32C) begins with the file's number and takes in the length, so that a
//! record of another file, or a length that was damaged, is never believed. A file whose end is torn is cut there; a file
//! with a bad record before good ones lost something in its middle, which is said to the caller.

use crate::storage::column::varint::ByteReader;
use std::ops::Range;

/// Magic of the log's segments.
pub(crate) const LOG_MAGIC: [u8; 8] = *b"WKWAL\0\0\x01";
/// Magic of the names log.
pub(crate) const NAMES_MAGIC: [u8; 8] = *b"WKNAMES\x01";

/// Returns the version of a kind of file, by its magic. Older ones are read: segments of version 1 have rows of
/// whole bytes.
pub(crate) const fn version_of(magic: [u8; 8]) -> u32 {
    if magic[2] == LOG_MAGIC[2] { 2 } else { 1 }
}

/// Length of the header.
pub(crate) const HEADER_BYTES: usize = 32;
/// Length of a frame around kind and payload.
pub(crate) const FRAME_BYTES: usize = 8;
/// No record is longer; a longer length is damage.
const RECORD_MAX: usize = 1 << 30;
/// No kind of record is higher.
pub(super) const KIND_MAX: u8 = 16;

/// Returns the header of a file.
pub(crate) fn header(magic: [u8; 8], number: u64, created_ms: i64) -> [u8; HEADER_BYTES] {
    let mut out = [0; HEADER_BYTES];
    out[..8].copy_from_slice(&magic);
    out[8..12].copy_from_slice(&version_of(magic).to_le_bytes());
    out[12..20].copy_from_slice(&number.to_le_bytes());
    out[20..28].copy_from_slice(&created_ms.to_le_bytes());
    let crc = crc32c::crc32c(&out[..28]);
    out[28..].copy_from_slice(&crc.to_le_bytes());
    out
}

/// Returns the version of a file whose header was read.
pub(crate) fn version_in(bytes: &[u8]) -> u32 {
    bytes.get(8..12).and_then(|version| version.try_into().ok()).map_or(0, u32::from_le_bytes)
}

/// Returns when a file whose header was read was made.
pub(crate) fn created_in(bytes: &[u8]) -> i64 {
    bytes.get(20..28).and_then(|created| created.try_into().ok()).map_or(0, i64::from_le_bytes)
}

/// What is wrong with a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HeaderFault {
    /// Shorter than a header, or not of this kind, or damaged.
    Damaged(&'static str),
    /// Written by a program that this one does not know.
    Version(u32),
}

/// Reads a header and returns the file's number.
pub(crate) fn read_header(magic: [u8; 8], bytes: &[u8]) -> Result<u64, HeaderFault> {
    let short = HeaderFault::Damaged("shorter than a header");
    let head = bytes.get(..HEADER_BYTES).ok_or(short.clone())?;
    let mut reader = ByteReader::new(head);
    if reader.bytes(8) != Some(magic.as_slice()) {
        return Err(HeaderFault::Damaged("another kind of file"));
    }
    let version = reader.u32().ok_or(short.clone())?;
    let number = reader.u64().ok_or(short.clone())?;
    let _created = reader.i64();
    if reader.u32() != Some(crc32c::crc32c(&head[..28])) {
        return Err(HeaderFault::Damaged("bad checksum of the header"));
    }
    if (1..=version_of(magic)).contains(&version) { Ok(number) } else { Err(HeaderFault::Version(version)) }
}

/// Returns the checksum of a record.
pub(super) fn checksum(number: u64, length: u32, body: &[u8]) -> u32 {
    let seed = crc32c::crc32c(&number.to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c_append(seed, &length.to_le_bytes()), body)
}

/// Makes room for a record's frame; kind and payload are appended next, then [`end_record`] closes it.
pub(crate) fn begin_record(out: &mut Vec<u8>) -> usize {
    let frame = out.len();
    out.extend_from_slice(&[0; FRAME_BYTES]);
    frame
}

/// Closes the record whose frame begins at `frame`.
pub(crate) fn end_record(out: &mut [u8], number: u64, frame: usize) {
    let (head, body) = out.split_at_mut(frame + FRAME_BYTES);
    let length = body.len() as u32;
    head[frame..frame + 4].copy_from_slice(&length.to_le_bytes());
    head[frame + 4..].copy_from_slice(&checksum(number, length, body).to_le_bytes());
}

/// Appends a framed record: `body` is kind and payload.
pub(crate) fn put_record(out: &mut Vec<u8>, number: u64, body: &[u8]) {
    let frame = begin_record(out);
    out.extend_from_slice(body);
    end_record(out, number, frame);
}

/// One record that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    /// Where its frame begins in the file.
    pub(crate) offset: u64,
    /// Kind.
    pub(crate) kind: u8,
    /// Payload.
    pub(crate) payload: &'a [u8],
}

impl Record<'_> {
    /// Returns where its payload is in the file.
    pub(crate) const fn place(&self) -> Range<usize> {
        let from = self.offset as usize + FRAME_BYTES + 1;
        from..from + self.payload.len()
    }
}

/// How a file ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With its last record.
    Clean,
    /// With bytes that are no record, and nothing valid behind: cut here.
    Torn(u64),
    /// With bytes that are no record, although valid ones follow: something was lost.
    Damaged(u64),
}

/// Reads records of one file.
#[derive(Debug)]
pub(crate) struct Records<'a> {
    bytes: &'a [u8],
    number: u64,
    at: usize,
    end: Option<End>,
}

impl<'a> Records<'a> {
    /// Starts behind the header of a file.
    pub(crate) const fn new(bytes: &'a [u8], number: u64) -> Self {
        Self::from(bytes, number, HEADER_BYTES)
    }

    /// Starts at an offset, where a record should begin.
    pub(crate) const fn from(bytes: &'a [u8], number: u64, at: usize) -> Self {
        Self { bytes, number, at, end: None }
    }

    /// Returns the record at an offset and where it ends; `None` where there is none.
    pub(crate) fn record_at(&self, at: usize) -> Option<(Record<'a>, usize)> {
        let mut reader = ByteReader::new(self.bytes.get(at..)?);
        let length = reader.u32()?;
        let crc = reader.u32()?;
        if length == 0 || length as usize > RECORD_MAX {
            return None;
        }
        let body = reader.bytes(length as usize)?;
        // Asked before the checksum: behind damage every byte is a place to try, and a checksum of garbage may be long.
        if !(1..=KIND_MAX).contains(body.first()?) {
            return None;
        }
        if checksum(self.number, length, body) != crc {
            return None;
        }
        let (kind, payload) = body.split_first()?;
        Some((Record { offset: at as u64, kind: *kind, payload }, at + FRAME_BYTES + body.len()))
    }

    /// Returns how the file ended; [`End::Clean`] until the end is reached.
    pub(crate) fn end(&self) -> End {
        self.end.unwrap_or(End::Clean)
    }

    /// Returns the offset behind the last good record.
    pub(crate) const fn offset(&self) -> u64 {
        self.at as u64
    }

    /// Goes on behind damage, at the next valid record.
    pub(crate) fn skip_damage(&mut self) {
        if let Some(next) = self.next_valid(self.at + 1) {
            self.at = next;
            self.end = None;
        }
    }

    fn next_valid(&self, from: usize) -> Option<usize> {
        (from..self.bytes.len().saturating_sub(FRAME_BYTES)).find(|at| self.record_at(*at).is_some())
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        if self.end.is_some() {
            return None;
        }
        if let Some((record, next)) = self.record_at(self.at) {
            self.at = next;
            return Some(record);
        }
        let at = self.at as u64;
        self.end = Some(if self.at >= self.bytes.len() {
            End::Clean
        } else if self.next_valid(self.at + 1).is_some() {
            End::Damaged(at)
        } else {
            End::Torn(at)
        });
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(records: &[&[u8]]) -> Vec<u8> {
        let mut out = header(LOG_MAGIC, 42, 1000).to_vec();
        for record in records {
            put_record(&mut out, 42, record);
        }
        out
    }

    #[test]
    fn golden_bytes() {
        let file = file(&[&[1, 2, 3]]);
        let expected = [
            b'W', b'K', b'W', b'A', b'L', 0, 0, 1, 2, 0, 0, 0, 42, 0, 0, 0, 0, 0, 0, 0, 0xe8, 3, 0, 0, 0, 0, 0, 0, 0xb9, 0x68,
            0x33, 0xb1, 3, 0, 0, 0, 0x66, 0xa6, 0x8d, 0x8c, 1, 2, 3,
        ];
        assert_eq!(file.len(), expected.len());
        assert_eq!(file[..28], expected[..28]);
        assert_eq!(read_header(LOG_MAGIC, &file), Ok(42));
        assert_eq!(file[32..36], expected[32..36]);
        assert_eq!(file[40..], expected[40..]);
    }

    #[test]
    fn reads_what_was_written_and_nothing_else() {
        let whole = file(&[&[1, 10], &[2], &[3, 30, 31]]);
        let kinds = |bytes: &[u8]| {
            let mut records = Records::new(bytes, 42);
            let kinds: Vec<u8> = records.by_ref().map(|record| record.kind).collect();
            (kinds, records.end())
        };
        assert_eq!(kinds(&whole), (vec![1, 2, 3], End::Clean));
        for cut in 52..whole.len() {
            let (kinds, end) = kinds(&whole[..cut]);
            assert!(kinds == [1, 2] && end == End::Torn(51) || kinds == [1] && end == End::Torn(42), "{cut}: {kinds:?} {end:?}");
        }
        for flipped in 32..whole.len() {
            let mut bytes = whole.clone();
            bytes[flipped] ^= 0x10;
            let (kinds, end) = kinds(&bytes);
            let expected = match flipped {
                32..42 => (vec![], End::Damaged(32)),
                42..51 => (vec![1], End::Damaged(42)),
                _ => (vec![1, 2], End::Torn(51)),
            };
            assert_eq!((kinds, end), expected, "{flipped}");
        }
        let mut zeros = whole.clone();
        zeros.resize(whole.len() + 4096, 0);
        assert_eq!(kinds(&zeros), (vec![1, 2, 3], End::Torn(whole.len() as u64)));
        assert_eq!(Records::new(&whole, 43).count(), 0, "another number");
    }

    #[test]
    fn goes_on_behind_damage() {
        let mut bytes = file(&[&[1, 10], &[2], &[3, 30, 31]]);
        bytes[45] ^= 1;
        let mut records = Records::new(&bytes, 42);
        assert_eq!(records.by_ref().count(), 1);
        records.skip_damage();
        assert_eq!(records.next().map(|record| record.kind), Some(3));
    }

    #[test]
    fn refuses_other_headers() {
        let good = file(&[]);
        assert_eq!(read_header(NAMES_MAGIC, &good), Err(HeaderFault::Damaged("another kind of file")));
        assert!(matches!(read_header(LOG_MAGIC, &good[..20]), Err(HeaderFault::Damaged(_))));
        for version in [0, 3] {
            let mut other = good.clone();
            other[8] = version;
            let crc = crc32c::crc32c(&other[..28]);
            other[28..32].copy_from_slice(&crc.to_le_bytes());
            assert_eq!(read_header(LOG_MAGIC, &other), Err(HeaderFault::Version(u32::from(version))));
        }
    }
}
