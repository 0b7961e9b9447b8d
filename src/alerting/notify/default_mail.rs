//! Our own mail: what, where, since when, how much now, and where to go from here; readable on a phone.
//!
//! Written in Rust and not as a template, so that it cannot fail: it is also what goes out where a template did. The first
//! alerts are told in full, the others counted by name.

use super::template_data::{common, status};
use crate::alerting::machine::{Delivery, ToldAlert};
use crate::model::duration;
use crate::model::labels::{ALERT_NAME, Labels};
use crate::model::matcher::Matcher;
use crate::model::{matcher_text, number};
use crate::template::{Time, library};
use std::collections::BTreeMap;

/// How many alerts are told in full.
const FULL_MAX: usize = 20;
/// How much of an annotation is told.
const TEXT_CHARS_MAX: usize = 2000;

/// The parts of a mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefaultMail {
    /// As Alertmanager's default: `[FIRING:2] DiskFull (db1 critical)`.
    pub subject: String,
    /// The text part.
    pub text: String,
    /// The HTML part.
    pub html: String,
}

fn values(labels: &Labels) -> String {
    let name = labels.get(ALERT_NAME).into_iter();
    let others = labels.iter().filter(|(name, _)| *name != ALERT_NAME).map(|(_, value)| value);
    name.chain(others).collect::<Vec<_>>().join(" ")
}

/// Returns the subject line, as Alertmanager's default template.
#[must_use]
pub fn subject(delivery: &Delivery) -> String {
    let firing = delivery.alerts.iter().filter(|told| !told.resolved).count();
    let shared = common(delivery.alerts.iter().map(|told| &told.alert.labels));
    let group = &delivery.group.labels;
    let head = if firing > 0 { format!("[FIRING:{firing}]") } else { "[RESOLVED]".to_owned() };
    let rest = shared.without(|name| group.has(name));
    let tail = if shared.len() > group.len() { format!("({})", values(&rest)) } else { String::new() };
    format!("{head} {} {tail}", values(group)).trim_end().to_owned()
}

/// One alert as it is told.
struct Told<'a> {
    resolved: bool,
    name: &'a str,
    what: String,
    place: String,
    severity: &'a str,
    when: String,
    value: Option<String>,
    more: String,
    alert_url: String,
    silence_url: String,
    runbook_url: &'a str,
    source_url: &'a str,
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

fn shorten(text: &str) -> String {
    match text.char_indices().nth(TEXT_CHARS_MAX) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or("")),
        None => text.to_owned(),
    }
}

impl<'a> Told<'a> {
    fn new(delivery: &Delivery, told: &'a ToldAlert, external_url: &str) -> Self {
        let alert = &told.alert;
        let note = |name: &str| alert.annotations.get(name);
        let what = ["summary", "message", "title", "description"].into_iter().find_map(note).unwrap_or("");
        let more = note("description").filter(|description| *description != what).unwrap_or("");
        let label = |name: &str| alert.labels.get(name);
        let place: Vec<&str> = ["instance", "host", "node", "job"].into_iter().filter_map(label).take(2).collect();
        let ran_ms = if told.resolved { alert.ends_at_ms } else { delivery.at_ms } - alert.starts_at_ms;
        let when = if told.resolved {
            format!("from {} to {} ({})", clock(alert.starts_at_ms), clock(alert.ends_at_ms), rough(ran_ms))
        } else {
            format!("since {} ({})", clock(alert.starts_at_ms), rough(ran_ms))
        };
        let matchers: Vec<Matcher> = alert.labels.iter().map(|(name, value)| Matcher::equal(name, value)).collect();
        let filter = library::query_escape(&matcher_text::to_text(&matchers));
        Self {
            resolved: told.resolved,
            name: if alert.name().is_empty() { "alert" } else { alert.name() },
            what: shorten(what),
            place: place.join(", "),
            severity: label("severity").unwrap_or(""),
            when,
            value: alert.value.map(number::format_g),
            more: shorten(more),
            alert_url: format!("{external_url}/alerts/{:016x}", alert.fingerprint),
            silence_url: format!("{external_url}/silences/new?filter={filter}"),
            runbook_url: note("runbook_url").or_else(|| note("runbook")).unwrap_or(""),
            source_url: &alert.generator_url,
        }
    }

