//! What Prometheus refuses of the keys of clouds, in its words.

use super::{
    Aws, Azure, Consul, Docker, DockerSwarm, Ec2, Eureka, Gce, Hetzner, Ionos, Kuma, Marathon, Nomad, Oci, OpenStack, Outscale,
    OvhCloud, PuppetDb, Scaleway, StackIt, Triton, Uyuni,
};
use crate::config::error::ConfigError;
use crate::config::values::Url;
use crate::config::yaml::Node;

type Checked = Result<(), ConfigError>;

/// Refuses an empty text under `key`.
fn need(node: &Node, text: &str, message: &str) -> Checked {
    if text.is_empty() { Err(node.error(message)) } else { Ok(()) }
}

/// Refuses a word that is not one of `words`.
fn one_of(node: &Node, key: &str, word: &str, words: &[&str], message: &str) -> Checked {
    if words.contains(&word) { Ok(()) } else { Err(node.error_at(key, message)) }
}

pub(super) fn ec2(config: &mut Ec2, node: &Node) -> Checked {
    if config.filters.iter().any(|filter| filter.values.is_empty()) {
        return Err(node.error_at("filters", "EC2 SD configuration filter values cannot be empty"));
    }
    Ok(())
}

pub(super) fn aws(config: &mut Aws, node: &Node) -> Checked {
    let known = ["ec2", "ecs", "elasticache", "lightsail", "msk", "rds"];
    one_of(node, "role", &config.role, &known, &format!("unknown AWS SD role {:?}", config.role))
}

pub(super) fn azure(config: &mut Azure, node: &Node) -> Checked {
    need(node, &config.subscription_id, "azure SD configuration requires a subscription_id")?;
    let methods = ["OAuth", "ManagedIdentity", "SDK", "WorkloadIdentity"];
    let message = format!(
        "unknown authentication_type {:?}. Supported types are \"OAuth\", \"ManagedIdentity\", \"SDK\" or \"WorkloadIdentity\"",
        config.authentication_method
    );
    one_of(node, "authentication_method", &config.authentication_method, &methods, &message)?;
    if config.authentication_method == "OAuth" {
        need(node, &config.tenant_id, "azure SD configuration requires a tenant_id")?;
        need(node, &config.client_id, "azure SD configuration requires a client_id")?;
        need(node, config.client_secret.reveal(), "azure SD configuration requires a client_secret")?;
    }
    Ok(())
}

pub(super) fn consul(config: &mut Consul, node: &Node) -> Checked {
    need(node, config.server.trim(), "consul SD configuration requires a server address")?;
    if (!config.username.is_empty() || !config.password.is_empty()) && config.http.basic_auth.is_some() {
        return Err(node.error("at most one of consul SD configuration username and password and basic auth can be configured"));
    }
    let token = !config.token.is_empty();
    if token && (config.http.authorization.is_some() || config.http.oauth2.is_some()) {
        return Err(node.error("at most one of consul SD token, authorization, or oauth2 can be configured"));
    }
    Ok(())
}

/// Judges the address of a Docker daemon.
fn host(node: &Node, host: &str) -> Checked {
    need(node, host, "host missing")?;
    Url::parse(host).map(|_| ()).map_err(|reason| node.error_at("host", reason))
}

pub(super) fn docker(config: &mut Docker, node: &Node) -> Checked {
    host(node, &config.host)
}

pub(super) fn swarm(config: &mut DockerSwarm, node: &Node) -> Checked {
    host(node, &config.host)?;
    need(node, &config.role, "role missing (one of: tasks, services, nodes)")?;
    let message = format!("invalid role {}, expected tasks, services, or nodes", config.role);
    one_of(node, "role", &config.role, &["tasks", "services", "nodes"], &message)
}

