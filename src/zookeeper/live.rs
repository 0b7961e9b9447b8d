//! The real client: the only place that names the crate `zookeeper_client`.
//!
//! Seen with 0.11.2 and dealt with here: a request made while disconnected waits without a word (so each has a time limit),
//! a persistent watch is dead after every reconnect (so any session event ends it as [`TreeEvent::Broken`]), and asking a
//! watcher again after a final event panics (so it is dropped at once).

use super::{
    Client, Connector, Lifetime, Operation, Options, Pem, Result, SessionEvent, Tls, TreeEvent, TreeWatch, ZNODE_BYTES_MAX,
    Znode, ZooKeeperError,
};
use crate::env::Env;
use crate::model::base64;
use futures_util::future::BoxFuture;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use zookeeper_client as zk;

/// How long one request may take.
const REQUEST_LIMIT: Duration = Duration::from_secs(5);

/// Connects to real ensembles.
pub(super) struct LiveConnector {
    env: Env,
}

impl LiveConnector {
    pub(super) const fn new(env: Env) -> Self {
        Self { env }
    }

    async fn dial(&self, options: &Options, cluster: &str) -> Result<zk::Client> {
        let mut connector = zk::Client::connector()
            .with_session_timeout(options.session_timeout)
            .with_connection_timeout(options.session_timeout / 3);
        if let Some(digest) = &options.digest {
            connector = connector.with_auth("digest", digest.as_bytes());
        }
        if let Some(tls) = &options.tls {
            connector = connector.with_tls(self.tls(tls).await?);
        }
        let limit = options.session_timeout.saturating_mul(2).max(REQUEST_LIMIT);
        let connecting = async {
            if options.tls.is_some() { connector.secure_connect(cluster).await } else { connector.connect(cluster).await }
        };
        match self.env.clock.timeout(limit, connecting).await {
            Ok(Ok(client)) => Ok(client),
            Ok(Err(error)) => Err(translate(&error, cluster)),
            Err(_) => Err(ZooKeeperError::Timeout(limit)),
        }
    }

    /// Reads what TLS needs. Without authorities of its own the system's hold, which the crate does not know by itself.
    async fn tls(&self, tls: &Tls) -> Result<zk::TlsOptions> {
        let (env, tls) = (self.env.clone(), tls.clone());
        let read = move |pem: &Pem| match pem {
            Pem::Text(text) => Ok(text.clone()),
            Pem::File(path) => match env.disk.read(path) {
                Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
                Err(error) => Err(ZooKeeperError::Other(format!("zookeeper.tls: {}: {error}", path.display()))),
            },
        };
        let work = move || -> Result<(String, Option<(String, String)>)> {
            let ca = tls.ca.as_ref().map_or_else(|| Ok(system_authorities()), &read)?;
            let identity = tls.identity.as_ref().map(|(cert, key)| Ok((read(cert)?, read(key)?)));
            Ok((ca, identity.transpose()?))
        };
        let done = self.env.tasks.blocking(work).await.map_err(|error| ZooKeeperError::Other(error.to_string()))?;
        let (ca, identity) = done?;
        let refused = |error: zk::Error| ZooKeeperError::Other(format!("zookeeper.tls: {error}"));
        let options = zk::TlsOptions::new().with_pem_ca(&ca).map_err(refused)?;
        match identity {
            Some((cert, key)) => options.with_pem_identity(&cert, &key).map_err(refused),
            None => Ok(options),
        }
    }
}

/// The system's authorities as PEM.
fn system_authorities() -> String {
    let found = rustls_native_certs::load_native_certs();
    let one =
        |certificate: &[u8]| format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", base64::encode(certificate));
    found.certs.iter().map(|certificate| one(certificate)).collect()
}

impl Connector for LiveConnector {
    fn connect<'a>(&'a self, options: &'a Options) -> BoxFuture<'a, Result<Arc<dyn Client>>> {
        Box::pin(async move {
            let (hosts, chroot) = options.hosts_and_chroot();
            let mut client = self.dial(options, hosts).await?;
            if chroot.len() > 1 {
                // The crate cannot make the chroot through a client that has it.
                let live = LiveClient::new(client.clone(), self.env.clone(), options.digest.is_some());
                if !options.is_foreign {
                    live.make_folders(chroot).await?;
                }
                client = client.chroot(chroot.to_owned()).map_err(|_| ZooKeeperError::Other(format!("bad chroot {chroot}")))?;
            }
            Ok(Arc::new(LiveClient::new(client, self.env.clone(), options.digest.is_some())) as Arc<dyn Client>)
        })
    }
}

