//! Answers for people and programs: aligned tables, CSV, JSON, and graphs of block characters.

use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use unicode_width::UnicodeWidthStr as _;

/// Rows of texts under a header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) header: Vec<String>,
    pub(super) rows: Vec<Vec<String>>,
}

impl Table {
    /// Returns a table with that header.
    pub(super) fn new<T: Into<String>>(header: impl IntoIterator<Item = T>) -> Self {
        Self { header: header.into_iter().map(Into::into).collect(), rows: Vec::new() }
    }

    /// Lays the columns side by side, two blanks between them. Wide characters take two places, and what would move the cursor is
    /// escaped: a row is a line.
    pub(super) fn aligned(&self) -> String {
        let lines = || std::iter::once(&self.header).chain(&self.rows);
        let columns = lines().map(Vec::len).max().unwrap_or(0);
        let lines: Vec<Vec<Cow<'_, str>>> = lines().map(|row| row.iter().map(|cell| shown(cell)).collect()).collect();
        let width = |column: usize| lines.iter().filter_map(|row| row.get(column)).map(|cell| cell.width()).max();
        let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
        let mut out = String::new();
        for row in lines.iter().filter(|row| !row.is_empty()) {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(cell);
                line.extend(std::iter::repeat_n(' ', width + 2 - cell.width().min(*width)));
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }

    /// Writes the rows as RFC 4180 has it, lines ended as on this system.
    pub(super) fn csv(&self) -> String {
        let mut out = String::new();
        for row in std::iter::once(&self.header).chain(&self.rows).filter(|row| !row.is_empty()) {
            let cells: Vec<String> = row.iter().map(|cell| csv_cell(cell)).collect();
            out.push_str(&cells.join(","));
            out.push('\n');
        }
        out
    }
}

/// Returns a text whose control characters are escaped.
pub(super) fn shown(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let escaped = text.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() });
    Cow::Owned(escaped.collect())
}

fn csv_cell(cell: &str) -> String {
    if cell.contains([',', '"', '\n', '\r']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell.to_owned() }
}

/// Writes a label set as PromQL does: `up{job="node"}`.
pub(super) fn series_name(metric: &Map<String, Value>) -> String {
    let name = metric.get("__name__").and_then(Value::as_str).unwrap_or("");
    let labels: Vec<String> = metric
        .iter()
        .filter(|(label, _)| *label != "__name__")
        .map(|(label, value)| format!("{label}={}", crate::model::number::quote(value.as_str().unwrap_or(""))))
        .collect();
    if labels.is_empty() && !name.is_empty() { name.to_owned() } else { format!("{name}{{{}}}", labels.join(", ")) }
}

/// Returns the label names of all series, the metric's name first.
fn label_columns<'a>(metrics: impl Iterator<Item = &'a Map<String, Value>>) -> Vec<String> {
    let names: BTreeSet<&String> = metrics.flat_map(Map::keys).collect();
    // `__name__` sorts before ordinary names.
    names.into_iter().cloned().collect()
}

fn time_text(seconds: &Value) -> String {
    let at_ms = (seconds.as_f64().unwrap_or(0.0) * 1000.0).round() as i64;
    jiff::Timestamp::from_millisecond(at_ms).map_or_else(|_| seconds.to_string(), |at| at.to_string())
}

/// Returns the points of a series or sample: time and value, histograms as their JSON.
fn points(series: &Value) -> Vec<(&Value, String)> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let single = ["value", "histogram"].iter().filter_map(|key| series.get(*key));
    let many = ["values", "histograms"].iter().filter_map(|key| series.get(*key)).filter_map(Value::as_array).flatten();
    single
        .chain(many)
        .filter_map(|point| point.as_array())
        .filter_map(|point| point.first().zip(point.get(1)))
        .map(|(at, value)| (at, text(value)))
        .collect()
}

