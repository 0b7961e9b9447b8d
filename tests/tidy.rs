//! The house plan as a test: who may know whom, one door for each crate, and files that do not outgrow their listed size.
//!
//! It proves itself: the last tests plant violations and want them found.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods, clippy::string_slice, reason = "tests may")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The layers, lowest first. A module uses only modules of a strictly lower layer.
const LAYERS: &[&[&str]] = &[
    &["model"],
    &["telemetry"],
    &["env", "exposition", "template", "config"],
    &["state", "storage", "net", "zookeeper"],
    &["promql", "discovery", "host"],
    &["rules", "scrape", "remote", "alerting", "cluster", "dashboards"],
    &["api"],
    &["app"],
    &["cli"],
    &["sim"],
];

/// What a layer alone would allow, but the plan forbids: (who, whom).
const FORBIDDEN: &[(&str, &str)] = &[
    ("storage", "config"),
    ("storage", "template"),
    ("promql", "config"),
    ("promql", "env"),
    ("promql", "net"),
    ("rules", "zookeeper"),
    ("alerting", "promql"),
    ("alerting", "storage"),
    ("scrape", "discovery"),
    ("config", "telemetry"),
    ("config", "env"),
];

/// Crates (or paths of the standard library) and the only places that may name them.
const DOORS: &[(&str, &[&str])] = &[
    ("axum", &["api/"]),
    ("lettre", &["alerting/notify/"]),
    ("zookeeper_client", &["zookeeper/live.rs"]),
    ("sled", &["state/sled.rs"]),
    ("serde_saphyr", &["config/yaml.rs"]),
    ("hyper", &["net/", "api/serve.rs"]),
    ("hyper_util", &["net/", "api/serve.rs"]),
    ("rustls", &["net/", "alerting/notify/"]),
    ("tokio_rustls", &["net/"]),
    ("nom", &["promql/", "exposition/", "config/", "model/", "template/"]),
    ("prometheus_parse", &["cli/doctor/targets.rs"]),
    ("procfs_core", &["host/"]),
    ("similar", &["cluster/diff.rs"]),
    ("clap", &["cli/", "main.rs"]),
    ("stacker", &["promql/deep.rs"]),
    ("resvg", &["alerting/notify/chart/"]),
    ("hmac", &["alerting/links.rs", "cluster/secret.rs", "api/access/session.rs"]),
    ("unicode_width", &["cli/output.rs"]),
    ("anyhow", &["app/", "cli/", "main.rs"]),
    ("fastrand", &["env/"]),
    ("rustix", &["env/", "host/"]),
    ("std::fs", &["env/"]),
    ("std::net::TcpStream", &["env/"]),
    ("std::net::TcpListener", &["env/"]),
    ("std::time::Instant", &["env/"]),
    ("std::time::SystemTime", &["env/"]),
    ("tokio::net", &["env/"]),
    ("tokio::spawn", &["env/"]),
    ("tokio::time", &["env/"]),
];

/// Lines that a file may have unless it is listed.
const LINES_MAX: usize = 600;

/// Files that outgrew the plan: they may shrink, never grow. Each wants a reason in its first comment.
const LARGE: &[(&str, usize)] = &[("template/eval.rs", 634)];

/// One found violation.
#[derive(Debug, PartialEq, Eq)]
struct Violation {
    file: String,
    what: String,
}

fn layer_of(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

/// The code of a file without comments, text literals and its tests: what the rules look at.
fn code_of(text: &str) -> String {
    let mut code = String::new();
    let mut in_tests = false;
    for line in text.lines() {
        if line.starts_with("#[cfg(test)]") {
            in_tests = true;
        }
        if in_tests {
            // A test module at the end of a file, or one line that declares it.
            if line.starts_with('}') || line.ends_with(';') && !line.starts_with(' ') && line.contains("mod ") {
                in_tests = false;
            }
            continue;
        }
        let line = line.split("//").next().unwrap_or_default();
        let outside_quotes: String = line.split('"').step_by(2).collect::<Vec<_>>().join("\"\"");
        code.push_str(&outside_quotes);
        code.push('\n');
    }
    code
}

/// Finds each `crate::name` and each name in `crate::{a, b}`.
fn modules_used(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        if let Some(list) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut word = String::new();
            for c in list.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => found.push(std::mem::take(&mut word)),
                    _ if depth == 0 => word.push(c),
                    _ => {}
                }
            }
            found.push(word);
        } else {
            found.push(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
        }
    }
    found
        .iter()
        .map(|name| name.trim().split("::").next().unwrap_or_default().trim().to_owned())
        .filter(|name| !name.is_empty())
        .collect()
}

fn names(code: &str, path: &str) -> bool {
    code.match_indices(path).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = code[at + path.len()..].chars().next();
        let starts = before.is_none_or(|c| !(c.is_alphanumeric() || c == '_' || c == ':' || c == '.'));
        let crate_path = path.contains("::") || after == Some(':');
        starts && crate_path && after.is_none_or(|c| !(c.is_alphanumeric() || c == '_'))
    })
}