pub(super) fn eureka(config: &mut Eureka, node: &Node) -> Checked {
    need(node, &config.server, "eureka_sd: empty or null eureka server")?;
    let url = Url::parse(&config.server).map_err(|reason| node.error_at("server", reason))?;
    if url.scheme().is_none() || url.host_and_port().is_empty() {
        return Err(node.error_at("server", "eureka_sd: invalid eureka server URL"));
    }
    Ok(())
}

pub(super) fn gce(config: &mut Gce, node: &Node) -> Checked {
    need(node, &config.project, "GCE SD configuration requires a project")?;
    need(node, &config.zone, "GCE SD configuration requires a zone")
}

pub(super) fn hetzner(config: &mut Hetzner, node: &Node) -> Checked {
    need(node, &config.role, "role missing (one of: robot, hcloud)")?;
    one_of(node, "role", &config.role, &["robot", "hcloud"], &format!("unknown role {:?}", config.role))
}

pub(super) fn ionos(config: &mut Ionos, node: &Node) -> Checked {
    need(node, &config.datacenter_id, "datacenter id can't be empty")
}

pub(super) fn kuma(config: &mut Kuma, node: &Node) -> Checked {
    need(node, &config.server, "kuma SD server must not be empty")?;
    let url = Url::parse(&config.server).map_err(|reason| node.error_at("server", reason))?;
    if url.scheme().is_none() || url.host_and_port().is_empty() {
        return Err(node.error_at("server", "kuma SD server must not be empty and have a scheme"));
    }
    Ok(())
}

pub(super) fn marathon(config: &mut Marathon, node: &Node) -> Checked {
    if config.servers.is_empty() {
        return Err(node.error("marathon_sd: must contain at least one Marathon server"));
    }
    let token = !config.auth_token.is_empty();
    let token_file = !config.auth_token_file.is_empty();
    if token && token_file {
        return Err(node.error("marathon_sd: at most one of auth_token & auth_token_file must be configured"));
    }
    if !token && !token_file {
        return Ok(());
    }
    if config.http.basic_auth.is_some() {
        return Err(node.error("marathon_sd: at most one of basic_auth, auth_token & auth_token_file must be configured"));
    }
    // Reading has moved bearer tokens to `authorization`: the words tell which was written.
    if node.get("bearer_token").is_some() || node.get("bearer_token_file").is_some() {
        let message =
            "marathon_sd: at most one of bearer_token, bearer_token_file, auth_token & auth_token_file must be configured";
        return Err(node.error(message));
    }
    if config.http.authorization.is_some() {
        return Err(node.error("marathon_sd: at most one of auth_token, auth_token_file & authorization must be configured"));
    }
    Ok(())
}

pub(super) fn nomad(config: &mut Nomad, node: &Node) -> Checked {
    need(node, config.server.trim(), "nomad SD configuration requires a server address")
}

pub(super) fn oci(config: &mut Oci, node: &Node) -> Checked {
    let message = format!("oci_sd: unknown auth method {:?}, expected \"api_key\" or \"instance_principal\"", config.auth_method);
    one_of(node, "auth_method", &config.auth_method, &["api_key", "instance_principal"], &message)?;
    if config.auth_method == "api_key" {
        let needed = [
            ("tenancy", &config.tenancy),
            ("user", &config.user),
            ("fingerprint", &config.fingerprint),
            ("region", &config.region),
        ];
        for (key, text) in needed {
            need(node, text, &format!("oci_sd: {key} is required with auth_method \"api_key\""))?;
        }
        need(node, &config.key_file, "oci_sd: key_file is required with auth_method \"api_key\"")?;
    }
    if config.compartments.is_empty() {
        return Err(node.error("oci_sd: at least one compartment must be configured"));
    }
    Ok(())
}

