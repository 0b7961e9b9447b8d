//! A block's first and last bytes: the header that says what it is, the footer that says where its sections are.
//!
//! ```text
//! header   magic 8 "WKBLOCK\1" | version u16 | flags u16 (1 = overlap) | crc u32 | ulid 16 | min ms i64 | max ms i64
//!          | samples u64 | series u32 | columns u32 | pages u32 | level u8 | 3 zero | created ms i64
//!          | log position covered: segment u64, offset u64 | 32 zero
//! footer   n x (tag 4 | crc u32 | offset u64 | length u64) | n u32 | crc u32 | "WKBLKEND"
//! ```
//!
//! The header's crc covers its 128 bytes with the crc's own place zero.

use super::ulid::Ulid;
use crate::storage::column::varint::ByteReader;
use crate::storage::wal::Position;

/// Length of the header.
pub(crate) const HEADER_BYTES: usize = 128;
const MAGIC: [u8; 8] = *b"WKBLOCK\x01";
const END: [u8; 8] = *b"WKBLKEND";
/// The version that is written. Version 1 had plain sections and no dense columns.
const VERSION: u16 = 2;
const OLDEST_VERSION: u16 = 1;
const OVERLAP: u16 = 1;
const ENTRY_BYTES: usize = 24;
/// Sections of a block at most.
pub(crate) const SECTIONS_MAX: usize = 64;
/// Bytes behind the footer's entries.
pub(crate) const FOOTER_TAIL_BYTES: usize = 16;

/// What a block is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Version of the format; those written now have the newest.
    pub(crate) version: u16,
    /// Its name.
    pub(crate) ulid: Ulid,
    /// Whether it may lie over others in time: late samples.
    pub(crate) overlap: bool,
    /// Time of its oldest sample.
    pub(crate) min_ms: i64,
    /// Time of its newest sample.
    pub(crate) max_ms: i64,
    /// How many samples.
    pub(crate) samples: u64,
    /// How many series.
    pub(crate) series: u32,
    /// How many columns.
    pub(crate) columns: u32,
    /// How many pages.
    pub(crate) pages: u32,
    /// 0: from the head; 1: two hours; 2: a day and more.
    pub(crate) level: u8,
    /// When it was written.
    pub(crate) created_ms: i64,
    /// The log up to here needs no replay, as far as META's cover says.
    pub(crate) position: Position,
}

/// What is wrong with a block's header or footer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Not a block, or damaged.
    Damaged(&'static str),
    /// Written by a program that this one does not know.
    Version(u16),
}

impl Header {
    /// The version that is written.
    pub(crate) const VERSION: u16 = VERSION;

    /// Writes the header.
    pub(crate) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = Vec::with_capacity(HEADER_BYTES);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&self.version.to_le_bytes());
        out.extend_from_slice(&(if self.overlap { OVERLAP } else { 0 }).to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.ulid.0.to_be_bytes());
        out.extend_from_slice(&self.min_ms.to_le_bytes());
        out.extend_from_slice(&self.max_ms.to_le_bytes());
        out.extend_from_slice(&self.samples.to_le_bytes());
        for number in [self.series, self.columns, self.pages] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&[self.level, 0, 0, 0]);
        out.extend_from_slice(&self.created_ms.to_le_bytes());
        out.extend_from_slice(&self.position.segment.to_le_bytes());
        out.extend_from_slice(&self.position.offset.to_le_bytes());
        out.resize(HEADER_BYTES, 0);
        let crc = crc32c::crc32c(&out);
        out[12..16].copy_from_slice(&crc.to_le_bytes());
        let mut header = [0; HEADER_BYTES];
        header.copy_from_slice(&out);
        header
    }

    /// Reads the header.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        let short = || Fault::Damaged("shorter than a header");
        let bytes = bytes.get(..HEADER_BYTES).ok_or_else(short)?;
        let mut reader = ByteReader::new(bytes);
        if reader.bytes(8) != Some(MAGIC.as_slice()) {
            return Err(Fault::Damaged("not a block"));
        }
        let version = reader.u16().ok_or_else(short)?;
        let flags = reader.u16().ok_or_else(short)?;
        let crc = reader.u32().ok_or_else(short)?;
        let mut unsigned = bytes.to_vec();
        unsigned[12..16].fill(0);
        if crc32c::crc32c(&unsigned) != crc {
            return Err(Fault::Damaged("bad checksum of the header"));
        }
        if !(OLDEST_VERSION..=VERSION).contains(&version) {
            return Err(Fault::Version(version));
        }
        let fields = || -> Option<Self> {
            let ulid = reader.bytes(16)?.first_chunk::<16>().map(|bytes| Ulid(u128::from_be_bytes(*bytes)))?;
            let (min_ms, max_ms, samples) = (reader.i64()?, reader.i64()?, reader.u64()?);
            let (series, columns, pages) = (reader.u32()?, reader.u32()?, reader.u32()?);
            let level = reader.u8()?;
            reader.bytes(3)?;
            let created_ms = reader.i64()?;
            let position = Position { segment: reader.u64()?, offset: reader.u64()? };
            let overlap = flags & OVERLAP != 0;
            Some(Self { version, ulid, overlap, min_ms, max_ms, samples, series, columns, pages, level, created_ms, position })
        };
        let mut fields = fields;
        fields().ok_or_else(short)
    }
}

