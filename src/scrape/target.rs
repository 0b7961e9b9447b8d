//! From discovered labels to a target: defaults, relabelling, checks, address.
//!
//! As Prometheus's `scrape.PopulateLabels` and `Target.URL`.

use crate::config::ScrapeConfig;
use crate::model::duration;
use crate::model::labels::{INSTANCE, JOB, Labels, LabelsBuilder};
use crate::model::relabel;
use std::collections::BTreeMap;
use std::time::Duration;

const ADDRESS: &str = "__address__";
const SCHEME: &str = "__scheme__";
const METRICS_PATH: &str = "__metrics_path__";
const INTERVAL: &str = "__scrape_interval__";
const TIMEOUT: &str = "__scrape_timeout__";
const PARAM_PREFIX: &str = "__param_";

/// What is scraped, and under which labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// The labels before relabelling.
    pub(super) discovered: Labels,
    /// The labels that its samples get.
    pub(super) labels: Labels,
    /// What is fetched.
    pub(super) url: String,
    pub(super) interval: Duration,
    pub(super) timeout: Duration,
}

impl Target {
    /// Returns what tells it from all others; the same after a restart.
    pub(super) fn identity(&self) -> u64 {
        self.url.bytes().fold(self.labels.fingerprint(), |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    }
}

/// What became of a discovered label set.
#[derive(Debug)]
pub(super) enum Found {
    Target(Box<Target>),
    /// Dropped by the relabelling rule of that number.
    Dropped(Labels, usize),
    /// No target can be made of it, and why.
    Unusable(Labels, String),
}

/// Returns the labels before relabelling.
pub(super) fn discovered_labels(config: &ScrapeConfig, own: &Labels, shared: &Labels) -> Labels {
    let mut builder = LabelsBuilder::from(shared);
    for (name, value) in own {
        builder.set(name, value);
    }
    let interval = duration::format(config.scrape_interval);
    let timeout = duration::format(config.scrape_timeout);
    let defaults = [
        (JOB, config.job_name.as_str()),
        (INTERVAL, &interval),
        (TIMEOUT, &timeout),
        (METRICS_PATH, &config.metrics_path),
        (SCHEME, &config.scheme),
    ];
    for (name, value) in defaults {
        if builder.value(name).is_empty() {
            builder.set(name, value);
        }
    }
    for (name, values) in &config.params {
        let name = format!("{PARAM_PREFIX}{name}");
        if let Some(value) = values.first().filter(|_| builder.value(&name).is_empty()) {
            builder.set(&name, value);
        }
    }
    builder.build()
}

/// Makes a target of one discovered label set and its group's labels.
pub(super) fn make(config: &ScrapeConfig, own: &Labels, shared: &Labels) -> Found {
    let discovered = discovered_labels(config, own, shared);
    let mut builder = LabelsBuilder::from(&discovered);
    for (place, rule) in config.relabel_configs.iter().enumerate() {
        if !rule.apply(&mut builder) {
            return Found::Dropped(discovered, place);
        }
    }
    match finish(config, &discovered, &mut builder) {
        Ok(target) => Found::Target(Box::new(target)),
        Err(message) => Found::Unusable(discovered, message),
    }
}

fn finish(config: &ScrapeConfig, discovered: &Labels, builder: &mut LabelsBuilder) -> Result<Target, String> {
    let address = builder.value(ADDRESS).to_owned();
    if address.is_empty() {
        return Err("no address".to_owned());
    }
    if address.contains('/') {
        return Err(format!("{address:?} is not a valid hostname"));
    }
    let (interval_text, timeout_text) = (builder.value(INTERVAL).to_owned(), builder.value(TIMEOUT).to_owned());
    let read = |what: &str, text: &str| {
        let length = duration::parse(text).map_err(|error| format!("error parsing scrape {what}: {error}"))?;
        if length.is_zero() { Err(format!("scrape {what} cannot be 0")) } else { Ok(length) }
    };
    let interval = read("interval", &interval_text)?;
    let timeout = read("timeout", &timeout_text)?;
    if timeout > interval {
        return Err(format!("scrape timeout cannot be greater than scrape interval (\"{timeout_text}\" > \"{interval_text}\")"));
    }
    let url = url(config, &address, builder);
    if builder.value(INSTANCE).is_empty() {
        builder.set(INSTANCE, &address);
    }
    builder.retain(|name, _| !name.starts_with("__"));
    Ok(Target { discovered: discovered.clone(), labels: builder.build(), url, interval, timeout })
}

fn url(config: &ScrapeConfig, address: &str, builder: &LabelsBuilder) -> String {
    let mut params: BTreeMap<&str, Vec<&str>> =
        config.params.iter().map(|(name, values)| (name.as_str(), values.iter().map(String::as_str).collect())).collect();
    for (name, value) in builder.iter() {
        let Some(name) = name.strip_prefix(PARAM_PREFIX) else { continue };
        let values = params.entry(name).or_default();
        match values.first_mut() {
            Some(first) => *first = value,
            None => values.push(value),
        }
    }
    let mut url = format!("{}://{address}", builder.value(SCHEME));
    let path = builder.value(METRICS_PATH);
    if !path.is_empty() && !path.starts_with('/') {
        url.push('/');
    }
    escape(path, b"-._~/$&+,:;=@!'()*%", &mut url);
    let mut before = '?';
    for (name, values) in &params {
        for value in values {
            url.push(before);
            escape(name, b"-._~", &mut url);
            url.push('=');
            escape(value, b"-._~", &mut url);
            before = '&';
        }
    }
    url
}

/// Escapes all but letters, digits and `plain`.
fn escape(text: &str, plain: &[u8], out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || plain.contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

/// Returns what each relabelling rule made of a discovered label set.
pub(super) fn trace(config: &ScrapeConfig, discovered: &Labels) -> Vec<relabel::RelabelStep> {
    relabel::trace(&config.relabel_configs, discovered)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::regex::Regex;
    use crate::model::relabel::{RelabelAction, RelabelConfig};

    fn config() -> ScrapeConfig {
        ScrapeConfig {
            job_name: "node".to_owned(),
            scrape_interval: Duration::from_secs(15),
            scrape_timeout: Duration::from_secs(10),
            params: BTreeMap::from([("module".to_owned(), vec!["a b".to_owned(), "c".to_owned()])]),
            ..ScrapeConfig::default()
        }
    }

    #[track_caller]
    fn target(config: &ScrapeConfig, own: &[(&str, &str)]) -> Target {
        match make(config, &Labels::from_pairs(own.iter().copied()), &Labels::from_pairs([("zone", "x")])) {
            Found::Target(target) => *target,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn fills_in_what_is_missing() {
        let plain = target(&config(), &[("__address__", "db:9100"), ("__meta_x", "1")]);
        assert_eq!(plain.labels.to_string(), r#"{instance="db:9100", job="node", zone="x"}"#);
        assert_eq!(plain.url, "http://db:9100/metrics?module=a%20b&module=c");
        assert_eq!(plain.discovered.value("__scrape_interval__"), "15s");
        let own =
            [("__address__", "[::1]:1"), ("zone", "y"), ("__param_module", "é"), ("__scheme__", "https"), ("instance", "me")];
        let other = target(&config(), &own);
        assert_eq!(other.labels.to_string(), r#"{instance="me", job="node", zone="y"}"#);
        assert_eq!(other.url, "https://[::1]:1/metrics?module=%C3%A9&module=c");
        assert_ne!(plain.identity(), other.identity());
    }

    #[test]
    fn says_why_there_is_no_target() {
        let mut config = config();
        for (own, message) in [
            (&[][..], "no address"),
            (&[("__address__", "a/b")], "\"a/b\" is not a valid hostname"),
            (&[("__address__", "a"), ("__scrape_interval__", "0")], "scrape interval cannot be 0"),
            (
                &[("__address__", "a"), ("__scrape_timeout__", "1h")],
                "scrape timeout cannot be greater than scrape interval (\"1h\" > \"15s\")",
            ),
        ] {
            let Found::Unusable(_, why) = make(&config, &Labels::from_pairs(own.iter().copied()), &Labels::empty()) else {
                panic!("{message}")
            };
            assert_eq!(why, message);
        }
        config.relabel_configs = vec![
            RelabelConfig::default(),
            RelabelConfig {
                source_labels: vec![ADDRESS.to_owned()],
                regex: Regex::new("b.*").unwrap(),
                action: RelabelAction::Keep,
                ..RelabelConfig::default()
            },
        ];
        let dropped = make(&config, &Labels::from_pairs([(ADDRESS, "a")]), &Labels::empty());
        assert!(matches!(dropped, Found::Dropped(_, 1)), "{dropped:?}");
    }
}
