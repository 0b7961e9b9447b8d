//! One alert as it is told: its lines as text, and as a card in HTML.

use super::words::{Language, Word};
use super::{Extras, clock, escape, rough};
use crate::alerting::links::LinkAction;
use crate::alerting::machine::{Delivery, QUIET_MS, ToldAlert};
use crate::model::labels::Labels;
use crate::model::matcher::Matcher;
use crate::model::{matcher_text, number};
use crate::template::library;

/// How much of an annotation is told.
const TEXT_CHARS_MAX: usize = 2000;

/// A chart in the mail.
struct Drawn {
    /// What an image's address is: `cid:...`, or the picture itself.
    address: String,
    /// What it shows, for who does not see it.
    words: String,
}

/// One alert as it is told.
pub(super) struct Told<'a> {
    language: Language,
    resolved: bool,
    is_new: bool,
    name: &'a str,
    what: String,
    place: String,
    severity: &'a str,
    when: String,
    value: String,
    flapping: String,
    more: String,
    labels: String,
    alert_url: String,
    silence_url: String,
    runbook_url: &'a str,
    source_url: &'a str,
    actions: Vec<(LinkAction, String)>,
    chart: Option<Drawn>,
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(TEXT_CHARS_MAX) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or("")),
        None => text.to_owned(),
    }
}

fn labels_text(labels: &Labels) -> String {
    labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(", ")
}

/// Writes a number for people: six digits are enough.
fn digits(value: f64) -> String {
    let short: f64 = format!("{value:.5e}").parse().unwrap_or(value);
    number::format_g(short)
}

fn value(told: &ToldAlert, extras: &Extras<'_>) -> String {
    let chart = extras.charts.get(&told.alert.fingerprint).map(|chart| &chart.data);
    let limit = chart.and_then(|data| data.threshold);
    let limit = limit.map(|limit| format!("{} {}", limit.operator, digits(limit.value)));
    let ended = chart.and_then(|data| data.ended_value).filter(|_| told.resolved);
    match (ended, told.alert.value) {
        (Some(value), _) => extras.language.ended_value(&digits(value), limit.as_deref()),
        // What is over has no value now.
        (None, Some(value)) if !told.resolved => extras.language.value(&digits(value), limit.as_deref()),
        (None, _) => String::new(),
    }
}

impl<'a> Told<'a> {
    pub(super) fn new(delivery: &Delivery, told: &'a ToldAlert, external_url: &str, extras: &Extras<'_>) -> Self {
        let (alert, language) = (&told.alert, extras.language);
        let note = |name: &str| alert.annotations.get(name);
        let what = ["summary", "message", "title", "description"].into_iter().find_map(note).unwrap_or("");
        let more = note("description").filter(|description| *description != what).unwrap_or("");
        let label = |name: &str| alert.labels.get(name);
        let place: Vec<&str> = ["instance", "host", "node", "job"].into_iter().filter_map(label).take(2).collect();
        let ran_ms = if told.resolved { alert.ends_at_ms } else { delivery.at_ms } - alert.starts_at_ms;
        let (from, length) = (clock(alert.starts_at_ms), rough(ran_ms));
        let when = match told.resolved {
            true => language.lasted(&from, &clock(alert.ends_at_ms), &length),
            false => language.since(&from, &length),
        };
        let matchers: Vec<Matcher> = alert.labels.iter().map(|(name, value)| Matcher::equal(name, value)).collect();
        let filter = library::query_escape(&matcher_text::to_text(&matchers));
        // A test or a sign of life is no alert that could be opened.
        let of_alert = |url: String| if delivery.is_direct { String::new() } else { url };
        let action = |action: LinkAction| {
            let links = extras.links.filter(|_| !told.resolved && !delivery.is_direct)?;
            Some((action, format!("{external_url}{}", links.path(action, alert.fingerprint, delivery.at_ms))))
        };
        let chart = extras.charts.get(&alert.fingerprint).zip(extras.pictures.get(&alert.fingerprint));
        let chart = chart.map(|(chart, address)| Drawn {
            address: address.clone(),
            words: language.chart(&chart.data.expression, &clock(chart.from_ms()), &clock(chart.to_ms())),
        });
        Self {
            language,
            resolved: told.resolved,
            is_new: !told.is_known && !told.resolved && delivery.alerts.iter().any(|other| other.is_known),
            name: if alert.name().is_empty() { "alert" } else { alert.name() },
            what: shorten(what),
            place: place.join(", "),
            severity: label("severity").unwrap_or(""),
            when,
            value: value(told, extras),
            flapping: match told.flaps {
                times if times > 0 && !told.resolved => language.flapping(times, &rough(QUIET_MS)),
                _ => String::new(),
            },
            more: shorten(more),
            labels: labels_text(&alert.labels),
            alert_url: of_alert(format!("{external_url}/alerts/{:016x}", alert.fingerprint)),
            silence_url: of_alert(format!("{external_url}/silences/new?filter={filter}")),
            runbook_url: note("runbook_url").or_else(|| note("runbook")).unwrap_or(""),
            source_url: &alert.generator_url,
            actions: LinkAction::ALL.into_iter().filter_map(action).collect(),
            chart,
        }
    }

