//! `watchkeeper test rules FILE...`: rule unit tests as promtool runs them, in-process and in simulated time.

#![expect(clippy::print_stderr, reason = "a command speaks to its user")]

use super::check::DiskFiles;
use super::check_rules::read;
use crate::config::Files as _;
use crate::config::unit_test_file::{self, UnitTestFile};
use crate::env::{Env, disk::Open, glob};
use crate::rules::spec::GroupSpec;
use crate::rules::unit_test::{self, Failure, Settings};
use crate::template::library;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Unit-test files to run.
#[derive(Debug, clap::Args)]
pub(super) struct TestRulesArgs {
    /// The files.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Runs only tests whose name matches this regular expression; may come several times.
    #[arg(long, value_name = "RE")]
    run: Vec<String>,
    /// Shows what differs line by line.
    #[arg(long)]
    diff: bool,
    /// Writes the outcome as JUnit XML.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Passes over keys of rule files that no rule file has.
    #[arg(long)]
    ignore_unknown_fields: bool,
}

/// What became of one test.
struct TestResult {
    name: String,
    failures: Vec<Failure>,
}

/// What became of one file: its tests, or why it could not be run.
struct FileResult {
    path: PathBuf,
    tests: Result<Vec<TestResult>, Vec<String>>,
}

/// Runs the tests and answers 0 where all is as expected.
#[must_use]
pub(super) fn run(args: &TestRulesArgs) -> ExitCode {
    for pattern in &args.run {
        if let Err(error) = library::is_match(pattern, "") {
            eprintln!("watchkeeper: --run {pattern:?}: {error}");
            return ExitCode::from(2);
        }
    }
    let results: Vec<FileResult> = args.files.iter().map(|path| run_file(path, args)).collect();
    let mut fine = true;
    for result in &results {
        fine &= report(result, args.diff);
    }
    if let Some(path) = &args.junit
        && let Err(error) = write_file(path, &junit(&results))
    {
        eprintln!("watchkeeper: {}: {error}", path.display());
        fine = false;
    }
    if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn write_file(path: &Path, text: &str) -> std::io::Result<()> {
    let file = Env::real().disk.open(path, Open::Create)?;
    file.set_len(0)?;
    file.write_at(text.as_bytes(), 0)
}

fn run_file(path: &Path, args: &TestRulesArgs) -> FileResult {
    let tests = load(path, args).map(|(file, groups)| {
        let settings = Settings {
            evaluation_interval_ms: i64::try_from(file.evaluation_interval.as_millis()).unwrap_or(i64::MAX),
            fuzzy_compare: file.fuzzy_compare,
        };
        let is_wanted =
            |name: &str| args.run.is_empty() || args.run.iter().any(|pattern| library::is_match(pattern, name) == Ok(true));
        let wanted = file.tests.iter().filter(|test| is_wanted(&test.name));
        wanted.map(|test| TestResult { name: test.name.clone(), failures: unit_test::run(test, &groups, settings) }).collect()
    });
    FileResult { path: path.to_owned(), tests }
}

/// Reads a file of tests and the rule files that it names.
fn load(path: &Path, args: &TestRulesArgs) -> Result<(UnitTestFile, Vec<GroupSpec>), Vec<String>> {
    let text = DiskFiles.text(path).map_err(|error| vec![error.to_string()])?;
    let file = unit_test_file::parse(&text).map_err(|error| vec![error.in_file(&path.display().to_string()).to_string()])?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let (env, mut groups, mut errors) = (Env::real(), Vec::new(), Vec::new());
    for pattern in &file.rule_files {
        let found = glob::expand(&*env.disk, &folder.join(pattern));
        if found.is_empty() {
            eprintln!("{}: warning: no rule file matches {pattern}", path.display());
        }
        for rules in found {
            match read(&rules, args.ignore_unknown_fields) {
                Ok(read) => groups.extend(read.file.groups),
                Err(found) => errors.extend(found.iter().map(|error| error.in_file(&rules.display()))),
            }
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let groups = unit_test::ordered(groups, &file.group_eval_order).map_err(|error| vec![error])?;
    Ok((file, groups))
}

/// Prints what became of a file; answers whether all is as expected.
fn report(result: &FileResult, diff: bool) -> bool {
    let path = result.path.display();
    let tests = match &result.tests {
        Ok(tests) => tests,
        Err(errors) => {
            eprintln!("{path}: FAILED");
            errors.iter().for_each(|error| eprintln!("  {error}"));
            return false;
        }
    };
    let failed = tests.iter().filter(|test| !test.failures.is_empty()).count();
    if failed == 0 {
        super::output::show(&format!("{path}: SUCCESS ({} tests)\n", tests.len()));
        return true;
    }
    eprintln!("{path}: FAILED ({failed} of {} tests)", tests.len());
    for test in tests.iter().filter(|test| !test.failures.is_empty()) {
        eprintln!("  {}:", if test.name.is_empty() { "(test without a name)" } else { &test.name });
        test.failures.iter().for_each(|failure| eprint!("{}", describe(failure, diff)));
    }
    false
}

fn describe(failure: &Failure, diff: bool) -> String {
    let mut text = format!("    {}\n", failure.what);
    if failure.expected.is_empty() && failure.got.is_empty() {
        return text;
    }
    let lines = |lines: &[String], sign: &str| lines.iter().map(|line| format!("      {sign} {line}\n")).collect::<String>();
    if diff {
        let common = |line: &String| failure.expected.contains(line) && failure.got.contains(line);
        let (same, missing): (Vec<String>, Vec<String>) = failure.expected.iter().cloned().partition(common);
        let extra: Vec<String> = failure.got.iter().filter(|line| !common(line)).cloned().collect();
        text.push_str(&(lines(&same, " ") + &lines(&missing, "-") + &lines(&extra, "+")));
        return text;
    }
    let list = |items: &[String]| if items.is_empty() { "nothing".to_owned() } else { items.join("\n           ") };
    text + &format!("      exp: {}\n      got: {}\n", list(&failure.expected), list(&failure.got))
}

fn xml(text: &str) -> String {
    let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
    escaped.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
}

/// Writes the outcome as JUnit XML: one suite for each file.
fn junit(results: &[FileResult]) -> String {
    let suites: String = results.iter().map(suite).collect();
    format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n{suites}</testsuites>\n")
}

fn suite(result: &FileResult) -> String {
    let (counts, cases) = match &result.tests {
        Err(errors) => {
            let error = format!("      <error message=\"the file cannot be run\">{}</error>\n", xml(&errors.join("\n")));
            (r#"tests="1" failures="0" errors="1""#.to_owned(), case("load", &error))
        }
        Ok(tests) => {
            let failed = tests.iter().filter(|test| !test.failures.is_empty()).count();
            let cases = tests.iter().map(|test| case(&test.name, &test.failures.iter().map(failure_xml).collect::<String>()));
            (format!("tests=\"{}\" failures=\"{failed}\" errors=\"0\"", tests.len()), cases.collect())
        }
    };
    format!("  <testsuite name=\"{}\" {counts}>\n{cases}  </testsuite>\n", xml(&result.path.display().to_string()))
}

fn case(name: &str, inside: &str) -> String {
    format!("    <testcase name=\"{}\">\n{inside}    </testcase>\n", xml(name))
}

fn failure_xml(failure: &Failure) -> String {
    format!("      <failure message=\"{}\">{}</failure>\n", xml(&failure.what), xml(&describe(failure, false)))
}
