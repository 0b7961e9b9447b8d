//! What goes into what. Nothing here decides anything.

use super::dashboards::DashboardFeed;
use super::query_log::QueryLogFile;
use super::zookeeper_link::{self, ZooKeeperLink};
use super::{
    Data, Outside, Running, ServeOptions, alert_states, cluster, courier, external_url, keep_dump, overlay, own, publish,
    reload::Reloader, rule_recorder, session_key, sources,
};
use crate::alerting::heartbeat::{self, Health, HeartbeatDeps};
use crate::alerting::notify::chart::ChartFeed;
use crate::alerting::{Alerting, AlertingDeps};
use crate::api::{self, ApiLimits, ApiParts, ApiState, Lifecycle, Views};
use crate::cluster::leadership::Standing;
use crate::cluster::view::{self, ClusterView};
use crate::config::Config;
use crate::dashboards::Dashboards;
use crate::discovery;
use crate::env::Env;
use crate::env::network::Listener;
use crate::env::tasks::TaskHandle;
use crate::net::server_tls::ServerTls;
use crate::promql::activity::Activity;
use crate::promql::engine::{Engine, EngineOptions, Spawn, Stopwatch};
use crate::remote::fanout::Fanout;
use crate::remote::send::{RemoteWrite, RemoteWriteDeps};
use crate::rules::chart::ChartSource;
use crate::rules::{self, RuleDeps, RuleManager};
use crate::scrape::{ScrapeDeps, ScrapeManager};
use crate::state::State;
use crate::storage::append::Append;
use crate::storage::select::Querier;
use crate::storage::{Progress, Store};
use crate::telemetry::metrics::Registry;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{mpsc, watch};

/// Batches of alerts that may wait for the notifier before rule groups wait themselves: one from each of thousands of rules.
const ALERT_BATCHES_WAITING: usize = 8192;

/// What everything is made of.
pub(super) struct Parts {
    pub(super) env: Env,
    pub(super) options: ServeOptions,
    pub(super) outside: Outside,
    pub(super) registry: Registry,
    pub(super) config: watch::Receiver<Arc<Config>>,
    /// The address that is really listened on.
    pub(super) listen: String,
    pub(super) started_ms: i64,
}

