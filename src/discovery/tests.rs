//! Discovery against real files and a real configuration text.

use super::start;
use crate::config::Config;
use crate::env::{Disk, Env, memory_disk::MemoryDisk};
use crate::model::target::JobTargets;
use crate::state::State;
use crate::state::memory::MemoryState;
use crate::telemetry::metrics::Registry;
use crate::zookeeper::real_connector;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
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
    let mut targets = start(&env, receiver, &Registry::new(), None, real_connector(&env));
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
    let mut targets = start(&env, receiver, &Registry::new(), None, real_connector(&env));
    sender.send_replace(two);
    wait(&env, &mut targets, "reload", |targets| addresses(targets, "b") == ["b:1"] && !targets.contains_key("a")).await;
}

/// Answers each request with what the test last set; an empty answer hangs up.
async fn http_server(env: &Env, answer: Arc<Mutex<String>>) -> String {
    let mut listener = env.network.listen("127.0.0.1:0").await.unwrap();
    let address = listener.local_address().unwrap().to_string();
    drop(env.tasks.spawn("server", async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let Ok(byte) = stream.read_u8().await else { break };
                request.push(byte);
            }
            let body = answer.lock().unwrap().clone();
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            if !body.is_empty() {
                drop(stream.write_all(format!("{head}{body}").as_bytes()).await);
            }
        }
    }));
    address
}

#[tokio::test]
async fn what_a_server_listed_survives_a_restart_without_it() {
    let env = Env::real();
    let answer = Arc::new(Mutex::new(r#"[{"targets": ["a:1"], "labels": {"zone": "x"}}, {"targets": ["b:2"]}]"#.to_owned()));
    let address = http_server(&env, Arc::clone(&answer)).await;
    let text = format!(
        "scrape_configs: [{{job_name: listed, http_sd_configs: [{{url: 'http://{address}/list', refresh_interval: 100ms}}]}}]"
    );
    let state: Arc<dyn State> = Arc::new(MemoryState::default());
    let run = |state: &Arc<dyn State>| {
        let (sender, receiver) = watch::channel(config(&text));
        (sender, start(&env, receiver, &Registry::new(), Some(Arc::clone(state)), real_connector(&env)))
    };
    let (_config, mut targets) = run(&state);
    wait(&env, &mut targets, "listed", |targets| addresses(targets, "listed") == ["a:1", "b:2"]).await;
    drop(targets);
    let mut saved = false;
    for _ in 0..500 {
        saved = state.scan(b"discovery/listed/http/").unwrap().len() == 1;
        if saved {
            break;
        }
        env.clock.sleep(Duration::from_millis(10)).await;
    }
    assert!(saved, "not saved");

    // The server is away, and ours starts anew.
    answer.lock().unwrap().clear();
    let (sender, mut targets) = run(&state);
    assert_eq!(addresses(&targets.borrow(), "listed"), ["a:1", "b:2"]);
    assert_eq!(targets.borrow()["listed"].groups[0].labels.value("zone"), "x");
    wait(&env, &mut targets, "error", |targets| !targets["listed"].errors.is_empty()).await;
    assert_eq!(addresses(&targets.borrow(), "listed"), ["a:1", "b:2"]);
    *answer.lock().unwrap() = r#"[{"targets": ["c:3"]}]"#.to_owned();
    wait(&env, &mut targets, "listed anew", |targets| addresses(targets, "listed") == ["c:3"]).await;

    // A source that is no longer configured leaves nothing.
    sender.send_replace(config("scrape_configs: []"));
    let mut left = 1;
    for _ in 0..500 {
        left = state.scan(b"discovery/").unwrap().len();
        if left == 0 {
            break;
        }
        env.clock.sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(left, 0);
}
