//! What receivers inherit from `alertmanager.global`, and what is missing where nobody says it.

use super::{EmailConfig, Receiver, SlackConfig};
use crate::config::alertmanager::AlertmanagerGlobal;
use crate::config::error::ConfigError;
use crate::config::http_client::HttpClientConfig;
use crate::config::section::{Section as _, Value as _};
use crate::config::values::{FilePath, Secret, WebUrl};
use crate::config::yaml::Node;

type Checked = Result<(), ConfigError>;

/// Judges `alertmanager.global` alone.
pub(crate) fn check_global(global: &mut AlertmanagerGlobal, node: &Node) -> Checked {
    let pairs = [
        ("smtp_auth_password", !global.smtp_auth_password.is_empty(), !global.smtp_auth_password_file.is_empty()),
        ("smtp_auth_secret", !global.smtp_auth_secret.is_empty(), !global.smtp_auth_secret_file.is_empty()),
        ("slack_api_url", !global.slack_api_url.is_empty(), !global.slack_api_url_file.is_empty()),
        ("slack_app_token", !global.slack_app_token.is_empty(), !global.slack_app_token_file.is_empty()),
        ("opsgenie_api_key", !global.opsgenie_api_key.is_empty(), !global.opsgenie_api_key_file.is_empty()),
        ("victorops_api_key", !global.victorops_api_key.is_empty(), !global.victorops_api_key_file.is_empty()),
        ("telegram_bot_token", !global.telegram_bot_token.is_empty(), !global.telegram_bot_token_file.is_empty()),
        ("wechat_api_secret", !global.wechat_api_secret.is_empty(), !global.wechat_api_secret_file.is_empty()),
        ("rocketchat_token", !global.rocketchat_token.is_empty(), !global.rocketchat_token_file.is_empty()),
        ("rocketchat_token_id", !global.rocketchat_token_id.is_empty(), !global.rocketchat_token_id_file.is_empty()),
        ("mattermost_webhook_url", !global.mattermost_webhook_url.is_empty(), !global.mattermost_webhook_url_file.is_empty()),
    ];
    for (key, given, in_file) in pairs {
        if given && in_file {
            return Err(node.error_at(key, format!("at most one of {key} & {key}_file must be configured")));
        }
    }
    let token = !global.slack_app_token.is_empty() || !global.slack_app_token_file.is_empty();
    let other_url = !global.slack_api_url_file.is_empty()
        || (!global.slack_api_url.is_empty() && *global.slack_api_url.reveal() != global.slack_app_url.0);
    if token && other_url {
        let message = "at most one of slack_app_token/slack_app_token_file & slack_api_url/slack_api_url_file must be configured";
        return Err(node.error_at("slack_app_token", message));
    }
    Ok(())
}

/// Takes `global`'s text where there is none.
fn inherit(own: &mut String, usual: &str) {
    if own.is_empty() {
        usual.clone_into(own);
    }
}

fn inherit_url(own: &mut WebUrl, usual: &WebUrl) {
    if own.0.is_empty() {
        own.clone_from(usual);
    }
}

/// Takes `global`'s secret or its file where there is neither; answers whether there is one now.
fn inherit_secret((secret, file): (&mut Secret, &mut FilePath), usual: (&Secret, &FilePath)) -> bool {
    if secret.is_empty() && file.is_empty() {
        *secret = usual.0.clone();
        *file = usual.1.clone();
    }
    !secret.is_empty() || !file.is_empty()
}

/// Fills in what a receiver leaves to `alertmanager.global`.
pub(crate) fn fill_in(receiver: &mut Receiver, global: &AlertmanagerGlobal, node: &Node) -> Checked {
    fill_in_http(receiver, global, node)?;
    for email in &mut receiver.email_configs {
        fill_in_email(email, global, node)?;
    }
    for slack in &mut receiver.slack_configs {
        fill_in_slack(slack, global, node)?;
    }
    for pagerduty in &mut receiver.pagerduty_configs {
        inherit_url(&mut pagerduty.url, &global.pagerduty_url);
    }
    fill_in_keys(receiver, global, node)?;
    fill_in_chats(receiver, global, node)
}

