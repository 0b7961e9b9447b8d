//! Slack: an incoming webhook, or `chat.postMessage` with an app's token.

use super::{Answer, Call, Message, bearer, cut, judge as judge_status, own_text, secret, without_empty, words};
use crate::alerting::machine::Delivery;
use crate::alerting::notify::writer::Writer;
use crate::alerting::notify::{Accepted, Failure};
use crate::config::Secret;
use crate::config::receivers::SlackConfig;
use crate::env::Env;
use serde_json::{Value, json};

/// The longest title, in characters.
const TITLE_CHARS_MAX: usize = 1024;
/// Words of Slack for what stays as it is.
const FORMATTED: [&str; 3] = ["fallback", "pretext", "text"];

pub(super) fn body(config: &SlackConfig, writer: &mut Writer<'_>, delivery: &Delivery) -> Value {
    let instead = || own_text(delivery);
    let title = cut(writer.text("the title", &config.title, false, instead), TITLE_CHARS_MAX);
    let fallback = writer.text("the fallback", &config.fallback, false, instead);
    let text = writer.text("the text", &config.text, false, instead);
    let mut plain = |what: &str, template: &str| writer.text(what, template, false, String::new);
    let fields: Vec<Value> = config
        .fields
        .iter()
        .map(|field| {
            json!({
                "title": plain("a field", &field.title),
                "value": plain("a field", &field.value),
                "short": field.short.unwrap_or(config.short_fields),
            })
        })
        .collect();
    let actions: Vec<Value> = config
        .actions
        .iter()
        .map(|action| {
            let confirm = action.confirm.as_ref().map_or(Value::Null, |confirm| {
                without_empty(json!({
                    "title": plain("a question", &confirm.title),
                    "text": plain("a question", &confirm.text),
                    "ok_text": plain("a question", &confirm.ok_text),
                    "dismiss_text": plain("a question", &confirm.dismiss_text),
                }))
            });
            without_empty(json!({
                "type": plain("an action", &action.kind),
                "text": plain("an action", &action.text),
                "url": plain("an action", &action.url),
                "style": plain("an action", &action.style),
                "name": plain("an action", &action.name),
                "value": plain("an action", &action.value),
                "confirm": confirm,
            }))
        })
        .collect();
    let formatted = if config.mrkdwn_in.is_empty() { json!(FORMATTED) } else { json!(config.mrkdwn_in) };
    let attachment = without_empty(json!({
        "title": title,
        "title_link": plain("the title's link", &config.title_link),
        "pretext": plain("the pretext", &config.pretext),
        "text": text,
        "fallback": fallback,
        "callback_id": plain("the callback's id", &config.callback_id),
        "image_url": plain("the image", &config.image_url),
        "thumb_url": plain("the thumbnail", &config.thumb_url),
        "footer": plain("the footer", &config.footer),
        "color": plain("the color", &config.color),
        "fields": fields,
        "actions": actions,
        "mrkdwn_in": formatted,
    }));
    let mut body = without_empty(json!({
        "channel": plain("the channel", &config.channel),
        "username": plain("the username", &config.username),
        "icon_emoji": plain("the icon", &config.icon_emoji),
        "icon_url": plain("the icon", &config.icon_url),
        "text": plain("the message's text", &config.message_text),
        "attachments": [attachment],
    }));
    if config.link_names {
        body["link_names"] = true.into();
    }
    body
}

pub(super) async fn call(env: &Env, config: &SlackConfig, message: &Message) -> std::io::Result<Call> {
    let by_token = !config.app_token.is_empty() || !config.app_token_file.is_empty();
    let mut call = if by_token {
        let token = secret(env, &config.app_token, &config.app_token_file).await?;
        let mut call = Call::to(config.app_url.0.as_str().to_owned(), message);
        let (name, value) = bearer(&token).ok_or_else(|| std::io::Error::other("the app's token is none"))?;
        call.headers.insert(name, value);
        call
    } else {
        Call::to(secret(env, &Secret::new(config.api_url.reveal().as_str()), &config.api_url_file).await?, message)
    };
    if !config.timeout.is_zero() {
        call.timeout = config.timeout;
    }
    Ok(call)
}

/// `chat.postMessage` answers 200 to what it refuses; its JSON then says why.
pub(super) fn judge(answer: &Answer) -> Result<Accepted, Failure> {
    let accepted = judge_status(answer)?;
    let told = serde_json::from_str::<Value>(&answer.body).unwrap_or_default();
    if told["ok"] != Value::Bool(false) {
        return Ok(accepted);
    }
    let words = words(answer);
    let may_pass =
        matches!(told["error"].as_str(), Some("ratelimited" | "internal_error" | "service_unavailable" | "fatal_error"));
    Err(if may_pass { Failure { reason: "rateLimited", ..Failure::transient(words) } } else { Failure::permanent(words) })
}
