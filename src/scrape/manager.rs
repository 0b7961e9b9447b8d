//! Keeps one loop for each target that configuration and discovery name, and changes only what changed.

use super::elsewhere::{Elsewhere, ElsewhereTarget};
use super::failure_log::FailureLog;
use super::fetch::Fetcher;
use super::in_process::InProcessTarget;
use super::scrape_loop::{LoopMetrics, ScrapeLoop};
use super::target::{self, Found, Target};
use super::view::{Ask, DroppedTarget, ScrapeView, Shared};
use crate::config::{Config, ScrapeConfig};
use crate::env::Env;
use crate::env::tasks::TaskHandle;
use crate::model::labels::Labels;
use crate::model::limits::SCRAPE_BODIES_BYTES;
use crate::model::metadata::Metadata;
use crate::model::relabel::RelabelStep;
use crate::model::rule_inputs::RuleInputs;
use crate::model::target::JobTargets;
use crate::net::Budget;
use crate::storage::append::Append;
use crate::telemetry::metrics::Registry;
use arc_swap::ArcSwap;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

/// Between two scrapes of an in-process target.
const IN_PROCESS_INTERVAL: Duration = Duration::from_secs(15);
/// The longest that one may take.
const IN_PROCESS_TIMEOUT: Duration = Duration::from_secs(10);
/// How soon after the start an in-process target is scraped first.
const IN_PROCESS_FIRST_MS: i64 = 500;
/// How long changes are gathered before they are acted on.
const SETTLE: Duration = Duration::from_millis(20);
/// How many dropped targets of a job are shown where the configuration sets no bound.
const DROPPED_SHOWN_MAX: usize = 10_000;

/// All jobs' targets as discovery sees them.
pub type TargetsByJob = Arc<BTreeMap<String, JobTargets>>;

/// What scraping needs from the rest of the house.
pub struct ScrapeDeps {
    /// The world.
    pub env: Env,
    /// Where samples go.
    pub append: Arc<dyn Append>,
    /// Own metrics.
    pub registry: Registry,
    /// Targets within this process.
    pub in_process: watch::Receiver<Vec<InProcessTarget>>,
    /// What rule groups read that are evaluated when a scrape changed it.
    pub rule_inputs: watch::Receiver<Arc<RuleInputs>>,
    /// What other servers scrape instead of this one.
    pub elsewhere: watch::Receiver<Elsewhere>,
}

/// The manager's one task.
pub struct ScrapeManager {
    env: Env,
    append: Arc<dyn Append>,
    registry: Registry,
    metrics: LoopMetrics,
    failure_log: Arc<FailureLog>,
    /// Memory for bodies under way, of all loops together.
    budget: Budget,
    pools: BTreeMap<PoolKey, Pool>,
    published: Arc<ArcSwap<Published>>,
    /// Loops that were told to stop and may still be at it.
    ending: Vec<TaskHandle<()>>,
    rule_inputs: watch::Receiver<Arc<RuleInputs>>,
}

/// In-process pools lie beside configured ones of the same name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct PoolKey {
    in_process: bool,
    name: String,
}

#[derive(Default)]
struct Pool {
    config: Arc<ScrapeConfig>,
    loops: BTreeMap<u64, Running>,
    dropped: Vec<DroppedTarget>,
    dropped_count: usize,
    discovery_errors: Vec<String>,
    elsewhere: Vec<ElsewhereTarget>,
}

struct Running {
    shared: Arc<Shared>,
    source: Option<InProcessTarget>,
    task: TaskHandle<()>,
}

/// What [`ScrapeHandle::view`] reads.
#[derive(Default)]
struct Published {
    targets: Vec<Arc<Shared>>,
    dropped: Vec<DroppedTarget>,
    dropped_counts: Vec<(String, usize)>,
    elsewhere: Vec<ElsewhereTarget>,
    configs: BTreeMap<String, Arc<ScrapeConfig>>,
    pools: Vec<String>,
    discovery_errors: Vec<(String, String)>,
}

