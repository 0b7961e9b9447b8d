//! Targets that register themselves in ZooKeeper: serversets, Nerve, Curator, Kafka, Dubbo, and any znode by template.
//!
//! ```text
//! sessions   one session for each ensemble, shared by all sources that read it, ended with the last of them
//!    |  a tree, read completely, whenever something changed
//! source     the znodes below its paths -> targets; one that cannot be read is named and does not stop the rest
//!    formats, dubbo, znode: what the data of one znode mean
//! ```
//!
//! What a source said last stays while the ensemble is away; only a tree that was read completely takes targets away. Nothing is
//! ever written: the trees are other people's. The session of `zookeeper.connect` is not shared, so that a large foreign tree
//! never costs us ours.

mod dubbo;
mod formats;
mod sessions;
#[cfg(test)]
mod tests;
mod znode;

pub(super) use sessions::{Ensemble, Sessions};

use super::{Sink, Update};
use crate::config::Config;
use crate::config::discovery::{DiscoveryConfigs, ZnodeDiscovery, ZooKeeperDiscovery};
use crate::env::Env;
use crate::model::labels::Labels;
use crate::model::target::TargetGroup;
use crate::telemetry::metrics::Counter;
use crate::zookeeper::tree_cache::join;
use crate::zookeeper::{SessionStatus, Status, Tree, Znode};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// The longest data of a znode that is read for one target: real ones have some hundred bytes.
const MEMBER_BYTES_MAX: usize = 64 * 1024;
/// How many labels of one target the data may bring in.
const LABELS_MAX: usize = 64;
/// How many refused znodes are named.
const ERRORS_MAX: usize = 20;
/// After a failure to read the file of the password.
const TRY_AGAIN: Duration = Duration::from_secs(10);

/// What the znodes mean.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Format {
    Serverset,
    Nerve,
    Curator,
    Kafka,
    Dubbo,
    Znode(Box<ZnodeDiscovery>),
}

/// One source: what is read where.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Source {
    pub(super) format: Format,
    pub(super) ensemble: Ensemble,
    /// The folders that are watched.
    roots: Vec<String>,
}

/// What a znode comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Found {
    /// A folder, or something that is not meant.
    Nothing,
    /// A target; its `__address__` is among them.
    Target(Labels),
    /// It cannot be read, and why.
    Wrong(String),
}

impl Format {
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Serverset => "serverset",
            Self::Nerve => "nerve",
            Self::Curator => "curator",
            Self::Kafka => "kafka",
            Self::Dubbo => "dubbo",
            Self::Znode(_) => "znode",
        }
    }
}

impl Source {
    fn new(format: Format, servers: &[String], paths: &[String], timeout: Duration, config: &Config) -> Result<Self, String> {
        let kind = format.kind();
        let ensemble = Ensemble::of(servers, timeout, config.zookeeper.as_ref()).ok_or_else(|| {
            format!("{kind}_sd_configs names no servers, and there is no zookeeper.connect whose ensemble could be meant")
        })?;
        let mut roots: Vec<String> = paths.iter().map(|path| root(&format, path)).collect();
        roots.sort();
        roots.dedup();
        Ok(Self { format, ensemble, roots })
    }

    /// Returns all sources of a job, and why some that are configured cannot be.
    pub(super) fn of(configs: &DiscoveryConfigs, config: &Config) -> (Vec<Self>, Vec<String>) {
        let plain = [
            (Format::Serverset, &configs.serverset),
            (Format::Nerve, &configs.nerve),
            (Format::Curator, &configs.curator),
            (Format::Kafka, &configs.kafka),
            (Format::Dubbo, &configs.dubbo),
        ];
        let plain = plain.into_iter().flat_map(|(format, all)| all.iter().map(move |one| (format.clone(), one)));
        let plain = plain
            .map(|(format, one): (Format, &ZooKeeperDiscovery)| Self::new(format, &one.servers, &one.paths, one.timeout, config));
        let znode = configs
            .znode
            .iter()
            .map(|one| Self::new(Format::Znode(Box::new(one.clone())), &one.servers, &one.paths, one.timeout, config));
        let mut sources = Vec::new();
        let mut errors = Vec::new();
        for made in plain.chain(znode) {
            match made {
                Ok(source) => sources.push(source),
                Err(error) => errors.push(error),
            }
        }
        (sources, errors)
    }