    fn state(&self) -> String {
        let new = if self.is_new { format!("{} ", self.language.new_word()) } else { String::new() };
        format!("{new}{}", self.language.state(self.resolved))
    }

    pub(super) fn text(&self) -> String {
        let mut lines = vec![format!("[{}] {}", self.state(), self.language.title(self.name, &self.place))];
        let mut line = |head: &str, text: &str| {
            if !text.is_empty() {
                lines.push(format!("  {head}{text}"));
            }
        };
        line("", &self.what);
        line("", &self.more);
        line("", &self.when);
        line("", &self.flapping);
        line("", &self.value);
        line(self.language.word(Word::Labels), &self.labels);
        for (word, url) in [
            (Word::Alert, self.alert_url.as_str()),
            (Word::Silence, if self.resolved { "" } else { &self.silence_url }),
            (Word::Runbook, self.runbook_url),
            (Word::Source, self.source_url),
        ] {
            line(&format!("{}: ", self.language.word(word)), url);
        }
        for (action, url) in &self.actions {
            line(&format!("{}: ", self.language.action(*action)), url);
        }
        lines.join("\n")
    }

    pub(super) fn html(&self) -> String {
        let colour = match (self.resolved, self.severity) {
            (true, _) => "#046e7a",
            (false, "warning" | "info" | "none") => "#8d6b07",
            (false, _) => "#7f1420",
        };
        let badge = if self.is_new {
            let style = "background:#7f1420;color:#ffffff;border-radius:3px;padding:1px 5px;margin-right:6px";
            format!("<span style=\"{style}\">{}</span>", self.language.new_word())
        } else {
            String::new()
        };
        let mut out = format!(
            "<div style=\"border-left:4px solid {colour};padding:8px 12px;margin:0 0 16px 0;background:#f5f7f9\">\
             <div style=\"font-size:12px;font-weight:bold;color:{colour}\">{badge}{}{}</div>\
             <div style=\"font-size:17px;font-weight:bold\">{}</div>",
            self.language.state(self.resolved),
            if self.severity.is_empty() { String::new() } else { format!(" &middot; {}", escape(self.severity)) },
            escape(&self.language.title(self.name, &self.place)),
        );
        let mut line = |style: &str, text: &str| {
            if !text.is_empty() {
                out.extend(["<div style=\"", style, "\">", &escape(text).replace('\n', "<br>"), "</div>"]);
            }
        };
        line("margin-top:4px", &self.what);
        line("margin-top:4px", &self.more);
        line("margin-top:4px;color:#56606c", &self.when);
        line("margin-top:4px;font-style:italic", &self.flapping);
        line("margin-top:4px;font-weight:bold", &self.value);
        if let Some(Drawn { address, words }) = &self.chart {
            let (address, words) = (escape(address), escape(words));
            let style = "display:block;width:100%;max-width:600px;height:auto;margin-top:8px;border:0";
            out.extend(["<img src=\"", &address, "\" alt=\"", &words, "\" width=\"600\" style=\"", style, "\">"]);
            out.extend(["<div style=\"font-size:12px;color:#56606c;word-break:break-word\">", &words, "</div>"]);
        }
        let mut line = |style: &str, text: &str| out.extend(["<div style=\"", style, "\">", text, "</div>"]);
        line("margin-top:4px;font-size:12px;color:#56606c;word-break:break-word", &escape(&self.labels));
        let links = [
            (Word::Alert, self.alert_url.as_str()),
            (Word::Silence, if self.resolved { "" } else { &self.silence_url }),
            (Word::Runbook, self.runbook_url),
            (Word::Source, self.source_url),
        ];
        let links = links.into_iter().filter(|(_, url)| is_web(url)).map(|(word, url)| link(self.language.word(word), url));
        line("margin-top:8px", &links.collect::<Vec<_>>().join(" "));
        let actions = self.actions.iter().map(|(action, url)| button(self.language.action(*action), url));
        let actions = actions.collect::<Vec<_>>().join(" ");
        if !actions.is_empty() {
            line("margin-top:4px", &actions);
        }
        out.push_str("</div>");
        out
    }
}

/// Returns whether an address may stand in a link: nothing that a reader's program would execute.
fn is_web(url: &str) -> bool {
    let lower = url.to_lowercase();
    lower.starts_with("http://") || lower.starts_with("https://")
}

pub(super) fn link(word: &str, url: &str) -> String {
    format!("<a style=\"display:inline-block;padding:8px 12px 8px 0;color:#0a5bb0\" href=\"{}\">{word}</a>", escape(url))
}

fn button(word: &str, url: &str) -> String {
    let style = "display:inline-block;padding:7px 10px;margin:0 4px 6px 0;border:1px solid #b9c2cc;border-radius:4px;\
                 background:#ffffff;color:#1a1f26;text-decoration:none;font-size:13px";
    format!("<a style=\"{style}\" href=\"{}\">{word}</a>", escape(url))
}
