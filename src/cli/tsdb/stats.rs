//! `watchkeeper tsdb stats`: what promtool's `tsdb list` and `tsdb analyze` tell, over head and blocks together.

use super::{Data, open, shown};
use crate::cli::output::{self, Table};
use crate::storage::inventory::{BlockInfo, Width};
use crate::storage::stats::StoreStats;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Aligned columns.
    #[default]
    Table,
    /// All figures as JSON.
    Json,
}

/// What `stats` takes.
#[derive(Debug, Args)]
pub(super) struct StatsArgs {
    #[command(flatten)]
    data: Data,
    /// How many entries each list has.
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
    /// How the answer is shown.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// Shows what lies in a data directory.
pub(super) fn run(args: &StatsArgs) -> anyhow::Result<()> {
    let store = open(&args.data.data_dir)?;
    let (stats, blocks, width) = (store.stats(), store.block_infos(), store.width(args.limit)?);
    store.close()?;
    let text = match args.format {
        Format::Table => text(&stats, &blocks, &width),
        Format::Json => format!("{:#}\n", as_json(&stats, &blocks, &width)),
    };
    output::show(&text);
    Ok(())
}

fn per_sample(bytes: u64, samples: u64) -> String {
    if samples == 0 { "-".to_owned() } else { format!("{:.3}", bytes as f64 / samples as f64) }
}

fn blocks_table(blocks: &[BlockInfo]) -> Table {
    let header = ["BLOCK", "FROM", "TO", "LEVEL", "SAMPLES", "SERIES", "COLUMNS", "BYTES", "BYTES/SAMPLE", "NOTES"];
    let mut table = Table::new(header);
    for block in blocks {
        let notes = [(block.overlap, "overlap"), (block.has_tombstones, "deletions")];
        let notes: Vec<&str> = notes.iter().filter(|(is, _)| *is).map(|(_, note)| *note).collect();
        table.rows.push(vec![
            block.ulid.clone(),
            shown(block.min_ms),
            shown(block.max_ms),
            block.level.to_string(),
            block.samples.to_string(),
            block.series.to_string(),
            block.columns.to_string(),
            block.bytes.to_string(),
            per_sample(block.bytes, block.samples),
            notes.join(", "),
        ]);
    }
    table
}

fn list(title: &str, entries: &[(String, u64)]) -> String {
    let mut table = Table::new(Vec::<String>::new());
    table.rows = entries.iter().map(|(name, count)| vec![count.to_string(), name.clone()]).collect();
    format!("\n{title}:\n{}", table.aligned())
}

fn text(stats: &StoreStats, blocks: &[BlockInfo], width: &Width) -> String {
    let mut out = blocks_table(blocks).aligned();
    let (samples, bytes) = (stats.block_samples, stats.block_bytes);
    let mut facts = Table::new(Vec::<String>::new());
    let mut fact = |name: &str, value: String| facts.rows.push(vec![name.to_owned(), value]);
    fact("Blocks", format!("{} with {samples} samples in {bytes} bytes, {} a sample", stats.blocks, per_sample(bytes, samples)));
    fact("In the log, not in blocks yet", format!("{} samples", stats.head_samples));
    fact("Series", width.series.to_string());
    fact("Label names", width.label_names.to_string());
    fact("Label pairs", width.label_pairs.to_string());
    fact("Label pairs of all series", width.entries.to_string());
    out.push('\n');
    out.push_str(&facts.aligned());
    out.push_str(&list("Series by metric name", &width.widest.series_by_metric));
    out.push_str(&list("Values by label name", &width.widest.values_by_label));
    out.push_str(&list("Series by label pair", &width.widest.series_by_pair));
    out.push_str(&list("Bytes of values by label name, for each series", &width.widest.bytes_by_label));
    out
}

fn as_json(stats: &StoreStats, blocks: &[BlockInfo], width: &Width) -> Value {
    let list = |entries: &[(String, u64)]| -> Value {
        entries.iter().map(|(name, value)| json!({"name": name, "value": value})).collect()
    };
    let block = |block: &BlockInfo| {
        json!({
            "ulid": block.ulid,
            "minTime": block.min_ms,
            "maxTime": block.max_ms,
            "level": block.level,
            "overlap": block.overlap,
            "samples": block.samples,
            "series": block.series,
            "columns": block.columns,
            "bytes": block.bytes,
            "created": block.created_ms,
            "parents": block.parents,
            "deletions": block.has_tombstones,
        })
    };
    json!({
        "blocks": blocks.iter().map(block).collect::<Vec<_>>(),
        "blockSamples": stats.block_samples,
        "blockBytes": stats.block_bytes,
        "headSamples": stats.head_samples,
        "series": width.series,
        "labelNames": width.label_names,
        "labelPairs": width.label_pairs,
        "labelPairEntries": width.entries,
        "seriesCountByMetricName": list(&width.widest.series_by_metric),
        "labelValueCountByLabelName": list(&width.widest.values_by_label),
        "seriesCountByLabelValuePair": list(&width.widest.series_by_pair),
        "memoryInBytesByLabelName": list(&width.widest.bytes_by_label),
    })
}
