//! Where a job's targets come from.

use super::error::ConfigError;
use super::http_client::HttpClientConfig;
use super::place::Spot;
use super::section::{Section as _, Value, read_section, section};
use super::show::Shown;
use super::values::{FilePath, Pattern, Url};
use super::yaml::Node;
use super::zookeeper;
use crate::model::labels::Labels;
use std::time::Duration;

section! {
    /// Targets written down.
    pub struct StaticConfig "section in static_configs" {
        /// `host:port` each.
        targets: Vec<String> = Vec::new(),
        /// Labels that all of them get.
        labels: Labels = Labels::empty(),
    } check check_static;

    /// Targets in files that are read again when they change.
    pub struct FileDiscovery "file_sd_configs" {
        /// Paths; the last part may hold `*`.
        files: Vec<FilePath> = Vec::new(),
        /// Read again at least this often.
        refresh_interval: Duration = Duration::from_secs(300),
    } check check_file;

    /// Targets that an HTTP server lists as JSON.
    pub struct HttpDiscovery "http_sd_configs" {
        /// What to get.
        url: Url = Url::default(),
        /// How often.
        refresh_interval: Duration = Duration::from_secs(60),
    } inline {
        /// The client.
        http: HttpClientConfig,
    } check check_http;

    /// Targets by DNS.
    pub struct DnsDiscovery "dns_sd_configs" {
        /// Names to look up.
        names: Vec<String> = Vec::new(),
        /// How often.
        refresh_interval: Duration = Duration::from_secs(30),
        /// `SRV`, `A`, `AAAA`, `MX` or `NS`.
        kind "type": String = "SRV".to_owned(),
        /// The port for kinds that name none.
        port: u16 = 0,
    } check check_dns;

    /// Targets that register themselves in ZooKeeper: serversets, Nerve, Curator, Kafka, Dubbo.
    pub struct ZooKeeperDiscovery "ZooKeeper discovery" {
        /// `host:port` each; empty (not for serverset and nerve): the ensemble of `zookeeper.connect`.
        servers: Vec<String> = Vec::new(),
        /// Paths below which they register.
        paths: Vec<String> = Vec::new(),
        /// The session's timeout.
        timeout: Duration = Duration::from_secs(10),
    } check check_zookeeper;

    /// Targets made from the data of any znodes, by templates.
    pub struct ZnodeDiscovery "znode_sd_configs" {
        /// `host:port` each; empty: the ensemble of `zookeeper.connect`.
        servers: Vec<String> = Vec::new(),
        /// Paths below which each znode with data is a target.
        paths: Vec<String> = Vec::new(),
        /// The session's timeout.
        timeout: Duration = Duration::from_secs(10),
        /// A template for the address; empty: the data as they are.
        address: String = String::new(),
        /// Templates for labels.
        labels: std::collections::BTreeMap<String, String> = std::collections::BTreeMap::new(),
        /// What the whole name of a znode must match; its groups are `.match` in the templates. Znodes without data count then.
        name_regex: Option<Pattern> = None,
    } check check_znode;
}

/// A kind of discovery that is read and judged, but that the server does not do.
#[derive(Clone, Debug, PartialEq)]
pub struct OtherDiscovery {
    /// The key, for example `kubernetes_sd_configs`.
    pub key: String,
    /// What it says, to be shown again.
    pub(crate) shown: Shown,
    /// The file and the place where it stands.
    pub(crate) file: String,
    pub(crate) spot: Spot,
}

/// All sources of targets of one job.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DiscoveryConfigs {
    /// Written down.
    pub static_configs: Vec<StaticConfig>,
    /// Files.
    pub file: Vec<FileDiscovery>,
    /// HTTP.
    pub http: Vec<HttpDiscovery>,
    /// DNS.
    pub dns: Vec<DnsDiscovery>,
    /// Twitter serversets in ZooKeeper.
    pub serverset: Vec<ZooKeeperDiscovery>,
    /// AirBnB's Nerve in ZooKeeper.
    pub nerve: Vec<ZooKeeperDiscovery>,
    /// Apache Curator's service discovery in ZooKeeper.
    pub curator: Vec<ZooKeeperDiscovery>,
    /// Kafka's brokers in ZooKeeper.
    pub kafka: Vec<ZooKeeperDiscovery>,
    /// Dubbo's providers in ZooKeeper.
    pub dubbo: Vec<ZooKeeperDiscovery>,
    /// Any znodes, by templates.
    pub znode: Vec<ZnodeDiscovery>,
    /// Kinds that the server does not do: clouds and orchestrators.
    pub others: Vec<OtherDiscovery>,
}

impl DiscoveryConfigs {
    /// Returns whether no source is named.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Value for DiscoveryConfigs {
    fn read(&mut self, node: &Node) -> Result<(), ConfigError> {
        read_section(self, node, "service discovery")
    }

    fn show(&self) -> Shown {
        Shown::Map(self.entries())
    }
}

impl super::section::Section for DiscoveryConfigs {
    fn take(&mut self, key: &str, value: &Node) -> Result<bool, ConfigError> {
        match key {
            "static_configs" => self.static_configs.read(value)?,
            "file_sd_configs" => self.file.read(value)?,
            "http_sd_configs" => self.http.read(value)?,
            "dns_sd_configs" => self.dns.read(value)?,
            "serverset_sd_configs" => {
                self.serverset.read(value)?;
                need_servers(&self.serverset, value, "serverset SD config must contain at least one Zookeeper server")?;
            }
            "nerve_sd_configs" => {
                self.nerve.read(value)?;
                need_servers(&self.nerve, value, "nerve SD config must contain at least one Zookeeper server")?;
            }
            "curator_sd_configs" => self.curator.read(value)?,
            "kafka_sd_configs" => self.kafka.read(value)?,
            "dubbo_sd_configs" => self.dubbo.read(value)?,
            "znode_sd_configs" => self.znode.read(value)?,
            _ => {
                let Some(shown) = super::other_discovery::read(key, value)? else { return Ok(false) };
                if shown.is_zero() {
                    return Ok(true);
                }
                let ConfigError { file, line, column, .. } = value.error("");
                self.others.push(OtherDiscovery { key: key.to_owned(), shown, file, spot: Spot { line, column } });
            }
        }
        Ok(true)
    }

