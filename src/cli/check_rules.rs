//! `watchkeeper check rules FILE...`: do the rules load, and is anything in them probably a mistake?

#![expect(clippy::print_stderr, reason = "a command speaks to its user")]

use super::check::DiskFiles;
use super::client::{self, Server, ServerArgs};
use crate::config::{ConfigError, Files as _};
use crate::env::Env;
use crate::model::duration;
use crate::model::metadata::MetricType;
use crate::model::number::quote;
use crate::rules::file::{self, Read, RuleFileError};
use crate::rules::lint::{self, Known, Weight};
use crate::rules::spec::{GroupSpec, RuleKind, RuleSpec};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Rule files to check.
#[derive(Debug, clap::Args)]
pub(super) struct CheckRulesArgs {
    /// The files.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Lets warnings (not hints) fail the check.
    #[arg(long)]
    lint_fatal: bool,
    /// Passes over keys that no rule file has.
    #[arg(long)]
    ignore_unknown_fields: bool,
    /// Asks a running server which metrics are gauges.
    #[arg(long)]
    metadata: bool,
    /// Tells how often each alert would have fired on the data of a running server.
    #[arg(long)]
    replay: bool,
    /// How far back the replay goes.
    #[arg(long, value_name = "DURATION", default_value = "7d", value_parser = super::client::duration, requires = "replay")]
    since: Duration,
    #[command(flatten)]
    server: ServerArgs,
}

