//! The names log: what numbers in the log mean. Series, groups, layouts; append-only, synced before the log.
//!
//! ```text
//! entry 1 symbol   number, text
//!       2 series   number, n, n x (name symbol, value symbol)
//!       3 group    number, text
//!       4 layout   group, version, places kept from the version before, n runs, n x (zz start - end before, length)
//! ```
//!
//! Numbers are varints, a text is a length and bytes. Every entry names its number, so that reading one twice does no harm.
//! A record of them ends with the entry that made it long enough: damage costs one record, not all that anything is called.

use crate::storage::append::{GroupId, SeriesId};
use crate::storage::column::varint::{ByteReader, put_signed, put_text, put_varint};
use crate::storage::index::registry::Made;
use crate::storage::index::symbols::Symbols;

const SYMBOL: u8 = 1;
const SERIES: u8 = 2;
const GROUP: u8 = 3;
const LAYOUT: u8 = 4;

/// Kind of the names log's records.
pub(crate) const DEFINITIONS: u8 = 16;
/// A record that grew to this is followed by the next.
const RECORD_BYTES: usize = 8 << 10;

/// Definitions on their way to a names log: bodies of records (kind and entries).
#[derive(Debug, Default)]
pub(crate) struct Definitions {
    bodies: Vec<Vec<u8>>,
}

impl Definitions {
    /// Adds what `put` appends: an entry, or a few that belong together.
    pub(crate) fn add(&mut self, put: impl FnOnce(&mut Vec<u8>)) {
        match self.bodies.last_mut().filter(|body| body.len() < RECORD_BYTES) {
            Some(body) => put(body),
            None => {
                let mut body = vec![DEFINITIONS];
                put(&mut body);
                self.bodies.push(body);
            }
        }
    }

    /// Returns whether there are none.
    pub(crate) const fn is_empty(&self) -> bool {
        self.bodies.is_empty()
    }

    /// Removes all.
    pub(crate) fn clear(&mut self) {
        self.bodies.clear();
    }

    /// Returns the bodies of the records.
    pub(crate) fn bodies(&self) -> impl Iterator<Item = &[u8]> {
        self.bodies.iter().map(Vec::as_slice)
    }
}

/// Appends a new series and the symbols that came with it.
pub(crate) fn put_series(out: &mut Vec<u8>, symbols: &Symbols, made: &Made) {
    for number in made.symbols_before..symbols.next() {
        put_symbol(out, number, symbols.get(number));
    }
    put_series_entry(out, made.id, &made.pairs);
}

/// Appends a symbol.
pub(crate) fn put_symbol(out: &mut Vec<u8>, number: u32, text: &str) {
    out.push(SYMBOL);
    put_varint(out, u64::from(number));
    put_text(out, text);
}

/// Appends a series whose symbols are known.
pub(crate) fn put_series_entry(out: &mut Vec<u8>, id: SeriesId, pairs: &[(u32, u32)]) {
    out.push(SERIES);
    put_varint(out, u64::from(id.0));
    put_varint(out, pairs.len() as u64);
    for (name, value) in pairs {
        put_varint(out, u64::from(*name));
        put_varint(out, u64::from(*value));
    }
}

/// Appends a group.
pub(crate) fn put_group(out: &mut Vec<u8>, id: GroupId, name: &str) {
    out.push(GROUP);
    put_varint(out, u64::from(id.0));
    put_text(out, name);
}

/// Appends a layout that keeps the first `kept` places of the version before.
pub(crate) fn put_layout(out: &mut Vec<u8>, group: GroupId, version: u32, kept: usize, series: &[SeriesId]) {
    out.push(LAYOUT);
    put_varint(out, u64::from(group.0));
    put_varint(out, u64::from(version));
    put_varint(out, kept as u64);
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for series in series {
        match runs.last_mut() {
            Some((start, length)) if *start + *length == series.0 => *length += 1,
            _ => runs.push((series.0, 1)),
        }
    }
    put_varint(out, runs.len() as u64);
    let mut end = 0;
    for (start, length) in runs {
        put_signed(out, i64::from(start) - end);
        put_varint(out, u64::from(length));
        end = i64::from(start) + i64::from(length);
    }
}

