//! Our own mail: what, where, since when, how much now, and where to go from here; readable on a phone.
//!
//! Written in Rust and not as a template, so that it cannot fail: it is also what goes out where a template did. The first
//! alerts are told in full, what changed before what did not; the others are counted by name.

mod told;
mod words;

pub use words::Language;

use super::chart::Charts;
use super::template_data::{common, status};
use crate::alerting::links::Links;
use crate::alerting::machine::{Delivery, ToldAlert};
use crate::model::duration;
use crate::model::labels::{ALERT_NAME, Labels};
use crate::template::Time;
use std::collections::BTreeMap;
use told::{Told, link};
use words::Word;

/// How many alerts are told in full.
const FULL_MAX: usize = 20;

/// The parts of a mail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnMail {
    /// As Alertmanager's default: `[FIRING:2] DiskFull (db1 critical)`.
    pub subject: String,
    /// The text part.
    pub text: String,
    /// The HTML part.
    pub html: String,
}

/// What a mail may have besides what the delivery says.
#[derive(Clone, Debug)]
pub struct Extras<'a> {
    /// The language.
    pub language: Language,
    /// What is known about values.
    pub charts: &'a Charts,
    /// Addresses of drawn charts, by the fingerprint of their alert.
    pub pictures: &'a BTreeMap<u64, String>,
    /// Writes links that act; `None`: there are none.
    pub links: Option<&'a Links>,
}

fn values(labels: &Labels) -> String {
    let name = labels.get(ALERT_NAME).into_iter();
    let others = labels.iter().filter(|(name, _)| *name != ALERT_NAME).map(|(_, value)| value);
    name.chain(others).collect::<Vec<_>>().join(" ")
}

/// Returns the subject line, as Alertmanager's default template.
#[must_use]
pub fn subject(delivery: &Delivery, language: Language) -> String {
    let firing = delivery.alerts.iter().filter(|told| !told.resolved).count();
    let shared = common(delivery.alerts.iter().map(|told| &told.alert.labels));
    let group = &delivery.group.labels;
    let rest = shared.without(|name| group.has(name));
    let tail = if shared.len() > group.len() { format!("({})", values(&rest)) } else { String::new() };
    format!("{} {} {tail}", language.subject_head(firing), values(group)).trim_end().to_owned()
}

fn clock(at_ms: i64) -> String {
    Time::from_ms(at_ms).format("2006-01-02 15:04:05 MST")
}

/// Says a length of time in at most two units.
fn rough(length_ms: i64) -> String {
    let length_ms = length_ms.max(0);
    let unit = [86_400_000, 3_600_000, 60_000, 1000].into_iter().find(|unit| length_ms >= *unit).unwrap_or(1);
    let smaller = match unit {
        86_400_000 => 3_600_000,
        3_600_000 => 60_000,
        60_000 => 1000,
        unit => unit,
    };
    duration::format_ms(length_ms / smaller * smaller)
}

/// Escapes for HTML, text and attributes alike.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// Counts the alerts that are not told in full, by name and state.
fn others(alerts: &[&ToldAlert], language: Language) -> Vec<String> {
    let mut counts: BTreeMap<(bool, &str), usize> = BTreeMap::new();
    for told in alerts {
        *counts.entry((told.resolved, told.alert.name())).or_default() += 1;
    }
    counts.into_iter().map(|((resolved, name), count)| language.more(count, resolved, name)).collect()
}

/// Returns the alerts in the order in which they are told: what is new, what ended, what still fires, what had ended.
#[must_use]
pub fn ordered(delivery: &Delivery) -> Vec<&ToldAlert> {
    let mut alerts: Vec<&ToldAlert> = delivery.alerts.iter().collect();
    alerts.sort_by_key(|told| (told.is_known, told.resolved));
    alerts
}

/// Writes the mail. `notes` are shown at its top: what went wrong with a template, for example.
#[must_use]
pub fn write(delivery: &Delivery, external_url: &str, notes: &[String], extras: &Extras<'_>) -> OwnMail {
    let language = extras.language;
    let alerts = ordered(delivery);
    let (full, rest) = alerts.split_at(alerts.len().min(FULL_MAX));
    let told: Vec<Told<'_>> = full.iter().map(|told| Told::new(delivery, told, external_url, extras)).collect();
    let rest = others(rest, language);
    let firing = delivery.alerts.iter().filter(|told| !told.resolved).count();
    let head = language.counts(firing, delivery.alerts.len() - firing);
    let foot = language.foot(&delivery.receiver.name, delivery.due);
    let subject = subject(delivery, language);

    let mut text: Vec<String> = notes.iter().map(|note| format!("{}{note}", language.word(Word::Note))).collect();
    text.push(head.clone());
    text.extend(told.iter().map(Told::text));
    text.extend(rest.clone());
    text.push(format!("-- \n{foot}\n{external_url}/alerts"));

    let note = |note: &String| format!("<p style=\"color:#7f1420\">{}</p>", escape(note));
    let html = format!(
        "<!DOCTYPE html>\n<html lang=\"{tag}\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, \
         initial-scale=1\"><title>{title}</title></head>\n<body style=\"margin:0;padding:12px;font-family:system-ui,-apple-system,\
         sans-serif;font-size:15px;line-height:1.4;color:#1a1f26\"><div style=\"max-width:640px;margin:0 auto\">{notes}\
         <p style=\"font-size:17px;margin:0 0 12px 0\">{head}</p>\n{alerts}\n{rest}\
         <p style=\"font-size:12px;color:#56606c\">{foot} {link}</p></div></body></html>\n",
        tag = language.tag(),
        title = escape(&subject),
        notes = notes.iter().map(note).collect::<String>(),
        alerts = told.iter().map(Told::html).collect::<Vec<_>>().join("\n"),
        rest = rest.iter().map(|line| format!("<p>{}</p>", escape(line))).collect::<String>(),
        foot = escape(&foot),
        link = link(language.word(Word::AllAlerts), &format!("{external_url}/alerts")),
    );
    debug_assert!(matches!(status(&delivery.alerts), "firing" | "resolved"));
    OwnMail { subject, text: format!("{}\n", text.join("\n\n")), html }
}
