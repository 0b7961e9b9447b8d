//! Receivers: everything that Alertmanager 0.34 can tell somebody with, read and judged as it does.
//!
//! The field names are Alertmanager's keys and are documented there. A text that holds `{{` is a template.

#![expect(missing_docs, reason = "the fields are Alertmanager's keys, documented there")]

use super::error::ConfigError;
use super::http_client::{HttpClientConfig, TlsConfig};
use super::section::{Value, section};
use super::show::Shown;
use super::values::{FilePath, Secret, SecretUrl, WebUrl};
use super::yaml::Node;
use crate::model::labels::Labels;
use std::collections::BTreeMap;
use std::time::Duration;

/// `host:port`, or `outbox`: the folder of mails that the dashboard shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Smarthost {
    pub host: String,
    pub port: String,
}

/// The smarthost that keeps mails as files.
pub const OUTBOX: &str = "outbox";

impl Smarthost {
    /// Returns whether nothing was set.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.host.is_empty() && self.port.is_empty()
    }

    /// Returns whether mails are kept as files instead of being sent.
    #[must_use]
    pub fn is_outbox(&self) -> bool {
        self.host == OUTBOX && self.port.is_empty()
    }
}

impl Value for Smarthost {
    fn read(&mut self, node: &Node) -> Result<(), ConfigError> {
        let text = node.text()?;
        if text.is_empty() || text == OUTBOX {
            *self = Self { host: text.to_owned(), port: String::new() };
            return Ok(());
        }
        let missing = || node.error(format!("address {text}: missing port in address"));
        let (host, port) = text.rsplit_once(':').ok_or_else(missing)?;
        let host = match host.strip_prefix('[') {
            Some(inside) => inside.strip_suffix(']').ok_or_else(missing)?,
            None if host.contains(':') => return Err(node.error(format!("address {text}: too many colons in address"))),
            None => host,
        };
        if port.is_empty() {
            return Err(node.error(format!("address {text:?}: port cannot be empty")));
        }
        *self = Self { host: host.to_owned(), port: port.to_owned() };
        Ok(())
    }

    fn show(&self) -> Shown {
        if self.port.is_empty() {
            return Shown::Text(self.host.clone());
        }
        let brackets = self.host.contains(':');
        Shown::Text(if brackets { format!("[{}]:{}", self.host, self.port) } else { format!("{}:{}", self.host, self.port) })
    }
}

/// Any YAML, kept as it is; for Jira's fields and webhook payloads.
#[derive(Clone, Debug, PartialEq)]
pub struct AnyValue(pub(crate) Shown);

impl Default for AnyValue {
    fn default() -> Self {
        Self(Shown::Nothing)
    }
}

impl Value for AnyValue {
    fn read(&mut self, node: &Node) -> Result<(), ConfigError> {
        self.0 = shown(node)?;
        Ok(())
    }

    fn show(&self) -> Shown {
        self.0.clone()
    }
}

fn shown(node: &Node) -> Result<Shown, ConfigError> {
    if node.is_map() {
        let entries = node.entries()?.iter().map(|(key, value)| Ok((key.text()?.to_owned(), shown(value)?)));
        return Ok(Shown::Map(entries.collect::<Result<_, ConfigError>>()?));
    }
    if node.is_scalar() {
        return Ok(match node.plain() {
            Some(_) if node.is_null() => Shown::Nothing,
            Some(word) => Shown::Word(word.to_owned()),
            None => Shown::Text(node.text()?.to_owned()),
        });
    }
    Ok(Shown::List(node.items()?.iter().map(shown).collect::<Result<_, _>>()?))
}

fn template(name: &str) -> String {
    format!("{{{{ template \"{name}\" . }}}}")
}

fn text(text: &str) -> String {
    text.to_owned()
}

fn pagerduty_details() -> BTreeMap<String, AnyValue> {
    let details = [
        ("firing", "{{ .Alerts.Firing | toJson }}"),
        ("resolved", "{{ .Alerts.Resolved | toJson }}"),
        ("num_firing", "{{ .Alerts.Firing | len }}"),
        ("num_resolved", "{{ .Alerts.Resolved | len }}"),
    ];
    details.into_iter().map(|(name, value)| (name.to_owned(), AnyValue(Shown::Text(value.to_owned())))).collect()
}

