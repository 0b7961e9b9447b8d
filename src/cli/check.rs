//! `watchkeeper check config|rules|alertmanager|web-config|metrics`: is this file right, and if not, where is it wrong?
//!
//! One line for each file: what is in it, or `file:line:column: what is wrong`. Warnings do not change the exit code.

#![expect(clippy::print_stderr, reason = "a command speaks to its user")]

use crate::alerting;
use crate::app::publish;
use crate::config::{self, AlertmanagerConfig, Config, ConfigError, Files};
use crate::discovery;
use crate::env::disk::RealDisk;
use crate::env::{Disk as _, Env, glob};
use crate::exposition::Dialect;
use crate::exposition::lint::lint;
use crate::net::server_tls;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What to check.
#[derive(Debug, clap::Args)]
pub(super) struct CheckArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Configuration files: prometheus.yml or its superset.
    Config(FileArgs),
    /// Rule files.
    Rules(super::check_rules::CheckRulesArgs),
    /// Alertmanager configuration files.
    Alertmanager(FileArgs),
    /// Web configuration files (TLS, users).
    WebConfig(FileArgs),
    /// Expositions: files, or standard input.
    Metrics(MetricsArgs),
}

#[derive(Debug, clap::Args)]
struct FileArgs {
    /// The files.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct MetricsArgs {
    /// The files; none or `-`: standard input.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// Reads what a configuration names from the machine's disk.
pub(crate) struct DiskFiles;

impl Files for DiskFiles {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        RealDisk.read(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        Ok(RealDisk.list(here)?.into_iter().map(|entry| entry.name).collect())
    }
}

/// What a check found.
#[derive(Debug, Default)]
struct Findings {
    /// In one line, what is in the file.
    summary: String,
    warnings: Vec<String>,
    errors: Vec<String>,
}

/// Checks and answers 0 where all is fine, 1 where something is wrong.
#[must_use]
pub(super) fn run(args: &CheckArgs) -> ExitCode {
    let fine = match &args.what {
        What::Config(args) => check_all(&args.files, check_config),
        What::Rules(args) => return super::check_rules::run(args),
        What::Alertmanager(args) => check_all(&args.files, check_alertmanager),
        What::WebConfig(args) => check_all(&args.files, check_web),
        What::Metrics(args) => check_metrics(&args.files),
    };
    if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn check_all(files: &[PathBuf], check: fn(&Path, &str) -> Result<Findings, ConfigError>) -> bool {
    let mut fine = true;
    for file in files {
        let found = DiskFiles.text(file).and_then(|text| check(file, &text));
        let found = found.unwrap_or_else(|error| Findings { errors: vec![error.to_string()], ..Findings::default() });
        fine &= report(&file.display().to_string(), &found);
    }
    fine
}

/// Prints what was found; answers whether the file is right.
fn report(name: &str, found: &Findings) -> bool {
    for warning in &found.warnings {
        eprintln!("{name}: warning: {warning}");
    }
    for error in &found.errors {
        eprintln!("{error}");
    }
    if found.errors.is_empty() {
        super::output::show(&format!("{name}: ok ({})\n", found.summary));
    }
    found.errors.is_empty()
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// As in Prometheus and Alertmanager; whoever wrote the rest should know.
const MORE_DOCUMENTS: &str = "only the first YAML document is read: what stands behind the next `---` is ignored";

fn check_config(path: &Path, text: &str) -> Result<Findings, ConfigError> {
    let config = config::load(path, text, &DiskFiles)?;
    let mut found = Findings::default();
    if config::has_more_documents(text) {
        found.warnings.push(MORE_DOCUMENTS.to_owned());
    }
    let mut rules = 0;
    for pattern in &config.rule_files {
        // As in the server: a rule file that is not there may come later.
        let files = glob::expand(&RealDisk, pattern.path());
        if files.is_empty() {
            found.warnings.push(format!("rule_files: {:?} matches no file", &**pattern));
        }
        for file in files {
            match super::check_rules::read(&file, false) {
                Ok(read) => rules += read.file.groups.iter().map(|group| group.rules.len()).sum::<usize>(),
                Err(errors) => found.errors.extend(errors.iter().map(|error| error.in_file(&file.display()))),
            }
        }
    }
    found.errors.extend(discovery::check(&config).err());
    found.errors.extend(publish::check(&config).err());
    found.warnings.extend(missing_files(&config));
    if let Some(alertmanager) = &config.alertmanager {
        check_notifier(alertmanager, &mut found);
    }
    found.warnings.extend(config.unsupported(config::SENDABLE));
    let jobs = count(config.scrape_configs.len(), "job");
    let receivers = config.alertmanager.as_ref().map_or(0, |alertmanager| alertmanager.receivers.len());
    found.summary = format!("{jobs}, {}, {}", count(rules, "rule"), count(receivers, "receiver"));
    Ok(found)
}

/// Names the files that a configuration needs and that are not there. The server says so again when it needs them.
fn missing_files(config: &Config) -> Vec<String> {
    let missing = |path: &Path| RealDisk.stat(path).ok().flatten().is_none();
    let named = config.named_files().into_iter().filter(|(_, file)| missing(file.path()));
    named.map(|(key, file)| format!("{key}: {}: no such file", &**file)).collect()
}

fn check_alertmanager(path: &Path, text: &str) -> Result<Findings, ConfigError> {
    let config = config::load_alertmanager(path, text)?;
    let mut found = Findings { summary: alertmanager_summary(&config), ..Findings::default() };
    if config::has_more_documents(text) {
        found.warnings.push(MORE_DOCUMENTS.to_owned());
    }
    check_notifier(&config, &mut found);
    found.warnings.extend(config.unsupported(config::SENDABLE));
    Ok(found)
}

/// Looks at the templates, as the server does before it takes a configuration.
fn check_notifier(config: &AlertmanagerConfig, found: &mut Findings) {
    for pattern in &config.templates {
        if glob::expand(&RealDisk, pattern.path()).is_empty() {
            found.warnings.push(format!("templates: {:?} matches no file", &**pattern));
        }
    }
    if let Err(error) = alerting::setup::check(config, &RealDisk) {
        found.errors.extend(error.lines());
    }
}

fn alertmanager_summary(config: &AlertmanagerConfig) -> String {
    let receivers = count(config.receivers.len(), "receiver");
    format!("{receivers}, {}, {}", count(config.inhibit_rules.len(), "inhibit rule"), count(config.templates.len(), "template"))
}

fn check_web(path: &Path, text: &str) -> Result<Findings, ConfigError> {
    let config = config::load_web(path, text)?;
    let tls = if config.tls_server_config.is_some() { "TLS" } else { "no TLS" };
    let served = config.tls_server_config.as_ref().map(|tls| server_tls::check(&Env::real(), tls));
    let errors = served.and_then(Result::err).map(|error| format!("{}: {error}", path.display()));
    Ok(Findings {
        errors: errors.into_iter().collect(),
        summary: format!("{tls}, {}", count(config.basic_auth_users.len(), "user")),
        ..Findings::default()
    })
}

/// The most that is read of one exposition.
const METRICS_BYTES_MAX: u64 = 256 << 20;

fn check_metrics(files: &[PathBuf]) -> bool {
    let standard_input = [PathBuf::from("-")];
    let files = if files.is_empty() { &standard_input[..] } else { files };
    let mut fine = true;
    for file in files {
        let name = file.display().to_string();
        let body = if name == "-" {
            let mut body = Vec::new();
            io::stdin().lock().take(METRICS_BYTES_MAX).read_to_end(&mut body).map(|_| body)
        } else {
            RealDisk.read(file)
        };
        let found = match body {
            Ok(body) => check_exposition(&name, &body),
            Err(error) => Findings { errors: vec![format!("{name}: {error}")], ..Findings::default() },
        };
        fine &= report(&name, &found);
    }
    fine
}

fn check_exposition(name: &str, body: &[u8]) -> Findings {
    let trimmed = body.strip_suffix(b"\n").unwrap_or(body);
    let dialect = if trimmed.ends_with(b"# EOF") { Dialect::OpenMetrics } else { Dialect::Text };
    match lint(body, dialect) {
        Ok(found) => Findings {
            errors: found.problems.iter().map(|problem| format!("{name}: {problem}")).collect(),
            summary: count(found.samples, "sample"),
            warnings: Vec::new(),
        },
        Err(error) => {
            let error = format!("{name}:{}:{}: {error}", error.line, error.column);
            Findings { errors: vec![error], ..Findings::default() }
        }
    }
}
