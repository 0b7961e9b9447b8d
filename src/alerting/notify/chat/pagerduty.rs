//! PagerDuty: Events API version 2, and version 1 where the configuration has a service key.

use super::{Call, Message, cut, fires, own_text, secret, without_empty};
use crate::alerting::machine::Delivery;
use crate::alerting::notify::writer::Writer;
use crate::config::receivers::PagerdutyConfig;
use crate::env::Env;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

/// The longest summary of version 2 and description of version 1, in characters.
const CHARS_MAX: usize = 1024;
/// The largest event that is taken.
const EVENT_BYTES_MAX: usize = 512_000;

fn is_first_version(config: &PagerdutyConfig) -> bool {
    !config.service_key.is_empty() || !config.service_key_file.is_empty()
}

/// Returns what holds the events of one group together.
fn incident(delivery: &Delivery) -> String {
    Sha256::digest(delivery.group_key.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn body(config: &PagerdutyConfig, writer: &mut Writer<'_>, delivery: &Delivery) -> Value {
    let event = if fires(delivery) { "trigger" } else { "resolve" };
    let mut plain = |what: &str, template: &str| writer.text(what, template, false, String::new);
    let (client, client_url) = (plain("the client", &config.client), plain("the client's URL", &config.client_url));
    let details: Map<String, Value> =
        config.details.iter().map(|(name, value)| (name.clone(), writer.json("a detail", value))).collect();
    let description = writer.text("the description", &config.description, false, || own_text(delivery));
    let description = cut(description, CHARS_MAX);
    if is_first_version(config) {
        let body = json!({
            "event_type": event,
            "incident_key": incident(delivery),
            "description": description,
            "client": client,
            "client_url": client_url,
            "details": details,
        });
        return without_empty(body);
    }
    let mut plain = |what: &str, template: &str| writer.text(what, template, false, String::new);
    let or = |text: String, other: &str| if text.is_empty() { other.to_owned() } else { text };
    let images: Vec<Value> = config
        .images
        .iter()
        .map(|image| json!({"src": plain("an image", &image.src), "alt": plain("an image", &image.alt), "href": plain("an image", &image.href)}))
        .filter(|image| image["src"] != "")
        .map(without_empty)
        .collect();
    let links: Vec<Value> = config
        .links
        .iter()
        .map(|link| json!({"href": plain("a link", &link.href), "text": plain("a link", &link.text)}))
        .filter(|link| link["href"] != "")
        .map(without_empty)
        .collect();
    let payload = json!({
        "summary": description,
        "source": or(plain("the source", &config.source), &client),
        "severity": or(plain("the severity", &config.severity), "error"),
        "class": plain("the class", &config.class),
        "component": plain("the component", &config.component),
        "group": plain("the group", &config.group),
        "custom_details": details,
    });
    let body = json!({
        "event_action": event,
        "dedup_key": incident(delivery),
        "client": client,
        "client_url": client_url,
        "images": images,
        "links": links,
        "payload": without_empty(payload),
    });
    within(without_empty(body), writer)
}

/// Drops the details of an event that is too large to be taken.
fn within(mut body: Value, writer: &mut Writer<'_>) -> Value {
    if serde_json::to_vec(&body).map_or(0, |bytes| bytes.len()) > EVENT_BYTES_MAX {
        let told = format!("the details were left out: the event was larger than {EVENT_BYTES_MAX} bytes");
        body["payload"]["custom_details"] = json!({"error": told});
        writer.notes.push(told);
    }
    body
}

pub(super) async fn call(env: &Env, config: &PagerdutyConfig, message: &Message, _delivery: &Delivery) -> std::io::Result<Call> {
    // The configuration has the address of version 2 where it says nothing.
    let (url, name, key) = if is_first_version(config) {
        let key = secret(env, &config.service_key, &config.service_key_file).await?;
        let url = config.url.0.as_str().replace("/v2/enqueue", "/generic/2010-04-15/create_event.json");
        (url, "service_key", key)
    } else {
        (config.url.0.as_str().to_owned(), "routing_key", secret(env, &config.routing_key, &config.routing_key_file).await?)
    };
    let mut call = Call::to(url, message);
    call.body.insert(name.to_owned(), key.into());
    if !config.timeout.is_zero() {
        call.timeout = config.timeout;
    }
    Ok(call)
}
