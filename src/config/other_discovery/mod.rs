//! Kinds of discovery that are read and judged as Prometheus judges them, but that the server does not do: clouds and
//! orchestrators.
//!
//! The field names are Prometheus's keys and are documented there.

#![expect(missing_docs, reason = "the fields are Prometheus's keys, documented there")]

mod check;
pub mod kubernetes;

use super::error::ConfigError;
use super::http_client::{HttpClientConfig, ProxyConfig, TlsConfig};
use super::section::{Value, section};
use super::show::Shown;
use super::values::{FilePath, Secret, Url};
use super::yaml::Node;
use std::collections::BTreeMap;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);
const HALF_MINUTE: Duration = Duration::from_secs(30);

fn text(text: &str) -> String {
    text.to_owned()
}

section! {
    pub struct Filter "filter" {
        name: String = String::new(),
        values: Vec<String> = Vec::new(),
    }

    /// Amazon's machines; `lightsail` and the `aws` umbrella share most keys.
    pub struct Ec2 "ec2_sd_configs" {
        endpoint: String = String::new(),
        region: String = String::new(),
        access_key: String = String::new(),
        secret_key: Secret = Secret::default(),
        profile: String = String::new(),
        role_arn: String = String::new(),
        external_id: String = String::new(),
        refresh_interval: Duration = MINUTE,
        port: u16 = 80,
        filters: Vec<Filter> = Vec::new(),
    } inline { http: HttpClientConfig, } check check::ec2;

    pub struct Lightsail "lightsail_sd_configs" {
        endpoint: String = String::new(),
        region: String = String::new(),
        access_key: String = String::new(),
        secret_key: Secret = Secret::default(),
        profile: String = String::new(),
        role_arn: String = String::new(),
        external_id: String = String::new(),
        refresh_interval: Duration = MINUTE,
        port: u16 = 80,
    } inline { http: HttpClientConfig, }

    pub struct Aws "aws_sd_configs" {
        role: String = String::new(),
        endpoint: String = String::new(),
        region: String = String::new(),
        access_key: String = String::new(),
        secret_key: Secret = Secret::default(),
        profile: String = String::new(),
        role_arn: String = String::new(),
        external_id: String = String::new(),
        refresh_interval: Duration = MINUTE,
        port: u16 = 80,
        filters: Vec<Filter> = Vec::new(),
        clusters: Vec<String> = Vec::new(),
        request_concurrency: i64 = 0,
    } inline { http: HttpClientConfig, } check check::aws;

    pub struct Azure "azure_sd_configs" {
        environment: String = text("AzurePublicCloud"),
        port: u16 = 80,
        subscription_id: String = String::new(),
        tenant_id: String = String::new(),
        client_id: String = String::new(),
        client_secret: Secret = Secret::default(),
        refresh_interval: Duration = Duration::from_secs(300),
        authentication_method: String = text("OAuth"),
        resource_group: String = String::new(),
    } inline { http: HttpClientConfig, } check check::azure;

    pub struct Consul "consul_sd_configs" {
        server: String = text("localhost:8500"),
        path_prefix: String = String::new(),
        token: Secret = Secret::default(),
        datacenter: String = String::new(),
        namespace: String = String::new(),
        partition: String = String::new(),
        tag_separator: String = text(","),
        scheme: String = text("http"),
        username: String = String::new(),
        password: Secret = Secret::default(),
        allow_stale: bool = true,
        refresh_interval: Duration = HALF_MINUTE,
        services: Vec<String> = Vec::new(),
        tags: Vec<String> = Vec::new(),
        node_meta: BTreeMap<String, String> = BTreeMap::new(),
        filter: String = String::new(),
        health_filter: String = String::new(),
    } inline { http: HttpClientConfig, } check check::consul;

    pub struct DigitalOcean "digitalocean_sd_configs" {
        role: String = text("droplets"),
        refresh_interval: Duration = MINUTE,
        port: u16 = 80,
    } inline { http: HttpClientConfig, }

    pub struct Docker "docker_sd_configs" {
        host: String = String::new(),
        port: u16 = 80,
        filters: Vec<Filter> = Vec::new(),
        host_networking_host: String = text("localhost"),
        refresh_interval: Duration = MINUTE,
        match_first_network: bool = true,
    } inline { http: HttpClientConfig, } check check::docker;

    pub struct DockerSwarm "dockerswarm_sd_configs" {
        host: String = String::new(),
        role: String = String::new(),
        port: u16 = 80,
        filters: Vec<Filter> = Vec::new(),
        refresh_interval: Duration = MINUTE,
    } inline { http: HttpClientConfig, } check check::swarm;

    pub struct Eureka "eureka_sd_configs" {
        server: String = String::new(),
        refresh_interval: Duration = HALF_MINUTE,
    } inline { http: HttpClientConfig, } check check::eureka;

    pub struct Gce "gce_sd_configs" {
        project: String = String::new(),
        zone: String = String::new(),
        filter: String = String::new(),
        refresh_interval: Duration = MINUTE,
        port: u16 = 80,
        tag_separator: String = text(","),
    } check check::gce;

    pub struct Hetzner "hetzner_sd_configs" {
        role: String = String::new(),
        refresh_interval: Duration = MINUTE,
        port: u16 = 80,
        label_selector: String = String::new(),
    } inline { http: HttpClientConfig, } check check::hetzner;

    pub struct Ionos "ionos_sd_configs" {
        datacenter_id: String = String::new(),
        refresh_interval: Duration = MINUTE,
        port: u16 = 80,
    } inline { http: HttpClientConfig, } check check::ionos;

    pub struct Kuma "kuma_sd_configs" {
        server: String = String::new(),
        client_id: String = String::new(),
        refresh_interval: Duration = HALF_MINUTE,
        fetch_timeout: Duration = Duration::from_secs(120),
    } inline { http: HttpClientConfig, } check check::kuma;

    pub struct Linode "linode_sd_configs" {
        refresh_interval: Duration = MINUTE,
        port: u16 = 80,
        tag_separator: String = text(","),
        region: String = String::new(),
    } inline { http: HttpClientConfig, }

    pub struct Marathon "marathon_sd_configs" {
        servers: Vec<String> = Vec::new(),
        refresh_interval: Duration = HALF_MINUTE,
        auth_token: Secret = Secret::default(),
        auth_token_file: FilePath = FilePath::default(),
    } inline { http: HttpClientConfig, } check check::marathon;

    pub struct Nomad "nomad_sd_configs" {
        allow_stale: bool = true,
        namespace: String = text("default"),
        refresh_interval: Duration = MINUTE,
        region: String = text("global"),
        server: String = text("http://localhost:4646"),
        tag_separator: String = text(","),
    } inline { http: HttpClientConfig, } check check::nomad;

    pub struct Oci "oci_sd_configs" {
        auth_method: String = text("api_key"),
        region: String = String::new(),
        tenancy: String = String::new(),
        user: String = String::new(),
        fingerprint: String = String::new(),
        key_file: FilePath = FilePath::default(),
        key_passphrase: Secret = Secret::default(),
        compartments: Vec<String> = Vec::new(),
        port: u16 = 80,
        refresh_interval: Duration = MINUTE,
        tag_separator: String = text(","),
    } inline { http: HttpClientConfig, } check check::oci;

    pub struct OpenStack "openstack_sd_configs" {
        identity_endpoint: String = String::new(),
        username: String = String::new(),
        userid: String = String::new(),
        password: Secret = Secret::default(),
        project_name: String = String::new(),
        project_id: String = String::new(),
        domain_name: String = String::new(),
        domain_id: String = String::new(),
        application_credential_name: String = String::new(),
        application_credential_id: String = String::new(),
        application_credential_secret: Secret = Secret::default(),
        role: String = String::new(),
        region: String = String::new(),
        refresh_interval: Duration = MINUTE,
        port: u16 = 80,
        all_tenants: bool = false,
        tls_config: TlsConfig = TlsConfig::default(),
        availability: String = text("public"),
    } check check::openstack;

    pub struct Outscale "outscale_sd_configs" {
        endpoint: String = String::new(),
        region: String = String::new(),
        access_key: String = String::new(),
        secret_key: Secret = Secret::default(),
        secret_key_file: FilePath = FilePath::default(),
        refresh_interval: Duration = MINUTE,
        port: u16 = 80,
        profile: String = String::new(),
    } inline { http: HttpClientConfig, } check check::outscale;

    pub struct OvhCloud "ovhcloud_sd_configs" {
        endpoint: String = text("ovh-eu"),
        application_key: String = String::new(),
        application_secret: Secret = Secret::default(),
        consumer_key: Secret = Secret::default(),
        refresh_interval: Duration = MINUTE,
        service: String = String::new(),
    } check check::ovhcloud;

    pub struct PuppetDb "puppetdb_sd_configs" {
        url: Url = Url::default(),
        query: String = String::new(),
        include_parameters: bool = false,
        refresh_interval: Duration = MINUTE,
        port: u16 = 80,
    } inline { http: HttpClientConfig, } check check::puppetdb;

    pub struct Scaleway "scaleway_sd_configs" {
        project_id: String = String::new(),
        api_url: String = text("https://api.scaleway.com"),
        zone: String = text("fr-par-1"),
        access_key: String = String::new(),
        secret_key: Secret = Secret::default(),
        secret_key_file: FilePath = FilePath::default(),
        name_filter: String = String::new(),
        tags_filter: Vec<String> = Vec::new(),
        refresh_interval: Duration = MINUTE,
        port: u16 = 80,
        role: String = String::new(),
        follow_redirects: bool = true,
        enable_http2: bool = true,
        tls_config: TlsConfig = TlsConfig::default(),
    } inline { proxy: ProxyConfig, } check check::scaleway;

    pub struct StackIt "stackit_sd_configs" {
        project: String = String::new(),
        region: String = text("eu01"),
        endpoint: String = String::new(),
        service_account_key: Secret = Secret::default(),
        service_account_key_path: FilePath = FilePath::default(),
        private_key: Secret = Secret::default(),
        private_key_path: FilePath = FilePath::default(),
        credentials_file_path: FilePath = FilePath::default(),
        refresh_interval: Duration = MINUTE,
        port: u16 = 80,
    } inline { http: HttpClientConfig, } check check::stackit;

    pub struct Triton "triton_sd_configs" {
        account: String = String::new(),
        role: String = text("container"),
        dns_suffix: String = String::new(),
        endpoint: String = String::new(),
        groups: Vec<String> = Vec::new(),
        port: u16 = 9163,
        refresh_interval: Duration = MINUTE,
        tls_config: TlsConfig = TlsConfig::default(),
        version: i64 = 1,
    } check check::triton;

    pub struct Uyuni "uyuni_sd_configs" {
        server: String = String::new(),
        username: String = String::new(),
        password: Secret = Secret::default(),
        entitlement: String = text("monitoring_entitled"),
        separator: String = text(","),
        refresh_interval: Duration = MINUTE,
    } inline { http: HttpClientConfig, } check check::uyuni;

    pub struct Vultr "vultr_sd_configs" {
        refresh_interval: Duration = MINUTE,
        port: u16 = 80,
    } inline { http: HttpClientConfig, }
}

