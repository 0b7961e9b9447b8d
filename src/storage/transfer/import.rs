//! Import: OpenMetrics text to blocks, as `promtool tsdb create-blocks-from openmetrics` does it.
//!
//! ```text
//! text --parts--> samples --runs--> <data>/import.tmp/*.blk --one block for each period--> blocks/
//! ```
//!
//! Every sample needs a timestamp; series and times may come in any order, and of two samples of one series and time the
//! later in the text wins. Nothing appears in the store before the whole text was understood. TYPE, HELP and UNIT are kept: with
//! the series, and in a segment of the log, where they live. Exemplars are read past. A period is a day, or 10 or 100 days where the text spans more than a month or a year.

use super::reading::{FileReader, ReadError, Reading, Refused};
use super::runs::Runs;
use crate::env::Env;
use crate::env::disk::Open;
use crate::exposition::{Entry, ParseError, Parser};
use crate::model::labels::LabelsBuilder;
use crate::model::limits;
use crate::model::metadata::Metadata;
use crate::storage::blocks::BlockSet;
use crate::storage::dir;
use crate::storage::error::StoreError;
use crate::storage::head::TIME_MAX_MS;
use crate::storage::metadata::MetadataMap;
use crate::storage::progress::{Progress, Task};
use crate::storage::wal::files::{GrowingFile, numbers};
use crate::storage::wal::record::put_metadata;
use crate::storage::wal::segment::LOG_MAGIC;
use std::io;
use std::path::{Path, PathBuf};

const DAY_MS: i64 = 86_400_000;
/// Periods, in days, and up to how many days each serves.
const PERIODS: [(i64, i64); 3] = [(1, 31), (10, 366), (100, i64::MAX)];
/// Memory for samples, about.
pub const MEMORY_BYTES: usize = 128 << 20;

/// Why nothing was imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The text is wrong; line and column are in the error.
    #[error("{}:{}: {}", .0.line, .0.column, .0.message)]
    Text(ParseError),
    /// The text could not be read.
    #[error("reading the text")]
    Read(#[source] io::Error),
    /// The store could not be written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What was imported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Samples read.
    pub samples: u64,
    /// Samples written: of equal series and time only one is.
    pub written: u64,
    /// Oldest time, milliseconds since 1970.
    pub min_ms: Option<i64>,
    /// Newest time.
    pub max_ms: Option<i64>,
    /// Blocks written.
    pub blocks: Vec<PathBuf>,
}

/// Imports a file. See [`import`].
///
/// # Errors
/// As [`import`].
pub fn import_file(env: &Env, dir: &Path, file: &Path, memory: usize, progress: &Progress) -> Result<Imported, ImportError> {
    let opened = env.disk.open(file, Open::Read).and_then(|file| Ok((file.len()?, file)));
    let (length, opened) = opened.map_err(StoreError::io("opening", file))?;
    import(env, dir, &mut FileReader { file: opened, length, at: 0 }, length, memory, progress)
}

/// Imports a text of `length` bytes (0: not known) into the data directory of a stopped server. Takes the LOCK. Blocks.
///
/// `memory`: bytes that samples may take before they are put on disk.
///
/// # Errors
/// When the text is wrong, or could not be read, or the blocks not be written. The store is then as it was.
pub fn import(
    env: &Env,
    dir: &Path,
    input: &mut dyn io::Read,
    length: u64,
    memory: usize,
    progress: &Progress,
) -> Result<Imported, ImportError> {
    let _held = dir::open(env, dir)?;
    let folder = dir.join("import.tmp");
    env.disk.create_dir_all(&folder).map_err(StoreError::io("making", &folder))?;
    let done = run(env, dir, &folder, input, length, memory, progress);
    if let Err(error) = env.disk.remove_dir_all(&folder) {
        tracing::debug!(folder = %folder.display(), %error, "an unfinished import is left for the next start");
    }
    done
}

