//! How small blocks get and how fast they are read back, with the load generator's values.
//!
//! Reads what `fleet columns --format f64` wrote (series after series, target after target), scrapes it into a store in a
//! temporary folder as so many targets, compacts, and prints bytes a sample by part of the file, and the rate of reading.
//! `benches/blocks.sh` makes the values and runs this.

#![allow(clippy::print_stdout, clippy::disallowed_methods, clippy::string_slice, reason = "a tool for a terminal")]

use anyhow::{Context as _, Result, bail};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use watchkeeper::env::Env;
use watchkeeper::model::labels::Labels;
use watchkeeper::model::matcher::Matcher;
use watchkeeper::storage::append::{Append as _, SeriesId};
use watchkeeper::storage::measure::Pages;
use watchkeeper::storage::select::{Hints, Querier as _, TimeRange, Values};
use watchkeeper::storage::{Store, StoreOptions};
use watchkeeper::telemetry::metrics::Registry;

const STEP_MS: i64 = 15_000;

/// Reads the series of a template: `name{label="value",...} CLASS ...`.
fn template(path: &Path) -> Result<Vec<Vec<(String, String)>>> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let mut series = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
        let mut labels = Vec::new();
        let name_end = line.find(['{', ' ']).context("a template line without a class")?;
        labels.push(("__name__".to_owned(), line[..name_end].to_owned()));
        if line[name_end..].starts_with('{') {
            let mut rest = &line[name_end + 1..];
            while !rest.starts_with('}') {
                let (name, more) = rest.split_once("=\"").context("a label without a value")?;
                let (value, more) = more.split_once('"').context("a label's value without an end")?;
                if !value.is_empty() {
                    labels.push((name.trim_start_matches(',').trim().to_owned(), value.to_owned()));
                }
                rest = more;
            }
        }
        series.push(labels);
    }
    Ok(series)
}

fn columns(path: &Path) -> Result<Vec<f64>> {
    let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
    Ok(bytes.as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect())
}

fn option(name: &str, default: &str) -> String {
    let mut words = std::env::args().skip_while(|word| word != name).skip(1);
    words.next().unwrap_or_else(|| default.to_owned())
}

/// Sizes of the parts of all blocks in a folder, from their footers.
fn parts(dir: &Path) -> Result<BTreeMap<String, u64>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(dir.join("blocks"))? {
        let path = entry?.path();
        if path.extension().is_none_or(|ending| ending != "blk") {
            continue;
        }
        let bytes = std::fs::read(&path)?;
        let tail = bytes.len() - 16; // the second copy of the footer
        let count = u32::from_le_bytes(bytes[tail..tail + 4].try_into()?) as usize;
        let footer = tail - count * 24;
        let mut first = u64::MAX;
        for entry in bytes[footer..tail].chunks(24) {
            let tag = String::from_utf8_lossy(&entry[..4]).into_owned();
            first = first.min(u64::from_le_bytes(entry[8..16].try_into()?));
            *found.entry(tag).or_default() += u64::from_le_bytes(entry[16..24].try_into()?);
        }
        *found.entry("pages".to_owned()).or_default() += first - 128;
        *found.entry("all blocks".to_owned()).or_default() += bytes.len() as u64;
        *found.entry("blocks, number of".to_owned()).or_default() += 1;
    }
    Ok(found)
}