fn read_list<T: Value>(node: &Node) -> Result<Shown, ConfigError> {
    let mut list = Vec::<T>::new();
    list.read(node)?;
    Ok(list.show())
}

/// Reads the value of a key of such a kind; `None` where it is not one.
pub(crate) fn read(key: &str, node: &Node) -> Result<Option<Shown>, ConfigError> {
    let shown = match key {
        "aws_sd_configs" => read_list::<Aws>(node),
        "azure_sd_configs" => read_list::<Azure>(node),
        "consul_sd_configs" => read_list::<Consul>(node),
        "digitalocean_sd_configs" => read_list::<DigitalOcean>(node),
        "docker_sd_configs" => read_list::<Docker>(node),
        "dockerswarm_sd_configs" => read_list::<DockerSwarm>(node),
        "ec2_sd_configs" => read_list::<Ec2>(node),
        "eureka_sd_configs" => read_list::<Eureka>(node),
        "gce_sd_configs" => read_list::<Gce>(node),
        "hetzner_sd_configs" => read_list::<Hetzner>(node),
        "ionos_sd_configs" => read_list::<Ionos>(node),
        "kubernetes_sd_configs" => read_list::<kubernetes::Kubernetes>(node),
        "kuma_sd_configs" => read_list::<Kuma>(node),
        "lightsail_sd_configs" => read_list::<Lightsail>(node),
        "linode_sd_configs" => read_list::<Linode>(node),
        "marathon_sd_configs" => read_list::<Marathon>(node),
        "nomad_sd_configs" => read_list::<Nomad>(node),
        "oci_sd_configs" => read_list::<Oci>(node),
        "openstack_sd_configs" => read_list::<OpenStack>(node),
        "outscale_sd_configs" => read_list::<Outscale>(node),
        "ovhcloud_sd_configs" => read_list::<OvhCloud>(node),
        "puppetdb_sd_configs" => read_list::<PuppetDb>(node),
        "scaleway_sd_configs" => read_list::<Scaleway>(node),
        "stackit_sd_configs" => read_list::<StackIt>(node),
        "triton_sd_configs" => read_list::<Triton>(node),
        "uyuni_sd_configs" => read_list::<Uyuni>(node),
        "vultr_sd_configs" => read_list::<Vultr>(node),
        _ => return Ok(None),
    };
    shown.map(Some)
}
