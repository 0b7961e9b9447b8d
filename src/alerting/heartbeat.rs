//! A dead-man's switch: a sign of life to a URL or to a receiver, each so often, for as long as all is well here. Whoever gets it
//! raises the alarm when it stays away: this server cannot tell that it is dead.
//!
//! It is sent only where the rules are evaluated, the state can be written and this member is the one that tells people; else it
//! would be a lie. When a sign was last given is kept, so that a restart neither doubles nor delays a daily mail.

use super::alerts::StoredAlert;
use super::{AlertingHandle, http, setup};
use crate::config::Config;
use crate::config::alertmanager::Heartbeat;
use crate::env::Env;
use crate::model::labels::{ALERT_NAME, Labels};
use crate::state::State;
use crate::telemetry::metrics::Registry;
use serde_json::json;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How long a URL has to answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long after a failure another try is made, at most.
const AGAIN_MS: i64 = 30_000;
/// The name of the alert that stands in a mail.
pub const ALERT: &str = "WatchkeeperAlive";

/// Says what is wrong with this server; empty: all is well.
#[derive(Clone)]
pub struct Health(Arc<dyn Fn() -> Vec<String> + Send + Sync>);

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Health")
    }
}

impl Health {
    /// Returns one that asks this.
    pub fn new(ask: impl Fn() -> Vec<String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(ask))
    }
}

/// What giving signs of life needs.
#[derive(Clone, Debug)]
pub struct HeartbeatDeps {
    /// The world.
    pub env: Env,
    /// Tells receivers.
    pub alerting: AlertingHandle,
    /// Where it is kept when a sign was last given.
    pub state: Arc<dyn State>,
    /// Whether all is well.
    pub health: Health,
    /// Metrics.
    pub registry: Registry,
}

fn key(heartbeat: &Heartbeat) -> Vec<u8> {
    // A hash: the address may be a secret.
    let place = Labels::from_pairs([("url", heartbeat.url.reveal().as_str()), ("receiver", &heartbeat.receiver)]);
    format!("heartbeat/{:016x}", place.fingerprint()).into_bytes()
}

/// Gives signs of life as the configuration wants them, until the configuration's sender is gone.
pub async fn run(deps: HeartbeatDeps, mut config: watch::Receiver<Arc<Config>>) {
    loop {
        let present = Arc::clone(&config.borrow_and_update());
        let wanted = present.notifier().heartbeat.clone();
        let beating = futures_util::future::join_all(wanted.into_iter().map(|heartbeat| beat(&deps, heartbeat)));
        tokio::select! {
            changed = config.changed() => if changed.is_err() { return },
            _ = beating => if config.changed().await.is_err() { return },
        }
    }
}

/// Gives one kind of sign for ever.
async fn beat(deps: &HeartbeatDeps, heartbeat: Heartbeat) {
    let interval_ms = setup::ms(heartbeat.interval).max(1000);
    let key = key(&heartbeat);
    let (state, read) = (Arc::clone(&deps.state), key.clone());
    let kept = deps.env.tasks.blocking(move || state.get(&read)).await;
    let kept = kept.ok().and_then(Result::ok).flatten().and_then(|bytes| bytes.try_into().ok()).map(i64::from_le_bytes);
    let now_ms = deps.env.clock.now_ms();
    let mut next_ms = kept.filter(|last| *last <= now_ms).map_or(now_ms, |last| last.saturating_add(interval_ms));
    loop {
        deps.env.clock.sleep_until_ms(next_ms).await;
        let now_ms = deps.env.clock.now_ms();
        let outcome = sign(deps, &heartbeat, now_ms).await;
        let help = "Signs of life by outcome: `sent`, `failed`, or `withheld` because something is wrong here.";
        let word = match &outcome {
            Ok(true) => "sent",
            Ok(false) => "withheld",
            Err(_) => "failed",
        };
        deps.registry.counter("watchkeeper_heartbeats_total", help, &[("outcome", word)]).inc();
        match outcome {
            Ok(true) => {
                next_ms = now_ms.saturating_add(interval_ms);
                let (state, key) = (Arc::clone(&deps.state), key.clone());
                let kept = deps.env.tasks.blocking(move || state.put(&key, &now_ms.to_le_bytes())).await;
                if !matches!(kept, Ok(Ok(()))) {
                    tracing::warn!("when a sign of life was last given could not be kept");
                }
            }
            Ok(false) => next_ms = now_ms.saturating_add(interval_ms.min(AGAIN_MS)),
            Err(error) => {
                tracing::warn!(error, "a sign of life could not be given");
                next_ms = now_ms.saturating_add(interval_ms.min(AGAIN_MS));
            }
        }
    }
}

/// Gives a sign; `Ok(false)`: not now, something is wrong here or another member tells.
async fn sign(deps: &HeartbeatDeps, heartbeat: &Heartbeat, now_ms: i64) -> Result<bool, String> {
    if !deps.alerting.view().may_send {
        return Ok(false);
    }
    let wrong = (deps.health.0)();
    if !wrong.is_empty() {
        tracing::warn!(wrong = wrong.join("; "), "no sign of life is given");
        return Ok(false);
    }
    if !heartbeat.url.is_empty() {
        let body = json!({"server": deps.env.host_name(), "at": super::notify::webhook::rfc3339(Some(now_ms))});
        let url = heartbeat.url.reveal().as_str();
        let posting = http::post(&deps.env, &heartbeat.http_config, url, Default::default(), body.to_string().into_bytes());
        let posted = deps.env.clock.timeout(PATIENCE, posting).await.map_err(|elapsed| elapsed.to_string())?;
        // The address may hold a token.
        let answer = posted.map_err(|words| words.replace(url, "<url>"))?;
        if !(200..300).contains(&answer.status) {
            return Err(format!("status code {}: {}", answer.status, answer.body.chars().take(300).collect::<String>()));
        }
    }
    if !heartbeat.receiver.is_empty() {
        let every = crate::model::duration::format_ms(setup::ms(heartbeat.interval));
        let labels = Labels::from_pairs([(ALERT_NAME, ALERT), ("instance", &deps.env.host_name())]);
        let texts = [
            ("summary", "All is well: this is a sign of life.".to_owned()),
            ("description", format!("It comes every {every}. When it stays away, the monitoring itself is in trouble.")),
        ];
        let texts = Labels::from_pairs(texts.iter().map(|(name, text)| (*name, text.as_str())));
        let alert = StoredAlert::direct(now_ms, labels, texts);
        let told = deps.alerting.tell_directly(&heartbeat.receiver, alert, "sign of life").await;
        told.map_err(|stopped| stopped.to_string())??;
    }
    Ok(true)
}
