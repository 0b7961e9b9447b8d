//! The configuration's overlay from ZooKeeper, live: laid over the file, judged as a reload is, and published by the same channel.
//!
//! A znode that is refused stays at its last good text, which is kept on disk once it is in force: so that a restart while ZooKeeper is away,
//! or while what lies there is broken, goes on with it.

use super::publish;
use super::reload::Reloader;
use super::zookeeper_link::ZooKeeperLink;
use crate::alerting::Alerting;
use crate::cluster;
use crate::cluster::overlay::{OverlayView, Texts, ZnodeView};
use crate::config::overlay::{FileLayer, Laid, Layer, Overlay};
use crate::config::{Config, ConfigError, SENDABLE};
use crate::discovery;
use crate::env::Env;
use crate::state::State;
use crate::telemetry::metrics::Registry;
use crate::zookeeper::Tree;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::watch;

const REFUSED: &str = "watchkeeper_zookeeper_config_refused";
const ZNODES: &str = "watchkeeper_zookeeper_config_znodes";

/// Says what a configuration asks for that the server does not do.
pub(super) fn supported(config: &Config) -> Result<(), String> {
    let unsupported = config.unsupported(SENDABLE);
    if unsupported.is_empty() {
        discovery::check(config).and_then(|()| publish::check(config))
    } else {
        Err(unsupported.join("; "))
    }
}

/// Shows a configuration that nothing is laid over.
pub(super) fn view_of_file(file: &FileLayer) -> OverlayView {
    OverlayView { parts: file.lay(&Overlay::default(), &supported).parts, ..OverlayView::default() }
}

/// Begins with what was known before the start, and follows the tree from then on.
pub(super) async fn start(env: &Env, reloader: &Reloader, state: &Arc<dyn State>, zookeeper: &ZooKeeperLink) {
    let root = zookeeper.root.clone();
    let known = zookeeper.last_known.as_ref().map(|tree| cluster::overlay::read(tree, &root));
    reloader.begin_overlay(state, &root, known).await;
    drop(env.tasks.spawn("configuration-overlay", follow(reloader.clone(), zookeeper.link.tree.clone(), root)));
}

async fn follow(reloader: Reloader, mut tree: watch::Receiver<Option<Arc<Tree>>>, root: String) {
    let mut seen: Option<Result<Texts, String>> = None;
    loop {
        let now = tree.borrow_and_update().clone();
        if let Some(now) = now {
            let found = cluster::overlay::read(&now, &root);
            if seen.as_ref() != Some(&found) {
                seen = Some(found.clone());
                reloader.lay_over(found).await;
            }
        }
        if tree.changed().await.is_err() {
            return;
        }
    }
}

/// The file as last read, and what lies over it.
pub(super) struct Layers {
    file: FileLayer,
    texts: Texts,
    /// A folder that may not be read: what is in it is as it was.
    denied: Option<String>,
    /// The texts that were last in force, also of those that are not now.
    good: BTreeMap<String, String>,
    in_force: BTreeSet<String>,
    keep: Option<(Arc<dyn State>, String)>,
    registry: Registry,
    /// Files that a gauge names.
    named: BTreeSet<String>,
}

impl Layers {
    pub(super) fn new(file: FileLayer, registry: &Registry) -> Self {
        Self {
            file,
            texts: Texts::default(),
            denied: None,
            good: BTreeMap::new(),
            in_force: BTreeSet::new(),
            keep: None,
            registry: registry.clone(),
            named: BTreeSet::new(),
        }
    }

    /// Reads the last good texts, and keeps them from now on.
    pub(super) async fn begin(&mut self, env: &Env, state: Arc<dyn State>, root: &str) {
        let (reading, folder) = (Arc::clone(&state), root.to_owned());
        let read = env.tasks.blocking(move || cluster::overlay::load_good(reading.as_ref(), &folder)).await;
        match read {
            Ok(Ok(good)) => self.good = good,
            Ok(Err(error)) => tracing::warn!(%error, "the last good configuration of ZooKeeper cannot be read"),
            Err(error) => tracing::error!(%error, "reading the last good configuration of ZooKeeper failed"),
        }
        self.keep = Some((state, root.to_owned()));
    }

    /// Notes what is in ZooKeeper.
    pub(super) fn found(&mut self, found: Result<Texts, String>) {
        match found {
            Ok(texts) => {
                self.texts = texts;
                self.denied = None;
            }
            Err(folder) => self.denied = Some(folder),
        }
    }

    /// Lays what is there over the file, another file where one is given.
    pub(super) async fn lay(&self, env: &Env, file: Option<&FileLayer>) -> anyhow::Result<Laid> {
        let file = file.unwrap_or(&self.file);
        let layer = |text: &cluster::overlay::Text| Layer {
            path: text.path.clone(),
            text: text.text.clone(),
            last_good: self.good.get(&text.path).cloned(),
        };
        let mut overlay =
            Overlay { config: self.texts.config.as_ref().map(layer), scrape: self.texts.scrape.iter().map(layer).collect() };
        loop {
            let (below, over) = (file.clone(), overlay.clone());
            let laid = env.tasks.blocking(move || below.lay(&over, &supported)).await?;
            let Err(error) = Alerting::check(env, &laid.config).await else { return Ok(laid) };
            // Only `config` has to do with alerting: without its present text it is judged again, then without the last good one.
            match &mut overlay.config {
                Some(layer) if laid.good.get(&layer.path) == layer.text.as_ref().ok() => {
                    layer.text = Err(ConfigError::whole(&layer.path, error.to_string()));
                }
                Some(layer) if layer.last_good.is_some() => layer.last_good = None,
                _ => return Err(error.into()),
            }
        }
    }