fn run(
    env: &Env,
    dir: &Path,
    folder: &Path,
    input: &mut dyn io::Read,
    length: u64,
    memory: usize,
    progress: &Progress,
) -> Result<Imported, ImportError> {
    let mut runs = Runs::new(env, folder, memory);
    let mut imported = Imported::default();
    progress.begin(Task::Import, length);
    read(input, &mut runs, &mut imported, progress)?;
    runs.finish()?;
    progress.end();
    let Some((first_ms, last_ms)) = runs.range else { return Ok(imported) };
    (imported.min_ms, imported.max_ms) = (Some(first_ms), Some(last_ms));
    let present = BlockSet::open(env, dir)?;
    let done = folder.join("blocks");
    env.disk.create_dir_all(&done).map_err(StoreError::io("making", &done))?;
    let days = last_ms.div_euclid(DAY_MS) - first_ms.div_euclid(DAY_MS) + 1;
    let period_ms = PERIODS.iter().find(|(_, most)| days <= *most).map_or(100, |(period, _)| *period) * DAY_MS;
    let periods = first_ms.div_euclid(period_ms)..=last_ms.div_euclid(period_ms);
    progress.begin(Task::Blocks, (periods.end() - periods.start() + 1).unsigned_abs());
    let mut fresh = Vec::new();
    for period in periods {
        let range = (period * period_ms, (period + 1) * period_ms - 1);
        let overlap = present.list().iter().any(|block| block.overlaps(range.0, range.1));
        // What lies over other blocks is to be merged with them.
        let level = if overlap { 1 } else { 2 };
        fresh.extend(runs.block(range, &done, level, overlap)?);
        progress.advance(1);
    }
    let target = present.folder();
    for path in fresh {
        let named = target.join(path.file_name().unwrap_or_default());
        env.disk.rename(&path, &named).map_err(StoreError::io("naming", &named))?;
        imported.blocks.push(named);
    }
    env.disk.sync_dir(target).map_err(StoreError::io("syncing", target))?;
    for block in present.install(&imported.blocks)? {
        imported.written += block.header.samples;
    }
    say_of_metrics(env, dir, &runs.metadata)?;
    progress.end();
    Ok(imported)
}

/// Writes what the text says of metrics as a segment of the log: the next start reads it.
fn say_of_metrics(env: &Env, dir: &Path, metadata: &MetadataMap) -> Result<(), StoreError> {
    let mut records = Vec::new();
    for (metric, known) in metadata.get(None) {
        for metadata in &known {
            let mut record = Vec::new();
            put_metadata(&mut record, &metric, metadata);
            records.push(record);
        }
    }
    if records.is_empty() {
        return Ok(());
    }
    let folder = dir.join("wal");
    let write = || {
        let next = numbers(&*env.disk, &folder)?.last().map_or(1, |last| last + 1);
        let mut file = GrowingFile::create(&*env.disk, &folder, LOG_MAGIC, next, env.clock.now_ms())?;
        file.write_records(records.iter().map(Vec::as_slice))?;
        file.handle().sync_data()?;
        env.disk.sync_dir(&folder)
    };
    write().map_err(StoreError::io("writing what is known of metrics into", &folder))
}

fn read(input: &mut dyn io::Read, runs: &mut Runs<'_>, imported: &mut Imported, progress: &Progress) -> Result<(), ImportError> {
    let mut known: Option<(Vec<u8>, u32)> = None;
    let mut builder = LabelsBuilder::new();
    let read = Reading::new(input).entries(progress, |parser, entry, timestamp| {
        if entry != Entry::Sample {
            note(&mut runs.metadata, parser, entry);
            return Ok(());
        }
        let at_ms = time(parser, timestamp).map_err(Refused::Text)?;
        let series = match &known {
            Some((bytes, number)) if bytes == parser.series() => *number,
            _ => {
                builder = LabelsBuilder::new();
                parser.labels_into(&mut builder).map_err(|error| Refused::Text(error.message))?;
                let labels = builder.build();
                limits::check_labels(&labels).map_err(Refused::Text)?;
                let number = runs.series(labels);
                known = Some((parser.series().to_vec(), number));
                number
            }
        };
        imported.samples += 1;
        if runs.add(series, at_ms, parser.value()).map_err(Refused::Receiver)? {
            known = None;
        }
        Ok(())
    });
    read.map_err(|error| match error {
        ReadError::Text(error) => ImportError::Text(error),
        ReadError::Io(error) => ImportError::Read(error),
        ReadError::Receiver(error) => ImportError::Store(error),
    })
}

/// Notes what a line says of a metric.
fn note(metadata: &mut MetadataMap, parser: &Parser<'_>, entry: Entry) {
    let metric = parser.metric();
    let known = metadata.exactly(&metric).cloned().unwrap_or_default();
    let said = match entry {
        Entry::Type => Metadata { metric_type: parser.metric_type(), ..known },
        Entry::Help => Metadata { help: parser.help().into_owned(), ..known },
        Entry::Unit => Metadata { unit: parser.unit().into_owned(), ..known },
        Entry::Comment | Entry::Sample => return,
    };
    // What says nothing is not worth a record.
    if said != Metadata::default() {
        metadata.note(&metric, &said);
    }
}

/// Reads a sample's time to the nearest millisecond (the grammar's own reading cuts off what floats lost).
fn time(parser: &Parser<'_>, timestamp: Option<&[u8]>) -> Result<i64, String> {
    let series = || String::from_utf8_lossy(parser.series()).into_owned();
    let text = timestamp.ok_or_else(|| format!("expected timestamp for series {}, got none", series()))?;
    let seconds = str::from_utf8(text).ok().and_then(crate::model::number::parse_float).unwrap_or(f64::NAN);
    let at_ms = (seconds * 1000.0).round();
    if at_ms.abs() > TIME_MAX_MS as f64 || at_ms.is_nan() {
        return Err(format!("timestamp {} is out of bounds", String::from_utf8_lossy(text)));
    }
    Ok(at_ms as i64)
}
