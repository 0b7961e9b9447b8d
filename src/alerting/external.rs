//! External Alertmanagers: each gets every alert, posted as Prometheus posts them.
//!
//! What waits for one is kept by alert, and the newest word about it counts: one that is away for long costs no more memory than
//! there are alerts, and hears how things stand when it is back. What could not be posted is tried again after growing pauses.
//! Nothing is kept on disk: rules repeat what fires, and what has ended for a quarter of an hour.

use super::http;
use super::notify::webhook::rfc3339;
use super::persist::labels_json;
use crate::config::Config;
use crate::config::HttpClientConfig;
use crate::env::Env;
use crate::model::alert::Alert;
use crate::model::labels::LabelsBuilder;
use crate::model::relabel::{self, RelabelConfig};
use crate::telemetry::metrics::{Gauge, Registry};
use ::http::HeaderMap;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// The most alerts in one post.
const BATCH_MAX: usize = 256;
/// The most alerts that wait for one Alertmanager.
pub const WAITING_MAX: usize = 10_000;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// One Alertmanager.
#[derive(Clone, Debug, PartialEq)]
pub struct Destination {
    /// Where alerts are posted: `http://host:9093/api/v2/alerts`.
    pub url: String,
    /// How.
    pub http: HttpClientConfig,
    /// How long a post may take.
    pub timeout: Duration,
    /// What is done to the labels of alerts on their way there.
    pub relabel: Vec<RelabelConfig>,
}

/// All of them. Cheap to clone.
#[derive(Clone)]
pub struct External {
    env: Env,
    registry: Registry,
    outlets: Arc<Mutex<Vec<Arc<Outlet>>>>,
    discovered: Gauge,
}

impl fmt::Debug for External {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("External").field("urls", &self.urls()).finish_non_exhaustive()
    }
}

struct Outlet {
    destination: Destination,
    waiting: Mutex<BTreeMap<u64, Alert>>,
    news: Notify,
    is_gone: AtomicBool,
}

impl Outlet {
    fn waiting(&self) -> MutexGuard<'_, BTreeMap<u64, Alert>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Vec<Alert> {
        let mut waiting = self.waiting();
        std::iter::from_fn(|| waiting.pop_first()).take(BATCH_MAX).map(|(_, alert)| alert).collect()
    }
}

fn body(alerts: &[Alert]) -> Vec<u8> {
    let one = |alert: &Alert| {
        json!({
            "labels": labels_json(&alert.labels),
            "annotations": labels_json(&alert.annotations),
            "startsAt": rfc3339(Some(alert.starts_at_ms)),
            "endsAt": rfc3339(alert.ends_at_ms),
            "generatorURL": alert.generator_url,
        })
    };
    alerts.iter().map(one).collect::<Value>().to_string().into_bytes()
}

impl External {
    /// Starts without any.
    #[must_use]
    pub fn new(env: &Env, registry: &Registry) -> Self {
        let help = "The number of alertmanagers discovered and active.";
        let discovered = registry.gauge("watchkeeper_notifications_alertmanagers_discovered", help, &[]);
        Self { env: env.clone(), registry: registry.clone(), outlets: Arc::default(), discovered }
    }

