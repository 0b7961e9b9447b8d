//! The sections of a block: how its index is written and read.
//!
//! ```text
//! TIME   n u32 | n x offset u32 | times ... | 9 zero bytes                (columns of times, see column/timestamps)
//! SYMB   n u32 | n/16 x offset u32 | front-coded in 16s: text, then 15 x (varint shared, text)
//! POST   n u32 | n x (name symbol u32, value symbol u32, offset u32) | (varint runs, runs x (varint gap, varint length)) ...
//! (version 2: each of them begins with u8 0, or with u8 1 and its plain length u32, and is then compressed by zstd)
//! SERI   n u32 | n/64 x offset u32 | per series: varint labels, labels x varint pair number (first whole, then difference)
//!        | u8 type, varint unit symbol + 1 or 0 | varint columns, columns x (zz time column - last, varint start column + 1
//!        or 0, varint page - last, varint place, varint rows)
//! PAGE   n x varint length
//! META   varint parents, parents x 16 bytes | varint covers, covers x (segment u64, offset u64, end ms i64)
//!        | varint metrics, metrics x (text, varint series, varint samples)
//! ```
//!
//! Symbols are sorted; pairs are sorted by their symbols, so that pair numbers of a series ascend and a label's values lie
//! side by side.

use super::ulid::Ulid;
use crate::storage::column::varint::{ByteReader, put_signed, put_text, put_varint};
use crate::storage::wal::Position;
use crate::storage::wal::replay::Cover;

const FRONT_CODED: usize = 16;
/// Series between two offsets.
pub(crate) const SERIES_STEP: usize = 64;

/// One column of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ColumnRef {
    /// Which times.
    pub(crate) time: u32,
    /// Which page.
    pub(crate) page: u32,
    /// Where in the page.
    pub(crate) place: u16,
    /// How many samples.
    pub(crate) rows: u32,
    /// Which column of times are the samples' start timestamps.
    pub(crate) starts: Option<u32>,
}

/// What is known about a series besides its labels and samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SeriesAbout {
    /// The metric's type as a number, 0 where it is not known.
    pub(crate) kind: u8,
    /// The symbol of the metric's unit.
    pub(crate) unit: Option<u32>,
}

/// A section as it is.
const PLAIN: u8 = 0;
/// A compressed section.
const ZSTD: u8 = 1;
/// No section is longer: a damaged length must not ask for much memory.
const SECTION_MAX: usize = 1 << 30;

/// Returns a section's bytes as they are stored from version 2 on.
pub(crate) fn stored_section(plain: &[u8], compress: bool) -> Vec<u8> {
    let packed =
        if compress { zstd::bulk::compress(plain, 1).ok().filter(|packed| packed.len() + 5 < plain.len()) } else { None };
    let mut out = Vec::with_capacity(packed.as_ref().map_or(plain.len(), Vec::len) + 5);
    match packed {
        Some(packed) => {
            out.push(ZSTD);
            out.extend_from_slice(&(plain.len() as u32).to_le_bytes());
            out.extend_from_slice(&packed);
        }
        None => {
            out.push(PLAIN);
            out.extend_from_slice(plain);
        }
    }
    out
}

/// Undoes [`stored_section`].
pub(crate) fn plain_section(mut stored: Vec<u8>) -> Option<Vec<u8>> {
    match *stored.first()? {
        PLAIN => {
            stored.remove(0);
            Some(stored)
        }
        ZSTD => {
            let plain = ByteReader::new(stored.get(1..)?).u32()? as usize;
            // What zstd cannot have made is damage.
            let believable = plain <= SECTION_MAX && plain / 70_000 <= stored.len();
            zstd::bulk::decompress(stored.get(5..)?, believable.then_some(plain)?).ok()
        }
        _ => None,
    }
}

/// Writes sorted symbols.
pub(crate) fn put_symbols(out: &mut Vec<u8>, symbols: &[&str]) {
    out.extend_from_slice(&(symbols.len() as u32).to_le_bytes());
    let mut body = Vec::new();
    for group in symbols.chunks(FRONT_CODED) {
        out.extend_from_slice(&(body.len() as u32).to_le_bytes());
        let mut last = "";
        for (i, symbol) in group.iter().enumerate() {
            if i == 0 {
                put_text(&mut body, symbol);
            } else {
                let equal = last.bytes().zip(symbol.bytes()).take_while(|(left, right)| left == right).count();
                let shared = (0..=equal).rev().find(|at| symbol.is_char_boundary(*at)).unwrap_or(0);
                put_varint(&mut body, shared as u64);
                put_text(&mut body, symbol.split_at(shared).1);
            }
            last = symbol;
        }
    }
    out.extend_from_slice(&body);
}

