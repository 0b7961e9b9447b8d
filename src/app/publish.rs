//! Publishes what `zookeeper.publish` selects: asks the query engine, turn by turn, and hands the answers to
//! [`crate::cluster::publish`].
//!
//! Only the member that leads does; nothing waits for it.

use crate::cluster::publish::{self, Done, Publication, Publisher};
use crate::config::Config;
use crate::config::zookeeper::PublishedQuery;
use crate::env::Env;
use crate::model::labels::Labels;
use crate::model::sample::Value;
use crate::promql::engine::{Engine, QueryOptions};
use crate::promql::expr::ValueType;
use crate::promql::parse::parse;
use crate::promql::value::QueryValue;
use crate::storage::select::Querier;
use crate::telemetry::metrics::{Counter, Registry};
use crate::zookeeper::Link;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// How long one query may take.
const QUERY: Duration = Duration::from_secs(10);
/// How often the leader looks for names that are published no longer, beside each change of the configuration.
const CLEAN_EVERY: Duration = Duration::from_secs(300);
/// While ZooKeeper is away.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// Says what is wrong with the queries that are published.
///
/// # Errors
/// The first query that is none, with its name.
pub fn check(config: &Config) -> Result<(), String> {
    let mut names = BTreeSet::new();
    for published in config.zookeeper.iter().flat_map(|zookeeper| &zookeeper.publish) {
        let PublishedQuery { name, query, .. } = &published.0;
        let wrong = |what: String| Err(format!("zookeeper.publish, {name}: {what}"));
        match parse(query) {
            Err(error) => return wrong(error.to_string()),
            Ok(expr) if !matches!(expr.value_type(), ValueType::Vector | ValueType::Scalar) => {
                return wrong(format!("a {} cannot be published", expr.value_type().documented()));
            }
            Ok(_) if !names.insert(name) => return wrong("the name is used twice".to_owned()),
            Ok(_) => {}
        }
    }
    Ok(())
}

/// What publishing needs.
pub(super) struct PublishDeps {
    pub(super) env: Env,
    pub(super) link: Link,
    pub(super) root: String,
    /// This member, for readers.
    pub(super) by: String,
    pub(super) engine: Arc<Engine>,
    pub(super) querier: Arc<dyn Querier>,
    pub(super) registry: Registry,
    /// Whether this member is the one that writes.
    pub(super) leads: watch::Receiver<bool>,
}

/// One name.
struct Entry {
    query: PublishedQuery,
    publisher: Publisher,
    /// When its turn comes, by the monotonic clock.
    due: Duration,
    /// What was wrong at the last turn.
    said: Option<String>,
}

struct Task {
    deps: PublishDeps,
    writes: Counter,
    failures: Counter,
    entries: BTreeMap<String, Entry>,
    every: Duration,
    clean_due: Duration,
}

/// Publishes until the server stops.
pub(super) async fn run(deps: PublishDeps, mut config: watch::Receiver<Arc<Config>>) {
    let counter = |name, help| deps.registry.counter(name, help, &[]);
    let writes = counter("watchkeeper_zookeeper_publish_writes_total", "Znodes below publish/ that were written.");
    let failures = counter("watchkeeper_zookeeper_publish_failures_total", "Turns in which a value could not be published.");
    let mut leads = deps.leads.clone();
    let mut task = Task { deps, writes, failures, entries: BTreeMap::new(), every: Duration::ZERO, clean_due: Duration::ZERO };
    loop {
        let present = Arc::clone(&config.borrow_and_update());
        task.take(&present);
        let wait = if *leads.borrow_and_update() {
            task.turn().await
        } else {
            // Another member writes; what it writes is looked at before we do again.
            task.entries.values_mut().for_each(|entry| entry.publisher = Publisher::default());
            task.clean_due = Duration::ZERO;
            Duration::MAX
        };
        let clock = Arc::clone(&task.deps.env.clock);
        tokio::select! {
            biased;
            changed = config.changed() => if changed.is_err() { return },
            () = changed(&mut leads) => {}
            () = clock.sleep(wait.min(CLEAN_EVERY)) => {}
        }
    }
}

