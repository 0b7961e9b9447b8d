//! Discord: execute webhook, with one embed.

use super::{cut, fires, own_text};
use crate::alerting::machine::Delivery;
use crate::alerting::notify::writer::Writer;
use crate::config::receivers::DiscordConfig;
use serde_json::{Value, json};

/// What Discord takes at most, in characters.
const CONTENT_CHARS_MAX: usize = 2000;
const TITLE_CHARS_MAX: usize = 256;
const DESCRIPTION_CHARS_MAX: usize = 4096;
const RED: u32 = 0x99_2d_22;
const GREEN: u32 = 0x2e_cc_71;

pub(super) fn body(config: &DiscordConfig, writer: &mut Writer<'_>, delivery: &Delivery) -> Value {
    let instead = || own_text(delivery);
    let title = cut(writer.text("the title", &config.title, false, instead), TITLE_CHARS_MAX);
    let description = cut(writer.text("the message", &config.message, false, instead), DESCRIPTION_CHARS_MAX);
    let content = cut(writer.text("the content", &config.content, false, String::new), CONTENT_CHARS_MAX);
    let embed = json!({"title": title, "description": description, "color": if fires(delivery) { RED } else { GREEN }});
    let mut body = json!({"content": content, "embeds": [embed]});
    for (key, template) in [("username", &config.username), ("avatar_url", &config.avatar_url)] {
        let text = writer.text(key, template, false, String::new);
        if !text.is_empty() {
            body[key] = text.into();
        }
    }
    body
}
