//! Checking files of records: the names log and the segments.

use super::Verified;
use crate::env::Env;
use crate::env::disk::DirEntry;
use crate::storage::column::varint::ByteReader;
use crate::storage::progress::Progress;
use crate::storage::wal::files::number_of;
use crate::storage::wal::mend::{Bit, mend, mend_header};
use crate::storage::wal::names::{DEFINITIONS, Entry, read_entry};
use crate::storage::wal::record::{Kind, read_exemplars, read_histograms, read_metadata, read_samples, read_starts};
use crate::storage::wal::segment::{
    End, HEADER_BYTES, HeaderFault, LOG_MAGIC, NAMES_MAGIC, Record, Records, read_header, version_of,
};
use hashbrown::HashSet;
use std::path::Path;

/// Layouts: group and version.
pub(super) type Layouts = HashSet<(u32, u32), foldhash::fast::RandomState>;

/// Checks the names log; returns the layouts that it defines.
pub(super) fn names(env: &Env, folder: &Path, files: &[DirEntry], found: &mut Verified, progress: &Progress) -> Layouts {
    let mut layouts = Layouts::default();
    for (place, entry) in files.iter().enumerate() {
        let newest = place + 1 == files.len();
        let mut decode = |record: &Record<'_>| decode_definitions(record, &mut layouts);
        file(env, &folder.join(&entry.name), NAMES_MAGIC, newest, found, &mut decode);
        progress.advance(entry.bytes);
    }
    layouts
}

/// Checks the segments of the log.
pub(super) fn segments(
    env: &Env,
    folder: &Path,
    files: &[DirEntry],
    mut layouts: Layouts,
    found: &mut Verified,
    progress: &Progress,
) {
    let mut last = None;
    for (place, entry) in files.iter().enumerate() {
        let path = folder.join(&entry.name);
        let number = number_of(&entry.name);
        if let (Some(number), Some(last)) = (number, last)
            && number > last + 1
        {
            // Covered segments go from the oldest on, but a segment that nobody wrote to is removed as well.
            found.remark(&path, 0, format!("segment {last} comes before it: those between are gone"));
        }
        last = number.or(last);
        let mut decode = |record: &Record<'_>| decode_row(record, &mut layouts);
        file(env, &path, LOG_MAGIC, place + 1 == files.len(), found, &mut decode);
        progress.advance(entry.bytes);
    }
}

type Decode<'a> = &'a mut dyn FnMut(&Record<'_>) -> Result<(), &'static str>;

fn file(env: &Env, path: &Path, magic: [u8; 8], newest: bool, found: &mut Verified, decode: Decode<'_>) {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let Some(number) = number_of(&name) else {
        found.remark(path, 0, "no name of a file of records; the store does not read it");
        return;
    };
    let mut bytes = match env.disk.read(path) {
        Ok(bytes) => bytes,
        Err(error) => {
            found.problem(path, 0, format!("cannot be read: {error}"));
            return;
        }
    };
    found.files += 1;
    found.bytes += bytes.len() as u64;
    match read_header(magic, &bytes) {
        Ok(known) if known == number => {}
        Ok(known) => found.problem(path, 12, format!("its header says number {known}")),
        Err(HeaderFault::Version(version)) => {
            found.problem(path, 8, format!("version {version}, this program reads {}", version_of(magic)));
        }
        Err(HeaderFault::Damaged(_)) if newest && bytes.len() <= HEADER_BYTES => {
            found.remark(path, 0, "a crash left it without a header; the next start removes it");
            return;
        }
        Err(HeaderFault::Damaged(reason)) => match mend_header(magic, &mut bytes, number) {
            Some(bit) => flipped(path, bit, found),
            None => found.problem(path, 0, reason),
        },
    }
    for bit in mend(&mut bytes, number, !newest) {
        flipped(path, bit, found);
    }
    records(path, &bytes, number, newest, found, decode);
}

/// Nothing is lost, and yet the disk or the memory may be failing.
fn flipped(path: &Path, bit: Bit, found: &mut Verified) {
    found.problem(path, bit.at as u64, format!("bit {} of this byte is flipped; the next start turns it back", bit.place));
}

fn records(path: &Path, bytes: &[u8], number: u64, newest: bool, found: &mut Verified, decode: Decode<'_>) {
    let mut records = Records::new(bytes, number);
    loop {
        for record in records.by_ref() {
            found.records += 1;
            if let Err(reason) = decode(&record) {
                found.problem(path, record.offset, reason);
            }
        }
        match records.end() {
            End::Clean => return,
            End::Torn(offset) => {
                let left = bytes.len() as u64 - offset;
                if newest {
                    found.remark(
                        path,
                        offset,
                        format!("the end is torn ({left} bytes), as a crash leaves it; the next start cuts it off"),
                    );
                } else {
                    found.problem(path, offset, format!("the last {left} bytes are no record"));
                }
                return;
            }
            End::Damaged(offset) => {
                found.problem(path, offset, "bytes that are no record, although records follow");
                records.skip_damage();
            }
        }
    }
}

fn decode_definitions(record: &Record<'_>, layouts: &mut Layouts) -> Result<(), &'static str> {
    if record.kind != DEFINITIONS {
        return Err("a record of unknown kind");
    }
    let mut bytes = ByteReader::new(record.payload);
    while !bytes.is_empty() {
        if let Entry::Layout(group, version, ..) = read_entry(&mut bytes).ok_or("a definition that cannot be decoded")? {
            layouts.insert((group.0, version));
        }
    }
    Ok(())
}

/// Rows speak of layouts and of rows before them; what stands for itself is decoded whole.
fn decode_row(record: &Record<'_>, layouts: &mut Layouts) -> Result<(), &'static str> {
    let mut bytes = ByteReader::new(record.payload);
    let decoded = match Kind::from_byte(record.kind).ok_or("a record of unknown kind")? {
        Kind::Samples => read_samples(&mut bytes).is_some(),
        Kind::Histogram => read_histograms(&mut bytes).is_some(),
        Kind::Exemplar => read_exemplars(&mut bytes).is_some(),
        Kind::Metadata => read_metadata(&mut bytes).is_some(),
        Kind::Row | Kind::PartialRow => match (bytes.varint_u32(), bytes.varint_u32(), bytes.signed()) {
            (Some(group), Some(version), Some(_)) => {
                // Told once: what is told is known.
                if layouts.insert((group, version)) {
                    return Err("rows from here on have a layout that the names log does not define: they are lost");
                }
                true
            }
            _ => false,
        },
        Kind::Start => read_starts(&mut bytes).is_some(),
        Kind::Cut | Kind::Delete => true,
    };
    if decoded { Ok(()) } else { Err("a record that cannot be decoded") }
}
