//! `watchkeeper tsdb stats|verify|snapshot|export|import`: works on the data directory of a stopped server (and takes its
//! LOCK); `snapshot --url` asks a running one.

mod bar;
mod stats;
mod verify;

use super::client::{Server, ServerArgs, block_on};
use super::output;
use crate::env::Env;
use crate::model::matcher::Matcher;
use crate::storage::select::TimeRange;
use crate::storage::transfer::{export, import};
use crate::storage::{Store, StoreOptions};
use crate::telemetry::metrics::Registry;
use anyhow::Context as _;
use clap::{Args, Subcommand};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What `tsdb` takes.
#[derive(Debug, Args)]
pub(super) struct TsdbArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Clone, Debug, Args)]
struct Data {
    /// The data directory.
    #[arg(long, value_name = "DIR", default_value = "./data")]
    data_dir: PathBuf,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Shows blocks, log, and how wide the labels are.
    Stats(stats::StatsArgs),
    /// Checks every checksum, decodes every column, and says what a damage costs. Changes nothing.
    Verify(Data),
    /// Makes a snapshot below `snapshots/`: a data directory of its own that shares the blocks' bytes.
    Snapshot(SnapshotArgs),
    /// Writes samples as OpenMetrics text to standard output.
    Export(ExportArgs),
    /// Reads OpenMetrics text whose samples have timestamps, and writes it as blocks.
    Import(ImportArgs),
}

#[derive(Debug, Args)]
struct SnapshotArgs {
    #[command(flatten)]
    data: Data,
    /// Ask the running server at `--url` instead of opening the data directory.
    #[arg(long, conflicts_with = "data_dir")]
    running: bool,
    #[command(flatten)]
    server: ServerArgs,
    /// Leave out what is not in blocks yet.
    #[arg(long)]
    skip_head: bool,
}

#[derive(Debug, Args)]
struct ExportArgs {
    #[command(flatten)]
    data: Data,
    /// Series to write; may be given several times. Default: all.
    #[arg(long = "match", value_name = "SELECTOR")]
    selectors: Vec<String>,
    /// First time: milliseconds since 1970, or RFC 3339.
    #[arg(long, value_name = "TIME", value_parser = time, allow_hyphen_values = true)]
    min_time: Option<i64>,
    /// Last time.
    #[arg(long, value_name = "TIME", value_parser = time, allow_hyphen_values = true)]
    max_time: Option<i64>,
}

