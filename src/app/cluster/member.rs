//! Our entry among the members: an ephemeral znode that says who we are and which rules we run.

use crate::cluster::leadership::{Me, Standing};
use crate::cluster::members::Member;
use crate::cluster::overlay::OverlayView;
use crate::cluster::paths;
use crate::env::Env;
use crate::model::rule_source::RuleOrigin;
use crate::rules::RulesHandle;
use crate::zookeeper::tree_cache::join;
use crate::zookeeper::{Client, Lifetime, Link, Result, ZooKeeperError};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How often we look whether what we say of ourselves is still so.
const LOOK_EVERY: Duration = Duration::from_secs(1);

pub(super) struct Entry {
    pub(super) env: Env,
    pub(super) link: Link,
    pub(super) root: String,
    pub(super) me: Me,
    pub(super) address: String,
    pub(super) is_tls: bool,
    pub(super) shares_scrapes: bool,
    pub(super) started_ms: i64,
    pub(super) standing: watch::Receiver<Standing>,
    pub(super) rules: RulesHandle,
    pub(super) overlay: watch::Receiver<Arc<OverlayView>>,
}

impl Entry {
    fn member(&self) -> Member {
        let view = self.rules.view();
        let in_zookeeper = |origin: &RuleOrigin| matches!(origin, RuleOrigin::Znode(_));
        let files = view.files.iter().filter(|file| in_zookeeper(&file.origin));
        let newest = files.filter_map(|file| file.active_version).max().unwrap_or(0);
        let scheme = if self.is_tls { "https" } else { "http" };
        Member {
            id: self.me.id.clone(),
            instance: self.me.instance.clone(),
            address: self.address.clone(),
            url: format!("{scheme}://{}", self.address),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_ms: self.started_ms,
            role: self.standing.borrow().role.as_str().to_owned(),
            rules_mzxid: i64::try_from(newest).unwrap_or(0),
            rules_refused: view.refused.iter().filter(|file| in_zookeeper(&file.origin)).count(),
            config_mzxid: self.overlay.borrow().version,
            shares_scrapes: self.shares_scrapes,
        }
    }

    pub(super) async fn run(mut self) {
        let path = join(&join(&self.root, paths::MEMBERS), &self.me.id);
        let mut clients = self.link.clients();
        let mut problem = String::new();
        loop {
            clients.borrow_and_update();
            self.standing.borrow_and_update();
            if let Ok(client) = self.link.client() {
                let said = match self.say(&client, &path).await {
                    Ok(()) => String::new(),
                    Err(error) => error.to_string(),
                };
                if said != problem && !said.is_empty() {
                    tracing::warn!(error = said, "this member cannot show itself among the others");
                }
                problem = said;
            }
            tokio::select! {
                biased;
                Ok(()) = clients.changed() => {}
                Ok(()) = self.standing.changed() => {}
                () = self.env.clock.sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// Writes our entry, where it is not so already.
    async fn say(&self, client: &Arc<dyn Client>, path: &str) -> Result<()> {
        let data = self.member().json().to_string().into_bytes();
        let known = self.link.tree.borrow().as_ref().and_then(|tree| tree.nodes.get(path).cloned());
        if known.is_some_and(|node| node.owner == client.session() && *node.data == *data) {
            return Ok(());
        }
        match client.get(path).await? {
            None => match client.create(path, &data, Lifetime::Ephemeral).await {
                Err(ZooKeeperError::NoNode(_)) => {
                    // The tree is new, or was emptied.
                    client.make_folders(&join(&self.root, paths::MEMBERS)).await?;
                    client.create(path, &data, Lifetime::Ephemeral).await
                }
                made => made,
            },
            Some(node) if node.owner == client.session() => {
                if *node.data == *data {
                    return Ok(());
                }
                client.set(path, &data, None).await
            }
            // An earlier session of ours.
            Some(node) if Member::of(&node.data).is_some_and(|member| member.instance == self.me.instance) => {
                client.delete(path, Some(node.version)).await?;
                client.create(path, &data, Lifetime::Ephemeral).await
            }
            Some(_) => Err(ZooKeeperError::Other(format!(
                "another running server is called {:?}: give each a cluster.name of its own",
                self.me.id
            ))),
        }
    }
}
