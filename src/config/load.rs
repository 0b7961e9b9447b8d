//! The whole configuration, and how it is put together from its files.

use super::alertmanager::AlertmanagerConfig;
use super::discovery::DiscoveryConfigs;
use super::error::ConfigError;
use super::global::{GlobalConfig, NameValidation, RuntimeConfig};
use super::http_client::HttpClientConfig;
use super::place::Spot;
use super::receivers::SigV4Config;
use super::remote::{OtlpConfig, RemoteReadConfig, RemoteWriteConfig, TracingConfig, TranslationStrategy};
use super::scrape::ScrapeConfig;
use super::section::{Value, read_new, section, unknown_key};
use super::show::Shown;
use super::storage::StorageConfig;
use super::values::FilePath;
use super::web::WebConfig;
use super::yaml::{self, Limits, Node, Source};
use super::zookeeper::{ClusterConfig, ZooKeeperConfig};
use crate::model::labels::{Labels, LabelsBuilder, METRIC_NAME};
use crate::model::limits::check_labels;
use crate::model::relabel::RelabelConfig;
use crate::model::utf8;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How a configuration reads the files that it names. A closure that reads one file will do where no name holds `*`.
pub trait Files {
    /// Reads a file.
    ///
    /// # Errors
    /// What the disk says.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// Reads a file as text.
    ///
    /// # Errors
    /// What the disk says, or where the file is no UTF-8, with the file's name.
    fn text(&self, path: &Path) -> Result<String, ConfigError> {
        let name = path.display().to_string();
        let bytes = self.read(path).map_err(|error| ConfigError::whole(&name, error.to_string()))?;
        utf8::decode(bytes).map_err(|error| {
            let spot = Spot { line: error.line, column: error.column };
            ConfigError::at(spot, error.to_string()).in_file(&name)
        })
    }

    /// Lists the names in a folder.
    ///
    /// # Errors
    /// What the disk says.
    fn list(&self, folder: &Path) -> io::Result<Vec<String>>;

    /// Returns a variable of the environment, for `external_labels`.
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
}

impl<F: Fn(&Path) -> io::Result<String>> Files for F {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self(path).map(String::into_bytes)
    }

    fn list(&self, _: &Path) -> io::Result<Vec<String>> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "folders cannot be listed here"))
    }
}

