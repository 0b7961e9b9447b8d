//! This server as one of several: who tells people, what the others must know, and who the members are.
//!
//! Four tasks: the election ([`crate::cluster::leadership`]), the copy of what is shared ([`shared`]), our entry among the
//! members ([`member`]), and who scrapes what ([`sharing`]). Alerting asks the [`fence`] before each message.

mod fence;
mod kept;
mod member;
mod own_scrapes;
mod peers;
mod shared;
mod sharing;

use super::shutdown;
use super::zookeeper_link::ZooKeeperLink;
use crate::alerting::fence::{Alone, Fence};
use crate::alerting::{AlertingHandle, ChangeSink};
use crate::api::{MembersWrite, RoleAnswer};
use crate::cluster::leadership::{self, Leadership, LeadershipDeps, Me, Role, Standing};
use crate::cluster::overlay::OverlayView;
use crate::cluster::peers::Answer;
use crate::cluster::secret::Secret;
use crate::config::Config;
use crate::env::Env;
use crate::env::tasks::TaskHandle;
use crate::rules::RulesHandle;
use crate::state::{Change, State};
use crate::storage::append::Append;
use crate::telemetry::metrics::Registry;
use crate::zookeeper::SessionStatus;
use anyhow::Context as _;
use fence::ClusterFence;
use kept::Kept;
pub(super) use sharing::Sharing;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::watch;

/// Names this data directory among those of all members.
const INSTANCE: &[u8] = b"cluster/instance";

/// What is there before alerting starts.
pub(super) struct Cluster {
    env: Env,
    me: Me,
    secret: Option<Secret>,
    kept: Arc<Kept>,
    alerting: Arc<OnceLock<AlertingHandle>>,
    leadership: Arc<OnceLock<Leadership>>,
    may_send: watch::Sender<bool>,
    fence: Arc<dyn Fence>,
    has_others: bool,
}

/// What taking part needs of the rest.
pub(super) struct Parts<'a> {
    /// The rules, as they run.
    pub(super) rules: &'a RulesHandle,
    /// The configuration in ZooKeeper, as it is in force.
    pub(super) overlay: watch::Receiver<Arc<OverlayView>>,
    /// What the other members dial.
    pub(super) address: &'a str,
    /// Where the others are remembered.
    pub(super) state: &'a Arc<dyn State>,
    /// For its metrics.
    pub(super) registry: &'a Registry,
}

/// What runs.
pub(super) struct Running {
    leadership: Leadership,
    tasks: Vec<TaskHandle<()>>,
}

impl Running {
    /// Takes no part any more: the next one may lead as soon as the session is closed.
    pub(super) async fn stop(self, env: &Env) {
        self.leadership.stop();
        let tasks = self.tasks;
        shutdown::phase(env, "cluster", Duration::from_millis(500), async {
            for task in tasks {
                task.abort();
            }
        })
        .await;
    }

    /// Where this member stands.
    pub(super) fn standing(&self) -> watch::Receiver<Standing> {
        self.leadership.standing.clone()
    }
}

fn instance(env: &Env, state: &dyn State) -> anyhow::Result<String> {
    if let Some(known) = state.get(INSTANCE)?.and_then(|bytes| String::from_utf8(bytes).ok()) {
        return Ok(known);
    }
    let made = env.random.uuid();
    state.apply(&[Change::Put(INSTANCE.to_vec(), made.clone().into_bytes())])?;
    state.sync()?;
    Ok(made)
}

fn secret(env: &Env, config: &Config) -> anyhow::Result<Option<Secret>> {
    let file = &config.cluster.secret_file;
    if file.is_empty() {
        return Ok(None);
    }
    let path = file.path();
    let content = env.disk.read(path).with_context(|| format!("cluster.secret_file {}", path.display()))?;
    Secret::new(&content).with_context(|| format!("cluster.secret_file {} is empty", path.display())).map(Some)
}

