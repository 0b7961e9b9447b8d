//! A world and the lives of a server within it.

use super::clock::SimClock;
use super::exporter::Exporter;
use super::http;
use super::mail::{MailServer, Taken};
use super::network::{Blocked, Internet, Mortal};
use super::state::DiskState;
use super::trace::Trace;
use super::zookeeper::Ensemble;
use crate::alerting::persist::{self, Kept};
use crate::app::{Outside, ServeOptions, Server};
use crate::env::clock::Clock;
use crate::env::crash_disk::CrashDisk;
use crate::env::random::SeededRandom;
use crate::env::tasks::{Life, Tasks};
use crate::env::{Disk as _, Env, Random as _};
use crate::state::{State, StateError};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// When a world begins: 14 November 2023, a Tuesday, 22:13:20 UTC.
pub(crate) const BEGIN_MS: i64 = 1_700_000_000_000;
/// Where the mail server is.
pub(crate) const MAIL: &str = "mail.example.org:25";
/// Where the server listens.
pub(crate) const SERVER: &str = "127.0.0.1:9090";
/// What a machine cannot reach that is cut off from ZooKeeper.
pub(crate) const ZOOKEEPER: &str = "zookeeper";
const CONFIG: &str = "/etc/watchkeeper/watchkeeper.yml";
const DATA: &str = "/data";
/// How often the store syncs by itself, in place of its thread ...
const SYNC_EVERY: Duration = Duration::from_millis(100);
/// ... and its housekeeping looks, in syncs.
const KEEP_EVERY: u64 = 10;
/// Space kept back; the disk need not be large.
const RESERVE_BYTES: u64 = 64 << 10;
/// How long an answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// From a start to a death.
struct Living {
    process: Mortal,
    tasks: Arc<Life>,
    server: Option<Server>,
    state: Arc<Mutex<Option<Arc<DiskState>>>>,
}

/// A made-up world.
pub(crate) struct World {
    pub(crate) clock: Arc<SimClock>,
    pub(crate) internet: Internet,
    pub(crate) mail: MailServer,
    pub(crate) ensemble: Ensemble,
    pub(crate) exporters: BTreeMap<String, Exporter>,
    pub(crate) disk: CrashDisk,
    pub(crate) trace: Trace,
    /// Where the server listens.
    pub(crate) listen: String,
    /// What cannot be reached from here.
    pub(crate) blocked: Blocked,
    random: SeededRandom,
    living: Option<Living>,
    lives: u64,
}

impl World {
    /// Makes a world without a server. Must be called within a paused runtime of one thread.
    pub(crate) fn new(seed: u64) -> Self {
        let clock = Arc::new(SimClock::starting_at(BEGIN_MS));
        let shared: Arc<dyn Clock> = Arc::clone(&clock) as Arc<dyn Clock>;
        let trace = Trace::default();
        let internet = Internet::new(Arc::clone(&shared), trace.clone());
        let mail = MailServer::new(&shared);
        internet.host(MAIL, Arc::new(mail.clone()));
        Self {
            ensemble: Ensemble::new(&shared),
            clock,
            internet,
            mail,
            exporters: BTreeMap::new(),
            disk: empty_disk(),
            trace,
            listen: SERVER.to_owned(),
            blocked: Blocked::default(),
            random: SeededRandom::new(seed),
            living: None,
            lives: 0,
        }
    }

    /// Returns another machine in the same world, whose server listens there.
    pub(crate) fn beside(&self, listen: &str, seed: u64) -> Self {
        Self {
            clock: Arc::clone(&self.clock),
            internet: self.internet.clone(),
            mail: self.mail.clone(),
            ensemble: self.ensemble.clone(),
            exporters: self.exporters.clone(),
            disk: empty_disk(),
            trace: self.trace.clone(),
            listen: listen.to_owned(),
            blocked: Blocked::default(),
            random: SeededRandom::new(seed),
            living: None,
            lives: 0,
        }
    }