/// A running manager. Cheap to clone.
#[derive(Clone)]
pub struct ScrapeHandle {
    published: Arc<ArcSwap<Published>>,
    stop: CancellationToken,
    stopped: watch::Receiver<bool>,
}

impl ScrapeManager {
    /// Starts scraping. The targets of a job that discovery has not spoken of yet are none.
    pub fn start(deps: ScrapeDeps, config: watch::Receiver<Arc<Config>>, targets: watch::Receiver<TargetsByJob>) -> ScrapeHandle {
        let published = Arc::new(ArcSwap::from_pointee(Published::default()));
        let stop = CancellationToken::new();
        let (stopped_sender, stopped) = watch::channel(false);
        let manager = Self {
            env: deps.env.clone(),
            append: deps.append,
            metrics: LoopMetrics::new(&deps.registry),
            failure_log: Arc::new(FailureLog::new(Arc::clone(&deps.env.disk))),
            registry: deps.registry,
            budget: Budget::new(&deps.env, SCRAPE_BODIES_BYTES),
            pools: BTreeMap::new(),
            published: Arc::clone(&published),
            ending: Vec::new(),
            rule_inputs: deps.rule_inputs,
        };
        let token = stop.clone();
        let (in_process, elsewhere) = (deps.in_process, deps.elsewhere);
        let task = deps.env.tasks.spawn("scrape manager", async move {
            manager.run(config, targets, in_process, elsewhere, token).await;
            stopped_sender.send_replace(true);
        });
        drop(task);
        ScrapeHandle { published, stop, stopped }
    }