/// Makes a table of a query's answer.
pub(super) fn query_table(data: &Value) -> Table {
    let empty = Map::new();
    let result = &data["result"];
    match data["resultType"].as_str() {
        Some("scalar" | "string") => {
            let mut table = Table::new(["time", "value"]);
            let value = result[1].as_str().unwrap_or_default().to_owned();
            table.rows.push(vec![time_text(&result[0]), value]);
            table
        }
        _ => {
            let series: Vec<&Value> = result.as_array().into_iter().flatten().collect();
            let metric = |one: &'_ Value| one["metric"].as_object().cloned().unwrap_or_default();
            let columns = label_columns(series.iter().filter_map(|one| one["metric"].as_object()).chain([&empty]));
            let mut table = Table::new(columns.iter().cloned().chain(["time".to_owned(), "value".to_owned()]));
            for one in series {
                let metric = metric(one);
                for (at, value) in points(one) {
                    let labels = columns.iter().map(|name| metric.get(name).and_then(Value::as_str).unwrap_or("").to_owned());
                    table.rows.push(labels.chain([time_text(at), value]).collect());
                }
            }
            table
        }
    }
}

/// Makes a table of label sets.
pub(super) fn series_table(data: &Value) -> Table {
    let series: Vec<&Map<String, Value>> = data.as_array().into_iter().flatten().filter_map(Value::as_object).collect();
    let columns = label_columns(series.iter().copied());
    let row = |one: &Map<String, Value>| {
        columns.iter().map(|name| one.get(name).and_then(Value::as_str).unwrap_or("").to_owned()).collect()
    };
    Table { header: columns.clone(), rows: series.into_iter().map(row).collect() }
}

/// Makes a table of texts.
pub(super) fn text_table(header: &str, data: &Value) -> Table {
    let rows = data.as_array().into_iter().flatten().filter_map(Value::as_str).map(|text| vec![text.to_owned()]).collect();
    Table { header: vec![header.to_owned()], rows }
}

const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// How many characters a graph is wide.
const GRAPH_WIDTH: usize = 80;

/// Draws each series of a query's answer as a line of blocks between its lowest and highest value.
pub(super) fn graph(data: &Value) -> String {
    let mut out = String::new();
    for one in data["result"].as_array().into_iter().flatten() {
        let name = one["metric"].as_object().map(series_name).unwrap_or_default();
        out.push_str(&shown(&name));
        out.push('\n');
        let floats: Vec<f64> = points(one).iter().filter_map(|(_, value)| crate::model::number::parse_float(value)).collect();
        if !floats.is_empty() {
            graph_line(&mut out, "", &floats);
        }
        let histograms = histograms(one);
        if !histograms.is_empty() {
            graph_line(&mut out, "count: ", &histograms.iter().map(|(count, _)| *count).collect::<Vec<_>>());
            graph_line(&mut out, "average: ", &histograms.iter().map(|(count, sum)| sum / count).collect::<Vec<_>>());
        }
    }
    out
}

/// Returns the count and the sum of each native histogram of a series or sample.
fn histograms(series: &Value) -> Vec<(f64, f64)> {
    let number = |value: &Value| value.as_str().and_then(crate::model::number::parse_float);
    let many = series.get("histograms").and_then(Value::as_array).into_iter().flatten();
    let points = series.get("histogram").into_iter().chain(many);
    points.filter_map(|point| Some((number(&point[1]["count"])?, number(&point[1]["sum"])?))).collect()
}

/// Draws one line of blocks, and says between what it lies.
fn graph_line(out: &mut String, what: &str, values: &[f64]) {
    let drawn = thinned(values);
    let finite = || drawn.iter().copied().filter(|value| value.is_finite());
    let (low, high) = finite().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    let block = |value: &f64| -> char {
        if !value.is_finite() {
            return ' ';
        }
        let part = if high > low { (value - low) / (high - low) } else { 0.0 };
        BLOCKS.get((part * 7.0).round() as usize).copied().unwrap_or('█')
    };
    let line: String = drawn.iter().map(block).collect();
    let text = |value: f64| crate::model::number::format_api(value);
    let last = values.last().copied().unwrap_or(f64::NAN);
    let written = writeln!(out, "  {what}{line}  min {} max {} last {}", text(low), text(high), text(last));
    debug_assert!(written.is_ok());
}

