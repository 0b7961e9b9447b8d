//! What ZooKeeper lays over the configuration file: the znode `config`, and one znode for each job below `config/scrape`.
//!
//! The overlay may set what concerns the whole cluster (jobs, alerting, remote stores, overrides) and nothing of this
//! machine: no web server, storage, ensemble, membership, no names of files. Maps merge, lists replace; jobs go by their
//! names, and a znode wins over the file. A znode in which something is wrong stays at its last good text, and leaves the others and
//! the file in force.

use super::error::ConfigError;
use super::load::{Config, Files, Jobs, add_jobs, assemble_with_sources, check_whole, read_root};
use super::scrape::ScrapeConfig;
use super::section::{Section as _, Value as _, read_new};
use super::yaml::{self, Limits, Node, Source};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// The keys that an overlay may set.
pub const KEYS: [&str; 5] = ["scrape_configs", "alertmanager", "remote_write", "remote_read", "overrides"];

/// What one znode may ask for: whoever can write to ZooKeeper must not be able to fill every member's memory.
const LIMITS: Limits = Limits { bytes: 16 << 20, nodes: 500_000, expanded_nodes: 1_000_000, depth: 100 };

/// One znode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Its path.
    pub path: String,
    /// Its text, or why there is none.
    pub text: Result<String, ConfigError>,
    /// The text that was last in force.
    pub last_good: Option<String>,
}

/// Everything that ZooKeeper lays over the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overlay {
    /// The znode `config`.
    pub config: Option<Layer>,
    /// The znodes below `config/scrape`, sorted by path.
    pub scrape: Vec<Layer>,
}

/// A znode whose present text is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Its path.
    pub path: String,
    /// What is wrong, and where.
    pub error: ConfigError,
    /// Whether its last good text is in force.
    pub has_last_good: bool,
}

/// Where a part of the configuration comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// A section (`global`) or something named in it (`scrape_configs/node`, `alertmanager/receivers/ops`, `overrides/disk_full`).
    pub part: String,
    /// A file's path, `zookeeper:` and a znode's path, or `default`; several where they were merged.
    pub from: Vec<String>,
}

/// A configuration with an overlay on it.
#[derive(Clone, Debug, PartialEq)]
pub struct Laid {
    /// What is in force.
    pub config: Config,
    /// Where its parts come from.
    pub parts: Vec<Part>,
    /// The znodes whose present text is not in force.
    pub refused: Vec<Refusal>,
    /// The texts that are in force, by path.
    pub good: BTreeMap<String, String>,
}

/// The configuration file as read: what an overlay is laid over. Cheap to clone.
#[derive(Clone, Debug)]
pub struct FileLayer {
    root: Node,
    config: Arc<Config>,
    sources: Vec<Arc<Source>>,
}

/// What is built up layer by layer.
struct Stack {
    config: Config,
    jobs: Jobs,
    /// The tree of all but the jobs.
    root: Node,
}

impl FileLayer {
    /// Reads a configuration file and those that it names.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place.
    pub fn read(path: &Path, text: &str, files: &dyn Files) -> Result<Self, ConfigError> {
        let root = read_root(path, text, files)?;
        let (config, sources) = assemble_with_sources(&root, files)?;
        Ok(Self { root, config: Arc::new(config), sources })
    }

    /// Takes what holds without a file.
    ///
    /// # Errors
    /// When it has something that cannot be written down and read again.
    pub fn without_file(config: Config) -> Result<Self, ConfigError> {
        let root = yaml::parse(&config.to_yaml(), &Source::default(), Limits::default())?;
        let sources = vec![Arc::default(); config.scrape_configs.len()];
        Ok(Self { root, config: Arc::new(config), sources })
    }

