//! What ZooKeeper lays over the configuration file: the znode `config`, and one znode for each job below `config/scrape`.
//!
//! The overlay may set what concerns the whole cluster (jobs, alerting, remote stores, overrides) and nothing of this
//! machine: no web server, storage, ensemble, membership, no names of files. Maps merge, lists replace; jobs go by their
//! names, and a znode wins over the file. What is wrong with one znode leaves the others and the file in force.

use super::error::ConfigError;
use super::load::{Config, Files, assemble, read_root};
use super::scrape::ScrapeConfig;
use super::section::read_new;
use super::yaml::{self, Limits, Node, Source};
use std::path::Path;
use std::sync::Arc;

/// The keys that an overlay may set.
pub const KEYS: [&str; 5] = ["scrape_configs", "alertmanager", "remote_write", "remote_read", "overrides"];

/// One znode's text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OverlayText {
    /// Its path, for messages.
    pub path: String,
    /// Its data.
    pub text: String,
}

/// Everything that ZooKeeper lays over the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overlay {
    /// The znode `config`.
    pub config: Option<OverlayText>,
    /// The znodes below `config/scrape`, sorted by path.
    pub scrape: Vec<OverlayText>,
}

/// Reads a configuration and lays ZooKeeper's part over it. With the configuration come the complaints about znodes that
/// were left out. `file` is the configuration file, where there is one, else `base` holds.
///
/// # Errors
/// When the file itself is wrong.
pub fn load_with(
    file: Option<(&Path, &str)>,
    base: &Config,
    overlay: &Overlay,
    files: &dyn Files,
) -> Result<(Config, Vec<ConfigError>), ConfigError> {
    let root = match file {
        Some((path, text)) => read_root(path, text, files)?,
        None => yaml::parse(&base.to_yaml(), &Source::default(), Limits::default())?,
    };
    let alone = match file {
        Some(_) => assemble(&root, files)?,
        None => base.clone(),
    };
    let mut complaints = Vec::new();
    let mut config = match &overlay.config {
        Some(text) => lay_over(&root, text, files).unwrap_or_else(|error| {
            complaints.push(error.in_file(&text.path));
            alone
        }),
        None => alone,
    };
    let mut from_znodes: Vec<String> = Vec::new();
    for text in &overlay.scrape {
        match read_job(text, &config) {
            Ok(job) if from_znodes.contains(&job.job_name) => {
                let message = format!("found multiple scrape configs with job name {:?}", job.job_name);
                complaints.push(ConfigError::whole(&text.path, message));
            }
            Ok(job) => {
                from_znodes.push(job.job_name.clone());
                put_job(&mut config, job);
            }
            Err(error) => complaints.push(error.in_file(&text.path)),
        }
    }
    Ok((config, complaints))
}

/// Returns the configuration of the tree with the overlay on it.
fn lay_over(root: &Node, text: &OverlayText, files: &dyn Files) -> Result<Config, ConfigError> {
    let over = yaml::parse(&text.text, &Source::znode(&text.path), Limits::default())?;
    for (key, _) in over.entries()? {
        let name = key.text()?;
        if !KEYS.contains(&name) {
            return Err(key.error(format!("{name} may not be set in ZooKeeper; the overlay takes {}", KEYS.join(", "))));
        }
    }
    if let Some(place) = over.get("alertmanager").and_then(|section| section.get("file")) {
        return Err(place.error("a configuration in ZooKeeper may not name files"));
    }
    let mut merged = if root.is_map() { root.overlaid(&over) } else { over.clone() };
    if let (Some(below), Some(above)) = (root.get("scrape_configs"), over.get("scrape_configs")) {
        merged = merged.with("scrape_configs", &jobs_by_name(below, above)?);
    }
    assemble(&merged, files)
}

/// Joins two lists of jobs; the later one's win.
fn jobs_by_name(below: &Node, above: &Node) -> Result<Node, ConfigError> {
    let name = |job: &Node| job.get("job_name").and_then(|name| name.text().ok().map(str::to_owned));
    let over = above.items()?;
    let kept = below.items()?.iter().filter(|job| !over.iter().any(|other| name(other).is_some() && name(other) == name(job)));
    Ok(above.list_at(kept.chain(over).cloned().collect()))
}