#[derive(Debug, Args)]
struct ImportArgs {
    #[command(flatten)]
    data: Data,
    /// The text; none or `-`: standard input.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

fn time(text: &str) -> Result<i64, String> {
    if let Ok(at_ms) = text.parse() {
        return Ok(at_ms);
    }
    let at: Result<jiff::Timestamp, _> = text.parse();
    at.map(jiff::Timestamp::as_millisecond).map_err(|_| "neither milliseconds since 1970 nor RFC 3339".to_owned())
}

/// Shows a time to the second.
fn shown(at_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(at_ms)
        .map_or_else(|_| format!("{at_ms} ms"), |at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// Runs the command.
pub(super) fn run(args: &TsdbArgs) -> ExitCode {
    let done = match &args.what {
        What::Stats(args) => stats::run(args),
        What::Verify(data) => return verify::run(&data.data_dir),
        What::Snapshot(args) => snapshot(args),
        What::Export(args) => export_text(args),
        What::Import(args) => import_text(args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads our output has enough of it.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => super::fail(&error),
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>()).any(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Opens the store of a stopped server; nothing is merged or removed meanwhile.
fn open(dir: &Path) -> anyhow::Result<Store> {
    let env = Env::real();
    let format = dir.join("FORMAT");
    let known = env.disk.stat(&format).with_context(|| format!("looking at {}", format.display()))?;
    anyhow::ensure!(known.is_some(), "{} is no data directory (it has no FORMAT)", dir.display());
    let options = StoreOptions {
        dir: dir.to_owned(),
        retention_ms: 0,
        housekeeping: false,
        progress: bar::progress(),
        ..StoreOptions::default()
    };
    Ok(Store::open(&env, options, &Registry::new())?)
}

fn snapshot(args: &SnapshotArgs) -> anyhow::Result<()> {
    if args.running {
        let form = [("skip_head", if args.skip_head { "true" } else { "false" })];
        let answer = block_on(async { Server::new(&args.server).data("/api/v1/admin/tsdb/snapshot", Some(&form)).await })?;
        output::note(&answer.notes);
        output::show(&format!("{}\n", answer.data["name"].as_str().unwrap_or_default()));
        return Ok(());
    }
    let dir = &args.data.data_dir;
    let store = open(dir)?;
    let name = store.snapshot(args.skip_head)?;
    store.close()?;
    output::show(&format!("{}\n", dir.join("snapshots").join(name).display()));
    Ok(())
}

fn export_text(args: &ExportArgs) -> anyhow::Result<()> {
    let parse = |text: &String| -> anyhow::Result<Vec<Matcher>> {
        crate::promql::parse::parse_selector(text).map_err(|error| anyhow::anyhow!("--match {text}: {error}"))
    };
    let matchers = args.selectors.iter().map(parse).collect::<anyhow::Result<Vec<_>>>()?;
    let range = TimeRange { start_ms: args.min_time.unwrap_or(i64::MIN), end_ms: args.max_time.unwrap_or(i64::MAX) };
    let kept_aside = || Env::real().disk.list(&args.data.data_dir.join("quarantine")).map_or(0, |entries| entries.len());
    let before = kept_aside();
    let store = open(&args.data.data_dir)?;
    let put_aside = kept_aside().saturating_sub(before);
    let options = export::ExportOptions { matchers, range, held: store.held() };
    let mut out = io::BufWriter::with_capacity(1 << 18, io::stdout().lock());
    let done = export::export(&store, &options, &mut out, &bar::progress())?;
    out.flush()?;
    drop(out);
    store.close()?;
    let mut notes: Vec<String> = done.warnings.iter().map(|warning| format!("warning: {warning}")).collect();
    notes.push(format!("{} samples of {} series", done.samples, done.series));
    if done.histograms > 0 {
        notes.push(format!("{} native histograms were written as classic buckets", done.histograms));
    }
    if done.nameless > 0 {
        notes.push(format!("{} series without a name were left out: OpenMetrics text cannot say them", done.nameless));
    }
    if done.stale_markers > 0 {
        notes.push(format!("{} stale markers were left out", done.stale_markers));
    }
    if put_aside > 0 {
        notes.push("warning: damaged files were put into quarantine while opening; the .txt there says which and why".to_owned());
    }
    output::note(&notes);
    anyhow::ensure!(put_aside == 0 && done.warnings.is_empty(), "not everything could be read");
    Ok(())
}

fn import_text(args: &ImportArgs) -> anyhow::Result<()> {
    let (env, dir, progress) = (Env::real(), &args.data.data_dir, bar::progress());
    let file = args.file.as_deref().filter(|file| *file != Path::new("-"));
    let (name, done) = match file {
        Some(file) => (file.display().to_string(), import::import_file(&env, dir, file, import::MEMORY_BYTES, &progress)),
        None => {
            let mut input = io::stdin().lock();
            ("standard input".to_owned(), import::import(&env, dir, &mut input, 0, import::MEMORY_BYTES, &progress))
        }
    };
    let done = match done {
        Err(error @ import::ImportError::Text(_)) => anyhow::bail!("{name}:{error}"),
        done => done?,
    };
    let mut text = format!("{} samples", done.samples);
    if done.written < done.samples {
        text = format!("{text}, {} of them repeated", done.samples - done.written);
    }
    if let (Some(min_ms), Some(max_ms)) = (done.min_ms, done.max_ms) {
        text = format!("{text}, {} to {}, in {} blocks", shown(min_ms), shown(max_ms), done.blocks.len());
    }
    output::show(&format!("{text}\n"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_milliseconds_or_rfc3339() {
        assert_eq!(time("-5"), Ok(-5));
        assert_eq!(time("2026-11-22T00:00:00.5Z"), Ok(1_795_305_600_500));
        assert!(time("yesterday").is_err());
        assert_eq!(shown(1_795_305_600_500), "2026-11-22T00:00:00Z");
    }
}
