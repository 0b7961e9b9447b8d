//! Feeds dashboards from disk and ZooKeeper to the task that owns them. Files are looked at again and again, so that a change shows
//! without a reload; while ZooKeeper is away its last known tree counts.

use crate::cluster;
use crate::config::Config;
use crate::dashboards::read::{self, NotADashboard};
use crate::dashboards::{Origin, Source};
use crate::env::{Env, glob, watch_files};
use crate::zookeeper::Tree;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::watch;

/// Files that are read.
const FILES_MAX: usize = 1000;

/// Where dashboards come from.
pub(super) struct DashboardFeed {
    pub(super) env: Env,
    /// The configuration in force: its `web.dashboards`.
    pub(super) config: watch::Receiver<Arc<Config>>,
    /// The configuration file, beside which dashboards lie unless it says otherwise.
    pub(super) file: Option<PathBuf>,
    /// ZooKeeper's tree and the root below which we look; `None`: no ZooKeeper.
    pub(super) tree: Option<(watch::Receiver<Option<Arc<Tree>>>, String)>,
    /// What the tree was when this server last saw it.
    pub(super) last_known: Option<Arc<Tree>>,
}

/// Returns the patterns of a configuration.
fn patterns(config: &Config, file: Option<&Path>) -> Vec<PathBuf> {
    match &config.web.dashboards {
        Some(named) => named.iter().map(|path| path.path().to_owned()).collect(),
        None => vec![file.and_then(Path::parent).unwrap_or(Path::new("")).join("dashboards").join("*.json")],
    }
}

/// What is looked at for changes: the files, and the folders in which others may appear.
fn watched(patterns: &[PathBuf]) -> Vec<PathBuf> {
    let is_wild = |path: &&PathBuf| path.to_string_lossy().contains(['*', '?', '[']);
    let mut paths: Vec<PathBuf> = patterns.iter().filter(|path| !is_wild(path)).cloned().collect();
    paths.extend(patterns.iter().filter(is_wild).filter_map(|path| path.parent().map(Path::to_owned)));
    paths.sort();
    paths.dedup();
    paths
}

fn read_file(env: &Env, path: &Path) -> Source {
    let failed = |error: &std::io::Error| NotADashboard::Unreadable(error.to_string());
    let entry = env.disk.stat(path);
    let text = match &entry {
        Ok(Some(entry)) if entry.bytes > read::BYTES_MAX as u64 => Err(NotADashboard::TooLarge(entry.bytes)),
        Ok(_) => env.disk.read(path).map_err(|error| failed(&error)).and_then(read::decode),
        Err(error) => Err(failed(error)),
    };
    Source {
        origin: Origin::File(path.to_string_lossy().into_owned()),
        text: text.map(Arc::from),
        modified_ms: entry.ok().flatten().map(|entry| entry.modified_ms),
    }
}

/// Reads all files that patterns stand for, each once. Blocks.
fn read_files(env: &Env, patterns: &[PathBuf]) -> Vec<Source> {
    let mut paths: Vec<PathBuf> = patterns.iter().flat_map(|pattern| glob::expand(&*env.disk, pattern)).collect();
    paths.sort();
    paths.dedup();
    paths.retain(|path| !matches!(env.disk.stat(path), Ok(Some(entry)) if entry.is_dir));
    paths.iter().take(FILES_MAX).map(|path| read_file(env, path)).collect()
}

fn read_znodes(tree: &Tree, root: &str) -> Vec<Source> {
    let source = |found: cluster::dashboards::Found| Source {
        origin: Origin::Znode(found.path),
        text: match found.data {
            Ok(data) => read::decode(data).map(Arc::from),
            Err(reason) => Err(NotADashboard::Unreadable(reason)),
        },
        modified_ms: found.modified_ms,
    };
    cluster::dashboards::read(tree, root).into_iter().map(source).collect()
}

/// What was read last, side by side.
#[derive(Default)]
struct Sides {
    files: Vec<Source>,
    marks: Option<BTreeMap<String, i64>>,
    znodes: Vec<Source>,
}

impl Sides {
    fn all(&self) -> Arc<Vec<Source>> {
        Arc::new(self.files.iter().chain(&self.znodes).cloned().collect())
    }
}