/// One definition.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Entry<'a> {
    /// A text and its number.
    Symbol(u32, &'a str),
    /// A series: its number and label pairs as symbols.
    Series(SeriesId, Pairs<'a>),
    /// A group.
    Group(GroupId, &'a str),
    /// A layout: group, version, places kept, series that follow.
    Layout(GroupId, u32, usize, Vec<SeriesId>),
}

/// The label pairs of a series, as the log has them: most readers pass them by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pairs<'a>(&'a [u8]);

impl Pairs<'_> {
    /// Walks them.
    pub(crate) fn iter(self) -> impl Iterator<Item = (u32, u32)> {
        let mut bytes = ByteReader::new(self.0);
        std::iter::from_fn(move || Some((bytes.varint_u32()?, bytes.varint_u32()?)))
    }
}

/// Series of one layout; more are damage.
const LAYOUT_MAX: u64 = 1 << 26;

/// Reads one entry.
pub(crate) fn read_entry<'a>(bytes: &mut ByteReader<'a>) -> Option<Entry<'a>> {
    match bytes.u8()? {
        SYMBOL => Some(Entry::Symbol(bytes.varint_u32()?, bytes.text()?)),
        SERIES => {
            let id = SeriesId(bytes.varint_u32()?);
            let count = bytes.count(2)?;
            let coded = bytes.rest();
            for _ in 0..count * 2 {
                bytes.varint_u32()?;
            }
            let length = coded.len() - bytes.rest().len();
            Some(Entry::Series(id, Pairs(coded.get(..length)?)))
        }
        GROUP => Some(Entry::Group(GroupId(bytes.varint_u32()?), bytes.text()?)),
        LAYOUT => {
            let (group, version) = (GroupId(bytes.varint_u32()?), bytes.varint_u32()?);
            let kept = usize::try_from(bytes.varint()?).ok()?;
            let mut series = Vec::new();
            let mut end = 0_i64;
            for _ in 0..bytes.count(2)? {
                let start = u32::try_from(end.checked_add(bytes.signed()?)?).ok()?;
                let length = bytes.varint_u32()?;
                let stop = start.checked_add(length)?;
                if series.len() as u64 + u64::from(length) > LAYOUT_MAX {
                    return None;
                }
                series.extend((start..stop).map(SeriesId));
                end = i64::from(stop);
            }
            Some(Entry::Layout(group, version, kept, series))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_back() {
        let mut out = Vec::new();
        put_symbol(&mut out, 7, "job");
        put_series_entry(&mut out, SeriesId(300), &[(0, 1), (2, 3)]);
        put_group(&mut out, GroupId(2), "scrape/a/b");
        let layout = [5, 6, 7, 2, 3].map(SeriesId);
        put_layout(&mut out, GroupId(2), 9, 4, &layout);
        assert_eq!(out.get(..6), Some([1, 7, 3, b'j', b'o', b'b'].as_slice()));
        let mut reader = ByteReader::new(&out);
        assert_eq!(read_entry(&mut reader), Some(Entry::Symbol(7, "job")));
        let Some(Entry::Series(SeriesId(300), pairs)) = read_entry(&mut reader) else { panic!("not the series") };
        assert_eq!(pairs.iter().collect::<Vec<_>>(), [(0, 1), (2, 3)]);
        assert_eq!(read_entry(&mut reader), Some(Entry::Group(GroupId(2), "scrape/a/b")));
        assert_eq!(read_entry(&mut reader), Some(Entry::Layout(GroupId(2), 9, 4, layout.to_vec())));
        assert!(reader.is_empty());
        assert_eq!(read_entry(&mut ByteReader::new(&[4, 2, 9, 0, 1, 0, 255, 255, 255, 255, 15])), None);
    }
}
