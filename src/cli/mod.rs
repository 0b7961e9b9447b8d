//! The commands, one file each. Only this module prints.
//!
//! Exit codes: 0 fine, 1 the check or the work failed, 2 the command line was wrong.

mod alert;
mod check;
mod check_rules;
mod client;
mod doctor;
mod output;
mod query;
mod rules;
mod serve;
mod silence;
mod test_rules;
mod tsdb;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Monitoring for a small cluster: scrape, store, alert, mail, dashboard, in one binary.
#[derive(Debug, Parser)]
#[command(name = "watchkeeper", version, about, arg_required_else_help = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Starts the server.
    Serve(serve::ServeArgs),
    /// Asks a running server: PromQL, series, labels.
    Query(query::QueryArgs),
    /// Rule files in ZooKeeper: lists, changes and compares them, and goes back to earlier versions.
    Rules(rules::RulesArgs),
    /// Keeps alerts quiet for a while.
    Silence(silence::SilenceArgs),
    /// Shows alerts, posts one, or tests whether people are told.
    Alert(alert::AlertArgs),
    /// Checks files: configuration, Alertmanager's, web, expositions.
    Check(check::CheckArgs),
    /// Looks into the store of a stopped server: statistics, verification, snapshots, export and import.
    Tsdb(tsdb::TsdbArgs),
    /// Tries everything that a configuration needs, step by step: targets, ZooKeeper, mail servers.
    Doctor(doctor::DoctorArgs),
    /// Runs tests.
    #[command(subcommand)]
    Test(Test),
}

#[derive(Debug, Subcommand)]
enum Test {
    /// Runs rule unit tests, as promtool does.
    Rules(test_rules::TestRulesArgs),
}

/// Runs the command of this process's command line.
#[must_use]
pub fn main() -> ExitCode {
    // clap ends the process itself with 2 where the line is wrong, and with 0 after help and version.
    match CommandLine::parse().command {
        Command::Serve(args) => serve::run(&args),
        Command::Query(args) => query::run(&args),
        Command::Rules(args) => rules::run(&args),
        Command::Silence(args) => silence::run(&args),
        Command::Alert(args) => alert::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Tsdb(args) => tsdb::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Test(Test::Rules(args)) => test_rules::run(&args),
    }
}

/// Says that a command failed, and why, down to the first cause.
#[expect(clippy::print_stderr, reason = "the command line speaks to its user")]
fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("watchkeeper: {error:#}");
    ExitCode::from(1)
}