    /// Refuses a new file with which something would be lost that is in force.
    pub(super) fn goes_on(&self, laid: &Laid) -> anyhow::Result<()> {
        let lost = laid.refused.iter().find(|refusal| !refusal.has_last_good && self.in_force.contains(&refusal.path));
        match lost {
            None => Ok(()),
            Some(refusal) => anyhow::bail!("what is in ZooKeeper does not go with this file: {}", refusal.error),
        }
    }

    /// Takes what was published: shows it, tells what is refused, and keeps what is good.
    pub(super) async fn take(&mut self, env: &Env, file: Option<FileLayer>, laid: Laid, shown: &watch::Sender<Arc<OverlayView>>) {
        if let Some(file) = file {
            self.file = file;
        }
        let view = self.view(&laid);
        let before = shown.send_replace(Arc::new(view.clone()));
        tell(&before, &view);
        self.measure(&view);
        let still_there: BTreeSet<&String> = self.texts.iter().map(|text| &text.path).collect();
        let mut good = laid.good;
        self.in_force = good.keys().cloned().collect();
        for (path, text) in self.good.iter().filter(|(path, _)| still_there.contains(path)) {
            good.entry(path.clone()).or_insert_with(|| text.clone());
        }
        if let Some((state, root)) = self.keep.clone().filter(|_| good != self.good) {
            let (before, now) = (self.good.clone(), good.clone());
            let saved = env.tasks.blocking(move || cluster::overlay::save_good(state.as_ref(), &root, &before, &now)).await;
            match saved {
                Ok(Ok(())) => {}
                // What differs is saved with the next change.
                Ok(Err(error)) => {
                    tracing::warn!(%error, "the last good configuration of ZooKeeper could not be saved");
                    return;
                }
                Err(error) => tracing::error!(%error, "saving the last good configuration of ZooKeeper failed"),
            }
        }
        self.good = good;
    }

    fn view(&self, laid: &Laid) -> OverlayView {
        let znode = |text: &cluster::overlay::Text| ZnodeView {
            path: text.path.clone(),
            mzxid: text.mzxid,
            modified_ms: text.modified_ms,
            refused: laid.refused.iter().find(|refusal| refusal.path == text.path).map(|refusal| refusal.error.clone()),
            is_active: laid.good.contains_key(&text.path),
        };
        let denied = self.denied.iter().map(|folder| ZnodeView {
            path: folder.clone(),
            mzxid: 0,
            modified_ms: 0,
            refused: Some(ConfigError::whole(folder, "no permission to read this znode: what was known of it goes on")),
            is_active: false,
        });
        let in_force = self.texts.iter().filter(|text| laid.good.get(&text.path) == text.text.as_ref().ok());
        OverlayView {
            version: in_force.map(|text| text.mzxid).max().unwrap_or(0),
            znodes: denied.chain(self.texts.iter().map(znode)).collect(),
            parts: laid.parts.clone(),
        }
    }

    fn measure(&mut self, view: &OverlayView) {
        let paths: BTreeSet<String> = view.znodes.iter().map(|znode| znode.path.clone()).collect();
        for znode in &view.znodes {
            let labels = [("file", znode.path.as_str())];
            let gauge = self.registry.gauge(REFUSED, "Whether a znode of the configuration was refused.", &labels);
            gauge.set(f64::from(u8::from(znode.refused.is_some())));
        }
        for gone in self.named.difference(&paths) {
            self.registry.remove(REFUSED, &[("file", gone)]);
        }
        let refused = view.znodes.iter().filter(|znode| znode.refused.is_some()).count();
        for (state, count) in [("active", view.znodes.len() - refused), ("refused", refused)] {
            let gauge = self.registry.gauge(ZNODES, "Znodes of the configuration by state.", &[("state", state)]);
            gauge.set(count as f64);
        }
        self.named = paths;
    }
}

/// Logs what is refused, and what is right again, once.
fn tell(before: &OverlayView, now: &OverlayView) {
    let refused = |view: &OverlayView, path: &str| {
        view.znodes.iter().find(|znode| znode.path == path).and_then(|znode| znode.refused.as_ref().map(ToString::to_string))
    };
    for znode in &now.znodes {
        match (refused(before, &znode.path), znode.refused.as_ref().map(ToString::to_string)) {
            (old, Some(error)) if old.as_ref() != Some(&error) => {
                let goes_on = if znode.is_active { "its last good text goes on" } else { "the rest goes on" };
                tracing::error!(%error, goes_on, "a configuration in ZooKeeper was refused");
            }
            (Some(_), None) => tracing::info!(path = %znode.path, "a configuration in ZooKeeper is right again"),
            _ => {}
        }
    }
}