    /// Returns what tells it from others of its kind, and what its targets depend on.
    pub(super) fn identity(&self) -> String {
        let mut identity = format!("{} {}", self.ensemble.connect, self.roots.join(" "));
        if let Format::Znode(config) = &self.format {
            let pattern = config.name_regex.as_ref().map_or("", |pattern| pattern.0.pattern());
            let parts = config.labels.iter().flat_map(|(name, text)| [name.as_str(), text.as_str()]);
            for part in [config.address.as_str(), pattern].into_iter().chain(parts) {
                identity.push(' ');
                identity.push_str(part);
            }
        }
        identity
    }
}

/// Says what is wrong with the ZooKeeper sources of all jobs: a template that is none, a job that names no ensemble.
///
/// # Errors
/// The first thing that is wrong, with the job.
pub fn check(config: &Config) -> Result<(), String> {
    for job in &config.scrape_configs {
        let (sources, errors) = Source::of(&job.discovery, config);
        let templates = sources.iter().filter_map(|source| match &source.format {
            Format::Znode(config) => znode::Templates::new(config).err(),
            _ => None,
        });
        if let Some(error) = errors.into_iter().chain(templates).next() {
            return Err(format!("job {:?}: {error}", job.job_name));
        }
    }
    Ok(())
}

/// Returns the folder that is watched for a configured path.
fn root(format: &Format, path: &str) -> String {
    let path = match path.trim_end_matches('/') {
        "" => "/",
        path => path,
    };
    match format {
        // Kafka's chroot, or its list of brokers itself.
        Format::Kafka if !path.ends_with("/ids") => join(path, "brokers/ids"),
        _ => path.to_owned(),
    }
}

/// Turns znodes into targets, and remembers what did not change.
struct Reader {
    format: Format,
    /// `Some` for znodes by template.
    templates: Option<znode::Templates>,
    /// Path -> the znode's last change, and what it came to.
    known: BTreeMap<String, (i64, i64, Found)>,
}

impl Reader {
    fn new(format: &Format) -> Result<Self, String> {
        let templates = match format {
            Format::Znode(config) => Some(znode::Templates::new(config)?),
            _ => None,
        };
        Ok(Self { format: format.clone(), templates, known: BTreeMap::new() })
    }

    /// Returns the targets below `root`, in order of paths, and what could not be read.
    fn read(&mut self, tree: &Tree, root: &str, errors: &mut Vec<String>) -> TargetGroup {
        let mut targets = Vec::new();
        let itself = tree.nodes.get_key_value(root).map(|(path, node)| (path.as_str(), node));
        for (path, node) in itself.into_iter().chain(tree.below(root)) {
            let found = match self.known.get(path) {
                Some((czxid, mzxid, found)) if (*czxid, *mzxid) == (node.czxid, node.mzxid) && !node.denied => found.clone(),
                _ => {
                    let found = self.found(root, path, node);
                    self.known.insert(path.to_owned(), (node.czxid, node.mzxid, found.clone()));
                    found
                }
            };
            match found {
                Found::Nothing => {}
                Found::Target(labels) => targets.push(labels),
                Found::Wrong(reason) => errors.push(format!("{path}: {reason}")),
            }
        }
        if self.format == Format::Dubbo {
            targets = dubbo::by_process(targets);
        }
        TargetGroup { source: root.to_owned(), targets, labels: Labels::empty() }
    }

    fn found(&self, root: &str, path: &str, node: &Znode) -> Found {
        if node.denied {
            return Found::Wrong("no permission to read it".to_owned());
        }
        if node.data.len() > MEMBER_BYTES_MAX && self.format != Format::Dubbo {
            return Found::Wrong(format!(
                "{} bytes are more than a target's data may have ({MEMBER_BYTES_MAX})",
                node.data.len()
            ));
        }
        let below = path.strip_prefix(root.trim_end_matches('/')).unwrap_or_default().trim_start_matches('/');
        let found = match (&self.format, &self.templates) {
            (Format::Serverset, _) => formats::serverset(path, &node.data),
            (Format::Nerve, _) => formats::nerve(path, &node.data),
            (Format::Curator, _) => formats::curator(path, below, &node.data),
            (Format::Kafka, _) => formats::kafka(below, &node.data),
            (Format::Dubbo, _) => dubbo::provider(below),
            (Format::Znode(_), Some(templates)) => templates.target(path, &node.data),
            (Format::Znode(_), None) => Ok(None),
        };
        match found {
            Ok(Some(labels)) => Found::Target(labels),
            Ok(None) => Found::Nothing,
            Err(reason) => Found::Wrong(reason),
        }
    }

    fn forget_gone(&mut self, tree: &Tree) {
        self.known.retain(|path, _| tree.nodes.contains_key(path));
    }
}

