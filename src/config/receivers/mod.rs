//! Receivers: everything that Alertmanager 0.34 can tell somebody with, read and judged as it does.
//!
//! The field names are Alertmanager's keys and are documented there. A text that holds `{{` is a template.

#![expect(missing_docs, reason = "the fields are Alertmanager's keys, documented there")]

mod check;
pub(super) mod defaults;
mod templated;
mod values;

pub use templated::{TemplatedText, TemplatedTexts};
pub use values::{AnyValue, OUTBOX, Smarthost};

use super::http_client::{HttpClientConfig, TlsConfig};
use super::section::section;
use super::show::Shown;
use super::values::{FilePath, Secret, SecretUrl, WebUrl};
use crate::model::labels::Labels;
use std::collections::BTreeMap;
use std::time::Duration;

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
        /// Beyond Alertmanager: the most connections to the smarthost at a time; 0: the default, 5.
        max_connections: u64 = 0,
    } check check::check_email;

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
    } check check::check_webhook;

    pub struct SlackConfirmation "slack confirm" {
        text: String = String::new(),
        title: String = String::new(),
        ok_text: String = String::new(),
        dismiss_text: String = String::new(),
    } check check::check_slack_confirmation;

    pub struct SlackAction "slack action" {
        kind "type": String = String::new(),
        text: String = String::new(),
        url: String = String::new(),
        style: String = String::new(),
        name: String = String::new(),
        value: String = String::new(),
        confirm: Option<SlackConfirmation> = None,
    } check check::check_slack_action;

    pub struct SlackField "slack field" {
        title: String = String::new(),
        value: String = String::new(),
        short: Option<bool> = None,
    } check check::check_slack_field;

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
    } check check::check_slack;

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
    } check check::check_pagerduty;

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
    } check check::check_discord;

    /// Microsoft Teams, connectors.
    pub struct MsteamsConfig "msteams_config" {
        send_resolved: bool = true,
        http_config: Option<HttpClientConfig> = None,
        webhook_url: SecretUrl = SecretUrl::default(),
        webhook_url_file: FilePath = FilePath::default(),
        title: String = template("msteams.default.title"),
        summary: String = template("msteams.default.summary"),
        text: String = template("msteams.default.text"),
    } check check::check_msteams;

    /// Microsoft Teams, flows.
    pub struct Msteamsv2Config "msteamsv2_config" {
        send_resolved: bool = true,
        http_config: Option<HttpClientConfig> = None,
        webhook_url: SecretUrl = SecretUrl::default(),
        webhook_url_file: FilePath = FilePath::default(),
        title: String = template("msteamsv2.default.title"),
        text: String = template("msteamsv2.default.text"),
    } check check::check_msteamsv2;

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
    } check check::check_jira;

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
    } check check::check_opsgenie;

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
    } check check::check_pushover;

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
    } check check::check_rocketchat;

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
    } check check::check_sigv4;

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
    } check check::check_sns;

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
    } check check::check_telegram;

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
    } check check::check_victorops;

    /// Webex.
    pub struct WebexConfig "webex_config" {
        send_resolved: bool = true,
        http_config: Option<HttpClientConfig> = None,
        api_url: WebUrl = WebUrl::default(),
        message: String = template("webex.default.message"),
        room_id: String = String::new(),
    } check check::check_webex;

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
    } check check::check_wechat;

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
    } check check::check_incidentio;

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
    } check check::check_mattermost;

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
    } check check::check_receiver;
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