    async fn run(
        mut self,
        mut config: watch::Receiver<Arc<Config>>,
        mut targets: watch::Receiver<TargetsByJob>,
        mut in_process: watch::Receiver<Vec<InProcessTarget>>,
        mut elsewhere: watch::Receiver<Elsewhere>,
        stop: CancellationToken,
    ) {
        loop {
            let now = (Arc::clone(&config.borrow_and_update()), Arc::clone(&targets.borrow_and_update()));
            let own = in_process.borrow_and_update().clone();
            let others = elsewhere.borrow_and_update().clone();
            self.apply(&now.0, &now.1, &own, &others);
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Ok(()) = config.changed() => {}
                Ok(()) = targets.changed() => {}
                Ok(()) = in_process.changed() => {}
                Ok(()) = elsewhere.changed() => {}
                else => {
                    stop.cancelled().await;
                    break;
                }
            }
            self.env.clock.sleep(SETTLE).await;
        }
        // The series of a stopping server do not end: it will be back.
        for pool in self.pools.values() {
            pool.loops.values().for_each(|running| running.shared.finish(false));
        }
        for running in std::mem::take(&mut self.pools).into_values().flat_map(|pool| pool.loops.into_values()) {
            self.ending.push(running.task);
        }
        for task in self.ending {
            if let Err(error) = task.await {
                tracing::error!(%error, "a scrape loop ended badly");
            }
        }
    }

    /// Makes loops fit the configuration and the targets.
    fn apply(&mut self, config: &Config, targets: &BTreeMap<String, JobTargets>, own: &[InProcessTarget], elsewhere: &Elsewhere) {
        self.ending.retain(|task| !task.is_finished());
        let mut wanted: BTreeMap<PoolKey, Wanted> = BTreeMap::new();
        for job in &config.scrape_configs {
            let key = PoolKey { in_process: false, name: job.job_name.clone() };
            let mut of_job = Wanted::of_job(job, targets.get(&job.job_name));
            of_job.leave(elsewhere);
            wanted.insert(key, of_job);
        }
        for target in own {
            // Who configures a job for this server too means the same series: they are scraped once, as configured.
            if wanted.iter().any(|(key, of_job)| !key.in_process && of_job.makes_series_of(target)) {
                continue;
            }
            let key = PoolKey { in_process: true, name: target.job.clone() };
            wanted.entry(key).or_insert_with(|| Wanted::in_process(&target.job)).add_in_process(target);
        }
        let gone: Vec<PoolKey> = self.pools.keys().filter(|key| !wanted.contains_key(key)).cloned().collect();
        for key in gone {
            if let Some(pool) = self.pools.remove(&key) {
                self.registry.remove("watchkeeper_target_scrape_pool_targets", &[("scrape_job", &key.name)]);
                pool.loops.into_values().for_each(|running| self.end(running, true));
            }
        }
        for (key, wanted) in wanted {
            self.apply_pool(key, wanted);
        }
        self.publish();
    }

    fn apply_pool(&mut self, key: PoolKey, wanted: Wanted) {
        let mut pool = self.pools.remove(&key).unwrap_or_default();
        let same_config = *pool.config == *wanted.config || same_but_sources(&pool.config, &wanted.config);
        let here = wanted.targets.values().map(|(target, _)| &target.labels);
        // What another server goes on with does not end either.
        let labels: BTreeSet<Labels> = here.chain(wanted.elsewhere.iter().map(|target| &target.labels)).cloned().collect();
        let mut kept = BTreeMap::new();
        for (identity, running) in std::mem::take(&mut pool.loops) {
            let stays = wanted
                .targets
                .get(&identity)
                .is_some_and(|(target, source)| same_config && *target == running.shared.target && *source == running.source);
            if stays {
                kept.insert(identity, running);
            } else {
                // A target that goes on under the same labels, scraped otherwise, does not end.
                let ends = !labels.contains(&running.shared.target.labels);
                self.end(running, ends);
            }
        }
        pool.config = wanted.config;
        pool.dropped = wanted.dropped;
        pool.dropped_count = wanted.dropped_count;
        pool.discovery_errors = wanted.discovery_errors;
        pool.elsewhere = wanted.elsewhere;
        if let Some(reason) = &wanted.barred {
            self.metrics.target_limit.inc();
            tracing::error!(job = key.name, reason = &**reason, "no target of this job is scraped");
        }
        for running in kept.values() {
            running.shared.bar(wanted.barred.clone());
        }
        for (identity, (target, source)) in wanted.targets {
            kept.entry(identity)
                .or_insert_with(|| self.start_loop(&key.name, &pool.config, target, source, wanted.barred.clone()));
        }
        let gauge = self.registry.gauge(
            "watchkeeper_target_scrape_pool_targets",
            "Current number of targets in this scrape pool.",
            &[("scrape_job", &key.name)],
        );
        gauge.set(kept.len() as f64);
        pool.loops = kept;
        self.pools.insert(key, pool);
    }

    fn start_loop(
        &self,
        pool: &str,
        config: &Arc<ScrapeConfig>,
        target: Target,
        source: Option<InProcessTarget>,
        barred: Option<Arc<str>>,
    ) -> Running {
        let (fetcher, first_ms) = match &source {
            Some(source) => (Fetcher::InProcess(Arc::clone(&source.source)), Some(self.env.clock.now_ms() + IN_PROCESS_FIRST_MS)),
            None => (Fetcher::new(&self.env, config, &target.url, target.timeout, &self.budget), None),
        };
        let shared = Arc::new(Shared::new(pool, target));
        shared.bar(barred);
        let runner = ScrapeLoop {
            env: self.env.clone(),
            append: Arc::clone(&self.append),
            config: Arc::clone(config),
            shared: Arc::clone(&shared),
            fetcher,
            metrics: self.metrics.clone(),
            failure_log: Arc::clone(&self.failure_log),
            first_ms,
            rule_inputs: self.rule_inputs.clone(),
        };
        let task = self.env.tasks.spawn("scrape", runner.run());
        Running { shared, source, task }
    }

    fn end(&mut self, running: Running, ends: bool) {
        running.shared.finish(ends);
        self.ending.push(running.task);
    }

    fn publish(&self) {
        let mut published = Published::default();
        for (key, pool) in &self.pools {
            published.targets.extend(pool.loops.values().map(|running| Arc::clone(&running.shared)));
            published.dropped.extend(pool.dropped.iter().cloned());
            published.elsewhere.extend(pool.elsewhere.iter().cloned());
            published.dropped_counts.push((key.name.clone(), pool.dropped_count));
            published.configs.entry(key.name.clone()).or_insert_with(|| Arc::clone(&pool.config));
            published.pools.push(key.name.clone());
            let errors = pool.discovery_errors.iter().map(|error| (key.name.clone(), error.clone()));
            published.discovery_errors.extend(errors);
        }
        published.targets.sort_by(|a, b| (&a.pool, &a.target.url).cmp(&(&b.pool, &b.target.url)));
        published.pools.sort();
        published.pools.dedup();
        self.published.store(Arc::new(published));
    }
}