struct LiveClient {
    client: zk::Client,
    states: Mutex<zk::StateWatcher>,
    env: Env,
    owned: bool,
}

impl LiveClient {
    fn new(client: zk::Client, env: Env, owned: bool) -> Self {
        // The state that holds now is no news.
        let mut states = client.state_watcher();
        states.state();
        let states = Mutex::new(states);
        Self { client, states, env, owned }
    }

    async fn limited<T>(&self, path: &str, request: impl Future<Output = std::result::Result<T, zk::Error>>) -> Result<T> {
        match self.env.clock.timeout(REQUEST_LIMIT, request).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => Err(translate(&error, path)),
            Err(_) => Err(ZooKeeperError::Timeout(REQUEST_LIMIT)),
        }
    }

    const fn acls(&self) -> zk::Acls<'static> {
        if self.owned { zk::Acls::creator_all() } else { zk::Acls::anyone_all() }
    }

    fn create_options(&self, lifetime: Lifetime) -> zk::CreateOptions<'static> {
        let mode = match lifetime {
            Lifetime::Persistent => zk::CreateMode::Persistent,
            Lifetime::Ephemeral => zk::CreateMode::Ephemeral,
        };
        mode.with_acls(self.acls())
    }
}

fn translate(error: &zk::Error, path: &str) -> ZooKeeperError {
    match error {
        zk::Error::NoNode => ZooKeeperError::NoNode(path.to_owned()),
        zk::Error::NodeExists => ZooKeeperError::NodeExists(path.to_owned()),
        zk::Error::BadVersion => ZooKeeperError::BadVersion(path.to_owned()),
        zk::Error::NoAuth => ZooKeeperError::NoAuth(path.to_owned()),
        zk::Error::ConnectionLoss => ZooKeeperError::ConnectionLoss,
        zk::Error::SessionExpired | zk::Error::ClientClosed | zk::Error::AuthFailed => ZooKeeperError::SessionEnded,
        zk::Error::Unimplemented => ZooKeeperError::Unimplemented,
        other => ZooKeeperError::Other(other.to_string()),
    }
}

fn check_size(path: &str, data: &[u8]) -> Result<()> {
    if data.len() > ZNODE_BYTES_MAX {
        return Err(ZooKeeperError::TooLarge { path: path.to_owned(), bytes: data.len() });
    }
    Ok(())
}

