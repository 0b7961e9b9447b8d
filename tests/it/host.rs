//! This host's own metrics beside the real node_exporter's: same names, types and label names.

use crate::support::exporters::NodeExporter;
use crate::support::{Scratch, http};
use std::collections::{BTreeMap, BTreeSet};
use watchkeeper::env::Env;
use watchkeeper::host::HostCollector;

/// Ours alone, each with its reason.
const ALLOWED: &[(&str, &str)] = &[
    ("node_processes_", "node_exporter's collector `processes` is off by default"),
    ("node_netstat_Tcp_", "its network namespace may differ; types are the same"),
];

/// Family -> (type, label sets as lists of names).
fn families(text: &str) -> BTreeMap<String, (String, BTreeSet<Vec<String>>)> {
    let mut found: BTreeMap<String, (String, BTreeSet<Vec<String>>)> = BTreeMap::new();
    for line in text.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            found.entry(name.to_owned()).or_default().0 = kind.to_owned();
        } else if !line.starts_with('#') && !line.is_empty() {
            let name: String = line.chars().take_while(|c| *c != '{' && *c != ' ').collect();
            let labels = line.split_once('{').and_then(|(_, rest)| rest.rsplit_once('}')).map_or("", |(labels, _)| labels);
            let names = labels.split("\",").filter_map(|pair| pair.split_once('=')).map(|(name, _)| name.to_owned()).collect();
            found.entry(name).or_default().1.insert(names);
        }
    }
    found
}

#[test]
fn our_names_are_node_exporters() {
    let scratch = Scratch::new("host");
    let exporter = NodeExporter::start(&scratch);
    let theirs = families(&http::get(&format!("127.0.0.1:{}", exporter.port), "/metrics").unwrap().body);
    let ours = families(&String::from_utf8(HostCollector::new(&Env::real(), &[]).collect()).unwrap());
    assert!(ours.len() > 100, "only {} families", ours.len());
    let mut wrong = Vec::new();
    for (name, (kind, labels)) in &ours {
        if ALLOWED.iter().any(|(prefix, _)| name.starts_with(prefix)) || labels.is_empty() {
            continue;
        }
        match theirs.get(name) {
            None => wrong.push(format!("{name} is not among node_exporter's")),
            Some((their_kind, _)) if their_kind != kind => wrong.push(format!("{name} is a {their_kind}, not a {kind}")),
            Some((_, their_labels)) if !labels.is_subset(their_labels) => {
                wrong.push(format!("{name} has labels {their_labels:?}, not {labels:?}"));
            }
            Some(_) => {}
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