section! {
    /// How mails of one group hang together.
    pub struct ThreadingConfig "threading" {
        enabled: bool = false,
        /// `daily` or `none`.
        thread_by_date: String = text("daily"),
    }

    /// Mail.
    pub struct EmailConfig "email_config" {
        send_resolved: bool = false,
        to: String = String::new(),
        from: String = String::new(),
        hello: String = String::new(),
        smarthost: Smarthost = Smarthost::default(),
        auth_username: String = String::new(),
        auth_password: Secret = Secret::default(),
        auth_password_file: FilePath = FilePath::default(),
        auth_secret: Secret = Secret::default(),
        auth_secret_file: FilePath = FilePath::default(),
        auth_identity: String = String::new(),
        /// Header -> template; the names in canonical case after loading.
        headers: BTreeMap<String, String> = BTreeMap::new(),
        html: String = template("email.default.html"),
        text: String = String::new(),
        require_tls: Option<bool> = None,
        force_implicit_tls: Option<bool> = None,
        tls_config: Option<TlsConfig> = None,
        threading: ThreadingConfig = ThreadingConfig::default(),
    } check check_email;

    /// Any HTTP server.
    pub struct WebhookConfig "webhook_config" {
        send_resolved: bool = true,
        http_config: Option<HttpClientConfig> = None,
        /// May be a template.
        url: Secret = Secret::default(),
        url_file: FilePath = FilePath::default(),
        max_alerts: u64 = 0,
        timeout: Duration = Duration::ZERO,
        payload: Option<AnyValue> = None,
    } check check_webhook;

    pub struct SlackConfirmation "slack confirm" {
        text: String = String::new(),
        title: String = String::new(),
        ok_text: String = String::new(),
        dismiss_text: String = String::new(),
    } check check_slack_confirmation;

    pub struct SlackAction "slack action" {
        kind "type": String = String::new(),
        text: String = String::new(),
        url: String = String::new(),
        style: String = String::new(),
        name: String = String::new(),
        value: String = String::new(),
        confirm: Option<SlackConfirmation> = None,
    } check check_slack_action;

    pub struct SlackField "slack field" {
        title: String = String::new(),
        value: String = String::new(),
        short: Option<bool> = None,
    } check check_slack_field;

    /// Slack.
    pub struct SlackConfig "slack_config" {
        send_resolved: bool = false,
        http_config: Option<HttpClientConfig> = None,
        api_url: SecretUrl = SecretUrl::default(),
        api_url_file: FilePath = FilePath::default(),
        app_token: Secret = Secret::default(),
        app_token_file: FilePath = FilePath::default(),
        app_url: WebUrl = WebUrl::default(),
        channel: String = String::new(),
        username: String = template("slack.default.username"),
        color: String = text("{{ if eq .Status \"firing\" }}danger{{ else }}good{{ end }}"),
        title: String = template("slack.default.title"),
        title_link: String = template("slack.default.titlelink"),
        pretext: String = template("slack.default.pretext"),
        text: String = template("slack.default.text"),
        fields: Vec<SlackField> = Vec::new(),
        short_fields: bool = false,
        footer: String = template("slack.default.footer"),
        fallback: String = template("slack.default.fallback"),
        callback_id: String = template("slack.default.callbackid"),
        icon_emoji: String = template("slack.default.iconemoji"),
        icon_url: String = template("slack.default.iconurl"),
        image_url: String = String::new(),
        thumb_url: String = String::new(),
        link_names: bool = false,
        mrkdwn_in: Vec<String> = Vec::new(),
        actions: Vec<SlackAction> = Vec::new(),
        update_message: bool = false,
        message_text: String = String::new(),
        timeout: Duration = Duration::ZERO,
    } check check_slack;

    pub struct PagerdutyImage "pagerduty image" {
        href: String = String::new(),
        src: String = String::new(),
        alt: String = String::new(),
    }

    pub struct PagerdutyLink "pagerduty link" {
        href: String = String::new(),
        text: String = String::new(),
    }

    /// PagerDuty.
    pub struct PagerdutyConfig "pagerduty_config" {
        send_resolved: bool = true,
        http_config: Option<HttpClientConfig> = None,
        service_key: Secret = Secret::default(),
        service_key_file: FilePath = FilePath::default(),
        routing_key: Secret = Secret::default(),
        routing_key_file: FilePath = FilePath::default(),
        url: WebUrl = WebUrl::default(),
        client: String = template("pagerduty.default.client"),
        client_url: String = template("pagerduty.default.clientURL"),
        description: String = template("pagerduty.default.description"),
        details: BTreeMap<String, AnyValue> = BTreeMap::new(),
        images: Vec<PagerdutyImage> = Vec::new(),
        links: Vec<PagerdutyLink> = Vec::new(),
        source: String = String::new(),
        severity: String = String::new(),
        class: String = String::new(),
        component: String = String::new(),
        group: String = String::new(),
        timeout: Duration = Duration::ZERO,
    } check check_pagerduty;

    /// Discord.
    pub struct DiscordConfig "discord_config" {
        send_resolved: bool = true,
        http_config: Option<HttpClientConfig> = None,
        webhook_url: SecretUrl = SecretUrl::default(),
        webhook_url_file: FilePath = FilePath::default(),
        content: String = template("discord.default.content"),
        title: String = template("discord.default.title"),
        message: String = template("discord.default.message"),
        username: String = String::new(),
        avatar_url: String = String::new(),
    } check check_discord;

    /// Microsoft Teams, connectors.
    pub struct MsteamsConfig "msteams_config" {
        send_resolved: bool = true,
        http_config: Option<HttpClientConfig> = None,
        webhook_url: SecretUrl = SecretUrl::default(),
        webhook_url_file: FilePath = FilePath::default(),
        title: String = template("msteams.default.title"),
        summary: String = template("msteams.default.summary"),
        text: String = template("msteams.default.text"),
    } check check_msteams;

    /// Microsoft Teams, flows.
    pub struct Msteamsv2Config "msteamsv2_config" {
        send_resolved: bool = true,
        http_config: Option<HttpClientConfig> = None,
        webhook_url: SecretUrl = SecretUrl::default(),
        webhook_url_file: FilePath = FilePath::default(),
        title: String = template("msteamsv2.default.title"),
        text: String = template("msteamsv2.default.text"),
    } check check_msteamsv2;

    /// A text of a Jira issue and whether it is kept up to date.
    pub struct JiraField "jira field" {
        template: String = String::new(),
        enable_update: Option<bool> = None,
    }

    /// Jira.
    pub struct JiraConfig "jira_config" {
        send_resolved: bool = true,
        http_config: Option<HttpClientConfig> = None,
        api_url: WebUrl = WebUrl::default(),
        api_type: String = text("auto"),
        project: String = String::new(),
        summary: AnyValue = AnyValue(Shown::Text(template("jira.default.summary"))),
        description: AnyValue = AnyValue(Shown::Text(template("jira.default.description"))),
        labels: Vec<String> = Vec::new(),
        priority: String = template("jira.default.priority"),
        issue_type: String = String::new(),
        reopen_transition: String = String::new(),
        resolve_transition: String = String::new(),
        wont_fix_resolution: String = String::new(),
        reopen_duration: Duration = Duration::ZERO,
        fields: BTreeMap<String, AnyValue> = BTreeMap::new(),
        custom_fields: BTreeMap<String, AnyValue> = BTreeMap::new(),
    } check check_jira;

    pub struct OpsgenieResponder "opsgenie responder" {
        id: String = String::new(),
        name: String = String::new(),
        username: String = String::new(),
        kind "type": String = String::new(),
    }

    /// OpsGenie.
    pub struct OpsgenieConfig "opsgenie_config" {
        send_resolved: bool = true,
        http_config: Option<HttpClientConfig> = None,
        api_key: Secret = Secret::default(),
        api_key_file: FilePath = FilePath::default(),
        api_url: WebUrl = WebUrl::default(),
        message: String = template("opsgenie.default.message"),
        description: String = template("opsgenie.default.description"),
        source: String = template("opsgenie.default.source"),
        details: BTreeMap<String, String> = BTreeMap::new(),
        entity: String = String::new(),
        responders: Vec<OpsgenieResponder> = Vec::new(),
        actions: String = String::new(),
        tags: String = String::new(),
        note: String = String::new(),
        priority: String = String::new(),
        update_alerts: bool = false,
    } check check_opsgenie;

    /// Pushover.
    pub struct PushoverConfig "pushover_config" {
        send_resolved: bool = true,
        http_config: Option<HttpClientConfig> = None,
        user_key: Secret = Secret::default(),
        user_key_file: FilePath = FilePath::default(),
        token: Secret = Secret::default(),
        token_file: FilePath = FilePath::default(),
        title: String = template("pushover.default.title"),
        message: String = template("pushover.default.message"),
        url: String = template("pushover.default.url"),
        url_title: String = String::new(),
        device: String = String::new(),
        sound: String = String::new(),
        priority: String = text("{{ if eq .Status \"firing\" }}2{{ else }}0{{ end }}"),
        retry: Duration = Duration::from_secs(60),
        expire: Duration = Duration::from_secs(3600),
        ttl: Duration = Duration::ZERO,
        html: bool = false,
        monospace: bool = false,
    } check check_pushover;

    pub struct RocketchatField "rocketchat field" {
        title: String = String::new(),
        value: String = String::new(),
        short: Option<bool> = None,
    }

    pub struct RocketchatAction "rocketchat action" {
        kind "type": String = String::new(),
        text: String = String::new(),
        url: String = String::new(),
        msg: String = String::new(),
    }

    /// Rocket.Chat.
    pub struct RocketchatConfig "rocketchat_config" {
        send_resolved: bool = false,
        http_config: Option<HttpClientConfig> = None,
        api_url: WebUrl = WebUrl::default(),
        token: Secret = Secret::default(),
        token_file: FilePath = FilePath::default(),
        token_id: Secret = Secret::default(),
        token_id_file: FilePath = FilePath::default(),
        channel: String = String::new(),
        color: String = text("{{ if eq .Status \"firing\" }}red{{ else }}green{{ end }}"),
        title: String = template("rocketchat.default.title"),
        title_link: String = template("rocketchat.default.titlelink"),
        text: String = template("rocketchat.default.text"),
        fields: Vec<RocketchatField> = Vec::new(),
        short_fields: bool = false,
        emoji: String = template("rocketchat.default.emoji"),
        icon_url: String = template("rocketchat.default.iconurl"),
        image_url: String = String::new(),
        thumb_url: String = String::new(),
        link_names: bool = false,
        actions: Vec<RocketchatAction> = Vec::new(),
    } check check_rocketchat;

    /// AWS's signature.
    pub struct SigV4Config "sigv4" {
        region: String = String::new(),
        access_key: String = String::new(),
        secret_key: Secret = Secret::default(),
        profile: String = String::new(),
        role_arn: String = String::new(),
        external_id: String = String::new(),
        use_fips_sts_endpoint: bool = false,
        service_name: String = String::new(),
    } check check_sigv4;

    /// Amazon SNS.
    pub struct SnsConfig "sns_config" {
        send_resolved: bool = true,
        http_config: Option<HttpClientConfig> = None,
        api_url: String = String::new(),
        sigv4: SigV4Config = SigV4Config::default(),
        topic_arn: String = String::new(),
        phone_number: String = String::new(),
        target_arn: String = String::new(),
        subject: String = template("sns.default.subject"),
        message: String = template("sns.default.message"),
        attributes: BTreeMap<String, String> = BTreeMap::new(),
    } check check_sns;

    /// Telegram.
    pub struct TelegramConfig "telegram_config" {
        send_resolved: bool = true,
        http_config: Option<HttpClientConfig> = None,
        api_url: WebUrl = WebUrl::default(),
        bot_token: Secret = Secret::default(),
        bot_token_file: FilePath = FilePath::default(),
        chat_id: i64 = 0,
        chat_id_file: FilePath = FilePath::default(),
        message_thread_id: i64 = 0,
        message: String = template("telegram.default.message"),
        disable_notifications: bool = false,
        parse_mode: String = text("HTML"),
    } check check_telegram;

    /// VictorOps.
    pub struct VictoropsConfig "victorops_config" {
        send_resolved: bool = true,
        http_config: Option<HttpClientConfig> = None,
        api_key: Secret = Secret::default(),
        api_key_file: FilePath = FilePath::default(),
        api_url: WebUrl = WebUrl::default(),
        routing_key: String = String::new(),
        message_type: String = text("CRITICAL"),
        state_message: String = template("victorops.default.state_message"),
        entity_display_name: String = template("victorops.default.entity_display_name"),
        monitoring_tool: String = template("victorops.default.monitoring_tool"),
        custom_fields: BTreeMap<String, String> = BTreeMap::new(),
    } check check_victorops;

    /// Webex.
    pub struct WebexConfig "webex_config" {
        send_resolved: bool = true,
        http_config: Option<HttpClientConfig> = None,
        api_url: WebUrl = WebUrl::default(),
        message: String = template("webex.default.message"),
        room_id: String = String::new(),
    } check check_webex;

    /// WeChat.
    pub struct WechatConfig "wechat_config" {
        send_resolved: bool = false,
        http_config: Option<HttpClientConfig> = None,
        api_secret: Secret = Secret::default(),
        api_secret_file: FilePath = FilePath::default(),
        corp_id: String = String::new(),
        message: String = template("wechat.default.message"),
        api_url: WebUrl = WebUrl::default(),
        to_user: String = template("wechat.default.to_user"),
        to_party: String = template("wechat.default.to_party"),
        to_tag: String = template("wechat.default.to_tag"),
        agent_id: String = template("wechat.default.agent_id"),
        message_type: String = String::new(),
    } check check_wechat;

    /// incident.io.
    pub struct IncidentioConfig "incidentio_config" {
        send_resolved: bool = true,
        http_config: Option<HttpClientConfig> = None,
        url: WebUrl = WebUrl::default(),
        url_file: FilePath = FilePath::default(),
        alert_source_token: Secret = Secret::default(),
        alert_source_token_file: FilePath = FilePath::default(),
        max_alerts: u64 = 0,
        timeout: Duration = Duration::ZERO,
        metadata: BTreeMap<String, String> = BTreeMap::new(),
    } check check_incidentio;

    pub struct MattermostField "mattermost field" {
        title: String = String::new(),
        value: String = String::new(),
        short: Option<bool> = None,
    }

    pub struct MattermostPriority "mattermost priority" {
        priority: String = String::new(),
        requested_ack: bool = false,
        persistent_notifications: bool = false,
    }

    pub struct MattermostAttachment "mattermost attachment" {
        fallback: String = String::new(),
        color: String = String::new(),
        pretext: String = String::new(),
        text: String = String::new(),
        author_name: String = String::new(),
        author_link: String = String::new(),
        author_icon: String = String::new(),
        title: String = String::new(),
        title_link: String = String::new(),
        fields: Vec<MattermostField> = Vec::new(),
        thumb_url: String = String::new(),
        footer: String = String::new(),
        footer_icon: String = String::new(),
        image_url: String = String::new(),
    }

    pub struct MattermostProps "mattermost props" {
        card: String = String::new(),
    }

    /// Mattermost.
    pub struct MattermostConfig "mattermost_config" {
        send_resolved: bool = true,
        http_config: Option<HttpClientConfig> = None,
        webhook_url: SecretUrl = SecretUrl::default(),
        webhook_url_file: FilePath = FilePath::default(),
        channel: String = String::new(),
        username: String = template("mattermost.default.username"),
        text: String = template("mattermost.default.text"),
        icon_url: String = String::new(),
        icon_emoji: String = String::new(),
        kind "type": String = String::new(),
        attachments: Vec<MattermostAttachment> = Vec::new(),
        props: Option<MattermostProps> = None,
        priority: Option<MattermostPriority> = None,
        fallback: String = template("mattermost.default.fallback"),
        color: String = text("{{ if eq .Status \"firing\" }}danger{{ else }}good{{ end }}"),
        pretext: String = String::new(),
        author_name: String = String::new(),
        author_link: String = String::new(),
        author_icon: String = String::new(),
        title: String = template("mattermost.default.title"),
        title_link: String = template("mattermost.default.titlelink"),
        fields: Vec<MattermostField> = Vec::new(),
        thumb_url: String = String::new(),
        footer: String = String::new(),
        footer_icon: String = String::new(),
        image_url: String = String::new(),
    } check check_mattermost;

    /// Somebody to tell, by any number of ways.
    pub struct Receiver "receiver" {
        name: String = String::new(),
        /// Labels of the receiver itself.
        labels: Labels = Labels::empty(),
        discord_configs: Vec<DiscordConfig> = Vec::new(),
        email_configs: Vec<EmailConfig> = Vec::new(),
        incidentio_configs: Vec<IncidentioConfig> = Vec::new(),
        jira_configs: Vec<JiraConfig> = Vec::new(),
        mattermost_configs: Vec<MattermostConfig> = Vec::new(),
        msteams_configs: Vec<MsteamsConfig> = Vec::new(),
        msteamsv2_configs: Vec<Msteamsv2Config> = Vec::new(),
        opsgenie_configs: Vec<OpsgenieConfig> = Vec::new(),
        pagerduty_configs: Vec<PagerdutyConfig> = Vec::new(),
        pushover_configs: Vec<PushoverConfig> = Vec::new(),
        rocketchat_configs: Vec<RocketchatConfig> = Vec::new(),
        slack_configs: Vec<SlackConfig> = Vec::new(),
        sns_configs: Vec<SnsConfig> = Vec::new(),
        telegram_configs: Vec<TelegramConfig> = Vec::new(),
        victorops_configs: Vec<VictoropsConfig> = Vec::new(),
        webex_configs: Vec<WebexConfig> = Vec::new(),
        webhook_configs: Vec<WebhookConfig> = Vec::new(),
        wechat_configs: Vec<WechatConfig> = Vec::new(),
    } check check_receiver;
}

