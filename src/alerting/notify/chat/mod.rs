//! Chat and on-call services by their documented APIs: Slack, PagerDuty, Telegram, Discord, Microsoft Teams.
//!
//! Each file here turns a notification into the JSON that its service asks for, and says what the service's answer means. The
//! request is made here, the same for all. Keys and addresses are read when a request is made, and are in nothing that is kept.

mod discord;
mod pagerduty;
mod slack;
mod teams;
mod telegram;

use super::writer::Writer;
use super::{Accepted, Failure, Notifier, mail};
use crate::alerting::http::{self, Answer};
use crate::alerting::machine::Delivery;
use crate::config::HttpClientConfig;
use crate::config::receivers::{DiscordConfig, MsteamsConfig, Msteamsv2Config, PagerdutyConfig, SlackConfig, TelegramConfig};
use crate::config::{FilePath, Secret};
use crate::env::Env;
use ::http::HeaderMap;
use ::http::header::{AUTHORIZATION, HeaderValue};
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::Duration;

/// The longest that one attempt may take where the configuration says nothing.
const ATTEMPT: Duration = Duration::from_secs(30);
/// How much of an answer is told.
const WORDS_CHARS_MAX: usize = 300;

/// A service, as it is configured.
#[derive(Clone, Debug, PartialEq)]
pub enum ChatTarget {
    /// Slack, by an incoming webhook or `chat.postMessage`.
    Slack(SlackConfig),
    /// PagerDuty, Events API version 2, or 1 with a service key.
    Pagerduty(PagerdutyConfig),
    /// Telegram's bots.
    Telegram(TelegramConfig),
    /// Discord's webhooks.
    Discord(DiscordConfig),
    /// Microsoft Teams, connectors.
    Msteams(MsteamsConfig),
    /// Microsoft Teams, flows.
    Msteamsv2(Msteamsv2Config),
}

/// A rendered message, without any secret.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    body: Map<String, Value>,
    /// What went wrong while rendering.
    pub notes: Vec<String>,
}

impl Message {
    /// Returns what is kept for the history.
    #[must_use]
    pub fn shown(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(&self.body).unwrap_or_default()
    }
}

/// Where a request goes, and what is secret of it.
struct Call {
    url: String,
    headers: HeaderMap,
    body: Map<String, Value>,
    timeout: Duration,
}

impl Call {
    fn to(url: String, message: &Message) -> Self {
        Self { url, headers: HeaderMap::new(), body: message.body.clone(), timeout: ATTEMPT }
    }
}

/// Renders a message.
#[must_use]
pub fn render(notifier: &Notifier, target: &ChatTarget, delivery: &Delivery) -> Message {
    let mut writer = Writer::new(notifier, delivery);
    let body = match target {
        ChatTarget::Slack(config) => slack::body(config, &mut writer, delivery),
        ChatTarget::Pagerduty(config) => pagerduty::body(config, &mut writer, delivery),
        ChatTarget::Telegram(config) => telegram::body(config, &mut writer, delivery),
        ChatTarget::Discord(config) => discord::body(config, &mut writer, delivery),
        ChatTarget::Msteams(config) => teams::card(config, &mut writer, delivery),
        ChatTarget::Msteamsv2(config) => teams::adaptive(config, &mut writer, delivery),
    };
    Message { body: object(body), notes: writer.notes }
}

/// Tries once.
///
/// # Errors
/// What the service or the network said.
pub async fn attempt(
    notifier: &Notifier,
    target: &ChatTarget,
    message: &Message,
    delivery: &Delivery,
) -> Result<Accepted, Failure> {
    let env = &notifier.env;
    let call = match target {
        ChatTarget::Slack(config) => slack::call(env, config, message).await,
        ChatTarget::Pagerduty(config) => pagerduty::call(env, config, message, delivery).await,
        ChatTarget::Telegram(config) => telegram::call(env, config, message).await,
        ChatTarget::Discord(config) => by_address(env, &config.webhook_url, &config.webhook_url_file, message).await,
        ChatTarget::Msteams(config) => by_address(env, &config.webhook_url, &config.webhook_url_file, message).await,
        ChatTarget::Msteamsv2(config) => by_address(env, &config.webhook_url, &config.webhook_url_file, message).await,
    };
    let call = call.map_err(|error| Failure::transient(format!("a secret cannot be read: {error}")))?;
    let client = match target {
        ChatTarget::Slack(config) => &config.http_config,
        ChatTarget::Pagerduty(config) => &config.http_config,
        ChatTarget::Telegram(config) => &config.http_config,
        ChatTarget::Discord(config) => &config.http_config,
        ChatTarget::Msteams(config) => &config.http_config,
        ChatTarget::Msteamsv2(config) => &config.http_config,
    };
    let plain = HttpClientConfig::default();
    let body = serde_json::to_vec(&call.body).unwrap_or_default();
    let posting = http::post(env, client.as_ref().unwrap_or(&plain), &call.url, call.headers, body);
    let answer = match env.clock.timeout(call.timeout, posting).await {
        // The address holds the key of most services: it is not repeated in messages.
        Ok(answer) => answer.map_err(|words| Failure::transient(words.replace(&call.url, "<url>")))?,
        Err(elapsed) => return Err(Failure { reason: "contextDeadlineExceeded", ..Failure::transient(elapsed.to_string()) }),
    };
    match target {
        ChatTarget::Slack(_) => slack::judge(&answer),
        ChatTarget::Telegram(_) => telegram::judge(&answer),
        ChatTarget::Msteams(_) => teams::judge(&answer),
        ChatTarget::Pagerduty(_) | ChatTarget::Discord(_) | ChatTarget::Msteamsv2(_) => judge(&answer),
    }
}

