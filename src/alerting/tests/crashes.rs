//! The process dies, or the power, at every single step that a notification makes on the disk: never lost, and doubled only
//! with the same Message-Id.

use super::world::{BEGIN_MS, simple};
use crate::alerting::history::RecordState;
use crate::alerting::{Alerting, AlertingDeps, AlertingHandle, persist};
use crate::config::Config;
use crate::env::clock::{Clock, TokioClock};
use crate::env::crash_disk::CrashDisk;
use crate::env::random::SeededRandom;
use crate::env::{Disk as _, Env, Tasks};
use crate::model::alert::Alert;
use crate::model::labels::Labels;
use crate::sim::mail::MailServer;
use crate::sim::state::DiskState;
use crate::state::State;
use crate::telemetry::metrics::Registry;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::watch;

const OUTBOX: &str = "/data/outbox";

/// From a start to a death.
struct Life {
    env: Env,
    disk: CrashDisk,
    state: Arc<DiskState>,
    alerting: AlertingHandle,
    /// Dropped with the life.
    _inputs: (watch::Sender<Arc<Config>>, watch::Sender<bool>),
}

impl Life {
    async fn begin(clock: &Arc<dyn Clock>, mail: &MailServer, disk: CrashDisk, config: &Arc<Config>) -> Self {
        let env = Env {
            clock: Arc::clone(clock),
            random: Arc::new(SeededRandom::new(7)),
            disk: Arc::new(disk.clone()),
            network: Arc::new(mail.seen_from(&disk)),
            tasks: Tasks::new(),
        };
        let state = Arc::new(DiskState::open(&disk, Path::new("/data")));
        let inputs = (watch::Sender::new(Arc::clone(config)), watch::Sender::new(true));
        let deps = AlertingDeps {
            env: env.clone(),
            state: Arc::clone(&state) as Arc<dyn State>,
            registry: Registry::new(),
            external_url: "https://watch.example.org".to_owned(),
            may_send: inputs.1.subscribe(),
            fence: Arc::new(crate::alerting::fence::Alone),
            outbox_dir: OUTBOX.into(),
            on_change: Arc::new(|_| {}),
            charts: crate::alerting::notify::chart::ChartFeed::none(),
        };
        let alerting = Alerting::start(deps, inputs.0.subscribe()).await.expect("starts");
        Self { env, disk, state, alerting, _inputs: inputs }
    }

    async fn post(&self, fires: bool) {
        let now_ms = self.env.clock.now_ms();
        let alert = Alert {
            labels: Labels::from_pairs([("alertname", "Down"), ("instance", "a")]),
            annotations: Labels::empty(),
            starts_at_ms: BEGIN_MS,
            ends_at_ms: (!fires).then_some(now_ms),
            updated_at_ms: now_ms,
            generator_url: String::new(),
            value: Some(1.0),
        };
        self.alerting.post(vec![alert]).await.expect("taken");
    }

    async fn wait(&self, seconds: u64) {
        self.env.clock.sleep(std::time::Duration::from_secs(seconds)).await;
    }

    fn was_going_out(&self) -> bool {
        !persist::load(&*self.state).expect("readable").intents.is_empty()
    }

    /// Returns what lies in the outbox: names, and the texts of mails.
    fn outbox(&self) -> (Vec<String>, Vec<String>) {
        let Ok(entries) = self.disk.list(Path::new(OUTBOX)) else { return Default::default() };
        let names: Vec<String> = entries.into_iter().map(|entry| entry.name).collect();
        let mails = names.iter().filter(|name| name.ends_with(".eml"));
        let text = |name: &String| {
            let bytes = self.disk.read(&Path::new(OUTBOX).join(name)).expect("readable");
            String::from_utf8_lossy(&bytes).into_owned()
        };
        (names.clone(), mails.map(text).collect())
    }
}

fn header(mail: &str, name: &str) -> String {
    let line = mail.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    line.unwrap_or("").to_owned()
}

/// How a life ends, and what happens to the alert meanwhile.
#[derive(Clone, Copy, Debug)]
struct End {
    /// After so many changes on the disk.
    after: u64,
    /// By a power cut with this seed, or else by `kill -9`.
    power_cut: Option<u64>,
    /// Whether the alert still fires in the second life.
    fires_on: bool,
}

/// Lives twice and checks; returns whether the first life died before its end.
async fn two_lives(config: &Arc<Config>, end: End) -> bool {
    let clock: Arc<dyn Clock> = Arc::new(TokioClock::starting_at(BEGIN_MS));
    let mail = MailServer::new(&clock);
    let first = Life::begin(&clock, &mail, CrashDisk::new(), config).await;
    first.disk.stop_after(end.after);
    first.post(true).await;
    first.wait(20).await;
    let died = first.disk.is_off();
    let disk = match end.power_cut {
        Some(seed) => first.disk.after_power_cut(seed),
        None => first.disk.after_kill(),
    };
    // A process that is dead does nothing more.
    first.disk.stop_after(0);

    let second = Life::begin(&clock, &mail, disk, config).await;
    let was_going_out = second.was_going_out();
    second.post(end.fires_on).await;
    second.wait(60).await;

    let (names, kept) = second.outbox();
    assert!(names.iter().all(|name| !name.ends_with(".tmp")), "{end:?}: {names:?}");
    let sent: Vec<String> = mail.taken().into_iter().map(|taken| taken.text).collect();
    let told: Vec<&String> = if config.alertmanager.is_some() { sent.iter().collect() } else { kept.iter().collect() };
    let firing: Vec<&&String> = told.iter().filter(|mail| header(mail, "Subject").contains("FIRING")).collect();
    if end.fires_on || was_going_out {
        assert!(!told.is_empty(), "{end:?}: nobody was told");
    }
    if end.fires_on {
        assert!(!firing.is_empty(), "{end:?}: {told:?}");
    }
    let ids: BTreeSet<String> = firing.iter().map(|mail| header(mail, "Message-Id")).collect();
    assert!(ids.len() <= 1 && firing.len() <= 2, "{end:?}: {} mails, {ids:?}", firing.len());
    if !died {
        assert_eq!(firing.len(), 1, "{end:?}: told twice without a crash");
    }
    let view = second.alerting.view();
    let open = view.history.iter().filter(|record| !matches!(record.state, RecordState::Sent | RecordState::NotSent));
    assert_eq!(open.count(), 0, "{end:?}: {:?}", view.history);
    assert!(!second.was_going_out(), "{end:?}: an intent is left");
    second.disk.stop_after(0);
    died
}

async fn dies_at_every_step(config: Arc<Config>) {
    for fires_on in [true, false] {
        for power_cut in [None, Some(1), Some(2)] {
            let mut after = 0;
            while two_lives(&config, End { after, power_cut, fires_on }).await {
                after += 1;
            }
            assert!(after > 5, "a notification takes more steps than {after}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_mail_into_the_outbox_survives_a_death_at_every_step() {
    dies_at_every_step(Arc::new(Config::without_file())).await;
}

#[tokio::test(start_paused = true)]
async fn a_mail_to_a_server_survives_a_death_at_every_step() {
    dies_at_every_step(simple("")).await;
}
