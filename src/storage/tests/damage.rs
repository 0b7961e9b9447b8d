//! Decoders meet bytes that nobody wrote; stored inputs are in `tests/data/fuzz`.

use super::labels;
use crate::env::disk::Disk as _;
use crate::env::fuzz::replay;
use crate::env::memory_disk::MemoryDisk;
use crate::model::exemplar::Exemplar;
use crate::model::histogram::{FloatHistogram, Span};
use crate::model::labels::Labels;
use crate::model::metadata::{Metadata, MetricType};
use crate::model::sample::stale_nan;
use crate::storage::append::{Append as _, BatchSample, BatchValue, Durability, SeriesId};
use crate::storage::fuzz::{self, TARGETS};
use crate::storage::wal::segment::{LOG_MAGIC, NAMES_MAGIC, Records, read_header};
use std::path::Path;
use std::sync::Arc;

/// Files of a store that has a bit of everything.
pub(super) struct Files {
    pub(super) log: Vec<u8>,
    pub(super) names: Vec<u8>,
    pub(super) block: Vec<u8>,
    pub(super) tombstones: Vec<u8>,
}

pub(super) fn files() -> Files {
    let disk = MemoryDisk::new();
    let store = fuzz::open(&disk).expect("opens");
    let group = store.group("scrape/a").expect("group");
    let series = |name: &str| store.series(&labels(name, "a")).expect("series");
    let layout: Arc<[SeriesId]> = (0..5).map(|place| series(&format!("s{place}"))).collect();
    let histogram = Arc::new(FloatHistogram {
        schema: 3,
        count: 6.0,
        sum: 1.25,
        positive_spans: vec![Span { offset: 0, length: 2 }],
        positive_buckets: vec![2.0, 4.0],
        ..FloatHistogram::default()
    });
    for row in 0..8 {
        let at_ms = 1_700_000_000_000 + row * 15_000;
        let number = row as f64;
        let values = [1.0, number, number * 0.1, if row % 3 == 0 { stale_nan() } else { 0.3 + number }, 1e300 / (number + 1.0)];
        store.append_row(group, at_ms, &layout, &values).expect("appends");
        let float = |name: &str, at_ms, value| BatchSample { series: series(name), at_ms, value: BatchValue::Float(value) };
        let pushed = [
            float("p0", at_ms, number),
            float("p1", at_ms - 20_000 * (row % 2), number * 4096.0),
            BatchSample { series: series("h"), at_ms, value: BatchValue::Histogram(Arc::clone(&histogram)) },
        ];
        store.append_samples(None, &pushed, Durability::Synced).expect("appends");
    }
    let exemplar = Exemplar { labels: Labels::from_pairs([("trace_id", "x")]), value: 0.5, at_ms: Some(5) };
    store.append_exemplars(layout[0], &[exemplar]);
    let metadata = Metadata { metric_type: MetricType::Counter, help: "Helps.".to_owned(), unit: "bytes".to_owned() };
    store.note_metadata("s0", &metadata);
    store.sync_log().expect("syncs");
    let read = |path: &str| disk.read(Path::new(path)).expect("reads");
    let (log, names) = (read("data/wal/00000001.log"), read("data/names/00000001.log"));
    let all = [crate::model::matcher::Matcher::equal("job", "node")];
    let range = crate::storage::select::TimeRange { start_ms: 1_700_000_000_000, end_ms: 1_700_000_030_000 };
    store.delete_series(&all, range).expect("deletes");
    let largest = |ending: &str| {
        let entries = disk.list(Path::new("data/blocks")).expect("lists");
        let found = entries.iter().filter(|entry| entry.name.ends_with(ending)).max_by_key(|entry| entry.bytes);
        read(&format!("data/blocks/{}", found.expect("a file").name))
    };
    Files { log, names, block: largest(".blk"), tombstones: largest(".del") }
}

/// Bodies of a file's records: kind and payload.
fn bodies(file: &[u8], magic: [u8; 8]) -> Vec<Vec<u8>> {
    let number = read_header(magic, file).expect("a header");
    Records::new(file, number).map(|record| [&[record.kind], record.payload].concat()).collect()
}

/// Returns a section of a block as the footer says.
fn section(block: &[u8], tag: &[u8; 4]) -> Vec<u8> {
    let length = crate::storage::block::footer::footer_len(block).expect("a footer");
    let sections = crate::storage::block::footer::decode_footer(&block[block.len() - length..]).expect("a footer");
    let found = sections.iter().find(|section| section.tag == *tag).expect("a section");
    block[found.offset as usize..(found.offset + found.length) as usize].to_vec()
}

fn fresh(target: &str, files: &Files) -> Vec<Vec<u8>> {
    let Files { log, names, block, tombstones } = files;
    match target {
        "columns" => {
            let mut out: Vec<Vec<u8>> = bodies(log, LOG_MAGIC).into_iter().take(3).map(|body| body[1..].to_vec()).collect();
            out.push(section(block, b"TIME")[8..].to_vec());
            out.push(block[128 + 16..128 + 16 + 120].to_vec());
            out
        }
        // Without the length and the checksum.
        "page" => vec![block[128 + 8..128 + 16 + 400].to_vec()],
        "footer" => {
            vec![block[..128].to_vec(), block[block.len() - 160..].to_vec(), block[block.len() - 160..block.len() - 12].to_vec()]
        }
        "tombstones" => vec![tombstones.clone(), tombstones[..tombstones.len() - 4].to_vec()],
        "sections" => {
            let mut index = Vec::new();
            for tag in [b"TIME", b"SYMB", b"POST", b"SERI"] {
                let bytes = section(block, tag);
                index.extend_from_slice(&(bytes.len() as u16).to_le_bytes());
                index.extend_from_slice(&bytes);
            }
            vec![index, section(block, b"META"), section(block, b"SYMB")]
        }
        "names_record" => bodies(names, NAMES_MAGIC).into_iter().map(|body| body[1..].to_vec()).collect(),
        "log_record" => {
            let mut kinds = std::collections::BTreeMap::new();
            for body in bodies(log, LOG_MAGIC) {
                kinds.entry(body[0]).or_insert(body);
            }
            assert_eq!(kinds.keys().copied().collect::<Vec<_>>(), [1, 2, 5, 6, 7, 9], "every kind that is written");
            // What names a group or series beyond the few of the target's own names is no row there: small numbers.
            let more = [vec![1, 0, 1, 2, 7, 11, 9, 7], vec![9, 1, 1, 2, 1, 0, 2, 3, 11, 9], vec![8, 0, 2, 2, 4, 6, 0]];
            kinds.into_values().chain(more).collect()
        }
        "log_file" => vec![log.clone()],
        "block" => vec![block.clone()],
        other => panic!("no inputs for {other}"),
    }
}

#[test]
fn no_decoder_breaks_on_bytes_that_nobody_wrote() {
    let files = files();
    for (target, run) in TARGETS {
        let rounds = match *target {
            "log_file" | "block" | "names_record" | "log_record" => 80,
            _ => 2000,
        };
        replay(target, &fresh(target, &files), rounds, run);
    }
}
