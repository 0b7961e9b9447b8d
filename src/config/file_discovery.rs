//! Files of targets, as file discovery (YAML or JSON) and HTTP discovery (JSON) read them.

use super::error::ConfigError;
use super::section::{read_new, section};
use super::yaml::{self, Limits, Source};
use crate::model::labels::Labels;
use crate::model::target::TargetGroup;

section! {
    /// One group of a file.
    pub struct FileGroup "target group" {
        /// `host:port` each.
        targets: Vec<String> = Vec::new(),
        /// Labels that all of them get.
        labels: Labels = Labels::empty(),
    }
}

/// Reads a file of target groups. JSON is read as the YAML that it is.
///
/// The groups' sources are `name:place`, and their targets hold `__address__` alone.
///
/// # Errors
/// With the place, when the text is not a list of target groups.
pub fn parse(name: &str, text: &str) -> Result<Vec<TargetGroup>, ConfigError> {
    let node = yaml::parse(text, &Source::named(name), Limits::default())?;
    let groups: Vec<FileGroup> = read_new(&node)?;
    Ok(groups.into_iter().enumerate().map(|(place, group)| to_group(name, place, group)).collect())
}

fn to_group(name: &str, place: usize, group: FileGroup) -> TargetGroup {
    let targets = group.targets.iter().map(|address| Labels::from_pairs([("__address__", address.as_str())])).collect();
    TargetGroup { source: format!("{name}:{place}"), targets, labels: group.labels }
}