impl Receiver {
    /// Names the integrations (`email`, `webhook`, ...) that the receiver uses, with how many there are of each.
    #[must_use]
    pub fn integrations(&self) -> Vec<(&'static str, usize)> {
        let all = [
            ("discord", self.discord_configs.len()),
            ("email", self.email_configs.len()),
            ("incidentio", self.incidentio_configs.len()),
            ("jira", self.jira_configs.len()),
            ("mattermost", self.mattermost_configs.len()),
            ("msteams", self.msteams_configs.len()),
            ("msteamsv2", self.msteamsv2_configs.len()),
            ("opsgenie", self.opsgenie_configs.len()),
            ("pagerduty", self.pagerduty_configs.len()),
            ("pushover", self.pushover_configs.len()),
            ("rocketchat", self.rocketchat_configs.len()),
            ("slack", self.slack_configs.len()),
            ("sns", self.sns_configs.len()),
            ("telegram", self.telegram_configs.len()),
            ("victorops", self.victorops_configs.len()),
            ("webex", self.webex_configs.len()),
            ("webhook", self.webhook_configs.len()),
            ("wechat", self.wechat_configs.len()),
        ];
        all.into_iter().filter(|(_, count)| *count > 0).collect()
    }
}

type Checked = Result<(), ConfigError>;

