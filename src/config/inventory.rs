//! What a configuration asks for that the server cannot do, and which files it needs.

use super::alertmanager::AlertmanagerConfig;
use super::discovery::OtherDiscovery;
use super::error::ConfigError;
use super::http_client::{HttpClientConfig, TlsConfig};
use super::load::Config;
use super::place::Spot;
use super::receivers::Receiver;
use super::values::FilePath;

/// The integrations that the server can send to; `check` takes all of Alertmanager's.
pub const SENDABLE: &[&str] = &["email", "webhook", "slack", "pagerduty", "telegram", "discord", "msteams", "msteamsv2"];

impl Config {
    /// Names everything that this configuration asks for and the server does not do; the server refuses to start with it.
    #[must_use]
    pub fn unsupported(&self, sendable: &[&str]) -> Vec<String> {
        let mut found = Vec::new();
        for job in &self.scrape_configs {
            for other in &job.discovery.others {
                found.push(refused(other, &format!("job {:?}", job.job_name)));
            }
            let clients = job.discovery.http.iter().map(|http| &http.http);
            for wish in clients.chain([&job.http]).flat_map(unsupported_of_client) {
                found.push(format!("job {:?}: {wish}", job.job_name));
            }
        }
        for other in self.alerting.alertmanagers.iter().flat_map(|alertmanager| &alertmanager.discovery.others) {
            found.push(refused(other, "alerting.alertmanagers"));
        }
        for remote in &self.remote_write {
            let given = [
                ("sigv4", remote.sigv4.is_some()),
                ("azuread", remote.azuread.is_some()),
                ("google_iam", remote.google_iam.is_some()),
                ("round_robin_dns", remote.round_robin_dns),
            ];
            for (key, _) in given.iter().filter(|(_, given)| *given) {
                found.push(format!("remote_write {}: {key} is not supported", remote.url));
            }
        }
        if let Some(tls) = self.zookeeper.as_ref().and_then(|zookeeper| zookeeper.tls.as_ref()) {
            let given = [
                ("server_name", !tls.server_name.is_empty()),
                ("insecure_skip_verify", tls.insecure_skip_verify),
                ("min_version", !tls.min_version.is_empty()),
                ("max_version", !tls.max_version.is_empty()),
            ];
            let words = "is not supported: TLS 1.2 or 1.3, and the certificates must be for the names in zookeeper.connect";
            found.extend(given.iter().filter(|(_, given)| *given).map(|(key, _)| format!("zookeeper.tls.{key} {words}")));
            found.extend(unsupported_of_tls(tls).iter().map(|wish| format!("zookeeper: {wish}")));
        }
        if self.web.rate_limit.is_some() {
            found.push("web.rate_limit is not supported: connections and queries have bounds of their own".to_owned());
        }
        if let Some(alertmanager) = &self.alertmanager {
            found.extend(alertmanager.unsupported(sendable));
        }
        found
    }

    /// Lists the files that the server reads as soon as it runs, each with the key that names it.
    #[must_use]
    pub fn named_files(&self) -> Vec<(&'static str, &FilePath)> {
        let mut files = Vec::new();
        for job in &self.scrape_configs {
            of_client(&job.http, &mut files);
            for http in &job.discovery.http {
                of_client(&http.http, &mut files);
            }
        }
        for remote in &self.remote_write {
            of_client(&remote.http, &mut files);
        }
        for remote in &self.remote_read {
            of_client(&remote.http, &mut files);
        }
        for alertmanager in &self.alerting.alertmanagers {
            of_client(&alertmanager.http, &mut files);
        }
        if let Some(tls) = &self.web.tls_server_config {
            files.extend([("cert_file", &tls.cert_file), ("key_file", &tls.key_file), ("client_ca_file", &tls.client_ca_file)]);
        }
        files.extend(self.web.api_tokens.iter().map(|token| ("token_file", &token.token_file)));
        if let Some(zookeeper) = &self.zookeeper {
            files.extend(zookeeper.auth.as_ref().map(|auth| ("digest_file", &auth.digest_file)));
            if let Some(tls) = &zookeeper.tls {
                of_tls(tls, &mut files);
            }
        }
        files.push(("secret_file", &self.cluster.secret_file));
        files.retain(|(_, path)| !path.is_empty());
        files
    }
}

