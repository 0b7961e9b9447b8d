//! How names of OpenTelemetry become names of metrics and labels, by the strategies of `otlp.translation_strategy`.
//!
//! Source: Prometheus's documentation of OTLP and OpenTelemetry's "Prometheus and OpenMetrics Compatibility". Units become words
//! behind the name, counters end in `_total`, gauges of unit `1` in `_ratio`.

use super::message::Kind;
use crate::config::remote::{OtlpConfig, TranslationStrategy};

/// Units (UCUM) and their words.
const UNITS: [(&str, &str); 26] = [
    ("d", "days"),
    ("h", "hours"),
    ("min", "minutes"),
    ("s", "seconds"),
    ("ms", "milliseconds"),
    ("us", "microseconds"),
    ("ns", "nanoseconds"),
    ("By", "bytes"),
    ("KiBy", "kibibytes"),
    ("MiBy", "mebibytes"),
    ("GiBy", "gibibytes"),
    ("TiBy", "tibibytes"),
    ("KBy", "kilobytes"),
    ("MBy", "megabytes"),
    ("GBy", "gigabytes"),
    ("TBy", "terabytes"),
    ("m", "meters"),
    ("V", "volts"),
    ("A", "amperes"),
    ("J", "joules"),
    ("W", "watts"),
    ("g", "grams"),
    ("Cel", "celsius"),
    ("Hz", "hertz"),
    ("1", ""),
    ("%", "percent"),
];

/// What something is counted per.
const PER: [(&str, &str); 7] =
    [("s", "second"), ("m", "minute"), ("h", "hour"), ("d", "day"), ("w", "week"), ("mo", "month"), ("y", "year")];

fn word<'u>(unit: &'u str, table: &[(&str, &'static str)]) -> &'u str {
    table.iter().find(|(known, _)| *known == unit).map_or(unit, |(_, word)| word)
}

/// Returns the words of a unit: what, and per what.
fn unit_words(unit: &str) -> (String, String) {
    let (what, per) = unit.split_once('/').unwrap_or((unit, ""));
    let (what, per) = (what.trim(), per.trim());
    // An annotation in braces is a comment.
    let plain = |text: &str| !text.is_empty() && !text.contains(['{', '}']);
    let what = if plain(what) { tidy(word(what, &UNITS)) } else { String::new() };
    let per = if plain(per) { tidy(word(per, &PER)) } else { String::new() };
    (what, per)
}

/// Keeps letters and digits, underscores between them.
fn tidy(text: &str) -> String {
    tokens(text).collect::<Vec<_>>().join("_")
}

fn tokens(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == ':')).filter(|token| !token.is_empty())
}

fn not_a_digit_first(name: String) -> String {
    if name.starts_with(|c: char| c.is_ascii_digit()) { format!("_{name}") } else { name }
}

/// Returns the name of a metric.
pub(super) fn metric_name(config: &OtlpConfig, name: &str, unit: &str, kind: Kind, is_counter: bool) -> String {
    let is_ratio = kind == Kind::Gauge && unit == "1";
    match config.translation_strategy {
        TranslationStrategy::NoTranslation => name.to_owned(),
        TranslationStrategy::UnderscoreEscapingWithoutSuffixes => not_a_digit_first(tidy(name)),
        TranslationStrategy::UnderscoreEscapingWithSuffixes => {
            let mut words: Vec<&str> = tokens(name).collect();
            let (what, per) = unit_words(unit);
            if !what.is_empty() && !words.contains(&what.as_str()) {
                words.push(&what);
            }
            if !per.is_empty() && !words.contains(&per.as_str()) {
                words.extend(["per", per.as_str()]);
            }
            for (wanted, ending) in [(is_counter, "total"), (is_ratio, "ratio")] {
                if wanted {
                    words.retain(|word| *word != ending);
                    words.push(ending);
                }
            }
            not_a_digit_first(words.join("_"))
        }
        TranslationStrategy::NoUtf8EscapingWithSuffixes => {
            let (what, per) = unit_words(unit);
            let per = if per.is_empty() { String::new() } else { format!("per_{per}") };
            let mut name = name.to_owned();
            let endings = [what.as_str(), per.as_str()].into_iter().filter(|ending| !ending.is_empty());
            let last = [(is_counter, "total"), (is_ratio, "ratio")].into_iter().filter(|(wanted, _)| *wanted);
            for ending in endings.chain(last.map(|(_, ending)| ending)) {
                let bare = name.strip_suffix(ending).map(|bare| bare.trim_end_matches(['_', '.'])).unwrap_or(&name);
                name = format!("{bare}_{ending}");
            }
            name
        }
    }
}

