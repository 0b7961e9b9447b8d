//! From a delivery to a complete message: headers, text and HTML parts, recipients. Nothing here touches the network.
//!
//! Headers are templates like everything else, so what they give is cleaned of line breaks: no label of an alert can add a
//! header or a recipient. Where a template fails, our own text stands in, with a note in mail, log and history.

use super::chart::Charts;
use super::mail::{self, Extras, Language};
use super::template_functions::NotificationFunctions;
use super::writer::Writer;
use super::{Content, EmailTarget, Notifier, base64};
use crate::alerting::machine::Delivery;
use crate::alerting::notification_log::thread_id;
use crate::template::{Template, TemplateError};
use lettre::Address;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailboxes, MultiPart, SinglePart, header};
use std::collections::BTreeMap;

/// The longest header value that is sent.
const HEADER_CHARS_MAX: usize = 900;
/// The most recipients of one mail.
const RECIPIENTS_MAX: usize = 100;

/// The configuration's templates, as text and as HTML.
#[derive(Clone, Debug)]
pub struct Templates {
    text: Template,
    html: Template,
}

impl Default for Templates {
    /// Returns the names that templates of Alertmanager's users build on.
    fn default() -> Self {
        let mut templates = Self { text: Template::text(), html: Template::html() };
        let added = templates.add("default.tmpl", include_str!("default.tmpl"));
        debug_assert_eq!(added, Ok(()), "the shipped templates are good");
        templates
    }
}

impl Templates {
    /// Adds a file's text.
    ///
    /// # Errors
    /// When it is no template.
    pub fn add(&mut self, name: &str, text: &str) -> Result<(), TemplateError> {
        let functions = NotificationFunctions::default();
        self.text.add(name, text, &functions)?;
        self.html.add(name, text, &functions)
    }

    /// Checks one template text of a receiver.
    ///
    /// # Errors
    /// When it is no template.
    pub fn check(&self, text: &str) -> Result<(), TemplateError> {
        self.text.clone().add("", text, &NotificationFunctions::default())
    }

    /// Executes a text.
    ///
    /// # Errors
    /// When it is no template or fails.
    pub fn execute(&self, text: &str, is_html: bool, functions: &NotificationFunctions) -> Result<String, TemplateError> {
        let mut set = if is_html { self.html.clone() } else { self.text.clone() };
        set.add("", text, functions)?;
        set.execute("", &functions.data, functions)
    }
}

/// A mail, ready to be sent.
#[derive(Clone, Debug)]
pub struct Mail {
    /// The envelope's sender.
    pub from: Address,
    /// The envelope's recipients, each once.
    pub to: Vec<Address>,
    /// The same as texts.
    pub recipients: Vec<String>,
    /// The message.
    pub content: Content,
}

/// Removes what could end a header line, and bounds its length.
fn clean(value: &str) -> String {
    let words: String = value.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    words.trim().chars().take(HEADER_CHARS_MAX).collect()
}

fn host_of(external_url: &str) -> &str {
    let rest = external_url.split_once("://").map_or(external_url, |(_, rest)| rest);
    let host = rest.split(['/', '?', '#']).next().unwrap_or("");
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    let host = if host.starts_with('[') { "localhost" } else { host.split(':').next().unwrap_or("") };
    let is_name = !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'));
    if is_name { host } else { "watchkeeper.invalid" }
}

/// Executes the template of an address list. There is no default for whom to tell.
fn addresses(writer: &Writer<'_>, what: &str, template: &str) -> Result<Mailboxes, String> {
    let text = writer.strict(template, false);
    let text = clean(&text.map_err(|error| format!("the template of {what} failed: {error}"))?);
    text.parse().map_err(|error| format!("parse {what:?} addresses {text:?}: {error}"))
}

/// Returns the language of our own words in a mail: that of the template which its HTML part asks for.
fn language(target: &EmailTarget) -> Language {
    let is_chinese = target.html.as_deref().is_some_and(|html| html.contains("\"email.zh."));
    if is_chinese { Language::Chinese } else { Language::English }
}

