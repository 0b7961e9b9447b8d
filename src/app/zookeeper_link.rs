//! The ZooKeeper session of a server: started from the configuration, never waited for.

use super::shutdown;
use super::sources;
use crate::cluster;
use crate::config::Config;
use crate::env::Env;
use crate::env::tasks::TaskHandle;
use crate::state::State;
use crate::telemetry::metrics::Registry;
use crate::zookeeper::{self, Link, Options, Tree};
use anyhow::Context as _;
use std::sync::Arc;
use std::time::Duration;

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
        shutdown::phase(env, "ZooKeeper", Duration::from_secs(5), async {
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
    let options =
        Options { connect: wanted.connect.clone(), root: root.clone(), session_timeout: wanted.session_timeout, digest };
    let (loading, folder) = (Arc::clone(state), root.clone());
    let last_known = env.tasks.blocking(move || cluster::last_known::load(loading.as_ref(), &folder)).await?;
    let last_known = match last_known {
        Ok(tree) => tree.map(Arc::new),
        Err(error) => {
            tracing::warn!(%error, "the last known ZooKeeper tree cannot be read");
            None
        }
    };
    let connector = zookeeper::real_connector(env);
    let (link, session) = zookeeper::start(env, connector, options, cluster::paths::folders(&root), registry);
    let keeping = sources::keep_last_known(env.clone(), Arc::clone(state), root.clone(), last_known.clone(), link.tree.clone());
    let keeper = env.tasks.spawn("last-known", keeping);
    Ok(Some(ZooKeeperLink { link, connect: wanted.connect.clone(), root, last_known, session, keeper }))
}