/// Refuses two keys that say the same, and, where one is needed, none.
fn one_of(node: &Node, what: &str, names: [&str; 2], given: [bool; 2], needed: bool) -> Checked {
    match given {
        [true, true] => Err(node.error_at(names[0], format!("at most one of {} & {} must be configured", names[0], names[1]))),
        [false, false] if needed => Err(node.error(format!("one of {} or {} must be configured in {what}", names[0], names[1]))),
        _ => Ok(()),
    }
}

fn check_receiver(config: &mut Receiver, node: &Node) -> Checked {
    if config.name.is_empty() {
        return Err(node.error("missing name in receiver"));
    }
    match config.labels.get("name") {
        Some(name) if name != config.name => {
            let message = format!("receiver label \"name\" must match receiver name {:?}, got {name:?}", config.name);
            Err(node.error_at("labels", message))
        }
        Some(_) | None => Ok(()),
    }
}

fn check_email(config: &mut EmailConfig, node: &Node) -> Checked {
    if config.to.is_empty() {
        return Err(node.error("missing to address in email config"));
    }
    let mut headers = BTreeMap::new();
    for (name, value) in &config.headers {
        let canonical = canonical_header(name);
        if headers.contains_key(&canonical) {
            return Err(node.error_at("headers", format!("duplicate header {canonical:?} in email config")));
        }
        headers.insert(canonical, value.clone());
    }
    config.headers = headers;
    one_of(
        node,
        "email config",
        ["auth_password", "auth_password_file"],
        [!config.auth_password.is_empty(), !config.auth_password_file.is_empty()],
        false,
    )?;
    one_of(
        node,
        "email config",
        ["auth_secret", "auth_secret_file"],
        [!config.auth_secret.is_empty(), !config.auth_secret_file.is_empty()],
        false,
    )?;
    if config.threading.enabled && !matches!(config.threading.thread_by_date.as_str(), "daily" | "none") {
        let message = format!("invalid thread_by_date {:?}: must be \"daily\" or \"none\"", config.threading.thread_by_date);
        return Err(node.error_at("threading", message));
    }
    Ok(())
}