/// Returns whether a mail has room for charts: whether its HTML part is ours.
#[must_use]
pub fn wants_charts(target: &EmailTarget) -> bool {
    let ours = ["\"email.default.html\"", "\"email.zh.html\"", "watchkeeperMail"];
    target.html.as_deref().is_none_or(|html| ours.iter().any(|name| html.contains(name)))
}

/// A chart as it goes with the mail.
struct Picture {
    /// Its Content-Id, without brackets.
    id: String,
    png: Vec<u8>,
}

/// Draws the charts. One that cannot be drawn is left out.
fn draw(charts: &Charts, delivery: &Delivery, domain: &str) -> BTreeMap<u64, Picture> {
    let mut pictures = BTreeMap::new();
    for (place, (fingerprint, chart)) in charts.iter().enumerate() {
        match chart.png() {
            Ok(png) => {
                let id = format!("chart{place}.{}@{domain}", delivery.message_id);
                pictures.insert(*fingerprint, Picture { id, png });
            }
            Err(error) => tracing::warn!(error, record = delivery.record, "a chart was not drawn"),
        }
    }
    pictures
}

/// Renders a mail.
///
/// # Errors
/// When sender or recipients are no addresses; everything else has a default.
pub fn render(notifier: &Notifier, target: &EmailTarget, delivery: &Delivery, charts: &Charts) -> Result<Mail, String> {
    let external_url = &*notifier.external_url;
    let pictures = draw(charts, delivery, host_of(external_url));
    let addresses_of_pictures = pictures.iter().map(|(alert, picture)| (*alert, format!("cid:{}", picture.id))).collect();
    let extras = |language| Extras { language, charts, pictures: &addresses_of_pictures, links: Some(&notifier.links) };
    let write = |language, notes: &[String]| mail::write(delivery, external_url, notes, &extras(language));
    let language = language(target);
    let mut writer = Writer::new(notifier, delivery);
    writer.functions.own_mails = [write(Language::English, &[]), write(Language::Chinese, &[])];
    let ours = writer.functions.own_mail(language).clone();

    let from = addresses(&writer, "from", &target.from)?.into_single().ok_or("must be exactly one 'from' address")?;
    let recipients = addresses(&writer, "to", &target.to)?;
    let mut headers: BTreeMap<String, String> = BTreeMap::new();
    for (name, template) in &target.headers {
        let instead = || if name.eq_ignore_ascii_case("Subject") { ours.subject.clone() } else { String::new() };
        let value = writer.text(&format!("header {name}"), template, false, instead);
        headers.insert(name.clone(), clean(&value));
    }
    let subject = match headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("Subject")) {
        Some((_, subject)) => subject.clone(),
        None if language == Language::Chinese => clean(&ours.subject),
        None => {
            let template = r#"{{ template "email.default.subject" . }}"#;
            clean(&writer.text("the subject", template, false, || ours.subject.clone()))
        }
    };
    let html = target.html.as_deref().unwrap_or(r#"{{ template "email.default.html" . }}"#);
    let html = writer.text("the HTML part", html, true, || ours.html.clone());
    let text = match target.text.as_deref().filter(|text| !text.is_empty()) {
        Some(text) => writer.text("the text part", text, false, || ours.text.clone()),
        None => ours.text,
    };
    let notes = writer.notes;
    let (text, html) = if notes.is_empty() {
        (text, html)
    } else {
        // What a reader must know: this mail is not what was meant.
        let with_notes = write(language, &notes);
        (with_notes.text, with_notes.html)
    };

    let mut to: Vec<Address> = Vec::new();
    for mailbox in recipients.iter() {
        if !to.contains(&mailbox.email) {
            to.push(mailbox.email.clone());
        }
    }
    if to.is_empty() || to.len() > RECIPIENTS_MAX {
        return Err(format!("{} recipients: there must be 1 to {RECIPIENTS_MAX}", to.len()));
    }
    let pictures: Vec<Picture> = pictures.into_values().filter(|picture| html.contains(&picture.id)).collect();
    // The dashboard shows the HTML part alone: its pictures are in it.
    let shown = pictures.iter().fold(html.clone(), |html, picture| {
        html.replace(&format!("cid:{}", picture.id), &format!("data:image/png;base64,{}", base64::encode(&picture.png)))
    });
    let (from_text, to_text) = (from.to_string(), recipients.to_string());
    let parts = Parts { subject: &subject, from: &from_text, to: &to_text, text, html, pictures };
    let raw = assemble(target, delivery, external_url, &headers, parts)?;
    let recipients = to.iter().map(ToString::to_string).collect();
    Ok(Mail { from: from.email, to, recipients, content: Content { subject, raw, html: shown, warnings: notes } })
}