/// Checks one file: `file` is its path below `src/`.
fn check(file: &str, text: &str) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut found = |what: String| violations.push(Violation { file: file.to_owned(), what });
    let code = code_of(text);
    let module = file.split(['/', '.']).next().unwrap_or_default();
    if let Some(own) = layer_of(module) {
        for used in modules_used(&code) {
            let Some(other) = layer_of(&used) else { continue };
            let forbidden = FORBIDDEN.contains(&(module, used.as_str()));
            if used != module && (other >= own || forbidden) {
                found(format!("`{module}` must not know `{used}`"));
            }
        }
    } else if !matches!(module, "lib" | "main") {
        found(format!("`{module}` has no layer"));
    }
    for (name, places) in DOORS {
        if !places.iter().any(|place| file.starts_with(place)) && names(&code, name) {
            found(format!("`{name}` outside its door ({})", places.join(", ")));
        }
    }
    let lines = text.lines().count();
    let limit = LARGE.iter().find(|(large, _)| *large == file).map_or(LINES_MAX, |(_, limit)| *limit);
    if lines > limit {
        found(format!("{lines} lines, more than {limit}"));
    }
    if !text.starts_with("//!") {
        found("does not say at its top what it is for".to_owned());
    }
    violations
}

fn sources() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = BTreeMap::new();
    let mut folders: Vec<PathBuf> = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let name = path.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
                files.insert(name, std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    files
}

#[test]
fn the_house_is_tidy() {
    let files = sources();
    assert!(files.len() > 20, "the walk through src/ found only {} files", files.len());
    let is_test_file = |name: &str| name.ends_with("tests.rs") || name.contains("/tests/") || name.ends_with("shared_data.rs");
    let violations: Vec<String> = files
        .iter()
        .filter(|(name, _)| !is_test_file(name))
        .flat_map(|(name, text)| check(name, text))
        .map(|violation| format!("src/{}: {}", violation.file, violation.what))
        .collect();
    assert!(violations.is_empty(), "{} violations:\n{}", violations.len(), violations.join("\n"));
}

#[test]
fn listed_sizes_only_ratchet_down() {
    let files = sources();
    for (name, limit) in LARGE {
        let lines =
            files.get(*name).unwrap_or_else(|| panic!("src/{name} is listed but gone: take it off the list")).lines().count();
        assert!(*limit > LINES_MAX, "src/{name}: a listed size below {LINES_MAX} is no exception");
        assert!(lines + 50 >= *limit, "src/{name} shrank to {lines} lines: lower its listed {limit}");
    }
}

#[test]
fn planted_violations_are_found() {
    let long = format!("//! Long.\n{}", "// line\n".repeat(LINES_MAX));
    let planted = [
        ("model/a.rs", "//! x\nuse crate::env::Env;\n", "`model` must not know `env`"),
        ("rules/a.rs", "//! x\nuse crate::{model::labels::Labels, alerting::Alert};\n", "`rules` must not know `alerting`"),
        ("scrape/a.rs", "//! x\nfn f() { crate::discovery::start(); }\n", "`scrape` must not know `discovery`"),
        ("api/a.rs", "//! x\nuse crate::app::App;\n", "`api` must not know `app`"),
        ("promql/a.rs", "//! x\nuse crate::env::Clock;\n", "`promql` must not know `env`"),
        ("rules/b.rs", "//! x\nuse axum::Router;\n", "`axum` outside its door (api/)"),
        ("api/b.rs", "//! x\nlet t = std::time::Instant::now();\n", "`std::time::Instant` outside its door (env/)"),
        ("storage/a.rs", "//! x\nuse std::fs;\n", "`std::fs` outside its door (env/)"),
        ("storage/b.rs", "//! x\nuse sled::Db;\n", "`sled` outside its door (state/sled.rs)"),
        ("nowhere/a.rs", "//! x\n", "`nowhere` has no layer"),
        ("model/b.rs", "use std::fmt;\n", "does not say at its top what it is for"),
        ("model/c.rs", long.as_str(), "601 lines, more than 600"),
    ];
    for (file, text, want) in planted {
        let found: Vec<_> = check(file, text).into_iter().map(|violation| violation.what).collect();
        assert_eq!(found, [want], "{file}: {text}");
    }
}

#[test]
fn what_is_allowed_is_not_found() {
    let fine = [
        ("rules/a.rs", "//! x\nuse crate::{model::labels::Labels, promql::engine};\nuse crate::rules::file;\n"),
        (
            "model/a.rs",
            "//! x\n// not axum:: in a comment, nor \"crate::env\" here\nfn f() { let s = \"std::fs crate::api\"; }\n",
        ),
        ("state/sled.rs", "//! x\nuse sled::Db;\n"),
        ("model/d.rs", "//! x\nfn f() {}\n#[cfg(test)]\nmod tests {\n    use crate::env::Env;\n}\n"),
        ("env/clock.rs", "//! x\nuse std::time::Instant;\n"),
    ];
    for (file, text) in fine {
        assert_eq!(check(file, text), [], "{file}: {text}");
    }
}
