//! Export: all samples of selected series as OpenMetrics text.
//!
//! The lines of a series stand together, ascending in time, series sorted by metric name and labels; that is also what the
//! import reads with the least work. Metrics of one family stand together below what is known of it (see `families`).
//! Points of native histograms are written as the classic buckets, count and sum of a `histogram`. Where the store has the
//! classic series of that name as well, those stand for both. Stale markers are no samples and are left
//! out, and so are series without a name, which the text cannot say; both are counted.

use super::families::{Family, families};
use crate::exposition::number::format_bound;
use crate::model::histogram::FloatHistogram;
use crate::model::labels::{Labels, METRIC_NAME, is_legacy_metric_name, is_legacy_name};
use crate::model::matcher::Matcher;
use crate::model::metadata::MetricType;
use crate::model::number::{format_g, parse_float};
use crate::model::sample::{Value, is_stale};
use crate::storage::progress::{Progress, Task};
use crate::storage::select::{Hints, Querier, SelectError, Selection, SeriesSamples, TimeRange, Values};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io;

/// Samples that are read at once, about.
const BATCH_SAMPLES: u64 = 1 << 19;

/// Why an export ended early.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The store could not be read.
    #[error(transparent)]
    Select(#[from] SelectError),
    /// The text could not be written.
    #[error("writing the text")]
    Write(#[from] io::Error),
}

/// What is to be written.
#[derive(Clone, Debug)]
pub struct ExportOptions {
    /// Sets of matchers; series that satisfy one of them are written. Empty: all.
    pub matchers: Vec<Vec<Matcher>>,
    /// Samples of which times.
    pub range: TimeRange,
    /// Where the store has most of its samples; long series are read in parts of it.
    pub held: TimeRange,
}

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// How many series.
    pub series: u64,
    /// How many samples; a native histogram is one.
    pub samples: u64,
    /// Stale markers that were left out.
    pub stale_markers: u64,
    /// Native histograms that became classic buckets.
    pub histograms: u64,
    /// Series without a name: the text has no way to say them.
    pub nameless: u64,
    /// What could not be read.
    pub warnings: BTreeSet<String>,
}

/// Writes everything selected, and `# EOF`.
///
/// # Errors
/// When the store cannot be read or `out` not be written.
pub fn export(
    querier: &dyn Querier,
    options: &ExportOptions,
    out: &mut dyn io::Write,
    progress: &Progress,
) -> Result<Exported, ExportError> {
    let names = querier.label_values(METRIC_NAME, &options.matchers, options.range, 0)?;
    let known: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    let writer = Writer { out, line: String::new(), name: String::new(), family: Family::default(), told: None };
    let mut exporting = Exporting { querier, options, known: &known, writer, found: Exported::default() };
    let placed = families(&names, &querier.metadata(None), |metric, label| exporting.has_normal_bounds(metric, label))?;
    progress.begin(Task::Export, names.len() as u64 + 1);
    exporting.count_nameless()?;
    progress.advance(1);
    for (family, name) in placed {
        exporting.writer.family = family;
        exporting.metric(&name)?;
        progress.advance(1);
    }
    exporting.writer.out.write_all(b"# EOF\n")?;
    exporting.writer.out.flush()?;
    progress.end();
    Ok(exporting.found)
}

struct Exporting<'a> {
    querier: &'a dyn Querier,
    options: &'a ExportOptions,
    known: &'a BTreeSet<&'a str>,
    writer: Writer<'a>,
    found: Exported,
}