/// Writes a header's name as Go's title case does: each word's first letter large, nothing else changed.
fn canonical_header(name: &str) -> String {
    let mut out = String::new();
    let mut begins = true;
    for c in name.chars() {
        if begins {
            out.extend(c.to_uppercase());
        } else {
            out.push(c);
        }
        begins = !c.is_alphanumeric() && c != '\'' && c != '_';
    }
    out
}

fn check_webhook(config: &mut WebhookConfig, node: &Node) -> Checked {
    match (config.url.is_empty(), config.url_file.is_empty()) {
        (true, true) => Err(node.error("one of url or url_file must be configured")),
        (false, false) => Err(node.error("at most one of url & url_file must be configured")),
        // A template is judged when it is filled in.
        (false, true) if config.url.reveal().contains("{{") => Ok(()),
        (false, true) => match node.get("url") {
            Some(url) => SecretUrl::default().read(url),
            None => Ok(()),
        },
        (true, false) => Ok(()),
    }
}

fn check_slack_confirmation(config: &mut SlackConfirmation, node: &Node) -> Checked {
    if config.text.is_empty() { Err(node.error("missing text in Slack confirmation configuration")) } else { Ok(()) }
}

fn check_slack_action(config: &mut SlackAction, node: &Node) -> Checked {
    if config.kind.is_empty() {
        return Err(node.error("missing type in Slack action configuration"));
    }
    if config.text.is_empty() {
        return Err(node.error("missing text in Slack action configuration"));
    }
    if !config.url.is_empty() {
        // A link: Slack takes nothing else beside it.
        config.name.clear();
        config.value.clear();
        config.confirm = None;
    } else if config.name.is_empty() {
        return Err(node.error("missing name or url in Slack action configuration"));
    }
    Ok(())
}