fn folder_bytes(dir: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        bytes += if entry.file_type()?.is_dir() { folder_bytes(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(bytes)
}

/// Reads all samples in batches, as the query engine does. Returns samples and seconds.
fn read_all(store: &Store, buffer: &mut Vec<f64>) -> Result<(u64, f64)> {
    let began = Instant::now();
    let range = TimeRange { start_ms: i64::MIN, end_ms: i64::MAX };
    let matcher = Matcher::equal("job", "node");
    let selection = store.select(&[matcher], range, &Hints::default())?;
    let mut samples = 0;
    for from in (0..selection.series.len()).step_by(64) {
        for series in selection.reader.read(from..(from + 64).min(selection.series.len()))? {
            buffer.clear();
            match &series.values {
                Values::Constant(value) => buffer.resize(series.len(), *value),
                Values::Linear { first, step } => buffer.extend((0..series.len()).map(|i| first + step * i as f64)),
                Values::Floats(values) => buffer.extend_from_slice(values),
                Values::Mixed(_) => bail!("a histogram in float data"),
            }
            samples += std::hint::black_box(&*buffer).len() as u64;
        }
    }
    Ok((samples, began.elapsed().as_secs_f64()))
}

/// Encodes and decodes pages without a store: columns of a block that is kept, and of a fresh one.
fn pages(values: &[f64], rows: usize) -> Result<()> {
    for (what, length, dense) in
        [("packed, 120 rows", 120, false), ("packed, 480 rows", 480, false), ("dense, 1440 rows", 1440, true)]
    {
        let columns: Vec<&[f64]> = values.chunks(rows).flat_map(|series| series.chunks(length)).collect();
        let began = Instant::now();
        let pages = Pages::encode(&columns, dense).context("a page cannot be read back")?;
        let encoded = began.elapsed().as_secs_f64();
        let (mut best, mut seen) = (f64::MAX, 0);
        for _ in 0..5 {
            seen = 0;
            let began = Instant::now();
            let decoded = pages.decode(|floats| seen += std::hint::black_box(floats).len());
            decoded.context("a column cannot be decoded")?;
            best = best.min(began.elapsed().as_secs_f64());
        }
        let samples = values.len() as f64;
        if seen != values.len() {
            bail!("{seen} samples were decoded of {}", values.len());
        }
        println!(
            "pages, {what}: {:.4} B a sample, encoded at {:.1} ns, decoded at {:.0} M samples/s",
            pages.stored_bytes() as f64 / samples,
            encoded * 1e9 / samples,
            samples / best / 1e6
        );
    }
    Ok(())
}

fn main() -> Result<()> {
    let targets: usize = option("--targets", "4").parse()?;
    let template = template(Path::new(&option("--template", "../shared/bench/fleet/templates/node.tmpl")))?;
    let values = columns(Path::new(&option("--columns", "target/bench/columns.f64")))?;
    let start_ms: i64 = option("--start", "1760000000").parse::<i64>()? * 1000;
    let rows = values.len() / (targets * template.len());
    if rows == 0 || rows * targets * template.len() != values.len() {
        bail!("{} values are no {targets} targets of {} series", values.len(), template.len());
    }
    let dir = PathBuf::from(option("--dir", "target/bench/blocks"));
    if dir.exists() {
        std::fs::remove_dir_all(&dir)?;
    }
    let options = StoreOptions { dir: dir.clone(), retention_ms: 0, ..StoreOptions::default() };
    let env = Env::real();
    let store = Store::open(&env, options.clone(), &Registry::new())?;
    let mut layouts: Vec<(_, Arc<[SeriesId]>)> = Vec::new();
    for target in 0..targets {
        let instance = format!("node-{target:04}:9100");
        let series = |labels: &Vec<(String, String)>| {
            let own = [("instance".to_owned(), instance.clone()), ("job".to_owned(), "node".to_owned())];
            store.series(&Labels::from_pairs(labels.iter().cloned().chain(own)))
        };
        let series: Arc<[SeriesId]> = template.iter().map(series).collect::<Result<_, _>>()?;
        layouts.push((store.group(&format!("scrape/node/{instance}"))?, series));
    }
    pages(&values, rows)?;
    let began = Instant::now();
    let mut row_values = vec![0.0; template.len()];
    for row in 0..rows {
        for (target, (group, series)) in layouts.iter().enumerate() {
            for (column, value) in row_values.iter_mut().enumerate() {
                *value = values[(target * template.len() + column) * rows + row];
            }
            let at_ms = start_ms + row as i64 * STEP_MS + target as i64 * 1237;
            store.append_row(*group, at_ms, series, &row_values)?;
        }
    }
    let samples = values.len() as f64;
    println!("{rows} rows of {} series, {targets} targets: {:.1} M samples", template.len(), samples / 1e6);
    println!("append        {:8.1} ns a sample", began.elapsed().as_secs_f64() * 1e9 / samples);
    let began = Instant::now();
    store.compact_all()?;
    println!("compact       {:8.1} ns a sample", began.elapsed().as_secs_f64() * 1e9 / samples);
    store.close()?;
    drop(store);
    for (name, bytes) in parts(&dir)? {
        println!("{name:<20} {bytes:>10}  {:.4} B a sample", bytes as f64 / samples);
    }
    let all = folder_bytes(&dir)?;
    println!("{:<20} {all:>10}  {:.4} B a sample", "all files", all as f64 / samples);
    let began = Instant::now();
    let store = Store::open(&env, options, &Registry::new())?;
    println!("open          {:8.2} ms", began.elapsed().as_secs_f64() * 1e3);
    let mut buffer = Vec::new();
    for what in ["read, first", "read, again", "read, again"] {
        let (read, seconds) = read_all(&store, &mut buffer)?;
        if read != values.len() as u64 {
            bail!("{read} samples came back of {}", values.len());
        }
        println!("{what:<13} {:8.1} M samples/s", read as f64 / seconds / 1e6);
    }
    Ok(())
}