pub(super) fn openstack(config: &mut OpenStack, node: &Node) -> Checked {
    let places = ["public", "internal", "admin"];
    let message = format!("unknown availability {}, must be one of admin, internal or public", config.availability);
    one_of(node, "availability", &config.availability, &places, &message)?;
    need(node, &config.role, "role missing (one of: instance, hypervisor, loadbalancer)")?;
    let roles = ["instance", "hypervisor", "loadbalancer"];
    one_of(node, "role", &config.role, &roles, &format!("unknown OpenStack SD role {:?}", config.role))?;
    need(node, &config.region, "openstack SD configuration requires a region")
}

/// Judges a secret that stands in the configuration or in a file.
fn secret_or_file(node: &Node, secret: bool, file: bool) -> Checked {
    match (secret, file) {
        (true, true) => Err(node.error("at most one of secret_key & secret_key_file must be configured")),
        (false, false) => Err(node.error("one of secret_key & secret_key_file must be configured")),
        _ => Ok(()),
    }
}

pub(super) fn outscale(config: &mut Outscale, node: &Node) -> Checked {
    need(node, &config.region, "outscale SD configuration requires a region")?;
    need(node, &config.access_key, "outscale SD configuration requires an access_key")?;
    secret_or_file(node, !config.secret_key.is_empty(), !config.secret_key_file.is_empty())
}

pub(super) fn ovhcloud(config: &mut OvhCloud, node: &Node) -> Checked {
    need(node, &config.endpoint, "endpoint can not be empty")?;
    need(node, &config.application_key, "application key can not be empty")?;
    need(node, config.application_secret.reveal(), "application secret can not be empty")?;
    need(node, config.consumer_key.reveal(), "consumer key can not be empty")?;
    let message = format!("unknown service: {}", config.service);
    one_of(node, "service", &config.service, &["dedicated_server", "vps"], &message)
}

pub(super) fn puppetdb(config: &mut PuppetDb, node: &Node) -> Checked {
    need(node, config.url.as_str(), "URL is missing")?;
    if !matches!(config.url.scheme(), Some("http" | "https")) {
        return Err(node.error_at("url", "URL scheme must be 'http' or 'https'"));
    }
    need(node, config.url.host_and_port(), "host is missing in URL")?;
    need(node, &config.query, "query missing")
}

pub(super) fn scaleway(config: &mut Scaleway, node: &Node) -> Checked {
    need(node, &config.role, "role missing (one of: instance, baremetal)")?;
    one_of(node, "role", &config.role, &["instance", "baremetal"], &format!("unknown role {:?}", config.role))?;
    need(node, &config.project_id, "project_id is mandatory")?;
    secret_or_file(node, !config.secret_key.is_empty(), !config.secret_key_file.is_empty())?;
    need(node, &config.access_key, "access_key is mandatory")
}

pub(super) fn stackit(config: &mut StackIt, node: &Node) -> Checked {
    if config.endpoint.is_empty() {
        return need(node, &config.region, "stackit_sd: either endpoint or region must be set");
    }
    let url = Url::parse(&config.endpoint).map_err(|_| node.error_at("endpoint", "stackit_sd: invalid endpoint"))?;
    if url.scheme().is_none() || url.host_and_port().is_empty() {
        return Err(node.error_at("endpoint", format!("stackit_sd: invalid endpoint {:?}", config.endpoint)));
    }
    Ok(())
}

pub(super) fn triton(config: &mut Triton, node: &Node) -> Checked {
    one_of(node, "role", &config.role, &["container", "cn"], "triton SD configuration requires role to be 'container' or 'cn'")?;
    need(node, &config.account, "triton SD configuration requires an account")?;
    need(node, &config.dns_suffix, "triton SD configuration requires a dns_suffix")?;
    need(node, &config.endpoint, "triton SD configuration requires an endpoint")
}

pub(super) fn uyuni(config: &mut Uyuni, node: &Node) -> Checked {
    need(node, &config.server, "uyuni SD configuration requires server host")?;
    need(node, &config.username, "uyuni SD configuration requires a username")?;
    need(node, config.password.reveal(), "uyuni SD configuration requires a password")
}