/// Returns what the other members dial: what the configuration says, else the listen address.
pub(super) fn address(env: &Env, config: &Config, listen: &str) -> String {
    if !config.cluster.advertise.is_empty() {
        return config.cluster.advertise.clone();
    }
    match listen.parse::<SocketAddr>() {
        // Nobody can dial «everywhere».
        Ok(address) if address.ip().is_unspecified() => format!("{}:{}", env.host_name(), address.port()),
        _ => listen.to_owned(),
    }
}

/// Returns the id of this member: what the configuration says, else host name and port.
fn member_id(env: &Env, config: &Config, listen: &str) -> String {
    if !config.cluster.name.is_empty() {
        return config.cluster.name.clone();
    }
    let port = listen.rsplit(':').next().unwrap_or_default();
    format!("{}:{port}", env.host_name())
}

impl Cluster {
    /// Prepares; without ZooKeeper this member is alone and tells people.
    ///
    /// # Errors
    /// When the secret or the state cannot be read.
    pub(super) async fn prepare(
        env: &Env,
        config: &Config,
        listen: &str,
        state: &Arc<dyn State>,
        zookeeper: Option<&ZooKeeperLink>,
    ) -> anyhow::Result<Self> {
        let (reading, world) = (Arc::clone(state), env.clone());
        let read = move || anyhow::Ok((instance(&world, &*reading)?, Kept::load(&*reading)?));
        let (instance, kept) = env.tasks.blocking(read).await??;
        let me = Me { id: member_id(env, config, listen), instance };
        let (kept, alerting, leadership) = (Arc::new(kept), Arc::new(OnceLock::new()), Arc::new(OnceLock::new()));
        let fence: Arc<dyn Fence> = match zookeeper {
            None => Arc::new(Alone),
            Some(zookeeper) => Arc::new(ClusterFence {
                env: env.clone(),
                link: zookeeper.link.clone(),
                root: zookeeper.root.clone(),
                me: me.clone(),
                kept: Arc::clone(&kept),
                alerting: Arc::clone(&alerting),
                leadership: Arc::clone(&leadership),
            }),
        };
        let (has_others, secret) = (zookeeper.is_some(), secret(env, config)?);
        // With ZooKeeper somebody has to be elected first.
        let may_send = watch::Sender::new(!has_others);
        Ok(Self { env: env.clone(), me, secret, kept, alerting, leadership, may_send, fence, has_others })
    }

    /// Begins to share the targets, where the members do. Before anything is scraped or sent on.
    pub(super) async fn share(
        &self,
        config: &Config,
        zookeeper: Option<&ZooKeeperLink>,
        state: &Arc<dyn State>,
        store: Arc<dyn Append>,
    ) -> Sharing {
        Sharing::start(&self.env, config, &self.me.id, self.secret.as_ref(), zookeeper, state, store).await
    }

    /// Says whether a write comes from another member: by the header's signature of the body.
    pub(super) fn write_check(&self) -> MembersWrite {
        let (env, secret) = (self.env.clone(), self.secret.clone());
        Arc::new(move |header, body| {
            let now_ms = env.clock.now_ms();
            secret.as_ref().is_some_and(|secret| secret.check_request(header, sharing::WRITE_PATH, now_ms, body).is_some())
        })
    }

    /// Returns this member's id.
    pub(super) fn id(&self) -> String {
        self.me.id.clone()
    }

    pub(super) fn may_send(&self) -> watch::Receiver<bool> {
        self.may_send.subscribe()
    }

    pub(super) fn fence(&self) -> Arc<dyn Fence> {
        Arc::clone(&self.fence)
    }

    /// Hears of what alerting keeps.
    pub(super) fn sink(&self) -> ChangeSink {
        let (kept, has_others) = (Arc::clone(&self.kept), self.has_others);
        Arc::new(move |changes| {
            if has_others {
                kept.take(changes);
            }
        })
    }