    /// Returns the configuration without any overlay.
    #[must_use]
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// Lays an overlay over the file. `check` judges what reading does not: the whole after `config`, and each job alone.
    pub fn lay(&self, overlay: &Overlay, check: &dyn Fn(&Config) -> Result<(), String>) -> Laid {
        let jobs = self.config.scrape_configs.iter().cloned().zip(self.sources.iter().cloned()).collect();
        let mut stack = Stack { config: Config::clone(&self.config), jobs, root: self.root.without("scrape_configs") };
        let (mut refused, mut good) = (Vec::new(), BTreeMap::new());
        if let Some(layer) = &overlay.config
            && let Some((text, laid)) = best(layer, &mut refused, |text| self.lay_over(layer, text, check))
        {
            good.insert(layer.path.clone(), text);
            stack = laid;
        }
        let mut from_znodes: Vec<String> = Vec::new();
        for layer in &overlay.scrape {
            let read = |text: &str| {
                let job = read_job(layer, text, &stack.config, check)?;
                if from_znodes.contains(&job.0.job_name) {
                    let message = format!("found multiple scrape configs with job name {:?}", job.0.job_name);
                    return Err(ConfigError::whole(&layer.path, message));
                }
                Ok(job)
            };
            if let Some((text, job)) = best(layer, &mut refused, read) {
                good.insert(layer.path.clone(), text);
                from_znodes.push(job.0.job_name.clone());
                put_job(&mut stack.jobs, job);
            }
        }
        stack.config.scrape_configs = stack.jobs.iter().map(|(job, _)| Arc::clone(job)).collect();
        Laid { parts: parts(&stack), config: stack.config, refused, good }
    }

    /// Lays the znode `config` over the file.
    fn lay_over(&self, layer: &Layer, text: &str, check: &dyn Fn(&Config) -> Result<(), String>) -> Result<Stack, ConfigError> {
        let mut over = yaml::parse(text, &Source::znode(&layer.path), LIMITS)?;
        for (key, _) in over.entries()? {
            let name = key.text()?;
            if !KEYS.contains(&name) {
                return Err(key.error(format!("{name} may not be set in ZooKeeper; the overlay takes {}", KEYS.join(", "))));
            }
        }
        if let Some(place) = over.get("alertmanager").and_then(|section| section.get("file")) {
            return Err(place.error("a configuration in ZooKeeper may not name files"));
        }
        let mut jobs: Jobs = self.config.scrape_configs.iter().cloned().zip(self.sources.iter().cloned()).collect();
        let mut own = Jobs::new();
        if let Some(list) = over.get("scrape_configs") {
            let mut read: Vec<Arc<ScrapeConfig>> = Vec::new();
            read.read(list)?;
            add_jobs(&read, &over, &self.config.global, &mut own)?;
            over = over.without("scrape_configs");
        }
        let below = self.root.without("scrape_configs");
        let root = match (over.is_map(), below.is_map()) {
            (true, true) => below.overlaid(&over),
            (true, false) => over.clone(),
            (false, _) => below,
        };
        let mut config: Config = read_new(&root)?;
        // What may not be laid over is as it is, its blanks filled in.
        config.global = self.config.global.clone();
        check_whole(&config, &root)?;
        for job in own {
            put_job(&mut jobs, job);
        }
        config.scrape_configs = jobs.iter().map(|(job, _)| Arc::clone(job)).collect();
        check(&config).map_err(|reason| over.error(reason))?;
        Ok(Stack { config, jobs, root })
    }
}

/// Takes a layer's present text, or else its last good one; what is wrong with the present one is told.
fn best<T>(layer: &Layer, refused: &mut Vec<Refusal>, read: impl Fn(&str) -> Result<T, ConfigError>) -> Option<(String, T)> {
    let error = match layer.text.as_ref().map_err(ConfigError::clone).and_then(|text| Ok((text.clone(), read(text)?))) {
        Ok(taken) => return Some(taken),
        Err(error) => error.in_file(&layer.path),
    };
    let last = layer.last_good.as_ref().and_then(|text| Some((text.clone(), read(text).ok()?)));
    refused.push(Refusal { path: layer.path.clone(), error, has_last_good: last.is_some() });
    last
}

fn read_job(
    layer: &Layer,
    text: &str,
    config: &Config,
    check: &dyn Fn(&Config) -> Result<(), String>,
) -> Result<(Arc<ScrapeConfig>, Arc<Source>), ConfigError> {
    let node = yaml::parse(text, &Source::znode(&layer.path), LIMITS)?;
    if node.is_null() {
        return Err(node.error("empty or null scrape config section"));
    }
    let mut job: ScrapeConfig = read_new(&node)?;
    job.fill_in(&config.global, &node)?;
    let job = Arc::new(job);
    check(&Config { scrape_configs: vec![Arc::clone(&job)], ..Config::default() }).map_err(|reason| node.error(reason))?;
    Ok((job, Arc::clone(&node.source)))
}

fn put_job(jobs: &mut Jobs, job: (Arc<ScrapeConfig>, Arc<Source>)) {
    match jobs.iter_mut().find(|(other, _)| other.job_name == job.0.job_name) {
        Some(place) => *place = job,
        None => jobs.push(job),
    }
}