impl Exporting<'_> {
    fn sets(&self, name: &str) -> Vec<Vec<Matcher>> {
        let named = |set: &[Matcher]| std::iter::once(Matcher::equal(METRIC_NAME, name)).chain(set.iter().cloned()).collect();
        if self.options.matchers.is_empty() {
            return vec![named(&[])];
        }
        self.options.matchers.iter().map(|set| named(set)).collect()
    }

    /// Returns whether a reader leaves all bounds of a metric as they are.
    fn has_normal_bounds(&self, metric: &str, label: &str) -> Result<bool, SelectError> {
        let values = self.querier.label_values(label, &self.sets(metric), self.options.range, 0)?;
        let is_normal = |value: &String| parse_float(value).is_none_or(|bound| format_bound(bound) == *value);
        Ok(values.iter().all(is_normal))
    }

    fn count_nameless(&mut self) -> Result<(), ExportError> {
        let mut found = BTreeSet::new();
        for matchers in self.sets("") {
            let selection = self.querier.select(&matchers, self.options.range, &Hints::default())?;
            found.extend(selection.series.into_iter().map(|series| series.labels));
        }
        self.found.nameless = found.len() as u64;
        Ok(())
    }

    fn metric(&mut self, name: &str) -> Result<(), ExportError> {
        let mut selections = Vec::new();
        let mut series: BTreeMap<Labels, (usize, usize)> = BTreeMap::new();
        for matchers in self.sets(name) {
            let hints = Hints { sorted: true, ..Hints::default() };
            let selection = self.querier.select(&matchers, self.options.range, &hints)?;
            for (place, found) in selection.series.iter().enumerate() {
                series.entry(found.labels.clone()).or_insert((selections.len(), place));
            }
            self.found.warnings.extend(selection.warnings.iter().cloned());
            selections.push(selection);
        }
        let series: Vec<(Labels, (usize, usize))> = series.into_iter().collect();
        let mut from = 0;
        while let Some((labels, (selection, place))) = series.get(from) {
            let estimated = |at: usize| {
                let (_, (selection, place)) = series.get(at)?;
                selections.get(*selection)?.series.get(*place).map(|found| found.samples_estimated)
            };
            let mut samples = estimated(from).unwrap_or(0);
            if samples > 2 * BATCH_SAMPLES {
                self.long_series(labels, samples)?;
                from += 1;
                continue;
            }
            let mut to = from + 1;
            while let Some((_, next)) = series.get(to) {
                samples += estimated(to).unwrap_or(0);
                if *next != (*selection, place + (to - from)) || samples > BATCH_SAMPLES {
                    break;
                }
                to += 1;
            }
            let Some(chosen) = selections.get(*selection) else { break };
            self.batch(&series[from..to], chosen, *place)?;
            from = to;
        }
        Ok(())
    }

    fn batch(&mut self, series: &[(Labels, (usize, usize))], selection: &Selection, place: usize) -> Result<(), ExportError> {
        let read = selection.reader.read(place..place + series.len())?;
        // A page is found to be bad when it is read.
        self.found.warnings.extend(selection.reader.warnings());
        for ((labels, _), samples) in series.iter().zip(&read) {
            self.found.series += 1;
            self.samples(labels, samples)?;
        }
        Ok(())
    }

    /// A series that is too long to be held: window by window.
    fn long_series(&mut self, labels: &Labels, estimated: u64) -> Result<(), ExportError> {
        self.found.series += 1;
        let matchers: Vec<Matcher> = labels.iter().map(|(name, value)| Matcher::equal(name, value)).collect();
        let (range, held) = (self.options.range, self.options.held);
        let (first, last) = (range.start_ms.max(held.start_ms), range.end_ms.min(held.end_ms));
        let parts = i64::try_from(estimated.div_ceil(BATCH_SAMPLES)).unwrap_or(i64::MAX).max(1);
        let length = (last.saturating_sub(first) / parts).max(1);
        let mut start_ms = range.start_ms;
        // The first and the last part reach to the range's ends: there may be single samples outside of what is held.
        for edge in (1..parts).map(|part| first.saturating_add(part.saturating_mul(length))).filter(|edge| *edge < last) {
            self.part(labels, &matchers, TimeRange { start_ms, end_ms: edge - 1 })?;
            start_ms = edge;
        }
        self.part(labels, &matchers, TimeRange { start_ms, end_ms: range.end_ms })
    }

    fn part(&mut self, labels: &Labels, matchers: &[Matcher], range: TimeRange) -> Result<(), ExportError> {
        let selection = self.querier.select(matchers, range, &Hints::default())?;
        if let Some(place) = selection.series.iter().position(|found| found.labels == *labels) {
            for samples in selection.reader.read(place..place + 1)? {
                self.samples(labels, &samples)?;
            }
            self.found.warnings.extend(selection.reader.warnings());
        }
        Ok(())
    }

    fn samples(&mut self, labels: &Labels, samples: &SeriesSamples) -> Result<(), ExportError> {
        self.writer.begin_series(labels);
        for (i, at_ms) in samples.times.iter().enumerate() {
            match (samples.float(i), &samples.values) {
                (Some(value), _) if is_stale(value) => self.found.stale_markers += 1,
                (Some(value), _) => {
                    self.writer.float(labels.metric_name(), value, *at_ms)?;
                    self.found.samples += 1;
                }
                (None, Values::Mixed(values)) => {
                    if let Some(Value::Histogram(histogram)) = values.get(i) {
                        self.histogram(labels, histogram, *at_ms)?;
                    }
                }
                (None, _) => {}
            }
        }
        Ok(())
    }

    fn histogram(&mut self, labels: &Labels, histogram: &FloatHistogram, at_ms: i64) -> Result<(), ExportError> {
        if is_stale(histogram.sum) {
            self.found.stale_markers += 1;
            return Ok(());
        }
        self.found.samples += 1;
        self.found.histograms += 1;
        let has = |suffix: &str| self.known.contains(format!("{}{suffix}", labels.metric_name()).as_str());
        if has("_bucket") || has("_count") {
            let warning =
                format!("{} is stored as native and as classic histogram: the classic one was written", labels.metric_name());
            self.found.warnings.insert(warning);
            return Ok(());
        }
        self.writer.histogram(labels, histogram, at_ms)?;
        Ok(())
    }
}

