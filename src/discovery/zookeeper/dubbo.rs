//! Providers as Dubbo 2 registers them: everything is in the name, `<base>/<interface>/providers/<URL, percent-encoded>`.

use super::LABELS_MAX;
use super::formats::{Member, address, host_and_port, sanitized};
use crate::model::labels::Labels;
use crate::template::library::query_unescape;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

const INTERFACE: &str = "__meta_dubbo_interface";
/// Beyond the interface that the other labels are of.
const INTERFACES: &str = "__meta_dubbo_interfaces";

/// Reads the path of a provider below the base.
pub(super) fn provider(below: &str) -> Member {
    let mut parts = below.split('/');
    let (Some(interface), Some("providers"), Some(name), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return Ok(None);
    };
    let url = query_unescape(name)?;
    let (protocol, rest) = url.split_once("://").ok_or_else(|| format!("{} is not a URL", short(&url)))?;
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let authority = place.split('/').next().unwrap_or_default();
    let authority = authority.rsplit_once('@').map_or(authority, |(_, behind)| behind);
    let (host, port) = host_and_port(authority)
        .filter(|(host, _)| !host.is_empty())
        .ok_or_else(|| format!("{} has no host and port", short(&url)))?;
    let params: BTreeMap<&str, String> = query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (key, query_unescape(value).unwrap_or_else(|_| value.to_owned())))
        .take(LABELS_MAX)
        .collect();
    let mut labels = vec![
        ("__address__".to_owned(), address(host, port)),
        (INTERFACE.to_owned(), interface.to_owned()),
        ("__meta_dubbo_protocol".to_owned(), protocol.to_owned()),
        ("__meta_dubbo_host".to_owned(), host.to_owned()),
        ("__meta_dubbo_port".to_owned(), port.to_string()),
    ];
    for name in ["application", "group", "version"] {
        labels.extend(params.get(name).map(|value| (format!("__meta_dubbo_{name}"), value.clone())));
    }
    labels.extend(params.iter().map(|(key, value)| (format!("__meta_dubbo_param_{}", sanitized(key)), value.clone())));
    Ok(Some(Labels::from_pairs(labels)))
}

fn short(url: &str) -> String {
    format!("{:?}", url.chars().take(60).collect::<String>())
}

/// Makes one target of all providers of a process, which are those with one host and port: the first one's labels, and the
/// names of all interfaces, `,a,b,`.
pub(super) fn by_process(providers: Vec<Labels>) -> Vec<Labels> {
    let mut processes: BTreeMap<String, (Labels, Vec<String>)> = BTreeMap::new();
    for provider in providers {
        let interface = provider.value(INTERFACE).to_owned();
        match processes.entry(provider.value("__address__").to_owned()) {
            Entry::Vacant(place) => {
                place.insert((provider, vec![interface]));
            }
            Entry::Occupied(mut known) => {
                let interfaces = &mut known.get_mut().1;
                if !interfaces.contains(&interface) {
                    interfaces.push(interface);
                }
            }
        }
    }
    let all = processes.into_values();
    all.map(|(labels, interfaces)| labels.with(INTERFACES, &format!(",{},", interfaces.join(",")))).collect()
}