    /// Answers what the other members ask.
    pub(super) fn role_answer(&self, zookeeper: Option<&ZooKeeperLink>) -> RoleAnswer {
        let status = zookeeper.map(|zookeeper| zookeeper.link.status.clone());
        let (env, me, secret) = (self.env.clone(), self.me.clone(), self.secret.clone());
        let (kept, leadership) = (Arc::clone(&self.kept), Arc::clone(&self.leadership));
        Arc::new(move |header| {
            let nonce = match &secret {
                Some(secret) => secret.check_request(header, peers::ROLE_PATH, env.clock.now_ms(), b"")?,
                None => "",
            };
            let standing =
                leadership.get().map(|leadership: &Leadership| leadership.standing.borrow().clone()).unwrap_or_default();
            let is_leading = leadership
                .get()
                .is_some_and(|leadership: &Leadership| leadership.lease.left().is_some_and(|left| !left.is_zero()));
            let state = status.as_ref().map(|status| status.borrow().state);
            let is_connected = is_leading || matches!(state, Some(SessionStatus::Live | SessionStatus::Syncing));
            let (leader, epoch) = standing.last;
            let is_acting = standing.role == Role::Acting;
            let answer = Answer { id: me.id.clone(), is_connected, is_acting, owes: kept.owes(), leader, epoch };
            let text = answer.json().to_string();
            let signature = secret.as_ref().map(|secret| secret.sign_answer(peers::ROLE_PATH, nonce, text.as_bytes()));
            Some((text, signature.unwrap_or_default()))
        })
    }

    /// Begins to take part, once alerting and rules run. Without ZooKeeper there is nothing to take part in.
    pub(super) fn start(
        self,
        zookeeper: Option<&ZooKeeperLink>,
        config: &watch::Receiver<Arc<Config>>,
        alerting: &AlertingHandle,
        parts: Parts<'_>,
    ) -> Option<Running> {
        let Parts { rules, overlay, address, state, registry } = parts;
        let zookeeper = zookeeper?;
        let env = self.env.clone();
        let is_set = self.alerting.set(alerting.clone());
        debug_assert!(is_set.is_ok(), "started once");
        let present = Arc::clone(&config.borrow());
        let shared = shared::Shared {
            env: env.clone(),
            link: zookeeper.link.clone(),
            root: zookeeper.root.clone(),
            me: self.me.clone(),
            kept: Arc::clone(&self.kept),
            alerting: alerting.clone(),
            state: Arc::clone(state),
            leadership: Arc::clone(&self.leadership),
        };
        let taking_over = shared.clone();
        let deps = LeadershipDeps {
            env: env.clone(),
            link: zookeeper.link.clone(),
            root: zookeeper.root.clone(),
            session_timeout: present.zookeeper.as_ref().map_or(Duration::from_secs(10), |zookeeper| zookeeper.session_timeout),
            me: self.me.clone(),
            state: Arc::clone(state),
            ask: peers::asker(&env, self.secret.clone()),
            take_over: Arc::new(move |client| {
                let shared = taking_over.clone();
                Box::pin(async move { shared.take_over(&client).await })
            }),
            registry: registry.clone(),
        };
        let (leadership, election) = leadership::start(deps);
        let is_set = self.leadership.set(leadership.clone());
        debug_assert!(is_set.is_ok(), "started once");
        let follow = follow(leadership.standing.clone(), self.may_send);
        let entry = member::Entry {
            env: env.clone(),
            link: zookeeper.link.clone(),
            root: zookeeper.root.clone(),
            me: self.me,
            address: address.to_owned(),
            is_tls: present.web.tls_server_config.is_some(),
            shares_scrapes: present.cluster.share_scrapes,
            started_ms: env.clock.now_ms(),
            standing: leadership.standing.clone(),
            rules: rules.clone(),
            overlay,
        };
        let tasks = vec![
            election,
            env.tasks.spawn("telling", follow),
            env.tasks.spawn("shared-state", shared.run()),
            env.tasks.spawn("member", entry.run()),
        ];
        Some(Running { leadership, tasks })
    }
}

/// Lets alerting tell people while this member does.
async fn follow(mut standing: watch::Receiver<Standing>, may_send: watch::Sender<bool>) {
    loop {
        let tells = standing.borrow_and_update().role.tells();
        may_send.send_if_modified(|may| std::mem::replace(may, tells) != tells);
        if standing.changed().await.is_err() {
            return;
        }
    }
}