/// Reads all symbols: one text and where each ends.
pub(crate) fn read_symbols(section: &[u8]) -> Option<(String, Vec<u32>)> {
    let mut reader = ByteReader::new(section);
    let count = reader.u32()? as usize;
    reader.bytes(count.div_ceil(FRONT_CODED).checked_mul(4)?)?;
    let (mut text, mut ends) = (String::new(), Vec::with_capacity(count.min(section.len())));
    let mut last_start = 0_usize;
    for i in 0..count {
        let start = text.len();
        if i % FRONT_CODED != 0 {
            let shared = usize::try_from(reader.varint()?).ok()?;
            let prefix = text.get(last_start..last_start.checked_add(shared)?)?.to_owned();
            text.push_str(&prefix);
        }
        text.push_str(reader.text()?);
        ends.push(u32::try_from(text.len()).ok()?);
        last_start = start;
    }
    Some((text, ends))
}

/// A label pair and who carries it, ascending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PairSeries {
    /// Symbol of the name.
    pub(crate) name: u32,
    /// Symbol of the value.
    pub(crate) value: u32,
    /// Runs of series: first and how many.
    pub(crate) runs: Vec<(u32, u32)>,
}

/// Writes posting lists, sorted by pair.
pub(crate) fn put_postings(out: &mut Vec<u8>, pairs: &[PairSeries]) {
    out.extend_from_slice(&(pairs.len() as u32).to_le_bytes());
    let mut body = Vec::new();
    for pair in pairs {
        out.extend_from_slice(&pair.name.to_le_bytes());
        out.extend_from_slice(&pair.value.to_le_bytes());
        out.extend_from_slice(&(body.len() as u32).to_le_bytes());
        put_varint(&mut body, pair.runs.len() as u64);
        let mut end = 0;
        for (start, length) in &pair.runs {
            put_varint(&mut body, u64::from(start - end));
            put_varint(&mut body, u64::from(*length));
            end = start + length;
        }
    }
    out.extend_from_slice(&body);
}

/// Reads one posting list.
pub(crate) fn read_runs(bytes: &[u8]) -> Option<Vec<(u32, u32)>> {
    let mut reader = ByteReader::new(bytes);
    let count = reader.count(2)?;
    let mut runs = Vec::with_capacity(count);
    let mut end = 0_u32;
    for _ in 0..count {
        let start = end.checked_add(reader.varint_u32()?)?;
        let length = reader.varint_u32()?;
        end = start.checked_add(length)?;
        runs.push((start, length));
    }
    Some(runs)
}

/// A number plus one, or 0 for none.
fn put_optional(out: &mut Vec<u8>, number: Option<u32>) {
    put_varint(out, number.map_or(0, |number| u64::from(number) + 1));
}

fn read_optional(reader: &mut ByteReader<'_>) -> Option<Option<u32>> {
    match reader.varint()? {
        0 => Some(None),
        number => u32::try_from(number - 1).ok().map(Some),
    }
}

/// Appends one series' entry.
pub(crate) fn put_series(out: &mut Vec<u8>, pairs: &[u32], about: SeriesAbout, columns: &[ColumnRef]) {
    put_varint(out, pairs.len() as u64);
    let mut last = 0;
    for pair in pairs {
        put_varint(out, u64::from(pair - last));
        last = *pair;
    }
    out.push(about.kind);
    put_optional(out, about.unit);
    put_varint(out, columns.len() as u64);
    let (mut time, mut page) = (0, 0);
    for column in columns {
        put_signed(out, i64::from(column.time) - time);
        put_optional(out, column.starts);
        put_varint(out, u64::from(column.page) - page);
        put_varint(out, u64::from(column.place));
        put_varint(out, u64::from(column.rows));
        time = i64::from(column.time);
        page = u64::from(column.page);
    }
}

/// Reads one series' entry: pair numbers, columns, and what else is known.
pub(crate) fn read_series(
    reader: &mut ByteReader<'_>,
    pairs: &mut Vec<u32>,
    columns: &mut Vec<ColumnRef>,
) -> Option<SeriesAbout> {
    pairs.clear();
    columns.clear();
    let mut last = 0_u32;
    for _ in 0..reader.count(1)? {
        last = last.checked_add(reader.varint_u32()?)?;
        pairs.push(last);
    }
    let about = SeriesAbout { kind: reader.u8()?, unit: read_optional(reader)? };
    let (mut time, mut page) = (0_i64, 0_u32);
    for _ in 0..reader.count(5)? {
        time = time.checked_add(reader.signed()?)?;
        let starts = read_optional(reader)?;
        page = page.checked_add(reader.varint_u32()?)?;
        let place = u16::try_from(reader.varint()?).ok()?;
        columns.push(ColumnRef { time: u32::try_from(time).ok()?, page, place, rows: reader.varint_u32()?, starts });
    }
    Some(about)
}