/// A partial `http_config` that says nothing of proxies takes `global`'s, as Alertmanager does.
fn fill_in_http(receiver: &mut Receiver, global: &AlertmanagerGlobal, node: &Node) -> Checked {
    let all = [
        receiver.discord_configs.iter_mut().map(|config| &mut config.http_config).collect::<Vec<_>>(),
        receiver.incidentio_configs.iter_mut().map(|config| &mut config.http_config).collect(),
        receiver.jira_configs.iter_mut().map(|config| &mut config.http_config).collect(),
        receiver.mattermost_configs.iter_mut().map(|config| &mut config.http_config).collect(),
        receiver.msteams_configs.iter_mut().map(|config| &mut config.http_config).collect(),
        receiver.msteamsv2_configs.iter_mut().map(|config| &mut config.http_config).collect(),
        receiver.opsgenie_configs.iter_mut().map(|config| &mut config.http_config).collect(),
        receiver.pagerduty_configs.iter_mut().map(|config| &mut config.http_config).collect(),
        receiver.pushover_configs.iter_mut().map(|config| &mut config.http_config).collect(),
        receiver.rocketchat_configs.iter_mut().map(|config| &mut config.http_config).collect(),
        receiver.slack_configs.iter_mut().map(|config| &mut config.http_config).collect(),
        receiver.sns_configs.iter_mut().map(|config| &mut config.http_config).collect(),
        receiver.telegram_configs.iter_mut().map(|config| &mut config.http_config).collect(),
        receiver.victorops_configs.iter_mut().map(|config| &mut config.http_config).collect(),
        receiver.webex_configs.iter_mut().map(|config| &mut config.http_config).collect(),
        receiver.webhook_configs.iter_mut().map(|config| &mut config.http_config).collect(),
        receiver.wechat_configs.iter_mut().map(|config| &mut config.http_config).collect(),
    ];
    for http in all.into_iter().flatten() {
        fill_in_client(http, &global.http_config, node)?;
    }
    Ok(())
}

fn fill_in_client(http: &mut Option<HttpClientConfig>, global: &HttpClientConfig, node: &Node) -> Checked {
    match http {
        None => *http = Some(global.clone()),
        Some(own) => {
            if own.proxy.show().is_zero() {
                own.proxy.clone_from(&global.proxy);
                own.proxy.check(node)?;
            }
        }
    }
    Ok(())
}

fn fill_in_email(email: &mut EmailConfig, global: &AlertmanagerGlobal, node: &Node) -> Checked {
    let place = || node.get("email_configs").unwrap_or(node);
    if email.smarthost.is_empty() {
        if global.smtp_smarthost.is_empty() {
            return Err(place().error("no global SMTP smarthost set"));
        }
        email.smarthost.clone_from(&global.smtp_smarthost);
    }
    if email.from.is_empty() {
        if global.smtp_from.is_empty() {
            return Err(place().error("no global SMTP from set"));
        }
        email.from.clone_from(&global.smtp_from);
    }
    inherit(&mut email.hello, &global.smtp_hello);
    inherit(&mut email.auth_username, &global.smtp_auth_username);
    inherit(&mut email.auth_identity, &global.smtp_auth_identity);
    inherit_secret(
        (&mut email.auth_password, &mut email.auth_password_file),
        (&global.smtp_auth_password, &global.smtp_auth_password_file),
    );
    inherit_secret(
        (&mut email.auth_secret, &mut email.auth_secret_file),
        (&global.smtp_auth_secret, &global.smtp_auth_secret_file),
    );
    email.require_tls.get_or_insert(global.smtp_require_tls);
    if email.force_implicit_tls.is_none() {
        email.force_implicit_tls = global.smtp_force_implicit_tls;
    }
    if email.tls_config.is_none() {
        email.tls_config.clone_from(&global.smtp_tls_config);
    }
    Ok(())
}

fn fill_in_slack(slack: &mut SlackConfig, global: &AlertmanagerGlobal, node: &Node) -> Checked {
    inherit_url(&mut slack.app_url, &global.slack_app_url);
    let own_url = !slack.api_url.is_empty() || !slack.api_url_file.is_empty();
    let own_token = !slack.app_token.is_empty() || !slack.app_token_file.is_empty();
    if own_url || own_token {
        return Ok(());
    }
    let authorized = slack.http_config.as_ref().is_some_and(|http| http.authorization.is_some());
    if !authorized {
        slack.app_token.clone_from(&global.slack_app_token);
        slack.app_token_file.clone_from(&global.slack_app_token_file);
    }
    if slack.app_token.is_empty() && slack.app_token_file.is_empty() {
        slack.api_url.clone_from(&global.slack_api_url);
        slack.api_url_file.clone_from(&global.slack_api_url_file);
        if slack.api_url.is_empty() && slack.api_url_file.is_empty() {
            return Err(node.error_at("slack_configs", "no Slack API URL nor App token set either inline or in a file"));
        }
    }
    Ok(())
}