section! {
    /// Alertmanagers outside, to which alerts are posted as Prometheus does.
    pub struct ExternalAlertmanager "alertmanager" {
        /// `http` or `https`.
        scheme: String = "http".to_owned(),
        /// In front of `/api/v2/alerts`.
        path_prefix: String = String::new(),
        /// How long a post may take.
        timeout: Duration = Duration::from_secs(10),
        /// `v2`.
        api_version: String = "v2".to_owned(),
        /// Rules for the Alertmanagers found.
        relabel_configs: Vec<RelabelConfig> = Vec::new(),
        /// Rules for alerts on their way there.
        alert_relabel_configs: Vec<RelabelConfig> = Vec::new(),
        /// AWS's signature; not supported by the server.
        sigv4: Option<SigV4Config> = None,
    } inline {
        /// The HTTP client.
        http: HttpClientConfig,
        /// Where they are.
        discovery: DiscoveryConfigs,
    } check check_external;

    /// What happens to alerts on their way.
    pub struct AlertingConfig "alerting" {
        /// Rules for alerts, for the built-in notifier and external Alertmanagers alike.
        alert_relabel_configs: Vec<RelabelConfig> = Vec::new(),
        /// Alertmanagers outside.
        alertmanagers: Vec<ExternalAlertmanager> = Vec::new(),
    }

    /// A threshold as data: one series for each value.
    pub struct Override "override" {
        /// The label whose values the keys are.
        by: String = "instance".to_owned(),
        /// Label value -> threshold.
        values: BTreeMap<String, f64> = BTreeMap::new(),
    }

    /// The configuration in force.
    pub struct Config "the configuration" {
        /// What holds for all jobs and rules.
        global: GlobalConfig = GlobalConfig::default(),
        /// Go's runtime; without effect.
        runtime: RuntimeConfig = RuntimeConfig::default(),
        /// Alerts on their way.
        alerting: AlertingConfig = AlertingConfig::default(),
        /// Rule files; the last part may hold `*`.
        rule_files: Vec<FilePath> = Vec::new(),
        /// Further files of scrape configurations.
        scrape_config_files: Vec<FilePath> = Vec::new(),
        /// All jobs, those of other files included. After loading, defaults from `global` are filled in.
        scrape_configs: Vec<Arc<ScrapeConfig>> = Vec::new(),
        /// `storage`.
        storage: StorageConfig = StorageConfig::default(),
        /// Traces; without effect.
        tracing: Option<TracingConfig> = None,
        /// Samples sent elsewhere.
        remote_write: Vec<Arc<RemoteWriteConfig>> = Vec::new(),
        /// Samples read from elsewhere.
        remote_read: Vec<Arc<RemoteReadConfig>> = Vec::new(),
        /// Metrics by OTLP.
        otlp: OtlpConfig = OtlpConfig::default(),
        /// The built-in notifier; `None`: everything goes to the outbox.
        alertmanager: Option<Arc<AlertmanagerConfig>> = None,
        /// The ensemble; `None`: none.
        zookeeper: Option<ZooKeeperConfig> = None,
        /// The members among each other.
        cluster: ClusterConfig = ClusterConfig::default(),
        /// `web`.
        web: WebConfig = WebConfig::default(),
        /// This machine's own metrics.
        host_metrics: HostMetrics = HostMetrics::default(),
        /// Names of Prometheus features that change the results of old queries.
        feature: Vec<String> = Vec::new(),
        /// Rule groups that are evaluated as soon as an input changed.
        watch_rule_groups: Vec<String> = Vec::new(),
        /// Thresholds as data.
        overrides: BTreeMap<String, Override> = BTreeMap::new(),
    }
}

/// Whether and how this machine's own metrics are collected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostMetrics {
    /// Whether.
    pub enabled: bool,
    /// Which collectors; empty: all.
    pub collectors: Vec<String>,
}

impl Value for HostMetrics {
    fn read(&mut self, node: &Node) -> Result<(), ConfigError> {
        if node.is_map() {
            *self = Self { enabled: true, collectors: Vec::new() };
            for (key, value) in node.entries()? {
                if key.text()? != "collectors" {
                    return Err(unknown_key(key, "host_metrics"));
                }
                self.collectors.read(value)?;
            }
            return Ok(());
        }
        self.collectors.clear();
        self.enabled.read(node)
    }

    fn show(&self) -> Shown {
        if self.collectors.is_empty() {
            return self.enabled.show();
        }
        Shown::Map(vec![("collectors".to_owned(), self.collectors.show())])
    }
}

impl GlobalConfig {
    /// Returns the section as it is after loading a file without it.
    fn filled_in() -> Self {
        Self { scrape_timeout: Duration::from_secs(10), ..Self::default() }
    }
}

impl Config {
    /// Returns what holds without a configuration file: this host and the server itself are watched.
    #[must_use]
    pub fn without_file() -> Self {
        let mut config = Self { host_metrics: HostMetrics { enabled: true, collectors: Vec::new() }, ..Self::default() };
        config.global = GlobalConfig::filled_in();
        config.global.scrape_interval = Duration::from_secs(15);
        config.global.evaluation_interval = Duration::from_secs(15);
        config
    }

    /// Returns the built-in notifier's configuration, or the one that sends everything to the outbox.
    #[must_use]
    pub fn notifier(&self) -> Arc<AlertmanagerConfig> {
        self.alertmanager.clone().unwrap_or_else(|| Arc::new(AlertmanagerConfig::outbox()))
    }

    /// Writes the configuration in force as YAML, secrets hidden.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        self.show().to_yaml()
    }
}