/// Where a section is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Section {
    /// Its name.
    pub(crate) tag: [u8; 4],
    /// CRC-32C of its bytes.
    pub(crate) crc: u32,
    /// Where it begins in the file.
    pub(crate) offset: u64,
    /// How long it is.
    pub(crate) length: u64,
}

/// Writes the footer.
pub(crate) fn encode_footer(sections: &[Section]) -> Vec<u8> {
    let mut out = Vec::with_capacity(sections.len() * ENTRY_BYTES + FOOTER_TAIL_BYTES);
    for section in sections {
        out.extend_from_slice(&section.tag);
        out.extend_from_slice(&section.crc.to_le_bytes());
        out.extend_from_slice(&section.offset.to_le_bytes());
        out.extend_from_slice(&section.length.to_le_bytes());
    }
    out.extend_from_slice(&(sections.len() as u32).to_le_bytes());
    let crc = crc32c::crc32c(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(&END);
    out
}

/// Returns the length of the footer of so many sections.
pub(crate) const fn footer_bytes(sections: usize) -> usize {
    sections * ENTRY_BYTES + FOOTER_TAIL_BYTES
}

/// Returns the length of the whole footer, from its last bytes.
pub(crate) fn footer_len(tail: &[u8]) -> Option<usize> {
    let mut reader = ByteReader::new(tail.get(tail.len().checked_sub(FOOTER_TAIL_BYTES)?..)?);
    let count = reader.u32()? as usize;
    reader.u32()?;
    (reader.bytes(8)? == END && count <= SECTIONS_MAX).then_some(footer_bytes(count))
}

/// Reads a whole footer.
pub(crate) fn decode_footer(footer: &[u8]) -> Option<Vec<Section>> {
    let body = footer.get(..footer.len().checked_sub(12)?)?;
    let crc = ByteReader::new(footer.get(footer.len() - 12..)?).u32()?;
    if crc32c::crc32c(body) != crc {
        return None;
    }
    let mut reader = ByteReader::new(body.get(..body.len().checked_sub(4)?)?);
    let mut sections = Vec::new();
    while !reader.is_empty() {
        let tag = *reader.bytes(4)?.first_chunk::<4>()?;
        sections.push(Section { tag, crc: reader.u32()?, offset: reader.u64()?, length: reader.u64()? });
    }
    Some(sections)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            version: VERSION,
            ulid: Ulid(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10),
            overlap: true,
            min_ms: 1000,
            max_ms: 2000,
            samples: 3,
            series: 4,
            columns: 5,
            pages: 6,
            level: 1,
            created_ms: 7,
            position: Position { segment: 8, offset: 9 },
        }
    }

    #[test]
    fn golden_header() {
        let bytes = header().encode();
        let mut expected = vec![b'W', b'K', b'B', b'L', b'O', b'C', b'K', 1, 2, 0, 1, 0];
        assert_eq!(bytes[..12], expected);
        expected = (1..=16).collect();
        assert_eq!(bytes[16..32], expected);
        assert_eq!(bytes[32..48], [0xe8, 3, 0, 0, 0, 0, 0, 0, 0xd0, 7, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[48..72], [3, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 5, 0, 0, 0, 6, 0, 0, 0, 1, 0, 0, 0]);
        assert_eq!(bytes[72..96], [7, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(Header::decode(&bytes), Ok(header()));
        for at in 0..HEADER_BYTES {
            let mut damaged = bytes;
            damaged[at] ^= 1;
            assert!(matches!(Header::decode(&damaged), Err(Fault::Damaged(_))), "{at}");
        }
    }

    #[test]
    fn footers_come_back() {
        let section = |tag: &[u8; 4], offset| Section { tag: *tag, crc: 7, offset, length: 9 };
        let sections = [section(b"TIME", 128), section(b"META", 700)];
        let bytes = encode_footer(&sections);
        assert_eq!(footer_len(&bytes), Some(bytes.len()));
        assert_eq!(decode_footer(&bytes).as_deref(), Some(sections.as_slice()));
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            let good = footer_len(&damaged) == Some(bytes.len()) && decode_footer(&damaged).is_some();
            assert!(!good, "{at}");
        }
    }
}
