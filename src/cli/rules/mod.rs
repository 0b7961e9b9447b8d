//! `watchkeeper rules list|push|pull|diff|history|rollback`: the rule files in ZooKeeper, changed with a history.
//!
//! What is pushed is checked as `check rules` does before anything is written, and is live on every server within a second.

#![expect(clippy::print_stderr, reason = "a command speaks to its user")]

mod folder;

use super::client::block_on;
use super::output::{Table, show};
use crate::cluster::diff;
use crate::cluster::history::{Blob, Kind, Push};
use crate::cluster::paths;
use crate::cluster::push::{self, Change, Files, Note, Pushed};
use crate::cluster::snapshot::{self, Snapshot};
use crate::env::Env;
use crate::model::rule_source::SourceError;
use crate::model::utf8;
use crate::rules::file::{self, RuleFileError};
use crate::rules::lint::{self, Known, Weight};
use crate::zookeeper::{self, Client};
use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use folder::{Folder, Step};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// What `rules` takes.
#[derive(Debug, Args)]
pub(super) struct RulesArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Lists the rule files, who changed them last, and what is wrong with them.
    List {
        #[command(flatten)]
        server: EnsembleArgs,
    },
    /// Makes the rule files in ZooKeeper those of a folder, all at once.
    Push {
        #[command(flatten)]
        server: EnsembleArgs,
        #[command(flatten)]
        change: ChangeArgs,
        /// The folder.
        #[arg(value_name = "DIR", default_value = "rules")]
        folder: PathBuf,
    },
    /// Makes the rule files of a folder those in ZooKeeper; what was changed here stays.
    Pull {
        #[command(flatten)]
        server: EnsembleArgs,
        /// Shows what would be written, and writes nothing.
        #[arg(long)]
        dry_run: bool,
        /// The folder.
        #[arg(value_name = "DIR", default_value = "rules")]
        folder: PathBuf,
    },
    /// Shows what a push would change, line by line; with --to what a rollback would.
    Diff {
        #[command(flatten)]
        server: EnsembleArgs,
        /// Compares with this push instead of a folder.
        #[arg(long, value_name = "PUSH", conflicts_with = "folder")]
        to: Option<u64>,
        /// The folder.
        #[arg(value_name = "DIR", default_value = "rules")]
        folder: PathBuf,
    },
    /// Lists the pushes that are kept: who, when, why, what.
    History {
        #[command(flatten)]
        server: EnsembleArgs,
    },
    /// Makes the rule files again what they were after an earlier push, as a new push.
    Rollback {
        #[command(flatten)]
        server: EnsembleArgs,
        #[command(flatten)]
        change: ChangeArgs,
        /// Which push; default: that before the last change.
        #[arg(long, value_name = "PUSH")]
        to: Option<u64>,
    },
}

/// Where ZooKeeper is.
#[derive(Debug, Args)]
struct EnsembleArgs {
    /// The ensemble.
    #[arg(long, value_name = "HOSTS[/CHROOT]")]
    zookeeper: String,
    /// The folder that is ours.
    #[arg(long, value_name = "PATH", default_value = "/watchkeeper")]
    root: String,
    /// A file with `user:password` for digest authentication.
    #[arg(long, value_name = "FILE")]
    zookeeper_auth: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct ChangeArgs {
    /// Why; kept in the history.
    #[arg(short = 'm', long = "message", value_name = "REASON", default_value = "")]
    reason: String,
    /// Checks and shows what would be changed, and writes nothing.
    #[arg(long)]
    dry_run: bool,
}

/// Does what was asked; answers 0 where it was done.
pub(super) fn run(args: &RulesArgs) -> ExitCode {
    let done = block_on(async {
        match &args.what {
            What::List { server } => list(&Ensemble::connect(server).await?).await,
            What::Push { server, change, folder } => push(server, change, &Folder::new(folder)).await,
            What::Pull { server, dry_run, folder } => pull(server, *dry_run, &Folder::new(folder)).await,
            What::Diff { server, to: Some(number), .. } => diff_with_push(server, *number).await,
            What::Diff { server, to: None, folder } => diff_with_folder(server, &Folder::new(folder)).await,
            What::History { server } => history(&Ensemble::connect(server).await?).await,
            What::Rollback { server, change, to } => rollback(server, change, *to).await,
        }
    });
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => super::fail(&error),
    }
}

/// A session.
struct Ensemble {
    env: Env,
    client: Arc<dyn Client>,
    hosts: String,
    /// The root with the chroot before it: so that reading makes nothing, not even the chroot.
    root: String,
}

