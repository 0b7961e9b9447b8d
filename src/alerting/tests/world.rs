//! Alerting in a made-up world: paused clock, disk and state in memory, a mail server that may misbehave.

use crate::alerting::notify::chart::ChartFeed;
use crate::alerting::{Alerting, AlertingDeps, AlertingHandle};
use crate::config::{Config, load_alertmanager};
use crate::env::clock::{Clock, TokioClock};
use crate::env::memory_disk::MemoryDisk;
use crate::env::network::Network;
use crate::env::random::SeededRandom;
use crate::env::{Env, Tasks};
use crate::model::alert::Alert;
use crate::model::labels::Labels;
use crate::sim::mail::{MailServer, Taken};
use crate::state::State;
use crate::state::memory::MemoryState;
use crate::telemetry::metrics::Registry;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::watch;

/// When the world begins: 14 November 2023, a Tuesday, 22:13:20 UTC.
pub(super) const BEGIN_MS: i64 = 1_700_000_000_000;

pub(super) struct World {
    pub(super) env: Env,
    pub(super) mail: MailServer,
    pub(super) state: Arc<dyn State>,
    pub(super) registry: Registry,
    pub(super) config: watch::Sender<Arc<Config>>,
    pub(super) may_send: watch::Sender<bool>,
    pub(super) alerting: AlertingHandle,
    charts: ChartFeed,
}

/// Makes a configuration of an alertmanager.yml's text.
pub(super) fn config(yaml: &str) -> Arc<Config> {
    let section = load_alertmanager(Path::new("alertmanager.yml"), yaml).unwrap_or_else(|error| panic!("{error}"));
    let mut config = Config::without_file();
    config.alertmanager = Some(Arc::new(section));
    Arc::new(config)
}

/// One receiver by mail, timed for tests; `more` are lines of the route.
pub(super) fn simple(more: &str) -> Arc<Config> {
    config(&format!(
        r"
global:
  smtp_smarthost: mail.example.org:25
  smtp_from: watch@example.org
  smtp_require_tls: false
route:
  receiver: ops
  group_by: [alertname]
  group_wait: 2s
  group_interval: 4s
  repeat_interval: 1h
  {more}
receivers:
- name: ops
  email_configs:
  - to: ops@example.org
    send_resolved: true
"
    ))
}

impl World {
    pub(super) async fn start(config: Arc<Config>) -> Self {
        Self::start_in(config, None).await
    }

    /// Starts in a network that has no mail server.
    pub(super) async fn start_in(config: Arc<Config>, network: Option<Arc<dyn Network>>) -> Self {
        Self::start_with(config, network, ChartFeed::none()).await
    }

    /// Starts where something is known about the values behind alerts.
    pub(super) async fn start_with(config: Arc<Config>, network: Option<Arc<dyn Network>>, charts: ChartFeed) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(TokioClock::starting_at(BEGIN_MS));
        let mail = MailServer::new(&clock);
        let env = Env {
            clock,
            random: Arc::new(SeededRandom::new(7)),
            disk: Arc::new(MemoryDisk::new()),
            network: network.unwrap_or_else(|| Arc::new(mail.clone())),
            tasks: Tasks::new(),
        };
        let state: Arc<dyn State> = Arc::new(MemoryState::new());
        let (config, may_send) = (watch::Sender::new(config), watch::Sender::new(true));
        let registry = Registry::new();
        let alerting = Self::alerting(&env, &state, &registry, &config, &may_send, &charts).await;
        Self { env, mail, state, registry, config, may_send, alerting, charts }
    }

    async fn alerting(
        env: &Env,
        state: &Arc<dyn State>,
        registry: &Registry,
        config: &watch::Sender<Arc<Config>>,
        may_send: &watch::Sender<bool>,
        charts: &ChartFeed,
    ) -> AlertingHandle {
        let deps = AlertingDeps {
            env: env.clone(),
            state: Arc::clone(state),
            registry: registry.clone(),
            external_url: "https://watch.example.org".to_owned(),
            may_send: may_send.subscribe(),
            fence: Arc::new(crate::alerting::fence::Alone),
            outbox_dir: "/data/outbox".into(),
            on_change: Arc::new(|_| {}),
            charts: charts.clone(),
        };
        Alerting::start(deps, config.subscribe()).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Dies as by `kill -9` and comes back with the same state. The old tasks cannot be killed within one process: the old
    /// world's state is a copy that nobody reads any more.
    pub(super) async fn crash(&mut self) {
        let copy = MemoryState::new();
        for (key, value) in self.state.scan(b"").expect("readable") {
            copy.put(&key, &value).expect("writable");
        }
        self.may_send.send_replace(false);
        self.alerting.stop().await;
        self.may_send = watch::Sender::new(true);
        self.state = Arc::new(copy);
        self.alerting = Self::alerting(&self.env, &self.state, &self.registry, &self.config, &self.may_send, &self.charts).await;
    }

    /// Stops in good order and starts again.
    pub(super) async fn restart(&mut self) {
        self.alerting.stop().await;
        self.alerting = Self::alerting(&self.env, &self.state, &self.registry, &self.config, &self.may_send, &self.charts).await;
    }

    /// Waits until the world is that many seconds old.
    pub(super) async fn until(&self, seconds: f64) {
        self.env.clock.sleep_until_ms(BEGIN_MS + (seconds * 1000.0) as i64).await;
    }

    pub(super) async fn fire(&self, name: &str, instance: &str) {
        self.post(name, instance, None).await;
    }

    pub(super) async fn resolve(&self, name: &str, instance: &str) {
        self.post(name, instance, Some(self.env.clock.now_ms())).await;
    }

    async fn post(&self, name: &str, instance: &str, ends_at_ms: Option<i64>) {
        let alert = Alert {
            labels: Labels::from_pairs([("alertname", name), ("instance", instance), ("severity", "critical")]),
            annotations: Labels::from_pairs([("summary", "something is wrong")]),
            starts_at_ms: self.env.clock.now_ms(),
            ends_at_ms,
            updated_at_ms: self.env.clock.now_ms(),
            generator_url: String::new(),
            value: Some(42.5),
        };
        assert_eq!(self.alerting.post(vec![alert]).await, Ok(Vec::new()));
    }

    /// Returns `(seconds since the beginning, subject)` of each mail that was taken.
    pub(super) fn mails(&self) -> Vec<(f64, String)> {
        let mail = |mail: &Taken| ((mail.at_ms - BEGIN_MS) as f64 / 1000.0, mail.header("Subject"));
        self.mail.taken().iter().map(mail).collect()
    }

    /// Wants these mails and no others: `(from, to, words of the subject)`, times in seconds.
    pub(super) fn want(&self, wanted: &[(f64, f64, &[&str])]) {
        let mails = self.mails();
        assert_eq!(mails.len(), wanted.len(), "{mails:?}");
        for ((at, subject), (from, to, words)) in mails.iter().zip(wanted) {
            assert!((*from..=*to).contains(at), "{subject} at {at}, wanted between {from} and {to}: {mails:?}");
            assert!(words.iter().all(|word| subject.contains(word)), "{subject} lacks one of {words:?}");
        }
    }
}
