//! `watchkeeper tsdb verify`: what is not as it was written, where, and what that costs.

use super::{bar, shown};
use crate::cli::{fail, output};
use crate::env::Env;
use crate::state::dump;
use crate::state::events::decode;
use crate::state::sled::SledState;
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
    let others = [state_dump(&env, &dir.join("state.dump")), state(&env, dir), events(&env, &dir.join("events"))].concat();
    output::show(&report(&found, &others));
    if found.problems.is_empty() && others.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What is wrong with the export of the operational state.
fn state_dump(env: &Env, path: &Path) -> Vec<String> {
    match env.disk.read(path) {
        Ok(bytes) => dump::decode(&bytes).err().map(|error| format!("{}:0: {error}", path.display())).into_iter().collect(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => vec![format!("{}:0: cannot be read: {error}", path.display())],
    }
}

/// What is wrong with the database of the operational state.
fn state(env: &Env, dir: &Path) -> Vec<String> {
    let scratch = std::env::temp_dir().join(format!("watchkeeper-verify-{}", std::process::id()));
    let path = dir.join("state").join("db");
    match SledState::check(env, dir, &scratch) {
        Ok(found) => found.map(|reason| format!("{}:0: {reason}", path.display())).into_iter().collect(),
        Err(error) => vec![format!("{}:0: cannot be checked: {error}", path.display())],
    }
}

/// What is wrong with the event history.
fn events(env: &Env, folder: &Path) -> Vec<String> {
    let entries = match env.disk.list(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => return vec![format!("{}:0: cannot be listed: {error}", folder.display())],
    };
    let newest = entries.iter().map(|entry| entry.name.clone()).max();
    let mut found = Vec::new();
    for entry in &entries {
        let path = folder.join(&entry.name);
        let bytes = match env.disk.read(&path) {
            Ok(bytes) => bytes,
            Err(error) => {
                found.push(format!("{}:0: cannot be read: {error}", path.display()));
                continue;
            }
        };
        let decoded = decode(&bytes);
        found.extend(decoded.damaged.iter().map(|at| format!("{}:{at}: an event that cannot be read", path.display())));
        // A crash may leave half an event at the end of the newest file.
        if decoded.good < bytes.len() && newest.as_ref() != Some(&entry.name) {
            found.push(format!("{}:{}: the end is no event", path.display(), decoded.good));
        }
    }
    found
}

fn cost(cost: &Cost) -> String {
    let name = if cost.metric.is_empty() { "(series without a name)" } else { &cost.metric };
    let (from, to) = (shown(cost.from_ms), shown(cost.to_ms));
    format!("    costs {} samples of {} series of {name}, {from} to {to}", cost.samples, cost.series)
}

fn report(found: &Verified, others: &[String]) -> String {
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
    for other in others {
        line(other);
    }
    let Verified { files, bytes, blocks, pages, columns, samples, records, .. } = found;
    line(&format!(
        "{files} files, {bytes} bytes: {blocks} blocks, {pages} pages, {columns} columns, {samples} samples, {records} records of the log"
    ));
    let bad = found.problems.len() + others.len();
    line(&if bad == 0 { "ok".to_owned() } else { format!("{bad} problem{}", if bad == 1 { "" } else { "s" }) });
    out
}