fn fill_in_keys(receiver: &mut Receiver, global: &AlertmanagerGlobal, node: &Node) -> Checked {
    for opsgenie in &mut receiver.opsgenie_configs {
        inherit_url(&mut opsgenie.api_url, &global.opsgenie_api_url);
        let own = (&mut opsgenie.api_key, &mut opsgenie.api_key_file);
        if !inherit_secret(own, (&global.opsgenie_api_key, &global.opsgenie_api_key_file)) {
            return Err(node.error_at("opsgenie_configs", "no global OpsGenie API Key set either inline or in a file"));
        }
    }
    for victorops in &mut receiver.victorops_configs {
        inherit_url(&mut victorops.api_url, &global.victorops_api_url);
        let own = (&mut victorops.api_key, &mut victorops.api_key_file);
        if !inherit_secret(own, (&global.victorops_api_key, &global.victorops_api_key_file)) {
            return Err(node.error_at("victorops_configs", "no global VictorOps API Key set"));
        }
    }
    for wechat in &mut receiver.wechat_configs {
        inherit_url(&mut wechat.api_url, &global.wechat_api_url);
        let own = (&mut wechat.api_secret, &mut wechat.api_secret_file);
        if !inherit_secret(own, (&global.wechat_api_secret, &global.wechat_api_secret_file)) {
            return Err(node.error_at("wechat_configs", "no global Wechat Api Secret set either inline or in a file"));
        }
        if wechat.corp_id.is_empty() && global.wechat_api_corp_id.is_empty() {
            return Err(node.error_at("wechat_configs", "no global Wechat CorpID set"));
        }
        inherit(&mut wechat.corp_id, &global.wechat_api_corp_id);
    }
    for jira in &mut receiver.jira_configs {
        if jira.api_url.0.is_empty() && global.jira_api_url.0.is_empty() {
            return Err(node.error_at("jira_configs", "no global Jira Cloud URL set"));
        }
        inherit_url(&mut jira.api_url, &global.jira_api_url);
    }
    Ok(())
}

fn fill_in_chats(receiver: &mut Receiver, global: &AlertmanagerGlobal, node: &Node) -> Checked {
    for telegram in &mut receiver.telegram_configs {
        inherit_url(&mut telegram.api_url, &global.telegram_api_url);
        let own = (&mut telegram.bot_token, &mut telegram.bot_token_file);
        if !inherit_secret(own, (&global.telegram_bot_token, &global.telegram_bot_token_file)) {
            return Err(node.error_at("telegram_configs", "missing bot_token or bot_token_file on telegram_config"));
        }
    }
    for webex in &mut receiver.webex_configs {
        inherit_url(&mut webex.api_url, &global.webex_api_url);
    }
    for rocketchat in &mut receiver.rocketchat_configs {
        inherit_url(&mut rocketchat.api_url, &global.rocketchat_api_url);
        let own = (&mut rocketchat.token, &mut rocketchat.token_file);
        if !inherit_secret(own, (&global.rocketchat_token, &global.rocketchat_token_file)) {
            return Err(node.error_at("rocketchat_configs", "no global Rocketchat Token set either inline or in a file"));
        }
        let own = (&mut rocketchat.token_id, &mut rocketchat.token_id_file);
        if !inherit_secret(own, (&global.rocketchat_token_id, &global.rocketchat_token_id_file)) {
            return Err(node.error_at("rocketchat_configs", "no global Rocketchat TokenID set either inline or in a file"));
        }
    }
    for mattermost in &mut receiver.mattermost_configs {
        if mattermost.webhook_url.is_empty() && mattermost.webhook_url_file.is_empty() {
            mattermost.webhook_url.clone_from(&global.mattermost_webhook_url);
            mattermost.webhook_url_file.clone_from(&global.mattermost_webhook_url_file);
            if mattermost.webhook_url.is_empty() && mattermost.webhook_url_file.is_empty() {
                return Err(node.error_at("mattermost_configs", "missing webhook_url or webhook_url_file on mattermost_config"));
            }
        }
    }
    Ok(())
}