    /// Cuts this machine off from an address, or heals that.
    pub(crate) fn block(&self, address: &str, is_blocked: bool) {
        let mut blocked = self.blocked.lock().expect("unpoisoned");
        if is_blocked {
            blocked.insert(address.to_owned());
        } else {
            blocked.remove(address);
        }
    }

    /// Returns whether this machine is cut off from an address.
    pub(crate) fn is_blocked(&self, address: &str) -> bool {
        self.blocked.lock().expect("unpoisoned").contains(address)
    }

    /// Returns whether the process will die by itself.
    pub(crate) fn is_mortally_ill(&self) -> bool {
        self.living.as_ref().is_some_and(|living| living.process.will_die())
    }

    /// Stops the process where it stands, as SIGSTOP does, or lets it go on.
    pub(crate) fn pause(&self, is_paused: bool) {
        if let Some(living) = &self.living {
            living.tasks.pause(is_paused);
        }
    }

    /// Puts an exporter at an address.
    pub(crate) fn exporter(&mut self, address: &str) -> Exporter {
        let exporter = Exporter::default();
        self.internet.host(address, Arc::new(exporter.clone()));
        self.exporters.insert(address.to_owned(), exporter.clone());
        exporter
    }

    /// Writes the configuration.
    pub(crate) fn configure(&self, text: &str) {
        self.write(CONFIG, text);
    }

    /// Writes a file beside the configuration.
    pub(crate) fn write_rules(&self, name: &str, text: &str) {
        self.write(&format!("/etc/watchkeeper/{name}"), text);
    }

    fn write(&self, path: &str, text: &str) {
        let written = self.disk.replace(Path::new(path), text.as_bytes());
        assert!(written.is_ok() || self.disk.is_off(), "{written:?}");
    }

    /// Starts the server. Where it dies while it starts, it is dead afterwards.
    pub(crate) async fn start(&mut self) {
        assert!(self.living.is_none(), "it lives already");
        self.lives += 1;
        let tasks = Arc::new(Life::default());
        let process = Mortal::new(&self.disk, &tasks, &self.blocked);
        let env = Env {
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            random: Arc::new(SeededRandom::new(self.random.next_u64())),
            disk: Arc::new(self.disk.clone()),
            network: self.internet.seen_by(Some(process.clone())),
            tasks: Tasks::made_up(Arc::clone(&tasks)),
        };
        let state: Arc<Mutex<Option<Arc<DiskState>>>> = Arc::default();
        let opened = Arc::clone(&state);
        let open_state = move |env: &Env, data: &Path| {
            let state = DiskState::try_open(&*env.disk, data).map_err(|error| StateError::Failed(error.to_string()))?;
            let state = Arc::new(state);
            *opened.lock().expect("unpoisoned") = Some(Arc::clone(&state));
            Ok(state as Arc<dyn State>)
        };
        let outside = Outside {
            open_state: Arc::new(open_state),
            zookeeper: Arc::new(self.ensemble.seen_by(&process)),
            reserve_bytes: RESERVE_BYTES,
        };
        let options = ServeOptions { config: Some(CONFIG.into()), data_dir: DATA.into(), listen: self.listen.clone() };
        let starting = env.tasks.spawn("start", Server::start(env.clone(), options, outside));
        let server = match starting.await.expect("starting does not panic") {
            Ok(server) => Some(server),
            Err(error) => {
                assert!(process.is_dead(), "the server does not start: {error:#}");
                None
            }
        };
        if let Some(server) = &server {
            drop(env.tasks.spawn("tend", tend(Arc::clone(&env.clock), server.store())));
        }
        self.living = Some(Living { process, tasks, server, state });
    }

    /// Returns whether there is a server, and it has not died.
    pub(crate) fn is_alive(&self) -> bool {
        self.living.as_ref().is_some_and(|living| living.server.is_some() && !living.process.is_dead())
    }

    /// Returns whether there is a process that died by itself.
    pub(crate) fn has_died(&self) -> bool {
        self.living.as_ref().is_some_and(|living| living.process.is_dead())
    }