/// Checks and answers 0 where all files load.
#[must_use]
pub(super) fn run(args: &CheckRulesArgs) -> ExitCode {
    let mut fine = true;
    let types = match args.metadata.then(|| client::block_on(metric_types(&args.server))).transpose() {
        Ok(types) => types.unwrap_or_default(),
        Err(error) => {
            eprintln!("metadata: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let metric_type = |name: &str| types.get(name).copied();
    let mut known = Known::with_types(&metric_type);
    for path in &args.files {
        let name = path.display();
        match read(path, args.ignore_unknown_fields) {
            Ok(read) => {
                let rules: usize = read.file.groups.iter().map(|group| group.rules.len()).sum();
                super::output::show(&format!("{name}: ok ({rules} rules)\n"));
                fine &= remark(&name.to_string(), &read, &mut known) || !args.lint_fatal;
                fine &= !args.replay || replay(&name.to_string(), &read, args);
            }
            Err(errors) => {
                fine = false;
                for error in errors {
                    eprintln!("{}", error.in_file(&name));
                }
            }
        }
    }
    if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Asks a server what its exporters say of metrics. Where they do not agree nothing is said.
async fn metric_types(server: &ServerArgs) -> anyhow::Result<BTreeMap<String, MetricType>> {
    let answer = Server::new(server).data("/api/v1/metadata", None).await?.data;
    let mut types = BTreeMap::new();
    for (name, said) in answer.as_object().into_iter().flatten() {
        let mut words = said.as_array().into_iter().flatten().map(|said| said["type"].as_str().unwrap_or_default());
        let first = words.next().unwrap_or_default();
        let known = match first {
            "gauge" => MetricType::Gauge,
            "counter" => MetricType::Counter,
            "histogram" => MetricType::Histogram,
            "summary" => MetricType::Summary,
            _ => MetricType::Unknown,
        };
        types.insert(name.clone(), if words.all(|word| word == first) { known } else { MetricType::Unknown });
    }
    Ok(types)
}

/// Replays the alerting rules of a file on a server's data and prints what would have been; answers whether all could be.
fn replay(name: &str, read: &Read, args: &CheckRulesArgs) -> bool {
    let done = client::block_on(async {
        let server = Server::new(&args.server);
        let mut fine = true;
        for group in &read.file.groups {
            for rule in group.rules.iter().filter(|rule| rule.is_alert()) {
                match replay_rule(&server, group, rule, args.since).await {
                    Ok(words) => super::output::show(&format!("{name}:{}: {words}", rule.line)),
                    Err(error) => {
                        fine = false;
                        eprintln!("{name}:{}: {} cannot be replayed: {error:#}", rule.line, rule.name);
                    }
                }
            }
        }
        Ok(fine)
    });
    done.unwrap_or_else(|error| {
        eprintln!("{error:#}");
        false
    })
}

async fn replay_rule(server: &Server, group: &GroupSpec, rule: &RuleSpec, since: Duration) -> anyhow::Result<String> {
    let RuleKind::Alert { for_ms, keep_firing_for_ms, .. } = rule.kind else { return Ok(String::new()) };
    let labels: serde_json::Map<String, Value> =
        rule.labels.iter().map(|(name, text)| (name.clone(), Value::from(text.as_str()))).collect();
    let now_ms = Env::real().clock.now_ms();
    let seconds = |milliseconds: i64| format!("{}", milliseconds as f64 / 1000.0);
    let since_ms = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
    let (start, end) = (seconds(now_ms.saturating_sub(since_ms)), seconds(now_ms));
    let (hold, keep, labels) = (seconds(for_ms), seconds(keep_firing_for_ms), Value::Object(labels).to_string());
    let interval = group.interval_ms.map(seconds);
    let mut form = vec![
        ("expr", rule.text.as_str()),
        ("alert", rule.name.as_str()),
        ("for", hold.as_str()),
        ("keep_firing_for", keep.as_str()),
        ("labels", labels.as_str()),
        ("start", start.as_str()),
        ("end", end.as_str()),
    ];
    if let Some(interval) = &interval {
        form.push(("interval", interval));
    }
    let answer = server.data("/api/watchkeeper/v1/rules/replay", Some(&form)).await?.data;
    Ok(replayed_words(&rule.name, since_ms, &answer))
}

/// Spans that are printed of each rule.
const SPANS_SHOWN: usize = 5;

/// Says what a replay found: a line, and below it the newest times of firing.
fn replayed_words(rule: &str, since_ms: i64, answer: &Value) -> String {
    let number = |name: &str| answer[name].as_u64().unwrap_or(0);
    let (fired, gave_up) = (number("fired"), number("gaveUp"));
    let length = |seconds: f64| duration::format_ms((seconds * 1000.0) as i64);
    let since = duration::format_ms(since_ms);
    let times = |count: u64| if count == 1 { "once".to_owned() } else { format!("{count} times") };
    let mut words = match fired {
        0 => format!("{rule} would not have fired in the last {since}"),
        _ => {
            let total = length(answer["firingSeconds"].as_f64().unwrap_or(0.0));
            format!("{rule} would have fired {} in the last {since}, for {total} in all", times(fired))
        }
    };
    if gave_up > 0 {
        words = format!("{words}; it would have been pending {} without firing", times(gave_up));
    }
    words.push('\n');
    let mut spans: Vec<(f64, String)> = Vec::new();
    for alert in answer["alerts"].as_array().into_iter().flatten() {
        let mut labels: Vec<String> = Vec::new();
        for (name, value) in alert["labels"].as_object().into_iter().flatten().filter(|(name, _)| *name != "alertname") {
            labels.push(format!("{name}={}", quote(value.as_str().unwrap_or_default())));
        }
        for span in alert["spans"].as_array().into_iter().flatten().filter(|span| span["state"] == "firing") {
            let start = span["start"].as_f64().unwrap_or(0.0);
            let time = jiff::Timestamp::from_millisecond((start * 1000.0) as i64).unwrap_or_default();
            let took = span["end"].as_f64().map_or_else(|| "still".to_owned(), |end| length(end - start));
            spans.push((start, format!("    {time} {took} {{{}}}\n", labels.join(", "))));
        }
    }
    spans.sort_by(|left, right| right.0.total_cmp(&left.0));
    let more = spans.len().saturating_sub(SPANS_SHOWN);
    for (_, line) in spans.iter().take(SPANS_SHOWN) {
        words.push_str(line);
    }
    if more > 0 {
        words = format!("{words}    and {more} earlier\n");
    }
    words
}

/// Reads a rule file from the disk.
pub(super) fn read(path: &Path, ignore_unknown_fields: bool) -> Result<Read, Vec<RuleFileError>> {
    let text = DiskFiles.text(path).map_err(|error| {
        let ConfigError { line, column, message, .. } = error;
        vec![RuleFileError { line, column, message }]
    })?;
    if ignore_unknown_fields { file::read_ignoring_unknown(&text) } else { file::read(&text) }
}

/// Prints what may be a mistake; answers whether there is no warning.
fn remark(name: &str, read: &Read, known: &mut Known<'_>) -> bool {
    if read.has_more_documents {
        eprintln!("{name}: warning: only the first YAML document counts, and there are more");
    }
    let remarks = lint::remarks(name, &read.file, known);
    for remark in &remarks {
        eprintln!("{name}:{remark}");
    }
    remarks.iter().all(|remark| remark.weight != Weight::Warning)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_replay_is_told_in_a_line_and_its_newest_spans() {
        let span = |start: f64, end: Option<f64>| json!({"state": "firing", "start": start, "end": end, "value": "1"});
        let spans: Vec<Value> =
            (0..7).map(|place| span(f64::from(place) * 100.0, (place < 6).then(|| f64::from(place) * 100.0 + 90.0))).collect();
        let answer = json!({"fired": 7, "gaveUp": 1, "firingSeconds": 600.0, "alerts": [{"labels": {"alertname": "A", "x": "y"}, "spans": spans}]});
        let words = replayed_words("A", 7 * 86_400_000, &answer);
        let expected = "A would have fired 7 times in the last 1w, for 10m in all; it would have been pending once without firing
    1970-01-01T00:10:00Z still {x=\"y\"}
    1970-01-01T00:08:20Z 1m30s {x=\"y\"}
";
        assert!(words.starts_with(expected) && words.ends_with("    and 2 earlier\n"), "{words}");
        let never = replayed_words("A", 3_600_000, &json!({"fired": 0, "gaveUp": 0, "alerts": []}));
        assert_eq!(never, "A would not have fired in the last 1h\n");
    }
}