struct Parts<'a> {
    subject: &'a str,
    from: &'a str,
    to: &'a str,
    text: String,
    html: String,
    pictures: Vec<Picture>,
}

/// Headers that are ours to set.
const OWN_HEADERS: [&str; 7] =
    ["Message-Id", "Date", "Mime-Version", "Content-Type", "Content-Transfer-Encoding", "References", "In-Reply-To"];

fn assemble(
    target: &EmailTarget,
    delivery: &Delivery,
    external_url: &str,
    headers: &BTreeMap<String, String>,
    parts: Parts<'_>,
) -> Result<Vec<u8>, String> {
    let domain = host_of(external_url);
    let day = if target.thread_by_date { format!("-{}", delivery.at_ms.div_euclid(86_400_000)) } else { String::new() };
    let thread = format!("<group-{}{day}@{domain}>", thread_id(&delivery.group_key));
    let moment = std::time::UNIX_EPOCH + std::time::Duration::from_millis(u64::try_from(delivery.at_ms).unwrap_or(0));
    // The body is made by lettre, the headers by hand: theirs are open to all names, and each value was cleaned.
    let is_plain = parts.html.is_empty();
    let text = part("text/plain; charset=utf-8", parts.text)?;
    let html = part("text/html; charset=utf-8", parts.html)?;
    let body = MultiPart::alternative().boundary(format!("wk-{}", delivery.message_id)).singlepart(text.clone());
    let body = if parts.pictures.is_empty() {
        body.singlepart(html)
    } else {
        let mut related = MultiPart::related().boundary(format!("wk-charts-{}", delivery.message_id)).singlepart(html);
        let png = header::ContentType::parse("image/png").map_err(|error| error.to_string())?;
        for Picture { id, png: bytes } in parts.pictures {
            related = related.singlepart(lettre::message::Attachment::new_inline(id).body(bytes, png.clone()));
        }
        body.multipart(related)
    };
    let mut head = header::Headers::new();
    let mut set = |name: &str, value: &str| -> Result<(), String> {
        let name = HeaderName::new_from_ascii(name.to_owned()).map_err(|error| format!("header {name:?}: {error}"))?;
        head.insert_raw(HeaderValue::new(name, value.to_owned()));
        Ok(())
    };
    for (name, value) in [("Subject", parts.subject), ("From", parts.from), ("To", parts.to)] {
        set(name, value)?;
    }
    for (name, value) in headers {
        if !OWN_HEADERS.iter().any(|own| own.eq_ignore_ascii_case(name)) && !value.is_empty() {
            set(name, value)?;
        }
    }
    set("Message-Id", &format!("<{}@{domain}>", delivery.message_id))?;
    set("References", &thread)?;
    set("In-Reply-To", &thread)?;
    set("X-Watchkeeper-Group", &delivery.group_key.chars().filter(char::is_ascii_graphic).take(200).collect::<String>())?;
    set("Auto-Submitted", "auto-generated")?;
    set("Mime-Version", "1.0")?;
    head.set(header::Date::new(moment));
    let mut raw = head.to_string().into_bytes();
    raw.extend(if is_plain { text.formatted() } else { body.formatted() });
    Ok(raw)
}

fn part(content_type: &str, text: String) -> Result<SinglePart, String> {
    let content_type = header::ContentType::parse(content_type).map_err(|error| error.to_string())?;
    Ok(SinglePart::builder().header(content_type).body(text))
}