fn check_external(config: &mut ExternalAlertmanager, node: &Node) -> Result<(), ConfigError> {
    if config.api_version != "v2" {
        let message = format!("expected Alertmanager api version to be one of [v2] but got {}", config.api_version);
        return Err(node.error_at("api_version", message));
    }
    if !matches!(config.scheme.as_str(), "http" | "https") {
        return Err(node.error_at("scheme", format!("scheme must be 'http' or 'https', found {:?}", config.scheme)));
    }
    Ok(())
}

/// Reads a whole configuration. `path` names the file in messages, and relative paths start from its folder.
///
/// # Errors
/// The first thing that is wrong, with its place.
pub fn load(path: &Path, text: &str, files: &dyn Files) -> Result<Config, ConfigError> {
    assemble(&read_root(path, text, files)?, files)
}

/// Reads the tree of a configuration file, with the file that `alertmanager: {file: ...}` names in its place.
pub(crate) fn read_root(path: &Path, text: &str, files: &dyn Files) -> Result<Node, ConfigError> {
    with_alertmanager_file(yaml::parse(text, &Source::of_file(path), Limits::default())?, files)
}

/// Turns a tree into a configuration.
fn assemble(root: &Node, files: &dyn Files) -> Result<Config, ConfigError> {
    assemble_with_sources(root, files).map(|(config, _)| config)
}

/// Turns a tree into a configuration; answers also which file each job stands in.
pub(super) fn assemble_with_sources(root: &Node, files: &dyn Files) -> Result<(Config, Vec<Arc<Source>>), ConfigError> {
    let mut config: Config = read_new(root)?;
    if root.get("global").is_none_or(Node::is_null) {
        config.global = GlobalConfig::filled_in();
    }
    config.global.external_labels = expand(&config.global.external_labels, files);
    for path in &config.rule_files {
        check_glob(path).map_err(|reason| root.error_at("rule_files", reason))?;
    }
    for path in config.web.dashboards.iter().flatten() {
        let place = root.get("web").unwrap_or(root);
        check_glob(path).map_err(|_| place.error_at("dashboards", format!("invalid path of dashboards {:?}", &**path)))?;
    }
    let jobs = read_scrape_configs(&config, root, files)?;
    let (jobs, sources) = jobs.into_iter().unzip();
    config.scrape_configs = jobs;
    check_whole(&config, root)?;
    Ok((config, sources))
}

/// Reads an alertmanager.yml.
///
/// # Errors
/// The first thing that is wrong, with its place.
pub fn load_alertmanager(path: &Path, text: &str) -> Result<AlertmanagerConfig, ConfigError> {
    read_new(&yaml::parse(text, &Source::of_file(path), Limits::default())?)
}

/// Reads a web configuration file of Prometheus's.
///
/// # Errors
/// The first thing that is wrong, with its place.
pub fn load_web(path: &Path, text: &str) -> Result<WebConfig, ConfigError> {
    read_new(&yaml::parse(text, &Source::of_file(path), Limits::default())?)
}

/// Judges a path pattern: at most a last part with `*`, as Prometheus's `patRulePath`.
fn check_glob(path: &str) -> Result<(), String> {
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    if folder.contains('*') || path.matches('*').count() > 1 {
        return Err(format!("invalid rule file path {path:?}"));
    }
    // A class that does not end stands for no file at all, and nobody would be told.
    let ends = |class: &str| class.trim_start_matches('^').find(']').is_some_and(|end| end > 0);
    if path.split('[').skip(1).all(ends) { Ok(()) } else { Err(format!("rule file path {path:?}: syntax error in pattern")) }
}

/// Fills in `$NAME` and `${NAME}`; `$$` is a dollar.
fn expand(labels: &Labels, files: &dyn Files) -> Labels {
    let mut out = LabelsBuilder::new();
    for (name, value) in labels {
        out.set(name, &expand_text(value, files));
    }
    out.build()
}

fn expand_text(text: &str, files: &dyn Files) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('$') {
        out.push_str(before);
        let (name, after) = if let Some(inside) = behind.strip_prefix('{') {
            inside.split_once('}').unwrap_or(("", behind))
        } else if let Some(after) = behind.strip_prefix('$') {
            out.push('$');
            rest = after;
            continue;
        } else {
            let length = behind.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count();
            behind.split_at(length)
        };
        out.push_str(&files.variable(name).unwrap_or_default());
        rest = after;
    }
    out.push_str(rest);
    out
}