    /// Returns the running process, for setting the moment of its death.
    pub(crate) fn process(&self) -> &Mortal {
        &self.living.as_ref().expect("it lives").process
    }

    async fn end(&mut self) {
        let Some(living) = self.living.take() else { return };
        living.process.die();
        living.tasks.pause(false);
        living.tasks.end();
        drop(living.server);
        // Aborted tasks are dropped when their turn comes.
        self.clock.sleep(Duration::from_millis(1)).await;
    }

    /// Ends the process as `kill -9` does: what was written stays.
    pub(crate) async fn kill(&mut self) {
        self.end().await;
        self.disk = self.disk.after_kill();
    }

    /// Ends the process and the machine: what was synced stays, and some of the rest.
    pub(crate) async fn cut_power(&mut self) {
        self.end().await;
        self.disk = self.disk.after_power_cut(self.random.next_u64());
    }

    /// Ends the process, or with `power` the machine.
    pub(crate) async fn die(&mut self, power: bool) {
        if power {
            self.cut_power().await;
        } else {
            self.kill().await;
        }
    }

    /// Stops the server in good order.
    pub(crate) async fn stop(&mut self) {
        if let Some(server) = self.living.as_mut().and_then(|living| living.server.take()) {
            server.stop().await;
        }
        self.end().await;
        self.disk = self.disk.after_kill();
    }

    /// Reads what alerting has kept, as the running process sees it.
    pub(crate) fn kept(&self) -> Option<Kept> {
        let state = self.living.as_ref()?.state.lock().expect("unpoisoned").clone()?;
        Some(persist::load(&*state).expect("readable"))
    }

    /// Returns how old the world is, in seconds.
    pub(crate) fn age(&self) -> f64 {
        self.clock.age_ms() as f64 / 1000.0
    }

    /// Waits.
    pub(crate) async fn wait(&self, seconds: f64) {
        self.clock.sleep(Duration::from_secs_f64(seconds)).await;
    }

    /// Waits until the world is that many seconds old.
    pub(crate) async fn until(&self, seconds: f64) {
        self.wait((seconds - self.age()).max(0.0)).await;
    }

    /// Asks the server; answers status and body. `None`: it was dead, or died before it answered.
    pub(crate) async fn ask(&self, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        clock.timeout(ANSWER_LIMIT, self.converse(method, path, body)).await.ok().flatten()
    }

    async fn converse(&self, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
        let network = self.internet.seen_by(None);
        let mut stream = network.connect(&self.listen).await.ok()?;
        let (length, host) = (body.len(), &self.listen);
        let head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
        let body = format!("Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}");
        stream.write_all(format!("{head}{body}").as_bytes()).await.ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok()?;
        // What a dead process says nobody hears.
        self.is_alive().then(|| http::status_and_body(&answer)).flatten()
    }

    /// Has the configuration read again; answers whether all of it was taken.
    pub(crate) async fn reload(&self) -> bool {
        self.ask("POST", "/-/reload", "").await.is_some_and(|(status, _)| status == 200)
    }

    /// Returns all mails that were taken.
    pub(crate) fn mails(&self) -> Vec<Taken> {
        self.mail.taken()
    }
}

fn empty_disk() -> CrashDisk {
    let disk = CrashDisk::new();
    for folder in ["/etc/watchkeeper", DATA] {
        disk.create_dir_all(Path::new(folder)).expect("an empty disk");
    }
    disk
}

/// Does what the store's threads would do.
async fn tend(clock: Arc<dyn Clock>, store: crate::storage::Store) {
    let mut last_cut = 0;
    for turn in 1_u64.. {
        clock.sleep(SYNC_EVERY).await;
        store.tend_log();
        if turn.is_multiple_of(KEEP_EVERY)
            && let Err(error) = store.tend(&mut last_cut)
        {
            tracing::warn!(error = &error as &dyn std::error::Error, "tending the store failed");
        }
    }
}
