//! What is unwise in an exposition, though it can be read: promtool's lints, in its words.

use super::parser::{Entry, Parser};
use super::{Dialect, ParseError};
use crate::model::labels::{Labels, LabelsBuilder};
use crate::model::metadata::MetricType;
use std::collections::{BTreeMap, BTreeSet};

/// Units, and the base unit to use in place of each.
const UNITS: [(&str, &str); 24] = [
    ("amperes", "amperes"),
    ("bytes", "bytes"),
    ("celsius", "celsius"),
    ("grams", "grams"),
    ("joules", "joules"),
    ("kelvin", "kelvin"),
    ("meters", "meters"),
    ("metres", "metres"),
    ("seconds", "seconds"),
    ("volts", "volts"),
    ("minutes", "seconds"),
    ("hours", "seconds"),
    ("days", "seconds"),
    ("weeks", "seconds"),
    ("kelvins", "kelvin"),
    ("fahrenheit", "celsius"),
    ("rankine", "celsius"),
    ("inches", "meters"),
    ("yards", "meters"),
    ("miles", "meters"),
    ("bits", "bytes"),
    ("calories", "joules"),
    ("pounds", "grams"),
    ("ounces", "grams"),
];
const PREFIXES: [&str; 18] = [
    "pico", "nano", "micro", "milli", "centi", "deci", "deca", "hecto", "kilo", "kibi", "mega", "mibi", "giga", "gibi", "tera",
    "tebi", "peta", "pebi",
];
const ABBREVIATIONS: [&str; 14] = ["s", "ms", "us", "ns", "sec", "b", "kb", "mb", "gb", "tb", "pb", "m", "h", "d"];

/// What was seen of one metric family.
#[derive(Default)]
struct Family {
    metric_type: MetricType,
    has_help: bool,
    has_samples: bool,
    label_names: BTreeSet<String>,
    /// Series that were there already; a few, to be told.
    repeated: bool,
}

/// What an exposition holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Linted {
    /// How many samples.
    pub samples: usize,
    /// `METRIC what is unwise about it`, each once, sorted.
    pub problems: Vec<String>,
}

/// Reads an exposition to its end.
///
/// # Errors
/// Where it cannot be read, what stands in the line.
pub fn lint(body: &[u8], dialect: Dialect) -> Result<Linted, ParseError> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut seen: BTreeSet<(Labels, Option<i64>)> = BTreeSet::new();
    let mut samples = 0;
    let mut parser = Parser::new(body, dialect);
    while let Some(entry) = parser.next()? {
        match entry {
            Entry::Help => {
                let family = families.entry(parser.metric().into_owned()).or_default();
                family.has_help = !parser.help().is_empty();
            }
            Entry::Type => {
                let name = parser.metric().into_owned();
                let family = families.entry(name.clone()).or_default();
                if dialect == Dialect::Text && (family.has_samples || family.metric_type != MetricType::Unknown) {
                    let message = format!("second TYPE line for metric name {name:?}, or TYPE reported after samples");
                    return Err(parser.refuse(message));
                }
                family.metric_type = parser.metric_type();
            }
            Entry::Sample => {
                samples += 1;
                let mut labels = LabelsBuilder::new();
                parser.labels_into(&mut labels)?;
                let name = parser.metric().into_owned();
                let base = base_of(&families, &name);
                let family = families.entry(base).or_default();
                family.has_samples = true;
                family.label_names.extend(labels.iter().map(|(name, _)| name.to_owned()).filter(|name| name != "__name__"));
                family.repeated |= !seen.insert((labels.build(), parser.timestamp_ms()));
            }
            Entry::Unit | Entry::Comment => {}
        }
    }
    let mut problems = BTreeSet::new();
    for (name, family) in families.iter().filter(|(_, family)| family.has_samples) {
        // OpenMetrics puts the suffix to the samples, not to the family.
        let suffix = match dialect {
            Dialect::OpenMetrics if family.metric_type == MetricType::Counter => "_total",
            _ => "",
        };
        let name = format!("{name}{suffix}");
        problems.extend(problems_of(&name, family).into_iter().map(|problem| format!("{name} {problem}")));
    }
    Ok(Linted { samples, problems: problems.into_iter().collect() })
}

/// Returns the family that a sample of this name belongs to.
fn base_of(families: &BTreeMap<String, Family>, name: &str) -> String {
    let is = |base: &str, types: &[MetricType]| families.get(base).is_some_and(|family| types.contains(&family.metric_type));
    let histograms = [MetricType::Histogram, MetricType::GaugeHistogram];
    let both = [MetricType::Histogram, MetricType::GaugeHistogram, MetricType::Summary];
    let counters = [MetricType::Counter, MetricType::Histogram, MetricType::Summary];
    let suffixes: [(&str, &[MetricType]); 7] = [
        ("_bucket", &histograms),
        ("_count", &both),
        ("_sum", &both),
        ("_total", &[MetricType::Counter]),
        ("_created", &counters),
        ("_gcount", &histograms),
        ("_gsum", &histograms),
    ];
    let base = suffixes.iter().find_map(|(suffix, types)| name.strip_suffix(suffix).filter(|base| is(base, types)));
    base.unwrap_or(name).to_owned()
}

/// Returns the unit that a name has and the base unit for it.
fn unit_of(name: &str) -> Option<(&str, &'static str)> {
    let known = |word: &str| UNITS.iter().find(|(unit, _)| *unit == word).map(|(_, base)| *base);
    let found = |word: &str| known(word).or_else(|| PREFIXES.iter().find_map(|prefix| known(word.strip_prefix(prefix)?)));
    name.split('_').find_map(|word| found(word).map(|base| (word, base)))
}

