//! What the configuration asks of alerting, checked and ready to use; replaced whole by a reload.

use super::inhibit::InhibitRule;
use super::notify::message::Templates;
use super::notify::{EmailTarget, MailServer, SecretSource, Target, TlsOptions, WebhookTarget, chat};
use super::route::{Escalation, Route, RouteSpec, RouteTree};
use crate::config::alertmanager::{self, AlertmanagerConfig};
use crate::config::receivers::{self, EmailConfig, WebhookConfig};
use crate::config::{self, ConfigError, FilePath, Secret, Spot};
use crate::env::{Disk, Env, glob};
use crate::model::time_interval::NamedTimeInterval;
use crate::model::utf8;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// One way in which a receiver is told.
#[derive(Clone, Debug)]
pub struct Integration {
    /// `email`, `outbox`, `webhook`, `slack` and so on.
    pub kind: &'static str,
    /// Its place among those of its kind.
    pub index: usize,
    /// Whether ended alerts are told.
    pub send_resolved: bool,
    /// Where to and how.
    pub target: Arc<Target>,
}

/// Somebody who is told.
#[derive(Clone, Debug, Default)]
pub struct Receiver {
    /// Its name, as routes refer to it.
    pub name: String,
    /// Labels of the receiver itself.
    pub labels: BTreeMap<String, String>,
    /// How it is told; may be empty: a receiver that swallows.
    pub integrations: Vec<Integration>,
}

impl Receiver {
    /// Returns the name of an integration in the notification log: `ops/email/0`.
    #[must_use]
    pub fn log_name(&self, integration: &Integration) -> String {
        format!("{}/{}/{}", self.name, integration.kind, integration.index)
    }
}

/// The whole of it.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Who is told of what.
    pub routes: RouteTree,
    /// By name.
    pub receivers: BTreeMap<String, Arc<Receiver>>,
    /// What keeps what silent.
    pub inhibit_rules: Vec<InhibitRule>,
    /// By name.
    pub intervals: BTreeMap<String, NamedTimeInterval>,
    /// For how long an alert without an end is believed.
    pub resolve_timeout_ms: i64,
    /// The configuration as YAML, secrets hidden, for Alertmanager's clients.
    pub original: String,
}

impl Setup {
    /// Returns everybody whom a route may tell: its receiver, then the one it escalates to.
    pub fn told_by<'a>(&'a self, route: &'a Route) -> impl Iterator<Item = &'a Arc<Receiver>> + use<'a> {
        let names = std::iter::once(&route.receiver).chain(route.escalate.as_ref().map(|escalate| &escalate.receiver));
        names.filter_map(|name| self.receivers.get(name))
    }
}

/// Why the configuration cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// A kind of receiver that is known but cannot be sent to.
    #[error("receiver {receiver:?}: this server cannot send to {kind} (it can to {})", config::SENDABLE.join(", "))]
    Unsupported {
        /// The receiver.
        receiver: String,
        /// The kind.
        kind: &'static str,
    },
    /// Templates or their files, each with its place.
    #[error("{}", lines(.0).join("; "))]
    Template(Vec<ConfigError>),
    /// What the configuration says.
    #[error("{0}")]
    Config(String),
}

impl SetupError {
    /// Returns each complaint for itself.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        match self {
            Self::Template(errors) => lines(errors),
            Self::Unsupported { .. } | Self::Config(_) => vec![self.to_string()],
        }
    }
}

fn lines(errors: &[ConfigError]) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

pub(super) fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn spec(route: &alertmanager::Route) -> RouteSpec {
    RouteSpec {
        receiver: Some(route.receiver.clone()).filter(|name| !name.is_empty()),
        matchers: route.matchers.clone(),
        goes_on: route.continues,
        group_by: if route.group_by_all { Some(vec!["...".to_owned()]) } else { route.group_by.clone() },
        group_wait_ms: route.group_wait.map(ms),
        group_interval_ms: route.group_interval.map(ms),
        repeat_interval_ms: route.repeat_interval.map(ms),
        mute_time_intervals: route.mute_time_intervals.clone(),
        active_time_intervals: route.active_time_intervals.clone(),
        labels: route.labels.clone(),
        escalate: route
            .escalate
            .as_ref()
            .map(|escalate| Escalation { after_ms: ms(escalate.after), receiver: escalate.receiver.clone() }),
        routes: route.routes.iter().map(spec).collect(),
    }
}

