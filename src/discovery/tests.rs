//! Discovery against real files and a real configuration text.

use super::start;
use crate::config::Config;
use crate::env::{Disk, Env, memory_disk::MemoryDisk};
use crate::model::target::JobTargets;
use crate::telemetry::metrics::Registry;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

fn config(text: &str) -> Arc<Config> {
    let files = |_: &Path| Err(io::ErrorKind::NotFound.into());
    Arc::new(crate::config::load(Path::new("/etc/watchkeeper.yml"), text, &files).unwrap())
}

/// Waits until what discovery says satisfies `fits`.
async fn wait(
    env: &Env,
    targets: &mut watch::Receiver<Arc<BTreeMap<String, JobTargets>>>,
    what: &str,
    fits: impl Fn(&BTreeMap<String, JobTargets>) -> bool,
) {
    let found = env.clock.timeout(Duration::from_secs(10), targets.wait_for(|targets| fits(targets))).await.is_ok();
    assert!(found, "{what}: {:?}", targets.borrow());
}

fn addresses(targets: &BTreeMap<String, JobTargets>, job: &str) -> Vec<String> {
    let groups = targets.get(job).map_or(&[][..], |job| &job.groups);
    groups.iter().flat_map(|group| &group.targets).map(|labels| labels.value("__address__").to_owned()).collect()
}

#[tokio::test]
async fn files_come_change_break_and_go() {
    let disk = Arc::new(MemoryDisk::new());
    let disk_face: Arc<dyn Disk> = Arc::<MemoryDisk>::clone(&disk);
    let env = Env { disk: disk_face, ..Env::real() };
    disk.create_dir_all(Path::new("/etc/targets")).unwrap();
    let text = "scrape_configs:\n\
                - {job_name: fixed, static_configs: [{targets: [a:1, b:2], labels: {zone: x}}]}\n\
                - {job_name: filed, file_sd_configs: [{files: ['/etc/targets/*.yml']}]}\n";
    let (_sender, receiver) = watch::channel(config(text));
    let mut targets = start(&env, receiver, &Registry::new());
    assert_eq!(addresses(&targets.borrow(), "fixed"), ["a:1", "b:2"]);
    assert_eq!(addresses(&targets.borrow(), "filed"), Vec::<String>::new());
    let path = Path::new("/etc/targets/one.yml");
    disk.replace(path, b"- targets: [c:3]\n  labels: {rack: r1}\n").unwrap();
    wait(&env, &mut targets, "new file", |targets| addresses(targets, "filed") == ["c:3"]).await;
    let labels = targets.borrow()["filed"].groups[0].labels.clone();
    assert_eq!((labels.value("rack"), labels.value("__meta_filepath")), ("r1", "/etc/targets/one.yml"));
    disk.replace(path, b"- targets: [c:3, d:4]\n").unwrap();
    wait(&env, &mut targets, "changed file", |targets| addresses(targets, "filed") == ["c:3", "d:4"]).await;
    disk.replace(path, b"- targets: {bad\n").unwrap();
    wait(&env, &mut targets, "bad file", |targets| !targets["filed"].errors.is_empty()).await;
    assert_eq!(addresses(&targets.borrow(), "filed"), ["c:3", "d:4"]);
    disk.remove_file(path).unwrap();
    wait(&env, &mut targets, "removed file", |targets| addresses(targets, "filed").is_empty()).await;
}

#[tokio::test]
async fn a_reload_changes_jobs_and_keeps_sources() {
    let env = Env::real();
    let one = config("scrape_configs: [{job_name: a, static_configs: [{targets: ['a:1']}]}]");
    let two = config("scrape_configs: [{job_name: b, static_configs: [{targets: ['b:1']}]}]");
    let (sender, receiver) = watch::channel(one);
    let mut targets = start(&env, receiver, &Registry::new());
    sender.send_replace(two);
    wait(&env, &mut targets, "reload", |targets| addresses(targets, "b") == ["b:1"] && !targets.contains_key("a")).await;
}