fn flags(options: &ServeOptions) -> BTreeMap<String, String> {
    let config = options.config.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
    [
        ("config.file", config),
        ("storage.tsdb.path", options.data_dir.display().to_string()),
        ("web.listen-address", options.listen.clone()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

/// Settings of the query engine, with the features that change what old queries answer.
fn engine_options(config: &Config) -> EngineOptions {
    let has = |name: &str| config.feature.iter().any(|feature| feature == name);
    EngineOptions {
        delayed_name_removal: has("promql-delayed-name-removal"),
        type_and_unit_labels: has("type-and-unit-labels"),
        ..EngineOptions::default()
    }
}

/// What alerting needs.
fn alerting_deps(
    env: &Env,
    state: &Arc<dyn State>,
    registry: &Registry,
    external_url: &str,
    options: &ServeOptions,
    charts: ChartFeed,
    cluster: &cluster::Cluster,
) -> AlertingDeps {
    AlertingDeps {
        env: env.clone(),
        state: Arc::clone(state),
        registry: registry.clone(),
        external_url: external_url.to_owned(),
        may_send: cluster.may_send(),
        fence: cluster.fence(),
        outbox_dir: options.data_dir.join("outbox"),
        on_change: cluster.sink(),
        charts,
    }
}

/// Answers what the values behind alerts were. Runs on a thread for that, and stops when nobody waits for it any more.
fn charts(env: &Env, engine: &Arc<Engine>, querier: &Arc<dyn Querier>, external_url: &str) -> ChartFeed {
    let source = ChartSource { engine: Arc::clone(engine), external_url: external_url.to_owned() };
    let (env, querier) = (env.clone(), Arc::clone(querier));
    ChartFeed::new(move |ask| {
        let (source, env, querier) = (source.clone(), env.clone(), Arc::clone(&querier));
        Box::pin(async move {
            let gone = CancelOnDrop::default();
            let cancel = Arc::clone(&gone.0);
            let read = env.tasks.blocking(move || source.read(&*querier, &ask, Some(cancel))).await;
            match read {
                Ok(Ok(data)) => data,
                Ok(Err(error)) => {
                    tracing::debug!(%error, "no chart of an alert");
                    None
                }
                Err(error) => {
                    tracing::warn!(%error, "reading the values of a chart broke");
                    None
                }
            }
        })
    })
}

/// How late a rule group may be before a sign of life is withheld.
const RULES_LATE_MS: i64 = 60_000;

/// Says what is wrong here: rules that are not evaluated, a store that cannot write.
fn health(env: &Env, rules: &rules::RulesHandle, store: &Store) -> Health {
    let (env, rules, store) = (env.clone(), rules.clone(), store.clone());
    let started_ms = env.clock.now_ms();
    Health::new(move || {
        let now_ms = env.clock.now_ms();
        let is_late = |group: &&Arc<rules::view::GroupView>| {
            let last_ms = group.last_evaluation_ms.unwrap_or(started_ms);
            now_ms - last_ms > 3 * group.interval_ms + RULES_LATE_MS
        };
        let view = rules.view();
        let late = view.groups.iter().filter(is_late).map(|group| format!("the rule group {} is not evaluated", group.name));
        late.chain(store.failure().map(|failure| format!("the store cannot write: {failure}"))).collect()
    })
}

/// Cancels a query when whoever waits for it has gone.
#[derive(Default)]
struct CancelOnDrop(Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What the process can be asked to do from outside.
fn lifecycle(reloader: &Reloader, quit: mpsc::Sender<()>, ready: watch::Receiver<bool>) -> Lifecycle {
    let reload = reloader.clone();
    Lifecycle {
        reload: Arc::new(move || {
            let reload = reload.clone();
            Box::pin(async move { reload.reload().await })
        }),
        quit: Arc::new(move || {
            if quit.try_send(()).is_err() {
                tracing::debug!("the server is stopping already");
            }
        }),
        ready,
    }
}

/// ZooKeeper as this server sees it, asked anew each time.
fn cluster_view(
    zookeeper: Option<&ZooKeeperLink>,
    standing: Option<watch::Receiver<Standing>>,
) -> Arc<dyn Fn() -> ClusterView + Send + Sync> {
    let known = zookeeper.map(|zookeeper| (zookeeper.link.clone(), zookeeper.connect.clone(), zookeeper.root.clone()));
    Arc::new(move || match &known {
        Some((link, connect, root)) => ClusterView {
            standing: standing.as_ref().map(|standing| standing.borrow().clone()).unwrap_or_default(),
            ..view::view(Some(link), connect, root)
        },
        None => ClusterView::default(),
    })
}

/// The listener, at work since before the data directory was opened.
pub(super) struct Door {
    /// Takes the real routes when they are there.
    pub(super) front: api::Front,
    /// Ends the listener.
    pub(super) serving: watch::Sender<bool>,
    pub(super) server: TaskHandle<usize>,
}

impl Door {
    /// Begins to listen; answers say how far opening has come.
    pub(super) fn open(
        env: &Env,
        listener: Box<dyn Listener>,
        config: watch::Receiver<Arc<Config>>,
        registry: &Registry,
        progress: Progress,
    ) -> Self {
        let front = api::Front::opening(progress);
        let options = api::ServeOptions {
            drain: std::time::Duration::from_secs(1),
            encryption: Some(api::Encryption { tls: ServerTls::new(env), config }),
            ..api::ServeOptions::default()
        };
        let (serving, serving_ends) = watch::channel(false);
        let serve = api::serve(env.clone(), listener, front.router(), options, registry.clone(), serving_ends);
        let server = env.tasks.spawn("listener", serve);
        Self { front, serving, server }
    }
}

/// Starts everything. The listener answers queries from the end of this on.
#[expect(clippy::too_many_lines, reason = "a list of what goes into what; nothing is decided")]
pub(super) async fn start(
    parts: Parts,
    data: Data,
    door: Door,
    reloader: &Reloader,
    quit: mpsc::Sender<()>,
) -> anyhow::Result<Running> {
    let Parts { env, options, outside, registry, config, listen, started_ms } = parts;
    let present = Arc::clone(&config.borrow());
    let external_url = external_url(&present, &listen);
    let state = Arc::clone(&data.state);
    let append: Arc<dyn Append> = Arc::new(data.store.clone());
    let store = data.store.clone();
    let local_from_ms = Arc::new(move || store.held().start_ms);
    let querier: Arc<dyn Querier> =
        Arc::new(Fanout::new(&env, &registry, config.clone(), Arc::new(data.store.clone()), local_from_ms));
    let tasks = env.tasks.clone();
    let workers: Spawn = Arc::new(move |work| drop(tasks.blocking(work)));
    // Queries may compute at once: one for each core.
    let turns = env.tasks.cores();
    let clock = Arc::clone(&env.clock);
    let turns_clock: Stopwatch = Arc::new(move || clock.monotonic());
    let engine = Engine::new(engine_options(&present)).with_turns(turns, turns_clock).with_workers(workers);
    let settings = config.clone();
    let step_ms = move || i64::try_from(settings.borrow().global.evaluation_interval.as_millis()).unwrap_or(i64::MAX);
    let engine = engine.with_subquery_step(Arc::new(step_ms));
    let engine = engine.with_log(Arc::new(QueryLogFile::new(&env, config.clone())));
    let (clock, wall) = (Arc::clone(&env.clock), Arc::clone(&env.clock));
    let activity = Activity::new(Arc::new(move || clock.monotonic()), Arc::new(move || wall.now_ms()));
    let engine = Arc::new(engine.with_activity(Arc::new(activity)));
    let keeping = keep_dump(env.clone(), Arc::clone(&data.state), options.data_dir.clone(), registry.clone());
    let dumper = env.tasks.spawn("state-dump", keeping);
    let ensembles = outside.zookeeper;
    let zookeeper = zookeeper_link::start(&env, Arc::clone(&ensembles), &present, &state, &registry).await?;
    if let Some(zookeeper) = &zookeeper {
        overlay::start(&env, reloader, &state, zookeeper).await;
    }
    let (ready, ready_seen) = watch::channel(false);

    let cluster = cluster::Cluster::prepare(&env, &present, &listen, &state, zookeeper.as_ref()).await?;
    let charts = charts(&env, &engine, &querier, &external_url);
    let alerting_deps = alerting_deps(&env, &state, &registry, &external_url, &options, charts, &cluster);
    let alerting = Alerting::start(alerting_deps, config.clone()).await?;
    let (alerts, alerts_waiting) = mpsc::channel(ALERT_BATCHES_WAITING);
    let external = courier::find_external(&env, config.clone(), &registry, Arc::clone(&ensembles));
    let carrying = courier::carry(alerts_waiting, config.clone(), alerting.clone(), external.clone());
    let courier = env.tasks.spawn("alert-courier", carrying);

    let address = cluster::address(&env, &present, &listen);
    let sharing = cluster.share(&present, zookeeper.as_ref(), &state, Arc::clone(&append)).await;
    // Before anything comes that it is to send on.
    let remote_write_deps = RemoteWriteDeps {
        env: env.clone(),
        store: data.store.clone(),
        data_dir: options.data_dir.clone(),
        registry: registry.clone(),
        members: sharing.members,
    };
    let remote_write = RemoteWrite::start(remote_write_deps, config.clone()).await;

    let (inputs, inputs_seen) = watch::channel(Arc::default());
    let targets = discovery::start(&env, config.clone(), &registry, Some(Arc::clone(&state)), ensembles);
    // The others keep our own metrics beside theirs: «0.0.0.0:9090» would be the name of all.
    let own_instance = if present.cluster.share_scrapes { address.clone() } else { listen.clone() };
    let in_process = own::in_process(&env, config.clone(), &registry, own_instance);
    let counting = own::count_store(env.clone(), config.clone(), registry.clone(), data.store.clone());
    drop(env.tasks.spawn("store-counts", counting));
    let scrape_deps = ScrapeDeps {
        env: env.clone(),
        append: sharing.append,
        registry: registry.clone(),
        in_process,
        rule_inputs: inputs_seen,
        elsewhere: sharing.elsewhere,
    };
    let scrape = ScrapeManager::start(scrape_deps, config.clone(), targets);

    let feed = sources::RuleFeed {
        env: env.clone(),
        config: config.clone(),
        has_file: options.config.is_some(),
        builtin: rules::builtin::FILES,
        tree: zookeeper.as_ref().map(|zookeeper| (zookeeper.link.tree.clone(), zookeeper.root.clone())),
        last_known: zookeeper.as_ref().and_then(|zookeeper| zookeeper.last_known.clone()),
    };
    let dashboards = DashboardFeed {
        env: env.clone(),
        config: config.clone(),
        file: options.config.clone(),
        tree: feed.tree.clone(),
        last_known: feed.last_known.clone(),
    };
    let dashboards = Dashboards::start(&env, Arc::clone(&state), dashboards.start().await).await?;
    let (changes, changed) = mpsc::channel(ALERT_BATCHES_WAITING);
    drop(env.tasks.spawn("alert states", alert_states::keep(env.clone(), Arc::clone(&data.history), changed)));
    let rule_deps = RuleDeps {
        env: env.clone(),
        engine: Arc::clone(&engine),
        querier: Arc::clone(&querier),
        append: Arc::clone(&append),
        alerts,
        changes,
        external_url,
        registry: registry.clone(),
        state: Arc::clone(&state),
        inputs,
    };
    let rules = RuleManager::start(rule_deps, config.clone(), feed.start().await);
    let heartbeat = HeartbeatDeps {
        env: env.clone(),
        alerting: alerting.clone(),
        state: Arc::clone(&state),
        health: health(&env, &rules, &data.store),
        registry: registry.clone(),
    };
    drop(env.tasks.spawn("heartbeat", heartbeat::run(heartbeat, config.clone())));

    let (role, leads, member) = (cluster.role_answer(zookeeper.as_ref()), cluster.may_send(), cluster.id());
    let write_check = cluster.write_check();
    let overlay = reloader.overlay();
    let parts = cluster::Parts { rules: &rules, overlay, address: &address, state: &state, registry: &registry };
    let cluster = cluster.start(zookeeper.as_ref(), &config, &alerting, parts);
    let lifecycle = lifecycle(reloader, quit, ready_seen);
    if let Some(zookeeper) = &zookeeper {
        let recorder = rule_recorder::run(env.clone(), zookeeper.link.clone(), zookeeper.root.clone(), leads.clone());
        drop(env.tasks.spawn("rule-recorder", recorder));
        let deps = publish::PublishDeps {
            env: env.clone(),
            link: zookeeper.link.clone(),
            root: zookeeper.root.clone(),
            by: member,
            engine: Arc::clone(&engine),
            querier: Arc::clone(&querier),
            registry: registry.clone(),
            leads,
        };
        drop(env.tasks.spawn("publish", publish::run(deps, config.clone())));
        let gauges = zookeeper_link::keep_gauges(env.clone(), zookeeper.link.clone(), rules.clone(), registry.clone());
        drop(env.tasks.spawn("zookeeper-gauges", gauges));
        let (link, root) = (zookeeper.link.clone(), zookeeper.root.clone());
        let measuring = zookeeper_link::measure_activation(env.clone(), link, root, rules.clone(), registry.clone());
        drop(env.tasks.spawn("rule-activation", measuring));
    }
    let views = Views {
        scrape: Some(scrape.clone()),
        rules: Some(rules.clone()),
        alerting: Some(alerting.clone()),
        alertmanagers: Arc::new(move || external.urls()),
        cluster: cluster_view(zookeeper.as_ref(), cluster.as_ref().map(cluster::Running::standing)),
        rule_store: zookeeper.as_ref().map(|zookeeper| (zookeeper.link.clone(), zookeeper.root.clone())),
        overlay: Some(reloader.overlay()),
        refusal: Some(reloader.refusal()),
        role,
        is_members_write: write_check,
        history: Some(Arc::clone(&data.history)),
        dashboards: Some(dashboards),
    };
    let api_state = ApiState::new(ApiParts {
        env: env.clone(),
        engine,
        querier,
        append,
        store: Some(data.store.clone()),
        registry,
        config,
        views,
        lifecycle,
        events: api::EventHub::new(),
        flags: flags(&options),
        storage_folder: options.data_dir.display().to_string(),
        started_ms,
        session_key: session_key::load(&env, &state).await?,
        limits: ApiLimits::default(),
    });
    let Door { front, serving, server } = door;
    front.open(api::router(api_state.clone()));
    drop(env.tasks.spawn("observer", api::observe(api_state, serving.subscribe())));
    tracing::info!(%listen, "listening");
    Ok(Running { ready, serving, server, scrape, rules, alerting, courier, cluster, zookeeper, remote_write, dumper, data })
}
