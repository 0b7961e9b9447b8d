//! Feeds rule files from disk and ZooKeeper to the rule manager, and keeps ZooKeeper's last known tree on disk.

use super::rule_files;
use crate::cluster;
use crate::config::Config;
use crate::env::Env;
use crate::model::rule_source::{RuleSource, RuleSources};
use crate::state::State;
use crate::zookeeper::Tree;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::watch;

/// Where rule files come from.
#[derive(Clone)]
pub(super) struct RuleFeed {
    pub(super) env: Env,
    /// The configuration in force: its `rule_files`. Read again after each reload.
    pub(super) config: watch::Receiver<Arc<Config>>,
    /// Without a configuration file the shipped rules hold, or those of `rules/`.
    pub(super) has_file: bool,
    /// The rules that ship: name and text.
    pub(super) builtin: &'static [(&'static str, &'static str)],
    /// ZooKeeper's tree and the root below which we look; `None`: no ZooKeeper.
    pub(super) tree: Option<(watch::Receiver<Option<Arc<Tree>>>, String)>,
    /// What the tree was when this server last saw it.
    pub(super) last_known: Option<Arc<Tree>>,
}

impl RuleFeed {
    async fn read_disk(&self) -> Vec<RuleSource> {
        let patterns: Vec<PathBuf> = self.config.borrow().rule_files.iter().map(|file| file.path().to_owned()).collect();
        let (env, has_file, builtin) = (self.env.clone(), self.has_file, self.builtin);
        let read = self.env.tasks.blocking(move || {
            if has_file {
                rule_files::from_patterns(&env, &patterns)
            } else {
                rule_files::without_configuration(&env, Path::new("rules"), builtin)
            }
        });
        read.await.unwrap_or_default()
    }

    fn read_zookeeper(&self) -> Vec<RuleSource> {
        let Some((tree, root)) = &self.tree else { return Vec::new() };
        let live = tree.borrow().clone();
        let known = live.or_else(|| self.last_known.clone());
        known.map(|tree| cluster::rules::sources(&tree, root).files).unwrap_or_default()
    }

    /// Reads everything once, then follows changes in a task of its own.
    pub(super) async fn start(mut self) -> watch::Receiver<Arc<RuleSources>> {
        let mut disk = self.read_disk().await;
        let first = rule_files::merge([disk.clone(), self.read_zookeeper()]);
        let (sender, receiver) = watch::channel(Arc::new(first));
        let env = self.env.clone();
        env.tasks.spawn("rule-feed", async move {
            let mut tree = self.tree.as_ref().map(|(tree, _)| tree.clone());
            loop {
                tokio::select! {
                    biased;
                    changed = tree_changed(&mut tree) => if !changed { return },
                    changed = self.config.changed() => {
                        if changed.is_err() {
                            return;
                        }
                        disk = self.read_disk().await;
                    }
                }
                let files = Arc::new(rule_files::merge([disk.clone(), self.read_zookeeper()]));
                sender.send_if_modified(|held| {
                    let changed = *held != files;
                    *held = files;
                    changed
                });
            }
        });
        receiver
    }
}

/// Waits for a change of the tree; for ever where there is none. `false`: nobody changes it any more.
pub(super) async fn tree_changed(tree: &mut Option<watch::Receiver<Option<Arc<Tree>>>>) -> bool {
    match tree {
        Some(tree) => tree.changed().await.is_ok(),
        None => std::future::pending().await,
    }
}

/// Saves each new tree as the last known one. Ends with the session.
pub(super) async fn keep_last_known(
    env: Env,
    state: Arc<dyn State>,
    root: String,
    known: Option<Arc<Tree>>,
    mut tree: watch::Receiver<Option<Arc<Tree>>>,
) {
    let mut saved = known.unwrap_or_default();
    loop {
        let Some(now) = tree.borrow_and_update().clone() else {
            if tree.changed().await.is_err() {
                return;
            }
            continue;
        };
        let (state, root, before, fresh) = (Arc::clone(&state), root.clone(), Arc::clone(&saved), Arc::clone(&now));
        let save = env.tasks.blocking(move || cluster::last_known::save(state.as_ref(), &root, &before, &fresh));
        match save.await {
            Ok(Ok(())) => saved = now,
            Ok(Err(error)) => tracing::warn!(%error, "the last known ZooKeeper tree could not be saved"),
            Err(error) => tracing::error!(%error, "saving the last known ZooKeeper tree failed"),
        }
        if tree.changed().await.is_err() {
            return;
        }
    }
}