/// What META says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Meta {
    /// Blocks that this one replaces.
    pub(crate) parents: Vec<Ulid>,
    /// What of the log it (and its parents) hold.
    pub(crate) covers: Vec<Cover>,
    /// Metric name, series, samples.
    pub(crate) metrics: Vec<(String, u64, u64)>,
}

/// Writes META.
pub(crate) fn put_meta(out: &mut Vec<u8>, meta: &Meta) {
    put_varint(out, meta.parents.len() as u64);
    for parent in &meta.parents {
        out.extend_from_slice(&parent.0.to_be_bytes());
    }
    put_varint(out, meta.covers.len() as u64);
    for cover in &meta.covers {
        out.extend_from_slice(&cover.position.segment.to_le_bytes());
        out.extend_from_slice(&cover.position.offset.to_le_bytes());
        out.extend_from_slice(&cover.end_ms.to_le_bytes());
    }
    put_varint(out, meta.metrics.len() as u64);
    for (name, series, samples) in &meta.metrics {
        put_text(out, name);
        put_varint(out, *series);
        put_varint(out, *samples);
    }
}

/// Reads META.
pub(crate) fn read_meta(section: &[u8]) -> Option<Meta> {
    let mut reader = ByteReader::new(section);
    let mut meta = Meta::default();
    for _ in 0..reader.count(16)? {
        meta.parents.push(Ulid(u128::from_be_bytes(*reader.bytes(16)?.first_chunk::<16>()?)));
    }
    for _ in 0..reader.count(24)? {
        let position = Position { segment: reader.u64()?, offset: reader.u64()? };
        meta.covers.push(Cover { position, end_ms: reader.i64()? });
    }
    for _ in 0..reader.count(3)? {
        meta.metrics.push((reader.text()?.to_owned(), reader.varint()?, reader.varint()?));
    }
    Some(meta)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn symbols_come_back(symbols in proptest::collection::btree_set("[a-cé日]{0,6}", 0..60)) {
            let symbols: Vec<&str> = symbols.iter().map(String::as_str).collect();
            let mut out = Vec::new();
            put_symbols(&mut out, &symbols);
            let (text, ends) = read_symbols(&out).expect("reads");
            let starts = std::iter::once(0).chain(ends.iter().copied());
            let found: Vec<&str> = starts.zip(&ends).filter_map(|(start, end)| text.get(start as usize..*end as usize)).collect();
            prop_assert_eq!(found, symbols);
        }

        #[test]
        fn series_come_back(pairs in proptest::collection::btree_set(0_u32..5000, 0..12), columns in proptest::collection::vec((0_u32..900, 0_u32..9, 0_u16..256, 0_u32..600, proptest::option::of(0_u32..9)), 0..15), kind: u8, unit in proptest::option::of(any::<u32>())) {
            let pairs: Vec<u32> = pairs.into_iter().collect();
            let mut page = 0;
            let columns: Vec<ColumnRef> = columns.into_iter().map(|(time, step, place, rows, starts)| {
                page += step;
                ColumnRef { time, page, place, rows, starts }
            }).collect();
            let mut out = Vec::new();
            let about = SeriesAbout { kind, unit };
            put_series(&mut out, &pairs, about, &columns);
            let (mut found_pairs, mut found_columns) = (Vec::new(), Vec::new());
            let mut reader = ByteReader::new(&out);
            prop_assert_eq!(read_series(&mut reader, &mut found_pairs, &mut found_columns), Some(about));
            prop_assert!(reader.is_empty());
            prop_assert_eq!(found_pairs, pairs);
            prop_assert_eq!(found_columns, columns);
        }

        #[test]
        fn damaged_sections_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _symbols = read_symbols(&bytes);
            let _runs = read_runs(&bytes);
            let _meta = read_meta(&bytes);
            let _series = read_series(&mut ByteReader::new(&bytes), &mut Vec::new(), &mut Vec::new());
        }
    }

    #[test]
    fn meta_comes_back() {
        let cover = Cover { position: Position { segment: 3, offset: 77 }, end_ms: 1000 };
        let meta = Meta { parents: vec![Ulid(5), Ulid(6)], covers: vec![cover], metrics: vec![("up".to_owned(), 3, 900)] };
        let mut out = Vec::new();
        put_meta(&mut out, &meta);
        assert_eq!(read_meta(&out), Some(meta));
    }
}