impl AlertmanagerConfig {
    /// Names the integrations of receivers that routes use and the server cannot send to.
    #[must_use]
    pub fn unsupported(&self, sendable: &[&str]) -> Vec<String> {
        let refused = |receiver: &Receiver| {
            let kinds = receiver.integrations();
            let words = kinds.into_iter().filter(|(kind, _)| !sendable.contains(kind));
            words.map(|(kind, _)| format!("receiver {:?}: {kind}_configs is not supported", receiver.name)).collect::<Vec<_>>()
        };
        self.receivers.iter().flat_map(refused).collect()
    }
}

/// Names what an HTTP client cannot do: secrets out of a store that nobody has, tokens by a signed assertion, versions of TLS
/// that are broken.
fn unsupported_of_client(client: &HttpClientConfig) -> Vec<String> {
    let mut found = unsupported_of_tls(&client.tls_config);
    let mut refs = Vec::new();
    if let Some(basic) = &client.basic_auth {
        refs.extend([("basic_auth.username_ref", &basic.username_ref), ("basic_auth.password_ref", &basic.password_ref)]);
    }
    if let Some(authorization) = &client.authorization {
        refs.push(("authorization.credentials_ref", &authorization.credentials_ref));
    }
    if let Some(oauth2) = &client.oauth2 {
        refs.push(("oauth2.client_secret_ref", &oauth2.client_secret_ref));
        if !matches!(oauth2.grant_type.as_str(), "" | "client_credentials") {
            let grant = &oauth2.grant_type;
            found.push(format!("oauth2.grant_type {grant:?} is not supported; supported: client_credentials"));
        }
        found.extend(unsupported_of_tls(&oauth2.tls_config));
    }
    found.extend(refused_refs(&refs));
    found
}

fn unsupported_of_tls(tls: &TlsConfig) -> Vec<String> {
    let mut found = refused_refs(&[
        ("tls_config.ca_ref", &tls.ca_ref),
        ("tls_config.cert_ref", &tls.cert_ref),
        ("tls_config.key_ref", &tls.key_ref),
    ]);
    if matches!(tls.max_version.as_str(), "TLS10" | "TLS11") {
        found.push(format!("tls_config.max_version {} is not supported; supported: TLS12, TLS13", tls.max_version));
    }
    found
}

fn refused_refs(refs: &[(&str, &String)]) -> Vec<String> {
    let given = refs.iter().filter(|(_, name)| !name.is_empty());
    given.map(|(key, _)| format!("{key} is not supported; supported: the text itself, or a file")).collect()
}

/// Says that a kind of discovery is not supported, and where it stands.
fn refused(other: &OtherDiscovery, of: &str) -> String {
    let Spot { line, column } = other.spot;
    let message = format!("{of}: {} is not supported", other.key);
    ConfigError { file: other.file.clone(), line, column, message }.to_string()
}

fn of_tls<'a>(tls: &'a TlsConfig, files: &mut Vec<(&'static str, &'a FilePath)>) {
    files.extend([("ca_file", &tls.ca_file), ("cert_file", &tls.cert_file), ("key_file", &tls.key_file)]);
}

fn of_client<'a>(client: &'a HttpClientConfig, files: &mut Vec<(&'static str, &'a FilePath)>) {
    of_tls(&client.tls_config, files);
    if let Some(basic) = &client.basic_auth {
        files.extend([("username_file", &basic.username_file), ("password_file", &basic.password_file)]);
    }
    if let Some(authorization) = &client.authorization {
        files.push(("credentials_file", &authorization.credentials_file));
    }
    if let Some(oauth2) = &client.oauth2 {
        files.push(("client_secret_file", &oauth2.client_secret_file));
        of_tls(&oauth2.tls_config, files);
    }
}
