//! The ZooKeeper session of a server: started from the configuration, never waited for.

use super::shutdown;
use super::sources;
use crate::cluster;
use crate::config::Config;
use crate::env::Env;
use crate::env::tasks::TaskHandle;
use crate::model::rule_source::RuleOrigin;
use crate::rules::RulesHandle;
use crate::state::State;
use crate::telemetry::metrics::{Registry, SECONDS};
use crate::zookeeper::{self, Connector, Link, Options, SessionStatus, Tree};
use anyhow::Context as _;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

const FILES: &str = "watchkeeper_zookeeper_rule_files";
const REFUSED: &str = "watchkeeper_zookeeper_rule_file_refused";

/// A running session and what was known before it.
pub(super) struct ZooKeeperLink {
    pub(super) link: Link,
    pub(super) connect: String,
    pub(super) root: String,
    pub(super) last_known: Option<Arc<Tree>>,
    session: TaskHandle<()>,
    keeper: TaskHandle<()>,
}

impl ZooKeeperLink {
    pub(super) async fn stop(self, env: &Env) {
        self.link.stop();
        shutdown::phase(env, "ZooKeeper", Duration::from_millis(1000), async {
            if let Err(error) = self.session.await {
                tracing::error!(%error, "the ZooKeeper task failed");
            }
        })
        .await;
        self.keeper.abort();
    }
}

/// Starts the session if one is configured.
///
/// # Errors
/// When the digest file cannot be read; everything else is tried again for ever.
pub(super) async fn start(
    env: &Env,
    connector: Arc<dyn Connector>,
    config: &Config,
    state: &Arc<dyn State>,
    registry: &Registry,
) -> anyhow::Result<Option<ZooKeeperLink>> {
    let Some(wanted) = &config.zookeeper else { return Ok(None) };
    let digest = match &wanted.auth {
        None => None,
        Some(auth) if !auth.digest.is_empty() => Some(auth.digest.reveal().to_owned()),
        Some(auth) => {
            let path = auth.digest_file.path();
            let bytes = env.disk.read(path).with_context(|| format!("zookeeper.auth.digest_file {}", path.display()))?;
            Some(String::from_utf8_lossy(&bytes).trim().to_owned())
        }
    };
    let root = format!("/{}", wanted.root.trim_matches('/'));
    let options = Options {
        connect: wanted.connect.clone(),
        root: root.clone(),
        session_timeout: wanted.session_timeout,
        digest,
        tls: wanted.tls.as_ref().map(zookeeper::Tls::from_config),
        unread: cluster::paths::unread(&root),
        is_foreign: false,
    };
    let (loading, folder) = (Arc::clone(state), root.clone());
    let last_known = env.tasks.blocking(move || cluster::last_known::load(loading.as_ref(), &folder)).await?;
    let last_known = match last_known {
        Ok(tree) => tree.map(Arc::new),
        Err(error) => {
            tracing::warn!(%error, "the last known ZooKeeper tree cannot be read");
            None
        }
    };
    let (link, session) = zookeeper::start(env, connector, options, cluster::paths::folders(&root), registry);
    let keeping = sources::keep_last_known(env.clone(), Arc::clone(state), root.clone(), last_known.clone(), link.tree.clone());
    let keeper = env.tasks.spawn("last-known", keeping);
    Ok(Some(ZooKeeperLink { link, connect: wanted.connect.clone(), root, last_known, session, keeper }))
}

/// Returns whether the rules have taken in these versions.
fn has_all(rules: &RulesHandle, versions: &BTreeMap<String, u64>) -> bool {
    let view = rules.view();
    let found: BTreeMap<&str, u64> = view.files.iter().map(|file| (file.origin.path(), file.found_version)).collect();
    versions.iter().all(|(path, version)| found.get(path.as_str()).is_some_and(|found| found >= version))
}

/// Measures how long it takes from the first event about a change of rule files until all of them are taken in.
pub(super) async fn measure_activation(env: Env, link: Link, root: String, mut rules: RulesHandle, registry: Registry) {
    let help = "From the first event about a change of rule files until they are in force.";
    let seconds = registry.histogram("watchkeeper_zookeeper_rule_activation_seconds", help, &[], SECONDS);
    let mut tree = link.tree.clone();
    let mut before: Option<BTreeMap<String, u64>> = None;
    loop {
        let versions = tree.borrow_and_update().as_ref().map(|tree| cluster::rules::versions(tree, &root));
        let noticed = link.noticed_at();
        if let Some(versions) = versions
            && before.as_ref() != Some(&versions)
        {
            let is_first = before.is_none();
            // What has changed again meanwhile is measured as a whole.
            while !has_all(&rules, &versions) && !tree.has_changed().unwrap_or(true) {
                if rules.changed().await.is_err() {
                    return;
                }
            }
            // What a session finds when it begins nobody has just changed.
            if !is_first {
                seconds.observe(env.clock.monotonic().saturating_sub(noticed).as_secs_f64());
            }
            before = Some(versions);
        }
        if tree.changed().await.is_err() {
            return;
        }
    }
}

const GAUGES_EVERY: Duration = Duration::from_secs(1);

/// Keeps the gauges that need more than the session: refused rule files, how old the known tree is, who leads.
pub(super) async fn keep_gauges(env: Env, link: Link, rules: RulesHandle, registry: Registry) {
    let gauge = |name, help| registry.gauge(name, help, &[]);
    let age = gauge("watchkeeper_zookeeper_last_known_good_age_seconds", "Seconds since the known tree was last right.");
    let contact = gauge("watchkeeper_zookeeper_last_contact_timestamp_seconds", "When the tree was last known to be right.");
    let mut named = BTreeSet::new();
    loop {
        let live = link.status.borrow().state == SessionStatus::Live;
        let since_s = env.clock.now_ms() as f64 / 1000.0 - contact.get();
        age.set(if live || contact.get() <= 0.0 { 0.0 } else { since_s.max(0.0) });
        let view = rules.view();
        let is_znode = |origin: &RuleOrigin| matches!(origin, RuleOrigin::Znode(_));
        let refused: Vec<_> = view.refused.iter().filter(|refused| is_znode(&refused.origin)).collect();
        let denied = refused.iter().filter(|refused| refused.reason.starts_with(cluster::rules::DENIED)).count();
        let all = view.files.iter().filter(|file| is_znode(&file.origin)).count();
        let states = [("active", all.saturating_sub(refused.len())), ("refused", refused.len() - denied), ("denied", denied)];
        for (state, count) in states {
            registry.gauge(FILES, "Rule files in ZooKeeper by state.", &[("state", state)]).set(count as f64);
        }
        let in_zookeeper = view.files.iter().map(|file| &file.origin).chain(view.refused.iter().map(|file| &file.origin));
        let files: BTreeSet<String> =
            in_zookeeper.filter(|origin| matches!(origin, RuleOrigin::Znode(_))).map(|origin| origin.path().to_owned()).collect();
        for file in &files {
            let refused = view.refused.iter().any(|refused| refused.origin.path() == file);
            let labels = [("file", file.as_str())];
            registry.gauge(REFUSED, "Whether a rule file in ZooKeeper was refused.", &labels).set(f64::from(u8::from(refused)));
        }
        for gone in named.difference(&files) {
            registry.remove(REFUSED, &[("file", gone)]);
        }
        named = files;
        env.clock.sleep(GAUGES_EVERY).await;
    }
}
