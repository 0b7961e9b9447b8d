//! What Alertmanager refuses of a receiver's keys, in its words.

use super::{
    DiscordConfig, EmailConfig, IncidentioConfig, JiraConfig, JiraField, MattermostConfig, MsteamsConfig, Msteamsv2Config,
    OpsgenieConfig, PagerdutyConfig, PushoverConfig, Receiver, RocketchatConfig, SigV4Config, SlackAction, SlackConfig,
    SlackConfirmation, SlackField, SnsConfig, TelegramConfig, VictoropsConfig, WebexConfig, WebhookConfig, WechatConfig,
    pagerduty_details,
};
use crate::config::error::ConfigError;
use crate::config::section::{Value as _, read_new};
use crate::config::show::Shown;
use crate::config::values::{FilePath, SecretUrl};
use crate::config::yaml::Node;
use std::collections::BTreeMap;

type Checked = Result<(), ConfigError>;

/// Refuses two keys that say the same, and, where one is needed, none.
fn one_of(node: &Node, what: &str, names: [&str; 2], given: [bool; 2], needed: bool) -> Checked {
    match given {
        [true, true] => Err(node.error_at(names[0], format!("at most one of {} & {} must be configured", names[0], names[1]))),
        [false, false] if needed => Err(node.error(format!("one of {} or {} must be configured in {what}", names[0], names[1]))),
        _ => Ok(()),
    }
}

pub(super) fn check_receiver(config: &mut Receiver, node: &Node) -> Checked {
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

pub(super) fn check_email(config: &mut EmailConfig, node: &Node) -> Checked {
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

pub(super) fn check_webhook(config: &mut WebhookConfig, node: &Node) -> Checked {
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

pub(super) fn check_slack_confirmation(config: &mut SlackConfirmation, node: &Node) -> Checked {
    if config.text.is_empty() { Err(node.error("missing text in Slack confirmation configuration")) } else { Ok(()) }
}

pub(super) fn check_slack_action(config: &mut SlackAction, node: &Node) -> Checked {
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

pub(super) fn check_slack_field(config: &mut SlackField, node: &Node) -> Checked {
    if config.title.is_empty() {
        return Err(node.error("missing title in Slack field configuration"));
    }
    if config.value.is_empty() {
        return Err(node.error("missing value in Slack field configuration"));
    }
    Ok(())
}

pub(super) fn check_slack(config: &mut SlackConfig, node: &Node) -> Checked {
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

pub(super) fn check_pagerduty(config: &mut PagerdutyConfig, node: &Node) -> Checked {
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

pub(super) fn check_discord(config: &mut DiscordConfig, node: &Node) -> Checked {
    check_webhook_url(node, "discord_config", &config.webhook_url, &config.webhook_url_file, true)
}

pub(super) fn check_msteams(config: &mut MsteamsConfig, node: &Node) -> Checked {
    check_webhook_url(node, "msteams_config", &config.webhook_url, &config.webhook_url_file, true)
}

pub(super) fn check_msteamsv2(config: &mut Msteamsv2Config, node: &Node) -> Checked {
    check_webhook_url(node, "msteamsv2_config", &config.webhook_url, &config.webhook_url_file, true)
}

pub(super) fn check_jira(config: &mut JiraConfig, node: &Node) -> Checked {
    if config.project.is_empty() {
        return Err(node.error("missing project in jira_config"));
    }
    if config.issue_type.is_empty() {
        return Err(node.error("missing issue_type in jira_config"));
    }
    for (key, value) in [("summary", &config.summary), ("description", &config.description)] {
        if let (Shown::Map(_), Some(place)) = (&value.0, node.get(key)) {
            read_new::<JiraField>(place)?;
        }
    }
    if !matches!(config.api_type.as_str(), "auto" | "cloud" | "datacenter") {
        return Err(node.error_at("api_type", "unknown api_type on jira_config, must be cloud, datacenter or auto"));
    }
    Ok(())
}

pub(super) fn check_opsgenie(config: &mut OpsgenieConfig, node: &Node) -> Checked {
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

pub(super) fn check_pushover(config: &mut PushoverConfig, node: &Node) -> Checked {
    let user = [!config.user_key.is_empty(), !config.user_key_file.is_empty()];
    let token = [!config.token.is_empty(), !config.token_file.is_empty()];
    one_of(node, "pushover_config", ["user_key", "user_key_file"], user, true)?;
    one_of(node, "pushover_config", ["token", "token_file"], token, true)?;
    if config.html && config.monospace {
        return Err(node.error("at most one of monospace & html must be configured"));
    }
    Ok(())
}

pub(super) fn check_rocketchat(config: &mut RocketchatConfig, node: &Node) -> Checked {
    let token = [!config.token.is_empty(), !config.token_file.is_empty()];
    let token_id = [!config.token_id.is_empty(), !config.token_id_file.is_empty()];
    one_of(node, "rocketchat_config", ["token", "token_file"], token, false)?;
    one_of(node, "rocketchat_config", ["token_id", "token_id_file"], token_id, false)
}

pub(super) fn check_sigv4(config: &mut SigV4Config, node: &Node) -> Checked {
    if config.access_key.is_empty() == config.secret_key.is_empty() {
        Ok(())
    } else {
        Err(node.error("must provide a AWS SigV4 Access key and Secret Key if credentials are specified in the SigV4 config"))
    }
}

pub(super) fn check_sns(config: &mut SnsConfig, node: &Node) -> Checked {
    let given = [&config.topic_arn, &config.phone_number, &config.target_arn].into_iter().filter(|text| !text.is_empty());
    if given.count() == 1 {
        Ok(())
    } else {
        Err(node.error("must provide either a Target ARN, Topic ARN, or Phone Number for SNS config"))
    }
}

pub(super) fn check_telegram(config: &mut TelegramConfig, node: &Node) -> Checked {
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

pub(super) fn check_victorops(config: &mut VictoropsConfig, node: &Node) -> Checked {
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

pub(super) fn check_webex(config: &mut WebexConfig, node: &Node) -> Checked {
    if config.room_id.is_empty() {
        return Err(node.error("missing room_id on webex_config"));
    }
    let authorized = config.http_config.as_ref().is_some_and(|http| http.authorization.is_some());
    if authorized { Ok(()) } else { Err(node.error("missing webex_configs.http_config.authorization")) }
}

pub(super) fn check_wechat(config: &mut WechatConfig, node: &Node) -> Checked {
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

pub(super) fn check_incidentio(config: &mut IncidentioConfig, node: &Node) -> Checked {
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

pub(super) fn check_mattermost(config: &mut MattermostConfig, node: &Node) -> Checked {
    check_webhook_url(node, "mattermost_config", &config.webhook_url, &config.webhook_url_file, false)
}