    fn outlets(&self) -> MutexGuard<'_, Vec<Arc<Outlet>>> {
        self.outlets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, name: &str, help: &'static str, url: &str, count: usize) {
        self.registry.counter(name, help, &[("alertmanager", url)]).add(count as u64);
    }

    fn count_sent(&self, url: &str, count: usize) {
        self.count("watchkeeper_notifications_sent_total", "Total number of alerts sent.", url, count);
    }

    fn count_errors(&self, url: &str, count: usize) {
        let help = "Total number of sent alerts affected by errors.";
        self.count("watchkeeper_notifications_errors_total", help, url, count);
    }

    fn count_dropped(&self, url: &str, count: usize) {
        let help = "Total number of alerts dropped because too many wait for this Alertmanager.";
        self.count("watchkeeper_notifications_dropped_total", help, url, count);
    }

    /// Makes these the ones that alerts go to. What waits for one that stays goes on waiting.
    pub fn set(&self, destinations: Vec<Destination>) {
        let mut outlets = self.outlets();
        let mut before = std::mem::take(&mut *outlets);
        for destination in destinations {
            if outlets.iter().any(|outlet| outlet.destination.url == destination.url) {
                continue;
            }
            if let Some(place) = before.iter().position(|outlet| outlet.destination == destination) {
                outlets.push(before.swap_remove(place));
                continue;
            }
            tracing::info!(url = destination.url, "alerts are posted to this Alertmanager, too");
            self.count_sent(&destination.url, 0);
            self.count_errors(&destination.url, 0);
            self.count_dropped(&destination.url, 0);
            let (news, is_gone) = (Notify::new(), AtomicBool::new(false));
            let outlet = Arc::new(Outlet { destination, waiting: Mutex::default(), news, is_gone });
            outlets.push(Arc::clone(&outlet));
            drop(self.env.tasks.spawn("external alertmanager", self.clone().run(outlet)));
        }
        for gone in before {
            gone.is_gone.store(true, Ordering::Relaxed);
            gone.news.notify_one();
        }
        self.discovered.set(outlets.len() as f64);
    }

    /// Lists where alerts go.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        self.outlets().iter().map(|outlet| outlet.destination.url.clone()).collect()
    }

    /// Hands alerts on; does not wait.
    pub fn send(&self, alerts: &[Alert]) {
        for outlet in self.outlets().iter() {
            let mut dropped = 0;
            {
                let mut waiting = outlet.waiting();
                for alert in alerts {
                    let Some(alert) = relabelled(&outlet.destination.relabel, alert.clone()) else { continue };
                    let fingerprint = alert.fingerprint();
                    if waiting.len() >= WAITING_MAX && !waiting.contains_key(&fingerprint) {
                        dropped += 1;
                    } else {
                        waiting.insert(fingerprint, alert);
                    }
                }
            }
            if dropped > 0 {
                self.count_dropped(&outlet.destination.url, dropped);
            }
            outlet.news.notify_one();
        }
    }

    async fn run(self, outlet: Arc<Outlet>) {
        let url = outlet.destination.url.clone();
        let mut pause = FIRST_PAUSE;
        while !outlet.is_gone.load(Ordering::Relaxed) {
            let alerts = outlet.take();
            if alerts.is_empty() {
                outlet.news.notified().await;
                continue;
            }
            match self.post(&outlet.destination, &alerts).await {
                Ok(()) => {
                    self.count_sent(&url, alerts.len());
                    pause = FIRST_PAUSE;
                }
                Err(words) => {
                    tracing::error!(url, count = alerts.len(), error = words, "alerts could not be posted; trying again");
                    self.count_errors(&url, alerts.len());
                    {
                        let mut waiting = outlet.waiting();
                        for alert in alerts {
                            waiting.entry(alert.fingerprint()).or_insert(alert);
                        }
                    }
                    self.env.clock.sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    async fn post(&self, to: &Destination, alerts: &[Alert]) -> Result<(), String> {
        let posting = http::post(&self.env, &to.http, &to.url, HeaderMap::new(), body(alerts));
        let answer = self.env.clock.timeout(to.timeout, posting).await.map_err(|elapsed| elapsed.to_string())??;
        let text: String = answer.body.chars().take(300).collect();
        if (200..300).contains(&answer.status) { Ok(()) } else { Err(format!("status code {}: {text}", answer.status)) }
    }
}

/// Adds the labels of this server, as far as the alert has none of that name, and relabels; `None`: the alert goes no further.
#[must_use]
pub fn labelled(config: &Config, alert: Alert) -> Option<Alert> {
    let external = &config.global.external_labels;
    let alert = if external.is_empty() {
        alert
    } else {
        let mut labels = LabelsBuilder::from(&alert.labels);
        for (name, value) in external.iter().filter(|(name, _)| !alert.labels.has(name)) {
            labels.set(name, value);
        }
        Alert { labels: labels.build(), ..alert }
    };
    relabelled(&config.alerting.alert_relabel_configs, alert)
}

/// Gives an alert the labels that rules make of its own; `None`: it goes no further.
#[must_use]
pub fn relabelled(rules: &[RelabelConfig], alert: Alert) -> Option<Alert> {
    if rules.is_empty() {
        return Some(alert);
    }
    let mut labels = LabelsBuilder::from(&alert.labels);
    let is_kept = relabel::apply(rules, &mut labels);
    let labels = labels.build();
    if is_kept && !labels.is_empty() { Some(Alert { labels, ..alert }) } else { None }
}