/// Returns whether two configurations differ only in where targets come from and how many are shown.
fn same_but_sources(old: &ScrapeConfig, new: &ScrapeConfig) -> bool {
    let stripped = |config: &ScrapeConfig| ScrapeConfig {
        discovery: crate::config::discovery::DiscoveryConfigs::default(),
        zookeeper_servers: Vec::new(),
        relabel_configs: Vec::new(),
        keep_dropped_targets: 0,
        ..config.clone()
    };
    stripped(old) == stripped(new)
}

/// What a pool should hold.
struct Wanted {
    config: Arc<ScrapeConfig>,
    targets: BTreeMap<u64, (Target, Option<InProcessTarget>)>,
    dropped: Vec<DroppedTarget>,
    dropped_count: usize,
    /// What is wrong with where they come from.
    discovery_errors: Vec<String>,
    /// Why no target may be scraped.
    barred: Option<Arc<str>>,
    /// What other servers scrape.
    elsewhere: Vec<ElsewhereTarget>,
}

impl Wanted {
    fn empty(config: Arc<ScrapeConfig>) -> Self {
        Self {
            config,
            targets: BTreeMap::new(),
            dropped: Vec::new(),
            dropped_count: 0,
            discovery_errors: Vec::new(),
            barred: None,
            elsewhere: Vec::new(),
        }
    }

    fn of_job(config: &Arc<ScrapeConfig>, discovered: Option<&JobTargets>) -> Self {
        let mut wanted = Self::empty(Arc::clone(config));
        wanted.discovery_errors = discovered.map(|job| job.errors.clone()).unwrap_or_default();
        let groups = discovered.map_or(&[][..], |job| job.groups.as_slice());
        for group in groups {
            for own in &group.targets {
                match target::make(config, own, &group.labels) {
                    Found::Target(target) => {
                        wanted.targets.insert(target.identity(), (*target, None));
                    }
                    Found::Dropped(labels, rule) => {
                        wanted.drop_target(labels, Some(rule), format!("dropped by relabel_configs, rule {}", rule + 1));
                    }
                    Found::Unusable(labels, reason) => wanted.drop_target(labels, None, reason),
                }
            }
        }
        let limit = config.target_limit;
        if limit > 0 && wanted.targets.len() as u64 > limit {
            let reason = format!("target_limit exceeded (number of targets: {}, limit: {limit})", wanted.targets.len());
            wanted.barred = Some(Arc::from(reason));
        }
        wanted
    }

    /// Returns whether one of its targets has the labels of a target of this process.
    fn makes_series_of(&self, own: &InProcessTarget) -> bool {
        let here = self.targets.values().map(|(target, _)| &target.labels);
        let mut all = here.chain(self.elsewhere.iter().map(|target| &target.labels));
        all.any(|labels| labels.get("job") == Some(own.job.as_str()) && labels.get("instance") == Some(own.instance.as_str()))
    }

    /// Leaves to other servers what they scrape.
    fn leave(&mut self, elsewhere: &Elsewhere) {
        let (pool, left) = (&self.config.job_name, &mut self.elsewhere);
        self.targets.retain(|identity, (target, _)| {
            let member = elsewhere.who(*identity);
            let stays = member.is_none();
            left.extend(member.map(|member| ElsewhereTarget {
                pool: pool.clone(),
                labels: target.labels.clone(),
                url: target.url.clone(),
                member,
            }));
            stays
        });
    }

