//! `dns_sd_configs`: targets by SRV, A, AAAA, MX and NS records.
//!
//! A name that does not exist has no targets; a name that cannot be asked for keeps those it had. hickory-resolver does its
//! own I/O (as the system's resolver would): this is its door.

use super::{Sink, Update};
use crate::config::discovery::DnsDiscovery;
use crate::env::Env;
use crate::model::labels::Labels;
use crate::model::target::TargetGroup;
use crate::telemetry::metrics::Counter;
use hickory_resolver::TokioResolver;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::rr::{RData, RecordType};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long all names of one look may take.
const LOOK_MAX: Duration = Duration::from_secs(30);

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Found {
    Address(String),
    Srv { target: String, port: u16 },
    Mx(String),
    Ns(String),
}

/// Looks the names up again and again, and says what they hold. Ends when nobody listens.
///
/// `known` are the groups of when they were last looked up.
pub async fn run(env: Env, config: DnsDiscovery, known: Vec<TargetGroup>, failures: Counter, sink: Sink) {
    let mut groups: BTreeMap<String, TargetGroup> = known.into_iter().map(|group| (group.source.clone(), group)).collect();
    let mut resolver = None;
    let mut said = None;
    loop {
        let mut errors = Vec::new();
        for name in &config.names {
            let looked = env.clock.timeout(LOOK_MAX, look_up(&mut resolver, name, &config.kind)).await;
            match looked.unwrap_or_else(|elapsed| Err(elapsed.to_string())) {
                Ok(found) => {
                    groups.insert(name.clone(), group(name, config.port, found));
                }
                Err(message) => {
                    failures.inc();
                    tracing::warn!(name, message, "a DNS lookup failed; the last targets go on");
                    errors.push(format!("{name}: {message}"));
                }
            }
        }
        let update = Update { groups: groups.values().cloned().collect(), errors };
        if said.as_ref() != Some(&update) {
            said = Some(update.clone());
            if !sink.send(update).await {
                return;
            }
        }
        env.clock.sleep(config.refresh_interval.max(Duration::from_millis(100))).await;
    }
}

async fn look_up(resolver: &mut Option<TokioResolver>, name: &str, kind: &str) -> Result<Vec<Found>, String> {
    let record_type = match kind.to_ascii_uppercase().as_str() {
        "A" => RecordType::A,
        "AAAA" => RecordType::AAAA,
        "MX" => RecordType::MX,
        "NS" => RecordType::NS,
        _ => RecordType::SRV,
    };
    let resolver = match resolver {
        Some(resolver) => resolver,
        None => {
            let made = TokioResolver::builder_tokio().and_then(hickory_resolver::ResolverBuilder::build);
            resolver.insert(made.map_err(|error| format!("cannot read the system's DNS configuration: {error}"))?)
        }
    };
    let lookup = match resolver.lookup(name, record_type).await {
        Ok(lookup) => lookup,
        Err(NetError::Dns(DnsError::NoRecordsFound(_))) => return Ok(Vec::new()),
        Err(error) => return Err(error.to_string()),
    };
    let mut found: Vec<Found> = Vec::new();
    for record in lookup.answers() {
        found.push(match &record.data {
            RData::A(address) => Found::Address(address.to_string()),
            RData::AAAA(address) => Found::Address(format!("[{address}]")),
            RData::SRV(srv) => Found::Srv { target: srv.target.to_string(), port: srv.port },
            RData::MX(mx) => Found::Mx(mx.exchange.to_string()),
            RData::NS(ns) => Found::Ns(ns.0.to_string()),
            // CNAMEs on the way.
            _ => continue,
        });
    }
    Ok(found)
}

/// Makes the group of one name.
fn group(name: &str, port: u16, found: Vec<Found>) -> TargetGroup {
    let mut targets: Vec<Labels> = found
        .into_iter()
        .map(|found| {
            let host = |name: &str| name.trim_end_matches('.').to_owned();
            let mut labels = vec![("__meta_dns_name", name.to_owned())];
            let address = match found {
                Found::Address(address) => format!("{address}:{port}"),
                Found::Srv { target, port } => {
                    let address = format!("{}:{port}", host(&target));
                    labels.extend([("__meta_dns_srv_record_target", target), ("__meta_dns_srv_record_port", port.to_string())]);
                    address
                }
                Found::Mx(target) => {
                    let address = format!("{}:{port}", host(&target));
                    labels.push(("__meta_dns_mx_record_target", target));
                    address
                }
                Found::Ns(target) => {
                    let address = format!("{}:{port}", host(&target));
                    labels.push(("__meta_dns_ns_record_target", target));
                    address
                }
            };
            labels.push(("__address__", address));
            Labels::from_pairs(labels)
        })
        .collect();
    // Answers come in changing order; targets do not.
    targets.sort();
    TargetGroup { source: name.to_owned(), targets, labels: Labels::empty() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makes_targets_of_answers() {
        let found = vec![
            Found::Srv { target: "b.example.org.".into(), port: 9100 },
            Found::Address("10.0.0.1".into()),
            Found::Mx("mail.example.org.".into()),
        ];
        let group = group("_node._tcp.example.org", 9000, found);
        let addresses: Vec<&str> = group.targets.iter().map(|labels| labels.value("__address__")).collect();
        assert_eq!(addresses, ["10.0.0.1:9000", "b.example.org:9100", "mail.example.org:9000"]);
        assert_eq!(group.targets[1].value("__meta_dns_srv_record_target"), "b.example.org.");
        assert_eq!(group.targets[1].value("__meta_dns_srv_record_port"), "9100");
        assert_eq!(group.targets[0].value("__meta_dns_name"), "_node._tcp.example.org");
    }
}