/// Writes lines.
struct Writer<'a> {
    out: &'a mut dyn io::Write,
    line: String,
    /// Metric and labels of the present series, as they begin each of its lines.
    name: String,
    /// The present metric's.
    family: Family,
    /// Name and type of the family that was told last.
    told: Option<(String, MetricType)>,
}

impl Writer<'_> {
    /// Begins the next lines; says first which family they are of, where that is not the one before.
    fn begin_lines(&mut self, metric: &str, histogram: bool) {
        self.line.clear();
        let is_told = |name: &str, metric_type| self.told.as_ref().is_some_and(|told| told.0 == name && told.1 == metric_type);
        // A native histogram of which nothing else is known.
        let native = Family { metric_type: MetricType::Histogram, ..Family::unknown(metric) };
        let fits = !histogram || (self.family.metric_type == MetricType::Histogram && self.family.name == metric);
        let family = if fits { &self.family } else { &native };
        let is_new = !is_told(&family.name, family.metric_type);
        let says_nothing = family.metric_type == MetricType::Unknown && family.help.is_empty();
        if !is_new || (says_nothing && self.told.is_none()) || (!histogram && is_told(metric, MetricType::Histogram)) {
            return;
        }
        put_family(&mut self.line, family);
        self.told = Some((family.name.clone(), family.metric_type));
    }

    fn begin_series(&mut self, labels: &Labels) {
        self.name.clear();
        put_series(&mut self.name, labels.metric_name(), labels, None);
    }

    fn float(&mut self, metric: &str, value: f64, at_ms: i64) -> io::Result<()> {
        self.begin_lines(metric, false);
        self.line.push_str(&self.name);
        put_point(&mut self.line, value, at_ms);
        self.out.write_all(self.line.as_bytes())
    }

    fn histogram(&mut self, labels: &Labels, histogram: &FloatHistogram, at_ms: i64) -> io::Result<()> {
        let name = labels.metric_name();
        self.begin_lines(name, true);
        let mut count = 0.0;
        let bucket = |line: &mut String, upper: f64, count: f64| {
            put_series(line, &format!("{name}_bucket"), labels, Some(&format_bound(upper)));
            put_point(line, count, at_ms);
        };
        for found in histogram.all_buckets() {
            count += found.count;
            if found.upper < f64::INFINITY {
                bucket(&mut self.line, found.upper, count);
            }
        }
        bucket(&mut self.line, f64::INFINITY, histogram.count);
        for (suffix, value) in [("_count", histogram.count), ("_sum", histogram.sum)] {
            put_series(&mut self.line, &format!("{name}{suffix}"), labels, None);
            put_point(&mut self.line, value, at_ms);
        }
        self.out.write_all(self.line.as_bytes())
    }
}