async fn by_address(
    env: &Env,
    url: &crate::config::values::SecretUrl,
    file: &FilePath,
    message: &Message,
) -> std::io::Result<Call> {
    Ok(Call::to(secret(env, &Secret::new(url.reveal().as_str()), file).await?, message))
}

async fn secret(env: &Env, text: &Secret, file: &FilePath) -> std::io::Result<String> {
    let file = (!file.is_empty()).then(|| file.path().to_owned());
    super::SecretSource { text: text.reveal().to_owned(), file }.read(env).await
}

/// Says what a status means: 2xx is acceptance, 429 and 5xx may pass, others stay.
fn judge(answer: &Answer) -> Result<Accepted, Failure> {
    let words = words(answer);
    match answer.status {
        200..300 => Ok(Accepted { words, recipients: Vec::new() }),
        429 => Err(Failure { reason: "rateLimited", ..Failure::transient(words) }),
        500.. => Err(Failure { reason: "serverError", ..Failure::transient(words) }),
        _ => Err(Failure::permanent(words)),
    }
}

fn words(answer: &Answer) -> String {
    format!("status code {}: {}", answer.status, answer.body.chars().take(WORDS_CHARS_MAX).collect::<String>())
}

fn bearer(token: &str) -> Option<(::http::HeaderName, HeaderValue)> {
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
    value.set_sensitive(true);
    Some((AUTHORIZATION, value))
}

/// Cuts a text to so many characters; the last is then an ellipsis.
fn cut(text: String, chars_max: usize) -> String {
    if text.chars().count() <= chars_max {
        return text;
    }
    text.chars().take(chars_max.saturating_sub(1)).chain(['…']).collect()
}

/// Returns whether any of the alerts fires.
fn fires(delivery: &Delivery) -> bool {
    delivery.alerts.iter().any(|told| !told.resolved)
}

/// Returns our own text, for where a template fails.
fn own_text(delivery: &Delivery) -> String {
    mail::subject(delivery, mail::Language::English)
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// Leaves out what is empty.
fn without_empty(value: Value) -> Value {
    let kept = object(value).into_iter().filter(|(_, value)| match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
        Value::Bool(_) | Value::Number(_) => true,
    });
    Value::Object(kept.collect())
}

/// Returns the target of each configured service of a receiver, with its kind, its place among those of its kind, and whether
/// ended alerts are told.
pub fn targets(
    config: &crate::config::receivers::Receiver,
) -> impl Iterator<Item = (&'static str, usize, bool, Arc<super::Target>)> + use<'_> {
    fn each<'a, C: Clone>(
        kind: &'static str,
        configs: &'a [C],
        resolved: impl Fn(&C) -> bool + 'a,
        target: impl Fn(C) -> ChatTarget + 'a,
    ) -> impl Iterator<Item = (&'static str, usize, bool, Arc<super::Target>)> + 'a {
        let made = move |(place, config): (usize, &C)| {
            let target = super::Target::Chat(Box::new(target(config.clone())));
            (kind, place, resolved(config), Arc::new(target))
        };
        configs.iter().enumerate().map(made)
    }
    each("slack", &config.slack_configs, |one| one.send_resolved, ChatTarget::Slack)
        .chain(each("pagerduty", &config.pagerduty_configs, |one| one.send_resolved, ChatTarget::Pagerduty))
        .chain(each("telegram", &config.telegram_configs, |one| one.send_resolved, ChatTarget::Telegram))
        .chain(each("discord", &config.discord_configs, |one| one.send_resolved, ChatTarget::Discord))
        .chain(each("msteams", &config.msteams_configs, |one| one.send_resolved, ChatTarget::Msteams))
        .chain(each("msteamsv2", &config.msteamsv2_configs, |one| one.send_resolved, ChatTarget::Msteamsv2))
}