/// Finds the files that a path pattern names, sorted; none where nothing is there.
///
/// # Errors
/// What the disk says about the folder.
fn matching_files(pattern: &FilePath, files: &dyn Files) -> io::Result<Vec<PathBuf>> {
    if !pattern.contains('*') {
        let is_absent = matches!(files.read(pattern.path()), Err(error) if error.kind() == io::ErrorKind::NotFound);
        return Ok(if is_absent { Vec::new() } else { vec![pattern.path().to_owned()] });
    }
    let folder = pattern.path().parent().unwrap_or(Path::new(""));
    let name = pattern.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
    let (before, behind) = name.split_once('*').unwrap_or((&name, ""));
    let fits = |name: &String| name.len() >= before.len() + behind.len() && name.starts_with(before) && name.ends_with(behind);
    let mut names = match files.list(folder) {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    names.retain(fits);
    names.sort();
    Ok(names.into_iter().map(|name| folder.join(name)).collect())
}

/// Jobs, each with the file that it stands in.
pub(super) type Jobs = Vec<(Arc<ScrapeConfig>, Arc<Source>)>;

fn read_scrape_configs(config: &Config, root: &Node, files: &dyn Files) -> Result<Jobs, ConfigError> {
    let mut jobs = Jobs::new();
    add_jobs(&config.scrape_configs, root, &config.global, &mut jobs)?;
    for pattern in &config.scrape_config_files {
        let place = |reason: String| root.error_at("scrape_config_files", reason);
        check_glob(pattern).map_err(|_| place(format!("invalid scrape config file path {:?}", &**pattern)))?;
        let found = matching_files(pattern, files).map_err(|error| place(format!("{}: {error}", &**pattern)))?;
        for path in found {
            let text = files.text(&path).map_err(|error| if error.line > 0 { error } else { place(error.to_string()) })?;
            let node = yaml::parse(&text, &Source::of_file(&path), Limits::default())?;
            let mut configs = Vec::new();
            for (key, value) in node.entries()? {
                if key.text()? != "scrape_configs" {
                    return Err(unknown_key(key, "scrape config file"));
                }
                configs.read(value)?;
            }
            add_jobs(&configs, &node, &config.global, &mut jobs)?;
        }
    }
    Ok(jobs)
}

/// Fills in the jobs of one file and adds them to those of the files before.
pub(super) fn add_jobs(
    configs: &[Arc<ScrapeConfig>],
    root: &Node,
    global: &GlobalConfig,
    jobs: &mut Jobs,
) -> Result<(), ConfigError> {
    let places = root.get("scrape_configs").map_or(Ok(&[][..]), Node::items)?;
    for (job, place) in configs.iter().zip(places) {
        let mut job = ScrapeConfig::clone(job);
        job.fill_in(global, place)?;
        if jobs.iter().any(|(other, _)| other.job_name == job.job_name) {
            let message = format!("found multiple scrape configs with job name {:?}", job.job_name);
            return Err(place.error_at("job_name", message));
        }
        jobs.push((Arc::new(job), Arc::clone(&place.source)));
    }
    Ok(())
}

/// Puts the file that `alertmanager: {file: ...}` names in its place.
fn with_alertmanager_file(root: Node, files: &dyn Files) -> Result<Node, ConfigError> {
    let Some(section) = root.get("alertmanager") else { return Ok(root) };
    let Some(place) = section.get("file") else { return Ok(root) };
    if let Some((key, _)) = section.entries()?.iter().find(|(key, _)| key.text() != Ok("file")) {
        return Err(key.error("with `file`, alertmanager takes no other key"));
    }
    let file: FilePath = read_new(place)?;
    let text = files.text(file.path()).map_err(|error| if error.line > 0 { error } else { place.error(error.to_string()) })?;
    let body = yaml::parse(&text, &Source::of_file(file.path()), Limits::default())?;
    Ok(root.with("alertmanager", &body))
}

/// How many thresholds there may be: each is a series, written in each evaluation interval.
const OVERRIDES_MAX: usize = 10_000;

/// Judges the overrides: each becomes series, which must have their labels.
fn check_overrides(config: &Config, root: &Node) -> Result<(), ConfigError> {
    let Some(section) = root.get("overrides").filter(|section| !section.is_null()) else { return Ok(()) };
    let mut count = 0;
    for (key, place) in section.entries()? {
        let name = key.text()?;
        if name.is_empty() {
            return Err(key.error("an override needs a name, by which rules find it"));
        }
        let Some(threshold) = config.overrides.get(name) else { continue };
        let by = threshold.by.as_str();
        let refused = match by {
            "" => Some("\"\" is not a label's name".to_owned()),
            "name" => Some("the label `name` holds the override's own name; an override goes by another one".to_owned()),
            _ if by.starts_with("__") => Some(format!("{by:?} is not a label by which series are known")),
            _ => None,
        };
        if let Some(reason) = refused {
            return Err(place.error_at("by", reason));
        }
        let values = place.get("values").filter(|values| !values.is_null());
        for (key, number) in values.map_or(Ok(&[][..]), Node::entries)? {
            count += 1;
            if count > OVERRIDES_MAX {
                return Err(key.error(format!("more than {OVERRIDES_MAX} thresholds in overrides")));
            }
            let value = key.text()?;
            if value.is_empty() {
                return Err(key.error("an override is for one value of a label, and an empty value is none"));
            }
            let labels = Labels::from_pairs([(METRIC_NAME, "override"), ("name", name), (by, value)]);
            check_labels(&labels).map_err(|reason| key.error(reason))?;
            if threshold.values.get(value).is_some_and(|number| number.is_nan()) {
                return Err(number.error("a threshold must be a number, found NaN"));
            }
        }
    }
    Ok(())
}

/// Judges what more than one section says.
pub(super) fn check_whole(config: &Config, root: &Node) -> Result<(), ConfigError> {
    let lists: [(&str, &str, Vec<&str>); 2] = [
        ("remote_write", "remote write", config.remote_write.iter().map(|remote| remote.name.as_str()).collect()),
        ("remote_read", "remote read", config.remote_read.iter().map(|remote| remote.name.as_str()).collect()),
    ];
    for (key, words, names) in lists {
        for (place, name) in names.iter().enumerate() {
            if !name.is_empty() && names.iter().take(place).any(|earlier| earlier == name) {
                let message = format!("found multiple {words} configs with job name {name:?}");
                let items = root.get(key).map_or(Ok(&[][..]), Node::items)?;
                return Err(items.get(place).unwrap_or(root).error_at("name", message));
            }
        }
    }
    for (place, remote) in config.remote_write.iter().enumerate() {
        if config.remote_write.iter().take(place).any(|earlier| earlier == remote) {
            let message = format!("duplicate remote write configs are not allowed, found duplicate for URL: {}", remote.url);
            let items = root.get("remote_write").map_or(Ok(&[][..]), Node::items)?;
            return Err(items.get(place).unwrap_or(root).error(message));
        }
    }
    if config.cluster.share_scrapes && config.zookeeper.is_none() {
        let cluster = root.get("cluster").unwrap_or(root);
        return Err(cluster.error_at("share_scrapes", "share_scrapes needs zookeeper: the members find each other there"));
    }
    check_overrides(config, root)?;
    let legacy = config.global.metric_name_validation_scheme == NameValidation::Legacy;
    let strategy = config.otlp.translation_strategy;
    let keeps = matches!(strategy, TranslationStrategy::NoUtf8EscapingWithSuffixes | TranslationStrategy::NoTranslation);
    if legacy && keeps {
        let message = format!("OTLP translation strategy {:?} is not allowed when UTF8 is disabled", strategy.as_str());
        return Err(root.error_at("otlp", message));
    }
    Ok(())
}
