//! Every case of every file, counted; what is excepted stands in one list with its reason.

use super::load::load;
use super::run::run;
use super::script::{Command, parse};
use crate::model::shared_data;
use crate::storage::select::memory::MemoryStore;

/// Cases that are known to differ: file, line of the `eval`, why.
const EXCEPTIONS: &[(&str, usize, &str)] = &[];

#[test]
#[expect(clippy::disallowed_methods, reason = "test data are read in place")]
fn answers_as_prometheus() {
    let Some(folder) = shared_data::folder().map(|folder| folder.join("promql/testdata")) else { return };
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let only = std::env::var("ONLY_FILE").unwrap_or_default();
    let (mut all, mut good, mut failures) = (0, 0, Vec::new());
    for path in files.iter().filter(|path| path.extension().is_some_and(|end| end == "test")) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !name.contains(&only) {
            continue;
        }
        let text = std::fs::read_to_string(path).unwrap();
        let (count, passed) = run_file(&name, &text, &mut failures);
        println!("{name}: {passed} of {count}");
        all += count;
        good += passed;
    }
    println!("all: {good} of {all}");
    for failure in &failures {
        println!("{failure}");
    }
    assert!(failures.is_empty(), "{} of {all} cases differ", failures.len());
    assert!(!only.is_empty() || all >= 1500, "only {all} cases were found");
}

/// Our own cases: what the shared ones leave open and a real Prometheus decided.
#[test]
#[expect(clippy::disallowed_methods, reason = "test data are read in place")]
fn own_cases_hold() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/promql");
    let (mut all, mut failures) = (0, Vec::new());
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        all += run_file(&name, &std::fs::read_to_string(&path).unwrap(), &mut failures).0;
    }
    assert!(failures.is_empty() && all >= 18, "of {all} cases:\n{}", failures.join("\n"));
}

fn run_file(name: &str, text: &str, failures: &mut Vec<String>) -> (usize, usize) {
    let store = MemoryStore::new();
    let (mut count, mut passed) = (0, 0);
    for command in parse(text) {
        match command {
            Command::Clear => store.clear(),
            Command::Load(series) => load(&store, &series),
            Command::Eval(eval) => {
                count += 1;
                let excepted = EXCEPTIONS.iter().any(|(file, line, _)| *file == name && *line == eval.line);
                match run(&store, &eval) {
                    Ok(()) if excepted => failures.push(format!("{name}:{} passes: take it off the list", eval.line)),
                    Ok(()) => passed += 1,
                    Err(_) if excepted => {}
                    Err(error) => failures.push(format!("{name}:{}: {}\n    {error}", eval.line, eval.query)),
                }
            }
        }
    }
    (count, passed)
}
