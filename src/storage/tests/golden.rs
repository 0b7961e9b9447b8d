//! Whole files as the newest version writes them, byte for byte, and data directories of that version that must open for ever.
//!
//! `tests/data/golden` holds them. A change of a format makes this fail: it wants a new version in the file, another folder
//! here, and the old one still read.

use super::damage::files;
use super::model::everything;
use crate::env::disk::{Disk as _, RealDisk};
use crate::env::memory_disk::MemoryDisk;
use crate::storage::block::ulid::Ulid;
use crate::storage::fuzz;
use std::path::{Path, PathBuf};

/// The newest set. The second brought segments of the log in bits, the third blocks and tombstones of their version 2.
const NEWEST: u32 = 3;

fn folder(version: u32) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/golden/{version}"))
}

fn stored(version: u32, name: &str) -> Vec<u8> {
    let path = folder(version).join(name);
    RealDisk.read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn every_file_has_its_golden_bytes() {
    let files = files();
    let made =
        [("names.log", &files.names), ("wal.log", &files.log), ("block.blk", &files.block), ("block.del", &files.tombstones)];
    for (name, bytes) in made {
        if std::env::var_os("WATCHKEEPER_WRITE_GOLDEN").is_some() {
            RealDisk.create_dir_all(&folder(NEWEST)).expect("a folder");
            RealDisk.replace(&folder(NEWEST).join(name), bytes).expect("written");
        }
        let golden = stored(NEWEST, name);
        let differs = bytes.iter().zip(&golden).position(|(made, golden)| made != golden);
        assert_eq!((bytes.len(), differs), (golden.len(), None), "{name}: length, first byte that differs");
    }
}

#[test]
fn directories_of_all_versions_open() {
    for version in 1..=NEWEST {
        opens(version);
    }
}

fn opens(version: u32) {
    let disk = MemoryDisk::new();
    let place = |path: &str, name: &str| {
        let path = Path::new("data").join(path);
        disk.create_dir_all(path.parent().expect("a folder")).expect("made");
        disk.replace(&path, &stored(version, name)).expect("written");
    };
    disk.create_dir_all(Path::new("data")).expect("made");
    disk.replace(Path::new("data/FORMAT"), b"watchkeeper-store 1\n").expect("written");
    place("names/00000001.log", "names.log");
    place("wal/00000001.log", "wal.log");
    let from_log = everything(&fuzz::open(&disk).expect("opens"), "the log alone");
    // 8 rows: 5 scraped, 2 pushed and a histogram each.
    assert_eq!(from_log.len(), 8 * 8);

    let disk_of_block = MemoryDisk::new();
    let header = stored(version, "block.blk");
    let ulid = Ulid(u128::from_be_bytes(header[16..32].try_into().expect("sixteen bytes")));
    for (ending, name) in [("blk", "block.blk"), ("del", "block.del")] {
        let path = Path::new("data/blocks").join(format!("{ulid}.{ending}"));
        disk_of_block.create_dir_all(path.parent().expect("a folder")).expect("made");
        disk_of_block.replace(&path, &stored(version, name)).expect("written");
    }
    let from_block = everything(&fuzz::open(&disk_of_block).expect("opens"), "the block alone");
    assert!(from_block.len() > 20 && from_block.iter().all(|(key, value)| from_log.get(key) == Some(value)));
    let deleted = from_log.keys().filter(|key| key.1 <= 1_700_000_030_000).count();
    assert!(deleted > 0 && from_block.keys().all(|key| key.1 > 1_700_000_030_000), "what was deleted stays so");
}