    fn drop_target(&mut self, discovered: Labels, rule: Option<usize>, reason: String) {
        self.dropped_count += 1;
        let keep = usize::try_from(self.config.keep_dropped_targets).unwrap_or(usize::MAX);
        if self.dropped.len() < if keep == 0 { DROPPED_SHOWN_MAX } else { keep } {
            self.dropped.push(DroppedTarget { pool: self.config.job_name.clone(), discovered, rule, reason });
        }
    }

    fn in_process(job: &str) -> Self {
        Self::empty(Arc::new(ScrapeConfig {
            job_name: job.to_owned(),
            scrape_interval: IN_PROCESS_INTERVAL,
            scrape_timeout: IN_PROCESS_TIMEOUT,
            ..ScrapeConfig::default()
        }))
    }

    fn add_in_process(&mut self, source: &InProcessTarget) {
        let discovered = Labels::from_pairs([("__address__", source.instance.as_str()), ("job", &source.job)]);
        let target = Target {
            discovered,
            labels: Labels::from_pairs([("instance", source.instance.as_str()), ("job", &source.job)]),
            url: source.url.clone(),
            interval: IN_PROCESS_INTERVAL,
            timeout: IN_PROCESS_TIMEOUT,
        };
        self.targets.insert(target.identity(), (target, Some(source.clone())));
    }
}

impl ScrapeHandle {
    /// Returns all targets as they are now.
    #[must_use]
    pub fn view(&self) -> Arc<ScrapeView> {
        let published = self.published.load();
        Arc::new(ScrapeView {
            active: published.targets.iter().map(|shared| shared.view()).collect(),
            dropped: published.dropped.clone(),
            dropped_counts: published.dropped_counts.clone(),
            elsewhere: published.elsewhere.clone(),
            pools: published.pools.clone(),
            discovery_errors: published.discovery_errors.clone(),
        })
    }

    /// Scrapes the targets of a job (of that URL alone, where one is given) at once, and waits until that is done.
    /// Returns how many.
    pub async fn scrape_now(&self, pool: &str, url: Option<&str>) -> usize {
        let mut waiting = Vec::new();
        for shared in &self.published.load().targets {
            if shared.pool == pool && url.is_none_or(|url| shared.target.url == url) {
                let (done, wait) = oneshot::channel();
                shared.ask(Ask::Scrape(done));
                waiting.push(wait);
            }
        }
        let mut count = 0;
        for wait in waiting {
            count += usize::from(wait.await.is_ok());
        }
        count
    }

    /// Returns what each target's last body says about its metrics: target labels, then metric and metadata.
    pub async fn metadata(&self) -> Vec<(Labels, Vec<(String, Metadata)>)> {
        let targets: Vec<Arc<Shared>> = self.published.load().targets.clone();
        let mut waiting = Vec::new();
        for shared in targets {
            let (out, wait) = oneshot::channel();
            shared.ask(Ask::Metadata(out));
            waiting.push((shared.target.labels.clone(), wait));
        }
        let mut found = Vec::new();
        for (labels, wait) in waiting {
            if let Ok(families) = wait.await {
                found.push((labels, families));
            }
        }
        found
    }

    /// Returns what each relabelling rule of a job makes of discovered labels; `None` where there is no such job.
    #[must_use]
    pub fn relabel_steps(&self, pool: &str, discovered: &Labels) -> Option<Vec<RelabelStep>> {
        let published = self.published.load();
        published.configs.get(pool).map(|config| target::trace(config, discovered))
    }

    /// Stops all loops and waits until they ended. Series are not marked stale: the server will be back.
    pub async fn stop(&self) {
        self.stop.cancel();
        let mut stopped = self.stopped.clone();
        // An error means that the manager has gone, which is what is waited for.
        drop(stopped.wait_for(|stopped| *stopped).await);
    }
}