fn check_slack_field(config: &mut SlackField, node: &Node) -> Checked {
    if config.title.is_empty() {
        return Err(node.error("missing title in Slack field configuration"));
    }
    if config.value.is_empty() {
        return Err(node.error("missing value in Slack field configuration"));
    }
    Ok(())
}

fn check_slack(config: &mut SlackConfig, node: &Node) -> Checked {
    let url = !config.api_url.is_empty();
    let url_file = !config.api_url_file.is_empty();
    let token = !config.app_token.is_empty();
    let token_file = !config.app_token_file.is_empty();
    one_of(node, "slack_config", ["api_url", "api_url_file"], [url, url_file], false)?;
    one_of(node, "slack_config", ["app_token", "app_token_file"], [token, token_file], false)?;
    if (url || url_file) && (token || token_file) {
        return Err(node.error("at most one of api_url/api_url_file & app_token/app_token_file must be configured"));
    }
    Ok(())
}

fn check_pagerduty(config: &mut PagerdutyConfig, node: &Node) -> Checked {
    let routing = [!config.routing_key.is_empty(), !config.routing_key_file.is_empty()];
    let service = [!config.service_key.is_empty(), !config.service_key_file.is_empty()];
    if routing == [false, false] && service == [false, false] {
        return Err(node.error("missing service or routing key in PagerDuty config"));
    }
    one_of(node, "pagerduty_config", ["routing_key", "routing_key_file"], routing, false)?;
    one_of(node, "pagerduty_config", ["service_key", "service_key_file"], service, false)?;
    for (name, value) in pagerduty_details() {
        config.details.entry(name).or_insert(value);
    }
    if config.source.is_empty() {
        config.source.clone_from(&config.client);
    }
    if config.severity.is_empty() {
        "error".clone_into(&mut config.severity);
    }
    Ok(())
}