/// Takes at most so many values as fit on a line, evenly spread.
fn thinned(values: &[f64]) -> Vec<f64> {
    if values.len() <= GRAPH_WIDTH {
        return values.to_vec();
    }
    (0..GRAPH_WIDTH).filter_map(|place| values.get(place * (values.len() - 1) / (GRAPH_WIDTH - 1)).copied()).collect()
}

/// Writes to standard output. Where nobody reads it any more (`| head`), the command ends without a word; where it cannot be
/// written, with an error.
#[expect(clippy::print_stderr, clippy::exit, reason = "the command line speaks to its user; there is nobody left to answer")]
pub(super) fn show(text: &str) {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => {
            eprintln!("watchkeeper: writing to standard output: {error}");
            std::process::exit(1);
        }
    }
}

/// Writes notes to standard error.
#[expect(clippy::print_stderr, reason = "the command line speaks to its user")]
pub(super) fn note(lines: &[String]) {
    for line in lines {
        eprintln!("{line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn tables_are_aligned_and_csv_is_quoted() {
        let data = json!({"resultType": "vector", "result": [
            {"metric": {"__name__": "up", "job": "a,b"}, "value": [0, "1"]},
            {"metric": {"__name__": "up"}, "value": [1.5, "0"]},
        ]});
        let table = query_table(&data);
        assert_eq!(
            table.aligned(),
            "__name__  job  time                    value\n\
             up        a,b  1970-01-01T00:00:00Z    1\n\
             up             1970-01-01T00:00:01.5Z  0\n"
        );
        assert_eq!(table.csv(), "__name__,job,time,value\nup,\"a,b\",1970-01-01T00:00:00Z,1\nup,,1970-01-01T00:00:01.5Z,0\n");
    }

    #[test]
    fn a_row_is_a_line_and_wide_characters_are_wide() {
        let data = json!({"resultType": "vector", "result": [
            {"metric": {"a": "x\ny\u{1b}[31m"}, "value": [0, "1"]},
            {"metric": {"a": "温度", "b": "é"}, "value": [0, "2"]},
        ]});
        assert_eq!(
            query_table(&data).aligned(),
            "a               b  time                  value\n\
             x\\ny\\u{1b}[31m     1970-01-01T00:00:00Z  1\n\
             温度            é  1970-01-01T00:00:00Z  2\n"
        );
        // CSV has its own way to hold them.
        assert!(query_table(&data).csv().contains("\"x\ny\u{1b}[31m\""));
        assert_eq!(text_table("l\r", &json!(["a\tb"])).aligned(), "l\\r\na\\tb\n");
    }

    #[test]
    fn histograms_are_drawn_by_count_and_average() {
        let histogram = |at: i32, count: &str, sum: &str| json!([at, {"count": count, "sum": sum, "buckets": []}]);
        let data = json!({"resultType": "matrix", "result": [
            {"metric": {"__name__": "h"}, "histograms": [histogram(0, "1", "8"), histogram(1, "8", "8")]},
            {"metric": {"__name__": "m\n"}, "values": [[0, "3"]], "histograms": [histogram(1, "2", "5")]},
        ]});
        assert_eq!(
            graph(&data),
            "h\n  count: ▁█  min 1 max 8 last 8\n  average: █▁  min 1 max 8 last 1\n\
             m\\n\n  ▁  min 3 max 3 last 3\n  count: ▁  min 2 max 2 last 2\n  average: ▁  min 2.5 max 2.5 last 2.5\n"
        );
    }

    #[test]
    fn graphs_rise_and_fall() {
        let data = json!({"resultType": "matrix", "result": [
            {"metric": {"job": "a"}, "values": [[0, "0"], [1, "7"], [2, "NaN"], [3, "3.5"]]},
        ]});
        assert_eq!(graph(&data), "{job=\"a\"}\n  ▁█ ▅  min 0 max 7 last 3.5\n");
    }
}
