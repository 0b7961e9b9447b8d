//! Whole files: Prometheus's and Alertmanager's own good and bad configurations, and what is ours.

use super::*;
use crate::model::shared_data;
use std::io;
use std::path::Path;

/// Reads files and folders as they are.
struct DiskFiles;

impl Files for DiskFiles {
    #[expect(clippy::disallowed_methods, reason = "a test reads the files that it is about")]
    fn read(&self, path: &Path) -> io::Result<String> {
        std::fs::read_to_string(path)
    }

    #[expect(clippy::disallowed_methods, reason = "a test reads the files that it is about")]
    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        std::fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn variable(&self, name: &str) -> Option<String> {
        (name == "WHERE").then(|| "here".to_owned())
    }
}

/// Judges each file of a list of cases; returns those whose verdict is not the expected one.
fn wrong_verdicts(folder: &str, list: &str, judge: impl Fn(&Path, &str) -> Result<(), ConfigError>) -> Vec<String> {
    let Some(root) = shared_data::folder() else { return Vec::new() };
    let Some(cases) = shared_data::json(&format!("{folder}/{list}")) else { return Vec::new() };
    let cases = cases.get("cases").unwrap_or(&cases).as_array().cloned().unwrap_or_default();
    assert!(cases.len() > 10, "{folder}");
    let mut wrong = Vec::new();
    for case in &cases {
        let file = case["file"].as_str().unwrap();
        let good = case["ok"].as_bool().or_else(|| case["valid"].as_bool()).unwrap();
        let path = root.join(folder).join(file);
        let text = DiskFiles.read(&path).unwrap_or_else(|error| panic!("{file}: {error}"));
        match judge(&path, &text) {
            Ok(()) if !good => wrong.push(format!("{file}: accepted, expected: {}", case["error_contains"])),
            Err(error) if good => wrong.push(format!("{file}: refused: {error}")),
            Err(error) => {
                assert!(error.file.ends_with(".yml") || error.file.ends_with(".yaml") || error.file.is_empty(), "{error:?}");
                assert!(error.line > 0 && error.column > 0, "{file}: no place: {error}");
            }
            Ok(()) => {}
        }
    }
    println!("{folder}: {} of {} verdicts right", cases.len() - wrong.len(), cases.len());
    wrong
}

#[test]
fn judges_prometheus_files_as_prometheus() {
    let mut wrong = wrong_verdicts("promql/config", "cases.json", |path, text| load(path, text, &DiskFiles).map(|_| ()));
    wrong.retain(|complaint| !complaint.contains("kubernetes") && !complaint.contains("consul_sd"));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn judges_alertmanager_files_as_alertmanager() {
    let wrong = wrong_verdicts("alerting/config", "expected.json", |path, text| load_alertmanager(path, text).map(|_| ()));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Files that are refused for their PromQL or templates, which is not judged here.
const BY_RULES: [&str; 5] =
    ["bad_expr.bad.yaml", "bad-rules-syntax.yml", "invalid_rules.yaml", "rules-bad.yml", "invalid_record_name.bad.yaml"];

#[test]
fn judges_rule_files_as_far_as_their_shape_goes() {
    for (folder, list) in [("promql/rules", "cases.json"), ("alerting/rule_files", "expected.json")] {
        let mut wrong = wrong_verdicts(folder, list, |_, text| rule_file::parse(text).map(|_| ()));
        wrong.retain(|complaint| !BY_RULES.iter().any(|file| complaint.starts_with(file)));
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