/// Says where a source is, for people.
fn shown(source: &Source) -> String {
    match (source.file.as_str(), source.without_files) {
        ("", _) => "default".to_owned(),
        (path, true) => format!("zookeeper:{path}"),
        (path, false) => path.to_owned(),
    }
}

fn from(node: Option<&Node>) -> Vec<String> {
    let mut sources = Vec::new();
    if let Some(node) = node {
        node.sources(&mut sources);
    }
    if sources.is_empty() { vec!["default".to_owned()] } else { sources.iter().map(|source| shown(source)).collect() }
}

/// Lists where everything comes from that the configuration shows.
fn parts(stack: &Stack) -> Vec<Part> {
    let mut parts = Vec::new();
    for (section, _) in stack.config.entries() {
        let node = stack.root.get(&section);
        if section == "scrape_configs" {
            let job = |(job, source): &(Arc<ScrapeConfig>, Arc<Source>)| Part {
                part: format!("scrape_configs/{}", job.job_name),
                from: vec![shown(source)],
            };
            parts.extend(stack.jobs.iter().map(job));
            continue;
        }
        parts.push(Part { part: section.clone(), from: from(node) });
        let named: Vec<(String, &Node)> = match section.as_str() {
            "alertmanager" => {
                let receivers = node.and_then(|node| node.get("receivers")).and_then(|list| list.items().ok());
                let name = |receiver: &Node| Some(format!("receivers/{}", receiver.get("name")?.text().ok()?));
                receivers.unwrap_or_default().iter().filter_map(|receiver| Some((name(receiver)?, receiver))).collect()
            }
            "overrides" => {
                let entries = node.and_then(|node| node.entries().ok()).unwrap_or_default();
                entries.iter().filter_map(|(name, value)| Some((name.text().ok()?.to_owned(), value))).collect()
            }
            _ => Vec::new(),
        };
        parts.extend(named.into_iter().map(|(name, node)| Part { part: format!("{section}/{name}"), from: from(Some(node)) }));
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    fn no_files(_: &Path) -> io::Result<String> {
        Err(io::ErrorKind::NotFound.into())
    }

    const BASE: &str = "
global: {scrape_interval: 5s}
scrape_configs:
- {job_name: a, metrics_path: /a}
- {job_name: b, metrics_path: /b}
remote_write: [{url: 'http://one/'}]
overrides: {disk_full: {values: {db1: 95, db2: 90}}, mem_full: {values: {db1: 80}}}
alertmanager: {route: {receiver: x}, receivers: [{name: x}, {name: y}]}
";

    fn layer(path: &str, text: &str) -> Layer {
        Layer { path: path.to_owned(), text: Ok(text.to_owned()), last_good: None }
    }

    fn overlay(config: Option<&str>, scrape: &[(&str, &str)]) -> Overlay {
        Overlay {
            config: config.map(|data| layer("/w/config", data)),
            scrape: scrape.iter().map(|(path, data)| layer(path, data)).collect(),
        }
    }

    fn all_is_well(_: &Config) -> Result<(), String> {
        Ok(())
    }

    fn base() -> FileLayer {
        FileLayer::read(Path::new("/etc/w.yml"), BASE, &no_files).unwrap()
    }

    fn check(config: Option<&str>, scrape: &[(&str, &str)]) -> (Config, Vec<String>) {
        let laid = base().lay(&overlay(config, scrape), &all_is_well);
        (laid.config, laid.refused.iter().map(|refusal| refusal.error.to_string()).collect())
    }

    fn jobs(config: &Config) -> Vec<(&str, &str, u64)> {
        let job = |job: &Arc<ScrapeConfig>| job.scrape_interval.as_secs();
        config.scrape_configs.iter().map(|j| (j.job_name.as_str(), j.metrics_path.as_str(), job(j))).collect()
    }

    #[test]
    fn znodes_win_by_job_name_and_lists_replace() {
        let over = "
scrape_configs: [{job_name: b, metrics_path: /over}, {job_name: c}]
remote_write: [{url: 'http://two/'}]
overrides: {disk_full: {values: {db2: 80}}}
alertmanager: {receivers: [{name: x}, {name: z}]}
";
        let laid =
            base().lay(&overlay(Some(over), &[("/w/config/scrape/a.yml", "{job_name: a, scrape_interval: 1s}")]), &all_is_well);
        assert_eq!(laid.refused, []);
        let config = &laid.config;
        assert_eq!(jobs(config), [("a", "/metrics", 1), ("b", "/over", 5), ("c", "/metrics", 5)]);
        assert_eq!(config.remote_write.len(), 1);
        assert_eq!(config.remote_write[0].url.as_str(), "http://two/");
        let values = &config.overrides["disk_full"].values;
        assert_eq!((values["db1"], values["db2"]), (95.0, 80.0));
        assert_eq!(laid.good.keys().collect::<Vec<_>>(), ["/w/config", "/w/config/scrape/a.yml"]);
        // Where it all comes from.
        let told: BTreeMap<&str, String> = laid.parts.iter().map(|part| (part.part.as_str(), part.from.join(" "))).collect();
        let expected = [
            ("global", "/etc/w.yml"),
            ("scrape_configs/a", "zookeeper:/w/config/scrape/a.yml"),
            ("scrape_configs/c", "zookeeper:/w/config"),
            ("remote_write", "zookeeper:/w/config"),
            ("alertmanager", "/etc/w.yml zookeeper:/w/config"),
            ("alertmanager/receivers/z", "zookeeper:/w/config"),
            ("overrides/disk_full", "/etc/w.yml zookeeper:/w/config"),
            ("overrides/mem_full", "/etc/w.yml"),
            ("storage", "default"),
        ];
        for (part, from) in expected {
            assert_eq!(told.get(part).map(String::as_str), Some(from), "{part} in {told:?}");
        }
        assert!(!told.contains_key("alertmanager/receivers/y"), "{told:?}");
    }

    #[test]
    fn a_znode_wins_over_a_job_of_a_file_that_the_file_names() {
        let files = |path: &Path| match path.to_str() {
            Some("/etc/more.yml") => Ok("scrape_configs: [{job_name: m}]".to_owned()),
            _ => no_files(path),
        };
        let text = "scrape_config_files: [more.yml]";
        let base = FileLayer::read(Path::new("/etc/w.yml"), text, &files).unwrap();
        let plain = base.lay(&Overlay::default(), &all_is_well);
        assert_eq!(&plain.config, &**base.config());
        assert!(plain.parts.contains(&Part { part: "scrape_configs/m".to_owned(), from: vec!["/etc/more.yml".to_owned()] }));
        for over in [
            overlay(Some("scrape_configs: [{job_name: m, metrics_path: /z}]"), &[]),
            overlay(None, &[("/s/m", "{job_name: m, metrics_path: /z}")]),
        ] {
            let laid = base.lay(&over, &all_is_well);
            assert_eq!(laid.refused, []);
            assert_eq!(jobs(&laid.config), [("m", "/z", 60)]);
        }
    }

    #[test]
    fn what_is_wrong_is_left_out_and_told() {
        let bomb = format!("overrides:\n  a: &a0 [x,x,x,x,x,x,x,x,x,x]\n{}", {
            use std::fmt::Write as _;
            let mut lines = String::new();
            for step in 1..9 {
                let names = vec![format!("*a{}", step - 1); 10].join(",");
                writeln!(lines, "  b{step}: &a{step} [{names}]").unwrap();
            }
            lines
        });
        let deep = format!("overrides: {}{}", "[".repeat(200), "]".repeat(200));
        let cases = [
            ("web: {}", "/w/config:1:1: web may not be set"),
            ("storage: {retention: {time: 1h}}", "storage may not be set"),
            ("zookeeper: {connect: 'evil:2181'}", "zookeeper may not be set"),
            ("cluster: {name: x}", "cluster may not be set"),
            ("rule_files: [/etc/passwd]", "rule_files may not be set"),
            ("alertmanager: {file: x}", "/w/config:1:22: a configuration in ZooKeeper may not name files"),
            ("alertmanager: {templates: ['/etc/*']}", "may not name files"),
            ("alertmanager: {global: {smtp_auth_password_file: /etc/shadow}}", "may not name files"),
            ("remote_write: [{url: 'http://x/', bearer_token_file: /etc/shadow}]", "may not name files"),
            ("scrape_configs: [{job_name: z, tls_config: {ca_file: /etc/shadow}}]", "may not name files"),
            ("scrape_configs: [{job_name: z, file_sd_configs: [{files: ['/etc/*.json']}]}]", "may not name files"),
            ("scrape_configs: [{job_name: z, scrape_failure_log_file: /etc/x}]", "may not name files"),
            ("scrape_configs: [{job_name: z, foo: 1}]", "/w/config:1:32: unknown key \"foo\""),
            ("alertmanager: {route: {receiver: none}}", "none"),
            ("a: [", "/w/config:1:4: not valid YAML"),
            ("- a", "/w/config:1:1: expected a map"),
            ("overrides: &a {x: *a}", "an alias within what it stands for"),
            (bomb.as_str(), "aliases stand for more than"),
            (deep.as_str(), "within each other"),
        ];
        for (over, words) in cases {
            let (config, complaints) = check(Some(over), &[("/w/config/scrape/c.yml", "job_name: c")]);
            assert!(complaints.len() == 1 && complaints[0].contains(words), "{over}: {complaints:?}");
            assert_eq!(jobs(&config), [("a", "/a", 5), ("b", "/b", 5), ("c", "/metrics", 5)], "{over}");
        }
        let scrape = [("/s/1.yml", ""), ("/s/2.yml", "job_name: d"), ("/s/3.yml", "job_name: d"), ("/s/4.yml", "x: 1")];
        let (config, complaints) = check(None, &scrape);
        assert_eq!(complaints.len(), 3, "{complaints:?}");
        assert_eq!(jobs(&config).len(), 3);
    }

    #[test]
    fn a_broken_text_leaves_the_last_good_one_in_force() {
        let kept = |text: &str, last: &str| Layer { last_good: Some(last.to_owned()), ..layer("/w/config", text) };
        let over = |config| Overlay { config: Some(config), scrape: vec![layer("/s/c.yml", "job_name: c")] };
        let laid = base().lay(&over(kept("remote_write: [{}]", "remote_write: [{url: 'http://two/'}]")), &all_is_well);
        assert_eq!(laid.config.remote_write[0].url.as_str(), "http://two/");
        assert_eq!(jobs(&laid.config).len(), 3);
        assert!(laid.refused[0].has_last_good && laid.refused[0].error.line == 1, "{:?}", laid.refused);
        assert_eq!(laid.good["/w/config"], "remote_write: [{url: 'http://two/'}]");
        // An unreadable one as well; and a last good one that does not go with the file any more is left out.
        let unread =
            Layer { text: Err(ConfigError::whole("", "no permission")), ..kept("", "remote_write: [{url: 'http://two/'}]") };
        assert_eq!(base().lay(&over(unread), &all_is_well).refused[0].error.to_string(), "/w/config: no permission");
        let laid = base().lay(&over(kept("web: {}", "web: {}")), &all_is_well);
        assert!(!laid.refused[0].has_last_good && !laid.good.contains_key("/w/config"));
        assert_eq!(laid.config.remote_write[0].url.as_str(), "http://one/");
    }

    #[test]
    fn what_cannot_be_done_is_refused_alone() {
        let check = |config: &Config| match config.unsupported(&["email"]) {
            found if found.is_empty() => Ok(()),
            found => Err(found.join("; ")),
        };
        let over = overlay(
            Some("alertmanager: {receivers: [{name: x, webhook_configs: [{url: 'http://h/'}]}]}"),
            &[("/s/1.yml", "{job_name: k, consul_sd_configs: [{}]}"), ("/s/2.yml", "job_name: d")],
        );
        let laid = base().lay(&over, &check);
        let told: Vec<String> = laid.refused.iter().map(|refusal| refusal.error.to_string()).collect();
        assert!(told[0].starts_with("/w/config:1:1: receiver \"x\": webhook_configs is not supported"), "{told:?}");
        assert!(told[1].contains("consul_sd_configs is not supported"), "{told:?}");
        assert_eq!(jobs(&laid.config).iter().map(|job| job.0).collect::<Vec<_>>(), ["a", "b", "d"]);
    }

    #[test]
    fn without_a_file_the_overlay_lies_over_the_defaults() {
        let base = FileLayer::without_file(Config::without_file()).unwrap();
        let laid = base.lay(&overlay(Some("scrape_configs: [{job_name: c}]"), &[]), &all_is_well);
        assert_eq!(laid.refused, []);
        assert!(laid.config.host_metrics.enabled);
        assert_eq!(jobs(&laid.config), [("c", "/metrics", 15)]);
        // Nothing, or comments alone, lays nothing over.
        for nothing in [Overlay::default(), overlay(Some("# later\n"), &[])] {
            assert_eq!(&base.lay(&nothing, &all_is_well).config, &**base.config());
        }
    }
}