impl Ensemble {
    async fn connect(args: &EnsembleArgs) -> anyhow::Result<Self> {
        let env = Env::real();
        let digest = match &args.zookeeper_auth {
            None => None,
            Some(path) => {
                let bytes = env.disk.read(path).with_context(|| path.display().to_string())?;
                let digest = String::from_utf8_lossy(&bytes).trim().to_owned();
                if !digest.contains(':') {
                    bail!("{}: must hold user:password", path.display());
                }
                Some(digest)
            }
        };
        let whole = zookeeper::Options {
            connect: args.zookeeper.clone(),
            root: String::new(),
            session_timeout: Duration::from_secs(6),
            digest,
            tls: None,
            unread: Vec::new(),
            is_foreign: false,
        };
        let (hosts, chroot) = whole.hosts_and_chroot();
        let (hosts, chroot) = (hosts.to_owned(), chroot.trim_end_matches('/').to_owned());
        let root = format!("{chroot}/{}", args.root.trim_matches('/'));
        let options = zookeeper::Options { connect: hosts.clone(), ..whole };
        let connected = zookeeper::real_connector(&env).connect(&options).await;
        let client = connected.with_context(|| format!("cannot connect to ZooKeeper at {hosts}"))?;
        Ok(Self { env, client, hosts, root: root.trim_end_matches('/').to_owned() })
    }

    async fn read(&self) -> anyhow::Result<Snapshot> {
        Ok(snapshot::read(&self.client, &self.root).await?)
    }

    fn note(&self, args: &ChangeArgs, restores: Option<u64>) -> Note {
        let user = std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_else(|_| "unknown".to_owned());
        let now_ms = self.env.clock.now_ms();
        let who = format!("{user}@{}", self.env.host_name());
        Note { who, now_ms, at: time(now_ms), why: args.reason.clone(), restores }
    }

    fn path(&self, name: &str) -> String {
        format!("zookeeper:{}/{name}", paths::rules(&self.root))
    }
}

fn time(milliseconds: i64) -> String {
    jiff::Timestamp::from_second(milliseconds.div_euclid(1000)).unwrap_or_default().to_string()
}

/// Checks files as `check rules` does and says what is wrong; answers whether all load.
fn check(files: &Files, shown_as: impl Fn(&str) -> String) -> bool {
    let mut fine = true;
    let mut known = Known::default();
    for (name, text) in files {
        let shown = shown_as(name);
        match read_rules(text) {
            Ok(read) => {
                if read.has_more_documents {
                    eprintln!("{shown}: warning: only the first YAML document counts, and there are more");
                }
                for remark in lint::remarks(&shown, &read.file, &mut known) {
                    if remark.weight == Weight::Warning {
                        eprintln!("{shown}:{remark}");
                    }
                }
            }
            Err(errors) => {
                fine = false;
                errors.iter().for_each(|error| eprintln!("{}", error.in_file(&shown)));
            }
        }
    }
    fine
}

fn read_rules(text: &[u8]) -> Result<file::Read, Vec<RuleFileError>> {
    let text = utf8::decode(text.to_vec()).map_err(|error| vec![RuleFileError::from(&SourceError::from(error))])?;
    file::read(&text)
}

fn show_changes(changes: &BTreeMap<String, Change>) {
    let lines: Vec<String> = changes.iter().map(|(name, change)| format!("{} {name}\n", change.sign())).collect();
    show(&lines.concat());
}

fn files(count: usize) -> String {
    if count == 1 { "1 file".to_owned() } else { format!("{count} files") }
}

fn show_pushed(pushed: &Pushed, what: &str, count: usize) {
    if let Some(outside) = pushed.outside {
        show(&format!("push {outside}: kept what other clients had changed before\n"));
    }
    show(&format!("push {}: {what}, {} changed\n", pushed.number, files(count)));
}

async fn push(args: &EnsembleArgs, change: &ChangeArgs, folder: &Folder) -> anyhow::Result<bool> {
    let local = folder.read(std::iter::empty())?;
    if local.is_empty() {
        bail!("{}: no rule file (*.yml, *.yaml) is in there", folder.file("").display());
    }
    if !check(&local, |name| folder.file(name).display().to_string()) {
        bail!("nothing was written");
    }
    let ensemble = Ensemble::connect(args).await?;
    let there = ensemble.read().await?;
    let local = folder.read(there.files.keys())?;
    let wanted = push::hashes(&local);
    // Without a pull or push from here: what the newest push left.
    let base = folder.base(&ensemble.hosts, &ensemble.root)?.filter(|_| !is_forgotten(&there));
    let base = base.map_or_else(|| there.history.head_hashes(), |base| base.files);
    let conflicts = push::conflicts(&there, &base, &wanted, time);
    if !conflicts.is_empty() {
        conflicts.iter().for_each(|words| eprintln!("{words}"));
        bail!("nothing was written: pull first");
    }
    let changes = push::changes(&there.hashes(), &wanted);
    show_changes(&changes);
    if changes.is_empty() {
        show("nothing to push\n");
    } else if change.dry_run {
        show("dry run: nothing was written\n");
    } else {
        let note = ensemble.note(change, None);
        let pushed = Box::pin(push::perform(&ensemble.client, &ensemble.root, &there, &local, &note)).await?;
        if let Some(pushed) = pushed {
            show_pushed(&pushed, "written", changes.len());
        }
    }
    if !change.dry_run {
        folder.set_base(&ensemble.hosts, &ensemble.root, wanted)?;
    }
    Ok(true)
}

