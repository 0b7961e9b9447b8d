//! Rule files: YAML, PromQL and templates checked together, each error with its place.

use super::spec::{GroupSpec, RuleFile, RuleKind, RuleSpec};
use super::template_data;
use crate::config::rule_file::{self, Rule, RuleGroup, RuleGroups, Text};
use crate::config::{ConfigError, Spot};
use crate::model::rule_source::SourceError;
use crate::promql::expr::Expr;
use crate::promql::{parse, print};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What is wrong with a rule file, and where. Line and column count from 1; 0: not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleFileError {
    /// The line.
    pub line: u32,
    /// The column.
    pub column: u32,
    /// What is wrong.
    pub message: String,
}

impl RuleFileError {
    /// Returns `file:line:column: message`.
    #[must_use]
    pub fn in_file(&self, file: &dyn fmt::Display) -> String {
        let separator = if self.line > 0 { ":" } else { ": " };
        format!("{file}{separator}{self}")
    }
}

impl fmt::Display for RuleFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "{}:{}: ", self.line, self.column)?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for RuleFileError {}

impl From<&SourceError> for RuleFileError {
    fn from(error: &SourceError) -> Self {
        Self { line: error.line, column: error.column, message: error.reason.clone() }
    }
}

/// A file that was read, with what should be said about it although it is good.
#[derive(Clone, Debug, Default)]
pub struct Read {
    /// The file.
    pub file: RuleFile,
    /// Further YAML documents follow, which do not count.
    pub has_more_documents: bool,
}

/// Reads and checks a rule file.
///
/// # Errors
/// All that is wrong with its expressions and templates, or the first thing that is wrong with its YAML.
pub fn read(text: &str) -> Result<Read, Vec<RuleFileError>> {
    check(rule_file::parse(text))
}

/// Reads and checks a rule file, passing over keys that no rule file has.
///
/// # Errors
/// As [`read`].
pub fn read_ignoring_unknown(text: &str) -> Result<Read, Vec<RuleFileError>> {
    check(rule_file::parse_ignoring_unknown(text))
}

