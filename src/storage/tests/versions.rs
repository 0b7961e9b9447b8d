//! Blocks of older format versions open, and what they hold comes back; a merge brings them to the present version.

use super::{ALL, labels};
use crate::env::memory_disk::MemoryDisk;
use crate::env::{Disk as _, Env};
use crate::model::matcher::Matcher;
use crate::model::sample::NORMAL_NAN_BITS;
use crate::storage::select::{Hints, Querier as _};
use crate::storage::{Store, StoreOptions};
use crate::telemetry::metrics::Registry;
use std::path::Path;
use std::sync::Arc;

/// Written by the program when version 1 was the newest: 110 rows of eight series each 15 s, the last of them absent in the
/// rows 40 to 59 (a row mask).
const VERSION_1: &[u8] = include_bytes!("../../../tests/data/block-version-1.blk");
const NAME: &str = include_str!("../../../tests/data/block-version-1.name");
const START_MS: i64 = 1_700_001_000_000;

fn value(series: usize, row: i64) -> f64 {
    match series {
        0 => 42.5,
        1 => row as f64,
        2 => (row * row % 97) as f64 * 0.01,
        3 => ((row * 7919) % 10_007) as f64 * 0.001,
        4 => (row as f64).sqrt(),
        5 if row % 10 == 7 => f64::INFINITY,
        5 => (row % 5) as f64 * 4096.0,
        6 => f64::from_bits(NORMAL_NAN_BITS),
        _ => (row * row) as f64 / 8.0,
    }
}

fn look(store: &Store) {
    for series in 0..8 {
        let name = format!("m{series}");
        let selection = store.select(&[Matcher::equal("__name__", &name)], ALL, &Hints::default()).expect("selects");
        assert_eq!(selection.series[0].labels, labels(&name, "a"));
        let read = selection.reader.read(0..1).expect("reads");
        let found: Vec<(i64, Option<u64>)> =
            read[0].times.iter().enumerate().map(|(i, at_ms)| (*at_ms, read[0].float(i).map(f64::to_bits))).collect();
        let rows = (0..110_i64).filter(|row| series < 7 || !(40..60).contains(row));
        let expected: Vec<_> = rows.map(|row| (START_MS + row * 15_000, Some(value(series, row).to_bits()))).collect();
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn a_block_of_version_1_opens_and_is_merged() {
    let disk = MemoryDisk::new();
    let open = || {
        let env = Env { disk: Arc::new(disk.clone()), ..Env::real() };
        let options = StoreOptions { dir: "data".into(), retention_ms: 0, ..StoreOptions::default() };
        Store::open(&env, options, &Registry::new()).expect("opens")
    };
    drop(open());
    disk.replace(&Path::new("data/blocks").join(NAME.trim()), VERSION_1).expect("writes");
    let store = open();
    look(&store);
    assert_eq!(store.label_values("__name__", &[], ALL, 0).expect("values").len(), 8);
    store.compact_all().expect("compacts");
    let files = disk.list(Path::new("data/blocks")).expect("lists");
    assert!(files.len() == 1 && files[0].name != NAME.trim(), "{files:?}");
    let bytes = disk.read(&Path::new("data/blocks").join(&files[0].name)).expect("reads");
    assert_eq!(bytes[8..10], [2, 0]);
    look(&store);
    drop(store);
    look(&open());
}