/// Watches the znodes, and says the targets whenever they change. Ends when nobody listens.
///
/// `known` are the targets of when they were last read.
pub(super) async fn run(env: Env, source: Source, known: Vec<TargetGroup>, sessions: Sessions, failures: Counter, sink: Sink) {
    let mut teller = Teller { sink, failures, kind: source.format.kind(), said: None, errors: BTreeSet::new() };
    let mut groups: BTreeMap<String, TargetGroup> = known.into_iter().map(|group| (group.source.clone(), group)).collect();
    groups.retain(|root, _| source.roots.contains(root));
    let mut reader = match Reader::new(&source.format) {
        Ok(reader) => reader,
        Err(error) => {
            teller.tell(&groups, vec![error]).await;
            return;
        }
    };
    let subscription = loop {
        match sessions.subscribe(&source.ensemble, &source.roots).await {
            Ok(subscription) => break subscription,
            Err(error) => {
                if !teller.tell(&groups, vec![error]).await {
                    return;
                }
                env.clock.sleep(TRY_AGAIN).await;
            }
        }
    };
    let (mut trees, mut states) = (subscription.link.tree.clone(), subscription.link.status.clone());
    let mut read_errors = Vec::new();
    let mut read: Option<Arc<Tree>> = None;
    loop {
        let (tree, status) = (trees.borrow_and_update().clone(), states.borrow_and_update().clone());
        if let Some(tree) = tree.filter(|tree| read.as_ref().is_none_or(|read| !Arc::ptr_eq(read, tree))) {
            read_errors = take(&mut reader, &mut groups, &tree, &source);
            read = Some(tree);
        }
        let mut errors = read_errors.clone();
        errors.extend(trouble(&source.ensemble, &status, read.is_some()));
        if !teller.tell(&groups, errors).await || !either_changed(&mut trees, &mut states).await {
            return;
        }
    }
}

/// Takes what a tree says of each root; returns what is wrong with them.
fn take(reader: &mut Reader, groups: &mut BTreeMap<String, TargetGroup>, tree: &Tree, source: &Source) -> Vec<String> {
    let mut errors = Vec::new();
    for root in &source.roots {
        match tree.roots.get(root) {
            // The session was running for others; the next tree is for us as well.
            None => {}
            Some(Some(reason)) => errors.push(format!("{root}: {reason}; its last known targets go on")),
            Some(None) => {
                if !tree.nodes.contains_key(root) {
                    errors.push(format!("{root} does not exist in the ensemble {}", source.ensemble.connect));
                }
                groups.insert(root.clone(), reader.read(tree, root, &mut errors));
            }
        }
    }
    reader.forget_gone(tree);
    errors
}

/// Says what is wrong with the session, where something is.
fn trouble(ensemble: &Ensemble, status: &Status, was_read: bool) -> Option<String> {
    if status.state == SessionStatus::Live || status.last_error.is_empty() {
        return None;
    }
    let what = if was_read { "what was read last goes on" } else { "what was known before the start goes on" };
    Some(format!("ZooKeeper {}: {}; {what}", ensemble.connect, status.last_error))
}

/// Waits for news of tree or session. `false`: there will be none.
async fn either_changed(trees: &mut watch::Receiver<Option<Arc<Tree>>>, states: &mut watch::Receiver<Status>) -> bool {
    tokio::select! {
        biased;
        changed = trees.changed() => changed.is_ok(),
        changed = states.changed() => changed.is_ok(),
    }
}

/// Says what is new.
struct Teller {
    sink: Sink,
    failures: Counter,
    kind: &'static str,
    said: Option<Update>,
    /// What was logged and is still so.
    errors: BTreeSet<String>,
}

impl Teller {
    /// Returns false once nobody listens.
    async fn tell(&mut self, groups: &BTreeMap<String, TargetGroup>, mut errors: Vec<String>) -> bool {
        let more = errors.len().saturating_sub(ERRORS_MAX);
        errors.truncate(ERRORS_MAX);
        let fresh: BTreeSet<String> = errors.iter().cloned().collect();
        for error in fresh.difference(&self.errors) {
            self.failures.inc();
            tracing::warn!(kind = self.kind, %error, "discovery in ZooKeeper");
        }
        self.errors = fresh;
        if more > 0 {
            errors.push(format!("... and {more} more"));
        }
        let update = Update { groups: groups.values().cloned().collect(), errors };
        if self.said.as_ref() == Some(&update) {
            return true;
        }
        self.said = Some(update.clone());
        self.sink.send(update).await
    }
}