fn is_camel_case(name: &str) -> bool {
    name.as_bytes().windows(2).any(|pair| pair[0].is_ascii_lowercase() && pair[1].is_ascii_uppercase())
}

fn problems_of(name: &str, family: &Family) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut say = |is: bool, words: &str| {
        if is {
            found.push(words.to_owned());
        }
    };
    let kind = family.metric_type;
    let typed = !matches!(kind, MetricType::Unknown);
    let (counter, histogram) = (kind == MetricType::Counter, matches!(kind, MetricType::Histogram | MetricType::GaugeHistogram));
    let summary = kind == MetricType::Summary;
    let has = |label: &str| family.label_names.contains(label);
    say(!family.has_help, "no help text");
    say(counter && !name.ends_with("_total"), "counter metrics should have \"_total\" suffix");
    say(typed && !counter && name.ends_with("_total"), "non-counter metrics should not have \"_total\" suffix");
    if typed {
        say(!histogram && name.ends_with("_bucket"), "non-histogram metrics should not have \"_bucket\" suffix");
        for suffix in ["_count", "_sum"] {
            let words = format!("non-histogram and non-summary metrics should not have \"{suffix}\" suffix");
            say(!histogram && !summary && name.ends_with(suffix), &words);
        }
        say(!histogram && has("le"), "non-histogram metrics should not have \"le\" label");
        say(!summary && has("quantile"), "non-summary metrics should not have \"quantile\" label");
        let lower = name.to_ascii_lowercase();
        let word = kind.as_str();
        let named = lower.contains(&format!("_{word}_")) || lower.ends_with(&format!("_{word}"));
        say(named, &format!("metric name should not include type '{word}'"));
    }
    say(name.contains(':'), "metric names should not contain ':'");
    say(is_camel_case(name), "metric names should be written in 'snake_case' not 'camelCase'");
    let camel = family.label_names.iter().any(|label| is_camel_case(label));
    say(camel, "label names should be written in 'snake_case' not 'camelCase'");
    let lower = name.to_ascii_lowercase();
    let short = |unit: &&str| lower.contains(&format!("_{unit}_")) || lower.ends_with(&format!("_{unit}"));
    say(ABBREVIATIONS.iter().any(short), "metric names should not contain abbreviated units");
    say(family.repeated, "metric not unique");
    if let Some((unit, base)) = unit_of(name).filter(|(unit, base)| unit != base) {
        found.push(format!("use base unit \"{base}\" instead of \"{unit}\""));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What promtool 2.42 says of the same body, each line once.
    #[test]
    fn lints_are_promtools() {
        let body = b"# HELP a_ms x
# TYPE a_ms counter
a_ms 1
b 2
# TYPE fooBar_gauge gauge
fooBar_gauge{le=\"1\",aB=\"x\"} 1
# HELP h_milliseconds
# TYPE h_milliseconds histogram
h_milliseconds_bucket{le=\"+Inf\"} 1
h_milliseconds_sum 1
h_milliseconds_count 1
# HELP c:d x
# TYPE c:d summary
c:d{quantile=\"0.1\"} 1
c:d_sum 1
c:d_count 1
# HELP z_total x
# TYPE z_total gauge
z_total 1
# HELP z_count x
# TYPE z_count gauge
z_count{quantile=\"3\"} 1
# HELP z_bucket x
# TYPE z_bucket counter
z_bucket 1
# HELP fine_seconds x
# TYPE fine_seconds gauge
fine_seconds{x=\"1\"} 1
fine_seconds{x=\"2\"} 1
";
        let expected = "a_ms counter metrics should have \"_total\" suffix
a_ms metric names should not contain abbreviated units
b no help text
c:d metric names should not contain ':'
fooBar_gauge label names should be written in 'snake_case' not 'camelCase'
fooBar_gauge metric name should not include type 'gauge'
fooBar_gauge metric names should be written in 'snake_case' not 'camelCase'
fooBar_gauge no help text
fooBar_gauge non-histogram metrics should not have \"le\" label
h_milliseconds no help text
h_milliseconds use base unit \"seconds\" instead of \"milliseconds\"
z_bucket counter metrics should have \"_total\" suffix
z_bucket non-histogram metrics should not have \"_bucket\" suffix
z_count non-histogram and non-summary metrics should not have \"_count\" suffix
z_count non-summary metrics should not have \"quantile\" label
z_total non-counter metrics should not have \"_total\" suffix";
        let found = lint(body, Dialect::Text).unwrap();
        assert_eq!((found.samples, found.problems.join("\n").as_str()), (14, expected));
    }

    #[test]
    fn what_cannot_be_read_is_an_error() {
        let refused = |body: &[u8]| lint(body, Dialect::Text).unwrap_err().to_string();
        assert!(refused(b"a{x=\"1\",x=\"2\"} 1\n").contains("label name \"x\" is not unique"));
        assert!(refused(b"a 1\n# TYPE a gauge\n").contains("second TYPE line for metric name \"a\""));
        let twice = lint(b"# HELP a x\na{x=\"1\"} 1\na{x=\"1\"} 2\n", Dialect::Text).unwrap();
        assert_eq!(twice.problems, ["a metric not unique"]);
        let open = b"# HELP a x\n# TYPE a counter\na_total 1\na_created 1\n# EOF\n";
        assert_eq!(lint(open, Dialect::OpenMetrics).unwrap(), Linted { samples: 2, problems: Vec::new() });
    }
}