fn absent_is_none<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(ZooKeeperError::NoNode(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

impl Client for LiveClient {
    fn get<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Option<Znode>>> {
        Box::pin(async move {
            let read = self.limited(path, self.client.get_data(path)).await;
            let node = |(data, stat): (Vec<u8>, zk::Stat)| Znode {
                data: Arc::from(data),
                mzxid: stat.mzxid,
                czxid: stat.czxid,
                version: stat.version,
                modified_ms: stat.mtime,
                owner: stat.ephemeral_owner,
                denied: false,
            };
            absent_is_none(read.map(node))
        })
    }

    fn children<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Option<Vec<String>>>> {
        Box::pin(async move {
            let mut listed = absent_is_none(self.limited(path, self.client.list_children(path)).await)?;
            if let Some(names) = &mut listed {
                names.sort();
            }
            Ok(listed)
        })
    }

    fn create<'a>(&'a self, path: &'a str, data: &'a [u8], lifetime: Lifetime) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            check_size(path, data)?;
            let options = self.create_options(lifetime);
            self.limited(path, self.client.create(path, data, &options)).await.map(|_| ())
        })
    }

    fn create_sequential<'a>(&'a self, prefix: &'a str, data: &'a [u8]) -> BoxFuture<'a, Result<String>> {
        Box::pin(async move {
            let options = zk::CreateMode::EphemeralSequential.with_acls(self.acls());
            let (_, sequence) = self.limited(prefix, self.client.create(prefix, data, &options)).await?;
            Ok(format!("{prefix}{sequence}"))
        })
    }

    fn make_folders<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let options = self.create_options(Lifetime::Persistent);
            self.limited(path, self.client.mkdir(path, &options)).await
        })
    }

    fn set<'a>(&'a self, path: &'a str, data: &'a [u8], version: Option<i32>) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            check_size(path, data)?;
            self.limited(path, self.client.set_data(path, data, version)).await.map(|_| ())
        })
    }

    fn delete<'a>(&'a self, path: &'a str, version: Option<i32>) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { self.limited(path, self.client.delete(path, version)).await })
    }

    fn multi<'a>(&'a self, operations: &'a [Operation]) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let mut writer = self.client.new_multi_writer();
            let mut paths = Vec::with_capacity(operations.len());
            let mut bytes = 0;
            for operation in operations {
                let (path, size, added) = match operation {
                    Operation::Check { path, version } => (path, 0, writer.add_check_version(path, *version)),
                    Operation::Create { path, data, lifetime } => {
                        (path, data.len(), writer.add_create(path, data, &self.create_options(*lifetime)))
                    }
                    Operation::Set { path, data, version } => (path, data.len(), writer.add_set_data(path, data, *version)),
                    Operation::Delete { path, version } => (path, 0, writer.add_delete(path, *version)),
                };
                added.map_err(|error| translate(&error, path))?;
                bytes += size + path.len() + 64;
                paths.push(path.clone());
            }
            if bytes > ZNODE_BYTES_MAX {
                return Err(ZooKeeperError::TooLarge { path: "multi".to_owned(), bytes });
            }
            match self.env.clock.timeout(REQUEST_LIMIT, writer.commit()).await {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(zk::MultiWriteError::OperationFailed { index, source })) => {
                    Err(translate(&source, paths.get(index).map_or("", String::as_str)))
                }
                Ok(Err(zk::MultiWriteError::RequestFailed { source })) => Err(translate(&source, "multi")),
                Err(_) => Err(ZooKeeperError::Timeout(REQUEST_LIMIT)),
            }
        })
    }

    fn sync<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { self.limited(path, self.client.sync(path)).await })
    }

    fn watch_tree<'a>(&'a self, root: &'a str) -> BoxFuture<'a, Result<Box<dyn TreeWatch>>> {
        Box::pin(async move {
            let armed = self.client.watch(root, zk::AddWatchMode::PersistentRecursive);
            let watcher = self.limited(root, armed).await?;
            Ok(Box::new(LiveWatch { watcher: Some(watcher) }) as Box<dyn TreeWatch>)
        })
    }

    fn next_event(&self) -> BoxFuture<'_, SessionEvent> {
        // A clone keeps what it has seen, so a dropped wait loses nothing: the copy is put back after each change.
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Box::pin(async move {
            let state = states.changed().await;
            *self.states.lock().unwrap_or_else(PoisonError::into_inner) = states;
            match state {
                zk::SessionState::Disconnected => SessionEvent::Disconnected,
                zk::SessionState::SyncConnected | zk::SessionState::ConnectedReadOnly => SessionEvent::Reconnected,
                zk::SessionState::AuthFailed => SessionEvent::AuthFailed,
                zk::SessionState::Expired => SessionEvent::Expired,
                zk::SessionState::Closed => SessionEvent::Closed,
            }
        })
    }

    fn session_timeout(&self) -> Duration {
        self.client.session_timeout()
    }

    fn session_id(&self) -> String {
        self.client.session_id().to_string()
    }

    fn session(&self) -> i64 {
        self.client.session_id().0
    }
}

struct LiveWatch {
    watcher: Option<zk::PersistentWatcher>,
}

impl TreeWatch for LiveWatch {
    fn next(&mut self) -> BoxFuture<'_, TreeEvent> {
        Box::pin(async move {
            let Some(watcher) = &mut self.watcher else { return TreeEvent::Broken };
            let event = watcher.changed().await;
            if event.event_type == zk::EventType::Session {
                self.watcher = None;
                return TreeEvent::Broken;
            }
            TreeEvent::Changed(event.path)
        })
    }
}
