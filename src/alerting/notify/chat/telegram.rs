//! Telegram: `sendMessage` of the bot API.

use super::{Answer, Call, Message, cut, judge as judge_status, own_text, secret};
use crate::alerting::machine::Delivery;
use crate::alerting::notify::writer::Writer;
use crate::alerting::notify::{Accepted, Failure};
use crate::config::Secret;
use crate::config::receivers::TelegramConfig;
use crate::env::Env;
use serde_json::{Value, json};

/// The longest message, in characters.
const CHARS_MAX: usize = 4096;

pub(super) fn body(config: &TelegramConfig, writer: &mut Writer<'_>, delivery: &Delivery) -> Value {
    let is_html = config.parse_mode == "HTML";
    let text = writer.text("the message", &config.message, is_html, || own_text(delivery));
    let mut body = json!({
        "text": cut(text, CHARS_MAX),
        "disable_web_page_preview": true,
        "disable_notification": config.disable_notifications,
    });
    if !config.parse_mode.is_empty() {
        body["parse_mode"] = config.parse_mode.as_str().into();
    }
    if config.message_thread_id != 0 {
        body["message_thread_id"] = config.message_thread_id.into();
    }
    body
}

pub(super) async fn call(env: &Env, config: &TelegramConfig, message: &Message) -> std::io::Result<Call> {
    let token = secret(env, &config.bot_token, &config.bot_token_file).await?;
    let chat = match config.chat_id {
        0 => {
            let text = secret(env, &Secret::default(), &config.chat_id_file).await?;
            text.parse::<i64>().map_err(|_| std::io::Error::other("chat_id_file holds no number"))?
        }
        chat => chat,
    };
    let api = config.api_url.0.as_str();
    let mut call = Call::to(format!("{}/bot{token}/sendMessage", api.trim_end_matches('/')), message);
    call.body.insert("chat_id".to_owned(), chat.into());
    Ok(call)
}

/// The answer's JSON says what the status does not.
pub(super) fn judge(answer: &Answer) -> Result<Accepted, Failure> {
    let told = serde_json::from_str::<Value>(&answer.body).unwrap_or_default();
    let accepted = judge_status(answer)?;
    if told["ok"] == Value::Bool(false) { Err(Failure::permanent(accepted.words)) } else { Ok(accepted) }
}
