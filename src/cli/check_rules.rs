//! `watchkeeper check rules FILE...`: do the rules load, and is anything in them probably a mistake?

#![expect(clippy::print_stderr, reason = "a command speaks to its user")]

use super::check::DiskFiles;
use crate::config::{ConfigError, Files as _};
use crate::rules::file::{self, Read, RuleFileError};
use crate::rules::lint::{self, Weight};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Rule files to check.
#[derive(Debug, clap::Args)]
pub(super) struct CheckRulesArgs {
    /// The files.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Lets warnings (not hints) fail the check.
    #[arg(long)]
    lint_fatal: bool,
    /// Passes over keys that no rule file has.
    #[arg(long)]
    ignore_unknown_fields: bool,
}

/// Checks and answers 0 where all files load.
#[must_use]
pub(super) fn run(args: &CheckRulesArgs) -> ExitCode {
    let mut fine = true;
    for path in &args.files {
        let name = path.display();
        match read(path, args.ignore_unknown_fields) {
            Ok(read) => {
                let rules: usize = read.file.groups.iter().map(|group| group.rules.len()).sum();
                super::output::show(&format!("{name}: ok ({rules} rules)\n"));
                fine &= remark(&name.to_string(), &read) || !args.lint_fatal;
            }
            Err(errors) => {
                fine = false;
                for error in errors {
                    eprintln!("{}", error.in_file(&name));
                }
            }
        }
    }
    if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Reads a rule file from the disk.
pub(super) fn read(path: &Path, ignore_unknown_fields: bool) -> Result<Read, Vec<RuleFileError>> {
    let text = DiskFiles.text(path).map_err(|error| {
        let ConfigError { line, column, message, .. } = error;
        vec![RuleFileError { line, column, message }]
    })?;
    if ignore_unknown_fields { file::read_ignoring_unknown(&text) } else { file::read(&text) }
}

/// Prints what may be a mistake; answers whether there is no warning.
fn remark(name: &str, read: &Read) -> bool {
    if read.has_more_documents {
        eprintln!("{name}: warning: only the first YAML document counts, and there are more");
    }
    let remarks = lint::remarks(&read.file);
    for remark in &remarks {
        eprintln!("{name}:{remark}");
    }
    remarks.iter().all(|remark| remark.weight != Weight::Warning)
}
