//! `zookeeper` and `cluster`: where members find each other, the rules, and what they publish.

use super::error::ConfigError;
use super::http_client::TlsConfig;
use super::section::{Value, section};
use super::show::Shown;
use super::values::{FilePath, Secret};
use super::yaml::Node;
use std::time::Duration;

section! {
    /// Who we are to ZooKeeper.
    pub struct ZooKeeperAuth "zookeeper auth" {
        /// `user:password`.
        digest: Secret = Secret::default(),
        /// A file that holds it.
        digest_file: FilePath = FilePath::default(),
    } check check_auth;

    /// A query whose result is published.
    pub struct PublishedQuery "zookeeper publish" {
        /// The znode's name.
        name: String = String::new(),
        /// The expression.
        query: String = String::new(),
        /// How often; 0: the global evaluation interval.
        interval: Duration = Duration::ZERO,
    } check check_published;

    /// The ensemble and our place in it.
    pub struct ZooKeeperConfig "zookeeper" {
        /// `host:port,host:port/chroot`.
        connect: String = String::new(),
        /// The folder of everything we keep.
        root: String = "/watchkeeper".to_owned(),
        /// The session's timeout.
        session_timeout: Duration = Duration::from_secs(10),
        /// Who we are.
        auth: Option<ZooKeeperAuth> = None,
        /// TLS; `None`: plain.
        tls: Option<TlsConfig> = None,
        /// What is published for programs that read ZooKeeper alone.
        publish: Vec<Published> = Vec::new(),
    } check check_zookeeper;

    /// The members among each other.
    pub struct ClusterConfig "cluster" {
        /// This member; empty: host name and port.
        name: String = String::new(),
        /// What the others dial; empty: the listen address.
        advertise: String = String::new(),
        /// A file that holds the secret that all members share.
        secret_file: FilePath = FilePath::default(),
        /// Whether members share the targets and copy each other's samples.
        share_scrapes: bool = false,
    } check check_cluster;
}

/// Something that is published: all series of a metric, or a query's result.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Published(pub PublishedQuery);

impl Value for Published {
    fn read(&mut self, node: &Node) -> Result<(), ConfigError> {
        if node.is_map() {
            return self.0.read(node);
        }
        let name = node.text()?;
        if !crate::model::labels::is_legacy_metric_name(name) {
            return Err(node.error(format!("{name:?} is not the name of a metric; write {{name: ..., query: ...}}")));
        }
        self.0 = PublishedQuery { name: name.to_owned(), query: name.to_owned(), interval: Duration::ZERO };
        Ok(())
    }

    fn show(&self) -> Shown {
        if self.0.name == self.0.query && self.0.interval.is_zero() {
            return Shown::Text(self.0.name.clone());
        }
        self.0.show()
    }
}

fn check_auth(auth: &mut ZooKeeperAuth, node: &Node) -> Result<(), ConfigError> {
    if auth.digest.is_empty() == auth.digest_file.is_empty() {
        return Err(node.error("zookeeper auth needs one of digest and digest_file"));
    }
    if !auth.digest.is_empty() && !auth.digest.reveal().contains(':') {
        return Err(node.error_at("digest", "the digest must be like user:password"));
    }
    Ok(())
}

fn check_published(published: &mut PublishedQuery, node: &Node) -> Result<(), ConfigError> {
    if published.name.is_empty() || published.query.is_empty() {
        return Err(node.error("what is published needs a name and a query"));
    }
    if published.name.contains('/') || matches!(published.name.as_str(), "." | "..") {
        return Err(node.error_at("name", format!("{:?} cannot be the name of a znode", published.name)));
    }
    Ok(())
}

/// Judges an absolute path of ZooKeeper.
pub(super) fn check_path(path: &str) -> Result<(), String> {
    if path == "/" {
        return Ok(());
    }
    let Some(parts) = path.strip_prefix('/') else { return Err(format!("path {path:?} must begin with '/'")) };
    match parts.split('/').find(|part| matches!(*part, "" | "." | "..")) {
        Some("") => Err(format!("path {path:?} has an empty part or ends with '/'")),
        Some(part) => Err(format!("path {path:?} has a part {part:?}")),
        None => Ok(()),
    }
}

fn check_zookeeper(config: &mut ZooKeeperConfig, node: &Node) -> Result<(), ConfigError> {
    let (hosts, chroot) = config.connect.find('/').map_or((config.connect.as_str(), ""), |at| config.connect.split_at(at));
    if hosts.is_empty() {
        return Err(node.error_at("connect", "zookeeper needs connect: host:2181,host:2181/chroot"));
    }
    for host in hosts.split(',') {
        let well_formed = !host.is_empty() && !host.contains(char::is_whitespace);
        let port_fits =
            host.rsplit_once(':').is_none_or(|(_, port)| host.ends_with(']') || port.parse::<u16>().is_ok_and(|port| port > 0));
        if !well_formed || !port_fits {
            return Err(node.error_at("connect", format!("{host:?} is not like host:2181")));
        }
    }
    if !chroot.is_empty() && chroot != "/" {
        check_path(chroot).map_err(|reason| node.error_at("connect", reason))?;
    }
    check_path(&config.root).map_err(|reason| node.error_at("root", reason))?;
    if config.session_timeout < Duration::from_secs(1) {
        return Err(node.error_at("session_timeout", "session_timeout must be at least 1s"));
    }
    Ok(())
}

fn check_cluster(config: &mut ClusterConfig, node: &Node) -> Result<(), ConfigError> {
    if config.name.contains('/') {
        return Err(node.error_at("name", format!("{:?} cannot be the name of a znode", config.name)));
    }
    if !config.advertise.is_empty() && !config.advertise.contains(':') {
        return Err(node.error_at("advertise", format!("{:?} is not like host:9090", config.advertise)));
    }
    if config.share_scrapes && config.secret_file.is_empty() {
        let message = "share_scrapes needs secret_file: members take samples only from each other, and know each other by it";
        return Err(node.error_at("share_scrapes", message));
    }
    Ok(())
}