/// Writes what is known of a family.
fn put_family(out: &mut String, family: &Family) {
    let mut line = |word: &str, text: &str| {
        out.push_str(word);
        put_name(out, &family.name);
        out.push(' ');
        out.push_str(text);
        out.push('\n');
    };
    line("# TYPE ", family.metric_type.as_str());
    if !family.unit.is_empty() {
        line("# UNIT ", &family.unit);
    }
    if !family.help.is_empty() {
        line("# HELP ", &family.help.replace('\\', "\\\\").replace('\n', "\\n").replace('"', "\\\""));
    }
}

fn put_quoted(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
    out.push('"');
}

fn put_name(out: &mut String, name: &str) {
    if is_legacy_metric_name(name) { out.push_str(name) } else { put_quoted(out, name) }
}

/// Writes `name{label="value",...}`; a name that is not of the old kind stands within the braces, quoted.
fn put_series(out: &mut String, name: &str, labels: &Labels, bound: Option<&str>) {
    let plain = is_legacy_metric_name(name);
    let mut before = '{';
    if plain {
        out.push_str(name);
    } else if !name.is_empty() {
        out.push('{');
        put_quoted(out, name);
        before = ',';
    }
    let kept = labels.iter().filter(|(label, _)| *label != METRIC_NAME);
    for (label, value) in kept.chain(bound.map(|bound| ("le", bound))) {
        out.push(before);
        if is_legacy_name(label) {
            out.push_str(label);
        } else {
            put_quoted(out, label);
        }
        out.push('=');
        put_quoted(out, value);
        before = ',';
    }
    if before == ',' {
        out.push('}');
    } else if !plain {
        out.push_str("{}");
    }
}

/// Writes ` value seconds.milliseconds`, exact.
fn put_point(out: &mut String, value: f64, at_ms: i64) {
    let (sign, at) = (if at_ms < 0 { "-" } else { "" }, at_ms.unsigned_abs());
    let written = writeln!(out, " {} {sign}{}.{:03}", format_g(value), at / 1000, at % 1000);
    debug_assert!(written.is_ok());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_written_as_the_grammar_has_them() {
        let cases: [(&[(&str, &str)], &str); 5] = [
            (&[("__name__", "up")], "up"),
            (&[("__name__", "up"), ("a", "x\"\\\n")], "up{a=\"x\\\"\\\\\\n\"}"),
            (&[("__name__", "my.metric"), ("b c", "é")], "{\"my.metric\",\"b c\"=\"é\"}"),
            (&[("a", "b")], "{a=\"b\"}"),
            (&[("__name__", "my.metric")], "{\"my.metric\"}"),
        ];
        for (pairs, expected) in cases {
            let labels = Labels::from_pairs(pairs.iter().copied());
            let mut out = String::new();
            put_series(&mut out, labels.metric_name(), &labels, None);
            assert_eq!(out, expected);
        }
        let mut out = String::new();
        put_point(&mut out, 0.1, -1_500);
        put_point(&mut out, f64::NAN, 1_700_000_000_001);
        assert_eq!(out, " 0.1 -1.500\n NaN 1700000000.001\n");
        out.clear();
        let help = "a \"b\\\n".to_owned();
        put_family(&mut out, &Family { metric_type: MetricType::Gauge, help, unit: "s".to_owned(), ..Family::unknown("my.m_s") });
        assert_eq!(out, "# TYPE \"my.m_s\" gauge\n# UNIT \"my.m_s\" s\n# HELP \"my.m_s\" a \\\"b\\\\\\n\n");
    }
}