fn check(parsed: Result<RuleGroups, ConfigError>) -> Result<Read, Vec<RuleFileError>> {
    let groups =
        parsed.map_err(|error| vec![RuleFileError { line: error.line, column: error.column, message: error.message }])?;
    let mut errors = Vec::new();
    let file = RuleFile { groups: groups.groups.iter().map(|found| group(found, &mut errors)).collect() };
    if errors.is_empty() { Ok(Read { file, has_more_documents: groups.more_documents.0 }) } else { Err(errors) }
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn group(found: &RuleGroup, errors: &mut Vec<RuleFileError>) -> GroupSpec {
    let mut rules = Vec::with_capacity(found.rules.len());
    for (place, written) in found.rules.iter().enumerate() {
        let mut complaints = Vec::new();
        let checked = rule(written, &found.labels, &mut complaints);
        for mut error in complaints {
            error.message = format!("group {:?}, rule {}, {:?}: {}", found.name.text, place + 1, written.name(), error.message);
            errors.push(error);
        }
        rules.extend(checked.map(Arc::new));
    }
    GroupSpec {
        name: found.name.text.clone(),
        line: found.place.spot.line,
        interval_ms: (!found.interval.is_zero()).then(|| milliseconds(found.interval)),
        query_offset_ms: found.query_offset.map(milliseconds),
        limit: usize::try_from(found.limit).unwrap_or(0),
        rules,
    }
}

fn rule(written: &Rule, group_labels: &BTreeMap<String, Text>, errors: &mut Vec<RuleFileError>) -> Option<RuleSpec> {
    let is_alert = written.record.text.is_empty();
    let expr = expression(&written.expr, errors);
    let mut labels = group_labels.clone();
    labels.extend(written.labels.clone());
    if is_alert {
        for (what, texts) in [("label", &labels), ("annotation", &written.annotations)] {
            for (name, text) in texts {
                if let Err(error) = template_data::check(&written.alert.text, &text.text) {
                    let Spot { line, column } = error.position().map_or(text.place.spot, |at| text.spot_of(at));
                    errors.push(RuleFileError { line, column, message: format!("{what} {name:?}: {error}") });
                }
            }
        }
    }
    let expr = expr?;
    let kind = if is_alert {
        RuleKind::Alert {
            for_ms: milliseconds(written.hold),
            keep_firing_for_ms: milliseconds(written.keep_firing_for),
            annotations: texts(&written.annotations),
        }
    } else {
        RuleKind::Record
    };
    Some(RuleSpec {
        name: written.name().to_owned(),
        line: written.place.spot.line,
        text: written.expr.text.clone(),
        query: print::one_line(&expr),
        expr,
        labels: texts(&labels),
        kind,
    })
}

fn texts(written: &BTreeMap<String, Text>) -> Vec<(String, String)> {
    written.iter().map(|(name, text)| (name.clone(), text.text.clone())).collect()
}

fn expression(written: &Text, errors: &mut Vec<RuleFileError>) -> Option<Expr> {
    // An end of input lies behind the last word, not on a line of its own.
    match parse::parse(written.text.trim_end()) {
        Ok(expr) => Some(expr),
        Err(error) => {
            let at = error.errors().first().map(|first| first.span.start);
            let Spot { line, column } = at.map_or(written.place.spot, |at| written.spot_of(at));
            errors.push(RuleFileError { line, column, message: format!("could not parse expression: {error}") });
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::shared_data;

    #[test]
    fn errors_have_places() {
        let cases = [
            ("groups:\n- name: g\n  rules:\n  - record: x\n    expr: test +\n", 5, 17, "unexpected end of input"),
            ("groups:\n- name: g\n  rules:\n  - record: x\n    expr: |\n      a\n      + +\n", 7, 10, "unexpected end of input"),
            (
                "groups:\n- name: g\n  rules:\n  - alert: x\n    expr: a\n    labels: {a: '{{ $x }}'}\n",
                6,
                21,
                "undefined variable",
            ),
            (
                "groups:\n- name: g\n  labels: {team: '{{ nofn }}'}\n  rules:\n  - {alert: x, expr: a}\n",
                3,
                22,
                "\"nofn\" not defined",
            ),
            (
                "groups:\n- name: g\n  rules:\n  - alert: x\n    expr: a\n    annotations:\n      summary: fine\n      text: ä {{ $value | nofn }}\n",
                8,
                27,
                "\"nofn\" not defined",
            ),
            (
                "groups:\n- name: g\n  rules:\n  - alert: x\n    expr: a\n    annotations:\n      text: |-\n        one\n          {{ nofn }}\n",
                9,
                14,
                "\"nofn\" not defined",
            ),
            // With escapes in it, a text has no place but where it begins.
            (
                "groups:\n- name: g\n  rules:\n  - alert: x\n    expr: a\n    annotations: {text: \"{{ nofn \\\"a\\\" }}\"}\n",
                6,
                25,
                "\"nofn\" not defined",
            ),
            ("groups:\n- name: g\n  rules:\n  - {record: x, expr: 'sum(a'}\n", 4, 29, "unclosed left parenthesis"),
            ("groups:\n- name: g\n  rules:\n  - record: x\n    expr: >\n      a + +\n", 6, 12, "unexpected end of input"),
            ("groups:\n- name: g\n  rules:\n  - alert: x\n    exp: a\n", 5, 5, "exp"),
        ];
        for (text, line, column, words) in cases {
            let errors = read(text).expect_err(text);
            assert_eq!(errors.len(), 1);
            assert_eq!((errors[0].line, errors[0].column), (line, column), "{}", errors[0]);
            assert!(errors[0].message.contains(words), "{}", errors[0]);
        }
    }

    #[test]
    fn all_bad_expressions_are_told() {
        let text =
            "groups:\n- name: g\n  rules:\n  - {record: x, expr: 'a +'}\n  - {record: y, expr: b}\n  - {alert: z, expr: ')'}\n";
        let errors = read(text).expect_err("two are bad");
        assert_eq!(errors.iter().map(|error| error.line).collect::<Vec<_>>(), [4, 6]);
    }

    #[test]
    fn the_groups_labels_reach_its_rules() {
        let text = "groups:\n- name: g\n  labels: {team: a, tier: x}\n  rules:\n  - {alert: z, expr: up, labels: {team: b}}\n";
        let file = read(text).unwrap().file;
        let labels: Vec<_> = file.groups[0].rules[0].labels.iter().map(|(n, v)| format!("{n}={v}")).collect();
        assert_eq!(labels, ["team=b", "tier=x"]);
    }

    #[test]
    fn prometheus_verdicts() {
        let mut count = 0;
        let Some(cases) = shared_data::json("alerting/rule_files/expected.json") else { return };
        for case in cases["cases"].as_array().unwrap() {
            let file = case["file"].as_str().unwrap();
            let Some(text) = shared_data::text(&format!("alerting/rule_files/{file}")) else { return };
            assert_eq!(read(&text).is_ok(), case["valid"].as_bool().unwrap(), "{file}: {:?}", read(&text).err());
            count += 1;
        }
        let Some(cases) = shared_data::json("promql/rules/cases.json") else { return };
        for case in cases.as_array().unwrap() {
            let file = case["file"].as_str().unwrap();
            let Some(text) = shared_data::text(&format!("promql/rules/{file}")) else { return };
            match (read(&text), case.get("error_contains").and_then(serde_json::Value::as_str)) {
                (Ok(read), None) => assert_eq!(read.has_more_documents, file.contains("multi_doc"), "{file}"),
                (Err(errors), Some(words)) => {
                    assert!(errors.iter().any(|error| error.message.contains(words)), "{file}: {errors:?}");
                }
                (result, _) => panic!("{file}: {:?}", result.err()),
            }
            count += 1;
        }
        assert!(count >= 49, "{count}");
    }

    #[test]
    fn well_known_rules_load() {
        let Some(folder) = shared_data::folder() else { return };
        let mut count = 0;
        #[expect(clippy::disallowed_methods, reason = "test data is read where it lies")]
        for entry in std::fs::read_dir(folder.join("alerting/wild")).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if !name.ends_with(".yml") {
                continue;
            }
            let text = shared_data::text(&format!("alerting/wild/{name}")).unwrap();
            let is_good = name != "victoriametrics-alerts-single-node.yml";
            assert_eq!(read(&text).is_ok(), is_good, "{name}: {:?}", read(&text).err());
            count += 1;
        }
        assert!(count >= 18, "{count}");
    }
}