fn check_webhook_url(node: &Node, what: &str, url: &SecretUrl, file: &FilePath, needed: bool) -> Checked {
    match (url.is_empty(), file.is_empty()) {
        // A configuration that was printed has `<secret>` here.
        (true, true) if needed && node.get("webhook_url").is_none_or(Node::is_null) => {
            Err(node.error("one of webhook_url or webhook_url_file must be configured"))
        }
        (false, false) => Err(node.error("at most one of webhook_url & webhook_url_file must be configured").within(what)),
        _ => Ok(()),
    }
}

fn check_discord(config: &mut DiscordConfig, node: &Node) -> Checked {
    check_webhook_url(node, "discord_config", &config.webhook_url, &config.webhook_url_file, true)
}

fn check_msteams(config: &mut MsteamsConfig, node: &Node) -> Checked {
    check_webhook_url(node, "msteams_config", &config.webhook_url, &config.webhook_url_file, true)
}

fn check_msteamsv2(config: &mut Msteamsv2Config, node: &Node) -> Checked {
    check_webhook_url(node, "msteamsv2_config", &config.webhook_url, &config.webhook_url_file, true)
}

fn check_jira(config: &mut JiraConfig, node: &Node) -> Checked {
    if config.project.is_empty() {
        return Err(node.error("missing project in jira_config"));
    }
    if config.issue_type.is_empty() {
        return Err(node.error("missing issue_type in jira_config"));
    }
    for (key, value) in [("summary", &config.summary), ("description", &config.description)] {
        if let (Shown::Map(_), Some(place)) = (&value.0, node.get(key)) {
            super::section::read_new::<JiraField>(place)?;
        }
    }
    if !matches!(config.api_type.as_str(), "auto" | "cloud" | "datacenter") {
        return Err(node.error_at("api_type", "unknown api_type on jira_config, must be cloud, datacenter or auto"));
    }
    Ok(())
}

fn check_opsgenie(config: &mut OpsgenieConfig, node: &Node) -> Checked {
    let key = [!config.api_key.is_empty(), !config.api_key_file.is_empty()];
    one_of(node, "opsgenie_config", ["api_key", "api_key_file"], key, false)?;
    for responder in &config.responders {
        if responder.id.is_empty() && responder.username.is_empty() && responder.name.is_empty() {
            let message = "opsGenieConfig responder has to have at least one of id, username or name specified";
            return Err(node.error_at("responders", message));
        }
        let kind = responder.kind.to_lowercase();
        let known = matches!(kind.as_str(), "team" | "teams" | "user" | "escalation" | "schedule");
        if !kind.contains("{{") && !known {
            let message = format!("opsGenieConfig responder type {:?} is not valid", responder.kind);
            return Err(node.error_at("responders", message));
        }
    }
    Ok(())
}

fn check_pushover(config: &mut PushoverConfig, node: &Node) -> Checked {
    let user = [!config.user_key.is_empty(), !config.user_key_file.is_empty()];
    let token = [!config.token.is_empty(), !config.token_file.is_empty()];
    one_of(node, "pushover_config", ["user_key", "user_key_file"], user, true)?;
    one_of(node, "pushover_config", ["token", "token_file"], token, true)?;
    if config.html && config.monospace {
        return Err(node.error("at most one of monospace & html must be configured"));
    }
    Ok(())
}

fn check_rocketchat(config: &mut RocketchatConfig, node: &Node) -> Checked {
    let token = [!config.token.is_empty(), !config.token_file.is_empty()];
    let token_id = [!config.token_id.is_empty(), !config.token_id_file.is_empty()];
    one_of(node, "rocketchat_config", ["token", "token_file"], token, false)?;
    one_of(node, "rocketchat_config", ["token_id", "token_id_file"], token_id, false)
}