    fn check(&mut self, _: &Node) -> Result<(), ConfigError> {
        Ok(())
    }

    fn entries(&self) -> Vec<(String, Shown)> {
        let mut entries = Vec::new();
        let mut add = |key: &str, shown: Shown| {
            if !shown.is_zero() {
                entries.push((key.to_owned(), shown));
            }
        };
        add("static_configs", self.static_configs.show());
        add("file_sd_configs", self.file.show());
        add("http_sd_configs", self.http.show());
        add("dns_sd_configs", self.dns.show());
        add("serverset_sd_configs", self.serverset.show());
        add("nerve_sd_configs", self.nerve.show());
        add("curator_sd_configs", self.curator.show());
        add("kafka_sd_configs", self.kafka.show());
        add("dubbo_sd_configs", self.dubbo.show());
        add("znode_sd_configs", self.znode.show());
        for other in &self.others {
            add(&other.key, other.shown.clone());
        }
        entries
    }
}

/// Judges an address as Prometheus's `CheckTargetAddress` does.
fn check_static(group: &mut StaticConfig, node: &Node) -> Result<(), ConfigError> {
    let Some(targets) = node.get("targets") else { return Ok(()) };
    for (target, place) in group.targets.iter().zip(targets.items()?) {
        if target.contains('/') {
            return Err(place.error(format!("{target:?} is not a valid hostname")));
        }
    }
    Ok(())
}

/// Returns whether the last part of a path may be a pattern of files that discovery reads.
fn is_file_pattern(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    let known = [".json", ".yml", ".yaml", ".JSON", ".YML", ".YAML"];
    !path.split('/').rev().skip(1).any(|part| part.contains('*'))
        && name.matches('*').count() <= 1
        && known.iter().any(|ending| name.strip_suffix(ending).is_some_and(|stem| !stem.is_empty()))
}

fn check_file(config: &mut FileDiscovery, node: &Node) -> Result<(), ConfigError> {
    if config.files.is_empty() {
        return Err(node.error("file service discovery config must contain at least one path name"));
    }
    for path in &config.files {
        if !is_file_pattern(path) {
            return Err(node.error_at("files", format!("path name {:?} is not valid for file discovery", &**path)));
        }
    }
    Ok(())
}

fn check_http(config: &mut HttpDiscovery, node: &Node) -> Result<(), ConfigError> {
    if config.url.is_empty() {
        return Err(node.error("URL is missing"));
    }
    if !matches!(config.url.scheme(), Some("http" | "https")) {
        return Err(node.error_at("url", "URL scheme must be 'http' or 'https'"));
    }
    if config.url.host_and_port().is_empty() {
        return Err(node.error_at("url", "host is missing in URL"));
    }
    Ok(())
}

fn check_dns(config: &mut DnsDiscovery, node: &Node) -> Result<(), ConfigError> {
    if config.names.is_empty() {
        return Err(node.error("DNS-SD config must contain at least one SRV record name"));
    }
    match config.kind.to_ascii_uppercase().as_str() {
        "SRV" => {}
        "A" | "AAAA" | "MX" | "NS" if config.port == 0 => {
            return Err(node.error("a port is required in DNS-SD configs for all record types except SRV"));
        }
        "A" | "AAAA" | "MX" | "NS" => {}
        _ => return Err(node.error_at("type", format!("invalid DNS-SD records type {}", config.kind))),
    }
    Ok(())
}

fn need_servers(configs: &[ZooKeeperDiscovery], node: &Node, message: &str) -> Result<(), ConfigError> {
    for (config, item) in configs.iter().zip(node.items()?) {
        if config.servers.is_empty() {
            return Err(item.error(message));
        }
    }
    Ok(())
}

fn check_paths(paths: &[String], node: &Node) -> Result<(), ConfigError> {
    if paths.is_empty() {
        return Err(node.error("must contain at least one path"));
    }
    for path in paths {
        // A slash at the end is meant well.
        let path = path.strip_suffix('/').filter(|path| !path.is_empty()).unwrap_or(path);
        zookeeper::check_path(path).map_err(|reason| node.error_at("paths", reason))?;
    }
    Ok(())
}

fn check_timeout(timeout: Duration, node: &Node) -> Result<(), ConfigError> {
    if timeout.is_zero() {
        return Err(node.error_at("timeout", "timeout must not be 0"));
    }
    Ok(())
}

fn check_zookeeper(config: &mut ZooKeeperDiscovery, node: &Node) -> Result<(), ConfigError> {
    check_timeout(config.timeout, node)?;
    check_paths(&config.paths, node)
}

fn check_znode(config: &mut ZnodeDiscovery, node: &Node) -> Result<(), ConfigError> {
    check_timeout(config.timeout, node)?;
    let places = node.get("labels").filter(|labels| !labels.is_null()).map_or(Ok(&[][..]), Node::entries)?;
    for (key, _) in places {
        if key.text()?.is_empty() {
            return Err(key.error("a label needs a name"));
        }
    }
    check_paths(&config.paths, node)
}