fn secret(text: &Secret, file: &FilePath) -> SecretSource {
    let file = (!file.is_empty()).then(|| file.path().to_owned());
    SecretSource { text: text.reveal().to_owned(), file }
}

fn inline(text: &str, file: &FilePath) -> SecretSource {
    secret(&Secret::new(text), file)
}

fn email(config: &EmailConfig) -> EmailTarget {
    let tls = config.tls_config.clone().unwrap_or_default();
    let server = if config.smarthost.is_outbox() {
        MailServer::Outbox
    } else {
        MailServer::Smtp { host: config.smarthost.host.clone(), port: config.smarthost.port.clone() }
    };
    EmailTarget {
        to: config.to.clone(),
        from: config.from.clone(),
        hello: config.hello.clone(),
        server,
        auth_username: config.auth_username.clone(),
        auth_password: secret(&config.auth_password, &config.auth_password_file),
        auth_secret: secret(&config.auth_secret, &config.auth_secret_file),
        auth_identity: config.auth_identity.clone(),
        headers: config.headers.clone(),
        // An empty one beside a text: plain text alone, as in Alertmanager.
        html: Some(config.html.clone()).filter(|html| !html.is_empty() || !config.text.is_empty()),
        text: Some(config.text.clone()).filter(|text| !text.is_empty()),
        require_tls: config.require_tls.unwrap_or(true),
        implicit_tls: config.force_implicit_tls.unwrap_or(config.smarthost.port == "465"),
        tls: TlsOptions {
            ca: inline(&tls.ca, &tls.ca_file),
            cert: inline(&tls.cert, &tls.cert_file),
            key: secret(&tls.key, &tls.key_file),
            server_name: tls.server_name.clone(),
            insecure_skip_verify: tls.insecure_skip_verify,
            only_tls13: tls.min_version == "TLS13",
        },
        max_connections: usize::try_from(config.max_connections).unwrap_or(usize::MAX),
        thread_by_date: config.threading.enabled && config.threading.thread_by_date == "daily",
    }
}

/// Does with a mail server what the notifier does, but for the mail: connects, encrypts, authenticates. Returns whether the
/// server offered authentication and took ours.
///
/// # Errors
/// What failed, in words.
pub async fn try_mail_server(env: &Env, config: &EmailConfig) -> Result<bool, String> {
    super::notify::email::rehearse(env, &email(config)).await.map_err(|failure| failure.words)
}

fn webhook(config: &WebhookConfig) -> WebhookTarget {
    WebhookTarget {
        url: secret(&config.url, &config.url_file),
        max_alerts: config.max_alerts,
        payload: config.payload.clone(),
        timeout_ms: u64::try_from(config.timeout.as_millis()).unwrap_or(0),
        http: config.http_config.clone().unwrap_or_default(),
    }
}

fn receiver(config: &receivers::Receiver) -> Result<Receiver, SetupError> {
    if let Some(kind) = unsupported(config) {
        return Err(SetupError::Unsupported { receiver: config.name.clone(), kind });
    }
    if config.slack_configs.iter().any(|slack| slack.update_message) {
        let told =
            format!("receiver {:?}: update_message is not supported: each notification is a message of its own", config.name);
        return Err(SetupError::Config(told));
    }
    let mut integrations = Vec::new();
    for (index, email_config) in config.email_configs.iter().enumerate() {
        let target = email(email_config);
        let kind = if target.server == MailServer::Outbox { "outbox" } else { "email" };
        let send_resolved = email_config.send_resolved;
        integrations.push(Integration { kind, index, send_resolved, target: Arc::new(Target::Email(Box::new(target))) });
    }
    for (index, webhook_config) in config.webhook_configs.iter().enumerate() {
        let target = Arc::new(Target::Webhook(Box::new(webhook(webhook_config))));
        integrations.push(Integration { kind: "webhook", index, send_resolved: webhook_config.send_resolved, target });
    }
    for (kind, index, send_resolved, target) in chat::targets(config) {
        integrations.push(Integration { kind, index, send_resolved, target });
    }
    let labels = config.labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Ok(Receiver { name: config.name.clone(), labels, integrations })
}