impl DashboardFeed {
    fn patterns(&self) -> Vec<PathBuf> {
        patterns(&self.config.borrow(), self.file.as_deref())
    }

    /// Reads the files, and how they look: looked at before they are read, so that nothing is missed.
    async fn read_files(&self) -> (Vec<Source>, watch_files::Look) {
        let (env, patterns) = (self.env.clone(), self.patterns());
        let work = move || (watch_files::look(&env, &watched(&patterns)), read_files(&env, &patterns));
        let (look, files) = self.env.tasks.blocking(work).await.unwrap_or_default();
        (files, look)
    }

    async fn read_zookeeper(&self, sides: &mut Sides) {
        let Some((tree, root)) = &self.tree else { return };
        let live = tree.borrow().clone();
        let Some(tree) = live.or_else(|| self.last_known.clone()) else { return };
        let marks = cluster::dashboards::marks(&tree, root);
        if sides.marks.as_ref() == Some(&marks) {
            return;
        }
        let root = root.clone();
        if let Ok(znodes) = self.env.tasks.blocking(move || read_znodes(&tree, &root)).await {
            (sides.marks, sides.znodes) = (Some(marks), znodes);
        }
    }

    /// Reads everything once, then follows changes in a task of its own.
    pub(super) async fn start(mut self) -> watch::Receiver<Arc<Vec<Source>>> {
        let mut sides = Sides::default();
        let mut look;
        (sides.files, look) = self.read_files().await;
        self.read_zookeeper(&mut sides).await;
        let (sender, receiver) = watch::channel(sides.all());
        let env = self.env.clone();
        let following = async move {
            let mut tree = self.tree.as_ref().map(|(tree, _)| tree.clone());
            loop {
                let paths = watched(&self.patterns());
                tokio::select! {
                    biased;
                    changed = super::sources::tree_changed(&mut tree) => if changed {
                        self.read_zookeeper(&mut sides).await;
                    } else {
                        // The session has ended for good; files go on.
                        tree = None;
                    },
                    changed = self.config.changed() => {
                        if changed.is_err() {
                            return;
                        }
                        (sides.files, look) = self.read_files().await;
                    }
                    _ = watch_files::changed(&self.env, &paths, &look) => (sides.files, look) = self.read_files().await,
                    () = sender.closed() => return,
                }
                let all = sides.all();
                sender.send_if_modified(|held| {
                    let differs = *held != all;
                    *held = all;
                    differs
                });
            }
        };
        drop(env.tasks.spawn("dashboard-feed", following));
        receiver
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::FilePath;
    use crate::env::Disk as _;
    use crate::env::memory_disk::MemoryDisk;

    #[test]
    fn files_lie_beside_the_configuration_unless_it_says_otherwise() {
        let mut config = Config::default();
        assert_eq!(patterns(&config, Some(Path::new("/c/w.yml"))), [PathBuf::from("/c/dashboards/*.json")]);
        assert_eq!(patterns(&config, None), [PathBuf::from("dashboards/*.json")]);
        config.web.dashboards = Some(vec![FilePath::new("/d/a.json"), FilePath::new("/d/more/*.json")]);
        let named = patterns(&config, None);
        assert_eq!(watched(&named), [PathBuf::from("/d/a.json"), PathBuf::from("/d/more")]);
    }

    #[test]
    fn a_file_that_cannot_be_taken_is_listed_with_the_reason() {
        let disk = MemoryDisk::new();
        disk.create_dir_all(Path::new("/d/x.json")).unwrap();
        disk.replace(Path::new("/d/large.json"), &vec![b' '; read::BYTES_MAX + 1]).unwrap();
        disk.replace(Path::new("/d/latin1.json"), b"{\"title\": \"caf\xe9\"}").unwrap();
        let env = Env { disk: Arc::new(disk), ..Env::real() };
        let found = read_files(&env, &[PathBuf::from("/d/*.json"), PathBuf::from("/d/large.json")]);
        let told: Vec<_> = found.iter().map(|source| source.text.as_ref().unwrap_err().to_string()).collect();
        assert_eq!(told.len(), 2);
        assert_eq!(told[0], "This dashboard has 5.1 MB; the limit is 5 MB.");
        assert!(told[1].starts_with("line 1, column 15: not valid UTF-8"), "{}", told[1]);
    }
}