    const fn state(&self) -> &'static str {
        if self.resolved { "RESOLVED" } else { "FIRING" }
    }

    fn title(&self) -> String {
        let place = if self.place.is_empty() { String::new() } else { format!(" on {}", self.place) };
        format!("{}{place}", self.name)
    }

    fn text(&self, labels: &Labels) -> String {
        let mut lines = vec![format!("[{}] {}", self.state(), self.title())];
        let mut line = |head: &str, text: &str| {
            if !text.is_empty() {
                lines.push(format!("  {head}{text}"));
            }
        };
        line("", &self.what);
        line("", &self.more);
        line("", &self.when);
        line("value: ", self.value.as_deref().unwrap_or(""));
        let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        line("labels: ", &labels.join(", "));
        line("alert: ", &self.alert_url);
        line("silence: ", if self.resolved { "" } else { &self.silence_url });
        line("runbook: ", self.runbook_url);
        line("source: ", self.source_url);
        lines.join("\n")
    }

    fn html(&self, labels: &Labels) -> String {
        let colour = match (self.resolved, self.severity) {
            (true, _) => "#046e7a",
            (false, "warning" | "info" | "none") => "#8d6b07",
            (false, _) => "#7f1420",
        };
        let mut out = format!(
            "<div style=\"border-left:4px solid {colour};padding:8px 12px;margin:0 0 16px 0;background:#f5f7f9\">\
             <div style=\"font-size:12px;font-weight:bold;color:{colour}\">{}{}</div>\
             <div style=\"font-size:17px;font-weight:bold\">{}</div>",
            self.state(),
            if self.severity.is_empty() { String::new() } else { format!(" &middot; {}", escape(self.severity)) },
            escape(&self.title()),
        );
        let mut line = |style: &str, text: &str| {
            if !text.is_empty() {
                out.extend(["<div style=\"", style, "\">", &escape(text).replace('\n', "<br>"), "</div>"]);
            }
        };
        line("margin-top:4px", &self.what);
        line("margin-top:4px", &self.more);
        line("margin-top:4px;color:#56606c", &self.when);
        let value = self.value.as_ref().map(|value| format!("Value: {value}")).unwrap_or_default();
        line("margin-top:4px;font-weight:bold", &value);
        let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        line("margin-top:4px;font-size:12px;color:#56606c;word-break:break-word", &labels.join(", "));
        let links = [
            ("Open alert", self.alert_url.as_str()),
            ("Silence", if self.resolved { "" } else { &self.silence_url }),
            ("Runbook", self.runbook_url),
            ("Source", self.source_url),
        ];
        let links = links.into_iter().filter(|(_, url)| is_web(url)).map(|(word, url)| link(word, url));
        out.extend(["<div style=\"margin-top:8px\">", &links.collect::<Vec<_>>().join(" "), "</div></div>"]);
        out
    }
}

/// Returns whether an address may stand in a link: nothing that a reader's program would execute.
fn is_web(url: &str) -> bool {
    let lower = url.to_lowercase();
    lower.starts_with("http://") || lower.starts_with("https://")
}

fn link(word: &str, url: &str) -> String {
    format!("<a style=\"display:inline-block;padding:8px 12px 8px 0;color:#0a5bb0\" href=\"{}\">{word}</a>", escape(url))
}

/// Escapes for HTML, text and attributes alike.
fn escape(text: &str) -> String {
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
fn others(alerts: &[ToldAlert]) -> Vec<String> {
    let mut counts: BTreeMap<(bool, &str), usize> = BTreeMap::new();
    for told in alerts {
        *counts.entry((told.resolved, told.alert.name())).or_default() += 1;
    }
    let word = |resolved: bool| if resolved { "resolved" } else { "firing" };
    counts.into_iter().map(|((resolved, name), count)| format!("{count} more {}: {name}", word(resolved))).collect()
}

/// Writes the mail. `notes` are shown at its top: what went wrong with a template, for example.
#[must_use]
pub fn write(delivery: &Delivery, external_url: &str, notes: &[String]) -> DefaultMail {
    // Firing ones first: they are what the reader must act on.
    let mut alerts: Vec<&ToldAlert> = delivery.alerts.iter().collect();
    alerts.sort_by_key(|told| told.resolved);
    let told: Vec<(Told<'_>, &Labels)> =
        alerts.iter().take(FULL_MAX).map(|told| (Told::new(delivery, told, external_url), &told.alert.labels)).collect();
    let rest: Vec<ToldAlert> = alerts.iter().skip(FULL_MAX).map(|told| (*told).clone()).collect();
    let rest = others(&rest);
    let firing = delivery.alerts.iter().filter(|told| !told.resolved).count();
    let resolved = delivery.alerts.len() - firing;
    let head = match (firing, resolved) {
        (0, resolved) => format!("{resolved} resolved"),
        (firing, 0) => format!("{firing} firing"),
        (firing, resolved) => format!("{firing} firing, {resolved} resolved"),
    };
    let receiver = &delivery.receiver.name;
    let foot = format!("Receiver {receiver}. {}.", delivery.due.as_str());

    let mut text: Vec<String> = notes.iter().map(|note| format!("NOTE: {note}")).collect();
    text.push(head.clone());
    text.extend(told.iter().map(|(told, labels)| told.text(labels)));
    text.extend(rest.clone());
    text.push(format!("-- \n{foot}\n{external_url}/alerts"));

    let note = |note: &String| format!("<p style=\"color:#7f1420\">{}</p>", escape(note));
    let html = format!(
        "<!DOCTYPE html>\n<html><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{title}</title></head>\n<body style=\"margin:0;padding:12px;font-family:system-ui,-apple-system,sans-serif;\
         font-size:15px;line-height:1.4;color:#1a1f26\"><div style=\"max-width:640px;margin:0 auto\">{notes}\
         <p style=\"font-size:17px;margin:0 0 12px 0\">{head}</p>\n{alerts}\n{rest}\
         <p style=\"font-size:12px;color:#56606c\">{foot} {link}</p></div></body></html>\n",
        title = escape(&subject(delivery)),
        notes = notes.iter().map(note).collect::<String>(),
        alerts = told.iter().map(|(told, labels)| told.html(labels)).collect::<Vec<_>>().join("\n"),
        rest = rest.iter().map(|line| format!("<p>{}</p>", escape(line))).collect::<String>(),
        foot = escape(&foot),
        link = link("All alerts", &format!("{external_url}/alerts")),
    );
    debug_assert!(matches!(status(&delivery.alerts), "firing" | "resolved"));
    DefaultMail { subject: subject(delivery), text: format!("{}\n", text.join("\n\n")), html }
}