/// Returns the first kind of integration that cannot be sent to.
fn unsupported(receiver: &receivers::Receiver) -> Option<&'static str> {
    let kinds = receiver.integrations().into_iter();
    let mut others = kinds.filter(|(kind, count)| *count > 0 && !config::SENDABLE.contains(kind));
    others.next().map(|(kind, _)| kind)
}

/// Makes the setup of a configuration and the texts of its template files.
///
/// # Errors
/// When a receiver is of a kind that cannot be sent to, or a template is none.
pub fn build(config: &AlertmanagerConfig, files: &[(String, String)]) -> Result<(Setup, Templates), SetupError> {
    let templates = templates(config, files)?;
    let root = config.route.as_ref().ok_or_else(|| SetupError::Config("no route provided in config".to_owned()))?;
    let mut receivers = BTreeMap::new();
    for one in &config.receivers {
        receivers.insert(one.name.clone(), Arc::new(receiver(one)?));
    }
    let routes = RouteTree::new(&spec(root));
    check_routes(&routes)?;
    let intervals = config.mute_time_intervals.iter().chain(&config.time_intervals);
    let inhibit = |rule: &alertmanager::InhibitRule| InhibitRule {
        name: rule.name.clone(),
        source_matchers: rule.source_matchers.clone(),
        target_matchers: rule.target_matchers.clone(),
        equal: rule.equal.clone(),
    };
    let setup = Setup {
        routes,
        receivers,
        inhibit_rules: config.inhibit_rules.iter().map(inhibit).collect(),
        intervals: intervals.map(|interval| (interval.name.clone(), interval.clone())).collect(),
        resolve_timeout_ms: ms(config.global.resolve_timeout),
        original: config.to_client_yaml(),
    };
    Ok((setup, templates))
}

/// Reads all templates of a configuration. What a template calls is looked up when it is executed, as in Alertmanager.
fn templates(config: &AlertmanagerConfig, files: &[(String, String)]) -> Result<Templates, SetupError> {
    let mut errors = Vec::new();
    let mut templates = Templates::default();
    for (name, text) in files {
        if let Err(error) = templates.add(name, text) {
            let spot = error.position().map_or(Spot { line: 1, column: 1 }, |at| Spot::within(text, at));
            errors.push(ConfigError::at(spot, error.reason()).in_file(name));
        }
    }
    for templated in &config.templated.0 {
        if let Err(error) = templates.check(&templated.text) {
            errors.push(templated.error(error.position(), error.reason()));
        }
    }
    if errors.is_empty() { Ok(templates) } else { Err(SetupError::Template(errors)) }
}

fn check_routes(routes: &RouteTree) -> Result<(), SetupError> {
    for route in routes.iter() {
        if let Some(escalate) = &route.escalate
            && escalate.receiver == route.receiver
        {
            let words = format!("route {}: escalate tells the route's own receiver {:?}", route.id, route.receiver);
            return Err(SetupError::Config(words));
        }
    }
    Ok(())
}

/// Says what is wrong with a configuration's templates and routes, whether or not its receivers can be sent to. Blocks.
///
/// # Errors
/// All templates that are none, or the first route that cannot be followed.
pub fn check(config: &AlertmanagerConfig, disk: &dyn Disk) -> Result<(), SetupError> {
    templates(config, &read_templates(disk, &config.templates)?)?;
    config.route.as_ref().map_or(Ok(()), |root| check_routes(&RouteTree::new(&spec(root))))
}

/// Reads the template files. A pattern that nothing fits stands for nothing, as in Alertmanager. Blocks.
///
/// # Errors
/// When files cannot be read or are no text.
pub fn read_templates(disk: &dyn Disk, patterns: &[FilePath]) -> Result<Vec<(String, String)>, SetupError> {
    let (mut files, mut errors) = (Vec::new(), Vec::new());
    for path in patterns.iter().flat_map(|pattern| glob::expand(disk, pattern.path())) {
        let name = path.display().to_string();
        match disk.read(&path).map(utf8::decode) {
            Ok(Ok(text)) => files.push((name, text)),
            Ok(Err(error)) => {
                let spot = Spot { line: error.line, column: error.column };
                errors.push(ConfigError::at(spot, error.to_string()).in_file(&name));
            }
            Err(error) => errors.push(ConfigError::whole(name, error.to_string())),
        }
    }
    if errors.is_empty() { Ok(files) } else { Err(SetupError::Template(errors)) }
}
