//! `watchkeeper tsdb verify`: what is not as it was written, where, and what that costs.

use super::{bar, shown};
use crate::cli::{fail, output};
use crate::env::Env;
use crate::state::dump;
use crate::storage::verify::{Cost, Verified, verify};
use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

/// Checks; answers 1 where anything is bad.
pub(super) fn run(dir: &Path) -> ExitCode {
    let env = Env::real();
    let found = match verify(&env, dir, &bar::progress()) {
        Ok(found) => found,
        Err(error) => return fail(&error.into()),
    };
    let dump = state_dump(&env, &dir.join("state.dump"));
    output::show(&report(&found, dump.as_deref()));
    if found.problems.is_empty() && dump.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What is wrong with the export of the operational state, if anything is.
fn state_dump(env: &Env, path: &Path) -> Option<String> {
    match env.disk.read(path) {
        Ok(bytes) => dump::decode(&bytes).err().map(|error| format!("{}:0: {error}", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => Some(format!("{}:0: cannot be read: {error}", path.display())),
    }
}

fn cost(cost: &Cost) -> String {
    let name = if cost.metric.is_empty() { "(series without a name)" } else { &cost.metric };
    let (from, to) = (shown(cost.from_ms), shown(cost.to_ms));
    format!("    costs {} samples of {} series of {name}, {from} to {to}", cost.samples, cost.series)
}

fn report(found: &Verified, dump: Option<&str>) -> String {
    let mut out = String::new();
    let mut line = |text: &str| {
        let written = writeln!(out, "{text}");
        debug_assert!(written.is_ok());
    };
    for remark in &found.remarks {
        line(&format!("{remark} (no damage)"));
    }
    for problem in &found.problems {
        line(&problem.to_string());
        for found in &problem.costs {
            line(&cost(found));
        }
    }
    if let Some(dump) = dump {
        line(dump);
    }
    let Verified { files, bytes, blocks, pages, columns, samples, records, .. } = found;
    line(&format!(
        "{files} files, {bytes} bytes: {blocks} blocks, {pages} pages, {columns} columns, {samples} samples, {records} records of the log"
    ));
    let bad = found.problems.len() + usize::from(dump.is_some());
    line(&if bad == 0 { "ok".to_owned() } else { format!("{bad} problem{}", if bad == 1 { "" } else { "s" }) });
    out
}
