//! Runs the sources that the configuration names, and joins what they say by job.

use super::last_known::LastKnown;
use super::zookeeper::{Sessions, Source};
use super::{Sink, Update, dns, file, http, static_targets, zookeeper};
use crate::config::discovery::{DiscoveryConfigs, DnsDiscovery, FileDiscovery, HttpDiscovery};
use crate::config::{Config, ScrapeConfig};
use crate::env::Env;
use crate::env::tasks::TaskHandle;
use crate::model::target::{JobTargets, TargetGroup};
use crate::state::State;
use crate::telemetry::metrics::{Counter, Registry};
use crate::zookeeper::Connector;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};

/// How many updates may wait; a source waits when it is full.
const UPDATES_WAITING_MAX: usize = 64;

/// A source that runs as a task.
#[derive(Clone, Debug, PartialEq)]
enum Spec {
    File(FileDiscovery),
    Http(Box<HttpDiscovery>),
    Dns(DnsDiscovery),
    ZooKeeper(Box<Source>),
}

impl Spec {
    /// Returns what tells the source from others of its kind; `None` where nothing is kept of it.
    fn identity(&self) -> Option<String> {
        match self {
            Self::File(_) => None,
            Self::Http(config) => Some(config.url.as_str().to_owned()),
            Self::Dns(config) => Some(format!("{} {} {}", config.kind, config.port, config.names.join(" "))),
            Self::ZooKeeper(source) => Some(source.identity()),
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::File(_) => "file",
            Self::Http(_) => "http",
            Self::Dns(_) => "dns",
            Self::ZooKeeper(source) => source.format.kind(),
        }
    }
}

struct Running {
    id: u64,
    spec: Spec,
    /// Under which its targets are kept.
    key: Option<String>,
    task: TaskHandle<()>,
    last: Update,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a job's targets come from.
#[derive(Default)]
struct Job {
    fixed: Vec<TargetGroup>,
    /// What is configured and cannot be.
    wrong: Vec<String>,
    sources: Vec<Running>,
}

struct Manager {
    env: Env,
    registry: Registry,
    jobs: BTreeMap<String, Job>,
    next_id: u64,
    updates: mpsc::Sender<(u64, Update)>,
    last_known: LastKnown,
    sessions: Sessions,
}

/// Starts discovery; the receiver's map has every job of the configuration, also those without targets.
///
/// What the configuration itself names is there at once, and what sources in the network last said where there is a `state`
/// to keep it in; the rest when its source has spoken. `ensembles` reaches those in which targets register. Ends when nobody listens.
#[must_use]
pub fn start(
    env: &Env,
    config: watch::Receiver<Arc<Config>>,
    registry: &Registry,
    state: Option<Arc<dyn State>>,
    ensembles: Arc<dyn Connector>,
) -> watch::Receiver<Arc<BTreeMap<String, JobTargets>>> {
    let (updates, incoming) = mpsc::channel(UPDATES_WAITING_MAX);
    let last_known = LastKnown::read(env, state);
    let sessions = Sessions::new(env, ensembles, registry);
    let jobs = BTreeMap::new();
    let mut manager = Manager { env: env.clone(), registry: registry.clone(), jobs, next_id: 0, updates, last_known, sessions };
    let mut config = config;
    let first = Arc::clone(&config.borrow_and_update());
    manager.apply(&first);
    let (sender, receiver) = watch::channel(Arc::new(manager.joined()));
    drop(env.tasks.spawn("discovery", manager.run(config, incoming, sender)));
    receiver
}

impl Manager {
    async fn run(
        mut self,
        mut config: watch::Receiver<Arc<Config>>,
        mut incoming: mpsc::Receiver<(u64, Update)>,
        sender: watch::Sender<Arc<BTreeMap<String, JobTargets>>>,
    ) {
        let received = self.registry.counter(
            "watchkeeper_sd_received_updates_total",
            "Total number of update events received from the SD providers.",
            &[("name", "scrape")],
        );
        loop {
            tokio::select! {
                biased;
                () = sender.closed() => return,
                Ok(()) = config.changed() => {
                    let now = Arc::clone(&config.borrow_and_update());
                    self.apply(&now);
                }
                Some((id, update)) = incoming.recv() => {
                    received.inc();
                    self.take(id, update);
                    while let Ok((id, update)) = incoming.try_recv() {
                        received.inc();
                        self.take(id, update);
                    }
                }
            }
            let joined = self.joined();
            sender.send_if_modified(|published| {
                let differs = **published != joined;
                if differs {
                    *published = Arc::new(joined);
                }
                differs
            });
            self.last_known.save().await;
        }
    }