fn check_sigv4(config: &mut SigV4Config, node: &Node) -> Checked {
    if config.access_key.is_empty() == config.secret_key.is_empty() {
        Ok(())
    } else {
        Err(node.error("must provide a AWS SigV4 Access key and Secret Key if credentials are specified in the SigV4 config"))
    }
}

fn check_sns(config: &mut SnsConfig, node: &Node) -> Checked {
    let given = [&config.topic_arn, &config.phone_number, &config.target_arn].into_iter().filter(|text| !text.is_empty());
    if given.count() == 1 {
        Ok(())
    } else {
        Err(node.error("must provide either a Target ARN, Topic ARN, or Phone Number for SNS config"))
    }
}

fn check_telegram(config: &mut TelegramConfig, node: &Node) -> Checked {
    let token = [!config.bot_token.is_empty(), !config.bot_token_file.is_empty()];
    one_of(node, "telegram_config", ["bot_token", "bot_token_file"], token, false)?;
    match (config.chat_id != 0, !config.chat_id_file.is_empty()) {
        (false, false) => return Err(node.error("missing chat_id or chat_id_file on telegram_config")),
        (true, true) => return Err(node.error("at most one of chat_id & chat_id_file must be configured")),
        _ => {}
    }
    if !matches!(config.parse_mode.as_str(), "" | "Markdown" | "MarkdownV2" | "HTML") {
        let message = "unknown parse_mode on telegram_config, must be Markdown, MarkdownV2, HTML or empty string";
        return Err(node.error_at("parse_mode", message));
    }
    Ok(())
}

const VICTOROPS_FIELDS: [&str; 7] =
    ["routing_key", "message_type", "state_message", "entity_display_name", "monitoring_tool", "entity_id", "entity_state"];

fn check_victorops(config: &mut VictoropsConfig, node: &Node) -> Checked {
    if config.routing_key.is_empty() {
        return Err(node.error("missing Routing key in VictorOps config"));
    }
    let key = [!config.api_key.is_empty(), !config.api_key_file.is_empty()];
    one_of(node, "victorops_config", ["api_key", "api_key_file"], key, false)?;
    match config.custom_fields.keys().find(|name| VICTOROPS_FIELDS.contains(&name.as_str())) {
        Some(name) => {
            let message = format!(
                "victorOps config contains custom field {name} which cannot be used as it conflicts with the fixed/static fields"
            );
            Err(node.error_at("custom_fields", message))
        }
        None => Ok(()),
    }
}

fn check_webex(config: &mut WebexConfig, node: &Node) -> Checked {
    if config.room_id.is_empty() {
        return Err(node.error("missing room_id on webex_config"));
    }
    let authorized = config.http_config.as_ref().is_some_and(|http| http.authorization.is_some());
    if authorized { Ok(()) } else { Err(node.error("missing webex_configs.http_config.authorization")) }
}

fn check_wechat(config: &mut WechatConfig, node: &Node) -> Checked {
    if config.message_type.is_empty() {
        "text".clone_into(&mut config.message_type);
    }
    if !matches!(config.message_type.as_str(), "text" | "markdown") {
        let message = format!("weChat message type {:?} does not match valid options [markdown text]", config.message_type);
        return Err(node.error_at("message_type", message));
    }
    let secret = [!config.api_secret.is_empty(), !config.api_secret_file.is_empty()];
    one_of(node, "wechat_config", ["api_secret", "api_secret_file"], secret, false)
}

fn check_incidentio(config: &mut IncidentioConfig, node: &Node) -> Checked {
    let url = [!config.url.0.is_empty(), !config.url_file.is_empty()];
    one_of(node, "incidentio_config", ["url", "url_file"], url, true)?;
    let token = [!config.alert_source_token.is_empty(), !config.alert_source_token_file.is_empty()];
    let names = ["alert_source_token", "alert_source_token_file"];
    one_of(node, "incidentio_config", names, token, false)?;
    let authorized = config.http_config.as_ref().is_some_and(|http| http.authorization.is_some());
    match (token.contains(&true), authorized) {
        (true, true) => {
            Err(node.error("cannot specify alert_source_token or alert_source_token_file when using http_config.authorization"))
        }
        (false, false) => Err(node.error(
            "at least one of alert_source_token, alert_source_token_file or http_config.authorization must be configured",
        )),
        _ => Ok(()),
    }
}

fn check_mattermost(config: &mut MattermostConfig, node: &Node) -> Checked {
    check_webhook_url(node, "mattermost_config", &config.webhook_url, &config.webhook_url_file, false)
}
