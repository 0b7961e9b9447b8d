//! Sharing the targets with the other members: tells scraping what others scrape, and remote write whom to send what was
//! scraped here.

use super::own_scrapes::OwnScrapes;
use crate::app::zookeeper_link::ZooKeeperLink;
use crate::cluster::members;
use crate::cluster::secret::Secret;
use crate::cluster::sharing::{CATCH_UP, Sharers};
use crate::config::Config;
use crate::config::remote::{QueueConfig, RemoteWriteConfig, WriteMessage};
use crate::config::{HttpClientConfig, TlsConfig, Url};
use crate::env::Env;
use crate::remote::send::{Member, MemberLink};
use crate::scrape::Elsewhere;
use crate::state::{Change, State};
use crate::storage::append::Append;
use crate::zookeeper::{Link, SessionStatus};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Where samples are written.
pub(in crate::app) const WRITE_PATH: &str = "/api/v1/write";
/// Who shared when this member last looked: JSON, id to URL.
const KNOWN: &[u8] = b"cluster/sharers";
/// How often it is looked whether somebody's time is over.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long samples wait for others: rules of the other members want them soon.
const SEND_WITHIN: Duration = Duration::from_millis(200);

/// What is made of it.
pub(in crate::app) struct Sharing {
    /// Where scraping writes.
    pub(in crate::app) append: Arc<dyn Append>,
    /// What others scrape.
    pub(in crate::app) elsewhere: watch::Receiver<Elsewhere>,
    /// Who is sent what was scraped here.
    pub(in crate::app) members: watch::Receiver<Vec<Member>>,
}

struct Sharer {
    env: Env,
    link: Link,
    root: String,
    state: Arc<dyn State>,
    sharers: Sharers,
    elsewhere: watch::Sender<Elsewhere>,
    members: watch::Sender<Vec<Member>>,
    over: MemberLink,
}

fn load(state: &dyn State) -> Vec<(String, String)> {
    let bytes = match state.get(KNOWN) {
        Ok(bytes) => bytes.unwrap_or_default(),
        Err(error) => {
            tracing::warn!(%error, "which members shared the targets last cannot be read");
            return Vec::new();
        }
    };
    serde_json::from_slice(&bytes).unwrap_or_default()
}

impl Sharing {
    /// Begins; where the members do not share, everything is scraped here and nothing is sent.
    pub(in crate::app) async fn start(
        env: &Env,
        config: &Config,
        me: &str,
        secret: Option<&Secret>,
        zookeeper: Option<&ZooKeeperLink>,
        state: &Arc<dyn State>,
        store: Arc<dyn Append>,
    ) -> Self {
        let (elsewhere, elsewhere_seen) = watch::channel(Elsewhere::default());
        let (members, members_seen) = watch::channel(Vec::new());
        let (Some(zookeeper), Some(secret), true) = (zookeeper, secret, config.cluster.share_scrapes) else {
            return Self { append: store, elsewhere: elsewhere_seen, members: members_seen };
        };
        let reading = Arc::clone(state);
        let known = env.tasks.blocking(move || load(&*reading)).await.unwrap_or_default();
        let session_timeout = config.zookeeper.as_ref().map_or(Duration::from_secs(10), |zookeeper| zookeeper.session_timeout);
        let own = Arc::new(OwnScrapes::new(store));
        let (scraped, signing, world) = (Arc::clone(&own), secret.clone(), env.clone());
        let over = MemberLink {
            is_sent: Arc::new(move |series, at_ms| scraped.has(series, at_ms)),
            sign: Arc::new(move |body| {
                let nonce = world.random.uuid();
                signing.sign_request(WRITE_PATH, world.clock.now_ms(), &nonce, body)
            }),
        };
        let sharer = Sharer {
            env: env.clone(),
            link: zookeeper.link.clone(),
            root: zookeeper.root.clone(),
            state: Arc::clone(state),
            sharers: Sharers::new(me, known, session_timeout),
            elsewhere,
            members,
            over,
        };
        sharer.publish();
        drop(env.tasks.spawn("sharing", sharer.run()));
        Self { append: own, elsewhere: elsewhere_seen, members: members_seen }
    }
}

impl Sharer {
    async fn run(mut self) {
        let (mut tree, mut status) = (self.link.tree.clone(), self.link.status.clone());
        let mut was_live = true;
        let mut saved = self.sharers.there();
        loop {
            let now = self.env.clock.monotonic();
            let is_live = status.borrow_and_update().state == SessionStatus::Live;
            let seen = tree.borrow_and_update().clone();
            if is_live && !was_live {
                self.sharers.came_back(now);
            }
            was_live = is_live;
            if let Some(tree) = seen.filter(|_| is_live) {
                let sharing = members::list(&tree, &self.root).into_iter().filter(|member| member.shares_scrapes);
                let listed: Vec<(String, String)> = sharing.map(|member| (member.id, member.url)).collect();
                self.sharers.see(now, &listed);
            }
            self.publish();
            let there = self.sharers.there();
            if there != saved {
                tracing::info!(members = ?there.iter().map(|(id, _)| id).collect::<Vec<_>>(), "the targets are shared with these members");
                self.save(&there).await;
                saved = there;
            }
            tokio::select! {
                biased;
                Ok(()) = tree.changed() => {}
                Ok(()) = status.changed() => {}
                () = self.env.clock.sleep(LOOK_EVERY) => {}
            }
        }
    }

    fn publish(&self) {
        let elsewhere = Elsewhere::of(self.sharers.shares(self.env.clock.monotonic()), |shares, target| {
            shares.elsewhere(target).map(str::to_owned)
        });
        self.elsewhere.send_if_modified(|held| {
            let differs = !held.is_same(&elsewhere);
            if differs {
                *held = elsewhere;
            }
            differs
        });
        let receivers = self.sharers.receivers();
        let members: Vec<Member> = receivers.into_iter().filter_map(|(id, url)| member(&id, &url, &self.over)).collect();
        self.members.send_if_modified(|held| {
            let differs = held.iter().map(|member| &member.config).ne(members.iter().map(|member| &member.config));
            if differs {
                *held = members;
            }
            differs
        });
    }

    async fn save(&self, there: &[(String, String)]) {
        let Ok(bytes) = serde_json::to_vec(there) else { return };
        let state = Arc::clone(&self.state);
        let saved = self.env.tasks.blocking(move || state.apply(&[Change::Put(KNOWN.to_vec(), bytes)])).await;
        if let Ok(Err(error)) = saved {
            tracing::warn!(%error, "which members share the targets could not be kept");
        }
    }
}

/// How a member is written to.
fn member(id: &str, url: &str, over: &MemberLink) -> Option<Member> {
    let url = Url::parse(&format!("{url}{WRITE_PATH}")).ok()?;
    let config = RemoteWriteConfig {
        url,
        name: format!("member:{id}"),
        send_exemplars: true,
        send_native_histograms: true,
        protobuf_message: WriteMessage::V2,
        queue_config: QueueConfig {
            batch_send_deadline: SEND_WITHIN,
            max_shards: 8,
            max_backoff: Duration::from_secs(1),
            retry_on_http_429: true,
            sample_age_limit: CATCH_UP,
            ..QueueConfig::default()
        },
        http: HttpClientConfig {
            // The secret proves who we are; members are dialled by address, for which there is no certificate.
            tls_config: TlsConfig { insecure_skip_verify: true, ..TlsConfig::default() },
            follow_redirects: false,
            ..HttpClientConfig::default()
        },
        ..RemoteWriteConfig::default()
    };
    Some(Member { config: Arc::new(config), over: over.clone() })
}
