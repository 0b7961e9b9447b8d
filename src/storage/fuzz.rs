//! Every decoder of the store as a function of arbitrary bytes, for tests and libFuzzer: nothing may panic, hang or ask for
//! unbounded memory. Checksums are made right where they would keep the bytes from the decoder behind them.

use super::block::footer::{Header, decode_footer, encode_footer, footer_len};
use super::block::index::BlockIndex;
use super::block::page::read_page;
use super::block::parity::Parity;
use super::block::sections::{plain_section, read_meta, read_runs, read_series, read_symbols};
use super::block::tombstones::Tombstones;
use super::column::histogram::read_histogram;
use super::column::pack::unpack;
use super::column::packed::{Decoded, read_head};
use super::column::timestamps::read_times;
use super::column::token::{Token, Track, read_token};
use super::column::varint::ByteReader;
use super::index::matchers::PairIndex as _;
use super::select::{Hints, Querier as _, TimeRange};
use super::wal::segment::{LOG_MAGIC, NAMES_MAGIC, header, put_record};
use super::{Store, StoreError, StoreOptions};
use crate::env::clock::StillClock;
use crate::env::disk::Disk as _;
use crate::env::memory_disk::MemoryDisk;
use crate::env::random::SeededRandom;
use crate::env::{Env, Tasks};
use crate::model::matcher::{MatchOp, Matcher};
use crate::telemetry::metrics::Registry;
use std::path::Path;
use std::sync::Arc;

/// Rows that a column is decoded as.
const ROWS: usize = 480;

