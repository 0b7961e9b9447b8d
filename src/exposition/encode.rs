//! Our own metrics as text, format 0.0.4.

use crate::model::labels::Labels;
use crate::model::metadata::MetricType;
use crate::model::number::format_g;
use crate::telemetry::metrics::FamilySnapshot;

/// The `Content-Type` of what [`families`] writes.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Writes a snapshot of the registry.
#[must_use]
pub fn families(snapshot: &[FamilySnapshot]) -> Vec<u8> {
    let mut out = String::with_capacity(snapshot.len() * 256);
    for family in snapshot.iter().filter(|family| !family.samples.is_empty()) {
        header(&mut out, &family.name, family.metric_type, family.help);
        for (suffix, labels, value) in &family.samples {
            sample(&mut out, &family.name, suffix, labels, *value);
        }
    }
    out.into_bytes()
}

/// Writes the HELP and TYPE lines of a family.
pub fn header(out: &mut String, name: &str, metric_type: MetricType, help: &str) {
    let word = if metric_type == MetricType::Unknown { "untyped" } else { metric_type.as_str() };
    let help = help.replace('\\', "\\\\").replace('\n', "\\n");
    out.push_str("# HELP ");
    out.push_str(name);
    out.push(' ');
    out.push_str(&help);
    out.push_str("\n# TYPE ");
    out.push_str(name);
    out.push(' ');
    out.push_str(word);
    out.push('\n');
}

/// Writes one line. `labels` are without the name.
pub fn sample(out: &mut String, name: &str, suffix: &str, labels: &Labels, value: f64) {
    out.push_str(name);
    out.push_str(suffix);
    let mut before = '{';
    for (label, text) in labels {
        out.push(before);
        out.push_str(label);
        out.push_str("=\"");
        for c in text.chars() {
            match c {
                '\\' => out.push_str("\\\\"),
                '"' => out.push_str("\\\""),
                '\n' => out.push_str("\\n"),
                c => out.push(c),
            }
        }
        out.push('"');
        before = ',';
    }
    if before == ',' {
        out.push('}');
    }
    out.push(' ');
    out.push_str(&format_g(value));
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exposition::{Dialect, Entry, Parser};
    use crate::model::labels::LabelsBuilder;
    use crate::telemetry::metrics::Registry;

    #[test]
    fn what_is_written_parses_back() {
        let registry = Registry::new();
        registry.counter("a_total", "Counts \\ things.\nTwo lines.", &[("path", "C:\\x\n\"q\"")]).add(1_234_567);
        registry.histogram("b_seconds", "Takes time.", &[], &[0.5, 1e6]).observe(0.7);
        let body = families(&registry.snapshot());
        let mut parser = Parser::new(&body, Dialect::Text);
        let mut found = Vec::new();
        while let Some(entry) = parser.next().unwrap() {
            if entry == Entry::Sample {
                let mut labels = LabelsBuilder::new();
                parser.labels_into(&mut labels).unwrap();
                found.push((labels.build(), parser.value()));
            }
        }
        let first = Labels::from_pairs([("__name__", "a_total"), ("path", "C:\\x\n\"q\"")]);
        assert_eq!(found[0], (first, 1_234_567.0));
        assert_eq!(found.len(), 6);
        assert_eq!(found[2].0.value("le"), "1e+06");
    }
}