fn read_job(text: &OverlayText, config: &Config) -> Result<ScrapeConfig, ConfigError> {
    let node = yaml::parse(&text.text, &Source::znode(&text.path), Limits::default())?;
    if node.is_null() {
        return Err(node.error("empty or null scrape config section"));
    }
    let mut job: ScrapeConfig = read_new(&node)?;
    job.fill_in(&config.global, &node)?;
    Ok(job)
}

fn put_job(config: &mut Config, job: ScrapeConfig) {
    let job = Arc::new(job);
    match config.scrape_configs.iter_mut().find(|other| other.job_name == job.job_name) {
        Some(place) => *place = job,
        None => config.scrape_configs.push(job),
    }
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
overrides: {disk_full: {values: {db1: 95, db2: 90}}}
";

    fn text(path: &str, text: &str) -> OverlayText {
        OverlayText { path: path.to_owned(), text: text.to_owned() }
    }

    fn check(config: Option<&str>, scrape: &[(&str, &str)]) -> (Config, Vec<String>) {
        let overlay = Overlay {
            config: config.map(|data| text("/w/config", data)),
            scrape: scrape.iter().map(|(path, data)| text(path, data)).collect(),
        };
        let file = Some((Path::new("/etc/w.yml"), BASE));
        let (config, complaints) = load_with(file, &Config::default(), &overlay, &no_files).unwrap();
        (config, complaints.iter().map(ToString::to_string).collect())
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
";
        let (config, complaints) = check(Some(over), &[("/w/config/scrape/a.yml", "{job_name: a, scrape_interval: 1s}")]);
        assert_eq!(complaints, [""; 0]);
        assert_eq!(jobs(&config), [("a", "/metrics", 1), ("b", "/over", 5), ("c", "/metrics", 5)]);
        assert_eq!(config.remote_write.len(), 1);
        assert_eq!(config.remote_write[0].url.as_str(), "http://two/");
        let values = &config.overrides["disk_full"].values;
        assert_eq!((values["db1"], values["db2"]), (95.0, 80.0));
    }

    #[test]
    fn what_is_wrong_is_left_out_and_told() {
        let cases = [
            ("web: {}", "/w/config:1:1: web may not be set"),
            ("alertmanager: {file: x}", "/w/config:1:22: a configuration in ZooKeeper may not name files"),
            ("scrape_configs: [{job_name: z, tls_config: {ca_file: /etc/shadow}}]", "may not name files"),
            ("scrape_configs: [{job_name: z, foo: 1}]", "/w/config:1:32: unknown key \"foo\""),
            ("a: [", "/w/config:1:4: not valid YAML"),
        ];
        for (over, words) in cases {
            let (config, complaints) = check(Some(over), &[("/w/config/scrape/c.yml", "job_name: c")]);
            assert!(complaints.len() == 1 && complaints[0].contains(words), "{complaints:?}");
            assert_eq!(jobs(&config), [("a", "/a", 5), ("b", "/b", 5), ("c", "/metrics", 5)], "{over}");
        }
        let scrape = [("/s/1.yml", ""), ("/s/2.yml", "job_name: d"), ("/s/3.yml", "job_name: d"), ("/s/4.yml", "x: 1")];
        let (config, complaints) = check(None, &scrape);
        assert_eq!(complaints.len(), 3, "{complaints:?}");
        assert_eq!(jobs(&config).len(), 3);
    }

    #[test]
    fn without_a_file_the_overlay_lies_over_the_defaults() {
        let base = Config::without_file();
        let overlay = Overlay { config: Some(text("/w/config", "scrape_configs: [{job_name: c}]")), scrape: Vec::new() };
        let (config, complaints) = load_with(None, &base, &overlay, &no_files).unwrap();
        assert!(complaints.is_empty(), "{complaints:?}");
        assert!(config.host_metrics.enabled);
        assert_eq!(jobs(&config), [("c", "/metrics", 15)]);
        assert_eq!(load_with(None, &base, &Overlay::default(), &no_files).unwrap().0, base);
    }
}