/// A target: its name and what takes the bytes.
pub type Target = (&'static str, fn(&[u8]));

/// All targets of the store.
pub const TARGETS: &[Target] = &[
    ("columns", columns),
    ("page", page),
    ("footer", footer),
    ("tombstones", tombstones),
    ("sections", sections),
    ("names_record", names_record),
    ("log_record", log_record),
    ("log_file", log_file),
    ("block", block),
];

/// Opens the store of a disk whose only thing that moves is the caller.
///
/// # Errors
/// See [`Store::open`].
pub fn open(disk: &MemoryDisk) -> Result<Store, StoreError> {
    let env = Env {
        disk: Arc::new(disk.clone()),
        clock: Arc::new(StillClock::starting_at(1_700_000_000_000)),
        random: Arc::new(SeededRandom::new(1)),
        tasks: Tasks::still(),
        ..Env::real()
    };
    Store::open(&env, StoreOptions { dir: "data".into(), retention_ms: 0, ..StoreOptions::default() }, &Registry::new())
}

/// Opens a data directory with one file in it and reads all of it.
fn open_with(file: &str, bytes: &[u8]) {
    let disk = MemoryDisk::new();
    let path = Path::new("data").join(file);
    let made = disk.create_dir_all(path.parent().unwrap_or(Path::new("data"))).and_then(|()| disk.replace(&path, bytes));
    let Ok(store) = made.map_err(|_| ()).and_then(|()| open(&disk).map_err(|_| ())) else { return };
    read_all(&store);
    // What was read must be fit to be written and merged.
    let cut = store.flush_head();
    drop(cut);
    drop(store.compact());
    read_all(&store);
}

fn read_all(store: &Store) {
    let Ok(any) = Matcher::new(MatchOp::Regex, "__name__", ".*") else { return };
    let range = TimeRange { start_ms: i64::MIN, end_ms: i64::MAX };
    if let Ok(selection) = store.select(&[any], range, &Hints::default()) {
        drop(selection.reader.read(0..selection.series.len()));
    }
}

/// The codecs of columns: tokens, packed numbers, times, histograms, heads.
pub fn columns(bytes: &[u8]) {
    let (mut reader, mut track) = (ByteReader::new(bytes), Track::default());
    while let Some(token) = read_token(&mut reader) {
        if let Token::Value(step) = token
            && track.advance(step).is_none()
        {
            break;
        }
    }
    let _read = unpack(bytes, ROWS, &mut Vec::new());
    let _read = read_times(bytes);
    let _read = read_histogram(&mut ByteReader::new(bytes));
    decode_column(bytes, bytes);
}

fn decode_column(head: &[u8], payloads: &[u8]) {
    let Some(head) = read_head(head) else { return };
    if let Some(Decoded::Histograms(bytes)) = head.decode(payloads, ROWS) {
        let mut reader = ByteReader::new(bytes);
        for _ in 0..ROWS {
            if read_histogram(&mut reader).is_none() {
                break;
            }
        }
    }
}

/// A page: codec and count of columns, then its plain or compressed bytes.
pub fn page(bytes: &[u8]) {
    let _read = read_page(bytes);
    let Some((front, stored)) = bytes.split_first_chunk::<8>() else { return };
    let mut page = (stored.len() as u32).to_le_bytes().to_vec();
    page.extend_from_slice(&crc32c::crc32c_append(crc32c::crc32c(front), stored).to_le_bytes());
    page.extend_from_slice(front);
    page.extend_from_slice(stored);
    let Ok(page) = read_page(&page) else { return };
    for place in 0..=u16::from(u8::MAX) {
        if let Some(head) = page.head(place) {
            let _read = head.decode(page.payloads(), ROWS);
        }
    }
}

/// A block's header and footer.
pub fn footer(bytes: &[u8]) {
    let _read = Header::decode(bytes);
    let _read = footer_len(bytes);
    let _read = decode_footer(bytes);
    let mut signed = bytes.to_vec();
    if let Some(place) = signed.get_mut(12..16) {
        place.fill(0);
        let crc = crc32c::crc32c(signed.get(..128).unwrap_or_default());
        signed[12..16].copy_from_slice(&crc.to_le_bytes());
    }
    let _read = Header::decode(&signed);
    let mut signed = bytes.to_vec();
    signed.extend_from_slice(&crc32c::crc32c(bytes).to_le_bytes());
    signed.extend_from_slice(b"WKBLKEND");
    let _read = decode_footer(&signed).map(|sections| encode_footer(&sections));
}

/// A file of tombstones.
pub fn tombstones(bytes: &[u8]) {
    let _read = Tombstones::decode(bytes);
    let mut signed = bytes.to_vec();
    signed.extend_from_slice(&crc32c::crc32c(bytes).to_le_bytes());
    let _read = Tombstones::decode(&signed).map(|tombstones| tombstones.encode());
}

/// A block's sections: META, and the four of its index, which share the bytes.
pub fn sections(bytes: &[u8]) {
    let _read = plain_section(bytes.to_vec());
    let _mended = Parity::read(bytes).map(|parity| parity.mend(&mut bytes.repeat(2)));
    let _read = read_meta(bytes);
    let _read = read_symbols(bytes);
    let _read = read_runs(bytes);
    let _read = read_series(&mut ByteReader::new(bytes), &mut Vec::new(), &mut Vec::new());
    let mut reader = ByteReader::new(bytes);
    let mut part = || -> Option<Vec<u8>> {
        let length = usize::from(reader.u16()?);
        let rest = reader.rest();
        Some(reader.bytes(length.min(rest.len()))?.to_vec())
    };
    let (Some(times), Some(symbols), Some(postings), Some(series)) = (part(), part(), part(), part()) else { return };
    let Some(index) = BlockIndex::read(times, &symbols, postings, series) else { return };
    let mut all = index.all();
    for (_, pairs) in index.names().take(64) {
        for pair in pairs.iter_from(0).take(64) {
            index.add_postings(pair, &mut all);
            let _read = index.value_of(pair).len();
        }
    }
    let _visited = index.visit(0..index.series_count().min(300), |_, pairs, columns| {
        let _read = index.hash(pairs);
        for column in columns.iter().take(8) {
            let _read = index.times(column.time);
        }
    });
}

/// A record of the names log.
pub fn names_record(bytes: &[u8]) {
    let mut file = header(NAMES_MAGIC, 1, 0).to_vec();
    put_record(&mut file, 1, &[&[16], bytes].concat());
    open_with("names/00000001.log", &file);
}

/// A record of the log: kind and payload, behind names that define a few series and a layout.
pub fn log_record(bytes: &[u8]) {
    use super::append::{GroupId, SeriesId};
    use super::wal::names::{put_group, put_layout, put_series_entry, put_symbol};
    let disk = MemoryDisk::new();
    let mut names = vec![16];
    for (number, text) in ["__name__", "a", "b", "c"].into_iter().enumerate() {
        put_symbol(&mut names, number as u32, text);
    }
    for series in 0..3 {
        put_series_entry(&mut names, SeriesId(series), &[(0, series + 1)]);
    }
    put_group(&mut names, GroupId(0), "g");
    put_layout(&mut names, GroupId(0), 1, 0, &[SeriesId(0), SeriesId(1), SeriesId(2)]);
    put_group(&mut names, GroupId(1), "~push/0/a/b#0");
    put_layout(&mut names, GroupId(1), 1, 0, &[SeriesId(0), SeriesId(1)]);
    let mut files = [header(NAMES_MAGIC, 1, 0).to_vec(), header(LOG_MAGIC, 1, 0).to_vec()];
    put_record(&mut files[0], 1, &names);
    // The record twice, so that it also meets a state that it made itself.
    put_record(&mut files[1], 1, bytes);
    put_record(&mut files[1], 1, bytes);
    for (path, bytes) in ["data/names/00000001.log", "data/wal/00000001.log"].iter().zip(&files) {
        let path = Path::new(path);
        let folder = path.parent().unwrap_or(Path::new("data"));
        if disk.create_dir_all(folder).and_then(|()| disk.replace(path, bytes)).is_err() {
            return;
        }
    }
    let Ok(store) = open(&disk) else { return };
    read_all(&store);
    drop(store.flush_head());
    read_all(&store);
}

/// A whole segment of the log.
pub fn log_file(bytes: &[u8]) {
    open_with("wal/00000001.log", bytes);
}

/// A whole block. The checksums of its sections and pages are as they are: the other targets go behind them.
pub fn block(bytes: &[u8]) {
    open_with("blocks/0000000000000000000000000A.blk", bytes);
}