/// Returns whether ZooKeeper has forgotten all that there ever was.
fn is_forgotten(there: &Snapshot) -> bool {
    there.files.is_empty() && there.history.pushes.is_empty()
}

async fn pull(args: &EnsembleArgs, dry_run: bool, folder: &Folder) -> anyhow::Result<bool> {
    let ensemble = Ensemble::connect(args).await?;
    let there = ensemble.read().await?;
    let here = push::hashes(&folder.read(there.files.keys())?);
    let base = folder.base(&ensemble.hosts, &ensemble.root)?;
    if is_forgotten(&there) && base.as_ref().is_some_and(|base| !base.files.is_empty()) {
        bail!(
            "ZooKeeper knows neither rule files nor pushes any more, as after a restore without its data: nothing was changed here; \
             `rules push` from this folder brings them back"
        );
    }
    let was_there = |name: &str, sha256: &str| {
        let has = |(known, blob): (&str, &Blob)| known == name && blob.sha256 == sha256;
        there.history.pushes.values().any(|push| push.rules().any(has))
    };
    let steps = folder::pull_steps(&here, base.as_ref().map(|base| &base.files), &there.hashes(), was_there);
    let mut fine = true;
    let mut changed = 0;
    for (name, step) in &steps {
        let text = there.files.get(name).map(|file| file.text.as_slice()).unwrap_or_default();
        let (line, done) = match step {
            Step::Keep => (format!("  {name}: changed here alone, kept\n"), Ok(())),
            Step::KeepRemoved => (format!("! {name}: removed there, changed here: kept\n"), Ok(())),
            Step::Write if dry_run => (format!("{} {name}\n", if here.contains_key(name) { '~' } else { '+' }), Ok(())),
            Step::Write => (format!("{} {name}\n", if here.contains_key(name) { '~' } else { '+' }), folder.write(name, text)),
            Step::Remove => (format!("- {name}\n"), if dry_run { Ok(()) } else { folder.remove(name) }),
            Step::Beside => {
                let theirs = format!("{name}.theirs");
                let line = format!("! {name}: changed here and there: yours is kept, theirs is {theirs}; merge and push\n");
                (line, if dry_run { Ok(()) } else { folder.write(&theirs, text) })
            }
        };
        done?;
        show(&line);
        fine &= !matches!(step, Step::Beside | Step::KeepRemoved);
        changed += usize::from(matches!(step, Step::Write | Step::Remove));
    }
    if dry_run {
        show("dry run: nothing was written\n");
    } else {
        folder.set_base(&ensemble.hosts, &ensemble.root, there.hashes())?;
        let head = there.history.head().map_or_else(String::new, |push| format!(" as of push {}", push.number));
        show(&format!("{} pulled{head}, {} changed\n", files(there.files.len()), files(changed)));
    }
    Ok(fine)
}

fn show_diff(from: &Files, to: &Files, from_name: impl Fn(&str) -> String, to_name: impl Fn(&str) -> String) {
    for name in push::changes(&push::hashes(from), &push::hashes(to)).keys() {
        let side = |files: &Files, shown: String| match files.get(name) {
            Some(text) => (text.clone(), shown),
            None => (Vec::new(), "/dev/null".to_owned()),
        };
        let ((from, from_shown), (to, to_shown)) = (side(from, from_name(name)), side(to, to_name(name)));
        show(&diff::unified(&from, &to, &from_shown, &to_shown));
    }
}

async fn diff_with_folder(args: &EnsembleArgs, folder: &Folder) -> anyhow::Result<bool> {
    let ensemble = Ensemble::connect(args).await?;
    let there = ensemble.read().await?;
    let local = folder.read(there.files.keys())?;
    show_diff(&there.texts(), &local, |name| ensemble.path(name), |name| folder.file(name).display().to_string());
    Ok(true)
}

async fn diff_with_push(args: &EnsembleArgs, number: u64) -> anyhow::Result<bool> {
    let ensemble = Ensemble::connect(args).await?;
    let there = ensemble.read().await?;
    let then = snapshot::read_version(&ensemble.client, &ensemble.root, &there, number).await?;
    show_diff(&there.texts(), &then, |name| ensemble.path(name), |name| format!("push {number}: {name}"));
    Ok(true)
}

