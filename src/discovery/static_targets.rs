//! `static_configs` and `zookeeper_servers`: targets written down.

use crate::config::discovery::StaticConfig;
use crate::model::labels::Labels;
use crate::model::target::TargetGroup;

/// Returns one group for each section.
#[must_use]
pub fn groups(configs: &[StaticConfig]) -> Vec<TargetGroup> {
    let group = |(place, config): (usize, &StaticConfig)| TargetGroup {
        source: format!("static/{place}"),
        targets: config.targets.iter().map(|address| Labels::from_pairs([("__address__", address.as_str())])).collect(),
        labels: config.labels.clone(),
    };
    configs.iter().enumerate().map(group).collect()
}

/// Returns the group of ZooKeeper servers that are asked for their own metrics; empty where there are none.
#[must_use]
pub fn zookeeper_servers(servers: &[String]) -> Option<TargetGroup> {
    let target = |server: &String| {
        let has_port = server.rsplit_once(':').is_some_and(|(host, _)| !host.contains(':') || host.ends_with(']'));
        let address = if has_port { server.clone() } else { format!("{server}:2181") };
        // Scraping knows the scheme.
        Labels::from_pairs([("__address__", address.as_str()), ("__scheme__", "zookeeper"), ("__metrics_path__", "/mntr")])
    };
    let targets: Vec<Labels> = servers.iter().map(target).collect();
    (!targets.is_empty()).then(|| TargetGroup { source: "zookeeper_servers".to_owned(), targets, labels: Labels::empty() })
}