    fn take(&mut self, id: u64, update: Update) {
        let mut sources = self.jobs.values_mut().flat_map(|job| &mut job.sources);
        if let Some(source) = sources.find(|source| source.id == id) {
            if let Some(key) = &source.key {
                self.last_known.note(key, &update);
            }
            source.last = update;
        }
    }

    /// Starts and stops sources so that they fit the configuration.
    fn apply(&mut self, config: &Config) {
        let mut before = std::mem::take(&mut self.jobs);
        for scrape in &config.scrape_configs {
            let mut old = before.remove(&scrape.job_name).unwrap_or_default();
            let job = self.job(scrape, config, &mut old.sources);
            self.jobs.insert(scrape.job_name.clone(), job);
        }
        for name in before.into_keys() {
            self.registry.remove("watchkeeper_sd_discovered_targets", &[("name", "scrape"), ("config", &name)]);
        }
        let keys = self.jobs.values().flat_map(|job| &job.sources).filter_map(|source| source.key.clone()).collect();
        self.last_known.retain(&keys);
    }

    fn job(&mut self, scrape: &ScrapeConfig, config: &Config, old: &mut Vec<Running>) -> Job {
        let configs = &scrape.discovery;
        let files = configs.file.iter().cloned().map(Spec::File);
        let https = configs.http.iter().cloned().map(|config| Spec::Http(Box::new(config)));
        let names = configs.dns.iter().cloned().map(Spec::Dns);
        let (ensembles, mut wrong) = Source::of(configs, config);
        let ensembles = ensembles.into_iter().map(|source| Spec::ZooKeeper(Box::new(source)));
        wrong.extend(unsupported(configs));
        let mut sources = Vec::new();
        for spec in files.chain(https).chain(names).chain(ensembles) {
            let running = match old.iter().position(|running| running.spec == spec) {
                Some(place) => old.swap_remove(place),
                None => self.start(&scrape.job_name, spec),
            };
            sources.push(running);
        }
        let mut fixed = static_targets::groups(&configs.static_configs);
        fixed.extend(static_targets::zookeeper_servers(&scrape.zookeeper_servers));
        Job { fixed, wrong, sources }
    }

    fn start(&mut self, job: &str, spec: Spec) -> Running {
        let key = spec.identity().map(|identity| LastKnown::key(job, spec.kind(), &identity));
        let known = key.as_ref().map(|key| self.last_known.of(key)).unwrap_or_default();
        self.next_id += 1;
        let sink = Sink { source: self.next_id, sender: self.updates.clone() };
        let failures: Counter = self.registry.counter(
            "watchkeeper_sd_refresh_failures_total",
            "Number of refresh failures for the given SD mechanism.",
            &[("mechanism", spec.kind())],
        );
        let env = self.env.clone();
        let task = match spec.clone() {
            Spec::File(config) => self.env.tasks.spawn("file discovery", file::run(env, config, failures, sink)),
            Spec::Http(config) => self.env.tasks.spawn("http discovery", http::run(env, *config, known.clone(), failures, sink)),
            Spec::Dns(config) => self.env.tasks.spawn("dns discovery", dns::run(env, config, known.clone(), failures, sink)),
            Spec::ZooKeeper(source) => {
                let watching = zookeeper::run(env, *source, known.clone(), self.sessions.clone(), failures, sink);
                self.env.tasks.spawn("zookeeper discovery", watching)
            }
        };
        Running { id: self.next_id, spec, key, task, last: Update { groups: known, errors: Vec::new() } }
    }

    fn joined(&self) -> BTreeMap<String, JobTargets> {
        let mut joined = BTreeMap::new();
        for (name, job) in &self.jobs {
            let mut groups = job.fixed.clone();
            let mut errors = job.wrong.clone();
            for source in &job.sources {
                groups.extend(
                    source
                        .last
                        .groups
                        .iter()
                        .map(|group| TargetGroup { source: format!("{}/{}", source.spec.kind(), group.source), ..group.clone() }),
                );
                errors.extend(source.last.errors.iter().cloned());
            }
            groups.sort_by(|a, b| a.source.cmp(&b.source));
            let count: usize = groups.iter().map(|group| group.targets.len()).sum();
            let gauge = self.registry.gauge(
                "watchkeeper_sd_discovered_targets",
                "Current number of discovered targets.",
                &[("name", "scrape"), ("config", name)],
            );
            gauge.set(count as f64);
            joined.insert(name.clone(), JobTargets { job: name.clone(), groups, errors });
        }
        joined
    }
}

/// Says which configured kinds find nothing.
fn unsupported(configs: &DiscoveryConfigs) -> Vec<String> {
    configs.others.iter().map(|other| format!("{} is not supported", other.key)).collect()
}