async fn list(ensemble: &Ensemble) -> anyhow::Result<bool> {
    let there = ensemble.read().await?;
    let mut table = Table::new(["NAME", "BYTES", "STORED", "CHANGED", "BY", "STATE"]);
    for (name, file) in &there.files {
        let by = there.history.made_by(name, &file.sha256);
        let by = by.map_or_else(|| "another client".to_owned(), |push| format!("push {} {}", push.number, push.who));
        let state = match (&file.broken, read_rules(&file.text)) {
            (Some(broken), _) => broken.clone(),
            (None, Ok(read)) => format!("ok ({} rules)", read.file.groups.iter().map(|group| group.rules.len()).sum::<usize>()),
            (None, Err(errors)) => errors.first().map_or_else(String::new, |error| format!("refused: {error}")),
        };
        let sizes = [file.text.len().to_string(), file.stored.to_string()];
        let [bytes, stored] = sizes;
        table.rows.push(vec![name.clone(), bytes, stored, time(file.modified_ms), by, state]);
    }
    show(&table.aligned());
    Ok(true)
}

/// Changes that are named in a line of the history.
const CHANGES_SHOWN: usize = 4;

async fn history(ensemble: &Ensemble) -> anyhow::Result<bool> {
    let there = ensemble.read().await?;
    let mut table = Table::new(["PUSH", "WHEN", "WHO", "CHANGES", "WHY"]);
    let outside = there.outside();
    if !outside.is_empty() {
        let changes = push::changes(&there.history.head_hashes(), &there.hashes());
        let newest = outside.iter().filter_map(|name| there.files.get(name)).map(|file| file.modified_ms).max();
        let why = "edited outside; the next push or rollback keeps it as a push";
        let row = ["-", &newest.map(time).unwrap_or_default(), "other clients", &change_words(&changes), why];
        table.rows.push(row.map(str::to_owned).to_vec());
    }
    let hashes = |push: &Push| -> BTreeMap<String, String> {
        push.rules().map(|(name, blob)| (name.to_owned(), blob.sha256.clone())).collect()
    };
    for push in there.history.pushes.values().rev() {
        let changes = match push.parent.map(|parent| there.history.pushes.get(&parent)) {
            None => change_words(&push::changes(&BTreeMap::new(), &hashes(push))),
            Some(Some(parent)) => change_words(&push::changes(&hashes(parent), &hashes(push))),
            Some(None) => files(push.files.len()),
        };
        let why = match (push.kind, push.restores) {
            (Kind::Rollback, Some(to)) if push.why.is_empty() => format!("rollback to {to}"),
            (Kind::Rollback, Some(to)) => format!("rollback to {to}: {}", push.why),
            _ => push.why.clone(),
        };
        table.rows.push(vec![push.number.to_string(), push.at.clone(), push.who.clone(), changes, why]);
    }
    show(&table.aligned());
    for (name, error) in &there.history.unreadable {
        eprintln!("{name}: cannot be read: {error}");
    }
    Ok(there.history.unreadable.is_empty())
}

fn change_words(changes: &BTreeMap<String, Change>) -> String {
    let shown = changes.iter().take(CHANGES_SHOWN).map(|(name, change)| format!("{}{name}", change.sign()));
    let mut words: Vec<String> = shown.collect();
    if changes.len() > CHANGES_SHOWN {
        words.push(format!("and {} more", changes.len() - CHANGES_SHOWN));
    }
    words.join(" ")
}

async fn rollback(args: &EnsembleArgs, change: &ChangeArgs, to: Option<u64>) -> anyhow::Result<bool> {
    let ensemble = Ensemble::connect(args).await?;
    let there = ensemble.read().await?;
    let head = there.history.head().map(|push| push.number);
    let before = if there.outside().is_empty() { head.and_then(|head| there.history.before(head)) } else { head };
    let Some(number) = to.or(before) else { bail!("the history holds nothing to go back to") };
    let then = snapshot::read_version(&ensemble.client, &ensemble.root, &there, number).await?;
    if !check(&then, |name| format!("push {number}: {name}")) {
        // It was so: a server keeps the last good version of such a file, and shows the error.
        eprintln!("warning: not all files of push {number} load");
    }
    let changes = push::changes(&there.hashes(), &push::hashes(&then));
    show_changes(&changes);
    if changes.is_empty() {
        show(&format!("nothing to do: the files are those of push {number}\n"));
    } else if change.dry_run {
        show("dry run: nothing was written\n");
    } else {
        let note = ensemble.note(change, Some(number));
        let pushed = Box::pin(push::perform(&ensemble.client, &ensemble.root, &there, &then, &note)).await?;
        if let Some(pushed) = pushed {
            show_pushed(&pushed, &format!("rolled back to push {number}"), changes.len());
        }
    }
    Ok(true)
}
