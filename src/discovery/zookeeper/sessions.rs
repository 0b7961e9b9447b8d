//! Sessions with the ensembles that discovery reads: one for each, however many jobs read it.

use crate::config::http_client::TlsConfig;
use crate::config::zookeeper::{ZooKeeperAuth, ZooKeeperConfig};
use crate::env::Env;
use crate::telemetry::metrics::Registry;
use crate::zookeeper::{self, Connector, Link, Options};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// An ensemble and how it is reached.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::discovery) struct Ensemble {
    /// `host:port,host:port/chroot`.
    pub(in crate::discovery) connect: String,
    auth: Option<ZooKeeperAuth>,
    tls: Option<TlsConfig>,
    timeout: Duration,
}

impl Ensemble {
    /// Returns the one of these servers, else `ours`; `None` where there is neither.
    pub(super) fn of(servers: &[String], timeout: Duration, ours: Option<&ZooKeeperConfig>) -> Option<Self> {
        if servers.is_empty() {
            let ours = ours?;
            return Some(Self { connect: ours.connect.clone(), auth: ours.auth.clone(), tls: ours.tls.clone(), timeout });
        }
        Some(Self { connect: servers.join(","), auth: None, tls: None, timeout })
    }

    async fn options(&self, env: &Env) -> Result<Options, String> {
        let digest = match &self.auth {
            None => None,
            Some(auth) if !auth.digest.is_empty() => Some(auth.digest.reveal().to_owned()),
            Some(auth) => {
                let (world, path) = (env.clone(), auth.digest_file.path().to_owned());
                let wrong = format!("zookeeper.auth.digest_file {}", path.display());
                let read =
                    env.tasks.blocking(move || world.disk.read(&path)).await.map_err(|error| format!("{wrong}: {error}"))?;
                let bytes = read.map_err(|error| format!("{wrong}: {error}"))?;
                Some(String::from_utf8_lossy(&bytes).trim().to_owned())
            }
        };
        Ok(Options {
            connect: self.connect.clone(),
            root: String::new(),
            session_timeout: self.timeout,
            digest,
            tls: self.tls.as_ref().map(zookeeper::Tls::from_config),
            unread: Vec::new(),
            is_foreign: true,
        })
    }
}

/// All sessions of discovery. Cheap to clone.
#[derive(Clone)]
pub(in crate::discovery) struct Sessions(Arc<Shared>);

struct Shared {
    env: Env,
    connector: Arc<dyn Connector>,
    registry: Registry,
    held: Mutex<Vec<Held>>,
}

struct Held {
    ensemble: Ensemble,
    link: Link,
    /// Root -> how many sources read it.
    wanted: BTreeMap<String, usize>,
    roots: watch::Sender<BTreeSet<String>>,
}

/// A source's share in a session, which ends with the last one.
pub(super) struct Subscription {
    sessions: Sessions,
    ensemble: Ensemble,
    roots: Vec<String>,
    pub(super) link: Link,
}

impl Sessions {
    pub(in crate::discovery) fn new(env: &Env, connector: Arc<dyn Connector>, registry: &Registry) -> Self {
        Self(Arc::new(Shared { env: env.clone(), connector, registry: registry.clone(), held: Mutex::default() }))
    }

    fn held(&self) -> MutexGuard<'_, Vec<Held>> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins the session with an ensemble, or starts it.
    ///
    /// # Errors
    /// When the file of the password cannot be read; everything else is the session's to try again.
    pub(super) async fn subscribe(&self, ensemble: &Ensemble, roots: &[String]) -> Result<Subscription, String> {
        let shared = &self.0;
        let options = ensemble.options(&shared.env).await?;
        let mut all = self.held();
        let place = all.iter().position(|held| held.ensemble == *ensemble);
        let place = place.unwrap_or_else(|| {
            let (sender, receiver) = watch::channel(roots.iter().cloned().collect());
            let connector = Arc::clone(&shared.connector);
            let (link, task) = zookeeper::start_foreign(&shared.env, connector, options, receiver, &shared.registry);
            drop(task);
            all.push(Held { ensemble: ensemble.clone(), link, wanted: BTreeMap::new(), roots: sender });
            all.len() - 1
        });
        let Some(held) = all.get_mut(place) else { return Err("the session was lost".to_owned()) };
        for root in roots {
            *held.wanted.entry(root.clone()).or_insert(0) += 1;
        }
        held.say_roots();
        let link = held.link.clone();
        Ok(Subscription { sessions: self.clone(), ensemble: ensemble.clone(), roots: roots.to_vec(), link })
    }

    /// Returns how many sessions there are.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.held().len()
    }
}

impl Held {
    fn say_roots(&self) {
        let now: BTreeSet<String> = self.wanted.keys().cloned().collect();
        self.roots.send_if_modified(|said| {
            let differs = *said != now;
            *said = now;
            differs
        });
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut all = self.sessions.held();
        let Some(place) = all.iter().position(|held| held.ensemble == self.ensemble) else { return };
        if let Some(held) = all.get_mut(place) {
            for root in &self.roots {
                if let Some(count) = held.wanted.get_mut(root) {
                    *count -= 1;
                }
            }
            held.wanted.retain(|_, count| *count > 0);
            if held.wanted.is_empty() {
                held.link.stop();
                all.swap_remove(place);
            } else {
                held.say_roots();
            }
        }
    }
}