/// Returns the name of a label.
pub(super) fn label_name(config: &OtlpConfig, name: &str) -> String {
    let escapes = matches!(
        config.translation_strategy,
        TranslationStrategy::UnderscoreEscapingWithSuffixes | TranslationStrategy::UnderscoreEscapingWithoutSuffixes
    );
    if !escapes || name.is_empty() {
        return name.to_owned();
    }
    let mut out = String::with_capacity(name.len());
    for c in name.chars() {
        let c = if c.is_ascii_alphanumeric() { c } else { '_' };
        if c != '_' || config.label_name_preserve_multiple_underscores || !out.ends_with('_') {
            out.push(c);
        }
    }
    if out.starts_with(|c: char| c.is_ascii_digit()) {
        format!("key_{out}")
    } else if config.label_name_underscore_sanitization && out.starts_with('_') && !out.starts_with("__") {
        format!("key{out}")
    } else {
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(strategy: TranslationStrategy) -> OtlpConfig {
        OtlpConfig { translation_strategy: strategy, ..OtlpConfig::default() }
    }

    #[test]
    fn metrics_are_named_by_strategy() {
        use TranslationStrategy as Strategy;
        // Name, unit, kind, counter: with suffixes, without, kept with suffixes.
        let cases = [
            (
                "http.server.duration",
                "ms",
                Kind::Histogram,
                false,
                "http_server_duration_milliseconds",
                "http_server_duration",
                "http.server.duration_milliseconds",
            ),
            ("requests", "1", Kind::Sum, true, "requests_total", "requests", "requests_total"),
            ("requests_total", "{request}", Kind::Sum, true, "requests_total", "requests_total", "requests_total"),
            (
                "system.cpu.utilization",
                "1",
                Kind::Gauge,
                false,
                "system_cpu_utilization_ratio",
                "system_cpu_utilization",
                "system.cpu.utilization_ratio",
            ),
            (
                "network.io",
                "By/s",
                Kind::Gauge,
                false,
                "network_io_bytes_per_second",
                "network_io",
                "network.io_bytes_per_second",
            ),
            ("disk.io", "By", Kind::Sum, true, "disk_io_bytes_total", "disk_io", "disk.io_bytes_total"),
            ("total.events.seen", "", Kind::Sum, true, "events_seen_total", "total_events_seen", "total.events.seen_total"),
            ("3xx.rate", "", Kind::Gauge, false, "_3xx_rate", "_3xx_rate", "3xx.rate"),
            (
                "weird  name--x",
                "foo/bar",
                Kind::Gauge,
                false,
                "weird_name_x_foo_per_bar",
                "weird_name_x",
                "weird  name--x_foo_per_bar",
            ),
        ];
        for (name, unit, kind, counter, with, without, kept) in cases {
            let named = |strategy| metric_name(&config(strategy), name, unit, kind, counter);
            assert_eq!(named(Strategy::UnderscoreEscapingWithSuffixes), with);
            assert_eq!(named(Strategy::UnderscoreEscapingWithoutSuffixes), without);
            assert_eq!(named(Strategy::NoUtf8EscapingWithSuffixes), kept);
            assert_eq!(named(Strategy::NoTranslation), name);
        }
    }

    #[test]
    fn labels_are_named_by_strategy() {
        let escaping = config(TranslationStrategy::UnderscoreEscapingWithSuffixes);
        let cases = [
            ("http.method", "http_method"),
            ("0day", "key_0day"),
            ("_x", "key_x"),
            ("__x", "__x"),
            ("a..b", "a__b"),
            ("é", "key_"),
        ];
        for (name, expected) in cases {
            assert_eq!(label_name(&escaping, name), expected);
        }
        let collapsing = OtlpConfig { label_name_preserve_multiple_underscores: false, ..escaping };
        assert_eq!(label_name(&collapsing, "a..b"), "a_b");
        assert_eq!(label_name(&config(TranslationStrategy::NoTranslation), "http.method"), "http.method");
    }
}