/// Waits until who leads changed; for ever where that cannot change.
async fn changed(leads: &mut watch::Receiver<bool>) {
    if leads.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

impl Task {
    /// Takes the configuration in force.
    fn take(&mut self, config: &Config) {
        let every = config.global.evaluation_interval;
        let wanted = config.zookeeper.iter().flat_map(|zookeeper| &zookeeper.publish);
        let wanted: BTreeMap<&str, &PublishedQuery> = wanted.map(|one| (one.0.name.as_str(), &one.0)).collect();
        let before = self.entries.len();
        self.entries.retain(|name, entry| wanted.get(name.as_str()).is_some_and(|query| **query == entry.query));
        if self.entries.len() != before {
            self.clean_due = Duration::ZERO;
        }
        for (name, query) in wanted {
            self.entries.entry(name.to_owned()).or_insert_with(|| Entry {
                query: query.clone(),
                publisher: Publisher::default(),
                due: Duration::ZERO,
                said: None,
            });
        }
        self.every = every;
    }

    /// Publishes what is due; returns how long until the next turn.
    async fn turn(&mut self) -> Duration {
        let clock = Arc::clone(&self.deps.env.clock);
        let Ok(client) = self.deps.link.client() else { return TRY_AGAIN };
        if clock.monotonic() >= self.clean_due {
            self.clean_due = clock.monotonic() + CLEAN_EVERY;
            let names: BTreeSet<&str> = self.entries.keys().map(String::as_str).collect();
            match publish::remove_others(&client, &self.deps.root, &names).await {
                Ok(removed) if removed.is_empty() => {}
                Ok(removed) => tracing::info!(?removed, "what is no longer published was removed from ZooKeeper"),
                Err(error) => tracing::debug!(%error, "looking for what is no longer published failed"),
            }
        }
        for (name, entry) in &mut self.entries {
            let now = clock.monotonic();
            if now < entry.due {
                continue;
            }
            let interval = if entry.query.interval.is_zero() { self.every } else { entry.query.interval };
            entry.due = now + interval.max(publish::WRITE_EVERY);
            let at_ms = self.deps.env.clock.now_ms();
            let published = match evaluate(&self.deps, &entry.query.query, at_ms).await {
                Ok(series) => {
                    let by = self.deps.by.as_str();
                    let publication = Publication { name, query: &entry.query.query, by, at_ms, series: &series };
                    entry.publisher.publish(&client, &self.deps.root, &publication).await.map_err(|error| error.to_string())
                }
                Err(error) => Err(error),
            };
            let said = match published {
                Ok(done) => {
                    self.writes.add(u64::from(done == Done::Written));
                    None
                }
                Err(error) => {
                    self.failures.inc();
                    Some(error)
                }
            };
            if said != entry.said
                && let Some(error) = &said
            {
                tracing::warn!(name, %error, "not published in ZooKeeper; the next turn tries again");
            }
            entry.said = said;
        }
        let next = self.entries.values().map(|entry| entry.due).min().unwrap_or(Duration::MAX);
        next.min(self.clean_due).saturating_sub(clock.monotonic())
    }
}

/// Evaluates a query now. Native histograms have no one value and are left out.
async fn evaluate(deps: &PublishDeps, query: &str, at_ms: i64) -> Result<Vec<(Labels, f64)>, String> {
    let (engine, querier, text) = (Arc::clone(&deps.engine), Arc::clone(&deps.querier), query.to_owned());
    let cancel = Arc::new(AtomicBool::new(false));
    let cancelled = Arc::clone(&cancel);
    let work = deps.env.tasks.blocking(move || {
        let expr = parse(&text).map_err(|error| error.to_string())?;
        let options = QueryOptions { cancel: Some(cancelled), ..QueryOptions::default() };
        let result = engine.instant(&*querier, &expr, at_ms, &options).map_err(|error| error.to_string())?;
        match result.value {
            QueryValue::Scalar { value, .. } => Ok(vec![(Labels::empty(), value)]),
            QueryValue::Vector(samples) => {
                let floats = samples.into_iter().filter_map(|sample| match sample.value {
                    Value::Float(value) => Some((sample.labels, value)),
                    Value::Histogram(_) => None,
                });
                let mut series: Vec<_> = floats.collect();
                series.sort_by(|a, b| a.0.cmp(&b.0));
                Ok(series)
            }
            QueryValue::String { .. } | QueryValue::Matrix(_) => Err("it gives no values that could be published".to_owned()),
        }
    });
    match deps.env.clock.timeout(QUERY, work).await {
        Ok(done) => done.map_err(|error| error.to_string())?,
        Err(_) => {
            cancel.store(true, Ordering::Relaxed);
            Err(format!("the query took longer than {QUERY:?}"))
        }
    }
}
