//! Microsoft Teams: cards of connectors, and adaptive cards of flows.

use super::{Answer, fires, judge as judge_status, own_text, words};
use crate::alerting::machine::Delivery;
use crate::alerting::notify::writer::Writer;
use crate::alerting::notify::{Accepted, Failure};
use crate::config::receivers::{MsteamsConfig, Msteamsv2Config};
use serde_json::{Value, json};

pub(super) fn card(config: &MsteamsConfig, writer: &mut Writer<'_>, delivery: &Delivery) -> Value {
    let instead = || own_text(delivery);
    let title = writer.text("the title", &config.title, false, instead);
    let text = writer.text("the text", &config.text, false, instead);
    let summary = writer.text("the summary", &config.summary, false, instead);
    json!({
        "@context": "http://schema.org/extensions",
        "@type": "MessageCard",
        "title": title,
        "summary": summary,
        "text": text,
        "themeColor": if fires(delivery) { "8C1A1A" } else { "2DC72D" },
    })
}

pub(super) fn adaptive(config: &Msteamsv2Config, writer: &mut Writer<'_>, delivery: &Delivery) -> Value {
    let instead = || own_text(delivery);
    let title = writer.text("the title", &config.title, false, instead);
    let text = writer.text("the text", &config.text, false, instead);
    let color = if fires(delivery) { "Attention" } else { "Good" };
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "body": [
                    {"type": "TextBlock", "text": title, "weight": "Bolder", "size": "Medium", "wrap": true, "style": "heading", "color": color},
                    {"type": "TextBlock", "text": text, "wrap": true},
                ],
                "msteams": {"width": "full"},
            },
        }],
    })
}

/// Connectors answer 200 to what Teams refused behind them; the status is in the words then.
pub(super) fn judge(answer: &Answer) -> Result<Accepted, Failure> {
    let refused = answer.status == 200 && answer.body.contains("Microsoft Teams endpoint returned HTTP error");
    if !refused {
        return judge_status(answer);
    }
    let told = words(answer);
    if answer.body.contains("HTTP error 429") || answer.body.contains("HTTP error 5") {
        Err(Failure { reason: "rateLimited", ..Failure::transient(told) })
    } else {
        Err(Failure::permanent(told))
    }
}
