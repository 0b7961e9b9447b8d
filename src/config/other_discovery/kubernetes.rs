//! `kubernetes_sd_configs`, read and judged.

use crate::config::error::ConfigError;
use crate::config::http_client::HttpClientConfig;
use crate::config::section::section;
use crate::config::values::{FilePath, Url};
use crate::config::yaml::Node;
use std::collections::BTreeSet;

section! {
    pub struct Namespaces "kubernetes namespaces" {
        own_namespace: bool = false,
        names: Vec<String> = Vec::new(),
    }

    pub struct Selector "kubernetes selector" {
        role: String = String::new(),
        label: String = String::new(),
        field: String = String::new(),
    }

    pub struct AttachMetadata "kubernetes attach_metadata" {
        node: bool = false,
        namespace: bool = false,
        service: bool = false,
    }

    pub struct Kubernetes "kubernetes_sd_configs" {
        api_server: Url = Url::default(),
        role: String = String::new(),
        kubeconfig_file: FilePath = FilePath::default(),
        namespaces: Namespaces = Namespaces::default(),
        selectors: Vec<Selector> = Vec::new(),
        attach_metadata: AttachMetadata = AttachMetadata::default(),
    } inline { http: HttpClientConfig, } check check;
}

/// Which selectors a role takes.
const ROLES: [(&str, &[&str]); 6] = [
    ("pod", &["pod", "node"]),
    ("service", &["service"]),
    ("endpointslice", &["pod", "service", "endpointslice"]),
    ("endpoints", &["pod", "service", "endpoints"]),
    ("node", &["node"]),
    ("ingress", &["ingress"]),
];

fn check(config: &mut Kubernetes, node: &Node) -> Result<(), ConfigError> {
    let Some((role, allowed)) = ROLES.iter().find(|(role, _)| *role == config.role) else {
        let words = "role missing (one of: pod, service, endpoints, endpointslice, node, ingress)";
        let unknown = format!("unknown Kubernetes SD role {:?}", config.role);
        return Err(node.error_at("role", if config.role.is_empty() { words.to_owned() } else { unknown }));
    };
    check_access(config, node)?;
    let mut seen = BTreeSet::new();
    for selector in &config.selectors {
        if !seen.insert(&selector.role) {
            return Err(node.error_at("selectors", format!("duplicated selector role: {}", selector.role)));
        }
        if !ROLES.iter().any(|(role, _)| *role == selector.role) {
            return Err(node.error_at("selectors", format!("unknown Kubernetes SD role {:?}", selector.role)));
        }
        if !allowed.contains(&selector.role.as_str()) {
            let message = format!("{role} role supports only {} selectors", allowed.join(", "));
            return Err(node.error_at("selectors", message));
        }
        check_fields(&selector.field).map_err(|reason| node.error_at("selectors", reason))?;
        check_labels(&selector.label).map_err(|reason| node.error_at("selectors", reason))?;
    }
    Ok(())
}

fn check_access(config: &Kubernetes, node: &Node) -> Result<(), ConfigError> {
    let kubeconfig = !config.kubeconfig_file.is_empty();
    let server = !config.api_server.is_empty();
    let custom_client = config.http != HttpClientConfig::default();
    if kubeconfig && server {
        return Err(node.error("cannot use 'kubeconfig_file' and 'api_server' simultaneously"));
    }
    if kubeconfig && custom_client {
        return Err(node.error("cannot use a custom HTTP client configuration together with 'kubeconfig_file'"));
    }
    if !server && custom_client {
        return Err(node.error("to use custom HTTP client configuration please provide the 'api_server' URL explicitly"));
    }
    if server && config.namespaces.own_namespace {
        return Err(node.error("cannot use 'api_server' and 'namespaces.own_namespace' simultaneously"));
    }
    if kubeconfig && config.namespaces.own_namespace {
        return Err(node.error("cannot use 'kubeconfig_file' and 'namespaces.own_namespace' simultaneously"));
    }
    Ok(())
}

/// Judges a field selector: `name=value`, `name==value`, `name!=value`, separated by commas.
fn check_fields(text: &str) -> Result<(), String> {
    for term in text.split(',').filter(|term| !term.is_empty()) {
        if !term.contains('=') {
            return Err(format!("invalid selector: '{text}'; can't understand '{term}'"));
        }
    }
    Ok(())
}

/// Judges a label selector roughly: every term is a name, or a name with `=`, `!=`, `in (..)`, `notin (..)`.
fn check_labels(text: &str) -> Result<(), String> {
    let mut depth = 0_i32;
    for c in text.chars() {
        depth += i32::from(c == '(') - i32::from(c == ')');
        if depth < 0 {
            break;
        }
    }
    if depth == 0 { Ok(()) } else { Err(format!("unable to parse requirement: unbalanced parentheses in {text:?}")) }
}
