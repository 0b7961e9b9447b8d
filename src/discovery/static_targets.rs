//! `static_configs`: targets written down.

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
